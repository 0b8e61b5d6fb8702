"""Read LabelMe: which JSON files are LabelMe's, the image of each, and the columns.

The image is the file that `imagePath` names, seen from the label file; else the one beside the label file with its name; else the only one
of that name in the dataset. Only files that the walk has listed are ever meant, whatever a label file says.
"""

from __future__ import annotations

import dataclasses
import posixpath
import re
from collections import defaultdict
from collections.abc import Sequence
from itertools import groupby
from typing import Literal

import msgspec
import numpy as np
from numpy.typing import NDArray

from dataset_doctor.dataset import (
    NO_ID,
    NO_SOURCE,
    UNKNOWN_SIZE,
    Annotations,
    Class,
    Dataset,
    Geometry,
    Images,
    LabelState,
    Place,
    Problem,
)
from dataset_doctor.files.names import IMAGE_SUFFIXES, is_absolute, normalise, suffix
from dataset_doctor.files.progress import Progress, silent
from dataset_doctor.files.reading import Unreadable
from dataset_doctor.files.sizes import measure
from dataset_doctor.files.splits import folder_splits, is_split_name, split_matrix
from dataset_doctor.files.tree import Tree
from dataset_doctor.findings import plural
from dataset_doctor.formats.format import Candidate
from dataset_doctor.formats.labelme.records import MAX_BYTES, Labels, parse
from dataset_doctor.formats.personal import personal_data

FILES_TO_SNIFF = 8
"""JSON files of a folder that are looked at."""

_LABEL_FOLDERS = frozenset({"annotations", "annotation", "anns", "labels", "json", "jsons"})
_MARKS = re.compile(rb'"(?:shape_type|imagePath|imageData|imageHeight)"\s*:')
_LABEL = re.compile(rb'"label"\s*:\s*"((?:[^"\\]|\\.){0,200})"')


class _Named(msgspec.Struct, gc=False, rename="camel"):
    image_path: str = ""


# Recognising --------------------------------------------------------------------------------------------------------


def detect(tree: Tree, only: str | None = None) -> list[Candidate]:
    """Name the LabelMe datasets in a tree, after a look into a few JSON files of each folder.

    Folders are one dataset, unless several classes were seen in each of two and none in both, or both have files of the same names.

    Args:
        tree: What the walk found.
        only: A JSON file that the user pointed at: only its folder is looked at.
    """
    if only is not None and suffix(only) != ".json":
        return []
    by_home: dict[str, list[str]] = defaultdict(list)
    seen_in: dict[str, set[bytes]] = defaultdict(set)
    for folder, names in groupby(tree.with_suffix(".json"), posixpath.dirname):
        files = list(names)
        if only is not None and folder != posixpath.dirname(only):
            continue
        if (labels := _sniff(tree, files if only is None else [only])) is not None:
            by_home[_home(folder)] += files
            seen_in[_home(folder)] |= labels
    groups: list[tuple[list[str], list[str], set[bytes], set[str]]] = []
    for home, files in by_home.items():
        seen, own = seen_in[home], {name[len(home) :].lstrip("/") for name in files}
        for homes, others, labels, taken in groups:
            if taken.isdisjoint(own) and (not labels.isdisjoint(seen) or min(len(labels), len(seen)) < 2):
                homes.append(home)
                others += files
                labels |= seen
                taken |= own
                break
        else:
            groups.append(([home], files, seen, own))
    return [_candidate(homes, files) for homes, files, *_ in groups]


def _candidate(homes: Sequence[str], files: Sequence[str]) -> Candidate:
    what = f"{plural(len(files), 'JSON file')} with shapes and imagePath, as LabelMe writes them"
    return Candidate("labelme", "labelme", posixpath.commonpath(homes) if all(homes) else "", tuple(sorted(files)), (what,))


def _home(folder: str) -> str:
    """Give the folder of a dataset by that of label files: without folders named for splits or labels."""
    parts = folder.split("/")
    while parts and (is_split_name(parts[-1]) or parts[-1].lower() in _LABEL_FOLDERS):
        parts.pop()
    return "/".join(parts)


def _sniff(tree: Tree, names: Sequence[str]) -> set[bytes] | None:
    """Look at the beginning of some JSON files; give the labels seen there, None where none of them is LabelMe's."""
    labels: set[bytes] = set()
    is_labelme = False
    for name in names[:: max(1, len(names) // FILES_TO_SNIFF)]:
        head = tree.head(name)
        if head.lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"{") and b'"shapes"' in head and _MARKS.search(head):
            is_labelme = True
            labels.update(_LABEL.findall(head))
    return labels if is_labelme else None


def claims(tree: Tree, candidate: Candidate) -> frozenset[str]:
    """Name the image files of the tree that the dataset's label files describe."""
    finder = _Finder(tree)
    found = set()
    for name in candidate.labels:
        try:
            path = msgspec.json.decode(tree.read_bytes(name, MAX_BYTES), type=_Named).image_path
        except (Unreadable, msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            path = ""
        found.add(finder.find(name, path)[0])
    return frozenset(found & tree.known)


# The image of a label file ------------------------------------------------------------------------------------------


class _Finder:
    """Finds the image that a label file is for."""

    def __init__(self, tree: Tree) -> None:
        self.tree = tree
        self.beside: dict[str, str] = {}
        for name in reversed(tree.images):
            self.beside[posixpath.splitext(name)[0]] = name

    def find(self, label: str, path: str) -> tuple[str, list[Problem]]:
        """Give the image, or the name that it would have, and what is wrong with `imagePath`."""
        folder, stem = posixpath.dirname(label), posixpath.splitext(label)[0]
        place = Place(file=label, pointer="/imagePath")
        problems = []
        target = normalise(path, folder) if path else None
        if path and is_absolute(path):
            problems.append(Problem("path-absolute", place, f"imagePath is {path[:80]!r}, a place on another machine"))
        elif path and target is None:
            problems.append(Problem("path-outside-dataset", place, f"imagePath is {path[:80]!r}, which leads outside the dataset"))
        elif "\\" in path:
            problems.append(Problem("path-backslash", place, f"imagePath is {path[:80]!r}, with backslashes"))
        if target is not None and target in self.tree.known and suffix(target) in IMAGE_SUFFIXES:
            return target, problems
        basename = posixpath.basename(path.replace("\\", "/"))
        if suffix(basename) not in IMAGE_SUFFIXES:
            basename = f"{posixpath.basename(stem)}.jpg"
        near = posixpath.join(folder, basename)
        if near in self.tree.known:
            return near, problems
        if (beside := self.beside.get(stem)) is not None:
            if path:
                text = f"imagePath is {path[:80]!r}, the image is {posixpath.basename(beside)!r}"
                problems.append(Problem("filename-mismatch", dataclasses.replace(place, image=beside), text))
            return beside, problems
        named = self.tree.images_by_basename().get(basename, [])
        if len(named) == 1:
            problems.append(
                Problem("path-by-basename", dataclasses.replace(place, image=named[0]), f"found as {named[0]}, by its name alone")
            )
            return named[0], problems
        return (target if target and suffix(target) in IMAGE_SUFFIXES else near), problems


# Reading ------------------------------------------------------------------------------------------------------------


def read(tree: Tree, candidate: Candidate, *, classes: tuple[str, ...] | None = None, progress: Progress = silent) -> Dataset:
    """Read a LabelMe dataset into columns; whatever is wrong with a file becomes a problem.

    Args:
        tree: What the walk found.
        candidate: One of `detect`.
        classes: Class names in class order; by default the labels of the shapes, sorted.
        progress: Called with what is done.
    """
    finder = _Finder(tree)
    sources: list[str] = []
    files: list[Labels] = []
    image_of_file: list[int] = []
    row_of: dict[str, int] = {}
    first: dict[int, int] = {}
    problems: list[Problem] = []
    persons: set[str] = set()
    strangers = 0
    for number, name in enumerate(candidate.labels):
        labels = parse(tree, name)
        if labels is None:
            strangers += 1
            continue
        image, odd = finder.find(name, labels.image_path)
        row = row_of.setdefault(image, len(row_of))
        if row in first:
            odd.append(Problem("stem-collision", Place(file=name, image=image), f"{sources[first[row]]} is for the same image"))
        first.setdefault(row, len(sources))
        told = {what for _, what in personal_data(labels.image_path)} - persons
        persons |= told
        odd += [Problem("personal-data", Place(file=name, pointer="/imagePath"), what) for what in sorted(told)]
        for problem in (*odd, *labels.problems):
            problems.append(dataclasses.replace(problem, place=dataclasses.replace(problem.place, image=image)))
        sources.append(name)
        files.append(labels)
        image_of_file.append(row)
        if number % 256 == 0:
            progress("reading LabelMe", number, len(candidate.labels))
    folders = {posixpath.dirname(name) for name in row_of if name in tree.known}
    names = [*row_of, *(name for name in tree.images if posixpath.dirname(name) in folders and name not in row_of)]
    described = len(row_of)
    annotations, class_names = _annotations(files, np.array(image_of_file, np.int32), classes)
    images = _images(tree, names, files, image_of_file, first, problems, progress)
    label_of_row = [sources[first[row]] if row < described else None for row in range(len(names))]
    assigned = folder_splits(candidate.root, names, label_of_row)
    splits, spelling, in_split = split_matrix(assigned, len(names), "unassigned" if assigned else "all")
    if images.has_file.any():
        text = "the image is not there; one that is embedded in the file is not decoded"
        problems += [
            Problem("label-orphan", Place(file=label_of_row[row], image=names[row]), text)
            for row in np.flatnonzero(~images.has_file).tolist()
        ]
    evidence = list(candidate.evidence)
    if strangers:
        evidence.append(f"{plural(strangers, 'other JSON file')} beside them hold no shapes and were left out")
    if len(names) and not images.has_file.any():
        evidence.append("no image files were found: names and sizes are those of the JSON files")
    return Dataset(
        root=tree.root,
        format="labelme",
        variant=candidate.variant,
        task=_task(annotations.geometry),
        evidence=tuple(evidence),
        voc_origin=None,
        classes=tuple(Class(name, name) for name in class_names),
        splits=splits,
        split_spelling=spelling,
        sources=tuple(sources),
        source_split=np.full(len(sources), -1, np.int16),
        images=dataclasses.replace(images, in_split=in_split),
        annotations=annotations,
        problems=tuple(problems),
    )


def _task(geometry: NDArray[np.uint8]) -> Literal["detect", "segment", "obb"]:
    if len(geometry) and (geometry == Geometry.OBB).all():
        return "obb"
    return "segment" if (geometry == Geometry.POLYGON).any() else "detect"


def _annotations(
    files: Sequence[Labels], image_of_file: NDArray[np.int32], classes: tuple[str, ...] | None
) -> tuple[Annotations, tuple[str, ...]]:
    """Make a row of each object, and name the classes in class order."""
    objects = [one for file in files for one in file.objects]
    n = len(objects)
    source = np.repeat(np.arange(len(files), dtype=np.int32), [len(file.objects) for file in files])
    written = [one.label for one in objects]
    names = tuple(dict.fromkeys(classes)) if classes is not None else tuple(sorted({label.strip() for label in written} - {""}))
    index = {name: row for row, name in enumerate(names)}
    return (
        Annotations(
            image=image_of_file[source],
            class_index=np.array([index.get(label.strip(), -1) for label in written], np.int32),
            class_id=np.array([*written, None], dtype=object)[:-1],
            corners=np.array([one.corners for one in objects], np.float64).reshape(-1, 4),
            area=np.full(n, np.nan),
            flags=np.array([one.flags for one in objects], np.uint16),
            geometry=np.array([one.geometry for one in objects], np.uint8),
            source_id=np.full(n, NO_ID, np.int64),
            source=source,
            position=np.array([one.position for one in objects], np.int32),
            line=np.zeros(n, np.int32),
        ),
        names,
    )


def _images(
    tree: Tree,
    names: Sequence[str],
    files: Sequence[Labels],
    image_of_file: Sequence[int],
    first: dict[int, int],
    problems: list[Problem],
    progress: Progress,
) -> Images:
    """Make the table of images, as yet without splits."""
    n = len(names)
    has_file = np.array([name in tree.known for name in names], bool)
    sizes = measure(tree, [name for name, there in zip(names, has_file, strict=True) if there], progress)
    problems += sizes.problems
    file_size = np.full((n, 2), UNKNOWN_SIZE, np.int32)
    file_size[has_file] = np.stack([sizes.width, sizes.height], axis=1)
    declared = np.full((n, 2), UNKNOWN_SIZE, np.int32)
    source = np.full(n, NO_SOURCE, np.int32)
    label_state = np.full(n, LabelState.UNLABELED, np.uint8)
    for row, number in first.items():
        declared[row] = files[number].width, files[number].height
        source[row] = number
        label_state[row] = LabelState.BACKGROUND
    for row, file in zip(image_of_file, files, strict=True):
        if file.part_of or not file.is_read:
            label_state[row] = LabelState.LABELED
    return Images(
        file_name=np.array([*names, None], dtype=object)[:-1],
        has_file=has_file,
        width=declared[:, 0],
        height=declared[:, 1],
        file_width=file_size[:, 0],
        file_height=file_size[:, 1],
        in_split=np.zeros((n, 0), bool),
        label_state=label_state,
        source_id=np.full(n, NO_ID, np.int64),
        source=source,
        position=np.zeros(n, np.int64),
        picture=np.arange(n, dtype=np.int32),
    )
