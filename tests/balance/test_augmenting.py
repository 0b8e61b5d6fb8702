"""Augmented copies: labels follow the pixels, chance is tied to the copy, too much is refused, and first showings stay as they are."""

from __future__ import annotations

import dataclasses
import io
import json
import os
import warnings
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

import dataset_doctor as dd
from dataset_doctor.balance import OPERATIONS, rebalance
from dataset_doctor.balance.augmenting import STRONGEST_REPEAT, augmented, parse_augment
from dataset_doctor.balance.augmenting.following import clipped, follow
from dataset_doctor.balance.presets import COPIES
from dataset_doctor.dataset import Dataset
from dataset_doctor.errors import UsageError
from dataset_doctor.formats import read_outlines
from dataset_doctor.outlines import no_outlines, take_outlines
from dataset_doctor.plan import Plan
from dataset_doctor.recipes import moved
from dataset_doctor.report.sheet import sheet
from tests.command import run
from tests.consumers import contents
from tests.marked import KINDS, blue, extent, filled, marked, overlap, red

GEOMETRIC = ("flip", "flipud", "rot90", "rotate", "scale", "crop")
ON_BOXES = tuple(name for name in OPERATIONS if name != "mixup")


def plan_for(dataset: Dataset, augment: str | list[str], **options: object) -> Plan:
    return rebalance(dataset, **{"method": "oversample", "target": "uniform", "budget": 3.0, **options}, augment=augment)  # type: ignore[arg-type]


def made_rows(dataset: Dataset) -> list[int]:
    """Find the images of a written dataset that were made, by their names."""
    return [row for row, name in enumerate(dataset.images.file_name.tolist()) if "__r" in name]


def decoded(mask: dict[str, object]) -> np.ndarray:
    """Decode a run-length mask with pycocotools."""
    from pycocotools import mask as coco

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of pycocotools with numpy 2
        packed = mask if isinstance(mask["counts"], str) else coco.frPyObjects(mask, *mask["size"])
        return np.asarray(coco.decode(packed), bool)


def counts_in(dataset: Dataset, split: str) -> dict[str, int]:
    column = dataset.splits.index(split)
    counted = dataset.holding(dataset.annotations_in_split(column)).counts()[dataset.images.in_split[:, column]]
    return dict(zip(dataset.class_names, np.asarray(counted.sum(axis=0)).ravel().tolist(), strict=True))


# Labels follow the pixels ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("operation", [*ON_BOXES, ",".join(ON_BOXES)])
def test_boxes_and_outlines_lie_on_the_pixels_that_they_label(tmp_path: Path, kind: str, operation: str) -> None:
    """In each copy the red object reaches exactly as far as its label says, whatever was done to the image, in each format."""
    if kind == "yolo-pose":
        operation = ",".join(name for name in operation.split(",") if "flip" not in name)
        if not operation:
            return
    dataset = marked(tmp_path / "source", kind)
    plan = plan_for(dataset, operation)
    dd.write(plan.apply(dataset), tmp_path / "out")
    result = dd.read(tmp_path / "out")

    outlines = read_outlines(result)
    rows = made_rows(result)
    assert plan.made is not None
    assert len(rows) == len(plan.made.at) >= 3
    for row in rows:
        image = cv2.imread(str(result.root / result.images.file_name[row]))
        marks = np.flatnonzero(result.annotations.image == row)
        assert len(marks) == 1
        there = red(image) | blue(image) if kind == "yolo-pose" else red(image)
        assert np.abs(result.boxes[marks[0]] - extent(there)).max() <= 1.0 + (0.5 if kind == "voc" else 0), result.images.file_name[row]
        if rings := outlines.rings(marks[0]):
            assert len(rings) == 1
            assert overlap(filled(rings[0], *image.shape[:2]), there) > 0.95
        if marks[0] in outlines.masks:
            assert overlap(decoded(outlines.masks[marks[0]]), there) > 0.95
        if kind == "yolo-pose":
            points = outlines.keypoints[outlines.first_keypoint[marks[0]] : outlines.first_keypoint[marks[0] + 1]]
            x1, y1, x2, y2 = extent(blue(image))
            assert np.abs(points[0, :2] - [(x1 + x2) / 2, (y1 + y2) / 2]).max() <= 1
            assert points[1].tolist() == [0, 0, 0]


@pytest.mark.parametrize("target", ["yolo", "voc", "coco"])
@pytest.mark.parametrize("kind", ["yolo", "voc", "coco-polygon"])
def test_copies_keep_their_labels_in_another_format(tmp_path: Path, kind: str, target: str) -> None:
    """A conversion writes the labels of the images made, not those of their sources."""
    dataset = marked(tmp_path / "source", kind)
    plan = plan_for(dataset, "flip,rotate,scale")
    dd.write(plan.apply(dataset), tmp_path / "out", target)
    result = dd.read(tmp_path / "out")

    assert counts_in(result, "train") == {change.name: change.after for change in plan.classes}
    rows = made_rows(result)
    assert len(rows) >= 3
    for row in rows:
        image = cv2.imread(str(result.root / result.images.file_name[row]))
        box = result.boxes[np.flatnonzero(result.annotations.image == row)[0]]
        assert np.abs(box - extent(red(image))).max() <= 1.5


@given(st.lists(st.tuples(st.integers(-20, 40), st.integers(-20, 40)), min_size=3, max_size=12), st.integers(4, 30), st.integers(4, 30))
@settings(deadline=None)
def test_a_convex_polygon_is_cut_as_opencv_cuts_it(points: list[tuple[int, int]], width: int, height: int) -> None:
    """The area that is left of a polygon is that of its intersection with the image."""
    hull = cv2.convexHull(np.array(points, np.float32))[:, 0, :]
    frame = np.array([[0, 0], [width, 0], [width, height], [0, height]], np.float32)
    if len(hull) < 3 or cv2.contourArea(hull) < 1:
        return
    wanted, _ = cv2.intersectConvexConvex(hull, frame)
    left = clipped(hull.astype(np.float64), width, height)

    assert (left >= -1e-9).all()
    assert (left <= np.array([width, height]) + 1e-9).all()
    got = cv2.contourArea(left.astype(np.float32)) if len(left) else 0.0
    assert abs(got - wanted) <= 0.01 * max(wanted, 1) + 0.05


def test_records_leave_where_less_than_three_tenths_are_left(tmp_path: Path) -> None:
    """A box that is moved out of the image stays with 31 % of it and goes with 29 %; one that gets thinner than 2 px goes as well."""
    dataset = marked(tmp_path / "source", "yolo", rare=1, usual=0)
    x1, _, x2, _ = dataset.boxes[0]
    width = x2 - x1
    for share, stays in ((0.31, True), (0.29, False)):
        matrix = np.array([[[1.0, 0, -x2 + share * width], [0, 1, 0]]])
        there = follow(dataset, np.zeros(1, np.intp), no_outlines(1), matrix, np.array([[160.0, 120.0]]))
        assert there.stays.tolist() == [stays]
    thin = np.array([[[1.9 / width, 0, 10.0], [0, 1, 0]]])
    assert not follow(dataset, np.zeros(1, np.intp), no_outlines(1), thin, np.array([[160.0, 120.0]])).stays.any()


def test_an_oriented_box_that_is_cut_stays_a_rectangle_inside_the_picture(tmp_path: Path) -> None:
    """What is cut of an oriented box does not make a polygon of it, which no trainer of such boxes takes."""
    dataset = marked(tmp_path / "source", "yolo-obb", rare=1, usual=0)
    outlines = take_outlines(read_outlines(dataset), np.zeros(1, np.intp))
    matrix = np.array([[[1.0, 0, -70.0], [0, 1, -20.0]]])
    there = follow(dataset, np.zeros(1, np.intp), outlines, matrix, np.array([[160.0, 120.0]]))

    ring = there.outlines.rings(0)[0]
    assert ring.shape == (4, 2)
    assert (ring >= -1e-9).all()
    sides = np.roll(ring, -1, axis=0) - ring
    assert np.allclose([sides[k] @ sides[k - 1] for k in range(4)], 0, atol=1e-6)
    assert cv2.contourArea(ring.astype(np.float32)) > 300


def test_keypoints_outside_the_copy_are_unlabelled(tmp_path: Path) -> None:
    """A keypoint that has left the image has no place and the visibility 0."""
    dataset = marked(tmp_path / "source", "yolo-pose", rare=1, usual=0)
    matrix = np.array([[[1.0, 0, -66.0], [0, 1, 0]]])
    outlines = take_outlines(read_outlines(dataset), np.zeros(1, np.intp))
    there = follow(dataset, np.zeros(1, np.intp), outlines, matrix, np.array([[160.0, 120.0]]))
    assert there.outlines.keypoints.tolist() == [[0, 0, 0], [0, 0, 0]]


# The plan and what comes of it ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["yolo", "voc", "coco", "coco-polygon"])
def test_the_plan_is_what_comes_out(tmp_path: Path, kind: str) -> None:
    """Classes, images and sizes of the plan are those of `apply` and of what is written and read."""
    dataset = marked(tmp_path / "source", kind)
    plan = plan_for(dataset, "crop,scale,rotate")
    wanted = {change.name: change.after for change in plan.classes}
    treated = plan.apply(dataset)
    dd.write(treated, tmp_path / "out")
    result = dd.read(tmp_path / "out")

    assert counts_in(treated, "train") == counts_in(result, "train") == wanted
    assert result.n_annotations == treated.n_annotations
    assert result.n_images == treated.n_images == sum(change.images_after for change in plan.split_changes)
    order, there = np.argsort(result.images.file_name), np.argsort(treated.images.file_name, kind="stable")
    assert np.array_equal(result.images.file_width[order], treated.images.file_width[there])
    assert result.images.is_repeat.sum() == treated.is_made.sum()


def test_first_showings_and_labels_of_others_stay_byte_for_byte(tmp_path: Path) -> None:
    """Every file of the source is in the result, unchanged."""
    for kind in ("yolo", "voc"):
        dataset = marked(tmp_path / kind, kind)
        dd.write(plan_for(dataset, "outdoor").apply(dataset), tmp_path / f"{kind}-out")
        before, after = contents(tmp_path / kind), contents(tmp_path / f"{kind}-out")
        lists = {name for name in before if "ImageSets" in name}
        assert {name: after[name] for name in before if name not in lists} == {name: before[name] for name in before if name not in lists}


def test_copies_differ_from_each_other_and_from_their_source(tmp_path: Path) -> None:
    """No two showings of an image are the same pixels."""
    dataset = marked(tmp_path / "source", "yolo")
    dd.write(plan_for(dataset, "outdoor,noise").apply(dataset), tmp_path / "out")
    pictures = [data for name, data in contents(tmp_path / "out").items() if name.endswith(".png")]
    assert len(set(pictures)) == len(pictures)


@pytest.mark.skipif(not hasattr(os, "sched_getaffinity"), reason="needs a system that tells which cores a process may use")
def test_the_bytes_are_the_same_at_any_number_of_threads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One core or seven, this run or the next: the same files."""
    dataset = marked(tmp_path / "source", "yolo", end="jpg")
    written = []
    for cores in (1, 7, 7):
        monkeypatch.setattr(os, "sched_getaffinity", lambda _, cores=cores: set(range(cores)))
        out = tmp_path / f"out{len(written)}"
        dd.write(plan_for(dataset, "outdoor,noise,rotate").apply(dataset), out)
        written.append(contents(out))
    assert written[0] == written[1] == written[2]


def test_another_seed_gives_other_copies_of_the_same_images(tmp_path: Path) -> None:
    """The seed changes what is done, not what is repeated."""
    dataset = marked(tmp_path / "source", "yolo")
    one, other = (plan_for(dataset, "outdoor", seed=seed) for seed in (0, 1))
    assert one.made is not None
    assert other.made is not None
    assert [recipe.transform for recipe in one.made.recipes] != [recipe.transform for recipe in other.made.recipes]


def test_the_chance_of_a_copy_does_not_depend_on_other_images(tmp_path: Path) -> None:
    """Without one of the images, the copies of the others are the same."""
    dataset = marked(tmp_path / "source", "yolo")
    recipes = []
    for rows in (np.array([0, 0, 0, 1, 1, 2]), np.array([1, 1, 0, 0, 0])):
        made, _ = augmented(dataset, rows, 0, ("flip", "scale", "color"))
        assert made is not None
        recipes.append({(recipe.picture, recipe.transform, recipe.seed, recipe.matrix.tobytes()) for recipe in made.recipes})
    assert recipes[0] == recipes[1]


def test_later_showings_are_altered_more(tmp_path: Path) -> None:
    """The tenth showing is turned and scaled by more than the second, on average over many seeds."""
    dataset = marked(tmp_path / "source", "yolo", rare=1, usual=1)
    rows = np.zeros(STRONGEST_REPEAT + 1, np.intp)
    angles = []
    for seed in range(40):
        made, _ = augmented(dataset, rows, 0, ("rotate",), seed=seed)
        assert made is not None
        angles.append([abs(np.degrees(np.arctan2(recipe.matrix[1, 0], recipe.matrix[0, 0]))) for recipe in made.recipes])
    first, last = np.mean(angles, axis=0)[[0, -1]]
    assert first < 4
    assert 5 < last <= 10
    assert np.max(angles) <= 10 + 1e-9


def test_the_audit_finds_nothing_new_in_the_copies(tmp_path: Path) -> None:
    """Stated repeats that were altered are no duplicates, leaks or label errors."""
    for kind in ("yolo", "voc", "coco-polygon", "yolo-obb"):
        dataset = marked(tmp_path / kind, kind)
        before = {finding.code for finding in dd.audit(dataset).findings}
        dd.write(plan_for(dataset, "aerial,rotate,crop").apply(dataset), tmp_path / f"{kind}-out")
        after = {finding.code: finding.message for finding in dd.audit(dd.read(tmp_path / f"{kind}-out")).findings}
        assert {code: text for code, text in after.items() if code not in before} == {}, kind


def test_one_class_or_nothing_to_repeat_is_fine(tmp_path: Path) -> None:
    """Where no image is repeated, nothing is altered, and the plan says so."""
    dataset = marked(tmp_path / "source", "yolo", rare=2, usual=0)
    plan = rebalance(dataset, method="oversample", augment="outdoor")
    assert plan.made is None
    assert "No image is repeated, so none is altered." in plan.notes


# What stays unaltered -------------------------------------------------------------------------------------------------


def test_pictures_that_nothing_can_be_made_of_are_repeated_as_they_are(tmp_path: Path) -> None:
    """16 bits, a broken file, another size than the labels say: the repeat is a copy, and a note tells why."""
    dataset = marked(tmp_path / "source", "voc")
    folder = tmp_path / "source/JPEGImages"
    cv2.imwrite(str(folder / "r0.png"), np.full((120, 160, 3), 4000, np.uint16))
    (folder / "r1.png").write_bytes((folder / "r1.png").read_bytes()[:200])
    xml = tmp_path / "source/Annotations/r2.xml"
    xml.write_text(xml.read_text().replace("<width>160</width>", "<width>161</width>"))
    dataset = dd.read(tmp_path / "source")
    plan = plan_for(dataset, "flip")

    assert plan.made is None
    told = next(note for note in plan.notes if "unaltered" in note)
    assert "has more than 8 bits a channel (1)" in told
    assert "cannot be decoded (1)" in told
    assert "has another size than its labels say (1)" in told
    dd.write(plan.apply(dataset), tmp_path / "out")
    after = contents(tmp_path / "out")
    assert after["JPEGImages/r0__r1.png"] == after["JPEGImages/r0.png"]


def test_animated_pictures_stay(tmp_path: Path) -> None:
    """Of several frames, which one the labels are for is not known."""
    frames = [Image.fromarray(np.full((40, 40, 3), shade, np.uint8)) for shade in (20, 200)]
    for name in ("a", "b"):
        (tmp_path / "source" / name).mkdir(parents=True)
    frames[0].save(tmp_path / "source/a/1.webp", save_all=True, append_images=frames[1:], lossless=True)
    for n in range(4):
        frames[1].save(tmp_path / f"source/b/{n}.png")
    plan = plan_for(dd.read(tmp_path / "source"), "flip")
    assert plan.made is None
    assert any("is animated (1)" in note for note in plan.notes)


# Mixtures -------------------------------------------------------------------------------------------------------------


def folders(root: Path, counts: dict[str, int]) -> Dataset:
    for shade, (name, n) in enumerate(counts.items()):
        (root / name).mkdir(parents=True)
        for number in range(n):
            image = np.full((30, 40 + number, 3), 60 * (shade + 1) + number, np.uint8)
            cv2.imwrite(str(root / name / f"{number}.png"), image)
    return dd.read(root)


def test_mixup_takes_another_picture_of_the_same_class(tmp_path: Path) -> None:
    """The label of a mixture is true, since both images have it; the pixels lie between the two."""
    dataset = folders(tmp_path / "source", {"a": 3, "b": 9})
    plan = plan_for(dataset, "mixup")
    assert plan.made is not None
    for recipe in plan.made.recipes:
        assert recipe.mixed is not None
        path, share = recipe.mixed
        assert path.split("/")[0] == recipe.picture.split("/")[0]
        assert path != recipe.picture
        assert 0.1 <= share <= 0.4
    dd.write(plan.apply(dataset), tmp_path / "out")
    assert counts_in(dd.read(tmp_path / "out"), "all") == {change.name: change.after for change in plan.classes}
    values = {int(cv2.imread(str(path))[0, 0, 0]) for path in (tmp_path / "out/a").glob("*__r*.png")}
    assert values <= {60, 61, 62}


def test_mixup_of_the_only_picture_of_a_class_is_no_mixture(tmp_path: Path) -> None:
    """With nothing to mix in, the repeat stays a copy."""
    plan = plan_for(folders(tmp_path / "source", {"a": 1, "b": 4}), "mixup")
    assert plan.made is None
    assert any("is the only image of its class" in note for note in plan.notes)


# Refusals and warnings -------------------------------------------------------------------------------------------------


def test_names_that_are_not_known_are_refused_with_a_guess(tmp_path: Path) -> None:
    """So are two presets, an empty list, mixtures of boxes, and augmenting what makes no repeats."""
    dataset = marked(tmp_path / "source", "yolo")
    for wanted, what, hint in (
        ("rotat", 'augment="rotat" is not known', "rotate"),
        ("outdor", 'augment="outdor" is not known', "outdoor"),
        ("outdoor,aerial", "two presets", "Name one"),
        (" , ", "names no operation", "flip"),
        ("mixup", "image folders", "flip"),
    ):
        with pytest.raises(UsageError, match=what) as caught:
            parse_augment(wanted, dataset)
        assert hint in caught.value.hint
    with pytest.raises(UsageError, match="copy_paste makes none"):
        rebalance(dataset, method="copy_paste", augment="flip")


def test_every_preset_names_operations_and_text_is_never_mirrored() -> None:
    """A preset cannot name what is not there."""
    for names in COPIES.values():
        assert set(names) <= set(OPERATIONS)
    assert {"flip", "flipud", "rot90"}.isdisjoint(COPIES["text"] + COPIES["document"])


def test_keypoints_are_not_mirrored(tmp_path: Path) -> None:
    """`flip` is refused, since left and right would be exchanged; a preset goes without, and says so."""
    dataset = marked(tmp_path / "source", "yolo-pose")
    with pytest.raises(UsageError, match="exchanges left and right keypoints"):
        parse_augment("flip,scale", dataset)
    chosen, notes = parse_augment("outdoor", dataset)
    assert chosen == ("scale", "color")
    assert "Left out of outdoor: flip" in notes[0]


@pytest.mark.parametrize(
    ("names", "operation", "told"),
    [
        (("left hand", "right hand"), "flip", "flip makes one of the other in left hand, right hand"),
        (("stop sign", "usual"), "flip", "stop sign read as text or signs"),
        (("stop sign", "usual"), "rot90", "makes unreadable"),
        (("red light", "green light"), "color", "colour tells red light, green light apart"),
    ],
)
def test_operations_that_go_against_names_are_warned_of(tmp_path: Path, names: tuple[str, str], operation: str, told: str) -> None:
    """What a class is called may say that an operation changes what it means."""
    dataset = marked(tmp_path / "source", "yolo")
    named = dataclasses.replace(
        dataset, classes=tuple(dataclasses.replace(one, name=name) for one, name in zip(dataset.classes, names, strict=True))
    )
    notes = " ".join(plan_for(named, operation).notes)
    assert told in notes
    assert "Look again" not in " ".join(plan_for(dataset, operation).notes)


def edged(root: Path, inside: int) -> Dataset:
    """Write images with small boxes along the left edge, which crops cut away, and some in the middle."""
    for folder in ("images/train", "labels/train"):
        (root / folder).mkdir(parents=True)
    edge = "".join(f"0 {x} {y / 20:.4f} 0.02 0.02\n" for y in range(1, 20) for x in (0.012, 0.988))
    middle = "".join(f"0 {0.3 + 0.4 * n / inside:.4f} 0.5 0.02 0.02\n" for n in range(inside))
    for n in range(6):
        cv2.imwrite(str(root / f"images/train/{n}.png"), np.full((300, 300, 3), 40 * n, np.uint8))
        (root / f"labels/train/{n}.txt").write_text(edge + middle if n < 2 else "1 0.5 0.5 0.4 0.4\n" * 200)
    (root / "data.yaml").write_text("train: images/train\nnames: [a, b]\n")
    return dd.read(root)


def test_cutting_too_many_objects_away_is_refused_and_names_the_operation(tmp_path: Path) -> None:
    """Above a tenth a plan is refused; above a fiftieth it says what to leave out; below, how many."""
    dataset = edged(tmp_path / "much", 1)
    with pytest.raises(UsageError, match="of the boxes in altered copies are cut away") as caught:
        augmented(dataset, np.array([0, 0, 1, 1]), 0, ("flip", "crop"))
    assert "leave crop out" in caught.value.hint
    _, notes = augmented(edged(tmp_path / "some", 600), np.array([0, 0, 1, 1]), 0, ("flip", "crop"))
    assert any("more than 2%: leave crop out" in note.replace(" %", "%") for note in notes), notes
    _, notes = augmented(edged(tmp_path / "few", 3000), np.array([0, 0, 1, 1]), 0, ("flip", "crop"))
    assert any("are cut away" in note and "leave" not in note for note in notes), notes


def test_objects_that_are_cut_away_are_missing_in_plan_and_result_alike(tmp_path: Path) -> None:
    """What a crop costs is counted before anything is written, and what the notes say of targets counts it too."""
    dataset = edged(tmp_path / "source", 600)
    plan = rebalance(dataset, method="oversample", target="floor:5000", max_repeat=5, budget=3, augment="crop")
    whole = rebalance(dataset, method="oversample", target="floor:5000", max_repeat=5, budget=3)
    dd.write(plan.apply(dataset), tmp_path / "out")
    wanted = {change.name: change.after for change in plan.classes}
    assert wanted["a"] < {change.name: change.after for change in whole.classes}["a"]
    assert counts_in(dd.read(tmp_path / "out"), "train") == wanted
    assert any(f"a {wanted['a']:,} of 5,000" in note for note in plan.notes), plan.notes


# The command and the sheet ----------------------------------------------------------------------------------------------


def test_the_command_writes_copies_and_a_sheet(tmp_path: Path) -> None:
    """`--augment` alters repeats, the manifest says how, and `--preview` draws them, in a rehearsal too."""
    dataset = marked(tmp_path / "source", "yolo")
    command = ["rebalance", str(dataset.root), str(tmp_path / "out"), "--method", "oversample", "--budget", "2", "--augment", "outdoor"]
    rehearsed = run(*command, "--preview", tmp_path / "sheet.jpg", "--dry-run", "--json")
    assert rehearsed.returncode == 0, rehearsed.stderr
    assert not (tmp_path / "out").exists()
    with Image.open(tmp_path / "sheet.jpg") as page:
        assert page.format == "JPEG"
        assert page.width > 2 * 320
    done = run(*command, "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == json.loads(rehearsed.stdout)
    manifest = json.loads((tmp_path / "out/dataset-doctor.json").read_text())
    transforms = {image["file"]: image["transform"] for image in manifest["images"]}
    assert {name for name, transform in transforms.items() if transform} == {name for name in transforms if "__r" in name} != set()


@pytest.mark.parametrize(
    ("more", "told"),
    [
        (["--augment", "flip", "--preview", "sheet.png"], "is not a .jpg"),
        (["--augment", "flip", "--preview", "SOURCE/sheet.jpg"], "lies in the dataset"),
        (["--augment", "flip", "--materialize", "list"], "made anew, and a list brings no image"),
        (["--augment", "flop"], "--augment flop is not known"),
    ],
)
def test_the_command_refuses_in_one_line(tmp_path: Path, more: list[str], told: str) -> None:
    """What cannot be done is said before anything is written."""
    dataset = marked(tmp_path / "source", "yolo")
    more = [word.replace("SOURCE", str(dataset.root)) for word in more]
    done = run("rebalance", dataset.root, tmp_path / "out", "--method", "oversample", *more)
    assert done.returncode == 2
    assert told in done.stderr
    assert not (tmp_path / "out").exists()


def test_a_sheet_shows_source_and_copy_side_by_side(tmp_path: Path) -> None:
    """The copy's box is drawn where the red object went."""
    dataset = marked(tmp_path / "source", "yolo", rare=1, usual=3)
    plan = plan_for(dataset, "flip", max_repeat=2)
    page = np.asarray(Image.open(io.BytesIO(sheet(dataset, plan))))
    assert sheet(dataset, plan) == sheet(dataset, plan)
    left, right = page[60:300, 10:330], page[60:300, 340:660]
    centres = [float(np.flatnonzero(red(part[:, :, ::-1]).any(axis=0)).mean()) for part in (left, right)]
    assert centres[0] < 160 < centres[1] + 5


def test_maps_send_points_as_pixels() -> None:
    """Every operation that is geometric keeps the size of the image, or exchanges its sides."""
    for name in GEOMETRIC:
        for seed in range(20):
            change = OPERATIONS[name](np.random.default_rng(seed), 1.0, (160, 120))
            if change is not None and change.matrix is not None and name in ("flip", "flipud", "rot90"):
                there = moved(np.array([[0.0, 0.0], [160.0, 120.0]]), change.matrix)
                size = (120, 160) if change.swaps else (160, 120)
                assert sorted(map(tuple, there.tolist()))[0][0] == 0
                assert (there.max(axis=0) == size).all()
