"""``gazedx config check``, ``show`` and ``schema``."""

from typing import Annotated

import typer

from eye_gaze_data.errors import ConfigError, DataError

from .console import Config, Json, Seed, Set, echo_json, load_run, run_folder

config_app = typer.Typer(help="Show and check run configs.", no_args_is_help=True)


@config_app.command("check")
def config_check(config: Config, overrides: Set = None) -> None:
    """Check keys, stages and losses; where data are there: globs, sites, memory, time, disk."""
    from .plan import check_everything

    for line in check_everything(load_run(config, overrides, None, None)):
        typer.echo(line)


@config_app.command("show")
def config_show(
    config: Config,
    overrides: Set = None,
    seed: Seed = None,
    as_yaml: Annotated[
        bool, typer.Option("--yaml", help="The resolved config instead, every default written out.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Print the plan: what trains, what is frozen, what is handed over, in which turns."""
    from .load import dump_config

    loaded = load_run(config, overrides, seed, None)
    if as_yaml:
        typer.echo(dump_config(loaded))
        return
    from dataclasses import asdict

    from .execution import execution_here
    from .plan import declared, plan
    from .plan_table import print_plan

    folder = run_folder(loaded, None)
    try:
        rows = plan(loaded, folder)
    except DataError as error:
        typer.echo(f"nothing is counted, the data are not there: {error}", err=True)
        rows = declared(loaded, folder)
    try:
        execution = execution_here(loaded.trainer)
    except ConfigError as error:
        # Shown where it was written, for another machine.
        typer.echo(f"how stages compute is decided where they run: {error}", err=True)
        execution = None
    if as_json:
        chosen = asdict(execution) if execution else None
        echo_json({"plan": rows, "execution": chosen, "config": loaded.model_dump(mode="json")})
        return
    print_plan(rows)
    if execution is not None:
        typer.echo(f"on this machine: {execution}")


@config_app.command("schema")
def config_schema() -> None:
    """Print the JSON schema of a config file, for editors."""
    from .schema import file_schema

    echo_json(file_schema())
