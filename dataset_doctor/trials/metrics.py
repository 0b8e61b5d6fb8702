"""What trained models did on the test images, and the scores that follow; numpy alone.

Every outcome can be scored again with weights on its images. A bootstrap over images, which keeps the crops or boxes of one image
together, is then a matrix of such weights.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
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
    """What a classifier said of the test examples: images, or crops.

    truth          int64 (n): class of each example
    probabilities  float32 (n, K): what the model gave each class
    image          int64 (n): number of the image that each example is, or was cut from
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
        """The most probable class of each example (n)."""
        most_probable: NDArray[np.int64] = self.probabilities.argmax(axis=1).astype(np.int64)
        return most_probable

    @cached_property
    def instances(self) -> NDArray[np.int64]:
        """Test instances of each class (K)."""
        counted: NDArray[np.int64] = np.bincount(self.truth, minlength=self.n_classes).astype(np.int64)
        return counted

    @cached_property
    def confusion(self) -> NDArray[np.int64]:
        """Count examples by true class (rows) and predicted class (columns): (K, K)."""
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
        """Count per image and class: examples that were recognised, and all examples."""
        shape = (self.n_images, self.n_classes)
        there, right = np.zeros(shape), np.zeros(shape)
        np.add.at(there, (self.image, self.truth), 1.0)
        np.add.at(right, (self.image, self.truth), (self.predicted == self.truth).astype(np.float64))
        return right, there

    def per_class(self, weights: Weights) -> NDArray[np.float64]:
        """Give the recall of each class under weights on the images: (resamples, K), NaN where a class has no example."""
        right, there = self._per_image
        pictures = weights @ there
        recall: NDArray[np.float64] = np.divide(weights @ right, pictures, out=np.full(pictures.shape, np.nan), where=pictures > 0)
        return recall


# Detections -------------------------------------------------------------------------------------------------------------


IOUS: NDArray[np.float64] = np.linspace(0.5, 0.95, 10)
"""The overlaps at which a detection counts as right, in turn."""

RECALLS: NDArray[np.float64] = np.linspace(0.0, 1.0, 101)
"""Where a curve of precision over recall is read off."""

MOST_DETECTIONS = 100
"""Of an image and class, those with the highest scores; others do not count."""

SIZES: Mapping[str, tuple[float, float]] = {"small": (0.0, 32.0**2), "medium": (32.0**2, 96.0**2), "large": (96.0**2, 1e10)}
"""Bands of box area in pixels of the image as it is labelled."""

SURE = 0.5
"""The score from which a detection on a background image counts as a false alarm."""

_EVERY_SIZE = (0.0, 1e10)
_CELLS_AT_ONCE = 4_000_000


@dataclass(frozen=True, eq=False)
class Detections:
    """What a detector found in the test images, and what there was to find.

    image, label, score   int64, int64, float32 (d): image from 0 on, class, and confidence of each detection
    box                   float64 (d, 4): xyxy in pixels of the image as it is labelled
    true_image, true_label, true_box  of each object (t)
    crowd                 bool (t): a region of many objects, of which any number of detections may lie inside
    ignored               bool (t): an object of which one detection does not count either way (VOC: difficult); crowd regions are, too
    background            bool (images): known to show no object
    class_names           K names

    The scores are COCO's: greedy matching by falling score, average precision as the mean over 101 recalls and ten overlaps from
    0.5 to 0.95, at most 100 detections of a class and image. pycocotools' COCOeval gives the same numbers, to which the tests hold this
    class; it cannot weigh images, of which a bootstrap needs a thousand weightings, and here each costs a few sums. Where two detections
    have the very same score, an image that counts twice is as two detections one after the other.

    Source: Lin et al. 2014, Microsoft COCO, and the evaluation code that came with it.
    """

    image: NDArray[np.int64]
    label: NDArray[np.int64]
    score: NDArray[np.float32]
    box: NDArray[np.float64]
    true_image: NDArray[np.int64]
    true_label: NDArray[np.int64]
    true_box: NDArray[np.float64]
    crowd: NDArray[np.bool_]
    ignored: NDArray[np.bool_]
    background: NDArray[np.bool_]
    class_names: NDArray[np.str_]

    def __post_init__(self) -> None:
        assert len(self.image) == len(self.label) == len(self.score) == len(self.box)
        assert len(self.true_image) == len(self.true_label) == len(self.true_box) == len(self.crowd) == len(self.ignored)
        assert not (self.crowd & ~self.ignored).any()

    @property
    def n_images(self) -> int:
        """How many test images there were."""
        return len(self.background)

    @property
    def n_classes(self) -> int:
        """How many classes there are."""
        return len(self.class_names)

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Give all there is to it, to be written into a file."""
        return {f.name: getattr(self, f.name) for f in fields(self)}

    @cached_property
    def instances(self) -> NDArray[np.int64]:
        """Objects of each class that must be found (K)."""
        counted: NDArray[np.int64] = np.bincount(self.true_label[~self.ignored], minlength=self.n_classes).astype(np.int64)
        return counted

    def metrics(self) -> dict[str, float]:
        """Give mean average precision first; NaN where a size has no object, or no image is background."""
        whole = np.ones((1, self.n_images))
        by_overlap = self._average_precision(self._matches, whole)[0]
        sure = self.score >= SURE
        backgrounds = int(self.background.sum())
        of_size = {f"ap_{name}": _known_mean(self._average_precision(self._match(band), whole)[0]) for name, band in SIZES.items()}
        return {
            "map": _known_mean(by_overlap.mean(axis=1)),
            "ap50": _known_mean(by_overlap[:, 0]),
            "ap75": _known_mean(by_overlap[:, 5]),
            **of_size,
            "ar100": _known_mean(self._recall),
            "false_positives_per_background_image": float(self.background[self.image[sure]].sum() / backgrounds) if backgrounds else np.nan,
        }

    def per_class(self, weights: Weights) -> NDArray[np.float64]:
        """Give the average precision of each class under weights on the images: (resamples, K), NaN where a class has no object."""
        mean: NDArray[np.float64] = self._average_precision(self._matches, weights).mean(axis=2)
        return mean

    def ap50(self) -> float:
        """Give the mean over the classes of average precision at an overlap of one half; 0 where there is nothing to find."""
        value = _known_mean(self._average_precision(self._matches, np.ones((1, self.n_images)))[0, :, 0])
        return value if np.isfinite(value) else 0.0

    def precision_at_recalls(self) -> NDArray[np.float64]:
        """Give the curve of each class at an overlap of one half: the best precision at RECALLS or beyond, (K, 101)."""
        matches, curves = self._matches, np.full((self.n_classes, len(RECALLS)), np.nan)
        for c in np.flatnonzero(self.instances).tolist():
            right, counts = matches.right[matches.of_class[c], 0], ~matches.out[matches.of_class[c], 0]
            found, shown = np.cumsum(right), np.cumsum(counts)
            precision = np.divide(found, shown, out=np.zeros(len(found)), where=shown > 0)
            best = np.append(np.maximum.accumulate(precision[::-1])[::-1], 0.0)
            curves[c] = best[np.searchsorted(found / self.instances[c], RECALLS, side="left")]
        return curves

    @cached_property
    def wrong(self) -> NDArray[np.int64]:
        """Detections that match no object at an overlap of one half, the surest first; rows of `image`."""
        matches = self._matches
        rows = matches.row[~matches.right[:, 0] & ~matches.out[:, 0]]
        order: NDArray[np.int64] = rows[np.argsort(-self.score[rows], kind="stable")]
        return order

    @cached_property
    def missed(self) -> NDArray[np.int64]:
        """Objects that no detection of SURE or more matches at an overlap of one half, the largest first; rows of `true_image`."""
        matches = self._matches
        sure = matches.right[:, 0] & (self.score[matches.row] >= SURE)
        found = np.zeros(len(self.true_image), bool)
        found[matches.partner[sure]] = True
        rows = np.flatnonzero(~found & ~self.ignored)
        sides = self.true_box[rows, 2:] - self.true_box[rows, :2]
        order: NDArray[np.int64] = rows[np.argsort(-sides.prod(axis=1), kind="stable")]
        return order

    @cached_property
    def _recall(self) -> NDArray[np.float64]:
        """Give the share of each class's objects that is found at all (K), mean over the overlaps."""
        matches = self._matches
        found = np.zeros((self.n_classes, len(IOUS)))
        np.add.at(found, self.label[matches.row], matches.right)
        there = np.tile(self.instances[:, None], (1, len(IOUS)))
        recall: NDArray[np.float64] = np.divide(found, there, out=np.full(found.shape, np.nan), where=there > 0).mean(axis=1)
        return recall

    @cached_property
    def _matches(self) -> _Matches:
        return self._match(_EVERY_SIZE)

    def _average_precision(self, matches: _Matches, weights: Weights) -> NDArray[np.float64]:
        """Give average precision by resample, class and overlap, (resamples, K, 10); NaN where nothing is to be found."""
        must = ~matches.ignored
        found = np.full((len(weights), self.n_classes, len(IOUS)), np.nan)
        for c in range(self.n_classes):
            images = np.bincount(self.true_image[must & (self.true_label == c)], minlength=self.n_images).astype(np.float64)
            if not images.any():
                continue
            rows = matches.of_class[c]
            at_once = max(1, _CELLS_AT_ONCE // max(len(rows), 1))
            for begin in range(0, len(weights), at_once):
                some = weights[begin : begin + at_once]
                there = some @ images
                given = _curves(some[:, self.image[matches.row[rows]]], matches.right[rows], matches.out[rows], there)
                found[begin : begin + at_once, c] = np.where(there[:, None] > 0, given, np.nan)
        return found

    def _match(self, band: tuple[float, float]) -> _Matches:
        """Match detections and objects, where objects of another area are ignored.

        Greedy as COCO does: in each image and class, the detection with the highest score takes the object it overlaps most, of those that
        are free and overlap enough; one to be ignored only where no other is left. All images and classes take their n-th detection at the
        same time, so that no loop goes over the images.
        """
        k, t = self.n_classes, len(IOUS)
        low, high = band
        area = _areas(self.true_box)
        ignored = self.ignored | (area < low) | (area > high)
        order = np.lexsort((-self.score.astype(np.float64), self.label, self.image))
        group = self.image[order] * k + self.label[order]
        rank = _ranks(group)
        order, group = order[rank < MOST_DETECTIONS], group[rank < MOST_DETECTIONS]
        row = order.astype(np.int64)
        right, out = np.zeros((len(row), t), bool), np.zeros((len(row), t), bool)
        partner = np.full(len(row), -1, np.int64)
        # Objects that must be found come first in their group: of equals the later one is taken, as COCO does.
        objects = np.lexsort((np.arange(len(ignored)), ignored, self.true_label, self.true_image))
        of_object = self.true_image[objects] * k + self.true_label[objects]
        begins, ends = np.searchsorted(of_object, group, side="left"), np.searchsorted(of_object, group, side="right")
        _, first, n = np.unique(group, return_index=True, return_counts=True)
        n_objects = (ends - begins)[first]
        # Groups with about as many objects are taken together, so that little of the table is empty.
        by_size = np.argsort(n_objects, kind="stable")
        by_size = by_size[n_objects[by_size] > 0]
        while len(by_size):
            width = int(n_objects[by_size[-1]])
            mine, by_size = _last(by_size, max(1, _CELLS_AT_ONCE // (width * t)), n_objects, width)
            column = np.arange(width)
            there = column < n_objects[mine, None]
            held = objects[np.where(there, begins[first[mine], None] + column, 0)]
            may, crowd = ignored[held], self.crowd[held]
            free = np.repeat(there[:, None, :], t, axis=1)
            for turn in range(int(n[mine].max())):
                now = np.flatnonzero(n[mine] > turn)
                at = first[mine[now]] + turn
                overlap = _overlaps(self.box[row[at]], self.true_box[held[now]], crowd[now])
                enough = free[now] & (overlap[:, None, :] >= np.minimum(IOUS, 1 - 1e-10)[None, :, None])
                wanted = enough & ~may[now, None, :]
                wanted = np.where(wanted.any(axis=2, keepdims=True), wanted, enough)
                value = np.where(wanted, overlap[:, None, :], -1.0)
                best = width - 1 - value[:, :, ::-1].argmax(axis=2)
                hit = np.take_along_axis(value, best[:, :, None], axis=2)[:, :, 0] >= 0
                passed = np.take_along_axis(may[now], best, axis=1)
                right[at], out[at] = hit & ~passed, hit & passed
                partner[at] = np.where(hit[:, 0], np.take_along_axis(held[now], best[:, :1], axis=1)[:, 0], -1)
                # A crowd region is never used up.
                used = hit & ~np.take_along_axis(crowd[now], best, axis=1)
                g, o = np.nonzero(used)
                free[now[g], o, best[g, o]] = False
        size = _areas(self.box[row])
        out |= ~right & ((size < low) | (size > high))[:, None]
        # Sorted once by score; detections of the same score stay in the order of their images.
        by_score = np.argsort(-self.score[row], kind="stable")
        labels = self.label[row[by_score]]
        return _Matches(row, right, out, partner, ignored, tuple(by_score[labels == c] for c in range(k)))


@dataclass(frozen=True, slots=True, eq=False)
class _Matches:
    """How detections and objects go together; detections beyond the hundredth of an image and class are left out.

    row         int64 (m): row of each detection that counts
    right, out  bool (m, 10): it matches an object, or is ignored, at each overlap
    partner     int64 (m): row of the object that it matches at the least overlap, -1 for none
    ignored     bool (t): objects that need not be found
    of_class    for each class its places in `row`, by falling score
    """

    row: NDArray[np.int64]
    right: NDArray[np.bool_]
    out: NDArray[np.bool_]
    partner: NDArray[np.int64]
    ignored: NDArray[np.bool_]
    of_class: tuple[NDArray[np.intp], ...]


def _curves(
    weights: NDArray[np.float64], right: NDArray[np.bool_], out: NDArray[np.bool_], there: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Give average precision by resample and overlap, (resamples, 10), of one class's detections by falling score.

    Args:
        weights: Of each detection's image (resamples, m).
        right: It is right (m, 10).
        out: It is left out (m, 10).
        there: What there is to find (resamples).

    Precision can only rise where a detection is right, so that it is looked at there alone, and each place counts for as many of the 101
    recalls as it is the first to reach.
    """
    shown = np.cumsum(weights, axis=1)
    result = np.zeros((len(weights), right.shape[1]))
    for t in range(right.shape[1]):
        hits, left_out = np.flatnonzero(right[:, t]), np.flatnonzero(out[:, t])
        if not len(hits):
            continue
        found = np.cumsum(weights[:, hits], axis=1)
        total = shown[:, hits]
        if len(left_out):
            before = np.concatenate([np.zeros((len(weights), 1)), np.cumsum(weights[:, left_out], axis=1)], axis=1)
            total = total - before[:, np.searchsorted(left_out, hits)]
        precision = np.divide(found, total, out=np.zeros_like(found), where=total > 0)
        best = np.maximum.accumulate(precision[:, ::-1], axis=1)[:, ::-1]
        recall = np.divide(found, there[:, None], out=np.zeros_like(found), where=there[:, None] > 0)
        reached = np.searchsorted(RECALLS, recall, side="right")
        result[:, t] = (best * np.diff(reached, axis=1, prepend=0)).sum(axis=1) / len(RECALLS)
    return result


def _overlaps(box: NDArray[np.float64], others: NDArray[np.float64], crowd: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Give the overlap of each box (g, 4) with its row of others (g, n, 4): of a crowd region, the share of the box inside."""
    one = box[:, None, :]
    sides = np.minimum(one[..., 2:], others[..., 2:]) - np.maximum(one[..., :2], others[..., :2])
    shared = np.maximum(sides, 0.0).prod(axis=2)
    mine = _areas(box)[:, None]
    union = np.where(crowd, mine, mine + _areas(others) - shared)
    overlap: NDArray[np.float64] = np.divide(shared, union, out=np.zeros_like(shared), where=union > 0)
    return overlap


def _areas(boxes: NDArray[np.float64]) -> NDArray[np.float64]:
    area: NDArray[np.float64] = (boxes[..., 2] - boxes[..., 0]) * (boxes[..., 3] - boxes[..., 1])
    return area


def _ranks(group: NDArray[np.int64]) -> NDArray[np.int64]:
    """Count the members of each group of a sorted column from 0 on.

    >>> _ranks(np.array([4, 4, 4, 7, 9, 9])).tolist()
    [0, 1, 2, 0, 0, 1]
    """
    _, first, n = np.unique(group, return_index=True, return_counts=True)
    return np.arange(len(group)) - np.repeat(first, n)


def _last(by_size: NDArray[np.intp], most: int, sizes: NDArray[np.int64], width: int) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Take groups from the end, at most so many, and none with less than half as many objects as the last; give them and the rest."""
    begin = max(len(by_size) - most, int(np.searchsorted(sizes[by_size], width / 2, side="left")))
    return by_size[begin:], by_size[:begin]


def _known_mean(values: NDArray[np.float64]) -> float:
    """Take the mean of what is known; NaN where nothing is."""
    known = values[np.isfinite(values)]
    return float(known.mean()) if len(known) else float("nan")
