"""Is this machine fit to run gazedx?"""

import importlib.util
import os
import shutil
from importlib.metadata import packages_distributions
from pathlib import Path
from typing import Any

from .guard import PACKAGES
from .record import versions


def findings() -> list[dict[str, Any]]:
    """One row a check: what was found, and what to do about it (empty if nothing)."""
    rows = [_row(name, number) for name, number in versions().items()]
    for name in (*PACKAGES, "experiments"):
        others = sorted({d for d in packages_distributions().get(name, []) if d != "gazedx"})
        advice = f"pip uninstall {others[0]}, then reinstall gazedx" if others else ""
        owner = ", ".join(others) or "ours"
        rows.append(_row(f"package {name}", owner, advice))
    rows.append(_torch())
    free = shutil.disk_usage(Path.cwd()).free / 2**30
    rows.append(_row("disk", f"{free:.0f} GiB free here", "free some space" if free < 5 else ""))
    found = importlib.util.find_spec("pydicom") is not None
    rows.append(_row("extra dicom", "installed" if found else "not installed"))
    return rows


def _torch() -> dict[str, Any]:
    import torch

    devices = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
    where = ", ".join(devices) or "no GPU"
    return _row("compute", f"{torch.get_num_threads()} threads of {os.cpu_count()} cores, {where}")


def _row(check: str, result: str, advice: str = "") -> dict[str, Any]:
    return {"check": check, "result": result, "advice": advice}
