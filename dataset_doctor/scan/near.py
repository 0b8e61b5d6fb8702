"""Find pictures that are the same, or nearly so, from the hashes of a scan.

Three steps, from sure to likely:

1. Pictures with the same bytes or the same pixels are one group, whatever they show.
2. Among the rest, one picture a group, pairs whose 64-bit hashes differ in few bits, as they are or with one of them mirrored. Pictures
   too flat to be told apart by a hash stay out.
3. Such pairs are looked at: small versions of both must agree point by point. Pairs that pass join pictures to clusters.

Two hashes that differ in at most d of 64 bits, cut into d + 2 bands, agree in at least two of the bands whole. So for each two bands the
hashes are sorted by the bits of both, and only those with equal bits are compared: with d = 6, 28 tables keyed by 16 bits. This finds every
pair and compares n² ÷ 4,700 of them. It is a form of multi-index hashing (Norouzi, Punjani and Fleet, 2012).
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray

from dataset_doctor.dataset import Dataset, Rows
from dataset_doctor.pixels import Duplicates, Pixels

Hashes = NDArray[np.uint64]
Pairs = NDArray[np.int32]
"""Two row numbers a pair, int32 (m, 2), the lower first."""

COMPARED_SIDE = 16
"""Points a side at which thumbnails are compared. With 32, compression and resizing count for too much."""

Thumbnails = Callable[[Rows], NDArray[np.uint8]]
"""Gives for rows of the dataset's images the whole oriented pictures as squares of luma, uint8 (k, side, side), whose side is a multiple of
COMPARED_SIDE; zero throughout where one cannot be read."""

HASH_BITS = 64

MAX_BITS = 6
"""Differing bits of nearly identical pictures, at most. Copies that were resized, compressed or brightened differ in 0 to 4."""

EXPECTED_FALSE_PAIRS = 1.0
"""Pairs that chance alone may put within reach of each other, so that looking at them costs next to nothing."""

ALIKE = 0.98
"""Correlation that two thumbnails must reach. Measured on six public datasets (28,996 pictures): of copies compressed to JPEG quality 30,
brought to half their size, given 40 % more contrast, or noise, 88 to 100 % pass hash and thumbnail; brightened by 30 %, with clipping, 78
to 100 %; without 2 % of their width and height, or turned by 2°, few do. Of 63 pairs of pictures of clothes whose hashes are near, the one
that passes is one picture; the first pair of different pieces stands at 0.978."""

CROWD_EQUAL = 32
"""Rows with one hash up to which all of their pairs are given."""

CROWD = 1_024
"""Hashes that agree in two bands beyond which not all of them are compared: chance puts 15 there for a million pictures."""

CROWD_NEIGHBOURS = 8
MOST_PAIRS = 1_000_000
SMALL_CROWD = 64
"""In a crowd each hash is compared with so many that follow it in sorted order. Once so many pairs are found, SMALL_CROWD makes a crowd, in
which each is compared with the next alone. Thousands of frames of a camera that stands still are joined by these as well as by all their
millions of pairs."""

VERIFIED_AT_ONCE, COMPARED_AT_ONCE = 65_536, 4_096
"""Pairs whose thumbnails are asked for together, and compared together."""


def max_bits_for(n: int) -> int:
    """Give the most bits, up to MAX_BITS, that may differ among n pictures before chance makes pairs of its own.

    For random hashes the number of pairs within d bits is n·(n − 1) ÷ 2 · Σ C(64, k) ÷ 2⁶⁴ over k ≤ d.

    >>> max_bits_for(118_000), max_bits_for(1_000_000)
    (6, 5)
    """
    pairs = n * (n - 1) / 2
    bits = MAX_BITS
    while bits and pairs * sum(math.comb(HASH_BITS, k) for k in range(bits + 1)) / 2.0**HASH_BITS > EXPECTED_FALSE_PAIRS:
        bits -= 1
    return bits


def find_duplicates(dataset: Dataset, pixels: Pixels, *, max_bits: int | None = None, thumbnails: Thumbnails | None = None) -> Duplicates:
    """Group the pictures that are the same, and those that are nearly the same.

    Args:
        dataset: The dataset that was scanned.
        pixels: What the scan found, one row an image of the dataset.
        max_bits: How many of 64 bits may differ between nearly identical pictures; by default 6, fewer from about 700,000 pictures on.
        thumbnails: Gives small versions of pictures, to look at before a pair is believed. Without, the hashes are.
    """
    n = len(pixels)
    assert n == dataset.n_images
    exact_pairs = np.concatenate([_joined_by(pixels.content_hash), _joined_by(pixels.pixel_hash)])
    exact_group = _groups(exact_pairs, n)
    first_of_group = np.unique(exact_group, return_index=True)[1]
    hashable = ~pixels.is_flat & (pixels.perceptual != 0)
    lone = exact_group < 0
    lone[first_of_group] = True
    rows = np.flatnonzero(hashable & lone)
    if max_bits is None:
        max_bits = max_bits_for(len(rows))
    near = _near(rows, pixels, max_bits)
    near = near if thumbnails is None else _verified(near, thumbnails, n)
    pairs, distance, mirrored = near
    order = np.lexsort((pairs[:, 1], pairs[:, 0]))
    return Duplicates(
        exact_group=exact_group,
        near_group=_groups(np.concatenate([exact_pairs, pairs]), n),
        near_pairs=pairs[order],
        near_distance=distance[order],
        near_mirrored=mirrored[order],
    )


def _joined_by(hashes: NDArray[np.object_]) -> Pairs:
    """Pair each row with the first that has the same hash; an empty hash is like no other."""
    first: dict[bytes, int] = {}
    pairs = [(before, row) for row, key in enumerate(hashes.tolist()) if key and (before := first.setdefault(key, row)) != row]
    return np.array(pairs, np.int32).reshape(-1, 2)


def _groups(pairs: Pairs, n: int) -> NDArray[np.int32]:
    """Give each of n rows the number of its connected component, counted in the order of their first rows; -1 for rows in no pair."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    group = np.full(n, -1, np.int32)
    if len(pairs):
        edges = coo_array((np.ones(len(pairs), np.int8), (pairs[:, 0], pairs[:, 1])), shape=(n, n))
        component = connected_components(edges, directed=False)[1]
        rows = np.unique(pairs)
        _, first, number = np.unique(component[rows], return_index=True, return_inverse=True)
        group[rows] = np.argsort(np.argsort(first))[number]
    return group


# Pairs of hashes ----------------------------------------------------------------------------------------------------

Near = tuple[Pairs, NDArray[np.uint8], NDArray[np.bool_]]
"""Pairs of rows, their differing bits, and whether one of them must be mirrored."""


def near_pairs(hashes: Hashes, max_bits: int = MAX_BITS) -> tuple[Pairs, NDArray[np.uint8]]:
    """Find all pairs of hashes that differ in at most `max_bits` bits.

    All, except in crowds. Where more than CROWD_EQUAL rows share one hash, each is paired with the first of them, and that one alone with
    rows of other hashes: joined to clusters it says the same as fifty million pairs of ten thousand. Where more than CROWD different hashes
    agree in two bands, only neighbours are compared (see CROWD_NEIGHBOURS). Both limits fall once there are MOST_PAIRS.

    Args:
        hashes: uint64 (n).
        max_bits: 0 to 62. Time grows steeply with it: beyond 8 use fewer hashes.

    Returns:
        Pairs int32 (m, 2), the lower row first, sorted; and their distances uint8 (m).

    >>> pairs, distances = near_pairs(np.array([0b0, 0b111, 0b11, 0b0], np.uint64), 2)
    >>> pairs.tolist(), distances.tolist()
    ([[0, 2], [0, 3], [1, 2], [2, 3]], [2, 0, 1, 2])
    """
    distinct, number, size = np.unique(hashes, return_inverse=True, return_counts=True)
    members = np.argsort(number, kind="stable")
    start = np.cumsum(size) - size
    repeated = np.flatnonzero(size > 1)
    found = [*_pairs_of_distinct(distinct, max_bits), (repeated, repeated, np.zeros(len(repeated), np.uint8))]
    left, right, distance = (np.concatenate(parts) for parts in zip(*found, strict=True))
    most_equal = CROWD_EQUAL if len(left) < MOST_PAIRS else 1
    stands_for = np.where(size > most_equal, 1, size)
    each = stands_for[left] * stands_for[right]
    of = np.repeat(np.arange(len(each)), each)
    within = np.arange(len(of)) - np.repeat(np.cumsum(each) - each, each)
    by, width = left[of], stands_for[right[of]]
    one, other = members[start[by] + within // width], members[start[right[of]] + within % width]
    kept = (by != right[of]) | (one < other)
    crowded = np.flatnonzero(size[number[members]] > most_equal)
    first = members[start[number[members[crowded]]]]
    later = first != members[crowded]
    pairs = np.concatenate([np.stack([one[kept], other[kept]], 1), np.stack([first[later], members[crowded][later]], 1)])
    pairs = np.sort(pairs, axis=1).astype(np.int32)
    distances = np.concatenate([distance[of[kept]], np.zeros(int(later.sum()), np.uint8)])
    order = np.lexsort((pairs[:, 1], pairs[:, 0]))
    return pairs[order], distances[order]


def _pairs_of_distinct(hashes: Hashes, max_bits: int) -> Iterator[tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.uint8]]]:
    """Give the rows and distances of pairs, each pair once, of hashes that are ascending and all different."""
    edges = np.linspace(0, HASH_BITS, max_bits + 3).astype(int).tolist()
    bands = [(low, high - low) for low, high in itertools.pairwise(edges)]
    masks = np.array([((1 << width) - 1) << low for low, width in bands], np.uint64)
    n_pairs = 0
    for i, j in itertools.combinations(range(len(bands)), 2):
        order, left = _sorted_by_bands(hashes, bands[i], bands[j])
        ordered = hashes[order]
        at = np.flatnonzero(left)
        for step in itertools.count(1):
            at = at[left[at] >= step]
            crowd, neighbours = (CROWD, CROWD_NEIGHBOURS) if n_pairs < MOST_PAIRS else (SMALL_CROWD, 1)
            if step > neighbours:
                at = at[left[at] < crowd]
            if not len(at):
                break
            different = ordered[at] ^ ordered[at + step]
            distance = np.bitwise_count(different)
            close = np.flatnonzero(distance <= max_bits)
            if not len(close):
                continue
            # A pair that agrees in three bands stands in three tables; it counts in the first.
            agree = (different[close, None] & masks) == 0
            close = close[(np.cumsum(agree[:, :j], axis=1)[:, -1] == 1) & (agree.argmax(axis=1) == i)]
            n_pairs += len(close)
            yield order[at[close]], order[at[close] + step], distance[close]


def _sorted_by_bands(hashes: Hashes, one: tuple[int, int], other: tuple[int, int]) -> tuple[NDArray[np.intp], NDArray[np.int32]]:
    """Sort hashes by the bits of two bands; give the order, and how many with the same bits follow each."""
    bits = one[1] + other[1]
    key = ((hashes >> np.uint64(one[0])) & np.uint64((1 << one[1]) - 1)) << np.uint64(other[1])
    key |= (hashes >> np.uint64(other[0])) & np.uint64((1 << other[1]) - 1)
    # numpy sorts 16-bit numbers by radix, several times faster.
    key = key.astype(np.uint16 if bits <= 16 else np.uint32 if bits <= 32 else np.uint64)
    order = np.argsort(key, kind="stable")
    key = key[order]
    ends = np.flatnonzero(np.append(key[1:] != key[:-1], True)) if len(key) else np.zeros(0, np.intp)
    length = np.diff(ends, prepend=-1)
    left = np.repeat(ends, length) - np.arange(len(key))
    return order, left.astype(np.int32)


def _near(rows: Rows, pixels: Pixels, max_bits: int) -> Near:
    """Pair rows by their hashes as they are, and by one hash against the other mirrored."""
    n = len(rows)
    pairs, distance = near_pairs(np.concatenate([pixels.perceptual[rows], pixels.perceptual_flipped[rows]]), max_bits)
    # Two mirrored hashes say the same again as the two hashes themselves, and a symmetric picture is its own mirror image.
    wanted = (pairs[:, 0] < n) & (pairs[:, 1] != pairs[:, 0] + n)
    pairs, distance = pairs[wanted], distance[wanted]
    mirrored = pairs[:, 1] >= n
    pairs = np.sort(np.where(pairs >= n, pairs - n, pairs), axis=1)
    order = np.lexsort((distance, mirrored, pairs[:, 1], pairs[:, 0]))
    pairs, distance, mirrored = pairs[order], distance[order], mirrored[order]
    new = np.append(True, (pairs[1:] != pairs[:-1]).any(axis=1))[: len(pairs)]
    return rows[pairs[new]].astype(np.int32).reshape(-1, 2), distance[new], mirrored[new]


# A look at the pictures ---------------------------------------------------------------------------------------------


def _verified(near: Near, thumbnails: Thumbnails, n: int) -> Near:
    """Keep the pairs whose thumbnails agree.

    The nearest come first. After the first batch, pairs that earlier ones have joined already are passed over: of a thousand frames that
    are all alike, not all of half a million pairs are looked at.
    """
    pairs, distance, mirrored = near
    by_distance = np.argsort(distance, kind="stable")
    waiting = by_distance
    kept: list[NDArray[np.intp]] = []
    small: NDArray[np.uint8] | None = None
    place = np.full(n, -1, np.intp)
    while len(waiting):
        batch, waiting = waiting[:VERIFIED_AT_ONCE], waiting[VERIFIED_AT_ONCE:]
        rows = np.unique(pairs[batch])
        new = rows[place[rows] < 0].astype(np.intp)
        fresh = _reduced(thumbnails(new))
        place[new] = np.arange(len(new)) + (0 if small is None else len(small))
        small = fresh if small is None else np.concatenate([small, fresh])
        agreed = [
            correlation(small[place[pairs[part, 0]]], small[place[pairs[part, 1]]], mirrored[part]) >= ALIKE
            for part in np.array_split(batch, len(batch) // COMPARED_AT_ONCE + 1)
        ]
        kept.append(batch[np.concatenate(agreed)])
        if len(waiting):
            group = _groups(pairs[np.concatenate(kept)], n)
            ends = group[pairs[waiting]]
            waiting = waiting[(ends[:, 0] < 0) | (ends[:, 0] != ends[:, 1])]
    chosen = np.sort(np.concatenate(kept)) if kept else np.zeros(0, np.intp)
    return pairs[chosen], distance[chosen], mirrored[chosen]


def _reduced(squares: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Average squares to COMPARED_SIDE."""
    times = squares.shape[1] // COMPARED_SIDE
    blocks = squares.reshape(len(squares), COMPARED_SIDE, times, COMPARED_SIDE, times)
    reduced: NDArray[np.uint8] = blocks.mean(axis=(2, 4), dtype=np.float32).round().astype(np.uint8)
    return reduced


def correlation(one: NDArray[np.uint8], other: NDArray[np.uint8], mirrored: NDArray[np.bool_]) -> NDArray[np.float32]:
    """Correlate thumbnails pair by pair: 1 where they differ in brightness and contrast alone, about 0 where they have nothing in common.

    Args:
        one: Luma, uint8 (k, side, side), of any side.
        other: The same of the partners.
        mirrored: (k), where the partner is to be mirrored first.

    >>> ramp = np.arange(9, dtype=np.uint8).reshape(1, 3, 3)
    >>> correlation(ramp, 2 * ramp + 7, np.array([False])).tolist(), correlation(ramp, ramp[:, :, ::-1], np.array([True])).tolist()
    ([1.0], [1.0])
    """
    other = np.where(mirrored[:, None, None], other[:, :, ::-1], other)
    a, b = (x.reshape(len(x), x.shape[1] * x.shape[2]).astype(np.float32) for x in (one, other))
    a -= a.mean(axis=1, keepdims=True)
    b -= b.mean(axis=1, keepdims=True)
    product = np.einsum("ij,ij->i", a, b)
    length = np.sqrt(np.einsum("ij,ij->i", a, a) * np.einsum("ij,ij->i", b, b))
    correlated: NDArray[np.float32] = np.divide(product, length, out=np.zeros(len(a), np.float32), where=length > 0)
    return correlated
