"""Targets: how many instances of each class the result should have."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from dataset_doctor.errors import UsageError, did_you_mean
from dataset_doctor.files.reading import Unreadable, decode, read_regular

Direction = Literal["up", "down", "both"]
"""Whether a sampler only repeats images, only drops them, or does both."""

_SHAPES = ("uniform", "sqrt", "floor:N", "FILE.csv")
_FILE_LIMIT = 1 << 20

_NOTHING = {"not sure", "notsure", "unsure", "unknown", "undefined", "skip", "todo", "ignore", "don't know", "dont know"}


def is_doubt(name: str) -> bool:
    """Tell whether a class name is a state of the labelling and not a thing that an image shows.

    >>> is_doubt("Not_sure"), is_doubt("cat")
    (True, False)
    """
    return name[:32].casefold().replace("_", " ").replace("-", " ").strip() in _NOTHING


def parse_target(text: str, names: Sequence[str], instances: NDArray[np.int64], direction: Direction) -> NDArray[np.float64]:
    """Give the wanted final count of each class, a whole number; NaN where the class is to be no reason to repeat or drop an image.

    uniform   all classes alike: as the largest where images are only repeated, as the smallest where they are only dropped, and
              with as many instances in all as before where both is done
    sqrt      in proportion to the square root of the counts, on the same scale: sqrt(n · largest), sqrt(n · smallest), or all as before
    floor:N   at least N; where images are only dropped, classes above N come down to it
    FILE      a CSV with `class,count`; what it does not name has no target

    Classes without instances have none, except in a file, and neither has one whose name is a doubt ("unknown", "not sure").

    Args:
        text: One of these.
        names: The classes.
        instances: How many each has.
        direction: What the sampler does.

    Raises:
        UsageError: not one of these, or what the file says cannot be used.
    """
    wished = (instances > 0) & ~np.array([is_doubt(name) for name in names], bool)
    target = np.full(len(names), np.nan)
    counts = instances[wished].astype(np.float64)
    if text.startswith("floor:"):
        floor = _floor(text)
        target[wished] = np.minimum(counts, floor) if direction == "down" else np.maximum(counts, floor)
    elif text in ("uniform", "sqrt"):
        shape = np.ones_like(counts) if text == "uniform" else np.sqrt(counts)
        if len(counts):
            at = counts.argmax() if direction == "up" else counts.argmin()
            scale = counts.sum() / shape.sum() if direction == "both" else counts[at] / shape[at]
            target[wished] = np.rint(shape * scale)
    elif text.lower().endswith(".csv") or _is_file(text):
        target = _from_file(text, names)
    else:
        raise UsageError(f"`target={text}` is not known.", did_you_mean(text, _SHAPES))
    return target


def _is_file(text: str) -> bool:
    try:
        return Path(text).is_file()
    except (OSError, ValueError):
        return False


def _floor(text: str) -> int:
    number = text.removeprefix("floor:").strip()
    if not (number.isascii() and number.isdecimal() and len(number) <= 12):
        raise UsageError(f"`target={text}`: floor: takes a whole number.", "For example floor:200.")
    return int(number)


def _from_file(path: str, names: Sequence[str]) -> NDArray[np.float64]:
    """Read `class,count`; other columns are not looked at, and without a head line the first two columns are meant."""
    try:
        lines = list(csv.reader(decode(read_regular(path, _FILE_LIMIT))[0].splitlines()))
    except (Unreadable, csv.Error) as error:
        raise UsageError(f"`target={path}`: {error}.", f"Choose from: {', '.join(_SHAPES)}.") from error
    head = [cell.strip().casefold() for cell in lines[0]] if lines else []
    headed = {"class", "count"} <= set(head)
    name_at, count_at = (head.index("class"), head.index("count")) if headed else (0, 1)
    target = np.full(len(names), np.nan)
    for number, cells in enumerate(lines[headed:], start=1 + headed):
        if not any(cell.strip() for cell in cells):
            continue
        if len(cells) <= max(name_at, count_at):
            raise UsageError(f"{path}:{number} has no class and count.", "Write a class,count line for each class.")
        name, text = cells[name_at].strip(), cells[count_at].strip()
        if name not in names:
            raise UsageError(f"{path}:{number}: the dataset has no class {name}.", did_you_mean(name, names))
        row = list(names).index(name)
        if not np.isnan(target[row]):
            raise UsageError(f"{path}:{number}: {name} has a count already.", "Give each class one line.")
        target[row] = _count(f"{path}:{number}", text)
    if np.isnan(target).all():
        raise UsageError(f"{path} names no class.", "Write a class,count line for each class.")
    return target


def _count(place: str, text: str) -> float:
    try:
        count = float(text)
    except ValueError:
        count = np.nan
    if not 0 <= count < 1e12:
        raise UsageError(f"{place}: {text or 'nothing'} is not a count.", "Counts are numbers from 0 on.")
    return float(np.rint(count))
