"""Class weights: from what a training split holds to numbers that a trainer's loss or sampler takes."""

from __future__ import annotations

import dataclasses
import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

from dataset_doctor.dataset import Dataset
from dataset_doctor.errors import UsageError, did_you_mean
from dataset_doctor.files.progress import Progress, silent
from dataset_doctor.findings import plural
from dataset_doctor.formats import fingerprint, opened
from dataset_doctor.plan import Plan
from dataset_doctor.weights.counting import CountUnit, after_plan, choose_split, count_classes, load_plan, records_in_split
from dataset_doctor.weights.exporters import EXPORTERS, Exporter, export, find_trainer
from dataset_doctor.weights.record import POS_WEIGHT_CAP, POS_WEIGHT_POWER, ClassWeights, load
from dataset_doctor.weights.schemes import SCHEMES, Counted, Scheme, kish_efficiency, positive_weights

__all__ = [
    "EXPORTERS",
    "SCHEMES",
    "ClassWeights",
    "CountUnit",
    "Exporter",
    "Normalize",
    "Scheme",
    "class_weights",
    "export",
    "find_trainer",
    "image_weights",
    "load",
    "load_plan",
    "pos_weight",
    "weigh",
    "weights",
]

Normalize = Literal["none", "mean", "sample"]

WIDE_SPREAD = 50.0
"""From this ratio of the largest to the smallest weight on, a cap is advised: a handful of labels then steer each step."""

LOW_EFFICIENCY = 1 / 3
"""Below this share of effective labels, gradients are as noisy as with a third of the data."""

NAMES_SHOWN = 8


def class_weights(
    dataset: Dataset,
    scheme: str = "inverse",
    *,
    beta: float | None = None,
    power: float | None = None,
    cap: float | None = None,
    normalize: Normalize = "none",
    count: CountUnit = "instances",
    split: str | None = None,
    after: Plan | Mapping[str, Any] | None = None,
) -> NDArray[np.float64]:
    """Weigh the classes of a dataset; `weigh` takes the same arguments and tells more.

    Returns:
        float64 (number of classes,), in class order. All are finite and above 0; a class without a count gets 1.
    """
    return np.array(
        weigh(dataset, scheme, beta=beta, power=power, cap=cap, normalize=normalize, count=count, split=split, after=after).weights
    )


def weights(
    dataset: Dataset | str | os.PathLike[str],
    scheme: str = "inverse",
    *,
    trainer: str | None = None,
    normalize: Normalize | None = None,
    after: Plan | Mapping[str, Any] | str | os.PathLike[str] | None = None,
    format: str | None = None,
    images: str | os.PathLike[str] | None = None,
    classes: str | os.PathLike[str] | None = None,
    progress: Progress = silent,
    **how: Any,
) -> ClassWeights:
    """Weigh the classes of a dataset as the command does.

    Args:
        dataset: A path, or what `read` gave.
        scheme: A name in SCHEMES.
        trainer: For whom; only what `normalize` is by default depends on it. `export` writes its file.
        normalize: As for `weigh`; by default "none", and "sample" for a trainer.
        after: As for `weigh`, or a file with the plan's document: a manifest, or what `rebalance --json` printed.
        format: As for `read`, like `images` and `classes`; for a path only.
        images: As there.
        classes: As there.
        progress: Called with what is done, how much and how much in all.
        how: As for `weigh`: `beta`, `power`, `cap`, `count`, `split`.

    Raises:
        UsageError: as for `weigh`; besides a trainer or file that is not known.
    """
    if trainer is not None:
        find_trainer(trainer)
    plan = load_plan(Path(after)) if isinstance(after, str | os.PathLike) else after
    columns = opened(dataset, format, images=images, classes=classes, progress=progress)
    return weigh(columns, scheme, normalize=normalize or ("sample" if trainer else "none"), after=plan, **how)


def weigh(
    dataset: Dataset,
    scheme: str = "inverse",
    *,
    beta: float | None = None,
    power: float | None = None,
    cap: float | None = None,
    normalize: Normalize = "none",
    count: CountUnit = "instances",
    split: str | None = None,
    after: Plan | Mapping[str, Any] | None = None,
) -> ClassWeights:
    """Weigh the classes of a dataset by what one split holds of each.

    A class without a count gets weight 1, stays out of every normalisation, and is named in a warning.

    Args:
        dataset: What `read` gave.
        scheme: A name in SCHEMES.
        beta: For `effective`, 0 ≤ beta < 1; by default 1 − 1 ÷ the median count, so that the median class is where more labels
            begin to change little.
        power: For `power`, 0 to 1.
        cap: Bound of the largest weight ÷ the smallest; larger ones are lowered to it.
        normalize: "none"; "mean": the weights of the classes average 1; "sample": the weights of the labels average 1, which
            leaves the size of a loss, and so the learning rate, alone.
        count: What is counted: "instances", "images" that hold the class, or "area" in pixels (of masks and polygons where the
            dataset has them, else of boxes).
        split: Its name; by default `train`, else the only one.
        after: A plan, or its document, that will be applied before training: its counts are used, so that nothing is corrected twice.

    Raises:
        UsageError: a parameter out of its range, a split that is not there, nothing to count, a plan for another dataset.
    """
    _check(scheme, beta=beta, power=power, cap=cap, normalize=normalize, count=count, after=after)
    plan = after.to_dict() if isinstance(after, Plan) else after
    chosen = choose_split(dataset, split if split is not None or plan is None else str(plan.get("split")))
    found, method = count_classes(dataset, chosen, count), None
    if plan is not None:
        found, method = after_plan(found, dataset, plan, chosen)
    present = found.counts > 0
    if not present.any():
        raise _nothing_to_count(dataset, chosen, count)
    counts = found.counts[present].astype(np.float64)
    if scheme == "effective" and beta is None:
        beta = 1 - 1 / max(float(np.median(counts)), 2.0)
    raw = SCHEMES[scheme].weigh(Counted(counts, found.within[present], beta=beta, power=power))
    bound = raw.min() * (cap if cap is not None else math.inf)
    lowered = raw > bound * (1 + 1e-12)
    raw = np.minimum(raw, bound)
    if normalize == "mean":
        raw = raw / raw.mean()
    elif normalize == "sample":
        raw = raw * counts.sum() / (counts @ raw)
    weights = np.ones(len(dataset.classes))
    weights[present] = raw
    assert np.isfinite(weights).all() and (weights > 0).all()
    names = np.array([*dataset.class_names, None], dtype=object)[:-1]
    weighed = ClassWeights(
        scheme=scheme,
        normalize=normalize,
        count=count,
        split=chosen,
        classes=dataset.class_names,
        counts=tuple(found.counts.tolist()),
        weights=tuple(weights.tolist()),
        background_weight=1.0,
        cap=cap,
        capped=tuple(names[present][lowered].tolist()),
        efficiency=kish_efficiency(counts, raw),
        fingerprint=fingerprint(dataset),
        beta=beta,
        power=power,
        after=method,
        task=dataset.task,
        instances=tuple(found.instances.tolist()),
        images=None if found.images is None else tuple(found.images.tolist()),
        images_in_split=found.n_images,
        warnings=found.notes,
    )
    return dataclasses.replace(weighed, warnings=(*weighed.warnings, *_warnings(weighed)))


def pos_weight(
    dataset: Dataset, *, power: float = POS_WEIGHT_POWER, cap: float = POS_WEIGHT_CAP, split: str | None = None
) -> NDArray[np.float64]:
    """Give weights of the positive labels for a multi-label `BCEWithLogitsLoss(pos_weight=…)`.

    (images without the class ÷ images with it)^power, between 1 ÷ cap and cap. The full ratio (power 1) shifts every probability by
    the logarithm of its weight, so the square root is the default. A class that no image or every image holds gets 1.

    Args:
        dataset: What `read` gave.
        power: 0 to 1.
        cap: Bound of a weight, at least 1.
        split: Its name; by default `train`, else the only one.

    Returns:
        float64 (number of classes,), in class order.
    """
    _within("power", power, 0, 1)
    _within("cap", cap, 1, math.inf)
    chosen = choose_split(dataset, split)
    found = count_classes(dataset, chosen, "images")
    if not found.counts.any():
        raise _nothing_to_count(dataset, chosen, "images")
    assert found.n_images is not None
    return positive_weights(found.counts, found.n_images, power=power, cap=cap)


def image_weights(dataset: Dataset, weights: ArrayLike, *, split: str | None = None) -> NDArray[np.float64]:
    """Give each image the weight to be drawn with, or repeated by: that of the rarest class it holds.

    The weights are scaled so that the class with the smallest has 1. So has an image without labels, and the result can serve as
    repeat factors: 2.5 for an image to be shown two or three times.

    Args:
        dataset: What `read` gave.
        weights: Of the classes, (number of classes,), as `class_weights` gives them.
        split: Its name; by default `train`, else the only one.

    Returns:
        float64 (number of images,): at least 1 for an image of the split, 0 for all others.

    Raises:
        UsageError: the weights are not as many as the classes, or not all finite and above 0.
    """
    of_class = np.asarray(weights, np.float64)
    if of_class.shape != (len(dataset.classes),):
        raise UsageError(f"There are {plural(len(dataset.classes), 'class', 'classes')} and weights of shape {of_class.shape}.")
    if not (np.isfinite(of_class) & (of_class > 0)).all():
        raise UsageError("A weight is not a finite number above 0.")
    chosen = choose_split(dataset, split)
    holds = records_in_split(dataset, chosen).counts()
    used = np.bincount(holds.indices, minlength=len(of_class)) > 0
    factors = dataset.images.in_split[:, dataset.splits.index(chosen)].astype(np.float64)
    labelled = np.diff(holds.indptr) > 0
    if used.any():
        factors[labelled] = np.maximum.reduceat(of_class[holds.indices], holds.indptr[:-1][labelled]) / of_class[used].min()
    return factors


# Complaints ---------------------------------------------------------------------------------------------------------


def _check(scheme: str, *, beta: float | None, power: float | None, cap: float | None, normalize: str, count: str, after: object) -> None:
    """Refuse parameters that are not known, out of their range, or of another scheme."""
    for option, word, known in (
        ("scheme", scheme, SCHEMES),
        ("normalize", normalize, get_args(Normalize)),
        ("count", count, get_args(CountUnit)),
    ):
        if word not in known:
            raise UsageError(f"`{option}={word}` is not known.", did_you_mean(str(word), known))
    wanted = SCHEMES[scheme].parameter
    for name, value in (("beta", beta), ("power", power)):
        if value is not None and name != wanted:
            takes = next(other for other, made in SCHEMES.items() if made.parameter == name)
            raise UsageError(f"`{name}` is for `scheme={takes}`.", f"Leave it out, or choose `scheme={takes}`.")
    if wanted == "power" and power is None:
        raise UsageError("`scheme=power` needs `power`.", "0 gives equal weights, 0.5 those of sqrt, 1 those of inverse.")
    if beta is not None:
        _within("beta", beta, 0, 1, upper=False)
    if power is not None:
        _within("power", power, 0, 1)
    if cap is not None:
        _within("cap", cap, 1, math.inf, upper=False)
    if after is not None and count != "instances":
        raise UsageError(f"A plan tells instances, not what `count={count}` needs.", "Leave `count` out, or read the rebalanced dataset.")


def _within(name: str, value: float, low: float, high: float, *, upper: bool = True) -> None:
    if not (low <= value <= high if upper else low <= value < high):
        allowed = f"at least {low}" if high == math.inf else f"between {low} and {high}" if upper else f"at least {low} and below {high}"
        raise UsageError(f"`{name}` must be {allowed}, got {value:g}.")


def _nothing_to_count(dataset: Dataset, split: str, unit: CountUnit) -> UsageError:
    if not dataset.classes:
        return UsageError("The dataset declares no class, so there is nothing to weigh.", "Name the classes in a file: `classes`.")
    others = [name for name in dataset.splits if name != split and dataset.annotations_in_split(dataset.splits.index(name)).any()]
    hint = (
        f"Labels are in {', '.join(others)}: name one with `split`."
        if others
        else "Label it first; `dataset-doctor audit` says what is there."
    )
    return UsageError(
        f"The split {split} holds no labels with {'an area' if unit == 'area' else 'a class'}, so there is nothing to weigh by.", hint
    )


def _warnings(w: ClassWeights) -> list[str]:
    """Say what to know before using the weights."""
    present = w.present
    unused = [name for name, here in zip(w.classes, present.tolist(), strict=True) if not here]
    used = [name for name, here in zip(w.classes, present.tolist(), strict=True) if here]
    warnings = []
    if unused:
        what = "area" if w.count == "area" else "instances"
        warnings.append(f"{plural(len(unused), 'class', 'classes')} without {what} in {w.split}, with weight 1: {_named(unused)}.")
    if len(used) == 1:
        warnings.append(f"Only {used[0]} has a count: with one class, a weight changes nothing but the size of the loss.")
    if w.cap is None and w.spread > WIDE_SPREAD:
        largest, smallest = (w.classes[at] for at in _extremes(w))
        warnings.append(
            f"{largest} weighs {w.spread:,.0f} times as much as {smallest}. Bound it with --cap 50, or soften it with --scheme sqrt."
        )
    if w.efficiency < LOW_EFFICIENCY:
        warnings.append(
            f"Efficiency {w.efficiency:.2f}: gradients are as noisy as with {w.efficiency:.0%} of the labels."
            " Soften with --scheme sqrt or effective, or lower --cap."
        )
    return warnings


def _extremes(w: ClassWeights) -> tuple[int, int]:
    """Find the class with the largest and that with the smallest weight among those that have a count."""
    weights = np.where(w.present, w.weights, np.nan)
    return int(np.nanargmax(weights)), int(np.nanargmin(weights))


def _named(names: Sequence[str]) -> str:
    listed = ", ".join(names[:NAMES_SHOWN])
    return f"{listed} and {len(names) - NAMES_SHOWN:,} more" if len(names) > NAMES_SHOWN else listed
