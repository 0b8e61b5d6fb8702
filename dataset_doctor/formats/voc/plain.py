"""What a plain VOC file looks like: regular expressions that eat it piece by piece, and what its repeated blocks of text say."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from enum import IntEnum
from typing import TypeVar

from dataset_doctor.dataset import Flag


class Origin(IntEnum):
    """Who wrote a file, where it says so in a way that tells how its corners are counted."""

    SILENT = 0
    DEVKIT = 1
    DATUMARO = 2
    LABEL_STUDIO = 3


FLAGS = (("difficult", Flag.DIFFICULT.value), ("truncated", Flag.TRUNCATED.value), ("occluded", Flag.OCCLUDED.value))
TAKEN_FOR_GRANTED = frozenset({"pose", "truncated", "difficult"})
_TEXT = "[^<>&\\x00-\\x1f]*"
_GAP = "[ \\t\\r\\n]*"
_NUMBER = f"{_GAP}([-+.0-9eE]+){_GAP}"


def _element(tag: str, content: str) -> str:
    return f"<{tag}>{content}</{tag}>{_GAP}"


def _leaves(*tags: str) -> str:
    return "(?:" + "|".join(_element(tag, _TEXT) for tag in tags) + ")*"


_SOURCE = _leaves("database", "annotation", "image", "flickrid")
_OWNER = _leaves("flickrid", "name")
_FLAG_LEAVES = re.compile(_leaves("pose", "truncated", "difficult", "occluded"))
# Which leaves these are is asked once for each text that a block of them has, in `plain_flags`.
_ANY_LEAVES = f"(?:<[a-z]+>{_TEXT}</[a-z]+>{_GAP})*"
HEAD = re.compile(
    r"""(?:<\?xml version="1\.0"(?: encoding="[A-Za-z][A-Za-z0-9._-]*")?(?: standalone="(?:yes|no)")?\?>)?"""
    + f"""{_GAP}<annotation(?: verified="(?:yes|no)")?>{_GAP}(?:{_element("folder", _TEXT)})?"""
    + f"(?:{_element('filename', f'({_TEXT})')})(?:{_element('path', f'({_TEXT})')})?"
    + f"(?:{_element('source', f'({_GAP}{_SOURCE})')})?"
    + f"(?:{_element('owner', f'({_GAP}{_OWNER})')})?"
    + f"<size>{_GAP}{_element('width', '([0-9]{1,9})')}{_element('height', '([0-9]{1,9})')}"
    + f"(?:{_element('depth', _TEXT)})?</size>{_GAP}"
    + f"(?:{_element('segmented', _TEXT)})?"
)
OBJECT = re.compile(
    f"<object>{_GAP}{_element('name', f'({_TEXT})')}({_ANY_LEAVES})<bndbox>{_GAP}"
    + "".join(_element(tag, _NUMBER) for tag in ("xmin", "ymin", "xmax", "ymax"))
    + f"</bndbox>{_GAP}({_ANY_LEAVES})</object>{_GAP}"
)
TAIL = re.compile(f"</annotation>{_GAP}")
_LEAF = re.compile("<([a-z]+)>([^<]*)</")


def _leaf_texts(block: str) -> dict[str, str] | None:
    """Split elements that hold only text; None where one comes twice."""
    leaves = _LEAF.findall(block)
    texts = dict(leaves)
    return texts if len(texts) == len(leaves) else None


def plain_flags(block: str) -> int | None:
    """Give the flags of an object's leaves; None where one is not simply 0 or 1."""
    texts = _leaf_texts(block) if _FLAG_LEAVES.fullmatch(block) else None
    if texts is None or any(texts.get(key, "0") not in ("0", "1") for key, _ in FLAGS):
        return None
    return sum(bit for key, bit in FLAGS if texts.get(key) == "1") | missing_keys(texts)


def missing_keys(fields: Mapping[str, str]) -> int:
    """Give the flag for an object that leaves out an element which some readers take for granted."""
    return 0 if fields.keys() >= TAKEN_FOR_GRANTED else Flag.NO_VOC_KEYS.value


def writer_of_file(database: str, annotation: str, image: str, owner: str) -> Origin:
    """Tell who wrote a file from the text of its `source` and `owner`."""
    if owner == "Label Studio":
        return Origin.LABEL_STUDIO
    if database == annotation == image == "Unknown":
        return Origin.DATUMARO
    return Origin.DEVKIT if re.fullmatch(r"\s*The VOC(19|20)\d\d Database\s*", database) else Origin.SILENT


def plain_writer(block: str) -> Origin | None:
    """Tell who wrote a file from its `source` and `owner`, parted by a NUL; None where an element comes twice."""
    source, owner = (_leaf_texts(part) for part in block.split("\0"))
    if source is None or owner is None:
        return None
    return writer_of_file(source.get("database", ""), source.get("annotation", ""), source.get("image", ""), owner.get("name", ""))


Value = TypeVar("Value")


def remembered(memory: dict[str, Value], read: Callable[[str], Value], block: str) -> Value:
    """Read a block of text that most files repeat word for word."""
    if block in memory:
        return memory[block]
    value = read(block)
    if len(memory) < 1_000:
        memory[block] = value
    return value
