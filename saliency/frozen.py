"""What a stage leaves as it found it: which parameters, and the statistics of their modules."""

import hashlib
from collections.abc import Callable, Collection, Mapping
from fnmatch import fnmatchcase

import torch
from torch import Tensor, nn

from eye_gaze_data.errors import ConfigError, nearest


def freeze(network: nn.Module, globs: tuple[str, ...], stage: str) -> tuple[int, int]:
    """Let the parameters that a glob matches train, and freeze the rest.

    Returns:
        numbers of trained and of frozen scalars.

    Raises:
        ConfigError: if a glob matches no parameter.
    """
    names = [name for name, _ in network.named_parameters()]
    for glob in globs:
        if not any(fnmatchcase(name, glob) for name in names):
            parts = {f"{name.split('.')[0]}.*" for name in names}
            raise ConfigError(
                f"stage '{stage}': train glob '{glob}' matches no parameter; {nearest(glob, parts)}"
            )
    trained = frozen = 0
    for name, parameter in network.named_parameters():
        parameter.requires_grad_(any(fnmatchcase(name, glob) for glob in globs))
        trained += parameter.numel() * parameter.requires_grad
        frozen += parameter.numel() * (not parameter.requires_grad)
    return trained, frozen


def fingerprint(state: Mapping[str, Tensor]) -> str:
    """SHA-256 over names and values."""
    digest = hashlib.sha256()
    for name, value in state.items():
        digest.update(name.encode())
        digest.update(value.detach().cpu().reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def still_state(
    network: nn.Module, names: Collection[str], *, statistics: bool = True
) -> dict[str, Tensor]:
    """The parameters of these names, and the buffers of modules that hold no other parameter.

    Args:
        network: whose state it is.
        names: of parameters.
        statistics: false leaves buffers out.
    """
    found: dict[str, Tensor] = {}
    for prefix, module in network.named_modules():
        dot = f"{prefix}." if prefix else ""
        own = {f"{dot}{name}": p for name, p in module.named_parameters(recurse=False)}
        tensors = {name: p for name, p in own.items() if name in names}
        if own and len(tensors) == len(own) and statistics:
            tensors |= {f"{dot}{n}": b for n, b in module.named_buffers(recurse=False)}
        found |= dict(sorted(tensors.items()))
    return found


def frozen_state(network: nn.Module, *, statistics: bool = True) -> dict[str, Tensor]:
    """All frozen parameters, and the buffers of modules that hold only such.

    Args:
        network: with its parameters frozen.
        statistics: false leaves buffers out.
    """
    frozen = {name for name, p in network.named_parameters() if not p.requires_grad}
    return still_state(network, frozen, statistics=statistics)


def hold_frozen(
    network: nn.Module,
    moves: Callable[[nn.Parameter], bool] = lambda parameter: parameter.requires_grad,
) -> None:
    """Put every module into training mode but those without a parameter that moves.

    A module without parameters, such as dropout, follows the module that holds it.
    """
    moving: dict[nn.Module, bool | None] = {}
    _find_moving(network, moves, moving)
    _set_modes(network, moving, mode=True)


def _find_moving(
    module: nn.Module,
    moves: Callable[[nn.Parameter], bool],
    found: dict[nn.Module, bool | None],
) -> bool | None:
    """Whether a parameter of a module moves, for it and all modules in it; None without any."""
    parts = [moves(parameter) for parameter in module.parameters(recurse=False)]
    below = [_find_moving(child, moves, found) for child in module.children()]
    known = parts + [moved for moved in below if moved is not None]
    found[module] = any(known) if known else None
    return found[module]


def _set_modes(module: nn.Module, moving: Mapping[nn.Module, bool | None], *, mode: bool) -> None:
    module.training = mode and moving[module] is not False
    for child in module.children():
        _set_modes(child, moving, mode=module.training)
