"""Many cases in worker processes."""

from __future__ import annotations

import multiprocessing
import queue
from collections import Counter
from typing import Any

from tests.fuzz.cases import Failure, limit_memory, run


def work(format: str, seeds: range, told: Any) -> None:
    """Try seeds one after another; say before each which it is, so that one that ends the process is known."""
    import dataset_doctor.cli.app  # noqa: F401  (what is imported counts for no case)

    limit_memory()
    for seed in seeds:
        told.put((format, seed, None))
        told.put((format, seed, run(format, seed)))


def sweep(format: str, seeds: range, workers: int, tally: Counter[str]) -> list[Failure]:
    """Try seeds in worker processes, each every so-manieth; a worker that dies is a failure of its case and is replaced."""
    context = multiprocessing.get_context("spawn")
    waiting = [seeds[start::workers] for start in range(workers)]
    running: list[tuple[Any, Any, range, int]] = []
    failures: list[Failure] = []

    def start(part: range) -> None:
        told = context.Queue()
        process = context.Process(target=work, args=(format, part, told), daemon=True)
        process.start()
        running.append((process, told, part, -1))

    for part in waiting:
        start(part)
    while running:
        for entry in list(running):
            process, told, part, busy = entry
            try:
                while True:
                    _, seed, outcome = told.get(timeout=0.05)
                    busy = seed if outcome is None else -1
                    running[running.index(entry)] = entry = (process, told, part, busy)
                    if isinstance(outcome, Failure):
                        failures.append(outcome)
                        tally["failed"] += 1
                        print(f"--format {format} --seed {seed}: {outcome.kind}", flush=True)
                    elif outcome is not None:
                        tally[outcome] += 1
            except queue.Empty:
                pass
            if not process.is_alive() and told.empty():
                running.remove(entry)
                if busy >= 0:
                    failures.append(Failure(format, busy, f"the process ended with {process.exitcode}", ""))
                    print(f"--format {format} --seed {busy}: {failures[-1].kind}", flush=True)
                    rest = part[part.index(busy) + 1 :]
                    if len(rest):
                        start(rest)
    return failures
