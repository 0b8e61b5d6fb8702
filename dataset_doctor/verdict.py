"""The verdict: what was compared, what came out, and what may be concluded; plain data, without torch."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from dataset_doctor.findings import plain

Word = Literal["helped", "hurt", "no evidence"]
ClassWord = Literal["helped", "hurt", "no evidence", "cannot verify"]
Task = Literal["classify", "detect"]
GroupName = Literal["frequent", "common", "rare"]


@dataclass(frozen=True, slots=True)
class Interval:
    """A mean with the interval that holds it at the stated confidence; `low` and `high` are None where nothing can be said."""

    mean: float
    low: float | None
    high: float | None


@dataclass(frozen=True, slots=True)
class SeedRun:
    """One training: its metrics on the test split, and the curves it left."""

    seed: int
    metrics: dict[str, float]
    curves: dict[str, tuple[float, ...]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class GroupVerdict:
    """The classes that are frequent, common or rare in training, together."""

    classes: int
    difference: Interval
    verdict: ClassWord


@dataclass(frozen=True, slots=True)
class ClassVerdict:
    """One class: its score with the arm minus its score with the baseline."""

    name: str
    group: GroupName | None
    test_instances: int
    score: float | None
    difference: Interval | None
    verdict: ClassWord


@dataclass(frozen=True, slots=True)
class Cost:
    """What an arm takes, each the mean over its seeds.

    train_seconds, parameters, model_bytes, latency_ms (one image), peak_memory_bytes (0 where it could not be measured), images_per_second
    """

    train_seconds: float = 0.0
    parameters: int = 0
    model_bytes: int = 0
    latency_ms: float = 0.0
    peak_memory_bytes: int = 0
    images_per_second: float = 0.0


@dataclass(frozen=True, slots=True)
class ArmVerdict:
    """What one treatment brought against the baseline; `difference` and `verdict` are None for the baseline itself.

    addresses  the findings and recommendations that this arm tests
    notes      what happened on the way: a batch halved, an early stop, a checkpoint taken up again
    """

    name: str
    seeds: tuple[SeedRun, ...]
    metrics: dict[str, Interval]
    difference: Interval | None
    verdict: Word | None
    groups: dict[GroupName, GroupVerdict]
    classes: tuple[ClassVerdict, ...]
    cost: Cost = Cost()
    addresses: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Verdict:
    """The answer to one question: whether a treatment helped.

    metric                 what is compared: the mean over classes of recall (classify) or of average precision (detect)
    confidence             of every interval, 0 to 1
    detectable_difference  the smallest true difference that this comparison would have found four times of five; None with one seed
    steps                  optimiser steps of every arm and seed
    extras                 what goes into the document besides: ensembles, a learning curve, confusion matrices
    """

    task: Task
    metric: str
    arms: tuple[ArmVerdict, ...]
    confidence: float
    detectable_difference: float | None
    steps: int
    environment: Mapping[str, Any]
    notes: tuple[str, ...] = ()
    extras: Mapping[str, Any] = field(default_factory=dict)

    def arm(self, name: str) -> ArmVerdict:
        """Give an arm by its name."""
        return next(arm for arm in self.arms if arm.name == name)

    def to_dict(self) -> dict[str, Any]:
        """Give the verdict as plain data, in the documented form (schema "dataset-doctor/verdict", version 1)."""
        arms = []
        for arm in self.arms:
            members = {f.name: _known(plain(getattr(arm, f.name))) for f in dataclasses.fields(arm)}
            if arm.difference is None:
                del members["difference"], members["verdict"]
            arms.append(members)
        return {
            "schema": "dataset-doctor/verdict",
            "schema_version": 1,
            "task": self.task,
            "metric": self.metric,
            "arms": arms,
            "confidence": self.confidence,
            "detectable_difference": self.detectable_difference,
            "steps": self.steps,
            "environment": dict(self.environment),
            "notes": list(self.notes),
            **{name: plain(value) for name, value in self.extras.items()},
        }


def _known(value: Any) -> Any:
    """Put None, JSON's null, for figures that are not known (NaN): a metric of what the test split has none of."""
    if isinstance(value, dict):
        return {key: _known(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_known(item) for item in value]
    return None if isinstance(value, float) and math.isnan(value) else value
