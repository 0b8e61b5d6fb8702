"""A verdict as files: the documented JSON, a table of classes, a page, and a comment for a pull request."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Collection, Sequence
from pathlib import Path

from dataset_doctor.errors import UsageError, did_you_mean
from dataset_doctor.report import check_file, put
from dataset_doctor.report.audit.csv import cell
from dataset_doctor.report.audit.json import document
from dataset_doctor.report.html.verdict import verdict_page
from dataset_doctor.report.verdict.markdown import verdict_markdown
from dataset_doctor.verdict import Verdict


def json_file(verdict: Verdict) -> str:
    """Write the document (schema "dataset-doctor/verdict")."""
    return document(verdict.to_dict())


def csv_file(verdict: Verdict) -> str:
    """Write one row an arm and class: its score, the difference to the baseline with its interval, and the verdict."""
    out = io.StringIO()
    writer = csv.writer(out, quoting=csv.QUOTE_NONNUMERIC, lineterminator="\n")
    writer.writerow(["arm", "class", "group", "test_instances", "score", "difference", "low", "high", "verdict"])
    for arm in verdict.arms:
        for c in arm.classes:
            bounds = (
                ["", "", ""] if c.difference is None else [_number(v) for v in (c.difference.mean, c.difference.low, c.difference.high)]
            )
            verdict_word = c.verdict if arm.verdict is not None else ""
            writer.writerow([cell(arm.name), cell(c.name), c.group or "", c.test_instances, _number(c.score), *bounds, verdict_word])
    return out.getvalue()


def _number(value: float | None) -> float | str:
    return "" if value is None else value


FILES: dict[str, Callable[[Verdict, Sequence[str]], str]] = {
    ".json": lambda verdict, roots: json_file(verdict),
    ".html": verdict_page,
    ".md": lambda verdict, roots: verdict_markdown(verdict, roots[0]),
    ".csv": lambda verdict, roots: csv_file(verdict),
}
"""How a verdict is written, by suffix: from the verdict, and the folders that its pictures may be read from, the dataset's first."""


def check_targets(paths: Collection[Path]) -> None:
    """Refuse files that could not be written, before anything is trained.

    Raises:
        UsageError: a suffix that stands for no form of verdict.
        OutputRefused: a folder or device lies there, or its folder is missing or cannot be written.
    """
    for path in paths:
        if path.suffix.lower() not in FILES:
            raise UsageError(
                f"A verdict cannot be written as {path.suffix or 'a file without a suffix'}.", did_you_mean(path.suffix, FILES)
            )
        check_file(path)


def save(verdict: Verdict, path: Path, *, root: str, images: str | None = None) -> None:
    """Write the verdict into a file, at once and whole; its suffix says in which form.

    Args:
        verdict: What `verify` gave.
        path: A suffix of `FILES`.
        root: Folder of the dataset, whose own files are never overwritten; the page shows pictures of it.
        images: Folder of the images where that is another.

    Raises:
        UsageError, OutputRefused: as for `check_targets`; or the file is one of the dataset's own.
    """
    check_targets([path])
    roots = [root, *([images] if images else [])]
    put(path, FILES[path.suffix.lower()](verdict, roots).encode("utf-8"), root=root, what="a verdict")
