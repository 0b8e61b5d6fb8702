"""recommend: what to do about a dataset, by written rules with their sources.

A rule is one function that looks at the situation and gives a recommendation or None, and one line in `RULES`, whose order is the rank.
Every `why` carries the dataset's own numbers. Where published tests disagree, it says "candidate" and gives the figures of both sides.
"""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from dataset_doctor.dataset import Dataset, Geometry
from dataset_doctor.findings import Expected, Facts, Finding, Policy, Recommendation, Severity, plural
from dataset_doctor.geometry import widths_heights
from dataset_doctor.statistics import COMMON_IMAGES, RARE_IMAGES, Statistics, imbalance_ratio, training_memory_gib

if TYPE_CHECKING:
    from scipy import sparse

IMBALANCED = 10.0
"""Largest ÷ smallest class from which balancing is looked at; a convention of this tool."""

RECOMMENDED_IMAGES, RECOMMENDED_INSTANCES = 1_500, 10_000
"""A class, as Ultralytics' training tips recommend; not a minimum."""

PLENTY_IMAGES = 10 * RECOMMENDED_IMAGES
"""Images of a class from which some may be left out."""

TEXT_SHARE, GRAVITY_FREE_SHARE = 0.1, 0.5
"""Share of the instances from which what class names say settles the augmentation of all images."""

SPARSE_FOREGROUND = 0.01
"""Share of the image that the median object covers, below which nearly all of a dense detector's places are background."""

LEAST_PX, GOOD_PX = 8, 16
"""Side of the small objects at the input size: one and two cells of the finest grid of common detectors, whose stride is 8 px."""

USUAL_INPUT = 640
BUDGET, MAX_REPEAT, WEIGHT_CAP = 1.5, 10, 50

REPEAT_QUANTILES = (0.25, 0.5, 0.75, 0.9)
"""Quantiles of the classes' image frequencies that are tried as the threshold of repeat factors."""

REPEAT_WORTH = 0.95
"""Repeating images that leaves more than this part of the imbalance is not worth a recommendation."""

NAMES_SHOWN, NAME_LENGTH = 5, 60

# Names of the checks that rules refer to.
CLASS_IMBALANCE, CLASS_RARE, CLASS_UNUSED, CLASS_ROOT = "class-imbalance", "class-rare", "class-unused", "class-root"
BACKGROUND_SHARE, IMAGE_UNLABELED = "background-share", "image-unlabeled"
NO_VALIDATION, BOX_TINY = "no-validation-split", "box-tiny"
DUPLICATES = ("image-duplicate", "image-near-duplicate")
LEAKAGE = ("image-in-several-splits", "split-leakage", "source-in-several-splits", "sequence-in-several-splits")
UNEVEN_SPLITS = ("class-missing-in-split", "split-tiny", "split-drift")
WRONG_LABELS = (
    IMAGE_UNLABELED,
    "duplicate-label-conflict",
    "no-annotations",
    "class-names-alike",
    "class-folders-differ",
    "class-folder-empty",
)

LVIS = "Gupta et al. 2019, LVIS (arXiv 1908.03195)"
LVIS_TABLE = "LVIS with Mask R-CNN R50, table in the EQLv2 repository (tztztztztz/eqlv2)"
ZIPF = "YOLOv5s on COCO-ZIPF, single runs (craston/object_detection_cib, arXiv 2403.07113)"
CIFAR = "CIFAR-100-LT at 100 : 1 with ResNet-32 (zhangyongshun/BagofTricks-LT, trick_gallery.md)"
CHARTE = "Charte et al. 2015, ML-ROS and ML-RUS"
ULTRALYTICS_TIPS = "Ultralytics, tips for best training results"
ULTRALYTICS_DEFAULTS = "Ultralytics 8.4, default configuration"
EMPTY_DROPPED = "detectron2 FILTER_EMPTY_ANNOTATIONS and MMDetection filter_empty_gt"


@dataclass(frozen=True, slots=True, eq=False)
class Situation:
    """What rules look at: the dataset, its figures, and the counts of what a model would train on.

    findings   by name of the check
    where      "in the training split" or, where there is none with images, "in the dataset"; the counts below are of that part
    members    bool, one an image: in that part
    images, instances  int64, one a class
    judged     bool, one a class: has instances there, and a name that says what it shows
    repeats    repeat factors that lower the imbalance within the budget, None where none do
    """

    dataset: Dataset
    statistics: Statistics
    policy: Policy
    findings: Mapping[str, Finding]
    where: str
    members: NDArray[np.bool_]
    background: int
    unlabeled: int
    images: NDArray[np.int64]
    instances: NDArray[np.int64]
    judged: NDArray[np.bool_]
    repeats: Repeats | None = None

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

    def codes(self, *names: str) -> tuple[str, ...]:
        """Give the codes of those of the named checks that found something."""
        return tuple(sorted(self.findings[name].code for name in names if name in self.findings))

    def name(self, index: int) -> str:
        """Give a class's name, cut where it is too long for a sentence."""
        name = self.dataset.classes[index].name
        return name if len(name) <= NAME_LENGTH else name[: NAME_LENGTH - 1] + "…"

    def extremes(self) -> tuple[int, int]:
        """Give the rows of the smallest and the largest judged class; the first where several are alike."""
        rows = np.flatnonzero(self.judged)
        return int(rows[self.instances[rows].argmin()]), int(rows[self.instances[rows].argmax()])

    def expect(self, after: NDArray[np.int64], epoch_images: int) -> Expected:
        """Put counts after a treatment beside those of now."""
        rows = zip(self.dataset.classes, self.instances.tolist(), after.tolist(), strict=True)
        return Expected(tuple((c.name, before, then) for c, before, then in rows), epoch_images, imbalance_ratio(after))


Rule = Callable[[Situation], Recommendation | None]


def recommend(dataset: Dataset, facts: Facts, findings: Sequence[Finding]) -> tuple[Recommendation, ...]:
    """Derive what to do from figures and findings, the most urgent first.

    Figures are those of the training split where it has images, else of the whole dataset. A dataset without images gets no advice.
    """
    if not dataset.n_images:
        return ()
    situation = _situation(dataset, facts, findings)
    advice = [recommendation for rule in RULES if (recommendation := rule(situation)) is not None]
    return tuple(dataclasses.replace(recommendation, id=f"R{rank}") for rank, recommendation in enumerate(advice, 1))


def _situation(dataset: Dataset, facts: Facts, findings: Sequence[Finding]) -> Situation:
    tables = facts.statistics
    train = next((at for at, split in enumerate(tables.splits) if split.name == "train" and split.images), None)
    whole = tables.summary if train is None else tables.splits[train]
    counted = tables.classes if train is None else [row.splits[train] for row in tables.classes]
    instances = np.array([row.instances for row in counted], np.int64)
    situation = Situation(
        dataset=dataset,
        statistics=tables,
        policy=facts.policy,
        findings={finding.name: finding for finding in findings},
        where="in the dataset" if train is None else "in the training split",
        members=np.ones(dataset.n_images, np.bool_) if train is None else dataset.images.in_split[:, train],
        background=whole.background_images,
        unlabeled=whole.unlabeled_images,
        images=np.array([row.images for row in counted], np.int64),
        instances=instances,
        judged=(instances > 0) & np.array([not _says_nothing(row.name) for row in tables.classes], np.bool_),
    )
    return dataclasses.replace(situation, repeats=_repeats(situation))


# Words --------------------------------------------------------------------------------------------------------------


def _listed(parts: Iterable[str], total: int | None = None) -> str:
    """Join the first few parts, and count the rest.

    >>> _listed(["a", "b", "c"]), _listed(["a", "b"], total=9)
    ('a, b, c', 'a, b and 7 more')
    """
    shown = [part for part, _ in zip(parts, range(NAMES_SHOWN if total is None else min(total, NAMES_SHOWN)), strict=False)]
    more = (len(shown) if total is None else total) - len(shown)
    return ", ".join(shown) + (f" and {more:,} more" if more > 0 else "")


def _percent(share: float) -> str:
    """Write a share with at least two figures.

    >>> _percent(0.57), _percent(0.0251), _percent(0.00077)
    ('57 %', '2.5 %', '0.077 %')
    """
    decimals = min(max(0, 1 - math.floor(math.log10(share * 100))), 6) if 0 < share < 0.1 else 0
    return f"{share * 100:.{decimals}f} %"


def _ratio(value: float) -> str:
    return f"{value:,.1f} : 1" if value < 100 else f"{value:,.0f} : 1"


def _named(s: Situation, rows: Sequence[int]) -> str:
    return _listed((s.name(c) for c in rows), len(rows))


_WORD = re.compile(r"[^\W\d_]+|\d+")
_HUMP = re.compile(r"(?<=[a-z])(?=[A-Z])")


def _words(name: str) -> tuple[str, ...]:
    """Split a class name into lower-case words.

    >>> _words("TrafficLight_left-2")
    ('traffic', 'light', 'left', '2')
    """
    return tuple(_WORD.findall(_HUMP.sub(" ", name[:200]).casefold()))


_NOTHING = {"not sure", "notsure", "unsure", "unknown", "undefined", "skip", "todo", "ignore", "don't know", "dont know"}


def _says_nothing(name: str) -> bool:
    """Tell whether a name is a state of the labelling and not a thing that a picture shows."""
    return name[:32].casefold().replace("_", " ").replace("-", " ").strip() in _NOTHING


def _advice(
    action: str,
    *,
    why: str,
    parameters: Mapping[str, str | int | float],
    cost: str,
    sources: tuple[str, ...],
    addresses: tuple[str, ...] = (),
    expected: Expected | None = None,
    strength: Literal["policy", "evidence"] = "policy",
) -> Recommendation:
    """Make a recommendation; its id follows from its rank, and no command carries it out."""
    return Recommendation("", action, addresses, why, None, dict(parameters), expected, cost, strength, sources)


# Labels, splits, duplicates -----------------------------------------------------------------------------------------


def _told(findings: Sequence[Finding]) -> str:
    """Repeat what the most frequent findings say, with their codes."""
    ordered = sorted(findings, key=lambda finding: (-finding.severity.rank, -finding.count, finding.code))
    return _listed((f"{finding.message} ({finding.code})" for finding in ordered), len(ordered))


def fix_labels(s: Situation) -> Recommendation | None:
    """Mend records and files first: each later figure counts them."""
    wrong = [
        finding
        for finding in s.findings.values()
        if (finding.severity is Severity.ERROR and finding.code[:3] in ("DD0", "DD1"))
        or (finding.severity is not Severity.INFO and finding.name in WRONG_LABELS)
    ]
    if not wrong:
        return None
    places = sum(finding.locations_total for finding in wrong)
    return _advice(
        "fix_labels",
        addresses=tuple(sorted(finding.code for finding in wrong)),
        why=f"{_told(wrong)}. Trainers stop at such records, or drop them or their images without a word; all figures here count them.",
        parameters={"findings": len(wrong), "places": places},
        cost=f"{plural(places, 'place')} to look at",
        strength="evidence",
        sources=("what each trainer does with them, on the page of each check: dataset-doctor explain CODE",),
    )


def rename_states(s: Situation) -> Recommendation | None:
    """Settle classes that are named after a doubt: they teach the model nothing, and balancing would repeat them."""
    states = np.flatnonzero((s.instances > 0) & ~s.judged).tolist()
    if not states:
        return None
    count = int(s.instances[states].sum())
    before = imbalance_ratio(s.instances) or 1.0
    effect = f" Without them the imbalance is {_ratio(s.imbalance)}, with them {_ratio(before)}." if before > s.imbalance else ""
    listed = _listed((f"{s.name(c)} ({s.instances[c]:,})" for c in states), len(states))
    return _advice(
        "fix_labels",
        why=f"{plural(len(states), 'class reads', 'classes read')} like a state of the labelling, not like what a picture shows:"
        f" {listed}. Label these {plural(count, 'instance')} again or leave them out, before any balancing.{effect}",
        parameters={"classes": len(states), "instances": count},
        cost=f"{plural(count, 'label')} to look at",
        sources=("the class names alone: a guess to confirm",),
    )


def resplit(s: Situation) -> Recommendation | None:
    """Split again where splits share pictures, differ in classes, or none is there to choose a model on."""
    leaks = [s.findings[name] for name in LEAKAGE if name in s.findings]
    uneven = [s.findings[name] for name in UNEVEN_SPLITS if name in s.findings and s.findings[name].severity is not Severity.INFO]
    names = [split.name for split in s.statistics.splits if split.images]
    missing = names == ["all"] or ("train" in names and "val" not in names)
    if not (leaks or uneven or missing):
        return None
    total = s.statistics.summary.images
    tenth = round(total / 10)
    reasons = [f"{_told(leaks)}: the scores say little about new pictures."] if leaks else []
    reasons += [f"{_told(uneven)}."] if uneven else []
    if missing:
        keep = " Draw it from the training images and keep the test split." if "test" in names else ""
        reasons.append(f"There is no validation split to choose checkpoints and settings on.{keep}")
    reasons.append(
        f"80/10/10 of {plural(total, 'image')} is about {total - 2 * tenth:,}, {tenth:,} and {tenth:,}; draw them by class,"
        " near-duplicates together."
    )
    few = [c for c, row in enumerate(s.statistics.classes) if 0 < row.images < 3]
    if few:
        reasons.append(f"With fewer than 3 images, not in every split: {_named(s, few)}.")
    unsure = sum(0 < row.instances < 300 for row in s.statistics.classes)
    if unsure:
        used = s.statistics.summary.classes_used
        reasons.append(f"A tenth has fewer than 30 instances of {unsure:,} of {used:,} classes, too few to tell small differences.")
    return _advice(
        "resplit",
        addresses=tuple(sorted({finding.code for finding in (*leaks, *uneven)} | set(s.codes(NO_VALIDATION)))),
        why=" ".join(reasons),
        parameters={"ratios": "80/10/10", "group_by": "near-duplicates", "seed": 0},
        cost="scores from before and after do not compare" if leaks or uneven else f"{tenth:,} to {2 * tenth:,} images fewer to train on",
        strength="evidence" if leaks else "policy",
        sources=("Sechidis et al. 2011, iterative stratification",),
    )


def remove_duplicates(s: Situation) -> Recommendation | None:
    """Leave out repeated pictures, which look like balance and are none."""
    found = [s.findings[name] for name in DUPLICATES if name in s.findings]
    if not found:
        return None
    return _advice(
        "remove_duplicates",
        addresses=tuple(sorted(finding.code for finding in found)),
        why=f"{_told(found)}. Keep one image of each identical group, with the better labels: copies weigh a picture twice and make a class"
        " look larger. Near-duplicates may stay within one split.",
        parameters={"groups": sum(finding.count for finding in found), "keep": 1},
        cost=f"{plural(sum(finding.locations_total for finding in found), 'place')} to look at",
        sources=("imagededup and fastdup: duplicates in one split bias training, across splits the test",),
    )


# Backgrounds and collecting -----------------------------------------------------------------------------------------

_POLICY_SOURCES = {
    "detector": (ULTRALYTICS_TIPS,),
    "article": ("convention of the article policy; 1 : 3 in detectors is a ratio of anchors (Fast R-CNN, SSD), not of images",),
    "screening": ("prior shift: logit(s) − log odds(train) + log odds(deployment)",),
}


def _whole(value: float) -> int:
    """Round up, but not for the dust of binary fractions."""
    return math.ceil(value - 1e-9)


def background(s: Situation) -> Recommendation | None:
    """Bring the share of background images into the band of the chosen policy, from the nearer side."""
    policy, n = s.policy, s.n_images
    if policy.name == "none" or not s.has_labels:
        return None
    # YOLO trainers read an image without a label file as background.
    silent = s.unlabeled if s.dataset.format == "yolo" else 0
    have = s.background + silent
    share = have / n
    short = _whole((policy.low * n - have) / (1 - policy.low)) if policy.low < 1 else 0
    excess = _whole((have - policy.high * n) / (1 - policy.high)) if policy.high < 1 else 0
    add, drop = max(short, 0), min(max(excess, 0), s.background)
    if not add and not drop:
        return None
    band = f"{_percent(policy.low)} to {_percent(policy.high)}"
    wish = {
        "detector": "The detector policy takes up to 10 %",
        "article": "The article policy takes 1 to 2 up to 1 to 3 positives to backgrounds (67 % to 75 %)",
        "screening": f"The screening policy takes what deployment shows, {band}",
    }.get(policy.name, f"The policy takes {band}")
    which = f", {silent:,} of them without a label file" if silent else ""
    why = [
        f"{have:,} of {plural(n, 'image')} {s.where} are backgrounds{which} ({_percent(share)}).",
        f"{wish}; that is a convention, not a measured optimum.",
    ]
    if add:
        why.append(f"Add {add:,}, best where a model finds things that are not there.")
        if policy.name == "article":
            why.append("Detector practice is 0 to 10 %.")
        why.append("detectron2 and MMDetection drop background images unless told otherwise.")
    else:
        why.append(f"Leave out {drop:,} at random, never a positive; or keep them, and compare false positives per background image.")
    if policy.name == "screening" and policy.prior is not None and 0 < share < 1 and 0 < policy.prior < 1:
        shift = math.log(policy.prior / (1 - policy.prior)) - math.log((1 - share) / share)
        why.append(f"Or change nothing and add {shift:+.2f} to each logit of the trained model.")
    n_after = n + add - drop
    return _advice(
        "add_background" if add else "remove_background",
        addresses=s.codes(BACKGROUND_SHARE, *([IMAGE_UNLABELED] if silent else [])),
        why=" ".join(why),
        parameters={"policy": policy.name, "images": add or drop, "low": round(policy.low, 4), "high": round(policy.high, 4),
                    "share_before": round(share, 4), "share_after": round((have + add - drop) / n_after, 4)},
        expected=s.expect(s.instances, n_after),
        cost=f"an epoch of {n_after:,} instead of {plural(n, 'image')}" + (f", {add:,} images to find and look through" if add else ""),
        sources=(*_POLICY_SOURCES.get(policy.name, ()), *([EMPTY_DROPPED] if add else [])),
    )  # fmt: skip


def collect(s: Situation) -> Recommendation | None:
    """Ask for pictures of the classes that have too few: no sampler makes new ones."""
    if not s.has_labels:
        return None
    unused = np.flatnonzero(s.instances == 0)
    small = s.judged & (s.instances * IMBALANCED <= s.instances[s.judged].max(initial=0))
    tiers = [("rare", RARE_IMAGES, s.judged)]
    if s.imbalanced:
        tiers.append(("common", COMMON_IMAGES, s.judged))
        tiers += [("", RECOMMENDED_IMAGES - 1, small)] if s.has_boxes else []
    found = ((group, limit, np.flatnonzero(among & (s.images <= limit))) for group, limit, among in tiers)
    group, limit, few = next((tier for tier in found if len(tier[2])), ("", 0, unused[:0]))
    if not len(few) and not len(unused):
        return None
    why, expected, total, target = [], None, 0, 0
    if len(few):
        few = few[np.lexsort((few, s.instances[few], s.images[few]))]
        target = limit + 1
        missing = target - s.images[few]
        total = int(missing.sum())
        after = s.instances.copy()
        after[few] += missing
        expected = s.expect(after, s.n_images + total)
        each = zip(few.tolist(), missing.tolist(), strict=True)
        listed = _listed((f"{s.name(c)} {m:,} more (has {s.images[c]:,})" for c, m in each), len(few))
        of = f"{len(few):,} of {plural(len(s.instances), 'class', 'classes')}"
        have = "has" if len(few) == 1 else "have"
        if group:
            why.append(f"{of} {have} at most {plural(limit, 'image')} {s.where} ({group} in LVIS's terms).")
            why.append(f"To reach {target:,} images: {listed}.")
        else:
            why.append(f"{of} {have} less than a tenth of the largest class's instances, and fewer than {target:,} images: {listed}.")
        if group == "rare":
            why.append("An untreated Mask R-CNN reached 0.0 mask AP on LVIS's rare classes, 27.4 on its frequent ones.")
        if s.has_boxes:
            first = few[0]
            images, instances = RECOMMENDED_IMAGES - s.images[first], max(RECOMMENDED_INSTANCES - s.instances[first], 0)
            why.append(
                f"Ultralytics recommends {RECOMMENDED_IMAGES:,} images and {RECOMMENDED_INSTANCES:,} instances a class, not as a minimum:"
                f" {s.name(int(first))} is {images:,} images and {instances:,} instances short."
            )
    if len(unused):
        listed = _named(s, unused.tolist())
        why.append(
            f"{plural(len(unused), 'class has', 'classes have')} no instances {s.where}: {listed}."
            " Take them out of the class list, or collect for them too."
        )
    return _advice(
        "collect",
        addresses=s.codes(CLASS_RARE, CLASS_UNUSED, CLASS_ROOT, *([CLASS_IMBALANCE] if s.imbalanced and len(few) else [])),
        why=" ".join(why),
        parameters={"classes": len(few), "target_images": target, "images": total, "unused_classes": len(unused),
                    "recommended_images": RECOMMENDED_IMAGES, "recommended_instances": RECOMMENDED_INSTANCES},
        expected=expected,
        cost=f"{plural(total, 'image')} to find and label, fewer where one shows several of these classes; one instance an image expected"
        if len(few)
        else "nothing, where the names are not needed",
        sources=(LVIS, *([ULTRALYTICS_TIPS] if s.has_boxes else []), *([LVIS_TABLE] if len(few) and group == "rare" else [])),
    )  # fmt: skip


# Balance: candidates ------------------------------------------------------------------------------------------------


def _extremes_told(s: Situation) -> str:
    small, large = s.extremes()
    unit = "instances" if s.has_boxes else "images"
    return f"{s.name(large)} has {s.instances[large]:,} {unit} {s.where}, {s.name(small)} {s.instances[small]:,}: {_ratio(s.imbalance)}."


def repeat_factors(holds: sparse.csr_array[Any], frequency: NDArray[np.float64], threshold: float) -> NDArray[np.float64]:
    """Give how often repeat factor sampling shows each image: max over its classes c of max(1, sqrt(threshold ÷ frequency of c)).

    Gupta et al., LVIS, 2019; an image without labels is shown once.

    Args:
        holds: Images × classes, an entry where an image holds a class.
        frequency: Share of the images that hold each class; one that none holds is not looked at.
        threshold: Classes in a smaller share of the images than this are repeated.
    """
    of_class = np.maximum(1.0, np.sqrt(threshold / np.maximum(frequency, np.finfo(np.float64).tiny)))
    factors = np.ones(holds.shape[0])
    labelled = np.diff(holds.indptr) > 0
    if labelled.any():
        factors[labelled] = np.maximum.reduceat(of_class[holds.indices], holds.indptr[:-1][labelled])
    return factors


@dataclass(frozen=True, slots=True, eq=False)
class Repeats:
    """Repeat factors of the images, the threshold and its quantile they come from, and the imbalance that they leave."""

    factors: NDArray[np.float64]
    threshold: float
    quantile: float
    imbalance: float


def _repeats(s: Situation) -> Repeats | None:
    """Find the threshold that leaves the least imbalance within the budget; None where none helps."""
    if not (s.has_boxes and s.imbalanced):
        return None
    counts = s.counts
    frequency = np.bincount(counts.indices, minlength=len(s.instances)) / s.n_images
    judged = s.judged & (frequency > 0)
    if not judged.any():
        return None
    # A class that is named after a doubt is never a reason to repeat an image.
    weighed = np.where(judged, frequency, 1.0)
    best = None
    for quantile in REPEAT_QUANTILES:
        threshold = float(np.quantile(frequency[judged], quantile))
        factors = np.minimum(repeat_factors(counts, weighed, threshold), MAX_REPEAT)
        after = (counts.T @ factors)[judged]
        imbalance = float(after.max() / after.min())
        if factors.sum() <= BUDGET * s.n_images and (best is None or imbalance < best.imbalance):
            best = Repeats(factors, threshold, quantile, imbalance)
    return best if best is not None and best.imbalance <= REPEAT_WORTH * s.imbalance else None


def repeat(s: Situation) -> Recommendation | None:
    """Repeat images of rare classes, where an image holds several: the threshold is a quantile of this dataset's image frequencies."""
    if s.repeats is None:
        return None
    n, threshold, quantile, factors = s.n_images, s.repeats.threshold, s.repeats.quantile, s.repeats.factors
    epoch, rounded_up = float(factors.sum()), int(np.ceil(factors - 1e-9).sum())
    why = [
        _extremes_told(s),
        f"Repeating images whose rarest class is in fewer than {_percent(threshold)} of them (the {_percent(quantile)} quantile of the"
        f" classes) brings {_ratio(s.repeats.imbalance)}, since an image takes all its classes along.",
        "A candidate, to verify: it took LVIS from 16.1 to 22.2 mask AP (rare classes 0.0 to 11.5), and cost YOLOv5s on COCO-ZIPF"
        " 0.9 to 1.3 mAP. Try mosaic and mixup first, as under augment.",
    ]
    mixed = s.statistics.summary.scumble
    if mixed is not None and mixed > 0.1:
        why.append(f"Rare and frequent classes share images here (SCUMBLE {mixed:.2f}), so frequent ones grow too.")
    return _advice(
        "repeat_factor",
        addresses=s.codes(CLASS_IMBALANCE, CLASS_RARE),
        why=" ".join(why),
        parameters={"method": "repeat_factor", "threshold": float(f"{threshold:.6g}"), "budget": BUDGET, "max_repeat": MAX_REPEAT},
        cost=f"an epoch of about {epoch:,.0f} instead of {plural(n, 'image')} ({epoch / n:.2f} ×);"
        f" {rounded_up:,} in MMDetection, which rounds up each repeat",
        sources=(LVIS, LVIS_TABLE, ZIPF),
    )


def oversample(s: Situation) -> Recommendation | None:
    """Repeat images of small classes, where an image holds one: towards the square root, not to equality."""
    if s.has_boxes or not s.imbalanced:
        return None
    counts = s.instances[s.judged].astype(np.float64)
    wanted = np.minimum(np.sqrt(counts * counts.max()), counts * MAX_REPEAT)
    epoch = s.n_images - counts.sum() + wanted.sum()
    stop = f"; the budget of {BUDGET} × stops at {BUDGET * s.n_images:,.0f}" if epoch > BUDGET * s.n_images else ""
    return _advice(
        "oversample",
        addresses=s.codes(CLASS_IMBALANCE, CLASS_RARE),
        why=f"{_extremes_told(s)} Repeating towards the square root of the counts, at most {MAX_REPEAT} times, brings"
        f" {_ratio(float(wanted.max() / wanted.min()))} without a budget."
        " A candidate, to verify: on CIFAR-100-LT class-balanced sampling from the start made the error worse, 61.68 to 64.76 %"
        " (square-root sampling 63.21 %); only in the last stage it helped, 59.36 %. So start it late.",
        parameters={"method": "oversample", "target": "sqrt", "budget": BUDGET, "max_repeat": MAX_REPEAT},
        cost=f"an epoch of about {epoch:,.0f} instead of {plural(s.n_images, 'image')}{stop}",
        sources=(CIFAR, "kaidic/LDAM-DRW: deferred to the last fifth of the epochs"),
    )


_NO_WEIGHTS = "; Ultralytics takes one power for all classes (cls_pw), the box heads of torchvision and detectron2 no weights"


def weights(s: Situation) -> Recommendation | None:
    """Weigh classes in the loss, softened: effective number with a beta that fits the counts."""
    if not s.imbalanced:
        return None
    counts = s.instances[s.judged].astype(np.float64)
    reference = max(float(np.median(counts)), 2.0)
    beta = 1 - 1 / reference
    raw = (1 - beta) / (1 - beta**counts)
    spread = float(raw.max() / raw.min())
    scaled = raw * counts.sum() / (counts * raw).sum()
    why = []
    unused = np.flatnonzero(s.instances == 0)
    if len(unused):
        listed = _named(s, unused.tolist())
        why.append(
            f"First take {plural(len(unused), 'class', 'classes')} without instances out of the class list: {listed}."
            " Ultralytics' cls_pw counts such a class as 1, and at cls_pw = 1 the class loss of all others nearly vanishes."
        )
    small, large = s.extremes()
    if not s.has_boxes or s.repeats is not None:
        why.append("Instead of repeating images, or each in part: both in full correct twice.")
    else:
        each = s.instances[large] / s.images[large]
        why.append(
            f"{_extremes_told(s)} Repeating images cannot change that much: {s.name(small)} is in"
            f" {_percent(s.images[small] / s.n_images)} of them, and {s.name(large)} shows {each:.1f} times in each of its images."
        )
    why.append(
        f"Effective-number weights with beta = 1 − 1 ÷ {reference:,.0f} (the median class) give {s.name(small)} ({s.instances[small]:,})"
        f" {scaled.max():.2f} and {s.name(large)} ({s.instances[large]:,}) {scaled.min():.2f}: {_ratio(spread)},"
        f" where plain inverse frequency gives {_ratio(s.imbalance)}."
    )
    lost = "inverse-frequency weights cost YOLOv5s on COCO-ZIPF 0.8 mAP, and" if s.has_boxes else "inverse-frequency weights"
    why.append(
        f"A candidate, to verify: {lost} made the error on CIFAR-100-LT worse by 6.1 points, 61.68 to 67.73 %;"
        " switched on for the last stage only they made it better, 58.38 %."
    )
    return _advice(
        "weights",
        addresses=s.codes(CLASS_IMBALANCE, *([CLASS_UNUSED, CLASS_ROOT] if len(unused) else [])),
        why=" ".join(why),
        parameters={"scheme": "effective", "beta": float(f"{beta:.8g}"), "cap": WEIGHT_CAP, "normalize": "sample",
                    "count": "instances" if s.has_boxes else "images"},
        cost="no longer epoch; noisier gradients the further the weights spread" + (_NO_WEIGHTS if s.has_boxes else ""),
        sources=("Cui et al. 2019, class-balanced loss (arXiv 1901.05555)", *([ZIPF] if s.has_boxes else []), CIFAR),
    )  # fmt: skip


def undersample(s: Situation) -> Recommendation | None:
    """Leave out images of a class that has plenty, where they hold nothing else."""
    if not s.imbalanced:
        return None
    _, large = s.extremes()
    spare = int(s.images[large]) - PLENTY_IMAGES
    if spare <= 0 or (s.has_boxes and s.instances[large] < 10 * RECOMMENDED_INSTANCES):
        return None
    counts = s.counts
    alone = np.flatnonzero(np.diff(counts.indptr) == 1)
    only = int((counts.indices[counts.indptr[:-1][alone]] == large).sum())
    drop = min(spare, only)
    if not drop:
        return None
    return _advice(
        "undersample",
        addresses=s.codes(CLASS_IMBALANCE),
        why=f"{s.name(large)} is in {s.images[large]:,} images {s.where}, {s.images[large] / RECOMMENDED_IMAGES:,.0f} × what Ultralytics"
        f" recommends; {only:,} of them show nothing else. Leaving out {drop:,} of these keeps {s.images[large] - drop:,}, and no other"
        " class loses an instance. What is lost is their variety: a candidate for shorter training, not for accuracy.",
        parameters={"method": "undersample", "images": drop, "keep_images": int(s.images[large]) - drop},
        cost=f"{plural(drop, 'image')} of {s.n_images:,} not seen; an epoch of {s.n_images - drop:,}",
        sources=(CHARTE, ULTRALYTICS_TIPS),
    )


def focal_loss(s: Situation) -> Recommendation | None:
    """Say where the focal loss belongs: many easy background places, not rare classes."""
    if not (s.has_boxes and s.imbalanced) or s.statistics.boxes is None:
        return None
    area = s.statistics.boxes.relative_area.median
    if area is None or area >= SPARSE_FOREGROUND:
        return None
    return _advice(
        "focal_loss",
        why=f"The median object covers {_percent(area)} of its image, so nearly all places that a one-stage detector looks at are easy"
        " background: that is what focal loss (alpha 0.25, gamma 2) damps. It does not balance classes: on CIFAR-100-LT it made the error"
        " 62.78 % instead of 61.68 %."
        f" It answers no part of the {_ratio(s.imbalance)} between classes; never set alpha to an inverse class frequency.",
        parameters={"alpha": 0.25, "gamma": 2.0, "prior": 0.01},
        cost="nothing with torchvision's RetinaNet and FCOS, which use it already; start the last bias at −log(0.99 ÷ 0.01)",
        sources=("Lin et al. 2017, focal loss", CIFAR),
    )


# Input size ---------------------------------------------------------------------------------------------------------


def input_size(s: Situation) -> Recommendation | None:
    """Choose an input at which small objects keep a few pixels; cut images into tiles where that would be too large."""
    if not s.has_labels:
        return None
    return _input_for_boxes(s) if s.has_boxes else _input_for_pictures(s)


def _sides(s: Situation) -> dict[int, float]:
    """Give the input sides of the memory table with their GiB."""
    return {int(row.input.split("x")[0]): row.gib for row in s.statistics.resolution.memory}


_MEMORY_SOURCE = "memory: ResNet-50, float32, AdamW, from its activation count (Radosavovic et al. 2020)"


def _input_for_pictures(s: Situation) -> Recommendation | None:
    side = 224
    width, height = s.statistics.resolution.width.median, s.statistics.resolution.height.median
    if width is None or height is None:
        return None
    why = f"Weights that are pretrained on ImageNet expect about {side} px; the median image is {width:,.0f} × {height:,.0f} px."
    longest = max(width, height)
    if longest < side:
        times = (side / longest) ** 2
        why += f" Enlarging adds no detail and costs {times:,.1f} × the computation of {longest:,.0f} px: compare a smaller input."
    gib = _sides(s)[side]
    return _advice(
        "input_size",
        why=why,
        parameters={"input": side, "batch": 32},
        cost=f"about {gib:.1f} GiB at batch 32",
        sources=("torchvision, pretrained classification weights", _MEMORY_SOURCE),
    )


def _input_for_boxes(s: Situation) -> Recommendation | None:
    annotations = s.dataset.annotations
    sizes = s.dataset.sizes
    with np.errstate(invalid="ignore", over="ignore"):
        wh = widths_heights(s.dataset.boxes)
        sides = np.minimum(wh[:, 0], wh[:, 1]) / sizes.max(axis=1)[annotations.image]
    sides = sides[s.dataset.is_instance & s.members[annotations.image] & np.isfinite(sides) & (sides > 0)]
    if not len(sides):
        return None
    small = min(float(np.quantile(sides, 0.1)), 1.0)
    gib = _sides(s)
    # The median image as it would be letterboxed.
    width, height = np.median(sizes[s.members & np.isfinite(sizes).all(axis=1)], axis=0)
    longest = max(width, height)
    enough = [side for side in gib if side * small >= LEAST_PX]
    codes = s.codes(BOX_TINY)
    measured = f"One object in ten has a shorter side below {_percent(small)} of its image's longer side"
    sources = (f"stride of the finest grid of common detectors, {LEAST_PX} px", _MEMORY_SOURCE)
    if not enough and small * longest < LEAST_PX / 4:
        return _advice(
            "input_size",
            addresses=codes,
            why=f"{measured}, below {LEAST_PX // 4} px even at full resolution: no input size and no tiles help. Look at these boxes first;"
            " if they are right, the pictures need more resolution.",
            parameters={"input": USUAL_INPUT, "batch": 16, "small_side_share": round(small, 6)},
            cost=f"about {gib[USUAL_INPUT]:.1f} GiB at batch 16",
            sources=sources,
        )
    if not enough:
        needed = math.ceil(LEAST_PX / small)
        tiles = [max(1, math.ceil((needed * side / longest - 0.2 * USUAL_INPUT) / (0.8 * USUAL_INPUT))) for side in (width, height)]
        n_tiles = tiles[0] * tiles[1]
        original = round(USUAL_INPUT * longest / needed)
        return _advice(
            "input_size",
            addresses=codes,
            why=f"{measured}: {max(gib):,} px leave {max(gib) * small:.1f} px of it, {LEAST_PX} to {GOOD_PX} are wanted. That would take an"
            f" input of {needed:,} px. Cut tiles of {original:,} px with an overlap of 20 %, enlarged or reduced to {USUAL_INPUT}:"
            f" {n_tiles:,} to an image of {width:,.0f} × {height:,.0f}; use the same tiles when predicting.",
            parameters={"input": USUAL_INPUT, "batch": 16, "small_side_share": round(small, 6),
                        "tile_px": original, "overlap": 0.2, "tiles_per_image": n_tiles},
            cost=f"about {n_tiles:,} × the images an epoch; {gib[USUAL_INPUT]:.1f} GiB at batch 16",
            sources=(*sources, "Akyon et al. 2022, SAHI (arXiv 2202.06934)"),
        )  # fmt: skip
    good = [side for side in enough if side * small >= GOOD_PX]
    least = (good or enough)[0]
    usual = next((side for side in gib if side >= min(longest, USUAL_INPUT)), USUAL_INPUT)
    side = max(least, usual)
    why = [f"{measured}, which is {side * small:.0f} px at {side} ({LEAST_PX} to {GOOD_PX} are wanted)."]
    if side > 1.1 * longest:
        why.append(f"The median image has {longest:,.0f} px: enlarging adds no detail, but spreads small objects over more cells.")
    if enough[0] < side:
        less = (enough[0] / side) ** 2
        why.append(f"If speed matters: {enough[0]} leaves {enough[0] * small:.0f} px, with {_percent(less)} of the pixels.")
    fewer = training_memory_gib(side, side, 4)
    smaller = f", {fewer:.1f} GiB at batch 4 (below 8, freeze batch normalisation)" if gib[side] > 16 else ""
    return _advice(
        "input_size",
        addresses=codes,
        why=" ".join(why),
        parameters={"input": side, "batch": 16, "small_side_share": round(small, 6)},
        cost=f"about {gib[side]:.1f} GiB at batch 16{smaller}; half precision needs about half",
        sources=sources,
    )


# Augmentation -------------------------------------------------------------------------------------------------------

_DIGITS = {"zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"}
_TEXT = {"digit", "digits", "number", "numbers", "text", "letter", "letters", "character", "characters", "sign", "signs", "plate", "plates",
         "arrow", "arrows", "speed"}  # fmt: skip
_COLOURS = {"red", "green", "blue", "yellow", "orange", "amber", "white", "black", "brown", "pink", "purple", "grey", "gray"}
_RIPENESS = {"ripe", "unripe", "overripe", "rotten", "ripening"}
_GRAVITY_FREE = {"aerial", "satellite", "drone", "uav", "overhead", "topdown", "microscopy", "nucleus", "nuclei", "rbc", "wbc", "platelet",
                 "platelets", "cell", "cells"}  # fmt: skip


@dataclass(frozen=True, slots=True)
class _Hints:
    """Rows of the classes whose names speak for or against an operation."""

    mirrored: Sequence[int]
    text: Sequence[int]
    coloured: Sequence[int]
    gravity_free: Sequence[int]


def _hints(s: Situation) -> _Hints:
    words = {c: _words(s.dataset.classes[c].name) for c in np.flatnonzero(s.instances).tolist()}
    known = set(words.values())
    swap = {"left": "right", "right": "left"}
    mirrored = [c for c, w in words.items() if not swap.keys().isdisjoint(w) and tuple(swap.get(word, word) for word in w) in known]
    symbols = [c for c, w in words.items() if len(w) == 1 and (len(w[0]) == 1 or w[0] in _DIGITS or w[0].isdecimal())]
    text = sorted({*(symbols if len(symbols) > 1 else []), *(c for c, w in words.items() if not _TEXT.isdisjoint(w))})
    alike: dict[tuple[str, ...], list[int]] = {}
    for c, w in words.items():
        if not _COLOURS.isdisjoint(w):
            alike.setdefault(tuple(word for word in w if word not in _COLOURS), []).append(c)
    ripe = [c for c, w in words.items() if not _RIPENESS.isdisjoint(w)]
    coloured = sorted({*ripe, *(c for group in alike.values() if len(group) > 1 for c in group)})
    free = [c for c, w in words.items() if not _GRAVITY_FREE.isdisjoint(w) and "phone" not in w]
    total = s.instances.sum()
    return _Hints(
        mirrored=mirrored,
        text=text if s.instances[text].sum() >= TEXT_SHARE * total else [],
        coloured=coloured,
        gravity_free=free if s.instances[free].sum() >= GRAVITY_FREE_SHARE * total else [],
    )


def augment(s: Situation) -> Recommendation | None:
    """Name the augmentations that pay first, and those that would change what a class means."""
    if not s.has_labels:
        return None
    hints = _hints(s)
    rare = bool((s.judged & (s.images <= RARE_IMAGES)).any())
    short = s.imbalanced or rare
    guessed = any((hints.mirrored, hints.text, hints.coloured, hints.gravity_free))
    if not short and not guessed:
        return None
    why: list[str] = []
    parameters: dict[str, str | int | float] = {}
    sources: list[str] = []
    if short and s.has_boxes:
        why.append(
            "Before any balancing: on long-tailed COCO-ZIPF mosaic took YOLOv5s from 25.4 to 32.0 mAP, mixup at 0.3 on to 34.3,"
            " while each way of resampling or weighting lost 0.6 to 1.3."
        )
        parameters |= {"operations": "mosaic, mixup", "mosaic": 1.0, "mixup": 0.3}
        masks = np.isin(s.dataset.annotations.geometry, (Geometry.POLYGON, Geometry.RLE, Geometry.RLE_STRING)).any()
        if masks:
            why.append("Then copy-paste of rare classes, for which the outlines are here: it parts classes that share images.")
            parameters["operations"] = "mosaic, mixup, copy-paste"
        else:
            why.append("Copy-paste needs outlines, which are not here; pasting boxes takes their background along.")
        sources += [ZIPF, "Ghiasi et al. 2021, simple copy-paste"]
    elif short:
        why.append(
            "Before any balancing: mixup took the error on CIFAR-100-LT from 61.68 to 59.18 %, on CIFAR-10-LT from 29.64 to 25.94 %."
        )
        parameters["operations"] = "mixup"
        sources.append(CIFAR)
    if hints.mirrored:
        why.append(f"No mirror images, or exchange the classes with them: {_named(s, hints.mirrored)} are left and right of one thing.")
    if hints.text:
        why.append(f"No flips: {_named(s, hints.text)} read as text or signs, and no mirror image of them exists.")
    if hints.mirrored or hints.text:
        parameters |= {"fliplr": 0.0, "flipud": 0.0}
    if hints.coloured:
        why.append(f"No change of hue: colour tells {_named(s, hints.coloured)} apart.")
        parameters["hsv_h"] = 0.0
    if hints.gravity_free:
        turned = "quarter turns" if hints.mirrored or hints.text else "flips and quarter turns (D4)"
        why.append(f"{_named(s, hints.gravity_free)} have no upright: {turned} are free variety.")
        if not (hints.mirrored or hints.text):
            parameters |= {"fliplr": 0.5, "flipud": 0.5}
    else:
        inflate = ", since a box turned by 30° grows to 1.87 × its area" if s.has_boxes else ""
        why.append(f"If the camera stands upright, turn by 10° at most{inflate}.")
        parameters["degrees"] = 10
    return _advice(
        "augment",
        addresses=s.codes(CLASS_IMBALANCE, CLASS_RARE) if short else (),
        why=" ".join(why) + (" What names suggest is a guess: look" if guessed else " Look") + " at 16 samples of each operation.",
        parameters=parameters,
        cost="no label to draw; mosaic and mixup need longer training" if short and s.has_boxes else "no label to draw",
        strength="evidence" if short else "policy",
        sources=(*sources, "albumentations and torchvision.transforms.v2 (operations)", *([ULTRALYTICS_DEFAULTS] if s.has_boxes else [])),
    )


# Model and hyper-parameters -----------------------------------------------------------------------------------------

_SMALL_SET = 10_000
_MODELS = {  # Smallest first: Ultralytics' two smallest, then torchvision's
    "detect": ("yolo11n", "yolo11s", "fasterrcnn_mobilenet_v3_large_fpn", "fasterrcnn_resnet50_fpn_v2"),
    "segment": ("yolo11n-seg", "yolo11s-seg", "maskrcnn_resnet50_fpn", "maskrcnn_resnet50_fpn_v2"),
    "pose": ("yolo11n-pose", "yolo11s-pose", "keypointrcnn_resnet50_fpn", "keypointrcnn_resnet50_fpn"),
    "obb": ("yolo11n-obb", "yolo11s-obb", "", ""),
    "classify": ("yolo11n-cls", "yolo11s-cls", "resnet18", "resnet50"),
}


def model(s: Situation) -> Recommendation | None:
    """Start with the smallest pretrained model that fits the task and the number of images."""
    if not s.has_labels:
        return None
    small = s.n_images < _SMALL_SET
    ours = _MODELS[s.dataset.task][0 if small else 1 :: 2]
    candidates = [name for name in ours if name]
    if s.dataset.task == "classify":
        candidates.reverse()
    used = int((s.instances > 0).sum())
    labels = f" and {plural(int(s.instances.sum()), 'instance')}" if s.has_boxes else ""
    parameters: dict[str, str | int | float] = {"model": candidates[0], "pretrained": "yes"}
    if len(candidates) > 1:
        parameters["alternative"] = candidates[1]
    return _advice(
        "model",
        why=f"{plural(s.n_images, 'image')}{labels} of {plural(used, 'class', 'classes')} {s.where}: start small and pretrained,"
        f" {' or '.join(candidates)}. Take a larger one only when the score on the training images themselves stays below the goal.",
        parameters=parameters,
        cost="the cheapest of its family; Ultralytics is AGPL-3.0 or paid, torchvision BSD",
        sources=("Ultralytics models", *(["torchvision models and pretrained weights"] if s.dataset.task != "obb" else [])),
    )


def hyperparameters(s: Situation) -> Recommendation | None:
    """Start from known defaults; they are starting points and no finding."""
    if not s.has_labels:
        return None
    batch = 16 if s.has_boxes else 32
    steps = math.ceil(s.n_images / batch)
    if s.has_boxes:
        why = "Ultralytics' defaults: SGD, learning rate 0.01, momentum 0.937, weight decay 0.0005, 3 warm-up epochs, batch 16."
        parameters: dict[str, str | int | float] = {
            "optimizer": "SGD", "lr": 0.01, "momentum": 0.937, "weight_decay": 0.0005, "warmup_epochs": 3, "batch": batch, "patience": 100,
        }  # fmt: skip
    else:
        why = "Fine-tuning with AdamW: learning rate 0.0001 to 0.0005, weight decay 0.01 (0.05 for a ViT), batch 32."
        parameters = {"optimizer": "AdamW", "lr": 0.0003, "weight_decay": 0.01, "batch": batch}
    compare = " Compare treatments at equal steps, not epochs." if s.imbalanced else ""
    return _advice(
        "hyperparameters",
        why=f"Starting points, not findings. {why} With {plural(s.n_images, 'image')} an epoch is {plural(steps, 'step')}.{compare}",
        parameters=parameters | {"steps_per_epoch": steps},
        cost="one learning-rate range test, about 100 steps; again for each way of balancing, which changes the scale of the loss",
        sources=(ULTRALYTICS_DEFAULTS,) if s.has_boxes else ("common fine-tuning practice", "PyTorch Lightning, learning-rate finder"),
    )


RULES: tuple[Rule, ...] = (
    fix_labels,
    rename_states,
    resplit,
    remove_duplicates,
    background,
    collect,
    repeat,
    oversample,
    weights,
    undersample,
    focal_loss,
    input_size,
    augment,
    model,
    hyperparameters,
)
"""Every rule, in the order of its rank."""
