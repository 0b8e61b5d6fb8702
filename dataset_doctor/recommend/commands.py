"""Commands as the user would type them: for the dataset as they named it, in the folder where they are."""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Mapping
from itertools import count
from pathlib import Path

from dataset_doctor.dataset import Dataset, Given
from dataset_doctor.errors import operand

NAME_LENGTH = 80
"""Characters of a dataset's name that the name of a result begins with; file systems take 255 bytes."""

_UNPRINTABLE = re.compile(r"[^\w.+=@,()\[\] '&!~-]")


def command(dataset: Dataset, verb: str, options: Mapping[str, str | int | float | bool], suffix: str = "") -> str:
    """Write a command for a dataset, quoted for a POSIX shell.

    Args:
        dataset: It says how the user named it; one that was not read from files is named by its folder.
        verb: The subcommand.
        options: Their values by name; True for one without a value.
        suffix: What the result is called besides the dataset; without it the command writes no dataset.
    """
    given = dataset.given or Given(dataset.root.name or "DATASET")
    words = ["dataset-doctor", verb, operand(given.path), *([free_folder(dataset, suffix)] if suffix else [])]
    for name, value in (*options.items(), ("format", given.format), ("images", given.images), ("classes", given.classes)):
        if value is not None:
            words.append(f"--{name.replace('_', '-')}")
            words += [] if value is True else [f"{value:.8g}" if isinstance(value, float) else str(value)]
    return shlex.join(words)


def free_folder(dataset: Dataset, suffix: str) -> str:
    """Name a folder for a result that is not there yet: in the current folder, or above it as far as that lies in the dataset.

    >>> from tests.drawing import draw
    >>> free_folder(draw("classes: cat")[0], "split")
    'nowhere-split'
    """
    parts = [Path(os.path.realpath(dataset.root))]
    if dataset.given is not None and dataset.given.images is not None:
        parts.append(Path(os.path.realpath(dataset.given.images)))
    here = Path(os.path.realpath(os.curdir))
    up = ""
    while any(here.is_relative_to(part) for part in parts) and here != here.parent:
        here, up = here.parent, f"{up}../"
    name = _UNPRINTABLE.sub("_", dataset.root.name)[:NAME_LENGTH].strip(" .") or "dataset"
    free = (f"{name}-{suffix}{'' if number == 1 else f'-{number}'}" for number in count(1))
    return operand(up + next(folder for folder in free if not os.path.lexists(here / folder)))
