"""Detections: every score as pycocotools' COCOeval gives it, on images as they are and on images that count several times."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from dataset_doctor.trials.metrics import IOUS, Detections

NEVER_COUNTED = 1e11
"""COCOeval passes over objects whose area is in no band; so it is told of objects that may be found or not."""


def drawn(seed: int, *, images: int = 6, classes: int = 3, objects: int = 5, special: float = 0.2) -> Detections:
    """Draw objects of all sizes, crowd regions and difficult ones among them, and detections near them and elsewhere."""
    rng = np.random.default_rng(seed)
    truth: list[tuple[int, int, NDArray[np.float64], bool, bool]] = []
    found: list[tuple[int, int, float, NDArray[np.float64]]] = []
    for image in range(images):
        for _ in range(int(rng.integers(0, objects + 1))):
            side = np.exp(rng.uniform(np.log(8), np.log(200), 2))
            corner = rng.uniform(0, 300, 2)
            box = np.concatenate([corner, corner + side])
            crowd, difficult = rng.random(2) < special
            label = int(rng.integers(classes))
            truth.append((image, label, box, bool(crowd), bool(crowd or difficult)))
            for _ in range(int(rng.integers(0, 4))):
                moved = box + rng.normal(0, 0.12, 4) * np.tile(side, 2)
                moved = np.concatenate([np.minimum(moved[:2], moved[2:] - 1), moved[2:]])
                found.append((image, label if rng.random() < 0.8 else int(rng.integers(classes)), float(rng.random()), moved))
        for _ in range(int(rng.integers(0, 4))):
            corner = rng.uniform(0, 300, 2)
            found.append(
                (image, int(rng.integers(classes)), float(rng.random()), np.concatenate([corner, corner + rng.uniform(5, 150, 2)]))
            )
    return made(truth, found, images, classes)


def made(truth: Sequence[Any], found: Sequence[Any], images: int, classes: int) -> Detections:
    """Put objects (image, class, box, crowd, ignored) and detections (image, class, score, box) into columns."""
    seen = {one[0] for one in truth}
    return Detections(
        image=np.array([d[0] for d in found], np.int64),
        label=np.array([d[1] for d in found], np.int64),
        score=np.array([d[2] for d in found], np.float32),
        box=np.array([d[3] for d in found], np.float64).reshape(-1, 4),
        true_image=np.array([t[0] for t in truth], np.int64),
        true_label=np.array([t[1] for t in truth], np.int64),
        true_box=np.array([t[2] for t in truth], np.float64).reshape(-1, 4),
        crowd=np.array([t[3] for t in truth], bool),
        ignored=np.array([t[4] for t in truth], bool),
        background=np.array([image not in seen for image in range(images)]),
        class_names=np.array([f"class {c}" for c in range(classes)]),
    )


def coco_eval(detections: Detections, times: Sequence[int] | None = None) -> Any:
    """Have pycocotools judge the same, with each image there so many times."""
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    times = [1] * detections.n_images if times is None else times
    copies = [image for image, n in enumerate(times) for _ in range(n)]
    wh = detections.true_box[:, 2:] - detections.true_box[:, :2]
    annotations: list[dict[str, Any]] = []
    results = []
    for new, image in enumerate(copies, start=1):
        for row in np.flatnonzero(detections.true_image == image).tolist():
            passed = detections.ignored[row] and not detections.crowd[row]
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": new,
                    "category_id": int(detections.true_label[row]) + 1,
                    "bbox": [*detections.true_box[row, :2].tolist(), *wh[row].tolist()],
                    "area": NEVER_COUNTED if passed else float(wh[row].prod()),
                    "iscrowd": int(detections.crowd[row]),
                }
            )
        for row in np.flatnonzero(detections.image == image).tolist():
            x1, y1, x2, y2 = detections.box[row].tolist()
            results.append(
                {
                    "image_id": new,
                    "category_id": int(detections.label[row]) + 1,
                    "bbox": [x1, y1, x2 - x1, y2 - y1],
                    "score": float(detections.score[row]),
                }
            )
    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO()
        truth.dataset = {
            "info": {},
            "images": [{"id": new} for new in range(1, len(copies) + 1)],
            "categories": [{"id": c + 1} for c in range(detections.n_classes)],
            "annotations": annotations,
        }
        truth.createIndex()
        evaluation = COCOeval(truth, truth.loadRes(results) if results else COCO(), "bbox")
        evaluation.params.imgIds = list(range(1, len(copies) + 1))
        evaluation.params.catIds = list(range(1, detections.n_classes + 1))
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return evaluation


def per_class(evaluation: Any) -> NDArray[np.float64]:
    """Give average precision of each class, NaN for -1."""
    precision = evaluation.eval["precision"][:, :, :, 0, 2]
    return np.where((precision > -1).all(axis=(0, 1)), precision.mean(axis=(0, 1)), np.nan)


def agree(detections: Detections) -> None:
    """Hold every number to COCOeval's."""
    theirs = coco_eval(detections)
    ours = detections.metrics()
    names = {"map": 0, "ap50": 1, "ap75": 2, "ap_small": 3, "ap_medium": 4, "ap_large": 5, "ar100": 8}
    stats = np.where(theirs.stats < -0.5, np.nan, theirs.stats)

    np.testing.assert_allclose([ours[name] for name in names], [stats[at] for at in names.values()], rtol=0, atol=1e-9)
    np.testing.assert_allclose(detections.per_class(np.ones((1, detections.n_images)))[0], per_class(theirs), rtol=0, atol=1e-9)
    curves = theirs.eval["precision"][0, :, :, 0, 2].T
    np.testing.assert_allclose(detections.precision_at_recalls(), np.where(curves < -0.5, np.nan, curves), rtol=0, atol=1e-9)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    seed=st.integers(0, 2**32),
    images=st.integers(1, 8),
    classes=st.integers(1, 4),
    objects=st.integers(0, 8),
    special=st.sampled_from([0.0, 0.2, 0.6]),
)
def test_every_score_is_that_of_coco_eval(seed: int, images: int, classes: int, objects: int, special: float) -> None:
    """MAP, AP50 and AP75, by size and by class, and recall; with crowd regions and objects that need not be found."""
    detections = drawn(seed, images=images, classes=classes, objects=objects, special=special)
    if len(detections.image):
        agree(detections)


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(seed=st.integers(0, 2**32), data=st.data())
def test_weights_on_images_are_as_images_that_are_there_several_times(seed: int, data: st.DataObject) -> None:
    """What a bootstrap rests on: COCOeval on copies of the images gives the same score for each class."""
    detections = drawn(seed, special=0.15)
    times = data.draw(st.lists(st.integers(0, 3), min_size=6, max_size=6).filter(lambda drawn_: sum(drawn_) > 0))
    if not any(times[image] for image in detections.image.tolist()):
        return

    ours = detections.per_class(np.array([times, [2 * n for n in times]], float))

    np.testing.assert_allclose(ours[0], per_class(coco_eval(detections, times)), rtol=0, atol=1e-9)
    np.testing.assert_allclose(ours[0], ours[1], rtol=0, atol=1e-12)


def test_more_than_a_hundred_detections_and_many_objects() -> None:
    """Only the hundred with the highest scores of an image and class count."""
    rng = np.random.default_rng(4)
    corners = rng.uniform(0, 900, (160, 2))
    boxes = np.concatenate([corners, corners + rng.uniform(10, 60, (160, 2))], axis=1)
    truth = [(0, 0, box, False, False) for box in boxes] + [(1, 1, boxes[0], False, False)]
    found = [(0, 0, float(rng.random()), box + rng.normal(0, 2, 4)) for box in boxes for _ in range(2)]

    detections = made(truth, found, 2, 2)

    agree(detections)
    assert detections.metrics()["ar100"] < 0.35


def test_real_labels_with_crowd_regions(shared_data: Any) -> None:
    """Objects of COCO's val2017, some of them made crowd regions, found by chance near their places: all 80 classes agree."""
    from dataset_doctor.formats import read

    dataset = read(shared_data / "coco_val2017_boxes")
    rng = np.random.default_rng(1)
    rows = np.flatnonzero(dataset.annotations.image < 200)
    number = dataset.annotations.image[rows].astype(np.int64)
    boxes, sides = dataset.boxes[rows], np.tile(dataset.boxes[rows, 2:] - dataset.boxes[rows, :2], 2)
    crowd = rng.random(len(rows)) < 0.05
    again = rng.integers(0, len(rows), 4_000)
    near = boxes[again] + rng.normal(0, 0.08, (4_000, 4)) * sides[again]
    near[:, 2:] = np.maximum(near[:, 2:], near[:, :2] + 1)
    detections = Detections(
        number[again],
        dataset.annotations.class_index[rows][again].astype(np.int64),
        rng.random(4_000).astype(np.float32),
        near,
        number,
        dataset.annotations.class_index[rows].astype(np.int64),
        boxes,
        crowd,
        crowd,
        np.bincount(number, minlength=200) == 0,
        np.array(dataset.class_names),
    )

    agree(detections)
    assert 0.1 < detections.metrics()["map"] < 0.9


def test_nothing_found_and_nothing_there() -> None:
    """No detection gives zeros, no object gives what is not known."""
    box = np.array([10.0, 10.0, 60.0, 60.0])
    blind, idle = made([(0, 0, box, False, False)], [], 2, 2), made([], [(0, 0, 0.9, box), (1, 0, 0.3, box)], 2, 1)

    assert blind.metrics()["map"] == 0 and blind.ap50() == 0 and blind.metrics()["ar100"] == 0
    assert np.isnan(blind.per_class(np.ones((3, 2)))[:, 1]).all()
    assert np.isnan(idle.metrics()["map"]) and idle.ap50() == 0
    assert idle.metrics()["false_positives_per_background_image"] == 0.5
    assert np.isnan(blind.per_class(np.array([[0.0, 1.0]]))).all(), "a resample without the object says nothing"


def test_false_alarms_and_misses_are_named() -> None:
    """The surest false alarm first; an object that only an unsure detection finds is missed."""
    left, middle, right = (np.array([x, 0.0, x + 40.0, 40.0]) for x in (0.0, 100.0, 200.0))
    truth = [(0, 0, left, False, False), (0, 0, middle, False, False), (0, 0, right, False, True)]
    found = [(0, 0, 0.9, left), (0, 0, 0.3, middle), (0, 0, 0.8, left + 1), (0, 0, 0.85, np.array([300.0, 0, 340, 40])), (0, 0, 0.7, right)]

    detections = made(truth, found, 1, 1)

    assert detections.wrong.tolist() == [3, 2]
    assert detections.missed.tolist() == [1]
    assert detections.instances.tolist() == [2]


def test_what_is_written_into_arrays_comes_back() -> None:
    """The arrays are all there is to it."""
    detections = drawn(5)

    again = Detections(**detections.arrays())

    assert again.metrics() == pytest.approx(detections.metrics(), nan_ok=True)
    assert len(IOUS) == 10 and again.class_names.tolist() == detections.class_names.tolist()
