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
import importlib
import os
import platform
import tempfile
import time
from collections.abc import Mapping, Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from dataset_doctor.dataset import Dataset
from dataset_doctor.errors import UsageError, needs
from dataset_doctor.files.progress import Progress, silent
from dataset_doctor.findings import Recommendation, listed, plural
from dataset_doctor.pixels import Pixels
from dataset_doctor.report.record import Report
from dataset_doctor.verdict import Advice, ArmVerdict, Cost, Curve, ModelChoice, Point, Search, Task, Tuning, Verdict

if TYPE_CHECKING:
    from dataset_doctor.trials.arms import Arm, Treatment
    from dataset_doctor.trials.experiment import Experiment
    from dataset_doctor.trials.judging import Judged
    from dataset_doctor.trials.loop import Trained, Trial
    from dataset_doctor.trials.settings import Settings
    from dataset_doctor.trials.studies.tuning import Method

__all__ = ["verify"]

SEEDS = 3
LITTLE_LEARNT = 0.05
"""A mean average precision below which a detector is said to have learnt little."""

StateChoice = Path | Literal["default"] | None
"""A folder for finished trainings and checkpoints, one in the user's cache folder, or none."""


def verify(
    dataset: Dataset,
    *,
    task: Task | None = None,
    arms: str | Sequence[str] | None = None,
    settings: Settings | Mapping[str, Any] | None = None,
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
        settings: How to train, or only what is to differ from `settings.default_settings` of the task.
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
        ComparisonRefused: the comparison would say nothing; with the reason, and the command that helps.
        TrainingFailed: a training cannot go on.
    """
    _need_torch()
    from dataset_doctor.trials import experiment, store
    from dataset_doctor.trials.arms import parse_arms
    from dataset_doctor.trials.judging import CONFIDENCE, judge
    from dataset_doctor.trials.studies import ensembles, tuning

    begun, started = time.perf_counter(), datetime.now(timezone.utc).isoformat(timespec="seconds")
    if not 1 <= seeds <= 1_000:
        raise UsageError(f"`seeds` must be between 1 and 1,000, got {seeds}.", "3 or more allow a verdict.")
    task, settings, models, task_note = _resolved(dataset, task, settings, model, steps, device)
    method, kinds = tuning.check(tune, trials), () if ensemble is None else ensembles.parse_kinds(ensemble, task)
    asked = None if arms is None else parse_arms(arms)
    dataset = dataset.with_train()
    experiment.refuse_unsplit(dataset)
    report, pixels = _audited(dataset, progress)
    experiment.refuse_leakage(dataset, report)
    compared = _compared(asked or parse_arms(default_arms(task, report.recommendations)), models[1:])
    treatments, prepared = _prepared(task, dataset, pixels, settings, compared, margin, background_crops, progress)
    key = {"task": task, "settings": dataclasses.asdict(settings), "margin": margin, "background": background_crops}
    comparison = _Comparison(
        settings, tuple(range(seed, seed + seeds)), compared, treatments, prepared,
        store.state_folders(state_dir, report, pixels, key, compared), progress,
    )  # fmt: skip
    searched = None if method is None else _searched(comparison, method, trials)
    if searched is not None:
        comparison = _with_best(comparison, searched)
    trained = _trained(comparison)
    outcomes = {name: [run.outcome for run in runs] for name, runs in trained.items()}
    judged = judge(outcomes, comparison.seeds, prepared.class_names, prepared.train_images)
    told = _told(comparison, judged, trained, report.recommendations)
    notes = [*task_note, *prepared.notes, *judged.notes, *_learnt_little(task, told[0])]
    if searched is not None:
        notes.append(
            f"Every arm was tuned alike: {plural(len(searched[0].trials), 'trial')} of {settings.steps:,} steps ({method}), judged on the"
            " validation split. Each was then trained with the best settings of its own."
        )
    made = None
    if kinds:
        alike = [arm.name for arm in compared if arm.name not in comparison.trained_arms]
        made, more = ensembles.ensembles(trained, comparison.seeds, kinds, alike=alike)
        notes += more
    curve = _learning_curve(comparison, dataset.n_images, trained["baseline"]) if learning_curve else None
    return Verdict(
        task=task,
        metric=next(iter(told[0].metrics)),
        arms=told,
        confidence=CONFIDENCE,
        detectable_difference=judged.detectable_difference,
        steps=settings.steps,
        environment=_environment(settings, dataset, started, time.perf_counter() - begun, comparison.folders),
        notes=tuple(notes),
        settings=dataclasses.asdict(settings),
        recommendations=_advice(told, report.recommendations),
        details=prepared.details(trained),
        model_choice=_model_choice(comparison, outcomes, told) if any(arm.kind == "model" for arm in compared) else None,
        tuning=None if searched is None or method is None else Tuning(method, len(searched[0].trials), searched),
        ensembles=made,
        learning_curve=curve,
    )


# What is compared -------------------------------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class _Comparison:
    """All that the trainings of a comparison share: arms with their treatments, seeds, and where results are kept."""

    settings: Settings
    seeds: tuple[int, ...]
    arms: tuple[Arm, ...]
    treatments: Mapping[str, Treatment]
    experiment: Experiment
    folders: Mapping[str, Path] | None
    progress: Progress

    @property
    def trained_arms(self) -> list[str]:
        """The arms that are trained; the others ask the baseline's models differently."""
        from dataset_doctor.trials.arms import KINDS

        return [arm.name for arm in self.arms if KINDS[arm.kind].is_trained]

    def arm(self, name: str) -> Arm:
        """Give an arm by its name."""
        return next(arm for arm in self.arms if arm.name == name)

    def trial(self, name: str, seed: int) -> Trial:
        """Give the trial of an arm and seed."""
        from dataset_doctor.trials.loop import Trial

        return Trial.of(self.arm(name), self.treatments[name], self.settings, seed)


def _resolved(
    dataset: Dataset, task: str | None, settings: Settings | Mapping[str, Any] | None, model: str | None, steps: int | None, device: str
) -> tuple[Task, Settings, list[str], tuple[str, ...]]:
    """Settle the task, the settings that all arms share, the models that are compared, and what to say of the choice."""
    from dataset_doctor.trials.settings import Settings, check_settings, choose_task, default_settings

    if isinstance(settings, Settings) and device == "auto":
        device = settings.device
    found, chosen, notes = choose_task(dataset, task, device)
    if isinstance(settings, Settings):
        given = settings
    else:
        changes = settings or {}
        given = dataclasses.replace(default_settings(chosen, device=found, size=changes.get("size")), **changes)
    models = [name.strip() for name in (model or given.model).split(",") if name.strip()] or [given.model]
    given = dataclasses.replace(given, device=found, model=models[0], steps=steps or given.steps)
    check_settings(given)
    return chosen, given, models, notes


def default_arms(task: Task, recommendations: Sequence[Recommendation]) -> list[str]:
    """Choose the sampler that the audit recommends, else weights, and losses; for a detector, most of which have focal loss, weights."""
    from dataset_doctor.balance import SAMPLERS

    samplers = [one.action for one in recommendations if one.action in SAMPLERS and one.action != "none"]
    if task == "detect":
        return ["baseline", *samplers[:1], "weights:effective"]
    # The last costs no training.
    return ["baseline", *(samplers[:1] or ["weights:effective"]), "logit_adjusted", "posthoc_logit_adjusted"]


def _audited(dataset: Dataset, progress: Progress) -> tuple[Report, Pixels]:
    """Look into the images, and audit."""
    from dataset_doctor.audit import examine
    from dataset_doctor.scan import look

    pixels, duplicates = look(dataset, progress=progress)
    return examine(dataset, pixels=pixels, duplicates=duplicates), pixels


def _compared(arms: Sequence[Arm], models: Sequence[str]) -> tuple[Arm, ...]:
    """Put other models beside the arms that were asked for."""
    from dataset_doctor.trials.arms import Arm

    names = {arm.name for arm in arms}
    others = [Arm(f"model:{name}", "model", name) for name in models]
    return (*arms, *(arm for arm in others if arm.name not in names))


def _prepared(
    task: Task, dataset: Dataset, pixels: Pixels, settings: Settings, arms: Sequence[Arm], margin: float | None, background_crops: int,
    progress: Progress,
) -> tuple[dict[str, Treatment], Experiment]:  # fmt: skip
    """Work out what each arm changes, and load the images, those that samplers generate included."""
    from dataset_doctor.trials.arms import treat
    from dataset_doctor.trials.experiment import prepare
    from dataset_doctor.trials.models.classifiers import check_name

    if task == "classify":
        check_name(settings.model)
    with tempfile.TemporaryDirectory(prefix="dataset-doctor-") as scratch:
        treatments = {arm.name: treat(arm, dataset, task=task, scratch=Path(scratch), progress=progress) for arm in arms}
        prepared = prepare(task, dataset, pixels, settings, treatments, margin=margin, background_crops=background_crops, progress=progress)
    return treatments, prepared


def _need_torch() -> None:
    # Threads that spin while they wait make small models ten times slower where another program uses a core; read when torch is loaded.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    for package in ("torch", "torchvision"):
        try:
            importlib.import_module(package)
        except Exception as error:  # a broken installation raises what it likes
            raise needs("verify", package, error, "train") from error


# Trainings --------------------------------------------------------------------------------------------------------------


def _trained(comparison: _Comparison) -> dict[str, list[Trained]]:
    """Train every arm with every seed, and ask the baseline's models for the arms that train nothing."""
    from dataset_doctor.trials.classification import adjusted
    from dataset_doctor.trials.store import train_all

    found = train_all(comparison.trained_arms, comparison.seeds, comparison.trial, comparison.experiment.train,
                      folders=comparison.folders, progress=comparison.progress)  # fmt: skip
    counts = comparison.experiment.counts
    return {
        arm.name: found[arm.name] if arm.name in found else [adjusted(run, arm, counts) for run in found["baseline"]]
        for arm in comparison.arms
    }


def _searched(comparison: _Comparison, method: Method, trials: int | None) -> tuple[Search, ...]:
    """Search settings for every arm that is trained."""
    from dataset_doctor.trials.studies import tuning

    seed = tuning.TRIAL_SEED + comparison.seeds[0]

    def attempt(name: str) -> tuning.Attempt:
        trial = comparison.trial(name, seed)

        def once(params: Mapping[str, Any], **watched: Any) -> Trained:
            settings = dataclasses.replace(trial.settings, **params, patience=None)
            return comparison.experiment.train(dataclasses.replace(trial, settings=settings, **watched))

        return once

    candidates = [
        tuning.Candidate(
            name,
            tuning.space(comparison.settings, comparison.experiment.searched, augment=comparison.treatments[name].settings.get("augment")),
            attempt(name),
            None if comparison.folders is None else comparison.folders[name],
        )
        for name in comparison.trained_arms
    ]
    return tuning.search_all(
        candidates, method=method, trials=trials, steps=comparison.settings.steps, seed=comparison.seeds[0], progress=comparison.progress
    )


def _with_best(comparison: _Comparison, searched: Sequence[Search]) -> _Comparison:
    """Put the best settings into the treatments; trainings with other settings than the common ones are kept elsewhere."""
    from dataset_doctor.trials.store import short_hash

    better = {one.name: one.best for one in searched if not one.is_default}
    treatments = {name: treatment.tuned(better[name]) if name in better else treatment for name, treatment in comparison.treatments.items()}
    folders = comparison.folders
    if folders is not None:
        folders = {name: path / f"tuned-{short_hash(better[name])}" if name in better else path for name, path in folders.items()}
    return dataclasses.replace(comparison, treatments=treatments, folders=folders)


def _learning_curve(comparison: _Comparison, n_images: int, at_full_size: Sequence[Trained]) -> Curve:
    """Train the baseline on parts of the training split, and continue the curve of its scores."""
    from dataset_doctor.trials.store import train_all
    from dataset_doctor.trials.studies.learning_curve import LEAST_SIZES, SHARES, fit_curve, nested

    experiment = comparison.experiment
    parts = {seed: dict(zip(SHARES, nested(*experiment.shown, SHARES, seed=seed), strict=True)) for seed in comparison.seeds}
    images = {share: round(float(np.mean([len(parts[seed][share]) for seed in comparison.seeds]))) for share in SHARES}
    enough = len(set(images.values())) >= LEAST_SIZES
    share_of = {f"share-{share:g}": share for share in SHARES if share < 1 and enough}

    def trial(name: str, seed: int) -> Trial:
        whole = comparison.trial("baseline", seed)
        repeats = np.zeros(n_images)
        repeats[parts[seed][share_of[name]]] = 1
        return dataclasses.replace(whole, treatment=dataclasses.replace(whole.treatment, repeats=repeats))

    folders = None if comparison.folders is None else {name: comparison.folders["baseline"] / name for name in share_of}
    trained = train_all(list(share_of), comparison.seeds, trial, experiment.train, folders=folders, what="parts of the training split",
                        progress=comparison.progress)  # fmt: skip
    measured = [*((share_of[name], trained[name]) for name in share_of), (1.0, at_full_size)]
    return fit_curve(
        [Point(share, images[share], tuple(next(iter(run.outcome.metrics().values())) for run in runs)) for share, runs in measured]
    )


# What is told -------------------------------------------------------------------------------------------------------


def _told(
    comparison: _Comparison, judged: Judged, trained: Mapping[str, Sequence[Trained]], recommendations: Sequence[Recommendation]
) -> tuple[ArmVerdict, ...]:
    """Put the curves, costs and notes of the trainings beside what was judged."""
    from dataset_doctor.trials.arms import addresses

    return tuple(
        dataclasses.replace(
            answer,
            seeds=tuple(dataclasses.replace(one, curves=run.curves) for one, run in zip(answer.seeds, trained[answer.name], strict=True)),
            cost=_mean_cost([run.cost for run in trained[answer.name]]),
            addresses=addresses(comparison.arm(answer.name), recommendations),
            notes=_notes(comparison.treatments[answer.name], comparison.seeds, trained[answer.name]),
        )
        for answer in judged.arms
    )


def _advice(told: Sequence[ArmVerdict], recommendations: Sequence[Recommendation]) -> dict[str, Advice]:
    """Give the recommendations that an arm tests."""
    tested = {name for arm in told for name in arm.addresses}
    return {one.id: Advice(one.action, one.why) for one in recommendations if one.id in tested}


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


def _model_choice(comparison: _Comparison, outcomes: Mapping[str, Any], told: Sequence[ArmVerdict]) -> ModelChoice:
    """Recommend the smallest model that is not shown to be worse than the best."""
    from dataset_doctor.trials.judging import judge

    models = {arm.name: arm.value or comparison.settings.model for arm in comparison.arms if arm.kind in ("baseline", "model")}
    score = {arm.name: next(iter(arm.metrics.values())).mean for arm in told if arm.name in models}
    size = {arm.name: arm.cost.parameters for arm in told}
    best = max(score, key=lambda name: score[name])
    against = judge({name: outcomes[name] for name in [best, *(n for n in models if n != best)]}, comparison.seeds,
                    comparison.experiment.class_names, comparison.experiment.train_images, baseline=best)  # fmt: skip
    within = [arm.name for arm in against.arms if arm.verdict != "hurt"]
    smallest = min(within, key=lambda name: (size[name], name))
    return ModelChoice(models[best], tuple(sorted(models[name] for name in within)), models[smallest])


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
