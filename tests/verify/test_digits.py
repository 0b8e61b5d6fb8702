"""Does the harness find what is known to be true? Handwritten digits with a long tail, in seconds."""

from __future__ import annotations

import dataclasses

import numpy as np

from dataset_doctor.verify import classify
from dataset_doctor.verify.arms import Arm, Treatment
from dataset_doctor.verify.judging import judge
from tests.verify.drawn import QUICK, long_tailed_digits


def test_balanced_softmax_beats_cross_entropy_on_long_tailed_digits() -> None:
    """Trained on 90 zeros down to 3 nines, the adjusted loss recognises the scarce digits better, and the judge says so."""
    data = long_tailed_digits()
    settings = dataclasses.replace(QUICK, size=8, steps=120, batch=32, evaluations=6)
    arms = {"baseline": Treatment(), "logit_adjusted": Treatment(loss="logit_adjusted_loss")}
    outcomes = {
        name: [classify.run(Arm(name, "loss"), seed, data, settings, treatment=treatment).outcome for seed in range(3)]
        for name, treatment in arms.items()
    }

    baseline, adjusted = judge(outcomes, range(3), data.class_names, data.train_images, resamples=200).arms

    assert data.counts.tolist() == [90, 61, 42, 28, 19, 13, 9, 6, 4, 3]
    assert np.mean([run.metrics["accuracy"] for run in baseline.seeds]) > 0.5
    assert adjusted.verdict == "helped"
    assert adjusted.difference is not None and adjusted.difference.mean > 0.05
