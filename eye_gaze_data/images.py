"""Reading films from files: PNG, JPEG and TIFF by Pillow, DICOM by pydicom."""

import warnings
from pathlib import Path

import numpy as np
import numpy.typing as npt
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
    if _is_dicom(path):
        return _read_dicom(path)
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
    if _is_dicom(path):
        dataset = _open_dicom(path, pixels=False)
        try:
            return int(dataset.Rows), int(dataset.Columns)
        except Exception as error:  # missing, empty or unreadable
            raise DataError(f"{path}: the DICOM header has no image size ({error})") from error
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


def _is_dicom(path: Path) -> bool:
    """By suffix or by content: many archives name files by a UID, whose end is no suffix."""
    if path.suffix.lower() in _DICOM:
        return True
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
    dataset = _open_dicom(path, pixels=True)
    if "PixelData" not in dataset:
        raise DataError(f"{path}: the DICOM file has no pixel data")
    try:
        stored = dataset.pixel_array
    except Exception as error:  # a missing decoder or a truncated stream
        raise DataError(
            f"{path}: cannot decode the pixels of transfer syntax "
            f"'{getattr(dataset.file_meta.get('TransferSyntaxUID'), 'name', 'unknown')}' "
            f"({error}); compressed files may need pip install 'gazedx[dicom]'"
        ) from error
    if stored.ndim != 2:
        raise DataError(f"{path}: expected one grey frame, found pixels of shape {stored.shape}")
    try:
        values, low, high = _displayed(stored, dataset)
        kind = str(dataset.PhotometricInterpretation)
    except Exception as error:  # pydicom raises whatever an odd header provokes
        raise DataError(
            f"{path}: cannot apply the rescale, window or LUT of the DICOM header ({error})"
        ) from error
    if kind not in {"MONOCHROME1", "MONOCHROME2"} or not 0 < abs(high - low) < np.inf:
        raise DataError(f"{path}: expected grey levels, found '{kind}' from {low:g} to {high:g}")
    grey = np.clip((values - low) / (high - low), 0, 1)
    return np.asarray(1 - grey if kind == "MONOCHROME1" else grey, np.float32)


def _displayed(  # type: ignore[no-untyped-def]
    stored: npt.NDArray[np.generic],
    dataset,  # noqa: ANN001
) -> tuple[npt.NDArray[np.float64], float, float]:
    """Values after modality LUT and VOI LUT or window, and the two ends that map to 0 and 1.

    The ends are those of the stored bits after the modality LUT, never of this one film. pydicom
    stretches a window over them, from the first to the second: with a negative slope they fall.
    Its VOI LUT wraps indices above the LUT's own bits and warns of rescaled values: ours does not.
    """
    from pydicom.pixels import apply_modality_lut, apply_windowing

    values = np.asarray(apply_modality_lut(stored, dataset), np.float64)
    luts = dataset.get("VOILUTSequence")
    if luts and "LUTDescriptor" in luts[0] and "LUTData" in luts[0]:
        count, first, bits = (int(number) for number in luts[0].LUTDescriptor)
        table = luts[0].LUTData
        if isinstance(table, bytes):
            table = np.frombuffer(table, f"<u{len(table) // (count or 2**16)}")
        index = np.clip(np.rint(values) - first, 0, len(table) - 1).astype(np.int64)
        return np.asarray(table, np.float64)[index], 0.0, 2.0**bits - 1
    low, high = _range_of_bits(dataset)
    if dataset.get("WindowCenter") is not None and dataset.get("WindowWidth") is not None:
        return apply_windowing(values, dataset), low, high
    return values, min(low, high), max(low, high)


def _range_of_bits(dataset) -> tuple[float, float]:  # type: ignore[no-untyped-def]  # noqa: ANN001
    """What the smallest and the largest number of the stored bits become by the modality LUT."""
    if dataset.get("ModalityLUTSequence"):
        return 0.0, 2.0 ** int(dataset.ModalityLUTSequence[0].LUTDescriptor[2]) - 1
    bits, signed = int(dataset.BitsStored), int(dataset.get("PixelRepresentation") or 0)
    low = -(2 ** (bits - 1)) if signed else 0
    slope, intercept = dataset.get("RescaleSlope"), dataset.get("RescaleIntercept")
    if slope is None or intercept is None:
        return low, low + 2**bits - 1
    return low * slope + intercept, (low + 2**bits - 1) * slope + intercept
