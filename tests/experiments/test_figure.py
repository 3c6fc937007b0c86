"""The figure for papers."""

import re
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from PIL import Image
from typer.testing import CliRunner

from experiments.cli import app
from experiments.figure import draw_figure
from experiments.report.pictures import coloured
from eye_gaze_data.errors import ConfigError


@pytest.fixture
def images(evaluated_run: Path) -> pd.DataFrame:
    table = pd.read_csv(evaluated_run / "evaluate" / "per_image.csv", dtype={"image_id": str})
    return table.dropna(subset="cc").sort_values("cc", ascending=False)


def test_without_cases_it_shows_best_median_and_worst(
    evaluated_run: Path, images: pd.DataFrame, tmp_path: Path
) -> None:
    draw_figure([evaluated_run], [], tmp_path / "figure.svg")
    text = (tmp_path / "figure.svg").read_text()
    middle = (len(images) - 1) // 2
    wanted = [images["image_id"].iloc[place] for place in (0, middle, -1)]
    assert re.findall(r">(\S+), scale to", text) == list(dict.fromkeys(wanted))
    shown = [f"CC {images['cc'].iloc[place]:.2f}" for place in (0, middle, -1)]
    assert re.findall(r">(CC [-0-9.]+)<", text) == list(dict.fromkeys(shown))
    assert "Research use only" in text


def test_a_column_a_run_and_a_row_a_case(
    evaluated_run: Path, images: pd.DataFrame, tmp_path: Path
) -> None:
    again = tmp_path / "again"
    shutil.copytree(evaluated_run, again)
    name = images["image_id"].iloc[0]
    result = CliRunner().invoke(
        app,
        ["report", str(evaluated_run), str(again), "--figure", str(tmp_path / "two.svg"),
         "--case", name],
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    text = (tmp_path / "two.svg").read_text()
    # Both runs have one name, so their folders tell them apart.
    titles = [evaluated_run.name, "again"]
    assert [title for title in titles if f">{title}<" in text] == titles
    assert len(re.findall(r">CC [-0-9.]+<", text)) == 2
    # Film, readers and two systems; a film and the map over it are one picture.
    assert text.count("<image ") == 4


def test_the_same_twice_and_as_pixels(
    evaluated_run: Path, images: pd.DataFrame, tmp_path: Path
) -> None:
    name = images["image_id"].iloc[0]
    for file in ("a.svg", "b.svg", "c.png"):
        draw_figure([evaluated_run], [name], tmp_path / file)
    assert (tmp_path / "a.svg").read_bytes() == (tmp_path / "b.svg").read_bytes()
    pixels = np.asarray(Image.open(tmp_path / "c.png").convert("RGB"), float)
    assert np.ptp(pixels, axis=2).max() > 50  # colours over a grey film


def test_what_cannot_be_drawn_is_refused(evaluated_run: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"expected a file that ends in \.pdf, \.svg, \.png"):
        draw_figure([evaluated_run], [], tmp_path / "figure.docx")
    with pytest.raises(ConfigError, match="image 'nobody' was not evaluated"):
        draw_figure([evaluated_run], ["nobody"], tmp_path / "figure.pdf")
    runner = CliRunner()
    result = runner.invoke(app, ["report", str(evaluated_run), str(evaluated_run)])
    assert isinstance(result.exception, ConfigError)
    assert "several runs go with --figure" in str(result.exception)
    assert not list(tmp_path.iterdir())


def test_a_stage_without_gaze_has_no_figure(evaluated_run: Path, tmp_path: Path) -> None:
    tree = yaml.safe_load((evaluated_run / "config.yaml").read_text())
    tree["evaluate"]["stage"] = "contrast"
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(tree))
    shutil.copytree(evaluated_run / "01-contrast", tmp_path / "01-contrast")
    with pytest.raises(ConfigError, match="stage 'contrast' predicts no gaze to draw"):
        draw_figure([tmp_path], [], tmp_path / "figure.pdf")


def test_without_a_score_there_is_no_best_case(
    evaluated_run: Path, images: pd.DataFrame, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    shutil.copytree(evaluated_run, run)
    images.assign(cc=np.nan).to_csv(run / "evaluate" / "per_image.csv", index=False)
    with pytest.raises(ConfigError, match="no image has a CC; name some with --case$"):
        draw_figure([run], [], tmp_path / "figure.pdf")


def test_colours_are_those_of_the_report() -> None:
    density = np.array([[0.0, 0.5, 1.0, np.nan]])
    colours = coloured(density, 1.0)
    assert colours[0, 0, 3] == 0
    assert colours[0, 3, 3] == 0
    assert colours[0, 2, 3] == 1
    assert colours[0, 1, :3].max() < colours[0, 2, :3].max()
