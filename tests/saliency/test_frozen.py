import pytest
import torch

from eye_gaze_data.errors import ConfigError
from saliency.frozen import fingerprint, freeze, frozen_state, hold_frozen
from tests.networks import two_encoders


def test_freeze_counts_and_refuses_globs_without_a_match() -> None:
    module = two_encoders()
    trained, frozen = freeze(module, ("head.*", "encoder_b.1.*"), "x")
    assert (trained, frozen) == (9 + 4, 2 * 20 + 4)
    assert [n for n, p in module.named_parameters() if p.requires_grad] == [
        "encoder_b.1.weight", "encoder_b.1.bias", "head.weight", "head.bias",
    ]  # fmt: skip
    with pytest.raises(ConfigError, match="train glob 'haed.\\*' matches no parameter"):
        freeze(module, ("haed.*",), "x")


def test_the_fingerprint_sees_frozen_parameters_and_statistics_only() -> None:
    module = two_encoders()
    freeze(module, ("head.*",), "x")
    before = fingerprint(frozen_state(module))
    with torch.no_grad():
        module.get_submodule("head").weight.add_(1)  # type: ignore[operator]
    assert fingerprint(frozen_state(module)) == before
    mean = module.get_submodule("encoder_a")[1].running_mean  # type: ignore[index]
    mean[0] += 1e-6
    assert fingerprint(frozen_state(module)) != before


def test_what_is_frozen_is_parameters_and_the_statistics_of_wholly_frozen_modules() -> None:
    module = two_encoders()
    freeze(module, ("head.*", "encoder_b.1.bias"), "x")
    statistics = {"running_mean", "running_var", "num_batches_tracked"}
    frozen = {"encoder_a.0.weight", "encoder_a.0.bias", "encoder_a.1.weight", "encoder_a.1.bias"}
    frozen |= {"encoder_b.0.weight", "encoder_b.0.bias", "encoder_b.1.weight"}
    assert set(frozen_state(module, statistics=False)) == frozen
    assert set(frozen_state(module)) == frozen | {f"encoder_a.1.{name}" for name in statistics}


def test_a_norm_with_one_trained_parameter_is_trained() -> None:
    module = two_encoders()
    freeze(module, ("encoder_b.1.bias",), "x")
    hold_frozen(module.train())
    modes = {name for name, part in module.named_modules() if part.training}
    assert modes == {"", "encoder_b", "encoder_b.1"}
    module.requires_grad_(False)
    hold_frozen(module.train())
    assert not any(part.training for part in module.modules())
