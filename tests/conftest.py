"""Shapes are checked while tests run, torch keeps to one thread a worker, shared data are found."""

import os
from pathlib import Path

import pytest
import torch
from jaxtyping import install_import_hook

install_import_hook(["saliency", "diagnosis", "pretrain"], "beartype.beartype")

if "PYTEST_XDIST_WORKER" in os.environ:
    torch.set_num_threads(1)


def pytest_addoption(parser: pytest.Parser) -> None:
    """Pictures for the docs, see ``docs/report.md``."""
    parser.addoption("--report", help="report.html that the screenshots are taken of")
    parser.addoption("--screenshots", help="folder that the screenshots are kept in")


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of open data beside the repository; tests that want it are skipped without it."""
    folder = Path(__file__).resolve().parents[2] / "shared" / "data"
    if not folder.is_dir():
        pytest.skip("the folder of open data is not here")
    return folder
