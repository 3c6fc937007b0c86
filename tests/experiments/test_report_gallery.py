"""The report's gallery: the choice of cases, maps, fixations, boxes, and the page's script."""

import base64
import io
import math
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from experiments.report.cases import Choice, choose_cases
from experiments.report.gaze_marks import READER_COLOURS, boxes, reader_colours, scanpaths
from experiments.report.pictures import FILM_SIDE, colour_stops, film_uri, map_uri, times_uniform
from experiments.report.run_folder import Row, RunFolder

HERE = Path(__file__).parents[2] / "experiments" / "report"


def run_with(rows: list[Row], stored: list[int]) -> RunFolder:
    files = {index: Path(f"{index:06d}.npz") for index in stored}
    return RunFolder(Path(), {}, (), {}, (), tuple(rows), files)


def scored(scores: list[str]) -> list[Row]:
    return [{"index": str(i), "cc": score, "group": "a"} for i, score in enumerate(scores)]


def decoded(uri: str) -> Image.Image:
    return Image.open(io.BytesIO(base64.b64decode(uri.partition(",")[2])))


def test_cases_hold_the_best_the_median_and_the_worst() -> None:
    run = run_with(scored([str(i / 100) for i in range(100)]), list(range(100)))
    chosen = choose_cases(run, most=8)
    assert len(chosen) == 8
    assert [c.badge for c in chosen if c.badge] == ["best", "median", "worst"]
    assert [c.rank for c in chosen] == sorted(c.rank or 0 for c in chosen)
    assert (chosen[0].index, chosen[-1].index) == (99, 0)


def test_ranks_are_among_all_images_not_only_the_stored() -> None:
    chosen = choose_cases(run_with(scored(["0.1", "0.9", "0.5", ""]), [0, 2, 3]))
    assert [(c.index, c.rank, c.badge) for c in chosen] == [
        (2, 2, "median"), (0, 3, "worst"), (3, None, ""),
    ]  # fmt: skip


def test_cases_without_a_score_get_their_part_of_the_page() -> None:
    scores = ["0.5"] * 50 + [""] * 50
    chosen = choose_cases(run_with(scored(scores), list(range(100))), most=24)
    assert len(chosen) == 24
    assert sum(c.rank is None for c in chosen) == 6
    assert choose_cases(run_with([], [])) == ()
    assert choose_cases(run_with([], [4])) == (Choice(4, {}, None, 0),)


def test_both_maps_use_one_scale_and_fade_out_at_zero() -> None:
    density = np.array([[0.0, 0.25, 0.5, math.nan]])
    strong = np.array(decoded(map_uri(density, 0.5)).convert("RGBA"))[0]
    weak = np.array(decoded(map_uri(density / 2, 0.5)).convert("RGBA"))[0]
    assert strong[:, 3].tolist()[0] == strong[:, 3].tolist()[3] == 0
    assert strong[2, 3] == 255
    assert weak[2].tolist() == strong[1].tolist()
    stops = colour_stops()
    assert (stops[0].opacity, stops[-1].opacity) == (0.0, 1.0)
    assert stops[-1].colour == "#" + bytes(strong[2, :3].tolist()).hex()


def test_pictures_are_small_and_keep_their_shape() -> None:
    film = decoded(film_uri(np.full((2000, 1000), 90, np.uint8)))
    assert (film.format, film.mode, film.size) == ("JPEG", "L", (FILM_SIDE // 2, FILM_SIDE))
    tiny = decoded(film_uri(np.zeros((3, 2), np.uint8)))
    assert tiny.size == (2, 3)
    assert times_uniform(1 / 1000, 12_000) == "12.0\u00d7"


def test_scanpaths_follow_time_and_skip_what_has_no_place() -> None:
    gaze = np.array([[1, 1, 2, 0.1], [2, 2, 1, 0.4], [math.nan, 0, 0, 1], [3, 3, 0, math.nan]])
    (path,) = scanpaths(gaze, np.zeros(4, np.int64), ["Ada"], 100.0)
    assert path.path == "3,3 2,2 1,1"
    assert [dot.order for dot in path.dots] == ["1", "2", "3"]
    assert path.dots[1].radius > path.dots[2].radius
    assert "n/a s long" in path.dots[0].title
    assert scanpaths(np.empty((0, 4)), np.empty(0, np.int64), [], 1.0) == ()
    (unnamed,) = scanpaths(gaze[:1], np.array([5]), ["Ada"], 100.0)
    assert unnamed.reader == "reader 5"


def test_long_scanpaths_number_some_fixations_first_and_last_always() -> None:
    gaze = np.column_stack([np.ones((300, 2)), np.arange(300.0), np.ones(300)])
    (path,) = scanpaths(gaze, np.zeros(300, np.int64), ["Ada"], 100.0)
    numbers = [dot.order for dot in path.dots if dot.order]
    assert (numbers[0], numbers[-1]) == ("1", "300")
    assert len(numbers) < 30


def test_readers_keep_their_colours() -> None:
    names = [f"r{i:02d}" for i in range(len(READER_COLOURS) + 1)]
    colours = reader_colours([*reversed(names), "r00"])
    assert [colours[name] for name in names] == [*READER_COLOURS, READER_COLOURS[0]]


def test_boxes_without_area_are_not_drawn() -> None:
    corners = np.array([[1, 2, 4, 8], [1, 1, 1, 5], [math.nan, 0, 1, 1]])
    (box,) = boxes(corners, ["a", "b", "c"])
    assert (box.x, box.y, box.width, box.height, box.label) == (1, 2, 3, 6, "a")


PAGE = """<!DOCTYPE html><form id="controls">
<select id="sort-key"><option value="">index</option><option value="cc">CC</option></select>
<select id="sort-order"><option value="down">down</option><option value="up">up</option></select>
<select id="finding-filter"><option value="">any</option><option value="1">one</option></select>
<input id="opacity" type="range" min="0" max="100" value="75"><output id="opacity-shown"></output>
<input type="checkbox" id="show-gaze" checked><span id="shown"></span></form>
<div id="gallery" class="show-gaze">
<article class="case" data-index="0" data-present="0 1 " data-cc="0.2">A</article>
<article class="case" data-index="1" data-present="" data-cc="">B</article>
<article class="case" data-index="2" data-present="11 " data-cc="-0.5">C</article>
<article class="case" data-index="3" data-present="1 " data-cc="0.7">D</article></div>
<script>SCRIPT</script><script>
const log = [];
const order = () => log.push([...document.querySelectorAll(".case:not([hidden])")]
  .map((item) => item.textContent).join(""));
function set(id, value, event) {
  const element = document.getElementById(id);
  if (element.type === "checkbox") element.checked = value; else element.value = value;
  element.dispatchEvent(new Event(event));
}
set("sort-key", "cc", "change"); order();
set("sort-order", "up", "change"); order();
set("finding-filter", "1", "change"); order();
log.push(document.getElementById("shown").textContent);
set("opacity", "40", "input");
log.push(document.getElementById("gallery").style.getPropertyValue("--map-opacity"));
set("show-gaze", false, "change");
log.push("class:" + document.getElementById("gallery").className);
document.title = "LOG " + log.join("|") + " END";
</script>"""


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("chromium") is None, reason="needs chromium")
def test_the_script_sorts_filters_and_fades(tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    script = (HERE / "report.js").read_text(encoding="utf-8")
    page.write_text(PAGE.replace("SCRIPT", script), encoding="utf-8")
    command = ["chromium", "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run"]
    options = ["--disable-background-networking", f"--user-data-dir={tmp_path / 'profile'}"]
    done = subprocess.run(
        [*command, *options, "--dump-dom", page.as_uri()],
        capture_output=True, text=True, timeout=120, check=True,
    )  # fmt: skip
    # What has no score stays last in both directions.
    wanted = "LOG DACB|CADB|AD|2 of 4 cases shown|0.4|class: END"
    assert wanted in done.stdout
