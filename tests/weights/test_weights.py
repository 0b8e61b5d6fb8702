"""Class weights: the schemes, normalisation, cap and efficiency, what is counted, plans, and what is refused."""

from __future__ import annotations

import json
import math
import re
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import dataset_doctor as dd
from dataset_doctor.cli import weights as command
from dataset_doctor.dataset import Dataset
from dataset_doctor.errors import UsageError
from dataset_doctor.plan import make_plan
from dataset_doctor.weights import EXPORTERS, SCHEMES, load_plan
from tests.conftest import ROOT
from tests.drawing import draw


def holding(*counts: int, split: str = "train") -> Dataset:
    """Draw a dataset with so many boxes of each class, one image a class."""
    lines = [f"classes: {' '.join(f'c{at}' for at in range(len(counts)))}"]
    for at, count in enumerate(counts):
        lines += [f"i{at}.jpg 100x80 {split}"] + [f"  c{at} 0 0 10 10 x{count}"] * (count > 0)
    return draw("\n".join(lines))[0]


# Schemes ------------------------------------------------------------------------------------------------------------


def test_shares_of_a_tenth_and_nine_tenths_weigh_10_and_1_11() -> None:
    """`inverse` is exactly total ÷ count."""
    assert dd.class_weights(holding(1, 9)).tolist() == [10.0, 10 / 9]


@pytest.mark.parametrize(
    ("scheme", "parameters", "expected"),
    [
        ("uniform", {}, [1, 1, 1]),
        ("inverse", {}, [100 / 64, 100 / 32, 100 / 4]),
        ("balanced", {}, [100 / (3 * 64), 100 / (3 * 32), 100 / (3 * 4)]),
        ("sqrt", {}, [10 / 8, 10 / math.sqrt(32), 10 / 2]),
        ("power", {"power": 0.0}, [1, 1, 1]),
        ("power", {"power": 0.5}, [10 / 8, 10 / math.sqrt(32), 10 / 2]),
        ("power", {"power": 1.0}, [100 / 64, 100 / 32, 100 / 4]),
        ("median", {}, [0.5, 1, 8]),
        ("effective", {"beta": 0.0}, [1, 1, 1]),
        ("effective", {"beta": 0.5}, [0.5 / (1 - 2.0**-64), 0.5 / (1 - 2.0**-32), 0.5 / (1 - 2.0**-4)]),
        ("enet", {}, [1 / math.log(1.66), 1 / math.log(1.34), 1 / math.log(1.06)]),
    ],
    ids=lambda value: str(value) if not isinstance(value, list) else "",
)
def test_each_scheme_follows_its_formula(scheme: str, parameters: dict[str, float], expected: list[float]) -> None:
    """64, 32 and 4 instances give the weights worked out by hand."""
    assert dd.class_weights(holding(64, 32, 4), scheme, **parameters).tolist() == pytest.approx(expected, rel=1e-12)


def test_balanced_is_what_scikit_learn_gives() -> None:
    """Ten random count vectors agree to 1e-12."""
    compute = pytest.importorskip("sklearn.utils.class_weight").compute_class_weight
    rng = np.random.default_rng(7)
    for _ in range(10):
        counts = rng.integers(1, 400, size=rng.integers(2, 12)).tolist()
        labels = np.repeat(np.arange(len(counts)), counts)

        assert dd.class_weights(holding(*counts), "balanced") == pytest.approx(
            compute("balanced", classes=np.arange(len(counts)), y=labels), rel=1e-12
        )


def test_effective_keeps_its_digits_where_beta_is_near_one() -> None:
    """With beta a hair below 1 the effective number is the count itself."""
    assert dd.class_weights(holding(3, 5), "effective", beta=1 - 1e-12) == pytest.approx([1 / 3, 1 / 5], rel=1e-9)


def test_effective_takes_its_beta_from_the_median_class() -> None:
    """Without a beta, 1 ÷ (1 − beta) is the median count, and the file says which it was."""
    assert dd.weigh(holding(10, 20, 300), "effective").beta == pytest.approx(0.95)


def test_median_by_area_divides_by_the_images_that_hold_the_class() -> None:
    """Pixels of a class ÷ pixels of its own images: a fills a quarter of its image, b a half of its, c (10 × 10) an eightieth."""
    dataset, _ = draw(
        "classes: a b c\nx.jpg 100x80 train\n  a 0 0 50 40\ny.jpg 100x80 train\n  b 0 0 50 80\n  c 50 0 60 10\nz.jpg 100x80 train background"
    )

    assert dd.class_weights(dataset, "median", count="area").tolist() == pytest.approx([1, 0.5, 20])


# Normalisation, cap, efficiency -------------------------------------------------------------------------------------

counted = st.lists(st.integers(0, 300), min_size=1, max_size=8).filter(any)
schemes = st.sampled_from(sorted(SCHEMES))


@given(counts=counted, scheme=schemes, cap=st.none() | st.floats(1, 100), normalize=st.sampled_from(["none", "mean", "sample"]))
def test_weights_are_finite_ordered_capped_and_normalised(counts: list[int], scheme: str, cap: float | None, normalize: str) -> None:
    """Whatever the counts: finite, above 0, larger for rarer classes, 1 where there is no count, within the cap, averaging 1 as asked."""
    got = dd.weigh(holding(*counts), scheme, power=0.7 if scheme == "power" else None, cap=cap, normalize=normalize)  # type: ignore[arg-type]
    weights, n = np.array(got.weights), np.array(counts)
    present = n > 0

    assert np.isfinite(weights).all() and (weights > 0).all()
    assert (weights[~present] == 1).all()
    order = np.argsort(n[present])
    assert (np.diff(weights[present][order]) <= 1e-12).all()
    assert cap is None or got.spread <= cap * (1 + 1e-9)
    if normalize == "mean":
        assert weights[present].mean() == pytest.approx(1)
    if normalize == "sample":
        assert np.average(weights, weights=n) == pytest.approx(1)
    assert 0 < got.efficiency <= 1 + 1e-12


def test_equal_counts_weigh_alike_and_are_fully_efficient() -> None:
    """Nothing to balance: ones after normalisation, efficiency 1, no warning."""
    for scheme in SCHEMES:
        got = dd.weigh(holding(12, 12, 12), scheme, power=0.3 if scheme == "power" else None, normalize="sample")

        assert got.weights == pytest.approx([1, 1, 1])
        assert (got.efficiency, got.warnings) == (pytest.approx(1), ())


def test_efficiency_is_kishs() -> None:
    """90 and 10 labels with weights 1 and 9: (0.9 + 0.9)² ÷ (0.9 + 8.1) = 0.36."""
    assert dd.weigh(holding(90, 10)).efficiency == pytest.approx(0.36)


def test_a_cap_bounds_the_spread_and_names_what_it_lowered() -> None:
    """Of 100 : 10 : 1, a cap of 20 lowers only the last."""
    got = dd.weigh(holding(100, 10, 1), cap=20.0)

    assert (got.capped, got.spread) == (("c2",), pytest.approx(20))
    assert dd.weigh(holding(100, 10, 1), cap=100.0).capped == ()


def test_a_wide_spread_and_a_low_efficiency_are_warned_of() -> None:
    """Above 50 : 1 without a cap, and below a third; not at 50 : 1, not with a cap."""
    assert any("51 times" in text and "--cap 50" in text for text in dd.weigh(holding(51, 1)).warnings)
    assert not any("times as much" in text for text in dd.weigh(holding(50, 1)).warnings)
    assert not any("times as much" in text for text in dd.weigh(holding(500, 1), cap=60.0).warnings)
    assert any(text.startswith("Efficiency 0.04") for text in dd.weigh(holding(99, 1)).warnings)
    assert dd.weigh(holding(80, 20)).warnings == ()


# What is counted ----------------------------------------------------------------------------------------------------

PARK = """
classes: cat dog cow
a.jpg 100x80 train
  cat 0 0 10 10 x3
  dog 0 0 10 10
  dog 0 0 10 10 crowd
b.jpg 100x80 train
  cat 0 0 10 20
c.jpg 100x80 train background
d.jpg 100x80 train unlabeled
e.jpg 100x80 val
  cow 0 0 10 10
  ? 0 0 10 10
"""


@pytest.mark.parametrize(
    ("count", "counts"), [("instances", (4, 1, 0)), ("images", (2, 1, 0)), ("area", (500, 100, 0))], ids=lambda value: str(value)
)
def test_counts_are_of_the_training_split_without_crowds(count: str, counts: tuple[int, ...]) -> None:
    """Instances, images and pixels of `train`; crowd regions and other splits stay out."""
    got = dd.weigh(draw(PARK)[0], count=count)  # type: ignore[arg-type]

    assert got.counts == counts
    assert (got.split, got.instances, got.images, got.images_in_split) == ("train", (4, 1, 0), (2, 1, 0), 4)


def test_what_is_not_counted_is_said() -> None:
    """A class without instances weighs 1 and is named; images without labels, and labels of undeclared classes, are counted out aloud."""
    got = dd.weigh(draw(PARK)[0])

    assert got.weights == (1.25, 5.0, 1.0)
    assert got.warnings[0] == "1 image of train without labels counts for no class."
    assert "1 class without instances in train, with weight 1: cow." in got.warnings
    only_cow = dd.weigh(draw(PARK)[0], split="val")
    assert "1 label of val with a class that is not declared is left out." in only_cow.warnings
    assert any(text.startswith("Only cow has a count") for text in only_cow.warnings)


def test_a_box_counts_as_far_as_its_image_goes() -> None:
    """Area outside the image is no pixel; a box without one leaves the class out of the count, and says so."""
    dataset, _ = draw("classes: a b\nx.jpg 100x80 train\n  a 90 70 500 500\n  b -")

    got = dd.weigh(dataset, count="area")

    assert got.counts == (100, 0)
    assert "1 instance without a known area is left out." in got.warnings


def test_weights_of_positives_for_several_labels_an_image() -> None:
    """(images without ÷ images with)^power, within the cap; 1 where every or no image holds the class."""
    lines = ["classes: all some few none"]
    for at in range(10):
        lines += [f"{at}.jpg 100x80 train", "  all 0 0 9 9"] + ["  some 0 0 9 9"] * (at < 5) + ["  few 0 0 9 9"] * (at < 1)
    dataset, _ = draw("\n".join(lines))

    assert dd.pos_weight(dataset).tolist() == pytest.approx([1, 1, 3, 1])
    assert dd.pos_weight(dataset, power=1.0, cap=4.0).tolist() == pytest.approx([1, 1, 4, 1])


def test_an_image_is_drawn_with_the_weight_of_its_rarest_class() -> None:
    """Factors are relative to the commonest class; an image without labels has 1, one of another split 0."""
    dataset, _ = draw(PARK)

    assert dd.image_weights(dataset, dd.class_weights(dataset)).tolist() == [4.0, 1.0, 1.0, 1.0, 0.0]


# Plans --------------------------------------------------------------------------------------------------------------


def plan_of(dataset: Dataset, *after: int, **changes: object) -> dict[str, object]:
    before = dataset.classes_frame()["instances"].tolist()
    classes = [{"name": n, "before": b, "after": a} for n, b, a in zip(dataset.class_names, before, after, strict=True)]
    return {"schema": "dataset-doctor/plan", "schema_version": 1, "method": "repeat_factor", "split": "train", "classes": classes} | changes


def test_after_a_plan_its_counts_are_weighed() -> None:
    """What a rebalance will have done is not corrected a second time; the file says so."""
    dataset = holding(90, 10)
    got = dd.weigh(dataset, after=plan_of(dataset, 90, 90))

    assert (got.counts, got.weights, got.after, got.images) == ((90, 90), (2.0, 2.0), "repeat_factor", None)


def test_weights_after_a_plan_are_those_of_the_dataset_it_gives() -> None:
    """Whether the plan is applied first or only named, the weights are the same; a dataset that has it behind it is not corrected twice."""
    dataset, _ = draw(PARK)
    plan = make_plan(dataset, np.array([0, 0, 0, 1, 2, 3, 4]), command="rebalance", method="oversample", split="train")
    treated = plan.apply(dataset)

    assert dd.weigh(dataset, after=plan).counts == (10, 3, 0)
    assert dd.weigh(dataset, after=plan).weights == dd.weigh(treated).weights == dd.weigh(treated, after=plan).weights


def test_a_plan_is_read_alone_or_from_a_manifest(tmp_path: Path) -> None:
    """Both documents lead to the same plan."""
    plan = plan_of(holding(2, 1), 2, 2)
    (tmp_path / "plan.json").write_text(json.dumps(plan))
    (tmp_path / "dataset-doctor.json").write_text(json.dumps({"schema": "dataset-doctor/manifest", "plan": plan}))

    assert load_plan(tmp_path / "plan.json") == load_plan(tmp_path / "dataset-doctor.json") == plan


@pytest.mark.parametrize(
    "content", ["", "[", "[]", "{}", '{"schema": "dataset-doctor/report"}', '{"schema": "dataset-doctor/manifest"}', "[" * 99999]
)
def test_what_is_no_plan_is_refused(content: str, tmp_path: Path) -> None:
    """Any other file is an error with a word on what to give."""
    (tmp_path / "plan.json").write_text(content)

    with pytest.raises(UsageError, match="rebalance --json"):
        load_plan(tmp_path / "plan.json")


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"split": "val"}, "changes the split val"),
        ({"classes": []}, "different classes"),
        ({"classes": None}, "does not list"),
        ({"classes": [{"name": "c0", "before": 9, "after": "x"}, {"name": "c1", "before": 1, "after": 1}]}, "does not list"),
        ({"classes": [{"name": "c0", "before": 8, "after": 7}, {"name": "c1", "before": 1, "after": 1}]}, "now it holds 9"),
    ],
    ids=["other split", "no classes", "nothing", "text for a count", "other counts"],
)
def test_a_plan_for_something_else_is_refused(changes: dict[str, object], says: str) -> None:
    """The plan must be for this split, these classes and these counts."""
    dataset = holding(9, 1)
    with pytest.raises(UsageError, match=says):
        dd.weigh(dataset, after=plan_of(dataset, 9, 9, **changes), split="train")


# Refused ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("scheme", "arguments", "says"),
    [
        ("efective", {}, "Did you mean effective?"),
        ("inverse", {"beta": 0.9}, 'scheme="effective"'),
        ("inverse", {"power": 0.9}, 'scheme="power"'),
        ("effective", {"beta": 1.0}, "at least 0 and below 1"),
        ("effective", {"beta": -0.1}, "at least 0 and below 1"),
        ("effective", {"beta": math.nan}, "at least 0 and below 1"),
        ("power", {}, "needs power"),
        ("power", {"power": -1.0}, "between 0 and 1"),
        ("power", {"power": 40.0}, "between 0 and 1"),
        ("inverse", {"cap": 0.5}, "at least 1"),
        ("inverse", {"cap": math.inf}, "at least 1"),
        ("inverse", {"normalize": "average"}, "Choose from: none, mean, sample"),
        ("inverse", {"count": "boxes"}, "instances, images, area"),
        ("inverse", {"split": "trian"}, "Did you mean train?"),
        ("inverse", {"after": {"split": "train"}, "count": "images"}, 'count="images"'),
    ],
    ids=lambda value: str(value) if isinstance(value, dict) else "",
)
def test_an_impossible_parameter_is_refused_with_what_is_allowed(scheme: str, arguments: dict[str, object], says: str) -> None:
    """Each is a UsageError that says what may stand there."""
    with pytest.raises(UsageError) as error:
        dd.weigh(holding(9, 1), scheme, **arguments)  # type: ignore[arg-type]

    assert says in str(error.value)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("classes: a\nx.jpg 10x10 train unlabeled\ny.jpg 10x10 val\n  a 0 0 5 5", "Labels are in val"),
        ("classes: a\nx.jpg 10x10 train background", "Label it first"),
        ("classes: a\nx.jpg 10x10 train\n  ? 0 0 5 5", "no labels with a class"),
        ("x.jpg 10x10 train background", "declares no class"),
        ("classes: a\nx.jpg 10x10 val\n  a 0 0 5 5\ny.jpg 10x10 test\n  a 0 0 5 5", "no split train, but test and val"),
    ],
    ids=["labels elsewhere", "no labels", "undeclared only", "no class", "which split"],
)
def test_nothing_to_weigh_by_is_an_error_that_says_where_labels_are(text: str, says: str) -> None:
    """No labels in the split, no class, or no split to take."""
    with pytest.raises(UsageError) as error:
        dd.class_weights(draw(text)[0])

    assert says in str(error.value)


def test_area_needs_boxes() -> None:
    """Labels without any box have no pixels to count."""
    with pytest.raises(UsageError, match="no area"):
        dd.weigh(draw("classes: a\nx.jpg 10x10 train\n  a -")[0], count="area")


def test_weights_of_images_need_one_weight_a_class() -> None:
    """A wrong length, 0 or NaN is refused."""
    for wrong in ([1.0], [1.0, 0.0], [1.0, math.nan]):
        with pytest.raises(UsageError):
            dd.image_weights(holding(2, 1), wrong)


def test_the_only_split_and_a_split_by_its_own_name() -> None:
    """Without `train` the only split is taken; a name may be written as the dataset writes it."""
    dataset, _ = draw("classes: a\nx.jpg 10x10 val\n  a 0 0 5 5", split_spelling=("valid",))

    assert dd.weigh(dataset).split == dd.weigh(dataset, split="valid").split == "val"


# Tables -------------------------------------------------------------------------------------------------------------


def test_the_command_offers_what_the_tables_hold() -> None:
    """Schemes and trainers on the command line are those of the library, in its order."""
    assert command.SchemeChoice.__args__ == tuple(SCHEMES)  # type: ignore[attr-defined]
    assert command.TRAINERS.split("|") == list(EXPORTERS)


def test_real_counts_of_a_real_dataset(shared_data: Path) -> None:
    """BCCD's training split: 2,382 red cells, 214 white cells, 209 platelets."""
    got = dict(zip(*(lambda w: (w.classes, w.counts))(dd.weigh(dd.read(shared_data / "bccd_voc"))), strict=True))

    assert got == {"Platelets": 209, "RBC": 2382, "WBC": 214}


# The page -----------------------------------------------------------------------------------------------------------

PAGE = (ROOT / "docs/weights.md").read_text(encoding="utf-8")


def test_the_pages_numbers_are_what_the_schemes_give() -> None:
    """The column of the table for shares of 0.1 and 0.9."""
    rows = re.findall(r"^\| `(\w+)` \| [^|]+ \| ([\d.]+), ([\d.]+) \|", PAGE, re.MULTILINE)

    assert {name for name, _, _ in rows} == set(SCHEMES) - {"power", "effective"}
    for name, small, large in rows:
        assert dd.class_weights(holding(1, 9), name).tolist() == pytest.approx([float(small), float(large)], abs=0.006)


def test_the_pages_code_runs(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """The library example works from the top of a clone."""
    monkeypatch.chdir(ROOT)
    (code,) = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    exec(code, {})

    assert capsys.readouterr().out == "('bicycle', 'sign') lowered\n"
