"""The segment task under Lightning: who sees what, what the teacher becomes, what is logged."""

from typing import Any

import pytest
import pytorch_lightning as pl
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

from diagnosis.anatomy.config import TeacherConfig
from diagnosis.anatomy.dice import dice
from diagnosis.anatomy.losses import dice_bce, teacher_consistency
from diagnosis.anatomy.module import SegmentationModule
from diagnosis.anatomy.teacher import warmed_decay
from eye_gaze_data.batch import Batch
from saliency.context import paired_views
from saliency.module import TaskSettings
from saliency.network import Network, Outputs

pytestmark = [
    pytest.mark.filterwarnings("ignore:.*does not have many workers"),
    pytest.mark.filterwarnings("ignore:You defined a `validation_step`"),
    pytest.mark.filterwarnings("ignore:.*LeafSpec"),
]
SIZE = (8, 10)
State = dict[str, Tensor]


class Toy(Network):
    """One convolution and a norm; it keeps what it was shown."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.conv, self.norm = nn.Conv2d(1, 2, 3, padding=1), nn.BatchNorm2d(2)
        self.seen: list[Tensor] = []

    def forward(self, image: Tensor, task: object = "segment", context: object = None) -> Outputs:
        assert (task, context) == ("segment", None)
        self.seen.append(image)
        return {"anatomy_logits": self.norm(self.conv(image))}


def make_batch(views: int, films: int = 3, seed: int = 0) -> Batch:
    """Views that are shifted against each other; one film without masks, one with one organ."""
    generator = torch.Generator().manual_seed(seed)
    rows = films * views
    frame = torch.eye(2, 3).repeat(rows, 1, 1)
    frame[films:, 0, 2] = 2
    masks = (torch.rand(rows, 2, *SIZE, generator=generator) < 0.5).float()
    masks[1::films], masks[2::films, 0] = torch.nan, torch.nan
    valid = torch.ones(rows, 1, *SIZE, dtype=torch.bool)
    valid[films:, ..., :2] = False
    unknown = torch.full((rows, 1, *SIZE), torch.nan)
    return {
        "image": torch.rand(rows, 1, *SIZE, generator=generator),
        "valid": valid,
        "frame": frame,
        "saliency": unknown,
        "fixations": unknown,
        "labels": torch.zeros(rows, 0),
        "anatomy": masks,
        "boxes": [torch.zeros(0, 4)] * rows,
        "box_labels": [torch.zeros(0, dtype=torch.int64)] * rows,
        "boxes_known": torch.zeros(rows, dtype=torch.bool),
        "index": torch.arange(films).repeat(views),
        "view": torch.arange(views).repeat_interleave(films),
        "image_id": [f"film-{row}" for row in range(rows)],
        "patient_id": [f"patient-{row}" for row in range(rows)],
    }


def make_module(**config: Any) -> SegmentationModule:  # noqa: ANN401
    losses = {"dice_bce": 1.0, "teacher_consistency": 3.0}
    settings = TaskSettings("stage", "segment", losses, organs=("heart", "lungs"))
    return SegmentationModule(Toy(), settings, TeacherConfig(**config))


def make_trainer(*callbacks: pl.Callback, accumulate: int = 1) -> pl.Trainer:
    return pl.Trainer(
        accelerator="cpu",
        devices=1,
        max_epochs=1,
        accumulate_grad_batches=accumulate,
        logger=False,
        num_sanity_val_steps=0,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        callbacks=list(callbacks),
    )


def loader(batches: list[Batch]) -> DataLoader[Batch]:
    return DataLoader(batches, batch_size=None)  # type: ignore[arg-type]


def copy_of(module: nn.Module) -> State:
    return {name: value.clone() for name, value in module.state_dict().items()}


class Students(pl.Callback):
    """What the student was after each batch, and the weight of the consistency at it."""

    def __init__(self) -> None:
        self.states: list[State] = []
        self.ramps: list[float] = []

    def on_train_batch_start(self, trainer: Any, pl_module: Any, *_: Any) -> None:  # noqa: ANN401
        del trainer
        self.ramps.append(pl_module.ramp())

    def on_train_batch_end(self, trainer: Any, pl_module: Any, *_: Any) -> None:  # noqa: ANN401
        del trainer
        self.states.append(copy_of(pl_module.network))


@pytest.mark.parametrize("accumulate", [1, 2])
def test_the_teacher_follows_the_recursion(accumulate: int) -> None:
    module, students = make_module(decay=0.6, ramp=0.5), Students()
    with torch.no_grad():
        module.network.get_parameter("conv.weight").mul_(2)  # handed over after it was built
    mean = copy_of(module.network)
    batches = [make_batch(2, seed=seed) for seed in range(6)]
    make_trainer(students, accumulate=accumulate).fit(module, loader(batches))
    steps = students.states[accumulate - 1 :: accumulate]
    assert len(steps) == 6 // accumulate
    for step, state in enumerate(steps, 1):
        decay = warmed_decay(0.6, step)
        for name, value in state.items():
            floating = value.is_floating_point()
            mean[name] = decay * mean[name] + (1 - decay) * value if floating else value
    exported = module.exported()
    assert exported.keys() == mean.keys()
    for name, value in mean.items():
        torch.testing.assert_close(exported[name], value)
    assert not torch.equal(exported["conv.weight"], steps[-1]["conv.weight"])
    assert all(p.grad is None and not p.requires_grad for p in module.teacher.parameters())
    ramps = students.ramps[::accumulate]
    assert ramps[0] < 0.01
    assert ramps == sorted(ramps)
    assert ramps[-1] == 1


def test_the_teacher_sees_the_first_view_and_the_student_the_second() -> None:
    module, batch = make_module().train(), make_batch(2)
    assert not module.teacher.training
    assert module.network.training
    with torch.no_grad():
        module.teacher.get_parameter("conv.weight").mul_(-1)
    terms = module.loss_terms(batch)
    (student,), (teacher,) = module.network.seen, module.teacher.seen  # type: ignore[misc]
    assert torch.equal(teacher, batch["image"][:3])
    assert torch.equal(student, batch["image"][3:])
    strong, weak = module.network(student), module.teacher(teacher)
    _, transform = paired_views(batch)
    assert transform is not None
    valid, masks = batch["valid"], batch["anatomy"]
    logits = strong["anatomy_logits"]
    expected = dice_bce(logits, masks[3:], valid[3:])
    # Two organs of the first film, none of the second, one of the third.
    assert len(expected) == 3
    torch.testing.assert_close(terms["dice_bce"].values, expected)
    agreement = teacher_consistency(logits, weak["anatomy_logits"], transform, valid[3:], valid[:3])
    torch.testing.assert_close(terms["teacher_consistency"].values, agreement)
    assert len(agreement) == 3 * 2 * 8 * 8
    terms["teacher_consistency"].values.sum().backward()  # type: ignore[no-untyped-call]
    assert module.network.get_parameter("conv.weight").grad is not None
    assert module.teacher.get_parameter("conv.weight").grad is None


def test_one_view_is_plain_supervision() -> None:
    module, batch = make_module().train(), make_batch(1)
    terms = module.loss_terms(batch)
    assert terms.keys() == {"dice_bce"}
    assert module.teacher.seen == []


def test_validation_is_of_the_teacher() -> None:
    module = make_module()
    with torch.no_grad():
        module.teacher.get_parameter("conv.weight").mul_(-3)
    batches = [make_batch(1, seed=seed) for seed in range(3)]
    (logged,) = make_trainer().validate(module, loader(batches), verbose=False)
    with torch.no_grad():
        probabilities = [module.teacher(b["image"])["anatomy_logits"].sigmoid() for b in batches]
    values = torch.cat(
        [dice(p, b["anatomy"], b["valid"]) for p, b in zip(probabilities, batches, strict=True)]
    )
    assert logged["valid/dice"] == pytest.approx(values.nanmean(0).mean().item())
    assert module.network.seen == []
    assert "valid/teacher_consistency" not in logged
    assert logged["valid/loss"] == pytest.approx(logged["valid/dice_bce"])
