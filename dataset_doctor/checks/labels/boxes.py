"""DD1: boxes that are missing, without area, outside their image, of a strange size or shape, or written in another convention."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dataset_doctor.checks._found import annotations_found, sized_boxes, without_reported
from dataset_doctor.dataset import Dataset, Geometry
from dataset_doctor.findings import Facts, Found, Severity, Threshold, judged_by, number, plural
from dataset_doctor.formats import format_of
from dataset_doctor.geometry import overshoot, widths_heights

MAX_EXCESS_PX = Threshold("max_excess_px", 1.0, "largest excess past the image edge that counts as rounding, in pixels")

MAX_EXCESS_SHARE = Threshold("max_excess_share", 0.01, "largest excess that is only a warning, as a share of the image's longer side")
"""Ultralytics 8.4 accepts normalised corners up to 1 % past the edge and ignores the whole image beyond that."""

ROUNDING_EPSILON_PX = 1e-6
"""Below a millionth of a pixel it is the arithmetic of reading, not the label."""

MIN_SIDE_PX = Threshold("min_side_px", 2.0, "shortest side of a box that is not tiny, in pixels")

MANY_TINY_SHARE = Threshold("many_tiny_share", 0.2, "share of boxes that must be tiny for a warning", upper=1)
MANY_TINY_BOXES = Threshold("many_tiny_boxes", 10, "number of boxes that must be tiny for a warning")

MIN_COVERED_SHARE = Threshold("min_covered_share", 0.99, "share of its image that a box must cover to be flagged", upper=1)

MAX_ASPECT = Threshold("max_aspect", 30.0, "largest ratio of the longer to the shorter side that is not extreme", lower=1)

MIN_BOXES = Threshold("min_boxes", 3, "fewest boxes by which a convention is judged", lower=1)
MIN_BOXES_WITHOUT_SIZES = Threshold(
    "min_boxes_without_sizes", 20, "fewest boxes by which it is judged where no image size is known", lower=1
)
MIN_PAST_EDGE_SHARE = Threshold("min_past_edge_share", 0.2, "share of boxes past the image edge that makes a label file suspect", upper=1)
MIN_FITTING_SHARE = Threshold("min_fitting_share", 0.98, "share of boxes that must fit the other convention", upper=1)

MAX_NORMALIZED = Threshold("max_normalized", 1.01, "largest coordinate that is taken for a share of the image")
MAX_SHARE = Threshold("max_share", 2.0, "largest number that is taken for a share of the image", lower=1)

MIN_IMAGES = Threshold("min_images", 10, "fewest images with boxes for which this is judged", lower=2)
MAX_IMAGE_SHARE = Threshold("max_image_share", 0.5, "largest share of images that may hold the same box", upper=1)

SMALLEST_IMAGE_PX = 4
"""In a smaller image a box of about one pixel is nothing strange."""
SHARE_TOLERANCE = 0.01
"""Shares of the image may be past its edge by as much, from rounding."""
PLACE_STEPS = 1e4
"""Boxes are at one place if their corners differ by less than 1 ÷ as much: of the image in YOLO, of a pixel elsewhere."""


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


@judged_by(MAX_EXCESS_PX, MAX_EXCESS_SHARE)
def box_outside_image(dataset: Dataset, facts: Facts) -> Found | None:
    """Flag boxes that leave their image by more than {max_excess_px} px, boxes that lie outside altogether included.

    **Why it matters.** Ultralytics ignores the whole image, with all its boxes, once one corner is more than 1 % past the edge (before
    8.4: at any excess); detectron2 clips the box; MMDetection drops it where nothing is left; albumentations raises ValueError.
    The same file trains differently in each.

    **Usual cause.** Labels made on a resized or rotated copy of the image, width and height exchanged, or corners read as sizes.

    **What to do.** Open two of the listed images with their boxes. If all boxes are off, find the cause and convert again; clip single
    boxes only when the visible part is what the box should show.
    """
    excess = dataset.overshoot_px
    share = excess / dataset.annotation_sizes.max(axis=1)
    rows = np.flatnonzero(excess > facts[MAX_EXCESS_PX])
    if not len(rows):
        return None
    how_many = plural(len(rows), "box leaves its image", "boxes leave their image")
    worst = float(excess[rows].max())
    at_worst = f"{worst:,.0f}" if worst >= 10 else f"{math.ceil(worst * 100) / 100:g}"  # never less than what it exceeds
    severity = Severity.ERROR if (share[rows] > facts[MAX_EXCESS_SHARE]).any() else Severity.WARNING
    message = f"{how_many} by more than {number(facts[MAX_EXCESS_PX])} px, at worst by {at_worst} px"
    return Found(len(rows), message, annotations=rows, field="bbox", severity=severity)


@judged_by(MAX_EXCESS_PX)
def box_edge_excess(dataset: Dataset, facts: Facts) -> Found | None:
    """Flag boxes that leave their image by up to {max_excess_px} px, as rounding does.

    **Why it matters.** Most loaders clip it silently. albumentations raises ValueError at any excess, and Ultralytics before 8.4
    ignored the image.

    **Usual cause.** Coordinates rounded after a resize, or six decimals in a YOLO file for a box that touches the edge.

    **What to do.** Nothing for most trainers; clip the boxes to the image if yours is strict.
    """
    excess = dataset.overshoot_px
    rows = np.flatnonzero((excess > ROUNDING_EPSILON_PX) & (excess <= facts[MAX_EXCESS_PX]))
    if not len(rows):
        return None
    message = f"{plural(len(rows), 'box', 'boxes')} past the image edge by up to {number(facts[MAX_EXCESS_PX])} px"
    return Found(len(rows), message, annotations=rows, field="bbox")


def box_missing(dataset: Dataset, facts: Facts) -> Found | None:
    """Flag label records without a box.

    **Why it matters.** detectron2 and pycocotools' evaluation stop with KeyError, MMDetection and torchvision's references too; a
    converter to YOLO drops the record.

    **Usual cause.** An export of masks or keypoints only, or `bbox: null` from a script.

    **What to do.** Compute the box from the polygon, mask or keypoints; delete records that have none of them.
    """
    if dataset.task == "classify":
        return None
    rows = np.flatnonzero(np.isnan(dataset.annotations.corners).all(axis=1))
    if not len(rows):
        return None
    rows = without_reported(dataset, facts, rows, "box-malformed", "record-unreadable")
    return annotations_found(rows, "record has no box", "records have no box")


def box_not_finite(dataset: Dataset, facts: Facts) -> Found | None:
    """Flag boxes with NaN or infinity among their numbers.

    **Why it matters.** One NaN turns the loss, and from then on every weight, into NaN. Ultralytics ignores the image; strict JSON
    parsers refuse the file.

    **Usual cause.** A division by an image size of zero, or a regression output written as a label.

    **What to do.** Draw the object again, or delete the record.
    """
    finite = np.isfinite(dataset.annotations.corners)
    wrong = ~finite.all(axis=1) & ~np.isnan(dataset.annotations.corners).all(axis=1)
    return annotations_found(wrong, "box has a number that is not finite", "boxes have numbers that are not finite", "bbox")


@judged_by(MIN_SIDE_PX, MANY_TINY_SHARE, MANY_TINY_BOXES)
def box_tiny(dataset: Dataset, facts: Facts) -> Found | None:
    """Flag boxes narrower or lower than {min_side_px} px.

    **Why it matters.** After resizing to the input size nothing of them is left: Darknet and torchvision's references drop boxes below
    one pixel, MMDetection drops them too, and other trainers try to learn them.

    **Usual cause.** A click with a slight drag, objects cut off at the image edge, tiles cut from large images, or coordinates that
    were scaled down twice. Where many boxes are tiny, the unit is probably wrong.

    **What to do.** Look at some of them. Delete those that show nothing; train with a larger input or on tiles if they are real.
    """
    boxes, _ = sized_boxes(dataset)
    # What has no area as written is box-degenerate's, however VOC counts.
    has_area = (widths_heights(dataset.annotations.corners) > 0).all(axis=1)
    rows = np.flatnonzero((boxes.min(axis=1, initial=np.inf) < facts[MIN_SIDE_PX]) & has_area)
    many = len(rows) >= max(facts[MANY_TINY_BOXES], facts[MANY_TINY_SHARE] * len(boxes))
    size = f"narrower or lower than {number(facts[MIN_SIDE_PX])} px"
    severity = Severity.WARNING if many else None
    return annotations_found(rows, f"box is {size}", f"boxes are {size}", "bbox", severity=severity)


@judged_by(MIN_COVERED_SHARE)
def box_full_image(dataset: Dataset, facts: Facts) -> Found | None:
    """Flag boxes that cover at least {min_covered_share:%} of their image.

    **Why it matters.** A detector learns nothing about where the object is. Mosaic and crop augmentation make most of such boxes wrong.

    **Usual cause.** Classification labels turned into boxes, close-ups, or a placeholder box.

    **What to do.** Nothing for close-ups. Draw real boxes if these stand for "somewhere in the image".
    """
    boxes, images = sized_boxes(dataset)
    wrong = boxes.prod(axis=1) >= facts[MIN_COVERED_SHARE] * images.prod(axis=1)
    return annotations_found(wrong, "box covers its whole image", "boxes cover their whole image", "bbox")


@judged_by(MAX_ASPECT)
def box_aspect_extreme(dataset: Dataset, facts: Facts) -> Found | None:
    """Flag boxes that are more than {max_aspect} times as long as wide.

    **Why it matters.** No usual anchor fits them, and a shift by a pixel halves the overlap; they are learnt late or never.

    **Usual cause.** Poles, wires and text lines are really so; otherwise one corner slipped, or the object is cut off by the edge.

    **What to do.** Look at some. If such shapes are what you look for, oriented boxes or masks describe them better.
    """
    boxes, _ = sized_boxes(dataset)
    longer, shorter = boxes.max(axis=1, initial=0), boxes.min(axis=1, initial=np.inf)
    shape = f"over {number(facts[MAX_ASPECT])} times as long as wide"
    return annotations_found(longer > facts[MAX_ASPECT] * shorter, f"box is {shape}", f"boxes are {shape}", "bbox")


def box_rotated(dataset: Dataset, facts: Facts) -> Found | None:
    """Flag rotated boxes in a format whose readers expect upright ones.

    **Why it matters.** In VOC, `robndbox` instead of `bndbox` stops most readers with AttributeError. In COCO, five numbers with an angle
    are read by detectron2 alone. Here the upright box around it counts.

    **Usual cause.** A labelling tool for rotated boxes, such as roLabelImg.

    **What to do.** Keep them for a trainer of oriented boxes (YOLO OBB, DOTA); otherwise replace each by the box around it.
    """
    if format_of(dataset).oriented_boxes:
        return None
    return annotations_found(dataset.annotations.geometry == Geometry.OBB, "box is rotated", "boxes are rotated", "bbox")


# Another convention -------------------------------------------------------------------------------------------------


@judged_by(MIN_BOXES, MIN_BOXES_WITHOUT_SIZES, MIN_PAST_EDGE_SHARE, MIN_FITTING_SHARE)
def boxes_look_xyxy(dataset: Dataset, facts: Facts) -> Found | None:
    """Flag label files whose boxes fit their images as two corners (x1, y1, x2, y2), and not as COCO's corner and size.

    **Why it matters.** Every box is read far too large, and reaches past the image. Clipped to it, it still covers most of the image.

    **Usual cause.** A home-made converter from VOC or from a detector's output.

    **What to do.** Subtract the first corner: `[x1, y1, x2 - x1, y2 - y1]`, for the whole file at once.

    **Example.** `[400, 300, 460, 380]` in a image of 640 × 480 ends at (860, 680) as corner and size, but fits as two corners.
    """
    if format_of(dataset).box != "corner and size":
        return None
    corners, source = dataset.annotations.corners, dataset.annotations.source
    size = widths_heights(corners)
    images = dataset.annotation_sizes
    usable = (size > 0).all(axis=1)
    ordered = usable & (size > corners[:, :2]).all(axis=1)
    inside = ordered & ~(size > images + 1).any(axis=1)
    known = ~np.isnan(images[:, 0])
    past = overshoot(corners, images) > 1

    def per_file(mask: NDArray[np.bool_] | np.bool_) -> NDArray[np.int64]:
        return np.bincount(source[np.asarray(mask)], minlength=len(dataset.sources))

    n, n_past, n_inside, n_known = per_file(usable), per_file(usable & past), per_file(inside), per_file(usable & known)
    by_size = (n_known >= facts[MIN_BOXES]) & (n_past >= facts[MIN_PAST_EDGE_SHARE] * n)
    by_number = (n_known == 0) & (n >= facts[MIN_BOXES_WITHOUT_SIZES]) & (n_inside == n)
    suspects = (by_size | by_number) & (n_inside >= facts[MIN_FITTING_SHARE] * n)
    return annotations_found(usable & suspects[source], "box looks like two corners", "boxes look like two corners", "bbox")


@judged_by(MAX_NORMALIZED)
def boxes_look_normalized(dataset: Dataset, facts: Facts) -> Found | None:
    """Flag boxes whose numbers are all between 0 and 1 in a format that counts in pixels.

    **Why it matters.** Each box is a fraction of one pixel in the top left corner. Trainers drop it or learn a dot.

    **Usual cause.** Numbers taken from YOLO, Albumentations or an API that gives shares of the image.

    **What to do.** Multiply by the image's width and height.
    """
    if dataset.in_shares:
        return None
    corners = dataset.annotations.corners
    images = dataset.annotation_sizes
    small = (np.abs(corners) <= facts[MAX_NORMALIZED]).all(axis=1) & (widths_heights(corners) > 0).all(axis=1)
    wrong = small & (corners != np.floor(corners)).any(axis=1) & ~(images < SMALLEST_IMAGE_PX).any(axis=1)
    return annotations_found(wrong, "box is given as shares of the image", "boxes are given as shares of the image", "bbox")


def _as_shares(dataset: Dataset) -> NDArray[np.float64]:
    """Give centre and size of each YOLO box as the label file writes them, (n, 4)."""
    scale = np.nan_to_num(dataset.annotation_sizes, nan=1.0)
    corners = dataset.annotations.corners
    return np.concatenate([(corners[:, :2] + corners[:, 2:]) / 2 / scale, widths_heights(corners) / scale], axis=1)


@judged_by(MAX_SHARE)
def boxes_look_in_pixels(dataset: Dataset, facts: Facts) -> Found | None:
    """Flag YOLO boxes whose numbers are far above 1, as pixels are.

    **Why it matters.** YOLO counts in shares of the image. Ultralytics ignores the whole image ("non-normalized or out of bounds
    coordinates"), Darknet drops the box.

    **Usual cause.** Pixels written without dividing by the image size, a percent scale, or an extra number behind the class.

    **What to do.** Divide x and width by the image's width, y and height by its height.
    """
    if not dataset.in_shares:
        return None
    wrong = (_as_shares(dataset) > facts[MAX_SHARE]).any(axis=1)
    return annotations_found(wrong, "box has numbers far above 1", "boxes have numbers far above 1")


@judged_by(MIN_BOXES, MIN_PAST_EDGE_SHARE, MIN_FITTING_SHARE, MAX_SHARE)
def boxes_look_corner_ordered(dataset: Dataset, facts: Facts) -> Found | None:
    """Flag YOLO labels that fit their images as two corners (x1, y1, x2, y2), and not as centre and size.

    **Why it matters.** All boxes are at wrong places with wrong sizes, mostly without any error: many loaders clip them.

    **Usual cause.** A home-made converter that divided corners by the image size and stopped there.

    **What to do.** Write `(x1 + x2) / 2`, `(y1 + y2) / 2`, `x2 - x1`, `y2 - y1`, for the whole dataset at once.
    """
    if not dataset.in_shares:
        return None
    shares = _as_shares(dataset)
    plain = (dataset.annotations.geometry == Geometry.BOX) & (shares <= facts[MAX_SHARE]).all(axis=1)
    centre, size = shares[:, :2], shares[:, 2:]
    past = plain & ((centre - size / 2 < -SHARE_TOLERANCE) | (centre + size / 2 > 1 + SHARE_TOLERANCE)).any(axis=1)
    ordered = plain & (size > centre).all(axis=1) & (size <= 1 + SHARE_TOLERANCE).all(axis=1)
    n = int(plain.sum())
    if n < facts[MIN_BOXES] or past.sum() < max(2, facts[MIN_PAST_EDGE_SHARE] * n) or ordered.sum() < facts[MIN_FITTING_SHARE] * n:
        return None
    return annotations_found(plain, "box looks like two corners", "boxes look like two corners")


@judged_by(MIN_IMAGES, MAX_IMAGE_SHARE)
def boxes_all_alike(dataset: Dataset, facts: Facts) -> Found | None:
    """Flag one class with one and the same box in more than {max_image_share:%} of the images.

    **Why it matters.** A detector learns to answer with that box, and its score looks good on data made the same way.

    **Usual cause.** A placeholder, a labelling tool that keeps the last box, or an overlay (logo, time stamp) that was labelled.

    **What to do.** Draw real boxes. If the object really never moves, no detector is needed.
    """
    table = dataset.annotations
    scale = dataset.sizes[table.image] if dataset.in_shares else np.ones((len(table), 2))
    scale[np.isnan(scale)] = 1
    rows = np.flatnonzero(np.isfinite(table.corners).all(axis=1))
    images = int(np.count_nonzero(np.bincount(table.image[rows], minlength=dataset.n_images)))
    if images < facts[MIN_IMAGES]:
        return None
    place = np.round(table.corners[rows] / np.concatenate([scale, scale], axis=1)[rows] * PLACE_STEPS).astype(np.int64)
    key = mixed(table.class_index[rows], *place.T)
    values, times = np.unique(key, return_counts=True)
    for value in values[times > facts[MAX_IMAGE_SHARE] * images]:
        alike = rows[key == value]
        holding = len(np.unique(table.image[alike]))
        if holding > facts[MAX_IMAGE_SHARE] * images:
            what = f"boxes in {holding:,} of {images:,} images are at one and the same place"
            return annotations_found(alike, "box is at one and the same place", what, "bbox")
    return None


def mixed(*columns: NDArray[Any]) -> NDArray[np.uint64]:
    """Mix columns into one number a row, equal where all are equal and hardly ever otherwise."""
    key = np.zeros(len(columns[0]), np.uint64)
    for column in columns:
        bits = (column + 0.0).view(np.uint64) if column.dtype.kind == "f" else column.astype(np.int64).view(np.uint64)
        key = (key ^ bits) * np.uint64(0x9E3779B97F4A7C15)
        key ^= key >> np.uint64(29)
    return key
