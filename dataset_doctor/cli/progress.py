"""A progress bar on the terminal for what takes over a second; nothing anywhere else."""

from __future__ import annotations

import sys
import time
from types import TracebackType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

PATIENCE_SECONDS = 1.0


class ProgressBar:
    """Call it as `bar(what, done, total)`; it draws on stderr once a second has gone by, if that is a terminal."""

    def __init__(self) -> None:
        self._begun = time.monotonic()
        self._shown: Progress | None = None
        self._tasks: dict[str, TaskID] = {}

    def __enter__(self) -> ProgressBar:
        return self

    def __call__(self, what: str, done: int, total: int) -> None:
        """Show how far it has come."""
        if not sys.stderr.isatty() or time.monotonic() - self._begun < PATIENCE_SECONDS:
            return
        shown = self._start()
        if what not in self._tasks:
            for other in self._tasks.values():
                shown.update(other, visible=False)
            self._tasks[what] = shown.add_task(what, total=total)
        shown.update(self._tasks[what], completed=done, total=total)

    def _start(self) -> Progress:
        if self._shown is None:
            from rich.console import Console
            from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

            columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TextColumn("{task.speed:,.0f}/s"))
            self._shown = Progress(*columns, TimeRemainingColumn(), console=Console(stderr=True), transient=True)
            self._shown.start()
        return self._shown

    def close(self) -> None:
        """Take the bar off the terminal."""
        if self._shown is not None:
            self._shown.stop()

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None) -> None:
        self.close()
