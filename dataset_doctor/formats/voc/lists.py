"""The lists of `ImageSets/Main`, which name the images of each split."""

from __future__ import annotations

import posixpath
import re
from collections import defaultdict
from collections.abc import Sequence

import numpy as np

from dataset_doctor.dataset import Annotations, Flag, Place, Problem, ProblemKind
from dataset_doctor.files.names import IMAGE_SUFFIXES, is_under, suffix
from dataset_doctor.files.reading import Unreadable, decode
from dataset_doctor.files.splits import Splits, canonical_split, is_split_name
from dataset_doctor.files.tree import Tree
from dataset_doctor.formats.voc.layout import IMAGE_FOLDERS, relative_stem

MAX_LIST_BYTES = 16 << 20


_PRESENCE = {"1": 1, "+1": 1, "0": 0, "-1": -1}
"""Last token of a line in a class list: 1 present, 0 only difficult ones present, -1 absent."""


def listed_splits(
    tree: Tree,
    lists: Sequence[str],
    names: Sequence[str],
    xml_of_row: Sequence[str | None],
    presence: dict[str, dict[int, int]],
    problems: list[Problem],
) -> Splits:
    """Read the lists of ImageSets.

    Args:
        tree: What the walk found.
        lists: List files.
        names: File name of each image.
        xml_of_row: XML file of each image.
        presence: For each class name, rows of the images that hold it: 1, or 0 where all are difficult.
        problems: Extended.
    """
    splits: Splits = {}
    by_folder: dict[str, list[str]] = defaultdict(list)
    for file in lists:
        by_folder[posixpath.dirname(file)].append(file)
    for folder, files in sorted(by_folder.items()):
        home = posixpath.dirname(folder.removesuffix("/Main"))
        row_of_id = ids_of(home, names, xml_of_row, tree.image_root)
        stems = {posixpath.splitext(posixpath.basename(file))[0] for file in files}
        told: set[str] = set()
        for file in files:
            name = posixpath.splitext(posixpath.basename(file))[0]
            lines = list(read_lines(tree, file, problems))
            entries = [(number, line) for number, line in lines if line and not line.startswith("#")]
            class_name, _, of_split = name.rpartition("_")
            if class_name and (class_name in presence or of_split in stems or is_split_name(of_split)):
                flagged = [line.rpartition(" ") for _, line in ((n, " ".join(line.split())) for n, line in entries)]
                if all(flag in _PRESENCE and identifier for identifier, _, flag in flagged) and (flagged or class_name in presence):
                    _compare_class_list(file, entries, row_of_id, presence.get(class_name, {}), class_name, problems)
                    continue
            canonical = canonical_split(name)
            rows = splits.setdefault(canonical, (name, set()))[1]
            _read_list(file, canonical, lines, row_of_id, xml_of_row, names, rows, told, problems)
    if "trainval" in splits:
        parts = [splits[name][1] for name in ("train", "val") if name in splits]
        only = splits["trainval"][1].difference(*parts)
        # Without train and val, it may be another name for the list of all, for readers that know only the usual names.
        if only != splits.get("all", ("", set()))[1] if not parts else only:
            splits["trainval"] = (splits["trainval"][0], only)
        else:
            del splits["trainval"]
    return splits


def ids_of(home: str, names: Sequence[str], xml_of_row: Sequence[str | None], image_root: str | None = None) -> dict[str, int]:
    """Index the images of the dataset in a folder by their ids in lists: the relative stem of the XML file, else of the image."""
    row_of_id: dict[str, int] = {}
    without: list[tuple[str, int]] = []
    for row, (image, xml) in enumerate(zip(names, xml_of_row, strict=True)):
        if xml is not None:
            if is_under(xml, home):
                row_of_id[relative_stem(xml)] = row
        elif is_under(image, home) or image_root is not None:
            parts = posixpath.splitext(image)[0].removeprefix(image_root or home).lstrip("/").split("/")
            without.append(("/".join(parts[1:] if len(parts) > 1 and parts[0].lower() in IMAGE_FOLDERS else parts), row))
    for identifier, row in without:
        row_of_id.setdefault(identifier, row)
    return row_of_id


def _read_list(
    file: str,
    split: str,
    lines: Sequence[tuple[int, str]],
    row_of_id: dict[str, int],
    xml_of_row: Sequence[str | None],
    names: Sequence[str],
    rows: set[int],
    told: set[str],
    problems: list[Problem],
) -> None:
    """Read one list of ids into `rows`; `told` are the ids that another list of the folder already complained of."""
    malformed: dict[str, list[int]] = defaultdict(list)

    def note(kind: ProblemKind, text: str, image: str | None = None) -> None:
        problems.append(Problem(kind, Place(file=file, line=number, image=image, split=split), text))

    here: set[int] = set()
    for number, line in lines:
        if not line or line.startswith("#"):
            malformed["is a comment" if line else "is blank"].append(number)
            continue
        row = row_of_id.get(line)
        if row is None:
            row = image_of_line(line, row_of_id)
            if row is None:
                if line not in told:
                    told.add(line)
                    note("listed-missing", f"{line[:80]!r} has neither an XML file nor an image")
                continue
            malformed["is not a bare id, it has a suffix, a folder or a flag"].append(number)
        if row in here:
            note("listed-twice", f"{line[:80]!r} comes again", names[row])
        elif xml_of_row[row] is None and line not in told:
            told.add(line)
            note("label-missing", f"{line[:80]!r} has an image and no XML file", names[row])
        here.add(row)
    rows |= here
    for what, numbers in malformed.items():
        more = f" and {len(numbers) - 1:,} more" if len(numbers) > 1 else ""
        problems.append(Problem("list-malformed", Place(file=file, line=numbers[0], split=split), f"the line{more} {what}"))
    if not here:
        problems.append(Problem("split-empty", Place(file=file, split=split), "the list names no image of the dataset"))


def image_of_line(line: str, row_of_id: dict[str, int]) -> int | None:
    """Find the image a list means by an id, or by one that carries a suffix, a folder or a trailing flag."""
    path = line.replace("\\", "/").removeprefix("./")
    stem = posixpath.splitext(path)[0] if suffix(path) in IMAGE_SUFFIXES or suffix(path) == ".xml" else path
    for identifier in (line, stem, posixpath.basename(stem)):
        if identifier in row_of_id:
            return row_of_id[identifier]
    before, _, flag = " ".join(line.split()).rpartition(" ")
    return image_of_line(before, row_of_id) if before and flag in _PRESENCE else None


def _compare_class_list(
    file: str,
    entries: Sequence[tuple[int, str]],
    row_of_id: dict[str, int],
    present: dict[int, int],
    class_name: str,
    problems: list[Problem],
) -> None:
    """Compare a list of a class with the XML files."""
    differ = []
    for number, line in entries:
        identifier, flag = line.rsplit(None, 1)
        row = row_of_id.get(identifier)
        if row is not None and present.get(row, -1) != _PRESENCE[flag]:
            differ.append((number, identifier))
    if differ:
        text = f"{len(differ):,} of {len(entries):,} lines disagree with the XML files, the first for {differ[0][1][:80]!r}"
        problems.append(Problem("class-names-conflict", Place(file=file, line=differ[0][0], class_name=class_name), text))


def presence_of_classes(annotations: Annotations, class_names: Sequence[str]) -> dict[str, dict[int, int]]:
    """Tell for each class which images hold it: 1, or 0 where all of its objects there are difficult."""
    counted = annotations.class_index >= 0
    easy = (~annotations.has(Flag.DIFFICULT))[counted].astype(np.int64)
    keys = annotations.class_index[counted].astype(np.int64) << 32 | annotations.image[counted]
    unique, inverse = np.unique(keys, return_inverse=True)
    any_easy = (np.bincount(inverse, weights=easy, minlength=len(unique)) > 0).astype(int)
    present: dict[str, dict[int, int]] = {name: {} for name in class_names}
    for key, value in zip(unique.tolist(), any_easy.tolist(), strict=True):
        present[class_names[key >> 32]][key & 0xFFFFFFFF] = value
    return present


def read_lines(tree: Tree, file: str, problems: list[Problem]) -> list[tuple[int, str]]:
    """Read the numbered lines of a text file, stripped; none and a problem where it cannot be read."""
    try:
        text, unusual = decode(tree.read_bytes(file, MAX_LIST_BYTES))
    except Unreadable as error:
        problems.append(Problem("label-unreadable", Place(file=file), str(error)))
        return []
    if unusual:
        problems.append(Problem("text-encoding", Place(file=file), unusual))
    lines = re.split("\r\n|\r|\n", text)
    return [(number, line.strip()) for number, line in enumerate(lines[:-1] if lines[-1] == "" else lines, start=1)]
