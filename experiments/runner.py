"""Runs stages in order: one fresh Trainer each, weights handed over, finished stages skipped."""

import logging
import shutil
import signal
import time
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from types import FrameType
from typing import Any

import pytorch_lightning as pl
from safetensors.torch import load_file

from eye_gaze_data.cohort import Cohort
from eye_gaze_data.errors import ConfigError, StageError
from eye_gaze_data.files import sha256_of, sha256_of_file, write_json
from saliency.module import TaskModule

from .build import build_cohorts, build_data, build_module
from .callbacks import BEST, LAST, CheckFirstBatch, StageCheckpoint, StageLog
from .check import check_against_cohort, check_config, not_built
from .config import RunConfig, StageConfig
from .load import save_config
from .panel import Panel
from .record import (
    changed_keys,
    finish_run,
    is_first_rank,
    locked,
    now,
    read_stage,
    stage_folder,
    stage_inputs,
    user_error,
    write_manifest,
    write_run_facts,
    write_splits,
)
from .weights import freeze, frozen_fingerprint, hand_over, read_weights, save_weights

Say = Callable[[str], None]


class Preempted(SystemExit):
    """SIGTERM came: what is finished stays, the same command goes on where this one stopped."""


def run(
    config: RunConfig,
    folder: Path,
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
    prepare(config)
    chosen = select_stages(config, kinds, first, last)
    previous = signal.signal(signal.SIGTERM, _on_sigterm)
    try:
        if not is_first_rank():
            _run_stages(config, folder, chosen, first, say, bar=bar)
            return
        with locked(folder):
            _run_stages(config, folder, chosen, first, say, bar=bar)
            if all(
                (read_stage(stage_folder(folder, config, s.name)) or {}).get("status") == "complete"
                for s in config.stages
            ):
                finish_run(folder)
    finally:
        signal.signal(signal.SIGTERM, previous)


def prepare(config: RunConfig) -> None:
    """Refuse what cannot run.

    Raises:
        ConfigError: naming what is wrong or not built yet.
    """
    check_config(config)
    missing = not_built(config)
    if missing:
        raise ConfigError("this run is declared, but cannot be trained yet:\n" + "\n".join(missing))


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
        raise ConfigError(f"no stage to run: kinds {kinds}, from {first}, until {last}")
    return chosen


def _run_stages(
    config: RunConfig,
    folder: Path,
    chosen: Sequence[StageConfig],
    first: str | None,
    say: Say,
    *,
    bar: bool,
) -> None:
    cohort = build_cohorts(config)
    check_against_cohort(config, cohort)
    data = ""
    if is_first_rank():
        write_splits(folder, cohort)
        data = write_manifest(folder, cohort)
        save_config(config, folder / "config.yaml")
        write_run_facts(folder, config, config.trainer.device)
    for stage in chosen:
        _run_stage(
            _Stage(config, stage, folder, cohort, data, say), afresh=first is not None, bar=bar
        )


class _Stage:
    """A stage of a run with its folder, its record and what it depends on."""

    def __init__(
        self, config: RunConfig, stage: StageConfig, run: Path, cohort: Cohort, data: str, say: Say
    ) -> None:
        self.config, self.stage, self.run, self.cohort = config, stage, run, cohort
        self.data, self.say = data, say
        self.folder = stage_folder(run, config, stage.name)
        self.record: dict[str, Any] = {}

    def sources(self) -> dict[str, Path]:
        """The weights files that the stage starts from, each finished.

        Raises:
            StageError: if one is missing.
        """
        paths = {}
        for init in self.stage.init:
            if init.stage is None:
                paths[str(init.file)] = Path(str(init.file))
                continue
            folder = stage_folder(self.run, self.config, init.stage)
            record = read_stage(folder)
            if record is None or record["status"] != "complete":
                status = "was never run" if record is None else f"is {record['status']}"
                raise StageError(
                    f"stage '{self.stage.name}' starts from stage '{init.stage}', which {status}; "
                    f"run it first: gazedx run CONFIG --until {init.stage}"
                )
            paths[init.stage] = folder / "weights.safetensors"
        for path in paths.values():
            if not path.is_file():
                raise StageError(f"stage '{self.stage.name}': no weights at {path}")
        return paths

    def inputs(self) -> dict[str, Any]:
        """Everything that the result depends on."""
        hashes = {name: sha256_of_file(path) for name, path in self.sources().items()}
        return stage_inputs(self.config, self.stage, self.data, hashes)

    def write(self, status: str, **facts: object) -> None:
        """Update ``stage.json``."""
        self.record |= {"status": status, "updated": now(), **facts}
        if is_first_rank():
            write_json(self.folder / "stage.json", self.record)


def _run_stage(stage: _Stage, *, afresh: bool, bar: bool) -> None:
    inputs = stage.inputs()
    record = read_stage(stage.folder)
    if record is not None and not afresh:
        changed = changed_keys(record["inputs"], inputs)
        if changed:
            raise StageError(
                f"stage '{stage.stage.name}' was {record['status']} with other inputs; changed: "
                f"{', '.join(changed[:8])}. Use another --out, or run it again with "
                f"--from {stage.stage.name}"
            )
        if record["status"] == "complete" and (stage.folder / "weights.safetensors").is_file():
            stage.say(f"{stage.stage.name}  finished before, skipped")
            return
    elif afresh and stage.folder.exists() and is_first_rank():
        shutil.rmtree(stage.folder)
    stage.record = {
        "name": stage.stage.name,
        "kind": stage.stage.kind,
        "task": stage.stage.task,
        "key": sha256_of(inputs),
        "inputs": inputs,
        "seconds": (record or {}).get("seconds", 0.0) if not afresh else 0.0,
    }
    begun = time.monotonic()
    before = stage.record["seconds"]
    try:
        _train(stage, bar=bar)
    except BaseException as error:
        # Whatever ended it, the record says so; the error itself goes on its way.
        status = "interrupted" if isinstance(error, SystemExit | KeyboardInterrupt) else "failed"
        spent = before + time.monotonic() - begun
        stage.write(status, error=user_error(error), seconds=spent)
        raise
    stage.write("complete", error=None, seconds=before + time.monotonic() - begun)


def _train(stage: _Stage, *, bar: bool) -> None:
    config, spec = stage.config, stage.stage
    module = build_module(config, spec, stage.cohort)
    reports = []
    for init, (name, path) in zip(spec.init, stage.sources().items(), strict=True):
        report = hand_over(module.network, read_weights(path), init.prefixes, f"init from '{name}'")
        reports.append(f"from '{name}': {report}")
    trained, frozen = freeze(module.network, spec.train, spec.name)
    # Lightning leaves modes as it finds them: this one holds frozen parts in evaluation mode.
    module.train()
    fingerprint = frozen_fingerprint(module.network)
    data = build_data(config, spec, stage.cohort)
    folder = stage.folder / "checkpoints"
    checkpoint = StageCheckpoint(folder, spec.monitor, spec.schedule, spec.stop_after)
    stage.write(
        "running",
        init="; ".join(reports) or None,
        n_trained=trained,
        n_frozen=frozen,
        classes=list(stage.cohort.pathologies),
        exclusive=stage.cohort.exclusive,
    )
    trainer = _trainer(stage, checkpoint, bar=bar)
    last = folder / LAST
    with warnings.catch_warnings():
        _quiet()
        trainer.fit(
            module, data, ckpt_path=str(last) if last.is_file() else None, weights_only=True
        )
    if frozen_fingerprint(module.network) != fingerprint:
        raise StageError(f"stage '{spec.name}': a frozen parameter or statistic changed")
    _finish(stage, module, checkpoint, trainer)


def _finish(
    stage: _Stage, module: TaskModule, checkpoint: StageCheckpoint, trainer: pl.Trainer
) -> None:
    if checkpoint.best_epoch < 0:
        raise StageError(
            f"stage '{stage.stage.name}': {checkpoint.monitor.metric} was NaN in every epoch, so "
            "there is no best one; is anything to score in the validation split?"
        )
    path = stage.folder / "weights.safetensors"
    if is_first_rank():
        names = module.exported().keys()
        best = load_file(stage.folder / "checkpoints" / BEST)
        facts = {"gazedx": "1", "stage": stage.stage.name}
        save_weights(path, {name: best[name] for name in names}, facts)
    stage.record |= {
        "epochs": trainer.current_epoch,
        "best_epoch": checkpoint.best_epoch,
        "monitor": {**checkpoint.monitor.model_dump(), "value": checkpoint.best},
        "steps": trainer.global_step,
        "weights_sha256": sha256_of_file(path) if is_first_rank() else None,
    }
    trainer.strategy.barrier()


def _trainer(stage: _Stage, checkpoint: StageCheckpoint, *, bar: bool) -> pl.Trainer:
    config, spec = stage.config.trainer, stage.stage
    cohort = stage.cohort
    callbacks: list[pl.Callback] = [
        CheckFirstBatch(len(cohort.pathologies), len(cohort.organs)),
        StageLog(stage.folder, spec.name, None if bar else stage.say),
        Panel(stage.folder, spec, cohort, stage.config.seed),
        checkpoint,
    ]
    many = config.devices * config.nodes > 1
    return pl.Trainer(
        accelerator={"cuda": "gpu"}.get(config.device, config.device),
        devices=config.devices,
        num_nodes=config.nodes,
        strategy="ddp" if many else "auto",
        precision=config.precision,
        max_epochs=spec.epochs,
        accumulate_grad_batches=config.accumulate,
        gradient_clip_val=spec.optimiser.clip,
        callbacks=callbacks,
        logger=False,
        num_sanity_val_steps=0,
        enable_progress_bar=bar,
        enable_model_summary=False,
        use_distributed_sampler=False,
        default_root_dir=str(stage.folder),
    )


def _quiet() -> None:
    """Leave out Lightning's advice that does not apply here."""
    for text in (
        ".*does not have many workers.*",
        ".*The number of training batches.*",
        ".*GPU available but not used.*",
        ".*LeafSpec.*",
        ".*in eval mode.*",
    ):
        warnings.filterwarnings("ignore", text)
    for name in ("pytorch_lightning", "lightning_fabric"):
        logging.getLogger(name).setLevel(logging.ERROR)


def _on_sigterm(signum: int, frame: FrameType | None) -> None:
    del signum, frame
    raise Preempted(143)
