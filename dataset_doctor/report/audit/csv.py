"""The class table as CSV."""

from __future__ import annotations

import csv
import io

from dataset_doctor.report.record import Report
from dataset_doctor.report.text import printable

_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")
"""How a cell begins that a spreadsheet would calculate (OWASP, CSV injection)."""


def class_csv(report: Report) -> str:
    """Write one row a class: counts in all, then images and instances in each split. Text is quoted, numbers are not."""
    tables = report.statistics
    columns = ["index", "id", "name", "images", "instances", "share", "group"]
    for split in tables.splits:
        columns += [cell(f"{split.name}_images"), cell(f"{split.name}_instances")]
    out = io.StringIO()
    writer = csv.writer(out, quoting=csv.QUOTE_NONNUMERIC, lineterminator="\n")
    writer.writerow(columns)
    for row in tables.classes:
        in_splits = [n for split in row.splits for n in (split.images, split.instances)]
        identity = [row.index, cell(row.id) if isinstance(row.id, str) else row.id, cell(row.name)]
        writer.writerow([*identity, row.images, row.instances, row.share, row.group or "", *in_splits])
    return out.getvalue()


def cell(text: str) -> str:
    """Keep a spreadsheet from taking text for a formula: a leading apostrophe makes it text."""
    return ("'" if text.startswith(_FORMULA) else "") + printable(text)
