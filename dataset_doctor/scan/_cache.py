"""What earlier scans found, kept in the user's cache folder: one SQLite file for all datasets.

SQLite, not Parquet: it takes batches as they come, keeps them through `kill -9`, and lets several scans read and write at once; a Parquet
file would have to be written anew, whole, by one process. Two tables:

* `files`: a file, by its path, size and times, has this content (a hash of its bytes)
* `results`: a function found this in this content

So an unchanged file is not opened, a changed one is scanned again, and one that was moved or copied is read and hashed but not decoded. The
result does not depend on where a file lies, so it can be trusted wherever the same bytes turn up. Paths are kept as hashes alone.

The cache only saves time: whatever goes wrong with it, the scan goes on without. It holds about 1.5 kB an image, and at MAX_BYTES what
was used longest ago is dropped. To clear it, delete its folder.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import os
import sqlite3
import time
import warnings
from collections.abc import Iterable, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

from dataset_doctor.errors import UsageError

FILE_NAME = "scan.sqlite"

APPLICATION_ID, SCHEMA = 0x44445653, 1
"""Marks the file as ours; a file of another SCHEMA is begun anew."""

MAX_BYTES = 2 << 30

WAIT_SECONDS = 10.0
"""How long to wait for another scan that is writing."""

_AT_ONCE = 500

_TABLES = """
CREATE TABLE IF NOT EXISTS files (key BLOB PRIMARY KEY, tail BLOB NOT NULL, content BLOB NOT NULL, day INTEGER NOT NULL) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS files_tail ON files (tail);
CREATE INDEX IF NOT EXISTS files_day ON files (day, content);
CREATE TABLE IF NOT EXISTS results (content BLOB, function TEXT, value BLOB NOT NULL, PRIMARY KEY (content, function)) WITHOUT ROWID;
"""


class CacheWarning(UserWarning):
    """The cache of the scan cannot be used, so that the scan takes longer; the message says why, for a person."""


def cache_folder() -> Path:
    """Give the folder of the cache: `DATASET_DOCTOR_CACHE`, or `dataset-doctor-vision` in `XDG_CACHE_HOME` or `~/.cache`."""
    if chosen := os.environ.get("DATASET_DOCTOR_CACHE"):
        return Path(chosen).absolute()
    # The XDG specification wants relative paths to be ignored.
    home = os.environ.get("XDG_CACHE_HOME", "")
    return (Path(home) if os.path.isabs(home) else Path("~/.cache").expanduser()) / "dataset-doctor-vision"


def file_keys(path: str, status: os.stat_result) -> tuple[bytes, bytes]:
    """Give the key of a file as it is now, and its tail: of name and size alone, as a file keeps them when it is moved."""
    name = os.fsencode(path)
    key = b"%s\0%d %d %d" % (name, status.st_size, status.st_mtime_ns, status.st_ctime_ns)
    tail = b"%s\0%d" % (os.path.basename(name), status.st_size)
    return hashlib.blake2b(key, digest_size=16).digest(), hashlib.blake2b(tail, digest_size=8).digest()


@functools.cache
def libraries() -> str:
    """Name the versions of the decoders, so that what others found is not taken for what these find."""
    found = []
    for package in ("opencv-python-headless", "opencv-python", "opencv-contrib-python", "pillow"):
        with contextlib.suppress(metadata.PackageNotFoundError):
            found.append(f"{package} {metadata.version(package)}")
    return ", ".join(found)


class Cache:
    """The cache in a folder; with None, one that knows nothing and keeps nothing."""

    def __init__(self, folder: Path | None) -> None:
        self._file = folder / FILE_NAME if folder else None
        self._base: sqlite3.Connection | None = None
        if self._file is None:
            return
        try:
            self._file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            self._open(self._file)
        except (OSError, sqlite3.Error) as error:
            self._give_up(error)

    @classmethod
    def for_dataset(cls, folder: Path | None, root: Path, *, chosen: bool) -> Cache:
        """Open the cache in a folder, unless that lies in the dataset.

        Raises:
            UsageError: it does, and the user has chosen it.
        """
        if folder is not None and Path(os.path.realpath(folder)).is_relative_to(os.path.realpath(root)):
            if chosen:
                raise UsageError(f"The cache folder {folder} lies in the dataset.", "Choose another one with DATASET_DOCTOR_CACHE.")
            _warn(f"The cache folder {folder} lies in the dataset, so nothing is cached. Choose another with DATASET_DOCTOR_CACHE.")
            folder = None
        return cls(folder)

    # Reading --------------------------------------------------------------------------------------------------------

    def results_of_files(self, function: str, keys: Sequence[bytes]) -> dict[bytes, bytes]:
        """Give what a function has found in files, by their key."""
        query = "SELECT key, value FROM files JOIN results USING (content) WHERE function = ? AND key IN"
        found: dict[bytes, bytes] = dict(self._select(query, keys, function))
        self._touch(found)
        return found

    def known_tails(self, tails: Sequence[bytes]) -> set[bytes]:
        """Tell which names with sizes have been seen somewhere."""
        return {tail for (tail,) in self._select("SELECT tail FROM files WHERE tail IN", tails)}

    def results_of_contents(self, function: str, contents: Sequence[bytes]) -> dict[bytes, bytes]:
        """Give what a function has found in contents, by their hash."""
        return dict(self._select("SELECT content, value FROM results WHERE function = ? AND content IN", contents, function))

    def _select(self, query: str, keys: Sequence[bytes], *values: str) -> list[Any]:
        rows: list[Any] = []
        try:
            for start in range(0, len(keys), _AT_ONCE):
                if self._base is None:
                    return []
                some = keys[start : start + _AT_ONCE]
                rows += self._base.execute(f"{query} ({','.join('?' * len(some))})", (*values, *some)).fetchall()
        except sqlite3.Error as error:
            self._give_up(error)
            return []
        return rows

    def _touch(self, keys: Iterable[bytes]) -> None:
        """Note that files were used today."""
        today = _today()
        if self._is_stale(today):
            self._write("UPDATE files SET day = ? WHERE key = ? AND day < ?", [(today, key, today) for key in keys])

    def _is_stale(self, today: int) -> bool:
        try:
            found = self._base.execute("SELECT 1 FROM files WHERE day < ? LIMIT 1", (today,)).fetchone() if self._base else None
        except sqlite3.Error as error:
            self._give_up(error)
            return False
        return found is not None

    # Writing --------------------------------------------------------------------------------------------------------

    def keep_files(self, files: Iterable[tuple[bytes, bytes, bytes]]) -> None:
        """Keep key, tail and content of files."""
        today = _today()
        self._write("INSERT OR REPLACE INTO files VALUES (?, ?, ?, ?)", [(*file, today) for file in files])

    def keep_results(self, function: str, results: Iterable[tuple[bytes, bytes]]) -> None:
        """Keep content and what a function found in it."""
        self._write("INSERT OR REPLACE INTO results VALUES (?, ?, ?)", [(content, function, value) for content, value in results])

    def _write(self, statement: str, rows: Sequence[tuple[object, ...]]) -> None:
        if self._base is None or not rows:
            return
        try:
            with self._base:
                self._base.executemany(statement, rows)
        except sqlite3.Error as error:
            self._give_up(error)

    def close(self) -> None:
        """Close the file; drop what was used longest ago where it has grown too large."""
        base, self._base = self._base, None
        if base is None:
            return
        try:
            self._prune(base)
            base.close()
        except sqlite3.Error:
            with contextlib.suppress(sqlite3.Error):
                base.close()

    def _prune(self, base: sqlite3.Connection) -> None:
        def used() -> int:
            pages, free, size = (base.execute(f"PRAGMA {name}").fetchone()[0] for name in ("page_count", "freelist_count", "page_size"))
            return int((pages - free) * size)

        while used() > MAX_BYTES:
            days = base.execute("SELECT DISTINCT day FROM files ORDER BY day LIMIT 2").fetchall()
            with base:
                if len(days) == 2:
                    base.execute("DELETE FROM files WHERE day < ?", days[1])
                else:  # all of it is of one day: any half will do
                    base.execute(
                        "DELETE FROM files WHERE key IN (SELECT key FROM files ORDER BY key LIMIT (SELECT COUNT(*) / 2 + 1 FROM files))"
                    )
                base.execute("DELETE FROM results WHERE content NOT IN (SELECT content FROM files)")
            if not base.execute("SELECT 1 FROM files LIMIT 1").fetchone():
                return

    # The file -------------------------------------------------------------------------------------------------------

    def _open(self, file: Path) -> None:
        try:
            self._base = _connect(file)
        except sqlite3.OperationalError:
            raise  # locked, read-only, no space: nothing is wrong with the file
        except sqlite3.DatabaseError as error:
            _set_aside(file, error)
            self._base = _connect(file)

    def _give_up(self, error: Exception) -> None:
        """Go on without the cache."""
        base, self._base = self._base, None
        if base is not None:
            with contextlib.suppress(sqlite3.Error):
                base.close()
        damaged = isinstance(error, sqlite3.DatabaseError) and not isinstance(error, sqlite3.OperationalError)
        if damaged and self._file is not None:
            _set_aside(self._file, error)
        else:
            _warn(f"The cache {self._file} cannot be used ({_reason(error)}), so the next scan will not be faster.")


class _Foreign(sqlite3.DatabaseError):
    """A database of another program, or of another version of this one."""


def _connect(file: Path) -> sqlite3.Connection:
    base = sqlite3.connect(file, timeout=WAIT_SECONDS)
    try:
        base.execute("PRAGMA journal_mode = WAL")
        base.execute("PRAGMA synchronous = NORMAL")
        with base:
            base.execute("BEGIN IMMEDIATE")
            identity = tuple(base.execute(f"PRAGMA {name}").fetchone()[0] for name in ("application_id", "user_version"))
            if identity != (APPLICATION_ID, SCHEMA):
                if base.execute("SELECT 1 FROM sqlite_master LIMIT 1").fetchone():
                    raise _Foreign("not written by this version of dataset-doctor")
                for statement in _TABLES.strip().split("\n"):
                    base.execute(statement)
                base.execute(f"PRAGMA application_id = {APPLICATION_ID}")
                base.execute(f"PRAGMA user_version = {SCHEMA}")
    except BaseException:
        base.close()
        raise
    return base


def _set_aside(file: Path, error: Exception) -> None:
    """Rename a file that is damaged, or not ours, and say so."""
    aside = file.with_name(file.name + ".damaged")
    try:
        file.replace(aside)
        for rest in ("-wal", "-shm"):
            file.with_name(file.name + rest).unlink(missing_ok=True)
    except OSError as failed:
        _warn(f"The cache {file} cannot be used ({_reason(error)}), nor renamed ({_reason(failed)}).")
        return
    _warn(f"The cache {file} could not be used ({_reason(error)}). It was renamed to {aside.name}; what was in it is found anew.")


def _reason(error: Exception) -> str:
    return (error.strerror or "").lower() if isinstance(error, OSError) else str(error)


def _warn(text: str) -> None:
    warnings.warn(text, CacheWarning, stacklevel=3)


def _today() -> int:
    return int(time.time() // 86_400)
