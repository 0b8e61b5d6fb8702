"""What a new split of this dataset would bring, found by making its plan."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from dataset_doctor.checks import find_check
from dataset_doctor.errors import UsageError
from dataset_doctor.findings import Facts
from dataset_doctor.formats import format_of
from dataset_doctor.pixels import Duplicates
from dataset_doctor.recommend.situation import (
    LEAKAGE,
    NO_VALIDATION,
    SPLIT_LEAKAGE,
    UNEVEN_SPLITS,
    Situation,
)
from dataset_doctor.split import divide, parse_ratios
from dataset_doctor.statistics import statistics

TRIAL_IMAGES = 30_000
"""Up to so many images the plan is made: a second or two. Beyond, only what the method guarantees is claimed."""

AMPLE = 30
"""Images of a class that are sure to reach every split, whatever groups they come in."""


@dataclass(frozen=True, slots=True)
class Division:
    """What the command `split` does to the findings.

    fixes    names of the checks that find nothing in the result
    refusal  why it cannot be done, or would do harm; empty where it can
    """

    fixes: frozenset[str]
    refusal: str = ""


def foresee(s: Situation, options: Mapping[str, str]) -> Division:
    """Say which findings `split` with these options fixes.

    Args:
        s: The situation.
        options: Of the command: `ratios`, and `freeze`.
    """
    wanted = {name for name in (*LEAKAGE, *UNEVEN_SPLITS, NO_VALIDATION) if name in s.findings}
    if s.dataset.n_images > TRIAL_IMAGES:
        ample = all(row.images >= AMPLE for row in s.statistics.classes if row.images)
        return Division(frozenset(wanted if ample else wanted - {"class-missing-in-split"}))
    freeze = [options["freeze"]] if "freeze" in options else []
    try:
        plan = divide(
            s.dataset,
            ratios=parse_ratios(options["ratios"]),
            freeze=freeze,
            duplicates=s.facts.duplicates or _none_alike(s.dataset.n_images),
            left_out=s.left_out(None).rows,
        ).plan
    except UsageError as error:
        return Division(frozenset(), error.message)
    treated = plan.apply(s.dataset)
    tables = statistics(treated)
    if format_of(s.dataset).class_folders:
        # A class folder without an image is an error to trainers that number the folders of each split.
        lacking = [row.name for row in tables.classes if row.images and not all(count.images for count in row.splits)]
        if lacking:
            return Division(frozenset(), f"no image of {lacking[0]} would be left for one of the splits, and its folder would be empty")
    facts = Facts(tables, s.policy, settings=s.facts.settings)
    remains = {name for name in wanted - {SPLIT_LEAKAGE} if find_check(name).find(treated, facts) is not None}
    return Division(frozenset(wanted - remains))


def _none_alike(n_images: int) -> Duplicates:
    """Say of images that were not decoded that none is like another: the command will decode them."""
    alone = np.full(n_images, -1, np.int32)
    nothing = np.zeros(0, np.uint8)
    return Duplicates(alone, alone, np.zeros((0, 2), np.int32), nothing, nothing, np.zeros(0, np.bool_), alone)
