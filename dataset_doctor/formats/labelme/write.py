"""Write LabelMe: a JSON file beside each image, with rectangles and polygons.

A file that says what it said before is copied byte for byte. In one of which shapes are cut, or whose image has another name, everything
else stays as it was, an embedded image included; it is passed through as text.
"""

from __future__ import annotations

import json
import posixpath
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dataset_doctor.dataset import Dataset, Flag, Geometry, LabelState
from dataset_doctor.errors import UsageError
from dataset_doctor.files.images import bring
from dataset_doctor.files.names import repeat_names
from dataset_doctor.files.output import Materialize, Stage
from dataset_doctor.files.progress import Progress, silent
from dataset_doctor.files.reading import Unreadable, decode
from dataset_doctor.files.tree import Tree, reopened
from dataset_doctor.formats.format import format_of, lose
from dataset_doctor.formats.labelme.records import MAX_BYTES, Labels, parse
from dataset_doctor.formats.layout import canonical_names, changed, keeps_layout, kept_names, split_folders, treated
from dataset_doctor.formats.outlines import read_outlines
from dataset_doctor.masks import mask_rings
from dataset_doctor.outlines import Outlines

NAME = "labelme"
VERSION = "5.5.0"
"""Of labelme, whose layout this is; labelme reads nothing else from it."""

DECIMALS = 6


def write(dataset: Dataset, stage: Stage, *, materialize: Materialize = "copy", progress: Progress = silent) -> list[str]:
    """Write a dataset of any format as LabelMe; give for each image row the path of its file in the new dataset.

    In the same format and with no image in another split, files keep their places. Else each split has a folder with its images and their
    label files; an image of several splits lies in each.

    Args:
        dataset: What to write, repeated images as rows of their own; its label files are read again.
        stage: Where to.
        materialize: How images are brought; not "list".
        progress: Called with what is done, how much and how much in all.

    Raises:
        DoctorError: the source has changed since it was read.
        UsageError: class names that LabelMe cannot tell apart.
    """
    _check_class_names(dataset.class_names)
    images = dataset.images
    if keeps_layout(dataset, NAME):
        names = kept_names(dataset)
        rows, places = np.arange(len(names)), names
    else:
        folders = [""] if dataset.splits == ("all",) else [f"{folder}/" for folder in split_folders(dataset)]
        rows, columns = np.nonzero(images.in_split)
        bare = canonical_names(dataset)
        places = [f"{folders[column]}{bare[row]}" for row, column in zip(rows.tolist(), columns.tolist(), strict=True)]
        names = [places[at] for at in np.unique(rows, return_index=True)[1].tolist()]
    is_own = np.full(len(images), dataset.format == NAME) & ~dataset.is_made
    for wanted, write_labels in ((is_own, _copy), (~is_own, _render)):
        at = np.flatnonzero(wanted[rows])
        if len(at):
            write_labels(dataset, rows[at], [places[one] for one in at.tolist()], stage, progress)
    there = np.flatnonzero(images.has_file[rows]).tolist()
    bring(dataset, rows[there].tolist(), [places[at] for at in there], stage, materialize, progress)
    return names


def _check_class_names(names: Sequence[str]) -> None:
    """Refuse class names that would not be the same when read.

    Raises:
        UsageError: with the first of them.
    """
    for name in names:
        if name != name.strip() or not name:
            raise UsageError(f"The class name {name!r} is empty or begins or ends with a space.", "Rename the class.")
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise UsageError(f"Two classes are called {twice}, and LabelMe tells classes apart by their names alone.", "Rename one of them.")


def _members(dataset: Dataset) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Order the annotations by image, and say where those of each image begin."""
    order = np.argsort(dataset.annotations.image, kind="stable")
    return order, np.searchsorted(dataset.annotations.image[order], np.arange(dataset.n_images + 1))


def _encoded(document: dict[str, Any]) -> bytes:
    text = json.dumps(document, indent=2, ensure_ascii=False)
    try:
        return text.encode()
    except UnicodeEncodeError:  # half a character, which JSON can only escape
        return json.dumps(document, indent=2).encode()


# From LabelMe -------------------------------------------------------------------------------------------------------


def _copy(dataset: Dataset, rows: NDArray[np.intp], places: Sequence[str], stage: Stage, progress: Progress) -> None:
    """Copy the label files of the images; cut the shapes that the dataset no longer holds.

    Shapes that gave no annotation stay where no treatment comes by.
    """
    annotations, images = dataset.annotations, dataset.images
    order, begin = _members(dataset)
    tree = reopened(dataset.root, dataset.sources)
    is_treated = treated(dataset).tolist()
    kept = keeps_layout(dataset, NAME)
    files: list[tuple[int, int, str]] = []
    for row, place in zip(rows.tolist(), places, strict=True):
        marks = order[begin[row] : begin[row + 1]]
        of_image = np.unique(np.append(annotations.source[marks], images.source[row])).tolist()
        for number, source in enumerate(one for one in of_image if one >= 0):
            own = dataset.sources[source]
            if kept and place == images.file_name[row]:
                label = own
            else:
                folder = posixpath.dirname(own) if kept else posixpath.dirname(place)
                stem = posixpath.splitext(posixpath.basename(place))[0]
                label = posixpath.join(folder, f"{stem}{f'_{number + 1}' if number else ''}.json")
            files.append((row, source, label))
    labels = [f"{stem}.json" for stem in repeat_names([label[: -len(".json")] for _, _, label in files])]
    place_of = dict(zip(rows.tolist(), places, strict=True))
    for done, ((row, source, _), label) in enumerate(zip(files, labels, strict=True)):
        marks = order[begin[row] : begin[row + 1]]
        marks = marks[annotations.source[marks] == source]
        moved = place_of[row] != images.file_name[row] or label != dataset.sources[source]
        path = posixpath.relpath(place_of[row], posixpath.dirname(label) or ".") if moved else None
        if (data := _given(dataset, tree, source, marks, is_treated[row], path)) is not None:
            stage.write(label, data)
        if done % 256 == 0:
            progress("writing LabelMe", done, len(files))


def _given(dataset: Dataset, tree: Tree, source: int, marks: NDArray[np.intp], is_treated: bool, path: str | None) -> bytes | None:
    """Give a label file with only some of its objects, and with another path to its image; None where it cannot be read.

    Raises:
        DoctorError: it no longer holds them.
    """
    name = dataset.sources[source]
    try:
        data = tree.read_bytes(name, MAX_BYTES)
    except Unreadable as error:
        if any(problem.kind == "label-unreadable" and problem.place.file == name for problem in dataset.problems):
            return None  # nor could it be read before
        raise changed(name, str(error)) from error
    labels = parse(tree, name)
    if labels is None or not labels.is_read:
        if len(marks):
            raise changed(name)
        return data
    held = _checked(dataset, labels, marks, name)
    whole = len(held) == len(labels.objects) and (not is_treated or -1 not in labels.part_of)
    if whole and path is None:
        return data
    try:
        document = json.loads(decode(data)[0])
    except (ValueError, RecursionError) as error:
        raise changed(name, str(error)) from error
    if not whole:
        stays = held | (set() if is_treated else {-1})
        document["shapes"] = [shape for shape, part in zip(document["shapes"], labels.part_of, strict=True) if part in stays]
    if path is not None:
        document["imagePath"] = path
    return _encoded(document)


def _checked(dataset: Dataset, labels: Labels, marks: NDArray[np.intp], name: str) -> set[int]:
    """Give the positions of the objects that annotations were read from.

    Raises:
        DoctorError: they are other objects by now.
    """
    annotations = dataset.annotations
    there = {one.position: one for one in labels.objects}
    held = annotations.position[marks].tolist()
    for position, label, corners in zip(held, annotations.class_id[marks].tolist(), annotations.corners[marks].tolist(), strict=True):
        one = there.get(position)
        if one is None or one.label != label or not np.array_equal(one.corners, corners, equal_nan=True):
            raise changed(name)
    return set(held)


# From other formats -------------------------------------------------------------------------------------------------


def _render(dataset: Dataset, rows: NDArray[np.intp], places: Sequence[str], stage: Stage, progress: Progress) -> None:
    """Write a label file for each image that has labels or is known to have none."""
    annotations = dataset.annotations
    order, begin = _members(dataset)
    unlabeled = (dataset.images.label_state == LabelState.UNLABELED).tolist()
    has_shapes = ((annotations.geometry != Geometry.BOX) & (annotations.geometry != Geometry.POSE)).any() or dataset.made is not None
    outlines = read_outlines(dataset, progress) if has_shapes else None
    carried = format_of(dataset).flags
    for done, (row, place) in enumerate(zip(rows.tolist(), places, strict=True)):
        if unlabeled[row]:
            continue
        width, height = dataset.sizes[row].tolist()
        shapes: list[dict[str, Any]] = []
        for number, mark in enumerate(order[begin[row] : begin[row + 1]].tolist()):
            index = int(annotations.class_index[mark])
            label = dataset.class_names[index] if index >= 0 else str(annotations.class_id[mark])
            flags = {str(flag.name).lower(): True for flag in carried if annotations.flags[mark] & flag}
            parts = _parts(dataset, outlines, mark)
            for kind, points in parts:
                shape = {"label": label, "points": points, "group_id": None, "description": "", "shape_type": kind, "flags": flags}
                shapes.append(shape if len(parts) == 1 else {**shape, "group_id": number})
        document: dict[str, Any] = {
            "version": VERSION,
            "flags": {},
            "shapes": shapes,
            "imagePath": posixpath.basename(place),
            "imageData": None,
            "imageHeight": None if np.isnan(height) else int(height),
            "imageWidth": None if np.isnan(width) else int(width),
        }
        stage.write(f"{posixpath.splitext(place)[0]}.json", _encoded(document))
        if done % 256 == 0:
            progress("writing LabelMe", done, len(rows))


def _parts(dataset: Dataset, outlines: Outlines | None, mark: int) -> list[tuple[str, list[list[float]]]]:
    """Give the shapes of an annotation: its rings, else the outline of its mask, else its box."""
    if outlines is not None:
        rings = [ring for ring in outlines.rings(mark) if len(ring) >= 3]
        if not rings and mark in outlines.masks:
            rings = mask_rings(outlines.masks[mark])
        if rings:
            return [("polygon", np.round(ring, DECIMALS).tolist()) for ring in rings]
    x1, y1, x2, y2 = np.round(dataset.boxes[mark], DECIMALS).tolist()
    return [("rectangle", [[x1, y1], [x2, y2]])]


# What is lost -------------------------------------------------------------------------------------------------------


def losses(dataset: Dataset) -> list[str]:
    """Say what LabelMe does not hold of a dataset."""
    annotations = dataset.annotations
    is_mask = (annotations.geometry == Geometry.RLE) | (annotations.geometry == Geometry.RLE_STRING)
    return [
        *lose(is_mask & dataset.is_instance, "run-length mask", "LabelMe holds its outline, within 0.25 px; holes are filled."),
        *lose(annotations.has(Flag.KEYPOINTS), "list of keypoints", "LabelMe holds the box of each object.", "lists of keypoints"),
    ]


def alters(dataset: Dataset) -> list[str]:
    """Say what LabelMe holds in another way."""
    quads = dataset.annotations.geometry == Geometry.OBB
    return lose(quads, "oriented box", "written as a polygon of four points.", "oriented boxes")


def leaves_behind(title: str) -> list[str]:
    """Say what of LabelMe another format has no place for."""
    return [f"{title} has no place for group_id, flags, descriptions and embedded images of LabelMe's files; a mask is read as its box."]
