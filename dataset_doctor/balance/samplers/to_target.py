"""Samplers that aim at a number of instances for each class: repeat, drop, or both."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from dataset_doctor.balance.demand import Demand, Repeats, held_by, instances_of, within_budget

if TYPE_CHECKING:
    from scipy import sparse


def unchanged(demand: Demand) -> Repeats:
    """Show every image once."""
    return np.ones(demand.n_images, np.int32)


def oversample(demand: Demand) -> Repeats:
    """Repeat images at random until each class has its target, the rarest class first; an image takes all its classes along.

    Images of a class are repeated in turn, so that none is shown twice more often than another. Where the budget does not suffice,
    it goes to what stands lowest against its target: the smallest share reached is as large as can be.
    """
    return _raised(demand, unchanged(demand))


def undersample(demand: Demand) -> Repeats:
    """Drop images at random of which each class stays at or above its target, until none is left that may go.

    An image that holds one class at or below its target is kept, and of each class at least one instance.
    """
    return within_budget(demand, _lowered(demand))


def hybrid(demand: Demand) -> Repeats:
    """Drop images that hold only classes above their target, then repeat images of those below."""
    return _raised(demand, undersample(demand))


def _raised(demand: Demand, repeats: Repeats) -> Repeats:
    """Repeat images that are shown at all, towards the target.

    All classes are raised to a level, a share of their targets, that doubles until the targets are met or the budget is used; what
    of the last step goes beyond the budget is taken back from the top.
    """
    room = demand.budget - int(repeats.sum())
    made = instances_of(demand.counts, repeats)
    aimed = demand.is_wanted & (made > 0) & (demand.target > 0)
    if room <= 0 or not aimed.any():
        return repeats
    by_class = demand.counts.tocsc()
    left = np.where(repeats > 0, demand.max_repeat - repeats, 0)
    raised = repeats.copy()
    level = float((made[aimed] / demand.target[aimed]).min())
    while level < 1 and room > 0:
        level = min(2 * level, 1.0)
        drawn, reached = _raise_to(demand, by_class, np.where(aimed, np.ceil(level * demand.target), 0), made, left)
        if len(drawn) > room:
            last = np.partition(reached, room - 1)[room - 1]
            lowest = np.flatnonzero(reached < last)
            drawn = drawn[np.concatenate([lowest, np.flatnonzero(reached == last)[: room - len(lowest)]])]
        raised += np.bincount(drawn, minlength=demand.n_images).astype(np.int32)
        room -= len(drawn)
    return raised


def _raise_to(
    demand: Demand, by_class: sparse.csc_array[Any], goal: NDArray[np.float64], made: NDArray[np.int64], left: NDArray[np.int32]
) -> tuple[NDArray[np.intp], NDArray[np.float64]]:
    """Draw images until each class has its goal; `made` instances and the repeats that are `left` are changed in place.

    Returns:
        The images, and the share of its target at which a class stood when it drew each of them.
    """
    drawn: list[NDArray[Any]] = [np.zeros(0, np.intp)]
    reached: list[NDArray[np.float64]] = [np.zeros(0)]
    below = np.flatnonzero(made < goal)
    for c in below[np.argsort(made[below], kind="stable")].tolist():
        held = slice(by_class.indptr[c], by_class.indptr[c + 1])
        rows, size = by_class.indices[held], by_class.data[held]
        while made[c] < goal[c] and len(free := np.flatnonzero(left[rows] > 0)):
            # Those with the most repeats left come first, so that images are shown in turn.
            most = free[left[rows[free]] == left[rows[free]].max()]
            turn = demand.rng.permutation(most)
            after = made[c] + np.cumsum(size[turn])
            turn = turn[: np.searchsorted(after, goal[c]) + 1]
            chosen = rows[turn]
            drawn.append(chosen)
            reached.append((after[: len(turn)] - size[turn]) / demand.target[c])
            left[chosen] -= 1
            _, classes, sizes = held_by(demand.counts, chosen)
            made += np.bincount(classes, weights=sizes, minlength=demand.n_classes).astype(np.int64)
    return np.concatenate(drawn), np.concatenate(reached)


def _lowered(demand: Demand) -> Repeats:
    """Drop images of which every class has enough, in a random order, many at a time."""
    counts = demand.counts
    instances = instances_of(counts, unchanged(demand))
    spare = np.where(np.isnan(demand.target), 0, np.floor(instances - np.maximum(demand.target, 1)))
    spare = np.maximum(spare, 0).astype(np.int64)
    order = demand.rng.permutation(demand.n_images)
    by_class = counts[order].tocsc()  # within a class, images stand in the order in which they may go
    image, size = by_class.indices, by_class.data
    of_class = np.repeat(np.arange(demand.n_classes), np.diff(by_class.indptr))
    may_go = np.diff(counts.indptr)[order] > 0
    repeats = unchanged(demand)
    while may_go.any():
        may_go[image[size > spare[of_class]]] = False
        alive = may_go[image]
        image, size, of_class = image[alive], size[alive], of_class[alive]
        # An image goes if all before it could go too: what is counted too much is looked at again in the next round.
        total = np.cumsum(size)
        before = np.concatenate([[0], total])[np.searchsorted(of_class, np.arange(demand.n_classes))]
        goes = may_go.copy()
        goes[image[total - before[of_class] > spare[of_class]]] = False
        repeats[order[goes]] = 0
        gone = goes[image]
        spare -= np.bincount(of_class[gone], weights=size[gone], minlength=demand.n_classes).astype(np.int64)
        may_go &= ~goes
    return repeats
