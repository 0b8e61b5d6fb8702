"""Outlines: the polygons, masks and keypoints of annotations, as numbers.

A `Dataset` keeps none of them (`Shapes` tells what they are like), since only another format or a picture made anew needs them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True, eq=False)
class Outlines:
    """The shapes of a table of annotations, one after another; annotations without a shape have empty ranges.

    points          float64 (m, 2): the vertices of all rings, in pixels of the image, 0-based
    ring_start      int64 (rings + 1): where each ring begins in `points`; the last number is m
    first_ring      int64 (annotations + 1): where the rings of each annotation begin; the last number is the number of rings
    keypoints       float64 (k, 3): x, y in pixels and visibility (0, 1, 2) of all keypoints
    first_keypoint  int64 (annotations + 1): where the keypoints of each annotation begin; the last number is k
    masks           annotation row -> COCO's run lengths as they are written: {"size": [height, width], "counts": text or numbers}
    """

    points: NDArray[np.float64]
    ring_start: NDArray[np.int64]
    first_ring: NDArray[np.int64]
    keypoints: NDArray[np.float64]
    first_keypoint: NDArray[np.int64]
    masks: dict[int, dict[str, Any]]

    def __len__(self) -> int:
        return len(self.first_ring) - 1

    def rings(self, row: int) -> list[NDArray[np.float64]]:
        """Give the rings of an annotation, each (points, 2)."""
        first, last = self.first_ring[row], self.first_ring[row + 1]
        return [self.points[self.ring_start[ring] : self.ring_start[ring + 1]] for ring in range(first, last)]


def no_outlines(n: int) -> Outlines:
    """Make outlines for `n` annotations that have none."""
    none = np.zeros(n + 1, np.int64)
    return Outlines(np.zeros((0, 2)), np.zeros(1, np.int64), none, np.zeros((0, 3)), none, {})


def take_outlines(outlines: Outlines, rows: NDArray[Any]) -> Outlines:
    """Take the outlines of some annotations, in the order given; one that is named twice comes twice.

    Args:
        outlines: The table.
        rows: Row numbers.
    """
    ring_rows, first_ring = _ranges(outlines.first_ring, rows)
    point_rows, ring_start = _ranges(outlines.ring_start, ring_rows)
    keypoint_rows, first_keypoint = _ranges(outlines.first_keypoint, rows)
    masks = {new: outlines.masks[old] for new, old in enumerate(rows.tolist()) if old in outlines.masks} if outlines.masks else {}
    return Outlines(outlines.points[point_rows], ring_start, first_ring, outlines.keypoints[keypoint_rows], first_keypoint, masks)


def join_outlines(tables: Sequence[Outlines]) -> Outlines:
    """Put tables of outlines one after another."""
    masks: dict[int, dict[str, Any]] = {}
    begin = 0
    for table in tables:
        masks.update({begin + row: mask for row, mask in table.masks.items()})
        begin += len(table)
    return Outlines(
        points=np.concatenate([np.zeros((0, 2)), *(table.points for table in tables)]),
        ring_start=_starts([table.ring_start for table in tables]),
        first_ring=_starts([table.first_ring for table in tables]),
        keypoints=np.concatenate([np.zeros((0, 3)), *(table.keypoints for table in tables)]),
        first_keypoint=_starts([table.first_keypoint for table in tables]),
        masks=masks,
    )


def _ranges(start: NDArray[np.int64], rows: NDArray[Any]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Give the members of some groups that lie one after another, and where each group begins among them."""
    each = start[rows + 1] - start[rows]
    begin = np.concatenate([[0], np.cumsum(each)]).astype(np.int64)
    members: NDArray[np.int64] = np.arange(begin[-1]) - np.repeat(begin[:-1] - start[rows], each)
    return members, begin


def _starts(tables: Sequence[NDArray[np.int64]]) -> NDArray[np.int64]:
    """Continue the beginnings of groups from one table to the next."""
    lengths = np.concatenate([np.zeros(0, np.int64), *(np.diff(start) for start in tables)])
    return np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
