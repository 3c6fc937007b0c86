"""A trained network as one object that other programs load: weights, and all they need beside them.

``save_pretrained``, ``from_pretrained`` and ``push_to_hub`` are huggingface-hub's: safetensors, a
``config.json`` and a model card. A local folder is loaded without any network.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self, TypedDict

import torch
from huggingface_hub import ModelCard, PyTorchModelHubMixin
from jaxtyping import Bool, Float
from pydantic import TypeAdapter
from torch import Tensor, nn

from diagnosis.losses import probabilities
from eye_gaze_data.anatomy import AnatomySource, OnesAnatomy, UnknownAnatomy
from eye_gaze_data.errors import ConfigError, StageError
from saliency.attention import AttentionContext
from saliency.density import density
from saliency.network import Outputs

from .anatomy_source import segment_stage
from .build import build_network
from .config import ModelConfig
from .devices import choose_device
from .finished import FinishedStage
from .model_card import model_card, model_facts
from .prediction_config import PredictionConfig, prediction_config
from .predictor import Predictor
from .shared_segmenter import SegmenterConfig, SharedSegmenter, segmenter_config
from .weights import hand_over, read_weights

WEIGHTS = "model.safetensors"
CONFIG = "config.json"
PARTS = ("network", "settings", "facts", "segmenter")


class GazeOutputs(TypedDict, total=False):
    """What a shared model gives; a key is there if its task has it.

    Attributes:
        class_logits: (B, C), before calibration.
        probabilities: (B, C), calibrated if the model has temperatures.
        saliency_logits: (B, 1, H, W).
        density: (B, 1, H, W), sums to 1 over the film.
    """

    class_logits: Tensor
    probabilities: Tensor
    saliency_logits: Tensor
    density: Tensor


class GazeModel(
    nn.Module,
    PyTorchModelHubMixin,
    library_name="gazedx",
    pipeline_tag="image-classification",
    tags=["chest-x-ray", "eye-gaze", "saliency", "research-only"],
):
    """A network with its prediction config.

    Args:
        network: a model's config, as under ``models`` of a run.
        settings: fields of a ``PredictionConfig``.
        facts: what the model card states, see ``model_facts``.
        segmenter: fields of a ``SegmenterConfig``: what predicts the organ masks that the network
            reads; None if they come from elsewhere.

    Attributes:
        network_config: what the network is built from.
        segmenter: what predicts organ masks; None if nothing does.

    Raises:
        ConfigError: if its task gives neither findings nor gaze, or the segmenter lacks an organ.
    """

    def __init__(
        self,
        network: dict[str, Any],
        settings: dict[str, Any],
        facts: dict[str, Any] | None = None,
        segmenter: dict[str, Any] | None = None,
    ) -> None:
        super().__init__()
        # The weights follow: nothing is to be downloaded when the model is built again.
        fresh = {name: False if name == "pretrained" else v for name, v in network.items()}
        config: Any = TypeAdapter(ModelConfig).validate_python(fresh)
        self.settings = PredictionConfig.model_validate(settings)
        self.facts: dict[str, Any] = dict(facts or {})
        if not (self.settings.has_diagnosis or self.settings.has_saliency):
            raise ConfigError(
                f"task '{self.settings.task}' gives neither findings nor gaze to share; choose "
                "another --stage"
            )
        self.network_config: dict[str, Any] = config.model_dump(mode="json")
        self._hub_mixin_config = {
            "network": self.network_config,
            "settings": self.settings.model_dump(mode="json"),
            "facts": self.facts,
        }
        self.network = build_network(config, len(self.settings.classes), seed=0)
        self.segmenter: SharedSegmenter | None = None
        if segmenter is not None:
            own = SegmenterConfig.model_validate(segmenter)
            self.segmenter = SharedSegmenter(own, self.settings)
            self._hub_mixin_config["segmenter"] = self.segmenter.config.model_dump(mode="json")
        given = self.settings.temperatures or (1.0,) * len(self.settings.classes)
        self.register_buffer("temperatures", torch.tensor(given), persistent=False)
        self.temperatures: Tensor

    @classmethod
    def of_stage(cls, finished: FinishedStage) -> Self:
        """The model of a finished stage, with the facts of its run and the segmenter it reads."""
        segment = segment_stage(finished)
        masks = None if segment is None else segmenter_config(segment).model_dump(mode="json")
        model = cls(
            network=finished.config.models[finished.stage.model].model_dump(mode="json"),
            settings=prediction_config(finished).model_dump(mode="json"),
            facts=model_facts(finished),
            segmenter=masks,
        )
        hand_over(model.network, read_weights(finished.weights), {"": ""}, str(finished.weights))
        if segment is not None and model.segmenter is not None:
            weights = segment.weights
            hand_over(model.segmenter.network, read_weights(weights), {"": ""}, str(weights))
        return model.eval()

    @property
    def pathologies(self) -> list[str]:
        """Names of the classes, in the order of the logits."""
        return list(self.settings.classes)

    @property
    def masks_inside(self) -> bool:
        """Whether ``forward`` itself can segment an image."""
        return self.segmenter is not None and self.segmenter.fits

    def forward(
        self,
        image: Float[Tensor, "b 1 h w"],
        valid: Bool[Tensor, "b 1 h w"] | None = None,
        anatomy: Float[Tensor, "b m h w"] | None = None,
    ) -> GazeOutputs:
        """All that the model's task gives.

        Args:
            image: grey level in [0, 1] at ``settings.image_size``, prepared as ``fit_film`` does.
            valid: film, not padding; all of it if None.
            anatomy: organ masks in the order of ``settings.organs``, NaN where not known. If None:
                the segmenter's, or those that the run would give a film from elsewhere.

        Raises:
            ConfigError: if there are no masks and the segmenter sees films another way.
        """
        if valid is None:
            valid = torch.ones_like(image, dtype=torch.bool)
        if anatomy is None and self.segmenter is not None:
            anatomy = self.segmenter.on_grid(image, valid)
        elif anatomy is None and self.settings.organs:
            shape = (len(image), len(self.settings.organs), *image.shape[-2:])
            anatomy = image.new_full(shape, 1.0 if self.settings.anatomy == "ones" else torch.nan)
        context = AttentionContext(valid=valid, anatomy=anatomy, organs=self.settings.organs)
        given: Outputs = self.network(image, self.settings.task, context)
        outputs: GazeOutputs = {}
        if self.settings.has_diagnosis:
            logits = given["class_logits"]
            outputs["class_logits"] = logits
            outputs["probabilities"] = probabilities(
                logits / self.temperatures, exclusive=self.settings.exclusive
            )
        if self.settings.has_saliency:
            outputs["saliency_logits"] = given["saliency_logits"]
            outputs["density"] = density(given["saliency_logits"], valid)
        return outputs

    def predictor(self, device: str = "auto") -> Predictor:
        """The model as a function of films of any size, which predicts as its run does.

        Raises:
            ConfigError: if the model needs the organ masks of a segmenter that it has not.
        """
        settings, where = self.settings, choose_device(device)
        anatomy: AnatomySource | None = None
        if self.segmenter is not None:
            anatomy = self.segmenter.to(where).eval().source()
        elif settings.anatomy == "stage":
            raise ConfigError(
                "the model reads organ masks that another stage of its run predicts, and has no "
                "segmenter; export the run again, or call the model with 'anatomy'"
            )
        elif settings.organs:
            kind = OnesAnatomy if settings.anatomy == "ones" else UnknownAnatomy
            anatomy = kind(settings.organs)
        return Predictor(settings, self.network.to(where).eval(), where, anatomy=anatomy)

    def generate_model_card(self, *args: object, **kwargs: object) -> ModelCard:
        """The card of ``model_facts``; the mixin calls this when it saves."""
        del args, kwargs
        return ModelCard(model_card(self.settings, self.facts))

    @classmethod
    def _from_pretrained(
        cls,
        *,
        model_id: str,
        map_location: str = "cpu",
        **options: Any,  # noqa: ANN401
    ) -> Self:
        """The mixin's own, but strict, without its print, and with errors that help."""
        missing = [name for name in ("network", "settings") if name not in options]
        if missing:
            raise ConfigError(f"{model_id}: no {CONFIG} with {', '.join(missing)}: no gazedx model")
        if not Path(model_id).is_dir():
            return super()._from_pretrained(  # type: ignore[no-any-return]
                model_id=model_id, map_location=map_location, **{**options, "strict": True}
            )
        own = {name: options[name] for name in PARTS if name in options}
        model, path = cls(**own), Path(model_id) / WEIGHTS
        taken = hand_over(model, read_weights(path), {"": ""}, str(path))
        if taken.fresh:
            raise StageError(f"{path}: expected all tensors of the network, {_first(taken.fresh)}")
        return model.to(map_location).eval()


def _first(names: Sequence[str]) -> str:
    return f"{len(names)} are missing, '{names[0]}' first"


def load_model(path: Path | str, stage: str | None = None) -> GazeModel:
    """The model of a run folder, or of a folder that ``save_pretrained`` wrote.

    Raises:
        ConfigError: if the folder is neither, or has no such stage.
        StageError: if the stage is not finished, or weights do not fit.
    """
    path = Path(path)
    if not _is_shared(path):
        return GazeModel.of_stage(FinishedStage.load(path, stage))
    if stage is not None:
        raise ConfigError(f"{path}: an exported model has no stages; leave out --stage")
    model: GazeModel = GazeModel.from_pretrained(path)
    return model


def open_predictor(path: Path, stage: str | None = None, device: str = "auto") -> Predictor:
    """The predictor of such a folder; of a run's stage, its own source of organ masks too."""
    if _is_shared(path):
        return load_model(path, stage).predictor(device)
    return Predictor.load(path, stage, device)


def _is_shared(path: Path) -> bool:
    return (path / CONFIG).is_file() and not (path / "config.yaml").is_file()
