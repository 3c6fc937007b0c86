import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from eye_gaze_data.dicom import read_legacy
from eye_gaze_data.errors import DataError
from eye_gaze_data.images import image_size, read_image

Array = npt.NDArray[np.generic]
SHARED = Path(__file__).parents[3] / "shared" / "data" / "real-cxr"

# Higher than wide, no two pixels alike under any turn or mirror.
GREY = np.arange(12 * 7, dtype=np.uint8).reshape(12, 7) * 3


@pytest.fixture(scope="module")
def scratch(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("scratch")


@pytest.fixture
def films() -> Path:
    if not SHARED.is_dir():
        pytest.skip("no shared radiographs beside the repository")
    return SHARED


def _dicom(path: Path, stored: Array, **header: object) -> Path:
    """A minimal film; ``header`` adds to it or, with None, takes away from it."""
    pydicom = pytest.importorskip("pydicom")
    meta = pydicom.dataset.FileMetaDataset()
    meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.1"
    meta.MediaStorageSOPInstanceUID = "1.2.3"
    meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
    film = pydicom.dataset.FileDataset(str(path), {}, file_meta=meta, preamble=b"\0" * 128)
    bits = 8 * stored.dtype.itemsize
    signed = stored.dtype.kind == "i"
    elements = {
        "SOPClassUID": "1.2.840.10008.5.1.4.1.1.1", "SOPInstanceUID": "1.2.3",
        "Rows": stored.shape[0], "Columns": stored.shape[1], "SamplesPerPixel": 1,
        "PhotometricInterpretation": "MONOCHROME2", "BitsAllocated": bits, "BitsStored": bits,
        "HighBit": bits - 1, "PixelRepresentation": int(signed), "PixelData": stored.tobytes(),
    }  # fmt: skip
    for name, value in (elements | header).items():
        if value is not None:
            setattr(film, name, value)
    if "PixelData" in film:
        film["PixelData"].VR = "OB" if bits == 8 else "OW"
    film.save_as(path, enforce_file_format=True)
    return path


def _lut(values: Sequence[int], first: int, bits: int, *, packed: str = "") -> Array | list[object]:
    """A sequence with one lookup table, its data as numbers or as bytes."""
    pydicom = pytest.importorskip("pydicom")
    item = pydicom.dataset.Dataset()
    descriptor = pydicom.dataelem.DataElement("LUTDescriptor", "US", [len(values), first, bits])
    item.add(descriptor)
    data: object = np.asarray(values, packed).tobytes() if packed else list(values)
    item.add(pydicom.dataelem.DataElement("LUTData", "OW" if packed else "US", data))
    return [item]


def test_dicom_uses_the_stored_bits_not_the_allocated(tmp_path: Path) -> None:
    stored = GREY.astype(np.uint16) * 16
    path = _dicom(tmp_path / "a.dcm", stored, BitsStored=12, HighBit=11)
    np.testing.assert_allclose(read_image(path), stored / 4095, rtol=1e-6)
    assert image_size(path) == (12, 7)
    byte = _dicom(tmp_path / "b.dcm", GREY)
    np.testing.assert_array_equal(read_image(byte), GREY.astype(np.float32) / 255)


def test_monochrome1_equals_its_monochrome2_twin(tmp_path: Path) -> None:
    stored = GREY.astype(np.uint16) * 16
    headers: list[dict[str, object]] = [
        {},
        {"RescaleSlope": 2, "RescaleIntercept": -100},
        {"VOILUTFunction": "LINEAR_EXACT", "WindowCenter": 2047.5, "WindowWidth": 3000},
    ]
    for header in headers:
        header = {"BitsStored": 12, "HighBit": 11, **header}
        bright = read_image(_dicom(tmp_path / "2.dcm", stored, **header))
        one = {**header, "PhotometricInterpretation": "MONOCHROME1"}
        dark = read_image(_dicom(tmp_path / "1.dcm", 4095 - stored, **one))
        np.testing.assert_allclose(dark, bright, atol=1e-6)
        assert np.ptp(bright) > 0.9


@pytest.mark.parametrize(("slope", "intercept"), [(1, 0), (2, -600), (0.5, 10), (-1, 4095)])
def test_rescaled_values_are_shown_over_the_rescaled_range(
    tmp_path: Path, slope: float, intercept: float
) -> None:
    stored = GREY.astype(np.uint16) * 16
    header = {"BitsStored": 12, "RescaleSlope": slope, "RescaleIntercept": intercept}
    path = _dicom(tmp_path / "a.dcm", stored, **header)
    expected = stored / 4095 if slope > 0 else 1 - stored / 4095
    np.testing.assert_allclose(read_image(path), expected, atol=1e-6)


def test_half_a_rescale_is_none(tmp_path: Path) -> None:
    path = _dicom(tmp_path / "a.dcm", GREY, RescaleSlope=3)
    np.testing.assert_array_equal(read_image(path), GREY.astype(np.float32) / 255)


def test_signed_values_start_at_the_lowest(tmp_path: Path) -> None:
    stored = GREY.astype(np.int16) * 8 - 1000
    path = _dicom(tmp_path / "a.dcm", stored, BitsStored=12)
    np.testing.assert_allclose(read_image(path), (stored + 2048) / 4095, rtol=1e-6)


@pytest.mark.parametrize(("slope", "intercept"), [(1, 0), (2, -600), (-1, 4095)])
def test_a_window_maps_its_ends_to_black_and_white(
    tmp_path: Path, slope: float, intercept: float
) -> None:
    stored = GREY.astype(np.uint16) * 16
    header = {"BitsStored": 12, "RescaleSlope": slope, "RescaleIntercept": intercept}
    window = {"WindowCenter": [2000, 9], "WindowWidth": [1001, 1]}
    path = _dicom(tmp_path / "a.dcm", stored, **header, **window)
    # DICOM part 3, C.11.2.1.2: linear between centre - 0.5 -+ (width - 1) / 2.
    shown = (stored * float(slope) + intercept - 1999.5) / 1000 + 0.5
    np.testing.assert_allclose(read_image(path), np.clip(shown, 0, 1), atol=1e-6)


def test_a_sigmoid_window_is_smooth(tmp_path: Path) -> None:
    stored = GREY.astype(np.uint16) * 16
    window = {"WindowCenter": 2000, "WindowWidth": 1000, "VOILUTFunction": "SIGMOID"}
    path = _dicom(tmp_path / "a.dcm", stored, BitsStored=12, **window)
    np.testing.assert_allclose(
        read_image(path), 1 / (1 + np.exp(-4 * (stored - 2000.0) / 1000)), atol=1e-6
    )


@pytest.mark.parametrize("packed", ["", "<u2"])
@pytest.mark.parametrize("rescale", [{}, {"RescaleSlope": 1, "RescaleIntercept": 0}])
@pytest.mark.parametrize("bits", [8, 12, 16])
def test_a_voi_lut_is_looked_up(
    tmp_path: Path, packed: str, rescale: dict[str, object], bits: int
) -> None:
    stored = GREY.astype(np.uint16) * 16
    # Longer than its own bits count, as a 12 bit film shown on 8 bits has it.
    table = [round((i / 2999) ** 2 * (2**bits - 1)) for i in range(3000)]
    sequence = _lut(table, 500, bits, packed=packed)
    path = _dicom(tmp_path / "a.dcm", stored, BitsStored=12, VOILUTSequence=sequence, **rescale)
    index = [[min(max(int(value) - 500, 0), 2999) for value in row] for row in stored]
    expected = np.array([[table[i] for i in row] for row in index]) / (2**bits - 1)
    np.testing.assert_allclose(read_image(path), expected, atol=1e-6)


def test_a_voi_lut_of_bytes_is_looked_up(tmp_path: Path) -> None:
    table = [255 - i // 2 for i in range(256)]
    sequence = _lut(table, 0, 8, packed="u1")
    path = _dicom(tmp_path / "a.dcm", GREY, VOILUTSequence=sequence)
    np.testing.assert_allclose(read_image(path), np.array(table)[GREY] / 255, atol=1e-6)


def test_a_modality_lut_has_its_own_range(tmp_path: Path) -> None:
    table = [1000 - 3 * i for i in range(256)]
    sequence = _lut(table, 0, 16)
    path = _dicom(tmp_path / "a.dcm", GREY, ModalityLUTSequence=sequence)
    np.testing.assert_allclose(read_image(path), np.array(table)[GREY] / 65535, atol=1e-6)


def test_a_film_without_a_suffix_or_named_by_its_uid_is_a_dicom(tmp_path: Path) -> None:
    for name in ("film", "1.2.840.113619", "a.DCM", "b.dicom"):
        path = _dicom(tmp_path / name, GREY)
        np.testing.assert_array_equal(read_image(path), GREY.astype(np.float32) / 255)
        assert image_size(path) == (12, 7)


def test_broken_dicoms_are_named(tmp_path: Path) -> None:
    def refused(path: Path, message: str) -> None:
        with pytest.raises(DataError, match=f"{path.name}: {message}"):
            read_image(path)

    refused(_dicom(tmp_path / "no.dcm", GREY, PixelData=None), "the DICOM file has no pixel data")
    short = _dicom(tmp_path / "short.dcm", GREY, PixelData=GREY.tobytes()[:20])
    refused(short, "cannot decode the pixels of transfer syntax 'Explicit VR Little Endian'")
    text = tmp_path / "text.dcm"
    text.write_text("not a film")
    refused(text, "expected a DICOM file, cannot read it")
    colour = np.zeros((4, 15), np.uint8)
    rgb: dict[str, object] = {"SamplesPerPixel": 3, "PlanarConfiguration": 0, "Columns": 5}
    rgb["PhotometricInterpretation"] = "RGB"
    refused(_dicom(tmp_path / "rgb.dcm", colour, **rgb), "expected one grey frame, found")
    frames = _dicom(tmp_path / "frames.dcm", GREY, Rows=6, NumberOfFrames=2)
    refused(frames, r"expected one grey frame, found pixels of shape \(2, 6, 7\)")
    palette = _dicom(tmp_path / "p.dcm", GREY, PhotometricInterpretation="PALETTE COLOR")
    refused(palette, "expected grey levels, found 'PALETTE COLOR'")
    window = _dicom(tmp_path / "w.dcm", GREY, WindowCenter=100, WindowWidth=0)
    refused(window, "cannot apply the rescale, window or LUT of the DICOM header .*Window Width")
    flat = _dicom(tmp_path / "flat.dcm", GREY, RescaleSlope=0, RescaleIntercept=3)
    refused(flat, "expected grey levels, found 'MONOCHROME2' from 3 to 3")
    nothing = _dicom(tmp_path / "no_size.dcm", GREY, Rows=None, PixelData=None)
    with pytest.raises(DataError, match=r"no_size.dcm: the DICOM header has no image size"):
        image_size(nothing)


def test_a_truncated_dicom_is_named(tmp_path: Path) -> None:
    path = _dicom(tmp_path / "cut.dcm", GREY)
    whole = path.read_bytes()
    for length in (140, 400, len(whole) - 30):
        path.write_bytes(whole[:length])
        with pytest.raises(DataError, match=r"cut.dcm: "):
            read_image(path)


@settings(max_examples=80, deadline=None)
@given(data=st.data())
def test_a_damaged_dicom_loads_or_is_refused(scratch: Path, data: st.DataObject) -> None:
    path = scratch / "damaged.dcm"
    damaged = bytearray(_dicom(path, GREY, WindowCenter=100, WindowWidth=50).read_bytes())
    for _ in range(data.draw(st.integers(1, 3))):
        damaged[data.draw(st.integers(128, len(damaged) - 1))] = data.draw(st.integers(0, 255))
    path.write_bytes(damaged)
    for read in (read_image, image_size):
        with suppress(DataError):
            read(path)


def test_real_dicoms_show_bone_bright_and_equal_their_twins(films: Path) -> None:
    pytest.importorskip("pydicom")
    folder = films / "dicom"

    def halved(pixels: Array, factor: int) -> npt.NDArray[np.float64]:
        rows, columns = pixels.shape[0] // factor, pixels.shape[1] // factor
        cells = pixels[: rows * factor, : columns * factor].astype(np.float64)
        return np.asarray(cells.reshape(rows, factor, columns, factor).mean((1, 3)))

    # MONOCHROME1, 12 bits in 16, windowed: the saved JPEG is the same film at half the size.
    inverted = halved(read_image(folder / "wrapped_nih_monochrome1_12bit.dcm"), 2)
    twin = read_image(films / "nih" / "00000981_000.jpg")
    assert np.corrcoef(inverted.ravel(), twin.ravel())[0, 1] > 0.998
    assert np.abs(inverted - twin).mean() < 0.01
    # MONOCHROME2, 12 bits in 16, rescale slope 2, intercept -600, windowed.
    rescaled = read_image(folder / "wrapped_hannover_monochrome2_rescale_12bit.dcm")
    np.testing.assert_allclose(rescaled, read_image(films / "full" / "mhh-fff13f3a.png"), atol=2e-4)
    # As published, 8 bits.
    plain = halved(read_image(folder / "nih_00000001_000.dcm"), 16)
    with np.load(films / "nih64" / "images.npz") as file:
        small = file[file.files[0]][0] / 255
    assert np.corrcoef(plain.ravel(), small.ravel())[0, 1] > 0.99
    # As published, MONOCHROME1, run-length coded: the mediastinum is brighter than the lungs.
    portable = read_image(folder / "pseudo_phi_cr_monochrome1.dcm")
    assert portable.shape == image_size(folder / "pseudo_phi_cr_monochrome1.dcm") == (1760, 2140)
    middle = portable[700:1100].mean(0)
    assert middle[1000:1140].mean() > max(middle[550:750].min(), middle[1400:1600].min()) + 0.1


def test_padding_is_black_and_does_not_stretch_the_range(tmp_path: Path) -> None:
    """Collimator shutters are stored as one odd value, white after the inversion of MONOCHROME1."""
    stored = np.array([[0, 4095, 100], [4000, 65535, 65535]], np.uint16)
    header = {"BitsStored": 12, "HighBit": 11, "PixelPaddingValue": 65535}
    read = read_image(_dicom(tmp_path / "a.dcm", stored, **header))
    expected = np.array([[0, 1, 100 / 4095], [4000 / 4095, 0, 0]])
    np.testing.assert_allclose(read, expected, rtol=1e-6)
    inverted = _dicom(tmp_path / "b.dcm", stored, **header, PhotometricInterpretation="MONOCHROME1")
    expected = np.array([[1, 0, 1 - 100 / 4095], [1 - 4000 / 4095, 0, 0]])
    np.testing.assert_allclose(read_image(inverted), expected, atol=1e-6)


def test_padding_may_be_a_range(tmp_path: Path) -> None:
    stored = np.array([[10, 20, 30, 200]], np.uint8)
    header = {"PixelPaddingValue": 30, "PixelPaddingRangeLimit": 20}
    read = read_image(_dicom(tmp_path / "a.dcm", stored, **header))
    np.testing.assert_allclose(read, [[10 / 255, 0, 0, 200 / 255]], rtol=1e-6)
    twice = _dicom(tmp_path / "b.dcm", stored, PixelPaddingValue=[20, 30])
    with pytest.raises(DataError, match=r"b.dcm: the padding value '\[20, 30\]' is no number"):
        read_image(twice)


def test_too_few_stored_bits_in_the_header_do_not_cut_the_film(tmp_path: Path) -> None:
    """Headers that state 8 or 10 bits over 12-bit values: the range is that of the values' bits."""
    stored = (GREY.astype(np.uint16) * 16)[:, ::-1]
    assert stored.max() > 2**10
    right = read_image(_dicom(tmp_path / "a.dcm", stored, BitsStored=12, HighBit=11))
    for bits in (8, 10):
        wrong = _dicom(tmp_path / "b.dcm", stored, BitsStored=bits, HighBit=bits - 1)
        np.testing.assert_array_equal(read_image(wrong), right)
    odd = _dicom(tmp_path / "c.dcm", stored, BitsStored=12, HighBit=15)
    np.testing.assert_array_equal(read_image(odd), right)


def test_too_few_stored_bits_of_signed_values(tmp_path: Path) -> None:
    stored = np.array([[-2048, 0, 2047]], np.int16)
    header = {"BitsStored": 8, "HighBit": 7}
    read = read_image(_dicom(tmp_path / "a.dcm", stored, **header))
    np.testing.assert_allclose(read, [[0, 2048 / 4095, 1]], rtol=1e-6)


def test_an_overlay_in_the_unused_bits_is_dropped(tmp_path: Path) -> None:
    pydicom = pytest.importorskip("pydicom")
    stored = GREY.astype(np.uint16)
    marked = stored | (np.eye(12, 7, dtype=np.uint16) << 12)
    path = _dicom(tmp_path / "a.dcm", marked, BitsStored=12, HighBit=11)
    film = pydicom.dcmread(path)
    film.add_new((0x6000, 0x0102), "US", 12)
    film.save_as(path)
    np.testing.assert_allclose(read_image(path), stored / 4095, rtol=1e-6)


def test_signed_values_without_their_sign_in_the_unused_bits(tmp_path: Path) -> None:
    stored = np.array([[0xFFF, 0x800, 0x7FF, 0]], np.int16)
    path = _dicom(tmp_path / "a.dcm", stored, BitsStored=12, HighBit=11)
    expected = (np.array([[-1, -2048, 2047, 0]]) + 2048) / 4095
    np.testing.assert_allclose(read_image(path), expected, rtol=1e-6)


def test_stated_bits_are_the_range_where_the_film_is_dark(tmp_path: Path) -> None:
    dark = np.array([[0, 100], [200, 255]], np.uint16)
    read = read_image(_dicom(tmp_path / "a.dcm", dark, BitsStored=12, HighBit=11))
    np.testing.assert_allclose(read, dark / 4095, rtol=1e-6)


@pytest.mark.parametrize("name", ["film.dcm", "film.dicom", "film.jpg", "film"])
def test_a_picture_is_read_by_content_whatever_its_suffix(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    Image.fromarray(GREY).save(path, "PNG")
    np.testing.assert_array_equal(read_image(path), GREY / np.float32(255))
    assert image_size(path) == (12, 7)


def test_a_dicom_called_png_is_read_by_content(tmp_path: Path) -> None:
    path = _dicom(tmp_path / "film.png", GREY)
    np.testing.assert_allclose(read_image(path), GREY / 255, rtol=1e-6)
    assert image_size(path) == (12, 7)


def test_colour_and_several_frames_are_refused(tmp_path: Path) -> None:
    frames = np.zeros((2, 12, 7), np.uint8)
    several = _dicom(tmp_path / "a.dcm", GREY, PixelData=frames.tobytes(), NumberOfFrames=2)
    with pytest.raises(DataError, match=r"a.dcm: expected one grey frame, found .*\(2, 12, 7\)"):
        read_image(several)
    header = {"SamplesPerPixel": 3, "PhotometricInterpretation": "RGB", "PlanarConfiguration": 0}
    colour = np.zeros((12, 7, 3), np.uint8)
    path = _dicom(tmp_path / "b.dcm", GREY, PixelData=colour.tobytes(), **header)
    with pytest.raises(DataError, match=r"b.dcm: expected one grey frame, found .*\(12, 7, 3\)"):
        read_image(path)


def test_a_missing_decoder_is_named_with_the_extra(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pydicom = pytest.importorskip("pydicom")
    path = _dicom(tmp_path / "a.dcm", GREY)
    film = pydicom.dcmread(path)
    film.file_meta.TransferSyntaxUID = pydicom.uid.JPEGLSLossless
    film.PixelData = pydicom.encaps.encapsulate([b"\xff\xd8\xff\xf7\0\0"])
    film["PixelData"].VR = "OB"
    film["PixelData"].is_undefined_length = True
    film.save_as(path)
    message = r"'JPEG-LS Lossless.* may need pip install 'gazedx\[dicom\]'"
    with pytest.raises(DataError, match=message):
        read_image(path)
    monkeypatch.setitem(sys.modules, "pydicom", None)
    message = r"reading DICOM needs pydicom; pip install 'gazedx\[dicom\]'"
    with pytest.raises(DataError, match=message):
        read_image(path)


def test_the_legacy_reading_is_the_stored_values_over_their_maximum(tmp_path: Path) -> None:
    """No rescale, no window, no inversion: what the paper's code does."""
    stored = GREY.astype(np.uint16) * 4
    header = {"BitsStored": 12, "HighBit": 11, "WindowCenter": 300, "WindowWidth": 200}
    path = _dicom(tmp_path / "a.dcm", stored, PhotometricInterpretation="MONOCHROME1", **header)
    read = read_legacy(path)
    assert read.dtype == np.float32
    np.testing.assert_allclose(read, stored / stored.max(), rtol=1e-6)
    with pytest.raises(DataError, match="a maximum above 0, found 0 to 0"):
        read_legacy(_dicom(tmp_path / "b.dcm", np.zeros((3, 3), np.uint16)))
    with pytest.raises(DataError, match="expected stored values from 0"):
        read_legacy(_dicom(tmp_path / "c.dcm", np.array([[-1, 5]], np.int16)))
