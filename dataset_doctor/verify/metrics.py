"""What trained models did on the test pictures, and the scores that follow; numpy alone.

Every outcome can be scored again with weights on its images. A bootstrap over images, which keeps the crops or boxes of one image
together, is then a matrix of such weights.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

Weights = NDArray[np.float64]
"""How often each resample holds each test image: (resamples, images)."""


class Outcome(Protocol):
    """What one training led to on the test split."""

    @property
    def n_images(self) -> int:
        """How many test images there were."""

    @property
    def instances(self) -> NDArray[np.int64]:
        """Test instances of each class (K)."""

    def metrics(self) -> dict[str, float]:
        """Give the scores by name; the one that is compared, the mean of `per_class`, comes first."""

    def per_class(self, weights: Weights) -> NDArray[np.float64]:
        """Score each class under weights on the images: (resamples, K), NaN where a class has no instance."""


@dataclass(frozen=True, eq=False)
class Predictions:
    """What a classifier said of the test pictures.

    truth          int64 (n): class of each picture
    probabilities  float32 (n, K): what the model gave each class
    image          int64 (n): number of the image that each picture is, or was cut from
    """

    truth: NDArray[np.int64]
    probabilities: NDArray[np.float32]
    image: NDArray[np.int64]

    def __post_init__(self) -> None:
        assert len(self.truth) == len(self.probabilities) == len(self.image)

    @property
    def n_images(self) -> int:
        """How many test images there were."""
        return int(self.image.max()) + 1 if len(self.image) else 0

    @property
    def n_classes(self) -> int:
        """How many classes there are."""
        return int(self.probabilities.shape[1])

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Give all there is to it, to be written into a file."""
        return {"truth": self.truth, "probabilities": self.probabilities, "image": self.image}

    @cached_property
    def predicted(self) -> NDArray[np.int64]:
        """The most probable class of each picture (n)."""
        most_probable: NDArray[np.int64] = self.probabilities.argmax(axis=1).astype(np.int64)
        return most_probable

    @cached_property
    def instances(self) -> NDArray[np.int64]:
        """Test instances of each class (K)."""
        counted: NDArray[np.int64] = np.bincount(self.truth, minlength=self.n_classes).astype(np.int64)
        return counted

    @cached_property
    def confusion(self) -> NDArray[np.int64]:
        """Count pictures by true class (rows) and predicted class (columns): (K, K)."""
        k = self.n_classes
        counted: NDArray[np.int64] = np.bincount(self.truth * k + self.predicted, minlength=k * k).reshape(k, k).astype(np.int64)
        return counted

    def metrics(self) -> dict[str, float]:
        """Give balanced accuracy, accuracy, macro F1, and the expected calibration error in 15 bins (Guo et al. 2017).

        >>> two = Predictions(np.array([0, 0, 0, 1]), np.eye(2, dtype=np.float32)[[0, 0, 1, 1]], np.arange(4))
        >>> {name: round(value, 4) for name, value in two.metrics().items()}
        {'balanced_accuracy': 0.8333, 'accuracy': 0.75, 'macro_f1': 0.7333, 'calibration_error': 0.25}
        """
        confusion = self.confusion
        right = np.diag(confusion).astype(np.float64)
        there = self.instances > 0
        both = (confusion.sum(axis=0) + confusion.sum(axis=1)).astype(np.float64)
        f1 = np.divide(2 * right, both, out=np.zeros_like(right), where=both > 0)
        return {
            "balanced_accuracy": float((right[there] / self.instances[there]).mean()) if there.any() else float("nan"),
            "accuracy": float(right.sum() / max(len(self.truth), 1)),
            "macro_f1": float(f1[there].mean()) if there.any() else float("nan"),
            "calibration_error": self._calibration_error(),
        }

    def _calibration_error(self) -> float:
        confidence = self.probabilities.max(axis=1).astype(np.float64)
        right = (self.predicted == self.truth).astype(np.float64)
        bins = np.clip(np.ceil(confidence * 15).astype(int) - 1, 0, 14)
        gap = np.abs(np.bincount(bins, weights=confidence - right, minlength=15))
        return float(gap.sum() / max(len(right), 1))

    @cached_property
    def _per_image(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Count per image and class: pictures that were recognised, and pictures."""
        shape = (self.n_images, self.n_classes)
        there, right = np.zeros(shape), np.zeros(shape)
        np.add.at(there, (self.image, self.truth), 1.0)
        np.add.at(right, (self.image, self.truth), (self.predicted == self.truth).astype(np.float64))
        return right, there

    def per_class(self, weights: Weights) -> NDArray[np.float64]:
        """Give the recall of each class under weights on the images: (resamples, K), NaN where a class has no picture."""
        right, there = self._per_image
        pictures = weights @ there
        recall: NDArray[np.float64] = np.divide(weights @ right, pictures, out=np.full(pictures.shape, np.nan), where=pictures > 0)
        return recall
