"""Run the command as a user would: in this process, which is many times faster, or where it matters in a process of its own."""

from __future__ import annotations

import contextlib
import io
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType
from unittest import mock

import pytest

from dataset_doctor.cli.app import main

Done = subprocess.CompletedProcess[str]


@contextlib.contextmanager
def in_time(seconds: int = 60) -> Iterator[None]:
    """Fail what blocks."""

    def late(_: int, __: FrameType | None) -> None:
        pytest.fail(f"still busy after {seconds} s")

    before = signal.signal(signal.SIGALRM, late)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def run(*arguments: str | Path, cwd: Path | None = None, timeout: int = 60, **environment: str) -> Done:
    """Run `dataset-doctor` with arguments in this process; 80 columns, no terminal."""
    streams = [io.TextIOWrapper(io.BytesIO(), "utf-8", errors, write_through=True) for errors in ("strict", "backslashreplace")]
    status, before = 0, Path.cwd()
    os.chdir(cwd or before)
    try:
        with (
            mock.patch.dict(os.environ, {"COLUMNS": "80", "NO_COLOR": "1", **environment}),
            contextlib.redirect_stdout(streams[0]),
            contextlib.redirect_stderr(streams[1]),
            in_time(timeout),
        ):
            main([str(argument) for argument in arguments])
    except SystemExit as left:
        status = int(left.code or 0)
    finally:
        os.chdir(before)
    out, err = (stream.buffer.getvalue().decode("utf-8") for stream in streams)  # type: ignore[attr-defined]
    return subprocess.CompletedProcess(arguments, status, out, err)


def run_alone(
    *arguments: str | Path, cwd: Path | None = None, timeout: float = 60, preexec_fn: Callable[[], None] | None = None, **environment: str
) -> Done:
    """Run it in a process of its own."""
    return subprocess.run(
        [sys.executable, "-m", "dataset_doctor", *map(str, arguments)],
        capture_output=True,
        text=True,
        cwd=cwd,
        timeout=timeout,
        preexec_fn=preexec_fn,
        env={**os.environ, "COLUMNS": "80", "NO_COLOR": "1", **environment},
    )
