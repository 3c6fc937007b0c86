"""Whether a map stands where a finding is: its mass inside the boxes, and where it is highest.

Both scores have a chance level that depends on the boxes alone, so it stands beside them: the share
of the film that the boxes cover, and the share that lies near enough to them.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from jaxtyping import Bool, Float

from eye_gaze_data.errors import DataError

# 15 pixels in photographs of 500 (Zhang et al., "Top-down neural attention by excitation backprop",
# IJCV 2018), as a share of the long side.
TOLERANCE = 0.03

Array = npt.NDArray[np.float64]


@dataclass(frozen=True)
class BoxRegion:
    """The boxes of one finding on one film, as pixels of a map.

    Attributes:
        inside: bool (h, w), film whose centre lies in a box; the union of the boxes.
        near: bool (h, w), film whose centre lies in a box or within the tolerance of one.
        film: bool (h, w).
    """

    inside: Bool[np.ndarray, "h w"]
    near: Bool[np.ndarray, "h w"]
    film: Bool[np.ndarray, "h w"]

    @classmethod
    def of(
        cls,
        boxes: Float[np.ndarray, "n 4"],
        size: tuple[int, int],
        film: Bool[np.ndarray, "h w"] | None = None,
        *,
        tolerance: float = TOLERANCE,
    ) -> "BoxRegion":
        """The region of boxes on a map.

        Args:
            boxes: x1, y1, x2, y2 in pixels of the map; pixel i spans [i, i + 1).
            size: (height, width) of the map.
            film: the pixels that count; all if None.
            tolerance: share of the long side.

        Raises:
            DataError: if a box is empty or turned round.
        """
        boxes = np.asarray(boxes, np.float64).reshape(-1, 4)
        for box in boxes:
            if not (box[2] > box[0] and box[3] > box[1]):
                raise DataError(f"a box must have x1 < x2 and y1 < y2, found {box.tolist()}")
        y, x = (np.arange(side) + 0.5 for side in size)
        inside, near = np.zeros(size, bool), np.zeros(size, bool)
        for x1, y1, x2, y2 in boxes:
            across, down = (
                np.maximum(np.maximum(low - at, at - high), 0)
                for at, low, high in ((x, x1, x2), (y, y1, y2))
            )
            distance = np.hypot(down[:, None], across[None])
            inside |= distance == 0
            near |= distance <= tolerance * max(size)
        film = np.ones(size, bool) if film is None else film
        return cls(inside & film, near & film, film)

    @property
    def area(self) -> float:
        """Share of the film inside: chance level of ``mass_inside``; NaN if no pixel is."""
        return _share(self.inside, self.film)

    @property
    def near_area(self) -> float:
        """Share of the film near: chance level of ``pointing_game``; NaN if no pixel is inside."""
        return _share(self.near, self.film) if self.inside.any() else float("nan")


def mass_inside(values: Float[np.ndarray, "h w"], region: BoxRegion) -> float:
    """Share of a map's mass inside the boxes, the energy-based pointing game.

    Wang et al., "Score-CAM", CVPR workshops 2020, equation 8.

    Args:
        values: 0 or above; need not sum to 1.
        region: of the boxes on the same grid.

    Returns:
        0 to 1; NaN if the map has no mass on the film, is negative or not finite there, or if no
        pixel is inside.
    """
    on_film = _on_film(values, region)
    total = on_film.sum()
    if not (region.inside.any() and np.isfinite(total) and total > 0 and on_film.min() >= 0):
        return float("nan")
    return float(values[region.inside].sum() / total)


def pointing_game(values: Float[np.ndarray, "h w"], region: BoxRegion) -> float:
    """Whether the map is highest in a box or within the tolerance of one (Zhang et al. 2018).

    Args:
        values: any map: only its maximum counts.
        region: of the boxes on the same grid.

    Returns:
        1 or 0; the share of hits where several pixels are highest, so that a constant map scores
        its chance level; NaN if a value on the film is NaN, or if no pixel is inside.
    """
    on_film = _on_film(values, region)
    if not region.inside.any() or np.isnan(on_film).any():
        return float("nan")
    return float(region.near[region.film][on_film == on_film.max()].mean())


def lift(inside: Array, area: Array) -> float:
    """How many times its chance level the mass inside is: the ratio of the two means.

    Not the mean of ratios, which the smallest box would decide.

    Args:
        inside: (n,) ``mass_inside``; NaN is left out.
        area: (n,) ``BoxRegion.area`` of the same maps.
    """
    known = ~(np.isnan(inside) | np.isnan(area))
    return float(inside[known].sum() / area[known].sum()) if known.any() else float("nan")


def _on_film(values: Array, region: BoxRegion) -> Array:
    if values.shape != region.film.shape:
        raise DataError(f"a map on the boxes' grid {region.film.shape}: found {values.shape}")
    on_film: Array = values[region.film]
    return on_film


def _share(part: npt.NDArray[np.bool_], film: npt.NDArray[np.bool_]) -> float:
    return float(part.sum() / film.sum()) if part.any() else float("nan")
