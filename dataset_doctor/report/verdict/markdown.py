"""The verdict as GitHub Markdown, short enough for a comment on a pull request. No text of the dataset becomes markup."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from dataset_doctor.report.audit.markdown import code, table, text
from dataset_doctor.report.text import shorten
from dataset_doctor.report.verdict import words
from dataset_doctor.report.wording import duration
from dataset_doctor.verdict import Interval, Verdict

_ARMS, _CLASSES, _METRICS, _NOTES = 30, 20, 3, 20
_MARKS = {"helped": "▲ helped", "hurt": "▼ hurt"}
_NAME_CELLS = 80


def verdict_markdown(verdict: Verdict, root: str) -> str:
    """Write the verdict: the answer, the arms, groups and classes that were told apart, what was looked at besides, and notes.

    Args:
        verdict: What `verify` gave.
        root: The dataset's folder, whose name is the heading.
    """
    first, *more = words.answer(verdict)
    besides = [words.model_choice(verdict), words.best_ensemble(verdict), words.more_data(verdict)]
    named = [f"- **{what}**: {text(said)}" for what, said in zip(("model", "ensemble", "more data"), besides, strict=True) if said]
    named += [f"- **tuned**: {text(said)}" for said in words.best_parameters(verdict)]
    notes = [*verdict.notes, *(f"{arm.name}: {note}" for arm in verdict.arms for note in arm.notes)]
    few = sum(c.verdict == "cannot verify" for c in verdict.arms[0].classes) if verdict.arms else 0
    has = "has" if few == 1 else "have"
    unsure = [f"{few:,} of {len(verdict.arms[0].classes):,} classes {has} too few test instances to verify."] if few else []
    blocks = [
        "<!-- dataset-doctor verdict -->",
        f"# {text(Path(root).resolve().name or root)}",
        text(words.effort(verdict)),
        " ".join([f"**{text(first)}**", *map(text, more)]),
        *_arms(verdict),
        *_groups(verdict),
        *_classes(verdict),
        *(["\n".join(named)] if named else []),
        *_listed("Notes", [*unsure, *notes]),
        f"{verdict.confidence * 100:.0f} % intervals over seeds and test images.",
    ]
    return "\n\n".join(blocks) + "\n"


def _arms(verdict: Verdict) -> list[str]:
    if not verdict.arms:
        return []
    metrics = [name for name in words.METRICS if name in verdict.arms[0].metrics] or list(verdict.arms[0].metrics)
    metrics = [verdict.metric, *(name for name in metrics if name != verdict.metric)][:_METRICS]
    head = ["arm", "verdict", "difference, points", *(text(words.metric_name(name)) for name in metrics), "training", "parameters"]
    rows = [
        [
            _named(arm.name),
            _MARKS.get(arm.verdict or "", arm.verdict or "baseline"),
            _gap(arm.difference),
            *(words.percent(of.mean) if (of := arm.metrics.get(name)) else "" for name in metrics),
            duration(arm.cost.train_seconds) if arm.cost.train_seconds else "",
            f"{arm.cost.parameters / 1e6:.2f} M" if arm.cost.parameters else "",
        ]
        for arm in verdict.arms[:_ARMS]
    ]
    return [table(head, rows, numbers_from=2), *_left_out(len(verdict.arms) - _ARMS, "arms")]


def _groups(verdict: Verdict) -> list[str]:
    rows = [
        [_named(arm.name), key, group.verdict, f"{group.classes:,}", "" if group.verdict == "cannot verify" else _gap(group.difference)]
        for arm in words.treated(verdict)[:_ARMS]
        for key, group in arm.groups.items()
    ]
    heading = "Classes by the number of their training images: rare up to 10, common up to 100, frequent more."
    return [heading, table(["arm", "group", "verdict", "classes", "difference, points"], rows, numbers_from=3)] if rows else []


def _classes(verdict: Verdict) -> list[str]:
    told = words.told_apart(verdict)
    if not told:
        return ["No class was told apart by itself."] if words.treated(verdict) else []
    rows = [
        [_named(arm.name), _named(c.name), _MARKS[c.verdict], _gap(c.difference), f"{c.test_instances:,}"] for arm, c in told[:_CLASSES]
    ]
    head = ["arm", "class", "verdict", "difference, points", "test instances"]
    return [table(head, rows, numbers_from=3), *_left_out(len(told) - _CLASSES, "classes")]


def _listed(heading: str, sentences: Sequence[str]) -> list[str]:
    if not sentences:
        return []
    return [
        f"{heading}:",
        "\n".join(f"- {text(shorten(one, 400))}" for one in sentences[:_NOTES]),
        *_left_out(len(sentences) - _NOTES, "notes"),
    ]


def _left_out(n: int, what: str) -> list[str]:
    return [f"{n:,} more {what}: `-o verdict.html` lists them."] if n > 0 else []


def _named(name: str) -> str:
    return code(shorten(name, _NAME_CELLS))


def _gap(difference: Interval | None) -> str:
    return "" if difference is None else words.points(difference, "")
