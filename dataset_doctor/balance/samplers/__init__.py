"""The samplers: from what is asked for to how often each image is shown, one record each."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dataset_doctor.balance.demand import Demand, Repeats
from dataset_doctor.balance.samplers import imbalanced_learn
from dataset_doctor.balance.samplers.by_frequency import class_aware, image_frequency, instance_frequency, irfs, repeat_factor
from dataset_doctor.balance.samplers.multilabel import ml_ros, ml_rus
from dataset_doctor.balance.samplers.optimal import optimal_repeats
from dataset_doctor.balance.samplers.to_target import hybrid, oversample, unchanged, undersample
from dataset_doctor.balance.targets import Direction
from dataset_doctor.errors import UsageError, did_you_mean


@dataclass(frozen=True, slots=True)
class Sampler:
    """A way of balancing a split.

    run         from a demand to repeats; None for copy_paste, which no function of counts can be: it generates images, and the labels say
                where there is room
    direction   "up" repeats images, "down" drops some, "both" does both
    aims        whether it looks at the target; the others have a rule of their own
    frequency   of each class, what it compares with a threshold; None where it has none
    certifies   whether its result comes with a certificate of how good it is, and it may be allowed to drop images (`min_repeat` 0)
    """

    run: Callable[[Demand], Repeats] | None
    direction: Direction = "up"
    aims: bool = False
    frequency: Callable[[Demand], NDArray[np.float64]] | None = None
    certifies: bool = False


SAMPLERS: Mapping[str, Sampler] = {
    "oversample": Sampler(oversample, aims=True),
    "undersample": Sampler(undersample, "down", aims=True),
    "hybrid": Sampler(hybrid, "both", aims=True),
    "repeat_factor": Sampler(repeat_factor, frequency=image_frequency),
    "irfs": Sampler(irfs, frequency=instance_frequency),
    "class_aware": Sampler(class_aware, "both"),
    "ml_ros": Sampler(ml_ros),
    "ml_rus": Sampler(ml_rus, "down"),
    "optimal": Sampler(optimal_repeats, aims=True, certifies=True),
    "none": Sampler(unchanged),
    "copy_paste": Sampler(None, aims=True),
}
"""Every sampler by its name; `imblearn:NAME` names those of imbalanced-learn besides."""


def find_sampler(method: str, *, is_folder: bool, features: imbalanced_learn.Features) -> Sampler:
    """Find a sampler by its name.

    Args:
        method: A key of `SAMPLERS`, or `imblearn:NAME`.
        is_folder: Whether an image has one class, as imbalanced-learn needs it.
        features: A row an image, for those samplers of imbalanced-learn that look at the data.

    Raises:
        UsageError: there is none of that name, or it is not for this dataset.
    """
    if method in SAMPLERS:
        return SAMPLERS[method]
    if not method.startswith(imbalanced_learn.PREFIX):
        raise UsageError(f"`method={method}` is not known.", did_you_mean(method, [*SAMPLERS, f"{imbalanced_learn.PREFIX}NAME"]))
    name = imbalanced_learn.find(method)
    if not is_folder:
        names = ", ".join(name for name, sampler in SAMPLERS.items() if sampler.run is not None)
        raise UsageError(f"{method} is for image folders, where an image has one class.", f"Choose from: {names}.")
    run = imbalanced_learn.sampler(name, features)
    return Sampler(run, imbalanced_learn.NAMES[name], aims=imbalanced_learn.takes_target(name))
