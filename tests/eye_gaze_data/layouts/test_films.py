import sys
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from eye_gaze_data.errors import DataError
from eye_gaze_data.images import image_size, read_image
from eye_gaze_data.layouts.films import write_dicom, write_jpeg, write_png

# Higher than wide, an odd number of pixels, no two alike under any turn or mirror.
FILM: npt.NDArray[np.float32] = (np.arange(13 * 7).reshape(13, 7) / 90).astype(np.float32) ** 2


@pytest.mark.parametrize(("bits", "colour"), [(8, False), (16, False), (8, True)])
def test_png_keeps_every_level(tmp_path: Path, bits: int, colour: bool) -> None:
    path = tmp_path / "sub" / "a.png"
    write_png(path, FILM, bits, colour=colour)  # type: ignore[arg-type]
    assert image_size(path) == (13, 7)
    np.testing.assert_allclose(read_image(path), FILM, atol=0.51 / (2**bits - 1))
    with Image.open(path) as image:
        assert image.mode == {(8, False): "L", (16, False): "I;16", (8, True): "RGBA"}[bits, colour]


def test_jpeg_is_grey_and_near(tmp_path: Path) -> None:
    smooth = np.add.outer(np.linspace(0, 0.7, 24), np.linspace(0, 0.2, 16)).astype(np.float32)
    write_jpeg(tmp_path / "a.jpg", smooth)
    np.testing.assert_allclose(read_image(tmp_path / "a.jpg"), smooth, atol=0.02)
    with Image.open(tmp_path / "a.jpg") as image:
        assert (image.mode, image.format) == ("L", "JPEG")


@pytest.mark.parametrize("photometric", ["MONOCHROME1", "MONOCHROME2"])
@pytest.mark.parametrize("bits", [8, 10, 12, 14, 16])
def test_dicom_is_upright_and_bone_bright(tmp_path: Path, photometric: str, bits: int) -> None:
    pydicom = pytest.importorskip("pydicom")
    path = tmp_path / "a.dicom"
    write_dicom(
        path, FILM, photometric=photometric, bits_stored=bits, ids={"PatientID": "p7"}  # type: ignore[arg-type]
    )  # fmt: skip
    np.testing.assert_allclose(read_image(path), FILM, atol=0.51 / (2**bits - 1))
    assert image_size(path) == (13, 7)
    header = pydicom.dcmread(path)
    assert header.PatientID == "p7"
    assert header.PhotometricInterpretation == photometric
    assert (header.BitsStored, header.BitsAllocated) == (bits, 8 if bits == 8 else 16)


def test_the_same_film_gives_the_same_bytes(tmp_path: Path) -> None:
    pytest.importorskip("pydicom")
    for folder in ("one/s1", "two/s1"):
        write_png(tmp_path / folder / "a.png", FILM)
        write_jpeg(tmp_path / folder / "a.jpg", FILM)
        write_dicom(tmp_path / folder / "a.dcm", FILM)
    for name in ("a.png", "a.jpg", "a.dcm"):
        first, second = (tmp_path / folder / name for folder in ("one/s1", "two/s1"))
        assert first.read_bytes() == second.read_bytes()


def test_without_pydicom_no_dicom_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pydicom.dataset", None)
    message = r"a.dcm: writing DICOM needs pydicom; pip install 'gazedx\[dicom\]'"
    with pytest.raises(DataError, match=message):
        write_dicom(tmp_path / "a.dcm", np.zeros((4, 4), np.float32))
    assert not list(tmp_path.iterdir())
