"""What the names of classes say about images: which must not be mirrored or recoloured, and which have no upright."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

TEXT_SHARE, GRAVITY_FREE_SHARE = 0.1, 0.5
"""Share of the instances from which what class names say settles the augmentation of all images."""

_WORD = re.compile(r"[^\W\d_]+|\d+")
_HUMP = re.compile(r"(?<=[a-z])(?=[A-Z])")


def words(name: str) -> tuple[str, ...]:
    """Split a class name into lower-case words.

    >>> words("TrafficLight_left-2")
    ('traffic', 'light', 'left', '2')
    """
    return tuple(_WORD.findall(_HUMP.sub(" ", name[:200]).casefold()))


_DIGITS = {"zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"}
_TEXT = {"digit", "digits", "number", "numbers", "text", "letter", "letters", "character", "characters", "sign", "signs", "plate", "plates",
         "arrow", "arrows", "speed"}  # fmt: skip
_COLOURS = {"red", "green", "blue", "yellow", "orange", "amber", "white", "black", "brown", "pink", "purple", "grey", "gray"}
_RIPENESS = {"ripe", "unripe", "overripe", "rotten", "ripening"}
MICROSCOPIC = {"cell", "cells", "rbc", "wbc", "platelets", "nucleus", "nuclei"}
_GRAVITY_FREE = {"aerial", "satellite", "drone", "uav", "overhead", "topdown", "microscopy", "platelet", *MICROSCOPIC}


@dataclass(frozen=True, slots=True)
class Hints:
    """Rows of the classes whose names speak for or against an operation."""

    mirrored: Sequence[int]
    text: Sequence[int]
    coloured: Sequence[int]
    gravity_free: Sequence[int]


def hints(names: Sequence[str], instances: NDArray[np.int64]) -> Hints:
    """Tell which classes are left and right of one thing, text, told apart by colour, or seen from above.

    Args:
        names: Of all classes.
        instances: How often each is there; classes without an instance say nothing.
    """
    of_class = {c: words(names[c]) for c in np.flatnonzero(instances).tolist()}
    known = set(of_class.values())
    swap = {"left": "right", "right": "left"}
    mirrored = [c for c, w in of_class.items() if not swap.keys().isdisjoint(w) and tuple(swap.get(word, word) for word in w) in known]
    symbols = [c for c, w in of_class.items() if len(w) == 1 and (len(w[0]) == 1 or w[0] in _DIGITS or w[0].isdecimal())]
    text = sorted({*(symbols if len(symbols) > 1 else []), *(c for c, w in of_class.items() if not _TEXT.isdisjoint(w))})
    alike: dict[tuple[str, ...], list[int]] = {}
    for c, w in of_class.items():
        if not _COLOURS.isdisjoint(w):
            alike.setdefault(tuple(word for word in w if word not in _COLOURS), []).append(c)
    ripe = [c for c, w in of_class.items() if not _RIPENESS.isdisjoint(w)]
    coloured = sorted({*ripe, *(c for group in alike.values() if len(group) > 1 for c in group)})
    free = [c for c, w in of_class.items() if not _GRAVITY_FREE.isdisjoint(w) and "phone" not in w]
    total = instances.sum()
    return Hints(
        mirrored=mirrored,
        text=text if instances[text].sum() >= TEXT_SHARE * total else [],
        coloured=coloured,
        gravity_free=free if instances[free].sum() >= GRAVITY_FREE_SHARE * total else [],
    )
