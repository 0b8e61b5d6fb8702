"""Datasets whose images lie elsewhere: what `--materialize list` writes holds labels or lists, and leaves the images where they were.

Its manifest names the folder and the files. Files outside a dataset are opened only for that, and only so far:

* images that the manifest lists, if they are regular files with the suffix of an image; they are looked at, never quoted
* YOLO's label files beside those, if all of them together still have the digest that the manifest states. Nobody who has not read them can
  state it, so that no manifest brings the text of a stranger's files into a report.

Nothing outside is walked. For anything else the user names the folder with `--images`.
"""

from __future__ import annotations

import hashlib
import os
import posixpath
import stat
from collections.abc import Iterable
from pathlib import Path

from dataset_doctor.dataset import Place, Problem
from dataset_doctor.files.names import IMAGE_SUFFIXES, suffix
from dataset_doctor.files.reading import Unreadable, read_regular
from dataset_doctor.files.tree import Tree, join_trees
from dataset_doctor.formats.manifest import NAME, Document, document

MAX_LABEL_BYTES = 64 << 20


def label_beside(image: str) -> str:
    """Name the label file that YOLO's trainers look for: the last `/images/` becomes `/labels/`.

    >>> label_beside("images/train/a.jpg"), label_beside("../data/a.b.jpg")
    ('labels/train/a.txt', '../data/a.b.txt')
    """
    before, folder, after = f"/{image}".rpartition("/images/")
    label = f"{before}/labels/{after}"[1:] if folder else image
    return f"{label[: label.rfind('.')]}.txt"


def digest(root: Path, names: Iterable[str]) -> str:
    """Give a hash of the label files and their names; one that cannot be read counts as empty."""
    whole = hashlib.sha256()
    for name in names:
        try:
            data = read_regular(root / name, MAX_LABEL_BYTES)
        except Unreadable:
            data = b""
        whole.update(f"{len(name.encode('utf-8', 'surrogatepass'))} {len(data)} ".encode())
        whole.update(name.encode("utf-8", "surrogatepass"))
        whole.update(data)
    return f"sha256:{whole.hexdigest()}"


def with_elsewhere(tree: Tree) -> Tree:
    """Add to a tree the images (and YOLO's labels) elsewhere that the manifest at its root leads to; what is wrong becomes a problem."""
    stated, _ = document(tree)
    if stated is None or stated.options.materialize != "list" or stated.source.root is None:
        return tree
    place = posixpath.normpath(stated.source.root)
    if not place.startswith("..") or "\0" in place:
        return tree  # what lies inside has been walked
    images, labels = _present(tree.root, place, stated)
    problems = []
    listed = len({one.source for one in stated.images})
    if not images:
        problems.append(f"its images are in {place}, and they are not there: put them back, or name their folder with --images")
    elif len(images) < listed:
        problems.append(f"its images are in {place}, and {listed - len(images):,} of {listed:,} are not there")
    if labels and digest(tree.root / place, [posixpath.relpath(name, place) for name in labels]) != stated.source.labels:
        problems.append(
            f"the labels in {place} have changed since it was written, and are not read: add --images with that folder to read them"
        )
        labels = []
    outside = Tree(
        root=tree.root,
        files=tuple(sorted({*images, *labels})),
        links=frozenset(),
        problems=tuple(Problem("config-invalid", Place(file=NAME), text) for text in problems),
    )
    return join_trees(tree, outside, place)


def _present(root: Path, place: str, stated: Document) -> tuple[list[str], list[str]]:
    """List the images of a manifest that are there, and the label files beside them, relative to the root."""
    images, labels = [], []
    for name in sorted({one.source for one in stated.images if suffix(one.source) in IMAGE_SUFFIXES and "\0" not in one.source}):
        if name.startswith("/"):
            continue
        path = posixpath.normpath(posixpath.join(place, name))
        if _is_regular(root, path):
            images.append(path)
        if stated.source.labels is not None:
            label = posixpath.normpath(posixpath.join(place, label_beside(name)))
            if _is_regular(root, label):
                labels.append(label)
    return images, sorted(set(labels))


def _is_regular(root: Path, name: str) -> bool:
    try:
        return stat.S_ISREG(os.stat(os.path.join(root, name)).st_mode)  # noqa: PTH116 (several times faster than pathlib)
    except (OSError, ValueError):
        return False
