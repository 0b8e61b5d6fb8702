"""`dataset-doctor.json`: what a written dataset was made from, and which of its images are stated to repeat one picture.

Reading is tolerant: the file is as trustworthy as the dataset it lies in. It can make images share a picture and let a list name one
image several times; it can make nothing else appear or vanish.
"""

from __future__ import annotations

import dataclasses
import json
import posixpath
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from json.encoder import encode_basestring_ascii as quoted
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from dataset_doctor.dataset import Dataset, Place, Problem
from dataset_doctor.files.reading import Unreadable
from dataset_doctor.files.tree import Tree
from dataset_doctor.findings import plural
from dataset_doctor.formats.coco.cut import encoded
from dataset_doctor.formats.format import format_of

NAME = "dataset-doctor.json"
SCHEMA = "dataset-doctor/manifest"
MAX_BYTES = 512 << 20


# Writing ------------------------------------------------------------------------------------------------------------


def manifest(
    dataset: Dataset, names: Sequence[str], *, options: Mapping[str, Any], source: Mapping[str, Any], loses: Sequence[str]
) -> list[bytes]:
    """Give the manifest of a dataset that is being written, in parts; the same bytes for the same input.

    Args:
        dataset: What is written.
        names: The path of each image row in the new dataset; with "list" in the source.
        options: How it was asked for.
        source: What it was made from: `format`, `fingerprint` and, where the images stay there, `root` and `labels`.
        loses: What the new format does not hold.
    """
    try:
        tool = version("dataset-doctor-vision")
    except PackageNotFoundError:
        tool = "0"
    head: dict[str, Any] = {
        "schema": SCHEMA,
        "schema_version": 1,
        "tool": {"name": "dataset-doctor-vision", "version": tool},
        "plan": dict(dataset.plan) if dataset.plan is not None else None,
        "options": dict(options),
        "seed": dataset.plan.get("seed", 0) if dataset.plan is not None else 0,
        "source": dict(source),
        "loses": list(loses),
    }
    lines = [b"{\n", *(encoded(key) + b": " + encoded(value) + b",\n" for key, value in head.items()), b'"images": [']
    of_picture: dict[int, str] = {}
    times: Counter[int] = Counter()
    entries = []
    recipes = dataset.made.recipes if dataset.made is not None else ()
    transforms = [*(quoted(recipe.transform) for recipe in recipes), "null"]
    of_row = dataset.made.recipe.tolist() if dataset.made is not None else [-1] * dataset.n_images
    columns = (names, dataset.images.file_name.tolist(), dataset.images.picture.tolist(), of_row)
    for file, origin, picture, recipe in zip(*columns, strict=True):
        first, repeat = of_picture.setdefault(picture, origin), times[picture]
        times[picture] += 1
        entries.append(f'{{"file": {quoted(file)}, "source": {quoted(first)}, "repeat": {repeat}, "transform": {transforms[recipe]}}}')
    return [*lines, ("\n" + ",\n".join(entries)).encode("ascii") if entries else b"", b"\n]}\n"]


# Reading ------------------------------------------------------------------------------------------------------------


class _Image(msgspec.Struct, gc=False):
    file: str
    source: str
    repeat: int = 0
    transform: str | None = None


class _Options(msgspec.Struct, gc=False):
    materialize: str = "copy"


class _Source(msgspec.Struct, gc=False):
    root: str | None = None
    labels: str | None = None


class Document(msgspec.Struct, gc=False):
    """A manifest, as far as it is read.

    `source.root` is where the images are, relative to the manifest's folder, where `list` has left them there; `source.labels` is a digest
    of the label files beside them.
    """

    schema: str = ""
    schema_version: int = 0
    options: _Options = msgspec.field(default_factory=_Options)
    source: _Source = msgspec.field(default_factory=_Source)
    images: list[_Image] = []


_DOCUMENT = msgspec.json.Decoder(Document)


@dataclass(frozen=True, slots=True)
class Stated:
    """What a manifest says of image files.

    source_of  the file that each shows the picture of, by file
    times      how often a list may name a file, where that is more than once
    altered    the files that show their picture altered, so that they may have another size
    in_lists   the images are not here; lists and records lead to where they are
    """

    source_of: dict[str, str]
    times: dict[str, int]
    altered: frozenset[str]
    in_lists: bool
    _by_basename: dict[str, list[str]]

    def allowed(self, *names: str) -> int:
        """Tell how often a file may be named, of which these are possible names."""
        most = max(self.times.get(name, 1) for name in names)
        if most == 1:
            for name in names:
                for file in self._by_basename.get(name.rpartition("/")[2], ()):
                    if f"/{name}".endswith(f"/{file}") or f"/{file}".endswith(f"/{name}"):
                        most = max(most, self.times[file])
        return most


def stated(tree: Tree) -> tuple[Stated | None, list[Problem]]:
    """Read the manifest at the root of a tree, if there is one; what is wrong with it is a problem."""
    return tree.once(NAME, lambda: _stated(tree))


def document(tree: Tree) -> tuple[Document | None, list[Problem]]:
    """Read the manifest at the root of a tree, as it stands; what is wrong with it is a problem."""
    if NAME not in tree.known:
        return None, []
    try:
        found = _decoded(tree.read_bytes(NAME, MAX_BYTES))
    except Unreadable as error:
        return None, [_problem(f"it cannot be read: {error}")]
    except (msgspec.DecodeError, ValueError, RecursionError):
        return None, [_problem("it is no manifest as dataset-doctor writes them; left out")]
    if found.schema != SCHEMA or found.schema_version != 1:
        return None, [_problem("it is a manifest of another kind or version; left out")]
    return found, []


def _decoded(data: bytes) -> Document:
    """Decode a manifest; names that are no UTF-8 stand in it as lone surrogates, which strict readers refuse."""
    try:
        return _DOCUMENT.decode(data)
    except msgspec.DecodeError:
        if b"\\ud" not in data:
            raise
        return msgspec.convert(json.loads(data), Document)


def _stated(tree: Tree) -> tuple[Stated | None, list[Problem]]:
    found, problems = document(tree)
    if found is None:
        return None, problems
    in_lists = found.options.materialize == "list"
    if in_lists and tree.image_root:  # the names lead there from where the images are
        place = tree.image_root
        for one in found.images:
            one.file, one.source = (posixpath.normpath(posixpath.join(place, name)) for name in (one.file, one.source))
    files = Counter(one.file for one in found.images)
    times = {file: count for file, count in files.items() if count > 1}
    by_basename: dict[str, list[str]] = {}
    for file in times:
        by_basename.setdefault(posixpath.basename(file), []).append(file)
    source_of = {one.file: one.source for one in found.images}
    altered = frozenset(one.file for one in found.images if one.transform is not None)
    return Stated(source_of, times, altered, in_lists, by_basename), []


def _problem(text: str) -> Problem:
    return Problem("config-invalid", Place(file=NAME), text)


def with_stated(dataset: Dataset, told: Stated) -> Dataset:
    """Let images share their picture as a manifest states, and lists name images as often as it states."""
    if told.times and not format_of(dataset).lists_images:
        dataset = _with_repeated_lines(dataset, told)
    images = dataset.images
    names: list[str] = images.file_name.tolist()
    row_of = _first_rows([told.source_of.get(name) for name in names], names, dataset.first_split.tolist())
    sizes = np.stack([images.file_width, images.file_height], axis=1)
    differ = (sizes != sizes[row_of]).any(axis=1) & (sizes > 0).all(axis=1) & (sizes[row_of] > 0).all(axis=1)
    differ &= ~np.fromiter((name in told.altered for name in names), bool, len(names))
    row_of[differ] = np.flatnonzero(differ)
    problems = []
    if differ.any():
        row = int(np.flatnonzero(differ)[0])
        others = f", and {int(differ.sum()) - 1:,} more" if differ.sum() > 1 else ""
        problems.append(_problem(f"{names[row]} is stated to repeat a picture of another size{others}"))
    gone = sorted(set(told.source_of).difference(names)) if not told.in_lists else []
    if gone:
        problems.append(_problem(f"it names {plural(len(gone), 'image')} not here, first {gone[0]}"))
    picture = np.unique(row_of, return_inverse=True)[1].astype(np.int32)
    return dataclasses.replace(dataset, images=dataclasses.replace(images, picture=picture), problems=(*dataset.problems, *problems))


def _first_rows(sources: list[str | None], names: list[str], splits: list[int]) -> NDArray[np.int64]:
    """Give for each image the first row of its picture: of the same stated source, or of the same file where none is stated.

    Repeats in another split are a leak, whatever a manifest states, so they stay pictures of their own.
    """
    of_source: dict[tuple[str, int], int] = {}
    of_file: dict[tuple[str, int], int] = {}
    rows = []
    for row, (source, name, split) in enumerate(zip(sources, names, splits, strict=True)):
        first = of_file.setdefault((name, split), row) if source is None else of_source.setdefault((source, split), row)
        rows.append(first)
    return np.array(rows, np.int64)


def _with_repeated_lines(dataset: Dataset, told: Stated) -> Dataset:
    """Make rows of the lines that name an image again, as often as stated; those are no problems then."""
    row_of = {name: row for row, name in enumerate(dataset.images.file_name.tolist())}
    allowed = {name: told.allowed(name) - 1 for name in row_of}
    more: Counter[str] = Counter()
    left = []
    for problem in dataset.problems:
        name = problem.place.image
        if problem.kind == "listed-twice" and name is not None and name in row_of and problem.count == 1 and more[name] < allowed[name]:
            more[name] += 1
        else:
            left.append(problem)
    if not more:
        return dataset
    times = np.array([1 + more[name] for name in row_of], np.int64)
    rows = np.repeat(np.arange(len(times)), times)
    return dataclasses.replace(dataset.select(rows), origin=dataset.origin, problems=tuple(left))
