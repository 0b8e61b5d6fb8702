"""Train and measure a detector: one arm, one seed.

Images are letterboxed once: reduced to a square of the side asked for, their shape kept, at the upper left; to the right or below, the
image's edge goes on. What is found is measured in pixels of the image as it is labelled, so that COCO's bands of size mean what they say.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from dataset_doctor.balance.presets import PRESETS
from dataset_doctor.dataset import Dataset, Flag, LabelState
from dataset_doctor.errors import UsageError
from dataset_doctor.files.progress import Progress, silent
from dataset_doctor.findings import plural
from dataset_doctor.pixels import Pixels
from dataset_doctor.trials import images
from dataset_doctor.trials.arms import Treatment
from dataset_doctor.trials.augmentation import augment_with_boxes
from dataset_doctor.trials.images import Cuts, Pictures
from dataset_doctor.trials.loop import Trained, Trial, autocast, fit, held_on, measured_cost, parameter_groups, peak_memory, place
from dataset_doctor.trials.metrics import Detections
from dataset_doctor.trials.models import classifiers, detectors
from dataset_doctor.trials.settings import Settings
from dataset_doctor.verdict import Details, Mistake

_WORST = 8
_NO_LABEL = -1


# What is trained on -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Scenes:
    """The images of one split, and what is marked in them.

    pictures  letterboxed; their windows say where each lies in its image
    of        int64 (m): example that each object lies in, rising
    label     int64 (m): class
    box       float64 (m, 4): xyxy in pixels of the image as it is labelled, cut off at its edges
    crowd, ignored  bool (m): a region of many objects, or one that is not to count; they are not trained on
    difficult       bool (m): need not be found
    size            float64 (n, 2): width and height of each image as it is labelled
    background      bool (n): known to show no object
    """

    pictures: Pictures
    of: NDArray[np.int64]
    label: NDArray[np.int64]
    box: NDArray[np.float64]
    crowd: NDArray[np.bool_]
    ignored: NDArray[np.bool_]
    difficult: NDArray[np.bool_]
    size: NDArray[np.float64]
    background: NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.pictures)

    @property
    def trained(self) -> NDArray[np.bool_]:
        """Tell which objects a detector is shown as such."""
        shown: NDArray[np.bool_] = ~(self.crowd | self.ignored)
        return shown

    @cached_property
    def scale(self) -> NDArray[np.float64]:
        """Pixels of the example to a pixel of the image (n)."""
        window = self.pictures.window
        scale: NDArray[np.float64] = self.pictures.pixels.shape[1] / (window[:, 2] - window[:, 0])
        return scale


@dataclass(frozen=True, eq=False)
class Views:
    """What a detector is trained, chosen and measured on: scenes of three splits, for one side of the images.

    class_names   K names
    train_images  int64 (K): training images with each class
    notes         what was left out, one sentence each
    """

    class_names: tuple[str, ...]
    train: Scenes
    val: Scenes
    test: Scenes
    size: int
    train_images: NDArray[np.int64]
    notes: tuple[str, ...] = ()

    def instances(self, scenes: Scenes) -> NDArray[np.int64]:
        """Count what counts, by class (K): what is trained on; what must be found is less the difficult."""
        return np.bincount(scenes.label[scenes.trained], minlength=len(self.class_names)).astype(np.int64)


def load(dataset: Dataset, size: int, *, pixels: Pixels | None = None, progress: Progress = silent) -> Views:
    """Decode the images of the three splits, and put their objects beside them.

    An image without a label file is left out: nobody knows what it shows. One that is known to show nothing is trained on as such.

    Args:
        dataset: What `read` gave.
        size: Side of the images.
        pixels: What a scan told; as in `images.load`.
        progress: Called with files decoded and files in all.
    """
    notes = []
    in_splits = dataset.images.in_split[:, [dataset.splits.index(name) for name in ("train", "val", "test")]].any(axis=1)
    unlabelled = in_splits & (dataset.images.label_state == LabelState.UNLABELED)
    if n := int(unlabelled.sum()):
        notes.append(f"{plural(n, 'image')} left out: no label file says what they show; an empty one says that it is nothing.")
    known = np.isfinite(dataset.sizes).all(axis=1)
    rows = np.flatnonzero(in_splits & ~unlabelled & known)
    longer = dataset.sizes[rows].max(axis=1)
    window = np.stack([np.zeros(len(rows)), np.zeros(len(rows)), longer, longer], axis=1)
    cuts = Cuts(rows.astype(np.int64), np.zeros(len(rows), np.int64), window, dataset.class_names, False, tuple(notes))
    data = images.load(dataset, cuts, size, pixels=pixels, progress=progress)
    parts = {name: _scenes(dataset, getattr(data, name), dataset.splits.index(name)) for name in ("train", "val", "test")}
    notes = list(data.notes)
    if n := sum(int((scenes.label == _NO_LABEL).sum()) for scenes in parts.values()):
        notes.append(f"{plural(n, 'object')} left out: no declared class, or no box inside the image.")
    if n := sum(int(scenes.difficult.sum()) for scenes in parts.values()):
        notes.append(f"{plural(n, 'difficult object')}: trained on; when measuring, found or not, they do not count.")
    if n := sum(int((~scenes.trained & (scenes.label != _NO_LABEL)).sum()) for scenes in parts.values()):
        what = plural(n, "crowd region or ignored object", "crowd regions and ignored objects")
        notes.append(f"{what}: not trained on, and nothing to find.")
    train, val, test = (_sound(scenes) for scenes in parts.values())
    k = len(dataset.classes)
    seen = np.unique(train.of[train.trained] * k + train.label[train.trained])
    return Views(dataset.class_names, train, val, test, size, np.bincount(seen % k, minlength=k).astype(np.int64), tuple(notes))


def _scenes(dataset: Dataset, shown: Pictures, split: int) -> Scenes:
    """Put the objects of a split beside its examples; those that cannot be used have no label."""
    annotations = dataset.annotations
    place_of = np.full(dataset.n_images, -1, np.int64)
    place_of[shown.image] = np.arange(len(shown))
    rows = np.flatnonzero(dataset.annotations_in_split(split) & (place_of[annotations.image] >= 0))
    rows = rows[np.argsort(place_of[annotations.image[rows]], kind="stable")]
    sizes = dataset.annotation_sizes[rows]
    with np.errstate(invalid="ignore"):
        box = np.clip(dataset.boxes[rows], 0, np.tile(sizes, 2))
        sound = (box[:, 2:] > box[:, :2]).all(axis=1)
    label = np.where(sound, annotations.class_index[rows], _NO_LABEL).astype(np.int64)
    crowd, ignored = annotations.has(Flag.CROWD)[rows], annotations.has(Flag.IGNORE)[rows]
    difficult = annotations.has(Flag.DIFFICULT)[rows] & ~crowd & ~ignored
    return Scenes(shown, place_of[annotations.image[rows]], label, box, crowd, ignored, difficult, dataset.sizes[shown.image],
                  dataset.images.label_state[shown.image] == LabelState.BACKGROUND)  # fmt: skip


def _sound(scenes: Scenes) -> Scenes:
    kept = scenes.label != _NO_LABEL
    columns = {name: getattr(scenes, name)[kept] for name in ("of", "label", "box", "crowd", "ignored", "difficult")}
    return dataclasses.replace(scenes, **columns)


# One training -----------------------------------------------------------------------------------------------------------


def check(settings: Settings, treatment: Treatment) -> None:
    """Refuse what a detector cannot be trained with, before anything is trained.

    Args:
        settings: Of the arm, with what the treatment changes put in.
        treatment: What `arms.treat` gave.

    Raises:
        UsageError: which, and what to do instead.
    """
    detectors.check_detector(settings.model)
    detectors.check_loss(settings.model, treatment.loss)
    if settings.dropout:
        raise UsageError("`dropout` is not available for detectors.", "Leave it out; `weight_decay` is what detectors are regularised by.")
    if settings.compile:
        raise UsageError("`compile` does not work with detectors, whose shapes change from step to step.", "Leave it out.")


def run(trial: Trial, views: Views) -> Trained:
    """Train one arm with one seed, and measure it on the test split.

    Args:
        trial: What to train; its settings ask for images of the size of `views`.
        views: The scenes.

    Raises:
        UsageError: nothing to show, a detector, loss or weights that do not fit.
        TrainingFailed: a loss that is not a number, or no memory.
    """
    settings, treatment = trial.settings, trial.treatment
    check(settings, treatment)
    device = torch.device(settings.device)
    repeats = np.ones(len(views.train)) if treatment.repeats is None else treatment.repeats[views.train.pictures.image]
    if not repeats.any():
        raise UsageError(f"{trial.arm.name} shows no training image.", "Leave it out, or change what it drops.")
    model, notes = detectors.build(settings, len(views.class_names), seed=trial.seed, weigh=_weigh(treatment, device))
    job = _Job(views, settings)
    groups = parameter_groups(model, classifiers.stages(model), settings)
    model = place(model, settings)
    with peak_memory(device) as peak:
        fitted = fit(model, job, repeats, trial, groups=groups)
    found = job.detect(model, views.test)
    one = job.floats(views.val.pictures.pixels, torch.zeros(1, dtype=torch.int64))
    cost = measured_cost(model, lambda: model(list(one)), fitted, device, peak)
    return Trained(found, fitted.curves, cost, (*notes, *fitted.notes))


def _weigh(treatment: Treatment, device: torch.device) -> detectors.Weigh:
    weight = None
    if treatment.class_weights is not None:
        weight = torch.tensor([treatment.background_weight, *treatment.class_weights.tolist()], dtype=torch.float32, device=device)
    return detectors.Weigh(weight, focal=treatment.loss == "focal_loss")


class _Job:
    """The images and boxes on their device, and what chooses the checkpoint."""

    def __init__(self, views: Views, settings: Settings) -> None:
        self._views, self._settings = views, settings
        self._device = torch.device(settings.device)
        self._how = PRESETS[settings.augment].training
        train, shown = views.train, views.train.trained
        self._pixels = held_on(train.pictures.pixels, self._device)
        scaled = train.box[shown] * train.scale[train.of[shown], None]
        self._boxes = torch.from_numpy(scaled.astype(np.float32)).to(self._device)
        # In torchvision's detectors 0 stands for the background.
        self._labels = torch.from_numpy(train.label[shown] + 1).to(self._device)
        self._start = np.searchsorted(train.of[shown], np.arange(len(train) + 1))

    def loss(self, model: nn.Module, rows: Tensor) -> Tensor:
        """Give the sum of the detector's losses on training images, augmented."""
        images = self.floats(self._pixels, rows)
        start, end = self._start[rows.numpy()], self._start[rows.numpy() + 1]
        n = end - start
        objects = np.repeat(start - np.cumsum(n) + n, n) + np.arange(n.sum())
        at = torch.from_numpy(objects).to(self._device)
        of = torch.from_numpy(np.repeat(np.arange(len(rows)), n)).to(self._device)
        images, boxes, seen = augment_with_boxes(images, self._boxes[at], of, self._how)
        boxes, labels, of = boxes[seen], self._labels[at][seen], of[seen]
        counts = torch.bincount(of, minlength=len(rows)).tolist()
        parts = zip(torch.split(boxes, counts), torch.split(labels, counts), strict=True)
        targets = [{"boxes": some, "labels": theirs} for some, theirs in parts]
        losses: dict[str, Tensor] = model(list(images), targets)
        return torch.stack(list(losses.values())).sum()

    def score(self, model: nn.Module) -> float:
        """Give AP50 on the validation split."""
        return self.detect(model, self._views.val).ap50()

    def detect(self, model: nn.Module, scenes: Scenes) -> Detections:
        """Ask the model for all images; halves what is asked at once where memory does not suffice."""
        model.eval()
        given: list[dict[str, Tensor]] = []
        size = self._settings.batch
        with torch.no_grad():
            while len(given) < len(scenes):
                rows = torch.arange(len(given), min(len(given) + size, len(scenes)))
                try:
                    with autocast(self._settings):
                        told = model(list(self.floats(scenes.pictures.pixels, rows)))
                    given += [{name: values.float().cpu() for name, values in one.items()} for one in told]
                except torch.OutOfMemoryError:
                    if size == 1:
                        raise
                    size //= 2
        return _detections(self._views.class_names, scenes, given)

    def floats(self, pixels: Tensor, rows: Tensor) -> Tensor:
        """Give images (n, 3, S, S) of 0 to 1 on the device."""
        taken = pixels[rows.to(pixels.device)].to(self._device, non_blocking=True)
        floats = taken.permute(0, 3, 1, 2).float().div_(255)
        return floats if self._settings.channels_last else floats.contiguous()


def _detections(class_names: tuple[str, ...], scenes: Scenes, given: Sequence[Mapping[str, Tensor]]) -> Detections:
    """Put what was found beside what there was, in pixels of the images as they are labelled."""
    n = [len(one["scores"]) for one in given]
    image = np.repeat(np.arange(len(scenes)), n).astype(np.int64)
    empty = torch.zeros(0)
    box = torch.cat([empty.view(0, 4), *(one["boxes"] for one in given)]).numpy().astype(np.float64)
    label = torch.cat([empty, *(one["labels"] for one in given)]).numpy().astype(np.int64) - 1
    score = torch.cat([empty, *(one["scores"] for one in given)]).numpy().astype(np.float32)
    box = np.clip(box / scenes.scale[image, None], 0, np.tile(scenes.size[image], 2))
    # Some of torchvision's heads have a place for the label 0, which is not a class.
    kept = (label >= 0) & np.isfinite(score) & np.isfinite(box).all(axis=1)
    return Detections(
        image=image[kept],
        label=label[kept],
        score=score[kept],
        box=box[kept],
        true_image=scenes.of,
        true_label=scenes.label,
        true_box=scenes.box,
        crowd=scenes.crowd,
        ignored=~scenes.trained | scenes.difficult,
        background=scenes.background,
        class_names=np.array(class_names, dtype=np.str_),
    )


# For the report ---------------------------------------------------------------------------------------------------------


def details(dataset: Dataset, views: Views, trained: Mapping[str, Sequence[Trained]]) -> Details:
    """Tell what each arm's first training found wrongly and missed, and how precision falls with recall."""
    names = dataset.images.file_name[views.test.pictures.image]

    def mistake(image: int, box: NDArray[np.float64], label: int, score: float | None = None) -> Mistake:
        return Mistake(str(names[image]), tuple(round(v, 1) for v in box.tolist()), views.class_names[label], score=score)

    wrong, missed, curves = {}, {}, {}
    for name, runs in trained.items():
        found = runs[0].outcome
        assert isinstance(found, Detections)
        wrong[name] = tuple(
            mistake(found.image[row], found.box[row], found.label[row], round(float(found.score[row]), 4))
            for row in found.wrong[:_WORST].tolist()
        )
        missed[name] = tuple(
            mistake(found.true_image[row], found.true_box[row], found.true_label[row]) for row in found.missed[:_WORST].tolist()
        )
        curves[name] = [
            [round(v, 4) for v in curve.tolist()] if np.isfinite(curve).all() else None for curve in found.precision_at_recalls()
        ]
    return Details(tuple(views.class_names), found=wrong, missed=missed, precision_recall=curves)
