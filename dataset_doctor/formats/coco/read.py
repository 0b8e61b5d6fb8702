"""COCO JSON: one file a split with lists of images, annotations and categories (also LVIS, Roboflow, Label Studio, FiftyOne).

Detection looks at the beginning and the end of each `.json` file (see `_coco_files`). Reading streams the file (see `_jsonarrays`),
turns records into columns (see `_coco_records`), finds each entry's image file below the likeliest folder, and unites the files.
"""

from __future__ import annotations

import dataclasses
import gc
import posixpath
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, TypeVar

import numpy as np
from numpy.typing import NDArray

from dataset_doctor.dataset import (
    NO_ID,
    UNKNOWN_SIZE,
    Annotations,
    Class,
    Dataset,
    Flag,
    Geometry,
    Images,
    LabelState,
    Place,
    Problem,
    ProblemKind,
    stack,
)
from dataset_doctor.files.names import LONGEST_PATH, is_absolute, longest_known_tail, normalise
from dataset_doctor.files.progress import Progress, silent
from dataset_doctor.files.reading import Unreadable
from dataset_doctor.files.splits import canonical_split
from dataset_doctor.files.tree import Tree
from dataset_doctor.findings import plural
from dataset_doctor.formats.coco.arrays import Damage, Piece, Records, Restart, Strict, read_arrays
from dataset_doctor.formats.coco.files import Sniffed, belong_together, choose, sniff, spellings, text_of
from dataset_doctor.formats.coco.provenance import provenance
from dataset_doctor.formats.coco.records import (
    AnnotationColumns,
    Id,
    ImageColumns,
    Judge,
    id_column,
    shown,
    strict_annotations,
    strict_images,
)
from dataset_doctor.formats.format import Candidate
from dataset_doctor.formats.manifest import Stated, stated

MARKS = {
    "images": frozenset({"file_name", "coco_url", "height", "width"}),
    "annotations": frozenset({"image_id"}),
    "categories": frozenset({"name", "supercategory"}),
}
_IMAGE_ID = re.compile(rb'"image_id"\s*:\s*(?:(-?\d{1,18})(?![\d.eE])|"([^"\\]*)")')

_UNUSUAL_NAME = re.compile(r"[\\\0]|//|^[/~]|^[A-Za-z]:|(?:^|/)\.{1,2}(?:/|$)", re.MULTILINE)


# Recognising --------------------------------------------------------------------------------------------------------


def detect(tree: Tree, only: str | None = None) -> list[Candidate]:
    """Recognise COCO datasets by the beginning and the end of each `.json` file.

    Files that agree on their classes are one dataset (splits or shards); files under different folders that do not are several.

    Args:
        tree: The walked files.
        only: The one file to look at, relative to the root, where the user pointed at it.
    """
    sniffed: list[Sniffed] = []
    others: list[str] = []
    for name in [only] if only is not None else tree.with_suffix(".json"):
        found = sniff(tree, name)
        if isinstance(found, Sniffed):
            sniffed.append(found)
        elif found:
            others.append(f"{name} is not read: {found}.")
    homes: dict[str, list[Sniffed]] = defaultdict(list)
    for one in sniffed:
        homes[one.home].append(one)
    groups: list[tuple[list[str], list[Sniffed], list[str]]] = []
    for home, members in sorted(homes.items()):
        chosen, left = choose(tree, members)
        for homes_of, files, notes in groups:
            if belong_together(tree, files, chosen):
                homes_of.append(home)
                files.extend(chosen)
                notes.extend(left)
                break
        else:
            groups.append(([home], chosen, left))
    return [_candidate(tree, homes_of, files, [*notes, *others[:5]]) for homes_of, files, notes in groups]


def _candidate(tree: Tree, homes: list[str], files: list[Sniffed], notes: list[str]) -> Candidate:
    names = [one.name for one in files]
    split_of = dict(zip(names, spellings(names), strict=True))
    rank = {"train": 0, "val": 1, "test": 2}
    names.sort(key=lambda name: (rank.get(canonical_split(split_of[name]), 3), name))
    what = f"{names[0]} is a JSON object with lists of images, annotations and categories, as COCO writes them."
    more = [f"{plural(len(names) - 1, 'more file')} like it: {', '.join(names[1:4])}{' …' if len(names) > 4 else ''}."]
    return Candidate(
        format="coco",
        variant=_variant(files),
        root=homes[0] if len(homes) == 1 else posixpath.commonpath(homes) if all(homes) else "",
        labels=tuple(names),
        evidence=(what, *(more if len(names) > 1 else []), *notes),
    )


def _variant(files: list[Sniffed]) -> str:
    stems = [posixpath.basename(one.name) for one in files]
    if any(stem.startswith("_annotations.coco") for stem in stems):
        return "roboflow"
    if any(one.task == "lvis" for one in files):
        return "lvis"
    if stems == ["result.json"]:
        return "label-studio"
    if stems == ["labels.json"]:
        return "fiftyone"
    return "official" if any(one.task for one in files) else "coco"


# Reading one file ---------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class _File:
    """What one label file holds, in its own terms. `lost` are image ids of records that could not become rows."""

    name: str
    images: list[ImageColumns] = field(default_factory=list)
    annotations: list[AnnotationColumns] = field(default_factory=list)
    categories: list[tuple[Id | None, Class]] = field(default_factory=list)
    lost: list[Id] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)


def _parse(tree: Tree, name: str, progress: Progress, wanted: Iterable[str] = tuple(MARKS)) -> _File:
    """Read one label file; whatever is wrong with it becomes a problem."""
    judge = Judge(name)
    file = _File(name, categories=judge.categories, lost=judge.lost)
    try:
        data, odd = text_of(tree, name)
    except Unreadable as error:
        file.problems.append(Problem("label-unreadable", Place(file=name), str(error)))
        return file
    if odd:
        file.problems.append(Problem("text-encoding", Place(file=name, line=1), odd))
    lists: dict[str, list[Any]] = {"images": file.images, "annotations": file.annotations, "categories": judge.categories}
    strict: dict[str, Strict[Any]] = {"images": strict_images, "annotations": strict_annotations}
    line_of = _line_counter(data)
    sound = True
    for event in read_arrays(data, strict, {key: MARKS[key] for key in wanted}, lambda done: progress(f"Reading {name}", done, len(data))):
        if isinstance(event, Piece):
            lists[event.key].append(event.columns.starting_at(event.first))
        elif isinstance(event, Records):
            judge.judge(event.key, event.indices, event.values, lists[event.key])
        elif isinstance(event, Restart):
            if event.key in lists:
                lists[event.key].clear()
        else:
            file.problems += _problems_of(name, event, line_of(event.byte), sound)
            sound = sound and event.kind not in ("record", "structure")
            if event.key == "annotations" and (named := _IMAGE_ID.search(event.excerpt)) and event.kind == "record":
                judge.lost.append(int(named[1]) if named[1] else named[2].decode("utf-8", "replace"))
    file.problems += [*judge.problems, *judge.floods()]
    if "annotations" in wanted and sound:
        file.problems += _missing_lists(file, data)
    if "annotations" in wanted:
        file.problems += provenance(name, data, line_of)
    rank = {key: row for row, key in enumerate(MARKS)}
    file.problems.sort(key=lambda problem: _file_order(problem.place.pointer or "", rank))
    return file


def _missing_lists(file: _File, data: Any) -> list[Problem]:
    """Report a file without a list of annotations, or without a category for those that it has."""
    has_annotations = any(len(part) for part in file.annotations)
    missing = []
    if not has_annotations and data.find(b'"annotations"') < 0:
        missing.append(("annotations", 'there is no list "annotations"'))
    if has_annotations and not file.categories:
        missing.append(("categories", "there are annotations and no categories"))
    return [Problem("coco-key-missing", Place(file=file.name, pointer=f"/{key}"), text) for key, text in missing]


def _problems_of(name: str, damage: Damage, line: int, first: bool) -> Iterator[Problem]:
    """Turn damage into problems: the file's own once, each record's, and each oddity."""
    pointer = None if damage.index is None else f"/{damage.key}/{damage.index}"
    if damage.kind in ("record", "structure"):
        if first:
            where = f" ({pointer})" if pointer else ""
            what = f"malformed at byte {damage.byte:,}{where}: {damage.text}; whatever is whole besides was read"
            yield Problem("label-unreadable", Place(file=name, line=line), what)
        if damage.kind == "record":
            yield Problem("record-unreadable", Place(file=name, line=line, pointer=pointer), damage.text)
        return
    kinds: dict[str, ProblemKind] = {"encoding": "text-encoding", "nonstandard": "json-nonstandard", "repeated": "duplicate-key"}
    yield Problem(kinds[damage.kind], Place(file=name, line=line, pointer=pointer), damage.text)


def _line_counter(data: Any) -> Callable[[int], int]:
    """Make a function that gives the 1-based line of a byte; asking in rising order costs one pass over the text in all."""
    at, line = 0, 1

    def line_of(byte: int) -> int:
        nonlocal at, line
        step = 1 if byte >= at else -1
        for start in range(min(at, byte), max(at, byte), 1 << 20):
            line += step * bytes(data[start : min(start + (1 << 20), max(at, byte))]).count(b"\n")
        at = byte
        return line

    return line_of


def _file_order(pointer: str, rank: Mapping[str, int]) -> tuple[int, int]:
    """Sort key of a problem: the file itself, then its lists, each by index."""
    parts = pointer.split("/")
    return (rank[parts[1]], int(parts[2])) if len(parts) > 2 and parts[1] in rank else (-1, 0)


# Finding the image files --------------------------------------------------------------------------------------------


def claims(tree: Tree, candidate: Candidate) -> frozenset[str]:
    """List the image files of the tree that a dataset describes; only the lists of images are parsed.

    Args:
        tree: The walked files.
        candidate: A dataset as `detect` gives it.
    """
    claimed: set[str] = set()
    for name, split in zip(candidate.labels, spellings(candidate.labels), strict=True):
        file = _parse(tree, name, silent, ("images",))
        for columns in file.images:
            claimed.update(_find_images(tree, name, split, columns).paths)
    return frozenset(claimed & tree.known)


@dataclass(frozen=True, slots=True)
class _Found:
    """Where the images of one label file are: a path each, whether it exists or not; the folders they were found in; what was odd."""

    paths: list[str]
    roots: list[str]
    problems: list[Problem]


def _find_images(tree: Tree, label: str, split: str, images: ImageColumns) -> _Found:
    """Find the image file of each entry: below the folder where most of a sample of names exist, else by other means.

    Names that are absolute or lead outside are never followed; the longest tail of such a path that the tree lists is taken instead.
    A name found nowhere may still be the only file of that name in the tree.
    """
    written: list[str] = images.file_name.tolist()
    roots = _image_roots(tree, label, split, written)
    problems: list[Problem] = []
    paths = [_under(roots[0], name) for name in written] if roots[0] else written.copy()
    if _any_unusual(written):
        for row, name in enumerate(written):
            if _UNUSUAL_NAME.search(name):
                paths[row], kinds = _unusual_path(tree, label, roots, name)
                pointer = f"/images/{images.index[row]}/file_name"
                problems += [Problem(kind, Place(file=label, pointer=pointer, image=paths[row]), text) for kind, text in kinds]
    if not tree.images:
        return _Found(paths, [], problems)
    missing = [row for row, path in enumerate(paths) if path not in tree.known]
    for row in missing:
        paths[row] = next((path for root in roots[1:] if (path := _under(root, written[row])) in tree.known), paths[row])
    missing = [row for row in missing if paths[row] not in tree.known]
    wanted = Counter(posixpath.basename(paths[row]) for row in missing)
    taken = set(paths) if missing else set()
    moved = []
    for row in missing:
        basename = posixpath.basename(paths[row])
        there = tree.images_by_basename().get(basename, [])
        if len(there) == 1 and wanted[basename] == 1 and there[0] not in taken:
            paths[row] = there[0]
            moved.append(row)
    if moved:
        pointer = f"/images/{images.index[moved[0]]}/file_name"
        text = f"{plural(len(moved), 'image')} found only by file name, in another folder than written; first {paths[moved[0]]}"
        problems.append(Problem("path-by-basename", Place(file=label, pointer=pointer, image=paths[moved[0]]), text))
    return _Found(paths, roots, problems)


def _any_unusual(names: list[str]) -> bool:
    """Tell quickly whether any name may be more than a path downwards; a yes may be wrong, a no is not."""
    text = "\n" + "\n".join(names) + "\n"
    return any(mark in text for mark in ("\\", "\0", "//", "./", ".\n", ":", "\n/", "\n~"))


def _unusual_path(tree: Tree, label: str, roots: list[str], name: str) -> tuple[str, list[tuple[ProblemKind, str]]]:
    """Resolve a name that is more than a path downwards; give the path and what is wrong with the name."""
    kinds: list[tuple[ProblemKind, str]] = []
    if "\\" in name:
        kinds.append(("path-backslash", f"{shown(name)} has backslashes; on Linux and macOS it names no file"))
    plain = normalise(name)
    inside = [path for root in (posixpath.dirname(label), *roots) if (path := normalise(name, root)) is not None]
    if plain is not None:
        inside = [*(_under(root, plain) for root in roots), *inside]
    if not inside:
        if tree.image_root is not None and (there := posixpath.normpath(posixpath.join(tree.image_root, name))) in tree.known:
            return there, kinds  # from where the images are, further to where they are: a list of a list
        kind: ProblemKind = "path-absolute" if is_absolute(name) else "path-outside-dataset"
        kinds.append(
            (kind, f"{shown(name)} {'is an absolute path' if kind == 'path-absolute' else 'leads outside the dataset'}, not followed")
        )
        parts = [part for part in re.sub(r"^[A-Za-z]:", "", name.replace("\\", "/")).split("/") if part not in ("", ".", "..", "~")]
        tails = ["/".join(parts[start:]) for start in range(min(len(parts), 40 if len(name) <= LONGEST_PATH else 1))]
        below = (path for tail in tails for root in roots if (path := _under(root, tail)) in tree.known)
        found = (longest_known_tail(name, tree.known) or next(below, None)) if len(name) <= LONGEST_PATH else None
        return found or _under(roots[0], tails[0].replace("\0", "") if tails else "<no name>"), kinds
    return next((path for path in inside if path in tree.known), inside[0]), kinds


def _image_roots(tree: Tree, label: str, split: str, written: list[str]) -> list[str]:
    """Order the folders in which a sample of the names exists, the likeliest first; where none has any, the one that should."""
    folder = posixpath.dirname(label)
    given = None if tree.image_root is None else re.sub(r"^\.$", "", posixpath.normpath(tree.image_root))
    if not tree.images or not written:
        return [folder if given is None else given]
    step = max(1, len(written) // 64)
    sample = [tidy for name in written[::step][:64] if (tidy := normalise(name))]
    spellings = [] if split == "all" else list(dict.fromkeys([split, canonical_split(split)]))
    below = ["", "images", "data", *spellings, *(f"{a}/{b}" for s in spellings for a, b in (("images", s), (s, "images"), ("data", s)))]
    bases = [folder]
    while bases[-1] and len(bases) < 3:
        bases.append(posixpath.dirname(bases[-1]))
    # Below the given folder, folders may be as they are beside the labels.
    beside = None if given is None or not folder else posixpath.join(given, folder)
    for tier in ([one for one in (given, beside) if one is not None], bases):
        scores = {}
        for root in (posixpath.join(base, sub).rstrip("/") for base in tier for sub in below):
            if root not in scores and (hits := sum(_under(root, name) in tree.known for name in sample)):
                scores[root] = hits
        if scores:
            return sorted(scores, key=lambda root: (-scores[root], root != beside, len(root), root))
    return [folder if given is None else given]


def _under(root: str, name: str) -> str:
    return f"{root}/{name}" if root else name


def _orphans(tree: Tree, candidate: Candidate, roots: set[str], listed: set[str]) -> list[Problem]:
    """Name the image files in the folders used that no label file of the dataset, nor any other COCO file, lists."""
    folders = {posixpath.dirname(path) for path in listed}
    prefixes = tuple(f"{root}/" for root in sorted(roots) if root)
    left = [
        name
        for name in tree.images
        if name not in listed and (posixpath.dirname(name) in folders or (prefixes and name.startswith(prefixes)))
    ]
    if not left:
        return []
    others = [name for name in tree.with_suffix(".json") if name not in candidate.labels and isinstance(sniff(tree, name), Sniffed)]
    if others:
        elsewhere = claims(tree, Candidate("coco", "", "", tuple(others), ()))
        left = [name for name in left if name not in elsewhere]
    return [Problem("image-orphan", Place(file=name, image=name), "no label file lists this image") for name in left]


# Uniting the files --------------------------------------------------------------------------------------------------


def read(tree: Tree, candidate: Candidate, *, classes: tuple[str, ...] | None = None, progress: Progress = silent) -> Dataset:
    """Read a COCO dataset; every record that can be parsed becomes a row, whatever is wrong with it.

    Args:
        tree: The walked files.
        candidate: The dataset, as `detect` gives it.
        classes: Names that replace those of the categories, in their order.
        progress: Told how far reading is.
    """
    collecting = gc.isenabled()
    gc.disable()  # millions of short-lived records without cycles: collecting among them takes a third of the time
    try:
        return _read(tree, candidate, classes, progress)
    finally:
        if collecting:
            gc.enable()


def _read(tree: Tree, candidate: Candidate, names: tuple[str, ...] | None, progress: Progress) -> Dataset:
    spelled = spellings(candidate.labels)
    spelling_of = {canonical_split(split): split for split in reversed(spelled)}
    splits = tuple(dict.fromkeys(canonical_split(split) for split in spelled))
    union = _Union(len(splits), federated=candidate.variant == "lvis", told=stated(tree)[0])
    for label, split in zip(candidate.labels, spelled, strict=True):
        union.add(tree, _parse(tree, label, progress), split, splits.index(canonical_split(split)))
    images, annotations = union.tables()
    images, problems = _with_image_files(tree, candidate, images, union.roots, progress)
    evidence = candidate.evidence
    if len(images) and not images.has_file.any():
        evidence += ("No image files are at hand: sizes are those that the labels declare.",)
    classes = list(union.classes.values())
    if names is not None:
        renamed = [dataclasses.replace(one, name=name) for one, name in zip(classes, names, strict=False)]
        classes[: len(renamed)] = renamed
    return Dataset(
        root=tree.root,
        format="coco",
        variant=candidate.variant,
        task=_task(annotations),
        evidence=evidence,
        voc_origin=None,
        classes=tuple(classes),
        splits=splits,
        split_spelling=tuple(spelling_of[split] for split in splits),
        sources=candidate.labels,
        source_split=np.array([splits.index(canonical_split(split)) for split in spelled], np.int16),
        images=images,
        annotations=annotations,
        problems=(*union.problems, *problems),
    )


class _Union:
    """Unites label files: one row an image file, one class an (id, name); whatever cannot be matched becomes a problem."""

    def __init__(self, n_splits: int, *, federated: bool, told: Stated | None = None) -> None:
        self.federated = federated
        self.told = told if told is not None and told.times else None
        self.n_splits = n_splits
        self.row_of: dict[tuple[str, int], int] = {}
        self.classes: dict[tuple[Id, str, int], Class] = {}
        self.images: list[Images] = []
        self.annotations: list[Annotations] = []
        self.members: list[tuple[int, NDArray[np.int32]]] = []
        self.lost: list[NDArray[np.int32]] = []
        self.roots: set[str] = set()
        self.problems: list[Problem] = []
        self.name_of: dict[Id, tuple[str, str]] = {}

    def add(self, tree: Tree, file: _File, split: str, split_row: int) -> None:
        """Add what one label file holds."""
        source = len(self.members)
        images, annotations = _joined(file.images, ImageColumns), _joined(file.annotations, AnnotationColumns)
        found = _find_images(tree, file.name, split, images)
        self.roots.update(found.roots)
        known_before = len(self.row_of)
        keys = self.keys(found.paths, images.file_name.tolist())
        rows = np.fromiter([self.row_of.setdefault(key, len(self.row_of)) for key in keys], np.int32, len(keys))
        distinct, first = np.unique(rows, return_index=True)
        self.images.append(_image_part(images, found.paths, first[distinct >= known_before], source, self.n_splits))
        self.members.append((split_row, rows))

        usable = np.flatnonzero(images.id != NO_ID)
        image_ids, image_rows = images.id[usable], rows[usable]
        class_ids, class_rows = self.add_classes(file)
        of_image = _lookup(image_ids, image_rows, annotations.image_id)
        of_class = _lookup(class_ids, class_rows, annotations.category_id)
        self.annotations.append(_annotation_part(annotations, of_image, of_class, source))
        self.lost.append(_lookup(image_ids, image_rows, id_column(file.lost)))

        problems = [*file.problems, *found.problems, *_twice(file.name, images, rows, found.paths)]
        problems += [*_without_image(file.name, annotations, of_image), *_mixed_types(file.name, images, annotations, class_ids)]
        problems += _renamed(file.name, file.categories, self.name_of)
        problems += _without_lists(file.name, images, found.paths) if self.federated else []
        rank = {key: row for row, key in enumerate(MARKS)}
        self.problems += sorted(problems, key=lambda problem: _file_order(problem.place.pointer or "", rank))

    def keys(self, paths: list[str], written: list[str]) -> list[tuple[str, int]]:
        """Tell entries apart by path and, where a manifest states that one image is listed several times, by how often it came before."""
        if self.told is None:
            return [(path, 0) for path in paths]
        times: dict[str, int] = {}
        keys = []
        for path, name in zip(paths, written, strict=True):
            before = times.get(path, 0)
            keys.append((path, before if before and before < self.told.allowed(path, name) else 0))
            times[path] = before + 1
        return keys

    def add_classes(self, file: _File) -> tuple[NDArray[Any], NDArray[np.int32]]:
        """Add a file's categories; give their ids and rows. What the file itself repeats is listed as often."""
        times: Counter[tuple[Id, str]] = Counter()
        row_of = {key: row for row, key in enumerate(self.classes)}
        ids: list[Id] = []
        rows: list[int] = []
        for own_id, shape in file.categories:
            key = (shape.id, shape.name, times[shape.id, shape.name])
            times[shape.id, shape.name] += 1
            self.classes.setdefault(key, shape)
            row = row_of.setdefault(key, len(row_of))
            if own_id is not None:
                ids.append(own_id)
                rows.append(row)
        return id_column(ids), np.array(rows, np.int32)

    def tables(self) -> tuple[Images, Annotations]:
        """Stack what was added; image files are not looked at."""
        images, annotations = stack(self.images), stack(self.annotations)
        in_split = np.zeros((len(images), self.n_splits), bool)
        for split_row, rows in self.members:
            in_split[rows, split_row] = True
        state = np.full(len(images), LabelState.BACKGROUND, np.uint8)
        for rows in (annotations.image, *(rows[rows >= 0] for rows in self.lost)):
            state[rows] = LabelState.LABELED
        picture = np.arange(len(images), dtype=np.int32)
        return dataclasses.replace(images, in_split=in_split, label_state=state, picture=picture), annotations


def _with_image_files(
    tree: Tree, candidate: Candidate, images: Images, roots: set[str], progress: Progress
) -> tuple[Images, list[Problem]]:
    """Fill in which image files exist and their sizes; name those that are missing, unreadable or in no list."""
    has_file = np.fromiter([name in tree.known for name in images.file_name], bool, len(images))
    if not has_file.any():
        return images, []
    from dataset_doctor.files.sizes import measure

    there = np.flatnonzero(has_file)
    names: list[str] = images.file_name[there].tolist()
    sizes = measure(tree, names, progress)
    file_width, file_height = images.file_width.copy(), images.file_height.copy()
    file_width[there], file_height[there] = sizes.width, sizes.height
    problems = [
        Problem(
            "image-missing",
            Place(
                file=candidate.labels[images.source[row]],
                pointer=f"/images/{images.position[row]}/file_name",
                image=images.file_name[row],
            ),
            "the image file is not there",
        )
        for row in np.flatnonzero(~has_file)
    ]
    problems += [*sizes.problems, *_orphans(tree, candidate, roots, set(names))]
    return dataclasses.replace(images, has_file=has_file, file_width=file_width, file_height=file_height), problems


Columns = TypeVar("Columns", ImageColumns, AnnotationColumns)


def _joined(parts: list[Columns], kind: type[Columns]) -> Columns:
    """Put the pieces of one file together; integer and text ids become objects where they meet."""
    if not parts:
        empty = Judge("")
        return empty.images([], []) if kind is ImageColumns else empty.annotations([], [])  # type: ignore[return-value]
    columns: dict[str, NDArray[Any]] = {}
    for name in (one.name for one in dataclasses.fields(kind)):
        pieces = [getattr(part, name) for part in parts]
        if any(piece.dtype == object for piece in pieces):
            pieces = [piece.astype(object) for piece in pieces]
        columns[name] = np.concatenate(pieces)
    return kind(**columns)


def _image_part(images: ImageColumns, paths: list[str], rows: NDArray[np.int64], source: int, n_splits: int) -> Images:
    """Make table rows of a file's image entries that no file before it had."""
    names = np.empty(len(rows), dtype=object)
    names[:] = [paths[row] for row in rows]
    unknown = np.full(len(rows), UNKNOWN_SIZE, np.int32)
    return Images(
        file_name=names,
        has_file=np.zeros(len(rows), bool),
        width=images.width[rows],
        height=images.height[rows],
        file_width=unknown,
        file_height=unknown,
        in_split=np.zeros((len(rows), n_splits), bool),
        label_state=np.full(len(rows), LabelState.BACKGROUND, np.uint8),
        source_id=images.id[rows],
        source=np.full(len(rows), source, np.int32),
        position=images.index[rows],
        picture=np.arange(len(rows), dtype=np.int32),
    )


def _annotation_part(annotations: AnnotationColumns, image: NDArray[np.int32], class_index: NDArray[np.int32], source: int) -> Annotations:
    """Make table rows of a file's annotations; those whose image is unknown are left out."""
    kept: Any = slice(None) if (image >= 0).all() else image >= 0
    n = len(image[kept])
    return Annotations(
        image=image[kept],
        class_index=class_index[kept],
        class_id=annotations.category_id[kept],
        corners=annotations.corners[kept],
        area=annotations.area[kept],
        flags=annotations.flags[kept],
        geometry=annotations.geometry[kept],
        source_id=annotations.id[kept],
        source=np.full(n, source, np.int32),
        position=annotations.index[kept],
        line=np.zeros(n, np.int32),
    )


def _lookup(keys: NDArray[Any], values: NDArray[np.int32], wanted: NDArray[Any]) -> NDArray[np.int32]:
    """Give the value of each wanted key, the last one where a key repeats, -1 where there is none. "1" is not 1."""
    if not len(keys) or not len(wanted):
        return np.full(len(wanted), -1, np.int32)
    if keys.dtype == object or wanted.dtype == object:
        value_of = dict(zip(keys.tolist(), values.tolist(), strict=True))
        return np.fromiter([value_of.get(key, -1) for key in wanted.tolist()], np.int32, len(wanted))
    low, high = int(keys.min()), int(keys.max())
    if high - low <= 16 * len(keys) + (1 << 20):
        # Ids are mostly dense: a table of all of them is several times faster than searching.
        table = np.full(high - low + 2, -1, np.int32)
        table[keys - low] = values
        inside = (wanted >= low) & (wanted <= high)
        return table[np.where(inside, wanted - low, high - low + 1)]
    order = np.argsort(keys, kind="stable")
    at = np.searchsorted(keys, wanted, side="right", sorter=order) - 1
    last = order[np.maximum(at, 0)]
    return np.where((at >= 0) & (keys[last] == wanted), values[last], np.int32(-1)).astype(np.int32)


def _twice(label: str, images: ImageColumns, rows: NDArray[np.int32], paths: list[str]) -> list[Problem]:
    """Name the entries whose image file an earlier entry of the same list has."""
    _, first = np.unique(rows, return_index=True)
    again = np.ones(len(rows), bool)
    again[first] = False
    return [
        Problem(
            "listed-twice",
            Place(file=label, pointer=f"/images/{images.index[row]}", image=paths[row]),
            "an earlier entry has the same image file",
        )
        for row in np.flatnonzero(again)
    ]


def _without_lists(label: str, images: ImageColumns, paths: list[str]) -> list[Problem]:
    """Name the image entries of an LVIS file that do not say which classes were looked for."""
    text = "it has no neg_category_ids or no not_exhaustive_category_ids"
    return [
        Problem("lvis-fields-missing", Place(file=label, pointer=f"/images/{images.index[row]}", image=paths[row]), text)
        for row in np.flatnonzero(~images.federated)
    ]


def _without_image(label: str, annotations: AnnotationColumns, image: NDArray[np.int32]) -> list[Problem]:
    """Name the annotations whose image_id no image has."""
    problems = []
    for row in np.flatnonzero(image < 0):
        image_id, own_id = annotations.image_id[row], annotations.id[row]
        place = Place(
            file=label,
            pointer=f"/annotations/{annotations.index[row]}/image_id",
            annotation_id=None if own_id == NO_ID else own_id if isinstance(own_id, str) else int(own_id),
        )
        text = f"no image has the id {shown(image_id if isinstance(image_id, str) else int(image_id))}"
        problems.append(Problem("annotation-without-image", place, text))
    return problems


def _renamed(label: str, categories: list[tuple[Id | None, Class]], name_of: dict[Id, tuple[str, str]]) -> list[Problem]:
    """Name the categories whose id stands for another name before, in this file or an earlier one; `name_of` remembers them."""
    problems = []
    for own_id, shape in categories:
        if own_id is None:
            continue
        name, where = name_of.setdefault(own_id, (shape.name, label))
        if name != shape.name:
            text = f"the id {shown(own_id)} is {shown(shape.name)} here and {shown(name)} {'above' if where == label else f'in {where}'}"
            place = dataclasses.replace(shape.place or Place(file=label), class_name=shape.name)
            problems.append(Problem("class-names-conflict", place, text))
    return problems


def _mixed_types(label: str, images: ImageColumns, annotations: AnnotationColumns, category_ids: NDArray[Any]) -> list[Problem]:
    """Tell once where ids that should match, or ids of one list, are partly integers and partly text."""
    for what, columns in (
        ("image ids", (images.id, annotations.image_id)),
        ("category ids", (category_ids, annotations.category_id)),
        ("annotation ids", (annotations.id,)),
    ):
        kinds: set[type] = set()
        for column in columns:
            if column.dtype == object:
                kinds.update(type(value) for value in column.tolist() if value != NO_ID)
            elif len(column):
                kinds.add(int)
        if len(kinds) > 1:
            return [Problem("id-mixed-types", Place(file=label), f'{what} are partly numbers and partly text; 1 and "1" do not match')]
    return []


def _task(annotations: Annotations) -> Literal["detect", "segment", "pose", "obb"]:
    """Name the task that most annotations serve."""
    n = len(annotations)
    shapes = np.bincount(annotations.geometry, minlength=len(Geometry))
    if annotations.has(Flag.KEYPOINTS).sum() * 2 > n:
        return "pose"
    if shapes[Geometry.OBB] * 2 > n:
        return "obb"
    return "segment" if shapes[[Geometry.POLYGON, Geometry.RLE, Geometry.RLE_STRING]].sum() * 2 > n else "detect"
