import sys
from pathlib import Path
from types import ModuleType

import pytest

import experiments
import saliency
from experiments.guard import ForeignPackageError, check_packages


def test_our_own_packages_pass() -> None:
    check_packages(experiments.GAZEDX_VERSION)


def test_a_foreign_saliency_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    foreign = ModuleType("saliency")
    foreign.__file__ = str(tmp_path / "site-packages" / "saliency" / "__init__.py")
    monkeypatch.setitem(sys.modules, "saliency", foreign)
    with pytest.raises(ForeignPackageError) as caught:
        check_packages(experiments.GAZEDX_VERSION)
    message = str(caught.value)
    assert f"the package 'saliency' was imported from {tmp_path / 'site-packages'}" in message
    assert "pip uninstall" in message


def test_another_init_over_our_files_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(saliency, "GAZEDX_VERSION")
    with pytest.raises(ForeignPackageError, match="found version None"):
        check_packages(experiments.GAZEDX_VERSION)


def test_another_version_is_refused() -> None:
    with pytest.raises(ForeignPackageError, match="expected the one of gazedx 9.9.9"):
        check_packages("9.9.9")
