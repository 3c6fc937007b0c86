"""The command ``gazedx``. Heavy imports stand inside the commands, so that ``--help`` is quick."""

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from eye_gaze_data.errors import ConfigError, GazedxError

from .config_commands import config_app
from .console import (
    Config,
    Json,
    Quiet,
    Seed,
    Set,
    echo_json,
    load_run,
    run_folder,
    say_metrics,
    show_progress,
)
from .data_commands import data_app
from .evaluation_commands import compare, score
from .model_commands import export, predict
from .preemption import exit_when_preempted

if TYPE_CHECKING:
    from .config import RunConfig

app = typer.Typer(
    name="gazedx",
    help="Chest radiographs: predict the diagnosis and where a clinician looks. Research use only.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
app.add_typer(data_app, name="data")
app.add_typer(config_app, name="config")

Run = Annotated[Path, typer.Argument(help="Run folder.")]
Out = Annotated[Path | None, typer.Option("--out", help="Run folder; runs/NAME if not given.")]
Device = Annotated[str | None, typer.Option("--device", help="auto, cpu or cuda.")]


def main() -> None:
    """Run the command; a user's mistake is one message, not a traceback."""
    exit_when_preempted()
    try:
        app()
    except GazedxError as error:
        typer.echo(f"error: {error}", err=True)
        sys.exit(error.exit_code)
    except BrokenPipeError:
        # The reader of a pipe has had enough; nothing is wrong.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(0)


@app.command()
def run(
    config: Config,
    out: Out = None,
    overrides: Set = None,
    seed: Seed = None,
    device: Device = None,
    quiet: Quiet = False,
    as_json: Json = False,
    first: Annotated[
        str | None, typer.Option("--from", help="Run this stage and all after it afresh.")
    ] = None,
    last: Annotated[str | None, typer.Option("--until", help="Stop after this stage.")] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print the plan, train nothing.")
    ] = False,
) -> None:
    """Run all stages, then evaluate and report. Run it again to go on where it stopped."""
    loaded = load_run(config, overrides, seed, device)
    if dry_run:
        _show_plan(loaded, run_folder(loaded, out), as_json=as_json)
        return
    _train(loaded, run_folder(loaded, out), quiet=quiet or as_json, first=first, last=last)
    from .ranks import is_first_rank

    if last is None and is_first_rank():
        _evaluate(run_folder(loaded, out), None, device, quiet=quiet, as_json=as_json)


def _kind_command(kind: str, text: str) -> None:
    def command(
        config: Config,
        out: Out = None,
        overrides: Set = None,
        seed: Seed = None,
        device: Device = None,
        quiet: Quiet = False,
    ) -> None:
        loaded = load_run(config, overrides, seed, device)
        _train(loaded, run_folder(loaded, out), quiet=quiet, kinds=[kind])

    app.command(name=kind, help=text)(command)


_kind_command("pretrain", "Run the pretraining stages of a config.")
_kind_command("cooperative", "Run the cooperative stages of a config.")
_kind_command("finetune", "Run the finetuning stages of a config.")


@app.command()
def sweep(
    study: Annotated[Path, typer.Argument(help="YAML file, or a shipped one: study/baselines")],
    out: Annotated[
        Path | None, typer.Option("--out", help="Folder; runs/NAME if not given.")
    ] = None,
    quiet: Quiet = False,
) -> None:
    """Run every cell of a study with every seed and print one table. Run it again to go on."""
    from .study import load_study
    from .sweep import sweep as run_study

    loaded, configs = load_study(study)
    folder = out or Path("runs") / loaded.name
    say = (lambda _: None) if quiet else (lambda line: typer.echo(line, err=True))
    typer.echo(run_study(loaded, configs, folder, say=say))


@app.command()
def evaluate(
    run: Run,
    stage: Annotated[str | None, typer.Option("--stage", help="Whose weights.")] = None,
    overrides: Annotated[
        list[str] | None,
        typer.Option("--set", help="Override a setting: evaluate.grid=320. Repeatable."),
    ] = None,
    device: Device = None,
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Score a run beside its baselines and write the report.

    Predictions are stored: other settings are scored without the network.
    """
    _evaluate(run, stage, device, overrides=overrides or [], quiet=quiet, as_json=as_json)


app.command()(score)
app.command()(compare)


@app.command()
def report(
    runs: Annotated[list[Path], typer.Argument(help="Run or study folder; several with --figure.")],
    figure: Annotated[
        Path | None, typer.Option("--figure", help="Draw cases by runs: .pdf, .svg or .png.")
    ] = None,
    cases: Annotated[
        list[str] | None, typer.Option("--case", help="Image id of the figure. Repeatable.")
    ] = None,
) -> None:
    """Write the offline report of a run, or of a study, again; or a figure of cases by runs."""
    if len(runs) == 1 and figure is None and (runs[0] / "study.json").is_file():
        from .sweep import read_study, write_study

        write_study(read_study(runs[0]), runs[0])
        typer.echo(str(runs[0] / "study.html"))
        return
    for run in runs:
        _expect_run(run)
    if figure is not None:
        from .figure import draw_figure

        draw_figure(runs, cases or [], figure)
        typer.echo(str(figure))
        return
    from .report import write_report

    if len(runs) > 1 or cases:
        raise ConfigError("a report is of one run; --case and several runs go with --figure")
    typer.echo(str(write_report(runs[0])))
    if not (runs[0] / "evaluate" / "metrics.json").is_file():
        typer.echo(
            "not evaluated yet: curves only. See gazedx status, then gazedx evaluate", err=True
        )


app.command()(predict)
app.command()(export)


@app.command()
def status(run: Run, as_json: Json = False) -> None:
    """Say how far the stages of a run are."""
    from .load import load_config
    from .status import run_status

    _expect_run(run)
    rows = run_status(run, load_config(run / "config.yaml"))
    if as_json:
        echo_json(rows)
    else:
        _echo_table(["stage", "kind", "task", "status", "epochs", "best", "monitor"], rows)


@app.command()
def init(
    data: Annotated[Path, typer.Argument(help="A data set's folder as downloaded.")],
    out: Annotated[
        Path | None, typer.Option("--out", help="YAML file to write; NAME.yaml if not given.")
    ] = None,
) -> None:
    """Recognise the data set in a folder and write a commented config for it."""
    from .init_config import init_config

    path, title = init_config(data, out)
    typer.echo(f"{title}: wrote {path}; now: gazedx data check {path}")


@app.command()
def doctor(
    config: Annotated[
        Path | None, typer.Argument(help="A config whose data folders are to be looked for.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Check versions, extras, threads, GPU, disk, data and foreign packages."""
    from .doctor import findings

    rows = findings(None if config is None else load_run(config, None, None, None))
    if as_json:
        echo_json(rows)
    else:
        _echo_table(["check", "result", "advice"], rows)
    if any(row["advice"] for row in rows):
        raise typer.Exit(1)


def _train(config: "RunConfig", folder: Path, *, quiet: bool, **choice: Any) -> None:  # noqa: ANN401
    from .ranks import is_first_rank
    from .runner import run as run_stages

    def say(line: str) -> None:
        if not quiet and is_first_rank():
            typer.echo(line)

    run_stages(config, folder, say=say, bar=not quiet and sys.stdout.isatty(), **choice)


def _evaluate(
    run: Path,
    stage: str | None,
    device: str | None,
    *,
    overrides: Sequence[str] = (),
    quiet: bool,
    as_json: bool,
) -> None:
    from .evaluate import evaluate as score_run
    from .report import write_report

    _expect_run(run)
    with show_progress("evaluate", 0, show=not (quiet or as_json)) as step:
        metrics = score_run(
            run, stage=stage, device=device or "auto", overrides=overrides, step=step
        )
    say_metrics(metrics, write_report(run), quiet=quiet, as_json=as_json)


def _show_plan(config: "RunConfig", folder: Path, *, as_json: bool) -> None:
    from .plan import plan

    rows = plan(config, folder)
    if as_json:
        echo_json(rows)
    else:
        columns = ["stage", "kind", "task", "images", "trained", "frozen", "from", "epochs", "then"]
        _echo_table(columns, rows)


def _expect_run(run: Path) -> None:
    if not (run / "config.yaml").is_file():
        raise ConfigError(f"{run}: no run folder (it has no config.yaml); see: gazedx run --help")


def _echo_table(columns: list[str], rows: list[dict[str, Any]]) -> None:
    cells = [columns, *([str(row.get(column, "")) for column in columns] for row in rows)]
    widths = [max(len(line[i]) for line in cells) for i in range(len(columns))]
    for line in cells:
        padded = (cell.ljust(width) for cell, width in zip(line, widths, strict=True))
        typer.echo("  ".join(padded).rstrip())


if __name__ == "__main__":
    main()
