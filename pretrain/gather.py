"""The rows of all processes: a contrast is drawn over the whole batch, not over a process's part.

Every process then computes the same loss on the same rows. The gradient of the gathered rows flows
back to the process that gave them, from all processes; DDP's mean over processes makes that the
gradient of one process with the whole batch.
"""

import torch
from lightly.utils import dist
from torch import Tensor
from torch.nn import functional as F


def gathered(rows: Tensor) -> Tensor:
    """The rows (B, ...) of all processes, in order of rank, with their graph; B may differ.

    Every process must call it equally often.
    """
    if dist.world_size() == 1:
        return rows
    own = torch.tensor([len(rows)], device=rows.device)
    counts = [int(count) for count in dist.gather(own)]
    padding = [0, 0] * (rows.ndim - 1) + [0, max(counts) - len(rows)]
    parts = dist.gather(F.pad(rows, padding))
    return torch.cat([part[:count] for part, count in zip(parts, counts, strict=True)])
