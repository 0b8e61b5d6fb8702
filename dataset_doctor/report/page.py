"""What every page on a terminal is made of: lines that fit 40 to 100 columns, in any encoding, without colour too."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass

from rich.console import Console
from rich.text import Text

from dataset_doctor.report.text import cells, cut, encodable, printable, shorten, shorten_path, wrap

_WIDEST, _NARROWEST = 100, 40
_MESSAGE_LINES = 3
_PHRASES_SHOWN = 12

QUIET, STRONG, COMMAND = "dim", "bold", "green"


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

    def shorten_path(self, text: str, width: int) -> str:
        """Cut a path to fit."""
        return shorten_path(self.clean(text), width, self.ellipsis)

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

    def command(self, command: str, start: Text) -> list[Text]:
        """Lay out a command so that what is copied runs: lines break between words, and each but the last ends in a backslash.

        Words that are too long for a line are broken too: what follows a break inside a word stands at the left edge, since a space would
        end the word.

        Args:
            command: As for a shell.
            start: What stands before it on the first line; the others are indented as far.
        """
        indent = cells(start.plain)
        lines, line = [], Text()
        for value in map(self.clean, shlex.split(command)):
            word = shlex.quote(value)
            room = self.width - (cells(line.plain) or indent) - 2
            if line and 1 + cells(word) > room:
                lines.append(line.append(" \\"))
                line, room = Text(), self.width - indent - 4
            pieces = [word] if cells(word) <= room else self._pieces(value, room)
            before = Text(" ") if line else Text.assemble(" " * (indent + 2)) if lines else start.copy()
            line.append(before).append(pieces[0], COMMAND)
            for piece in pieces[1:]:
                lines.append(line.append("\\", COMMAND))
                line = Text(piece, COMMAND)
        return [*lines, line]

    def _pieces(self, value: str, room: int) -> list[str]:
        """Break a word that is longer than a line into words that a shell joins again; the first piece is shorter."""
        pieces = []
        while value:
            length = len(value)
            while length > 1 and cells(shlex.quote(value[:length])) > room:
                length -= 1
            pieces.append(shlex.quote(value[:length]))
            value, room = value[length:], self.width - 2
        return pieces

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
