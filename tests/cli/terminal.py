"""Run the command in a terminal of its own, as a person does, and look at what that person sees."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import select
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

ESCAPE = re.compile(r"\x1b\[([0-9;?]*)([A-Za-z])")
CTRL_C = b"\x03"
READY = "@ready@"
"""What a launcher prints where it waits for Ctrl-C."""

LAUNCH = """
import fcntl, signal, sys, termios
fcntl.ioctl(0, termios.TIOCSCTTY, 0)  # the terminal is this session's: Ctrl-C reaches it
signal.signal(signal.SIGINT, signal.default_int_handler)  # also where the tests run in the background of a shell, which ignores it
{before}
from dataset_doctor.__main__ import main
main()
"""

AT_ONCE = "from dataset_doctor.cli import progress; progress.PATIENCE_SECONDS = 0.0"
"""Show the bar from the first moment on, so that a test need not last long."""


def waiting_at_import(module: str) -> str:
    """Let the command wait for Ctrl-C where it imports a module."""
    return f"""
import time
class Waiting:
    def find_spec(self, name, path=None, target=None):
        if name == {module!r}:
            print({READY!r}, flush=True)
            time.sleep(60)
sys.meta_path.insert(0, Waiting())
"""


def waiting_at_progress(stage: str) -> str:
    """Let the command wait for Ctrl-C where it has something to say about a stage, with the bar on the screen."""
    return f"""
import time
{AT_ONCE}
shows = progress.ProgressBar.__call__
def waits(self, what, done, total):
    shows(self, what, done, total)
    if what.startswith({stage!r}):
        sys.__stdout__.write({READY!r}); sys.__stdout__.flush()
        time.sleep(60)
progress.ProgressBar.__call__ = waits
"""


@dataclass(frozen=True)
class Shown:
    """How a command ended, and all that it sent to the terminal."""

    code: int
    text: str
    left_behind: list[int]
    """Processes of its session that outlived it."""

    def widest(self) -> int:
        """Count the columns of the widest line that was ever on the screen, wrapped lines as one."""
        return max(len(piece) for piece in re.split(r"[\r\n]", ESCAPE.sub("", self.text)))

    def screen(self) -> str:
        """Give what is left to read, after all that was overwritten and erased."""
        lines, row, column = [""], 0, 0
        for escape, end, plain in re.findall(r"\x1b\[([0-9;?]*)([A-Za-z])|(.)", self.text, re.DOTALL):
            if plain == "\n":
                row, column = row + 1, 0  # the terminal's driver has sent the return too
            elif plain == "\r":
                column = 0
            elif plain:
                lines[row] = f"{lines[row][:column]:{column}}{plain}{lines[row][column + 1 :]}"
                column += 1
            elif end == "A":
                row -= int(escape or 1)
            elif end == "K":
                assert escape == "2"
                lines[row] = ""
            else:
                assert end == "m" or escape == "?25", f"a sequence that this terminal does not know: {escape}{end}"
            lines += [""] * (row + 1 - len(lines))
        return "\n".join(line.rstrip() for line in lines)


def in_terminal(
    *arguments: str | Path,
    columns: int = 80,
    before: str = "",
    press: Callable[[str], bool] = lambda text: False,
    cwd: Path | None = None,
    seconds: float = 120,
    **environment: str,
) -> Shown:
    """Run `dataset-doctor` with stdin, stdout and stderr in a pseudo-terminal.

    Args:
        arguments: Of the command.
        columns: Width of the window.
        before: Python code that runs before the command's first import.
        press: Told what was shown so far; Ctrl-C is pressed once, when it says so.
        cwd: Where it runs.
        seconds: It is killed after this time, and the test fails.
        environment: Variables beyond those of the tests.
    """
    master, terminal = pty.openpty()
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 40, columns, 0, 0))
    variables = {name: value for name, value in os.environ.items() if name not in ("COLUMNS", "LINES", "NO_COLOR", "FORCE_COLOR", "CI")}
    command = [sys.executable, "-c", LAUNCH.format(before=before), *map(str, arguments)]
    process = subprocess.Popen(
        command,
        stdin=terminal,
        stdout=terminal,
        stderr=terminal,
        start_new_session=True,
        cwd=cwd,
        env={**variables, "TERM": "xterm-256color", "PYTHONUTF8": "1", **environment},
    )
    os.close(terminal)
    shown, pressed, end = bytearray(), False, time.monotonic() + seconds
    try:
        while time.monotonic() < end:
            if not pressed and press(shown.decode("utf-8", "replace")):
                os.write(master, CTRL_C)
                pressed = True
            if select.select([master], [], [], 0.2)[0]:
                try:
                    shown += os.read(master, 1 << 16)
                except OSError:  # the last process that had the terminal open is gone
                    break
        code = process.wait(max(end - time.monotonic(), 1))
    finally:
        process.kill()
        process.wait()
        os.close(master)
    return Shown(code, shown.decode("utf-8", "replace"), _of_session(process.pid))


def _of_session(session: int) -> list[int]:
    """List the processes of a session that still run, after a moment to end."""
    for _ in range(50):
        left = []
        for folder in Path("/proc").iterdir():
            if folder.name.isdigit():
                try:
                    state, _parent, _group, of = (folder / "stat").read_text().rpartition(")")[2].split()[:4]
                except OSError:
                    continue
                if int(of) == session and state != "Z":
                    left.append(int(folder.name))
        if not left:
            break
        time.sleep(0.1)
    return left
