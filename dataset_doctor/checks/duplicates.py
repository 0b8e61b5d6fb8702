"""DD5: images that are there more than once."""

from __future__ import annotations

import dataclasses
from collections import defaultdict

import numpy as np
from numpy.typing import NDArray

from dataset_doctor.checks._groups import groups_found, image_groups, with_first
from dataset_doctor.dataset import Dataset, LabelState, Rows
from dataset_doctor.findings import Facts, Found, Severity, Threshold, judged_by, plural
from dataset_doctor.formats import format_of
from dataset_doctor.pixels import TURN_BACK, Duplicates
from dataset_doctor.relations import stems_of, without_export
from dataset_doctor.scan.near import clusters

MAX_CORNER_DIFFERENCE_PX = Threshold("max_corner_difference_px", 1.0, "how far the corners of one box may differ, in pixels")
MAX_CORNER_DIFFERENCE_SHARE = Threshold(
    "max_corner_difference_share", 0.01, "how far the corners of one box may differ, as a share of the image's longer side", upper=1
)

MIRRORED = 2
TURNED = (
    "", "", ", mirrored", ", turned by 180°", ", mirrored and turned by 180°", ", mirrored and turned by 270°", ", turned by 90°",
    ", mirrored and turned by 90°", ", turned by 270°",
)  # fmt: skip
"""What is done to the other image by each EXIF orientation, clockwise."""


def image_duplicate(dataset: Dataset, facts: Facts) -> Found | None:
    """Flag images that are the same file, or identical pixel by pixel.

    **Why it matters.** The model sees the image more often than others, and the dataset is smaller than it looks. In several splits it
    is worse: see split-leakage.

    **Usual cause.** Datasets merged from one source, downloads repeated under new names, oversampling by copying files.

    **What to do.** Keep one of each group and join their labels. To show a class more often, use `dataset-doctor rebalance`.
    """
    if facts.duplicates is None:
        return None
    groups = image_groups(dataset, facts.duplicates.exact_group)
    message = f"{plural(len(groups), 'group', 'groups')} of identical images ({sum(map(len, groups)):,} files)"
    return groups_found(dataset, groups, [with_first(group) for group in groups], "identical to", message)


def image_near_duplicate(dataset: Dataset, facts: Facts) -> Found | None:
    """Flag images from one shot: resized, recompressed, cropped, recoloured, turned or mirrored copies, frames in which nothing moved.

    **Why it matters.** They add little to what a model can learn, make a class look better covered than it is, and leak as soon as a
    random split puts them on both sides.

    **Usual cause.** Augmentation before splitting, frames of a still scene, the same image from two sources.

    **What to do.** Keep the best of each group, or keep the groups together when splitting, as `dataset-doctor split` does.

    Candidates come from a 64-bit perceptual hash (at most 6 bits differ, or `--near-bits`), also turned by 90°, 180° or 270° (clockwise)
    and mirrored, and from the likeness of their lowest frequencies, colours included. Each is confirmed: one image is laid over the
    other, and their fine structure must agree, at the worst place too, and inside the labelled boxes. So two objects on one background
    are not from one shot, nor are frames of a video in which something has moved: where frames lie in different splits, see
    sequence-in-several-splits. Copies turned by other angles, cropped by 10 % and more, or with a logo or text added are not all
    found.
    """
    duplicates = facts.duplicates
    if duplicates is None or not len(duplicates.near_pairs):
        return None
    pairs = duplicates.near_pairs
    near = np.zeros(dataset.n_images + 1, bool)
    near[duplicates.near_group[pairs[:, 0]]] = True
    number = np.where(near[duplicates.near_group], duplicates.near_group, -1).astype(np.int32)
    # Each image goes with the first that it is in a pair with; copies of such an image go with the first of their group.
    partner = np.full(dataset.n_images, -1, np.intp)
    how = np.ones(dataset.n_images, np.uint8)
    earlier, later, turn = pairs[::-1, 0], pairs[::-1, 1], duplicates.near_turn[::-1]
    partner[later], how[later] = earlier, TURN_BACK[turn]
    first = partner[earlier] < 0
    partner[earlier[first]], how[earlier[first]] = later[first], turn[first]
    groups = image_groups(dataset, number)
    partners = [np.where(partner[group] < 0, with_first(group), partner[group]) for group in groups]
    mirrored, turned = int((duplicates.near_turn == MIRRORED).sum()), int((duplicates.near_turn > MIRRORED).sum())
    message = f"{plural(len(groups), 'group', 'groups')} of nearly identical images ({sum(map(len, groups)):,} files)"
    if mirrored:
        message += f"; {plural(mirrored, 'pair is', 'pairs are')} mirrored"
    if turned:
        message += f"; {plural(turned, 'pair is', 'pairs are')} turned"
    found = groups_found(dataset, groups, partners, "nearly identical to", message)
    if found is None or found.images is None:
        return found
    details = [text + TURNED[turn] for text, turn in zip(found.details, how[found.images].tolist(), strict=True)]
    return dataclasses.replace(found, details=details)


@judged_by(MAX_CORNER_DIFFERENCE_PX, MAX_CORNER_DIFFERENCE_SHARE)
def duplicate_label_conflict(dataset: Dataset, facts: Facts) -> Found | None:
    """Flag identical images that are labelled differently, and images from one shot that lie in different classes.

    **Why it matters.** The same image pulls the model in two directions. With other classes (an error) one of the labels is wrong; with
    other boxes (a warning) objects are missing in one of them, and are then trained as background.

    **Usual cause.** Two annotators, or a class that was corrected in one copy only; images of two classes, sorted into both
    folders.

    **What to do.** Look at both, keep one image with all objects labelled. Boxes count as the same up to {max_corner_difference_px} px or
    {max_corner_difference_share:%} of the image.

    Of nearly identical images (image-near-duplicate) only class folders are compared, since a crop may leave boxes out; alone they are a
    warning, since two things that look alike, as two traffic signs, may differ in just what the classes are about.
    """
    if facts.duplicates is None:
        return None
    annotations = dataset.annotations
    order = np.argsort(annotations.image, kind="stable")
    start = np.searchsorted(annotations.image[order], np.arange(dataset.n_images + 1))
    boxes, longer = dataset.boxes, dataset.sizes.max(axis=1)
    groups: list[Rows] = []
    partners: list[Rows] = []
    classes_differ = 0
    for group in image_groups(dataset, facts.duplicates.exact_group):
        # A copy without a label file need not be empty.
        known = group[dataset.images.label_state[group] != LabelState.UNLABELED]
        records = [order[start[row] : start[row + 1]] for row in known.tolist()]
        named = [_class_names(dataset, rows) for rows in records]
        tolerance = float(np.nanmax([facts[MAX_CORNER_DIFFERENCE_PX], *(facts[MAX_CORNER_DIFFERENCE_SHARE] * longer[known])]))
        other_class = next((at for at, names in enumerate(named) if names != named[0]), 0)
        same = [_same_boxes(boxes, annotations.class_index, records[0], rows, tolerance) for rows in records]
        other_box = same.index(False) if False in same else 0
        if other := other_class or other_box:
            classes_differ += other_class > 0
            groups.append(known)
            partners.append(np.where(known == known[0], known[other], known[0]))
    parts = []
    if groups:
        message = plural(len(groups), "group of identical images", "groups of identical images")
        parts.append(message + (f" ({classes_differ:,} with other classes)" if 0 < classes_differ < len(groups) else ""))
    near, near_partners = _near_conflicts(dataset, facts.duplicates)
    if near:
        parts.append(plural(len(near), "group of nearly identical images", "groups of nearly identical images"))
    n = len(groups) + len(near)
    message = f"{' and '.join(parts)} {'is' if n == 1 else 'are'} labelled differently"
    severity = Severity.ERROR if classes_differ else Severity.WARNING
    return groups_found(dataset, groups + near, partners + near_partners, "same image, other labels:", message, severity)


def _near_conflicts(dataset: Dataset, duplicates: Duplicates) -> tuple[list[Rows], list[Rows]]:
    """Give groups of images from one shot that lie in different class folders, and their partners."""
    if not format_of(dataset).class_folders or not len(duplicates.near_pairs):
        return [], []
    own = np.full(dataset.n_images, -1, np.intp)
    own[dataset.annotations.image] = dataset.annotations.class_index
    differ = (own[duplicates.near_pairs] >= 0).all(axis=1) & (own[duplicates.near_pairs[:, 0]] != own[duplicates.near_pairs[:, 1]])
    pairs = duplicates.near_pairs[differ]
    partner = np.full(dataset.n_images, -1, np.intp)
    partner[pairs[::-1, 1]] = pairs[::-1, 0]
    first = partner[pairs[::-1, 0]] < 0
    partner[pairs[::-1, 0][first]] = pairs[::-1, 1][first]
    groups = image_groups(dataset, clusters(pairs, dataset.n_images))
    return groups, [partner[group] for group in groups]


def _class_names(dataset: Dataset, rows: Rows) -> set[str]:
    """Give the names of the classes in label records; the record's own word where the class is not declared."""
    table = dataset.annotations
    pairs = zip(table.class_index[rows].tolist(), table.class_id[rows].tolist(), strict=True)
    return {dataset.classes[index].name if index >= 0 else str(word) for index, word in pairs}


def _same_boxes(boxes: NDArray[np.float64], class_index: NDArray[np.int32], one: Rows, other: Rows, tolerance: float) -> bool:
    """Tell whether each box of one image has its like among those of the other, class by class, as many in both."""
    from scipy.spatial import KDTree

    for row in np.union1d(class_index[one], class_index[other]).tolist():
        a, b = (boxes[rows[class_index[rows] == row]] for rows in (one, other))
        if len(a) != len(b):
            return False
        a, b = (x[np.isfinite(x).all(axis=1)] for x in (a, b))
        if len(a) != len(b):
            return False
        if len(a) and max(np.max(KDTree(x).query(y, p=np.inf)[0]) for x, y in ((a, b), (b, a))) > tolerance:
            return False
    return True


def copies_of_one_source(dataset: Dataset, facts: Facts) -> Found | None:
    """Flag images of one split that were made from one source, judging by Roboflow's names (`name.rf.hash`).

    **Why it matters.** Nothing is wrong with augmented copies in train. They count as one image when you ask how much data there is, and
    in val or test they weigh some images more than others.

    **Usual cause.** An export with augmentation, "outputs per training example" above 1.

    **What to do.** Keep the copies of one source in one split. To augment while training, export without.
    """
    stems = stems_of(dataset.images.file_name.tolist())
    groups: dict[tuple[str, bytes], list[int]] = defaultdict(list)
    stated = dataset.images.is_repeat.tolist()
    for row, (stem, split) in enumerate(zip(stems, map(bytes, dataset.images.in_split), strict=True)):
        source = without_export(stem)
        if source != stem and any(c.isalnum() for c in source) and not stated[row]:
            groups[source, split].append(row)
    several = [rows for rows in groups.values() if len(rows) > 1]
    if not several:
        return None
    rows = np.array(sorted(row for group in several for row in group), np.intp)
    n = len(several)
    message = f"{plural(n, 'source image has', 'source images have')} several copies in one split ({plural(len(rows), 'image')})"
    return Found(n, message, images=rows)
