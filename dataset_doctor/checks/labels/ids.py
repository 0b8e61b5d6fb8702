"""DD1: ids of COCO records and categories: missing, zero, used twice."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from dataset_doctor.checks._classes import class_places, named
from dataset_doctor.checks._found import annotations_found, images_found, without_reported
from dataset_doctor.dataset import NO_ID, NO_SOURCE, Dataset, Rows
from dataset_doctor.findings import Facts, Found, plural
from dataset_doctor.formats import format_of

BACKGROUND_NAMES = frozenset({"background", "_background_", "__background__", "bg", "back_ground", "__ignore__"})


def annotation_id_zero(dataset: Dataset, facts: Facts) -> Found | None:
    """Flag COCO annotations whose id is 0.

    **Why it matters.** pycocotools' evaluation takes a matched id of 0 for "not matched", so this object can never be found: with one
    other box in the set, the average precision falls from 1.0 to 0.25.

    **Usual cause.** A script, or Label Studio, that numbers annotations from 0.

    **What to do.** Number them from 1.
    """
    if not format_of(dataset).has_ids:
        return None
    return annotations_found(dataset.annotations.source_id == 0, "annotation has the id 0", "annotations have the id 0", "id")


def annotation_id_missing(dataset: Dataset, facts: Facts) -> Found | None:
    """Flag COCO annotations without an id.

    **Why it matters.** pycocotools stops with KeyError as soon as it indexes the file, and with it every trainer that uses it.

    **Usual cause.** A file written by hand or by a script.

    **What to do.** Number the annotations from 1.
    """
    if not format_of(dataset).has_ids:
        return None
    rows = np.flatnonzero(dataset.annotations.source_id == NO_ID)
    if not len(rows):
        return None
    return annotations_found(without_reported(dataset, facts, rows, "id-invalid"), "annotation has no id", "annotations have no id", "id")


def _repeated(ids: NDArray[Any], source: NDArray[np.int32]) -> Rows:
    """Give the rows whose id an earlier row of the same file has, sorted."""
    repeated = []
    for file in np.unique(source).tolist():
        rows = np.flatnonzero(source == file) if len(source) and (source != file).any() else np.arange(len(source))
        of_file = ids[rows]
        if of_file.dtype != object:
            given = rows[of_file != NO_ID]
            ordered = np.sort(ids[given])
            if not (ordered[1:] == ordered[:-1]).any():
                continue
            order = np.argsort(ids[given], kind="stable")
            same = np.flatnonzero(ids[given][order][1:] == ids[given][order][:-1])
            repeated.append(given[order[same + 1]])
        else:
            own = of_file.tolist()
            first = {value: row for row, value in reversed(list(enumerate(own)))}
            again = [row for row, value in enumerate(own) if first[value] != row and value != NO_ID]
            repeated.append(rows[again])
    return np.sort(np.concatenate(repeated)) if repeated else np.zeros(0, np.intp)


def annotation_id_duplicate(dataset: Dataset, facts: Facts) -> Found | None:
    """Flag COCO annotations whose id an earlier one of the same file has.

    **Why it matters.** detectron2 and MMDetection stop ("Annotation ids are not unique"). pycocotools keeps the last of them silently, and
    its evaluation counts wrong.

    **Usual cause.** Merged files whose ids were not renumbered, or a counter that starts again for each image.

    **What to do.** Renumber the annotations from 1.
    """
    if not format_of(dataset).has_ids:
        return None
    rows = _repeated(dataset.annotations.source_id, dataset.annotations.source)
    return annotations_found(rows, "annotation has the id of an earlier one", "annotations have ids of earlier ones", "id")


def image_id_duplicate(dataset: Dataset, facts: Facts) -> Found | None:
    """Flag COCO image entries whose id an earlier one of the same file has.

    **Why it matters.** The last entry wins: the boxes of both images are drawn on one of them, and the other one loses all of its own.

    **Usual cause.** Merged files whose ids were not renumbered.

    **What to do.** Find out from the source files which box belongs where, and give every image its own id.
    """
    described = np.flatnonzero(dataset.images.source != NO_SOURCE)
    if not format_of(dataset).has_ids or not len(described):
        return None
    rows = described[_repeated(dataset.images.source_id[described], dataset.images.source[described])]
    return images_found(rows, "image has the id of an earlier one", "images have ids of earlier ones", "id")


def category_id_zero(dataset: Dataset, facts: Facts) -> Found | None:
    """Flag a COCO category with the id 0 that annotations use.

    **Why it matters.** torchvision's detectors keep label 0 for the background, so the class is never learnt; datumaro and CVAT read it
    as "no label". detectron2 and MMDetection renumber and are not concerned.

    **Usual cause.** An exporter that counts classes from 0, as Label Studio does.

    **What to do.** Add 1 to all category ids, in `categories` and in `annotations`.
    """
    if not format_of(dataset).has_ids:
        return None
    used = np.bincount(dataset.annotations.class_index + 1, minlength=len(dataset.classes) + 1)[1:]
    zero = [row for row, one in enumerate(dataset.classes) if one.id == 0 and used[row]]
    if not zero:
        return None
    names = named([dataset.classes[row].name for row in zero])
    return Found(len(zero), f"the category {names} has the id 0 and is used", places=class_places(dataset, zero))


def category_id_duplicate(dataset: Dataset, facts: Facts) -> Found | None:
    """Flag COCO categories whose id an earlier one of the same file has.

    **Why it matters.** Every reader keeps the last: the boxes of the other class change their name silently.

    **Usual cause.** Merged lists of categories, or a class inserted by hand.

    **What to do.** Give each category its own id, and correct the annotations where two classes were meant.
    """
    if not format_of(dataset).has_ids:
        return None
    seen: set[tuple[str | None, int | str]] = set()
    again = []
    for row, one in enumerate(dataset.classes):
        key = (one.place.file if one.place else None, one.id)
        if key in seen and one.id != NO_ID:
            again.append(row)
        seen.add(key)
    if not again:
        return None
    return Found(len(again), plural(len(again), "category has the id of an earlier one", "categories have ids of earlier ones"),
                 places=class_places(dataset, again))  # fmt: skip


def category_is_background(dataset: Dataset, facts: Facts) -> Found | None:
    """Flag a class that is called background.

    **Why it matters.** Detectors have their own idea of the background. A class of that name adds an output that nothing, or everything,
    belongs to, and shifts the numbers of the others.

    **Usual cause.** labelme's `_background_`, or class lists of segmentation models.

    **What to do.** Remove the class; leave images without objects unlabelled.
    """
    if dataset.task == "classify":
        return None
    rows = [row for row, name in enumerate(dataset.class_names) if name.strip().casefold() in BACKGROUND_NAMES]
    if not rows:
        return None
    names = named([dataset.classes[row].name for row in rows])
    return Found(len(rows), f"{plural(len(rows), 'class is', 'classes are')} the background: {names}", places=class_places(dataset, rows))


def id_is_text(dataset: Dataset, facts: Facts) -> Found | None:
    """Flag COCO files whose ids are text.

    **Why it matters.** Most readers take text as it is, but predictions carry numbers, and pycocotools then says "Results do not
    correspond to current coco set".

    **Usual cause.** File names or database keys used as ids.

    **What to do.** Number images and annotations, unless your tools agree on text.
    """
    if not format_of(dataset).has_ids or facts.statistics.problems.get("id-mixed-types"):
        return None
    if dataset.images.source_id.dtype == object:
        texts = np.array([isinstance(own, str) for own in dataset.images.source_id.tolist()], bool)
        if texts.any():
            return images_found(texts, "image id is text", "image ids are text", "id")
    for column, what, field in (
        (dataset.annotations.source_id, "annotation", "id"),
        (dataset.annotations.class_id, "category", "category_id"),
    ):
        if column.dtype == object:
            texts = np.array([isinstance(own, str) for own in column.tolist()], bool)
            if texts.any():
                return annotations_found(texts, f"{what} id is text", f"{what} ids are text", field)
    return None
