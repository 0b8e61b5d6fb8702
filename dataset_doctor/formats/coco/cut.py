"""COCO label files cut at their records, so that a changed file is pasted together from the bytes of the old one.

The text between two records that stay neighbours is kept with them, so what nothing changes comes out byte for byte. Records that get
another id are rewritten thousands at a time: only the digits of their ids change.
"""

from __future__ import annotations

import codecs
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from dataset_doctor.files.tree import Tree
from dataset_doctor.formats.coco.arrays import PIECE, Records, Restart, Strict, read_arrays
from dataset_doctor.formats.coco.files import text_of

ARRAYS = ("images", "annotations", "categories")
BLOCK = 20_000
"""Records that are rewritten at once."""

_RAW = msgspec.json.Decoder(msgspec.Raw)
_RAWS = msgspec.json.Decoder(list[msgspec.Raw])
_MEMBERS = msgspec.json.Decoder(dict[str, msgspec.Raw])
_SPACE = re.compile(rb"[ \t\r\n]*")
_COMMA = re.compile(rb"[ \t\r\n]*,[ \t\r\n]*")
_KEY = re.compile(rb'[ \t\r\n]*("(?:[^"\\\x00-\x1f]|\\.)*")[ \t\r\n]*:[ \t\r\n]*')
_END = re.compile(rb"[ \t\r\n]*\}[ \t\r\n\x00]*\Z")
_SEPARATOR = re.compile(rb"\}[ \t\r\n]*,[ \t\r\n]*(?=\{)")
_TRAILING = re.compile(r"trailing characters \(byte (\d+)\)")
_IDS = re.compile(rb'("(?:image_)?id"[ \t\r\n]*:[ \t\r\n]*)(-?\d{1,18})(?=[ \t\r\n]*[,}])')
_SALVAGED = re.compile(rb'"(info|licenses)"[ \t\r\n]*:[ \t\r\n]*(?=[\[{])')


class Unsound(Exception):
    """The text is not JSON as it should be, so it cannot be cut by length alone."""


@dataclass(frozen=True, slots=True, eq=False)
class Spans:
    """Where the records of an array are: bytes `start` to `stop` each; the array's brackets enclose `opening` to `closing`."""

    start: NDArray[np.int64]
    stop: NDArray[np.int64]
    opening: int
    closing: int

    def __len__(self) -> int:
        return len(self.start)


@dataclass(frozen=True, slots=True, eq=False)
class Cut:
    """A label file cut into its members. `others` are the values of all but the three arrays, as bytes, in file order with their keys."""

    view: memoryview
    arrays: dict[str, Spans]
    others: dict[str, bytes]
    order: tuple[str, ...]

    def record(self, key: str, index: int) -> bytes:
        """Give the bytes of one record."""
        spans = self.arrays[key]
        return bytes(self.view[int(spans.start[index]) : int(spans.stop[index])])

    def separator(self, key: str) -> bytes:
        """Give what stands between two records."""
        spans = self.arrays.get(key)
        return bytes(self.view[int(spans.stop[0]) : int(spans.start[1])]) if spans is not None and len(spans) > 1 else b","


def cut(tree: Tree, name: str) -> Cut:
    """Cut a label file; of one that is damaged, what can be read is taken, with null in the place of what cannot.

    Raises:
        Unreadable: the file cannot be opened.
    """
    data, _ = text_of(tree, name)
    try:
        if _is_utf8(data):
            return _cut(data)
    except (Unsound, msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        pass
    return _mended(data)


def _is_utf8(data: Any) -> bool:
    """Tell whether text is UTF-8 throughout; what cuts it looks at no text inside the records."""
    decoder, view = codecs.getincrementaldecoder("utf-8")(), memoryview(data)
    try:
        for start in range(0, len(view), PIECE):
            decoder.decode(view[start : start + PIECE])
        decoder.decode(b"", final=True)
    except UnicodeDecodeError:
        return False
    return True


def _cut(data: Any) -> Cut:
    view = memoryview(data)
    at = _space(data, 0)
    if bytes(view[at : at + 1]) != b"{":
        raise Unsound
    at += 1
    arrays: dict[str, Spans] = {}
    others: dict[str, bytes] = {}
    order: list[str] = []
    while True:
        found = _KEY.match(data, at)
        if not found:
            if not order and _END.match(data, at):
                return Cut(view, arrays, others, ())
            raise Unsound
        key, at = json.loads(found[1]), found.end()
        if key in order:
            raise Unsound
        order.append(key)
        if key in ARRAYS and bytes(view[at : at + 1]) == b"[":
            arrays[key] = _records(data, view, at + 1)
            at = arrays[key].closing + 1
        else:
            end = _value_end(view, at)
            others[key] = bytes(view[at:end])
            at = end
        if _END.match(data, at):
            return Cut(view, arrays, others, tuple(order))
        comma = _COMMA.match(data, at)
        if not comma:
            raise Unsound
        at = comma.end()


def _space(data: Any, at: int) -> int:
    return _SPACE.match(data, at).end()  # type: ignore[union-attr]


def _value_end(view: memoryview, at: int) -> int:
    """Find where a value ends: the decoder complains of what follows it."""
    try:
        _RAW.decode(view[at:])
    except msgspec.DecodeError as error:
        told = _TRAILING.search(str(error))
        if told is None:
            raise
        return at + int(told[1]) - 1
    return len(view)


def _records(data: Any, view: memoryview, opening: int) -> Spans:
    """Cut an array into records, some MiB at a time; `opening` is the byte after its bracket."""
    starts: list[NDArray[np.int64]] = []
    stops: list[NDArray[np.int64]] = []
    at = _space(data, opening)
    while bytes(view[at : at + 1]) != b"]":
        raws, ended = _piece(data, view, at)
        length = np.fromiter(map(len, raws), np.int64, len(raws))
        start = _starts(data, view, at, length)
        starts.append(start)
        stops.append(start + length)
        at = _space(data, int(stops[-1][-1]))
        if not ended:
            comma = _COMMA.match(data, at)
            if not comma:
                raise Unsound
            at = comma.end()
        elif bytes(view[at : at + 1]) != b"]":
            raise Unsound
    none = np.zeros(0, np.int64)
    return Spans(np.concatenate([none, *starts]), np.concatenate([none, *stops]), opening, at)


def _piece(data: Any, view: memoryview, at: int) -> tuple[list[msgspec.Raw], bool]:
    """Decode the next records of an array; tell also whether the array ends with them."""
    stop = min(at + PIECE, len(view))
    while True:
        guesses = [found.start() + 1 for found in _SEPARATOR.finditer(data, max(at, stop - (PIECE >> 5)), stop)] if stop < len(view) else []
        for end in [*reversed(guesses[-3:]), *([stop] if not guesses else [])]:
            buffer = memoryview(b"".join((b"[", view[at:end], b"]" if end < len(view) else b"")))
            try:
                return _RAWS.decode(buffer), False
            except msgspec.DecodeError as error:
                told = _TRAILING.search(str(error))
                if told is not None:
                    return _RAWS.decode(buffer[: int(told[1]) - 1]), True
        if stop == len(view):
            raise Unsound
        stop = min(stop + PIECE, len(view))


def _starts(data: Any, view: memoryview, at: int, length: NDArray[np.int64]) -> NDArray[np.int64]:
    """Find where records of known lengths begin, the first at `at`: at once where what separates them is the same each time."""
    start = np.full(len(length), at, np.int64)
    if len(length) == 1:
        return start
    first_stop = at + int(length[0])
    comma = _COMMA.match(data, first_stop)
    if not comma:
        raise Unsound
    gap = comma.end() - first_stop
    start[1:] += np.cumsum(length[:-1] + gap)
    if start[-1] + length[-1] <= len(view):
        text = np.frombuffer(view, np.uint8)
        between = text[(start[1:, None] - gap) + np.arange(gap)]
        if (between == text[first_stop : first_stop + gap]).all() and not np.isin(text[start], np.frombuffer(b" \t\r\n", np.uint8)).any():
            return start
    for row in range(1, len(length)):
        comma = _COMMA.match(data, int(start[row - 1] + length[row - 1]))
        if not comma:
            raise Unsound
        start[row] = comma.end()
    return start


def _mended(data: Any) -> Cut:
    """Take what can be read of a damaged file; records keep their places in the arrays, null stands for lost ones."""
    lists: dict[str, dict[int, bytes]] = {key: {} for key in ARRAYS}
    marks = {
        "images": frozenset({"file_name", "coco_url", "height", "width"}),
        "annotations": frozenset({"image_id"}),
        "categories": frozenset({"name", "supercategory"}),
    }
    strict: dict[str, Strict[Any]] = {}  # records are wanted as values, none as columns
    for event in read_arrays(data, strict, marks, lambda done: None):
        if isinstance(event, Restart) and event.key in lists:
            lists[event.key].clear()
        elif isinstance(event, Records):
            lists[event.key].update(zip(event.indices, map(encoded, event.values), strict=True))
    others: dict[str, bytes] = {}
    for found in _SALVAGED.finditer(data):
        try:
            value = bytes(memoryview(data)[found.end() : _value_end(memoryview(data), found.end())])
            value.decode()
        except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
            continue
        others.setdefault(found[1].decode(), value)
    parts = [b"{"]
    size = 1

    def put(part: bytes) -> int:
        nonlocal size
        parts.append(part)
        size += len(part)
        return size

    for key, value in others.items():
        put(b'"%b": %b, ' % (key.encode(), value))
    arrays = {}
    for number, (key, records) in enumerate(lists.items()):
        opening = put(b'%b"%b": [' % (b", " if number else b"", key.encode()))
        rows = [records.get(index, b"null") for index in range(max(records, default=-1) + 1)]
        stops = np.cumsum([len(row) + 1 for row in rows], dtype=np.int64) + opening - 1
        closing = put(b",".join(rows))
        arrays[key] = Spans(stops - np.array([len(row) for row in rows], np.int64), stops, opening, closing)
        put(b"]")
    put(b"}")
    return Cut(memoryview(b"".join(parts)), arrays, others, (*others, *ARRAYS))


# Writing records ----------------------------------------------------------------------------------------------------


def encoded(value: Any) -> bytes:
    """Write a value as JSON in plain ASCII; a number that is none (NaN, infinity) becomes null."""
    if type(value) is int:
        return b"%d" % value
    text = json.dumps(value, allow_nan=True)
    if "NaN" in text or "Infinity" in text:
        text = json.dumps(json.loads(text, parse_constant=lambda _: None))
    return text.encode("ascii")


def edited(record: bytes, changes: dict[str, bytes]) -> bytes:
    """Give a record with other values of some members, as JSON; members that it does not have are added at its end.

    >>> edited(b'{"id":1, "score":1.50, "id_":{"id":1}}', {"id": b"7"})
    b'{"id": 7, "score": 1.50, "id_": {"id":1}}'
    """
    members = members_of(record) | changes
    return b"{" + b", ".join([_key(key) + value for key, value in members.items()]) + b"}"


@lru_cache(maxsize=256)
def _key(name: str) -> bytes:
    return encoded(name) + b": "


def members_of(record: bytes) -> dict[str, bytes]:
    """Give the members of a record, undecoded; none where it is no object."""
    try:
        return {key: bytes(raw) for key, raw in _MEMBERS.decode(record).items()}
    except msgspec.DecodeError:  # a surrogate without a partner, which strict readers refuse
        value = json.loads(record)
        return {key: encoded(member) for key, member in value.items()} if isinstance(value, dict) else {}


def member(members: Mapping[str, bytes], key: str) -> Any:
    """Give the value of a member; None where there is none, or one that Python does not take (a number of thousands of digits)."""
    try:
        return json.loads(members.get(key, b"null"))
    except (ValueError, RecursionError):
        return None


def runs(part: Cut, key: str, kept: NDArray[np.int64]) -> Iterator[memoryview]:
    """Give the bytes of records that stay, without what separates the runs; neighbours come in one piece.

    Args:
        part: The file they come from.
        key: The array.
        kept: Their indices, rising.
    """
    if not len(kept):
        return
    spans = part.arrays[key]
    ends = np.append(np.flatnonzero(np.diff(kept) != 1), len(kept) - 1)
    begins = np.append(0, ends[:-1] + 1)
    for start, stop in zip(spans.start[kept[begins]].tolist(), spans.stop[kept[ends]].tolist(), strict=True):
        yield part.view[start:stop]


def renumbered(
    part: Cut,
    indices: NDArray[np.int64],
    old: tuple[list[Any], list[Any]],
    new: tuple[list[Any], list[Any]],
    extra: Sequence[dict[str, bytes]] | None = None,
) -> Iterator[bytes]:
    """Give annotations with other ids, thousands in a piece; nothing else in them changes.

    Args:
        part: The file they come from.
        indices: Their places in its list of annotations.
        old: The ids that they have and those of their images, each a list; None where there is none.
        new: The ids to write, likewise.
        extra: More members to change, for each annotation.
    """
    spans, gap = part.arrays["annotations"], part.separator("annotations")
    starts, stops = spans.start[indices].tolist(), spans.stop[indices].tolist()
    for begin in range(0, len(starts), BLOCK):
        span = slice(begin, begin + BLOCK)
        records = [bytes(part.view[a:b]) for a, b in zip(starts[span], stops[span], strict=True)]
        (old_ids, old_images), (new_ids, new_images) = (tuple(column[span] for column in pair) for pair in (old, new))
        quick = None if extra is not None else _with_digits(records, old_ids, old_images, new_ids, new_images)
        if quick is not None:
            yield quick.replace(b"\0", gap)
            continue
        changed = []
        for row, record in enumerate(records):
            change = {"image_id": encoded(new_images[row]), **(extra[begin + row] if extra is not None else {})}
            if new_ids[row] is not None:
                change["id"] = encoded(new_ids[row])
            changed.append(edited(record, change))
        yield gap.join(changed)


def _with_digits(
    records: list[bytes], old_ids: list[Any], old_images: list[Any], new_ids: list[Any], new_images: list[Any]
) -> bytes | None:
    """Exchange the digits of the ids of many records at once, NUL between them; None where any is not of the plain kind.

    Plain are records in which exactly one `id` and one `image_id` stand, in the same order in all, with the numbers known to be theirs.
    """
    if {*map(type, new_ids), *map(type, new_images)} != {int}:
        return None
    pieces = _IDS.split(b"\0".join(records))
    keys, values, between = pieces[1::3], pieces[2::3], pieces[0::3]
    # A NUL in the text before every second id, and none elsewhere: two ids a record.
    if len(values) != 2 * len(records) or not all(b"\0" in text for text in between[2:-1:2]):
        return None
    at_image = 0 if b"image" in keys[0] else 1
    at_id = 1 - at_image
    # Keys are spelled in one way or a few; each is looked at once.
    if not all(b"image" in key for key in set(keys[at_image::2])) or any(b"image" in key for key in set(keys[at_id::2])):
        return None
    if list(map(int, values[at_image::2])) != old_images or list(map(int, values[at_id::2])) != old_ids:
        return None
    pieces[2 + 3 * at_image :: 6] = map(b"%d".__mod__, new_images)
    pieces[2 + 3 * at_id :: 6] = map(b"%d".__mod__, new_ids)
    return b"".join(pieces)
