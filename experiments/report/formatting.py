"""Numbers as a reader sees them; what is not known is "n/a", never zero."""

import math
import re
from datetime import datetime

NOT_AVAILABLE = "n/a"
MINUS = "\u2212"
TIMES = "\u00d7"
EN_DASH = "\u2013"


def as_float(value: object) -> float:
    """A number out of JSON or CSV; null, a blank and anything that is no number become NaN."""
    if not isinstance(value, str | int | float):
        return math.nan
    try:
        return float(value)
    except ValueError:
        return math.nan


def number(value: object, digits: int = 3) -> str:
    """A number with fixed decimals and a true minus sign."""
    known = as_float(value)
    if math.isnan(known):
        return NOT_AVAILABLE
    text = "∞" if math.isinf(known) else f"{abs(known):.{digits}f}"
    # A tiny negative number must not read as minus zero.
    negative = known < 0 and text.strip("0.") != ""
    return f"{MINUS}{text}" if negative else text


def significant(value: object, digits: int = 3) -> str:
    """A number with so many significant digits, for values of unknown size."""
    known = as_float(value)
    if not math.isfinite(known):
        return number(known)
    short = re.sub(r"e([+-])0*", r"e\1", f"{known:.{digits}g}").replace("e+", "e")
    return short.replace("-", MINUS)


def count(value: object) -> str:
    """A whole number with commas between thousands."""
    known = as_float(value)
    return f"{known:,.0f}" if math.isfinite(known) else NOT_AVAILABLE


def counted(value: object, thing: str) -> str:
    """The name of counted things in singular or plural, without the number."""
    return thing if as_float(value) == 1 else f"{thing}s"


def percent(value: object) -> str:
    """A share as a percentage with one decimal."""
    known = as_float(value)
    return f"{100 * known:.1f} %" if math.isfinite(known) else NOT_AVAILABLE


def interval(low: object, high: object, digits: int = 3) -> str:
    """An interval in brackets; one "n/a" if neither end is known."""
    if math.isnan(as_float(low)) and math.isnan(as_float(high)):
        return NOT_AVAILABLE
    return f"[{number(low, digits)}, {number(high, digits)}]"


def size(value: object) -> str:
    """A number of parameters: 950, 12.3 k, 18.1 M."""
    known = as_float(value)
    if not math.isfinite(known):
        return NOT_AVAILABLE
    for unit, factor in (("G", 1e9), ("M", 1e6), ("k", 1e3)):
        if known >= factor:
            return f"{known / factor:.1f} {unit}"
    return f"{known:.0f}"


def duration(value: object) -> str:
    """Seconds as 12.3 s, 3 min 20 s or 1 h 02 min."""
    seconds = as_float(value)
    if not math.isfinite(seconds):
        return NOT_AVAILABLE
    if seconds < 60:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


def moment(value: object) -> str:
    """An ISO date and time to the minute, in the zone it was written in."""
    if not isinstance(value, str) or not value:
        return NOT_AVAILABLE
    try:
        known = datetime.fromisoformat(value)
    except ValueError:
        return value
    zone = known.strftime("%z")
    return f"{known:%Y-%m-%d %H:%M}" + (f" {'UTC' if zone == '+0000' else zone}" if zone else "")


def elapsed(started: object, finished: object) -> str:
    """The time between two ISO moments."""
    try:
        between = datetime.fromisoformat(str(finished)) - datetime.fromisoformat(str(started))
    except (TypeError, ValueError):  # one of them is missing, or only one has a zone
        return NOT_AVAILABLE
    return duration(between.total_seconds())


def text(value: object) -> str:
    """A text, or "n/a" for null and blanks."""
    return NOT_AVAILABLE if value is None or value == "" else str(value)
