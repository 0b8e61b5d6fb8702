"""A verdict on a terminal: the answer first, then arms, classes and what they cost; readable at 80 columns, without colour and in ASCII."""

from __future__ import annotations

from pathlib import Path

from rich.console import Console
from rich.text import Text

from dataset_doctor.findings import plural
from dataset_doctor.report.page import QUIET, STRONG, Page, column, pad
from dataset_doctor.report.text import cells
from dataset_doctor.report.verdict import words
from dataset_doctor.report.wording import duration
from dataset_doctor.verdict import ArmVerdict, Verdict

_NAME_CELLS, _CLASSES_SHOWN = 28, 12
_METRICS = ("balanced_accuracy", "accuracy", "macro_f1", "map", "ap50", "ap75")
_STYLE = {"helped": "bold green", "hurt": "bold red", "no evidence": "yellow", "cannot verify": QUIET}


def show(verdict: Verdict, console: Console, *, name: str) -> None:
    """Print the verdict: one line an arm, then what it rests on, and the classes that were told apart.

    Args:
        verdict: What was found.
        console: Where to print; its width and encoding are obeyed.
        name: The dataset as the user typed it.
    """
    page = Page.of(console)
    page.show(console, [_head(page, verdict, name), answers(page, verdict), _arms(page, verdict), _classes(page, verdict),
                        _facts(page, verdict)])  # fmt: skip


def _head(page: Page, verdict: Verdict, name: str) -> list[Text]:
    what = page.clean(f"  ·  {words.effort(verdict)}")
    title = page.shorten_path(Path(name).name or Path(name).resolve().name, max(page.width - 1 - cells(what), 12))
    return [Text.assemble(" ", (title, STRONG), page.shorten(what, page.width - 1 - cells(title)))]


def answers(page: Page, verdict: Verdict) -> list[Text]:
    """Say in a line an arm whether it helped, and by how much."""
    lines = []
    treated = words.treated(verdict)
    name_cells = min(max((cells(page.clean(arm.name)) for arm in treated), default=0), _NAME_CELLS)
    gains = [words.points(arm.difference) for arm in treated if arm.difference is not None]
    of = f" of {words.metric_name(verdict.metric)}"
    fits = 1 + name_cells + 15 + max(map(len, gains), default=0) + cells(page.clean(of)) <= page.width
    for arm, gain in zip(treated, gains, strict=True):
        assert arm.verdict is not None
        label = pad(page.shorten(arm.name, name_cells), name_cells)
        said = page.shorten(gain + (of if fits else ""), page.width - 16 - name_cells)
        lines.append(Text.assemble(f" {label}  ", (f"{arm.verdict:<11}", _STYLE[arm.verdict]), "  ", said))
    return lines


def _arms(page: Page, verdict: Verdict) -> list[Text]:
    """Lay out the metrics and the cost of each arm."""
    arms = verdict.arms
    names = [name for name in arms[0].metrics if name in _METRICS] or list(arms[0].metrics)[:3]
    figures = [
        column(words.metric_name(name), [words.percent(of.mean) if (of := arm.metrics.get(name)) else "" for arm in arms]) for name in names
    ]
    if any(arm.cost.train_seconds for arm in arms):
        figures.append(column("training", [duration(arm.cost.train_seconds) for arm in arms]))
    if len({arm.cost.parameters for arm in arms}) > 1:
        figures.append(column("parameters", [f"{arm.cost.parameters / 1e6:.1f} M" for arm in arms]))
        figures.append(column("one image", [f"{arm.cost.latency_ms:.1f} ms" for arm in arms]))
    while len(figures) > 1 and sum(2 + cells(values[0]) for values in figures) > page.width - 17:
        figures.pop(1)
    taken = sum(2 + cells(values[0]) for values in figures)
    name_cells = min(max(cells(page.clean(arm.name)) for arm in arms), _NAME_CELLS, page.width - 1 - taken)
    head, *body = ["".join(f"  {values[at]}" for values in figures) for at in range(len(arms) + 1)]
    lines = [Text(f" {pad('arm', name_cells)}{page.clean(head)}", QUIET)]
    lines += [Text(f" {pad(page.shorten(arm.name, name_cells), name_cells)}{page.clean(row)}") for arm, row in zip(arms, body, strict=True)]
    return lines


def _classes(page: Page, verdict: Verdict) -> list[Text]:
    """Name the classes that an arm helped or hurt."""
    told = words.told_apart(verdict)
    lines = []
    for arm, c in told[:_CLASSES_SHOWN]:
        assert c.difference is not None
        label = pad(page.shorten(arm.name, 20), min(max(cells(page.clean(a.name)) for a, _ in told), 20))
        said = f"{c.name}: {words.points(c.difference)}"
        lines.append(
            Text.assemble(f" {label}  ", (f"{c.verdict:<11}", _STYLE[c.verdict]), "  ", page.shorten(said, page.width - cells(label) - 16))
        )
    if len(told) > _CLASSES_SHOWN:
        lines.append(Text(page.clean(f" … {len(told) - _CLASSES_SHOWN:,} more with -o verdict.html"), QUIET))
    return lines


def _facts(page: Page, verdict: Verdict) -> list[Text]:
    intervals = [f"{verdict.confidence * 100:.0f} % intervals over seeds and test images"]
    if verdict.detectable_difference is not None:
        intervals.append(words.detectable(verdict).removesuffix(".").replace("A true", "a true"))
    rows = [
        ("model", _said(words.model_choice(verdict))),
        ("ensemble", _said(words.best_ensemble(verdict))),
        ("more data", _said(words.more_data(verdict))),
        ("tuned", words.best_parameters(verdict)),
        ("groups", [phrase for arm in verdict.arms for phrase in _groups(arm)]),
        ("unsure", _unsure(verdict.arms)),
        ("rests on", intervals),
        ("note", [*verdict.notes, *(f"{arm.name}: {note}" for arm in verdict.arms for note in arm.notes)]),
    ]
    return page.facts(rows)


def _groups(arm: ArmVerdict) -> list[str]:
    return [f"{arm.name}, {words.group_said(name, group)}" for name, group in arm.groups.items()]


def _said(sentence: str) -> list[str]:
    return [sentence.removesuffix(".")] if sentence else []


def _unsure(arms: tuple[ArmVerdict, ...]) -> list[str]:
    few = [c.name for c in arms[0].classes if c.verdict == "cannot verify"]
    if not few:
        return []
    shown = ", ".join(few[:5]) + (f" and {len(few) - 5:,} more" if len(few) > 5 else "")
    return [f"{plural(len(few), 'class', 'classes')} with too few test instances to verify: {shown}"]
