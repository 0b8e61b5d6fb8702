"""Text that says who worked on a dataset: user folders, e-mail addresses, names of annotators."""

from __future__ import annotations

import re
from collections.abc import Iterator

MOST = 20
"""Different findings that one text gives at most."""

MOST_LOOKS = 1_000
"""Places at which one text is looked at closely, for each kind of finding."""

_USER_FOLDERS = (
    ("/home/", 0, re.compile(r"(?<![\w.])/home/[^\\/<>\"'\s]{1,64}")),
    ("Users", 4, re.compile(r"(?:(?<![\w.])/|[A-Za-z]:[\\/]{1,2})Users[\\/]{1,2}(?!Public\b)[^\\/<>\"'\s]{1,64}")),
)
_EMAIL = re.compile(r"[A-Za-z0-9][\w.+-]{0,63}@[A-Za-z0-9-]{1,63}(?:\.[A-Za-z0-9-]{1,63}){0,4}\.[A-Za-z]{2,24}(?![\w@-])")
_KEY = r"(annotator(?:_name|_email)?|annotated_by|labell?ed_by|created_by)"
_ANNOTATOR = re.compile(rf'"{_KEY}"\s{{0,8}}:\s{{0,8}}"([^"\\]{{1,80}})"|<{_KEY}>([^<>]{{1,80}})</')


def personal_data(text: str) -> list[tuple[int, str]]:
    r"""Find text that names a person: where it starts, and what it is. Each finding comes once, at most MOST in all.

    >>> personal_data("<path>C:\\Users\\Ann\\a.jpg</path>"), personal_data("mail ann@example.org"), personal_data("7 kg @ home/x")
    ([(6, 'user folder C:\\Users\\Ann')], [(5, 'e-mail address ann@example.org')], [])
    """
    found: dict[str, int] = {}
    for at, what in _candidates(text):
        found.setdefault(what, at)
        if len(found) >= MOST:
            break
    return sorted((at, what) for what, at in found.items())


def _candidates(text: str) -> Iterator[tuple[int, str]]:
    # Most texts have none of it, which a plain search tells ten times as fast as an expression.
    for word, before, folder in _USER_FOLDERS:
        for at in _places(text, word):
            start = max(0, at - before)
            match = folder.search(text, start, at + 200)
            if match and match.start() <= at:
                yield match.start(), f"user folder {match[0]}"
    if "annotator" in text or "ed_by" in text:
        for match in _ANNOTATOR.finditer(text):
            if who := (match[2] or match[4]).strip():
                yield match.start(), f"annotator {who}"
    for at in _places(text, "@"):
        # From each @ a bounded stretch backwards: searching forwards from every letter would be quadratic.
        for match in _EMAIL.finditer(text, max(0, at - 64), at + 330):
            if match.start() < at < match.end():
                yield match.start(), f"e-mail address {match[0]}"


def _places(text: str, word: str) -> Iterator[int]:
    at = text.find(word)
    for _ in range(MOST_LOOKS):
        if at < 0:
            return
        yield at
        at = text.find(word, at + 1)
