"""Whether evidence and gaze stand where the boxes are, a row a finding, chance beside them."""

from dataclasses import dataclass

from experiments.metric_names import LOCATED

from .formatting import TIMES, count, counted, interval, number, percent
from .run_folder import Facts, RunFolder, section

TITLES = {
    "class_activation": "Evidence",
    "model": "Gaze",
    "centre_bias": "Centre bias",
    "chance": "Chance",
}


@dataclass(frozen=True)
class Located:
    """The scores of one kind of map for one finding."""

    inside: str
    lift: str
    pointing: str
    hint: str


@dataclass(frozen=True)
class LocatedRow:
    """A finding, or all of them."""

    name: str
    films: str
    cells: tuple[Located, ...]


@dataclass(frozen=True)
class LocalisationGroup:
    """The table of one group."""

    name: str
    facts: tuple[tuple[str, str], ...]
    tolerance: str
    columns: tuple[str, ...]
    rows: tuple[LocatedRow, ...]
    overall: LocatedRow


def localisation_groups(run: RunFolder) -> tuple[LocalisationGroup, ...]:
    """One table a group that has boxes."""
    groups = section(run.metrics, "localisation")
    return tuple(_group(name, section(groups, name)) for name in groups)


def _group(name: str, facts: Facts) -> LocalisationGroup:
    rows = section(facts, "rows")
    kinds = [kind for kind in LOCATED if kind in rows]
    findings = list(section(section(rows, "chance"), "findings"))
    return LocalisationGroup(
        name=name,
        facts=(
            (counted(facts.get("n_images"), "image") + " with boxes", count(facts.get("n_images"))),
            (counted(facts.get("n_patients"), "patient"), count(facts.get("n_patients"))),
            ("without boxes", count(facts.get("n_without_boxes"))),
        ),
        tolerance=percent(facts.get("tolerance")),
        columns=tuple(TITLES[kind] for kind in kinds),
        rows=tuple(
            _row(one, {k: section(section(section(rows, k), "findings"), one) for k in kinds})
            for one in findings
        ),
        overall=_row("All", {k: section(section(rows, k), "overall") for k in kinds}),
    )


def _row(name: str, scores: dict[str, Facts]) -> LocatedRow:
    films = section(scores["chance"], "inside").get("n")
    return LocatedRow(name, count(films), tuple(_cell(k, one) for k, one in scores.items()))


def _cell(kind: str, scores: Facts) -> Located:
    inside, pointing, lift = (section(scores, key) for key in ("inside", "pointing", "lift"))
    lost = inside.get("undefined")
    hint = f"inside {interval(inside.get('low'), inside.get('high'))}, highest there "
    hint += interval(pointing.get("low"), pointing.get("high"))
    times = f"{TIMES}{number(lift.get('value'), 2)} "
    return Located(
        inside=number(inside.get("value")),
        lift="" if kind == "chance" else times + interval(lift.get("low"), lift.get("high"), 2),
        pointing=number(pointing.get("value")),
        hint=f"{hint}; {count(lost)} undefined" if lost else hint,
    )
