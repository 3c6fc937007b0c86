"""The diagnosis table: every finding of every group, with what was known about it."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from .charts import Chart, Form, Point, line_chart
from .formatting import as_float, count, counted, interval, number, percent
from .run_folder import Facts, Row, RunFolder, in_group, section
from .whiskers import Whisker, whisker

BINS = 10
UNIT = ((-0.02, 1.02), (-0.02, 1.02))
ROC = Form(200, 190, UNIT, diagonal=True, dots=False)
RELIABILITY = Form(200, 190, UNIT, diagonal=True)


@dataclass(frozen=True)
class Finding:
    """A row of the diagnosis table."""

    name: str
    auroc: str
    interval: str
    whisker: Whisker
    average_precision: str
    prevalence: str
    positives: str
    negatives: str
    unknown: str


@dataclass(frozen=True)
class DiagnosisGroup:
    """The diagnosis table of one group."""

    name: str
    facts: tuple[tuple[str, str], ...]
    exclusive: bool
    findings: tuple[Finding, ...]
    macro: str
    macro_interval: str
    macro_whisker: Whisker
    macro_findings: str
    roc: tuple[Chart, ...]
    reliability: tuple[Chart, ...]


def diagnosis_groups(run: RunFolder) -> tuple[DiagnosisGroup, ...]:
    """One table a group; groups are never pooled here."""
    groups = section(run.metrics, "diagnosis")
    return tuple(_group(run, name, section(groups, name)) for name in groups)


def _group(run: RunFolder, name: str, facts: Facts) -> DiagnosisGroup:
    findings = section(facts, "findings")
    macro = section(facts, "macro_auroc")
    known = macro.get("n_findings")
    pairs = {finding: _known_pairs(in_group(run, name), finding) for finding in findings}
    roc = [_roc_chart(finding, *pairs[finding]) for finding in findings]
    reliability = [_reliability_chart(finding, *pairs[finding]) for finding in findings]
    return DiagnosisGroup(
        name=name,
        facts=tuple(
            (counted(facts.get(f"n_{thing}s"), thing), count(facts.get(f"n_{thing}s")))
            for thing in ("image", "patient")
        ),
        exclusive=facts.get("exclusive") is True,
        findings=tuple(_finding(finding, section(findings, finding)) for finding in findings),
        macro=number(macro.get("value")),
        macro_interval=interval(macro.get("low"), macro.get("high")),
        macro_whisker=_whisker("macro", macro),
        macro_findings=f"{count(known)} {counted(known, 'finding')}",
        roc=tuple(chart for chart in roc if chart is not None),
        reliability=tuple(chart for chart in reliability if chart is not None),
    )


def _finding(name: str, facts: Facts) -> Finding:
    auroc = section(facts, "auroc")
    positive, negative = as_float(facts.get("n_positive")), as_float(facts.get("n_negative"))
    known = positive + negative
    return Finding(
        name=name,
        auroc=number(auroc.get("value")),
        interval=interval(auroc.get("low"), auroc.get("high")),
        whisker=_whisker(name, auroc),
        average_precision=number(facts.get("average_precision")),
        prevalence=percent(positive / known if known > 0 else math.nan),
        positives=count(positive),
        negatives=count(negative),
        unknown=count(facts.get("n_unknown")),
    )


def _whisker(name: str, auroc: Facts) -> Whisker:
    value, low, high = (as_float(auroc.get(part)) for part in ("value", "low", "high"))
    return whisker((name, value, low, high), (0.0, 1.0), 4.0, 136.0)


def _known_pairs(rows: Sequence[Row], finding: str) -> tuple[list[bool], list[float]]:
    """Truth and probability of the images where both are known."""
    truth, probability = [], []
    for row in rows:
        label = as_float(row.get(f"label_{finding}"))
        predicted = as_float(row.get(f"probability_{finding}"))
        if math.isfinite(label) and math.isfinite(predicted):
            truth.append(label > 0.5)
            probability.append(predicted)
    return truth, probability


def _roc_chart(finding: str, truth: list[bool], probability: list[float]) -> Chart | None:
    if not any(truth) or all(truth):
        return None
    scores, positive = np.array(probability), np.array(truth)
    thresholds = np.unique(scores)[::-1]
    # Searching sorted scores merges ties, so that a tie is a slope and not a step.
    found = len(scores[positive]) - np.searchsorted(np.sort(scores[positive]), thresholds)
    alarms = len(scores[~positive]) - np.searchsorted(np.sort(scores[~positive]), thresholds)
    rise, run = found / positive.sum(), alarms / (~positive).sum()
    points: list[Point] = [(0.0, 0.0), *zip(run.tolist(), rise.tolist(), strict=True)]
    chosen = points if len(points) < 300 else [*points[:: len(points) // 300], points[-1]]
    return line_chart(finding, {"roc": chosen}, ROC)


def _reliability_chart(finding: str, truth: list[bool], probability: list[float]) -> Chart | None:
    """Observed frequency against mean probability in bins of equal numbers of images."""
    if len(truth) < 2 * BINS:
        return None
    order = np.argsort(probability, kind="stable")
    points = [
        (float(np.mean(np.array(probability)[part])), float(np.mean(np.array(truth)[part])))
        for part in np.array_split(order, BINS)
    ]
    return line_chart(finding, {"observed": points}, RELIABILITY)
