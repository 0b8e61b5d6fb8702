"""Judging: from what models did on the test split to "helped", "hurt" or "no evidence".

Two things make a difference look larger or smaller than it is: the luck of a training (another seed), and the luck of the test images.
Arms and baseline share seeds and images, so both are judged by paired differences. For a difference d, the mean over S seeds:

    variance(d) = variance between seeds ÷ S + variance over resamples of the test images (bootstrap, the same for both arms)

and the interval is Student's, with the degrees of freedom of Welch and Satterthwaite for a sum of two variances. Classes are many, so
their p-values go through Benjamini and Hochberg (1995), and their intervals through Benjamini and Yekutieli (2005): an interval leaves
out zero exactly where the class is called helped or hurt. Groups of classes are corrected by Bonferroni.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dataset_doctor.trials.metrics import Outcome
from dataset_doctor.verdict import ArmVerdict, ClassVerdict, ClassWord, GroupName, GroupVerdict, Interval, SeedRun, Word

CONFIDENCE = 0.95
POWER = 0.8
RESAMPLES = 1_000
LEAST_TEST_INSTANCES = 30
"""Below so many test instances a class cannot be verified: with 20, a recall of one half is known to ± 0.22 only."""

RARE_IMAGES, COMMON_IMAGES = 10, 100
GROUPS: tuple[GroupName, ...] = ("frequent", "common", "rare")

_AT_ONCE = 4_000_000
"""Numbers of the matrix of weights that are made at a time."""


@dataclass(frozen=True, slots=True, eq=False)
class Judged:
    """The arms as judged, and the smallest difference that would have been found."""

    arms: tuple[ArmVerdict, ...]
    detectable_difference: float | None
    notes: tuple[str, ...]


def judge(
    outcomes: Mapping[str, Sequence[Outcome]],
    seeds: Sequence[int],
    class_names: Sequence[str],
    train_images: NDArray[np.int64],
    *,
    baseline: str = "baseline",
    resamples: int = RESAMPLES,
    random_seed: int = 0,
) -> Judged:
    """Compare every arm with the baseline.

    Args:
        outcomes: What each arm did, one outcome a seed, in the order of `seeds`; all on the same test images.
        seeds: The seeds.
        class_names: Names of the K classes.
        train_images: Images of each class in the training split before any treatment (K), for the groups.
        baseline: The arm that the others are compared with.
        resamples: Bootstrap resamples of the test images.
        random_seed: For the resampling.
    """
    first = outcomes[baseline][0]
    whole = np.ones((1, first.n_images))
    # (seeds, K) and (resamples, K): scores on the test images as they are, and on resamples of them (mean over the seeds).
    points = {name: np.concatenate([outcome.per_class(whole) for outcome in runs]) for name, runs in outcomes.items()}
    drawn = _resampled(outcomes, first.n_images, resamples, random_seed)
    group_of = groups(train_images)
    instances = first.instances
    arms, spreads, notes = [], [], []
    for name, runs in outcomes.items():
        told = {"seeds": tuple(SeedRun(seed, run.metrics()) for seed, run in zip(seeds, runs, strict=True)), "metrics": _metrics(runs)}
        scores = _mean(points[name], axis=0)
        if name == baseline:
            classes = tuple(
                ClassVerdict(label, group_of[c], int(instances[c]), _number(scores[c]), None, _untold(int(instances[c])))
                for c, label in enumerate(class_names)
            )
            arms.append(ArmVerdict(name, told["seeds"], told["metrics"], None, None, {}, classes))  # type: ignore[arg-type]
            continue
        difference, resampled = points[name] - points[baseline], drawn[name] - drawn[baseline]
        overall = _spread(_mean(difference, axis=1), _mean(resampled, axis=1), first.n_images)
        if overall.sd is not None and overall.sd > 0:
            spreads.append(overall)
        interval = overall.interval(CONFIDENCE)
        arms.append(
            ArmVerdict(
                name,
                told["seeds"],  # type: ignore[arg-type]
                told["metrics"],  # type: ignore[arg-type]
                interval,
                _word(interval),
                _groups(difference, resampled, group_of, instances, first.n_images),
                _classes(difference, resampled, class_names, group_of, instances, scores, first.n_images),
            )
        )
    if len(seeds) < 2:
        notes.append("One seed says nothing about the luck of a training: no arm can be called better or worse. Use three or more.")
    missing = np.isnan(drawn[baseline]).mean(axis=0)
    lost = [label for label, share, n in zip(class_names, missing.tolist(), instances.tolist(), strict=True) if share > 0.01 and n]
    if lost:
        notes.append(f"{len(lost):,} of {len(class_names):,} classes are so few in the test split that some resamples hold none of them.")
    return Judged(tuple(arms), _detectable(spreads), tuple(notes))


@dataclass(frozen=True, slots=True, eq=False)
class Scores:
    """The mean score of some models on the test images as they are, and on resamples of them (resamples, K)."""

    mean: float
    drawn: NDArray[np.float64]
    n_images: int


def measure(outcomes: Mapping[str, Sequence[Outcome]], *, resamples: int = RESAMPLES, random_seed: int = 0) -> dict[str, Scores]:
    """Score sets of models, all on the same test images and on the same resamples of them as in `judge`."""
    n_images = next(iter(outcomes.values()))[0].n_images
    whole = np.ones((1, n_images))
    drawn = _resampled(outcomes, n_images, resamples, random_seed)
    mean = {name: float(np.mean([_mean(one.per_class(whole), axis=1) for one in told])) for name, told in outcomes.items()}
    return {name: Scores(mean[name], drawn[name], n_images) for name in outcomes}


def compare(one: Scores, other: Scores, by_seed: NDArray[np.float64]) -> tuple[Interval, Word]:
    """Compare two sets of models by the difference of their mean scores.

    Args:
        one: Of the first set, from the same call of `measure` as `other`.
        other: Of what it is compared with.
        by_seed: A value a seed, whose variance ÷ the number of seeds is what seeds contribute to that of the difference (S).
    """
    # Means of one and of several equal models differ in their last digit.
    difference = round(one.mean - other.mean, 12)
    spread = _spread(by_seed - by_seed.mean() + difference, _mean(one.drawn - other.drawn, axis=1), one.n_images)
    interval = spread.interval(CONFIDENCE)
    return interval, _word(interval)


def groups(train_images: NDArray[np.int64]) -> list[GroupName | None]:
    """Call classes rare (up to 10 images in training), common (up to 100) or frequent, as LVIS does; None without any.

    >>> groups(np.array([0, 10, 11, 101]))
    [None, 'rare', 'common', 'frequent']
    """
    return [
        None if not n else "rare" if n <= RARE_IMAGES else "common" if n <= COMMON_IMAGES else "frequent" for n in train_images.tolist()
    ]


# Spread -------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Spread:
    """A mean difference, its standard deviation and degrees of freedom; `sd` is None where one seed leaves it unknown."""

    mean: float
    sd: float | None
    freedom: float

    def interval(self, confidence: float) -> Interval:
        """Give Student's interval around the mean."""
        from scipy import stats

        if self.sd is None or not np.isfinite(self.mean):
            return Interval(self.mean, None, None)
        reach = float(stats.t.ppf((1 + confidence) / 2, self.freedom)) * self.sd if self.sd else 0.0
        return Interval(self.mean, self.mean - reach, self.mean + reach)

    def p_value(self) -> float:
        """Give the probability of a difference at least so large where there is none."""
        from scipy import stats

        if self.sd is None or not np.isfinite(self.mean) or not self.mean:
            return 1.0
        return 2 * float(stats.t.sf(abs(self.mean) / self.sd, self.freedom)) if self.sd else 0.0


def _spread(per_seed: NDArray[np.float64], per_resample: NDArray[np.float64], n_images: int, least: float = 0.0) -> _Spread:
    """Add what seeds and test images contribute to the variance of a mean difference; the variance between seeds is `least` or more."""
    per_seed, per_resample = per_seed[np.isfinite(per_seed)], per_resample[np.isfinite(per_resample)]
    if not len(per_seed):
        return _Spread(float("nan"), None, 1.0)
    mean = float(per_seed.mean())
    if len(per_seed) < 2 or len(per_resample) < 2 or n_images < 2:
        return _Spread(mean, None, 1.0)
    of_seeds, of_images = max(float(per_seed.var(ddof=1)), least) / len(per_seed), float(per_resample.var(ddof=1))
    total = of_seeds + of_images
    if not total:
        return _Spread(mean, 0.0, 1.0)
    freedom = total**2 / (of_seeds**2 / (len(per_seed) - 1) + of_images**2 / (n_images - 1))
    return _Spread(mean, float(np.sqrt(total)), max(freedom, 1.0))


def _resampled(outcomes: Mapping[str, Sequence[Outcome]], n_images: int, resamples: int, seed: int) -> dict[str, NDArray[np.float64]]:
    """Score every arm on the same resamples of the test images: mean over its seeds, (resamples, K)."""
    rng = np.random.default_rng(seed)
    at_once = max(1, min(resamples, _AT_ONCE // max(n_images, 1)))
    parts: dict[str, list[NDArray[np.float64]]] = {name: [] for name in outcomes}
    for begin in range(0, resamples, at_once):
        n = min(at_once, resamples - begin)
        weights = rng.multinomial(n_images, np.full(n_images, 1 / n_images), size=n).astype(np.float64)
        for name, runs in outcomes.items():
            parts[name].append(_mean(np.stack([run.per_class(weights) for run in runs]), axis=0))
    return {name: np.concatenate(found) for name, found in parts.items()}


def _mean(values: NDArray[np.float64], axis: int) -> NDArray[np.float64]:
    """Take the mean of what is known; NaN where nothing is."""
    known = np.isfinite(values)
    n = known.sum(axis=axis)
    total = np.where(known, values, 0.0).sum(axis=axis)
    mean: NDArray[np.float64] = np.divide(total, n, out=np.full(np.shape(total), np.nan), where=n > 0)
    return mean


# Verdicts -----------------------------------------------------------------------------------------------------------


def _word(interval: Interval) -> Word:
    if interval.low is not None and interval.low > 0:
        return "helped"
    return "hurt" if interval.high is not None and interval.high < 0 else "no evidence"


def _untold(test_instances: int) -> ClassWord:
    return "cannot verify" if test_instances < LEAST_TEST_INSTANCES else "no evidence"


def _groups(
    difference: NDArray[np.float64],
    resampled: NDArray[np.float64],
    group_of: Sequence[GroupName | None],
    instances: NDArray[np.int64],
    n_images: int,
) -> dict[GroupName, GroupVerdict]:
    members = {group: np.array([c for c, name in enumerate(group_of) if name == group and instances[c] > 0], np.intp) for group in GROUPS}
    present = {group: rows for group, rows in members.items() if len(rows)}
    result: dict[GroupName, GroupVerdict] = {}
    for group, rows in present.items():
        spread = _spread(_mean(difference[:, rows], axis=1), _mean(resampled[:, rows], axis=1), n_images)
        interval = spread.interval(1 - (1 - CONFIDENCE) / len(present))
        enough = instances[rows].sum() >= LEAST_TEST_INSTANCES
        word: ClassWord = _word(interval) if enough else "cannot verify"
        result[group] = GroupVerdict(len(rows), interval, word)
    return result


def _classes(
    difference: NDArray[np.float64],
    resampled: NDArray[np.float64],
    names: Sequence[str],
    group_of: Sequence[GroupName | None],
    instances: NDArray[np.int64],
    scores: NDArray[np.float64],
    n_images: int,
) -> tuple[ClassVerdict, ...]:
    # With three seeds a class's own variance is at times next to nothing by chance: it counts as the middling class's at least.
    between = np.array([values.var(ddof=1) if len(values) > 1 else 0.0 for values in (d[np.isfinite(d)] for d in difference.T)])
    usual = float(np.median(between[instances >= LEAST_TEST_INSTANCES])) if (instances >= LEAST_TEST_INSTANCES).any() else 0.0
    least = np.where(np.abs(difference).max(axis=0, initial=0.0) > 0, usual, 0.0)
    spreads = [_spread(difference[:, c], resampled[:, c], n_images, float(least[c])) for c in range(len(names))]
    testable = [c for c in range(len(names)) if instances[c] >= LEAST_TEST_INSTANCES]
    level = _discovery_level(np.array([spreads[c].p_value() for c in testable]))
    result = []
    for c, name in enumerate(names):
        interval = spreads[c].interval(1 - level) if np.isfinite(spreads[c].mean) else None
        word: ClassWord = "cannot verify" if c not in testable or interval is None else _word(interval)
        result.append(ClassVerdict(name, group_of[c], int(instances[c]), _number(scores[c]), interval, word))
    return tuple(result)


def _discovery_level(p_values: NDArray[np.float64]) -> float:
    """Give the level at which p-values count, after Benjamini and Hochberg: R × q ÷ m for R discoveries of m, at least one.

    >>> round(_discovery_level(np.array([0.001, 0.02, 0.9, 0.8])), 4)
    0.025
    """
    q, m = 1 - CONFIDENCE, len(p_values)
    if not m:
        return q
    below = np.flatnonzero(np.sort(p_values) <= q * np.arange(1, m + 1) / m)
    discoveries = int(below[-1]) + 1 if len(below) else 1
    return q * discoveries / m


def _metrics(runs: Sequence[Outcome]) -> dict[str, Interval]:
    """Give each metric's mean over the seeds, with the interval that seeds alone would give."""
    told = [run.metrics() for run in runs]
    result = {}
    for name in told[0]:
        values = np.array([metrics[name] for metrics in told])
        spread = _Spread(float(values.mean()), float(values.std(ddof=1) / np.sqrt(len(values))) if len(values) > 1 else None,
                         max(len(values) - 1, 1))  # fmt: skip
        result[name] = spread.interval(CONFIDENCE)
    return result


def _detectable(spreads: Sequence[_Spread]) -> float | None:
    """Give the true difference that the middling arm would have shown with a probability of POWER."""
    from scipy import stats

    if not spreads:
        return None
    reaches = [
        float(stats.t.ppf((1 + CONFIDENCE) / 2, spread.freedom) + stats.t.ppf(POWER, spread.freedom)) * spread.sd
        for spread in spreads
        if spread.sd is not None
    ]
    return float(np.median(reaches))


def _number(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None
