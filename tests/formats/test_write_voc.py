"""Writing VOC: XML that stays byte for byte, lists that follow, and what the usual readers make of a new dataset."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dataset_doctor.dataset import LabelState
from dataset_doctor.errors import DoctorError, UsageError
from dataset_doctor.formats import losses, read, write
from dataset_doctor.plan import make_plan
from tests.consumers import consumed, contents, needs, planted
from tests.formats.test_write_yolo import box, coco_folder, moved, treated

CAT = "<object>\n\t\t<name> cat </name><custom>7</custom>\n\t\t<bndbox><xmin>1.50</xmin><ymin>2</ymin><xmax>30</xmax><ymax>4e1</ymax></bndbox>\n\t</object>"
DOG = "<object><name>dog</name><difficult>1</difficult><bndbox><ymin>3</ymin><xmin>5</xmin><xmax>9</xmax><ymax>9</ymax></bndbox></object>"
BROKEN = "<object><name>cat</name><bndbox><xmin>one</xmin><ymin>2</ymin><xmax>3</xmax><ymax>4</ymax></bndbox></object>"


def xml(name: str, *objects: str) -> str:
    head = f"<?xml version='1.0'?>\r\n<!-- by hand -->\n<annotation verified='yes'>\n\t<filename>{name}</filename>\n\t<path>/home/x/{name}</path>\n"
    return (
        head
        + "\t<size><width>80</width><height>60</height><depth>3</depth></size>\n"
        + "".join(f"\t{one}\n" for one in objects)
        + "</annotation>"
    )


def devkit(root: Path) -> Path:
    files = {
        **{f"VOC2012/JPEGImages/{name}.jpg": "" for name in ("a", "b", "empty", "c", "bare")},
        "VOC2012/Annotations/a.xml": xml("a.jpg", CAT, DOG, BROKEN, CAT),
        "VOC2012/Annotations/b.xml": xml("b.jpg", DOG),
        "VOC2012/Annotations/empty.xml": xml("empty.jpg"),
        "VOC2012/Annotations/c.xml": xml("c.jpg", CAT, BROKEN),
        "VOC2012/ImageSets/Main/train.txt": "a\r\nb\r\nempty\r\nnowhere\r\nbare",
        "VOC2012/ImageSets/Main/val.txt": "c\n\n# c again\nc\n",
        "VOC2012/ImageSets/Main/trainval.txt": "a\nb\nempty\nc\nbare\nb\n",
        "VOC2012/ImageSets/Main/cat_train.txt": "a  1\nb -1\nempty -1\nbare -1\n",
        "VOC2012/ImageSets/Main/cat_val.txt": "c  1\n",
    }
    return planted(root, files)


# The same format ----------------------------------------------------------------------------------------------------


def test_everything_is_copied_byte_for_byte(tmp_path: Path) -> None:
    """XML, lists with their comments and repeated lines, and pictures come through where nothing is treated."""
    source = contents(devkit(tmp_path / "in"))
    write(read(tmp_path / "in"), tmp_path / "out")
    assert contents(tmp_path / "out") == source


def test_a_repeat_differs_in_its_file_name_alone(tmp_path: Path) -> None:
    """A repeat's XML has another `<filename>` and nothing else; lists of its split name it behind the first, other lists stay as they are."""
    source = contents(devkit(tmp_path / "in"))
    write(treated(read(tmp_path / "in"), ["b.jpg", "b.jpg", "empty.jpg", "bare.jpg", "bare.jpg"]), tmp_path / "out")
    found = contents(tmp_path / "out")
    home = "VOC2012"
    assert found[f"{home}/Annotations/b.xml"] == source[f"{home}/Annotations/b.xml"]
    first = source[f"{home}/Annotations/b.xml"]
    assert found[f"{home}/Annotations/b__r1.xml"] == first.replace(b"<filename>b.jpg<", b"<filename>b__r1.jpg<")
    assert found[f"{home}/JPEGImages/b__r1.jpg"] == source[f"{home}/JPEGImages/b.jpg"]
    assert f"{home}/Annotations/a.xml" not in found
    lists = {name.rpartition("/")[2]: text for name, text in found.items() if "/Main/" in name}
    assert lists == {
        "train.txt": b"b\r\nb__r1\r\nempty\r\nnowhere\r\nbare\r\nbare__r1",
        "trainval.txt": b"b\nb__r1\nempty\nc\nbare\nbare__r1\nb\n",
        "cat_train.txt": b"b -1\nb__r1 -1\nempty -1\nbare -1\nbare__r1 -1\n",
        "val.txt": source[f"{home}/ImageSets/Main/val.txt"],
        "cat_val.txt": source[f"{home}/ImageSets/Main/cat_val.txt"],
    }
    again = read(tmp_path / "out")
    assert (again.n_images, int(again.images.is_repeat.sum())) == (6, 2)


def test_records_left_out_are_cut(tmp_path: Path) -> None:
    """An object is cut with the space before it; in the split that changes one that was never readable goes too, elsewhere it stays."""
    source = contents(devkit(tmp_path / "in"))
    dataset = read(tmp_path / "in")
    row = int(np.flatnonzero((dataset.annotations.class_index == 1) & (dataset.annotations.position == 1))[0])
    written = write(treated(dataset, ["a.jpg", "b.jpg", "a.jpg"], left_out=[row]), tmp_path / "out")
    found = contents(tmp_path / "out")
    assert found["VOC2012/Annotations/a.xml"].decode() == xml("a.jpg", CAT, CAT)
    assert found["VOC2012/Annotations/a__r1.xml"].decode() == xml("a.jpg", CAT, CAT).replace("<filename>a.jpg", "<filename>a__r1.jpg")
    assert found["VOC2012/Annotations/c.xml"] == source["VOC2012/Annotations/c.xml"]
    assert written.loses == ("1 record could not be read and is left out.",)


@pytest.mark.parametrize(
    ("text", "repeat"),
    [
        ("<filename>a</filename>", "<filename>a__r1</filename>"),
        ("<filename> images/a.jpg\n</filename>", "<filename> images/a__r1.jpg\n</filename>"),
        ("<filename>other.jpg</filename>", "<filename>a__r1.jpg</filename>"),
        ("<filename><![CDATA[x/a.jpg]]></filename>", "<filename>a__r1.jpg</filename>"),
        ("<filename/>", "<filename/>"),
        ("<filename x='>'>a.jpg</filename>", "<filename x='>'>a__r1.jpg</filename>"),
        ("", ""),
        (
            "<part><filename>a.jpg</filename></part><filename>a.jpg</filename>",
            "<part><filename>a.jpg</filename></part><filename>a__r1.jpg</filename>",
        ),
    ],
)
def test_file_names_as_they_are_written(tmp_path: Path, text: str, repeat: str) -> None:
    """A name without suffix gets none, folders before it stay, and where there is no name none is added."""
    document = f"<annotation>{text}<size><width>80</width><height>60</height></size>{DOG}</annotation>"
    dataset = read(planted(tmp_path / "in", {"a.jpg": "", "a.xml": document}))
    write(treated(dataset, ["a.jpg", "a.jpg"], None), tmp_path / "out")
    assert (tmp_path / "out/a__r1.xml").read_text() == document.replace(text, repeat, 1)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "gbk", "latin-1"])
def test_encodings_stay(tmp_path: Path, encoding: str) -> None:
    """A file that is changed stays in the encoding it has."""
    name = "\N{CJK UNIFIED IDEOGRAPH-8F66}" if encoding != "latin-1" else "caf\xe9"
    head = f'<?xml version="1.0" encoding="{encoding}"?>' if encoding in ("gbk", "utf-8") else ""
    document = f"{head}<annotation><filename>a.jpg</filename><size><width>80</width><height>60</height></size>{DOG.replace('dog', name)}</annotation>"
    dataset = read(planted(tmp_path / "in", {"a.jpg": "", "a.xml": document.encode(encoding)}))
    write(treated(dataset, ["a.jpg", "a.jpg"], None), tmp_path / "out")
    assert (tmp_path / "out/a__r1.xml").read_bytes() == document.replace("a.jpg", "a__r1.jpg").encode(encoding)


def test_flat_and_kaggle_layouts_stay(tmp_path: Path) -> None:
    """XML beside images, split folders, and `annotations/` beside `images/` keep their places."""
    for number, files in enumerate(
        [
            {"train/a.jpg": "", "train/a.xml": xml("a.jpg", DOG), "valid/b.jpg": "", "valid/b.xml": xml("b.jpg", CAT)},
            {"images/a.jpg": "", "annotations/a.xml": xml("a.jpg", DOG), "images/b.png": "", "annotations/b.xml": xml("b.png", CAT)},
        ]
    ):
        source = contents(planted(tmp_path / f"in{number}", files))
        write(read(tmp_path / f"in{number}"), tmp_path / f"out{number}")
        assert contents(tmp_path / f"out{number}") == source


def test_an_xml_file_that_is_not_well_formed(tmp_path: Path) -> None:
    """It is copied as it is, for a repeat too; where a record is cut from it, it ends behind the last whole object."""
    broken = f"<annotation><filename>a.jpg</filename>{DOG}\n{CAT}\n<obj"
    dataset = read(planted(tmp_path / "in", {"a.jpg": "", "a.xml": broken, "b.jpg": "", "b.xml": xml("b.jpg", CAT)}))
    write(treated(dataset, ["a.jpg", "a.jpg", "b.jpg"], None), tmp_path / "out")
    assert (tmp_path / "out/a.xml").read_text() == broken
    assert (tmp_path / "out/a__r1.xml").read_text() == broken.replace("a.jpg", "a__r1.jpg")
    first = int(np.flatnonzero(dataset.annotations.class_id == "dog")[0])
    write(treated(dataset, ["a.jpg", "b.jpg"], None, left_out=[first]), tmp_path / "cut")
    assert (tmp_path / "cut/a.xml").read_text() == f"<annotation><filename>a.jpg</filename>\n{CAT}\n</annotation>\n"


def test_an_xml_file_that_cannot_be_opened_leaves_its_image_unlabeled(tmp_path: Path) -> None:
    """A link that leads outside is not followed; its image stays, and that its labels do not is said."""
    (tmp_path / "outside.xml").write_text(xml("a.jpg", DOG))
    folder = planted(tmp_path / "in", {"a.jpg": "", "b.jpg": "", "b.xml": xml("b.jpg", CAT)})
    (folder / "a.xml").symlink_to(tmp_path / "outside.xml")
    written = write(read(folder), tmp_path / "out")
    assert sorted(contents(tmp_path / "out")) == ["a.jpg", "b.jpg", "b.xml"]
    assert written.loses == ("1 label file could not be read and is left out.",)


@pytest.mark.parametrize(
    "change", [lambda path: path.unlink(), lambda path: path.write_text(xml("b.jpg", CAT)), lambda path: path.write_text(xml("b.jpg"))]
)
def test_a_source_that_changed_is_refused(tmp_path: Path, change: Callable[[Path], object]) -> None:
    """An XML file that vanished, or whose objects are others by now, stops the writing, and nothing is left of it."""
    dataset = read(devkit(tmp_path / "in"))
    change(tmp_path / "in/VOC2012/Annotations/b.xml")
    with pytest.raises(DoctorError, match=r"Annotations/b\.xml has changed since it was read"):
        write(dataset, tmp_path / "out")
    assert [path.name for path in tmp_path.iterdir()] == ["in"]


def test_other_splits_make_a_devkit(tmp_path: Path) -> None:
    """Where images change split the layout is the devkit's; XML stays, and so do lists of classes, with the flags of what is there."""
    source = contents(devkit(tmp_path / "in"))
    write(moved(read(tmp_path / "in"), {"train": ["c.jpg", "b.jpg"], "test": ["b.jpg", "empty.jpg"]}), tmp_path / "out")
    home = "VOCdevkit/VOC2007"
    found = {name.removeprefix(f"{home}/"): text for name, text in contents(tmp_path / "out").items()}
    assert {name: text for name, text in found.items() if name.endswith(".txt")} == {
        "ImageSets/Main/train.txt": b"c\nb\n",
        "ImageSets/Main/test.txt": b"b\nempty\n",
        "ImageSets/Main/trainval.txt": b"c\nb\n",
        "ImageSets/Main/cat_train.txt": b"c  1\nb -1\n",
        "ImageSets/Main/cat_test.txt": b"b -1\nempty -1\n",
        "ImageSets/Main/cat_trainval.txt": b"c  1\nb -1\n",
    }
    assert found["Annotations/b.xml"] == source["VOC2012/Annotations/b.xml"]
    assert found["Annotations/c.xml"].decode() == xml("c.jpg", CAT)


def test_equal_stems_from_several_folders(tmp_path: Path) -> None:
    """XML files of one name from two folders get names of their own, and name their images."""
    files = {**{f"{part}/a.jpg": "" for part in ("train", "valid")}, **{f"{part}/a.xml": xml("a.jpg", DOG) for part in ("train", "valid")}}
    dataset = read(planted(tmp_path / "in", files))
    plan = make_plan(dataset, np.arange(2), command="split", in_split=np.ones((2, 1), bool), splits=("train",))
    write(plan.apply(dataset), tmp_path / "out")
    home = tmp_path / "out/VOCdevkit/VOC2007"
    assert (home / "ImageSets/Main/train.txt").read_text() == "train_a\nvalid_a\n"
    assert (home / "Annotations/train_a.xml").read_bytes().decode() == xml("a.jpg", DOG).replace("<filename>a.jpg", "<filename>train_a.jpg")


@pytest.mark.parametrize(
    "files",
    [
        {"images/a.jpg": "", "Annotations/a.xml": xml("a.jpg", DOG), "Annotations/b.xml": xml("a.jpg", CAT)},
        {"images/a.jpg": "", "images/a.png": "", "Annotations/a.xml": xml("a.jpg", DOG)},
        {"images/p.jpg": "", "Annotations/x.xml": xml("p.jpg", DOG)},
        {"Annotations/a.xml": xml("a.jpg", DOG), "Annotations/b.xml": xml("b.jpg")},
        {"Annotations/s/a.xml": xml("a.jpg", DOG), "JPEGImages/s/a.jpg": "", "ImageSets/Main/train.txt": "s/a\n"},
        {"Annotations/b b.xml": xml("b b.jpg", DOG), "JPEGImages/b b.jpg": "", "ImageSets/Main/val.txt": "JPEGImages/b b.jpg\n"},
        {"Annotations/a.xml": xml("a.jpg", DOG), "JPEGImages/a.jpg": "", "ImageSets/Main/my_set.txt": "a\n"},
        {"labelmap.txt": "# l\ndog:::\ncat:::\n", "Annotations/a.xml": xml("a.jpg", DOG), "JPEGImages/a.jpg": ""},
        {"a\nb.jpg": "", "a\nb.xml": xml("a.jpg", DOG)},
    ],
    ids=["two xml", "two images", "other name", "no images", "nested", "path in list", "own split", "label map", "line end in a name"],
)
def test_odd_sources_are_copied_and_repeated(tmp_path: Path, files: dict[str, str]) -> None:
    """However the files lie, a copy is the same, and where every image is repeated it reads back as planned."""
    source = contents(planted(tmp_path / "in", files))
    dataset = read(tmp_path / "in")
    write(dataset, tmp_path / "copy")
    assert contents(tmp_path / "copy") == source
    twice = np.sort(np.tile(np.arange(dataset.n_images), 2))
    plan = make_plan(dataset, twice, command="rebalance", split=dataset.splits[0])
    write(plan.apply(dataset), tmp_path / "out")
    again = read(tmp_path / "out")
    assert (again.n_images, again.n_annotations) == (2 * dataset.n_images, 2 * dataset.n_annotations)


# From other formats -------------------------------------------------------------------------------------------------


def test_objects_are_written_as_the_devkit_has_them(tmp_path: Path) -> None:
    """Whole corners counted from 1, names escaped, every element that old readers take for granted, and an empty file for a background."""
    categories = [{"id": 7, "name": "b <&> c"}, {"id": 3, "name": "a"}]
    write(
        read(
            coco_folder(tmp_path / "in", [box(0, 10.4, 20.2, 20.2, category_id=7), box(79.5, 0, 0.5, 60, id=2, category_id=7)], categories)
        ),
        tmp_path / "out",
        "voc",
    )
    home = tmp_path / "out/VOCdevkit/VOC2007"
    root = ElementTree.fromstring((home / "Annotations/a.xml").read_text())
    assert [(one.tag, one.text) for one in root.find("object").iter()][1:] == [
        ("name", "b <&> c"), ("pose", "Unspecified"), ("truncated", "0"), ("difficult", "0"), ("bndbox", "\n\t\t\t"),
        ("xmin", "1"), ("ymin", "11"), ("xmax", "20"), ("ymax", "31"),
    ]  # fmt: skip
    assert [int(one.text) for one in root.findall("object")[1].find("bndbox")] == [79, 1, 80, 60]
    assert [(one.tag, one.text) for one in root.find("size")] == [("width", "80"), ("height", "60"), ("depth", "3")]
    assert ElementTree.fromstring((home / "Annotations/b.xml").read_text()).findall("object") == []
    assert (home / "ImageSets/Main/trainval.txt").read_text() == (home / "ImageSets/Main/train.txt").read_text() == "a\nb\n"
    assert read(tmp_path / "out").class_names == ("b <&> c", "a")


def test_what_is_lost_is_said(tmp_path: Path) -> None:
    """Crowd regions are left out, and boxes with less than two pixels from side to side get them; both are named with their number."""
    dataset = read(coco_folder(tmp_path / "in", [box(20, 15, 40, 30), box(1, 1, 5, 5, id=2, iscrowd=1), box(5, 5, 1, 20, id=3)]))
    written = write(dataset, tmp_path / "out", "voc")
    assert written.loses == losses(dataset, "voc")
    assert "1 crowd region: Pascal VOC has none; they are left out." in written.loses
    assert "1 box: made 2 px wide or high, since readers take less for nothing." in written.loses
    assert read(tmp_path / "out").boxes.tolist() == [[20, 15, 60, 45], [5, 5, 7, 25]]


@pytest.mark.parametrize(
    ("name", "why"), [("a\x01b", "XML cannot hold"), (" cat", "XML readers strip"), ("", "is empty"), ("dog", "Two classes are called dog")]
)
def test_class_names_that_xml_cannot_hold(tmp_path: Path, name: str, why: str) -> None:
    """A name with a control character, or that a reader would not give back, is refused; so are two classes of one name."""
    dataset = read(coco_folder(tmp_path / "in", [], [{"id": 1, "name": "dog"}, {"id": 2, "name": name}]))
    with pytest.raises(UsageError, match=why):
        write(dataset, tmp_path / "out", "voc")
    assert not (tmp_path / "out").exists()


def test_states_come_back(tmp_path: Path) -> None:
    """An image without labels has no XML, a background an empty one; without splits `trainval` is another name for all."""
    files = {"images/a.jpg": "", "labels/a.txt": "0 .5 .5 .5 .5\n", "images/b.jpg": "", "labels/b.txt": "", "images/c.jpg": ""}
    write(read(planted(tmp_path / "in", files)), tmp_path / "out", "voc")
    assert (tmp_path / "out/VOCdevkit/VOC2007/ImageSets/Main/trainval.txt").read_text() == "a\nb\nc\n"
    again = read(tmp_path / "out")
    assert again.splits == ("all",)
    order = np.argsort(again.images.file_name)
    assert again.images.label_state[order].tolist() == [LabelState.LABELED, LabelState.BACKGROUND, LabelState.UNLABELED]


@given(st.lists(st.tuples(st.floats(0, 78), st.floats(0, 58), st.floats(0.01, 80), st.floats(0.01, 60)), max_size=6))
@settings(max_examples=40, deadline=None)
def test_boxes_come_back(tmp_path_factory: pytest.TempPathFactory, drawn: list[tuple[float, float, float, float]]) -> None:
    """Every box comes back within half a pixel, and one thinner than two pixels within two; no corner leaves the image."""
    boxes = [(x, y, min(w, 80 - x), min(h, 60 - y)) for x, y, w, h in drawn]
    root = tmp_path_factory.mktemp("law")
    write(read(coco_folder(root / "in", [box(*one, id=number) for number, one in enumerate(boxes, start=1)])), root / "out", "voc")
    again = read(root / "out")
    wanted = np.array([(x, y, x + w, y + h) for x, y, w, h in boxes]).reshape(-1, 4)
    order = np.argsort(again.annotations.position, kind="stable")
    moved_by = np.abs(again.boxes[order] - wanted)
    sides = np.tile(wanted[:, 2:] - wanted[:, :2], 2)
    assert (moved_by <= np.where(sides >= 2, 0.5 + 1e-9, 2.0)).all()
    assert again.boxes.min(initial=0) >= 0
    assert (again.boxes[:, 2:].max(axis=0, initial=0) <= [80, 60]).all()


# Real datasets and real readers -------------------------------------------------------------------------------------


def test_bccd_is_copied(shared_data: Path, tmp_path: Path) -> None:
    """With a plan that keeps every image, every XML file and list of a real dataset is byte-identical."""
    source = shared_data / "bccd_voc"
    dataset = read(source)
    write(
        make_plan(dataset, np.arange(dataset.n_images), command="rebalance", split="train").apply(dataset),
        tmp_path / "out",
        materialize="hardlink",
    )
    files = sorted(path.relative_to(source) for path in (source / "BCCD").rglob("*") if path.suffix in (".xml", ".txt"))
    assert len(files) == 368
    assert all((tmp_path / "out" / file).read_bytes() == (source / file).read_bytes() for file in files)


TORCHVISION = """
import json, sys
from torchvision.datasets import VOCDetection
found = {}
for split in ("train", "val", "trainval", "test"):
    try:
        rows = VOCDetection(sys.argv[1], year="2007", image_set=split)
    except FileNotFoundError:
        continue
    targets = [rows[row] for row in range(len(rows))]
    found[split] = {"sizes": [image.size for image, _ in targets],
                    "names": [[one["name"] for one in target["annotation"]["object"]] for _, target in targets]}
print(json.dumps(found))
"""


@pytest.mark.trainers
def test_torchvision_loads_what_is_written(tmp_path: Path) -> None:
    """VOCDetection finds every image, split and object, in a converted dataset and in one with repeats."""
    needs("torchvision", "torch")
    source = coco_folder(tmp_path / "in", [box(20, 15, 40, 30), box(8, 6, 4, 3, id=2)])
    chosen = treated(read(source), ["a.jpg", "a.jpg", "b.jpg"])
    write(chosen, tmp_path / "out", "voc")
    found = consumed(TORCHVISION, tmp_path / "scratch", tmp_path / "out")
    assert found == {split: {"sizes": [[80, 60]] * 3, "names": [["cat", "cat"], ["cat", "cat"], []]} for split in ("train", "trainval")}


SUPERVISION = """
import json, sys
import supervision as sv
home = sys.argv[1]
found = sv.DetectionDataset.from_pascal_voc(f"{home}/JPEGImages", f"{home}/Annotations")
print(json.dumps({"classes": found.classes, "boxes": [box for _, _, detections in found for box in detections.xyxy.tolist()]}))
"""


@pytest.mark.trainers
def test_supervision_loads_what_is_written(tmp_path: Path) -> None:
    """It reads the same classes, and the same boxes in pixels."""
    needs("supervision")
    write(read(coco_folder(tmp_path / "in", [box(20, 15, 40, 30), box(8, 6, 4, 3, id=2)])), tmp_path / "out", "voc")
    found = consumed(SUPERVISION, tmp_path / "scratch", tmp_path / "out/VOCdevkit/VOC2007")
    assert found == {"classes": ["cat"], "boxes": [[20, 15, 60, 45], [8, 6, 12, 9]]}
