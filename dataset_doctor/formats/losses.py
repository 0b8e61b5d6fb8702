"""What a format can hold of a dataset: which records it cannot, and what is lost on the way."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dataset_doctor.dataset import NO_SOURCE, Dataset, Flag, Flaw, FormatName, Geometry, LabelState, Problem, Rows, Shapes
from dataset_doctor.files.progress import Progress, silent
from dataset_doctor.files.reading import Unreadable
from dataset_doctor.files.tree import Tree, reopened
from dataset_doctor.findings import plural
from dataset_doctor.formats.format import find_format, format_of, lose
from dataset_doctor.formats.outlines import read_shapes

OUTSIDE_PX = 1.0
"""A box may leave its image by so much."""
LEAST_NUMBERS = 6
ABSURD = 10
NUMBERS_A_KEYPOINT = 3
LOST_KINDS = frozenset({"record-unreadable", "annotation-without-image"})
"""Problems of records that gave no row."""


@dataclass(frozen=True, slots=True, eq=False)
class LeftOut:
    """What a write leaves out of the source's labels.

    rows      annotation rows that the format cannot hold
    problems  of records and label files that could not be read, and that are not copied as they are
    """

    rows: Rows
    problems: tuple[Problem, ...] = ()

    def __len__(self) -> int:
        return len(self.rows) + sum(problem.count for problem in self.problems)

    def of_split(self, dataset: Dataset, split: str) -> LeftOut:
        """Keep what a write in the same format leaves out where only one split changes; the others are written through untouched."""
        column = dataset.splits.index(split)
        images = dataset.images
        sources = np.unique(images.source[images.in_split[:, column] & (images.source != NO_SOURCE)])
        files = {dataset.sources[row] for row in sources.tolist()}
        rows = self.rows[dataset.annotations_in_split(column)[self.rows]] if len(self.rows) else self.rows
        return LeftOut(rows, tuple(one for one in self.problems if one.place.file in files))


def left_out(
    dataset: Dataset, format: FormatName, *, split: str | None = None, shapes: Shapes | None = None, progress: Progress = silent
) -> LeftOut:
    """Tell what a write would leave out. Nothing else has to be allowed: an error that loses nothing is written as it is.

    Args:
        dataset: The source.
        format: The format to write.
        split: The only split that changes; None where all do.
        shapes: As for `unwritable`.
        progress: As for `unwritable`.
    """
    rows = unwritable(dataset, format, shapes, progress)
    lost = [one for one in dataset.problems if one.kind == "label-unreadable" or (one.kind in LOST_KINDS and _is_record(dataset, one))]
    if format != dataset.format:
        return LeftOut(rows, tuple(lost))
    if format_of(dataset).label_an_image:
        # A label file that cannot be read is copied as it is, as long as it opens.
        unread = np.unique(dataset.images.source[_without_labels(dataset, format)])
        shut = {dataset.sources[row] for row in unread.tolist() if row != NO_SOURCE}
        lost = [one for one in lost if one.kind != "label-unreadable" or one.place.file in shut]
    found = LeftOut(rows, tuple(lost))
    return found if split is None else found.of_split(dataset, split)


def unwritable(dataset: Dataset, format: FormatName, shapes: Shapes | None = None, progress: Progress = silent) -> Rows:
    """Name the annotations that a format cannot hold, or that its readers refuse.

    Anywhere: a class that nobody declared, a box that is not four finite numbers or without width or height as written, and a shape with
    an error where the format would hold the shape. Where readers refuse the whole image for it, as those of YOLO and VOC: a box that
    leaves its image by more than 1 px. From or to shares of the image: an image whose size is not known. Warnings and duplicates are no
    reason.

    Args:
        dataset: The source.
        format: The format to write.
        shapes: What `read_shapes` gave; label files are read again where it is needed and None.
        progress: Called while they are.
    """
    source, target = format_of(dataset), find_format(format)
    if source.box is None:
        return np.flatnonzero(dataset.annotations.class_index < 0)
    corners = dataset.annotations.corners
    with np.errstate(invalid="ignore", over="ignore"):
        x1, y1, x2, y2 = corners.T
        # NaN compares as false, and the difference of infinite ends is none or infinite.
        wrong = (dataset.annotations.class_index < 0) | ~(x1 < x2) | ~(y1 < y2) | ~np.isfinite(x2 - x1) | ~np.isfinite(y2 - y1)
        if target.boxes_inside:
            wrong |= dataset.overshoot_px > OUTSIDE_PX
    if dataset.in_shares or target.box == "shares":
        wrong |= np.isnan(dataset.annotation_sizes).any(axis=1)
    shaped = (dataset.annotations.geometry != Geometry.BOX) | dataset.annotations.has(Flag.KEYPOINTS)
    if shaped.any() and target.holds_shapes(dataset):
        shapes = read_shapes(dataset, progress) if shapes is None else shapes
        if shapes is not None:
            wrong |= _misshapen(dataset, shapes) & ~dataset.is_made[dataset.annotations.image]
    return np.flatnonzero(wrong)


def _misshapen(dataset: Dataset, shapes: Shapes) -> NDArray[np.bool_]:
    """Tell which annotations have a polygon, mask or keypoints with an error: the checks DD160 to DD163, DD168 to DD170, DD172, DD174."""
    sizes = dataset.annotation_sizes
    wrong: NDArray[np.bool_] = (shapes.shortest >= 1) & (shapes.shortest < LEAST_NUMBERS)
    wrong |= shapes.has(Flaw.ODD | Flaw.NOT_NESTED | Flaw.MALFORMED | Flaw.MASK_INVALID | Flaw.VISIBILITY)
    with np.errstate(invalid="ignore"):
        longest = ABSURD * np.maximum(sizes[:, 0], sizes[:, 1])
        for edge in shapes.extent.T:
            wrong |= np.abs(edge) > longest
    (mask_width, mask_height), (width, height) = shapes.mask_size.T, sizes.T
    wrong |= (mask_width > 0) & (mask_height > 0) & ~np.isnan(width) & ((mask_width != width) | (mask_height != height))
    wrong |= (shapes.mask_sum >= 0) & (shapes.mask_sum != shapes.mask_size.clip(0, 1 << 31).prod(axis=1))
    expected = np.array([*(NUMBERS_A_KEYPOINT * one.keypoints for one in dataset.classes), 0])[dataset.annotations.class_index]
    given = shapes.keypoints
    wrong |= (given >= 0) & ((given % NUMBERS_A_KEYPOINT != 0) | ((expected > 0) & (given != expected)))
    return wrong


def fitted(dataset: Dataset, format: FormatName) -> Dataset:
    """Give what of a dataset another format holds.

    No crowd and ignored regions in most; no label without a record; an image whose label file cannot be read is unlabeled. An
    image that several COCO files describe, each for its split, becomes one image a split, since the other formats keep the labels of an
    image in one place.
    """
    unread = _without_labels(dataset, format)
    if format == dataset.format:
        if not unread.any():
            return dataset
        state = np.where(unread, np.uint8(LabelState.UNLABELED), dataset.images.label_state)
        return dataclasses.replace(dataset, images=dataclasses.replace(dataset.images, label_state=state))
    target = find_format(format)
    if target.needs_train:
        dataset = dataset.with_train()
    if target.label_an_image:
        dataset = _one_split_each(dataset)
        unread = _without_labels(dataset, format)
    if not target.holds_ignored and not dataset.is_instance.all():
        dataset = dataset.holding(dataset.is_instance)
    annotations, images = dataset.annotations, dataset.images
    state = images.label_state.copy()
    state[state == LabelState.LABELED] = LabelState.BACKGROUND
    state[unread] = LabelState.UNLABELED
    state[annotations.image] = LabelState.LABELED
    return dataclasses.replace(dataset, images=dataclasses.replace(images, label_state=state))


def _without_labels(dataset: Dataset, format: FormatName) -> NDArray[np.bool_]:
    """Tell which images have a label file that gave nothing and is not copied: broken, or in the same format one that will not open."""
    images = dataset.images
    broken = {problem.place.file for problem in dataset.problems if problem.kind == "label-unreadable"}
    if not broken or not format_of(dataset).label_an_image:
        return np.zeros(len(images), bool)
    if format == dataset.format:
        broken &= set(dataset.sources)
        tree = reopened(dataset.root, sorted(name for name in broken if name))
        broken = {name for name in tree.files if not _opens(tree, name)}
    lost = np.array([*(name in broken for name in dataset.sources), True])[images.source]
    lost &= images.label_state == LabelState.LABELED
    lost[dataset.annotations.image] = False
    return lost


def _opens(tree: Tree, name: str) -> bool:
    try:
        tree.read_bytes(name)
    except Unreadable:
        return False
    return True


def _one_split_each(dataset: Dataset) -> Dataset:
    """Give each image of several splits, whose records belong to one of them each, a row a split."""
    of_source = dataset.source_split[dataset.annotations.source]
    apart = np.zeros(dataset.n_images, bool)
    apart[dataset.annotations.image[of_source >= 0]] = True
    apart &= dataset.images.in_split.sum(axis=1) > 1
    if not apart.any():
        return dataset
    splits = [np.flatnonzero(inside).tolist() if several else [-1] for inside, several in zip(dataset.images.in_split, apart, strict=True)]
    rows = np.repeat(np.arange(dataset.n_images), [len(one) for one in splits])
    only = np.array([split for one in splits for split in one], np.int64)
    taken = dataset.select(rows)
    in_split = taken.images.in_split.copy()
    in_split[only >= 0] = np.arange(len(dataset.splits)) == only[only >= 0, None]
    # They are not stated to be one picture: what was a leak between splits stays one.
    picture = np.where(only > 0, np.arange(len(rows)) + int(dataset.images.picture.max(initial=0)) + 1, taken.images.picture)
    of_source = dataset.source_split[taken.annotations.source]
    taken = taken.holding((of_source < 0) | in_split[taken.annotations.image, of_source])
    return dataclasses.replace(taken, images=dataclasses.replace(taken.images, in_split=in_split, picture=picture.astype(np.int32)))


def losses(dataset: Dataset, format: FormatName) -> tuple[str, ...]:
    """Say what a format cannot hold of a dataset, one sentence each; nothing where source and target are one format and all is read.

    Args:
        dataset: What is to be written, as a plan gives it.
        format: The format to write.
    """
    sentences = []
    if lost := _records_without_rows(dataset, format):
        sentences.append(f"{plural(lost, 'record')} could not be read and {'is' if lost == 1 else 'are'} left out.")
    if lost := int(_without_labels(dataset, format).sum()):
        sentences.append(f"{plural(lost, 'label file')} could not be read and {'is' if lost == 1 else 'are'} left out.")
    if format == dataset.format:
        return tuple(sentences)
    source, target, annotations = format_of(dataset), find_format(format), dataset.annotations
    if not target.holds_ignored:
        why = f"{target.title} has none; they are left out."
        sentences += lose(annotations.has(Flag.CROWD), "crowd region", why)
        sentences += lose(annotations.has(Flag.IGNORE) & ~annotations.has(Flag.CROWD), "ignored annotation", why)
    if target.boxes_inside:
        with np.errstate(invalid="ignore"):
            cut = dataset.overshoot_px[dataset.is_instance] > 1e-6
        sentences += lose(cut, "box", "cut at the edge of the image, by at most 1 px.", "boxes")
    sentences += target.losses(dataset)
    for flag in source.flags:
        if flag not in target.flags and (count := int(annotations.has(flag).sum())):
            marked = "one object is" if count == 1 else f"{count:,} objects are"
            sentences.append(f"{target.title} has no such flag: {marked} no longer marked {str(flag.name).lower()}.")
    sentences += source.leaves_behind(target.title)
    why = "they are not taken over." if target.holds_scores else f"{target.title} labels hold none."
    sentences += lose(annotations.has(Flag.SCORE), "score", why)
    return (*sentences, *target.alters(dataset))


def _records_without_rows(dataset: Dataset, format: FormatName) -> int:
    """Count label records that gave no row and are in a file that is not copied as it is."""
    copied = format_of(dataset).copied_files(dataset) if format == dataset.format else frozenset()
    lost = (one for one in dataset.problems if one.kind in LOST_KINDS and _is_record(dataset, one))
    return sum(problem.count for problem in lost if problem.place.file not in copied)


def _is_record(dataset: Dataset, problem: Problem) -> bool:
    """Tell a record that was lost from one of which only a member could not be read, and from an image or a category."""
    parts, pointer = (problem.place.pointer or "").split("/"), format_of(dataset).pointer
    if pointer is None or len(parts) < 3:
        return True
    array = (pointer("annotations", 0, "") or "/").split("/")[1]
    return parts[1] == array and (len(parts) == 3 or parts[3:] == ["image_id"])
