"""How to balance classes: candidates, each to be verified, with what published tests say for and against it."""

from __future__ import annotations

import math

import numpy as np

from dataset_doctor.balance import BUDGET, MAX_REPEAT, image_frequency, repeat_factors
from dataset_doctor.findings import Recommendation, percent, plural
from dataset_doctor.recommend.situation import (
    CIFAR,
    CLASS_IMBALANCE,
    LVIS,
    LVIS_TABLE,
    RECOMMENDED_IMAGES,
    RECOMMENDED_INSTANCES,
    ULTRALYTICS_TIPS,
    ZIPF,
    Situation,
    advice,
    expected_of,
    named,
    ratio,
)
from dataset_doctor.statistics import imbalance_ratio

PLENTY_IMAGES = 10 * RECOMMENDED_IMAGES
"""Images of a class from which some may be left out."""

SPARSE_FOREGROUND = 0.01
"""Share of the image that the median object covers, below which nearly all of a dense detector's places are background."""

WEIGHT_CAP = 50

CHARTE = "Charte et al. 2015, ML-ROS and ML-RUS"


def _extremes(s: Situation) -> str:
    small, large = s.extremes()
    unit = "instances" if s.has_boxes else "images"
    return f"{s.name(large)} has {s.instances[large]:,} {unit} {s.where}, {s.name(small)} {s.instances[small]:,}: {ratio(s.imbalance)}."


def repeat(s: Situation) -> Recommendation | None:
    """Repeat images of rare classes, where an image holds several: the threshold is a quantile of this dataset's image frequencies."""
    if s.repeats is None or not s.balances:
        return None
    n, threshold = s.n_images, s.repeats.value
    settings: dict[str, str | int | float] = {"threshold": threshold, "budget": BUDGET, "max_repeat": MAX_REPEAT}
    plan = s.plan(method="repeat_factor", **settings)
    demand = s.demand
    factors = np.minimum(repeat_factors(demand.counts, np.where(s.judged, image_frequency(demand), np.inf), threshold), MAX_REPEAT)
    epoch, rounded_up = plan.epoch_images if plan else int(factors.sum()), int(np.ceil(factors - 1e-9).sum())
    after = s.imbalance_after(plan) if plan else imbalance_ratio((demand.counts.T @ factors)[s.judged]) or 1.0
    if ratio(after) == ratio(s.imbalance):
        return None
    quantile = f" (the {percent(s.repeats.quantile)} quantile of the classes)" if s.repeats.quantile else ""
    why = [
        _extremes(s),
        f"Repeating images whose rarest class is in fewer than {percent(threshold)} of them{quantile} brings {ratio(after)}, since an image"
        " takes all its classes along.",
        "A candidate, to verify: it took LVIS from 16.1 to 22.2 mask AP (rare classes 0.0 to 11.5), and cost YOLOv5s on COCO-ZIPF"
        " 0.9 to 1.3 mAP. Try mosaic and mixup first, as under augment.",
    ]
    why.append(
        "Where certain counts are needed, rebalance --method optimal finds the shortest epoch for them and proves it: on COCO val2017 34 %"
        " shorter than repeat factors with the same rare counts, but less varied (effective sample share 0.44 instead of 0.93)."
    )
    mixed = s.statistics.summary.scumble
    if mixed is not None and mixed > 0.1:
        why.append(f"Rare and frequent classes share images here (SCUMBLE {mixed:.2f}), so frequent ones grow too.")
    return advice(
        "repeat_factor",
        addresses=s.eased(plan),
        why=" ".join(why),
        parameters={"method": "repeat_factor", **settings} if plan else settings,
        command=s.rebalancing({"method": "repeat_factor", **settings}, "balanced") if plan else None,
        expected=expected_of(plan),
        cost=f"an epoch of {epoch:,} instead of {plural(n, 'image')} ({epoch / n:.2f} ×);"
        f" {rounded_up:,} in MMDetection, which rounds up each repeat",
        sources=(LVIS, LVIS_TABLE, ZIPF),
    )


def oversample(s: Situation) -> Recommendation | None:
    """Repeat images of small classes, where an image holds one: towards the square root, not to equality."""
    if s.has_boxes or not s.imbalanced or not s.balances:
        return None
    settings: dict[str, str | int | float] = {"target": "sqrt", "budget": BUDGET, "max_repeat": MAX_REPEAT}
    plan = s.plan(method="oversample", **settings)
    brings, cost = "", f"an epoch of at most {BUDGET} × {plural(s.n_images, 'image')}"
    if plan is not None:
        if ratio(s.imbalance_after(plan)) == ratio(s.imbalance):
            return None
        brings = f" brings {ratio(s.imbalance_after(plan))}"
        cost = f"an epoch of {plan.epoch_images:,} instead of {plural(s.n_images, 'image')}"
    return advice(
        "oversample",
        addresses=s.eased(plan),
        why=f"{_extremes(s)} Repeating towards the square root of the counts, an image at most {MAX_REPEAT} times and all at most"
        f" {BUDGET} ×,{brings or ' lowers that'}."
        " A candidate, to verify: on CIFAR-100-LT class-balanced sampling from the start made the error worse, 61.68 to 64.76 %"
        " (square-root sampling 63.21 %); only in the last stage it helped, 59.36 %. So start it late.",
        parameters={"method": "oversample", **settings} if plan else settings,
        command=s.rebalancing({"method": "oversample", **settings}, "balanced") if plan else None,
        expected=expected_of(plan),
        cost=cost,
        sources=(CIFAR, "kaidic/LDAM-DRW: deferred to the last fifth of the epochs"),
    )


_NO_WEIGHTS = "; Ultralytics takes one power for all classes (cls_pw), the box heads of torchvision and detectron2 no weights"


def weights(s: Situation) -> Recommendation | None:
    """Weigh classes in the loss, softened: effective number with a beta that fits the counts."""
    if not (s.imbalanced and s.trains):
        return None
    counts = s.instances[s.judged].astype(np.float64)
    reference = max(float(np.median(counts)), 2.0)
    beta = 1 - 1 / reference
    raw = (1 - beta) / (1 - beta**counts)
    spread = float(raw.max() / raw.min())
    if ratio(spread) == ratio(1.0):
        return None
    scaled = raw * counts.sum() / (counts * raw).sum()
    why = []
    unused = np.flatnonzero(s.instances == 0)
    if len(unused):
        names = named(s, unused.tolist())
        why.append(
            f"{plural(len(unused), 'class has', 'classes have')} no instances {s.where} and cannot be weighted: {names}. The command gives"
            " them 1 and leaves them out of the scale; Ultralytics' cls_pw at 1 lets them take nearly all class loss from the others."
        )
    small, large = s.extremes()
    if not s.has_boxes or s.repeats is not None:
        why.append("Instead of repeating images, or each in part: both in full correct twice.")
    else:
        each = s.instances[large] / s.images[large]
        why.append(
            f"{_extremes(s)} Repeating images cannot change that much: {s.name(small)} is in"
            f" {percent(s.images[small] / s.n_images)} of them, and {s.name(large)} shows {each:.1f} times in each of its images."
        )
    why.append(
        f"Effective-number weights with beta = 1 − 1 ÷ {reference:,.0f} (the median class) give {s.name(small)} ({s.instances[small]:,})"
        f" {scaled.max():.2f} and {s.name(large)} ({s.instances[large]:,}) {scaled.min():.2f}: {ratio(spread)},"
        f" where plain inverse frequency gives {ratio(s.imbalance)}."
    )
    lost = "inverse-frequency weights cost YOLOv5s on COCO-ZIPF 0.8 mAP, and" if s.has_boxes else "inverse-frequency weights"
    why.append(
        f"A candidate, to verify: {lost} made the error on CIFAR-100-LT worse by 6.1 points, 61.68 to 67.73 %;"
        " switched on for the last stage only they made it better, 58.38 %."
    )
    settings: dict[str, str | int | float] = {
        "scheme": "effective", "beta": float(f"{beta:.8g}"), "cap": WEIGHT_CAP, "normalize": "sample",
        "count": "instances" if s.has_boxes else "images",
    }  # fmt: skip
    return advice(
        "weights",
        addresses=s.codes(CLASS_IMBALANCE),
        why=" ".join(why),
        parameters=settings,
        command=s.command("weights", settings) if s.split else None,
        cost="no longer epoch; noisier gradients the further the weights spread" + (_NO_WEIGHTS if s.has_boxes else ""),
        sources=("Cui et al. 2019, class-balanced loss (arXiv 1901.05555)", *([ZIPF] if s.has_boxes else []), CIFAR),
    )  # fmt: skip


def undersample(s: Situation) -> Recommendation | None:
    """Leave out images of classes that have plenty, where they hold nothing else."""
    if not (s.imbalanced and s.balances):
        return None
    _, large = s.extremes()
    if s.images[large] <= PLENTY_IMAGES or (s.has_boxes and s.instances[large] < 10 * RECOMMENDED_INSTANCES):
        return None
    # Boxes are counted by instances: as many as so many images hold.
    floor = PLENTY_IMAGES
    if s.has_boxes:
        floor = max(10 * RECOMMENDED_INSTANCES, math.ceil(PLENTY_IMAGES * s.instances[large] / s.images[large]))
    settings: dict[str, str | int | float] = {"target": f"floor:{floor}", "budget": BUDGET, "max_repeat": MAX_REPEAT}
    plan = s.plan(method="undersample", **settings)
    if plan is None or not plan.dropped.images or ratio(s.imbalance_after(plan)) == ratio(s.imbalance):
        return None
    drop = plan.dropped.images
    what = "instances" if s.has_boxes else "images"
    return advice(
        "undersample",
        addresses=tuple(code for code in s.eased(plan) if code in s.codes(CLASS_IMBALANCE)),
        why=f"{s.name(large)} is in {s.images[large]:,} images {s.where}, {s.images[large] / RECOMMENDED_IMAGES:,.0f} × what Ultralytics"
        f" recommends. Leaving out {plural(drop, 'image')} that show nothing but what has plenty keeps {plan.classes[large].after:,}"
        f" {what} of it, and no class that has fewer than {floor:,} loses one. What is lost is variety: a candidate for shorter training,"
        " not for accuracy.",
        parameters={"method": "undersample", **settings, "images": drop},
        command=s.rebalancing({"method": "undersample", **settings}, "reduced"),
        expected=expected_of(plan),
        cost=f"{plural(drop, 'image')} of {s.n_images:,} not seen; an epoch of {plan.epoch_images:,}",
        sources=(CHARTE, ULTRALYTICS_TIPS),
    )


def focal_loss(s: Situation) -> Recommendation | None:
    """Say where the focal loss belongs: many easy background places, not rare classes."""
    if not (s.has_boxes and s.imbalanced and s.trains) or s.statistics.boxes is None:
        return None
    area = s.statistics.boxes.relative_area.median
    if area is None or area >= SPARSE_FOREGROUND:
        return None
    return advice(
        "focal_loss",
        why=f"The median object covers {percent(area)} of its image, so nearly all places that a one-stage detector looks at are easy"
        " background: that is what focal loss (alpha 0.25, gamma 2) damps. It does not balance classes: on CIFAR-100-LT it made the error"
        " 62.78 % instead of 61.68 %."
        f" It does nothing about the {ratio(s.imbalance)} between classes; never set alpha to an inverse class frequency.",
        parameters={"alpha": 0.25, "gamma": 2.0, "prior": 0.01},
        cost="nothing with torchvision's RetinaNet and FCOS, which use it already; start the last bias at −log(0.99 ÷ 0.01)",
        sources=("Lin et al. 2017, focal loss", CIFAR),
    )
