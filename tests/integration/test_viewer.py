"""The report's viewer in a browser: clicks, drags, keys, and what is then on the canvas."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib import colormaps
from numpy.typing import NDArray
from PIL import Image
from playwright.sync_api import Page, expect

from experiments.report import write_report
from tests.browser import needs_chromium, open_viewer
from tests.experiments.test_report import EVIL, image_row, write_case, write_rows, write_run

pytestmark = needs_chromium

SIDE, GREY = 64, 100
# Blocks in which one map alone is at its highest and the other one is zero.
TRUTH, MODEL = (16, 16), (48, 32)
ADA = np.array([[50, 10, 0.5, 0.2], [10, 50, 0.1, 0.3], [30, 56, 1.1, 0.4]], np.float32)
BO = np.array([[56, 56, 2.0, 0.5]], np.float32)


def block(place: tuple[int, int]) -> NDArray[np.float32]:
    density = np.zeros((SIDE, SIDE), np.float32)
    density[place[1] - 5 : place[1] + 6, place[0] - 5 : place[0] + 6] = 1 / 121
    return density


def store(run: Path, index: int, **changes: Any) -> None:  # noqa: ANN401
    standing = {
        "film": np.full((SIDE, SIDE), GREY, np.uint8), "valid": np.ones((SIDE, SIDE), bool),
        "truth": block(TRUTH), "prediction": block(MODEL),
        "gaze": np.concatenate([ADA, BO]), "reader": np.array([0, 0, 0, 1]),
        "boxes": np.array([[2, 30, 12, 40]], np.float32),
    }  # fmt: skip
    write_case(run, index, **{**standing, **changes})


@pytest.fixture(scope="session")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twelve cases: 3 without gaze, 4 without times, 5 with a name that is markup."""
    run = write_run(tmp_path_factory.mktemp("viewer"))
    rows = [image_row(i) for i in range(12)]
    rows[3] |= dict.fromkeys(("cc", "kld", "nss", "sim", "auc"), "")
    rows[5]["image_id"] = EVIL
    write_rows(run / "evaluate" / "per_image.csv", rows)
    for index in range(12):
        store(run, index)
    store(run, 3, truth=None, gaze=None, reader=None, readers=None)
    times = np.array([[50, 10, np.nan, np.nan], [10, 50, np.nan, 0.2]], np.float32)
    store(run, 4, gaze=times, reader=np.zeros(2, np.int64))
    return write_report(run)


def pixel(page: Page, x: float, y: float) -> tuple[int, ...]:
    """Red, green and blue of the canvas at a place in the film's pixels."""
    # Copied first: reading the page's own canvas would slow its drawing down.
    code = """([x, y]) => { const from = document.getElementById("viewer-canvas");
      const to = new OffscreenCanvas(1, 1).getContext("2d", { willReadFrequently: true });
      const scale = from.width / 64;
      to.drawImage(from, Math.floor(x * scale), Math.floor(y * scale), 1, 1, 0, 0, 1, 1);
      return Array.from(to.getImageData(0, 0, 1, 1).data).slice(0, 3); }"""
    return tuple(page.evaluate(code, [x, y]))


def mixed(share: float) -> NDArray[np.float64]:
    """Grey film under the last colour of the maps' scale."""
    top = np.array(colormaps["inferno"](0.98)[:3]) * 255
    return (1 - share) * GREY + share * top


def listed(page: Page) -> list[str]:
    rows = page.locator(".viewer-row").all()
    ordered = sorted(rows, key=lambda row: int(row.get_attribute("data-place") or -1))
    return [row.locator(".viewer-id").inner_text() for row in ordered]


def numbers(page: Page) -> list[int]:
    return [5 if name == EVIL else int(name[-3:]) for name in listed(page)]


def open_stopped(page: Page, report: Path, link: str = "") -> None:
    """Time passes only as the test says."""
    page.clock.install(time=0)
    open_viewer(page, report, link)
    page.clock.pause_at(3600)


def grab(page: Page, name: str) -> tuple[float, float, float]:
    """Left end, width and middle line of a slider in sight."""
    slider = page.locator(name)
    slider.scroll_into_view_if_needed()
    box = slider.bounding_box()
    assert box is not None
    return box["x"], box["width"], box["y"] + box["height"] / 2


def hide_marks(page: Page) -> None:
    page.locator("#viewer-fixations").uncheck()
    page.locator("#viewer-boxes").uncheck()


def test_a_click_in_the_list_shows_that_case(page: Page, report: Path) -> None:
    open_viewer(page, report)
    expect(page.locator("#viewer-name")).to_have_text("film000")  # the highest CC
    page.locator(".viewer-row", has_text="film002").click()
    expect(page.locator("#viewer-canvas")).to_have_attribute("data-shown", "film002")
    expect(page.locator("#viewer-name")).to_have_text("film002")
    expect(page.locator("#viewer-facts")).to_have_text("patient p002 · alpha · CC rank 3 of 11")
    expect(page.locator("#viewer-scores")).to_contain_text("0.800")
    assert page.url.endswith("#case=film002")
    assert page.locator(".viewer-row[aria-selected=true]").count() == 1


def test_dragging_the_slider_fades_from_film_to_clinicians_to_model(
    page: Page, report: Path
) -> None:
    open_viewer(page, report)
    hide_marks(page)
    left, width, across = grab(page, "#viewer-mix")

    page.mouse.move(left + width / 2, across)
    page.mouse.down()
    assert np.allclose(pixel(page, *TRUTH), mixed(0.75), atol=3)
    assert np.allclose(pixel(page, *MODEL), GREY, atol=2)

    page.mouse.move(left + 2, across, steps=4)
    expect(page.locator("#viewer-mixed")).to_have_text("Film")
    assert np.allclose(pixel(page, *TRUTH), GREY, atol=2)

    page.mouse.move(left + width - 2, across, steps=4)
    page.mouse.up()
    expect(page.locator("#viewer-mixed")).to_have_text("Model 100 %")
    slider = page.locator("#viewer-mix")
    assert slider.input_value() == "200"
    assert np.allclose(pixel(page, *TRUTH), GREY, atol=2)
    assert np.allclose(pixel(page, *MODEL), mixed(0.75), atol=3)

    slider.fill("150")
    expect(page.locator("#viewer-mixed")).to_have_text("Clinicians 50 % · Model 50 %")
    assert np.allclose(pixel(page, *MODEL), mixed(0.375), atol=3)
    page.locator("#viewer-opacity").fill("100")
    assert np.allclose(pixel(page, *MODEL), mixed(0.5), atol=3)


def test_both_maps_have_one_scale_and_all_cases_can_share_it(page: Page, tmp_path: Path) -> None:
    run = write_run(tmp_path)
    store(run, 0, prediction=block(MODEL) / 2)
    store(run, 5, truth=block(TRUTH) * 2, prediction=block(MODEL))
    (run / "evaluate" / "cases" / "000011.npz").unlink()
    open_viewer(page, write_report(run))
    hide_marks(page)
    page.locator("#viewer-opacity").fill("100")
    expect(page.locator("#viewer-top")).to_have_text("33.9×")  # 64 * 64 / 121
    page.locator("#viewer-list").focus()
    page.keyboard.press("3")
    half = np.array(colormaps["inferno"](0.12 + 0.86 * 128 / 255)[:3]) * 255
    assert np.allclose(pixel(page, *MODEL), half, atol=4)
    page.locator("#viewer-one-scale").check()
    expect(page.locator("#viewer-top")).to_have_text("67.7×")
    page.keyboard.press("2")
    assert np.allclose(pixel(page, *TRUTH), half, atol=4)


def tiles(page: Page, place: tuple[int, int]) -> list[tuple[int, ...]]:
    """The same place of the film in each layer, side by side."""
    step = page.evaluate(
        """() => { const from = document.getElementById("viewer-canvas");
        return (from.width + 12) / 3 / from.height * 64; }"""
    )
    # `pixel` takes the width for one film's: place by the height instead.
    code = """([x, y]) => { const from = document.getElementById("viewer-canvas");
      const to = new OffscreenCanvas(1, 1).getContext("2d", { willReadFrequently: true });
      const scale = from.height / 64;
      to.drawImage(from, Math.floor(x * scale), Math.floor(y * scale), 1, 1, 0, 0, 1, 1);
      return Array.from(to.getImageData(0, 0, 1, 1).data).slice(0, 3); }"""
    return [tuple(page.evaluate(code, [place[0] + i * step, place[1]])) for i in range(3)]


def test_layers_stand_side_by_side(page: Page, report: Path) -> None:
    open_viewer(page, report)
    hide_marks(page)
    page.locator("#viewer-list").focus()
    page.keyboard.press("s")
    expect(page.locator("#viewer-beside")).to_be_checked()
    expect(page.locator("#viewer-captions")).to_have_text(
        "Film Clinicians peak 33.9×Model peak 33.9×"
    )
    film, clinicians, model = tiles(page, TRUTH)
    assert np.allclose(film, GREY, atol=2)
    assert np.allclose(clinicians, mixed(0.75), atol=3)
    assert np.allclose(model, GREY, atol=2)
    film, clinicians, model = tiles(page, MODEL)
    assert np.allclose(clinicians, GREY, atol=2)
    assert np.allclose(model, mixed(0.75), atol=3)
    # Fixations lie on the map of those who looked, or on all.
    page.locator("#viewer-fixations").check()
    assert [tile[0] < GREY - 20 for tile in tiles(page, (30, 56))] == [False, True, False]
    page.locator("#viewer-everywhere").check()
    assert [tile[0] < GREY - 20 for tile in tiles(page, (30, 56))] == [True, True, True]
    expect(page.locator("#viewer-mix")).to_be_hidden()
    page.locator("[data-stop='200']").click()
    expect(page.locator("#viewer-beside")).not_to_be_checked()
    expect(page.locator("#viewer-mixed")).to_have_text("Model 100 %")
    expect(page.locator("#viewer-everywhere")).to_be_hidden()
    page.locator("#viewer-fixations").uncheck()
    assert np.allclose(pixel(page, *MODEL), mixed(0.75), atol=3)


def test_boxes_of_people_and_predicted_ones(page: Page, tmp_path: Path) -> None:
    run = write_run(tmp_path)
    predicted = np.array([[40, 4, 60, 14]], np.float32)
    for index in (0, 5, 11):
        store(
            run, index, predicted_boxes=predicted, predicted_labels=np.array(["nodule"]),
            predicted_scores=np.array([0.87]), gaze=None, reader=None, readers=None,
        )  # fmt: skip
    open_viewer(page, write_report(run))
    page.locator("[data-stop='0']").click()
    people, model = page.locator("#viewer-boxes"), page.locator("#viewer-predicted")

    def coloured(x: float, heights: tuple[float, float], cyan: bool) -> bool:
        """Whether a vertical edge has its colour somewhere; that of people is dashed."""
        found = [pixel(page, x, y) for y in np.arange(*heights, 0.5)]
        return any((blue > red + 60) if cyan else (red > blue + 60) for red, _, blue in found)

    assert coloured(2, (30, 40), cyan=False)
    assert coloured(40, (4, 14), cyan=True)
    model.uncheck()
    assert not coloured(40, (4, 14), cyan=True)
    assert coloured(2, (30, 40), cyan=False)
    page.locator("#viewer-list").focus()
    page.keyboard.press("b")
    expect(people).not_to_be_checked()
    assert not coloured(2, (30, 40), cyan=False)
    page.keyboard.press("p")
    expect(model).to_be_checked()
    assert coloured(40, (4, 14), cyan=True)


def test_pointing_at_a_fixation_names_it(page: Page, report: Path) -> None:
    open_viewer(page, report)
    canvas = page.locator("#viewer-canvas")
    canvas.scroll_into_view_if_needed()
    box = canvas.bounding_box()
    assert box is not None

    def told(x: float, y: float) -> str | None:
        page.mouse.move(box["x"] + x / 64 * box["width"], box["y"] + y / 64 * box["height"])
        return canvas.get_attribute("title")

    assert told(50, 10) == "Ada, fixation 2, start 0.40 s, 0.20 s long"
    assert told(56, 56) == "Bo, fixation 1, start 0.00 s, 0.50 s long"
    assert told(3, 3) == ""
    page.locator("#viewer-order-numbers").uncheck()
    assert told(50, 10) is not None


def test_a_scanpath_is_replayed_in_the_order_of_time(page: Page, report: Path) -> None:
    open_stopped(page, report)
    page.locator("[data-stop='0']").click()
    page.locator("#viewer-boxes").uncheck()
    page.locator("#viewer-reader").select_option("Ada")
    clock = page.locator("#viewer-clock")
    expect(clock).to_have_text("fixation 3 of 3 · 1.40 of 1.40 s")
    # By start: 0.1, 0.5 and 1.1 s, the second row of the file first.
    marks = [(10, 50), (50, 10), (30, 56)]
    # Ada is cyan, with little red in it.
    assert all(pixel(page, *mark)[0] < GREY - 20 for mark in marks)

    page.locator("#viewer-play").click()
    expect(page.locator("#viewer-play")).to_have_text("Pause")
    seen = []
    for _ in range(30):
        page.clock.run_for(50)
        drawn = [pixel(page, *mark)[0] < GREY - 20 for mark in marks]
        seen.append((drawn, clock.inner_text()))
    counts = [sum(drawn) for drawn, _ in seen]
    assert counts == sorted(counts)
    assert {tuple(drawn) for drawn, _ in seen} == {
        (True, False, False), (True, True, False), (True, True, True),
    }  # fmt: skip
    for drawn, text in seen:
        time = float(text.split("·")[1].split()[0])
        assert sum(drawn) == 1 + (time >= 0.4) + (time >= 1.0)
        assert text.startswith(f"fixation {sum(drawn)} of 3")
    assert seen[-1][1].endswith("1.40 of 1.40 s")
    expect(page.locator("#viewer-play")).to_have_text("Play")


def test_time_can_be_dragged_paused_and_sped_up(page: Page, report: Path) -> None:
    open_stopped(page, report)
    page.locator("#viewer-reader").select_option("Ada")
    clock = page.locator("#viewer-clock")
    left, width, across = grab(page, "#viewer-time")
    page.mouse.move(left + width - 8, across)
    page.mouse.down()
    page.mouse.move(left + width * 0.4, across, steps=5)
    page.mouse.up()
    expect(clock).to_contain_text("fixation 2 of 3")
    page.mouse.move(0, 0)

    page.locator("#viewer-time").fill("0")
    expect(clock).to_have_text("fixation 1 of 3 · 0.00 of 1.40 s")
    page.locator("#viewer-speed").select_option("4")
    page.locator("#viewer-list").focus()
    page.keyboard.press("Space")
    page.clock.run_for(200)
    page.keyboard.press("Space")
    expect(page.locator("#viewer-play")).to_have_text("Play")
    stopped = clock.inner_text()
    time = float(stopped.split("·")[1].split()[0])
    assert 0.6 <= time <= 0.9
    page.clock.run_for(500)
    assert clock.inner_text() == stopped


def test_all_readers_are_drawn_and_each_alone(page: Page, report: Path) -> None:
    open_viewer(page, report)
    page.locator("[data-stop='0']").click()
    expect(page.locator("#viewer-clock")).to_contain_text("fixation 4 of 4")
    options = page.locator("#viewer-reader option").all_inner_texts()
    assert options == ["all readers", "Ada", "Bo"]
    page.locator("#viewer-reader").select_option("Bo")
    assert pixel(page, 10, 50) == (GREY,) * 3
    assert pixel(page, 56, 56)[1] > pixel(page, 56, 56)[2] + 20  # Bo is green
    expect(page.locator("#viewer-clock")).to_have_text("fixation 1 of 1 · 0.50 of 0.50 s")
    page.locator("#viewer-fixations").uncheck()
    assert pixel(page, 56, 56) == (GREY,) * 3


def test_without_times_the_order_of_the_file_is_replayed(page: Page, report: Path) -> None:
    open_stopped(page, report, "#case=film004")
    expect(page.locator("#viewer-gaze-note")).to_contain_text("order of the file")
    expect(page.locator("#viewer-clock")).to_have_text("fixation 2 of 2")
    page.locator("#viewer-play").click()
    page.clock.run_for(150)
    expect(page.locator("#viewer-clock")).to_have_text("fixation 1 of 2")
    page.clock.run_for(300)
    expect(page.locator("#viewer-clock")).to_have_text("fixation 2 of 2")


def test_without_gaze_the_replay_is_off_and_says_why(page: Page, report: Path) -> None:
    open_viewer(page, report, "#case=film003")
    expect(page.locator("#viewer-gaze-note")).to_have_text("No gaze was recorded for this case.")
    expect(page.locator("#viewer-play")).to_be_disabled()
    expect(page.locator("#viewer-mixed")).to_have_text("Clinicians 100 % (none for this case)")
    page.locator("#viewer-list").focus()
    page.keyboard.press("Space")
    expect(page.locator("#viewer-play")).to_have_text("Play")


def test_filters_by_finding_error_and_metric(page: Page, report: Path) -> None:
    open_viewer(page, report)
    count = page.locator("#viewer-count")
    # Effusion is true of each third; its probability falls by 0.03 from 0.9; 0.4 was chosen.
    page.locator("#viewer-finding").select_option("effusion")
    expect(page.locator("#viewer-threshold")).to_have_text(
        "Called positive from a probability of: effusion 0.40."
    )
    page.locator("#viewer-truth").select_option("present")
    assert sorted(numbers(page)) == [0, 3, 6, 9]
    page.locator("#viewer-truth").select_option("")
    page.locator("#viewer-error").select_option("false positive")
    assert sorted(numbers(page)) == [1, 2, 4, 5, 7, 8, 10, 11]
    page.locator("#viewer-low").fill("0.5")
    page.locator("#viewer-high").fill("0.8")
    assert sorted(numbers(page)) == [2, 4, 5, 7, 8]
    expect(count).to_have_text("5 of 12 cases")
    expect(page.locator("#viewer-name")).to_have_text("film002")  # the first that is left
    page.locator("#viewer-finding").select_option("nodule")
    expect(count).to_have_text("0 of 12 cases")
    page.locator("#viewer-filters button[type=reset]").click()
    expect(count).to_have_text("12 of 12 cases")
    page.locator("#viewer-find").fill("p01")
    assert sorted(numbers(page)) == [10, 11]


def test_sorts_by_metric_and_probability_with_the_undefined_last(page: Page, report: Path) -> None:
    open_viewer(page, report)
    assert numbers(page) == [0, 1, 2, 4, 5, 6, 7, 8, 9, 10, 11, 3]
    page.locator("#viewer-order").select_option("up")
    assert numbers(page) == [11, 10, 9, 8, 7, 6, 5, 4, 2, 1, 0, 3]
    page.locator("#viewer-finding").select_option("effusion")
    page.locator("#viewer-sort").select_option("probability")
    assert numbers(page) == list(range(11, -1, -1))
    page.locator("#viewer-order").select_option("down")
    page.locator("#viewer-sort").select_option("id")
    assert numbers(page)[:2] == [11, 10]


def test_everything_works_from_the_keyboard(page: Page, report: Path) -> None:
    open_viewer(page, report)
    page.locator("#viewer-list").focus()
    outline = page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
    assert outline == "solid"
    for key, name in [
        ("ArrowDown", "film001"), ("ArrowRight", "film002"), ("ArrowLeft", "film001"),
        ("End", "film003"), ("Home", "film000"), ("ArrowUp", "film000"),
    ]:  # fmt: skip
        page.keyboard.press(key)
        expect(page.locator("#viewer-name")).to_have_text(name)
    for key, text in [("1", "Film"), ("3", "Model 100 %"), ("2", "Clinicians 100 %")]:
        page.keyboard.press(key)
        expect(page.locator("#viewer-mixed")).to_have_text(text)
    page.keyboard.press("f")
    expect(page.locator("#viewer-fixations")).not_to_be_checked()
    page.keyboard.press("b")
    expect(page.locator("#viewer-boxes")).not_to_be_checked()
    page.keyboard.press("?")
    expect(page.locator("#viewer-help")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.locator("#viewer-help")).to_be_hidden()
    page.keyboard.press("/")
    page.keyboard.type("film 1?")
    expect(page.locator("#viewer-find")).to_have_value("film 1?")


def test_a_link_opens_its_case_and_survives_a_reload(page: Page, report: Path) -> None:
    open_viewer(page, report, "#case=film007")
    expect(page.locator("#viewer-name")).to_have_text("film007")
    page.reload()
    expect(page.locator("#viewer-name")).to_have_text("film007")
    page.evaluate("location.hash = '#case=film009'")
    expect(page.locator("#viewer-name")).to_have_text("film009")
    page.evaluate("location.hash = '#case=nobody'")
    expect(page.locator("#viewer-copied")).to_have_text("no case nobody")
    expect(page.locator("#viewer-name")).to_have_text("film009")
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    page.locator("#viewer-copy").click()
    expect(page.locator("#viewer-copied")).to_have_text("copied")
    assert page.evaluate("navigator.clipboard.readText()") == report.as_uri() + "#case=film009"


def test_a_name_that_is_markup_stays_text(page: Page, report: Path) -> None:
    open_viewer(page, report)
    page.locator(".viewer-row", has_text="alert").click()
    expect(page.locator("#viewer-name")).to_have_text(EVIL)
    assert page.evaluate("document.querySelectorAll('script').length") == 1
    page.reload()
    expect(page.locator("#viewer-name")).to_have_text(EVIL)


@pytest.mark.parametrize("width", [1400, 1000, 700])
def test_nothing_sticks_out_of_the_page(page: Page, report: Path, width: int) -> None:
    page.set_viewport_size({"width": width, "height": 900})
    open_viewer(page, report)
    for _ in range(2):
        right = page.evaluate(
            """() => { const edge = document.querySelector(".viewer").getBoundingClientRect().right;
            return [...document.querySelectorAll("#viewer *:not(dialog *)")].filter((one) =>
              one.checkVisibility() && one.getBoundingClientRect().right > edge + 1
            ).map((one) => one.id || one.className); }"""
        )
        assert right == []
        page.locator("#viewer-beside").check()


def test_light_and_dark_follow_the_system_and_the_button(page: Page, report: Path) -> None:
    def ground() -> str:
        return str(page.evaluate("getComputedStyle(document.body).backgroundColor"))

    open_viewer(page, report)
    light, dark = "rgb(246, 247, 249)", "rgb(17, 22, 28)"
    assert ground() == light
    page.locator("#theme").click()
    assert ground() == dark
    page.emulate_media(color_scheme="dark")
    page.locator("#theme").click()
    assert ground() == light
    page.reload()
    assert ground() == dark
    assert page.get_by_text("Research use only").count() == 3


def test_screenshots(
    page: Page, report: Path, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    given = request.config.getoption("--report")
    folder = Path(request.config.getoption("--screenshots") or tmp_path)
    open_viewer(page, Path(given).resolve() if given else report)
    page.locator("#viewer").scroll_into_view_if_needed()
    page.locator("[data-stop='200']").click()
    page.locator("#viewer").screenshot(path=folder / "viewer.png")
    page.locator("#viewer-beside").check()
    page.locator("#viewer").screenshot(path=folder / "viewer-beside.png")
    page.locator("[data-stop='100']").click()
    page.locator("#viewer-reader").select_option(index=1)
    page.locator("#viewer-time").fill("600")
    page.locator("#theme").click()
    page.locator("#viewer").screenshot(path=folder / "viewer-replay.png")
    white, dark = (255, 255, 255), (26, 33, 41)
    for name, ground in (("viewer", white), ("viewer-beside", white), ("viewer-replay", dark)):
        with Image.open(folder / f"{name}.png") as picture:
            small = picture.convert("RGB").quantize(256)
            assert picture.convert("RGB").getpixel((4, 40)) == ground
        # A palette makes the files small enough to keep.
        small.save(folder / f"{name}.png", optimize=True)
