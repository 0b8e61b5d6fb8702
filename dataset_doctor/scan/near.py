"""Find images that are the same, or nearly so, from what a scan has found.

Three steps, from sure to likely:

1. Images with the same bytes or the same pixels are one group, whatever they show.
2. Among the rest, one image a group, candidates come from two views: pairs whose 64-bit hashes differ in few bits, as they are or with
   one of them turned by a quarter, half or three quarters, mirrored, or both; and images whose sketches are nearest to each other,
   mirrored or not (`_neighbours`), which finds what was shifted, cropped or recoloured. Images too flat to be told apart stay out.
3. Such pairs are looked at: one image is laid over the other, and their fine structure must agree, and that of the place and the labelled
   object where they differ most (`_alike`). Pairs that pass join images to clusters.

Two hashes that differ in at most d of 64 bits, cut into d + 2 bands, agree in at least two of the bands whole. So for each two bands the
hashes are sorted by the bits of both, and only those with equal bits are compared: with d = 6, 28 tables keyed by 16 bits. This finds every
pair and compares n² ÷ 4,700 of them. It is a form of multi-index hashing (Norouzi, Punjani and Fleet, 2012).

Turned images need no eight searches. A hash keeps the signs of frequencies: mirroring turns over the bits of odd columns or odd rows, a
quarter turn exchanges rows and columns as well. So in each table all hashes are mirrored such that two chosen bits are 0: what agrees when
mirrored agrees then. What is transposed stands beside each hash once more.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dataset_doctor.dataset import Dataset, Rows
from dataset_doctor.pixels import TURN_BACK, Duplicates, Pixels
from dataset_doctor.scan._alike import Boxes, Likeness, likeness
from dataset_doctor.scan._neighbours import neighbours

Hashes = NDArray[np.uint64]
Pairs = NDArray[Any]
"""Two row numbers a pair, int32 (m, 2), the lower first."""

Thumbnails = Callable[[Rows, int], NDArray[np.uint8]]
"""Gives for rows of the dataset's images the whole upright images as squares of luma, uint8 (k, side, side), for a side of FIRST_SIDE or
CLOSE_SIDE; zero throughout where one cannot be read."""

FIRST_SIDE, CLOSE_SIDE = 32, 96
"""Sides of the squares at which pairs are compared: all of them, and those that pass, closely, where both images are that large."""

HASH_BITS = 64

MAX_BITS = 6
"""Differing bits of nearly identical images, at most. Copies that were resized, compressed or brightened differ in 0 to 4."""

MOST_BITS = 8
"""Differing bits that a person may ask for: with each bit more, about three times as much is compared."""

EXPECTED_FALSE_PAIRS = 1.0
"""Pairs that chance alone may put within reach of each other, so that looking at them costs next to nothing."""


@dataclass(frozen=True, slots=True)
class Bar:
    """What a pair must reach (`Likeness`) to be believed.

    detail   what fine structure must correlate at least
    strict   the same where the worst window is no better than `doubtful`; in between, in between
    doubtful, worst  agreement of the worst window below which `strict` holds, and from which `detail` does
    least    agreement of the worst window at least
    boxed    agreement of the worst box at least
    held     correlation from which labelled objects that agree make up for any window: what differs is not what is labelled
    """

    detail: float
    strict: float
    doubtful: float
    worst: float
    least: float
    boxed: float
    held: float = math.inf

    def passed(self, found: Likeness) -> NDArray[np.bool_]:
        """Tell which pairs reach it."""
        wanted = np.interp(found.worst, (self.doubtful, self.worst), (self.strict, self.detail))
        wanted = wanted + np.where(found.textured < RICH, PLAIN, 0)
        passed = (found.detail >= wanted) & (found.worst >= self.least)
        passed |= (found.detail >= self.held) & np.isfinite(found.boxed)
        believed: NDArray[np.bool_] = passed & (found.boxed >= self.boxed)
        return believed


RICH, PLAIN = 0.5, 0.04
"""Share of windows with structure below which more correlation is asked for: two aeroplanes of one type in a clear sky have one outline."""

FIRST_LOOK = Bar(0.85, 0.85, 0, 1, -1, -1)
NEAR = Bar(0.88, 0.95, 0.1, 0.6, -0.2, 0.5)
CERTAIN = Bar(0.93, 0.96, 0.3, 0.5, 0.3, 0.7)
CLOSE_NEAR = Bar(0.85, 0.9, 0.5, 0.7, 0.5, 0.8, held=0.94)
CLOSE_CERTAIN = Bar(0.92, 0.95, 0.65, 0.8, 0.65, 0.85)
SMALL_NEAR = Bar(0.85, 0.9, 0.2, 0.5, 0.2, 0.7)
"""Bars at 32 points a side (for images with no more to show, and before a close look), and at 96; the last is for images of less than 96
pixels that reach CERTAIN at 32: half of their copies saved as JPEG of quality 30 have a worst window below 0.34 at 96; signs with other
digits reach 0.12.

Measured at 96 on 250 photos of five public datasets: of copies compressed to JPEG quality 15, brought to a quarter of their size,
recoloured, cropped by up to 20 %, shifted by 8 % or all of that, 98 % have a worst window above 0.5 and a worst box above 0.88, the
median is 0.9 and 1.0; of two different objects on one ground, at a fifth of its side or more, 9 in 10 stay below 0.56; of signs with
other digits all stay below 0. Of 5,398 photos of clothes (64 pixels) on a few grounds, the first pair of different pieces reaches 0.07.
At 32, on 22,406 photos, judged by eye: of the 143 pairs between NEAR and CERTAIN 133 were of one shot, of the 104 that reach CERTAIN
with least 103 (`benchmarks/judged_pairs.csv`)."""

SKETCHED_AN_IMAGE, SKETCHED_LEAST, SKETCHED = 0.75, 2_000, 250_000
"""Pairs of like sketches that are looked at: the likest, so many an image, and at most so many in all."""

CROWD_EQUAL = 32
"""Rows with one hash up to which all of their pairs are given."""

CROWD = 1_024
"""Hashes that agree in two bands beyond which not all of them are compared: chance puts 15 there for a million images."""

CROWD_NEIGHBOURS = 8
MOST_PAIRS = 1_000_000
SMALL_CROWD = 64
"""In a crowd each hash is compared with so many that follow it in sorted order. Once so many pairs are found, SMALL_CROWD makes a crowd, in
which each is compared with the next alone. Thousands of frames of a camera that stands still are joined by these as well as by all their
millions of pairs."""

LARGE_PX = 40
"""Short side of images that have more to show than the first look sees."""

BOXES_AN_IMAGE = 100

VERIFIED_AT_ONCE, COMPARED_AT_ONCE = 16_384, 512
"""Pairs whose thumbnails are asked for together, and compared together."""

MIRRORED = 2
TURNS = 8
"""Ways in which an image can be turned by quarters and mirrored, numbered 1 to 8 as EXIF does."""

_FROM_COLUMNS, _FROM_ROWS, _TRANSPOSED = (2, 3, 6, 7), (3, 4, 7, 8), 5
"""Orientations that ask for columns in reverse order, and for rows; from _TRANSPOSED on rows and columns were exchanged before."""

_ODD_COLUMNS, _ODD_ROWS = 0x5555_5555_5555_5555, 0x00FF_00FF_00FF_00FF
"""Bits of the frequencies that change their sign when columns, or rows, are put in reverse order."""


def max_bits_for(n: int) -> int:
    """Give the most bits, up to MAX_BITS, that may differ among n images before chance makes pairs of its own.

    For random hashes the number of pairs within d bits is 8 · n·(n − 1) ÷ 2 · Σ C(64, k) ÷ 2⁶⁴ over k ≤ d: each two are compared in 8 ways.

    >>> max_bits_for(118_000), max_bits_for(1_000_000)
    (6, 4)
    """
    tries = TURNS * n * (n - 1) / 2
    bits = MAX_BITS
    while bits and tries * sum(math.comb(HASH_BITS, k) for k in range(bits + 1)) / 2.0**HASH_BITS > EXPECTED_FALSE_PAIRS:
        bits -= 1
    return bits


def find_duplicates(dataset: Dataset, pixels: Pixels, *, max_bits: int | None = None, thumbnails: Thumbnails | None = None) -> Duplicates:
    """Group the images that are the same, and those that are nearly the same.

    Args:
        dataset: The dataset that was scanned.
        pixels: What the scan found, one row an image of the dataset.
        max_bits: How many of 64 bits may differ between nearly identical images; by default 6, fewer from about 230,000 images on
            (`max_bits_for`). 7 and 8 find more copies that were changed strongly, and take longer.
        thumbnails: Gives small versions of images, to look at before a pair is believed. Without, the hashes are.
    """
    n = len(pixels)
    assert n == dataset.n_images
    exact_pairs = np.concatenate([_joined_by(pixels.content_hash), _joined_by(pixels.pixel_hash)])
    exact_group = clusters(exact_pairs, n)
    first_of_group = np.unique(exact_group, return_index=True)[1]
    hashable = ~pixels.is_flat & (pixels.perceptual != 0)
    lone = exact_group < 0
    lone[first_of_group] = True
    rows = np.flatnonzero(hashable & lone)
    if max_bits is None:
        max_bits = max_bits_for(len(rows))
    hashes = pixels.perceptual[rows]
    near = turned_pairs(hashes, max_bits)
    if thumbnails is None:
        found = rows[near[0]].reshape(-1, 2).astype(np.int32)
        believed = (found, near[1], near[2], np.ones(len(found), np.bool_))
    else:
        from threadpoolctl import threadpool_limits

        # Products of small matrices are slower on several threads, many times so where other programs want the cores; and sums that do
        # not depend on the number of cores make the same pairs everywhere.
        with threadpool_limits(1, "blas"):
            near = _with_sketched(near, hashes, pixels.sketch[rows])
            believed = _verified((rows[near[0]].reshape(-1, 2).astype(np.int32), near[1], near[2]), thumbnails, dataset)
    pairs, distance, turn, certain = _one_a_pair(*believed)
    return Duplicates(
        exact_group=exact_group,
        near_group=clusters(np.concatenate([exact_pairs, pairs]), n),
        near_pairs=pairs,
        near_distance=distance,
        near_turn=turn,
        near_certain=certain,
        certain_group=clusters(np.concatenate([exact_pairs, pairs[certain]]), n),
    )


def _with_sketched(near: Near, hashes: Hashes, sketches: NDArray[np.int8]) -> Near:
    """Put behind pairs of near hashes, the nearest first, those of like sketches, the likest first."""
    hashed, distance, turn = near
    nearest = np.argsort(distance, kind="stable")
    rows = np.flatnonzero(sketches.any(axis=1))
    liked, like, mirrored = neighbours(sketches[rows])
    likest = np.lexsort((liked[:, 1], liked[:, 0], -like))[: min(int(SKETCHED_AN_IMAGE * len(rows)) + SKETCHED_LEAST, SKETCHED)]
    liked, mirrored = rows[liked[likest]], mirrored[likest]
    other = np.where(mirrored, turned(hashes[liked[:, 1]], MIRRORED), hashes[liked[:, 1]])
    pairs = np.concatenate([hashed[nearest], liked])
    distance = np.concatenate([distance[nearest], np.bitwise_count(hashes[liked[:, 0]] ^ other)])
    turn = np.concatenate([turn[nearest], np.where(mirrored, MIRRORED, 1).astype(np.uint8)])
    _, first = np.unique(np.column_stack([pairs, turn]), axis=0, return_index=True)
    first.sort()
    return pairs[first], distance[first], turn[first]


def _joined_by(hashes: NDArray[np.object_]) -> Pairs:
    """Pair each row with the first that has the same hash; an empty hash is like no other."""
    first: dict[bytes, int] = {}
    pairs = [(before, row) for row, key in enumerate(hashes.tolist()) if key and (before := first.setdefault(key, row)) != row]
    return np.array(pairs, np.int32).reshape(-1, 2)


def clusters(pairs: Pairs, n: int) -> NDArray[np.int32]:
    """Give each of n rows the number of its connected component, counted in the order of their first rows; -1 for rows in no pair."""
    group = np.full(n, -1, np.int32)
    if len(pairs):
        from scipy.sparse import coo_array
        from scipy.sparse.csgraph import connected_components

        edges = coo_array((np.ones(len(pairs), np.int8), (pairs[:, 0], pairs[:, 1])), shape=(n, n))
        component = connected_components(edges, directed=False)[1]
        rows = np.unique(pairs)
        _, first, number = np.unique(component[rows], return_index=True, return_inverse=True)
        group[rows] = np.argsort(np.argsort(first))[number]
    return group


# Pairs of hashes ----------------------------------------------------------------------------------------------------

Near = tuple[Pairs, NDArray[np.uint8], NDArray[np.uint8]]
"""Pairs of rows, their differing bits, and the orientation that sets the second image as the first."""


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
    pairs, distances, _ = _pairs(hashes, lambda distinct: _pairs_of_distinct(distinct[:, None], (), max_bits))
    return pairs, distances


def turned_pairs(hashes: Hashes, max_bits: int = MAX_BITS) -> Near:
    """Find all pairs of hashes that differ in at most `max_bits` bits once one of the images is turned or mirrored in one of the 8 ways.

    Args and crowds as of `near_pairs`. No image is in a pair with itself turned.

    Returns:
        Pairs and distances as of `near_pairs`, and for each pair the EXIF orientation, uint8 1 to 8, that turns the image of the second
        row as that of the first is. A pair that is near in two ways is given twice.

    >>> one, other = 0x0123456789ABCDEF, 0xFEDCBA9876543210
    >>> mirrored = turned(np.array([one], np.uint64), 2)[0]
    >>> pairs, distances, turn = turned_pairs(np.array([one, other, mirrored ^ np.uint64(1)], np.uint64))
    >>> pairs.tolist(), distances.tolist(), turn.tolist()
    ([[0, 2]], [1], [2])
    """
    flips = (_ODD_ROWS, _ODD_COLUMNS)
    return _pairs(hashes, lambda distinct: _pairs_of_distinct(np.stack([distinct, turned(distinct, _TRANSPOSED)], 1), flips, max_bits))


def turned(hashes: Hashes, orientation: int) -> Hashes:
    """Give the hashes of the images turned and mirrored as an EXIF orientation asks for; bits are those of `Pixels.perceptual`.

    >>> [f"{turned(np.array([1 << 62], np.uint64), orientation)[0]:016x}" for orientation in (1, 4, 5)]
    ['4000000000000000', '40ff00ff00ff00ff', '0080000000000000']
    """
    if orientation >= _TRANSPOSED:
        # Of a square of bits exchange the quarters off the diagonal, then within quarters, then within those.
        for distance, mask in ((28, 0x0000_0000_F0F0_F0F0), (14, 0x0000_CCCC_0000_CCCC), (7, 0x00AA_00AA_00AA_00AA)):
            shift = np.uint64(distance)
            differs = (hashes ^ (hashes >> shift)) & np.uint64(mask)
            hashes = hashes ^ differs ^ (differs << shift)
    mask = (_ODD_COLUMNS if orientation in _FROM_COLUMNS else 0) ^ (_ODD_ROWS if orientation in _FROM_ROWS else 0)
    return hashes ^ np.uint64(mask)


def _pairs(hashes: Hashes, of_distinct: Callable[[Hashes], Iterator[Found]]) -> Near:
    """Give the pairs of rows whose hashes are equal, or make a pair among the different hashes."""
    distinct, number, size = np.unique(hashes, return_inverse=True, return_counts=True)
    members = np.argsort(number, kind="stable")
    start = np.cumsum(size) - size
    repeated = np.flatnonzero(size > 1)
    equal = (repeated, repeated, np.zeros(len(repeated), np.uint8), np.ones(len(repeated), np.uint8))
    left, right, distance, turn = (np.concatenate(parts) for parts in zip(*of_distinct(distinct), equal, strict=True))
    most_equal = CROWD_EQUAL if len(left) < MOST_PAIRS else 1
    stands_for = np.where(size > most_equal, 1, size)
    each = stands_for[left] * stands_for[right]
    of = np.repeat(np.arange(len(each)), each)
    within = np.arange(len(of)) - np.repeat(np.cumsum(each) - each, each)
    by, width = left[of], stands_for[right[of]]
    one, other = members[start[by] + within // width], members[start[right[of]] + within % width]
    kept = (by != right[of]) | (one < other)
    one, other, of = one[kept], other[kept], of[kept]
    crowded = np.flatnonzero(size[number[members]] > most_equal)
    first = members[start[number[members[crowded]]]]
    later = first != members[crowded]
    n_later = int(later.sum())
    pairs = np.concatenate([np.stack([one, other], 1), np.stack([first[later], members[crowded][later]], 1)])
    distances = np.concatenate([distance[of], np.zeros(n_later, np.uint8)])
    turns = np.concatenate([np.where(one < other, turn[of], TURN_BACK[turn[of]]), np.ones(n_later, np.uint8)])
    pairs = np.sort(pairs, axis=1).astype(np.int32)
    order = np.lexsort((turns, pairs[:, 1], pairs[:, 0]))
    return pairs[order], distances[order], turns[order]


Found = tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.uint8], NDArray[np.uint8]]
"""Rows of one and of the other, distances, and orientations that set the others as the ones."""

_TURN = np.array([[1, 4], [2, 3]], np.uint8)
"""Orientation by whether columns and rows are in reverse order, of what is not transposed; 4 more of what is."""


def _pairs_of_distinct(variants: Hashes, flips: tuple[int, ...], max_bits: int) -> Iterator[Found]:
    """Give the pairs of hashes that are all different, each once a variant; a hash like itself transposed is one.

    Args:
        variants: uint64 (n, k): the ascending hashes, and beside them, where wanted, those of the transposed images.
        flips: Masks of bits that may be turned over; any of them together, too.
        max_bits: Differing bits of a pair, at most.
    """
    n_variants = variants.shape[1]
    hashes = variants.ravel()
    edges = np.linspace(0, HASH_BITS, max_bits + 3).astype(int).tolist()
    bands = [(low, high - low) for low, high in itertools.pairwise(edges)]
    masks = np.array([((1 << width) - 1) << low for low, width in bands], np.uint64)
    n_pairs = 0
    for i, j in itertools.combinations(range(len(bands)), 2):
        level, free = _levelled(hashes, int(masks[i] | masks[j]), flips)
        order, left = _sorted_by_bands(level, bands[i], bands[j])
        ordered = level[order]
        # Each row as it is is compared with what follows in both variants: the later of two transposed is the earlier transposed.
        at = np.flatnonzero((left > 0) & (order % n_variants == 0))
        for step in itertools.count(1):
            at = at[left[at] >= step]
            crowd, neighbours = (CROWD, CROWD_NEIGHBOURS) if n_pairs < MOST_PAIRS else (SMALL_CROWD, 1)
            if step > neighbours * n_variants:
                at = at[left[at] < crowd * n_variants]
            if not len(at):
                break
            apart = ordered[at] ^ ordered[at + step]
            for flip in free:
                different = apart ^ np.uint64(flip) if flip else apart
                distance = np.bitwise_count(different)
                close = np.flatnonzero(distance <= max_bits)
                if not len(close):
                    continue
                # A pair that agrees in three bands stands in three tables; it counts in the first.
                agree = (different[close, None] & masks) == 0
                close = close[(np.cumsum(agree[:, :j], axis=1)[:, -1] == 1) & (agree.argmax(axis=1) == i)]
                one, other = order[at[close]], order[at[close] + step]
                flipped = hashes[one] ^ hashes[other] ^ different[close]
                one, (other, transposed) = one // n_variants, np.divmod(other, n_variants)
                turn = _TURN[_has(flipped, _ODD_COLUMNS & ~_ODD_ROWS), _has(flipped, _ODD_ROWS & ~_ODD_COLUMNS)]
                turn += (4 * transposed).astype(np.uint8)
                n_pairs += len(close)
                yield one, other, distance[close], turn


def _has(hashes: Hashes, mask: int) -> NDArray[np.intp]:
    bits: NDArray[np.intp] = ((hashes & np.uint64(mask)) != 0).astype(np.intp)
    return bits


def _levelled(hashes: Hashes, mask: int, flips: tuple[int, ...]) -> tuple[Hashes, list[int]]:
    """Turn hashes over so that those that agree in the bits of a mask after any flips agree as they are.

    The second value lists the flips that change no bit of the mask, so that these bits do not tell whether to make them; 0 is one.
    """
    free, waiting = [0], list(flips)
    while waiting:
        flip = waiting.pop(0)
        bit = flip & mask & -(flip & mask)
        if not bit:
            free += [flip ^ other for other in free]
            continue
        hashes = hashes ^ ((hashes >> np.uint64(bit.bit_length() - 1)) & np.uint64(1)) * np.uint64(flip)
        # What is made from here on leaves the bit alone.
        waiting = [other ^ flip if other & bit else other for other in waiting]
    return hashes, free


def _sorted_by_bands(hashes: Hashes, one: tuple[int, int], other: tuple[int, int]) -> tuple[NDArray[np.intp], NDArray[np.int32]]:
    """Sort hashes by the bits of two bands, and equal ones by their rows; give the order, and how many with the same bits follow each."""
    key = ((hashes >> np.uint64(one[0])) & np.uint64((1 << one[1]) - 1)) << np.uint64(other[1])
    key |= (hashes >> np.uint64(other[0])) & np.uint64((1 << other[1]) - 1)
    # Numbers that hold the row as well are sorted several times faster than rows by a key. Bits for which there is no room are left out:
    # more is compared then, and nothing else follows from it.
    row_bits = max(len(hashes) - 1, 1).bit_length()
    key >>= np.uint64(max(one[1] + other[1] + row_bits - 64, 0))
    key = np.sort(key << np.uint64(row_bits) | np.arange(len(hashes), dtype=np.uint64))
    order = (key & np.uint64((1 << row_bits) - 1)).astype(np.intp)
    key >>= np.uint64(row_bits)
    ends = np.flatnonzero(np.append(key[1:] != key[:-1], True)) if len(key) else np.zeros(0, np.intp)
    length = np.diff(ends, prepend=-1)
    left = np.repeat(ends, length) - np.arange(len(key))
    return order, left.astype(np.int32)


def _one_a_pair(
    pairs: Pairs, distance: NDArray[np.uint8], turn: NDArray[np.uint8], certain: NDArray[np.bool_]
) -> tuple[Pairs, NDArray[np.uint8], NDArray[np.uint8], NDArray[np.bool_]]:
    """Keep one way in which a pair is near: as both are where that is one, else that with the fewest differing bits."""
    order = np.lexsort((turn, distance, turn > 1, pairs[:, 1], pairs[:, 0]))
    pairs, distance, turn, certain = pairs[order], distance[order], turn[order], certain[order]
    new = np.append(True, (pairs[1:] != pairs[:-1]).any(axis=1))[: len(pairs)]
    return pairs[new], distance[new], turn[new], certain[new]


# A look at the images ---------------------------------------------------------------------------------------------


def _verified(
    near: Near, thumbnails: Thumbnails, dataset: Dataset
) -> tuple[Pairs, NDArray[np.uint8], NDArray[np.uint8], NDArray[np.bool_]]:
    """Keep the pairs whose images agree when one is laid over the other, and say of which that is certain.

    After the first batch, pairs that earlier ones have joined for certain are passed over: of a thousand frames that are all alike, not
    all of half a million pairs are looked at.
    """
    pairs, distance, turn = near
    n = dataset.n_images
    waiting = np.arange(len(pairs))
    kept: list[NDArray[np.intp]] = []
    surely: list[NDArray[np.bool_]] = []
    while len(waiting):
        batch, waiting = waiting[:VERIFIED_AT_ONCE], waiting[VERIFIED_AT_ONCE:]
        passed, certain = _compared(pairs[batch], turn[batch], thumbnails, dataset)
        kept.append(batch[passed])
        surely.append(certain[passed])
        if len(waiting):
            group = clusters(pairs[np.concatenate(kept)[np.concatenate(surely)]], n)
            ends = group[pairs[waiting]]
            waiting = waiting[(ends[:, 0] < 0) | (ends[:, 0] != ends[:, 1])]
    chosen = np.concatenate([*kept, np.zeros(0, np.intp)])
    return pairs[chosen], distance[chosen], turn[chosen], np.concatenate([*surely, np.zeros(0, bool)])


def _compared(
    pairs: Pairs, turn: NDArray[np.uint8], thumbnails: Thumbnails, dataset: Dataset
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Tell which pairs are near, and which for certain: at first by small squares, then those of large images closely."""
    near, certain = np.zeros((2, len(pairs)), bool)
    fit = np.zeros((len(pairs), 4), np.float32)
    side = dataset.sizes[pairs].min(axis=(1, 2))
    large = side >= LARGE_PX
    for part, found in _likenesses(pairs, turn, thumbnails, FIRST_SIDE, dataset):
        near[part], certain[part], fit[part] = NEAR.passed(found), CERTAIN.passed(found), found.fit
        near[part] |= large[part] & FIRST_LOOK.passed(found)
    closely = np.flatnonzero(near & large)
    for part, found in _likenesses(pairs[closely], turn[closely], thumbnails, CLOSE_SIDE, dataset, fit[closely]):
        # What is smaller than the squares has little fine structure, which compression takes; a certain first look makes up for it.
        lenient = certain[closely[part]] & (side[closely[part]] < CLOSE_SIDE)
        near[closely[part]] = CLOSE_NEAR.passed(found) | (SMALL_NEAR.passed(found) & lenient)
        certain[closely[part]] = CLOSE_CERTAIN.passed(found)
    return near, certain & near


def _likenesses(
    pairs: Pairs,
    turn: NDArray[np.uint8],
    thumbnails: Thumbnails,
    side: int,
    dataset: Dataset,
    fit: NDArray[np.float32] | None = None,
) -> Iterator[tuple[NDArray[np.intp], Likeness]]:
    """Compare pairs, so many at once; give which, and how alike they are."""
    rows = np.unique(pairs)
    squares = thumbnails(rows.astype(np.intp), side)
    place = np.searchsorted(rows, pairs)
    at_once = max(COMPARED_AT_ONCE * FIRST_SIDE**2 // side**2, 1)
    boxes = _Labelled(dataset)
    for part in np.array_split(np.arange(len(pairs)), -(-len(pairs) // at_once) or 1):
        if len(part):
            other = upright(squares[place[part, 1]], turn[part])
            inside = boxes.of(pairs[part], turn[part])
            yield part, likeness(squares[place[part, 0]], other, None if fit is None else fit[part], inside)


class _Labelled:
    """The boxes of a dataset's images, to be had by image."""

    def __init__(self, dataset: Dataset) -> None:
        annotations = dataset.annotations
        self._boxes = dataset.boxes / np.tile(np.maximum(dataset.sizes[annotations.image], 1), 2)
        useful = np.isfinite(self._boxes).all(axis=1) & (self._boxes[:, 2:] > self._boxes[:, :2]).all(axis=1)
        rows = np.flatnonzero(useful & dataset.is_instance)
        self._order = rows[np.argsort(annotations.image[rows], kind="stable")]
        self._start = np.searchsorted(annotations.image[self._order], np.arange(dataset.n_images + 1))

    def of(self, pairs: Pairs, turn: NDArray[np.uint8]) -> Boxes:
        """Give the boxes of pairs, those of the second image turned as it is."""
        images = pairs.ravel()
        first = self._start[images]
        n = np.minimum(self._start[images + 1] - first, BOXES_AN_IMAGE)
        of = np.repeat(np.arange(len(images)), n)
        at = self._order[first[of] + np.arange(len(of)) - np.repeat(np.cumsum(n) - n, n)]
        boxes = np.clip(self._boxes[at], 0, 1)
        way = np.where(of % 2 == 1, turn[of // 2], 1)
        boxes[way >= _TRANSPOSED] = boxes[way >= _TRANSPOSED][:, [1, 0, 3, 2]]
        for ways, low in ((_FROM_COLUMNS, 0), (_FROM_ROWS, 1)):
            chosen = np.isin(way, ways)
            boxes[chosen, low], boxes[chosen, low + 2] = 1 - boxes[chosen, low + 2], 1 - boxes[chosen, low]
        return Boxes(of // 2, of % 2 == 1, boxes.astype(np.float32))


def upright(squares: NDArray[np.uint8], turn: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Turn squares, uint8 (k, side, side), each as the EXIF orientation beside it says, uint8 (k), 1 to 8."""
    squares = squares.copy()
    for orientation in np.unique(turn[turn > 1]).tolist():
        chosen = np.flatnonzero(turn == orientation)
        some = squares[chosen].transpose(0, 2, 1) if orientation >= _TRANSPOSED else squares[chosen]
        some = some[:, :, ::-1] if orientation in _FROM_COLUMNS else some
        squares[chosen] = some[:, ::-1] if orientation in _FROM_ROWS else some
    return squares
