from collections.abc import Callable
from typing import Any, cast

import pytest
import torch
from torch import Tensor

from eye_gaze_data.batch import Batch, Sample, check_batch, collate, known_gaze, to_device
from eye_gaze_data.errors import DataError

H, W, CLASSES, ORGANS = 4, 5, 3, 2
NAN = float("nan")


def _sample(index: int, view: int = 0, *, gaze: bool = True) -> Sample:
    valid = torch.ones(1, H, W, dtype=torch.bool)
    valid[:, :, 0] = False
    saliency = valid.float() / valid.sum()
    fixations = torch.zeros(1, H, W)
    fixations[0, 1, 2] = 3
    unknown = torch.full((1, H, W), NAN)
    boxes = torch.tensor([[1.0, 0.0, 3.0, 2.5]])
    return {
        "image": torch.full((1, H, W), index / 10) * valid,
        "valid": valid,
        "frame": torch.tensor([[1.0, 0, view], [0, 1, index]]),
        "saliency": saliency if gaze else unknown,
        "fixations": fixations if gaze else unknown.clone(),
        "labels": torch.tensor([1.0, 0.0, NAN]),
        "anatomy": torch.stack([torch.full((H, W), 0.5), torch.full((H, W), NAN)]),
        "boxes": boxes.repeat(index % 2, 1),
        "box_labels": torch.full((index % 2,), 2),
        "boxes_known": torch.tensor(index % 2 == 1),
        "index": torch.tensor(index),
        "view": torch.tensor(view),
        "image_id": f"image {index}",
        "patient_id": f"patient {index // 2}",
    }


def _batch() -> Batch:
    return collate([_sample(index, gaze=index != 2) for index in range(4)])


def test_samples_are_stacked_in_order() -> None:
    batch = _batch()
    assert batch["image"].shape == (4, 1, H, W)
    torch.testing.assert_close(batch["image"][:, 0, 0, 1], torch.tensor([0.0, 0.1, 0.2, 0.3]))
    assert batch["index"].tolist() == [0, 1, 2, 3]
    assert batch["image_id"] == ["image 0", "image 1", "image 2", "image 3"]
    assert batch["patient_id"] == ["patient 0", "patient 0", "patient 1", "patient 1"]
    assert [len(boxes) for boxes in batch["boxes"]] == [0, 1, 0, 1]
    assert batch["boxes"][1].tolist() == [[1, 0, 3, 2.5]]
    assert [classes.tolist() for classes in batch["box_labels"]] == [[], [2], [], [2]]
    assert batch["boxes_known"].tolist() == [False, True, False, True]
    assert set(batch) == Batch.__required_keys__ == Sample.__required_keys__
    check_batch(batch, CLASSES, ORGANS)


def test_views_stand_view_after_view() -> None:
    batch = collate([[_sample(index, view) for view in range(3)] for index in (5, 7)])
    assert batch["index"].tolist() == [5, 7, 5, 7, 5, 7]
    assert batch["view"].tolist() == [0, 0, 1, 1, 2, 2]
    assert batch["frame"][:, 0, 2].tolist() == [0, 0, 1, 1, 2, 2]
    assert batch["image_id"] == ["image 5", "image 7"] * 3
    check_batch(batch, CLASSES, ORGANS)
    one = collate([[_sample(5)], [_sample(7)]])
    assert one["index"].tolist() == [5, 7]
    with pytest.raises(ValueError, match="shorter"):
        collate([[_sample(5), _sample(5, 1)], [_sample(7)]])


def test_a_batch_is_its_own_memory() -> None:
    sample = _sample(1)
    batch = collate([sample])
    batch["image"][:] = 0.9
    assert sample["image"].max() == pytest.approx(0.1)


def test_known_gaze_tells_rows_with_gaze() -> None:
    assert known_gaze(_batch()).tolist() == [True, True, False, True]


def test_every_tensor_is_moved() -> None:
    moved = to_device(_batch(), torch.device("meta"))
    for key, value in moved.items():
        for item in value if isinstance(value, list) else [value]:
            if isinstance(item, Tensor):
                assert item.device.type == "meta", key
    assert moved["image_id"] == _batch()["image_id"]


def test_no_class_and_no_organ_is_a_batch_too() -> None:
    batch = _batch()
    batch["labels"], batch["anatomy"] = torch.zeros(4, 0), torch.zeros(4, 0, H, W)
    batch["boxes"] = [torch.zeros(0, 4)] * 4
    batch["box_labels"] = [torch.zeros(0, dtype=torch.int64)] * 4
    check_batch(batch, 0)
    with pytest.raises(DataError, match="labels"):
        check_batch(batch, CLASSES)


def test_a_missing_key_is_named() -> None:
    batch = cast(dict[str, Any], _batch())
    del batch["anatomy"], batch["boxes"]
    with pytest.raises(
        DataError, match=r"every key of the contract, missing \['anatomy', 'boxes'\]"
    ):
        check_batch(cast(Batch, batch), CLASSES, ORGANS)


def test_images_without_their_channel_are_refused() -> None:
    batch = _batch()
    batch["image"] = batch["image"][:, 0]
    with pytest.raises(DataError, match=r"batch\['image'\]: expected \(B, 1, H, W\), found \("):
        check_batch(batch, CLASSES, ORGANS)


def _as(dtype: torch.dtype) -> Callable[[Tensor], Tensor]:
    return lambda value: value.to(dtype)


@pytest.mark.parametrize(
    ("key", "broken", "found"),
    [
        ("image", lambda v: v[:, 0], "(B, 1, H, W), found (4, 4, 5)"),
        ("image", lambda v: v.repeat(1, 3, 1, 1), "(4, 1, 4, 5), found torch.float32 (4, 3, 4, 5)"),
        ("image", _as(torch.float64), "torch.float32 (4, 1, 4, 5), found torch.float64"),
        ("image", _as(torch.uint8), "found torch.uint8"),
        ("valid", _as(torch.float32), "torch.bool (4, 1, 4, 5), found torch.float32"),
        ("valid", lambda v: v[..., 1:], "found torch.bool (4, 1, 4, 4)"),
        ("frame", _as(torch.float64), "found torch.float64"),
        ("frame", lambda v: v[:, :, :2], "(4, 2, 3), found torch.float32 (4, 2, 2)"),
        ("saliency", lambda v: v[:2], "found torch.float32 (2, 1, 4, 5)"),
        ("fixations", _as(torch.int64), "found torch.int64"),
        ("labels", lambda v: v[:, :2], "(4, 3), found torch.float32 (4, 2)"),
        ("labels", _as(torch.int64), "found torch.int64"),
        ("anatomy", lambda v: v[:, :1], "(4, 2, 4, 5), found torch.float32 (4, 1, 4, 5)"),
        ("boxes_known", _as(torch.float32), "torch.bool (4,), found torch.float32"),
        ("index", _as(torch.int32), "torch.int64 (4,), found torch.int32"),
        ("index", lambda v: v[:, None], "found torch.int64 (4, 1)"),
        ("view", lambda v: v[:3], "torch.int64 (4,), found torch.int64 (3,)"),
        ("boxes", lambda v: v[:3], "expected 4 entries, found 3"),
        ("box_labels", lambda v: v[:3], "expected 4 entries, found 3"),
        ("image_id", lambda v: v[:3], "expected 4 entries, found 3"),
        ("patient_id", lambda v: [*v, "x"], "expected 4 entries, found 5"),
    ],
)
def test_a_wrong_shape_or_type_is_named(
    key: str, broken: Callable[[Any], object], found: str
) -> None:
    batch = cast(dict[str, Any], _batch())
    batch[key] = broken(batch[key])
    with pytest.raises(DataError) as caught:
        check_batch(cast(Batch, batch), CLASSES, ORGANS)
    assert str(caught.value).startswith(f"batch['{key}']: expected ")
    assert found in str(caught.value)


def test_a_smoothed_label_is_a_label() -> None:
    batch = _batch()
    batch["labels"][1, 0] = 0.7
    check_batch(batch, CLASSES, ORGANS)


# Row 1 is "image 1", with gaze and one box; row 2 is "image 2", without gaze.
@pytest.mark.parametrize(
    ("key", "row", "place", "value", "expected"),
    [
        ("image", 1, (0, 0, 0), 1.01, "values in [0, 1]"),
        ("image", 1, (0, 0, 0), -0.01, "values in [0, 1]"),
        ("image", 2, (0, 3, 4), NAN, "values in [0, 1]"),
        ("valid", 1, (), False, "some film in every image"),
        ("frame", 1, (0, 0), NAN, "finite numbers"),
        ("frame", 2, (1, 2), float("inf"), "finite numbers"),
        ("labels", 1, (0,), 1.5, "1, 0, between them or NaN"),
        ("labels", 1, (2,), -1.0, "1, 0, between them or NaN"),
        ("labels", 2, (1,), float("inf"), "1, 0, between them or NaN"),
        ("anatomy", 1, (0, 0, 0), 1.5, "masks in [0, 1] or NaN"),
        ("anatomy", 1, (1, 0, 0), -0.5, "masks in [0, 1] or NaN"),
        ("saliency", 1, (0, 2, 2), NAN, "all NaN or none"),
        ("saliency", 1, (0, 0, 0), NAN, "all NaN or none"),
        ("saliency", 2, (0, 0, 0), 0.0, "all NaN or none"),
        ("saliency", 2, (0, 2, 2), 0.0, "all NaN or none"),
        ("saliency", 1, (), NAN, "NaN where saliency is"),
        ("saliency", 1, (0, 0, 0), 0.001, "0 off film"),
        ("saliency", 1, (0, 1, 1), 0.5, "a sum of 1 over the film"),
        ("saliency", 1, (0, 1, 1), float("inf"), "a sum of 1 over the film"),
        ("fixations", 1, (0, 1, 1), NAN, "NaN where saliency is"),
        ("fixations", 2, (0, 1, 1), 0.0, "NaN where saliency is"),
        ("fixations", 1, (0, 1, 1), 0.5, "whole counts"),
        ("fixations", 1, (0, 1, 1), -1.0, "whole counts"),
        ("fixations", 1, (0, 1, 1), float("inf"), "whole counts"),
    ],
)
def test_a_wrong_value_is_named_with_its_image(
    key: str, row: int, place: tuple[int, ...], value: float, expected: str
) -> None:
    batch = cast(dict[str, Any], _batch())
    batch[key][(row, *place)] = value
    with pytest.raises(DataError) as caught:
        check_batch(cast(Batch, batch), CLASSES, ORGANS)
    named = "fixations" if expected == "NaN where saliency is" else key
    message = str(caught.value)
    assert message.startswith(f"batch['{named}']: expected {expected}; broken for image(s) ")
    assert f"image(s) image {row} (1 in all)" in message


def test_negative_density_is_named_even_if_the_sum_is_one() -> None:
    batch = _batch()
    batch["saliency"][1, 0, 1, 1] -= 0.5
    batch["saliency"][1, 0, 2, 2] += 0.5
    with pytest.raises(DataError, match=r"'saliency'\]: expected no negative density.*image 1"):
        check_batch(batch, CLASSES, ORGANS)


def test_many_broken_images_are_counted() -> None:
    batch = collate([_sample(index) for index in range(8)])
    batch["image"][:7] += 3
    with pytest.raises(DataError) as caught:
        check_batch(batch, CLASSES, ORGANS)
    assert "image 0, image 1, image 2, image 3, image 4 (7 in all)" in str(caught.value)
    assert "values span [3, 3]" in str(caught.value)


@pytest.mark.parametrize(
    ("boxes", "classes"),
    [
        (torch.tensor([[3.0, 0, 1, 2]]), torch.tensor([0])),  # x2 < x1
        (torch.tensor([[1.0, 2, 3, 2]]), torch.tensor([0])),  # no height
        (torch.tensor([[1.0, 0, NAN, 2]]), torch.tensor([0])),
        (torch.tensor([[1.0, 0, 3, 2]]), torch.tensor([3])),  # no such class
        (torch.tensor([[1.0, 0, 3, 2]]), torch.tensor([-1])),
        (torch.tensor([[1.0, 0, 3, 2]]), torch.tensor([0, 1])),
        (torch.tensor([[1.0, 0, 3]]), torch.tensor([0])),
        (torch.tensor([1.0, 0, 3, 2]), torch.tensor([0, 0, 0, 0])),
        (torch.zeros(0), torch.zeros(0, dtype=torch.int64)),
        (torch.tensor([[1.0, 0, 3, 2]]), torch.tensor([0.0])),
        (torch.tensor([[1.0, 0, 3, 2]], dtype=torch.float64), torch.tensor([0])),
        (torch.tensor([[1, 0, 3, 2]]), torch.tensor([0])),
    ],
)
def test_a_wrong_box_is_named_with_its_image(boxes: Tensor, classes: Tensor) -> None:
    batch = _batch()
    batch["boxes"][2], batch["box_labels"][2] = boxes, classes
    with pytest.raises(DataError, match=r"batch\['boxes'\] of image 'image 2': expected"):
        check_batch(batch, CLASSES, ORGANS)
