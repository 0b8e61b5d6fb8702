"""What several checks ask about groups of identical or similar images."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from dataset_doctor.dataset import Dataset, Rows
from dataset_doctor.findings import Found, Severity


def image_groups(dataset: Dataset, number: NDArray[np.int32]) -> list[Rows]:
    """Give the rows of each group in which at least two files belong together.

    A file that is named twice, and one that is stated to repeat another, counts once.

    Args:
        dataset: The dataset.
        number: One an image: number of its group, -1 for none.
    """
    rows = np.flatnonzero(number >= 0)
    rows = rows[np.argsort(number[rows], kind="stable")]
    groups = np.split(rows, np.flatnonzero(np.diff(number[rows])) + 1) if len(rows) else []
    files = [_once_each(group[::-1], dataset) for group in groups]
    return [group for group in files if len(group) > 1]


def _once_each(rows: Rows, dataset: Dataset) -> Rows:
    """Keep the last row of each image, and of those the last of each file; sorted."""
    picture, name = dataset.images.picture, dataset.images.file_name
    kept = {picture[row]: row for row in rows.tolist()}.values()
    return np.array(sorted({name[row]: row for row in kept}.values()), np.intp)


def groups_found(
    dataset: Dataset, groups: Sequence[Rows], partners: Sequence[Rows], text: str, message: str, severity: Severity | None = None
) -> Found | None:
    """Report groups of images; the places are all of their images in file order, each with the name of its partner in the group.

    Args:
        dataset: The dataset.
        groups: Rows of each group.
        partners: For each of these rows, the row that it is reported with.
        text: What to say before the partner's name.
        message: What the finding says.
        severity: Overrides the check's own.
    """
    if not groups:
        return None
    rows, others = np.concatenate(groups), np.concatenate(partners)
    order = np.argsort(rows, kind="stable")
    details = [f"{text} {name}" for name in dataset.images.file_name[others[order]].tolist()]
    return Found(len(groups), message, images=rows[order], severity=severity, details=details, compared=True)


def with_first(group: Rows) -> Rows:
    """Give each row of a group the first as its partner, and the first the second.

    >>> with_first(np.array([4, 7, 9])).tolist()
    [7, 4, 4]
    """
    return np.concatenate([group[1:2], np.full(len(group) - 1, group[0])])
