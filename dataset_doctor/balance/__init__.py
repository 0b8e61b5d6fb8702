"""Rebalance a split: choose how often each image is shown, so that the classes come nearer to their targets.

    from dataset_doctor.formats import format_of
from dataset_doctor.balance import rebalance

    plan = rebalance(dataset, method="oversample", target="sqrt", budget=1.5)
    plan.classes, plan.notes                 # what it brings, and what it cannot
    balanced = plan.apply(dataset)

A sampler is a function from a `Demand` (counts, targets, limits, a source of chance) to repeats, one an image; `SAMPLERS` is the table.
`rebalance` makes the demand, sees to the background images, and has the plan count what comes out.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from dataset_doctor.balance import copy_paste
from dataset_doctor.balance.augmenting import OPERATIONS, PRESETS, augmented, parse_augment
from dataset_doctor.balance.backgrounds import Pool, parse_background, room_for_sampler, settle
from dataset_doctor.balance.certificate import Objective, certified, labels_to_collect
from dataset_doctor.balance.copy_paste.collages import made_pictures
from dataset_doctor.balance.demand import DUST, Demand, Repeats, Sampler, instances_of
from dataset_doctor.balance.samplers import imbalanced_learn
from dataset_doctor.balance.samplers.by_frequency import (
    Threshold,
    choose_threshold,
    class_aware,
    image_frequency,
    instance_frequency,
    irfs,
    repeat_factor,
    repeat_factors,
    repeats_help,
)
from dataset_doctor.balance.samplers.multilabel import ml_ros, ml_rus
from dataset_doctor.balance.samplers.optimal import optimal_repeats
from dataset_doctor.balance.samplers.to_target import hybrid, oversample, unchanged, undersample
from dataset_doctor.balance.targets import Direction, is_doubt, parse_target
from dataset_doctor.dataset import Dataset, LabelState, Rows
from dataset_doctor.errors import UsageError, did_you_mean
from dataset_doctor.files.progress import Progress, silent
from dataset_doctor.findings import listed, percent, plural, shortened
from dataset_doctor.formats import format_of
from dataset_doctor.plan import Plan, make_plan
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

SAMPLERS: Mapping[str, Sampler] = {
    "oversample": oversample,
    "undersample": undersample,
    "hybrid": hybrid,
    "repeat_factor": repeat_factor,
    "irfs": irfs,
    "class_aware": class_aware,
    "ml_ros": ml_ros,
    "ml_rus": ml_rus,
    "optimal": optimal_repeats,
    "none": unchanged,
}
"""Every sampler by its name; `imblearn:NAME` names those of imbalanced-learn besides."""

COPY_PASTE = "copy_paste"
"""The method that no function from counts to repeats can be: it makes pictures, of which the labels say where there is a place."""

DIRECTIONS: Mapping[str, Direction] = {"undersample": "down", "ml_rus": "down", "hybrid": "both", "class_aware": "both"}
"""What samplers do, where they do not only repeat images."""

AIM_AT_TARGET = ("oversample", "undersample", "hybrid", "optimal")
"""The samplers that look at the target; the others have a rule of their own."""

FREQUENCIES = {"repeat_factor": image_frequency, "irfs": instance_frequency}
"""What the samplers that have a threshold compare with it."""


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
        progress: Called with what is done, how much and how much in all, where pictures have to be looked at.

    Raises:
        UsageError: an argument that cannot be used, nothing in the split to balance, or augmentation that cuts too many objects away.
    """
    column = _split(dataset, split)
    times = budget if budget is not None else float(max_repeat) if method == "optimal" else BUDGET
    _check_limits(times, max_repeat, min_repeat, seed, threshold)
    wish = parse_background(background)
    scene = _scene(dataset, column, left_out)
    rng = np.random.default_rng(seed)
    limit = math.floor(times * scene.n_images + DUST)
    room = max(room_for_sampler(wish, scene.pool, limit, max_repeat), 0)
    plain = _demand(scene, room, max_repeat, rng, threshold)
    notes: list[str] = []
    if method is None:
        method, reason = _default_method(dataset, plain)
        notes += [reason] if reason else []
    operations, told_of_preset = parse_augment(augment, dataset) if augment is not None else ((), [])
    if method == COPY_PASTE:
        if operations:
            raise UsageError("`augment` alters repeats, and copy_paste makes none.", "Rebalance the result once more with it.")
        if background != "keep":
            raise UsageError(f"`background={background}` is not for copy_paste.", "Rebalance the result once more with it.")
        if min_repeat == 0:
            raise UsageError("`min_repeat=0` is for optimal.", "copy_paste keeps every image.")
        return _pasted(dataset, column, scene, plain, times, target, budget is None, seed, left_out, progress)
    sampler, direction, aims = _sampler(method, dataset, scene, progress)
    if method != "none" and not scene.instances.any():
        raise UsageError(f"no class has an instance in split {dataset.splits[column]}: there is nothing to balance.")
    if min_repeat == 0:
        if method != "optimal":
            raise UsageError("`min_repeat=0` is for optimal.", f"{method} decides itself what it drops.")
        direction = "both"
    if times < 1 and direction == "up":
        hint = "undersample, ml_rus, hybrid and class_aware do, and optimal with `min_repeat=0`."
        raise UsageError(f"`budget={times:g}` is below 1, and {method} drops no image.", hint)
    if threshold is not None and method not in FREQUENCIES:
        raise UsageError("`threshold` is for repeat_factor and irfs.", f"{method} has none.")
    wanted = parse_target(target, dataset.class_names, scene.instances, direction)
    demand = dataclasses.replace(plain, target=wanted, min_repeat=min_repeat) if aims else plain
    certificate = None
    if method == "optimal":
        objective: Objective = "epoch_images" if budget is None else "effective_sample_share"
        best = certified(demand, dataset.class_names, objective)
        repeats, certificate = best.repeats, best.certificate
        notes += best.notes
    else:
        repeats = sampler(demand)
    told_here, aimed_repeats = len(notes), repeats
    if not aims and target != "sqrt":
        notes.append(f"{method} has a rule of its own: the target {target} is not looked at.")
    if method in FREQUENCIES:
        notes += _threshold_told(choose_threshold(demand, FREQUENCIES[method](demand)), times)
    notes += _dropped_told(scene, repeats)
    if not scene.pool.positive.any() and wish.text != "keep":
        raise UsageError(f"split {dataset.splits[column]} has no positive image: `background={wish.text}` would leave nothing.")
    repeats, told = settle(wish, scene.pool, repeats, budget=limit, max_repeat=max_repeat, rng=rng)
    notes += told
    if told and certificate is not None:
        notes.append("The certificate is about the repeats before backgrounds were changed.")
    if repeats.sum() > limit:
        notes.append(f"The budget of {times:g} × cannot be kept: {int(repeats.sum()):,} images stay where it allows {limit:,}.")
    rows, in_split = _rows(dataset, column, scene.members, repeats)
    made = None
    if operations:
        made, told_of_copies = augmented(dataset, rows, column, operations, seed=seed, left_out=left_out, progress=progress)
        notes += [*told_of_preset, *told_of_copies]
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
    if aims:
        shown = np.array([change.after for change in plan.classes], np.int64)
        notes[told_here:told_here] = _targets_told(scene, demand, aimed_repeats, shown, direction, multiple=times)
    return dataclasses.replace(plan, notes=tuple(notes))


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


def _sampler(method: str, dataset: Dataset, scene: _Scene, progress: Progress) -> tuple[Sampler, Direction, bool]:
    """Find a method: its function, what it does, and whether it looks at the target."""
    if method in SAMPLERS:
        return SAMPLERS[method], DIRECTIONS.get(method, "up"), method in AIM_AT_TARGET
    if not method.startswith(imbalanced_learn.PREFIX):
        known = [*SAMPLERS, COPY_PASTE, f"{imbalanced_learn.PREFIX}NAME"]
        raise UsageError(f"`method={method}` is not known.", did_you_mean(method, known))
    name = imbalanced_learn.find(method)
    if not _is_folder(dataset):
        raise UsageError(f"{method} is for image folders, where an image has one class.", f"Choose from: {', '.join(SAMPLERS)}.")
    sampler = imbalanced_learn.sampler(name, lambda: _pictures(dataset, scene.members, progress))
    return sampler, imbalanced_learn.NAMES[name], imbalanced_learn.takes_target(name)


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


def _pictures(dataset: Dataset, members: NDArray[np.intp], progress: Progress) -> NDArray[np.float32]:
    """Give small greyscale pictures as rows of 256 numbers, 0 to 1; NaN where an image cannot be decoded."""
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


def _pasted(
    dataset: Dataset,
    column: int,
    scene: _Scene,
    plain: Demand,
    times: float,
    target: str,
    is_free: bool,
    seed: int,
    left_out: Rows | None,
    progress: Progress,
) -> Plan:
    """Plan pictures with pasted instances on top of all images, and put beside them what repeats alone could do."""
    if times < 1:
        raise UsageError(f"`budget={times:g}` is below 1, and copy_paste drops no image.", "Give 1 or more.")
    if plain.threshold is not None:
        raise UsageError("`threshold` is for repeat_factor and irfs.", "copy_paste has none.")
    wanted = parse_target(target, dataset.class_names, scene.instances, "up")
    demand = dataclasses.replace(plain, target=wanted)
    among = dataset.annotations_in_split(column)
    if left_out is not None:
        among[left_out] = False
    found = copy_paste.paste(dataset, demand, scene.members, among, progress)
    if not scene.instances.any():
        raise UsageError("no class has an instance in this split: there is nothing to paste.")
    alone = dataclasses.replace(demand, budget=math.floor((MAX_REPEAT if is_free else times) * scene.n_images + DUST))
    best = certified(alone, dataset.class_names, "epoch_images" if is_free else "effective_sample_share")
    repeats = np.ones(scene.n_images, np.int32)
    repeats += np.bincount(np.searchsorted(scene.members, found.bases), minlength=scene.n_images).astype(np.int32)
    rows, in_split = _rows(dataset, column, scene.members, repeats)
    return make_plan(
        dataset,
        rows,
        command="rebalance",
        method=COPY_PASTE,
        split=dataset.splits[column],
        seed=seed,
        in_split=in_split,
        left_out=left_out,
        certificate=best.certificate,
        notes=copy_paste.told(dataset, demand, found, instances_of(scene.counts, repeats), best.repeats, times),
        made=made_pictures(dataset, found, rows, among),
    )


# What a reader should know ------------------------------------------------------------------------------------------


def _targets_told(
    scene: _Scene, demand: Demand, repeats: Repeats, made: NDArray[np.int64], direction: Direction, *, multiple: float
) -> list[str]:
    """Say which classes miss their target, and why; `made` are the instances of the result."""
    before, limit = scene.instances, demand.budget
    aimed = ~np.isnan(demand.target)
    below, above = aimed & (made < demand.target), aimed & (made > np.maximum(demand.target, 1))
    absent = below & (before == 0)
    capped = below & ~absent & (before * demand.max_repeat < demand.target)
    short = below & ~absent & ~capped

    def told(which: NDArray[np.bool_]) -> str:
        rows = np.flatnonzero(which).tolist()
        return listed((f"{scene.names[c]} {made[c]:,} of {int(demand.target[c]):,}" for c in rows), len(rows))

    notes = []
    if absent.any():
        notes.append(f"No image to repeat: {told(absent)}.")
    if capped.any():
        notes.append(f"Not reachable with at most {plural(demand.max_repeat, 'showing')} an image, so collect more: {told(capped)}.")
    if short.any() and int(repeats.sum()) >= limit:
        notes.append(f"The budget of {multiple:g} × ends before the target: {told(short)}.")
    elif short.any():
        notes.append(f"Below the target: {told(short)}.")
    if above.any() and direction == "up":
        notes.append(f"Above the target, since an image takes all its classes along and none is dropped: {told(above)}.")
    elif above.any():
        notes.append(f"Above the target, since their other images hold scarcer classes too: {told(above)}.")
    left = np.flatnonzero(~aimed & (before > 0)).tolist()
    if left:
        notes.append(f"No reason to repeat or drop an image: {listed((scene.names[c] for c in left), len(left))}.")
    return notes


def _threshold_told(threshold: Threshold, budget: float) -> list[str]:
    quantile = f", the {threshold.quantile:.0%} quantile of the classes" if threshold.quantile is not None else ""
    asked = f" The threshold asked for, {threshold.asked:g}, goes beyond the budget of {budget:g} ×." if threshold.asked is not None else ""
    return [f"Images are repeated for classes of a frequency below {percent(threshold.value)}{quantile}.{asked}"]


def _dropped_told(scene: _Scene, repeats: Repeats) -> list[str]:
    gone = repeats == 0
    if not gone.any():
        return []
    lost = instances_of(scene.counts, gone.astype(np.int32))
    rows = np.flatnonzero(lost)
    rows = rows[np.argsort(-lost[rows], kind="stable")].tolist()
    classes = listed((f"{scene.names[c]} {lost[c]:,}" for c in rows), len(rows))
    return [f"{plural(int(gone.sum()), 'image')} dropped, with {plural(int(lost.sum()), 'instance')}: {classes}."]
