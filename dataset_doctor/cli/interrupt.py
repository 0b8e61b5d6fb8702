"""Ctrl-C: one line and exit code 130, at every moment from the first import on.

So this imports next to nothing: until `listen` is called, Python answers Ctrl-C with a traceback.
"""

from __future__ import annotations

import os
import signal
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import FrameType
    from typing import NoReturn

INTERRUPTED = 130

_listener: int | None = None
"""The process that Ctrl-C is meant for."""

_happened = False


def listen() -> None:
    """Take Ctrl-C from now on: as a KeyboardInterrupt, which `happened` remembers whatever a library makes of it.

    A second Ctrl-C does not wait for the cleaning up. Where the caller ignores the signal (a shell does for what it runs in the
    background), it stays ignored.
    """
    global _listener
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        _listener = os.getpid()
        signal.signal(signal.SIGINT, _interrupt)


def happened() -> bool:
    """Tell whether Ctrl-C was pressed: an import that is cut short may end in any other error."""
    return _happened


def leave() -> NoReturn:
    """End with one line on stderr."""
    _say()
    sys.exit(INTERRUPTED)


def _interrupt(number: int, frame: FrameType | None) -> None:
    global _happened
    if os.getpid() != _listener:
        return  # a process that this one has forked: its parent ends it
    if _happened:
        _say()
        os._exit(INTERRUPTED)
    _happened = True
    # Libraries in C print an error that they cannot pass on, and so does Python for one in a destructor.
    sys.excepthook = _ignore
    sys.unraisablehook = _ignore
    raise KeyboardInterrupt


def _ignore(*_: object) -> None:
    """Say nothing."""


def _say() -> None:
    """Write past sys.stderr: it may be in the middle of a line, or not be there yet. A bar may have hidden the cursor."""
    shows_cursor = os.isatty(2) and os.environ.get("TERM", "dumb") not in ("dumb", "unknown")
    try:  # noqa: SIM105 (contextlib takes time to import)
        os.write(2, b"\x1b[?25h" * shows_cursor + b"dataset-doctor: interrupted.\n")
    except OSError:
        pass  # nobody listens
