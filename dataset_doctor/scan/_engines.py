"""Where the work runs: on this machine's cores, or on a dask cluster. Both sit behind one seam, `map(function, shards)`.

Processes, not threads, do the work on this machine. The decoders release Python's lock, so that threads are about as fast (see
benchmarks/RESULTS.md), but a thread cannot be killed when a decoder hangs, and takes the whole program along when it crashes. The processes
are started by hand instead of by `multiprocessing`: an interpreter that a script without a main guard, a notebook or a program with threads
starts this way is as good as any, and which file a worker was busy with when it died is known, so that one file is lost and no other is
read again.
"""

from __future__ import annotations

import contextlib
import os
import queue
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import msgspec

from dataset_doctor.errors import DoctorError, UsageError, needs
from dataset_doctor.files.processes import processors
from dataset_doctor.scan._worker import READY, Kind, read_frame, write_frame

EngineName = Literal["local", "dask"]

SECONDS_A_FILE = 60.0
"""Time that one file may take, before its worker is ended."""

Work = Callable[[str], bytes]
"""A function of a module that can be imported, from an absolute path to bytes."""

Shard = Sequence[str]
"""Absolute paths that are worked on one after another."""


@dataclass(frozen=True, slots=True)
class Lost:
    """A file that its worker did not survive, or that it had no result for; `reason` says why, for a person."""

    reason: str


Outcome = bytes | Lost


class Engine(Protocol):
    """Runs a function over files; `shard_size` is the number of files worth one round trip."""

    shard_size: int

    def map(self, function: Work, shards: Sequence[Shard]) -> Iterator[tuple[int, list[Outcome]]]:
        """Give the number of each shard with its outcomes, one a path, as shards are done."""

    def close(self) -> None:
        """End what was started."""


def open_engine(name: str, workers: int | None, address: str | None) -> Engine:
    """Make an engine.

    Raises:
        UsageError: no engine of that name, no sensible number of workers, or no such cluster.
    """
    if workers is not None and workers < 1:
        raise UsageError(f"`workers` must be at least 1, got {workers}.", "Leave it out for all cores.")
    if name == "local":
        if address is not None:
            raise UsageError("`address` is for `engine=dask`.", "Leave it out, or choose `engine=dask`.")
        return Local(workers or processors())
    if name == "dask":
        return Dask(workers or processors(), address)
    from dataset_doctor.errors import did_you_mean

    raise UsageError(f"`engine={name}` is not known.", did_you_mean(name, ("local", "dask")))


# This machine -------------------------------------------------------------------------------------------------------


class Worker:
    """A worker process, started when it is first needed and again after each crash."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None
        self._busy_since = 0.0
        self._late = False
        self._closed = threading.Event()

    def run(self, function: Work, paths: Shard) -> list[Outcome]:
        """Call the function for each path.

        Raises:
            DoctorError: no worker can be started, or the function cannot be imported there.
        """
        outcomes: list[Outcome] = []
        while len(outcomes) < len(paths) and not self._closed.is_set():
            outcomes += self._until_a_crash(function, paths[len(outcomes) :])
        return outcomes

    def _until_a_crash(self, function: Work, paths: Shard) -> list[Outcome]:
        """Give the outcomes up to and including a file that the process does not survive."""
        process = self._process or self._start()
        assert process.stdin is not None
        assert process.stdout is not None
        task = (function.__module__, function.__qualname__, [os.fsencode(path) for path in paths])
        outcomes: list[Outcome] = []
        with contextlib.suppress(OSError, ValueError):  # it is dead already: the first read says so
            write_frame(process.stdin, msgspec.msgpack.encode(task))
        for _ in paths:
            self._busy_since = time.monotonic()
            frame = read_frame(process.stdout)
            self._busy_since = 0.0
            if not frame:
                outcomes.append(Lost(self._post_mortem(process)))
                break
            kind, answer = frame[0], frame[1:]
            if kind == Kind.UNUSABLE:
                raise DoctorError("Image files cannot be looked into.", f"A worker process says: {answer.decode('utf-8', 'replace')}")
            outcomes.append(answer if kind == Kind.RESULT else Lost(answer.decode("utf-8", "replace")))
        return outcomes

    def _start(self) -> subprocess.Popen[bytes]:
        code = "import sys; sys.path[:] = sys.argv[1:]; from dataset_doctor.scan._worker import main; main()"
        # One process a core: libraries that start threads of their own would only get into each other's way.
        alone = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
        environment = {**os.environ, **alone, "OPENCV_LOG_LEVEL": "SILENT"}
        command, pipe = [sys.executable, "-c", code, *sys.path], subprocess.PIPE
        try:
            with _deaf_to_ctrl_c():
                process = subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe, env=environment)
        except OSError as error:
            raise DoctorError("A worker process cannot be started.", f"The system says: {error.strerror}.") from error
        self._process, self._late = process, False
        if self._closed.is_set():
            process.kill()
        threading.Thread(target=self._watch, args=(process,), daemon=True).start()
        assert process.stdout is not None
        assert process.stderr is not None
        self._busy_since = time.monotonic()
        ready = read_frame(process.stdout)
        self._busy_since = 0.0
        with process.stderr as errors:  # which the worker has closed, once it is ready
            if ready != READY and not self._closed.is_set():
                last = errors.read().decode("utf-8", "replace").strip().rpartition("\n")[2]
                raise DoctorError("A worker process cannot be started.", f"It says: {last or 'nothing'}")
        return process

    def _watch(self, process: subprocess.Popen[bytes]) -> None:
        """End the process once it has been busy with one file for too long."""
        while process.poll() is None:
            if (since := self._busy_since) and time.monotonic() - since > SECONDS_A_FILE and self._process is process:
                self._late = True
                process.kill()
            self._closed.wait(min(SECONDS_A_FILE / 10, 0.5))
            if self._closed.is_set():
                return

    def _post_mortem(self, process: subprocess.Popen[bytes]) -> str:
        """Say why the process is gone, and forget it."""
        self._end(process)
        if self._late:
            return f"not done after {SECONDS_A_FILE:,.0f} seconds"
        return f"the decoder crashed (exit status {process.returncode})"

    def _end(self, process: subprocess.Popen[bytes]) -> None:
        self._process = None
        process.kill()
        process.wait()
        for pipe in (process.stdin, process.stdout):
            with contextlib.suppress(OSError, ValueError):
                if pipe is not None:
                    pipe.close()

    def close(self) -> None:
        """End the process, whatever it is doing."""
        self._closed.set()
        if (process := self._process) is not None:
            process.kill()

    def reap(self) -> None:
        """Wait for the end of a closed process."""
        if (process := self._process) is not None:
            self._end(process)


@contextlib.contextmanager
def _deaf_to_ctrl_c() -> Iterator[None]:
    """Start processes that never hear Ctrl-C, not even before their first line runs: it is for the parent, which ends them."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


class Local:
    """Worker processes on this machine, each served by a thread."""

    shard_size = 32

    def __init__(self, workers: int) -> None:
        self._workers = [Worker() for _ in range(workers)]

    def map(self, function: Work, shards: Sequence[Shard]) -> Iterator[tuple[int, list[Outcome]]]:
        """Give the number of each shard with its outcomes, one a path, as shards are done."""
        waiting: queue.SimpleQueue[tuple[int, Shard]] = queue.SimpleQueue()
        done: queue.SimpleQueue[tuple[int, list[Outcome]] | BaseException] = queue.SimpleQueue()
        for numbered in enumerate(shards):
            waiting.put(numbered)

        def serve(worker: Worker) -> None:
            try:
                while True:
                    number, shard = waiting.get_nowait()
                    done.put((number, worker.run(function, shard)))
            except queue.Empty:
                return
            except BaseException as error:  # belongs to who asked
                done.put(error)

        threads = [threading.Thread(target=serve, args=(worker,), daemon=True) for worker in self._workers[: len(shards)]]
        for thread in threads:
            thread.start()
        finished = False
        try:
            for _ in shards:
                outcome = done.get()
                if isinstance(outcome, BaseException):
                    raise outcome
                yield outcome
            finished = True
        finally:
            if not finished:
                self._stop()
            for thread in threads:
                thread.join()

    def _stop(self) -> None:
        for worker in self._workers:
            worker.close()

    def close(self) -> None:
        """End the processes."""
        self._stop()
        for worker in self._workers:
            worker.reap()


# A cluster ----------------------------------------------------------------------------------------------------------

_of_thread = threading.local()


def _on_cluster(module: str, name: str, paths: list[bytes]) -> list[tuple[bool, bytes]]:
    """Run a shard in a dask worker, through a process of its own as on any machine; it is kept for the next shard."""
    import importlib

    worker = getattr(_of_thread, "worker", None)
    if worker is None:
        worker = _of_thread.worker = Worker()
    function = getattr(importlib.import_module(module), name)
    outcomes = worker.run(function, [os.fsdecode(path) for path in paths])
    return [(True, o) if isinstance(o, bytes) else (False, o.reason.encode("utf-8", "replace")) for o in outcomes]


class Dask:
    """A dask cluster: the one at `address`, or one of `workers` processes on this machine.

    Its machines must have this package installed and see the dataset under the same path. Shards of a worker that dies go to another; those
    that the cluster gives up are done here.
    """

    shard_size = 128

    def __init__(self, workers: int, address: str | None) -> None:
        try:
            import distributed
        except ImportError as error:
            raise needs("The engine dask", "distributed", error, "cluster") from error
        import logging

        library: Any = distributed
        self._cluster: Any = None
        if address is None:
            self._cluster = library.LocalCluster(
                n_workers=workers, threads_per_worker=1, dashboard_address=None, silence_logs=logging.CRITICAL
            )
        try:
            self._client: Any = library.Client(address or self._cluster, timeout=10, set_as_default=False)
        except (OSError, ValueError, TypeError, ImportError) as error:
            raise UsageError(f"No dask scheduler answers at {address}.", f"{type(error).__name__}: {str(error)[:200]}") from error

    def map(self, function: Work, shards: Sequence[Shard]) -> Iterator[tuple[int, list[Outcome]]]:
        """Give the number of each shard with its outcomes, one a path, as shards are done."""
        import distributed

        library: Any = distributed
        tasks = [[os.fsencode(path) for path in shard] for shard in shards]
        futures = {
            self._client.submit(_on_cluster, function.__module__, function.__qualname__, task, pure=False): number
            for number, task in enumerate(tasks)
        }
        waiting = set(futures.values())
        try:
            for future in library.as_completed(list(futures), loop=self._client.loop, raise_errors=False):
                try:
                    answers = future.result()
                except Exception:  # of the task or of the cluster: it is tried here, where errors are told apart
                    continue
                waiting.remove(futures[future])
                yield futures[future], [answer if fine else Lost(answer.decode("utf-8", "replace")) for fine, answer in answers]
                future.release()
        finally:
            with contextlib.suppress(Exception):  # no cluster is left to cancel anything
                self._client.cancel(list(futures), force=True)
        if waiting:
            given_up = sorted(waiting)
            here = Local(processors())
            try:
                for i, outcomes in here.map(function, [shards[number] for number in given_up]):
                    yield given_up[i], outcomes
            finally:
                here.close()

    def close(self) -> None:
        """Leave the cluster; end it if it was started here."""
        for part in (self._client, self._cluster):
            with contextlib.suppress(Exception):  # it may be gone already
                if part is not None:
                    part.close()
