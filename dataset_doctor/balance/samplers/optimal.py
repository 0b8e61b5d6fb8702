"""Optimal repeats: the cheapest epoch in which every class has its floor, and the most varied one within a budget; both with a proof.

With r the repeats of the images, A their instances (images × classes), b the floors and R the limit of repeats, both solve

    whole r with  least ≤ r ≤ R  and  Aᵀ r ≥ b,  b = min(target, R · instances);  images without instances are shown once.

cheapest      least Σ r. The bound is the dual of the linear programme: for any prices λ ≥ 0, one a class,
              Σ r ≥ b·λ + Σ_i min over r_i of r_i (1 − a_i·λ).
most varied   largest (Σ r)² ÷ Σ r² with Σ r within the budget. For any λ ≥ 0 and any μ, with φ the square on whole numbers and straight
              lines between them, ½ Σ r² ≥ μ Σ r + b·λ + Σ_i min over r_i of (½ φ(r_i) − (a_i·λ + μ) r_i): a line in the epoch Σ r. Some
              such lines bound the share for every epoch within the budget. This is the dual of the calibration problem of survey
              sampling (Deville and Särndal, 1992) for whole repeats: with r_i² for φ it would bound fractions of repeats too, which
              no epoch can have.

Bounds are computed here from multipliers, however these were found, and hold by weak duality alone.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from dataset_doctor.balance.demand import ROUNDING_EPSILON, Demand, Repeats

if TYPE_CHECKING:
    from scipy import sparse

Floats = NDArray[np.float64]
Whole = NDArray[np.int64]

SMOOTHING = (1.0, 0.1)
"""How far φ is rounded off at its corners, from all (the plain square) to hardly: each solution is the start of the next."""

LOOKS = 5
"""How many lengths of the epoch are tried at most for the most varied one."""

NEAR = 1e-3
"""Share of the bound within which a solution is not looked at further."""

LEVELS = (0.3, 0.65)
"""Parts of the way to the floors that are looked at."""

EASED_SHARE = 0.95
"""Part of the largest share that a budget suffices for. Right at the largest, hardly anything is left to choose."""

ROUNDING = 1e-12
"""Part of the numbers in a sum that may be lost in it, and more."""

EXCHANGED = 300_000
"""Kinds × classes up to which showings are exchanged one by one: beyond, rounding takes next to nothing."""

_EXCHANGES, _GIVERS = 200, 100
_STEPS, _MEMORY, _AGAIN, _STEPS_DOWN = 200, 10, 3, 2


@dataclass(frozen=True, slots=True, eq=False)
class Problem:
    """What is to be solved, images with the same instances of the classes that have a floor merged into kinds.

    counts    float64, instances, kinds × classes with a floor that not every choice meets; `by_class` is its transpose
    size      images of each kind
    floor     whole numbers, one a class: what each choice has to reach
    least, most  repeats of an image
    kind      the kind of each image; -1 where it holds no instance, and so is shown once
    spare     instances of each image besides those counted here; within a kind, images that have few are repeated first
    """

    counts: sparse.csr_array[Any]
    by_class: sparse.csr_array[Any]
    size: Whole
    floor: Floats
    least: int
    most: int
    kind: NDArray[np.intp]
    spare: Whole

    @property
    def n_images(self) -> int:
        """Images of the split."""
        return len(self.kind)

    @property
    def idle(self) -> int:
        """Images without instances, shown once each."""
        return self.n_images - int(self.size.sum())

    def to_images(self, totals: Whole) -> Repeats:
        """Share what each kind is shown among its images, as evenly as whole numbers allow."""
        order = np.lexsort((np.arange(self.n_images), self.spare, self.kind))[self.idle :]
        kind = self.kind[order]
        rank = np.arange(len(kind)) - (np.cumsum(self.size) - self.size)[kind]
        each, extra = np.divmod(totals, np.maximum(self.size, 1))
        repeats = np.ones(self.n_images, np.int32)
        repeats[order] = each[kind] + (rank < extra[kind])
        return repeats


def floors_of(demand: Demand) -> Floats:
    """Give the instances that each class must reach: its target, or what its images allow if that is less; 0 where nothing is asked.

    Where images may be dropped, no class is lost, and one without a target loses nothing.
    """
    limit = demand.instances * demand.max_repeat
    if demand.min_repeat > 0:
        return np.where(demand.is_wanted, np.minimum(demand.target, limit), 0.0)
    kept = np.where(np.isnan(demand.target), demand.instances, np.maximum(demand.target, 1.0))
    return np.minimum(kept, limit)


def problem_of(demand: Demand) -> Problem:
    """Merge what is alike and leave out what is met by every choice."""
    floor = floors_of(demand)
    active = np.flatnonzero(floor > demand.min_repeat * demand.instances)
    filled = ~demand.is_empty
    counts = demand.counts[:, active][filled].tocsr()
    first, kind_of = _kinds(counts)
    merged = counts[first].astype(np.float64)
    kind = np.full(demand.n_images, -1, np.intp)
    kind[filled] = kind_of
    spare = np.asarray(demand.counts.sum(axis=1), np.int64).ravel()
    spare[filled] -= np.asarray(counts.sum(axis=1), np.int64).ravel()
    size = np.bincount(kind_of, minlength=len(first)).astype(np.int64)
    return Problem(merged, merged.T.tocsr(), size, floor[active], demand.min_repeat, demand.max_repeat, kind, spare)


def _kinds(counts: sparse.csr_array[Any]) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Find rows that are alike: the first of each kind, and the kind of each row."""
    counts.sort_indices()
    length = np.diff(counts.indptr)
    kind, first, n_kinds = np.zeros(counts.shape[0], np.intp), [np.zeros(0, np.intp)], 0
    for entries in np.unique(length):
        rows = np.flatnonzero(length == entries)
        at = counts.indptr[rows][:, None] + np.arange(entries)
        key = np.ascontiguousarray(np.concatenate([counts.indices[at], counts.data[at]], axis=1), dtype=np.int64)
        # A row as one item of so many bytes sorts several times faster than a row of numbers.
        items = key.view(np.dtype((np.void, key.dtype.itemsize * key.shape[1]))).ravel() if entries else np.zeros(len(rows), np.int8)
        _, at_first, of_row = np.unique(items, return_index=True, return_inverse=True)
        kind[rows] = n_kinds + of_row
        first.append(rows[at_first])
        n_kinds += len(at_first)
    return np.concatenate(first), kind


# The cheapest epoch -------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, eq=False)
class Cheapest:
    """The cheapest epoch for floors at a `level`: how often each kind is shown, and what no epoch with these floors can do without.

    `epoch` and `bound` count images with instances; `prices` prove the bound.
    """

    level: float
    totals: Whole
    bound: float
    prices: Floats

    @property
    def epoch(self) -> int:
        """How often images with instances are shown in all."""
        return int(self.totals.sum())


def cheapest(problem: Problem, level: float = 1.0) -> Cheapest:
    """Solve the linear programme with HiGHS; round up, which keeps every floor, and take back what the rounding made superfluous."""
    from scipy import optimize

    linprog: Any = optimize.linprog  # its types know dense matrices only
    floor = lowered(problem, level)
    least, most = problem.least * problem.size, problem.most * problem.size
    ideal, prices = least.astype(np.float64), np.zeros(len(floor))
    if len(floor):
        bounds = np.stack([least, most], axis=1)
        solved = linprog(np.ones(len(least)), A_ub=-problem.by_class, b_ub=-floor, bounds=bounds, method="highs")
        if solved.x is not None:
            ideal, prices = np.clip(solved.x, least, most), np.maximum(-solved.ineqlin.marginals, 0)
    totals = _covered(problem, floor, ideal, np.ceil(ideal - 1e-6).astype(np.int64))
    return Cheapest(level, _trimmed(problem, floor, ideal, totals, 0), epoch_bound(problem, floor, prices), prices)


def lowered(problem: Problem, level: float) -> Floats:
    """Give a share of each floor, or what every choice has where that is more; each class keeps one instance at least."""
    return np.maximum(np.floor(np.maximum(_at_least(problem), level * problem.floor) + ROUNDING_EPSILON), 1.0)


def least_level(problem: Problem) -> float:
    """Give the share of their floors that all classes have without a single repeat."""
    return float((_at_least(problem) / problem.floor).min(initial=1.0))


def _at_least(problem: Problem) -> Floats:
    made: Floats = problem.by_class @ (problem.least * problem.size).astype(np.float64)
    return made


def epoch_bound(problem: Problem, floor: Floats, prices: Floats) -> float:
    """Give how often every epoch with such floors shows images with instances at least, by weak duality; any prices ≥ 0 prove something."""
    gain = 1 - problem.counts @ prices
    return float((floor * prices).sum() + (problem.size * np.minimum(problem.least * gain, problem.most * gain)).sum())


# The most varied epoch ----------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, eq=False)
class Look:
    """An epoch of one length: `ideal` repeats of each kind, and a line that ½ Σ r² of no choice lies below: `base` + `slope` Σ r.

    Both Σ are over images with instances. `prices` and `slope` are the multipliers that prove the line.
    """

    epoch: float
    ideal: Floats
    base: float
    slope: float
    prices: Floats


def look_at(problem: Problem, floor: Floats, epoch: float, start: Look | None = None) -> Look:
    """Find the most varied repeats that sum to `epoch` over the images with instances: maximise the dual in prices and slope.

    Any start will do; one from an epoch of nearly the same length is fastest.
    """
    from scipy.optimize import minimize
    from threadpoolctl import threadpool_limits

    size = problem.size.astype(np.float64)
    squares = problem.by_class.copy()
    squares.data **= 2
    scale = np.append(1 / np.sqrt(np.maximum(squares @ size, 1.0)), 1 / np.sqrt(max(size.sum(), 1.0)))
    at: Any = np.append(np.zeros(len(floor)), 1.0) / scale if start is None else np.append(start.prices, start.slope) / scale
    bounds: Any = [(0.0, None)] * len(floor) + [(None, None)]

    def negative_dual(scaled: Floats, smoothing: float) -> tuple[float, Floats]:
        multipliers = scaled * scale
        value, shown = _dual(problem, floor, multipliers[:-1], float(multipliers[-1]), smoothing)
        gradient = np.append(floor - problem.by_class @ shown, epoch - shown.sum())
        return -(value + float(multipliers[-1]) * epoch), -gradient * scale

    # Its matrices are so small that the threads of BLAS are slower than one.
    with threadpool_limits(1, "blas"):
        for smoothing in SMOOTHING:
            found = minimize(
                negative_dual, at, args=(smoothing,), method="L-BFGS-B", jac=True, bounds=bounds,
                options={"maxiter": _STEPS, "maxcor": _MEMORY, "ftol": 1e-9, "gtol": 1e-6},
            )  # fmt: skip
            at = found.x
    multipliers = at * scale
    prices, slope = np.maximum(multipliers[:-1], 0), float(multipliers[-1])
    _, shown = _dual(problem, floor, prices, slope, SMOOTHING[-1])
    return Look(epoch, shown, square_bound(problem, floor, prices, slope), slope, prices)


def square_bound(problem: Problem, floor: Floats, prices: Floats, slope: float) -> float:
    """Give c so that ½ Σ r² ≥ c + slope · Σ r for whole repeats that meet the floors, by weak duality; any prices ≥ 0 prove something."""
    return _dual(problem, floor, prices, slope, 0.0)[0]


def _dual(problem: Problem, floor: Floats, prices: Floats, slope: float, smoothing: float) -> tuple[float, Floats]:
    """Give min over r of ½ φ(r) − (Aλ + μ)·r, plus b·λ, and how often each kind is shown there; φ is rounded off by `smoothing`."""
    wish = problem.counts @ prices + slope
    below = np.clip(np.rint(wish - 0.5), problem.least, problem.most - 1)
    if smoothing:
        part = np.clip((wish - below - 0.5) / smoothing + 0.5, 0.0, 1.0)
    else:
        part = (wish > below + 0.5).astype(np.float64)
    each = below + part
    cost = ((2 * below + 1) * part + below * below) / 2
    if smoothing:
        cost = (1 - smoothing) * cost + smoothing / 2 * each * each
    return float((floor * prices).sum() + (problem.size * (cost - wish * each)).sum()), problem.size * each


def share_bound(problem: Problem, looks: list[Look], low: float, high: float) -> tuple[float, float]:
    """Bound the effective sample share of every epoch between two lengths, and tell the length at which the bound is largest.

    (Σ r)² ÷ (a line in Σ r) is convex where the line is positive, so that the largest value lies at an end or where two lines cross.
    """
    lines = np.array([(look.base, look.slope) for look in looks])
    ends = [low, high]
    for i, (base, slope) in enumerate(lines):
        for other, steeper in lines[i + 1 :]:
            if slope != steeper and low < (cross := (other - base) / (slope - steeper)) < high:
                ends.append(float(cross))
    at = np.array(ends)
    # Beyond the shortest epoch lines are so steep that their values are but rounding: what may be that does not count.
    rise = lines[:, 1:] * at
    half_squares = (lines[:, :1] + rise - ROUNDING * (np.abs(lines[:, :1]) + np.abs(rise))).max(axis=0)
    squares = np.maximum(2 * half_squares + problem.idle, (at + problem.idle) ** 2 / problem.n_images)
    shares = (at + problem.idle) ** 2 / squares / problem.n_images
    largest = int(shares.argmax())
    return float(shares[largest]), float(at[largest])


def share_of(problem: Problem, totals: Whole) -> float:
    """Give the effective sample share (Σ r)² ÷ Σ r² ÷ images, each kind shared out among its images."""
    each, extra = np.divmod(totals, np.maximum(problem.size, 1))
    squares = int((problem.size * each * each + extra * (2 * each + 1)).sum()) + problem.idle
    return (int(totals.sum()) + problem.idle) ** 2 / squares / problem.n_images if squares else 0.0


@dataclass(frozen=True, slots=True, eq=False)
class MostVaried:
    """The most varied epoch that was found, the share that none can exceed, and all epochs that were tried, in order of their length."""

    totals: Whole
    bound: float
    tried: tuple[Whole, ...]
    looks: tuple[Look, ...]


def most_varied(problem: Problem, least: Cheapest, budget: int, *, most_looks: int = LOOKS) -> MostVaried:
    """Try several lengths of the epoch, each where the bound of those before is largest, until the best one is near it.

    Args:
        problem: What is to be solved.
        least: The cheapest epoch with the floors wanted; it is within the budget.
        budget: How often images with instances are shown in all, at most.
        most_looks: How many lengths are tried at most.
    """
    floor = lowered(problem, least.level)
    high = float(max(budget, least.epoch))
    low = min(max(least.bound, float((problem.least * problem.size).sum())), high)
    looks: list[Look] = []
    tried = [least.totals]
    best, at = least.totals, high
    while True:
        for _ in range(_AGAIN):
            near = min(looks, key=lambda look: abs(look.epoch - at), default=None)
            looks.append(look_at(problem, floor, at, near))
            totals = rounded(problem, floor, looks[-1].ideal, budget)
            excess = int(totals.sum()) - budget
            if excess <= 0:
                tried.append(totals)
                best = max(best, totals, key=lambda one: share_of(problem, one))
                break
            # What whole repeats take more than fractions is left free the next time.
            at = max(at - 1.25 * excess, low)
        bound, worst = share_bound(problem, looks, low, high)
        # Right at the shortest epoch the prices grow without limit.
        at = max(worst, low + (high - low) / 50)
        is_near = share_of(problem, best) >= bound * (1 - NEAR)
        if is_near or len(looks) >= most_looks or any(abs(look.epoch - at) <= NEAR * (high - low) for look in looks):
            break
    tried.sort(key=lambda one: int(one.sum()))
    return MostVaried(best, bound, tuple(tried), tuple(looks))


# Whole repeats ------------------------------------------------------------------------------------------------------


def rounded(problem: Problem, floor: Floats, ideal: Floats, budget: int) -> Whole:
    """Round to whole numbers that keep every floor, and the budget too where that works out.

    Args:
        problem: What is to be solved.
        floor: What each class must reach.
        ideal: What each kind is to be shown in all.
        budget: What all kinds may be shown in all.
    """
    least, most = problem.least * problem.size, problem.most * problem.size
    totals = np.clip(np.rint(ideal).astype(np.int64), least, most)
    return _trimmed(problem, floor, ideal, _covered(problem, floor, ideal, totals), budget)


def _covered(problem: Problem, floor: Floats, ideal: Floats, totals: Whole) -> Whole:
    """Raise kinds until every floor is met, first what was rounded down most."""
    totals = totals.copy()
    made = problem.by_class @ totals.astype(np.float64)
    by_class = problem.by_class
    free = problem.most * problem.size - totals
    for c in np.flatnonzero(made < floor - ROUNDING_EPSILON)[np.argsort(floor[made < floor - ROUNDING_EPSILON], kind="stable")].tolist():
        missing = floor[c] - made[c]
        if missing <= ROUNDING_EPSILON:
            continue
        held = slice(by_class.indptr[c], by_class.indptr[c + 1])
        kinds, per = by_class.indices[held], by_class.data[held]
        order = np.argsort(totals[kinds] - ideal[kinds], kind="stable")
        kinds, per = kinds[order], per[order]
        # A kind is raised by one in a first round, as far as that is needed, and by all it may in a second.
        for room in (np.minimum(free[kinds], 1), free[kinds] - np.minimum(free[kinds], 1)):
            if missing <= ROUNDING_EPSILON:
                break
            reached = np.cumsum(room * per)
            whole = int(np.searchsorted(reached, missing - ROUNDING_EPSILON))
            raised = room.copy()
            raised[whole + 1 :] = 0
            if whole < len(room):
                before = reached[whole] - room[whole] * per[whole]
                raised[whole] = int(np.ceil((missing - before) / per[whole] - ROUNDING_EPSILON))
            totals[kinds] += raised
            free[kinds] -= raised
            made += problem.counts[kinds].T @ raised.astype(np.float64)
            missing = floor[c] - made[c]
    return totals


def _trimmed(problem: Problem, floor: Floats, ideal: Floats, totals: Whole, goal: int) -> Whole:
    """Lower kinds of which every class has more than its floor, first what was rounded up most, until the sum is at the goal."""
    totals = totals.copy()
    counts, least = problem.counts, problem.least * problem.size
    slack = problem.by_class @ totals.astype(np.float64) - floor
    excess = int(totals.sum()) - goal
    if excess <= 0:
        return totals
    possible = totals > least
    tight = counts.data > slack[counts.indices] + ROUNDING_EPSILON
    possible[np.repeat(np.arange(len(totals)), np.diff(counts.indptr))[tight]] = False
    order = np.flatnonzero(possible)
    order = order[np.lexsort((-totals[order] / np.maximum(problem.size[order], 1), ideal[order] - totals[order]))]
    for kind in order.tolist():
        held = slice(counts.indptr[kind], counts.indptr[kind + 1])
        classes, per = counts.indices[held], counts.data[held]
        turns = int(np.floor((slack[classes] + ROUNDING_EPSILON) / per).min()) if len(per) else excess
        turns = min(turns, int(totals[kind] - least[kind]), excess)
        if turns > 0:
            totals[kind] -= turns
            slack[classes] -= turns * per
            excess -= turns
            if not excess:
                break
    return totals


def exchanged(problem: Problem, floor: Floats, totals: Whole) -> Whole:
    """Show often repeated kinds once less, and seldom repeated ones once more, while every floor is kept: Σ r stays and Σ r² falls.

    What rounding leaves to gain is a matter of small datasets. Where a table of kinds × classes is beyond `EXCHANGED`, nothing is done.

    Args:
        problem: What is to be solved.
        floor: What each class must reach.
        totals: How often each kind is shown in all; it keeps the floors.
    """
    if problem.counts.shape[0] * problem.counts.shape[1] > EXCHANGED:
        return totals
    counts, totals = problem.counts.toarray().astype(np.float64), totals.copy()
    least, most = problem.least * problem.size, problem.most * problem.size
    slack = counts.T @ totals - floor
    for _ in range(_EXCHANGES):
        # Of a kind's images the one shown most gives a showing, the one shown least takes one.
        saved = np.where(totals > least, 2 * ((totals - 1) // problem.size) + 1, -1)
        cost = np.where(totals < most, 2 * (totals // problem.size) + 1, np.iinfo(np.int64).max)
        for kind in np.argsort(-saved, kind="stable")[:_GIVERS].tolist():
            takers = np.flatnonzero(cost < saved[kind])
            takers = takers[(counts[takers] >= counts[kind] - slack - ROUNDING_EPSILON).all(axis=1)]
            if len(takers):
                taker = takers[cost[takers].argmin()]
                totals[kind] -= 1
                totals[taker] += 1
                slack += counts[taker] - counts[kind]
                break
        else:
            break
    return totals


# The sampler --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, eq=False)
class WithinBudget:
    """What a budget buys: every class reaches `level` × its floor, 1 where the budget suffices; `steps` were solved on the way."""

    found: MostVaried
    level: float
    steps: tuple[Cheapest, ...] = ()


def within_budget(problem: Problem, least: Cheapest, budget: int) -> WithinBudget:
    """Find the most varied epoch within a budget of images with instances.

    Where the budget is below the cheapest epoch, floors are lowered to a share that it suffices for, the same for every class. The
    length of the cheapest epoch is convex in that share, so that a few steps of regula falsi come near the largest one.
    """
    budget = min(budget, problem.most * int(problem.size.sum()))
    if least.epoch <= budget:
        return WithinBudget(_polished(problem, least, most_varied(problem, least, budget)), 1.0)
    start = Cheapest(least_level(problem), problem.least * problem.size, 0.0, np.zeros(len(problem.floor)))
    steps = shorter(problem, least)
    below = max((one for one in [start, *steps] if one.epoch <= budget), key=lambda one: one.level, default=start)
    above = min((one for one in [*steps, least] if one.epoch > budget), key=lambda one: one.level)
    for _ in range(_STEPS_DOWN):
        if below.epoch >= budget:
            break
        level = below.level + (above.level - below.level) * (budget - below.epoch) / (above.epoch - below.epoch)
        one = cheapest(problem, level)
        below, above = (below, one) if one.epoch > budget else (one, above)
    if below is start:
        below = cheapest(problem, start.level)
    lower = eased(problem, below)
    found = _polished(problem, lower, most_varied(problem, lower, budget))
    return WithinBudget(found, max(below.level * EASED_SHARE, start.level), tuple(steps))


def _polished(problem: Problem, least: Cheapest, found: MostVaried) -> MostVaried:
    """Exchange single showings of the epoch that was found, which makes it more varied and no longer."""
    totals = exchanged(problem, lowered(problem, least.level), found.totals)
    tried = sorted((*found.tried, totals), key=lambda one: int(one.sum()))
    return dataclasses.replace(found, totals=totals, tried=tuple(tried))


def shorter(problem: Problem, least: Cheapest) -> list[Cheapest]:
    """Solve for floors lowered to parts of the way from what all classes have anyway: epochs shorter than the cheapest one."""
    start = least_level(problem)
    solved = [cheapest(problem, start + part * (1 - start)) for part in LEVELS] if start < 1 else []
    return [one for one in solved if one.epoch < least.epoch]


def eased(problem: Problem, least: Cheapest) -> Cheapest:
    """Lower the floors of a cheapest epoch a little, which leaves something to choose; the epoch meets them, and its prices prove less."""
    level = max(least.level * EASED_SHARE, least_level(problem))
    return dataclasses.replace(least, level=level, bound=epoch_bound(problem, lowered(problem, level), least.prices))


def optimal_repeats(demand: Demand) -> Repeats:
    """Show images as variedly as possible within the budget, with every class at its target or at what its images allow.

    What the budget does not suffice for is lowered by the same part for each class. Chance is not used.
    """
    problem = problem_of(demand)
    if not len(problem.floor):
        return np.ones(demand.n_images, np.int32)
    return problem.to_images(within_budget(problem, cheapest(problem), demand.budget - problem.idle).found.totals)
