"""Weights between stages: safetensors, handed over by declared prefixes that must match."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save
from torch import Tensor, nn

from eye_gaze_data.errors import StageError, nearest
from eye_gaze_data.files import write_atomic
from saliency.network import Network


@dataclass(frozen=True)
class HandOver:
    """What became of the tensors of a hand-over.

    Attributes:
        loaded: names in the network that got a value.
        fresh: names in the network that kept their initial value.
        ignored: names in the file that no prefix covers.
    """

    loaded: list[str]
    fresh: list[str]
    ignored: list[str]

    def __str__(self) -> str:
        return f"{len(self.loaded)} loaded, {len(self.fresh)} fresh, {len(self.ignored)} ignored"


def save_weights(
    path: Path, state: Mapping[str, Tensor], metadata: Mapping[str, str] | None = None
) -> None:
    """Write tensors as safetensors, atomically; the same values give the same bytes."""
    tensors = {name: value.detach().cpu().contiguous() for name, value in state.items()}
    data = _sorted(save(tensors, dict(metadata or {})))
    write_atomic(path, lambda file: file.write(data))


def _sorted(data: bytes) -> bytes:
    """A safetensors file with its metadata in order: the library writes them in any."""
    end = 8 + int.from_bytes(data[:8], "little")
    header = json.loads(data[8:end])
    if "__metadata__" in header:
        header["__metadata__"] = dict(sorted(header["__metadata__"].items()))
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    # Spaces keep what follows at multiples of eight bytes.
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text + data[end:]


def read_weights(path: Path) -> dict[str, Tensor]:
    """The tensors of a safetensors file.

    Raises:
        StageError: if the file is missing or broken.
    """
    if not path.is_file():
        raise StageError(f"{path}: no such weights file")
    try:
        return load_file(path)
    except (SafetensorError, OSError, ValueError) as error:
        raise StageError(f"{path}: expected safetensors, cannot read it ({error})") from error


def read_classes(path: Path) -> list[str] | None:
    """The names of the classes that a file's weights were trained on; None if it does not say."""
    with safe_open(path, "pt") as file:
        facts = file.metadata() or {}
    return json.loads(facts["classes"]) if "classes" in facts else None


def check_classes(
    network: Network, loaded: Sequence[str], classes: Sequence[str], path: Path, source: str
) -> None:
    """Refuse a class head that was trained on other classes.

    Args:
        network: that took the values.
        loaded: names of the tensors that it took.
        classes: of the stage.
        path: of the weights.
        source: for the message.

    Raises:
        StageError: with both lists.
    """
    before = read_classes(path)
    heads = [name for name in loaded if name.startswith(network.class_heads)]
    if heads and before is not None and before != list(classes):
        raise StageError(
            f"{source}: '{heads[0]}' knows the classes {', '.join(before)}; this stage has "
            f"{', '.join(classes)}. Choose 'prefixes' that leave the class head out"
        )


def hand_over(
    network: nn.Module, state: Mapping[str, Tensor], prefixes: Mapping[str, str], source: str
) -> HandOver:
    """Copy tensors into a network, renamed by prefix.

    Args:
        network: takes the values.
        state: what an earlier stage or a file gives.
        prefixes: source prefix to target prefix; the longest that fits a name counts.
        source: for messages.

    Raises:
        StageError: if a prefix matches nothing, or a tensor under it has no place in the network
            or another shape.
    """
    target = network.state_dict()
    used: dict[str, int] = dict.fromkeys(prefixes, 0)
    loaded, ignored = [], []
    for name, value in state.items():
        fitting = [prefix for prefix in prefixes if name.startswith(prefix)]
        if not fitting:
            ignored.append(name)
            continue
        prefix = max(fitting, key=len)
        used[prefix] += 1
        new = prefixes[prefix] + name.removeprefix(prefix)
        _check_fit(target, name, new, value, source)
        target[new].copy_(value)
        loaded.append(new)
    for prefix, count in used.items():
        if count == 0:
            parts = {f"{name.split('.')[0]}." for name in state}
            raise StageError(
                f"{source}: the prefix '{prefix}' matches no tensor; {nearest(prefix, parts)}"
            )
    taken = set(loaded)
    return HandOver(loaded, [name for name in target if name not in taken], ignored)


def _check_fit(
    target: Mapping[str, Tensor], name: str, new: str, value: Tensor, source: str
) -> None:
    if new not in target:
        raise StageError(f"{source}: tensor '{name}' has no place in the network (as '{new}')")
    if target[new].shape != value.shape:
        raise StageError(
            f"{source}: tensor '{name}' has shape {tuple(value.shape)}, the network expects "
            f"{tuple(target[new].shape)} for '{new}'; width, backbone or classes differ"
        )
