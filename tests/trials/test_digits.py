"""Does the harness find what is known to be true? Handwritten digits with a long tail, in seconds."""

from __future__ import annotations

import dataclasses

import numpy as np

from dataset_doctor.trials import classification
from dataset_doctor.trials.arms import Arm, Treatment
from dataset_doctor.trials.classification import adjusted as adjusted_afterwards
from dataset_doctor.trials.judging import judge
from dataset_doctor.trials.loop import Trial
from tests.trials.drawn import QUICK, long_tailed_digits


def test_balanced_softmax_beats_cross_entropy_on_long_tailed_digits() -> None:
    """Trained on 90 zeros down to 3 nines, the adjusted loss recognises the scarce digits better, and the judge says so.

    Adjusting what the baseline says afterwards helps too.
    """
    data = long_tailed_digits()
    settings = dataclasses.replace(QUICK, size=8, steps=120, batch=32, evaluations=6)
    arms = {"baseline": Treatment(), "logit_adjusted": Treatment(loss="logit_adjusted_loss")}
    trained = {
        name: [classification.run(Trial(Arm(name, "loss"), treatment, settings, seed), data) for seed in range(3)]
        for name, treatment in arms.items()
    }
    trained["posthoc"] = [adjusted_afterwards(run, Arm("posthoc", "posthoc", "1"), data.counts) for run in trained["baseline"]]
    outcomes = {name: [run.outcome for run in runs] for name, runs in trained.items()}

    baseline, adjusted, posthoc = judge(outcomes, range(3), data.class_names, data.train_images, resamples=200).arms

    assert data.counts.tolist() == [90, 61, 42, 28, 19, 13, 9, 6, 4, 3]
    assert np.mean([run.metrics["accuracy"] for run in baseline.seeds]) > 0.5
    assert adjusted.verdict == "helped"
    assert adjusted.difference is not None and adjusted.difference.mean > 0.05
    assert posthoc.difference is not None and posthoc.difference.mean > 0.03
