"""The segmenter that travels inside a shared model: for whole films, and for prepared images."""

from typing import Literal

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn.functional import interpolate

from diagnosis.anatomy.config import AnatomySegmenterConfig
from diagnosis.anatomy.masks import FilmSegmenter, SegmentedAnatomy
from diagnosis.anatomy.segmenter import OrganMasks
from eye_gaze_data.errors import ConfigError

from .build import build_network
from .cooperation import Strict
from .finished import FinishedStage
from .prediction_config import PredictionConfig


class SegmenterConfig(Strict):
    """What a segmenter is built from, and how films are brought onto its grid.

    Attributes:
        network: the segmenter's config, as under ``models`` of a run.
        image_size: (height, width) of its grid.
        fit: how a film is brought onto it, see ``fit_frame``.
    """

    network: AnatomySegmenterConfig
    image_size: tuple[int, int]
    fit: Literal["pad", "stretch"] = "pad"


def segmenter_config(finished: FinishedStage) -> SegmenterConfig:
    """Of a finished segment stage."""
    config, spec = finished.config, finished.stage
    return SegmenterConfig.model_validate(
        {
            "network": config.models[spec.model].model_dump(mode="json"),
            "image_size": spec.data.image_size,
            "fit": spec.data.fit,
        }
    )


class SharedSegmenter(OrganMasks):
    """A segmenter for the films and for the prepared images of another network.

    Attributes:
        config: what it is built from.
        segmented: names of its planes.

    Args:
        given: what it is built from.
        settings: of the network that reads the masks.

    Raises:
        ConfigError: if it has not all organs that the network reads.
    """

    def __init__(self, given: SegmenterConfig, settings: PredictionConfig) -> None:
        # The weights follow: nothing is to be downloaded when the model is built again.
        network = given.network.model_copy(update={"pretrained": False})
        super().__init__(build_network(network, 0, seed=0))
        self.config = given.model_copy(update={"network": network})
        self.size, self.fit, self.settings = given.image_size, given.fit, settings
        self.segmented = network.organs
        missing = [organ for organ in settings.organs if organ not in self.segmented]
        if missing or not settings.organs:
            raise ConfigError(
                f"the model reads the organs {list(settings.organs)}, its segmenter gives "
                f"{list(self.segmented)}; give the segmenter of the model's own run"
            )
        self._planes = [self.segmented.index(organ) for organ in settings.organs]

    @property
    def fits(self) -> bool:
        """Whether an image on the network's grid shows the film as the segmenter saw films."""
        (height, width), (own_height, own_width) = self.settings.image_size, self.size
        # A padded film keeps its shape only where both grids have the same.
        alike = self.fit == "stretch" or height * own_width == width * own_height
        return self.fit == self.settings.fit and alike

    def on_grid(
        self, image: Float[Tensor, "b 1 h w"], valid: Bool[Tensor, "b 1 h w"]
    ) -> Float[Tensor, "b m h w"]:
        """Masks of prepared images on the network's grid, 0 outside the film.

        Args:
            image: on the network's grid; resized to the segmenter's if that is of another size.
            valid: film, not padding.

        Raises:
            ConfigError: if the segmenter saw films another way.
        """
        if not self.fits:
            settings = self.settings
            raise ConfigError(
                f"the segmenter sees films at {self.size} by fit '{self.fit}', the model at "
                f"{settings.image_size} by '{settings.fit}': the prepared image does not serve "
                "both; give 'anatomy', or use 'predictor()', which segments the film itself"
            )
        size = (int(image.shape[-2]), int(image.shape[-1]))
        masks = self(_resized(image, self.size))[:, self._planes]
        return torch.where(valid, _resized(masks, size), 0.0)

    def source(self) -> SegmentedAnatomy:
        """Masks of films of any size, bit for bit those of the run."""
        segmenter = FilmSegmenter(self.network, self.size, self.fit)
        return SegmentedAnatomy(self.settings.organs, self.segmented, None, lambda: segmenter)


def _resized(planes: Tensor, size: tuple[int, int]) -> Tensor:
    if tuple(planes.shape[-2:]) == size:
        return planes
    return interpolate(planes, size, mode="bilinear", align_corners=False, antialias=True)
