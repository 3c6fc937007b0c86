"""A frozen part that is computed once gives the bits of one that is computed in every step."""

import errno
import shutil
from collections import namedtuple
from pathlib import Path
from typing import Any, NoReturn

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from experiments import computed_once, estimate
from experiments.build import build_cohorts, build_module
from experiments.computed_once import ComputeOnce, stage_cut
from experiments.config import RunConfig
from experiments.estimate import estimate_lines
from experiments.record import read_stage
from experiments.runner import StageRun, run
from experiments.stage_data import build_data, stage_dataset
from eye_gaze_data.batch import collate
from eye_gaze_data.errors import StageError, StorageError
from eye_gaze_data.files import sha256_of
from saliency.cut import Computed
from saliency.encoders import DenseNetEncoder
from saliency.frozen import freeze
from saliency.module import TaskModule
from saliency.network import Task
from tests.experiments.small import MODEL, small_config, small_stage

PLAIN = {"cohorts": "phantom", "image_size": [32, 32]}
SALIENCY = ["encoder_b.*", "decoder.*", "saliency_head.*"]
MT_UNET = {"kind": "mt_unet", "widths": [4, 4, 8]}
ORGANS = ["left_lung", "heart"]


def with_organs(at: str) -> dict[str, Any]:
    entry = {"use": "anatomy_aware", "at": at, "options": {"organs": len(ORGANS)}}
    return MODEL | {"attention": [entry]}


SMP = {"kind": "smp_unet", "encoder": "resnet18"}
CASES: dict[str, tuple[Task, list[str], dict[str, Any]]] = {
    "linear probe": ("classify", ["encoder_classifier.*"], MODEL),
    "saliency": ("saliency", SALIENCY, MODEL),
    "fuse": ("fuse", ["fusion.*"], MODEL),
    "mt_unet": ("classify", ["classifier.*"], MT_UNET),
    "smp_unet": ("classify", ["unet.classification_head.*"], SMP),
    "organs before the cut": ("fuse", ["fusion.*"], with_organs("encoder_a.4")),
    "organs after the cut": ("saliency", [*SALIENCY, "attention.*"], with_organs("decoder.1")),
}


def config_of(case: str, **changes: Any) -> RunConfig:  # noqa: ANN401
    task, train, model = CASES[case]
    organs = {"anatomy": {"organs": ORGANS}} if "organs" in case else {}
    stage = small_stage("stage", "cooperative", task, train=train, data=PLAIN, epochs=3) | organs
    trainer = {"device": "cpu", **changes.pop("trainer", {})}
    models = {"network": model | changes.pop("model", {})}
    return small_config(stages=[stage | changes], models=models, trainer=trainer)


def trained(config: RunConfig, folder: Path) -> tuple[dict[str, Tensor], str, str | None]:
    """Weights, metrics and the cut."""
    run(config, folder, say=lambda _: None)
    record = read_stage(folder / "01-stage")
    assert record is not None
    log = (folder / "01-stage" / "metrics.csv").read_text()
    return load_file(folder / "01-stage" / "weights.safetensors"), log, record["computed_once"]


def same(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[n], other[n]) for n in one)


@pytest.mark.parametrize("case", CASES)
def test_the_same_bits_and_metrics_as_in_every_step(case: str, tmp_path: Path) -> None:
    once, log, cut = trained(config_of(case), tmp_path / "once")
    off = config_of(case, trainer={"computed_once": "off"})
    always, log_always, none = trained(off, tmp_path / "always")
    assert (cut, none) == ("encoder_a" if CASES[case][0] == "saliency" else "pooled", None)
    assert same(once, always)
    assert log == log_always


def test_each_film_goes_through_the_encoder_once_whatever_the_epochs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[int] = []
    forward = DenseNetEncoder.forward

    def counting(self: DenseNetEncoder, image: Tensor, *rest: Any) -> Any:  # noqa: ANN401
        seen.append(len(image))
        return forward(self, image, *rest)

    monkeypatch.setattr(DenseNetEncoder, "forward", counting)
    config = config_of("fuse", epochs=5)
    trained(config, tmp_path)
    cohort = build_cohorts(config)
    train, valid = (len(cohort.rows_of(split)) for split in ("train", "valid"))
    # The training rows filled up to whole batches; the first batch for its shape and for the proof.
    assert sum(seen) == -(-train // 8) * 8 + valid + 2 * 8


@pytest.mark.parametrize("case", ["saliency", "fuse"])
def test_values_on_disk_are_used_again_after_a_break_and_then_removed(
    case: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, log, _ = trained(config_of(case), tmp_path / "whole")
    monkeypatch.setattr(computed_once, "MEMORY", 0)
    step, steps = TaskModule.training_step, 0

    def breaking(self: TaskModule, *arguments: Any) -> Tensor:  # noqa: ANN401
        nonlocal steps
        steps += 1
        if steps == 5:
            raise SystemExit(143)
        return step(self, *arguments)

    with monkeypatch.context() as patch:
        patch.setattr(TaskModule, "training_step", breaking)
        with pytest.raises(SystemExit):
            trained(config_of(case), tmp_path / "cut")
    (kept,) = (tmp_path / "cut" / "01-stage" / "computed").iterdir()
    before = kept.stat()
    rows = [len(build_cohorts(config_of(case)).rows_of(split)) for split in ("train", "valid")]
    width = 4 * (-(-rows[0] // 8) * 8 + rows[1])
    assert before.st_size % width == 0
    with monkeypatch.context() as patch:
        patch.setattr(computed_once.ComputeOnce, "_write", None)
        again, log_again, _ = trained(config_of(case), tmp_path / "cut")
    assert same(again, whole)
    assert log_again == log
    assert not kept.parent.exists()


def test_what_does_not_fit_on_the_disk_is_refused_before_it_is_computed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(computed_once, "MEMORY", 0)
    free = namedtuple("free", "free")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: free(2**10))
    monkeypatch.setattr(computed_once.ComputeOnce, "_write", None)
    message = r"computed once takes .* GiB, and .* has 9.54e-07 GiB free; set trainer.computed_once"
    with pytest.raises(StorageError, match=message):
        trained(config_of("saliency"), tmp_path)


def test_values_of_another_precision_are_not_taken_for_these(tmp_path: Path) -> None:
    config = config_of("saliency")
    cohort = build_cohorts(config)
    names = set()
    for precision in ("32-true", "bf16-mixed"):
        other = config_of("saliency", trainer={"precision": precision})
        stage = StageRun(other, other.stages[0], tmp_path, cohort, {"phantom": "x"})
        names.add(sha256_of(ComputeOnce(stage, "encoder_a", "f").facts))
    assert len(names) == 2


def test_a_file_of_other_values_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(computed_once, "MEMORY", 0)
    write = computed_once.ComputeOnce._write

    def spoilt(self: Any, path: Path, *rest: Any) -> None:  # noqa: ANN401
        write(self, path, *rest)
        path.write_bytes(b"\x3f" * path.stat().st_size)

    monkeypatch.setattr(computed_once.ComputeOnce, "_write", spoilt)
    with pytest.raises(StageError, match=r"computed once gives other class_logits \(by .* off$"):
        trained(config_of("fuse"), tmp_path)


def test_what_begins_to_train_before_the_cut_ends_the_stage(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    step = TaskModule.training_step

    def thawing(self: TaskModule, *arguments: Any) -> Tensor:  # noqa: ANN401
        next(self.network.get_submodule("decoder").parameters()).requires_grad_(True)
        return step(self, *arguments)

    monkeypatch.setattr(TaskModule, "training_step", thawing)
    with pytest.raises(StageError, match="epoch 1: what was computed once is no longer frozen"):
        trained(config_of("fuse"), tmp_path)


def test_a_full_disk_names_the_values_and_leaves_nothing_half(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> NoReturn:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(computed_once, "MEMORY", 0)
    monkeypatch.setattr(computed_once.ComputeOnce, "_values", full)
    with pytest.raises(StorageError, match=r"computed/[0-9a-f]{16}\.values: no space to write it"):
        trained(config_of("fuse"), tmp_path)
    assert not list((tmp_path / "01-stage" / "computed").iterdir())


def test_a_row_that_was_not_computed_is_an_error() -> None:
    computed = Computed(torch.tensor([[1.0], [2.0], [3.0]]), torch.tensor([4, 0, 4]), 6)
    assert computed.of(torch.tensor([0, 4, 4])).tolist() == [[2.0], [1.0], [1.0]]
    with pytest.raises(IndexError, match="out of"):
        computed.of(torch.tensor([5]))


SITE = {"use": "cbam", "at": "decoder.1", "options": {"reduction": 2}}
WIDER = {"growth_rate": 16, "block_config": [1, 1, 1, 1]}
GIVES = {"use": "image_level_attention", "at": "encoder_a.4", "options": {"classes": 14}}


@pytest.mark.parametrize(
    ("case", "changes", "expected"),
    [
        ("fuse", {"train": ["fusion.*", "decoder.*"]}, None),
        ("fuse", {"train": ["fusion.*", "saliency_head.*"]}, "pooled"),
        ("fuse", {"legacy": {"drifting_statistics": True}}, None),
        ("fuse", {"data": PLAIN | {"augment": {"shift": 0.1}}}, None),
        ("fuse", {"data": PLAIN | {"views": 2}}, None),
        ("fuse", {"model": {"attention": [SITE]}}, "pooled"),
        ("fuse", {"model": {"attention": [SITE]}, "train": ["fusion.*", "attention.*"]}, None),
        ("saliency", {"model": {"attention": [GIVES], "backbone_options": WIDER}}, None),
        ("saliency", {"train": ["attention.*"], "model": {"attention": [SITE]}}, "encoder_a"),
        ("saliency", {"train": ["*"]}, None),
    ],
)
def test_where_a_stage_may_be_cut(case: str, changes: dict[str, Any], expected: str | None) -> None:
    config = config_of(case, **changes)
    module = build_module(config, config.stages[0], build_cohorts(config))
    freeze(module.network, config.stages[0].train, "stage")
    module.train()
    cut = stage_cut(config, config.stages[0], module.network)
    assert (cut.name if cut else None) == expected


@pytest.mark.parametrize("case", CASES)
def test_config_check_says_what_it_will_take(
    case: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes: list[int] = []

    def spy(values: Tensor, rows: Tensor, total: int) -> Computed:
        sizes.append(values.nbytes)
        return Computed(values, rows, total)

    monkeypatch.setattr(computed_once, "Computed", spy)
    monkeypatch.setattr(estimate, "matmul_speed", lambda _: 1e9)
    needs: list[int] = []

    def take(_config: object, _cohort: object, need: int, _folder: object) -> list[str]:
        needs.append(need)
        return []

    monkeypatch.setattr(estimate, "_disk_lines", take)
    config = config_of(case, epochs=1)
    run(config, tmp_path, say=lambda _: None)
    lines = estimate_lines(config, build_cohorts(config), tmp_path)
    assert lines[1] == f"stage stage: {sizes[0] / 2**20:.3g} MiB computed once, in memory"
    monkeypatch.setattr(computed_once, "MEMORY", 0)
    on_disk = estimate_lines(config, build_cohorts(config), tmp_path)
    assert on_disk[1].endswith("MiB computed once, on disk while it trains")
    assert needs[1] - needs[0] == sizes[0]
    off = config_of(case, trainer={"computed_once": "off"})
    assert not any("once" in line for line in estimate_lines(off, build_cohorts(off), tmp_path))


def test_samples_without_films_keep_labels_and_hide_the_rest() -> None:
    config = config_of("fuse")
    cohort = build_cohorts(config)
    full = stage_dataset(config, config.stages[0], cohort)
    bare = stage_dataset(config, config.stages[0], cohort, films=False)
    rows = cohort.rows_of("valid")[:3].tolist()
    films, names = (collate([dataset[0, row] for row in rows]) for dataset in (full, bare))
    for key in ("labels", "index", "view"):
        assert torch.equal(names[key], films[key])
    for key in ("image_id", "patient_id"):
        assert names[key] == films[key]  # type: ignore[literal-required]
    for key in ("image", "saliency", "fixations"):
        assert names[key].shape == (3, 1, 1, 1)  # type: ignore[literal-required]
        assert names[key].isnan().all()  # type: ignore[literal-required]
    assert not names["boxes_known"].any()
    data = build_data(config, config.stages[0], cohort, films=False)
    assert next(iter(data.val_dataloader()))["image"].isnan().all()
