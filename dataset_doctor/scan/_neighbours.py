"""Find the images whose sketches are nearest to each other, mirrored or not, without comparing a million with a million.

A sketch (`Pixels.sketch`) holds the lowest frequencies of luma and colour. Two photos that were shifted, cropped or recoloured differ in
many bits of a hash, but their sketches still point the same way. Mirroring changes the sign of the odd columns' frequencies and nothing
else: so the product of two sketches is even + odd, that of one with the other mirrored is even − odd, and one pass gives both.

Up to EXHAUSTIVE images each is compared with each, in blocks. Beyond, they are first divided into leaves: again and again halved across the
direction in which they differ most, those near the middle going to both sides. Twins end up in one leaf nearly always, and the work grows
like n · log n.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from dataset_doctor.scan._look import SKETCH_IS_ODD

Sketches = NDArray[np.float32]

NEIGHBOURS = 6
"""Nearest images that are kept of each."""

LEAST_LIKE = 0.6
"""Cosine below which nothing is a candidate. Of photos cropped by 10 % about the middle, shifted by 3 %, recoloured or both, 99 % lie
above; cropped by 15 %, 97 %; of two photos that have nothing in common, one in a thousand reaches 0.73."""

EXHAUSTIVE, LEAF = 32_768, 4_096
SPILL = 0.15
"""Share of a part, on either side of its middle, that goes to both halves."""

BLOCK = 1_024
SAMPLE = 512


def neighbours(sketches: NDArray[np.int8]) -> tuple[NDArray[Any], NDArray[np.float32], NDArray[np.bool_]]:
    """Give the pairs of images that are among each other's nearest.

    Args:
        sketches: int8 (n, d), as in `Pixels.sketch`.

    Returns:
        Pairs int32 (m, 2), the lower row first and sorted; their cosines float32; and whether the second is alike when mirrored.
    """
    n = len(sketches)
    if n < 2:
        return np.zeros((0, 2), np.int32), np.zeros(0, np.float32), np.zeros(0, bool)
    unit = sketches.astype(np.float32)
    unit /= np.maximum(np.linalg.norm(unit, axis=1, keepdims=True), 1e-6)
    # Even frequencies first, so that both parts are contiguous.
    unit = np.ascontiguousarray(np.concatenate([unit[:, ~SKETCH_IS_ODD], unit[:, SKETCH_IS_ODD]], axis=1))
    n_even = int((~SKETCH_IS_ODD).sum())
    found = [_within(unit, n_even, rows) for rows in _leaves(unit, n_even)]
    one, other, like, mirrored = (np.concatenate(parts) for parts in zip(*found, strict=True))
    pairs = np.sort(np.stack([one, other], 1), axis=1).astype(np.int32)
    _, first = np.unique(pairs[:, 0].astype(np.int64) * n + pairs[:, 1], return_index=True)
    return pairs[first], like[first], mirrored[first]


Found = tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.float32], NDArray[np.bool_]]


def _within(unit: Sketches, n_even: int, rows: NDArray[np.intp]) -> Found:
    """Give for each of some rows its nearest ones among them."""
    some = unit if len(rows) == len(unit) else unit[rows]
    n = len(some)
    step = max(n // SAMPLE, 1)
    floor = LEAST_LIKE
    if n > 4 * NEIGHBOURS:
        sample = np.concatenate([_products(some[at : at + 1], some, n_even)[0] for at in range(0, n, step)])
        # Where all are alike, as X-rays are, only the likest are of interest, or everything would be listed before it is dropped.
        floor = max(floor, float(np.quantile(sample.ravel()[:: max(sample.size // 2_000_000, 1)], 1 - 4 * NEIGHBOURS / n)))
    parts: list[Found] = []
    for start in range(0, n, BLOCK):
        like, mirrored = _products(some[start : start + BLOCK], some[start:], n_even)
        like[np.tri(*like.shape, dtype=np.bool_)] = -1  # with itself, and what was compared before
        at = np.flatnonzero(like >= floor)
        one, other = np.divmod(at, like.shape[1])
        parts.append((rows[start + one], rows[start + other], like.ravel()[at], mirrored.ravel()[at]))
    one, other, value, mirror = (np.concatenate(column) for column in zip(*parts, strict=True))
    kept = _rank(one, other, value) < NEIGHBOURS
    kept |= _rank(other, one, value) < NEIGHBOURS
    return one[kept], other[kept], value[kept], mirror[kept]


def _rank(of: NDArray[np.intp], other: NDArray[np.intp], value: NDArray[np.float32]) -> NDArray[np.intp]:
    """Tell for each pair how many like `of` better than this one."""
    order = np.lexsort((other, -value, of))
    ordered = of[order]
    rank = np.empty(len(of), np.intp)
    rank[order] = np.arange(len(of)) - np.searchsorted(ordered, ordered)
    return rank


def _products(some: Sketches, every: Sketches, n_even: int) -> tuple[Sketches, NDArray[np.bool_]]:
    even = some[:, :n_even] @ every[:, :n_even].T
    odd = some[:, n_even:] @ every[:, n_even:].T
    mirrored = odd < 0
    even += np.abs(odd, out=odd)
    return even, mirrored


def _leaves(unit: Sketches, n_even: int) -> list[NDArray[np.intp]]:
    """Divide the rows into overlapping parts of at most LEAF, or give them whole where they are few."""
    every = np.arange(len(unit))
    if len(unit) <= EXHAUSTIVE:
        return [every]
    # An image and its mirror image must go the same ways.
    same = np.concatenate([unit[:, :n_even], np.abs(unit[:, n_even:])], axis=1)
    leaves, waiting = [], [every]
    while waiting:
        rows = waiting.pop()
        if len(rows) <= LEAF:
            leaves.append(rows)
            continue
        sample = same[rows[:: max(len(rows) // LEAF, 1)]].astype(np.float64)
        sample -= sample.mean(axis=0)
        direction = np.linalg.eigh(sample.T @ sample)[1][:, -1].astype(np.float32)
        along = same[rows] @ direction
        order = np.argsort(along, kind="stable")
        half, spill = len(rows) // 2, int(len(rows) * SPILL / 2)
        waiting += [np.sort(rows[order[: half + spill]]), np.sort(rows[order[half - spill :]])]
    return leaves
