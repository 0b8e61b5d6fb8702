"""The plan: what it counts, and that applying it gives exactly that."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dataset_doctor.dataset import Dataset, LabelState, concat
from dataset_doctor.plan import make_plan
from tests.drawing import draw
from tests.strategies import datasets

FOUR = """
classes: cat dog
a.jpg 100x80 train
  cat 10 10 50 50
  cat 20 20 30 30
  dog  0  0 10 10 crowd
b.jpg 100x80 train
  dog  5  5 15 25
c.jpg 100x80 val
  dog  5  5 15 25
d.jpg 100x80 train val background
"""


def test_a_plan_counts_instances_images_and_what_is_dropped() -> None:
    """`a` once, `b` three times, `d` no more in train: counted by hand."""
    dataset, _ = draw(FOUR)
    rows = np.array([0, 1, 1, 1, 2, 3])
    in_split = dataset.images.in_split[rows]
    in_split[5, dataset.splits.index("train")] = False

    plan = make_plan(dataset, rows, command="rebalance", method="oversample", split="train", in_split=in_split)

    assert [(c.name, c.before, c.after) for c in plan.classes] == [("cat", 2, 2), ("dog", 1, 3)]
    assert {c.name: (c.images_before, c.images_after) for c in plan.split_changes} == {"train": (3, 4), "val": (2, 2)}
    assert (plan.epoch_images, plan.distinct_images) == (4, 2)
    assert (plan.imbalance_ratio.before, plan.imbalance_ratio.after) == (2.0, 1.5)
    assert plan.effective_sample_share == pytest.approx(16 / 10 / 3)
    assert (plan.dropped.images, plan.dropped.instances, plan.dropped.records_with_errors) == (1, 0, 0)


def test_records_left_out_are_counted_named_and_gone() -> None:
    """A record left out is missing from the counts after; its image stays, as a background if nothing is left on it."""
    dataset, _ = draw(FOUR)

    plan = make_plan(dataset, np.arange(4), command="convert", left_out=np.array([3]))
    applied = plan.apply(dataset)

    assert [(c.before, c.after) for c in plan.classes] == [(2, 2), (2, 1)]
    assert plan.dropped.records_with_errors == 1 and len(plan.dropped.records) == 1
    assert applied.n_images == 4 and applied.images.label_state[1] == LabelState.BACKGROUND
    assert applied.n_annotations == dataset.n_annotations - 1


def test_repeats_share_their_picture() -> None:
    """The repeats of an image are known as such; the first of them is none."""
    dataset, _ = draw(FOUR)

    applied = make_plan(dataset, np.array([0, 1, 1, 2]), command="rebalance", split="train").apply(dataset)

    assert applied.images.is_repeat.tolist() == [False, False, True, False]
    assert not concat([applied, applied]).images.is_repeat[4:6].any(), "another dataset's images are others"


def test_the_document_is_plain_data_with_the_promised_keys() -> None:
    """The keys of the documented form are all there."""
    dataset, _ = draw(FOUR)

    document = make_plan(dataset, np.arange(4), command="split").to_dict()

    assert {
        "schema", "schema_version", "command", "method", "split", "seed", "classes", "splits", "epoch_images", "distinct_images",
        "disk_bytes", "imbalance_ratio", "effective_sample_share", "certificate", "dropped", "loses",
    } <= document.keys()  # fmt: skip
    assert (document["schema"], document["schema_version"], document["certificate"]) == ("dataset-doctor/plan", 1, None)


@given(datasets(), st.data())
def test_what_is_planned_is_what_applying_gives(dataset: Dataset, data: st.DataObject) -> None:
    """Class counts, images of the split, and the images that differ, for any rows and records left out."""
    n = dataset.n_images
    repeats = np.array(data.draw(st.lists(st.integers(0, 3), min_size=n, max_size=n)), int)
    left_out = np.array([row for row in range(dataset.n_annotations) if data.draw(st.booleans())], int)
    split = data.draw(st.sampled_from([None, *dataset.splits])) if dataset.splits else None

    plan = make_plan(dataset, np.repeat(np.arange(n), repeats), command="rebalance", split=split, left_out=left_out)
    applied = plan.apply(dataset)

    inside = applied.images.in_split[:, applied.splits.index(split)] if split is not None else np.ones(applied.n_images, bool)
    counts = np.asarray(applied.counts().toarray())[inside].sum(axis=0)
    assert [change.after for change in plan.classes] == counts.tolist()
    assert plan.epoch_images == inside.sum()
    assert plan.distinct_images == len(np.unique(applied.images.picture[inside]))
    assert [c.images_after for c in plan.split_changes] == applied.images.in_split.sum(axis=0).tolist()
