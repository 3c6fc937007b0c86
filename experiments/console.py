"""What commands share: common options, JSON, a progress bar, the lines after an evaluation."""

import json
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from eye_gaze_data.files import without_nan

if TYPE_CHECKING:
    from .config import RunConfig

Config = Annotated[Path, typer.Argument(help="YAML file, or the name of a shipped config: demo")]
Set = Annotated[list[str] | None, typer.Option("--set", help="Override a key: a.b=c. Repeatable.")]
Seed = Annotated[int | None, typer.Option("--seed", help="Seed of everything random.")]
Quiet = Annotated[bool, typer.Option("--quiet", help="Only warnings and errors.")]
Json = Annotated[bool, typer.Option("--json", help="Machine-readable output.")]


def echo_json(value: object) -> None:
    """Print a value as JSON; NaN becomes null."""
    typer.echo(json.dumps(without_nan(value), indent=2))


def show_progress(
    name: str, total: int, *, show: bool
) -> AbstractContextManager[Callable[[], None]]:
    """A progress bar where the error stream is a terminal, else a line a minute."""
    from .progress import progress

    return progress(name, total, show=show, terminal=sys.stderr.isatty())


def say_metrics(metrics: dict[str, Any], page: Path, *, quiet: bool, as_json: bool) -> None:
    """The headline numbers of an evaluation and where its report is."""
    from .status import metric_lines

    if as_json:
        echo_json(metrics)
    elif not quiet:
        typer.echo("\n".join(metric_lines(metrics)))
        typer.echo(f"report: {page}")


def load_run(
    config: Path, overrides: list[str] | None, seed: int | None, device: str | None
) -> "RunConfig":
    """The config of a command, with what its options override."""
    from .load import load_config

    given = list(overrides or [])
    if seed is not None:
        given.append(f"seed={seed}")
    if device is not None:
        given.append(f"trainer.device={device}")
    return load_config(config, given)


def run_folder(config: "RunConfig", out: Path | None) -> Path:
    """Where a run is written: ``runs/NAME`` unless the command says otherwise."""
    return out or Path("runs") / config.name
