"""What to add or leave out: backgrounds, and images of classes that have too few."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
from numpy.typing import NDArray

from dataset_doctor.balance import BUDGET, IMBALANCED, MAX_REPEAT, labels_to_collect
from dataset_doctor.balance.targets import parse_target
from dataset_doctor.findings import Recommendation, listed, percent, plural
from dataset_doctor.formats import format_of
from dataset_doctor.recommend.situation import (
    BACKGROUND_SHARE,
    CLASS_IMBALANCE,
    CLASS_RARE,
    CLASS_ROOT,
    CLASS_UNUSED,
    IMAGE_UNLABELED,
    LVIS,
    LVIS_TABLE,
    RECOMMENDED_IMAGES,
    RECOMMENDED_INSTANCES,
    ULTRALYTICS_TIPS,
    Situation,
    advice,
    expected_of,
    named,
)
from dataset_doctor.statistics import COMMON_IMAGES, RARE_IMAGES

EMPTY_DROPPED = "detectron2 FILTER_EMPTY_ANNOTATIONS and MMDetection filter_empty_gt"

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
    if policy.name == "none" or not s.has_labels or not s.trains:
        return None
    silent = s.unlabeled if format_of(s.dataset).unlabeled_is_background else 0
    have = s.background + silent
    share = have / n
    short = _whole((policy.low * n - have) / (1 - policy.low)) if policy.low < 1 else 0
    excess = _whole((have - policy.high * n) / (1 - policy.high)) if policy.high < 1 else 0
    add, drop = max(short, 0), min(max(excess, 0), s.background)
    if not add and not drop:
        return None
    settings: dict[str, str | int | float] = {"background": f"{policy.high * 100:.6g}%", "budget": BUDGET, "max_repeat": MAX_REPEAT}
    plan = s.plan(method="none", **settings) if drop else None
    if plan is not None and not plan.dropped.images:
        return None
    drop = plan.dropped.images if plan else drop
    band = f"{percent(policy.low)} to {percent(policy.high)}"
    wish = {
        "detector": "The detector policy takes up to 10 %",
        "article": "The article policy takes 1 to 2 up to 1 to 3 positives to backgrounds (67 % to 75 %)",
        "screening": f"The screening policy takes what deployment shows, {band}",
    }.get(policy.name, f"The policy takes {band}")
    which = f", {silent:,} of them without a label file" if silent else ""
    why = [
        f"{have:,} of {plural(n, 'image')} {s.where} are backgrounds{which} ({percent(share)}).",
        f"{wish}; that is a convention, not a measured optimum.",
    ]
    if add:
        why.append(f"Add {add:,}, best where a model finds things that are not there.")
        if policy.name == "article":
            why.append("Detector practice is 0 to 10 %.")
        why.append("detectron2 and MMDetection drop background images by default.")
    else:
        why.append(f"Leave out {drop:,} at random, never a positive; or keep them, and compare false positives per background image.")
    if policy.name == "screening" and policy.prior is not None and 0 < share < 1 and 0 < policy.prior < 1:
        shift = math.log(policy.prior / (1 - policy.prior)) - math.log((1 - share) / share)
        why.append(f"Or change nothing and add {shift:+.2f} to each logit of the trained model.")
    n_after = n + add - drop
    return advice(
        "add_background" if add else "remove_background",
        addresses=s.codes(BACKGROUND_SHARE, *([IMAGE_UNLABELED] if silent and not plan else [])),
        why=" ".join(why),
        parameters={**({"method": "none", **settings} if plan else {}),
                    "policy": policy.name, "images": add or drop, "low": round(policy.low, 4), "high": round(policy.high, 4),
                    "share_before": round(share, 4), "share_after": round((have + add - drop) / n_after, 4)},
        command=s.rebalancing({"method": "none", **settings}, "fewer-backgrounds") if plan else None,
        expected=expected_of(plan) or s.expect(s.instances, n_after),
        cost=f"an epoch of {n_after:,} instead of {plural(n, 'image')}" + (f", {add:,} images to find and look through" if add else ""),
        sources=(*_POLICY_SOURCES.get(policy.name, ()), *([EMPTY_DROPPED] if add else [])),
    )  # fmt: skip


def _beyond_repeats(s: Situation) -> NDArray[np.int64]:
    """Count the labels of each class that are missing before repeats alone reach the square root of the counts."""
    target = parse_target("sqrt", [kind.name for kind in s.dataset.classes], s.instances, "up")
    return labels_to_collect(dataclasses.replace(s.demand, target=target))


def collect(s: Situation) -> Recommendation | None:
    """Ask for images of the classes that have too few: no sampler makes new ones."""
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
    beyond = _beyond_repeats(s)
    if len(few):
        few = few[np.lexsort((few, s.instances[few], s.images[few]))]
        target = limit + 1
        missing = target - s.images[few]
        total = int(missing.sum())
        after = s.instances.copy()
        after[few] += missing
        expected = s.expect(after, s.n_images + total)
        each = zip(few.tolist(), missing.tolist(), strict=True)
        shortfall = listed((f"{s.name(c)} {m:,} more (has {s.images[c]:,})" for c, m in each), len(few))
        of = f"{len(few):,} of {plural(len(s.instances), 'class', 'classes')}"
        have = "has" if len(few) == 1 else "have"
        if group:
            why.append(f"{of} {have} at most {plural(limit, 'image')} {s.where} ({group} in LVIS's terms).")
            why.append(f"To reach {target:,} images: {shortfall}.")
        else:
            why.append(f"{of} {have} less than a tenth of the largest class's instances, and fewer than {target:,} images: {shortfall}.")
        if group == "rare":
            why.append("An untreated Mask R-CNN reached 0.0 mask AP on LVIS's rare classes, 27.4 on its frequent ones.")
        if s.has_boxes:
            first = few[0]
            images, instances = RECOMMENDED_IMAGES - s.images[first], max(RECOMMENDED_INSTANCES - s.instances[first], 0)
            why.append(
                f"Ultralytics recommends {RECOMMENDED_IMAGES:,} images and {RECOMMENDED_INSTANCES:,} instances a class, not as a minimum:"
                f" {s.name(int(first))} is {images:,} images and {instances:,} instances short."
            )
    if beyond.any():
        rows = np.flatnonzero(beyond)
        rows = rows[np.argsort(-beyond[rows], kind="stable")].tolist()
        labels = listed((f"{s.name(c)} {beyond[c]:,}" for c in rows), len(rows))
        why.append(
            f"Repeats alone do not bring every class to the square root of the counts: at {MAX_REPEAT} showings an image, these take more"
            f" labels first: {labels}."
        )
    if len(unused):
        names = named(s, unused.tolist())
        why.append(
            f"{plural(len(unused), 'class has', 'classes have')} no instances {s.where}: {names}."
            " Take them out of the class list, or collect for them too."
        )
    return advice(
        "collect",
        addresses=s.codes(CLASS_RARE, CLASS_UNUSED, CLASS_ROOT, *([CLASS_IMBALANCE] if s.imbalanced and len(few) else [])),
        why=" ".join(why),
        parameters={"classes": len(few), "target_images": target, "images": total, "unused_classes": len(unused),
                    "labels": int(beyond.sum()),
                    "recommended_images": RECOMMENDED_IMAGES, "recommended_instances": RECOMMENDED_INSTANCES},
        expected=expected,
        cost=f"{plural(total, 'image')} to find and label, fewer where one shows several of these classes; one instance an image expected"
        if len(few)
        else "nothing, where the names are not needed",
        sources=(LVIS, *([ULTRALYTICS_TIPS] if s.has_boxes else []), *([LVIS_TABLE] if len(few) and group == "rare" else [])),
    )  # fmt: skip
