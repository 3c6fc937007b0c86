import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())


def test_every_package_is_shipped() -> None:
    tops = ("eye_gaze_data", "saliency", "pretrain", "diagnosis", "experiments")
    found = {
        ".".join(path.parent.relative_to(ROOT).parts)
        for top in tops
        for path in (ROOT / top).rglob("__init__.py")
    }
    assert found == set(PROJECT["tool"]["setuptools"]["packages"])


def test_files_beside_the_code_are_shipped() -> None:
    data = PROJECT["tool"]["setuptools"]["package-data"]["*"]
    endings = {Path(pattern).suffix for pattern in data}
    beside = {
        path.suffix
        for package in PROJECT["tool"]["setuptools"]["packages"]
        for path in (ROOT / package.replace(".", "/")).iterdir()
        if path.is_file() and path.suffix != ".py"
    }
    assert beside <= endings


def test_requirements_have_no_upper_bound_and_no_pin() -> None:
    extras = PROJECT["project"]["optional-dependencies"].values()
    for requirement in [*PROJECT["project"]["dependencies"], *(r for part in extras for r in part)]:
        assert not any(sign in requirement for sign in ("==", "<", "~=", "@"))
