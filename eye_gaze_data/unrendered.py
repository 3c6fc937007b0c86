"""Samples without films and maps, for a stage that trains on vectors computed once."""

from collections.abc import Sequence

import torch

from .batch import Sample
from .dataset import GazeDataset


class UnrenderedDataset(GazeDataset):
    """The labels of each row on a grid of one pixel; nothing is read from disk.

    What was not rendered is NaN, so that whoever reads it by mistake gets no result. The lists of
    boxes are empty and not complete.
    """

    def _sample(self, row: int, seeds: Sequence[int], view: int) -> Sample:
        del seeds
        unknown = torch.full((1, 1, 1), torch.nan)
        image_ids, patient_ids = self.cohort.ids
        organs = len(self.anatomy.organs) if self.anatomy else 0
        return {
            "image": unknown,
            "valid": torch.ones(1, 1, 1, dtype=torch.bool),
            "frame": torch.full((2, 3), torch.nan),
            "saliency": unknown,
            "fixations": unknown,
            "labels": self._labels[row],
            "anatomy": torch.full((organs, 1, 1), torch.nan),
            "boxes": torch.zeros(0, 4),
            "box_labels": torch.zeros(0, dtype=torch.int64),
            "boxes_known": torch.tensor(False),
            "index": torch.tensor(row),
            "view": torch.tensor(view),
            "image_id": image_ids[row],
            "patient_id": patient_ids[row],
        }
