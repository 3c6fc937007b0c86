"""Several processes: started by torchrun or SLURM, one writes, the others follow its decisions."""

import os
from typing import TypeVar

import torch
from pytorch_lightning.plugins.environments import SLURMEnvironment  # type: ignore[attr-defined]
from torch import distributed

from eye_gaze_data.errors import ConfigError

from .config import TrainerConfig

Value = TypeVar("Value")
_SRUN = {"SLURM_NTASKS", "SLURM_PROCID", "SLURM_LOCALID", "SLURM_NODEID"}


def world_size() -> int:
    """Number of processes of this run."""
    return int(os.environ.get("WORLD_SIZE", os.environ.get("SLURM_NTASKS", "1")))


def is_first_rank() -> bool:
    """Whether this process writes the run folder."""
    return int(os.environ.get("RANK", os.environ.get("SLURM_PROCID", "0"))) == 0


def join(config: TrainerConfig) -> None:
    """Meet the other processes of a run.

    Raises:
        ConfigError: if the processes that were started are not those that the config asks for.
    """
    wanted = config.devices * config.nodes
    if wanted == 1:
        return
    if world_size() != wanted:
        raise ConfigError(
            f"trainer asks for {config.nodes} node(s) with {config.devices} device(s), but "
            f"{world_size()} process(es) were started; launch with: torchrun --nnodes "
            f"{config.nodes} --nproc-per-node {config.devices} -m experiments run CONFIG"
        )
    if not distributed.is_initialized():
        for environment in cluster(config):
            _tell_torch(environment)
        gpu = config.device != "cpu" and torch.cuda.is_available()
        if gpu:
            # Before the first exchange, which would take the first device in all of them.
            torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
        distributed.init_process_group("nccl" if gpu else "gloo")


def cluster(config: TrainerConfig) -> list[SLURMEnvironment]:
    """SLURM, if ``srun`` started the processes of a run.

    It does not requeue by itself: Lightning would first save in the middle of an epoch, and a run
    that resumes from there does not end in the same bits. ``docs/distributed.md`` has the lines.

    Raises:
        ConfigError: if the job states its tasks in a way that Lightning does not support.
    """
    many = config.devices * config.nodes > 1
    if not many or "TORCHELASTIC_RUN_ID" in os.environ or not os.environ.keys() >= _SRUN:
        return []
    try:
        return [SLURMEnvironment(auto_requeue=False)]
    except RuntimeError as error:
        raise ConfigError(f"SLURM: {error}") from error


def _tell_torch(environment: SLURMEnvironment) -> None:
    """What torchrun sets, from what srun sets."""
    os.environ |= {
        "RANK": str(environment.global_rank()),
        "LOCAL_RANK": str(environment.local_rank()),
        "WORLD_SIZE": str(environment.world_size()),
        "MASTER_ADDR": environment.main_address,
        "MASTER_PORT": str(environment.main_port),
    }


def barrier() -> None:
    """Wait until all processes are here."""
    if distributed.is_initialized():
        distributed.barrier()


def from_first(value: Value) -> Value:
    """The first process's value, in all of them."""
    if not distributed.is_initialized():
        return value
    box = [value]
    distributed.broadcast_object_list(box, src=0)
    return box[0]
