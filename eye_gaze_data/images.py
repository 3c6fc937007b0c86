"""Reading films from files: PNG, JPEG and TIFF by Pillow, DICOM by pydicom."""

import warnings
from pathlib import Path

import numpy as np
from PIL import Image

from .cohort import Pixels
from .errors import DataError

_DICOM = {".dcm", ".dicom"}
# 16-bit and 32-bit grey modes of Pillow keep their full range; all else is 8 bits a channel.
_DEEP_MODES = {"I;16": 65535.0, "I;16B": 65535.0, "I;16L": 65535.0, "I": 65535.0}


def read_image(path: Path) -> Pixels:
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
    _refuse_missing(path)
    if path.suffix.lower() in _DICOM or (path.suffix == "" and _is_dicom(path)):
        return _read_dicom(path)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(path) as image:
                image.load()
                return _to_grey(image, path)
    except DataError:
        raise
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombWarning) as error:
        raise DataError(f"{path}: expected an image, cannot read it ({error})") from error


def image_size(path: Path) -> tuple[int, int]:
    """(height, width) of an image file, from its header.

    Raises:
        DataError: naming the file and what is wrong with it.
    """
    _refuse_missing(path)
    if path.suffix.lower() in _DICOM or (path.suffix == "" and _is_dicom(path)):
        dataset = _open_dicom(path, pixels=False)
        return int(dataset.Rows), int(dataset.Columns)
    try:
        with Image.open(path) as image:
            return image.height, image.width
    except (OSError, ValueError, SyntaxError) as error:
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
    if not path.is_file():
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
        # "LA" and "RGBA" lose their alpha; palettes become the colours they stand for.
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


def _is_dicom(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(132)[128:] == b"DICM"


def _open_dicom(path: Path, *, pixels: bool):  # type: ignore[no-untyped-def]  # noqa: ANN202
    try:
        import pydicom
    except ImportError as error:
        raise DataError(
            f"{path}: reading DICOM needs pydicom; pip install 'gazedx[dicom]'"
        ) from error
    try:
        return pydicom.dcmread(path, stop_before_pixels=not pixels)
    except Exception as error:  # pydicom raises whatever a broken file provokes
        raise DataError(f"{path}: expected a DICOM file, cannot read it ({error})") from error


def _read_dicom(path: Path) -> Pixels:
    """Stored values -> modality LUT -> VOI LUT or window -> MONOCHROME1 inverted -> [0, 1]."""
    from pydicom.pixels import apply_modality_lut, apply_voi_lut

    dataset = _open_dicom(path, pixels=True)
    if "PixelData" not in dataset:
        raise DataError(f"{path}: the DICOM file has no pixel data")
    try:
        stored = dataset.pixel_array
    except Exception as error:  # a missing decoder or a truncated stream
        raise DataError(
            f"{path}: cannot decode the pixels of transfer syntax "
            f"'{dataset.file_meta.TransferSyntaxUID.name}' ({error}); compressed files may need "
            "pip install 'gazedx[dicom]'"
        ) from error
    if stored.ndim != 2:
        raise DataError(f"{path}: expected one grey frame, found pixels of shape {stored.shape}")
    values = np.asarray(apply_voi_lut(apply_modality_lut(stored, dataset), dataset), np.float64)
    low, high = _dicom_range(dataset)
    grey = np.clip((values - low) / (high - low), 0, 1)
    inverted = str(dataset.PhotometricInterpretation) == "MONOCHROME1"
    return np.asarray(1 - grey if inverted else grey, np.float32)


def _dicom_range(dataset) -> tuple[float, float]:  # type: ignore[no-untyped-def]  # noqa: ANN001
    """The range that maps to [0, 1]: that of the stored bits, never that of this one film.

    pydicom stretches a window over the range of the stored bits after the modality LUT, so one
    range serves films with and without a window; a VOI LUT states its own output bits.
    """
    if "VOILUTSequence" in dataset:
        return 0.0, float(2 ** int(dataset.VOILUTSequence[0].LUTDescriptor[2]) - 1)
    slope = float(getattr(dataset, "RescaleSlope", 1))
    intercept = float(getattr(dataset, "RescaleIntercept", 0))
    bits, signed = int(dataset.BitsStored), int(getattr(dataset, "PixelRepresentation", 0))
    low = -(2 ** (bits - 1)) if signed else 0
    ends = (low * slope + intercept, (low + 2**bits - 1) * slope + intercept)
    return min(ends), max(ends)
