"""Masks on disk: written once a model and data, in bounded parts, in the same bytes."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import torch
from torch import Tensor, nn

from diagnosis.anatomy import masks as masks_module
from diagnosis.anatomy.masks import FilmSegmenter, Levels, MaskFolder, SegmentedAnatomy, as_masks
from eye_gaze_data.errors import DataError
from eye_gaze_data.files import read_json, sha256_of_file
from saliency.network import Network, Outputs

KEY = {"weights_sha256": "abc", "data": {"films": "def"}}


class Threshold(Network):
    """Bright is lungs, dark is heart: what comes out is known from what goes in."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.tensor(8.0))

    def forward(self, image: Tensor, task: object = "segment", context: object = None) -> Outputs:
        del task, context
        logits = self.scale * (image - 0.5)
        return {"anatomy_logits": torch.cat([logits, -logits], 1)}


def gradient(height: int, width: int) -> npt.NDArray[np.float32]:
    return np.tile(np.linspace(0, 1, width, dtype=np.float32), (height, 1))


@pytest.mark.parametrize("fit", ["pad", "stretch"])
@pytest.mark.parametrize("size", [(40, 24), (24, 40), (31, 17)])
def test_masks_cover_the_film_and_nothing_else(size: tuple[int, int], fit: str) -> None:
    segmenter = FilmSegmenter(Threshold(), (16, 16), fit)  # type: ignore[arg-type]
    film = gradient(*size)
    found = segmenter(film)
    scale = 16 / max(size)
    expected = (16, 16) if fit == "stretch" else tuple(round(side * scale) for side in size)
    assert found.dtype == np.uint8
    assert found.shape == (2, *expected)
    # The film's own brightness at the middle of each column, through the known network.
    places = (np.arange(found.shape[2]) + 0.5) / found.shape[2] * size[1] - 0.5
    bright = np.clip(places / (size[1] - 1), 0, 1)
    truth = 255 / (1 + np.exp(-8 * (bright - 0.5)))
    assert np.abs(found[0].astype(float) - truth).max() < 12
    assert np.abs(found[0].astype(int) + found[1] - 255).max() <= 1


def films(count: int) -> tuple[Callable[[int], Levels], list[int]]:
    asked: list[int] = []

    def segment(row: int) -> Levels:
        asked.append(row)
        return np.full((2, 3, 4 + row % 2), row, np.uint8)

    del count
    return segment, asked


def test_masks_are_written_once_and_again_for_another_model(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(masks_module, "SHARD", 3)
    segment, asked = films(7)
    folder = MaskFolder(tmp_path / "masks")
    steps: list[int] = []
    assert folder.ensure(KEY, 7, segment, lambda: steps.append(1)) == 7
    assert (asked, len(steps)) == (list(range(7)), 7)
    names = sorted(path.name for path in folder.folder.iterdir())
    assert names == ["00000.npz", "00001.npz", "00002.npz", "key.json"]
    assert read_json(folder.folder / "key.json") == KEY
    for row in (0, 3, 6):
        np.testing.assert_array_equal(folder.of(row), np.full((2, 3, 4 + row % 2), row))
    before = {name: sha256_of_file(folder.folder / name) for name in names}
    assert folder.ensure(KEY, 7, segment) == 0
    # A file that is lost is written again in the same bytes, and no other.
    (folder.folder / "00001.npz").unlink()
    assert folder.ensure(KEY, 7, segment) == 3
    assert asked[7:] == [3, 4, 5]
    assert {name: sha256_of_file(folder.folder / name) for name in names} == before
    for changed in ({"weights_sha256": "other"}, {"data": {"films": "other"}}):
        assert folder.ensure({**KEY, **changed}, 7, segment) == 7


def test_a_kill_between_parts_costs_one_part(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(masks_module, "SHARD", 2)
    segment, asked = films(6)
    folder = MaskFolder(tmp_path)

    def killed(row: int) -> Levels:
        if row == 3:
            raise KeyboardInterrupt
        return segment(row)

    with pytest.raises(KeyboardInterrupt):
        folder.ensure(KEY, 6, killed)
    assert folder.ensure(KEY, 6, segment) == 4
    assert asked == [0, 1, 2, 2, 3, 4, 5]


def test_masks_that_are_not_there_or_broken_are_named(tmp_path: Path) -> None:
    folder = MaskFolder(tmp_path)
    with pytest.raises(DataError, match=r"00000\.npz: expected the masks of row 5.*run again"):
        folder.of(5)
    folder.ensure(KEY, 2, films(2)[0])
    with pytest.raises(DataError, match="masks of row 5"):
        folder.of(5)
    (tmp_path / "00000.npz").write_bytes(b"PK\x03\x04 half a file")
    with pytest.raises(DataError, match="masks of row 1"):
        folder.of(1)


def test_a_source_reads_the_cohort_and_segments_other_films(tmp_path: Path) -> None:
    loaded: list[int] = []

    def load() -> FilmSegmenter:
        loaded.append(1)
        return FilmSegmenter(Threshold(), (16, 16))

    film, folder = gradient(20, 32), MaskFolder(tmp_path)
    segmenter = FilmSegmenter(Threshold(), (16, 16))
    folder.ensure(KEY, 1, lambda _: segmenter(film))
    source = SegmentedAnatomy(["heart"], ["lungs", "heart"], folder, load)
    stored = source(0, (20, 32))
    assert source.organs == ("heart",)
    np.testing.assert_array_equal(stored, as_masks(segmenter(film)[1:]))
    assert loaded == []
    np.testing.assert_array_equal(source.of_film(film), stored)
    source.of_film(film)
    assert loaded == [1]
    assert isinstance(source.segmenter.masks, nn.Module)
