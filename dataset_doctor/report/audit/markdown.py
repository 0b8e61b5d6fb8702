"""The report as GitHub Markdown. What comes from the dataset cannot become a link, a mention, a heading or HTML."""

from __future__ import annotations

import re
from collections.abc import Sequence

from dataset_doctor.dataset import Place
from dataset_doctor.findings import Finding, Recommendation
from dataset_doctor.report import wording
from dataset_doctor.report.record import Report
from dataset_doctor.report.text import printable

_ROWS_SHOWN = 2000
_PLACES_SHOWN = 10
_SPLIT_COLUMNS = 8

_ENTITIES = {"&": "&amp;", "<": "&lt;", ">": "&gt;", "|": "&#124;"}
_SPECIAL = re.compile(r"[@#$]+|[&<>|]|[\\`*_\[\]!~]|:(?=//)|(?<=[wW])\.")


def markdown(report: Report) -> str:
    """Write the report for a pull request or a wiki: verdict, findings, what to do, classes, figures.

    Times, host and absolute paths are left out, so that the same dataset gives the same text.
    """
    findings = wording.ranked(report)
    first, *more = wording.verdict(report)
    blocks = [
        "<!-- dataset-doctor report -->",
        f"# {text(wording.folder(report))}",
        f"{text(wording.format_name(report))} · {wording.size(report)}",
        " ".join([f"**{first}**", *more]),
        *_findings(report, findings),
        *_recommendations(report),
        *_classes(report),
        "## Figures",
        "\n".join(f"- **{label}**: {' · '.join(text(phrase) for phrase in phrases)}" for label, phrases in wording.facts(report)),
        f"`{report.dataset.fingerprint}`, dataset-doctor {text(report.version)}",
    ]
    return "\n\n".join(blocks) + "\n"


def text(data: str) -> str:
    r"""Escape a sentence, so that it reads the same and does nothing.

    `@`, `#` and `$` go into code, which is the only place where GitHub makes no mention, reference or formula of them.

    >>> text("*a* <b> @me www.x.org")
    '\\*a\\* &lt;b&gt; `@`me www\\.x.org'
    """
    return _SPECIAL.sub(_escape, printable(data))


def _escape(match: re.Match[str]) -> str:
    special = match[0]
    return f"`{special}`" if special[0] in "@#$" else _ENTITIES.get(special, "\\" + special)


def code(data: str) -> str:
    r"""Show a name as code, where nothing is interpreted; what would end the code or the table cell becomes a visible escape.

    >>> code("a|b`c")
    '`a\\x7cb\\x60c`'
    """
    shown = printable(data).replace("`", "\\x60").replace("|", "\\x7c")
    return f"`{shown}`" if shown.strip() else '`""`'


def table(head: Sequence[str], rows: Sequence[Sequence[str]], numbers_from: int) -> str:
    """Write a table whose columns from `numbers_from` on are right-aligned."""
    rule = ["---" if at < numbers_from else "--:" for at in range(len(head))]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (head, rule, *rows))


def _findings(report: Report, findings: list[Finding]) -> list[str]:
    if not findings:
        return []
    rows = [[f.severity.value, code(f.code), text(wording.sentence(f)), f"{f.count:,}"] for f in findings]
    blocks = ["## Findings", table(["severity", "code", "finding", "count"], rows, numbers_from=3)]
    for finding in findings:
        places = [f"- {_place(place)}" for place in finding.locations[:_PLACES_SHOWN]]
        others = finding.locations_total - len(places)
        if places and others > 0:
            places.append(f"- … and {others:,} more")
        recommendation = wording.recommended(report, finding.code)
        see = [f"To do: {text(recommendation.id)} below."] if recommendation else []
        if places or see:
            blocks += [f"### {text(finding.code)} {text(finding.name)}", *(["\n".join(places)] if places else []), *see]
    return blocks


def _place(place: Place) -> str:
    name = wording.place_name(place)
    notes = ([code(place.class_name)] if place.class_name else []) + ([text(place.detail)] if place.detail else [])
    return " · ".join(([code(name)] if name else []) + notes) or "unknown place"


def _recommendations(report: Report) -> list[str]:
    if not report.recommendations:
        return []
    return ["## What to do", *(block for r in report.recommendations for block in _recommendation(r))]


def _recommendation(recommendation: Recommendation) -> list[str]:
    r = recommendation
    blocks = [f"### {text(r.id)} {text(r.action.replace('_', ' '))}", text(r.why)]
    if r.command:
        blocks.append(f"```sh\n{printable(r.command)}\n```")
    changes = wording.predicted(r)
    if changes:
        blocks.append(f"Predicted: {', '.join(f'{code(name)} {change}' for name, change in changes)}.")
    based = [r.strength, *r.sources]
    blocks.append(f"Cost: {text(r.cost)} · based on {text(', '.join(based))}" if r.cost else f"Based on {text(', '.join(based))}")
    return blocks


def _classes(report: Report) -> list[str]:
    tables = report.statistics
    if not tables.classes:
        return []
    boxes = report.dataset.task != "classify"
    splits = tables.splits if 1 < len(tables.splits) <= _SPLIT_COLUMNS else ()
    head = ["class", "group", "images", *(["instances"] if boxes else []), "share", *(code(split.name) for split in splits)]
    rows = [
        [
            code(row.name),
            row.group or "",
            f"{row.images:,}",
            *([f"{row.instances:,}"] if boxes else []),
            wording.share(row.share),
            *(f"{row.splits[at].instances:,}" for at in range(len(splits))),
        ]
        for row in sorted(tables.classes, key=lambda row: (-row.instances, row.index))[:_ROWS_SHOWN]
    ]
    blocks = ["## Classes", table(head, rows, numbers_from=2)]
    if len(tables.classes) > _ROWS_SHOWN:
        blocks.append(f"{len(tables.classes) - _ROWS_SHOWN:,} more classes with fewer instances: `-o classes.csv` lists all.")
    return blocks
