"""The formats that can be read, and how a dataset is recognised: by evidence and coverage, never by asking."""

from __future__ import annotations

import dataclasses
import os
import shlex
from pathlib import Path

from dataset_doctor.dataset import Dataset, FormatName, Given, Place, Problem
from dataset_doctor.errors import DatasetNotFound, SeveralDatasets, UsageError, did_you_mean, operand
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
from dataset_doctor.formats.layout import canonical_names as flat_names_of
from dataset_doctor.formats.losses import LeftOut, left_out, losses, unwritable
from dataset_doctor.formats.manifest import stated, with_stated
from dataset_doctor.formats.outlines import begin_shapes, read_outlines, read_shapes
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
    "read",
    "read_outlines",
    "read_picture",
    "read_shapes",
    "recognise",
    "unalterable",
    "unwritable",
    "write",
]


FORMATS: dict[FormatName, Format] = {format.name: format for format in (COCO, VOC, YOLO, FOLDER)}
"""The formats, by name; where one dataset is labelled in several, the first of two that describe as many images is read."""

DATASETS_NAMED = 60
"""Commands to choose from that are listed, of datasets under one folder."""

PARALLEL_SHARE = 0.2
"""A second format counts as labels for the same images from this share of the main one's images on."""


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
        raise UsageError(f"--format {format} is not known.", did_you_mean(format, FORMATS))
    tree, only = _tree(Path(path), images)
    candidate, others = recognise(tree, only, format, shown=os.fspath(path) if only is None else None)
    dataset = FORMATS[candidate.format].read(tree, candidate, classes=_class_names(classes), progress=progress)
    told, unsound = stated(tree)
    dataset = dataclasses.replace(dataset, problems=(*unsound, *dataset.problems)) if unsound else dataset
    given = Given(os.fspath(path), format, *(None if one is None else os.fspath(one) for one in (images, classes)))
    dataset = dataclasses.replace(dataset if told is None else with_stated(dataset, told), given=given)
    return _with_context(dataset, tree, candidate, others)


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
            raise UsageError(f"--images {os.fspath(images)} is not a folder.")
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
        raise UsageError(f"--classes {os.fspath(path)}: {error}.") from error
    names = tuple(line.strip() for line in text.splitlines() if line.strip())
    if not names:
        raise UsageError(f"--classes {os.fspath(path)} holds no names.", "It needs one class name a line, in class order.")
    return names


def recognise(
    tree: Tree, only: str | None = None, format: str | None = None, *, shown: str | None = None
) -> tuple[Candidate, tuple[Candidate, ...]]:
    """Choose the dataset in a tree; the second value names other labels for the same images.

    Raises:
        DatasetNotFound: with what was looked for.
        SeveralDatasets: with the commands to choose from.
    """
    candidates = _candidates(tree, only, format)
    if not candidates:
        raise _nothing_here(tree, only, format)
    if only is None and format is None:
        candidates += _beside(tree, candidates)
    if len(candidates) == 1:
        return candidates[0], ()
    claims = {id(c): FORMATS[c.format].claims(tree, c) for c in candidates}
    order = list(FORMATS)
    ranked = sorted(candidates, key=lambda c: (-len(claims[id(c)]), not c.declared, order.index(c.format), c.root))
    main, others, apart, small = ranked[0], [], [], []
    for other in ranked[1:]:
        here, there = claims[id(main)], claims[id(other)]
        smaller = min(len(here), len(there))
        if here & there or (not smaller and _nested(main.root, other.root)):
            others.append(other)
        elif FORMATS[other.format].last_resort and smaller < PARALLEL_SHARE * len(here):
            small.append(other)
        elif not smaller or smaller >= PARALLEL_SHARE * len(here) or other.format == main.format or not _nested(main.root, other.root):
            apart.append(other)
        else:
            others.append(other)
    if (apart and format is None) or len({c.root for c in [main, *apart]}) > 1:
        raise _several(tree, [main, *apart, *small], shown or str(tree.root))
    return main, tuple(others)


def _candidates(tree: Tree, only: str | None = None, format: str | None = None) -> list[Candidate]:
    """Name the datasets in a tree; those of formats that are a last resort only where there are no others."""
    asked = [one for one in FORMATS.values() if format in (None, one.name)]
    labelled = [c for one in asked if not one.last_resort for c in one.detect(tree, only)]
    return labelled or [c for one in asked if one.last_resort for c in one.detect(tree, only)]


def _beside(tree: Tree, candidates: list[Candidate]) -> list[Candidate]:
    """Look for datasets in the folders of the root that have none so far: what lies beside a dataset's folder is none of its own."""
    roots = {c.root for c in candidates}
    if "" in roots or tree.image_root is not None:
        return []
    taken = {root.partition("/")[0] for root in roots}
    taken |= {name.partition("/")[0] for c in candidates for name in (*c.labels, *FORMATS[c.format].claims(tree, c))}
    found = []
    for top in sorted({name.partition("/")[0] for name in tree.images if "/" in name} - taken):
        part = tree.below(top)
        found += _candidates(part)
    return found


def _nested(one: str, other: str) -> bool:
    """Tell whether one folder is the other or lies in it; the root is ""."""
    return not one or not other or f"{one}/".startswith(f"{other}/") or f"{other}/".startswith(f"{one}/")


def _several(tree: Tree, candidates: list[Candidate], shown: str) -> SeveralDatasets:
    """Name the datasets with the command for each, and the path as the user gave it."""
    lines = []
    for c in sorted(candidates, key=lambda c: (c.root, c.format)):
        place = os.path.join(shown, c.root) if c.root else shown
        lines.append(f"dataset-doctor audit {shlex.quote(operand(place))} --format {c.format}")
    if len(lines) > DATASETS_NAMED:
        lines[DATASETS_NAMED:] = [f"… and {len(lines) - DATASETS_NAMED:,} more"]
    return SeveralDatasets(f"{len(candidates)} separate datasets under {shown}. Choose one:", "\n  ".join(lines))


def _nothing_here(tree: Tree, only: str | None, format: str | None) -> DatasetNotFound:
    what = os.path.join(tree.root, only) if only else str(tree.root)
    kind = f"{format} labels" if format else "labels"
    if only:
        return DatasetNotFound(f"{what} is not a label file of a known format.", "Give a folder, a data.yaml, a COCO .json or a VOC .xml.")
    if not tree.files:
        return DatasetNotFound(f"no dataset here: {what} is empty.")
    *kinds, last = (one.looks_for for one in FORMATS.values())
    looked = f"Looked for {', '.join(kinds)} and {last}."
    if not tree.images:
        return DatasetNotFound(f"no dataset here: {what} holds neither images nor {kind}.", looked)
    return DatasetNotFound(
        f"no dataset here: {what} holds {plural(len(tree.images), 'image')} and no {kind}.",
        f"{looked} Labels elsewhere? Give their folder and add --images {shlex.quote(str(tree.root))}",
    )


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
