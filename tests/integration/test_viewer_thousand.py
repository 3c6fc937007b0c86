"""A report with a thousand cases: what is in the document stays bounded, and all of it answers."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from playwright.sync_api import Page, expect

from experiments.report import write_report
from tests.browser import needs_chromium, open_viewer
from tests.experiments.test_report import image_row, write_case, write_rows, write_run

pytestmark = needs_chromium
CASES = 1000


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """CC falls from 1 by a thousandth a case; every third case has the finding."""
    run = write_run(tmp_path_factory.mktemp("thousand"))
    rows = [image_row(i, cc=1 - i / CASES, probability_effusion=0.9) for i in range(CASES)]
    write_rows(run / "evaluate" / "per_image.csv", rows)
    rng = np.random.default_rng(0)
    gaze = np.column_stack([rng.uniform(0, 32, (60, 2)), np.arange(60) / 4, np.full(60, 0.2)])
    write_case(run, 0, gaze=gaze.astype(np.float32), reader=np.repeat([0, 1], 30))
    folder = run / "evaluate" / "cases"
    for index in range(1, CASES):
        shutil.copyfile(folder / "000000.npz", folder / f"{index:06d}.npz")
    return write_report(run)


def rows_drawn(page: Page) -> int:
    return page.locator(".viewer-row").count()


def test_a_thousand_cases_scroll_sort_filter_and_link(page: Page, report: Path) -> None:
    open_viewer(page, report, "#case=film777")
    expect(page.locator("#viewer-name")).to_have_text("film777")
    expect(page.locator("#viewer-count")).to_have_text("1000 of 1000 cases")
    expect(page.locator(".viewer-row[aria-selected=true] .viewer-id")).to_have_text("film777")
    assert 10 < rows_drawn(page) < 30
    everything = page.evaluate("document.querySelectorAll('#viewer *').length")
    assert everything < 400

    page.locator("#viewer-list").hover()
    page.mouse.wheel(0, -100_000)
    expect(page.locator(".viewer-row", has_text="film000")).to_be_visible()
    page.mouse.wheel(0, 60 * 500)
    expect(page.locator(".viewer-row", has_text="film500")).to_be_visible()
    assert rows_drawn(page) < 30
    page.locator(".viewer-row", has_text="film500").click()
    expect(page.locator("#viewer-canvas")).to_have_attribute("data-shown", "film500")
    page.keyboard.press("End")
    expect(page.locator("#viewer-canvas")).to_have_attribute("data-shown", "film999")
    page.keyboard.press("PageUp")
    expect(page.locator("#viewer-canvas")).to_have_attribute("data-shown", "film989")

    page.locator("#viewer-low").fill("0.25")
    page.locator("#viewer-high").fill("0.5")
    expect(page.locator("#viewer-count")).to_have_text("251 of 1000 cases")
    page.locator("#viewer-finding").select_option("effusion")
    page.locator("#viewer-error").select_option("correct")
    # Multiples of three from 500 to 750.
    expect(page.locator("#viewer-count")).to_have_text("84 of 1000 cases")
    page.locator("#viewer-order").select_option("up")
    page.locator("#viewer-list").focus()
    page.keyboard.press("Home")
    expect(page.locator("#viewer-canvas")).to_have_attribute("data-shown", "film750")
    assert page.evaluate("document.querySelectorAll('#viewer *').length") < everything + 100
