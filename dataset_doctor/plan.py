"""Plan: what a treatment will do, before anything is written; the vocabulary of `rebalance`, `split` and `convert`.

A plan names the image rows of the result, in order and with repeats, and the split of each. Everything else in it is counted from
these, so what it predicts is what `Plan.apply` gives, and what is then written.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from dataset_doctor.dataset import Dataset, LabelState, Made, Rows, stack, take
from dataset_doctor.errors import UsageError
from dataset_doctor.geometry import Boxes
from dataset_doctor.outlines import Outlines, take_outlines
from dataset_doctor.recipes import Recipe

Command = Literal["rebalance", "split", "convert"]


@dataclass(frozen=True, slots=True)
class ClassChange:
    """Instances of a class in the split that changes; of a division, `in_splits` has them for each split of the result."""

    name: str
    before: int
    after: int
    in_splits: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class SplitChange:
    """Images of a split; 0 before where the split is new, 0 after where it is gone."""

    name: str
    images_before: int
    images_after: int


@dataclass(frozen=True, slots=True)
class Change:
    """A figure before and after; None where it is undefined."""

    before: float | None
    after: float | None


@dataclass(frozen=True, slots=True)
class Dropped:
    """What the result no longer holds: images, their instances, and records left out because of an error; `records` says which."""

    images: int
    instances: int
    records_with_errors: int
    records: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class CurvePoint:
    """What a budget buys: the effective sample share and the imbalance ratio at an epoch of `budget` × the images."""

    budget: float
    effective_sample_share: float
    imbalance_ratio: float | None


@dataclass(frozen=True, slots=True)
class Certificate:
    """How far a solution is from the best possible.

    objective    what was optimised; `achieved` its value after rounding to whole repeats, `bound` the proven best value
    gap          |achieved − bound| ÷ bound
    saturated    classes that cannot reach their target with so few repeats; `collect` says how many labels of each are missing
    inseparable  pairs of classes of which neither can be repeated without the other
    curve        what other budgets would bring
    """

    objective: Literal["epoch_images", "effective_sample_share"]
    achieved: float
    bound: float
    gap: float
    saturated: tuple[str, ...]
    collect: dict[str, int]
    inseparable: tuple[tuple[str, str], ...]
    curve: tuple[CurvePoint, ...]


@dataclass(frozen=True, slots=True)
class SplitQuality:
    """How alike the splits of a division are; 0 would be perfect, None where it is undefined.

    method  what divided: "stratified" is the plan itself; "random" and "iterative stratification" know nothing of groups
    ld      label distribution: mean difference of the odds of a class between a split and all, on images (Sechidis et al., 2011)
    ed      examples: mean difference between the images of a split and what the ratios ask for
    js      mean Jensen-Shannon divergence, in bits, between the classes of a split's instances and those of all
    """

    method: str
    ld: float | None
    ed: float
    js: float | None


@dataclass(frozen=True, slots=True, eq=False)
class MadePictures:
    """The images that a plan generates, and all annotations that they have.

    at        intp (m): their places in the plan's rows, rising
    recipes   how each is made
    owner     intp (n): for each annotation, which of the m images it is in
    origin    intp (n): the annotation of the source that it comes from, of the same image or of another in the same split
    boxes     float64 (n, 4): where it is in the generated image, as `Dataset.boxes`; NaN where the source's record has no box
    outlines  its polygons, masks and keypoints there; without any of them where the source's record has none
    """

    at: Rows
    recipes: tuple[Recipe, ...]
    owner: Rows
    origin: Rows
    boxes: Boxes
    outlines: Outlines


@dataclass(frozen=True, slots=True, eq=False)
class Plan:
    """A treatment of one dataset, ready to be applied.

    rows                    image rows of the source in the order of the result; a row that stands there k times is shown k times
    in_split                bool (len(rows), len(splits)): the splits of each image of the result
    splits, split_spelling  the splits of the result, by canonical name and as they will be written
    left_out                annotation rows of the source that the result does not hold although their image stays
    split                   the split that changes; None where all do
    effective_sample_share  (Σ r)² ÷ Σ r² ÷ n over the images of that split before, r repeats each (Kish): 1 where nothing was resampled
    loses                   what the target format cannot hold, one sentence each
    quality                 of a `split`: how alike the splits are, and how alike they would be if divided in other ways
    notes                   what a reader should know besides: classes that miss their target and why, one sentence each
    made                    the images of the result that are not files yet; None where all are
    """

    command: Command
    method: str | None
    split: str | None
    seed: int
    rows: Rows
    in_split: NDArray[np.bool_]
    splits: tuple[str, ...]
    split_spelling: tuple[str, ...]
    left_out: Rows
    classes: tuple[ClassChange, ...]
    split_changes: tuple[SplitChange, ...]
    epoch_images: int
    distinct_images: int
    imbalance_ratio: Change
    effective_sample_share: float
    dropped: Dropped
    certificate: Certificate | None = None
    disk_bytes: int = 0
    loses: tuple[str, ...] = ()
    quality: tuple[SplitQuality, ...] = ()
    notes: tuple[str, ...] = ()
    made: MadePictures | None = None

    def apply(self, dataset: Dataset) -> Dataset:
        """Give the dataset as the plan wants it; repeated images become rows of their own that share their `picture`.

        Args:
            dataset: The dataset the plan was made for.
        """
        images = dataset.images
        treated = dataset
        if len(self.left_out):
            kept = np.ones(dataset.n_annotations, bool)
            kept[self.left_out] = False
            treated = dataset.holding(kept)
            state = images.label_state.copy()
            emptied = np.setdiff1d(dataset.annotations.image[self.left_out], treated.annotations.image)
            state[emptied] = LabelState.BACKGROUND
            treated = dataclasses.replace(treated, images=dataclasses.replace(images, label_state=state))
        treated = treated.select(self.rows)
        # A label file that serves one split serves any once images have moved; where they stay, a repeat takes the records of its own.
        stays = self.command != "split" and treated.splits == self.splits
        served = treated.source_split if stays else np.full_like(treated.source_split, -1)
        annotations = treated.annotations
        of_source = served[annotations.source]
        own = (of_source < 0) | self.in_split[annotations.image, of_source]
        treated = treated if own.all() else treated.holding(own)
        treated = dataclasses.replace(
            treated,
            splits=self.splits,
            split_spelling=self.split_spelling,
            source_split=served,
            images=dataclasses.replace(treated.images, in_split=self.in_split),
            plan=self.to_dict(),
            origin=dataset.origin or dataset,
        )
        return treated if self.made is None else _with_made(treated, dataset, self.made)

    def to_dict(self) -> dict[str, Any]:
        """Give the plan as plain data, in the documented form (schema "dataset-doctor/plan", version 1)."""
        plain = dataclasses.asdict
        certificate = None
        if self.certificate is not None:
            certificate = plain(self.certificate)
            certificate["saturated"] = list(self.certificate.saturated)
            certificate["inseparable"] = [list(pair) for pair in self.certificate.inseparable]
            certificate["curve"] = [plain(point) for point in self.certificate.curve]
        return {
            "schema": "dataset-doctor/plan",
            "schema_version": 1,
            "command": self.command,
            "method": self.method,
            "split": self.split,
            "seed": self.seed,
            "classes": [
                {"name": change.name, "before": change.before, "after": change.after}
                | ({"splits": dict(zip(self.splits, change.in_splits, strict=True))} if change.in_splits else {})
                for change in self.classes
            ],
            "splits": [
                {"name": change.name, "images_before": change.images_before, "images_after": change.images_after}
                for change in self.split_changes
            ],
            "epoch_images": self.epoch_images,
            "distinct_images": self.distinct_images,
            "disk_bytes": self.disk_bytes,
            "imbalance_ratio": plain(self.imbalance_ratio),
            "effective_sample_share": self.effective_sample_share,
            "certificate": certificate,
            "dropped": plain(self.dropped) | {"records": list(self.dropped.records)},
            "loses": list(self.loses),
            "quality": [plain(one) for one in self.quality],
            "notes": list(self.notes),
        }


def make_plan(
    dataset: Dataset,
    rows: Rows,
    *,
    command: Command,
    method: str | None = None,
    split: str | None = None,
    seed: int = 0,
    in_split: NDArray[np.bool_] | None = None,
    splits: Sequence[str] | None = None,
    split_spelling: Sequence[str] | None = None,
    left_out: Rows | None = None,
    certificate: Certificate | None = None,
    notes: Sequence[str] = (),
    made: MadePictures | None = None,
) -> Plan:
    """Count what a choice of image rows brings.

    Args:
        dataset: The source.
        rows: Image rows of the result, in its order; repeats allowed.
        command: As in `Plan`; so are `method`, `split`, `seed`, `certificate` and `notes`.
        method: As there.
        split: As there.
        seed: As there.
        in_split: The splits of each of `rows`; by default those of the source. Then `splits` names them.
        splits: The splits of the result; by default those of the source.
        split_spelling: How they will be written.
        left_out: Annotation rows that the result does not hold although their image stays.
        certificate: As there.
        notes: As there.
        made: As there; each of its images is in `split` alone, and so are the images that its annotations come from. Annotations of
            `left_out` are in none of them.

    Raises:
        UsageError: images are to be generated from a dataset of which some are not generated yet.
    """
    if made is not None and dataset.made is not None:
        raise UsageError("some images of this dataset are not generated yet.", "Write it, and treat what was written.")
    rows = np.asarray(rows, np.intp)
    left_out = np.zeros(0, np.intp) if left_out is None else np.unique(left_out).astype(np.intp)
    new_splits = dataset.splits if splits is None else tuple(splits)
    spelling = dataset.split_spelling if splits is None else new_splits
    in_split = dataset.images.in_split[rows] if in_split is None else in_split
    before_in = dataset.images.in_split[:, dataset.splits.index(split)] if split is not None else np.ones(dataset.n_images, bool)
    after_in = in_split[:, new_splits.index(split)] if split is not None else np.ones(len(rows), bool)
    repeats = np.bincount(rows[after_in], minlength=dataset.n_images)
    counted = np.ones(dataset.n_annotations, bool) if split is None else dataset.annotations_in_split(dataset.splits.index(split))
    counts = _counts(dataset, counted)
    counted[left_out] = False
    left = _counts(dataset, counted) if len(left_out) else counts
    before, after = counts.T @ before_in.astype(np.int64), left.T @ repeats
    if made is not None:
        assert split is not None and (np.diff(made.at) > 0).all()
        assert after_in[made.at].all() and (in_split[made.at].sum(axis=1) == 1).all(), "a made image in another split"
        assert counted[made.origin].all(), "a record from elsewhere"
        after = after - left.T @ np.bincount(rows[made.at], minlength=dataset.n_images) + _instances(dataset, made.origin)
    # One row a class; of no columns where nothing is divided.
    shares = in_split if command == "split" else in_split[:, :0]
    in_splits = (left[rows].T @ shares.astype(np.int64)).tolist()
    kept = repeats[before_in]
    total, squares = int(kept.sum()), int((kept.astype(np.int64) ** 2).sum())
    gone = before_in & (repeats == 0)
    return Plan(
        command=command,
        method=method,
        split=split,
        seed=seed,
        rows=rows,
        in_split=in_split,
        splits=new_splits,
        split_spelling=spelling if split_spelling is None else tuple(split_spelling),
        left_out=left_out,
        classes=tuple(
            ClassChange(name, int(b), int(a), tuple(divided))
            for name, b, a, divided in zip(dataset.class_names, before, after, in_splits, strict=True)
        ),
        split_changes=_split_changes(dataset, new_splits, in_split),
        epoch_images=int(after_in.sum()),
        distinct_images=int((repeats > 0).sum()),
        imbalance_ratio=Change(_imbalance(before), _imbalance(after)),
        effective_sample_share=total * total / squares / int(before_in.sum()) if squares else 0.0,
        dropped=Dropped(int(gone.sum()), int((counts.T @ gone.astype(np.int64)).sum()), len(left_out), _records(dataset, left_out)),
        certificate=certificate,
        notes=tuple(notes),
        made=made,
    )


def _with_made(treated: Dataset, dataset: Dataset, made: MadePictures) -> Dataset:
    """Let images of a result be generated, with their new sizes and annotations.

    Args:
        treated: The result, with all of these images as copies of the source's.
        dataset: The source, which `made.origin` counts in.
        made: What is made.
    """
    images = treated.images
    recipe = np.full(len(images), -1, np.int32)
    recipe[made.at] = np.arange(len(made.at))
    stays = recipe[treated.annotations.image] < 0
    kept = take(treated.annotations, stays)
    new = take(dataset.annotations, made.origin)
    corners = made.boxes - dataset.corner_shift
    with np.errstate(invalid="ignore", divide="ignore"):
        old_area, new_area = (((box[:, 2] - box[:, 0]) * (box[:, 3] - box[:, 1])) for box in (new.corners, corners))
        area = np.where(old_area > 0, new.area * (new_area / old_area), np.nan)
    new = dataclasses.replace(new, image=made.at[made.owner].astype(np.int32), corners=corners, area=area)
    annotations = stack([kept, new])
    order = np.argsort(annotations.image, kind="stable")
    outline = np.concatenate([np.full(len(kept), -1, np.int32), np.arange(len(new), dtype=np.int32)])[order]

    sizes = np.array([(one.width, one.height) for one in made.recipes], np.int32)
    columns = {name: getattr(images, name).copy() for name in ("width", "height", "file_width", "file_height", "label_state")}
    for column, name in enumerate(("width", "height")):
        declared = columns[name][made.at] > 0
        columns[name][made.at[declared]] = sizes[declared, column]
        columns[f"file_{name}"][made.at] = sizes[:, column]
    state = columns["label_state"]
    state[made.at[state[made.at] == LabelState.LABELED]] = LabelState.BACKGROUND
    state[new.image] = LabelState.LABELED
    rising = order[order >= len(kept)] - len(kept)
    outline[outline >= 0] = np.arange(len(new))
    return dataclasses.replace(
        treated,
        images=dataclasses.replace(images, **columns),
        annotations=take(annotations, order),
        made=Made(made.recipes, recipe, take_outlines(made.outlines, rising), outline),
    )


def _instances(dataset: Dataset, rows: Rows) -> NDArray[np.int64]:
    """Count the instances of each class among some annotations, named once or more."""
    classes = dataset.annotations.class_index[rows]
    return np.bincount(classes[dataset.is_instance[rows] & (classes >= 0)], minlength=len(dataset.classes))


def _counts(dataset: Dataset, counted: NDArray[np.bool_]) -> Any:
    """Count instances, images × classes, over some of the annotations."""
    return dataset.counts() if counted.all() else dataset.holding(counted).counts()


def _records(dataset: Dataset, rows: Rows) -> tuple[str, ...]:
    """Name label records by their file and line, or their JSON pointer."""
    table = dataset.annotations
    places = zip(*(column[rows].tolist() for column in (table.source, table.line, table.position)), strict=True)
    return tuple(
        f"{dataset.sources[source]}:{line}" if line else f"{dataset.sources[source]} /annotations/{position}"
        for source, line, position in places
    )


def _split_changes(dataset: Dataset, splits: tuple[str, ...], in_split: NDArray[np.bool_]) -> tuple[SplitChange, ...]:
    before = dict(zip(dataset.splits, dataset.images.in_split.sum(axis=0).tolist(), strict=True))
    after = dict(zip(splits, in_split.sum(axis=0).tolist(), strict=True))
    return tuple(SplitChange(name, before.get(name, 0), after.get(name, 0)) for name in dict.fromkeys([*dataset.splits, *splits]))


def _imbalance(counts: NDArray[Any]) -> float | None:
    """Divide the largest count by the smallest, over the classes that have instances."""
    present = counts[counts > 0]
    return float(present.max() / present.min()) if len(present) else None
