"""Write COCO: from COCO by pasting its own records, from other formats by making them (see `_coco_render`).

A label file in which nothing changes is copied. In one that changes, records stay byte for byte; those of a repeated image are added at
the end with ids that follow the largest. Where images change split, files are made anew from the records, under COCO's usual names.
"""

from __future__ import annotations

import itertools
import posixpath
import re
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dataset_doctor.dataset import NO_ID, Class, Dataset
from dataset_doctor.errors import DoctorError, UsageError
from dataset_doctor.files.images import bring
from dataset_doctor.files.names import repeat_names
from dataset_doctor.files.output import Materialize, Stage
from dataset_doctor.files.progress import Progress, silent
from dataset_doctor.files.reading import Unreadable
from dataset_doctor.files.splits import canonical_split
from dataset_doctor.files.tree import Tree, reopened
from dataset_doctor.formats.coco.cut import BLOCK, Cut, cut, edited, encoded, member, members_of, renumbered, runs
from dataset_doctor.formats.coco.files import spellings
from dataset_doctor.formats.coco.records import category_name, id_column, name_from_url
from dataset_doctor.formats.coco.render import made_changes, rendered
from dataset_doctor.formats.layout import canonical_names, keeps_layout, split_folders


def write(dataset: Dataset, stage: Stage, *, materialize: Materialize = "copy", progress: Progress = silent) -> list[str]:
    """Write a dataset as COCO: its images and a label file for each split.

    Args:
        dataset: Of any format that COCO can hold.
        stage: The folder to write into.
        materialize: How images are brought; with "list" they stay where they are, and file names lead there from the source's root.
        progress: Called with what is done.

    Returns:
        The path of each image row, relative to the new root.
    """
    if keeps_layout(dataset, "coco"):
        names = _kept(dataset, stage, materialize, progress)
        row_of = {name: row for row, name in enumerate(names)}
        there = {name: row for name, row in row_of.items() if dataset.images.has_file[row]}
        bring(dataset, list(there.values()), list(there), stage, materialize, progress)
        return names
    folders = ["images" if dataset.splits == ("all",) else f"images/{folder}" for folder in split_folders(dataset)]
    listed = materialize == "list"
    bare: list[str] = dataset.images.file_name.tolist() if listed else canonical_names(dataset)
    label_files = [f"annotations/instances_{folder}.json" for folder in split_folders(dataset)]
    _check_splits(dataset, label_files)
    make = _rearranged if dataset.format == "coco" else rendered
    for label_file, parts in zip(label_files, make(dataset, bare, progress), strict=True):
        stage.write(label_file, parts)
    rows, columns = np.nonzero(dataset.images.in_split)
    places = [bare[row] if listed else f"{folders[split]}/{bare[row]}" for row, split in zip(rows.tolist(), columns.tolist(), strict=True)]
    brought = [(row, place) for row, place in zip(rows.tolist(), places, strict=True) if dataset.images.has_file[row]]
    bring(dataset, [row for row, _ in brought], [place for _, place in brought], stage, materialize, progress)
    first = np.unique(rows, return_index=True)[1]
    return [places[at] for at in first.tolist()]


def _check_splits(dataset: Dataset, label_files: Sequence[str]) -> None:
    """Refuse names of splits by which readers of COCO, who have the file's name alone, would know another split.

    Raises:
        UsageError: with the first of them.
    """
    for split, read in zip(dataset.splits, map(canonical_split, spellings(label_files)), strict=True):
        if read != split:
            raise UsageError(
                f"the split {split} cannot be written as COCO: by the name of its label file readers take it for {read}.",
                "Rename the list or folder in the source that the split has its name from.",
            )


def copied_files(dataset: Dataset) -> frozenset[str]:
    """Name the label files of a COCO dataset in which nothing changes when it is written as COCO."""
    if not keeps_layout(dataset, "coco"):
        return frozenset()
    return frozenset(name for source, name in enumerate(dataset.sources) if _is_untouched(dataset, source))


def _opened(tree: Tree, name: str) -> Cut:
    try:
        return cut(tree, name)
    except Unreadable as error:
        raise _changed(name, str(error)) from error


def _changed(name: str, what: str) -> DoctorError:
    return DoctorError(f"{name} has changed since it was read: {what}.", "Read the dataset again; nothing was written.")


# Files that keep their places ---------------------------------------------------------------------------------------


def _kept(dataset: Dataset, stage: Stage, materialize: Materialize, progress: Progress) -> list[str]:
    """Write each label file under its own name; give the path of each image row."""
    images, annotations = dataset.images, dataset.annotations
    tree = reopened(dataset.root, dataset.sources)
    # What is made anew is added like a repeat, with ids of its own, even where the image it is made from does not stay.
    again = _seen_before(images.source, images.position) | dataset.is_made
    anew = made_changes(dataset)
    names = _names(dataset, again, materialize)
    changed = [row for row in range(len(dataset.sources)) if not _is_untouched(dataset, row)]
    files = {row: _opened(tree, dataset.sources[row]) for row in changed}
    others = {row: _other_entries(dataset, row, file) for row, file in files.items()}
    extra_ids = [member(members_of(file.record("images", index)), "id") for row, file in files.items() for index in others[row]]
    before = dataset.origin or dataset
    image_ids = _fresh(images.source_id, again, [before.images.source_id, id_column(extra_ids)], annotations.image)
    is_made = dataset.is_made
    of_repeat, of_made = again[annotations.image], is_made[annotations.image]
    opened = _Opened(dataset, tree, dict(files))
    annotation_ids = _fresh(annotations.source_id, of_repeat, [before.annotations.source_id])
    for source, name in enumerate(dataset.sources):
        progress(f"Writing {name}", source, len(dataset.sources))
        if source not in files:
            stage.place([name], [name], "copy")
            continue
        file, split = files[source], int(dataset.source_split[source])
        here = images.in_split[:, split] if split >= 0 else np.ones(len(images), bool)
        own = here & (images.source == source)
        _check(file, "images", name, images.position[own])
        _check_damaged(dataset, source, file)
        stays = np.flatnonzero(own & ~again)
        place_of = {images.file_name[row]: index for index, row in sorted(others[source].items(), reverse=True)}
        entries = []
        for row in np.flatnonzero(here & again).tolist():
            index = int(images.position[row]) if own[row] else place_of.get(images.file_name[row])
            if index is not None:
                entry = _entry(file, index, image_ids[row], images.file_name[row], names[row], name)
                entries.append(sized(entry, dataset, row) if is_made[row] else entry)
        kept_images = _rising(np.concatenate([images.position[stays], np.array([*others[source]], np.int64)]))
        records = (annotations.source == source) & ~of_made
        _check(file, "annotations", name, annotations.position[records])
        kept = _rising(annotations.position[records & ~of_repeat])
        repeated = np.flatnonzero(records & of_repeat & ~of_made)
        more = renumbered(
            file,
            annotations.position[repeated].astype(np.int64),
            (_picked(annotations.source_id, repeated), _picked(images.source_id, annotations.image[repeated])),
            ([annotation_ids[row] for row in repeated.tolist()], [image_ids[row] for row in annotations.image[repeated].tolist()]),
        )
        here_anew = np.flatnonzero(of_made & (images.source[annotations.image] == source))
        new = _made_records(
            dataset, opened, here_anew, [annotation_ids[row] for row in here_anew.tolist()], image_ids, anew, _category_ids(file)
        )
        stage.write(name, _pasted(file, {"images": (kept_images, iter(entries)), "annotations": (kept, itertools.chain(more, new))}))
    return names


@dataclass(frozen=True, slots=True)
class _Opened:
    """Label files of the source by their row in `sources`, each opened when it is first needed."""

    dataset: Dataset
    tree: Tree
    files: dict[int, Cut]

    def file(self, source: int) -> Cut:
        if source not in self.files:
            self.files[source] = _opened(self.tree, self.dataset.sources[source])
        return self.files[source]


def _category_ids(file: Cut) -> dict[tuple[Any, Any], Any]:
    """Give the ids of the categories of a file, by themselves and their names."""
    members = [members_of(file.record("categories", row)) for row in range(len(file.arrays.get("categories", ())))]
    pairs = [(member(one, "id"), category_name(member(one, "name"))) for one in members]
    return {(own_id, name): own_id for own_id, name in pairs if not isinstance(own_id, dict | list)}


def _made_records(
    dataset: Dataset,
    opened: _Opened,
    marks: NDArray[np.intp],
    ids: list[Any],
    image_ids: Any,
    anew: dict[int, dict[str, bytes]],
    categories: dict[tuple[Any, Any], Any],
) -> Iterator[bytes]:
    """Give the annotations of images that are made anew: the records they come from, with other boxes, shapes and ids.

    Args:
        dataset: What is written.
        opened: The label files of the source.
        marks: Annotation rows, all of made images.
        ids: The id of each.
        image_ids: The id of each image, by its row.
        anew: What `made_changes` gives.
        categories: The ids of the categories of the file that is written, by the id and name that they have in the source.
    """
    annotations = dataset.annotations
    for row, own_id in zip(marks.tolist(), ids, strict=True):
        file, position = opened.file(int(annotations.source[row])), int(annotations.position[row])
        _check(file, "annotations", dataset.sources[annotations.source[row]], annotations.position[row : row + 1])
        changes = {"image_id": encoded(image_ids[annotations.image[row]]), **anew[row]}
        if own_id is not None:
            changes["id"] = encoded(own_id)
        number = int(annotations.class_index[row])
        if number >= 0:
            declared = dataset.classes[number]
            category = _category_in(categories, declared, dataset.images.file_name[annotations.image[row]])
            changes["category_id"] = encoded(category)
        yield edited(file.record("annotations", position), changes)


def _category_in(categories: dict[tuple[Any, Any], Any], declared: Class, image: str) -> Any:
    """Give the id that a class has in a label file: of the same id and name, else of the same name."""
    if (declared.id, declared.name) in categories:
        return categories[declared.id, declared.name]
    for (_, name), own_id in categories.items():
        if name == declared.name:
            return own_id
    raise DoctorError(
        f"{image} gets objects of the class {declared.name}, which its label file does not declare.", "Join the label files first: split."
    )


def _seen_before(*columns: NDArray[Any]) -> NDArray[np.bool_]:
    """Tell for each row whether an earlier one has the same values."""
    again = np.ones(len(columns[0]), bool)
    again[np.unique(np.stack(columns, axis=1).astype(np.int64), axis=0, return_index=True)[1]] = False
    return again


def _names(dataset: Dataset, again: NDArray[np.bool_], materialize: Materialize) -> list[str]:
    """Name the file of each row: as it is; with a name of its own where an entry is repeated and its picture is brought."""
    written: list[str] = dataset.images.file_name.tolist()
    if materialize == "list" or not again.any():
        return written
    first = list(dict.fromkeys(written[row] for row in np.flatnonzero(~again)))
    rows = np.flatnonzero(again).tolist()
    for row, name in zip(rows, repeat_names([*first, *(written[row] for row in rows)])[len(first) :], strict=True):
        written[row] = name
    return written


def sized(entry: bytes, dataset: Dataset, row: int) -> bytes:
    """Give the entry of an image that is made anew its size, where it has another one."""
    if dataset.made is None or dataset.made.recipe[row] < 0:
        return entry
    recipe = dataset.made.recipes[dataset.made.recipe[row]]
    members = members_of(entry)
    wanted = {"width": recipe.width, "height": recipe.height}
    return edited(entry, {key: encoded(value) for key, value in wanted.items() if key in members and members[key] != encoded(value)})


def _is_untouched(dataset: Dataset, source: int) -> bool:
    """Tell whether all records that a label file gave are still there, once and in the same split."""
    before = dataset.origin
    if before is None or (dataset.is_made & (dataset.images.source == source)).any():
        return False
    positions = []
    for one in (before, dataset):
        split = int(one.source_split[source])
        mine = one.images.source == source
        mine = mine & one.images.in_split[:, split] if split >= 0 else mine
        positions.append((np.sort(one.images.position[mine]), np.sort(one.annotations.position[one.annotations.source == source])))
    return all(np.array_equal(old, new) for old, new in zip(*positions, strict=True))


def _other_entries(dataset: Dataset, source: int, file: Cut) -> dict[int, int]:
    """Find the entries of a file whose image an earlier entry or file has, and which stays: their index and the image's row."""
    images, name = dataset.images, dataset.sources[source]
    split = int(dataset.source_split[source])
    here = images.in_split[:, split] if split >= 0 else np.ones(len(images), bool)
    row_of = {images.file_name[row]: row for row in np.flatnonzero(here)[::-1].tolist()}
    found: dict[int, int] = {}
    for problem in dataset.problems:
        if problem.kind == "listed-twice" and problem.place.file == name and problem.place.image in row_of:
            pointer = (problem.place.pointer or "").split("/")
            if (
                len(pointer) == 3
                and pointer[1] == "images"
                and pointer[2].isdecimal()
                and int(pointer[2]) < len(file.arrays.get("images", ()))
            ):
                found[int(pointer[2])] = row_of[problem.place.image]
    elsewhere = np.flatnonzero(here & (images.source != source)).tolist()
    if elsewhere and "images" in file.arrays:
        by_basename: dict[str, list[int]] = defaultdict(list)
        for row in elsewhere:
            by_basename[posixpath.basename(images.file_name[row])].append(row)
        taken = set(images.position[images.source == source].tolist())
        for index in set(range(len(file.arrays["images"]))).difference(taken):
            written = _written(members_of(file.record("images", index))).replace("\\", "/").lstrip("./")
            for row in by_basename.get(posixpath.basename(written), ()):
                if f"/{images.file_name[row]}".endswith(f"/{written}"):
                    found[index] = row
                    break
    return found


def _written(members: dict[str, bytes]) -> str:
    """Give an image entry's file name as written, or as its address says."""
    for key in ("file_name", "coco_url"):
        value = member(members, key)
        if isinstance(value, str) and value:
            return value if key == "file_name" else name_from_url(value)
    return ""


def _entry(file: Cut, index: int, new_id: Any, old: str, new: str, label: str) -> bytes:
    """Give an image entry again, with another id and, where its file has another name, that name."""
    record = file.record("images", index)
    changes = {} if new_id is None else {"id": encoded(new_id)}
    if new != old:
        written = _written(members_of(record))
        tail = re.split(r"[/\\]", written)[-1]
        beside = written[: len(written) - len(tail)] + posixpath.basename(new)
        changes["file_name"] = encoded(
            beside if tail == posixpath.basename(old) else posixpath.relpath(new, posixpath.dirname(label) or ".")
        )
    return edited(record, changes)


def _rising(positions: NDArray[Any]) -> NDArray[np.int64]:
    """Sort positions, each once; they are dense, so that a mask is quicker than sorting."""
    held = np.zeros(int(positions.max(initial=-1)) + 1, bool)
    held[positions] = True
    return np.flatnonzero(held).astype(np.int64)


def _check(file: Cut, key: str, name: str, positions: NDArray[Any]) -> None:
    """Make sure that a file still has the records that rows came from."""
    held = len(file.arrays[key]) if key in file.arrays else 0
    if int(positions.max(initial=-1)) >= held:
        raise _changed(name, f"it holds {held:,} {key}")


def _check_damaged(dataset: Dataset, source: int, file: Cut) -> None:
    """Make sure that the records of a file which is no whole JSON are those that rows came from: what lies where is a guess.

    Raises:
        UsageError: they are not.
    """
    name, annotations = dataset.sources[source], dataset.annotations
    if not any(problem.kind == "label-unreadable" and problem.place.file == name for problem in dataset.problems):
        return
    before = (dataset.origin or dataset).annotations
    read = before.position[before.source == source]
    twice = len(np.unique(read)) < len(read)  # a key, and with it an array, stands in the file twice
    rows = np.flatnonzero(annotations.source == source).tolist()
    given = (member(members_of(file.record("annotations", int(annotations.position[row]))), "category_id") for row in rows)
    if twice or any(one != annotations.class_id[row] for one, row in zip(given, rows, strict=True)):
        raise UsageError(
            f"{name} is damaged, and which of its records are annotations cannot be told for sure.",
            "Repair the JSON first; dataset-doctor audit names the line. Nothing was written.",
        )


def _pasted(file: Cut, arrays: dict[str, tuple[NDArray[np.int64], Iterator[bytes]]]) -> Iterator[bytes | memoryview]:
    """Give a label file again with other records in some of its arrays, each as those that stay and what comes after them."""
    at = 0
    for key, spans in sorted(file.arrays.items(), key=lambda item: item[1].opening):
        if key not in arrays:
            continue
        yield file.view[at : spans.opening]
        kept, more = arrays[key]
        first, last = (int(spans.start[0]), int(spans.stop[-1])) if len(spans) else (spans.opening, spans.opening)
        yield file.view[spans.opening : first]
        gap = file.separator(key)
        parts: Iterator[bytes | memoryview] = itertools.chain(runs(file, key, kept), more)
        for number, part in enumerate(parts):
            if number:
                yield gap
            yield part
        yield file.view[last : spans.closing]
        at = spans.closing
    yield file.view[at : len(file.view)]


# Ids ----------------------------------------------------------------------------------------------------------------


def _largest(ids: NDArray[Any]) -> int:
    """Give the largest number among ids, 0 where there is none above it."""
    if ids.dtype == object:
        return max((one for one in ids.tolist() if isinstance(one, int)), default=0)
    return max(int(ids.max(initial=0)), 0)


def _picked(ids: NDArray[Any], rows: NDArray[Any]) -> list[Any]:
    picked: list[Any] = ids[rows].tolist()
    return picked


def _fresh(
    own: NDArray[Any], again: NDArray[np.bool_], known: Sequence[NDArray[Any]], named: NDArray[np.integer[Any]] | None = None
) -> list[Any]:
    """Give each row its own id, and those that are there again one that nobody has: numbers follow the largest, text gets an end.

    Args:
        own: The ids as they are.
        again: Rows that need another one.
        known: All ids in use.
        named: Rows that others name by their ids, so that they need one.

    Returns:
        None where a row has no id and needs none.
    """
    ids: list[Any] = own.tolist()
    numbers = itertools.count(max(map(_largest, known), default=0) + 1)
    texts = {one for column in known if column.dtype == object for one in column.tolist() if isinstance(one, str)}
    if own.dtype == object or (own == NO_ID).any():
        ids = [None if one == NO_ID else one for one in ids]
    for row in np.flatnonzero(again).tolist():
        if isinstance(ids[row], str):
            ids[row] = next(new for k in itertools.count(1) if (new := f"{ids[row]}__r{k}") not in texts)
            texts.add(ids[row])
        elif ids[row] is not None:
            ids[row] = next(numbers)
    for row in np.unique(named).tolist() if named is not None and any(one is None for one in ids) else ():
        if ids[row] is None:
            ids[row] = next(numbers)
    return ids


# Files made anew ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Categories:
    """The categories of all label files in one list, and for files whose ids had to change what they became."""

    records: list[bytes]
    became: dict[int, dict[Any, Any]]


def _rearranged(dataset: Dataset, names: Sequence[str], progress: Progress) -> Iterator[Iterator[bytes | memoryview]]:
    """Give the label file of each split, made of the records of the old ones."""
    tree = reopened(dataset.root, dataset.sources)
    files = [_opened(tree, name) for name in dataset.sources]
    images, annotations = dataset.images, dataset.annotations
    for source, name in enumerate(dataset.sources):
        _check(files[source], "images", name, images.position[images.source == source])
        _check(files[source], "annotations", name, annotations.position[annotations.source == source])
        _check_damaged(dataset, source, files[source])
    categories = _united(files)
    category_ids = _category_ids_united(files, categories)
    opened, anew = _Opened(dataset, tree, dict(enumerate(files))), made_changes(dataset)
    before = dataset.origin or dataset
    known_images, known_marks = [before.images.source_id], [before.annotations.source_id]
    for split in range(len(dataset.splits)):
        progress(f"Writing {dataset.splits[split]}", split, len(dataset.splits))
        rows = np.flatnonzero(images.in_split[:, split])
        marks = np.flatnonzero(dataset.annotations_in_split(split))
        labelled = np.flatnonzero(np.isin(rows, annotations.image[marks]))
        image_ids = _fresh(images.source_id[rows], _id_seen(images.source_id[rows]), known_images, labelled)
        mark_ids = _fresh(annotations.source_id[marks], _id_seen(annotations.source_id[marks]), known_marks)
        known_images.append(id_column([one for one in image_ids if one is not None]))
        known_marks.append(id_column([one for one in mark_ids if one is not None]))
        id_of = dict(zip(rows.tolist(), image_ids, strict=True))
        entries = (
            sized(
                _moved(files[images.source[row]].record("images", int(images.position[row])), names[row], new_id, new_id == own_id),
                dataset,
                row,
            )
            for row, own_id, new_id in zip(rows.tolist(), images.source_id[rows].tolist(), image_ids, strict=True)
        )
        used = sorted({*images.source[rows].tolist(), *annotations.source[marks].tolist()}) or [0]
        of_made = dataset.is_made[annotations.image[marks]]
        as_read, made_rows = np.flatnonzero(~of_made), np.flatnonzero(of_made)
        records = itertools.chain(
            _records(dataset, files, marks[as_read], [mark_ids[at] for at in as_read.tolist()], id_of, categories),
            _made_records(dataset, opened, marks[made_rows], [mark_ids[at] for at in made_rows.tolist()], id_of, anew, category_ids),
        )
        yield _composed([files[source] for source in used], entries, records, categories.records)


def _id_seen(ids: NDArray[Any]) -> NDArray[np.bool_]:
    """Tell for each id whether an earlier row has it."""
    if ids.dtype != object:
        again = np.ones(len(ids), bool)
        again[np.unique(ids, return_index=True)[1]] = False
        return again
    first = {one: row for row, one in reversed(list(enumerate(ids.tolist())))}
    return np.array([first[one] != row for row, one in enumerate(ids.tolist())], np.bool_)


def _records(
    dataset: Dataset, files: list[Cut], marks: NDArray[np.intp], ids: list[Any], id_of: dict[int, Any], categories: _Categories
) -> Iterator[bytes]:
    """Give the annotations of a split, file after file, with the ids that they and their images have there."""
    annotations = dataset.annotations
    new_ids, new_images = np.empty(len(ids), object), np.empty(len(ids), object)
    new_ids[:] = ids
    new_images[:] = [id_of[row] for row in annotations.image[marks].tolist()]
    old_ids, old_images = annotations.source_id[marks], dataset.images.source_id[annotations.image[marks]]
    same = (new_ids == old_ids) & (new_images == old_images)
    listed_twice = {problem.place.file for problem in dataset.problems if problem.kind == "listed-twice"}
    for source, file in enumerate(files):
        mine = annotations.source[marks] == source
        became = categories.became.get(source)
        # The image_id of a second entry for one file is not that of its row.
        stays = mine & same if not became and dataset.sources[source] not in listed_twice else np.zeros(len(marks), bool)
        kept = _rising(annotations.position[marks[stays]])
        for records in itertools.zip_longest(*[runs(file, "annotations", kept)] * BLOCK, fillvalue=None):
            yield file.separator("annotations").join(record for record in records if record is not None)
        rest = np.flatnonzero(mine & ~stays)
        if len(rest):
            extra = None
            if became:
                extra = [{"category_id": encoded(became.get(one, one))} for one in annotations.class_id[marks[rest]].tolist()]
            yield from renumbered(
                file,
                annotations.position[marks[rest]].astype(np.int64),
                (old_ids[rest].tolist(), old_images[rest].tolist()),
                (new_ids[rest].tolist(), new_images[rest].tolist()),
                extra,
            )


def _moved(record: bytes, name: str, new_id: Any, same_id: bool) -> bytes:
    """Give an image entry with its file's new name and its id; as it is where both stay."""
    if same_id and member(members_of(record), "file_name") == name:
        return record
    return edited(record, {"file_name": encoded(name)} | ({} if new_id is None else {"id": encoded(new_id)}))


def _united(files: Sequence[Cut]) -> _Categories:
    """Unite categories by id and name; one whose id has another name before gets an id that follows the largest."""
    lists = [[file.record("categories", row) for row in range(len(file.arrays.get("categories", ())))] for file in files]
    if all(one == lists[0] for one in lists):
        return _Categories(lists[0], {})
    records: list[bytes] = []
    became: dict[int, dict[Any, Any]] = {}
    name_of: dict[Any, Any] = {}
    known: dict[tuple[Any, Any], Any] = {}
    ids = [member(members_of(record), "id") for one in lists for record in one]
    numbers = itertools.count(max((one for one in ids if isinstance(one, int)), default=0) + 1)
    for source, one in enumerate(lists):
        for record in one:
            members = members_of(record)
            own_id, name = member(members, "id"), category_name(member(members, "name"))
            if isinstance(own_id, dict | list):
                continue
            if (own_id, name) not in known:
                new_id = own_id if name_of.setdefault(own_id, name) == name else next(numbers)
                known[own_id, name] = new_id
                records.append(record if new_id == own_id else edited(record, {"id": encoded(new_id)}))
            if known[own_id, name] != own_id:
                became.setdefault(source, {})[own_id] = known[own_id, name]
    return _Categories(records, became)


def _category_ids_united(files: Sequence[Cut], categories: _Categories) -> dict[tuple[Any, Any], Any]:
    """Give the ids that the categories of all files have once united, by the ids and names that they have there."""
    found: dict[tuple[Any, Any], Any] = {}
    for source, file in enumerate(files):
        became = categories.became.get(source, {})
        for key, own_id in _category_ids(file).items():
            found.setdefault(key, became.get(own_id, own_id))
    return found


def _composed(
    files: Sequence[Cut], images: Iterator[bytes], annotations: Iterator[bytes], categories: Sequence[bytes]
) -> Iterator[bytes | memoryview]:
    """Put a label file together: the other members as the files have them, the first that has one, then the three arrays."""
    arrays: dict[str, Iterator[bytes]] = {"images": images, "annotations": annotations, "categories": iter(categories)}
    others: dict[str, bytes] = {}
    for file in files:
        for key, value in file.others.items():
            if key not in arrays:  # it is no array there
                others.setdefault(key, value)
    others = {"info": b"{}", "licenses": b"[]"} | others
    order = [key for key in files[0].order if key in others or key in arrays]
    order += [key for key in (*others, *arrays) if key not in order]
    for number, key in enumerate(order):
        yield b"{" if not number else b",\n"
        yield encoded(key) + b": "
        if key in arrays:
            yield b"["
            for count, record in enumerate(arrays[key]):
                yield b",\n" if count else b"\n"
                yield record
            yield b"]"
        else:
            yield others[key]
    yield b"}\n"
