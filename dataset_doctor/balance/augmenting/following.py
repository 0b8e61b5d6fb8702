"""Where labels are once their images are moved: boxes, polygons, masks and keypoints sent through affine maps and cut at the edges."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dataset_doctor.dataset import Dataset, Geometry, Rows
from dataset_doctor.geometry import Boxes
from dataset_doctor.masks import mask_of, pixels_of
from dataset_doctor.outlines import Outlines
from dataset_doctor.recipes import Matrix, laid, moved

LEAST_VISIBLE_SHARE = 0.3
"""A record of which less is left in the image is dropped; the rule of the usual augmentation libraries."""

LEAST_SIDE_PX = 2.0
"""So is one that becomes narrower or lower than this."""

_CUT_PX = 1e-6
_HALVINGS = 40

Points = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class Followed:
    """What becomes of some annotations.

    stays     bool (n): enough of it is left in the image
    boxes     float64 (n, 4): xyxy as `Dataset.boxes`, inside the generated image; NaN where there was none
    outlines  polygons, masks and keypoints in pixels of the generated image, empty for those that had none
    """

    stays: NDArray[np.bool_]
    boxes: Boxes
    outlines: Outlines


def follow(
    dataset: Dataset, origin: Rows, outlines: Outlines, matrices: NDArray[np.float64], sizes: NDArray[np.float64], *, in_full: bool = True
) -> Followed:
    """Send annotations where their images go.

    The box of a record with an outline is the one around what is left of the outline; else the one around its turned corners. A box that
    is neither turned nor cut stays exact.

    Args:
        dataset: The source.
        origin: Annotation rows (n); repeats allowed.
        outlines: Of these annotations (n rows), in pixels of the source's images.
        matrices: float64 (n, 2, 3): from pixels of its image to those of the generated image.
        sizes: float64 (n, 2): width and height of the generated image.
        in_full: Whether the outlines are wanted; else they are empty.
    """
    n = len(origin)
    source_boxes = dataset.boxes[origin]
    has_rings = np.diff(outlines.first_ring) > 0
    is_masked = np.zeros(n, bool)
    is_masked[list(outlines.masks)] = True
    is_masked &= ~has_rings
    quads = np.flatnonzero(~has_rings & np.isfinite(source_boxes).all(axis=1))

    points = np.concatenate([outlines.points, source_boxes[quads][:, [0, 1, 2, 1, 2, 3, 0, 3]].reshape(-1, 2)])
    length = np.concatenate([np.diff(outlines.ring_start), np.full(len(quads), 4)])
    owner = np.concatenate([np.repeat(np.arange(n), np.diff(outlines.first_ring)), quads]).astype(np.int64)
    of_point = np.repeat(owner, length)
    with np.errstate(invalid="ignore"):
        points = np.einsum("nij,nj->ni", matrices[of_point, :, :2], points) + matrices[of_point, :, 2]
    ring = np.repeat(np.arange(len(owner)), length)
    area_before = _areas(points, ring, length)
    points, length, is_cut = _inside(points, length, ring, sizes[owner])
    ring = np.repeat(np.arange(len(owner)), length)
    area_after = _areas(points, ring, length)

    low, high = np.full((n, 2), np.inf), np.full((n, 2), -np.inf)
    np.minimum.at(low, owner[ring], points)
    np.maximum.at(high, owner[ring], points)
    boxes = np.concatenate([low, high], axis=1)
    whole, left = (np.bincount(owner, weights=area, minlength=n) for area in (area_before, area_after))
    cut = np.bincount(owner, weights=is_cut, minlength=n) > 0
    with np.errstate(invalid="ignore", divide="ignore"):
        share = np.where(whole > 0, left / whole, (boxes[:, 0] <= boxes[:, 2]).astype(float))

    upright = ((matrices[:, 0, 1] == 0) & (matrices[:, 1, 0] == 0)) | ((matrices[:, 0, 0] == 0) & (matrices[:, 1, 1] == 0))
    exact = upright & has_rings & ~cut
    boxes[exact] = _sent(source_boxes[exact], matrices[exact])
    masks: dict[int, dict[str, Any]] = {}
    for row in np.flatnonzero(is_masked).tolist():
        mask, box, share[row] = _moved_mask(outlines.masks[row], matrices[row], sizes[row])
        boxes[row] = box
        masks[row] = mask

    without = np.isnan(source_boxes).any(axis=1) & ~has_rings & ~is_masked
    boxes[:, 0::2] = np.clip(boxes[:, 0::2], 0, sizes[:, :1])
    boxes[:, 1::2] = np.clip(boxes[:, 1::2], 0, sizes[:, 1:])
    side, before = boxes[:, 2:] - boxes[:, :2], source_boxes[:, 2:] - source_boxes[:, :2]
    turned = (np.abs(matrices[:, 0, 1]) > np.abs(matrices[:, 0, 0]))[:, None]
    before = np.where(turned, before[:, ::-1], before)
    with np.errstate(invalid="ignore"):
        small = ((side < LEAST_SIDE_PX) & (side < before - _CUT_PX)) | (side <= 0)
    stays = without | ((share >= LEAST_VISIBLE_SHARE) & ~small.any(axis=1))
    boxes[without] = np.nan
    return Followed(
        stays, boxes, _outlines(dataset, origin, outlines, matrices, sizes, points, length, cut, masks) if in_full else outlines
    )


def _sent(boxes: Boxes, matrices: NDArray[np.float64]) -> Boxes:
    """Send boxes through maps that keep sides upright."""
    first, second = (np.einsum("nij,nj->ni", matrices[:, :, :2], boxes[:, part]) + matrices[:, :, 2] for part in (slice(0, 2), slice(2, 4)))
    there: Boxes = np.concatenate([np.minimum(first, second), np.maximum(first, second)], axis=1)
    return there


def _areas(points: Points, ring: NDArray[np.int64], length: NDArray[np.int64]) -> NDArray[np.float64]:
    """Give the areas of rings that lie one after another, by the shoelace formula."""
    if not len(points):
        return np.zeros(len(length))
    following = np.arange(1, len(points) + 1)
    filled = length > 0
    stop = np.cumsum(length)[filled]
    following[stop - 1] = stop - length[filled]
    cross = points[:, 0] * points[following, 1] - points[following, 0] * points[:, 1]
    return np.abs(np.bincount(ring, weights=cross, minlength=len(length))) / 2


def _inside(
    points: Points, length: NDArray[np.int64], ring: NDArray[np.int64], sizes: NDArray[np.float64]
) -> tuple[Points, NDArray[np.int64], NDArray[np.bool_]]:
    """Cut rings at the edges of their images; tell which were cut. One that lies outside keeps no point."""
    over = np.maximum(-points, points - sizes[ring]).max(axis=1, initial=-np.inf)
    is_cut = np.bincount(ring, weights=over > _CUT_PX, minlength=len(length)) > 0
    if not is_cut.any():
        return points, length, is_cut
    parts = np.split(points, np.cumsum(length)[:-1])
    for row in np.flatnonzero(is_cut).tolist():
        parts[row] = clipped(parts[row], sizes[row, 0], sizes[row, 1])
    return np.concatenate(parts), np.fromiter(map(len, parts), np.int64, len(parts)), is_cut


def clipped(ring: Points, width: float, height: float) -> Points:
    """Cut a polygon at the edges of an image, side by side (Sutherland and Hodgman, 1974); no point where nothing is left.

    >>> clipped(np.array([[-2.0, 1.0], [2.0, 1.0], [2.0, 3.0], [-2.0, 3.0]]), 10, 10).tolist()
    [[0.0, 1.0], [2.0, 1.0], [2.0, 3.0], [0.0, 3.0]]
    """
    for axis, sign, limit in ((0, 1.0, 0.0), (0, -1.0, -width), (1, 1.0, 0.0), (1, -1.0, -height)):
        if not len(ring):
            break
        depth = sign * ring[:, axis] - limit
        following = np.roll(ring, -1, axis=0)
        after = np.roll(depth, -1)
        crosses = (depth >= 0) != (after >= 0)
        share = np.divide(depth, depth - after, out=np.zeros_like(depth), where=crosses)
        crossing = ring + share[:, None] * (following - ring)
        crossing[:, axis] = sign * limit
        both = np.stack([ring, crossing], axis=1).reshape(-1, 2)
        ring = both[np.stack([depth >= 0, crosses], axis=1).ravel()]
    return ring if len(ring) >= 3 else np.zeros((0, 2))


def _outlines(
    dataset: Dataset,
    origin: Rows,
    outlines: Outlines,
    matrices: NDArray[np.float64],
    sizes: NDArray[np.float64],
    points: Points,
    length: NDArray[np.int64],
    cut: NDArray[np.bool_],
    masks: dict[int, dict[str, Any]],
) -> Outlines:
    """Put the outlines together; `points` and `length` are those of all rings, first those that the records have."""
    n = len(origin)
    rings = int(outlines.first_ring[-1])
    length = length[:rings].copy()
    points = points[: length.sum()]
    owner = np.repeat(np.arange(n), np.diff(outlines.first_ring))
    turned_cut = np.flatnonzero(cut & (dataset.annotations.geometry[origin] == Geometry.OBB) & (np.diff(outlines.first_ring) == 1))
    if len(turned_cut):
        parts = np.split(points, np.cumsum(length)[:-1])
        for row in turned_cut.tolist():
            ring = int(outlines.first_ring[row])
            if len(parts[ring]):
                parts[ring] = _rectangle(moved(outlines.rings(row)[0], matrices[row]), parts[ring], sizes[row])
        points, length = np.concatenate(parts), np.fromiter(map(len, parts), np.int64, len(parts))
    held = length > 0
    first_ring = np.concatenate([[0], np.cumsum(np.bincount(owner[held], minlength=n))]).astype(np.int64)
    keypoints = outlines.keypoints.copy()
    of_keypoint = np.repeat(np.arange(n), np.diff(outlines.first_keypoint))
    is_placed = keypoints[:, 2] > 0
    there = np.einsum("nij,nj->ni", matrices[of_keypoint, :, :2], keypoints[:, :2]) + matrices[of_keypoint, :, 2]
    is_placed &= ((there >= 0) & (there <= sizes[of_keypoint])).all(axis=1)
    keypoints[:, :2] = there
    keypoints[~is_placed] = 0.0
    return Outlines(
        points=points,
        ring_start=np.concatenate([[0], np.cumsum(length[held])]).astype(np.int64),
        first_ring=first_ring,
        keypoints=keypoints,
        first_keypoint=outlines.first_keypoint,
        masks=masks,
    )


def _rectangle(whole: Points, left: Points, size: NDArray[np.float64]) -> Points:
    """Give a rectangle that is turned as the whole one and lies around what is left of it, made smaller until it is inside the image."""
    if len(whole) != 4:
        return left
    along = whole[1] - whole[0]
    along = along / (np.linalg.norm(along) or 1.0)
    axes = np.stack([along, [-along[1], along[0]]])
    low, high = (left @ axes.T).min(axis=0), (left @ axes.T).max(axis=0)
    corners: Points = np.array([[low[0], low[1]], [high[0], low[1]], [high[0], high[1]], [low[0], high[1]]]) @ axes
    middle = left.mean(axis=0)
    inside, outside = 0.0, 1.0
    if (corners >= 0).all() and (corners <= size).all():
        return corners
    for _ in range(_HALVINGS):
        half = (inside + outside) / 2
        tried = middle + half * (corners - middle)
        inside, outside = (half, outside) if (tried >= 0).all() and (tried <= size).all() else (inside, half)
    smaller: Points = middle + inside * (corners - middle)
    return smaller


def _moved_mask(mask: dict[str, Any], matrix: Matrix, size: NDArray[np.float64]) -> tuple[dict[str, Any], list[float], float]:
    """Send a run-length mask through a map; give the mask, the box around it and the share that is left."""
    before = pixels_of(mask)
    canvas = (int(size[0]), int(size[1]))
    if before is None:  # what cannot be decoded has no place in the image
        return {"size": [canvas[1], canvas[0]], "counts": [canvas[0] * canvas[1]]}, [0.0] * 4, 0.0
    after = np.asarray(laid(before * np.uint8(255), matrix, canvas, (0.0,)) >= 128, np.uint8)
    covered, full = int(after.sum()), float(before.sum() * abs(np.linalg.det(matrix[:, :2])))
    columns, rows = np.flatnonzero(after.any(axis=0)), np.flatnonzero(after.any(axis=1))
    box = [columns[0], rows[0], columns[-1] + 1, rows[-1] + 1] if covered else [0, 0, 0, 0]
    new = mask_of(after, as_text=isinstance(mask["counts"], str))
    return new, [float(edge) for edge in box], covered / full if full else 1.0
