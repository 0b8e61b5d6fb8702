"""The report on a terminal or in a log file: readable at 80 columns, without colour and in ASCII."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path

from rich.console import Console
from rich.text import Text

from dataset_doctor.dataset import Place
from dataset_doctor.findings import Finding, Recommendation, Severity, plural
from dataset_doctor.report import wording
from dataset_doctor.report.page import QUIET, STRONG, Page, column, pad
from dataset_doctor.report.record import Report
from dataset_doctor.report.text import cells, printable, shorten, wrap
from dataset_doctor.statistics import ClassRow, SplitRow

_PAGE = "report.html"
"""What to open for all that is not shown here."""

_FINDINGS_SHOWN, _COMMANDS_SHOWN = 12, 3
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
        name: The path of the dataset as the user typed it: its last part heads the report, the commands have the whole.
    """
    page = Page.of(console)
    findings = wording.ranked(report)
    shown_at: dict[str, int] = {}
    blocks = [
        _head(page, report, Path(name).name or Path(name).resolve().name),
        _verdict(page, report),
        _findings(page, report, findings, shown_at),
        _classes(page, report),
        _facts(page, report, shown_at),
        _next(page, report, findings, shown_at, name),
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
            line = Text.assemble(" ", (page.shorten_path(name, room), STRONG), dot, kind, dot, size)
            return [page.ends(line, took)]
    room = page.width - cells(f" {dot}{kind}  {took}")
    line = Text.assemble(" ", (page.shorten_path(name, room), STRONG), dot, kind)
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


def _findings(page: Page, report: Report, findings: Sequence[Finding], shown_at: dict[str, int]) -> list[Text]:
    """Lay out a row a finding; `shown_at` is filled with the recommendations whose commands are shown, and the numbers of their rows."""
    shown = findings[:_FINDINGS_SHOWN]
    rank_cells = len(str(len(shown)))
    margin = 1 + rank_cells + 2 + 7 + 2
    room = page.width - margin
    lines = []
    for rank, finding in enumerate(shown, 1):
        code = page.clean(finding.code)
        message = page.wrapped(wording.sentence(finding), room - len(code) - 2)
        severity = finding.severity.value
        start = Text.assemble(f" {rank:>{rank_cells}}  ", (f"{severity:<7}", _SEVERITY_STYLE[finding.severity]), "  ", (message[0], STRONG))
        lines.append(page.ends(start, code))
        lines += [Text.assemble(" " * margin, (line, STRONG)) for line in message[1:]]
        if finding.locations:
            place = _place(page, finding.locations[0], finding.locations_total - 1, room)
            lines += [Text.assemble(" " * margin, (place, QUIET))] if place.strip() else []
        lines += _advice(page, report, finding, rank, shown_at, margin)
    hidden = findings[_FINDINGS_SHOWN:]
    if hidden:
        more = page.clean(f"… {len(hidden):,} more ({wording.counted(hidden)}): -o {_PAGE}")
        lines.append(Text.assemble(" " * margin, (more, QUIET)))
    return lines


def _place(page: Page, place: Place, others: int, width: int) -> str:
    more = page.clean(f"  … and {others:,} more") if others > 0 else ""
    width -= cells(more)
    notes = [page.clean(note) for note in wording.place_notes(place)]
    wanted = sum(2 + cells(note) for note in notes)
    name = page.shorten_path(wording.place_name(place), max(width - wanted, width * 3 // 5))
    line = name
    for note in notes:
        room = width - cells(line) - 2
        if not line:
            line = shorten(note, width, page.ellipsis)
        elif room >= min(8, cells(note)):
            line += "  " + shorten(note, room, page.ellipsis)
    return line + more


def _advice(page: Page, report: Report, finding: Finding, rank: int, shown_at: dict[str, int], margin: int) -> list[Text]:
    """Give the command that treats a finding, and what it would bring; for a second finding, where it was given."""
    recommendation = wording.recommended(report, finding.code)
    if recommendation is None:
        return []
    arrow = " " * margin + page.clean("→ ")
    if recommendation.id in shown_at:
        return [Text(f"{arrow}as for {shown_at[recommendation.id]}", QUIET)]
    shown_at[recommendation.id] = rank
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
    """Lay out the class table; what does not fit goes in this order: long names, the bar, the splits, the share.

    A long table ends with the rarest classes that have instances; those without are counted below it.
    """
    tables = report.statistics
    rows = sorted(tables.classes, key=lambda row: (-row.instances, row.index))
    if not rows:
        return []
    all_shown = len(rows) <= _CLASSES_SHOWN
    used = [row for row in rows if row.instances]
    shown = rows if all_shown else used if len(used) <= _CLASSES_SHOWN else used[:_HEAD] + used[-_TAIL:]
    unused = len(rows) - len(used) if not all_shown else 0
    names = [page.clean(row.name) or '""' for row in shown]
    name_wanted = min(max(cells(name) for name in [*names, "class"]), _NAME_CELLS)
    splits = tables.splits if 1 < len(tables.splits) <= _SPLIT_COLUMNS else ()
    counts = [column("images", [f"{row.images:,}" for row in shown])]
    if report.dataset.task != "classify":
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
    if (between := len(rows) - len(shown) - unused) > 0:
        lines.insert(1 + _HEAD, Text(page.clean(f" … {between:,} more: -o {_PAGE}"), QUIET))
    if unused:
        lines.append(Text(page.clean(f" … {plural(unused, 'class', 'classes')} without an instance: -o {_PAGE}"), QUIET))
    return lines


def _split_column(page: Page, at: int, split: SplitRow, rows: Sequence[ClassRow]) -> list[str]:
    return column(page.shorten(split.name, 10), [f"{row.splits[at].instances:,}" for row in rows])


# Facts and what next ------------------------------------------------------------------------------------------------


def _facts(page: Page, report: Report, shown_at: Mapping[str, int]) -> list[Text]:
    facts = wording.facts(report)
    to_run: dict[str, str] = {}
    for at, recommendation in enumerate(_not_shown(report, shown_at)):
        to_run[_action(recommendation)] = "under Next" if at < _COMMANDS_SHOWN else f"-o {_PAGE}"
    by_id = {recommendation.id: recommendation for recommendation in report.recommendations}
    to_run |= {_action(by_id[id]): f"at {rank}" for id, rank in shown_at.items()}
    to_do = dict.fromkeys(_action(r) for r in report.recommendations if not r.command)
    if to_run:
        facts.append(("to run", [f"{action} ({place})" for action, place in sorted(to_run.items(), key=lambda item: item[1])]))
    if others := [action for action in to_do if action not in to_run]:
        facts.append(("advice", [*others, f"details: -o {_PAGE}"]))
    return page.facts(facts)


def _action(recommendation: Recommendation) -> str:
    return recommendation.action.replace("_", " ")


def _not_shown(report: Report, shown_at: Mapping[str, int]) -> list[Recommendation]:
    """Give the recommendations that a command carries out and that no finding's row shows; each command once."""
    shown = {r.command for r in report.recommendations if r.id in shown_at}
    left = {r.command: r for r in reversed(report.recommendations) if r.command and r.command not in shown}
    return list(left.values())[::-1]


def _next(page: Page, report: Report, findings: Sequence[Finding], shown_at: Mapping[str, int], name: str) -> list[Text]:
    commands = [r.command or "" for r in _not_shown(report, shown_at)[:_COMMANDS_SHOWN]]
    commands += [f"dataset-doctor explain {findings[0].code}"] if findings else []
    given = ((option, report.run.options.get(option)) for option in ("format", "images", "classes"))
    read = [word for option, value in given if value for word in (f"--{option}", printable(str(value)))]
    commands.append(shlex.join(["dataset-doctor", "audit", printable(name), *read, "-o", _PAGE]))
    lines = [page.command(command, Text(" " * 8 if at else " Next   ", "" if at else STRONG)) for at, command in enumerate(commands)]
    return [line for command in lines for line in command]
