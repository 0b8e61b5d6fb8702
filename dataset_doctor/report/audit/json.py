"""The report as JSON, in the documented form: ASCII, one record a line where it fits, the same bytes for the same report."""

from __future__ import annotations

import json
import re
from typing import Any

from dataset_doctor.report.record import Report
from dataset_doctor.report.text import printable

_LINE = 320
"""A value that fits in as many characters stands on one line: a class, a place, a row of numbers."""

_NOT_ASCII = re.compile(r"[^\x20-\x7e]")
_COMPACT = json.JSONEncoder(ensure_ascii=False, allow_nan=False)


def dump(report: Report) -> str:
    r"""Write the report as JSON text.

    Characters beyond ASCII are escaped (`\u732b`). A lone surrogate, which strict readers refuse, becomes the text of its escape
    (a file name's byte 0x80: `"\\x80"`).

    Raises:
        ValueError: a number is not finite; the statistics say None where a figure is undefined.
    """
    return document(report.to_dict())


def document(plain: Any) -> str:
    """Write plain data as JSON text, laid out and escaped as the report is."""
    return _laid_out(plain, "\n") + "\n"


def _laid_out(value: Any, newline: str) -> str:
    """Encode a value on one line where it fits, else one line a member, indented by one more."""
    members = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    if not any(isinstance(member, dict | list) for member in members):
        flat = _encode(value)
        if len(flat) <= _LINE or not members:
            return flat
    inner = newline + " "
    items = [_laid_out(member, inner) for member in members]
    if isinstance(value, dict):
        items = [f"{_encode(key)}: {item}" for key, item in zip(value, items, strict=True)]
    start, end = "{}" if isinstance(value, dict) else "[]"
    if sum(map(len, items)) + 2 * len(items) <= _LINE and not any("\n" in item for item in items):
        return f"{start}{', '.join(items)}{end}"
    return f"{start}{inner}{f',{inner}'.join(items)}{newline}{end}"


def _encode(value: Any) -> str:
    encoded = _COMPACT.encode(value)
    return encoded if encoded.isascii() and "\x7f" not in encoded else _NOT_ASCII.sub(_escape, encoded)


def _escape(match: re.Match[str]) -> str:
    character = match[0]
    if "\ud800" <= character <= "\udfff":
        return "\\" + printable(character)  # inside a JSON string a backslash is written twice
    return f"\\u{ord(character):04x}" if ord(character) < 0x10000 else json.dumps(character)[1:-1]
