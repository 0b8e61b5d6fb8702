"""Reading shapes from the label files of a dataset, to measure them, to write them in another format, or to change images."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from dataset_doctor.dataset import Dataset, Flaw, Shapes
from dataset_doctor.files.progress import Progress, silent
from dataset_doctor.formats.format import format_of
from dataset_doctor.geometry import crossing
from dataset_doctor.outlines import Outlines, join_outlines, no_outlines, take_outlines

MAX_VERTICES = 100_000


def read_shapes(dataset: Dataset, progress: Progress = silent) -> Shapes | None:
    """Measure polygons, masks and keypoints of a dataset that was read; its label files are read a second time.

    Args:
        dataset: What `read` gave; its images and annotations may have been selected since.
        progress: Called with what is done, how much and how much in all.

    Returns:
        One row an annotation; None where the format has nothing to measure.
    """
    return begin_shapes(dataset, progress)()


def begin_shapes(dataset: Dataset, progress: Progress = silent) -> Callable[[], Shapes | None]:
    """Begin what `read_shapes` does, on other processes where the labels are large; call the result for the shapes."""
    begin = format_of(dataset).shapes
    return begin(dataset, progress) if begin and dataset.n_annotations else lambda: None


def read_keypoint_names(dataset: Dataset) -> list[str]:
    """Read the names of the keypoints of a dataset's objects; none where its labels have none, or have several sets."""
    read = format_of(dataset).keypoint_names
    return read(dataset) if read else []


def read_outlines(dataset: Dataset, progress: Progress = silent) -> Outlines:
    """Read the polygons, masks and keypoints of a dataset's annotations from its label files; what cannot be read has none.

    Annotations of images that are made anew have the outlines that their plan gives them.

    Args:
        dataset: What `read` gave; its images and annotations may have been selected and repeated since.
        progress: Called with what is done, how much and how much in all.
    """
    if dataset.made is not None:
        is_made = dataset.made.outline >= 0
        files = read_outlines(dataset.select(np.flatnonzero(~dataset.is_made)), progress)
        row = np.empty(dataset.n_annotations, np.int64)
        in_order = np.argsort(dataset.annotations.image, kind="stable")
        row[in_order[~is_made[in_order]]] = np.arange(len(files))
        row[is_made] = len(files) + dataset.made.outline[is_made]
        return take_outlines(join_outlines([files, dataset.made.outlines]), row)
    reader = format_of(dataset).outlines
    return reader(dataset, progress) if reader and dataset.n_annotations else no_outlines(dataset.n_annotations)


def measure_polygons(
    table: Shapes, rows: NDArray[np.int64], numbers: NDArray[np.float64], length: NDArray[np.int64], count: NDArray[np.int64]
) -> None:
    """Measure polygons given as all numbers, the lengths of the rings, and the number of rings of each polygon."""
    polygon = np.repeat(np.arange(len(count)), count)
    flaws = np.zeros(len(count), np.uint16)
    flaws[count == 0] |= np.uint16(Flaw.EMPTY)
    flaws[polygon[length == 0]] |= np.uint16(Flaw.EMPTY)
    flaws[polygon[length % 2 == 1]] |= np.uint16(Flaw.ODD)
    flaws[polygon[length > 2 * MAX_VERTICES]] |= np.uint16(Flaw.MALFORMED)
    table.rings[rows] = np.bincount(polygon[length > 0], minlength=len(count))
    some = np.flatnonzero(table.rings[rows])
    if len(some):
        full = np.flatnonzero(length)
        begins = np.searchsorted(polygon[full], some)
        table.shortest[rows[some]] = np.minimum.reduceat(length[full], begins)
    if (length % 2).any():
        kept = np.ones(len(numbers), bool)
        kept[(np.cumsum(length) - 1)[length % 2 == 1]] = False
        numbers, length = numbers[kept], length - length % 2
    if not np.isfinite(numbers).all():
        of_number = np.repeat(polygon, length)
        spoiled = np.unique(of_number[~np.isfinite(numbers)])
        flaws[spoiled] |= np.uint16(Flaw.MALFORMED)
        numbers = np.where(np.isin(of_number, spoiled), np.nan, numbers)
    pointed = np.flatnonzero(length)
    polygon, points = polygon[pointed], length[pointed] // 2
    if len(pointed):
        x, y = numbers[0::2].copy(), numbers[1::2].copy()
        begin = np.cumsum(points) - points
        area = _ring_areas(x, y, begin)
        first = np.concatenate([[0], np.flatnonzero(np.diff(polygon)) + 1])
        of = rows[polygon[first]]
        table.area[of] = np.add.reduceat(area, first)
        table.largest[of] = np.maximum.reduceat(area, first)
        edges = begin[first]
        for column, (values, pick) in enumerate(((x, np.minimum), (y, np.minimum), (x, np.maximum), (y, np.maximum))):
            table.extent[of, column] = pick.reduceat(values, edges)
        quads = np.flatnonzero(points == 4)
        at = begin[quads][:, None] + np.arange(4)
        flaws[polygon[quads[crossing(x[at], y[at])]]] |= np.uint16(Flaw.CROSSING)
    table.flaws[rows] |= flaws


def _ring_areas(x: NDArray[np.float64], y: NDArray[np.float64], begin: NDArray[np.int64]) -> NDArray[np.float64]:
    """Give the area of each ring by the shoelace formula; rings lie one after another and begin at `begin`."""
    end = np.append(begin[1:], len(x)) - 1
    turn = np.empty_like(x)
    with np.errstate(over="ignore", invalid="ignore"):
        np.multiply(x[:-1], y[1:], out=turn[:-1])
        turn[:-1] -= x[1:] * y[:-1]
        turn[end] = x[end] * y[begin] - x[begin] * y[end]
        area: NDArray[np.float64] = np.abs(np.add.reduceat(turn, begin)) / 2
    return area
