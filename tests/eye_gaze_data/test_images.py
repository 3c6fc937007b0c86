import csv
import io
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from eye_gaze_data.errors import DataError
from eye_gaze_data.images import image_size, read_image, read_mask

Array = npt.NDArray[np.generic]
SHARED = Path(__file__).parents[3] / "shared" / "data" / "real-cxr"

# Higher than wide, no two pixels alike under any turn or mirror.
GREY = np.arange(12 * 7, dtype=np.uint8).reshape(12, 7) * 3


@pytest.fixture
def films() -> Path:
    if not SHARED.is_dir():
        pytest.skip("no shared radiographs beside the repository")
    return SHARED


def _save(path: Path, pixels: Array | Image.Image, **options: object) -> Path:
    image = pixels if isinstance(pixels, Image.Image) else Image.fromarray(pixels)
    image.save(path, **options)  # type: ignore[arg-type]
    return path


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


def test_eight_bits_are_divided_by_255_and_stay_upright(tmp_path: Path) -> None:
    for name in ("a.png", "a.tif", "a.bmp", "a.gif"):
        path = _save(tmp_path / name, GREY)
        read = read_image(path)
        assert read.dtype == np.float32
        np.testing.assert_array_equal(read, GREY.astype(np.float32) / 255)
        assert image_size(path) == (12, 7)


def test_a_dark_film_is_not_stretched_to_its_own_maximum(tmp_path: Path) -> None:
    assert read_image(_save(tmp_path / "a.png", GREY // 8)).max() == np.float32((83 * 3 // 8) / 255)


def test_sixteen_bits_are_divided_by_65535(tmp_path: Path) -> None:
    deep = GREY.astype(np.uint16) * 257 - (GREY > 0)
    expected = deep.astype(np.float64) / 65535
    for name in ("a.png", "a.tif"):
        np.testing.assert_allclose(read_image(_save(tmp_path / name, deep)), expected, rtol=1e-6)
    swapped = tmp_path / "big_endian.tif"
    header = b"MM\0*\0\0\0\x08" + b"\0\x08"
    tags = [
        (256, 3, 7 << 16), (257, 3, 12 << 16), (258, 3, 16 << 16), (259, 3, 1 << 16),
        (262, 3, 1 << 16), (273, 4, 110), (278, 3, 12 << 16), (279, 4, 168),
    ]  # fmt: skip
    for tag, kind, value in tags:
        header += b"".join(
            n.to_bytes(k, "big") for n, k in ((tag, 2), (kind, 2), (1, 4), (value, 4))
        )
    swapped.write_bytes(header + b"\0" * (110 - len(header)) + deep.astype(">u2").tobytes())
    np.testing.assert_allclose(read_image(swapped), expected, rtol=1e-6)


def test_colour_becomes_luminance_and_alpha_is_dropped(tmp_path: Path) -> None:
    colour = np.random.default_rng(0).integers(0, 256, (9, 5, 4), dtype=np.uint8)
    luminance = colour[..., :3] @ [0.299, 0.587, 0.114] / 255
    for name, pixels in (("rgb.png", colour[..., :3]), ("rgba.png", colour)):
        read = read_image(_save(tmp_path / name, np.ascontiguousarray(pixels)))
        np.testing.assert_allclose(read, luminance, atol=0.51 / 255)
    grey_alpha = np.stack([GREY, 255 - GREY], -1)
    read = read_image(_save(tmp_path / "la.png", grey_alpha))
    np.testing.assert_array_equal(read, GREY.astype(np.float32) / 255)


def test_a_palette_stands_for_its_colours(tmp_path: Path) -> None:
    index = Image.fromarray(GREY // 3).convert("L")
    image = Image.new("P", (7, 12))
    image.putdata(list(index.tobytes()))
    image.putpalette([level for i in range(256) for level in (255 - i, 255 - i, 255 - i)])
    expected = (255 - GREY // 3).astype(np.float32) / 255
    np.testing.assert_array_equal(read_image(_save(tmp_path / "p.png", image)), expected)
    # Transparency in the palette is dropped like any alpha, and without Pillow's warning.
    path = _save(tmp_path / "t.png", image, transparency=bytes([0, 128] + [255] * 254))
    np.testing.assert_array_equal(read_image(path), expected)


def test_one_bit_is_black_and_white(tmp_path: Path) -> None:
    bits = GREY % 2 == 0
    for name in ("a.png", "a.tif"):
        np.testing.assert_array_equal(read_image(_save(tmp_path / name, bits)), bits)


def test_jpeg_is_close_to_what_was_saved(tmp_path: Path) -> None:
    rows, columns = np.mgrid[0:64, 0:40]
    smooth = (rows * 2 + columns * 3).astype(np.uint8)
    read = read_image(_save(tmp_path / "a.jpeg", smooth, quality=98))
    np.testing.assert_allclose(read, smooth / 255, atol=3 / 255)
    ink = _save(tmp_path / "cmyk.jpg", Image.fromarray(smooth).convert("CMYK"), quality=98)
    np.testing.assert_allclose(read_image(ink), smooth / 255, atol=5 / 255)


def test_a_float_film_must_be_in_range_already(tmp_path: Path) -> None:
    values = GREY.astype(np.float32) / 251
    np.testing.assert_array_equal(read_image(_save(tmp_path / "a.tif", values)), values)
    wrong = _save(tmp_path / "b.tif", values * 4096)
    with pytest.raises(DataError, match=r"b.tif: expected grey levels in \[0, 1\], found \[0, 40"):
        read_image(wrong)
    nan = _save(tmp_path / "c.tif", np.where(GREY == 3, np.nan, values).astype(np.float32))
    with pytest.raises(DataError, match=r"c.tif: expected grey levels"):
        read_image(nan)
    wide = _save(tmp_path / "d.tif", GREY.astype(np.int32) * 1000)
    with pytest.raises(DataError, match=r"d.tif: expected grey levels in \[0, 65535\]"):
        read_image(wide)


def test_files_that_are_no_films_are_named(tmp_path: Path) -> None:
    for read in (read_image, image_size):
        with pytest.raises(DataError, match=r"gone.png: the file does not exist"):
            read(tmp_path / "gone.png")
        with pytest.raises(DataError, match="does not exist"):
            read(tmp_path)
        with pytest.raises(DataError, match="cannot be opened"):
            read(tmp_path / ("a" * 5000))
        empty = tmp_path / "empty.png"
        empty.touch()
        with pytest.raises(DataError, match=r"empty.png: the file is empty \(0 bytes\)"):
            read(empty)
        text = tmp_path / "text.png"
        text.write_text("image,label\na.png,1\n")
        with pytest.raises(DataError, match=r"text.png: expected an image, cannot read it"):
            read(text)


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".tif", ".bmp"])
def test_a_truncated_film_is_named(tmp_path: Path, suffix: str) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (64, 64), dtype=np.uint8)
    path = _save(tmp_path / f"cut{suffix}", noise)
    path.write_bytes(path.read_bytes()[:-2000])
    with pytest.raises(DataError, match=f"cut{suffix}: expected an image, cannot read it"):
        read_image(path)


def test_an_absurd_size_is_refused_without_a_traceback(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = _save(tmp_path / "a.png", GREY)
    for limit in (50, 20):  # Pillow warns above the limit and raises above twice the limit
        monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", limit)
        for read in (read_image, image_size):
            with pytest.raises(DataError, match=r"a.png: expected an image"):
                read(path)


def test_a_mask_is_binary_and_of_the_films_size(tmp_path: Path) -> None:
    levels = np.array([[0, 127, 128], [1, 255, 200]], np.uint8)
    path = _save(tmp_path / "m.png", levels)
    mask = read_mask(path, (2, 3))
    assert mask.dtype == np.float32
    assert mask.tolist() == [[0, 0, 1], [0, 1, 1]]
    with pytest.raises(DataError, match=r"size 2x3 \(width x height\), found 3x2"):
        read_mask(path, (3, 2))


def _png() -> bytes:
    file = io.BytesIO()
    Image.fromarray(GREY).save(file, "PNG")
    return file.getvalue()


def _bmp() -> bytes:
    file = io.BytesIO()
    Image.fromarray(GREY).save(file, "BMP")
    return file.getvalue()


@pytest.fixture(scope="module")
def scratch(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("scratch")


@pytest.mark.parametrize("make", [_png, _bmp])
@settings(max_examples=80, deadline=None)
@given(data=st.data())
def test_a_damaged_film_loads_or_is_refused(
    scratch: Path, make: Callable[[], bytes], data: st.DataObject
) -> None:
    damaged = bytearray(make())
    for _ in range(data.draw(st.integers(0, 3))):
        damaged[data.draw(st.integers(0, len(damaged) - 1))] = data.draw(st.integers(0, 255))
    path = scratch / "damaged"
    path.write_bytes(damaged[: data.draw(st.integers(1, len(damaged)))])
    for read in (read_image, image_size):
        with suppress(DataError):
            read(path)


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


def test_real_films_have_the_size_of_their_labels(films: Path) -> None:
    with (films / "labels.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 904
    for number, row in enumerate(rows):
        size = int(row["height"]), int(row["width"])
        assert image_size(films / row["image"]) == size
        if number % 9 == 0:
            pixels = read_image(films / row["image"])
            assert pixels.shape == size
            assert 0 <= pixels.min() < 0.3 < 0.6 < pixels.max() <= 1
