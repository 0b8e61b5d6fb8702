"""What a COCO file says of where its images come from: licences that contradict each other, and names of persons."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any

import msgspec

from dataset_doctor.dataset import Place, Problem
from dataset_doctor.formats.personal import personal_data

WHOLE_BYTES = 8 << 20
"""Files up to this size are looked at whole; of larger ones, the first and last 256 KiB."""

ENDS_BYTES = 256 << 10
_LICENCES = re.compile(rb'"licenses"[ \t\r\n]*:[ \t\r\n]*(?=\[)')
_LICENCE_OF_IMAGE = re.compile(rb'"license"[ \t\r\n]*:[ \t\r\n]*(-?\d{1,18}|"[^"\\]{0,80}")(?=[ \t\r\n,}])')
_ID = re.compile(rb'"id"[ \t\r\n]*:[ \t\r\n]*(-?\d{1,18}|"[^"\\]{0,80}")(?=[ \t\r\n,}])')
_LONGEST_LIST = 64 << 10


def provenance(name: str, data: Any, line_of: Callable[[int], int]) -> list[Problem]:
    """Name what a file says of persons, and images whose licence it does not list.

    Args:
        name: The file.
        data: Its text, as bytes or mapped.
        line_of: Gives the 1-based line of a byte.
    """
    whole = len(data) <= WHOLE_BYTES
    document: dict[str, Any] | None = None
    parts = [(0, bytes(data[:]))] if whole else [(0, bytes(data[:ENDS_BYTES])), (len(data) - ENDS_BYTES, bytes(data[-ENDS_BYTES:]))]
    problems = []
    for start, part in parts:
        for at, what in personal_data(part.decode("latin-1")):
            text = what.encode("latin-1").decode("utf-8", "replace")
            document = document if document is not None else _decoded(data) if whole else {}
            pointer = _pointer(document, re.sub(r"^(user folder|e-mail address|annotator) ", "", text))
            problems.append(Problem("personal-data", Place(file=name, line=line_of(start + at), pointer=pointer), text))
    listed = next((ids for _, part in parts if (ids := _listed(part)) is not None), None)
    if not listed:
        problems.append(Problem("licence-missing", Place(file=name, pointer="/licenses"), "the file lists no licence"))
        return problems
    unknown: dict[bytes, int] = {}
    for start, part in parts:
        for match in _LICENCE_OF_IMAGE.finditer(part):
            if match[1] not in listed:
                unknown.setdefault(match[1], start + match.start())
    for licence, byte in list(unknown.items())[:20]:
        document = document if document is not None else _decoded(data) if whole else {}
        pointer = _licence_pointer(document, licence)
        text = f"the licence {licence.decode('utf-8', 'replace')} is not in the file's list"
        problems.append(Problem("licence-conflict", Place(file=name, line=line_of(byte), pointer=pointer), text))
    return problems


def _listed(part: bytes) -> set[bytes] | None:
    """Give the ids of the file's list of licences, as written; None where there is no such list here."""
    found = _LICENCES.search(part)
    if not found:
        return None
    text = part[found.end() : found.end() + _LONGEST_LIST]
    return {match[1] for match in _ID.finditer(text, 0, text.find(b"]") + 1)}


def _licence_pointer(document: dict[str, Any], licence: bytes) -> str | None:
    images = document.get("images")
    for index, image in enumerate(images if isinstance(images, list) else ()):
        if isinstance(image, dict) and "license" in image and msgspec.json.encode(image["license"]) == licence:
            return f"/images/{index}/license"
    return None


def _pointer(document: dict[str, Any], needle: str) -> str | None:
    """Find the first text in a JSON file that holds another."""
    wanted = needle.replace("\\\\", "\\")
    return next(_pointers(document, wanted, "", 0), None)


def _pointers(value: Any, wanted: str, pointer: str, depth: int) -> Iterator[str]:
    if isinstance(value, str):
        if wanted in value:
            yield pointer
    elif depth < 8 and isinstance(value, dict | list):
        for key, below in value.items() if isinstance(value, dict) else enumerate(value):
            if isinstance(below, str | dict | list):
                yield from _pointers(below, wanted, f"{pointer}/{key}", depth + 1)


def _decoded(data: Any) -> dict[str, Any]:
    try:
        value = msgspec.json.decode(bytes(data[:]))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}
