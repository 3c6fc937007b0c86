"""How Lightning's checkpoints get onto the disk: in one step, like every other file of a run."""

import io
from pathlib import Path
from typing import Any

import torch
from pytorch_lightning.plugins.io import TorchCheckpointIO

from eye_gaze_data.files import write_atomic


class AtomicCheckpointIO(TorchCheckpointIO):
    """Writes beside the old checkpoint and renames.

    Lightning's own writes into the system's temporary folder and moves the file from there: between
    two disks that is a copy, and a kill in its middle leaves half a checkpoint.
    """

    def save_checkpoint(
        self,
        checkpoint: dict[str, Any],
        path: str | Path,
        storage_options: Any = None,  # noqa: ANN401
    ) -> None:
        """Write a checkpoint; what stood at ``path`` stays until it is complete."""
        del storage_options
        # In memory first: torch hides the error of a full disk behind one of its own.
        buffer = io.BytesIO()
        torch.save(checkpoint, buffer)
        write_atomic(Path(path), lambda file: file.write(buffer.getbuffer()))
