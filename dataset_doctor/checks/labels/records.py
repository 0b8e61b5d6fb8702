"""DD1: what label records say of themselves besides their box: area, crowd, difficult, score; and conventions of VOC and YOLO rows."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from dataset_doctor.checks._found import annotations_found
from dataset_doctor.dataset import Dataset, Flag, Geometry, Rows
from dataset_doctor.findings import Facts, Found, Severity, Threshold, judged_by, plural
from dataset_doctor.formats import format_of
from dataset_doctor.geometry import widths_heights

MAX_AREA_DIFFERENCE_SHARE = Threshold("max_area_difference_share", 0.05, "largest difference that is not flagged, as a share of the area")
MAX_AREA_DIFFERENCE_PX2 = Threshold("max_area_difference_px2", 2.0, "largest difference that is not flagged, in square pixels")
MAX_OUTLINE_DIFFERENCE_PX = Threshold(
    "max_outline_difference_px", 0.25, "how far the outline of a rasterised mask may be off that of its polygon, in pixels"
)
MIN_RECORDS = Threshold("min_records", 2, "fewest label records for which this is judged", lower=1)
MIN_ONES_PER_ZERO = Threshold("min_ones_per_zero", 3.0, "how many times more boxes begin at 1 than at 0 where pixels are counted from 1")
DEVKIT = "The VOC20xx Database"


def class_undeclared(dataset: Dataset, facts: Facts) -> Found | None:
    """Flag annotations of a class that the dataset does not declare.

    **Why it matters.** Ultralytics from 8.4 on ignores the image; before, a class number equal to the number of classes passed and stopped
    the training with a CUDA assertion. detectron2 raises KeyError, MMDetection silently drops the record. Here the records
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


# COCO ---------------------------------------------------------------------------------------------------------------


def area_missing(dataset: Dataset, facts: Facts) -> Found | None:
    """Flag COCO annotations without an area.

    **Why it matters.** pycocotools' evaluation and MMDetection stop with KeyError: 'area'.

    **Usual cause.** A script that wrote only what training needed.

    **What to do.** Write the area of the mask where there is one, else width × height of the box.
    """
    return annotations_found(dataset.annotations.has(Flag.NO_AREA_KEY), "annotation has no area", "annotations have no area", "area")


@judged_by(MAX_AREA_DIFFERENCE_SHARE, MAX_AREA_DIFFERENCE_PX2, MAX_OUTLINE_DIFFERENCE_PX)
def area_wrong(dataset: Dataset, facts: Facts) -> Found | None:
    """Flag COCO annotations whose area is neither that of their mask nor that of their box.

    **Why it matters.** The area alone decides whether an object counts as small, medium or large in the evaluation. MMDetection drops
    objects whose area is 0 or less.

    **Usual cause.** A placeholder such as 1.0, labels that were resized without their areas, or an area in another unit.

    **What to do.** Compute the areas again, from masks where there are masks.
    """
    table, shapes = dataset.annotations, facts.shapes
    if not format_of(dataset).box_beside_shape or shapes is None:
        return None
    size = widths_heights(table.corners)
    size[~(size > 0).all(axis=1)] = np.nan
    own, of_box = table.area, size.prod(axis=1)
    slack = np.maximum(facts[MAX_AREA_DIFFERENCE_PX2], facts[MAX_AREA_DIFFERENCE_SHARE] * of_box)
    outline = facts[MAX_OUTLINE_DIFFERENCE_PX] * np.nan_to_num(size.sum(axis=1))
    rough = np.fmax(np.fmax(facts[MAX_AREA_DIFFERENCE_PX2], facts[MAX_AREA_DIFFERENCE_SHARE] * shapes.area), outline)
    # Rings that overlap cover less than their sum, and never less than the largest of them.
    fits = (np.abs(own - of_box) <= slack) | ((own <= shapes.area + rough) & (own >= shapes.largest - rough))
    judged = ~np.isnan(own) & (~np.isnan(of_box) | ~np.isnan(shapes.area))
    return annotations_found(
        (judged & ~fits) | (own <= 0), "area does not fit its mask or box", "areas do not fit their masks or boxes", "area"
    )


def crowd_key_missing(dataset: Dataset, facts: Facts) -> Found | None:
    """Flag COCO annotations without `iscrowd`.

    **Why it matters.** pycocotools' evaluation stops with KeyError: 'iscrowd'; datumaro drops the annotation. LVIS does without it and
    is not reported.

    **Usual cause.** A script that wrote only what training needed.

    **What to do.** Write `"iscrowd": 0`, if every record is one object.
    """
    if dataset.variant == "lvis":
        return None
    return annotations_found(
        dataset.annotations.has(Flag.NO_CROWD_KEY), "annotation has no iscrowd", "annotations have no iscrowd", "iscrowd"
    )


def crowd_with_polygon(dataset: Dataset, facts: Facts) -> Found | None:
    """Flag COCO annotations that are crowds and have a polygon.

    **Why it matters.** A crowd is meant to be a region given by run lengths. Trainers leave crowds out, so a single object marked so is
    lost; readers that expect run lengths stop.

    **Usual cause.** `iscrowd` was taken for "occluded" or "group", or an exporter sets it for masks with holes.

    **What to do.** Set `iscrowd` to 0 for single objects.
    """
    table = dataset.annotations
    wrong = table.has(Flag.CROWD) & (table.geometry == Geometry.POLYGON)
    return annotations_found(wrong, "crowd region has a polygon", "crowd regions have polygons", "iscrowd")


@judged_by(MIN_RECORDS)
def all_crowd(dataset: Dataset, facts: Facts) -> Found | None:
    """Flag a dataset in which every annotation is a crowd region.

    **Why it matters.** Trainers leave crowds out: they report that there are no annotations, or train on nothing.

    **Usual cause.** `iscrowd` set to 1 by mistake in an export.

    **What to do.** Set `iscrowd` to 0 for single objects.
    """
    crowd = dataset.annotations.has(Flag.CROWD)
    if len(crowd) < facts[MIN_RECORDS] or not crowd.all():
        return None
    return annotations_found(crowd, "annotation is a crowd region", "annotations are crowd regions, all that there are", "iscrowd")


def ignore_flag(dataset: Dataset, facts: Facts) -> Found | None:
    """Flag COCO annotations with `ignore` set.

    **Why it matters.** Three readers, three meanings: detectron2 stops at it, MMDetection drops the box, pycocotools overwrites the key
    and counts the box.

    **Usual cause.** A conversion from a format with "difficult" or "ignore" regions.

    **What to do.** Use `iscrowd` for regions to ignore, or delete the records.
    """
    return annotations_found(dataset.annotations.has(Flag.IGNORE), "annotation has ignore set", "annotations have ignore set", "ignore")


def score_in_labels(dataset: Dataset, facts: Facts) -> Found | None:
    """Flag label records that carry a score, as predictions do.

    **Why it matters.** A model trained on predictions learns their mistakes, and evaluation against them measures agreement, not truth.
    Ultralytics ignores images with six numbers in a row ("labels require 5 columns").

    **Usual cause.** The output of a model saved in place of, or as a start for, drawn labels.

    **What to do.** Check the boxes by eye; then remove the score.
    """
    table = dataset.annotations
    scored = table.has(Flag.SCORE)
    if format_of(dataset).bare_numbers:
        # One number too many behind a polygon may be a coordinate too many: only where most polygons have it, it is a score.
        polygon = table.geometry == Geometry.POLYGON
        if 2 * np.count_nonzero(scored & polygon) <= np.count_nonzero(polygon):
            scored &= ~polygon
        return annotations_found(scored, "row has a score", "rows have a score", severity=Severity.ERROR)
    return annotations_found(scored, "annotation has a score", "annotations have a score", "score")


# Pascal VOC ---------------------------------------------------------------------------------------------------------


@judged_by(MIN_RECORDS)
def all_difficult(dataset: Dataset, facts: Facts) -> Found | None:
    """Flag a VOC dataset in which every object is difficult.

    **Why it matters.** VOC's evaluation leaves difficult objects out, so there is nothing to find and the average precision is NaN.
    Some trainers leave them out too.

    **Usual cause.** A template with `<difficult>1</difficult>`.

    **What to do.** Set `difficult` to 0 for objects that a person recognises at once.
    """
    difficult = dataset.annotations.has(Flag.DIFFICULT)
    if len(difficult) < facts[MIN_RECORDS] or not difficult.all():
        return None
    return annotations_found(difficult, "object is difficult", "objects are difficult, all that there are")


def _counted_from_one(dataset: Dataset, facts: Facts, zeros: NDArray[np.bool_]) -> bool:
    """Tell whether a VOC dataset with some corners at 0 is otherwise counted from 1: its files say so, or many more boxes begin at 1."""
    ones = (dataset.annotations.corners[:, :2] == 1).any(axis=1)
    return any(DEVKIT in text for text in dataset.evidence) or bool(ones.sum() >= facts[MIN_ONES_PER_ZERO] * zeros.sum())


@judged_by(MIN_ONES_PER_ZERO)
def origin_zero(dataset: Dataset, facts: Facts) -> Found | None:
    """Flag VOC boxes that begin at 0, where the VOC devkit counts pixels from 1.

    **Why it matters.** Readers that subtract 1, as the devkit's do, get -1: py-faster-rcnn turned that into 65,535 and stopped.
    MMDetection and detectron2 place the box one pixel off.

    **Usual cause.** A tool that counts from 0, as CVAT, Label Studio and Roboflow do. Then all boxes of the dataset do.

    **What to do.** Nothing, if your reader counts from 0 as well. Else add 1 to xmin and ymin in the whole dataset.
    """
    if not format_of(dataset).counts_pixels:
        return None
    zeros = (dataset.annotations.corners[:, :2] == 0).any(axis=1)
    if not zeros.any() or _counted_from_one(dataset, facts, zeros):
        return None
    return annotations_found(zeros, "box begins at 0", "boxes begin at 0", "bndbox")


@judged_by(MIN_ONES_PER_ZERO)
def origin_mixed(dataset: Dataset, facts: Facts) -> Found | None:
    """Flag VOC boxes that begin at 0 in a dataset that otherwise counts pixels from 1.

    **Why it matters.** The boxes were not all made the same way. One part is a pixel off, and readers that subtract 1 get -1 for these.

    **Usual cause.** Datasets from different tools put together.

    **What to do.** Find the files that count from 0, and add 1 to their xmin and ymin.
    """
    if not format_of(dataset).counts_pixels:
        return None
    zeros = (dataset.annotations.corners[:, :2] == 0).any(axis=1)
    if not zeros.any() or not _counted_from_one(dataset, facts, zeros):
        return None
    return annotations_found(zeros, "box begins at 0, others at 1", "boxes begin at 0, others at 1", "bndbox")


def corners_fractional(dataset: Dataset, facts: Facts) -> Found | None:
    """Flag VOC boxes whose corners are not whole numbers.

    **Why it matters.** YOLOX, py-faster-rcnn and detectron2's evaluation read them with `int()` and stop with ValueError; FiftyOne and
    MMDetection cut the fraction off. VOC2012 itself holds some.

    **Usual cause.** A conversion from a format with fractions.

    **What to do.** Round them, if one of these readers is used.
    """
    if not format_of(dataset).counts_pixels:
        return None
    corners = dataset.annotations.corners
    wrong = (np.isfinite(corners) & (corners != np.floor(corners))).any(axis=1)
    return annotations_found(wrong, "box has fractions of pixels", "boxes have fractions of pixels")


def voc_optional_missing(dataset: Dataset, facts: Facts) -> Found | None:
    """Flag VOC objects without pose, truncated or difficult.

    **Why it matters.** The format allows it, but YOLOX, py-faster-rcnn and detectron2's evaluation look into them without asking and stop
    with AttributeError.

    **Usual cause.** An exporter that writes only names and boxes.

    **What to do.** Add `<pose>Unspecified</pose>`, `<truncated>0</truncated>` and `<difficult>0</difficult>` for such readers.
    """
    wrong = dataset.annotations.has(Flag.NO_VOC_KEYS)
    return annotations_found(wrong, "object lacks pose, truncated or difficult", "objects lack pose, truncated or difficult")


def elements_unordered(dataset: Dataset, facts: Facts) -> Found | None:
    """Flag VOC objects whose elements, or the corners of whose box, are in another order than in VOC.

    **Why it matters.** XML does not care, but scripts that read the fifth element of an object, or the four corners by position, silently
    exchange them.

    **Usual cause.** Another exporter: Roboflow writes xmin, xmax, ymin, ymax.

    **What to do.** Nothing, unless your reader goes by position.
    """
    wrong = dataset.annotations.has(Flag.OTHER_ORDER)
    return annotations_found(wrong, "object has its elements in another order", "objects have their elements in another order")


# YOLO ---------------------------------------------------------------------------------------------------------------


def classes_count_from_one(dataset: Dataset, facts: Facts) -> Found | None:
    """Flag YOLO labels whose class numbers run from 1 to the number of classes, instead of from 0.

    **Why it matters.** Every object has the name of the class before it, and the last class does not exist: Ultralytics ignores its
    images or stops with a CUDA assertion.

    **Usual cause.** Category ids of COCO written as class numbers.

    **What to do.** Subtract 1 from every class number.
    """
    numbers = dataset.annotations.class_id
    if not format_of(dataset).bare_numbers or not len(numbers) or numbers.min() != 1 or numbers.max() != len(dataset.classes):
        return None
    last = numbers == len(dataset.classes)
    return annotations_found(
        last, "row has the number after the last class, and none has 0", "rows have the number after the last class, and none has 0"
    )


def _kinds_in_files(dataset: Dataset) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Count box rows and longer rows in each YOLO label file."""
    table = dataset.annotations
    boxed = table.geometry == Geometry.BOX
    n = len(dataset.sources)
    return np.bincount(table.source[boxed], minlength=n), np.bincount(table.source[~boxed], minlength=n)


def rows_mixed(dataset: Dataset, facts: Facts) -> Found | None:
    """Flag YOLO label files that hold both boxes and polygons (or poses).

    **Why it matters.** Ultralytics up to 8.3 took a box row beside polygons for a polygon of two points, which gives a wrong box; later
    versions ignore the image.

    **Usual cause.** Objects drawn with different tools in one project.

    **What to do.** Write the box as a polygon of its four corners, or all polygons as boxes.
    """
    if not format_of(dataset).bare_numbers:
        return None
    boxes, longer = _kinds_in_files(dataset)
    table = dataset.annotations
    mixed = (boxes > 0) & (longer > 0)
    boxed = table.geometry == Geometry.BOX
    fewer = mixed[table.source] & (boxed == (2 * np.count_nonzero(boxed) <= len(boxed)))
    return annotations_found(
        fewer, "row is of another kind than the rest of its file", "rows are of another kind than the rest of their files"
    )


def task_mixed(dataset: Dataset, facts: Facts) -> Found | None:
    """Flag a YOLO dataset in which some label files hold boxes and others polygons (or poses).

    **Why it matters.** Ultralytics drops all polygons of the dataset as soon as the numbers of boxes and polygons differ, and says so only
    in a warning.

    **Usual cause.** A detection and a segmentation dataset put together.

    **What to do.** Train on boxes only, or draw the missing polygons.
    """
    if not format_of(dataset).bare_numbers:
        return None
    boxes, longer = _kinds_in_files(dataset)
    only_boxes, only_longer = np.flatnonzero((boxes > 0) & (longer == 0)), np.flatnonzero((longer > 0) & (boxes == 0))
    if not len(only_boxes) or not len(only_longer):
        return None
    fewer = only_boxes if len(only_boxes) <= len(only_longer) else only_longer
    what = ("box", "boxes") if fewer is only_boxes else ("polygon", "polygons")
    rows: Rows = np.sort(np.unique(dataset.annotations.source, return_index=True)[1][np.isin(np.unique(dataset.annotations.source), fewer)])
    return annotations_found(rows, f"label file holds {what[0]} rows, unlike the others", f"label files hold {what[1]}, unlike the others")
