from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pandas as pd
import pytest
import torch
from torch import Tensor

from eye_gaze_data.batch import Batch, check_batch
from eye_gaze_data.cohort import Cohort, Pixels, with_splits
from eye_gaze_data.config import AugmentConfig
from eye_gaze_data.datamodule import StageData
from eye_gaze_data.dataset import GazeDataset
from eye_gaze_data.gaze import GAZE_COLUMNS, GazeTable
from eye_gaze_data.sampler import EpochSampler
from saliency.context import paired_views

ROWS = 14
GRID = (24, 16)
AUGMENT = AugmentConfig(degrees=10, scale=(0.9, 1.1), shift=0.1, noise=0.1)


class _Films:
    def __call__(self, row: int) -> Pixels:
        return np.random.default_rng(row).random((30, 20), np.float32)


def _cohort() -> Cohort:
    table = pd.DataFrame(
        {
            "image_id": [f"i{row}" for row in range(ROWS)],
            "patient_id": [f"p{row}" for row in range(ROWS)],
            "study_id": "",
            "split": "",
            "path": "",
            "height": 30,
            "width": 20,
            "source": "",
            "Mass": np.arange(ROWS) % 2.0,
        }
    )
    points = [(row, 4.0 + row, 15.0, 0.1, 0.0, "r") for row in range(0, ROWS, 2)]
    gaze = GazeTable(pd.DataFrame(points, columns=list(GAZE_COLUMNS)), ROWS)
    cohort = Cohort("films", table, ("Mass",), _Films(), gaze=gaze)
    return with_splits(cohort, ["train"] * 9 + ["valid"] * 5)


def _data(workers: int = 0, *, views: int = 1, trainer: object = None, **options: Any) -> StageData:  # noqa: ANN401
    cohort = _cohort()
    data = StageData(
        GazeDataset(cohort, GRID, 5, views=(AUGMENT,) * views),
        GazeDataset(cohort, GRID, 5),
        {"films": cohort.rows_of("train")},
        {"films": cohort.rows_of("valid")},
        batch_size=4,
        workers=workers,
        **options,
    )
    data.trainer = cast(Any, trainer)
    return data


def _trainer(epoch: int = 0, rank: int = 0, world_size: int = 1) -> SimpleNamespace:
    """As much of a trainer as the data asks."""
    return SimpleNamespace(
        fit_loop=SimpleNamespace(
            epoch_progress=SimpleNamespace(current=SimpleNamespace(processed=epoch))
        ),
        global_rank=rank,
        world_size=world_size,
        strategy=SimpleNamespace(root_device=torch.device("cpu")),
    )


def _assert_equal(one: Batch, other: Batch) -> None:
    for key, value in one.items():
        twin = other[key]  # type: ignore[literal-required]
        if isinstance(value, Tensor):
            assert torch.equal(value.nan_to_num(-7), twin.nan_to_num(-7)), key
        elif isinstance(value, list) and value and isinstance(value[0], Tensor):
            assert all(torch.equal(a, b) for a, b in zip(value, twin, strict=True)), key
        else:
            assert value == twin, key


def test_training_is_shuffled_whole_batches_and_validation_all_in_order() -> None:
    data = _data()
    train, valid = list(data.train_dataloader()), list(data.val_dataloader())
    for batch in train + valid:
        check_batch(batch, 1)
    assert [len(batch["index"]) for batch in train] == [4, 4]
    rows = [row for batch in train for row in batch["index"].tolist()]
    expected = EpochSampler({"films": np.arange(9)}, seed=5, batch_size=4)
    assert rows == [key[1] for key in expected]
    assert set(rows) < set(range(9))
    assert [batch["index"].tolist() for batch in valid] == [[9, 10, 11, 12], [13]]
    assert train[0]["image_id"] == [f"i{row}" for row in rows[:4]]
    plain = GazeDataset(_cohort(), GRID)
    torch.testing.assert_close(valid[1]["image"][0], plain[0, 13][0]["image"])


def test_views_multiply_the_rows_of_a_batch() -> None:
    first = next(iter(_data(views=2).train_dataloader()))
    assert first["image"].shape == (8, 1, *GRID)
    index = first["index"].tolist()
    assert index[:4] == index[4:]
    assert first["view"].tolist() == [0] * 4 + [1] * 4


def test_the_epoch_is_asked_of_the_trainer_each_time() -> None:
    trainer = _trainer()
    loader = _data(trainer=trainer).train_dataloader()
    batches = []
    for epoch in (0, 1, 0):
        trainer.fit_loop.epoch_progress.current.processed = epoch
        batches.append(next(iter(loader)))
        order = EpochSampler({"films": np.arange(9)}, seed=5, epoch=lambda e=epoch: e)  # type: ignore[misc]
        assert batches[-1]["index"].tolist() == [key[1] for key in order][:4]
    _assert_equal(batches[0], batches[2])
    # A restart in epoch 1 gives what an uninterrupted run gives.
    _assert_equal(batches[1], next(iter(_data(trainer=_trainer(1)).train_dataloader())))


def test_ranks_share_the_rows() -> None:
    parts = [_data(trainer=_trainer(2, rank, 2)) for rank in range(2)]
    train = [
        [row for b in data.train_dataloader() for row in b["index"].tolist()] for data in parts
    ]
    assert [len(rows) for rows in train] == [4, 4]
    assert not set(train[0]) & set(train[1])
    valid = [[row for b in data.val_dataloader() for row in b["index"].tolist()] for data in parts]
    assert valid == [[9, 11, 13], [10, 12]]


def test_a_mix_is_drawn_by_weight() -> None:
    data = _data(weights={"few": 3.0, "many": 1.0})
    data.train_rows = {"few": np.array([0, 1]), "many": np.arange(2, 8)}
    rows = [row for batch in data.train_dataloader() for row in batch["index"].tolist()]
    assert len(rows) == 8
    assert sum(row < 2 for row in rows) == 6


def test_workers_change_nothing() -> None:
    alone, helped = _data(0, views=2), _data(2, views=2)
    for name in ("train_dataloader", "val_dataloader"):
        pairs = list(zip(getattr(alone, name)(), getattr(helped, name)(), strict=True))
        assert len(pairs) == 2
        for one, other in pairs:
            _assert_equal(one, other)


@pytest.mark.parametrize("workers", [0, 2])
def test_b6_views_of_an_image_stay_pairs_on_every_rank_and_worker(workers: int) -> None:
    """What attention consistency pairs up (attention systems, B.3) is one image in two views."""
    seen = []
    for epoch, rank in ((0, 0), (0, 1), (3, 0), (3, 1)):
        data = _data(workers, views=2, trainer=_trainer(epoch, rank, 2))
        for batch in data.train_dataloader():
            pairs, transform = paired_views(batch)
            assert pairs is not None
            assert transform is not None
            first, second = pairs.T
            assert torch.equal(batch["index"][first], batch["index"][second])
            assert batch["view"][first].tolist() == [0] * len(pairs)
            assert batch["view"][second].tolist() == [1] * len(pairs)
            assert sorted(pairs.flatten().tolist()) == list(range(len(batch["index"])))
            # The map between the views leads the first frame to the second.
            whole = torch.cat(
                [batch["frame"][first], torch.tensor([[[0.0, 0, 1]]] * len(pairs))], 1
            )
            torch.testing.assert_close(transform @ whole, batch["frame"][second])
            seen.append((epoch, *batch["index"][first].tolist()))
    assert len({row for epoch, *rows in seen for row in rows if epoch == 0}) == 8
    assert [part for part in seen if part[0] == 0] != [(0, *part[1:]) for part in seen[2:]]


def test_batches_are_moved_and_pinned_only_for_a_gpu() -> None:
    data = _data(trainer=_trainer())
    assert not data.train_dataloader().pin_memory
    batch = next(iter(data.val_dataloader()))
    moved = data.transfer_batch_to_device(batch, torch.device("meta"), 0)
    assert moved["image"].device.type == moved["boxes"][0].device.type == "meta"
    gpu = _trainer()
    gpu.strategy.root_device = torch.device("cuda")
    pinned = _data(trainer=gpu).val_dataloader()
    assert pinned.pin_memory
    assert pinned.num_workers == 0
    assert not pinned.persistent_workers


def test_the_data_asks_nothing_of_a_trainer_that_is_not_there() -> None:
    data = _data()
    assert data.trainer is None
    assert len(data.train_dataloader()) == len(data.val_dataloader()) == 2
