"""Rebalance a split: choose how often each image is shown, so that the classes come nearer to their targets.

    from dataset_doctor.balance import rebalance

    plan = rebalance(dataset, method="oversample", target="sqrt", budget=1.5)
    plan.classes, plan.notes                 # what it brings, and what it cannot
    balanced = plan.apply(dataset)

A sampler is a function from a `Demand` (counts, targets, limits, a source of chance) to repeats, one an image; `samplers.SAMPLERS` is the
table.
`rebalance` makes the demand, sees to the background images, and has the plan count what comes out.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from dataset_doctor.balance import copy_paste
from dataset_doctor.balance.augmenting import OPERATIONS, augmented, parse_augment
from dataset_doctor.balance.backgrounds import Background, Pool, parse_background, room_for_sampler, settle
from dataset_doctor.balance.certificate import Objective, certified, labels_to_collect
from dataset_doctor.balance.copy_paste.collages import made_pictures
from dataset_doctor.balance.demand import ROUNDING_EPSILON, Demand, Repeats, instances_of
from dataset_doctor.balance.presets import PRESETS
from dataset_doctor.balance.samplers import SAMPLERS, Sampler, find_sampler
from dataset_doctor.balance.samplers.by_frequency import Threshold, choose_threshold, image_frequency, repeat_factors, repeats_help
from dataset_doctor.balance.targets import Direction, is_doubt, parse_target
from dataset_doctor.dataset import Dataset, LabelState, Rows
from dataset_doctor.errors import UsageError, did_you_mean
from dataset_doctor.files.progress import Progress, silent
from dataset_doctor.findings import listed, percent, plural, shortened
from dataset_doctor.formats import format_of
from dataset_doctor.plan import Certificate, Plan, make_plan
from dataset_doctor.statistics import imbalance_ratio

if TYPE_CHECKING:
    from scipy import sparse

__all__ = [
    "BUDGET",
    "IMBALANCED",
    "MAX_REPEAT",
    "OPERATIONS",
    "PRESETS",
    "SAMPLERS",
    "Demand",
    "Repeats",
    "Sampler",
    "Threshold",
    "choose_threshold",
    "image_frequency",
    "is_doubt",
    "labels_to_collect",
    "rebalance",
    "repeat_factors",
    "repeats_help",
]

BUDGET, MAX_REPEAT = 1.5, 10

IMBALANCED = 10.0
"""Largest ÷ smallest class from which balancing is looked at (Buda et al., 2018, saw an effect from there on)."""


def rebalance(
    dataset: Dataset,
    *,
    method: str | None = None,
    target: str = "sqrt",
    budget: float | None = None,
    max_repeat: int = MAX_REPEAT,
    min_repeat: int = 1,
    background: str = "keep",
    split: str | None = None,
    seed: int = 0,
    left_out: Rows | None = None,
    threshold: float | None = None,
    augment: str | Sequence[str] | None = None,
    progress: Progress = silent,
) -> Plan:
    """Plan how often to show each image of one split; the images of all others stay as they are.

    Repeats follow directly after the image they repeat. An image that is in another split too is repeated in this one alone, and stays
    in the other where it is dropped from this one. The limits hold whatever the target; what they keep a class from is in `Plan.notes`.

    Args:
        dataset: What `read` gave.
        method: One of `SAMPLERS`, `copy_paste` for boxes, or `imblearn:NAME` for image folders. By default, and only where the largest
            class has at least 10 × the instances of the smallest: `oversample` for folders, `repeat_factor` for boxes where it helps; else
            nothing is done.
        target: Wanted final instances of each class: `uniform`, `sqrt`, `floor:N` or a CSV file with `class,count`.
        budget: Images of the result ÷ images of the split, at most; by default 1.5. `optimal` by default makes the cheapest epoch in
            which every class has its target or what its images allow; within a budget, the most varied one.
        max_repeat: How often an image is shown at most.
        min_repeat: For `optimal`: 0 lets it drop images; backgrounds stay. No class is lost, and one without a target loses nothing.
        background: `keep`, `1:2` (positive : background) or `10%`: drop or repeat background images once the sampler is done.
        split: The split to change; by default `train`, or the only one.
        seed: The same seed gives the same plan.
        left_out: Annotation rows that the result does not hold although their image stays; they count nowhere.
        threshold: For `repeat_factor` and `irfs`: classes in a smaller share of the images are repeated. By default a quantile of the
            classes' frequencies, the one that balances most within the budget.
        augment: Operations (`OPERATIONS`) or a preset (`PRESETS`) that alter each repeat of an image, so that it is no mere copy; names in
            a sequence or parted by commas. The first showing of an image stays as it is.
        progress: Called with what is done, how much and how much in all, where images have to be looked at.

    Raises:
        UsageError: an argument that cannot be used, nothing in the split to balance, or augmentation that cuts too many objects away.
    """
    column = _split(dataset, split)
    times = budget if budget is not None else float(max_repeat) if method == "optimal" else BUDGET
    _check_limits(times, max_repeat, min_repeat, seed, threshold)
    wish = parse_background(background)
    scene = _scene(dataset, column, left_out)
    rng = np.random.default_rng(seed)
    limit = math.floor(times * scene.n_images + ROUNDING_EPSILON)
    room = max(room_for_sampler(wish, scene.pool, limit, max_repeat), 0)
    plain = _demand(scene, room, max_repeat, rng, threshold)
    notes: list[str] = []
    if method is None:
        method, reason = _default_method(dataset, plain)
        notes += [reason] if reason else []
    operations, preset_notes = parse_augment(augment, dataset) if augment is not None else ((), [])
    sampler = find_sampler(method, is_folder=_is_folder(dataset), features=lambda: _small_images(dataset, scene.members, progress))
    asked = _Request(
        dataset, column, scene, method, sampler, plain, target, times, budget is not None, limit, min_repeat, wish, operations, seed,
        left_out, progress,
    )  # fmt: skip
    _check_together(asked)
    if sampler.run is None:
        return _pasted(asked)
    aimed = asked.aimed()  # a target that cannot be read is refused, also where the sampler does not look at it
    demand = aimed if sampler.aims else plain
    repeats, certificate, sampler_notes = _sampled(asked, demand)
    first_notes = [*notes, *sampler_notes]
    notes = _rule_notes(asked, repeats)
    repeats_shown, background_notes = settle(wish, scene.pool, repeats, budget=limit, max_repeat=max_repeat, rng=rng)
    notes += background_notes
    if background_notes and certificate is not None:
        notes.append("The certificate is about the repeats before backgrounds were changed.")
    if repeats_shown.sum() > limit:
        notes.append(f"The budget of {times:g} × cannot be kept: {int(repeats_shown.sum()):,} images stay where it allows {limit:,}.")
    rows, in_split = _rows(dataset, column, scene.members, repeats_shown)
    made = None
    if operations:
        made, copy_notes = augmented(dataset, rows, column, operations, seed=seed, left_out=left_out, progress=progress)
        notes += [*preset_notes, *copy_notes]
    plan = make_plan(
        dataset,
        rows,
        command="rebalance",
        method=method,
        split=dataset.splits[column],
        seed=seed,
        in_split=in_split,
        left_out=left_out,
        certificate=certificate,
        made=made,
    )
    if sampler.aims:
        after = np.array([change.after for change in plan.classes], np.int64)
        first_notes += _target_notes(asked, demand, repeats, after)
    return dataclasses.replace(plan, notes=(*first_notes, *notes))


@dataclass(frozen=True, slots=True, eq=False)
class _Request:
    """What is asked of a sampler, and of which split.

    demand      as the samplers take it, with a target that asks for nothing in particular
    times, limit  images of the result ÷ images of the split, at most; and the former times the latter
    has_budget  whether the user has set `times`
    """

    dataset: Dataset
    column: int
    scene: _Scene
    method: str
    sampler: Sampler
    demand: Demand
    target: str
    times: float
    has_budget: bool
    limit: int
    min_repeat: int
    wish: Background
    operations: tuple[str, ...]
    seed: int
    left_out: Rows | None
    progress: Progress

    @property
    def direction(self) -> Direction:
        """What the sampler does to images, with what it is allowed."""
        return "both" if self.min_repeat == 0 else self.sampler.direction

    @property
    def split(self) -> str:
        """Name of the split that changes."""
        return self.dataset.splits[self.column]

    def aimed(self) -> Demand:
        """Give the demand with the target that was asked for."""
        wanted = parse_target(self.target, self.dataset.class_names, self.scene.instances, self.direction)
        return dataclasses.replace(self.demand, target=wanted, min_repeat=self.min_repeat)


def _check_together(asked: _Request) -> None:
    """Refuse what does not go with the sampler."""
    method, sampler = asked.method, asked.sampler
    if sampler.run is None:
        if asked.operations:
            raise UsageError(f"`augment` alters repeats, and {method} makes none.", "Rebalance the result once more with it.")
        if asked.wish.text != "keep":
            raise UsageError(f"`background={asked.wish.text}` is not for {method}.", "Rebalance the result once more with it.")
        if asked.min_repeat == 0:
            raise UsageError("`min_repeat=0` is for optimal.", f"{method} keeps every image.")
    elif method != "none" and not asked.scene.instances.any():
        raise UsageError(f"no class has an instance in split {asked.split}: there is nothing to balance.")
    if asked.min_repeat == 0 and not sampler.certifies:
        raise UsageError("`min_repeat=0` is for optimal.", f"{method} has a rule of its own for what it drops.")
    if asked.times < 1 and asked.direction == "up":
        hint = "undersample, ml_rus, hybrid and class_aware do, and optimal with `min_repeat=0`."
        raise UsageError(f"`budget={asked.times:g}` is below 1, and {method} drops no image.", hint if sampler.run else "Give 1 or more.")
    if asked.demand.threshold is not None and sampler.frequency is None:
        raise UsageError("`threshold` is for repeat_factor and irfs.", f"{method} has none.")
    if sampler.run is not None and not asked.scene.pool.positive.any() and asked.wish.text != "keep":
        raise UsageError(f"split {asked.split} has no positive image: `background={asked.wish.text}` would leave nothing.")


def _sampled(asked: _Request, demand: Demand) -> tuple[Repeats, Certificate | None, tuple[str, ...]]:
    """Run the sampler; with the certificate of those that have one."""
    if asked.sampler.certifies:
        objective: Objective = "effective_sample_share" if asked.has_budget else "epoch_images"
        best = certified(demand, asked.dataset.class_names, objective)
        return best.repeats, best.certificate, tuple(best.notes)
    assert asked.sampler.run is not None
    return asked.sampler.run(demand), None, ()


def _rule_notes(asked: _Request, repeats: Repeats) -> list[str]:
    """Say what a sampler with a rule of its own did, and what was dropped."""
    notes, frequency = [], asked.sampler.frequency
    if not asked.sampler.aims and asked.target != "sqrt":
        notes.append(f"{asked.method} has a rule of its own: the target {asked.target} is not looked at.")
    if frequency is not None:
        notes += _threshold_notes(choose_threshold(asked.demand, frequency(asked.demand)), asked.times)
    return notes + _dropped_notes(asked.scene, repeats)


# What is asked ------------------------------------------------------------------------------------------------------


def _split(dataset: Dataset, wanted: str | None) -> int:
    """Give the column of the split to change."""
    filled = dataset.filled_splits
    if not filled:
        raise UsageError("the dataset has no images: there is nothing to balance.")
    if wanted is None:
        default = dataset.default_split
        if default is None:
            raise UsageError("there is no train split; say which to change.", f"Give `split={' or '.join(filled)}`.")
        return dataset.splits.index(default)
    spelled = dict(zip(dataset.split_spelling, dataset.splits, strict=True))
    name = wanted if wanted in dataset.splits else spelled.get(wanted)
    if name not in filled:
        raise UsageError(f"`split={wanted}`: the dataset has no images in such a split.", did_you_mean(wanted, filled))
    return dataset.splits.index(name)


def _check_limits(budget: float, max_repeat: int, min_repeat: int, seed: int, threshold: float | None) -> None:
    if not 1 <= max_repeat <= 1_000_000:
        raise UsageError(f"`max_repeat` must be between 1 and 1,000,000, got {max_repeat}.")
    if not 0 < budget < 1e6:
        raise UsageError(
            f"`budget` must be {'positive' if not budget > 0 else 'below 1,000,000'}, got {budget:g}.",
            "Give the epoch as a multiple of the split's images, like 1.5.",
        )
    if min_repeat not in (0, 1):
        raise UsageError(f"`min_repeat` must be 0 or 1, got {min_repeat}.", "Give 1, or 0 where images may be dropped.")
    if seed < 0:
        raise UsageError(f"`seed` must be at least 0, got {seed}.", "Leave it out for 0.")
    if threshold is not None and not 0 < threshold < 1e6:
        raise UsageError(
            f"`threshold` must be {'positive' if not threshold > 0 else 'below 1,000,000'}, got {threshold:g}.",
            "Give a share of the images, like 0.01.",
        )


def _default_method(dataset: Dataset, demand: Demand) -> tuple[str, str]:
    """Choose as the recommendations do; with the reason where nothing is to be done."""
    counts = demand.instances[demand.is_wanted]
    imbalance = imbalance_ratio(counts)
    if imbalance is None or not demand.instances.any():
        raise UsageError("no class has an instance in this split: there is nothing to balance.")
    if dataset.only_measures:
        return "none", "The dataset is for measuring alone; nothing is done unless a method is asked for."
    if imbalance < IMBALANCED:
        return "none", (
            f"The largest class has {imbalance:.1f} × the instances of the smallest; below {IMBALANCED:g} × nothing is done unless a method"
            " is asked for."
        )
    if _is_folder(dataset):
        return "oversample", ""
    if repeats_help(demand):
        return "repeat_factor", ""
    return "none", (
        f"Repeating images hardly changes that the largest class has {imbalance:,.0f} × the instances of the smallest: they share images."
        " Weights in the loss can, see dataset-doctor weights."
    )


def _is_folder(dataset: Dataset) -> bool:
    return dataset.task == "classify"


# The split that changes -----------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, eq=False)
class _Scene:
    """The split that changes: its images (rows of the dataset), and one row each in `counts` and `pool`."""

    members: NDArray[np.intp]
    counts: sparse.csr_array[Any]
    instances: NDArray[np.int64]
    pool: Pool
    names: tuple[str, ...]
    is_doubt: NDArray[np.bool_]

    @property
    def n_images(self) -> int:
        return len(self.members)


def _scene(dataset: Dataset, column: int, left_out: Rows | None) -> _Scene:
    members = np.flatnonzero(dataset.images.in_split[:, column])
    counted = dataset.annotations_in_split(column)
    if left_out is not None:
        counted[left_out] = False
    part = dataset if counted.all() else dataset.holding(counted)
    counts = part.counts()[members]
    state = dataset.images.label_state[members]
    unlabeled = state == LabelState.UNLABELED
    return _Scene(
        members=members,
        counts=counts,
        instances=instances_of(counts, np.ones(len(members), np.int32)),
        pool=Pool(
            positive=state == LabelState.LABELED,
            background=state == LabelState.BACKGROUND,
            silent=unlabeled if format_of(dataset).unlabeled_is_background else np.zeros_like(unlabeled),
        ),
        names=tuple(shortened(name) for name in dataset.class_names),
        is_doubt=np.array([is_doubt(name) for name in dataset.class_names], bool),
    )


def _demand(scene: _Scene, budget: int, max_repeat: int, rng: np.random.Generator, threshold: float | None) -> Demand:
    """Ask for nothing in particular: each class has a target, if it has instances and its name says what it shows."""
    target = np.where(scene.is_doubt | (scene.instances == 0), np.nan, 1.0)
    return Demand(scene.counts, target, budget, max_repeat, rng, threshold)


def _small_images(dataset: Dataset, members: NDArray[np.intp], progress: Progress) -> NDArray[np.float32]:
    """Give small greyscale images as rows of 256 numbers, 0 to 1; NaN where an image cannot be decoded."""
    from dataset_doctor.scan import scan, thumbnails

    part = dataset.select(members)
    pixels = scan(part, progress=progress)
    small = thumbnails(part, pixels, progress=progress)(np.arange(len(members))).astype(np.float32) / 255
    side = small.shape[1] // 2
    rows: NDArray[np.float32] = small.reshape(-1, side, 2, side, 2).mean(axis=(2, 4)).reshape(len(members), -1)
    rows[np.isnan(pixels.brightness_p50)] = np.nan
    return rows


def _rows(dataset: Dataset, column: int, members: NDArray[np.intp], repeats: Repeats) -> tuple[NDArray[np.intp], NDArray[np.bool_]]:
    """Lay out the images of the result, with the splits of each."""
    in_split = dataset.images.in_split
    shown = np.ones(dataset.n_images, np.int64)
    elsewhere = in_split.copy()
    elsewhere[:, column] = False
    shown[members] = np.maximum(repeats, elsewhere[members].any(axis=1))
    rows = np.repeat(np.arange(dataset.n_images), shown)
    is_repeat = np.flatnonzero(np.diff(rows, prepend=-1) == 0)
    in_result = elsewhere[rows]
    in_result[is_repeat] = False
    here = np.zeros(dataset.n_images, bool)
    here[members] = repeats > 0
    in_result[:, column] = here[rows]
    return rows, in_result


def _pasted(asked: _Request) -> Plan:
    """Plan images with pasted instances on top of all images, and put beside them what repeats alone could do."""
    dataset, scene, demand = asked.dataset, asked.scene, asked.aimed()
    among = dataset.annotations_in_split(asked.column)
    if asked.left_out is not None:
        among[asked.left_out] = False
    found = copy_paste.paste(dataset, demand, scene.members, among, asked.progress)
    if not scene.instances.any():
        raise UsageError("no class has an instance in this split: there is nothing to paste.")
    alone_budget = math.floor((asked.times if asked.has_budget else MAX_REPEAT) * scene.n_images + ROUNDING_EPSILON)
    alone = dataclasses.replace(demand, budget=alone_budget)
    best = certified(alone, dataset.class_names, "effective_sample_share" if asked.has_budget else "epoch_images")
    repeats = np.ones(scene.n_images, np.int32)
    repeats += np.bincount(np.searchsorted(scene.members, found.bases), minlength=scene.n_images).astype(np.int32)
    rows, in_split = _rows(dataset, asked.column, scene.members, repeats)
    return make_plan(
        dataset,
        rows,
        command="rebalance",
        method=asked.method,
        split=asked.split,
        seed=asked.seed,
        in_split=in_split,
        left_out=asked.left_out,
        certificate=best.certificate,
        notes=copy_paste.told(dataset, demand, found, instances_of(scene.counts, repeats), best.repeats, asked.times),
        made=made_pictures(dataset, found, rows, among),
    )


# What a reader should know ------------------------------------------------------------------------------------------


def _target_notes(asked: _Request, demand: Demand, repeats: Repeats, after: NDArray[np.int64]) -> list[str]:
    """Say which classes miss their target, and why; `after` are the instances of the result."""
    scene, direction = asked.scene, asked.direction
    before, limit = scene.instances, demand.budget
    aimed = ~np.isnan(demand.target)
    below, above = aimed & (after < demand.target), aimed & (after > np.maximum(demand.target, 1))
    absent = below & (before == 0)
    capped = below & ~absent & (before * demand.max_repeat < demand.target)
    short = below & ~absent & ~capped

    def told(which: NDArray[np.bool_]) -> str:
        rows = np.flatnonzero(which).tolist()
        return listed((f"{scene.names[c]} {after[c]:,} of {int(demand.target[c]):,}" for c in rows), len(rows))

    notes = []
    if absent.any():
        notes.append(f"No image to repeat: {told(absent)}.")
    if capped.any():
        notes.append(f"Not reachable with at most {plural(demand.max_repeat, 'showing')} an image, so collect more: {told(capped)}.")
    if short.any() and int(repeats.sum()) >= limit:
        notes.append(f"The budget of {asked.times:g} × ends before the target: {told(short)}.")
    elif short.any():
        notes.append(f"Below the target: {told(short)}.")
    if above.any() and direction == "up":
        notes.append(f"Above the target, since an image takes all its classes along and none is dropped: {told(above)}.")
    elif above.any():
        notes.append(f"Above the target, since their other images hold scarcer classes too: {told(above)}.")
    left = np.flatnonzero(~aimed & (before > 0)).tolist()
    if left:
        notes.append(f"Ignored when balancing: {listed((scene.names[c] for c in left), len(left))}.")
    return notes


def _threshold_notes(threshold: Threshold, budget: float) -> list[str]:
    quantile = f", the {threshold.quantile:.0%} quantile of the classes" if threshold.quantile is not None else ""
    asked = f" The threshold asked for, {threshold.asked:g}, goes beyond the budget of {budget:g} ×." if threshold.asked is not None else ""
    return [f"Images are repeated for classes with a frequency below {percent(threshold.value)}{quantile}.{asked}"]


def _dropped_notes(scene: _Scene, repeats: Repeats) -> list[str]:
    gone = repeats == 0
    if not gone.any():
        return []
    lost = instances_of(scene.counts, gone.astype(np.int32))
    rows = np.flatnonzero(lost)
    rows = rows[np.argsort(-lost[rows], kind="stable")].tolist()
    classes = listed((f"{scene.names[c]} {lost[c]:,}" for c in rows), len(rows))
    return [f"{plural(int(gone.sum()), 'image')} dropped, with {plural(int(lost.sum()), 'instance')}: {classes}."]
