"""The commands that use a finished model: ``predict`` and ``export``."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from .console import Json, Quiet, echo_json, show_progress

Model = Annotated[Path, typer.Argument(help="Run folder, or what 'export --to hub' wrote.")]
Stage = Annotated[str | None, typer.Option("--stage", help="Whose weights.")]


class Engine(StrEnum):
    """What computes."""

    torch = "torch"
    onnxruntime = "onnxruntime"


class Format(StrEnum):
    """What a model is exported as."""

    hub = "hub"
    onnx = "onnx"
    safetensors = "safetensors"


def predict(
    run: Model,
    files: Annotated[list[Path], typer.Argument(help="Films (PNG, JPEG, TIFF, DICOM) or folders.")],
    out: Annotated[Path, typer.Option("--out", help="Folder for the results.")] = Path(
        "predictions"
    ),
    stage: Stage = None,
    engine: Annotated[
        Engine, typer.Option("--engine", help="onnxruntime is the fast path on a CPU.")
    ] = Engine.torch,
    batch: Annotated[int, typer.Option("--batch", min=1, help="Films predicted together.")] = 8,
    npy: Annotated[bool, typer.Option("--npy/--no-npy", help="Density as NPY.")] = True,
    tiff: Annotated[bool, typer.Option("--tiff", help="Density as 16-bit TIFF too.")] = False,
    overlay: Annotated[
        bool, typer.Option("--overlay/--no-overlay", help="Film and density as PNG.")
    ] = True,
    attention: Annotated[
        bool, typer.Option("--attention", help="Maps of attention sites and class activation.")
    ] = False,
    device: Annotated[str | None, typer.Option("--device", help="auto, cpu or cuda.")] = None,
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Predict findings and the gaze density of films. Research use only.

    Files that cannot be read are listed at the end, the rest is done; the exit code is then 1.
    """
    from .gaze_model import open_predictor
    from .predict import Writes, list_films, predict_files
    from .prediction_config import NOTICE

    wanted = device or ("cpu" if engine is Engine.onnxruntime else "auto")
    predictor = open_predictor(run, stage, wanted)
    predictor.attention = attention
    if engine is Engine.onnxruntime:
        _use_onnxruntime(predictor, run, stage, attention=attention, quiet=quiet or as_json)
    writes = Writes(npy, tiff, overlay, attention)
    total = sum(1 for _ in list_films(files, out))
    with show_progress("predict", total, show=not (quiet or as_json)) as step:
        count, failures = predict_files(
            predictor, files, out, writes=writes, batch=batch, step=step
        )
    if as_json:
        typer.echo((out / "predictions.json").read_text(encoding="utf-8"), nl=False)
    elif not quiet:
        typer.echo(f"{count} film(s) predicted into {out}. {NOTICE}")
    if failures:
        typer.echo(f"{len(failures)} file(s) left out:", err=True)
    for failure in failures:
        typer.echo(f"left out: {failure}", err=True)
    if failures:
        raise typer.Exit(1)


def _use_onnxruntime(  # type: ignore[no-untyped-def]
    predictor,  # noqa: ANN001 - imported by the caller, as torch must stay out of --help
    run: Path,
    stage: str | None,
    *,
    attention: bool,
    quiet: bool,
) -> None:
    from eye_gaze_data.errors import ConfigError

    from .onnx_engine import use_onnxruntime

    if attention:
        raise ConfigError("--attention needs the network itself; leave out --engine onnxruntime")
    say = (lambda _: None) if quiet else (lambda line: typer.echo(line, err=True))
    use_onnxruntime(predictor, run, stage, say)


def export(
    run: Model,
    to: Annotated[
        Format,
        typer.Option("--to", help="For from_pretrained, a graph, or weights alone."),
    ] = Format.hub,
    out: Annotated[
        Path | None, typer.Option("--out", help="Folder; RUN/export if not given.")
    ] = None,
    stage: Stage = None,
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Write a model for other programs: huggingface-hub's folder, ONNX, safetensors."""
    from .export import export_model

    facts = export_model(run, to.value, out or run / "export", stage)
    if as_json:
        echo_json(facts)
    elif not quiet:
        for name, value in facts.items():
            typer.echo(f"{name}: {value}")
