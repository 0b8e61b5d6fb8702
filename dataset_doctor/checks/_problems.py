"""How a check reports what the readers met: the problems of one kind, in file order."""

from __future__ import annotations

import dataclasses

from dataset_doctor.dataset import ProblemKind
from dataset_doctor.findings import Facts, Found, plural


def reported(facts: Facts, kind: ProblemKind, one: str, many: str) -> Found | None:
    """Report the problems of a kind; `one` and `many` say what is wrong with one and with several of them."""
    problems = facts.statistics.problems.get(kind, ())
    if not problems:
        return None
    places = [dataclasses.replace(problem.place, detail=problem.text) for problem in problems]
    return Found(len(problems), plural(len(problems), one, many), places=places)
