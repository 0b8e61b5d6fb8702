"""The usual names of splits."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from dataset_doctor.files.names import is_under

SPLIT_NAMES = {
    "train": "train", "training": "train", "trn": "train",
    "val": "val", "valid": "val", "validation": "val", "dev": "val",
    "test": "test", "testing": "test", "tst": "test",
}  # fmt: skip


UNSAFE = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff\u2028\u2029\ufeff]")
"""Characters that lists, terminals or file systems do not take: controls, line ends, byte-order marks, bytes that are not UTF-8."""


def canonical_split(name: str) -> str:
    """Give the canonical name of a split; other names stay as written, but for what no folder of that name could hold.

    >>> canonical_split("Valid"), canonical_split("train2017"), canonical_split("holdout"), canonical_split("hold/out ")
    ('val', 'train', 'holdout', 'hold_out')
    """
    name = split_folder(name)
    stem = re.sub(r"[-_ ]?(19|20)\d\d$", "", name).casefold()
    return SPLIT_NAMES.get(stem, name)


def split_folder(name: str) -> str:
    """Give a name for the folder, list or file of a split: its own, as far as it is one safe name."""
    return re.sub(r"[/\\]", "_", UNSAFE.sub("_", name)).strip(" .") or "split"


def is_split_name(name: str) -> bool:
    """Tell whether a folder or file stem is one of the usual names of a split."""
    return canonical_split(name) in ("train", "val", "test")


Splits = dict[str, tuple[str, set[int]]]
"""Canonical name → the spelling of the source and the rows of its images."""


def split_matrix(splits: Splits, n_images: int, rest: str) -> tuple[tuple[str, ...], tuple[str, ...], NDArray[np.bool_]]:
    """Order splits and turn them into a matrix, images × splits; images of none are the split named `rest`."""
    first = ("train", "val", "test")
    names = [name for name in first if name in splits] + sorted(name for name in splits if name not in (*first, "trainval"))
    if "trainval" in splits:  # the training split where there is no train, else what train and val leave of it
        names.insert(len(names) if "train" in splits else 0, "trainval")
    in_split = np.zeros((n_images, len(names)), bool)
    for column, name in enumerate(names):
        in_split[sorted(splits[name][1]), column] = True
    without = np.asarray(~in_split.any(axis=1))
    spelling = [splits[name][0] for name in names]
    if without.any() or not names:
        return (*names, rest), (*spelling, rest), np.concatenate([in_split, without[:, None]], axis=1)
    return tuple(names), tuple(spelling), in_split


def folder_splits(folder: str, names: Sequence[str], label_of_row: Sequence[str | None]) -> Splits:
    """Assign images to the splits that folders on the way to their label file, or else to themselves, are named for."""
    splits: Splits = {}
    split_of: dict[str, str | None] = {}
    for row, (image, label) in enumerate(zip(names, label_of_row, strict=True)):
        for path in (label, image):
            if path is None:
                continue
            above = posixpath.dirname(path)
            if above not in split_of:
                below = above[len(folder) + 1 if folder else 0 :] if is_under(above, folder) else above
                split_of[above] = next((part for part in below.split("/") if is_split_name(part)), None)
            if found := split_of[above]:
                splits.setdefault(canonical_split(found), (found, set()))[1].add(row)
                break
    return splits
