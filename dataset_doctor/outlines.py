"""Outlines: the polygons, masks and keypoints of annotations, as numbers.

A `Dataset` keeps none of them (`Shapes` tells what they are like), since only another format or a picture made anew needs them.
"""

from __future__ import annotations

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
