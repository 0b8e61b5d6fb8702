"""Writing YOLO: what stays byte for byte, what trainers load, and what comes back when it is read."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dataset_doctor.dataset import Dataset, LabelState
from dataset_doctor.errors import DoctorError, UsageError
from dataset_doctor.files.output import Stage
from dataset_doctor.formats import FORMATS, losses, read, read_outlines, unwritable, write
from dataset_doctor.plan import make_plan
from tests.consumers import consumed, contents, needs, planted

ROBOFLOW = """# made for a test
path: /home/someone/datasets/x
train: ../train/images   # here
val: ../valid/images
nc: 3
names: ['no', 'cat', "a: b"]
download: https://example.org/x.zip
roboflow:
  project: x
  url: https://example.org
"""
KEPT = """# made for a test
train: train/images
val: valid/images
nc: 3
names: ['no', 'cat', "a: b"]
roboflow:
  project: x
  url: https://example.org
"""


def roboflow(root: Path) -> Path:
    files = {
        "data.yaml": ROBOFLOW,
        "train/images/a.jpg": "",
        "train/images/b.jpg": "",
        "train/images/empty.jpg": "",
        "train/images/bare.jpg": "",
        "train/labels/a.txt": "1 0.50 .5 5e-1 0.25\r\n\r\nwhat is this\r\n0 0.250000 0.5 0.1 0.10\r\n2 0.5 0.5 0.2 0.2",
        "train/labels/b.txt": "1 0.5 0.5 0.5 0.5\n",
        "train/labels/empty.txt": "",
        "valid/images/c.jpg": "",
        "valid/labels/c.txt": "0 0.5 0.5 0.5 0.5\nnot a row\n\n\n1 0.1 0.1 0.1 0.1 0.9\n",
    }
    return planted(root, files)


def treated(dataset: Dataset, names: list[str], split: str | None = "train", left_out: list[int] | None = None) -> Dataset:
    """Choose images by the names of their files, with repeats; all images of other splits stay."""
    row_of = {name.rpartition("/")[2]: row for row, name in enumerate(dataset.images.file_name)}
    others = np.flatnonzero(~dataset.images.in_split[:, dataset.splits.index(split)]) if split else np.zeros(0, int)
    rows = np.concatenate([[row_of[name] for name in names], others]).astype(np.intp)
    return make_plan(dataset, rows, command="rebalance", split=split, left_out=np.array(left_out or [], np.intp)).apply(dataset)


def moved(dataset: Dataset, splits: dict[str, list[str]]) -> Dataset:
    """Put images, by the names of their files, into other splits."""
    row_of = {name.rpartition("/")[2]: row for row, name in enumerate(dataset.images.file_name)}
    names = list(dict.fromkeys(name for members in splits.values() for name in members))
    in_split = np.array([[name in members for members in splits.values()] for name in names])
    plan = make_plan(dataset, np.array([row_of[name] for name in names]), command="split", in_split=in_split, splits=tuple(splits))
    return plan.apply(dataset)


# The same format ----------------------------------------------------------------------------------------------------


def test_labels_are_copied_byte_for_byte(tmp_path: Path) -> None:
    """Number spelling, line ends, blank lines and lines that are no rows come through where nothing is treated; each file keeps its place."""
    source = contents(roboflow(tmp_path / "in"))
    write(read(tmp_path / "in"), tmp_path / "out")
    assert contents(tmp_path / "out") == {**source, "data.yaml": KEPT.encode()}


def test_data_yaml_stays_but_for_paths(tmp_path: Path) -> None:
    """Comments, unknown keys, quotes, line ends and a list of paths stay; `path` and `download` go, and paths lead from the file."""
    text = "\ufeffnames:\r\n- no\r\n- 'x'\r\n# folders\r\nvalidation: [images/v]\r\npath: ../d\r\ntrain:\r\n  - images/t1\r\n  - images/t2 # two\r\ndownload: |\r\n  import os\r\n  os.abort()\r\n\r\nextra: {a: [1,\r\n  2]}\r\n"
    files = {"data.yaml": text, **{f"images/{name}.jpg": "" for name in ("t1/a", "t2/b", "v/c", "w/d")}, "labels/w/d.txt": ""}
    write(read(planted(tmp_path / "in", files)), tmp_path / "out")
    kept = "names:\r\n- no\r\n- 'x'\r\n# folders\r\nvalidation: [images/v]\r\ntrain:\r\n  - images/t1\r\n  - images/t2 # two\r\nextra: {a: [1,\r\n  2]}\r\n"
    assert (tmp_path / "out/data.yaml").read_bytes().decode() == kept


def test_data_yaml_in_one_line(tmp_path: Path) -> None:
    """A document in braces becomes one with a key a line, and keeps its keys and the kinds of their values."""
    text = "{train: ../images, val: ../images, nc: 2, names: ['no', \"2\"], flip: [1, 0.5, true, 'true']}"
    write(read(planted(tmp_path / "in", {"data.yaml": text, "images/a.jpg": "", "labels/a.txt": ""})), tmp_path / "out")
    found = yaml.safe_load((tmp_path / "out/data.yaml").read_text())
    assert found == {"train": "images", "val": "images", "nc": 2, "names": ["no", "2"], "flip": [1, 0.5, True, "true"]}


def test_repeats_get_files_of_their_own(tmp_path: Path) -> None:
    """A repeated image and its label file lie beside the first under a name of their own; images left out of the split are gone."""
    dataset = read(roboflow(tmp_path / "in"))
    source = contents(tmp_path / "in")
    write(treated(dataset, ["b.jpg", "b.jpg", "empty.jpg", "b.jpg"]), tmp_path / "out")
    found = contents(tmp_path / "out")
    assert sorted(name for name in found if name.startswith("train")) == [
        *(f"train/images/{name}.jpg" for name in ("b", "b__r1", "b__r2", "empty")),
        *(f"train/labels/{name}.txt" for name in ("b", "b__r1", "b__r2", "empty")),
    ]
    assert found["train/labels/b__r2.txt"] == source["train/labels/b.txt"]
    assert found["train/images/b__r1.jpg"] == source["train/images/b.jpg"]
    assert found["valid/labels/c.txt"] == source["valid/labels/c.txt"]
    again = read(tmp_path / "out")
    assert again.images.is_repeat.sum() == 2
    assert again.counts().sum(axis=0).tolist() == [1, 4, 0]


def test_records_left_out_are_cut(tmp_path: Path) -> None:
    """A line is dropped with its end, others stay as they are spelt; in the split that changes lines that are no rows go too, and that is said."""
    dataset = read(roboflow(tmp_path / "in"))
    row = int(np.flatnonzero((dataset.annotations.class_index == 0) & (dataset.annotations.line == 4))[0])
    chosen = treated(dataset, ["a.jpg", "a.jpg", "b.jpg", "empty.jpg", "bare.jpg"], left_out=[row])
    written = write(chosen, tmp_path / "out")
    found = contents(tmp_path / "out")
    assert found["train/labels/a.txt"] == b"1 0.50 .5 5e-1 0.25\r\n\r\n2 0.5 0.5 0.2 0.2"
    assert found["train/labels/a__r1.txt"] == found["train/labels/a.txt"]
    assert found["valid/labels/c.txt"] == (tmp_path / "in/valid/labels/c.txt").read_bytes()
    assert "train/labels/bare.txt" not in found
    assert written.loses == ("1 record could not be read and is left out.",)


def test_the_last_record_left_out_leaves_a_background(tmp_path: Path) -> None:
    """An image all of whose records are left out keeps an empty label file."""
    dataset = read(roboflow(tmp_path / "in"))
    row = int(np.flatnonzero(dataset.images.file_name[dataset.annotations.image] == "train/images/b.jpg")[0])
    write(treated(dataset, ["b.jpg"], left_out=[row]), tmp_path / "out")
    assert (tmp_path / "out/train/labels/b.txt").read_bytes() == b""


def test_image_lists_are_rewritten(tmp_path: Path) -> None:
    """Lines of lists start with `./` and lead from the list; repeats have lines; a list that images do not lie under moves to the root."""
    files = {
        "data.yaml": "path: /somewhere\ntrain: train.txt\nval: lists/val.txt\nnames: [cat]\n",
        "train.txt": "images/t/a.jpg\nimages/t/b.jpg\nimages/both.jpg",
        "lists/val.txt": "../images/v/c.jpg\n../images/both.jpg\n",
        **{f"images/{name}.jpg": "" for name in ("t/a", "t/b", "v/c", "both")},
        **{f"labels/{name}.txt": "0 .5 .5 .1 .1\n" for name in ("t/a", "t/b", "v/c", "both")},
    }
    dataset = read(planted(tmp_path / "in", files))
    write(treated(dataset, ["b.jpg", "b.jpg", "both.jpg"]), tmp_path / "out")
    found = contents(tmp_path / "out")
    assert found["train.txt"] == b"./images/t/b.jpg\n./images/t/b__r1.jpg\n./images/both.jpg\n"
    assert found["val.txt"] == b"./images/both.jpg\n./images/v/c.jpg\n"
    assert found["data.yaml"] == b"train: train.txt\nval: val.txt\nnames: [cat]\n"
    again = read(tmp_path / "out")
    assert dict(zip(again.splits, again.images.in_split.sum(axis=0).tolist(), strict=True)) == {"train": 3, "val": 2}


def darknet(root: Path) -> Path:
    files = {
        "obj.data": "classes = 2\ntrain = data/train.txt\nvalid = data/valid.txt\nnames = data/obj.names\nbackup = backup/\n",
        "obj.names": "cat\ndog\n",
        "train.txt": "data/obj_train_data/a.jpg\ndata/obj_train_data/b.jpg\n",
        "valid.txt": "data/obj_valid_data/c.jpg\r\n\r\n",
        **{f"obj_{name}.jpg": "" for name in ("train_data/a", "train_data/b", "valid_data/c")},
        **{f"obj_{name}.txt": "1 0.5 0.5 0.25 0.5\n" for name in ("train_data/a", "train_data/b", "valid_data/c")},
    }
    return planted(root, files)


def test_darknet_stays_darknet(tmp_path: Path) -> None:
    """`obj.data`, names and the list of the untouched split are copied; lines of the other keep the folder that theirs begin with."""
    source = contents(darknet(tmp_path / "in"))
    write(treated(read(tmp_path / "in"), ["b.jpg", "b.jpg"]), tmp_path / "out")
    found = contents(tmp_path / "out")
    assert found["train.txt"] == b"data/obj_train_data/b.jpg\ndata/obj_train_data/b__r1.jpg\n"
    same = ("obj.data", "obj.names", "valid.txt", "obj_valid_data/c.txt", "obj_train_data/b.txt")
    assert {name: found[name] for name in same} == {name: source[name] for name in same}
    assert "data.yaml" not in found


def test_labels_without_images(tmp_path: Path) -> None:
    """A dataset of label files alone is written as one."""
    dataset = read(planted(tmp_path / "in", {"labels/a.txt": "0 .5 .5 .1 .1\n", "labels/b.txt": "0 .5 .5 .2 .2\n", "classes.txt": "cat\n"}))
    write(treated(dataset, ["a.jpg", "b.jpg", "b.jpg"], None), tmp_path / "out")
    found = contents(tmp_path / "out")
    assert found["labels/b__r1.txt"] == b"0 .5 .5 .2 .2\n"
    assert found["classes.txt"] == b"cat\n"
    assert read(tmp_path / "out").n_annotations == 3


def test_a_label_file_of_two_images(tmp_path: Path) -> None:
    """One label file that serves two images is written once, and a repeat of either gets one of its own."""
    dataset = read(planted(tmp_path / "in", {"images/a.jpg": "", "images/a.png": "", "labels/a.txt": "0 .5 .5 .1 .1\n"}))
    write(treated(dataset, ["a.jpg", "a.png", "a.png"], None), tmp_path / "out")
    found = contents(tmp_path / "out")
    assert {name for name in found if name.startswith("labels")} == {"labels/a.txt", "labels/a__r1.txt"}


@pytest.mark.parametrize(
    "change", [lambda path: path.unlink(), lambda path: path.write_text("1 0.5 0.5 0.5 0.25\n"), lambda path: path.write_text("")]
)
def test_a_source_that_changed_is_refused(tmp_path: Path, change: object) -> None:
    """A label file that vanished, or whose rows are others by now, stops the writing, and nothing is left of it."""
    dataset = read(roboflow(tmp_path / "in"))
    change(tmp_path / "in/train/labels/b.txt")
    with pytest.raises(DoctorError, match=r"train/labels/b\.txt has changed since it was read"):
        write(dataset, tmp_path / "out")
    assert [path.name for path in tmp_path.iterdir()] == ["in"]


def test_other_splits_make_the_usual_layout(tmp_path: Path) -> None:
    """Where images change split, they lie in `images/<split>` with their lines as they were, and unknown keys of data.yaml stay."""
    dataset = read(roboflow(tmp_path / "in"))
    write(moved(dataset, {"train": ["c.jpg", "bare.jpg"], "test": ["b.jpg", "empty.jpg"]}), tmp_path / "out")
    found = contents(tmp_path / "out")
    assert sorted(found) == [
        "data.yaml",
        *(f"images/{name}.jpg" for name in ("test/b", "test/empty", "train/bare", "train/c")),
        *(f"labels/{name}.txt" for name in ("test/b", "test/empty", "train/c")),
    ]
    assert found["labels/train/c.txt"] == b"0 0.5 0.5 0.5 0.5\n\n\n1 0.1 0.1 0.1 0.1 0.9\n"
    assert yaml.safe_load(found["data.yaml"]) == {
        "train": "images/train",
        "val": None,
        "test": "images/test",
        "nc": 3,
        "names": ["no", "cat", "a: b"],
        "roboflow": {"project": "x", "url": "https://example.org"},
    }


def test_an_image_in_two_splits_is_one_file_in_two_lists(tmp_path: Path) -> None:
    """Such an image stays one image; splits that folders can tell are folders."""
    dataset = read(roboflow(tmp_path / "in"))
    write(moved(dataset, {"train": ["a.jpg", "b.jpg"], "val": ["b.jpg"], "test": ["c.jpg"]}), tmp_path / "out")
    found = contents(tmp_path / "out")
    assert "train.txt" not in found
    assert found["val.txt"] == b"./images/train/b.jpg\n"
    config = yaml.safe_load(found["data.yaml"])
    assert (config["train"], config["val"], config["test"]) == ("images/train", "val.txt", "images/test")
    again = read(tmp_path / "out")
    assert again.n_images == 3
    assert dict(zip(again.splits, again.images.in_split.sum(axis=0).tolist(), strict=True)) == {"train": 2, "val": 1, "test": 1}


def test_equal_names_from_several_folders(tmp_path: Path) -> None:
    """Files of one name from two folders, and of one stem with two suffixes, get names of their own in one folder."""
    files = {f"{name}": "" for name in ("x/images/a.jpg", "y/images/a.jpg", "y/images/a.png")}
    labels = {"x/labels/a.txt": "0 .5 .5 .1 .1\n", "y/labels/a.txt": "1 .5 .5 .1 .1\n"}
    dataset = read(planted(tmp_path / "in", {**files, **labels}))
    rows = np.arange(3)
    plan = make_plan(dataset, rows, command="split", in_split=np.ones((3, 1), bool), splits=("train",))
    write(plan.apply(dataset), tmp_path / "out")
    found = contents(tmp_path / "out")
    assert {name: found[name] for name in found if name.startswith("labels")} == {
        "labels/train/x_images_a.txt": b"0 .5 .5 .1 .1\n",
        "labels/train/y_images_a.txt": b"1 .5 .5 .1 .1\n",
        "labels/train/y_images_a_2.txt": b"1 .5 .5 .1 .1\n",
    }


ROW = "0 .5 .5 .1 .1\n"


@pytest.mark.parametrize(
    "files",
    [
        {"a.jpg": "", "a.txt": ROW, "b.jpg": "", "b.txt": "", "classes.txt": "cat\n"},
        {"images/IMG.jpg": "", "labels/img.txt": ROW, "data.yaml": "train: images\nval: images\nnames: [c]\n"},
        {"images/a.jpg": "", "labels/a.txt": ROW, "data.yaml": "train: &x images\nval: *x\nnames: [c]\n"},
        {"images/a.jpg": "", "labels/a.txt": ROW, "data.yaml": "train: images\nval: images\nnames: [c\n"},
        {"images/a.jpg": "", "labels/a.txt": ROW, "data.yaml": "train: images\nval: images\nnames: c.names\n", "c.names": "cat\ndog\n"},
        {"images/a.jpg": "", "labels/a.txt": ROW, "images/b.jpg": "", "train.txt": "images/a.jpg\nimages/b.jpg\n", "val.txt": "images/b.jpg\n"},
        {"images/t/a.jpg": "", "labels/t/a.txt": ROW, "labels/t/z.txt": ROW, "data.yaml": "train: l.txt\nval: images/no\nnames: [c]\n", "l.txt": "images/t/a.jpg\nimages/t/z.jpg\n"},
        {"images/t/a.jpg": "", "labels/t/a.txt": ROW, "images/o/b.jpg": "", "labels/o/b.txt": ROW, "data.yaml": "train: images/t\nval: images/v\nnames: [c]\n"},
        {"images/t/a.jpg": "", "labels/t/a.txt": ROW, "cfg/data.yaml": "path: ..\ntrain: images/t\nval: images/t\nnames: [c]\n"},
        {"images/a.jpg": "", "labels/a.txt": ROW.encode("utf-16"), "data.yaml": b"train: images\nval: images\nnames: [caf\xe9]\n"},
        {"a.jpg": "", "a.txt": ROW, "data.yaml": "train: .\nval: .\nnames: [c]\n"},
        {"o/a.jpg": "", "o/a.txt": ROW, "obj.data": "classes=1\ntrain=/x/train.txt\nnames=/x/c.names\n", "c.names": "a\n", "train.txt": "/x/o/a.jpg\n"},
    ],
    ids=["flat", "case", "anchors", "not yaml", "names file", "lists", "missing image", "no split", "yaml below", "encodings", "beside yaml", "absolute darknet"],
)  # fmt: skip
def test_odd_sources_read_back(tmp_path: Path, files: dict[str, str | bytes]) -> None:
    """However the files lie and whatever is wrong with the configuration, what is written reads back as planned, in its places and in new ones."""
    dataset = read(planted(tmp_path / "in", files))
    n = dataset.n_images
    twice = np.sort(np.tile(np.arange(n), 2))
    write(make_plan(dataset, twice, command="rebalance", split=dataset.splits[0]).apply(dataset), tmp_path / "twice")
    again = read(tmp_path / "twice")
    assert (again.n_images, again.n_annotations, again.class_names) == (2 * n, 2 * dataset.n_annotations, dataset.class_names)
    plan = make_plan(dataset, np.arange(n), command="split", in_split=np.ones((n, 1), bool), splits=("test",))
    write(plan.apply(dataset), tmp_path / "moved")
    again = read(tmp_path / "moved")
    assert (again.splits, again.n_images, again.n_annotations) == (("test",), n, dataset.n_annotations)


# Lists of the source's images ---------------------------------------------------------------------------------------


def test_list_mode_repeats_lines(tmp_path: Path) -> None:
    """No image and no label is written: a list a split with absolute paths, a repeat a line, and a data.yaml beside them."""
    dataset = read(roboflow(tmp_path / "in"))
    write(treated(dataset, ["b.jpg", "b.jpg", "empty.jpg"]), tmp_path / "out", materialize="list")
    found = contents(tmp_path / "out")
    train, valid = (tmp_path / "in" / name for name in ("train/images", "valid/images"))
    assert sorted(found) == ["data.yaml", "train.txt", "val.txt"]
    assert found["train.txt"].decode() == f"{train}/b.jpg\n{train}/b.jpg\n{train}/empty.jpg\n"
    assert found["val.txt"].decode() == f"{valid}/c.jpg\n"
    assert b"train: train.txt\n" in found["data.yaml"]
    again = read(tmp_path / "out", images=tmp_path / "in")
    assert (again.n_images, again.counts().sum(axis=0).tolist()) == (4, [1, 3, 0])


@pytest.mark.parametrize("damage", [("train.txt", "b.jpg\n", ""), ("train.txt", "b.jpg", "c.jpg"), ("data.yaml", "cat", "cow")])
def test_a_list_that_lost_something_is_not_put_in_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, damage: tuple[str, str, str]
) -> None:
    """A line, an image or a class name that does not read back ends the writing."""
    dataset = read(roboflow(tmp_path / "in"))
    whole = FORMATS["yolo"].write

    def careless(given: Dataset, stage: Stage, **options: Any) -> list[str]:
        names = whole(given, stage, **options)
        file, old, new = damage
        text = (stage.root / file).read_text()
        assert old in text
        (stage.root / file).write_text(text.replace(old, new, 1))
        return names

    monkeypatch.setitem(FORMATS, "yolo", dataclasses.replace(FORMATS["yolo"], write=careless))
    with pytest.raises(DoctorError, match="readers would not see the same"):
        write(treated(dataset, ["b.jpg", "b.jpg", "empty.jpg"]), tmp_path / "out", materialize="list")
    assert not (tmp_path / "out").exists()


def test_list_mode_needs_labels_where_trainers_look(tmp_path: Path) -> None:
    """Another format, records that are left out, and labels that only this program finds cannot be told by a list."""
    dataset = read(roboflow(tmp_path / "in"))
    with pytest.raises(UsageError, match="1 record would be left out"):
        write(treated(dataset, ["b.jpg"], left_out=[0]), tmp_path / "out", materialize="list")
    elsewhere = read(planted(tmp_path / "other", {"pictures/a.jpg": "", "labels/a.txt": "0 .5 .5 .1 .1\n"}))
    with pytest.raises(UsageError, match=r"labels/a\.txt is not where trainers look: pictures/a\.txt"):
        write(elsewhere, tmp_path / "out", materialize="list")
    coco = read(coco_folder(tmp_path / "coco", [{"id": 1, "image_id": 1, "category_id": 1, "bbox": [1, 2, 3, 4]}]))
    with pytest.raises(UsageError, match="YOLO labels beside"):
        write(coco, tmp_path / "out", "yolo", materialize="list")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("name", ["a\nb", "a\x85b", "a\u2028b", "a\udcffb"])
def test_names_that_no_list_can_hold(tmp_path: Path, name: str) -> None:
    """A file name with any line end, or that is not UTF-8, is refused where it has to be a line, and copied where it has not."""
    files = {"data.yaml": "train: images\nval: images\nnames: [cat]\n", f"images/{name}.jpg": "", f"labels/{name}.txt": "0 .5 .5 .1 .1\n"}
    dataset = read(planted(tmp_path / "in", files))
    with pytest.raises(UsageError, match="cannot be a line in a list"):
        write(dataset, tmp_path / "out", materialize="list")
    write(dataset, tmp_path / "out")
    assert (tmp_path / f"out/labels/{name}.txt").read_bytes() == b"0 .5 .5 .1 .1\n"


# From other formats -------------------------------------------------------------------------------------------------


def coco_folder(
    root: Path, annotations: list[dict], categories: list[dict] | None = None, size: tuple[int, int] = (80, 60), **more: list
) -> Path:
    """Write a COCO dataset of two images, the second without objects."""
    images = [{"id": number, "file_name": name, "width": size[0], "height": size[1]} for number, name in ((1, "a.jpg"), (2, "b.jpg"))]
    document = {"images": images, "annotations": annotations, "categories": categories or [{"id": 1, "name": "cat"}], **more}
    return planted(root, {"annotations/instances_train.json": json.dumps(document), "train/a.jpg": "", "train/b.jpg": ""})


def box(x: float, y: float, w: float, h: float, **more: object) -> dict:
    return {"id": more.pop("id", 1), "image_id": 1, "category_id": 1, "bbox": [x, y, w, h], "area": w * h, "iscrowd": 0, **more}


def converted(root: Path, *annotations: dict, **more: object) -> str:
    """Convert a COCO dataset and give the label file of its first image."""
    numbered = [{**one, "id": number} for number, one in enumerate(annotations, start=1)]
    write(read(coco_folder(root / "in", numbered, **more)), root / "out", "yolo")
    assert (root / "out/labels/train/b.txt").read_bytes() == b""
    return (root / "out/labels/train/a.txt").read_text()


def test_boxes_become_shares(tmp_path: Path) -> None:
    """Centre and size as shares of the image, in fixed notation; cut at the image's edge; crowd and ignored regions are left out and named."""
    dataset = read(coco_folder(tmp_path / "in", [box(20, 15, 40, 30), box(-0.5, 0, 40.5, 60.5, id=2), box(1, 1, 5, 5, id=3, iscrowd=1)]))
    written = write(dataset, tmp_path / "out", "yolo")
    assert (tmp_path / "out/labels/train/a.txt").read_text().splitlines() == [
        "0 0.50000000 0.50000000 0.50000000 0.50000000",
        "0 0.25000000 0.50000000 0.50000000 1.00000000",
    ]
    assert written.loses[0] == "1 crowd region: YOLO has none; they are left out."
    assert "1 box: cut at the edge of the image, by at most 1 px." in written.loses
    assert losses(dataset, "yolo") == written.loses


def test_names_are_quoted(tmp_path: Path) -> None:
    """Every class name comes back as it is, whatever YAML would make of it without quotes."""
    names = ["no", "007", "null", "a: b # c", '"', "\\", "\x85\u2028\x07", "\N{GRINNING FACE}", "- x", ""]
    dataset = read(coco_folder(tmp_path / "in", [], [{"id": number, "name": name} for number, name in enumerate(names, start=1)]))
    write(dataset, tmp_path / "out", "yolo")
    assert list(yaml.safe_load((tmp_path / "out/data.yaml").read_bytes())["names"].values()) == names
    assert list(read(tmp_path / "out").class_names) == names


def test_polygons(tmp_path: Path) -> None:
    """Points as shares; the parts of an object joined by seams without width; a box without outline as its four corners."""
    triangle, other = [8, 6, 16, 6, 8, 12], [40, 30, 48, 30, 40, 36]
    found = converted(
        tmp_path, box(8, 6, 8, 6, segmentation=[triangle]), box(8, 6, 40, 30, segmentation=[triangle, other]), box(0, 0, 40, 30)
    )
    first, second = [0.1, 0.1, 0.2, 0.1, 0.1, 0.2], [0.5, 0.5, 0.6, 0.5, 0.5, 0.6]
    expected = [first, [*first, *first[:2], *second, *second[:2]], [0, 0, 0.5, 0, 0.5, 0.5, 0, 0.5]]
    assert [[float(word) for word in line.split()[1:]] for line in found.splitlines()] == expected
    again = read(tmp_path / "out")
    assert (again.task, again.n_annotations) == ("segment", 3)
    assert losses(read(tmp_path / "in"), "yolo")[:2] == (
        "1 box without an outline: written as its corners.",
        "YOLO has one outline an object: parts are joined by seams without width.",
    )


def test_masks_become_outlines(tmp_path: Path) -> None:
    """A run-length mask becomes the outline of its pixels, within a quarter of a pixel; its compressed form too."""
    runs = [60 * 10 + 20] + [10, 50] * 20  # columns 10 to 29, rows 20 to 29
    runs[-1] += 60 * 80 - sum(runs)
    found = converted(tmp_path, box(10, 20, 20, 10, segmentation={"size": [60, 80], "counts": runs}))
    points = np.array(found.split()[1:], float).reshape(-1, 2) * [80, 60]
    assert np.abs(np.concatenate([points.min(axis=0), points.max(axis=0)]) - [10, 20, 30, 30]).max() <= 0.2501


def test_poses(tmp_path: Path) -> None:
    """Box, then keypoints with their visibility; zeros for those that are not labelled; mirrored ones from left and right in their names."""
    categories = [{"id": 1, "name": "person", "keypoints": ["nose", "left_eye", "right_eye"]}]
    posed = box(8, 6, 40, 30, keypoints=[16, 12, 2, 8, 6, 1, 3, 3, 0], num_keypoints=2)
    found = converted(tmp_path, posed, categories=categories)
    values = [float(word) for word in found.split()]
    assert values == [0, 0.35, 0.35, 0.5, 0.5, 0.2, 0.2, 2, 0.1, 0.1, 1, 0, 0, 0]
    config = yaml.safe_load((tmp_path / "out/data.yaml").read_text())
    assert (config["kpt_shape"], config["flip_idx"]) == ([3, 3], [0, 2, 1])
    assert read(tmp_path / "out").task == "pose"


def test_oriented_boxes(tmp_path: Path) -> None:
    """A quadrilateral that COCO marks as an oriented box keeps its four corners and its task."""
    quad = [8.0, 30, 40, 6, 72, 30, 40, 54]
    dataset = read(
        planted(
            tmp_path / "in",
            {
                "data.yaml": "train: images\nval: images\ntask: obb\nnames: [cat]\n",
                "images/a.jpg": "",
                "labels/a.txt": "0 .1 .5 .5 .1 .9 .5 .5 .9\n",
            },
        )
    )
    assert read_outlines(dataset).rings(0)[0].ravel().tolist() == pytest.approx(quad)
    write(dataset, tmp_path / "coco", "coco")
    write(dataclasses.replace(read(tmp_path / "coco"), task="obb"), tmp_path / "out", "yolo")
    label = next((tmp_path / "out/labels").rglob("*.txt")).read_text()
    assert [float(word) for word in label.split()] == [0, 0.1, 0.5, 0.5, 0.1, 0.9, 0.5, 0.5, 0.9]
    assert read(tmp_path / "out").task == "obb"


def test_outlines_of_yolo_rows(tmp_path: Path) -> None:
    """Points and keypoints of rows come in pixels: a score behind a polygon is none of its points, and keypoints of two numbers are visible."""
    yaml_text = "train: images\nval: images\nnames: [cat]\n"
    rows = "0 .1 .1 .2 .1 .1 .2 .9\n0 .5 .5 .1 .1\n0 .1 .1 .2 .1 .2 .2 .1 .2 .1 .3\n"
    polygons = read(planted(tmp_path / "p", {"data.yaml": yaml_text, "images/a.jpg": "", "labels/a.txt": rows}))
    outlines = read_outlines(polygons)
    assert [ring.ravel().tolist() for row in range(3) for ring in outlines.rings(row)] == [
        pytest.approx([8, 6, 16, 6, 8, 12]),
        pytest.approx([8, 6, 16, 6, 16, 12, 8, 12, 8, 18]),
    ]
    text = "0 .5 .5 .5 .5 .5 .5 .25 .5\n"
    pose = read(planted(tmp_path / "k", {"data.yaml": yaml_text + "kpt_shape: [2, 2]\n", "images/a.jpg": "", "labels/a.txt": text}))
    assert read_outlines(pose).keypoints.tolist() == [[40, 30, 2], [20, 30, 2]]


def test_a_dataset_without_splits(tmp_path: Path) -> None:
    """Trainers get the same images as train and val, and the reader still sees one split."""
    objects = "<object><name>cat</name><bndbox><xmin>1</xmin><ymin>1</ymin><xmax>9</xmax><ymax>9</ymax></bndbox></object>"
    text = f"<annotation><size><width>80</width><height>60</height></size>{objects}</annotation>"
    write(read(planted(tmp_path / "in", {"a.jpg": "", "a.xml": text, "b.jpg": ""})), tmp_path / "out", "yolo")
    config = yaml.safe_load((tmp_path / "out/data.yaml").read_text())
    assert {key: config[key] for key in ("train", "val", "all")} == dict.fromkeys(("train", "val", "all"), "images/all")
    again = read(tmp_path / "out")
    assert (again.splits, again.n_images) == (("all",), 2)
    assert again.images.label_state.tolist() == [LabelState.LABELED, LabelState.UNLABELED]


def test_splits_of_other_names(tmp_path: Path) -> None:
    """A split that no trainer knows has a key and a folder of its own name, and is read again; a split without images has none."""
    document = {
        "images": [{"id": 1, "file_name": "a.jpg", "width": 80, "height": 60}],
        "annotations": [],
        "categories": [{"id": 1, "name": "cat"}],
    }
    files = {
        f"annotations/instances_{name}.json": json.dumps({**document, "images": [{**document["images"][0], "file_name": f"{name}.jpg"}]})
        for name in ("train", "hold out")
    }
    dataset = read(planted(tmp_path / "in", {**files, "images/train.jpg": "", "images/hold out.jpg": ""}))
    write(dataset, tmp_path / "out", "yolo")
    config = yaml.safe_load((tmp_path / "out/data.yaml").read_text())
    assert (config["train"], config["val"], config["hold out"]) == ("images/train", None, "images/hold out")
    assert read(tmp_path / "out").splits == ("train", "hold out")


def test_images_that_are_not_there(tmp_path: Path) -> None:
    """An image without a file is named by a list, so that it still counts; where none has one, the labels alone are written."""
    folder = coco_folder(tmp_path / "in", [box(20, 15, 40, 30)])
    (folder / "train/a.jpg").unlink()
    write(read(folder), tmp_path / "out", "yolo")
    assert (tmp_path / "out/train.txt").read_text() == "./images/train/a.jpg\n./images/train/b.jpg\n"
    (folder / "train/b.jpg").unlink()
    write(read(folder), tmp_path / "none", "yolo")
    assert read(tmp_path / "none").counts().sum() == 1


def test_words_that_yaml_cannot_hold(tmp_path: Path) -> None:
    """A folder whose name is not UTF-8 gets a usual one where data.yaml has to name it; a class of such a name is refused."""
    dataset = read(planted(tmp_path / "in", {"images/\udcff/a.jpg": "", "labels/\udcff/a.txt": ROW}))
    write(dataset, tmp_path / "out")
    assert (tmp_path / "out/images/all/a.jpg").is_file()
    assert read(tmp_path / "out").n_annotations == dataset.n_annotations
    named = dataclasses.replace(dataset, classes=tuple(dataclasses.replace(one, name="\udcff") for one in dataset.classes))
    with pytest.raises(UsageError, match="not text that a YAML file can hold"):
        write(named, tmp_path / "other")


def test_boxes_outside_are_refused(tmp_path: Path) -> None:
    """A box that leaves its image by more than 1 px stops a conversion, with its place; left out, it does not."""
    dataset = read(coco_folder(tmp_path / "in", [box(20, 15, 40, 30), box(50, 15, 31.5, 30, id=2)]))
    with pytest.raises(UsageError, match="1 label record cannot be written as YOLO"):
        write(dataset, tmp_path / "out", "yolo")
    plan = make_plan(dataset, np.arange(2), command="convert", left_out=unwritable(dataset, "yolo"))
    write(plan.apply(dataset), tmp_path / "out", "yolo")
    assert read(tmp_path / "out").n_annotations == 1


# Laws ---------------------------------------------------------------------------------------------------------------

side = st.integers(10, 10_000)


@st.composite
def sized_boxes(draw: st.DrawFn) -> tuple[tuple[int, int], list[list[float]]]:
    width, height = draw(side), draw(side)
    found = []
    for _ in range(draw(st.integers(0, 6))):
        x1, y1 = draw(st.floats(0, width - 1)), draw(st.floats(0, height - 1))
        found.append([x1, y1, draw(st.floats(x1 + 0.01, width)), draw(st.floats(y1 + 0.01, height))])
    return (width, height), found


@given(sized_boxes())
@settings(max_examples=60, deadline=None)
def test_boxes_come_back(tmp_path_factory: pytest.TempPathFactory, drawn: tuple[tuple[int, int], list[list[float]]]) -> None:
    """Any box comes back within 0.01 px on images up to 10,000 px wide, without exponents, and inside the image in single precision."""
    from dataset_doctor.formats.yolo.render import render

    size, boxes = drawn
    root = tmp_path_factory.mktemp("law")
    dataset = read(coco_folder(root, [box(x, y, u - x, v - y, id=number) for number, (x, y, u, v) in enumerate(boxes, start=1)], size=size))
    text = render(dataset)[0].decode()
    assert "e" not in text
    shares = np.array(text.split(), float).reshape(-1, 5)[:, 1:]
    half = shares[:, 2:] / 2
    corners = np.concatenate([shares[:, :2] - half, shares[:, :2] + half], axis=1) * np.tile(size, 2)
    assert np.abs(corners - np.array(boxes).reshape(-1, 4)).max(initial=0) <= 0.01
    single = shares.astype(np.float32)
    assert (single[:, :2] - single[:, 2:] / 2).min(initial=0) >= 0
    assert (single[:, :2] + single[:, 2:] / 2).max(initial=1) <= 1


LINES = st.sampled_from(["0 0.5 0.5 0.1 0.1", "1 .25 0.50 .5 0.125", "2 5e-1 0.5 0.2 0.2", "0 0.5 0.5 0.1 0.1 0.9", "", "  ", "nonsense"])
FILES = st.lists(
    st.one_of(st.none(), st.tuples(st.lists(LINES, max_size=5), st.sampled_from(["\n", "\r\n", "\r"]))), min_size=1, max_size=5
)


@given(FILES, st.data())
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_what_is_written_is_what_was_planned(tmp_path_factory: pytest.TempPathFactory, files: list, data: st.DataObject) -> None:
    """Whatever images are chosen and records left out, the counts that a plan predicts are those that reading gives, and no line is respelt."""
    root = tmp_path_factory.mktemp("law")
    labels = {f"labels/{n}.txt": end.join([*lines, ""]) for n, one in enumerate(files) if one is not None for lines, end in [one]}
    planted(
        root / "in",
        {**labels, **{f"images/{n}.jpg": "" for n in range(len(files))}, "data.yaml": "train: images\nval: v\nnames: [a, b, c]\n"},
    )
    dataset = read(root / "in")
    rows = np.array(data.draw(st.lists(st.integers(0, dataset.n_images - 1), min_size=1, max_size=8)))
    left_out = np.array(
        data.draw(st.lists(st.integers(0, dataset.n_annotations - 1), max_size=4)) if dataset.n_annotations else [], np.intp
    )
    plan = make_plan(dataset, rows, command="rebalance", split="train", left_out=left_out)
    write(plan.apply(dataset), root / "out")
    again = read(root / "out")
    assert np.asarray(again.counts().sum(axis=0)).ravel().tolist() == [one.after for one in plan.classes]
    assert again.n_images == plan.epoch_images
    spelt = {line for text in labels.values() for line in text.splitlines()}
    assert {line for path in (root / "out/labels").glob("*.txt") for line in path.read_text().splitlines()} <= spelt


# Real datasets and real readers -------------------------------------------------------------------------------------


def test_the_aquarium_is_copied(shared_data: Path, tmp_path: Path) -> None:
    """With a plan that keeps every image, every label file of a real dataset is byte-identical."""
    source = shared_data / "aquarium_yolo"
    dataset = read(source)
    write(
        make_plan(dataset, np.arange(dataset.n_images), command="rebalance", split="train").apply(dataset),
        tmp_path / "out",
        materialize="hardlink",
    )
    labels = sorted(path.relative_to(source) for path in source.rglob("labels/*.txt"))
    assert len(labels) == 638
    assert all((tmp_path / "out" / label).read_bytes() == (source / label).read_bytes() for label in labels)


def test_round_trip_through_all_formats(shared_data: Path, tmp_path: Path) -> None:
    """VOC → COCO → YOLO → VOC keeps the class table exactly, every box in COCO, and each within 0.001 px in YOLO; whole pixels come back."""
    folder = shared_data / "voc100_multiformat"
    first = read(folder / "gts/pascalvoc_format", images=folder / "images")
    order = np.lexsort((np.arange(first.n_annotations), first.images.file_name[first.annotations.image]))
    dataset, tolerance = first, {"coco": 0.0, "yolo": 0.001, "voc": 0.0}
    for format in ("coco", "yolo", "voc"):
        write(dataset, tmp_path / format, format, materialize="symlink")
        dataset = read(tmp_path / format)
        assert dataset.class_names == first.class_names
        assert dataset.counts().sum(axis=0).tolist() == first.counts().sum(axis=0).tolist()
        of_image = dataset.images.file_name[dataset.annotations.image]
        same = np.lexsort((np.arange(dataset.n_annotations), of_image))
        assert np.abs(dataset.boxes[same] - first.boxes[order]).max() <= tolerance[format]


ULTRALYTICS = """
import json, sys, pathlib
from ultralytics.data.utils import check_det_dataset
from ultralytics.data.dataset import YOLODataset
found = {}
for folder in sys.argv[1:]:
    data = check_det_dataset(folder + "/data.yaml", autodownload=False)
    task = "pose" if "kpt_shape" in data else data.get("task", "detect")
    splits = found[pathlib.Path(folder).name] = {}
    for split in ("train", "val", "test"):
        if data.get(split):
            labels = YOLODataset(img_path=data[split], data=data, task=task, imgsz=64, augment=False, cache=False).labels
            counts = [0] * data["nc"]
            for one in labels:
                for number in one["cls"].ravel().astype(int).tolist():
                    counts[number] += 1
            splits[split] = {"images": len(labels), "counts": counts, "names": list(data["names"].values()),
                             "segments": sum(len(one["segments"]) for one in labels), "keypoints": sum(one["keypoints"] is not None for one in labels)}
print(json.dumps(found))
"""


@pytest.mark.trainers
def test_ultralytics_loads_what_is_written(tmp_path: Path) -> None:
    """Its own dataset class finds every image and every instance: same layout, repeats, lists, list mode, other splits, and each task."""
    needs("ultralytics", "torch")
    folder = roboflow(tmp_path / "in")
    (folder / "valid/labels/c.txt").write_text("0 0.5 0.5 0.5 0.5\n")
    dataset = read(folder)
    out = tmp_path / "out"
    out.mkdir()
    write(treated(dataset, ["a.jpg", "b.jpg", "b.jpg", "empty.jpg", "bare.jpg"]), out / "kept")
    write(treated(dataset, ["b.jpg", "b.jpg", "empty.jpg"]), out / "list", materialize="list")
    write(moved(dataset, {"train": ["b.jpg", "empty.jpg"], "val": ["b.jpg", "bare.jpg"]}), out / "moved")
    triangles = [box(8, 6, 40, 30, segmentation=[[8, 6, 48, 6, 48, 36]]), box(1, 1, 9, 9, id=2, segmentation=[[1, 1, 10, 1, 5, 10]])]
    write(read(coco_folder(tmp_path / "s", triangles)), out / "segment", "yolo")
    keypoints = [{"id": 1, "name": "cat", "keypoints": ["left", "right"]}]
    posed = box(8, 6, 40, 30, keypoints=[10, 10, 2, 20, 20, 1], num_keypoints=2)
    write(read(coco_folder(tmp_path / "p", [posed], keypoints)), out / "pose", "yolo")
    found = consumed(ULTRALYTICS, tmp_path / "scratch", *sorted(out.iterdir()))
    images = {f"{name} {split}": one["images"] for name, splits in found.items() for split, one in splits.items()}
    assert images == {
        "kept train": 5,
        "kept val": 1,
        "list train": 3,
        "list val": 1,
        "moved train": 2,
        "moved val": 2,
        "segment train": 2,
        "pose train": 2,
    }
    counts = {f"{name} {split}": one["counts"] for name, splits in found.items() for split, one in splits.items()}
    assert counts == {
        "kept train": [1, 3, 1],
        "kept val": [1, 0, 0],
        "list train": [0, 2, 0],
        "list val": [1, 0, 0],
        "moved train": [0, 1, 0],
        "moved val": [0, 1, 0],
        "segment train": [2],
        "pose train": [1],
    }
    assert (found["segment"]["train"]["segments"], found["pose"]["train"]["keypoints"]) == (2, 2)
    assert found["kept"]["train"]["names"] == ["no", "cat", "a: b"]


TRAINING = """
import json, sys
from ultralytics import YOLO
model = YOLO("yolo11n.yaml")
model.train(data=sys.argv[1], epochs=1, imgsz=32, batch=4, device="cpu", workers=0, plots=False, pretrained=False, amp=False, verbose=False, save=False)
print(json.dumps({"names": list(model.names.values())}))
"""


@pytest.mark.trainers
def test_ultralytics_trains(tmp_path: Path) -> None:
    """One epoch from the packaged model description runs on what is written, without any download."""
    needs("ultralytics", "torch")
    dataset = read(roboflow(tmp_path / "in"))
    write(moved(dataset, {"train": ["a.jpg", "b.jpg", "empty.jpg", "bare.jpg"], "val": ["b.jpg"]}), tmp_path / "out")
    assert consumed(TRAINING, tmp_path / "scratch", tmp_path / "out/data.yaml") == {"names": ["no", "cat", "a: b"]}


SUPERVISION = """
import json, sys
import supervision as sv
folder = sys.argv[1]
found = sv.DetectionDataset.from_yolo(f"{folder}/images/train", f"{folder}/labels/train", f"{folder}/data.yaml")
print(json.dumps({"classes": found.classes, "boxes": [box for _, _, detections in found for box in detections.xyxy.tolist()]}))
"""


@pytest.mark.trainers
def test_supervision_loads_what_is_written(tmp_path: Path) -> None:
    """It reads the same classes, and the same boxes in pixels."""
    needs("supervision")
    write(read(coco_folder(tmp_path / "in", [box(20, 15, 40, 30), box(8, 6, 4, 3, id=2)])), tmp_path / "out", "yolo")
    found = consumed(SUPERVISION, tmp_path / "scratch", tmp_path / "out")
    assert found["classes"] == ["cat"]
    assert np.abs(np.array(found["boxes"]) - [[20, 15, 60, 45], [8, 6, 12, 9]]).max() < 1e-4
