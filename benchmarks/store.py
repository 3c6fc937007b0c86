"""Random batches from a prepared store against torchxrayvision's data set; `data prepare`, formats.

The same films for both: a phantom in the layout of NIH ChestX-ray14. Where torchxrayvision is not
installed its place is taken by its steps, one by one (scikit-image reads, the range becomes
[-1024, 1024], a centred square is cut out and resized), and named so.
"""

import shutil
import statistics
import tempfile
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from eye_gaze_data.cohort import Cohort
from eye_gaze_data.dataset import GazeDataset
from eye_gaze_data.dicom import read_dicom
from eye_gaze_data.image_files import FileImages
from eye_gaze_data.images import read_image
from eye_gaze_data.layouts.films import write_dicom, write_jpeg, write_png
from eye_gaze_data.layouts.nih_chestxray14 import write_nih_chestxray14
from eye_gaze_data.open_cohort import open_cohort
from eye_gaze_data.phantom.config import PhantomConfig
from eye_gaze_data.readers.label_config import NihConfig
from eye_gaze_data.store.cohort import prepared_cohort
from eye_gaze_data.store.config import PreparedConfig, StoreConfig
from eye_gaze_data.store.prepare import prepare
from eye_gaze_data.store.shrink import shrink, stored_size, to_levels

from .table import Row, cpu

SIDE, FILMS, BATCH = 512, 32, 16
FILM = (3056, 2500)

Reader = Callable[[int], npt.NDArray[np.float32]]


def stand_in(paths: list[Path]) -> Reader:
    """What torchxrayvision does to a film."""
    from skimage.io import imread
    from skimage.transform import resize

    def read(row: int) -> npt.NDArray[np.float32]:
        pixels = imread(paths[row])
        pixels = pixels[:, :, 0] if pixels.ndim > 2 else pixels
        pixels = (2 * (pixels.astype(np.float32) / 255) - 1.0) * 1024
        side = min(pixels.shape)
        top, left = ((length - side) // 2 for length in pixels.shape)
        square = pixels[None, top : top + side, left : left + side]
        size = (1, SIDE, SIDE)
        resized = resize(square, size, mode="constant", preserve_range=True)  # type: ignore[no-untyped-call]
        return np.asarray(resized, np.float32)

    return read


def torchxrayvision(root: Path, films: Path) -> Reader:
    """Its data set of NIH ChestX-ray14 with its usual transforms."""
    import torchvision
    from torchxrayvision import datasets

    steps = [datasets.XRayCenterCrop(), datasets.XRayResizer(SIDE)]
    data = datasets.NIH_Dataset(
        imgpath=str(films),
        csvpath=str(next(root.glob("Data_Entry*"))),
        bbox_list_path=str(root / "BBox_List_2017.csv"),
        views=["PA", "AP"],
        unique_patients=False,
        transform=torchvision.transforms.Compose(steps),
    )
    return lambda row: np.asarray(data[row]["img"], np.float32)


def rows() -> Iterator[Row]:
    with tempfile.TemporaryDirectory() as folder:
        yield from reading(Path(folder))
        yield from preparing(Path(folder))


def reading(folder: Path) -> Iterator[Row]:
    """Random batches from the store, and from files of 1024x1024 by the peer."""
    root = folder / "nih"
    write_nih_chestxray14(root, PhantomConfig(n_patients=FILMS, height=1024, width=1024, readers=1))
    cohort = open_cohort(NihConfig(root=root), "nih")
    yield prepare_row(cohort, folder)
    prepare(cohort, folder / "ready", StoreConfig(size=SIDE))
    ready = prepared_cohort(PreparedConfig(root=folder / "ready"), "ready")
    samples = GazeDataset(ready, (SIDE, SIDE))
    paths = [Path(path) for path in cohort.table["path"]]
    peer, theirs = "torchxrayvision's steps by hand", stand_in(paths)
    if find_spec("torchxrayvision"):
        flat = folder / "flat"
        flat.mkdir()
        for path in paths:
            (flat / path.name).symlink_to(path)
        peer, theirs = "torchxrayvision", torchxrayvision(root, flat)
    rng = np.random.default_rng(0)

    def batch(read: Reader) -> Callable[[], object]:
        return lambda: np.stack([read(int(row)) for row in rng.integers(0, FILMS, BATCH)])

    what = f"random batch of {BATCH} films of {SIDE}x{SIDE} from the store"
    stored, whole = (
        batch(lambda row: ready.images(row)[None]),
        batch(lambda row: _sample(samples, row)),
    )
    yield Row(what, cpu(stored), peer, cpu(batch(theirs)))
    yield Row(f"{what}, as whole samples", cpu(whole), peer, cpu(batch(theirs)))


def prepare_row(cohort: Cohort, folder: Path) -> Row:
    """The whole of `data prepare` by one worker, tables and hashes included."""
    paths = [Path(path) for path in cohort.table["path"]]

    def ours() -> None:
        shutil.rmtree(folder / "once", ignore_errors=True)
        prepare(cohort, folder / "once", StoreConfig(size=SIDE))

    def theirs() -> None:
        (folder / "plain").mkdir(exist_ok=True)
        for path in paths:
            film = Image.open(path).convert("L").resize((SIDE, SIDE), Image.Resampling.BILINEAR)
            film.save(folder / "plain" / path.name)

    ours()
    theirs()
    ready = prepared_cohort(PreparedConfig(root=folder / "once"), "once").images
    for row, path in enumerate(paths):
        plain = np.asarray(Image.open(folder / "plain" / path.name), np.float32) / 255
        # Pillow rounds between rows and columns, and once more for colour.
        assert np.abs(ready(row) - plain).max() < 2.5 / 255

    def decoder() -> float:
        decode = cpu(lambda: [np.asarray(Image.open(path)) for path in paths])
        return statistics.median(decode() for _ in range(3))

    return Row(f"`data prepare`, {FILMS} films of 1024x1024 to {SIDE}, tables and hashes",
               cpu(ours), "a loop of Pillow's open, resize and save", cpu(theirs),
               "Pillow's decoder", decoder)  # fmt: skip


def _sample(samples: GazeDataset, row: int) -> npt.NDArray[np.float32]:
    return samples[0, row][0]["image"].numpy()


def preparing(folder: Path) -> Iterator[Row]:
    """One film of full size to a long side of 1024; the decoder is the limit."""
    from skimage.io import imread
    from skimage.transform import resize

    rows, columns = np.mgrid[0 : FILM[0], 0 : FILM[1]]
    film = 0.5 + 0.3 * np.sin(columns / 400) * np.cos(rows / 500)
    film += np.random.default_rng(0).normal(0, 0.015, film.shape)
    pixels = np.clip(film, 0, 1).astype(np.float32)
    write_png(folder / "8.png", pixels)
    write_png(folder / "16.png", pixels, bits=16)
    write_jpeg(folder / "q95.jpg", pixels)
    write_dicom(folder / "raw.dcm", pixels, bits_stored=12)
    size = stored_size(FILM, 1024)
    for name in ("8.png", "16.png", "q95.jpg", "raw.dcm"):
        path = folder / name
        images = FileImages([path], read_dicom if name.endswith("dcm") else read_image)

        def ours(images: FileImages = images) -> object:
            return to_levels(shrink(images(0), size), 8)

        def theirs(path: Path = path) -> object:
            return resize(imread(path), size, anti_aliasing=True)  # type: ignore[no-untyped-call]

        # What no preparation can do without: the file's own decoder.
        def decoder(path: Path = path) -> float:
            return statistics.median(cpu(lambda: np.asarray(Image.open(path)))() for _ in range(5))

        dicom = name.endswith("dcm")
        what = f"a film of {FILM[1]}x{FILM[0]} prepared to 1024, {name}"
        yield Row(what, cpu(ours), "" if dicom else "scikit-image", None if dicom else cpu(theirs),
                  "" if dicom else "Pillow's decoder", None if dicom else decoder)  # fmt: skip
