"""The same film under two ids: equal pixels, or nearly equal ones after rescaling and recoding."""

import hashlib
from collections.abc import Iterator, Sequence
from itertools import combinations

import numpy as np
import numpy.typing as npt
from PIL import Image

from .cohort import Pixels

_SIDE = 16
# Of the 904 shared films no two of different patients differ in fewer than 52 of 512 bits; a film
# that was recoded or halved in size differs from itself in at most 7 (docs/data-prepare.md).
NEAR = 11
# Hashes that differ in at most 11 bits agree in 5 of 16 bands, so in 2 of some 4 bands: 24 pairs of
# bands find them all. Of 110,215 pairs of films of NIH ChestX-ray14 9 share one; 3043 share a band.
_BANDS, _QUARTERS = 16, 4
_BITS = np.unpackbits(np.arange(256, dtype=np.uint8)[:, None], axis=1).sum(1, dtype=np.uint8)


def content_hash(pixels: npt.NDArray[np.generic]) -> str:
    """32 hexadecimal digits of the values and the shape of an image."""
    digest = hashlib.blake2b(repr((pixels.shape, pixels.dtype.str)).encode(), digest_size=16)
    digest.update(np.ascontiguousarray(pixels).data)
    return digest.hexdigest()


def look_hash(pixels: Pixels) -> str:
    """128 hexadecimal digits of how a film looks: a difference hash of two times 16 by 16 bits.

    Each bit says whether a cell of a small copy is brighter than its right, or its lower,
    neighbour by more than 1/512 of the range: flat background gives zeros, whatever its noise.
    """
    image = Image.fromarray(np.asarray(pixels, np.float32))
    wide, high = (
        np.asarray(image.resize(size, Image.Resampling.BILINEAR))
        for size in ((_SIDE + 1, _SIDE), (_SIDE, _SIDE + 1))
    )
    falls = np.stack([wide[:, :-1] - wide[:, 1:], high[:-1] - high[1:]])
    return np.packbits(falls > 1 / 512).tobytes().hex()


def twins(hashes: Sequence[str]) -> list[tuple[int, int]]:
    """Pairs of rows with equal content; of n equal ones, n - 1 pairs with the first."""
    first: dict[str, int] = {}
    return [
        (first[text], row) for row, text in enumerate(hashes) if first.setdefault(text, row) != row
    ]


def near_twins(looks: Sequence[str]) -> list[tuple[int, int]]:
    """Pairs of rows that look alike: at most ``NEAR`` of 512 bits differ.

    Only rows that share a pair of bands are compared: no quadratic search. A band takes bits from
    all over the film, as its margin is black on most films.
    """
    if len(looks) < 2:
        return []
    packed = np.frombuffer(bytes.fromhex("".join(looks)), np.uint8).reshape(len(looks), -1)
    found: set[tuple[int, int]] = set()
    for rows in candidates(packed):
        apart = _BITS[packed[rows[0]] ^ packed[rows[1]]].sum(1)
        found |= {(int(i), int(j)) for i, j in rows.T[apart <= NEAR]}
    return sorted(found)


def candidates(packed: npt.NDArray[np.uint8]) -> Iterator[npt.NDArray[np.int64]]:
    """All pairs of rows that share a pair of bands, as blocks (2, n); a pair may come again.

    Args:
        packed: (n, 64) the hashes.
    """
    bits = np.unpackbits(packed, axis=1).reshape(len(packed), -1, _BANDS)
    bands = np.packbits(bits.transpose(0, 2, 1), axis=2).view(np.uint32)[..., 0].astype(np.uint64)
    for quarter in range(_QUARTERS):
        for one, two in combinations(range(quarter, _BANDS, _QUARTERS), 2):
            yield from _sharing(bands[:, one] << np.uint64(32) | bands[:, two])


def _sharing(keys: npt.NDArray[np.uint64]) -> Iterator[npt.NDArray[np.int64]]:
    """All pairs of rows with equal keys, as blocks (2, n), the lower row first."""
    order = np.argsort(keys, kind="stable")
    ranked, first, step = keys[order], np.arange(len(keys)), 0
    while True:
        step += 1
        first = first[first + step < len(keys)]
        first = first[ranked[first] == ranked[first + step]]
        if not len(first):
            return
        yield np.stack([order[first], order[first + step]])
