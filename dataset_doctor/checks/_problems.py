"""How a check reports what the readers met: the problems of one kind, in file order."""

from __future__ import annotations

from dataset_doctor.dataset import ProblemKind
from dataset_doctor.findings import Facts, Found, plural


def reported(facts: Facts, kind: ProblemKind, one: str, many: str) -> Found | None:
    """Report the problems of a kind; `one` and `many` say what is wrong with one and with several of them."""
    problems = facts.statistics.problems.get(kind, ())
    if not problems:
        return None
    count = sum(problem.count for problem in problems)
    return Found(count, plural(count, one, many), problems=problems)
