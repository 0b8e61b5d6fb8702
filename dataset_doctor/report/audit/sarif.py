"""The report as SARIF 2.1.0, the form in which code scanning services take the results of a linter.

What GitHub does with it is in its documentation, "SARIF support for code scanning": it shows 5,000 results of a run, joins results of two
runs by `primaryLocationLineHash`, and reads relative paths from the root of the repository.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any
from urllib.parse import quote

from dataset_doctor.checks import CHECKS
from dataset_doctor.dataset import Place
from dataset_doctor.findings import Finding, Severity
from dataset_doctor.report import wording
from dataset_doctor.report.record import Report
from dataset_doctor.report.text import printable

SCHEMA = "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"

MAX_RESULTS = 5000
"""GitHub shows no more, and refuses a run with more than 25,000."""

_TEXT_MAX = 1000
"""GitHub cuts descriptions at 1,024 characters."""

_LEVELS = {Severity.ERROR: "error", Severity.WARNING: "warning", Severity.INFO: "note"}
_PROBLEM_SEVERITIES = {Severity.ERROR: "error", Severity.WARNING: "warning", Severity.INFO: "recommendation"}


def sarif(report: Report) -> str:
    """Write one result a place, the errors first; what has no place is one result.

    Paths are relative to the repository that the dataset lies in, else to the dataset. Times and the host are left out.
    """
    findings = wording.ranked(report)
    base = _path_in_repository(report.run.root)
    results = list(islice(_results(findings, base), MAX_RESULTS))
    run = {
        "tool": {
            "driver": {
                "name": "dataset-doctor",
                "semanticVersion": _semantic(report.version),
                "version": printable(report.version),
                "rules": [_rule(finding) for finding in findings],
            }
        },
        "automationDetails": {"id": f"dataset-doctor/{_uri(base or wording.folder(report))}/"},
        "columnKind": "unicodeCodePoints",
        "invocations": [
            {
                "executionSuccessful": True,
                "toolExecutionNotifications": [
                    {
                        "level": "warning",
                        "message": {"text": _message(f"{check.code} could not run: {check.reason}")},
                        "descriptor": {"id": printable(check.code)},
                    }
                    for check in report.not_run
                ],
            }
        ],
        "results": results,
        "properties": {
            "format": report.dataset.format,
            "fingerprint": report.dataset.fingerprint,
            "images": report.statistics.summary.images,
            "annotations": report.statistics.summary.annotations,
            "instances": report.statistics.summary.instances,
            "findings": {printable(f.code): {"count": f.count, "known": f.known, "locationsTotal": f.locations_total} for f in findings},
            "resultsLeftOut": sum(max(1, finding.locations_total) for finding in findings) - len(results),
        },
    }
    return json.dumps({"$schema": SCHEMA, "version": "2.1.0", "runs": [run]}, indent=1, allow_nan=False) + "\n"


def _semantic(version: str) -> str:
    """Give a version in three numbers, as semantic versioning wants it."""
    numbers = [*re.findall(r"\d+", version)[:3], "0", "0", "0"][:3]
    return ".".join(numbers)


# Rules --------------------------------------------------------------------------------------------------------------


def _rule(finding: Finding) -> dict[str, Any]:
    check = next((check for check in CHECKS if check.code == finding.code), None)
    severity = check.severity if check else finding.severity
    page = check.page.removeprefix("Flag ") if check else printable(finding.message)
    summary, *paragraphs = [" ".join(paragraph.split()) for paragraph in re.split(r"\n\n|\n(?=\* )", page)]
    summary = summary[:1].upper() + summary[1:]
    return {
        "id": printable(finding.code),
        "name": printable(finding.name),
        "shortDescription": {"text": _plain(summary)},
        "fullDescription": {"text": _plain(" ".join([summary, *paragraphs[:1]]))},
        "help": {"text": _plain("\n\n".join([summary, *paragraphs]), None)}
        | ({"markdown": "\n\n".join([summary, *paragraphs])} if check else {}),
        "defaultConfiguration": {"level": _LEVELS[severity]},
        "properties": {"tags": ["dataset"], "problem.severity": _PROBLEM_SEVERITIES[severity], "precision": "very-high"},
    }


def _plain(text: str, limit: int | None = _TEXT_MAX) -> str:
    """Take the marks of Markdown off one of our own texts."""
    lines = (printable(line) for line in re.sub(r"\*\*|`", "", text).split("\n"))
    return _escaped("\n".join(lines)[:limit])


# Results ------------------------------------------------------------------------------------------------------------


def _results(findings: Sequence[Finding], base: str) -> Iterator[dict[str, Any]]:
    for rule_index, finding in enumerate(findings):
        seen: Counter[str] = Counter()
        states = finding.states or (None,) * len(finding.locations)
        for place, state in zip(finding.locations or (Place(),), states or (None,), strict=True):
            identity = _identity(finding, place)
            seen[identity] += 1
            result: dict[str, Any] = {
                "ruleId": printable(finding.code),
                "ruleIndex": rule_index,
                "level": _LEVELS[finding.severity],
                "message": {"text": _text(finding, place)},
                "locations": [_location(place, base)],
                "partialFingerprints": {"primaryLocationLineHash": f"{identity}:{seen[identity]}"},
            }
            if state in ("new", "known"):
                result["baselineState"] = "new" if state == "new" else "unchanged"
            if finding.suppressed is not None:
                result["suppressions"] = [{"kind": "external", "justification": _message(finding.suppressed)}]
            elif state == "suppressed":
                result["suppressions"] = [{"kind": "external", "justification": "Suppressed for this file in the configuration."}]
            yield result


def _identity(finding: Finding, place: Place) -> str:
    """Hash what stays when lines move: the check, the image or file, the class and the record's own id."""
    parts = (finding.code, place.image or place.file or "", place.class_name or "", place.annotation_id, place.split or "")
    return hashlib.sha256("\0".join(map(str, parts)).encode("utf-8", "backslashreplace")).hexdigest()[:16]


def _text(finding: Finding, place: Place) -> str:
    """Say what is wrong at one place, then what the finding says of all."""
    about = [f"class {place.class_name}"] if place.class_name else []
    about += [f"image {place.image}"] if place.image and place.image != place.file else []
    about += [f"at {place.pointer}"] if place.pointer else []
    about += [place.detail] if place.detail else []
    name = finding.name.replace("-", " ").capitalize()
    here = f"{name}: {', '.join(part[:_TEXT_MAX] for part in about)}" if about else name
    return _message(f"{here}. In all: {finding.message[:_TEXT_MAX]}.")


def _location(place: Place, base: str) -> dict[str, Any]:
    name = (place.file or place.image or "").lstrip("/")
    path = "/".join(part for part in (base, name) if part) or "."
    location: dict[str, Any] = {
        "physicalLocation": {
            "artifactLocation": {"uri": _uri(path), "uriBaseId": "%SRCROOT%"},
            "region": {"startLine": max(1, place.line or 1)},
        }
    }
    if place.pointer:
        location["logicalLocations"] = [{"fullyQualifiedName": printable(place.pointer), "kind": "member"}]
    elif not name and place.class_name:
        location["logicalLocations"] = [{"name": printable(place.class_name), "kind": "type"}]
    return location


def _path_in_repository(root: str) -> str:
    """Give the path from the repository's root, where a `.git` is, to the dataset; empty where there is none."""
    folder = Path(os.path.abspath(root))
    folder = folder if folder.is_dir() else folder.parent
    for above in (folder, *folder.parents):
        if os.path.lexists(above / ".git"):
            return "" if above == folder else folder.relative_to(above).as_posix()
    return ""


def _uri(path: str) -> str:
    """Write a path as a relative URI; the bytes of a name that is not UTF-8 stay the bytes they are."""
    try:
        return quote(path.encode("utf-8", "surrogateescape"))
    except UnicodeEncodeError:
        return quote(printable(path))


def _message(text: str) -> str:
    return _escaped(printable(text[: 3 * _TEXT_MAX]))


def _escaped(text: str) -> str:
    """Keep a text from being read as a link or a placeholder (SARIF 2.1.0, 3.11.5 and 3.11.6)."""
    return re.sub(r"[\\\[\]]", r"\\\g<0>", text).replace("{", "{{").replace("}", "}}")
