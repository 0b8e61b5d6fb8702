"""Writing a file or folder at once and whole: beside its place, and renamed into it when all is well.

Whatever happens on the way (an error, a full disk, `kill -9`), the place holds what it held before, or what is new. A folder takes the
place of another by an exchange of the two names where the system can do that at once (Linux); elsewhere the old one is set aside first,
and a kill at that moment leaves nothing under its name until the next writing to the place puts it back.

What is being written is locked by its process. What a killed one left behind is not, so the next writing to the same place sweeps it.
"""

from __future__ import annotations

import ctypes
import hashlib
import os
import re
import secrets
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

STAGED = ".dataset-doctor-"
"""How the names begin of files and folders that are being written."""

_LEFT = re.compile(r"[0-9a-f]{12}\.(?:tmp|old)")
_AT_FDCWD, _RENAME_EXCHANGE = -100, 2


@contextmanager
def new_folder(target: Path) -> Iterator[Path]:
    """Give an empty folder beside `target`; it takes its place, and that of a folder there, when the block ends well, and is gone when not.

    Raises:
        OSError: the system refuses.
    """
    sweep(target)
    root, lock = _begun(target, Path.mkdir)
    try:
        yield root
        _put(root, target)
    finally:
        shutil.rmtree(root, ignore_errors=True)
        _release(lock)


@contextmanager
def new_file(target: Path) -> Iterator[IO[bytes]]:
    """Give an empty file beside `target`; it takes its place when the block ends well, and is gone when not. A link is replaced.

    Raises:
        OSError: the system refuses.
    """
    sweep(target)
    path, lock = _begun(target, lambda path: path.open("xb").close())
    try:
        with path.open("wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        path.replace(target)
    finally:
        with suppress(OSError):
            path.unlink()
        _release(lock)


def sweep(target: Path) -> None:
    """Remove what writings to a place left behind whose process is gone; a folder that one had set aside is put back where nothing is.

    Where the file system knows no locks, nobody can tell that the process is gone, and all stays.
    """
    start = _start(target)
    with suppress(OSError), os.scandir(target.parent) as entries:
        for name in sorted(entry.name for entry in entries if entry.name.startswith(start)):
            if not _LEFT.fullmatch(name[len(start) :]):
                continue
            path = target.parent / name
            with suppress(OSError):
                lock = os.open(path, _TO_LOCK | getattr(os, "O_NOFOLLOW", 0))
                try:
                    if _lock(lock, wait=False):
                        _sweep(path, target)
                finally:
                    os.close(lock)


def _sweep(path: Path, target: Path) -> None:
    if path.suffix == ".old" and not os.path.lexists(target):
        path.rename(target)
    elif path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink()


def _start(target: Path) -> str:
    """Give how the names of what is written for a place begin; the place's own name may be too long to stand in them."""
    return f"{STAGED}{hashlib.sha256(os.fsencode(target.name)).hexdigest()[:8]}-"


def _put(root: Path, target: Path) -> None:
    if not os.path.lexists(target):
        root.rename(target)
    elif not _exchanged(root, target):
        old = root.with_suffix(".old")
        lock = _hold(target)
        try:
            target.rename(old)
            try:
                root.rename(target)
            except OSError:
                with suppress(OSError):
                    old.rename(target)
                raise
            shutil.rmtree(old, ignore_errors=True)
        finally:
            _release(lock)


def _exchanged(one: Path, other: Path) -> bool:
    """Exchange two names at once (renameat2(2)); False where the system or file system cannot."""
    try:
        exchange = ctypes.CDLL(None).renameat2
    except (AttributeError, OSError, TypeError):  # not Linux, or an older C library
        return False
    return bool(exchange(_AT_FDCWD, os.fsencode(one), _AT_FDCWD, os.fsencode(other), _RENAME_EXCHANGE) == 0)


# Locks --------------------------------------------------------------------------------------------------------------

_TO_LOCK = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0)


def _begun(target: Path, make: Callable[[Path], object]) -> tuple[Path, int | None]:
    """Make a file or folder beside a place, and lock it."""
    while True:
        path = target.parent / f"{_start(target)}{secrets.token_hex(6)}.tmp"
        make(path)
        lock = _hold(path)
        # Between the two, another process may have swept it.
        if lock is None or os.path.lexists(path):
            return path, lock
        _release(lock)


def _hold(path: Path) -> int | None:
    """Lock a file or folder; None where the system does not."""
    with suppress(OSError):
        lock = os.open(path, _TO_LOCK)
        if _lock(lock, wait=True):
            return lock
        os.close(lock)
    return None


def _release(lock: int | None) -> None:
    if lock is not None:
        os.close(lock)


def _lock(handle: int, *, wait: bool) -> bool:
    """Lock an open file; False where another process holds it, or the system knows no locks."""
    try:
        import fcntl

        fcntl.flock(handle, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except (ImportError, OSError):
        return False
    return True
