"""The page of a study in a browser: offline, light and dark, links that lead to the reports."""

from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from experiments.report import write_report, write_study_page
from experiments.study import StudyConfig
from tests.browser import needs_chromium
from tests.experiments.test_report import EVIL, write_rows, write_run
from tests.experiments.test_study_figures import difference

pytestmark = needs_chromium


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two cells, the second with one seed of two, and a description that is markup."""
    folder = tmp_path_factory.mktemp("study")
    cells = {"first": {"about": "both tasks"}, "second": {"about": EVIL}}
    config = StudyConfig.model_validate({"name": "s", "base": "b", "seeds": [0, 1], "cells": cells})
    for cell, seed in (("first", 0), ("first", 1), ("second", 0)):
        run = write_run(folder / cell / f"seed-{seed}")
        rows = [{"epoch": n, "valid/auroc": 0.5 + 0.1 * n + 0.02 * seed} for n in range(3)]
        write_rows(run / "01-contrast" / "metrics.csv", rows)
        write_report(run)
    compared = [difference("second", name, 0.1, 0.05, 0.01) for name in ("cc", "kld")]
    part = {
        "n_images": 12,
        "comparisons": [one | {"p_value": 0.005} for one in compared],
    }
    found = {"reference": "first", "groups": {"alpha": part}, "left_out": {"third": EVIL}}
    table = [["cell", "CC ↑", "seeds", ""], ["first", "0.500", "2", ""], ["second", "", "1", EVIL]]
    return write_study_page(config, folder, table, found)


def test_the_page_shows_plots_in_both_themes_and_leads_to_the_reports(
    page: Page, study: Path
) -> None:
    page.goto(study.as_uri())
    assert page.locator("svg.panel").count() == 2
    assert page.locator(".panel .mean").count() == 2
    # One seed is its own mean.
    assert page.locator(".panel .seed").count() == 2
    good = page.locator(".difference.better line")
    bad = page.locator(".difference.worse line")
    assert (good.count(), bad.count()) == (1, 1)
    colour = "(line) => getComputedStyle(line).stroke"
    light = good.evaluate(colour), bad.evaluate(colour)
    assert light == ("rgb(29, 122, 75)", "rgb(179, 55, 47)")
    page.locator("#theme").click()
    assert (good.evaluate(colour), bad.evaluate(colour)) == (
        "rgb(92, 198, 144)", "rgb(240, 138, 128)",
    )  # fmt: skip
    page.get_by_text("The numbers").click()
    expect(page.locator("#differences td.worse")).to_have_text("worse")
    expect(page.locator("#runs")).to_contain_text("not evaluated")
    assert page.evaluate("document.querySelectorAll('script').length") == 1
    page.locator("#runs a").nth(1).click()
    expect(page.locator("h1")).to_have_text("demo run")
    assert "/first/seed-1/evaluate/report.html" in page.url


@pytest.mark.parametrize("name", ["curves.svg", "differences.svg"])
def test_the_plots_are_pictures_of_their_own(page: Page, study: Path, name: str) -> None:
    frame = study.parent / "frame.html"
    frame.write_text(f'<!DOCTYPE html><link rel="icon" href="data:,"><img src="{name}">')
    page.goto(frame.as_uri())
    size = page.evaluate("[document.images[0].naturalWidth, document.images[0].naturalHeight]")
    assert size[0] > 400
    assert size[1] > 100
