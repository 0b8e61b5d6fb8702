"""DD1: polygons, masks and keypoints, judged by what a second reading measured (`Facts.shapes`)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from dataset_doctor.checks._found import annotations_found
from dataset_doctor.checks.labels.boxes import MAX_EXCESS_PX
from dataset_doctor.dataset import Dataset, Flaw, Geometry
from dataset_doctor.findings import Facts, Found, Severity, Threshold, judged_by
from dataset_doctor.formats import format_of
from dataset_doctor.geometry import overshoot

MIN_COORDINATES = 6
"""A polygon has at least three points."""
MAX_DISTANCE_IMAGES = Threshold(
    "max_distance_images", 10.0, "largest coordinate of a vertex, in multiples of the image's longer side", lower=1
)
MIN_BOX_IOU = Threshold("min_box_iou", 0.9, "smallest IoU of a box and the box around its shape that is not flagged", upper=1)
MAX_EDGE_DIFFERENCE_PX = Threshold("max_edge_difference_px", 2.0, "largest difference of an edge that is not flagged, in pixels")
NUMBERS_A_KEYPOINT = 3
LARGEST_SIDE = 1 << 31


def _flawed(facts: Facts, flaw: Flaw) -> NDArray[np.bool_]:
    return facts.shapes.has(flaw) if facts.shapes is not None else np.zeros(0, bool)


def polygon_too_short(dataset: Dataset, facts: Facts) -> Found | None:
    """Flag polygons with fewer than three points.

    **Why it matters.** pycocotools reads four numbers as a box, or stops with TypeError; detectron2 drops the object; Ultralytics ignores
    the image.

    **Usual cause.** Simplification that left two points, a list of pairs instead of a flat list of numbers, or a stray click.

    **What to do.** Delete the ring, or draw the object again.
    """
    shapes = facts.shapes
    if shapes is None:
        return None
    wrong = (shapes.shortest >= 1) & (shapes.shortest < MIN_COORDINATES)
    return annotations_found(wrong, "polygon has fewer than 3 points", "polygons have fewer than 3 points", "segmentation")


def polygon_odd(dataset: Dataset, facts: Facts) -> Found | None:
    """Flag polygons with an odd number of coordinates.

    **Why it matters.** pycocotools silently ignores the last number; detectron2 and datumaro refuse the record; Ultralytics stops
    reading the label file and ignores the image.

    **Usual cause.** A number lost or added by hand, or a score behind the polygon.

    **What to do.** Find the number that is missing or superfluous.
    """
    return annotations_found(
        _flawed(facts, Flaw.ODD), "polygon has an odd number of coordinates", "polygons have an odd number of coordinates", "segmentation"
    )


def polygon_not_nested(dataset: Dataset, facts: Facts) -> Found | None:
    """Flag COCO polygons written as one list of numbers, where a list of such lists belongs.

    **Why it matters.** Readers take each number for a polygon and stop with TypeError, in pycocotools as in supervision.

    **Usual cause.** A script that forgot that an object may have several parts.

    **What to do.** Put the list into another pair of brackets.

    **Example.** `[10, 10, 50, 10, 50, 40]` should be `[[10, 10, 50, 10, 50, 40]]`.
    """
    return annotations_found(_flawed(facts, Flaw.NOT_NESTED), "polygon is not in a list", "polygons are not in lists", "segmentation")


@judged_by(MAX_DISTANCE_IMAGES)
def polygon_malformed(dataset: Dataset, facts: Facts) -> Found | None:
    """Flag polygons with text, NaN, infinity, absurdly far vertices, or more than 100,000 of them.

    **Why it matters.** pycocotools does not check: a vertex at NaN or 100,000,000 ends the whole process with a segmentation fault, or
    takes all memory.

    **Usual cause.** A division by zero, a projection that went wrong, or a damaged file.

    **What to do.** Delete the record, or draw the object again. Do not give the file to pycocotools as it is.
    """
    shapes = facts.shapes
    if shapes is None:
        return None
    limit = facts[MAX_DISTANCE_IMAGES] * dataset.annotation_sizes.max(axis=1)
    absurd = np.abs(shapes.extent).max(axis=1, initial=0) > limit
    wrong = shapes.has(Flaw.MALFORMED) | absurd
    return annotations_found(wrong, "polygon cannot be drawn", "polygons cannot be drawn", "segmentation")


def segmentation_empty(dataset: Dataset, facts: Facts) -> Found | None:
    """Flag segmentations that hold nothing: an empty list, an empty ring, empty text.

    **Why it matters.** Detection is not concerned, and Roboflow and Label Studio write such records for boxes. A trainer of masks stops
    with IndexError, or trains on an empty mask.

    **Usual cause.** A detection export, or an object whose mask was deleted.

    **What to do.** Nothing for detection. For masks draw them, or leave the key out.
    """
    empty = _flawed(facts, Flaw.EMPTY)
    others = facts.shapes is not None and np.count_nonzero(~np.isnan(facts.shapes.area)) > np.count_nonzero(empty)
    return annotations_found(
        empty, "segmentation is empty", "segmentations are empty", "segmentation", severity=Severity.WARNING if others else None
    )


@judged_by(MAX_EXCESS_PX)
def polygon_outside(dataset: Dataset, facts: Facts) -> Found | None:
    """Flag COCO polygons that leave their image by more than {max_excess_px} px.

    **Why it matters.** Rasterising clips them, so the mask is smaller than the area that is written down; augmentation moves the parts
    outside into the image.

    **Usual cause.** Polygons of another version of the image, or width and height exchanged.

    **What to do.** If many are off, find the cause and convert again; clip single ones.
    """
    shapes = facts.shapes
    if shapes is None or not format_of(dataset).box_beside_shape:
        return None
    wrong = (overshoot(shapes.extent, dataset.annotation_sizes) > facts[MAX_EXCESS_PX]) & (shapes.rings > 0)
    return annotations_found(wrong, "polygon leaves its image", "polygons leave their image", "segmentation")


def polygon_crossing(dataset: Dataset, facts: Facts) -> Found | None:
    """Flag polygons of four points of which two sides cross, like a bow-tie.

    **Why it matters.** The mask has two triangles instead of the object, and its area by the usual formula is wrong. For oriented boxes
    the smallest rectangle around it is taken, which is another one.

    **Usual cause.** The corners in the wrong order: row by row instead of around.

    **What to do.** Exchange two neighbouring corners.
    """
    return annotations_found(_flawed(facts, Flaw.CROSSING), "polygon crosses itself", "polygons cross themselves", "segmentation")


@judged_by(MIN_BOX_IOU, MAX_EDGE_DIFFERENCE_PX)
def box_differs_from_shape(dataset: Dataset, facts: Facts) -> Found | None:
    """Flag COCO annotations whose box is not the box around their polygon or mask.

    **Why it matters.** The box head and the mask head of a model are trained on different objects. Trainers that compute the box from the
    mask see another dataset than those that read it.

    **Usual cause.** One of the two was edited or resized and the other was not, parts of an object lost, or points simplified away.

    **What to do.** Look at some. If the shape is right, compute the boxes from it.
    """
    shapes, corners = facts.shapes, dataset.annotations.corners
    if shapes is None or not format_of(dataset).box_beside_shape:
        return None
    size, extent = corners[:, 2:] - corners[:, :2], shapes.extent[:, 2:] - shapes.extent[:, :2]
    usable = (size > 0).all(axis=1) & (extent > 0).all(axis=1)
    low, high = np.maximum(corners[:, :2], shapes.extent[:, :2]), np.minimum(corners[:, 2:], shapes.extent[:, 2:])
    overlap = np.maximum(high - low, 0).prod(axis=1)
    apart = overlap < facts[MIN_BOX_IOU] * (size.prod(axis=1) + extent.prod(axis=1) - overlap)
    far = np.abs(corners - shapes.extent).max(axis=1, initial=0) > facts[MAX_EDGE_DIFFERENCE_PX]
    return annotations_found(usable & apart & far, "box differs from its shape", "boxes differ from their shapes", "bbox")


# Masks --------------------------------------------------------------------------------------------------------------


def mask_size_differs(dataset: Dataset, facts: Facts) -> Found | None:
    """Flag COCO masks whose size is not that of their image.

    **Why it matters.** Run lengths count pixels down the columns, so another height shears the whole mask. datumaro and detectron2 stop;
    pycocotools gives an IoU of -1.

    **Usual cause.** `size` written as width and height: COCO's order is height, then width.

    **What to do.** Correct the order, or make the masks again for the size of the image.
    """
    shapes = facts.shapes
    if shapes is None:
        return None
    images = dataset.annotation_sizes
    declared = (shapes.mask_size > 0).all(axis=1)
    wrong = declared & ~np.isnan(images[:, 0]) & (shapes.mask_size != images).any(axis=1)
    return annotations_found(wrong, "mask has another size than its image", "masks have other sizes than their images", "segmentation/size")


def mask_length_wrong(dataset: Dataset, facts: Facts) -> Found | None:
    """Flag COCO masks whose run lengths do not add up to width × height.

    **Why it matters.** Too long, and pycocotools stops with ValueError (before 2.0.5 it wrote past its memory). Too short, and the rest
    of the mask is whatever the memory held before: different pixels in each run.

    **Usual cause.** A home-made encoder, or a size that was changed without the counts.

    **What to do.** Encode the mask again.
    """
    shapes = facts.shapes
    if shapes is None:
        return None
    pixels = shapes.mask_size.clip(0, LARGEST_SIDE).prod(axis=1)
    wrong = (shapes.mask_sum >= 0) & (shapes.mask_sum != pixels) & ~shapes.has(Flaw.MASK_INVALID)
    return annotations_found(wrong, "mask does not add up to its size", "masks do not add up to their sizes", "segmentation/counts")


def mask_invalid(dataset: Dataset, facts: Facts) -> Found | None:
    """Flag COCO masks that cannot be decoded: run lengths below zero or with fractions, characters that do not belong there.

    **Why it matters.** pycocotools does not check its input here: it cuts fractions off, or reads past the end and crashes.

    **Usual cause.** `str()` of a bytes object (`"b'...'"`), a text cut off, or counts from a computation.

    **What to do.** Encode the mask again; write bytes with `.decode("ascii")`.
    """
    return annotations_found(_flawed(facts, Flaw.MASK_INVALID), "mask cannot be decoded", "masks cannot be decoded", "segmentation")


def obb_not_rectangular(dataset: Dataset, facts: Facts) -> Found | None:
    """Flag oriented boxes whose opposite sides differ.

    **Why it matters.** Ultralytics replaces the four points by the smallest rectangle around them, so it trains on another box than was
    drawn.

    **Usual cause.** Polygons of four points used as oriented boxes, or corners that slipped.

    **What to do.** Nothing if the smallest rectangle is what you want; else draw the boxes again.
    """
    if facts.shapes is None:
        return None
    wrong = (dataset.annotations.geometry == Geometry.OBB) & facts.shapes.has(Flaw.NOT_RECTANGULAR) & ~facts.shapes.has(Flaw.CROSSING)
    return annotations_found(wrong, "oriented box is not a rectangle", "oriented boxes are not rectangles")


# Keypoints ----------------------------------------------------------------------------------------------------------


def keypoints_length(dataset: Dataset, facts: Facts) -> Found | None:
    """Flag lists of keypoints that do not hold three numbers for each keypoint of the category.

    **Why it matters.** Readers reshape the list and stop with ValueError, or take coordinates of one point for another's.

    **Usual cause.** Visibility left out, or a category with another number of keypoints.

    **What to do.** Write x, y and visibility for each keypoint that the category declares, 0 0 0 for those that are not labelled.
    """
    shapes = facts.shapes
    if shapes is None:
        return None
    expected = np.array([*(NUMBERS_A_KEYPOINT * one.keypoints for one in dataset.classes), 0])[dataset.annotations.class_index]
    given = shapes.keypoints
    wrong = (given >= 0) & ((given % NUMBERS_A_KEYPOINT != 0) | ((expected > 0) & (given != expected)))
    return annotations_found(wrong, "list of keypoints has a wrong length", "lists of keypoints have a wrong length", "keypoints")


def keypoints_count(dataset: Dataset, facts: Facts) -> Found | None:
    """Flag annotations whose `num_keypoints` is not the number of their labelled keypoints, or missing.

    **Why it matters.** pycocotools leaves objects without keypoints out of the evaluation by this number, and stops with KeyError where it
    is missing.

    **Usual cause.** An exporter that counts all keypoints, also those with visibility 0.

    **What to do.** Count the keypoints with a visibility above 0.
    """
    shapes = facts.shapes
    if shapes is None:
        return None
    wrong = (shapes.visible >= 0) & (shapes.declared != shapes.visible)
    return annotations_found(wrong, "num_keypoints does not fit", "num_keypoints do not fit", "num_keypoints")


def keypoints_visibility(dataset: Dataset, facts: Facts) -> Found | None:
    """Flag keypoints whose visibility is none of 0 (not labelled), 1 (hidden) and 2 (visible).

    **Why it matters.** It decides whether the point counts in the loss and in the evaluation; anything above 0 counts as labelled.

    **Usual cause.** A confidence of a model in its place, or -1 for "unknown".

    **What to do.** Write 0, 1 or 2.
    """
    return annotations_found(
        _flawed(facts, Flaw.VISIBILITY),
        "object has a keypoint of unknown visibility",
        "objects have keypoints of unknown visibility",
        "keypoints",
    )


def keypoints_hidden_placed(dataset: Dataset, facts: Facts) -> Found | None:
    """Flag keypoints that are marked as not labelled (visibility 0) and yet have a place.

    **Why it matters.** Most trainers ignore them; some draw or flip them, and a place that someone labelled is lost.

    **Usual cause.** An exporter that writes the place of points it calls hidden, which would be visibility 1.

    **What to do.** Write 1 where the place is known, else 0 0 0.
    """
    return annotations_found(
        _flawed(facts, Flaw.HIDDEN_PLACED),
        "object has a placed keypoint with visibility 0",
        "objects have placed keypoints with visibility 0",
        "keypoints",
    )
