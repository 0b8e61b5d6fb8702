"""What the sections of a verdict's page are made of: badges, scores, framed charts, tables."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from dataset_doctor.report.html.markup import Child, Html, el, joined
from dataset_doctor.report.verdict import words
from dataset_doctor.verdict import Interval

_MARKS = {"helped": "▲ helped", "hurt": "▼ hurt", "no evidence": "○ no evidence", "cannot verify": "– cannot verify"}


def badge(word: str | None) -> Html:
    """Mark a verdict's word; None is the baseline."""
    if word is None:
        return el("span", "baseline", class_="badge")
    return el("span", _MARKS.get(word, word), class_=f"badge mark {word.replace(' ', '-')}")


def score(one: Interval, *, is_share: bool = True) -> Html:
    """Write a score with its interval, a share no further than shares go."""
    if not is_share:
        ends = None if one.low is None or one.high is None else f"({one.low:.2f} to {one.high:.2f})"
        return joined([f"{one.mean:.2f}", [" ", el("span", ends, class_="whole")] if ends else None])
    ends = None if one.low is None or one.high is None else f"({max(one.low, 0) * 100:.1f} to {min(one.high, 1) * 100:.1f})"
    return joined([words.percent(one.mean), [" ", el("span", ends, class_="whole")] if ends else None])


def chart(title: str, note: str, drawn: Child, head: Sequence[str], rows: Sequence[Sequence[Child]]) -> Html:
    """Frame a chart: its message, what is drawn, and the numbers on request."""
    numbers = el("details", el("summary", "The numbers"), table(head, rows, title), class_="more") if rows else None
    caption = el("figcaption", el("h3", title, class_="data"), el("p", note, class_="quiet small note") if note else None)
    return el("figure", caption, drawn, numbers, class_="card")


def table(head: Sequence[str], rows: Sequence[Sequence[Child]], label: str, *, words_at: Collection[int] = (0,)) -> Html:
    """Lay out a table; columns are numbers but for those at `words_at`."""
    kinds = ["words" if at in words_at else "number" for at in range(len(head))]
    body = [
        el(
            "tr",
            [
                el("td", cell if kind == "number" or isinstance(cell, Html) else el("span", cell, class_="data"), class_=kind)
                for cell, kind in zip(row, kinds, strict=True)
            ],
        )
        for row in rows
    ]
    return el(
        "div",
        el(
            "table",
            el("thead", el("tr", [el("th", what, scope="col", class_=kind) for what, kind in zip(head, kinds, strict=True)])),
            el("tbody", body),
        ),
        class_="scroll",
        tabindex="0",
        role="region",
        aria_label=label,
    )
