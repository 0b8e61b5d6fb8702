"""A folder of files in memory: what a case draws, damages, writes to disk and makes smaller."""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Link:
    """A symbolic link; `{root}` in its target stands for the folder of the dataset."""

    target: str


@dataclass(frozen=True, slots=True)
class Pipe:
    """A named pipe, which blocks whoever opens it carelessly."""


@dataclass(frozen=True, slots=True)
class Folder:
    """A folder that holds nothing."""


Node = bytes | Link | Pipe | Folder
Tree = dict[str, Node]
"""What lies where, by path with `/`; bytes that are not UTF-8 stand in names as surrogates."""


def plant(tree: Tree, root: Path) -> None:
    """Write a tree; what the system does not let stand (a name too long, a file below a file) is left out."""
    root.mkdir(parents=True)
    for name, node in tree.items():
        path = os.path.join(root, name)
        try:
            os.makedirs(os.path.dirname(path), exist_ok=True)
            if isinstance(node, bytes):
                with open(path, "xb") as file:
                    file.write(node)
            elif isinstance(node, Link):
                os.symlink(node.target.format(root=root), path)
            elif isinstance(node, Pipe):
                os.mkfifo(path)
            else:
                os.mkdir(path)
        except (OSError, ValueError):
            continue


def loaded(root: Path) -> Tree:
    """Read a folder into memory."""
    tree: Tree = {}
    for folder, _, files in os.walk(root):
        for name in files:
            path = os.path.join(folder, name)
            shown = os.path.relpath(path, root)
            tree[shown] = Link(os.readlink(path)) if os.path.islink(path) else Path(path).read_bytes()
    return dict(sorted(tree.items()))


def state(root: Path) -> dict[str, tuple[object, ...]]:
    """Give everything below a folder with its kind, size, time of change and content."""
    found: dict[str, tuple[object, ...]] = {}
    for folder, folders, files in os.walk(root):
        for name in [*folders, *files]:
            path = os.path.join(folder, name)
            status = os.lstat(path)
            content: object = None
            if stat.S_ISREG(status.st_mode):
                with open(path, "rb") as file:
                    content = hash(file.read())
            found[path] = (status.st_mode, status.st_size if content is not None else 0, status.st_mtime_ns, content)
    return found
