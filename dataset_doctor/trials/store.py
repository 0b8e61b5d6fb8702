"""The trainings of all arms and seeds, one after another; what is finished is kept, so that a comparison goes on where it stopped."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
import os
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
import torchvision
from numpy.typing import NDArray

from dataset_doctor.errors import UsageError
from dataset_doctor.files.progress import Progress, silent
from dataset_doctor.files.staging import new_file
from dataset_doctor.pixels import Pixels
from dataset_doctor.report.record import Report
from dataset_doctor.scan import cache_folder
from dataset_doctor.trials.arms import Arm, state_of
from dataset_doctor.trials.loop import UNREADABLE, Trained, Trial
from dataset_doctor.trials.metrics import Detections, Outcome, Predictions
from dataset_doctor.verdict import Cost

KEPT_DAYS = 30
REVISION = 3
"""To be raised with every change to what a training gives: finished ones of another revision are not taken up."""


def train_all(
    names: Sequence[str],
    seeds: Sequence[int],
    trial_of: Callable[[str, int], Trial],
    train: Callable[[Trial], Trained],
    *,
    folders: Mapping[str, Path] | None = None,
    what: str = "arms",
    progress: Progress = silent,
) -> dict[str, list[Trained]]:
    """Train every arm with every seed, seed by seed; what an earlier call finished is loaded, and what it began goes on.

    Args:
        names: Of the arms, the baseline first.
        seeds: One trial of each arm a seed.
        trial_of: Gives the trial of an arm and seed; all take as many steps.
        train: Makes it; the same whatever the task.
        folders: Where each arm's finished trainings and checkpoints are kept; None keeps nothing.
        what: What the arms are called.
        progress: Called with steps done and steps of all trainings; the time left follows from these.

    Returns:
        The trainings of each arm, in the order of `seeds`.
    """
    what, done = f"Training {len(names):,} {what} × {len(seeds):,} seeds", 0
    trained: dict[str, list[Trained]] = {name: [] for name in names}
    for seed in seeds:
        for name in names:
            trial = trial_of(name, seed)
            total = trial.settings.steps * len(names) * len(seeds)
            trial = dataclasses.replace(trial, stepped=partial(_tell, progress, what, done, total))
            trained[name].append(_kept(trial, train, None if folders is None else folders[name]))
            done += trial.settings.steps
            progress(what, done, total)
    return trained


def _tell(progress: Progress, what: str, before: int, total: int, step: int) -> None:
    progress(what, before + step, total)


def _kept(trial: Trial, train: Callable[[Trial], Trained], folder: Path | None) -> Trained:
    """Load a trial's result from its folder, or train and keep it there."""
    if folder is None:
        return train(trial)
    path = folder / f"seed-{trial.seed}.npz"
    found = load_trained(path)
    if found is not None:
        return found
    folder.mkdir(parents=True, exist_ok=True)
    checkpoint = path.with_suffix(".pt")
    trained = train(dataclasses.replace(trial, checkpoint=checkpoint))
    save_trained(trained, path)
    checkpoint.unlink(missing_ok=True)
    return trained


OUTCOMES: dict[str, Callable[..., Outcome]] = {"Predictions": Predictions, "Detections": Detections}
"""What finished trainings are read back as: the outcome's class name, and what makes one of its arrays."""


def save_trained(trained: Trained, path: Path) -> None:
    """Keep a finished training; a full disk costs the copy, not the training."""
    arrays: dict[str, NDArray[Any]] = {
        "kind": np.array(type(trained.outcome).__name__),
        "notes": np.array(trained.notes, dtype=np.str_),
        "cost": np.array(dataclasses.astuple(trained.cost), np.float64),
    }
    arrays |= {f"curve {name}": np.array(values, np.float64) for name, values in trained.curves.items()}
    for part in ("outcome", "val_predictions", "test_predictions"):
        value = getattr(trained, part)
        if value is not None and (part == "outcome" or value is not trained.outcome):
            arrays |= {f"{part} {name}": array for name, array in value.arrays().items()}
    arrays["test is outcome"] = np.array(trained.test_predictions is trained.outcome)
    with contextlib.suppress(OSError), new_file(path) as file:
        np.savez_compressed(file, **arrays)  # type: ignore[arg-type]


def load_trained(path: Path) -> Trained | None:
    """Read a finished training back; None where there is none that can be read."""
    try:
        with path.open("rb") as stream, np.load(stream, allow_pickle=False) as file:
            arrays = dict(file.items())
        parts = {
            part: {key.partition(" ")[2]: value for key, value in arrays.items() if key.startswith(f"{part} ")}
            for part in ("outcome", "val_predictions", "test_predictions", "curve")
        }
        outcome = OUTCOMES[str(arrays["kind"])](**parts["outcome"])
        val = Predictions(**parts["val_predictions"]) if parts["val_predictions"] else None
        test = Predictions(**parts["test_predictions"]) if parts["test_predictions"] else None
        if arrays["test is outcome"]:
            assert isinstance(outcome, Predictions)
            test = outcome
        seconds, parameters, model_bytes, latency, memory, speed = arrays["cost"].tolist()
        cost = Cost(seconds, int(parameters), int(model_bytes), latency, int(memory), speed)
        curves = {name: tuple(values.astype(int if name == "step" else float).tolist()) for name, values in parts["curve"].items()}
        return Trained(outcome, curves, cost, tuple(arrays["notes"].tolist()), val, test)
    except UNREADABLE:
        return None


# Where they are kept ----------------------------------------------------------------------------------------------------


def state_folders(
    state_dir: Path | Literal["default"] | None, report: Report, pixels: Pixels, key: Mapping[str, Any], arms: Sequence[Arm]
) -> dict[str, Path] | None:
    """Give a folder an arm for finished trainings: another one for other images, labels, settings or versions.

    Raises:
        UsageError: a folder that the user named cannot be written to.
    """
    if state_dir is None:
        return None
    base = cache_folder() / "verify" if state_dir == "default" else Path(state_dir)
    contents = hashlib.sha256(b"".join(pixels.content_hash.tolist())).hexdigest()
    versions = [REVISION, report.version, torch.__version__, torchvision.__version__]
    own = base / short_hash({"dataset": report.dataset.fingerprint, "contents": contents, "versions": versions, **key})
    try:
        own.mkdir(parents=True, exist_ok=True)
        os.utime(own)
    except OSError as error:
        if state_dir == "default":
            return None
        raise UsageError(f"The folder {base} cannot be written to: {(error.strerror or 'the system refused').lower()}.") from error
    if state_dir == "default":
        _prune(base)
    return {arm.name: own / short_hash(state_of(arm)) for arm in arms}


def short_hash(state: Mapping[str, Any]) -> str:
    """Name a state by 20 hexadecimal digits."""
    return hashlib.sha256(json.dumps(state, sort_keys=True).encode()).hexdigest()[:20]


def _prune(base: Path) -> None:
    """Remove what was not used for KEPT_DAYS."""
    oldest = time.time() - KEPT_DAYS * 86_400
    with contextlib.suppress(OSError):
        for folder in sorted(base.iterdir()):
            if folder.is_dir() and not folder.is_symlink() and folder.stat().st_mtime < oldest:
                shutil.rmtree(folder, ignore_errors=True)
