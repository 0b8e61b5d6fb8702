"""Judging: the error rates it promises, the intervals it gives, and what it refuses to say."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from dataset_doctor.trials.judging import LEAST_TEST_INSTANCES, Judged, judge
from dataset_doctor.trials.metrics import Predictions

SHARES = np.array([0.4, 0.25, 0.15, 0.1, 0.06, 0.04])
NAMES = ("a", "b", "c", "d", "e", "f")


def simulated(rng: np.random.Generator, *, seeds: int, effect: float = 0.0, n: int = 300) -> dict[str, list[Predictions]]:
    """Predictions of two arms that share test images, some harder than others; every training has luck of its own with each class."""
    k = len(SHARES)
    truth, ease = rng.choice(k, n, p=SHARES), rng.normal(0.8, 1, n)
    outcomes = {}
    for arm, gain in (("baseline", 0.0), ("arm", effect)):
        runs = []
        for _ in range(seeds):
            right = rng.normal(0, 0.3, k)[truth] + ease + gain + rng.normal(0, 1, n) > 0
            predicted = np.where(right, truth, (truth + 1) % k)
            runs.append(Predictions(truth, np.eye(k, dtype=np.float32)[predicted], np.arange(n)))
        outcomes[arm] = runs
    return outcomes


def judged(outcomes: dict[str, list[Predictions]], **options: int) -> Judged:
    seeds = range(len(outcomes["baseline"]))
    k = outcomes["baseline"][0].n_classes
    return judge(outcomes, list(seeds), NAMES[:k], np.array([1000, 500, 100, 50, 10, 0])[:k], **({"resamples": 200} | options))


@pytest.mark.parametrize("seeds", [3, 10])
@pytest.mark.slow
def test_arms_that_do_not_differ_are_rarely_told_apart(seeds: int) -> None:
    """Of 200 comparisons of alike arms at most 5 % (and the luck of 200 draws) find anything, overall or in any class."""
    rng = np.random.default_rng(7)
    allowed = int(stats.binom.ppf(0.999, 200, 0.05))

    results = [judged(simulated(rng, seeds=seeds), random_seed=number).arms[1] for number in range(200)]

    assert sum(arm.verdict != "no evidence" for arm in results) <= allowed
    assert sum(any(c.verdict in ("helped", "hurt") for c in arm.classes) for arm in results) <= allowed
    assert sum(arm.difference is not None and (arm.difference.low or 0) >= 0 for arm in results) < 200, "the intervals reach over zero"


def test_a_large_effect_is_found_with_its_sign() -> None:
    """A clear gain helps, the same as a loss hurts, in most draws and never the other way round."""
    rng = np.random.default_rng(3)
    gains = [judged(simulated(rng, seeds=3, effect=1.0)).arms[1].verdict for _ in range(20)]
    losses = [judged(simulated(rng, seeds=3, effect=-1.0)).arms[1].verdict for _ in range(20)]

    assert gains.count("helped") >= 18 and "hurt" not in gains
    assert losses.count("hurt") >= 18 and "helped" not in losses


def test_most_true_effects_of_the_detectable_size_are_found() -> None:
    """The power note: an effect about as large as the detectable difference is found in about four draws of five."""
    rng = np.random.default_rng(5)
    results = [judged(simulated(rng, seeds=5, effect=0.45)) for _ in range(60)]
    effect = np.mean([r.arms[1].difference.mean for r in results if r.arms[1].difference])
    detectable = np.mean([r.detectable_difference for r in results if r.detectable_difference])

    found = np.mean([r.arms[1].verdict == "helped" for r in results])

    assert 0.7 < effect / detectable < 1.4, "the example stands near the detectable size"
    assert 0.5 < found < 0.98


def test_the_same_predictions_are_no_evidence_with_a_difference_of_exactly_zero() -> None:
    """An arm that equals the baseline bit for bit differs by 0 from 0 to 0."""
    outcomes = simulated(np.random.default_rng(1), seeds=3)
    outcomes["arm"] = outcomes["baseline"]

    arm = judged(outcomes).arms[1]

    assert arm.verdict == "no evidence"
    assert arm.difference is not None and (arm.difference.mean, arm.difference.low, arm.difference.high) == (0, 0, 0)


def test_one_seed_decides_nothing() -> None:
    """With one seed there is no interval, no verdict but `no evidence`, and a note that says why."""
    result = judged(simulated(np.random.default_rng(1), seeds=1, effect=2.0))

    assert result.arms[1].verdict == "no evidence"
    assert result.arms[1].difference is not None and result.arms[1].difference.low is None
    assert result.detectable_difference is None
    assert any("One seed" in note for note in result.notes)


def test_classes_with_few_test_pictures_cannot_be_verified() -> None:
    """Below the least number of test instances a class has no verdict, whatever its difference."""
    result = judged(simulated(np.random.default_rng(2), seeds=3, effect=3.0))

    words = {c.name: (c.test_instances >= LEAST_TEST_INSTANCES, c.verdict) for c in result.arms[1].classes}

    assert {word for enough, word in words.values() if not enough} == {"cannot verify"}
    assert "helped" in {word for enough, word in words.values() if enough}
    assert [c.group for c in result.arms[1].classes] == ["frequent", "frequent", "common", "common", "rare", None]


def test_crops_of_one_image_count_as_one_draw() -> None:
    """The same predictions in ten crops an image are no more certain than in one."""
    outcomes = simulated(np.random.default_rng(4), seeds=3, effect=0.5)
    tenfold = {
        arm: [Predictions(np.repeat(r.truth, 10), np.repeat(r.probabilities, 10, axis=0), np.repeat(r.image, 10)) for r in runs]
        for arm, runs in outcomes.items()
    }

    one, ten = judged(outcomes).arms[1].difference, judged(tenfold).arms[1].difference

    assert one is not None and ten is not None
    assert ten.low == pytest.approx(one.low) and ten.high == pytest.approx(one.high)


def test_scores_agree_with_scikit_learn() -> None:
    """Balanced accuracy, accuracy and macro F1 as another library computes them."""
    metrics = pytest.importorskip("sklearn.metrics", reason="scikit-learn is not installed")
    run = simulated(np.random.default_rng(6), seeds=1)["baseline"][0]

    told = run.metrics()

    assert told["balanced_accuracy"] == pytest.approx(metrics.balanced_accuracy_score(run.truth, run.predicted))
    assert told["accuracy"] == pytest.approx(metrics.accuracy_score(run.truth, run.predicted))
    assert told["macro_f1"] == pytest.approx(metrics.f1_score(run.truth, run.predicted, average="macro"))
    assert (run.confusion == metrics.confusion_matrix(run.truth, run.predicted)).all()


def test_weights_on_images_equal_repeating_them() -> None:
    """Scoring with an image weighed twice is scoring with its images there twice."""
    run = simulated(np.random.default_rng(8), seeds=1, n=40)["baseline"][0]
    weights = np.random.default_rng(0).integers(0, 3, 40)

    repeated = np.repeat(np.arange(40), weights)
    by_hand = [float((run.predicted[rows] == c).mean()) if len(rows := repeated[run.truth[repeated] == c]) else np.nan for c in range(6)]

    np.testing.assert_allclose(run.per_class(weights[None].astype(float))[0], by_hand)
