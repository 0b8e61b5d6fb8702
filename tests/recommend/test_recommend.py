"""The recommendations: each rule speaks with its exact numbers, and is silent on the twin that gives no reason."""

from __future__ import annotations

import dataclasses
import json
import math
import re
import shlex
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from PIL import Image

import dataset_doctor as dd
import dataset_doctor.recommend.situation as recommend_module
from dataset_doctor.balance import rebalance
from dataset_doctor.checks import CHECKS
from dataset_doctor.dataset import Class, Dataset, Geometry, Place
from dataset_doctor.findings import POLICIES, Facts, Finding, Policy, Recommendation, Severity, screening
from dataset_doctor.formats import left_out
from dataset_doctor.pixels import FileState
from dataset_doctor.recommend import RULES, recommend
from dataset_doctor.statistics import imbalance_ratio, statistics
from tests.drawing import draw
from tests.strategies import datasets

ACTIONS = {
    "oversample", "undersample", "repeat_factor", "add_background", "remove_background", "weights", "focal_loss", "resplit", "fix_labels",
    "remove_duplicates", "augment", "input_size", "collect", "model", "hyperparameters",
}  # fmt: skip
ALWAYS = ["input_size", "model", "hyperparameters"]


def drawn(counts: dict[str, int], *, form: str = "coco", splits: str = "train val", box: str = "0 0 50 50", extra: str = "") -> Dataset:
    """Draw images with one box each, as many of each class as asked, all of them in the first split and one more image in the others."""
    first, *others = splits.split()
    lines = [f"format: {form}", f"task: {'classify' if form == 'folder' else 'detect'}", f"classes: {' '.join(counts)}"]

    def image(split: str, name: str, number: int) -> str:
        if form == "folder":
            return f"{split}/{name}/{number}.jpg 100x80 {split}"
        return f"{split}-{name}{number}.jpg 100x80 {split}\n  {name} {box}"

    lines += [image(first, name, number) for name, n in counts.items() for number in range(n)]
    lines += [image(split, next(iter(counts)), 0) for split in others]
    return draw("\n".join(lines) + "\n" + extra)[0]


def advise(
    dataset: Dataset, *findings: Finding, policy: Policy = POLICIES["none"], light: tuple[float, float] | None = None
) -> list[Recommendation]:
    """Advise; with pictures whose middle brightness lies between two values, or without a look at them."""
    pixels = None
    if light is not None:
        brightness = np.linspace(*light, dataset.n_images, dtype=np.float32)
        pixels = SimpleNamespace(brightness_p50=brightness, state=np.full(dataset.n_images, FileState.SOUND))
    return list(recommend(dataset, Facts(statistics(dataset), policy, pixels=pixels), findings))


def only(advice: list[Recommendation], action: str) -> Recommendation:
    [found] = [r for r in advice if r.action == action]
    return found


def actions(advice: list[Recommendation]) -> list[str]:
    return [r.action for r in advice]


def finding(code: str, name: str, severity: Severity = Severity.ERROR, count: int = 3) -> Finding:
    return Finding(code, name, severity, count, f"{count} of {name}", (Place("a"),), count, "none")


def backgrounds(n: int, words: str = "background") -> str:
    return "\n".join(f"empty{i}.jpg 100x80 train {words}" for i in range(n))


# All of it ----------------------------------------------------------------------------------------------------------


def test_a_clean_balanced_dataset_gets_little_advice() -> None:
    """Nothing is wrong, so only starting points are given."""
    assert actions(advise(drawn({"cat": 20, "dog": 20}), policy=POLICIES["detector"])) == ALWAYS
    assert actions(advise(drawn({"cat": 20, "dog": 20}, form="folder"))) == ALWAYS


def test_a_dataset_without_images_gets_none() -> None:
    """There is nothing to advise on."""
    assert advise(draw("classes: cat")[0]) == []


def test_without_labels_only_repairs_are_advised() -> None:
    """Neither model nor balance makes sense where nothing can be learnt."""
    dataset = draw("classes: cat\na.jpg 10x10 train background\nb.jpg 10x10 val background")[0]

    assert actions(advise(dataset, finding("DD001", "label-unreadable"), policy=POLICIES["article"])) == ["fix_labels"]


def test_the_order_is_repairs_first() -> None:
    """Labels, splits, duplicates, backgrounds, collecting, augmentation, balance, input, model: in this order, with consecutive ids."""
    found = [finding("DD101", "box-degenerate"), finding("DD301", "image-in-several-splits"), finding("DD401", "image-duplicate")]
    advice = advise(drawn({"cat": 400, "dog": 30, "cow": 5}), *found, policy=POLICIES["article"])

    assert actions(advice) == [
        "fix_labels", "resplit", "remove_duplicates", "add_background", "collect", "augment", "repeat_factor", "weights", "input_size", "model",
        "hyperparameters",
    ]  # fmt: skip
    assert [r.id for r in advice] == [f"R{n}" for n in range(1, 12)]


def agrees_with_rebalance(dataset: Dataset, r: Recommendation) -> None:
    """The command and the parameters say the same, and the prediction is what `rebalance` plans with them."""
    assert r.command is not None and r.expected is not None
    program, verb, folder, out, *options = shlex.split(r.command)
    assert (program, verb, folder) == ("dataset-doctor", "rebalance", dataset.given.path if dataset.given else dataset.root.name)
    assert out.startswith(f"{dataset.root.name}-")
    allowed = "--allow-errors" in options
    options = [word for word in options if word != "--allow-errors"]
    asked = dict(zip(options[::2], options[1::2], strict=True))
    names = ("method", "target", "budget", "max_repeat", "threshold", "background")
    wanted = {name: r.parameters[name] for name in names if name in r.parameters}
    assert {name.removeprefix("--").replace("-", "_") for name in asked} == wanted.keys()
    assert all(asked[f"--{name.replace('_', '-')}"] == (f"{v:.8g}" if isinstance(v, float) else str(v)) for name, v in wanted.items())
    lost = left_out(dataset, dataset.format, split=dataset.default_split)
    assert allowed is (len(lost) > 0)
    plan = rebalance(dataset, left_out=lost.rows, **wanted)
    assert r.expected.classes == tuple((c.name, c.before, c.after) for c in plan.classes)
    assert (r.expected.epoch_images, r.expected.imbalance_ratio) == (plan.epoch_images, plan.imbalance_ratio.after)


def with_pictures(dataset: Dataset, folder: Path) -> Dataset:
    """Write a picture for each image, and let the dataset lie there."""
    picture = Image.effect_noise((100, 80), 60).convert("RGB")
    for name in dataset.images.file_name.tolist():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        picture.save(folder / name)
    n = dataset.n_images
    images = dataclasses.replace(
        dataset.images, has_file=np.ones(n, bool), file_width=np.full(n, 100, np.int32), file_height=np.full(n, 80, np.int32)
    )
    return dataclasses.replace(dataset, root=folder, images=images)


@settings(max_examples=60, deadline=None)
@given(dataset=datasets())
@pytest.mark.slow
def test_laws(dataset: Dataset) -> None:
    """Whatever the dataset: known actions and commands, consecutive ids, finite numbers, and `before` as the statistics count."""
    tables = statistics(dataset)
    codes = [finding("DD101", "box-degenerate"), finding("DD201", "class-imbalance", Severity.WARNING)]
    for policy in (*POLICIES.values(), screening(0.3), screening(0.0), screening(1.0)):
        advice = recommend(dataset, Facts(tables, policy), codes)

        assert [r.id for r in advice] == [f"R{n}" for n in range(1, len(advice) + 1)]
        assert [(r.action, r.why) for r in advice] == [(r.action, r.why) for r in recommend(dataset, Facts(tables, policy), codes)]
        train = [s.images > 0 and s.name == "train" for s in tables.splits]
        before = [(c.name, c.splits[train.index(True)].instances if any(train) else c.instances) for c in tables.classes]
        for r in advice:
            assert r.action in ACTIONS and r.why and r.cost and r.sources
            assert r.command is None or r.command.startswith(
                ("dataset-doctor rebalance ", "dataset-doctor split ", "dataset-doctor weights ")
            )
            assert r.strength in ("policy", "evidence") and set(r.addresses) <= {"DD101", "DD201"}
            assert all(isinstance(v, str) or math.isfinite(v) for v in r.parameters.values())
            assert all(type(v) in (str, int, float) for v in r.parameters.values()), r.parameters
            assert not re.search(r"\b(nan|inf)\b", r.why + r.cost) and len(r.why) < 1500
            if r.expected is not None:
                assert [(name, n) for name, n, _ in r.expected.classes] == before
                assert r.expected.imbalance_ratio == imbalance_ratio(np.array([n for *_, n in r.expected.classes]))
                assert r.expected.epoch_images >= 0
            if "method" in r.parameters and r.action != "augment":
                agrees_with_rebalance(dataset, r)


def test_every_action_is_of_the_contract(shared_data: Path) -> None:
    """The list of actions above is the report format's."""
    text = (shared_data.parent / "contract.md").read_text(encoding="utf-8")
    listed = re.search(r'"action": "([^"]+)"', text)
    assert listed is not None
    assert {word.strip() for word in listed[1].split("|")} == ACTIONS


def test_names_go_in_as_they_are_but_not_without_end() -> None:
    """Markup stays for the renderer to escape; a long name is cut, and a sixth one is counted."""
    dataset = drawn(dict.fromkeys("abcdefgh", 1))
    names = ("<b>[red]", "x" * 5000, *"cdefgh")
    dataset = dataclasses.replace(dataset, classes=tuple(Class(name, i) for i, name in enumerate(names)))

    why = only(advise(dataset), "collect").why

    assert "To reach 11 images: <b>[red] 10 more (has 1)" in why
    assert "x" * 59 + "…" in why and "x" * 60 not in why
    assert "and 3 more" in why


def test_ten_thousand_classes_take_a_fifth_of_a_second() -> None:
    """The rules are array work, whatever the number of classes."""
    k = 10_000
    small = drawn({"c": 1})
    rows = np.repeat(np.zeros(1, np.intp), k)
    many = small.select(rows)
    names = tuple(Class(f"class {i}", i) for i in range(k))
    annotations = dataclasses.replace(many.annotations, class_index=np.arange(k, dtype=np.int32))
    many = dataclasses.replace(many, classes=names, annotations=annotations)
    facts = Facts(statistics(many), POLICIES["article"])
    started = time.process_time()

    advice = recommend(many, facts, ())

    assert time.process_time() - started < 1.0  # 0.1 s on a quiet machine
    assert only(advice, "collect").parameters["images"] == 10 * k


# Labels, splits, duplicates -----------------------------------------------------------------------------------------


def test_errors_of_labels_come_first_with_their_messages() -> None:
    """Errors of files and records count, warnings and other families do not."""
    found = [finding("DD101", "box-degenerate", count=2), finding("DD002", "record-unreadable", count=7),
             finding("DD004", "image-orphan", Severity.WARNING), finding("DD601", "download-script")]  # fmt: skip
    first = advise(drawn({"cat": 20, "dog": 20}), *found)[0]

    assert (first.action, first.addresses, first.strength) == ("fix_labels", ("DD002", "DD101"), "evidence")
    assert first.why.startswith("7 of record-unreadable (DD002), 2 of box-degenerate (DD101). ")
    assert first.parameters == {"findings": 2, "places": 9}
    assert "fix_labels" not in actions(advise(drawn({"cat": 20, "dog": 20}), *found[2:]))
    for severity in (Severity.INFO, Severity.WARNING):
        advice = advise(drawn({"cat": 20, "dog": 20}), finding("DD209", "image-unlabeled", severity))
        assert ("fix_labels" in actions(advice)) is (severity is Severity.WARNING)


def test_a_class_named_after_a_doubt_is_settled_before_balancing() -> None:
    """A doubt is no thing to learn: it is named, and neither collected for nor balanced on."""
    dataset = drawn({"cat": 44, "dog": 22, "skip": 1})
    advice = advise(dataset)

    assert actions(advice) == ["fix_labels", *ALWAYS]
    assert "skip (1)" in advice[0].why
    assert "Without them the imbalance is 2.0 : 1, with them 44.0 : 1." in advice[0].why
    assert "collect" in actions(advise(drawn({"cat": 44, "dog": 22, "skier": 1})))


@pytest.mark.parametrize(
    ("splits", "asked"),
    [("train val", False), ("train val test", False), ("train test", True), ("train", True), ("all", True), ("val", False)],
)
def test_a_missing_validation_split_is_asked_for(splits: str, asked: bool) -> None:
    """A dataset to train on needs images to choose a model by; one that is only a validation split is part of another."""
    advice = advise(drawn({"cat": 20, "dog": 20}, splits=splits))

    assert ("resplit" in actions(advice)) is asked
    if asked:
        r = only(advice, "resplit")
        assert r.parameters["ratios"] == ("90/10" if "test" in splits else "80/10/10") and r.strength == "policy"
        assert ("keep the test split" in r.why) is ("test" in splits)
        assert r.command is not None and ("--freeze test" in r.command) is ("test" in splits)


def test_a_split_says_how_many_images_and_which_classes_are_too_small() -> None:
    """60 images make 48, 6 and 6; a class of two images cannot be in three splits."""
    r = only(advise(drawn({"cat": 58, "dog": 2, "ox": 0}, splits="train")), "resplit")

    assert "80/10/10 of 60 images is about 48, 6 and 6" in r.why
    assert "With fewer than 3 images, not in every split: dog." in r.why
    assert "30 instances of 2 of 2 classes" in r.why
    assert r.cost == "6 to 12 images fewer to train on"


def test_leakage_asks_for_a_new_split() -> None:
    """Shared pictures are evidence; a drift that is only worth knowing is no reason."""
    dataset = drawn({"cat": 20, "dog": 20})
    r = only(advise(dataset, finding("DD301", "image-in-several-splits", count=4)), "resplit")

    assert (r.addresses, r.strength) == (("DD301",), "evidence")
    assert "4 of image-in-several-splits (DD301)" in r.why
    assert "resplit" in actions(advise(dataset, finding("DD305", "split-drift", Severity.WARNING)))
    assert "resplit" not in actions(advise(dataset, finding("DD305", "split-drift", Severity.INFO)))


def test_duplicates_are_left_out() -> None:
    """One recommendation for identical and nearly identical images."""
    found = [finding("DD402", "image-near-duplicate", Severity.WARNING, 5), finding("DD401", "image-duplicate", Severity.WARNING, 2)]
    r = only(advise(drawn({"cat": 20, "dog": 20}), *found), "remove_duplicates")

    assert (r.addresses, r.parameters) == (("DD401", "DD402"), {"groups": 7, "keep": 1})


# Backgrounds --------------------------------------------------------------------------------------------------------


def test_backgrounds_to_add_reach_the_band_exactly() -> None:
    """40 positives and 1 : 2 make 80 backgrounds; with 10 there 70 are missing, and with 80 none."""
    r = only(advise(drawn({"cat": 20, "dog": 20}, extra=backgrounds(10)), policy=POLICIES["article"]), "add_background")

    assert r.parameters == {"policy": "article", "images": 70, "low": 0.6667, "high": 0.75, "share_before": 0.2, "share_after": 0.6667}
    assert "10 of 50 images in the training split are backgrounds (20 %)" in r.why and "convention" in r.why
    assert r.expected is not None
    assert r.expected.classes == (("cat", 20, 20), ("dog", 20, 20)) and r.expected.epoch_images == 120
    assert r.strength == "policy"
    enough = drawn({"cat": 20, "dog": 20}, extra=backgrounds(80))
    assert "add_background" not in actions(advise(enough, policy=POLICIES["article"]))


def test_backgrounds_to_leave_out_reach_the_band_exactly() -> None:
    """36 positives and 10 % make 4 backgrounds; 8 there are 4 too many, and no positive is dropped."""
    r = only(advise(drawn({"cat": 18, "dog": 18}, extra=backgrounds(8)), policy=POLICIES["detector"]), "remove_background")

    assert (r.parameters["images"], r.parameters["share_after"]) == (4, 0.1)
    assert r.expected is not None and r.expected.epoch_images == 40
    fits = drawn({"cat": 18, "dog": 18}, extra=backgrounds(4))
    assert "remove_background" not in actions(advise(fits, policy=POLICIES["detector"]))


def test_unlabeled_images_are_backgrounds_to_yolo_only() -> None:
    """YOLO trains them as background, so fewer are missing; in VOC they are in nobody's list."""
    found = {}
    for form in ("yolo", "voc"):
        dataset = drawn({"cat": 20, "dog": 20}, form=form, extra=backgrounds(10, "unlabeled"))
        found[form] = only(advise(dataset, policy=POLICIES["article"]), "add_background").parameters["images"]

    assert found == {"yolo": 70, "voc": 100}  # (2/3 · 50 − 10) · 3 and (2/3 · 50) · 3


def test_no_more_backgrounds_are_left_out_than_there_are() -> None:
    """Unlabeled images train as background in YOLO, but only known backgrounds can be left out as such."""
    extra = backgrounds(40, "unlabeled") + "\nknown.jpg 100x80 train background"
    r = only(advise(drawn({"cat": 20, "dog": 20}, form="yolo", extra=extra), policy=POLICIES["detector"]), "remove_background")

    assert r.parameters["images"] == 1


def test_screening_follows_deployment_or_shifts_the_logits() -> None:
    """One positive in five: at least 72 % backgrounds; the other way is the difference of the log odds."""
    r = only(advise(drawn({"cat": 20, "dog": 20}, extra=backgrounds(10)), policy=screening(0.2)), "add_background")

    assert r.parameters["images"] == 93  # (0.72 · 50 − 10) ÷ 0.28 = 92.9
    assert "add -2.77 to each logit" in r.why  # ln(0.2 ÷ 0.8) − ln(0.8 ÷ 0.2)


def test_folders_and_no_policy_get_no_background_advice() -> None:
    """Nothing is said unless a policy asks for it."""
    assert not {"add_background", "remove_background"} & set(actions(advise(drawn({"cat": 3}, form="folder"))))


# Collecting ---------------------------------------------------------------------------------------------------------


def test_rare_classes_are_collected_up_to_common() -> None:
    """Ten images are rare, eleven are not; the fewest come first."""
    r = only(advise(drawn({"cat": 11, "dog": 10, "cow": 4})), "collect")

    assert "2 of 3 classes have at most 10 images in the training split (rare in LVIS's terms)" in r.why
    assert "To reach 11 images: cow 7 more (has 4), dog 1 more (has 10)." in r.why
    assert "cow is 1,496 images and 9,996 instances short" in r.why
    assert (r.parameters["images"], r.parameters["target_images"], r.parameters["classes"]) == (8, 11, 2)
    assert r.expected is not None
    assert r.expected.classes == (("cat", 11, 11), ("dog", 10, 11), ("cow", 4, 11))
    assert (r.expected.epoch_images, r.expected.imbalance_ratio) == (33, 1.0)
    assert "collect" not in actions(advise(drawn({"cat": 11, "dog": 11})))


def test_an_imbalanced_dataset_collects_for_its_common_classes() -> None:
    """Without rare classes the next step is LVIS's frequent, and only where imbalance gives a reason."""
    r = only(advise(drawn({"cat": 150, "dog": 15})), "collect")

    assert (r.parameters["target_images"], r.parameters["images"]) == (101, 86)
    assert "collect" not in actions(advise(drawn({"cat": 149, "dog": 15})))


def test_small_classes_of_a_larger_dataset_are_measured_against_the_recommendation() -> None:
    """Beyond 100 images only classes below a tenth of the largest are asked for, up to 1,500 images."""
    r = only(advise(drawn({"cat": 1020, "dog": 102, "cow": 103})), "collect")

    assert "1 of 3 classes has less than a tenth of the largest class's instances" in r.why
    assert "dog 1,398 more (has 102)" in r.why and "not as a minimum" in r.why


def test_unused_classes_are_named() -> None:
    """A class without training images is taken out or collected for; no number is invented."""
    dataset = draw("classes: cat dog ox\n" + "".join(f"{n}{i}.jpg 9x9 train\n  {n} 0 0 5 5\n" for n in ("cat", "dog") for i in range(11))
                   + "v.jpg 9x9 val\n  ox 0 0 5 5")[0]  # fmt: skip
    r = only(advise(dataset, finding("DD203", "class-unused", Severity.WARNING)), "collect")

    assert r.why.startswith("1 class has no instances in the training split: ox.")
    assert (r.addresses, r.expected, r.parameters["images"], r.parameters["unused_classes"]) == (("DD203",), None, 0, 1)


# Balance ------------------------------------------------------------------------------------------------------------


def test_detection_repeats_images_of_rare_classes() -> None:
    """The threshold is the quantile of this dataset's image frequencies that balances most within the budget."""
    r = only(advise(drawn({"cat": 160, "dog": 16}), finding("DD201", "class-imbalance", Severity.WARNING)), "repeat_factor")

    # Frequencies 10/11 and 1/11; their 90 % quantile is 0.8273, dog's factor sqrt(0.8273 · 11) = 3.0166: 48 or 49 dogs.
    assert r.parameters == {"method": "repeat_factor", "threshold": 0.827273, "budget": 1.5, "max_repeat": 10}
    assert "cat has 160 instances in the training split, dog 16: 10.0 : 1." in r.why
    assert "brings 3.3 : 1" in r.why  # 160 ÷ (16 · 3.0166)
    assert r.cost.startswith("an epoch of 209 instead of 176 images (1.19 ×); 224 in MMDetection")
    assert (
        r.command
        == "dataset-doctor rebalance nowhere nowhere-balanced --method repeat_factor --threshold 0.827273 --budget 1.5 --max-repeat 10"
    )
    assert "0.9 to 1.3 mAP" in r.why and "candidate" in r.why and r.strength == "policy"
    assert r.addresses == ("DD201",) and r.expected is not None and r.expected.classes == (("cat", 160, 160), ("dog", 16, 49))
    assert not {"repeat_factor", "weights", "oversample"} & set(actions(advise(drawn({"cat": 159, "dog": 16}))))


def test_repeating_is_not_advised_where_every_image_holds_every_class() -> None:
    """The imbalance is within the images: weights are what is left, and they say why."""
    image = "{}.jpg 100x80 train\n" + "  cell 0 0 9 9\n" * 12 + "  disc 0 0 9 9\n"
    dataset = draw("classes: cell disc\n" + "".join(image.format(i) for i in range(20)) + "v.jpg 9x9 val background")[0]
    advice = advise(dataset)

    assert "repeat_factor" not in actions(advice)
    assert "disc is in 100 % of them, and cell shows 12.0 times" in only(advice, "weights").why


def test_folders_are_oversampled_towards_the_square_root() -> None:
    """400 and 25 images: 25 becomes sqrt(400 · 25) = 100."""
    advice = advise(drawn({"cat": 400, "dog": 25}, form="folder"))
    r = only(advice, "oversample")

    assert r.parameters == {"method": "oversample", "target": "sqrt", "budget": 1.5, "max_repeat": 10}
    assert "cat has 400 images" in r.why and "16.0 : 1" in r.why and "brings 4.0 : 1" in r.why
    assert r.cost == "an epoch of 500 instead of 425 images" and "64.76" in r.why
    assert actions(advice).index("oversample") < actions(advice).index("weights")
    assert not {"repeat_factor", "focal_loss"} & set(actions(advice))


def test_weights_fit_their_beta_to_the_median_class() -> None:
    """Counts 200, 20, 10: beta = 1 − 1/20, and the weights average to one over the samples."""
    r = only(advise(drawn({"cat": 200, "dog": 20, "cow": 10})), "weights")

    assert r.parameters == {"scheme": "effective", "beta": 0.95, "cap": 50, "normalize": "sample", "count": "instances"}
    raw = [0.05 / (1 - 0.95**n) for n in (200, 20, 10)]
    mean = sum(n * w for n, w in zip((200, 20, 10), raw, strict=True)) / 230
    assert f"cow (10) {raw[2] / mean:.2f} and cat (200) {raw[0] / mean:.2f}: 2.5 : 1" in r.why
    assert "6.1 points" in r.why and "58.38" in r.why and r.strength == "policy"


def test_weights_answer_imbalance_and_no_empty_class() -> None:
    """A class without instances cannot be weighed: it is named, and what was found of it is not among what weights answer."""
    found = [finding("DD201", "class-imbalance", Severity.WARNING), finding("DD203", "class-unused", Severity.INFO)]
    r = only(advise(drawn({"cat": 200, "dog": 20, "ox": 0}), *found), "weights")

    assert r.why.startswith("1 class has no instances in the training split and cannot be weighted: ox.")
    assert r.addresses == ("DD201",)


@pytest.mark.parametrize("splits", ["val", "test", "val test"])
def test_what_only_measures_is_not_balanced(splits: str) -> None:
    """A validation split should be as the world is: nothing is repeated, weighed, left out, augmented or split in it."""
    advice = advise(drawn({"cat": 200, "dog": 10}, splits=splits, extra=backgrounds(0)), policy=POLICIES["detector"])

    assert not {r.action for r in advice} & {"repeat_factor", "weights", "augment", "resplit", "remove_background", "undersample"}
    assert all(r.command is None for r in advice)


def test_what_was_rebalanced_is_not_rebalanced_again() -> None:
    """Repeats that a manifest states are the answer to the imbalance; what is left of it is for weights."""
    dataset = drawn({"cat": 160, "dog": 16})
    balanced = rebalance(dataset, method="repeat_factor").apply(dataset)

    advice = advise(balanced, finding("DD201", "class-imbalance", Severity.WARNING))

    assert not {r.action for r in advice if r.command} & {"repeat_factor", "augment", "resplit"}


def test_undersampling_needs_plenty_and_says_what_is_lost() -> None:
    """16,000 images of one class: 1,000 go; of 14,999 none does."""
    counts = {"cat": 16_000, "dog": 1_600}
    r = only(advise(drawn(counts, form="folder")), "undersample")

    assert r.parameters == {"method": "undersample", "target": "floor:15000", "budget": 1.5, "max_repeat": 10, "images": 1000}
    assert r.expected is not None and r.expected.classes == (("cat", 16_000, 15_000), ("dog", 1_600, 1_600))
    assert "What is lost" in r.why and "1,000 images of 17,600 not seen" in r.cost
    assert "undersample" not in actions(advise(drawn({"cat": 14_999, "dog": 1_499}, form="folder")))


def test_focal_loss_says_that_it_does_not_balance_classes() -> None:
    """It is for small objects before much background: 81 of 8,000 px² is more than 1 %, 64 is less."""
    counts = {"cat": 200, "dog": 20}
    r = only(advise(drawn(counts, box="0 0 8 8")), "focal_loss")

    assert "0.80 % of its image" in r.why and "does not balance classes" in r.why and "never set alpha" in r.why
    assert "focal_loss" not in actions(advise(drawn(counts, box="0 0 9 9")))
    assert "focal_loss" not in actions(advise(drawn({"cat": 20, "dog": 20}, box="0 0 8 8")))


# Input size ---------------------------------------------------------------------------------------------------------


def sized(size: str, side: int) -> Recommendation:
    images = [f"{i}.jpg {size} train\n  cat 0 0 {side} {side + 9}" for i in range(11)]
    text = "\n".join(["classes: cat", *images, "v.jpg 9x9 val background"])
    return only(advise(draw(text)[0], finding("DD105", "box-tiny", Severity.WARNING)), "input_size")


def test_input_is_the_usual_one_where_objects_are_large_enough() -> None:
    """128 of 1,280 px are 64 px at 640; half the size is offered for speed."""
    r = sized("1280x960", 128)

    assert r.parameters == {"input": 640, "batch": 16, "small_side_share": 0.1}
    assert "below 10 % of its image's longer side, which is 64 px at 640" in r.why and "320 leaves 32 px, with 25 % of the pixels" in r.why
    assert r.cost.startswith("about 11.2 GiB at batch 16") and r.addresses == ("DD105",)


def test_the_tenth_percentile_of_the_sides_decides() -> None:
    """One small object in five calls for a larger input, one in twenty does not."""
    found = []
    for small in (20, 5):
        sides = [26] * small + [128] * (100 - small)
        images = [f"{i}.jpg 1280x960 train\n  cat 0 0 {side} {side}" for i, side in enumerate(sides)]
        dataset = draw("\n".join(["classes: cat", *images, "v.jpg 9x9 val background"]))[0]
        found.append(only(advise(dataset), "input_size").parameters["input"])

    assert found == [800, 640]


def test_input_grows_with_small_objects_and_ends_in_tiles() -> None:
    """16 px are aimed at, 8 px accepted, and below that images are cut."""
    assert sized("1280x960", 26).parameters["input"] == 800  # 26 ÷ 1280 · 800 = 16.3
    assert sized("1280x960", 10).parameters["input"] == 1024  # 8 px exactly; 16 would take 2,048
    tiled = sized("4000x3000", 20)
    # 8 px need 4000 ÷ 20 · 8 = 1,600: ⌈(1600 − 128) ÷ 512⌉ × ⌈(1200 − 128) ÷ 512⌉ tiles of 640 ÷ 1600 · 4000 px
    assert tiled.parameters == {"input": 640, "batch": 16, "small_side_share": 0.005, "tile_px": 1600, "overlap": 0.2, "tiles_per_image": 9}
    assert "Cut tiles" in tiled.why


def test_no_tile_helps_an_object_of_one_pixel() -> None:
    """Below two pixels at full resolution the boxes are to be looked at."""
    r = sized("4000x3000", 1)

    assert "no input size and no tiles help" in r.why and "tile_px" not in r.parameters


def test_large_inputs_come_with_a_smaller_batch() -> None:
    """Where batch 16 takes more than 16 GiB, batch 4 is priced too."""
    assert "GiB at batch 4 (below 8, freeze batch normalisation)" in sized("1280x960", 10).cost
    assert "batch 4" not in sized("1280x960", 128).cost


def test_pictures_smaller_than_the_pretrained_input_are_compared() -> None:
    """100 px enlarged to 224 cost five times the computation."""
    r = only(advise(drawn({"cat": 20, "dog": 20}, form="folder")), "input_size")

    assert r.parameters["input"] == 224 and "5.0 × the computation of 100 px" in r.why


def test_input_size_needs_image_sizes() -> None:
    """Nothing is guessed where no size is known."""
    unknown = draw("classes: cat\na.jpg ? train\n  cat 0 0 9 9\nb.jpg ? val\n  cat 0 0 9 9")[0]

    assert "input_size" not in actions(advise(unknown))


def test_boxes_that_are_no_numbers_are_left_out_of_the_size() -> None:
    """An infinite or reversed box neither warns nor counts."""
    dataset = drawn({"cat": 20, "dog": 20})
    corners = dataset.annotations.corners.copy()
    corners[:10] = [[np.inf] * 4, [np.nan] * 4, *[[50, 50, 0, 0]] * 4, *[[10, 10, 10, 30]] * 4]
    broken = dataclasses.replace(dataset, annotations=dataclasses.replace(dataset.annotations, corners=corners))

    assert only(advise(broken), "input_size") == only(advise(dataset), "input_size")


# Augmentation -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("names", "parameters"),
    [
        ("left_hand right_hand", {"fliplr": 0.0, "flipud": 0.0, "degrees": 10}),
        ("leftHand face", None),
        ("6 9", {"fliplr": 0.0, "flipud": 0.0, "degrees": 10}),
        ("stop_sign car", {"fliplr": 0.0, "flipud": 0.0, "degrees": 10}),
        ("red_light green_light", {"hsv_h": 0.0, "degrees": 10}),
        ("traffic_light orange", None),
        ("ripe-tomato tomato", {"hsv_h": 0.0, "degrees": 10}),
        ("drone_view_car bus", {"fliplr": 0.5, "flipud": 0.5}),
        ("cell_phone car", None),
        ("cat dog", None),
    ],
)
def test_class_names_forbid_what_would_change_their_meaning(names: str, parameters: dict[str, object] | None) -> None:
    """Mirror images, hue and turns are judged by the names; other names give no advice."""
    advice = advise(drawn(dict.fromkeys(names.split(), 20)))

    if parameters is None:
        assert "augment" not in actions(advice)
    else:
        r = only(advice, "augment")
        assert r.parameters == parameters and "guess" in r.why and r.strength == "policy"


def test_one_sign_among_many_things_does_not_stop_the_flips() -> None:
    """Text decides only where it is a tenth of the instances."""
    assert "augment" not in actions(advise(drawn({"car": 100, "stop_sign": 11})))


def test_mosaic_and_mixup_come_before_balancing_in_detection() -> None:
    """A long tail is answered first by what was measured to help; copy-paste needs outlines."""
    dataset = drawn({"cat": 200, "dog": 20})
    r = only(advise(dataset), "augment")

    assert {name: r.parameters[name] for name in ("operations", "mosaic", "mixup", "degrees")} == {
        "operations": "mosaic, mixup", "mosaic": 1.0, "mixup": 0.3, "degrees": 10,
    }  # fmt: skip
    assert r.strength == "evidence" and "25.4 to 32.0 mAP" in r.why and "guess" not in r.why
    outlines = np.full(dataset.n_annotations, Geometry.POLYGON, np.uint8)
    outlined = dataclasses.replace(dataset, annotations=dataclasses.replace(dataset.annotations, geometry=outlines))
    assert only(advise(outlined), "augment").parameters["operations"] == "mosaic, mixup, copy-paste"


def coco(folder: Path, **record: object) -> Dataset:
    """Write 110 pictures, each of a cat but for the last 10, which show a dog; each record gets further members."""
    box = {"bbox": [10, 10, 30, 30], "area": 900, "iscrowd": 0, **record}
    document = {
        "images": [{"id": n, "file_name": f"{n}.jpg", "width": 100, "height": 80} for n in range(1, 111)],
        "annotations": [{"id": n, "image_id": n, "category_id": 1 + (n > 100), **box} for n in range(1, 111)],
        "categories": [{"id": 1, "name": "cat"}, {"id": 2, "name": "dog"}],
    }
    folder.mkdir()
    (folder / "train.json").write_text(json.dumps(document))
    picture = Image.effect_noise((100, 80), 60).convert("RGB")
    for n in range(1, 111):
        picture.save(folder / f"{n}.jpg")
    return dd.read(folder)


def test_what_can_be_made_as_files_has_its_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Repeats are altered where they help and image files are here, objects pasted where outlines are; no advice decodes an image."""
    monkeypatch.delattr("cv2.imdecode")
    dataset, hands = drawn({"cat": 200, "dog": 20}), drawn({"left_hand": 20, "right_hand": 20})
    repeated = only(advise(coco(tmp_path / "boxes")), "augment")
    pasted = only(advise(coco(tmp_path / "outlines", segmentation=[[10, 10, 40, 10, 40, 40, 10, 40]])), "augment")
    folder = only(advise(with_pictures(drawn({"cat": 200, "dog": 20}, form="folder"), tmp_path / "folders")), "augment")

    assert repeated.command is not None and "--method repeat_factor" in repeated.command and repeated.command.endswith("--augment light")
    assert pasted.command is not None and "--method copy_paste" in pasted.command
    assert repeated.expected is not None and repeated.expected.classes[1][2] > 10
    assert pasted.expected is None, "where to paste is looked for by the command alone"
    assert folder.command is not None and "--method oversample" in folder.command and folder.parameters["augment"] == "light"
    assert only(advise(with_pictures(hands, tmp_path / "hands")), "augment").command is None
    no_files = dataclasses.replace(dataset.images, has_file=np.zeros(dataset.n_images, bool))
    assert only(advise(dataclasses.replace(dataset, images=no_files)), "augment").command is None


@pytest.mark.parametrize(
    ("names", "light", "preset"),
    [
        ("cat dog", (0.2, 0.8), "outdoor"),
        ("cat dog", (0.4, 0.5), "indoor"),
        ("stop_sign speed_sign", (0.2, 0.8), "text"),
        ("left_hand right_hand", None, "text"),
        ("drone_view_car bus", (0.2, 0.8), "aerial"),
        ("rbc wbc", None, "microscopy"),
        ("red_light green_light", (0.2, 0.8), "light"),
    ],
)
def test_the_preset_follows_names_and_light(names: str, light: tuple[float, float] | None, preset: str, tmp_path: Path) -> None:
    """Names come first, then how much the pictures differ in brightness; without a look at the pictures nothing is assumed."""
    dataset = with_pictures(drawn(dict(zip(names.split(), (100, 10), strict=True)), form="folder"), tmp_path)

    assert only(advise(dataset, light=light), "augment").parameters["augment"] == preset


# Model and hyper-parameters -----------------------------------------------------------------------------------------


def test_model_and_hyperparameters_follow_task_and_size() -> None:
    """Boxes start with the smallest detector, folders with a small classifier; steps are exact."""
    boxes, folder = advise(drawn({"cat": 20, "dog": 21})), advise(drawn({"cat": 20, "dog": 21}, form="folder"))

    assert only(boxes, "model").parameters["model"] == "yolo11n"
    assert only(folder, "model").parameters["model"] == "resnet18"
    assert only(boxes, "hyperparameters").parameters["steps_per_epoch"] == 3  # ⌈41 ÷ 16⌉
    assert only(folder, "hyperparameters").parameters["steps_per_epoch"] == 2  # ⌈41 ÷ 32⌉
    assert only(boxes, "model").why.startswith("41 images and 41 instances of 2 classes in the training split")


# Real datasets ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("folder", "expected"),
    [
        ("bccd_voc", ["fix_labels", "collect", "augment", "weights", *ALWAYS]),
        ("aquarium_yolo", ["collect", "augment", "repeat_factor", "weights", "focal_loss", *ALWAYS]),
        ("clothing64", ["fix_labels", "resplit", "collect", "augment", "oversample", "weights", *ALWAYS]),
    ],
)
def test_real_datasets_get_the_advice_that_a_practitioner_would_give(shared_data: Path, folder: str, expected: list[str]) -> None:
    """From the figures alone, so that further checks do not change it."""
    dataset = dd.read(shared_data / folder)
    report = dd.audit(dataset)
    found = [f for f in report.findings if f.code in ("DD101",)]
    policy = POLICIES["none" if dataset.format == "folder" else "detector"]

    assert actions(advise(dataset, *found, policy=policy)) == expected
    for r in report.recommendations:
        if "method" in r.parameters and r.action != "augment":
            agrees_with_rebalance(dataset, r)
    assert {r.action for r in report.recommendations} >= set(expected)


def test_the_checks_that_rules_refer_to_exist() -> None:
    """A renamed check would silence a rule; those still to come are listed here."""
    to_come = {"image-duplicate", "image-near-duplicate", "split-leakage", "duplicate-label-conflict", "box-tiny"}
    single = (recommend_module.CLASS_IMBALANCE, recommend_module.CLASS_RARE, recommend_module.CLASS_UNUSED, recommend_module.CLASS_ROOT,
              recommend_module.BACKGROUND_SHARE, recommend_module.NO_VALIDATION, recommend_module.BOX_TINY)  # fmt: skip
    groups = (recommend_module.DUPLICATES, recommend_module.LEAKAGE, recommend_module.UNEVEN_SPLITS, recommend_module.WRONG_LABELS)

    assert {*single, *(name for group in groups for name in group)} - {check.name for check in CHECKS} <= to_come


def test_rules_are_functions_with_a_sentence_each() -> None:
    """The table is what runs, and every rule says what it is for."""
    assert len(set(RULES)) == len(RULES) and all((rule.__doc__ or "").strip().endswith(".") for rule in RULES)
