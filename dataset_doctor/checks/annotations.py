"""DD1: what is wrong with single label records, judged on whole columns."""

from __future__ import annotations

import math

import numpy as np

from dataset_doctor.dataset import Dataset
from dataset_doctor.findings import Facts, Found, Severity, plural

OUTSIDE_PX = 1.0
"""A box that leaves its image by more than this is outside; a smaller excess is rounding."""

LOADER_TOLERANCE = 0.01
"""Ultralytics 8.4 accepts normalised corners up to 1 % past the edge and ignores the whole image beyond that."""


def box_degenerate(dataset: Dataset, facts: Facts) -> Found | None:
    """Flag boxes without area: a width or height of zero, or corners in reversed order.

    **Why it matters.** torchvision's detectors stop with "All bounding boxes should have positive height and width", albumentations
    raises ValueError, Ultralytics' converter skips the box, and a reversed box turns the loss into NaN where nothing checks.

    **Usual cause.** A click without a drag in the labelling tool, coordinates rounded to whole pixels, or xmax and xmin exchanged.

    **What to do.** Draw the object again, or delete the record. For reversed corners exchange the numbers.
    """
    corners = dataset.annotations.corners
    rows = np.flatnonzero((corners[:, 2] <= corners[:, 0]) | (corners[:, 3] <= corners[:, 1]))
    if not len(rows):
        return None
    reversed_rows = (corners[rows, 2] < corners[rows, 0]) | (corners[rows, 3] < corners[rows, 1])
    how_many = plural(len(rows), "box has", "boxes have")
    extra = f", {int(reversed_rows.sum()):,} of them with reversed corners" if reversed_rows.any() else ""
    return Found(len(rows), f"{how_many} no area{extra}", annotations=rows, field="bbox")


def box_outside_image(dataset: Dataset, facts: Facts) -> Found | None:
    """Flag boxes that leave their image by more than 1 pixel, boxes that lie outside altogether included.

    **Why it matters.** Ultralytics ignores the whole image, with all its boxes, once one corner is more than 1 % past the edge (before
    8.4: at any excess); detectron2 clips the box; MMDetection drops it where nothing is left; albumentations raises ValueError.
    The same file trains differently in each.

    **Usual cause.** Labels made on a resized or rotated copy of the picture, width and height exchanged, or corners read as sizes.

    **What to do.** Open two of the listed images with their boxes. If all boxes are off, find the cause and convert again; clip single
    boxes only when the visible part is what the box should show.
    """
    excess = dataset.overshoot_px
    share = excess / dataset.annotation_sizes.max(axis=1)
    rows = np.flatnonzero(excess > OUTSIDE_PX)
    if not len(rows):
        return None
    how_many = plural(len(rows), "box leaves its image", "boxes leave their image")
    worst = float(excess[rows].max())
    at_worst = f"{worst:,.0f}" if worst >= 10 else f"{math.ceil(worst * 100) / 100:g}"  # never less than what it exceeds
    severity = Severity.ERROR if (share[rows] > LOADER_TOLERANCE).any() else Severity.WARNING
    message = f"{how_many} by more than 1 px, at worst by {at_worst} px"
    return Found(len(rows), message, annotations=rows, field="bbox", severity=severity)


def box_edge_excess(dataset: Dataset, facts: Facts) -> Found | None:
    """Flag boxes that leave their image by up to 1 pixel, as rounding does.

    **Why it matters.** Most loaders clip it silently. albumentations raises ValueError at any excess, and Ultralytics before 8.4
    ignored the image.

    **Usual cause.** Coordinates rounded after a resize, or six decimals in a YOLO file for a box that touches the edge.

    **What to do.** Nothing for most trainers; clip the boxes to the image if yours is strict.
    """
    excess = dataset.overshoot_px
    # Below a millionth of a pixel it is the arithmetic of reading, not the label.
    rows = np.flatnonzero((excess > 1e-6) & (excess <= OUTSIDE_PX))
    if not len(rows):
        return None
    return Found(len(rows), f"{plural(len(rows), 'box', 'boxes')} past the image edge by up to 1 px", annotations=rows, field="bbox")


def class_undeclared(dataset: Dataset, facts: Facts) -> Found | None:
    """Flag annotations of a class that the dataset does not declare.

    **Why it matters.** Ultralytics from 8.4 on ignores the image; before, a class number equal to the number of classes passed and stopped
    the training with a CUDA assertion. detectron2 raises KeyError, MMDetection drops the record without a word. Here the records
    count in the totals and in no class.

    **Usual cause.** A class added while labelling but not to the configuration, numbers that start at 1, or merged datasets.

    **What to do.** Declare the class, or correct the numbers.
    """
    rows = np.flatnonzero(dataset.annotations.class_index < 0)
    places = [problem.place for problem in facts.statistics.problems.get("class-name-missing", ())]
    # A COCO category without a name is no annotation without a class.
    unnamed = {(p.file, p.line, p.pointer) for p in places if not (p.pointer or "").startswith("/categories/")}
    if not len(rows) or len(rows) <= len(unnamed):
        return None
    written = sorted({str(value) for value in dataset.annotations.class_id[rows].tolist()}, key=lambda text: (len(text), text))
    shown = ", ".join(written[:5]) + (f" and {len(written) - 5:,} more" if len(written) > 5 else "")
    message = f"{plural(len(rows), 'annotation is', 'annotations are')} of a class that is not declared: {shown}"
    return Found(len(rows), message, annotations=rows, field="category_id")
