"""The shipped detector at a size for tests."""

from pathlib import Path
from typing import Any

import yaml

from experiments.config import RunConfig
from experiments.load import CONFIGS, parse_config

FRACTIONS = {"train": 0.5, "valid": 0.25, "test": 0.25}
TINY = {
    "backbone": "densenet121",
    "backbone_options": {"growth_rate": 8, "block_config": [2, 2]},
    "width": 16,
    "anchor_scale": 1.0,
    # After one epoch no score is above torchvision's threshold.
    "score_threshold": 0.001,
}


def shrunk(cohorts: dict[str, Any] | None = None, **model: Any) -> RunConfig:  # noqa: ANN401
    """The shipped config at small size: its stage, losses and supervision unchanged."""
    tree: dict[str, Any] = yaml.safe_load((CONFIGS / "dualattnet.yaml").read_text())
    films = {"n_patients": 40, "height": 40, "width": 32, "fractions": FRACTIONS}
    tree["cohorts"]["films"] |= films
    # Half of the films have neither labels nor boxes.
    unlabelled = {"n_patients": 12, "with_labels": False, "seed": 1}
    tree["cohorts"]["unlabelled"] = tree["cohorts"]["films"] | unlabelled
    tree["models"]["detector"] |= TINY | model
    (stage,) = tree["stages"]
    stage |= {"batch_size": 8, "epochs": 1}
    stage["data"] |= {"image_size": [32, 32], "cohorts": ["films", "unlabelled"]}
    if cohorts:
        tree["cohorts"], stage["data"]["cohorts"] = cohorts, list(cohorts)
    tree["evaluate"] |= {"grid": 32, "resamples": 200, "cases": 3}
    tree["trainer"] = {"device": "cpu"}
    return parse_config(tree, Path("dualattnet.yaml"))
