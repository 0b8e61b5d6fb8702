"""Which JSON files are COCO label files, what each is for, and how their text is opened.

Only the first and last 64 KiB of a file are looked at to recognise it.
"""

from __future__ import annotations

import codecs
import json
import mmap
import os
import posixpath
import re
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from dataset_doctor.files.reading import Unreadable, open_inside, reason
from dataset_doctor.files.splits import canonical_split, is_split_name
from dataset_doctor.files.tree import Tree

SNIFF = 64 << 10
MAX_WHOLE = 64 << 20
"""Largest file that is read whole; a larger one is mapped into memory."""

MAX_RECODED = 512 << 20
"""Largest file in another encoding than UTF-8 that is read: it has to be rewritten in memory."""

TASKS = ("instances", "lvis", "", "person_keypoints", "keypoints", "stuff", "panoptic", "captions", "image_info")
"""What a file's name says it holds, the first wanted first; "" where the name says nothing. The last four hold no boxes to count."""

_WITHOUT_BOXES = frozenset({"stuff", "panoptic", "captions", "image_info"})
_TASK = re.compile(r"^(instances|person_keypoints|keypoints|stuff|panoptic|captions|image_info|lvis)(?:[-_.]v\d+(?:\.\d+)?)?(?:[-_.]|$)")
_NO_SPLIT = re.compile(
    r"^(?:default|all|annotations?|labels?|results?|coco|dataset|data|instances|v?\d*|export|_annotations|gt|ground_?truth)$", re.I
)
_LABEL_FOLDERS = frozenset({"annotations", "annotation", "anns", "labels", "json", "jsons", "coco"})
_LIST = re.compile(rb'"(images|annotations|categories)"\s*:\s*\[\s*(?:\{|\])')
_FILE_NAME = re.compile(rb'"file_name"\s*:\s*"((?:[^"\\]|\\.){1,1000})"')
_CATEGORIES = re.compile(rb'"categories"\s*:\s*(?=\[)')
_STRUCTURAL = re.compile(rb'"(?:[^"\\]|\\.)*"?|[\[\]{}]', re.DOTALL)


@dataclass(frozen=True, slots=True)
class Sniffed:
    """A `.json` file that looks like COCO: task by its name, classes where they could be seen, some image names, folder of its dataset."""

    name: str
    task: str
    home: str
    classes: frozenset[tuple[str, str]] | None
    names: tuple[str, ...]
    size: int


def sniff(tree: Tree, name: str) -> Sniffed | str | None:
    """Look at a file's beginning and end. Give a reason where it is something else worth naming, None where it says nothing."""
    if name in tree.links:
        return "it is a link that leads outside the dataset"
    try:
        with _opened(tree, name) as handle:
            size = os.fstat(handle.fileno()).st_size
            head = handle.read(SNIFF)
            tail = b""
            if size > SNIFF:
                handle.seek(max(SNIFF, size - SNIFF))
                tail = handle.read(SNIFF)
    except Unreadable as error:
        return str(error)
    except OSError as error:
        return reason(error)
    encoding = _encoding(head)
    if encoding != "utf-8":
        head = head[: len(head) // 4 * 4].decode(encoding, "ignore").encode("utf-8", "ignore")
        tail = b""
    if (other := _look_alike(head)) is not None:
        return other
    lists = _top_lists(head) | {found[1] for found in _LIST.finditer(tail)}
    shaped = (b"image_id" in head and b"annotations" in lists) or (b'"file_name"' in head and b"images" in lists)
    if len(lists) < 2 and not (lists and shaped and (size > 2 * SNIFF or b"bbox" in head)):
        return None
    task = _TASK.match(posixpath.basename(name))
    return Sniffed(
        name=name,
        task=task[1] if task else "",
        home=_home(name),
        classes=_classes_in(head) or _classes_in(tail),
        names=tuple(found[1].decode("utf-8", "replace").replace("\\/", "/") for found in _FILE_NAME.finditer(head))[:200],
        size=size,
    )


def _look_alike(head: bytes) -> str | None:
    """Tell what a JSON file is that is not COCO; "" where it is nothing known, None where it may be COCO."""
    text = head.lstrip()
    if text.startswith(b"["):
        if b'"image_id"' in text and (b'"category_id"' in text or b'"score"' in text):
            return "a list of COCO results (predictions), not a dataset"
        if b'"coordinates"' in text and b'"annotations"' in text:
            return "CreateML annotations, a format not supported"
        if b'"annotations"' in text and b'"result"' in text:
            return "a raw Label Studio export; export it as COCO"
        return ""
    if not text.startswith(b"{"):
        return ""
    if b'"_via_img_metadata"' in text or (b'"regions"' in text and b'"shape_attributes"' in text):
        return "a VGG Image Annotator project, a format not supported"
    if b'"shapes"' in text and (b'"imagePath"' in text or b'"imageData"' in text):
        return ""  # LabelMe
    if re.match(rb'\{\s*"type"\s*:\s*"dataset"\s*,', text):
        return "Ultralytics NDJSON, a format not supported"
    return None


def _top_lists(text: bytes) -> set[bytes]:
    """Find which of the three lists stand at the top level of an object, as far as its beginning shows."""
    depth = 0
    lists = set()
    for token in _STRUCTURAL.finditer(text):
        if token[0] in (b"{", b"["):
            depth += 1
        elif token[0] in (b"}", b"]"):
            depth -= 1
        elif depth == 1 and (found := _LIST.match(text, token.start())):
            lists.add(found[1])
    return lists


def _classes_in(text: bytes) -> frozenset[tuple[str, str]] | None:
    """Read the categories, if their whole list lies in this part of the file."""
    found = _CATEGORIES.search(text)
    if not found:
        return None
    part = text[found.end() :]
    try:
        value, _ = json.JSONDecoder().raw_decode(part.decode("utf-8", "ignore"))
    except (ValueError, RecursionError):
        return None
    return frozenset((str(one.get("id")), str(one.get("name"))) for one in value if isinstance(one, dict)) or None


def _home(name: str) -> str:
    """Give the folder of the dataset that a label file belongs to: above folders for labels and for splits."""
    folder = posixpath.dirname(name)
    while folder and (posixpath.basename(folder).casefold() in _LABEL_FOLDERS or is_split_name(posixpath.basename(folder))):
        folder = posixpath.dirname(folder)
    return folder


def choose(tree: Tree, members: list[Sniffed]) -> tuple[list[Sniffed], list[str]]:
    """Pick one file for each part of a dataset where several describe it; say which are left and why."""
    with_boxes = any(one.task not in _WITHOUT_BOXES for one in members)
    spelled = spellings([one.name for one in members])
    chosen: list[Sniffed] = []
    left: list[str] = []
    by_split: dict[str, list[Sniffed]] = defaultdict(list)
    for one, split in zip(members, spelled, strict=True):
        by_split[canonical_split(split)].append(one)
    for files in by_split.values():
        files.sort(key=lambda one: (TASKS.index(one.task), len(one.name), one.name))
        best = files[0].task
        for one in files:
            if (with_boxes and one.task in _WITHOUT_BOXES) or one.task != best:
                left.append(f"{one.name} is not read: {one.task or 'another'} annotations of the same images.")
            elif any(_same_images(tree, one, other) for other in chosen if canonical_split(other.name) and other in files):
                left.append(f"{one.name} is not read: it describes the same images as another file.")
            else:
                chosen.append(one)
    return sorted(chosen, key=lambda one: one.name), left


def _same_images(tree: Tree, one: Sniffed, other: Sniffed) -> bool:
    """Tell whether two files describe the same images, as far as the names at their beginnings say."""
    names, theirs = set(one.names), set(other.names)
    shared = names & theirs
    if len(shared) * 2 <= min(len(names), len(theirs)):
        return False
    folder, their_folder = posixpath.dirname(one.name), posixpath.dirname(other.name)
    if folder == their_folder:
        return True
    # The same names beside two label files are different images, not the same ones; where the images stayed elsewhere, so did the folders.
    return not any(
        posixpath.join(root, folder, name) in tree.known and posixpath.join(root, their_folder, name) in tree.known
        for root in ("", tree.image_root or "")
        for name in shared
    )


def belong_together(tree: Tree, files: list[Sniffed], more: list[Sniffed]) -> bool:
    """Tell whether label files under two folders are parts of one dataset: the same classes, and not the same images twice."""
    classes = {one.classes for one in [*files, *more] if one.classes}
    if len(classes) > 1 or not any(one.classes for one in files) or not any(one.classes for one in more):
        return False
    return not any(_same_images(tree, one, other) for one in files for other in more)


def spellings(names: Sequence[str]) -> list[str]:
    """Give the split of each label file as its name or folder spells it; "all" where nothing tells the files apart."""
    told = [_spelling(name) for name in names]
    open_ones = [row for row, split in enumerate(told) if split is None]
    rest = {row: _rest(names[row]) or posixpath.basename(posixpath.dirname(names[row])) or "all" for row in open_ones}
    shards = len({re.sub(r"[\d\W_]+", "", text) for text in rest.values()}) <= 1
    return [split if split is not None else "all" if shards else rest[row] for row, split in enumerate(told)]


def _spelling(name: str) -> str | None:
    """Read the split from a file's name, else from the folders right above it."""
    rest = _rest(name)
    usual = {canonical_split(token): token for token in re.split(r"[^A-Za-z0-9]+", rest) if is_split_name(token)}
    if len(usual) == 1:
        return next(iter(usual.values()))
    for folder in reversed(posixpath.dirname(name).split("/")[-2:]):
        if is_split_name(folder):
            return folder
    return rest if rest and _TASK.match(posixpath.basename(name)) else None


def _rest(name: str) -> str:
    """Take what a file's name says beyond task and format: instances_minival.json → minival."""
    stem = posixpath.basename(name)
    stem = stem[: -len(posixpath.splitext(stem)[1])].removesuffix(".coco") if "." in stem else stem
    rest = _TASK.sub("", stem)
    return "" if _NO_SPLIT.match(rest) else rest


# Opening ------------------------------------------------------------------------------------------------------------


def _opened(tree: Tree, name: str) -> Any:
    """Open a listed regular file for reading bytes; never blocks on a pipe, never follows a link out of the dataset.

    Raises:
        Unreadable: with the reason.
    """
    if name in tree.links:
        raise Unreadable("a link that leads outside the dataset, not followed")
    return os.fdopen(open_inside(tree.root, name), "rb")


def _encoding(head: bytes) -> str:
    """Tell UTF-8 from the wider encodings, with or without a byte-order mark."""
    if head.startswith((codecs.BOM_UTF32_LE, codecs.BOM_UTF32_BE)):
        return "utf-32"
    if head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return "utf-16"
    if head.startswith(codecs.BOM_UTF8):
        return "utf-8-sig"
    return {b"\0": "utf-16-be", b"{": "utf-16-le"}.get(head[:1], "utf-8") if head[:2].count(b"\0") == 1 else "utf-8"


def text_of(tree: Tree, name: str) -> tuple[Any, str | None]:
    """Bring a label file into memory, or map it there, as UTF-8; the second value says what was unusual about its encoding.

    Raises:
        Unreadable: with the reason.
    """
    try:
        with _opened(tree, name) as handle:
            size = os.fstat(handle.fileno()).st_size
            if not size:
                raise Unreadable("the file is empty")
            # A mapped file that somebody cuts off ends the process (SIGBUS), so only those are mapped that would fill the memory.
            data: Any = handle.read() if size <= MAX_WHOLE else mmap.mmap(handle.fileno(), 0, access=mmap.ACCESS_READ)
            if not data:
                raise Unreadable("the file is empty")
            encoding = _encoding(data[:4])
            if encoding == "utf-8":
                return data, None
            if size > MAX_RECODED:
                raise Unreadable(f"{encoding.upper()} and larger than {MAX_RECODED >> 20:,} MiB")
            if encoding == "utf-8-sig":
                return data[3:], "starts with a byte-order mark"
            return data[:].decode(encoding, "replace").lstrip("\ufeff").encode("utf-8", "replace"), f"{encoding[:6].upper()}, not UTF-8"
    except (OSError, ValueError) as error:
        raise Unreadable(reason(error)) from error
