"""Numbers straight from the text of polygons, without a Python object for each.

A label file of COCO's size holds 45 million coordinates, nearly all of them short decimals such as `239.97`. Such a number fits into the
eight bytes of one machine word, so numpy turns a column of words into a column of numbers: the bytes before the number are cleared, the
decimal point is squeezed out, and three multiplications add up digits in pairs, fours and eights (the "SIMD within a register" way of
reading integers; see D. Lemire, "Quickly parsing eight digits", 2018). One division by a power of ten then rounds as a parser would.
Text that holds anything else is left to the ordinary decoder.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

import msgspec
import numpy as np
from numpy.typing import NDArray

LONGEST = 8
"""Characters of a number that fit into a word."""
BLOCK = 1 << 14
"""Numbers treated at once: as many as stay in the processor's cache."""

_OPEN, _CLOSE, _NEXT, _COMMA = 1, 2, 3, ord(",")
_MARKS = bytes.maketrans(b"[]|", bytes((_OPEN, _CLOSE, _NEXT)))
_ZEROS = np.uint64(0x3030303030303030)
_POINT_BIT = np.uint64(0x1010101010101010)
_POINT = np.uint64(ord(".") ^ ord("0"))
_PAIRS = (
    (np.uint64(10 * 2**8 + 1), np.uint64(8), np.uint64(0x00FF00FF00FF00FF)),
    (np.uint64(100 * 2**16 + 1), np.uint64(16), np.uint64(0x0000FFFF0000FFFF)),
    (np.uint64(10_000 * 2**32 + 1), np.uint64(32), np.uint64(0xFFFFFFFF)),
)
_ONE, _THREE, _FOUR, _63 = np.uint64(1), np.uint64(3), np.uint64(4), np.uint64(63)
# The exponent of a float64 that is a power of two tells at which bit, so at which byte, the decimal point stands.
_DIVISOR = np.ones(2048)
_DIVISOR[1023 + 8 * np.arange(8)] = 10.0 ** (7 - np.arange(8))


def polygon_numbers(
    raws: Sequence[msgspec.Raw | bytes],
) -> tuple[NDArray[np.float64], NDArray[np.int64], NDArray[np.int64]] | None:
    """Read polygons from their JSON text, each a list of rings, each a list of numbers.

    Args:
        raws: Valid JSON, one value a polygon.

    Returns:
        All numbers; how many each ring has; how many rings each polygon has. None where a polygon is nested otherwise, holds an empty
        ring, a sign, an exponent or a number of more than eight characters.

    >>> numbers, rings, polygons = polygon_numbers([b"[[1, 2.5], [30.25]]", b"[[4,5]]"])
    >>> numbers.tolist(), rings.tolist(), polygons.tolist()
    ([1.0, 2.5, 30.25, 4.0, 5.0], [2, 1, 2], [2, 1])
    """
    if sys.byteorder != "little":
        return None
    text = b"|".join(raws).translate(_MARKS, b" \t\r\n")
    text = b"".join((bytes(LONGEST), text, bytes((_NEXT,)), bytes(16 - len(text) % 8)))
    text = text[: len(text) // 8 * 8]
    buffer = np.frombuffer(text, np.uint8)
    if b"-" in text or buffer.max() > ord("9"):
        return None
    # Every byte below "-" ends a number, or stands where none is.
    ends = np.flatnonzero(buffer < ord("-"))[LONGEST - 1 :]
    length = np.diff(ends) - 1
    is_number = np.flatnonzero(length)
    sized = length[is_number]
    if sized.max(initial=0) > LONGEST:
        return None
    shape = _nesting(buffer[ends[1:]], length, len(is_number), len(raws))
    if shape is None:
        return None
    return _from_words(buffer.view("<u8"), ends[1:][is_number], sized), *shape


def _nesting(
    kind: NDArray[np.uint8], length: NDArray[np.int64], numbers: int, polygons: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]] | None:
    """Give the lengths of rings and the rings of polygons; None where not every number lies in a ring, and every ring in a polygon."""
    at = np.flatnonzero((kind != _COMMA) & (kind != 0))
    bracket = kind[at]
    if bracket.max(initial=0) > _NEXT:
        return None
    depth = np.cumsum((bracket == _OPEN).astype(np.int64) - (bracket == _CLOSE))
    between = bracket == _NEXT
    if depth.max(initial=0) > 2 or depth[between].any():
        return None
    opens, closes = np.flatnonzero((bracket == _OPEN) & (depth == 2)), np.flatnonzero((bracket == _CLOSE) & (depth == 1))
    rings = at[closes] - at[opens]
    if rings.sum() != numbers or not length[at[closes]].all():
        return None
    of_polygon = np.cumsum(between)[opens]
    return rings, np.bincount(of_polygon, minlength=polygons)


def _from_words(words: NDArray[np.uint64], ends: NDArray[np.int64], length: NDArray[np.int64]) -> NDArray[np.float64]:
    """Read decimals of up to eight characters; `ends` are the bytes after each, at least eight from the beginning."""
    values = np.empty(len(ends))
    for block in range(0, len(ends), BLOCK):
        begin = ends[block : block + BLOCK] - LONGEST
        word = begin >> 3
        shift = ((begin & 7) << 3).view(np.uint64)
        digits = words[word]
        digits >>= shift
        rest = words[word + 1]
        rest <<= _ONE
        rest <<= shift ^ _63
        digits |= rest
        digits ^= _ZEROS
        unused = ((LONGEST - length[block : block + BLOCK]) << 3).view(np.uint64)
        digits >>= unused
        digits <<= unused
        # Now the last character is the highest byte; digits are 0 to 9, a point has the bit that no digit has.
        point = (digits & _POINT_BIT) >> _FOUR
        whole = digits & (point - _ONE)
        digits -= whole
        digits -= point * _POINT
        whole <<= (point != 0).astype(np.uint64) << _THREE
        digits |= whole
        for factor, width, mask in _PAIRS:
            digits *= factor
            digits >>= width
            digits &= mask
        value = digits.astype(np.float64)
        value /= _DIVISOR[point.astype(np.float64).view(np.int64) >> 52]
        values[block : block + BLOCK] = value
    return values
