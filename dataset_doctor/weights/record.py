"""The weights of a dataset's classes with everything a reader of them needs, and the file they are read from."""

from __future__ import annotations

import dataclasses
import json
import math
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from dataset_doctor.errors import UsageError
from dataset_doctor.files.reading import Unreadable, decode, read_regular
from dataset_doctor.weights.schemes import positive_weights

SCHEMA, SCHEMA_VERSION = "dataset-doctor/weights", 1
MAX_FILE_BYTES = 1 << 28

POS_WEIGHT_POWER, POS_WEIGHT_CAP = 0.5, 100.0


@dataclass(frozen=True, slots=True)
class ClassWeights:
    """Weights of the classes, in class order, and where they come from.

    scheme, beta, power, normalize, cap  as asked for; `beta` also where it was chosen
    count, split       what was counted, and where
    after              the method of the plan whose counts were used; None where the split was counted as it lies
    classes, counts, weights  one entry a class; a class without a count has weight 1
    background_weight  for losses with an output for the background
    capped             the classes whose weight was lowered
    efficiency         share of equally weighted labels that would estimate as well (Kish)
    instances, images  of each class in the split, and `images_in_split`; None where not known: a plan tells instances only
    fingerprint        of the dataset
    warnings           what to know before using them, one finished sentence or two each
    """

    scheme: str
    normalize: str
    count: str
    split: str
    classes: tuple[str, ...]
    counts: tuple[int, ...]
    weights: tuple[float, ...]
    background_weight: float
    cap: float | None
    capped: tuple[str, ...]
    efficiency: float
    fingerprint: str
    beta: float | None = None
    power: float | None = None
    after: str | None = None
    task: str = "detect"
    instances: tuple[int, ...] | None = None
    images: tuple[int, ...] | None = None
    images_in_split: int | None = None
    warnings: tuple[str, ...] = ()

    @property
    def present(self) -> NDArray[np.bool_]:
        """Tell which classes have a count."""
        return np.array(self.counts) > 0

    @property
    def spread(self) -> float:
        """Divide the largest weight by the smallest, over the classes that have a count."""
        weights = np.array(self.weights)[self.present]
        return float(weights.max() / weights.min())

    @property
    def scale(self) -> float:
        """Give the mean weight of a counted label: how many times larger an unnormalised loss becomes."""
        return float(np.average(self.weights, weights=self.counts))

    def pos_weight(self) -> NDArray[np.float64] | None:
        """Give weights of the positive labels, as `dataset_doctor.weights.pos_weight` does; None after a plan."""
        if self.images is None or self.images_in_split is None:
            return None
        return positive_weights(np.array(self.images), self.images_in_split, power=POS_WEIGHT_POWER, cap=POS_WEIGHT_CAP)

    def to_dict(self) -> dict[str, Any]:
        """Give the weights as plain data, in the documented form (schema "dataset-doctor/weights", version 1)."""
        members = ((field.name, getattr(self, field.name)) for field in dataclasses.fields(self))
        plain = {name: list(value) if isinstance(value, tuple) else value for name, value in members}
        return {"schema": SCHEMA, "schema_version": SCHEMA_VERSION, **plain}

    @classmethod
    def from_dict(cls, document: Any) -> ClassWeights:
        """Read back what `to_dict` gave.

        Raises:
            ValueError: the document is not of the documented form.
        """
        if not isinstance(document, dict) or document.get("schema") != SCHEMA:
            raise ValueError("it does not say that it is one")
        if document.get("schema_version") != SCHEMA_VERSION:
            raise ValueError(f"version {document.get('schema_version')} is not known")
        try:
            read = msgspec.convert(document, cls)
        except msgspec.ValidationError as error:
            raise ValueError(str(error).replace("`", "").lower()) from error
        if not len(read.classes) == len(read.counts) == len(read.weights) > 0:
            raise ValueError(f"{len(read.classes)} classes, {len(read.counts)} counts and {len(read.weights)} weights")
        if not all(math.isfinite(weight) and weight > 0 for weight in read.weights):
            raise ValueError("a weight is not a finite number above 0")
        if min(read.counts) < 0 or not any(read.counts):
            raise ValueError("the counts are not those of a split with labels")
        for other in (read.instances, read.images):
            if other is not None and len(other) != len(read.classes):
                raise ValueError(f"{len(read.classes)} classes, {len(other)} of them counted")
        return read


def load(path: str | os.PathLike[str]) -> ClassWeights:
    """Read a weights file, `.json` or `.yaml`.

    Raises:
        UsageError: the file cannot be read or holds no weights.
    """
    import yaml

    name = os.fspath(path)
    is_yaml = Path(name).suffix.lower() in (".yaml", ".yml")
    try:
        text, _ = decode(read_regular(name, MAX_FILE_BYTES))
        return ClassWeights.from_dict(yaml.safe_load(text) if is_yaml else json.loads(text))
    except Unreadable as error:
        raise UsageError(f"{name}: {error}.") from error
    except (ValueError, RecursionError, yaml.YAMLError) as error:
        raise UsageError(
            f"{name} is not a weights file: {error}.", "Write one with: dataset-doctor weights DATASET -o weights.json"
        ) from error
