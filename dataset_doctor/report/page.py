"""What every page on a terminal is made of: lines that fit 40 to 100 columns, in any encoding, without colour too."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from rich.console import Console
from rich.text import Text

from dataset_doctor.report.text import cells, cut, encodable, printable, shorten, shorten_left, wrap

_WIDEST, _NARROWEST = 100, 40
_MESSAGE_LINES, _COMMAND_LINES = 3, 5
_PHRASES_SHOWN = 12

QUIET, STRONG, COMMAND = "dim", "bold", "green"

_WORD = re.compile(r"(?:'[^']*'|\"[^\"]*\"|[^\s'\"])+|['\"]")
"""A word of a command line, whose quoted parts stay together."""


@dataclass(frozen=True, slots=True)
class Page:
    """How wide a line may be, in cells, and what its characters may be."""

    width: int
    encoding: str

    @classmethod
    def of(cls, console: Console) -> Page:
        """Make the page that fits a console."""
        return cls(max(_NARROWEST, min(console.width, _WIDEST)) - 1, console.encoding)

    def clean(self, text: str) -> str:
        """Make text safe and possible to print here. All text goes through this before it is measured."""
        return encodable(printable(text), self.encoding)

    @property
    def ellipsis(self) -> str:
        """Give the sign for text that was cut."""
        return self.clean("…")

    def shorten(self, text: str, width: int) -> str:
        """Cut text at its end to fit."""
        return shorten(self.clean(text), width, self.ellipsis)

    def shorten_left(self, text: str, width: int) -> str:
        """Cut text at its beginning to fit, as suits paths."""
        return shorten_left(self.clean(text), width, self.ellipsis)

    def ends(self, left: Text, right: str, style: str = QUIET) -> Text:
        """Put text at the right end of a line."""
        gap = self.width - cells(left.plain) - cells(right)
        return Text.assemble(left, " " * gap, (right, style))

    def bar(self, part: float, width: int) -> str:
        """Draw a share of `width` cells, in eighths where the encoding has them; anything above nothing leaves a mark."""
        if encodable("█▏", self.encoding) != "█▏":
            return "#" * max(round(part * width), part > 0)
        whole, eighths = divmod(max(round(part * width * 8), part > 0), 8)
        return "█" * whole + " ▏▎▍▌▋▊▉"[eighths].strip()

    def wrapped(self, text: str, width: int) -> list[str]:
        """Break text into lines; what takes more than a few ends in an ellipsis."""
        lines = wrap(self.shorten(text, width * (_MESSAGE_LINES + 1)), width)
        if len(lines) > _MESSAGE_LINES:
            lines[_MESSAGE_LINES - 1 :] = [cut(lines[_MESSAGE_LINES - 1], width - cells(self.ellipsis)) + self.ellipsis]
        return lines

    def command(self, command: str, width: int) -> list[str]:
        """Break a command between its words, so that what is copied still runs: each line but the last ends in a backslash.

        A command too long for that is cut, and ends in an ellipsis.
        """
        command = self.clean(command)
        lines = [""]
        for word in _WORD.findall(command):
            if lines[-1] and cells(lines[-1]) + 1 + cells(word) > width - 2:
                lines[-1] += " \\"
                lines.append("  ")
            lines[-1] += f" {word}" if lines[-1].strip() else word
        if len(lines) > _COMMAND_LINES or any(cut(line, width) != line for line in lines):
            return [shorten(command, width, self.ellipsis)]
        return lines

    def joined(self, phrases: Sequence[str], width: int) -> list[str]:
        """Join phrases with dots, breaking lines between phrases where one is full."""
        dot = self.clean(" · ")
        lines: list[str] = []
        for phrase in phrases[:_PHRASES_SHOWN]:
            said = self.wrapped(phrase, width)
            if lines and len(said) == 1 and cells(lines[-1] + dot + said[0]) <= width:
                lines[-1] += dot + said[0]
            else:
                lines += said
        if len(phrases) > _PHRASES_SHOWN:
            lines.append(self.clean(f"… {len(phrases) - _PHRASES_SHOWN:,} more"))
        return lines

    def facts(self, rows: Sequence[tuple[str, Sequence[str]]]) -> list[Text]:
        """Lay out headed lists of short phrases; a list without any is left out."""
        said = [(self.clean(label), phrases) for label, phrases in rows if phrases]
        label_cells = max((cells(label) for label, _ in said), default=0) + 2
        lines = []
        for label, phrases in said:
            for at, line in enumerate(self.joined(phrases, self.width - 1 - label_cells)):
                lines.append(Text.assemble(" ", (pad("" if at else label, label_cells), QUIET), line))
        return lines

    def show(self, console: Console, blocks: Sequence[Sequence[Text]]) -> None:
        """Print blocks of lines with an empty line between them; none is taken for markup, or broken again."""
        lines: list[Text] = []
        for block in blocks:
            lines += [*map(self._fitting, block), Text()] if block else []
        console.print(Text("\n").join(lines[:-1]), soft_wrap=True, markup=False, highlight=False, emoji=False)

    def _fitting(self, line: Text) -> Text:
        """Cut a line for which the window is too narrow, however it is laid out."""
        if cells(line.plain) <= self.width:
            return line
        kept = cut(line.plain, self.width - cells(self.ellipsis))
        return line[: len(kept)] + Text(self.ellipsis)


def pad(text: str, width: int, *, right: bool = False) -> str:
    """Fill up to `width` cells, on the left where text is to stand right."""
    space = " " * (width - cells(text))
    return space + text if right else text + space


def column(head: str, values: Sequence[str]) -> list[str]:
    """Right-align a column under its head."""
    width = max(cells(value) for value in (head, *values))
    return [pad(value, width, right=True) for value in (head, *values)]
