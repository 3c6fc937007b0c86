"""Reading films from files, by content and not by suffix: PNG, JPEG and TIFF, and DICOM."""

import warnings
from pathlib import Path

import numpy as np
from PIL import Image

from .cohort import Pixels
from .dicom import dicom_size, is_dicom, read_dicom
from .errors import DataError

# 16-bit and 32-bit grey modes of Pillow keep their full range; all else is 8 bits a channel.
_DEEP_MODES = {"I;16": 65535.0, "I;16B": 65535.0, "I;16L": 65535.0, "I": 65535.0}


def read_image(path: Path | str) -> Pixels:
    """The grey levels of a film.

    Colour is reduced by luminance; an alpha channel is dropped. A 16-bit file is divided by 65535,
    an 8-bit one by 255, never by its own maximum; a float image must be in [0, 1] already.

    Args:
        path: a PNG, JPEG, TIFF or DICOM file.

    Returns:
        float32 (H, W) in [0, 1]; bone is bright.

    Raises:
        DataError: naming the file and what is wrong with it.
    """
    path = Path(path)
    _refuse_missing(path)
    if is_dicom(path):
        return read_dicom(path)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(path) as image:
                image.load()
                return _to_grey(image, path)
    except DataError:
        raise
    except Exception as error:  # Pillow raises whatever a broken file provokes
        raise DataError(f"{path}: expected an image, cannot read it ({error})") from error


def image_size(path: Path) -> tuple[int, int]:
    """(height, width) of an image file, from its header.

    Raises:
        DataError: naming the file and what is wrong with it.
    """
    _refuse_missing(path)
    if is_dicom(path):
        return dicom_size(path)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(path) as image:
                return image.height, image.width
    except Exception as error:  # Pillow raises whatever a broken file provokes
        raise DataError(f"{path}: expected an image, cannot read it ({error})") from error


def read_mask(path: Path, size: tuple[int, int]) -> Pixels:
    """An organ mask: float32 (H, W), 1 where the file is above half of its range.

    Raises:
        DataError: if the file cannot be read or is not of the film's size.
    """
    mask = read_image(path)
    if mask.shape != size:
        raise DataError(
            f"{path}: expected a mask of the film's size {size[1]}x{size[0]} (width x height), "
            f"found {mask.shape[1]}x{mask.shape[0]}"
        )
    return (mask > 0.5).astype(np.float32)


def _refuse_missing(path: Path) -> None:
    try:
        exists = path.is_file()
    except OSError as error:  # a name too long, for one
        raise DataError(f"{path}: the file cannot be opened ({error})") from error
    if not exists:
        raise DataError(f"{path}: the file does not exist")
    if path.stat().st_size == 0:
        raise DataError(f"{path}: the file is empty (0 bytes)")


def _to_grey(image: Image.Image, path: Path) -> Pixels:
    if image.mode in _DEEP_MODES:
        return _scaled(np.asarray(image, np.float32), _DEEP_MODES[image.mode], path)
    if image.mode == "F":
        return _scaled(np.asarray(image, np.float32), 1.0, path)
    if image.mode == "1":
        return np.asarray(image, np.float32)
    if image.mode not in {"L", "RGB"}:
        # "LA" and "RGBA" lose their alpha; palettes become the colours they stand for, by way of
        # RGBA, as Pillow warns of a palette with its own transparency otherwise.
        image = image.convert("RGBA") if image.mode == "P" else image
        image = image.convert("L" if image.mode == "LA" else "RGB")
    return np.asarray(image.convert("L"), np.float32) / 255.0


def _scaled(values: Pixels, maximum: float, path: Path) -> Pixels:
    scaled = values / np.float32(maximum)
    if not np.isfinite(scaled).all() or scaled.min() < 0 or scaled.max() > 1:
        raise DataError(
            f"{path}: expected grey levels in [0, {maximum:g}], "
            f"found [{values.min():g}, {values.max():g}]"
        )
    return scaled
