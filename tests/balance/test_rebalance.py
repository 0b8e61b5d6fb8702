"""`rebalance`: which split changes, in which order, what is said, and that the plan is what comes out."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import dataset_doctor as dd
from dataset_doctor.balance import SAMPLERS, rebalance
from dataset_doctor.dataset import Dataset, LabelState, take
from dataset_doctor.errors import UsageError
from dataset_doctor.plan import Plan
from tests.drawing import draw
from tests.strategies import datasets


def drawn(text: str) -> Dataset:
    return draw(text)[0]


def folders(counts: dict[str, int], more: str = "") -> Dataset:
    """Draw a folder dataset whose training split holds so many images of each class."""
    images = [f"train/{name}/{i}.jpg 9x9 train" for name, n in counts.items() for i in range(n)]
    return drawn("\n".join(["format: folder", "task: classify", f"classes: {' '.join(counts)}", *images, more]))


def boxes(cat: int, dog: int = 0, background: int = 0, *, form: str = "coco", unlabeled: int = 0) -> Dataset:
    """Draw images with one box each, and some without."""
    lines = [f"format: {form}", "classes: cat dog"]
    lines += [f"c{i}.jpg 9x9 train\n  cat 0 0 5 5" for i in range(cat)] + [f"d{i}.jpg 9x9 train\n  dog 0 0 5 5" for i in range(dog)]
    lines += [f"b{i}.jpg 9x9 train background" for i in range(background)]
    return drawn("\n".join([*lines, *(f"u{i}.jpg 9x9 train unlabeled" for i in range(unlabeled))]))


def after(plan: Plan) -> dict[str, int]:
    return {change.name: change.after for change in plan.classes}


def shown(plan: Plan, dataset: Dataset, state: LabelState) -> int:
    return int((dataset.images.label_state[plan.rows] == state).sum())


REPEATING = [name for name, sampler in SAMPLERS.items() if sampler.run is not None]

TWO_SPLITS = """
classes: cat dog
a.jpg 9x9 train
  cat 0 0 5 5
v.jpg 9x9 val
  dog 0 0 5 5
b.jpg 9x9 train val
  dog 0 0 5 5
c.jpg 9x9 train
  cat 0 0 5 5
d.jpg 9x9 train
  cat 0 0 5 5
"""


# The rows of the result ---------------------------------------------------------------------------------------------


@settings(max_examples=40, deadline=None)
@given(dataset=datasets(), data=st.data())
def test_the_plan_is_what_comes_out(dataset: Dataset, data: st.DataObject) -> None:
    """For every sampler: the class table, the images of each split and the epoch of the plan are those of the applied plan."""
    method = data.draw(st.sampled_from(sorted(REPEATING)))
    options = {
        "target": data.draw(st.sampled_from(["sqrt", "uniform", "floor:5"])),
        "background": data.draw(st.sampled_from(["keep", "1:2", "40%", "0%"])),
        "left_out": np.flatnonzero(data.draw(st.lists(st.booleans(), min_size=dataset.n_annotations, max_size=dataset.n_annotations))),
        "seed": data.draw(st.integers(0, 9)),
    }
    try:
        plan = rebalance(dataset, method=method, split=data.draw(st.sampled_from([None, *dataset.splits])), **options)
    except UsageError:
        return
    treated = plan.apply(dataset)

    column = treated.splits.index(plan.split or "")
    counted = take(treated.annotations, treated.annotations_in_split(column))
    counts = dataclasses.replace(treated, annotations=counted).counts()
    assert (counts.T @ treated.images.in_split[:, column].astype(int)).tolist() == [change.after for change in plan.classes]
    assert treated.images.in_split.sum(axis=0).tolist() == [change.images_after for change in plan.split_changes]
    assert plan.epoch_images == treated.images.in_split[:, column].sum()
    again = rebalance(dataset, method=method, split=plan.split, **options)
    assert np.array_equal(plan.rows, again.rows) and plan.notes == again.notes
    # Other splits keep their images, once and in their order.
    for other in range(len(dataset.splits)):
        if other != column:
            assert plan.rows[plan.in_split[:, other]].tolist() == np.flatnonzero(dataset.images.in_split[:, other]).tolist()


def test_repeats_follow_their_image_and_stay_in_the_split_that_changes() -> None:
    """Dogs of the training split are doubled up to three; `b.jpg` is in val as well, but its repeats are not."""
    dataset = drawn(TWO_SPLITS)
    plan = rebalance(dataset, method="oversample", target="uniform", budget=2)

    assert dataset.images.file_name[plan.rows].tolist() == ["a.jpg", "v.jpg", "b.jpg", "b.jpg", "b.jpg", "c.jpg", "d.jpg"]
    assert plan.in_split.tolist() == [
        [True, False],
        [False, True],
        [True, True],
        [True, False],
        [True, False],
        [True, False],
        [True, False],
    ]
    assert after(plan) == {"cat": 3, "dog": 3}
    assert (plan.command, plan.method, plan.split, plan.seed) == ("rebalance", "oversample", "train", 0)


def test_an_image_that_is_dropped_here_stays_in_its_other_split() -> None:
    """Of four cats in train, three of them also in val, one is kept in train and all in val."""
    dataset = drawn("classes: cat dog\n" + "".join(f"{i}.jpg 9x9 train {'val' if i else ''}\n  cat 0 0 5 5\n" for i in range(4))
                    + "d.jpg 9x9 train\n  dog 0 0 5 5")  # fmt: skip
    plan = rebalance(dataset, method="undersample", target="uniform")

    assert plan.in_split.sum(axis=0).tolist() == [2, 3]
    assert plan.dropped.images == 3 and len(plan.rows) >= 4


def test_records_that_are_left_out_count_nowhere() -> None:
    """Without its box, `b.jpg` is no reason to repeat it; the image stays."""
    dataset = drawn(TWO_SPLITS)
    plan = rebalance(dataset, method="oversample", target="uniform", budget=2, left_out=np.array([2]))

    assert after(plan) == {"cat": 3, "dog": 0} and plan.epoch_images == 4


def test_crowd_and_ignored_records_are_no_instances() -> None:
    """An image with a crowd region alone is a positive that is shown once, and nothing is dropped for it."""
    dataset = drawn(
        "classes: cat dog\na.jpg 9x9\n  cat 0 0 5 5 crowd\nb.jpg 9x9\n  dog 0 0 5 5\nc.jpg 9x9\n  dog 0 0 5 5\n  cat 0 0 5 5\nd.jpg 9x9 background"
    )
    plan = rebalance(dataset, method="oversample", target="floor:3", budget=2, background="0%")

    assert after(plan) == {"cat": 3, "dog": 4}
    assert dataset.images.file_name[plan.rows].tolist().count("a.jpg") == 1
    assert "d.jpg" not in dataset.images.file_name[plan.rows]


# Which split, which method ------------------------------------------------------------------------------------------


def test_the_split_is_train_or_the_only_one() -> None:
    """Where there are several and none is train, it has to be named; canonical names and the source's spelling are both understood."""
    assert rebalance(drawn(TWO_SPLITS), method="none").split == "train"
    assert rebalance(drawn("classes: cat\na.jpg 9x9 val\n  cat 0 0 5 5"), method="none").split == "val"
    two = drawn("classes: cat\na.jpg 9x9 val\n  cat 0 0 5 5\nb.jpg 9x9 test\n  cat 0 0 5 5")
    two = dataclasses.replace(two, split_spelling=("test", "valid"), splits=("test", "val"))
    assert rebalance(two, method="none", split="valid").split == "val"
    with pytest.raises(UsageError, match="no train split") as error:
        rebalance(two, method="none")
    assert error.value.hint == 'Give split="test or val".'
    with pytest.raises(UsageError, match='split="tets"') as error:
        rebalance(two, method="none", split="tets")
    assert error.value.hint == "Did you mean test?"


def test_by_default_folders_are_oversampled_and_boxes_repeated_where_that_helps() -> None:
    """From an imbalance of ten on; below, and where repeats change nothing, the plan changes nothing and says why."""
    assert rebalance(folders({"cat": 400, "dog": 25})).method == "oversample"
    assert rebalance(boxes(160, 16)).method == "repeat_factor"
    for dataset, word in (
        (boxes(159, 16), "9.9 ×"),
        (drawn("classes: a b\n" + ("x.jpg 9x9 x9\n" + "  a 0 0 5 5 x12\n  b 0 0 5 5\n")), "share images"),
    ):
        plan = rebalance(dataset)
        assert plan.method == "none" and np.array_equal(plan.rows, np.arange(dataset.n_images)) and word in plan.notes[0]


@pytest.mark.parametrize(
    ("options", "words", "hint"),
    [
        ({"method": "oversampel"}, 'method="oversampel" is not known', "Did you mean oversample?"),
        ({"method": "imblearn:RandomOverSampler"}, "for image folders", "Choose from"),
        ({"method": "imblearn:SMOTE"}, "chooses among images", ""),
        ({"method": "none", "budget": 0}, "budget must be positive, got 0", "1.5"),
        ({"method": "none", "budget": float("nan")}, "budget must be positive, got nan", ""),
        ({"method": "oversample", "budget": 0.5}, "oversample drops no image", "undersample"),
        ({"method": "none", "max_repeat": 0}, "max_repeat must be between 1 and 1,000,000, got 0", ""),
        ({"method": "none", "seed": -1}, "seed must be at least 0, got -1", ""),
        ({"method": "repeat_factor", "threshold": -1}, "threshold must be positive, got -1", ""),
        ({"method": "oversample", "threshold": 0.1}, "threshold is for", "none"),
        ({"method": "oversample", "target": "uniforn"}, 'target="uniforn"', "Did you mean uniform?"),
        ({"method": "oversample", "target": "floor:-3"}, "whole number", "floor:200"),
        ({"method": "oversample", "target": "floor:many"}, "whole number", ""),
        ({"method": "oversample", "target": "nowhere.csv"}, 'nowhere.csv": no such file', ""),
        ({"method": "none", "background": "lots"}, 'background="lots"', "1:3"),
        ({"method": "none", "background": "0:1"}, 'background="0:1"', ""),
        ({"method": "none", "background": "100%"}, 'background="100%"', ""),
        ({"method": "none", "background": "1:-2"}, 'background="1:-2"', ""),
    ],
    ids=lambda value: " ".join(map(str, value.values())) if isinstance(value, dict) else "",
)
def test_what_cannot_be_used_is_said(options: dict[str, object], words: str, hint: str) -> None:
    """One line that names the option and its value, and what to do."""
    with pytest.raises(UsageError) as error:
        rebalance(boxes(20, 2, 3), **options)  # type: ignore[arg-type]

    assert words.casefold() in error.value.message.casefold() and hint in error.value.hint


@pytest.mark.parametrize("method", [None, *(name for name in REPEATING if name != "none")])
@pytest.mark.parametrize("text", ["classes: cat", "classes: cat\na.jpg 9x9 background\nb.jpg 9x9 unlabeled", "classes:\na.jpg 9x9",
                                  "classes: cat\na.jpg 9x9\n  ? 0 0 5 5"])  # fmt: skip
def test_without_images_or_instances_there_is_nothing_to_balance(method: str | None, text: str) -> None:
    """An error, not an empty dataset."""
    with pytest.raises(UsageError, match="nothing to balance"):
        rebalance(drawn(text), method=method)


# Targets ------------------------------------------------------------------------------------------------------------


def test_targets_are_final_counts() -> None:
    """Square root, equality and a floor; dropping comes down to the smallest class where repeating goes up to the largest."""
    dataset = folders({"cat": 400, "dog": 100, "cow": 25})
    options = {"budget": 9.0, "max_repeat": 99}

    assert after(rebalance(dataset, method="oversample", **options)) == {"cat": 400, "dog": 200, "cow": 100}
    assert after(rebalance(dataset, method="oversample", target="uniform", **options)) == {"cat": 400, "dog": 400, "cow": 400}
    assert after(rebalance(dataset, method="oversample", target="floor:150", **options)) == {"cat": 400, "dog": 150, "cow": 150}
    assert after(rebalance(dataset, method="undersample")) == {"cat": 100, "dog": 50, "cow": 25}
    assert after(rebalance(dataset, method="undersample", target="uniform")) == {"cat": 25, "dog": 25, "cow": 25}
    assert after(rebalance(dataset, method="undersample", target="floor:150")) == {"cat": 150, "dog": 100, "cow": 25}
    assert after(rebalance(dataset, method="hybrid", target="uniform")) == {"cat": 175, "dog": 175, "cow": 175}
    assert after(rebalance(dataset, method="hybrid", target="sqrt")) == {"cat": 300, "dog": 150, "cow": 75}  # 525 · 20 ÷ 35 …


def test_a_file_gives_the_target_of_the_classes_it_names(tmp_path: Path) -> None:
    """With a head line in any order of columns, or without one; a class that it does not name is left as it is."""
    dataset = folders({"cat": 40, "dog": 10, "cow": 5})
    for text in ("count,note,class\n20,x,dog\n", "dog,20\n\n", "\ufeffclass,count\ndog,20"):
        (tmp_path / "t.csv").write_text(text, encoding="utf-8")
        plan = rebalance(dataset, method="oversample", target=str(tmp_path / "t.csv"))
        assert after(plan) == {"cat": 40, "dog": 20, "cow": 5}
        assert plan.notes == ("Ignored when balancing: cat, cow.",)


@pytest.mark.parametrize(
    ("text", "words", "hint"),
    [
        ("class,count\ndgo,5", "t.csv:2: the dataset has no class dgo", "Did you mean dog?"),
        ("class,count\ndog,-5", "t.csv:2: -5 is not a count", ""),
        ("class,count\ndog,nan", "nan is not a count", ""),
        ("class,count\ndog,inf", "inf is not a count", ""),
        ("class,count\ndog,", "nothing is not a count", ""),
        ("class,count\ndog", "t.csv:2 has no class and count", ""),
        ("class,count\ndog,1\ndog,2", "t.csv:3: dog has a count already", ""),
        ("class,count\n", "names no class", ""),
        ("", "names no class", ""),
        ("\0\0\0", "t.csv", ""),
    ],
)
def test_a_file_that_cannot_be_used_is_an_error_with_its_line(tmp_path: Path, text: str, words: str, hint: str) -> None:
    """The class is matched against the dataset's, the count must be a number from 0 on."""
    (tmp_path / "t.csv").write_text(text, encoding="utf-8")

    with pytest.raises(UsageError) as error:
        rebalance(boxes(9, 3), method="oversample", target=str(tmp_path / "t.csv"))
    assert words in error.value.message and hint in error.value.hint


def test_classes_that_miss_their_target_are_named_with_the_reason(tmp_path: Path) -> None:
    """Too few images to repeat, no image at all, the budget, and what comes along."""
    dataset = folders({"cat": 100, "dog": 10, "cow": 1})
    assert rebalance(dataset, method="oversample", target="uniform", budget=9).notes == (
        "Not reachable with at most 10 showings an image, so collect more: cow 10 of 100.",
    )
    assert rebalance(dataset, method="oversample", target="uniform", budget=1.5).notes[1:] == (
        "The budget of 1.5 × ends before the target: dog 56 of 100.",
    )
    (tmp_path / "t.csv").write_text("cat,50\nox,3")
    mixed = drawn("classes: cat dog ox\n" + "a.jpg 9x9 x60\n  cat 0 0 5 5\n" + "b.jpg 9x9\n  cat 0 0 5 5\n  dog 0 0 5 5")
    notes = rebalance(mixed, method="oversample", target=str(tmp_path / "t.csv")).notes
    assert notes[0] == "No image to repeat: ox 0 of 3."
    assert notes[1] == "Above the target, since an image takes all its classes along and none is dropped: cat 61 of 50."


def test_what_is_dropped_is_said() -> None:
    """Images and instances, by class."""
    plan = rebalance(folders({"cat": 40, "dog": 10}), method="undersample", target="floor:15")

    assert plan.notes == ("25 images dropped, with 25 instances: cat 25.",)
    assert (plan.dropped.images, plan.dropped.instances) == (25, 25)


def test_a_rule_of_its_own_does_not_look_at_the_target() -> None:
    """And says so, where one was asked for; the threshold that was chosen is said too."""
    notes = rebalance(boxes(160, 16), method="repeat_factor", target="uniform").notes

    assert notes == (
        "repeat_factor has a rule of its own: the target uniform is not looked at.",
        "Images are repeated for classes with a frequency below 83 %, the 90% quantile of the classes.",
    )
    lowered = rebalance(boxes(160, 16), method="repeat_factor", threshold=0.9, budget=1.1).notes[-1]
    assert lowered.endswith("The threshold asked for, 0.9, goes beyond the budget of 1.1 ×.")


def test_a_class_named_after_a_doubt_is_neither_repeated_nor_dropped() -> None:
    """Ten images of something unknown stay ten, whatever the others do."""
    dataset = folders({"cat": 100, "unknown": 2, "dog": 10})

    assert after(rebalance(dataset, method="oversample", budget=9))["unknown"] == 2
    assert after(rebalance(dataset, method="undersample")) == {"cat": 32, "unknown": 2, "dog": 10}  # sqrt(100 · 10)
    assert after(rebalance(dataset, method="repeat_factor", threshold=1.0, budget=9))["unknown"] == 2


# Backgrounds --------------------------------------------------------------------------------------------------------


def test_backgrounds_stay_as_they_are_unless_asked() -> None:
    """They count in the budget and are shown once."""
    dataset = boxes(20, 2, background=6)
    for method in REPEATING:
        plan = rebalance(dataset, method=method)
        assert shown(plan, dataset, LabelState.BACKGROUND) == 6


@pytest.mark.parametrize(
    ("background", "expected"), [("1:2", 44), ("2:1", 11), ("10%", 2), ("50%", 22), ("0%", 0), ("1:0", 0), ("60 %", 33), ("1 : 1", 22)]
)
def test_surplus_backgrounds_are_dropped_at_random_and_never_a_positive(background: str, expected: int) -> None:
    """22 positives and 44 backgrounds: a ratio of positive : background, or a share of all."""
    dataset = boxes(20, 2, background=44)
    plan = rebalance(dataset, method="none", background=background)

    assert (shown(plan, dataset, LabelState.BACKGROUND), shown(plan, dataset, LabelState.LABELED)) == (expected, 22)
    seeds = [rebalance(dataset, method="none", background="10%", seed=seed).rows.tolist() for seed in range(5)]
    assert len({tuple(rows) for rows in seeds}) > 1


def test_missing_backgrounds_are_repeated_in_turn_as_far_as_limits_allow() -> None:
    """Ten backgrounds to twenty; what repeats or the budget cannot give is said."""
    dataset = boxes(10, background=10)
    plan = rebalance(dataset, method="none", background="1:2", budget=1.5)
    assert shown(plan, dataset, LabelState.BACKGROUND) == 20 and plan.notes == ()
    assert np.bincount(plan.rows)[10:].tolist() == [2] * 10
    plan = rebalance(dataset, method="none", background="1:3", budget=1.5)
    assert plan.epoch_images == 30 and plan.notes == ("The budget leaves 20 of 30 background images for 1:3: raise it to 2.",)
    assert rebalance(dataset, method="none", background="1:3", budget=2).epoch_images == 40
    plan = rebalance(boxes(20, background=1), method="none", background="1:1", budget=9)
    assert plan.epoch_images == 30
    assert plan.notes == (
        "1:1 takes 20 background images, and the 1 background shown 10 times give 10: collect 10 more, or 1 more shown as often.",
    )
    plan = rebalance(boxes(20), method="none", background="1:1", budget=9)
    assert plan.notes == ("1:1 takes 20 background images, and there is none: collect 20 more.",)


def test_backgrounds_are_counted_against_the_positives_of_the_result() -> None:
    """The sampler comes first: forty positives ask for twenty backgrounds, and the budget has room for both."""
    dataset = boxes(20, 2, background=6)
    plan = rebalance(dataset, method="oversample", target="uniform", background="2:1", budget=3)

    assert after(plan) == {"cat": 20, "dog": 20} and shown(plan, dataset, LabelState.BACKGROUND) == 20
    tight = rebalance(dataset, method="oversample", target="uniform", background="2:1", budget=1.5)
    assert tight.epoch_images == 42 and shown(tight, dataset, LabelState.BACKGROUND) == 14 and after(tight) == {"cat": 20, "dog": 8}


def test_an_unlabeled_image_is_background_to_yolo_trainers_alone() -> None:
    """It counts there and is never dropped; elsewhere it is no background."""
    yolo, coco = (boxes(10, background=6, unlabeled=4, form=form) for form in ("yolo", "coco"))

    assert shown(plan := rebalance(yolo, method="none", background="1:1"), yolo, LabelState.BACKGROUND) == 6 and plan.notes == ()
    assert shown(rebalance(coco, method="none", background="1:1", budget=2), coco, LabelState.BACKGROUND) == 10
    plan = rebalance(yolo, method="none", background="0%")
    assert (shown(plan, yolo, LabelState.BACKGROUND), shown(plan, yolo, LabelState.UNLABELED)) == (0, 4)
    assert "4 images without a label file stay" in plan.notes[-1]


def test_all_images_background_is_an_error_where_backgrounds_would_go() -> None:
    """Nothing would be left."""
    with pytest.raises(UsageError, match="no positive image"):
        rebalance(boxes(0, background=3), method="none", background="1:2")
    assert rebalance(boxes(0, background=3), method="none").epoch_images == 3


def test_a_budget_that_cannot_be_kept_is_said() -> None:
    """Backgrounds stay unless asked otherwise, so that half of the images cannot be reached."""
    plan = rebalance(boxes(10, 2, background=20), method="undersample", budget=0.5)

    assert plan.notes[-1] == "The budget of 0.5 × cannot be kept: 22 images stay where it allows 16."


# Real datasets ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("folder", ["aquarium_yolo", "clothing64", "bccd_voc", "coco_val2017_boxes"])
def test_the_default_is_what_the_audit_recommends(shared_data: Path, folder: str) -> None:
    """The first recommendation that balances and the default method give one plan; where none balances, nothing changes."""
    dataset = dd.read(shared_data / folder)
    wanted = next((r for r in dd.audit(dataset).recommendations if r.action in ("oversample", "repeat_factor")), None)
    plan = rebalance(dataset)

    assert plan.method == ("none" if wanted is None else wanted.action)
    if wanted is not None and wanted.expected is not None:
        assert wanted.expected.classes == tuple((c.name, c.before, c.after) for c in plan.classes)


def test_what_is_repeated_on_purpose_is_no_drift_between_splits() -> None:
    """The audit of a balanced copy compares images, not showings; copies that nobody states to be such still count."""
    lines = ["format: folder", "task: classify", "classes: cat dog"]
    lines += [f"{split}/{name}/{at}.jpg 100x80 {split}" for split, counts in (("train", (400, 40)), ("val", (200, 20)))
              for name, n in zip(("cat", "dog"), counts, strict=True) for at in range(n)]  # fmt: skip
    dataset = drawn("\n".join(lines))
    balanced = rebalance(dataset, method="oversample", target="uniform", budget=2).apply(dataset)

    def drifts(one: Dataset) -> bool:
        return "split-drift" in {finding.name for finding in dd.audit(one).findings}

    assert balanced.n_images > dataset.n_images + 300
    assert not drifts(dataset) and not drifts(balanced)
    unstated = dataclasses.replace(balanced.images, picture=np.arange(balanced.n_images, dtype=np.int32))
    assert drifts(dataclasses.replace(balanced, images=unstated))
