"""Situation: what the rules look at; and the words that they share."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from dataset_doctor.balance import (
    BUDGET,
    IMBALANCED,
    MAX_REPEAT,
    Demand,
    Threshold,
    choose_threshold,
    image_frequency,
    is_doubt,
    rebalance,
    repeats_help,
)
from dataset_doctor.dataset import Dataset
from dataset_doctor.errors import DoctorError
from dataset_doctor.findings import Expected, Facts, Finding, Policy, Recommendation, listed, shortened
from dataset_doctor.formats import LeftOut, left_out
from dataset_doctor.pixels import FileState
from dataset_doctor.plan import Plan
from dataset_doctor.recommend.commands import command
from dataset_doctor.statistics import Statistics, imbalance_ratio

if TYPE_CHECKING:
    from scipy import sparse

RECOMMENDED_IMAGES, RECOMMENDED_INSTANCES = 1_500, 10_000
"""A class, as Ultralytics' training tips recommend; not a minimum."""

# Names of the checks that rules refer to.
CLASS_IMBALANCE, CLASS_RARE, CLASS_UNUSED, CLASS_ROOT = "class-imbalance", "class-rare", "class-unused", "class-root"
BACKGROUND_SHARE, IMAGE_UNLABELED = "background-share", "image-unlabeled"
NO_VALIDATION, BOX_TINY = "no-validation-split", "box-tiny"
DUPLICATES = ("image-duplicate", "image-near-duplicate")
SPLIT_LEAKAGE = "split-leakage"
LEAKAGE = ("image-in-several-splits", SPLIT_LEAKAGE, "source-in-several-splits", "sequence-in-several-splits")
UNEVEN_SPLITS = ("class-missing-in-split", "split-tiny", "split-drift", "class-folders-differ")
WRONG_LABELS = (
    IMAGE_UNLABELED,
    "duplicate-label-conflict",
    "no-annotations",
    "class-names-alike",
    "class-folders-differ",
    "class-folder-empty",
)

# Sources that several rules cite.
LVIS = "Gupta et al. 2019, LVIS (arXiv 1908.03195)"
LVIS_TABLE = "LVIS with Mask R-CNN R50, table in the EQLv2 repository (tztztztztz/eqlv2)"
ZIPF = "YOLOv5s on COCO-ZIPF, single runs (craston/object_detection_cib, arXiv 2403.07113)"
CIFAR = "CIFAR-100-LT at 100 : 1 with ResNet-32 (zhangyongshun/BagofTricks-LT, trick_gallery.md)"
ULTRALYTICS_TIPS = "Ultralytics, tips for best training results"
ULTRALYTICS_DEFAULTS = "Ultralytics 8.4, default configuration"

Parameters = Mapping[str, str | int | float]


@dataclass(frozen=True, slots=True, eq=False)
class Situation:
    """What rules look at: the dataset, its figures, and the counts of what a model would train on.

    facts      what the checks knew
    findings   by name of the check
    split      the split that a treatment would change: the training split or, where there is none with images, the only one; None where
               several could be meant
    where      "in the training split" or, where there is none with images, "in the dataset"; the counts below are of that part
    members    bool, one an image: in that part
    images, instances  int64, one a class
    judged     bool, one a class: has instances there, and a name that says what it shows
    repeats    below which frequency repeat factors begin that lower the imbalance within the budget; None where none do
    light      5 % and 95 % quantiles of the middle brightness of those images, 0 to 1; None where the files were not decoded
    """

    dataset: Dataset
    facts: Facts
    findings: Mapping[str, Finding]
    split: str | None
    where: str
    members: NDArray[np.bool_]
    background: int
    unlabeled: int
    images: NDArray[np.int64]
    instances: NDArray[np.int64]
    judged: NDArray[np.bool_]
    repeats: Threshold | None = None
    light: tuple[float, float] | None = None

    @property
    def statistics(self) -> Statistics:
        """The tables of the whole dataset."""
        return self.facts.statistics

    @property
    def policy(self) -> Policy:
        """Which share of background images is wanted."""
        return self.facts.policy

    @property
    def trains(self) -> bool:
        """Tell whether this is to be trained on; a dataset of nothing but val and test only measures."""
        return not self.dataset.only_measures

    @property
    def sound(self) -> NDArray[np.bool_]:
        """The images whose files were decoded without an error; where no file was decoded, those that have one."""
        pixels = self.facts.pixels
        return self.dataset.images.has_file if pixels is None else pixels.state == FileState.SOUND

    @property
    def balances(self) -> bool:
        """Tell whether images may be repeated or left out: where a manifest states repeats, that was done already."""
        return self.trains and not self.dataset.images.is_repeat[self.members].any()

    def left_out(self, split: str | None) -> LeftOut:
        """Tell what a write in the same format leaves out, which `--allow-errors` has to allow; `split` is the only one that changes."""
        found = self.facts.once("left out", lambda: left_out(self.dataset, self.dataset.format, shapes=self.facts.shapes))
        return found if split is None or not len(found) else found.of_split(self.dataset, split)

    def allowing(self, split: str | None) -> dict[str, bool]:
        """Give the option that a write needs where it leaves records out."""
        return {"allow_errors": True} if len(self.left_out(split)) else {}

    @property
    def n_images(self) -> int:
        """Images in the part that is trained on."""
        return int(self.members.sum())

    @property
    def has_boxes(self) -> bool:
        """Tell whether labels are boxes and not one class an image."""
        return self.dataset.task != "classify"

    @property
    def has_labels(self) -> bool:
        """Tell whether there is anything to learn from."""
        return bool(self.instances.any())

    @property
    def imbalance(self) -> float:
        """Largest ÷ smallest class among the judged ones; 1 where none is."""
        return imbalance_ratio(self.instances[self.judged]) or 1.0

    @property
    def imbalanced(self) -> bool:
        """Tell whether a treatment of class imbalance is worth looking at."""
        return self.imbalance >= IMBALANCED or (CLASS_IMBALANCE in self.findings and self.imbalance > 1)

    @property
    def counts(self) -> sparse.csr_array[Any]:
        """Instances of the part that is trained on, images × classes."""
        return self.statistics.counts[np.flatnonzero(self.members)]

    @property
    def demand(self) -> Demand:
        """What a sampler without a target is asked for, within the usual limits."""
        target = np.where(self.judged, 1.0, np.nan)
        return Demand(self.counts, target, int(BUDGET * self.n_images), MAX_REPEAT, np.random.default_rng(0))

    def codes(self, *names: str) -> tuple[str, ...]:
        """Give the codes of those of the named checks that found something."""
        return tuple(sorted(self.findings[name].code for name in names if name in self.findings))

    def name(self, index: int) -> str:
        """Give a class's name, cut where it is too long for a sentence."""
        return shortened(self.dataset.classes[index].name)

    def extremes(self) -> tuple[int, int]:
        """Give the rows of the smallest and the largest judged class; the first where several are alike."""
        rows = np.flatnonzero(self.judged)
        return int(rows[self.instances[rows].argmin()]), int(rows[self.instances[rows].argmax()])

    def expect(self, after: NDArray[np.int64], epoch_images: int) -> Expected:
        """Put counts after a treatment beside those of now."""
        rows = zip(self.dataset.classes, self.instances.tolist(), after.tolist(), strict=True)
        return Expected(tuple((c.name, before, then) for c, before, then in rows), epoch_images, imbalance_ratio(after))

    def plan(self, **options: Any) -> Plan | None:
        """Make the plan of the command `rebalance`, with seed 0; None where the command would be refused, or could mean several splits."""
        if self.split is None or not self.balances:
            return None
        try:
            return rebalance(self.dataset, split=self.split, left_out=self.left_out(self.split).rows, **options)
        except DoctorError:
            return None

    def rebalancing(self, options: Parameters, suffix: str) -> str:
        """Write the command that such a plan is of."""
        return self.command("rebalance", {**options, **self.allowing(self.split)}, suffix)

    def eased(self, plan: Plan | None) -> tuple[str, ...]:
        """Give the codes of imbalance that a plan eases: those found, where the classes of the whole dataset come nearer to each other."""
        if plan is None:
            return self.codes(CLASS_IMBALANCE, CLASS_RARE)
        before = np.array([row.instances for row in self.statistics.classes], np.int64)
        after = before + np.array([change.after - change.before for change in plan.classes], np.int64)
        eases = (imbalance_ratio(after) or 1.0) < (imbalance_ratio(before) or 1.0)
        return self.codes(CLASS_IMBALANCE, CLASS_RARE) if eases else ()

    def imbalance_after(self, plan: Plan) -> float:
        """Largest ÷ smallest class among the judged ones in what a plan brings."""
        after = np.array([change.after for change in plan.classes], np.int64)
        return imbalance_ratio(after[self.judged]) or 1.0

    def command(self, verb: str, options: Parameters, suffix: str = "") -> str:
        """Write a command for this dataset; with a suffix, the result goes to a folder named after it."""
        return command(self.dataset, verb, options, suffix)


Rule = Callable[[Situation], Recommendation | None]


def look(dataset: Dataset, facts: Facts, findings: Sequence[Finding]) -> Situation:
    """Look at the training split where it has images, else at the whole dataset."""
    tables = facts.statistics
    train = next((at for at, split in enumerate(tables.splits) if split.name == dataset.training_split and split.images), None)
    whole = tables.summary if train is None else tables.splits[train]
    counted = tables.classes if train is None else [row.splits[train] for row in tables.classes]
    instances = np.array([row.instances for row in counted], np.int64)
    seen = Situation(
        dataset=dataset,
        facts=facts,
        findings={finding.name: finding for finding in findings},
        split=dataset.default_split,
        where="in the dataset" if train is None else "in the training split",
        members=np.ones(dataset.n_images, np.bool_) if train is None else dataset.images.in_split[:, train],
        background=whole.background_images,
        unlabeled=whole.unlabeled_images,
        images=np.array([row.images for row in counted], np.int64),
        instances=instances,
        judged=(instances > 0) & np.array([not is_doubt(row.name) for row in tables.classes], np.bool_),
    )
    return dataclasses.replace(seen, repeats=_repeats(seen), light=_light(facts, seen.members))


def _light(facts: Facts, members: NDArray[np.bool_]) -> tuple[float, float] | None:
    if facts.pixels is None:
        return None
    middle = facts.pixels.brightness_p50[members]
    middle = middle[np.isfinite(middle)]
    return (float(np.quantile(middle, 0.05)), float(np.quantile(middle, 0.95))) if len(middle) else None


def _repeats(s: Situation) -> Threshold | None:
    if not (s.has_boxes and s.imbalanced):
        return None
    demand = s.demand
    return choose_threshold(demand, image_frequency(demand)) if repeats_help(demand) else None


# Words --------------------------------------------------------------------------------------------------------------


def ratio(value: float) -> str:
    """Write how much larger one class is than another."""
    return f"{value:,.1f} : 1" if value < 100 else f"{value:,.0f} : 1"


def named(s: Situation, rows: Sequence[int]) -> str:
    """Name classes, the first few of them."""
    return listed((s.name(c) for c in rows), len(rows))


def expected_of(plan: Plan | None) -> Expected | None:
    """Give what a plan brings as a recommendation's prediction."""
    if plan is None:
        return None
    classes = tuple((change.name, change.before, change.after) for change in plan.classes)
    return Expected(classes, plan.epoch_images, plan.imbalance_ratio.after)


def advice(
    action: str,
    *,
    why: str,
    parameters: Parameters,
    cost: str,
    sources: tuple[str, ...],
    addresses: tuple[str, ...] = (),
    command: str | None = None,
    expected: Expected | None = None,
    strength: Literal["policy", "evidence"] = "policy",
) -> Recommendation:
    """Make a recommendation; its id follows from its rank."""
    return Recommendation("", action, addresses, why, command, dict(parameters), expected, cost, strength, sources)
