"""COCO's run-length masks, decoded as far as checking needs: many masks at once, and to pixels only where another mask is made of one.

A mask is a list of run lengths, background first, counted down the columns. Its compressed form writes each number in base 32, lowest
digit first, one character from "0" to "o" a digit: bit 0x20 says that more follow, bit 0x10 of the last is the sign; from the fourth
number on, the difference to the last but one is written (pycocotools, maskApi.c, rleFrString). A hostile text cannot make this allocate
more than a few times its own size, since the pixels that the lengths add up to are never made.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dataset_doctor.geometry import Boxes

MAX_DIGITS = 12
"""Characters that one number may have: 60 bits."""
MAX_RUN = 1 << 40
"""Longest run that can belong to an image."""


@dataclass(frozen=True, slots=True, eq=False)
class Runs:
    """Run lengths of several masks one after another: `lengths` int64, `counts` int64 how many each mask has, `valid` bool a mask."""

    lengths: NDArray[np.int64]
    counts: NDArray[np.int64]
    valid: NDArray[np.bool_]


MAX_MASK_PIXELS = 1 << 27
"""Largest mask that is made to pixels."""


def pixels_of(mask: Mapping[str, Any]) -> NDArray[np.uint8] | None:
    """Make a mask to pixels, 0 and 1.

    Args:
        mask: As COCO writes it: `size` height and width, `counts` text or numbers.

    Returns:
        uint8 (height, width); None where it cannot be decoded, or is too large.

    >>> pixels_of({"size": [2, 3], "counts": [1, 3, 2]}).tolist()
    [[0, 1, 0], [1, 1, 0]]
    """
    height, width = mask["size"]
    counts = mask["counts"]
    runs = unpack([counts.encode()]) if isinstance(counts, str) else _listed(counts)
    lengths = runs.lengths
    total = height * width
    if not runs.valid.all() or not 0 < total <= MAX_MASK_PIXELS or (lengths < 0).any() or int(lengths.sum()) != total:
        return None
    return np.repeat((np.arange(len(lengths)) % 2).astype(np.uint8), lengths).reshape(width, height).T


def mask_of(pixels: NDArray[np.uint8], *, as_text: bool) -> dict[str, Any]:
    """Write pixels, 0 and 1, as a mask: with its counts as numbers, or as text as `unpack` reads it.

    >>> mask_of(np.array([[0, 1, 0], [1, 1, 0]], np.uint8), as_text=True)
    {'size': [2, 3], 'counts': '132'}
    """
    flat = pixels.T.ravel()
    ends = np.flatnonzero(np.diff(flat)) + 1
    begins = [0, 0] if len(flat) and flat[0] else [0]
    lengths = np.diff(np.concatenate([begins, ends, [len(flat)]]).astype(np.int64))
    size = [int(side) for side in pixels.shape]
    if not as_text:
        return {"size": size, "counts": lengths.tolist()}
    differences = lengths.copy()
    differences[3:] -= lengths[1:-2]
    return {"size": size, "counts": "".join(map(_digits, differences.tolist()))}


def _digits(number: int) -> str:
    """Write a number in base 32, lowest digit first."""
    text = ""
    while True:
        digit = number & 0x1F
        number >>= 5
        ends = number == (-1 if digit & 0x10 else 0)
        text += chr(48 + (digit if ends else digit | 0x20))
        if ends:
            return text


def _listed(counts: Sequence[int]) -> Runs:
    lengths = np.array([count if -1 <= count <= MAX_RUN else -1 for count in counts], np.int64)
    return Runs(lengths, np.array([len(lengths)]), np.array([len(lengths) > 0]))


def unpack(texts: Sequence[bytes]) -> Runs:
    """Decode masks in the compressed form; one with a wrong character, a number too long or cut off, or none at all, is not valid.

    >>> unpack([b"04", b"52203"]).lengths.tolist()
    [0, 4, 5, 2, 2, 2, 5]
    """
    n = len(texts)
    size = np.fromiter(map(len, texts), np.int64, n)
    chars = np.frombuffer(b"".join(texts), np.uint8)
    text_of = np.repeat(np.arange(n), size)
    valid = size > 0
    valid[text_of[(chars < 48) | (chars > 111)]] = False
    code = chars - np.uint8(48)
    ends = (code & 0x20) == 0
    last = np.cumsum(size)[size > 0] - 1
    valid[text_of[last[~ends[last]]]] = False
    ends[last] = True
    stop = np.flatnonzero(ends)
    start = np.concatenate([stop[:0], [0], stop[:-1] + 1])[: len(stop)]
    digits = stop - start + 1
    owner = text_of[stop]
    valid[owner[digits > MAX_DIGITS]] = False
    place = np.minimum(np.arange(len(chars)) - np.repeat(start, digits), MAX_DIGITS)
    payload = (code & 0x1F).astype(np.int64) << (5 * place)
    lengths = np.add.reduceat(payload, start) if len(start) else payload
    lengths -= ((code[stop] & 0x10) != 0).astype(np.int64) << (5 * np.minimum(digits, MAX_DIGITS))
    counts = np.bincount(owner, minlength=n)
    _undo_differences(lengths, np.arange(len(lengths)) - np.repeat(np.cumsum(counts) - counts, counts))
    return Runs(lengths, counts, valid)


def _undo_differences(lengths: NDArray[np.int64], within: NDArray[np.int64]) -> None:
    """Add to each number, from the fourth of a mask on, the last but one; `within` is its place in the mask."""
    for first in (1, 2):
        rows = np.flatnonzero((within >= first) & ((within - first) % 2 == 0))
        if len(rows):
            difference = lengths[rows]
            total = np.cumsum(difference)
            begins = np.maximum.accumulate(np.where(within[rows] == first, np.arange(len(rows)), 0))
            lengths[rows] = total - (total - difference)[begins]


def measure(runs: Runs, heights: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.float64], Boxes]:
    """Give the sum of all lengths (-1 for invalid masks), the pixels of the mask, and the box around them (NaN where there are none).

    Marks masks with a length that cannot be as not valid.

    >>> total, area, box = measure(Runs(np.array([5, 2, 3]), np.array([3]), np.array([True])), np.array([5]))
    >>> total.tolist(), area.tolist(), box.tolist()
    ([10], [2.0], [[1.0, 0.0, 2.0, 2.0]])
    """
    n = len(runs.counts)
    owner = np.repeat(np.arange(n), runs.counts)
    impossible = (runs.lengths < 0) | (runs.lengths > MAX_RUN)
    runs.valid[owner[impossible]] = False
    total, area, box = np.full(n, -1, np.int64), np.full(n, np.nan), np.full((n, 4), np.nan)
    some = np.flatnonzero(runs.counts)
    if not len(some):
        total[runs.valid] = 0
        return total, area, box
    lengths = np.where(impossible, 0, runs.lengths)
    first = (np.cumsum(runs.counts) - runs.counts)[some]
    stop = np.cumsum(lengths)
    begin = stop - lengths - np.repeat((stop - lengths)[first], runs.counts[some])
    inside = ((np.arange(len(lengths)) - np.repeat(first, runs.counts[some])) % 2 == 1) & (lengths > 0)
    height = np.maximum(np.repeat(heights[some], runs.counts[some]), 1)
    left, right = begin // height, (begin + lengths - 1) // height
    whole_column = right > left
    top = np.where(whole_column, 0, begin % height)
    bottom = np.where(whole_column, height, begin % height + lengths)
    total[some] = np.add.reduceat(lengths, first)
    area[some] = np.add.reduceat(np.where(inside, lengths, 0), first)
    far = np.iinfo(np.int64).max
    for column, (edge, pick, outside) in enumerate(
        ((left, np.minimum, far), (top, np.minimum, far), (right + 1, np.maximum, -1), (bottom, np.maximum, -1))
    ):
        box[some, column] = pick.reduceat(np.where(inside, edge, outside), first)
    box[~(area > 0)] = np.nan
    total[~runs.valid], area[~runs.valid], box[~runs.valid] = -1, np.nan, np.nan
    return total, area, box


def mask_rings(mask: dict[str, Any]) -> list[NDArray[np.float64]]:
    """Trace the outer contours of a mask, within 0.25 pixels of the edges of its pixels; none where it cannot be decoded."""
    import cv2

    pixels = pixels_of(mask)
    if pixels is None:
        return []
    # At twice the size the contour runs through the outermost quarters of pixels instead of through their centres.
    doubled = np.repeat(np.repeat(pixels, 2, axis=0), 2, axis=1)
    contours, _ = cv2.findContours(doubled, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
    rings = [(contour[:, 0, :].astype(np.float64) + 0.5) / 2 for contour in contours]
    return [ring for ring in rings if len(ring) >= 3]
