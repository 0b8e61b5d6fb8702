"""COCO: layouts, splits, ids, every defect a file may have, and what damaged or hostile files do (never more than a problem)."""

from __future__ import annotations

import contextlib
import dataclasses
import io
import json
import math
import os
import struct
import time
import zlib
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dataset_doctor.dataset import NO_ID, UNKNOWN_SIZE, Dataset, Flag, Geometry, LabelState
from dataset_doctor.files.tree import Tree, join_trees, walk
from dataset_doctor.formats.coco import COCO
from dataset_doctor.formats.format import Candidate


def png(width: int = 100, height: int = 80) -> bytes:
    """Write the beginning of a PNG, which is all that a size needs."""
    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + b"IHDR" + header + struct.pack(">I", zlib.crc32(b"IHDR" + header))


def image(number: Any = 1, name: str = "a.jpg", **more: Any) -> dict[str, Any]:
    """An image entry of 100 × 80 pixels."""
    return {"id": number, "file_name": name, "width": 100, "height": 80, **more}


def box(number: Any = 1, image_id: Any = 1, category_id: Any = 1, bbox: Any = (10, 20, 30, 40), **more: Any) -> dict[str, Any]:
    """A complete annotation."""
    return {
        "id": number, "image_id": image_id, "category_id": category_id, "bbox": bbox, "area": 1200, "iscrowd": 0, **more
    }  # fmt: skip


CATEGORIES = [{"id": 1, "name": "cat", "supercategory": "animal"}, {"id": 2, "name": "dog"}]


def coco_json(images: Any = None, annotations: Any = None, categories: Any = None, **more: Any) -> dict[str, Any]:
    """A COCO object: one image, one box and two categories unless told otherwise."""
    return {
        "images": [image()] if images is None else images,
        "annotations": [box()] if annotations is None else annotations,
        "categories": CATEGORIES if categories is None else categories,
        **more,
    }


def put(root: Path, files: dict[str, Any]) -> Path:
    """Write files below a folder: objects as JSON, text and bytes as they are, None as an image."""
    for name, content in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        content = png() if content is None else json.dumps(content) if isinstance(content, (dict, list)) else content
        path.write_bytes(content.encode() if isinstance(content, str) else content)
    return root


def read(root: Path, classes: tuple[str, ...] | None = None, images: str | None = None) -> Dataset:
    """Read the only dataset below a folder."""
    tree = walk(root)
    if images is not None:
        tree = join_trees(tree, walk((root / images).resolve(), images), images)
    (candidate,) = COCO.detect(tree)
    return about_labels(COCO.read(tree, candidate, classes=classes))


def about_labels(dataset: Dataset) -> Dataset:
    """Leave out what is said of licences and persons, which has tests of its own."""
    apart = ("licence-missing", "licence-conflict", "personal-data")
    return dataclasses.replace(dataset, problems=tuple(p for p in dataset.problems if p.kind not in apart))


def read_text(root: Path, content: bytes | str) -> Dataset:
    """Read one label file, whatever it holds."""
    put(root, {"labels.json": content})
    return about_labels(COCO.read(walk(root), Candidate("coco", "coco", "", ("labels.json",), ())))


def read_object(root: Path, **parts: Any) -> Dataset:
    """Read one label file made of the given lists."""
    return read_text(root, json.dumps(coco_json(**parts)))


def kinds(dataset: Dataset) -> list[str]:
    """The kinds of all problems, in order."""
    return [problem.kind for problem in dataset.problems]


def problem_at(dataset: Dataset, kind: str) -> str | None:
    """The pointer of the only problem of a kind."""
    (problem,) = [problem for problem in dataset.problems if problem.kind == kind]
    return problem.place.pointer


# Layouts ------------------------------------------------------------------------------------------------------------


def test_official_layout_gives_one_split_a_file(tmp_path: Path) -> None:
    """Splits come from the files' names, images from the folders named like them, and spelling is kept."""
    put(
        tmp_path,
        {
            "annotations/instances_train2017.json": coco_json(),
            "annotations/instances_val2017.json": coco_json([image(7, "b.jpg")], [box(1, 7, 2)]),
            "train2017/a.jpg": None,
            "val2017/b.jpg": None,
        },
    )

    dataset = read(tmp_path)

    assert (dataset.splits, dataset.split_spelling) == (("train", "val"), ("train2017", "val2017"))
    assert dataset.images.file_name.tolist() == ["train2017/a.jpg", "val2017/b.jpg"]
    assert dataset.images.in_split.tolist() == [[True, False], [False, True]]
    assert dataset.images.file_width.tolist() == [100, 100]
    assert dataset.annotations.image.tolist() == [0, 1] and dataset.annotations.class_index.tolist() == [0, 1]
    assert dataset.source_split.tolist() == [0, 1] and dataset.problems == () and dataset.variant == "official"


@pytest.mark.parametrize(
    ("files", "variant", "splits", "names"),
    [
        ({"train/_annotations.coco.json": "a.jpg", "valid/_annotations.coco.json": "b.jpg"}, "roboflow", ("train", "val"), ["train/a.jpg", "valid/b.jpg"]),
        ({"result.json": "images\\1\\a.jpg"}, "label-studio", ("all",), ["images/1/a.jpg"]),
        ({"labels.json": "a.jpg"}, "fiftyone", ("all",), ["data/a.jpg"]),
        ({"annotations/instances_default.json": "a.jpg"}, "official", ("all",), ["images/a.jpg"]),
        ({"annotations/instances_train.json": "a.jpg"}, "official", ("train",), ["images/train/a.jpg"]),
        ({"deep/er/anything.json": "a.jpg"}, "coco", ("all",), ["deep/er/a.jpg"]),
        ({"annotations/instances_minival.json": "a.jpg"}, "official", ("minival",), ["images/minival/a.jpg"]),
    ],
)  # fmt: skip
def test_every_layout_is_recognised(tmp_path: Path, files: dict[str, str], variant: str, splits: tuple[str, ...], names: list[str]) -> None:
    """Each producer's layout gives its variant, its splits and the images where that producer puts them."""
    labels: dict[str, Any] = {label: coco_json([image(1, name)]) for label, name in files.items()}
    put(tmp_path, labels | dict.fromkeys(names))

    dataset = read(tmp_path)

    assert (dataset.variant, dataset.splits) == (variant, splits)
    assert dataset.images.file_name.tolist() == names and dataset.images.has_file.all()


def test_lvis_takes_the_image_from_its_address(tmp_path: Path) -> None:
    """Without a file name the last two parts of the address name the file."""
    entry = {"id": 1, "coco_url": "http://images.cocodataset.org/val2017/000000000139.jpg", "width": 100, "height": 80}
    put(tmp_path, {"annotations/lvis_v1_train.json": coco_json([entry]), "val2017/000000000139.jpg": None})

    dataset = read(tmp_path)

    assert dataset.variant == "lvis" and dataset.splits == ("train",)
    assert dataset.images.file_name.tolist() == ["val2017/000000000139.jpg"] and dataset.images.has_file.all()


def test_annotation_file_alone_is_a_dataset_without_missing_images(tmp_path: Path) -> None:
    """Where no image is at hand none is called missing; the evidence says so."""
    dataset = read(put(tmp_path, {"annotations/instances_val2017.json": coco_json()}))

    assert dataset.problems == () and not dataset.images.has_file.any()
    assert "No image files are at hand" in dataset.evidence[-1]


def test_image_folder_given_by_the_user_comes_first(tmp_path: Path) -> None:
    """The folder of --images may lie outside the dataset and wins over one inside."""
    put(tmp_path, {"labels/all.json": coco_json(), "labels/a.jpg": None, "pictures/a.jpg": None})

    dataset = read(tmp_path / "labels", images="../pictures")

    assert dataset.images.file_name.tolist() == ["../pictures/a.jpg"] and dataset.images.has_file.all()


def test_missing_and_unlisted_images_are_problems(tmp_path: Path) -> None:
    """A listed file that is not there is missing; a file there that nothing lists is an orphan, once each."""
    put(tmp_path, {"train/_annotations.coco.json": coco_json([image(), image(2, "b.jpg")]), "train/a.jpg": None, "train/c.jpg": None})

    dataset = read(tmp_path)

    assert [(p.kind, p.place.image, p.place.pointer) for p in dataset.problems] == [
        ("image-missing", "train/b.jpg", "/images/1/file_name"),
        ("image-orphan", "train/c.jpg", None),
    ]


def test_file_in_another_folder_is_found_by_its_name_with_one_problem(tmp_path: Path) -> None:
    """The only file of a name is taken, however many were found so, with one problem for the label file."""
    images = [image(1, "x/a.jpg"), image(2, "x/b.jpg")]
    put(tmp_path, {"all.json": coco_json(images), "some/where/a.jpg": None, "some/where/else/b.jpg": None})

    dataset = read(tmp_path)

    assert dataset.images.file_name.tolist() == ["some/where/a.jpg", "some/where/else/b.jpg"]
    assert kinds(dataset) == ["path-by-basename"] and dataset.problems[0].text.startswith("2 images")


def test_two_names_for_one_file_are_a_guess_that_is_not_made(tmp_path: Path) -> None:
    """Where two entries might mean the only file of a name, neither gets it."""
    put(
        tmp_path,
        {"all.json": coco_json([image(1, "x/a.jpg"), image(2, "y/a.jpg"), image(3, "b.jpg")]), "pictures/a.jpg": None, "b.jpg": None},
    )

    dataset = read(tmp_path)

    assert dataset.images.has_file.tolist() == [False, False, True]
    assert kinds(dataset) == ["image-missing", "image-missing"]


@pytest.mark.parametrize(
    ("name", "found", "problem"),
    [
        ("/home/u/data/images/a.jpg", "images/a.jpg", "path-absolute"),
        ("C:\\data\\images\\a.jpg", "images/a.jpg", "path-absolute"),
        ("../../images/a.jpg", "images/a.jpg", "path-outside-dataset"),
        ("images\\a.jpg", "images/a.jpg", "path-backslash"),
        ("./images/../images/a.jpg", "images/a.jpg", None),
        ("images/a\0.jpg", "images/a.jpg", "path-outside-dataset"),
    ],
)  # fmt: skip
def test_names_that_lead_elsewhere_are_never_followed(tmp_path: Path, name: str, found: str, problem: str | None) -> None:
    """A file inside the dataset is taken where one fits, and the name is a problem with its place."""
    put(tmp_path, {"root/all.json": coco_json([image(1, name)]), "root/images/a.jpg": None, "images/a.jpg": None})

    dataset = read(tmp_path / "root")

    assert dataset.images.file_name.tolist()[0].endswith(found) and not dataset.images.file_name[0].startswith("..")
    pointers: dict[str, str | None] = {p.kind: p.place.pointer for p in dataset.problems}
    assert problem is None or pointers[problem] == "/images/0/file_name"


def test_link_out_of_the_dataset_is_not_read_as_label_file(tmp_path: Path) -> None:
    """A label file that is a link to somewhere else is not opened."""
    put(tmp_path, {"secret.json": coco_json(), "root/a.jpg": None})
    (tmp_path / "root" / "all.json").symlink_to(tmp_path / "secret.json")

    assert COCO.detect(walk(tmp_path / "root")) == []


@pytest.mark.parametrize(
    "content",
    [
        {"shapes": [], "imagePath": "a.jpg", "imageData": None},
        [{"image": "a.jpg", "annotations": [{"label": "x", "coordinates": {"x": 1}}]}],
        {"_via_img_metadata": {"a": {"regions": []}}, "annotations": []},
        [{"id": 1, "annotations": [{"result": []}]}],
        [{"image_id": 1, "category_id": 1, "bbox": [1, 2, 3, 4], "score": 0.5}],
        '{"type":"dataset","task":"detect","class_names":{"0":"a"}}\n{"type":"image","file":"a.jpg","annotations":{"detection":[]}}\n',
        {"name": "x", "version": "1.0.0", "dependencies": {}},
        {"dataset": coco_json()},
        "",
        "no JSON",
    ],
    ids=["labelme", "createml", "via", "label-studio", "results", "ndjson", "package", "nested", "empty", "text"],
)
def test_look_alikes_are_not_taken_for_coco(tmp_path: Path, content: Any) -> None:
    """JSON of other tools is no COCO dataset."""
    assert COCO.detect(walk(put(tmp_path, {"file.json": content}))) == []


def test_other_files_are_named_in_the_evidence(tmp_path: Path) -> None:
    """Other annotations of the same images and prediction files are left out, and the evidence says so."""
    put(
        tmp_path,
        {f"annotations/{task}_val2017.json": coco_json() for task in ("captions", "instances", "panoptic", "person_keypoints")}
        | {"results.json": [{"image_id": 1, "category_id": 1, "bbox": [1, 2, 3, 4], "score": 0.5}]},
    )

    (candidate,) = COCO.detect(walk(tmp_path))

    assert candidate.labels == ("annotations/instances_val2017.json",)
    evidence = "\n".join(candidate.evidence)
    assert all(name in evidence for name in ("captions_val2017", "panoptic_val2017", "person_keypoints_val2017", "predictions"))


def test_shards_are_one_dataset_and_unrelated_files_are_several(tmp_path: Path) -> None:
    """Files that agree on the classes unite into one dataset; folders that do not are datasets of their own."""
    other = [{"id": 1, "name": "car"}]
    put(
        tmp_path / "shards",
        {"part_1.json": coco_json(), "part_2.json": coco_json([image(9, "b.jpg")], [box(1, 9)])},
    )
    put(
        tmp_path / "several",
        {"one/train/_annotations.coco.json": coco_json(), "two/train/_annotations.coco.json": coco_json(categories=other)},
    )

    shards = read(tmp_path / "shards")

    assert (shards.n_images, shards.n_annotations, shards.splits) == (2, 2, ("all",))
    assert [candidate.root for candidate in COCO.detect(walk(tmp_path / "several"))] == ["one", "two"]


def test_image_in_two_splits_is_one_row_in_both(tmp_path: Path) -> None:
    """An image that two label files name is one image, in both splits, with the annotations of both."""
    put(tmp_path, {f"annotations/instances_{s}.json": coco_json() for s in ("train", "test")} | {"images/a.jpg": None})

    dataset = read(tmp_path)

    assert dataset.n_images == 1 and dataset.images.in_split.tolist() == [[True, True]]
    assert dataset.annotations.image.tolist() == [0, 0] and dataset.annotations.source.tolist() == [0, 1]


def test_claims_names_the_images_that_are_there(tmp_path: Path) -> None:
    """Only images of the tree that the label files list are claimed."""
    put(tmp_path, {"train/_annotations.coco.json": coco_json([image(), image(2, "b.jpg")]), "train/a.jpg": None, "c.jpg": None})
    tree = walk(tmp_path)

    assert COCO.claims(tree, COCO.detect(tree)[0]) == {"train/a.jpg"}


# Records ------------------------------------------------------------------------------------------------------------


def test_sound_records_become_columns_exactly(tmp_path: Path) -> None:
    """Boxes, areas, ids, flags and shapes are taken as written."""
    records = [
        box(5, bbox=[1.5, 2, 3, -4], area=9.5, segmentation=[[1, 2, 3, 4, 5, 6]]),
        box(6, category_id=2, iscrowd=1, segmentation={"size": [2, 2], "counts": [0, 4]}),
        box(7, segmentation={"size": [2, 2], "counts": "04"}, score=0.5, keypoints=[1, 2, 2]),
        {"image_id": 1, "category_id": 1, "bbox": [0, 0, 1, 1], "segmentation": [], "ignore": 1, "keypoints": []},
    ]

    found = read_object(tmp_path, annotations=records).annotations

    assert found.corners.tolist() == [[1.5, 2, 4.5, -2], [10, 20, 40, 60], [10, 20, 40, 60], [0, 0, 1, 1]]
    assert found.source_id.tolist() == [5, 6, 7, NO_ID] and found.position.tolist() == [0, 1, 2, 3]
    assert found.flags.tolist() == [0, Flag.CROWD, Flag.SCORE | Flag.KEYPOINTS, Flag.IGNORE | Flag.NO_CROWD_KEY | Flag.NO_AREA_KEY]
    assert found.geometry.tolist() == [Geometry.POLYGON, Geometry.RLE, Geometry.RLE_STRING, Geometry.BOX]
    assert found.area[:3].tolist() == [9.5, 1200, 1200] and math.isnan(found.area[3])


def test_one_unusual_record_changes_nothing_for_the_others(tmp_path: Path) -> None:
    """The slow way gives the same columns as the fast one."""
    records = [
        box(1, bbox=[1.5, 2, 3, -4], segmentation=[[1, 2, 3, 4, 5, 6]]),
        box(2, iscrowd=1, segmentation={"size": [2, 2], "counts": "04"}),
        {"image_id": 1, "category_id": 3, "bbox": [0, 0, 1, 1], "ignore": 1, "score": 1, "keypoints": [1, 1, 2], "segmentation": {"counts": [4]}},
    ]  # fmt: skip

    fast = read_object(tmp_path, annotations=records).annotations
    slow = read_object(tmp_path, annotations=[*records, box(9, iscrowd=True)]).annotations

    for name in ("class_index", "class_id", "corners", "area", "flags", "geometry", "source_id", "position"):
        assert np.array_equal(getattr(fast, name), getattr(slow, name)[:3], equal_nan=name in ("corners", "area")), name


@pytest.mark.parametrize(
    ("change", "kind", "pointer"),
    [
        ({"bbox": [1, 2, 3]}, "box-malformed", "/annotations/1/bbox"),
        ({"bbox": []}, "box-malformed", "/annotations/1/bbox"),
        ({"bbox": "1 2 3 4"}, "box-malformed", "/annotations/1/bbox"),
        ({"bbox": [1, 2, "x", 4]}, "box-malformed", "/annotations/1/bbox"),
        ({"bbox": [1, 2, True, 4]}, "box-malformed", "/annotations/1/bbox"),
        ({"bbox": [1] * 5000}, "box-malformed", "/annotations/1/bbox"),
        ({"iscrowd": 2}, "flag-invalid", "/annotations/1/iscrowd"),
        ({"iscrowd": "yes"}, "flag-invalid", "/annotations/1/iscrowd"),
        ({"iscrowd": None}, "flag-invalid", "/annotations/1/iscrowd"),
        ({"iscrowd": [1]}, "flag-invalid", "/annotations/1/iscrowd"),
        ({"id": None}, "id-invalid", "/annotations/1/id"),
        ({"id": 1.5}, "id-invalid", "/annotations/1/id"),
        ({"id": True}, "id-invalid", "/annotations/1/id"),
        ({"id": [1]}, "id-invalid", "/annotations/1/id"),
        ({"category_id": None}, "id-invalid", "/annotations/1/category_id"),
        ({"category_id": {}}, "id-invalid", "/annotations/1/category_id"),
        ({"area": "big"}, "record-unreadable", "/annotations/1/area"),
    ],
)  # fmt: skip
def test_odd_member_is_a_problem_and_the_record_still_counts(tmp_path: Path, change: Any, kind: str, pointer: str) -> None:
    """A member that no column can hold is a problem with its pointer; the annotation stays."""
    dataset = read_object(tmp_path, annotations=[box(1), box(2) | change, box(3)])

    assert dataset.n_annotations == 3
    assert [(p.kind, p.place.pointer) for p in dataset.problems] == [(kind, pointer)]


@pytest.mark.parametrize(
    ("change", "flags"),
    [({"iscrowd": True}, Flag.CROWD), ({"iscrowd": "1"}, Flag.CROWD), ({"iscrowd": "0"}, 0), ({"iscrowd": False}, 0), ({"ignore": True}, Flag.IGNORE)],
)  # fmt: skip
def test_flags_in_other_spellings_are_understood(tmp_path: Path, change: Any, flags: int) -> None:
    """True and "1" are crowds, and reported: not every reader takes them so."""
    dataset = read_object(tmp_path, annotations=[box() | change])

    assert dataset.annotations.flags.tolist() == [flags]
    assert [problem.kind for problem in dataset.problems] == ["flag-invalid"] * ("iscrowd" in change)


@pytest.mark.parametrize("value", [None, "absent"])
def test_record_without_box_keeps_its_row(tmp_path: Path, value: Any) -> None:
    """No box is no problem of the reader: the corners are not a number."""
    record = {key: v for key, v in (box() | {"bbox": value}).items() if v != "absent"}

    dataset = read_object(tmp_path, annotations=[record])

    assert np.isnan(dataset.annotations.corners).all() and dataset.n_annotations == 1 and dataset.problems == ()


def test_rotated_box_gives_its_enclosing_box(tmp_path: Path) -> None:
    """Five values are centre, size and degrees."""
    dataset = read_object(tmp_path, annotations=[box(bbox=[50, 40, 20, 10, 90]), box(2, bbox=[50, 40, 20, 10, 0])])

    assert dataset.annotations.corners.round(9).tolist() == [[45, 30, 55, 50], [40, 35, 60, 45]]
    assert dataset.annotations.geometry.tolist() == [Geometry.OBB] * 2 and dataset.task == "obb"


@pytest.mark.parametrize("record", [5, None, "x", [], {}, {"id": 1}, {"image_id": None}, {"image_id": 1.5}, {"image_id": [1]}])
def test_record_without_an_image_id_cannot_be_read(tmp_path: Path, record: Any) -> None:
    """It is a problem with its index and the other records count."""
    dataset = read_object(tmp_path, annotations=[box(1), record, box(3)])

    assert dataset.annotations.source_id.tolist() == [1, 3] and dataset.annotations.position.tolist() == [0, 2]
    assert problem_at(dataset, "record-unreadable") == "/annotations/1"


def test_annotation_of_an_unknown_image_counts_nowhere(tmp_path: Path) -> None:
    """It is a problem with its pointer and id; an undeclared class is left to the checks."""
    dataset = read_object(tmp_path, annotations=[box(1), box(2, image_id=99), box(3, category_id=99)])

    (problem,) = dataset.problems
    assert (problem.kind, problem.place.pointer, problem.place.annotation_id) == ("annotation-without-image", "/annotations/1/image_id", 2)
    assert dataset.annotations.class_index.tolist() == [0, -1] and dataset.annotations.class_id.tolist() == [1, 99]


def test_text_ids_are_compared_by_value_and_type(tmp_path: Path) -> None:
    """Text "1" is not the number 1; whole floats are integers; mixing is said once."""
    images = [image("a", "a.jpg"), image(1, "b.jpg"), image("1", "c.jpg")]
    records = [box("x", "a"), box(2, "1"), box(3, 1), box(4, 1.0)]

    dataset = read_object(tmp_path, images=images, annotations=records)

    assert dataset.annotations.image.tolist() == [0, 2, 1, 1]
    assert dataset.annotations.source_id.tolist() == ["x", 2, 3, 4] and dataset.images.source_id.tolist() == ["a", 1, "1"]
    assert kinds(dataset) == ["id-mixed-types"]


def test_ids_beyond_64_bits_are_kept(tmp_path: Path) -> None:
    """Huge integers stay what they are."""
    dataset = read_object(tmp_path, images=[image(2**70)], annotations=[box(2**80, 2**70)])

    assert dataset.annotations.source_id.tolist() == [2**80] and dataset.annotations.image.tolist() == [0]


@pytest.mark.parametrize("far", [0, 10**15])
def test_repeated_image_id_means_the_last_image(tmp_path: Path, far: int) -> None:
    """Both files stay images; annotations go to the last, as pycocotools has it; also where ids are far apart."""
    dataset = read_object(
        tmp_path, images=[image(1, "a.jpg"), image(1, "b.jpg"), image(2 + far, "c.jpg")], annotations=[box(), box(2, 2 + far)]
    )

    assert dataset.images.file_name.tolist() == ["a.jpg", "b.jpg", "c.jpg"] and dataset.images.source_id.tolist() == [1, 1, 2 + far]
    assert dataset.annotations.image.tolist() == [1, 2]
    assert dataset.images.label_state.tolist() == [LabelState.BACKGROUND, LabelState.LABELED, LabelState.LABELED]


def test_file_listed_twice_is_one_image(tmp_path: Path) -> None:
    """The annotations of both entries belong to it, and the second entry is a problem."""
    dataset = read_object(tmp_path, images=[image(1), image(2)], annotations=[box(1, 1), box(2, 2)])

    assert dataset.n_images == 1 and dataset.annotations.image.tolist() == [0, 0]
    assert problem_at(dataset, "listed-twice") == "/images/1"


@pytest.mark.parametrize("value", [0, -1, "640", 1e20, 3.5, 2**31, True, []])
def test_impossible_image_size_is_a_problem(tmp_path: Path, value: Any) -> None:
    """A declared size that is no positive 32-bit integer is unknown."""
    dataset = read_object(tmp_path, images=[image() | {"width": value}, image(2, "b.jpg")])

    assert dataset.images.width.tolist() == [UNKNOWN_SIZE, 100] and dataset.images.height.tolist() == [80, 80]
    assert problem_at(dataset, "image-size-invalid") == "/images/0/width"


def test_size_that_is_not_declared_is_unknown_without_a_problem(tmp_path: Path) -> None:
    """Absent and null sizes are just unknown."""
    dataset = read_object(tmp_path, images=[{"id": 1, "file_name": "a.jpg"}, image(2, "b.jpg") | {"width": None}])

    assert dataset.images.width.tolist() == [UNKNOWN_SIZE] * 2 and dataset.problems == ()


@pytest.mark.parametrize("name", [None, "", 5])
def test_image_without_a_name_still_counts(tmp_path: Path, name: Any) -> None:
    """It gets a placeholder and a problem."""
    dataset = read_object(tmp_path, images=[image(17) | {"file_name": name}], annotations=[box(1, 17)])

    assert dataset.images.file_name.tolist() == ["<id 17>"] and dataset.n_annotations == 1
    assert problem_at(dataset, "record-unreadable") == "/images/0/file_name"


# Classes ------------------------------------------------------------------------------------------------------------


def test_classes_keep_the_order_of_the_file(tmp_path: Path) -> None:
    """Class order is the file's; supercategory and number of keypoints are kept."""
    categories = [{"id": 9, "name": "b", "supercategory": "x", "keypoints": ["nose", "tail"]}, {"id": 3, "name": "a"}]

    dataset = read_object(tmp_path, categories=categories, annotations=[box(category_id=3)])

    assert [(c.id, c.name, c.supercategory, c.keypoints) for c in dataset.classes] == [(9, "b", "x", 2), (3, "a", None, 0)]
    assert dataset.annotations.class_index.tolist() == [1]


def test_classes_of_several_files_unite_by_id_and_name(tmp_path: Path) -> None:
    """The same id with another name is another class."""
    put(
        tmp_path,
        {
            "train/_annotations.coco.json": coco_json(),
            "test/_annotations.coco.json": coco_json(
                [image(1, "b.jpg")], [box(category_id=2)], [{"id": 2, "name": "bird"}, *CATEGORIES[:1]]
            ),
        },
    )

    dataset = read(tmp_path)

    assert [(c.id, c.name) for c in dataset.classes] == [(1, "cat"), (2, "dog"), (2, "bird")]
    assert dataset.annotations.class_index.tolist() == [0, 2]


def test_repeated_category_id_means_the_last_category(tmp_path: Path) -> None:
    """Both are listed; annotations go to the last."""
    dataset = read_object(tmp_path, categories=[{"id": 1, "name": "a"}, {"id": 1, "name": "b"}])

    assert dataset.class_names == ("a", "b") and dataset.annotations.class_index.tolist() == [1]


@pytest.mark.parametrize(("name", "read_as"), [(None, ""), ("", ""), (" ", " "), (5, "5"), (True, "True")])
def test_category_without_a_usable_name_is_a_problem(tmp_path: Path, name: Any, read_as: str) -> None:
    """The class stays, named as well as can be."""
    dataset = read_object(tmp_path, categories=[{"id": 1, "name": name}])

    assert dataset.class_names == (read_as,) and problem_at(dataset, "class-name-missing") == "/categories/0/name"


def test_names_given_by_the_user_replace_those_of_the_file(tmp_path: Path) -> None:
    """They go by order; classes beyond keep theirs."""
    assert read(put(tmp_path, {"all.json": coco_json()}), classes=("Katze",)).class_names == ("Katze", "dog")


@pytest.mark.parametrize(
    ("more", "task"),
    [({}, "detect"), ({"segmentation": []}, "detect"), ({"segmentation": [[1, 2, 3, 4, 5, 6]]}, "segment"),
     ({"segmentation": {"size": [1, 1], "counts": "01"}}, "segment"), ({"keypoints": [1, 2, 2], "segmentation": [[1, 2, 3, 4, 5, 6]]}, "pose")],
)  # fmt: skip
def test_task_is_what_most_records_serve(tmp_path: Path, more: Any, task: str) -> None:
    """Shapes make segmentation, keypoints make pose, plain boxes make detection."""
    assert read_object(tmp_path, annotations=[box(1, **more), box(2, **more), box(3)]).task == task


# Damaged text -------------------------------------------------------------------------------------------------------

TEXT = json.dumps(coco_json(annotations=[box(1), box(2), box(3)]))


@pytest.mark.parametrize("indent", [None, 1])
def test_broken_record_is_reported_where_it_is_and_the_others_count(tmp_path: Path, indent: int | None) -> None:
    """One unreadable record costs one record; its image counts as labelled."""
    text = json.dumps(coco_json([image(), image(2, "b.jpg")], [box(1), box(22, 2), box(3)]), indent=indent)

    dataset = read_text(tmp_path, text.replace('"id": 22,', '"id": 22 "oops",'))

    assert dataset.annotations.source_id.tolist() == [1, 3] and dataset.annotations.position.tolist() == [0, 2]
    assert problem_at(dataset, "record-unreadable") == "/annotations/1"
    (whole,) = [p for p in dataset.problems if p.kind == "label-unreadable"]
    assert "byte" in whole.text and whole.place.line == (1 if indent is None else text[: text.index('"id": 22')].count("\n"))
    assert dataset.images.label_state.tolist() == [LabelState.LABELED] * 2


def test_truncated_file_gives_all_whole_records(tmp_path: Path) -> None:
    """What is whole before the end counts, and the file's problem says that it ends early."""
    dataset = read_text(tmp_path, TEXT[: TEXT.index('"id": 3') + 20])

    assert dataset.annotations.source_id.tolist() == [1, 2] and dataset.n_images == 1
    assert kinds(dataset)[0] == "label-unreadable"


@pytest.mark.parametrize("constant", ["NaN", "Infinity", "-Infinity"])
def test_constants_that_are_not_json_count_as_python_reads_them(tmp_path: Path, constant: str) -> None:
    """json.load takes them, so the record counts; strict parsers do not, so it is a problem."""
    dataset = read_text(
        tmp_path,
        TEXT.replace(
            '"id": 2, "image_id": 1, "category_id": 1, "bbox": [10', f'"id": 2, "image_id": 1, "category_id": 1, "bbox": [{constant}'
        ),
    )

    assert dataset.n_annotations == 3 and not np.isfinite(dataset.annotations.corners[1, 0])
    assert problem_at(dataset, "json-nonstandard") == "/annotations/1" and len(dataset.problems) == 1


@pytest.mark.parametrize(
    ("content", "kind"),
    [
        (b"\xef\xbb\xbf" + TEXT.encode(), "text-encoding"),
        (TEXT.encode("utf-16"), "text-encoding"),
        (TEXT.encode("utf-16-le"), "text-encoding"),
        (TEXT.encode("utf-32"), "text-encoding"),
        (TEXT.replace('"cat"', '"c\xe4t"').encode("latin-1"), "text-encoding"),
        (TEXT.replace("}], ", "},], ", 1).encode(), "json-nonstandard"),
        ((TEXT[:-1] + ",}").encode(), "json-nonstandard"),
        (TEXT.replace('"cat"', '"c\\ud800t"').encode(), "json-nonstandard"),
        (TEXT.replace('"cat"', '"c\tt"').encode(), "json-nonstandard"),
        (TEXT.replace("}, {", "}{").encode(), "label-unreadable"),
        (TEXT.replace('"annotations":', 'x "annotations":').encode(), "label-unreadable"),
        ((TEXT + "garbage").encode(), "label-unreadable"),
        ((TEXT[:-1]).encode(), "label-unreadable"),
    ],
    ids=["bom", "utf-16", "utf-16-le", "utf-32", "latin-1", "comma in list", "comma in object", "surrogate", "tab", "no comma", "stray", "after", "no end"],
)  # fmt: skip
def test_oddity_outside_the_records_costs_none(tmp_path: Path, content: bytes, kind: str) -> None:
    """All records count whatever the file's encoding, commas or ends, and the oddity is said once."""
    dataset = read_text(tmp_path, content)

    assert (dataset.n_images, dataset.n_annotations, len(dataset.classes)) == (1, 3, 2)
    assert kinds(dataset) == [kind]


@pytest.mark.parametrize(
    ("old", "new", "left"),
    [
        ('"id": 2, "image_id": 1,', '"id": 2, "image_id": 1}],', [1, 2, 3]),
        ('"id": 2, "image_id": 1,', '"id": 2, "image_id": 1},', [1, 2, 3]),
        ('"iscrowd": 0}], "categories"', '"iscrowd": 0, "attributes": [{}], "categories"', [1, 2]),
        ('"id": 2, "image_id"', '"id": "2, "image_id"', [1, 3]),
        ('{"id": 2, "image_id"', '{{"id": 2, "image_id"', [1, 3]),
        ('{"id": 2, "image_id"', '[{"id": 2, "image_id"', [1, 2, 3]),
        ('{"id": 2, "image_id"', '"id": 2, "image_id"', [1, 3]),
    ],
    ids=["list closed early", "record closed early", "list never closed", "open text", "brace", "bracket", "no brace"],
)
def test_lost_or_added_bracket_costs_one_record_at_most(tmp_path: Path, old: str, new: str, left: list[int]) -> None:
    """Where brackets do not match, records are found again, and no other list is swallowed."""
    assert old in TEXT
    dataset = read_text(tmp_path, TEXT.replace(old, new))

    assert dataset.annotations.source_id.tolist() == left and dataset.class_names == ("cat", "dog")
    assert kinds(dataset)[0] == "label-unreadable"


def test_last_of_repeated_lists_counts(tmp_path: Path) -> None:
    """As in every JSON parser; the repetition is a problem."""
    dataset = read_text(tmp_path, TEXT[:-1] + ', "annotations": ' + json.dumps([box(9)]) + "}")

    assert dataset.annotations.source_id.tolist() == [9] and kinds(dataset) == ["duplicate-key"]


def test_lists_may_be_absent_or_something_else(tmp_path: Path) -> None:
    """No list, no rows; nothing stops."""
    assert read_text(tmp_path, '{"images": null, "categories": {}, "annotations": 5}').n_images == 0
    assert kinds(read_text(tmp_path, "[1, 2]")) == ["label-unreadable"]
    assert kinds(read_text(tmp_path, "")) == ["label-unreadable"]


def test_annotations_may_come_before_images(tmp_path: Path) -> None:
    """The order of the lists does not matter."""
    parts = coco_json()
    dataset = read_text(tmp_path, json.dumps({key: parts[key] for key in ("annotations", "categories", "images")}))

    assert dataset.annotations.image.tolist() == [0] and dataset.problems == ()


def test_file_of_many_pieces_is_read_like_a_small_one(tmp_path: Path) -> None:
    """Records keep their index across pieces, also where records hold lists of objects, where guesses at their ends go wrong."""
    filler = {"attributes": [{"text": "x}, {" * 60}, {"id": 7}] * 10}
    records = [box(n, bbox=[n, 0, 1, 1], **(filler if n % 2 else {})) for n in range(6000)]
    text = json.dumps(coco_json(annotations=records))
    assert len(text) > 9 << 20

    dataset = read_text(tmp_path, text)

    assert dataset.problems == () and np.array_equal(dataset.annotations.source_id, np.arange(6000))
    assert np.array_equal(dataset.annotations.position, np.arange(6000)) and np.array_equal(
        dataset.annotations.corners[:, 0], np.arange(6000)
    )


HEAD = b'{"images":[{"id":1,"file_name":"a.jpg"}],"categories":[],"annotations":['


@pytest.mark.parametrize(
    "pattern",
    [b"{", b"[", b'{"a":', b',{"a":[', b',{"a":"x', b'"', b"\\", b",", b"]", b"}", b"}{", b"[{", b"{},", b"\n", b"\xff", b"9", b'],"annotations":[',
     b'],"a":[],', b'{"id":1,"image_id":1,"bbox":[1,2,3,4],', b'{"id":1,"image_id":1,"x":NaN},', b'},{"id":1,"image_id":1'],
)  # fmt: skip
@pytest.mark.slow
def test_crafted_file_takes_no_longer_than_its_size_allows(tmp_path: Path, pattern: bytes) -> None:
    """A megabyte of anything is read in seconds, without an exception."""
    started = time.perf_counter()
    dataset = read_text(tmp_path, HEAD + pattern * (1_000_000 // len(pattern)))
    COCO.detect(walk(tmp_path))

    assert dataset.problems and dataset.n_images <= 1
    assert time.perf_counter() - started < 15


@pytest.mark.parametrize("nested", [b"[" * 100_000, b'{"a":' * 100_000, b"[" * 3000 + b"]" * 3000])
def test_deep_nesting_breaks_one_record_only(tmp_path: Path, nested: bytes) -> None:
    """No recursion error escapes; records after it count where the nesting ends. How deep is too deep depends on the version of Python."""
    dataset = read_text(tmp_path, HEAD + b'{"id":1,"image_id":1,"x":' + nested + b"},\n" + json.dumps(box(2)).encode() + b"]}")

    ids = dataset.annotations.source_id.tolist()
    assert 2 in ids and ("record-unreadable" in kinds(dataset)) == (1 not in ids)


def test_number_of_too_many_digits_breaks_one_record_only(tmp_path: Path) -> None:
    """A million digits cost neither time nor the other records."""
    dataset = read_text(tmp_path, HEAD + b'{"id":1,"image_id":' + b"9" * 1_000_000 + b"}," + json.dumps(box(2)).encode() + b"]}")

    assert dataset.annotations.source_id.tolist() == [2]


def test_pipe_and_vanished_file_are_not_waited_for(tmp_path: Path) -> None:
    """A pipe in place of a label file is a problem, not a hang."""
    os.mkfifo(tmp_path / "all.json")
    tree = Tree(tmp_path, ("all.json", "gone.json"), frozenset(), ())

    assert COCO.detect(tree) == []
    assert kinds(COCO.read(tree, Candidate("coco", "coco", "", ("all.json", "gone.json"), ()))) == ["label-unreadable"] * 2


RECORDS = [
    json.dumps(record)
    for record in (
        box(101, segmentation=[[1, 2, 3, 4, 5, 6]]),
        box(102, caption='a "dog", {x} [y]'),
        box(103, iscrowd=1, segmentation={"size": [2, 2], "counts": "0\\4"}, attributes=[{"a": 1}, {"id": 5}]),
        {"image_id": 1, "category_id": 2, "id": 104},
    )
]


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_damage_inside_one_record_costs_that_record_at_most(tmp_path: Path, data: st.DataObject) -> None:
    """Bytes changed, deleted or inserted inside one record: nothing escapes, and every other record, image and class counts."""
    victim = data.draw(st.integers(0, len(RECORDS) - 1))
    record = RECORDS[victim].encode()
    start = data.draw(st.integers(1, len(record) - 1))
    stop = data.draw(st.integers(start, min(start + 12, len(record))))
    new = data.draw(st.lists(st.sampled_from(b'"\\{}[],: \n1aN\x00\xff'), max_size=8).map(bytes) | st.binary(max_size=4))
    damaged = [text.encode() for text in RECORDS]
    damaged[victim] = record[:start] + new + record[stop:]
    parts = json.dumps(coco_json(annotations=["HERE"])).encode()

    dataset = read_text(tmp_path, parts.replace(b'"HERE"', b",".join(damaged)))

    wanted = Counter([101, 102, 103, 104])
    wanted[101 + victim] -= 1
    assert not +wanted - Counter(dataset.annotations.source_id.tolist())
    assert dataset.n_images == 1 and dataset.class_names == ("cat", "dog")


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(start=st.integers(0, len(TEXT)), length=st.integers(0, 30), new=st.binary(max_size=20))
def test_no_damage_anywhere_raises(tmp_path: Path, start: int, length: int, new: bytes) -> None:
    """Whatever is changed anywhere in a file, reading and detecting end without an exception."""
    content = TEXT.encode()
    dataset = read_text(tmp_path, content[:start] + new + content[start + length :])

    assert dataset.format == "coco"
    COCO.detect(walk(tmp_path))


# Real data and an oracle --------------------------------------------------------------------------------------------


def totals(dataset: Dataset) -> dict[str, Any]:
    """The figures that the truth files give."""
    per_class = np.asarray(dataset.counts().sum(axis=0)).ravel()
    return {
        "n_images": dataset.n_images,
        "n_annotations": dataset.n_annotations,
        "n_background": int((dataset.images.label_state == LabelState.BACKGROUND).sum()),
        "class_instances": {name: int(n) for name, n in zip(dataset.class_names, per_class, strict=True) if n},
    }


@pytest.mark.parametrize(
    ("name", "folder", "images"),
    [
        ("amenity_coco", "amenity_coco", None),
        ("coco_val2017_boxes", "coco_val2017_boxes", None),
        ("voc100_multiformat", "voc100_multiformat/gts/coco_format_v1", "../../images"),
        ("voc100_multiformat", "voc100_multiformat/gts/coco_format_v2", "../../images"),
    ],
)
def test_real_datasets_have_their_true_totals(shared_data: Path, name: str, folder: str, images: str | None) -> None:
    """Totals equal those counted independently, all images are found, and nothing is wrong."""
    truth = json.loads((shared_data / "truth" / f"{name}.json").read_text())

    dataset = read(shared_data / folder, images=images)

    assert totals(dataset) == {key: truth[key] for key in totals(dataset)}
    assert dataset.problems == () and dataset.images.has_file.all() == (name != "coco_val2017_boxes")


def test_counts_equal_those_of_pycocotools(tmp_path: Path) -> None:
    """On files that pycocotools takes, annotations by image and by category are the same."""
    oracle = pytest.importorskip("pycocotools.coco", reason="pycocotools is not installed")
    rng = np.random.default_rng(0)
    images = [image(int(n) * 3, f"{n}.jpg") for n in range(50)]
    records = [box(n, int(rng.integers(50)) * 3, int(rng.integers(1, 3)), iscrowd=int(rng.integers(2))) for n in range(400)]
    dataset = read_object(tmp_path, images=images, annotations=records)
    with contextlib.redirect_stdout(io.StringIO()):
        theirs = oracle.COCO(tmp_path / "labels.json")

    per_image = np.bincount(dataset.annotations.image, minlength=50)
    assert per_image.tolist() == [len(theirs.getAnnIds(imgIds=[entry["id"]])) for entry in images]
    assert np.bincount(dataset.annotations.class_index).tolist() == [len(theirs.getAnnIds(catIds=[c])) for c in (1, 2)]
    assert int(dataset.annotations.has(Flag.CROWD).sum()) == len(theirs.getAnnIds(iscrowd=True))
