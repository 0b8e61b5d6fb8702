"""The usual names of splits."""

from __future__ import annotations

import re

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
