"""verify: train with and without a treatment, and say honestly whether it helped.

    from dataset_doctor.verify import verify

    verdict = verify(dataset, arms="baseline,weights:sqrt,logit_adjusted", seeds=3)
    verdict.arm("weights:sqrt").verdict           # "helped", "hurt" or "no evidence"

Every arm is trained on the same images with the same number of optimiser steps, from the same initial parameters and with the same
chance for each seed; parameters are chosen on the validation split, and the test split, which no treatment touches, is looked at once.
What is finished is kept, so that an interrupted comparison goes on where it stopped.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import platform
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from dataset_doctor.dataset import Dataset
from dataset_doctor.errors import DoctorError, UsageError, did_you_mean
from dataset_doctor.findings import Recommendation, Report, listed, plural
from dataset_doctor.formats._files import Progress, silent
from dataset_doctor.pixels import Pixels
from dataset_doctor.verdict import Cost, Task, Verdict
from dataset_doctor.verify.judging import CONFIDENCE, judge

if TYPE_CHECKING:
    from dataset_doctor.verify.arms import Arm, Treatment
    from dataset_doctor.verify.pictures import Data
    from dataset_doctor.verify.training import Settings, Trained

__all__ = ["Refused", "choose_task", "default_settings", "verify"]

SEEDS = 3
KEPT_DAYS = 30
REVISION = 1
"""To be raised with every change to what a training gives: finished ones of another revision are not taken up."""

StateChoice = Path | Literal["default"] | None
"""A folder for finished trainings and checkpoints, one in the user's cache folder, or none."""


class Refused(DoctorError):
    """A comparison that would say nothing: no test split, pictures in several splits, nothing to tell apart."""


def verify(
    dataset: Dataset,
    *,
    task: Task | None = None,
    arms: str | Sequence[str] | None = None,
    settings: Settings | None = None,
    model: str | None = None,
    steps: int | None = None,
    seeds: int = SEEDS,
    seed: int = 0,
    device: str = "auto",
    margin: float | None = None,
    background_crops: int = 0,
    state_dir: StateChoice = "default",
    progress: Progress = silent,
) -> Verdict:
    """Compare treatments with a baseline by training, and judge what the differences allow to say.

    Args:
        dataset: What `read` gave; with the splits train, val and test.
        task: "classify" or "detect"; by default what the dataset is for, and "classify" for boxes where there is no GPU.
        arms: As `--arms`; by default what the audit recommends, and a loss.
        settings: How to train; by default `default_settings` of the task.
        model: Overrides that of `settings`; several, separated by commas, are compared (as arms `model:NAME`).
        steps: Overrides that of `settings`.
        seeds: Trainings of each arm.
        seed: The first of them.
        device: "auto", "cpu", "cuda", "cuda:1", "mps".
        margin: Context around instances that are cut out, as a share of their longer side.
        background_crops: Crops of the background an image, at most, which are then a class; for instances that are cut out.
        state_dir: Where finished trainings are kept.
        progress: Called with what is done, how much and how much in all.

    Raises:
        UsageError: an argument that cannot be used, or torch is not installed.
        Refused: the comparison would say nothing; with the reason, and the command that helps.
        TrainingFailed: a training cannot go on.
    """
    _need_torch()
    from dataset_doctor.verify.arms import Arm, addresses, parse_arms, treat
    from dataset_doctor.verify.models import check_name
    from dataset_doctor.verify.training import check_settings, train_arms

    begun, started = time.perf_counter(), datetime.now(timezone.utc).isoformat(timespec="seconds")
    if not 1 <= seeds <= 1_000:
        raise UsageError(f"--seeds {seeds} is not usable.", "Give a whole number from 1 on; 3 or more allow a verdict.")
    found, task, task_note = choose_task(dataset, task, device if settings is None or device != "auto" else settings.device)
    settings = dataclasses.replace(settings or default_settings(task, device=found), device=found)
    names = [name.strip() for name in (model or settings.model).split(",") if name.strip()]
    settings = dataclasses.replace(settings, model=names[0] if names else settings.model, steps=steps or settings.steps)
    check_settings(settings)
    asked = None if arms is None else parse_arms(arms)
    refuse_unsplit(dataset)
    report, pixels = _audited(dataset, progress)
    refuse_leakage(dataset, report)
    others = tuple(Arm(f"model:{name}", "model", name) for name in names[1:])
    chosen = asked or parse_arms(default_arms(task, report.recommendations))
    compared = (*chosen, *(arm for arm in others if arm.name not in {one.name for one in chosen}))
    if task == "classify":
        for arm in compared:
            if arm.kind == "model":
                check_name(arm.value)
        check_name(settings.model)
    treatments = {arm.name: treat(arm, dataset, task=task, progress=progress) for arm in compared}
    bench = _classify_bench(dataset, pixels, settings, margin=margin, background=background_crops, progress=progress)
    of_name = {arm.name: arm for arm in compared}

    def run_one(arm: str, seed: int, *, checkpoint: Path | None, stepped: Callable[[int], None]) -> Trained:
        return bench.run(of_name[arm], treatments[arm], seed, checkpoint=checkpoint, stepped=stepped)

    all_seeds = list(range(seed, seed + seeds))
    key = {"task": task, "settings": dataclasses.asdict(settings), "margin": margin, "background": background_crops}
    folders = _state_folders(state_dir, report, pixels, key, compared)
    trained = train_arms([arm.name for arm in compared], all_seeds, run_one, steps=settings.steps, folders=folders, progress=progress)
    outcomes = {name: [run.outcome for run in runs] for name, runs in trained.items()}
    judged = judge(outcomes, all_seeds, bench.class_names, bench.train_images)
    told = []
    for answer in judged.arms:
        runs = trained[answer.name]
        told.append(
            dataclasses.replace(
                answer,
                seeds=tuple(dataclasses.replace(one, curves=run.curves) for one, run in zip(answer.seeds, runs, strict=True)),
                cost=_mean_cost([run.cost for run in runs]),
                addresses=addresses(of_name[answer.name], report.recommendations),
                notes=_notes(treatments[answer.name], all_seeds, runs),
            )
        )
    extras = {"settings": dataclasses.asdict(settings), **bench.extras(trained)}
    if any(arm.kind == "model" for arm in compared):
        extras["model_choice"] = _model_choice(settings.model, of_name, outcomes, told, all_seeds, bench)
    return Verdict(
        task=task,
        metric=next(iter(told[0].metrics)),
        arms=tuple(told),
        confidence=CONFIDENCE,
        detectable_difference=judged.detectable_difference,
        steps=settings.steps,
        environment=_environment(settings, dataset, started, time.perf_counter() - begun, folders),
        notes=(*task_note, *bench.notes, *judged.notes),
        extras=extras,
    )


def default_settings(task: Task, *, device: str = "cpu", size: int | None = None) -> Settings:
    """Give settings that bring an answer in minutes on the device: small models and pictures, few steps."""
    from dataset_doctor.verify.models import TINY_SIDE, default_model
    from dataset_doctor.verify.training import Settings

    if task == "detect":
        raise UsageError("--task detect is not there yet.", "--task classify classifies the instances, cut out.")
    on_gpu = device.startswith("cuda")
    side = size or (64 if on_gpu else 32)
    return Settings(
        model=default_model(side, device),
        device=device,
        size=side,
        steps=2_000 if on_gpu else 300 if side <= TINY_SIDE else 150,
        batch=128 if on_gpu else 64 if side <= TINY_SIDE else 32,
        precision="bf16" if on_gpu else "fp32",
        deterministic=not on_gpu,
    )


def default_arms(task: Task, recommendations: Sequence[Recommendation]) -> list[str]:
    """Choose the sampler that the audit recommends, else weights, and a loss."""
    from dataset_doctor.balance import SAMPLERS

    samplers = [one.action for one in recommendations if one.action in SAMPLERS and one.action != "none"]
    return ["baseline", *(samplers[:1] or ["weights:effective"]), "logit_adjusted" if task == "classify" else "focal"]


def _need_torch() -> None:
    # Threads that spin while they wait make small models ten times slower where another program uses a core; read when torch is loaded.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    try:
        import torch  # noqa: F401
        import torchvision  # noqa: F401
    except ModuleNotFoundError as error:
        raise UsageError("verify trains with PyTorch, which is not installed.", "pip install 'dataset-doctor-vision[train]'") from error


def choose_task(dataset: Dataset, task: str | None, device: str) -> tuple[str, Task, tuple[str, ...]]:
    """Find the device, the task that suits where none is named, and what to say of the choice.

    Raises:
        UsageError: a task or device that there is not, or that does not go with the dataset.
    """
    _need_torch()
    from dataset_doctor.verify.training import find_device

    found = find_device(device)
    if task is not None and task not in ("classify", "detect"):
        raise UsageError(f"--task {task} is not known.", did_you_mean(task, ("classify", "detect")))
    if task == "detect" and dataset.task == "classify":
        raise UsageError("--task detect needs boxes, and these are image folders.", "Leave --task out.")
    if task is not None:
        return found, ("classify" if task == "classify" else "detect"), ()
    if dataset.task == "classify":
        return found, "classify", ()
    return found, "classify", ("Instances were cut out and classified; --task detect trains a detector.",)


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
    import shlex

    from dataset_doctor.audit import label_errors

    root = str(dataset.root)
    broken = " --allow-errors" if label_errors(dataset) else ""
    return f"Divide it: dataset-doctor split {shlex.quote(root)} {shlex.quote(os.path.basename(root) + '-divided')}{broken}"


def _refuse_classes(data: Data) -> None:
    """Refuse what cannot be told apart, or not be chosen by."""
    k = len(data.class_names)
    train, val, test = (np.bincount(part.label, minlength=k) for part in (data.train, data.val, data.test))
    if (train > 0).sum() < 2:
        only = [name for name, n in zip(data.class_names, train.tolist(), strict=True) if n]
        has = f"only {only[0]}" if only else "nothing"
        raise Refused(f"The training split shows {has}: there is nothing to tell apart.", "A comparison needs two classes or more.")
    unseen = [data.class_names[c] for c in np.flatnonzero((train > 0) & (test > 0) & (val == 0)).tolist()]
    if unseen:
        raise Refused(
            f"{plural(len(unseen), 'class has', 'classes have')} no picture in val, so that no checkpoint can be chosen for them:"
            f" {listed(unseen[:5], len(unseen))}.",
            "dataset-doctor split divides so that each class is in every split, if it has three images.",
        )
    if not test.any():
        raise Refused("The test split shows nothing that is in a class: nothing can be measured.")


# What is trained ----------------------------------------------------------------------------------------------------


class Run(Protocol):
    """Train an arm with a seed."""

    def __call__(self, arm: Arm, treatment: Treatment, seed: int, *, checkpoint: Path | None, stepped: Callable[[int], None]) -> Trained:
        """Train; see `training.RunOne`."""


@dataclass(frozen=True, slots=True, eq=False)
class Bench:
    """A task made ready: what an arm's training is, and what the judge has to know.

    train_images  int64 (K): training images with each class, before any treatment
    extras        what else the verdict's document holds, from all trainings
    """

    class_names: tuple[str, ...]
    train_images: NDArray[np.int64]
    run: Run
    extras: Callable[[Mapping[str, Sequence[Trained]]], dict[str, Any]]
    notes: tuple[str, ...]


def _classify_bench(
    dataset: Dataset, pixels: Pixels, settings: Settings, *, margin: float | None, background: int, progress: Progress
) -> Bench:
    """Make classification ready; pictures of another size are decoded when an arm wants them."""
    from dataset_doctor.verify import classify, pictures

    if background and dataset.task == "classify":
        raise UsageError("--background-crops is for instances that are cut out, and these are whole images.", "Leave it out.")
    if margin is not None and not 0 <= margin <= 10:
        raise UsageError(f"--margin {margin:g} is not usable.", "Give a share of an instance's longer side, like 0.1.")
    cuts = pictures.choose(dataset, margin=pictures.MARGIN if margin is None else margin, background=background)
    of_size: dict[int, Data] = {}

    def at(size: int) -> Data:
        if size not in of_size:
            of_size[size] = pictures.load(dataset, cuts, size, pixels=pixels, progress=progress)
            _refuse_classes(of_size[size])
        return of_size[size]

    def run(arm: Arm, treatment: Treatment, seed: int, *, checkpoint: Path | None, stepped: Callable[[int], None]) -> Trained:
        data = at(treatment.size or settings.size)
        return classify.run(arm, seed, data, settings, treatment=treatment, checkpoint=checkpoint, stepped=stepped)

    data = at(settings.size)
    return Bench(data.class_names, data.train_images, run, lambda trained: classify.extras(dataset, data, trained), data.notes)


def _audited(dataset: Dataset, progress: Progress) -> tuple[Report, Pixels]:
    """Look into the images, and audit."""
    from dataset_doctor.audit import audit
    from dataset_doctor.scan import scan, thumbnails
    from dataset_doctor.scan.near import find_duplicates

    pixels = scan(dataset, progress=progress)
    same = find_duplicates(dataset, pixels, thumbnails=thumbnails(dataset, pixels, progress=progress))
    return audit(dataset, pixels=pixels, duplicates=same), pixels


# State --------------------------------------------------------------------------------------------------------------


def _state_folders(
    state_dir: StateChoice, report: Report, pixels: Pixels, key: dict[str, Any], arms: Sequence[Arm]
) -> dict[str, Path] | None:
    """Give a folder an arm for finished trainings: another one for other images, labels, settings or versions."""
    import torch
    import torchvision

    from dataset_doctor.scan._cache import cache_folder
    from dataset_doctor.verify.arms import state_of

    if state_dir is None:
        return None
    base = cache_folder() / "verify" if state_dir == "default" else Path(state_dir)
    contents = hashlib.sha256(b"".join(pixels.content_hash.tolist())).hexdigest()
    versions = [REVISION, report.version, torch.__version__, torchvision.__version__]
    everything = {"dataset": report.dataset.fingerprint, "contents": contents, "versions": versions, **key}
    own = base / _short(everything)
    try:
        own.mkdir(parents=True, exist_ok=True)
        os.utime(own)
    except OSError as error:
        if state_dir == "default":
            return None
        raise UsageError(f"The folder {base} cannot be written to: {(error.strerror or 'the system refused').lower()}.") from error
    if state_dir == "default":
        _prune(base)
    return {arm.name: own / _short(state_of(arm)) for arm in arms}


def _short(state: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(state, sort_keys=True).encode()).hexdigest()[:20]


def _prune(base: Path) -> None:
    """Drop what nobody has asked for in KEPT_DAYS."""
    oldest = time.time() - KEPT_DAYS * 86_400
    with suppress(OSError):
        for folder in sorted(base.iterdir()):
            if folder.is_dir() and not folder.is_symlink() and folder.stat().st_mtime < oldest:
                shutil.rmtree(folder, ignore_errors=True)


# What is told -------------------------------------------------------------------------------------------------------


def _mean_cost(costs: Sequence[Cost]) -> Cost:
    """Average what the seeds took."""
    return Cost(
        train_seconds=round(float(np.mean([c.train_seconds for c in costs])), 3),
        parameters=costs[0].parameters,
        model_bytes=costs[0].model_bytes,
        latency_ms=round(float(np.median([c.latency_ms for c in costs])), 3),
        peak_memory_bytes=max(c.peak_memory_bytes for c in costs),
        images_per_second=round(float(np.mean([c.images_per_second for c in costs])), 1),
    )


def _notes(treatment: Treatment, seeds: Sequence[int], runs: Sequence[Trained]) -> tuple[str, ...]:
    """Tell what was said of the arm, and what happened in its trainings; alike notes of several seeds once."""
    of_text: dict[str, list[int]] = {}
    for seed, run in zip(seeds, runs, strict=True):
        for note in run.notes:
            of_text.setdefault(note, []).append(seed)
    happened = [
        text if len(which) == len(seeds) else f"Seed {listed(map(str, which), len(which))}: {text}" for text, which in of_text.items()
    ]
    return (*treatment.notes, *happened)


def _model_choice(
    first: str, of_name: Mapping[str, Arm], outcomes: Mapping[str, Any], told: Sequence[Any], seeds: Sequence[int], bench: Bench
) -> dict[str, Any]:
    """Recommend the smallest model that is not shown to be worse than the best."""
    models = {name: arm.value or first for name, arm in of_name.items() if arm.kind in ("baseline", "model")}
    score = {arm.name: next(iter(arm.metrics.values())).mean for arm in told if arm.name in models}
    size = {arm.name: arm.cost.parameters for arm in told}
    best = max(score, key=lambda name: score[name])
    against = judge({name: outcomes[name] for name in [best, *(n for n in models if n != best)]}, seeds, bench.class_names,
                    bench.train_images, baseline=best)  # fmt: skip
    within = [arm.name for arm in against.arms if arm.verdict != "hurt"]
    smallest = min(within, key=lambda name: (size[name], name))
    return {"best": models[best], "within_noise": sorted(models[name] for name in within), "recommended": models[smallest]}


def _environment(settings: Settings, dataset: Dataset, started: str, seconds: float, folders: Mapping[str, Path] | None) -> dict[str, Any]:
    import torch
    import torchvision

    device = torch.device(settings.device)
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else platform.processor() or platform.machine()
    return {
        "started": started,
        "seconds": round(seconds, 1),
        "root": str(dataset.root),
        "host": platform.node(),
        "system": platform.platform(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "torchvision": torchvision.__version__,
        "device": settings.device,
        "device_name": name,
        "threads": torch.get_num_threads(),
        "precision": settings.precision,
        "state": None if folders is None else str(next(iter(folders.values())).parent),
    }
