"""A worker process: calls one function for one path after another, and hands back bytes.

Image decoders are C libraries that read hostile files: they may crash, hang, eat memory and write to the terminal. So they run in
processes of their own, in which

* whatever is written to stdout or stderr goes to a file that `overheard` reads, since libjpeg tells of damage in no other way
* memory is limited (where the system can)
* Ctrl-C is ignored: the parent decides; when the parent is gone, the pipe ends and so does the process

Both sides talk in frames: four bytes of length, then as many bytes. To the worker: MessagePack of a function's module and name, and paths;
back: one frame a path, its first byte a `Kind`. No pickle comes back, so that a decoder that was taken over can lie, but not reach further.
"""

from __future__ import annotations

import contextlib
import importlib
import os
import signal
import tempfile
from enum import IntEnum
from typing import IO

import msgspec

MAX_MEMORY_BYTES = 8 << 30
"""Address space of a worker. An image of 200 megapixels with four channels of 16 bits and a copy of it take half of this."""

MAX_FRAME_BYTES = 16 << 20
"""Longest frame that is believed: a decoder that was taken over must not make its parent read for ever."""

READY = b"ready"
"""First frame from a worker."""

Task = tuple[str, str, list[bytes]]
"""Module, name of a function in it, and paths."""


class Kind(IntEnum):
    """What a frame from a worker holds: the function's result, why it has none for this path, or why it can never have one."""

    RESULT = 0
    FAILED = 1
    UNUSABLE = 2


def write_frame(stream: IO[bytes], data: bytes) -> None:
    """Send bytes."""
    stream.write(len(data).to_bytes(4, "little"))
    stream.write(data)
    stream.flush()


def read_frame(stream: IO[bytes]) -> bytes | None:
    """Receive bytes; None where the other side is gone."""
    head = stream.read(4)
    if len(head) < 4:
        return None
    length = int.from_bytes(head, "little")
    data = stream.read(min(length, MAX_FRAME_BYTES))
    return data if len(data) == length else None


_heard: IO[bytes] | None = None


def overheard() -> str:
    """Give what was written to stdout and stderr since the last call; "" outside a worker process."""
    if _heard is None or not (length := os.fstat(_heard.fileno()).st_size):
        return ""
    _heard.seek(0)
    text = _heard.read(min(length, 4096)).decode("ascii", "replace")
    _heard.seek(0)
    _heard.truncate()
    return text


def main() -> None:
    """Serve tasks until the parent closes the pipe."""
    global _heard
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    tasks, answers = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    _heard = tempfile.TemporaryFile(buffering=0)  # noqa: SIM115 - open until the process ends
    nothing = os.open(os.devnull, os.O_RDONLY)
    for standard, replacement in ((0, nothing), (1, _heard.fileno()), (2, _heard.fileno())):
        os.dup2(replacement, standard)
    with contextlib.suppress(ImportError, OSError, ValueError):
        import resource

        resource.setrlimit(resource.RLIMIT_AS, (MAX_MEMORY_BYTES, resource.getrlimit(resource.RLIMIT_AS)[1]))
    with contextlib.suppress(BrokenPipeError):
        write_frame(answers, READY)
        while (message := read_frame(tasks)) is not None:
            _work(message, answers)
    os._exit(0)  # a decoder's threads and exit handlers must not keep a process that has no parent any more


def _work(message: bytes, answers: IO[bytes]) -> None:
    module, name, paths = msgspec.msgpack.decode(message, type=Task)
    for path in paths:
        try:
            kind, answer = Kind.RESULT, getattr(importlib.import_module(module), name)(os.fsdecode(path))
        except (ImportError, AttributeError) as error:
            kind, answer = Kind.UNUSABLE, str(error).encode("utf-8", "replace")
        except MemoryError:
            kind, answer = Kind.FAILED, b"not enough memory"
        except Exception as error:
            kind, answer = Kind.FAILED, f"{type(error).__name__}: {error}"[:200].encode("utf-8", "replace")
        write_frame(answers, bytes([kind]) + answer)
