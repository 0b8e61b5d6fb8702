"""Look once into every image file of a dataset: in parallel, from a cache where nothing has changed, and never crashing on a file.

    from dataset_doctor.scan import look, scan

    pixels, duplicates = look(dataset)  # all that an audit asks of the image files
    pixels = scan(dataset)              # one row an image: state, statistics, hashes
    normalisation(dataset, pixels)      # mean and standard deviation of the channels

The way of a file: its size and times are looked up in the cache (`_cache`); what is not there goes in shards to an engine (`_engines`),
whose worker processes (`_worker`) call one function a file (`_look`); the bytes that come back go into the cache as they are, and
become columns all at once.
"""

from __future__ import annotations

import os
import stat
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from dataset_doctor.dataset import Dataset, Rows
from dataset_doctor.files.progress import Progress, silent
from dataset_doctor.pixels import Duplicates, FileState, Normalisation, Pixels
from dataset_doctor.scan import _look
from dataset_doctor.scan._cache import Cache, CacheWarning, cache_folder, file_keys, libraries
from dataset_doctor.scan._engines import Engine, EngineName, Lost, Outcome, Work, open_engine
from dataset_doctor.scan.near import clusters, find_duplicates, near_pairs

__all__ = ["CacheWarning", "Normalisation", "cache_folder", "look", "normalisation", "scan", "thumbnails"]


class Thumbnails(Protocol):
    """Gives small upright images as squares of luma; see `thumbnails`."""

    def __call__(self, rows: Rows, side: int = ..., /) -> NDArray[np.uint8]: ...


CacheChoice = Path | Literal["default"] | None
"""A folder, the user's cache folder, or no cache."""

BATCH_ROWS, BATCH_SECONDS = 512, 2.0
"""Results that are put into the cache together: what a `kill -9` may cost."""

TWIN_BITS = 4
TWIN_TOLERANCE = 0.02
"""Images of one size whose hashes (or chains of them) and mean channels are this near each other may have the same pixels: a JPEG and a
PNG made of it are not decoded at the same scale."""


def look(
    dataset: Dataset,
    *,
    near_bits: int | None = None,
    workers: int | None = None,
    engine: EngineName = "local",
    address: str | None = None,
    cache: CacheChoice = "default",
    progress: Progress = silent,
) -> tuple[Pixels, Duplicates]:
    """Look into every image file, and find the images that are the same or nearly so: what `audit` and `split` ask for.

    Args:
        dataset: What `read` gave.
        near_bits: How many of 64 bits of their hashes may differ between near-duplicates; see `near.find_duplicates`.
        workers: As of `scan`, like `engine`, `address` and `cache`.
        engine: As of `scan`.
        address: As of `scan`.
        cache: As of `scan`.
        progress: Called with what is done, how much, and how much in all.

    Returns:
        What `scan` gives, and what `near.find_duplicates` finds in it, each near pair verified on thumbnails.

    Raises:
        UsageError: the engine cannot be used, or the cache folder lies in the dataset.
    """
    pixels = scan(dataset, workers=workers, engine=engine, address=address, cache=cache, progress=progress)
    small = thumbnails(dataset, pixels, workers=workers, engine=engine, address=address, cache=cache, progress=progress)
    return pixels, find_duplicates(dataset, pixels, max_bits=near_bits, thumbnails=small)


def scan(
    dataset: Dataset,
    *,
    workers: int | None = None,
    engine: EngineName = "local",
    address: str | None = None,
    cache: CacheChoice = "default",
    progress: Progress = silent,
) -> Pixels:
    """Look into every image file: its state, format, EXIF, brightness, sharpness, colours and hashes.

    Whatever is wrong with a file is in its row (`state`, `error`); no file stops the scan.

    Args:
        dataset: What `read` gave.
        workers: Worker processes; one a core by default.
        engine: "local", or "dask" for a cluster (needs the extra `cluster`).
        address: Of the dask scheduler, such as tcp://host:8786; without it a cluster is started on this machine.
        cache: A folder for the cache, None for no cache; see `cache_folder` for the default.
        progress: Called with "image files" as results come in.

    Returns:
        One row an image of the dataset, in its order, the same with any engine and number of workers.

    Raises:
        UsageError: the engine cannot be used, or the cache folder lies in the dataset.
    """
    with closing(_Session(dataset, workers, engine, address, cache, progress)) as session:
        values = session.look()
        pixels = _columns(values)
        twins = _possible_twins(dataset, pixels)
        hashes = session.find(_look.pixel_hash, twins, pixels, "identical pixels")
        of_content = dict(zip(pixels.content_hash[twins].tolist(), hashes, strict=True))
        pixels.pixel_hash[:] = [of_content.get(content, b"") for content in pixels.content_hash.tolist()]
    return pixels


def thumbnails(
    dataset: Dataset,
    pixels: Pixels,
    *,
    workers: int | None = None,
    engine: EngineName = "local",
    address: str | None = None,
    cache: CacheChoice = "default",
    progress: Progress = silent,
) -> Thumbnails:
    """Give a function from rows of the dataset's images to luma of the upright images, uint8 (k, side, side); zero where not decoded.

    The side is 32, or 96 for a close look at pairs. What was made stays in the cache. Arguments as of `scan`.
    """

    def of(rows: Rows, side: int = _look.HASH_SIDE) -> NDArray[np.uint8]:
        made = np.zeros((len(rows), side, side), np.uint8)
        function = _SQUARES[side]
        with closing(_Session(dataset, workers, engine, address, cache, progress)) as session:
            for i, value in enumerate(session.find(function, rows, pixels, "thumbnails")):
                if len(value) == made[i].size:
                    made[i] = np.frombuffer(value, np.uint8).reshape(made[i].shape)
        return made

    return of


_SQUARES = {_look.HASH_SIDE: _look.thumbnail, _look.CLOSE_SIDE: _look.closeup}


def normalisation(dataset: Dataset, pixels: Pixels) -> Normalisation | None:
    """Pool the channel statistics of the training split (of all images where there is none); None where nothing was decoded.

    The deviation is over all pixels, between images as well as within: E[x²] − E[x]² with E[x²] = Σ n (s² + m²) ÷ Σ n. As the scan looks
    at small images, it is a few per cent lower than at full scale.
    """
    images = dataset.images
    training = np.ones(len(images), bool) if (name := dataset.training_split) is None else images.in_split[:, dataset.splits.index(name)]
    n_pixels = images.file_width.astype(np.float64) * images.file_height
    rows = np.flatnonzero(training & np.isfinite(pixels.channel_mean).all(axis=1) & (images.file_width > 0) & (images.file_height > 0))
    if not len(rows):
        return None
    weights, means, stds = n_pixels[rows], pixels.channel_mean[rows].astype(np.float64), pixels.channel_std[rows].astype(np.float64)
    mean = np.average(means, axis=0, weights=weights)
    square = np.average(stds**2 + means**2, axis=0, weights=weights)
    red, green, blue = mean.tolist()
    red_std, green_std, blue_std = np.sqrt(np.maximum(square - mean**2, 0)).tolist()
    return Normalisation((red, green, blue), (red_std, green_std, blue_std), len(rows))


# Between cache and engine -------------------------------------------------------------------------------------------


class _Session:
    """The cache and, once it is needed, the engine, for the functions of one scan."""

    def __init__(
        self, dataset: Dataset, workers: int | None, engine: EngineName, address: str | None, cache: CacheChoice, progress: Progress
    ) -> None:
        root = os.path.join(dataset.root, "")
        self.dataset = dataset
        self.paths = [root + name for name in dataset.images.file_name.tolist()]
        self.progress = progress
        self._open_engine: Callable[[], Engine] = lambda: open_engine(engine, workers, address)
        self._engine: Engine | None = open_engine(engine, workers, address) if engine != "dask" else None
        folder = cache_folder() if cache == "default" else cache
        chosen = cache != "default" or bool(os.environ.get("DATASET_DOCTOR_CACHE"))
        self._cache = Cache.for_dataset(folder, dataset.root, chosen=chosen)
        self._decoders = libraries()

    def close(self) -> None:
        """Keep what was found, and end what was started."""
        self._cache.close()
        if self._engine is not None:
            self._engine.close()

    def _key(self, function: Work) -> str:
        return f"{function.__name__} {_look.REVISION} ({self._decoders})"

    def look(self) -> list[bytes]:
        """Look into each file of the dataset that is there; give a value of `_look.look` an image."""
        values = [_failed(FileState.MISSING, "")] * len(self.paths)
        there = self.dataset.images.has_file.tolist()
        keys: dict[int, tuple[bytes, bytes]] = {}
        waiting = []
        for row, path in enumerate(self.paths):
            if not there[row]:
                continue
            try:
                status = os.stat(path)  # noqa: PTH116 - several times as fast
                if stat.S_ISREG(status.st_mode):
                    keys[row] = file_keys(path, status)
            except (OSError, ValueError):
                pass  # what is wrong with it the worker will say
            waiting.append(row)
        total = len(waiting)
        function = self._key(_look.look)
        found = _whole(self._cache.results_of_files(function, [key for key, _ in keys.values()]))
        hits = {row: found[key] for row, (key, _) in keys.items() if key in found}
        for row, value in hits.items():
            values[row] = value
        waiting = [row for row in waiting if row not in hits]
        waiting = self._recognise(waiting, keys, values)
        self.progress("image files", total - len(waiting), total)
        for batch in self._batches(_look.look, waiting, "image files", total):
            files, results, squares = [], [], []
            for row, outcome in batch:
                values[row], square = _divided(self._checked(row, outcome))
                content = _content(values[row])
                if row in keys and any(content):
                    files.append((*keys[row], content))
                    results.append((content, values[row]))
                    squares.append((content, square))
            self._cache.keep_results(function, results)
            # Most datasets are compared next: so no file has to be decoded twice.
            self._cache.keep_results(self._key(_look.thumbnail), squares)
            self._cache.keep_files(files)
        return values

    def _recognise(self, rows: list[int], keys: dict[int, tuple[bytes, bytes]], values: list[bytes]) -> list[int]:
        """Find by their content files that were scanned elsewhere; give the rows that remain."""
        known = self._cache.known_tails(list({keys[row][1] for row in rows if row in keys}))
        moved = [row for row in rows if row in keys and keys[row][1] in known]
        recognised: set[int] = set()
        for batch in self._batches(_look.content_hash, moved, "moved files", len(moved)):
            contents = {row: outcome for row, outcome in batch if isinstance(outcome, bytes) and outcome}
            found = _whole(self._cache.results_of_contents(self._key(_look.look), list(set(contents.values()))))
            hits = {row: content for row, content in contents.items() if content in found}
            for row, content in hits.items():
                values[row] = found[content]
            self._cache.keep_files((*keys[row], content) for row, content in hits.items())
            recognised.update(hits)
        return [row for row in rows if row not in recognised]

    def _checked(self, row: int, outcome: Outcome) -> bytes:
        """Make a value of any outcome; doubt a worker on another machine that does not find a file which is there."""
        if isinstance(outcome, Lost):
            return _lost(FileState.CORRUPT, outcome.reason)
        if len(outcome) < _look.RECORD.itemsize + _look.HASH_SIDE**2:
            return _lost(FileState.CORRUPT, "the decoder gave no sensible answer")
        if outcome[0] == FileState.MISSING and Path(self.paths[row]).exists():
            return _lost(FileState.SUSPECT, "a worker did not find it; does each see the dataset under the same path?")
        return outcome

    def find(self, function: Work, rows: Rows, pixels: Pixels, what: str) -> list[bytes]:
        """Call a function for the files of some rows; b"" where it has no result."""
        contents = {row: pixels.content_hash[row] for row in rows.tolist()}
        key = self._key(function)
        found = self._cache.results_of_contents(key, list({content for content in contents.values() if content}))
        values = {row: found[content] for row, content in contents.items() if content in found}
        waiting = [row for row in contents if row not in values]
        for batch in self._batches(function, waiting, what, len(contents)):
            # A file that has changed since it was looked into has another content by now: what is found in it says nothing of the old one.
            size = _look.HASH_BYTES
            made = {row: outcome[size:] for row, outcome in batch if isinstance(outcome, bytes) and outcome[:size] == contents[row] != b""}
            values.update(made)
            self._cache.keep_results(key, [(contents[row], value) for row, value in made.items()])
        return [values.get(row, b"") for row in contents]

    def _batches(self, function: Work, rows: Sequence[int], what: str, total: int) -> Iterator[list[tuple[int, Outcome]]]:
        """Let the engine work; give rows with their outcomes as they come in, so many at a time as belong into the cache together."""
        if not rows:
            return
        self._engine = self._engine or self._open_engine()
        # Small datasets are shared out as well.
        size = max(1, min(self._engine.shard_size, len(rows) // 8))
        shards = [rows[start : start + size] for start in range(0, len(rows), size)]
        done = total - len(rows)
        batch: list[tuple[int, Outcome]] = []
        begun = time.monotonic()
        try:
            for number, outcomes in self._engine.map(function, [[self.paths[row] for row in shard] for shard in shards]):
                batch += zip(shards[number], outcomes, strict=True)
                done += len(outcomes)
                self.progress(what, done, total)
                if len(batch) >= BATCH_ROWS or time.monotonic() - begun > BATCH_SECONDS:
                    yield batch
                    batch, begun = [], time.monotonic()
        except KeyboardInterrupt:
            yield batch
            raise
        yield batch


# Columns ------------------------------------------------------------------------------------------------------------


def _failed(state: FileState, error: str) -> bytes:
    record = _look.blank()
    record["state"] = state
    return record.tobytes() + error.encode("utf-8", "replace")


def _lost(state: FileState, error: str) -> bytes:
    """Give what `_look.look` would have given."""
    failed = _failed(state, error)
    size = _look.RECORD.itemsize
    return failed[:size] + bytes(_look.HASH_SIDE**2) + failed[size:]


def _divided(value: bytes) -> tuple[bytes, bytes]:
    """Take the small square out of what `_look.look` gave; nothing where nothing was decoded."""
    start, end = _look.RECORD.itemsize, _look.RECORD.itemsize + _look.HASH_SIDE**2
    square = value[start:end]
    return value[:start] + value[end:], square if any(square) else b""


def _whole(values: dict[bytes, bytes]) -> dict[bytes, bytes]:
    """Leave out values that hold no whole record."""
    return {key: value for key, value in values.items() if len(value) >= _look.RECORD.itemsize}


_CONTENT_AT = _look.RECORD.fields["content_hash"][1]  # type: ignore[index]


def _content(value: bytes) -> bytes:
    return value[_CONTENT_AT : _CONTENT_AT + _look.HASH_BYTES]


def _columns(values: Sequence[bytes]) -> Pixels:
    """Make columns of what `_look.look` gave."""
    size = _look.RECORD.itemsize
    table: NDArray[Any] = np.frombuffer(b"".join([value[:size] for value in values]), _look.RECORD)
    p1, p5, p50, p95, p99 = np.ascontiguousarray(table["brightness"].T)
    nothing = bytes(_look.HASH_BYTES)

    def texts(items: Sequence[str | bytes | None]) -> NDArray[np.object_]:
        column = np.empty(len(items), object)
        column[:] = items
        return column

    return Pixels(
        state=table["state"].copy(),
        error=texts([value[size:].decode("utf-8", "replace") or None if len(value) > size else None for value in values]),
        file_format=texts([value.decode("ascii", "replace") for value in table["file_format"].tolist()]),
        size_bytes=table["size_bytes"].copy(),
        mode=texts([value.decode("ascii", "replace") for value in table["mode"].tolist()]),
        bit_depth=table["bit_depth"].copy(),
        frames=table["frames"].copy(),
        orientation=table["orientation"].copy(),
        has_gps=table["has_gps"].copy(),
        has_serial=table["has_serial"].copy(),
        brightness_p1=p1,
        brightness_p5=p5,
        brightness_p50=p50,
        brightness_p95=p95,
        brightness_p99=p99,
        contrast=table["contrast"].copy(),
        sharpness=table["sharpness"].copy(),
        entropy=table["entropy"].copy(),
        value_p99=table["value_p99"].copy(),
        chroma=table["chroma"].copy(),
        detail=table["detail"].copy(),
        relief=table["relief"].copy(),
        channel_mean=table["channel_mean"].copy(),
        channel_std=table["channel_std"].copy(),
        content_hash=texts([b"" if (content := _content(value)) == nothing else content for value in values]),
        pixel_hash=texts([b""] * len(values)),
        perceptual=table["perceptual"].copy(),
        is_flat=table["is_flat"].copy(),
        sketch=table["sketch"].copy(),
    )


def _possible_twins(dataset: Dataset, pixels: Pixels) -> Rows:
    """Give the rows of files that may have the same pixels as another file with other bytes; of files with the same bytes, the first."""
    images = dataset.images
    decoded = np.flatnonzero(np.isfinite(pixels.contrast))[::-1].tolist()
    rows = np.array(sorted({pixels.content_hash[row]: row for row in decoded}.values()), np.intp)
    sizes = np.stack([images.file_width[rows], images.file_height[rows]], 1)
    number = np.unique(sizes, axis=0, return_inverse=True)[1].ravel()
    # With random bits for each size, hashes of images of different sizes are far apart, however many have one hash.
    of_size = np.random.default_rng(0).integers(0, 2**64, len(rows), dtype=np.uint64)
    hashes = np.where(pixels.is_flat[rows], np.uint64(0), pixels.perceptual[rows])
    distinct, number = np.unique(hashes ^ of_size[number], return_inverse=True)
    cluster = clusters(near_pairs(distinct, TWIN_BITS)[0], len(distinct))
    alone = cluster < 0
    cluster[alone] = -1 - np.arange(int(alone.sum()))
    cluster = cluster[number]
    _, number, count = np.unique(cluster, return_inverse=True, return_counts=True)
    rows, cluster = rows[count[number] > 1], cluster[count[number] > 1]
    if not len(rows):
        return rows
    from scipy.spatial import KDTree  # loading it takes longer than all of this, and most datasets do without

    # Clusters are whole numbers, far apart beside the tolerance, so that neighbours are of one cluster.
    points, number, count = np.unique(
        np.column_stack([cluster, pixels.channel_mean[rows]]), axis=0, return_inverse=True, return_counts=True
    )
    distances = np.asarray(KDTree(points).query(points, k=2, p=np.inf, distance_upper_bound=TWIN_TOLERANCE)[0])
    twins: Rows = rows[((count > 1) | np.isfinite(distances[:, 1]))[number.ravel()]]
    return twins
