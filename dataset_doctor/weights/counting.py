"""What a split holds of each class: instances, images or pixels; as it lies, or after a plan."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from dataset_doctor.dataset import Dataset, LabelState
from dataset_doctor.errors import UsageError, did_you_mean
from dataset_doctor.files.reading import Unreadable, read_regular
from dataset_doctor.findings import plural
from dataset_doctor.formats import read_shapes
from dataset_doctor.geometry import widths_heights

CountUnit = Literal["instances", "images", "area"]

MAX_PLAN_BYTES = 1 << 30


@dataclass(frozen=True, slots=True, eq=False)
class ClassCounts:
    """What a split holds of each class, one entry a class.

    counts     int64: in the unit asked for (pixels are rounded)
    within     float64: pixels of the images that hold the class where pixels are counted, else the sum of all counts
    instances, images  int64: what else was counted; `images` is None after a plan, which does not tell
    n_images   images of the split; None after a plan
    notes      what was not counted, one sentence each
    """

    counts: NDArray[np.int64]
    within: NDArray[np.float64]
    instances: NDArray[np.int64]
    images: NDArray[np.int64] | None
    n_images: int | None
    notes: tuple[str, ...]


def choose_split(dataset: Dataset, name: str | None) -> str:
    """Find a split by its canonical or its own name; by default the training split, else the only one.

    Raises:
        UsageError: no such split, or several to choose from.
    """
    if name is None:
        if (default := dataset.default_split) is not None:
            return default
        raise UsageError(f"There is no split train, but {_listed(dataset.splits)}.", "Name one with `split`.")
    spelled = dict(zip(dataset.split_spelling, dataset.splits, strict=True))
    if name in dataset.splits or name in spelled:
        return name if name in dataset.splits else spelled[name]
    raise UsageError(f"`split={name}`: the dataset has no such split.", did_you_mean(name, dataset.splits))


def _listed(names: tuple[str, ...]) -> str:
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)


def records_in_split(dataset: Dataset, split: str) -> Dataset:
    """Keep the label records that count in a split; all images stay."""
    of_split = dataset.annotations_in_split(dataset.splits.index(split))
    return dataset if of_split.all() else dataset.holding(of_split)


def count_classes(dataset: Dataset, split: str, unit: CountUnit) -> ClassCounts:
    """Count the classes in a split.

    Raises:
        UsageError: areas are asked for, and the labels have none.
    """
    k = len(dataset.classes)
    members = dataset.images.in_split[:, dataset.splits.index(split)]
    held = records_in_split(dataset, split)
    counts = held.counts()
    instances = np.asarray(counts.sum(axis=0)).ravel().astype(np.int64)
    images = np.bincount(counts.indices, minlength=k).astype(np.int64)
    notes = []
    unlabeled = int((dataset.images.label_state[members] == LabelState.UNLABELED).sum())
    if unlabeled:
        notes.append(f"{plural(unlabeled, 'image')} of {split} without labels {'counts' if unlabeled == 1 else 'count'} for no class.")
    undeclared = int((held.is_instance & (held.annotations.class_index < 0)).sum())
    if undeclared:
        notes.append(
            f"{plural(undeclared, 'label')} of {split} with a class that is not declared {'is' if undeclared == 1 else 'are'} left out."
        )
    if unit != "area":
        chosen = instances if unit == "instances" else images
        return ClassCounts(chosen, np.full(k, float(chosen.sum())), instances, images, int(members.sum()), tuple(notes))
    area = _areas(held)
    counted = held.is_instance & (held.annotations.class_index >= 0)
    known = counted & np.isfinite(area)
    if counted.any() and not known.any():
        raise UsageError("The labels have no area to count in pixels.", "Use `count=instances` or `count=images`.")
    if missing := int((counted & ~known).sum()):
        notes.append(f"{plural(missing, 'instance')} without a known area {'is' if missing == 1 else 'are'} left out.")
    of_class = held.annotations.class_index[known]
    pixels = np.rint(np.bincount(of_class, area[known], minlength=k)).astype(np.int64)
    image_pixels = np.nan_to_num(held.sizes.prod(axis=1))
    within = np.asarray((counts > 0).T @ image_pixels).astype(np.float64)
    # Masks may overlap, and images without a known size count as nothing: a class never fills more than its images.
    return ClassCounts(pixels, np.maximum(within, pixels), instances, images, int(members.sum()), tuple(notes))


def _areas(dataset: Dataset) -> NDArray[np.float64]:
    """Give the area of each annotation in pixels: of its mask or polygon, else of its box inside the image; NaN where unknown."""
    sizes = dataset.annotation_sizes
    boxes = dataset.boxes
    inside = np.stack([np.clip(boxes[:, at], 0, sizes[:, at % 2]) for at in range(4)], axis=1) if len(boxes) else boxes
    area: NDArray[np.float64] = np.maximum(widths_heights(inside), 0).prod(axis=1)
    shapes = read_shapes(dataset) if dataset.task == "segment" else None
    return area if shapes is None else np.where(np.isfinite(shapes.area), shapes.area, area)


# Plans --------------------------------------------------------------------------------------------------------------


def after_plan(found: ClassCounts, dataset: Dataset, plan: Mapping[str, Any], split: str) -> tuple[ClassCounts, str]:
    """Put the counts that a plan will leave in the place of today's; tell the plan's method.

    Raises:
        UsageError: the document is not a plan for this split of this dataset.
    """
    if plan.get("split") != split:
        raise UsageError(
            f"The plan changes the split {plan.get('split')}, and the weights are for {split}.", "Choose the same one with `split`."
        )
    rows = plan.get("classes")
    if not isinstance(rows, list) or not all(_is_change(row) for row in rows):
        raise UsageError(
            "The plan does not list its classes with counts before and after.", "Write it with `dataset-doctor rebalance --json`."
        )
    if [row["name"] for row in rows] != list(dataset.class_names):
        raise UsageError("The plan has different classes from this dataset.", "Make one for this dataset.")
    after = np.array([row["after"] for row in rows], np.int64)
    for row, now in zip(rows, found.instances.tolist(), strict=True):
        if now not in (row["before"], row["after"]):
            raise UsageError(
                f"The plan was made where {split} held {plural(row['before'], 'instance')} of {row['name']}; now it holds {now:,}.",
                "Make a new plan.",
            )
    changed = replace(found, counts=after, within=np.full(len(after), float(after.sum())), instances=after, images=None, n_images=None)
    return changed, str(plan.get("method") or plan.get("command") or "plan")


def _is_change(row: Any) -> bool:
    if not isinstance(row, dict) or not isinstance(row.get("name"), str):
        return False
    return all(isinstance(row.get(key), int) and not isinstance(row[key], bool) and 0 <= row[key] < 2**62 for key in ("before", "after"))


def load_plan(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Read the document of a plan, or the plan in a manifest that `rebalance` wrote.

    Raises:
        UsageError: the file cannot be read or is neither.
    """
    try:
        document = json.loads(read_regular(os.fspath(path), MAX_PLAN_BYTES))
    except Unreadable as error:
        raise UsageError(f"{os.fspath(path)}: {error}.") from error
    except (ValueError, RecursionError) as error:
        raise UsageError(
            f"{os.fspath(path)} is not JSON.", "Give what `dataset-doctor rebalance --json` printed, or a dataset-doctor.json."
        ) from error
    schema = document.get("schema") if isinstance(document, dict) else None
    plan = document.get("plan") if schema == "dataset-doctor/manifest" else document
    if schema not in ("dataset-doctor/plan", "dataset-doctor/manifest") or not isinstance(plan, dict):
        raise UsageError(
            f"{os.fspath(path)} holds no plan.", "Give what `dataset-doctor rebalance --json` printed, or a dataset-doctor.json."
        )
    return plan
