"""Predict films from files: findings, gaze density and boxes in original pixels, an overlay."""

import csv
import io
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib import colormaps
from PIL import Image, ImageDraw

from diagnosis.metrics import FilmBoxes
from eye_gaze_data.cohort import Pixels
from eye_gaze_data.errors import DataError
from eye_gaze_data.files import write_atomic, write_json, write_text
from eye_gaze_data.geometry import fit_frame
from eye_gaze_data.images import read_image

from .detection_scores import original_boxes
from .predictor import Predictor, resample_density

NOTICE = "Research use only. Not a medical device."
# An overlay shows the boxes of the highest scores; the files have all.
MOST_DRAWN = 6
SUFFIXES = {".png", ".jpg", ".jpeg", ".tif", ".tiff", ".dcm", ".dicom"}


def predict_files(
    predictor: Predictor,
    inputs: Sequence[Path],
    out: Path,
    *,
    overlay: bool = True,
    step: Callable[[], None] = lambda: None,
) -> tuple[list[dict[str, Any]], list[str]]:
    """Predict every film, one at a time, so that memory stays flat; bad files are left out.

    Args:
        predictor: of a finished stage.
        inputs: files and folders.
        out: folder for ``predictions.json``, ``predictions.csv``, ``detections.csv`` of a stage
            that gives boxes, ``*.density.npy`` and overlays.
        overlay: write a PNG of film and density, or film and boxes, too.
        step: called after each film.

    Returns:
        one record a film, and a message for each file that could not be read.

    Raises:
        DataError: if there is no film at all.
    """
    files = list(list_films(inputs))
    if not files:
        raise DataError(
            f"no film among {', '.join(map(str, inputs))} ({', '.join(sorted(SUFFIXES))})"
        )
    records, failures = [], []
    for name, path in _named(files):
        try:
            records.append(_predict_file(predictor, path, out, name, overlay=overlay))
        except DataError as error:
            failures.append(str(error))
        step()
    facts = {"notice": NOTICE, "calibrated": predictor.temperature is not None}
    write_json(out / "predictions.json", {**facts, "films": records, "failures": failures})
    write_text(out / "predictions.csv", _as_csv(records, predictor.classes))
    if any("detections" in record for record in records):
        write_text(out / "detections.csv", _boxes_csv(records))
    return records, failures


def list_films(inputs: Sequence[Path]) -> Iterator[Path]:
    """The files named, and those in the folders named, whose ending is that of an image."""
    for path in inputs:
        if path.is_dir():
            yield from sorted(p for p in path.rglob("*") if p.suffix.lower() in SUFFIXES)
        else:
            yield path


def _named(files: Sequence[Path]) -> Iterator[tuple[str, Path]]:
    """Output names: the file's stem, with a number where two share it."""
    seen: dict[str, int] = {}
    for path in files:
        seen[path.stem] = seen.get(path.stem, 0) + 1
        number = seen[path.stem]
        yield (path.stem if number == 1 else f"{path.stem}-{number}"), path


def _predict_file(
    predictor: Predictor, path: Path, out: Path, name: str, *, overlay: bool
) -> dict[str, Any]:
    pixels = read_image(path)
    prediction = predictor.predict(pixels)
    record: dict[str, Any] = {
        "file": str(path),
        "height": pixels.shape[0],
        "width": pixels.shape[1],
    }
    if prediction.probabilities is not None:
        record["findings"] = dict(zip(predictor.classes, prediction.probabilities, strict=True))
    if prediction.density is not None:
        size = (int(pixels.shape[0]), int(pixels.shape[1]))
        density = resample_density(prediction, fit_frame(size, size, "stretch"), size)
        values = density.astype(np.float32)
        record["density"] = f"{name}.density.npy"
        write_atomic(out / record["density"], lambda file: np.save(file, values))
        if overlay:
            record["overlay"] = _save_picture(out, name, draw_overlay(pixels, density))
    boxes = original_boxes(prediction, (int(pixels.shape[0]), int(pixels.shape[1])))
    if boxes is not None:
        record["detections"] = _as_records(boxes, predictor.classes)
        if overlay:
            record["overlay"] = _save_picture(out, name, draw_boxes(pixels, record["detections"]))
    return record


def _save_picture(out: Path, name: str, picture: npt.NDArray[np.uint8]) -> str:
    file_name = f"{name}.overlay.png"
    image = Image.fromarray(picture)
    write_atomic(out / file_name, lambda file: image.save(file, "PNG"))
    return file_name


def _as_records(boxes: FilmBoxes, classes: Sequence[str]) -> list[dict[str, Any]]:
    """One record a box, the best first: finding, score, corners x1, y1, x2, y2."""
    scores = np.ones(len(boxes.labels)) if boxes.scores is None else boxes.scores
    return [
        {
            "finding": classes[boxes.labels[place]],
            "score": float(scores[place]),
            "box": boxes.boxes[place].tolist(),
        }
        for place in np.argsort(-scores, kind="stable")
    ]


def draw_overlay(film: Pixels, density: npt.NDArray[np.float64]) -> npt.NDArray[np.uint8]:
    """The film with the density in colour over it, (H, W, 3).

    The colour's strength follows the density relative to its maximum.
    """
    share = density / density.max()
    colour = colormaps["inferno"](share)[..., :3]
    weight = 0.65 * np.sqrt(share)[..., None]
    mixed = (1 - weight) * film[..., None] + weight * colour
    return np.asarray(np.round(mixed * 255), np.uint8)


def draw_boxes(film: Pixels, detections: Sequence[dict[str, Any]]) -> npt.NDArray[np.uint8]:
    """The film with the boxes of the highest scores, each with finding and score, (H, W, 3).

    Args:
        film: (H, W) in [0, 1].
        detections: records with ``finding``, ``score`` and ``box``, the best first.
    """
    picture = Image.fromarray(np.round(film * 255).astype(np.uint8)).convert("RGB")
    pen = ImageDraw.Draw(picture)
    side = max(picture.size)
    for record in reversed(detections[:MOST_DRAWN]):
        x1, y1, x2, y2 = record["box"]
        pen.rectangle((x1, y1, x2, y2), outline="#35d0ff", width=max(1, side // 300))
        size = max(8, side // 40)
        text = f"{record['finding']} {record['score']:.2f}"
        pen.text((x1, max(0, y1 - size)), text, fill="#35d0ff", font_size=size)
    return np.asarray(picture, np.uint8)


def _boxes_csv(records: Sequence[dict[str, Any]]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["file", "finding", "score", "x1", "y1", "x2", "y2", "notice"])
    for record in records:
        for one in record.get("detections", ()):
            corners = [f"{corner:.2f}" for corner in one["box"]]
            row = [record["file"], one["finding"], f"{one['score']:.6f}", *corners, NOTICE]
            writer.writerow(row)
    return text.getvalue()


def _as_csv(records: Sequence[dict[str, Any]], classes: Sequence[str]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["file", "height", "width", *classes, "density", "overlay", "notice"])
    for record in records:
        findings = [f"{record['findings'][name]:.6f}" for name in classes if "findings" in record]
        findings = findings or [""] * len(classes)
        shown = [record.get("density", ""), record.get("overlay", ""), NOTICE]
        writer.writerow([record["file"], record["height"], record["width"], *findings, *shown])
    return text.getvalue()
