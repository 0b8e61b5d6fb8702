"""Detection: what is trained on, that it learns, repeats itself and heeds its weights, and the whole comparison by the command."""

from __future__ import annotations

import dataclasses
import json
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from dataset_doctor.balance.presets import PRESETS, Augmentation
from dataset_doctor.dataset import Dataset
from dataset_doctor.errors import ComparisonRefused, UsageError
from dataset_doctor.formats import read
from dataset_doctor.trials import default_arms, detection, verify
from dataset_doctor.trials.arms import BASELINE, Treatment, parse_arms
from dataset_doctor.trials.augmentation import augment_with_boxes
from dataset_doctor.trials.detection import Views
from dataset_doctor.trials.loop import Trained, Trial
from dataset_doctor.trials.metrics import Detections
from dataset_doctor.trials.models import detectors
from dataset_doctor.trials.settings import Settings, choose_task, default_settings
from dataset_doctor.trials.store import load_trained, save_trained
from tests.command import run as command
from tests.trials.drawn import COLOURS

SIDE = 64
QUICK = Settings(model="tiny_fcos", size=SIDE, steps=12, batch=4, evaluations=3, augment="light")
BIG, SMALL = 24, 12


def draw(path: Path, objects: Sequence[tuple[int, int, int, int]], size: tuple[int, int], seed: int) -> str:
    """Draw squares (class, x, y, side) on noise into a file, and give their YOLO lines."""
    width, height = size
    picture = np.random.default_rng(seed).integers(90, 150, (height, width, 3)).astype(np.uint8)
    lines = []
    for label, x, y, side in objects:
        picture[y : y + side, x : x + side] = COLOURS[label]
        lines.append(f"{label} {(x + side / 2) / width} {(y + side / 2) / height} {side / width} {side / height}\n")
    Image.fromarray(picture).save(path)
    return "".join(lines)


def write(root: Path, counts: dict[str, int], *, size: tuple[int, int] = (96, 64), classes: int = 2, empty: int = 4) -> Path:
    """Write a YOLO dataset of coloured squares; each `empty`-th image shows none."""
    for at_split, (split, n) in enumerate(counts.items()):
        (root / "images" / split).mkdir(parents=True)
        (root / "labels" / split).mkdir(parents=True)
        for at in range(n):
            rng = np.random.default_rng((at_split, at))
            objects = []
            if at % empty:
                for label in range(classes):
                    side = int(rng.choice([SMALL, BIG]))
                    x, y = (
                        rng.integers(label * size[0] // classes, (label + 1) * size[0] // classes - side),
                        rng.integers(0, size[1] - side),
                    )
                    objects.append((label, int(x), int(y), side))
            text = draw(root / "images" / split / f"{split}{at:02}.png", objects, size, 100 * at_split + at)
            (root / "labels" / split / f"{split}{at:02}.txt").write_text(text)
    names = ", ".join(["red", "green", "blue"][:classes])
    (root / "data.yaml").write_text(f"train: images/train\nval: images/val\ntest: images/test\nnames: [{names}]\n")
    return root


@pytest.fixture(scope="session")
def squares(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two classes of squares; a quarter of the images show nothing."""
    return write(tmp_path_factory.mktemp("detect") / "squares", {"train": 16, "val": 8, "test": 12})


@pytest.fixture(scope="session")
def dataset(squares: Path) -> Dataset:
    """The squares as they are read."""
    return read(squares)


@pytest.fixture(scope="session")
def views(dataset: Dataset) -> Views:
    """The squares as they are trained on."""
    return detection.load(dataset, SIDE)


def run(views: Views, seed: int = 0, settings: Settings = QUICK, treatment: Treatment | None = None, **options: Any) -> Trained:
    return detection.run(Trial(BASELINE, treatment or Treatment(), settings, seed, **options), views)


def same(one: Trained, other: Trained) -> bool:
    """Tell whether two trainings agree in every bit of their curves and of what they found."""
    assert isinstance(one.outcome, Detections) and isinstance(other.outcome, Detections)
    found, others = one.outcome, other.outcome
    return one.curves == other.curves and np.array_equal(found.score, others.score) and np.array_equal(found.box, others.box)


# What is trained on -----------------------------------------------------------------------------------------------------


def test_boxes_lie_on_what_they_mark(views: Views) -> None:
    """An image of 96 × 64 is reduced to a square; inside each box, scaled, is its colour, and outside there is none of it."""
    for scenes in (views.train, views.test):
        for row in range(len(scenes.label)):
            x1, y1, x2, y2 = np.round(scenes.box[row] * scenes.scale[scenes.of[row]]).astype(int)
            inside = scenes.pictures.pixels[scenes.of[row]][y1 + 1 : y2 - 1, x1 + 1 : x2 - 1].numpy().reshape(-1, 3)
            np.testing.assert_allclose(inside.mean(axis=0), COLOURS[scenes.label[row]], atol=12)
        np.testing.assert_array_equal(scenes.size, np.tile([96, 64], (len(scenes), 1)))


def test_background_images_are_trained_on_and_unlabelled_ones_are_not(squares: Path, tmp_path: Path) -> None:
    """An empty label file says that there is nothing; no label file says nothing."""
    import shutil

    root = shutil.copytree(squares, tmp_path / "squares")
    (root / "labels/train/train01.txt").unlink()
    views = detection.load(read(root), SIDE)

    assert len(views.train) == 15 and views.train.background.sum() == 4
    assert views.train_images.tolist() == [11, 11]
    assert any(note.startswith("1 image left out: no label file") for note in views.notes)


def test_crowds_are_no_positives_and_difficult_objects_need_not_be_found(tmp_path: Path) -> None:
    """COCO's crowd regions are not trained on; VOC's difficult objects are, and count neither way; what has no class is left out."""
    root = tmp_path / "coco"
    images, annotations = [], []
    for number, split in enumerate(("train", "val", "test")):
        (root / split).mkdir(parents=True)
        draw(root / split / f"{split}.png", [(0, 4, 4, 20)], (64, 64), number)
        images = [{"id": 1, "file_name": f"{split}.png", "width": 64, "height": 64}]
        annotations = [
            {"id": 1, "image_id": 1, "category_id": 1, "bbox": [4, 4, 20, 20], "area": 400, "iscrowd": 0},
            {"id": 2, "image_id": 1, "category_id": 1, "bbox": [30, 30, 30, 30], "area": 900, "iscrowd": 1},
            {"id": 3, "image_id": 1, "category_id": 1, "bbox": [80, 30, 30, 30], "area": 900, "iscrowd": 0},
        ]
        document = {"images": images, "annotations": annotations, "categories": [{"id": 1, "name": "red"}]}
        (root / split / "_annotations.coco.json").write_text(json.dumps(document))

    views = detection.load(read(root), SIDE)
    found = detection._detections(
        views.class_names, views.test, [{"boxes": torch.zeros(0, 4), "labels": torch.zeros(0), "scores": torch.zeros(0)}]
    )

    assert views.train.trained.tolist() == [True, False] and views.train.crowd.tolist() == [False, True]
    assert detection._Job(views, QUICK)._boxes.tolist() == [[4, 4, 24, 24]]
    assert found.ignored.tolist() == [False, True] and found.instances.tolist() == [1]
    assert any("3 objects left out: no declared class, or no box inside" in note for note in views.notes)
    assert any("3 crowd regions and ignored objects: not trained on" in note for note in views.notes)


def test_difficult_objects_are_trained_on_and_said(tmp_path: Path) -> None:
    """As VOC's own evaluation has it."""
    root = tmp_path / "voc"
    for part in ("JPEGImages", "Annotations", "ImageSets/Main"):
        (root / part).mkdir(parents=True)
    for number, split in enumerate(("train", "val", "test")):
        draw(root / "JPEGImages" / f"{split}.png", [(0, 4, 4, 20)], (64, 64), number)
        (root / "ImageSets/Main" / f"{split}.txt").write_text(f"{split}\n")
        objects = "".join(
            f"<object><name>red</name><pose>Left</pose><truncated>0</truncated><difficult>{difficult}</difficult><bndbox><xmin>5</xmin>"
            f"<ymin>5</ymin><xmax>24</xmax><ymax>24</ymax></bndbox></object>"
            for difficult in (0, 1)
        )
        (root / "Annotations" / f"{split}.xml").write_text(
            f"<annotation><folder>voc</folder><filename>{split}.png</filename><size><width>64</width><height>64</height><depth>3</depth>"
            f"</size><segmented>0</segmented>{objects}</annotation>"
        )

    views = detection.load(read(root), SIDE)

    nothing = {"boxes": torch.zeros(0, 4), "labels": torch.zeros(0), "scores": torch.zeros(0)}

    assert views.train.trained.all() and views.train.difficult.tolist() == [False, True]
    assert detection._detections(views.class_names, views.test, [nothing]).instances.tolist() == [1]
    assert any("3 difficult objects: trained on; when measuring" in note for note in views.notes)


# Augmentation -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("preset", sorted(PRESETS))
def test_boxes_follow_their_pictures(preset: str) -> None:
    """A white square on black, flipped, turned, shifted and zoomed: the box that comes back is the one around what is white."""
    how = dataclasses.replace(PRESETS[preset].training, brightness=0.0, contrast=0.0, saturation=0.0, colour=0.0, noise=0.0)
    torch.manual_seed(3)
    pictures, boxes = torch.zeros(16, 3, 64, 64), torch.tensor([[18.0, 10.0, 40.0, 22.0]] * 16)
    pictures[:, :, 10:22, 18:40] = 1

    moved, boxes, seen = augment_with_boxes(pictures, boxes, torch.arange(16), how)

    assert seen.all()
    for picture, box in zip(moved, boxes.tolist(), strict=True):
        y, x = torch.nonzero(picture[0] > 0.5, as_tuple=True)
        around = [float(x.min()), float(y.min()), float(x.max()) + 1, float(y.max()) + 1]
        np.testing.assert_allclose(box, around, atol=1.01)


def test_boxes_that_leave_the_picture_are_cut_off_or_left_out() -> None:
    """Shifted by half a side: what is left lies inside, and a box of which less than a quarter is left is not trained on."""
    torch.manual_seed(0)
    boxes = torch.tensor([[0.0, 0.0, 16.0, 16.0]] * 64)

    _, moved, seen = augment_with_boxes(torch.zeros(64, 3, 32, 32), boxes, torch.arange(64), Augmentation(shift=0.5))

    assert moved.min() >= 0 and moved.max() <= 32
    left = (moved[:, 2:] - moved[:, :2]).prod(dim=1) / 256
    assert (left[seen] >= 0.25).all() and (left[~seen] < 0.25).all() and 0 < seen.sum() < 64


def test_places_are_exact_where_a_training_is_in_half_precision() -> None:
    """Under autocast boxes and images move as they do without: bfloat16 would be off by pixels."""
    pictures, boxes, of = torch.rand(4, 3, 96, 96), torch.rand(4, 4).cumsum(dim=1) * 20, torch.arange(4)

    def moved() -> tuple[torch.Tensor, ...]:
        torch.manual_seed(2)
        return augment_with_boxes(pictures, boxes, of, PRESETS["outdoor"].training)

    plain = moved()
    with torch.autocast("cpu", torch.bfloat16):
        half = moved()

    assert all(torch.equal(one, other) for one, other in zip(plain, half, strict=True))


# It learns, and repeats itself ------------------------------------------------------------------------------------------


def test_it_learns_one_batch_by_heart(views: Views) -> None:
    """The training images, looked at again after a while, are found: nothing keeps the gradient or the boxes from each other."""
    again = dataclasses.replace(views, val=views.train, test=views.train)
    settings = dataclasses.replace(QUICK, steps=100, batch=16, augment="none", evaluations=2)

    trained = run(again, settings=settings)

    assert trained.outcome.metrics()["ap50"] > 0.9
    assert trained.curves["loss"][-1] < 0.5 * trained.curves["loss"][0]


def test_the_same_seed_gives_the_same_curve_and_weights_of_one_change_nothing(views: Views) -> None:
    """Bit for bit; other seeds, weights and repeats give other numbers."""
    baseline = run(views)

    assert same(run(views), baseline)
    assert same(run(views, treatment=Treatment(class_weights=np.ones(2), repeats=np.ones(36))), baseline)
    assert not same(run(views, 1), baseline)
    assert not same(run(views, treatment=Treatment(class_weights=np.array([1.0, 3.0]))), baseline)
    assert not same(run(views, treatment=Treatment(repeats=np.arange(1.0, 37))), baseline)


def test_it_goes_on_after_a_kill_with_the_same_curve(views: Views, squares: Path, tmp_path: Path) -> None:
    """A process that is killed at step 10 of 12 leaves a checkpoint of step 8."""
    checkpoint = tmp_path / "run.pt"
    code = (
        "import os, signal, sys, torch\nfrom pathlib import Path\nfrom dataset_doctor.formats import read\n"
        "from dataset_doctor.trials import detection\nfrom tests.trials.test_detection import SIDE, run\ntorch.set_num_threads(1)\n"
        "views = detection.load(read(sys.argv[2]), SIDE)\n"
        "run(views, checkpoint=Path(sys.argv[1]), stepped=lambda step: step == 10 and os.kill(os.getpid(), signal.SIGKILL))\n"
    )
    place = Path(__file__).parents[2]
    killed = subprocess.run([sys.executable, "-c", code, str(checkpoint), str(squares)], cwd=place, capture_output=True, check=False)
    assert killed.returncode == -signal.SIGKILL, killed.stderr.decode()
    steps: list[int] = []

    resumed = run(views, checkpoint=checkpoint, stepped=steps.append)

    assert steps == [9, 10, 11, 12]
    assert same(resumed, run(views))


def test_a_finished_training_is_kept_and_loaded(views: Views, tmp_path: Path) -> None:
    """What is loaded scores as what was saved."""
    trained = run(views)
    save_trained(trained, tmp_path / "seed-0.npz")

    again = load_trained(tmp_path / "seed-0.npz")

    assert again is not None and same(again, trained) and again.cost == trained.cost
    assert again.outcome.metrics() == pytest.approx(trained.outcome.metrics(), nan_ok=True)
    assert again.test_predictions is None and trained.cost.latency_ms > 0
    if sys.platform == "linux":
        assert trained.cost.peak_memory_bytes > 50 << 20


# Detectors --------------------------------------------------------------------------------------------------------------

QUICKEST = {"fasterrcnn": "fasterrcnn_mobilenet_v3_large_320_fpn", "ssd": "ssdlite320_mobilenet_v3_large"}


@pytest.mark.parametrize("name", QUICKEST.values())
def test_torchvisions_detectors_train_and_heed_weights(views: Views, name: str) -> None:
    """Two steps of each kind; weights of one change no bit, others do, and so does focal loss where there is the choice."""
    settings = dataclasses.replace(QUICK, model=name, steps=2, batch=2, evaluations=1, lr=1e-4)
    plain = run(views, settings=settings)

    assert same(run(views, settings=settings, treatment=Treatment(class_weights=np.ones(2))), plain)
    assert not same(run(views, settings=settings, treatment=Treatment(class_weights=np.array([0.2, 5.0]))), plain)
    if name.startswith("fasterrcnn"):
        assert run(views, settings=settings, treatment=Treatment(loss="focal_loss")).curves["loss"] < plain.curves["loss"]


@pytest.mark.parametrize("name", ["retinanet_resnet50_fpn", "fcos_resnet50_fpn", "ssdlite320_mobilenet_v3_large", QUICKEST["fasterrcnn"]])
def test_the_loss_of_the_classes_is_torchvisions_where_no_weights_are_given(name: str) -> None:
    """Taken over, it gives the same number as before, also for an image without objects; weights of two double it for objects alone."""
    targets = [
        {"boxes": torch.tensor([[4.0, 4.0, 40.0, 36.0], [30.0, 20.0, 60.0, 60.0]]), "labels": torch.tensor([1, 2])},
        {"boxes": torch.zeros(0, 4), "labels": torch.zeros(0, dtype=torch.int64)},
    ]
    pictures = list(torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(0)))

    def losses(take_over: bool, weight: list[float] | None = None) -> dict[str, float]:
        settings = dataclasses.replace(QUICK, model=name)
        weigh = detectors.Weigh(None if weight is None else torch.tensor(weight))
        torch.manual_seed(0)
        with pytest.MonkeyPatch.context() as patch:
            if not take_over:
                patch.setattr(detectors, "_take_over", lambda model, weigh: None)
            model, _ = detectors.build(settings, 2, seed=0, weigh=weigh)
        torch.manual_seed(1)
        with torch.no_grad():
            return {key: float(value) for key, value in model(pictures, targets).items()}

    theirs, ours = losses(False), losses(True)

    assert ours == pytest.approx(theirs, rel=1e-5)
    assert losses(True, [2.0, 2.0, 2.0])["bbox_regression" if "rcnn" not in name else "loss_box_reg"] == pytest.approx(
        theirs["bbox_regression" if "rcnn" not in name else "loss_box_reg"], rel=1e-5
    )
    part = "loss_classifier" if "rcnn" in name else "classification"
    assert theirs[part] < losses(True, [1.0, 2.0, 2.0])[part] <= 2 * theirs[part]


def test_a_detector_begins_alike_for_one_seed_and_takes_weights_from_a_file(tmp_path: Path) -> None:
    """Of other classes, all but what tells the classes is taken; of another detector, nothing is."""
    model, _ = detectors.build(QUICK, 5, seed=1)
    torch.save(model.state_dict(), tmp_path / "five.pt")
    settings = dataclasses.replace(QUICK, weights=str(tmp_path / "five.pt"))

    first, notes = detectors.build(settings, 2, seed=2)

    assert torch.equal(first.stem[0].weight, model.stem[0].weight) and first.classes.weight.shape[0] == 2  # type: ignore[index, union-attr]
    assert notes == ["The weights have different classes from these 2: what tells the classes starts from scratch."]
    alike = detectors.build(QUICK, 5, seed=1)[0].state_dict()
    assert all(torch.equal(value, alike[name]) for name, value in model.state_dict().items())
    with pytest.raises(UsageError, match="does not fit ssdlite320"):
        detectors.build(dataclasses.replace(settings, model=QUICKEST["ssd"]), 2, seed=0)


def test_small_objects_are_always_assigned() -> None:
    """An object smaller than a cell still has the place nearest to its middle, and of two the smaller one wins."""
    model = detectors.TinyFcos(2, detectors.Weigh())
    places = torch.tensor([[x + 4.0, y + 4.0] for y in range(0, 64, 8) for x in range(0, 64, 8)])

    to = model._assigned(places, torch.tensor([[1.0, 1.0, 2.0, 2.0], [0.0, 0.0, 60.0, 60.0], [24.0, 24.0, 34.0, 34.0]]))

    assert to[0] == 0 and (to == 0).sum() == 1
    assert (to == 2).sum() >= 1 and (to == 1).sum() >= 4


# The comparison ---------------------------------------------------------------------------------------------------------


def quick(dataset: Dataset, arms: str, **options: Any) -> Any:
    settings = dataclasses.replace(QUICK, steps=4, evaluations=2)
    return verify(dataset, task="detect", arms=arms, **({"settings": settings, "seeds": 1, "device": "cpu", "state_dir": None} | options))


def test_every_kind_of_arm_is_trained_and_judged(dataset: Dataset) -> None:
    """Samplers, weights, presets, sizes and the share of the background; the document is JSON without a number that is none."""
    verdict = quick(dataset, "weights:uniform,weights:sqrt,repeat_factor,background:1:1,size:96,augment:outdoor")
    document = json.loads(json.dumps(verdict.to_dict(), allow_nan=False))

    assert (verdict.task, verdict.metric) == ("detect", "map") and len(verdict.arms) == 7
    assert document["arms"][1]["seeds"] == document["arms"][0]["seeds"] and document["arms"][1]["name"] == "weights:uniform"
    assert document["arms"][0]["metrics"]["ap_large"]["mean"] is None, "no test object is large"
    assert document["arms"][0]["metrics"]["false_positives_per_background_image"]["mean"] >= 0
    assert set(document["worst_errors"]["baseline"]) == {"found", "missed"}
    assert {"image", "box", "class"} <= set(document["worst_errors"]["baseline"]["missed"][0])
    assert len(document["precision_recall"]["size:96"][0]) == 101
    assert [c.name for c in verdict.arms[0].classes] == ["red", "green"]
    assert verdict.arms[0].metrics["map"].mean < 0.05 and any("The baseline has learnt little" in note for note in verdict.notes)


@pytest.mark.parametrize(
    ("arms", "options", "message"),
    [
        ("focal", {}, "tiny_fcos is trained with focal loss as it is"),
        ("focal", {"model": "ssd300_vgg16"}, "picks the hardest of the background instead"),
        ("ldam", {}, "is a loss for whole images"),
        ("logit_adjusted", {"model": QUICKEST["fasterrcnn"]}, "Compare weights:SCHEME"),
        ("weights:sqrt", {"model": "fasterrcnn_resnet50"}, "Did you mean fasterrcnn_resnet50_fpn"),
        ("model:retinanet", {}, 'model="retinanet" is not a detector'),
        ("weights:sqrt", {"model": "maskrcnn_resnet50_fpn"}, "is not a detector"),
        ("weights:sqrt", {"margin": 0.1}, "are for instances that are cut out"),
        ("weights:sqrt", {"settings": dataclasses.replace(QUICK, dropout=0.5)}, "dropout is not available"),
        ("weights:sqrt", {"settings": dataclasses.replace(QUICK, compile=True)}, "compile does not work with detectors"),
    ],
)
def test_what_a_detector_cannot_do_is_refused(dataset: Dataset, arms: str, options: dict[str, Any], message: str) -> None:
    """Before anything is trained, and with what to do instead."""
    with pytest.raises(UsageError) as caught:
        quick(dataset, arms, **options)

    assert message in str(caught.value)


def test_a_class_that_val_lacks_is_refused(squares: Path, tmp_path: Path) -> None:
    """No checkpoint could be chosen for it."""
    import shutil

    root = shutil.copytree(squares, tmp_path / "squares")
    for file in (root / "labels/val").iterdir():
        file.write_text("".join(line for line in file.read_text().splitlines(keepends=True) if line.startswith("0")))

    with pytest.raises(ComparisonRefused, match=r"1 class has no object in val.*green"):
        quick(read(root), "weights:sqrt")


def test_boxes_are_detected_where_there_is_a_gpu(dataset: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    """And their instances classified where there is none, which is said."""
    assert choose_task(dataset, None, "cpu")[1:] == (
        "classify",
        ("Instances were cut out and classified; --task detect trains a detector.",),
    )
    monkeypatch.setattr("dataset_doctor.trials.settings.find_device", lambda name: "cuda")

    assert choose_task(dataset, None, "auto") == ("cuda", "detect", ())


def test_the_defaults_go_with_the_detector() -> None:
    """What is compared where nothing is named can be trained with the detector that is taken where none is named."""
    settings = default_settings("detect")

    for arm in parse_arms(default_arms("detect", ())):
        detection.check(settings, Treatment(loss=arm.value if arm.kind == "loss" else None))
    assert settings.model == "tiny_fcos" and default_settings("detect", device="cuda").model in detectors.detector_names()


def test_the_command_answers_and_writes(squares: Path, tmp_path: Path) -> None:
    """From labels to a verdict; interrupted trainings and their notes are as for classification."""
    done = command(
        "verify", squares, "--task", "detect", "--arms", "baseline,repeat_factor", "--steps", "6", "--seeds", "2", "--size", str(SIDE),
        "--batch", "4", "--device", "cpu", "-o", tmp_path / "v.json", OMP_NUM_THREADS="1",
    )  # fmt: skip

    assert done.returncode == 0, done.stderr
    assert "verify, detect" in done.stdout and "points" in done.stdout and "mAP" in done.stdout and "nan" not in done.stdout
    document = json.loads((tmp_path / "v.json").read_text())
    assert document["metric"] == "map" and len(document["arms"][1]["seeds"]) == 2
