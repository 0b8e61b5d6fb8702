"""Examples to classify: whole images of class folders, or crops of instances of a detection dataset; decoded once, held as one array.

A crop is a square around the box, as wide as its longer side and a margin on each side, so that the shape of things stays; where it
leaves the image, the image's edge goes on. A whole image is resized by its shorter side, and its middle is cut out. Files are decoded at
a half, a quarter or an eighth of their size where that still leaves enough.
"""

from __future__ import annotations

import io
import os
import tempfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dataset_doctor.dataset import Dataset, LabelState
from dataset_doctor.files.processes import processors
from dataset_doctor.files.progress import Progress, silent
from dataset_doctor.files.reading import Unreadable, read_regular
from dataset_doctor.findings import listed, plural
from dataset_doctor.pixels import FileState, Pixels

MARGIN = 0.1
"""Context on each side of an instance, as a share of its longer side."""

LEAST_SIDE = 8
"""Instances whose longer side has fewer pixels are left out: there is nothing to see."""

MAX_FILE_BYTES, MAX_PIXELS = 256 << 20, 200_000_000
BACKGROUND = "background"
_TRIES = 20
_MEMORY_SHARE = 0.5


@dataclass(frozen=True, eq=False)
class Pictures:
    """The examples of one split: images, or crops.

    pixels  uint8 (n, S, S, 3), RGB; in memory, or in a file where they do not fit
    label   int64 (n): class of each
    image   int64 (n): row in the dataset's images of the one that it is, or was cut from
    window  float64 (n, 4): where it was cut from, xyxy in the pixels the labels count in; NaN for a whole image
    """

    pixels: Tensor
    label: NDArray[np.int64]
    image: NDArray[np.int64]
    window: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.label)

    def take(self, rows: NDArray[Any]) -> Pictures:
        """Take examples, by number or by Boolean mask."""
        rows = np.flatnonzero(rows) if rows.dtype == bool else rows
        return Pictures(self.pixels[torch.from_numpy(rows)], self.label[rows], self.image[rows], self.window[rows])


@dataclass(frozen=True, eq=False)
class Data:
    """What a classifier is trained, chosen and measured on.

    class_names       K names; the last is the background where crops of it are a class
    train, val, test  images of the splits
    mean, std         of red, green and blue over the training images, 0 to 1
    size              side of the images
    has_background    the last class is the background
    train_images      int64 (K): training images with each class
    notes             what was left out, one sentence each
    """

    class_names: tuple[str, ...]
    train: Pictures
    val: Pictures
    test: Pictures
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    size: int
    has_background: bool
    train_images: NDArray[np.int64]
    notes: tuple[str, ...] = ()

    @property
    def counts(self) -> NDArray[np.int64]:
        """Training examples of each class (K)."""
        counted: NDArray[np.int64] = np.bincount(self.train.label, minlength=len(self.class_names)).astype(np.int64)
        return counted


@dataclass(frozen=True, slots=True, eq=False)
class Cuts:
    """Which examples there are, before a file is opened.

    image, label  int64 (n): row of the image, and class
    window        float64 (n, 4): square as xyxy, in the pixels the labels count in; NaN for a whole image
    """

    image: NDArray[np.int64]
    label: NDArray[np.int64]
    window: NDArray[np.float64]
    class_names: tuple[str, ...]
    has_background: bool
    notes: tuple[str, ...]


# Which examples ---------------------------------------------------------------------------------------------------------


def choose(dataset: Dataset, *, margin: float = MARGIN, background: int = 0) -> Cuts:
    """Choose what is classified: every image of a folder dataset, else every instance, and regions without any if asked for.

    Args:
        dataset: What `read` gave.
        margin: Context on each side of an instance, as a share of its longer side.
        background: Crops of the background an image at most; above 0 the background is a class.
    """
    annotations = dataset.annotations
    kept = dataset.is_instance & (annotations.class_index >= 0)
    if dataset.task == "classify":
        rows = np.flatnonzero(kept)
        window = np.full((len(rows), 4), np.nan)
        return Cuts(annotations.image[rows].astype(np.int64), annotations.class_index[rows].astype(np.int64), window,
                    dataset.class_names, False, ())  # fmt: skip
    boxes, sizes = dataset.boxes, dataset.annotation_sizes
    with np.errstate(invalid="ignore"):
        clipped = np.clip(boxes, 0, np.concatenate([sizes, sizes], axis=1))
        side = np.maximum(clipped[:, 2] - clipped[:, 0], clipped[:, 3] - clipped[:, 1])
        sound = kept & (clipped[:, 2] > clipped[:, 0]) & (clipped[:, 3] > clipped[:, 1])
    large = side >= LEAST_SIDE
    rows = np.flatnonzero(sound & large)
    notes = []
    if n := int((kept & ~sound).sum()):
        notes.append(f"{plural(n, 'instance')} left out: no box inside the image.")
    if n := int((sound & ~large).sum()):
        notes.append(f"{plural(n, 'instance')} left out: the longer side has fewer than {LEAST_SIDE} pixels.")
    image, label = annotations.image[rows].astype(np.int64), annotations.class_index[rows].astype(np.int64)
    window, names = _around(clipped[rows], margin), dataset.class_names
    if not background:
        return Cuts(image, label, window, names, False, tuple(notes))
    found_image, found = _free_regions(dataset, clipped, window, background)
    image, label = np.concatenate([image, found_image]), np.concatenate([label, np.full(len(found), len(names))])
    order = np.argsort(image, kind="stable")
    own = BACKGROUND if BACKGROUND not in names else f"({BACKGROUND})"
    return Cuts(image[order], label[order], np.concatenate([window, found])[order], (*names, own), True, tuple(notes))


def _around(boxes: NDArray[np.float64], margin: float) -> NDArray[np.float64]:
    """Give squares around boxes, with a margin."""
    middle = (boxes[:, :2] + boxes[:, 2:]) / 2
    half = (boxes[:, 2:] - boxes[:, :2]).max(axis=1, keepdims=True, initial=0.0) * (0.5 + margin)
    return np.concatenate([middle - half, middle + half], axis=1)


def _free_regions(
    dataset: Dataset, boxes: NDArray[np.float64], windows: NDArray[np.float64], most: int
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Find squares that touch no label record, as large as instances are, at most so many an image; the same for the same dataset."""
    sides = windows[:, 2] - windows[:, 0]
    if not len(sides):
        return np.zeros(0, np.int64), np.zeros((0, 4))
    order = np.argsort(dataset.annotations.image, kind="stable")
    start = np.searchsorted(dataset.annotations.image[order], np.arange(dataset.n_images + 1))
    known = np.flatnonzero((dataset.images.label_state != LabelState.UNLABELED) & np.isfinite(dataset.sizes).all(axis=1))
    images, found = [], []
    for row in known.tolist():
        rng = np.random.default_rng((1, row))
        width, height = dataset.sizes[row]
        taken = boxes[order[start[row] : start[row + 1]]]
        if not np.isfinite(taken).all():
            continue
        side = np.minimum(rng.choice(sides, _TRIES), min(width, height))
        corner = rng.random((_TRIES, 2)) * (np.array([width, height]) - side[:, None])
        tried = np.concatenate([corner, corner + side[:, None]], axis=1)
        left_above, right_below = tried[:, None, :2] < taken[None, :, 2:], tried[:, None, 2:] > taken[None, :, :2]
        meets = np.asarray(left_above.all(axis=2)) & np.asarray(right_below.all(axis=2))
        free = tried[~meets.any(axis=1) & (side >= LEAST_SIDE)][:most]
        images += [row] * len(free)
        found.append(free)
    return np.array(images, np.int64), np.concatenate([np.zeros((0, 4)), *found])


# Their pixels -----------------------------------------------------------------------------------------------------------


def load(dataset: Dataset, cuts: Cuts, size: int, *, pixels: Pixels | None = None, progress: Progress = silent) -> Data:
    """Decode the images of the three splits.

    Args:
        dataset: What `read` gave.
        cuts: What `choose` gave.
        size: Side of the images.
        pixels: What a scan told; files that it could not decode whole are left out, and so are those that fail now.
        progress: Called with files decoded and files in all.
    """
    columns = {name: dataset.images.in_split[:, dataset.splits.index(name)] for name in ("train", "val", "test")}
    wanted = np.logical_or.reduce(list(columns.values()))[cuts.image]
    usable = dataset.images.has_file.copy()
    if pixels is not None:
        usable &= np.isin(pixels.state, (FileState.SOUND, FileState.SUSPECT))
    chosen = np.flatnonzero(wanted & usable[cuts.image])
    held = _room(len(chosen), size)
    broken = _decode_all(dataset, cuts, chosen, held, size, progress)
    lost = {*np.unique(cuts.image[wanted & ~usable[cuts.image]]).tolist(), *broken}
    notes = list(cuts.notes)
    if lost:
        names = [str(dataset.images.file_name[row]) for row in sorted(lost)]
        notes.append(f"{plural(len(names), 'image')} left out, missing or damaged: {listed(names[:3], len(names))}.")
    good = chosen[~np.isin(cuts.image[chosen], sorted(broken))]
    at = np.searchsorted(chosen, good)
    whole = torch.from_numpy(held)
    parts = {}
    for name, column in columns.items():
        mine = column[cuts.image[good]]
        rows = at[mine]
        # Where nothing is left out, a split is often one stretch, and needs no copy.
        stretch = len(rows) > 0 and rows[-1] - rows[0] + 1 == len(rows)
        values = whole[int(rows[0]) : int(rows[-1]) + 1] if stretch else whole[torch.from_numpy(rows)]
        parts[name] = Pictures(values, cuts.label[good[mine]], cuts.image[good[mine]], cuts.window[good[mine]])
    mean, std = _moments(parts["train"].pixels)
    k = len(cuts.class_names)
    pairs = np.unique(parts["train"].image * k + parts["train"].label)
    train_images = np.bincount(pairs % k, minlength=k).astype(np.int64)
    return Data(cuts.class_names, parts["train"], parts["val"], parts["test"], mean, std, size, cuts.has_background, train_images,
                tuple(notes))  # fmt: skip


def _room(n: int, size: int) -> NDArray[np.uint8]:
    """Make room for images: memory, or a file that the system removes with the process where they would take too much of it."""
    shape = (n, size, size, 3)
    needed = n * size * size * 3
    try:
        available = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_AVPHYS_PAGES")
    except (AttributeError, ValueError, OSError):
        available = 8 << 30
    if needed <= max(available * _MEMORY_SHARE, 1 << 28):
        return np.empty(shape, np.uint8)
    with tempfile.TemporaryFile(prefix="dataset-doctor-") as file:
        return np.memmap(file, np.uint8, "w+", shape=shape)


def _decode_all(dataset: Dataset, cuts: Cuts, chosen: NDArray[np.intp], held: NDArray[np.uint8], size: int, progress: Progress) -> set[int]:
    """Decode each image once and cut all examples out of it; give the rows of the images that cannot be decoded."""
    images, first = np.unique(cuts.image[chosen], return_index=True)
    ends = np.append(first[1:], len(chosen))
    assert (np.diff(cuts.image) >= 0).all() or dataset.task == "classify"

    def one(at: int) -> int | None:
        rows = slice(int(first[at]), int(ends[at]))
        ok = _cut(dataset, int(images[at]), cuts.window[chosen[rows]], held[rows], size)
        return None if ok else int(images[at])

    broken: set[int] = set()
    with ThreadPoolExecutor(processors()) as pool:
        for done, failed in enumerate(pool.map(one, range(len(images))), start=1):
            if failed is not None:
                broken.add(failed)
            if done % 32 == 0 or done == len(images):
                progress("Decoding images", done, len(images))
    return broken


def _cut(dataset: Dataset, row: int, windows: NDArray[np.float64], out: NDArray[np.uint8], size: int) -> bool:
    """Decode an image and put its examples into `out` (windows, S, S, 3); False where it cannot be decoded."""
    import cv2

    declared = dataset.sizes[row]
    actual = (int(dataset.images.file_width[row]), int(dataset.images.file_height[row]))
    if min(actual) > 0 and actual[0] * actual[1] > MAX_PIXELS:
        return False
    narrowest = float((windows[:, 2] - windows[:, 0]).min()) if np.isfinite(windows).all() else float(min(actual))
    # Labels that count in the pixels of the file as it is stored want it as it is stored.
    as_stored = tuple(declared) == actual[::-1] != actual
    picture = _decoded(os.path.join(dataset.root, dataset.images.file_name[row]), narrowest / size, as_stored)
    if picture is None:
        return False
    height, width = picture.shape[:2]
    for window, place in zip(windows, out, strict=True):
        if np.isnan(window[0]):
            side = min(width, height)
            x, y = (width - side) // 2, (height - side) // 2
            square = picture[y : y + side, x : x + side]
        else:
            scale = np.array([width, height, width, height]) / np.tile(declared, 2)
            square = _square(picture, window * scale)
        smaller = square.shape[0] >= size
        cv2.resize(square, (size, size), dst=place, interpolation=cv2.INTER_AREA if smaller else cv2.INTER_LINEAR)
        place[:] = place[..., ::-1].copy()
    return True


def _square(picture: NDArray[np.uint8], window: NDArray[np.float64]) -> NDArray[np.uint8]:
    """Cut a window out of an image, going on with the edge where it leaves it."""
    import cv2

    height, width = picture.shape[:2]
    x1, y1, x2, y2 = (round(float(value)) for value in window)
    x2, y2 = max(x2, x1 + 1), max(y2, y1 + 1)
    left, top, right, bottom = max(-x1, 0), max(-y1, 0), max(x2 - width, 0), max(y2 - height, 0)
    inner = picture[max(y1, 0) : min(y2, height), max(x1, 0) : min(x2, width)]
    if not (left or top or right or bottom):
        return inner
    bordered: NDArray[np.uint8] = cv2.copyMakeBorder(inner, top, bottom, left, right, cv2.BORDER_REPLICATE)  # type: ignore[assignment]
    return bordered


def _decoded(path: str, spare: float, as_stored: bool) -> NDArray[np.uint8] | None:
    """Decode a file to height × width × BGR, upright unless `as_stored`; `spare` is how many times smaller it may come out."""
    import cv2

    try:
        data = read_regular(path, MAX_FILE_BYTES)
    except Unreadable:
        return None
    reduced = {8: cv2.IMREAD_REDUCED_COLOR_8, 4: cv2.IMREAD_REDUCED_COLOR_4, 2: cv2.IMREAD_REDUCED_COLOR_2}
    flags = next((flag for factor, flag in reduced.items() if spare >= factor and data[:2] == b"\xff\xd8"), cv2.IMREAD_COLOR)
    try:
        picture = cv2.imdecode(np.frombuffer(data, np.uint8), flags | (cv2.IMREAD_IGNORE_ORIENTATION if as_stored else 0))
    except cv2.error:
        picture = None
    if picture is not None:
        return picture.astype(np.uint8, copy=False)
    return _by_pillow(data, as_stored)


def _by_pillow(data: bytes, as_stored: bool) -> NDArray[np.uint8] | None:
    from PIL import Image, ImageOps

    try:
        with Image.open(io.BytesIO(data)) as image:
            if image.width * image.height > MAX_PIXELS:
                return None
            upright = image if as_stored else ImageOps.exif_transpose(image)
            return np.ascontiguousarray(np.asarray(upright.convert("RGB"))[..., ::-1])
    except Exception:  # Pillow raises anything on hostile data
        return None


def _moments(pixels: Tensor) -> tuple[tuple[float, float, float], tuple[float, float, float]]:
    """Give mean and standard deviation of the channels, 0 to 1; a channel without any spread gets 1, so that nothing is divided by 0."""
    total, squares, n = np.zeros(3), np.zeros(3), 0
    for part in torch.split(pixels, 1024):
        values = part.numpy().reshape(-1, 3).astype(np.float64)
        total, squares, n = total + values.sum(axis=0), squares + (values**2).sum(axis=0), n + len(values)
    mean = total / max(n, 1)
    std = np.sqrt(np.maximum(squares / max(n, 1) - mean**2, 0.0))
    std = np.where(std > 0, std, 255.0)
    red, green, blue = (mean / 255).tolist()
    return (red, green, blue), tuple((std / 255).tolist())
