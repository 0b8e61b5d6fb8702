"""YOLO trees drawn in a temporary folder: every layout, every rule of the reader, and hostile input."""

from __future__ import annotations

import json
import os
import time
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from dataset_doctor.dataset import Dataset, Flag, Geometry, LabelState, Problem
from dataset_doctor.files.tree import Tree, join_trees, walk
from dataset_doctor.formats.yolo import YOLO

IMAGES = (".jpg", ".png")
BOX = "0 0.5 0.5 0.5 0.5\n"


def plant(root: Path, files: Mapping[str, str | bytes | None]) -> Path:
    """Write files; an image is 200 × 100 whatever its content says."""
    for name, content in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.suffix in IMAGES:
            Image.new("RGB", (200, 100)).save(path)
        elif isinstance(content, bytes):
            path.write_bytes(content)
        else:
            path.write_text(content or "", encoding="utf-8", newline="")
    return root


def read_tree(tree: Tree, only: str | None = None, classes: tuple[str, ...] | None = None) -> Dataset:
    candidates = YOLO.detect(tree, only)
    assert len(candidates) == 1, candidates
    return YOLO.read(tree, candidates[0], classes=classes)


def read(root: Path, files: Mapping[str, str | bytes | None] | None = None, only: str | None = None) -> Dataset:
    return read_tree(walk(plant(root, files or {})), only)


def rows(root: Path, text: str | bytes, yaml: str = "") -> Dataset:
    """Read a dataset of one image and one label file."""
    return read(root, {"images/a.jpg": None, "labels/a.txt": text, "data.yaml": f"train: images\nval: images\nnc: 3\n{yaml}"})


def kinds(dataset: Dataset) -> Counter[str]:
    return Counter(problem.kind for problem in dataset.problems)


def only_problem(dataset: Dataset, kind: str) -> Problem:
    found = [problem for problem in dataset.problems if problem.kind == kind]
    assert len(found) == 1, dataset.problems
    return found[0]


def splits(dataset: Dataset) -> dict[str, list[str]]:
    return {name: list(dataset.images.file_name[dataset.images.in_split[:, at]]) for at, name in enumerate(dataset.splits)}


# Layouts ------------------------------------------------------------------------------------------------------------

YAML = "path: .\ntrain: images/train\nval: images/val\nnames:\n  0: cat\n  1: dog\n"
Y1 = {"images/train/a.jpg": None, "images/val/b.jpg": None, "labels/train/a.txt": BOX, "labels/val/b.txt": BOX}
Y2 = {"train/images/a.jpg": None, "valid/images/b.jpg": None, "train/labels/a.txt": BOX, "valid/labels/b.txt": BOX}
CVAT = {
    "data.yaml": "train: train.txt\nval: val.txt\nnames: [cat, dog]\n",
    "train.txt": "images/train/a.jpg\n",
    "val.txt": "images/val/b.jpg\n",
}

LAYOUTS: dict[str, tuple[dict[str, str | None], str, dict[str, list[str]]]] = {
    "ultralytics": ({**Y1, "data.yaml": YAML}, "ultralytics", {"train": ["images/train/a.jpg"], "val": ["images/val/b.jpg"]}),
    "roboflow": (
        {**Y2, "data.yaml": "train: ../train/images\nval: ../valid/images\ntest: ../test/images\nnc: 2\nnames: ['cat', 'dog']\n"},
        "roboflow",
        {"train": ["train/images/a.jpg"], "val": ["valid/images/b.jpg"], "test": []},
    ),
    "darknet": (
        {
            "obj.data": "classes = 2\ntrain = data/train.txt\nvalid = data/valid.txt\nnames = data/obj.names\nbackup = backup/\n",
            "obj.names": "cat\ndog\n",
            "train.txt": "data/obj_train_data/a.jpg\n",
            "valid.txt": "data/obj_valid_data/b.jpg\n",
            "obj_train_data/a.jpg": None,
            "obj_train_data/a.txt": BOX,
            "obj_valid_data/b.jpg": None,
            "obj_valid_data/b.txt": BOX,
        },
        "darknet",
        {"train": ["obj_train_data/a.jpg"], "val": ["obj_valid_data/b.jpg"]},
    ),
    "flat": (
        {"a.jpg": None, "a.txt": BOX, "b.jpg": None, "b.txt": BOX, "classes.txt": "cat\ndog\n"},
        "flat",
        {"all": ["a.jpg", "b.jpg"]},
    ),
    "label-studio": (
        {
            "images/a.jpg": None,
            "images/b.jpg": None,
            "labels/a.txt": BOX,
            "labels/b.txt": BOX,
            "classes.txt": "cat\ndog\n",
            "notes.json": '{"categories": [{"id": 0, "name": "cat"}, {"id": 1, "name": "dog"}]}',
        },
        "label-studio",
        {"all": ["images/a.jpg", "images/b.jpg"]},
    ),
    "cvat": ({**Y1, **CVAT}, "cvat", {"train": ["images/train/a.jpg"], "val": ["images/val/b.jpg"]}),
    "fiftyone": (
        {**Y1, "dataset.yaml": "path: /home/someone/export\ntrain: ./images/train/\nval: ./images/val/\nnames:\n  0: cat\n  1: dog\n"},
        "fiftyone",
        {"train": ["images/train/a.jpg"], "val": ["images/val/b.jpg"]},
    ),
    "lists": (
        {
            **Y1,
            "train.txt": "/mnt/other/set/images/train/a.jpg\n",
            "val.txt": "C:\\sets\\images\\val\\b.jpg\n",
            "classes.txt": "cat\ndog\n",
        },
        "lists",
        {"train": ["images/train/a.jpg"], "val": ["images/val/b.jpg"]},
    ),
    "folders": (
        {**Y2, "classes.txt": "cat\ndog\n"},
        "images-labels",
        {"train": ["train/images/a.jpg"], "val": ["valid/images/b.jpg"]},
    ),
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_each_layout_is_read_without_a_flag(tmp_path: Path, layout: str) -> None:
    """Each layout of the wild gives its splits, its classes, and one box an image in pixels."""
    files, variant, wanted = LAYOUTS[layout]
    dataset = read(tmp_path, dict(files))

    assert dataset.variant == variant
    assert splits(dataset) == wanted
    assert dataset.class_names == ("cat", "dog")
    assert dataset.annotations.corners.tolist() == [[50, 25, 150, 75]] * 2
    assert dataset.images.has_file.all() and (dataset.images.label_state == LabelState.LABELED).all()
    assert dataset.sources == tuple(sorted(name for name in files if name.endswith(("a.txt", "b.txt"))))
    assert set(kinds(dataset)) <= {"path-absolute", "path-backslash", "split-empty", "personal-data"}


def test_labels_without_images_count_one_image_a_file(tmp_path: Path) -> None:
    """Without any image, label files stand for images, boxes are shares, and nothing is reported missing."""
    dataset = read(tmp_path, {"data.yaml": YAML, "labels/train/a.txt": BOX, "labels/val/b.txt": ""})

    assert splits(dataset) == {"train": ["images/train/a.jpg"], "val": ["images/val/b.jpg"]}
    assert not dataset.images.has_file.any() and not dataset.problems
    assert dataset.annotations.corners.tolist() == [[0.25, 0.25, 0.75, 0.75]]
    assert any("no image file is here" in line for line in dataset.evidence)


@pytest.mark.parametrize("listed", [True, False])
def test_images_elsewhere_are_paired_with_the_labels(tmp_path: Path, listed: bool) -> None:
    """Images given with --images are matched by the listed path or by their own, and keep their name in the tree."""
    plant(tmp_path / "pictures", {"train/a.jpg": None, "val/a.jpg": None})
    files: dict[str, str | bytes | None] = {"labels/train/a.txt": BOX, "labels/val/a.txt": ""}
    if listed:
        files["data.yaml"] = YAML
    plant(tmp_path / "set" / "yolo", files)
    prefix = "../../pictures"
    tree = join_trees(walk(tmp_path / "set" / "yolo"), walk(tmp_path / "pictures", prefix), prefix)
    dataset = read_tree(tree)

    assert splits(dataset) == {"train": [f"{prefix}/train/a.jpg"], "val": [f"{prefix}/val/a.jpg"]}
    assert dataset.annotations.corners.tolist() == [[50, 25, 150, 75]]
    assert dataset.images.label_state.tolist() == [LabelState.LABELED, LabelState.BACKGROUND]
    assert YOLO.claims(tree, YOLO.detect(tree)[0]) == set(tree.images)


@pytest.mark.parametrize(
    "path",
    [None, ".", "", "./", "../set", "datasets/set", "/home/x/set", "D:\\sets\\set", "/nowhere/images", "~/set", "null"],
)
def test_a_stale_path_still_loads(tmp_path: Path, path: str | None) -> None:
    """Whatever `path` says, the splits are found beside the YAML."""
    yaml = "train: images/train\nval: images/val\nnames: [a]\n" + (f"path: {path}\n" if path is not None else "")
    dataset = read(tmp_path, {**Y1, "data.yaml": yaml})

    assert splits(dataset) == {"train": ["images/train/a.jpg"], "val": ["images/val/b.jpg"]}


@pytest.mark.parametrize(
    "entry", ["images/train", "./images/train/", "/old/place/set/images/train", "set\\images\\train", "../images/train"]
)
def test_a_split_path_is_found_by_its_longest_known_tail(tmp_path: Path, entry: str) -> None:
    """Absolute, relative and backslash paths lead to the same folder."""
    dataset = read(tmp_path, {**Y1, "cfg/data.yaml": f"train: {entry}\nval: images/val\nnames: [a]\n"})

    assert splits(dataset)["train"] == ["images/train/a.jpg"]


def test_a_split_may_be_a_list_of_folders_lists_and_images(tmp_path: Path) -> None:
    """Every form of a split value counts, and an image in two splits is one row in both."""
    dataset = read(
        tmp_path,
        {
            **Y1,
            "images/more/c.jpg": None,
            "extra.txt": "./images/more/c.jpg\n",
            "data.yaml": "train:\n  - images/train\n  - extra.txt\nval: [images/val/b.jpg, images/more]\nnames: [a]\n",
        },
    )

    assert splits(dataset) == {"train": ["images/more/c.jpg", "images/train/a.jpg"], "val": ["images/more/c.jpg", "images/val/b.jpg"]}
    assert dataset.n_images == 3


def test_a_split_that_leads_nowhere_is_a_finding(tmp_path: Path) -> None:
    """An unresolved split is reported on its line; its images in a folder of that name join it."""
    dataset = read(tmp_path, {**Y2, "data.yaml": "train: train/images\nval: nowhere/pictures\ntest:\nnames: [a]\n"})

    problem = only_problem(dataset, "split-empty")
    assert (problem.place.file, problem.place.line, problem.place.split) == ("data.yaml", 2, "val")
    assert splits(dataset)["val"] == ["valid/images/b.jpg"]


# Recognising --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "files",
    [
        {"a.jpg": None, "requirements.txt": "1 2 3 4 5\n", "README.txt": "0 1 1 1 1\n"},
        {"a.jpg": None, "a.txt": "a photo of a cat\n"},
        {"a.jpg": None, "classes.txt": "0 1 2 3 4\n1 2 3 4 5\n"},
        {"model.yaml": "nc: 80\nbackbone: []\n", "a.jpg": None},
        {"hyp.yaml": "lr0: 0.01\n"},
        {"train.txt": "hello\n", "a.jpg": None},
        {},
    ],
    ids=["requirements", "caption", "numeric classes", "model", "hyperparameters", "prose list", "empty"],
)
def test_other_text_is_not_taken_for_labels(tmp_path: Path, files: dict[str, str | bytes | None]) -> None:
    """Text files without an image partner or without rows of numbers are no dataset."""
    assert YOLO.detect(walk(plant(tmp_path, files))) == []


def test_unrelated_configurations_are_several_datasets(tmp_path: Path) -> None:
    """Two data.yaml in different folders are two candidates that claim their own images."""
    one = {f"one/{name}": content for name, content in {**Y1, "data.yaml": YAML}.items()}
    two = {f"two/{name}": content for name, content in {**Y1, "data.yaml": YAML}.items()}
    tree = walk(plant(tmp_path, {**one, **two}))
    candidates = YOLO.detect(tree)

    assert [c.root for c in candidates] == ["one", "two"]
    assert YOLO.claims(tree, candidates[0]) == {"one/images/train/a.jpg", "one/images/val/b.jpg"}
    dataset = YOLO.read(tree, candidates[1])
    assert splits(dataset)["train"] == ["two/images/train/a.jpg"]


def test_a_configuration_at_the_root_rules(tmp_path: Path) -> None:
    """With a data.yaml at the root, those below are part of the same dataset."""
    candidates = YOLO.detect(walk(plant(tmp_path, {**Y1, "data.yaml": YAML, "old/data.yaml": YAML})))

    assert [(c.root, c.labels) for c in candidates] == [("", ("data.yaml",))]


@pytest.mark.parametrize("only", ["data.yaml", "train.txt"])
def test_a_file_the_user_points_at_decides(tmp_path: Path, only: str) -> None:
    """Only the file given is looked at."""
    dataset = read(tmp_path, {**Y1, "data.yaml": YAML, "train.txt": "images/train/a.jpg\n"}, only=only)

    assert "train" in dataset.splits and splits(dataset)["train"] == ["images/train/a.jpg"]


def test_predictions_are_no_ground_truth(tmp_path: Path) -> None:
    """Label files under runs/ are left out where others exist, with a line of evidence."""
    extra = {"runs/detect/predict/a.jpg": None, "runs/detect/predict/labels/a.txt": "0 .5 .5 .1 .1 0.9\n"}
    dataset = read(tmp_path, {**Y1, "data.yaml": YAML, **extra})

    assert dataset.n_images == 2 and dataset.n_annotations == 2
    assert any("predictions" in line for line in dataset.evidence)
    assert not dataset.problems


# Configuration ------------------------------------------------------------------------------------------------------


def test_names_stay_as_written(tmp_path: Path) -> None:
    """YAML 1.1 would turn these into Booleans, numbers and dates; class names are text."""
    names = ["yes", "no", "on", "1", "null", "007", "12:30", "2020-01-01", "a\x1bb", "~"]
    dataset = read(
        tmp_path,
        {**Y1, "data.yaml": f"train: images/train\nnames: [yes, no, on, 1, null, 007, 12:30, 2020-01-01, {json.dumps(names[8])}, ~]\n"},
    )

    assert dataset.class_names == tuple(names)


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("train: images/train\nnames: [a\nval: x\n", 3),
        ("train: images/train\nnames: &x [a]\n", 2),
        ("train: &x images/train\nval: *x\nnames: [a]\n", 1),
        ("train: images/train\nnames: !!python/object/apply:os.system ['touch pwned']\n", 2),
        ("names: [a]\nnc: 1\ntrain: " + "[" * 20 + "]" * 20 + "\n", 3),
        ("- names\n- train\n", 1),
    ],
    ids=["malformed", "anchor", "alias", "tag", "deep", "sequence"],
)
def test_a_bad_yaml_is_a_finding_and_folders_decide(tmp_path: Path, text: str, line: int) -> None:
    """What YAML cannot say is taken from the folders; nothing is executed."""
    dataset = read(tmp_path, {**Y1, "data.yaml": text}, only="data.yaml")

    problem = only_problem(dataset, "config-invalid")
    assert problem.place.file == "data.yaml" and problem.place.line == line
    assert splits(dataset) == {"train": ["images/train/a.jpg"], "val": ["images/val/b.jpg"]}
    assert not (tmp_path / "pwned").exists()


def test_a_huge_yaml_is_not_read(tmp_path: Path) -> None:
    """A configuration over 1 MiB is a finding."""
    dataset = read(tmp_path, {**Y1, "data.yaml": YAML + "#" * (1 << 20)}, only="data.yaml")

    assert kinds(dataset) == {"config-invalid": 1} and dataset.n_images == 2


def test_a_repeated_key_is_reported_and_the_last_one_counts(tmp_path: Path) -> None:
    """Duplicate keys, in the file and in names, are reported with their lines."""
    dataset = read(tmp_path, {**Y1, "data.yaml": "train: nowhere\ntrain: images\nnames:\n  0: cat\n  0: dog\n"})

    assert sorted(p.place.line or 0 for p in dataset.problems if p.kind == "duplicate-key") == [2, 5]
    assert dataset.class_names == ("dog",) and dataset.n_images == 2


def test_download_is_reported_and_never_run(tmp_path: Path) -> None:
    """A download script is a finding with its line."""
    dataset = read(tmp_path, {**Y1, "data.yaml": YAML + "download: |\n  import os\n  os.mkdir('pwned')\n"})

    assert only_problem(dataset, "download-script").place.line == 7
    assert not Path("pwned").exists()


@pytest.mark.parametrize(
    ("yaml", "names", "problems"),
    [
        ("names: {0: a, 2: c}", ("a", "class_1", "c"), 1),
        ("names: {2: c, 0: a, 1: b}", ("a", "b", "c"), 0),
        ("names: {one: a, 0: b}", ("b",), 1),
        ("names: [a, b]\nnc: 3", ("a", "b"), 1),
        ("names: [a, b]\nnc: 2", ("a", "b"), 0),
        ("nc: 2", ("class_0", "class_1"), 0),
        ("names: [a, [b]]", ("a", "class_1"), 1),
        ("names: {99999999: a}", (), 1),
        ("nc: x\nnames: [a]", ("a",), 1),
    ],
)
def test_class_names_of_a_yaml(tmp_path: Path, yaml: str, names: tuple[str, ...], problems: int) -> None:
    """Gaps, odd keys and a wrong nc are reported; the names keep their index."""
    dataset = read(tmp_path, {**Y1, "data.yaml": f"train: images\n{yaml}\n"})

    assert dataset.class_names == names
    assert kinds(dataset)["class-names-invalid"] == problems


def test_without_names_classes_are_named_after_their_index(tmp_path: Path) -> None:
    """The largest index used decides how many classes there are."""
    dataset = read(tmp_path, {"a.jpg": None, "a.txt": "2 .5 .5 .1 .1\n"})

    assert dataset.class_names == ("class_0", "class_1", "class_2")
    assert any("no class names" in line for line in dataset.evidence)


def test_a_huge_class_index_makes_no_classes(tmp_path: Path) -> None:
    """A class index of a billion costs no memory and counts as undeclared."""
    dataset = read(tmp_path, {"a.jpg": None, "a.txt": "1000000000 .5 .5 .1 .1\n"})

    assert len(dataset.classes) <= 100_000 and dataset.annotations.class_index.tolist() == [-1]


def test_names_that_disagree_are_reported(tmp_path: Path) -> None:
    """A classes.txt that differs from the YAML is a conflict, one that agrees is not."""
    dataset = read(tmp_path, {**Y1, "data.yaml": YAML, "labels/train/classes.txt": "dog\ncat\n", "classes.txt": "cat\ndog\n"})

    assert only_problem(dataset, "class-names-conflict").place.file == "labels/train/classes.txt"
    assert dataset.class_names == ("cat", "dog")


def test_given_class_names_win(tmp_path: Path) -> None:
    """Names from --classes replace those of the dataset."""
    tree = walk(plant(tmp_path, {**Y1, "data.yaml": YAML}))

    assert read_tree(tree, classes=("x", "y", "z")).class_names == ("x", "y", "z")


# Images, splits, label files ----------------------------------------------------------------------------------------


def test_label_states(tmp_path: Path) -> None:
    """A non-blank line makes an image labelled, an empty file background, no file unlabelled."""
    labels = {"labels/a.txt": "junk\n", "labels/b.txt": "", "labels/c.txt": " \n\n", "labels/e.txt": BOX}
    dataset = read(
        tmp_path, {**{f"images/{stem}.jpg": None for stem in "abcde"}, **labels, "data.yaml": "train: images\nval: images\nnames: [x]\n"}
    )

    assert dataset.images.label_state.tolist() == [2, 1, 1, 0, 2]
    assert dataset.images.source.tolist() == [0, 1, 2, -1, 3]
    assert kinds(dataset) == {"record-unreadable": 1, "image-in-several-splits": 2}


def test_images_that_no_split_names(tmp_path: Path) -> None:
    """With a label they are in the split of their folder or unassigned; without, they are orphans and count nowhere."""
    dataset = read(
        tmp_path,
        {
            **Y1,
            "images/test/c.jpg": None,
            "labels/test/c.txt": BOX,
            "images/more/d.jpg": None,
            "labels/more/d.txt": "",
            "images/more/e.jpg": None,
            "data.yaml": YAML,
        },
    )

    assert splits(dataset) == {
        "train": ["images/train/a.jpg"],
        "val": ["images/val/b.jpg"],
        "unassigned": ["images/more/d.jpg"],
        "test": ["images/test/c.jpg"],
    }
    assert only_problem(dataset, "image-orphan").place.image == "images/more/e.jpg"
    assert kinds(dataset) == {"image-orphan": 1}


def test_splits_keep_their_spelling(tmp_path: Path) -> None:
    """Canonical names are for counting, the source's own for writing."""
    dataset = read(tmp_path, {**Y2, "classes.txt": "a\n"})

    assert dataset.splits == ("train", "val") and dataset.split_spelling == ("train", "valid")


def test_lists_with_defects(tmp_path: Path) -> None:
    """Repeats, lines without a file and lines that are no path are reported on their line; the rest counts."""
    lines = [
        "images/train/a.jpg",
        "",
        "./images/train/a.jpg",
        "images/train/gone.jpg",
        "images/train/never.jpg",
        "not a path",
        "../../../etc/passwd.jpg",
        "elsewhere/b.jpg",
    ]
    dataset = read(
        tmp_path,
        {**Y1, "labels/train/gone.txt": BOX, "train.txt": "\n".join(lines), "data.yaml": "train: train.txt\nval: images/val\nnames: [a]\n"},
    )

    assert splits(dataset) == {
        "train": ["images/train/a.jpg", "images/train/gone.jpg", "images/val/b.jpg"],
        "val": ["images/val/b.jpg"],
    }
    assert dataset.images.has_file.tolist() == [True, False, True]
    assert {(p.kind, p.place.line) for p in dataset.problems} == {
        ("listed-twice", 3),
        ("image-missing", 4),
        ("listed-missing", 5),
        ("list-malformed", 6),
        ("path-outside-dataset", 7),
        ("path-by-basename", 8),
    }
    assert dataset.n_annotations == 3


def test_orphan_label_files(tmp_path: Path) -> None:
    """A label without image is reported; two extensions with what to rename; text beside it is left alone."""
    dataset = read(
        tmp_path,
        {**Y1, "data.yaml": YAML, "labels/train/x.txt": BOX, "images/train/y.jpg": None, "labels/train/y.jpg.txt": BOX, "README.txt": "hi"},
    )

    texts = {problem.place.file: problem.text for problem in dataset.problems}
    assert set(texts) == {"labels/train/x.txt", "labels/train/y.jpg.txt"}
    assert kinds(dataset) == {"label-orphan": 2} and "has to be y.txt" in texts["labels/train/y.jpg.txt"]
    assert dataset.images.label_state.tolist() == [2, 0, 2]


def test_a_label_folder_in_another_case_is_used_and_reported(tmp_path: Path) -> None:
    """`Images/Labels` is read, though no trainer finds it."""
    dataset = read(tmp_path, {"Images/a.jpg": None, "Labels/a.txt": BOX, "data.yaml": "train: Images\nnames: [a]\n"})

    assert dataset.n_annotations == 1
    assert only_problem(dataset, "filename-mismatch").place.file == "Labels/a.txt"


@pytest.mark.parametrize(
    ("image", "label"),
    [
        ("images/images/a.jpg", "images/labels/a.txt"),
        ("set/images/x/a.jpg", "set/labels/x/a.txt"),
        ("pics/a.jpg", "pics/labels/a.txt"),
        ("train/img/a.jpg", "train/labels/a.txt"),
        ("pics/a.jpg", "pics/a.txt"),
        ("JPEGImages/a.jpg", "labels/a.txt"),
        ("images/a.b.jpg", "labels/a.b.txt"),
        ("images/train.jpg", "labels/train.txt"),
    ],
)
def test_the_label_path_rule(tmp_path: Path, image: str, label: str) -> None:
    """The last `images` becomes `labels`; else a folder labels; else beside the image."""
    dataset = read(tmp_path, {image: None, label: BOX})

    assert dataset.sources == (label,) and dataset.n_annotations == 1 and not dataset.problems


def test_two_images_with_one_label_file(tmp_path: Path) -> None:
    """The label file serves both, and the collision is reported."""
    dataset = read(
        tmp_path, {"images/a.jpg": None, "images/a.png": None, "labels/a.txt": BOX, "data.yaml": "train: images\nval: images\nnames: [x]\n"}
    )

    assert only_problem(dataset, "stem-collision").place.file == "labels/a.txt"
    assert dataset.annotations.image.tolist() == [0, 1] and dataset.images.label_state.tolist() == [2, 2]


def test_an_image_of_unknown_size_keeps_its_boxes_as_shares(tmp_path: Path) -> None:
    """A broken image file is a finding; its boxes count, as shares of the image."""
    plant(tmp_path, {**Y1, "data.yaml": YAML})
    (tmp_path / "images/train/a.jpg").write_bytes(b"not a picture")
    dataset = read(tmp_path)

    assert only_problem(dataset, "image-unreadable").place.image == "images/train/a.jpg"
    assert dataset.annotations.corners.tolist() == [[0.25, 0.25, 0.75, 0.75], [50, 25, 150, 75]]
    assert dataset.images.file_width.tolist() == [-1, 200] and dataset.images.has_file.all()


def test_label_files_that_cannot_be_read(tmp_path: Path) -> None:
    """Pipes, links outside and too large files are findings; their images count as labelled."""
    root = plant(
        tmp_path / "set",
        {f"images/{stem}.jpg": None for stem in "abcde"} | {"data.yaml": "train: images\nval: images\nnames: [x]\n", "labels/e.txt": BOX},
    )
    secret = tmp_path / "secret.txt"
    secret.write_text(BOX)
    os.mkfifo(root / "labels" / "a.txt")
    (root / "labels" / "b.txt").symlink_to(secret)
    with (root / "labels" / "c.txt").open("wb") as handle:
        handle.truncate(65 << 20)
    (root / "labels" / "d.txt").symlink_to("/dev/zero")
    dataset = read(root)

    assert kinds(dataset) == {"label-unreadable": 4, "image-in-several-splits": 2}
    assert dataset.images.label_state.tolist() == [2] * 5
    assert dataset.sources == ("labels/e.txt",) and dataset.images.source.tolist() == [-1, -1, -1, -1, 0]


# Rows ---------------------------------------------------------------------------------------------------------------


def test_positions_and_lines_with_blank_lines(tmp_path: Path) -> None:
    """Lines are counted as an editor counts them, whatever ends them."""
    for ending in ("\n", "\r\n", "\r"):
        text = ending.join(["", "0 .5 .5 .1 .1", "  \t", "1 .5 .5 .2 .2 ", "", "x", "\t2  5e-1 +.5 0.3 .3"])
        dataset = rows(tmp_path, text.encode())
        assert dataset.annotations.line.tolist() == [2, 4, 7]
        assert dataset.annotations.position.tolist() == [1, 3, 6]
        assert dataset.annotations.class_index.tolist() == [0, 1, 2]
        assert only_problem(dataset, "record-unreadable").place.line == 6


GOOD = ["0 0.5 0.5 0.5 0.5", "0.0 .5 .5 .5 .5", "1.000000000000000000e+00 5.e-1 0.5 0.5 0.5", "-1 0.5 0.5 0.5 0.5", "+7 0.5 0.5 0.5 0.5"]
BAD = {
    "0 0.5 0.5 0.5": "4 values",
    "0": "1 value,",
    "0 0.5 0.5 nan 0.5": "value 4",
    "0 0.5 0.5 inf 0.5": "value 4",
    "0 0.5 0.5 1_0 0.5": "value 4",
    "0 0.5 0.5 0x1 0.5": "value 4",
    "0 0.5 0.5 1e999 0.5": "too large",
    "0 1-2 0.5 0.5 0.5": "value 2",
    "0 1.2.3 0.5 0.5 0.5": "value 2",
    "0 --1 0.5 0.5 0.5": "value 2",
    "0 1e 0.5 0.5 0.5": "value 2",
    "0 . 0.5 0.5 0.5": "value 2",
    "0.5 0.5 0.5 0.5 0.5": "whole number",
    "cat 0.5 0.5 0.5 0.5": "the class",
    "0,0.5,0.5,0.5,0.5": "spaces",
    "0 0.5; 0.5 0.5 0.5": "spaces",
    "10 20 30 20 30 40 10 40 plane 0": "DOTA",
    "0 0.5 0.5\x000.5 0.5": "value 3",
    "0 0.5 0.5 0.5 0.5\u0663": "value 5",
}


@pytest.mark.parametrize("line", GOOD)
def test_lines_that_count(tmp_path: Path, line: str) -> None:
    """Every spelling of a number that Python's float takes is read."""
    dataset = rows(tmp_path, line)

    assert dataset.annotations.corners.tolist() == [[50, 25, 150, 75]]
    assert {p.kind for p in dataset.problems} <= {"class-number-float", "exponent-notation"}
    wanted = int(float(line.split()[0]))
    assert dataset.annotations.class_id.tolist() == [wanted]
    assert dataset.annotations.class_index.tolist() == [wanted if 0 <= wanted < 3 else -1]


@pytest.mark.parametrize("line", BAD)
def test_lines_that_do_not_count(tmp_path: Path, line: str) -> None:
    """What is no row is reported with its line, its image and the reason; the lines around it count."""
    dataset = rows(tmp_path, f"{BOX}{line}\n{BOX}")

    problem = only_problem(dataset, "record-unreadable")
    assert (problem.place.file, problem.place.line, problem.place.image) == ("labels/a.txt", 2, "images/a.jpg")
    assert BAD[line] in problem.text and problem.text.isprintable()
    assert dataset.annotations.line.tolist() == [1, 3]


def test_values_equal_python_floats(tmp_path: Path) -> None:
    """Corners are computed in float64 from correctly rounded numbers."""
    rng = np.random.default_rng(0)
    numbers = rng.random((200, 4)).tolist()
    text = "".join(f"0 {a!r} {b:.6f} {c:.3e} {d:.17f}\n" for a, b, c, d in numbers)
    dataset = rows(tmp_path, text)

    wanted = []
    for line in text.splitlines():
        x, y, w, h = map(float, line.split()[1:])
        wanted.append([(x - w / 2) * 200, (y - h / 2) * 100, (x + w / 2) * 200, (y + h / 2) * 100])
    assert dataset.annotations.corners.tolist() == wanted


TASKS = {
    "box and score": ("0 .5 .5 .5 .5 0.9", "", "detect", Geometry.BOX, Flag.SCORE, [50, 25, 150, 75]),
    "triangle": ("0 .1 .1 .9 .1 .5 .8", "", "segment", Geometry.POLYGON, 0, [20, 10, 180, 80]),
    "triangle and score": ("0 .1 .1 .9 .1 .5 .8 .7", "", "segment", Geometry.POLYGON, Flag.SCORE, [20, 10, 180, 80]),
    "turned rectangle": ("0 .5 .2 .8 .5 .5 .8 .2 .5", "", "obb", Geometry.OBB, 0, [40, 20, 160, 80]),
    "upright rectangle": ("0 .2 .2 .8 .2 .8 .8 .2 .8", "", "segment", Geometry.POLYGON, 0, [40, 20, 160, 80]),
    "upright, task obb": ("0 .2 .2 .8 .2 .8 .8 .2 .8", "task: obb\n", "obb", Geometry.OBB, 0, [40, 20, 160, 80]),
    "trapezium": ("0 .4 .2 .6 .2 .9 .8 .1 .8", "", "segment", Geometry.POLYGON, 0, [20, 20, 180, 80]),
    "pose with depth": ("0 .5 .5 .5 .5 .4 .4 2 .6 .6 1", "", "pose", Geometry.POSE, Flag.KEYPOINTS, [50, 25, 150, 75]),
    "visibility is no share": ("0 .5 .5 .5 .5 .4 .4 .7", "", "segment", Geometry.POLYGON, Flag.SCORE, [80, 40, 100, 50]),
    "pose declared": ("0 .5 .5 .5 .5 .9 .9 .1 .1", "kpt_shape: [2, 2]\n", "pose", Geometry.POSE, Flag.KEYPOINTS, [50, 25, 150, 75]),
    "pose and score": (
        "0 .5 .5 .5 .5 .9 .9 .1 .1 .8",
        "kpt_shape: [2, 2]\n",
        "pose",
        Geometry.POSE,
        Flag.KEYPOINTS | Flag.SCORE,
        [50, 25, 150, 75],
    ),
    "polygon, task detect": ("0 .1 .1 .9 .1 .5 .8", "task: detect\n", "detect", Geometry.POLYGON, 0, [20, 10, 180, 80]),
}


@pytest.mark.parametrize("case", TASKS)
def test_what_a_row_is(tmp_path: Path, case: str) -> None:
    """The number of values, the configuration and the looks of the rows decide between box, polygon, pose and oriented box."""
    line, yaml, task, geometry, flags, corners = TASKS[case]
    dataset = rows(tmp_path, f"{line}\n" * 3, yaml)

    assert dataset.task == task
    assert dataset.annotations.geometry.tolist() == [geometry] * 3
    assert dataset.annotations.flags.tolist() == [flags] * 3
    np.testing.assert_allclose(dataset.annotations.corners, [corners] * 3, rtol=1e-12)
    assert {p.kind for p in dataset.problems} <= {"keypoint-shape-missing"}


def test_mixed_rows_count_with_their_own_box(tmp_path: Path) -> None:
    """Boxes and polygons of any length in one file each keep their enclosing box."""
    dataset = rows(tmp_path, "0 .5 .5 .5 .5\n0 .1 .1 .9 .1 .5 .8\n0 .1 .2 .3 .4 .5 .6 .7 .8 .9 1\n1 .5 .5 .5 .5\n")

    assert dataset.annotations.geometry.tolist() == [0, 1, 1, 0]
    np.testing.assert_allclose(dataset.annotations.corners, [[50, 25, 150, 75], [20, 10, 180, 80], [20, 20, 180, 100], [50, 25, 150, 75]])


def test_rows_that_do_not_fit_kpt_shape_are_reported_once(tmp_path: Path) -> None:
    """Their box counts, and one problem says how many there are."""
    dataset = rows(tmp_path, "0 .5 .5 .5 .5 .4 .4 2\n" * 3, "kpt_shape: [2, 3]\n")

    assert dataset.n_annotations == 3 and "3 of 3 rows" in only_problem(dataset, "config-invalid").text


# Hostile input ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("data", "n", "problem"),
    [
        (b"\xef\xbb\xbf" + BOX.encode(), 1, "text-encoding"),
        (BOX.encode("utf-16"), 1, "text-encoding"),
        (("\ufeff" + BOX).encode("utf-16-be"), 1, "text-encoding"),
        (BOX.encode() + "0 .5 .5 .1 caf\xe9\n".encode("latin-1"), 1, "record-unreadable"),
        (b"\x00\x01\x02\xff" * 5000, 0, "record-unreadable"),
        (b"\xff\xfe" + b"\x00\xd8" * 9, 0, "record-unreadable"),
    ],
    ids=["bom", "utf-16", "utf-16-be", "latin-1", "binary", "broken utf-16"],
)
def test_odd_encodings(tmp_path: Path, data: bytes, n: int, problem: str) -> None:
    """Text in another encoding is read or reported, never a crash."""
    dataset = rows(tmp_path, data)

    assert dataset.n_annotations == n and problem in kinds(dataset)


@pytest.mark.parametrize(
    ("data", "n"),
    [
        (b"\n" * 10_000_000, 0),
        (b"0 0 0 1 1\n" * 1_000_000, 1_000_000),
        (b"0 " + b"0.5 " * 12_500_000, 0),
        (b"9" * 50_000_000, 0),
        (b" " * 50_000_000 + BOX.encode(), 0),
        (b"x\n" * 1_000_000, 0),
        (b"1-2 3 4 5 6\n" * 1_000_000, 0),
        (b"1-2 3 4 5 6\n0 .5 .5 1 1\n" * 100_000, 100_000),
    ],
    ids=["10M blank lines", "1M rows", "50 MB line", "50 MB number", "50 MB of blanks", "1M bad lines", "1M odd lines", "every other"],
)
@pytest.mark.slow
def test_large_hostile_files_take_linear_time(tmp_path: Path, data: bytes, n: int) -> None:
    """Huge files are read or reported in seconds."""
    plant(tmp_path, {"images/a.jpg": None, "labels/a.txt": data, "data.yaml": "train: images\nnc: 1\n"})
    started = time.process_time()
    dataset = read(tmp_path)

    assert time.process_time() - started < 30
    assert dataset.n_annotations == n
    assert n or dataset.images.label_state[0] != LabelState.UNLABELED


@pytest.mark.slow
def test_a_million_bad_lines_are_counted_exactly(tmp_path: Path) -> None:
    """A million bad lines a file are a problem each, the first thousand with a reason; what is beyond is one problem with its number."""
    dataset = rows(tmp_path, "x\n" * 1_000_010)
    problems = dataset.problems

    assert len(problems) == 1_000_001
    assert problems[999].text == "the class is not a number: x"
    assert problems[1_000].text == problems[999_999].text == "no label row; the first 1,000 such lines of this file say why"
    assert [problems[at].place.line for at in (0, 999, 1_000, 999_999, 1_000_000)] == [1, 1_000, 1_001, 1_000_000, 1_000_001]
    assert problems[-1].text == "10 more lines that are no rows"


@settings(max_examples=150, deadline=None)
@given(edits=st.lists(st.tuples(st.integers(0, 99), st.integers(0, 255)), min_size=1, max_size=4))
def test_random_edits_never_raise_and_cost_only_their_line(edits: list[tuple[int, int]], tmp_path_factory: pytest.TempPathFactory) -> None:
    """Whatever bytes a label file holds, reading does not raise, and lines that were not touched keep counting."""
    root = tmp_path_factory.mktemp("set")
    lines = [b"0 0.5 0.5 0.%d5 0.25" % number for number in range(1, 6)]
    data = bytearray(b"\n".join(lines) + b"\n")
    touched = set()
    for at, byte in edits:
        position = at % len(data)
        if data[position] == 10 or byte in (10, 13):
            continue
        touched.add(bytes(data[:position]).count(b"\n"))
        data[position] = byte
    dataset = rows(root, bytes(data))

    kept = set((dataset.annotations.line - 1).tolist())
    assert kept >= set(range(5)) - touched
    assert dataset.images.label_state[0] == LabelState.LABELED


@settings(max_examples=150, deadline=None)
@given(
    edits=st.lists(
        st.tuples(st.sampled_from(["data.yaml", "train.txt", "obj.data"]), st.integers(0, 60), st.binary(max_size=6)), max_size=5
    )
)
def test_random_edits_of_configurations_never_raise(edits: list[tuple[str, int, bytes]], tmp_path_factory: pytest.TempPathFactory) -> None:
    """Whatever a configuration or list holds, detecting and reading do not raise."""
    texts = {
        "data.yaml": b"path: .\ntrain: train.txt\nval: [images/val]\nnames:\n  0: a\n",
        "train.txt": b"images/train/a.jpg\n./images/val/b.jpg\n",
        "obj.data": b"classes = 1\ntrain = data/train.txt\nnames = obj.names\n",
    }
    for name, at, piece in edits:
        texts[name] = texts[name][:at] + piece + texts[name][at + 2 :]
    tree = walk(plant(tmp_path_factory.mktemp("set"), {"labels/train/a.txt": BOX, "labels/val/b.txt": BOX, **texts}))

    for only in (None, "data.yaml", "train.txt", "obj.data"):
        for candidate in YOLO.detect(tree, only):
            assert YOLO.claims(tree, candidate) <= set(tree.images)
            assert YOLO.read(tree, candidate).n_images <= 3


@pytest.mark.slow
def test_repeated_folders_and_long_lists_of_missing_files_stay_cheap(tmp_path: Path) -> None:
    """A split that names one folder 50,000 times, or a list of 200,000 files that are not here, is read in seconds."""
    plant(tmp_path, {f"images/{number}.jpg": None for number in range(50)} | {"labels/1.txt": BOX})
    lines = "".join(f"/some/where/far/away/on/another/machine/images/{number}.jpg\n" for number in range(200_000))
    started = time.perf_counter()
    dataset = read(tmp_path, {"data.yaml": f"train: [{'images, ' * 50_000}]\nval: val.txt\nnames: [x]\n", "val.txt": lines})

    assert time.perf_counter() - started < 30
    assert kinds(dataset) == {"listed-twice": 49_999, "listed-missing": 200_000 - 50, "path-absolute": 1, "image-in-several-splits": 2}
    assert dataset.images.in_split.all()


# Real datasets ------------------------------------------------------------------------------------------------------


def truth(data: Path, name: str) -> dict[str, object]:
    loaded: dict[str, object] = json.loads((data / "truth" / f"{name}.json").read_text())
    return loaded


def test_aquarium_equals_its_truth(shared_data: Path) -> None:
    """The Roboflow set gives the counted images, annotations, classes and splits."""
    wanted = truth(shared_data, "aquarium_yolo")
    dataset = read(shared_data / "aquarium_yolo")

    assert (dataset.n_images, dataset.n_annotations) == (wanted["n_images"], wanted["n_annotations"])
    assert list(dataset.class_names) == wanted["classes_declared"]
    counts = dataset.counts()
    assert dict(zip(dataset.class_names, counts.sum(axis=0).tolist(), strict=True)) == wanted["class_instances"]
    assert dict(zip(dataset.class_names, (counts > 0).sum(axis=0).tolist(), strict=True)) == wanted["class_images"]
    background = dataset.images.file_name[dataset.images.label_state == LabelState.BACKGROUND]
    assert list(background) == wanted["background"]
    of_split = wanted["splits"]
    assert isinstance(of_split, dict)
    found = {name: (len(images), int(dataset.annotations_in_split(at).sum())) for at, (name, images) in enumerate(splits(dataset).items())}
    names = {"valid": "val"}
    assert found == {names.get(name, name): (split["n_images"], split["n_annotations"]) for name, split in of_split.items()}
    assert not dataset.problems


def test_voc100_labels_equal_the_voc_boxes(shared_data: Path) -> None:
    """The Darknet export, with its images elsewhere, gives the same counts as the VOC original."""
    wanted = truth(shared_data, "voc100_multiformat")
    root = shared_data / "voc100_multiformat"
    prefix = "../../images"
    tree = join_trees(walk(root / "gts" / "yolo_format"), walk(root / "images", prefix), prefix)
    dataset = read_tree(tree)

    assert (dataset.n_images, dataset.n_annotations) == (wanted["n_images"], wanted["n_annotations"])
    assert dict(zip(dataset.class_names, dataset.counts().sum(axis=0).tolist(), strict=True)) == wanted["class_instances"]
    assert dataset.images.has_file.all() and not dataset.problems
