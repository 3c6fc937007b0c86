"""One stage under Lightning: build, hand over, freeze, fit, prove, export."""

import json
import logging
import shutil
import warnings
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import pytorch_lightning as pl
import torch
from threadpoolctl import ThreadpoolController

from eye_gaze_data.anatomy import AnatomySource
from eye_gaze_data.errors import StageError
from eye_gaze_data.files import sha256_of_file
from saliency.frozen import fingerprint, freeze
from saliency.module import TaskModule

from .allocator import freed_memory_kept
from .anatomy_source import anatomy_source
from .board import epochs_before
from .build import build_module
from .callbacks import BEST, LAST, CheckFirstBatch, StageCheckpoint, StageLog
from .centre_lines import centre_lines
from .checkpoint_file import AtomicCheckpointIO
from .computed_once import FOLDER, ComputeOnce, stage_cut
from .embeddings import Watch, finish_contrast
from .execution import execution_here
from .out_of_memory import is_out_of_memory, out_of_memory
from .panel import Panel
from .ranks import cluster, is_first_rank
from .stage_data import build_data, stage_classes, stage_dataset
from .weights import (
    check_classes,
    hand_over,
    read_weights,
    save_weights,
)

if TYPE_CHECKING:
    from .runner import StageRun


def train(stage: "StageRun", say: Callable[[str], None], *, bar: bool) -> None:
    """Train a stage from its last checkpoint, or from the start, to its end.

    Args:
        stage: what to train; its record is updated.
        say: takes a line an epoch.
        bar: show Lightning's progress bar instead.

    Raises:
        StageError: if what was to stay frozen changed, or no epoch could be called the best.
    """
    spec = stage.stage
    module, facts = _begin(stage)
    frozen = fingerprint(module.frozen())
    cut = stage_cut(stage.config, spec, module.network)
    stage.write("running", **facts, computed_once=cut.name if cut else None)
    folder = stage.folder / "checkpoints"
    anatomy = anatomy_source(stage.config, spec, stage.cohort, stage.run)
    data = build_data(stage.config, spec, stage.cohort, anatomy, films=cut is None or cut.film)
    checkpoint = StageCheckpoint(
        folder, spec.monitor, spec.schedule, spec.stop_after, spec.tasks, frozen
    )
    resume = str(folder / LAST) if (folder / LAST).is_file() else None
    kept = freed_memory_kept(keep=_keeps_memory(stage))
    with warnings.catch_warnings(), _one_thread_of_numpy(), kept:
        _quiet()
        begin = ComputeOnce(stage, cut.name, frozen, anatomy) if cut else None
        trainer = _trainer(stage, anatomy, checkpoint, begin, say, bar=bar)
        try:
            trainer.fit(module, data, ckpt_path=resume, weights_only=True)
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            raise out_of_memory(error, stage.config, spec) from error
    if fingerprint(module.frozen()) != frozen:
        raise StageError(f"stage '{spec.name}': a frozen parameter or statistic changed")
    checkpoint.tasks.check(module, spec.name)
    _export(stage, checkpoint, trainer, module)
    if spec.task == "contrast" and is_first_rank():
        finish_contrast(stage, module)
    if is_first_rank():
        shutil.rmtree(stage.folder / FOLDER, ignore_errors=True)


def _begin(stage: "StageRun") -> tuple[TaskModule, dict[str, Any]]:
    """The module with what is handed over to it, frozen and laid out; and facts for the record."""
    spec = stage.stage
    module = build_module(stage.config, spec, stage.cohort)
    classes, exclusive = stage_classes(spec, stage.cohort)
    reports = []
    for init, (name, path) in zip(spec.init, stage.sources(), strict=True):
        source = f"init from '{name}'"
        report = hand_over(module.network, read_weights(path), init.prefixes, source)
        check_classes(module.network, report.loaded, classes, path, source)
        reports.append(f"from '{name}': {report}")
    trained, frozen = freeze(module.network, spec.train, spec.name)
    execution = execution_here(stage.config.trainer)
    if execution.layout == "channels_last":
        module.to(memory_format=torch.channels_last)
    if execution.compile:
        # In place: names of weights stay.
        module.network.compile()
    # Lightning leaves modes as it finds them: this one holds frozen parts in evaluation mode.
    module.train()
    return module, {
        "init": "; ".join(reports) or None,
        "n_trained": trained,
        "n_frozen": frozen,
        "classes": list(classes),
        "exclusive": exclusive,
        "execution": asdict(execution),
    }


def _export(
    stage: "StageRun", checkpoint: StageCheckpoint, trainer: pl.Trainer, module: TaskModule
) -> None:
    if checkpoint.best_epoch < 0:
        raise StageError(
            f"stage '{stage.stage.name}': {checkpoint.monitor.metric} was NaN in every epoch, so "
            "there is no best one; is anything to score in the validation split?"
        )
    path = stage.folder / "weights.safetensors"
    if is_first_rank():
        classes, _ = stage_classes(stage.stage, stage.cohort)
        facts = {"gazedx": "1", "stage": stage.stage.name, "classes": json.dumps(classes)}
        names, best = module.exported().keys(), read_weights(stage.folder / "checkpoints" / BEST)
        frozen = {name: value for name, value in module.frozen().items() if name in names}
        save_weights(path, frozen | best, facts)
        stage.record["weights_sha256"] = sha256_of_file(path)
    stage.record |= {
        "epochs": trainer.current_epoch,
        "steps": trainer.global_step,
        "best_epoch": checkpoint.best_epoch,
        "monitor": {**checkpoint.monitor.model_dump(), "value": checkpoint.best},
    }
    if stage.stage.tasks:
        stage.record["tasks"] = checkpoint.tasks.facts()


def _trainer(
    stage: "StageRun",
    anatomy: AnatomySource | None,
    checkpoint: StageCheckpoint,
    begin: pl.Callback | None,
    say: Callable[[str], None],
    *,
    bar: bool,
) -> pl.Trainer:
    config, spec, cohort = stage.config.trainer, stage.stage, stage.cohort
    organs = spec.anatomy.organs if spec.anatomy else ()
    classes, _ = stage_classes(spec, cohort)
    before = epochs_before(stage.run, stage.config, spec.name)
    callbacks: list[pl.Callback] = [
        begin or CheckFirstBatch(len(classes), len(organs)),
        StageLog(
            stage.folder,
            spec.name,
            None if bar else say,
            centre_lines(stage.config, spec, cohort) if is_first_rank() else None,
            task=spec.task,
            before=before,
        ),
        Panel(stage.folder, spec, stage_dataset(stage.config, spec, cohort, anatomy), before),
        checkpoint,
    ]
    if spec.task == "contrast":
        callbacks.insert(0, Watch(spec, stage_dataset(stage.config, spec, cohort)))
    many = config.devices * config.nodes > 1
    return pl.Trainer(
        accelerator={"cuda": "gpu"}.get(config.device, config.device),
        devices=config.devices,
        num_nodes=config.nodes,
        # A task does not use every head of a network.
        strategy="ddp_find_unused_parameters_true" if many else "auto",
        precision=execution_here(config).precision,
        max_epochs=spec.epochs,
        accumulate_grad_batches=config.accumulate,
        gradient_clip_val=spec.optimiser.clip,
        callbacks=callbacks,
        plugins=[AtomicCheckpointIO(), *cluster(config)],
        logger=False,
        num_sanity_val_steps=0,
        enable_progress_bar=bar,
        enable_model_summary=False,
        use_distributed_sampler=False,
        default_root_dir=str(stage.folder),
    )


def _keeps_memory(stage: "StageRun") -> bool:
    """On a CPU, unless its user chose less memory before speed."""
    saving = getattr(stage.config.models[stage.stage.model], "checkpointing", False)
    return execution_here(stage.config.trainer).device == "cpu" and not saving


def _one_thread_of_numpy() -> AbstractContextManager[object]:
    """Its own pool of threads spins for a while after each density, and would hold up torch's."""
    limited: AbstractContextManager[object] = (
        ThreadpoolController().select(prefix="libscipy_openblas").limit(limits=1)
    )
    return limited


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
