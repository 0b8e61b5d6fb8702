"""Divide units (images, or groups of images that stay together) so that every part is like the whole.

What a part should hold is a table, labels × parts; how far a division is from it is one number, a weighted sum of squares. Three steps make
it small:

1. Deal: units in the order of their rarest label are dealt out in the rhythm of the ratios. Rare labels are nearly right after it.
2. Move: each unit whose move to another part would help. The gain of every possible move is one product of sparse matrices; only the best
   are then tried one by one.
3. Swap: pairs of units of two parts, which leaves the sizes alone. Here the number of images that hold a label counts for more, since
   a swap can mend one image too few without disturbing the rest.

Iterative stratification (Sechidis, Tsoumakas and Vlahavas, 2011) looks at each unit once, at presence alone, and knows no groups. With
the same number of images a label, this one comes several times nearer in instances (`benchmarks/`).
"""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from scipy import sparse

Parts = NDArray[np.intp]
"""The number of the part of each unit."""

PRESENCE, PRESENCE_SWAPPING = 4.0, 30.0
"""How much an image with a label too many weighs, compared with as unusual a surplus of instances; while moving, and while swapping."""

MOST_COMMON, MINOR = 0.01, 0.01
"""Least share of images without a label that is told apart from none, and the weight of labels that cannot be in every part."""

BLOCK = 32_768
"""Units whose moves are looked at together."""

TRIED, IN_VAIN = 1_000, 100
"""The best moves that are tried one by one before the gains are computed anew, and tries in a row that may fail."""

MOVE_ROUNDS = 2_000
PARTNERS, SWAPS, SWAP_TABLES = 1_000, 200, 45
"""Units of either part that swaps are looked for among, swaps made from one such table, and tables in all."""

FEW, STARTS = 2_000, 4
"""Up to so many units, the best of so many divisions is taken."""

LEAST_GAIN = 1e-9


def shares(total: int, ratios: NDArray[np.float64]) -> NDArray[np.int64]:
    """Cut a number of images by ratios: whole numbers by the largest remainder, none of them 0.

    >>> shares(14, np.array([0.8, 0.1, 0.1])).tolist(), shares(3, np.array([0.98, 0.01, 0.01])).tolist()
    ([11, 2, 1], [1, 1, 1])
    """
    whole: NDArray[np.int64] = rounded(at_least_one(np.array([float(total)]), ratios))[0].astype(np.int64)
    return whole


def rounded(cut: NDArray[np.float64]) -> NDArray[np.float64]:
    """Round rows to whole numbers by the largest remainder, so that their sums stay.

    >>> rounded(np.array([[1.5, 1.5, 1.0], [0.4, 1.8, 1.8]])).tolist()
    [[2.0, 1.0, 1.0], [0.0, 2.0, 2.0]]
    """
    whole = np.floor(cut + 1e-9)
    missing = np.rint((cut - whole).sum(axis=1))
    place = np.argsort(np.argsort(whole - cut, axis=1, kind="stable"), axis=1, kind="stable")
    result: NDArray[np.float64] = whole + (place < missing[:, None])
    return result


def at_least_one(totals: NDArray[np.float64], ratios: NDArray[np.float64]) -> NDArray[np.float64]:
    """Cut totals by ratios, bent where need be so that each part is at least 1; a total below the number of parts is cut as it is.

    Returns:
        float64 (len(totals), len(ratios)).

    >>> at_least_one(np.array([100.0, 7.0, 1.0]), np.array([0.75, 0.125, 0.125])).tolist()
    [[75.0, 12.5, 12.5], [5.0, 1.0, 1.0], [0.75, 0.125, 0.125]]
    """
    cut = totals[:, None] * ratios
    raised = np.zeros(cut.shape, bool)
    for _ in ratios:
        raised |= cut < 1
        left = np.maximum(totals - raised.sum(axis=1), 0)
        weight = np.where(raised, 0, ratios)
        with np.errstate(invalid="ignore"):
            cut = np.where(raised, 1.0, left[:, None] * weight / weight.sum(axis=1, keepdims=True))
    enough = totals >= len(ratios)
    return np.where(enough[:, None], cut, totals[:, None] * ratios)


def stratify(
    holds: sparse.csr_array[Any],
    counts: sparse.csr_array[Any],
    others: sparse.csr_array[Any],
    n_images: NDArray[np.int64],
    ratios: NDArray[np.float64],
    seed: int,
) -> tuple[Parts, NDArray[np.bool_]]:
    """Divide units into parts by ratios, alike in every label.

    A class that fewer units hold than there are parts cannot be in each of them. Its units go to the first part, as long as there is room
    and no other class is kept from a part by it.

    Args:
        holds: Units × labels, images that hold the label: first the classes, of which every part gets one if that can be, then others.
        counts: Units × classes, instances.
        others: Units × whatever else should be spread, in amounts.
        n_images: Images in each unit.
        ratios: Sum to 1; at least as many units as ratios.
        seed: Of the order in which units of equal standing are dealt.

    Returns:
        The part of each unit, and bool (classes, parts): the part lacks the class although as many units hold it as there are parts.
    """
    k, m, n_classes = len(ratios), len(n_images), counts.shape[1]
    n_units = np.bincount(holds.indices, minlength=holds.shape[1])
    spread, few = n_units >= k, (n_units > 0) & (n_units < k)
    spread[n_classes:] = few[n_classes:] = False
    room = shares(int(n_images.sum()), ratios)
    pinned: NDArray[np.bool_] = holds @ few.astype(np.float64) > 0
    pinned[np.cumsum(np.where(pinned, n_images, 0)) > room[0]] = False
    # Each part needs a unit of its own.
    pinned[np.flatnonzero(pinned)[max(0, m - k + 1) :]] = False
    random = np.random.default_rng(seed)
    best: tuple[tuple[int, float], Parts, NDArray[np.bool_]] | None = None
    for _ in range(STARTS if m <= FEW else 1):
        division = _Division(holds, counts, others, n_images, ratios, room, pinned, spread, few, random)
        division.improve()
        lacking = division.lacking()
        if lacking.any() and pinned.any():
            # That every part holds what it can hold comes before that the first holds what not every part can.
            division = _Division(holds, counts, others, n_images, ratios, room, np.zeros(m, bool), spread, few, random)
            division.improve()
            lacking = division.lacking()
        standing = (int(lacking.sum()), division.distance())
        if best is None or standing < best[0]:
            best = standing, division.parts(), lacking[:n_classes]
    assert best is not None
    return best[1:]


class _Division:
    """A division in the making. Units stand in random order; `amounts` has a row for each, with a column for each thing to be spread."""

    def __init__(
        self,
        holds: sparse.csr_array[Any],
        counts: sparse.csr_array[Any],
        others: sparse.csr_array[Any],
        n_images: NDArray[np.int64],
        ratios: NDArray[np.float64],
        room: NDArray[np.int64],
        pinned: NDArray[np.bool_],
        spread: NDArray[np.bool_],
        few: NDArray[np.bool_],
        random: np.random.Generator,
    ) -> None:
        from scipy import sparse

        self.n_labels, self.k = holds.shape[1], len(ratios)
        self.spread, self.few = spread, few
        self.order = random.permutation(len(n_images))
        size = sparse.csr_array(n_images[:, None].astype(np.float64))
        self.amounts = sparse.hstack([holds, counts, others, size]).tocsr().astype(np.float64)[self.order]
        self.amounts.sort_indices()
        self.squares = self.amounts.multiply(self.amounts).tocsr()
        self.fixed = pinned[self.order]
        self.wanted, self.weight = self._wanted(ratios, room, counts.shape[1])
        self.own = self.squares @ self.weight
        self.at = self._dealt(room, n_images[self.order])
        self.surplus = self.amounts.T @ np.eye(self.k)[self.at] - self.wanted

    def _wanted(self, ratios: NDArray[np.float64], room: NDArray[np.int64], n_classes: int) -> tuple[NDArray[Any], NDArray[Any]]:
        """Say how much of each column each part should hold, and what the square of a surplus weighs: 1 ÷ what chance would make of it."""
        totals, squares = (matrix.sum(axis=0).astype(np.float64) for matrix in (self.amounts, self.squares))
        wanted = totals[:, None] * ratios
        labels = slice(0, self.n_labels)
        in_first = totals[labels, None] * (np.arange(self.k) == 0)
        wanted[labels] = np.where(self.few[:, None], in_first, wanted[labels])
        wanted[labels] = np.where(self.spread[:, None], at_least_one(totals[labels], ratios), wanted[labels])
        # Instances follow their images.
        images, instances = totals[:n_classes], totals[self.n_labels : self.n_labels + n_classes]
        follow = np.divide(instances, images, out=np.zeros(n_classes), where=images > 0)
        wanted[self.n_labels : self.n_labels + n_classes] = wanted[:n_classes] * follow[:, None]
        # Where two parts have the same claim to an image, every other label gives it to the later one.
        whole = wanted[labels].copy()
        whole[::2] = rounded(whole[::2])
        whole[1::2] = rounded(whole[1::2, ::-1])[:, ::-1]
        wanted[labels] = (wanted[labels] + whole) / 2
        wanted[-1] = room
        scale = totals[:, None] * ratios * np.divide(squares, totals, out=np.ones(len(totals)), where=totals > 0)[:, None]
        weight = np.divide(1.0, scale, out=np.zeros_like(scale), where=(scale > 0) & (totals > 0)[:, None])
        # Chance moves what nearly all images hold less; and what cannot be in every part must not keep out what can.
        lacked = np.maximum(1 - totals[labels] / totals[-1], MOST_COMMON)
        weight[labels] *= PRESENCE * (np.where(self.few, MINOR, 1.0) / lacked)[:, None]
        return wanted, weight

    def _dealt(self, room: NDArray[np.int64], n_images: NDArray[np.int64]) -> Parts:
        """Deal the units out in the order of their rarest label; among those of one label, by the number of instances."""
        m, labels = len(n_images), self.n_labels
        columns = self.amounts.indices
        unit = np.repeat(np.arange(m), np.diff(self.amounts.indptr))
        is_label = columns < labels
        rank = np.argsort(np.argsort(np.bincount(columns[is_label], minlength=labels), kind="stable"), kind="stable")
        rarest = np.full(m, labels)
        np.minimum.at(rarest, unit[is_label], rank[columns[is_label]])
        amount = self.amounts.sum(axis=1)
        free = np.flatnonzero(~self.fixed)
        free = free[np.lexsort((amount[free], rarest[free]))]
        left = room.astype(np.float64)
        left[0] -= n_images[self.fixed].sum()
        left = np.maximum(left, 1e-9)
        at = np.zeros(m, np.intp)
        # Each part takes turns in even steps: the place of its i-th image is (i + ½) ÷ its size.
        whole = np.maximum(np.rint(left * len(free) / left.sum()), 1).astype(np.int64) + 1
        turns = np.concatenate([(np.arange(n) + 0.5) / share for n, share in zip(whole, left, strict=True)])
        at[free] = np.repeat(np.arange(self.k), whole)[np.argsort(turns, kind="stable")][: len(free)]
        return at

    def improve(self) -> None:
        """Take all steps."""
        self.move()
        self.fill()
        self.favour_presence()
        self.swap()
        self.fill()
        self.mend()

    # Steps ------------------------------------------------------------------------------------------------------------

    def move(self) -> None:
        """Move units as long as that brings the division nearer to what is wanted; sizes may come to be off by a few."""
        m = len(self.at)
        starts, columns, values = self.amounts.indptr.tolist(), self.amounts.indices.tolist(), self.amounts.data.tolist()
        blocks = [slice(start, min(start + BLOCK, m)) for start in range(0, m, BLOCK)]
        rows = [self.amounts[block] for block in blocks]
        weight = self.weight.tolist()
        idle = 0
        for turn in range(MOVE_ROUNDS):
            block = blocks[turn % len(blocks)]
            pull = 2 * self.weight * self.surplus
            candidates, to = self._best_moves(block, rows[turn % len(blocks)] @ pull)
            slope = pull.tolist()
            moved = in_vain = 0
            for unit, b in zip(candidates.tolist(), to.tolist(), strict=True):
                a = int(self.at[unit])
                change = 0.0
                held = range(starts[unit], starts[unit + 1])
                for i in held:
                    x, f, w = values[i], slope[columns[i]], weight[columns[i]]
                    change += x * (f[b] - f[a] + x * (w[a] + w[b]))
                if change > -LEAST_GAIN:
                    in_vain += 1
                    if in_vain > IN_VAIN:
                        break
                    continue
                for i in held:
                    x, f, w = values[i], slope[columns[i]], weight[columns[i]]
                    f[a] -= 2 * w[a] * x
                    f[b] += 2 * w[b] * x
                self._put(unit, b)
                moved += 1
                in_vain = 0
            idle = 0 if moved else idle + 1
            if idle == len(blocks):
                break

    def _best_moves(self, block: slice, gradient: NDArray[Any]) -> tuple[Parts, Parts]:
        """Give the units of a block whose best move would help most, best first, and where each would go."""
        row, at, own = np.arange(len(gradient)), self.at[block], self.own[block]
        cost = gradient + own
        leaving = own[row, at] - gradient[row, at]
        cost[row, at] = np.inf
        to = cost.argmin(axis=1)
        change = cost[row, to] + leaving
        change[self.fixed[block]] = 0
        found = np.flatnonzero(change < -LEAST_GAIN)
        if len(found) > TRIED:
            found = found[np.argpartition(change[found], TRIED)[:TRIED]]
        found = found[np.argsort(change[found], kind="stable")]
        return found + block.start, to[found]

    def _put(self, unit: int, part: int) -> None:
        held = slice(self.amounts.indptr[unit], self.amounts.indptr[unit + 1])
        columns, values = self.amounts.indices[held], self.amounts.data[held]
        self.surplus[columns, self.at[unit]] -= values
        self.surplus[columns, part] += values
        self.at[unit] = part

    def _changes(self, a: int, b: int) -> NDArray[np.float64]:
        """Say for all units what a move from part a to part b would change; of interest for those in part a."""
        pull = 2 * self.weight * self.surplus
        changes: NDArray[np.float64] = self.amounts @ (pull[:, b] - pull[:, a]) + self.own[:, a] + self.own[:, b]
        return changes

    def _change(self, unit: int, b: int) -> float:
        """Say what a move of one unit to part b would change."""
        a = self.at[unit]
        held = slice(self.amounts.indptr[unit], self.amounts.indptr[unit + 1])
        c, x = self.amounts.indices[held], self.amounts.data[held]
        pull = self.weight[c, b] * self.surplus[c, b] - self.weight[c, a] * self.surplus[c, a]
        return float(2 * (x @ pull) + self.own[unit, a] + self.own[unit, b])

    def fill(self) -> None:
        """Move units until the sizes are right, or no unit is small enough for what is missing."""
        size = self.amounts[:, [-1]].toarray().ravel()
        while True:
            surplus = self.surplus[-1]
            a, b = int(surplus.argmax()), int(surplus.argmin())
            units = np.flatnonzero((self.at == a) & ~self.fixed & (size <= min(surplus[a], -surplus[b])))
            if not len(units):
                return
            self._put(int(units[self._changes(a, b)[units].argmin()]), b)

    def favour_presence(self) -> None:
        """From now on count the images with a label for more, and those with a common one for nearly as much as those with a rare one."""
        labels = slice(0, self.n_labels)
        self.weight[labels] = PRESENCE_SWAPPING * np.sqrt(self.weight[labels] / PRESENCE)
        self.own = self.squares @ self.weight

    def swap(self) -> None:
        """Exchange units between two parts as long as that brings the division nearer to what is wanted."""
        stale = set(itertools.combinations(range(self.k), 2))
        for _ in range(SWAP_TABLES):
            if not stale:
                return
            a, b = pair = min(stale)
            stale.discard(pair)
            if self._swap_between(a, b):
                stale |= {p for p in itertools.combinations(range(self.k), 2) if p != pair and {a, b} & set(p)} | {pair}

    def _swap_between(self, a: int, b: int) -> int:
        """Exchange units between two parts; give how many pairs."""
        ours, gain = self._easiest(a, b)
        theirs, their_gain = self._easiest(b, a)
        if not len(ours) or not len(theirs):
            return 0
        both = self.weight[:, a] + self.weight[:, b]
        shared = ((self.amounts[ours] * both[None, :]).tocsr() @ self.amounts[theirs].T).toarray()
        change = gain[:, None] + their_gain - 2 * shared
        partner, row = change.argmin(axis=1), np.arange(len(ours))
        change, shared = change[row, partner], shared[row, partner]
        done = 0
        used: set[int] = set()
        for i in np.argsort(change, kind="stable")[:SWAPS].tolist():
            if change[i] > -LEAST_GAIN:
                break
            one, other = int(ours[i]), int(theirs[partner[i]])
            if other in used:
                continue
            # Exchanges made before it have changed what this one brings.
            if self._change(one, b) + self._change(other, a) - 2 * shared[i] < -LEAST_GAIN:
                self._put(one, b)
                self._put(other, a)
                used.add(other)
                done += 1
        return done

    def _easiest(self, a: int, b: int) -> tuple[Parts, NDArray[np.float64]]:
        """Give the units of part a that would move to part b at the least cost, and the cost."""
        units = np.flatnonzero((self.at == a) & ~self.fixed)
        change = self._changes(a, b)[units]
        if len(units) > PARTNERS:
            chosen = np.argpartition(change, PARTNERS)[:PARTNERS]
            units, change = units[chosen], change[chosen]
        return units, change

    # Classes that a part lacks -------------------------------------------------------------------------------------------

    def _held(self) -> NDArray[np.float64]:
        """Give what each part holds of each column; what need not be in every part counts as held."""
        held = self.surplus + self.wanted
        held[: self.n_labels][~self.spread] = np.inf
        held[self.n_labels : -1] = np.inf
        return np.where(np.abs(held) < 1e-6, 0, held)

    def lacking(self) -> NDArray[np.bool_]:
        """Tell which parts lack which classes (columns × parts) that units enough hold; the last row is of parts without a unit."""
        lacks: NDArray[np.bool_] = self._held() == 0
        return lacks

    def mend(self) -> None:
        """Bring to each part the classes that it lacks: the cheapest exchange, or move into an empty part, that takes no other away."""
        for column, part in np.argwhere(self.lacking())[::-1].tolist():
            if self._held()[column, part] == 0:
                self._bring(column, part)

    def _bring(self, column: int, part: int) -> None:
        units = np.flatnonzero((self.amounts[:, [column]].toarray().ravel() > 0) & (self.at != part) & ~self.fixed)
        units = units[self._can_leave(units)]
        best: tuple[float, int, int] | None = None
        for unit in units[:PARTNERS].tolist():
            home = int(self.at[unit])
            moving = self._change(unit, part)
            if column == len(self.wanted) - 1:
                best = min(best or (np.inf, -1, -1), (moving, unit, -1))
                continue
            self._put(unit, part)
            partners = np.flatnonzero((self.at == part) & ~self.fixed)
            partners = partners[(partners != unit) & self._can_leave(partners)]
            if len(partners):
                change = self._changes(part, home)[partners]
                best = min(best or (np.inf, -1, -1), (moving + float(change.min()), unit, int(partners[change.argmin()])))
            self._put(unit, home)
        if best is not None:
            home = int(self.at[best[1]])
            self._put(best[1], part)
            if best[2] >= 0:
                self._put(best[2], home)

    def _can_leave(self, units: Parts) -> NDArray[np.bool_]:
        """Tell which units are not the last of their part with some label, nor its last unit."""
        held = self._held()
        rows = self.amounts[units].tocoo()
        last = rows.data >= held[rows.col, self.at[units][rows.row]] - 1e-6
        can = np.ones(len(units), bool)
        can[rows.row[last]] = False
        return can

    # Result -------------------------------------------------------------------------------------------------------------

    def distance(self) -> float:
        """Give the weighted sum of squares that is made small."""
        return float((self.weight * self.surplus**2).sum())

    def parts(self) -> Parts:
        """Give the part of each unit, in the order in which they were given."""
        part = np.empty_like(self.at)
        part[self.order] = self.at
        return part
