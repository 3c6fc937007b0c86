import math

import numpy as np
import numpy.typing as npt
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from eye_gaze_data.config import DetectConfig
from eye_gaze_data.errors import ConfigError, DataError
from eye_gaze_data.fixations import detect_fixations, fixation_table
from eye_gaze_data.gaze import GAZE_COLUMNS

Floats = npt.NDArray[np.float64]
IVT, IDT = DetectConfig(method="ivt"), DetectConfig(method="idt")
# Onset and duration in seconds, centre in degrees; between them the eye moves.
PLANTED = [
    (0.2, 0.25, 3.0, 4.0),
    (0.5, 0.4, 9.0, 2.0),
    (0.95, 0.12, 9.0, 7.0),
    (1.12, 0.9, 2.0, 7.5),
]


def _recording(
    rate: float, *, noise: float = 0.0, jitter: float = 0.0, seed: int = 0
) -> tuple[Floats, Floats, Floats]:
    """Samples of the planted fixations; in the saccades between the eye moves at a steady pace."""
    rng = np.random.default_rng(seed)
    time = 0.2 + np.arange(int(1.82 * rate)) / rate
    time[1:-1] += rng.uniform(-jitter, jitter, len(time) - 2) / rate
    knots = [edge for onset, lasts, _, _ in PLANTED for edge in (onset, onset + lasts)]
    x = np.interp(time, knots, np.repeat([place[2] for place in PLANTED], 2))
    y = np.interp(time, knots, np.repeat([place[3] for place in PLANTED], 2))
    return x + rng.normal(0, noise, len(time)), y + rng.normal(0, noise, len(time)), time


def _steps(rate: float, noise: float, seed: int = 0) -> tuple[Floats, Floats, Floats]:
    """The same with saccades that take no time: each fixation lasts until the next one's onset."""
    rng = np.random.default_rng(seed)
    time = 0.2 + np.arange(int(1.82 * rate)) / rate
    which = np.searchsorted([place[0] - 1e-9 for place in PLANTED], time, side="right") - 1
    x, y = (np.array([place[axis] for place in PLANTED])[which] for axis in (2, 3))
    return x + rng.normal(0, noise, len(time)), y + rng.normal(0, noise, len(time)), time


@pytest.mark.parametrize("rate", [60, 250, 1000])
@pytest.mark.parametrize("noise", [0.0, 0.01])
def test_ivt_finds_planted_fixations_within_one_sample(rate: float, noise: float) -> None:
    x, y, time = _recording(rate, noise=noise)
    first, last, lasts = detect_fixations(x, y, time, IVT)
    assert len(first) == len(PLANTED)
    for i, (onset, duration, _, _) in enumerate(PLANTED):
        assert abs(time[first[i]] - onset) <= 1 / rate + 1e-9
        assert abs(lasts[i] - duration) <= 1 / rate + 1e-9
        assert lasts[i] == pytest.approx(time[last[i]] - time[first[i]] + 1 / rate)


@pytest.mark.parametrize("rate", [60, 250, 1000])
@pytest.mark.parametrize("noise", [0.0, 0.05])
@pytest.mark.parametrize("config", [IVT, IDT], ids=["ivt", "idt"])
def test_steps_are_found_within_one_sample(rate: float, noise: float, config: DetectConfig) -> None:
    if config is IVT:
        # A step of noise is fast at a high rate: the velocity threshold must stand above it.
        config = IVT.model_copy(update={"velocity": 100.0})
    x, y, time = _steps(rate, noise)
    first, _, lasts = detect_fixations(x, y, time, config)
    onsets = [place[0] for place in PLANTED]
    ends = [*onsets[1:], time[-1] + 1 / rate]
    assert len(first) == len(PLANTED)
    np.testing.assert_array_less(np.abs(time[first] - onsets), 1 / rate + 1e-9)
    np.testing.assert_array_less(np.abs(lasts - np.subtract(ends, onsets)), 1 / rate + 1e-9)


@pytest.mark.parametrize("rate", [60, 250, 1000])
def test_idt_finds_the_middle_of_fixations_between_slow_saccades(rate: float) -> None:
    """I-DT takes the slow ends of a saccade for fixation, up to its dispersion: its known error."""
    x, y, time = _recording(rate)
    first, last, _ = detect_fixations(x, y, time, IDT)
    assert len(first) == len(PLANTED)
    for i, (onset, duration, centre_x, centre_y) in enumerate(PLANTED):
        middle = (time >= onset - 1e-9) & (time < onset + duration - 1e-9)
        inside = np.flatnonzero(middle)
        assert first[i] <= inside[0]
        assert last[i] >= inside[-1] - 1
        part = slice(first[i], last[i] + 1)
        assert np.ptp(x[part]) + np.ptp(y[part]) <= 1 + 1e-9
        assert math.hypot(x[part].mean() - centre_x, y[part].mean() - centre_y) < 0.3


def test_uneven_sampling_of_60_hz_needs_no_resampling() -> None:
    """Steps of 16 and 17 ms, and a minimum duration that is no multiple of either."""
    x, y, time = _recording(60, jitter=0.2)
    for config in (IVT, IDT):
        first, _, lasts = detect_fixations(x, y, time, config)
        assert len(first) == len(PLANTED)
        for i, (onset, duration, _, _) in enumerate(PLANTED):
            assert abs(time[first[i]] - onset) <= 2.5 / 60
            assert abs(lasts[i] - duration) <= 2.5 / 60


def test_idt_returns_no_sample_too_many() -> None:
    """30 samples at one place and then a jump of 14 degrees: the jump is not of the fixation."""
    x = np.array([0.0] * 30 + [10.0] * 30)
    first, last, lasts = detect_fixations(x, x, np.arange(60) / 60, IDT)
    assert (first.tolist(), last.tolist()) == ([0, 30], [29, 59])
    np.testing.assert_allclose(lasts, [0.5, 0.5])


def test_a_blink_ends_a_fixation_and_a_short_gap_does_not() -> None:
    rate = 250
    time = np.arange(250) / rate
    for lost, parts in ((15, 1), (50, 2)):  # 60 and 200 ms
        x = np.full(250, 3.0)
        x[100 : 100 + lost] = math.nan
        for config in (IVT, IDT):
            first, last, lasts = detect_fixations(x, x, time, config)
            assert len(first) == parts
            assert (first[0], last[-1]) == (0, 249)
            if parts == 2:
                assert (last[0], first[1]) == (99, 150)
                np.testing.assert_allclose(lasts, [0.4, 0.4])
    kept = DetectConfig(method="ivt", max_gap=0.25)
    assert len(detect_fixations(x, x, time, kept)[0]) == 1


def test_missing_rows_are_a_gap_like_rows_without_a_position() -> None:
    time = np.delete(np.arange(250) / 250, slice(100, 150))
    x = np.full(len(time), 3.0)
    first, last, lasts = detect_fixations(x, x, time, IVT)
    assert (first.tolist(), last.tolist()) == ([0, 100], [99, 199])
    np.testing.assert_allclose(lasts, [0.4, 0.4])


def test_short_fixations_are_dropped_and_near_ones_merged() -> None:
    x = np.concatenate([np.full(50, 1.0), np.full(10, 5.0), np.full(50, 1.2)])
    time = np.arange(110) / 250
    first, _, lasts = detect_fixations(x, x, time, IVT)
    assert first.tolist() == [0, 60]  # 40 ms between are too short
    np.testing.assert_allclose(lasts, [0.2, 0.2])
    merging = DetectConfig(method="ivt", merge_gap=0.075, min_duration=0.1)
    away, _, _ = detect_fixations(x, x, time, merging)
    assert len(away) == 2  # the excursion between is itself a fixation, 5 degrees away
    x[50:60] = np.linspace(1, 5, 10) * (np.arange(10) % 2)
    first, last, lasts = detect_fixations(x, x, time, merging)
    assert (first.tolist(), last.tolist()) == ([0], [109])
    assert lasts[0] == pytest.approx(0.44)
    far = merging.model_copy(update={"merge_distance": 0.1})
    assert len(detect_fixations(x, x, time, far)[0]) == 2


def test_the_smoothing_of_velocities_keeps_edges() -> None:
    rng = np.random.default_rng(0)
    x = np.where(np.arange(2000) < 1000, 0.0, 5.0) + rng.normal(0, 0.05, 2000)
    time = np.arange(2000) / 1000
    rough = DetectConfig(method="ivt", smooth=0.0, velocity=30)
    assert len(detect_fixations(x, x, time, rough)[0]) == 0  # 50 deg/s from noise alone
    first, last, _ = detect_fixations(x, x, time, IVT.model_copy(update={"velocity": 100.0}))
    assert (first.tolist(), last.tolist()) == ([0, 1000], [999, 1999])


def test_times_must_increase_and_no_samples_are_no_fixations() -> None:
    for time in ([0.0, 0.1, 0.1], [0.0, 0.2, 0.1], [0.0, math.nan, 0.2]):
        with pytest.raises(DataError, match="must be known and increase"):
            detect_fixations([1.0] * 3, [1.0] * 3, time, IVT)
    for values in ([], [1.0], [math.nan] * 40):
        for config in (IVT, IDT):
            first, _, _ = detect_fixations(values, values, np.arange(len(values)) / 60, config)
            assert len(first) == 0


def _slow_idt(x: Floats, y: Floats, time: Floats, config: DetectConfig) -> list[tuple[int, int]]:
    """The algorithm as published: a window over the duration, moved on or widened by one."""
    step = float(np.median(np.diff(time)))

    def spread(a: int, b: int) -> float:
        return float(np.ptp(x[a : b + 1]) + np.ptp(y[a : b + 1]))

    found, a = [], 0
    while a < len(x):
        b = a
        while b < len(x) and time[b] - time[a] + step < config.min_duration - 1e-9:
            b += 1
        if b >= len(x):
            break
        if spread(a, b) > config.dispersion + 1e-9:
            a += 1
            continue
        while b + 1 < len(x) and spread(a, b + 1) <= config.dispersion + 1e-9:
            b += 1
        found.append((a, b))
        a = b + 1
    return found


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10_000), st.sampled_from([2, 3, 17, 64, 90]), st.floats(0.05, 3.0))
def test_idt_equals_the_published_algorithm(seed: int, n: int, dispersion: float) -> None:
    rng = np.random.default_rng(seed)
    x, y = np.cumsum(rng.normal(0, 0.2, (2, n)), 1)
    time = np.cumsum(rng.uniform(0.012, 0.02, n))
    config = DetectConfig(method="idt", dispersion=dispersion)
    first, last, _ = detect_fixations(x, y, time, config)
    assert list(zip(first.tolist(), last.tolist(), strict=True)) == _slow_idt(x, y, time, config)


def _samples() -> pd.DataFrame:
    x, y, time = _recording(250)
    parts = []
    for row, reader in ((1, "a"), (1, "b"), (0, "a")):
        part = pd.DataFrame({"row": row, "x": x * 40, "y": y * 40, "duration": 1 / 250})
        parts.append(part.assign(start=time + row, reader=reader, phase="search"))
    table = pd.concat(parts)
    table["window_x1"] = table["x"] - 5
    return table


def test_a_table_of_samples_becomes_one_of_fixations() -> None:
    samples = _samples()
    table = fixation_table(samples, IVT, np.array([40.0, 40.0]))
    assert set(table.columns) == {*GAZE_COLUMNS, "phase", "window_x1"}
    assert table.groupby(["row", "reader"]).size().to_dict() == {
        (0, "a"): 4,
        (1, "a"): 4,
        (1, "b"): 4,
    }
    one = table[(table["row"] == 1) & (table["reader"] == "b")]
    np.testing.assert_allclose(one["x"], [40 * place[2] for place in PLANTED], atol=1.0)
    np.testing.assert_allclose(one["y"], [40 * place[3] for place in PLANTED], atol=1.0)
    np.testing.assert_allclose(one["start"], [1 + place[0] for place in PLANTED], atol=0.004001)
    np.testing.assert_allclose(one["duration"], [place[1] for place in PLANTED], atol=0.004001)
    np.testing.assert_allclose(one["window_x1"], one["x"] - 5)
    assert set(one["phase"]) == {"search"}


def test_pixels_per_degree_of_samples_precede_those_of_the_image() -> None:
    samples = _samples()
    own = samples.assign(ppd_x=40.0, ppd_y=40.0)
    unknown = np.full(2, math.nan)
    found = fixation_table(own, IDT, unknown)
    expected = fixation_table(samples, IDT, np.array([40.0, 40.0]))
    np.testing.assert_allclose(found["x"], expected["x"])
    with pytest.raises(ConfigError, match="the pixels per degree of the samples are not known"):
        fixation_table(samples, IDT, unknown)


def test_a_zoom_changes_steps_and_not_the_place() -> None:
    """Far from the origin a change of the degree must not look like a saccade."""
    samples = _samples()
    samples = samples[samples["row"] == 0].assign(ppd_x=40.0, ppd_y=40.0)
    steady = fixation_table(samples, IDT, np.zeros(2))
    samples["x"] += 4000.0
    zoomed = samples["start"] > 1.4  # within the last fixation
    samples.loc[zoomed, ["ppd_x", "ppd_y"]] = 20.0
    found = fixation_table(samples, IDT, np.zeros(2))
    np.testing.assert_allclose(found["start"], steady["start"])
    np.testing.assert_allclose(found["duration"], steady["duration"])
    np.testing.assert_allclose(found["x"], steady["x"] + 4000)


def test_unsorted_samples_are_refused_with_their_reading() -> None:
    samples = _samples().iloc[::-1]
    with pytest.raises(DataError, match=r"image row 0, reader 'a': the times"):
        fixation_table(samples, IVT, np.array([40.0, 40.0]))


def test_no_samples_are_an_empty_table() -> None:
    empty = _samples().iloc[:0]
    assert len(fixation_table(empty, IVT, np.array([40.0, 40.0]))) == 0
