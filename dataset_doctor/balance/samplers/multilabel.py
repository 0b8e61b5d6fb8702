"""ML-ROS and ML-RUS: clone images of minority labels, delete images of majority labels (Charte et al., 2015).

Both measure a label by IRLbl, the images of the most frequent label ÷ its own, and call a minority what lies above the mean of all.
Labels take turns: each clones, or deletes, one of its images at random. A label that has reached the mean takes no further turn.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from dataset_doctor.balance.demand import ROUNDING_EPSILON, Demand, Repeats, every_class, held_by, within_budget
from dataset_doctor.statistics import imbalance_per_label

DELETED_SHARE = 0.25
"""ML-RUS deletes up to this share of the images where the budget does not ask for more; 10 to 25 % are usual."""

LOOKS = 200
"""Turns are drawn many at once: as many as it takes until a label can be at the mean, or this part of all there may be."""


def ml_ros(demand: Demand) -> Repeats:
    """Clone images of minority labels at random, each label in turn until it is at the mean imbalance, up to the budget."""
    return _in_turns(demand, step=1, room=demand.budget - demand.n_images)


def ml_rus(demand: Demand) -> Repeats:
    """Delete images of majority labels at random, each label in turn until it is at the mean imbalance.

    An image that also holds a minority label, or one without a target, is never deleted. A quarter of the images goes at most, or
    what the budget asks for.
    """
    room = max(int(DELETED_SHARE * demand.n_images), demand.n_images - demand.budget)
    return within_budget(demand, every_class(demand, _in_turns(demand, step=-1, room=room)))


def _in_turns(demand: Demand, *, step: int, room: int) -> Repeats:
    """Let labels take turns at adding `step` to the repeats of one of their images, until `room` turns are taken."""
    repeats = np.ones(demand.n_images, np.int32)
    images = demand.images.copy()
    is_wanted = demand.is_wanted
    if not is_wanted.any():
        return repeats
    mean = float(imbalance_per_label(images[is_wanted]).mean())
    by_class = demand.counts.tocsc()
    row, label = by_class.indices, np.repeat(np.arange(demand.n_classes), np.diff(by_class.indptr))
    takes_turns = is_wanted.copy()
    is_protected = np.zeros(demand.n_images, bool)
    least = -(-room // LOOKS)
    is_stale = True
    while room > 0:
        # The mean is that of the beginning; when much is deleted, it may come to less than one image.
        goal = max(images[is_wanted].max() / mean, 1.0)
        missing = np.ceil((goal - images) * step - ROUNDING_EPSILON).astype(np.int64)
        is_stale |= bool((takes_turns & (missing <= 0)).any())
        takes_turns &= missing > 0
        if is_stale and step < 0:
            is_protected[row[~takes_turns[label]]] = True
        free = demand.max_repeat - repeats if step > 0 else np.where(is_protected, 0, repeats)
        if is_stale:
            # What cannot be taken now never can be.
            is_usable = takes_turns[label] & (free[row] > 0)
            row, label = row[is_usable], label[is_usable]
            sizes = np.bincount(label, minlength=demand.n_classes)
            active = np.flatnonzero(sizes)
            if not len(active):
                break
            starts = (np.cumsum(sizes) - sizes)[active]
        turns = min(max(int(missing[active].min()), -(-least // len(active))), -(-room // len(active)))
        picked = (demand.rng.random((turns, len(active))) * sizes[active]).astype(np.intp)
        taken = row[(starts + picked).ravel()]
        taken = taken[_times_before(taken) < free[taken]][:room]
        is_stale = 2 * len(taken) < min(picked.size, room)
        place, held, _ = held_by(demand.counts, taken)
        last = _first_met(place, held, missing, active)
        n_taken = len(taken) if last is None else max(last + 1, min(least, len(taken)))
        repeats += np.int32(step) * np.bincount(taken[:n_taken], minlength=demand.n_images).astype(np.int32)
        images += step * np.bincount(held[place < n_taken], minlength=demand.n_classes)
        room -= n_taken
    return repeats


def _first_met(place: NDArray[np.intp], held: NDArray[np.intp], missing: NDArray[np.int64], active: NDArray[np.intp]) -> int | None:
    """Find the first place at which one of the active labels has been held as often as it is missing."""
    order = np.argsort(held, kind="stable")
    met = np.bincount(held, minlength=len(missing))
    reaching = active[met[active] >= missing[active]]
    nth = (np.cumsum(met) - met)[reaching] + missing[reaching] - 1
    return int(place[order[nth]].min()) if len(reaching) else None


def _times_before(values: NDArray[np.intp]) -> NDArray[np.intp]:
    """Count for each value how often it stands before.

    >>> _times_before(np.array([5, 7, 5, 5])).tolist()
    [0, 0, 1, 2]
    """
    order = np.argsort(values, kind="stable")
    ordered = values[order]
    starts = np.flatnonzero(np.diff(ordered, prepend=ordered[:1] - 1))
    lengths = np.diff(starts, append=len(values))
    before = np.empty(len(values), np.intp)
    before[order] = np.arange(len(values)) - np.repeat(starts, lengths)
    return before
