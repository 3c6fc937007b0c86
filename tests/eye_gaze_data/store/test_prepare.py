import io
import multiprocessing
import os
import pickle
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from eye_gaze_data.anatomy import CohortAnatomy
from eye_gaze_data.cohort import Cohort, Pixels, merge
from eye_gaze_data.config import GazeConfig
from eye_gaze_data.dataset import GazeDataset
from eye_gaze_data.errors import DataError, StageError
from eye_gaze_data.files import read_json, write_json
from eye_gaze_data.gaze import GazeTable
from eye_gaze_data.geometry import Fit
from eye_gaze_data.problems import Problem
from eye_gaze_data.store import prepare as module
from eye_gaze_data.store import work
from eye_gaze_data.store.cohort import prepared_cohort
from eye_gaze_data.store.config import PreparedConfig, StoreConfig
from eye_gaze_data.store.prepare import prepare
from eye_gaze_data.store.shards import ShardWriter
from eye_gaze_data.store.shrink import pack_masks, shrink, to_levels, unpack_masks
from tests.eye_gaze_data.store.small import N, digest, film, small_cohort

SMALL = StoreConfig(size=32)


class Stopped(BaseException):
    """A kill, as far as one process can feel it."""


@pytest.fixture(scope="module")
def cohort(tmp_path_factory: pytest.TempPathFactory) -> Cohort:
    return small_cohort(tmp_path_factory.mktemp("files"))


@pytest.fixture(scope="module")
def whole(cohort: Cohort, tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("whole") / "store"
    prepare(cohort, root, SMALL)
    return root


def opened(root: Path) -> Cohort:
    return prepared_cohort(PreparedConfig(root=root), "ready")


def test_a_prepared_cohort_knows_all_that_the_cohort_knew(cohort: Cohort, whole: Path) -> None:
    ready = opened(whole)
    columns = [name for name in cohort.table if name != "path"]
    pd.testing.assert_frame_equal(ready.table[columns], cohort.table[columns], check_dtype=False)
    assert set(ready.table["path"]) == {""}
    assert ready.pathologies == cohort.pathologies == ("Spot", "Rare")
    np.testing.assert_array_equal(ready.labels, cohort.labels)
    assert np.isnan(ready.labels[:, 1]).all()
    assert ready.patient_namespace == "clinic"
    assert (ready.exclusive, ready.organs) == (False, ("heart", "lung"))
    assert ready.gaze is not None
    assert cohort.gaze is not None
    pd.testing.assert_frame_equal(ready.gaze.frame(), cohort.gaze.frame(), check_exact=True)
    np.testing.assert_array_equal(ready.gaze.pixels_per_degree, np.full(N, 30.0))
    assert ready.boxes is not None
    assert cohort.boxes is not None
    pd.testing.assert_frame_equal(ready.boxes.frame(), cohort.boxes.frame(), check_exact=True)
    np.testing.assert_array_equal(ready.boxes.known, cohort.boxes.known)


def test_films_and_masks_are_those_of_the_files_shrunk_once(cohort: Cohort, whole: Path) -> None:
    ready = opened(whole)
    assert ready.masks is not None
    assert cohort.masks is not None
    for row in range(N):
        size = ready.film_size(row)
        assert max(size) == 32
        assert ready.size_of(row) == film(row).shape
        expected = to_levels(shrink(film(row).astype(np.float32) / np.float32(255), size), 8)
        np.testing.assert_array_equal(ready.images(row), expected / np.float32(255))
        masks = unpack_masks(*pack_masks(cohort.masks(row), size), size)
        np.testing.assert_array_equal(ready.masks(row), masks)


@pytest.mark.parametrize("depth", [8, 16])
def test_nothing_is_lost_where_nothing_is_shrunk(
    cohort: Cohort, tmp_path: Path, depth: int
) -> None:
    prepare(cohort, tmp_path / "out", StoreConfig.model_validate({"size": None, "depth": depth}))
    ready = opened(tmp_path / "out")
    for row in (0, 5, N - 1):
        expected = film(row).astype(np.float32) / np.float32(255)
        np.testing.assert_allclose(ready.images(row), expected, atol=0 if depth == 8 else 1e-7)
        assert ready.masks is not None
        assert cohort.masks is not None
        np.testing.assert_array_equal(ready.masks(row), cohort.masks(row))


def samples(cohort: Cohort, fit: Fit = "pad") -> Callable[[int], dict[str, Any]]:
    anatomy, gaze = CohortAnatomy(cohort, cohort.organs), GazeConfig(preset="degree")
    data = GazeDataset(cohort, (24, 28), anatomy=anatomy, gaze=gaze, fit=fit)
    return lambda row: dict(data[0, row][0])


@pytest.mark.parametrize("fit", ["pad", "crop", "stretch"])
def test_samples_of_a_prepared_cohort_are_those_of_the_files(
    cohort: Cohort, whole: Path, fit: Fit
) -> None:
    """Gaze, boxes, labels and frames to the bit, whatever size films are stored at."""
    direct, ready = samples(cohort, fit=fit), samples(opened(whole), fit=fit)
    for row in (1, 5, 7, 9):
        one, two = direct(row), ready(row)
        exact = ("valid", "frame", "saliency", "fixations", "labels", "boxes", "box_labels")
        for key in exact:
            torch.testing.assert_close(two[key], one[key], rtol=0, atol=0, equal_nan=True)
        assert one["boxes_known"] == two["boxes_known"]
        # The film is asymmetric: a turn, a mirror or a shift by a pixel would show.
        valid = one["valid"]
        assert (two["image"] - one["image"])[valid].abs().mean() < 0.02
        for wrong in (two["image"].flip(-1), two["image"].flip(-2), two["image"].roll(1, -2)):
            assert (wrong - one["image"])[valid].abs().mean() > 0.025
        known = ~one["anatomy"].isnan()
        assert torch.equal(known, ~two["anatomy"].isnan())
        assert (two["anatomy"] - one["anatomy"])[known].abs().mean() < 0.03


def test_a_frame_maps_original_to_network_pixels(whole: Path) -> None:
    ready = opened(whole)
    assert ready.gaze is not None
    height, width = ready.size_of(4)
    sample = samples(ready)(4)
    factor = min(24 / height, 28 / width)
    shift = (28 - factor * width) / 2
    expected = [[factor, 0, shift], [0, factor, (24 - factor * height) / 2]]
    np.testing.assert_allclose(sample["frame"].numpy(), expected, atol=1e-5)


def test_prepared_and_direct_cohorts_merge(cohort: Cohort, whole: Path) -> None:
    other = replace(cohort, name="direct", patient_namespace="elsewhere")
    merged = merge([opened(whole), other])
    assert merged.film_size(3) == opened(whole).film_size(3)
    assert merged.film_size(N + 3) == cohort.size_of(3)
    assert merged.masks is not None
    assert merged.masks(3).shape == (2, *merged.film_size(3))
    assert merged.masks(N + 3).shape == (2, *cohort.size_of(3))
    one, two = samples(merged)(3), samples(merged)(N + 3)
    torch.testing.assert_close(one["saliency"], two["saliency"], equal_nan=True)


def test_a_prepared_cohort_can_be_prepared_again(whole: Path, tmp_path: Path) -> None:
    again = prepare(opened(whole), tmp_path / "again", StoreConfig(size=16))
    assert again["images"] == N
    smaller = opened(tmp_path / "again")
    assert max(smaller.film_size(0)) == 16
    assert smaller.size_of(0) == film(0).shape
    assert list(smaller.table.columns).count("look") == 1


def test_the_folder_may_be_moved(cohort: Cohort, tmp_path: Path) -> None:
    prepare(cohort, tmp_path / "here", SMALL)
    (tmp_path / "here").rename(tmp_path / "there")
    text = (tmp_path / "there" / "images.csv").read_text()
    assert str(tmp_path) not in text
    assert opened(tmp_path / "there").images(3).shape == opened(tmp_path / "there").film_size(3)


def test_two_workers_write_the_same_bytes(cohort: Cohort, whole: Path, tmp_path: Path) -> None:
    steps = 0

    def step() -> None:
        nonlocal steps
        steps += 1

    prepare(cohort, tmp_path / "two", SMALL, workers=2, step=step)
    assert digest(tmp_path / "two") == digest(whole)
    assert steps == N


@pytest.mark.parametrize("where", [(ShardWriter, "add"), (ShardWriter, "finish")])
@pytest.mark.parametrize("call", [1, 2, 33, 40])
def test_stopped_in_the_films_and_started_again_gives_the_same_bytes(
    cohort: Cohort,
    whole: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    where: tuple[type, str],
    call: int,
) -> None:
    owner, name = where
    original, calls = getattr(owner, name), 0

    def dies(*arguments: Any, **options: Any) -> Any:  # noqa: ANN401
        nonlocal calls
        calls += 1
        if calls == call:
            raise Stopped
        return original(*arguments, **options)

    root = tmp_path / "out"
    with monkeypatch.context() as patch:
        patch.setattr(owner, name, dies)
        if name == "finish" and call > 2:
            prepare(cohort, root, SMALL)
        else:
            with pytest.raises(Stopped):
                prepare(cohort, root, SMALL)
            with pytest.raises(DataError, match="the preparation has not finished"):
                opened(root)
    read: list[int] = []

    def counting(row: int) -> Pixels:
        read.append(row)
        return cohort.images(row)

    prepare(replace(cohort, images=counting), root, SMALL)
    assert digest(root) == digest(whole)
    expected = N - (call - 1) if name == "add" else {1: 8, 2: 0}.get(call, 0)
    assert len(read) == expected, "finished films are not read again"


@pytest.mark.parametrize(
    "target", ["write_table", "write_gaze", "summarise", "write_json", "_clean"]
)
def test_stopped_in_the_tables_and_started_again_gives_the_same_bytes(
    cohort: Cohort, whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, target: str
) -> None:
    def dies(*_: Any, **__: Any) -> None:  # noqa: ANN401
        raise Stopped

    root = tmp_path / "out"
    with monkeypatch.context() as patch:
        if target == "write_json":
            # The first file, the request, is let through.
            original, calls = write_json, iter((True,))
            patch.setattr(module, target, lambda *a: original(*a) if next(calls, False) else dies())
        else:
            patch.setattr(module, target, dies)
        with pytest.raises(Stopped):
            prepare(cohort, root, SMALL)
    (root / ".images.csv.x.tmp").write_text("half of a table")
    prepare(cohort, root, SMALL)
    assert digest(root) == digest(whole)


def test_a_finished_folder_is_left_alone(cohort: Cohort, whole: Path) -> None:
    def forbidden(row: int) -> Pixels:
        raise AssertionError(row)

    before = {path: path.stat().st_mtime_ns for path in whole.rglob("*") if path.is_file()}
    summary = prepare(replace(cohort, images=forbidden), whole, SMALL)
    assert summary == read_json(whole / "summary.json")
    assert before == {path: path.stat().st_mtime_ns for path in whole.rglob("*") if path.is_file()}


def test_other_data_or_options_want_another_folder(
    cohort: Cohort, whole: Path, tmp_path: Path
) -> None:
    with pytest.raises(DataError, match="a preparation of other data, or with other options"):
        prepare(cohort, whole, StoreConfig(size=40))
    other = replace(cohort, table=cohort.table.assign(Spot=0.0))
    with pytest.raises(DataError, match="a preparation of other data"):
        prepare(other, whole, SMALL)
    (tmp_path / "letters").mkdir()
    (tmp_path / "letters" / "love.txt").write_text("dear")
    with pytest.raises(DataError, match=r"expected an empty folder .* found \['love.txt'\]"):
        prepare(cohort, tmp_path / "letters", SMALL)


def test_a_patient_in_two_splits_is_refused(cohort: Cohort, tmp_path: Path) -> None:
    torn = replace(cohort, table=cohort.table.assign(patient_id="p0"))
    with pytest.raises(DataError, match="1 patient"):
        prepare(torn, tmp_path / "out", SMALL)
    assert not (tmp_path / "out").exists()


BAD: dict[str, tuple[Callable[[Path], object], str]] = {
    "truncated": (lambda p: p.write_bytes(p.read_bytes()[:900]), "expected an image, cannot read"),
    "empty": (lambda p: p.write_bytes(b""), "the file is empty"),
    "missing": (lambda p: p.unlink(), "the file does not exist"),
    "other size": (
        lambda p: save(p, film(0)[:30]),
        "the table says (62, 41) pixels (height, width), the film has (30, ",
    ),
    "of one level": (lambda p: save(p, np.full((62, 41), 7, np.uint8)), "all pixels are equal"),
}


def save(path: Path, pixels: Any) -> None:  # noqa: ANN401
    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    path.write_bytes(buffer.getvalue())


@pytest.mark.parametrize("name", BAD)
def test_a_film_that_cannot_be_read_stops_or_is_skipped_and_listed(
    tmp_path: Path, name: str
) -> None:
    cohort = small_cohort(tmp_path / "files")
    spoil, message = BAD[name]
    bad = tmp_path / "files" / "f7.png"
    good = bad.read_bytes()
    spoil(bad)
    with pytest.raises(DataError) as caught:
        prepare(cohort, tmp_path / "stop", SMALL)
    assert str(caught.value).startswith(str(bad))
    assert message in str(caught.value)
    summary = prepare(cohort, tmp_path / "skip", SMALL, on_error="skip")
    assert summary["images"] == N - 1
    assert len(summary["problems"]) == 1
    assert summary["problems"][0].startswith("image 'f7.png': ")
    assert message in summary["problems"][0]
    assert message in (tmp_path / "skip" / "summary.txt").read_text()
    ready = opened(tmp_path / "skip")
    assert "f7.png" not in set(ready.table["image_id"])
    assert len(ready.problems) == 1
    after = ready.table["image_id"].tolist().index("f8.png")
    assert after == 7
    assert ready.gaze is not None
    assert cohort.gaze is not None
    np.testing.assert_array_equal(ready.gaze.of(after).x, cohort.gaze.of(8).x)
    assert ready.boxes is not None
    assert cohort.boxes is not None
    np.testing.assert_array_equal(ready.boxes.of(8)[0], cohort.boxes.of(9)[0])
    # The film mended, the stopped work goes on and ends as if it had never been broken.
    bad.write_bytes(good)
    prepare(cohort, tmp_path / "stop", SMALL)
    prepare(cohort, tmp_path / "fresh", SMALL)
    assert digest(tmp_path / "stop") == digest(tmp_path / "fresh")


def test_workers_refuse_too(tmp_path: Path) -> None:
    cohort = small_cohort(tmp_path / "files")
    (tmp_path / "files" / "f35.png").write_bytes(b"no film")
    with pytest.raises(DataError, match=r"f35.png: expected an image"):
        prepare(cohort, tmp_path / "out", SMALL, workers=2)


def test_a_worker_that_dies_is_told_from_one_that_ends() -> None:
    context = multiprocessing.get_context("spawn")
    for code in (0, 9):
        receiver, sender = context.Pipe(duplex=False)
        worker = context.Process(target=os._exit, args=(code,))
        worker.start()
        sender.close()
        message = "a worker process ended with code 9: killed, or out of memory; run the command"
        with pytest.raises(StageError, match=message) if code else nullcontext():
            work._listen({receiver: worker}, lambda: None)


def test_what_the_reader_left_out_stays_known(cohort: Cohort, tmp_path: Path) -> None:
    noted = replace(cohort, notes=["3 calibration screens"], problems=[Problem("a.csv", 4, "odd")])
    summary = prepare(noted, tmp_path / "out", SMALL)
    assert summary["notes"] == ["3 calibration screens"]
    assert summary["problems"] == ["a.csv, line 4: odd"]
    ready = opened(tmp_path / "out")
    assert ready.notes == ["3 calibration screens"]
    assert ready.problems == [Problem("a.csv", 4, "odd")]


def test_a_cohort_of_pixels_alone_is_prepared(cohort: Cohort, tmp_path: Path) -> None:
    bare = replace(cohort, gaze=None, masks=None, organs=(), boxes=None)
    prepare(bare, tmp_path / "out", SMALL)
    ready = opened(tmp_path / "out")
    assert (ready.gaze, ready.masks, ready.boxes) == (None, None, None)
    assert not (tmp_path / "out" / "gaze.npz").exists()


def test_gaze_keeps_what_is_known_of_each_point(cohort: Cohort, tmp_path: Path) -> None:
    points = pd.DataFrame(
        {
            "row": [2, 0, 0], "x": [1.1, 2, 3], "y": [4, 5, 1 / 3], "duration": [np.nan, 0.2, 0.3],
            "start": [0.0, np.nan, 1.5], "reader": ["b", "a", "a"], "ppd_x": [30.5, np.nan, 31],
            "phase": ["search", "", "dictation"],
        }
    )  # fmt: skip
    gaze = GazeTable(points, N, samples=True)
    prepare(replace(cohort, gaze=gaze), tmp_path / "out", SMALL)
    ready = opened(tmp_path / "out").gaze
    assert ready is not None
    assert ready.samples
    pd.testing.assert_frame_equal(ready.frame(), gaze.frame(), check_exact=True)
    assert np.isnan(ready.pixels_per_degree).all()


def test_text_in_tables_comes_back_exactly(cohort: Cohort, tmp_path: Path) -> None:
    words = ['a "b", c', "", "007", "NA", "1e5", " x "] + ["z"] * (N - 6)
    table = cohort.table.assign(
        view=words, count=np.arange(N), sure=np.arange(N) % 2 == 0, odd=np.arange(N) / 7
    )
    prepare(replace(cohort, table=table), tmp_path / "out", SMALL)
    ready = opened(tmp_path / "out").table
    assert ready["view"].tolist() == words
    for name in ("count", "sure", "odd"):
        assert ready[name].tolist() == table[name].tolist()


def test_a_damaged_folder_is_named(cohort: Cohort, tmp_path: Path) -> None:
    root = tmp_path / "out"
    with pytest.raises(DataError, match="no prepared folder"):
        opened(root)
    prepare(cohort, root, SMALL)
    shard = root / "shards" / "00001.npy"
    content = shard.read_bytes()
    shard.write_bytes(content[:-1])
    size = len(content)
    with pytest.raises(DataError, match=f"00001.npy: expected {size} bytes, found {size - 1}"):
        opened(root)
    shard.unlink()
    with pytest.raises(DataError, match=f"00001.npy: expected {size} bytes, found 0"):
        opened(root)
    shard.write_bytes(content)
    ready = opened(root)
    shard.unlink()
    with pytest.raises(DataError, match=r"00001.npy: cannot open this shard .*No such file"):
        ready.images(N - 1)
    shard.write_bytes(content[:200])
    with pytest.raises(DataError, match="00001.npy: the shard is shorter than images.csv says"):
        ready.images(N - 1)
    (root / "gaze.npz").write_bytes(b"no archive")
    shard.write_bytes(content)
    with pytest.raises(DataError, match="gaze.npz: cannot read the gaze"):
        opened(root)
    (root / "images.csv").write_text("image_id\na\n")
    message = r"images.csv: cannot read this table of a prepared folder \(expected the columns \["
    with pytest.raises(DataError, match=message):
        opened(root)


def test_without_a_film_that_can_be_read_there_is_no_folder(tmp_path: Path) -> None:
    cohort = small_cohort(tmp_path / "files", 2)
    for name in ("f0.png", "f1.png"):
        (tmp_path / "files" / name).write_bytes(b"")
    message = r"cohort 'small': no film could be read; .*f0.png: the file is empty"
    with pytest.raises(DataError, match=message):
        prepare(cohort, tmp_path / "out", SMALL, on_error="skip")
    assert not (tmp_path / "out" / "prepared.json").exists()


def test_another_format_is_refused(cohort: Cohort, tmp_path: Path) -> None:
    prepare(cohort, tmp_path / "out", SMALL)
    note = tmp_path / "out" / "prepared.json"
    note.write_text(note.read_text().replace('"format": 1', '"format": 9'))
    with pytest.raises(DataError, match="expected format 1, found 9; prepare the data again"):
        opened(tmp_path / "out")


def test_a_folder_in_use_is_not_touched(cohort: Cohort, tmp_path: Path) -> None:
    def nested(row: int) -> Pixels:
        with pytest.raises(DataError, match="another process is preparing this folder"):
            prepare(cohort, tmp_path / "out", SMALL)
        raise Stopped(row)

    with pytest.raises(Stopped):
        prepare(replace(cohort, images=nested), tmp_path / "out", SMALL)


def test_readers_go_to_other_processes_without_their_open_files(whole: Path) -> None:
    ready = opened(whole)
    first = ready.images(3)
    copied = pickle.loads(pickle.dumps(ready.images))  # noqa: S301 - made above
    assert copied.shards._files == {}
    np.testing.assert_array_equal(copied(3), first)
    pid = os.fork()
    if not pid:
        # A forked process shares the open files: reading has no position to disturb.
        os._exit(0 if np.array_equal(ready.images(3), first) else 1)
    assert os.waitpid(pid, 0)[1] == 0


def test_the_same_film_under_two_ids_is_told(tmp_path: Path) -> None:
    cohort = small_cohort(tmp_path / "files")
    (tmp_path / "files" / "f15.png").write_bytes((tmp_path / "files" / "f0.png").read_bytes())
    summary = prepare(cohort, tmp_path / "out", SMALL)
    assert summary["same film under two ids"] == [
        "'f0.png' and 'f15.png' (two patients, train and test)"
    ]
    assert "f15.png" in (tmp_path / "out" / "summary.txt").read_text()
