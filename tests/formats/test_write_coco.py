"""Writing COCO: records that stay as they are, repeated ones, files made anew, records made of other formats, and what reads them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dataset_doctor.dataset import Dataset
from dataset_doctor.errors import DoctorError, UsageError
from dataset_doctor.formats import losses, read, read_outlines, unwritable, write
from dataset_doctor.plan import make_plan
from tests.conftest import FIXTURES
from tests.consumers import consumed, needs, planted

TRAIN = """{ "info": {"year" : 2.0e3, "note": "h\u00e9"}, "unknown": [1, {"id": 7}],
 "images":[
  {"id": 10, "file_name": "a.jpg", "width": 80, "height": 60, "license": 3},
  {"file_name":"b.jpg","id":11,"width":80,"height":60} ,
  {"id": 12, "file_name": "c.jpg", "width": 80, "height": 60}
 ],
 "annotations": [
{"id": 5, "image_id": 10, "category_id": 90, "bbox": [1.50, 2, 10.00, 5], "area": 41.0, "iscrowd": 0, "attributes": {"id": 1, "note": "x"}},
{"segmentation": [[1,1,9,1,9,9]], "image_id": 11, "bbox": [1,1,8,8], "category_id": 3, "area": 32, "iscrowd": 0, "id": 6},
{"id": 9, "image_id": 10, "category_id": 3, "bbox": [0, 0, 4, 4], "area": 16, "iscrowd": 0, "score": 5e-1}
 ],
 "categories": [{"id": 90, "name": "dog", "supercategory": "animal"}, {"id": 3, "name": "cat"}]
}
"""
VAL = '{"images": [{"id": 1, "file_name": "v.jpg"}], "annotations": [], "categories": [{"id":90,"name":"dog"},{"id":3,"name":"cat"}]}'


def source(root: Path) -> Path:
    files = {
        "annotations/instances_train.json": TRAIN,
        "annotations/instances_val.json": VAL,
        **{f"train/{name}.jpg": "" for name in "abc"},
        "val/v.jpg": "",
    }
    return planted(root, files)


def chosen(dataset: Dataset, names: str, left_out: tuple[int, ...] = ()) -> Dataset:
    """Choose images of the split train by the letters of their names; all others stay."""
    row_of = {name.rpartition("/")[2].partition(".")[0]: row for row, name in enumerate(dataset.images.file_name)}
    others = np.flatnonzero(~dataset.images.in_split[:, dataset.splits.index("train")])
    rows = np.array([*(row_of[name] for name in names), *others], np.intp)
    return make_plan(dataset, rows, command="rebalance", split="train", left_out=np.array(left_out, np.intp)).apply(dataset)


def moved(dataset: Dataset, splits: dict[str, str]) -> Dataset:
    """Put images, by the letters of their names, into new splits."""
    row_of = {name.rpartition("/")[2].partition(".")[0]: row for row, name in enumerate(dataset.images.file_name)}
    names = "".join(splits.values())
    in_split = np.array([[name in members for members in splits.values()] for name in names])
    rows = np.array([row_of[name] for name in names])
    return make_plan(dataset, rows, command="split", in_split=in_split, splits=tuple(splits)).apply(dataset)


def label_file(root: Path, split: str = "train") -> Any:
    return json.loads((root / f"annotations/instances_{split}.json").read_bytes())


# The same format ----------------------------------------------------------------------------------------------------


def test_what_nothing_changes_comes_out_byte_for_byte(tmp_path: Path) -> None:
    """Label files of a plan that changes nothing, and of splits that it does not name, are the source's bytes."""
    dataset = read(source(tmp_path / "in"))
    write(chosen(dataset, "abc"), tmp_path / "same")
    write(chosen(dataset, "b"), tmp_path / "fewer")

    assert (tmp_path / "same/annotations/instances_train.json").read_text() == TRAIN
    for out in ("same", "fewer"):
        assert (tmp_path / out / "annotations/instances_val.json").read_text() == VAL
        assert (tmp_path / out / "val/v.jpg").read_bytes() == (tmp_path / "in/val/v.jpg").read_bytes()


def test_a_dataset_without_a_plan_is_pasted_to_the_same_bytes(tmp_path: Path) -> None:
    """Cutting a file at its records and pasting all of them gives the file again, odd spaces included."""
    write(read(source(tmp_path / "in")), tmp_path / "out")

    assert (tmp_path / "out/annotations/instances_train.json").read_text() == TRAIN


def test_records_that_go_leave_the_others_as_they_were(tmp_path: Path) -> None:
    """Dropped images take their annotations along; every other byte between the braces stays."""
    write(chosen(read(source(tmp_path / "in")), "ac", left_out=(2,)), tmp_path / "out")
    text = (tmp_path / "out/annotations/instances_train.json").read_text()

    lines = TRAIN.splitlines()
    assert [line.rstrip(",") for line in text.splitlines() if '"id": 5' in line] == [lines[7].rstrip(",")]
    assert '"id": 9,' not in text and '"id": 6' not in text and "b.jpg" not in text
    assert text.startswith(TRAIN[: TRAIN.index("{", 90)]) and text.endswith(TRAIN[TRAIN.index('\n ],\n "categories') :])
    assert not (tmp_path / "out/train/b.jpg").exists()
    assert len(json.loads(text)["images"]) == 2


def test_a_repeated_image_is_a_record_a_file_and_annotations_of_its_own(tmp_path: Path) -> None:
    """Ids of repeats follow the largest of the dataset; all other members keep their values, numbers their spelling."""
    write(chosen(read(source(tmp_path / "in")), "aaabc"), tmp_path / "out")
    text = (tmp_path / "out/annotations/instances_train.json").read_text()
    images, annotations = label_file(tmp_path / "out")["images"], label_file(tmp_path / "out")["annotations"]

    assert [(one["id"], one["file_name"], one.get("license")) for one in images] == [
        (10, "a.jpg", 3),
        (11, "b.jpg", None),
        (12, "c.jpg", None),
        (13, "a__r1.jpg", 3),
        (14, "a__r2.jpg", 3),
    ]
    assert [(one["id"], one["image_id"], one["category_id"]) for one in annotations] == [
        (5, 10, 90),
        (6, 11, 3),
        (9, 10, 3),
        (10, 13, 90),
        (11, 13, 3),
        (12, 14, 90),
        (13, 14, 3),
    ]
    assert annotations[3]["attributes"] == {"id": 1, "note": "x"}
    assert text.count('"bbox": [1.50, 2, 10.00, 5]') == 3 and text.count('"score": 5e-1') == 3
    assert (tmp_path / "out/train/a__r2.jpg").read_bytes() == (tmp_path / "in/train/a.jpg").read_bytes()


def test_text_ids_get_an_end(tmp_path: Path) -> None:
    """Ids that are text stay text: a repeat gets a suffix that no other id has."""
    text = TRAIN.replace('"id": 10,', '"id": "p",').replace('"image_id": 10', '"image_id": "p"').replace('"id": 12', '"id": "p__r1"')
    root = planted(tmp_path / "in", {"instances_train.json": text, "a.jpg": "", "b.jpg": "", "c.jpg": ""})
    write(chosen(read(root), "aabc"), tmp_path / "out")
    whole = json.loads((tmp_path / "out/instances_train.json").read_bytes())

    assert [one["id"] for one in whole["images"]] == ["p", 11, "p__r1", "p__r2"]
    assert [one["image_id"] for one in whole["annotations"]] == ["p", 11, "p", "p__r2", "p__r2"]


def test_many_repeats_change_only_their_ids(tmp_path: Path) -> None:
    """Plain records are renumbered many at a time, with the same result as one by one."""
    n = 300
    images = [{"id": k + 1, "file_name": f"{k}.jpg", "width": 10, "height": 10} for k in range(n)]
    annotations = [
        {"image_id": k // 2 + 1, "bbox": [1, 1, 2.5, 2], "category_id": 1, "id": 7 * k + 1, "area": 5, "iscrowd": 0, "note": f"n{k}"}
        for k in range(2 * n)
    ]
    whole = {"images": images, "annotations": annotations, "categories": [{"id": 1, "name": "cat"}]}
    root = planted(tmp_path / "in", {"instances_train.json": json.dumps(whole)})
    dataset = read(root)
    rows = np.sort(np.concatenate([np.arange(n), np.arange(0, n, 3)]))
    write(make_plan(dataset, rows, command="rebalance", split="train").apply(dataset), tmp_path / "out", materialize="list")
    written = json.loads((tmp_path / "out/instances_train.json").read_bytes())

    assert written["annotations"][: 2 * n] == annotations
    repeats = written["annotations"][2 * n :]
    again = [one for one in annotations if (one["image_id"] - 1) % 3 == 0]
    assert [one["id"] for one in repeats] == list(range(7 * (2 * n - 1) + 2, 7 * (2 * n - 1) + 2 + len(again)))
    assert [{**one, "id": 0, "image_id": 0} for one in repeats] == [{**one, "id": 0, "image_id": 0} for one in again]
    assert [one["image_id"] for one in repeats] == [n + 1 + k // 2 for k in range(len(again))]
    assert [one["file_name"] for one in written["images"][n:]] == [f"{k}.jpg" for k in range(0, n, 3)]


def test_a_list_is_read_back_with_its_repeats(tmp_path: Path) -> None:
    """With "list" no image is written, and the manifest makes repeated records images of their own, silently, that share a picture."""
    write(chosen(read(source(tmp_path / "in")), "aaabc"), tmp_path / "out", materialize="list")
    found = read(tmp_path / "out")

    assert not list((tmp_path / "out").rglob("*.jpg"))
    assert [one["file_name"] for one in label_file(tmp_path / "out")["images"]] == ["a.jpg", "b.jpg", "c.jpg", "a.jpg", "a.jpg"]
    assert found.images.in_split.sum(axis=0).tolist() == [5, 1]
    assert int(found.images.is_repeat.sum()) == 2 and found.n_annotations == 7
    assert not [problem for problem in found.problems if problem.kind in ("listed-twice", "config-invalid")]
    with_images = read(tmp_path / "out", images=tmp_path / "in")
    assert with_images.images.has_file.all() and with_images.n_images == 6


def test_an_image_that_two_entries_and_two_files_name_keeps_all_of_them(tmp_path: Path) -> None:
    """Entries beyond an image's first stay with their annotations, in its own file and in another split's."""
    twice = TRAIN.replace('"c.jpg"', '"a.jpg"').replace('"image_id": 11', '"image_id": 12')
    both = VAL.replace("v.jpg", "../train/a.jpg").replace('"annotations": []', '"annotations": [{"id": 1, "image_id": 1, "category_id": 3, "bbox": [1,1,5,5], "area": 25, "iscrowd": 0}]')  # fmt: skip
    files = {"annotations/instances_train.json": twice, "annotations/instances_val.json": both, "train/a.jpg": "", "train/b.jpg": ""}
    dataset = read(planted(tmp_path / "in", files))
    row = dataset.images.file_name.tolist().index("train/a.jpg")
    assert dataset.images.in_split[row].all()
    write(make_plan(dataset, np.array([row]), command="rebalance", split="val").apply(dataset), tmp_path / "val")
    write(make_plan(dataset, np.array([row]), command="rebalance", split="train").apply(dataset), tmp_path / "train")

    assert [one["id"] for one in label_file(tmp_path / "train")["images"]] == [10, 12]
    assert [one["image_id"] for one in label_file(tmp_path / "train")["annotations"]] == [10, 12, 10]
    assert label_file(tmp_path / "val", "val")["images"] == json.loads(both)["images"]


def test_a_damaged_file_comes_out_sound(tmp_path: Path) -> None:
    """Records that cannot be read are left out of the split that changes, said so, and the rest is JSON that every parser reads."""
    broken = TRAIN.replace('"score": 5e-1', '"score": NaN').replace('{"segmentation": [[1,1,9,1,9,9]],', '{"segmentation": [[1,1,,9]],')
    files = {"annotations/instances_train.json": broken, "annotations/instances_val.json": VAL, "train/a.jpg": "", "val/v.jpg": ""}
    dataset = read(planted(tmp_path / "in", files))
    assert dataset.n_annotations == 2
    treated = chosen(dataset, "ac")
    written = write(treated, tmp_path / "out")
    whole = label_file(tmp_path / "out")

    assert written.loses == losses(treated, "coco") == ("1 record could not be read and is left out.",)
    assert [one["id"] for one in whole["annotations"]] == [5, 9]
    assert whole["annotations"][1]["score"] is None and whole["info"] == {"year": 2000.0, "note": "h\u00e9"}
    assert losses(chosen(dataset, "abc"), "coco") == ()  # nothing changes: the file is copied


def test_splitting_makes_files_with_ids_of_their_own(tmp_path: Path) -> None:
    """Images of two files that meet in one split get ids that no split has, and their annotations follow them."""
    both = VAL.replace('{"id": 1, "file_name": "v.jpg"}', '{"id": 10, "file_name": "v.jpg"}, {"id": 12, "file_name": "w.jpg"}').replace(
        '"annotations": []', '"annotations": [{"id": 5, "image_id": 10, "category_id": 3, "bbox": [1,1,5,5], "area": 25, "iscrowd": 0}]'
    )
    root = source(tmp_path / "in")
    (root / "annotations/instances_val.json").write_text(both)
    planted(root, {"val/w.jpg": ""})
    write(moved(read(root), {"train": "av", "test": "cbw"}), tmp_path / "out")
    train, test = label_file(tmp_path / "out"), label_file(tmp_path / "out", "test")

    assert [(one["id"], one["file_name"]) for one in train["images"]] == [(10, "a.jpg"), (13, "v.jpg")]
    assert [(one["id"], one["image_id"]) for one in train["annotations"]] == [(5, 10), (9, 10), (10, 13)]
    assert [(one["id"], one["file_name"]) for one in test["images"]] == [(12, "c.jpg"), (11, "b.jpg"), (14, "w.jpg")]
    assert train["info"] == test["info"] == {"year": 2000.0, "note": "h\u00e9"} and train["unknown"] == [1, {"id": 7}]
    assert train["categories"] == json.loads(TRAIN)["categories"] and train["licenses"] == []
    assert sorted(path.name for path in (tmp_path / "out/images").rglob("*.jpg")) == ["a.jpg", "b.jpg", "c.jpg", "v.jpg", "w.jpg"]
    assert (tmp_path / "out/images/test/b.jpg").is_file()


@pytest.mark.parametrize(("own", "fresh"), [({}, {}), ({"id": 3.0}, {"id": 4})])
def test_an_id_inside_a_record_is_not_its_own(tmp_path: Path, own: dict[str, float], fresh: dict[str, int]) -> None:
    """A repeated record without an id stays without, one with an unusual number gets a new one, and ids of its members stay."""
    record = {"image_id": 1, "category_id": 1, "bbox": [1, 1, 5, 5], "area": 25, "iscrowd": 0, **own, "attributes": {"id": 1}}
    whole = {"images": [{"id": 1, "file_name": "a.jpg"}], "annotations": [record], "categories": [{"id": 1, "name": "c"}]}
    write(chosen(read(planted(tmp_path / "in", {"instances_train.json": json.dumps(whole)})), "aa"), tmp_path / "out")

    repeat = {**record, **fresh, "image_id": 2}
    assert json.loads((tmp_path / "out/instances_train.json").read_bytes())["annotations"] == [record, repeat]


def test_categories_that_share_an_id_are_told_apart(tmp_path: Path) -> None:
    """Where two files give one id to two names, the second gets an id that follows the largest, and its annotations follow."""
    other = VAL.replace('"name":"cat"', '"name":"bird"').replace(
        '"annotations": []', '"annotations": [{"id": 1, "image_id": 1, "category_id": 3, "bbox": [1,1,5,5], "area": 25, "iscrowd": 0}]'
    )
    root = source(tmp_path / "in")
    (root / "annotations/instances_val.json").write_text(other)
    write(moved(read(root), {"train": "av", "test": "cb"}), tmp_path / "out")
    train = label_file(tmp_path / "out")

    assert [(one["id"], one["name"]) for one in train["categories"]] == [(90, "dog"), (3, "cat"), (91, "bird")]
    assert [one["category_id"] for one in train["annotations"]] == [90, 3, 91]


def test_a_source_that_changed_meanwhile_is_refused(tmp_path: Path) -> None:
    """A label file with fewer records than the rows came from stops the write, and nothing is left of it."""
    root = source(tmp_path / "in")
    dataset = chosen(read(root), "ab")
    (root / "annotations/instances_train.json").write_text(VAL)
    with pytest.raises(DoctorError, match="has changed since it was read"):
        write(dataset, tmp_path / "out")

    assert sorted(path.name for path in tmp_path.iterdir()) == ["in"]


# From other formats -------------------------------------------------------------------------------------------------


def test_records_made_of_voc(tmp_path: Path) -> None:
    """Corners become 0-based and half-open, whole numbers stay whole, flags go to attributes, and everything is numbered from 1."""
    obj = "<object><name>{}</name><difficult>{}</difficult><truncated>1</truncated><bndbox><xmin>{}</xmin><ymin>1</ymin><xmax>{}</xmax><ymax>60</ymax></bndbox></object>"
    xml = "<annotation><source><database>The VOC2007 Database</database></source><filename>a.jpg</filename><size><width>80</width><height>60</height></size>{}</annotation>"
    files = {
        "Annotations/a.xml": xml.format(obj.format("dog", 0, 1, 80) + obj.format("cat", 1, "10.5", 20)),
        "Annotations/b.xml": xml.format("").replace("a.jpg", "b.jpg"),
        "ImageSets/Main/train.txt": "a\nb\n",
        "JPEGImages/a.jpg": "",
        "JPEGImages/b.jpg": "",
    }
    dataset = read(planted(tmp_path / "in", files))
    assert dataset.voc_origin == "1-based"
    write(dataset, tmp_path / "out", "coco")
    whole = label_file(tmp_path / "out")

    assert whole == {
        "info": {},
        "licenses": [],
        "images": [
            {"id": 1, "file_name": "a.jpg", "width": 80, "height": 60},
            {"id": 2, "file_name": "b.jpg", "width": 80, "height": 60},
        ],
        "annotations": [
            {"id": 1, "image_id": 1, "category_id": 2, "bbox": [0, 0, 80, 60], "area": 4800, "iscrowd": 0,
             "attributes": {"difficult": False, "truncated": True, "occluded": False}},
            {"id": 2, "image_id": 1, "category_id": 1, "bbox": [9.5, 0, 10.5, 60], "area": 630, "iscrowd": 0,
             "attributes": {"difficult": True, "truncated": True, "occluded": False}},
        ],
        "categories": [{"id": 1, "name": "cat", "supercategory": ""}, {"id": 2, "name": "dog", "supercategory": ""}],
    }  # fmt: skip
    assert '"bbox": [0, 0, 80, 60]' in (tmp_path / "out/annotations/instances_train.json").read_text()


def test_records_made_of_yolo_polygons(tmp_path: Path) -> None:
    """Polygons come in pixels with their own area; a box among them becomes a polygon of its corners."""
    rows = "0 0.125 0.25 0.5 0.25 0.5 0.75\n1 0.5 0.5 0.25 0.5\n"
    files = {"data.yaml": "train: images/train\nval: images/train\nnames: [a, b]\n", "images/train/x.jpg": "", "labels/train/x.txt": rows}
    dataset = read(planted(tmp_path / "in", files))
    write(dataset, tmp_path / "out", "coco")
    first, second = label_file(tmp_path / "out")["annotations"]

    assert first["segmentation"] == [[10, 15, 40, 15, 40, 45]] and (first["bbox"], first["area"]) == ([10, 15, 30, 30], 450)
    assert second["segmentation"] == [[30, 15, 50, 15, 50, 45, 30, 45]] and second["bbox"] == [30, 15, 20, 30]
    assert read(tmp_path / "out").task == "segment"


def test_records_made_of_yolo_poses(tmp_path: Path) -> None:
    """Keypoints come in pixels with their visibility, counted, and the category names as many."""
    files = {
        "data.yaml": "train: images/train\nval: images/train\nnames: [person]\nkpt_shape: [2, 3]\n",
        "images/train/x.jpg": "",
        "labels/train/x.txt": "0 0.5 0.5 0.5 0.5 0.5 0.25 2 0 0 0\n",
    }
    write(read(planted(tmp_path / "in", files)), tmp_path / "out", "coco")
    whole = label_file(tmp_path / "out")

    assert whole["annotations"][0]["keypoints"] == [40, 15, 2, 0, 0, 0] and whole["annotations"][0]["num_keypoints"] == 1
    assert len(whole["categories"][0]["keypoints"]) == 2
    assert read(tmp_path / "out").task == "pose"


def test_what_coco_cannot_take_is_refused_by_name(tmp_path: Path) -> None:
    """A row without area or class stops a conversion with its place; left out by the plan, the rest is written."""
    files = {
        "data.yaml": "train: images/train\nval: images/train\nnames: [a]\n",
        "images/train/x.jpg": "",
        "labels/train/x.txt": "0 0.5 0.5 0.25 0.5\n0 0.5 0.5 0 0.5\n7 0.5 0.5 0.25 0.5\n",
    }
    dataset = read(planted(tmp_path / "in", files))
    assert unwritable(dataset, "coco").tolist() == [1, 2]
    with pytest.raises(UsageError, match=r"2 label records cannot be written as COCO, first labels/train/x\.txt:2"):
        write(dataset, tmp_path / "out", "coco")
    plan = make_plan(dataset, np.arange(1), command="convert", left_out=unwritable(dataset, "coco"))
    write(plan.apply(dataset), tmp_path / "out", "coco")

    assert len(label_file(tmp_path / "out")["annotations"]) == 1


# Outlines -----------------------------------------------------------------------------------------------------------


def test_outlines_of_coco_records(tmp_path: Path) -> None:
    """Rings, masks and keypoints come back as written, in the order of the rows, repeats included; what is no shape has none."""
    shapes = [
        {"segmentation": [[1, 2, 3.5, 4, 5, 6], [0, 0, 9, 0, 9, 9, 0, 9]]},
        {"segmentation": {"size": [60, 80], "counts": "abc"}},
        {"segmentation": {"size": [60, 80], "counts": [4790, 10]}},
        {"segmentation": [], "keypoints": [1, 2, 2, 0, 0, 0], "num_keypoints": 1},
        {"segmentation": "what"},
    ]
    for odd in (False, True):  # the last record makes the whole block go one by one
        records = [
            {"id": k + 1, "image_id": 1, "category_id": 1, "bbox": [1, 1, 5, 5], "area": 25, "iscrowd": 0, **shape}
            for k, shape in enumerate(shapes[: 5 if odd else 4])
        ]
        whole = {
            "images": [{"id": 1, "file_name": "a.jpg", "width": 80, "height": 60}],
            "annotations": records,
            "categories": [{"id": 1, "name": "c", "keypoints": ["x", "y"]}],
        }
        dataset = read(planted(tmp_path / str(odd), {"instances_train.json": json.dumps(whole)})).select(np.array([0, 0]))
        found = read_outlines(dataset)
        n = len(records)
        for start in (0, n):
            assert [ring.tolist() for ring in found.rings(start)] == [[[1, 2], [3.5, 4], [5, 6]], [[0, 0], [9, 0], [9, 9], [0, 9]]]
            assert found.masks[start + 1] == {"size": [60, 80], "counts": "abc"}
            assert found.masks[start + 2] == {"size": [60, 80], "counts": [4790, 10]}
            first, last = found.first_keypoint[start + 3 : start + 5]
            assert found.keypoints[first:last].tolist() == [[1, 2, 2], [0, 0, 0]]
            assert not found.rings(start + 3) and not found.rings(start + n - 1 if odd else start + 1)


def test_outlines_of_several_files(tmp_path: Path) -> None:
    """Rows that come from several files in turns get their own rings, whatever the order of the files."""

    def whole(name: str, start: int) -> str:
        records = [
            {"id": k, "image_id": k, "category_id": 1, "bbox": [k, 1, 2, 2], "segmentation": [[k, 1, k + 2, 1, k + 2, 3]] * k}
            for k in (start, start + 1)
        ]  # fmt: skip
        images = [{"id": k, "file_name": f"{name}{k}.jpg"} for k in (start, start + 1)]
        return json.dumps({"images": images, "annotations": records, "categories": [{"id": 1, "name": "c"}]})

    dataset = read(planted(tmp_path, {"instances_train.json": whole("t", 1), "instances_val.json": whole("v", 3)}))
    mixed = dataset.select(np.array([3, 0, 2, 1, 0]))
    found = read_outlines(mixed)

    for row, left in enumerate((4, 1, 3, 2, 1)):
        assert [ring.tolist() for ring in found.rings(row)] == [[[left, 1], [left + 2, 1], [left + 2, 3]]] * left


# Laws ---------------------------------------------------------------------------------------------------------------

RECORD = st.fixed_dictionaries(
    {
        "category_id": st.integers(0, 2),
        "bbox": st.lists(st.one_of(st.integers(1, 50), st.floats(0.5, 50)), min_size=4, max_size=4),
        "area": st.floats(0, 1e6),
        "iscrowd": st.sampled_from([0, 1]),
        "image": st.integers(0, 3),
    },
    optional={"note": st.text(max_size=5), "attributes": st.dictionaries(st.sampled_from(["id", "image_id", "x"]), st.integers())},
)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    records=st.lists(RECORD, max_size=8),
    rows=st.lists(st.integers(0, 3), min_size=1, max_size=7),
    indent=st.sampled_from([None, 1]),
    text_ids=st.booleans(),
)
def test_writing_conserves(
    tmp_path_factory: pytest.TempPathFactory, records: list[Any], rows: list[int], indent: int | None, text_ids: bool
) -> None:
    """Whatever is chosen: counts are conserved, ids differ, each record is one of the source's but for its ids, and nothing else changes."""
    root = tmp_path_factory.mktemp("law")
    ids = [f"i{k}" if text_ids else 10 * k for k in range(4)]
    annotations = [
        {"id": k + 1, "image_id": ids[one["image"]], **{key: one[key] for key in one if key != "image"}} for k, one in enumerate(records)
    ]
    whole = {
        "images": [{"id": ids[k], "file_name": f"{k}.jpg", "width": 100, "height": 100} for k in range(4)],
        "annotations": annotations,
        "categories": [{"id": k, "name": f"c{k}"} for k in range(3)],
        "extra": {"annotations": [{"id": 1}]},
    }
    dataset = read(planted(root / "in", {"instances_train.json": json.dumps(whole, indent=indent)}))
    treated = make_plan(dataset, np.array(rows), command="rebalance", split="train").apply(dataset)
    write(treated, root / "out", materialize="list")
    written = json.loads((root / "out/instances_train.json").read_bytes())

    def bare(one: dict[str, Any]) -> str:
        return json.dumps({key: value for key, value in one.items() if key not in ("id", "image_id")})

    assert written["categories"] == whole["categories"] and written["extra"] == whole["extra"]
    assert len(written["images"]) == len(rows) and len({one["id"] for one in written["images"]}) == len(rows)
    assert len({one["id"] for one in written["annotations"]}) == len(written["annotations"])
    image_of = {one["id"]: int(one["file_name"].partition(".")[0]) for one in written["images"]}
    got = sorted((image_of[one["image_id"]], bare(one)) for one in written["annotations"])
    assert got == sorted((k, bare(one)) for k in rows for one in annotations if one["image_id"] == ids[k])
    kept = {one["id"]: one for one in written["annotations"]}
    assert all(kept[one["id"]] == one for one in annotations if ids.index(one["image_id"]) in rows)


# Consumers ----------------------------------------------------------------------------------------------------------

PYCOCOTOOLS = """
import json, sys
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval
coco = COCO(sys.argv[1])
results = [{"image_id": a["image_id"], "category_id": a["category_id"], "bbox": a["bbox"], "score": 0.9} for a in coco.dataset["annotations"]]
run = COCOeval(coco, coco.loadRes(results), "bbox")
run.evaluate(); run.accumulate(); run.summarize()
masks = [int(coco.annToMask(a).sum()) for a in coco.dataset["annotations"] if a.get("segmentation")]
names = {c["id"]: c["name"] for c in coco.loadCats(coco.getCatIds())}
counts = {name: len(coco.getAnnIds(catIds=[i])) for i, name in names.items()}
print(json.dumps({"images": len(coco.imgs), "annotations": len(coco.anns), "counts": counts, "ap": round(run.stats[0], 6), "masks": min(masks, default=1)}))
"""

TORCHVISION = """
import json, sys
from torchvision.datasets import CocoDetection
data = CocoDetection(sys.argv[1], sys.argv[2])
loaded = [data[k] for k in range(len(data))]
print(json.dumps({"images": len(loaded), "annotations": sum(len(t) for _, t in loaded), "sizes": sorted({i.size for i, _ in loaded})}))
"""

SUPERVISION = """
import json, sys
import supervision as sv
data = sv.DetectionDataset.from_coco(sys.argv[1], sys.argv[2])
print(json.dumps({"images": len(data), "annotations": sum(len(d) for _, _, d in data)}))
"""


def converted(tmp_path: Path, format: str) -> tuple[Dataset, Path]:
    """Write a fixture as COCO; where it is COCO, with its images in other splits."""
    dataset = read(FIXTURES / format)
    treated = dataset
    if format == "coco":
        in_split = np.zeros((dataset.n_images, 2), bool)
        in_split[np.arange(dataset.n_images), np.arange(dataset.n_images) % 2] = True
        treated = make_plan(dataset, np.arange(dataset.n_images), command="split", in_split=in_split, splits=("train", "val")).apply(
            dataset
        )
    write(treated, tmp_path / "out", "coco")
    return treated, tmp_path / "out"


@pytest.mark.parametrize("format", ["coco", "voc", "yolo"])
def test_pycocotools_loads_and_evaluates_it(tmp_path: Path, format: str) -> None:
    """Ground truth given as its own results scores an average precision of 1, with every class counted as planned."""
    needs("pycocotools")
    dataset, out = converted(tmp_path, format)
    column = dataset.splits.index("train")
    told = consumed(PYCOCOTOOLS, tmp_path / "scratch", out / "annotations/instances_train.json")

    counted = dataset.annotations.class_index[dataset.annotations_in_split(column)]
    assert told["images"] == int(dataset.images.in_split[:, column].sum()) and told["annotations"] == len(counted)
    assert told["counts"] == dict(zip(dataset.class_names, np.bincount(counted, minlength=len(dataset.classes)).tolist(), strict=True))
    assert told["ap"] == 1.0 and told["masks"] > 0


@pytest.mark.parametrize("format", ["coco", "voc", "yolo"])
@pytest.mark.trainers
def test_torchvision_loads_it(tmp_path: Path, format: str) -> None:
    """CocoDetection opens every image and finds its annotations."""
    needs("torchvision", "pycocotools")
    dataset, out = converted(tmp_path, format)
    column = dataset.splits.index("train")
    told = consumed(TORCHVISION, tmp_path / "scratch", out / "images/train", out / "annotations/instances_train.json")

    inside = dataset.images.in_split[:, column]
    assert told["images"] == int(inside.sum()) and told["annotations"] == int(dataset.annotations_in_split(column).sum())
    assert told["sizes"] == [[int(side) for side in size] for size in sorted(set(map(tuple, dataset.sizes[inside].tolist())))]


@pytest.mark.trainers
def test_supervision_loads_it(tmp_path: Path) -> None:
    """Supervision finds the images and boxes, where it is installed."""
    pytest.importorskip("supervision", reason="supervision is an optional consumer, installed by hand")
    dataset, out = converted(tmp_path, "voc")
    told = consumed(SUPERVISION, tmp_path / "scratch", out / "images/train", out / "annotations/instances_train.json")

    column = dataset.splits.index("train")
    assert told == {"images": int(dataset.images.in_split[:, column].sum()), "annotations": int(dataset.annotations_in_split(column).sum())}


def test_geometry_survives_the_way_round(tmp_path: Path) -> None:
    """COCO to YOLO and back keeps every polygon of a single ring, and its box, within a hundredth of a pixel."""
    rings = [[10.25, 5, 70, 5.5, 70, 40.125], [0, 0, 80, 0, 80, 60, 0, 60], [1, 1, 2, 1, 1.5, 2.75]]
    records = [
        {"id": k + 1, "image_id": 1, "category_id": 4, "segmentation": [ring], "iscrowd": 0, "area": 1,
         "bbox": [min(ring[::2]), min(ring[1::2]), max(ring[::2]) - min(ring[::2]), max(ring[1::2]) - min(ring[1::2])]}
        for k, ring in enumerate(rings)
    ]  # fmt: skip
    whole = {
        "images": [{"id": 1, "file_name": "a.jpg", "width": 80, "height": 60}],
        "annotations": records,
        "categories": [{"id": 4, "name": "c"}],
    }
    dataset = read(planted(tmp_path / "in", {"instances_train.json": json.dumps(whole), "a.jpg": ""}))
    write(dataset, tmp_path / "yolo", "yolo")
    write(read(tmp_path / "yolo"), tmp_path / "coco", "coco")
    back = read(tmp_path / "coco")

    assert dataset.task == back.task == "segment"
    np.testing.assert_allclose(back.boxes, dataset.boxes, atol=0.01)
    found = read_outlines(back)
    for row, ring in enumerate(rings):
        np.testing.assert_allclose(found.rings(row)[0].ravel(), ring, atol=0.01)
