from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
from playwright.sync_api import Browser, Page

from eye_gaze_data.layouts.egd_cxr import write_egd_cxr
from eye_gaze_data.phantom import PhantomConfig
from tests.browser import chromium, watched_page
from tests.integration.commands import gazedx

PATIENTS, HEIGHT, WIDTH = 40, 64, 48
# A network and an evaluation that take seconds; what a user leaves out.
TINY = (
    "models.network.backbone_options={growth_rate: 4, block_config: [1, 1, 1, 1]}",
    "models.network.widths=[4, 4, 8, 8, 8]",
    "defaults.data.image_size=[32, 32]",
    "defaults.batch_size=8",
    "stages.classify.epochs=2",
    "stages.saliency.epochs=2",
    "stages.saliency.optimiser={lr: 0.01}",
    "stages.fuse.epochs=2",
    "evaluate.grid=320",
    "evaluate.resamples=200",
    "evaluate.sensitivity=0",
)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as opened:
        yield opened


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    with watched_page(browser) as opened:
        yield opened


class Walk(NamedTuple):
    """A gaze cohort as downloaded, and all that the commands made of it.

    Attributes:
        folder: of everything; ``egd.yaml`` is the config.
        data: the files of EGD-CXR; its films stand in ``mimic`` beside it.
        run: the finished run.
        said: what each command printed, by its first words.
    """

    folder: Path
    data: Path
    run: Path
    said: dict[str, str]


def overrides() -> list[str]:
    """The words that make a config of ``gazedx init`` small."""
    return [word for change in TINY for word in ("--set", change)]


@pytest.fixture(scope="session")
def walk(tmp_path_factory: pytest.TempPathFactory) -> Walk:
    """From the download to the report by public commands; tests must not change it."""
    folder = tmp_path_factory.mktemp("walk")
    data, config, run = folder / "egd-cxr", folder / "egd.yaml", folder / "run"
    phantom = PhantomConfig(n_patients=PATIENTS, height=HEIGHT, width=WIDTH)
    write_egd_cxr(data, phantom, films=folder / "mimic")
    tiny = overrides()
    said = {
        "init": gazedx("init", data, "--out", config),
        "data check": gazedx("data check", config),
        "config check": gazedx("config check", config, *tiny),
        "run": gazedx("run --device cpu", config, "--out", run, *tiny),
    }
    return Walk(folder, data, run, said)
