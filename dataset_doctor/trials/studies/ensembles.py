"""Ensembles: what the models that were trained anyway say together.

vote   each model names a class, the most votes win, and a tie goes to the class that the models find most probable on average
mean   the average of the probabilities, after each model's were calibrated with one temperature (Guo et al. 2017) on the validation split;
       for several arms also with a weight for each arm, the one under which that split is most probable
stack  a logistic regression of the class on the logarithms of all models' probabilities (Wolpert 1992)

Stacking must learn from predictions on images that the models were not trained on, else it trusts those that know the images by
heart. Usually a model is trained on folds for that; here the validation split is out of every model's training, so that its predictions
are such from the outset. How good the regression is on that split is in turn told by fitting it to parts of the split and asking it for
the others. One reservation stays: each model's checkpoint was chosen on that split, so that there all look a little better than they are.

All that is fitted is fitted on the validation split, whatever is said is said of the test split. An ensemble is compared with single models
of the baseline, and with single models of the arm that did best on the validation split. For an ensemble of seeds there is but one value,
while the luck of its members counts: the spread comes from leaving out one seed at a time (jackknife, with Tukey's pseudo-values). That is
rather too wide than too narrow (Efron and Stein 1981), so that "no evidence" comes somewhat too often.
"""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from dataset_doctor.errors import UsageError, did_you_mean
from dataset_doctor.findings import plural
from dataset_doctor.trials.judging import RESAMPLES, Scores, compare, measure
from dataset_doctor.trials.loop import Trained
from dataset_doctor.trials.metrics import Predictions
from dataset_doctor.verdict import Ensemble, Interval, Rival, Task, Word

Kind = Literal["vote", "mean", "stack"]
KINDS: tuple[Kind, ...] = get_args(Kind)

LEAST_OF_CLASS = 5
"""With fewer validation images of a class, a regression on them would mostly learn which they are."""

_FOLDS = 5
_REGULARISATION = 1.0
_LEAST_PROBABILITY = 1e-6
_COOLEST, _HOTTEST = 0.1, 10.0
_ROUNDS = 200


def parse_kinds(text: str, task: Task = "classify") -> tuple[Kind, ...]:
    """Read kinds of ensembles, as `--ensemble` takes them.

    >>> parse_kinds("mean, vote"), parse_kinds("all")
    (('mean', 'vote'), ('vote', 'mean', 'stack'))

    Raises:
        UsageError: what is not known, or nothing; or the task is detection.
    """
    words = [word.strip() for word in text.split(",") if word.strip()]
    if not words:
        raise UsageError("`ensemble` names nothing.", "Choose from vote, mean, stack, or all.")
    kinds: list[Kind] = []
    for word in words:
        found = KINDS if word == "all" else tuple(kind for kind in KINDS if kind == word)
        if not found:
            raise UsageError(f"`ensemble={word}` is not known.", did_you_mean(word, (*KINDS, "all")))
        kinds += [kind for kind in found if kind not in kinds]
    if task == "detect":
        raise UsageError("`ensemble` is for classification: boxes of several detectors are not combined.", "Leave it out.")
    return tuple(kinds)


# What models say together -----------------------------------------------------------------------------------------------


def vote(models: Sequence[Predictions]) -> Predictions:
    """Let each model name a class: the share of votes, with ties broken by the mean probability.

    >>> sure, unsure = np.array([[0.9, 0.1]], np.float32), np.array([[0.4, 0.6]], np.float32)
    >>> two = [Predictions(np.array([0]), p, np.array([0])) for p in (sure, unsure)]
    >>> vote(two).predicted.tolist()
    [0]
    """
    votes = np.zeros(models[0].probabilities.shape)
    for model in models:
        votes[np.arange(len(votes)), model.predicted] += 1
    # Half a vote to share out by probability cannot overrule a whole one.
    return _saying(models[0], (votes + 0.5 * _stacked(models).mean(axis=0)) / (len(models) + 0.5))


def mean(models: Sequence[Predictions], temperatures: Sequence[float], weights: Sequence[float] | None = None) -> Predictions:
    """Average calibrated probabilities.

    Args:
        models: Their predictions on the same images.
        temperatures: Of each; above 1 makes it less sure.
        weights: Of each, adding up to 1; by default alike.
    """
    calibrated = np.stack([cooled(model.probabilities, t) for model, t in zip(models, temperatures, strict=True)])
    return _saying(models[0], np.average(calibrated, axis=0, weights=weights))


def cooled(probabilities: NDArray[np.floating[Any]], temperature: float) -> NDArray[np.float64]:
    """Divide the logits by a temperature: p^(1/T), scaled to sum to 1 (n, K).

    >>> cooled(np.array([[0.8, 0.2]]), 2.0).round(4).tolist()
    [[0.6667, 0.3333]]
    """
    logits = _logarithms(probabilities) / temperature
    raised = np.exp(logits - logits.max(axis=1, keepdims=True))
    result: NDArray[np.float64] = raised / raised.sum(axis=1, keepdims=True)
    return result


def temperature(val: Predictions) -> float:
    """Find the temperature under which the true classes of the validation split are most probable."""
    from scipy.optimize import minimize_scalar

    def loss(log: float) -> float:
        return -float(np.log(cooled(val.probabilities, float(np.exp(log)))[np.arange(len(val.truth)), val.truth]).mean())

    found = minimize_scalar(loss, bounds=(np.log(_COOLEST), np.log(_HOTTEST)), method="bounded")
    return float(np.exp(found.x))


def weights_of(given: NDArray[np.floating[Any]]) -> NDArray[np.float64]:
    """Find weights on the simplex under which a mixture makes the true classes most probable, by expectation maximisation.

    Args:
        given: Probability that each model gives to the true class of each example (models, examples).

    >>> weights_of(np.array([[0.9, 0.8], [0.1, 0.2]])).round(3).tolist()
    [1.0, 0.0]
    """
    weights: NDArray[np.float64] = np.full(len(given), 1 / len(given))
    p = np.maximum(given, _LEAST_PROBABILITY)
    for _ in range(_ROUNDS):
        shares = weights[:, None] * p
        weights = (shares / shares.sum(axis=0)).mean(axis=1)
    return weights


class Stack:
    """A multinomial logistic regression on the logarithms of the models' probabilities, classes weighed alike, as the metric does."""

    def __init__(self, val: Sequence[Predictions]) -> None:
        self._k = val[0].n_classes
        self._regression = _regression(_features(val), val[0].truth)

    def __call__(self, models: Sequence[Predictions]) -> Predictions:
        """Ask it for images, of which the same models said this."""
        return _saying(models[0], _answers(self._regression, _features(models), self._k))


def cross_fitted(val: Sequence[Predictions]) -> Predictions:
    """Ask stacks for each validation image that were fitted to the others, with the examples of an image kept together."""
    from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold

    first, x = val[0], _features(val)
    answers = np.zeros((len(first.truth), first.n_classes))
    # Where each image is one example, there is nothing to keep together, and cutting is fast.
    cut = StratifiedKFold if first.n_images == len(first.truth) else StratifiedGroupKFold
    folds = min(_FOLDS, first.n_images)
    with warnings.catch_warnings():
        # That a class has fewer images than there are folds leaves some of these without it, which is allowed for.
        warnings.simplefilter("ignore", UserWarning)
        parts = list(cut(folds, shuffle=True, random_state=0).split(x, first.truth, first.image))
    for fitted, asked in parts:
        answers[asked] = _answers(_regression(x[fitted], first.truth[fitted]), x[asked], first.n_classes)
    return _saying(first, answers)


def _regression(x: NDArray[np.float64], truth: NDArray[np.int64]) -> Any:
    from sklearn.linear_model import LogisticRegression

    if len(np.unique(truth)) < 2:
        return int(truth[0])
    return LogisticRegression(C=_REGULARISATION, class_weight="balanced", max_iter=2_000).fit(x, truth)


def _answers(regression: Any, x: NDArray[np.float64], k: int) -> NDArray[np.float64]:
    """Give probabilities (n, K); a class that was not there to be learnt gets 0."""
    answers = np.zeros((len(x), k))
    if isinstance(regression, int):
        answers[:, regression] = 1
    else:
        answers[:, regression.classes_] = regression.predict_proba(x)
    return answers


def _features(models: Sequence[Predictions]) -> NDArray[np.float64]:
    """Lay out the logarithms of all probabilities, each model's with mean 0 an image (n, models × K)."""
    logs = [_logarithms(model.probabilities) for model in models]
    return np.concatenate([log - log.mean(axis=1, keepdims=True) for log in logs], axis=1)


def _logarithms(probabilities: NDArray[np.floating[Any]]) -> NDArray[np.float64]:
    result: NDArray[np.float64] = np.log(np.maximum(probabilities.astype(np.float64), _LEAST_PROBABILITY))
    return result


def _stacked(models: Sequence[Predictions]) -> NDArray[np.float64]:
    return np.stack([model.probabilities for model in models]).astype(np.float64)


def _saying(like: Predictions, probabilities: NDArray[np.float64]) -> Predictions:
    return dataclasses.replace(like, probabilities=probabilities.astype(np.float32))


# Which are made ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False, slots=True)
class _Model:
    """A trained model by name, and what it said of the validation and the test images."""

    name: str
    val: Predictions
    test: Predictions


@dataclass(frozen=True, slots=True)
class _Plan:
    """An ensemble to be made of these arms: one a seed, or one of all seeds; with weights by the validation split, or alike."""

    name: str
    kind: Kind
    arms: tuple[str, ...]
    each_seed: bool
    weighs: bool = False

    def groups(self, models: Mapping[str, Sequence[_Model]], rows: Sequence[int]) -> list[list[_Model]]:
        """Give the members of each ensemble that the seeds in these rows make."""
        if self.each_seed:
            return [[models[arm][row] for arm in self.arms] for row in rows]
        return [[models[arm][row] for arm in self.arms for row in rows]]

    def on_test(self, members: Sequence[_Model]) -> Predictions:
        """Ask the members for the test images."""
        return self._together(members, [model.test for model in members])

    def on_val(self, members: Sequence[_Model]) -> Predictions:
        """Ask the members for the validation images; a stack, for those that it was not fitted to."""
        val = [model.val for model in members]
        return cross_fitted(val) if self.kind == "stack" else self._together(members, val)

    def _together(self, members: Sequence[_Model], asked: Sequence[Predictions]) -> Predictions:
        val = [model.val for model in members]
        if self.kind == "vote":
            return vote(asked)
        if self.kind == "stack":
            return Stack(val)(asked)
        temperatures = [temperature(one) for one in val]
        if not self.weighs:
            return mean(asked, temperatures)
        right = [cooled(one.probabilities, t)[np.arange(len(one.truth)), one.truth] for one, t in zip(val, temperatures, strict=True)]
        return mean(asked, temperatures, weights_of(np.stack(right)).tolist())


def ensembles(
    trained: Mapping[str, Sequence[Trained]],
    seeds: Sequence[int],
    kinds: Sequence[Kind],
    *,
    baseline: str = "baseline",
    alike: Sequence[str] = (),
    resamples: int = RESAMPLES,
) -> tuple[tuple[Ensemble, ...], tuple[str, ...]]:
    """Put together the seeds of the baseline, those of the best other arm, the arms of one seed, and all models; and judge them.

    Args:
        trained: The trainings of each arm, one a seed; of classifiers.
        seeds: The seeds.
        kinds: Which ensembles.
        baseline: The arm to compare with.
        alike: Arms whose models are another arm's, asked differently: they add no second opinion to an ensemble of arms.
        resamples: Of the test images.

    Returns:
        The ensembles, and what should be said of them.
    """
    models = {name: [_model(f"{name}, seed {seed}", run) for seed, run in zip(seeds, runs, strict=True)] for name, runs in trained.items()}
    first = models[baseline][0]
    others = [name for name, mine in models.items() if not _same_pictures(mine[0], first)]
    models = {name: mine for name, mine in models.items() if name not in others}
    notes = [f"Ensembles: without {name}, whose images are others." for name in others]
    notes.append(
        f"Ensembles: temperatures, weights and stacks were fitted to {plural(len(first.val.truth), 'validation image')},"
        " on which checkpoints were chosen too."
    )
    kinds, scarcest = list(kinds), int(first.val.instances[first.val.instances > 0].min())
    if "stack" in kinds and scarcest < LEAST_OF_CLASS:
        kinds.remove("stack")
        few = f"a class has {plural(scarcest, 'validation image')}, and {LEAST_OF_CLASS} are needed"
        notes.append(f"Ensembles: nothing was stacked, because {few}.")
    if len(seeds) < 2:
        notes.append("Ensembles: with one seed there are none of seeds, and none can be called better or worse.")
    on_val = {name: float(np.mean([_score(model.val) for model in mine])) for name, mine in models.items()}
    top = max(on_val, key=lambda name: (on_val[name], name == baseline))
    plans = [plan for kind in kinds for plan in _plans(kind, on_val, baseline, alike, len(seeds))]
    rows = range(len(seeds))
    said = {plan.name: [plan.on_test(group) for group in plan.groups(models, rows)] for plan in plans}
    single = {f"single {name}": [model.test for model in models[name]] for name in (baseline, top)}
    scores = measure({**said, **single}, resamples=resamples)
    return tuple(_judged(plan, models, said[plan.name], scores, baseline, top) for plan in plans), tuple(notes)


def _plans(kind: Kind, on_val: Mapping[str, float], baseline: str, alike: Sequence[str], seeds: int) -> list[_Plan]:
    """Say which ensembles are made; the choice among arms is by their scores on the validation split."""
    plans = []
    if seeds > 1:
        best = max((name for name in on_val if name != baseline), key=lambda name: on_val[name], default=baseline)
        plans += [_Plan(f"{kind} of {seeds} seeds of {name}", kind, (name,), each_seed=False) for name in dict.fromkeys((baseline, best))]
    arms = tuple(name for name in on_val if name not in alike)
    if len(arms) > 1:
        plans.append(_Plan(f"{kind} of {len(arms)} arms", kind, arms, each_seed=True))
        if kind == "mean":
            plans.append(_Plan(f"weighted mean of {len(arms)} arms", kind, arms, each_seed=True, weighs=True))
        if seeds > 1:
            plans.append(_Plan(f"{kind} of all {seeds * len(arms)} models", kind, arms, each_seed=False))
    return plans


def _judged(
    plan: _Plan, models: Mapping[str, Sequence[_Model]], test: Sequence[Predictions], scores: Mapping[str, Scores], baseline: str, top: str
) -> Ensemble:
    """Compare an ensemble with single models of the baseline and of the arm that did best in validation."""
    groups = plan.groups(models, range(len(models[baseline])))
    metrics = {key: float(np.mean([one.metrics()[key] for one in test])) for key in test[0].metrics()}
    metrics["val_balanced_accuracy"] = float(np.mean([_score(plan.on_val(group)) for group in groups]))
    by_seed = _by_seed(plan, models, test)

    def against(arm: str) -> tuple[Interval, Word]:
        luck = by_seed - np.array([_score(model.test) for model in models[arm]])
        return compare(scores[plan.name], scores[f"single {arm}"], luck)

    difference, word = against(baseline)
    best = None
    if top != baseline:
        theirs, said = against(top)
        best = Rival(top, theirs, said)
    members = tuple(model.name for group in groups for model in group)
    return Ensemble(plan.name, plan.kind, members, metrics, difference, word, best)


def _by_seed(plan: _Plan, models: Mapping[str, Sequence[_Model]], test: Sequence[Predictions]) -> NDArray[np.float64]:
    """Give a value a seed whose spread is that of the score: the scores, or the pseudo-values S × score − (S − 1) × score without it."""
    if plan.each_seed:
        return np.array([_score(one) for one in test])
    rows, whole = range(len(models[plan.arms[0]])), _score(test[0])
    without = [_score(plan.on_test(plan.groups(models, [row for row in rows if row != left])[0])) for left in rows]
    # Written so that it is exactly the score where leaving one out changes nothing.
    return whole + (len(rows) - 1) * (whole - np.array(without))


def _model(name: str, run: Trained) -> _Model:
    assert run.val_predictions is not None and run.test_predictions is not None
    return _Model(name, run.val_predictions, run.test_predictions)


def _same_pictures(one: _Model, other: _Model) -> bool:
    pairs = ((one.val, other.val), (one.test, other.test))
    return all(np.array_equal(a.truth, b.truth) and np.array_equal(a.image, b.image) for a, b in pairs)


def _score(predictions: Predictions) -> float:
    """Give the balanced accuracy."""
    return predictions.metrics()["balanced_accuracy"]
