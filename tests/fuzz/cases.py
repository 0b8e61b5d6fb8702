"""One case: a format and a seed give a dataset, what damages it, and the laws it is held to; a case that fails can be made smaller."""

from __future__ import annotations

import contextlib
import faulthandler
import os
import random
import re
import resource
import shutil
import signal
import sys
import tempfile
import traceback
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

from tests.fuzz.datasets import DRAWN, written
from tests.fuzz.laws import check, told
from tests.fuzz.mutations import mutate
from tests.fuzz.trees import Tree, plant

FORMATS = tuple(DRAWN)
SECONDS = 30.0
"""Processor time that a case may take; some five times of it by the clock."""
MEMORY_BYTES = 3 << 30
"""Address space that a case may take beyond what the libraries hold."""


class TooSlow(BaseException):
    """A case took more time than it may; no `except Exception` catches it."""


@dataclass(frozen=True, slots=True)
class Failure:
    """A case that failed: `kind` is alike for failures of one cause; `text` is the traceback."""

    format: str
    seed: int
    kind: str
    text: str


def drawn(format: str, seed: int) -> tuple[Tree, int]:
    """Draw the valid dataset of a case and how many mutations it gets; one in forty stays as it is."""
    rng = random.Random(f"{format} {seed}")
    tree = written(format, rng) if rng.random() < 0.08 else DRAWN[format](rng)
    return dict(sorted(tree.items())), rng.choice((1, 1, 1, 2, 2, 3, 4)) if rng.random() > 0.025 else 0


def damaged(format: str, seed: int, left_out: frozenset[int] = frozenset()) -> tuple[Tree, int]:
    """Give the dataset of a case with its mutations, of which some may be left out; each draws for itself."""
    tree, times = drawn(format, seed)
    for number in range(times):
        if number not in left_out:
            mutate(tree, random.Random(f"{format} {seed} mutation {number}"))
            tree = dict(sorted(tree.items()))
    return tree, times


def tried(format: str, seed: int, tree: Tree) -> Failure | str:
    """Hold a tree to the laws; give how it ended, or the failure."""
    scratch = Path(tempfile.mkdtemp(prefix="fuzz-", dir="/dev/shm" if Path("/dev/shm").is_dir() else None))  # memory, not a disk
    rng = random.Random(f"{format} {seed} laws")
    told.clear()
    try:
        plant(tree, scratch / "data")
        (scratch / "out").mkdir()
        with limited(), warnings.catch_warnings():
            warnings.simplefilter("error")
            return check(scratch / "data", scratch / "out", rng)
    except (Exception, TooSlow) as error:
        return Failure(format, seed, _kind(error), "\n".join([traceback.format_exc(), *told]))
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def run(format: str, seed: int) -> Failure | str:
    """Try the case of a seed."""
    try:
        with limited():
            tree, _ = damaged(format, seed)
    except (Exception, TooSlow) as error:
        return Failure(format, seed, f"drawing: {_kind(error)}", traceback.format_exc())
    return tried(format, seed, tree)


def minimised(failure: Failure) -> Tree:
    """Leave out mutations, then files, then halves of files and lines, as long as the case fails in the same way."""
    format, seed = failure.format, failure.seed

    def fails(tree: Tree) -> bool:
        outcome = tried(format, seed, tree)
        return isinstance(outcome, Failure) and outcome.kind == failure.kind

    tree, times = damaged(format, seed)
    left_out: frozenset[int] = frozenset()
    for number in range(times):
        fewer = damaged(format, seed, left_out | {number})[0]
        if fails(fewer):
            left_out, tree = left_out | {number}, fewer
    for name in list(tree):
        fewer = {other: node for other, node in tree.items() if other != name}
        if fails(fewer):
            tree = fewer
    for name, node in tree.items():
        if not isinstance(node, bytes) or b"\n" not in node:
            continue
        lines = node.split(b"\n")
        at = 0
        while at < len(lines):
            shorter = b"\n".join(lines[:at] + lines[at + 1 :])
            if fails({**tree, name: shorter}):
                tree[name] = shorter
                del lines[at]
            else:
                at += 1
    return tree


def _kind(error: BaseException) -> str:
    """Name the cause of a failure: the error, and where in the package it was raised; digits and names left out."""
    frames = [f for f in traceback.extract_tb(error.__traceback__) if "dataset_doctor/" in f.filename or "tests/fuzz/" in f.filename]
    inner = frames[-1] if frames else None
    where = f"{Path(inner.filename).stem}.{inner.name}" if inner else "?"
    text = "".join("#" if char.isdigit() else char for char in re.split(r"[\n\[]", str(error))[0])[:90]
    return f"{type(error).__name__} in {where}: {text if isinstance(error, AssertionError) or where.startswith('_writing') else text[:40]}"


@contextlib.contextmanager
def limited() -> Iterator[None]:
    """End what takes too long: by an exception, and what does not hear it by ending the process with its stack."""
    old = {kind: signal.signal(kind, _late) for kind in (signal.SIGPROF, signal.SIGALRM)}
    signal.setitimer(signal.ITIMER_PROF, SECONDS)
    signal.setitimer(signal.ITIMER_REAL, 5 * SECONDS)
    faulthandler.dump_traceback_later(8 * SECONDS, exit=True, file=sys.__stderr__)
    try:
        yield
    finally:
        faulthandler.cancel_dump_traceback_later()
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.setitimer(signal.ITIMER_REAL, 0)
        for kind, handler in old.items():
            signal.signal(kind, handler)


def _late(number: int, frame: FrameType | None) -> None:
    raise TooSlow(f"after {SECONDS:g} s of work" if number == signal.SIGPROF else f"blocked for {5 * SECONDS:g} s")


def limit_memory() -> None:
    """Hold this process to the memory it may use from now on."""
    with open("/proc/self/statm") as file:
        held = int(file.read().split()[0]) * os.sysconf("SC_PAGE_SIZE")
    resource.setrlimit(resource.RLIMIT_AS, (held + MEMORY_BYTES, resource.RLIM_INFINITY))
