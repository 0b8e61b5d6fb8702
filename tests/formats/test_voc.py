"""Pascal VOC: layouts, the XML grammar, splits, and what hostile files do (nothing)."""

from __future__ import annotations

import json
import re
import struct
import time
import zlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dataset_doctor.dataset import UNKNOWN_SIZE, Dataset, Flag, Geometry, LabelState
from dataset_doctor.files.tree import Tree, join_trees, walk
from dataset_doctor.formats.voc import VOC, plain
from dataset_doctor.formats.voc import xml as voc_xml


def png(width: int = 100, height: int = 80) -> bytes:
    """Write a grey PNG."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    pixels = zlib.compress(b"\0" * ((width + 1) * height))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")


def thing(name: str = "cat", box: tuple[float, float, float, float] = (10, 20, 30, 40), extra: str = "") -> str:
    """Write an object with a box."""
    corners = "".join(f"<{tag}>{value}</{tag}>" for tag, value in zip(("xmin", "ymin", "xmax", "ymax"), box, strict=True))
    return f"<object><name>{name}</name>{extra}<bndbox>{corners}</bndbox></object>\n"


def xml(*objects: str, filename: str = "", size: str = "<size><width>100</width><height>80</height></size>", rest: str = "") -> str:
    """Write an annotation; each object stands on a line of its own, the first on line 2."""
    name = f"<filename>{filename}</filename>" if filename else ""
    return f"<annotation>{name}{rest}{size}\n{''.join(objects)}</annotation>\n"


def make(root: Path, files: dict[str, str | bytes]) -> Tree:
    """Write files and list them; names that end in .png or .jpg may hold nothing and then become a picture of 100 × 80."""
    for name, content in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        content = content or (png() if path.suffix.lower() in (".png", ".jpg") else b"")
        path.write_bytes(content.encode() if isinstance(content, str) else content)
    return walk(root)


def read(tree: Tree, **options: tuple[str, ...]) -> Dataset:
    """Read the one VOC dataset of a tree."""
    (candidate,) = VOC.detect(tree)
    return VOC.read(tree, candidate, **options)


def one(root: Path, text: str | bytes) -> Dataset:
    """Read a dataset of one image, besides which a good one lies."""
    return read(make(root, {"a.xml": text, "a.jpg": "", "z.xml": xml(thing("dog")), "z.jpg": ""}))


def kinds(dataset: Dataset) -> list[tuple[str, str | None, int | None]]:
    """Name the problems with their places."""
    return [(problem.kind, problem.place.file, problem.place.line) for problem in dataset.problems]


def split_of(dataset: Dataset) -> dict[str, str]:
    """Name the splits of each image."""
    names = np.array(dataset.splits)
    return {name: "+".join(names[row]) for name, row in zip(dataset.images.file_name, dataset.images.in_split, strict=True)}


# Layouts ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("files", "images"),
    [
        (("Annotations/a.xml", "JPEGImages/a.jpg"), ["JPEGImages/a.jpg"]),
        (("VOCdevkit/VOC2007/Annotations/a.xml", "VOCdevkit/VOC2007/JPEGImages/a.jpg"), ["VOCdevkit/VOC2007/JPEGImages/a.jpg"]),
        (("a.xml", "a.jpg"), ["a.jpg"]),
        (("annotations/a.xml", "images/a.jpg"), ["images/a.jpg"]),
        (("labels/a.xml", "data/a.jpg"), ["data/a.jpg"]),
        (("annotations/xmls/a.xml", "images/a.png"), ["images/a.png"]),
        (("Annotations/a.xml", "a.jpg"), ["a.jpg"]),
        (("Annotations/a.xml", "Annotations/a.jpg"), ["Annotations/a.jpg"]),
        (("Annotations/x/a.xml", "images/x/a.jpg"), ["images/x/a.jpg"]),
        (("Annotations/a.xml", "images/train/a.jpg"), ["images/train/a.jpg"]),
        (("Annotations/a.xml", "pictures/a.jpg"), ["pictures/a.jpg"]),
        (("train/a.xml", "train/a.jpg"), ["train/a.jpg"]),
        (("train/Annotations/a.xml", "train/images/a.jpg"), ["train/images/a.jpg"]),
        (("Annotations/a.xml", "JPEGImages/a.JPG"), ["JPEGImages/a.JPG"]),
        (("Annotations/a.XML", "JPEGImages/A.jpg"), ["JPEGImages/A.jpg"]),
        (("gts/pascal/a.xml", "images/a.jpg"), ["images/a.jpg"]),
    ],
    ids=lambda value: value[0] if isinstance(value, tuple) else "",
)
def test_each_layout_pairs_labels_with_images(tmp_path: Path, files: tuple[str, str], images: list[str]) -> None:
    """Wherever tools put the images, an XML file finds its own, and the candidate claims it."""
    tree = make(tmp_path, {files[0]: xml(thing()), files[1]: ""})
    (candidate,) = VOC.detect(tree)
    dataset = VOC.read(tree, candidate)

    assert list(dataset.images.file_name) == images
    assert dataset.images.has_file.all()
    assert dataset.images.file_width.tolist() == [100]
    assert VOC.claims(tree, candidate) == set(images)
    assert dataset.problems == ()


def test_years_of_a_devkit_are_one_dataset(tmp_path: Path) -> None:
    """VOC2007 and VOC2012 under one VOCdevkit unite, each with its own lists and images, even for one stem."""
    tree = make(
        tmp_path,
        {
            "VOCdevkit/VOC2007/Annotations/a.xml": xml(thing()),
            "VOCdevkit/VOC2007/JPEGImages/a.jpg": "",
            "VOCdevkit/VOC2007/ImageSets/Main/train.txt": "a\n",
            "VOCdevkit/VOC2012/Annotations/a.xml": xml(thing(), thing()),
            "VOCdevkit/VOC2012/JPEGImages/a.jpg": "",
            "VOCdevkit/VOC2012/ImageSets/Main/val.txt": "a\n",
        },
    )
    dataset = read(tree)

    assert split_of(dataset) == {"VOCdevkit/VOC2007/JPEGImages/a.jpg": "train", "VOCdevkit/VOC2012/JPEGImages/a.jpg": "val"}
    assert dataset.n_annotations == 3
    assert dataset.problems == ()


def test_roboflow_folders_are_splits(tmp_path: Path) -> None:
    """train/valid/test with XML beside image are three splits, spelt canonically and as written."""
    files = {
        f"{split}/{stem}{suffix}": xml(thing()) for split, stem in (("train", "a"), ("valid", "b"), ("test", "c")) for suffix in [".xml"]
    }
    tree = make(tmp_path, {**files, "train/a.jpg": "", "valid/b.jpg": "", "test/c.jpg": ""})
    dataset = read(tree)

    assert dataset.splits == ("train", "val", "test")
    assert dataset.split_spelling == ("train", "valid", "test")
    assert split_of(dataset) == {"train/a.jpg": "train", "valid/b.jpg": "val", "test/c.jpg": "test"}


def test_the_same_stem_in_two_split_folders_is_two_images(tmp_path: Path) -> None:
    """Folders of one dataset may repeat stems where each has its own image."""
    tree = make(tmp_path, {"train/1.xml": xml(thing()), "train/1.jpg": "", "valid/1.xml": xml(thing()), "valid/1.jpg": ""})

    assert split_of(read(tree)) == {"train/1.jpg": "train", "valid/1.jpg": "val"}


def test_annotations_without_any_image_are_read_quietly(tmp_path: Path) -> None:
    """Where no image is at hand, labels count, nothing is reported image by image, and the evidence says so."""
    dataset = read(make(tmp_path, {"Annotations/a.xml": xml(thing(), filename="a.png"), "Annotations/b.xml": xml()}))

    assert list(dataset.images.file_name) == ["a.png", "b.jpg"]
    assert not dataset.images.has_file.any()
    assert dataset.problems == ()
    assert any("no image is at hand" in text for text in dataset.evidence)
    assert dataset.images.width.tolist() == [100, 100]
    assert dataset.images.file_width.tolist() == [UNKNOWN_SIZE, UNKNOWN_SIZE]


def test_images_come_from_the_folder_given(tmp_path: Path) -> None:
    """An image folder outside the dataset, given by the user, is where images are looked for."""
    main = make(tmp_path / "labels only", {"a.xml": xml(thing())})
    make(tmp_path / "pictures", {"a.jpg": "", "b.jpg": ""})
    tree = join_trees(main, walk(tmp_path / "pictures", "../pictures"), "../pictures")
    dataset = read(tree)

    assert list(dataset.images.file_name) == ["../pictures/a.jpg", "../pictures/b.jpg"]
    assert dataset.images.label_state.tolist() == [LabelState.LABELED, LabelState.UNLABELED]
    assert dataset.images.file_height.tolist() == [80, 80]


def test_images_without_xml_come_only_from_the_folders_in_use(tmp_path: Path) -> None:
    """A picture elsewhere in the tree is no unlabeled image."""
    tree = make(tmp_path, {"Annotations/a.xml": xml(thing()), "JPEGImages/a.jpg": "", "JPEGImages/sub/b.jpg": "", "docs/logo.png": ""})

    assert sorted(read(tree).images.file_name) == ["JPEGImages/a.jpg", "JPEGImages/sub/b.jpg"]


def test_lists_tell_a_missing_image_from_an_orphan(tmp_path: Path) -> None:
    """What a list names should be there; a picture that neither a list nor an XML file names is an orphan, yet counts."""
    files = {"Annotations/a.xml": xml(thing()), "Annotations/b.xml": xml(thing()), "Annotations/d.xml": xml(thing())}
    pictures = {"JPEGImages/a.jpg": "", "JPEGImages/c.jpg": ""}
    tree = make(tmp_path, {**files, **pictures, "ImageSets/Main/train.txt": "a\nb\n"})
    dataset = read(tree)

    assert kinds(dataset) == [
        ("image-missing", "Annotations/b.xml", None),
        ("label-orphan", "Annotations/d.xml", None),
        ("image-orphan", "JPEGImages/c.jpg", None),
    ]
    assert dataset.n_images == 4


def test_a_missing_image_still_counts(tmp_path: Path) -> None:
    """An XML file without image is a problem where other images are there, and an image without a file."""
    tree = make(tmp_path, {"Annotations/a.xml": xml(thing()), "JPEGImages/a.jpg": "", "Annotations/b.xml": xml(thing(), filename="b.PNG")})
    dataset = read(tree)

    assert list(dataset.images.file_name) == ["JPEGImages/a.jpg", "JPEGImages/b.PNG"]
    assert dataset.images.has_file.tolist() == [True, False]
    assert kinds(dataset) == [("label-orphan", "Annotations/b.xml", None)]
    assert dataset.n_annotations == 2


# Recognising --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    [
        "<annotations><image id='0'/></annotations>",
        "<annotation><filename>a.jpg</filename><object><name>x</name><polygon><pt><x>1</x><y>1</y></pt></polygon></object></annotation>",
        "<project><modelVersion>4.0.0</modelVersion></project>",
        "<svg xmlns='http://www.w3.org/2000/svg'/>",
        "<annotation/>",
        "",
        "not xml",
    ],
    ids=["cvat", "labelme", "pom", "svg", "nothing in it", "empty", "text"],
)
def test_other_xml_is_not_voc(tmp_path: Path, text: str) -> None:
    """XML of other kinds is no VOC dataset."""
    assert VOC.detect(make(tmp_path, {"a.xml": text, "a.jpg": ""})) == []


def test_other_xml_beside_a_dataset_is_left_alone(tmp_path: Path) -> None:
    """A foreign XML file among the labels is named in the evidence and is no image; with an image's name it is unreadable."""
    files = {"a.xml": xml(thing()), "a.jpg": "", "pom.xml": "<project/>", "b.xml": "<annotations/>", "b.jpg": ""}
    dataset = read(make(tmp_path, files))

    assert list(dataset.images.file_name) == ["a.jpg", "b.jpg"]
    assert dataset.images.label_state.tolist() == [LabelState.LABELED, LabelState.LABELED]
    assert kinds(dataset) == [("label-unreadable", "b.xml", 1)]
    assert any("1 other XML file" in text for text in dataset.evidence)


def test_a_labelme_file_with_an_images_name_is_reported(tmp_path: Path) -> None:
    """Its shapes are not read as VOC, and it is not dropped in silence."""
    shape = "<object><name>x</name><polygon><pt><x>1</x><y>1</y></pt></polygon></object>"
    dataset = one(tmp_path, f"<annotation>{shape}</annotation>")

    assert [kind for kind, _, _ in kinds(dataset)].count("label-unreadable") == 1
    assert dataset.class_names == ("dog",)
    assert dataset.n_annotations == 1


def test_unrelated_datasets_are_several(tmp_path: Path) -> None:
    """Two datasets with the same stems and other classes are two candidates; with other stems they are one if they have a class each."""
    files = {
        "pets/Annotations/1.xml": xml(thing("cat")),
        "pets/JPEGImages/1.jpg": "",
        "cells/Annotations/1.xml": xml(thing("nucleus")),
        "cells/JPEGImages/1.jpg": "",
    }
    tree = make(tmp_path / "same", files)
    candidates = VOC.detect(tree)

    assert [candidate.root for candidate in candidates] == ["cells", "pets"]
    assert [VOC.read(tree, candidate).class_names for candidate in candidates] == [("nucleus",), ("cat",)]
    other = {name.replace("cells/Annotations/1", "cells/Annotations/2").replace("cells/JPEGImages/1", "cells/JPEGImages/2"): text
             for name, text in files.items()}  # fmt: skip
    assert [candidate.root for candidate in VOC.detect(make(tmp_path / "other", other))] == [""]
    more = other | {"pets/Annotations/3.xml": xml(thing("dog")), "cells/Annotations/4.xml": xml(thing("membrane"))}
    assert [candidate.root for candidate in VOC.detect(make(tmp_path / "more", more))] == ["cells", "pets"]
    layouts = files | {"cells/Annotations/1.xml": xml(thing("cat")), "cells/ImageSets/Main/train.txt": "1\n"}
    assert [candidate.root for candidate in VOC.detect(make(tmp_path / "layouts", layouts))] == ["cells", "pets"]


def test_two_annotations_of_the_same_images_are_several(tmp_path: Path) -> None:
    """Parallel labels of one set of images are not read as one dataset with every box twice."""
    tree = make(tmp_path, {"gt1/1.xml": xml(thing()), "gt2/1.xml": xml(thing()), "images/1.jpg": ""})

    assert [candidate.root for candidate in VOC.detect(tree)] == ["gt1", "gt2"]


def test_a_file_that_the_user_points_at_chooses_its_folder(tmp_path: Path) -> None:
    """Pointing at an XML file reads the dataset of its folder; another kind of file is not VOC."""
    tree = make(tmp_path, {"a/1.xml": xml(thing("cat")), "b/2.xml": xml(thing("dog")), "b/notes.txt": ""})

    (candidate,) = VOC.detect(tree, "b/2.xml")
    assert (candidate.root, candidate.labels) == ("b", ("b/2.xml",))
    assert VOC.detect(tree, "b/notes.txt") == []


# Objects ------------------------------------------------------------------------------------------------------------


def test_columns_hold_what_is_written(tmp_path: Path) -> None:
    """Corners as floats in any order, flags, the object's number and line, and the declared size."""
    text = """<annotation>
    <size><depth>3</depth><height>80</height><width>100.0</width></size>
    <object>
        <bndbox><ymax>40.5</ymax><xmax>30</xmax><ymin>20</ymin><xmin>10.25</xmin></bndbox>
        <difficult>1</difficult><truncated>1</truncated><occluded>0</occluded>
        <name> cat </name>
    </object>
    <object><name>dog</name><bndbox><xmin>9</xmin><ymin>9</ymin><xmax>5</xmax><ymax>9</ymax></bndbox></object>
</annotation>"""
    dataset = one(tmp_path, text)
    annotations = dataset.annotations

    assert dataset.class_names == ("cat", "dog")
    assert annotations.corners[:2].tolist() == [[10.25, 20, 30, 40.5], [9, 9, 5, 9]]
    assert annotations.flags[:2].tolist() == [Flag.DIFFICULT | Flag.TRUNCATED | Flag.NO_VOC_KEYS | Flag.OTHER_ORDER, Flag.NO_VOC_KEYS]
    assert annotations.line[:2].tolist() == [3, 8]
    assert annotations.position[:2].tolist() == [0, 1]
    assert annotations.class_id.tolist() == [" cat ", "dog", "dog"]
    assert dataset.images.width.tolist() == [100, 100]
    assert dataset.problems == ()


def test_boxes_of_parts_are_not_the_objects(tmp_path: Path) -> None:
    """A `part` with a name and a box of its own changes nothing, before or after the object's."""
    part = "<part><name>head</name><bndbox><xmin>1</xmin><ymin>1</ymin><xmax>2</xmax><ymax>2</ymax></bndbox></part>"
    nested = "<object><object>" + thing("dog") + "</object></object>"
    dataset = one(tmp_path, xml(thing(extra=part), thing().replace("</object>", part + "</object>"), nested))

    assert dataset.annotations.corners[:2].tolist() == [[10, 20, 30, 40]] * 2
    assert dataset.class_names == ("cat", "dog")
    assert np.isnan(dataset.annotations.corners[2]).all()


ROTATED = "<robndbox><cx>50</cx><cy>40</cy><w>20</w><h>10</h><angle>1.5707963267948966</angle></robndbox>"
TRIANGLE = "<polygon><x1>1</x1><y1>2</y1><x2>30</x2><y2>4</y2><x3>5</x3><y3>60</y3></polygon>"


@pytest.mark.parametrize(
    ("shape", "corners", "geometry"),
    [
        (ROTATED, [45, 30, 55, 50], Geometry.OBB),
        (TRIANGLE, [1, 2, 30, 60], Geometry.POLYGON),
        (TRIANGLE + "<bndbox><xmin>0</xmin><ymin>0</ymin><xmax>9</xmax><ymax>9</ymax></bndbox>", [0, 0, 9, 9], Geometry.POLYGON),
    ],
    ids=["rotated", "polygon", "polygon with a box"],
)
def test_other_shapes_give_their_enclosing_box(tmp_path: Path, shape: str, corners: list[float], geometry: Geometry) -> None:
    """A rotated box or polygon counts with the box around it, or with its own bndbox."""
    dataset = one(tmp_path, xml(f"<object><name>cat</name>{shape}</object>"))

    assert dataset.annotations.corners[0].tolist() == pytest.approx(corners)
    assert dataset.annotations.geometry[0] == geometry
    assert dataset.problems == ()


@pytest.mark.parametrize(
    ("item", "kind", "counts"),
    [
        (thing(name=""), "class-name-missing", True),
        (thing(name="  "), "class-name-missing", True),
        (thing().replace("<name>cat</name>", ""), "class-name-missing", True),
        ("<object><name>cat</name></object>", "box-malformed", True),
        ("<object><name>cat</name><bndbox/></object>", "record-unreadable", False),
        (thing().replace("<xmax>30</xmax>", ""), "record-unreadable", False),
        (thing(box=("head", 1, 2, 3)), "record-unreadable", False),  # type: ignore[arg-type]
        (thing(box=(1, 1, float("nan"), 3)), "record-unreadable", False),
        (thing(box=(1, 1, 3, float("inf"))), "record-unreadable", False),
        (thing(box=("1e999", 1, 2, 3)), "record-unreadable", False),  # type: ignore[arg-type]
        (thing(box=("1_0", 1, 20, 3)), "record-unreadable", False),  # type: ignore[arg-type]
        (thing(extra="<difficult>maybe</difficult>"), "flag-invalid", True),
        (thing(extra="<difficult>true</difficult>"), "flag-invalid", True),
        (thing(extra="<truncated>2</truncated>"), "flag-invalid", True),
        (thing(extra="<difficult></difficult>"), "flag-invalid", True),
        ("<object><name>cat</name><polygon><x1>1</x1></polygon></object>", "record-unreadable", False),
        (thing(extra="<polygon><x1>1</x1></polygon>"), "box-malformed", True),
        (thing(extra="<name>dog</name>"), "duplicate-key", True),
    ],
)
def test_a_bad_object_is_a_problem_with_its_line(tmp_path: Path, item: str, kind: str, counts: bool) -> None:
    """What cannot be a column is reported at the object's line; the objects around it keep their numbers."""
    dataset = one(tmp_path, xml(thing(), item, thing("bird")))

    assert kinds(dataset) == [(kind, "a.xml", 3)]
    assert dataset.problems[0].place.image == "a.jpg"
    assert dataset.annotations.position[dataset.annotations.source == 0].tolist() == ([0, 1, 2] if counts else [0, 2])


def test_an_object_without_a_name_has_no_class(tmp_path: Path) -> None:
    """It counts among the annotations and in no class."""
    dataset = one(tmp_path, xml(thing(name="")))

    assert dataset.annotations.class_index.tolist() == [-1, 0]
    assert dataset.class_names == ("dog",)


def test_an_object_without_a_box_has_nan_corners(tmp_path: Path) -> None:
    """It counts, with no box."""
    dataset = one(tmp_path, xml("<object><name>cat</name></object>"))

    assert np.isnan(dataset.annotations.corners[0]).all()
    assert dataset.annotations.class_index[0] == 0


@pytest.mark.parametrize(
    ("size", "width", "reported"),
    [
        ("", UNKNOWN_SIZE, False),
        ("<size><width>500.0</width><height>80</height></size>", 500, False),
        ("<size><width>0</width><height>80</height></size>", UNKNOWN_SIZE, True),
        ("<size><width>-1</width><height>80</height></size>", UNKNOWN_SIZE, True),
        ("<size><width>wide</width><height>80</height></size>", UNKNOWN_SIZE, True),
        ("<size><width>99999999999</width><height>80</height></size>", UNKNOWN_SIZE, True),
        ("<size><height>80</height></size>", UNKNOWN_SIZE, True),
        ("<size><width>1.5</width><height>80</height></size>", UNKNOWN_SIZE, True),
    ],
)
def test_sizes_are_positive_whole_numbers_or_unknown(tmp_path: Path, size: str, width: int, reported: bool) -> None:
    """A size that is there but unusable is a problem; one that is not there is none."""
    dataset = one(tmp_path, xml(thing(), size=size))

    assert dataset.images.width[0] == width
    assert kinds(dataset) == ([("image-size-invalid", "a.xml", None)] if reported else [])


def test_label_states_tell_background_from_unlabeled(tmp_path: Path) -> None:
    """No object: background. No XML: unlabeled. An unreadable object or file: labeled."""
    files = {"a.xml": xml(thing()), "b.xml": xml(), "d.xml": xml("<object><name>x</name><bndbox/></object>"), "e.xml": "<annotation>"}
    dataset = read(make(tmp_path, {**files, **{f"{stem}.jpg": "" for stem in "abcde"}}))
    state = dict(zip(dataset.images.file_name, dataset.images.label_state, strict=True))

    assert {name: LabelState(value).name for name, value in state.items()} == {
        "a.jpg": "LABELED",
        "b.jpg": "BACKGROUND",
        "c.jpg": "UNLABELED",
        "d.jpg": "LABELED",
        "e.jpg": "LABELED",
    }


# Names of images ----------------------------------------------------------------------------------------------------


def test_a_stem_in_another_folder_is_another_image(tmp_path: Path) -> None:
    """An image that mirrors one XML file's folder is not taken for that of another folder."""
    files = {"Annotations/x/a.xml": xml(thing(), filename="a.jpg"), "Annotations/y/a.xml": xml(thing(), filename="a.jpg")}
    dataset = read(make(tmp_path, {**files, "images/x/a.jpg": ""}))

    assert list(dataset.images.file_name) == ["images/x/a.jpg", "images/y/a.jpg"]
    assert kinds(dataset) == [("label-orphan", "Annotations/y/a.xml", None)]


def test_a_file_name_that_disagrees_is_a_problem(tmp_path: Path) -> None:
    """The stem decides, and a `<filename>` of another image is reported; a name without suffix is no disagreement."""
    files = {"a.xml": xml(thing(), filename="b.jpg"), "b.xml": xml(filename="b"), "a.jpg": "", "b.jpg": ""}
    dataset = read(make(tmp_path, files))

    assert kinds(dataset) == [("filename-mismatch", "a.xml", None)]
    assert dataset.images.file_name[dataset.annotations.image].tolist() == ["a.jpg"]


def test_file_name_then_path_find_an_image_that_no_stem_does(tmp_path: Path) -> None:
    """`<filename>` comes before `<path>`, only their last parts count, and nothing outside is ever named."""
    files = {
        "Annotations/1.xml": xml(thing(), filename="one.jpg"),
        "Annotations/2.xml": xml(thing(), rest=r"<path>C:\photos\two.jpg</path>"),
        "Annotations/3.xml": xml(thing(), filename="../../../../etc/passwd"),
        "JPEGImages/one.jpg": "",
        "JPEGImages/two.jpg": "",
    }
    dataset = read(make(tmp_path, files))

    assert list(dataset.images.file_name) == ["JPEGImages/one.jpg", "JPEGImages/two.jpg", "JPEGImages/3.jpg"]
    assert kinds(dataset) == [("label-orphan", "Annotations/3.xml", None)]


def test_collisions_are_reported(tmp_path: Path) -> None:
    """Two images for one XML file: the one that `<filename>` names. Two XML files for one image: one image, all annotations."""
    files = {"a.xml": xml(thing(), filename="a.png"), "a.jpg": "", "a.png": "", "b.xml": xml(thing(), filename="a.png")}
    dataset = read(make(tmp_path, files))

    assert kinds(dataset) == [("stem-collision", "a.xml", None), ("stem-collision", "b.xml", None)]
    assert dataset.images.file_name[dataset.annotations.image].tolist() == ["a.png", "a.png"]
    assert sorted(dataset.images.file_name) == ["a.jpg", "a.png"]
    assert dataset.images.source.tolist() == [0, -1]


# Classes ------------------------------------------------------------------------------------------------------------


def test_classes_are_sorted_unless_told(tmp_path: Path) -> None:
    """Sorted names; or the names given, where others are undeclared and keep their name."""
    tree = make(tmp_path, {"a.xml": xml(thing("dog"), thing("cat"), thing("emu"))})

    assert read(tree).class_names == ("cat", "dog", "emu")
    given = read(tree, classes=("dog", "cat", "fox"))
    assert given.class_names == ("dog", "cat", "fox")
    assert given.annotations.class_index.tolist() == [0, 1, -1]
    assert given.annotations.class_id.tolist() == ["dog", "cat", "emu"]


def test_a_label_map_orders_the_classes(tmp_path: Path) -> None:
    """CVAT's labelmap.txt gives the order; its background is a class only where it is used."""
    labels = "# label:color_rgb:parts:actions\nbackground:0,0,0::\ndog:1,2,3::\ncat:3,4,5::\n"
    files = {"labelmap.txt": labels, "Annotations/a.xml": xml(thing("cat"), thing("emu"))}
    dataset = read(make(tmp_path / "unused", files))

    assert dataset.class_names == ("dog", "cat")
    assert dataset.annotations.class_index.tolist() == [1, -1]
    assert read(make(tmp_path / "used", {**files, "Annotations/b.xml": xml(thing("background"))})).class_names[0] == "background"


def test_a_label_map_of_another_kind_is_not_used(tmp_path: Path) -> None:
    """A labelmap.txt that is a plain list of names is reported and left alone."""
    dataset = read(make(tmp_path, {"labelmap.txt": "???\ncat\n", "Annotations/a.xml": xml(thing("cat"))}))

    assert dataset.class_names == ("cat",)
    assert kinds(dataset) == [("class-names-invalid", "labelmap.txt", 1)]


# Splits -------------------------------------------------------------------------------------------------------------


def devkit(root: Path, lists: dict[str, str], stems: str = "abcd", extra: dict[str, str | bytes] | None = None) -> Dataset:
    """Read a devkit with an image and an XML file a stem, a cat in each, and some lists."""
    files: dict[str, str | bytes] = {f"Annotations/{stem}.xml": xml(thing()) for stem in stems}
    files |= {f"JPEGImages/{stem}.jpg": "" for stem in stems}
    files |= {f"ImageSets/Main/{name}": text for name, text in lists.items()}
    return read(make(root, files | (extra or {})))


def test_trainval_is_train_and_val(tmp_path: Path) -> None:
    """`trainval` is no third split; only what neither part names is in it, and what no list names is unassigned."""
    dataset = devkit(tmp_path, {"train.txt": "a\n", "val.txt": "b\n", "trainval.txt": "a\nb\nc\n"})

    assert dataset.splits == ("train", "val", "trainval", "unassigned")
    assert list(split_of(dataset).values()) == ["train", "val", "trainval", "unassigned"]
    assert dataset.problems == ()
    assert devkit(tmp_path / "whole", {"train.txt": "a\n", "val.txt": "b\n", "trainval.txt": "a\nb\n"}, "ab").splits == ("train", "val")
    assert devkit(tmp_path / "alone", {"trainval.txt": "a\nb\n", "test.txt": "c\n"}, "abc").splits == ("trainval", "test")


def test_lists_say_what_is_missing(tmp_path: Path) -> None:
    """A repeated id, one with nothing, one without XML, and malformed lines: each has its name and place."""
    dataset = devkit(
        tmp_path,
        {"train.txt": "a\na\nnothing\ne\n\n# note\nb.jpg\nJPEGImages/c.jpg\n", "trainval.txt": "a\nb\nc\ne\nnothing\n"},
        extra={"JPEGImages/e.jpg": ""},
    )
    place = "ImageSets/Main/train.txt"

    assert kinds(dataset) == [
        ("listed-twice", place, 2),
        ("listed-missing", place, 3),
        ("label-missing", place, 4),
        ("list-malformed", place, 5),
        ("list-malformed", place, 6),
        ("list-malformed", place, 7),
    ]
    assert [name[-5] for name, split in split_of(dataset).items() if split == "train"] == ["a", "b", "c", "e"]
    assert dataset.images.label_state[list(dataset.images.file_name).index("JPEGImages/e.jpg")] == LabelState.UNLABELED


def test_ids_may_hold_folders_and_spaces(tmp_path: Path) -> None:
    """An id is the whole line: the relative stem of the XML file."""
    files = {"Annotations/x/a b.xml": xml(thing()), "JPEGImages/x/a b.jpg": "", "ImageSets/Main/train.txt": "x/a b\r\n"}
    dataset = read(make(tmp_path, files))

    assert split_of(dataset) == {"JPEGImages/x/a b.jpg": "train"}
    assert dataset.problems == ()


def test_class_lists_are_told_by_their_content(tmp_path: Path) -> None:
    """`<class>_<split>.txt` is a class list by its flags; a list with "_" in its name and plain ids is a split."""
    lists = {"train.txt": "a\nb\n", "cat_train.txt": "a  1\nb  1\n", "dog_train.txt": "a -1\nb -1\n", "my_split.txt": "c\nd\n"}
    dataset = devkit(tmp_path, lists)

    assert dataset.splits == ("train", "my_split")
    assert dataset.problems == ()


def test_a_class_list_that_disagrees_is_reported_once(tmp_path: Path) -> None:
    """1 means present, 0 only difficult ones, -1 absent; a list that says otherwise is one problem."""
    hard = xml(thing(extra="<difficult>1</difficult>"))
    lists = {"train.txt": "a\nb\nh\n", "cat_train.txt": "a  -1\nb -1\nh  0\n", "emu_train.txt": "a  1\nb -1\n"}
    dataset = devkit(tmp_path, lists, extra={"Annotations/h.xml": hard, "JPEGImages/h.jpg": ""})

    assert kinds(dataset) == [
        ("class-names-conflict", "ImageSets/Main/cat_train.txt", 1),
        ("class-names-conflict", "ImageSets/Main/emu_train.txt", 1),
    ]


def test_lists_of_other_tasks_do_not_split(tmp_path: Path) -> None:
    """Layout, Segmentation and Action name other things."""
    extra: dict[str, str | bytes] = {f"ImageSets/{task}/val.txt": "a\n" for task in ("Layout", "Segmentation", "Action")}

    assert devkit(tmp_path, {"train.txt": "a\nb\nc\nd\n"}, extra=extra).splits == ("train",)


def test_an_empty_list_is_an_empty_split(tmp_path: Path) -> None:
    """It stays a split, with a problem."""
    dataset = devkit(tmp_path, {"train.txt": "a\nb\nc\nd\n", "val.txt": ""})

    assert dataset.splits == ("train", "val")
    assert kinds(dataset) == [("split-empty", "ImageSets/Main/val.txt", None)]


# The origin of corners ----------------------------------------------------------------------------------------------

DEVKIT = "<source><database>The VOC2007 Database</database></source>"
DATUMARO = "<source><database>Unknown</database><annotation>Unknown</annotation><image>Unknown</image></source>"


@pytest.mark.parametrize(
    ("boxes", "source", "origin", "first"),
    [
        ([(0, 5, 9, 9), (5, 5, 100, 9)], "", "half-open", [0, 5, 9, 9]),
        ([(0, 5, 9, 9), (5, 5, 99, 9)], "", "0-based", [0, 5, 10, 10]),
        ([(0, 5, 9, 9)], "", "unknown", [-1, 4, 9, 9]),
        ([(1, 5, 9, 9), (5, 5, 100, 9)], DEVKIT, "1-based", [0, 4, 9, 9]),
        ([(1, 5, 9, 9), (5, 5, 100, 9)], DATUMARO, "half-open", [1, 5, 9, 9]),
        ([(1, 5, 9, 9), (5, 5, 100, 9)], "<owner><name>Label Studio</name></owner>", "half-open", [1, 5, 9, 9]),
        ([(1, 5, 9, 9), (5, 5, 100, 9)], "", "unknown", [0, 4, 9, 9]),
    ],
)  # fmt: skip
def test_corners_are_counted_as_the_evidence_says(
    tmp_path: Path, boxes: list[tuple[float, float, float, float]], source: str, origin: str, first: list[float]
) -> None:
    """Boxes at the edges and the writer's name tell the convention; corners stay as written, `boxes` follow it."""
    dataset = read(make(tmp_path, {"a.xml": xml(*(thing(box=box) for box in boxes), rest=source), "a.jpg": ""}))

    assert dataset.voc_origin == origin
    assert dataset.annotations.corners.tolist() == [list(box) for box in boxes]
    assert dataset.boxes[0].tolist() == first
    assert "boxes start at 0" in dataset.evidence[-1]


# Broken and hostile files -------------------------------------------------------------------------------------------


def test_objects_before_a_break_still_count(tmp_path: Path) -> None:
    """A truncated file gives its whole objects and the line of the break."""
    dataset = one(tmp_path, "<annotation>\n" + thing() + thing("emu") + "<object><name>fox</na")

    assert [dataset.class_names[index] for index in dataset.annotations.class_index] == ["cat", "emu", "dog"]
    assert kinds(dataset) == [("label-unreadable", "a.xml", 4)]


HOSTILE = {
    "empty": b"",
    "blank": b"\n\n",
    "doctype": b"<!DOCTYPE annotation><annotation><object/></annotation>",
    "entities": b'<!DOCTYPE a [<!ENTITY b "bbbbbbbb"><!ENTITY c "&b;&b;&b;">]><annotation><filename>&c;</filename></annotation>',
    "external entity": b'<!DOCTYPE a [<!ENTITY b SYSTEM "file:///etc/passwd">]><annotation><filename>&b;</filename></annotation>',
    "undefined entity": b"<annotation><filename>&nbsp;</filename></annotation>",
    "control character": b"<annotation><filename>\x01</filename></annotation>",
    "null bytes": b"\x00" * 1000,
    "deep": b"<annotation>" + b"<a>" * 32 + b"</a>" * 32 + b"</annotation>",
    "very deep": b"<annotation>" + b"<a>" * 100_000,
    "many objects": b"<annotation><size/>" + b"<object/>" * 150_000 + b"</annotation>",
    "large": b"<annotation>" + b" " * (17 << 20) + b"</annotation>",
    "utf-16 that is none": b"\xff\xfe<annotation></annotation>",
    "declared nonsense": b'<?xml version="1.0" encoding="punycode"?><annotation>\xff' + b"-" * 100_000,
}


@pytest.mark.parametrize("data", HOSTILE.values(), ids=HOSTILE.keys())
def test_a_hostile_file_is_one_finding(tmp_path: Path, data: bytes) -> None:
    """It is unreadable, quickly; its image still counts as labeled, and so do the other files."""
    start = time.perf_counter()
    dataset = one(tmp_path, data)

    assert time.perf_counter() - start < 20
    assert [place for kind, place, _ in kinds(dataset) if kind == "label-unreadable"] == ["a.xml"]
    assert dataset.n_images == 2
    assert dataset.images.label_state.tolist() == [LabelState.LABELED] * 2
    assert (dataset.annotations.source == 1).sum() == 1


def test_a_dtd_is_refused(tmp_path: Path) -> None:
    """A document type is named as the reason."""
    dataset = one(tmp_path, HOSTILE["doctype"])

    assert [(problem.kind, problem.text) for problem in dataset.problems] == [("label-unreadable", "DTD refused")]


@pytest.mark.parametrize(
    ("head", "encoding", "reported"),
    [
        ('<?xml version="1.0" encoding="gbk"?>', "gbk", True),
        ('<?xml version="1.0" encoding="ISO-8859-1"?>', "latin-1", True),
        ('<?xml version="1.0" encoding="UTF-8"?>', "utf-8", False),
        ("", "utf-8", False),
        ("", "utf-8-sig", True),
        ("", "utf-16", True),
        ("", "latin-1", True),
    ],
)
def test_encodings_are_decoded_and_reported(tmp_path: Path, head: str, encoding: str, reported: bool) -> None:
    """A byte-order mark, the declaration, UTF-8, Latin-1, in this order; anything but UTF-8 is a problem."""
    name = "车" if encoding == "gbk" else "é"
    dataset = one(tmp_path, (head + xml(thing(name))).encode(encoding))

    assert name in dataset.class_names
    assert kinds(dataset) == ([("text-encoding", "a.xml", None)] if reported else [])


def test_links_out_of_the_dataset_are_not_followed(tmp_path: Path) -> None:
    """A label file that is a link to the outside is not opened."""
    (tmp_path / "secret.xml").write_text(xml(thing("secret")))
    root = tmp_path / "data"
    make(root, {"z.xml": xml(thing("dog")), "z.jpg": "", "a.jpg": ""})
    (root / "a.xml").symlink_to(tmp_path / "secret.xml")
    dataset = read(walk(root))

    assert dataset.class_names == ("dog",)
    assert kinds(dataset) == [("label-unreadable", "a.xml", None)]
    assert dataset.images.label_state.tolist() == [LabelState.LABELED] * 2


GOOD = xml(thing(), thing("dog", (1, 2, 3, 4)), filename="a.jpg", rest=DEVKIT).encode()


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(edits=st.lists(st.tuples(st.integers(0, len(GOOD) - 1), st.binary(max_size=4), st.integers(0, 6)), min_size=1, max_size=4))
def test_no_edit_of_a_file_raises_or_harms_another(tmp_path: Path, edits: list[tuple[int, bytes, int]]) -> None:
    """Whatever the bytes of one file, reading ends, and the other files count as before."""
    data = bytearray(GOOD)
    for at, put, cut in edits:
        data[at : at + cut] = put
    dataset = one(tmp_path, bytes(data))
    other = dataset.annotations.source == dataset.sources.index("z.xml")

    assert [dataset.class_names[index] for index in dataset.annotations.class_index[other]] == ["dog"]
    assert dataset.n_images == 2


# Speed must not change the result -----------------------------------------------------------------------------------

PIECES = [
    "<annotation>", '<annotation verified="yes">', "<folder>x</folder>", "<filename>a.jpg</filename>", "<path>/p/a.jpg</path>", DEVKIT, DATUMARO,
    "<owner><name>Label Studio</name></owner>", "<size><width>10</width><height>20</height><depth>3</depth></size>",
    "<size><width>0</width><height>20</height></size>", "<segmented>0</segmented>", thing(), thing("dog", (1.5, -2, 1e2, 4)),
    thing("", (1, 2, 3, 4)), thing(extra="<pose>Left</pose><truncated>1</truncated>"), thing(extra="<difficult>1</difficult><difficult>0</difficult>"),
    thing(extra="<difficult>yes</difficult>"), thing(extra="<part><name>x</name></part>"), thing(box=("1e999", 1, 2, 3)),  # type: ignore[arg-type]
    thing(box=("--1", 1, 2, 3)), "\r\n", "\r", "\n\t", "</annotation>", "<!-- c -->", "&amp;", "]]>", "text", "<object>",  # type: ignore[arg-type]
]  # fmt: skip


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    parts=st.one_of(
        st.lists(st.sampled_from(PIECES), max_size=12),
        st.tuples(
            st.sampled_from(PIECES[:2]), st.sampled_from(["", *PIECES[2:3]]), st.just(PIECES[3]), st.sampled_from(["", PIECES[4]]),
            st.sampled_from(["", *PIECES[5:7]]), st.sampled_from(["", PIECES[7]]), st.sampled_from(PIECES[8:10]),
            st.lists(st.sampled_from(PIECES[11:24]), max_size=6).map("".join), st.just("</annotation>"),
        ).map(list),
    )
)  # fmt: skip
def test_the_fast_way_reads_as_the_full_parser_does(tmp_path: Path, parts: list[str]) -> None:
    """Files proven plain give the rows and problems that expat gives."""
    (tmp_path / "a.xml").write_bytes("".join(parts).encode())
    fast = voc_xml.parse_here(str(tmp_path), ["a.xml"])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(plain, "HEAD", re.compile("(?!)"))
        full = voc_xml.parse_here(str(tmp_path), ["a.xml"])

    assert same(fast, full)


def many_files(root: Path, n: int) -> list[str]:
    """Write XML files with none to two objects, some of them broken; name them."""
    for number in range(n):
        text = xml(*[thing(f"class {number % 7}")] * (number % 3)) if number % 100 else "<annotation>\n<broken"
        (root / f"{number:04d}.xml").write_text(text)
    return [f"{number:04d}.xml" for number in range(n)]


def same(one: voc_xml.Records, other: voc_xml.Records) -> bool:
    """Compare all columns."""
    return all(np.array_equal(getattr(one, column), getattr(other, column)) for column in voc_xml.Records.__dataclass_fields__)


def test_processes_give_what_one_process_gives(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Many files are read by several processes, forked or spawned: same rows, same order, same problems."""
    names = many_files(tmp_path, 1_300)
    told: list[tuple[str, int, int]] = []
    here = voc_xml.parse_here(str(tmp_path), names)

    assert same(voc_xml.parse(str(tmp_path), names, progress=lambda *now: told.append(now)), here)
    assert told[-1] == ("reading XML", 1_300, 1_300)
    monkeypatch.setattr(voc_xml, "FEWEST_FILES_TO_SPAWN", 0)
    monkeypatch.setattr(voc_xml.threading, "active_count", lambda: 2)
    assert same(voc_xml.parse(str(tmp_path), names), here)


def test_without_further_processes_one_reads_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the system gives no process, this one does the work."""
    names = many_files(tmp_path, 600)

    def refuse(*_: object, **__: object) -> None:
        raise OSError("no more processes")

    monkeypatch.setattr("concurrent.futures.ProcessPoolExecutor", refuse)
    assert same(voc_xml.parse(str(tmp_path), names), voc_xml.parse_here(str(tmp_path), names))


# Real datasets ------------------------------------------------------------------------------------------------------


def counts(dataset: Dataset) -> dict[str, int]:
    """Count the instances of each class."""
    return {name: int(n) for name, n in zip(dataset.class_names, np.asarray(dataset.counts().sum(axis=0)).ravel(), strict=True)}


def test_bccd_is_read_as_its_truth_says(shared_data: Path) -> None:
    """Images, annotations, classes, splits and zero-area boxes of a real devkit dataset, without a false alarm."""
    dataset = read(walk(shared_data / "bccd_voc"))
    truth = json.loads((shared_data / "truth" / "bccd_voc.json").read_text())

    assert (dataset.n_images, dataset.n_annotations) == (truth["n_images"], truth["n_annotations"])
    assert counts(dataset) == truth["class_instances"]
    assert {name: int(n) for name, n in zip(dataset.splits, dataset.images.in_split.sum(axis=0), strict=True)} == {
        name: split["n_images"] for name, split in truth["splits"].items()
    }
    corners = dataset.annotations.corners
    assert ((corners[:, 2] <= corners[:, 0]) | (corners[:, 3] <= corners[:, 1])).sum() == truth["zero_area"]["n"]
    assert dataset.images.file_width.tolist() == [640] * 364
    # The labelling tool wrote the folders of two people into <path>.
    assert [(p.kind, p.text) for p in dataset.problems] == [
        ("personal-data", "user folder /home/pi"),
        ("personal-data", "user folder /Users/cosmic"),
    ]


def test_labels_apart_from_their_images_are_read_as_the_truth_says(shared_data: Path) -> None:
    """The same of XML files whose images lie in a folder that is given."""
    base = shared_data / "voc100_multiformat"
    tree = walk(base / "gts" / "pascalvoc_format")
    tree = join_trees(tree, walk(base / "images", "../../images"), "../../images")
    dataset = read(tree)
    truth = json.loads((shared_data / "truth" / "voc100_multiformat.json").read_text())

    assert (dataset.n_images, dataset.n_annotations) == (100, 273)
    assert counts(dataset) == truth["class_instances"]
    assert dataset.splits == ("all",)
    assert dataset.images.has_file.all()
    assert (dataset.images.width == dataset.images.file_width).all()
    assert dataset.problems == ()
