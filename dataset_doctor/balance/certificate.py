"""The certificate of `optimal`: how far from the best possible it is, what no repeating can reach, and what other budgets would bring."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from dataset_doctor.balance.demand import ROUNDING_EPSILON, Demand, Repeats, instances_of
from dataset_doctor.balance.samplers.by_frequency import repeat_factor
from dataset_doctor.balance.samplers.optimal import (
    Cheapest,
    Problem,
    Whole,
    cheapest,
    eased,
    floors_of,
    most_varied,
    problem_of,
    share_of,
    shorter,
    within_budget,
)
from dataset_doctor.findings import percent, plural
from dataset_doctor.plan import Certificate, CurvePoint
from dataset_doctor.statistics import imbalance_ratio

BOUND_TOGETHER = 0.9
"""Share of a class's instances in images with another class, from which it is bound to that class.

Of the tenth that stands alone, the usual ten showings give nine tenths more: they cannot double the class. So it is the other class's
images that have to be repeated.
"""

PAIRS_SHOWN = 50

BEYOND = (0.25, 0.5, 1.0)
"""Where the curve has points beyond the cheapest epoch: parts of the images that it adds, once more."""

Objective = Literal["epoch_images", "effective_sample_share"]


@dataclass(frozen=True, slots=True, eq=False)
class Certified:
    """Repeats, their certificate, and what a reader should know besides."""

    repeats: Repeats
    certificate: Certificate
    notes: tuple[str, ...]


def certified(demand: Demand, names: Sequence[str], objective: Objective) -> Certified:
    """Find optimal repeats and say how good they are.

    Args:
        demand: What is asked for; the budget counts for `effective_sample_share` alone.
        names: The classes.
        objective: The cheapest epoch that meets the floors, or the most varied one within the budget.
    """
    problem = problem_of(demand)
    least = cheapest(problem)
    floor, level = floors_of(demand), 1.0
    curve = _Curve(demand, problem)
    steps: Sequence[Cheapest] = ()
    n = demand.n_images
    if objective == "epoch_images" or not len(problem.floor):
        totals, bound = least.totals, least.bound + problem.idle
        achieved = float(totals.sum()) + problem.idle
        curve.beyond(least)
        if objective == "effective_sample_share":
            achieved, bound = share_of(problem, totals), 1.0
    else:
        bought = within_budget(problem, least, demand.budget - problem.idle)
        totals, bound, level = bought.found.totals, bought.found.bound, bought.level
        achieved = share_of(problem, totals)
        for tried in bought.found.tried if level == 1 else (totals,):
            curve.add(tried, improves=level == 1)
        if level < 1:
            curve.beyond(least)
        steps = bought.steps
    curve.below(least, steps)
    repeats = problem.to_images(totals)
    notes = []
    if level < 1:
        needed = (least.epoch + problem.idle) / n
        notes.append(
            f"The budget of {demand.budget / n:.3g} × is below the {_up(needed):g} × that all targets take: it suffices for"
            f" {percent(level)} of each."
        )
    notes += _compared(demand, floor, repeats)
    collect = labels_to_collect(demand)
    certificate = Certificate(
        objective=objective,
        achieved=achieved,
        bound=bound,
        gap=abs(achieved - bound) / bound if bound else 0.0,
        saturated=tuple(names[c] for c in np.flatnonzero(collect).tolist()),
        collect={names[c]: int(collect[c]) for c in np.flatnonzero(collect).tolist()},
        inseparable=tuple((names[a], names[b]) for a, b in inseparable(demand)),
        curve=curve.points(),
    )
    return Certified(repeats, certificate, tuple(notes))


def labels_to_collect(demand: Demand) -> NDArray[np.int64]:
    """Count for each class the instances that are missing before repeats can reach the target: ⌈target ÷ most repeats⌉ − instances.

    0 where they can, and where there is no target.
    """
    target = np.where(np.isnan(demand.target), 0.0, demand.target)
    needed = np.ceil(target / demand.max_repeat - ROUNDING_EPSILON).astype(np.int64)
    missing: NDArray[np.int64] = np.maximum(needed - demand.instances, 0)
    return missing


def inseparable(demand: Demand) -> list[tuple[int, int]]:
    """Find pairs of classes, one of them at least short of its target, of which neither can be repeated without the other.

    That is where at least `BOUND_TOGETHER` of the instances of each are in images that hold the other. Pairs that share most images
    come first, and at most `PAIRS_SHOWN` are given.
    """
    holds = demand.counts.copy()
    holds.data = np.ones_like(holds.data)
    beside = (demand.counts.T @ holds).tocoo()
    a, b = beside.coords
    enough = (a != b) & (beside.data >= BOUND_TOGETHER * demand.instances[a] - ROUNDING_EPSILON)
    a, b = a[enough].astype(np.int64), b[enough].astype(np.int64)
    mutual = np.isin(a * demand.n_classes + b, b * demand.n_classes + a) & (a < b)
    is_short = demand.is_wanted & (demand.target > demand.instances)
    mutual &= is_short[a] | is_short[b]
    a, b = a[mutual], b[mutual]
    shared = np.asarray((holds[:, a].multiply(holds[:, b])).sum(axis=0)).ravel() if len(a) <= 100 * PAIRS_SHOWN else -np.arange(len(a))
    order = np.lexsort((b, a, -shared))[:PAIRS_SHOWN]
    return list(zip(a[order].tolist(), b[order].tolist(), strict=True))


def _compared(demand: Demand, floor: NDArray[np.float64], repeats: Repeats) -> list[str]:
    """Put the figures of repeat factors at the same epoch beside those of these repeats, whichever are better."""
    epoch = int(repeats.sum())
    if epoch <= demand.n_images or demand.max_repeat == 1:
        return []
    # A threshold beyond all others is lowered to where the epoch is as long.
    asked = dataclasses.replace(demand, budget=epoch, threshold=float(demand.max_repeat**2), rng=np.random.default_rng(0))
    other = repeat_factor(asked)
    return [f"{name}: {_figures(demand, floor, one)}." for name, one in (("These repeats", repeats), ("repeat_factor, as long", other))]


def _figures(demand: Demand, floor: NDArray[np.float64], repeats: Repeats) -> str:
    made = instances_of(demand.counts, repeats)
    asked = demand.is_wanted
    met = int((made >= floor - ROUNDING_EPSILON)[asked].sum())
    images = plural(int(repeats.sum()), "image")
    return (
        f"{met:,} of {plural(int(asked.sum()), 'floor')} met in {images}, imbalance {_imbalance(made):,.1f} : 1,"
        f" effective sample share {percent(_share(repeats))}"
    )


def _share(repeats: Repeats) -> float:
    shown = repeats.astype(np.int64)
    return float(shown.sum() ** 2 / (shown**2).sum() / len(shown))


def _imbalance(made: NDArray[np.int64]) -> float:
    return imbalance_ratio(made) or 1.0


def _up(multiple: float) -> float:
    """Round up to what a person would type."""
    return float(np.ceil(multiple * 100 - ROUNDING_EPSILON) / 100)


class _Curve:
    """Points of the trade-off between the length of the epoch, its variety and the balance of the classes."""

    def __init__(self, demand: Demand, problem: Problem) -> None:
        self.demand = demand
        self.problem = problem
        self._points: dict[int, CurvePoint] = {}
        self._best = 0.0

    def add(self, totals: Whole, *, improves: bool = False) -> None:
        """Add what an epoch brings; with `improves`, only where it is more varied than all that were added so before it."""
        share = share_of(self.problem, totals)
        epoch = int(totals.sum()) + self.problem.idle
        if epoch in self._points or (improves and share <= self._best):
            return
        if improves:
            self._best = share
        made = instances_of(self.demand.counts, self.problem.to_images(totals))
        self._points[epoch] = CurvePoint(epoch / self.demand.n_images, share, _imbalance(made))

    def below(self, least: Cheapest, steps: Sequence[Cheapest]) -> None:
        """Add what shorter epochs than the cheapest one bring, for floors lowered to a share; `steps` are such epochs if some are known."""
        problem = self.problem
        if problem.least:
            self.add(problem.least * problem.size)
        for step in steps or shorter(problem, least):
            self.add(most_varied(problem, eased(problem, step), step.epoch, most_looks=1).totals)

    def beyond(self, least: Cheapest) -> None:
        """Add the cheapest epoch and longer ones with the same floors, while they are more varied."""
        problem = self.problem
        self.add(least.totals, improves=True)
        way = least.epoch - int((problem.least * problem.size).sum())
        for part in BEYOND if way else ():
            epoch = min(least.epoch + int(part * way), int(problem.most * problem.size.sum()))
            if epoch > least.epoch:
                self.add(most_varied(problem, least, epoch, most_looks=1).totals, improves=True)

    def points(self) -> tuple[CurvePoint, ...]:
        """Give the points in order of the budget."""
        return tuple(self._points[epoch] for epoch in sorted(self._points))
