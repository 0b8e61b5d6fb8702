"""Editing a `data.yaml` as text: the lines of some keys are replaced, all others stay as they are."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence, Set

_BREAK = "\r\n\x85\u2028\u2029"
_LINES = re.compile(f"[^{_BREAK}]*(?:\r\n|[{_BREAK}])|[^{_BREAK}]+")
_PLAIN = re.compile(r"(?:\.{1,2}/)*[A-Za-z_][\w./-]*|\.", re.ASCII)
_NOT_TEXT = re.compile(r"y|n|yes|no|on|off|true|false|null|~", re.IGNORECASE)
_UNPRINTABLE = re.compile("[^\x20-\x7e\xa0-\u2027\u202a-\ud7ff\ue000-\ufefe\uff00-\ufffd\U00010000-\U0010ffff]")


def quoted(text: str) -> str:
    r"""Write text as a double-quoted YAML scalar.

    >>> print(quoted('a "b"\n\x85'))
    "a \"b\"\n\x85"
    """
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n").replace("\t", "\\t")
    return '"' + _UNPRINTABLE.sub(lambda found: _escape(ord(found[0])), escaped) + '"'


def _escape(code: int) -> str:
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def listed(paths: Sequence[str]) -> str:
    """Write one path, or several as a list.

    >>> listed(["images/train"]), listed(["a", "on"])
    ('images/train', '[a, "on"]')
    """
    written = [path if _PLAIN.fullmatch(path) and not _NOT_TEXT.fullmatch(path) else quoted(path) for path in paths]
    return written[0] if len(written) == 1 else f"[{', '.join(written)}]"


def edited(text: str, values: Mapping[str, str], gone: Set[str]) -> str:
    r"""Set top-level keys of a YAML mapping and remove others; every other line stays.

    Args:
        text: A document that was found to be a mapping, without anchors and not deeply nested. What lines alone cannot tell apart (several
            keys on one line) comes out wrong, so the result is to be parsed.
        values: What to write behind each key, as YAML; further lines of it are indented.
        gone: Keys to remove.

    >>> print(edited("path: x\ntrain: a # here\nnames: [cat]\n", {"train": "b", "val": "c"}, {"path"}), end="")
    train: b
    names: [cat]
    val: c
    """
    blocks = _blocks(text)
    if blocks is None:
        text = as_block(text)
        blocks = _blocks(text) or []
    lines = _LINES.findall(text)
    end = "\r\n" if "\r\n" in text else "\n"
    indent = blocks[0][3] if blocks else ""
    missing = dict(values)
    cut: set[int] = set()
    put: dict[int, str] = {}
    for key, first, last, _ in blocks:
        if key in missing:
            put[first] = _entry(key, missing.pop(key), indent, end)
        if key in values or key in gone:
            cut.update(range(first, last + 1))
    at_end = blocks[-1][2] if blocks else len(lines) - 1
    result = []
    for number, line in enumerate(lines):
        result.append(put.get(number, "") if number in cut else line)
        if number == at_end:
            if result[-1] and not result[-1].endswith(("\n", "\r")):
                result.append(end)
            result += [_entry(key, value, indent, end) for key, value in missing.items()]
    return "".join(result)


def _entry(key: str, value: str, indent: str, end: str) -> str:
    return f"{indent}{key}: {value}".replace(": \n", ":\n", 1).replace("\n", f"{end}{indent}") + end


def _blocks(text: str) -> list[tuple[str, int, int, str]] | None:
    """List the top-level keys of a block mapping with their first and last line, 0-based, and their indent; None for any other document."""
    import yaml

    blocks: list[tuple[str, int, int, str]] = []
    depth = last = 0
    begin: tuple[str, int, str] | None = None
    for event in yaml.parse(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader)):
        start, end = event.start_mark, event.end_mark
        if isinstance(event, yaml.DocumentEndEvent) or start is None or end is None:
            break
        if isinstance(event, yaml.MappingStartEvent) and depth == 0:
            if event.flow_style:
                return None
            depth = 1
            continue
        if isinstance(event, yaml.ScalarEvent):
            if depth == 1 and begin is None:
                last = end.line
                begin = (event.value, start.line, " " * start.column)
                continue
            if start.index < end.index:
                last = max(last, end.line - (end.column == 0))
        elif isinstance(event, yaml.CollectionStartEvent):
            depth += 1
            last = max(last, start.line) if event.flow_style else last
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1
            # A block ends where the next token is; only a bracket is on a line of its own.
            if text[start.index : end.index] in ("]", "}"):
                last = max(last, end.line)
        if depth == 1 and begin is not None:
            blocks.append((begin[0], begin[1], last, begin[2]))
            begin = None
        if depth == 0 and isinstance(event, yaml.CollectionEndEvent):
            break
    return blocks


def as_block(text: str) -> str:
    """Write the first document of a text again, a top-level key a line; comments go, and so does what follows it.

    What it says is kept as text: nothing is constructed, and the styles of scalars stay.
    """
    import yaml

    events: list[yaml.Event] = []
    for event in yaml.parse(text, Loader=yaml.SafeLoader):
        if isinstance(event, yaml.DocumentStartEvent):
            event = yaml.DocumentStartEvent(explicit=False)  # no directives, no tags of their own
        elif isinstance(event, yaml.MappingStartEvent) and len(events) == 2:
            event.flow_style = False
        events.append(event)
        if isinstance(event, yaml.DocumentEndEvent):
            break
    written = yaml.emit([*events[:-1], yaml.DocumentEndEvent(explicit=False), yaml.StreamEndEvent()], allow_unicode=True, width=1 << 20)
    assert isinstance(written, str)
    return written
