"""Images that are the same, or nearly so: every pair is found, no crowd makes it slow, and none is believed without a look."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageDraw
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from dataset_doctor.pixels import TURN_BACK, Duplicates, Pixels
from dataset_doctor.scan import _neighbours, look, near, scan
from dataset_doctor.scan._look import SKETCH_IS_ODD
from dataset_doctor.scan._neighbours import neighbours
from dataset_doctor.scan.near import find_duplicates, max_bits_for, near_pairs, turned, turned_pairs, upright
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


# Turned images ----------------------------------------------------------------------------------------------------


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
    """For any hashes, those of symmetric images too, and any limit the pairs, distances and turns are those of comparing all with all."""
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
    """Turn an image as the EXIF standard says that one stored with this orientation is to be shown."""
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

    result = look(dataset, cache=None, workers=1)[1]

    assert result.near_group.tolist() == [group for group in range(5) for _ in range(8)] + [-1] * 5
    ways = {(int(a), int(b)): int(turn) for (a, b), turn in zip(result.near_pairs, result.near_turn, strict=True)}
    for seed in range(5):
        assert [ways[8 * seed, 8 * seed + other] for other in range(1, 8)] == [int(TURN_BACK[o]) for o in range(2, 9)]
    assert len(ways) == 5 * 28


@pytest.mark.parametrize("symmetry", ["left-right", "diagonal", "all"])
def test_a_symmetric_photo_is_no_copy_of_itself(tmp_path: Path, symmetry: str) -> None:
    """An image that looks the same when mirrored or turned is in no pair, and its copy is told as a copy that is not turned."""
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
    """One image of each exact group is compared; the cluster holds all of them, and the pairs no identical ones."""
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
    """Black images have alike hashes and are no near copies; the same black file twice is."""
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


def squares_of(pictures: list[np.ndarray]) -> Callable[..., np.ndarray]:
    """Give the function that `find_duplicates` asks for small images, of these."""

    def thumbnails(rows: np.ndarray, side: int = 32) -> np.ndarray:
        images = [Image.fromarray(pictures[row]).convert("L").resize((side, side), Image.Resampling.BOX) for row in rows.tolist()]
        return np.stack([np.asarray(image) for image in images]) if images else np.zeros((0, side, side), np.uint8)

    return thumbnails


def test_pairs_that_look_different_are_not_believed() -> None:
    """Of images with alike hashes those make a pair whose squares agree, in brightness or mirrored too; unreadable ones do not."""
    picture, other = photo(1, 96, 96), photo(2, 96, 96)
    darker = (picture // 2 + 60).astype(np.uint8)
    asked: list[int] = []
    squares = squares_of([picture, darker, other, picture[:, ::-1], np.zeros_like(picture), other])

    def thumbnails(rows: np.ndarray, side: int = 32) -> np.ndarray:
        asked.extend(rows.tolist() if side == 32 else [])
        return squares(rows, side)

    text = (
        "a.jpg 96x96 perceptual=ff\nb.jpg 96x96 perceptual=fe\nc.jpg 96x96 perceptual=fc\nd.jpg 96x96 perceptual=55555555555555aa\n"
        "e.jpg 96x96 perceptual=f8\nf.jpg 96x96\n"
    )
    result = duplicates(text, thumbnails=thumbnails)

    assert result.near_pairs.tolist() == [[0, 1], [0, 3], [1, 3]]
    assert result.near_turn.tolist() == [1, 2, 2]
    assert result.near_group.tolist() == [0, 0, -1, 0, -1, -1]
    assert result.near_certain.all()
    assert sorted(asked) == [0, 1, 2, 3, 4], "each image of a pair is asked for once, others are not"


def test_many_alike_images_are_not_all_compared(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pairs within a cluster that is already joined are passed over, and the cluster is whole."""
    monkeypatch.setattr(near, "VERIFIED_AT_ONCE", 2_000)
    n = 400
    dataset, _ = draw(f"a.jpg 9x9 x{n}")
    pixels = drawn_pixels(f"a.jpg 9x9 x{n}")
    hashes = np.arange(n, dtype=np.uint64) << np.uint64(20)
    pixels = Pixels(**{name: getattr(pixels, name) for name in Pixels.__slots__} | {"perceptual": hashes + np.uint64(1)})
    squares = squares_of([photo(1, 32, 32)] * n)

    result = find_duplicates(dataset, pixels, thumbnails=squares)

    every = len(near_pairs(pixels.perceptual, 6)[0])
    assert set(result.near_group.tolist()) == {0}
    assert len(result.near_pairs) < every / 2


# Of one shot or not -------------------------------------------------------------------------------------------------


def scene(seed: int, width: int = 320, height: int = 240) -> np.ndarray:
    """Make an image with structure of every width, as photos have."""
    rng = np.random.default_rng(seed)
    layers = [
        np.asarray(Image.fromarray(rng.integers(0, 256, (n, n, 3), np.uint8)).resize((width, height), Image.Resampling.BICUBIC), np.float64)
        for n in (4, 9, 20, 45)
    ]
    mixed = sum(layer * share for layer, share in zip(layers, (0.4, 0.3, 0.2, 0.1), strict=True))
    return ((mixed - mixed.min()) / (mixed.max() - mixed.min()) * 255).astype(np.uint8)


def cropped(picture: np.ndarray, left: float, top: float, right: float, bottom: float) -> np.ndarray:
    height, width = picture.shape[:2]
    return picture[round(top * height) : round((1 - bottom) * height), round(left * width) : round((1 - right) * width)]


CHANGES: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "cropped by 10 % about the middle": lambda a: cropped(a, 0.05, 0.05, 0.05, 0.05),
    "cropped by 8 % at two sides": lambda a: cropped(a, 0.08, 0, 0, 0.08),
    "recoloured": lambda a: np.clip(a * [1.2, 0.9, 0.75] + [-10, 5, 15], 0, 255).astype(np.uint8),
    "half as colourful": lambda a: (a * 0.5 + np.asarray(Image.fromarray(a).convert("L"))[:, :, None] * 0.5).astype(np.uint8),
    "mirrored and cropped": lambda a: cropped(a[:, ::-1], 0.03, 0.05, 0.04, 0),
    "of a quarter of the size": lambda a: np.asarray(Image.fromarray(a).resize((80, 60))),
    "brightened, with white cut off": lambda a: np.clip(a * 1.25, 0, 255).astype(np.uint8),
}


@pytest.mark.parametrize("size", [(320, 240), (32, 32)], ids=["photo", "32 px"])
@pytest.mark.slow
def test_changed_copies_are_found_among_others(tmp_path: Path, size: tuple[int, int]) -> None:
    """Each kind of copy is joined with its original, of small images too, and with nothing else."""
    files, wanted = {}, []
    for number, (name, change) in enumerate(CHANGES.items()):
        original = scene(number)
        for which, picture in (("a", original), ("b", change(original))):
            shown = Image.fromarray(picture)
            files[f"{number} {which}.jpg"] = encoded(shown if size[0] > 32 else shown.resize(size, Image.Resampling.BOX), quality=88)
        wanted += [number, number]
        assert name
    files |= {f"other {seed:02}.jpg": encoded(Image.fromarray(scene(seed + 50)).resize(size), quality=88) for seed in range(30)}
    dataset = folder_of(tmp_path, files)

    result = look(dataset, cache=None, workers=1)[1]

    assert result.near_group.tolist() == wanted + [-1] * 30


def on_ground(ground: np.ndarray, thing: np.ndarray, seed: int) -> np.ndarray:
    """Put a thing in the middle of a ground, and photograph it: no two photos have the same noise."""
    shown = ground.astype(np.float64)
    height, width = thing.shape[:2]
    top, left = (ground.shape[0] - height) // 2, (ground.shape[1] - width) // 2
    shown[top : top + height, left : left + width] = thing
    return np.clip(shown + np.random.default_rng(seed).normal(0, 2, shown.shape), 0, 255).astype(np.uint8)


@pytest.mark.parametrize("side", [60, 100])
def test_two_things_on_one_ground_are_no_pair(side: int) -> None:
    """Photos of one thing on a ground are a pair, photos of two things on it are not, though everything around them is the same."""
    ground, things = scene(1, 400, 400), [scene(seed, side, side) for seed in (2, 3)]
    pictures = [on_ground(ground, things[thing], seed) for seed, thing in enumerate((0, 1, 0))]
    text = "a.jpg 400x400 perceptual=ff\nb.jpg 400x400 perceptual=fe\nc.jpg 400x400 perceptual=fc\n"

    result = duplicates(text, thumbnails=squares_of(pictures))

    assert result.near_pairs.tolist() == [[0, 2]]


def test_boxes_of_other_content_are_no_pair() -> None:
    """A thing too small to spoil a window is seen where it is labelled."""
    ground, things = scene(1, 400, 400), [np.full((16, 16, 3), level, np.uint8) for level in (20, 235)]
    things[1][4:12, 4:12] = 20
    pictures = [on_ground(ground, things[thing], seed) for seed, thing in enumerate((0, 1, 0))]
    images = [f"{name}.jpg 400x400 perceptual={bits}" for name, bits in (("a", "ff"), ("b", "fe"), ("c", "fc"))]
    labelled = "classes: x\n" + "".join(f"{image}\n  x 190 190 210 210\n" for image in images)

    result = duplicates(labelled, thumbnails=squares_of(pictures))

    assert result.near_pairs.tolist() == [[0, 2]]


def test_signs_with_other_digits_are_no_pair() -> None:
    """Two signs of one shape and on one ground differ in their digits alone."""

    def sign(digits: str, seed: int) -> np.ndarray:
        image = Image.new("RGB", (64, 64), (90, 110, 90))
        draw_on = ImageDraw.Draw(image)
        draw_on.ellipse((2, 2, 61, 61), (200, 30, 30))
        draw_on.ellipse((10, 10, 53, 53), (240, 240, 240))
        draw_on.text((14, 18), digits, (10, 10, 10), font_size=28)
        return on_ground(np.asarray(image), np.asarray(image), seed)

    pictures = [sign(digits, seed) for seed, digits in enumerate(("30", "80", "30"))]
    text = "a.jpg 64x64 perceptual=ff\nb.jpg 64x64 perceptual=fe\nc.jpg 64x64 perceptual=fc\n"

    result = duplicates(text, thumbnails=squares_of(pictures))

    assert result.near_pairs.tolist() == [[0, 2]]


@pytest.mark.parametrize("orientation", range(1, 9))
def test_the_partner_is_turned_before_it_is_compared(orientation: int) -> None:
    """An image turned by an orientation is set upright again by the one that undoes it."""
    picture = np.random.default_rng(2).integers(0, 256, (1, 32, 32)).astype(np.uint8)
    stored = turned_picture(picture[0], int(TURN_BACK[orientation]))[None]

    assert [way for way in range(1, 9) if (upright(stored, np.array([way], np.uint8)) == picture).all()] == [orientation]


# Neighbours ---------------------------------------------------------------------------------------------------------


def test_neighbours_are_found_without_comparing_all_with_all(monkeypatch: pytest.MonkeyPatch) -> None:
    """Among divided images nearly all planted twins, mirrored ones too, are found as when each is compared with each."""
    rng = np.random.default_rng(4)
    some = rng.normal(0, 40, (3_000, 53))
    twins = some[:300] + rng.normal(0, 8, (300, 53))
    twins[150:] *= np.where(SKETCH_IS_ODD, -1, 1)
    sketches = np.clip(np.concatenate([some, twins]), -127, 127).astype(np.int8)

    def found() -> set[tuple[int, int, bool]]:
        pairs, _, mirrored = neighbours(sketches)
        return {(int(a), int(b), bool(m)) for (a, b), m in zip(pairs, mirrored, strict=True)}

    planted = {(i, 3_000 + i, i >= 150) for i in range(300)}
    assert planted <= found()
    monkeypatch.setattr(_neighbours, "EXHAUSTIVE", 500)
    monkeypatch.setattr(_neighbours, "LEAF", 400)
    assert len(planted & found()) >= 280
