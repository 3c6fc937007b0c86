"""The task detect: whose films are scored, what is logged, how the loss is normalised."""

import math
from typing import Any

import pytest
import pytorch_lightning as pl
import torch
from numpy.testing import assert_allclose
from torch import Tensor, nn
from torch.utils.data import DataLoader

from diagnosis.detection_module import DetectionModule
from eye_gaze_data.batch import Batch, check_batch
from saliency.attention import AttentionContext
from saliency.module import TaskSettings
from saliency.network import Network, Outputs, Task
from saliency.terms import LossTerm

pytestmark = [  # Lightning's own, which experiments/runner.py silences, too
    pytest.mark.filterwarnings("ignore:.*LeafSpec.*:FutureWarning"),
    pytest.mark.filterwarnings("ignore:.*in eval mode.*"),
    pytest.mark.filterwarnings("ignore:.*does not have many workers.*"),
]
SIZE = 16


class Repeats(Network):
    """Predicts the box (2, 2, 10, 10) of class 0 everywhere; its loss is a number a film."""

    tasks = frozenset({"detect"})

    def __init__(self) -> None:
        super().__init__()
        self.value = nn.Parameter(torch.zeros(()))

    def forward(
        self, image: Tensor, task: Task = "detect", context: AttentionContext | None = None
    ) -> Outputs:
        assert task == "detect"
        assert context is not None
        assert context.boxes_known is not None
        assert context.boxes is not None
        sizes = torch.tensor([float(len(boxes)) for boxes in context.boxes])
        values = (self.value - sizes)[context.boxes_known].square()
        box = {"boxes": torch.tensor([[2.0, 2.0, 10.0, 10.0]]), "labels": torch.tensor([0])}
        return {
            "detections": [{**box, "scores": torch.tensor([0.9])} for _ in image],
            "losses": {"detection": LossTerm(values), "other": LossTerm(values[:0])},
        }


def batch_of(boxes: list[list[list[float]]], known: list[bool]) -> Batch:
    n = len(boxes)
    unknown = torch.full((n, 1, SIZE, SIZE), math.nan)
    return {
        "image": torch.zeros(n, 1, SIZE, SIZE),
        "valid": torch.ones(n, 1, SIZE, SIZE, dtype=torch.bool),
        "frame": torch.eye(2, 3).expand(n, 2, 3),
        "saliency": unknown,
        "fixations": unknown,
        "labels": torch.full((n, 2), math.nan),
        "anatomy": torch.zeros(n, 0, SIZE, SIZE),
        "boxes": [torch.tensor(one).reshape(-1, 4) for one in boxes],
        "box_labels": [torch.zeros(len(one), dtype=torch.int64) for one in boxes],
        "boxes_known": torch.tensor(known),
        "index": torch.arange(n),
        "view": torch.zeros(n, dtype=torch.int64),
        "image_id": [f"i{row}" for row in range(n)],
        "patient_id": [f"p{row}" for row in range(n)],
    }


RIGHT, HALF = [2.0, 2.0, 10.0, 10.0], [2.0, 2.0, 10.0, 7.5]


def validated(batches: list[Batch]) -> dict[str, float]:
    module = DetectionModule(Repeats(), TaskSettings("detect", "detect", {"detection": 1.0}))
    trainer = pl.Trainer(
        accelerator="cpu", logger=False, enable_progress_bar=False, enable_model_summary=False,
        enable_checkpointing=False,
    )  # fmt: skip
    loader: DataLoader[Any] = DataLoader(batches, batch_size=None)  # type: ignore[arg-type]
    trainer.validate(module, loader, verbose=False)
    return {name: float(value) for name, value in trainer.callback_metrics.items()}


def test_precision_is_over_films_with_a_complete_list_in_all_batches() -> None:
    first = batch_of([[RIGHT], [[11.0, 11.0, 15.0, 15.0]]], [True, False])
    check_batch(first, 2)
    found = validated([first, batch_of([[HALF]], [True])])
    # The other box overlaps by 5.5 / 8: right up to a threshold of 0.65, four of ten.
    expected = (4 * 1.0 + 6 * 51 / 101) / 10
    assert_allclose(found["valid/map"], expected, atol=1e-6)
    assert found["valid/ap50"] == 1.0
    assert found["valid/detection"] == found["valid/loss"] == 1.0


def test_without_a_known_box_precision_is_nan() -> None:
    for boxes, known in (([RIGHT], False), ([], True)):
        found = validated([batch_of([boxes], [known])])
        assert math.isnan(found["valid/map"])
        assert math.isnan(found["valid/ap50"])
    assert found["valid/detection"] == 0.0


def test_the_last_epochs_boxes_are_forgotten() -> None:
    module = DetectionModule(Repeats(), TaskSettings("detect", "detect", {"detection": 1.0}))
    module.eval()
    for _ in range(2):
        module.on_validation_epoch_start()
        module.loss_terms(batch_of([[RIGHT]], [True]))
        module.validate(batch_of([[RIGHT]], [True]))
    assert len(module._pairs) == 1


def test_a_batch_is_normalised_by_its_films_with_boxes() -> None:
    module = DetectionModule(Repeats(), TaskSettings("detect", "detect", {"detection": 2.0}))
    terms = module.loss_terms(batch_of([[RIGHT], [RIGHT], [RIGHT, HALF]], [True, False, True]))
    loss, means = module.total(terms)
    # Of one and two boxes: 1 and 4, and nothing of the film that is not known.
    assert_allclose(means["detection"].item(), 2.5)
    assert_allclose(loss.item(), 5.0)
    loss.backward()  # type: ignore[no-untyped-call]
    value = module.network.value
    assert isinstance(value, nn.Parameter)
    assert value.grad is not None
    assert_allclose(value.grad.item(), 2 * (-2 - 4) / 2)
