# ruff: noqa: E501 (one planted defect a line)
"""The demonstration as YOLO: `data.yaml`, `images/<split>/` and `labels/<split>/`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import partial

from dataset_doctor.dataset import Place
from dataset_doctor.demo import _plans as plans
from dataset_doctor.demo._files import Files, Link, Plant, add, drop, in_turn, rename, replace, swap, text
from dataset_doctor.demo._pictures import picture_plants
from dataset_doctor.demo._scenes import CLASSES, SIZE, Scene, draw, scenes

CONFIG, LIST = "data.yaml", "train.txt"


def write(shots: Sequence[Scene]) -> Files:
    """Describe images as YOLO does."""
    splits = dict.fromkeys(shot.split for shot in shots)
    head = "".join(f"{split}: images/{split}\n" for split in splits)
    names = "".join(f"  {index}: {name}\n" for index, name in enumerate(CLASSES))
    files: Files = {"data.yaml": f"# A drawn park\n{head}nc: {len(CLASSES)}\nnames:\n{names}".encode()}
    for shot in shots:
        files[f"images/{shot.split}/{shot.stem}.jpg"] = shot.jpeg
        files[f"labels/{shot.split}/{shot.stem}.txt"] = _rows(shot)
    return files


def _rows(shot: Scene) -> bytes:
    rows = []
    for thing in shot.things:
        (left, top, right, bottom), (width, height) = thing.box, shot.size
        numbers = ((left + right) / 2 / width, (top + bottom) / 2 / height, (right - left) / width, (bottom - top) / height)
        rows.append(" ".join([str(CLASSES.index(thing.name)), *(f"{number:.6f}" for number in numbers)]) + "\n")
    return "".join(rows).encode()


def add_picture(files: Files, name: str, shot: Scene) -> None:
    """Add an image and what is in it."""
    files[f"images/{shot.split}/{name}"] = shot.jpeg
    files[f"labels/{shot.split}/{shot.stem}.txt"] = _rows(shot)


def label(number: int) -> str:
    """Give the label file of an image."""
    return f"labels/{'train' if number <= 12 else 'val'}/park_{number:03}.txt"


def picture(name: str, size: tuple[int, int] = SIZE) -> Files:
    """Draw an image of an empty meadow under a file name."""
    return {name: draw(name, "", (), size).jpeg}


def row(files: Files, number: int, index: int, new: str) -> None:
    """Put another line in place of one of a label file."""
    lines = text(files, label(number)).splitlines()
    lines[index] = new
    files[label(number)] = "".join(f"{line}\n" for line in lines).encode()


def name_class(files: Files, name: str) -> None:
    """Declare one class more; names stand at the end of the configuration."""
    count = text(files, "data.yaml").partition("names:")[2].count(": ")
    add(files, "data.yaml", f"  {count}: {name}\n")


def names(files: Files, *more: str) -> None:
    """Declare more classes and their number."""
    for name in more:
        name_class(files, name)
    swap(files, "data.yaml", "nc: 3", f"nc: {3 + len(more)}")


def listed(files: Files, change: Callable[[str], str]) -> None:
    """Give train as a list of images, changed as asked."""
    paths = "".join(f"images/train/park_{number:03}.jpg\n" for number in range(1, 13))
    files["train.txt"] = change(paths).encode()
    swap(files, "data.yaml", "train: images/train", "train: train.txt")


def strip(files: Files, index: int) -> None:
    """Take the objects of a class out of val."""
    for number in range(13, 17):
        kept = [line for line in text(files, label(number)).splitlines() if not line.startswith(f"{index} ")]
        files[label(number)] = "".join(f"{line}\n" for line in kept).encode()


def move(files: Files, old: str, new: str) -> None:
    """Move a file."""
    files[new] = files.pop(old)


def append(files: Files, number: int, index: int, by: Callable[[list[str]], list[str]] = list) -> None:
    """Add a changed copy of a line at the end of its label file."""
    line = text(files, label(number)).splitlines()[index]
    add(files, label(number), " ".join(by(line.split())) + "\n")


def every(files: Files, by: Callable[[list[str]], list[str]], numbers: Iterable[int] = range(1, 17)) -> None:
    """Change all lines of label files."""
    for number in numbers:
        lines = [" ".join(by(line.split())) + "\n" for line in text(files, label(number)).splitlines()]
        files[label(number)] = "".join(lines).encode()


def numbers(row: list[str]) -> tuple[float, float, float, float]:
    """Read centre and size of a row."""
    cx, cy, w, h = map(float, row[1:5])
    return cx, cy, w, h


def in_pixels(row: list[str]) -> list[str]:
    """Write a row in pixels."""
    cx, cy, w, h = numbers(row)
    return [row[0], *(f"{number:.1f}" for number in (cx * SIZE[0], cy * SIZE[1], w * SIZE[0], h * SIZE[1]))]


def as_corners(row: list[str]) -> list[str]:
    """Write a row as two corners."""
    cx, cy, w, h = numbers(row)
    return [row[0], *(f"{number:.6f}" for number in (cx - w / 2, cy - h / 2, cx + w / 2, cy + h / 2))]


def as_polygon(row: list[str], lean: float = 0) -> list[str]:
    """Write a row as its four corners, the upper side moved to the right."""
    cx, cy, w, h = numbers(row)
    left, top, right, bottom = cx - w / 2, cy - h / 2, cx + w / 2, cy + h / 2
    ring = (left + lean * w, top, right, top, right, bottom, left, bottom)
    return [row[0], *(f"{number:.6f}" for number in ring)]


def oriented(files: Files) -> None:
    """Turn all labels into oriented boxes, one of them a trapezium."""
    every(files, as_polygon)
    row(files, 1, 0, "0 0.2 0.2 0.4 0.2 0.5 0.5 0.1 0.5")
    add(files, CONFIG, "task: obb\n")


def posed(files: Files) -> None:
    """Turn all labels into poses of two keypoints, without saying so."""
    every(files, lambda row: [*row, row[1], row[2], "2", row[1], row[2], "2"])
    add(files, CONFIG, "task: pose\n")


def at(number: int, line: int = 1) -> Place:
    """Point at a line of a label file."""
    return Place(file=label(number), line=line)


def _rebuilt(plan: plans.Plan) -> Callable[[Files], None]:
    return lambda files: replace(files, write(scenes(plan)))


# Class names are added one after the other: the n-th of them is class 2 + n, on line 9 + n.
PLANTS: tuple[Plant, ...] = (
    Plant("box-degenerate", "the width is 0", lambda f: row(f, 1, 0, "0 0.5 0.5 0 0.25"), at(1)),
    Plant("box-outside-image", "the centre lies right of the image", lambda f: row(f, 2, 0, "0 1.2 0.5 0.25 0.25"), at(2)),
    Plant("box-edge-excess", "half a pixel right of the image", lambda f: row(f, 2, 1, "1 0.902604 0.5 0.2 0.25"), at(2, 2)),
    Plant("record-unreadable", "a word where a number belongs", lambda f: row(f, 4, 0, "0 0.5 high 0.25 0.25"), at(4)),
    Plant("class-undeclared", "there is no class 99", lambda f: row(f, 5, 0, "99 0.5 0.5 0.25 0.25"), at(5)),
    Plant("class-number-float", "0.0 instead of 0", lambda f: row(f, 5, 1, "1.0 0.5 0.5 0.25 0.25"), at(5, 2)),
    Plant("exponent-notation", "2e-1 instead of 0.2", lambda f: row(f, 5, 2, "2 0.5 0.5 2e-1 0.25"), at(5, 3)),
    Plant("box-tiny", "1 pixel wide", lambda f: row(f, 6, 1, "1 0.5 0.5 0.005 0.25"), at(6, 2)),
    Plant("box-full-image", "covers the whole image", lambda f: row(f, 6, 2, "2 0.5 0.5 1 1"), at(6, 3)),
    Plant("box-aspect-extreme", "45 times as wide as high", lambda f: row(f, 8, 0, "0 0.5 0.5 0.9 0.03"), at(8)),
    Plant("annotation-duplicate", "a copy", lambda f: append(f, 8, 1), at(8, 4)),
    Plant("annotation-class-conflict", "a copy with another class", lambda f: append(f, 8, 2, lambda row: ["6", *row[1:]]), at(8, 5)),
    Plant("annotation-near-duplicate", "a copy, half a pixel to the right", lambda f: append(f, 13, 0, lambda row: [row[0], f"{float(row[1]) + 0.0025:.6f}", *row[2:]]), at(13, 4)),
    Plant("score-in-labels", "a score, as predictions have", lambda f: row(f, 13, 1, "1 0.5 0.5 0.25 0.25 0.87"), at(13, 2)),
    Plant("rows-mixed", "a polygon among boxes", lambda f: row(f, 14, 0, "0 0.2 0.2 0.4 0.2 0.3 0.4"), at(14)),
    Plant("polygon-odd", "seven coordinates", lambda f: row(f, 14, 1, "1 0.2 0.2 0.4 0.2 0.3 0.4 0.2"), at(14, 2)),
    Plant("polygon-crossing", "a bow-tie", lambda f: row(f, 15, 0, "0 0.2 0.2 0.4 0.4 0.4 0.2 0.2 0.4"), at(15)),
    Plant("image-too-small", "8 × 8 pixels", lambda f: f.update(picture("images/val/park_095.jpg", (8, 8)) | {"labels/val/park_095.txt": b""}), Place(image="images/val/park_095.jpg")),
    Plant("text-encoding", "a byte-order mark", lambda f: f.update({label(6): b"\xef\xbb\xbf" + text(f, label(6)).encode()}), Place(file=label(6))),
    Plant("image-unreadable", "an empty file", lambda f: f.update({"images/train/park_007.jpg": b""}), Place(image="images/train/park_007.jpg")),
    Plant("label-orphan", "no image of this name", lambda f: f.update({"labels/train/park_098.txt": b"0 0.5 0.5 0.25 0.25\n"}), Place(file="labels/train/park_098.txt")),
    Plant("stem-collision", "park_009.jpg and park_009.jpeg", lambda f: f.update(picture("images/train/park_009.jpeg")), Place(file=label(9))),
    Plant("filename-mismatch", "no trainer looks there", lambda f: move(f, label(10), "labels/park_010.txt"), Place(file="labels/park_010.txt")),
    Plant("image-orphan", "in no split", lambda f: f.update(picture("new/park_099.jpg")), Place(file="new/park_099.jpg")),
    Plant("name-case-collision", "the same name as park_016.jpg on Windows", lambda f: f.update(picture("images/val/Park_016.jpg") | {"labels/val/Park_016.txt": b""}), Place(image="images/val/Park_016.jpg")),
    Plant("name-unsafe", "a shell would run a part of it", lambda f: rename(f, {"park_011": "park_$(id)"}), Place(image="images/train/park_$(id).jpg")),
    Plant("link-outside-dataset", "a link out of the dataset", lambda f: f.update({"images/more": Link("../../clean/images")}), Place(file="images/more")),
    Plant("junk-files", "left by a Mac", lambda f: f.update({"images/val/._park_013.jpg": b"\0\5\x16\7"}), Place(file="images/val/._park_013.jpg")),
    Plant("stale-cache", "kept by a trainer", lambda f: f.update({"labels/train.cache": b"\x80\x04."}), Place(file="labels/train.cache")),
    Plant("class-name-not-text", "no, without quotes, is False to YAML", lambda f: name_class(f, "no"), Place(file=CONFIG, line=9, class_name="no")),
    Plant("class-names-alike", "Tent and tent", lambda f: name_class(f, "Tent"), Place(file=CONFIG, line=10, class_name="Tent")),
    Plant("class-name-untidy", "a space at the end", lambda f: name_class(f, '"lantern "'), Place(file=CONFIG, line=11, class_name="lantern ")),
    Plant("class-name-placeholder", "a class without a name", lambda f: name_class(f, "class_6"), Place(file=CONFIG, line=12, class_name="class_6")),
    Plant("class-unused", "no object of this class", lambda f: name_class(f, "bench"), Place(file=CONFIG, line=13, class_name="bench")),
    Plant("class-rare", "one object of this class", in_turn(lambda f: name_class(f, "kite"), lambda f: row(f, 3, 0, "8 0.5 0.5 0.25 0.25")), Place(file=CONFIG, line=14, class_name="kite", split="train")),
    Plant("category-is-background", "a class for nothing", lambda f: name_class(f, "background"), Place(file=CONFIG, line=15, class_name="background")),
    Plant("class-names-invalid", "nc is 3, and there are more names", lambda f: None, Place(file=CONFIG, line=4)),
    Plant("split-empty", "there is no such folder", lambda f: add(f, CONFIG, "test: images/tset\n"), Place(file=CONFIG, line=17)),
    Plant("duplicate-key", "test stands twice", lambda f: add(f, CONFIG, "test: images/tset\n"), Place(file=CONFIG, line=17)),
    Plant("download-script", "a command that some trainers would run", lambda f: add(f, CONFIG, "download: echo this is never run\n"), Place(file=CONFIG, line=18)),
    Plant("personal-data", "the folder of a user", lambda f: add(f, CONFIG, "# made from /home/ann/park\n"), Place(file=CONFIG, line=19)),
    *picture_plants(add_picture, "images/train/{}".format),
    Plant("config-invalid", "a tab, which YAML forbids", lambda f: swap(f, CONFIG, "  1: tent", "\t1: tent"), Place(file=CONFIG), alone=True),
    Plant("class-names-conflict", "classes.txt has another order", lambda f: f.update({"labels/classes.txt": b"tent\nballoon\ncrate\n"}), Place(file="labels/classes.txt"), alone=True),
    Plant("keypoint-shape-missing", "poses, and no kpt_shape", posed, Place(file=CONFIG), alone=True),
    Plant("boxes-look-in-pixels", "pixels, not shares of the image", lambda f: every(f, in_pixels), at(1), alone=True, also=("box-outside-image",)),
    Plant("boxes-look-corner-ordered", "two corners, not centre and size", lambda f: every(f, as_corners), at(1), alone=True, also=("box-outside-image",)),
    Plant("boxes-all-alike", "all balloons at one place", lambda f: every(f, lambda row: ["0", "0.2", "0.2", "0.3", "0.3"] if row[0] == "0" else row), Place(class_name="balloon"), alone=True),
    Plant("classes-count-from-one", "numbers from 1 to 3", lambda f: every(f, lambda row: [str(int(row[0]) + 1), *row[1:]]), Place(file=label(1)), alone=True, also=("class-undeclared",)),
    Plant("task-mixed", "polygons in one file, boxes in the others", lambda f: every(f, as_polygon, [1]), Place(file=label(1)), alone=True),
    Plant("obb-not-rectangular", "a trapezium", oriented, at(1), alone=True),
    Plant("image-in-several-splits", "the list of train names an image of val", lambda f: listed(f, lambda paths: paths + "images/val/park_013.jpg\n"), Place(image="images/val/park_013.jpg", split="train+val"), alone=True),
    Plant("image-missing", "listed with a label, and not there", in_turn(lambda f: listed(f, str), lambda f: drop(f, "images/train/park_003")), Place(file=LIST, line=3), alone=True),
    Plant("listed-missing", "neither image nor label", lambda f: listed(f, lambda paths: paths + "images/train/park_097.jpg\n"), Place(file=LIST, line=13), alone=True),
    Plant("listed-twice", "the first line again", lambda f: listed(f, lambda paths: paths + "images/train/park_001.jpg\n"), Place(file=LIST, line=13), alone=True),
    Plant("list-malformed", "not the path of an image", lambda f: listed(f, lambda paths: paths + "images/train/notes.doc\n"), Place(file=LIST, line=13), alone=True),
    Plant("path-outside-dataset", "leads out of the dataset", lambda f: listed(f, lambda paths: paths + "../../elsewhere/park_051.jpg\n"), Place(file=LIST, line=13), alone=True),
    Plant("path-absolute", "paths of another machine", lambda f: listed(f, lambda paths: paths.replace("images/", "/data/park/images/")), Place(file=LIST, line=1), alone=True),
    Plant("path-backslash", "paths from Windows", lambda f: listed(f, lambda paths: paths.replace("/", "\\")), Place(file=LIST, line=1), alone=True),
    Plant("path-by-basename", "a folder that is not there", lambda f: listed(f, lambda paths: paths.replace("train/park_002", "old/park_002")), Place(file=LIST, line=2), alone=True),
    Plant("image-unlabeled", "three images without a label file", lambda f: drop(f, *map(label, (1, 2, 3))), Place(image="images/train/park_001.jpg"), alone=True),
    Plant("no-annotations", "val has no labels", lambda f: drop(f, "labels/val/"), Place(split="val"), alone=True),
    Plant("class-missing-in-split", "val holds no crate", lambda f: strip(f, 2), Place(class_name="crate", split="val"), alone=True),
    Plant("class-imbalance", "60 crates, 5 tents", _rebuilt(plans.IMBALANCED), Place(class_name="tent", split="train"), alone=True),
    Plant("background-share", "half of the images show nothing", _rebuilt(plans.EMPTY), Place(image="images/train/park_007.jpg", split="train"), alone=True),
    Plant("split-tiny", "8 images in val, 3 in train", _rebuilt(plans.SWAPPED), Place(split="val"), alone=True),
    Plant("split-drift", "tents in all of train and in two of val", _rebuilt(plans.DRIFTED), Place(class_name="tent", split="val"), alone=True),
    Plant("source-in-several-splits", "two versions of one source", partial(rename, renamed=plans.VERSIONS), Place(image=f"images/train/{plans.VERSIONS['park_009']}.jpg"), alone=True),
    Plant("sequence-in-several-splits", "frames dealt out to train and val", partial(rename, renamed=plans.FRAMES), Place(image="images/val/yard_frame_0002.jpg"), alone=True),
    Plant("copies-of-one-source", "two versions of one source in train", partial(rename, renamed=plans.COPIES), Place(image=f"images/train/{plans.COPIES['park_009']}.jpg"), alone=True),
    Plant("name-in-several-splits", "one name in train and val", partial(rename, renamed={"park_009": "at the pond", "park_014": "at the pond"}), Place(image="images/train/at the pond.jpg"), alone=True),
)  # fmt: skip
