"""The report on a terminal or in a log file: readable at 80 columns, without colour and in ASCII."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.text import Text

from dataset_doctor.dataset import Place
from dataset_doctor.findings import Finding, Report, Severity
from dataset_doctor.report import wording
from dataset_doctor.report.page import COMMAND, QUIET, STRONG, Page, column, pad
from dataset_doctor.report.text import cells, printable, shorten, wrap
from dataset_doctor.statistics import ClassRow, SplitRow

_FINDINGS_SHOWN = 12
_CLASSES_SHOWN, _HEAD, _TAIL = 14, 8, 5
_SPLIT_COLUMNS = 4
_NAME_CELLS = 28
_BAR_CELLS, _SHORT_BAR = 16, 8

_SEVERITY_STYLE = {Severity.ERROR: "bold red", Severity.WARNING: "bold yellow", Severity.INFO: "cyan"}


def show(report: Report, console: Console, *, name: str) -> None:
    """Print the report: verdict, findings, classes and figures, with the commands that lead on.

    Every line fits the console (40 columns at least); text of the dataset is shown escaped and never as markup.

    Args:
        report: What an audit gave.
        console: Where to print; its width and encoding are obeyed.
        name: The path of the dataset as the user typed it: its last part heads the report, the whole stands in the commands.
    """
    page = Page.of(console)
    findings = wording.ranked(report)
    blocks = [
        _head(page, report, Path(name).name or Path(name).resolve().name),
        _verdict(page, report),
        _findings(page, report, findings),
        _classes(page, report),
        _facts(page, report),
        _next(page, report, findings, name),
    ]
    page.show(console, blocks)


# Head and verdict ---------------------------------------------------------------------------------------------------


def _head(page: Page, report: Report, name: str) -> list[Text]:
    size, took = page.clean(wording.size(report)), wording.duration(report.run.seconds)
    dot = page.clean("  ·  ")
    name = page.clean(name)
    for variant in (True, False):
        kind = page.shorten(wording.format_name(report, variant=variant), 30)
        room = page.width - cells(f" {dot}{kind}{dot}{size}  {took}")
        if room >= min(cells(name), 12 if not variant else cells(name)):
            line = Text.assemble(" ", (page.shorten_left(name, room), STRONG), dot, kind, dot, size)
            return [page.ends(line, took)]
    room = page.width - cells(f" {dot}{kind}  {took}")
    line = Text.assemble(" ", (page.shorten_left(name, room), STRONG), dot, kind)
    return [page.ends(line, took), *(Text(f" {part}") for part in wrap(size, page.width - 1))]


def _verdict(page: Page, report: Report) -> list[Text]:
    worst = report.worst()
    line = Text.assemble((" Verdict", STRONG))
    lines = [line]
    for at, sentence in enumerate(wording.verdict(report)):
        if cells(line.plain) + 2 + len(sentence) > page.width:
            line = Text(" " * 8)
            lines.append(line)
        style = "" if at else "bold green" if worst is None else _SEVERITY_STYLE[worst]
        line.append("  ").append(sentence, style)
    return lines


# Findings -----------------------------------------------------------------------------------------------------------


def _findings(page: Page, report: Report, findings: Sequence[Finding]) -> list[Text]:
    shown = findings[:_FINDINGS_SHOWN]
    rank_cells = len(str(len(shown)))
    margin = 1 + rank_cells + 2 + 7 + 2
    room = page.width - margin
    told: dict[str, int] = {}
    lines = []
    for rank, finding in enumerate(shown, 1):
        code = page.clean(finding.code)
        message = page.wrapped(wording.said(finding), room - len(code) - 2)
        severity = finding.severity.value
        start = Text.assemble(f" {rank:>{rank_cells}}  ", (f"{severity:<7}", _SEVERITY_STYLE[finding.severity]), "  ", (message[0], STRONG))
        lines.append(page.ends(start, code))
        lines += [Text.assemble(" " * margin, (line, STRONG)) for line in message[1:]]
        if finding.locations:
            place = _place(page, finding.locations[0], finding.locations_total - 1, room)
            lines += [Text.assemble(" " * margin, (place, QUIET))] if place.strip() else []
        lines += _advice(page, report, finding, rank, told, margin)
    hidden = findings[_FINDINGS_SHOWN:]
    if hidden:
        more = page.clean(f"… {len(hidden):,} more ({wording.counted(hidden)}): -o report.md")
        lines.append(Text.assemble(" " * margin, (more, QUIET)))
    return lines


def _place(page: Page, place: Place, others: int, width: int) -> str:
    more = page.clean(f"  … and {others:,} more") if others > 0 else ""
    width -= cells(more)
    notes = [page.clean(note) for note in wording.place_notes(place)]
    wanted = sum(2 + cells(note) for note in notes)
    name = page.shorten_left(wording.place_name(place), max(width - wanted, width * 3 // 5))
    line = name
    for note in notes:
        room = width - cells(line) - 2
        if not line:
            line = shorten(note, width, page.ellipsis)
        elif room >= min(8, cells(note)):
            line += "  " + shorten(note, room, page.ellipsis)
    return line + more


def _advice(page: Page, report: Report, finding: Finding, rank: int, told: dict[str, int], margin: int) -> list[Text]:
    """Give the command that treats a finding, and what it would bring; for a second finding, where it was given."""
    recommendation = wording.recommended(report, finding.code)
    if recommendation is None:
        return []
    arrow = " " * margin + page.clean("→ ")
    if recommendation.id in told:
        return [Text(f"{arrow}as for {told[recommendation.id]}", QUIET)]
    told[recommendation.id] = rank
    lines = page.command(recommendation.command or "", Text(arrow))
    indent = " " * cells(arrow)
    room = page.width - len(indent)
    note = "  (predicted)"
    changes = [f"{page.shorten(name, 12)} {page.clean(change)}" for name, change in wording.predicted(recommendation)]
    if cells(", ".join(changes)) > room - len(note):
        changes = changes[:1]
    if changes:
        lines.append(Text.assemble(indent, shorten(", ".join(changes), room - len(note), page.ellipsis), (note, QUIET)))
    return lines


# Classes ------------------------------------------------------------------------------------------------------------


def _classes(page: Page, report: Report) -> list[Text]:
    """Lay out the class table; what does not fit goes in this order: long names, the bar, the splits, the share."""
    tables = report.statistics
    rows = sorted(tables.classes, key=lambda row: (-row.instances, row.index))
    if not rows:
        return []
    all_shown = len(rows) <= _CLASSES_SHOWN
    shown = rows if all_shown else rows[:_HEAD] + rows[-_TAIL:]
    names = [page.clean(row.name) or '""' for row in shown]
    name_wanted = min(max(cells(name) for name in [*names, "class"]), _NAME_CELLS)
    splits = tables.splits if 1 < len(tables.splits) <= _SPLIT_COLUMNS else ()
    counts = [column("images", [f"{row.images:,}" for row in shown])]
    if report.dataset.format != "folder":
        counts.append(column("instances", [f"{row.instances:,}" for row in shown]))
    shares = [column("share", [wording.share(row.share) for row in shown])]
    in_splits = [_split_column(page, at, split, shown) for at, split in enumerate(splits)]
    for columns, bar in (
        (counts + shares + in_splits, True),
        (counts + shares + in_splits, False),
        (counts + shares, True),
        (counts + shares, False),
        (counts, False),
    ):
        room = page.width - 1 - sum(2 + cells(column[0]) for column in columns) - (2 + _SHORT_BAR) * bar
        if room >= min(name_wanted, 16):
            break
    name_cells = min(name_wanted, room)
    bar_cells = min(_BAR_CELLS, _SHORT_BAR + room - name_cells) if bar else 0
    head, *body = ["".join(f"  {column[at]}" for column in columns) for at in range(len(shown) + 1)]
    lines = [Text(f" {pad('class', name_cells)}{head}", QUIET)]
    most = max(rows[0].instances, 1)
    for row, name, figures in zip(shown, names, body, strict=True):
        label = pad(shorten(name, name_cells, page.ellipsis), name_cells)
        drawn = f"  {page.bar(row.instances / most, bar_cells)}" if bar and row.instances else ""
        lines.append(Text.assemble(f" {label}{figures}", (drawn, "blue")))
    if not all_shown:
        more = page.clean(f" … {len(rows) - len(shown):,} more in -o classes.csv")
        lines.insert(1 + _HEAD, Text(more, QUIET))
    return lines


def _split_column(page: Page, at: int, split: SplitRow, rows: Sequence[ClassRow]) -> list[str]:
    return column(page.shorten(split.name, 10), [f"{row.splits[at].instances:,}" for row in rows])


# Facts and what next ------------------------------------------------------------------------------------------------


def _facts(page: Page, report: Report) -> list[Text]:
    facts = wording.facts(report)
    if report.recommendations:
        actions = dict.fromkeys(recommendation.action.replace("_", " ") for recommendation in report.recommendations)
        facts.append(("advice", [*actions, "details: -o report.md"]))
    return page.facts(facts)


def _next(page: Page, report: Report, findings: Sequence[Finding], name: str) -> list[Text]:
    commands = [f"dataset-doctor explain {findings[0].code}"] if findings else []
    given = ((option, report.run.options.get(option)) for option in ("format", "images", "classes"))
    read = [word for option, value in given if value for word in (f"--{option}", printable(str(value)))]
    commands.append(shlex.join(["dataset-doctor", "audit", printable(name), *read, "-o", "report.json"]))
    room = page.width - 8
    side_by_side = "   ".join(page.clean(command) for command in commands)
    if cells(side_by_side) <= room:
        return [Text.assemble((" Next   ", STRONG), (side_by_side, COMMAND))]
    first, *others = commands
    lines = page.command(first, Text(" Next   ", STRONG))
    return lines + [line for command in others for line in page.command(command, Text(" " * 8))]
