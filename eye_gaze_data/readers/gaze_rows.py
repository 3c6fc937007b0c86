"""Rows of a published table of gaze: read quickly, checked, and made a cohort's points."""

import warnings
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd

from eye_gaze_data.errors import DataError
from eye_gaze_data.problems import Problems
from eye_gaze_data.tables import numeric, read_csv

# A file, or what gives the file of a reader, where each reading has its own.
File = Path | Callable[[str], Path]
Sizes = npt.NDArray[np.float64]
_CHUNK = 200_000
_LISTED = 10  # rows of a file that break one rule and are named one by one
_FRACTIONS = 20  # so many points within the first pixel or two are fractions, not pixels


def read_points(
    path: Path, text: Sequence[str], number: Sequence[str], problems: Problems
) -> pd.DataFrame:
    """The columns asked for of a large table, as text and as float64 (NaN where a cell is empty).

    Column names match whatever their case and blanks: "TIME(in secs)" is "Time (in secs)". The
    index counts as that of ``read_csv``.

    Args:
        path: a CSV file.
        text: names of columns, as they are asked for and returned.
        number: likewise.
        problems: takes the rows with a cell that is no number.

    Raises:
        DataError: if the file is missing, is no table or lacks a column; or at the first problem,
            if problems stop.
    """
    if not path.is_file():
        raise DataError(f"{path}: the file does not exist")
    try:
        spelled = _spelled(path, [*text, *number])
        if spelled:
            return _read_quickly(path, spelled, text)
    except (ValueError, OverflowError, pd.errors.ParserWarning):
        pass  # also what pandas raises of a broken file: the slow way says what is wrong and where
    table = read_csv(path, ())
    spelled = _as_spelled(table.columns, [*text, *number])
    for wanted in (*text, *number):
        if wanted not in spelled:
            read_csv(path, [wanted])  # refuses it, and tells of other separators
    table = table.rename(columns={found: wanted for wanted, found in spelled.items()})
    return numeric(table[[*text, *number]], number, path, problems, blank=True)


def without_points(
    points: pd.DataFrame, wrong: npt.ArrayLike, file: File, rule: str, problems: Problems
) -> pd.DataFrame:
    """The points that keep a rule; the others are reported, the first ten one by one.

    Args:
        points: their index counts the lines of the file.
        wrong: (n,) the points that break the rule.
        file: where they stand, or what gives it for a reader.
        rule: what is wrong.
        problems: takes the reports.

    Raises:
        DataError: at the first, if problems stop.
    """
    found = np.asarray(wrong, bool)
    places = np.flatnonzero(found)
    for place in places[:_LISTED]:
        problems.report(*_where(points, place, file), rule)
    if len(places) > _LISTED:
        last = "{}, line {}".format(*_where(points, places[-1], file))
        rest = f"{len(places) - _LISTED} more row(s), the last in {last}: {rule}"
        problems.report(*_where(points, places[_LISTED], file), rest)
    return points[~found] if found.any() else points


def _where(points: pd.DataFrame, place: int, file: File) -> tuple[Path, int]:
    """File and line of a point."""
    path = file if isinstance(file, Path) else file(str(points["reader"].iat[place]))
    return path, int(points.index[place]) + 2


def sound_points(
    points: pd.DataFrame, file: File, problems: Problems, *, gaps: bool = False
) -> pd.DataFrame:
    """The points without what no tracker writes: repeats, unknown or unsorted times and the like.

    Args:
        points: columns ``row``, ``reader``, ``x``, ``y``, ``start``, ``duration``.
        file: where they stand, or what gives it for a reader.
        problems: takes the rows that are left out.
        gaps: whether a sample may have no position, as in a blink.

    Raises:
        DataError: at the first, if problems stop.
    """
    points = without_points(points, points.duplicated(), file, "the row is a repeat", problems)
    if not gaps:
        unknown = points[["x", "y"]].isna().any(axis=1)
        points = without_points(points, unknown, file, "the position is empty", problems)
    unknown = points[["start", "duration"]].isna().any(axis=1)
    points = without_points(points, unknown, file, "the time or the duration is empty", problems)
    negative = points["duration"] < 0
    points = without_points(points, negative, file, "the duration is negative", problems)
    readings = points.groupby(["row", "reader"], sort=False)["start"]
    latest = readings.cummax().groupby([points["row"], points["reader"]], sort=False).shift()
    unsorted = points["start"] <= latest
    rule = "the time is not after those of the rows above, of the same reading"
    return without_points(points, unsorted, file, rule, problems)


def on_image(
    points: pd.DataFrame, sizes: Sizes, policy: str, file: File, notes: list[str], what: str
) -> pd.DataFrame:
    """The points after the policy for those off their image; the dropped are counted in ``notes``.

    Args:
        points: columns ``row``, ``x`` and ``y``.
        sizes: (n_rows, 2) height and width of each image.
        policy: ``drop``, ``keep`` or ``error``.
        file: where they stand, or what gives it for a reader.
        notes: grows by at most one.
        what: names the points in the note.

    Raises:
        DataError: if points are off the image and that is an error; or, whatever the policy, if
            the coordinates seem to be in another frame than the original pixels.
    """
    x, y = points["x"].to_numpy(), points["y"].to_numpy()
    height, width = sizes[points["row"].to_numpy(np.int64)].T
    off = (x < 0) | (x >= width) | (y < 0) | (y >= height)
    _refuse_another_frame(x, y, off, what)
    if policy == "error" and off.any():
        first = int(np.flatnonzero(off)[0])
        path, line = _where(points, first, file)
        raise DataError(
            f"{path}, line {line}: the point ({x[first]:g}, {y[first]:g}) is "
            f"off its image of {width[first]:g}x{height[first]:g}, and outside is 'error'"
        )
    if policy == "keep" or not off.any():
        return points
    notes.append(f"{what}: {int(off.sum())} of {len(points)} point(s) off the image, dropped")
    kept: pd.DataFrame = points[~off]
    return kept


def _refuse_another_frame(x: Sizes, y: Sizes, off: npt.NDArray[np.bool_], what: str) -> None:
    far = off & (np.minimum(x, y) >= 0)  # a negative one is the mark of a look beside the image
    if not len(x):
        return
    largest = np.quantile(np.maximum(x, y), 0.99)
    if len(x) >= _FRACTIONS and 0 <= largest <= 1.5:
        found = f"99 of 100 points within {largest:.2g}: they seem to be fractions"
    elif far.mean() > 0.5:
        found = f"{far.mean():.0%} of them beyond the right or lower edge of their films"
    else:
        return
    raise DataError(
        f"{what}: expected gaze in pixels of the original films, found {found}; if the films were "
        "resized, use those of full size"
    )


def _spelled(path: Path, wanted: Sequence[str]) -> dict[str, str]:
    """Each wanted column as the file spells it; empty if one is missing."""
    header = pd.read_csv(path, nrows=0, encoding="utf-8-sig", index_col=False).columns
    spelled = _as_spelled(header, wanted)
    return spelled if len(spelled) == len(wanted) else {}


def _as_spelled(header: Sequence[str] | pd.Index, wanted: Sequence[str]) -> dict[str, str]:
    bare = {str(name).replace(" ", "").lower(): str(name) for name in header}
    keys = {name: name.replace(" ", "").lower() for name in wanted}
    return {name: bare[key] for name, key in keys.items() if key in bare}


def _read_quickly(path: Path, spelled: dict[str, str], text: Sequence[str]) -> pd.DataFrame:
    """In parts, so that the columns nobody asks for are never in memory together."""
    kinds = {found: str if name in text else np.float64 for name, found in spelled.items()}
    with warnings.catch_warnings():
        # A row longer than the header would lose its end, or shift the columns.
        warnings.simplefilter("error", pd.errors.ParserWarning)
        # Mixed kinds only stand in columns that nobody asks for.
        warnings.simplefilter("ignore", pd.errors.DtypeWarning)
        parts = pd.read_csv(
            path,
            dtype=kinds,
            keep_default_na=False,
            na_values=[""],
            encoding="utf-8-sig",
            index_col=False,
            skip_blank_lines=False,
            chunksize=_CHUNK,
        )
        table = pd.concat([part[list(spelled.values())] for part in parts])
    table = table[table.notna().any(axis=1)]
    numbers = table[[found for name, found in spelled.items() if name not in text]]
    if table.empty or np.isinf(numbers.to_numpy()).any():
        raise ValueError  # the slow way tells what is wrong
    names = [spelled[name] for name in text]
    table = table.assign(**{name: table[name].fillna("") for name in names})
    return table.rename(columns={found: name for name, found in spelled.items()})
