"""Would more data help? The baseline trained on parts of the training split, and the curve that its errors follow.

Errors of a model fall with the number of training images like a × images^-b + c, b often between 0.2 and 0.5 (Hestness et al. 2017). The
curve is fitted to the errors at several sizes and continued a little. How far it can be trusted is told by an interval, and where it
cannot be trusted at all there is no forecast but a reason: too few sizes, errors that do not fall, errors that follow no such curve, or a
question about more than four times the images (Mahmood et al. 2022 show how far off a power law then is).

Parts are nested: a smaller one lies in every larger one, so that a step along the curve adds images and exchanges none. Each seed draws
parts of its own, so that the luck of the draw is in the spread between seeds. All trainings take the same number of steps, and validation
and test split stay whole. The mean and spread of the pixels, by which images are scaled, are those of the whole training split.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from dataset_doctor.errors import UsageError
from dataset_doctor.verdict import Curve, Fit, Forecast, Point

SHARES = (1 / 8, 1 / 4, 1 / 2, 3 / 4, 1.0)
LEAST_SIZES = 4
FARTHEST = 4.0
"""How many times the images a forecast may reach."""

CONFIDENCE = 0.95
RESAMPLES = 400
_LEAST_FIT = 0.8
_LEAST_ERROR = 1e-3
_SCALE = 0.1
"""Errors further from the curve than this, as a share, count less (soft L1): an unlucky training does not bend it."""


# Parts of the training split --------------------------------------------------------------------------------------------


def nested(image: NDArray[np.int64], label: NDArray[np.int64], shares: Sequence[float], *, seed: int) -> list[NDArray[np.int64]]:
    """Draw nested parts of a split, each with the classes in about the proportions of the whole.

    Images are drawn class by class; one with several classes counts for the one that the fewest images have. Every class keeps an image
    at least, the same in all parts.

    Args:
        image: Image of each example (n).
        label: Its class (n); −1 for an image without any, which are drawn like a class.
        shares: Above 0 and up to 1.
        seed: Of the draw.

    Returns:
        For each share the images, ascending.

    >>> [part.tolist() for part in nested(np.arange(6), np.array([0, 0, 0, 0, 1, 1]), [0.5, 1], seed=0)]
    [[0, 1, 4], [0, 1, 2, 3, 4, 5]]
    """
    pairs = np.unique(np.stack([image, np.where(label < 0, label.max(initial=0) + 1, label)]), axis=1)
    images, at = np.unique(pairs[0], return_inverse=True)
    images_with = np.bincount(pairs[1])
    # The scarcest class of each image: its first in the order of image, then frequency.
    order = np.lexsort((pairs[1], images_with[pairs[1]], at))
    stratum = pairs[1][order][np.unique(at[order], return_index=True)[1]]
    place = np.random.default_rng(seed).permutation(len(images))
    place = _first_of_each_class(at, pairs[1], images_with, place)
    parts = []
    for share in shares:
        kept = np.zeros(len(images), np.bool_)
        for c in np.unique(stratum).tolist():
            mine = np.flatnonzero(stratum == c)
            n = max(round(share * len(mine)), int((place[mine] < 0).sum()))
            kept[mine[np.argsort(place[mine], kind="stable")[:n]]] = True
        parts.append(images[kept])
    return parts


def _first_of_each_class(
    at: NDArray[np.intp], label: NDArray[np.int64], images_with: NDArray[np.int64], place: NDArray[np.int64]
) -> NDArray[np.int64]:
    """Move one image of each class to the front, at places below 0; scarce classes choose first, and an image serves all it has."""
    place = place.copy()
    for c in np.argsort(images_with, kind="stable").tolist():
        mine = at[label == c]
        if len(mine) and (place[mine] >= 0).all():
            place[mine[place[mine].argmin()]] = min(int(place.min()), 0) - 1
    return place


# The curve --------------------------------------------------------------------------------------------------------------


def fit_curve(points: Sequence[Point], *, images: int | None = None, random_seed: int = 0) -> Curve:
    """Fit the curve and continue it.

    The interval comes from refitting to resamples, of sizes and within each size of seeds; it is for the score that is to be expected on
    this test split, not for that of one training.

    Args:
        points: Ascending in images; with as many scores each as there are seeds.
        images: For which the forecast is; by default twice the largest size.
        random_seed: For the resampling.

    Raises:
        UsageError: a forecast is asked for below the images there are.

    >>> exact = [Point(n / 800, n, (1 - (2 * n**-0.5 + 0.1),) * 3) for n in (100, 200, 400, 800)]
    >>> fit_curve(exact).said
    'Twice the data (1,600 images) would bring about +2.1 points (+2.1 to +2.1).'
    """
    points = tuple(points)
    largest = points[-1].images if points else 0
    wanted = 2 * largest if images is None else images
    if points and wanted < largest:
        raise UsageError(f"`images` must be at least {largest:,}, which there are, got {wanted:,}.")
    reason = _unfit(points)
    if reason is not None:
        return Curve(points, None, None, f"No forecast: {reason}.")
    n = np.array([point.images for point in points], np.float64)
    errors = np.maximum(1 - np.array([point.scores for point in points]), _LEAST_ERROR)
    fit = _fitted(np.repeat(n, errors.shape[1]), errors.ravel())
    share = _explained(n, errors, fit)
    if share < _LEAST_FIT:
        explained = f"it explains {max(share, 0) * 100:.0f} % of their changes"
        return Curve(points, None, None, f"No forecast: the errors do not follow a power law ({explained}).")
    if wanted > FARTHEST * largest:
        reach = f"{wanted:,} images are more than {FARTHEST:g} times the {largest:,} there are, where a curve says nothing"
        return Curve(points, fit, None, f"No forecast: {reach}.")
    low, high = _interval(n, errors, fit, wanted, random_seed)
    mean = 1 - fit.error(wanted)
    forecast = Forecast(wanted, mean, min(low, mean), max(high, mean))
    now = float(np.mean(points[-1].scores))
    times = wanted / largest
    data = "Twice the data" if abs(times - 2) < 0.05 else f"{times:.2g} times the data"
    gain, least, most = ((value - now) * 100 for value in (forecast.mean, forecast.low, forecast.high))
    return Curve(points, fit, forecast, f"{data} ({wanted:,} images) would bring about {gain:+.1f} points ({least:+.1f} to {most:+.1f}).")


def _unfit(points: tuple[Point, ...]) -> str | None:
    """Say why no curve can be continued from these points; None where one may be tried."""
    sizes = {point.images for point in points}
    if len(sizes) < LEAST_SIZES:
        return f"the training split is too small for parts of {LEAST_SIZES} different sizes"
    scores = np.array([point.scores for point in points])
    if not np.isfinite(scores).all():
        return "a score is not a number"
    mean = scores.mean(axis=1)
    if 1 - mean[-1] <= _LEAST_ERROR:
        return "there is next to no error left"
    seeds = scores.shape[1]
    # How far a step between two sizes goes by the luck of the seeds alone; unknown, and taken as nothing, with one seed.
    noise = 2 * float(np.sqrt(scores.var(axis=1, ddof=1).mean() * 2 / seeds)) if seeds > 1 else 0.0
    falls = np.flatnonzero(np.diff(mean) < -noise)
    if len(falls):
        first, second = points[int(falls[0])], points[int(falls[0]) + 1]
        return f"the score fell from {first.images:,} to {second.images:,} images, by more than the luck of the seeds"
    if mean[-1] - mean[0] <= noise:
        return f"from {points[0].images:,} to {points[-1].images:,} images the score rose by no more than the luck of the seeds"
    return None


def _fitted(n: NDArray[np.float64], error: NDArray[np.float64], start: Fit | None = None) -> Fit:
    """Fit the curve to errors, by their logarithms, with outliers damped.

    Args:
        n: Images (m).
        error: Above 0 (m).
        start: A curve near by; without one, several beginnings are tried.
    """
    from scipy.optimize import least_squares

    largest, least = float(n.max()), float(error.min())
    x, y = np.log(n / largest), np.log(error)
    # Parameters: the logarithm of a at the largest size, b, c.
    low, high = np.array([-20.0, 0.01, 0.0]), np.array([20.0, 3.0, least])

    def residuals(p: NDArray[np.float64]) -> NDArray[np.float64]:
        result: NDArray[np.float64] = np.log(np.exp(p[0] - p[1] * x) + p[2]) - y
        return result

    def slopes(p: NDArray[np.float64]) -> NDArray[np.float64]:
        falling = np.exp(p[0] - p[1] * x)
        result: NDArray[np.float64] = np.stack([falling, -x * falling, np.ones_like(x)], axis=1) / (falling + p[2])[:, None]
        return result

    at_largest = float(error[n == largest].mean())
    if start is None:
        beginnings = [(np.log(at_largest * (1 - part)), 0.5, at_largest * part) for part in (0.0, 0.5, 0.9)]
    else:
        beginnings = [(np.log(start.a) - start.b * np.log(largest), start.b, start.c)]
    inside = (np.clip(p, low + 1e-3 * (high - low), high - 1e-3 * (high - low)) for p in beginnings)
    found = [least_squares(residuals, p, slopes, bounds=(low, high), loss="soft_l1", f_scale=_SCALE) for p in inside]
    p = min(found, key=lambda one: float(one.cost)).x
    return Fit(float(np.exp(p[0] + p[1] * np.log(largest))), float(p[1]), float(p[2]))


def _explained(n: NDArray[np.float64], errors: NDArray[np.float64], fit: Fit) -> float:
    """Give the share of the variance of the sizes' mean errors, in the logarithm, that the curve explains."""
    y = np.log(errors.mean(axis=1))
    left = y - np.log([fit.error(size) for size in n.tolist()])
    return 1 - float((left**2).sum() / ((y - y.mean()) ** 2).sum())


def _interval(n: NDArray[np.float64], errors: NDArray[np.float64], fit: Fit, images: int, random_seed: int) -> tuple[float, float]:
    """Give the interval of the score at a number of images, from resamples of sizes, and of seeds within them."""
    rng = np.random.default_rng(random_seed)
    sizes, seeds = errors.shape
    if seeds > 1:
        # A resample of few seeds spreads less than seeds do, by this factor.
        middle = np.log(errors).mean(axis=1, keepdims=True)
        errors = np.exp(middle + (np.log(errors) - middle) * np.sqrt(seeds / (seeds - 1)))
    scores: list[float] = []
    while len(scores) < RESAMPLES:
        rows = rng.integers(0, sizes, size=(sizes,))
        if len(np.unique(rows)) < 3:
            continue
        drawn = errors[rows[:, None], rng.integers(0, seeds, (sizes, seeds))]
        scores.append(1 - _fitted(np.repeat(n[rows], seeds), drawn.ravel(), fit).error(images))
    low, high = np.quantile(scores, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    return float(low), float(high)
