"""The learning curve: parts that are nested and balanced, a fit that finds what it is shown, and no forecast where none is due."""

from __future__ import annotations

import dataclasses
import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from dataset_doctor.errors import UsageError
from dataset_doctor.formats import read
from dataset_doctor.trials import classification, verify
from dataset_doctor.trials.studies import learning_curve
from dataset_doctor.trials.studies.learning_curve import SHARES, Point, fit_curve, nested
from tests.trials.drawn import QUICK, write_folders

SIZES = (125, 250, 500, 750, 1000)


# Parts ------------------------------------------------------------------------------------------------------------------


@st.composite
def labelled(draw: st.DrawFn) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Images with one or more classes each, some without any (-1)."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    n, k = draw(st.integers(1, 60)), draw(st.integers(1, 6))
    image = rng.integers(0, draw(st.integers(1, 40)), n) * 3
    label = rng.choice(k, n, p=rng.dirichlet(np.full(k, 0.5)))
    without = 1 + 3 * np.arange(draw(st.integers(0, 5)))
    return np.concatenate([image, without]), np.concatenate([label, np.full(len(without), -1)])


@settings(max_examples=80, deadline=None)
@given(labelled(), st.integers(0, 100))
def test_parts_are_nested_and_lose_no_class(split: tuple[NDArray[np.int64], NDArray[np.int64]], seed: int) -> None:
    """Each part lies in the next, the last is the whole, every class (and the absence of any) is in all, and the seed is obeyed."""
    image, label = split
    parts = nested(image, label, SHARES, seed=seed)

    assert all(set(smaller.tolist()) <= set(larger.tolist()) for smaller, larger in itertools.pairwise(parts))
    assert parts[-1].tolist() == np.unique(image).tolist()
    for part in parts:
        assert set(label[np.isin(image, part)].tolist()) == set(label.tolist())
    assert all(np.array_equal(one, other) for one, other in zip(parts, nested(image, label, SHARES, seed=seed), strict=True))


@settings(max_examples=50, deadline=None)
@given(st.lists(st.integers(1, 40), min_size=1, max_size=6), st.integers(0, 100))
def test_parts_of_images_with_one_class_are_stratified(counts: list[int], seed: int) -> None:
    """Each class has its share, rounded, and one at least."""
    label = np.repeat(np.arange(len(counts)), counts)
    for share, part in zip(SHARES, nested(np.arange(len(label)), label, SHARES, seed=seed), strict=True):
        assert np.bincount(label[part], minlength=len(counts)).tolist() == [max(round(share * n), 1) for n in counts]


def test_seeds_draw_other_parts() -> None:
    """So that the luck of the draw is among what the seeds differ in."""
    first, other = (nested(np.arange(80), np.arange(80) % 4, [0.25], seed=seed)[0] for seed in (0, 1))

    assert len(first) == len(other) == 20
    assert first.tolist() != other.tolist()


# The curve --------------------------------------------------------------------------------------------------------------


def measured(a: float, b: float, c: float, *, noise: float = 0.0, seeds: int = 3, rng: int = 0) -> list[Point]:
    """Scores along a curve, with errors off by a share."""
    luck = np.exp(np.random.default_rng(rng).normal(0, noise, (len(SIZES), seeds)))
    return [Point(n / 1000, n, tuple(1 - (a * n**-b + c) * luck[at])) for at, n in enumerate(SIZES)]


@pytest.mark.parametrize(("a", "b", "c"), [(2.0, 0.4, 0.05), (5.0, 0.6, 0.0), (1.0, 0.25, 0.1)])
def test_a_curve_without_noise_is_found_exactly(a: float, b: float, c: float) -> None:
    """All three numbers, and with them the forecast, from 2000 to 4000 images."""
    curve = fit_curve(measured(a, b, c))

    assert curve.fit is not None and curve.forecast is not None
    np.testing.assert_allclose(dataclasses.astuple(curve.fit), (a, b, c), rtol=0.02, atol=2e-3)
    assert curve.forecast.images == 2000
    assert curve.forecast.mean == pytest.approx(1 - (a * 2000.0**-b + c), abs=1e-3)
    assert curve.forecast.high - curve.forecast.low < 0.01
    far = fit_curve(measured(a, b, c), images=4000).forecast
    assert far is not None and far.mean == pytest.approx(1 - (a * 4000.0**-b + c), abs=3e-3)


def test_the_interval_mostly_holds_the_truth_and_widens_with_noise(monkeypatch: pytest.MonkeyPatch) -> None:
    """With errors off by 4 %, in nine curves of ten or more; with less noise it is narrower."""
    monkeypatch.setattr(learning_curve, "RESAMPLES", 60)
    truth = 1 - (3 * 2000**-0.35 + 0.05)
    found = [fit_curve(measured(3, 0.35, 0.05, noise=0.04, rng=rng)).forecast for rng in range(20)]
    told = [one for one in found if one is not None]
    calm = [fit_curve(measured(3, 0.35, 0.05, noise=0.01, rng=rng)).forecast for rng in range(5)]

    assert len(told) >= 18
    assert sum(one.low <= truth <= one.high for one in told) >= 0.85 * len(told)
    width = np.mean([one.high - one.low for one in told])
    assert 0.01 < width < 0.2
    assert all(one is not None and one.high - one.low < width for one in calm)


def test_one_unlucky_training_does_not_bend_the_curve() -> None:
    """One of three seeds that is 20 points worse at the largest size pulls its mean down by 7, and the forecast by half of that at most."""
    points = measured(3, 0.35, 0.05, noise=0.01)
    *scores, _ = points[-1].scores
    points[-1] = dataclasses.replace(points[-1], scores=(*scores, scores[0] - 0.2))

    curve = fit_curve(points)

    assert curve.forecast is not None
    assert curve.forecast.mean == pytest.approx(1 - (3 * 2000**-0.35 + 0.05), abs=0.035)


def test_it_is_said_in_points() -> None:
    """What more data brings is told against the mean of the largest size."""
    curve = fit_curve(measured(2, 0.5, 0.1), images=3000)

    gain = 100 * (2 * 1000**-0.5 - 2 * 3000**-0.5)
    assert curve.said.startswith(f"3 times the data (3,000 images) would bring about +{gain:.1f} points (")


@pytest.mark.parametrize(
    ("scores", "reason"),
    [
        ([(0.5, 0.51), (0.6, 0.61), (0.45, 0.46), (0.65, 0.66), (0.7, 0.71)], "the score fell from 250 to 500 images"),
        ([(0.5, 0.7), (0.52, 0.66), (0.55, 0.65), (0.53, 0.68), (0.5, 0.72)], "the score rose by no more than the luck of the seeds"),
        ([(0.6,), (0.61,), (0.60,), (0.65,), (0.66,)], "the score fell from 250 to 500 images"),
        ([(0.5, 0.5), (0.5, 0.5), (0.5, 0.5), (0.5, 0.5), (0.9, 0.9)], "do not follow a power law"),
        ([(0.9, 0.9), (0.95, 0.96), (0.98, 0.99), (1.0, 1.0), (1.0, 1.0)], "next to no error left"),
        ([(0.5, 0.5), (0.6, 0.6), (0.7, float("nan"))], "too small for parts of 4 different sizes"),
        ([(0.5, 0.5), (0.6, 0.6), (0.7, 0.7), (0.7, float("nan"))], "a score is not a number"),
        ([], "too small for parts of 4 different sizes"),
    ],
)
def test_where_no_forecast_is_due_there_is_a_reason(scores: list[tuple[float, ...]], reason: str) -> None:
    """Neither a curve nor a number, and one sentence."""
    curve = fit_curve([Point(n / 1000, n, one) for n, one in zip(SIZES, scores, strict=False)])

    assert curve.fit is None and curve.forecast is None
    assert curve.said.startswith("No forecast: ") and reason in curve.said


def test_scores_by_chance_are_refused_mostly() -> None:
    """Noise around one level shows no curve."""
    draws = np.random.default_rng(0).normal(0.7, 0.02, (20, len(SIZES), 3))
    curves = [fit_curve([Point(n / 1000, n, tuple(one)) for n, one in zip(SIZES, draw, strict=True)]) for draw in draws]

    assert sum(curve.forecast is None for curve in curves) >= 18


def test_nothing_is_said_of_five_times_the_images() -> None:
    """The curve is there, the forecast is not."""
    curve = fit_curve(measured(2, 0.4, 0.05), images=5000)

    assert curve.fit is not None and curve.forecast is None
    assert "5,000 images are more than 4 times the 1,000 there are" in curve.said
    with pytest.raises(UsageError, match="at least 1,000"):
        fit_curve(measured(2, 0.4, 0.05), images=500)


# In a comparison --------------------------------------------------------------------------------------------------------


def test_the_baseline_is_trained_on_parts_and_they_are_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Four parts by two seeds; the whole is the baseline's own trainings; a second call trains none; test and val stay whole."""
    root = write_folders(tmp_path / "things", {"train": (24, 12, 8), "val": (3, 3, 3), "test": (12, 12, 12)})
    seen: list[tuple[int, int]] = []
    real = classification.run

    def watched(trial: Any, data: Any) -> Any:
        repeats = trial.treatment.repeats
        seen.append((trial.seed, 44 if repeats is None else int(repeats.sum())))
        return real(trial, data)

    monkeypatch.setattr(classification, "run", watched)
    quick = dataclasses.replace(QUICK, steps=4, evaluations=1)

    def extras() -> Any:
        return verify(read(root), arms="weights:uniform", settings=quick, seeds=2, device="cpu", learning_curve=True,
                      state_dir=tmp_path / "state")  # fmt: skip

    first = extras()
    n = len(seen)
    again = extras()
    curve = first.to_dict()["learning_curve"]

    # Two arms by two seeds, and four parts by two seeds; then nothing.
    assert n == len(seen) == 2 * 2 + 4 * 2
    assert sorted(set(seen)) == [(seed, images) for seed in (0, 1) for images in (6, 11, 22, 33, 44)]
    assert set(curve) == {"points", "fit", "forecast", "said"}
    assert [(point["share"], point["images"]) for point in curve["points"]] == list(zip(SHARES, (6, 11, 22, 33, 44), strict=True))
    assert curve["points"][-1]["scores"] == [run.metrics["balanced_accuracy"] for run in first.arms[0].seeds]
    assert again.to_dict()["learning_curve"] == curve


def test_a_split_too_small_to_be_divided_is_not_trained_on_in_parts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Three images give no four sizes: nothing is trained to say so."""
    root = write_folders(tmp_path / "things", {"train": (2, 1), "val": (2, 2), "test": (3, 3)})
    calls: list[str] = []
    real = classification.run
    monkeypatch.setattr(classification, "run", lambda trial, data: (calls.append(trial.arm.name), real(trial, data))[1])
    quick = dataclasses.replace(QUICK, steps=2, evaluations=1)

    verdict = verify(read(root), arms="weights:uniform", settings=quick, seeds=1, device="cpu", learning_curve=True, state_dir=None)

    assert calls == ["baseline", "weights:uniform"]
    assert [point.images for point in verdict.learning_curve.points] == [3]
    assert verdict.learning_curve.said == "No forecast: the training split is too small for parts of 4 different sizes."
