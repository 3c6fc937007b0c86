"""Runs side by side: who may be compared, what the differences are, how seeds count."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy.stats import permutation_test
from sklearn.metrics import roc_auc_score

from experiments.compare import compare
from experiments.compare_diagnosis import MACRO, _swaps, compare_auroc_of
from experiments.compare_text import comparison_markdown, comparison_text
from experiments.load import dump_config
from eye_gaze_data.errors import ConfigError, DataError
from eye_gaze_data.files import write_json
from saliency.metrics.comparison import holm
from tests.experiments.small import small_config

IDENTITY = {
    "data": "d", "splits": "s", "split": "test", "grid": 640, "gaze": {"sigma": 0.02},
    "gaze_readers": "pool", "group": "cohort",
}  # fmt: skip
N = 10

MakeRun = Callable[..., Path]


def images(gain: float, seed: int) -> pd.DataFrame:
    common = np.random.default_rng(0)
    rng = np.random.default_rng([seed, int(100 * gain)])
    base = common.uniform(0.2, 0.6, N)
    label = (np.arange(N) % 3 == 0).astype(float)
    return pd.DataFrame(
        {
            "image_id": [f"i{n:02d}" for n in range(N)],
            "patient_id": [f"p{n}" for n in range(N)],
            "group": "one",
            "cc": base + gain + rng.normal(0, 0.02, N),
            "nss": 2 * base,
            "kld": 1 - base - gain,
            "label_edema": label,
            "probability_edema": 0.3 * label + 0.5 * common.random(N) + 0.2 * gain * label,
        }
    )


@pytest.fixture
def make_run(tmp_path: Path) -> MakeRun:
    def make(
        name: str, gain: float, seed: int = 0, identity: dict[str, Any] | None = None,
        table: pd.DataFrame | None = None, **changes: Any,  # noqa: ANN401
    ) -> Path:  # fmt: skip
        folder = tmp_path / f"{name}-{seed}"
        (folder / "evaluate").mkdir(parents=True)
        write_json(
            folder / "evaluate" / "metrics.json",
            {"stage": "joint", "identity": IDENTITY | (identity or {})},
        )
        frame = images(gain, seed) if table is None else table
        frame.to_csv(folder / "evaluate" / "per_image.csv", index=False)
        config = small_config(name=name, seed=seed, **changes)
        (folder / "config.yaml").write_text(dump_config(config))
        return folder

    return make


def other_epochs(epochs: int) -> dict[str, Any]:
    return {"trainer": {"device": "cpu", "accumulate": epochs}}


def test_differences_are_paired_and_corrected(make_run: MakeRun) -> None:
    first, second = make_run("base", 0.0), make_run("better", 0.1, **other_epochs(2))
    found = compare([first, second], resamples=500)
    assert found["reference"] == "base"
    pairs = {one["metric"]: one for one in found["groups"]["one"]["comparisons"]}
    assert list(pairs) == ["cc", "nss", "kld", MACRO, "AUROC edema"]
    gap = images(0.1, 0)["cc"] - images(0.0, 0)["cc"]
    assert pairs["cc"]["difference"]["value"] == pytest.approx(gap.mean())
    assert pairs["cc"]["difference"]["low"] < gap.mean() < pairs["cc"]["difference"]["high"]
    exact = permutation_test(
        (gap.to_numpy(),), np.mean, permutation_type="samples", n_resamples=2**N
    )
    assert pairs["cc"]["exact"]
    assert pairs["cc"]["p_value"] == pytest.approx(exact.pvalue)
    assert pairs["nss"]["difference"]["value"] == 0
    assert pairs["nss"]["p_value"] == 1
    p_values = [one["p_value"] for one in pairs.values()]
    assert [one["p_holm"] for one in pairs.values()] == pytest.approx(holm(p_values).tolist())


def test_boxes_are_compared_where_runs_have_them(make_run: MakeRun) -> None:
    """Films without boxes are left out, and runs without any are not asked for them."""
    tables = []
    for gain in (0.0, 0.1):
        table = images(gain, 0)
        boxed = np.where(np.arange(N) < 7, table["cc"], np.nan)
        tables.append(table.assign(activation_inside=boxed, gaze_pointing=boxed > 0.5))
    first = make_run("base", 0.0, table=tables[0])
    second = make_run("better", 0.1, table=tables[1], **other_epochs(2))
    found = compare([first, second], resamples=500)
    pairs = {one["metric"]: one for one in found["groups"]["one"]["comparisons"]}
    gap = (tables[1]["activation_inside"] - tables[0]["activation_inside"]).dropna()
    assert pairs["activation_inside"]["difference"]["value"] == pytest.approx(gap.mean())
    assert pairs["activation_inside"]["difference"]["n"] == 7
    assert pairs["activation_inside"]["n_left_out"] == 3
    assert "gaze_inside" not in pairs
    assert "gaze_inside" not in found["left_out"]
    text = comparison_text(found)
    assert "evidence in boxes ↑" in text
    assert "gaze points ↑" in text


def test_seeds_of_one_config_are_one_line_with_spread(make_run: MakeRun) -> None:
    base = [make_run("base", 0.0, seed) for seed in (0, 1, 2)]
    better = [make_run("better", 0.1, seed, **other_epochs(2)) for seed in (0, 1, 2)]
    found = compare([*base, *better], resamples=200)
    assert found["contenders"]["base"]["seeds"] == [0, 1, 2]
    line = found["groups"]["one"]["leaderboard"]["better"]["cc"]
    means = [images(0.1, seed)["cc"].mean() for seed in (0, 1, 2)]
    assert line["mean"] == pytest.approx(np.mean(means))
    assert line["std"] == pytest.approx(np.std(means, ddof=1))
    gaps = [images(0.1, seed)["cc"] - images(0.0, seed)["cc"] for seed in (0, 1, 2)]
    pairs = {one["metric"]: one for one in found["groups"]["one"]["comparisons"]}
    assert pairs["cc"]["difference"]["value"] == pytest.approx(np.mean(gaps))
    assert pairs["cc"]["difference"]["n"] == N


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"data": "x"}, "other images, labels or gaze"),
        ({"splits": "x"}, "other splits"),
        ({"grid": 320}, "grid 640 and 320"),
        ({"gaze": {"sigma": 0.04}}, "gaze .*0.02.* and .*0.04"),
        ({"split": "valid"}, "split test and valid"),
    ],
)
def test_runs_on_other_data_are_refused_with_the_reason(
    make_run: MakeRun, changed: dict[str, Any], message: str
) -> None:
    first = make_run("base", 0.0)
    second = make_run("other", 0.1, identity=changed, **other_epochs(2))
    with pytest.raises(ConfigError, match=f"{message}.*. Evaluate both alike, e.g. gazedx eval"):
        compare([first, second])


def test_tables_of_other_images_are_refused(make_run: MakeRun) -> None:
    first = make_run("base", 0.0)
    second = make_run("other", 0.1, table=images(0.1, 0)[1:], **other_epochs(2))
    with pytest.raises(ConfigError, match="10 and 9 rows of images that are not the same; eval"):
        compare([first, second])


def test_what_is_no_pair_of_evaluated_runs_is_refused(make_run: MakeRun, tmp_path: Path) -> None:
    first = make_run("base", 0.0)
    with pytest.raises(ConfigError, match="at least 2 runs, found 1"):
        compare([first])
    with pytest.raises(DataError, match="was not evaluated; gazedx evaluate"):
        compare([first, tmp_path / "nothing"])
    with pytest.raises(ConfigError, match="another run has the same config and seed"):
        compare([first, first])
    second = make_run("other", 0.1, **other_epochs(2))
    with pytest.raises(ConfigError, match="--reference: expected one of base, other, found 'best'"):
        compare([first, second], reference="best")
    write_json(second / "evaluate" / "metrics.json", {"stage": "joint"})
    with pytest.raises(DataError, match="evaluated by an older version; gazedx evaluate"):
        compare([first, second])


def test_a_metric_that_a_run_lacks_is_left_out_and_named(make_run: MakeRun) -> None:
    table = images(0.1, 0).drop(columns="nss").assign(kld=np.inf, ig=np.nan)
    second = make_run("other", 0.1, table=table, **other_epochs(2))
    first = make_run("base", 0.0, table=images(0.0, 0).assign(ig=np.nan))
    found = compare([first, second], resamples=100)
    assert str(second) in found["left_out"]["nss"]
    assert found["left_out"]["kld"].startswith("infinite")
    assert found["left_out"]["ig"] == "undefined for all images"
    assert "not compared: nss" in comparison_text(found)


def test_undefined_images_are_left_out_in_pairs(make_run: MakeRun) -> None:
    table = images(0.1, 0)
    table.loc[2, "cc"] = np.nan
    second = make_run("other", 0.1, table=table, **other_epochs(2))
    found = compare([make_run("base", 0.0), second], resamples=100)
    pairs = {one["metric"]: one for one in found["groups"]["one"]["comparisons"]}
    assert pairs["cc"]["n_left_out"] == 1
    gap = (table["cc"] - images(0.0, 0)["cc"]).mean()
    assert pairs["cc"]["difference"]["value"] == pytest.approx(gap)


def test_pages_show_direction_and_verdict(make_run: MakeRun) -> None:
    runs = [make_run("base", 0.0), make_run("better", 0.2, **other_epochs(2))]
    found = compare(runs, resamples=500)
    page = comparison_markdown(found)
    assert "| better | CC ↑ | +0." in page
    row = next(line for line in page.splitlines() if "| KLD ↓ | " in line and "better |" in line)
    assert row.split("|")[3].strip() == "-0.200"
    assert row.rstrip(" |").endswith("better")
    assert "Holm" in page
    assert "differences from base" in comparison_text(found)
    swapped = comparison_markdown(compare(runs, resamples=500, reference="better"))
    assert "worse" in swapped


def test_auroc_of_several_seeds_swaps_whole_patients() -> None:
    rng = np.random.default_rng(2)
    label = (np.arange(60) % 2).astype(float)

    def table(skill: float) -> pd.DataFrame:
        return pd.DataFrame(
            {
                "patient_id": [f"p{n // 2}" for n in range(60)],
                "label_a": label,
                "probability_a": skill * label + rng.random(60),
                "label_b": np.full(60, np.nan),
                "probability_b": rng.random(60),
            }
        )

    good, bad = [table(2.0), table(2.0)], [table(0.0), table(0.0)]
    found = compare_auroc_of(good, bad, ["a", "b"], resamples=200, seed=0)
    assert [one.metric for one in found] == [MACRO, "AUROC a"]
    assert found[0].difference.value == found[1].difference.value > 0.3
    assert found[1].p_value < 0.01
    alike = compare_auroc_of(good, good, ["a", "b"], resamples=200, seed=0)
    assert alike[1].difference.value == 0
    assert alike[1].p_value == 1
    uneven = compare_auroc_of(good, bad[:1], ["a"], resamples=200, seed=0)
    assert np.isnan(uneven[1].p_value)
    assert compare_auroc_of(good, bad, ["b"], resamples=200, seed=0) == []


@pytest.mark.parametrize("seeds", [1, 3])
@pytest.mark.parametrize("steps", [None, 2])
def test_swaps_equal_ranking_all_images_anew(seeds: int, steps: int | None) -> None:
    rng = np.random.default_rng(3)
    labels = (rng.random((50, 3)) < 0.4).astype(np.float64)
    labels[rng.random((50, 3)) < 0.2] = np.nan
    one, other = (gain * labels + rng.normal(size=(seeds, 50, 3)) for gain in (0.6, 0.3))
    if steps:
        one, other = (np.round(side * steps) / steps for side in (one, other))
    patients = np.array([f"p{number}" for number in rng.integers(0, 20, 50)], object)
    names, owner = np.unique(patients.astype(str), return_inverse=True)

    def gaps(swap: np.ndarray) -> np.ndarray:
        sides = [np.where(swap[:, None], *pair) for pair in ((other, one), (one, other))]
        each = [
            np.mean([_auroc(run[:, c], labels[:, c]) for run in sides[0]])
            - np.mean([_auroc(run[:, c], labels[:, c]) for run in sides[1]])
            for c in range(3)
        ]
        return np.abs([np.mean(each), *each])

    observed = gaps(np.zeros(50, bool))
    assert observed.max() > 0.02
    generator = np.random.default_rng([4, 5])
    extreme = np.ones(4)
    for _ in range(60):
        swap = generator.integers(2, size=len(names))[owner].astype(bool)
        extreme += gaps(swap) >= observed - 1e-12
    found = _swaps(one, other, labels, patients, seed=4, swaps=60)
    assert found == pytest.approx(extreme / 61, abs=1e-15)
    assert min(extreme) < 61


def _auroc(scores: np.ndarray, labels: np.ndarray) -> float:
    known = ~np.isnan(labels)
    return float(roc_auc_score(labels[known], scores[known]))
