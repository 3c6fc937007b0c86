"""Rows by what they know, drawn in declared shares; each loss over its own known rows."""

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from diagnosis.losses import binary_cross_entropy
from experiments.build import build_cohorts, build_module
from experiments.config import RunConfig
from experiments.runner import run
from experiments.stage_data import build_data, supervised_rows
from eye_gaze_data.batch import collate
from saliency.losses import kl_divergence_loss
from tests.experiments.small import small_config, small_stage, small_tree

SHARES = {"both": 0.25, "gaze": 0.25, "labels": 0.5}


def mixed(shares: dict[str, float], **changes: Any) -> RunConfig:  # noqa: ANN401
    phantom = small_tree()["cohorts"]["phantom"]
    cohorts = {
        "known": {**phantom, "n_patients": 24},
        "looked_at": {**phantom, "n_patients": 28, "with_labels": False, "seed": 1},
        "labelled": {**phantom, "n_patients": 48, "gaze": "none", "seed": 2},
        "neither": {**phantom, "n_patients": 20, "gaze": "none", "with_labels": False, "seed": 3},
    }
    data = {"cohorts": list(cohorts), "image_size": [32, 32], "supervision": shares}
    stage = small_stage("joint", "cooperative", "joint", data=data, **changes)
    return small_config(stages=[stage], cohorts=cohorts)


def test_a_row_is_of_the_kind_that_it_knows() -> None:
    config = mixed(SHARES)
    cohort = build_cohorts(config)
    found = supervised_rows(config.stages[0], cohort)
    names = cohort.table["cohort"].to_numpy()
    sources = {kind: set(names[rows]) for kind, rows in found.items()}
    assert sources == {"both": {"known"}, "gaze": {"looked_at"}, "labels": {"labelled"}}
    for kind, source in {"both": "known", "gaze": "looked_at", "labels": "labelled"}.items():
        assert found[kind].tolist() == cohort.rows_of("train", [source]).tolist()
    assert set(cohort.table["split"].to_numpy()[np.concatenate(list(found.values()))]) == {"train"}
    # A share of nothing needs no row, and rows of an undeclared kind are left out.
    assert set(supervised_rows(mixed({"both": 1, "gaze": 0}).stages[0], cohort)) == {"both"}


def test_an_epoch_has_the_shares_to_the_row_and_is_a_function_of_seed_and_epoch() -> None:
    config = mixed(SHARES)
    cohort = build_cohorts(config)
    kinds = {
        int(row): kind
        for kind, rows in supervised_rows(config.stages[0], cohort).items()
        for row in rows
    }

    def drawn(epoch: int) -> list[int]:
        sampler: Any = build_data(config, config.stages[0], cohort).train_dataloader().sampler
        sampler.epoch, sampler.batch_size = (lambda: epoch), 1
        return [key[1] for key in sampler]

    epochs = [drawn(epoch) for epoch in range(3)]
    total = len(kinds)
    for rows in epochs:
        counts = Counter(kinds[row] for row in rows)
        assert sum(counts.values()) == len(rows) == total
        # Largest remainder: each share is met to less than a row.
        assert all(abs(counts[kind] - share * total) < 1 for kind, share in SHARES.items())
    assert drawn(1) == epochs[1] != epochs[2]


def test_each_loss_is_normalised_by_its_own_known_rows_in_any_batch() -> None:
    config = mixed(SHARES)
    cohort = build_cohorts(config)
    rows = supervised_rows(config.stages[0], cohort)
    module = build_module(config, config.stages[0], cohort).eval()
    dataset = build_data(config, config.stages[0], cohort).valid
    for chosen in (("both", "gaze", "labels", "labels"), ("labels", "labels"), ("gaze",)):
        batch = collate([dataset[0, int(rows[kind][n])] for n, kind in enumerate(chosen)])
        with torch.no_grad():
            total, means = module.total(module.loss_terms(batch))
            outputs = module(batch)
        gaze = [n for n, kind in enumerate(chosen) if kind != "labels"]
        stated = [n for n, kind in enumerate(chosen) if kind != "gaze"]
        kld, bce = torch.tensor(0.0), torch.tensor(0.0)
        if gaze:
            maps = (outputs["saliency_logits"], batch["saliency"], batch["valid"])
            kld = kl_divergence_loss(*(part[gaze] for part in maps)).mean()
        if stated:
            parts = (outputs["class_logits"][stated], batch["labels"][stated])
            bce = binary_cross_entropy(*parts).mean()
        torch.testing.assert_close(means["kld"], kld)
        torch.testing.assert_close(means["bce"], bce)
        torch.testing.assert_close(total, kld + bce)


def test_a_stage_trains_on_shares(tmp_path: Path) -> None:
    run(mixed(SHARES), tmp_path, say=lambda _: None)
    table = pd.read_csv(tmp_path / "01-joint" / "metrics.csv")
    columns = ["train/bce", "train/kld", "valid/bce", "valid/kld"]
    assert table[columns].notna().all().all()


def test_shares_below_zero_are_refused() -> None:
    with pytest.raises(Exception, match="stages.0.data.supervision.gaze"):
        mixed({"both": 1.0, "gaze": -1.0})
