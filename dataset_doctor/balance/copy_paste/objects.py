"""Objects to paste: which instances show a whole object, along which outline they are cut out, and what is left of those they cover."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dataset_doctor.dataset import Dataset, Flag, Geometry
from dataset_doctor.geometry import Boxes
from dataset_doctor.masks import Runs, measure, unpack
from dataset_doctor.outlines import Outlines

Ring = NDArray[np.float64]
"""float64 (points, 2): the vertices of a closed outline, pixels, 0-based with edges at whole numbers."""

SMALLEST_PX = 12.0
"""Sides below this are too few pixels to show what an object is."""

CLEAN = 0.1
"""Share of a box that other boxes may cover: a box is pasted with all it shows, and what is in it besides would have no label."""

SOFT = 0.05
"""Width of the soft edge around a box, as a share of its sides: so far it is cut out beyond the box, and so far it fades."""

MASK_FEATHER_PX = 1.0
"""How far the edge of an object that is cut out along its outline fades."""

CUT_OFF = (1.0, 0.02)
"""An object nearer to the edge of its image than so many pixels, or than this share of its side, may go on beyond it."""

_RECTANGLE = 0.98  # share of its box from which an outline of four points is the box
_FITS = (0.7, 0.05)  # least overlap of an outline's extent with the box, and least share of the box that it fills
_CHUNK = 1 << 16
_FINE, _TOLERANCE_PX = 4, 0.3  # outlines are traced at so many times the resolution, and simplified by so much
_ROUNDED = 4  # exponent of the superellipse: a rectangle with round corners


@dataclass(frozen=True, slots=True, eq=False)
class Measures:
    """How large the outlines of all annotations are: area and the box around them; NaN where there is none.

    points  int64: vertices of all rings
    """

    area: NDArray[np.float64]
    extent: Boxes
    points: NDArray[np.int64]


def measured(outlines: Outlines, sizes: NDArray[np.float64]) -> Measures:
    """Measure polygons and masks; what cannot be decoded, or is of another size than its image, counts as none.

    Args:
        outlines: The shapes of annotations.
        sizes: Width and height of the image of each, (n, 2).
    """
    n = len(outlines)
    points, first = outlines.points, outlines.ring_start
    area, extent = np.full(n, np.nan), np.full((n, 4), np.nan)
    begin = first[outlines.first_ring]
    count = np.diff(begin)
    if len(points):
        following = np.arange(1, len(points) + 1)
        last = first[1:][np.diff(first) > 0] - 1
        following[last] = first[:-1][np.diff(first) > 0]
        x, y = points.T
        total = np.append(0.0, np.cumsum(x * y[following] - y * x[following]))
        rings = np.append(0.0, np.cumsum(np.abs(np.diff(total[first]))))
        drawn = np.flatnonzero(count)
        area[drawn] = (rings[outlines.first_ring[drawn + 1]] - rings[outlines.first_ring[drawn]]) / 2
        extent[drawn, :2] = np.minimum.reduceat(points, begin[drawn])
        extent[drawn, 2:] = np.maximum.reduceat(points, begin[drawn])
    if outlines.masks:
        rows = np.array(list(outlines.masks), np.intp)
        given = np.array([mask["size"] for mask in outlines.masks.values()], np.int64)
        total, pixels, around = measure(_runs_of(list(outlines.masks.values())), given[:, 0])
        sound = (total == given.prod(axis=1)) & (given[:, ::-1] == sizes[rows]).all(axis=1)
        area[rows[sound]], extent[rows[sound]] = pixels[sound], around[sound]
    return Measures(area, extent, count)


@dataclass(frozen=True, slots=True, eq=False)
class Stock:
    """Instances that can be pasted, one after another.

    rows          annotation rows of the dataset
    class_index   int32: their classes
    image         int32: the images they are in
    boxes         float64 (n, 4): xyxy in pixels of these; around the outline where they are cut out along it
    traced        bool: an outline of their own tells them from what is behind; all others are cut out by their box
    soft          float64: how far they are cut out beyond the box, as a share of its sides; 0 along an outline
    refused       class -> reason -> how many of its instances cannot be pasted for it
    """

    rows: NDArray[np.intp]
    class_index: NDArray[np.int32]
    image: NDArray[np.int32]
    boxes: Boxes
    traced: NDArray[np.bool_]
    soft: NDArray[np.float64]
    refused: dict[int, dict[str, int]]

    def __len__(self) -> int:
        return len(self.rows)


def stock_of(dataset: Dataset, sizes: Measures, rows: NDArray[np.intp], among: NDArray[np.bool_], sound: NDArray[np.bool_]) -> Stock:
    """Choose the instances that show a whole object, large enough and with nothing else that would lose its label.

    Args:
        dataset: What `read` gave.
        sizes: Of its outlines.
        rows: Annotation rows of the classes that are short, instances only.
        among: For each annotation whether it is there at all, in the split that changes.
        sound: For each image whether it can be used.
    """
    table = dataset.annotations
    traced, fits = _traced(dataset, sizes, rows)
    boxes = np.where(traced[:, None], sizes.extent[rows], dataset.boxes[rows])
    sides = boxes[:, 2:] - boxes[:, :2]
    room = dataset.annotation_sizes[rows]
    gap = np.minimum(boxes[:, :2], room - boxes[:, 2:])
    with np.errstate(invalid="ignore"):
        whole = (gap >= np.maximum(CUT_OFF[0], CUT_OFF[1] * sides)).all(axis=1)
    usable = np.ones(len(rows), bool)
    refused: dict[int, dict[str, int]] = {}

    def refuse(reason: str, bad: NDArray[np.bool_]) -> None:
        for c, n in zip(*np.unique(table.class_index[rows[usable & bad]], return_counts=True), strict=True):
            refused.setdefault(int(c), {})[reason] = int(n)
        usable[bad] = False

    refuse("in an image that cannot be used", ~sound[table.image[rows]])
    refuse("difficult or truncated", table.has(Flag.DIFFICULT | Flag.TRUNCATED | Flag.OCCLUDED)[rows])
    refuse(f"smaller than {SMALLEST_PX:g} px", np.logical_not((sides >= SMALLEST_PX).all(axis=1)))
    refuse("cut off by the edge of the image", np.logical_not(whole))
    refuse("with an outline that does not fit the box", ~fits)
    crowded = np.zeros(len(rows), bool)
    boxed = np.flatnonzero(usable & ~traced)
    crowded[boxed] = covered_by_others(dataset, rows[boxed], among) > CLEAN
    refuse("with other labels in the box", crowded)
    kept = rows[usable]
    # Half of the room to the edge is for the part of the object's surroundings that is cut out, half for what fades.
    soft = np.where(traced, 0.0, np.minimum(SOFT, np.min(gap / np.maximum(sides, 1.0), axis=1) / 2))[usable]
    return Stock(kept, table.class_index[kept], table.image[kept], boxes[usable], traced[usable], soft, refused)


def is_traced(dataset: Dataset, sizes: Measures, rows: NDArray[np.intp]) -> NDArray[np.bool_]:
    """Tell for some annotations whether they have an outline of their own that is more than their box."""
    return _traced(dataset, sizes, rows)[0]


def _traced(dataset: Dataset, sizes: Measures, rows: NDArray[np.intp]) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Tell which annotations have an outline of their own that is more than their box, and which outlines fit their box."""
    boxes, area, extent, points = dataset.boxes[rows], sizes.area[rows], sizes.extent[rows], sizes.points[rows]
    box_area = np.maximum((boxes[:, 2:] - boxes[:, :2]).prod(axis=1), 1e-9)
    turned = dataset.annotations.geometry[rows] == Geometry.OBB
    with np.errstate(invalid="ignore"):
        is_box = (points > 0) & (points <= 5) & (turned | (area >= _RECTANGLE * box_area))
        overlap = np.maximum(np.minimum(extent[:, 2:], boxes[:, 2:]) - np.maximum(extent[:, :2], boxes[:, :2]), 0).prod(axis=1)
        union = (extent[:, 2:] - extent[:, :2]).prod(axis=1) + box_area - overlap
        fits = (overlap >= _FITS[0] * union) & (area >= _FITS[1] * box_area)
    none = np.isnan(area)
    return ~none & ~is_box, fits | none


def signed_area(ring: Ring) -> float:
    """Give the area of a ring, by the trapezoid rule; negative where it runs the other way round.

    >>> signed_area(np.array([[0.0, 0.0], [4.0, 0.0], [4.0, 3.0], [0.0, 3.0]]))
    12.0
    """
    x, y = ring[:, 0], ring[:, 1]
    return float((x * np.roll(y, -1) - y * np.roll(x, -1)).sum() / 2)


def extent_of(rings: Sequence[Ring]) -> NDArray[np.float64]:
    """Give the box around rings as xyxy."""
    points = np.concatenate(rings)
    return np.concatenate([points.min(axis=0), points.max(axis=0)])


def covered_by_others(dataset: Dataset, rows: NDArray[np.intp], among: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Add up for each annotation the shares of its box that other boxes in its image cover.

    Args:
        dataset: What `read` gave.
        rows: Annotation rows.
        among: For each annotation whether it counts as another.
    """
    covered = np.zeros(len(rows))
    boxes, image = dataset.boxes, dataset.annotations.image
    others = np.flatnonzero(among & ~np.isnan(boxes).any(axis=1))
    others = others[np.argsort(image[others], kind="stable")]
    start = np.searchsorted(image[others], np.arange(dataset.n_images + 1))
    for begin in range(0, len(rows), _CHUNK):
        part = rows[begin : begin + _CHUNK]
        first, n = start[image[part]], start[image[part] + 1] - start[image[part]]
        one = np.repeat(np.arange(len(part)), n)
        other = others[np.arange(n.sum()) - np.repeat(np.cumsum(n) - n, n) + np.repeat(first, n)]
        a, b = boxes[part[one]], boxes[other]
        both = np.maximum(np.minimum(a[:, 2:], b[:, 2:]) - np.maximum(a[:, :2], b[:, :2]), 0).prod(axis=1)
        share = np.where(part[one] == other, 0.0, both / np.maximum((a[:, 2:] - a[:, :2]).prod(axis=1), 1e-9))
        covered[begin : begin + _CHUNK] = np.bincount(one, share, minlength=len(part))
    return covered


# Outlines -----------------------------------------------------------------------------------------------------------


def cut_out(outlines: Outlines, stock: Stock, k: int) -> tuple[Ring, ...]:
    """Give the outline along which an object is cut out, in pixels of its image."""
    row, box = int(stock.rows[k]), stock.boxes[k]
    rings = [ring for ring in outlines.rings(row) if len(ring) >= 3]
    if stock.traced[k]:
        along = traced_rings(decoded(outlines.masks[row])) if row in outlines.masks else rings
        return tuple(along) or (_rounded(box, 1.0),)
    beyond = 1 + 2 * float(stock.soft[k])
    if rings and abs(signed_area(rings[0])) < _RECTANGLE * (box[2:] - box[:2]).prod():
        centre = rings[0].mean(axis=0)
        return (centre + (rings[0] - centre) * beyond,)
    return (_rounded(box, beyond),)


def _rounded(box: NDArray[np.float64], beyond: float, n: int = 48) -> Ring:
    """Draw a rectangle with round corners around a box, `beyond` times as large."""
    turn = np.linspace(0, 2 * np.pi, n, endpoint=False)
    unit = np.stack([np.cos(turn), np.sin(turn)], axis=1)
    curve = np.sign(unit) * np.abs(unit) ** (2 / _ROUNDED)
    ring: Ring = (box[:2] + box[2:]) / 2 + curve * (box[2:] - box[:2]) / 2 * beyond
    return ring


def _runs_of(masks: Sequence[dict[str, Any]]) -> Runs:
    """Decode run lengths of both forms."""
    parts = [unpack([counts.encode()]) if isinstance(counts := mask["counts"], str) else None for mask in masks]
    lengths = [np.array(mask["counts"], np.int64) if part is None else part.lengths for mask, part in zip(masks, parts, strict=True)]
    valid = [len(mask["counts"]) > 0 if part is None else bool(part.valid.all()) for mask, part in zip(masks, parts, strict=True)]
    return Runs(np.concatenate(lengths), np.array(list(map(len, lengths)), np.int64), np.array(valid))


def decoded(mask: dict[str, Any]) -> NDArray[np.uint8]:
    """Decode COCO's run lengths to pixels, uint8 (height, width), 1 in the object; only for masks that `measured` has found sound."""
    height, width = mask["size"]
    lengths = _runs_of([mask]).lengths
    pixels: NDArray[np.uint8] = np.repeat((np.arange(len(lengths)) % 2).astype(np.uint8), lengths).reshape(width, height).T
    return pixels


def encoded(pixels: NDArray[np.uint8], like: dict[str, Any]) -> dict[str, Any]:
    """Write pixels as COCO's run lengths, as text or as numbers as another mask has them."""
    size = list(pixels.shape)
    if isinstance(like["counts"], list):
        column = pixels.ravel(order="F")
        edges = np.flatnonzero(np.diff(column, prepend=0)).tolist()
        return {"size": size, "counts": np.diff([0, *edges, len(column)]).tolist()}
    from pycocotools import mask as codec

    return {"size": size, "counts": codec.encode(np.asfortranarray(pixels))["counts"].decode()}


def filled(rings: Sequence[Ring], width: int, height: int) -> NDArray[np.uint8]:
    """Fill rings as COCO's own tools do, uint8 (height, width): 1 in any of them."""
    from pycocotools import mask as codec

    reach = np.array([width, height])
    sound = [np.clip(ring, -reach, 2 * reach).ravel().tolist() for ring in rings if len(ring) >= 3 and np.isfinite(ring).all()]
    if not sound:
        return np.zeros((height, width), np.uint8)
    runs = codec.merge(codec.frPyObjects(sound, height, width))
    return decoded({"size": [height, width], "counts": runs["counts"].decode()})


def traced_rings(mask: NDArray[np.uint8]) -> list[Ring]:
    """Trace the outline of a mask, one ring a part; a hole is joined to its outline by a slit, as rings cannot have holes.

    The rings enclose the area of the pixels to about 1 %, and leave their edges by half a pixel at most; specks of a pixel are lost.

    Args:
        mask: uint8 (height, width), not 0 in the object.
    """
    import cv2

    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    if not len(rows):
        return []
    corner = np.array([columns[0], rows[0]])
    part = (mask[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1] != 0).astype(np.float32)
    # Contours run along whole pixels, so they are drawn at a larger scale, where the stairs at the edges of pixels are smoothed.
    large = np.pad(np.kron(part, np.ones((_FINE, _FINE), np.float32)), 1 + _FINE)
    inside = (cv2.GaussianBlur(large, (0, 0), _FINE / 2) > 0.5).astype(np.uint8)
    # And they run through the centres of pixels, so each pixel stands for a corner: one that one of its four pixels touches.
    corners = np.maximum(np.maximum(inside[:-1, :-1], inside[1:, :-1]), np.maximum(inside[:-1, 1:], inside[1:, 1:]))
    contours, hierarchy = cv2.findContours(corners, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)

    def simplified(k: int) -> Ring:
        ring: Ring = cv2.approxPolyDP(contours[k], _FINE * _TOLERANCE_PX, True)[:, 0].astype(np.float64)
        return ring

    rings = []
    for k, (_, _, child, parent) in enumerate(hierarchy[0].tolist() if contours else []):
        if parent >= 0:
            continue
        ring = simplified(k)
        while child >= 0:
            hole = simplified(child)
            ring = _joined(ring, hole) if len(hole) >= 3 else ring
            child = hierarchy[0][child][0]
        if len(ring) >= 3:
            rings.append((ring - _FINE) / _FINE + corner)
    return rings


def _joined(ring: Ring, hole: Ring) -> Ring:
    """Enter a hole from the nearest vertex of the ring, go round it the other way, and come back."""
    apart = ((ring[:, None] - hole[None]) ** 2).sum(axis=2)
    at, into = (int(k) for k in np.unravel_index(apart.argmin(), apart.shape))
    around = np.roll(hole, -into, axis=0)
    if signed_area(ring) * signed_area(hole) > 0:
        around = np.roll(around[::-1], 1, axis=0)
    return np.concatenate([ring[: at + 1], around, around[:1], ring[at:]])


def visible(rings: Sequence[Ring], covers: Sequence[Ring], width: int, height: int) -> list[Ring]:
    """Give what is seen of an outline that others cover, traced at the resolution of the image."""
    left = filled(rings, width, height)
    left[filled(covers, width, height) != 0] = 0
    return [ring for ring in traced_rings(left) if abs(signed_area(ring)) >= 1]
