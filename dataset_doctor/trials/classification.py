"""Train and measure a classifier: one arm, one seed."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from dataset_doctor.balance.presets import PRESETS
from dataset_doctor.dataset import Dataset
from dataset_doctor.errors import UsageError
from dataset_doctor.losses import Loss, make_loss, weighted_cross_entropy
from dataset_doctor.trials.arms import Arm, Treatment, background_repeats
from dataset_doctor.trials.augmentation import augment
from dataset_doctor.trials.images import Data, Pictures
from dataset_doctor.trials.loop import Trained, Trial, autocast, fit, held_on, measured_cost, parameter_groups, peak_memory, place
from dataset_doctor.trials.metrics import Predictions
from dataset_doctor.trials.models import classifiers
from dataset_doctor.trials.settings import Settings
from dataset_doctor.verdict import Details, Mistake

_WORST = 8


def run(trial: Trial, data: Data) -> Trained:
    """Train one arm with one seed, and measure it on the test split.

    Args:
        trial: What to train; its settings ask for images of the size of `data`.
        data: The images.

    Raises:
        UsageError: nothing to show, a model or weights that do not fit.
        TrainingFailed: a loss that is not a number, or no memory.
    """
    settings, treatment = trial.settings, trial.treatment
    device = torch.device(settings.device)
    repeats = image_repeats(data, treatment)
    if not repeats.any():
        raise UsageError(f"{trial.arm.name} shows no training image.", "Leave it out, or change what it drops.")
    model, notes = classifiers.build(settings, len(data.class_names), seed=trial.seed, cosine=treatment.loss == "ldam_loss")
    job = _Job(data, settings, _loss(data, treatment, device))
    groups = parameter_groups(model, classifiers.stages(model), settings)
    model = place(model, settings)
    with peak_memory(device) as peak:
        fitted = fit(model, job, repeats, trial, groups=groups)
    test, one = job.predict(model, data.test), job.one()
    cost = measured_cost(model, lambda: model(one), fitted, device, peak)
    return Trained(test, fitted.curves, cost, (*notes, *fitted.notes), job.predict(model, data.val), test)


def image_repeats(data: Data, treatment: Treatment) -> NDArray[np.float64]:
    """Give how often each training example is shown an epoch (n): that of its image, and of the background beside."""
    repeats = np.ones(len(data.train))
    if treatment.repeats is not None:
        repeats = repeats * treatment.repeats[data.train.image]
    if treatment.background is not None:
        if not data.has_background:
            raise UsageError(
                f"background:{treatment.background} needs background images, and there are none to classify.",
                "For instances of a detection dataset add `background_crops`.",
            )
        repeats = repeats * background_repeats(data.train.label == len(data.class_names) - 1, treatment.background)
    return repeats


def _loss(data: Data, treatment: Treatment, device: torch.device) -> Loss:
    if treatment.loss is not None:
        return make_loss(treatment.loss, torch.as_tensor(data.counts, dtype=torch.float32, device=device))
    if treatment.class_weights is None:
        return weighted_cross_entropy
    more = [treatment.background_weight] if data.has_background else []
    weight = torch.tensor([*treatment.class_weights.tolist(), *more], dtype=torch.float32, device=device)
    return lambda logits, target: weighted_cross_entropy(logits, target, weight)


class _Job:
    """The images on their device, what is minimised on them, and what chooses the checkpoint."""

    def __init__(self, data: Data, settings: Settings, loss: Loss) -> None:
        self._settings = settings
        self._device = torch.device(settings.device)
        self._how = PRESETS[settings.augment].training
        self._loss = loss
        self._pixels = held_on(data.train.pixels, self._device)
        self._label = torch.from_numpy(data.train.label).to(self._device)
        self._val = data.val
        # One multiplication and one addition bring bytes to mean 0 and spread 1.
        self._mean = torch.tensor(data.mean, device=self._device).view(1, 3, 1, 1)
        self._std = torch.tensor(data.std, device=self._device).view(1, 3, 1, 1)

    def loss(self, model: nn.Module, rows: Tensor) -> Tensor:
        """Give the mean loss of training images, augmented."""
        pictures = augment(self._floats(self._pixels, rows), self._how)
        result: Tensor = self._loss(_logits(model((pictures - self._mean) / self._std)), self._label[rows.to(self._device)])
        return result

    def score(self, model: nn.Module) -> float:
        """Give the balanced accuracy on the validation split."""
        return self.predict(model, self._val).metrics()["balanced_accuracy"]

    def predict(self, model: nn.Module, pictures: Pictures) -> Predictions:
        """Ask the model for all images; halves what is asked at once where memory does not suffice."""
        model.eval()
        given, at, size = [], 0, 4 * self._settings.batch
        with torch.no_grad():
            while at < len(pictures):
                rows = torch.arange(at, min(at + size, len(pictures)))
                try:
                    with autocast(self._settings):
                        values = (self._floats(pictures.pixels, rows) - self._mean) / self._std
                        logits = _logits(model(values))
                    given.append(logits.float().softmax(dim=1).cpu())
                except torch.OutOfMemoryError:
                    if size == 1:
                        raise
                    size //= 2
                    continue
                at += len(rows)
        probabilities = torch.cat(given).numpy() if given else np.zeros((0, 0), np.float32)
        images = np.unique(pictures.image, return_inverse=True)[1].astype(np.int64)
        return Predictions(pictures.label, probabilities.astype(np.float32), images)

    def one(self) -> Tensor:
        """Give one image as the model takes it."""
        return (self._floats(self._val.pixels, torch.zeros(1, dtype=torch.int64)) - self._mean) / self._std

    def _floats(self, pixels: Tensor, rows: Tensor) -> Tensor:
        """Give images (n, 3, S, S) of 0 to 1 on the device, in the channels-last order that they are held in."""
        taken = pixels[rows.to(pixels.device)].to(self._device, non_blocking=True)
        floats = taken.permute(0, 3, 1, 2).float().div_(255)
        return floats if self._settings.channels_last else floats.contiguous()


def _logits(output: Tensor | tuple[Tensor, ...]) -> Tensor:
    """Give the logits of models that give more than these."""
    return output if isinstance(output, Tensor) else output[0]


def adjusted(baseline: Trained, arm: Arm, counts: NDArray[np.int64]) -> Trained:
    """Adjust what a trained model says for how frequent classes were in training, and train nothing.

    The probability of each class is divided by its share of the training images to the power of tau, and all are scaled to sum to 1:
    the largest is then the class of the largest logit minus tau × log of the share. Source: Menon et al. 2021, Long-tail Learning via
    Logit Adjustment (section 4.1).

    Args:
        baseline: A training of the baseline.
        arm: Its value is tau.
        counts: Training examples of each class (K); a class without any counts as the scarcest that has some.
    """
    shares = np.maximum(counts, counts[counts > 0].min()) / counts.sum()
    divisor = shares ** float(arm.value)

    def divided(predictions: Predictions | None) -> Predictions | None:
        if predictions is None:
            return None
        raised = predictions.probabilities / divisor
        return dataclasses.replace(predictions, probabilities=(raised / raised.sum(axis=1, keepdims=True)).astype(np.float32))

    test = divided(baseline.test_predictions)
    assert test is not None
    return dataclasses.replace(baseline, outcome=test, val_predictions=divided(baseline.val_predictions), test_predictions=test)


# For the report ---------------------------------------------------------------------------------------------------------


def details(dataset: Dataset, data: Data, trained: Mapping[str, Sequence[Trained]]) -> Details:
    """Tell what each arm confused, and where it was most surely wrong."""
    matrices, worst = {}, {}
    for name, runs in trained.items():
        told = [run.test_predictions for run in runs if run.test_predictions is not None]
        matrices[name] = np.sum([predictions.confusion for predictions in told], axis=0).tolist()
        if any(len(predictions.truth) != len(data.test) for predictions in told):
            continue
        mean = np.mean([predictions.probabilities for predictions in told], axis=0)
        predicted = mean.argmax(axis=1)
        surely = np.where(predicted == data.test.label, 0.0, mean.max(axis=1, initial=0.0))
        rows = np.argsort(-surely, kind="stable")[:_WORST]
        worst[name] = tuple(
            Mistake(
                str(dataset.images.file_name[data.test.image[row]]),
                None if np.isnan(data.test.window[row][0]) else tuple(round(v, 1) for v in data.test.window[row].tolist()),
                data.class_names[data.test.label[row]],
                data.class_names[predicted[row]],
                round(float(mean[row].max()), 4),
            )
            for row in rows.tolist()
            if surely[row] > 0
        )
    return Details(tuple(data.class_names), confusion=matrices, wrong=worst)
