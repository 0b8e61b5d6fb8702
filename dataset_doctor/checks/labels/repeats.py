"""DD1: one object labelled twice, found without comparing every box with every other."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from dataset_doctor.checks._found import annotations_found
from dataset_doctor.checks.labels.boxes import mixed
from dataset_doctor.dataset import Dataset, Flag, Rows
from dataset_doctor.findings import Facts, Found, Severity, Threshold, judged_by

MIN_IOU = Threshold("min_iou", 0.95, "smallest IoU of two boxes that are nearly the same", lower=0.5, upper=1)
MOST_NEIGHBOURS = 256
"""How many boxes to the right each box is compared with: bounds the work where thousands of boxes of an image begin at one column."""
MOST_PAIRS = 2_000_000
"""After so many pairs the boxes that are alike are all named, and more pairs say nothing new."""


def annotation_duplicate(dataset: Dataset, facts: Facts) -> Found | None:
    """Flag label records that repeat another one: the same image, class and geometry.

    **Why it matters.** The object counts twice in the loss and in every statistic, and in evaluation one of the two can only be missed.
    Ultralytics removes exact copies while loading; other trainers do not.

    **Usual cause.** Merged exports, a file appended to itself, or a double click on "save".

    **What to do.** Delete the copies.
    """
    return annotations_found(
        facts.once("repeats", lambda: _repeats(dataset, facts)), "record repeats an earlier one", "records repeat earlier ones"
    )


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


@judged_by(MIN_IOU)
def annotation_near_duplicate(dataset: Dataset, facts: Facts) -> Found | None:
    """Flag boxes that another one of the same class covers almost exactly (IoU of {min_iou} or more).

    **Why it matters.** One object with two boxes: a detector that finds it once has missed it once, and learns to answer twice.

    **Usual cause.** Two annotators, merged exports, or a model's boxes added to drawn ones.

    **What to do.** Keep the better one of each pair.
    """
    one, other = _near_pairs(dataset, facts)
    same = dataset.annotations.class_index[one] == dataset.annotations.class_index[other]
    copies = facts.once("repeats", lambda: _repeats(dataset, facts))
    rows = np.setdiff1d(np.maximum(one, other)[same], copies)
    return annotations_found(rows, "box is nearly the same as an earlier one", "boxes are nearly the same as earlier ones", "bbox")


@judged_by(MIN_IOU)
def annotation_class_conflict(dataset: Dataset, facts: Facts) -> Found | None:
    """Flag boxes that another one of a different class covers almost exactly (IoU of {min_iou} or more).

    **Why it matters.** The trainer is told that one object is two things. Most losses then push both scores towards the middle.

    **Usual cause.** A corrected label whose first version stayed, two annotators, or classes that include each other.

    **What to do.** Decide which class is right. Where both are (a class and its group, as in LVIS), nothing.
    """
    one, other = _near_pairs(dataset, facts)
    differs = dataset.annotations.class_index[one] != dataset.annotations.class_index[other]
    rows = np.unique(np.concatenate([one[differs], other[differs]]))
    severity = Severity.INFO if dataset.variant == "lvis" else None
    conflict = "a box of another class on the same object"
    return annotations_found(rows, f"box has {conflict}", f"boxes have {conflict}", "category_id", severity=severity)


def _near_pairs(dataset: Dataset, facts: Facts) -> tuple[Rows, Rows]:
    """Find near pairs once for the checks that judge by the same overlap."""
    min_iou = facts[MIN_IOU]
    return facts.once(f"near pairs at {min_iou}", lambda: near_pairs(dataset, min_iou))


def near_pairs(dataset: Dataset, min_iou: float) -> tuple[Rows, Rows]:
    """Find pairs of instances of one image and file whose boxes overlap by at least this IoU.

    Boxes are sorted by image and left edge. A partner's left edge is less than 1 ÷ IoU - 1 of the width away (5.3 % for 0.95), so each
    box is compared with few neighbours: one pass compares each with the next, a second with the one after it, as long as any is near.
    """
    table = dataset.annotations
    x1, y1, x2, y2 = np.ascontiguousarray(table.corners.T)
    w, h = x2 - x1, y2 - y1
    rows = np.flatnonzero(np.isfinite(w) & np.isfinite(h) & (w > 0) & (h > 0) & ~table.has(Flag.CROWD | Flag.IGNORE))
    order = _by_image_and_edge(table.image, x1, y1, rows)
    x1, y1, x2, y2, w, h = (column[order] for column in (x1, y1, x2, y2, w, h))
    image, source = table.image[order], table.source[order]
    reach = 1 / min_iou - 1
    right = x1 + reach * w
    ones, others = [rows[:0]], [rows[:0]]
    active = np.arange(len(order))
    for step in range(1, MOST_NEIGHBOURS + 1):
        active = active[active + step < len(order)]
        near = (x1[active + step] <= right[active]) & (image[active] == image[active + step])
        active = active[near]
        if not len(active) or sum(map(len, ones)) > MOST_PAIRS:
            break
        one, other = active, active + step
        close = np.abs(y1[other] - y1[one]) <= reach * np.maximum(h[one], h[other])
        one, other = one[close], other[close]
        width = np.minimum(x2[one], x2[other]) - np.maximum(x1[one], x1[other])
        height = np.minimum(y2[one], y2[other]) - np.maximum(y1[one], y1[other])
        overlap = np.maximum(width, 0) * np.maximum(height, 0)
        alike = (overlap >= min_iou * (w[one] * h[one] + w[other] * h[other] - overlap)) & (source[one] == source[other])
        ones.append(order[one[alike]])
        others.append(order[other[alike]])
    return np.concatenate(ones), np.concatenate(others)


def _by_image_and_edge(image: NDArray[np.int32], x1: NDArray[np.float64], y1: NDArray[np.float64], rows: Rows) -> Rows:
    """Sort rows by image and left edge; in crowded images, where many edges may be equal, by the top edge too."""
    crowded = (np.bincount(image[rows], minlength=1) > MOST_NEIGHBOURS)[image[rows]]
    few, many = rows[~crowded], rows[crowded]
    # One sort of a joint key takes a tenth of the time of three.
    few = few[np.argsort(image[few] * 2.0**22 + np.clip(x1[few], -(2**20), 2**20))]
    return np.concatenate([few, many[np.lexsort((y1[many], x1[many], image[many]))]])
