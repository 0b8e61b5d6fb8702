"""Split a dataset so that every split is like the whole, and no image is in two.

    plan = split(dataset, ratios=(0.8, 0.1, 0.1))

Images that belong together (`_groups`) are divided as one. Every class, background images, unlabeled images and the sizes of boxes are
spread alike (`_stratify`), and the plan says how well that went (`_compared`).
"""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from dataset_doctor.dataset import Dataset, LabelState, Rows
from dataset_doctor.errors import UsageError, did_you_mean
from dataset_doctor.files.progress import Progress, silent
from dataset_doctor.files.splits import canonical_split
from dataset_doctor.findings import plural
from dataset_doctor.geometry import widths_heights
from dataset_doctor.pixels import Duplicates
from dataset_doctor.plan import Plan, SplitQuality, make_plan
from dataset_doctor.split._compared import iterative_stratification, quality, random_parts
from dataset_doctor.split._groups import IS_OFF, NEAR_DUPLICATES, group_images
from dataset_doctor.split._stratify import Parts, shares, stratify
from dataset_doctor.statistics import LARGE_AREA_PX2, SMALL_AREA_PX2

if TYPE_CHECKING:
    from scipy import sparse

__all__ = ["IS_OFF", "Division", "divide", "parse_ratios", "split"]

SIZE_TOLERANCE = 0.01
"""Share of the images by which a split may miss its size before a note says so."""

USUAL_NAMES = ("train", "val", "test")
RATIOS_HINT = "Write them as 80/10/10 or 0.8,0.1,0.1."


def parse_ratios(text: str) -> tuple[float, ...]:
    """Read ratios as a person writes them: percentages or shares, between slashes or commas.

    >>> parse_ratios("80/10/10"), parse_ratios("0.75, 0.25")
    ((0.8, 0.1, 0.1), (0.75, 0.25))

    Raises:
        UsageError: a ratio is not a positive number, or they do not sum to 100 or 1.
    """
    parts = re.split(r"[/,]", text)
    try:
        numbers = [float(part.strip().removesuffix("%")) for part in parts]
    except ValueError:
        raise UsageError(f"`ratios={text}` are not numbers.", RATIOS_HINT) from None
    return tuple(_checked_ratios(numbers).tolist())


def _checked_ratios(numbers: Sequence[float]) -> NDArray[np.float64]:
    """Give ratios as shares that sum to 1."""
    shown = "/".join(f"{number:g}" for number in numbers)
    if len(numbers) < 2:
        raise UsageError(f"`ratios={shown}` name fewer than two splits.", RATIOS_HINT)
    if not all(math.isfinite(number) and number > 0 for number in numbers):
        raise UsageError(f"`ratios={shown}` are not all positive.", "Leave out a split that is to hold nothing.")
    total = math.fsum(numbers)
    whole = 1.0 if abs(total - 1) < 1e-6 else 100.0
    if abs(total - whole) > 1e-6 * whole:
        raise UsageError(f"`ratios={shown}` sum to {total:g}, not to 100 or 1.", RATIOS_HINT)
    ratios: NDArray[np.float64] = np.array([float(number) / whole for number in numbers])
    return ratios


def split(
    dataset: Dataset,
    *,
    ratios: Sequence[float] = (0.8, 0.1, 0.1),
    names: Sequence[str] | None = None,
    group_by: str = NEAR_DUPLICATES,
    duplicates: Duplicates | None = None,
    seed: int = 0,
    freeze: Sequence[str] = (),
    left_out: Rows | None = None,
    progress: Progress = silent,
) -> Plan:
    """Divide a dataset into splits that are alike: in every class (images and instances), in backgrounds, unlabeled images and box sizes.

    Sizes are exact unless groups are too large for it. A class has an image in every split if it has as many images (or groups) as
    there are splits; the plan's notes name the others, whose images are in the first split as long as there is room.

    Args:
        dataset: What to divide. Splits that it has are given up, except those to freeze.
        ratios: What share of the images each split is to have; they sum to 1 or 100.
        names: Names of the splits; train, val and test by default.
        group_by: Which images stay together. "near-duplicates": all that a leakage check can see, which is near-duplicates, identical
            files, and by their names images made from one source and frames of one video. A regular expression adds the images in whose
            names it finds the same (its first group, if it has one); it sees the file's own name or, if it holds a `/`, the path without
            split folders. "none": only rows of one file, or that repeat one image, which stay together in any case.
        duplicates: What `find_duplicates` gave; the image files are looked into where it is None, unless `group_by` is "none".
        seed: Of everything that is left to chance.
        freeze: Splits of the dataset that stay as they are; only the rest is divided. What is in a group with a frozen image is left out.
        left_out: Annotation rows that the result does not hold although their image stays; they do not count.
        progress: Called as image files are looked into.

    Raises:
        UsageError: ratios, names, pattern or frozen splits that cannot be used, or more splits than images or groups.
    """
    division = divide(
        dataset,
        ratios=ratios,
        names=names,
        group_by=group_by,
        duplicates=duplicates,
        seed=seed,
        freeze=freeze,
        left_out=left_out,
        progress=progress,
    )
    return dataclasses.replace(division.plan, quality=_compared(division.held, division.part, division.ratios, seed))


@dataclass(frozen=True, slots=True, eq=False)
class Division:
    """A plan, with what its quality is measured on: the images to divide (images × classes), the part of each, and the wanted shares."""

    plan: Plan
    held: sparse.csr_array[Any]
    part: Parts
    ratios: NDArray[np.float64]


def divide(
    dataset: Dataset,
    *,
    ratios: Sequence[float] = (0.8, 0.1, 0.1),
    names: Sequence[str] | None = None,
    group_by: str = NEAR_DUPLICATES,
    duplicates: Duplicates | None = None,
    seed: int = 0,
    freeze: Sequence[str] = (),
    left_out: Rows | None = None,
    progress: Progress = silent,
) -> Division:
    """Plan as `split` does, with the same arguments and errors, without measuring how good that is, which takes longer than the rest."""
    if seed < 0:
        raise UsageError(f"`seed` must be at least 0, got {seed}.", "Leave it out for 0.")
    spelling = dict(zip(dataset.splits, dataset.split_spelling, strict=True))
    frozen_names = tuple(dict.fromkeys(_known_split(dataset, name) for name in freeze))
    written, wanted = _checked_names(_checked_ratios(ratios), names, frozen_names)
    split_names = tuple(canonical_split(name) for name in written)
    if names is None:
        written = tuple(spelling.get(name, name) for name in split_names)
    group, group_notes = group_images(dataset, group_by, duplicates, wanted, progress)
    frozen = dataset.images.in_split[:, [dataset.splits.index(name) for name in frozen_names]]
    rows = np.flatnonzero(~np.isin(group, group[frozen.any(axis=1)]))
    group = np.unique(group[rows], return_inverse=True)[1].ravel()
    _check_enough(len(rows), np.bincount(group, minlength=1), len(split_names), frozen_names)
    counted = _counted(dataset, rows, left_out)
    held = counted.counts()
    part, lacks = _divided(counted, held, group, wanted, seed)

    splits = (*split_names, *frozen_names)
    in_split = np.zeros((dataset.n_images, len(splits)), bool)
    in_split[rows, part] = True
    in_split[:, len(split_names) :] = frozen
    kept = np.flatnonzero(in_split.any(axis=1))
    plan = make_plan(
        dataset,
        kept,
        command="split",
        method="stratified",
        seed=seed,
        in_split=in_split[kept],
        splits=splits,
        split_spelling=[*written, *(spelling[name] for name in frozen_names)],
        left_out=left_out,
        notes=(
            *_split_notes(dataset, frozen_names, dataset.n_images - len(kept)),
            *group_notes,
            *_size_notes(group, part, wanted, split_names),
            *_class_notes(counted.class_names, held, group, part, lacks, split_names),
        ),
    )
    return Division(plan, held, part, wanted)


# Arguments ----------------------------------------------------------------------------------------------------------


def _known_split(dataset: Dataset, name: str) -> str:
    """Give the canonical name of a split that the dataset has."""
    if canonical_split(name) not in dataset.splits:
        raise UsageError(f"`freeze={name}`: the dataset has no such split.", did_you_mean(name, dataset.splits))
    return canonical_split(name)


def _checked_names(
    ratios: NDArray[np.float64], names: Sequence[str] | None, frozen: Sequence[str]
) -> tuple[tuple[str, ...], NDArray[np.float64]]:
    """Give the names of the splits to divide into, as they will be written, with their ratios; frozen ones are not among them."""
    if names is None:
        free = [name for name in USUAL_NAMES if name not in frozen]
        names = (free if len(ratios) <= len(free) else USUAL_NAMES)[: len(ratios)]
    if len(names) != len(ratios):
        raise UsageError(f"There are {len(ratios)} ratios and {plural(len(names), 'name')}.", "Give each split a name and a ratio.")
    for name in names:
        if not re.fullmatch(r"\w[\w .-]*", name):
            raise UsageError(f"A split cannot be called {name!r}.", "Use letters, digits, hyphens and underscores.")
    canonical = [canonical_split(name) for name in names]
    if len(set(canonical)) < len(names):
        raise UsageError(f"Two of the splits {', '.join(names)} have one name.", "Give each split a name of its own.")
    free_rows = [row for row, name in enumerate(canonical) if name not in frozen]
    if not free_rows:
        raise UsageError("All splits are frozen; nothing is left to divide.", "Freeze fewer splits.")
    left = ratios[free_rows]
    return tuple(names[row] for row in free_rows), left / left.sum()


def _check_enough(n_images: int, sizes: NDArray[np.intp], n_splits: int, frozen: Sequence[str]) -> None:
    """Raise UsageError where a split would be empty; `sizes` are those of the groups."""
    if n_images < n_splits:
        outside = f" outside {', '.join(frozen)}" if frozen else ""
        raise UsageError(
            f"{plural(n_images, 'image')}{outside} cannot be divided into {plural(n_splits, 'split')}.", "Ask for fewer splits."
        )
    if len(sizes) < n_splits:
        raise UsageError(
            f"{plural(n_images, 'image')} in {plural(len(sizes), 'group')} cannot be divided into {plural(n_splits, 'split')}.",
            f"Images of one scene or one video stay together, {sizes.max():,} in the largest group. Ask for fewer splits, or let"
            " them leak: `group_by=none`.",
        )


# Division -----------------------------------------------------------------------------------------------------------


def _counted(dataset: Dataset, rows: Rows, left_out: Rows | None) -> Dataset:
    """Give the images to be divided, with the annotations that stay."""
    if left_out is not None and len(left_out):
        stays = np.ones(dataset.n_annotations, bool)
        stays[left_out] = False
        dataset = dataset.holding(stays)
    return dataset if len(rows) == dataset.n_images else dataset.select(rows)


def _divided(
    dataset: Dataset, held: sparse.csr_array[Any], group: NDArray[np.intp], ratios: NDArray[np.float64], seed: int
) -> tuple[Parts, NDArray[np.bool_]]:
    """Give the part of each image, and bool (classes, parts) where a part lacks a class that it could have."""
    from scipy import sparse

    state = dataset.images.label_state
    kinds = np.stack([state == LabelState.BACKGROUND, state == LabelState.UNLABELED], 1).astype(np.float64)
    holds = sparse.hstack([(held > 0).astype(np.float64), sparse.csr_array(kinds)]).tocsr()
    ones = np.ones(len(group))
    units = sparse.coo_array((ones, (group, np.arange(len(group))))).tocsr()
    n_images = np.bincount(group)
    # A label file can declare a hundred thousand classes; only those that something is of cost time.
    used = np.unique(held.nonzero()[1])
    columns = np.concatenate([used, held.shape[1] + np.arange(kinds.shape[1])])
    part, lacking = stratify(
        units @ holds[:, columns], units @ held[:, used].astype(np.float64), units @ _size_bands(dataset), n_images, ratios, seed
    )
    lacks = np.zeros((held.shape[1], len(ratios)), bool)
    lacks[used] = lacking
    return part[group], lacks


def _size_bands(dataset: Dataset) -> sparse.csr_array[Any]:
    """Count the small, medium and large boxes (as COCO tells them apart) of each image; a box of unknown size in pixels does not count."""
    from scipy import sparse

    wh = np.maximum(widths_heights(dataset.boxes), 0)
    area = wh[:, 0] * wh[:, 1]
    known = dataset.is_instance & np.isfinite(area)
    if dataset.in_shares:
        known &= ~np.isnan(dataset.annotation_sizes[:, 0])
    band = (area[known] >= SMALL_AREA_PX2).astype(np.intp) + (area[known] >= LARGE_AREA_PX2)
    return sparse.coo_array((np.ones(len(band)), (dataset.annotations.image[known], band)), shape=(dataset.n_images, 3)).tocsr()


def _compared(held: sparse.csr_array[Any], part: Parts, ratios: NDArray[np.float64], seed: int) -> tuple[SplitQuality, ...]:
    """Measure the division beside a random one and iterative stratification, both of single images."""
    return (
        quality("stratified", held, part, ratios),
        quality("random", held, random_parts(shares(len(part), ratios), seed), ratios),
        quality("iterative stratification", held, iterative_stratification(held, ratios, seed), ratios),
    )


# Notes --------------------------------------------------------------------------------------------------------------


def _split_notes(dataset: Dataset, frozen: Sequence[str], n_dropped: int) -> list[str]:
    """Say what becomes of the splits that the dataset has."""
    sizes = dict(zip(dataset.splits, dataset.images.in_split.sum(axis=0).tolist(), strict=True))
    notes = []
    for name in frozen:
        notes.append(f"{name} stays as it is ({plural(sizes[name], 'image')}).")
    if n_dropped:
        verb = "is left out: it belongs" if n_dropped == 1 else "are left out: they belong"
        notes.append(f"{plural(n_dropped, 'image')} {verb} to a group of which an image is in {' or '.join(frozen)}.")
    given_up = [f"{name} ({sizes[name]:,})" for name in dataset.splits if name not in frozen and name != "all"]
    if given_up:
        notes.append(f"The images of {', '.join(given_up)} are re-split; --freeze keeps a split as it is.")
    return notes


def _size_notes(group: NDArray[np.intp], part: Parts, ratios: NDArray[np.float64], names: Sequence[str]) -> list[str]:
    """Say where groups are too large for the sizes that were asked for."""
    n = len(part)
    wanted, got = shares(n, ratios), np.bincount(part, minlength=len(ratios))
    if np.abs(got - wanted).max() <= max(1, SIZE_TOLERANCE * n):
        return []
    held = ", ".join(f"{name} {size:,} instead of {share:,}" for name, size, share in zip(names, got, wanted, strict=True))
    largest = int(np.bincount(group).max())
    return [f"Sizes are not as asked for, because {largest:,} images in one group stay together: {held}."]


def _class_notes(
    classes: Sequence[str],
    held: sparse.csr_array[Any],
    group: NDArray[np.intp],
    part: Parts,
    lacks: NDArray[np.bool_],
    names: Sequence[str],
) -> list[str]:
    """Name the classes that are not in every split, and say why."""
    where = held.tocoo()
    total = int(group.max()) + 1
    n_groups = np.bincount(np.unique(where.col.astype(np.int64) * total + group[where.row]) // total, minlength=len(classes))
    few = (n_groups > 0) & (n_groups < len(names))
    first = where.col[part[where.row] == 0]
    elsewhere = few & ~np.isin(np.arange(len(classes)), first)
    notes = []
    if few.any():
        n = int(few.sum())
        listed = ", ".join(classes[row] for row in np.flatnonzero(few).tolist())
        verb = "class is in fewer images or groups than there are splits and cannot be in each"
        verbs = "classes are in fewer images or groups than there are splits and cannot be in each"
        exception = ", ".join(classes[row] for row in np.flatnonzero(elsewhere).tolist())
        where_not = f", but there was no room for {exception}" if exception else ""
        notes.append(f"{plural(n, verb, verbs)}: {listed}. They go to {names[0]}{where_not}.")
    short = np.flatnonzero(lacks.any(axis=1)).tolist()
    if short:
        listed = ", ".join(
            f"{classes[row]} (not in {', '.join(name for name, lack in zip(names, lacks[row], strict=True) if lack)})" for row in short
        )
        verb = "class could not be put into every split, because its images hold other rare classes too"
        verbs = "classes could not be put into every split, because their images hold other rare classes too"
        notes.append(f"{plural(len(short), verb, verbs)}: {listed}.")
    return notes
