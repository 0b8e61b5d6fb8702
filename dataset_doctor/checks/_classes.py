"""What several checks ask about classes: their counts in a split, and where they are declared or first used."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from dataset_doctor.dataset import Dataset, Place
from dataset_doctor.findings import Facts
from dataset_doctor.formats import format_of


def training_split(dataset: Dataset) -> int | None:
    """Give the number of the split that is trained on; None where no split is called so, and all images count."""
    name = dataset.training_split
    return None if name is None else dataset.splits.index(name)


def counts_of(facts: Facts, split: int | None) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Give images and instances of each class, in one split or (None) in all."""
    rows = [row if split is None else row.splits[split] for row in facts.statistics.classes]
    return np.array([row.images for row in rows], np.int64), np.array([row.instances for row in rows], np.int64)


def class_places(dataset: Dataset, classes: Iterable[int], split: str | None = None) -> list[Place]:
    """Say where classes are declared or, where only label records name them, where each is first used."""
    chosen = list(classes)
    first: NDArray[np.int64] | None = None
    places = []
    for index in chosen:
        declared = dataset.classes[index]
        if declared.place is None and first is None:
            first = _first_use(dataset)
        row = -1 if first is None or declared.place is not None else int(first[index])
        place = declared.place or Place()
        if row >= 0:
            used, pointer = dataset.annotations, format_of(dataset).pointer
            place = Place(
                file=dataset.sources[used.source[row]],
                line=int(used.line[row]) or None,
                pointer=pointer("annotations", int(used.position[row]), "") if pointer else None,
                image=dataset.images.file_name[used.image[row]],
            )
        places.append(dataclasses.replace(place, class_name=declared.name, split=split))
    return places


def _first_use(dataset: Dataset) -> NDArray[np.int64]:
    """Give the first annotation of each class, -1 where there is none."""
    of_class = dataset.annotations.class_index
    first = np.full(len(dataset.classes) + 1, -1, np.int64)
    first[of_class[::-1]] = np.arange(len(of_class))[::-1]
    return first[:-1]


def named(names: Sequence[str], most: int = 5) -> str:
    """List names in a sentence.

    >>> named(["cat", "dog"]), named(["a", "b", "c"], 2)
    ('cat, dog', 'a, b and 1 more')
    """
    shown = ", ".join(name or '""' for name in names[:most])
    return shown + (f" and {len(names) - most:,} more" if len(names) > most else "")
