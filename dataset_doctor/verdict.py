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
SearchState = Literal["complete", "pruned", "diverged"]


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
class Advice:
    """A recommendation of the audit that an arm tests."""

    action: str
    why: str


@dataclass(frozen=True, slots=True)
class Mistake:
    """Where a model was surely wrong, or what it missed.

    box          xyxy in pixels of the image as it is labelled; None for a whole image
    class_name   what is there; of a false positive, what was found
    predicted, probability  of a classifier
    score        of a false positive
    """

    image: str
    box: tuple[float, ...] | None
    class_name: str
    predicted: str | None = None
    probability: float | None = None
    score: float | None = None

    def to_dict(self) -> dict[str, Any]:
        """Give it as plain data, without what does not apply."""
        known = {name: value for name in ("predicted", "probability", "score") if (value := getattr(self, name)) is not None}
        return {"image": self.image, "box": plain(self.box), "class": self.class_name, **known}


@dataclass(frozen=True, slots=True)
class Details:
    """What the first trainings of each arm, by its name, got wrong.

    confusion     of classifiers: images by true class (rows) and predicted class, over all seeds (K, K)
    wrong         of classifiers: the test images on which a wrong class was most probable, mean over the seeds
    found, missed  of detectors: the surest detections that match nothing, and the largest objects that nothing of a score of one half or
                  more matches; both at an overlap of one half
    precision_recall  of detectors: for each class the precision at 101 recalls from 0 to 1, at an overlap of one half; None without objects
    """

    class_names: tuple[str, ...] = ()
    confusion: Mapping[str, list[list[int]]] = field(default_factory=dict)
    wrong: Mapping[str, tuple[Mistake, ...]] = field(default_factory=dict)
    found: Mapping[str, tuple[Mistake, ...]] = field(default_factory=dict)
    missed: Mapping[str, tuple[Mistake, ...]] = field(default_factory=dict)
    precision_recall: Mapping[str, list[list[float] | None]] = field(default_factory=dict)

    def to_dict(self, task: Task) -> dict[str, Any]:
        """Give them as plain data."""
        told = {"class_names": list(self.class_names)}

        def listed(mistakes: tuple[Mistake, ...]) -> list[dict[str, Any]]:
            return [one.to_dict() for one in mistakes]

        if task == "classify":
            return told | {"confusion": dict(self.confusion), "worst_errors": {arm: listed(mine) for arm, mine in self.wrong.items()}}
        both = {arm: {"found": listed(self.found[arm]), "missed": listed(self.missed[arm])} for arm in self.found}
        return told | {"worst_errors": both, "precision_recall": dict(self.precision_recall)}


@dataclass(frozen=True, slots=True)
class ModelChoice:
    """Which of several models is enough: the smallest that is not shown to be worse than the best."""

    best: str
    within_noise: tuple[str, ...]
    recommended: str


@dataclass(frozen=True, slots=True)
class SearchTrial:
    """One attempt of a search; `score` on the validation split is None where it was ended early or its loss was not a number."""

    number: int
    score: float | None
    state: SearchState
    params: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Search:
    """What was tried for an arm, and the best of it."""

    name: str
    best: dict[str, Any]
    score: float
    trials: tuple[SearchTrial, ...]

    @property
    def is_default(self) -> bool:
        """Whether nothing was better than the defaults."""
        return self.best == self.trials[0].params


@dataclass(frozen=True, slots=True)
class Tuning:
    """The searches of all arms: how, and how many trials of each."""

    method: str
    trials: int
    arms: tuple[Search, ...]


@dataclass(frozen=True, slots=True)
class Rival:
    """The arm that did best on the validation split, and what an ensemble brings against single models of it."""

    arm: str
    difference: Interval | None
    verdict: Word


@dataclass(frozen=True, slots=True)
class Ensemble:
    """What models say together.

    kind         "vote", "mean" or "stack"
    metrics      on the test split; `val_balanced_accuracy` is on the validation split, for a stack on images it was not fitted to
    difference, verdict  against single models of the baseline
    against_best  None where the baseline is the best arm
    """

    name: str
    kind: str
    members: tuple[str, ...]
    metrics: dict[str, float]
    difference: Interval | None
    verdict: Word
    against_best: Rival | None = None


@dataclass(frozen=True, slots=True)
class Point:
    """A size of the training split: its share, its images, and the score of each seed."""

    share: float
    images: int
    scores: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Fit:
    """The curve: the error, 1 − score, is about a × images^-b + c."""

    a: float
    b: float
    c: float

    def error(self, images: float) -> float:
        """Give the error at a number of images."""
        return float(self.a * images**-self.b + self.c)


@dataclass(frozen=True, slots=True)
class Forecast:
    """The score to be expected with so many images, and the interval that holds it at the stated confidence."""

    images: int
    mean: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Curve:
    """What was measured, the curve through it, and what more data would bring; the last two are None where that cannot be said."""

    points: tuple[Point, ...]
    fit: Fit | None
    forecast: Forecast | None
    said: str


@dataclass(frozen=True, slots=True)
class Verdict:
    """The answer to one question: whether a treatment helped.

    metric                 what is compared: the mean over classes of recall (classify) or of average precision (detect)
    confidence             of every interval, 0 to 1
    detectable_difference  the smallest true difference that this comparison would have found four times of five; None with one seed
    steps                  optimiser steps of every arm and seed
    settings               how every arm was trained, but for what it changes; by name
    recommendations        those that the arms test, by id
    details                what the models got wrong
    model_choice, tuning, ensembles, learning_curve  None where not asked for
    """

    task: Task
    metric: str
    arms: tuple[ArmVerdict, ...]
    confidence: float
    detectable_difference: float | None
    steps: int
    environment: Mapping[str, Any]
    notes: tuple[str, ...] = ()
    settings: Mapping[str, Any] = field(default_factory=dict)
    recommendations: Mapping[str, Advice] = field(default_factory=dict)
    details: Details = Details()
    model_choice: ModelChoice | None = None
    tuning: Tuning | None = None
    ensembles: tuple[Ensemble, ...] | None = None
    learning_curve: Curve | None = None

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
            "settings": plain(self.settings),
            "recommendations": plain(self.recommendations),
            **self.details.to_dict(self.task),
            **{name: plain(value) for name in _ON_REQUEST if (value := getattr(self, name)) is not None},
        }


_ON_REQUEST = ("model_choice", "tuning", "ensembles", "learning_curve")


def _known(value: Any) -> Any:
    """Put None, JSON's null, for figures that are not known (NaN): a metric of what the test split has none of."""
    if isinstance(value, dict):
        return {key: _known(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_known(item) for item in value]
    return None if isinstance(value, float) and math.isnan(value) else value
