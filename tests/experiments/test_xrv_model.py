"""torchxrayvision's conventions: names, range, and the same numbers as our own path."""

from pathlib import Path

import numpy as np
import pytest
import torch

from experiments.gaze_model import GazeModel, load_model
from experiments.xrv_model import XRVModel, check_range
from eye_gaze_data.errors import DataError


@pytest.fixture(scope="module")
def model(evaluated_run: Path) -> GazeModel:
    return load_model(evaluated_run)


def test_films_in_its_range_get_the_probabilities_of_our_own_path(model: GazeModel) -> None:
    wrapped = XRVModel(model)
    films = np.random.default_rng(0).random((2, 60, 44), np.float32)
    found = wrapped(torch.from_numpy((films[:, None] * 2 - 1) * 1024))
    assert wrapped.pathologies == model.pathologies
    assert found.shape == (2, len(wrapped.pathologies))
    for film, row in zip(films, found, strict=True):
        expected = model.predictor("cpu").predict(film).probabilities
        assert expected is not None
        assert row.numpy() == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (torch.rand(1, 1, 8, 8), r"look like \[0, 1\]; use torchxrayvision.*normalize\(image, 1\)"),
        (torch.rand(1, 1, 8, 8) * 2 - 1, r"look like \[-1, 1\]; multiply by 1024"),
        (torch.rand(1, 1, 8, 8) * 200, r"look like \[0, 255\]; use .*normalize\(image, 255\)"),
        (torch.rand(1, 1, 8, 8) * 4000, r"expected grey levels in \[-1024, 1024\], found \["),
        (torch.full((1, 1, 8, 8), torch.nan), r"found \[nan, nan\]"),
        (torch.zeros(1, 3, 8, 8), r"expected images \(B, 1, H, W\), found \(1, 3, 8, 8\)"),
        (torch.zeros(8, 8), r"found \(8, 8\)"),
    ],
)
def test_another_range_or_shape_is_refused(image: torch.Tensor, message: str) -> None:
    with pytest.raises(DataError, match=message):
        check_range(image)


def test_a_model_without_findings_is_refused(evaluated_run: Path) -> None:
    with pytest.raises(DataError, match="task 'saliency' gives no findings"):
        XRVModel(load_model(evaluated_run, "saliency"))
