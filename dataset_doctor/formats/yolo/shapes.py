"""The shapes of YOLO rows: polygons and oriented boxes, judged in a second pass where a dataset has any."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np

from dataset_doctor.dataset import Dataset, Geometry, Shapes, no_shapes
from dataset_doctor.files.progress import Progress, silent
from dataset_doctor.files.tree import reopened
from dataset_doctor.formats.yolo.rows import read_rows

MOST_LINES = 1 << 24
"""Lines of a file have numbers below this."""


def shapes(dataset: Dataset, progress: Progress = silent) -> Callable[[], Shapes]:
    """Measure the polygons and oriented boxes of a YOLO dataset when asked for the result; boxes and poses have no shape."""
    return partial(_measured, dataset, progress)


def _measured(dataset: Dataset, progress: Progress) -> Shapes:
    annotations = dataset.annotations
    table = no_shapes(len(annotations))
    drawn = np.flatnonzero((annotations.geometry == Geometry.POLYGON) | (annotations.geometry == Geometry.OBB))
    if not len(drawn):
        return table
    used = np.unique(annotations.source[drawn])
    names = [dataset.sources[source] for source in used.tolist()]
    rows, *_ = read_rows(reopened(dataset.root, names), names, names, progress)
    key = used[rows.file].astype(np.int64) * MOST_LINES + rows.line
    wanted = annotations.source[drawn].astype(np.int64) * MOST_LINES + annotations.line[drawn]
    at = np.minimum(np.searchsorted(key, wanted), max(len(key) - 1, 0))
    same = key[at] == wanted if len(key) else np.zeros(len(drawn), bool)
    drawn, at = drawn[same], at[same]
    table.flaws[drawn] = rows.flaws[at]
    table.rings[drawn] = 1
    table.shortest[drawn] = rows.n[at] - 1
    table.extent[drawn] = annotations.corners[drawn]
    return table
