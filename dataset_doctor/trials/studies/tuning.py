"""Searching for settings: every arm gets trials of its own, as many and as long as every other, before the arms are compared.

A comparison in which only one side was tuned says how well it was tuned. So each arm is searched alike: the same space around the same
defaults, the same number of trials, the same steps and the same chance. A trial is judged on the validation split alone; it ends before
the test split is looked at. The first trial is the defaults, so that what is found is at least as good as these on that split.

Trials are kept in a SQLite file, and each draws from a generator of its own number: a search that was killed goes on, and finds what it
would have found.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import itertools
import json
import sqlite3
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol, get_args

import numpy as np

from dataset_doctor.errors import UsageError, did_you_mean, needs
from dataset_doctor.files.progress import Progress, silent
from dataset_doctor.findings import plural
from dataset_doctor.trials.loop import TrainingFailed, ignore_step, seed_of
from dataset_doctor.trials.settings import Settings
from dataset_doctor.verdict import Search, SearchTrial

if TYPE_CHECKING:
    import optuna

Method = Literal["grid", "random", "bayes"]

METHODS: tuple[Method, ...] = get_args(Method)
TRIALS = 20
MAX_TRIALS = 10_000

TRIAL_SEED = 1_000_000
"""What is added to the seed for a trial, so that settings are not chosen for the luck of a training that is judged later."""

_STARTUP_TRIALS = 8
"""Trials by chance before the search learns from them, and complete ones before any is ended early."""

_SPARED_SHARE = 1 / 3
"""Share of the steps in which no trial is ended: the warm-up and the height of the learning rate tell little."""

_GRID_POINTS = 12
_MOST_DECAY = 1.0
_DECAYS_OF_NONE = (0.0, 1e-5, 1e-4, 1e-3)


@dataclass(frozen=True, slots=True)
class Parameter:
    """A setting that is searched.

    values     the points of a grid, the default first; without `low`, all that the setting may be
    low, high  the range, for numbers
    log        whether the range is even in the logarithm
    """

    values: tuple[Any, ...]
    low: float | None = None
    high: float | None = None
    log: bool = False

    @property
    def default(self) -> Any:
        """What the setting is without a search."""
        return self.values[0]


Space = Mapping[str, Parameter]


class Attempt(Protocol):
    """Train an arm with settings that are tried."""

    def __call__(
        self, params: Mapping[str, Any], *, checkpoint: Path | None, stepped: Callable[[int], None], scored: Callable[[int, float], None]
    ) -> Any:
        """Train with a seed that is the same for all trials, and without patience; what `scored` raises goes through."""


@dataclass(frozen=True, slots=True, eq=False)
class Candidate:
    """An arm that is searched: its space, what trains it, and where trials are kept; None keeps none."""

    name: str
    where: Space
    attempt: Attempt
    folder: Path | None = None


def check(tune: str | None, trials: int | None) -> Method | None:
    """Refuse a search that cannot be made.

    Raises:
        UsageError: an unknown method, trials without a method or too few, or Optuna is not installed.
    """
    if tune is None:
        if trials is not None:
            raise UsageError("`trials` needs a search.", "Add `tune=grid`, `tune=random` or `tune=bayes`.")
        return None
    for method in METHODS:
        if tune == method:
            break
    else:
        raise UsageError(f"`tune={tune}` is not known.", did_you_mean(tune, METHODS))
    if trials is not None and not 1 <= trials <= MAX_TRIALS:
        raise UsageError(f"`trials` must be between 1 and {MAX_TRIALS:,}, got {trials}.")
    try:
        import optuna  # noqa: F401
    except Exception as error:  # a broken installation raises what it likes
        raise needs("`tune`", "optuna", error, "train") from error
    return method


# Where to search --------------------------------------------------------------------------------------------------------


def space(settings: Settings, searched: Sequence[str], *, augment: str | None = None) -> dict[str, Parameter]:
    """Say what is searched for an arm: around what it would be trained with otherwise.

    The learning rate and the weight decay go from a tenth to ten times their default, evenly in the logarithm; where the default is no
    decay at all, it is one of a few powers of ten or none. Dropout goes from 0 to 0.5. Augmentation is one of a few presets that suit
    most images.

    Args:
        settings: The common ones.
        searched: Fields of `Settings` that may be searched.
        augment: The preset of an arm that is about augmentation, which stays.

    >>> found = space(Settings(), ["lr", "augment"])
    >>> found["lr"].values, found["lr"].high, found["augment"].values
    ((0.002, 0.0006666666666666666, 0.006), 0.02, ('light', 'none', 'outdoor'))
    """
    rate, decay, dropout = settings.learning_rate, settings.decay, settings.dropout
    presets = tuple(dict.fromkeys((settings.augment, "light", "none", "outdoor")))
    most = min(10 * decay, max(_MOST_DECAY, decay))
    every = {
        "lr": Parameter((rate, rate / 3, rate * 3), rate / 10, rate * 10, log=True),
        "weight_decay": Parameter((decay, decay / 10), decay / 10, most, log=True) if decay else Parameter(_DECAYS_OF_NONE),
        "dropout": Parameter((dropout, 0.0 if dropout > 0.1 else 0.2), 0.0, max(0.5, dropout)),
        "augment": Parameter(presets),
    }
    return {name: every[name] for name in every if name in searched and not (name == "augment" and augment is not None)}


def grid(where: Space) -> list[dict[str, Any]]:
    """List the points of a small grid, the defaults first: three learning rates by two of each other setting, until there are twelve.

    Augmentation comes before dropout, which joins where an arm's augmentation is given.

    >>> points = grid(space(Settings(), ["lr", "weight_decay", "dropout", "augment"]))
    >>> len(points), points[0]
    (12, {'lr': 0.002, 'weight_decay': 0.05, 'augment': 'light', 'dropout': 0.0})
    """
    n, axes = 1, {}
    for name in sorted(where, key=("lr", "weight_decay", "augment", "dropout").index):
        values = where[name].values if name == "lr" else where[name].values[:2]
        axes[name] = values if n * len(values) <= _GRID_POINTS else values[:1]
        n *= len(axes[name])
    return [dict(zip(axes, point, strict=True)) for point in itertools.product(*axes.values())]


def budget(method: Method, trials: int | None, spaces: Sequence[Space]) -> int:
    """Give the number of trials of every arm: as asked for, but never more than the smallest grid has points."""
    if method != "grid":
        return TRIALS if trials is None else trials
    return min([len(grid(where)) for where in spaces] + ([] if trials is None else [trials]))


# Searching --------------------------------------------------------------------------------------------------------------


class _Ended(Exception):
    """A trial is at its end: at its last step, or there is nothing more to learn from it."""

    def __init__(self, *, whole: bool) -> None:
        super().__init__()
        self.whole = whole


def search_all(
    arms: Sequence[Candidate], *, method: Method, trials: int | None, steps: int, seed: int = 0, progress: Progress = silent
) -> tuple[Search, ...]:
    """Try settings for every arm, with the same budget and the same chance.

    Args:
        arms: What is searched.
        method: As in `search`.
        trials: Of each arm; by default 20, or the whole grid.
        steps: Of each trial.
        seed: Of what is drawn.
        progress: Called with steps done and steps of all trials.
    """
    each = budget(method, trials, [arm.where for arm in arms])
    what, total = f"Tuning {plural(len(arms), 'arm')} × {plural(each, 'trial')}", each * steps * len(arms)

    def stepped(number: int) -> Callable[[int], None]:
        return lambda step: progress(what, number * each * steps + step, total)

    return tuple(
        search(arm, method=method, trials=each, steps=steps, seed=seed, stepped=stepped(number)) for number, arm in enumerate(arms)
    )


def search(
    arm: Candidate,
    *,
    method: Method,
    trials: int,
    steps: int,
    seed: int = 0,
    stepped: Callable[[int], None] = ignore_step,
) -> Search:
    """Try settings for one arm, and find the best.

    Args:
        arm: What is searched.
        method: "grid" goes through the points of `grid`, the first first and the others by chance; "random" draws; "bayes" draws
            eight and then where good and bad trials differ most (tree-structured Parzen estimator, Bergstra et al. 2011).
        trials: How many.
        steps: Of each.
        seed: Of what is drawn.
        stepped: Called with the steps done, a trial that was ended early counted as whole.

    Raises:
        TrainingFailed: the loss of every trial was no number.
        UsageError: the trials cannot be written.
    """
    from optuna.trial import TrialState

    where, folder = arm.where, arm.folder
    study_name = _study_name(where, method, seed)
    with _study(folder, study_name, steps) as study:
        _forget_unfinished(study)
        fixed = _in_order(grid(where), seed) if method == "grid" else [{key: one.default for key, one in where.items()}]
        failure: TrainingFailed | None = None
        for number in range(len(_finished(study)), trials):
            checkpoint = None if folder is None else folder / f"{study_name}-{number}.pt"
            study.sampler = _sampler(method, seed_of(seed, number) % 2**32)
            if number < len(fixed) and not study.get_trials(deepcopy=False, states=(TrialState.WAITING,)):
                study.enqueue_trial(fixed[number])
            trial = study.ask()
            params = {key: _suggested(trial, key, one) for key, one in where.items()}
            failed = _try(study, trial, params, arm.attempt, steps, checkpoint, lambda step, before=number * steps: stepped(before + step))  # type: ignore[misc]
            failure = failed or failure
            if checkpoint is not None:
                checkpoint.unlink(missing_ok=True)
            stepped((number + 1) * steps)
        told = tuple(_told(number, one, where) for number, one in enumerate(_finished(study)[:trials]))
    stepped(trials * steps)
    complete = [(one.score, -one.number, one) for one in told if one.score is not None]
    if not complete:
        raise failure or TrainingFailed(f"The loss of every trial of {arm.name} was not a number.", "A smaller `lr` is the usual cure.")
    score, _, best = max(complete)
    return Search(arm.name, best.params, score, told)


def _try(
    study: optuna.Study, trial: optuna.Trial, params: Mapping[str, Any], attempt: Attempt, steps: int, checkpoint: Path | None,
    stepped: Callable[[int], None],
) -> TrainingFailed | None:  # fmt: skip
    """Make one trial and tell the study what came of it; give the failure of a loss that was no number."""
    from optuna.trial import TrialState

    scores: list[float] = []

    def scored(step: int, score: float) -> None:
        scores.append(score)
        trial.report(score, step)
        if step >= steps:
            raise _Ended(whole=True)
        if trial.should_prune():
            raise _Ended(whole=False)

    try:
        attempt(params, checkpoint=checkpoint, stepped=stepped, scored=scored)
    except _Ended as end:
        if end.whole:
            study.tell(trial, max(scores))
        else:
            study.tell(trial, state=TrialState.PRUNED)
        return None
    except TrainingFailed as failure:
        # As a trial that was ended early without a score, it ranks last in what the search learns from.
        trial.set_user_attr("diverged", value=True)
        study.tell(trial, state=TrialState.PRUNED)
        return failure
    raise AssertionError("a training ends with a look at the validation split")


def _sampler(method: Method, seed: int) -> optuna.samplers.BaseSampler:
    """Make a sampler for one trial: what it draws depends on its seed and on finished trials alone."""
    import optuna

    if method == "bayes":
        return optuna.samplers.TPESampler(seed=seed, n_startup_trials=_STARTUP_TRIALS, multivariate=True)
    return optuna.samplers.RandomSampler(seed=seed)


def _suggested(trial: optuna.Trial, name: str, parameter: Parameter) -> Any:
    if parameter.low is None or parameter.high is None:
        return trial.suggest_categorical(name, parameter.values)
    return trial.suggest_float(name, parameter.low, parameter.high, log=parameter.log)


def _in_order(points: list[dict[str, Any]], seed: int) -> list[dict[str, Any]]:
    """Put a grid in order: the defaults, then the others by chance, so that fewer trials than points favour no corner."""
    others = np.random.default_rng(seed).permutation(len(points) - 1) + 1
    return [points[0], *(points[at] for at in others.tolist())]


# What is kept -----------------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def _study(folder: Path | None, name: str, steps: int) -> Iterator[optuna.Study]:
    """Open the study in its file, or in memory, with Optuna silent; a file that cannot be read is as none."""
    import optuna

    level = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    storage = None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        try:
            storage = None if folder is None else _storage(folder / "trials.sqlite")
            pruner = optuna.pruners.MedianPruner(n_startup_trials=_STARTUP_TRIALS // 2, n_warmup_steps=round(steps * _SPARED_SHARE))
            yield optuna.create_study(storage=storage, study_name=name, direction="maximize", load_if_exists=True, pruner=pruner)
        except (optuna.exceptions.StorageInternalError, sqlite3.Error) as error:
            raise UsageError(
                f"The trials in {folder} cannot be kept: {error}.", "Make room, or name another folder with `state_dir`."
            ) from error
        finally:
            optuna.logging.set_verbosity(level)
            if storage is not None:
                storage.remove_session()
                storage.engine.dispose()


def _study_name(where: Space, method: Method, seed: int) -> str:
    """Name a study by what makes it another than others in its folder; more trials of the same go on with it."""
    import optuna

    state = [optuna.__version__, method, seed, {name: dataclasses.astuple(one) for name, one in where.items()}]
    return f"{method}-{hashlib.sha256(json.dumps(state, sort_keys=True).encode()).hexdigest()[:12]}"


def _storage(path: Path) -> optuna.storages.RDBStorage:
    """Open a SQLite file, and begin a new one where it is damaged."""
    from optuna.storages import RDBStorage
    from sqlalchemy.exc import DatabaseError

    path.parent.mkdir(parents=True, exist_ok=True)
    # A path may hold what means something in an address.
    how = {"creator": lambda: sqlite3.connect(path, timeout=60, check_same_thread=False)}
    try:
        return RDBStorage("sqlite://", engine_kwargs=how)
    except (DatabaseError, RuntimeError):
        path.unlink(missing_ok=True)
        return RDBStorage("sqlite://", engine_kwargs=how)


def _forget_unfinished(study: optuna.Study) -> None:
    """Put aside a trial that was under way when its process was killed; it is made again, from its checkpoint."""
    from optuna.trial import TrialState

    for trial in study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
        study.tell(trial.number, state=TrialState.FAIL)


def _finished(study: optuna.Study) -> list[optuna.trial.FrozenTrial]:
    from optuna.trial import TrialState

    return study.get_trials(deepcopy=False, states=(TrialState.COMPLETE, TrialState.PRUNED))


def _told(number: int, trial: optuna.trial.FrozenTrial, where: Space) -> SearchTrial:
    from optuna.trial import TrialState

    # A file gives them in an order of its own.
    params = {name: trial.params[name] for name in where}
    if trial.state == TrialState.COMPLETE:
        return SearchTrial(number, trial.value, "complete", params)
    return SearchTrial(number, None, "diverged" if trial.user_attrs.get("diverged") else "pruned", params)
