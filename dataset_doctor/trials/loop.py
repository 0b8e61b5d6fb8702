"""The training loop, written to be checked line by line.

What makes arms comparable:

* Chance has no state. Step s of seed k draws from a generator that is seeded by (k, s); epoch e is put in order by (k, e). So two arms
  that show the same images see the same crops in the same order, whatever one of them did before, and a training that was killed
  goes on from its checkpoint as if nothing had been.
* Every arm takes the same number of optimiser steps on batches of the same size. Where memory does not suffice, a batch is computed in
  parts whose gradients add up: the images of each step stay the same.
* The parameters that are kept are those that did best on the validation split; the test split is looked at once, at the end.

`place` is the one seam for devices: what it returns is trained.
"""

from __future__ import annotations

import contextlib
import math
import os
import pickle
import statistics
import time
import zipfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from dataset_doctor.errors import DoctorError, UsageError
from dataset_doctor.files.staging import new_file
from dataset_doctor.samplers import RepeatSampler
from dataset_doctor.trials.arms import Arm, Treatment
from dataset_doctor.trials.metrics import Outcome, Predictions
from dataset_doctor.trials.settings import Settings
from dataset_doctor.verdict import Cost

LOOKED_AT = 50
"""Steps after which losses are looked at on a GPU: reading each would stop the device at every step."""

CHECKPOINT_SECONDS = 60.0

DEVICE_SHARE = 0.5
"""Share of a device's free memory that images may take."""

MEASURED = 10
"""Times that a model is asked for one image."""

UNREADABLE = (OSError, ValueError, KeyError, TypeError, AssertionError, EOFError, zipfile.BadZipFile)
"""What comes of reading a file of ours that was damaged."""


# A trial ----------------------------------------------------------------------------------------------------------------


def ignore_step(step: int) -> None:
    """Do nothing with the steps done."""


def ignore_score(step: int, score: float) -> None:
    """Do nothing with a score."""


@dataclass(frozen=True, slots=True, eq=False)
class Trial:
    """One training: an arm with one seed.

    arm         names the training
    treatment   what `arms.treat` gave
    settings    how to train; what the treatment changes is put in
    seed        of initial parameters, order and augmentation; the same for all arms that are compared
    checkpoint  a file to go on from where it exists, and to save to; removed at the end by whoever has kept the result
    stepped     called with the number of steps done
    scored      called with the steps done and the score after each evaluation, those before a checkpoint included; may end the training
                by raising, before anything is measured on the test split
    """

    arm: Arm
    treatment: Treatment
    settings: Settings
    seed: int
    checkpoint: Path | None = None
    stepped: Callable[[int], None] = ignore_step
    scored: Callable[[int, float], None] = ignore_score

    @staticmethod
    def of(arm: Arm, treatment: Treatment, common: Settings, seed: int, **rest: Any) -> Trial:
        """Resolve the settings of an arm from those that all arms share."""
        return Trial(arm, treatment, treatment.applied_to(common), seed, **rest)

    def __str__(self) -> str:
        return f"arm {self.arm.name}, seed {self.seed}"


@dataclass(frozen=True, eq=False)
class Trained:
    """One training of one arm and seed.

    outcome   what the model did on the test split
    curves    figures over the training, by name, one an evaluation: "step", "loss" (mean since the last), "val" (the score that chooses)
    cost      of this training
    notes     what happened on the way, one sentence each
    val_predictions, test_predictions  of the classifier; None where the task is another
    """

    outcome: Outcome
    curves: dict[str, tuple[float, ...]]
    cost: Cost = field(default_factory=Cost)
    notes: tuple[str, ...] = ()
    val_predictions: Predictions | None = None
    test_predictions: Predictions | None = None


@dataclass(frozen=True, eq=False)
class Fitted:
    """What `fit` leaves: the curves, the best score on the validation split, and what it took. The model holds the best parameters."""

    curves: dict[str, tuple[float, ...]]
    best: float
    seconds: float
    images: int
    notes: tuple[str, ...]


class TrainingFailed(DoctorError):
    """A training that cannot go on: a loss that is not a number, or no memory for a single image. What was finished is kept."""


class Job(Protocol):
    """What is trained on: how to make a loss of some training examples, and how good the model is on the validation split."""

    def loss(self, model: nn.Module, rows: Tensor) -> Tensor:
        """Give the loss of these training rows (int64, on the CPU), augmented by torch's global generator; mean over the rows."""

    def score(self, model: nn.Module) -> float:
        """Score the model on the validation split, larger is better; it is in evaluation mode and gradients are off."""


# The loop ---------------------------------------------------------------------------------------------------------------


def fit(
    model: nn.Module, job: Job, repeats: NDArray[np.float64], trial: Trial, *, groups: Sequence[dict[str, Any]] | None = None
) -> Fitted:
    """Train a model in place and leave it with the parameters that did best on the validation split.

    Args:
        model: On its device, as `place` gave it.
        job: What is minimised and what is scored.
        repeats: How often each training row is shown an epoch (n), as in `RepeatSampler`.
        trial: How to train, with which seed, and who is told.
        groups: Parameter groups for the optimiser, each with a "scale" of the learning rate; by default `parameter_groups`.

    Raises:
        TrainingFailed: a loss that is not a number.
    """
    settings, seed, checkpoint, label = trial.settings, trial.seed, trial.checkpoint, str(trial)
    device = torch.device(settings.device)
    optimizer = _optimizer(model, settings, groups)
    half = settings.precision == "fp16"
    scaler = torch.amp.GradScaler(device.type, enabled=half)
    order = Order(repeats, settings.batch, seed)
    evaluate_at = {math.ceil(settings.steps * (i + 1) / settings.evaluations) for i in range(settings.evaluations)}
    run = _Run(loss=torch.zeros(settings.steps, device=device), parts=1)
    if checkpoint is not None:
        run.load(checkpoint, model, optimizer, scaler, seed)
        for step, score in zip(run.curves["step"], run.curves["val"], strict=True):
            trial.scored(int(step), score)
    order.skip_to(run.step)
    saved_at, ended = time.monotonic(), False
    with _chance_kept(device), _determinism(settings):
        model.train()
        while run.step < settings.steps and not ended:
            begun = time.perf_counter()
            for group in optimizer.param_groups:
                group["lr"] = settings.learning_rate * group["scale"] * rate(settings, run.step)
                if run.step < settings.head_steps and not group["head"]:
                    group["lr"] = 0.0
            rows = order.next()
            while True:
                try:
                    torch.manual_seed(seed_of(seed, run.step))
                    run.loss[run.step] = _step(model, job, rows, optimizer, scaler, settings, run.parts)
                    break
                except torch.OutOfMemoryError:
                    _make_room(run, optimizer, settings, device, label)
            run.step += 1
            last = run.step in evaluate_at
            if last or device.type == "cpu" or run.step % LOOKED_AT == 0:
                _check_finite(run, label)
            run.seconds += time.perf_counter() - begun
            trial.stepped(run.step)
            if last:
                _wait(device)
                ended = _evaluate(model, job, run, settings)
                trial.scored(run.step, run.curves["val"][-1])
            if checkpoint is not None and (last or time.monotonic() - saved_at > CHECKPOINT_SECONDS):
                run.save(checkpoint, model, optimizer, scaler, seed)
                saved_at = time.monotonic()
    if run.best_state is not None:
        _plain(model).load_state_dict(run.best_state)
    model.eval()
    if ended:
        run.notes.append(f"Ended at step {run.step:,} of {settings.steps:,}: {settings.patience} evaluations without a gain.")
    curves = {name: tuple(values) for name, values in run.curves.items()}
    return Fitted(curves, run.best, run.seconds, run.step * settings.batch, tuple(run.notes))


def _step(
    model: nn.Module, job: Job, rows: Tensor, optimizer: torch.optim.Optimizer, scaler: Any, settings: Settings, parts: int
) -> Tensor:
    """Take one optimiser step on a batch, computed in so many parts; give its loss."""
    optimizer.zero_grad(set_to_none=True)
    total: Tensor | float = 0.0
    for part in rows.chunk(parts):
        share = len(part) / len(rows)
        with autocast(settings):
            loss = job.loss(model, part)
        if settings.l1:
            loss = loss + settings.l1 * _absolute(optimizer)
        scaled = loss if parts == 1 else loss * share
        scaler.scale(scaled).backward()
        total = total + scaled.detach()
    if settings.clip is not None:
        scaler.unscale_(optimizer)
        nn.utils.clip_grad_norm_(model.parameters(), settings.clip)
    scaler.step(optimizer)
    scaler.update()
    assert isinstance(total, Tensor)
    return total


def rate(settings: Settings, step: int) -> float:
    """Give the factor of the learning rate at a step: up in a line, then along the schedule.

    >>> [round(rate(Settings(steps=10, warmup=0.2), step), 3) for step in (0, 1, 2, 6, 9)]
    [0.5, 1.0, 1.0, 0.5, 0.038]
    """
    rising = round(settings.warmup * settings.steps)
    if step < rising:
        return (step + 1) / rising
    if settings.schedule == "cosine":
        return 0.5 * (1 + math.cos(math.pi * (step - rising) / max(settings.steps - rising, 1)))
    if settings.schedule == "drops":
        return settings.drop ** sum(step >= share * settings.steps for share in settings.drops)
    return 1.0


def seed_of(seed: int, step: int) -> int:
    """Mix a seed and a step into one number for a generator."""
    return int(np.random.SeedSequence((seed, step)).generate_state(1, np.uint64)[0] >> 1)


class Order:
    """The training rows of each step: epochs one after another, cut into batches that may reach from one into the next."""

    def __init__(self, repeats: NDArray[np.float64], batch: int, seed: int) -> None:
        self._sampler = RepeatSampler(repeats, seed=seed, num_replicas=1, rank=0)
        self._batch = batch
        self._rest: NDArray[np.int64] = np.zeros(0, np.int64)
        self._epoch = 0

    def next(self) -> Tensor:
        """Give the rows of the next step (batch), int64."""
        while len(self._rest) < self._batch:
            self._rest = np.concatenate([self._rest, self._drawn()])
        rows, self._rest = self._rest[: self._batch], self._rest[self._batch :]
        return torch.from_numpy(rows)

    def skip_to(self, step: int) -> None:
        """Go to where so many steps are done."""
        left = step * self._batch
        while left > len(self._rest):
            left -= len(self._rest)
            self._rest = self._drawn()
        self._rest = self._rest[left:]

    def _drawn(self) -> NDArray[np.int64]:
        # An epoch in which chance shows no image at all is passed over.
        while True:
            self._sampler.set_epoch(self._epoch)
            self._epoch += 1
            drawn = self._sampler.whole_epoch()
            if len(drawn):
                return drawn


# Optimiser and device ---------------------------------------------------------------------------------------------------


def parameter_groups(model: nn.Module, stages: Sequence[nn.Module], settings: Settings) -> list[dict[str, Any]]:
    """Sort parameters into groups: those that decay and those that do not (norms, biases: one axis), by stage where rates differ.

    Args:
        model: Its parameters that no stage holds count as the first stage's.
        stages: From the input to the last layer.
        settings: `freeze`, `layer_decay`.
    """
    stage_of = {id(p): at for at, stage in enumerate(stages) for p in stage.parameters()}
    last = max(len(stages) - 1, 0)
    groups: dict[tuple[int, bool], dict[str, Any]] = {}
    for parameter in model.parameters():
        at = stage_of.get(id(parameter), 0)
        if at < min(settings.freeze, last):
            parameter.requires_grad_(False)
            continue
        decays = parameter.ndim > 1
        # With one rate for all, two groups are enough, and the optimiser is faster.
        key = (at if settings.layer_decay < 1 or settings.head_steps else last, decays)
        group = groups.setdefault(key, {"params": [], "scale": settings.layer_decay ** (last - at), "head": at == last,
                                        "decays": decays, "weight_decay": settings.decay if decays else 0.0})  # fmt: skip
        group["params"].append(parameter)
    return [groups[key] for key in sorted(groups)]


def _optimizer(model: nn.Module, settings: Settings, groups: Sequence[dict[str, Any]] | None) -> torch.optim.Optimizer:
    groups = parameter_groups(model, [model], settings) if groups is None else list(groups)
    rate = settings.learning_rate
    if settings.optimizer == "sgd":
        return torch.optim.SGD(groups, lr=rate, momentum=settings.momentum, nesterov=settings.momentum > 0)
    if settings.optimizer == "adam":
        return torch.optim.Adam(groups, lr=rate)
    if settings.optimizer == "adamw":
        return torch.optim.AdamW(groups, lr=rate)
    return torch.optim.RMSprop(groups, lr=rate, momentum=settings.momentum)


def _absolute(optimizer: torch.optim.Optimizer) -> Tensor:
    """Sum the absolute values of the parameters that decay."""
    sums = [p.abs().sum() for group in optimizer.param_groups if group["decays"] for p in group["params"]]
    return torch.stack(sums).sum()


def place(model: nn.Module, settings: Settings) -> nn.Module:
    """Put a model where it is trained. Several GPUs would be a matter of wrapping it here, and of the rank in `Order`."""
    model = model.to(settings.device)
    if settings.channels_last:
        model = model.to(memory_format=torch.channels_last)
    compiled: nn.Module = torch.compile(model) if settings.compile else model  # type: ignore[assignment]
    return compiled


def _plain(model: nn.Module) -> nn.Module:
    """Give the model itself where it is wrapped by torch.compile."""
    inner: nn.Module = getattr(model, "_orig_mod", model)
    return inner


def autocast(settings: Settings) -> contextlib.AbstractContextManager[Any]:
    """Compute in half precision where asked for."""
    if settings.precision == "fp32":
        return contextlib.nullcontext()
    dtype = torch.bfloat16 if settings.precision == "bf16" else torch.float16
    return torch.autocast(torch.device(settings.device).type, dtype)


@contextlib.contextmanager
def _chance_kept(device: torch.device) -> Iterator[None]:
    """Leave torch's generators as they were found."""
    with torch.random.fork_rng([device] if device.type == "cuda" else []):
        yield


@contextlib.contextmanager
def _determinism(settings: Settings) -> Iterator[None]:
    """Have PyTorch choose operations that give the same numbers each time, where it has them."""
    before, benchmark = torch.are_deterministic_algorithms_enabled(), torch.backends.cudnn.benchmark
    filled = torch.utils.deterministic.fill_uninitialized_memory  # type: ignore[attr-defined]
    if settings.deterministic:
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.use_deterministic_algorithms(settings.deterministic, warn_only=True)
    # No operation here reads memory that it has not written, so it need not be filled first.
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    torch.backends.cudnn.benchmark = not settings.deterministic
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before)
        torch.utils.deterministic.fill_uninitialized_memory = filled  # type: ignore[attr-defined]
        torch.backends.cudnn.benchmark = benchmark


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def held_on(pixels: Tensor, device: torch.device) -> Tensor:
    """Hold pixels on the device where they fit."""
    if device.type != "cuda":
        return pixels if device.type == "cpu" else pixels.to(device)
    free, _ = torch.cuda.mem_get_info(device)
    return pixels.to(device) if pixels.numel() <= free * DEVICE_SHARE else pixels


# What it takes ----------------------------------------------------------------------------------------------------------


@dataclass
class Peak:
    """The most memory that was taken, 0 where it cannot be measured."""

    bytes: int = 0


@contextlib.contextmanager
def peak_memory(device: torch.device) -> Iterator[Peak]:
    """Measure the most memory that is taken meanwhile: on a GPU what tensors hold there, else what the whole process holds.

    Of the process, because memory that an earlier training gave back stays with it: a difference would flatter the later ones. Only Linux
    can restart the count.
    """
    peak = Peak()
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        yield peak
        peak.bytes = torch.cuda.max_memory_allocated(device)
        return
    is_reset = False
    with contextlib.suppress(OSError):
        # The highest resident size so far is forgotten (proc(5)).
        Path("/proc/self/clear_refs").write_text("5")
        is_reset = device.type == "cpu"
    yield peak
    if is_reset:
        with contextlib.suppress(OSError, ValueError, StopIteration):
            status = Path("/proc/self/status").read_text()
            peak.bytes = int(next(line for line in status.splitlines() if line.startswith("VmHWM")).split()[1]) << 10


def measured_cost(model: nn.Module, ask: Callable[[], object], fitted: Fitted, device: torch.device, peak: Peak) -> Cost:
    """Tell what a training took, and what its model takes.

    Args:
        model: Trained, in evaluation mode.
        ask: Asks it for one image; the middling time of several is its latency.
        fitted: What `fit` gave.
        device: Where the model is.
        peak: What `peak_memory` gave around `fit`.
    """
    tensors, times = [*model.parameters(), *model.buffers()], []
    with torch.no_grad():
        for _ in range(MEASURED + 3):
            begun = time.perf_counter()
            ask()
            _wait(device)
            times.append(time.perf_counter() - begun)
    return Cost(
        train_seconds=round(fitted.seconds, 3),
        parameters=sum(p.numel() for p in model.parameters()),
        model_bytes=sum(t.numel() * t.element_size() for t in tensors),
        latency_ms=round(statistics.median(times[3:]) * 1e3, 3),
        peak_memory_bytes=peak.bytes,
        images_per_second=round(fitted.images / fitted.seconds, 1) if fitted.seconds else 0.0,
    )


# What a training carries along ------------------------------------------------------------------------------------------


@dataclass
class _Run:
    """Where a training stands."""

    loss: Tensor
    parts: int
    step: int = 0
    looked: int = 0
    reported: int = 0
    best: float = -math.inf
    best_at: int = 0
    seconds: float = 0.0
    best_state: dict[str, Tensor] | None = None
    curves: dict[str, list[float]] = field(default_factory=lambda: {"step": [], "loss": [], "val": []})
    notes: list[str] = field(default_factory=list)

    _NUMBERS = ("parts", "step", "looked", "reported", "best", "best_at", "seconds", "best_state", "curves", "notes")

    def save(self, path: Path, model: nn.Module, optimizer: torch.optim.Optimizer, scaler: Any, seed: int) -> None:
        """Write all that the training needs to go on, beside its place, and rename it into it; a full disk costs the checkpoint alone."""
        state = {name: getattr(self, name) for name in self._NUMBERS}
        state |= {"seed": seed, "losses": self.loss, "model": _plain(model).state_dict(), "optimizer": optimizer.state_dict(),
                  "scaler": scaler.state_dict()}  # fmt: skip
        with contextlib.suppress(OSError, RuntimeError), new_file(path) as file:
            torch.save(state, file)

    def load(self, path: Path, model: nn.Module, optimizer: torch.optim.Optimizer, scaler: Any, seed: int) -> None:
        """Go on from a checkpoint; one that cannot be read, or is of another training, is as none."""
        try:
            state = torch.load(path, map_location=self.loss.device, weights_only=True)
            assert state["seed"] == seed and len(state["losses"]) == len(self.loss)
            _plain(model).load_state_dict(state["model"])
            optimizer.load_state_dict(state["optimizer"])
            scaler.load_state_dict(state["scaler"])
        except FileNotFoundError:
            return
        except (*UNREADABLE, RuntimeError, pickle.UnpicklingError):
            with contextlib.suppress(OSError):
                path.unlink()
            raise UsageError(f"The checkpoint {path} cannot be read; it is removed.", "Run again: this training starts over.") from None
        for name in self._NUMBERS:
            setattr(self, name, state[name])
        self.loss = state["losses"]
        self.notes.append(f"Taken up again at step {self.step:,}.")


def _check_finite(run: _Run, label: str) -> None:
    """Stop where a loss since the last look is not a number, naming the step."""
    wrong = torch.nonzero(~torch.isfinite(run.loss[run.looked : run.step])).flatten()
    if len(wrong):
        step = run.looked + int(wrong[0])
        raise TrainingFailed(
            f"The loss of {label} is {float(run.loss[step])} at step {step + 1:,}.",
            "A smaller `lr` is the usual cure, or fp32 instead of fp16. Finished trainings are kept.",
        )
    run.looked = run.step


def _evaluate(model: nn.Module, job: Job, run: _Run, settings: Settings) -> bool:
    """Score on the validation split and keep the parameters if they are the best yet; tell whether patience is at its end."""
    model.eval()
    with torch.no_grad():
        score = job.score(model)
    model.train()
    run.curves["step"].append(run.step)
    run.curves["loss"].append(float(run.loss[run.reported : run.step].mean()))
    run.curves["val"].append(score)
    run.reported = run.step
    if score > run.best or run.best_state is None:
        run.best, run.best_at = score, len(run.curves["step"])
        run.best_state = {name: value.detach().clone() for name, value in _plain(model).state_dict().items()}
    return settings.patience is not None and len(run.curves["step"]) - run.best_at >= settings.patience


def _make_room(run: _Run, optimizer: torch.optim.Optimizer, settings: Settings, device: torch.device, label: str) -> None:
    """Halve what is computed at once."""
    optimizer.zero_grad(set_to_none=True)
    if device.type == "cuda":
        torch.cuda.empty_cache()
    # A batch norm needs two images.
    if settings.batch // (run.parts * 2) < 2:
        raise TrainingFailed(f"Memory does not suffice for two images of {label}.", "Take a smaller `size` or `model`.")
    run.parts *= 2
    run.notes.append(f"Out of memory at step {run.step + 1:,}: batches of {settings.batch} go on in {run.parts} parts.")
