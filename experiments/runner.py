"""Runs stages in order: one fresh Trainer each, weights handed over, finished stages skipped."""

import shutil
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Literal

from eye_gaze_data.cohort import Cohort
from eye_gaze_data.errors import ConfigError, StageError
from eye_gaze_data.files import remove_leftovers, sha256_of, sha256_of_file, write_json

from .anatomy_source import ensure_masks
from .build import build_cohorts
from .check import check_against_cohort, check_config, not_built
from .config import RunConfig, StageConfig
from .finished import FinishedStage
from .load import save_config
from .plan import check_networks
from .ranks import barrier, from_first, is_first_rank, join
from .record import (
    FINISHED,
    changed_keys,
    finish_run,
    locked,
    make_manifest,
    now,
    read_stage,
    stage_folder,
    stage_inputs,
    user_error,
    write_run_facts,
    write_splits,
)
from .rounds import skip_reason, source_of
from .training import train

Say = Callable[[str], None]
Decision = Literal["skip", "resume", "afresh"]


def run(
    config: RunConfig,
    folder: Path | str,
    *,
    kinds: Sequence[str] | None = None,
    first: str | None = None,
    last: str | None = None,
    say: Say = print,
    bar: bool = False,
) -> None:
    """Run the stages of a config; finished ones whose inputs have not changed are skipped.

    Args:
        config: the run.
        folder: the run folder.
        kinds: run only stages of these kinds; those before them must be finished.
        first: run this stage and what follows afresh, finished or not.
        last: stop after this stage.
        say: takes lines for the user.
        bar: show progress bars.

    Raises:
        ConfigError: if the run cannot work, before anything is trained.
        StageError: if a stage cannot start or fails.
    """
    folder = Path(folder)
    check_config(config)
    missing = not_built(config)
    if missing:
        raise ConfigError("this run is declared, but cannot be trained yet:\n" + "\n".join(missing))
    chosen = select_stages(config, kinds, first, last)
    join(config.trainer)
    with ExitStack() as stack:
        if is_first_rank():
            stack.enter_context(locked(folder))
        cohort = build_cohorts(config)
        check_against_cohort(config, cohort)
        check_networks(config, cohort)
        data = from_first(_begin(config, folder, cohort, first) if is_first_rank() else {})
        for stage in chosen:
            _run_stage(StageRun(config, stage, folder, cohort, data), say, first=first, bar=bar)
        records = [read_stage(stage_folder(folder, config, s.name)) for s in config.stages]
        if is_first_rank() and all(r and r["status"] in FINISHED for r in records):
            finish_run(folder)


def select_stages(
    config: RunConfig, kinds: Sequence[str] | None, first: str | None, last: str | None
) -> list[StageConfig]:
    """The stages that a command covers.

    Raises:
        ConfigError: if a named stage does not exist, or nothing is left.
    """
    names = [stage.name for stage in config.stages]
    for name in (first, last):
        if name is not None and name not in names:
            raise ConfigError(f"no stage '{name}'; known: {', '.join(names)}")
    start = names.index(first) if first else 0
    stop = names.index(last) + 1 if last else len(names)
    chosen = [s for s in config.stages[start:stop] if kinds is None or s.kind in kinds]
    if not chosen:
        wanted = f"of kind {', '.join(kinds)}, " if kinds else ""
        held = ", ".join(f"{stage.name} ({stage.kind})" for stage in config.stages)
        raise ConfigError(
            f"no stage to run {wanted}from '{first or names[0]}' until '{last or names[-1]}'; "
            f"the run has, in order: {held}"
        )
    return chosen


class StageRun:
    """A stage of a run with its folder, its record and what it depends on.

    Args:
        config: of the run.
        stage: of it.
        run: the run folder.
        cohort: the merged cohort.
        data: a hash of each cohort.
    """

    def __init__(
        self, config: RunConfig, stage: StageConfig, run: Path, cohort: Cohort, data: dict[str, str]
    ) -> None:
        self.config, self.stage, self.run, self.cohort, self.data = config, stage, run, cohort, data
        self.folder = stage_folder(run, config, stage.name)
        self.record: dict[str, Any] = {}

    def sources(self) -> list[tuple[str, Path]]:
        """Name and weights file of each ``init``, all there.

        Raises:
            StageError: if one is missing.
        """
        found = []
        for init in self.stage.init:
            path = Path(str(init.file))
            name = init.stage or path.name
            if init.stage is not None:
                source = source_of(self.config, self.run, self.stage, init.stage)
                folder = stage_folder(self.run, self.config, source)
                record = read_stage(folder)
                if record is None or record["status"] != "complete":
                    status = "was never run" if record is None else f"is {record['status']}"
                    raise StageError(
                        f"stage '{self.stage.name}' starts from stage '{init.stage}', which "
                        f"{status}; run it first: gazedx run CONFIG --until {init.stage}"
                    )
                path = folder / "weights.safetensors"
                name = source
            if not path.is_file():
                raise StageError(
                    f"stage '{self.stage.name}': no weights at {path}; make them again: "
                    f"gazedx run CONFIG --from {name}"
                )
            found.append((name, path))
        return found

    def segmenter(self) -> FinishedStage | None:
        """The finished stage that its organ masks come from, if they come from one.

        Raises:
            StageError: if it is not finished.
        """
        anatomy = self.stage.anatomy
        if anatomy is None or anatomy.source != "stage":
            return None
        return FinishedStage.load(self.run, anatomy.stage)

    def facts(self) -> dict[str, Any]:
        """What every record of the stage begins with."""
        return {"name": self.stage.name, "kind": self.stage.kind, "task": self.stage.task}

    def inputs(self) -> dict[str, Any]:
        """Everything that the result depends on."""
        hashes = {name: sha256_of_file(path) for name, path in self.sources()}
        if (segmenter := self.segmenter()) is not None:
            hashes[segmenter.stage.name] = sha256_of_file(segmenter.weights)
        return stage_inputs(self.config, self.stage, self.data, hashes)

    def write(self, status: str, **facts: object) -> None:
        """Update ``stage.json``."""
        self.record |= {"status": status, "updated": now(), **facts}
        if is_first_rank():
            write_json(self.folder / "stage.json", self.record)


def _begin(config: RunConfig, folder: Path, cohort: Cohort, first: str | None) -> dict[str, str]:
    """Refuse a run that was begun with other inputs; then write what describes it.

    Returns:
        a hash of each cohort.
    """
    remove_leftovers(folder)
    write_splits(folder, cohort)
    manifest = make_manifest(folder, cohort)
    data: dict[str, str] = manifest["cohorts"]
    for stage in config.stages:
        if stage.name == first:
            break
        record = read_stage(stage_folder(folder, config, stage.name))
        # What was skipped depends on what ran: it is decided again.
        if record is not None and record["status"] != "skipped":
            weights = record["inputs"]["weights"]
            _refuse_changed(stage.name, record, stage_inputs(config, stage, data, weights))
    write_json(folder / "manifest.json", manifest)
    save_config(config, folder / "config.yaml")
    write_run_facts(folder, config, config.trainer.device)
    return data


def _refuse_changed(name: str, record: dict[str, Any], inputs: dict[str, Any]) -> None:
    changed = changed_keys(record["inputs"], inputs)
    if changed:
        raise StageError(
            f"stage '{name}' was {record['status']} with other inputs; changed: "
            f"{', '.join(changed[:8])}. Use another --out, or run it again with --from {name}"
        )


def _decide(stage: StageRun, inputs: dict[str, Any], first: str | None) -> Decision:
    record = read_stage(stage.folder)
    if first is not None or record is None or record["status"] == "skipped":
        return "afresh"
    _refuse_changed(stage.stage.name, record, inputs)
    done = record["status"] == "complete" and (stage.folder / "weights.safetensors").is_file()
    return "skip" if done else "resume"


def _run_stage(stage: StageRun, say: Say, *, first: str | None, bar: bool) -> None:
    reason = skip_reason(stage.config, stage.run, stage.stage)
    # All ranks have read the records before one writes.
    barrier()
    if reason is not None:
        _skip(stage, *reason, say, keep=first is None)
        return
    inputs = stage.inputs()
    decision = from_first(_decide(stage, inputs, first) if is_first_rank() else "skip")
    if decision == "skip":
        say(f"{stage.stage.name}  finished before, skipped")
        return
    if decision == "afresh" and is_first_rank():
        shutil.rmtree(stage.folder, ignore_errors=True)
    barrier()
    before = float((read_stage(stage.folder) or {}).get("seconds", 0.0))
    stage.record = {
        **stage.facts(),
        "key": sha256_of(inputs),
        "inputs": inputs,
        "seconds": before,
    }
    begun = time.monotonic()
    try:
        if (segmenter := stage.segmenter()) is not None:
            _ensure_masks(stage, segmenter, say)
        train(stage, say, bar=bar)
    except BaseException as error:
        # Whatever ended it, the record says so; the error itself goes on its way.
        status = "interrupted" if isinstance(error, SystemExit | KeyboardInterrupt) else "failed"
        spent = before + time.monotonic() - begun
        stage.write(status, error=user_error(error), seconds=spent)
        raise
    stage.write("complete", error=None, seconds=before + time.monotonic() - begun)
    if stage.stage.task == "segment":
        _ensure_masks(stage, FinishedStage.load(stage.run, stage.stage.name), say)
    barrier()


def _ensure_masks(stage: StageRun, segmenter: FinishedStage, say: Say) -> None:
    """The masks of all films by a finished segmenter; the other processes wait for them."""
    if is_first_rank():
        films = ensure_masks(segmenter, stage.cohort, stage.data, stage.config.trainer.device)
        if films:
            say(f"{segmenter.stage.name}  masks of {films} films written")
    barrier()


def _skip(stage: StageRun, reason: str, stands_in: str, say: Say, *, keep: bool) -> None:
    """Record a stage whose round is not needed; ``keep`` leaves a finished one as it is."""
    say(f"{stage.stage.name}  skipped: {reason}")
    if not keep or (read_stage(stage.folder) or {}).get("status") != "complete":
        if is_first_rank():
            shutil.rmtree(stage.folder, ignore_errors=True)
        stage.record = stage.facts()
        stage.write("skipped", reason=reason, stands_in=stands_in)
    barrier()
