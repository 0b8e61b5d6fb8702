"""recommend: what to do about a dataset, by written rules with their sources.

A rule is one function that looks at the situation and gives a recommendation or None, and one line in `RULES`, whose order is the rank.
Every `why` carries the dataset's own numbers. Where published tests disagree, it says "candidate" and gives the figures of both sides.
What a command would do is not estimated: the figures are those of the plan that the same command makes.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from dataset_doctor.dataset import Dataset
from dataset_doctor.findings import Facts, Finding, Recommendation
from dataset_doctor.recommend.augmentation import augment
from dataset_doctor.recommend.balancing import focal_loss, oversample, repeat, undersample, weights
from dataset_doctor.recommend.collecting import background, collect
from dataset_doctor.recommend.repairs import fix_labels, remove_duplicates, rename_states, resplit
from dataset_doctor.recommend.situation import Rule, look
from dataset_doctor.recommend.training import hyperparameters, input_size, model

__all__ = ["RULES", "recommend"]


def recommend(dataset: Dataset, facts: Facts, findings: Sequence[Finding]) -> tuple[Recommendation, ...]:
    """Derive what to do from figures and findings, the most urgent first.

    Figures are those of the training split where it has images, else of the whole dataset. A dataset without images gets no advice.
    """
    if not dataset.n_images:
        return ()
    seen = look(dataset, facts, findings)
    advice = [recommendation for rule in RULES if (recommendation := rule(seen)) is not None]
    return tuple(dataclasses.replace(recommendation, id=f"R{rank}") for rank, recommendation in enumerate(advice, 1))


RULES: tuple[Rule, ...] = (
    fix_labels,
    rename_states,
    resplit,
    remove_duplicates,
    background,
    collect,
    augment,
    repeat,
    oversample,
    weights,
    undersample,
    focal_loss,
    input_size,
    model,
    hyperparameters,
)
"""Every rule, in the order of its rank."""
