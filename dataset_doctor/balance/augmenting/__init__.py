"""Augmented copies: the repeats of an image, each altered in its own way, with labels that follow.

What shaped it:

* A plan has to know every label before a pixel is touched, so an operation gives the exact affine map of an image and of its colours, and
  nothing else. That is why no augmentation library is used: albumentations draws its chance while it alters pixels, tells no map, and has
  had no release since June 2025.
* An image that is shown once is never altered, nor is the first showing of any. Each further showing is altered more strongly than the
  one before, from mildly at the second to strongly at the tenth, since the tenth has to show something that the ninth did not.
* The chance of a copy comes from the seed, the name of its image and the number of the repeat, so other copies do not change it.
* Where an operation cuts objects away, it is drawn again; the draw that loses the fewest is taken.
"""

from __future__ import annotations

import math
import zlib
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dataset_doctor.balance.augmenting.following import Followed, follow
from dataset_doctor.balance.names import hints
from dataset_doctor.balance.presets import COPIES
from dataset_doctor.dataset import Dataset, Flag, Rows
from dataset_doctor.errors import UsageError, did_you_mean
from dataset_doctor.files.progress import Progress, silent
from dataset_doctor.findings import listed, percent, plural, shortened
from dataset_doctor.formats import read_outlines, unalterable
from dataset_doctor.outlines import Outlines, no_outlines, take_outlines
from dataset_doctor.plan import MadePictures
from dataset_doctor.recipes import Matrix, Recipe

TOO_MANY_LOST, MANY_LOST = 0.10, 0.02
"""Share of the instances in altered copies that are cut away: above the first a plan is refused, above the second it says so."""

STRONGEST_REPEAT = 9
"""The repeat that is altered at full strength: the tenth showing."""

DRAWS = 5
"""How often a copy is drawn where objects are cut away."""

MOST_DEGREES = 10.0
"""A box that is turned by 30° grows to 1.87 × its area, and cameras stand upright."""


@dataclass(frozen=True, slots=True, eq=False)
class Change:
    """What one operation does to an image; what is None stays.

    what    for a person
    matrix  from pixels before to pixels after; `swaps` says that width and height change places
    colour  float64 (3, 4): red, green, blue and 1 to red, green and blue, each 0 to 1
    noise   standard deviation of what is added, 0 to 1
    share   of another image of the same class that is mixed in
    """

    what: str
    matrix: Matrix | None = None
    swaps: bool = False
    colour: NDArray[np.float64] | None = None
    noise: float = 0.0
    share: float = 0.0


Operation = Callable[[np.random.Generator, float, tuple[int, int]], Change | None]
"""From chance, a strength of 0 to 1 and the image's width and height to a change; None where chance leaves the image as it is."""


def flip(rng: np.random.Generator, strength: float, size: tuple[int, int]) -> Change | None:
    """Mirror, left to right, every other time."""
    return Change("flip", np.array([[-1.0, 0.0, size[0]], [0.0, 1.0, 0.0]])) if rng.random() < 0.5 else None


def flipud(rng: np.random.Generator, strength: float, size: tuple[int, int]) -> Change | None:
    """Mirror, top to bottom, every other time."""
    return Change("flipud", np.array([[1.0, 0.0, 0.0], [0.0, -1.0, size[1]]])) if rng.random() < 0.5 else None


def rot90(rng: np.random.Generator, strength: float, size: tuple[int, int]) -> Change | None:
    """Turn by a quarter, a half or three quarters, clockwise; width and height change places with a quarter."""
    width, height = size
    quarters = int(rng.integers(4))
    if not quarters:
        return None
    matrix = {
        1: [[0.0, -1.0, height], [1.0, 0.0, 0.0]],
        2: [[-1.0, 0.0, width], [0.0, -1.0, height]],
        3: [[0.0, 1.0, 0.0], [-1.0, 0.0, width]],
    }[quarters]
    return Change(f"rot90 {90 * quarters}°", np.array(matrix), swaps=quarters != 2)


def rotate(rng: np.random.Generator, strength: float, size: tuple[int, int]) -> Change:
    """Turn about the middle by 2° to 4° at first, up to 10° at full strength, either way."""
    most = 4 + (MOST_DEGREES - 4) * strength
    degrees = float(rng.uniform(most / 2, most) * rng.choice([-1.0, 1.0]))
    cos, sin = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    x, y = size[0] / 2, size[1] / 2
    return Change(f"rotate {degrees:.0f}°", np.array([[cos, -sin, x - cos * x + sin * y], [sin, cos, y - sin * x - cos * y]]))


def scale(rng: np.random.Generator, strength: float, size: tuple[int, int]) -> Change:
    """Show the image larger or smaller by a tenth at first, up to a third at full strength, anywhere it fits."""
    most = math.log(1.1) + (math.log(1.35) - math.log(1.1)) * strength
    factor = math.exp(float(rng.uniform(most / 2, most) * rng.choice([-1.0, 1.0])))
    x, y = (side * (1 - factor) * float(rng.random()) for side in size)
    return Change(f"scale {factor:.2f}", np.array([[factor, 0.0, x], [0.0, factor, y]]))


def crop(rng: np.random.Generator, strength: float, size: tuple[int, int]) -> Change:
    """Cut out nine tenths of each side at first, down to seven tenths at full strength, and show them at the full size."""
    most = 0.1 + 0.2 * strength
    kept = 1 - float(rng.uniform(most / 2, most))
    x, y = (-side * (1 - kept) * float(rng.random()) / kept for side in size)
    return Change(f"crop {kept:.0%}", np.array([[1 / kept, 0.0, x], [0.0, 1 / kept, y]]))


def color(rng: np.random.Generator, strength: float, size: tuple[int, int]) -> Change:
    """Change brightness, contrast and saturation by up to a tenth at first, three tenths at full strength; the hue by a sixth of that."""
    most = 0.1 + 0.2 * strength
    bright, contrast, saturation = 1 + rng.uniform(-most, most, 3)
    tint = 1 + rng.uniform(-most / 6, most / 6, 3)
    weights = np.array([0.299, 0.587, 0.114])  # of BT.601, for the brightness of a colour
    linear = saturation * np.eye(3) + (1 - saturation) * weights[None, :]
    linear = (bright * contrast * tint)[:, None] * linear
    return Change("color", colour=np.column_stack([linear, np.full(3, 0.5 * (1 - contrast))]))


def noise(rng: np.random.Generator, strength: float, size: tuple[int, int]) -> Change:
    """Add noise of 0.5 to 1 % at first, up to 4 % at full strength, as sensors have it in poor light."""
    most = 0.01 + 0.03 * strength
    amount = float(rng.uniform(most / 2, most))
    return Change(f"noise {amount:.1%}", noise=amount)


def mixup(rng: np.random.Generator, strength: float, size: tuple[int, int]) -> Change:
    """Mix in another image of the same class, so that the label stays true: 10 to 20 % at first, up to 40 % at full strength."""
    most = 0.2 + 0.2 * strength
    share = float(rng.uniform(most / 2, most))
    return Change(f"mixup {share:.0%}", share=share)


OPERATIONS: Mapping[str, Operation] = {
    "flip": flip,
    "flipud": flipud,
    "rot90": rot90,
    "rotate": rotate,
    "scale": scale,
    "crop": crop,
    "color": color,
    "noise": noise,
    "mixup": mixup,
}
"""Every operation by its name. They are done in this order, whatever the order they are asked for in."""

MIRRORING = ("flip", "flipud")


def parse_augment(wanted: str | Sequence[str], dataset: Dataset) -> tuple[tuple[str, ...], list[str]]:
    """Read a list of operations, or a preset and more operations; tell also what a preset had to leave out.

    Args:
        wanted: Names, parted by commas where it is one text.
        dataset: What is to be augmented.

    Raises:
        UsageError: a name that is not known, two presets, or an operation that the dataset does not allow.
    """
    names = [one.strip() for text in ([wanted] if isinstance(wanted, str) else wanted) for one in text.split(",")]
    names = [name for name in names if name]
    if not names:
        raise UsageError("`augment` names no operation.", f"Choose from: {', '.join([*OPERATIONS, *COPIES])}.")
    for name in names:
        if name not in OPERATIONS and name not in COPIES:
            raise UsageError(f"`augment={name}` is not known.", did_you_mean(name, [*OPERATIONS, *COPIES]))
    presets = [name for name in dict.fromkeys(names) if name in COPIES]
    if len(presets) > 1:
        raise UsageError(f"`augment={','.join(presets)}`: these are two presets.", "Name one of them, and operations.")
    asked = {name for name in names if name in OPERATIONS}
    of_preset = {name for preset in presets for name in COPIES[preset]}
    notes: list[str] = []
    if "mixup" in asked and dataset.task != "classify":
        raise UsageError(
            "mixup is for image folders: a mixture of two images with boxes holds the objects of both, half as visible.",
            f"Choose from: {', '.join(name for name in OPERATIONS if name != 'mixup')}.",
        )
    has_keypoints = any(one.keypoints for one in dataset.classes) or bool(dataset.annotations.has(Flag.KEYPOINTS).any())
    if has_keypoints:
        if mirroring := [name for name in MIRRORING if name in asked]:
            raise UsageError(
                f"{' and '.join(mirroring)}: a mirror image exchanges left and right keypoints, and nothing here says which are a pair.",
                "Leave it out, or let the trainer mirror, which knows flip_idx.",
            )
        left = [name for name in MIRRORING if name in of_preset]
        of_preset -= set(left)
        if left:
            notes.append(f"Left out of {presets[0]}: {' and '.join(left)}, since left and right keypoints would be exchanged.")
    chosen = tuple(name for name in OPERATIONS if name in asked | of_preset)
    if not chosen:
        raise UsageError(f"`augment={','.join(names)}` leaves no operation.", f"Choose from: {', '.join(OPERATIONS)}.")
    return chosen, notes


def augmented(
    dataset: Dataset,
    rows: Rows,
    column: int,
    operations: Sequence[str],
    *,
    seed: int = 0,
    left_out: Rows | None = None,
    progress: Progress = silent,
) -> tuple[MadePictures | None, list[str]]:
    """Alter the repeats of a plan.

    Args:
        dataset: The source.
        rows: Image rows of the plan, repeats directly after the image they repeat.
        column: The split that changes; repeats are in this one alone.
        operations: Names of `OPERATIONS`.
        seed: The same seed gives the same copies.
        left_out: Annotation rows that the result does not hold.
        progress: Called with what is done, how much and how much in all.

    Returns:
        What is made, None where nothing is; and what a reader should know.

    Raises:
        UsageError: too many objects would be cut away.
    """
    notes = _against_names(dataset, column, operations)
    number = _repeat_number(rows)
    repeats = np.flatnonzero(number)
    if not len(repeats):
        return None, [*notes, "No image is repeated, so none is altered."]
    counted = dataset.annotations_in_split(column)
    if left_out is not None:
        counted[left_out] = False
    partners = _partners(dataset, column, progress) if "mixup" in operations else None
    reasons = _left_as_they_are(dataset, np.unique(rows[repeats]), counted, progress)
    if partners is not None and len(operations) == 1:
        alone = [row for row in np.unique(rows[repeats]).tolist() if not len(partners.get(row, ()))]
        reasons = dict.fromkeys(alone, "is the only image of its class") | reasons
    if reasons:
        notes.append(_reasons_told(reasons))
    at = repeats[~np.isin(rows[repeats], list(reasons))]
    if not len(at):
        return None, [*notes, "No copy is altered."]
    scene = _Copies(dataset, rows[at], number[at], tuple(operations), seed, partners, counted)
    progress("planning copies", 0, len(at))
    recipes, used, followed = scene.drawn(progress)
    stays, owner = followed.stays, scene.owner
    is_lost = ~stays & dataset.is_instance[scene.origin]
    n_instances = int(dataset.is_instance[scene.origin].sum())
    notes += _lost_told(is_lost, owner, used, n_instances)
    notes.insert(0, f"{plural(len(at), 'copy is', 'copies are')} altered: {', '.join(operations)}.")
    kept = np.flatnonzero(stays)
    made = MadePictures(
        at=at,
        recipes=recipes,
        owner=owner[kept],
        origin=scene.origin[kept],
        boxes=followed.boxes[kept],
        outlines=take_outlines(followed.outlines, kept),
    )
    return made, notes


def _repeat_number(rows: Rows) -> NDArray[np.int64]:
    """Count for each row how many before it are the same: 0 for the first showing."""
    order = np.argsort(rows, kind="stable")
    begins = np.flatnonzero(np.diff(rows[order], prepend=-1))
    number = np.empty(len(rows), np.int64)
    number[order] = np.arange(len(rows)) - np.repeat(begins, np.diff(begins, append=len(rows)))
    return number


# Drawing copies -------------------------------------------------------------------------------------------------------


class _Copies:
    """The copies that are altered, with their annotations."""

    def __init__(
        self,
        dataset: Dataset,
        images: Rows,
        number: NDArray[np.int64],
        operations: tuple[str, ...],
        seed: int,
        partners: Mapping[int, Rows] | None,
        counted: NDArray[np.bool_],
    ) -> None:
        self.dataset, self.images, self.number = dataset, images, number
        self.operations, self.seed, self.partners = operations, seed, partners
        names = dataset.images.file_name
        self.key = {row: zlib.crc32(names[row].encode("utf-8", "surrogatepass")) for row in np.unique(images).tolist()}
        self.size = np.stack([dataset.images.file_width, dataset.images.file_height], axis=1)
        owners = np.where(counted, dataset.annotations.image, dataset.n_images)
        order = np.argsort(owners, kind="stable")
        start = np.searchsorted(owners[order], np.arange(dataset.n_images + 1))
        each = (start[1:] - start[:-1])[images]
        self.owner: NDArray[np.intp] = np.repeat(np.arange(len(images)), each)
        within = np.arange(each.sum()) - np.repeat(np.cumsum(each) - each, each)
        self.origin: NDArray[np.intp] = order[np.repeat(start[images], each) + within].astype(np.intp)

    def drawn(self, progress: Progress) -> tuple[tuple[Recipe, ...], list[tuple[str, ...]], Followed]:
        """Draw each copy, those again that lose instances; give recipes, operations of each, and where the labels are."""
        dataset = self.dataset
        outlines = self._outlines(progress)
        is_instance = dataset.is_instance[self.origin]
        recipes: list[Recipe] = [None] * len(self.images)  # type: ignore[list-item]
        used: list[tuple[str, ...]] = [()] * len(self.images)
        least = np.full(len(self.images), np.iinfo(np.int64).max)
        open_ = np.arange(len(self.images))
        for draw in range(DRAWS):
            tried = [self._recipe(copy, draw) for copy in open_.tolist()]
            marks = np.flatnonzero(np.isin(self.owner, open_))
            place = np.searchsorted(open_, self.owner[marks])
            there = self._followed(marks, [recipe for recipe, _ in tried], place, outlines, in_full=False)
            lost = np.bincount(place, weights=~there.stays & is_instance[marks], minlength=len(open_)).astype(np.int64)
            for index in np.flatnonzero(lost < least[open_]).tolist():
                recipes[open_[index]], used[open_[index]] = tried[index]
            least[open_] = np.minimum(least[open_], lost)
            open_ = open_[least[open_] > 0]
            progress("planning copies", len(self.images) - len(open_), len(self.images))
            if not len(open_):
                break
        return tuple(recipes), used, self._followed(np.arange(len(self.origin)), recipes, self.owner, outlines, in_full=True)

    def _followed(self, marks: Rows, recipes: Sequence[Recipe], place: Rows, outlines: Outlines, *, in_full: bool) -> Followed:
        matrices = np.array([recipe.matrix for recipe in recipes]).reshape(-1, 2, 3)[place]
        sizes = np.array([(recipe.width, recipe.height) for recipe in recipes], np.float64).reshape(-1, 2)[place]
        some = outlines if len(marks) == len(outlines) else take_outlines(outlines, marks)
        return follow(self.dataset, self.origin[marks], some, matrices, sizes, in_full=in_full)

    def _outlines(self, progress: Progress) -> Outlines:
        """Read the outlines of the copies' annotations, once for each image."""
        if self.dataset.task == "classify":
            return no_outlines(len(self.origin))
        rows, inverse = np.unique(self.origin, return_inverse=True)
        return take_outlines(read_outlines(self.dataset.holding(rows), progress), inverse)

    def _recipe(self, copy: int, draw: int) -> tuple[Recipe, tuple[str, ...]]:
        """Draw one copy: what is done to its image, and by which operations."""
        image, repeat = int(self.images[copy]), int(self.number[copy])
        rng = np.random.default_rng([self.seed, self.key[image], repeat, draw])
        strength = min((repeat - 1) / (STRONGEST_REPEAT - 1), 1.0)
        changes: list[tuple[str, Change]] = []
        others = self._others(image)
        able = [name for name in self.operations if name != "mixup" or len(others)]
        size = (int(self.size[image, 0]), int(self.size[image, 1]))
        matrix, colour, sigma, share = np.eye(2, 3), None, 0.0, 0.0
        while able and not changes:  # a copy that chance leaves as it is would be no copy altered
            for name in able:
                change = OPERATIONS[name](rng, strength, size)
                if change is None:
                    continue
                changes.append((name, change))
                matrix = matrix if change.matrix is None else _after(change.matrix, matrix)
                size = (size[1], size[0]) if change.swaps else size
                colour = change.colour if change.colour is not None else colour
                sigma, share = sigma + change.noise, share + change.share
        mixed, what = None, [change.what for _, change in changes]
        if share:
            mixed = (str(self.dataset.images.file_name[others[int(rng.integers(len(others)))]]), share)
            what[-1] += f" of {mixed[0]}"
        recipe = Recipe(
            picture=str(self.dataset.images.file_name[image]),
            transform=", ".join(what),
            width=size[0],
            height=size[1],
            matrix=matrix,
            colour=colour,
            noise=sigma,
            seed=int(rng.integers(1 << 31)),
            mixed=mixed,
        )
        return recipe, tuple(name for name, _ in changes)

    def _others(self, image: int) -> Rows:
        """Give the images of the same class that can be mixed in."""
        if self.partners is None:
            return np.zeros(0, np.intp)
        return self.partners.get(image, np.zeros(0, np.intp))


def _after(second: Matrix, first: Matrix) -> Matrix:
    """Give the map that does first the one, then the other."""
    return np.column_stack([second[:, :2] @ first[:, :2], second[:, :2] @ first[:, 2] + second[:, 2]])


def _partners(dataset: Dataset, column: int, progress: Progress) -> Mapping[int, Rows]:
    """Give for each image of a split of an image folder the others of its class that can be read."""
    members = np.flatnonzero(dataset.images.in_split[:, column])
    reasons = unalterable(dataset, members, progress)
    class_of = np.full(dataset.n_images, -1, np.int64)
    class_of[dataset.annotations.image] = dataset.annotations.class_index
    able = members[~np.isin(members, list(reasons))]
    of_class = {c: able[class_of[able] == c] for c in np.unique(class_of[able]).tolist() if c >= 0}
    picture = dataset.images.picture
    return {row: rows[picture[rows] != picture[row]] for rows in of_class.values() for row in rows.tolist()}


# What stays as it is ---------------------------------------------------------------------------------------------------


def _left_as_they_are(dataset: Dataset, images: Rows, counted: NDArray[np.bool_], progress: Progress) -> dict[int, str]:
    """Give the images that are repeated and cannot be altered, with the reason."""
    reasons = unalterable(dataset, images, progress)
    if dataset.task != "classify":
        boxless = counted & ~np.isfinite(dataset.annotations.corners).all(axis=1)
        wanted = set(images.tolist())
        for row in np.unique(dataset.annotations.image[boxless]).tolist():
            if row in wanted:
                reasons.setdefault(row, "has a label without a box")
    return reasons


def _reasons_told(reasons: Mapping[int, str]) -> str:
    told = [f"{why} ({count:,})" for why, count in sorted(Counter(reasons.values()).items())]
    return f"Repeats of {plural(len(reasons), 'image')} stay unaltered, each since it {listed(told, len(told))}."


# Over-augmentation -----------------------------------------------------------------------------------------------------


def _against_names(dataset: Dataset, column: int, operations: Sequence[str]) -> list[str]:
    """Warn of operations that change what a class means, as far as names tell."""
    counted = dataset.annotations_in_split(column) & dataset.is_instance & (dataset.annotations.class_index >= 0)
    instances = np.bincount(dataset.annotations.class_index[counted], minlength=len(dataset.classes))
    told = hints(dataset.class_names, instances)
    mirroring = [name for name in MIRRORING if name in operations]
    turning = [name for name in ("flipud", "rot90") if name in operations]

    def named(classes: Sequence[int]) -> str:
        return listed((shortened(dataset.class_names[c]) for c in classes), len(classes))

    notes = []
    if mirroring and told.mirrored:
        notes.append(f"Look again: {' and '.join(mirroring)} makes one of the other in {named(told.mirrored)}.")
    if (mirroring or turning) and told.text:
        wrong = [name for name in OPERATIONS if name in {*mirroring, *turning}]
        notes.append(f"Look again: {named(told.text)} read as text or signs, which {' and '.join(wrong)} makes unreadable.")
    if "color" in operations and told.coloured:
        notes.append(f"Look again: colour tells {named(told.coloured)} apart, and color changes it.")
    return notes


def _lost_told(is_lost: NDArray[np.bool_], owner: Rows, used: Sequence[tuple[str, ...]], n_instances: int) -> list[str]:
    """Say how many instances are cut away; refuse where these are too many."""
    lost = int(is_lost.sum())
    if not lost:
        return []
    share = lost / n_instances
    of_copy = np.bincount(owner, weights=is_lost, minlength=len(used))
    cutting = {name for names in used for name in names} & {"crop", "scale", "rotate"}
    rate = {
        name: float(np.mean([of_copy[copy] for copy, names in enumerate(used) if name in names]))
        for name in sorted(cutting, key=list(OPERATIONS).index)
    }
    worst = max(rate, key=lambda name: rate[name]) if rate else next(iter({name for names in used for name in names}), "")
    text = f"{percent(share)} of the boxes in altered copies are cut away ({lost:,} of {n_instances:,})"
    if share > TOO_MANY_LOST:
        raise UsageError(f"{text}.", f"That is too many to learn from: leave {worst} out.")
    return [f"{text}, more than {MANY_LOST:.0%}: leave {worst} out." if share > MANY_LOST else f"{text}."]
