"""A dataset in memory: its files by path, and the small changes that plant defects into them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from dataset_doctor.dataset import Place


@dataclass(frozen=True, slots=True)
class Link:
    """A symbolic link, by what it says."""

    target: str


Files = dict[str, "bytes | Link"]
"""Contents by path, `/` between parts."""


@dataclass(frozen=True, slots=True)
class Plant:
    """One planted defect.

    check   the name of the check that has to find it
    what    the defect in a few words
    change  plants it
    where   what the audit has to point at; what stands as None is left open
    alone   it concerns the dataset as a whole, or would hide others: it gets a dataset of its own
    also    checks that find it too, because one cannot be had without the other
    """

    check: str
    what: str
    change: Callable[[Files], object]
    where: Place
    alone: bool = False
    also: tuple[str, ...] = ()


def in_turn(*changes: Callable[[Files], object]) -> Callable[[Files], None]:
    """Make one change of several."""

    def change(files: Files) -> None:
        for one in changes:
            one(files)

    return change


def text(files: Files, name: str) -> str:
    """Give the text of a file."""
    content = files[name]
    assert isinstance(content, bytes)
    return content.decode()


def swap(files: Files, name: str, old: str, new: str) -> None:
    """Replace the first occurrence of a text in a file, which has to be there."""
    before = text(files, name)
    assert old in before, f"{name} holds no {old!r}"
    files[name] = before.replace(old, new, 1).encode()


def add(files: Files, name: str, more: str) -> None:
    """Add a text at the end of a file."""
    files[name] = (text(files, name) + more).encode()


def recode(files: Files, name: str, old: str, new: bytes) -> None:
    """Replace a text by bytes that are not UTF-8."""
    content = files[name]
    assert isinstance(content, bytes) and old.encode() in content
    files[name] = content.replace(old.encode(), new, 1)


def cut(files: Files, name: str, share: float = 0.7) -> None:
    """Cut a text file off at the end of a line, as an interrupted copy may."""
    content = files[name]
    assert isinstance(content, bytes)
    files[name] = content[: content.index(b"\n", int(len(content) * share)) + 1]


def drop(files: Files, *beginnings: str) -> None:
    """Delete the files whose paths begin with one of the texts; there have to be some for each."""
    for beginning in beginnings:
        names = [name for name in files if name.startswith(beginning)]
        assert names, f"no file begins with {beginning}"
        for name in names:
            del files[name]


def rename(files: Files, renamed: dict[str, str]) -> None:
    """Rename images: their stems, in file names and in what labels and lists say."""
    for name in list(files):
        content, new = files.pop(name), name
        for old, stem in renamed.items():
            new = new.replace(old, stem)
            if isinstance(content, bytes) and not name.endswith(".jpg"):
                content = content.replace(old.encode(), stem.encode())
        files[new] = content


def replace(files: Files, others: Files) -> None:
    """Put other files in place of all."""
    files.clear()
    files.update(others)
