"""The committed fixtures are what fixtures/make.py draws, and say the same in every format."""

import json
import subprocess
import sys
from collections import Counter
from pathlib import Path
from xml.etree import ElementTree

import pytest
from PIL import Image

from dataset_doctor.formats import FORMATS

FIXTURES = Path(__file__).parents[1] / "fixtures"
SPLITS = ("train", "val", "test")
CLASSES = ("car", "truck", "bicycle", "person", "sign")
Boxes = Counter[tuple[str, str, tuple[int, ...]]]


@pytest.mark.slow
def test_make_draws_the_committed_fixtures() -> None:
    """Drawing the fixtures anew gives the same labels, lists and picture sizes."""
    run = subprocess.run([sys.executable, FIXTURES / "make.py", "--check"], capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stdout + run.stderr


def coco_boxes(split: str) -> Boxes:
    document = json.loads((FIXTURES / f"coco/annotations/instances_{split}.json").read_text())
    names = {image["id"]: image["file_name"] for image in document["images"]}
    classes = {category["id"]: category["name"] for category in document["categories"]}
    boxes: Boxes = Counter()
    for record in document["annotations"]:
        x, y, w, h = record["bbox"]
        boxes[names[record["image_id"]], classes[record["category_id"]], (x, y, x + w, y + h)] += 1
    return boxes


def voc_boxes(split: str) -> Boxes:
    boxes: Boxes = Counter()
    for stem in (FIXTURES / f"voc/ImageSets/Main/{split}.txt").read_text().split():
        for thing in ElementTree.parse(FIXTURES / f"voc/Annotations/{stem}.xml").iter("object"):
            xmin, ymin, xmax, ymax = (int(thing.findtext(f"bndbox/{tag}", "")) for tag in ("xmin", "ymin", "xmax", "ymax"))
            boxes[f"{stem}.jpg", thing.findtext("name", ""), (xmin - 1, ymin - 1, xmax, ymax)] += 1
    return boxes


def yolo_boxes(split: str) -> Boxes:
    boxes: Boxes = Counter()
    for file in (FIXTURES / f"yolo/labels/{split}").iterdir():
        with Image.open(FIXTURES / f"yolo/images/{split}/{file.stem}.jpg") as picture:
            width, height = picture.size
        for line in file.read_text().splitlines():
            number, *numbers = line.split()
            cx, cy, w, h = map(float, numbers)
            corners = ((cx - w / 2) * width, (cy - h / 2) * height, (cx + w / 2) * width, (cy + h / 2) * height)
            assert all(abs(corner - round(corner)) < 1e-9 for corner in corners)
            assert min(corners) >= 0
            assert cx + w / 2 <= 1
            assert cy + h / 2 <= 1
            boxes[f"{file.stem}.jpg", CLASSES[int(number)], tuple(map(round, corners))] += 1
    return boxes


def labelme_boxes(split: str) -> Boxes:
    boxes: Boxes = Counter()
    for file in (FIXTURES / f"labelme/{split}").glob("*.json"):
        document = json.loads(file.read_text())
        for shape in document["shapes"]:
            (x1, y1), (x2, y2) = shape["points"]
            boxes[document["imagePath"], shape["label"], (x1, y1, x2, y2)] += 1
    return boxes


@pytest.mark.parametrize("split", SPLITS)
def test_all_formats_hold_the_same_boxes_of_every_class(split: str) -> None:
    """All box formats describe the same boxes, and no class is missing in a split."""
    boxes = coco_boxes(split)
    assert boxes == voc_boxes(split) == yolo_boxes(split) == labelme_boxes(split)
    assert {name for _, name, _ in boxes} == set(CLASSES)


@pytest.mark.parametrize("name", FORMATS)
def test_planted_defects_have_a_place(name: str) -> None:
    """Every line of a list of defects has three columns and names a file of the broken dataset."""
    lines = (FIXTURES / f"{name}-broken.defects.txt").read_text().splitlines()
    assert len(lines) >= 6
    for line in lines:
        _, place, _ = line.split("  ")
        assert (FIXTURES / f"{name}-broken" / place.partition(":")[0]).is_file(), line


def test_fixtures_stay_small() -> None:
    """All fixtures together stay below 2 MB."""
    assert sum(file.stat().st_size for file in FIXTURES.rglob("*") if file.is_file()) < 2_000_000
