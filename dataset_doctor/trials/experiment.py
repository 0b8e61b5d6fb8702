"""What is compared, prepared: refused where a comparison would say nothing, loaded, and given one door to train an arm with a seed."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from dataset_doctor.dataset import Dataset
from dataset_doctor.errors import ComparisonRefused, UsageError
from dataset_doctor.files.progress import Progress
from dataset_doctor.findings import listed, plural
from dataset_doctor.pixels import Pixels
from dataset_doctor.report.record import Report
from dataset_doctor.scan import scan
from dataset_doctor.trials import classification, detection, images
from dataset_doctor.trials.arms import Treatment
from dataset_doctor.trials.detection import Views
from dataset_doctor.trials.images import Data
from dataset_doctor.trials.loop import Trained, Trial
from dataset_doctor.trials.settings import Settings
from dataset_doctor.verdict import Details, Task

# Refusals -----------------------------------------------------------------------------------------------------------


def refuse_unsplit(dataset: Dataset) -> None:
    """Refuse a dataset without the three splits, or with fewer than two classes to tell apart.

    Raises:
        ComparisonRefused: with the command that divides it.
    """
    filled = {name for name, n in zip(dataset.splits, dataset.images.in_split.sum(axis=0).tolist(), strict=True) if n}
    missing = [name for name in ("train", "val", "test") if name not in filled]
    if missing:
        what = "no test split" if "test" in missing else f"no {missing[0]} split"
        why = {"test": "Without one nothing can be measured.", "val": "Without one no checkpoint can be chosen.", "train": ""}
        have = ", ".join(name for name in dataset.splits if name in filled) or "none"
        raise ComparisonRefused(f"The dataset has {what} (it has: {have}). {why[missing[-1]]}".rstrip(), _divide(dataset))
    if not dataset.images.has_file.any():
        raise ComparisonRefused("No image files were found: there is nothing to train on.", "Name their folder with `images`.")


def refuse_leakage(dataset: Dataset, report: Report) -> None:
    """Refuse a dataset with images that are in several splits.

    Raises:
        ComparisonRefused: with the finding, and the command that splits it again.
    """
    for finding in report.findings:
        if finding.name in ("split-leakage", "image-in-several-splits"):
            raise ComparisonRefused(
                f"{finding.code} {finding.name}: {finding.message}. A test on these would say nothing.", _divide(dataset)
            )


def _divide(dataset: Dataset) -> str:
    from dataset_doctor.formats import left_out
    from dataset_doctor.recommend.commands import command

    allowed = {"allow_errors": True} if len(left_out(dataset, dataset.format)) else {}
    return f"Divide it: {command(dataset, 'split', allowed, 'divided')}"


def _refuse_classes(data: Data) -> None:
    """Refuse what cannot be told apart, or not be chosen by."""
    k = len(data.class_names)
    train, val, test = (np.bincount(part.label, minlength=k) for part in (data.train, data.val, data.test))
    if (train > 0).sum() < 2:
        only = [name for name, n in zip(data.class_names, train.tolist(), strict=True) if n]
        has = f"only {only[0]}" if only else "nothing"
        raise ComparisonRefused(
            f"The training split shows {has}: there is nothing to tell apart.", "A comparison needs two classes or more."
        )
    _refuse_unseen(data.class_names, train, val, test, "image")


def _refuse_objects(views: Views) -> None:
    """Refuse a training or test split without an object, and classes that no checkpoint can be chosen by."""
    train, val, test = (views.instances(scenes) for scenes in (views.train, views.val, views.test))
    if not train.any():
        raise ComparisonRefused("The training split shows no object: there is nothing to learn.")
    _refuse_unseen(views.class_names, train, val, test, "object")


def _refuse_unseen(names: Sequence[str], train: NDArray[np.int64], val: NDArray[np.int64], test: NDArray[np.int64], what: str) -> None:
    unseen = [names[c] for c in np.flatnonzero((train > 0) & (test > 0) & (val == 0)).tolist()]
    if unseen:
        raise ComparisonRefused(
            f"{plural(len(unseen), 'class has', 'classes have')} no {what} in val, so that no checkpoint can be chosen for them:"
            f" {listed(unseen[:5], len(unseen))}.",
            "dataset-doctor split divides so that each class is in every split, if it has three images.",
        )
    if not test.any():
        raise ComparisonRefused("The test split shows nothing that is in a class: nothing can be measured.")


# What is trained ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, eq=False)
class Experiment:
    """A task, prepared: what an arm's training is, and what the judge has to know.

    train_images  int64 (K): training images with each class, before any treatment
    train         makes a trial
    details       what the verdict tells of all trainings besides
    shown         int64 (n) and (n): image (row of the dataset) and class of each training example; −1 for an image without any
    searched      fields of `Settings` that a search may change, if a training of the task heeds them
    """

    class_names: tuple[str, ...]
    train_images: NDArray[np.int64]
    train: Callable[[Trial], Trained]
    details: Callable[[Mapping[str, Sequence[Trained]]], Details]
    notes: tuple[str, ...]
    shown: tuple[NDArray[np.int64], NDArray[np.int64]]
    searched: tuple[str, ...]

    @property
    def counts(self) -> NDArray[np.int64]:
        """Training examples of each class (K)."""
        label = self.shown[1]
        return np.bincount(label[label >= 0], minlength=len(self.class_names))


def prepare(
    task: Task,
    dataset: Dataset,
    pixels: Pixels,
    settings: Settings,
    treatments: Mapping[str, Treatment],
    *,
    margin: float | None,
    background_crops: int,
    progress: Progress,
) -> Experiment:
    """Refuse what cannot be compared, and load the images.

    Args:
        task: What is trained.
        dataset: With the splits train, val and test.
        pixels: What a scan told of its images.
        settings: What all arms share.
        treatments: Of each arm.
        margin: Context around instances that are cut out; None for the default.
        background_crops: Crops of the background an image, as a class.
        progress: Called with what is done, how much and how much in all.

    Raises:
        ComparisonRefused: nothing to tell apart, or to choose and measure by.
        UsageError: an option that does not go with the task, or a detector with an arm.
    """
    if task == "classify":
        return _classification(dataset, pixels, settings, treatments, margin, background_crops, progress)
    if margin is not None or background_crops:
        raise UsageError("`margin` and `background_crops` are for instances that are cut out.", "Add `task=classify`.")
    return _detection(dataset, pixels, settings, treatments, progress)


def _classification(
    dataset: Dataset, pixels: Pixels, settings: Settings, treatments: Mapping[str, Treatment], margin: float | None, background: int,
    progress: Progress,
) -> Experiment:  # fmt: skip
    if background and dataset.task == "classify":
        raise UsageError("`background_crops` is for instances that are cut out, and these are whole images.", "Leave it out.")
    if margin is not None and not 0 <= margin <= 10:
        raise UsageError(f"`margin` must be between 0 and 10, got {margin:g}.", "Give a share of an instance's longer side, like 0.1.")
    around = images.MARGIN if margin is None else margin

    def load(part: Dataset, seen: Pixels, size: int) -> Data:
        cuts = images.choose(part, margin=around, background=background)
        return images.load(part, cuts, size, pixels=seen, progress=progress)

    def load_all(size: int) -> Data:
        data = load(dataset, pixels, size)
        _refuse_classes(data)
        return data

    data, train, notes = _loaded(load_all, load, classification.run, settings, treatments, progress)
    shown, searched = (data.train.image, data.train.label), ("lr", "weight_decay", "dropout", "augment")
    return Experiment(
        data.class_names, data.train_images, train, lambda trained: classification.details(dataset, data, trained), notes, shown, searched
    )


def _detection(dataset: Dataset, pixels: Pixels, settings: Settings, treatments: Mapping[str, Treatment], progress: Progress) -> Experiment:
    for treatment in treatments.values():
        detection.check(treatment.applied_to(settings), treatment)

    def load(part: Dataset, seen: Pixels, size: int) -> Views:
        return detection.load(part, size, pixels=seen, progress=progress)

    def load_all(size: int) -> Views:
        views = load(dataset, pixels, size)
        _refuse_objects(views)
        return views

    views, train, notes = _loaded(load_all, load, detection.run, settings, treatments, progress)
    image, objects = views.train.pictures.image, np.flatnonzero(views.train.trained)
    of, label = image[views.train.of[objects]], views.train.label[objects]
    empty = np.setdiff1d(image, of)
    shown = np.concatenate([of, empty]), np.concatenate([label, np.full(len(empty), -1)])
    searched = ("lr", "weight_decay", "augment")
    return Experiment(
        views.class_names, views.train_images, train, lambda trained: detection.details(dataset, views, trained), notes, shown, searched
    )


Loaded = TypeVar("Loaded", Data, Views)


def _loaded(
    load_all: Callable[[int], Loaded],
    load: Callable[[Dataset, Pixels, int], Loaded],
    run: Callable[[Trial, Loaded], Trained],
    settings: Settings,
    treatments: Mapping[str, Treatment],
    progress: Progress,
) -> tuple[Loaded, Callable[[Trial], Trained], tuple[str, ...]]:
    """Load what all arms share, and what some show instead; images of another size are decoded when an arm wants them.

    Args:
        load_all: Loads all three splits for a side of the images, or refuses.
        load: Loads a part of a dataset.
        run: Makes a trial on what was loaded.
        settings: What all arms share.
        treatments: Of each arm.
        progress: Called with what is done, how much and how much in all.

    Returns:
        What is loaded for the common side, what makes a trial, and what was left out.
    """
    of_size: dict[int, Loaded] = {}

    def at(size: int) -> Loaded:
        if size not in of_size:
            of_size[size] = load_all(size)
        return of_size[size]

    common: Loaded = at(settings.size)
    instead: dict[str, Loaded] = {}
    for name, treatment in treatments.items():
        if treatment.shown is not None:
            part = treatment.shown.select(treatment.shown.images.in_split[:, treatment.shown.splits.index("train")])
            instead[name] = load(part, scan(part, progress=progress), settings.size)

    def train(trial: Trial) -> Trained:
        given = at(trial.settings.size)
        if trial.arm.name in instead:
            own = instead[trial.arm.name]
            given = dataclasses.replace(given, train=own.train, train_images=own.train_images)
        return run(trial, given)

    notes = [*common.notes, *(f"{name}: {note}" for name, more in instead.items() for note in more.notes)]
    return common, train, tuple(notes)
