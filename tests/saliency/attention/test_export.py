"""Every registered module through ONNX: the file says what the module says."""

from collections.abc import Iterator
from pathlib import Path

import jaxtyping
import numpy as np
import onnxruntime
import pytest
import torch
from torch import Tensor, nn

from saliency.attention import AttentionContext, AttentionModule, AttentionSite, names

from .modules import everything, flat, make, make_context

# Several seconds each.
SLOW = {"cbam", "dual_attention", "iterative_fusion"}


class _Flat(nn.Module):
    """A module, or its site, over tensors alone: features, organ masks, class maps."""

    def __init__(self, module: AttentionModule | AttentionSite, levels: int) -> None:
        super().__init__()
        self.module, self.levels = module, levels

    def forward(
        self, features: list[Tensor], anatomy: Tensor, class_maps: list[Tensor]
    ) -> list[Tensor]:
        context = AttentionContext(
            anatomy=anatomy, organs=("heart", "lungs"), class_maps=tuple(class_maps)
        )
        return everything(self.module(features[0] if self.levels == 1 else features, context))


@pytest.fixture
def untyped() -> Iterator[None]:
    """The shape checks of the tests are no part of the product, and cannot be traced."""
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)


@pytest.mark.usefixtures("untyped")
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
@pytest.mark.parametrize(
    "use", [pytest.param(name, marks=[pytest.mark.slow] * (name in SLOW)) for name in names()]
)
def test_the_exported_file_says_what_the_module_says(use: str, tmp_path: Path) -> None:
    module, features = make(use)
    site = AttentionSite([module]).eval()
    torch.nn.init.constant_(site.gamma, 0.7)
    context = make_context()
    assert context.anatomy is not None
    assert context.class_maps is not None
    given = (flat(features), context.anatomy, list(context.class_maps))
    network = _Flat(site, len(given[0])).eval()
    path = tmp_path / "module.onnx"
    program = torch.onnx.export(network, given, dynamo=True, verbose=False)
    assert program is not None
    program.save(path)
    with torch.no_grad():
        expected = network(*given)
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    values = [*given[0], given[1], *given[2]]
    # What a module has no use for is no input of its file.
    asked = [one.name for one in session.get_inputs()]
    known = dict(zip([one.name for one in program.model.graph.inputs], values, strict=True))
    found = session.run(None, {name: known[name].numpy() for name in asked})
    assert len(found) == len(expected)
    for one, other in zip(found, expected, strict=True):
        assert np.abs(one - other.numpy()).max() < 1e-5
