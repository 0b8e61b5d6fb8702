"""Names of files: as labels write them, and as a new dataset gives them."""

from __future__ import annotations

import posixpath
import re
from collections import Counter
from collections.abc import Iterable, Sequence

IMAGE_SUFFIXES = frozenset(
    ".jpg .jpeg .jpe .jfif .png .bmp .dib .gif .webp .tif .tiff .ppm .pgm .pbm .pnm .jp2 .avif .heic .heif .mpo .dng".split()  # noqa: SIM905
)
MAX_DEPTH = 40
"""How deep folders may be nested in a dataset."""

LONGEST_PATH = 4096
"""Most characters of a path that systems accept."""

MAX_NAME_BYTES = 240
"""Longest name of a file that is made here; file systems take 255 bytes, and repeats get a few more."""


def suffix(name: str) -> str:
    """Give the lower-case suffix of a file name, with its dot.

    >>> suffix("a/b.JPG"), suffix("a.b/c"), suffix(".txt")
    ('.jpg', '', '')
    """
    # As posixpath.splitext, which takes three times as long; a walk asks for every file.
    dot, folder = name.rfind("."), name.rfind("/")
    stem = name[folder + 1 : dot] if dot > folder else ""
    return name[dot:].lower() if stem.strip(".") else ""


def is_under(name: str, folder: str) -> bool:
    """Tell whether a file or folder lies in a folder, or is it."""
    return not folder or name == folder or name.startswith(folder + "/")


# As labels write them ---------------------------------------------------------------------------------------------

_DRIVE = re.compile(r"^(?:[A-Za-z]:|//|~)")


def normalise(name: str, base: str = "") -> str | None:
    r"""Turn a path as a label file writes it into one relative to the root; None where it is absolute or leaves the root.

    Args:
        name: As written; backslashes count as slashes.
        base: Folder, relative to the root, that the name is relative to.

    >>> normalise("./a\\b.jpg", "train"), normalise("../images/a.jpg", "labels"), normalise("../../etc/passwd", "x")
    ('train/a/b.jpg', 'images/a.jpg', None)
    """
    name = name.replace("\\", "/")
    if not name or "\0" in name or name.startswith("/") or _DRIVE.match(name):
        return None
    if len(name) > LONGEST_PATH:  # no file has such a name, and taking it apart would take memory for a million parts
        return None if ".." in name else name
    joined = posixpath.normpath(posixpath.join(base, name))
    return None if joined.startswith("../") or joined in ("..", "/") else "" if joined == "." else joined


def is_absolute(name: str) -> bool:
    r"""Tell whether a name is absolute on any system: `/…`, `C:…`, `\\server\…`, `~…`."""
    name = name.replace("\\", "/")
    return name.startswith("/") or bool(_DRIVE.match(name))


def longest_known_tail(name: str, known: Iterable[str] | frozenset[str]) -> str | None:
    """Find the listed file that a stale absolute path most likely means: the longest tail of its parts that is listed."""
    if len(name) > LONGEST_PATH:
        return None
    parts = [part for part in name.replace("\\", "/").split("/") if part not in ("", ".")]
    known = known if isinstance(known, frozenset) else frozenset(known)
    for start in range(min(len(parts), MAX_DEPTH)):
        tail = "/".join(parts[start:])
        if tail in known:
            return tail
    return None


# In a new dataset ---------------------------------------------------------------------------------------------------------


def repeat_names(names: Sequence[str]) -> list[str]:
    """Give each later occurrence of a name one of its own: `a.jpg`, `a__r1.jpg`, `a__r2.jpg`; no name that is there already is taken.

    >>> repeat_names(["a.jpg", "b.jpg", "a.jpg", "a.jpg", "a__r1.jpg"])
    ['a.jpg', 'b.jpg', 'a__r2.jpg', 'a__r3.jpg', 'a__r1.jpg']
    """
    taken = {_stem(name).casefold() for name in names}
    seen: Counter[str] = Counter()
    result = []
    for name in names:
        number = seen[name]
        unique = name
        while number:
            stem = _stem(name)
            unique = f"{stem}__r{number}{name[len(stem) :]}"
            if f"{stem}__r{number}".casefold() not in taken:
                taken.add(f"{stem}__r{number}".casefold())
                break
            number += 1
        seen[name] = number + 1
        result.append(unique)
    return result


def flat_names(paths: Sequence[str]) -> list[str]:
    """Give the files of several folders names that are unique in one, stems included; equal paths keep equal names.

    The last part of a path is its name where no other path shares the stem; else the folders before it are joined to it with `_`.

    >>> flat_names(["a/1.jpg", "b/1.png", "b/2.jpg", "a/1.jpg"])
    ['a_1.jpg', 'b_1.png', '2.jpg', 'a_1.jpg']
    """
    distinct = list(dict.fromkeys(paths))
    base = {path: posixpath.basename(path) for path in distinct}
    shared = Counter(_stem(name).casefold() for name in base.values())
    taken = {stem for stem, times in shared.items() if times == 1}
    given: dict[str, str] = {}
    for path in distinct:
        name = base[path]
        if shared[_stem(name).casefold()] > 1:
            joined = "_".join(part for part in path.split("/") if part not in ("", ".", ".."))
            whole = name = joined if len(joined.encode("utf-8", "surrogatepass")) <= MAX_NAME_BYTES else name
            number = 1
            while _stem(name).casefold() in taken:
                number += 1
                name = f"{_stem(whole)}_{number}{whole[len(_stem(whole)) :]}"
            taken.add(_stem(name).casefold())
        given[path] = name
    return [given[path] for path in paths]


def _stem(name: str) -> str:
    """Give a path without the suffix of an image; other suffixes belong to the name."""
    end = suffix(name)
    return name[: -len(end)] if end in IMAGE_SUFFIXES else name
