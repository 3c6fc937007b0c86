"""The device that a network runs on."""

import torch

from eye_gaze_data.errors import ConfigError


def choose_device(name: str) -> torch.device:
    """The device of a name; ``auto`` takes a GPU if there is one.

    Raises:
        ConfigError: if a GPU is asked for and there is none.
    """
    if name == "cuda" and not torch.cuda.is_available():
        raise ConfigError("device 'cuda' was asked for, but torch finds no GPU; use --device cpu")
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    return torch.device(name)
