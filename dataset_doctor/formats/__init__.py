"""The formats: a table of records, and reading and writing a dataset of any of them."""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path

from dataset_doctor.dataset import Dataset, FormatName, Given, Place, Problem
from dataset_doctor.errors import DatasetNotFound, UsageError, did_you_mean
from dataset_doctor.files.images import read_picture, unalterable
from dataset_doctor.files.names import suffix
from dataset_doctor.files.output import check_place
from dataset_doctor.files.progress import Progress, silent
from dataset_doctor.files.reading import Unreadable, decode, read_regular
from dataset_doctor.files.tree import Tree, join_trees, walk
from dataset_doctor.findings import plural
from dataset_doctor.formats.coco import COCO
from dataset_doctor.formats.elsewhere import with_elsewhere
from dataset_doctor.formats.fingerprint import fingerprint
from dataset_doctor.formats.folder import FOLDER
from dataset_doctor.formats.format import Candidate, Format, find_format, format_of
from dataset_doctor.formats.labelme import LABELME
from dataset_doctor.formats.layout import canonical_names as flat_names_of
from dataset_doctor.formats.losses import LeftOut, left_out, losses, unwritable
from dataset_doctor.formats.manifest import stated, with_stated
from dataset_doctor.formats.outlines import begin_shapes, read_outlines, read_shapes
from dataset_doctor.formats.recognise import recognise
from dataset_doctor.formats.voc import VOC
from dataset_doctor.formats.writing import Written, disk_bytes, write
from dataset_doctor.formats.yolo import YOLO

__all__ = [
    "FORMATS",
    "Format",
    "LeftOut",
    "Written",
    "begin_shapes",
    "check_place",
    "disk_bytes",
    "find_format",
    "fingerprint",
    "flat_names_of",
    "format_of",
    "left_out",
    "losses",
    "opened",
    "read",
    "read_outlines",
    "read_picture",
    "read_shapes",
    "unalterable",
    "unwritable",
    "write",
]


FORMATS: dict[FormatName, Format] = {format.name: format for format in (COCO, VOC, YOLO, LABELME, FOLDER)}
"""The formats, by name; where one dataset is labelled in several, the first of two that describe as many images is read."""


def read(
    path: str | os.PathLike[str],
    format: str | None = None,
    *,
    images: str | os.PathLike[str] | None = None,
    classes: str | os.PathLike[str] | None = None,
    progress: Progress = silent,
) -> Dataset:
    """Read a dataset of any known format into columns; the format is detected.

    Args:
        path: A folder, or a file that stands for a dataset: `data.yaml`, `obj.data`, a COCO `.json`, a VOC `.xml` …
        format: A name in `FORMATS` to override the detection.
        images: A folder with the images, where the labels do not say; may lie outside `path`.
        classes: A text file with a class name a line, in class order.
        progress: Called with what is done, how much and how much in all.

    Raises:
        DatasetNotFound: nothing here that any format recognises.
        SeveralDatasets: several unrelated datasets here; the hint lists the commands to choose from.
        UsageError: an argument that cannot be used.
    """
    if format is not None and format not in FORMATS:
        raise UsageError(f"`format={format}` is not known.", did_you_mean(format, FORMATS))
    tree, only = _tree(Path(path), images)
    candidate, others = recognise(FORMATS, tree, only, format, shown=os.fspath(path) if only is None else None)
    dataset = FORMATS[candidate.format].read(tree, candidate, classes=_class_names(classes), progress=progress)
    told, unsound = stated(tree)
    dataset = dataclasses.replace(dataset, problems=(*unsound, *dataset.problems)) if unsound else dataset
    given = Given(os.fspath(path), format, *(None if one is None else os.fspath(one) for one in (images, classes)))
    dataset = dataclasses.replace(dataset if told is None else with_stated(dataset, told), given=given)
    return _with_context(dataset, tree, candidate, others)


def opened(
    dataset: Dataset | str | os.PathLike[str],
    format: str | None = None,
    *,
    images: str | os.PathLike[str] | None = None,
    classes: str | os.PathLike[str] | None = None,
    progress: Progress = silent,
) -> Dataset:
    """Read what is a path; give what is read already.

    Args:
        dataset: A path, or what `read` gave.
        format: As for `read`, like `images`, `classes` and `progress`.
        images: As there.
        classes: As there.
        progress: As there.

    Raises:
        UsageError: a parameter of reading for what is read already; besides what `read` raises.
    """
    if not isinstance(dataset, Dataset):
        return read(dataset, format, images=images, classes=classes, progress=progress)
    for name, value in (("format", format), ("images", images), ("classes", classes)):
        if value is not None:
            raise UsageError(f"`{name}` is for a path, and this dataset was read already.", f"Give `{name}` where it is read.")
    return dataset


def _tree(path: Path, images: str | os.PathLike[str] | None) -> tuple[Tree, str | None]:
    """Walk the dataset and, where one is given, the image folder; tell which file the user pointed at."""
    shown = str(path)
    try:
        path = Path(os.path.abspath(path))
        is_folder, exists = path.is_dir(), os.path.lexists(path)
    except (OSError, ValueError) as error:
        raise DatasetNotFound(f"cannot look at {shown}: {error}") from error
    if not exists:
        raise DatasetNotFound(f"no such file or folder: {shown}")
    root = path if is_folder else path.parent
    if is_folder and not os.access(root, os.R_OK | os.X_OK):
        raise DatasetNotFound(f"permission denied: {shown}")
    if not is_folder and not path.is_file():
        raise DatasetNotFound(f"neither a folder nor a regular file: {shown}")
    if not is_folder and suffix(path.name) in (".zip", ".tar", ".gz", ".tgz", ".rar", ".7z"):
        raise DatasetNotFound(f"{shown} is an archive.", "Extract it first, then give the folder.")
    tree = walk(root)
    if images is not None:
        folder_path = Path(os.path.abspath(images))
        if not folder_path.is_dir():
            raise UsageError(f"`images={os.fspath(images)}` is not a folder.")
        relative = os.path.relpath(folder_path, root).replace(os.sep, "/")
        inside = not relative.startswith("..")
        tree = join_trees(tree, walk(folder_path, relative) if not inside else tree, "" if relative == "." else relative)
    else:
        tree = with_elsewhere(tree)
    return tree, None if is_folder else path.name


def _class_names(path: str | os.PathLike[str] | None) -> tuple[str, ...] | None:
    """Read the names of `--classes FILE`, one a line."""
    if path is None:
        return None
    try:
        text, _ = decode(read_regular(os.fspath(path), 1 << 20))
    except Unreadable as error:
        raise UsageError(f"`classes={os.fspath(path)}`: {error}.") from error
    names = tuple(line.strip() for line in text.splitlines() if line.strip())
    if not names:
        raise UsageError(f"`classes={os.fspath(path)}` holds no names.", "It needs one class name a line, in class order.")
    return names


def _caches(tree: Tree) -> list[Problem]:
    """Name what trainers keep of labels and images beside them: `.cache` files, and one array of pixels a folder that has such."""
    problems = [Problem("stale-cache", Place(file=name), "labels kept by a trainer") for name in tree.with_suffix(".cache")]
    arrays: dict[str, list[str]] = {}
    stems = {os.path.splitext(name)[0] for name in tree.images} if (kept := tree.with_suffix(".npy")) else set()
    for name in kept:
        if os.path.splitext(name)[0] in stems:
            arrays.setdefault(name.rpartition("/")[0], []).append(name)
    for names in arrays.values():
        text = "pixels kept by a trainer" + (f", and {len(names) - 1:,} more in this folder" if len(names) > 1 else "")
        problems.append(Problem("stale-cache", Place(file=names[0]), text, len(names)))
    return problems


def _with_context(dataset: Dataset, tree: Tree, chosen: Candidate, others: tuple[Candidate, ...]) -> Dataset:
    """Add what the reader cannot know: what the walk met, and labels in other formats for the same images."""
    problems = [*tree.problems, *_caches(tree)]
    evidence = list(dataset.evidence)
    for other in others:
        text = f"{other.format} labels ({other.variant}) for the same images were left out: {', '.join(other.evidence[:1])}"
        evidence.append(text)
        problems.append(Problem("parallel-labels", Place(file=other.labels[0] if other.labels else other.root or "."), text))
    reported = (name for problem in dataset.problems for name in (problem.place.image, problem.place.file))
    if elsewhere := len(set(tree.images).difference(dataset.images.file_name.tolist(), reported)):
        evidence.append(f"{plural(elsewhere, 'image')} elsewhere {'is' if elsewhere == 1 else 'are'} not part of it")
    return dataclasses.replace(dataset, evidence=tuple(evidence), problems=(*problems, *dataset.problems))
