"""The segmenter's shapes, its padding, and what it refuses."""

from typing import Any

import pytest
import torch

from diagnosis.anatomy.segmenter import AnatomySegmenter, OrganMasks
from eye_gaze_data.errors import ConfigError

SMALL = {"growth_rate": 4, "block_config": [1, 1]}


def make(**changes: Any) -> AnatomySegmenter:  # noqa: ANN401
    torch.manual_seed(0)
    options = {"organs": ["lungs", "heart"], "backbone_options": SMALL, "widths": [8]}
    return AnatomySegmenter(1, **options | changes).eval()


def test_one_logit_an_organ_and_pixel() -> None:
    network, image = make(), torch.rand(2, 1, 24, 40)
    assert network.multiple == 8
    logits = network(image)["anatomy_logits"]
    assert logits.shape == (2, 2, 24, 40)
    torch.testing.assert_close(OrganMasks(network)(image), logits.sigmoid())
    assert network(image, "segment").keys() == {"anatomy_logits"}


def test_an_image_that_does_not_fit_is_refused_or_padded() -> None:
    with pytest.raises(ConfigError, match="multiples of 8.*next size that fits is 24x40"):
        make()(torch.rand(1, 1, 20, 33))
    network, image = make(pad=True), torch.rand(1, 1, 20, 33)
    padded = torch.nn.functional.pad(image, (0, 7, 0, 4))
    found = network(image)["anatomy_logits"]
    assert found.shape == (1, 2, 20, 33)
    torch.testing.assert_close(found, network(padded)["anatomy_logits"][..., :20, :33])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"widths": [8, 8]}, r"has 2 level\(s\).* one less 'widths', found 2"),
        ({"backbone_options": SMALL | {"block_config": [1]}, "widths": None}, r"has 1 level\(s\)"),
        ({"backbone": "densenett121"}, "backbone 'densenett121' is not known to timm"),
    ],
)
def test_what_does_not_fit_is_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        make(**changes)


def test_it_can_be_exported_as_one_function() -> None:
    masks, image = OrganMasks(make()), torch.rand(1, 1, 16, 24)
    traced = torch.export.export(masks, (image,)).module()
    torch.testing.assert_close(traced(image), masks(image))
