"""Writing pictures that are made anew: their labels are rendered, their pictures made, and everything else stays as it is."""

from __future__ import annotations

import dataclasses
import json
import re
import warnings
from pathlib import Path

import cv2
import numpy as np
import pytest

import dataset_doctor as dd
from dataset_doctor.dataset import Dataset, LabelState, concat
from dataset_doctor.errors import UsageError
from dataset_doctor.formats import disk_bytes, read_outlines
from dataset_doctor.outlines import join_outlines, no_outlines, take_outlines
from dataset_doctor.plan import MadePictures, Plan, make_plan
from dataset_doctor.recipes import Matrix, Paste, Recipe, made, moved
from tests.marked import HEIGHT, KINDS, WIDTH, corners, extent, marked, picture, red

MIRROR = np.array([[-1.0, 0.0, WIDTH], [0.0, 1.0, 0.0]])
QUARTER = np.array([[0.0, -1.0, HEIGHT], [1.0, 0.0, 0.0]])


def sent(box: np.ndarray, matrix: Matrix) -> np.ndarray:
    there = moved(corners(tuple(box.tolist())), matrix)
    return np.concatenate([there.min(axis=0), there.max(axis=0)])


def plan_with(dataset: Dataset, images: list[int], matrix: Matrix = MIRROR, *, again: bool = True) -> Plan:
    """Plan one picture more of each of some images, laid through a map; or, without `again`, in their place."""
    shown = np.ones(dataset.n_images, int)
    shown[images] += again
    rows = np.repeat(np.arange(dataset.n_images), shown)
    at = np.flatnonzero(np.diff(rows, prepend=-1) == 0) if again else np.array(images)
    outlines = read_outlines(dataset)
    width, height = (HEIGHT, WIDTH) if matrix is QUARTER else (WIDTH, HEIGHT)
    recipes, owner, origin = [], [], []
    for number, row in enumerate(rows[at].tolist()):
        recipes.append(Recipe(dataset.images.file_name[row], "moved", width, height, matrix))
        marks = np.flatnonzero(dataset.annotations.image == row).tolist()
        owner += [number] * len(marks)
        origin += marks
    taken = take_outlines(outlines, np.array(origin, np.intp))
    keypoints = taken.keypoints.copy()
    keypoints[:, :2] = np.where(keypoints[:, 2:] > 0, moved(keypoints[:, :2], matrix), 0)
    taken = dataclasses.replace(taken, points=moved(taken.points, matrix), keypoints=keypoints, masks={})
    boxes = np.array([sent(box, matrix) for box in dataset.boxes[origin]]).reshape(-1, 4)
    return make_plan(
        dataset, rows, command="rebalance", split="train" if "train" in dataset.splits else dataset.splits[0],
        made=MadePictures(at, tuple(recipes), np.array(owner, np.intp), np.array(origin, np.intp), boxes, taken),
    )  # fmt: skip


def counts(dataset: Dataset) -> dict[str, int]:
    return dict(zip(dataset.class_names, np.asarray(dataset.counts().sum(axis=0)).ravel().tolist(), strict=True))


def one(dataset: Dataset, name: str) -> tuple[np.ndarray, np.ndarray]:
    """Give the picture of an image, found by the end of its name, and its boxes."""
    row = next(row for row, path in enumerate(dataset.images.file_name.tolist()) if path.endswith(name))
    return cv2.imread(str(dataset.root / dataset.images.file_name[row]), cv2.IMREAD_UNCHANGED), dataset.boxes[
        dataset.annotations.image == row
    ]


# The record in memory -------------------------------------------------------------------------------------------------


def test_a_selection_carries_what_is_made(tmp_path: Path) -> None:
    """Images that are made keep recipe and outlines through `select`, `holding`, repeats and `concat`."""
    dataset = marked(tmp_path / "source", "coco-polygon")
    treated = plan_with(dataset, [0, 1]).apply(dataset)
    assert treated.made is not None
    assert treated.is_made.tolist() == [False, True, False, True] + [False] * 10
    part = treated.select(np.array([3, 0, 3, 1]))
    assert part.made is not None
    assert part.is_made.tolist() == [True, False, True, True]
    assert [part.made.recipes[row].picture for row in part.made.recipe[part.is_made].tolist()] == ["images/train/r1.png"] * 2 + [
        "images/train/r0.png"
    ]
    outlines, whole = read_outlines(part), read_outlines(treated)
    for mark, image in enumerate(part.annotations.image.tolist()):
        like = np.flatnonzero(treated.annotations.image == [3, 0, 3, 1][image])[0]
        assert np.array_equal(outlines.rings(mark)[0], whole.rings(like)[0])
    assert treated.select(np.array([0, 2])).made is None
    assert treated.holding(np.ones(treated.n_annotations, bool)).made is not None
    both = concat([dataset, treated, part])
    assert both.made is not None
    assert both.is_made.tolist() == [False] * 12 + treated.is_made.tolist() + part.is_made.tolist()
    joined = both.made.outlines
    last = int(np.flatnonzero(both.annotations.image == both.n_images - 1)[0])
    assert np.array_equal(joined.rings(both.made.outline[last])[0], whole.rings(int(np.flatnonzero(treated.annotations.image == 1)[0]))[0])


def test_outlines_are_taken_and_joined_as_they_are() -> None:
    """Taking rows and putting tables together are lists of the same shapes."""
    points = np.arange(20.0).reshape(10, 2)
    keypoints = np.arange(9.0).reshape(3, 3)
    table = dataclasses.replace(
        no_outlines(3), points=points, ring_start=np.array([0, 3, 6, 10]), first_ring=np.array([0, 2, 2, 3]), keypoints=keypoints,
        first_keypoint=np.array([0, 0, 2, 3]), masks={1: {"size": [1, 1], "counts": [1]}},
    )  # fmt: skip
    rows = np.array([2, 0, 1, 2])
    taken = take_outlines(join_outlines([no_outlines(2), table, no_outlines(0)]), rows + 2)
    assert len(taken) == 4
    for new, old in enumerate(rows.tolist()):
        assert [ring.tolist() for ring in taken.rings(new)] == [ring.tolist() for ring in table.rings(old)]
        mine, theirs = (part.keypoints[part.first_keypoint[n] : part.first_keypoint[n + 1]] for part, n in ((taken, new), (table, old)))
        assert mine.tolist() == theirs.tolist()
    assert taken.masks == {2: {"size": [1, 1], "counts": [1]}}


def test_a_plan_refuses_what_is_not_of_its_split(tmp_path: Path) -> None:
    """A made image belongs to the split that changes, and so do the records in it."""
    dataset = marked(tmp_path / "source", "yolo")
    plan = plan_with(dataset, [0])
    assert plan.made is not None
    elsewhere = int(np.flatnonzero(dataset.annotations.image == dataset.n_images - 1)[0])
    with pytest.raises(AssertionError, match="elsewhere"):
        make_plan(dataset, plan.rows, command="rebalance", split="train", made=dataclasses.replace(plan.made, origin=np.array([elsewhere])))


# Pictures -------------------------------------------------------------------------------------------------------------


def test_flips_and_quarter_turns_move_pixels_and_change_none() -> None:
    """They are exact; a shift by whole pixels is too, and what comes from outside has the mean colour."""
    image = np.random.default_rng(0).integers(0, 255, (6, 9, 3), np.uint8)

    def make(matrix: Matrix, width: int = 9, height: int = 6) -> np.ndarray:
        return made(Recipe("a", "x", width, height, matrix), lambda _: image)

    assert np.array_equal(make(np.array([[-1.0, 0, 9], [0, 1, 0]])), image[:, ::-1])
    assert np.array_equal(make(np.array([[1.0, 0, 0], [0, -1, 6]])), image[::-1])
    assert np.array_equal(make(np.array([[0.0, -1, 6], [1, 0, 0]]), 6, 9), np.rot90(image, -1))
    assert np.array_equal(make(np.array([[0.0, 1, 0], [-1, 0, 9]]), 6, 9), np.rot90(image))
    shifted = make(np.array([[1.0, 0, 2], [0, 1, 0]]))
    assert np.array_equal(shifted[:, 2:], image[:, :-2])
    assert np.abs(shifted[:, :2].astype(int) - image.mean(axis=(0, 1))).max() <= 1


def test_colour_noise_and_mixture_do_what_they_say() -> None:
    """A colour map acts on red, green and blue in this order; noise has its deviation; a mixture its share."""
    image = np.full((80, 80, 3), (200, 100, 50), np.uint8)
    other = np.full((40, 20, 3), (0, 200, 250), np.uint8)
    swap = np.array([[0.0, 0, 1, 0], [0, 0.5, 0, 0.1], [1, 0, 0, 0]])
    eye = np.eye(2, 3)
    assert made(Recipe("a", "x", 80, 80, eye, colour=swap), lambda _: image)[0, 0].tolist() == [50, 76, 200]
    noisy = [made(Recipe("a", "x", 80, 80, eye, noise=0.04, seed=seed), lambda _: image) for seed in (1, 1, 2)]
    assert np.array_equal(noisy[0], noisy[1])
    assert not np.array_equal(noisy[0], noisy[2])
    assert 9 < np.std(noisy[0].astype(int) - image) < 11.5
    mixture = made(Recipe("a", "x", 80, 80, eye, mixed=("b", 0.25)), lambda name: {"a": image, "b": other}[name])
    assert np.abs(mixture[5, 5].astype(int) - [150, 125, 100]).max() <= 1


@pytest.mark.parametrize("end", ["png", "jpg", "bmp", "webp", "tif", "ppm"])
def test_pictures_are_written_as_their_suffix_says(tmp_path: Path, end: str) -> None:
    """Without loss where the format is; grey stays grey."""
    dataset = marked(tmp_path / "source", "yolo", end=end)
    grey = cv2.cvtColor(picture(None, seed=5), cv2.COLOR_BGR2GRAY)
    assert cv2.imwrite(str(tmp_path / f"source/images/train/u0.{end}"), grey if end != "ppm" else cv2.cvtColor(grey, cv2.COLOR_GRAY2BGR))
    dataset = dd.read(tmp_path / "source")
    u0 = dataset.images.file_name.tolist().index(f"images/train/u0.{end}")
    dd.write(plan_with(dataset, [0, u0]).apply(dataset), tmp_path / "out")
    source, copy = (cv2.imread(str(tmp_path / f"{root}/images/train/r0{more}.{end}")) for root, more in (("source", ""), ("out", "__r1")))
    difference = np.abs(source[:, ::-1].astype(int) - copy)
    assert difference.max() == 0 if end in ("png", "bmp", "tif", "ppm") else np.median(difference) <= 6
    assert (
        Path(tmp_path / f"out/images/train/r0__r1.{end}").read_bytes()[:2]
        == Path(tmp_path / f"source/images/train/r0.{end}").read_bytes()[:2]
    )
    read_back = cv2.imread(str(tmp_path / f"out/images/train/u0__r1.{end}"), cv2.IMREAD_UNCHANGED)
    assert read_back.ndim == 2 or end in ("webp", "ppm")  # which know no grey


def test_an_upright_picture_is_made_of_one_that_lies(tmp_path: Path) -> None:
    """The EXIF orientation is applied, as the labels and the header's size have it."""
    from PIL import Image

    dataset = marked(tmp_path / "source", "yolo", end="jpg")
    path = tmp_path / "source/images/train/r0.jpg"
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned clockwise
    upright = Image.fromarray(cv2.imread(str(path))[:, :, ::-1])
    upright.rotate(90, expand=True).save(path, exif=exif, quality=95)
    dataset = dd.read(tmp_path / "source")
    dd.write(plan_with(dataset, [0]).apply(dataset), tmp_path / "out")
    image, boxes = one(dd.read(tmp_path / "out"), "r0__r1.jpg")
    assert image.shape[:2] == (HEIGHT, WIDTH)
    assert np.abs(boxes[0] - extent(red(image))).max() <= 2


# Labels in the source's format ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_a_turned_picture_has_its_sides_exchanged_everywhere(tmp_path: Path, kind: str) -> None:
    """Width and height of the label file are those of the picture, and the manifest's copy may have another size."""
    dataset = marked(tmp_path / "source", kind)
    plan = plan_with(dataset, [0], QUARTER)
    dd.write(plan.apply(dataset), tmp_path / "out")
    result = dd.read(tmp_path / "out")
    row = next(row for row, name in enumerate(result.images.file_name.tolist()) if "__r1" in name)
    assert result.sizes[row].tolist() == [HEIGHT, WIDTH]
    assert (result.images.file_width[row], result.images.file_height[row]) == (HEIGHT, WIDTH)
    assert result.images.is_repeat.sum() == 1
    assert not [problem for problem in result.problems if problem.kind == "config-invalid"]
    assert counts(result) == counts(plan.apply(dataset))


def test_coco_records_keep_what_they_had(tmp_path: Path) -> None:
    """Unknown members, crowd marks and categories stay; ids are new, and box, area and polygon those of the picture made."""
    dataset = marked(tmp_path / "source", "coco-polygon")
    path = tmp_path / "source/annotations/instances_train.json"
    document = json.loads(path.read_text())
    crowd = {
        "id": 500,
        "image_id": 7,
        "category_id": 8,
        "iscrowd": 1,
        "bbox": [0, 0, 20, 30],
        "area": 600,
        "segmentation": [[0, 0, 20, 0, 20, 30, 0, 30]],
    }
    document["annotations"].append(crowd)
    path.write_text(json.dumps(document))
    dataset = dd.read(tmp_path / "source")
    dd.write(plan_with(dataset, [0]).apply(dataset), tmp_path / "out")
    after = json.loads((tmp_path / "out/annotations/instances_train.json").read_text())

    assert after["images"][:-1] == document["images"]
    assert after["annotations"][:-2] == document["annotations"]
    new_image, new = after["images"][-1], after["annotations"][-2:]
    assert new_image == {"id": 19, "file_name": "r0__r1.png", "width": WIDTH, "height": HEIGHT, "lens": "a"}
    assert [(record["id"], record["image_id"], record["category_id"], record["iscrowd"]) for record in new] == [
        (501, 19, 3, 0), (502, 19, 8, 1),
    ]  # fmt: skip
    assert new[0]["mood"] == {"n": 0}
    assert new[1]["bbox"] == [140, 0, 20, 30]
    old = document["annotations"][0]
    assert new[0]["segmentation"][0] == [value for x, y in np.reshape(old["segmentation"][0], (-1, 2)) for value in (WIDTH - x, y)]
    assert 0 < new[0]["area"] < old["area"]  # of the polygon, not of its box


def test_pycocotools_loads_what_is_made(tmp_path: Path) -> None:
    """Every annotation gives a mask of the size of its picture."""
    coco = pytest.importorskip("pycocotools.coco")
    for kind in ("coco", "coco-polygon"):
        dataset = marked(tmp_path / kind, kind)
        dd.write(plan_with(dataset, [0, 1], QUARTER).apply(dataset), tmp_path / f"{kind}-out")
        loaded = coco.COCO(str(tmp_path / f"{kind}-out/annotations/instances_train.json"))
        assert len(loaded.getImgIds()) == 14
        assert len(set(loaded.getAnnIds())) == 14
        if kind == "coco-polygon":
            for record in loaded.loadAnns(loaded.getAnnIds()):
                image = loaded.loadImgs(record["image_id"])[0]
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore", DeprecationWarning)  # of pycocotools with numpy 2
                    assert loaded.annToMask(record).shape == (image["height"], image["width"])


def test_coco_numbers_a_pasted_class_as_the_file_it_goes_to(tmp_path: Path) -> None:
    """A record of another label file, where its category has another id, gets the id that its class has in the picture's file."""
    marked(tmp_path / "source", "coco")
    path = tmp_path / "source/annotations/instances_train.json"
    document = json.loads(path.read_text())
    parts = [
        document | {"images": [image], "annotations": [record]}
        for image, record in zip(document["images"], document["annotations"], strict=True)
    ]
    path.unlink()
    other_ids = [{"id": 3, "name": "rare", "supercategory": "x"}, {"id": 9, "name": "usual", "supercategory": ""}]
    parts[-1] = parts[-1] | {"categories": other_ids}
    parts[-1]["annotations"][0]["category_id"] = 9
    for name, part in (("a", parts[0]), ("b", parts[-1])):
        (path.parent / f"instances_{name}.json").write_text(json.dumps(part))
    dataset = dd.read(tmp_path / "source")
    assert len(dataset.sources) == 2
    plan = plan_with(dataset, [0])
    # The two files are two splits; here both serve one, as files of a folder do.
    one_split = dataclasses.replace(dataset, source_split=np.full(2, -1, np.int16))
    made_pictures = plan.made
    assert made_pictures is not None
    pasted = dataclasses.replace(
        made_pictures, owner=np.zeros(2, np.intp), origin=np.array([0, 1]), boxes=np.array([[1.0, 2, 30, 40], [5, 6, 70, 80]]),
        outlines=no_outlines(2),
    )  # fmt: skip
    column = int(np.flatnonzero(dataset.images.in_split[0])[0])
    both = dataclasses.replace(one_split, images=dataclasses.replace(one_split.images, in_split=np.eye(2, dtype=bool)[[column, column]]))
    plan = make_plan(both, plan.rows, command="rebalance", split=both.splits[column], made=pasted)
    treated = plan.apply(both)
    from dataset_doctor.files.output import staged
    from dataset_doctor.formats.coco import COCO

    with staged(tmp_path / "out", dataset.root) as stage:
        COCO.write(treated, stage)
    after = json.loads((tmp_path / "out" / dataset.sources[0]).read_text())
    assert [(record["image_id"], record["category_id"], record["bbox"]) for record in after["annotations"][-2:]] == [
        (19, 3, [1, 2, 29, 38]), (19, 8, [5, 6, 65, 74]),
    ]  # fmt: skip


def test_voc_files_keep_their_other_elements_and_their_way_of_counting(tmp_path: Path) -> None:
    """The XML of a made picture is its source's with other objects; corners are counted from 1, from 0 or half-open as they were."""
    for shift, origin in ((0, "1-based"), (-1, "0-based")):
        root = tmp_path / f"source{shift}"
        marked(root, "voc")
        for xml in (root / "Annotations").iterdir():
            text = xml.read_text()
            text = re.sub(r"<(x|y)(min|max)>(\d+)", lambda found, shift=shift: f"<{found[1]}{found[2]}>{int(found[3]) + shift}", text)
            edge = (1 + shift, 1 + shift, WIDTH + shift, HEIGHT + shift)  # tells how corners are counted
            more = "<object><name>usual</name><bndbox><xmin>{}</xmin><ymin>{}</ymin><xmax>{}</xmax><ymax>{}</ymax></bndbox></object>"
            text = text.replace("<segmented>0", "<segmented>1")  # of masks that are not here
            if not shift:
                text = text.replace("<weather>", "<source><database>The VOC2007 Database</database></source><weather>")
            xml.write_text(text.replace("</annotation>", more.format(*edge) + "</annotation>"))
        dataset = dd.read(root)
        assert dataset.voc_origin == origin
        dd.write(plan_with(dataset, [0]).apply(dataset), tmp_path / f"out{shift}")
        text = (tmp_path / f"out{shift}/Annotations/r0__r1.xml").read_text()
        assert "<weather>rain</weather>" in text
        assert "<filename>r0__r1.png</filename>" in text
        assert "<segmented>0</segmented>" in text  # no mask is made
        assert "<pose>Left</pose>" not in text  # the mirror image looks to the right
        result = dd.read(tmp_path / f"out{shift}")
        assert result.voc_origin == origin
        assert one(result, "r0__r1.png")[1].tolist() == [[WIDTH - 104, 34, WIDTH - 52, 78], [0, 0, WIDTH, HEIGHT]]


def test_voc_files_that_break_off_are_mended_in_the_copy(tmp_path: Path) -> None:
    """The source stays as it is; the file of the made picture ends behind its objects."""
    marked(tmp_path / "source", "voc")
    xml = tmp_path / "source/Annotations/r0.xml"
    xml.write_text(xml.read_text().replace("</annotation>", "<object>"))
    dataset = dd.read(tmp_path / "source")
    row = dataset.images.file_name.tolist().index("JPEGImages/r0.png")
    dd.write(plan_with(dataset, [row]).apply(dataset), tmp_path / "out")
    text = (tmp_path / "out/Annotations/r0__r1.xml").read_text()
    assert text.count("<object>") == text.count("</object>") == text.count("</annotation>") == text.count("<weather>") == 1
    assert one(dd.read(tmp_path / "out"), "r0__r1.png")[1].tolist() == [[WIDTH - 104, 34, WIDTH - 52, 78]]


def test_yolo_keypoints_of_two_numbers_stay_of_two_numbers(tmp_path: Path) -> None:
    """A made row has as many values as `kpt_shape` says."""
    marked(tmp_path / "source", "yolo-pose")
    config = tmp_path / "source/data.yaml"
    config.write_text(config.read_text().replace("[2, 3]", "[2, 2]"))
    for label in (tmp_path / "source/labels").rglob("*.txt"):
        label.write_text(re.sub(r" 2 0 0 0$", " 0 0", label.read_text(), flags=re.MULTILINE))
    dataset = dd.read(tmp_path / "source")
    dd.write(plan_with(dataset, [0]).apply(dataset), tmp_path / "out")
    row = [float(value) for value in (tmp_path / "out/labels/train/r0__r1.txt").read_text().split()]
    assert len(row) == 9
    assert row[5:] == pytest.approx([1 - 64 / WIDTH, 44 / HEIGHT, 0, 0], abs=1e-7)


# Objects of other pictures --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("target", ["yolo", "voc", "coco"])
@pytest.mark.parametrize("kind", ["yolo-segment", "voc", "coco-polygon"])
def test_a_background_that_an_object_is_pasted_into_is_labelled(tmp_path: Path, kind: str, target: str) -> None:
    """The copy of an image without any label gets a label file of its own; the image itself stays without."""
    root = tmp_path / "source"
    dataset = marked(root, kind, usual=2)
    bare = {"yolo": "images/train", "voc": "JPEGImages", "coco": "images/train"}[kind.partition("-")[0]]
    cv2.imwrite(str(root / bare / "z.png"), picture(None, seed=50))
    if kind == "coco-polygon":
        path = root / "annotations/instances_train.json"
        document = json.loads(path.read_text())
        document["images"].append({"id": 90, "file_name": "z.png", "width": WIDTH, "height": HEIGHT})
        path.write_text(json.dumps(document))
    if kind == "voc":
        with (root / "ImageSets/Main/train.txt").open("a") as lists:
            lists.write("z\n")
    dataset = dd.read(root)
    image = dataset.images.file_name.tolist().index(f"{bare}/z.png")
    mark = int(np.flatnonzero(dataset.annotations.class_index == dataset.class_names.index("rare"))[0])
    matrix = np.array([[1.0, 0, 20], [0, 1, 10]])
    outlines = take_outlines(read_outlines(dataset), np.array([mark]))
    rings = outlines.rings(0) or [corners(tuple(dataset.boxes[mark].tolist()))]
    paste = Paste(dataset.images.file_name[dataset.annotations.image[mark]], tuple(rings), matrix, 1.0)
    rows = np.append(np.arange(dataset.n_images), image)
    rows.sort()
    at = np.array([int(np.flatnonzero(rows == image)[1])])
    recipe = Recipe(f"{bare}/z.png", "paste", WIDTH, HEIGHT, np.eye(2, 3), pastes=(paste,))
    new = MadePictures(
        at, (recipe,), np.zeros(1, np.intp), np.array([mark]), sent(dataset.boxes[mark], matrix)[None],
        dataclasses.replace(outlines, points=moved(outlines.points, matrix)),
    )  # fmt: skip
    plan = make_plan(dataset, rows, command="rebalance", split="train", made=new)
    treated = plan.apply(dataset)
    assert treated.images.label_state[at[0]] == LabelState.LABELED
    dd.write(treated, tmp_path / "out", target)
    result = dd.read(tmp_path / "out")
    assert counts(result)["rare"] == counts(dataset)["rare"] + 1
    drawn, boxes = one(result, "z__r1.png")
    assert np.abs(boxes[0] - extent(red(drawn))).max() <= 1.5
    assert len(one(result, "z.png")[1]) == 0


# Where they go --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["yolo", "voc", "coco"])
def test_a_picture_may_take_the_place_of_its_source(tmp_path: Path, kind: str) -> None:
    """Without a repeat, the picture made has the name of the image, and its labels are not copied."""
    dataset = marked(tmp_path / "source", kind)
    plan = plan_with(dataset, [1], again=False)
    dd.write(plan.apply(dataset), tmp_path / "out")
    result = dd.read(tmp_path / "out")
    assert (result.n_images, counts(result)) == (dataset.n_images, counts(dataset))
    image, boxes = one(result, "r1.png")
    assert boxes[0].tolist() == pytest.approx([WIDTH - 104, 34, WIDTH - 52, 78], abs=1e-5)
    assert np.abs(boxes[0] - extent(red(image))).max() <= 1
    dd.write(plan_with(dataset, [1], QUARTER, again=False).apply(dataset), tmp_path / "turned")
    turned = dd.read(tmp_path / "turned")
    assert turned.sizes[[name.endswith("r1.png") for name in turned.images.file_name.tolist()]].tolist() == [[HEIGHT, WIDTH]]


@pytest.mark.parametrize("kind", ["yolo", "voc", "coco"])
def test_a_layout_made_anew_has_them_too(tmp_path: Path, kind: str) -> None:
    """Where images come from outside the dataset's folder, all files get new places, and the records of made ones their new numbers."""
    root = tmp_path / "source"
    dataset = marked(root, kind)
    if kind == "coco":
        (root / "images").rename(tmp_path / "pictures")
        dataset = dd.read(root, images=tmp_path / "pictures")
        assert dataset.images.file_name[0].startswith("../")
        treated = plan_with(dataset, [0]).apply(dataset)
    else:  # as a division into splits would
        treated = plan_with(dataset, [0]).apply(dataset)
        treated = dataclasses.replace(treated, plan={**(treated.plan or {}), "command": "split"})
    dd.write(treated, tmp_path / "out")
    result = dd.read(tmp_path / "out")
    assert counts(result) == counts(treated)
    image, boxes = one(result, "r0__r1.png")
    assert boxes[0].tolist() == pytest.approx([WIDTH - 104, 34, WIDTH - 52, 78], abs=1e-5)
    assert np.abs(boxes[0] - extent(red(image))).max() <= 1


@pytest.mark.parametrize("mode", ["symlink", "hardlink"])
def test_links_lead_to_files_and_made_pictures_are_files(tmp_path: Path, mode: str) -> None:
    """Only what is made takes space."""
    dataset = marked(tmp_path / "source", "yolo")
    treated = plan_with(dataset, [0]).apply(dataset)
    written = dd.write(treated, tmp_path / "out", materialize=mode)
    copy = tmp_path / "out/images/train/r0__r1.png"
    assert copy.is_file()
    assert not copy.is_symlink()
    assert copy.stat().st_nlink == 1
    assert written.disk_bytes == disk_bytes(treated, "yolo", mode) == copy.stat().st_size
    everything = sum(path.stat().st_size for path in (tmp_path / "source/images").rglob("*.png"))
    assert disk_bytes(treated, "yolo", "copy") == everything + copy.stat().st_size


def test_a_list_cannot_hold_them(tmp_path: Path) -> None:
    """`list` brings no image, so nothing can be made."""
    dataset = marked(tmp_path / "source", "yolo")
    with pytest.raises(UsageError, match="1 image is made anew, and a list brings no image"):
        dd.write(plan_with(dataset, [0]).apply(dataset), tmp_path / "out", materialize="list")
    assert not (tmp_path / "out").exists()


def test_the_manifest_says_what_was_done(tmp_path: Path) -> None:
    """Each made image names its source and the transform; files as they are have none."""
    dataset = marked(tmp_path / "source", "yolo", usual=1)
    dd.write(plan_with(dataset, [0]).apply(dataset), tmp_path / "out")
    manifest = json.loads((tmp_path / "out/dataset-doctor.json").read_text())
    assert {(image["file"], image["source"], image["repeat"], image["transform"]) for image in manifest["images"]} >= {
        ("images/train/r0.png", "images/train/r0.png", 0, None), ("images/train/r0__r1.png", "images/train/r0.png", 1, "moved"),
    }  # fmt: skip


def test_a_source_that_is_gone_leaves_nothing_behind(tmp_path: Path) -> None:
    """A picture that was there when the plan was made and is not any more: an error, and no folder."""
    dataset = marked(tmp_path / "source", "yolo")
    treated = plan_with(dataset, [0]).apply(dataset)
    (tmp_path / "source/images/train/r0.png").write_bytes(b"no picture")
    with pytest.raises(dd.DoctorError, match="can no longer be decoded"):
        dd.write(treated, tmp_path / "out")
    assert [path.name for path in tmp_path.iterdir()] == ["source"]
