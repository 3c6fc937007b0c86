"""A run with an anatomy stage that trains in seconds."""

from typing import Any

from experiments.config import RunConfig

from .small import small_config, small_stage

ORGANS = ["left_lung", "right_lung", "heart"]
BACKBONE = {"growth_rate": 4, "block_config": [1, 1]}
SEGMENTER = {
    "kind": "anatomy_segmenter",
    "organs": ORGANS,
    "backbone_options": BACKBONE,
    "widths": [8],
}
CLASSIFIER: dict[str, Any] = {
    "kind": "anatomy_xnet",
    "organs": ["heart", "left_lung"],
    "backbone_options": BACKBONE,
    "gaze_branch": "class_map",
}
VIEWS = [{"shift": 0.02}, {"degrees": 7, "shift": 0.05, "noise": 0.02}]


def segment_stage(**changes: Any) -> dict[str, Any]:  # noqa: ANN401
    stage = small_stage("anatomy", "pretrain", "segment", model="segmenter")
    stage |= {
        "data": {"cohorts": "phantom", "image_size": [32, 32], "views": VIEWS},
        "anatomy": {"source": "cohort", "organs": ORGANS, "annotated": 6},
        "teacher": {"decay": 0.9, "annotated_share": 0.5},
        "losses": {"dice_bce": 1, "teacher_consistency": 2},
        "monitor": {"metric": "valid/dice", "mode": "max"},
    }
    return stage | changes


def joint_stage(**changes: Any) -> dict[str, Any]:  # noqa: ANN401
    stage = small_stage("joint", "finetune", "joint", model="classifier", epochs=1)
    organs = {"organs": CLASSIFIER["organs"]}
    return stage | {"anatomy": {"source": "stage", "stage": "anatomy"} | organs} | changes


def anatomy_config(*stages: dict[str, Any], **changes: Any) -> RunConfig:  # noqa: ANN401
    models = {"segmenter": SEGMENTER, "classifier": CLASSIFIER}
    return small_config(models=models, stages=list(stages), **changes)
