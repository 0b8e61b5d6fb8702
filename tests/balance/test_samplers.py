"""The samplers: one contract for all of them, and for each an example by hand or an oracle."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import sparse

from dataset_doctor.balance import SAMPLERS, Demand, Repeats, choose_threshold, image_frequency, repeat_factors, repeats_help
from dataset_doctor.balance.targets import parse_target

EVERY = pytest.mark.parametrize("name", sorted(name for name, sampler in SAMPLERS.items() if sampler.run is not None))


def sample(name: str, asked: Demand) -> Repeats:
    """Run a sampler."""
    run = SAMPLERS[name].run
    assert run is not None
    return run(asked)


def demand(
    counts: Sequence[Sequence[int]] | NDArray[np.int64],
    target: Sequence[float] | None = None,
    *,
    budget: float = 10.0,
    max_repeat: int = 10,
    seed: int = 0,
    threshold: float | None = None,
) -> Demand:
    matrix = np.array(counts, np.int64)
    wanted = np.ones(matrix.shape[1]) if target is None else np.array(target, float)
    return Demand(sparse.csr_array(matrix), wanted, math.floor(budget * len(matrix)), max_repeat, np.random.default_rng(seed), threshold)


def folder(*images: int) -> NDArray[np.int64]:
    """Give the counts of a folder dataset with so many images of each class."""
    return np.repeat(np.eye(len(images), dtype=np.int64), images, axis=0)


def totals(asked: Demand, repeats: Repeats) -> list[int]:
    return (asked.counts.T @ repeats.astype(np.int64)).tolist()


@st.composite
def demands(draw: st.DrawFn, name: str) -> tuple[Demand, Demand]:
    """Draw the same demand twice: images with up to four classes, some empty, classes without instances or target."""
    n, k = draw(st.integers(1, 14)), draw(st.integers(1, 4))
    cell = st.sampled_from([0, 0, 0, 1, 1, 2, 9])
    matrix = np.array(draw(st.lists(st.lists(cell, min_size=k, max_size=k), min_size=n, max_size=n)), np.int64)
    shape = draw(st.sampled_from(["uniform", "sqrt", "floor:3", "floor:40"]))
    target = parse_target(shape, [f"c{c}" for c in range(k)], matrix.sum(axis=0), SAMPLERS[name].direction)
    target[draw(st.lists(st.booleans(), min_size=k, max_size=k))] = np.nan
    given = {
        "budget": draw(st.sampled_from([1.0, 1.2, 1.5, 3.0, 20.0])),
        "max_repeat": draw(st.integers(1, 12)),
        "seed": draw(st.integers(0, 2**32 - 1)),
        "threshold": draw(st.sampled_from([None, 1e-4, 0.3, 1.0])),
    }
    return demand(matrix, target.tolist(), **given), demand(matrix, target.tolist(), **given)


@EVERY
@settings(deadline=None)
@given(data=st.data())
@pytest.mark.slow(but="random")
def test_every_sampler_keeps_the_contract(name: str, data: st.DataObject) -> None:
    """Whole repeats within the limits, the same for the same seed; no class is lost, empty images stay, the input is not touched."""
    first, second = data.draw(demands(name))
    before = first.counts.toarray().copy()

    repeats = sample(name, first)

    assert repeats.dtype == np.int32 and repeats.shape == (first.n_images,)
    assert np.array_equal(repeats, sample(name, second))
    assert repeats.min() >= 0 and repeats.max() <= first.max_repeat and repeats.sum() <= first.budget
    assert [n > 0 for n in totals(first, repeats)] == (before.sum(axis=0) > 0).tolist()
    assert (repeats[before.sum(axis=1) == 0] == 1).all()
    assert np.array_equal(first.counts.toarray(), before)
    if SAMPLERS[name].direction == "up":
        assert repeats.min() >= 1
    if SAMPLERS[name].direction == "down":
        assert repeats.max() <= 1


@EVERY
def test_a_class_without_target_is_no_reason_to_change(name: str) -> None:
    """Where no class has a target, every image is shown once."""
    asked = demand([[1, 0], [1, 0], [1, 0], [0, 1]], [np.nan, np.nan])

    assert sample(name, asked).tolist() == [1, 1, 1, 1]


@EVERY
def test_one_class_alone_needs_nothing(name: str) -> None:
    """There is nothing to balance it with, and so nothing changes."""
    asked = demand([[1]] * 5, [5], budget=1.0)

    assert sample(name, asked).tolist() == [1] * 5


@pytest.mark.parametrize("name", ["oversample", "undersample", "hybrid"])
@given(images=st.lists(st.integers(1, 30), min_size=2, max_size=4), seed=st.integers(0, 99))
def test_class_totals_do_not_depend_on_the_order_of_the_images(name: str, images: list[int], seed: int) -> None:
    """Where an image has one class, who is repeated or dropped is chance, and how many are not."""
    matrix = folder(*images)
    target = parse_target("sqrt", "abcd"[: len(images)], matrix.sum(axis=0), SAMPLERS[name].direction).tolist()
    shuffled = np.random.default_rng(seed).permutation(matrix)

    one, other = demand(matrix, target), demand(shuffled, target, seed=seed)

    assert totals(one, sample(name, one)) == totals(other, sample(name, other))


# Towards a target ---------------------------------------------------------------------------------------------------


def test_oversample_reaches_the_target_and_repeats_in_turn() -> None:
    """Three images to seven: no image is shown twice more often than another."""
    for seed in range(20):
        asked = demand(folder(9, 3), [9, 7], seed=seed)
        repeats = sample("oversample", asked)

        assert totals(asked, repeats) == [9, 7]
        assert sorted(repeats[9:].tolist()) == [2, 2, 3]


def test_oversample_agrees_with_imbalanced_learn() -> None:
    """Towards equality without limits, the counts are those of RandomOverSampler."""
    from imblearn.over_sampling import RandomOverSampler

    matrix = folder(40, 11, 3)
    _, labels = RandomOverSampler(random_state=0).fit_resample(np.arange(54)[:, None], matrix.argmax(axis=1))
    asked = demand(matrix, [40, 40, 40], max_repeat=99)

    assert totals(asked, sample("oversample", asked)) == [Counter(labels.tolist())[c] for c in range(3)]


def test_undersample_agrees_with_imbalanced_learn() -> None:
    """Towards equality, the counts are those of RandomUnderSampler."""
    from imblearn.under_sampling import RandomUnderSampler

    matrix = folder(40, 11, 3)
    _, labels = RandomUnderSampler(random_state=0).fit_resample(np.arange(54)[:, None], matrix.argmax(axis=1))
    asked = demand(matrix, [3, 3, 3])

    assert totals(asked, sample("undersample", asked)) == [Counter(labels.tolist())[c] for c in range(3)]


def test_a_budget_that_does_not_suffice_raises_the_lowest_first() -> None:
    """100, 40, 10 and 5 images, all to be 100, and 45 more at most: the lowest two meet at 30, the third stays at 40."""
    asked = demand(folder(100, 40, 10, 5), [100] * 4, budget=200 / 155)

    assert totals(asked, sample("oversample", asked)) == [100, 40, 30, 30]


def test_an_image_is_shown_as_often_as_allowed_and_no_more() -> None:
    """Two images of a class, three times each at most, cannot make ten."""
    asked = demand(folder(10, 2), [10, 10], max_repeat=3)

    assert totals(asked, sample("oversample", asked)) == [10, 6]


def test_what_an_image_takes_along_counts_for_its_other_classes() -> None:
    """The second class comes with the first: once that is raised, nothing is left to do for it."""
    asked = demand([[0, 0, 1]] * 8 + [[1, 1, 0]], [8, 8, 8])

    assert totals(asked, sample("oversample", asked)) == [8, 8, 8]


def test_no_class_runs_ahead_while_another_waits() -> None:
    """The first class takes the second along; the budget goes to images of the second alone before the first is far above it."""
    asked = demand([[1, 1], [0, 1]], [100, 300], budget=21, max_repeat=99)
    first, second = totals(asked, sample("oversample", asked))

    assert second == 42 and first / 100 <= 2 * second / 300


@given(data=st.data())
def test_oversampling_stops_only_for_a_reason(data: st.DataObject) -> None:
    """A class is below its target only where its images are shown as often as allowed, or the budget is used up."""
    asked, _ = data.draw(demands("oversample"))
    repeats = sample("oversample", asked)
    matrix = asked.counts.toarray()
    for c in np.flatnonzero(asked.is_wanted):
        if totals(asked, repeats)[c] < asked.target[c]:
            assert repeats.sum() == asked.budget or (repeats[matrix[:, c] > 0] == asked.max_repeat).all()


@given(data=st.data())
def test_undersampling_keeps_targets_and_drops_all_it_may(data: st.DataObject) -> None:
    """No class falls below its target, one without a target loses nothing, and no image is left that could still go."""
    asked, _ = data.draw(demands("undersample"))
    repeats = sample("undersample", asked)
    matrix = asked.counts.toarray()
    least = np.where(np.isnan(asked.target), matrix.sum(axis=0), np.maximum(asked.target, 1))
    after = np.array(totals(asked, repeats))

    assert (after >= np.minimum(least, matrix.sum(axis=0))).all()
    for row in np.flatnonzero((repeats == 1) & matrix.any(axis=1)):
        assert (after - matrix[row] < least)[matrix[row] > 0].any()


def test_undersampling_never_drops_an_image_that_also_holds_a_rare_class() -> None:
    """Ten images of the frequent class, three of them with the rare one: the seven others may go."""
    asked = demand([[1, 0]] * 7 + [[1, 1]] * 3, [3, 3])

    assert sample("undersample", asked).tolist() == [0] * 7 + [1] * 3


def test_undersampling_never_loses_a_class_that_nobody_wants() -> None:
    """A target of 0 leaves one."""
    asked = demand(folder(8, 4), [0, 2])

    assert totals(asked, sample("undersample", asked)) == [1, 2]


def test_a_budget_below_one_drops_the_most_abundant_first() -> None:
    """Half of the images go, all of the class that stands highest against its target; of each class one stays whatever the budget."""
    asked = demand(folder(8, 2), [10, 20], budget=0.5)
    assert totals(asked, sample("undersample", asked)) == [3, 2]
    asked = demand(folder(8, 2), [8, 2], budget=0.01)
    assert totals(asked, sample("undersample", asked)) == [1, 1]


def test_hybrid_drops_and_repeats() -> None:
    """Thirty and two towards sixteen each."""
    asked = demand(folder(30, 2), [16, 16])

    assert totals(asked, sample("hybrid", asked)) == [16, 16]


# By frequency -------------------------------------------------------------------------------------------------------

HOLDS = np.array([[1, 0, 0]] * 12 + [[5, 2, 0]] * 3 + [[1, 0, 3]] + [[0, 0, 0]] * 4)


def test_repeat_factors_by_hand() -> None:
    """Shares 1, 1/4 and 1/16 with threshold 1/4: the last class is shown twice, an image without labels once."""
    holds = sparse.csr_array(np.array([[1, 0, 0], [5, 2, 0], [1, 0, 3], [0, 0, 0]]))

    assert repeat_factors(holds, np.array([1, 1 / 4, 1 / 16]), 1 / 4).tolist() == [1, 1, 2, 1]


def by_the_paper(matrix: NDArray[np.int64], threshold: float) -> list[float]:
    """Write repeat factor sampling as the LVIS paper and its first implementation do, image by image."""
    in_images: Counter[int] = Counter()
    for image in matrix.tolist():
        in_images.update(c for c, n in enumerate(image) if n)
    of_class = {c: max(1.0, math.sqrt(threshold / (n / len(matrix)))) for c, n in in_images.items()}
    return [max((of_class[c] for c, n in enumerate(image) if n), default=1.0) for image in matrix.tolist()]


@given(data=st.data())
def test_repeat_factor_agrees_with_the_paper(data: st.DataObject) -> None:
    """Each image is shown its factor, rounded down or up; the epoch is as long as all factors together."""
    n, k = data.draw(st.integers(1, 12)), data.draw(st.integers(1, 4))
    matrix = np.array(data.draw(st.lists(st.lists(st.integers(0, 2), min_size=k, max_size=k), min_size=n, max_size=n)), np.int64)
    asked = demand(matrix, threshold=0.5, budget=99, max_repeat=99, seed=data.draw(st.integers(0, 99)))
    factors = np.array(by_the_paper(matrix, 0.5))
    repeats = sample("repeat_factor", asked)

    assert (np.floor(factors + 1e-9) <= repeats).all() and (repeats <= np.ceil(factors - 1e-9)).all()
    assert abs(repeats.sum() - factors.sum()) < 1


def test_the_fractions_of_repeat_factors_are_drawn_fairly() -> None:
    """Over many seeds, each image is shown its factor in the mean."""
    drawn = [sample("repeat_factor", demand(HOLDS, threshold=0.3, seed=seed)) for seed in range(2000)]

    assert np.abs(np.mean(drawn, axis=0) - by_the_paper(HOLDS, 0.3)).max() < 0.05


def test_irfs_takes_the_geometric_mean_of_both_shares() -> None:
    """The third class is in 1 of 20 images and has 3 of 40 instances: sqrt(0.05 · 0.075) = 0.0612; sqrt(0.55 ÷ 0.0612) = 2.997."""
    counts = HOLDS.copy()
    counts[0, 0] += 3
    assert counts.sum() == 40

    assert np.mean([sample("irfs", demand(counts, threshold=0.55, seed=seed))[15] for seed in range(300)]) == pytest.approx(2.997, abs=0.02)


def test_the_threshold_is_the_quantile_that_balances_most_within_the_budget() -> None:
    """Of the four quantiles of 10/11 and 1/11, 90 % leaves the least imbalance; with a budget of 1.1 the median is the largest that fits."""
    matrix = folder(160, 16)
    chosen = {budget: choose_threshold(a := demand(matrix, budget=budget), image_frequency(a)) for budget in (1.5, 1.15, 1.0)}

    assert (chosen[1.5].value, chosen[1.5].quantile) == (0.827273, 0.9)
    assert (chosen[1.15].value, chosen[1.15].quantile) == (0.5, 0.5)  # sqrt(0.5 · 11) = 2.35: 160 + 16 · 2.35 = 197.5 of 202
    assert (chosen[1.0].value, chosen[1.0].quantile) == (pytest.approx(1 / 11), None)  # repeats nothing


def test_a_higher_threshold_is_not_always_the_better_one() -> None:
    """In 20, 10 and 2 of 20 images; the rarest is shown twice from the median on, and beyond that only the others grow."""
    asked = demand([[1, 1, 1]] * 2 + [[1, 1, 0]] * 8 + [[1, 0, 0]] * 10, max_repeat=2)

    assert choose_threshold(asked, image_frequency(asked)).quantile == 0.5


def test_a_threshold_beyond_the_budget_is_lowered_until_it_fits() -> None:
    """What was asked for is remembered, so that it can be said."""
    asked = demand(folder(160, 16), budget=1.1, threshold=0.9)
    chosen = choose_threshold(asked, image_frequency(asked))

    assert chosen.asked == 0.9 and sample("repeat_factor", asked).sum() == 193  # 1.1 · 176 = 193.6
    assert chosen.value == pytest.approx((33 / 16) ** 2 / 11, rel=1e-3)


def test_repeats_help_where_classes_are_apart_and_not_where_every_image_holds_all() -> None:
    """An imbalance within the images stays, however often they are shown."""
    assert repeats_help(demand(folder(160, 16), budget=1.5))
    assert not repeats_help(demand([[12, 1]] * 20, budget=1.5))


def test_class_aware_shows_every_class_equally_often() -> None:
    """Eighty and twenty images: fifty of each, within rounding."""
    asked = demand(folder(80, 20), budget=1.0)

    assert sum(totals(asked, sample("class_aware", asked))) == 100
    assert abs(totals(asked, sample("class_aware", asked))[0] - 50) <= 1


def test_class_aware_gives_to_others_what_a_limit_forbids() -> None:
    """One image of the second class, three times at most: the rest of the twenty goes to the first."""
    asked = demand(folder(19, 1), budget=1.0, max_repeat=3)

    assert totals(asked, sample("class_aware", asked)) == [17, 3]


def test_class_aware_never_loses_a_class() -> None:
    """One image with six rare classes takes nearly the whole epoch of four; of the three images of the seventh class one stays."""
    matrix = np.zeros((4, 7), np.int64)
    matrix[0, :6] = matrix[1:, 6] = 1
    for seed in range(30):
        asked = demand(matrix, budget=1.0, seed=seed)
        repeats = sample("class_aware", asked)

        assert min(totals(asked, repeats)) >= 1 and repeats.sum() == 4


# ML-ROS and ML-RUS --------------------------------------------------------------------------------------------------


def test_ml_ros_clones_a_minority_up_to_the_mean_imbalance() -> None:
    """IRLbl 1, 2, 10; their mean 4.33. The third label is done at 10 ÷ 4.33 = 2.3, so at three images; the second is no minority."""
    asked = demand(folder(10, 5, 1))

    assert totals(asked, sample("ml_ros", asked)) == [10, 5, 3]


def test_ml_ros_counts_what_clones_take_along() -> None:
    """The minority's only image holds the most frequent label too, which grows with it: done at 12 ÷ 4 = 3."""
    asked = demand([[1, 0, 0]] * 9 + [[0, 1, 0]] * 10 + [[1, 0, 1]])  # IRLbl 1, 1, 10; mean 4

    assert totals(asked, sample("ml_ros", asked)) == [12, 10, 3]


def test_ml_ros_labels_take_turns() -> None:
    """Two minorities and a budget for four clones: two each."""
    asked = demand(folder(40, 40, 40, 40, 1, 1), budget=166 / 162)

    assert totals(asked, sample("ml_ros", asked)) == [40, 40, 40, 40, 3, 3]


def test_ml_rus_deletes_majorities_in_turn_and_never_a_minority() -> None:
    """A quarter of 16 images, taken in turn from the two labels below the mean imbalance."""
    asked = demand(folder(10, 5, 1), budget=1.0)

    assert totals(asked, sample("ml_rus", asked)) == [8, 3, 1]


def test_ml_rus_goes_down_to_the_budget_and_stops_at_the_mean() -> None:
    """Half of 16: four of each majority; the second label is then at 6 ÷ 4.33 = 1.4 and takes no further turn."""
    asked = demand(folder(10, 5, 1), budget=0.5)
    assert totals(asked, sample("ml_rus", asked)) == [6, 1, 1]


def test_ml_rus_leaves_one_of_a_majority() -> None:
    """Two images against one: after the first deletion both labels have one, and the mean of before would allow another."""
    asked = demand([[1, 0]] * 2 + [[0, 1]] + [[0, 0]] * 5)

    assert totals(asked, sample("ml_rus", asked)) == [1, 1]


def test_ml_rus_never_deletes_an_image_that_also_holds_a_minority() -> None:
    """Two images show a frequent label and the rare one; of 38 images 19 are to go, and these two stay."""
    for seed in range(20):
        asked = demand([[1, 0, 1]] * 2 + [[1, 0, 0]] * 18 + [[0, 1, 0]] * 18, budget=0.5, seed=seed)
        repeats = sample("ml_rus", asked)

        assert repeats[:2].tolist() == [1, 1] and repeats.sum() == 19
