"""Demand: what a sampler is asked for; and the arithmetic that samplers share."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from scipy import sparse

ROUNDING_EPSILON = 1e-9
"""What binary fractions may leave of a whole number."""

Repeats = NDArray[np.int32]
"""How often each image is shown; 0 where it is dropped."""


@dataclass(frozen=True, eq=False)
class Demand:
    """What a sampler is asked for, about the images of one split.

    counts      instances, images × classes, whole numbers
    target      float64, one a class: wanted instances in the result; NaN where the class is ignored when balancing
    budget      images in the result at most, those without instances included
    max_repeat  how often an image is shown at most
    rng         where chance is used
    threshold   of repeat factors, a share of the images; None to choose it from the data
    min_repeat  of `optimal`, how often an image with instances is shown at least: 1, or 0 where it may be dropped
    """

    counts: sparse.csr_array[Any]
    target: NDArray[np.float64]
    budget: int
    max_repeat: int
    rng: np.random.Generator
    threshold: float | None = None
    min_repeat: int = 1

    @property
    def n_images(self) -> int:
        """Images of the split."""
        return int(self.counts.shape[0])

    @property
    def n_classes(self) -> int:
        """Classes, those without instances included."""
        return int(self.counts.shape[1])

    @cached_property
    def instances(self) -> NDArray[np.int64]:
        """Instances of each class."""
        return instances_of(self.counts, np.ones(self.n_images, np.int32))

    @cached_property
    def images(self) -> NDArray[np.int64]:
        """Images that hold each class."""
        return np.bincount(self.counts.indices, minlength=self.n_classes)

    @cached_property
    def is_wanted(self) -> NDArray[np.bool_]:
        """Tell for each class whether it has instances and a target."""
        return ~np.isnan(self.target) & (self.images > 0)

    @cached_property
    def is_empty(self) -> NDArray[np.bool_]:
        """Tell for each image whether it holds no instance of any class."""
        empty: NDArray[np.bool_] = np.diff(self.counts.indptr) == 0
        return empty


def instances_of(counts: sparse.csr_array[Any], repeats: NDArray[Any]) -> NDArray[np.int64]:
    """Count the instances of each class where images are shown so often."""
    made: NDArray[np.int64] = counts.T @ repeats.astype(np.int64)
    return made


def held_by(counts: sparse.csr_array[Any], rows: NDArray[Any]) -> tuple[NDArray[np.intp], NDArray[Any], NDArray[Any]]:
    """Give the entries of some rows one after another: the place in `rows`, the class and the number of instances of each."""
    start = counts.indptr[rows].astype(np.intp)
    size = counts.indptr[rows + 1] - start
    place = np.repeat(np.arange(len(rows)), size)
    entry = np.arange(len(place)) - np.repeat(np.cumsum(size) - size, size) + start[place]
    return place, counts.indices[entry], counts.data[entry]


def round_randomly(factors: NDArray[np.float64], rng: np.random.Generator, order: NDArray[np.intp] | None = None) -> Repeats:
    """Round up or down by chance, so that each factor is exact in the mean, and so is their sum in each single case.

    The fractions lie one after another on a line, in `order` or a random one, and a comb with teeth one apart and a random start is
    laid on it: who is met is rounded up (systematic sampling).

    >>> round_randomly(np.array([1.5, 2.0, 1.5]), np.random.default_rng(0)).sum().item()
    5
    """
    floor = np.floor(factors + ROUNDING_EPSILON)
    order = rng.permutation(len(factors)) if order is None else order
    line = np.cumsum(np.maximum(factors - floor, 0)[order]) + rng.random()
    teeth = np.floor(line)
    up = np.zeros(len(factors))
    up[order] = np.diff(teeth, prepend=0)
    return (floor + up).astype(np.int32)


def within_budget(demand: Demand, repeats: Repeats) -> Repeats:
    """Drop images, of the most abundant classes first, until the budget is kept; of each class at least one image stays.

    Only what stands at one repeat is dropped, and never an image without instances.
    """
    excess = int(repeats.sum()) - demand.budget
    if excess <= 0:
        return repeats
    with np.errstate(divide="ignore", invalid="ignore"):
        abundance = instances_of(demand.counts, repeats) / np.where(np.isnan(demand.target), np.inf, np.maximum(demand.target, 1))
    scarcest = np.full(demand.n_images, -1.0)
    filled = ~demand.is_empty
    if filled.any():
        scarcest[filled] = np.minimum.reduceat(abundance[demand.counts.indices], demand.counts.indptr[:-1][filled])
    order = demand.rng.permutation(demand.n_images)
    order = order[np.argsort(-scarcest[order], kind="stable")]
    may_go = (repeats == 1) & filled
    may_go[_one_of_each(demand, order[::-1], repeats > 0)] = False
    dropped = order[may_go[order]][:excess]
    repeats = repeats.copy()
    repeats[dropped] = 0
    return repeats


def every_class(demand: Demand, repeats: Repeats) -> Repeats:
    """Show one image again of each class that would be lost, and in return an often repeated image less often."""
    lost = (demand.images > 0) & (instances_of(demand.counts, repeats) == 0)
    if not lost.any():
        return repeats
    repeats = repeats.copy()
    again = _one_of_each(demand, demand.rng.permutation(demand.n_images), repeats == 0, lost)
    repeats[again] = 1
    for _ in range(max(int(repeats.sum()) - demand.budget, 0)):
        most = int(repeats.argmax())
        if repeats[most] < 2:
            break
        repeats[most] -= 1
    return repeats


def _one_of_each(
    demand: Demand, order: NDArray[np.intp], among: NDArray[np.bool_], classes: NDArray[np.bool_] | None = None
) -> NDArray[np.intp]:
    """Find for each class the first of some images, in an order, that holds it."""
    rows = order[among[order]]
    place, held, _ = held_by(demand.counts, rows)
    found, first = np.unique(held, return_index=True)
    if classes is not None:
        first = first[classes[found]]
    return np.unique(rows[place[first]])
