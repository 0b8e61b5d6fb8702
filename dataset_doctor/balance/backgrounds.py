"""The share of background images: drop what is too many, repeat what there is; positives are never touched."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dataset_doctor.balance.demand import ROUNDING_EPSILON, Repeats
from dataset_doctor.errors import UsageError
from dataset_doctor.findings import plural

_NUMBER = r"(\d{1,9}(?:\.\d{1,9})?)"
_RATIO = re.compile(rf"{_NUMBER}:{_NUMBER}")
_SHARE = re.compile(rf"{_NUMBER} ?%")


@dataclass(frozen=True, slots=True)
class Background:
    """How many backgrounds are wanted: so many to a positive image (`per_positive`) or to any other (`per_other`), or as they are."""

    text: str = "keep"
    per_positive: float | None = None
    per_other: float | None = None

    def wanted(self, positives: int, others: int) -> float | None:
        """Give the number of backgrounds for so many images of the result; None where they stay as they are."""
        if self.per_positive is not None:
            return self.per_positive * positives
        return None if self.per_other is None else self.per_other * others


def parse_background(text: str) -> Background:
    """Read `keep`, a ratio of positive : background, or the percentage that backgrounds are to be of all images.

    >>> parse_background("1:3").wanted(10, 10), parse_background("10%").wanted(90, 90), parse_background("keep").wanted(9, 9)
    (30.0, 10.0, None)

    Raises:
        UsageError: none of these.
    """
    if text == "keep":
        return Background(text)
    if (found := _RATIO.fullmatch(text.replace(" ", ""))) and float(found[1]) > 0:
        return Background(text, per_positive=float(found[2]) / float(found[1]))
    if (found := _SHARE.fullmatch(text.strip())) and (share := float(found[1]) / 100) < 1:
        return Background(text, per_other=share / (1 - share))
    raise UsageError(f"`background={text}` is not known.", "Give keep, a ratio of positive : background like 1:3, or a share like 10%.")


@dataclass(frozen=True, slots=True, eq=False)
class Pool:
    """Which images of the split are what; each bool, one an image. In YOLO an unlabeled image is background to a trainer (`silent`)."""

    positive: NDArray[np.bool_]
    background: NDArray[np.bool_]
    silent: NDArray[np.bool_]


def room_for_sampler(background: Background, pool: Pool, budget: int, max_repeat: int) -> int:
    """Give the part of the budget that leaves room for the backgrounds that are wanted; those that there are count once in it."""
    n_positive, n_background = int(pool.positive.sum()), int(pool.background.sum())
    n_unlabeled = len(pool.positive) - n_positive - n_background
    rate = background.per_positive if background.per_positive is not None else background.per_other
    if rate is None:
        return budget
    available = budget - n_unlabeled
    # As many positives as leave room for their backgrounds, or for all repeats of the backgrounds; never fewer than there are.
    positives = max(int(available / (1 + rate)), available - max_repeat * n_background, min(n_positive, available))
    return positives + n_background + n_unlabeled


def settle(
    background: Background, pool: Pool, repeats: Repeats, *, budget: int, max_repeat: int, rng: np.random.Generator
) -> tuple[Repeats, tuple[str, ...]]:
    """Drop backgrounds at random, or repeat them in turn, until as many are there as are wanted for the other images.

    Args:
        background: What is wanted.
        pool: Which image is what.
        repeats: What the sampler gave.
        budget: Images in the result at most.
        max_repeat: How often an image is shown at most.
        rng: Where chance is used.

    Returns:
        The repeats, and what a reader should know.
    """
    silent = int(repeats[pool.silent].sum())
    rows = np.flatnonzero(pool.background)
    have = len(rows) + silent
    shown = int(repeats.sum())
    wanted = background.wanted(int(repeats[pool.positive].sum()), shown - have)
    if wanted is None or math.floor(wanted + ROUNDING_EPSILON) <= have <= math.ceil(wanted - ROUNDING_EPSILON):
        return repeats, ()
    order = rng.permutation(rows)
    repeats = repeats.copy()
    if have > wanted:
        excess = have - math.floor(wanted + ROUNDING_EPSILON)
        repeats[order[:excess]] = 0
        notes = [f"{plural(min(excess, len(rows)), 'background image')} dropped at random for {background.text}."]
        if excess > len(rows):
            more = excess - len(rows)
            notes.append(f"{plural(more, 'image')} without a label file stay, though a trainer reads them as backgrounds: look at them.")
        return repeats, tuple(notes)
    goal = math.ceil(wanted - ROUNDING_EPSILON)
    possible = min(goal, silent + max_repeat * len(rows))
    reached = max(min(possible, have + budget - shown), have)
    turns, rest = divmod(reached - silent, len(rows)) if len(rows) else (0, 0)
    repeats[rows] = turns
    repeats[order[:rest]] += 1
    notes = []
    if possible < goal:
        times = f" or {math.ceil((goal - possible) / max_repeat):,} more shown as often," if len(rows) and max_repeat > 1 else ""
        stand = f"the {plural(len(rows), 'background')} shown {max_repeat} times give {possible:,}" if len(rows) else "there is none"
        notes.append(f"{background.text} takes {plural(goal, 'background image')}, and {stand}: collect {goal - possible:,} more,{times}")
        notes[-1] = notes[-1].rstrip(",") + "."
    if reached < possible:
        times_needed = math.ceil((shown - have + possible) / len(repeats) * 100) / 100
        notes.append(
            f"The budget leaves {reached:,} of {plural(possible, 'background image')} for {background.text}: raise it to {times_needed:g}."
        )
    return repeats, tuple(notes)
