"""Is this machine fit to run gazedx?"""

import importlib.util
import os
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, packages_distributions, version
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from .config import RunConfig
from .guard import PACKAGES
from .record import versions

EXTRAS = {
    "dicom": ("pydicom", "pylibjpeg", "libjpeg", "openjpeg"),
    "export": ("onnx", "onnxruntime", "onnxscript"),
}
_LEAST_DISK = 5 * 2**30


def findings(config: RunConfig | None = None) -> list[dict[str, Any]]:
    """One row a check: what was found, and what to do about it (empty if nothing).

    Args:
        config: whose data folders are looked for; only the machine if None.
    """
    rows = [_row(name, number) for name, number in versions().items()]
    rows += [_foreign(name) for name in (*PACKAGES, "experiments")]
    rows += [_torchvision(), _lightning(), _threads(), _gpu(), _disk(Path("runs"))]
    rows += [_extra(name, modules) for name, modules in EXTRAS.items()]
    if config is not None:
        rows += [_folder(key, path) for key, path in data_paths(config.cohorts)]
    return rows


def data_paths(cohorts: dict[str, Any]) -> Iterator[tuple[str, Path]]:
    """Every file and folder that cohorts name, with its dotted key."""
    for name, cohort in cohorts.items():
        yield from _paths_of(cohort, name)


def _paths_of(value: object, key: str) -> Iterator[tuple[str, Path]]:
    if isinstance(value, Path):
        yield key, value
    elif isinstance(value, BaseModel):
        for name in type(value).model_fields:
            yield from _paths_of(getattr(value, name), f"{key}.{name}")
    elif isinstance(value, dict):
        for name, item in value.items():
            yield from _paths_of(item, f"{key}.{name}")
    elif isinstance(value, list | tuple):
        for number, item in enumerate(value):
            yield from _paths_of(item, f"{key}.{number}")


def _foreign(name: str) -> dict[str, Any]:
    others = sorted({d for d in packages_distributions().get(name, []) if d != "gazedx"})
    advice = f"pip uninstall {others[0]}, then reinstall gazedx" if others else ""
    return _row(f"package {name}", ", ".join(others) or "ours", advice)


def _torchvision() -> dict[str, Any]:
    """Does the compiled part of torchvision load beside this torch?"""
    import torch
    import torchvision

    both = f"torch {torch.__version__}, torchvision {torchvision.__version__}"
    advice = f"install the torchvision that was built for torch {torch.__version__.split('+')[0]}"
    fits = hasattr(torch.ops.torchvision, "nms")
    return _row("torchvision fits torch", both, "" if fits else advice)


def _lightning() -> dict[str, Any]:
    """Two names of one library; classes of one are strangers to the other."""
    try:
        other = version("lightning")
    except PackageNotFoundError:
        return _row("lightning", "pytorch-lightning alone")
    ours = version("pytorch-lightning")
    advice = "" if other == ours else f"pip install lightning=={ours}, or uninstall it"
    return _row("lightning", f"{other} beside pytorch-lightning {ours}", advice)


def _threads() -> dict[str, Any]:
    import torch

    from .prepare_data import usable_cores

    threads, cores = torch.get_num_threads(), usable_cores()
    asked = os.environ.get("OMP_NUM_THREADS")
    said = f"{threads} of {cores} cores" + (f", OMP_NUM_THREADS={asked}" if asked else "")
    advice = f"set OMP_NUM_THREADS={cores}: more threads than cores are slow"
    return _row("threads", said, advice if threads > cores else "")


def _gpu() -> dict[str, Any]:
    import torch

    names = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
    if names:
        return _row("GPU", ", ".join(names))
    if torch.version.cuda and Path("/dev/nvidiactl").exists():
        return _row("GPU", "there, but torch cannot use it", "compare nvidia-smi's CUDA with torch")
    return _row("GPU", "none; the CPU is used")


def _disk(folder: Path) -> dict[str, Any]:
    from .estimate import free_space

    free = free_space(folder)
    advice = "free some space, or use --out" if free < _LEAST_DISK else ""
    return _row("disk", f"{free / 2**30:.0f} GiB free at {folder}/", advice)


def _extra(name: str, modules: tuple[str, ...]) -> dict[str, Any]:
    missing = [module for module in modules if importlib.util.find_spec(module) is None]
    if not missing:
        return _row(f"extra {name}", "installed")
    return _row(f"extra {name}", f"not installed: pip install 'gazedx[{name}]' if you need it")


def _folder(key: str, path: Path) -> dict[str, Any]:
    if not path.exists():
        return _row(f"data {key}", f"{path} is not there", f"set cohorts.{key}")
    readable = os.access(path, os.R_OK)
    return _row(f"data {key}", f"{path}", "" if readable else "it cannot be read: mend its rights")


def _row(check: str, result: str, advice: str = "") -> dict[str, Any]:
    return {"check": check, "result": result, "advice": advice}
