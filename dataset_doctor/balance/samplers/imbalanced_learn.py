"""Samplers of imbalanced-learn that tell which images they took, for folders with a class an image.

Samplers that draw by chance see row numbers; those that look at the data see small greyscale images.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dataset_doctor.balance.demand import Demand, Repeats, every_class, instances_of, within_budget
from dataset_doctor.balance.samplers.to_target import oversample
from dataset_doctor.balance.targets import Direction
from dataset_doctor.errors import UsageError, did_you_mean

PREFIX = "imblearn:"

NAMES: dict[str, Direction] = {
    "RandomOverSampler": "up",
    "RandomUnderSampler": "down",
    "AllKNN": "down",
    "CondensedNearestNeighbour": "down",
    "EditedNearestNeighbours": "down",
    "InstanceHardnessThreshold": "down",
    "NearMiss": "down",
    "NeighbourhoodCleaningRule": "down",
    "OneSidedSelection": "down",
    "RepeatedEditedNearestNeighbours": "down",
    "TomekLinks": "down",
}
"""Those with `sample_indices_`, and what they do; the others make up new samples, which are not images of the dataset."""

_TAKE_COUNTS = ("RandomOverSampler", "RandomUnderSampler", "InstanceHardnessThreshold", "NearMiss")
"""Those that can be told a number for each class; the others drop what they find unfit."""

_BLIND = ("RandomOverSampler", "RandomUnderSampler")

Features = Callable[[], NDArray[np.float32]]
"""Gives a row of features an image, NaN where there are none."""


def find(method: str) -> str:
    """Give the sampler's name behind `imblearn:`.

    Raises:
        UsageError: not one that tells which images it took.
    """
    name = method.removeprefix(PREFIX)
    if name not in NAMES:
        raise UsageError(f"{method} is not a sampler of imbalanced-learn that chooses among images.", did_you_mean(name, NAMES))
    return name


def sampler(name: str, features: Features) -> Callable[[Demand], Repeats]:
    """Give a sampler of imbalanced-learn as one of ours."""
    return partial(_sample, name, features)


def takes_target(name: str) -> bool:
    """Tell whether a sampler can be told how many images of each class to leave."""
    return name in _TAKE_COUNTS


def _sample(name: str, features: Features, demand: Demand) -> Repeats:
    repeats = np.ones(demand.n_images, np.int32)
    labelled = ~demand.is_empty
    label = np.zeros(demand.n_images, np.intp)
    label[labelled] = demand.counts.indices[demand.counts.indptr[:-1][labelled]]
    usable = labelled & demand.is_wanted[label]
    table: NDArray[Any] = np.arange(demand.n_images)[:, None] if name in _BLIND else features()
    usable &= np.isfinite(table).all(axis=1)
    rows = np.flatnonzero(usable)
    present = np.bincount(label[rows], minlength=demand.n_classes)
    if np.count_nonzero(present) < 2:
        return repeats
    options: dict[str, Any] = {}
    if name in _TAKE_COUNTS:
        if NAMES[name] == "up":  # no more than budget and repeats allow: what our own sampler reaches
            wanted = instances_of(demand.counts, oversample(demand))
        else:
            wanted = np.clip(np.nan_to_num(demand.target), 1, present).astype(np.int64)
        options["sampling_strategy"] = {c: int(wanted[c]) for c in np.flatnonzero(present).tolist()}
    taken = rows[_run(name, table[rows], label[rows], options, demand.rng)]
    repeats[rows] = 0
    repeats += np.bincount(taken, minlength=demand.n_images).astype(np.int32)
    return within_budget(demand, every_class(demand, np.minimum(repeats, demand.max_repeat).astype(np.int32)))


def _run(name: str, table: NDArray[Any], label: NDArray[np.intp], options: dict[str, Any], rng: np.random.Generator) -> NDArray[np.intp]:
    try:
        from imblearn import over_sampling, under_sampling
    except ImportError as error:
        raise UsageError(f"{PREFIX}{name} needs imbalanced-learn.", "pip install imbalanced-learn") from error
    made = getattr(over_sampling, name, None) or getattr(under_sampling, name)
    if "random_state" in made().get_params():
        options = options | {"random_state": int(rng.integers(2**31))}
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            chosen = made(**options)
            chosen.fit_resample(table, label)
    except ValueError as error:
        raise UsageError(f"{PREFIX}{name} cannot be used here: {str(error).splitlines()[0][:200]}", "Choose another `method`.") from error
    indices: NDArray[np.intp] = np.asarray(chosen.sample_indices_, np.intp)
    return indices
