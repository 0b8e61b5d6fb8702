"""A progress bar on the terminal for what takes over a second; nothing anywhere else."""

from __future__ import annotations

import sys
import time
from types import TracebackType
from typing import TYPE_CHECKING

from dataset_doctor.report.text import printable

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress, TaskID

PATIENCE_SECONDS = 1.0

_ROOMY = 60
"""Columns of a terminal from which on there is room for a bar beside the figures."""


class ProgressBar:
    """Call it as `bar(what, done, total)`; it draws on stderr once a second has gone by, if that is a terminal that can redraw a line."""

    def __init__(self) -> None:
        self._begun = time.monotonic()
        self._console: Console | None = None
        self._shown: Progress | None = None
        self._tasks: dict[str, TaskID] = {}

    def __enter__(self) -> ProgressBar:
        return self

    def __call__(self, what: str, done: int, total: int) -> None:
        """Show how far it has come."""
        if not sys.stderr.isatty() or time.monotonic() - self._begun < PATIENCE_SECONDS:
            return
        shown = self._shown or self._start()
        if shown is None:
            return
        if what not in self._tasks:
            for other in self._tasks.values():
                shown.update(other, visible=False)
            self._tasks[what] = shown.add_task(printable(what), total=total, count="", rate=_rate(None))
        task = self._tasks[what]
        shown.update(task, completed=done, total=total, count=f"{_figure(done)}/{_figure(total)}")
        shown.update(task, rate=_rate(shown.tasks[task].speed))

    def _start(self) -> Progress | None:
        """Begin to draw; None where the terminal cannot go back to the beginning of a line."""
        from rich.console import Console
        from rich.progress import BarColumn, Progress, ProgressColumn, TextColumn, TimeRemainingColumn
        from rich.table import Column

        self._console = self._console or Console(stderr=True)
        if not self._console.is_interactive:
            return None
        roomy = self._console.width >= _ROOMY
        what = Column(no_wrap=True, max_width=self._console.width * 3 // 8)
        columns: list[ProgressColumn] = [TextColumn("{task.description}", markup=False, table_column=what)]
        if roomy:
            columns += [BarColumn(None, table_column=Column(max_width=40)), TextColumn("{task.fields[count]}", justify="right")]
        else:
            columns += [TextColumn("{task.percentage:.0f} %")]
        columns += [TextColumn("{task.fields[rate]}", justify="right"), TimeRemainingColumn(compact=True)]
        if roomy:
            columns += [TextColumn("left")]
        # What is written to stdout meanwhile goes where stdout leads: that need not be the terminal.
        self._shown = Progress(*columns, console=self._console, transient=True, redirect_stdout=False)
        self._shown.start()
        return self._shown

    def close(self) -> None:
        """Take the bar off the terminal."""
        if self._shown is not None:
            self._shown.stop()

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None) -> None:
        self.close()


def _rate(each_second: float | None) -> str:
    """Put a speed into a few characters; it is not known before something has been done twice."""
    if each_second is None:
        return "–/s"
    return f"{each_second:.2f}/s" if each_second < 10 else f"{_figure(round(each_second))}/s"


def _figure(count: int) -> str:
    """Put a count into a few characters.

    >>> _figure(118_287), _figure(448_000_000)
    ('118,287', '448.0 M')
    """
    return f"{count:,}" if count < 1_000_000 else f"{count / 1_000_000:,.1f} M"
