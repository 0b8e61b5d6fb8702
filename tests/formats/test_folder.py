"""Image folders: which folders are classes, splits or neither."""

from __future__ import annotations

import json
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest

from dataset_doctor.dataset import Dataset, LabelState
from dataset_doctor.files.tree import Tree, walk
from dataset_doctor.formats import folder


def picture(name: str) -> bytes:
    """Write a picture of 6 × 4 pixels in the format of a name's suffix."""
    if name.endswith(".ppm"):
        return b"P6 6 4 255\n" + bytes(6 * 4 * 3)

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", 6, 4, 8, 0, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(bytes(4 * 7))) + chunk(b"IEND", b"")


def make(root: Path, *names: str) -> Tree:
    """Write files, pictures by their suffix, and folders for names that end in a slash; list them."""
    root.mkdir(exist_ok=True)
    for name in names:
        path = root / name
        if name.endswith("/"):
            path.mkdir(parents=True)
        else:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(picture(name) if path.suffix in (".png", ".ppm", ".jpg") else b"")
    return walk(root)


def read(tree: Tree, **options: tuple[str, ...]) -> Dataset:
    """Read the one folder dataset of a tree."""
    (candidate,) = folder.detect(tree)
    return folder.read(tree, candidate, **options)


def counts(dataset: Dataset) -> dict[str, int]:
    """Count the instances of each class."""
    return {name: int(n) for name, n in zip(dataset.class_names, np.asarray(dataset.counts().sum(axis=0)).ravel(), strict=True)}


def test_a_folder_is_a_class_and_an_image_an_instance(tmp_path: Path) -> None:
    """Every image is one labeled annotation of its folder's class, nested folders included, without a box."""
    dataset = read(make(tmp_path, "dog/1.png", "dog/puppies/2.png", "cat/3.png"))

    assert counts(dataset) == {"cat": 1, "dog": 2}
    assert list(dataset.images.file_name) == ["cat/3.png", "dog/1.png", "dog/puppies/2.png"]
    assert dataset.annotations.class_index.tolist() == [0, 1, 1]
    assert dataset.annotations.class_id.tolist() == ["cat", "dog", "dog"]
    assert np.isnan(dataset.annotations.corners).all()
    assert dataset.images.label_state.tolist() == [LabelState.LABELED] * 3
    assert dataset.images.file_width.tolist() == [6, 6, 6]
    assert (dataset.sources, dataset.annotations.source.tolist()) == (("cat", "dog"), [0, 1, 1])
    assert (dataset.splits, dataset.task, dataset.problems) == (("all",), "classify", ())


def test_split_folders_hold_class_folders(tmp_path: Path) -> None:
    """Classes of all splits unite, by name and case; a class that one split lacks keeps its index."""
    dataset = read(make(tmp_path, "train/cat/1.png", "train/dog/2.png", "validation/dog/3.png", "validation/Cat/4.png", "test/dog/5.png"))

    assert dataset.splits == ("train", "val", "test")
    assert dataset.split_spelling == ("train", "validation", "test")
    assert dataset.class_names == ("Cat", "cat", "dog")
    assert dict(zip(dataset.images.file_name, dataset.images.in_split.tolist(), strict=True)) == {
        "test/dog/5.png": [False, False, True],
        "train/cat/1.png": [True, False, False],
        "train/dog/2.png": [True, False, False],
        "validation/Cat/4.png": [False, True, False],
        "validation/dog/3.png": [False, True, False],
    }


def test_one_class_in_one_split_is_enough(tmp_path: Path) -> None:
    """Below a split folder one class folder is a dataset with that split."""
    dataset = read(make(tmp_path, "train/cat/1.png"))

    assert (dataset.splits, dataset.class_names) == (("train",), ("cat",))


@pytest.mark.parametrize("prefix", ["images/", "archive/photos/", ""], ids=["images", "nested", "itself"])
def test_class_folders_are_found_from_above(tmp_path: Path, prefix: str) -> None:
    """Pointing at the folder above, beside a table, gives the same dataset as pointing at the class folders."""
    dataset = read(make(tmp_path, f"{prefix}cat/1.png", f"{prefix}dog/2.png", "images.csv"))

    assert (dataset.class_names, dataset.splits, dataset.problems) == (("cat", "dog"), ("all",), ())


def test_traffic_signs_in_ppm_with_a_table_in_each_folder(tmp_path: Path) -> None:
    """GTSRB's layout: numbered folders of .ppm with a CSV file, which is no image."""
    dataset = read(make(tmp_path, *(f"{label:05d}/0000{n}.ppm" for label in (0, 1, 12) for n in (0, 1)), "00000/GT-00000.csv"))

    assert counts(dataset) == {"00000": 2, "00001": 2, "00012": 2}
    assert dataset.images.file_height.tolist() == [4] * 6


def test_images_in_no_class_folder_are_orphans(tmp_path: Path) -> None:
    """An image directly in the root or a split folder, or beside the splits, is a problem and no image of the dataset."""
    many = [f"train/cat/{n}.png" for n in range(9)] + ["val/cat/v.png"]
    dataset = read(make(tmp_path, *many, "train/loose.png", "top.png"))

    assert [(problem.kind, problem.place.file) for problem in dataset.problems] == [
        ("image-orphan", "top.png"),
        ("image-orphan", "train/loose.png"),
    ]
    assert dataset.n_images == 10


def test_an_empty_folder_is_a_class_with_zeros(tmp_path: Path) -> None:
    """A class folder without files is declared; a folder of other files is no class."""
    dataset = read(make(tmp_path, "train/cat/1.png", "train/dog/2.png", "val/cat/3.png", "val/emu/", "train/fox/.keep", "train/docs/a.md"))

    assert counts(dataset) == {"cat": 2, "dog": 1, "emu": 0, "fox": 0}


def test_hidden_and_junk_folders_are_no_classes(tmp_path: Path) -> None:
    """Checkpoints and archives' remains are passed over."""
    tree = make(tmp_path, "cat/1.png", "dog/2.png", ".thumbnails/3.png", ".ipynb_checkpoints/4.png", "__MACOSX/5.png", "cat/.cache/6.png")

    assert counts(read(tree)) == {"cat": 1, "dog": 1}


def test_given_classes_order_the_columns(tmp_path: Path) -> None:
    """A folder that the given names leave out is an undeclared class."""
    dataset = read(make(tmp_path, "cat/1.png", "dog/2.png", "emu/3.png"), classes=("dog", "cat"))

    assert dataset.class_names == ("dog", "cat")
    assert dataset.annotations.class_index.tolist() == [1, 0, -1]
    assert dataset.annotations.class_id.tolist() == ["cat", "dog", "emu"]


@pytest.mark.parametrize(
    "names",
    [
        ("1.png", "2.png"),
        ("cat/1.png", "cat/2.png"),
        ("images/1.png", "masks/1.png"),
        ("train/images/1.png", "train/labels/1.txt", "val/images/2.png"),
        ("train/1.png", "val/2.png"),
        ("cat/1.png", "dog/2.png", "3.png"),
        ("a/1.png", "a/1.txt", "b/2.png", "b/2.txt"),
        ("notes.txt",),
    ],
    ids=["flat", "one class", "kinds of files", "yolo", "splits only", "too many outside", "label files", "no images"],
)
def test_other_trees_are_no_class_folders(tmp_path: Path, names: tuple[str, ...]) -> None:
    """Folders that name kinds of files, single folders, and images with labels beside them are not classes."""
    assert folder.detect(make(tmp_path, *names)) == []


def test_folders_of_class_folders_are_datasets_of_their_own(tmp_path: Path) -> None:
    """Whether the classes lie in splits or in a folder of images; a hierarchy of classes stays one dataset."""
    tree = make(tmp_path / "a", "first/train/cat/1.png", "second/images/cat/2.png", "second/images/dog/3.png")
    kinds = make(tmp_path / "b", "animals/cat/1.png", "animals/dog/2.png", "vehicles/car/3.png", "vehicles/bus/4.png")

    assert [found.root for found in folder.detect(tree)] == ["first", "second/images"]
    assert [(found.root, found.variant) for found in folder.detect(kinds)] == [("", "class folders")]


def test_no_file_stands_for_class_folders(tmp_path: Path) -> None:
    """Pointing at a file is never this format."""
    assert folder.detect(make(tmp_path, "cat/1.png", "dog/2.png", "a.csv"), "a.csv") == []


def test_claims_are_the_images_in_class_folders(tmp_path: Path) -> None:
    """A loose image is not claimed."""
    tree = make(tmp_path, *(f"cat/{n}.png" for n in range(4)), *(f"dog/{n}.png" for n in range(4)), "loose.png")
    (candidate,) = folder.detect(tree)

    assert folder.claims(tree, candidate) == set(tree.images) - {"loose.png"}


@pytest.mark.parametrize("part", ["clothing64/images", "clothing64"])
def test_clothing_is_read_as_its_truth_says(shared_data: Path, part: str) -> None:
    """Twenty classes of a real dataset, from the class folders and from above."""
    dataset = read(walk(shared_data / part))
    truth = json.loads((shared_data / "truth" / "clothing64.json").read_text())

    assert dataset.n_images == dataset.n_annotations == truth["n_images"]
    assert counts(dataset) == truth["class_images"]
    assert dataset.class_names == tuple(sorted(truth["class_images"]))
    width = dataset.images.file_width
    assert (width.min(), np.median(width), width.max()) == tuple(
        truth["images"]["size_file"]["width"][key] for key in ("min", "median", "max")
    )
    assert dataset.splits == ("all",)
    assert dataset.problems == ()
