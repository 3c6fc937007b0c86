"""Attention modules by name."""

import inspect
from collections.abc import Callable
from typing import Any, TypeVar

from eye_gaze_data.errors import ConfigError, nearest

from .contract import AttentionModule

_REGISTRY: dict[str, type[AttentionModule]] = {}
Module = TypeVar("Module", bound=type[AttentionModule])


def register(name: str) -> Callable[[Module], Module]:
    """Class decorator: the module can be named in a config.

    The constructor takes ``channels`` (an int, or a list of ints with requirement ``pyramid``)
    first, then keyword options.
    """

    def add(module: Module) -> Module:
        if name in _REGISTRY:
            raise ValueError(f"attention module '{name}' is registered twice")
        _REGISTRY[name] = module
        return module

    return add


def names() -> list[str]:
    """All registered names."""
    return sorted(_REGISTRY)


def lookup(name: str) -> type[AttentionModule]:
    """The class of a name.

    Raises:
        ConfigError: if there is none.
    """
    if name not in _REGISTRY:
        raise ConfigError(f"attention module '{name}' does not exist; {nearest(name, _REGISTRY)}")
    return _REGISTRY[name]


def build(name: str, channels: int | list[int], /, **options: Any) -> AttentionModule:  # noqa: ANN401
    """A new module.

    Args:
        name: as registered.
        channels: of the features; a list for a pyramid.
        **options: of the module; checked against its constructor.

    Raises:
        ConfigError: if the name or an option is unknown, or a value does not fit.
    """
    module = lookup(name)
    known = [p.name for p in inspect.signature(module).parameters.values() if p.name != "channels"]
    for option in options:
        if option not in known:
            raise ConfigError(
                f"attention module '{name}' has no option '{option}'; {nearest(option, known)}"
            )
    try:
        return module(channels, **options)
    except (TypeError, ValueError) as error:
        raise ConfigError(f"attention module '{name}': {error}") from error
