"""Image folders: the folder an image lies in is its class, `root/<class>/**` or `root/<split>/<class>/**`."""

from __future__ import annotations

import os
import posixpath
from bisect import bisect_left
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from dataset_doctor.dataset import NO_ID, UNKNOWN_SIZE, Annotations, Class, Dataset, Geometry, Images, LabelState, Place, Problem
from dataset_doctor.files.images import bring
from dataset_doctor.files.names import MAX_DEPTH, suffix
from dataset_doctor.files.output import Materialize, Stage
from dataset_doctor.files.progress import Progress, silent
from dataset_doctor.files.sizes import measure
from dataset_doctor.files.splits import canonical_split, is_split_name
from dataset_doctor.files.tree import REPORTED_JUNK, Tree
from dataset_doctor.formats.format import Candidate, Format
from dataset_doctor.formats.layout import canonical_names, keeps_layout, kept_names, split_folders

NOT_CLASSES = frozenset({"images", "labels", "annotations", "jpegimages", "masks", "data"})
"""Folder names (lower case) that say what kind of file lies in them, not which class."""

LEAST_SHARE = 0.8
"""Share of the images that must lie in class folders."""


def detect(tree: Tree, only: str | None = None) -> list[Candidate]:
    """Find class folders: two or more beside each other, or one in a split folder, that hold most images of the tree.

    A folder that holds most images but no class folders is looked into, so that `photos/<class>/` is found from above. Folders that
    each hold splits of classes, or a folder of classes further down, are datasets of their own.

    Args:
        tree: What the walk found.
        only: A file that the user pointed at: no file stands for image folders.
    """
    if only is not None:
        return []
    images = _visible(tree, "")
    root = ""
    for _ in range(MAX_DEPTH):
        if not images:
            return []
        if len(apart := _datasets_beside(tree, root, images)) > 1:
            return apart
        below = Counter(parts[0] for parts in _parts(root, images) if len(parts) > 1)
        splits, classes, covered = _classes(root, images)
        if classes and covered >= LEAST_SHARE * len(images) and not _has_labels(tree, images):
            where = f"in {len(splits):,} split {'folder' if len(splits) == 1 else 'folders'}" if splits else "beside each other"
            text = f"{covered:,} of {len(images):,} images lie in {len(classes):,} class folders {where}"
            return [Candidate("folder", "split folders" if splits else "class folders", root, (), (text,))]
        main, held = max(below.items(), key=lambda item: (item[1], item[0]), default=("", 0))
        if held < LEAST_SHARE * len(images):
            return []
        root = posixpath.join(root, main)
        images = _visible(tree, root)
    return []


def _datasets_beside(tree: Tree, root: str, images: Sequence[str]) -> list[Candidate]:
    """Find folders beside each other that are no classes but hold them, in splits or further down."""
    parts = _parts(root, images)
    holders = {p[0] for p in parts if len(p) > 2} - {p[0] for p in parts if len(p) == 2}
    holders = {name for name in holders if name.lower() not in NOT_CLASSES and not is_split_name(name)}
    found = []
    for name in sorted(holders) if len(holders) > 1 else ():
        folder = posixpath.join(root, name)
        found += [c for c in detect(tree.below(folder)) if c.variant == "split folders" or c.root != folder]
    return found


def _visible(tree: Tree, folder: str) -> list[str]:
    """List the images below a folder, less those in hidden folders and those outside the dataset."""
    start = bisect_left(tree.images, folder + "/") if folder else 0
    stop = bisect_left(tree.images, folder + "0") if folder else len(tree.images)  # "0" follows "/"
    return [name for name in tree.images[start:stop] if "/." not in name and not name.startswith(".")]


def _parts(root: str, names: Sequence[str]) -> list[list[str]]:
    skip = len(root) + 1 if root else 0
    return [name[skip:].split("/") for name in names]


def _classes(root: str, images: Sequence[str]) -> tuple[set[str], set[str], int]:
    """Read folder names as splits and classes, none where they cannot be; the third value counts the images in class folders."""
    parts = _parts(root, images)
    splits = {p[0] for p in parts if len(p) > 2 and is_split_name(p[0])}
    depth = 1 if splits else 0
    inside = [p for p in parts if len(p) > depth + 1 and (not splits or p[0] in splits) and p[depth].lower() not in NOT_CLASSES]
    classes = {p[depth] for p in inside}
    hides_splits = any(len(p) > depth + 2 and is_split_name(p[depth + 1]) for p in inside)
    if hides_splits or len(classes) < (1 if splits else 2) or any(is_split_name(name) for name in classes):
        return splits, set(), 0
    return splits, classes, len(inside)


def _has_labels(tree: Tree, images: Sequence[str]) -> bool:
    """Tell whether most images have a label file beside them, so that another format explains them."""
    stems = {posixpath.splitext(name)[0] for name in tree.files if suffix(name) in (".txt", ".xml", ".json")}
    return 2 * sum(posixpath.splitext(name)[0] in stems for name in images) > len(images)


@dataclass(frozen=True, slots=True)
class _Listing:
    """Images in class folders, with the split ("" without splits) and class of each; images in none; empty folders; hidden folders."""

    images: list[str]
    splits: list[str]
    classes: list[str]
    orphans: list[str]
    empty: list[str]
    hidden: list[str]


def _listing(tree: Tree, root: str) -> _Listing:
    listing = _Listing([], [], [], [], [], [])
    images = _visible(tree, root)
    splits = _classes(root, images)[0]
    depth = 1 if splits else 0
    for name, parts in zip(images, _parts(root, images), strict=True):
        if len(parts) < depth + 2 or (splits and parts[0] not in splits):
            listing.orphans.append(name)
        else:
            listing.images.append(name)
            listing.splits.append(parts[0] if splits else "")
            listing.classes.append(parts[depth])
    for folder in [posixpath.join(root, split) for split in sorted(splits)] or [root]:
        listing.empty.extend(_empty_folders(tree, folder))
        listing.hidden.extend(_hidden_folders(tree, folder))
    return listing


def _empty_folders(tree: Tree, folder: str) -> list[str]:
    """List the folders in a folder that hold no file but hidden ones: classes without images."""
    try:
        with os.scandir(os.path.join(tree.root, folder)) as entries:
            names = sorted(entry.name for entry in entries if entry.is_dir(follow_symlinks=False) and entry.name[0] not in "._")
    except OSError:
        return []
    empty = []
    for name in names:
        path = posixpath.join(folder, name)
        start, stop = bisect_left(tree.files, path + "/"), bisect_left(tree.files, path + "0")
        visible = any("/." not in file for file in tree.files[start:stop])
        if not visible and name.lower() not in NOT_CLASSES and not is_split_name(name):
            empty.append(path)
    return empty


def _hidden_folders(tree: Tree, folder: str) -> list[str]:
    """List the hidden and junk folders beside the class folders of a folder."""
    prefix = f"{folder}/" if folder else ""
    below = {name[len(prefix) :].split("/")[0] for name in tree.files if name.startswith(prefix + ".") and "/" in name[len(prefix) :]}
    junk = {p.place.file or "" for p in tree.problems if p.kind == "junk-files"}
    skipped = {name for name in junk if posixpath.dirname(name) == folder and posixpath.basename(name) in REPORTED_JUNK}
    return sorted({prefix + name for name in below} | skipped)


def claims(tree: Tree, candidate: Candidate) -> frozenset[str]:
    """Name the images that lie in class folders."""
    return frozenset(_listing(tree, candidate.root).images)


def read(tree: Tree, candidate: Candidate, *, classes: tuple[str, ...] | None = None, progress: Progress = silent) -> Dataset:
    """Read image folders into columns: every image is one annotation without a box.

    Args:
        tree: What the walk found.
        candidate: One of `detect`.
        classes: Class names in class order; by default the folder names of all splits, sorted.
        progress: Called with what is done.
    """
    listing = _listing(tree, candidate.root)
    n = len(listing.images)
    empty_names = {posixpath.basename(path) for path in listing.empty}
    class_names = tuple(dict.fromkeys(classes)) if classes is not None else tuple(sorted({*listing.classes, *empty_names}))
    index_of = {name: index for index, name in enumerate(class_names)}
    folders = [posixpath.join(candidate.root, split, name) for split, name in zip(listing.splits, listing.classes, strict=True)]
    sources = sorted({*folders, *listing.empty})
    source_of = {folder: row for row, folder in enumerate(sources)}
    # A class is declared where it is trained on, if anywhere.
    declaring = sorted(sources, key=lambda folder: canonical_split(posixpath.basename(posixpath.dirname(folder))) == "train")
    folder_of = {posixpath.basename(folder): folder for folder in declaring}
    source = np.array([source_of[folder] for folder in folders], np.int32)

    spelling = {canonical_split(split) if split else "all": split or "all" for split in sorted(set(listing.splits), reverse=True)}
    order: list[str] = [name for name in ("train", "val", "test", "all") if name in spelling] or ["all"]
    split_of = np.array([order.index(canonical_split(split) if split else "all") for split in listing.splits], np.intp)
    in_split = np.zeros((n, len(order)), bool)
    in_split[np.arange(n), split_of] = True

    sizes = measure(tree, listing.images, progress)
    unknown = np.full(n, UNKNOWN_SIZE, np.int32)
    zeros = np.zeros(n, np.int64)
    images = Images(
        file_name=np.array(listing.images, dtype=object),
        has_file=np.ones(n, bool),
        width=unknown,
        height=unknown,
        file_width=sizes.width,
        file_height=sizes.height,
        in_split=in_split,
        label_state=np.full(n, LabelState.LABELED, np.uint8),
        source_id=np.full(n, NO_ID, np.int64),
        source=source,
        position=zeros,
        picture=np.arange(len(zeros), dtype=np.int32),
    )
    annotations = Annotations(
        image=np.arange(n, dtype=np.int32),
        class_index=np.array([index_of.get(name, -1) for name in listing.classes], np.int32),
        class_id=np.array(listing.classes, dtype=object),
        corners=np.full((n, 4), np.nan),
        area=np.full(n, np.nan),
        flags=np.zeros(n, np.uint16),
        geometry=np.full(n, Geometry.BOX, np.uint8),
        source_id=np.full(n, NO_ID, np.int64),
        source=source,
        position=zeros.astype(np.int32),
        line=zeros.astype(np.int32),
    )
    orphan = "the image lies in no class folder"
    problems = [Problem("image-orphan", Place(file=name, image=name), orphan) for name in listing.orphans]
    problems += [Problem("class-folder-hidden", Place(file=name), "image readers take it for a class") for name in listing.hidden]
    return Dataset(
        root=tree.root,
        format="folder",
        variant=candidate.variant,
        task="classify",
        evidence=candidate.evidence,
        voc_origin=None,
        classes=tuple(Class(name, name, place=Place(file=folder_of[name]) if name in folder_of else None) for name in class_names),
        splits=tuple(order),
        split_spelling=tuple(spelling.get(name, name) for name in order),
        sources=tuple(sources),
        source_split=np.full(len(sources), -1, np.int16),
        images=images,
        annotations=annotations,
        problems=(*problems, *sizes.problems),
    )


def write(dataset: Dataset, stage: Stage, *, materialize: Materialize = "copy", progress: Progress = silent) -> list[str]:
    """Write image folders; classes without an image become empty folders where the layout is made anew.

    Args:
        dataset: Image folders as read, selected and repeated.
        stage: The folder to write into.
        materialize: How images are brought; "list" does not go with folders.
        progress: Called with what is done.

    Returns:
        The path of each image row, relative to the new root.
    """
    images, annotations = dataset.images, dataset.annotations
    if keeps_layout(dataset, "folder"):
        names = kept_names(dataset)
        bring(dataset, range(len(names)), names, stage, materialize, progress)
        for folder in dataset.sources:
            stage.folder(folder)
        return names
    # The names of the folders, not of the classes: those given with --classes may be anything.
    class_of = dict(zip(annotations.image.tolist(), annotations.class_id.tolist(), strict=True))
    folders = [""] if dataset.splits == ("all",) else [f"{folder}/" for folder in split_folders(dataset)]
    bare = canonical_names(dataset)
    rows, columns = np.nonzero(images.in_split)
    places = [f"{folders[split]}{class_of[row]}/{bare[row]}" for row, split in zip(rows.tolist(), columns.tolist(), strict=True)]
    bring(dataset, rows.tolist(), places, stage, materialize, progress)
    for split in folders:
        for name in sorted({posixpath.basename(source) for source in dataset.sources}):
            stage.folder(f"{split}{name}")
    return [places[at] for at in np.unique(rows, return_index=True)[1].tolist()]


FOLDER = Format(
    name="folder",
    title="image folders",
    looks_for="class folders",
    last_resort=True,
    detect=detect,
    claims=claims,
    read=read,
    box=None,
    class_folders=True,
    write=write,
    files_by_split=True,
)
