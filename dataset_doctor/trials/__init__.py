"""Trials: train with and without a treatment, and say honestly whether it helped.

    import dataset_doctor as dd

    verdict = dd.verify(dataset, arms="baseline,weights:sqrt,logit_adjusted", seeds=3)
    verdict.arm("weights:sqrt").verdict           # "helped", "hurt" or "no evidence"

Every arm is trained on the same images with the same number of optimiser steps, from the same initial parameters and with the same
chance for each seed; parameters are chosen on the validation split, and the test split, which no treatment touches, is looked at once.
What is finished is kept, so that an interrupted comparison goes on where it stopped.
"""

from __future__ import annotations

import dataclasses
import hashlib
import importlib
import json
import os
import platform
import shutil
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from dataset_doctor.dataset import Dataset
from dataset_doctor.errors import UsageError, did_you_mean, needs
from dataset_doctor.files.progress import Progress, silent
from dataset_doctor.findings import Recommendation, Report, listed, plain, plural
from dataset_doctor.pixels import Pixels
from dataset_doctor.trials.bench import Bench, Refused, classify_bench, detect_bench, refuse_leakage, refuse_unsplit
from dataset_doctor.trials.judging import CONFIDENCE, judge
from dataset_doctor.verdict import ArmVerdict, Cost, Task, Verdict

if TYPE_CHECKING:
    from dataset_doctor.trials.arms import Arm, Treatment
    from dataset_doctor.trials.learning_curve import Curve
    from dataset_doctor.trials.training import Settings, Trained
    from dataset_doctor.trials.tuning import Method, Search

__all__ = ["Refused", "choose_task", "default_settings", "verify"]

SEEDS = 3
KEPT_DAYS = 30
LITTLE_LEARNT = 0.05
"""A mean average precision below which a detector is said to have learnt little."""
REVISION = 2
"""To be raised with every change to what a training gives: finished ones of another revision are not taken up."""

StateChoice = Path | Literal["default"] | None
"""A folder for finished trainings and checkpoints, one in the user's cache folder, or none."""


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
    tune: str | None = None,
    trials: int | None = None,
    ensemble: str | None = None,
    learning_curve: bool = False,
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
        tune: "grid", "random" or "bayes" searches settings for every arm first, on the validation split; see `tuning`.
        trials: Of that search, for each arm; 20, or the whole grid.
        ensemble: "vote", "mean", "stack", several separated by commas, or "all": also puts the models together; see `ensembles`.
        learning_curve: Whether the baseline is also trained on parts of the training split, to say what more data would bring.
        state_dir: Where finished trainings are kept.
        progress: Called with what is done, how much and how much in all.

    Raises:
        UsageError: an argument that cannot be used, or torch is not installed.
        Refused: the comparison would say nothing; with the reason, and the command that helps.
        TrainingFailed: a training cannot go on.
    """
    _need_torch()
    from dataset_doctor.trials import tuning
    from dataset_doctor.trials.arms import Arm, addresses, adjusted, parse_arms, treat
    from dataset_doctor.trials.ensembles import parse_kinds
    from dataset_doctor.trials.models import check_name
    from dataset_doctor.trials.training import check_settings, train_arms

    begun, started = time.perf_counter(), datetime.now(timezone.utc).isoformat(timespec="seconds")
    if not 1 <= seeds <= 1_000:
        raise UsageError(f"--seeds {seeds} is not usable.", "Give a whole number from 1 on; 3 or more allow a verdict.")
    found, task, task_note = choose_task(dataset, task, device if settings is None or device != "auto" else settings.device)
    settings = dataclasses.replace(settings or default_settings(task, device=found), device=found)
    names = [name.strip() for name in (model or settings.model).split(",") if name.strip()]
    settings = dataclasses.replace(settings, model=names[0] if names else settings.model, steps=steps or settings.steps)
    check_settings(settings)
    method, kinds = tuning.check(tune, trials), () if ensemble is None else parse_kinds(ensemble)
    if kinds and task == "detect":
        raise UsageError("--ensemble is for classification: boxes of several detectors are not put together.", "Leave it out.")
    asked = None if arms is None else parse_arms(arms)
    dataset = dataset.with_train()
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
    with tempfile.TemporaryDirectory(prefix="dataset-doctor-") as scratch:
        treatments = {arm.name: treat(arm, dataset, task=task, scratch=Path(scratch), progress=progress) for arm in compared}
        if task == "classify":
            bench = classify_bench(dataset, pixels, settings, treatments, margin=margin, background=background_crops, progress=progress)
        else:
            if margin is not None or background_crops:
                raise UsageError("--margin and --background-crops are for instances that are cut out.", "Add --task classify.")
            bench = detect_bench(dataset, pixels, settings, [(arm, treatments[arm.name]) for arm in compared], progress=progress)
    of_name = {arm.name: arm for arm in compared}

    def run_one(arm: str, seed: int, *, checkpoint: Path | None, stepped: Callable[[int], None]) -> Trained:
        return bench.run(of_name[arm], treatments[arm], seed, checkpoint=checkpoint, stepped=stepped)

    all_seeds = list(range(seed, seed + seeds))
    key = {"task": task, "settings": dataclasses.asdict(settings), "margin": margin, "background": background_crops}
    folders = _state_folders(state_dir, report, pixels, key, compared)
    to_train = [arm.name for arm in compared if arm.kind != "posthoc"]
    searched = None
    if method is not None:
        searched = _searched(bench, of_name, treatments, to_train, settings, method, trials, seed, folders, progress)
        treatments, folders = _with_best(searched, treatments, settings, folders)
    found_runs = train_arms(to_train, all_seeds, run_one, steps=settings.steps, folders=folders, progress=progress)
    counts = np.bincount(bench.shown[1][bench.shown[1] >= 0], minlength=len(bench.class_names))
    trained = {
        name: found_runs[name] if name in found_runs else [adjusted(run, arm, counts) for run in found_runs["baseline"]]
        for name, arm in of_name.items()
    }
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
    tested = {name for arm in told for name in arm.addresses}
    advice = {one.id: {"action": one.action, "why": one.why} for one in report.recommendations if one.id in tested}
    extras = {"settings": dataclasses.asdict(settings), "recommendations": advice, **bench.extras(trained)}
    if any(arm.kind == "model" for arm in compared):
        extras["model_choice"] = _model_choice(settings.model, of_name, outcomes, told, all_seeds, bench)
    notes = [*task_note, *bench.notes, *judged.notes, *_learnt_little(task, told[0])]
    if searched is not None:
        extras["tuning"] = {"method": method, "trials": len(searched[0].trials), "arms": plain(searched)}
        notes.append(
            f"Every arm was tuned alike: {plural(len(searched[0].trials), 'trial')} of {settings.steps:,} steps ({method}), judged on the"
            " validation split. Each was then trained with the best settings of its own."
        )
    if kinds:
        from dataset_doctor.trials.ensembles import ensembles

        made, said = ensembles(trained, all_seeds, kinds, alike=[arm.name for arm in compared if arm.kind == "posthoc"])
        extras["ensembles"] = plain(made)
        notes += said
    if learning_curve:
        extras["learning_curve"] = plain(_learning_curve(bench, treatments["baseline"], dataset.n_images, all_seeds, trained["baseline"],
                                                         settings.steps, folders, progress))  # fmt: skip
    return Verdict(
        task=task,
        metric=next(iter(told[0].metrics)),
        arms=tuple(told),
        confidence=CONFIDENCE,
        detectable_difference=judged.detectable_difference,
        steps=settings.steps,
        environment=_environment(settings, dataset, started, time.perf_counter() - begun, folders),
        notes=tuple(notes),
        extras=extras,
    )


def default_settings(task: Task, *, device: str = "cpu", size: int | None = None) -> Settings:
    """Give settings that bring an answer in minutes on the device: small models and pictures, few steps."""
    from dataset_doctor.trials.detectors import default_detector
    from dataset_doctor.trials.models import TINY_SIDE, default_model
    from dataset_doctor.trials.training import Settings

    on_gpu = device.startswith("cuda")
    if task == "detect":
        return Settings(
            model=default_detector(device),
            device=device,
            size=size or (512 if on_gpu else 256),
            steps=1_500 if on_gpu else 150,
            batch=16,
            evaluations=5,
            precision="bf16" if on_gpu else "fp32",
            deterministic=not on_gpu,
        )
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
    """Choose the sampler that the audit recommends, else weights, and losses; for a detector, most of which have focal loss, weights."""
    from dataset_doctor.balance import SAMPLERS

    samplers = [one.action for one in recommendations if one.action in SAMPLERS and one.action != "none"]
    if task == "detect":
        return ["baseline", *samplers[:1], "weights:effective"]
    # The last costs no training.
    return ["baseline", *(samplers[:1] or ["weights:effective"]), "logit_adjusted", "posthoc_logit_adjusted"]


def _need_torch() -> None:
    # Threads that spin while they wait make small models ten times slower where another program uses a core; read when torch is loaded.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    for package in ("torch", "torchvision"):
        try:
            importlib.import_module(package)
        except Exception as error:  # a broken installation raises what it likes
            raise needs("verify", package, error, "train") from error


def choose_task(dataset: Dataset, task: str | None, device: str) -> tuple[str, Task, tuple[str, ...]]:
    """Find the device, the task that suits where none is named, and what to say of the choice.

    Raises:
        UsageError: a task or device that there is not, or that does not go with the dataset.
    """
    _need_torch()
    from dataset_doctor.trials.training import find_device

    found = find_device(device)
    if task is not None and task not in ("classify", "detect"):
        raise UsageError(f"--task {task} is not known.", did_you_mean(task, ("classify", "detect")))
    if task == "detect" and dataset.task == "classify":
        raise UsageError("--task detect needs boxes, and these are image folders.", "Leave --task out.")
    if task is not None:
        return found, ("classify" if task == "classify" else "detect"), ()
    if dataset.task == "classify":
        return found, "classify", ()
    if found.startswith("cuda"):
        return found, "detect", ()
    return found, "classify", ("Instances were cut out and classified; --task detect trains a detector.",)


# Search and learning curve ----------------------------------------------------------------------------------------------


def _searched(
    bench: Bench, arms: Mapping[str, Arm], treatments: Mapping[str, Treatment], names: Sequence[str], settings: Settings, method: Method,
    trials: int | None, seed: int, folders: Mapping[str, Path] | None, progress: Progress,
) -> tuple[Search, ...]:  # fmt: skip
    """Search settings for every arm that is trained."""
    from dataset_doctor.trials import tuning

    def attempt(name: str) -> tuning.Attempt:
        def once(
            params: Mapping[str, Any], *, checkpoint: Path | None, stepped: Callable[[int], None], scored: Callable[[int, float], None]
        ) -> Trained:
            tried = dataclasses.replace(treatments[name], tuned={**params, "patience": None})
            return bench.run(arms[name], tried, tuning.TRIAL_SEED + seed, checkpoint=checkpoint, stepped=stepped, scored=scored)

        return once

    candidates = [
        tuning.Candidate(
            name,
            tuning.space(settings, bench.searched, augment=treatments[name].augment),
            attempt(name),
            None if folders is None else folders[name],
        )
        for name in names
    ]
    return tuning.search_all(candidates, method=method, trials=trials, steps=settings.steps, seed=seed, progress=progress)


def _with_best(
    searched: Sequence[Search], treatments: Mapping[str, Treatment], settings: Settings, folders: Mapping[str, Path] | None
) -> tuple[dict[str, Treatment], dict[str, Path] | None]:
    """Put the best settings into the treatments; trainings with other settings than the common ones are kept elsewhere."""
    treated, kept = dict(treatments), None if folders is None else dict(folders)
    for one in searched:
        if not one.is_default:
            treated[one.name] = dataclasses.replace(treatments[one.name], tuned=one.best)
            if kept is not None:
                kept[one.name] = kept[one.name] / f"tuned-{_short(one.best)}"
    return treated, kept


def _learning_curve(
    bench: Bench, treatment: Treatment, n_images: int, seeds: Sequence[int], whole: Sequence[Trained], steps: int,
    folders: Mapping[str, Path] | None, progress: Progress,
) -> Curve:  # fmt: skip
    """Train the baseline on parts of the training split, and continue the curve of its scores."""
    from dataset_doctor.trials.arms import BASELINE
    from dataset_doctor.trials.learning_curve import LEAST_SIZES, SHARES, Point, fit_curve, nested
    from dataset_doctor.trials.training import train_arms

    parts = {seed: dict(zip(SHARES, nested(*bench.shown, SHARES, seed=seed), strict=True)) for seed in seeds}
    images = {share: round(float(np.mean([len(parts[seed][share]) for seed in seeds]))) for share in SHARES}
    enough = len(set(images.values())) >= LEAST_SIZES
    share_of = {f"share-{share:g}": share for share in SHARES if share < 1 and enough}

    def run_one(arm: str, seed: int, *, checkpoint: Path | None, stepped: Callable[[int], None]) -> Trained:
        repeats = np.zeros(n_images)
        repeats[parts[seed][share_of[arm]]] = 1
        return bench.run(BASELINE, dataclasses.replace(treatment, repeats=repeats), seed, checkpoint=checkpoint, stepped=stepped)

    own = None if folders is None else {name: folders["baseline"] / name for name in share_of}
    trained = train_arms(list(share_of), seeds, run_one, steps=steps, folders=own, what="parts of the training split", progress=progress)
    measured = [*((share_of[name], trained[name]) for name in share_of), (1.0, whole)]
    return fit_curve(
        [Point(share, images[share], tuple(next(iter(run.outcome.metrics().values())) for run in runs)) for share, runs in measured]
    )


def _audited(dataset: Dataset, progress: Progress) -> tuple[Report, Pixels]:
    """Look into the images, and audit."""
    from dataset_doctor.audit import audit
    from dataset_doctor.scan import look

    pixels, duplicates = look(dataset, progress=progress)
    return audit(dataset, pixels=pixels, duplicates=duplicates), pixels


# State --------------------------------------------------------------------------------------------------------------


def _state_folders(
    state_dir: StateChoice, report: Report, pixels: Pixels, key: dict[str, Any], arms: Sequence[Arm]
) -> dict[str, Path] | None:
    """Give a folder an arm for finished trainings: another one for other images, labels, settings or versions."""
    import torch
    import torchvision

    from dataset_doctor.scan._cache import cache_folder
    from dataset_doctor.trials.arms import state_of

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


def _learnt_little(task: Task, baseline: ArmVerdict) -> list[str]:
    """Say that a detector has hardly begun to find things, so that nobody takes a difference for more than it is."""
    score = baseline.metrics["map"].mean if task == "detect" else 1.0
    if not score < LITTLE_LEARNT:
        return []
    return [f"The baseline has learnt little (mAP {score * 100:.1f} %), and a treatment can hardly show: more --steps, or --weights, help."]


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
