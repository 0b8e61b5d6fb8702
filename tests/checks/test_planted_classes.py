"""Small datasets in every format with one defect of classes, splits or safety each, and clean ones full of traps."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from dataset_doctor import read
from dataset_doctor.audit import examine
from dataset_doctor.checks import select
from dataset_doctor.findings import Finding
from tests.drawing import draw

CLASSES = ("car", "traffic light", "dog")
SPLITS = {"train": 12, "val": 4, "test": 4}


def findings(root: Path, **arguments: Any) -> dict[str, Finding]:
    """Audit classes, splits and safety; findings by name."""
    report = examine(read(root, **arguments), checks=select(["DD2", "DD3", "DD6"]), locations=None)
    return {finding.name: finding for finding in report.findings}


def picture(path: Path, size: tuple[int, int] = (64, 48)) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, (90, 120, 150)).save(path)


def stems(split: str, count: int) -> list[str]:
    return [f"{split} pic-{number:03d}" for number in range(count)]


def yolo(root: Path, names: str = "names: [car, traffic light, dog]\n", splits: dict[str, int] = SPLITS, newline: str = "\n") -> Path:
    """Write a YOLO dataset: each image holds one of each class, the last of a split none."""
    for split, count in splits.items():
        for row, stem in enumerate(stems(split, count)):
            picture(root / f"images/{split}/{stem}.png")
            label = root / f"labels/{split}/{stem}.txt"
            label.parent.mkdir(parents=True, exist_ok=True)
            lines = [] if row == count - 1 and count > 3 else [f"{index} 0.5 0.5 0.25 0.25" for index in range(3)]
            label.write_bytes((newline.join(lines) + newline if lines else "").encode())
    keys = "".join(f"{split}: images/{split}\n" for split in splits)
    (root / "data.yaml").write_bytes((keys + names).replace("\n", newline).encode())
    return root


def coco_document(split: str, count: int, names: tuple[str, ...] = CLASSES, first_id: int = 1) -> dict[str, Any]:
    annotations = [
        {"id": 3 * row + index + 1, "image_id": row + 1, "category_id": first_id + index, "bbox": [4, 4, 20, 20], "area": 400, "iscrowd": 0}
        for row in range(count)
        for index in range(3)
    ]
    return {
        "info": {"contributor": "The project"},
        "licenses": [{"id": 1, "name": "CC BY 4.0", "url": "https://creativecommons.org/licenses/by/4.0/"}],
        "categories": [{"id": first_id + index, "name": name, "supercategory": ""} for index, name in enumerate(names)],
        "images": [
            {"id": row + 1, "file_name": f"{stem}.png", "width": 64, "height": 48, "license": 1}
            for row, stem in enumerate(stems(split, count))
        ],
        "annotations": annotations,
    }


def coco(
    root: Path, change: Callable[[dict[str, dict[str, Any]]], None] | None = None, splits: dict[str, int] = SPLITS, **options: Any
) -> Path:
    """Write a COCO dataset, its documents changed as asked."""
    documents = {split: coco_document(split, count, **options) for split, count in splits.items()}
    if change is not None:
        change(documents)
    for split, document in documents.items():
        for stem in stems(split, splits[split]):
            picture(root / f"images/{split}/{stem}.png")
        path = root / f"annotations/instances_{split}.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(document, indent=1))
    return root


def xml(stem: str, names: tuple[str, ...], head: str = "") -> str:
    objects = "".join(
        f"\t<object>\n\t\t<name>{name}</name>\n\t\t<pose>Unspecified</pose>\n\t\t<truncated>0</truncated>\n\t\t<difficult>0</difficult>\n"
        "\t\t<bndbox>\n\t\t\t<xmin>4</xmin>\n\t\t\t<ymin>4</ymin>\n\t\t\t<xmax>24</xmax>\n\t\t\t<ymax>24</ymax>\n\t\t</bndbox>\n\t</object>\n"
        for name in names
    )
    size = "<size>\n\t\t<width>64</width>\n\t\t<height>48</height>\n\t\t<depth>3</depth>\n\t</size>"
    return f"<annotation>\n\t<folder>x</folder>\n\t<filename>{stem}.png</filename>\n{head}\t{size}\n{objects}</annotation>\n"


def voc(root: Path, splits: dict[str, int] = SPLITS) -> Path:
    """Write a VOC dataset."""
    for split, count in splits.items():
        for stem in stems(split, count):
            picture(root / f"JPEGImages/{stem}.png")
            (root / "Annotations").mkdir(exist_ok=True)
            (root / f"Annotations/{stem}.xml").write_text(xml(stem, CLASSES))
        lists = root / "ImageSets/Main"
        lists.mkdir(parents=True, exist_ok=True)
        (lists / f"{split}.txt").write_text("".join(f"{stem}\n" for stem in stems(split, count)))
    return root


def folder(root: Path, splits: dict[str, int] = SPLITS, names: tuple[str, ...] = CLASSES) -> Path:
    """Write image folders."""
    for split, count in splits.items():
        for name in names:
            for stem in stems(split, count):
                picture(root / f"{split}/{name}/{name} {stem}.png")
    return root


# Clean ---------------------------------------------------------------------------------------------------------------


def odd_names_in_coco(documents: dict[str, dict[str, Any]]) -> None:
    for document in documents.values():
        for number, category in enumerate(document["categories"]):
            category["id"] = number * 7 + 3
        for record in document["annotations"]:
            record["category_id"] = (record["category_id"] - 1) * 7 + 3
        document["annotations"][0] |= {"iscrowd": 1, "segmentation": {"size": [48, 64], "counts": [3000, 72]}}
        document["images"][0]["coco_url"] = "http://images.example.org/home/train/1.png"


CLEAN: dict[str, Callable[[Path], Path]] = {
    "yolo": yolo,
    "yolo, CRLF": lambda root: yolo(root, newline="\r\n"),
    "yolo, quoted names": lambda root: yolo(root, "names: ['no', \"007\", '12:30']\n"),
    "yolo, numbers for names": lambda root: yolo(root, "names: {0: 0, 1: 1, 2: 2}\n"),
    "yolo, Unicode": lambda root: yolo(root, "names: [猫, naïve café, 'R&D it''s']\n"),
    "yolo, no test": lambda root: yolo(root, splits={"train": 5, "val": 2}),
    "yolo, three images": lambda root: yolo(root, splits={"train": 2, "val": 1}),
    "coco": coco,
    "coco, gaps and crowds": lambda root: coco(root, odd_names_in_coco),
    "coco, three images": lambda root: coco(root, splits={"train": 2, "val": 1}),
    "coco, ids from 0": lambda root: coco(root, first_id=0),
    "coco, Unicode": lambda root: coco(root, names=("Straße", "a/b", "person (standing)")),
    "voc": voc,
    "voc, three images": lambda root: voc(root, {"train": 2, "val": 1}),
    "folder": folder,
    "folder, three images": lambda root: folder(root, {"train": 2, "val": 1}),
    "folder, letters": lambda root: folder(root, {"train": 2, "val": 1}, ("a", "b", "1", "é")),
    "coco, letters": lambda root: coco(root, names=("a", "A", "1")),
    "folder, one split": lambda root: folder(root, {"train": 2}),
}


@pytest.mark.parametrize("build", CLEAN.values(), ids=CLEAN.keys())
def test_a_clean_dataset_gets_no_error_and_no_warning(build: Callable[[Path], Path], tmp_path: Path) -> None:
    """What is common in sound datasets is at most an info."""
    found = findings(build(tmp_path))

    assert {name: f.message for name, f in found.items() if f.severity.value != "info"} == {}
    assert set(found) <= {"class-rare", "no-validation-split", "class-ids-gapped"}


# Planted -------------------------------------------------------------------------------------------------------------


def replaced(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))


def rename(document: dict[str, Any], index: int, name: str) -> None:
    document["categories"][index]["name"] = name


def of_all(change: Callable[[dict[str, Any]], Any]) -> Callable[[dict[str, dict[str, Any]]], None]:
    def every(documents: dict[str, dict[str, Any]]) -> None:
        for document in documents.values():
            change(document)

    return every


FIRST_XML = "Annotations/train pic-000.xml"
JSON = "annotations/instances_{}.json"


def planted(root: Path, build: Callable[[Path], Path], *changes: Callable[[Path], Any]) -> Path:
    build(root)
    for change in changes:
        change(root)
    return root


Case = tuple[Callable[[Path], Path], str, str, dict[str, Any]]
PLANTED: dict[str, Case] = {
    # format and defect: how to build it, finding, severity, part of its first place
    "yolo alike": (lambda r: yolo(r, "names:\n  0: car\n  1: Car\n  2: dog\n"), "class-names-alike", "warning", {"file": "data.yaml", "line": 5}),
    "coco alike": (
        lambda r: coco(r, of_all(lambda d: rename(d, 1, "CAR"))), "class-names-alike", "warning",
        {"file": JSON.format("train"), "pointer": "/categories/0", "class_name": "car"},
    ),
    "voc alike": (
        lambda r: planted(r, voc, lambda r: replaced(r / FIRST_XML, "<name>dog<", "<name>Dog<")), "class-names-alike", "warning",
        {"file": FIRST_XML, "line": 33, "class_name": "Dog"},
    ),
    "folder alike": (lambda r: folder(r, names=("traffic-light", "traffic_light")), "class-names-alike", "warning", {"class_name": "traffic-light"}),
    "yolo space at the end": (lambda r: yolo(r, 'names:\n- car\n- "bus "\n- dog\n'), "class-name-untidy", "warning", {"file": "data.yaml", "line": 6}),
    "coco no-break space": (
        lambda r: coco(r, of_all(lambda d: rename(d, 2, "dog\u00a0"))), "class-name-untidy", "warning",
        {"file": JSON.format("train"), "pointer": "/categories/2"},
    ),
    "voc space at the end": (
        lambda r: planted(r, voc, lambda r: replaced(r / FIRST_XML, "<name>dog<", "<name>dog <")), "class-name-untidy", "warning",
        {"file": FIRST_XML, "line": 33},
    ),
    "folder zero-width space": (lambda r: folder(r, names=("car", "d\u200bog")), "class-name-untidy", "warning", {"class_name": "d\u200bog"}),
    "yolo a name that is no text": (
        lambda r: yolo(r, "names:\n- car\n- no\n- dog\n"), "class-name-not-text", "warning", {"file": "data.yaml", "line": 6, "class_name": "no"},
    ),
    "yolo an octal name": (lambda r: yolo(r, "names: {0: car, 1: 007, 2: dog}\n"), "class-name-not-text", "warning", {"line": 4}),
    "coco unused": (
        lambda r: coco(r, of_all(lambda d: d["categories"].append({"id": 4, "name": "ship"}))), "class-unused", "info", {"class_name": "ship"},
    ),
    "yolo unused": (lambda r: yolo(r, "names: [car, bus, dog, ship]\n"), "class-unused", "info", {"file": "data.yaml", "class_name": "ship"}),
    "coco background": (lambda r: coco(r, of_all(lambda d: rename(d, 0, "_background_"))), "class-name-placeholder", "info", {"pointer": "/categories/0"}),
    "yolo without names": (lambda r: yolo(r, "nc: 3\n"), "class-name-placeholder", "info", {"class_name": "class_0"}),
    "coco group as category": (
        lambda r: coco(r, of_all(lambda d: d["categories"].extend([{"id": 0, "name": "town"}, {"id": 9, "name": "ox", "supercategory": "town"}]))),
        "class-root", "info", {"class_name": "town"},
    ),
    "coco one id, two names": (
        lambda r: coco(r, lambda ds: rename(ds["val"], 0, "van")), "class-names-conflict", "warning",
        {"file": JSON.format("val"), "pointer": "/categories/0"},
    ),
    "yolo no labels in val": (
        lambda r: planted(r, yolo, lambda r: [p.unlink() for p in (r / "labels/val").iterdir()]), "no-annotations", "error", {"split": "val"},
    ),
    "coco no annotations in val": (
        lambda r: coco(r, lambda ds: ds["val"].update(annotations=[])), "no-annotations", "error", {"split": "val", "file": JSON.format("val")},
    ),
    "yolo labels missing": (
        lambda r: planted(r, yolo, lambda r: [(r / f"labels/train/train pic-00{n}.txt").unlink() for n in range(3)]), "image-unlabeled", "warning",
        {"image": "images/train/train pic-000.png"},
    ),
    "yolo a label missing": (
        lambda r: planted(r, yolo, lambda r: (r / "labels/train/train pic-004.txt").unlink()), "image-unlabeled", "info",
        {"image": "images/train/train pic-004.png"},
    ),
    "folder differs": (
        lambda r: planted(r, folder, lambda r: [p.unlink() for p in (r / "val/dog").iterdir()], lambda r: (r / "val/dog").rmdir()),
        "class-folders-differ", "error", {"file": "val", "class_name": "dog", "split": "val"},
    ),
    "folder empty": (
        lambda r: planted(r, folder, lambda r: [p.unlink() for p in (r / "val/dog").iterdir()]), "class-folder-empty", "error",
        {"file": "val/dog", "split": "val"},
    ),
    "folder hidden": (
        lambda r: planted(r, folder, lambda r: picture(r / "train/.ipynb_checkpoints/a-checkpoint.png")), "class-folder-hidden", "warning",
        {"file": "train/.ipynb_checkpoints"},
    ),
    "folder dot": (
        lambda r: planted(r, folder, lambda r: picture(r / "val/.old/a.png")), "class-folder-hidden", "warning", {"file": "val/.old"},
    ),
    "yolo roboflow copies": (
        lambda r: planted(r, yolo, lambda r: [picture(r / f"images/{s}/IMG_2277_jpg.rf.{s}0123456789.png") for s in ("train", "val")]),
        "source-in-several-splits", "warning", {"image": "images/train/IMG_2277_jpg.rf.train0123456789.png"},
    ),
    "voc class missing in val": (
        lambda r: planted(r, voc, *(
            lambda r, n=n: (r / f"Annotations/val pic-{n:03d}.xml").write_text(xml(f"val pic-{n:03d}", ("car", "traffic light"))) for n in range(4)
        )),
        "class-missing-in-split", "warning", {"class_name": "dog", "split": "val"},
    ),
    "coco junk": (lambda r: planted(r, coco, lambda r: (r / "images/val/._a.png").write_bytes(b"\0\5\x16\7")), "junk-files", "info", {"file": "images/val/._a.png"}),
    "voc junk": (lambda r: planted(r, voc, lambda r: (r / ".DS_Store").write_bytes(b"")), "junk-files", "info", {"file": ".DS_Store"}),
    "yolo cache": (lambda r: planted(r, yolo, lambda r: (r / "labels/train.cache").write_bytes(b"\x80")), "stale-cache", "info", {"file": "labels/train.cache"}),
    "yolo pixels": (
        lambda r: planted(r, yolo, lambda r: (r / "images/val/val pic-001.npy").write_bytes(b"\x93")), "stale-cache", "info",
        {"file": "images/val/val pic-001.npy"},
    ),
    "coco licence": (
        lambda r: coco(r, lambda ds: ds["val"]["images"][2].update(license=9)), "licence-conflict", "warning",
        {"file": JSON.format("val"), "pointer": "/images/2/license"},
    ),
    "coco no licence": (lambda r: coco(r, lambda ds: ds["test"].pop("licenses")), "licence-missing", "info", {"file": JSON.format("test")}),
    "coco annotator": (
        lambda r: coco(r, lambda ds: ds["train"]["annotations"][7].update(annotator="ann@example.org")), "personal-data", "info",
        {"file": JSON.format("train"), "pointer": "/annotations/7/annotator"},
    ),
    "voc user folder": (
        lambda r: planted(r, voc, lambda r: (r / FIRST_XML).write_text(xml("train pic-000", CLASSES, "\t<path>C:\\Users\\ann\\x\\a.png</path>\n"))),
        "personal-data", "info", {"file": FIRST_XML, "line": 4},
    ),
    "yolo user folder": (lambda r: yolo(r, "names: [a, b, c]\n# from /home/ann/data\n"), "personal-data", "info", {"file": "data.yaml", "line": 5}),
    "yolo a name for the shell": (
        lambda r: planted(r, yolo, lambda r: picture(r / "images/val/$(reboot).png")), "name-unsafe", "warning", {"image": "images/val/$(reboot).png"},
    ),
    "coco a long name": (
        lambda r: coco(r, lambda ds: ds["val"]["images"][0].update(file_name="x" * 201 + ".png")), "name-unsafe", "warning",
        {"file": JSON.format("val"), "pointer": "/images/0/file_name"},
    ),
    "folder upper and lower case": (
        lambda r: planted(r, folder, lambda r: [picture(r / f"train/car/{n}.png") for n in ("shot", "Shot")]), "name-case-collision", "warning",
        {"image": "train/car/Shot.png"},
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", PLANTED.values(), ids=PLANTED.keys())
def test_a_planted_defect_is_found_at_its_place(case: Case, tmp_path: Path) -> None:
    """The defect is found under its name, at its place, with its severity."""
    build, name, severity, place = case

    found = findings(build(tmp_path)) | {f.name: f for f in examine(read(tmp_path), checks=select(["class-names-conflict"])).findings}

    assert name in found, list(found)
    assert found[name].severity.value == severity
    first = found[name].locations[0]
    assert {key: getattr(first, key) for key in place} == place


FRAMES = "classes: dog\n" + "".join(f"yard_frame_{n}.jpg 9x9 {{}}\n" for n in range(6))

SEVERITIES = [
    # as few images as an oversight, a share as small as a usual one
    ("image-unlabeled", "info", "classes: dog\na.jpg 9x9 x5\n  dog 0 0 9 9\nb.jpg 9x9 unlabeled x2"),
    ("image-unlabeled", "info", "classes: dog\na.jpg 9x9 x97\n  dog 0 0 9 9\nb.jpg 9x9 unlabeled x3"),
    ("image-unlabeled", "warning", "classes: dog\na.jpg 9x9 x8\n  dog 0 0 9 9\nb.jpg 9x9 unlabeled x3"),
    # a video cut in two, frames dealt out
    ("sequence-in-several-splits", "info", FRAMES.format(*["train"] * 4, *["val"] * 2)),
    ("sequence-in-several-splits", "warning", FRAMES.format(*["train", "val"] * 3)),
    # ten to one, of a handful and of many
    ("class-imbalance", "info", "classes: dog cat\na.jpg 9x9 x40\n  dog 0 0 9 9\nb.jpg 9x9\n  cat 0 0 9 9"),
    ("class-imbalance", "warning", "classes: dog cat\na.jpg 9x9 x50\n  dog 0 0 9 9\nb.jpg 9x9\n  cat 0 0 9 9"),
    # copies of an image by a name that no other has, and by a number that a second camera may have given too
    (
        "source-in-several-splits",
        "error",
        "classes: dog\n8f3a2c9e41b7_jpg.rf.0a1b2c3d.jpg 9x9 train\n8f3a2c9e41b7_jpg.rf.ffffffff.jpg 9x9 val",
    ),
    ("source-in-several-splits", "warning", "classes: dog\nIMG_2277_jpg.rf.0a1b2c3d.jpg 9x9 train\nIMG_2277_jpg.rf.ffffffff.jpg 9x9 val"),
    # a class that val could hold, and one that it hardly could
    (
        "class-missing-in-split",
        "info",
        "classes: dog cat\na.jpg 9x9 train x10\n  dog 0 0 9 9\n  cat 0 0 9 9\nb.jpg 9x9 val x5\n  dog 0 0 9 9",
    ),
    (
        "class-missing-in-split",
        "warning",
        "classes: dog cat\na.jpg 9x9 train x11\n  dog 0 0 9 9\n  cat 0 0 9 9\nb.jpg 9x9 val x5\n  dog 0 0 9 9",
    ),
    # labels kept back, and labels lost
    ("no-annotations", "info", "classes: dog\na.jpg 9x9 train\n  dog 0 0 9 9\nb.jpg 9x9 test unlabeled x9"),
    ("no-annotations", "error", "classes: dog\na.jpg 9x9 train\n  dog 0 0 9 9\nb.jpg 9x9 val unlabeled x9"),
]


@pytest.mark.parametrize(("name", "severity", "drawing"), SEVERITIES)
def test_how_bad_it_is_depends_on_how_much_there_is(name: str, severity: str, drawing: str) -> None:
    """What may be chance or custom is an info; what is a pattern counts."""
    found = {finding.name: finding.severity.value for finding in examine(draw(drawing)[0], checks=select([name])).findings}

    assert found == {name: severity}


def test_planting_one_defect_finds_no_other(tmp_path: Path) -> None:
    """A label file that is missing is no class that is rare, no split that drifts."""
    root = yolo(tmp_path)
    for number in range(3):
        (root / f"labels/train/train pic-00{number}.txt").unlink()

    assert {name for name, f in findings(root).items() if f.severity.value != "info"} == {"image-unlabeled"}


def test_large_junk_is_counted_by_folder(tmp_path: Path) -> None:
    """A folder full of `._*` files is one place, with their number."""
    root = yolo(tmp_path)
    for number in range(300):
        (root / f"images/train/._{number}.png").write_bytes(b"")

    finding = findings(root)["junk-files"]

    assert (finding.count, finding.locations[0].detail) == (300, "300 files ._* in this folder")


def test_many_addresses_in_a_hostile_label_are_bounded(tmp_path: Path) -> None:
    """Megabytes of what might be addresses take no time and give few places."""
    root = coco(tmp_path, lambda ds: ds["train"]["info"].update(text="a" * 100_000 + "@" * 100_000 + " x@y." * 100_000))

    found = findings(root)

    assert "personal-data" not in found


@pytest.mark.skipif(os.name == "nt", reason="such names cannot be made there")
def test_a_line_break_in_a_file_name_is_unsafe(tmp_path: Path) -> None:
    """A name that would be two lines of a list is flagged."""
    root = yolo(tmp_path)
    picture(root / "images/val/a\nb.png")

    assert findings(root)["name-unsafe"].count == 1


def test_a_person_is_named_in_a_file_that_is_not_utf_8(tmp_path: Path) -> None:
    """Latin-1 in a COCO file: the name is found, with its line and without a pointer."""
    root = coco(tmp_path, lambda ds: ds["train"]["info"].update(contributor="ann@example.org, Koeln"))
    path = root / JSON.format("train")
    path.write_bytes(path.read_bytes().replace(b"Koeln", b"K\xf6ln"))

    place = findings(root)["personal-data"].locations[0]

    assert (place.file, place.line, place.pointer) == (JSON.format("train"), 3, None)
