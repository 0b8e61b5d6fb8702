"""The usual names of splits."""

from __future__ import annotations

import re

SPLIT_NAMES = {
    "train": "train", "training": "train", "trn": "train",
    "val": "val", "valid": "val", "validation": "val", "dev": "val",
    "test": "test", "testing": "test", "tst": "test",
}  # fmt: skip


def canonical_split(name: str) -> str:
    """Give the canonical name of a split; other names stay as written.

    >>> canonical_split("Valid"), canonical_split("train2017"), canonical_split("holdout")
    ('val', 'train', 'holdout')
    """
    stem = re.sub(r"[-_ ]?(19|20)\d\d$", "", name).casefold()
    return SPLIT_NAMES.get(stem, name)


def is_split_name(name: str) -> bool:
    """Tell whether a folder or file stem is one of the usual names of a split."""
    return canonical_split(name) in ("train", "val", "test")
