"""Predictions of a stage, stored once, so that other settings are scored without the network.

One file an image, ``evaluate/predictions/000123.npz`` by the row of the cohort's table: the density
and the boxes on the network grid, the evidence for each class at its own size, the logits; where
the logits are all that is needed, ``000123.logits.npz``. ``key.json`` beside them says of which
weights, images and image size they are; files of others are deleted.
"""

import shutil
from collections.abc import Callable, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from diagnosis.losses import probabilities
from diagnosis.metrics import FilmBoxes
from eye_gaze_data.batch import collate
from eye_gaze_data.cohort import Cohort
from eye_gaze_data.dataset import GazeDataset
from eye_gaze_data.errors import DataError
from eye_gaze_data.files import read_json, remove_leftovers, sha256_of, write_atomic, write_json
from eye_gaze_data.geometry import fit_frame, valid_pixels

from .allocator import freed_memory_kept
from .anatomy_source import ensure_masks
from .finished import FinishedStage
from .predictor import Prediction, Predictor

KEY = "key.json"
Rows = Sequence[int] | npt.NDArray[np.int64]


class StoredPredictions:
    """The predictions of a finished stage on disk.

    Args:
        finished: the stage.
        cohort: of the run.
        device: where the network runs if it is needed: ``auto``, ``cpu`` or ``cuda``.
        step: called after each image that was predicted.

    Attributes:
        n_predicted: images that the network was needed for.
    """

    def __init__(
        self,
        finished: FinishedStage,
        cohort: Cohort,
        device: str = "auto",
        step: Callable[[], None] = lambda: None,
    ) -> None:
        self.finished, self.cohort, self.device, self.step = finished, cohort, device, step
        self.folder = finished.run / "evaluate" / "predictions"
        self.n_predicted = 0
        self._begin()

    def ensure(self, rows: Rows, *, maps: bool = True) -> None:
        """Predict the rows that are not stored yet, a batch at a time.

        Args:
            rows: which.
            maps: false stores the logits alone.
        """
        size = self.finished.stage.batch_size
        batches = [
            [int(row) for row in rows[start : start + size]] for start in range(0, len(rows), size)
        ]
        wanted = [part for part in batches if self._missing(part, maps=maps)]
        if not wanted:
            return
        with freed_memory_kept(keep=self._predictor.device.type == "cpu"):
            for part in wanted:
                self._predict(part, maps=maps)

    def _missing(self, rows: list[int], *, maps: bool) -> list[int]:
        return [row for row in rows if self._stored(row, maps=maps) is None]

    def _predict(self, rows: list[int], *, maps: bool) -> None:
        """The whole batch: the last digits of a prediction depend on its neighbours."""
        missing = self._missing(rows, maps=maps)
        batch = collate([self._dataset[0, row] for row in rows])
        for row, one in zip(rows, self._predictor.predict_batch(batch), strict=True):
            if row in missing:
                _write(self._path(row, maps=maps), one, maps=maps)
                self.n_predicted += 1
                self.step()

    def of(self, row: int) -> Prediction:
        """The prediction of a row that ``ensure`` was called with.

        The probabilities are the network's own, whatever temperature was fitted.

        Raises:
            DataError: if the file cannot be read.
        """
        data, original = self.finished.stage.data, self.cohort.size_of(row)
        arrays = self._read(row)
        frame = fit_frame(original, data.image_size, data.fit, data.stride)
        maps = {
            name: torch.from_numpy(arrays[name])
            for name in ("density", "evidence")
            if name in arrays
        }
        logits = arrays.get("logits")
        covers = tuple(int(side) for side in arrays.get("covers", ()))
        return Prediction(
            frame,
            valid_pixels(original, frame, data.image_size),
            maps.get("density"),
            None if logits is None else self.probabilities(logits[None])[0],
            maps.get("evidence"),
            (covers[0], covers[1]) if covers else None,
            logits,
            _boxes(arrays),
        )

    def logits(self, rows: Rows) -> npt.NDArray[np.float64]:
        """The logits (n, C) of some rows."""
        found = [self._read(int(row), maps=False)["logits"] for row in rows]
        return np.array(found, np.float64).reshape(-1, len(self.finished.classes))

    def probabilities(self, logits: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        """(n, C) the network's own probabilities of logits."""
        found = probabilities(torch.from_numpy(logits), exclusive=self.finished.exclusive)
        return np.asarray(found.numpy(), np.float64)

    def _begin(self) -> None:
        """Delete what belongs to other weights, images or sizes."""
        key = self._key()
        remove_leftovers(self.folder)
        path = self.folder / KEY
        if not path.is_file() or read_json(path) != key:
            shutil.rmtree(self.folder, ignore_errors=True)
            write_json(path, key)

    def _key(self) -> dict[str, Any]:
        stage, config = self.finished.stage, self.finished.config
        files = [_stamp(str(path)) for path in self.cohort.table["path"]]
        cohorts = {name: cohort.model_dump(mode="json") for name, cohort in config.cohorts.items()}
        return {
            "stage": stage.name,
            "weights_sha256": self.finished.weights_sha256,
            "data_sha256": sha256_of(list(self.cohort.table["image_id"]), files, cohorts),
            "image_size": list(stage.data.image_size),
            "fit": stage.data.fit,
            "stride": stage.data.stride,
            "classes": list(self.finished.classes),
            "maps": "density and evidence of each class",
        }

    @cached_property
    def _predictor(self) -> Predictor:
        return Predictor.of_stage(self.finished, self.device)

    @cached_property
    def _dataset(self) -> GazeDataset:
        data, anatomy = self.finished.stage.data, self.finished.stage.anatomy
        if anatomy is not None and anatomy.source == "stage":
            hashes = read_json(self.finished.run / "manifest.json")["cohorts"]
            segmenter = FinishedStage.load(self.finished.run, anatomy.stage)
            ensure_masks(segmenter, self.cohort, hashes, self.device)
        return GazeDataset(
            self.cohort,
            data.image_size,
            self.finished.config.seed,
            fit=data.fit,
            stride=data.stride,
            classes=self.finished.classes,
            anatomy=self._predictor.anatomy,
        )

    def _path(self, row: int, *, maps: bool) -> Path:
        return self.folder / f"{row:06d}{'' if maps else '.logits'}.npz"

    def _stored(self, row: int, *, maps: bool) -> Path | None:
        """The file that has what is asked for; None if it is not there yet."""
        paths = [self._path(row, maps=True)] + ([] if maps else [self._path(row, maps=False)])
        return next((path for path in paths if path.is_file()), None)

    def _read(self, row: int, *, maps: bool = True) -> dict[str, npt.NDArray[Any]]:
        path = self._stored(row, maps=maps) or self._path(row, maps=maps)
        try:
            with np.load(path, allow_pickle=False) as file:
                return {name: file[name] for name in file.files}
        except (OSError, ValueError, EOFError) as error:
            raise DataError(
                f"{path}: expected a stored prediction, cannot read it ({error}); delete "
                f"{self.folder} and evaluate again"
            ) from error


def _write(path: Path, prediction: Prediction, *, maps: bool) -> None:
    values: dict[str, npt.NDArray[Any]] = {}
    if maps and prediction.density is not None:
        values["density"] = prediction.density.numpy()
    if maps and prediction.evidence is not None:
        values["evidence"] = prediction.evidence.numpy()
        values["covers"] = np.array(prediction.covers)
    if prediction.logits is not None:
        values["logits"] = prediction.logits
    if prediction.detections is not None:
        found = prediction.detections
        values |= {"boxes": found.boxes, "box_labels": found.labels}
        values["box_scores"] = np.array(found.scores)
    write_atomic(path, lambda file: np.savez(file, **values))  # type: ignore[arg-type]


def _boxes(arrays: dict[str, npt.NDArray[Any]]) -> FilmBoxes | None:
    if "boxes" not in arrays:
        return None
    return FilmBoxes(arrays["boxes"], arrays["box_labels"], arrays.get("box_scores"))


def _stamp(path: str) -> list[int]:
    """Size and time of a film's file; nothing of a film that is drawn or stored elsewhere."""
    if not path or not Path(path).is_file():
        return []
    found = Path(path).stat()
    return [found.st_size, found.st_mtime_ns]
