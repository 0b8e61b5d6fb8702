"""What treats each finding: a recommended command, or what a person has to do and why no program can."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence

from dataset_doctor.checks import find_check
from dataset_doctor.findings import Check, Finding, Recommendation, Safety, Severity, Treatment, TreatmentKind

OF_ACTION: dict[str, TreatmentKind] = {
    "resplit": "split",
    "oversample": "rebalance",
    "undersample": "rebalance",
    "repeat_factor": "rebalance",
    "remove_background": "rebalance",
    "add_background": "collect",
    "augment": "rebalance",
    "weights": "weights",
    "collect": "collect",
}
"""What kind of treatment a recommended action is; the others leave that to the check."""

BY_HAND: dict[TreatmentKind, str] = {
    "split": "Move whole groups of images between the splits by hand, or collect more; the command split cannot do it with these images",
    "rebalance": "Collect images of the rare classes; showing those that are here more often would not change it",
    "weights": "Collect images of the rare classes; no weight makes up for what is not here",
    "collect": "Collect and label more images, or leave the class out; no program can make new ones",
}
"""What to do where no command treats a finding; for "fix" and "none" the page of the check says it."""

NO_PROGRAM: dict[Safety | None, str] = {
    "safe": "this is done by hand, since no command edits labels",
    "unsafe": "no program can choose for you: something would be lost or guessed",
    None: "no program knows what is right, or bring back what is missing",
}
"""Why a person has to do it, by what a fix would risk."""


def treated(findings: Iterable[Finding], recommendations: Sequence[Recommendation]) -> list[Finding]:
    """Say of each finding what treats it.

    Args:
        findings: What the audit found.
        recommendations: What it recommends, with their ids.
    """
    return [dataclasses.replace(finding, treatment=_treatment(finding, recommendations)) for finding in findings]


def _treatment(finding: Finding, recommendations: Sequence[Recommendation]) -> Treatment:
    check = find_check(finding.code)
    addressing = [r for r in recommendations if finding.code in r.addresses]
    by_command = next((r for r in addressing if r.command is not None), None)
    chosen = by_command or next(iter(addressing), None)
    kind = check.treatment
    if chosen is not None and (by_command is not None or kind in ("rebalance", "weights")):
        kind = OF_ACTION.get(chosen.action, kind)
    safety = check.safety if kind == "fix" else None
    why = None if by_command is not None else _why(finding, check, kind)
    return Treatment(kind, safety, None if chosen is None else chosen.id, why)


def _why(finding: Finding, check: Check, kind: TreatmentKind) -> str:
    """Say in one sentence what a person has to do, and why no program can."""
    remedy = check.remedy.rstrip(".")
    if remedy.startswith(("Nothing", "Usually nothing")):
        return f"{remedy}."
    if kind == "split" and finding.severity is Severity.INFO:
        return f"{remedy}; no program can decide whether that is worth new splits, which make old scores useless."
    return f"{BY_HAND[kind] if kind in BY_HAND else f'{remedy}; {NO_PROGRAM[check.safety]}'}."
