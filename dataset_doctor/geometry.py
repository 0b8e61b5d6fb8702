"""Pure functions on boxes and quadrilaterals: float64 arrays of shape (n, 4), pixels unless a name says otherwise."""

import numpy as np
from numpy.typing import NDArray

Boxes = NDArray[np.float64]
"""Boxes, float64 (n, 4); `xyxy` are corners, `xywh` a corner and a size, `cxcywhn` centre and size as shares of the image."""


def widths_heights(xyxy: Boxes) -> Boxes:
    """Give width and height of each box, shape (n, 2); negative where corners are reversed."""
    return xyxy[:, 2:] - xyxy[:, :2]


def overshoot(xyxy: Boxes, sizes: NDArray[np.float64]) -> NDArray[np.float64]:
    """How far each box leaves its image: the largest distance past any side, negative for boxes well inside.

    Args:
        xyxy: Boxes (n, 4).
        sizes: Width and height of each box's image (n, 2); NaN where unknown, which gives NaN.

    >>> overshoot(np.array([[-3.0, 0, 5, 5], [1, 1, 9, 12]]), np.array([[10.0, 10.0], [10.0, 10.0]])).tolist()
    [3.0, 2.0]
    """
    low = np.minimum(xyxy[:, :2], xyxy[:, 2:]).min(axis=1, initial=np.inf)
    high = (np.maximum(xyxy[:, :2], xyxy[:, 2:]) - sizes).max(axis=1, initial=-np.inf)
    furthest: NDArray[np.float64] = np.maximum(-low, high)
    return furthest


def crossing(x: NDArray[np.float64], y: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Tell which quadrilaterals, given as (n, 4) coordinates, have two sides that cross (a bow-tie).

    >>> crossing(np.array([[0, 1, 1, 0], [0, 1, 0, 1.0]]), np.array([[0, 0, 1, 1], [0, 1, 1, 0.0]])).tolist()
    [False, True]
    """

    def side(a: int, b: int, c: int) -> NDArray[np.float64]:
        turn: NDArray[np.float64] = (x[:, b] - x[:, a]) * (y[:, c] - y[:, a]) - (y[:, b] - y[:, a]) * (x[:, c] - x[:, a])
        return turn

    def cross(a: int, b: int, c: int, d: int) -> NDArray[np.bool_]:
        return (side(a, b, c) * side(a, b, d) < 0) & (side(c, d, a) * side(c, d, b) < 0)

    with np.errstate(over="ignore", invalid="ignore"):
        crossed: NDArray[np.bool_] = cross(0, 1, 2, 3) | cross(1, 2, 3, 0)
    return crossed
