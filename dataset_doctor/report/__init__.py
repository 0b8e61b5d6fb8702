"""Renderers of an audit's report: text by file suffix, and the terminal."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from dataset_doctor.errors import OutputRefused, UsageError, did_you_mean
from dataset_doctor.files.reading import Unreadable, open_regular
from dataset_doctor.files.staging import new_file
from dataset_doctor.report import html
from dataset_doctor.report.audit import csv, json, markdown, sarif
from dataset_doctor.report.record import Report

if TYPE_CHECKING:
    from rich.console import Console

__all__ = ["RENDERERS", "check_file", "check_target", "put", "render", "save", "show", "write"]

RENDERERS: dict[str, Callable[[Report], str]] = {
    ".json": json.dump,
    ".html": html.html,
    ".md": markdown.markdown,
    ".csv": csv.class_csv,
    ".sarif": sarif.sarif,
}

_HEAD_BYTES = 30
"""Every rendered text begins with at least as many bytes that are the same for all reports of its kind."""


def render(report: Report, suffix: str) -> str:
    """Write the report in the form that a file suffix stands for.

    Raises:
        UsageError: the suffix stands for no form of report.
    """
    return _renderer(suffix)(report)


def _renderer(suffix: str) -> Callable[[Report], str]:
    renderer = RENDERERS.get(suffix.lower())
    if renderer is None:
        what = f"A report cannot be written as {suffix}." if suffix else "The report's file name has no suffix to say in which form."
        raise UsageError(what, did_you_mean(suffix, RENDERERS))
    return renderer


def check_target(path: Path) -> None:
    """Refuse a place that a report could not be written to; meant to be asked before an audit takes its time.

    Raises:
        UsageError: the suffix stands for no form of report.
        OutputRefused: a folder or device lies there, or its folder is missing or cannot be written.
    """
    _renderer(path.suffix)
    check_file(path)


def check_file(path: Path) -> None:
    """Refuse a place that no file could be written to.

    Raises:
        OutputRefused: a folder or device lies there, or its folder is missing or cannot be written.
    """
    try:
        mode = path.stat().st_mode
    except FileNotFoundError:
        mode = stat.S_IFREG
    except (OSError, ValueError) as error:
        raise _cannot_write(path, error) from error
    if stat.S_ISDIR(mode):
        raise OutputRefused(f"{path} is a folder.", "Name a file in it.")
    if not stat.S_ISREG(mode):
        raise OutputRefused(f"{path} is not a regular file.", "Name another file.")
    if not path.parent.is_dir():
        raise OutputRefused(f"The folder {path.parent} does not exist.", "Make it first, or name another.")
    if not os.access(path.parent, os.W_OK | os.X_OK):
        raise OutputRefused(f"The folder {path.parent} cannot be written to.", "Name another, or change its permissions.")


def save(report: Report, path: Path) -> None:
    """Write the report into a file; an older file there is replaced, at once and whole.

    The text is staged beside the target and renamed into place: whatever happens, the old file stays or the new one is complete.
    A link is replaced, not followed.

    Raises:
        UsageError: the suffix stands for no form of report.
        OutputRefused: as for `check_target`; or the disk is full; or the file is one of the dataset's own.
    """
    check_target(path)
    put(path, render(report, path.suffix).encode("utf-8"), root=report.run.root, what="a report")


def put(path: Path, content: bytes, *, root: str, what: str) -> None:
    """Write a result about the dataset at `root` into a file, unless one of the dataset's own lies there.

    Args:
        path: Where to.
        content: Its first bytes tell this kind of result from others.
        root: Folder of the dataset.
        what: The kind of result, for the message.

    Raises:
        OutputRefused: the system refused, or the file is one of the dataset's own.
    """
    if _is_of_dataset(path, content, root):
        raise OutputRefused(f"{path} lies in the dataset and is not {what}.", "Name another file: the input is never changed.")
    write(path, content)


def write(path: Path, content: bytes) -> None:
    """Write a file at once and whole: staged beside its place, and renamed into it.

    Raises:
        OutputRefused: the system refused, or the disk is full.
    """
    try:
        with new_file(path) as file:
            file.write(content)
    except OSError as error:
        raise _cannot_write(path, error) from error


def _cannot_write(path: Path, error: OSError | ValueError) -> OutputRefused:
    reason = error.strerror if isinstance(error, OSError) else "a name the system does not accept"
    return OutputRefused(f"{path} could not be written: {(reason or 'the system refused').lower()}.", "Nothing was changed.")


def _is_of_dataset(path: Path, content: bytes, root: str) -> bool:
    """Tell whether there is a file or link inside the dataset's folder that does not begin as a report of this kind does."""
    if not os.path.lexists(path) or not Path(os.path.realpath(path.parent)).is_relative_to(os.path.realpath(root)):
        return False
    try:
        with os.fdopen(open_regular(path), "rb") as file:
            return file.read(_HEAD_BYTES) != content[:_HEAD_BYTES]
    except (OSError, Unreadable):
        return True


def show(report: Report, console: Console | None = None, *, name: str) -> None:
    """Print the report, on stdout unless another console is given; `name` is what the user calls the dataset."""
    from rich.console import Console

    from dataset_doctor.report.audit import terminal

    terminal.show(report, console or Console(), name=name)
