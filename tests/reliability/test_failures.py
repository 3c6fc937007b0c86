"""A full disk, no memory, a loss that is not finite: what is said, and what is left."""

import errno
import os
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import pytest
import torch
from torch import Tensor

from experiments import embeddings
from experiments.build import build_cohorts
from experiments.config import RunConfig
from experiments.embeddings import Embedded
from experiments.out_of_memory import is_out_of_memory, out_of_memory
from experiments.record import read_stage
from eye_gaze_data import files
from eye_gaze_data.errors import StageError, StorageError
from eye_gaze_data.files import sha256_of_file, write_text
from saliency.decoder import Decoder
from saliency.module import TaskModule
from tests.experiments.small import small_config, small_stage
from tests.reliability.test_resume import config_of, same, trained

LAST = Path("01-saliency", "checkpoints", "last.ckpt")


def test_a_full_disk_leaves_the_last_checkpoint_and_says_which_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = trained(config_of("saliency"), tmp_path / "whole")
    run, write, kept = tmp_path / "cut", files._write_atomic, ""

    def filling(path: Path, writer: Any) -> None:  # noqa: ANN401
        nonlocal kept

        def half(file: BinaryIO) -> None:
            file.write(b"half of it")
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        full = path == run / LAST and path.is_file()
        if full:
            kept = sha256_of_file(path)
        write(path, half if full else writer)

    with monkeypatch.context() as patch:
        patch.setattr(files, "_write_atomic", filling)
        with pytest.raises(StorageError) as error:
            trained(config_of("saliency"), run)
    said = str(error.value)
    assert said.startswith(f"{run / LAST}: no space to write it (No space left on device; ")
    assert "MB free); what stood there before is as it was" in said
    assert error.value.exit_code == 1
    assert sha256_of_file(run / LAST) == kept
    assert torch.load(run / LAST, weights_only=True)["epoch"] == 0
    assert not list(run.rglob(".*.tmp"))
    assert same(trained(config_of("saliency"), run), whole)


def test_another_error_of_the_disk_is_not_called_a_full_one(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(FileExistsError):
        write_text(tmp_path / "file" / "below", "")


def test_a_loss_that_is_not_finite_keeps_the_last_good_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = trained(config_of("saliency"), tmp_path / "whole")
    total, calls, kept = TaskModule.total, 0, ""

    def breaking(self: TaskModule, terms: Any) -> tuple[Tensor, dict[str, Tensor]]:  # noqa: ANN401
        nonlocal calls, kept
        calls += 1
        loss, means = total(self, terms)
        if calls == 5:
            kept = sha256_of_file(tmp_path / "cut" / LAST)
            loss = loss * torch.nan
        return loss, means

    with monkeypatch.context() as patch:
        patch.setattr(TaskModule, "total", breaking)
        with pytest.raises(StageError, match="epoch 1, batch 1: the loss is not finite"):
            trained(config_of("saliency"), tmp_path / "cut")
    assert sha256_of_file(tmp_path / "cut" / LAST) == kept
    assert torch.load(tmp_path / "cut" / LAST, weights_only=True)["epoch"] == 0
    assert same(trained(config_of("saliency"), tmp_path / "cut"), whole)


def test_a_last_step_that_diverges_keeps_the_last_good_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = trained(config_of("saliency"), tmp_path / "whole")
    begin, kept = TaskModule.on_validation_epoch_start, ""

    def diverged(self: TaskModule) -> None:
        nonlocal kept
        if self.current_epoch == 1:
            kept = sha256_of_file(tmp_path / "cut" / LAST)
            with torch.no_grad():
                next(p for p in self.parameters() if p.requires_grad).fill_(torch.inf)
        begin(self)

    with monkeypatch.context() as patch:
        patch.setattr(TaskModule, "on_validation_epoch_start", diverged)
        message = r"epoch 1: 1 of \d+ trained tensors are not finite after its last step, first"
        with pytest.raises(StageError, match=message):
            trained(config_of("saliency"), tmp_path / "cut")
    assert sha256_of_file(tmp_path / "cut" / LAST) == kept
    assert same(trained(config_of("saliency"), tmp_path / "cut"), whole)


def test_a_contrast_that_diverges_is_told_from_its_embeddings(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def lost(*_: Any) -> Embedded:  # noqa: ANN401
        return Embedded(np.arange(4), np.full((4, 3), np.nan), np.zeros((4, 2)))

    monkeypatch.setattr(embeddings, "embed", lost)
    message = "stage 'contrast', epoch 0: embeddings of films are not finite, the stage has div"
    with pytest.raises(StageError, match=message):
        trained(config_of("contrast"), tmp_path)


def test_an_out_of_memory_error_names_the_batch_size_to_try(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def greedy(*_: Any) -> Tensor:  # noqa: ANN401
        return torch.empty(1 << 50)

    with monkeypatch.context() as patch:
        patch.setattr(Decoder, "forward", greedy)
        with pytest.raises(StageError) as error:
            trained(config_of("saliency"), tmp_path)
    said = str(error.value)
    assert said.startswith("stage 'saliency': out of memory with 8 images of 32x32 a batch (Runt")
    assert "try batch_size: 4, or batch_size: 4 with trainer.accumulate: 2 (as many" in said
    assert "checkpointing: true of the model 'network'" in said
    record = read_stage(tmp_path / "01-saliency")
    assert record is not None
    assert record["status"] == "failed"


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"), True),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to"), True),
        (MemoryError(), True),
        (RuntimeError("shapes do not match"), False),
    ],
)
def test_what_counts_as_out_of_memory(error: BaseException, expected: bool) -> None:
    assert is_out_of_memory(error) is expected


def test_the_advice_fits_the_stage() -> None:
    def advice(**changes: Any) -> str:  # noqa: ANN401
        stage = small_stage("a", "pretrain", "contrast", train=["encoder_a.*"]) | changes
        config = small_config(stages=[stage], trainer={"device": "cpu", "accumulate": 2})
        return str(out_of_memory(MemoryError("x"), config, config.stages[0]))

    # Triplets are formed within a batch: accumulating is another loss.
    assert "try batch_size: 4, or checkpointing" in advice()
    # Two films are the least that can be compared.
    assert "batch_size: 2" in advice(batch_size=4)
    assert "batch_size" not in advice(batch_size=3)
    assert "batch_size" not in advice(batch_size=1)
    data = {"cohorts": "phantom", "image_size": [64, 32], "views": 2, "augment": {"shift": 0.1}}
    assert "8 images in 2 views of 64x32 a batch" in advice(data=data)


def accumulating(size: int, accumulate: int) -> RunConfig:
    """A stage whose norms stand still and that drops nothing out: batches do not matter."""
    trainer = {"device": "cpu", "accumulate": accumulate}
    config = config_of("fuse", batch_size=size, epochs=2, trainer=trainer)
    network = config.models["network"].model_dump(mode="json") | {"dropout": 0.0}
    tree = config.model_dump(mode="json") | {"models": {"network": network}}
    return small_config(**tree)


def test_two_batches_accumulated_are_one_of_twice_the_size(tmp_path: Path) -> None:
    labels = build_cohorts(accumulating(8, 1)).labels
    assert not torch.from_numpy(labels).isnan().any()
    one = trained(accumulating(8, 1), tmp_path / "one")
    two = trained(accumulating(4, 2), tmp_path / "two")
    for name, value in one.items():
        torch.testing.assert_close(two[name], value, rtol=0, atol=2e-6)
    other = trained(accumulating(4, 1), tmp_path / "other")
    assert not torch.allclose(other["fusion.0.weight"], one["fusion.0.weight"], atol=2e-6)


def test_half_precision_trains_and_computes_once_alike(tmp_path: Path) -> None:
    found = {}
    for mode in ("auto", "off"):
        trainer = {"device": "cpu", "precision": "bf16-mixed", "computed_once": mode}
        data = {"cohorts": "phantom", "image_size": [32, 32]}
        config = config_of("fuse", data=data, epochs=1, trainer=trainer)
        found[mode] = trained(config, tmp_path / mode)
    assert same(found["auto"], found["off"])
    assert all(value.isfinite().all() for value in found["auto"].values())
