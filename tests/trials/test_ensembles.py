"""Ensembles: what others' libraries say of the same predictions, what may be fitted to what, and what may be concluded."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.optimize import minimize
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.ensemble import VotingClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import balanced_accuracy_score, log_loss
from sklearn.preprocessing import LabelEncoder

from dataset_doctor.errors import UsageError
from dataset_doctor.formats import read
from dataset_doctor.trials import classification, verify
from dataset_doctor.trials.loop import Trained
from dataset_doctor.trials.metrics import Predictions
from dataset_doctor.trials.studies.ensembles import (
    Ensemble,
    Stack,
    cooled,
    cross_fitted,
    ensembles,
    mean,
    parse_kinds,
    temperature,
    vote,
    weights_of,
)
from tests.command import run as command
from tests.trials.drawn import QUICK, write_folders


def predictions(seed: int, *, n: int = 60, k: int = 4, skill: float = 1.5, truth: NDArray[np.int64] | None = None) -> Predictions:
    """Draw what a model says: logits around the truth, with luck of its own."""
    rng = np.random.default_rng(seed)
    truth = np.random.default_rng(99).integers(0, k, n) if truth is None else truth
    logits = rng.normal(0, 1, (len(truth), k)) + skill * np.eye(k)[truth]
    raised = np.exp(logits)
    return Predictions(truth, (raised / raised.sum(axis=1, keepdims=True)).astype(np.float32), np.arange(len(truth)))


class Saying(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    """A classifier that says what it was made with."""

    def __init__(self, said: Any = None) -> None:
        self.said = said

    def fit(self, x: Any, y: Any) -> Saying:
        return self

    def predict(self, x: Any) -> Any:
        return self.said.argmax(axis=1)

    def predict_proba(self, x: Any) -> Any:
        return self.said


def voting(models: list[Predictions], how: str) -> Any:
    """Put models together as scikit-learn does."""
    k = models[0].n_classes
    classifier = VotingClassifier([(str(at), Saying(model.probabilities)) for at, model in enumerate(models)], voting=how)
    classifier.estimators_ = [one for _, one in classifier.estimators]
    classifier.le_ = LabelEncoder().fit(np.arange(k))
    classifier.classes_ = np.arange(k)
    return classifier


# Votes and means --------------------------------------------------------------------------------------------------------


def test_votes_and_means_are_those_of_scikit_learn() -> None:
    """Hard votes where there is no tie (there it takes the first class), and the mean of the probabilities."""
    models = [predictions(seed) for seed in range(5)]
    x = np.zeros((60, 1))
    votes = np.stack([np.bincount([model.predicted[row] for model in models], minlength=4) for row in range(60)])
    untied = (votes == votes.max(axis=1, keepdims=True)).sum(axis=1) == 1

    assert 0 < untied.sum() < 60
    assert (vote(models).predicted == voting(models, "hard").predict(x))[untied].all()
    np.testing.assert_allclose(mean(models, [1.0] * 5).probabilities, voting(models, "soft").predict_proba(x), atol=1e-6)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 7))
def test_the_most_votes_win_and_ties_go_to_the_more_probable(seed: int, n: int) -> None:
    """For any models; what is given are probabilities."""
    models = [predictions(seed + at, n=20, skill=0.5) for at in range(n)]
    together = vote(models)
    votes = np.stack([np.bincount([model.predicted[row] for model in models], minlength=4) for row in range(20)])
    average = np.mean([model.probabilities.astype(float) for model in models], axis=0)

    for row in range(20):
        ahead = np.flatnonzero(votes[row] == votes[row].max())
        assert together.predicted[row] == ahead[average[row][ahead].argmax()]
    np.testing.assert_allclose(together.probabilities.sum(axis=1), 1, atol=1e-6)


# Calibration and weights ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("factor", [0.4, 1.0, 3.0])
def test_the_temperature_undoes_what_made_a_model_too_sure(factor: float) -> None:
    """Logits that tell the truth, multiplied by a factor, are divided by it again; the order of the classes stays."""
    rng = np.random.default_rng(0)
    logits = rng.normal(0, 1.5, (20_000, 3))
    honest = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    truth = (honest.cumsum(axis=1) < rng.random((20_000, 1))).sum(axis=1)
    told = cooled(honest, 1 / factor)
    val = Predictions(truth, told.astype(np.float32), np.arange(20_000))

    t = temperature(val)

    assert t == pytest.approx(factor, rel=0.05)
    assert (cooled(told, t).argmax(axis=1) == val.predicted).all()
    assert log_loss(truth, cooled(told, t)) <= log_loss(truth, told) + 1e-6


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 10**6), st.integers(2, 4))
def test_weights_are_on_the_simplex_and_as_good_as_another_solver_finds(seed: int, n: int) -> None:
    """Expectation maximisation against sequential quadratic programming."""
    given_ = np.random.default_rng(seed).beta(2, 2, (n, 50))
    weights = weights_of(given_)

    def loss(w: NDArray[np.float64]) -> float:
        return -float(np.log(w @ given_).mean())

    solved = minimize(
        loss, np.full(n, 1 / n), bounds=[(0, 1)] * n, constraints={"type": "eq", "fun": lambda w: w.sum() - 1}, method="SLSQP"
    )
    assert weights.min() >= 0 and weights.sum() == pytest.approx(1)
    assert loss(weights) <= solved.fun + 2e-3


def test_a_useless_model_gets_next_to_no_weight() -> None:
    """One that knows, one that guesses."""
    knows, guesses = predictions(0, skill=4.0), predictions(1, skill=0.0)
    rows = np.arange(60)

    weights = weights_of(np.stack([model.probabilities[rows, model.truth] for model in (knows, guesses)]))

    assert weights[0] > 0.9


# Stacks -----------------------------------------------------------------------------------------------------------------


def test_a_stack_is_scikit_learns_regression_on_the_logarithms() -> None:
    """Classes weighed alike, fitted to the validation split and asked for the test split."""
    val, test = [predictions(seed, n=200) for seed in (0, 1)], [predictions(seed, n=80) for seed in (2, 3)]

    def features(models: list[Predictions]) -> NDArray[np.float64]:
        logs = [np.log(model.probabilities.astype(np.float64)) for model in models]
        return np.concatenate([log - log.mean(axis=1, keepdims=True) for log in logs], axis=1)

    regression = LogisticRegression(class_weight="balanced", max_iter=2_000).fit(features(val), val[0].truth)

    np.testing.assert_allclose(Stack(val)(test).probabilities, regression.predict_proba(features(test)), atol=1e-5)


def test_the_score_of_a_stack_in_validation_is_that_of_pictures_it_was_not_fitted_to() -> None:
    """Labels by chance: fitted to them it seems to know them, asked for those left out it does not."""
    rng = np.random.default_rng(0)
    truth = rng.integers(0, 3, 90)
    models = [dataclasses.replace(predictions(seed, n=90, k=3, skill=0.0), truth=truth) for seed in range(12)]

    fitted, left_out = (one.metrics()["balanced_accuracy"] for one in (Stack(models)(models), cross_fitted(models)))

    assert fitted > 0.6
    assert left_out < 0.45


def test_pictures_of_one_image_are_left_out_together() -> None:
    """Thirty images that are each there four times, with a label by chance: known from their twins unless these go with them."""
    rng = np.random.default_rng(1)
    truth = np.repeat(rng.integers(0, 2, 30), 4)
    models = []
    for seed in range(40):
        one = predictions(seed, n=30, k=2, skill=0.0)
        models.append(Predictions(truth, np.repeat(one.probabilities, 4, axis=0), np.repeat(np.arange(30), 4)))
    apart = [dataclasses.replace(model, image=np.arange(120)) for model in models]

    together, leaking = (cross_fitted(one).metrics()["balanced_accuracy"] for one in (models, apart))

    assert together < 0.65 < leaking


# Judged -----------------------------------------------------------------------------------------------------------------


def trained(seed: int, *, skill: float = 1.5, n: int = 300, own: float = 1.0, val_each: int = 30) -> Trained:
    """Draw what a training leaves: images have luck that all models share, and `own` is that of this one."""
    parts = []
    for at, size in enumerate((4 * val_each, n)):
        truth = np.arange(size) % 4
        shared = np.random.default_rng(50 + at).normal(0, 1, (size, 4))
        logits = skill * np.eye(4)[truth] + shared + own * np.random.default_rng((seed, at)).normal(0, 1, (size, 4))
        raised = np.exp(logits)
        parts.append(Predictions(truth, (raised / raised.sum(axis=1, keepdims=True)).astype(np.float32), np.arange(size)))
    val, test = parts
    return Trained(test, {}, val_predictions=val, test_predictions=test)


def made(
    runs: dict[str, list[Trained]], kinds: Any = ("vote", "mean", "stack"), **options: Any
) -> tuple[dict[str, Ensemble], tuple[str, ...]]:
    found, notes = ensembles(runs, list(range(len(runs["baseline"]))), kinds, **({"resamples": 200} | options))
    return {one.name: one for one in found}, notes


def test_models_with_luck_of_their_own_do_better_together() -> None:
    """Five seeds whose errors differ: the mean helps, against single models of the baseline; figures are those of scikit-learn."""
    runs = {
        "baseline": [trained(seed, own=1.5) for seed in range(5)],
        "worse": [trained(seed + 10, own=1.5, skill=1.0) for seed in range(5)],
    }
    found, _ = made(runs, ("mean", "vote"))
    one = found["mean of 5 seeds of baseline"]
    singles = [run.outcome.metrics()["balanced_accuracy"] for run in runs["baseline"]]

    assert one.verdict == "helped" and one.difference is not None and one.difference.low is not None and one.difference.low > 0.02
    assert one.difference.mean == pytest.approx(one.metrics["balanced_accuracy"] - np.mean(singles))
    assert one.members == tuple(f"baseline, seed {seed}" for seed in range(5))
    assert one.against_best is None
    tests = [run.test_predictions for run in runs["baseline"]]
    assert found["vote of 5 seeds of baseline"].metrics["balanced_accuracy"] == pytest.approx(
        balanced_accuracy_score(tests[0].truth, vote(tests).predicted)  # type: ignore[union-attr, arg-type]
    )


def test_the_same_model_several_times_is_that_model() -> None:
    """No difference, from 0 to 0, and no evidence."""
    same = trained(0)
    found, _ = made({"baseline": [same] * 3}, ("vote", "mean"))

    for one in found.values():
        assert one.difference is not None
        assert (one.difference.mean, one.verdict) == (0, "no evidence")
        assert (one.difference.low, one.difference.high) == (pytest.approx(0, abs=1e-12), pytest.approx(0, abs=1e-12))


def test_models_are_calibrated_on_the_validation_split_before_they_are_averaged() -> None:
    """One that is far too sure does not drown the other: it gets the temperature that its own validation images ask for."""
    calm = trained(0)
    parts = [dataclasses.replace(part, probabilities=cooled(part.probabilities, 0.1).astype(np.float32))
             for part in (calm.val_predictions, trained(1).test_predictions) if part is not None]  # fmt: skip
    sure = Trained(parts[1], {}, val_predictions=parts[0], test_predictions=parts[1])

    one = made({"baseline": [calm], "sure": [sure]}, ("mean",))[0]["mean of 2 arms"]

    models = [run.test_predictions for run in (calm, sure) if run.test_predictions is not None]
    temperatures = [temperature(run.val_predictions) for run in (calm, sure) if run.val_predictions is not None]
    assert temperatures[1] > 5 * temperatures[0]
    expected = mean(models, temperatures).metrics()
    assert {key: one.metrics[key] for key in expected} == pytest.approx(expected)


def test_it_is_also_compared_with_the_arm_that_did_best_in_validation() -> None:
    """An ensemble of a good and a bad arm beats the bad baseline, and not the good arm."""
    runs = {
        "baseline": [trained(seed, skill=0.5, own=0.1) for seed in range(3)],
        "good": [trained(seed + 5, skill=4, own=0.1) for seed in range(3)],
    }

    found, _ = made(runs, ("vote",))

    both = found["vote of 2 arms"]
    assert both.verdict == "helped"
    assert both.against_best is not None and both.against_best.arm == "good"
    assert both.against_best.verdict == "hurt" and both.against_best.difference.high < 0


def test_which_ensembles_are_made() -> None:
    """Seeds of the baseline and of the best other arm, the arms, the arms weighed, and all; none twice with an arm that is another's."""
    runs = {name: [trained(at * 10 + seed) for seed in range(2)] for at, name in enumerate(("baseline", "a", "b"))}
    runs["posthoc"] = runs["baseline"]

    found, _ = made(runs, ("mean",), alike=["posthoc"])
    best = next(name.removeprefix("mean of 2 seeds of ") for name in list(found)[1:2])

    assert list(found) == [
        "mean of 2 seeds of baseline", f"mean of 2 seeds of {best}", "mean of 3 arms", "weighted mean of 3 arms", "mean of all 6 models",
    ]  # fmt: skip
    assert best in ("a", "b", "posthoc")
    assert found["mean of 3 arms"].members[:3] == ("baseline, seed 0", "a, seed 0", "b, seed 0")
    assert len(found["mean of all 6 models"].members) == 6


def test_a_small_validation_split_is_not_stacked_on() -> None:
    """With four images of a class there is no stack but a reason; the others say what they were fitted to."""
    found, notes = made({"baseline": [trained(seed, val_each=4) for seed in range(2)]})

    assert {one.kind for one in found.values()} == {"vote", "mean"}
    assert "Ensembles: nothing was stacked, because a class has 4 validation images, and 5 are needed." in notes
    assert any("16 validation images" in note for note in notes)


def test_one_seed_decides_nothing() -> None:
    """There are ensembles of arms, and no verdict on them."""
    found, notes = made({"baseline": [trained(0)], "a": [trained(1)]}, ("mean", "stack"))

    assert list(found) == ["mean of 2 arms", "weighted mean of 2 arms", "stack of 2 arms"]
    assert all(one.verdict == "no evidence" and one.difference is not None and one.difference.low is None for one in found.values())
    assert any("one seed" in note for note in notes)


def test_an_arm_with_other_pictures_is_left_out_and_named() -> None:
    """Its predictions are of something else."""
    runs = {"baseline": [trained(seed) for seed in range(2)], "size:96": [trained(seed, n=200) for seed in range(2)]}

    found, notes = made(runs, ("vote",))

    assert list(found) == ["vote of 2 seeds of baseline"]
    assert any("without size:96" in note for note in notes)


# In a comparison --------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def things(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three classes in folders."""
    return write_folders(tmp_path_factory.mktemp("ensembles") / "things", {"train": (16, 8, 4), "val": (6, 6, 6), "test": (12, 12, 12)})


def test_ensembles_need_no_training(things: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two arms by two seeds are four trainings, whatever is made of them; the document has the documented keys.

    An arm that only asks the baseline's models differently is no further opinion.
    """
    calls: list[str] = []
    real = classification.run
    monkeypatch.setattr(classification, "run", lambda trial, data: (calls.append(trial.arm.name), real(trial, data))[1])
    quick = dataclasses.replace(QUICK, steps=4, evaluations=1)

    verdict = verify(read(things), arms="weights:sqrt,posthoc_logit_adjusted", settings=quick, seeds=2, device="cpu", ensemble="all",
                     state_dir=None)  # fmt: skip
    told = verdict.to_dict()["ensembles"]

    assert len(calls) == 4
    assert "vote of 2 arms" in [one["name"] for one in told]
    assert [one["kind"] for one in told] == ["vote"] * 4 + ["mean"] * 5 + ["stack"] * 4
    assert {"name", "kind", "members", "metrics", "difference", "verdict"} <= set(told[0])
    assert verdict.ensembles is not None and [one.name for one in verdict.ensembles] == [one["name"] for one in told]


def test_kinds_are_read_and_refused() -> None:
    """Several by commas, each once."""
    assert parse_kinds("stack,all") == ("stack", "vote", "mean")
    with pytest.raises(UsageError, match="Did you mean stack"):
        parse_kinds("stak")
    with pytest.raises(UsageError, match="names nothing"):
        parse_kinds(" ,")


def test_detectors_are_not_put_together() -> None:
    """The command says so before anything is trained."""
    refused = command("verify", Path(__file__).parents[2] / "fixtures" / "coco", "--task", "detect", "--ensemble", "vote")

    assert (refused.returncode, refused.stdout) == (2, "")
    assert "--ensemble is for classification" in refused.stderr
