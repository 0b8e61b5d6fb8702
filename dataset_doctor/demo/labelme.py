# ruff: noqa: E501 (one planted defect a line)
"""The demonstration as LabelMe: a folder a split, with a JSON file beside each image."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from dataset_doctor.dataset import Place
from dataset_doctor.demo import _plans as plans
from dataset_doctor.demo._files import Files, Link, Plant, cut, drop, in_turn, recode, rename, replace, swap, text
from dataset_doctor.demo._pictures import picture_plants
from dataset_doctor.demo._scenes import SIZE, Scene, draw, scenes


def write(shots: Sequence[Scene]) -> Files:
    """Describe images as labelme does."""
    files: Files = {}
    for shot in shots:
        files[f"{shot.split}/{shot.stem}.jpg"] = shot.jpeg
        files[f"{shot.split}/{shot.stem}.json"] = _json(shot, f"{shot.stem}.jpg")
    return files


def _json(shot: Scene, image: str) -> bytes:
    shapes: list[dict[str, Any]] = [
        {
            "label": thing.name,
            "points": [[*thing.box[:2]], [*thing.box[2:]]],
            "group_id": None,
            "description": "",
            "shape_type": "rectangle",
            "flags": {},
        }
        for thing in shot.things
    ]
    document: dict[str, Any] = {
        "version": "5.5.0",
        "flags": {},
        "shapes": shapes,
        "imagePath": image,
        "imageData": None,
        "imageHeight": shot.size[1],
        "imageWidth": shot.size[0],
    }
    return f"{json.dumps(document, indent=2)}\n".encode()


def name(number: int, end: str = "json") -> str:
    """Give the label file of an image, or the image."""
    return f"{'train' if number < 13 else 'val'}/park_{number:03}.{end}"


def at(number: int, index: int = 0, member: str = "", class_name: str | None = None) -> Place:
    """Point at a shape, or a member of it."""
    return Place(file=name(number), pointer=f"/shapes/{index}{member}", class_name=class_name)


def change(files: Files, number: int, by: Callable[[dict[str, Any]], object]) -> None:
    """Change what a label file says."""
    document = json.loads(text(files, name(number)))
    by(document)
    files[name(number)] = f"{json.dumps(document, indent=2)}\n".encode()


def put(files: Files, number: int, index: int, **members: Any) -> None:
    """Change members of a shape."""
    change(files, number, lambda document: document["shapes"][index].update(members))


def copy(files: Files, number: int, index: int, move: int = 0, **members: Any) -> None:
    """Add a changed copy of a shape at the end of its file."""

    def add(document: dict[str, Any]) -> None:
        one = {**document["shapes"][index], **members}
        one["points"] = [[x + move, y] for x, y in one["points"][:1]] + one["points"][1:]
        document["shapes"].append(one)

    change(files, number, add)


def every(files: Files, by: Callable[[dict[str, Any]], object]) -> None:
    """Change all shapes."""
    for number in range(1, 17):
        change(files, number, lambda document: [by(shape) for shape in document["shapes"]])


def as_shares(shape: dict[str, Any]) -> None:
    """Write points as shares of the image."""
    shape["points"] = [[x / SIZE[0], y / SIZE[1]] for x, y in shape["points"]]


def as_placeholder(shape: dict[str, Any]) -> None:
    """Put each balloon to one place."""
    if shape["label"] == "balloon":
        shape["points"] = [[10, 10], [50, 50]]


def strip(files: Files, names: Sequence[str], numbers: Sequence[int]) -> None:
    """Take the shapes of some classes out of label files."""
    for number in numbers:
        change(files, number, lambda document: document.update(shapes=[one for one in document["shapes"] if one["label"] not in names]))


def labelled(stem: str, size: tuple[int, int] = SIZE) -> Files:
    """Draw an image of an empty meadow, with a label file that says so."""
    shot = draw(stem, "", (), size)
    return {f"train/{stem}.jpg": shot.jpeg, f"train/{stem}.json": _json(shot, f"{stem}.jpg")}


def add_picture(files: Files, name: str, shot: Scene) -> None:
    """Add an image and what is in it."""
    files[f"{shot.split}/{name}"] = shot.jpeg
    files[f"{shot.split}/{shot.stem}.json"] = _json(shot, name)


def _rebuilt(plan: plans.Plan) -> Callable[[Files], None]:
    return lambda files: replace(files, write(scenes(plan)))


PLANTS: tuple[Plant, ...] = (
    Plant("box-degenerate", "both corners at x = 30", lambda f: put(f, 1, 0, points=[[30, 20], [30, 60]]), at(1, 0, "/points")),
    Plant("box-aspect-extreme", "45 times as wide as high", lambda f: put(f, 1, 1, points=[[5, 61], [184, 65]]), at(1, 1, "/points")),
    Plant("box-outside-image", "reaches x = 230 in an image 192 wide", lambda f: put(f, 2, 1, points=[[90, 20], [230, 60]]), at(2, 1, "/points")),
    Plant("box-edge-excess", "reaches x = 192.5 in an image 192 wide", lambda f: put(f, 2, 2, points=[[150, 20], [192.5, 60]]), at(2, 2, "/points")),
    Plant("record-unreadable", "a line, which no box or polygon holds", lambda f: put(f, 3, 0, shape_type="line"), at(3)),
    Plant("class-name-missing", "an empty label", lambda f: put(f, 4, 0, label=""), at(4, 0, "/label")),
    Plant("class-name-untidy", "two spaces in a row", lambda f: put(f, 4, 1, label="hot  air balloon"), at(4, 1)),
    Plant("class-name-placeholder", "a class without a name", lambda f: put(f, 4, 2, label="class_7"), at(4, 2, "", "class_7")),
    Plant("class-names-alike", "Tent and tent", lambda f: swap(f, name(5), '"tent"', '"Tent"'), Place(file=name(5), class_name="Tent")),
    Plant("box-malformed", "one point", lambda f: put(f, 6, 0, points=[[5, 5]]), at(6, 0, "/points")),
    Plant("class-rare", "one object of this class", lambda f: put(f, 6, 1, label="kite"), at(6, 1, "", "kite")),
    Plant("category-is-background", "a class for nothing", lambda f: put(f, 6, 2, label="background"), at(6, 2, "", "background")),
    Plant("image-size-invalid", "the width is 0", lambda f: swap(f, name(7), f'"imageWidth": {SIZE[0]}', '"imageWidth": 0'), Place(file=name(7), pointer="/imageWidth")),
    Plant("label-unreadable", "cut off", lambda f: cut(f, name(8)), Place(file=name(8))),
    Plant("label-orphan", "the image is not there", lambda f: drop(f, name(9, "jpg")), Place(file=name(9))),
    Plant("polygon-too-short", "a polygon of two points", lambda f: put(f, 10, 0, shape_type="polygon"), at(10, 0, "/points")),
    Plant("polygon-crossing", "drawn as an eight", lambda f: put(f, 10, 1, shape_type="polygon", points=[[70, 20], [110, 60], [110, 20], [70, 60]]), at(10, 1, "/points")),
    Plant("annotation-duplicate", "a copy", lambda f: copy(f, 11, 0), at(11, 3)),
    Plant("annotation-class-conflict", "a copy with another class", lambda f: copy(f, 11, 1, label="bench"), at(11, 4)),
    Plant("annotation-near-duplicate", "a copy, one pixel smaller", lambda f: copy(f, 11, 2, move=1), at(11, 5, "/points")),
    Plant("image-unreadable", "an empty file", lambda f: f.update({name(12, "jpg"): b""}), Place(image=name(12, "jpg"))),
    Plant("path-absolute", "a place on another machine", lambda f: swap(f, name(13), '"imagePath": "', '"imagePath": "/home/ann/'), Place(file=name(13), pointer="/imagePath")),
    Plant("personal-data", "the folder of a user", lambda f: None, Place(file=name(13), pointer="/imagePath")),
    Plant("path-outside-dataset", "leads out of the dataset", lambda f: swap(f, name(14), '"imagePath": "', '"imagePath": "../../elsewhere/'), Place(file=name(14), pointer="/imagePath")),
    Plant("path-backslash", "written on Windows", lambda f: swap(f, name(15), '"imagePath": "', '"imagePath": "..\\\\val\\\\'), Place(file=name(15), pointer="/imagePath")),
    Plant("box-tiny", "less than 2 pixels wide", lambda f: put(f, 15, 0, points=[[20, 20], [21.5, 40]]), at(15, 0, "/points")),
    Plant("box-full-image", "covers the whole image", lambda f: put(f, 15, 1, points=[[0, 0], [*SIZE]]), at(15, 1, "/points")),
    Plant("image-size-missing", "no size", lambda f: change(f, 16, lambda d: [d.pop(key) for key in ("imageHeight", "imageWidth")]), Place(file=name(16))),
    Plant("filename-mismatch", "names another image", lambda f: swap(f, name(16), '"park_016.jpg"', '"park_116.jpg"'), Place(file=name(16), pointer="/imagePath")),
    Plant("stem-collision", "a second file for one image", lambda f: f.update({"train/park_005b.json": f[name(5)]}), Place(file="train/park_005b.json")),
    Plant("image-too-small", "8 × 8 pixels", lambda f: f.update(labelled("park_095", (8, 8))), Place(image="train/park_095.jpg")),
    Plant("name-case-collision", "the same name as park_012.jpg on Windows", lambda f: f.update(labelled("Park_012")), Place(image="train/park_012.jpg")),
    Plant("name-unsafe", "a shell would run a part of it", lambda f: f.update(labelled("park_$(id)")), Place(image="train/park_$(id).jpg")),
    Plant("link-outside-dataset", "a link out of the dataset", lambda f: f.update({"train/more": Link("../../clean/train")}), Place(file="train/more")),
    Plant("junk-files", "left by a Mac", lambda f: f.update({".DS_Store": b"\0\0\0\1Bud1"}), Place(file=".DS_Store")),
    *picture_plants(add_picture, "train/{}".format),
    Plant("text-encoding", "Latin-1 instead of UTF-8", in_turn(lambda f: put(f, 1, 0, description="drawn in Koeln"), lambda f: recode(f, name(1), "Koeln", b"K\xf6ln")), Place(file=name(1)), alone=True),
    Plant("image-size-swapped", "width and height exchanged", lambda f: change(f, 12, lambda d: d.update(imageWidth=SIZE[1], imageHeight=SIZE[0])), Place(file=name(12)), alone=True),
    Plant("boxes-look-normalized", "shares of the image, not pixels", lambda f: every(f, as_shares), at(1, 0, "/points"), alone=True, also=("box-tiny",)),
    Plant("boxes-all-alike", "all balloons at one place", lambda f: every(f, as_placeholder), Place(class_name="balloon"), alone=True),
    Plant("no-annotations", "val holds no annotation", lambda f: strip(f, ("balloon", "tent", "crate"), range(13, 17)), Place(split="val"), alone=True),
    Plant("class-missing-in-split", "val holds no crate", lambda f: strip(f, ("crate",), range(13, 17)), Place(class_name="crate", split="val"), alone=True),
    Plant("class-imbalance", "60 crates, 5 tents", _rebuilt(plans.IMBALANCED), Place(class_name="tent", split="train"), alone=True),
    Plant("background-share", "half of the images show nothing", _rebuilt(plans.EMPTY), Place(image="train/park_007.jpg", split="train"), alone=True),
    Plant("split-tiny", "8 images in val, 3 in train", _rebuilt(plans.SWAPPED), Place(split="val"), alone=True),
    Plant("split-drift", "tents in all of train and in two of val", _rebuilt(plans.DRIFTED), Place(class_name="tent", split="val"), alone=True),
    Plant("no-validation-split", "only train", lambda f: drop(f, "val/"), Place(split="val"), alone=True),
    Plant("source-in-several-splits", "two versions of one source", partial(rename, renamed=plans.VERSIONS), Place(image=f"train/{plans.VERSIONS['park_009']}.jpg"), alone=True),
    Plant("copies-of-one-source", "two versions of one source in train", partial(rename, renamed=plans.COPIES), Place(image=f"train/{plans.COPIES['park_009']}.jpg"), alone=True),
    Plant("sequence-in-several-splits", "frames dealt out to train and val", partial(rename, renamed=plans.FRAMES), Place(image="val/yard_frame_0002.jpg"), alone=True),
)  # fmt: skip
