"""The gate: which findings fail a run, after a baseline of known ones and the suppressions a team wrote down with their reasons.

What shaped it:

* A finding is known by its check and the image (or file, class, split) it is in, with a count: lines and pointers shift with every edit.
* Nothing is hidden. A known or suppressed finding stays in the report and says so; it only does not count.
"""

from __future__ import annotations

import dataclasses
import fnmatch
import json
import re
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from functools import cached_property
from pathlib import Path
from typing import Annotated

import msgspec

from dataset_doctor.dataset import Dataset, FormatName, Place
from dataset_doctor.errors import UsageError
from dataset_doctor.files.progress import Notify, ignored
from dataset_doctor.files.reading import Unreadable, read_regular
from dataset_doctor.findings import Finding, PlaceState, Severity
from dataset_doctor.formats import FORMATS

SCHEMA = "dataset-doctor/baseline"
SCHEMA_VERSION = 1
MAX_BYTES = 256 << 20
"""A larger file is not read as a baseline; a million places take about 50 MiB."""

_IMAGES_NOTED = 16
_START_AFRESH = "Delete it and run again to accept what is found now, or name another file."


def failing(findings: Iterable[Finding], level: Severity) -> list[Finding]:
    """List the findings that fail a run: of this severity or above, not suppressed, and more of them than a baseline knows."""
    return [f for f in findings if f.severity.rank >= level.rank and f.suppressed is None and f.count > f.known]


# Suppressions -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Suppression:
    """Findings that a team decided to live with, and why.

    codes  the checks · files  patterns for the file or image of a place, where `*` also matches `/`; everywhere where empty
    until  the last day it holds; None for always
    """

    codes: frozenset[str]
    reason: str
    until: date | None = None
    files: tuple[str, ...] = ()

    def expired(self, today: date) -> bool:
        """Tell whether its last day is over."""
        return self.until is not None and self.until < today

    def covers(self, place: Place) -> bool:
        """Tell whether it applies to a place."""
        return not self.files or any(name is not None and self._pattern.match(name) is not None for name in (place.file, place.image))

    @cached_property
    def _pattern(self) -> re.Pattern[str]:
        return re.compile("|".join(map(fnmatch.translate, self.files)))


def in_force(suppressions: Iterable[Suppression], today: date, notify: Notify = ignored) -> list[Suppression]:
    """Leave out the suppressions whose last day is over, and say which."""
    rules = list(suppressions)
    for rule in rules:
        if rule.expired(today):
            notify(f"the suppression of {', '.join(sorted(rule.codes))} ended on {rule.until}: it counts again.", f"It said: {rule.reason}")
    return [rule for rule in rules if not rule.expired(today)]


# The baseline -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Baseline:
    """What is known to be wrong: for each code, how often in which image, file, class or split.

    `images` are the names of some images, to recognise the baseline of another dataset.
    """

    format: FormatName
    images: tuple[str, ...]
    known: Mapping[str, Mapping[str, int]]

    @property
    def total(self) -> int:
        """How many places it knows."""
        return sum(sum(counts.values()) for counts in self.known.values())

    def beyond(self, other: Baseline, codes: Collection[str]) -> int:
        """Count what it knows of some codes and another does not: what was fixed, where the other is the present state."""
        return sum(
            max(0, count - other.known.get(code, {}).get(name, 0))
            for code, counts in self.known.items()
            if code in codes
            for name, count in counts.items()
        )


def take(dataset: Dataset, findings: Iterable[Finding], suppressions: Sequence[Suppression] = ()) -> Baseline:
    """Note the findings that are not suppressed as known. They must list all their places."""
    known = {}
    for finding in findings:
        rules = [rule for rule in suppressions if finding.code in rule.codes]
        if any(not rule.files for rule in rules):
            continue
        counts = Counter(_name(place) for place in finding.locations if not any(rule.covers(place) for rule in rules))
        if (unplaced := finding.count - len(finding.locations)) > 0:
            counts[""] += unplaced
        if counts:
            known[finding.code] = counts
    names = sorted(map(_readable, dataset.images.file_name.tolist()))
    return Baseline(dataset.format, tuple(names[:: max(1, len(names) // _IMAGES_NOTED)][:_IMAGES_NOTED]), known)


def dump(baseline: Baseline, version: str) -> str:
    """Write a baseline as JSON: ASCII, sorted, one name a line, so that a change of it reads well; `version` is the tool's."""
    quote = json.encoder.encode_basestring_ascii
    codes = [
        f"{quote(code)}: {{\n" + ",\n".join(f"{quote(name)}: {count}" for name, count in sorted(counts.items())) + "\n}"
        for code, counts in sorted(baseline.known.items())
    ]
    head = [
        f'"schema": "{SCHEMA}"',
        f'"schema_version": {SCHEMA_VERSION}',
        f'"tool": {{"name": "dataset-doctor-vision", "version": {quote(version)}}}',
        f'"format": "{baseline.format}"',
        f'"images": {json.dumps(baseline.images)}',
    ]
    return "{\n" + ",\n".join(head) + ',\n"known": {' + ",\n".join(codes) + "}\n}\n"


class _Head(msgspec.Struct):
    schema: str = ""
    schema_version: int = 0


class _File(msgspec.Struct):
    format: FormatName
    images: list[str]
    known: dict[str, dict[str, Annotated[int, msgspec.Meta(ge=1)]]]


def load(path: Path) -> Baseline:
    """Read a baseline.

    Raises:
        UsageError: it cannot be read, is no baseline, or is one of another version.
    """
    content = _content(path)
    try:
        head = msgspec.json.decode(content, type=_Head)
        if head.schema != SCHEMA:
            raise UsageError(f"{path} is not a baseline.", "A baseline is written where `baseline` names a file that does not exist.")
        if head.schema_version != SCHEMA_VERSION:
            raise UsageError(f"{path} is a baseline of version {head.schema_version}; this program reads {SCHEMA_VERSION}.", _START_AFRESH)
        file = msgspec.json.decode(content, type=_File)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, MemoryError) as error:
        raise UsageError(f"{path} is not a baseline: {str(error)[:200] or 'it needs more memory than there is'}.", _START_AFRESH) from error
    if file.format not in FORMATS:
        raise UsageError(f"{path} is not a baseline: the format {file.format} is not known.", _START_AFRESH)
    return Baseline(file.format, tuple(file.images), file.known)


def _content(path: Path) -> bytes:
    try:
        return read_regular(path, MAX_BYTES)
    except Unreadable as error:
        raise UsageError(f"The baseline {path} cannot be read: {error}.", "Name another file, or remove it to start afresh.") from error


def check_same_dataset(baseline: Baseline, dataset: Dataset, path: Path) -> None:
    """Refuse a baseline that was taken of something else, for it would know nothing; `path` is where it was read from.

    Label files are no evidence: every YOLO dataset has a `data.yaml`.

    Raises:
        UsageError: it is of another format, or names no image that the dataset has.
    """
    if baseline.format != dataset.format:
        raise UsageError(
            f"{path} is the baseline of another dataset: its format is {baseline.format}, not {dataset.format}.", _START_AFRESH
        )
    if not baseline.known or not baseline.images:
        return
    named = set(baseline.images).union(*baseline.known.values())
    if named.isdisjoint(map(_readable, dataset.images.file_name.tolist())):
        raise UsageError(f"{path} is the baseline of another dataset: none of the images it names is in this one.", _START_AFRESH)


def _name(place: Place) -> str:
    return _readable(place.image or place.file or place.class_name or place.split or "")


def _readable(name: str) -> str:
    """Write bytes that are not UTF-8 as visible escapes: a strict JSON reader refuses them."""
    return name if name.isascii() else name.encode("utf-8", "backslashreplace").decode("utf-8")


# Judging ------------------------------------------------------------------------------------------------------------


def judge(
    findings: Iterable[Finding],
    *,
    baseline: Baseline | None = None,
    suppressions: Sequence[Suppression] = (),
    locations: int | None = None,
) -> tuple[Finding, ...]:
    """Mark in each finding what is known and what is suppressed, and cut its places to a number; places that count come first to stay.

    Args:
        findings: They must list all their places, where a baseline or a suppression of some files is given.
        baseline: What is known; None to compare with nothing.
        suppressions: Those that hold today.
        locations: How many places to keep, in file order; None for all.
    """
    return tuple(_judged(f, baseline, [rule for rule in suppressions if f.code in rule.codes], locations) for f in findings)


def _judged(finding: Finding, baseline: Baseline | None, rules: Sequence[Suppression], limit: int | None) -> Finding:
    everywhere = [rule.reason for rule in rules if not rule.files]
    if everywhere or (baseline is None and not rules):
        reason = everywhere[0] if everywhere else None
        return dataclasses.replace(finding, locations=finding.locations[:limit], suppressed=reason)
    unplaced = max(0, finding.count - len(finding.locations))
    reasons = [next((rule.reason for rule in rules if rule.covers(place)), None) for place in finding.locations] if rules else []
    if reasons and None not in reasons and not unplaced:
        reason = "; ".join(dict.fromkeys(filter(None, reasons)))
        return dataclasses.replace(finding, locations=finding.locations[:limit], suppressed=reason)
    states, unplaced_known = _states(finding, baseline, reasons, unplaced)
    counting = [at for at, state in enumerate(states) if state not in ("known", "suppressed")]
    # Where a defect has several places, as a group of duplicates has, one new place makes one new defect at most.
    known = max(0, finding.count - len(counting) - (unplaced - unplaced_known))
    shown = list(range(len(states)))
    if limit is not None and limit < len(states):
        others = (at for at, state in enumerate(states) if state in ("known", "suppressed"))
        shown = sorted([*counting, *others][:limit])
    return dataclasses.replace(
        finding, known=known, locations=tuple(finding.locations[at] for at in shown), states=tuple(states[at] for at in shown)
    )


def _states(
    finding: Finding, baseline: Baseline | None, reasons: Sequence[str | None], unplaced: int
) -> tuple[list[PlaceState | None], int]:
    """Say of each place how it stands, in file order, and how many of the defects without a place are known."""
    left = dict(baseline.known.get(finding.code, {})) if baseline else {}
    states: list[PlaceState | None] = []
    for at, place in enumerate(finding.locations):
        if reasons and reasons[at] is not None:
            states.append("suppressed")
        elif baseline is None:
            states.append(None)
        elif left.get(name := _name(place), 0) > 0:
            left[name] -= 1
            states.append("known")
        else:
            states.append("new")
    return states, min(unplaced, left.get("", 0))
