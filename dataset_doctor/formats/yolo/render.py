"""Rendering YOLO label lines from records of other formats, and of images that are made anew.

Numbers have `DECIMALS` decimals and never an exponent, which some readers refuse. Corners come back within 0.75 × 10^-DECIMALS of the
image's side; and no box leaves the image by rounding, since some trainers refuse the whole image for it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from dataset_doctor.dataset import Dataset, Flag, Geometry
from dataset_doctor.files.progress import Progress, silent
from dataset_doctor.formats.format import format_of, lose
from dataset_doctor.formats.outlines import read_outlines
from dataset_doctor.formats.yolo.outlines import keypoint_depth
from dataset_doctor.geometry import Boxes
from dataset_doctor.masks import mask_rings
from dataset_doctor.outlines import Outlines

DECIMALS = 8
_UNIT = 10.0**-DECIMALS
_NUMBER = f"%.{DECIMALS}f"

Points = NDArray[np.float64]


def task_of_target(dataset: Dataset) -> Literal["detect", "segment", "pose", "obb"]:
    """Name what the rows of a YOLO dataset hold: the task of a source with shapes that can be read, boxes from any other."""
    return dataset.task if dataset.task != "classify" and format_of(dataset).outlines else "detect"


def losses(dataset: Dataset) -> list[str]:
    """Say what YOLO does not hold of a dataset."""
    annotations, sentences = dataset.annotations, []
    geometry, keypoints = annotations.geometry, annotations.has(Flag.KEYPOINTS)
    is_mask, is_polygon = (geometry == Geometry.RLE) | (geometry == Geometry.RLE_STRING), geometry == Geometry.POLYGON
    is_shape = is_mask | is_polygon | (geometry == Geometry.OBB)
    if (training := dataset.training_split) is not None and training != "train":
        sentences.append(f"The split {training} is written as train, the only name under which YOLO's trainers look.")
    if dataset.task == "detect":
        sentences += lose(is_shape, "polygon or mask", "a YOLO dataset for detection holds the box of each.", "polygons or masks")
        sentences += lose(
            keypoints, "list of keypoints", "a YOLO dataset for detection holds the box of each object.", "lists of keypoints"
        )
    elif dataset.task == "pose":
        sentences += lose(is_shape, "polygon or mask", "a YOLO dataset for poses holds box and keypoints.", "polygons or masks")
    else:
        without = (geometry == Geometry.BOX) & dataset.is_instance
        sentences += lose(without, "box without an outline", "written as its corners.", "boxes without an outline")
        sentences += lose(is_mask, "run-length mask", "YOLO holds its outline, within 0.25 px; holes are filled.")
        if dataset.task == "segment" and is_polygon.any():
            sentences.append("YOLO has one outline an object: parts are joined by seams without width.")
        sentences += lose(keypoints, "list of keypoints", "a YOLO dataset for polygons holds none.", "lists of keypoints")
    return sentences


def render(dataset: Dataset, progress: Progress = silent) -> list[bytes]:
    """Make the text of the label file of each image; empty where an image holds nothing.

    Args:
        dataset: Of another format, or images of a YOLO dataset that are made anew; without crowd and ignored regions; its boxes are
            finite and their images' sizes known.
        progress: Called with what is done, how much and how much in all.
    """
    annotations = dataset.annotations
    rows = np.argsort(annotations.image, kind="stable")
    task = task_of_target(dataset)
    shares = normalised(dataset.boxes[rows] / np.tile(dataset.annotation_sizes[rows], 2))
    from_yolo = dataset.format == "yolo"
    numbers = (annotations.class_id if from_yolo else annotations.class_index)[rows].tolist()
    # Rows of a YOLO dataset stay of the kind that they are; from other formats all are of one kind.
    is_box = annotations.geometry[rows] == Geometry.BOX if from_yolo else np.full(len(rows), task == "detect")
    lines: Sequence[str] = _boxes(numbers, shares) if is_box.any() else [""] * len(rows)
    if not is_box.all():
        outlines, others = read_outlines(dataset, progress), np.flatnonzero(~is_box)
        some, classes = rows[others], [numbers[at] for at in others.tolist()]
        if task == "pose":
            drawn = _poses(dataset, some, classes, shares[others], outlines)
        else:
            points = [_outline(dataset, outlines, row, box, task) for row, box in zip(some.tolist(), dataset.boxes[some], strict=True)]
            drawn = _outlined(classes, points, dataset.annotation_sizes[some])
        lines = list(lines)
        for at, line in zip(others.tolist(), drawn, strict=True):
            lines[at] = line
    stop = np.searchsorted(annotations.image[rows], np.arange(dataset.n_images), side="right").tolist()
    return ["".join(lines[begin:end]).encode() for begin, end in zip([0, *stop[:-1]], stop, strict=True)]


def _boxes(classes: Sequence[int], boxes: Boxes) -> Sequence[str]:
    values = np.column_stack([classes, boxes])
    text: str = (f"%d{f' {_NUMBER}' * 4}\n" * len(boxes)) % tuple(values.ravel().tolist())
    return text.splitlines(keepends=True)


def normalised(shares: Boxes) -> Boxes:
    """Turn corners, as shares of the image, into centre and size, cut at the image's edges and rounded so that they stay inside.

    >>> normalised(np.array([[-0.001, 0.25, 1.0, 0.75]])).tolist()
    [[0.5, 0.5, 1.0, 0.5]]
    """
    inside = np.clip(shares, 0.0, 1.0)
    centre = np.round((inside[:, :2] + inside[:, 2:]) / 2, DECIMALS)
    size = np.maximum(np.round(inside[:, 2:] - inside[:, :2], DECIMALS), _UNIT)
    for _ in range(4):
        out = np.zeros(size.shape, bool)
        for middle, half in ((centre, size / 2), (np.float32(centre), np.float32(size) / np.float32(2))):  # trainers use single precision
            out |= (middle + half > 1) | (middle - half < 0)
        if not out.any():
            break
        size[out] = np.maximum(size[out] - 1e-7, _UNIT)
    return np.concatenate([centre, size], axis=1)


# Outlines -----------------------------------------------------------------------------------------------------------


def _outline(dataset: Dataset, outlines: Outlines, row: int, box: NDArray[np.float64], task: str) -> Points:
    """Give the points of one annotation in pixels: its rings as one, else the outline of its mask, else the corners of its box."""
    rings = [ring for ring in outlines.rings(row) if len(ring) >= 3]
    if not rings and row in outlines.masks:
        rings = mask_rings(outlines.masks[row])
    if not rings or (task == "obb" and (len(rings) > 1 or len(rings[0]) != 4)):
        x1, y1, x2, y2 = box.tolist()
        rings = [np.array([[x1, y1], [x2, y1], [x2, y2], [x1, y2]])]
    return joined(rings)


def joined(rings: Sequence[Points]) -> Points:
    """Join rings to one by seams without width: from the first ring's beginning to each other ring and back.

    >>> joined([np.array([[0.0, 0], [1, 0], [0, 1]]), np.array([[5.0, 5], [6, 5], [5, 6]])]).tolist()
    [[0.0, 0.0], [1.0, 0.0], [0.0, 1.0], [0.0, 0.0], [5.0, 5.0], [6.0, 5.0], [5.0, 6.0], [5.0, 5.0]]
    """
    if len(rings) == 1:
        return rings[0]
    home = rings[0][:1]
    parts = [rings[0]]
    for ring in rings[1:]:
        parts += [home, ring, ring[:1]]
    return np.concatenate(parts)


def _outlined(classes: Sequence[int], points: Sequence[Points], sizes: NDArray[np.float64]) -> list[str]:
    """Write rows of a class and points."""
    if not points:
        return []
    length = np.fromiter(map(len, points), np.int64, len(points))
    shares = np.clip(np.concatenate(points) / np.repeat(sizes, length, axis=0), 0.0, 1.0)
    words = ((f"{_NUMBER} " * shares.size) % tuple(shares.ravel().tolist())).split()
    stop = (2 * np.cumsum(length)).tolist()
    begins = [0, *stop[:-1]]
    return [f"{number} {' '.join(words[begin:end])}\n" for number, begin, end in zip(classes, begins, stop, strict=True)]


def _poses(dataset: Dataset, rows: NDArray[np.intp], classes: Sequence[int], boxes: Boxes, outlines: Outlines) -> list[str]:
    """Write rows of a class, a box and keypoints; a record without keypoints has none that is labelled."""
    first = outlines.first_keypoint
    # A YOLO dataset need not say how many keypoints a row has.
    count = keypoints_of(dataset) or int(np.diff(first).max(initial=0))
    keypoints = np.zeros((len(rows), count, 3))
    given = np.minimum((first[1:] - first[:-1])[rows], count)
    owner = np.repeat(np.arange(len(rows)), given)
    within = np.arange(given.sum()) - np.repeat(np.cumsum(given) - given, given)
    keypoints[owner, within] = outlines.keypoints[first[rows][owner] + within]
    keypoints[keypoints[:, :, 2] == 0] = 0
    shares = np.clip(keypoints[:, :, :2] / dataset.annotation_sizes[rows][:, None, :], 0.0, 1.0)
    depth = keypoint_depth(dataset) if dataset.format == "yolo" else 3
    values = np.concatenate([shares, keypoints[:, :, 2:]], axis=2)[:, :, :depth].reshape(len(rows), -1)
    row = f"%d{f' {_NUMBER}' * 4}{(f' {_NUMBER} {_NUMBER}' + ' %d' * (depth - 2)) * count}\n"
    return [row % (number, *box, *of_row) for number, box, of_row in zip(classes, boxes.tolist(), values.tolist(), strict=True)]


def keypoints_of(dataset: Dataset) -> int:
    """Give the number of keypoints that each row of a YOLO pose dataset has: the most that a class declares."""
    return max((one.keypoints for one in dataset.classes), default=0)
