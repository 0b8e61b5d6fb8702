"""rebalance, split and convert as a user runs them: the plan is what is written, and the source is never touched."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest

from tests.command import run


@pytest.fixture(scope="module")
def park(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small good dataset of each format, as the demonstration draws it."""
    folder = tmp_path_factory.mktemp("park")
    for name in ("coco", "voc", "yolo", "folder"):
        assert run("demo", folder / name, "--format", name).returncode == 0
    return folder


def checksum(folder: Path) -> str:
    """Hash all files under a folder, names and contents."""
    digest = hashlib.sha256()
    for path in sorted(p for p in folder.rglob("*") if p.is_file()):
        digest.update(str(path.relative_to(folder)).encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()


def tables(folder: Path, *options: str) -> dict[str, dict[str, int]]:
    """Audit a folder; give the instances of each class in each split."""
    report = json.loads(run("audit", folder, "--no-pixels", "--json", *options).stdout)
    return {c["name"]: {name: row["instances"] for name, row in c["splits"].items()} for c in report["classes"]}


@pytest.mark.parametrize("format", ["coco", "voc", "yolo", "folder"])
def test_what_is_planned_is_what_is_written(park: Path, tmp_path: Path, format: str) -> None:
    """The rehearsal, the plan printed after writing and an audit of the result agree; the source is as before."""
    source = park / format / "clean"
    before = checksum(source)
    command = ("rebalance", source, tmp_path / "out", "--method", "class_aware", "--json")

    rehearsed = run(*command, "--dry-run")
    assert rehearsed.returncode == 0, rehearsed.stderr
    assert not (tmp_path / "out").exists()
    written = run(*command)
    plan = json.loads(written.stdout)

    assert rehearsed.stdout == written.stdout
    assert plan["epoch_images"] > 0 and plan["schema"] == "dataset-doctor/plan"
    after = tables(tmp_path / "out")
    assert {c["name"]: c["after"] for c in plan["classes"]} == {name: splits[plan["split"]] for name, splits in after.items()}
    assert json.loads((tmp_path / "out" / "dataset-doctor.json").read_text())["plan"] == plan
    assert checksum(source) == before


@pytest.mark.parametrize("format", ["coco", "voc", "yolo", "folder"])
def test_a_split_puts_every_image_in_one_split(park: Path, tmp_path: Path, format: str) -> None:
    """Instances add up to what there was, and the two splits have their share."""
    source = park / format / "clean"

    done = run("split", source, tmp_path / "out", "--ratios", "70/30", "--group-by", "none", "--json")

    assert done.returncode == 0, done.stderr
    plan = json.loads(done.stdout)
    assert {c["name"]: c["splits"] for c in plan["classes"]} == tables(tmp_path / "out")
    sizes = {s["name"]: s["images_after"] for s in plan["splits"] if s["images_after"]}
    total = sum(sizes.values())
    assert set(sizes) == {"train", "val"} and abs(sizes["train"] - 0.7 * total) <= 1
    assert {n: sum(s.values()) for n, s in tables(tmp_path / "out").items()} == {n: sum(s.values()) for n, s in tables(source).items()}


@pytest.mark.parametrize(("source", "target"), [("coco", "voc"), ("voc", "yolo"), ("yolo", "coco"), ("coco", "yolo")])
def test_conversion_keeps_the_class_table(park: Path, tmp_path: Path, source: str, target: str) -> None:
    """Every class counts the same in every split after the conversion, in whatever order."""
    done = run("convert", park / source / "clean", tmp_path / "out", "--to", target)

    assert done.returncode == 0, done.stderr
    before, after = tables(park / source / "clean"), tables(tmp_path / "out")
    assert {name: counts for name, counts in before.items() if any(counts.values())} == {
        name: counts for name, counts in after.items() if any(counts.values())
    }


def test_a_split_shows_how_its_classes_are_divided(park: Path, tmp_path: Path) -> None:
    """A column a split, at 80 columns."""
    told = run("split", park / "yolo" / "clean", tmp_path / "out", "--group-by", "none", "--dry-run").stdout.splitlines()

    head = next(line for line in told if line.startswith(" class"))
    assert head.split() == ["class", "all", "train", "val", "test"]
    rows = [line.split() for line in told[told.index(head) + 1 :]]
    counts = [[int(word.replace(",", "")) for word in words[1:5]] for words in rows[: rows.index([])]]
    assert counts and all(whole == sum(parts) for whole, *parts in counts)
    assert max(map(len, told)) <= 80


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (("--method", "overample"), "oversample"),
        (("--target", "floor:-1"), "floor"),
        (("--background", "many"), "background"),
        (("--split", "trian"), "train"),
        (("--recommendation", "R1"), "--from-report"),
        (("--budget", "-1"), "budget"),
    ],
)
def test_wrong_arguments_are_told_and_nothing_is_written(park: Path, tmp_path: Path, arguments: tuple[str, str], complaint: str) -> None:
    """Exit 2, nothing on stdout, no output, no traceback."""
    done = run("rebalance", park / "yolo" / "clean", tmp_path / "out", *arguments)

    assert done.returncode == 2 and done.stdout == ""
    assert complaint in done.stderr and "Traceback" not in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_an_output_that_is_there_or_lies_in_the_source_is_refused(park: Path, tmp_path: Path) -> None:
    """A folder with something in it needs --force; the dataset itself is never written to."""
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine.txt").write_text("mine")
    source = park / "yolo" / "clean"

    refused = run("convert", source, tmp_path / "out", "--to", "coco")
    inside = run("convert", source, source / "out", "--to", "coco")

    assert refused.returncode == inside.returncode == 2
    assert (tmp_path / "out" / "mine.txt").read_text() == "mine" and not (source / "out").exists()
    assert run("convert", source, tmp_path / "out", "--to", "coco", "--force").returncode == 0


def test_a_report_of_another_dataset_is_refused(park: Path, tmp_path: Path) -> None:
    """A recommendation holds for the dataset it was made for."""
    run("audit", park / "coco" / "clean", "--no-pixels", "-o", tmp_path / "audit.json")

    done = run("rebalance", park / "yolo" / "clean", tmp_path / "out", "--from-report", tmp_path / "audit.json")

    assert done.returncode == 2 and "another dataset" in done.stderr


@pytest.mark.parametrize(
    ("name", "options"), [("bccd_voc", ("--allow-errors",)), ("aquarium_yolo", ()), ("clothing64", ("--materialize", "hardlink"))]
)
def test_a_recommendation_predicts_what_rebalance_writes(name: str, options: tuple[str, ...], shared_data: Path, tmp_path: Path) -> None:
    """audit, rebalance --from-report, audit: the class table is the predicted one, on real datasets."""
    run("audit", shared_data / name, "--no-pixels", "-o", tmp_path / "audit.json")
    report = json.loads((tmp_path / "audit.json").read_text())
    commands = [r for r in report["recommendations"] if r["command"] and r["command"].startswith("dataset-doctor rebalance")]
    usable = [r for r in commands if r["expected"]]  # pictures that are made anew are planned when they are asked for
    chosen = ("--from-report", tmp_path / "audit.json") if usable else ("--method", "repeat_factor")

    done = run("rebalance", shared_data / name, tmp_path / "out", *chosen, *options, "--json", timeout=300)

    if (done.returncode and "cross" in done.stderr.lower()) or "another file system" in done.stderr:
        pytest.skip("the data lies on another file system, where no hard link leads")
    assert done.returncode == 0, done.stderr
    plan = json.loads(done.stdout)
    after = tables(tmp_path / "out")
    assert {c["name"]: c["after"] for c in plan["classes"]} == {label: splits[plan["split"]] for label, splits in after.items()}
    if usable and not plan["dropped"]["records_with_errors"]:
        assert [(c["name"], c["after"]) for c in plan["classes"]] == [(c["name"], c["after"]) for c in usable[0]["expected"]["classes"]]


def test_coco_in_list_mode_repeats_records_and_brings_no_image(shared_data: Path, tmp_path: Path) -> None:
    """COCO val2017: the audit of the list counts repeats as images, and the pictures behind them as they are."""
    done = run("rebalance", shared_data / "coco_val2017_boxes", tmp_path / "out", "--method", "repeat_factor", "--materialize", "list",
               "--allow-errors", "--json", timeout=300)  # fmt: skip
    plan = json.loads(done.stdout)

    report = json.loads(run("audit", tmp_path / "out", "--no-pixels", "--json").stdout)

    assert {c["name"]: c["after"] for c in plan["classes"]} == {c["name"]: c["instances"] for c in report["classes"]}
    assert (report["summary"]["images"], report["summary"]["distinct_images"]) == (plan["epoch_images"], plan["distinct_images"])
    assert not list((tmp_path / "out").rglob("*.jpg"))


def classic(folder: Path, **lists: range) -> Path:
    """Draw a VOC dataset of 60 images with the given lists; every tenth image of the first 50 holds a cat."""
    box = "<bndbox><xmin>2</xmin><ymin>2</ymin><xmax>40</xmax><ymax>40</ymax></bndbox>"
    (folder / "Annotations").mkdir(parents=True)
    (folder / "ImageSets" / "Main").mkdir(parents=True)
    for number in range(60):
        name = "cat" if number % 10 == 0 and number < 50 else "dog"
        (folder / "Annotations" / f"street{number:05}.xml").write_text(
            f"<annotation><filename>street{number:05}.jpg</filename><size><width>80</width><height>60</height><depth>3</depth></size>"
            f"<object><name>{name}</name>{box}</object></annotation>"
        )
    for name, rows in lists.items():
        (folder / "ImageSets" / "Main" / f"{name}.txt").write_text("".join(f"street{number:05}\n" for number in rows))
    return folder


def test_trainval_is_what_is_trained_on_where_there_is_no_train(tmp_path: Path) -> None:
    """Every command takes it for the training split, keeps its name, and writes it as YOLO's train."""
    source = classic(tmp_path / "voc", trainval=range(50), test=range(50, 60))
    report = json.loads(run("audit", source, "--json").stdout)
    found = {finding["code"]: finding["message"] for finding in report["findings"]}
    assert [split["name"] for split in report["splits"]] == ["trainval", "test"]
    assert {one["name"]: one["group"] for one in report["classes"]} == {"cat": "rare", "dog": "common"}
    assert "test lacks cat" in found["DD302"]

    balanced = json.loads(run("rebalance", source, tmp_path / "more", "--method", "oversample", "--json").stdout)
    weighed = json.loads(run("weights", source, "--json").stdout)
    converted = run("convert", source, tmp_path / "yolo", "--to", "yolo", "--json")

    assert balanced["split"] == weighed["split"] == "trainval"
    assert tables(tmp_path / "more")["cat"]["trainval"] > 5 and weighed["counts"] == [5, 45]
    assert converted.returncode == 0, converted.stderr
    assert tables(tmp_path / "yolo") == {"cat": {"train": 5, "test": 0}, "dog": {"train": 45, "test": 10}}
    assert any("trainval is written as train" in text for text in json.loads(converted.stdout)["loses"])


def test_trainval_beside_train_is_what_they_leave_of_it(tmp_path: Path) -> None:
    """Where there is a train, that is trained on, and trainval is a split like any other."""
    source = classic(tmp_path / "voc", train=range(30), trainval=range(40), test=range(40, 60))

    assert json.loads(run("weights", source, "--json").stdout)["split"] == "train"
    assert run("convert", source, tmp_path / "yolo", "--to", "yolo").returncode == 0
    assert set(tables(tmp_path / "yolo")["cat"]) == {"train", "test", "trainval"}


@pytest.mark.parametrize(
    ("val", "says"), [("images", "train and val are the same 6 images"), ("images/day", "all 5 images of val are in train too")]
)
def test_two_splits_of_one_folder_are_one_finding(tmp_path: Path, val: str, says: str) -> None:
    """At the lines of the configuration, not at each image; also where one folder lies in the other."""
    from PIL import Image

    for number in range(6):
        for folder in ("images", "labels"):
            (tmp_path / folder / "day").mkdir(parents=True, exist_ok=True)
        name = f"{'' if number == 5 else 'day/'}{number}"
        Image.new("RGB", (20, 20), (40 * number, 0, 0)).save(tmp_path / "images" / f"{name}.png")
        (tmp_path / "labels" / f"{name}.txt").write_text("0 .5 .5 .5 .5\n")
    (tmp_path / "data.yaml").write_text(f"train: images\nval: {val}\nnames: [cat]\n")

    report = json.loads(run("audit", tmp_path, "--no-pixels", "--json").stdout)

    [found] = [finding for finding in report["findings"] if finding["code"] == "DD301"]
    assert (found["count"], found["severity"], found["message"]) == (1, "error", says)
    assert sorted((place["file"], place["line"]) for place in found["locations"]) == [("data.yaml", 1), ("data.yaml", 2)]


def test_two_voc_lists_of_the_same_images_are_one_finding(tmp_path: Path) -> None:
    """At the lists; images that are in two splits besides are counted each."""
    source = classic(tmp_path / "voc", train=range(50), val=range(20), test=range(48, 60))

    report = json.loads(run("audit", source, "--json").stdout)

    [found] = [finding for finding in report["findings"] if finding["code"] == "DD301"]
    assert found["count"] == 3 and found["message"] == "all 20 images of val are in train too; 2 more images are in more than one split"
    assert [place["file"] for place in found["locations"]][:2] == ["ImageSets/Main/train.txt", "ImageSets/Main/val.txt"]
