"""Read the arrays of one large JSON object in pieces: fast where the text is sound, record by record where it is not.

A piece of about 4 MiB ends where a record seems to end. That guess needs no proof of its own: the piece is decoded as an array, and by
JSON's grammar this succeeds only if the guess was right. Where decoding fails (a wrong guess, a value of an unexpected type, damage),
the piece is read one record at a time; a record that cannot be read is reported, and reading goes on at the next one that can.

Work on damaged text is bounded by a budget proportional to the file, so a crafted file cannot make it quadratic.
"""

from __future__ import annotations

import json
import mmap
import re
from collections.abc import Callable, Generator, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Generic, Literal, TypeVar

import msgspec

PIECE = 4 << 20
MAX_NESTING = 64
_WORK_PER_BYTE = 20
_LEAST_CHARGE = 200
"""What one failed attempt costs at least, in bytes: raising and catching an error takes about as long as reading so many."""
_TOKEN_CHARGE = 16
"""What looking at one bracket or text costs besides its bytes."""

Columns = TypeVar("Columns")


@dataclass(frozen=True, slots=True)
class Piece(Generic[Columns]):
    """Consecutive records that the strict decoder took; `first` is the index of the first in its array."""

    key: str
    first: int
    columns: Columns


@dataclass(frozen=True, slots=True)
class Records:
    """Records as plain Python values with their indices, to be judged one by one."""

    key: str
    indices: list[int]
    values: list[Any]


@dataclass(frozen=True, slots=True)
class Restart:
    """The key occurs a second time in the object: what was read for it before does not count (as in every JSON parser)."""

    key: str


@dataclass(frozen=True, slots=True)
class Damage:
    """What is wrong with the text at a byte.

    kind "record": a record cannot be read; "nonstandard": it can, but not by every parser; "encoding": it is not UTF-8; "repeated": a key
    that was there before; "structure": something outside the records. `excerpt` is the beginning of the record.
    """

    kind: Literal["record", "nonstandard", "encoding", "repeated", "structure"]
    key: str
    index: int | None
    byte: int
    text: str
    excerpt: bytes = b""


Strict = Callable[[Any], Columns]
"""Decodes a buffer that holds a JSON array; raises msgspec.ValidationError, ValueError or OverflowError where records are unusual."""

Walk = Generator["Records | Damage", None, tuple[int, int, bool]]
"""Yields what it finds; returns where it stopped, the next index, and whether the array ended there."""

Event = Piece[Columns] | Records | Restart | Damage

Advance = Callable[[int], None]

_RAW = msgspec.json.Decoder(msgspec.Raw)
_RAWS = msgspec.json.Decoder(list[msgspec.Raw])
_ANY = msgspec.json.Decoder()
_SPACE = re.compile(rb"[ \t\r\n]*")
_NAME = rb'"((?:[^"\\\x00-\x1f]|\\.){0,512})"[ \t\r\n]*:[ \t\r\n]*'
_KEY = re.compile(rb"[ \t\r\n]*" + _NAME)
_NEXT_KEY = re.compile(rb"[ \t\r\n]*,[ \t\r\n]*" + _NAME)
_CLOSE = re.compile(rb"[ \t\r\n]*(?:(,)[ \t\r\n]*)?\}[ \t\r\n\x00]*\Z")
_USUAL_KEYS = rb"images|annotations|categories|info|licenses|type|videos|segment_info|tracks"
_TEXT_BEFORE_KEY = rb'[^{}\[\]"]{0,200}"(?:' + _USUAL_KEYS + rb')"[ \t\r\n]*:'
_AFTER = (
    # The space is taken as a whole: given back piece by piece, it would be tried again by what follows.
    rb"(?=(?P<space>[ \t\r\n]*))(?P=space)(?:"
    rb',[ \t\r\n]*"(?:[^"\\\x00-\x1f]|\\.){0,512}"[ \t\r\n]*:|(?:,[ \t\r\n]*)?\}(?![ \t\r\n\x00]*[,\]}])|\Z|' + _TEXT_BEFORE_KEY + rb")"
)
_AFTER_ARRAY = re.compile(_AFTER)
_ARRAY_END = re.compile(rb"\]" + _AFTER)
_COMMAS = re.compile(rb"[, \t\r\n]+")
_SEPARATOR = re.compile(rb"\}[ \t\r\n]*,[ \t\r\n]*(?=\{)")
_TRAILING = re.compile(r"trailing characters \(byte (\d+)\)")
_AT_BYTE = re.compile(r"\(byte (\d+)\)")
_TOKEN = re.compile(rb'"(?:[^"\\]|\\.)*"?|[\[\]{}]', re.DOTALL)
_CONSTANT = re.compile(rb"\b(?:NaN|Infinity)\b")
_RESUME = re.compile(rb"(?P<end>\](?:" + _TEXT_BEFORE_KEY + rb"|[ \t\r\n]*\}[ \t\r\n\x00]*\Z))|[,\[}][ \t\r\n]*(?=\{)")
_START = re.compile(rb'\{[ \t\r\n]*"([^"\\]{1,64})"[ \t\r\n]*:')


class _WorkedOut(Exception):
    """The text is so damaged that reading on would take unreasonably long."""


class _Reader(Generic[Columns]):
    """One pass over a JSON object.

    State: the text, what is left of the budget, how records of each array are told from other objects, and where the last array stopped.
    """

    def __init__(self, data: Any, strict: Mapping[str, Strict[Columns]], marks: Mapping[str, frozenset[str]], advance: Advance) -> None:
        self.data = data
        self.view = memoryview(data)
        self.size = len(self.view)
        self.strict = strict
        self.marks = marks
        self.advance = advance
        self.released = 0
        self.last: tuple[str, int, bytes | None] | None = None
        self.budget = _WORK_PER_BYTE * self.size + (4 << 20)
        keys = b"|".join(key.encode() for key in sorted(marks))
        self.known_key = re.compile(rb'"(' + keys + rb')"[ \t\r\n]*:[ \t\r\n]*(?=\[)')

    def charge(self, work: int) -> None:
        self.budget -= max(work, _LEAST_CHARGE)
        if self.budget < 0:
            raise _WorkedOut

    def space(self, at: int) -> int:
        return _SPACE.match(self.data, at).end()  # type: ignore[union-attr]

    def byte(self, at: int) -> bytes:
        return bytes(self.view[at : at + 1])

    def value_end(self, start: int) -> int:
        """Find where the JSON value at `start` ends: its decoder complains of what follows, and says at which byte."""
        try:
            _RAW.decode(self.view[start:])
        except msgspec.DecodeError as error:
            told = _AT_BYTE.search(str(error))
            self.charge(int(told[1]) if told else self.size - start)
            if (after := _trailing(error)) is None:
                raise
            return start + after
        except RecursionError:
            self.charge(1 << 14)
            raise
        return self.size

    # The object ------------------------------------------------------------------------------------------------------

    def events(self) -> Iterator[Event[Columns]]:
        at = self.space(0)
        if self.byte(at) != b"{":
            yield Damage("structure", "", None, at, "it does not start with {")
            return
        at += 1
        seen: set[str] = set()
        repeated: set[str] = set()
        pattern = _KEY
        damaged = False
        try:
            while True:
                found = pattern.match(self.data, at)
                if not found:
                    if close := _CLOSE.match(self.data, at):
                        if close[1]:
                            yield Damage("nonstandard", "", None, close.start(1), "a comma before the closing }")
                        return
                    what = "it ends before its closing }" if self.space(at) >= self.size else "a key, or the end, was expected"
                    yield Damage("structure", "", None, self.space(at), what)
                    damaged, pattern = True, _NEXT_KEY
                    again = self.known_key.search(self.data, at)
                    if self.last:
                        key, index, opening = self.last
                        stop = again.start() if again else self.size
                        start, index, ended = yield from self.resume(key, index, at, opening, stop)
                        if not ended:
                            at = yield from self.array(key, start, index)
                            continue
                    if not again:
                        return
                    found = again
                self.charge(0)
                pattern = _NEXT_KEY
                key = _text(found[1])
                at = found.end()
                if key in seen and not damaged:
                    if key not in repeated:
                        repeated.add(key)
                        yield Damage("repeated", key, None, found.start(1), f"the key {key!r} is there twice; the last one counts")
                    yield Restart(key)
                if len(seen) < 1000:
                    seen.add(key)
                if key in self.marks and self.byte(at) == b"[":
                    at = yield from self.array(key, at + 1, 0)
                else:
                    try:
                        at = self.value_end(at)
                    except (msgspec.DecodeError, RecursionError) as error:
                        yield Damage("structure", key, None, at, _what(error))
                        damaged = True
                        if not (found := self.known_key.search(self.data, at)):
                            return
                        # Step back so that the loop finds this key as it would find any other.
                        at, pattern = found.start(), _KEY
        except _WorkedOut:
            yield Damage("structure", "", None, at, "too damaged: the rest was given up")

    # Its arrays ------------------------------------------------------------------------------------------------------

    def array(self, key: str, at: int, index: int) -> Generator[Event[Columns], None, int]:
        """Read the rest of an array from its record number `index` on; return where it ends."""
        start = _START.match(self.data, self.space(at))
        opening = start[1] if start else None
        ended = False
        while not ended:
            at = self.space(at)
            if self.byte(at) == b"]" and _ARRAY_END.match(self.data, at):
                at, ended = at + 1, True
            elif piece := self.piece(key, index, at):
                event, count, at, ended = piece
                if count:
                    yield event
                index += count
                self.release(at)
            else:
                at, index, ended = yield from self.walk(key, index, at, min(at + PIECE, self.size), opening)
        self.last = (key, index, opening)
        return at

    def piece(self, key: str, index: int, at: int) -> tuple[Event[Columns], int, int, bool] | None:
        """Decode the next records at once. Give them, their number, where to go on and whether the array ended; None where that fails."""
        for cut in self.cuts(at):
            self.charge(cut - at)
            buffer = memoryview(b"".join((b"[", self.view[at:cut], b"]" if cut < self.size else b"")))
            try:
                event, count, used = self.decode(key, index, buffer)
            except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
                continue
            if used == len(buffer) and cut < self.size:
                return event, count, self.space(cut) + 1, False
            end = at + used - 1
            if _AFTER_ARRAY.match(self.data, end):
                return event, count, end, True
        return None

    def cuts(self, at: int) -> Iterator[int]:
        """Guess where a piece may end: just after the last few `}` before `,{` within reach; the end of the file where that is near."""
        stop = at + PIECE
        if stop >= self.size:
            yield self.size
            return
        for reach in (PIECE >> 7, PIECE >> 2):
            if guesses := [found.start() + 1 for found in _SEPARATOR.finditer(self.data, max(at, stop - reach), stop)]:
                yield from reversed(guesses[-3:])
                return

    def decode(self, key: str, index: int, buffer: memoryview) -> tuple[Event[Columns], int, int]:
        """Decode an array, strictly if that goes, else into records; give also their number and the bytes used."""
        if key in self.strict:
            try:
                columns, used = _whole(self.strict[key], buffer)
                return Piece(key, index, columns), len(columns), used
            except (msgspec.ValidationError, UnicodeDecodeError, ValueError, OverflowError, RecursionError) as error:
                if isinstance(error, msgspec.DecodeError) and not isinstance(error, msgspec.ValidationError):
                    raise
        raws, used = _whole(_RAWS.decode, buffer)
        values = [_ANY.decode(raw) for raw in raws]
        return Records(key, list(range(index, index + len(values))), values), len(values), used

    def walk(self, key: str, index: int, at: int, until: int, opening: bytes | None) -> Walk:
        """Read record by record up to `until` or the end of the array; return where, the next index, and whether the array ended."""
        batch = Records(key, [], [])
        try:
            place = yield from self.steps(batch, index, at, until, opening)
        except _WorkedOut:
            if batch.values:
                yield batch
            raise
        if batch.values:
            yield batch
        return place

    def steps(self, batch: Records, index: int, at: int, until: int, opening: bytes | None) -> Walk:
        """Do the work of `walk`: put what can be read into the batch, give what cannot."""
        key = batch.key
        while True:
            at = self.space(at)
            head = self.byte(at)
            if not head:
                yield Damage("structure", key, index, at, f"it ends inside the list {key!r}")
                return at, index, True
            if head == b"]":
                if _ARRAY_END.match(self.data, at):
                    return at + 1, index, True
                yield Damage("structure", key, index, at, "a ] that closes nothing")
                at += 1
                self.charge(0)
                continue
            if head == b",":
                after = _COMMAS.match(self.data, at).end()  # type: ignore[union-attr]
                what = "a comma before the closing ]" if self.byte(after) == b"]" else "a comma too many"
                yield Damage("nonstandard", key, index, at, what)
                at = after
                self.charge(0)
                continue
            if at >= until:
                return at, index, False
            value, end, damage = self.record(key, index, at)
            if damage:
                self.charge(0)
                yield damage
            if value is not _BROKEN:
                batch.indices.append(index)
                batch.values.append(value)
                index += 1
                if len(batch.values) >= 10_000:
                    batch = Records(key, [], [])
                at = self.space(end)
                follows = self.byte(at)
                if follows == b",":
                    at = self.space(at + 1)
                    if self.byte(at) == b"]":
                        yield Damage("nonstandard", key, index, at, "a comma before the closing ]")
                elif follows == b"{":
                    yield Damage("structure", key, index, at, "a comma is missing between two records")
                continue
            if head == b"{":
                index += 1
            at, index, ended = yield from self.resume(key, index, at, opening, self.size)
            if ended:
                return at, index, True

    def record(self, key: str, index: int, at: int) -> tuple[Any, int, Damage | None]:
        """Read the record at a byte: its value, where it ends, and what was odd; the value is `_BROKEN` where it cannot be read."""
        if self.byte(at) == b"[":
            return _BROKEN, at, Damage("record", key, None, at, "a list where a record was expected")
        trouble = "it is not JSON"
        try:
            end = self.value_end(at)
            value = _ANY.decode(self.view[at:end])
            # Brackets lost at the end of a list's last record make it swallow the next list, and the file end inside this one.
            swallowed = isinstance(value, dict) and self.space(end) >= self.size and not self.marks.keys().isdisjoint(value)
            if self.follows(end) and not swallowed:
                return value, end, None
            trouble = "something that does not belong there follows it"
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            trouble = _what(error)
        loose_end = self.loose_end(at)
        if loose_end is not None and self.follows(loose_end) and self.space(loose_end) < self.size:
            text = bytes(self.view[at:loose_end])
            kind, what = _oddity(text)
            try:
                value = json.loads(_text(text), strict=False)
                return value, loose_end, Damage(kind, key, index, at, what, text[:2000])
            except (ValueError, RecursionError) as error:
                trouble = trouble if isinstance(error, json.JSONDecodeError) else _what(error)
        excerpt = bytes(self.view[at : (loose_end or at + 2000)][:2000])
        starts = self.byte(at) == b"{"
        return _BROKEN, at, Damage("record", key, index if starts else None, at, trouble, excerpt)

    def follows(self, end: int) -> bool:
        """Tell whether what comes after a record is what may come there (a missing comma is forgiven)."""
        at = self.space(end)
        return self.byte(at) in (b",", b"{", b"") or (self.byte(at) == b"]" and bool(_ARRAY_END.match(self.data, at)))

    def loose_end(self, at: int) -> int | None:
        """Find the end of an object by its brackets alone, or None: not an object, nested too deeply, or never closed."""
        if self.byte(at) != b"{":
            return None
        depth = 0
        for token in _TOKEN.finditer(self.data, at, min(self.size, at + PIECE)):
            mark = token[0]
            self.budget -= len(mark) + _TOKEN_CHARGE
            if mark in (b"{", b"["):
                depth += 1
                if depth > MAX_NESTING:
                    break
            elif mark in (b"}", b"]"):
                depth -= 1
                if depth == 0:
                    return token.end()
        self.charge(0)
        return None

    def resume(self, key: str, index: int, at: int, opening: bytes | None, stop: int) -> Walk:
        """Find the next readable record after a broken one; return where it is, its index and whether the array ended before it."""
        # A bracket too many stands right before a whole record; anything else that is broken begins with what made it so.
        for found in _RESUME.finditer(self.data, at if self.byte(at) == b"[" else at + 1, stop):
            if found["end"]:
                return found.start() + 1, index, True
            start = found.end()
            try:
                end = self.value_end(start)
                if self.is_record(key, start, end):
                    return start, index, False
            except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
                begins = _START.match(self.data, start)
                if not (begins and opening is not None and begins[1] == opening):
                    continue
                value, _, damage = self.record(key, index, start)
                if value is not _BROKEN:
                    return start, index, False
                self.charge(0)
                yield damage or Damage("record", key, index, start, _what(error))
                index += 1
        return stop, index, True

    def is_record(self, key: str, start: int, end: int) -> bool:
        value = _ANY.decode(self.view[start:end])
        return isinstance(value, dict) and not self.marks[key].isdisjoint(value)

    def release(self, upto: int) -> None:
        """Tell the caller how far reading is, and the system that the pages read so far are not needed any more."""
        self.advance(upto)
        if hasattr(mmap, "MADV_DONTNEED") and isinstance(self.data, mmap.mmap) and upto - self.released >= mmap.PAGESIZE:
            page = mmap.PAGESIZE
            self.data.madvise(mmap.MADV_DONTNEED, self.released, upto // page * page - self.released)
            self.released = upto // page * page


_BROKEN = object()


def _whole(decode: Callable[[Any], Any], buffer: memoryview) -> tuple[Any, int]:
    """Decode a buffer that starts with a JSON array; what follows the array does not matter. Give also the bytes used."""
    try:
        return decode(buffer), len(buffer)
    except msgspec.DecodeError as error:
        if (after := _trailing(error)) is None:
            raise
    return decode(buffer[:after]), after


def _trailing(error: Exception) -> int | None:
    """Read from an error at which byte the text goes on after the value; None where the error is another one."""
    found = _TRAILING.search(str(error))
    return int(found[1]) - 1 if found else None


def _text(raw: bytes) -> str:
    try:
        return raw.decode()
    except UnicodeDecodeError:
        return raw.decode("latin-1")


def _oddity(text: bytes) -> tuple[Literal["nonstandard", "encoding"], str]:
    try:
        text.decode()
    except UnicodeDecodeError:
        return "encoding", "not UTF-8, read as Latin-1"
    constant = _CONSTANT.search(text)
    return "nonstandard", f"{constant[0].decode()} is not JSON; some parsers refuse it" if constant else "some JSON parsers refuse it"


def _what(error: Exception) -> str:
    """Put a decoder's complaint in plain words."""
    if isinstance(error, RecursionError):
        return "nested too deeply"
    if isinstance(error, UnicodeDecodeError):
        return "not UTF-8"
    words = str(error).removeprefix("JSON is malformed: ")
    if "integer string conversion" in words:
        return "a number with too many digits"
    return "it ends in the middle" if "truncated" in words else re.sub(r" ?\(byte \d+\)", "", words)


def read_arrays(
    data: Any, strict: Mapping[str, Strict[Columns]], marks: Mapping[str, frozenset[str]], advance: Advance
) -> Iterator[Event[Columns]]:
    """Read the arrays of a JSON object piece by piece.

    Args:
        data: The text, UTF-8 without a byte-order mark: bytes or a mapped file.
        strict: For each array with a fast way: decodes a buffer to columns, and refuses unusual records (see `Strict`).
        marks: For each array to read: member names of which a record has at least one, by which records are found again after damage.
        advance: Told now and then how many bytes are done.

    Yields:
        Piece, Records, Restart and Damage in file order. Other members of the object are skipped.
    """
    return _Reader(data, strict, marks, advance).events()
