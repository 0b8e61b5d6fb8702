"""How anything that can take over a second says how far it is."""

from __future__ import annotations

from collections.abc import Callable

Progress = Callable[[str, int, int], None]
"""Called as `progress(what, done, total)` now and then by anything that can take over a second."""


def silent(what: str, done: int, total: int) -> None:
    """Show no progress."""


Notify = Callable[[str, str], None]
"""Called as `notify(message, hint)` with what a person should know besides the result, and what to do about it."""


def ignored(message: str, hint: str) -> None:
    """Show no message."""
