"""What is compared, made ready: refused where a comparison would say nothing, loaded, and given one door to train an arm with a seed."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from dataset_doctor.dataset import Dataset
from dataset_doctor.errors import DoctorError, UsageError
from dataset_doctor.files.progress import Progress
from dataset_doctor.findings import Report, listed, plural
from dataset_doctor.pixels import Pixels

if TYPE_CHECKING:
    from dataset_doctor.trials.arms import Arm, Treatment
    from dataset_doctor.trials.detect import Views
    from dataset_doctor.trials.pictures import Data
    from dataset_doctor.trials.training import Settings, Trained


class Refused(DoctorError):
    """A comparison that would say nothing: no test split, pictures in several splits, nothing to tell apart."""


# Refusals -----------------------------------------------------------------------------------------------------------


def refuse_unsplit(dataset: Dataset) -> None:
    """Refuse a dataset without the three splits, or with fewer than two classes to tell apart.

    Raises:
        Refused: with the command that divides it.
    """
    filled = {name for name, n in zip(dataset.splits, dataset.images.in_split.sum(axis=0).tolist(), strict=True) if n}
    missing = [name for name in ("train", "val", "test") if name not in filled]
    if missing:
        what = "no test split" if "test" in missing else f"no {missing[0]} split"
        why = {"test": "Without one nothing can be measured.", "val": "Without one no checkpoint can be chosen.", "train": ""}
        have = ", ".join(name for name in dataset.splits if name in filled) or "none"
        raise Refused(f"The dataset has {what} (it has: {have}). {why[missing[-1]]}".rstrip(), _divide(dataset))
    if not dataset.images.has_file.any():
        raise Refused("No image file is at hand: there is nothing to train on.", "Name their folder with --images.")


def refuse_leakage(dataset: Dataset, report: Report) -> None:
    """Refuse a dataset of which pictures lie in several splits.

    Raises:
        Refused: with the finding, and the command that divides it anew.
    """
    for finding in report.findings:
        if finding.name in ("split-leakage", "image-in-several-splits"):
            raise Refused(f"{finding.code} {finding.name}: {finding.message}. A test on these would say nothing.", _divide(dataset))


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
        raise Refused(f"The training split shows {has}: there is nothing to tell apart.", "A comparison needs two classes or more.")
    _refuse_unseen(data.class_names, train, val, test, "picture")


def _refuse_objects(views: Views) -> None:
    """Refuse a training or test split without an object, and classes that no checkpoint can be chosen by."""
    train, val, test = (views.instances(scenes) for scenes in (views.train, views.val, views.test))
    if not train.any():
        raise Refused("The training split shows no object: there is nothing to learn.")
    _refuse_unseen(views.class_names, train, val, test, "object")


def _refuse_unseen(names: Sequence[str], train: NDArray[np.int64], val: NDArray[np.int64], test: NDArray[np.int64], what: str) -> None:
    unseen = [names[c] for c in np.flatnonzero((train > 0) & (test > 0) & (val == 0)).tolist()]
    if unseen:
        raise Refused(
            f"{plural(len(unseen), 'class has', 'classes have')} no {what} in val, so that no checkpoint can be chosen for them:"
            f" {listed(unseen[:5], len(unseen))}.",
            "dataset-doctor split divides so that each class is in every split, if it has three images.",
        )
    if not test.any():
        raise Refused("The test split shows nothing that is in a class: nothing can be measured.")


# What is trained ----------------------------------------------------------------------------------------------------


class Run(Protocol):
    """Train an arm with a seed."""

    def __call__(
        self,
        arm: Arm,
        treatment: Treatment,
        seed: int,
        *,
        checkpoint: Path | None,
        stepped: Callable[[int], None],
        scored: Callable[[int, float], None] = ...,
    ) -> Trained:
        """Train; see `training.RunOne`, and `training.fit` for `scored`."""


@dataclass(frozen=True, slots=True, eq=False)
class Bench:
    """A task made ready: what an arm's training is, and what the judge has to know.

    train_images  int64 (K): training images with each class, before any treatment
    shown         int64 (n) and (n): image (row of the dataset) and class of each training picture, or of each training instance;
                  −1 for an image without any
    searched      fields of `Settings` that a search may change, if a training of the task heeds them
    extras        what else the verdict's document holds, from all trainings
    """

    class_names: tuple[str, ...]
    train_images: NDArray[np.int64]
    run: Run
    extras: Callable[[Mapping[str, Sequence[Trained]]], dict[str, Any]]
    notes: tuple[str, ...]
    shown: tuple[NDArray[np.int64], NDArray[np.int64]]
    searched: tuple[str, ...] = ("lr", "weight_decay", "dropout", "augment")


def classify_bench(
    dataset: Dataset,
    pixels: Pixels,
    settings: Settings,
    treatments: Mapping[str, Treatment],
    *,
    margin: float | None,
    background: int,
    progress: Progress,
) -> Bench:
    """Make classification ready."""
    from dataset_doctor.trials import classify, pictures

    if background and dataset.task == "classify":
        raise UsageError("--background-crops is for instances that are cut out, and these are whole images.", "Leave it out.")
    if margin is not None and not 0 <= margin <= 10:
        raise UsageError(f"--margin {margin:g} is not usable.", "Give a share of an instance's longer side, like 0.1.")
    around = pictures.MARGIN if margin is None else margin

    def load(part: Dataset, seen: Pixels, size: int) -> Data:
        cuts = pictures.choose(part, margin=around, background=background)
        return pictures.load(part, cuts, size, pixels=seen, progress=progress)

    def whole(size: int) -> Data:
        data = load(dataset, pixels, size)
        _refuse_classes(data)
        return data

    data, run, notes = _ready(whole, load, classify.run, settings, treatments, progress)
    shown = data.train.image, data.train.label
    return Bench(data.class_names, data.train_images, run, lambda trained: classify.extras(dataset, data, trained), notes, shown)


def detect_bench(
    dataset: Dataset, pixels: Pixels, settings: Settings, arms: Sequence[tuple[Arm, Treatment]], *, progress: Progress
) -> Bench:
    """Make detection ready."""
    from dataset_doctor.trials import detect

    for arm, treatment in arms:
        detect.check(arm, settings, treatment)

    def load(part: Dataset, seen: Pixels, size: int) -> Views:
        return detect.load(part, size, pixels=seen, progress=progress)

    def whole(size: int) -> Views:
        views = load(dataset, pixels, size)
        _refuse_objects(views)
        return views

    views, run, notes = _ready(whole, load, detect.run, settings, {arm.name: treatment for arm, treatment in arms}, progress)
    image, objects = views.train.pictures.image, np.flatnonzero(views.train.trained)
    of, label = image[views.train.of[objects]], views.train.label[objects]
    empty = np.setdiff1d(image, of)
    shown = np.concatenate([of, empty]), np.concatenate([label, np.full(len(empty), -1)])
    searched = ("lr", "weight_decay", "augment")
    return Bench(views.class_names, views.train_images, run, lambda trained: detect.extras(dataset, views, trained), notes, shown, searched)


Loaded = TypeVar("Loaded", "Data", "Views")


def _ready(
    whole: Callable[[int], Loaded],
    load: Callable[[Dataset, Pixels, int], Loaded],
    train: Callable[..., Trained],
    settings: Settings,
    treatments: Mapping[str, Treatment],
    progress: Progress,
) -> tuple[Loaded, Run, tuple[str, ...]]:
    """Load what all arms share, and what some show instead; pictures of another size are decoded when an arm wants them.

    Args:
        whole: Loads all three splits for a side of the pictures, or refuses.
        load: Loads a part of a dataset.
        train: Trains an arm with a seed on what was loaded.
        settings: What all arms share.
        treatments: Of each arm.
        progress: Called with what is done, how much and how much in all.

    Returns:
        What is loaded for the common side, what trains an arm, and what was left out.
    """
    from dataset_doctor.scan import scan
    from dataset_doctor.trials.training import unheard

    of_size: dict[int, Loaded] = {}

    def at(size: int) -> Loaded:
        if size not in of_size:
            of_size[size] = whole(size)
        return of_size[size]

    common: Loaded = at(settings.size)
    instead: dict[str, Loaded] = {}
    for name, treatment in treatments.items():
        if treatment.shown is not None:
            part = treatment.shown.select(treatment.shown.images.in_split[:, treatment.shown.splits.index("train")])
            instead[name] = load(part, scan(part, progress=progress), settings.size)

    def run(
        arm: Arm,
        treatment: Treatment,
        seed: int,
        *,
        checkpoint: Path | None,
        stepped: Callable[[int], None],
        scored: Callable[[int, float], None] = unheard,
    ) -> Trained:
        given = at(treatment.size or settings.size)
        if arm.name in instead:
            given = dataclasses.replace(given, train=instead[arm.name].train, train_images=instead[arm.name].train_images)
        return train(arm, seed, given, settings, treatment=treatment, checkpoint=checkpoint, stepped=stepped, scored=scored)

    notes = [*common.notes]
    for name, more in instead.items():
        notes += [f"{name}: {note}" for note in more.notes]
    return common, run, tuple(notes)
