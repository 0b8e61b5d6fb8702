"""`copy_paste`: what is pasted, where to, what the labels say afterwards, and that the plan is what comes out."""

from __future__ import annotations

import dataclasses
import json
import warnings
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from dataset_doctor.audit import examine
from dataset_doctor.balance import rebalance
from dataset_doctor.dataset import Dataset
from dataset_doctor.errors import UsageError
from dataset_doctor.formats import read, read_outlines, write
from dataset_doctor.outlines import Outlines
from dataset_doctor.plan import Plan
from dataset_doctor.recipes import moved
from dataset_doctor.scan import scan
from dataset_doctor.scan.near import find_duplicates
from tests.drawing import draw

SIZE = (160, 120)

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # of pycocotools with NumPy 2


# Datasets on disk ---------------------------------------------------------------------------------------------------


def noise(seed: int, size: tuple[int, int] = SIZE) -> NDArray[np.uint8]:
    """Draw a dull, uneven image, no two alike, in which red and blue stand out."""
    rng = np.random.default_rng(seed)
    small = rng.integers(70, 130, (6, 8)).astype(np.uint8)
    grey = cv2.resize(small, size, interpolation=cv2.INTER_CUBIC)
    return np.repeat(grey[:, :, None], 3, axis=2)


RED, BLUE = (0, 0, 250), (250, 0, 0)  # as OpenCV orders channels
HALF = 125  # where what is drawn is half of an object and half of what is behind


def blob(x: int, y: int, r: int, *, points: int = 24) -> NDArray[np.float64]:
    """Give the outline of an uneven disc."""
    turn = np.linspace(0, 2 * np.pi, points, endpoint=False)
    radius = r * (1 + 0.25 * np.cos(3 * turn))
    return np.stack([x + radius * np.cos(turn), y + radius * np.sin(turn)], axis=1)


def fill(picture: NDArray[np.uint8], ring: NDArray[np.float64], colour: tuple[int, int, int]) -> None:
    """Paint what COCO's own tools call the inside of a ring."""
    picture[mask_of(ring, picture.shape[1::-1]) != 0] = colour


def mask_of(ring: NDArray[np.float64], size: tuple[int, int]) -> NDArray[np.uint8]:
    from pycocotools import mask as codec

    decoded: NDArray[np.uint8] = codec.decode(codec.merge(codec.frPyObjects([ring.ravel().tolist()], size[1], size[0])))
    return decoded


Scene = list[tuple[str, NDArray[np.float64]]]


def scenes(cars: int = 12, stars: int = 3, empty: int = 2) -> list[Scene]:
    """Give what images hold: two cars each, one star each, nothing."""
    made: list[Scene] = [[("car", blob(40, 50 + k % 5, 16)), ("car", blob(110, 70, 12 + k % 4))] for k in range(cars)]
    made += [[("star", blob(60 + 5 * k, 55, 15 + k))] for k in range(stars)]
    return made + [[] for _ in range(empty)]


def coco(root: Path, given: list[Scene], segmentation: str = "polygon", **changes: Any) -> Path:
    """Write a COCO dataset with polygons, run lengths or boxes."""
    from pycocotools import mask as codec

    (root / "train").mkdir(parents=True)
    names = ["car", "star"]
    document: dict[str, Any] = {"images": [], "annotations": [], "categories": [{"id": k + 1, "name": n} for k, n in enumerate(names)]}
    for number, scene in enumerate(given):
        picture = noise(number)
        document["images"].append({"id": number + 1, "file_name": f"{number}.png", "width": SIZE[0], "height": SIZE[1]})
        for name, ring in scene:
            fill(picture, ring, RED if name == "star" else BLUE)
            (x1, y1), (x2, y2) = ring.min(axis=0), ring.max(axis=0)
            pixels = mask_of(ring, SIZE)
            shapes: dict[str, Any] = {"polygon": [ring.ravel().round(2).tolist()], "box": []}
            if segmentation == "rle":
                runs = codec.encode(np.asfortranarray(pixels))
                shapes["rle"] = {"size": list(pixels.shape), "counts": runs["counts"].decode()}
            if segmentation == "runs":
                edges = np.flatnonzero(np.diff(pixels.ravel(order="F"), prepend=0))
                shapes["runs"] = {"size": list(pixels.shape), "counts": np.diff([0, *edges, pixels.size]).tolist()}
            if segmentation in ("rle", "runs"):
                ys, xs = np.flatnonzero(pixels.any(axis=1)), np.flatnonzero(pixels.any(axis=0))
                x1, y1, x2, y2 = xs[0], ys[0], xs[-1] + 1, ys[-1] + 1
            record = {
                "id": len(document["annotations"]) + 1, "image_id": number + 1, "category_id": names.index(name) + 1,
                "bbox": [float(v) for v in (x1, y1, x2 - x1, y2 - y1)], "area": float(pixels.sum()), "iscrowd": 0,
                "segmentation": shapes[segmentation],
            }  # fmt: skip
            document["annotations"].append({**record, **changes})
        cv2.imwrite(str(root / f"train/{number}.png"), picture)
    (root / "train/_annotations.coco.json").write_text(json.dumps(document))
    return root


def yolo(root: Path, given: list[Scene], *, segment: bool = False) -> Path:
    """Write a YOLO dataset with boxes or polygons."""
    (root / "images/train").mkdir(parents=True)
    (root / "labels/train").mkdir(parents=True)
    (root / "data.yaml").write_text("train: images/train\nval: images/train\nnames: [car, star]\n".replace("val: images/train\n", ""))
    for number, scene in enumerate(given):
        picture, lines = noise(number), []
        for name, ring in scene:
            fill(picture, ring, RED if name == "star" else BLUE)
            shares = ring / SIZE
            low, high = shares.min(axis=0), shares.max(axis=0)
            values = shares.ravel() if segment else np.concatenate([(low + high) / 2, high - low])
            lines.append(f"{int(name == 'star')} {' '.join(f'{v:.6f}' for v in values)}\n")
        cv2.imwrite(str(root / f"images/train/{number}.png"), picture)
        (root / f"labels/train/{number}.txt").write_text("".join(lines))
    return root


def voc(root: Path, given: list[Scene]) -> Path:
    """Write a VOC dataset."""
    for folder in ("JPEGImages", "Annotations", "ImageSets/Main"):
        (root / folder).mkdir(parents=True)
    for number, scene in enumerate(given):
        picture, objects = noise(number), []
        for name, ring in scene:
            fill(picture, ring, RED if name == "star" else BLUE)
            x1, y1, x2, y2 = np.concatenate([ring.min(axis=0), ring.max(axis=0)]).round().astype(int).tolist()
            corners = f"<xmin>{x1}</xmin><ymin>{y1}</ymin><xmax>{x2}</xmax><ymax>{y2}</ymax>"
            objects.append(f"<object><name>{name}</name><difficult>0</difficult><bndbox>{corners}</bndbox></object>")
        size = f"<size><width>{SIZE[0]}</width><height>{SIZE[1]}</height><depth>3</depth></size>"
        text = f"<annotation><filename>{number}.png</filename>{size}{''.join(objects)}</annotation>"
        cv2.imwrite(str(root / f"JPEGImages/{number}.png"), picture)
        (root / f"Annotations/{number}.xml").write_text(text)
    (root / "ImageSets/Main/train.txt").write_text("".join(f"{number}\n" for number in range(len(given))))
    return root


def after(plan: Plan) -> dict[str, int]:
    return {change.name: change.after for change in plan.classes}


def counted(dataset: Dataset) -> dict[str, int]:
    names = [dataset.class_names[c] for c in dataset.annotations.class_index[dataset.is_instance].tolist()]
    return {name: Counter(names)[name] for name in dataset.class_names}


def pasted(plan: Plan) -> NDArray[np.bool_]:
    """Tell which labels of the made images are those of pasted instances: they come last in each."""
    assert plan.made is not None
    owner = plan.made.owner
    each = np.array([len(recipe.pastes) for recipe in plan.made.recipes])
    left = np.bincount(owner, minlength=len(each))[owner] - (np.arange(len(owner)) - np.searchsorted(owner, owner))
    last: NDArray[np.bool_] = left <= each[owner]
    return last


MAKERS: dict[str, Callable[[Path], Path]] = {
    "coco polygons": lambda root: coco(root, scenes()),
    "coco compressed masks": lambda root: coco(root, scenes(), "rle"),
    "coco run lengths": lambda root: coco(root, scenes(), "runs"),
    "coco boxes": lambda root: coco(root, scenes(), "box"),
    "yolo boxes": lambda root: yolo(root, scenes()),
    "yolo polygons": lambda root: yolo(root, scenes(), segment=True),
    "voc": lambda root: voc(root, scenes()),
}
EVERY_KIND = pytest.mark.parametrize("kind", MAKERS)


# The plan and what is written -----------------------------------------------------------------------------------------


@EVERY_KIND
def test_what_is_written_is_what_was_planned(kind: str, tmp_path: Path) -> None:
    """Read back, the classes have the counts of the plan, the shortfall is filled to the instance, and every original file is as it was."""
    source = read(MAKERS[kind](tmp_path / "in"))
    plan = rebalance(source, method="copy_paste", target="floor:20", budget=3)
    write(plan.apply(source), tmp_path / "out")
    result = read(tmp_path / "out")

    assert after(plan)["star"] == 20 and not any("stays" in note for note in plan.notes)
    assert counted(result) == after(plan)
    assert result.n_images == plan.epoch_images
    assert int(result.is_made.sum()) == 0 and int(result.images.is_repeat.sum()) == len(plan.made.at) > 0  # type: ignore[union-attr]
    for name, repeat in zip(result.images.file_name.tolist(), result.images.is_repeat.tolist(), strict=True):
        original = source.root / name
        assert repeat or (original.read_bytes() == (tmp_path / "out" / name).read_bytes())


@EVERY_KIND
def test_boxes_stay_where_the_plan_put_them(kind: str, tmp_path: Path) -> None:
    """Whatever the format, the boxes of made images are read back as planned, to a pixel where a format rounds."""
    source = read(MAKERS[kind](tmp_path / "in"))
    plan = rebalance(source, method="copy_paste", target="floor:12", budget=3)
    planned = plan.apply(source)
    write(planned, tmp_path / "out")
    result = read(tmp_path / "out")
    order = np.lexsort((result.annotations.class_index, result.boxes[:, 0].round(), result.annotations.image))
    other = np.lexsort((planned.annotations.class_index, planned.boxes[:, 0].round(), planned.annotations.image))

    assert np.allclose(np.sort(result.boxes[order], axis=0), np.sort(planned.boxes[other], axis=0), atol=1.01 if "voc" in kind else 0.02)


@pytest.mark.parametrize("kind", ["coco polygons", "coco compressed masks", "coco run lengths"])
def test_masks_decode_to_the_pixels_that_are_drawn(kind: str, tmp_path: Path) -> None:
    """COCO's own tools find each object, pasted or partly covered, where the image shows it: area to 2 %, box to a pixel."""
    from pycocotools.coco import COCO

    source = read(MAKERS[kind](tmp_path / "in"))
    plan = rebalance(source, method="copy_paste", target="floor:40", budget=4)
    write(plan.apply(source), tmp_path / "out")
    api = COCO(str(tmp_path / "out/train/_annotations.coco.json"))
    drawn = {1: 0, 2: 0}
    masked = {1: 0, 2: 0}
    for image in api.loadImgs(api.getImgIds()):
        picture = cv2.imread(str(tmp_path / "out/train" / image["file_name"])).astype(int)
        marks = {1: picture[:, :, 0] - picture[:, :, 1] > HALF, 2: picture[:, :, 2] - picture[:, :, 1] > HALF}
        for category, pixels in marks.items():
            records = api.loadAnns(api.getAnnIds(imgIds=[image["id"]], catIds=[category]))
            masks = [api.annToMask(record) for record in records]
            union = np.any(masks, axis=0) if masks else np.zeros(pixels.shape, bool)
            drawn[category] += int(pixels.sum())
            masked[category] += int(union.sum())
            near = cv2.dilate(union.astype(np.uint8), np.ones((3, 3), np.uint8)) != 0
            assert not (pixels & ~near).any(), "a marked pixel further than a pixel from its mask"
            inside = np.zeros(pixels.shape, bool)
            for x, y, width, height in (record["bbox"] for record in records):
                inside[max(int(y - 1), 0) : int(np.ceil(y + height + 1)), max(int(x - 1), 0) : int(np.ceil(x + width + 1))] = True
            assert not (pixels & ~inside).any(), "a marked pixel further than a pixel from its box"

    assert drawn[1] > 0 and drawn[2] > 0
    assert masked[2] == pytest.approx(drawn[2], rel=0.02) and masked[1] == pytest.approx(drawn[1], rel=0.02)


@pytest.mark.parametrize("kind", ["polygon", "rle", "runs"])
def test_shapes_that_are_partly_covered_end_at_the_paste(kind: str, tmp_path: Path) -> None:
    """What a paste covers is in its own shape alone, and the box of what it covers is drawn in with its shape."""
    source = read(coco(tmp_path / "in", [[("car", blob(80, 60, 50))] for _ in range(8)] + [[("star", blob(70, 60, 18))]], kind))
    plan = rebalance(source, method="copy_paste", target="floor:20", budget=4)
    made, given = plan.made, read_outlines(source)
    assert made is not None
    changed = 0
    for number in range(len(made.at)):
        rows = np.flatnonzero(made.owner == number)
        masks = [shown(made.outlines, row) for row in rows.tolist()]
        assert np.sum([mask.sum() for mask in masks]) - np.any(masks, axis=0).sum() <= 0.02 * masks[0].sum(), "shapes over each other"
        for row, mask in zip(rows.tolist(), masks, strict=True):
            changed += int(not pasted(plan)[row] and mask.sum() < 0.99 * shown(given, int(made.origin[row])).sum())
            ys, xs = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
            assert np.abs(made.boxes[row] - [xs[0], ys[0], xs[-1] + 1, ys[-1] + 1]).max() <= 1.6

    assert changed > 0, "nothing was covered, so nothing was tried"


def shown(outlines: Outlines, row: int) -> NDArray[np.bool_]:
    """Draw the shape of an annotation as COCO's own tools do."""
    from pycocotools import mask as codec

    if row not in outlines.masks:
        rings: NDArray[np.bool_] = np.any([mask_of(ring, SIZE) for ring in outlines.rings(row)], axis=0)
        return rings
    mask = outlines.masks[row]
    runs = codec.frPyObjects(mask, *mask["size"]) if isinstance(mask["counts"], list) else {**mask, "counts": mask["counts"].encode()}
    return np.asarray(codec.decode(runs)) != 0


@pytest.mark.slow
def test_the_audit_finds_nothing_new(tmp_path: Path) -> None:
    """Images made from one image are stated repeats, and their labels are as sound as those they come from."""
    source = read(coco(tmp_path / "in", scenes(cars=20, stars=6)))
    plan = rebalance(source, method="copy_paste", target="floor:30", budget=3)
    write(plan.apply(source), tmp_path / "out")

    def findings(dataset: Dataset) -> set[str]:
        pixels = scan(dataset, cache=None)
        return {finding.code for finding in examine(dataset, pixels=pixels, duplicates=find_duplicates(dataset, pixels)).findings}

    assert findings(read(tmp_path / "out")) <= findings(source)


# What is pasted, and where ----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make a folder of images, 0.png to 11.png."""
    root = tmp_path_factory.mktemp("pictures")
    for number in range(12):
        cv2.imwrite(str(root / f"{number}.png"), noise(number))
    return root


@st.composite
def crowded(draw_from: st.DrawFn) -> Dataset:
    """Draw images full of boxes of three classes, some of them difficult or crowds; VOC, which has no outlines to read."""
    rng = np.random.default_rng(draw_from(st.integers(0, 10**6)))
    most, small = draw_from(st.integers(1, 7)), draw_from(st.booleans())
    lines = ["format: voc", "classes: cat dog bird"]
    for number in range(draw_from(st.integers(1, 12))):
        lines.append(f"{number}.png {SIZE[0]}x{SIZE[1]} train {rng.choice(['', '', 'unlabeled', 'background'])}")
        for _ in range(int(rng.integers(0, most + 1))):
            width, height = rng.integers(8, 30 if small else 70, 2).tolist()
            x, y = int(rng.integers(-2, SIZE[0] - width + 3)), int(rng.integers(-2, SIZE[1] - height + 3))
            x, y, right, below = max(x, 0), max(y, 0), min(x + width, SIZE[0]), min(y + height, SIZE[1])
            name = rng.choice(["cat", "dog", "bird", "?"], p=[0.6, 0.2, 0.15, 0.05])
            flag = rng.choice(["", "difficult", "truncated", "crowd"], p=[0.7, 0.1, 0.1, 0.1])
            lines.append(f"  {name} {x} {y} {right} {below} {flag}")
    return draw("\n".join(lines))[0]


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(
    dataset=crowded(), seed=st.integers(0, 3), target=st.sampled_from(["sqrt", "uniform", "floor:9"]), budget=st.sampled_from([1, 1.5, 4])
)
@pytest.mark.slow
def test_pastes_keep_the_rules(pictures: Path, dataset: Dataset, seed: int, target: str, budget: float) -> None:
    """No box is covered by more than a quarter, none leaves its image, and pastes keep apart; the plan is what comes out."""
    dataset = dataclasses.replace(dataset, root=pictures)
    try:
        plan = rebalance(dataset, method="copy_paste", target=target, budget=budget, seed=seed)
    except UsageError:
        return
    rows = plan.rows
    assert plan.epoch_images <= max(budget * dataset.n_images, dataset.n_images)
    assert set(rows.tolist()) == set(range(dataset.n_images)), "every image is there as it was"
    treated = plan.apply(dataset)
    instances = np.asarray(treated.counts().sum(axis=0)).ravel()
    assert [change.after for change in plan.classes] == instances.tolist()
    if plan.made is None:
        return
    made, new = plan.made, pasted(plan)
    assert (np.bincount(made.owner[new], minlength=len(made.at)) >= 1).all(), "an image without a paste"
    assert (dataset.annotations.image[made.origin[~new]] == rows[made.at[made.owner[~new]]]).all()
    assert (np.bincount(made.owner[new], minlength=len(made.at)) <= 3).all()
    flags = dataset.annotations.flags[made.origin[new]]
    assert not (flags & 13).any(), "difficult, truncated or a crowd"
    assert (made.boxes[new] >= -1e-6).all() and (made.boxes[new] <= np.tile(SIZE, 2) + 1e-6).all()
    for number, recipe in enumerate(made.recipes):
        covers = [mask_of(np.concatenate([moved(ring, one.matrix) for ring in one.rings]), SIZE) for one in recipe.pastes]
        rings = [np.concatenate([moved(ring, one.matrix) for ring in one.rings]) for one in recipe.pastes]
        for k, one in enumerate(rings):
            for other in rings[:k]:
                both = np.minimum(one.max(axis=0), other.max(axis=0)) - np.maximum(one.min(axis=0), other.min(axis=0))
                assert (both <= 1e-6).any(), "a paste over another"
        for row in np.flatnonzero((made.owner == number) & ~new).tolist():
            x1, y1, x2, y2 = made.boxes[row].round().astype(int).tolist()
            box = np.any(covers, axis=0)[y1:y2, x1:x2]
            assert box.mean() <= 0.25 + (x2 - x1 + y2 - y1) / box.size, "a box covered by more than a quarter"


def test_every_instance_is_pasted_once_before_any_is_twice(tmp_path: Path) -> None:
    """With three stars and fifteen pastes or so, none is pasted more than once oftener than another."""
    source = read(coco(tmp_path / "in", scenes(stars=3)))
    plan = rebalance(source, method="copy_paste", target="floor:18", budget=3)
    often = Counter(plan.made.origin[pasted(plan)].tolist())  # type: ignore[union-attr]

    assert len(often) == 3 and max(often.values()) - min(often.values()) <= 1


def test_backgrounds_are_pasted_into_first_and_an_object_never_into_its_own_picture(tmp_path: Path) -> None:
    """As long as there are backgrounds, images with cars are left alone; and no object is set beside itself."""
    source = read(coco(tmp_path / "in", scenes(empty=6)))
    plan = rebalance(source, method="copy_paste", target="floor:9", budget=3)

    assert set(plan.rows[plan.made.at].tolist()) <= set(range(15, 21))  # type: ignore[union-attr]
    assert after(plan) == {"car": 24, "star": 9}
    everywhere = rebalance(source, method="copy_paste", target="floor:60", budget=4)
    cut_from, set_into = dataset_images(everywhere)
    assert len(set(set_into.tolist())) > 6 and not (cut_from == set_into).any()


def dataset_images(plan: Plan) -> tuple[NDArray[Any], NDArray[Any]]:
    """Give for each recipe's paste the image it is from, and the image it is in."""
    assert plan.made is not None
    pairs = [(paste.picture, recipe.picture) for recipe in plan.made.recipes for paste in recipe.pastes]
    return np.array([one for one, _ in pairs]), np.array([other for _, other in pairs])


def test_objects_keep_the_size_and_height_of_their_class(tmp_path: Path) -> None:
    """Pasted stars are as large as stars are, and none of what is enlarged is by more than half."""
    source = read(coco(tmp_path / "in", scenes(stars=6)))
    plan = rebalance(source, method="copy_paste", target="floor:60", budget=4)
    new = pasted(plan)
    heights = (plan.made.boxes[new, 3] - plan.made.boxes[new, 1]) / SIZE[1]  # type: ignore[union-attr]
    stars = source.annotations.class_index == 1
    usual = (source.boxes[stars, 3] - source.boxes[stars, 1]) / SIZE[1]
    scales = [paste.matrix[0, 0] for recipe in plan.made.recipes for paste in recipe.pastes]  # type: ignore[union-attr]

    assert max(scales) <= 1.5
    assert np.median(heights) == pytest.approx(np.median(usual), rel=0.25)
    assert heights.max() <= 1.5 * usual.max() and heights.min() >= 0.6 * usual.min()


def test_the_same_seed_gives_the_same_plan(tmp_path: Path) -> None:
    """Chance is only in the seed; another seed places otherwise."""
    source = read(coco(tmp_path / "in", scenes()))
    one, again, other = (rebalance(source, method="copy_paste", target="floor:20", budget=3, seed=seed) for seed in (4, 4, 5))

    assert np.array_equal(one.made.boxes, again.made.boxes) and one.to_dict() == again.to_dict()  # type: ignore[union-attr]
    assert not np.array_equal(one.made.boxes, other.made.boxes)  # type: ignore[union-attr]


def test_pasting_separates_what_repeats_cannot(tmp_path: Path) -> None:
    """Where every star stands beside three cars, repeats bring cars along; pastes into backgrounds bring none, and both are said."""
    together = [[("car", blob(25 + 45 * k, 25, 12)) for k in range(3)] + [("star", blob(80, 85, 18))] for _ in range(4)]
    source = read(coco(tmp_path / "in", [*together, *([[]] * 6)]))
    plan = rebalance(source, method="copy_paste", target="uniform", budget=2)

    assert after(plan) == {"car": 12, "star": 12}
    assert plan.certificate is not None and plan.certificate.inseparable == (("car", "star"),)
    assert any(note.startswith("Repeats alone: 2 of 2 targets met in 18 images") for note in plan.notes), plan.notes
    assert any(note.startswith("With pastes: 2 of 2 targets met in 13 images") for note in plan.notes), plan.notes


# Where it ends -------------------------------------------------------------------------------------------------------


def test_a_budget_that_ends_before_the_target_is_said(tmp_path: Path) -> None:
    """One image more than there are takes three stars."""
    source = read(coco(tmp_path / "in", scenes()))
    plan = rebalance(source, method="copy_paste", target="floor:20", budget=18 / 17)

    assert plan.epoch_images == 18 and after(plan)["star"] == 6
    assert any("star stays at 6 of 20: the budget of 1.06 × ends before" in note for note in plan.notes)


def test_a_budget_without_room_changes_nothing(tmp_path: Path) -> None:
    source = read(coco(tmp_path / "in", scenes()))
    plan = rebalance(source, method="copy_paste", target="floor:20", budget=1)

    assert plan.made is None and plan.epoch_images == source.n_images
    assert any("the budget of 1 × ends before" in note for note in plan.notes)


def test_classes_at_their_target_are_left_alone(tmp_path: Path) -> None:
    source = read(coco(tmp_path / "in", scenes()))
    plan = rebalance(source, method="copy_paste", target="floor:1")

    assert plan.made is None and plan.notes == ("Every class has its target already: nothing is pasted.",)


def test_only_whole_instances_are_pasted(tmp_path: Path) -> None:
    """Where all stars are cut off by the edge, or too small, none is pasted and the plan says why."""
    cut = [[("star", blob(10, 60, 15))], [("star", blob(80, 60, 3))]]
    source = read(coco(tmp_path / "in", [*scenes(stars=0), *cut], "box"))
    plan = rebalance(source, method="copy_paste", target="floor:9")

    assert plan.made is None and after(plan)["star"] == 2
    assert any(
        "star stays at 2 of 9: no instance can be pasted (1 smaller than 12 px, 1 cut off by the edge" in note for note in plan.notes
    )


def test_a_class_in_every_picture_is_filled_as_far_as_pictures_allow(tmp_path: Path) -> None:
    """Each image pasted into brings its own star: the target is reached but never exceeded."""
    source = read(coco(tmp_path / "in", [[("star", blob(50 + k, 60, 15)), ("car", blob(120, 60, 14))] for k in range(6)]))
    plan = rebalance(source, method="copy_paste", target="floor:13", budget=3)

    assert 11 <= after(plan)["star"] <= 13 and 11 <= after(plan)["car"] <= 13


def test_a_class_that_is_filled_does_not_stop_the_others(tmp_path: Path) -> None:
    """Every image holds a car, and cars reach their target soon: stars are pasted all the same, and the plan says what that costs."""
    source = read(coco(tmp_path / "in", [*scenes(cars=0, stars=0, empty=0), *([[("car", blob(120, 60, 14))]] * 6), *scenes(0, 2, 0)]))
    plan = rebalance(source, method="copy_paste", target="floor:8", budget=3)

    assert after(plan)["star"] == 8 and after(plan)["car"] >= 8
    source = read(
        coco(tmp_path / "beside", [[("star", blob(40, 60, 14)), ("car", blob(120, 60, 14))]] * 2 + [[("car", blob(50, 50, 9))]] * 5)
    )
    plan = rebalance(source, method="copy_paste", target=str(counts_file(tmp_path, car=8, star=12)), budget=3)

    assert after(plan)["star"] == 12 and after(plan)["car"] > 8
    assert any("Above the target" in note and "car" in note for note in plan.notes)


def counts_file(folder: Path, **counts: int) -> Path:
    file = folder / "counts.csv"
    file.write_text("class,count\n" + "".join(f"{name},{count}\n" for name, count in counts.items()))
    return file


def test_one_picture_alone_is_pasted_into(tmp_path: Path) -> None:
    """With a single image there is no other to choose."""
    source = read(coco(tmp_path / "in", [[("star", blob(40, 40, 12))]]))
    plan = rebalance(source, method="copy_paste", target="floor:4", budget=2)

    assert plan.epoch_images == 2 and after(plan)["star"] == 4


def test_pictures_that_cannot_be_read_are_left_as_they_are(tmp_path: Path) -> None:
    """An image that does not decode is neither pasted from nor into, and is written as it is."""
    root = coco(tmp_path / "in", scenes(stars=2, empty=1))
    broken = root / "train/12.png"
    broken.write_bytes(broken.read_bytes()[:60])
    source = read(root)
    plan = rebalance(source, method="copy_paste", target="floor:9", budget=3)
    write(plan.apply(source), tmp_path / "out")

    assert after(plan)["star"] == 9
    assert 12 not in plan.rows[plan.made.at] and not (source.annotations.image[plan.made.origin] == 12).any()  # type: ignore[union-attr]
    assert (tmp_path / "out/train/12.png").read_bytes() == broken.read_bytes()


def test_objects_larger_than_a_picture_are_shrunk_to_fit(tmp_path: Path) -> None:
    """An object of a large image goes whole into small ones."""
    root = coco(tmp_path / "in", scenes(cars=3, stars=1, empty=0))
    document = json.loads((root / "train/_annotations.coco.json").read_text())
    for image in document["images"][:3]:
        picture = cv2.resize(cv2.imread(str(root / "train" / image["file_name"])), (40, 30))
        cv2.imwrite(str(root / "train" / image["file_name"]), picture)
        image |= {"width": 40, "height": 30}
    document["annotations"] = [one for one in document["annotations"] if one["image_id"] > 3]
    (root / "train/_annotations.coco.json").write_text(json.dumps(document))
    source = read(root)
    plan = rebalance(source, method="copy_paste", target="floor:3", budget=2)

    assert after(plan)["star"] == 3
    assert (plan.made.boxes[:, 2:] <= [40, 30]).all()  # type: ignore[union-attr]


def test_no_pictures_are_an_error(tmp_path: Path) -> None:
    root = coco(tmp_path / "in", scenes())
    for file in (root / "train").glob("*.png"):
        file.unlink()
    with pytest.raises(UsageError, match="needs images, and none of this split can be used"):
        rebalance(read(root), method="copy_paste", target="floor:20")


def test_keypoints_are_refused(tmp_path: Path) -> None:
    root = coco(tmp_path / "in", scenes(), keypoints=[60, 50, 2], num_keypoints=1)
    with pytest.raises(UsageError, match="copy_paste is not for keypoints"):
        rebalance(read(root), method="copy_paste", target="floor:20")


def test_class_folders_are_refused() -> None:
    dataset = draw("format: folder\ntask: classify\nclasses: cat dog\ntrain/cat/1.jpg 9x9 train\ntrain/dog/1.jpg 9x9 train")[0]
    with pytest.raises(UsageError, match="copy_paste is for boxes") as caught:
        rebalance(dataset, method="copy_paste")
    assert "mixup" in caught.value.hint


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"max_repeat": 1}, "max_repeat=1 leaves no image"),
        ({"budget": 0.5}, "budget=0.5 is below 1"),
        ({"background": "10%"}, 'background="10%" is not for copy_paste'),
        ({"min_repeat": 0}, "min_repeat=0 is for optimal"),
        ({"threshold": 0.1}, "threshold is for repeat_factor"),
        ({"target": "floor:many"}, "floor: takes a whole number"),
    ],
)
def test_options_that_mean_nothing_here_are_refused(options: dict[str, Any], message: str, tmp_path: Path) -> None:
    source = read(coco(tmp_path / "in", scenes()))
    with pytest.raises(UsageError, match=message):
        rebalance(source, method="copy_paste", **{"target": "floor:20", **options})


def test_boxes_that_take_background_along_are_said(tmp_path: Path) -> None:
    """With boxes alone a note says so; with polygons there is nothing to say."""
    boxes, polygons = read(coco(tmp_path / "boxes", scenes(), "box")), read(coco(tmp_path / "polygons", scenes()))
    notes = [rebalance(one, method="copy_paste", target="floor:9", budget=2).notes for one in (boxes, polygons)]

    assert [any("take background along" in note for note in told) for told in notes] == [True, False]


def test_broken_records_are_neither_pasted_nor_shown(tmp_path: Path) -> None:
    """What is left out counts nowhere."""
    source = read(coco(tmp_path / "in", scenes(stars=3)))
    stars = np.flatnonzero(source.annotations.class_index == 1)
    plan = rebalance(source, method="copy_paste", target="floor:9", budget=3, left_out=stars[:1])

    assert after(plan)["star"] == 9 and stars[0] not in plan.made.origin  # type: ignore[union-attr]


def test_pictures_with_labels_that_cannot_be_read_are_not_pasted_into(tmp_path: Path) -> None:
    """Nobody knows what they show; the result reads back as planned."""
    root = voc(tmp_path / "in", scenes(empty=0))
    (root / "Annotations/0.xml").write_text("<annotation><object>")
    source = read(root)
    plan = rebalance(source, method="copy_paste", target="floor:30", budget=3)
    write(plan.apply(source), tmp_path / "out")

    assert not (source.images.file_name[plan.rows[plan.made.at]] == "JPEGImages/0.png").any()  # type: ignore[union-attr]
    assert counted(read(tmp_path / "out")) == after(plan)


def test_the_command_writes_the_sheet_and_the_plan(tmp_path: Path) -> None:
    """`--preview` draws what would be made, also in a rehearsal, and `--json` holds the certificate of repeats alone."""
    from typer.testing import CliRunner

    from dataset_doctor.cli.app import app

    coco(tmp_path / "in", scenes())
    arguments = ["rebalance", str(tmp_path / "in"), str(tmp_path / "out"), "--method", "copy_paste", "--target", "floor:9", "--dry-run"]
    done = CliRunner().invoke(app, [*arguments, "--json", "--preview", str(tmp_path / "sheet.jpg")])
    plan = json.loads(done.stdout)

    assert done.exit_code == 0, done.output
    assert cv2.imread(str(tmp_path / "sheet.jpg")) is not None and not (tmp_path / "out").exists()
    assert {row["name"]: row["after"] for row in plan["classes"]}["star"] == 9
    assert plan["method"] == "copy_paste" and plan["certificate"]["objective"] == "epoch_images"


# Real datasets -------------------------------------------------------------------------------------------------------


def test_aquarium_is_filled_to_the_instance(shared_data: Path, tmp_path: Path) -> None:
    """On real boxes the three scarce classes reach 250 exactly, and what is written is what was planned."""
    source = read(shared_data / "aquarium_yolo")
    plan = rebalance(source, method="copy_paste", target="floor:250")
    write(plan.apply(source), tmp_path / "out")
    result = read(tmp_path / "out")
    train = result.annotations_in_split(result.splits.index("train"))
    names = Counter(result.class_names[c] for c in result.annotations.class_index[train].tolist())

    assert [after(plan)[name] for name in ("puffin", "starfish", "stingray")] == [250] * 3
    assert dict(names) == after(plan)


def test_oriented_boxes_go_through_the_matrix(tmp_path: Path) -> None:
    """A pasted oriented box has its four corners where the object went."""
    root = yolo(tmp_path / "in", scenes(cars=6, stars=0))
    turned = np.array([[60.0, 40], [90, 55], [80, 75], [50, 60]])
    for number in range(6):
        car = np.array([[100.0, 20], [130, 20], [130, 45], [100, 45]])
        lines = [f"0 {' '.join(f'{v:.6f}' for v in (car / SIZE).ravel())}\n"]
        lines += [f"1 {' '.join(f'{v:.6f}' for v in (turned / SIZE).ravel())}\n"] if number == 0 else []
        (root / f"labels/train/{number}.txt").write_text("".join(lines))
    source = read(root)
    if source.task != "obb":
        source = read(root_with_task(root))
    assert source.task == "obb"
    plan = rebalance(source, method="copy_paste", target="floor:3", budget=3)
    made = plan.made
    assert made is not None
    rows = np.flatnonzero(pasted(plan))
    for row in rows.tolist():
        recipe = made.recipes[made.owner[row]]
        there = made.outlines.rings(row)[0]
        assert any(np.allclose(there, moved(turned, paste.matrix), atol=0.01) for paste in recipe.pastes)
    with warnings.catch_warnings():
        write(plan.apply(source), tmp_path / "out")

    assert counted(read(tmp_path / "out")) == after(plan)


def root_with_task(root: Path) -> Path:
    (root / "data.yaml").write_text("train: images/train\nnames: [car, star]\ntask: obb\n")
    return root
