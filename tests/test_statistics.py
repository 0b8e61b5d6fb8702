"""The statistics: hand-counted datasets, and formulas against independent computations."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given

from dataset_doctor.dataset import Dataset
from dataset_doctor.statistics import (
    ShapeCount,
    SizeCount,
    entropy,
    gini,
    imbalance_per_label,
    scumble,
    statistics,
    training_memory_gib,
)
from tests.drawing import draw
from tests.strategies import datasets

FARM = """
classes: cow hen dog
a.jpg 100x100 train
  cow 0 0 10 10
  cow 0 0 40 40
  hen 10 10 20 30
b.jpg 200x100 train
  cow 0 0 100 100
  hen 5 5 7 7 crowd
c.jpg 100x100 val
  cow 0 0 31 33 difficult
d.jpg 100x100 val background
e.jpg 100x100 val unlabeled
"""


def test_summary_of_a_hand_counted_dataset() -> None:
    """Totals, ratios and shares as counted by hand."""
    summary = statistics(draw(FARM)[0]).summary

    assert (summary.images, summary.annotations, summary.instances, summary.crowd, summary.difficult) == (5, 6, 5, 1, 1)
    assert (summary.classes, summary.classes_used) == (3, 2)
    assert (summary.positive_images, summary.background_images, summary.unlabeled_images) == (3, 1, 1)
    assert summary.positive_negative_ratio == 3.0
    assert summary.background_share == 0.2
    assert summary.imbalance_ratio == 4.0
    assert summary.mean_ir == 2.0  # cow in 3 images, hen in 1: ratios 1 and 3
    assert summary.cvir == pytest.approx(math.sqrt(2) / 2)
    assert summary.gini == pytest.approx(0.3)  # counts 1 and 4: (−1·1 + 1·4) ÷ (2·5)
    assert summary.effective_classes == pytest.approx(math.exp(-(0.8 * math.log(0.8) + 0.2 * math.log(0.2))))


def test_scumble_by_hand() -> None:
    """One of three labelled images mixes ratios 1 and 3: 1 − √3 ÷ 2, over three."""
    assert statistics(draw(FARM)[0]).summary.scumble == pytest.approx((1 - math.sqrt(3) / 2) / 3)


def test_class_rows_list_every_declared_class_with_its_splits() -> None:
    """A declared class without instances is listed with zeros and no group."""
    tables = statistics(draw(FARM)[0])

    cow, hen, dog = tables.classes
    assert (cow.images, cow.instances, cow.share, cow.group) == (3, 4, 0.8, "rare")
    assert [(s.images, s.instances) for s in cow.splits] == [(2, 3), (1, 1)]
    assert (hen.images, hen.instances) == (1, 1)
    assert (dog.images, dog.instances, dog.share, dog.group) == (0, 0, 0.0, None)


def test_split_rows() -> None:
    """Each split counts its own images, records and states."""
    train, val = statistics(draw(FARM)[0]).splits

    assert (train.name, train.images, train.annotations, train.instances) == ("train", 2, 5, 4)
    assert (val.images, val.background_images, val.unlabeled_images) == (3, 1, 1)


@pytest.mark.parametrize(("images", "group"), [(10, "rare"), (11, "common"), (100, "common"), (101, "frequent")])
def test_groups_change_after_10_and_100_images(images: int, group: str) -> None:
    """LVIS's groups: rare up to 10 images, common up to 100, frequent above."""
    text = "classes: cat\n" + "".join(f"{i}.jpg 9x9\n  cat 1 1 2 2\n" for i in range(images))

    assert statistics(draw(text)[0]).classes[0].group == group


def test_size_bands_begin_at_32_and_96_squared() -> None:
    """An area of exactly 32² is medium and of exactly 96² large."""
    text = "classes: c\na.jpg 200x200\n  c 0 0 32 31\n  c 0 0 32 32\n  c 0 0 96 95\n  c 0 0 96 96"

    boxes = statistics(draw(text)[0]).boxes

    assert boxes is not None
    assert (boxes.small, boxes.medium, boxes.large) == (1, 2, 1)


def test_per_image_counts_images_without_boxes() -> None:
    """The median and mean are over all images."""
    boxes = statistics(draw(FARM)[0]).boxes

    assert boxes is not None
    assert boxes.per_image is not None
    assert (boxes.per_image.min, boxes.per_image.median, boxes.per_image.mean, boxes.per_image.max) == (0, 1.0, 1.0, 3)


def test_heatmap_counts_centres_by_row_and_column() -> None:
    """A centre at 95 % across and 5 % down lies in the last column of the first row."""
    boxes = statistics(draw("classes: c\na.jpg 100x100\n  c 90 0 100 10\n  c 190 0 200 10")[0]).boxes

    assert boxes is not None
    assert boxes.centre_heatmap[0][9] == 1
    assert sum(map(sum, boxes.centre_heatmap)) == 1


def test_shapes_count_boxes_by_size_and_aspect() -> None:
    """8 x 8 and 16 x 4 are both 8 px in size, at aspects 1 and 4; 9 x 9 is in the cell of 8 x 8; a box without area is in none."""
    boxes = statistics(draw("classes: c\na.jpg 100x100\n  c 0 0 8 8\n  c 0 0 16 4\n  c 1 1 10 10\n  c 5 5 5 9")[0]).boxes

    assert boxes is not None
    assert boxes.shapes == (ShapeCount(8.0, 1.0, 2), ShapeCount(8.0, 4.0, 1))


def test_image_sizes_are_counted_and_many_are_merged() -> None:
    """The most frequent size comes first; 400 sizes of one octave become eight or nine, and no image is lost."""
    few = statistics(draw(FARM)[0]).resolution.sizes
    many = statistics(draw("classes: c\n" + "\n".join(f"{at}.jpg {1000 + at}x100 background" for at in range(400)))[0]).resolution

    assert few == (SizeCount(100, 100, 4), SizeCount(200, 100, 1))
    assert many.distinct == 400
    assert len(many.sizes) < 10 and sum(size.images for size in many.sizes) == 400


def test_resolution_quantiles_are_numpys() -> None:
    """Widths 100 and 200 have the linear median of their five values."""
    resolution = statistics(draw(FARM)[0]).resolution

    assert (resolution.source, resolution.distinct) == ("files", 2)
    assert (resolution.width.min, resolution.width.median, resolution.width.p95) == (100, 100, pytest.approx(180))
    assert resolution.megapixels.max == 0.02


def test_co_occurrence_and_lift() -> None:
    """Cow and hen share one image of five; apart they are in three and one."""
    pairs = statistics(draw(FARM)[0]).co_occurrence

    assert [(p.classes, p.images) for p in pairs] == [(("cow", "hen"), 1)]
    assert pairs[0].lift == pytest.approx(1 * 5 / (3 * 1))


def test_an_empty_dataset_has_no_undefined_numbers() -> None:
    """Without images every ratio is None and every count zero."""
    summary = statistics(draw("classes: cat")[0]).summary

    assert summary.images == 0
    assert summary.imbalance_ratio is None
    assert summary.evenness is None
    assert summary.scumble is None


def test_gini_against_the_mean_absolute_difference() -> None:
    """The rank formula equals half the relative mean absolute difference."""
    counts = np.array([3, 14, 15, 92, 65])
    mean_difference = np.abs(counts[:, None] - counts).mean()

    assert gini(counts) == pytest.approx(mean_difference / (2 * counts.mean()))


def test_entropy_against_scipy() -> None:
    """The entropy of the shares is scipy's."""
    from scipy.stats import entropy as oracle

    assert entropy(np.array([3, 14, 0, 92])) == pytest.approx(float(oracle([3, 14, 92])))


def test_scumble_uses_only_the_labels_an_image_holds() -> None:
    """The worked example of Charte et al. computed label by label."""
    from scipy import sparse

    holds = np.array([[1, 1, 0], [1, 0, 0], [1, 0, 1], [1, 0, 1], [0, 0, 0]])
    ratios = imbalance_per_label(holds.sum(axis=0))
    expected = []
    for row in holds[:4]:
        own = ratios[row > 0]
        expected.append(1 - own.prod() ** (1 / len(own)) / own.mean())

    assert scumble(sparse.csr_array(holds)) == pytest.approx(np.mean(expected))


def test_memory_grows_with_pixels_and_batch() -> None:
    """Twice the pixels or twice the batch doubles the activations' part."""
    base = training_memory_gib(0, 0, 1)

    assert training_memory_gib(640, 640, 8) - base == pytest.approx((training_memory_gib(1280, 640, 8) - base) / 2)
    assert training_memory_gib(640, 640, 8) - base == pytest.approx((training_memory_gib(640, 640, 16) - base) / 2)


@given(dataset=datasets())
def test_parts_add_up(dataset: Dataset) -> None:
    """States add up to images, class rows to the count matrix, bands to the boxes measured."""
    tables = statistics(dataset)
    summary = tables.summary

    assert summary.positive_images + summary.background_images + summary.unlabeled_images == summary.images
    assert sum(row.instances for row in tables.classes) == dataset.counts().sum() <= summary.instances <= summary.annotations
    assert tables.boxes is not None
    assert tables.boxes.small + tables.boxes.medium + tables.boxes.large == summary.instances
    assert summary.classes_used == sum(row.instances > 0 for row in tables.classes)
