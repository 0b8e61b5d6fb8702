"""Text that came from a dataset, made safe to show and cut to fit: measured in terminal cells, never in characters."""

from __future__ import annotations

import re
import unicodedata

_INVISIBLE = re.compile("[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180d\u180f\u3164\ufe00-\ufe0f\uffa0\U000e0100-\U000e01ef]")
"""Characters that Unicode says to show as nothing, beyond those that Python already calls not printable."""

_MARKS = 8
"""How many combining marks may stand on one character: room for every script, none for a tower over the lines above."""

_ASCII = str.maketrans({"…": "...", "→": "->", "×": "x", "·": "|", "–": "-", "—": "-", "÷": "/", "≤": "<=", "≥": ">=", "²": "^2", "−": "-"})
_QUOTES = str.maketrans("“”‘’", "\"\"''")


def printable(text: str) -> str:
    r"""Turn everything that does not stand for itself on one line into a visible escape.

    Control characters, line ends, tabs, DEL, text direction overrides, zero-width characters, odd spaces, unassigned code points
    and lone surrogates become `\xNN`, `\uNNNN` or `\UNNNNNNNN`; a byte of a file name that is not UTF-8 becomes `\xNN`.

    >>> printable("a\x1b[31m\n"), printable("caf\u00e9 \u202egnp.exe"), printable("\udc80")
    ('a\\x1b[31m\\x0a', 'café \\u202egnp.exe', '\\x80')
    """
    if text.isprintable() and not _INVISIBLE.search(text):
        return text
    return "".join(c if c.isprintable() and not _INVISIBLE.match(c) else _escape(c) for c in text)


def _escape(character: str) -> str:
    code = ord(character)
    if 0xDC80 <= code <= 0xDCFF:  # Python's stand-in for a byte that is not UTF-8
        code -= 0xDC00
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def encodable(text: str, encoding: str) -> str:
    r"""Say the same with the characters of an encoding: signs of ours become plain ones, the rest visible escapes.

    >>> encodable("11 × 3 → 猫", "ascii")
    '11 x 3 -> \\u732b'
    """
    try:
        text.encode(encoding)
    except UnicodeEncodeError:
        return text.translate(_ASCII).translate(_QUOTES).encode(encoding, "backslashreplace").decode(encoding)
    except LookupError:
        return encodable(text, "ascii")
    return text


def cells(text: str) -> int:
    r"""Count the terminal cells of printable text: 2 for wide characters, 0 for combining marks.

    >>> cells("cat"), cells("猫"), cells("e\u0301")
    (3, 2, 1)
    """
    return len(text) if text.isascii() else sum(map(_cells, text))


def _cells(character: str) -> int:
    if unicodedata.category(character) in ("Mn", "Me") or "\u1160" <= character <= "\u11ff":  # the latter: parts of a Hangul syllable
        return 0
    return 2 if unicodedata.east_asian_width(character) in ("W", "F") else 1


def cut(text: str, width: int) -> str:
    """Give the longest beginning of printable text that takes at most `width` cells; a tower of combining marks ends it too."""
    used = marks = 0
    for at, character in enumerate(text):
        taken = _cells(character)
        used += taken
        marks = 0 if taken else marks + 1
        if used > width or marks > _MARKS:
            return text[:at]
    return text


def shorten(text: str, width: int, ellipsis: str = "…") -> str:
    """Cut printable text to `width` cells, with an ellipsis where something was cut off.

    >>> shorten("Platelets", 6), shorten("血小板", 5), shorten("RBC", 6)
    ('Plate…', '血小…', 'RBC')
    """
    if cut(text, width) == text:
        return text
    return cut(text, width - cells(ellipsis)).rstrip() + ellipsis


def shorten_path(text: str, width: int, ellipsis: str = "…") -> str:
    """Cut a printable path to `width` cells: folders first, from the left; then the middle of a file name that is too long by itself.

    Both ends of a name are informative: `IMG_2274` where `rf.3d9a327d…` follows, and suffix and line.

    >>> shorten_path("Annotations/BloodImage_00338.xml:137", 27)
    '…s/BloodImage_00338.xml:137'
    >>> shorten_path("train/labels/IMG_2274_jpeg_jpg.rf.3d9a327d4097cfb70691.txt:1", 27)
    'IMG_2274_jpeg…fb70691.txt:1'
    """
    if cut(text, width) == text:
        return text
    room = width - cells(ellipsis)
    name = text.rsplit("/", 1)[-1]
    if name == text or cut(name, room) != name:
        start = cut(name, room // 2)
        return start + ellipsis + cut(name[::-1], room - cells(start))[::-1]
    return ellipsis + cut(text[::-1], room)[::-1].lstrip()


def wrap(text: str, width: int) -> list[str]:
    """Break printable text into lines of at most `width` cells, at spaces where there are any.

    >>> wrap("2 boxes have no area", 10)
    ['2 boxes', 'have no', 'area']
    """
    lines, line = [], ""
    for word in text.split():
        if line and cells(line) + 1 + cells(word) > width:
            lines.append(line)
            line = ""
        line = f"{line} {word}" if line else word
        while (start := cut(line, width) or line[:1]) != line:
            lines.append(start)
            line = line[len(start) :]
    return [*lines, line] if line or not lines else lines
