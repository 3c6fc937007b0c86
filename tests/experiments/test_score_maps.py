"""``gazedx score``: rows, floors of other images, readers, bad maps, the report."""

import csv
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from experiments.config import EvaluateConfig
from experiments.image_scores import Grid
from experiments.map_files import read_map_folder
from experiments.report import write_report
from experiments.score_maps import map_on_grid, score_maps, settings_for
from eye_gaze_data.errors import ConfigError, DataError
from eye_gaze_data.files import read_json, without_nan
from saliency.baselines import CentreBias

SIZE = (24, 32)
READERS = ("ann", "bob", "cyd")


def settings(**changes: Any) -> EvaluateConfig:  # noqa: ANN401
    options: dict[str, Any] = {"grid": 640, "sigma": 0.08, "weight": "count", "resamples": 100}
    return settings_for(**(options | {"variants": False, "emd": False} | changes))


def write_study(folder: Path, n_images: int = 6) -> tuple[Path, Path]:
    """Maps that know each image's own spot, and readers who look there and at the centre."""
    rng = np.random.default_rng(3)
    (folder / "maps").mkdir(parents=True)
    rows, columns = np.mgrid[: SIZE[0], : SIZE[1]] + 0.5
    lines = [["image", "x", "y", "reader"]]
    for image in range(n_images):
        spot = rng.uniform(0.15, 0.85, 2) * (SIZE[1], SIZE[0])
        blob = np.exp(-((columns - spot[0]) ** 2 + (rows - spot[1]) ** 2) / 18)
        np.save(folder / "maps" / f"{image}.npy", blob)
        for reader in READERS:
            for about in (spot, spot, (SIZE[1] / 2, SIZE[0] / 2)):
                x, y = np.clip(rng.normal(about, 1.5), 0.1, (SIZE[1] - 0.1, SIZE[0] - 0.1))
                lines.append([str(image), f"{x:.3f}", f"{y:.3f}", reader])
    with (folder / "fixations.csv").open("w", newline="") as file:
        csv.writer(file).writerows(lines)
    return folder / "maps", folder / "fixations.csv"


@pytest.fixture(scope="module")
def scored(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    folder = tmp_path_factory.mktemp("study")
    given = read_map_folder(*write_study(folder))
    out = folder / "scores"
    return out, score_maps(given, out, settings(variants=True))


def test_rows_stand_in_their_natural_order(scored: tuple[Path, dict[str, Any]]) -> None:
    part = scored[1]["saliency"]["maps"]
    nss = {row: scores["nss"]["value"] for row, scores in part["rows"].items()}
    assert nss["leave_one_reader_out"] > nss["centre_bias"] > nss["uniform"] == 0
    assert nss["model"] > nss["centre_bias"]
    assert part["n_readers"] == 3
    assert part["n_fixations"] == 6 * 9
    assert part["rows"]["model"]["ig"]["reasons"] == {"the map is no likelihood": 6}
    assert part["rows"]["centre_bias"]["ig"]["value"] == 0
    assert set(part["variants"]) == {"model", "centre_bias"}


def test_the_centre_bias_has_not_seen_the_image(
    scored: tuple[Path, dict[str, Any]], tmp_path: Path
) -> None:
    given = read_map_folder(*write_study(tmp_path))
    table = pd.read_csv(scored[0] / "evaluate" / "per_image.csv")
    gaze = given.cohort.gaze
    assert gaze is not None
    chosen = CentreBias.of_cohort(given.cohort, np.arange(6))
    others = [gaze.of(row) for row in range(1, 6)]
    fitted = CentreBias.fit(
        [(one.x, one.y) for one in others], [SIZE] * 5,
        bandwidths=[chosen.bandwidth], uniform_shares=[chosen.uniform],
    )  # fmt: skip
    grid = Grid.of(SIZE, 32)
    density = fitted.density(SIZE, grid.frame, grid.size, grid.film)
    own = gaze.of(0)
    at = density[own.y.astype(int), own.x.astype(int)]
    expected = ((at - density.mean()) / density.std()).mean()
    assert table["centre_bias_nss"].iloc[0] == pytest.approx(expected, rel=1e-6)


def test_intervals_of_readers_draw_readers_too(scored: tuple[Path, dict[str, Any]]) -> None:
    table = pd.read_csv(scored[0] / "evaluate" / "per_reader.csv")
    assert len(table) == 6 * 3
    assert set(table["n_others"]) == {2}
    entry = scored[1]["saliency"]["maps"]["rows"]["leave_one_reader_out"]["nss"]
    assert entry["n"] == 18
    assert entry["value"] == pytest.approx(table["others_nss"].mean(), rel=1e-6)
    assert entry["low"] < entry["value"] < entry["high"]


def test_cases_show_maps_beside_densities(scored: tuple[Path, dict[str, Any]]) -> None:
    cases = sorted((scored[0] / "evaluate" / "cases").glob("*.npz"))
    assert len(cases) == 6
    with np.load(cases[0]) as case:
        # Pictures are stored with the ten bits of half precision.
        assert case["prediction"].sum() == pytest.approx(1, rel=1e-3)
        assert case["truth"].sum() == pytest.approx(1, rel=1e-3)
        assert case["film"].shape == case["truth"].shape


def test_scores_repeat_and_are_reported(
    scored: tuple[Path, dict[str, Any]], tmp_path: Path
) -> None:
    given = read_map_folder(*write_study(tmp_path))
    again = score_maps(given, tmp_path / "out", settings(variants=True))
    assert without_nan(again) == without_nan(scored[1])
    assert read_json(scored[0] / "run.json")["name"] == "scores"
    page = write_report(scored[0]).read_text()
    for text in ("Other readers", "Centre bias", "AUC-Judd", "the map is no likelihood 6"):
        assert text in page


def test_bad_maps_are_undefined_with_a_reason_and_others_are_scored(tmp_path: Path) -> None:
    maps, fixations = write_study(tmp_path)
    good = np.load(maps / "0.npy")
    bad = {"1": np.full(SIZE, 0.37), "2": np.where(good == good.max(), np.nan, good),
           "3": good - 0.5, "4": np.where(good == good.max(), np.inf, good)}  # fmt: skip
    for name, values in bad.items():
        np.save(maps / f"{name}.npy", values)
    with fixations.open("a") as file:
        file.write("5,-3,4,ann\n5,900,4,ann\n")
    metrics = score_maps(read_map_folder(maps, fixations), tmp_path / "out", settings())
    rows = metrics["saliency"]["maps"]["rows"]["model"]
    assert rows["cc"]["reasons"] == {
        "the prediction is not finite": 2, "the prediction is constant": 1,
    }  # fmt: skip
    assert rows["kld"]["reasons"] == {
        "the prediction is not finite": 2, "the prediction has a negative value": 1,
    }  # fmt: skip
    assert (rows["cc"]["n"], rows["cc"]["undefined"]) == (3, 3)
    assert metrics["saliency"]["maps"]["n_dropped"] == 2
    with np.load(tmp_path / "out" / "evaluate" / "cases" / "000003.npz") as case:
        assert case["prediction"].min() == 0  # raised for the picture alone
    write_report(tmp_path / "out")


def test_one_reader_has_no_ceiling_and_the_report_says_so(tmp_path: Path) -> None:
    maps, fixations = write_study(tmp_path)
    table = pd.read_csv(fixations, dtype=str)
    table[table["reader"] == "ann"].drop(columns="reader").to_csv(fixations, index=False)
    metrics = score_maps(read_map_folder(maps, fixations), tmp_path / "out", settings())
    part = metrics["saliency"]["maps"]
    assert "leave_one_reader_out" not in part["rows"]
    assert part["n_readers"] == 1
    assert "at least 2 readers" in metrics["baselines"]["maps"]["missing"]["leave_one_reader_out"]
    assert "Single-reader data" in write_report(tmp_path / "out").read_text()


def test_densities_gain_information(tmp_path: Path) -> None:
    given = read_map_folder(*write_study(tmp_path))
    metrics = score_maps(given, tmp_path / "out", settings(), densities=True)
    entry = metrics["saliency"]["maps"]["rows"]["model"]["ig"]
    assert entry["n"] == 6


def test_a_map_is_resampled_and_never_rescaled(tmp_path: Path) -> None:
    grid = Grid.of((40, 60), 60)
    path = tmp_path / "m.npy"
    np.save(path, np.full((20, 30), -7.5))
    assert map_on_grid(path, grid) == pytest.approx(np.full((40, 60), -7.5))
    ramp = np.repeat(np.arange(30.0)[None], 20, 0) * 1e-12
    np.save(path, ramp)
    found = map_on_grid(path, grid)
    assert found.shape == (40, 60)
    assert found[20, 30] == pytest.approx((30.5 / 2 - 0.5) * 1e-12, rel=1e-5)
    np.save(path, np.ones((20, 20)))
    with pytest.raises(DataError, match="60 wide and 40 high, or scaled alike; found 20 wide"):
        map_on_grid(path, grid)


def test_wrong_options_are_refused() -> None:
    with pytest.raises(ConfigError, match="expected count or duration"):
        settings(weight="time")
    with pytest.raises(ConfigError, match="share of the height"):
        settings(sigma=24.0)
    assert settings().gaze.resolved().sigma == 0.08


def test_real_gaze_has_plausible_floors_and_ceiling(shared_data: Path, tmp_path: Path) -> None:
    source = shared_data / "real-gaze"
    table = pd.read_csv(source / "fixations.csv")
    names = sorted(table["image"].unique())[:20]
    table[table["image"].isin(names)].to_csv(tmp_path / "fixations.csv", index=False)
    (tmp_path / "maps").mkdir()
    (tmp_path / "images").mkdir()
    rows, columns = np.mgrid[:60, :80]
    blob = np.exp(-((columns - 39.5) ** 2 + (rows - 29.5) ** 2) / (2 * 15.0**2))
    for name in names:
        np.save(tmp_path / "maps" / f"{Path(name).stem}.npy", blob)
        shutil.copy(source / "images" / name, tmp_path / "images" / name)
    given = read_map_folder(tmp_path / "maps", tmp_path / "fixations.csv", tmp_path / "images")
    metrics = score_maps(given, tmp_path / "out", settings(grid=160, sigma=0.04))
    part = metrics["saliency"]["maps"]
    values = {row: {k: v["value"] for k, v in s.items()} for row, s in part["rows"].items()}
    assert part["n_readers"] == 15
    assert 0.65 < values["centre_bias"]["auc"] < 0.85
    assert abs(values["centre_bias"]["sauc"] - 0.5) < 0.1
    assert 0.88 < values["leave_one_reader_out"]["auc"] < 0.97
    assert values["leave_one_reader_out"]["ig"] > 1
    assert values["model"]["nss"] > 0


def test_a_table_without_a_fixation_is_refused(tmp_path: Path) -> None:
    maps, fixations = write_study(tmp_path, 1)
    fixations.write_text("image,x,y\n0,,\n")
    given = read_map_folder(maps, fixations)
    with pytest.raises(DataError, match="the fixation table has no fixation on any image"):
        score_maps(given, tmp_path / "out", settings())
