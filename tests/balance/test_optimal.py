"""`optimal`: against every possible choice on small cases, bounds checked by hand from their multipliers, and what the certificate says."""

from __future__ import annotations

import functools
import io
import itertools
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from rich.console import Console
from scipy import optimize, sparse

import dataset_doctor as dd
from dataset_doctor.balance import Demand, rebalance
from dataset_doctor.balance.certificate import certified, inseparable, labels_to_collect
from dataset_doctor.balance.samplers.optimal import (
    Look,
    cheapest,
    eased,
    exchanged,
    floors_of,
    look_at,
    lowered,
    most_varied,
    problem_of,
    rounded,
    share_bound,
    share_of,
    within_budget,
)
from dataset_doctor.dataset import Dataset, LabelState
from dataset_doctor.errors import UsageError
from dataset_doctor.plan import Certificate, Plan
from dataset_doctor.report.plan import show
from tests.balance.test_rebalance import after, boxes, drawn, folders
from tests.conftest import ROOT


def demand(counts: Any, target: Any, *, budget: float | None = None, max_repeat: int = 10, min_repeat: int = 1) -> Demand:
    matrix = np.array(counts, np.int64)
    images = int((max_repeat if budget is None else budget) * len(matrix) + 1e-9)
    return Demand(sparse.csr_array(matrix), np.array(target, float), images, max_repeat, np.random.default_rng(0), None, min_repeat)


@st.composite
def small(draw: st.DrawFn) -> Demand:
    """Draw up to five images of up to three classes, alike ones and empty ones among them, that may be shown up to three times."""
    n, k = draw(st.integers(1, 5)), draw(st.integers(1, 3))
    row = st.lists(st.sampled_from([0, 0, 1, 1, 2, 5]), min_size=k, max_size=k)
    kinds = draw(st.lists(row, min_size=1, max_size=n))
    matrix = [draw(st.sampled_from(kinds)) for _ in range(n)]
    target = draw(st.lists(st.sampled_from([np.nan, 1, 3, 6, 11, 40]), min_size=k, max_size=k))
    return demand(matrix, target, max_repeat=draw(st.integers(1, 3)), min_repeat=draw(st.sampled_from([1, 1, 0])),
                  budget=draw(st.sampled_from([1.0, 1.4, 2.0, 3.0])))  # fmt: skip


def every_choice(asked: Demand) -> NDArray[np.int64]:
    """List all repeats within the limits; empty images are shown once. Rows are choices."""
    free = range(asked.min_repeat, asked.max_repeat + 1)
    return np.array(list(itertools.product(*([1] if empty else free for empty in asked.is_empty))))


def with_floors(asked: Demand, floor: NDArray[np.float64]) -> NDArray[np.int64]:
    choices = every_choice(asked)
    meets: NDArray[np.bool_] = (choices @ asked.counts.toarray() >= floor).all(axis=1)
    return choices[meets]


def shares(choices: NDArray[np.int64]) -> NDArray[np.float64]:
    with np.errstate(invalid="ignore"):
        share: NDArray[np.float64] = choices.sum(axis=1) ** 2 / (choices**2).sum(axis=1) / choices.shape[1]
    return np.nan_to_num(share)


def names(asked: Demand) -> list[str]:
    return [f"c{c}" for c in range(asked.n_classes)]


# The cheapest epoch -------------------------------------------------------------------------------------------------


@settings(max_examples=300, deadline=None)
@given(asked=small())
@pytest.mark.slow
def test_the_cheapest_epoch_lies_between_the_bound_and_what_rounding_adds(asked: Demand) -> None:
    """Bound ≤ best of all choices ≤ achieved; rounding adds less than one image a class, and where it adds less than one, it is the best."""
    best = with_floors(asked, floors_of(asked)).sum(axis=1).min()
    found = certified(asked, names(asked), "epoch_images")
    said = found.certificate

    assert said.bound <= best + 1e-6 and best <= said.achieved
    assert said.achieved - said.bound < asked.n_classes + 1e-6
    if said.achieved - said.bound < 1 - 1e-6:
        assert said.achieved == best
    assert said.achieved == found.repeats.sum() and said.gap == pytest.approx(abs(said.achieved - said.bound) / said.bound)
    assert (asked.counts.T @ found.repeats >= floors_of(asked)).all()
    assert asked.min_repeat <= found.repeats[~asked.is_empty].min(initial=asked.max_repeat)
    assert found.repeats.max() <= max(asked.max_repeat, 1) and (found.repeats[asked.is_empty] == 1).all()


@settings(deadline=None)
@given(images=st.lists(st.integers(1, 3), min_size=1, max_size=3), data=st.data())
def test_where_an_image_has_one_class_the_cheapest_epoch_is_the_best(images: list[int], data: st.DataObject) -> None:
    """No rounding is left over there."""
    target = data.draw(st.lists(st.integers(1, 9), min_size=len(images), max_size=len(images)))
    asked = demand(np.repeat(np.eye(len(images), dtype=int), images, axis=0), target, max_repeat=3)

    assert certified(asked, names(asked), "epoch_images").certificate.achieved == with_floors(asked, floors_of(asked)).sum(axis=1).min()


@settings(deadline=None)
@given(asked=small())
def test_the_bound_is_that_of_the_linear_programme_over_single_images(asked: Demand) -> None:
    """Solved without merging images, and with what is always met left in."""
    matrix, floor = asked.counts.toarray(), floors_of(asked)
    bounds = [(1, 1) if empty else (asked.min_repeat, asked.max_repeat) for empty in asked.is_empty]
    solved = optimize.linprog(np.ones(len(matrix)), A_ub=-matrix.T, b_ub=-floor, bounds=bounds)

    assert certified(asked, names(asked), "epoch_images").certificate.bound == pytest.approx(solved.fun)


@settings(deadline=None)
@given(asked=small())
def test_the_prices_prove_the_bound(asked: Demand) -> None:
    """Weak duality, image by image: an image costs one and pays the prices of what it shows."""
    problem = problem_of(asked)
    least = cheapest(problem)
    active = np.flatnonzero(floors_of(asked) > asked.min_repeat * asked.instances)
    prices, floor = dict(zip(active.tolist(), least.prices.tolist(), strict=True)), floors_of(asked)
    proven = sum(price * floor[c] for c, price in prices.items())
    for image in asked.counts.toarray()[~asked.is_empty]:
        rest = 1 - sum(price * image[c] for c, price in prices.items())
        proven += min(asked.min_repeat * rest, asked.max_repeat * rest)

    assert min(prices.values(), default=0) >= 0 and least.bound == pytest.approx(proven)
    assert proven <= least.epoch + 1e-9


# The most varied epoch ----------------------------------------------------------------------------------------------


def test_a_length_that_no_epoch_has_proves_nothing_by_rounding() -> None:
    """Between the linear bound and the shortest whole epoch the line of a look is steeper than numbers can tell."""
    asked = demand([[3, 0, 0], [1, 0, 0], [4, 0, 2], [4, 0, 2], [0, 2, 3]], [40, 6, 40], max_repeat=3, budget=7 / 5)

    said = certified(asked, names(asked), "effective_sample_share").certificate

    assert said.achieved == 0.9 <= said.bound


@settings(max_examples=300, deadline=None)
@given(asked=small())
@pytest.mark.slow
def test_no_choice_within_the_budget_is_more_varied_than_the_bound(asked: Demand) -> None:
    """Of all choices that meet the floors, lowered where the budget asks for it; and what was found is one of them."""
    problem = problem_of(asked)
    found = certified(asked, names(asked), "effective_sample_share")
    floor, level = floors_of(asked), 1.0
    if len(problem.floor):
        level = within_budget(problem, cheapest(problem), asked.budget - problem.idle).level
        active = floor > asked.min_repeat * asked.instances
        floor[active] = lowered(problem, level)
    choices = with_floors(asked, floor)
    within = choices[choices.sum(axis=1) <= max(asked.budget, found.repeats.sum())]
    said = found.certificate

    assert (found.repeats == within).all(axis=1).any()
    assert said.achieved == pytest.approx(shares(found.repeats[None].astype(np.int64))[0])
    assert shares(within).max() <= said.bound + 1e-6
    assert said.achieved <= said.bound + 1e-9
    if asked.min_repeat:
        assert found.repeats.sum() <= asked.budget
    assert (level < 1) == any(note.startswith("The budget of") for note in found.notes)


@settings(deadline=None)
@given(asked=small(), part=st.floats(0, 1))
def test_the_line_of_a_look_is_below_half_the_squares_of_every_choice(asked: Demand, part: float) -> None:
    """Checked for all of them, and computed again from the multipliers: ½ r² − (a·λ + μ) r is least at a whole number."""
    problem = problem_of(asked)
    if not len(problem.floor):
        return
    low, high = cheapest(problem).epoch, asked.max_repeat * int(problem.size.sum())
    look = look_at(problem, problem.floor, low + part * (high - low))
    choices = with_floors(asked, floors_of(asked))[:, ~asked.is_empty]

    assert ((choices**2).sum(axis=1) / 2 >= look.base + look.slope * choices.sum(axis=1) - 1e-6).all()
    active = np.flatnonzero(floors_of(asked) > asked.min_repeat * asked.instances)
    wish = asked.counts.toarray()[~asked.is_empty][:, active] @ look.prices + look.slope
    repeats = np.arange(asked.min_repeat, asked.max_repeat + 1)
    least = (repeats**2 / 2 - wish[:, None] * repeats).min(axis=1).sum()
    assert look.base == pytest.approx(problem.floor @ look.prices + least)


def test_a_longer_epoch_is_not_filled_for_its_own_sake() -> None:
    """Forty and ten images, ten more wanted of the second: 60 shown are worth 90 %, the 70 that the budget allows would be worth 89 %."""
    asked = demand([[1, 0]] * 40 + [[0, 1]] * 10, [40, 20], budget=1.4)
    found = certified(asked, ["a", "b"], "effective_sample_share")

    assert found.repeats.sum() == 60 and found.certificate.achieved == pytest.approx(60**2 / (40 + 10 * 4) / 50)


def test_a_budget_buys_variety() -> None:
    """With the same floors, more budget is never less varied."""
    rng = np.random.default_rng(1)
    counts = rng.poisson([2.0, 0.3, 0.05], (300, 3))
    target = [600, 300, 120]
    achieved = [
        certified(demand(counts, target, budget=b), list("abc"), "effective_sample_share").certificate.achieved for b in (2, 2.5, 4)
    ]

    assert certified(demand(counts, target), list("abc"), "epoch_images").certificate.achieved <= 600
    assert achieved == sorted(achieved)


# What the certificate says ------------------------------------------------------------------------------------------


def certificate(plan: Plan) -> Certificate:
    assert plan.certificate is not None
    return plan.certificate


def test_saturated_classes_and_the_labels_to_collect() -> None:
    """One cow, shown ten times, is ten of a hundred: with nine more it would be enough; ten dogs are."""
    plan = rebalance(folders({"cat": 100, "dog": 10, "cow": 1}), method="optimal", target="uniform")

    assert after(plan) == {"cat": 100, "dog": 100, "cow": 10}
    assert certificate(plan).saturated == ("cow",) and certificate(plan).collect == {"cow": 9}
    enough = rebalance(folders({"cat": 100, "dog": 10, "cow": 10}), method="optimal", target="uniform")
    assert certificate(enough).saturated == () and after(enough)["cow"] == 100


def test_a_class_without_an_image_is_collected_from_nothing(tmp_path: Path) -> None:
    """Twenty-five wanted of a class that is not there take three images, shown ten times."""
    (tmp_path / "t.csv").write_text("bird,25\n", encoding="utf-8")
    dataset = drawn("classes: cat bird\n" + "a.jpg 9x9 x4\n  cat 0 0 5 5\n")
    plan = rebalance(dataset, method="optimal", target=str(tmp_path / "t.csv"))

    assert certificate(plan).collect == {"bird": 3} and plan.epoch_images == 4
    assert "No image to repeat: bird 0 of 25." in plan.notes


def test_labels_to_collect_are_rounded_up() -> None:
    """31 of a class, four showings: eight are needed, and two are there; where the target is met, or none is set, nothing is."""
    assert labels_to_collect(demand([[1, 5, 1]] * 2, [31, 10, np.nan], max_repeat=4)).tolist() == [6, 0, 0]


@pytest.mark.parametrize(("alone", "expected"), [(0, [(0, 1)]), (1, [(0, 1)]), (2, [])])
def test_inseparable_classes_are_those_that_hardly_ever_stand_alone(alone: int, expected: list[tuple[int, int]]) -> None:
    """Nine images hold both; with one image of the first alone, nine tenths of it are with the second, with two less."""
    asked = demand([[1, 1, 0]] * 9 + [[1, 0, 0]] * alone + [[0, 0, 1]] * 30, [30, 30, 30])

    assert inseparable(asked) == expected


def test_classes_that_need_nothing_are_not_called_inseparable() -> None:
    """Where neither is short of its target, it does not matter."""
    assert inseparable(demand([[1, 1]] * 5, [5, np.nan])) == []


def test_the_curve_goes_from_the_data_as_they_are_over_the_cheapest_epoch_to_longer_ones() -> None:
    """Budgets rise; the first point is the dataset, the plan is among them, and balance comes before variety."""
    rng = np.random.default_rng(0)
    asked = demand(rng.poisson([3.0, 0.4, 0.1, 0.05], (400, 4)), [1200, 400, 300, 200])
    found = certified(asked, list("abcd"), "epoch_images")
    curve = found.certificate.curve
    budgets = [point.budget for point in curve]

    assert 6 <= len(curve) <= 10 and budgets == sorted(budgets) and budgets[0] == 1.0
    assert curve[0].effective_sample_share == 1.0
    at = budgets.index(found.certificate.achieved / 400)
    assert (curve[at].imbalance_ratio or 0) < (curve[0].imbalance_ratio or 0)
    longer = [point.effective_sample_share for point in curve[at:]]
    assert longer == sorted(longer) and len(longer) > 1


def test_a_budget_below_the_cheapest_epoch_lowers_all_floors_alike_and_says_so() -> None:
    """Fifty of each take 1.74 ×; with 1.4 × there are 61 for two classes: 31 each at most, and 95 % of that share is kept for sure."""
    dataset = folders({"cat": 100, "dog": 10, "cow": 5})
    plan = rebalance(dataset, method="optimal", target="floor:50", budget=1.4)

    assert plan.epoch_images <= 161
    assert plan.notes[0] == "The budget of 1.4 × is below the 1.74 × that all targets take: it suffices for 59 % of each."
    assert min(after(plan)["dog"], after(plan)["cow"]) >= 0.59 * 50 - 1
    assert certificate(plan).objective == "effective_sample_share" and certificate(plan).gap < 0.05


def test_both_figures_are_printed_next_to_each_other() -> None:
    """At the same length of the epoch: floors met, imbalance and variety, for these repeats and for repeat factors, whichever are better."""
    plan = rebalance(boxes(160, 16), method="optimal", target="floor:80")
    ours, other = plan.notes[:2]

    assert ours == "These repeats: 2 of 2 floors met in 240 images, imbalance 2.0 : 1, effective sample share 58 %."
    assert other.startswith("repeat_factor, as long: 1 of 2 floors met in 240 images, imbalance 3.2 : 1, effective")


# The plan -----------------------------------------------------------------------------------------------------------


def test_the_plan_is_what_the_certificate_says() -> None:
    """Epoch and effective sample share are those of the plan, and chance is not used."""
    dataset = drawn("classes: a b c\n" + "x.jpg 9x9 x30\n  a 0 0 5 5 x2\n" + "y.jpg 9x9 x7\n  a 0 0 5 5\n  b 0 0 5 5 x3\n"
                    + "z.jpg 9x9 x3\n  b 0 0 5 5\n  c 0 0 5 5\n" + "e.jpg 9x9 x5 background")  # fmt: skip
    for budget in (None, 1.2, 2.0, 9.0):
        plan = rebalance(dataset, method="optimal", target="uniform", budget=budget)
        said = certificate(plan)
        assert said.achieved == (plan.epoch_images if budget is None else pytest.approx(plan.effective_sample_share))
        assert said.objective == ("epoch_images" if budget is None else "effective_sample_share")
        assert budget is None or plan.epoch_images <= budget * 45
        again = rebalance(dataset, method="optimal", target="uniform", budget=budget, seed=7)
        assert np.array_equal(plan.rows, again.rows) and again.certificate == said
        assert plan.to_dict()["certificate"]["curve"][0]["budget"] == 1.0


def test_images_with_little_else_are_repeated_first() -> None:
    """Of ten images with one dog each, five are to be shown again: those without a cat."""
    dataset = drawn("classes: cat dog\n" + "b.jpg 9x9 x5\n  dog 0 0 5 5\n  cat 0 0 5 5 x4\n" + "a.jpg 9x9 x5\n  dog 0 0 5 5\n")
    plan = rebalance(dataset, method="optimal", target="floor:15")

    assert after(plan) == {"cat": 20, "dog": 15} and plan.epoch_images == 15


def test_images_are_dropped_only_where_that_is_allowed() -> None:
    """Thirty cats and two dogs towards sixteen each: 32 images, no class lost; without leave, every image stays."""
    dataset = folders({"cat": 30, "dog": 2})
    plan = rebalance(dataset, method="optimal", target="uniform", min_repeat=0)

    assert after(plan) == {"cat": 16, "dog": 16} and plan.dropped.images == 14
    assert certificate(plan).achieved == certificate(plan).bound == 32
    assert rebalance(dataset, method="optimal", target="uniform").dropped.images == 0


def test_a_class_without_target_loses_nothing() -> None:
    """Six images of something unknown are all kept, though cats are dropped."""
    plan = rebalance(folders({"cat": 60, "unknown": 6, "dog": 2}), method="optimal", target="uniform", min_repeat=0)

    assert after(plan)["unknown"] == 6 and after(plan)["cat"] < 60


def test_a_budget_that_not_even_one_of_each_class_fits_is_said() -> None:
    """Four classes in four images cannot do with one."""
    plan = rebalance(folders({"a": 3, "b": 3, "c": 3, "d": 3}), method="optimal", target="uniform", min_repeat=0, budget=0.1)

    assert after(plan) == {"a": 1, "b": 1, "c": 1, "d": 1}
    assert plan.notes[-1] == "The budget of 0.1 × cannot be kept: 4 images stay where it allows 1."


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"method": "optimal", "budget": 0.9}, "optimal drops no image"),
        ({"method": "oversample", "min_repeat": 0}, "min_repeat=0 is for optimal"),
        ({"method": "optimal", "min_repeat": 2}, "min_repeat must be 0 or 1, got 2"),
        ({"method": "optimal", "max_repeat": 0}, "max_repeat must be between 1 and 1,000,000, got 0"),
    ],
)
def test_what_cannot_be_used_is_said(options: dict[str, Any], words: str) -> None:
    """One line that names the option and its value."""
    with pytest.raises(UsageError) as error:
        rebalance(boxes(20, 2, 3), **options)
    assert words in error.value.message


@pytest.mark.parametrize(
    ("text", "epoch"),
    [
        ("classes: cat\na.jpg 9x9 x6\n  cat 0 0 5 5", 6),  # one class
        ("classes: a b\n" + "x.jpg 9x9 x9\n  a 0 0 5 5 x12\n  b 0 0 5 5", 90),  # all images alike: the smaller class needs all of them
        ("classes: a b\n" + "x.jpg 9x9 x8\n  a 0 0 5 5\n" + "y.jpg 9x9 x2\n  a 0 0 5 5\n  b 0 0 5 5", 18),  # a class in every image
        ("classes: a b\n" + "x.jpg 9x9 x8\n  a 0 0 5 5\n" + "y.jpg 9x9 x2\n  b 0 0 5 5\nz.jpg 9x9 x3 background", 19),
    ],
)
def test_odd_datasets(text: str, epoch: int) -> None:
    """One class, all images alike, a class in every image, backgrounds: towards equality, with the shortest epoch for it."""
    plan = rebalance(drawn(text), method="optimal", target="uniform")

    assert plan.epoch_images == certificate(plan).achieved == epoch
    assert certificate(plan).gap < 1e-6


def test_backgrounds_are_changed_after_the_repeats_and_the_certificate_says_so() -> None:
    """It proves something about the repeats alone."""
    dataset = boxes(20, 2, background=6)
    plan = rebalance(dataset, method="optimal", target="uniform", background="0%")

    assert (dataset.images.label_state[plan.rows] == LabelState.BACKGROUND).sum() == 0
    assert certificate(plan).achieved == 46 and plan.epoch_images == 40
    assert "The certificate is about the repeats before backgrounds were changed." in plan.notes


# Real datasets, and the terminal ------------------------------------------------------------------------------------


@functools.cache
def read(folder: Path) -> Dataset:
    return dd.read(folder)


@pytest.mark.parametrize("folder", ["aquarium_yolo", "coco_val2017_boxes"])
@pytest.mark.parametrize(("target", "budget"), [("sqrt", None), ("floor:200", None), ("uniform", None), ("floor:200", 1.5), ("sqrt", 6.0)])
def test_primal_equals_dual_on_real_datasets(shared_data: Path, folder: str, target: str, budget: float | None) -> None:
    """Within one in a hundred, for both objectives; every floor is met."""
    plan = rebalance(read(shared_data / folder), method="optimal", target=target, budget=budget)

    assert certificate(plan).gap <= 0.01
    assert plan.notes[0].startswith("These repeats: ") and " floors met" in plan.notes[0]
    met, of = plan.notes[0].removeprefix("These repeats: ").split(" floors met")[0].split(" of ")
    assert met == of


def printed(dataset: Dataset, encoding: str, width: int, **options: Any) -> str:
    out = io.TextIOWrapper(io.BytesIO(), encoding=encoding)
    console = Console(file=out, width=width, force_terminal=False)
    show(rebalance(dataset, method="optimal", **options), console, name="in", out="out", target="COCO", written=False)
    out.flush()
    buffer = out.buffer
    assert isinstance(buffer, io.BytesIO)
    return buffer.getvalue().decode(encoding)


@pytest.mark.parametrize("encoding", ["utf-8", "ascii"])
def test_the_terminal_shows_proof_and_curve(encoding: str) -> None:
    """What was reached and what is proven, what to collect, and a bar for each budget; in ASCII too, and within 60 columns."""
    text = printed(boxes(160, 6), encoding, 60, target="floor:100")

    assert "220 images; no epoch that meets these floors has" in text and "fewer than 220" in text and "gap 0.00%" in text
    assert "collect" in text and "dog 4" in text
    lines = text.splitlines()
    at = next(i for i, line in enumerate(lines) if line.startswith(" budget"))
    rows = list(itertools.takewhile(str.strip, lines[at + 1 :]))
    assert rows[0].split()[:3] == ["1.00", "x" if encoding == "ascii" else "×", "100%"] and len(rows) >= 4
    assert all(("#" if encoding == "ascii" else "█") in row for row in rows)
    assert max(map(len, lines)) <= 60


@pytest.mark.parametrize(("options", "objective"), [([], "epoch_images"), (["--budget", "1.5"], "effective_sample_share")])
def test_the_command_asks_for_the_shortest_epoch_unless_a_budget_is_given(tmp_path: Path, options: list[str], objective: str) -> None:
    """What it writes is what the certificate says."""
    from typer.testing import CliRunner

    from dataset_doctor.cli.app import app

    words = ["rebalance", str(ROOT / "fixtures/yolo"), str(tmp_path / "out"), "--method", "optimal", "--allow-errors", "--json", *options]
    done = CliRunner().invoke(app, words)
    plan = json.loads(done.stdout)

    assert done.exit_code == 0 and plan["certificate"]["objective"] == objective
    written = dd.read(tmp_path / "out")
    assert written.images.in_split[:, written.splits.index("train")].sum() == plan["epoch_images"]


def test_the_parts_of_the_search_agree() -> None:
    """An eased epoch proves less than the strict one, and more looks are never worse."""
    rng = np.random.default_rng(3)
    problem = problem_of(demand(rng.poisson([2.0, 0.2], (200, 2)), [400, 200]))
    least = cheapest(problem)
    one, many = (most_varied(problem, least, 2 * least.epoch, most_looks=looks) for looks in (1, 5))

    assert eased(problem, least).bound < least.bound
    assert share_of(problem, one.totals) <= share_of(problem, many.totals) <= many.bound <= one.bound


@settings(max_examples=60, deadline=None)
@given(asked=small())
@pytest.mark.slow
def test_exchanges_keep_the_floors_and_the_length_and_never_lower_the_share(asked: Demand) -> None:
    """From the epoch that rounding gave to one that no single exchange betters."""
    problem = problem_of(asked)
    if not len(problem.floor):
        return
    least = cheapest(problem)
    better = exchanged(problem, lowered(problem, 1.0), least.totals)

    assert better.sum() == least.totals.sum() and share_of(problem, better) >= share_of(problem, least.totals)
    assert (problem.by_class @ better >= lowered(problem, 1.0) - 1e-9).all()
    assert (better >= problem.least * problem.size).all() and (better <= problem.most * problem.size).all()


def test_an_exchange_takes_from_the_most_repeated() -> None:
    """Three images of one class alike and one of another: five showings are spread, not heaped."""
    problem = problem_of(demand([[1, 0], [1, 1], [1, 2]], [5, 4], max_repeat=3))

    assert exchanged(problem, lowered(problem, 1.0), np.array([3, 1, 1])).max() < 3


@pytest.mark.parametrize(("target", "budget"), [("sqrt", 1.5), ("uniform", 1.5), ("floor:250", 1.2)])
def test_the_gap_on_a_real_dataset_is_below_a_hundredth(shared_data: Path, target: str, budget: float) -> None:
    """Aquarium, also where the budget is below what all targets take."""
    plan = dd.rebalance(dd.read(shared_data / "aquarium_yolo"), method="optimal", target=target, budget=budget)

    assert plan.certificate is not None and 0 <= plan.certificate.gap < 0.01
    assert plan.certificate.achieved <= plan.certificate.bound


def test_the_bound_of_the_share_is_taken_where_two_lines_cross() -> None:
    """Four images; Σ r² ≥ s and Σ r² ≥ 4 s − 6 for an epoch s of 1 to 3: s² ÷ 4 Σ r² is ¼ and ⅜ at the ends, and ½ at 2 in between."""
    problem = problem_of(demand([[1]] * 4, [8]))
    none = np.zeros(0)

    assert share_bound(problem, [Look(1, none, 0.0, 0.5, none), Look(3, none, -3.0, 2.0, none)], 1, 3) == pytest.approx((0.5, 2.0))


def test_rounding_keeps_floors_before_the_budget() -> None:
    """Three images, five showings asked: nine are taken back to five, not to the four that would be affordable; three are raised to five."""
    problem = problem_of(demand([[1]] * 3, [5]))

    assert rounded(problem, problem.floor, np.array([9.0]), 4).tolist() == [5]
    assert rounded(problem, problem.floor, np.array([3.2]), 9).tolist() == [5]
