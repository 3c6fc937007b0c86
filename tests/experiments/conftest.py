from pathlib import Path

import pytest

from experiments.evaluate import evaluate
from experiments.report import write_report
from experiments.runner import run
from tests.experiments.small import small_config


@pytest.fixture(scope="session")
def finished_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of all stages; tests must not change it."""
    folder = tmp_path_factory.mktemp("runs") / "small"
    run(small_config(), folder, say=lambda _: None)
    return folder


@pytest.fixture(scope="session")
def evaluated_run(finished_run: Path) -> Path:
    """The finished run with its evaluation and report."""
    evaluate(finished_run, device="cpu")
    write_report(finished_run)
    return finished_run
