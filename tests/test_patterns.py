"""No regular expression of the package backtracks without bound on hostile text.

Every literal pattern is found in the source with the methods it is used through, and attacked with text made from its own parts: what
stands before a repetition, then the repeated part very often, then something that does not fit.
"""

from __future__ import annotations

import ast
import importlib
import re
import signal
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

import dataset_doctor

with warnings.catch_warnings():
    warnings.simplefilter("ignore", DeprecationWarning)
    try:
        from re import _constants as sre  # type: ignore[attr-defined]
        from re import _parser as parser
    except ImportError:  # Python 3.10
        import sre_constants as sre
        import sre_parse as parser

PACKAGE = Path(dataset_doctor.__file__).parent
FLAGS_AT = {"sub": 4, "subn": 4, "split": 3}
"""Which argument of a function of `re` is the flags, where it is not the third."""

METHODS = ("match", "fullmatch", "search", "findall", "finditer", "sub", "subn", "split")

SMALL, LARGE = 4_000, 200_000
SUSPICIOUS_SECONDS = 0.001
"""What 4,000 characters may take before 200,000 are tried: linear patterns take a tenth, quadratic ones five times as much."""

LIMIT_SECONDS = 1.0
"""Processor time for 200,000 characters: linear patterns take 0.02 s at most, quadratic ones 20 s and more."""

LONGEST = {("dataset_doctor.formats.personal", "[A-Za-z0-9][\\w.+-]{0,63}@"): 394}
"""The most characters that reach a pattern, where the code bounds them: by module and how the pattern begins."""

Pattern = tuple[str, str | bytes, int, str]
"""Module, pattern, flags, method."""


# Finding --------------------------------------------------------------------------------------------------------------


def module_of(file: Path) -> str:
    """Name the module that a file of the package is."""
    return ".".join(file.relative_to(PACKAGE.parent).with_suffix("").parts).removesuffix(".__init__")


def is_re(node: ast.expr, names: tuple[str, ...]) -> bool:
    """Tell whether an expression is `re.NAME` of one of the names."""
    return isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "re" and node.attr in names


def patterns() -> list[Pattern]:
    """Find every pattern of the package with each method that it is used through; a compiled one that nobody uses by name is searched."""
    trees = {file: ast.parse(file.read_text(encoding="utf-8")) for file in sorted(PACKAGE.rglob("*.py")) if "demo" not in file.parts}
    used: dict[tuple[str, str], set[str]] = {}
    for file, tree in trees.items():
        for node in ast.walk(tree):
            if isinstance(node, ast.Attribute) and node.attr in METHODS:
                for name in names_in(node.value):
                    used.setdefault((module_of(file) if name.startswith("_") else "", name), set()).add(node.attr)
        for target, value in ((target, node.value) for node in ast.walk(tree) if isinstance(node, ast.Assign) for target in node.targets):
            for name in names_in(value):  # `pattern = _KEY`, then `pattern.match`
                for other in names_in(target):
                    used.setdefault((module_of(file) if name.startswith("_") else "", name), set()).update(used.get(("", other), ()))
    found: set[Pattern] = set()
    for file, tree in trees.items():
        module = module_of(file)
        compiled = {
            id(part): target.id if isinstance(target, ast.Name) else target.attr if isinstance(target, ast.Attribute) else ""
            for node in ast.walk(tree)
            if isinstance(node, ast.Assign)
            for target in node.targets
            for part in ast.walk(node.value)
        }
        for node in ast.walk(tree):
            if not isinstance(node, ast.Call):
                continue
            if is_re(node.func, METHODS):
                assert isinstance(node.func, ast.Attribute)
                flags = node.args[FLAGS_AT.get(node.func.attr, 2) :]
                flags += [word.value for word in node.keywords if word.arg == "flags"]
                found.add((module, evaluated(module, node.args[0]), flags_of(module, flags), node.func.attr))
            elif is_re(node.func, ("compile",)):
                if (module, ast.unparse(node)) in OF_THE_USER:
                    continue
                given, flags = evaluated(module, node.args[0]), flags_of(module, node.args[1:])
                name = compiled.get(id(node), "")
                for method in used.get((module if name.startswith("_") else "", name)) or {"search"}:
                    found.add((module, given, flags, method))
    return sorted(found, key=repr)


def names_in(node: ast.expr) -> set[str]:
    """Name the variables and attributes that an expression may be, calls aside."""
    if isinstance(node, ast.Name):
        return {node.id}
    if isinstance(node, ast.Attribute):
        return {node.attr}
    parts = [node.body, node.orelse] if isinstance(node, ast.IfExp) else node.elts if isinstance(node, ast.Tuple) else []
    return set().union(*map(names_in, parts))


OF_THE_USER = {
    ("dataset_doctor.gate", "re.compile('|'.join(map(fnmatch.translate, self.files)))"),
}
"""What is made of the user's own configuration and options."""

EXAMPLES = {"keys": b"images|annotations|categories", "tag": "width", "number": 1}
"""Values of local variables that patterns are put together from."""


def evaluated(module: str, node: ast.expr) -> Any:
    """Give the value of an expression in a module."""
    return eval(compile(ast.Expression(node), module, "eval"), dict(vars(importlib.import_module(module))), dict(EXAMPLES))


def flags_of(module: str, nodes: list[ast.expr]) -> int:
    """Give the flags that stand behind a pattern."""
    return int(evaluated(module, nodes[0])) if nodes else 0


# Attacking ------------------------------------------------------------------------------------------------------------

PROBES = [*map(ord, "a1 _-./\\\"'{}[](),:;<>*#@\t\n\r\v+eEZ%~"), 0, 0xE9]


def characters(node: Any, liked: int) -> int:
    """Choose a character that a set accepts: the liked one where it does."""
    for code in (liked, *PROBES):
        if accepts(node, code):
            return code
    kind, value = node[0]
    return value if kind is sre.LITERAL else value[0] if kind is sre.RANGE else ord("a")


def accepts(items: Any, code: int) -> bool:
    """Tell whether a parsed set holds a character."""
    negated = bool(items) and items[0][0] is sre.NEGATE
    text = chr(code)
    hit = False
    for kind, value in items:
        if kind is sre.LITERAL:
            hit |= code == value
        elif kind is sre.RANGE:
            hit |= value[0] <= code <= value[1]
        elif kind is sre.CATEGORY:
            name = str(value).lower()
            of = {"digit": text.isdigit(), "space": text.isspace(), "word": text.isalnum() or text == "_"}
            word = name.rpartition("_")[2]
            hit |= of[word] != ("not" in name)
    return hit != negated


def sample(items: Any, liked: int) -> str:
    """Make a short text that a parsed pattern would match, lookarounds aside."""
    text = ""
    for kind, value in items:
        if kind is sre.LITERAL:
            text += chr(value)
        elif kind is sre.NOT_LITERAL:
            text += chr(liked if liked != value else next(code for code in PROBES if code != value))
        elif kind is sre.ANY:
            text += chr(liked)
        elif kind is sre.IN:
            text += chr(characters(value, liked))
        elif kind in REPEATS:
            text += sample(value[2], liked) * max(value[0], 1)
        elif kind is sre.SUBPATTERN:
            text += sample(value[3], liked)
        elif kind is sre.BRANCH:
            text += sample(value[1][0], liked)
        elif kind is getattr(sre, "ATOMIC_GROUP", None):
            text += sample(value, liked)
    return text


REPEATS = tuple(kind for kind in (sre.MAX_REPEAT, sre.MIN_REPEAT, getattr(sre, "POSSESSIVE_REPEAT", None)) if kind is not None)


def pumps(items: Any, before: str, liked: int) -> Iterator[tuple[str, str]]:
    """Give what leads to each repetition, and what is repeated there (each of its branches)."""
    for kind, value in items:
        if kind in REPEATS:
            for body in bodies(value[2], liked):
                yield before, body
            yield from pumps(value[2], before, liked)
        elif kind is sre.SUBPATTERN:
            yield from pumps(value[3], before, liked)
        elif kind is sre.BRANCH:
            for branch in value[1]:
                yield from pumps(branch, before, liked)
        elif kind in (sre.ASSERT, sre.ASSERT_NOT):
            yield from pumps(value[1], before, liked)
        before += sample([(kind, value)], liked)


def bodies(items: Any, liked: int) -> Iterator[str]:
    """Give texts that a repeated part matches."""
    yield sample(items, liked)
    for kind, value in items:
        inner = value[3] if kind is sre.SUBPATTERN else items
        for deep, branches in inner:
            if deep is sre.BRANCH:
                for branch in branches[1]:
                    yield sample(branch, liked)


def attacks(pattern: str | bytes, flags: int) -> set[tuple[str, str, str]]:
    """Make attacks on a pattern: a start, what is repeated after it, and an end."""
    tree = parser.parse(pattern, flags)
    found = set()
    for liked in PROBES:
        whole = sample(tree, liked)
        for before, body in {*pumps(tree, "", liked), ("", whole), ("", chr(liked))}:
            for end in ("", "\0", "!"):
                found |= {(before, body, end), ("", before + body, end), ("", body, end)}
    return {(start, body, end) for start, body, end in found if body}


class TooLong(Exception):
    """A pattern has used up its time."""


def seconds(run: Callable[[str | bytes], object], text: str | bytes, limit: float) -> float:
    """Measure the processor time that a pattern takes; infinite where it takes longer than the limit."""

    def stop(_signal: int, _frame: FrameType | None) -> None:
        raise TooLong

    before = signal.signal(signal.SIGPROF, stop)
    started = time.thread_time()
    try:
        signal.setitimer(signal.ITIMER_PROF, limit)
        run(text)
    except TooLong:
        return float("inf")
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, before)
    return time.thread_time() - started


def runner(pattern: str | bytes, flags: int, method: str) -> Callable[[Any], object]:
    """Give a function that uses a pattern as the package does, to the end."""
    compiled = re.compile(pattern, flags)
    if method in ("sub", "subn"):
        return lambda text: compiled.sub(text[:0], text)
    if method == "finditer":
        return lambda text: sum(1 for _ in compiled.finditer(text))
    function: Callable[[Any], object] = getattr(compiled, method)
    return function


def weakness(module: str, pattern: str | bytes, flags: int, method: str) -> str:
    """Find an attack that a pattern does not stand; "" where there is none."""
    run = runner(pattern, flags, method)
    shown = pattern if isinstance(pattern, str) else pattern.decode("latin-1")
    longest = next((most for (of, start), most in LONGEST.items() if of == module and shown.startswith(start)), LARGE)
    for start, body, end in sorted(attacks(pattern, flags)):

        def text(size: int, start: str = start, body: str = body, end: str = end) -> Any:
            made = start + body * (size // len(body)) + end
            return made.encode("latin-1", "replace") if isinstance(pattern, bytes) else made

        if (
            seconds(run, text(min(SMALL, longest)), LIMIT_SECONDS) > SUSPICIOUS_SECONDS
            and seconds(run, text(longest), LIMIT_SECONDS) > LIMIT_SECONDS
        ):
            return f"{start!r} + {body!r} × {longest // len(body):,} + {end!r}"
    return ""


@pytest.mark.slow
def test_every_pattern_is_linear() -> None:
    """No text made from a pattern's own parts keeps it busy."""
    found = patterns()

    assert len(found) > 100
    assert not [(*pattern, weak) for pattern in found if (weak := weakness(*pattern))]


@pytest.mark.slow
def test_attacks_find_what_they_should() -> None:
    """The usual kinds of catastrophic patterns are found, sound ones pass."""
    bad = [
        (r"(a+)+$", "match"),
        (r"\s+x", "search"),
        (r"(?:a|aa)+b", "match"),
        (r"\d+\.?\d*x", "match"),
        (r"<[^>]*>", "findall"),
        (r"x*y", "search"),
    ]
    good = [(r"a+b", "match"), (r"[ \t]*,", "match"), (r"[<>]", "sub"), (r"\d{1,9}$", "search")]

    assert all(weakness("", pattern, 0, method) for pattern, method in bad)
    assert not any(weakness("", pattern, 0, method) for pattern, method in good)


@pytest.mark.slow
def test_every_use_of_re_is_seen() -> None:
    """`re` is called by its name alone, so that the search above misses nothing."""
    for file in sorted(PACKAGE.rglob("*.py")):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            assert not (isinstance(node, ast.ImportFrom) and node.module == "re"), file
            assert not (isinstance(node, ast.Import) and any(alias.name == "re" and alias.asname for alias in node.names)), file
