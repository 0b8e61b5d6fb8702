"""DD1: one object labelled twice, found without comparing every box with every other."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from dataset_doctor.checks._rows import annotations_found
from dataset_doctor.checks.boxes import mixed
from dataset_doctor.dataset import Dataset, Flag, Rows
from dataset_doctor.findings import Facts, Found, Severity

NEAR_IOU = 0.95
MOST_NEIGHBOURS = 256
"""How many boxes to the right each box is compared with: bounds the work where thousands of boxes of an image begin at one column."""


def annotation_duplicate(dataset: Dataset, facts: Facts) -> Found | None:
    """Flag label records that repeat another one: the same image, class and geometry.

    **Why it matters.** The object counts twice in the loss and in every statistic, and in evaluation one of the two can only be missed.
    Ultralytics removes exact copies while loading; other trainers do not.

    **Usual cause.** Merged exports, a file appended to itself, or a double click on "save".

    **What to do.** Delete the copies.
    """
    return annotations_found(_repeats(dataset, facts), "record repeats an earlier one", "records repeat earlier ones")


def _repeats(dataset: Dataset, facts: Facts) -> Rows:
    """Give the rows of which an earlier one is the same, sorted."""
    table, shapes = dataset.annotations, facts.shapes
    rows = np.flatnonzero(np.isfinite(table.corners).all(axis=1))
    columns: list[NDArray[Any]] = [table.source[rows], table.image[rows], table.class_index[rows], table.geometry[rows]]
    columns += [table.corners[rows, column] for column in range(4)]
    if shapes is not None:
        columns += [np.nan_to_num(shapes.area[rows], nan=-1.0), shapes.shortest[rows], shapes.visible[rows]]
    key = mixed(*columns)
    order = np.argsort(key, kind="stable")
    again = np.flatnonzero(key[order][1:] == key[order][:-1])
    first, second = order[again], order[again + 1]
    same = np.ones(len(again), bool)
    for column in columns:
        same &= column[first] == column[second]
    same &= table.class_id[rows[first]] == table.class_id[rows[second]]
    return np.sort(rows[second[same]])


def annotation_near_duplicate(dataset: Dataset, facts: Facts) -> Found | None:
    """Flag boxes that another one of the same class covers almost exactly (IoU of 0.95 or more).

    **Why it matters.** One object with two boxes: a detector that finds it once has missed it once, and learns to answer twice.

    **Usual cause.** Two annotators, merged exports, or a model's boxes added to drawn ones.

    **What to do.** Keep the better one of each pair.
    """
    one, other = near_pairs(dataset)
    same = dataset.annotations.class_index[one] == dataset.annotations.class_index[other]
    copies = _repeats(dataset, facts)
    rows = np.setdiff1d(np.maximum(one, other)[same], copies)
    return annotations_found(rows, "box is nearly the same as an earlier one", "boxes are nearly the same as earlier ones", "bbox")


def annotation_class_conflict(dataset: Dataset, facts: Facts) -> Found | None:
    """Flag boxes that another one of a different class covers almost exactly (IoU of 0.95 or more).

    **Why it matters.** The trainer is told that one object is two things. Most losses then push both scores towards the middle.

    **Usual cause.** A corrected label whose first version stayed, two annotators, or classes that include each other.

    **What to do.** Decide which class is right. Where both are (a class and its group, as in LVIS), nothing.
    """
    one, other = near_pairs(dataset)
    differs = dataset.annotations.class_index[one] != dataset.annotations.class_index[other]
    rows = np.unique(np.concatenate([one[differs], other[differs]]))
    several = Severity.INFO if dataset.variant == "lvis" else None
    return annotations_found(
        rows, "box has another class on it", "boxes have another class on the same object", "category_id", severity=several
    )


def near_pairs(dataset: Dataset) -> tuple[Rows, Rows]:
    """Find pairs of instances of one image and file whose boxes overlap by an IoU of at least 0.95.

    Boxes are sorted by image and left edge. A partner's left edge is less than 5.3 % of the width away, so each box is compared with
    few neighbours: one pass compares each with the next, a second with the one after it, as long as any is near enough.
    """
    table = dataset.annotations
    corners = table.corners
    size = corners[:, 2:] - corners[:, :2]
    rows = np.flatnonzero(np.isfinite(corners).all(axis=1) & (size > 0).all(axis=1) & ~table.has(Flag.CROWD | Flag.IGNORE))
    order = rows[np.lexsort((corners[rows, 1], corners[rows, 0], table.image[rows]))]
    box, image, source = corners[order], table.image[order], table.source[order]
    reach = (1 / NEAR_IOU - 1) * size[order]
    area = size[order].prod(axis=1)
    ones, others = [], []
    active = np.arange(len(order) - 1)
    for step in range(1, MOST_NEIGHBOURS + 1):
        active = active[active + step < len(order)]
        partner = active + step
        near = (image[active] == image[partner]) & (box[partner, 0] - box[active, 0] <= reach[active, 0])
        active, partner = active[near], partner[near]
        if not len(active):
            break
        close = np.abs(box[partner, 1] - box[active, 1]) <= np.maximum(reach[active, 1], reach[partner, 1])
        close &= source[active] == source[partner]
        one, other = active[close], partner[close]
        high = np.minimum(box[one, 2:], box[other, 2:])
        overlap = np.maximum(high - np.maximum(box[one, :2], box[other, :2]), 0).prod(axis=1)
        alike = overlap >= NEAR_IOU * (area[one] + area[other] - overlap)
        ones.append(order[one[alike]])
        others.append(order[other[alike]])
    if not ones:
        return rows[:0], rows[:0]
    return np.concatenate(ones), np.concatenate(others)
