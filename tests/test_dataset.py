"""The Dataset: counts, selection, union and views."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dataset_doctor.dataset import Dataset, LabelState, concat
from tests.drawing import draw
from tests.strategies import datasets

TWO_SPLITS = """
classes: cat dog
a.jpg 100x80 train
  cat 10 10 50 50
  cat 20 20 30 30 crowd
  dog  0  0 10 10 ignore
b.jpg 100x80 val
  dog  5  5 15 25
  ?    1  1  2  2
c.jpg 100x80 train val background
"""


def test_counts_leave_out_crowd_ignored_and_undeclared() -> None:
    """Only instances of declared classes enter the count matrix."""
    dataset, _ = draw(TWO_SPLITS)

    assert dataset.counts().toarray().tolist() == [[1, 0], [0, 1], [0, 0]]


def test_select_repeats_images_with_their_annotations_in_the_order_given() -> None:
    """A row named twice becomes two images, each with all its annotations."""
    dataset, _ = draw(TWO_SPLITS)

    chosen = dataset.select(np.array([1, 0, 1]))

    assert chosen.images.file_name.tolist() == ["b.jpg", "a.jpg", "b.jpg"]
    assert chosen.annotations.image.tolist() == [0, 0, 1, 1, 1, 2, 2]
    assert chosen.annotations.line.tolist() == [8, 9, 4, 5, 6, 8, 9]


def test_select_takes_a_mask() -> None:
    """A Boolean mask keeps the images where it is true."""
    dataset, _ = draw(TWO_SPLITS)

    assert dataset.select(np.array([False, True, False])).images.file_name.tolist() == ["b.jpg"]


def test_concat_unites_classes_and_splits_by_name() -> None:
    """Classes and splits of the second dataset find their places in those of the first."""
    first, _ = draw("classes: cat dog\na.jpg 9x9 train\n  dog 1 1 2 2")
    second, _ = draw("classes: dog\nb.jpg 9x9 val\n  dog 1 1 2 2\nc.jpg 9x9 train")
    second = dataclasses.replace(second, classes=(first.classes[1],))

    both = concat([first, second])

    assert both.class_names == ("cat", "dog")
    assert both.splits == ("train", "val")
    assert both.counts().toarray().tolist() == [[0, 1], [0, 1], [0, 0]]
    assert both.images.in_split.tolist() == [[True, False], [False, True], [True, False]]
    assert both.annotations.source.tolist() == [0, 1]


@pytest.mark.parametrize(
    ("origin", "expected"),
    [("1-based", [9, 19, 30, 40]), ("unknown", [9, 19, 30, 40]), ("0-based", [10, 20, 31, 41]), ("half-open", [10, 20, 30, 40])],
)
def test_boxes_are_half_open_whatever_the_corners_count_from(origin: str, expected: list[int]) -> None:
    """VOC corners become 0-based half-open boxes; the numbers as written stay in `corners`."""
    dataset, _ = draw(f"format: voc\nvoc_origin: {origin}\nclasses: cat\na.jpg 99x99\n  cat 10 20 30 40")

    assert dataset.boxes.tolist() == [expected]
    assert dataset.annotations.corners.tolist() == [[10, 20, 30, 40]]


def test_sizes_prefer_the_label_and_fall_back_to_the_file() -> None:
    """Boxes are judged against the size their own file declares; without one, against the picture's."""
    dataset, _ = draw("classes: cat\na.jpg 100x80\nb.jpg ?\nc.jpg ?")
    images = dataclasses.replace(dataset.images, file_width=np.array([50, 70, -1], np.int32), file_height=np.array([40, 60, -1], np.int32))

    sizes = dataclasses.replace(dataset, images=images).sizes

    assert sizes[:2].tolist() == [[100, 80], [70, 60]]
    assert np.isnan(sizes[2]).all()


def test_a_record_of_another_split_file_does_not_count_in_a_split() -> None:
    """When two files describe one image, each split counts only the records of its own file."""
    dataset, _ = draw("classes: cat\na.jpg 9x9 train val\n  cat 1 1 2 2\n  cat 1 1 3 3\n  cat 1 1 4 4")
    annotations = dataclasses.replace(dataset.annotations, source=np.array([0, 1, 1], np.int32))
    dataset = dataclasses.replace(dataset, sources=("t.json", "v.json"), source_split=np.array([0, 1], np.int16), annotations=annotations)

    assert dataset.annotations_in_split(0).sum() == 1
    assert dataset.annotations_in_split(1).sum() == 2


def test_an_image_with_annotations_cannot_be_background() -> None:
    """The invariants are checked when a dataset is made."""
    dataset, _ = draw(TWO_SPLITS)
    wrong = dataset.images.label_state.copy()
    wrong[0] = LabelState.BACKGROUND

    with pytest.raises(AssertionError):
        dataclasses.replace(dataset, images=dataclasses.replace(dataset.images, label_state=wrong))


def test_frames_show_the_columns() -> None:
    """The pandas views hold a row a record with readable values."""
    dataset, _ = draw(TWO_SPLITS)

    assert dataset.images_frame()["split"].tolist() == ["train", "val", "train+val"]
    assert dataset.annotations_frame()["class"].tolist()[:4] == ["cat", "cat", "dog", "dog"]
    assert dataset.annotations_frame()["crowd"].tolist() == [False, True, False, False, False]
    assert dataset.classes_frame()["instances"].tolist() == [1, 1]


def test_repr_says_what_is_inside() -> None:
    """A notebook shows counts, not arrays."""
    dataset, _ = draw(TWO_SPLITS)

    assert repr(dataset) == "<Dataset coco (drawn): 3 images (train 2, val 2), 5 annotations, 2 classes, 0 problems>"


@given(dataset=datasets(), data=st.data())
def test_selecting_rows_conserves_counts(dataset: Dataset, data: st.DataObject) -> None:
    """The counts of a selection are the selected rows of the counts."""
    rows = data.draw(st.lists(st.integers(0, max(dataset.n_images - 1, 0)), max_size=20 if dataset.n_images else 0))
    rows_array = np.array(rows, np.intp)

    chosen = dataset.select(rows_array)

    assert np.array_equal(chosen.counts().toarray(), dataset.counts().toarray()[rows_array])
    assert chosen.n_annotations == sum(int((dataset.annotations.image == row).sum()) for row in rows)


@given(first=datasets(), second=datasets())
def test_concat_conserves_totals(first: Dataset, second: Dataset) -> None:
    """Nothing is lost or doubled when datasets are put together."""
    both = concat([first, second])

    assert both.n_images == first.n_images + second.n_images
    assert both.counts().sum() == first.counts().sum() + second.counts().sum()
