"""The lists of `ImageSets/Main` of a written dataset."""

from __future__ import annotations

import posixpath
import re
from collections import defaultdict
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from dataset_doctor.dataset import Dataset
from dataset_doctor.errors import UsageError
from dataset_doctor.files.output import Stage
from dataset_doctor.files.reading import Unreadable, decode
from dataset_doctor.files.splits import canonical_split
from dataset_doctor.files.tree import Tree, reopened
from dataset_doctor.formats.layout import changed, split_folders
from dataset_doctor.formats.voc.layout import relative_stem
from dataset_doctor.formats.voc.lists import MAX_LIST_BYTES, ids_of, image_of_line, presence_of_classes

DERIVED = ("train", "val")
"""The splits that `trainval` unites."""


def write_lists(dataset: Dataset, names: Sequence[str], stage: Stage, home: str) -> None:
    """Write a list of ids for each split, `trainval` where there is anything to train with, and the lists of classes that the source had.

    Without any split, `trainval` is another name for the list `all`, so that readers which know the usual names find something.
    """
    ids = [posixpath.splitext(posixpath.basename(name))[0] for name in names]
    in_split = dataset.images.in_split
    members = {
        name if name in ("train", "val", "test", "trainval") else folder: in_split[:, split]
        for split, (name, folder) in enumerate(zip(dataset.splits, split_folders(dataset), strict=True))
        if name != "unassigned"
    }
    united = [members[name] for name in (*DERIVED, "trainval") if name in members] or ([members["all"]] if "all" in members else [])
    if united:
        members["trainval"] = np.asarray(np.any(united, axis=0))
    for name, member in members.items():
        stage.write(f"{home}/ImageSets/Main/{name}.txt", _text([ids[row] for row in np.flatnonzero(member).tolist()]))
    listed = _listed_classes(dataset)
    presence = presence_of_classes(dataset.annotations, dataset.class_names) if listed else {}
    for class_name in listed:
        present = presence[class_name]
        for name, member in members.items():
            lines = [f"{ids[row]} {present.get(row, -1):2d}" for row in np.flatnonzero(member).tolist()]
            stage.write(f"{home}/ImageSets/Main/{class_name}_{name}.txt", _text(lines))


def _listed_classes(dataset: Dataset) -> list[str]:
    """Name the classes that have lists of their own in the source."""
    stems = {posixpath.splitext(posixpath.basename(name))[0].rpartition("_")[0] for name in dataset.config_files}
    return [name for name in dataset.class_names if name in stems] if dataset.format == "voc" else []


def _text(lines: Sequence[str]) -> bytes:
    """Make the text of a list.

    Raises:
        UsageError: a name that cannot be a line of a list.
    """
    bad = next((line for line in lines if line != line.strip() or len(line.splitlines()) != 1 or line.startswith("#")), None)
    try:
        if bad is None:
            return "".join(f"{line}\n" for line in lines).encode()
    except UnicodeEncodeError:
        bad = next(line for line in lines if not line.isprintable())
    raise UsageError(f"{bad!r} cannot be a line in a list of images.", "Rename the file in the source.")


def copy_lists(dataset: Dataset, names: Sequence[str], xmls: Sequence[Mapping[int, str]], stage: Stage) -> None:
    """Write the source's lists and label map at their places: without the images that are gone, with the repeats behind their first.

    A list in which nothing changes is copied byte for byte. In one that changes, every other line stays as it is written.
    """
    tree = reopened(dataset.root, dataset.config_files)
    by_folder: dict[str, list[str]] = defaultdict(list)
    unread = {problem.place.file for problem in dataset.problems if problem.kind == "label-unreadable"}
    for file in dataset.config_files:
        if file in unread and file in tree.links:
            continue  # nor could it be read before
        if posixpath.basename(file) == "labelmap.txt":
            stage.write(file, _read(tree, file))
        else:
            by_folder[posixpath.dirname(file)].append(file)
    source = dataset.origin or dataset
    xml_of_row = [source.sources[number] if number >= 0 else None for number in source.images.source.tolist()]
    known = source.images.file_name.tolist()
    rows_of: dict[str, list[int]] = defaultdict(list)
    for number, name in enumerate(dataset.images.file_name.tolist()):
        rows_of[name].append(number)
    new_ids = [_new_id(dataset, number, names, xmls) for number in range(dataset.n_images)]
    for folder, files in sorted(by_folder.items()):
        row_of_id = ids_of(posixpath.dirname(folder.removesuffix("/Main")), known, xml_of_row)
        for file in files:
            member = _member(dataset, posixpath.splitext(posixpath.basename(file))[0])
            data = _read(tree, file)
            text, unusual = decode(data)
            lines = re.findall("[^\r\n]*(?:\r\n|\r|\n)|[^\r\n]+", text)
            result: list[str] = []
            seen: set[int] = set()
            for line in lines:
                bare = line.strip()
                row = image_of_line(bare, row_of_id) if bare and not bare.startswith("#") else None
                if row is None:
                    result.append(line)
                    continue
                here = [now for now in rows_of.get(known[row], ()) if member is None or member[now]]
                # A line that comes again names one image again, not its repeats.
                result += [_like(line, new_ids[now]) for now in (here[:1] if row in seen else here)]
                seen.add(row)
            if result != lines:
                data = _ended(lines, result).encode("latin-1" if unusual and "Latin-1" in unusual else "utf-8")
            stage.write(file, data)


def _read(tree: Tree, file: str) -> bytes:
    try:
        return tree.read_bytes(file, MAX_LIST_BYTES)
    except Unreadable as error:
        raise changed(file, str(error)) from error


def _member(dataset: Dataset, stem: str) -> NDArray[np.bool_] | None:
    """Tell which images belong in a list: of a split, of `trainval`, or of a class in one of these; None for any other list."""
    in_split = dataset.images.in_split
    for name in (stem, stem.rpartition("_")[2]):
        canonical = canonical_split(name)
        columns = [dataset.splits.index(canonical)] if canonical in dataset.splits else []
        if canonical == "trainval":
            columns += [dataset.splits.index(part) for part in DERIVED if part in dataset.splits]
        if columns:
            return np.asarray(in_split[:, columns].any(axis=1))
    return None


def _new_id(dataset: Dataset, row: int, names: Sequence[str], xmls: Sequence[Mapping[int, str]]) -> tuple[str, str]:
    """Give the last part of an image's id as it was and as it is now: the stem of its XML file, else of its image."""
    source = int(dataset.images.source[row])
    old, new = (dataset.sources[source], xmls[row][source]) if source >= 0 else (dataset.images.file_name[row], names[row])
    stems = (posixpath.basename(relative_stem(path) if source >= 0 else posixpath.splitext(path)[0]) for path in (old, new))
    before, after = stems
    return before, after


def _like(line: str, renamed: tuple[str, str]) -> str:
    r"""Write the line of a list for a repeat: the last part of the id is another, flag and spaces are as they were.

    >>> _like("dogs/1  1\n", ("1", "1__r1"))
    'dogs/1__r1  1\n'
    >>> _like("photo 1\n", ("photo 1", "photo 1__r1"))
    'photo 1__r1\n'
    """
    old, new = renamed
    if old == new:
        return line
    at = _before_flag(line).rfind(old)
    at = line.rfind(old) if at < 0 else at  # what looks like a flag belongs to the name
    return line if at < 0 else line[:at] + new + line[at + len(old) :]


def _before_flag(line: str) -> str:
    r"""Leave off the flag (`1`, `0`, `-1`) that ends the line of a class list.

    >>> _before_flag("dogs/1  -1\n"), _before_flag("dogs/1\n")
    ('dogs/1', 'dogs/1\n')
    """
    bare = line.rstrip()
    if not bare.endswith(("0", "1")):
        return line
    bare = bare[:-2] if bare.endswith(("-0", "-1", "+0", "+1")) else bare[:-1]
    body = bare.rstrip()
    return body if body and body != bare else line


def _ended(before: Sequence[str], lines: Sequence[str]) -> str:
    """Join lines; the last one of a list may have had no line end, which a line that is no longer last needs."""
    end = next((line[len(line.rstrip("\r\n")) :] for line in before if line.endswith(("\r", "\n"))), "\n")
    return "".join(line if line.endswith(("\r", "\n")) or number == len(lines) - 1 else line + end for number, line in enumerate(lines))
