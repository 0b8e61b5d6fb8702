"""Try many cases, or one again: python -m tests.fuzz --help."""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections import Counter

from tests.fuzz.cases import FORMATS, Failure, damaged, minimised, run
from tests.fuzz.sweeps import sweep
from tests.fuzz.trees import Tree

STEP = 100
"""Seeds of one format that are tried before those of the next."""


def show(tree: Tree) -> None:
    """Print a tree, short files whole."""
    for name, node in tree.items():
        shown = node if not isinstance(node, bytes) or len(node) < 2000 else node[:200] + b" ..."
        print(f"  {name!r}: {shown!r}")


def main() -> int:
    """Parse, try, tell."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.fuzz", description="Hold random damaged datasets to the laws of tests/fuzz/laws.py."
    )
    parser.add_argument("--format", choices=FORMATS, action="append", help="by default each")
    parser.add_argument("--cases", type=int, default=1000, help="how many seeds of each format")
    parser.add_argument("--first", type=int, default=0, help="the first of them")
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--minutes", type=float, default=1e9, help="begin no further hundred after so long")
    parser.add_argument("--seed", type=int, help="try this one, and print it as small as it still fails")
    parser.add_argument("--whole", action="store_true", help="with --seed: print the case as it is")
    args = parser.parse_args()
    formats = args.format or FORMATS
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    if args.seed is not None:
        outcome = run(formats[0], args.seed)
        if args.whole:
            show(damaged(formats[0], args.seed)[0])
        if isinstance(outcome, str):
            print(f"holds: {outcome}")
            return 0
        print(outcome.text)
        show(minimised(outcome))
        return 1
    failures: list[Failure] = []
    begun = time.monotonic()
    tallies: dict[str, Counter[str]] = {format: Counter() for format in formats}
    for start in range(args.first, args.first + args.cases, STEP):
        for format in formats:
            if time.monotonic() - begun < 60 * args.minutes:
                seeds = range(start, min(start + STEP, args.first + args.cases))
                failures += sweep(format, seeds, args.workers, tallies[format])
    for kind, times in Counter(failure.kind for failure in failures).most_common():
        first = next(failure for failure in failures if failure.kind == kind)
        print(f"{times:6} × {kind}   first: --format {first.format} --seed {first.seed}")
    for format, tally in tallies.items():
        parts = ", ".join(f"{what} {times:,}" for what, times in tally.most_common())
        print(f"{format}: {sum(tally.values()):,} cases ({parts})")
    print(f"{len(failures)} failures in {time.monotonic() - begun:,.0f} s")
    return int(bool(failures))


if __name__ == "__main__":
    sys.exit(main())
