"""How a check on columns reports the rows that it found, and what several of them ask about boxes."""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from dataset_doctor.dataset import Dataset, ProblemKind, Rows
from dataset_doctor.findings import Facts, Found, Severity, plural
from dataset_doctor.formats import format_of
from dataset_doctor.geometry import widths_heights

Wrong: TypeAlias = "NDArray[np.bool_] | np.bool_ | Rows"
"""Rows of a table, by Boolean mask or row numbers."""


def _rows(wrong: Wrong) -> Rows:
    return np.flatnonzero(wrong) if wrong.dtype == bool else np.asarray(wrong, np.intp)


def annotations_found(
    wrong: Wrong, one: str, many: str, field: str = "", *, severity: Severity | None = None, more: str = ""
) -> Found | None:
    """Report annotations, by Boolean mask or row numbers; `one` and `many` say what is wrong with one and with several of them."""
    rows = _rows(wrong)
    return Found(len(rows), plural(len(rows), one, many) + more, annotations=rows, field=field, severity=severity) if len(rows) else None


def images_found(wrong: Wrong, one: str, many: str, field: str = "", *, severity: Severity | None = None) -> Found | None:
    """Report images, by Boolean mask or row numbers."""
    rows = _rows(wrong)
    return Found(len(rows), plural(len(rows), one, many), images=rows, field=field, severity=severity) if len(rows) else None


def sized_boxes(dataset: Dataset) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Give width and height of each annotation's box and of its image, (n, 2) each, in pixels; NaN where unknown, or without area."""
    images = dataset.annotation_sizes
    boxes = widths_heights(dataset.boxes)
    boxes[~(boxes > 0).all(axis=1)] = np.nan
    if dataset.in_shares:
        boxes[np.isnan(images[:, 0])] = np.nan
    return boxes, images


def without_reported(dataset: Dataset, facts: Facts, rows: Rows, *kinds: ProblemKind) -> Rows:
    """Leave out the annotations that a problem of one of these kinds is about."""
    places = [problem.place for kind in kinds for problem in facts.statistics.problems.get(kind, ())]
    if not places:
        return rows
    known = {(p.file, p.line, int(p.pointer.split("/")[2]) if (p.pointer or "").count("/") > 1 and p.pointer else None) for p in places}
    by_position = format_of(dataset).pointer is not None
    table = dataset.annotations
    keys = zip(table.source[rows].tolist(), table.line[rows].tolist(), table.position[rows].tolist(), strict=True)
    kept = [
        (dataset.sources[file], None if by_position else line, position if by_position else None) not in known
        for file, line, position in keys
    ]
    left: Rows = rows[np.array(kept, bool)]
    return left


def reported(facts: Facts, kind: ProblemKind, one: str, many: str) -> Found | None:
    """Report the problems of a kind; `one` and `many` say what is wrong with one and with several of them."""
    problems = facts.statistics.problems.get(kind, ())
    if not problems:
        return None
    count = sum(problem.count for problem in problems)
    return Found(count, plural(count, one, many), problems=problems)
