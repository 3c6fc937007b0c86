"""What the pages of runs and of studies share: templates, styles, scripts and their hash."""

import base64
import hashlib
from collections.abc import Sequence
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

HERE = Path(__file__).parent


def environment() -> Environment:
    """The templates; every value is escaped."""
    found = Environment(
        loader=FileSystemLoader(HERE),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    found.policies["json.dumps_kwargs"] = {"allow_nan": False, "separators": (",", ":")}
    return found


def joined(names: Sequence[str]) -> str:
    """Some files of this folder as one text."""
    return "\n".join((HERE / name).read_text(encoding="utf-8") for name in names)


def script_hash(script: str) -> str:
    """The source that a content security policy allows this script by."""
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    return f"sha256-{digest}"
