"""What the writers of all formats share: which layout a dataset is written in, and what its files are called there."""

from __future__ import annotations

import posixpath

import numpy as np
from numpy.typing import NDArray

from dataset_doctor.dataset import Dataset, FormatName
from dataset_doctor.errors import DoctorError
from dataset_doctor.files.names import IMAGE_SUFFIXES, MAX_NAME_BYTES, flat_names, repeat_names, suffix
from dataset_doctor.files.splits import UNSAFE, split_folder


def keeps_layout(dataset: Dataset, target: FormatName) -> bool:
    """Tell whether files keep their places: the same format, no image in another split than before, none from outside the root."""
    moved = dataset.plan is not None and dataset.plan.get("command") == "split"
    outside = "\n../" in "\n" + "\n".join(dataset.images.file_name.tolist())
    return target == dataset.format and dataset.keeps_places and not moved and not outside


def kept_names(dataset: Dataset) -> list[str]:
    """Name the image file of each row where files keep their places: as in the source, repeats beside their first (`a__r1.jpg`)."""
    return repeat_names(dataset.images.file_name.tolist())


def canonical_names(dataset: Dataset) -> list[str]:
    """Name the image file of each row for one flat folder: unique by stem in the whole dataset, repeats `a__r1.jpg`, safe characters."""
    paths: list[str] = dataset.images.file_name.tolist()
    safe: dict[str, str] = {}
    taken: set[str] = set()
    for path in dict.fromkeys(paths):
        name = UNSAFE.sub("_", path)
        base = posixpath.basename(name)
        stem, end = posixpath.splitext(base)
        # Lists are a name a line, and readers strip them; "#" begins a comment.
        name = f"{name[: -len(base)]}{stem.strip().lstrip('#') or '_'}{end.strip()}" if base else name
        if suffix(name) not in IMAGE_SUFFIXES:  # readers would see no image in it
            name += ".jpg"
        if len(posixpath.basename(name).encode()) > MAX_NAME_BYTES:
            stem, end = posixpath.splitext(posixpath.basename(name))
            name = stem.encode()[: MAX_NAME_BYTES // 2].decode("utf-8", "ignore") + end
        unique, number = name, 1
        while unique in taken:
            number += 1
            stem, end = posixpath.splitext(name)
            unique = f"{stem}_{number}{end}"
        taken.add(unique)
        safe[path] = unique
    return repeat_names(flat_names([safe[path] for path in paths]))


def split_folders(dataset: Dataset) -> list[str]:
    """Name the folder, or the part of a file name, of each split: the source's own spelling, as far as it is one safe name."""
    folders: list[str] = []
    for spelling in dataset.split_spelling:
        name = split_folder(spelling)
        unique, number = name, 1
        while unique.casefold() in {folder.casefold() for folder in folders}:
            number += 1
            unique = f"{name}_{number}"
        folders.append(unique)
    return folders


def treated(dataset: Dataset) -> NDArray[np.bool_]:
    """Tell for each image whether a plan treats it: it is in the split that changes, or all change. Without a plan none is."""
    if dataset.plan is None:
        return np.zeros(dataset.n_images, bool)
    split = dataset.plan.get("split")
    return dataset.images.in_split[:, dataset.splits.index(split)] if split in dataset.splits else np.ones(dataset.n_images, bool)


def untreated_files(dataset: Dataset) -> frozenset[str]:
    """Name the label files of the images that no plan treats: those are copied as they are."""
    changed = set(dataset.images.source[treated(dataset)].tolist())
    return frozenset(name for row, name in enumerate(dataset.sources) if row not in changed)


def changed(name: str, what: str = "it no longer gives the same records") -> DoctorError:
    """Say that a label file is no longer what was read."""
    return DoctorError(f"{name} has changed since it was read: {what}.", "Read the dataset again; nothing was written.")
