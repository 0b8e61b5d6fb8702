"""What all formats share about files: one walk over the dataset, safe reading, and finding the file that a label names.

The dataset is hostile until proven otherwise. Only what the walk listed is ever opened, so a name written in a label file can
select a listed file but never reach outside; links to folders are not followed; pipes and devices are not opened.
"""

from __future__ import annotations

import codecs
import errno
import os
import posixpath
import re
import stat
import sys
import threading
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import Any, TypeVar

from dataset_doctor.dataset import FormatName, Place, Problem

IMAGE_SUFFIXES = frozenset(
    ".jpg .jpeg .jpe .jfif .png .bmp .dib .gif .webp .tif .tiff .ppm .pgm .pbm .pnm .jp2 .avif .heic .heif .mpo .dng".split()  # noqa: SIM905
)
JUNK_FOLDERS = frozenset({".git", ".hg", ".svn", "__MACOSX", "__pycache__", ".ipynb_checkpoints", "@eaDir", ".venv", "node_modules"})
JUNK_FILES = frozenset({".DS_Store", "Thumbs.db", "desktop.ini"})
REPORTED_JUNK = frozenset({"__MACOSX", ".ipynb_checkpoints", "@eaDir"})
"""Junk folders that come with a copied dataset; the others are tools the user works with."""
MAX_DEPTH = 40
LONGEST_PATH = 4096
"""Most characters of a path that systems accept."""

MAX_TEXT_BYTES = 64 << 20
"""Largest label, list or configuration file that is read whole (COCO JSON has its own, larger limit)."""

SPLIT_NAMES = {
    "train": "train", "training": "train", "trn": "train",
    "val": "val", "valid": "val", "validation": "val", "dev": "val",
    "test": "test", "testing": "test", "tst": "test",
}  # fmt: skip


def canonical_split(name: str) -> str:
    """Give the canonical name of a split; other names stay as written.

    >>> canonical_split("Valid"), canonical_split("train2017"), canonical_split("holdout")
    ('val', 'train', 'holdout')
    """
    stem = re.sub(r"[-_ ]?(19|20)\d\d$", "", name).casefold()
    return SPLIT_NAMES.get(stem, name)


def is_split_name(name: str) -> bool:
    """Tell whether a folder or file stem is one of the usual names of a split."""
    return canonical_split(name) in ("train", "val", "test")


Found = TypeVar("Found")


class Unreadable(Exception):
    """A file that cannot be read: the message says why, for a person."""


@dataclass(frozen=True, slots=True)
class Tree:
    """What one walk over the dataset found.

    root     absolute folder
    files    regular files (and links to regular files), sorted, relative to the root with `/`
    links    those of them that are links leading outside the root: images may be looked at through them, labels may not
    problems folders that could not be listed, links that were not followed, pipes and devices
    image_root  the folder given with `--images`, relative to the root (it may lie outside: `../pictures`); None where none was given
    """

    root: Path
    files: tuple[str, ...]
    links: frozenset[str]
    problems: tuple[Problem, ...]
    image_root: str | None = None
    images: tuple[str, ...] = field(init=False)
    known: frozenset[str] = field(init=False)
    _by_basename: dict[str, list[str]] = field(init=False, default_factory=dict)
    _by_suffix: dict[str, list[str]] = field(init=False, default_factory=dict)
    _noted: dict[str, Any] = field(init=False, default_factory=dict)

    def __post_init__(self) -> None:
        for name in self.files:
            self._by_suffix.setdefault(suffix(name), []).append(name)
        object.__setattr__(self, "images", tuple(self.with_suffix(*IMAGE_SUFFIXES)))
        object.__setattr__(self, "known", frozenset(self.files))

    def with_suffix(self, *suffixes: str) -> list[str]:
        """List the files whose name ends in one of the suffixes (lower case, with the dot), in any case."""
        found = [self._by_suffix[suffix] for suffix in suffixes if suffix in self._by_suffix]
        return list(found[0]) if len(found) == 1 else sorted(chain.from_iterable(found))

    def images_by_basename(self) -> dict[str, list[str]]:
        """Index the image files by their last path component."""
        if not self._by_basename:
            index = defaultdict(list)
            for name in self.images:
                index[posixpath.basename(name)].append(name)
            self._by_basename.update(index)
        return self._by_basename

    def once(self, name: str, find: Callable[[], Found]) -> Found:
        """Give what `find` finds about the tree, which is asked only the first time that `name` is wanted."""
        if name not in self._noted:
            self._noted[name] = find()
        found: Found = self._noted[name]
        return found

    def read_bytes(self, name: str, limit: int = MAX_TEXT_BYTES) -> bytes:
        """Read a listed file whole.

        Raises:
            Unreadable: it leads outside the dataset, is no regular file, is larger than `limit` bytes, or the system refuses.
        """
        if name in self.links:
            raise Unreadable(_OUTSIDE)
        return read_inside(self.root, name, limit)


@dataclass(frozen=True, slots=True)
class Candidate:
    """A dataset that a format recognises in a tree, before it is read.

    root      the folder, relative to the tree's root, that the dataset lies in ("" is the root itself)
    labels    its label, list and configuration files (VOC and YOLO may give only the files that decide)
    evidence  why this format, one sentence each, the strongest first
    declared  a configuration file states it (data.yaml, obj.data, ImageSets …)
    """

    format: FormatName
    variant: str
    root: str
    labels: tuple[str, ...]
    evidence: tuple[str, ...]
    declared: bool = False


Progress = Callable[[str, int, int], None]
"""Called as `progress(what, done, total)` now and then by anything that can take over a second."""


def silent(what: str, done: int, total: int) -> None:
    """Show no progress."""


def suffix(name: str) -> str:
    """Give the lower-case suffix of a file name, with its dot.

    >>> suffix("a/b.JPG"), suffix("a.b/c"), suffix(".txt")
    ('.jpg', '', '')
    """
    # As posixpath.splitext, which takes three times as long; a walk asks for every file.
    dot, folder = name.rfind("."), name.rfind("/")
    stem = name[folder + 1 : dot] if dot > folder else ""
    return name[dot:].lower() if stem.strip(".") else ""


_QUIETLY = os.O_RDONLY | sum(getattr(os, name, 0) for name in ("O_NONBLOCK", "O_NOCTTY", "O_CLOEXEC", "O_BINARY"))
_NO_LINK = getattr(os, "O_NOFOLLOW", 0)
_OUTSIDE = "a link that leads outside the dataset, not followed"


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
                raise Unreadable(_OUTSIDE) from None
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


def walk(root: Path, prefix: str = "") -> Tree:
    """List a folder once, depth first, sorted; links to folders are not followed.

    Args:
        root: The folder, absolute.
        prefix: Put before every name, for a folder outside the dataset root (`--images`), for example `../../images`.
    """
    files: list[str] = []
    links: list[str] = []
    problems: list[Problem] = []
    junk: dict[tuple[str, str], list[str]] = defaultdict(list)
    inside = os.path.realpath(root) + os.sep
    pending: list[tuple[str, str, int]] = [(str(root), f"{prefix}/" if prefix else "", 0)]
    while pending:
        folder, shown, depth = pending.pop()
        try:
            with os.scandir(folder) as entries:
                listed = list(entries)
        except OSError as error:
            problems.append(Problem("folder-unreadable", Place(file=shown.rstrip("/") or "."), reason(error)))
            continue
        for entry in listed:
            name = shown + entry.name
            try:
                if entry.is_file(follow_symlinks=False):
                    if entry.name in JUNK_FILES:
                        junk[shown, entry.name].append(name)
                    elif entry.name.startswith("._"):
                        junk[shown, "._*"].append(name)
                    else:
                        files.append(name)
                elif entry.is_dir(follow_symlinks=False):
                    if entry.name in JUNK_FOLDERS:
                        if entry.name in REPORTED_JUNK:
                            junk[shown, entry.name].append(name)
                        continue
                    if depth >= MAX_DEPTH:
                        problems.append(Problem("folder-unreadable", Place(file=name), f"nested deeper than {MAX_DEPTH} folders"))
                    else:
                        pending.append((entry.path, name + "/", depth + 1))
                elif entry.is_symlink():
                    if entry.is_file():
                        files.append(name)
                        if leads_outside(entry.path, inside):
                            links.append(name)
                    else:
                        what = "a link to a folder, not followed" if entry.is_dir() else "a link that leads nowhere or to a device"
                        problems.append(Problem("link-outside-dataset", Place(file=name), what))
                else:
                    problems.append(Problem("special-file", Place(file=name), "a pipe, socket or device, not opened"))
            except OSError as error:
                problems.append(Problem("special-file", Place(file=name), reason(error)))
    for (_, kind), found in junk.items():
        text = f"{len(found):,} files {kind} in this folder" if len(found) > 1 else f"{kind}, left by a system or tool"
        problems.append(Problem("junk-files", Place(file=min(found)), text, len(found)))
    files.sort()
    problems.sort(key=lambda problem: problem.place.file or "")
    return Tree(root=root, files=tuple(files), links=frozenset(links), problems=tuple(problems))


def leads_outside(link: str, inside: str) -> bool:
    """Tell whether a link ends outside the root; `inside` is the root's real path with a separator at its end."""
    target = os.readlink(link)
    # Resolving part by part costs ten times as much; an absolute target that starts elsewhere needs none of it.
    return not target.startswith(inside) if os.path.isabs(target) else not os.path.realpath(link).startswith(inside)


def reopened(root: Path, names: Sequence[str]) -> Tree:
    """Make a tree of files that an earlier walk listed, to read them again; those that by now lead outside are not followed."""
    inside = os.path.realpath(root) + os.sep
    paths = ((name, os.path.join(root, name)) for name in names)
    links = frozenset(name for name, path in paths if Path(path).is_symlink() and leads_outside(path, inside))
    return Tree(root=root, files=tuple(sorted(names)), links=links, problems=())


def join_trees(main: Tree, other: Tree, image_root: str) -> Tree:
    """Unite the dataset's tree with that of the image folder given with `--images`, which may lie outside it."""
    return Tree(
        root=main.root,
        files=tuple(sorted({*main.files, *other.files})),
        links=main.links | other.links,
        problems=main.problems + other.problems,
        image_root=image_root,
    )


def may_fork() -> bool:
    """Tell whether this process may fork a worker: a fork copies locks that other threads hold, and other systems start afresh."""
    if sys.platform != "linux" or threading.active_count() > 1:
        return False
    import multiprocessing

    return not multiprocessing.current_process().daemon and len(os.sched_getaffinity(0)) > 1


# Names written in label files ---------------------------------------------------------------------------------------

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
