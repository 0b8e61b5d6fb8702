"""How every arm is trained: the settings, what suits a task and device, and the devices there are."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import torch

from dataset_doctor.balance.presets import PRESETS
from dataset_doctor.dataset import Dataset
from dataset_doctor.errors import UsageError, did_you_mean
from dataset_doctor.verdict import Task

Optimizer = Literal["sgd", "adam", "adamw", "rmsprop"]
Schedule = Literal["cosine", "constant", "drops"]
Precision = Literal["fp32", "bf16", "fp16"]

LEARNING_RATES: Mapping[Optimizer, float] = {"sgd": 0.05, "adam": 1e-3, "adamw": 2e-3, "rmsprop": 1e-3}
"""From scratch, at a batch of 64; the rate of SGD is that of He et al. 2016 (0.1 at 128), scaled with the batch."""

FINE_TUNING_RATES: Mapping[Optimizer, float] = {"sgd": 5e-3, "adam": 1e-4, "adamw": 2e-4, "rmsprop": 1e-4}
"""From pretrained weights, which larger steps would undo."""

WEIGHT_DECAYS: Mapping[Optimizer, float] = {"sgd": 5e-4, "adam": 0.0, "adamw": 0.05, "rmsprop": 0.0}
"""Loshchilov and Hutter 2019 for AdamW, where decay is apart from the gradient; elsewhere it is L2, which adaptive rates distort."""


TINY_SIDE = 64
"""Up to this side, a model that begins with a stride of 4 sees next to nothing."""


@dataclass(frozen=True, slots=True)
class Settings:
    """How every arm is trained; all that two trainings share beside the seed.

    model            a name of `classifiers.MODELS` or of torchvision's registry
    weights          a file of parameters, or one of torchvision's names ("DEFAULT"); None begins from scratch
    steps, batch     optimiser steps, and images in each
    optimizer        "sgd" (Nesterov), "adam", "adamw" or "rmsprop"
    lr, weight_decay None takes what suits the optimiser; no decay on norms and biases
    l1               factor of the sum of absolute weights in the loss, on the same parameters that decay
    dropout          before the last layer, 0 to 1
    schedule         after a linear warm-up of `warmup` × steps: "cosine" to 0, "constant", or × `drop` at each of the shares `drops`
    clip             bound of the gradient's norm; None for none
    evaluations      looks at the validation split, evenly spread, of which the best is kept
    patience         evaluations without a gain after which a training ends early; None never
    freeze           stages, counted from the input, whose parameters stay as they are
    layer_decay      factor of the learning rate from each stage to the one before; 1 trains all alike
    head_steps       of `steps`, those at the beginning that train the last layer alone
    size             side of the images in pixels
    augment          name of a preset of `balance.presets`
    device           "cpu", "cuda", "cuda:1", "mps"
    precision        "fp32", or autocast to "bf16" or "fp16"
    channels_last, compile, deterministic  as PyTorch has them
    """

    model: str = "small_cnn"
    weights: str | None = None
    steps: int = 300
    batch: int = 64
    optimizer: Optimizer = "adamw"
    lr: float | None = None
    weight_decay: float | None = None
    momentum: float = 0.9
    l1: float = 0.0
    dropout: float = 0.0
    schedule: Schedule = "cosine"
    warmup: float = 0.05
    drops: tuple[float, ...] = (0.8, 0.9)
    drop: float = 0.1
    clip: float | None = 5.0
    evaluations: int = 10
    patience: int | None = None
    freeze: int = 0
    layer_decay: float = 1.0
    head_steps: int = 0
    size: int = 32
    augment: str = "light"
    device: str = "cpu"
    precision: Precision = "fp32"
    channels_last: bool = True
    compile: bool = False
    deterministic: bool = True

    @property
    def learning_rate(self) -> float:
        """The rate at its height."""
        if self.lr is not None:
            return self.lr
        return LEARNING_RATES[self.optimizer] if self.weights is None else FINE_TUNING_RATES[self.optimizer]

    @property
    def decay(self) -> float:
        """The weight decay."""
        return WEIGHT_DECAYS[self.optimizer] if self.weight_decay is None else self.weight_decay


def check_settings(settings: Settings) -> None:
    """Refuse settings that cannot be trained with.

    Raises:
        UsageError: which, and what to give instead.
    """
    if settings.optimizer not in LEARNING_RATES:
        raise UsageError(f"`optimizer={settings.optimizer}` is not known.", did_you_mean(settings.optimizer, LEARNING_RATES))
    if settings.augment not in PRESETS:
        raise UsageError(f"`augment={settings.augment}` is not known.", did_you_mean(settings.augment, PRESETS))
    ranges = {"steps": (1, math.inf), "batch": (2, math.inf), "evaluations": (1, math.inf), "size": (8, 4096), "freeze": (0, math.inf),
              "head_steps": (0, math.inf), "dropout": (0, 0.99), "warmup": (0, 1), "layer_decay": (1e-3, 1), "learning_rate": (1e-12, 1e6),
              "decay": (0, 10), "l1": (0, 10), "momentum": (0, 0.9999), "patience": (1, math.inf), "clip": (1e-9, math.inf)}  # fmt: skip
    for name, (low, high) in ranges.items():
        value = getattr(settings, name)
        if value is not None and not low <= value <= high:
            given = {"learning_rate": "lr", "decay": "weight_decay"}.get(name, name)
            wanted = f"at least {low:g}" if high == math.inf else f"between {low:g} and {high:g}"
            raise UsageError(f"`{given}` must be {wanted}, got {value:g}.")


def default_settings(task: Task, *, device: str = "cpu", size: int | None = None) -> Settings:
    """Give settings that bring an answer in minutes on the device: small models and images, few steps."""
    on_gpu = device.startswith("cuda")
    common = Settings(device=device, precision="bf16" if on_gpu else "fp32", deterministic=not on_gpu)
    if task == "detect":
        model = "fasterrcnn_mobilenet_v3_large_fpn" if on_gpu else "tiny_fcos"
        side, steps = size or (512 if on_gpu else 256), 1_500 if on_gpu else 150
        return dataclasses.replace(common, model=model, size=side, steps=steps, batch=16, evaluations=5)
    side = size or (64 if on_gpu else 32)
    on_cpu, is_tiny = device == "cpu", side <= TINY_SIDE
    model = ("small_cnn" if on_cpu else "cifar_resnet32") if is_tiny else ("mobilenet_v3_small" if on_cpu else "resnet18")
    steps = 2_000 if on_gpu else 300 if is_tiny else 150
    batch = 128 if on_gpu else 64 if is_tiny else 32
    return dataclasses.replace(common, model=model, size=side, steps=steps, batch=batch)


def find_device(name: str) -> str:
    """Choose a device: the name itself, or the best there is for "auto".

    Raises:
        UsageError: the device is not there.
    """
    kind, _, number = name.partition(":")
    if name == "auto":
        return "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    if name == "cpu":
        return name
    if kind == "cuda" and (not number or number.isdecimal()):
        if not torch.cuda.is_available():
            built = "" if torch.version.cuda else " This torch is built without CUDA."
            raise UsageError(f"`device={name}`: no CUDA device was found.{built}", "Leave `device` out, or give cpu.")
        if int(number or 0) >= torch.cuda.device_count():
            raise UsageError(f"`device={name}`: there are {torch.cuda.device_count()} CUDA devices.", "They count from cuda:0.")
        return name
    if name == "mps":
        if not torch.backends.mps.is_available():
            raise UsageError("`device=mps`: no Apple GPU was found.", "Leave `device` out, or give cpu.")
        return name
    raise UsageError(f"`device={name}` is not known.", did_you_mean(name, ("auto", "cpu", "cuda", "cuda:0", "mps")))


def choose_task(dataset: Dataset, task: str | None, device: str) -> tuple[str, Task, tuple[str, ...]]:
    """Find the device, the task that suits where none is named, and what to say of the choice.

    Raises:
        UsageError: a task or device that there is not, or that does not go with the dataset.
    """
    found = find_device(device)
    if task is not None and task not in ("classify", "detect"):
        raise UsageError(f"`task={task}` is not known.", did_you_mean(task, ("classify", "detect")))
    if task == "detect" and dataset.task == "classify":
        raise UsageError("`task=detect` needs boxes, and these are image folders.", "Leave `task` out.")
    if task is not None:
        return found, ("classify" if task == "classify" else "detect"), ()
    if dataset.task == "classify":
        return found, "classify", ()
    if found.startswith("cuda"):
        return found, "detect", ()
    return found, "classify", ("Instances were cut out and classified; --task detect trains a detector.",)
