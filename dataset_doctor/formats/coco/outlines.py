"""The polygons, masks and keypoints of COCO records, for writing them in another format."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import chain
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from dataset_doctor.dataset import Dataset
from dataset_doctor.errors import DoctorError
from dataset_doctor.files.progress import Progress, silent
from dataset_doctor.files.reading import Unreadable
from dataset_doctor.files.tree import reopened
from dataset_doctor.formats.coco.cut import BLOCK, cut
from dataset_doctor.formats.coco.polygons import polygon_numbers
from dataset_doctor.formats.coco.records import as_number
from dataset_doctor.outlines import Outlines

_NULL = msgspec.Raw(b"null")


class _Mask(msgspec.Struct, gc=False):
    size: tuple[int, int]
    counts: list[int] | str


class _Record(msgspec.Struct, gc=False):
    bbox: tuple[float, float, float, float] | None = None
    segmentation: msgspec.Raw = _NULL
    keypoints: list[float] | None = None


MAX_BYTES = 4 << 30


class _Category(msgspec.Struct):
    keypoints: list[str] = []


class _Categories(msgspec.Struct):
    categories: list[_Category]


_RECORDS = msgspec.json.Decoder(list[_Record])
_POLYGONS = msgspec.json.Decoder(list[list[list[float]]])
_MASK = msgspec.json.Decoder(_Mask)
_ANY = msgspec.json.Decoder()

Polygons = tuple[NDArray[np.float64], NDArray[np.int64], NDArray[np.int64]]
"""All numbers; how many each ring has; how many rings each record has."""


def outlines(dataset: Dataset, progress: Progress = silent) -> Outlines:
    """Read the shapes of a COCO dataset's annotations; see `read_outlines`."""
    annotations = dataset.annotations
    tree = reopened(dataset.root, dataset.sources)
    order, polygons, keypoints = [], [], []
    masks: dict[int, dict[str, Any]] = {}
    for source in np.unique(annotations.source).tolist():
        name = dataset.sources[source]
        rows = np.flatnonzero(annotations.source == source)
        try:
            file = cut(tree, name)
        except Unreadable as error:
            raise DoctorError(f"{name} has changed since it was read: {error}.", "Read the dataset again.") from error
        spans = file.arrays.get("annotations")
        if spans is None or int(annotations.position[rows].max()) >= len(spans):
            raise DoctorError(f"{name} has changed since it was read: it holds fewer annotations.", "Read the dataset again.")
        for begin in range(0, len(rows), BLOCK):
            progress(f"Reading shapes of {name}", begin, len(rows))
            block = rows[begin : begin + BLOCK]
            at = annotations.position[block]
            records = [bytes(file.view[a:b]) for a, b in zip(spans.start[at].tolist(), spans.stop[at].tolist(), strict=True)]
            shapes, held, points = _shapes(records)
            order.append(block)
            polygons.append(shapes)
            masks.update({int(block[row]): mask for row, mask in held.items()})
            keypoints.append(points)
    return _collected(len(annotations), order, polygons, keypoints, masks)


def _shapes(records: list[bytes]) -> tuple[Polygons, dict[int, dict[str, Any]], list[list[float] | None]]:
    """Read polygons, masks and keypoints of some records: sound ones at once, others one by one."""
    try:
        decoded = _RECORDS.decode(b"".join((b"[", b",".join(records), b"]")))
        raws = [bytes(r.segmentation) for r in decoded]
        listed = [row for row, raw in enumerate(raws) if raw[:1] == b"["]
        masks = {row: _plain(_MASK.decode(raw)) for row, raw in enumerate(raws) if raw[:1] == b"{"}
        texts = [raws[row] for row in listed]
        numbers, rings, count = polygon_numbers(texts) or _flat(_POLYGONS.decode(b"".join((b"[", b",".join(texts), b"]"))))
        of_record = np.zeros(len(records), np.int64)
        of_record[listed] = count
        return (numbers, rings, of_record), masks, [r.keypoints or None for r in decoded]
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        judged = [_judged(record) for record in records]
        polygons = [rings if isinstance(rings, list) else [] for rings, _ in judged]
        return _flat(polygons), {row: mask for row, (mask, _) in enumerate(judged) if isinstance(mask, dict)}, [kpts for _, kpts in judged]


def _plain(mask: _Mask) -> dict[str, Any]:
    return {"size": list(mask.size), "counts": mask.counts}


def _flat(polygons: Sequence[list[list[float]]]) -> Polygons:
    rings = list(chain.from_iterable(polygons))
    lengths = np.fromiter(map(len, rings), np.int64, len(rings))
    numbers = np.fromiter(chain.from_iterable(rings), np.float64, int(lengths.sum()))
    return numbers, lengths, np.fromiter(map(len, polygons), np.int64, len(polygons))


def _judged(record: bytes) -> tuple[list[list[float]] | dict[str, Any] | None, list[float] | None]:
    """Read the shape and the keypoints of one record of any kind; what is no shape is left out."""
    try:
        value = _ANY.decode(record)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None, None
    if not isinstance(value, dict):
        return None, None
    shape, keypoints = value.get("segmentation"), _numbers(value.get("keypoints"))
    if isinstance(shape, dict):
        try:
            return _plain(msgspec.convert(shape, _Mask)), keypoints
        except msgspec.ValidationError:
            return None, keypoints
    if isinstance(shape, list) and shape:
        rings = [_numbers(ring) for ring in ([shape] if not any(isinstance(ring, list) for ring in shape) else shape)]
        return [ring for ring in rings if ring], keypoints
    box = _numbers(value.get("bbox"))
    return ([_turned(box)] if box is not None and len(box) == 5 else None), keypoints


def _numbers(value: Any) -> list[float] | None:
    numbers = [as_number(one) for one in value] if isinstance(value, list) else []
    finite = [one for one in numbers if one is not None and math.isfinite(one)]
    return finite if finite and len(finite) == len(numbers) else None


def _turned(box: list[float]) -> list[float]:
    """Give the corners of a box as detectron2 writes rotated ones: centre, size, and degrees anticlockwise."""
    x, y, width, height, degrees = box
    cos, sin = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    corners = ((-width, -height), (width, -height), (width, height), (-width, height))
    return [value for a, b in corners for value in (x + (a * cos + b * sin) / 2, y + (b * cos - a * sin) / 2)]


def _collected(
    n: int,
    order: list[NDArray[np.intp]],
    polygons: list[Polygons],
    keypoints: list[list[list[float] | None]],
    masks: dict[int, dict[str, Any]],
) -> Outlines:
    """Put what blocks of rows gave into the order of the rows."""
    rows = np.concatenate(order)
    numbers, ring_numbers, rings_each = (np.concatenate([part[k] for part in polygons]) for k in range(3))
    if (ring_numbers % 2).any():  # a last number without a partner is no point
        kept = np.ones(len(numbers), bool)
        kept[(np.cumsum(ring_numbers) - 1)[ring_numbers % 2 == 1]] = False
        numbers = numbers[kept]
    ring_points = ring_numbers // 2
    by_row = np.argsort(rows, kind="stable")
    ring_order = _ranges(rings_each, by_row)
    point_order = _ranges(ring_points, ring_order)
    first_ring = np.zeros(n + 1, np.int64)
    first_ring[1:] = np.cumsum(rings_each[by_row])
    lists = list(chain.from_iterable(keypoints))
    lists = [lists[row] for row in by_row.tolist()]
    triples = [points[: len(points) // 3 * 3] if points else [] for points in lists]
    first_keypoint = np.zeros(n + 1, np.int64)
    first_keypoint[1:] = np.cumsum(np.fromiter(map(len, triples), np.int64, n) // 3)
    return Outlines(
        points=numbers.reshape(-1, 2)[point_order],
        ring_start=np.concatenate([[0], np.cumsum(ring_points[ring_order])]).astype(np.int64),
        first_ring=first_ring,
        keypoints=np.fromiter(chain.from_iterable(triples), np.float64, int(first_keypoint[-1]) * 3).reshape(-1, 3),
        first_keypoint=first_keypoint,
        masks=masks,
    )


def _ranges(length: NDArray[np.int64], order: NDArray[np.intp]) -> NDArray[np.intp]:
    """Give the indices of the members of groups that lie one after another, with the groups in another order."""
    start = np.cumsum(length) - length
    picked = length[order]
    within = np.arange(picked.sum()) - np.repeat(np.cumsum(picked) - picked, picked)
    indices: NDArray[np.intp] = (np.repeat(start[order], picked) + within).astype(np.intp)
    return indices


def keypoint_names(dataset: Dataset) -> list[str]:
    """Read the names of the keypoints from the categories of a COCO dataset; none where they cannot be read or differ."""
    if not dataset.sources:
        return []
    name = dataset.sources[0]
    try:
        found = msgspec.json.decode(reopened(dataset.root, (name,)).read_bytes(name, MAX_BYTES), type=_Categories)
    except (Unreadable, msgspec.DecodeError, RecursionError):
        return []
    named = {tuple(one.keypoints) for one in found.categories if one.keypoints}
    return list(named.pop()) if len(named) == 1 else []
