"""Pictures that are the same, or nearly so: every pair is found, no crowd makes it slow, and none is believed without a look."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from dataset_doctor.pixels import TURN_BACK, Duplicates, Pixels
from dataset_doctor.scan import scan, thumbnails
from dataset_doctor.scan.near import correlation, find_duplicates, max_bits_for, near_pairs, turned, turned_pairs
from tests.drawing import draw, drawn_pixels
from tests.scan.pictures import encoded, folder_of, photo


def brute_force(hashes: np.ndarray, max_bits: int) -> list[tuple[int, int, int]]:
    rows = [int(h) for h in hashes]
    pairs = [(i, j, (rows[i] ^ rows[j]).bit_count()) for i in range(len(rows)) for j in range(i + 1, len(rows))]
    return [pair for pair in pairs if pair[2] <= max_bits]


def found(hashes: np.ndarray, max_bits: int) -> list[tuple[int, int, int]]:
    pairs, distances = near_pairs(hashes, max_bits)
    return [(i, j, d) for (i, j), d in zip(pairs.tolist(), distances.tolist(), strict=True)]


def flipped(hashes: np.ndarray, rng: np.random.Generator, bits: int) -> np.ndarray:
    """Turn over `bits` different bits of each hash."""
    places = rng.permuted(np.tile(np.arange(64, dtype=np.uint64), (len(hashes), 1)), axis=1)[:, :bits]
    return hashes ^ np.bitwise_or.reduce(np.uint64(1) << places, axis=1, initial=np.uint64(0))


@settings(deadline=None)
@given(
    seeds=st.lists(st.integers(0, 2**64 - 1), min_size=0, max_size=12),
    changes=st.lists(st.tuples(st.integers(0, 11), st.lists(st.integers(0, 63), max_size=9)), max_size=40),
    max_bits=st.integers(0, 8),
)
def test_every_pair_is_found_once(seeds: list[int], changes: list[tuple[int, list[int]]], max_bits: int) -> None:
    """For any hashes and any limit the pairs and distances are those of comparing all with all."""
    hashes = list(seeds)
    for start, bits in changes:
        if start < len(seeds):
            hashes.append(seeds[start] ^ sum(1 << bit for bit in set(bits)))
    column = np.array(hashes, np.uint64)

    assert found(column, max_bits) == brute_force(column, max_bits)


@pytest.mark.parametrize("max_bits", [0, 3, 6, 7])
def test_no_planted_pair_is_missed_and_none_made_up(max_bits: int) -> None:
    """Of 500 copies at each distance, those within the limit are found, and nothing else."""
    rng = np.random.default_rng(max_bits)
    hashes = rng.integers(0, 2**64, 6000, dtype=np.uint64)
    copies = [flipped(hashes[500 * bits : 500 * bits + 500], rng, bits) for bits in range(10)]

    pairs, distances = near_pairs(np.concatenate([hashes, *copies]), max_bits)

    wanted = [(500 * bits + i, 6000 + 500 * bits + i) for bits in range(max_bits + 1) for i in range(500)]
    assert pairs.tolist() == [list(pair) for pair in wanted]
    assert distances.tolist() == [bits for bits in range(max_bits + 1) for _ in range(500)]


def cluster_sizes(pairs: np.ndarray, n: int) -> list[int]:
    """Give the sizes of the clusters that pairs make of n rows, largest first, lone rows left out."""
    edges = coo_array((np.ones(len(pairs)), (pairs[:, 0], pairs[:, 1])), shape=(n, n))
    sizes = np.bincount(connected_components(edges, directed=False)[1])
    return sorted(sizes[sizes > 1].tolist(), reverse=True)


def test_thousands_with_one_hash_are_joined_without_all_their_pairs() -> None:
    """20,000 equal hashes and one a bit away are one cluster, told by about as many pairs, not by 200 million."""
    hashes = np.concatenate([np.full(20_000, 7, np.uint64), np.array([6, 0xFF << 40], np.uint64)])

    pairs, _ = near_pairs(hashes, 3)

    assert len(pairs) <= 20_002
    assert cluster_sizes(pairs, len(hashes)) == [20_001]


def test_a_still_camera_does_not_blow_up() -> None:
    """60,000 frames within three bits of one hash are one cluster, quickly and in few pairs, and a pair elsewhere is found beside them."""
    rng = np.random.default_rng(3)
    frames = np.full(60_000, 0x123456789ABCDEF0, np.uint64)
    for _ in range(3):
        frames ^= np.uint64(1) << rng.integers(0, 64, len(frames)).astype(np.uint64)
    elsewhere = np.array([0xFFFF0000FFFF0000, 0xFFFF0000FFFF003F], np.uint64)

    begun = time.perf_counter()
    pairs, _ = near_pairs(np.concatenate([frames, elsewhere]), 6)

    assert time.perf_counter() - begun < 20, "comparing all with all would take minutes"
    assert len(pairs) < 5_000_000
    assert cluster_sizes(pairs, 60_002) == [60_000, 2]


def test_fewer_bits_may_differ_among_more_pictures() -> None:
    """In eight ways chance makes 0.25 pairs of 118,000 random hashes at 6 bits, 1.8 of a million at 5, 0.9 of ten million at 3."""
    assert [max_bits_for(n) for n in (0, 1, 1_000, 118_000, 1_000_000, 10_000_000)] == [6, 6, 6, 6, 4, 3]


# Turned pictures ----------------------------------------------------------------------------------------------------


def brute_force_turned(hashes: np.ndarray, max_bits: int) -> list[tuple[int, int, int, int]]:
    """Compare all with all in all eight ways."""
    ways = [[int(h) for h in turned(hashes, orientation)] for orientation in range(1, 9)]
    return [
        (i, j, distance, orientation)
        for i in range(len(hashes))
        for j in range(i + 1, len(hashes))
        for orientation in range(1, 9)
        if (distance := (ways[0][i] ^ ways[orientation - 1][j]).bit_count()) <= max_bits
    ]


@settings(deadline=None, max_examples=50)
@given(
    seeds=st.lists(st.tuples(st.integers(0, 2**64 - 1), st.booleans()), min_size=1, max_size=6),
    changes=st.lists(st.tuples(st.integers(0, 5), st.integers(1, 8), st.lists(st.integers(0, 63), max_size=9)), max_size=25),
    max_bits=st.integers(0, 8) | st.just(17),
)
def test_every_turned_pair_is_found_once(seeds: list[tuple[int, bool]], changes: list[tuple[int, int, list[int]]], max_bits: int) -> None:
    """For any hashes, those of symmetric pictures too, and any limit the pairs, distances and turns are those of comparing all with all."""
    column = np.array([seed for seed, _ in seeds], np.uint64)
    column = np.where([symmetric for _, symmetric in seeds], column | turned(column, 5), column)
    copies = [
        turned(column[start : start + 1], orientation) ^ np.uint64(sum(1 << bit for bit in set(bits)))
        for start, orientation, bits in changes
        if start < len(seeds)
    ]
    hashes = np.concatenate([column, *copies])

    pairs, distances, turns = turned_pairs(hashes, max_bits)

    assert [(*pair, d, t) for pair, d, t in zip(pairs.tolist(), distances.tolist(), turns.tolist(), strict=True)] == brute_force_turned(
        hashes, max_bits
    )


def test_turning_back_undoes_a_turn() -> None:
    """An orientation followed by the one that undoes it leaves a hash as it was."""
    hashes = np.random.default_rng(5).integers(0, 2**64, 50, dtype=np.uint64)

    for orientation in range(1, 9):
        assert (turned(turned(hashes, orientation), int(TURN_BACK[orientation])) == hashes).all(), orientation


def turned_picture(picture: np.ndarray, orientation: int) -> np.ndarray:
    """Turn a picture as the EXIF standard says that one stored with this orientation is to be shown."""
    clockwise = {1: 0, 2: 0, 3: 2, 4: 2, 5: 3, 6: 1, 7: 1, 8: 3}[orientation]
    mirrored = picture[:, ::-1] if orientation in (2, 4, 5, 7) else picture
    return np.rot90(mirrored, -clockwise)


def test_turned_and_mirrored_copies_of_photos_are_found(tmp_path: Path) -> None:
    """All seven ways of five photos, compressed to JPEG quality 50 and made smaller, are found with the way, and nothing else is."""
    files = {}
    for seed in range(5):
        picture = photo(seed, 320, 240)
        files[f"{seed} 1.jpg"] = encoded(picture, quality=95)
        for orientation in range(2, 9):
            copy = Image.fromarray(np.ascontiguousarray(turned_picture(picture, orientation)))
            small = copy.resize((copy.width * 3 // 4, copy.height * 3 // 4)) if orientation % 2 else copy
            files[f"{seed} {orientation}.jpg"] = encoded(small, quality=50)
    files |= {f"other {seed}.jpg": encoded(photo(seed + 50)) for seed in range(5)}
    dataset = folder_of(tmp_path, files)
    pixels = scan(dataset, cache=None, workers=1)

    result = find_duplicates(dataset, pixels, thumbnails=thumbnails(dataset, pixels, cache=None, workers=1))

    assert result.near_group.tolist() == [group for group in range(5) for _ in range(8)] + [-1] * 5
    ways = {(int(a), int(b)): int(turn) for (a, b), turn in zip(result.near_pairs, result.near_turn, strict=True)}
    for seed in range(5):
        assert [ways[8 * seed, 8 * seed + other] for other in range(1, 8)] == [int(TURN_BACK[o]) for o in range(2, 9)]
    assert len(ways) == 5 * 28


@pytest.mark.parametrize("symmetry", ["left-right", "diagonal", "all"])
def test_a_symmetric_photo_is_no_copy_of_itself(tmp_path: Path, symmetry: str) -> None:
    """A picture that looks the same when mirrored or turned is in no pair, and its copy is told as a copy that is not turned."""
    square = photo(4, 240, 240).astype(np.uint16)
    if symmetry != "diagonal":
        square = (square + square[:, ::-1]) // 2
    if symmetry != "left-right":
        square = (square + square.transpose(1, 0, 2)) // 2
    if symmetry == "all":
        square = (square + square[::-1]) // 2
    symmetric = square.astype(np.uint8)
    dataset = folder_of(tmp_path, {"a.png": encoded(symmetric, "PNG"), "b.jpg": encoded(photo(5)), "c.png": encoded(photo(6), "PNG")})
    alone = scan(dataset, cache=None, workers=1)
    twice = Pixels(**{name: np.concatenate([getattr(alone, name)[:1]] * 2 + [getattr(alone, name)[1:2]]) for name in Pixels.__slots__})
    twice.content_hash[1] = b"another"

    assert len(find_duplicates(dataset, alone).near_pairs) == 0
    result = find_duplicates(dataset, twice)
    assert result.near_pairs.tolist() == [[0, 1]]
    assert result.near_turn.tolist() == [1]


# Groups -------------------------------------------------------------------------------------------------------------


def duplicates(text: str, **options: object) -> Duplicates:
    dataset, _ = draw(text)
    return find_duplicates(dataset, drawn_pixels(text), **options)


def test_same_bytes_and_same_pixels_make_one_group() -> None:
    """Files are joined by either hash, also through a third; what has no hash is like nothing."""
    result = duplicates(
        "a.jpg 9x9 content_hash=x\n"
        "b.jpg 9x9 content_hash=y pixel_hash=p\n"
        "c.jpg 9x9 content_hash=x pixel_hash=p\n"
        "d.jpg 9x9\n"
        "e.jpg 9x9 content_hash= state=CORRUPT\n"
        "f.jpg 9x9 content_hash= state=CORRUPT\n"
        "g.jpg 9x9 content_hash=z\n"
        "h.jpg 9x9 content_hash=z\n"
    )

    assert result.exact_group.tolist() == [0, 0, 0, -1, -1, -1, 1, 1]
    assert result.near_group.tolist() == [0, 0, 0, -1, -1, -1, 1, 1]
    assert len(result.near_pairs) == 0


def test_near_pairs_join_the_copies_of_both() -> None:
    """One picture of each exact group is compared; the cluster holds all of them, and the pairs no identical ones."""
    result = duplicates(
        "a.jpg 9x9 perceptual=ff00 content_hash=a\n"
        "b.jpg 9x9 perceptual=ff00 content_hash=a\n"
        "c.jpg 9x9 perceptual=ff07\n"
        "d.jpg 9x9 perceptual=555555555555aa5a\n"
        "e.jpg 9x9\n"
    )

    assert result.exact_group.tolist() == [0, 0, -1, -1, -1]
    assert result.near_group.tolist() == [0, 0, 0, 0, -1]
    assert result.near_pairs.tolist() == [[0, 2], [0, 3], [2, 3]]
    assert result.near_distance.tolist() == [3, 4, 1]
    assert result.near_turn.tolist() == [1, 2, 2]


def test_flat_pictures_are_compared_exactly_only() -> None:
    """Black pictures have alike hashes and are no near copies; the same black file twice is."""
    lines = [f"{i}.jpg 9x9 perceptual=aaaa is_flat=1 content_hash={max(i, 1)}" for i in range(50)]

    result = duplicates("\n".join(lines))

    assert len(result.near_pairs) == 0
    assert result.near_group.tolist() == [0, 0] + [-1] * 48


def test_a_symmetric_picture_is_no_copy_of_itself_by_hash() -> None:
    """A hash that is its own transposed makes no pair; two of them are alike as they are, though nearer when transposed."""
    result = duplicates(
        "a.jpg 9x9 perceptual=8040201008040201\nb.jpg 9x9 perceptual=8040201008040203\nc.jpg 9x9 perceptual=8040201008040301\n"
    )

    assert result.near_pairs.tolist() == [[0, 1], [0, 2], [1, 2]]
    assert result.near_distance.tolist() == [1, 1, 2]
    assert result.near_turn.tolist() == [1, 1, 1]


def test_pairs_that_look_different_are_not_believed() -> None:
    """Of pictures with alike hashes those make a pair whose thumbnails agree, in brightness or mirrored too; unreadable ones do not."""
    rng = np.random.default_rng(0)
    picture, other = rng.integers(0, 200, (2, 32, 32)).astype(np.uint8)
    smooth = np.kron(rng.integers(0, 200, (16, 16)), np.ones((2, 2))).astype(np.uint8)
    small = np.stack([smooth, smooth // 2 + 60, other, smooth[:, ::-1], np.zeros_like(smooth), picture])
    asked: list[int] = []

    def thumbnails(rows: np.ndarray) -> np.ndarray:
        asked.extend(rows.tolist())
        return small[rows]

    text = (
        "a.jpg 9x9 perceptual=ff\nb.jpg 9x9 perceptual=fe\nc.jpg 9x9 perceptual=fc\nd.jpg 9x9 perceptual=55555555555555aa\n"
        "e.jpg 9x9 perceptual=f8\nf.jpg 9x9\n"
    )
    result = duplicates(text, thumbnails=thumbnails)

    assert result.near_pairs.tolist() == [[0, 1], [0, 3], [1, 3]]
    assert result.near_turn.tolist() == [1, 2, 2]
    assert result.near_group.tolist() == [0, 0, -1, 0, -1, -1]
    assert sorted(asked) == [0, 1, 2, 3, 4], "each picture of a pair is asked for once, others are not"


def test_a_thousand_alike_pictures_are_not_all_compared() -> None:
    """Pairs within a cluster that is already joined are passed over, and the cluster is whole."""
    n = 1500
    dataset, _ = draw(f"a.jpg 9x9 x{n}")
    pixels = drawn_pixels(f"a.jpg 9x9 x{n}")
    hashes = np.arange(n, dtype=np.uint64) << np.uint64(20)
    pixels = Pixels(**{name: getattr(pixels, name) for name in Pixels.__slots__} | {"perceptual": hashes + np.uint64(1)})
    ramp = np.arange(256, dtype=np.uint8).reshape(1, 16, 16)

    result = find_duplicates(dataset, pixels, thumbnails=lambda rows: np.repeat(ramp, len(rows), axis=0))

    every = len(near_pairs(pixels.perceptual, 6)[0])
    assert set(result.near_group.tolist()) == {0}
    assert len(result.near_pairs) < every / 2


def test_correlation_ignores_brightness_and_contrast() -> None:
    """Unrelated noise correlates little, a darker copy fully, a single colour not at all."""
    rng = np.random.default_rng(1)
    a, b = rng.integers(0, 128, (2, 1, 16, 16)).astype(np.uint8)

    one = np.concatenate([a, a, a])
    other = np.concatenate([b, a * 2, np.full_like(a, 9)])
    values = correlation(one, other, np.ones(3, np.uint8))

    assert abs(values[0]) < 0.3
    assert values[1] == pytest.approx(1)
    assert values[2] == 0


@pytest.mark.parametrize("orientation", range(1, 9))
def test_correlation_turns_the_partner(orientation: int) -> None:
    """A picture is alike the one that an orientation turns into it, and unlike that turned otherwise."""
    picture = np.random.default_rng(2).integers(0, 256, (1, 16, 16)).astype(np.uint8)
    stored = turned_picture(picture[0], int(TURN_BACK[orientation]))[None]

    values = [float(correlation(picture, stored, np.array([way], np.uint8))[0]) for way in range(1, 9)]

    assert [way for way, value in zip(range(1, 9), values, strict=True) if value > 0.99] == [orientation]
