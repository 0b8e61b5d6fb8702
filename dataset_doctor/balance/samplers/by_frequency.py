"""Samplers that repeat images by how rare their classes are: repeat factors, and class-aware sampling."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from dataset_doctor.balance.demand import ROUNDING_EPSILON, Demand, Repeats, every_class, round_randomly, within_budget

if TYPE_CHECKING:
    from scipy import sparse

QUANTILES = (0.25, 0.5, 0.75, 0.9)
"""Quantiles of the classes' frequencies that are tried as the threshold of repeat factors."""

WORTH = 0.95
"""Repeating images that leaves more than this part of the imbalance is not worth it."""

_HALVINGS = 50


def repeat_factor(demand: Demand) -> Repeats:
    """Repeat images of rare classes by the square root of how rare they are (Gupta et al., LVIS, 2019).

    An image is shown max over its classes c of max(1, sqrt(threshold ÷ frequency of c)) times; the frequency is the share of the
    images that hold c. What remains of a whole number is rounded by chance, so that the expected repeats are exact.
    """
    return _repeated(demand, image_frequency(demand))


def irfs(demand: Demand) -> Repeats:
    """Repeat as `repeat_factor`, where a class is as frequent as the geometric mean of its shares of images and of instances.

    Yaman et al., instance-aware repeat factor sampling, 2023 (arXiv 2305.08069).
    """
    return _repeated(demand, instance_frequency(demand))


def class_aware(demand: Demand) -> Repeats:
    """Draw a class with equal chance, then an image of it, until the budget is used (Shen et al., 2016); of each class one image stays.

    An image is drawn in proportion to the sum over its classes c of 1 ÷ images of c. It is shown that often up to chance rounding, at
    most `max_repeat` times; what that leaves of the budget goes to the others.
    """
    filled = ~demand.is_empty
    each = np.where(demand.is_wanted, 1 / np.maximum(demand.images, 1), 0)[demand.counts.indices]
    start = demand.counts.indptr[:-1][filled]
    weights, highest = np.zeros(demand.n_images), np.zeros(demand.n_images)
    if filled.any():
        weights[filled], highest[filled] = np.add.reduceat(each, start), np.maximum.reduceat(each, start)
    drawn = np.flatnonzero(weights)
    repeats = np.ones(demand.n_images, np.int32)
    if not len(drawn):
        return repeats
    room = demand.budget - (demand.n_images - len(drawn))
    factors = _filled(weights[drawn], max(room, 1), demand.max_repeat)
    # Along the rarest class of each image, so that every class has as many as it should.
    order = demand.rng.permutation(len(drawn))
    order = order[np.argsort(-highest[drawn][order], kind="stable")]
    repeats[drawn] = round_randomly(factors, demand.rng, order)
    return within_budget(demand, every_class(demand, repeats))


def _filled(weights: NDArray[np.float64], total: int, limit: int) -> NDArray[np.float64]:
    """Scale weights so that, cut at a limit, they add up to a total or, where the limit forbids that, to what it allows."""
    if limit * len(weights) <= total:
        return np.full(len(weights), float(limit))
    descending = np.sort(weights)[::-1]
    rest = descending.sum() - np.concatenate([[0.0], np.cumsum(descending)[:-1]])
    # With the k largest at the limit, the others share what remains; the first k for which none of those goes beyond is right.
    scale = (total - limit * np.arange(len(weights))) / np.maximum(rest, np.finfo(np.float64).tiny)
    at = int(np.argmax(scale * descending <= limit * (1 + ROUNDING_EPSILON)))
    filled: NDArray[np.float64] = np.minimum(weights * scale[at], limit)
    return filled


# Repeat factors -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Threshold:
    """Classes of a lower frequency are repeated. `quantile` is its place among the classes' frequencies, where it was taken from there.

    `asked` is what was asked for where the budget did not allow it.
    """

    value: float
    quantile: float | None = None
    asked: float | None = None


def image_frequency(demand: Demand) -> NDArray[np.float64]:
    """Give the share of the images that hold each class."""
    return demand.images / max(demand.n_images, 1)


def instance_frequency(demand: Demand) -> NDArray[np.float64]:
    """Give the geometric mean of each class's shares of the images and of the instances."""
    instances = demand.instances
    return np.sqrt(image_frequency(demand) * instances / max(int(instances.sum()), 1))


def repeat_factors(holds: sparse.csr_array[Any], frequency: NDArray[np.float64], threshold: float) -> NDArray[np.float64]:
    """Give how often repeat factor sampling shows each image: max over its classes c of max(1, sqrt(threshold ÷ frequency of c)).

    An image without labels is shown once.

    Args:
        holds: Images × classes, an entry where an image holds a class.
        frequency: Share of the images that hold each class; one that none holds is not looked at.
        threshold: Classes in a smaller share of the images than this are repeated.
    """
    factors: NDArray[np.float64] = np.maximum(1.0, np.sqrt(threshold / _scarcest(holds, frequency)))
    return factors


def _scarcest(holds: sparse.csr_array[Any], frequency: NDArray[np.float64]) -> NDArray[np.float64]:
    """Give the frequency of the rarest class of each image; infinite where it holds none."""
    lowest = np.full(holds.shape[0], np.inf)
    labelled = np.diff(holds.indptr) > 0
    if labelled.any():
        lowest[labelled] = np.minimum.reduceat(frequency[holds.indices], holds.indptr[:-1][labelled])
    return lowest


@dataclass(frozen=True, slots=True, eq=False)
class _Factors:
    """Repeat factors of the images by the threshold; `scarcest` is the frequency of the rarest class with a target of each."""

    scarcest: NDArray[np.float64]
    demand: Demand

    @classmethod
    def of(cls, demand: Demand, frequency: NDArray[np.float64]) -> _Factors:
        # A class without a target is as if every image held it.
        return cls(_scarcest(demand.counts, np.where(demand.is_wanted, frequency, np.inf)), demand)

    def at(self, threshold: float) -> NDArray[np.float64]:
        return np.clip(np.sqrt(threshold / self.scarcest), 1.0, self.demand.max_repeat)

    def fit(self, threshold: float) -> bool:
        return bool(self.at(threshold).sum() <= self.demand.budget)


def choose_threshold(demand: Demand, frequency: NDArray[np.float64]) -> Threshold:
    """Find the threshold that leaves the least imbalance within the budget, among quantiles of the classes' frequencies.

    A threshold that is asked for is taken as it is. What needs more than the budget is lowered until it fits. Chosen values have six
    figures, so that they can be written down and asked for again.
    """
    return _choose(_Factors.of(demand, frequency), frequency)


def repeats_help(demand: Demand) -> bool:
    """Tell whether repeat factors within the budget lower the imbalance of the classes by at least a twentieth."""
    wanted = demand.is_wanted
    if not wanted.any():
        return False
    frequency = image_frequency(demand)
    factors = _Factors.of(demand, frequency)
    after = (demand.counts.T @ factors.at(_choose(factors, frequency).value))[wanted]
    before = demand.instances[wanted]
    return bool(after.max() / after.min() <= WORTH * before.max() / before.min())


def _choose(factors: _Factors, frequency: NDArray[np.float64]) -> Threshold:
    demand = factors.demand
    wanted = demand.is_wanted
    if demand.threshold is not None:
        return _fitting(factors, demand.threshold, asked=demand.threshold)
    if not wanted.any():
        return Threshold(0.0)
    best, least = None, np.inf
    for quantile in QUANTILES:
        threshold = float(f"{np.quantile(frequency[wanted], quantile):.6g}")
        if factors.fit(threshold):
            after = (demand.counts.T @ factors.at(threshold))[wanted]
            if (imbalance := after.max() / after.min()) < least:
                best, least = Threshold(threshold, quantile), imbalance
    return best or _fitting(factors, float(np.quantile(frequency[wanted], QUANTILES[0])), asked=None)


def _fitting(factors: _Factors, threshold: float, *, asked: float | None) -> Threshold:
    """Lower a threshold until the budget suffices."""
    if factors.fit(threshold):
        return Threshold(threshold)
    low, high = 0.0, threshold
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        low, high = (middle, high) if factors.fit(middle) else (low, middle)
    short = float(f"{low:.6g}")
    return Threshold(short if factors.fit(short) else low, asked=asked)


def _repeated(demand: Demand, frequency: NDArray[np.float64]) -> Repeats:
    factors = _Factors.of(demand, frequency)
    return round_randomly(factors.at(_choose(factors, frequency).value), demand.rng)
