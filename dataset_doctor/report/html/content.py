"""What the page shows, as plain lists and dictionaries for its script: the words and figures are made here, the drawing there.

Every text goes through `_text`, so that what reaches the page is printable, valid Unicode and of bounded length.
"""

from __future__ import annotations

import math
import re
import shlex
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

from dataset_doctor.checks import CHECKS, FAMILIES
from dataset_doctor.dataset import Place
from dataset_doctor.findings import POLICIES, Finding, Policy, Recommendation, plural, screening
from dataset_doctor.report import wording
from dataset_doctor.report.html.images import A_FINDING, Thumbnail, choose, is_picture, thumbnails
from dataset_doctor.report.html.markup import NAME
from dataset_doctor.report.html.markup import name as _name
from dataset_doctor.report.html.markup import text as _text
from dataset_doctor.report.record import Report
from dataset_doctor.report.text import printable
from dataset_doctor.statistics import Boxes, ClassRow, Resolution, SplitRow

DUPLICATES = ("image-duplicate", "image-near-duplicate", "split-leakage", "duplicate-label-conflict")
"""Checks whose places are members of groups of images."""

PLACES, GROUPS, CLASSES, SPLITS, CHANGES, MATRIX = 1000, 12, 10_000, 8, 10, 12
"""What the page lists at most: places of a finding and groups of images, classes, splits side by side, changes of a recommendation,
classes of the matrix."""

_GROUP = re.compile(r"\bgroup (\d+)", re.IGNORECASE)
_LABELLED = re.compile(r"\*\*(.+?)\.?\*\*\s*(.*)", re.DOTALL)
_SPREAD_LEAST = 10
"""Instances that a class needs before the page says that its share differs between splits."""


def content(report: Report) -> dict[str, Any]:
    """Give everything the page shows."""
    findings = wording.ranked(report)
    wanted = [_pictured(finding) for finding in findings]
    image_root = report.run.options.get("images")
    roots = [report.run.root, *([image_root] if isinstance(image_root, str) else [])]
    made = thumbnails(choose(wanted), roots)
    index = {name: at for at, name in enumerate(made)}
    worst = report.worst()
    return {
        "name": _text(wording.folder(report), 80),
        "kind": f"{_text(wording.format_name(report))} · {wording.size(report)}",
        "worst": worst.value if worst else "none",
        "verdict": wording.verdict(report),
        "figures": _figures(report),
        "pictures": [[picture.address, picture.width, picture.height] for picture in made.values()],
        "recommendations": [_recommendation(recommendation) for recommendation in report.recommendations],
        "findings": [_finding(report, finding, names, made, index) for finding, names in zip(findings, wanted, strict=True)],
        "boxed": report.dataset.task != "classify",
        "splits": [_split(row) for row in report.statistics.splits[:SPLITS]],
        "classes": _classes(report),
        "charts": _charts(report),
        "facts": [[label, [_text(phrase) for phrase in phrases]] for label, phrases in wording.facts(report)],
        "made": _made(report),
    }


def _figures(report: Report) -> list[list[str]]:
    """Give at most five figures, each with its unit or a note."""
    summary = report.statistics.summary
    largest, smallest = _extremes(report.statistics.classes)
    figures = [[f"{summary.images:,}", "image" if summary.images == 1 else "images", _split_names(report.statistics.splits)]]
    if report.dataset.task != "classify":
        per_image = report.statistics.boxes.per_image if report.statistics.boxes else None
        note = f"{wording.number(per_image.mean)} an image" if per_image else ""
        figures.append([f"{summary.instances:,}", "instance" if summary.instances == 1 else "instances", note])
    unused = summary.classes - summary.classes_used
    note = f"{unused:,} without instances" if unused else "all in use" if summary.classes else ""
    figures.append([f"{summary.classes:,}", "class" if summary.classes == 1 else "classes", note])
    if summary.imbalance_ratio is not None and largest is not smallest:
        note = f"{_name(largest.name)} to {_name(smallest.name)}" if largest and smallest else ""
        figures.append([wording.ratio(summary.imbalance_ratio), "imbalance", _text(note, 60)])
    if report.dataset.task != "classify" and summary.background_share is not None:
        figures.append(
            [wording.share(summary.background_share), "backgrounds", f"{plural(summary.background_images, 'image')} without an object"]
        )
    elif summary.effective_classes is not None:
        figures.append([wording.number(summary.effective_classes), "effective classes", f"of {summary.classes:,}"])
    return figures


def _split_names(rows: Sequence[SplitRow]) -> str:
    if [row.name for row in rows] in ([], ["all"]):
        return "no splits"
    more = f" and {len(rows) - 3:,} more" if len(rows) > 3 else ""
    return ", ".join(f"{_text(row.name, 20)} {row.images:,}" for row in rows[:3]) + more


def _extremes(rows: Iterable[ClassRow]) -> tuple[ClassRow | None, ClassRow | None]:
    """Give the largest class and the smallest one that has instances."""
    used = sorted((row for row in rows if row.instances), key=lambda row: (-row.instances, row.index))
    return (used[0], used[-1]) if used else (None, None)


# What to do ---------------------------------------------------------------------------------------------------------


def _recommendation(recommendation: Recommendation) -> dict[str, Any]:
    r = recommendation
    changed = [row for row in r.expected.classes if row[1] != row[2]] if r.expected else []
    grown = sorted(changed, key=lambda row: -max(row[2], 1) / max(row[1], 1))[:CHANGES]
    after: list[list[str]] = []
    if r.expected:
        after.append(["images an epoch", f"{r.expected.epoch_images:,}"])
        if r.expected.imbalance_ratio is not None:
            after.append(["imbalance", wording.ratio(r.expected.imbalance_ratio)])
    return {
        "id": _text(r.id, 20),
        "action": _text(r.action.replace("_", " "), 60),
        "addresses": [_text(code, 20) for code in r.addresses],
        "why": _text(r.why, 4000),
        "command": None if r.command is None else printable(r.command),
        "parameters": [[_text(key.replace("_", " "), 60), _value(value)] for key, value in r.parameters.items()],
        "changes": [[_name(name), before, then] for name, before, then in sorted(grown, key=lambda row: -row[1])],
        "unshown": len(changed) - len(grown),
        "after": after,
        "cost": _text(r.cost),
        "strength": r.strength,
        "sources": [_text(source) for source in r.sources],
    }


def _value(value: str | int | float) -> str:
    if isinstance(value, str):
        return _text(value)
    return f"{value:,}" if isinstance(value, int) else f"{value:g}"


# Findings -----------------------------------------------------------------------------------------------------------


def _pictured(finding: Finding) -> list[str]:
    """Name the pictures of a finding's places, in their order; of a group of pictures the first few, side by side."""
    places: Sequence[Place] = finding.locations[:PLACES]
    if finding.name in DUPLICATES:
        places = [place for group in _grouped(places) for place in group[:4]]
    return [name for place in places if (name := _picture(place))]


def _picture(place: Place) -> str | None:
    return place.image or (place.file if place.file and is_picture(place.file) else None)


def _finding(
    report: Report, finding: Finding, pictured: Sequence[str], made: dict[str, Thumbnail], index: dict[str, int]
) -> dict[str, Any]:
    from dataset_doctor.report.explain import FIXES

    advice = next((r for r in report.recommendations if finding.code in r.addresses), None)
    places = finding.locations[:PLACES]
    states = finding.states or (None,) * len(finding.locations)
    family = finding.code[:3]
    paired = finding.name in DUPLICATES
    # A picture that cannot be had is a placeholder beside the others; where none can be had, the names say as much.
    shown = list(dict.fromkeys(pictured))[:A_FINDING] if any(name in made for name in pictured) and not paired else []
    return {
        "code": _text(finding.code, 20),
        "name": _text(finding.name, 60),
        "severity": finding.severity.value,
        "family": [_text(family, 8), FAMILIES.get(family, "other")],
        "count": finding.count,
        "message": _text(wording.sentence(finding)),
        "quiet": finding.suppressed is not None or 0 < finding.count <= finding.known,
        "fix": FIXES[finding.fix],
        "page": _page(finding.code),
        "places": [_place(place, state) for place, state in zip(places, states, strict=False)],
        "total": finding.locations_total,
        "advice": None if advice is None else [_text(advice.id, 20), _text(advice.action.replace("_", " "), 60)],
        "strip": [_strip(name, places, made, index) for name in shown],
        "groups": _groups(places, made, index) if paired else [],
    }


def _page(code: str) -> list[list[str]]:
    """Give a check's page as paragraphs with their headings; the first says what it flags."""
    check = next((check for check in CHECKS if check.code == code), None)
    paragraphs = []
    for block in re.split(r"\n\n(?:\* )?|\n\* ", check.page) if check else []:
        labelled = _LABELLED.match(block)
        label, text = labelled.groups() if labelled else ("", block)
        if not label and text.startswith("Flag "):
            text = text[5:6].upper() + text[6:]
        if text.strip():
            paragraphs.append([label, _text(" ".join(text.split()), 4000)])
    return paragraphs


def _place(place: Place, state: str | None) -> list[str]:
    """Give what a place is called, what else is known of it, its split and how it stands against a baseline."""
    notes = " · ".join(_text(note, NAME) for note in wording.place_notes(place))
    return [_text(wording.place_name(place), 240), notes, _text(place.split or "", 60), state or ""]


def _strip(name: str, places: Iterable[Place], made: dict[str, Thumbnail], index: dict[str, int]) -> dict[str, Any]:
    """Give one picture of a finding: its number, and the boxes to draw as shares of its width and height."""
    boxes: list[list[float]] = []
    notes: list[str] = []
    for place in places:
        if _picture(place) != name:
            continue
        notes += [_text(note, 60) for note in wording.place_notes(place)[:1]]
        if place.box is not None and name in made and len(boxes) < 20:
            boxes.append(_share(place.box, made[name]))
    return {"picture": index.get(name), "name": _text(name, NAME), "boxes": boxes, "note": ", ".join(dict.fromkeys(notes))[:120]}


def _share(box: tuple[float, float, float, float], of: Thumbnail) -> list[float]:
    """Turn a box into shares of the picture, its corners in order; what lies far outside ends a little outside."""
    x1, y1, x2, y2 = (
        round(min(max(corner / side, -0.06), 1.06), 4)
        for corner, side in zip(box, (of.width, of.height) * 2, strict=True)
    )  # fmt: skip
    return [min(x1, x2), min(y1, y2), max(x1, x2), max(y1, y2)]


def _grouped(places: Sequence[Place]) -> list[list[Place]]:
    """Put the places of one group of pictures together, in the order of their first members.

    A place's detail ends in the name of another member, or says the group's number; where it says neither, places go two by two.
    """
    known = {name: at for at, place in enumerate(places) if (name := _picture(place))}
    group = list(range(len(places)))

    def first(at: int) -> int:
        while group[at] != at:
            group[at] = group[group[at]]
            at = group[at]
        return at

    numbers: dict[str, int] = {}
    for at, place in enumerate(places):
        detail = place.detail or ""
        ends = (detail[space.end() :] for space in re.finditer(" ", detail))
        partner = next((known[end] for end in ends if end in known), None)
        if partner is None and (match := _GROUP.search(detail)):
            partner = numbers.setdefault(match[1], at)
        if partner is not None:
            one, other = sorted((first(at), first(partner)))
            group[other] = one
    if all(at == of for at, of in enumerate(group)):
        group = [at - at % 2 for at in group]
    members: dict[int, list[Place]] = {}
    for at, place in enumerate(places):
        members.setdefault(first(at), []).append(place)
    return [grouped for grouped in members.values() if len(grouped) > 1] or list(members.values())


def _groups(places: Sequence[Place], made: dict[str, Thumbnail], index: dict[str, int]) -> list[list[list[Any]]]:
    """Give the members of each group: number of the image, name, split, labels in words, and boxes to draw as shares of its sides."""
    groups = [[_member(place, made, index) for place in group] for group in _grouped(places)]
    return ([group for group in groups if any(picture is not None for picture, *_ in group)] or groups)[:GROUPS]


def _member(place: Place, made: dict[str, Thumbnail], index: dict[str, int]) -> list[Any]:
    name = _picture(place) or ""
    boxes = [_share(box, made[name]) for _, box in place.labels if box is not None and name in made]
    counts = Counter(label for label, _ in place.labels)
    said = ", ".join(f"{_text(label, 40)} × {n:,}" if n > 1 else _text(label, 40) for label, n in sorted(counts.items()))
    return [index.get(name), _name(name or wording.place_name(place)), _text(place.split or "", 60), _text(said, 120), boxes]


# Classes, splits, charts --------------------------------------------------------------------------------------------


def _split(row: SplitRow) -> list[Any]:
    return [_name(row.name), row.images, row.instances, row.background_images, row.unlabeled_images]


def _classes(report: Report) -> dict[str, Any]:
    tables = report.statistics
    rows = sorted(tables.classes, key=lambda row: (-row.instances, row.index))
    return {
        "title": _classes_title(report),
        "rows": [
            [_name(row.name), row.index, row.images, row.instances, row.group or ""]
            + [number for count in row.splits[:SPLITS] for number in (count.images, count.instances)]
            for row in rows[:CLASSES]
        ],
        "left_out": max(0, len(rows) - CLASSES),
    }


def _classes_title(report: Report) -> str:
    largest, smallest = _extremes(report.statistics.classes)
    what = "images" if report.dataset.task == "classify" else "instances"
    if largest is None or smallest is None:
        return f"No class has any {what}"
    if largest is smallest:
        return f"{_name(largest.name)} is the only class with {what}"
    if largest.instances == smallest.instances:
        return f"All classes have {largest.instances:,} {what}"
    times = wording.ratio(largest.instances / smallest.instances).removesuffix(" : 1")
    return f"{_name(largest.name)} holds {wording.share(largest.share)} of the {what}, {times} × {_name(smallest.name)}"


def _charts(report: Report) -> dict[str, Any]:
    tables = report.statistics
    charts: dict[str, Any] = {"resolution": _resolution(tables.resolution, tables.summary.images)}
    if report.dataset.task != "classify" and tables.summary.images:
        charts["background"] = _background(report)
    if tables.boxes is not None and any(map(any, tables.boxes.centre_heatmap)):
        charts["centres"] = _centres(tables.boxes)
    if tables.boxes is not None and tables.boxes.shapes:
        charts["shapes"] = _shapes(tables.boxes)
    if tables.co_occurrence:
        charts["together"] = _together(report)
    if len([row for row in tables.splits if row.instances]) > 1:
        charts["splits"] = {"title": _drift(report)}
    return charts


def _policy(report: Report) -> Policy:
    name, prior = report.run.options.get("policy"), report.run.options.get("prior")
    if name == "screening" and isinstance(prior, int | float):
        return screening(float(prior))
    default = POLICIES["none" if report.dataset.task == "classify" else "detector"]
    return next((policy for policy in POLICIES.values() if policy.name == name), default)


def _background(report: Report) -> dict[str, Any]:
    summary, policy = report.statistics.summary, _policy(report)
    share = summary.background_images / summary.images
    said = f"{wording.share(share)} of the images" if summary.background_images else "none"
    band = f"{policy.low * 100:.0f} to {policy.high * 100:.0f} %"
    if policy.name == "none":
        verdict = "and no policy says how many are wanted"
    elif share < policy.low:
        verdict = f"fewer than the {policy.name} policy wants ({band})"
    elif share > policy.high:
        verdict = f"more than the {policy.name} policy wants ({band})"
    else:
        verdict = f"within the {policy.name} policy ({band})"
    return {
        "title": f"Backgrounds: {said}, {verdict}",
        "note": "The policy is a convention that you choose with --policy, not a measured optimum."
        if policy.name != "none"
        else "--policy says which share of backgrounds is wanted.",
        "parts": [
            ["positive", summary.positive_images],
            ["background", summary.background_images],
            ["no label file", summary.unlabeled_images],
        ],
        "band": None if policy.name == "none" else [policy.name, policy.low, policy.high],
    }


def _resolution(resolution: Resolution, images: int) -> dict[str, Any] | None:
    width, height = resolution.width.median, resolution.height.median
    if width is None or height is None or not resolution.sizes:
        return None
    known = sum(size.images for size in resolution.sizes)
    source = "from the files' headers" if resolution.source == "files" else "as the labels say"
    first = resolution.sizes[0]
    if resolution.distinct == 1:
        title = f"{'All' if known == images else f'{known:,} of {images:,}'} images are {first.width:,} × {first.height:,} px"
    elif first.images * 2 >= known:
        title = (
            f"{wording.share(first.images / known)} of the images are {first.width:,} × {first.height:,} px; {resolution.distinct:,} sizes"
        )
    else:
        title = f"{resolution.distinct:,} image sizes around {wording.number(width)} × {wording.number(height)} px (medians)"
    merged = " Near sizes are drawn as one." if len(resolution.sizes) < resolution.distinct else ""
    return {
        "title": title,
        "note": f"{plural(known, 'image')}, {source}.{merged}"
        + (
            " Dashed: as many pixels as an input of that size, and the memory to train a ResNet-50 on it (estimate)."
            if resolution.memory
            else ""
        ),
        "assumes": resolution.memory[0].assumes if resolution.memory else "",
        "sizes": [[size.width, size.height, size.images] for size in resolution.sizes],
        "memory": [[row.input, row.batch, row.gib] for row in resolution.memory],
    }


def _shapes(boxes: Boxes) -> dict[str, Any]:
    bands = [("small", "under 32² px", boxes.small), ("medium", "32² to 96² px", boxes.medium), ("large", "96² px and more", boxes.large)]
    total = sum(n for *_, n in bands)
    name, span, n = max(bands, key=lambda band: band[2])
    return {
        "title": f"{wording.share(n / total)} of the boxes are {name}, {span}" if total else "No box has a known size",
        "note": "Size is the square root of width × height; bands as COCO counts them. Boxes without an area are not drawn.",
        "cells": [[cell.side, cell.aspect, cell.boxes] for cell in boxes.shapes],
        "bands": [list(band) for band in bands],
    }


def _centres(boxes: Boxes) -> dict[str, Any]:
    grid = boxes.centre_heatmap
    total = sum(map(sum, grid))
    fullest = sum(sorted((n for row in grid for n in row), reverse=True)[:10])
    return {
        "title": f"The fullest tenth of the image holds {wording.share(fullest / total)} of the box centres",
        "note": "10 % if boxes lay evenly. Each cell is a tenth of the width and height of the image.",
        "grid": [list(row) for row in grid],
    }


def _together(report: Report) -> dict[str, Any]:
    pairs = report.statistics.co_occurrence
    first = pairs[0]
    one, other = (_text(name, 40) for name in first.classes)
    names: dict[str, None] = {}
    for pair in pairs:
        if len(names | dict.fromkeys(pair.classes)) <= MATRIX:
            names |= dict.fromkeys(pair.classes)
    return {
        "title": f"{one} and {other} share {plural(first.images, 'image')}, more than any other pair",
        "note": "Images that hold both classes, the most frequent pairs. Lift: how many times more often than if the two were independent.",
        "names": [_name(name) for name in names],
        "pairs": [[_name(pair.classes[0]), _name(pair.classes[1]), pair.images, round(pair.lift, 3)] for pair in pairs],
    }


def _drift(report: Report) -> str:
    """Say which class differs most between two splits, by its share of their instances."""
    tables = report.statistics
    worst, said = 1.5, "The splits hold the classes in like shares"
    for row in tables.classes:
        if row.instances < _SPREAD_LEAST:
            continue
        pairs = zip(row.splits, tables.splits, strict=True)
        shares = [(count.instances / split.instances, _text(split.name, 20)) for count, split in pairs if split.instances]
        (low, few), (high, many) = min(shares), max(shares)
        times = high / low if low else math.inf
        if times > worst:
            worst = times
            than = (
                f"{wording.ratio(times).removesuffix(' : 1')} × as common in {many} as in {few}" if low else f"in {many} and not in {few}"
            )
            said = f"{_text(row.name, 40)} is {than}"
    return said


# How it was made ----------------------------------------------------------------------------------------------------


def _made(report: Report) -> dict[str, Any]:
    reasons: dict[str, list[str]] = {}
    for check in report.not_run:
        reasons.setdefault(_text(check.reason), []).append(_text(check.code, 20))
    return {
        "command": printable(_command(report)),
        "rows": [
            ["version", f"dataset-doctor {_text(report.version, 40)}"],
            ["format", f"{_text(wording.format_name(report))}, {_text(report.dataset.task, 40)}"],
            ["evidence", "; ".join(_text(reason, 400) for reason in report.dataset.evidence)],
            *([["corners", f"counted {_text(report.dataset.voc_origin, 40)}"]] if report.dataset.voc_origin else []),
            ["fingerprint", _text(report.dataset.fingerprint, 100)],
        ],
        "not_run": [[reason, codes] for reason, codes in reasons.items()],
    }


def _command(report: Report) -> str:
    """Write the command that makes this report again, without the absolute path of the dataset."""
    words = ["dataset-doctor", "audit", shlex.quote(wording.folder(report))]
    for option, value in report.run.options.items():
        name = option.replace("_", "-")
        if option == "pixels":
            words += [] if value else ["--no-pixels"]
        elif value is True:
            words.append(f"--{name}")
        elif value not in (None, False, "") and (option, value) != ("fail_on", "error"):
            words += [f"--{name}", shlex.quote(str(value))]
    return " ".join([*words, "-o", "report.html"])
