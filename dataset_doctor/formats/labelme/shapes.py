"""The polygons and oriented boxes of LabelMe's shapes: measured, or read to be written elsewhere."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from itertools import chain

import numpy as np

from dataset_doctor.dataset import Dataset, Geometry, Shapes, no_shapes
from dataset_doctor.files.progress import Progress, silent
from dataset_doctor.files.tree import reopened
from dataset_doctor.formats.labelme.records import parse
from dataset_doctor.formats.layout import changed
from dataset_doctor.formats.outlines import measure_polygons
from dataset_doctor.outlines import Outlines


def shapes(dataset: Dataset, progress: Progress = silent) -> Callable[[], Shapes]:
    """Measure the polygons of a LabelMe dataset when asked for the result; boxes have no shape."""
    return partial(_measured, dataset, progress)


def _measured(dataset: Dataset, progress: Progress) -> Shapes:
    table = no_shapes(dataset.n_annotations)
    found = list(_rings(dataset, progress))
    if found:
        rings = [ring for _, of_row in found for ring in of_row]
        numbers = np.fromiter(chain.from_iterable(rings), np.float64)
        rows, count = np.array([row for row, _ in found], np.int64), np.array([len(of_row) for _, of_row in found], np.int64)
        measure_polygons(table, rows, numbers, np.array([len(ring) for ring in rings], np.int64), count)
    return table


def outlines(dataset: Dataset, progress: Progress = silent) -> Outlines:
    """Read the polygons of a LabelMe dataset's annotations; see `read_outlines`."""
    of_row = dict(_rings(dataset, progress))
    n = dataset.n_annotations
    rings = [ring for row in range(n) for ring in of_row.get(row, ())]
    points = np.fromiter(chain.from_iterable(rings), np.float64).reshape(-1, 2)
    ring_start = np.cumsum([0, *(len(ring) // 2 for ring in rings)])
    first_ring = np.cumsum([0, *(len(of_row.get(row, ())) for row in range(n))])
    return Outlines(points, ring_start, first_ring, np.zeros((0, 3)), np.zeros(n + 1, np.int64), {})


def _rings(dataset: Dataset, progress: Progress) -> Iterator[tuple[int, list[list[float]]]]:
    """Read the rings of each annotation that is no box.

    Raises:
        DoctorError: a label file no longer holds them.
    """
    annotations = dataset.annotations
    drawn = np.flatnonzero((annotations.geometry == Geometry.POLYGON) | (annotations.geometry == Geometry.OBB))
    drawn = drawn[np.argsort(annotations.source[drawn], kind="stable")]
    tree = reopened(dataset.root, dataset.sources)
    last, of_position = -1, {}
    for done, (row, source, position) in enumerate(
        zip(drawn.tolist(), annotations.source[drawn].tolist(), annotations.position[drawn].tolist(), strict=True)
    ):
        if source != last:
            labels = parse(tree, dataset.sources[source])
            of_position = {one.position: one for one in labels.objects} if labels is not None else {}
            last = source
            progress("reading shapes", done, len(drawn))
        if position not in of_position:
            raise changed(dataset.sources[source])
        yield row, of_position[position].outline()
