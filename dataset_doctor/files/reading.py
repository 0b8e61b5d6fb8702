"""Opening and decoding files: the only door to those that are not our own.

The dataset is hostile until proven otherwise: pipes and devices are not opened, links that lead outside the dataset are not followed, and
no file is read beyond a limit.
"""

from __future__ import annotations

import codecs
import errno
import os
import stat
from pathlib import Path

MAX_TEXT_BYTES = 64 << 20
"""Largest label, list or configuration file that is read whole (COCO JSON has its own, larger limit)."""


class Unreadable(Exception):
    """A file that cannot be read: the message says why, for a person."""


_QUIETLY = os.O_RDONLY | sum(getattr(os, name, 0) for name in ("O_NONBLOCK", "O_NOCTTY", "O_CLOEXEC", "O_BINARY"))
_NO_LINK = getattr(os, "O_NOFOLLOW", 0)
OUTSIDE = "a link that leads outside the dataset, not followed"


def open_regular(path: str | Path, flags: int = 0) -> int:
    """Open a regular file for reading, and give its descriptor. This is the only door to files that are not our own.

    What lies there may have changed since it was listed: a pipe does not block, and what was opened is looked at, not what has the name.

    Raises:
        Unreadable: with the reason.
    """
    try:
        handle = os.open(path, _QUIETLY | flags)
    except (OSError, ValueError) as error:
        raise Unreadable(reason(error)) from error
    try:
        mode = os.fstat(handle).st_mode
    except OSError as error:
        os.close(handle)
        raise Unreadable(reason(error)) from error
    if not stat.S_ISREG(mode):
        os.close(handle)
        raise Unreadable("a folder" if stat.S_ISDIR(mode) else "not a regular file")
    return handle


def open_inside(root: str | Path, name: str) -> int:
    """Open a file that the walk listed; a link that leads outside the dataset is not followed, nor one that has come there since.

    Raises:
        Unreadable: with the reason.
    """
    path = os.path.join(root, name)
    if name.startswith("../") or not _NO_LINK:  # of the image folder that the user has named
        return open_regular(path)
    try:
        return open_regular(path, _NO_LINK)
    except Unreadable as error:
        if not isinstance(error.__cause__, OSError) or error.__cause__.errno not in (errno.ELOOP, errno.EMLINK):
            raise
        try:
            if leads_outside(path, os.path.realpath(root) + os.sep):
                raise Unreadable(OUTSIDE) from None
        except OSError as gone:
            raise Unreadable(reason(gone)) from gone
        return open_regular(path)


def read_regular(path: str | Path, limit: int) -> bytes:
    """Read a regular file of at most `limit` bytes; never blocks on a pipe or device.

    Raises:
        Unreadable: with the reason.
    """
    return _read(open_regular(path), limit)


def read_inside(root: str | Path, name: str, limit: int) -> bytes:
    """Read a file of the dataset of at most `limit` bytes.

    Raises:
        Unreadable: as for `open_inside`, or it is too large.
    """
    return _read(open_inside(root, name), limit)


def _read(handle: int, limit: int) -> bytes:
    try:
        size = os.fstat(handle).st_size
        if size > limit:
            raise Unreadable(f"{size / 2**20:,.0f} MiB, over the limit of {limit / 2**20:,.0f} MiB")
        data = os.read(handle, size + 1)
        while chunk := os.read(handle, limit + 1) if len(data) < size else b"":
            data += chunk
        return data
    except OSError as error:
        raise Unreadable(reason(error)) from error
    finally:
        os.close(handle)


def reason(error: OSError | ValueError) -> str:
    """Say why the system refused, without the path."""
    return (error.strerror or "cannot be opened").lower() if isinstance(error, OSError) else "a name the system does not accept"


def leads_outside(link: str, inside: str) -> bool:
    """Tell whether a link ends outside the root; `inside` is the root's real path with a separator at its end."""
    target = os.readlink(link)
    # Resolving part by part costs ten times as much; an absolute target that starts elsewhere needs none of it.
    return not target.startswith(inside) if os.path.isabs(target) else not os.path.realpath(link).startswith(inside)


# Text ---------------------------------------------------------------------------------------------------------------

_BOMS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)


def decode(data: bytes) -> tuple[str, str | None]:
    r"""Decode text, tolerantly; the second value says what was unusual, or is None for plain UTF-8.

    A byte-order mark decides; else UTF-8; else Latin-1, which never fails (names may then look odd, numbers do not).

    >>> decode(b"caf\xc3\xa9"), decode(b"\xef\xbb\xbfa"), decode(b"caf\xe9")
    (('café', None), ('a', 'starts with a byte-order mark'), ('café', 'not UTF-8, read as Latin-1'))
    """
    for mark, encoding in _BOMS:
        if data.startswith(mark):
            try:
                text = data.decode(encoding)
            except UnicodeDecodeError:
                break
            return text, "starts with a byte-order mark" if encoding == "utf-8-sig" else f"{encoding.upper()}, not UTF-8"
    try:
        return data.decode("utf-8"), None
    except UnicodeDecodeError:
        return data.decode("latin-1"), "not UTF-8, read as Latin-1"
