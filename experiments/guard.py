"""Refuse to run half-shadowed: PyPI has an unrelated package with the import name ``saliency``."""

import importlib
from importlib.metadata import packages_distributions
from pathlib import Path

from eye_gaze_data.errors import GazedxError

PACKAGES = ("eye_gaze_data", "saliency", "pretrain", "diagnosis")


class ForeignPackageError(GazedxError, ImportError):
    """Another distribution's package stands where one of gazedx's should."""


def check_packages(version: str) -> None:
    """Make sure that the other four packages are ours and of this version.

    Args:
        version: what each must carry as ``GAZEDX_VERSION``.

    Raises:
        ForeignPackageError: naming the package, where it came from, and the way out.
    """
    home = Path(__file__).resolve().parents[1]
    for name in PACKAGES:
        module = importlib.import_module(name)
        place = Path(str(module.__file__)).resolve().parents[1]
        found = getattr(module, "GAZEDX_VERSION", None)
        if place != home or found != version:
            owners = [d for d in packages_distributions().get(name, []) if d != "gazedx"]
            culprit = f" of '{owners[0]}'" if owners else ""
            raise ForeignPackageError(
                f"the package '{name}' was imported from {place}{culprit}, expected the one of "
                f"gazedx {version} in {home} (found version {found}). Another distribution uses "
                f"the same import name: pip uninstall {owners[0] if owners else name}, then "
                "reinstall gazedx"
            )
