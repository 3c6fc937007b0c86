"""An out-of-memory error as advice."""

import torch

from eye_gaze_data.errors import StageError

from .config import RunConfig, StageConfig

# What the allocators of torch say on CPU and GPU, and the system.
SIGNS = ("out of memory", "not enough memory", "can't allocate memory", "cannot allocate memory")


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that memory ran out."""
    kinds = (MemoryError, torch.OutOfMemoryError)
    said = str(error).lower()
    return isinstance(error, kinds) or any(sign in said for sign in SIGNS)


def out_of_memory(error: BaseException, config: RunConfig, stage: StageConfig) -> StageError:
    """The error with the batch size to try next."""
    height, width = stage.data.image_size
    views, size = len(stage.data.training_views()), stage.batch_size
    rows = f"{size} images" + (f" in {views} views" if views > 1 else "")
    said = f"{type(error).__name__}: {error}".splitlines()[0][:200]
    model = config.models[stage.model]
    advice = []
    # A contrast needs two films to compare.
    if size > (3 if stage.task == "contrast" else 1):
        half, steps = size // 2, config.trainer.accumulate * 2
        advice.append(f"batch_size: {half}")
        if stage.task != "contrast":
            advice.append(
                f"batch_size: {half} with trainer.accumulate: {steps} (as many images a step; it "
                "counts for all stages)"
            )
    if getattr(model, "checkpointing", None) is False:
        advice.append(f"checkpointing: true of the model '{stage.model}'")
    advice.append("a smaller data.image_size")
    return StageError(
        f"stage '{stage.name}': out of memory with {rows} of {height}x{width} a batch ({said}); "
        f"try {', or '.join(advice)}. The last checkpoint is untouched"
    )
