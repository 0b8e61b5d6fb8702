"""The points of YOLO rows: polygons, oriented boxes and keypoints, read for writing another format."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from dataset_doctor.dataset import Dataset, Geometry
from dataset_doctor.files.progress import Progress, silent
from dataset_doctor.files.reading import Unreadable
from dataset_doctor.files.tree import reopened
from dataset_doctor.formats.yolo.rows import plain_lines
from dataset_doctor.outlines import Outlines, no_outlines

LOOKED_AT = 2000
"""Rows from which the number of values a keypoint has is told."""


@np.errstate(over="ignore", invalid="ignore")  # numbers near the largest that there are
def outlines(dataset: Dataset, progress: Progress = silent) -> Outlines:
    """Read the polygons, corners of oriented boxes and keypoints of the annotations; what cannot be read has none.

    Args:
        dataset: What `read` gave; its images and annotations may have been selected and repeated since.
        progress: Called with what is done, how much and how much in all.
    """
    annotations = dataset.annotations
    rows = np.flatnonzero(annotations.geometry != Geometry.BOX)
    if not len(rows):
        return no_outlines(len(annotations))
    numbers, length = _numbers(dataset, rows, progress)
    start = np.cumsum(length) - length
    sizes = dataset.annotation_sizes[rows]
    sizes = np.where(np.isnan(sizes), 1.0, sizes)

    drawn = annotations.geometry[rows] != Geometry.POSE
    # An even number of values is a polygon and a score, or one with a value too many: the points end before it.
    vertices = np.where(drawn & (length >= 7), (length - 1) // 2, 0)
    corner = np.repeat(start + 1, vertices) + 2 * _within(vertices)
    points = np.stack([numbers[corner], numbers[corner + 1]], axis=1) * np.repeat(sizes, vertices, axis=0)

    depth = _depth(dataset, numbers, start, length, ~drawn)
    placed = np.where(~drawn & (length >= 7), (length - 5) // np.maximum(depth, 1), 0)
    at = np.repeat(start + 5, placed) + depth * _within(placed)
    keypoints = np.zeros((len(at), 3))
    keypoints[:, :2] = np.stack([numbers[at], numbers[at + 1]], axis=1) * np.repeat(sizes, placed, axis=0)
    keypoints[:, 2] = numbers[at + 2] if depth == 3 else np.where(keypoints[:, :2].any(axis=1), 2, 0)

    n = len(annotations)
    first_ring, first_keypoint = np.zeros(n + 1, np.int64), np.zeros(n + 1, np.int64)
    first_ring[rows + 1] = vertices > 0
    first_keypoint[rows + 1] = placed
    ring_start = np.concatenate([[0], np.cumsum(vertices[vertices > 0])]).astype(np.int64)
    return Outlines(points, ring_start, np.cumsum(first_ring), keypoints, np.cumsum(first_keypoint), {})


def keypoint_depth(dataset: Dataset) -> int:
    """Tell how many numbers a keypoint of a YOLO dataset has: 2 or 3."""
    source = dataset.origin or dataset
    rows = np.flatnonzero(source.annotations.geometry == Geometry.POSE)[:LOOKED_AT]
    if not len(rows):
        return 3
    numbers, length = _numbers(source, rows, silent)
    return _depth(source, numbers, np.cumsum(length) - length, length, np.ones(len(rows), bool))


def _within(counts: NDArray[np.int64]) -> NDArray[np.int64]:
    """Count up from 0 in each of several groups that stand one after another."""
    numbered: NDArray[np.int64] = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
    return numbered


def _depth(
    dataset: Dataset, numbers: NDArray[np.float64], start: NDArray[np.int64], length: NDArray[np.int64], posed: NDArray[np.bool_]
) -> int:
    """Tell how many numbers a keypoint has: as many as the declared number of keypoints leaves, else 3 where each third is a visibility."""
    declared = max((one.keypoints for one in dataset.classes), default=0)
    rest = length[posed & (length >= 7)] - 5
    if not len(rest):
        return 3
    usual = int(np.bincount(rest).argmax())
    if declared:
        return 3 if usual >= 3 * declared else 2
    if usual % 3:
        return 2
    chosen = start[posed & (length == usual + 5)]
    seen = numbers[chosen[:, None] + np.arange(7, usual + 5, 3)]
    return 3 if np.isin(seen, (0.0, 1.0, 2.0)).all() else 2


def _numbers(dataset: Dataset, rows: NDArray[np.intp], progress: Progress) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Read all numbers of the lines of some annotations, and how many each line has; 0 where it cannot be read."""
    sources, lines = dataset.annotations.source[rows], dataset.annotations.line[rows]
    order = np.argsort(sources, kind="stable")
    used = np.unique(sources)
    names = [dataset.sources[source] for source in used.tolist()]
    tree = reopened(dataset.root, names)
    texts: list[bytes] = [b""] * len(rows)
    begins = np.searchsorted(sources[order], used)
    for number, (name, group) in enumerate(zip(names, np.split(order, begins[1:]), strict=True)):
        try:
            of_file = plain_lines(tree.read_bytes(name))
        except Unreadable:
            continue
        for row in group.tolist():
            line = int(lines[row])
            texts[row] = of_file[line - 1] if line <= len(of_file) else b""
        if number % 5000 == 0:
            progress("reading outlines", number, len(names))
    length = np.fromiter((len(text.split()) for text in texts), np.int64, len(texts))
    try:
        numbers = np.array(b" ".join(texts).split(), np.float64)
    except ValueError:
        parts = [_floats(text) for text in texts]
        length = np.fromiter(map(len, parts), np.int64, len(parts))
        numbers = np.concatenate(parts)
    return numbers, length


def _floats(text: bytes) -> NDArray[np.float64]:
    try:
        return np.array(text.split(), np.float64)
    except ValueError:
        return np.zeros(0)
