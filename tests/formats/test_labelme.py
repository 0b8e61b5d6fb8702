"""LabelMe trees drawn in a temporary folder: every kind of shape, every rule of finding the image, and hostile input."""

from __future__ import annotations

import dataclasses
import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dataset_doctor import read, write
from dataset_doctor.audit import examine
from dataset_doctor.dataset import Dataset, Flag, Geometry, LabelState
from dataset_doctor.errors import DoctorError, SeveralDatasets
from dataset_doctor.files.tree import walk
from dataset_doctor.formats import losses, read_outlines, read_shapes
from dataset_doctor.formats.coco import COCO
from dataset_doctor.formats.labelme import LABELME
from dataset_doctor.plan import make_plan
from tests.consumers import consumed, contents, needs, planted

FIXTURES = Path(__file__).parents[2] / "fixtures"


def shape(label: str, kind: str | None, *points: tuple[float, float], **more: Any) -> dict[str, Any]:
    """Write a shape."""
    return {"label": label, "points": [list(point) for point in points], "shape_type": kind, "group_id": None, "flags": {}, **more}


def labels(*shapes: Any, image: str | None = "a.jpg", **more: Any) -> str:
    """Write a label file of an image of 80 × 60."""
    document = {"version": "5.5.0", "flags": {}, "shapes": list(shapes), "imagePath": image, "imageData": None}
    return json.dumps({**document, "imageHeight": 60, "imageWidth": 80, **more})


def drawn(root: Path, *shapes: Any, **more: Any) -> Dataset:
    """Read a dataset of one image."""
    return read(planted(root / "data", {"a.jpg": "", "a.json": labels(*shapes, **more)}))


CAT = shape("cat", "rectangle", (10, 10), (40, 30))


def test_boxes_are_any_two_opposite_corners(tmp_path: Path) -> None:
    """A rectangle that was drawn from the bottom right, or that has four corners, is the same box; the numbers stay as written."""
    dataset = drawn(tmp_path, shape("cat", "rectangle", (40.5, 30), (10, 10)), shape("dog", "rectangle", (1, 2), (9, 2), (9, 8), (1, 8)))

    assert dataset.format == "labelme" and dataset.task == "detect"
    assert dataset.annotations.corners.tolist() == [[10, 10, 40.5, 30], [1, 2, 9, 8]]
    assert dataset.class_names == ("cat", "dog") and dataset.sizes.tolist() == [[80, 60]]


def test_shapes_with_an_area_become_what_they_are(tmp_path: Path) -> None:
    """Polygons, circles, oriented rectangles and masks; a circle is a polygon whose box is the circle's."""
    dataset = drawn(
        tmp_path,
        shape("a", "polygon", (1, 1), (9, 1), (9, 9)),
        shape("b", None, (1, 1), (9, 1), (9, 9)),
        shape("c", "circle", (30, 30), (30, 40)),
        shape("d", "oriented_rectangle", (10, 5), (15, 10), (10, 15), (5, 10)),
        shape("e", "mask", (10, 20), (19, 29), mask="not decoded"),
    )

    kinds = [Geometry.POLYGON, Geometry.POLYGON, Geometry.POLYGON, Geometry.OBB, Geometry.BOX]
    assert dataset.annotations.geometry.tolist() == kinds and dataset.task == "segment"
    assert dataset.annotations.corners.tolist() == [[1, 1, 9, 9], [1, 1, 9, 9], [20, 20, 40, 40], [5, 5, 15, 15], [10, 20, 20, 30]]
    shapes = read_shapes(dataset)
    assert shapes is not None and shapes.rings.tolist() == [1, 1, 1, 1, 0]
    assert shapes.area[:2].tolist() == [32, 32] and 0.998 < shapes.area[2] / (np.pi * 100) < 1
    assert not shapes.flaws.any() and not dataset.problems


def test_what_no_box_format_holds_is_reported(tmp_path: Path) -> None:
    """Points, lines and kinds that are unknown are findings at their places, and the image is no background."""
    kinds = ("point", "points", "line", "linestrip", "spiral")
    dataset = drawn(tmp_path, *(shape("cat", kind, (1, 2), (3, 4)) for kind in kinds), "text", 7)

    assert not dataset.n_annotations and dataset.images.label_state.tolist() == [LabelState.LABELED]
    assert [(problem.kind, problem.place.pointer) for problem in dataset.problems] == [
        ("record-unreadable", f"/shapes/{row}") for row in range(7)
    ]
    assert losses(dataset, "coco")[0] == "7 records could not be read and are left out."


def test_shapes_of_a_group_are_one_object(tmp_path: Path) -> None:
    """Of one label and group_id: parts of one object, as labelme's own converters take them; other labels are others."""
    dataset = drawn(
        tmp_path,
        shape("cat", "polygon", (1, 1), (9, 1), (9, 9), group_id=3),
        shape("dog", "rectangle", (0, 0), (5, 5), group_id=3),
        shape("cat", "rectangle", (20, 20), (30, 30), group_id=3),
        shape("cat", "rectangle", (50, 50), (60, 55)),
    )

    assert dataset.annotations.corners.tolist() == [[1, 1, 30, 30], [0, 0, 5, 5], [50, 50, 60, 55]]
    assert [len(ring) for ring in read_outlines(dataset).rings(0)] == [3, 4]
    assert [dataset.class_names[row] for row in dataset.annotations.class_index.tolist()] == ["cat", "dog", "cat"]


def test_flags_and_scores(tmp_path: Path) -> None:
    """Flags of a shape count where they are true; other flags are not ours."""
    dataset = drawn(
        tmp_path, {**CAT, "flags": {"difficult": True, "occluded": False, "nice": True}, "score": 0.5}, {**CAT, "flags": ["difficult"]}
    )

    assert dataset.annotations.flags.tolist() == [Flag.DIFFICULT | Flag.SCORE, 0]


@pytest.mark.parametrize("broken", [{"label": 7}, {"label": None}, {"label": " "}], ids=["a number", "nothing", "a space"])
def test_a_shape_without_a_label(tmp_path: Path, broken: dict[str, Any]) -> None:
    """It keeps its box and has no class."""
    dataset = drawn(tmp_path, {**CAT, **broken})

    assert dataset.annotations.class_index.tolist() == [-1] and dataset.annotations.corners.tolist() == [[10, 10, 40, 30]]
    assert [problem.kind for problem in dataset.problems] == ["class-name-missing"]


@pytest.mark.parametrize(
    "points", [None, [], [[1, 2]], [[1, 2], [3]], [[1, 2], ["3", 4]], [[1, 2], [True, 4]], "1 2", {"x": 1}, [[1, 10**400], [2, 3]]]
)
def test_points_that_are_none(tmp_path: Path, points: Any) -> None:
    """The object counts, without a box."""
    dataset = drawn(tmp_path, {**CAT, "points": points})

    assert np.isnan(dataset.annotations.corners).all() and [problem.kind for problem in dataset.problems] == ["box-malformed"]


@pytest.mark.parametrize(
    ("label", "path", "image", "kinds"),
    [
        ("a.json", "a.jpg", "a.jpg", []),
        ("labels/a.json", "../images/a.jpg", "images/a.jpg", []),
        ("labels/a.json", "..\\images\\a.jpg", "images/a.jpg", ["path-backslash"]),
        ("a.json", "C:\\Users\\Ann\\a.jpg", "a.jpg", ["path-absolute", "personal-data"]),
        ("labels/a.json", "/data/a.jpg", "images/a.jpg", ["path-absolute", "path-by-basename"]),
        ("a.json", "../../../etc/passwd", "a.jpg", ["path-outside-dataset"]),
        ("a.json", "b.png", "a.jpg", ["filename-mismatch"]),
        ("a.json", None, "a.jpg", []),
    ],
)
def test_which_image_is_meant(tmp_path: Path, label: str, path: str | None, image: str, kinds: list[str]) -> None:
    """The file that imagePath names, else the one beside, else the only one of that name; never one outside the dataset."""
    planted(tmp_path, {"etc/passwd": "secret", f"x/y/{image}": "", f"x/y/{label}": labels(CAT, image=path)})
    dataset = read(tmp_path / "x" / "y")

    assert dataset.images.file_name.tolist() == [image] and dataset.images.has_file.all()
    assert [problem.kind for problem in dataset.problems] == kinds


def test_an_embedded_image_is_never_decoded(tmp_path: Path) -> None:
    """Whatever imageData holds, the dataset is the same; without the file, the image is missing."""
    here = drawn(tmp_path, CAT, imageData="!" * 10_000)
    gone = read(planted(tmp_path / "gone", {"b.jpg": "", "a.json": labels(CAT, imageData="iVBORw0KGgo="), "b.json": labels(image="b.jpg")}))

    assert not here.problems and here.images.has_file.all()
    assert gone.images.has_file.tolist() == [False, True]
    assert [problem.kind for problem in gone.problems] == ["label-orphan"]


def test_states_of_images(tmp_path: Path) -> None:
    """A file without shapes is a background, one that is broken has labels that nobody knows, an image without a file is unlabeled."""
    files = {
        "a.jpg": "",
        "a.json": labels(CAT),
        "b.jpg": "",
        "b.json": labels(image="b.jpg"),
        "c.jpg": "",
        "c.json": '{"shapes": [',
        "d.jpg": "",
    }
    dataset = read(planted(tmp_path, files))

    states = dict(zip(dataset.images.file_name.tolist(), dataset.images.label_state.tolist(), strict=True))
    assert states == {
        "a.jpg": LabelState.LABELED, "b.jpg": LabelState.BACKGROUND, "c.jpg": LabelState.LABELED, "d.jpg": LabelState.UNLABELED
    }  # fmt: skip
    assert [(problem.kind, problem.place.file) for problem in dataset.problems] == [("label-unreadable", "c.json")]


def test_splits_are_folders_and_other_json_is_left_out(tmp_path: Path) -> None:
    """The folders train and val are splits; a JSON file without shapes is named in the evidence alone."""
    files = {
        "train/a.jpg": "",
        "train/a.json": labels(CAT),
        "val/b.jpg": "",
        "val/b.json": labels(CAT, image="b.jpg"),
        "train/info.json": "{}",
    }
    dataset = read(planted(tmp_path, files))

    assert dataset.splits == ("train", "val") and dataset.n_images == 2 and not dataset.problems
    assert any("other JSON file" in text for text in dataset.evidence)


def test_two_datasets_are_two(tmp_path: Path) -> None:
    """Folders without a class in common are named to choose from."""
    cats, cars = (shape(name, "rectangle", (1, 1), (9, 9)) for name in ("cat", "dog")), (shape(n, "circle", (9, 9), (9, 12)) for n in "xy")
    planted(tmp_path, {"pets/a.jpg": "", "pets/a.json": labels(*cats), "letters/a.jpg": "", "letters/a.json": labels(*cars)})

    with pytest.raises(SeveralDatasets):
        read(tmp_path)
    assert read(tmp_path / "pets").class_names == ("cat", "dog")


def test_copies_of_a_dataset_are_two(tmp_path: Path) -> None:
    """Folders with files of the same names below them are not one dataset, though they share their classes."""
    files = {
        f"{home}/{split}/a.{end}": labels(CAT) if end == "json" else ""
        for home in "xy"
        for split in ("train", "val")
        for end in ("jpg", "json")
    }

    with pytest.raises(SeveralDatasets):
        read(planted(tmp_path, files))


def test_coco_beside_it_is_found_as_before(tmp_path: Path) -> None:
    """COCO is read where both describe the same images, and neither takes the other's files for its own."""
    coco = {
        "images": [{"id": 1, "file_name": "a.jpg", "width": 80, "height": 60}],
        "annotations": [{"id": 1, "image_id": 1, "category_id": 1, "bbox": [1, 1, 5, 5], "area": 25, "iscrowd": 0}],
        "categories": [{"id": 1, "name": "cat"}],
    }
    tree = walk(planted(tmp_path, {"a.jpg": "", "a.json": labels(CAT), "coco.json": json.dumps(coco)}))

    assert [one.labels for one in COCO.detect(tree)] == [("coco.json",)]
    assert read(tmp_path).format == "coco"
    assert "parallel-labels" in {problem.kind for problem in read(tmp_path).problems}


@pytest.mark.parametrize(
    "text",
    [
        "", "[]", "null", '"shapes"', '{"shapes": {}}', '{"shapes": null, "imagePath": 3}', "\xff\xfe", "{" * 100_000, "[" * 100_000,
        '{"shapes": ' + "[" * 100_000, '{"shapes": [{"points": ' + "[" * 100_000, '{"shapes": [NaN]}', '{"shapes": [1e999], "imagePath": "a.jpg"}',
        labels(CAT, image="\ud800"), labels(CAT, image="a" * 100_000), labels(CAT, image="../" * 10_000), labels(CAT, imageWidth=-1, imageHeight="x"),
        labels(shape("\ud800", "rectangle", (1, 1), (2, 2))), labels({**CAT, "group_id": 10**30}), labels({**CAT, "flags": {"difficult": 1}}),
        labels(shape("cat", "circle", (1e308, 1e308), (-1e308, 0))),
    ],
    ids=range(21),
)  # fmt: skip
def test_hostile_files(tmp_path: Path, text: str) -> None:
    """Nothing raises, hangs or leaves the dataset, and the good file beside is read."""
    data = planted(
        tmp_path, {"a.jpg": "", "a.json": text.encode("utf-8", "surrogatepass"), "b.jpg": "", "b.json": labels(CAT, image="b.jpg")}
    )
    begun = time.monotonic()
    dataset = read(data)

    assert (dataset.annotations.source == list(dataset.sources).index("b.json")).sum() == 1
    assert all(not name.startswith(("/", "../")) for name in dataset.images.file_name.tolist())
    examine(dataset)
    assert time.monotonic() - begun < 20


def test_untouched_files_are_copied_byte_for_byte(tmp_path: Path) -> None:
    """Members that we do not know stay; a repeat is the same file with another imagePath."""
    text = labels(CAT, shape("cat", "point", (1, 1)), imageData="abc", own={"x": [1.50, None]})
    data = planted(tmp_path / "data", {"a.jpg": "", "a.json": text, "b.jpg": "", "b.json": labels(image="b.jpg")})
    dataset = read(data)
    write(dataset, tmp_path / "same")
    plan = make_plan(dataset, np.array([0, 0, 1]), command="rebalance")
    write(plan.apply(dataset), tmp_path / "twice")

    assert contents(tmp_path / "same") == contents(data)
    twice = contents(tmp_path / "twice")
    assert sorted(twice) == ["a.jpg", "a.json", "a__r1.jpg", "a__r1.json", "b.jpg", "b.json"]
    repeated = json.loads(twice["a__r1.json"])
    assert repeated["imagePath"] == "a__r1.jpg" and repeated["own"] == {"x": [1.5, None]} and repeated["imageData"] == "abc"


def test_a_source_that_has_changed_stops_the_write(tmp_path: Path) -> None:
    """Shapes that are not those that were read are never written."""
    dataset = drawn(tmp_path, CAT)
    (tmp_path / "data" / "a.json").write_text(labels(shape("dog", "rectangle", (1, 1), (2, 2))), encoding="utf-8")

    with pytest.raises(DoctorError, match="has changed"):
        write(dataset, tmp_path / "out")


SUPERVISION = """
import json, sys
import supervision as sv
from supervision.dataset.formats.labelme import load_labelme_annotations
names, paths, found = load_labelme_annotations(sys.argv[1], sys.argv[1])
print(json.dumps({p.rsplit("/", 1)[1]: sorted((names[c], *map(float, box)) for c, box in zip(d.class_id.tolist(), d.xyxy.tolist()))
    if len(d) else [] for p, d in found.items()}))
"""


@pytest.mark.trainers
def test_supervision_reads_the_same(tmp_path: Path) -> None:
    """The boxes and classes of each image, of a dataset with boxes, polygons and groups, and of what is written from COCO."""
    needs("supervision")
    mixed = planted(tmp_path / "mixed", {
        "a.jpg": "", "b.jpg": "",
        "a.json": labels(CAT, shape("dog", "polygon", (1, 1), (9, 1), (9, 9), group_id=1), shape("dog", "polygon", (30, 3), (40, 3), (40, 9), group_id=1)),
        "b.json": labels(image="b.jpg"),
    })  # fmt: skip
    write(read(FIXTURES / "coco"), tmp_path / "written", "labelme")

    for folder in (mixed, tmp_path / "written" / "train"):
        dataset = read(folder)
        ours: dict[str, list[list[Any]]] = {Path(name).name: [] for name in dataset.images.file_name.tolist()}
        for image, row, box in zip(
            dataset.annotations.image.tolist(), dataset.annotations.class_index.tolist(), dataset.boxes.tolist(), strict=True
        ):
            ours[Path(dataset.images.file_name[image]).name].append([dataset.class_names[row], *box])
        theirs = consumed(SUPERVISION, tmp_path / "scratch", folder)
        assert theirs.keys() == ours.keys()
        for name, rows in ours.items():
            assert [row[0] for row in sorted(rows)] == [row[0] for row in theirs[name]]
            assert np.allclose([row[1:] for row in sorted(rows)], [row[1:] for row in theirs[name]], atol=1e-4)


def test_the_record_points_into_the_file(tmp_path: Path) -> None:
    """A finding names the shape by a JSON pointer."""
    report = examine(drawn(tmp_path, CAT, shape("cat", "rectangle", (60, 50), (95, 58))))

    (found,) = [finding for finding in report.findings if finding.code == "DD102"]
    assert [(place.file, place.pointer) for place in found.locations] == [("a.json", "/shapes/1/points")]
    assert LABELME.pointer is not None and LABELME.pointer("images", 0, "width") == "/imageWidth"


def test_only_treated_files_lose_shapes(tmp_path: Path) -> None:
    """Where one record is left out, the others and all members stay."""
    dataset = drawn(tmp_path, CAT, shape("dog", "rectangle", (3, 3), (3, 9)), shape("cat", "line", (1, 1), (2, 2)))
    plan = make_plan(dataset, np.arange(1), command="convert", left_out=np.array([1]))
    write(plan.apply(dataset), tmp_path / "out")

    written = json.loads((tmp_path / "out" / "a.json").read_text(encoding="utf-8"))
    assert [one["label"] for one in written["shapes"]] == ["cat"]
    assert dataclasses.asdict(dataset.annotations)["position"].tolist() == [0, 1]
