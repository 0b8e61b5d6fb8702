"""One walk over a dataset.

The dataset is hostile until proven otherwise. Only what the walk listed is ever opened, so a name written in a label file can
select a listed file but never reach outside; links to folders are not followed; pipes and devices are not opened.
"""

from __future__ import annotations

import os
import posixpath
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import Any, TypeVar

from dataset_doctor.dataset import Place, Problem
from dataset_doctor.files.names import IMAGE_SUFFIXES, MAX_DEPTH, suffix
from dataset_doctor.files.reading import MAX_TEXT_BYTES, OUTSIDE, Unreadable, leads_outside, open_inside, read_inside, reason

JUNK_FOLDERS = frozenset({".git", ".hg", ".svn", "__MACOSX", "__pycache__", ".ipynb_checkpoints", "@eaDir", ".venv", "node_modules"})
JUNK_FILES = frozenset({".DS_Store", "Thumbs.db", "desktop.ini"})
REPORTED_JUNK = frozenset({"__MACOSX", ".ipynb_checkpoints", "@eaDir"})
"""Junk folders that come with a copied dataset; the others are tools the user works with."""

Found = TypeVar("Found")


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

    def below(self, folder: str) -> Tree:
        """Give the part of the tree that lies below a folder; names stay relative to the root."""
        files = self.files[bisect_left(self.files, folder + "/") : bisect_left(self.files, folder + "0")]  # "0" follows "/"
        return Tree(self.root, files, self.links & frozenset(files), ())

    def head(self, name: str, length: int = 64 << 10) -> bytes:
        """Read the first bytes of a listed file; empty where it cannot be read."""
        if name in self.links:
            return b""
        try:
            handle = open_inside(self.root, name)
        except Unreadable:
            return b""
        try:
            return os.read(handle, length)
        except OSError:
            return b""
        finally:
            os.close(handle)

    def read_bytes(self, name: str, limit: int = MAX_TEXT_BYTES) -> bytes:
        """Read a listed file whole.

        Raises:
            Unreadable: it leads outside the dataset, is no regular file, is larger than `limit` bytes, or the system refuses.
        """
        if name in self.links:
            raise Unreadable(OUTSIDE)
        return read_inside(self.root, name, limit)


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
