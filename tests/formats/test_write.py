"""The door for writing: one contract for all formats, what it refuses, the manifest, and what a crash leaves behind."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import dataset_doctor as dd
from dataset_doctor.dataset import Dataset
from dataset_doctor.errors import DoctorError, OutputRefused, UsageError
from dataset_doctor.files.staging import STAGED
from dataset_doctor.formats import FORMATS, disk_bytes, fingerprint, losses, read, unwritable, write
from dataset_doctor.plan import make_plan
from tests.command import run
from tests.conftest import FIXTURES
from tests.consumers import consumed, planted

PAIRS = [(source, target) for source in FORMATS for target in FORMATS if (source == "folder") == (target == "folder")]
SAME = [(name, name) for name in FORMATS]


def checksums(root: Path) -> dict[str, str]:
    """Hash every file below a folder."""
    return {
        str(path.relative_to(root)): hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(root.rglob("*")) if path.is_file()
    }


def names_in(folder: Path) -> list[str]:
    """List a folder."""
    return sorted(path.name for path in folder.iterdir())


def oversampled(dataset: Dataset) -> Dataset:
    """Repeat some images of the training split, one of them twice."""
    train = dataset.splits.index("train")
    rows = np.flatnonzero(dataset.images.in_split[:, train])
    rows = np.sort(np.concatenate([np.arange(dataset.n_images), rows[:4], rows[:1]]))
    return make_plan(dataset, rows, command="rebalance", split="train", seed=3).apply(dataset)


def halved(dataset: Dataset) -> Dataset:
    """Put every other image into another split."""
    in_split = np.zeros((dataset.n_images, 2), bool)
    in_split[np.arange(dataset.n_images), np.arange(dataset.n_images) % 2] = True
    plan = make_plan(dataset, np.arange(dataset.n_images), command="split", in_split=in_split, splits=("train", "val"))
    return plan.apply(dataset)


def per_split(dataset: Dataset) -> dict[str, tuple[int, dict[str, int]]]:
    """Count images and the instances of each class, by split."""
    table = {}
    for column, split in enumerate(dataset.splits):
        counted = dataset.annotations_in_split(column) & dataset.is_instance
        times = np.bincount(dataset.annotations.class_index[counted], minlength=len(dataset.classes)).tolist()
        table[split] = (int(dataset.images.in_split[:, column].sum()), dict(zip(dataset.class_names, times, strict=True)))
    return table


# The contract of all formats ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(("source", "target"), PAIRS)
@pytest.mark.parametrize("treat", [oversampled, halved])
def test_what_is_written_is_what_was_planned(tmp_path: Path, source: str, target: str, treat: object) -> None:
    """Splits, images and the instances of each class come back; losses and bytes are as predicted; the source is untouched."""
    before = checksums(FIXTURES / source)
    treated = treat(read(FIXTURES / source))
    written = write(treated, tmp_path / "out", target)

    assert per_split(read(tmp_path / "out")) == per_split(treated)
    assert written.loses == losses(treated, target)
    images = [path for path in (tmp_path / "out").rglob("*") if path.suffix in (".jpg", ".png")]
    assert written.disk_bytes == disk_bytes(treated, target) == sum(path.stat().st_size for path in images)
    assert written.files == sum(path.is_file() for path in (tmp_path / "out").rglob("*"))
    assert (written.root, written.plan) == (tmp_path / "out", treated.plan)
    assert checksums(FIXTURES / source) == before
    assert names_in(tmp_path) == ["out"]


@pytest.mark.parametrize(("source", "target"), PAIRS)
def test_the_same_input_gives_the_same_bytes(tmp_path: Path, source: str, target: str) -> None:
    """Two writes, wherever to, agree in every byte, the manifest included, and no file tells where anything lies on this machine."""
    (tmp_path / "elsewhere").mkdir()
    for out in (tmp_path / "one", tmp_path / "elsewhere/two"):
        write(oversampled(read(FIXTURES / source)), out, target)
    texts = [path for path in (tmp_path / "one").rglob("*") if path.suffix in (".json", ".xml", ".txt", ".yaml")]

    assert checksums(tmp_path / "one") == checksums(tmp_path / "elsewhere/two")
    assert texts and not any(str(FIXTURES).encode() in path.read_bytes() or str(tmp_path).encode() in path.read_bytes() for path in texts)


@pytest.mark.parametrize(("source", "target"), SAME)
def test_repeats_are_known_when_they_are_read(tmp_path: Path, source: str, target: str) -> None:
    """The manifest makes repeated images share their picture, and what is written from there says so again."""
    dataset = read(FIXTURES / source)
    assert not dataset.images.is_repeat.any()
    write(oversampled(dataset), tmp_path / "once")
    once = read(tmp_path / "once")
    plan = make_plan(once, np.arange(once.n_images), command="convert")
    write(plan.apply(once), tmp_path / "again")

    for out in ("once", "again"):
        found = read(tmp_path / out)
        assert found.n_images == dataset.n_images + 5 and int(found.images.is_repeat.sum()) == 5
        assert not [problem for problem in found.problems if problem.place.file == "dataset-doctor.json"]


@pytest.mark.parametrize(("source", "target"), SAME)
@pytest.mark.parametrize("mode", ["symlink", "hardlink"])
def test_links_take_no_space_and_lead_to_the_source(tmp_path: Path, source: str, target: str, mode: str) -> None:
    """Linked images are the source's own files, label files are not, and nothing counts as copied."""
    shutil.copytree(FIXTURES / source, tmp_path / "in")
    treated = oversampled(read(tmp_path / "in"))
    written = write(treated, tmp_path / "out", materialize=mode)
    images = [path for path in (tmp_path / "out").rglob("*") if path.suffix == ".jpg"]

    assert written.disk_bytes == disk_bytes(treated, None, mode) == 0
    assert images and all((path.is_symlink() if mode == "symlink" else path.stat().st_nlink > 1) for path in images)
    inodes = {path.stat().st_ino for path in (tmp_path / "in").rglob("*.jpg")}
    assert all(path.stat().st_ino in inodes for path in images)
    others = [path for path in (tmp_path / "out").rglob("*") if path.is_file() and path.suffix != ".jpg"]
    assert not any(path.is_symlink() or path.stat().st_nlink > 1 for path in others)


def test_it_is_the_door_of_the_library(tmp_path: Path) -> None:
    """The library writes with one call, by default in the dataset's own format, also what was only selected."""
    dataset = dd.read(FIXTURES / "voc")
    train = np.flatnonzero(dataset.images.in_split[:, dataset.splits.index("train")])
    dd.write(dataset.select(train[:3]), tmp_path / "some")
    dd.write(dataset, tmp_path / "all", format="yolo")

    assert dd.read(tmp_path / "some").n_images == 3
    assert dd.read(tmp_path / "all").format == "yolo"


# The manifest -------------------------------------------------------------------------------------------------------


def test_the_manifest_tells_where_everything_comes_from(tmp_path: Path) -> None:
    """It holds the plan, the options, the seed, the source's fingerprint as an audit gives it, and each image's source and repeat."""
    dataset = read(FIXTURES / "yolo")
    treated = oversampled(dataset)
    write(treated, tmp_path / "out", "coco", options={"command": "rebalance", "budget": 1.5})
    told = json.loads((tmp_path / "out/dataset-doctor.json").read_bytes())

    assert (told["schema"], told["schema_version"]) == ("dataset-doctor/manifest", 1)
    assert told["plan"] == json.loads(json.dumps(treated.plan)) and told["seed"] == 3
    assert told["options"] == {"format": "coco", "materialize": "copy", "command": "rebalance", "budget": 1.5}
    assert told["source"] == {"format": "yolo", "fingerprint": fingerprint(dataset)}
    assert told["loses"] == list(losses(treated, "coco")) and told["tool"]["name"] == "dataset-doctor-vision"
    assert [one["source"] for one in told["images"]] == treated.images.file_name.tolist()
    repeats = [one for one in told["images"] if one["repeat"]]
    assert [one["repeat"] for one in repeats] == [1, 2, 1, 1, 1] and all(one["transform"] is None for one in told["images"])
    assert repeats[0]["file"].endswith("__r1.jpg") and (tmp_path / "out" / repeats[0]["file"]).is_file()


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("{", "no manifest"),
        ('{"schema": "dataset-doctor/manifest", "schema_version": 1, "images": [{"file": 1}]}', "no manifest"),
        ('{"schema": "dataset-doctor/manifest", "schema_version": 2, "images": []}', "another kind or version"),
        ('{"schema": "other", "schema_version": 1}', "another kind or version"),
        ("[" * 100_000, "no manifest"),
        ('{"schema": "dataset-doctor/manifest", "schema_version": 1, "images": [{"file": "../../etc/passwd", "source": "x"}]}', "not here"),
        ('{"schema": "dataset-doctor/manifest", "schema_version": 1, "images": [{"file": "a.png", "source": "s"}, {"file": "b.png", "source": "s"}]}', "another size"),
    ],
)  # fmt: skip
def test_a_manifest_that_says_wrong_things_is_a_problem(tmp_path: Path, text: str, says: str) -> None:
    """A hostile or stale manifest is reported once and changes neither images nor what they show."""
    from PIL import Image

    whole = {
        "images": [{"id": 1, "file_name": "a.png"}, {"id": 2, "file_name": "b.png"}],
        "annotations": [{"id": 1, "image_id": 1, "category_id": 1, "bbox": [1, 1, 5, 5], "area": 25, "iscrowd": 0}],
        "categories": [{"id": 1, "name": "c"}],
    }
    planted(tmp_path, {"instances_train.json": json.dumps(whole), "dataset-doctor.json": text})
    Image.new("L", (20, 20)).save(tmp_path / "a.png")
    Image.new("L", (30, 20)).save(tmp_path / "b.png")
    dataset = read(tmp_path)

    assert dataset.images.picture.tolist() == [0, 1] and dataset.n_annotations == 1
    (problem,) = [problem for problem in dataset.problems if problem.place.file == "dataset-doctor.json"]
    assert problem.kind == "config-invalid" and says in problem.text


def test_a_manifest_cannot_repeat_more_than_is_listed(tmp_path: Path) -> None:
    """A manifest that states a million repeats makes no rows: only what a label file lists again becomes one, and as often as stated."""
    entry = {"file_name": "a.png", "width": 80, "height": 60}
    whole = {
        "images": [{"id": k, **entry} for k in range(1, 5)],
        "annotations": [{"id": k, "image_id": k, "category_id": 1, "bbox": [1, 1, 5, 5], "area": 25, "iscrowd": 0} for k in range(1, 5)],
        "categories": [{"id": 1, "name": "c"}],
    }
    stated = [{"file": "a.png", "source": "a.png", "repeat": k} for k in range(3)]
    more = [{"file": "b.png", "source": "b.png", "repeat": k} for k in range(10_000)]
    manifest = {"schema": "dataset-doctor/manifest", "schema_version": 1, "options": {"materialize": "list"}, "images": stated + more}
    files = {"instances_train.json": json.dumps(whole), "dataset-doctor.json": json.dumps(manifest), "a.png": ""}
    dataset = read(planted(tmp_path, files))

    assert dataset.n_images == 3 and dataset.images.picture.tolist() == [0, 0, 0]
    assert np.bincount(dataset.annotations.image).tolist() == [2, 1, 1]
    assert [problem.kind for problem in dataset.problems if problem.kind == "listed-twice"] == ["listed-twice"]


# What is refused ----------------------------------------------------------------------------------------------------


@pytest.fixture
def dataset(tmp_path: Path) -> Dataset:
    shutil.copytree(FIXTURES / "coco", tmp_path / "in")
    return read(tmp_path / "in")


@pytest.fixture
def unharmed(tmp_path: Path, dataset: Dataset) -> Iterator[None]:
    """Everything below the test's folder is afterwards as it was when the test began, the source included."""
    (tmp_path / "full").mkdir()
    (tmp_path / "full/thesis.txt").write_text("ten years")
    before = checksums(tmp_path)
    yield
    assert checksums(tmp_path) == before
    assert not list(tmp_path.rglob(f"{STAGED}*"))


@pytest.mark.usefixtures("unharmed")
@pytest.mark.parametrize(
    ("out", "says"),
    [
        ("in/out", "lies in the dataset itself"),
        ("in", "lies in the dataset itself"),
        (".", "holds the dataset"),
        ("full", "is not empty"),
        ("full/thesis.txt", "is no folder"),
        ("nowhere/out", "does not exist"),
        ("full/\0", "not accept"),
        ("full/" + "x" * 300, "too long"),
    ],
)
def test_places_that_must_not_be_written_to(tmp_path: Path, dataset: Dataset, out: str, says: str) -> None:
    """A place in or around the source, one that holds anything, and one that cannot be are refused before anything is written."""
    with pytest.raises(OutputRefused, match=says):
        write(dataset, f"{tmp_path}/{out}")


@pytest.mark.usefixtures("unharmed")
def test_a_link_into_the_source_is_no_way_around(tmp_path: Path, dataset: Dataset) -> None:
    """A path that only looks as if it were outside is followed before it is judged; a link is no folder."""
    (tmp_path / "door").symlink_to(tmp_path / "in", target_is_directory=True)
    (tmp_path / "way").symlink_to(tmp_path / "full", target_is_directory=True)
    for out, says in (("door/out", "lies in the dataset itself"), ("way", "no folder")):
        with pytest.raises(OutputRefused, match=says):
            write(dataset, tmp_path / out, force=True)
    (tmp_path / "door").unlink()
    (tmp_path / "way").unlink()


def test_force_replaces_the_whole_folder(tmp_path: Path, dataset: Dataset) -> None:
    """With force what was there is gone; an empty folder needs no force."""
    (tmp_path / "full").mkdir()
    (tmp_path / "full/thesis.txt").write_text("ten years")
    (tmp_path / "empty").mkdir()
    write(dataset, tmp_path / "full", force=True)
    write(dataset, tmp_path / "empty")

    assert checksums(tmp_path / "full") == checksums(tmp_path / "empty")
    assert not (tmp_path / "full/thesis.txt").exists()


@pytest.mark.usefixtures("unharmed")
@pytest.mark.parametrize(
    ("format", "mode", "says"),
    [
        ("cocoa", "copy", "format cocoa is not known"),
        (None, "move", 'materialize="move" is not known'),
        ("folder", "copy", "one class an image"),
        ("voc", "list", "can name an image twice"),
    ],
)
def test_what_does_not_go_together(tmp_path: Path, dataset: Dataset, format: str | None, mode: str, says: str) -> None:
    """Unknown formats and modes, and those that cannot be combined, are refused with what is possible."""
    with pytest.raises(UsageError, match=says) as told:
        write(dataset, tmp_path / "out", format, materialize=mode)
    with pytest.raises(UsageError, match=says):
        disk_bytes(dataset, format, mode)

    assert told.value.hint


@pytest.mark.usefixtures("unharmed")
def test_a_difference_on_reading_back_stops_the_write(tmp_path: Path, dataset: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where a writer loses a record, the reader notices before anything is put in place."""
    whole = FORMATS["coco"].write

    def careless(given: Dataset, stage: object, **options: object) -> list[str]:
        names = whole(given, stage, **options)
        file = next(stage.root.rglob("*train*.json"))
        text = json.loads(file.read_bytes())
        text["annotations"].pop()
        file.write_text(json.dumps(text))
        return names

    monkeypatch.setitem(FORMATS, "coco", dataclasses.replace(FORMATS["coco"], write=careless))
    with pytest.raises(DoctorError, match=r"readers would not see the same as COCO: .* annotations in the split train"):
        write(dataset, tmp_path / "out")


def test_records_that_formats_cannot_hold(tmp_path: Path) -> None:
    """Each kind of record is named for the formats that cannot hold it, and for no other."""
    ring = [[10, 10, 30, 10, 30, 30]]
    rows = [
        {"bbox": [1, 1, 5, 5]},
        {"bbox": [1, 1, 0, 5]},
        {"bbox": [1, 1, 5]},
        {"bbox": [75, 1, 9, 5]},
        {"bbox": [75, 1, 6, 5]},
        {"bbox": [1, 1, 5, 5], "category_id": 9},
        {"bbox": [10, 10, 20, 20], "segmentation": ring},
        {"bbox": [10, 10, 20, 20], "segmentation": [[10, 10, 30, 30]]},
        {"bbox": [10, 10, 20, 20], "segmentation": {"size": [60, 80], "counts": [1]}},
        {"bbox": [10, 10, 20, 20], "segmentation": ring},
        {"bbox": [10, 10, 20, 20], "segmentation": ring},
        {"bbox": [10, 10, 20, 20], "segmentation": ring},
        {"bbox": [10, 10, 20, 20], "segmentation": ring},
    ]
    records = [{"id": k + 1, "image_id": 1, "category_id": 1, "area": 25, "iscrowd": 0, **row} for k, row in enumerate(rows)]
    whole = {
        "images": [{"id": 1, "file_name": "a.png", "width": 80, "height": 60}],
        "annotations": records,
        "categories": [{"id": 1, "name": "c"}],
    }
    dataset = read(planted(tmp_path / "in", {"instances_train.json": json.dumps(whole), "a.png": ""}))

    assert dataset.task == "segment"
    assert unwritable(dataset, "coco").tolist() == [1, 2, 5, 7, 8]
    assert unwritable(dataset, "voc").tolist() == [1, 2, 3, 5]
    assert unwritable(dataset, "yolo").tolist() == [1, 2, 3, 5, 7, 8]


def test_losses_are_told_in_sentences(tmp_path: Path) -> None:
    """Crowds, masks, ids and flags that the target has no place for are counted; the same format loses nothing."""
    records = [
        {"id": 1, "image_id": 1, "category_id": 1, "bbox": [1, 1, 5, 5], "area": 25, "iscrowd": 1},
        {"id": 2, "image_id": 1, "category_id": 1, "bbox": [1, 1, 5, 5], "area": 25, "iscrowd": 0, "score": 0.5},
    ]
    whole = {
        "images": [{"id": 1, "file_name": "a.png"}, {"id": 2, "file_name": "b.png"}],
        "annotations": records,
        "categories": [{"id": 1, "name": "c"}],
    }
    dataset = read(planted(tmp_path / "in", {"instances_train.json": json.dumps(whole), "a.png": "", "b.png": ""}))
    told = "\n".join(losses(dataset, "yolo"))
    written = write(dataset, tmp_path / "out", "yolo")

    assert losses(dataset, "coco") == ()
    assert "1 crowd region: YOLO has none; they are left out." in told and "1 score:" in told and "ids" in told
    assert written.loses == losses(dataset, "yolo") and read(tmp_path / "out").n_annotations == 1


@pytest.mark.parametrize("target", ["voc", "yolo"])
def test_an_image_of_two_splits_has_the_labels_of_each(tmp_path: Path, target: str) -> None:
    """Where two COCO files describe one image differently, each split gets it with its own labels, and not as a stated repeat."""
    record = {"id": 1, "image_id": 1, "category_id": 1, "bbox": [1, 1, 5, 5], "area": 25, "iscrowd": 0}
    whole = {
        "images": [{"id": 1, "file_name": "a.png", "width": 80, "height": 60}],
        "annotations": [record],
        "categories": [{"id": 1, "name": "c"}],
    }
    other = {**whole, "annotations": [record, {**record, "id": 2, "bbox": [20, 20, 9, 9]}]}
    files = {"instances_train.json": json.dumps(whole), "instances_val.json": json.dumps(other), "a.png": ""}
    dataset = read(planted(tmp_path / "in", files))
    written = write(dataset, tmp_path / "out", target)
    found = read(tmp_path / "out")

    assert dataset.n_images == 1 and per_split(found) == per_split(dataset) == {"train": (1, {"c": 1}), "val": (1, {"c": 2})}
    assert (
        not found.images.is_repeat.any() and written.disk_bytes == disk_bytes(dataset, target) == 2 * (tmp_path / "in/a.png").stat().st_size
    )


# Names --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("target", ["coco", "voc", "yolo"])
def test_hostile_names_become_safe_ones(tmp_path: Path, target: str) -> None:
    """Names that collide when folders are flattened, that hold line ends, quotes, escapes, no UTF-8, or are too long, all stay apart."""
    names = [
        "one/a.png", "two/a.png", "two/A.png", "one_a.png", "line\nend.png", "line_end.png", "esc\x1b[31m.png", "quote\"'<&>.png", " space .png",
        "caf\u00e9.png", "-rf.png", "x/" + "y" * 250 + ".png", "z/" + "y" * 250 + ".png", "a b#c.png", "100%.png",
    ]  # fmt: skip
    entries = [{"id": k + 1, "file_name": name, "width": 80, "height": 60} for k, name in enumerate(names)]
    records = [
        {"id": k + 1, "image_id": k + 1, "category_id": 1, "bbox": [1, 1, 5 + k, 5], "area": 25, "iscrowd": 0} for k in range(len(names))
    ]
    whole = {"images": entries, "annotations": records, "categories": [{"id": 1, "name": "c"}]}
    root = planted(tmp_path / "in", {"instances_train.json": json.dumps(whole), **{f"images/{name}": "" for name in names}})
    bad = os.fsdecode(os.fsencode(root / "images") + b"/bad\xff.png")
    shutil.copy(root / "images/100%.png", bad)
    dataset = read(root)
    assert dataset.images.has_file.all()
    in_split = np.ones((dataset.n_images, 1), bool)
    plan = make_plan(dataset, np.arange(dataset.n_images), command="split", in_split=in_split, splits=("train",))
    write(plan.apply(dataset), tmp_path / "out", target)
    found = read(tmp_path / "out")
    told = json.loads((tmp_path / "out/dataset-doctor.json").read_bytes())

    assert found.images.has_file.all() and found.n_images == len(names)
    bases = [Path(one["file"]).stem.casefold() for one in told["images"]]
    assert not any("__r" in base for base in bases), "two images were taken for one"
    assert len(set(bases)) == len(names) and not any(ord(letter) < 32 for base in bases for letter in base)
    for one in told["images"]:
        assert (tmp_path / "out" / one["file"]).read_bytes() == (root / one["source"]).read_bytes()


def test_images_that_are_links_are_copied_as_files(tmp_path: Path) -> None:
    """A link to an image outside the source becomes a file of its own; a label file that leads outside is not read."""
    planted(tmp_path / "far", {"a.png": ""})
    whole = {
        "images": [{"id": 1, "file_name": "a.png", "width": 80, "height": 60}],
        "annotations": [{"id": 1, "image_id": 1, "category_id": 1, "bbox": [1, 1, 5, 5], "area": 25, "iscrowd": 0}],
        "categories": [{"id": 1, "name": "c"}],
    }
    root = planted(tmp_path / "in", {"instances_train.json": json.dumps(whole)})
    (root / "a.png").symlink_to(tmp_path / "far/a.png")
    dataset = read(root)
    write(dataset, tmp_path / "out")
    assert not (tmp_path / "out/a.png").is_symlink()

    (tmp_path / "far/labels.json").write_text(json.dumps(whole))
    (root / "instances_train.json").unlink()
    (root / "instances_train.json").symlink_to(tmp_path / "far/labels.json")
    with pytest.raises(DoctorError, match="has changed since it was read: a link that leads outside"):
        write(dataset, tmp_path / "again")
    assert not (tmp_path / "again").exists()


def test_an_image_that_is_gone_stops_the_write(tmp_path: Path) -> None:
    """A file that vanished since reading is named, and nothing is left behind."""
    shutil.copytree(FIXTURES / "coco", tmp_path / "in")
    dataset = read(tmp_path / "in")
    (tmp_path / "in" / dataset.images.file_name[3]).unlink()
    with pytest.raises(OutputRefused, match=dataset.images.file_name[3]):
        write(dataset, tmp_path / "out")

    assert names_in(tmp_path) == ["in"]


# Disks and crashes --------------------------------------------------------------------------------------------------


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of its own that holds 64 KiB."""
    place = tmp_path / "disk"
    place.mkdir()
    if not sys.platform.startswith("linux") or os.geteuid() != 0 or not shutil.which("mount"):
        pytest.skip("only root can mount a small disk")
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(place)], capture_output=True, check=False).returncode:
        pytest.skip("this system does not let root mount a small disk")
    try:
        yield place
    finally:
        subprocess.run(["umount", str(place)], check=False)


@pytest.mark.parametrize(("source", "target"), PAIRS)
def test_a_full_disk_leaves_nothing_behind(small_disk: Path, source: str, target: str) -> None:
    """Where the disk fills up, the error says so, and the disk is empty again."""
    before = checksums(FIXTURES / source)
    with pytest.raises(OutputRefused, match=r"(?i)disk is full|no space left"):
        write(oversampled(read(FIXTURES / source)), small_disk / "out", target)

    assert names_in(small_disk) == []
    assert checksums(FIXTURES / source) == before


def test_a_hard_link_to_another_disk_is_refused(small_disk: Path) -> None:
    """The error names what does not work and the two ways that do."""
    with pytest.raises(OutputRefused, match="another file system") as told:
        write(read(FIXTURES / "coco"), small_disk / "out", materialize="hardlink")

    assert 'materialize="copy" or materialize="symlink"' in told.value.hint and names_in(small_disk) == []


KILLER = """
import hashlib, json, os, pathlib, random, signal, sys, time
from dataset_doctor.formats import read, write

def checksums(root):
    files = sorted(path for path in root.rglob("*") if path.is_file())
    return {str(path.relative_to(root)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}

source, out = map(pathlib.Path, sys.argv[1:])
before, whole, pick, told = checksums(source), checksums(out), random.Random(0), []
dataset = read(source)
for _ in range(50):
    child = os.fork()  # starting Python anew each time would take a minute
    if child == 0:
        while True:
            write(dataset, out, force=True)
    time.sleep(pick.uniform(0.005, 0.15))
    os.kill(child, signal.SIGKILL)
    killed = os.WIFSIGNALED(os.waitpid(child, 0)[1])
    there = checksums(out) if out.exists() else {}
    state = "whole" if there == whole else "nothing" if not there else "half"
    told.append([killed, state, checksums(source) == before, len(list(out.parent.glob(".dataset-doctor-*")))])
print(json.dumps(told))
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork")
@pytest.mark.slow
def test_a_kill_at_any_moment_leaves_a_whole_dataset(tmp_path: Path) -> None:
    """Killed at 50 random moments while it replaces a dataset over and over: a whole one is there, the source is as before, leftovers go."""
    shutil.copytree(FIXTURES / "coco", tmp_path / "in")
    write(read(tmp_path / "in"), tmp_path / "out")
    whole = checksums(tmp_path / "out")
    told = consumed(KILLER, tmp_path / "scratch", tmp_path / "in", tmp_path / "out")

    allowed = ("whole",) if sys.platform == "linux" else ("whole", "nothing")
    assert len(told) == 50 and all(killed and state in allowed and unharmed for killed, state, unharmed, _ in told)
    assert any(left for *_, left in told), "no kill fell into a write"
    assert all(left <= 1 for *_, left in told)
    write(read(tmp_path / "in"), tmp_path / "out", force=True)
    assert checksums(tmp_path / "out") == whole and not list(tmp_path.glob(f"{STAGED}*"))


# The whole way ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("source", "target"), SAME)
@pytest.mark.slow(but="coco-coco")
def test_stated_repeats_are_no_findings(tmp_path: Path, source: str, target: str) -> None:
    """An audit of an oversampled dataset, pixels included, finds nothing about copies, and tells images from pictures."""
    dataset = read(FIXTURES / source)
    write(oversampled(dataset), tmp_path / "out")
    reports = [json.loads(run("audit", str(path), "--json").stdout) for path in (FIXTURES / source, tmp_path / "out")]
    before, after = ({finding["name"] for finding in report["findings"]} for report in reports)

    assert after <= before
    assert reports[1]["summary"]["images"] == dataset.n_images + 5
    assert reports[1]["summary"]["distinct_images"] == dataset.n_images


def test_stated_repeats_of_exported_pictures_are_no_copies_of_a_source(tmp_path: Path) -> None:
    """A repeat keeps the name that Roboflow gave its picture, and is no export of its own."""
    root = tmp_path / "exported"
    for kind in ("images", "labels"):
        (root / kind / "train").mkdir(parents=True)
    for at in range(6):
        stem = f"IMG_{at}_jpg.rf.0a1b2c3d4e{at}"
        Image.new("RGB", (64, 48), (40 * at, 90, 120)).save(root / "images/train" / f"{stem}.jpg")
        (root / "labels/train" / f"{stem}.txt").write_text("0 .5 .5 .4 .4\n")
    (root / "data.yaml").write_text("train: images/train\nnames: [dog]\n")
    write(oversampled(read(root)), tmp_path / "out")

    found = json.loads(run("audit", str(tmp_path / "out"), "--json", "--no-pixels").stdout)["findings"]

    assert "copies-of-one-source" not in {finding["name"] for finding in found}


def test_boxes_survive_the_tour_of_the_formats(tmp_path: Path, shared_data: Path) -> None:
    """VOC to COCO to YOLO to VOC keeps the class table exactly and every box within half a pixel, here to the last digit."""
    folder = shared_data / "voc100_multiformat"
    first = read(folder / "gts/pascalvoc_format", images=folder / "images")
    dataset = first
    for step, target in enumerate(("coco", "yolo", "voc")):
        write(dataset, tmp_path / str(step), target)
        dataset = read(tmp_path / str(step))

    def boxes(one: Dataset) -> list[tuple[object, ...]]:
        stems = [Path(name).stem for name in one.images.file_name[one.annotations.image]]
        names = [one.class_names[index] for index in one.annotations.class_index]
        return sorted(zip(stems, names, map(tuple, one.boxes.tolist()), strict=True))

    assert first.n_annotations == 273 and per_split(dataset) == per_split(first)
    assert boxes(dataset) == boxes(first)
