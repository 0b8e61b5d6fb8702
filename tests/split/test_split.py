"""Splitting: sizes, classes and groups come out as promised, whatever the dataset; what cannot be is said."""

from __future__ import annotations

import dataclasses
import itertools
import json
import re
import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from dataset_doctor.audit import examine
from dataset_doctor.checks.splits import name_in_several_splits, sequence_in_several_splits, source_in_several_splits, split_leakage
from dataset_doctor.dataset import Dataset, LabelState
from dataset_doctor.errors import UsageError
from dataset_doctor.findings import POLICIES, Facts
from dataset_doctor.formats import read, write
from dataset_doctor.geometry import widths_heights
from dataset_doctor.pixels import Duplicates
from dataset_doctor.plan import Plan, SplitQuality
from dataset_doctor.scan import look
from dataset_doctor.split import parse_ratios, split
from dataset_doctor.split._compared import iterative_stratification, quality
from dataset_doctor.split._stratify import shares
from dataset_doctor.statistics import statistics
from tests.drawing import draw
from tests.strategies import datasets

RATIOS = [(0.8, 0.1, 0.1), (0.5, 0.5), (1 / 3, 1 / 3, 1 / 3), (0.9, 0.1)]


def drawn(text: str, **changes: object) -> Dataset:
    return draw(text, **changes)[0]


def same(*groups: tuple[int, ...], n: int) -> Duplicates:
    """Say that images are nearly the same image."""
    near = np.full(n, -1, np.int32)
    for number, group in enumerate(groups):
        near[list(group)] = number
    nothing = np.zeros(0, np.uint8)
    return Duplicates(np.full(n, -1, np.int32), near, np.zeros((0, 2), np.int32), nothing, nothing, np.zeros(0, bool), near)


def part_of(plan: Plan, dataset: Dataset) -> list[str | None]:
    """Give the split of each image of the source, None where the result does not hold it; fail where it is in several."""
    part: list[str | None] = [None] * dataset.n_images
    for row, member in zip(plan.rows.tolist(), plan.in_split, strict=True):
        assert member.sum() == 1 and part[row] is None
        part[row] = plan.splits[int(member.argmax())]
    return part


def sizes(plan: Plan) -> list[int]:
    return plan.in_split.sum(axis=0).tolist()


def per_split(plan: Plan, amounts: np.ndarray) -> list[float]:
    """Add up an amount of each image of the source over the images of each split."""
    return (amounts[plan.rows].astype(int) @ plan.in_split.astype(int)).tolist()


def note(plan: Plan, words: str) -> str:
    [found] = [text for text in plan.notes if words in text]
    return found


def random_dataset(n: int, n_classes: int, seed: int = 0) -> Dataset:
    """Draw images with a few classes each, common and rare ones, some many times, and some images without any."""
    random = np.random.default_rng(seed)
    chance = 1 / np.arange(1, n_classes + 1)
    lines = [f"classes: {' '.join(f'c{c}' for c in range(n_classes))}"]
    for row in range(n):
        lines.append(f"{row}.jpg 400x400")
        for c in random.choice(n_classes, random.integers(0, 4), p=chance / chance.sum()):
            side = int(random.choice([10, 60, 200]))
            lines.append(f"  c{c} 0 0 {side} {side} x{random.geometric(0.4)}")
    return drawn("\n".join(lines))


# Laws -----------------------------------------------------------------------------------------------------------------


@settings(max_examples=60, deadline=None)
@given(datasets(), st.sampled_from(RATIOS), st.integers(0, 3))
def test_every_image_is_in_one_split_and_sizes_are_exact(dataset: Dataset, ratios: tuple[float, ...], seed: int) -> None:
    """Without groups, each split is within one image of its ratio, or holds the one that it must; nothing is lost."""
    k = len(ratios)
    assume(dataset.n_images >= k)
    plan = split(dataset, ratios=ratios, group_by="none", seed=seed)

    assert None not in part_of(plan, dataset)
    assert plan.rows.tolist() == list(range(dataset.n_images))
    for size, ratio in zip(sizes(plan), ratios, strict=True):
        assert size >= 1
        assert size == 1 or abs(size - ratio * dataset.n_images) < k
    if min(ratios) * dataset.n_images >= 1:
        assert all(abs(size - ratio * dataset.n_images) < 1 for size, ratio in zip(sizes(plan), ratios, strict=True))
    assert [change.after for change in plan.classes] == [change.before for change in plan.classes]
    written = plan.apply(dataset)
    assert written.counts().sum(axis=0).tolist() == dataset.counts().sum(axis=0).tolist()
    assert written.images.in_split.sum(axis=0).tolist() == sizes(plan)


@settings(max_examples=60, deadline=None)
@given(datasets(), st.sampled_from(RATIOS))
def test_a_class_is_in_every_split_or_is_named(dataset: Dataset, ratios: tuple[float, ...]) -> None:
    """A class that the notes do not name is in every split; one with fewer images than splits is always named."""
    assume(dataset.n_images >= len(ratios))
    plan = split(dataset, ratios=ratios, group_by="none")
    held = (dataset.counts() > 0).toarray()
    named = " ".join(text for text in plan.notes if "class" in text)
    for name, images in zip(dataset.class_names, held.T, strict=True):
        in_each = all(count > 0 for count in per_split(plan, images))
        if images.any():
            assert in_each != bool(re.search(rf"\b{name}\b", named)), (name, plan.notes)


@settings(max_examples=60, deadline=None)
@given(datasets(), st.data(), st.sampled_from(RATIOS))
def test_groups_stay_whole(dataset: Dataset, data: st.DataObject, ratios: tuple[float, ...]) -> None:
    """Images of one cluster lie in one split, every split has an image, and sizes miss the ratios by less than two groups."""
    n = dataset.n_images
    assume(n >= len(ratios))
    near = np.array(data.draw(st.lists(st.integers(-1, 3), min_size=n, max_size=n)), np.int32)
    duplicates = dataclasses.replace(same(n=n), near_group=near)
    groups = len(np.unique(near[near >= 0])) + int((near < 0).sum())
    if groups < len(ratios):
        with pytest.raises(UsageError, match="group"):
            split(dataset, ratios=ratios, duplicates=duplicates)
        return
    plan = split(dataset, ratios=ratios, duplicates=duplicates)
    part = part_of(plan, dataset)

    for number in range(4):
        assert len({part[row] for row in np.flatnonzero(near == number)}) <= 1
    assert min(sizes(plan)) >= 1
    largest = max(1, int(np.bincount(near[near >= 0], minlength=1).max()))
    wanted = shares(n, np.array(ratios))
    assert all(abs(size - want) < 2 * largest for size, want in zip(sizes(plan), wanted.tolist(), strict=True))


@settings(max_examples=60, deadline=None, derandomize=True)  # a search that does not try everything may miss one in thousands
@given(st.data())
def test_no_class_is_missed_that_another_division_would_spread(data: st.DataObject) -> None:
    """Of all divisions with the same sizes, tried one by one, none leaves fewer gaps: classes in enough images that a split lacks."""
    n, n_classes, k = data.draw(st.integers(3, 6)), data.draw(st.integers(1, 3)), data.draw(st.integers(2, 3))
    held = np.array(data.draw(st.lists(st.booleans(), min_size=n * n_classes, max_size=n * n_classes))).reshape(n, n_classes)
    lines = ["classes: a b c"[: 8 + 2 * n_classes]]
    for row in range(n):
        lines += [f"{row}.jpg 9x9", *(f"  {name} 0 0 9 9" for name, has in zip("abc", held[row], strict=False) if has)]
    ratios = (0.8, 0.1, 0.1) if k == 3 else (0.7, 0.3)
    plan = split(drawn("\n".join(lines)), ratios=ratios, group_by="none")
    enough = held.sum(axis=0) >= k

    def gaps(member: np.ndarray) -> int:
        return int((held.T[enough].astype(int) @ member == 0).sum())

    fewest = min(
        gaps(np.eye(k, dtype=int)[list(parts)])
        for parts in itertools.product(range(k), repeat=n)
        if np.bincount(parts, minlength=k).tolist() == sizes(plan)
    )
    assert gaps(plan.in_split.astype(int)) == fewest


def test_the_seed_decides() -> None:
    """One seed gives one division; another gives another."""
    dataset = random_dataset(200, 8)
    first, again, other = (split(dataset, group_by="none", seed=seed) for seed in (0, 0, 1))

    assert (first.in_split == again.in_split).all()
    assert (first.in_split != other.in_split).any()
    assert first.to_dict() == again.to_dict()


# What is spread -------------------------------------------------------------------------------------------------------


def test_classes_are_shared_out_by_the_ratios() -> None:
    """Of twenty images with a cat and ten with a dog, each split gets its share exactly."""
    plan = split(drawn("classes: cat dog\na.jpg 9x9 x20\n  cat 0 0 9 9\nb.jpg 9x9 x10\n  dog 0 0 9 9"), group_by="none")

    cats = np.array([1] * 20 + [0] * 10)
    assert (sizes(plan), per_split(plan, cats)) == ([24, 3, 3], [16, 2, 2])
    assert plan.splits == plan.split_spelling == ("train", "val", "test")
    assert [dataclasses.astuple(change) for change in plan.split_changes] == [
        ("all", 30, 0),
        ("train", 0, 24),
        ("val", 0, 3),
        ("test", 0, 3),
    ]


def test_instances_are_shared_out_not_only_images() -> None:
    """Where every image holds the class, those that hold it many times are divided as well."""
    text = "classes: cat\na.jpg 9x9 x10\n  cat 0 0 9 9 x9\nb.jpg 9x9 x10\n  cat 0 0 9 9"
    plan = split(drawn(text), ratios=(0.5, 0.5), group_by="none")

    assert per_split(plan, np.array([9] * 10 + [1] * 10)) == [50, 50]


def test_background_and_unlabeled_images_are_shared_out() -> None:
    """Each split gets its share of both kinds."""
    text = "classes: cat\na.jpg 9x9 x40\n  cat 0 0 9 9\nb.jpg 9x9 background x20\nc.jpg 9x9 unlabeled x10"
    dataset = drawn(text)
    plan = split(dataset, group_by="none")

    assert per_split(plan, dataset.images.label_state == LabelState.BACKGROUND) == [16, 2, 2]
    assert per_split(plan, dataset.images.label_state == LabelState.UNLABELED) == [8, 1, 1]


def test_box_sizes_are_shared_out() -> None:
    """Images that differ in the size of their boxes alone are divided by it: 10 small, 10 medium, 10 large."""
    text = "classes: cat\n" + "\n".join(f"{s}.jpg 300x300 x10\n  cat 0 0 {s} {s}" for s in (20, 60, 200))
    dataset = drawn(text)
    plan = split(dataset, group_by="none")

    widths = widths_heights(dataset.boxes)[:, 0]
    assert [per_split(plan, widths == side) for side in (20, 60, 200)] == [[8, 1, 1]] * 3


@pytest.mark.parametrize("seed", range(4))
def test_crowd_regions_are_not_spread(seed: int) -> None:
    """Images that differ only in which of their two boxes is a crowd region are divided by the other."""
    text = "classes: cat dog\na.jpg 9x9 x10\n  cat 0 0 9 9\n  dog 0 0 9 9 crowd\nb.jpg 9x9 x10\n  dog 0 0 9 9\n  cat 0 0 9 9 crowd"
    plan = split(drawn(text), group_by="none", seed=seed)

    assert per_split(plan, np.arange(20) < 10) == [8, 1, 1]
    assert [change.after for change in plan.classes] == [10, 10]


@pytest.mark.parametrize("seed", range(4))
def test_annotations_left_out_are_not_spread(seed: int) -> None:
    """Images that differ only in what is left out of them are divided by what stays."""
    dataset = drawn("classes: cat dog\na.jpg 9x9 x20\n  cat 0 0 9 9\n  dog 0 0 9 9")
    first = dataset.annotations.image < 10
    gone = np.flatnonzero(first == (dataset.annotations.class_index == 0))
    plan = split(dataset, group_by="none", left_out=gone, seed=seed)

    assert per_split(plan, np.arange(20) < 10) == [8, 1, 1]
    assert [change.after for change in plan.classes] == [10, 10]
    assert plan.left_out.tolist() == gone.tolist()


def test_a_rare_class_is_in_every_split() -> None:
    """Three images of a class among a hundred are enough for three splits."""
    dataset = drawn("classes: cat owl\na.jpg 9x9 x97\n  cat 0 0 9 9\nb.jpg 9x9 x3\n  owl 0 0 9 9")
    plan = split(dataset, group_by="none")

    assert sizes(plan) == [80, 10, 10]
    assert per_split(plan, np.arange(100) >= 97) == [1, 1, 1]
    assert not [text for text in plan.notes if "owl" in text]


def test_a_class_that_cannot_be_in_every_split_goes_to_train_and_is_named() -> None:
    """Two images of a class, or three that are one image, cannot be in three splits."""
    dataset = drawn("classes: cat owl elk\na.jpg 9x9 x90\n  cat 0 0 9 9\nb.jpg 9x9 x2\n  owl 0 0 9 9\nc.jpg 9x9 x3\n  elk 0 0 9 9")
    plan = split(dataset, group_by="near-duplicates", duplicates=same((92, 93, 94), n=95))

    assert set(part_of(plan, dataset)[90:]) == {"train"}
    assert note(plan, "class") == (
        "2 classes are in fewer images or groups than there are splits and cannot be in each: owl, elk. They go to train."
    )


def test_where_no_room_is_left_in_train_it_is_said() -> None:
    """Four classes of one image each do not all fit into the two images of train."""
    text = "classes: a b c d\n" + "\n".join(f"{name}.jpg 9x9\n  {name} 0 0 9 9" for name in "abcd")
    plan = split(drawn(text), ratios=(0.5, 0.5), group_by="none")

    assert sizes(plan) == [2, 2]
    assert "They go to train, but there was no room for" in note(plan, "class")


# Quality --------------------------------------------------------------------------------------------------------------


def plain_iterative_stratification(holds: np.ndarray, ratios: list[float]) -> np.ndarray:
    """Do as the paper says, on a dense matrix, with the ties broken as documented."""
    n = len(holds)
    left = np.ones(n, bool)
    lacking, room, part = holds.sum(axis=0)[:, None] * np.array(ratios), n * np.array(ratios), np.zeros(n, int)
    while left.any():
        remaining = holds[left].sum(axis=0)
        label = int(np.where(remaining > 0, remaining, n + 1).argmin()) if remaining.any() else None
        for image in np.flatnonzero(left if label is None else left & holds[:, label]):
            keys = [(0 if label is None else lacking[label, j], room[j], -j) for j in range(len(ratios))]
            part[image] = max(range(len(ratios)), key=keys.__getitem__)
            lacking[holds[image], part[image]] -= 1
            room[part[image]] -= 1
            left[image] = False
    return part


@pytest.mark.parametrize("seed", range(3))
def test_iterative_stratification_is_that_of_the_paper(seed: int) -> None:
    """The fast form and one written straight from the paper give each image the same split."""
    counts = random_dataset(150, 10, seed).counts()
    # Ratios that are sums of powers of two, so that both subtract without rounding.
    ratios = [0.75, 0.125, 0.125]
    order = np.random.default_rng(seed).permutation(150)
    expected = plain_iterative_stratification(counts.toarray()[order] > 0, ratios)

    assert iterative_stratification(counts, np.array(ratios), seed)[order].tolist() == expected.tolist()


@pytest.mark.parametrize(("n", "n_classes", "seed"), [(1000, 20, 0), (1000, 20, 1), (1000, 20, 2), (4000, 60, 0)])
@pytest.mark.slow
def test_it_is_nearer_to_the_whole_than_a_random_split_and_iterative_stratification(n: int, n_classes: int, seed: int) -> None:
    """On a long-tailed dataset all three figures are at most those of iterative stratification, and far below a random split's."""
    ours, random, iterative = split(random_dataset(n, n_classes, seed), group_by="none", seed=seed).quality

    assert (ours.method, random.method, iterative.method) == ("stratified", "random", "iterative stratification")
    assert None not in (ours.ld, ours.js, random.ld, random.js, iterative.ld, iterative.js)
    assert ours.ed <= iterative.ed
    assert ours.ld < 1.1 * iterative.ld and ours.ld < random.ld / 5  # type: ignore[operator]
    assert ours.js < iterative.js / 2 and ours.js < random.js / 5  # type: ignore[operator]


def test_groups_cost_little() -> None:
    """With clusters of four images kept whole, sizes are still exact and labels nearly as even."""
    dataset = random_dataset(1000, 20)
    near = np.arange(1000, dtype=np.int32) // 4
    near[:200] = -1
    plan = split(dataset, duplicates=dataclasses.replace(same(n=1000), near_group=near))

    assert sizes(plan) == [800, 100, 100]
    assert plan.quality[0].ld < plan.quality[1].ld / 3  # type: ignore[operator]


def test_quality_by_hand() -> None:
    """Four images, two with a class: one of the two in each half is perfect, both in one half is as far as it goes."""
    dataset = drawn("classes: cat dog\na.jpg 9x9 x2\n  cat 0 0 9 9\nb.jpg 9x9 x2\n  dog 0 0 9 9")
    half = np.array([0.5, 0.5])

    assert quality("q", dataset.counts(), np.array([0, 1, 0, 1]), half) == SplitQuality("q", 0.0, 0.0, 0.0)
    apart = quality("q", dataset.counts(), np.array([0, 0, 1, 1]), half)
    # Odds 2 to ½ and 0 to 2 instead of 1. Half a bit tells (1, 0) from (¾, ¼), and the whole from it: H(¾) − ½ = 0.311.
    assert (apart.ld, apart.ed, apart.js) == pytest.approx(((3 + 1) / 2, 0.0, 0.3113), abs=1e-4)


def test_quality_without_labels_is_undefined() -> None:
    """Without instances there is nothing to compare but sizes."""
    plan = split(drawn("classes: cat\na.jpg 9x9 background x10"), group_by="none")

    assert plan.quality[0] == SplitQuality("stratified", None, 0.0, None)
    assert plan.to_dict()["quality"][0] == {"method": "stratified", "ld": None, "ed": 0.0, "js": None}


# Groups ---------------------------------------------------------------------------------------------------------------

PATIENTS = "classes: cat\n" + "\n".join(f"p{p}/scan_{s}.png 9x9\n  cat 0 0 9 9" for p in range(6) for s in range(3))


@pytest.mark.parametrize("pattern", [r"^(p\d+)/", r"^p\d+/", r"(?P<who>p\d+)/(scan)"])
def test_a_pattern_keeps_together_what_it_finds(pattern: str) -> None:
    """The first group names the group of an image; without one, all that is found does."""
    dataset = drawn(PATIENTS)
    plan = split(dataset, ratios=(2 / 3, 1 / 6, 1 / 6), group_by=pattern)

    part = part_of(plan, dataset)
    assert [len(set(part[3 * p : 3 * p + 3])) for p in range(6)] == [1] * 6
    assert sizes(plan) == [12, 3, 3]


def test_images_that_a_pattern_does_not_match_are_groups_of_their_own() -> None:
    """They are divided one by one, as far as nothing else joins them, and counted in a note."""
    dataset = drawn(PATIENTS + "\nother.png 9x9 x4\n  cat 0 0 9 9")
    plan = split(dataset, ratios=(0.5, 0.5), group_by=r"^(p\d+)/|(none)")

    assert note(plan, "pattern") == "4 images do not match the pattern."
    assert len(set(part_of(plan, dataset)[18:])) == 2


def test_a_pattern_and_duplicates_go_together() -> None:
    """Patients that share an image are one group."""
    dataset = drawn(PATIENTS)
    plan = split(dataset, ratios=(0.5, 0.5), group_by=r"^(p\d+)/", duplicates=same((0, 17), n=18))

    part = part_of(plan, dataset)
    assert len({part[0], *part[:3], *part[15:]}) == 1


@pytest.mark.parametrize(
    ("pattern", "says"),
    [
        ("(unclosed", "is not a valid pattern"),
        (r"(?=scan)", "is not a valid pattern: invalid perl operator"),
        ("x{1000}{1000}", "is not a valid pattern"),
        ("zebra", "matches no image"),
        ("^p0", "matches no image"),  # the folder is no part of the name
        (r"(scan)", "in 1 group cannot be divided"),
    ],
)
def test_a_pattern_that_is_of_no_use_is_refused(pattern: str, says: str) -> None:
    """One that is broken, that matches nothing, or that puts all into one group."""
    with pytest.raises(UsageError, match=says):
        split(drawn(PATIENTS), group_by=pattern)


@pytest.mark.parametrize("pattern", [r"^(a+)+$", r"(a|aa)+b", r"(.*)*x", r"^.*a.*a.*a.*a.*b"])
def test_no_pattern_takes_forever(pattern: str) -> None:
    """What would keep Python's own search busy for hours is found not to match, at once."""
    dataset = drawn(f"classes: cat\n{'a' * 200}!.jpg 9x9 x3\n  cat 0 0 9 9")
    begun = time.perf_counter()
    with pytest.raises(UsageError, match="matches no image"):
        split(dataset, group_by=pattern)
    assert time.perf_counter() - begun < 5


def test_names_tell_versions_of_one_picture() -> None:
    """Exported versions and flipped copies stay with their source; numbers in other folders do not."""
    lines = [f"{stem}.jpg 9x9\n  cat 0 0 9 9" for stem in ("IMG_7031_jpg.rf.aa", "IMG_7031_jpg.rf.bb", "IMG_8_flip", "IMG_8", "a/1", "b/1")]
    dataset = drawn("classes: cat\n" + "\n".join([*lines, "x.jpg 9x9 x6\n  cat 0 0 9 9"]))
    for seed in range(5):
        plan = split(dataset, ratios=(0.5, 0.5), duplicates=same(n=12), seed=seed)
        part = part_of(plan, dataset)
        assert part[0] == part[1] and part[2] == part[3]
        assert source_in_several_splits(plan.apply(dataset), Facts(statistics(dataset), POLICIES["none"])) is None
    assert note(plan, "names") == "4 images in 2 groups stay together because their names say that they come from one source."


def test_without_image_files_only_names_tell() -> None:
    """What was not looked for is said."""
    plan = split(drawn("classes: cat\na.jpg 9x9 missing x5\n  cat 0 0 9 9"), ratios=(0.6, 0.4))

    assert note(plan, "near-duplicates").startswith("No image files were found")


def leaks_by_name(plan: Plan, dataset: Dataset) -> list[str]:
    """Name the checks of leakage by names that flag what a plan gives."""
    facts = Facts(statistics(dataset), POLICIES["none"])
    checks = (source_in_several_splits, sequence_in_several_splits, name_in_several_splits)
    return [check.__name__ for check in checks if check(plan.apply(dataset), facts) is not None]


def test_videos_stay_whole() -> None:
    """By their names, with whatever else is asked for; and the note names them."""
    frames = [f"cam{c}_frame_{f:03}.jpg 9x9\n  cat 0 0 9 9" for c in range(4) for f in range(5)]
    dataset = drawn("classes: cat\n" + "\n".join(frames))
    for group_by in ("near-duplicates", "^cam[01]"):
        plan = split(dataset, ratios=(0.5, 0.5), group_by=group_by, duplicates=same(n=20))
        assert not leaks_by_name(plan, dataset)
    plan = split(dataset, ratios=(0.5, 0.5), duplicates=same(n=20))
    assert sizes(plan) == [10, 10]
    assert note(plan, "video") == "20 images of 4 videos by their names (cam0_frame…, cam1_frame…, cam2_frame…) stay together."


def test_a_video_that_no_split_can_hold_is_cut_where_least_is_lost() -> None:
    """Into as many pieces as there are splits, between frames that nothing else joins, and that is said."""
    dataset = drawn("classes: cat\n" + "\n".join(f"frame_{f:03}.jpg 9x9\n  cat 0 0 9 9" for f in range(100)))
    plan = split(dataset, duplicates=same((78, 79, 80, 81, 82), n=100))

    part = part_of(plan, dataset)
    assert sum(one != other for one, other in itertools.pairwise(part)) == 2
    assert len(set(part[78:83])) == 1 and sizes(plan) in ([78, 12, 10], [83, 7, 10], [78, 10, 12], [83, 10, 7])
    assert "is more than one split can hold" in note(plan, "is cut into 3 pieces")


def test_without_grouping_its_cost_is_said() -> None:
    """What the names tell is counted, and that nothing else was looked for."""
    lines = [f"{stem}.jpg 9x9\n  cat 0 0 9 9" for stem in ("IMG_7031_jpg.rf.aa", "IMG_7031_jpg.rf.bb", "x", "y", "z")]
    dataset = drawn("classes: cat\n" + "\n".join(lines))

    assert note(split(dataset, ratios=(0.5, 0.5), group_by="none"), "Grouping is off").startswith(
        "Grouping is off: 2 images belong together with others by their names; near-duplicates were not looked for."
    )


OF_ONE_PICTURE = {
    ("000000123456_jpg.rf.1a", "000000123456_jpg.rf.2b"): "ERROR",
    ("pexels-heyho-7534571_jpg.rf.1a", "pexels-heyho-7534571_jpg.rf.2b"): "ERROR",
    ("3f2504e0-4f89-41d3-9a0c-0305e82c3301_png.rf.1a", "3f2504e0-4f89-41d3-9a0c-0305e82c3301_png.rf.2b"): "ERROR",
    ("20210304_123456_jpg.rf.1a", "20210304_123456_jpg.rf.2b"): "ERROR",
    ("video1_mp4-0231_lane_jpg.rf.1a", "video1_mp4-0231_lane_jpg.rf.2b"): "ERROR",
    ("IMG_2301_jpg.rf.1a", "IMG_2301_jpg.rf.2b"): "WARNING",
    ("cat_12_jpg.rf.1a", "cat_12_jpg.rf.2b"): "WARNING",
    ("scan0815", "scan0815_flip"): "ERROR",
    ("scan0815", "scan0815 - Copy (2)"): "ERROR",
    ("P0001__1__0___512", "P0001__1__512___512"): "ERROR",
    ("7", "7_flip"): "WARNING",
}  # fmt: skip
OF_SEVERAL = [
    ("-_-_jpg.rf.1a", "-_-_jpg.rf.2b"),
    ("__jpg.rf.1a", "__jpg.rf.2b"),
    ("image_0012_jpg.rf.1a", "image_0012_jpg.rf.2b"),
    ("1_jpg.rf.1a", "1_jpg.rf.2b"),
    ("images--3-_jpg.rf.1a", "images--3-_jpg.rf.2b"),
    ("download-12-_jpg.rf.1a", "download-12-_jpg.rf.2b"),
    ("frame_0001_jpg.rf.1a", "frame_0001_jpg.rf.2b"),
    ("photo_jpg.rf.1a", "photo_jpg.rf.2b"),
    ("IMG_2301", "IMG_2302"),
    ("image (1)", "image (2)"),
    ("a1b2c3d4", "a1b2c3d5"),
    ("park-12-aug-2021", "park-12-sep-2021", "park-13-aug-2021"),
    ("dog_1", "dog_2", "dog_3"),
    ("img_000000000139", "img_000000000285", "img_000000000632"),
    ("cam_20010", "cam_931", "cam_48201", "cam_7", "cam_99120", "cam_512"),
    ("street_rot", "street_flip"),
    ("2020-01-01", "2020-01-02", "2020-01-03"),
    ("--1", "--2", "--3"),
]  # fmt: skip


def in_two_splits(names: tuple[str, ...]) -> Dataset:
    folders = list(itertools.islice(itertools.cycle(("train", "val")), len(names)))
    lines = [f"{row}.jpg 9x9 {folder}\n  cat 0 0 9 9" for row, folder in enumerate(folders)]
    dataset = drawn("classes: cat\n" + "\n".join(lines))
    paths = np.array([f"{folder}/{name}.jpg" for name, folder in zip(names, folders, strict=True)], object)
    return dataclasses.replace(dataset, images=dataclasses.replace(dataset.images, file_name=paths))


@pytest.mark.parametrize("names", OF_ONE_PICTURE)
def test_names_that_tell_of_one_picture(names: tuple[str, ...]) -> None:
    """An error where the name is surely that of one image, else a warning."""
    dataset = in_two_splits(names)

    found = source_in_several_splits(dataset, Facts(statistics(dataset), POLICIES["none"]))

    assert found is not None and found.severity is not None and found.severity.name == OF_ONE_PICTURE[names]


@pytest.mark.parametrize("names", OF_SEVERAL)
def test_names_that_many_pictures_have_are_no_evidence(names: tuple[str, ...]) -> None:
    """Counters, words that say nothing and dates join nothing."""
    dataset = in_two_splits(names)
    facts = Facts(statistics(dataset), POLICIES["none"])

    assert source_in_several_splits(dataset, facts) is None
    assert sequence_in_several_splits(dataset, facts) is None


STEMS = st.sampled_from(
    [
        "{n}",
        "IMG_{n:04}",
        "frame_{n:04}",
        "cam1_{n:03}",
        "video{n}_f7",
        "photo-of-a-street-{n}",
        "img ({n})",
        "-_-",
        "{n:012}",
        "clip_2_{n}",
    ]
)
ENDS = st.sampled_from(["", "", "_flip", "_rot90", "_jpg.rf.{h}", "_aug_{n}", "__1__0___{n}", " - Copy"])
FOLDERS = st.sampled_from(["", "train/", "valid/images/", "cam1/", "cam2/raw/", "a/"])


@st.composite
def related(draw: st.DrawFn) -> list[tuple[str, int, int]]:
    """Draw images: a path, the number of an image, and how much brighter it is there."""
    images: dict[str, tuple[int, int]] = {}
    for number in range(draw(st.integers(12, 30))):
        stem, end = draw(STEMS), draw(ENDS)
        n = draw(st.integers(1, 12))
        name = (draw(FOLDERS) + stem + end).format(n=n, h=f"{number:x}")
        picture = number if draw(st.integers(0, 3)) else draw(st.integers(0, number))
        images.setdefault(f"{name}.png", (picture, draw(st.sampled_from([0, 0, 12]))))
    return [(name, *what) for name, what in images.items()]


def write_coco(root: Path, images: list[tuple[str, int, int]]) -> None:
    """Write a COCO dataset whose images are blurred noise, one for each number."""
    from PIL import Image

    for name, picture, brighter in images:
        small = np.random.default_rng(picture).integers(30, 220, (6, 6, 3)).astype(np.uint8)
        large = np.asarray(Image.fromarray(small).resize((64, 64), Image.Resampling.BICUBIC)).astype(int) + brighter
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(large.clip(0, 255).astype(np.uint8)).save(root / name)
    records = [{"id": row, "file_name": name, "width": 64, "height": 64} for row, (name, _, _) in enumerate(images)]
    boxes = [
        {"id": row, "image_id": row, "category_id": row % 2, "bbox": [1, 1, 20, 20], "area": 400, "iscrowd": 0}
        for row in range(len(images))
    ]
    classes = [{"id": 0, "name": "cat"}, {"id": 1, "name": "dog"}]
    (root / "labels.json").write_text(json.dumps({"images": records, "annotations": boxes, "categories": classes}))


@settings(max_examples=6, deadline=None)
@given(images=related(), target=st.sampled_from(["coco", "yolo", "voc"]), ratios=st.sampled_from(RATIOS[:2]))
@pytest.mark.slow
def test_after_a_split_no_check_of_leakage_flags_anything(
    tmp_path_factory: pytest.TempPathFactory, images: list[tuple[str, int, int]], target: str, ratios: tuple[float, ...]
) -> None:
    """Whatever names and copies there are; only the cut of a video that no split can hold remains, and is said."""
    folder = tmp_path_factory.mktemp("related")
    write_coco(folder / "in", images)
    dataset = read(folder / "in")
    try:
        plan = split(dataset, ratios=ratios)
    except UsageError as error:
        assume("cannot be divided" not in error.message)
        raise
    write(plan.apply(dataset), folder / "out", target)

    result = read(folder / "out")
    pixels, same_pictures = look(result)
    found = {f.code for f in examine(result, pixels=pixels, duplicates=same_pictures).findings}
    was_cut = any("is cut into" in text for text in plan.notes)
    assert found & {"DD301", "DD303", "DD310", "DD311", "DD312"} <= ({"DD310"} if was_cut else set())


def test_rows_that_repeat_one_picture_stay_together() -> None:
    """Also where nothing else is grouped."""
    dataset = drawn("classes: cat\na.jpg 9x9 x10\n  cat 0 0 9 9")
    repeated = dataset.select(np.array([0, 0, 0, *range(1, 10)]))
    for seed in range(5):
        plan = split(repeated, ratios=(0.5, 0.5), group_by="none", seed=seed)
        assert len(set(part_of(plan, repeated)[:3])) == 1
        assert sizes(plan) == [6, 6]


def test_rows_of_one_file_stay_together() -> None:
    """A file that the labels describe twice is one image, whatever its rows are called."""
    dataset = drawn("classes: cat\na.jpg 9x9 x10\n  cat 0 0 9 9\nsame.jpg 9x9\n  cat 0 0 9 9\nsame.jpg 9x9\n  cat 0 0 9 9")
    for seed in range(5):
        assert len(set(part_of(split(dataset, ratios=(0.5, 0.5), group_by="none", seed=seed), dataset)[10:])) == 1


# Splits that are there --------------------------------------------------------------------------------------------------

OLD = "classes: cat\na.jpg 9x9 train x70\n  cat 0 0 9 9\nb.jpg 9x9 valid x20\n  cat 0 0 9 9\nc.jpg 9x9 test x10\n  cat 0 0 9 9"


def old() -> Dataset:
    """Draw a dataset with splits, one of them spelled in its own way."""
    dataset = drawn(OLD)
    return dataclasses.replace(dataset, splits=tuple("val" if name == "valid" else name for name in dataset.splits))


def test_old_splits_are_re_split_and_keep_their_spelling() -> None:
    """All images are divided, and a note says so."""
    plan = split(old(), group_by="none")

    assert sizes(plan) == [80, 10, 10]
    assert (plan.splits, plan.split_spelling) == (("train", "val", "test"), ("train", "valid", "test"))
    assert note(plan, "re-split") == "The images of train (70), test (10), val (20) are re-split; --freeze keeps a split as it is."
    assert {change.name: (change.images_before, change.images_after) for change in plan.split_changes} == {
        "train": (70, 80), "test": (10, 10), "val": (20, 10)
    }  # fmt: skip


@pytest.mark.parametrize(("ratios", "expected"), [((0.8, 0.2), [72, 18, 10]), ((0.8, 0.1, 0.1), [80, 10, 10])])
def test_a_frozen_split_stays_as_it_is(ratios: tuple[float, ...], expected: list[int]) -> None:
    """The rest is divided by the ratios that are left."""
    dataset = old()
    plan = split(dataset, ratios=ratios, freeze=["test"], group_by="none")

    assert plan.splits == ("train", "val", "test")
    assert sizes(plan) == expected
    assert part_of(plan, dataset)[90:] == ["test"] * 10
    assert note(plan, "test stays") == "test stays as it is (10 images)."


def test_what_is_nearly_a_frozen_image_is_left_out() -> None:
    """It cannot join the frozen split, and elsewhere it would leak."""
    dataset = old()
    plan = split(dataset, ratios=(0.8, 0.2), freeze=["test"], duplicates=same((5, 95), (6, 7), n=100))

    part = part_of(plan, dataset)
    assert part[5] is None and part[95] == "test" and part[6] == part[7]
    assert plan.dropped.images == 1
    assert note(plan, "left out") == "1 image is left out: it belongs to a group of which an image is in test."


def test_an_image_in_two_old_splits_is_in_one_new_one() -> None:
    """Where one of them is frozen, in that."""
    dataset = drawn("classes: cat\na.jpg 9x9 train x8\n  cat 0 0 9 9\nb.jpg 9x9 train test\n  cat 0 0 9 9")

    assert None not in part_of(split(dataset, group_by="none"), dataset)
    assert part_of(split(dataset, ratios=(0.5, 0.5), freeze=["test"], group_by="none"), dataset)[8] == "test"


# Arguments --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("80/10/10", (0.8, 0.1, 0.1)),
        ("0.8,0.2", (0.8, 0.2)),
        (" 50 / 50 ", (0.5, 0.5)),
        ("70%/30%", (0.7, 0.3)),
        ("25/25/25/25", (0.25,) * 4),
    ],
)
def test_ratios_are_read(text: str, expected: tuple[float, ...]) -> None:
    """Percentages or shares, between slashes or commas."""
    assert parse_ratios(text) == expected


@pytest.mark.parametrize("text", ["80/30", "80/10", "0.5,0.4", "110/-10", "100/0", "nan/50", "inf/1", "80", "", "a/b", "80//20", "1e400/1"])
def test_ratios_that_cannot_be_are_refused(text: str) -> None:
    """Each with what to do."""
    with pytest.raises(UsageError) as error:
        parse_ratios(text)
    assert error.value.hint


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"ratios": (0.25,) * 4}, "4 ratios and 3 names"),
        ({"names": ("train", "train", "test")}, "have one name"),
        ({"names": ("train", "val", "validation")}, "have one name"),
        ({"names": ("train", "../val", "test")}, "cannot be called"),
        ({"freeze": ("tset",)}, 'freeze="tset": the dataset has no such split'),
        ({"freeze": ("train", "val", "test")}, "nothing is left to divide"),
        ({"freeze": ("train", "val"), "names": ("a", "b", "c"), "ratios": (40, 30, 30), "duplicates": same(tuple(range(100)), n=100)}, "0 images outside train, val"),
        ({"seed": -1}, "seed must be at least 0, got -1"),
    ],
)  # fmt: skip
def test_arguments_that_cannot_be_are_refused(arguments: dict, says: str) -> None:
    """Each with what to do."""
    with pytest.raises(UsageError, match=says) as error:
        split(old(), **{"group_by": "none" if "duplicates" not in arguments else "near-duplicates", **arguments})
    assert error.value.hint


def test_more_splits_than_images_or_groups_are_refused() -> None:
    """Two images, or three in two groups, do not make three splits; neither does nothing."""
    three = drawn("classes: cat\na.jpg 9x9 x3\n  cat 0 0 9 9")
    with pytest.raises(UsageError, match="3 images in 2 groups cannot be divided into 3 splits"):
        split(three, duplicates=same((0, 1), n=3))
    with pytest.raises(UsageError, match="2 images cannot be divided into 3 splits"):
        split(three.select(np.array([0, 1])), group_by="none")
    with pytest.raises(UsageError, match="0 images cannot be divided"):
        split(three.select(np.array([], int)), group_by="none")
    assert sizes(split(three, group_by="none")) == [1, 1, 1]


def test_own_names_are_written_as_given() -> None:
    """Usual ones are known by their usual names besides."""
    plan = split(drawn(PATIENTS), ratios=(50, 50), names=("Training", "holdout"), group_by="none")

    assert (plan.splits, plan.split_spelling) == (("train", "holdout"), ("Training", "holdout"))


# Real images ----------------------------------------------------------------------------------------------------------


def leaks(plan: Plan, dataset: Dataset, duplicates: Duplicates) -> bool:
    """Tell whether the leakage check finds anything in what a plan makes of a dataset."""
    facts = Facts(statistics(dataset), POLICIES["none"], duplicates=duplicates)
    return split_leakage(plan.apply(dataset), facts) is not None


def test_copies_of_one_picture_never_leak(tmp_path: Path) -> None:
    """Images with a smaller and a byte-identical copy each are found, and end in one split; divided one by one they leak."""
    from PIL import Image

    random = np.random.default_rng(0)
    for number in range(20):
        noise = random.integers(0, 256, (6, 6, 3), dtype=np.uint8)
        picture = Image.fromarray(noise).resize((128, 128), Image.Resampling.BICUBIC)
        folder = tmp_path / ("even", "odd")[number % 2]
        folder.mkdir(exist_ok=True)
        picture.save(folder / f"{number:02}.png")
        picture.save(folder / f"{number + 100}.png")
        picture.resize((96, 96)).save(folder / f"{number + 200}.jpg", quality=80)
    dataset = read(tmp_path)
    plan = split(dataset, ratios=(0.6, 0.2, 0.2))

    duplicates = look(dataset)[1]
    assert np.bincount(duplicates.near_group).tolist() == [3] * 20
    assert sizes(plan) == [36, 12, 12]
    assert not leaks(plan, dataset, duplicates)
    assert leaks(split(dataset, group_by="none"), dataset, duplicates)


@pytest.mark.parametrize("name", ["aquarium_yolo", "bccd_voc", "clothing64"])
def test_real_datasets_do_not_leak(shared_data: Path, name: str) -> None:
    """Of all clusters that the leakage check knows, none lies in two splits; sizes are exact and classes far more even than at random."""
    dataset = read(shared_data / name)
    duplicates = look(dataset)[1]
    plan = split(dataset, duplicates=duplicates)

    assert not leaks(plan, dataset, duplicates)
    assert sizes(plan) == shares(dataset.n_images, np.array([0.8, 0.1, 0.1])).tolist()
    ours, random, iterative = plan.quality
    assert ours.ld < random.ld / 1.5 and ours.ld < 1.05 * iterative.ld  # type: ignore[operator]
