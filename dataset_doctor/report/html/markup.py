"""Markup from Python: elements whose text is escaped, printable and of bounded length, unless it is markup that was made here."""

from __future__ import annotations

import re
from collections.abc import Iterable
from html import escape
from typing import TypeAlias

from dataset_doctor.report.text import printable, shorten

SENTENCE, NAME = 1200, 160
"""Cells that a sentence, and a name, may take."""

_PERCENT = re.compile(r"(?<=\d) %")
"""A number and its sign stay on one line."""

_VOID = frozenset({"br", "col", "img", "meta"})


def text(data: str, cells: int = SENTENCE) -> str:
    """Make text of the dataset printable, valid Unicode, and of bounded length."""
    return shorten(printable(data), cells)


def name(data: str, cells: int = NAME) -> str:
    """Give a name as it is shown; one that would show nothing is quoted."""
    shown = text(data, cells)
    return shown if shown.strip() else f'"{shown}"'


class Html(str):
    """Markup made here. Every other string that is put into an element is escaped."""

    __slots__ = ()


Child: TypeAlias = "Html | str | Iterable[Child] | None"
Attribute: TypeAlias = "str | float | bool | None"


def el(tag: str, *children: Child, **attributes: Attribute) -> Html:
    """Make an element; attributes that are None or False are left out, and `_` in their names stands for `-`.

    >>> el("p", "a < b", el("b", "!"), class_="quiet", hidden=None)
    '<p class="quiet">a &lt; b<b>!</b></p>'
    """
    written = "".join(_attribute(key, value) for key, value in attributes.items() if value is not None and value is not False)
    return Html(f"<{tag}{written}>" if tag in _VOID else f"<{tag}{written}>{joined(children)}</{tag}>")


def joined(children: Child) -> Html:
    """Put children side by side, without an element around them."""
    if children is None:
        return Html()
    if isinstance(children, str):
        return children if isinstance(children, Html) else Html(_PERCENT.sub("\u00a0%", escape(_bounded(children))))
    return Html("".join(map(joined, children)))


def _bounded(data: str) -> str:
    return text(data) if len(data) > SENTENCE else printable(data)


def data(text_of_dataset: str, **attributes: Attribute) -> Html:
    """Show a name of the dataset: its writing direction does not reach the text around it."""
    return el("span", name(text_of_dataset), class_="data", **attributes)


def _attribute(key: str, value: str | float | bool) -> str:
    key = key.rstrip("_").replace("_", "-")
    if value is True:
        return f" {key}"
    if isinstance(value, Html):
        return f' {key}="{value}"'
    return f' {key}="{escape(_bounded(value) if isinstance(value, str) else _number(value))}"'


def _number(value: float) -> str:
    return f"{value:.2f}".rstrip("0").rstrip(".")
