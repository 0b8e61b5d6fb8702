"""The shapes of COCO records: polygons, masks and keypoints, measured in a second pass over the label files.

Reading skips these members, which are most of a file's bytes. Here they are decoded piece by piece (see `_jsonarrays`), measured, and
forgotten. Sound pieces go to a strict decoder; in others each record is judged, and what cannot be measured becomes a flaw.
"""

from __future__ import annotations

import gc
import signal
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from dataset_doctor.dataset import Dataset, Flaw, Shapes, no_shapes, stack
from dataset_doctor.files.processes import may_fork, processors
from dataset_doctor.files.progress import Progress, silent
from dataset_doctor.files.reading import Unreadable
from dataset_doctor.files.tree import Tree, reopened
from dataset_doctor.formats.coco.arrays import Piece, Records, Restart, read_arrays
from dataset_doctor.formats.coco.files import text_of
from dataset_doctor.formats.coco.polygons import polygon_numbers
from dataset_doctor.formats.coco.records import as_number
from dataset_doctor.formats.outlines import measure_polygons
from dataset_doctor.masks import Runs, measure, unpack

BYTES_TO_SHARE = 48 << 20
"""From this size on two processes read a file faster than one."""
MOST_PROCESSES = 4


_NULL = msgspec.Raw(b"null")


class _Mask(msgspec.Struct, gc=False):
    size: tuple[int, int]
    counts: list[int] | str


class _Record(msgspec.Struct, gc=False):
    segmentation: msgspec.Raw = _NULL
    keypoints: list[float] | None = None
    num_keypoints: int = -1


class _Anything(msgspec.Struct, gc=False):
    pass


_RECORDS = msgspec.json.Decoder(list[_Record])
_POLYGONS = msgspec.json.Decoder(list[list[list[float]]])
_MASK = msgspec.json.Decoder(_Mask)
_ANYTHING = msgspec.json.Decoder(list[_Anything])
_MARKS = {"annotations": frozenset({"image_id"})}


def shapes(dataset: Dataset, progress: Progress = silent) -> Callable[[], Shapes]:
    """Begin to measure the shapes of all annotations of a COCO dataset; what can no longer be read has none.

    Large files are measured by other processes, so that this one can do something else before it asks for the result.
    """
    tree = reopened(dataset.root, dataset.sources)
    used = np.bincount(dataset.annotations.source, minlength=len(dataset.sources)) > 0
    pending = [_of_file(tree, name, progress) if used[source] else None for source, name in enumerate(dataset.sources)]
    return lambda: _collected(dataset, pending)


def _collected(dataset: Dataset, pending: Sequence[Callable[[], list[Part]] | None]) -> Shapes:
    """Put the shapes of each file's records where the dataset has them."""
    table = no_shapes(dataset.n_annotations)
    annotations = dataset.annotations
    for source, measured in enumerate(pending):
        rows = np.flatnonzero(annotations.source == source) if measured else np.zeros(0, np.intp)
        if measured and (parts := measured()):
            index = np.concatenate([at for at, _ in parts])
            found = stack([part for _, part in parts])
            row_of = np.full(max(int(index.max(initial=0)), int(annotations.position[rows].max())) + 1, -1, np.int64)
            row_of[index] = np.arange(len(index))
            at = row_of[annotations.position[rows]]
            rows, at = rows[at >= 0], at[at >= 0]
            for column in Shapes.__slots__:
                getattr(table, column)[rows] = getattr(found, column)[at]
    return table


Part = tuple[NDArray[np.int64], Shapes]
"""Indices in the file's list of annotations, and what their shapes are like."""


def _of_file(tree: Tree, name: str, progress: Progress) -> Callable[[], list[Part]]:
    """Measure the shapes of one label file: at once on several processes where it is large, else when the result is asked for."""
    alone = partial(_share, tree.root, name, 0, 1, progress)
    workers = _processes(tree.root / name)
    if workers == 1:
        return alone
    import multiprocessing
    from concurrent.futures import ProcessPoolExecutor
    from concurrent.futures.process import BrokenProcessPool

    try:
        pool = ProcessPoolExecutor(
            workers, mp_context=multiprocessing.get_context("fork"), initializer=signal.signal, initargs=(signal.SIGINT, signal.SIG_IGN)
        )
        shares = [pool.submit(_share, tree.root, name, worker, workers) for worker in range(workers)]
    except (OSError, RuntimeError):
        return alone

    def finished() -> list[Part]:
        try:
            with pool:
                return [part for share in shares for part in share.result()]
        except (OSError, RuntimeError, BrokenProcessPool):
            return alone()  # a process was lost: this one does it

    return finished


def _processes(path: Path) -> int:
    """Tell how many processes pay for a file. Only forks: a fresh process would run the user's script anew."""
    try:
        large = path.stat().st_size >= BYTES_TO_SHARE
    except (OSError, ValueError):
        return 1
    return min(processors(), MOST_PROCESSES) if large and may_fork() else 1


@dataclass(frozen=True, slots=True)
class _Skipped:
    """Records of a piece that another process measures."""

    n: int

    def __len__(self) -> int:
        return self.n


def _share(root: Path, name: str, worker: int, workers: int, progress: Progress = silent) -> list[Part]:
    """Measure every `workers`-th piece of a file, beginning with number `worker`; records to be judged are the first worker's."""
    parts: list[Part] = []
    try:
        data, _ = text_of(reopened(root, (name,)), name)
    except Unreadable:
        return parts
    turns = 0

    def strict(buffer: Any) -> Shapes | _Skipped:
        nonlocal turns
        if turns % workers != worker:
            piece: Shapes | _Skipped = _Skipped(len(_ANYTHING.decode(buffer)))
        else:
            piece = _strict(buffer)
        turns += 1
        return piece

    np.empty(30 << 20, np.uint8)  # freeing this once makes glibc keep memory for the next piece; to ask anew costs a third of the time
    collecting = gc.isenabled()
    gc.disable()  # millions of short-lived lists without cycles
    try:
        for event in read_arrays(data, {"annotations": strict}, _MARKS, lambda done: progress(f"Measuring {name}", done, len(data))):
            if isinstance(event, Piece) and isinstance(event.columns, Shapes):
                parts.append((event.first + np.arange(len(event.columns)), event.columns))
            elif isinstance(event, Records) and worker == 0:
                parts.append((np.array(event.indices, np.int64), _judged(event.values)))
            elif isinstance(event, Restart) and event.key == "annotations":
                parts.clear()
    finally:
        if collecting:
            gc.enable()
    return parts


def _strict(buffer: Any) -> Shapes:
    """Measure a JSON array of sound annotations; raises as `strict_annotations` does."""
    records = _RECORDS.decode(buffer)
    raws = [r.segmentation for r in records]
    first = _first_bytes(raws)
    listed, masked = np.flatnonzero(first == ord("[")), np.flatnonzero(first == ord("{"))
    if len(listed) + len(masked) + np.count_nonzero(first == ord("n")) < len(raws):
        raise ValueError("a segmentation that needs judgement")
    table = no_shapes(len(records))
    if len(listed):
        texts = [raws[row] for row in listed.tolist()]
        polygons = polygon_numbers(texts) or _flat_polygons(_POLYGONS.decode(b"".join((b"[", b",".join(texts), b"]"))))
        measure_polygons(table, listed, *polygons)
    _measure_masks(table, masked, [_MASK.decode(raws[row]) for row in masked.tolist()])
    _measure_keypoints(table, [r.keypoints for r in records], [r.num_keypoints for r in records])
    return table


def _first_bytes(raws: list[msgspec.Raw]) -> NDArray[np.uint8]:
    length = np.fromiter(map(len, raws), np.int64, len(raws))
    first: NDArray[np.uint8] = np.frombuffer(b"".join(raws), np.uint8)[np.cumsum(length) - length]
    return first


# One by one ---------------------------------------------------------------------------------------------------------


def _judged(values: Sequence[Any]) -> Shapes:
    """Measure records of any kind, those that are none included."""
    records = [value if isinstance(value, dict) else {} for value in values]
    judged = [_segmentation(record.get("segmentation")) for record in records]
    table = no_shapes(len(records))
    table.flaws[:] = np.fromiter([flaws for _, flaws in judged], np.uint16, len(judged))
    polygons = [(row, shape) for row, (shape, _) in enumerate(judged) if isinstance(shape, list)]
    if polygons:
        measure_polygons(table, np.array([row for row, _ in polygons]), *_flat_polygons([shape for _, shape in polygons]))
    masks = [(row, shape) for row, (shape, _) in enumerate(judged) if isinstance(shape, _Mask)]
    _measure_masks(table, np.array([row for row, _ in masks], np.int64), [shape for _, shape in masks])
    _measure_keypoints(table, [_numbers(r.get("keypoints")) for r in records], [_count(r) for r in records])
    return table


def _count(record: dict[str, Any]) -> int:
    value = as_number(record.get("num_keypoints"))
    return int(value) if value is not None and 0 <= value < 2**31 else -1


def _numbers(value: Any) -> list[float] | None:
    """Take a list of numbers; what is none becomes NaN."""
    if not isinstance(value, list) or not value:
        return None
    return [np.nan if (number := as_number(v)) is None else number for v in value]


def _segmentation(value: Any) -> tuple[list[list[float]] | _Mask | None, int]:
    """Take a segmentation as rings or a mask, with the flaws that taking it showed."""
    if value is None:
        return None, 0
    if isinstance(value, list):
        if value and not any(isinstance(ring, list) for ring in value):
            ring = _numbers(value) or []
            return [ring], Flaw.NOT_NESTED | (Flaw.MALFORMED if any(as_number(v) is None for v in value) else 0)
        rings = [(_numbers(ring) or []) if isinstance(ring, list) else [np.nan] * 6 for ring in value]
        return rings, 0
    if isinstance(value, dict) and "counts" in value:
        size, counts = value.get("size"), value["counts"]
        whole = (-1, -1)
        if sized := isinstance(size, list) and len(size) == 2 and all(type(side) is int and abs(side) < 2**62 for side in size):
            whole = (size[0], size[1])
        countable = isinstance(counts, str) or (isinstance(counts, list) and all(type(run) is int and abs(run) < 2**62 for run in counts))
        return _Mask(whole, counts if countable else [-1]), Flaw.MASK_INVALID if not countable or not sized else 0
    if value in ("", {}):
        return None, Flaw.EMPTY
    return None, Flaw.MASK_INVALID if isinstance(value, dict) else Flaw.MALFORMED


# Measuring ----------------------------------------------------------------------------------------------------------


def _flat_polygons(polygons: Sequence[list[list[float]]]) -> tuple[NDArray[np.float64], NDArray[np.int64], NDArray[np.int64]]:
    """Put polygons one after another, as `polygon_numbers` does."""
    rings: list[list[float]] = list(chain.from_iterable(polygons))
    return *_flat(rings), np.fromiter(map(len, polygons), np.int64, len(polygons))


def _flat(lists: Sequence[Sequence[float]]) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Put lists of numbers one after another; give also how long each is."""
    lengths = np.fromiter(map(len, lists), np.int64, len(lists))
    return np.fromiter(chain.from_iterable(lists), np.float64, int(lengths.sum())), lengths


def _measure_masks(table: Shapes, rows: NDArray[np.int64], masks: list[_Mask]) -> None:
    if not masks:
        return
    size = np.array([mask.size for mask in masks], np.int64)
    table.mask_size[rows] = size[:, ::-1]
    for packed, runs in _runs(masks):
        total, area, extent = measure(runs, size[packed, 0])
        of = rows[packed]
        table.mask_sum[of], table.area[of], table.largest[of], table.extent[of] = total, area, area, extent
        table.flaws[of[~runs.valid]] |= np.uint16(Flaw.MASK_INVALID)
        table.flaws[of[runs.valid & (total == 0)]] |= np.uint16(Flaw.EMPTY)


def _runs(masks: list[_Mask]) -> Iterator[tuple[NDArray[np.int64], Runs]]:
    """Give the run lengths of compressed and of plain masks, each with the numbers of the masks."""
    as_text = [row for row, mask in enumerate(masks) if isinstance(mask.counts, str)]
    if as_text:
        yield np.array(as_text), unpack([str(masks[row].counts).encode("utf-8", "surrogatepass") for row in as_text])
    plain = [row for row, mask in enumerate(masks) if not isinstance(mask.counts, str)]
    if plain:
        lists: list[Any] = [masks[row].counts for row in plain]
        counts = np.fromiter(map(len, lists), np.int64, len(lists))
        lengths = np.fromiter(chain.from_iterable(lists), np.int64, int(counts.sum()))
        yield np.array(plain), Runs(lengths, counts, np.ones(len(plain), bool))


def _measure_keypoints(table: Shapes, lists: list[list[float] | None], declared: list[int]) -> None:
    if declared.count(-1) < len(declared):
        table.declared[:] = np.clip(np.array(declared, np.int64), -1, 2**31 - 1)
    if lists.count(None) == len(lists):
        return
    posed = [row for row, points in enumerate(lists) if points]
    rows = np.array(posed)
    numbers, length = _flat([points for points in lists if points])
    table.keypoints[rows] = length
    owner = np.repeat(rows, length)
    within = np.arange(len(numbers)) - np.repeat(np.cumsum(length) - length, length)
    at = np.flatnonzero(within % 3 == 2)
    seen, of = numbers[at], owner[at]
    table.visible[rows] = 0
    table.visible[:] += np.bincount(of[seen > 0], minlength=len(table)).astype(np.int32)
    table.flaws[of[~np.isin(seen, (0.0, 1.0, 2.0))]] |= np.uint16(Flaw.VISIBILITY)
    placed = (seen == 0) & ((numbers[at - 1] != 0) | (numbers[at - 2] != 0))
    table.flaws[of[placed]] |= np.uint16(Flaw.HIDDEN_PLACED)
    table.flaws[np.unique(owner[~np.isfinite(numbers)])] |= np.uint16(Flaw.VISIBILITY)
