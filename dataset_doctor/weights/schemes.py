"""Weighting schemes: counts to weights. Pure arithmetic on the classes that have a count."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Weights = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class Counted:
    """What a scheme may look at, one entry a class with a count above 0.

    counts  float64: instances, images or pixels of the class
    within  float64: pixels of the images that hold the class, where pixels are counted; else the sum of all counts
    beta    of `effective`; power of `power`
    """

    counts: NDArray[np.float64]
    within: NDArray[np.float64]
    beta: float | None = None
    power: float | None = None

    @property
    def shares(self) -> NDArray[np.float64]:
        """Give the share of each class in all counts."""
        shares: NDArray[np.float64] = self.counts / self.counts.sum()
        return shares


def uniform(n: Counted) -> Weights:
    """Weigh all classes alike."""
    return np.ones_like(n.counts)


def inverse(n: Counted) -> Weights:
    """Weigh by all counts ÷ the class's: a class that has a tenth of them gets 10.

    >>> inverse(Counted(np.array([1.0, 9.0]), np.array([10.0, 10.0]))).round(3).tolist()
    [10.0, 1.111]
    """
    weights: Weights = n.counts.sum() / n.counts
    return weights


def balanced(n: Counted) -> Weights:
    """Weigh by the mean count ÷ the class's, as scikit-learn's `compute_class_weight("balanced")` does."""
    weights: Weights = n.counts.sum() / (len(n.counts) * n.counts)
    return weights


def root(n: Counted) -> Weights:
    """Weigh by the square root of the inverse share."""
    return np.sqrt(inverse(n))


def powered(n: Counted) -> Weights:
    """Weigh by the inverse share to a power: 0 for equal weights, 1 for `inverse`."""
    assert n.power is not None
    weights: Weights = inverse(n) ** n.power
    return weights


def median(n: Counted) -> Weights:
    """Weigh by the median frequency ÷ the class's (Eigen and Fergus, 2015).

    Where pixels are counted, a frequency is pixels of the class ÷ pixels of the images that hold it.
    """
    frequency = n.counts / n.within
    weights: Weights = np.median(frequency) / frequency
    return weights


def effective(n: Counted) -> Weights:
    """Weigh by the inverse of the effective number of samples, (1 − βⁿ) ÷ (1 − β) (Cui et al., 2019).

    The nth label of a class adds βⁿ⁻¹ of new information, so from about 1 ÷ (1 − β) labels on, more change little.

    >>> effective(Counted(np.array([1.0, 1e9]), np.array([1e9, 1e9]), beta=0.99)).round(4).tolist()
    [1.0, 0.01]
    """
    assert n.beta is not None
    # expm1 and log1p keep the digits that 1 − βⁿ loses where β is near 1.
    weights: Weights = (1 - n.beta) / -np.expm1(n.counts * np.log1p(n.beta - 1)) if n.beta else np.ones_like(n.counts)
    return weights


def enet(n: Counted) -> Weights:
    """Weigh by 1 ÷ ln(1.02 + share): never above 50.5, however rare the class (Paszke et al., 2016)."""
    weights: Weights = 1 / np.log(1.02 + n.shares)
    return weights


@dataclass(frozen=True, slots=True)
class Scheme:
    """A weighting scheme: its formula in words, and the one parameter it takes, if any."""

    weigh: Callable[[Counted], Weights]
    formula: str
    parameter: Literal["beta", "power"] | None = None


SCHEMES: dict[str, Scheme] = {
    "uniform": Scheme(uniform, "1 for every class"),
    "inverse": Scheme(inverse, "total ÷ count"),
    "balanced": Scheme(balanced, "total ÷ (classes × count)"),
    "sqrt": Scheme(root, "√(total ÷ count)"),
    "power": Scheme(powered, "(total ÷ count)^power", "power"),
    "median": Scheme(median, "median frequency ÷ frequency"),
    "effective": Scheme(effective, "(1 − β) ÷ (1 − β^count)", "beta"),
    "enet": Scheme(enet, "1 ÷ ln(1.02 + share)"),
}


def kish_efficiency(counts: NDArray[np.float64], weights: Weights) -> float:
    """Give the share of equally weighted labels that would estimate as well as these do with their weights (Kish, 1965).

    (Σ p w)² ÷ Σ p w², p being the shares: 1 for equal weights, towards 0 where few labels carry most of the weight.

    >>> kish_efficiency(np.array([90.0, 10.0]), np.array([1.0, 9.0])).__round__(2)
    0.36
    """
    shares = counts / counts.sum()
    return float((shares @ weights) ** 2 / (shares @ weights**2))


def positive_weights(images: NDArray[np.int64], n_images: int, *, power: float, cap: float) -> Weights:
    """Weigh the positive labels of each class by (images without it ÷ images with it)^power, between 1 ÷ cap and cap.

    A class that no image or every image holds has no such ratio, and gets 1.

    >>> positive_weights(np.array([100, 50, 0]), 1000, power=0.5, cap=4.0).tolist()
    [3.0, 4.0, 1.0]
    """
    usable = (images > 0) & (images < n_images)
    held = np.where(usable, images, 1).astype(np.float64)
    ratio = np.where(usable, (n_images - held) / held, 1.0)
    weights: Weights = np.clip(ratio**power, 1 / cap, cap)
    return weights
