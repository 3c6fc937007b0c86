"""The report of a run: what a reader sees, what never leaves the file, what may be missing."""

import csv
import json
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from experiments.report import write_report
from eye_gaze_data.errors import DataError

EVIL = '<script>alert("x")</script>&\'"'
HEIGHT, WIDTH = 40, 32


def score(value: float | None, n: int = 12, undefined: int = 0) -> dict[str, Any]:
    ends = (None, None) if value is None else (value - 0.05, value + 0.05)
    spread = None if value is None else 0.111
    return {
        "value": value, "low": ends[0], "high": ends[1],
        "std": spread, "n": n, "undefined": undefined,
    }  # fmt: skip


def saliency(cc: float = 0.654) -> dict[str, Any]:
    def row(shift: float) -> dict[str, Any]:
        return {key: score(cc + shift) for key in ("cc", "nss", "kld", "sim", "auc")}

    constant = {"reasons": {"the prediction is constant": 12}}
    uniform = {**row(-0.4), "cc": score(None, 0, 12) | constant, "nss": score(None, 0, 12)}
    return {
        "n_images": 12, "n_patients": 9, "n_readers": 1, "n_fixations": 1234, "n_dropped": 7,
        "rows": {"uniform": uniform, "centre_bias": row(-0.2), "model": row(0)},
    }  # fmt: skip


def finding(auroc: float | None, positive: int, negative: int, unknown: int) -> dict[str, Any]:
    known = auroc is not None
    delong = {"delong_low": 0.742, "delong_high": 0.882} if known else {}
    point = {"threshold": 0.4, "sensitivity": 1.0, "specificity": 0.5, "f1": 0.7}
    return {
        "auroc": {k: score(auroc)[k] for k in ("value", "low", "high")} | delong,
        "average_precision": None if auroc is None else auroc - 0.3,
        "sensitivity": 2 / 3 if known else None,
        "operating_point": point if known else None,
        "ece": 0.1 if known else None, "brier": 0.15 if known else None,
        "calibrated": {"ece": 0.05, "brier": 0.12} if known else None,
        "n_positive": positive, "n_negative": negative, "n_unknown": unknown,
    }  # fmt: skip


def diagnosis(auroc: float = 0.812) -> dict[str, Any]:
    return {
        "n_images": 12, "n_patients": 9, "exclusive": False,
        "findings": {"effusion": finding(auroc, 3, 9, 0), "nodule": finding(None, 0, 4, 8)},
        "macro_auroc": {"value": auroc, "low": 0.7, "high": 0.9, "n_findings": 1},
        "micro_auroc": {"value": 0.777, "low": 0.7, "high": 0.8}, "specificity": 0.9,
        "macro_average_precision": 0.512,
    }  # fmt: skip


def write_json(path: Path, value: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value), encoding="utf-8")


def write_rows(path: Path, rows: list[dict[str, Any]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, rows[0].keys())
        writer.writeheader()
        writer.writerows(rows)


def image_row(index: int, group: str = "alpha", **more: Any) -> dict[str, Any]:  # noqa: ANN401
    row: dict[str, Any] = {
        "index": index, "image_id": f"film{index:03d}", "patient_id": f"p{index:03d}",
        "group": group, "n_fixations": 5, "cc": 0.9 - index * 0.05, "kld": 0.5, "nss": 1.5,
        "sim": 0.6, "auc": 0.8, "centre_bias_cc": 0.52, "label_effusion": int(index % 3 == 0),
        "probability_effusion": round(0.9 - index * 0.03, 3), "label_nodule": "",
        "probability_nodule": "",
    }  # fmt: skip
    return {**row, **more}


def write_case(run: Path, index: int, **changes: Any) -> None:  # noqa: ANN401
    rng = np.random.default_rng(index)
    prediction = np.zeros((HEIGHT, WIDTH), np.float32)
    prediction[10:20, 8:16] = 1 / 80
    truth = np.zeros((HEIGHT, WIDTH), np.float32)
    truth[12:16, 10:15] = 1 / 20
    arrays: dict[str, Any] = {
        "film": rng.integers(0, 255, (HEIGHT, WIDTH), dtype=np.uint8),
        "valid": np.ones((HEIGHT, WIDTH), bool),
        "prediction": prediction, "truth": truth,
        "gaze": np.array([[5, 6, 0.5, 0.2], [20, 30, 0.1, 0.3], [9, 9, 0.9, 0.1]], np.float32),
        "reader": np.array([0, 0, 1]), "readers": np.array(["Ada", "Bo"]),
        "boxes": np.array([[4, 5, 14, 20]], np.float32), "box_labels": np.array(["effusion"]),
    }  # fmt: skip
    arrays = {key: value for key, value in {**arrays, **changes}.items() if value is not None}
    folder = run / "evaluate" / "cases"
    folder.mkdir(parents=True, exist_ok=True)
    np.savez(folder / f"{index:06d}.npz", **arrays)


def write_stage(run: Path) -> None:
    write_json(
        run / "01-contrast" / "stage.json",
        {
            "name": "contrast", "kind": "pretrain", "task": "contrast", "status": "finished",
            "epochs": 3, "best_epoch": 2, "seconds": 200.4, "n_trained": 18_093_000,
            "monitor": {"metric": "valid/kld", "mode": "min", "value": 0.4321},
            "n_frozen": 0, "init": None, "key": "abcdef0123456789",
        },
    )  # fmt: skip
    rows: list[dict[str, Any]] = [
        {"epoch": 1, "train/loss": 2.0, "valid/loss": 2.5, "valid/kld": 0.9, "lr": 0.1},
        {"epoch": 2, "train/loss": 1.0, "valid/loss": "", "valid/kld": 0.4321, "lr": 0.05},
        {"epoch": 3, "train/loss": 0.5, "valid/loss": 1.7, "valid/kld": 0.6, "lr": 0.01},
    ]
    write_rows(run / "01-contrast" / "metrics.csv", rows)


def write_run(run: Path, **metrics: Any) -> Path:  # noqa: ANN401
    write_json(
        run / "run.json",
        {
            "name": "demo run", "seed": 11, "gazedx": "0.1.0", "device": "cpu",
            "started": "2026-03-01T10:00:00+00:00", "finished": "2026-03-01T11:02:00+00:00",
            "versions": {"torch": "2.13.0"}, "config_sha256": "c0ffee" * 10,
            "command": "gazedx run",
        },
    )  # fmt: skip
    write_stage(run)
    standing = {
        "stage": "01-contrast", "split": "test", "grid": 640, "image_size": [640, 512],
        "bootstrap": {"resamples": 2000, "seed": 5, "level": 0.95, "unit": "patient"},
        "definitions": {}, "saliency": {"alpha": saliency()}, "diagnosis": {"alpha": diagnosis()},
    }  # fmt: skip
    write_json(run / "evaluate" / "metrics.json", {**standing, **metrics})
    write_rows(run / "evaluate" / "per_image.csv", [image_row(i) for i in range(12)])
    for index in (0, 5, 11):
        write_case(run, index)
    return run


def report(run: Path) -> str:
    return write_report(run).read_text(encoding="utf-8")


def words(html: str) -> str:
    """The page's text with all white space made single."""
    body = re.sub(r"<(style|script|title)\b[^>]*>.*?</\1>", "", html, flags=re.DOTALL)
    return " ".join(re.sub(r"<[^>]+>", " ", body).split())


class Page(HTMLParser):
    """All addresses and event handlers of a page, and whether its tags are balanced."""

    VOID = frozenset({"meta", "link", "input", "br"})

    def __init__(self, html: str) -> None:
        super().__init__()
        self.addresses: list[str] = []
        self.handlers: list[str] = []
        self.tags: list[str] = []
        self.ids: list[str] = []
        self._open: list[str] = []
        self.feed(html)
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        if tag not in self.VOID:
            self._open.append(tag)
        for name, value in attrs:
            if name in {"src", "href", "xlink:href", "srcset", "action", "data", "poster"}:
                self.addresses.append(value or "")
            if name.startswith("on"):
                self.handlers.append(name)
            if name == "id":
                self.ids.append(value or "")

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in self.VOID:
            self._open.pop()

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag


def test_the_file_is_where_the_design_says(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run")
    assert write_report(run) == run / "evaluate" / "report.html"
    assert [p.name for p in (run / "evaluate").glob("*.html*")] == ["report.html"]


def test_the_header_names_the_run_and_warns(tmp_path: Path) -> None:
    text = words(report(write_run(tmp_path)))
    assert "demo run" in text
    assert "Research use only. Not a medical device." in text
    assert "Seed 11" in text
    assert "Configuration c0ffeec0ffee " in text
    assert "Finished 2026-03-01 11:02 UTC Took 1 h 02 min" in text
    assert "torch 2.13.0" in text
    assert "Evaluation grid 640 (640 × 512)" in text


def test_saliency_rows_stand_beside_their_floors(tmp_path: Path) -> None:
    text = words(report(write_run(tmp_path)))
    assert "CC ↑ NSS ↑ KLD ↓ SIM ↑ AUC ↑ Images Undefined" in text
    assert "Model 0.654 [0.604, 0.704] SD 0.111" in text
    assert "Centre bias 0.454 [0.404, 0.504]" in text
    assert text.index("Model 0.654") < text.index("Centre bias 0.454") < text.index("Uniform n/a")
    assert "12 images 9 patients 1 reader 1,234 fixations 7 dropped fixations" in text
    assert "Single-reader data" in text
    assert "above the centre bias’s on 8 of 12 images" in text  # noqa: RUF001


def test_an_undefined_score_is_counted_and_never_zero(tmp_path: Path) -> None:
    text = words(report(write_run(tmp_path)))
    assert "Uniform n/a n/a 0.254" in text
    assert "0–12 CC 12 (the prediction is constant 12); NSS 12" in text
    assert f"nodule {'n/a ' * 8}0.0 % 0 4 8" in text
    assert "nan" not in text.lower().split()
    assert not re.search(r"\bNone\b|\bnull\b", text)


def test_diagnosis_shows_intervals_prevalence_and_counts(tmp_path: Path) -> None:
    text = words(report(write_run(tmp_path)))
    row = "effusion 0.812 [0.762, 0.862] [0.742, 0.882] 0.512 0.667 0.700 0.100 → 0.050"
    assert f"{row} 0.150 → 0.120 25.0 % 3 9 0" in text
    assert "Macro over 1 finding 0.812 [0.700, 0.900] 0.512" in text
    assert "Micro 0.777 [0.700, 0.800]" in text
    assert "Sensitivity at a specificity of 90.0 %" in text
    assert "ideal observer" not in text


def test_groups_stand_apart_and_are_never_pooled(tmp_path: Path) -> None:
    groups = {"alpha": diagnosis(0.812), "beta": diagnosis(0.612)}
    run = write_run(
        tmp_path, diagnosis=groups, saliency={"alpha": saliency(), "beta": saliency(0.5)}
    )
    text = words(report(run))
    assert text.count("Macro over 1 finding") == 2
    assert text.count("Model 0.") == 2
    assert "0.712" not in text  # the mean of both groups
    assert text.count("never pooled") == 2


def test_stages_and_their_curves(tmp_path: Path) -> None:
    html = report(write_run(tmp_path))
    row = "finished 3 3 valid/kld ↓ 0.4321 3 min 20 s 18.1 M 0 no earlier stage"
    assert row in words(html)
    assert 'aria-label="loss: train from 2 to 0.5 over 3 points; valid from 2.5 to 1.7' in html
    assert "kld (monitored)" in html
    titles = re.findall(r"<figcaption>(loss|kld \(monitored\)|lr)</figcaption>", html)
    assert titles == ["loss", "kld (monitored)", "lr"]


def test_method_notes_say_which_variant(tmp_path: Path) -> None:
    run = write_run(tmp_path, definitions={"kld": "our own words", "resize": "bilinear"})
    text = words(report(run))
    assert "95.0 % bootstrap over patients, 2,000 resamples, seed 5." in text
    assert "population standard deviation" in text
    assert "ties count half" in text
    assert "KLD our own words" in text
    assert "2⁻⁵²" not in text
    assert "Resize bilinear" in text


def test_a_stage_that_was_skipped_or_failed_says_why(tmp_path: Path) -> None:
    run = write_run(tmp_path)
    reason = "no task gained more than 0 in round 2; the weights of round 1 stand in"
    skipped = {"name": "fuse-r3", "kind": "cooperative", "task": "fuse", "status": "skipped"}
    write_json(
        run / "02-fuse-r3" / "stage.json", skipped | {"reason": reason, "stands_in": "fuse-r1"}
    )
    failed = {"name": "joint", "task": "joint", "status": "failed", "error": "out of <memory>"}
    write_json(run / "03-joint" / "stage.json", failed)
    html = report(run)
    text = words(html)
    assert f"fuse-r3 cooperative fuse skipped {reason} (fuse-r1) n/a n/a" in text
    assert "joint n/a joint failed out of &lt;memory&gt;" in text
    assert "finished 3 3 valid/kld" in text  # a finished one needs no reason


def test_nothing_is_loaded_from_elsewhere(tmp_path: Path) -> None:
    html = report(write_run(tmp_path))
    page = Page(html)
    assert page.addresses
    assert all(address.startswith(("data:", "#")) for address in page.addresses)
    assert not re.search(r"https?:|//cdn|@import|url\((?!#)", html)
    assert "default-src 'none'" in html
    # The second one holds data and is never run.
    assert (page.tags.count("script"), page.tags.count("style")) == (2, 1)
    assert len(set(page.ids)) == len(page.ids)


def test_names_cannot_become_markup(tmp_path: Path) -> None:
    run = write_run(tmp_path, saliency={EVIL: saliency()}, diagnosis={EVIL: diagnosis()})
    facts = json.loads((run / "run.json").read_text())
    write_json(run / "run.json", {**facts, "name": EVIL, "versions": {EVIL: EVIL}})
    row = image_row(0, EVIL, image_id=EVIL, patient_id=EVIL, **{f"label_{EVIL}": 1})
    write_rows(run / "evaluate" / "per_image.csv", [row])
    for path in (run / "evaluate" / "cases").iterdir():
        path.unlink()
    write_case(run, 0, readers=np.array([EVIL, "Bo"]), box_labels=np.array([EVIL]))
    write_rows(run / "01-contrast" / "metrics.csv", [{"epoch": 1, EVIL: 1, f"valid/{EVIL}": 2}])
    html = report(run)
    page = Page(html)
    assert "alert(" in html
    assert "<script>alert" not in html
    assert page.tags.count("script") == 2
    assert page.handlers == []


def test_a_run_without_gaze(tmp_path: Path) -> None:
    run = write_run(tmp_path, saliency={})
    rows = [image_row(i, cc="", kld="", nss="", sim="", auc="") for i in range(12)]
    write_rows(run / "evaluate" / "per_image.csv", rows)
    for index in (0, 5, 11):
        write_case(run, index, truth=None, prediction=None, gaze=None, reader=None, readers=None)
    html = report(run)
    text = words(html)
    assert "This run has no saliency evaluation." in text
    assert "effusion 0.812" in text
    assert 'data-stop="0"' in html
    assert 'data-stop="100"' not in html  # the film is the only layer


def test_a_run_without_labels(tmp_path: Path) -> None:
    run = write_run(tmp_path, diagnosis=None)
    rows = [
        {k: v for k, v in image_row(i).items() if not k.startswith(("label_", "probability_"))}
        for i in range(12)
    ]
    write_rows(run / "evaluate" / "per_image.csv", rows)
    html = report(run)
    assert "This run has no diagnosis evaluation." in html
    assert 'id="viewer-findings"' not in html
    assert 'id="viewer-finding"' not in html


def test_a_run_without_cases_or_evaluation(tmp_path: Path) -> None:
    write_json(tmp_path / "run.json", {"name": None, "seed": 0})
    text = words(report(tmp_path))
    assert tmp_path.name in text
    assert "Seed 0" in text
    assert "No predictions were stored for this run." in text
    assert "This run has no finished stage." in text
    assert "Took n/a" in text


def test_a_folder_that_is_no_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"expected a run folder with run\.json, found none"):
        write_report(tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[1]", "run.json: expected a JSON object, found list"),
        ("{", "run.json: expected JSON, .*; repeat the step that writes it"),
    ],
)
def test_facts_that_are_no_json_object_are_named(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "run.json").write_text(text)
    with pytest.raises(DataError, match=message):
        write_report(tmp_path)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"film": np.zeros((4, 4))}, "uint8 film"),
        ({"film": None}, "uint8 film"),
        ({"prediction": np.zeros((3, 3))}, r"prediction \(40, 32\) as the film, not \(3, 3\)"),
        ({"reader": np.zeros(2, np.int64)}, "one row of reader for each of gaze"),
        ({"readers": np.array([{}, None], dtype=object)}, "cannot be read"),
    ],
)
def test_a_case_that_cannot_be_shown_is_named(
    tmp_path: Path, changes: dict[str, Any], message: str
) -> None:
    run = write_run(tmp_path)
    write_case(run, 5, **changes)
    with pytest.raises(DataError, match=rf"000005\.npz.*{message}.*; evaluate the run again"):
        write_report(run)


def test_the_same_run_gives_the_same_file(tmp_path: Path) -> None:
    run = write_run(tmp_path)
    assert report(run) == report(run)


def test_neither_torch_nor_pyplot_is_imported() -> None:
    code = (
        "import sys; from experiments.report import write_report; "
        "assert not {'torch', 'pandas', 'matplotlib.pyplot'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
