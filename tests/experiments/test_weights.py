from pathlib import Path

import pytest
import torch
from torch import nn

from experiments.weights import (
    hand_over,
    read_classes,
    read_weights,
    save_weights,
)
from eye_gaze_data.errors import StageError
from tests.networks import two_encoders


def filled(module: nn.Module, value: float) -> dict[str, torch.Tensor]:
    return {name: torch.full_like(tensor, value) for name, tensor in module.state_dict().items()}


def test_weights_survive_a_round_trip(tmp_path: Path) -> None:
    state = two_encoders().state_dict()
    save_weights(tmp_path / "w.safetensors", state, {"stage": "x"})
    again = read_weights(tmp_path / "w.safetensors")
    assert again.keys() == state.keys()
    assert all(torch.equal(again[name], state[name]) for name in state)


@pytest.mark.parametrize("content", [b"", b"not safetensors at all", b"\x80\x04K\x01."])
def test_broken_weights_are_named(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "w.safetensors"
    path.write_bytes(content)
    with pytest.raises(StageError, match="w.safetensors: expected safetensors"):
        read_weights(path)


def test_a_truncated_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "w.safetensors"
    save_weights(path, two_encoders().state_dict())
    path.write_bytes(path.read_bytes()[:-10])
    with pytest.raises(StageError, match="expected safetensors"):
        read_weights(path)


def test_hand_over_renames_by_the_longest_prefix_and_reports() -> None:
    target, state = two_encoders(), filled(two_encoders(), 7.0)
    report = hand_over(target, state, {"encoder_a.": "encoder_b."}, "test")
    assert (target.get_submodule("encoder_b")[0].weight == 7).all()  # type: ignore[index]
    assert not (target.get_submodule("encoder_a")[0].weight == 7).any()  # type: ignore[index]
    assert all(name.startswith("encoder_b.") for name in report.loaded)
    assert (len(report.loaded), len(report.fresh), len(report.ignored)) == (7, 9, 9)
    assert str(report) == "7 loaded, 9 fresh, 9 ignored"


def test_hand_over_refuses_what_does_not_fit() -> None:
    state = two_encoders().state_dict()
    with pytest.raises(StageError, match="prefix 'encoder_c.' matches no tensor; did you mean"):
        hand_over(two_encoders(), state, {"encoder_c.": ""}, "test")
    with pytest.raises(StageError, match=r"has no place in the network \(as 'other.0.weight'\)"):
        hand_over(two_encoders(), state, {"encoder_a.": "other."}, "test")
    state["head.weight"] = torch.zeros(5, 2)
    with pytest.raises(StageError, match=r"shape \(5, 2\), the network expects \(3, 2\)"):
        hand_over(two_encoders(), state, {"": ""}, "test")


def test_the_same_weights_are_the_same_bytes_whatever_the_order_of_facts(tmp_path: Path) -> None:
    state = {"b.weight": torch.arange(6.0).view(2, 3), "a": torch.tensor([True, False, True])}
    facts = {f"key{number}": f"value{number}" for number in range(8)} | {"classes": '["Ödem"]'}
    save_weights(tmp_path / "one", state, facts)
    save_weights(tmp_path / "other", state, dict(reversed(facts.items())))
    assert (tmp_path / "one").read_bytes() == (tmp_path / "other").read_bytes()
    assert read_classes(tmp_path / "one") == ["Ödem"]
    read = read_weights(tmp_path / "one")
    assert all(torch.equal(read[name], value) for name, value in state.items())
