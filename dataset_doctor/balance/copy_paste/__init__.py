"""Copy-paste: instances of scarce classes set into other images, until each class has its target.

Repeating an image repeats all its classes; pasting an instance adds one of its class alone (Ghiasi et al., "Simple Copy-Paste is a Strong
Data Augmentation Method for Instance Segmentation", 2021). So it reaches counts that no repeats can. Every image stays as it is; the
generated images come on top of them, and each is an image of the split with up to `PASTES` instances more.

What is in the image that is pasted into counts too: it is chosen so that no class goes beyond its target for it if it can be helped.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Iterator, Sequence
from itertools import islice
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dataset_doctor.balance.copy_paste.collages import Collage, Filled, Pasted, Why
from dataset_doctor.balance.copy_paste.objects import MASK_FEATHER_PX, Measures, Stock, cut_out, measured, stock_of
from dataset_doctor.balance.copy_paste.placing import COVERED, Canvas, Habit, Spot, Subjects, Surroundings, View, find_spot
from dataset_doctor.balance.demand import Demand, instances_of
from dataset_doctor.dataset import Dataset, Flag, LabelState
from dataset_doctor.errors import UsageError
from dataset_doctor.files.progress import Progress
from dataset_doctor.findings import listed, plural, shortened
from dataset_doctor.formats import read_outlines, unalterable
from dataset_doctor.outlines import Outlines
from dataset_doctor.statistics import imbalance_ratio

PASTES = 3
"""Instances that are pasted into one image at most."""

WINDOW, CHOICE, CHOICE_FOR_ONE = 16, 3, 12
"""Images and objects that are looked at for one paste, and objects where the image is settled: the pair that suits best is taken."""

_WINDOWS, _MORE, _GIVE_UP = 3, 4, 4  # windows tried for a choice of objects, times as many after a failure; failures until a class is left


def paste(dataset: Dataset, demand: Demand, members: NDArray[np.intp], among: NDArray[np.bool_], progress: Progress) -> Filled:
    """Plan images with pasted instances until every class has its target, or the budget ends.

    The class that is furthest from its target comes first. Its instances take turns, so that none is pasted twice before each was once. A
    image is pasted into when all others that suit have been, backgrounds first and then those with the fewest instances of
    classes that need none.

    Args:
        dataset: What `read` gave.
        demand: What is asked for, about the images of one split; `budget` counts these images and the generated images.
        members: The image rows of the dataset that `demand` is about.
        among: For each annotation whether it is in the split and in the result.
        progress: Called with what is done, how much and how much in all.

    Raises:
        UsageError: nothing can be pasted into or from datasets of this kind, or with these limits.
    """
    _refuse(dataset, demand, among)
    wanted = ~np.isnan(demand.target)
    need = np.where(wanted, np.maximum(demand.target - demand.instances, 0), 0).astype(np.int64)
    table = dataset.annotations
    rows = np.flatnonzero(among & dataset.is_instance & (table.class_index >= 0) & (np.append(need, 0)[table.class_index] > 0))
    sound = _usable_pictures(dataset, members, progress) if need.any() else np.zeros(dataset.n_images, bool)
    outlines = read_outlines(dataset, progress)
    sizes = measured(outlines, dataset.annotation_sizes)
    stock = stock_of(dataset, sizes, rows, among, sound)
    why: dict[int, Why] = dict.fromkeys(np.flatnonzero(need).tolist(), "no object")
    for c in np.unique(stock.class_index).tolist():
        del why[c]
    backgrounds = dataset.images.label_state[members] == LabelState.BACKGROUND
    pool = _Pool(demand, _bases(dataset, members, among, sound, demand, need), backgrounds)
    maker = _Maker(dataset, outlines, sizes, demand, members, among, stock, pool)
    made: list[Collage] = []
    room = max(demand.budget - demand.n_images, 0)
    total = min(room, int(need.sum()) // PASTES + 1)
    maker.surroundings.load([*members[pool.order[: total + WINDOW]].tolist(), *stock.image[: total * PASTES].tolist()])
    while len(made) < room:
        collage = maker.make(need, why)
        if collage is None:
            break
        made.append(collage)
        if len(made) % 50 == 0:
            progress("Placing objects", min(len(made), total), total)
    for c in np.flatnonzero(need).tolist():
        why.setdefault(c, "budget" if len(made) >= room else "no place")
    made.sort(key=lambda collage: collage.image)
    return Filled(tuple(made), need, why, stock, outlines, sizes)


def _refuse(dataset: Dataset, demand: Demand, among: NDArray[np.bool_]) -> None:
    if dataset.task == "classify":
        raise UsageError("copy_paste is for boxes, and images in class folders have none.", "Mix whole images instead: `augment=mixup`.")
    if dataset.task == "pose" or dataset.annotations.has(Flag.KEYPOINTS)[among].any():
        raise UsageError(
            "copy_paste is not for keypoints: it would have to know which of them it hides, and from whom.",
            "Choose a method that repeats whole images, such as optimal.",
        )
    if demand.max_repeat < 2:
        raise UsageError("`max_repeat=1` leaves no image to paste into.", "Each is in the result once as it is: give 2 or more.")


def _usable_pictures(dataset: Dataset, members: NDArray[np.intp], progress: Progress) -> NDArray[np.bool_]:
    """Tell for each image whether others can be generated from it: in this split alone, decodable, of the size that its labels mean.

    Args:
        dataset: What `read` gave.
        members: Image rows of the split that changes.
        progress: Called as files are looked at.

    Raises:
        UsageError: no image of the split can be used.
    """
    images = dataset.images
    looked = members[images.has_file[members] & (images.in_split[members].sum(axis=1) == 1)]
    usable = np.zeros(dataset.n_images, bool)
    usable[looked] = True
    usable[list(unalterable(dataset, looked))] = False
    if not usable.any():
        raise UsageError("copy_paste needs images, and none of this split can be used.", "dataset-doctor audit says what they lack.")
    return usable


def _bases(
    dataset: Dataset,
    members: NDArray[np.intp],
    among: NDArray[np.bool_],
    sound: NDArray[np.bool_],
    demand: Demand,
    need: NDArray[np.int64],
) -> NDArray[np.intp]:
    """Put the images that can be pasted into in the order in which they are: as rows of `demand`."""
    images = dataset.images
    state = images.label_state[members]
    told = np.zeros(dataset.n_images, bool)
    told[dataset.annotations.image[among]] = True
    # Nobody knows what an image shows that has no label file, or labels of which none can be read.
    usable = sound[members] & (told[members] | (state == LabelState.BACKGROUND))
    full = (demand.counts @ (need == 0).astype(np.int64)).astype(np.int64)
    held = np.asarray(demand.counts.sum(axis=1)).ravel()
    order = np.lexsort((demand.rng.random(len(members)), held, full, state != LabelState.BACKGROUND))
    ordered: NDArray[np.intp] = order[usable[order]]
    return ordered


class _Pool:
    """The images to paste into, each once before any comes again; all are named by their place in the order given."""

    def __init__(self, demand: Demand, order: NDArray[np.intp], backgrounds: NDArray[np.bool_]) -> None:
        self.order = order
        self._counts = demand.counts[order]
        self._row_of_entry = np.repeat(np.arange(len(order)), np.diff(self._counts.indptr))
        self._is_background = backgrounds[order]
        self._uses = np.zeros(len(order), np.int32)
        self._most_uses = demand.max_repeat - 1

    def windows(self, *limits: NDArray[np.int64]) -> Iterator[NDArray[np.intp]]:
        """Give the next images, some at a time, backgrounds apart: first all that keep a limit, then those that keep the next one.

        Args:
            limits: How many instances of each class an image may hold at most; below 0 where that is of no account.
        """
        free = self._uses < self._most_uses
        for limit in limits:
            fits = free.copy()
            most = limit[self._counts.indices]
            fits[self._row_of_entry[(most >= 0) & (self._counts.data > most)]] = False
            free &= ~fits
            rows = np.flatnonzero(fits)
            rows = rows[np.argsort(self._uses[rows], kind="stable")]
            kinds = np.flatnonzero(np.diff(self._is_background[rows])) + 1
            for part in np.split(rows, kinds):
                for begin in range(0, len(part), WINDOW):
                    yield part[begin : begin + WINDOW]

    def held(self, at: int) -> tuple[NDArray[Any], NDArray[Any]]:
        """Give the classes in an image, and how many instances of each."""
        entries = slice(self._counts.indptr[at], self._counts.indptr[at + 1])
        return self._counts.indices[entries], self._counts.data[entries]

    def use(self, at: int) -> None:
        """Note that an image was pasted into."""
        self._uses[at] += 1


class _Maker:
    """Makes one collage after another."""

    def __init__(
        self,
        dataset: Dataset,
        outlines: Outlines,
        sizes: Measures,
        demand: Demand,
        members: NDArray[np.intp],
        among: NDArray[np.bool_],
        stock: Stock,
        pool: _Pool,
    ) -> None:
        self._dataset, self._outlines, self._members = dataset, outlines, members
        self._demand, self._stock, self._pool = demand, stock, pool
        self.surroundings = Surroundings(dataset.root, dataset.images.file_name.tolist(), dataset.sizes)
        boxes = dataset.boxes
        # What a paste hides of an outline is at most what it hides of the box.
        self._area = np.fmin(np.maximum(boxes[:, 2:] - boxes[:, :2], 0).prod(axis=1), sizes.area)
        placed = np.flatnonzero(among & ~np.isnan(boxes).any(axis=1))
        self._placed = placed[np.argsort(dataset.annotations.image[placed], kind="stable")]
        self._start = np.searchsorted(dataset.annotations.image[self._placed], np.arange(dataset.n_images + 1))
        self._turns = {c: _Turns(np.flatnonzero(stock.class_index == c), demand.rng) for c in np.unique(stock.class_index).tolist()}
        self._habits = {c: self._habit(c, among) for c in self._turns}
        self._failures: dict[int, int] = {}

    def make(self, need: NDArray[np.int64], why: dict[int, Why]) -> Collage | None:
        """Plan an image with what is needed most, and count it off; None where no class that is needed has a place left."""
        short = np.where(need > 0, need, 0)
        while (c := self._neediest(need, why)) is not None:
            failures = self._failures.get(c, 0)
            found = self._begin(c, need, _WINDOWS * _MORE**failures)
            self._failures[c] = failures + 1 if found is None else 0
            if found is None:
                self._turns[c].all_again()
                if failures + 1 >= _GIVE_UP or not len(self._pool.order):
                    why[c] = "no place"
                continue
            at, canvas, first = found
            classes, number = self._pool.held(at)
            need[classes] -= np.where(short[classes] > 0, number, 0)
            need[c] -= 1
            pasted = [first]
            placeless: set[int] = set()
            while len(pasted) < PASTES and (c := self._neediest(need, {*why, *placeless})) is not None:
                added = self._best(c, [canvas])
                if added is None:
                    placeless.add(c)
                    continue
                _, canvas, one = added
                need[c] -= 1
                pasted.append(one)
            return Collage(canvas.image, tuple(pasted))
        return None

    def _neediest(self, need: NDArray[np.int64], left_out: Collection[int]) -> int | None:
        """Name the class that has the smallest part of its target, some left out."""
        open_ = need > 0
        open_[list(left_out)] = False
        if not open_.any():
            return None
        rows = np.flatnonzero(open_)
        return int(rows[(need[rows] / self._demand.target[rows]).argmax()])

    def _begin(self, c: int, need: NDArray[np.int64], windows: int) -> tuple[int, Canvas, Pasted] | None:
        """Find an object of a class and the image that suits it best, in the first window that has a place."""
        # At first no class goes beyond its target because of an image; where that stops all others, those that have it may.
        strict = np.where(need > 0, need, np.where(self._demand.target > self._demand.instances, 0, -1))
        relaxed = np.where(need > 0, need, -1)
        strict[c] -= 1
        relaxed[c] -= 1
        for window in islice(self._pool.windows(strict, relaxed), windows):
            found = self._best(c, [self._canvas(int(self._members[self._pool.order[at]])) for at in window.tolist()])
            if found is not None:
                at = int(window[found[0]])
                self._pool.use(at)
                return at, *found[1:]
        return None

    def _best(self, c: int, canvases: Sequence[Canvas]) -> tuple[int, Canvas, Pasted] | None:
        """Find, among the objects of a class whose turn it is, the one that suits one of the images best."""
        stock, picture = self._stock, self._dataset.images.picture
        turns = self._turns[c]
        choice = turns.next(CHOICE if len(canvases) > 1 else CHOICE_FOR_ONE)
        own = picture[stock.image[choice]]
        there = picture[[canvas.image for canvas in canvases]]
        pairs = (own[:, None] != there) | (len(self._pool.order) == 1)
        boxes = stock.boxes[choice]
        colours = self.surroundings.colours(stock.image[choice].tolist(), boxes)
        subjects = Subjects(boxes[:, 2:] - boxes[:, :2], stock.soft[choice], colours)
        spot = find_spot(subjects, self._habits[c], View(canvases, self.surroundings), pairs, self._demand.rng) if canvases else None
        if spot is None:
            turns.pass_over(len(choice))
            return None
        k = choice[spot.subject]
        turns.take(k)
        return spot.canvas, *self._paste(k, canvases[spot.canvas], spot)

    def _canvas(self, image: int) -> Canvas:
        rows = self._placed[self._start[image] : self._start[image + 1]]
        return Canvas(image, self._dataset.sizes[image], self._dataset.boxes[rows], COVERED * self._area[rows])

    def _habit(self, c: int, among: NDArray[np.bool_]) -> Habit:
        dataset = self._dataset
        rows = np.flatnonzero(among & dataset.is_instance & (dataset.annotations.class_index == c))
        boxes, high = dataset.boxes[rows], dataset.annotation_sizes[rows, 1]
        height, middle = (boxes[:, 3] - boxes[:, 1]) / high, (boxes[:, 1] + boxes[:, 3]) / 2 / high
        known = np.isfinite(height) & np.isfinite(middle) & (height > 0)
        return Habit(height[known], middle[known])

    def _paste(self, k: int, canvas: Canvas, spot: Spot) -> tuple[Canvas, Pasted]:
        stock = self._stock
        box, soft = stock.boxes[k], float(stock.soft[k])
        shift = spot.box[:2] - spot.scale * box[:2]
        matrix = np.array([[spot.scale, 0.0, shift[0]], [0.0, spot.scale, shift[1]]])
        feather_px = MASK_FEATHER_PX if stock.traced[k] else max(soft * float((spot.box[2:] - spot.box[:2]).min()), MASK_FEATHER_PX / 2)
        beyond = soft * (spot.box[2:] - spot.box[:2])
        boxes = np.concatenate([canvas.boxes, (spot.box + np.concatenate([-beyond, beyond]))[None]])
        free = np.append(canvas.free - spot.covers, 0.0)
        one = Pasted(int(stock.rows[k]), cut_out(self._outlines, stock, k), matrix, spot.box, bool(stock.traced[k]), feather_px)
        return Canvas(canvas.image, canvas.size, boxes, free), one


class _Turns:
    """Objects in random order, each once before any comes again."""

    def __init__(self, members: NDArray[np.intp], rng: np.random.Generator) -> None:
        self._members, self._rng = members, rng
        self._waiting: deque[int] = deque(rng.permutation(members).tolist())

    def next(self, n: int) -> list[int]:
        """Name those whose turn it is."""
        if not self._waiting:
            self._waiting.extend(self._rng.permutation(self._members).tolist())
        return list(islice(self._waiting, n))

    def take(self, k: int) -> None:
        """Strike out one that was pasted."""
        self._waiting.remove(k)

    def pass_over(self, n: int) -> None:
        """Let others go before the next ones."""
        self._waiting.rotate(-n)

    def all_again(self) -> None:
        """Begin anew behind those that wait, as they find no place."""
        self._waiting.extend(self._rng.permutation(np.setdiff1d(self._members, list(self._waiting))).tolist())


# What a reader should know ------------------------------------------------------------------------------------------


def told(dataset: Dataset, demand: Demand, found: Filled, shown: NDArray[np.int64], alone: NDArray[Any], times: float) -> tuple[str, ...]:
    """Say what pasting brings beyond repeats, which classes stay short and why, and what to look out for.

    Args:
        dataset: What `read` gave.
        demand: What was asked for.
        found: What is pasted.
        shown: Instances of each class, those pasted left out.
        alone: The best repeats towards the same target.
        times: The budget.
    """
    names = [shortened(name) for name in dataset.class_names]
    pastes = found.pastes
    classes = dataset.annotations.class_index
    pasted = np.bincount(classes[[one.source for one in pastes]], minlength=len(names)) if pastes else np.zeros(len(names), np.int64)
    made = shown + pasted
    notes = []
    if not pastes and not found.missing.any():
        return ("Every class has its target already: nothing is pasted.",)
    if pastes:
        rows = np.argsort(-pasted, kind="stable")[: int((pasted > 0).sum())].tolist()
        each = listed((f"{names[c]} {pasted[c]:,}" for c in rows), len(rows))
        into = f"into {plural(len(found.collages), 'image')} generated besides, which show what they showed too"
        notes.append(f"{plural(len(pastes), 'instance')} pasted {into}: {each}.")
    repeated = instances_of(demand.counts, alone)
    notes += [
        f"Repeats alone: {_figures(demand, repeated, int(alone.sum()))}.",
        f"With pastes: {_figures(demand, made, demand.n_images + len(found.collages))}.",
    ]
    for c in np.flatnonzero(found.missing).tolist()[:_TOLD]:
        notes.append(f"{names[c]} stays at {made[c]:,} of {int(demand.target[c]):,}: {_reason(found, c, times)}.")
    more = np.flatnonzero(found.missing).tolist()[_TOLD:]
    if more:
        notes.append(f"Short too: {listed((f'{names[c]} {made[c]:,} of {int(demand.target[c]):,}' for c in more), len(more))}.")
    above = np.flatnonzero(~np.isnan(demand.target) & (made > np.maximum(demand.target, demand.instances))).tolist()
    if above:
        each = listed((f"{names[c]} {made[c]:,} of {int(demand.target[c]):,}" for c in above), len(above))
        notes.append(f"Above the target, since an image that is pasted into keeps what it shows: {each}.")
    return (*notes, *_cautions(dataset, found))


_TOLD = 6  # classes that stay short and have a sentence of their own


def _figures(demand: Demand, made: NDArray[np.int64], images: int) -> str:
    asked = demand.is_wanted
    met = int((made >= demand.target)[asked].sum())
    ratio = imbalance_ratio(made) or 1.0
    return f"{met:,} of {plural(int(asked.sum()), 'target')} met in {plural(images, 'image')}, imbalance {ratio:,.1f} : 1"


def _reason(found: Filled, c: int, times: float) -> str:
    why = found.why[c]
    if why == "budget":
        return f"the budget of {times:.3g} × ends before"
    refused = found.stock.refused.get(c, {})
    if why == "no object":
        reasons = listed(f"{n:,} {reason}" for reason, n in refused.items())
        return f"no instance can be pasted ({reasons})" if refused else "there is no instance of it"
    return "no image that may hold more of what it shows has a place for another"


def _cautions(dataset: Dataset, found: Filled) -> list[str]:
    """Say what pasted objects may teach besides."""
    pastes = found.pastes
    if not pastes:
        return []
    notes = []
    boxed = sum(not one.traced for one in pastes)
    if boxed:
        they = "They" if boxed == len(pastes) else f"{boxed:,} of them"
        notes.append(
            f"{they} are cut out by the box and take background along, which a detector can learn instead of the object; polygons or masks"
            " take none (Ghiasi et al., 2021)."
        )
    sources, often = np.unique([one.source for one in pastes], return_counts=True)
    if often.max() >= _OFTEN:
        name = shortened(dataset.class_names[dataset.annotations.class_index[sources[often.argmax()]]])
        notes.append(f"One and the same {name} is pasted up to {often.max():,} times: more labels of it would tell more.")
    return notes


_OFTEN = 10
"""Pastes of one instance from which a plan says so: as often as an image is shown at most, if nothing else is asked for."""
