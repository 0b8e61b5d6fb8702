"""What to fix first: labels, class names, splits, duplicates."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from dataset_doctor.findings import Finding, Recommendation, Severity, listed, plural
from dataset_doctor.recommend.dividing import Division, foresee
from dataset_doctor.recommend.situation import (
    DUPLICATES,
    LEAKAGE,
    NO_VALIDATION,
    UNEVEN_SPLITS,
    WRONG_LABELS,
    Situation,
    advice,
    named,
    ratio,
)
from dataset_doctor.statistics import imbalance_ratio


def _counted(findings: Sequence[Finding]) -> str:
    """Repeat what the most frequent findings say, with their codes."""
    ordered = sorted(findings, key=lambda finding: (-finding.severity.rank, -finding.count, finding.code))
    return listed((f"{finding.message} ({finding.code})" for finding in ordered), len(ordered))


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
    return advice(
        "fix_labels",
        addresses=tuple(sorted(finding.code for finding in wrong)),
        why=f"{_counted(wrong)}. Trainers stop at such records, or silently drop them or their images; all figures here count them.",
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
    effect = f" Without them the imbalance is {ratio(s.imbalance)}, with them {ratio(before)}." if before > s.imbalance else ""
    names = listed((f"{s.name(c)} ({s.instances[c]:,})" for c in states), len(states))
    return advice(
        "fix_labels",
        why=f"{plural(len(states), 'class reads', 'classes read')} like a state of the labelling, not like what an image shows:"
        f" {names}. Label these {plural(count, 'instance')} again or leave them out, before any balancing.{effect}",
        parameters={"classes": len(states), "instances": count},
        cost=f"{plural(count, 'label')} to look at",
        sources=("the class names alone: a guess to confirm",),
    )


def resplit(s: Situation) -> Recommendation | None:
    """Split again where splits share images, differ in classes, or there is none to choose a model on."""
    if not s.trains:
        return None
    leaks = [s.findings[name] for name in LEAKAGE if name in s.findings]
    uneven = [s.findings[name] for name in UNEVEN_SPLITS if name in s.findings and s.findings[name].severity is not Severity.INFO]
    names = s.dataset.filled_splits
    missing = names == ("all",) or (s.dataset.training_split in names and "val" not in names)
    if not (leaks or uneven or missing):
        return None
    keeps_test = "test" in names and not leaks and not uneven
    options = {"ratios": "90/10", "freeze": "test"} if keeps_test else {"ratios": "80/10/10"}
    division = _division(s, options)
    if not (division.fixes or leaks or missing):
        return None
    reasons = [f"{_counted(leaks)}: the scores say little about new images."] if leaks else []
    reasons += [f"{_counted(uneven)}."] if uneven else []
    total = s.statistics.summary.images
    if keeps_test:
        total -= next(split.images for split in s.statistics.splits if split.name == "test")
    tenth = round(total / 10)
    if missing:
        keep = " Draw it from the training images and keep the test split." if keeps_test else ""
        reasons.append(f"There is no validation split to choose checkpoints and settings on.{keep}")
    sizes = f"{total - tenth:,} and {tenth:,}" if keeps_test else f"{total - 2 * tenth:,}, {tenth:,} and {tenth:,}"
    reasons.append(f"{options['ratios']} of {plural(total, 'image')} is about {sizes}; draw them by class, near-duplicates together.")
    few = [c for c, row in enumerate(s.statistics.classes) if 0 < row.images < 3]
    if few:
        reasons.append(f"With fewer than 3 images, not in every split: {named(s, few)}.")
    unsure = sum(0 < row.instances < 300 for row in s.statistics.classes)
    if unsure:
        used = s.statistics.summary.classes_used
        reasons.append(f"A tenth has fewer than 30 instances of {unsure:,} of {used:,} classes, too few to tell small differences.")
    if division.refusal:
        reasons.append(f"The command split cannot do it: {division.refusal.rstrip('.')}.")
    elif lost := len(s.left_out(None)):
        records = "record" if lost == 1 else "records"
        reasons.append(f"{lost:,} broken label {records} cannot be written and {'is' if lost == 1 else 'are'} left out.")
    possible = not division.refusal and bool(division.fixes or missing)
    found = {finding.code for finding in (*leaks, *uneven)} | set(s.codes(NO_VALIDATION))
    return advice(
        "resplit",
        addresses=s.codes(*division.fixes) if possible else tuple(sorted(found)),
        why=" ".join(reasons),
        parameters={**options, "group_by": "near-duplicates", "seed": 0},
        command=s.command("split", {**options, **s.allowing(None)}, "divided") if possible else None,
        cost="scores from before and after do not compare" if leaks or uneven else f"{tenth:,} to {2 * tenth:,} images fewer to train on",
        strength="evidence" if leaks else "policy",
        sources=("Sechidis et al. 2011, iterative stratification",),
    )


def _division(s: Situation, options: Mapping[str, str]) -> Division:
    if not s.balances:
        return Division(frozenset(), "the training split holds repeats; split the dataset it was made from, then rebalance that")
    return foresee(s, options)


def remove_duplicates(s: Situation) -> Recommendation | None:
    """Leave out repeated images, which look like balance and are not."""
    found = [s.findings[name] for name in DUPLICATES if name in s.findings]
    if not found:
        return None
    return advice(
        "remove_duplicates",
        addresses=tuple(sorted(finding.code for finding in found)),
        why=f"{_counted(found)}. Keep one image of each identical group, with the better labels: copies count twice and make a class"
        " look larger. Near-duplicates may stay within one split.",
        parameters={"groups": sum(finding.count for finding in found), "keep": 1},
        cost=f"{plural(sum(finding.locations_total for finding in found), 'place')} to look at",
        sources=("imagededup and fastdup: duplicates in one split bias training, across splits the test",),
    )
