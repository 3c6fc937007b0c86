"""Stored predictions: made once, read again, never those of other weights."""

import gc
import shutil
import weakref
from pathlib import Path

import numpy as np
import pytest

from experiments.build import build_cohorts
from experiments.evaluate import evaluate
from experiments.finished import FinishedStage
from experiments.prediction_config import stored_temperature
from experiments.predictions import KEY, StoredPredictions
from experiments.predictor import Prediction, Predictor, resample_density
from eye_gaze_data.errors import ConfigError, DataError
from eye_gaze_data.files import read_json, write_json
from eye_gaze_data.geometry import fit_frame


@pytest.fixture
def run(evaluated_run: Path, tmp_path: Path) -> Path:
    """A copy of the evaluated run that a test may change."""
    return Path(shutil.copytree(evaluated_run, tmp_path / "run"))


def store_of(run: Path) -> StoredPredictions:
    finished = FinishedStage.load(run)
    return StoredPredictions(finished, build_cohorts(finished.config), "cpu")


def forbid_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> Predictor:
        raise AssertionError("the network was asked")

    monkeypatch.setattr(Predictor, "of_stage", refuse)


def test_other_settings_are_scored_without_the_network(
    run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = read_json(run / "evaluate" / "metrics.json")
    forbid_network(monkeypatch)
    settings = ("evaluate.grid=32", "evaluate.variants=true", "evaluate.sensitivity=0")
    found = evaluate(run, device="cpu", overrides=settings)
    assert found["grid"] == 32
    assert found["sensitivity"] == {}
    assert set(found["saliency"]["phantom"]["variants"]) >= {"model", "centre_bias"}
    after = found["diagnosis"]["phantom"]["macro_auroc"]["value"]
    assert after == before["diagnosis"]["phantom"]["macro_auroc"]["value"]
    with pytest.raises(ConfigError, match="--set seed=3"):
        evaluate(run, overrides=["seed=3"])


def test_one_prediction_is_in_memory_at_a_time(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    alive: weakref.WeakSet[Prediction] = weakref.WeakSet()
    most, plain = [], StoredPredictions.of

    def watched(store: StoredPredictions, row: int) -> Prediction:
        gc.collect()
        most.append(len(alive))
        found = plain(store, row)
        alive.add(found)
        return found

    # Predictions compare by identity here, as a set of references needs.
    monkeypatch.setattr(Prediction, "__hash__", object.__hash__)
    monkeypatch.setattr(Prediction, "__eq__", object.__eq__)
    monkeypatch.setattr(StoredPredictions, "of", watched)
    evaluate(run, device="cpu", overrides=("evaluate.cases=3", "evaluate.sensitivity=3"))
    assert len(most) >= 14 + 3 + 3
    assert max(most) <= 1


def test_what_is_read_is_what_the_network_said(run: Path) -> None:
    store = store_of(run)
    row = int(store.cohort.rows_of("test")[0])
    predictor = Predictor.of_stage(store.finished, "cpu")
    said = predictor.predict(store.cohort.images(row))
    read = store.of(row)
    assert read.density is not None
    assert said.density is not None
    assert read.density.numpy() == pytest.approx(said.density.numpy(), abs=1e-6)
    assert read.activation is not None
    assert read.activation.shape[-1] < read.density.shape[-1]
    assert read.covers == (32, 32)
    frame = fit_frame((64, 64), (48, 48), "stretch")
    grown = [resample_density(one, frame, (48, 48), "activation") for one in (said, read)]
    np.testing.assert_allclose(grown[1], grown[0], rtol=1e-4, atol=1e-8)
    assert read.logits is not None
    assert read.probabilities == pytest.approx(1 / (1 + np.exp(-read.logits)))


def test_validation_images_have_their_logits_alone(run: Path) -> None:
    store = store_of(run)
    valid, test = (store.cohort.rows_of(split) for split in ("valid", "test"))
    assert all((store.folder / f"{row:06d}.logits.npz").is_file() for row in valid)
    assert store.logits([*valid, *test]).shape == (len(valid) + len(test), 6)
    with pytest.raises(DataError, match="expected a stored prediction"):
        store.of(int(valid[0]))


def test_a_missing_file_is_made_again_and_no_other(run: Path) -> None:
    store = store_of(run)
    rows = store.cohort.rows_of("test")
    gone = store.folder / f"{rows[1]:06d}.npz"
    content = gone.read_bytes()
    gone.unlink()
    (store.folder / f".{gone.name}.half.tmp").write_bytes(b"half")
    again = store_of(run)
    again.ensure(rows)
    assert again.n_predicted == 1
    assert gone.read_bytes() == content
    assert not list(store.folder.glob(".*.tmp"))


def test_predictions_of_other_weights_are_deleted(run: Path) -> None:
    path = run / "evaluate" / "predictions" / KEY
    key = read_json(path)
    assert key["image_size"] == [32, 32]
    write_json(path, key | {"weights_sha256": "other"})
    store = store_of(run)
    assert not list(store.folder.glob("*.npz"))
    assert read_json(path) == key


def test_a_broken_file_is_named(run: Path) -> None:
    store = store_of(run)
    row = int(store.cohort.rows_of("test")[0])
    (store.folder / f"{row:06d}.npz").write_bytes(b"PK broken")
    with pytest.raises(DataError, match=rf"{row:06d}.npz: expected a stored prediction.*delete"):
        store.of(row)


def test_the_temperature_is_used_with_its_own_weights_only(run: Path) -> None:
    finished = FinishedStage.load(run)
    temperature = stored_temperature(finished)
    assert temperature is not None
    predictor = Predictor.load(run)
    film = store_of(run).cohort.images(0)
    said = predictor.predict(film)
    assert said.logits is not None
    expected = 1 / (1 + np.exp(-said.logits / np.array(temperature.temperatures)))
    assert said.probabilities == pytest.approx(expected)
    metrics = read_json(run / "evaluate" / "metrics.json")
    write_json(run / "evaluate" / "metrics.json", metrics | {"weights_sha256": "other"})
    assert stored_temperature(finished) is None
    assert Predictor.load(run).settings.temperatures is None
    (run / "evaluate" / "metrics.json").unlink()
    assert stored_temperature(finished) is None
