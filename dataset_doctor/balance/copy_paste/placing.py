"""Where to paste: places at which an object of its class could be, that hide little of what is there and look like its surroundings."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from dataset_doctor.balance.copy_paste.objects import SMALLEST_PX
from dataset_doctor.files.images import decoded
from dataset_doctor.files.processes import processors
from dataset_doctor.files.reading import Unreadable, read_regular
from dataset_doctor.geometry import Boxes

COVERED = 0.25
"""Share of any box in the image that pastes may cover together, so that three quarters of each object stay visible."""

LARGEST_SCALE, SMALLEST_SCALE = 1.5, 0.35
"""How much an object may be enlarged, beyond which it shows, and shrunk."""

TRIES = 24
"""Places that are looked at in each image."""

SIZE_JITTER, PLACE_JITTER = 0.1, 0.04
"""Standard deviations: of the logarithm of the size, and of the place as a share of the height."""

MOST_OF_PICTURE = 0.95
"""Share of each side of an image that an object may fill."""

_SMALL_PX = 48  # longer side of the images that surroundings are compared in
_KEPT = 50_000  # small images that are kept in memory, some 5 kB each
_LOOK_AROUND = 0.3  # how far around a box its surroundings reach, as a share of its sides
_OVERLAP_COUNTS = 0.25  # what a paste wholly upon other objects costs, as a difference of colour
_UNKNOWN_COUNTS = 0.5  # what surroundings cost that cannot be compared
_MAX_BYTES = 1 << 28

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class Habit:
    """Where the instances of a class are, and how large: of each the height and the middle, as shares of its image's height."""

    height: Floats
    middle: Floats


@dataclass(frozen=True, slots=True, eq=False)
class Subjects:
    """Objects of one class of which one is to be placed.

    size    float64 (n, 2): width and height in their own images, in pixels
    margin  float64 (n): how far they are cut out beyond their boxes, as a share of the sides
    colour  float64 (n, 3): what is around them in their own images, 0 to 1; NaN where that is unknown
    """

    size: Floats
    margin: Floats
    colour: Floats


@dataclass(frozen=True, slots=True, eq=False)
class Canvas:
    """An image that may be pasted into.

    image    its row among the images
    size     width and height in pixels
    boxes    float64 (n, 4): what is in it, earlier pastes included
    free     float64 (n): the area of each that may still be covered; 0 for earlier pastes
    """

    image: int
    size: Floats
    boxes: Boxes
    free: Floats


@dataclass(frozen=True, slots=True, eq=False)
class Spot:
    """A place for an object: which of those offered, in which of the images, at which scale, and with which box.

    `covers` is the area of each box in the image that it hides.
    """

    subject: int
    canvas: int
    scale: float
    box: Floats
    covers: Floats


class Surroundings:
    """The colours around places in images, looked up in small copies that are read when they are needed."""

    def __init__(self, root: Path, names: Sequence[str], sizes: Floats) -> None:
        self._root, self._names, self._sizes = root, names, sizes
        self._small: dict[int, NDArray[np.uint8] | None] = {}

    def load(self, images: Sequence[int]) -> None:
        """Read some images ahead, a thread a core."""
        missing = [image for image in dict.fromkeys(images) if image not in self._small][:_KEPT]
        with ThreadPoolExecutor(min(processors(), 8)) as pool:
            self._small.update(zip(missing, pool.map(self._read, missing), strict=True))

    def tables(self, images: Sequence[int]) -> tuple[NDArray[np.int32], Floats]:
        """Give for each image the sums of its colours above and left of each place, and its small size; that is 0 where it is unknown.

        Args:
            images: Their rows.

        Returns:
            int32 (n, side, side, 3), and width and height (n, 2).
        """
        import cv2

        sums, sizes = np.zeros((len(images), _SMALL_PX + 1, _SMALL_PX + 1, 3), np.int32), np.zeros((len(images), 2))
        for at, image in enumerate(images):
            if image not in self._small:
                while len(self._small) >= _KEPT:
                    del self._small[next(iter(self._small))]
                self._small[image] = self._read(image)
            small = self._small[image]
            if small is not None:
                high, wide = small.shape[:2]
                sums[at, : high + 1, : wide + 1] = cv2.integral(small)
                sizes[at] = wide, high
        return sums, sizes

    def colours(self, images: Sequence[int], boxes: Boxes) -> Floats:
        """Give the mean colour around a box in each of some images, (n, 3), 0 to 1; NaN where the image cannot be read."""
        sums, small = self.tables(images)
        factor = small / self._sizes[np.asarray(images, np.intp)]
        return _colours(sums, small, np.arange(len(images))[:, None], boxes[:, None] * np.tile(factor, 2)[:, None])[:, 0]

    def _read(self, image: int) -> NDArray[np.uint8] | None:
        import cv2

        width, height = self._sizes[image].tolist()
        shrink = max(width, height) / _SMALL_PX
        flags = next((flag for least, flag in ((8, cv2.IMREAD_REDUCED_COLOR_8), (4, cv2.IMREAD_REDUCED_COLOR_4)) if shrink >= least), 1)
        try:
            data = read_regular(self._root / self._names[image], _MAX_BYTES)
        except (Unreadable, OSError):
            return None
        picture = decoded(np.frombuffer(data, np.uint8), flags)
        if picture is None:
            return None
        size = max(round(width / shrink), 1), max(round(height / shrink), 1)
        return np.asarray(cv2.resize(picture, size, interpolation=cv2.INTER_AREA), np.uint8)


def _colours(sums: NDArray[np.int32], sizes: Floats, picture: NDArray[np.intp], boxes: Floats) -> Floats:
    """Give the mean colour around boxes in small images, (n, k, 3), 0 to 1.

    Args:
        sums: Of each image, what `Surroundings.tables` gives.
        sizes: Of each image, too.
        picture: Which of them, (n, 1).
        boxes: In pixels of these, (n, k, 4).
    """
    limit = np.tile(sizes, 2)[picture]
    reach = np.maximum((boxes[..., 2:] - boxes[..., :2]) * _LOOK_AROUND, 1.5)
    inner = np.clip(np.rint(boxes), 0, limit).astype(np.intp)
    outer = np.clip(np.rint(boxes + np.concatenate([-reach, reach], axis=-1)), 0, limit).astype(np.intp)
    (around, n_around), (within, n_within) = _sum(sums, picture, outer), _sum(sums, picture, inner)
    # An object that fills its image has only itself around it.
    filled = n_around - n_within < 1
    within[filled], n_within[filled] = 0, 0
    with np.errstate(invalid="ignore"):
        colours: Floats = (around - within) / (n_around - n_within)[..., None] / 255
    return colours


def _sum(sums: NDArray[np.int32], picture: NDArray[np.intp], boxes: NDArray[np.intp]) -> tuple[NDArray[np.int32], NDArray[np.intp]]:
    """Add up the colours in boxes, and count their pixels."""
    x1, y1, x2, y2 = (boxes[..., k] for k in range(4))
    total: NDArray[np.int32] = sums[picture, y2, x2] - sums[picture, y1, x2] - sums[picture, y2, x1] + sums[picture, y1, x1]
    return total, (x2 - x1) * (y2 - y1)


class View:
    """Images to choose from, side by side: what `find_spot` needs of all of them at once."""

    def __init__(self, canvases: Sequence[Canvas], surroundings: Surroundings) -> None:
        self.canvases = canvases
        self.size = np.array([canvas.size for canvas in canvases]).reshape(-1, 2)
        most = max((len(canvas.boxes) for canvas in canvases), default=0)
        self.boxes, self.free = np.zeros((len(canvases), most, 4)), np.full((len(canvases), most), np.inf)
        for at, canvas in enumerate(canvases):
            self.boxes[at, : len(canvas.boxes)], self.free[at, : len(canvas.boxes)] = canvas.boxes, canvas.free
        self.sums, self.small = surroundings.tables([canvas.image for canvas in canvases])


def find_spot(subjects: Subjects, habit: Habit, view: View, pairs: NDArray[np.bool_], rng: np.random.Generator) -> Spot | None:
    """Find the best of some random places for one of some objects in one of some images; None where none keeps the rules.

    Size and height of the place are those of a random instance of the class, a little changed; where it is from left to right is free. No
    box is covered by more than it has free, and no earlier paste at all. Among what is left, the surroundings that are most like
    those that the object had decide: then light, water or wall go on around it.

    Args:
        subjects: The objects.
        habit: Where their class is, and how large.
        view: The images.
        pairs: bool (objects, images): which may be tried in which.
        rng: Where chance is used.
    """
    of, into = np.nonzero(pairs)
    if not len(of):
        return None
    shape = (len(of), TRIES)
    size, margin, room = subjects.size[of], subjects.margin[of][:, None], view.size[into]
    like = rng.integers(len(habit.height), size=shape)
    jitter = rng.standard_normal((2, *shape))
    least = SMALLEST_PX / size.min(axis=1)
    largest = np.minimum((room * MOST_OF_PICTURE / (size * (1 + 2 * margin))).min(axis=1), LARGEST_SCALE)
    smallest = np.minimum(np.maximum(least, SMALLEST_SCALE), largest)
    scale = habit.height[like] * np.exp(SIZE_JITTER * jitter[0]) * (room[:, 1] / size[:, 1])[:, None]
    scale = np.clip(scale, smallest[:, None], largest[:, None])
    sides = scale[..., None] * size[:, None]
    beyond = sides * margin[..., None]
    left = room[:, None] - sides - 2 * beyond
    across = rng.random(shape) * left[..., 0]
    down = (habit.middle[like] + PLACE_JITTER * jitter[1]) * room[:, 1:] - sides[..., 1] / 2 - beyond[..., 1]
    low = beyond + np.stack([across, np.clip(down, 0, left[..., 1])], axis=-1)
    boxes = np.concatenate([low, low + sides], axis=-1)
    whole = np.concatenate([low - beyond, low + sides + beyond], axis=-1)

    others = view.boxes[into][:, None]
    both = np.minimum(whole[:, :, None, 2:], others[..., 2:]) - np.maximum(whole[:, :, None, :2], others[..., :2])
    covers = np.maximum(both, 0).prod(axis=-1)
    allowed = (covers <= view.free[into][:, None]).all(axis=-1) & (largest >= least)[:, None]
    if not allowed.any():
        return None
    factor = np.tile(view.small[into] / room, 2)[:, None]
    found = _colours(view.sums, view.small, into[:, None], boxes * factor)
    difference = np.abs(found - subjects.colour[of][:, None]).mean(axis=-1)
    overlap = np.minimum(covers.sum(axis=-1) / (whole[..., 2:] - whole[..., :2]).prod(axis=-1), 1)
    cost = _OVERLAP_COUNTS * overlap + np.where(np.isnan(difference), _UNKNOWN_COUNTS, difference)
    cost[~allowed] = np.inf
    pair, at = (int(k) for k in np.unravel_index(cost.argmin(), shape))
    n_boxes = len(view.canvases[into[pair]].boxes)
    return Spot(int(of[pair]), int(into[pair]), float(scale[pair, at]), boxes[pair, at], covers[pair, at, :n_boxes])
