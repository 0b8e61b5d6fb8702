"""The report: what an audit gives, and what can be done with it: show it, save it, ask what fails."""

from __future__ import annotations

import html
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dataset_doctor.errors import UsageError, did_you_mean
from dataset_doctor.findings import (
    ChangedThreshold,
    Described,
    Finding,
    NotRun,
    Recommendation,
    Run,
    Severity,
    plain,
    plain_finding,
    plural,
)
from dataset_doctor.gate import failing
from dataset_doctor.pixels import Normalisation
from dataset_doctor.statistics import Statistics

if TYPE_CHECKING:
    import pandas as pd
    from rich.console import Console

_SHOWN = 10


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Report:
    """The result of an audit: what the dataset holds, what is wrong with it, what to do, and what was not looked at.

    `normalisation` is the mean and deviation of the training images' channels; None where the images were not looked into.
    `thresholds` are those that are not at their defaults. `name` is what the user calls the dataset.
    """

    version: str
    dataset: Described
    statistics: Statistics
    findings: tuple[Finding, ...]
    recommendations: tuple[Recommendation, ...]
    not_run: tuple[NotRun, ...]
    run: Run
    normalisation: Normalisation | None = None
    thresholds: tuple[ChangedThreshold, ...] = ()
    name: str = ""

    def worst(self) -> Severity | None:
        """Give the highest severity among the findings, or None where there is none."""
        return max((finding.severity for finding in self.findings), key=lambda severity: severity.rank, default=None)

    def failing(self, level: Severity | str | None = None) -> list[Finding]:
        """List the findings that fail a run: of a severity or above, not suppressed, and more of them than a baseline knows.

        Args:
            level: "error", "warning", "info" or "never"; by default what the audit was asked for, "error" if nothing else.

        Raises:
            UsageError: there is no such severity.
        """
        wanted = level or str(self.run.options.get("fail_on") or "error")
        if wanted == "never":
            return []
        if not isinstance(wanted, Severity) and wanted not in (known := [one.value for one in Severity]):
            raise UsageError(f"There is no severity {wanted}.", did_you_mean(wanted, [*known, "never"]))
        return failing(self.findings, Severity(wanted))

    def show(self, console: Console | None = None) -> None:
        """Print the report as the command does, on stdout unless another console is given."""
        from rich.console import Console

        from dataset_doctor.report.audit import terminal

        terminal.show(self, console or Console(), name=self.name or self.run.root)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the report into a file, at once and whole; the suffix says how: .json .html .md .csv .sarif.

        Raises:
            UsageError: the suffix stands for no form of report.
            OutputRefused: the file cannot be written, or is one of the dataset's own.
        """
        from dataset_doctor.report import save

        save(self, Path(path))

    def findings_frame(self) -> pd.DataFrame:
        """View the findings as a pandas DataFrame, one row a code."""
        import pandas as pd

        columns = ("code", "name", "severity", "count", "message")
        rows = [(f.code, f.name, f.severity.value, f.count, f.message) for f in self.findings]
        return pd.DataFrame(rows, columns=list(columns))

    def classes_frame(self) -> pd.DataFrame:
        """View the class table as a pandas DataFrame, one row a class."""
        import pandas as pd

        rows = [
            {"index": c.index, "id": c.id, "name": c.name, "images": c.images, "instances": c.instances, "share": c.share, "group": c.group}
            | {f"{s.name}_instances": n.instances for s, n in zip(self.statistics.splits, c.splits, strict=True)}
            for c in self.statistics.classes
        ]
        return pd.DataFrame(rows)

    def to_dict(self) -> dict[str, Any]:
        """Give the report as plain data, in the documented form (schema "dataset-doctor/report", version 1)."""
        tables = self.statistics
        names = [split.name for split in tables.splits]
        classes = [
            plain(row) | {"splits": {name: plain(count) for name, count in zip(names, row.splits, strict=True)}} for row in tables.classes
        ]
        recommendations = [
            plain(r) | {"expected": None if r.expected is None else plain(r.expected) | {
                "classes": [{"name": name, "before": before, "after": after} for name, before, after in r.expected.classes]
            }}
            for r in self.recommendations
        ]  # fmt: skip
        return {
            "schema": "dataset-doctor/report",
            "schema_version": 1,
            "tool": {"name": "dataset-doctor-vision", "version": self.version},
            "dataset": plain(self.dataset),
            "summary": plain(tables.summary),
            "classes": classes,
            "splits": [plain(row) for row in tables.splits],
            "resolution": plain(tables.resolution),
            "boxes": None if tables.boxes is None else plain(tables.boxes),
            "normalisation": None if self.normalisation is None else plain(self.normalisation),
            "co_occurrence": [plain(pair) for pair in tables.co_occurrence],
            "thresholds": [plain(threshold) for threshold in self.thresholds],
            "findings": [plain_finding(finding) for finding in self.findings],
            "recommendations": recommendations,
            "not_run": [plain(check) for check in self.not_run],
            "run": plain(self.run),
        }

    def __repr__(self) -> str:
        shown = [f"  {f.severity.value:<7} {f.code} {f.name}: {f.message}" for f in self.findings[:_SHOWN]]
        more = len(self.findings) - len(shown)
        return "\n".join([f"<Report on {self._head()}>", *shown, *([f"  … {more:,} more"] if more > 0 else [])])

    def _head(self) -> str:
        summary = self.statistics.summary
        counted = ", ".join(
            plural(sum(f.severity is severity for f in self.findings), severity.value) for severity in (Severity.ERROR, Severity.WARNING)
        )
        return (
            f"{self.dataset.format} ({self.dataset.variant}): {summary.images:,} images, {summary.instances:,} instances,"
            f" {summary.classes:,} classes; {counted}"
        )

    def _repr_html_(self) -> str:
        """Show the findings as a table in a notebook."""
        cells = [(f.severity.value, f"{f.code} {f.name}", f.message) for f in self.findings]
        cells += [("not run", one.code, one.reason) for one in self.not_run]
        rows = "".join("<tr>" + "".join(f"<td>{html.escape(text)}</td>" for text in row) + "</tr>" for row in cells)
        return f"<p>{html.escape(self._head())}</p><table>{rows}</table>"
