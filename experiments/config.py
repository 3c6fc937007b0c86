"""The run as data: what ``experiments/configs/*.yaml`` may say.

Unknown keys are refused. Everything here is checked without torch and without reading data;
what needs the cohort or the network is checked by ``check``.
"""

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, field_validator

from diagnosis.anatomy.config import AnatomySegmenterConfig, TeacherConfig
from diagnosis.config import DualEncoderConfig, MTUNetConfig, SmpUNetConfig
from diagnosis.published.config import (
    AnatomyXNetConfig,
    DualAttNetConfig,
    MSAIMNetConfig,
    MSANetConfig,
)
from eye_gaze_data.config import AugmentConfig, GazeConfig
from eye_gaze_data.open_cohort import CohortConfig
from pretrain.config import ContrastConfig
from saliency.config import LegacyConfig, OptimiserConfig, ScheduleConfig

from .cooperation import Knows, MonitorConfig, Name, RoundConfig, Strict, TaskConfig

Weight = Annotated[float, Field(ge=0)]
ModelConfig = Annotated[
    DualEncoderConfig
    | MTUNetConfig
    | SmpUNetConfig
    | AnatomySegmenterConfig
    | AnatomyXNetConfig
    | MSANetConfig
    | MSAIMNetConfig
    | DualAttNetConfig,
    Field(discriminator="kind"),
]


class StageData(Strict):
    """What a stage sees.

    Attributes:
        cohorts: weight of each cohort in an epoch; a list, or one name, draws each row once.
        supervision: share of an epoch drawn from the rows that know gaze and labels (``both``),
            ``gaze`` alone or ``labels`` alone; None for each row once.
        train: split to train on.
        valid: split to choose the best epoch on; never test.
        image_size: (height, width) of the network grid.
        fit: ``pad``, ``crop`` or ``stretch`` the film onto the grid, or take its pixels ``strided``
            as the released code does, see ``fit_frame``.
        stride: of the fit ``strided``.
        views: views of each image in a batch: how many draws of ``augment``, or a list with the
            augmentation of each view, e.g. ``[{}, {flip: always}]``.
        augment: ranges of the augmentation; none if None.
        gaze: density recipe and readers.
    """

    cohorts: dict[Name, float]
    supervision: dict[Knows, Annotated[float, Field(ge=0)]] | None = None
    train: Literal["train"] = "train"
    valid: Literal["valid"] = "valid"
    image_size: tuple[int, int]
    fit: Literal["pad", "crop", "stretch", "strided"] = "pad"
    stride: int = Field(default=1, ge=1)
    views: Annotated[int, Field(ge=1, le=8)] | tuple[AugmentConfig, ...] = 1
    augment: AugmentConfig | None = None
    gaze: GazeConfig = GazeConfig()

    @field_validator("cohorts", mode="before")
    @classmethod
    def _as_mix(cls, value: object) -> object:
        if isinstance(value, str):
            return {value: 0.0}
        if isinstance(value, list):
            return dict.fromkeys(value, 0.0)
        return value

    def training_views(self) -> tuple[AugmentConfig | None, ...]:
        """The augmentation of each view in training."""
        return (self.augment,) * self.views if isinstance(self.views, int) else self.views

    @property
    def weights(self) -> dict[str, float] | None:
        """Share of each cohort, or None where each row is drawn once."""
        return dict(self.cohorts) if any(self.cohorts.values()) else None


class InitConfig(Strict):
    """Where weights come from.

    Attributes:
        stage: an earlier stage of the run.
        file: a safetensors file, instead of a stage.
        prefixes: source prefix to target prefix; each must match at least one tensor, and every
            tensor under it must fit.
    """

    stage: Name | None = None
    file: Path | None = None
    prefixes: dict[str, str] = Field(default_factory=lambda: {"": ""})

    @field_validator("prefixes")
    @classmethod
    def _not_empty(cls, value: dict[str, str]) -> dict[str, str]:
        if not value:
            raise ValueError("must map at least one prefix")
        return value


class AnatomyConfig(Strict):
    """Where organ masks come from.

    Attributes:
        source: the cohort's masks, the predictions of an earlier ``segment`` stage, or ones.
        stage: the stage, for source ``stage``.
        organs: names of the planes, in order.
        annotated: training films, drawn by seed, whose masks are used, for source ``cohort``; all
            that have any if None.
    """

    source: Literal["cohort", "stage", "ones"] = "cohort"
    stage: Name | None = None
    organs: tuple[str, ...]
    annotated: int | None = Field(default=None, ge=1)


class LossConfig(Strict):
    """Weight and options of a loss; a bare number, or a list of them, is a weight.

    Attributes:
        weight: of every epoch, or one an epoch, over and over: ``[1, 0]`` takes every other epoch.
        options: of the loss.
    """

    weight: Weight | Annotated[tuple[Weight, ...], Field(min_length=1)] = 1.0
    options: dict[str, Any] = Field(default_factory=dict)


class StageConfig(Strict):
    """One stage; see ``docs/stages.md``.

    Attributes:
        name: of its folder, its logs and of ``init`` entries.
        kind: which command runs it.
        task: what is trained.
        model: name under ``models``.
        data: what it sees.
        classes: label columns of this stage; those of the run if None.
        init: where weights come from; later entries go over earlier ones.
        anatomy: where organ masks come from.
        contrast: of task ``contrast``.
        teacher: of task ``segment``.
        train: globs over parameter names; all else is frozen, statistics of norms included.
        unfreeze: globs over trained parameters to the first epoch in which they move.
        losses: by name.
        weighting: of several losses: their ``fixed`` weights, or uncertainties that are learned, by
            ``kendall``'s or the ``paper``'s form, on top of them.
        tasks: that stop one by one, by name; none if all go on to the end of the stage.
        legacy: quirks of the released code, see ``docs/legacy.md``.
        optimiser: of the stage; made afresh.
        schedule: of the learning rate.
        epochs: cap.
        batch_size: images a step and process.
        monitor: chooses the best epoch.
        stop_after: epochs without a better monitored value; None for never.
        round: where it stands in rounds, None outside of any.
    """

    name: Name
    kind: Literal["pretrain", "cooperative", "finetune"]
    task: Literal["contrast", "classify", "saliency", "fuse", "joint", "segment", "detect"]
    model: Name
    data: StageData
    classes: tuple[str, ...] | None = None
    init: tuple[InitConfig, ...] = ()
    anatomy: AnatomyConfig | None = None
    contrast: ContrastConfig = ContrastConfig()
    teacher: TeacherConfig = TeacherConfig()
    train: tuple[str, ...] = ("*",)
    unfreeze: dict[str, Annotated[int, Field(ge=0)]] = Field(default_factory=dict)
    losses: dict[str, LossConfig]
    weighting: Literal["fixed", "kendall", "paper"] = "fixed"
    tasks: dict[Name, TaskConfig] = Field(default_factory=dict)
    legacy: LegacyConfig = LegacyConfig()
    optimiser: OptimiserConfig = OptimiserConfig()
    schedule: ScheduleConfig = ScheduleConfig()
    epochs: int = Field(ge=1)
    batch_size: int = Field(ge=1)
    monitor: MonitorConfig
    stop_after: int | None = Field(default=None, ge=1)
    round: RoundConfig | None = None

    @field_validator("losses", mode="before")
    @classmethod
    def _weights(cls, value: object) -> object:
        if not isinstance(value, dict):
            return value
        bare = (int, float, list)
        return {k: {"weight": v} if isinstance(v, bare) else v for k, v in value.items()}


class EvaluateConfig(Strict):
    """The evaluation.

    Attributes:
        stage: whose weights; the last stage if None.
        cohorts: which; all cohorts of the run if None.
        split: which.
        grid: long side of the evaluation grid in pixels.
        gaze: recipe of the true density.
        group: column that results are reported by, never pooled over: ``cohort`` or ``source``.
        resamples: of the bootstrap over patients.
        cases: images that the report shows, all in one page.
        emd: also the earth mover's distance, which takes about a second an image and row.
        variants: also the metrics of other codes, in a table of their own.
        sensitivity: images, drawn by seed, that are scored again by other settings; 0 for none.
        specificity: at which sensitivity is stated.
    """

    stage: Name | None = None
    cohorts: tuple[Name, ...] | None = None
    split: Literal["valid", "test"] = "test"
    grid: int = Field(default=640, ge=16)
    gaze: GazeConfig = GazeConfig()
    group: Literal["cohort", "source"] = "cohort"
    resamples: int = Field(default=2000, ge=100)
    cases: int = Field(default=100, ge=0, le=1000)
    emd: bool = False
    variants: bool = False
    sensitivity: int = Field(default=200, ge=0, le=200)
    specificity: float = Field(default=0.9, gt=0, lt=1)


class TrainerConfig(Strict):
    """How stages are executed.

    Attributes:
        device: ``auto`` takes a GPU if there is one.
        devices: processes, by Lightning's DDP.
        nodes: machines.
        precision: Lightning's name; ``auto`` is float32 on a CPU.
        layout: of weights and feature maps; ``auto`` is NCHW on a CPU.
        compile: let torch compile the network: minutes at the start of each stage.
        fused: ``auto`` does the optimiser's step in one kernel on a GPU.
        workers: loader processes; ``auto`` is none on a CPU.
        accumulate: batches a step of the optimiser.
        computed_once: ``auto`` trains on what a frozen part of the network gave for each film,
            where nothing is augmented; ``off`` computes it again in every step.
    """

    device: Literal["auto", "cpu", "cuda"] = "auto"
    devices: int = Field(default=1, ge=1)
    nodes: int = Field(default=1, ge=1)
    precision: Literal["auto", "32-true", "bf16-mixed", "16-mixed"] = "auto"
    layout: Literal["auto", "nchw", "channels_last"] = "auto"
    compile: bool = False
    fused: Literal["auto", "off"] = "auto"
    workers: Literal["auto"] | Annotated[int, Field(ge=0)] = "auto"
    accumulate: int = Field(default=1, ge=1)
    computed_once: Literal["auto", "off"] = "auto"


class RunConfig(Strict):
    """A whole run.

    Attributes:
        name: of the run folder.
        seed: of everything random.
        cohorts: by name.
        legacy_split: cohorts with exclusive classes that are split by image instead of by patient,
            by the released code's counter rule.
        classes: label columns, in order; all that the cohorts have if None.
        models: by name.
        stages: in order; rounds are expanded when the file is read.
        evaluate: the evaluation.
        trainer: how stages are executed.
    """

    name: Name
    seed: int = Field(default=0, ge=0)
    cohorts: dict[Name, CohortConfig] = Field(min_length=1)
    legacy_split: tuple[Name, ...] = ()
    classes: tuple[str, ...] | None = None
    models: dict[Name, ModelConfig] = Field(min_length=1)
    stages: tuple[StageConfig, ...] = Field(min_length=1)
    evaluate: EvaluateConfig = EvaluateConfig()
    trainer: TrainerConfig = TrainerConfig()

    def stage(self, name: str) -> StageConfig:
        """A stage by its name."""
        return next(stage for stage in self.stages if stage.name == name)
