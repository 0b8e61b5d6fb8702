"""Arms: what may be typed, what is refused, and what each changes."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from dataset_doctor.balance.presets import PRESETS
from dataset_doctor.dataset import Dataset
from dataset_doctor.errors import UsageError
from dataset_doctor.formats import read, write
from dataset_doctor.trials.arms import Arm, parse_arms, treat
from dataset_doctor.trials.classification import adjusted
from dataset_doctor.trials.loop import Trained
from dataset_doctor.trials.metrics import Predictions
from dataset_doctor.weights import weigh
from tests.trials.drawn import write_folders


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """20, 10 and 4 training images; a few of each class in val and test."""
    root = tmp_path_factory.mktemp("arms") / "things"
    return read(write_folders(root, {"train": (20, 10, 4), "val": (2, 2, 2), "test": (2, 2, 2)}))


def test_the_baseline_is_always_there_and_first() -> None:
    """Whether it is named, and where."""
    assert [arm.name for arm in parse_arms("focal, baseline ,size:64")] == ["baseline", "focal", "size:64"]
    assert [arm.kind for arm in parse_arms(["weights:uniform"])] == ["baseline", "weights"]


@pytest.mark.parametrize(
    ("text", "kind", "value"),
    [
        ("repeat_factor", "sampler", "repeat_factor"),
        ("focal", "loss", "focal_loss"),
        ("logit_adjusted_loss", "loss", "logit_adjusted_loss"),
        ("weights:effective", "weights", "effective"),
        ("augment:outdoor", "augment", "outdoor"),
        ("background:1:2", "background", "1:2"),
        ("background:10%", "background", "10%"),
        ("size:320", "size", "320"),
        ("posthoc_logit_adjusted", "posthoc", "1"),
        ("posthoc_logit_adjusted:0.5", "posthoc", "0.5"),
    ],
)
def test_every_kind_of_arm_is_read(text: str, kind: str, value: str) -> None:
    """As the contract writes them."""
    arm = parse_arms(text)[1]

    assert (arm.name, arm.kind, arm.value) == (text, kind, value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("repeat_facter", "Did you mean repeat_factor?"),
        ("weights:efective", "Did you mean effective?"),
        ("wieghts:sqrt", "Did you mean weights:sqrt?"),
        ("augment:outdor", "Did you mean outdoor?"),
        ("size:big", "big is not a side in pixels"),
        ("size:4", "Give 8 to 4096"),
        ("background:lots", "a ratio of positive : background"),
        ("posthoc_logit_adjusted:much", "much is not a valid exponent"),
        ("posthoc_logit_adjusted:nan", "Give a number above 0 and up to 10"),
        ("posthoc_logit_adjust", "Did you mean posthoc_logit_adjusted?"),
        ("focal,focal", "names focal twice"),
        ("baseline", "only the baseline"),
        (" , ", "names nothing"),
        ("mine=", "a name and a path are needed"),
        ("mine=/nowhere/weights.json", "no such file"),
        ("xyzzy", "name=PATH"),
    ],
)
def test_what_cannot_be_an_arm_is_refused(text: str, message: str) -> None:
    """With the nearest name, or what there is."""
    with pytest.raises(UsageError) as caught:
        parse_arms(text)

    assert message in str(caught.value)


def test_a_sampler_repeats_images_of_the_training_split_alone(folders: Dataset) -> None:
    """Oversampling to the square root shows the scarce class more often, and says nothing of val and test."""
    repeats = treat(parse_arms("oversample")[1], folders, task="classify").repeats
    assert repeats is not None
    label = folders.annotations.class_index[np.argsort(folders.annotations.image)]
    train = folders.images.in_split[:, folders.splits.index("train")]

    assert repeats[train & (label == 2)].mean() > repeats[train & (label == 0)].mean() == 1
    assert not repeats[~train].any()


def test_weights_of_a_scheme_have_mean_one_over_the_labels(folders: Dataset) -> None:
    """Inverse weights of 20, 10 and 4 labels are in the ratio 1 : 2 : 5, and their mean over the 34 labels is 1."""
    weights = treat(parse_arms("weights:inverse")[1], folders, task="classify").class_weights
    assert weights is not None

    np.testing.assert_allclose(weights / weights[0], [1, 2, 5])
    np.testing.assert_allclose(weights @ [20, 10, 4] / 34, 1)
    np.testing.assert_array_equal(treat(parse_arms("weights:uniform")[1], folders, task="classify").class_weights, np.ones(3))  # type: ignore[arg-type]


def test_a_weights_file_is_an_arm(folders: Dataset, tmp_path: Path) -> None:
    """Matched by the classes' names, and scaled like the schemes."""
    (tmp_path / "w.json").write_text(json.dumps(weigh(folders, "inverse", split="train").to_dict()))

    treatment = treat(parse_arms(f"mine={tmp_path / 'w.json'}")[1], folders, task="classify")

    assert treatment.class_weights is not None and treatment.notes == ()
    np.testing.assert_allclose(treatment.class_weights, weigh(folders, "inverse", split="train", normalize="sample").weights)


def test_a_weights_file_for_other_classes_is_refused(folders: Dataset, tmp_path: Path) -> None:
    """The message names a class that only one of the two has."""
    document = weigh(folders, "inverse", split="train").to_dict()
    document["classes"] = ["a", "b", "zebra"]
    (tmp_path / "w.json").write_text(json.dumps(document))

    with pytest.raises(UsageError, match=r"has different classes: 3 in the file, 3 in the dataset; c is only in the dataset"):
        treat(parse_arms(f"mine={tmp_path / 'w.json'}")[1], folders, task="classify")


def test_a_manifest_is_an_arm(folders: Dataset, tmp_path: Path) -> None:
    """What `rebalance` wrote is repeated as it wrote it; its folder may be named instead of the file."""
    from dataset_doctor.balance import rebalance

    plan = rebalance(folders, method="oversample", split="train")
    write(plan.apply(folders), tmp_path / "out", format="folder")

    for place in (tmp_path / "out", tmp_path / "out" / "dataset-doctor.json"):
        repeats = treat(parse_arms(f"mine={place}")[1], folders, task="classify").repeats
        assert repeats is not None
        train = folders.images.in_split[:, folders.splits.index("train")]
        np.testing.assert_array_equal(repeats[train], treat(parse_arms("oversample")[1], folders, task="classify").repeats[train])  # type: ignore[index]


def test_a_manifest_of_another_dataset_is_refused(folders: Dataset, tmp_path: Path) -> None:
    """Its repeats would mean nothing here."""
    manifest = {"schema": "dataset-doctor/manifest", "source": {"fingerprint": "sha256:0"}, "images": [{"file": "a", "source": "a"}]}
    (tmp_path / "m.json").write_text(json.dumps(manifest))

    with pytest.raises(UsageError, match="was made from another dataset"):
        treat(parse_arms(f"mine={tmp_path / 'm.json'}")[1], folders, task="classify")


@pytest.mark.parametrize("tau", ["0.5", "1", "2"])
def test_the_adjustment_afterwards_takes_the_largest_logit_minus_the_logarithm_of_the_share(tau: str) -> None:
    """Equation 9 of Menon et al. 2021 on logits; a class without images counts as the scarcest; a confident 0 stays 0."""
    rng = np.random.default_rng(0)
    logits = rng.normal(0, 2, (200, 4))
    given = (np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)).astype(np.float32)
    said = Predictions(rng.integers(0, 4, 200), given, np.arange(200))
    trained = Trained(said, {"val": (0.5,)}, val_predictions=said, test_predictions=said)

    result = adjusted(trained, Arm("posthoc", "posthoc", tau), np.array([90, 9, 1, 0]))

    assert result.test_predictions is not None and result.val_predictions is not None and result.curves == trained.curves
    assert result.outcome is result.test_predictions
    expected = (logits - float(tau) * np.log([0.9, 0.09, 0.01, 0.01])).argmax(axis=1)
    assert (result.test_predictions.predicted == expected).all() and (result.val_predictions.predicted == expected).all()
    np.testing.assert_allclose(result.test_predictions.probabilities.sum(axis=1), 1, atol=1e-6)
    assert said.probabilities is given and (given == trained.test_predictions.probabilities).all()  # type: ignore[union-attr]


def test_the_adjustment_afterwards_changes_nothing_where_classes_are_alike() -> None:
    """Equal counts divide all by the same."""
    said = Predictions(np.zeros(3, np.int64), np.array([[0.2, 0.8], [0.5, 0.5], [1, 0]], np.float32), np.arange(3))

    result = adjusted(Trained(said, {}, test_predictions=said), Arm("posthoc", "posthoc", "1"), np.array([7, 7]))

    np.testing.assert_allclose(result.test_predictions.probabilities, said.probabilities)  # type: ignore[union-attr]


def test_a_detector_is_not_adjusted_afterwards(folders: Dataset) -> None:
    """It has no probability of each class to divide."""
    with pytest.raises(UsageError, match="is for classification"):
        treat(parse_arms("posthoc_logit_adjusted")[1], folders, task="detect")


def test_presets_of_copies_are_presets_of_training() -> None:
    """What a name mirrors, `rebalance --augment` mirrors as a training does."""
    for preset in PRESETS.values():
        assert not preset.copies or preset.training.flip == ("flip" in preset.copies)
        assert not preset.copies or preset.training.flip_vertical == ("flipud" in preset.copies)
