# ruff: noqa: E501 (one planted defect a line)
"""The demonstration as Pascal VOC: `Annotations/`, `JPEGImages/` and `ImageSets/Main/`."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from functools import partial

from dataset_doctor.dataset import Place
from dataset_doctor.demo import _plans as plans
from dataset_doctor.demo._files import Files, Link, Plant, add, cut, drop, in_turn, recode, rename, replace, swap, text
from dataset_doctor.demo._pictures import picture_plants
from dataset_doctor.demo._scenes import SIZE, Scene, Thing, draw, scenes

TRAIN, VAL = "ImageSets/Main/train.txt", "ImageSets/Main/val.txt"
FIRST_OBJECT, OBJECT_LINES = 14, 12


def write(shots: Sequence[Scene]) -> Files:
    """Describe images as VOC does: corners counted from 1, the last pixel included."""
    files: Files = {}
    for shot in shots:
        files[f"JPEGImages/{shot.stem}.jpg"] = shot.jpeg
        files[f"Annotations/{shot.stem}.xml"] = _xml(shot).encode()
        name = f"ImageSets/Main/{shot.split}.txt"
        files[name] = (text(files, name) if name in files else "").encode() + f"{shot.stem}\n".encode()
    return files


def _xml(shot: Scene) -> str:
    return f"""<annotation>
\t<folder>JPEGImages</folder>
\t<filename>{shot.stem}.jpg</filename>
\t<source>
\t\t<database>A drawn park</database>
\t</source>
\t<size>
\t\t<width>{shot.size[0]}</width>
\t\t<height>{shot.size[1]}</height>
\t\t<depth>3</depth>
\t</size>
\t<segmented>0</segmented>
\t<!-- corners are counted from 1 -->
{"".join(map(_object, shot.things))}</annotation>
"""


def _object(thing: Thing) -> str:
    left, top, right, bottom = thing.box
    return f"""\t<object>
\t\t<name>{thing.name}</name>
\t\t<pose>Unspecified</pose>
\t\t<truncated>0</truncated>
\t\t<difficult>0</difficult>
\t\t<bndbox>
\t\t\t<xmin>{left + 1}</xmin>
\t\t\t<ymin>{top + 1}</ymin>
\t\t\t<xmax>{right}</xmax>
\t\t\t<ymax>{bottom}</ymax>
\t\t</bndbox>
\t</object>
"""


def xml(number: int) -> str:
    """Give the label file of an image."""
    return f"Annotations/park_{number:03}.xml"


def field(files: Files, number: int, tag: str, value: str, index: int = 0) -> None:
    """Change what an element of an object says; objects count from 0."""
    before = text(files, xml(number))
    parts = before.split(f"<{tag}>")
    parts[index + 1] = value + parts[index + 1][parts[index + 1].index("<") :]
    files[xml(number)] = f"<{tag}>".join(parts).encode()


def thing(number: int, index: int = 0, class_name: str | None = None) -> Place:
    """Point at an object."""
    return Place(file=xml(number), line=FIRST_OBJECT + index * OBJECT_LINES, class_name=class_name)


def box(files: Files, number: int, index: int, *corners: str) -> None:
    """Change the corners of an object, as a VOC file writes them."""
    for tag, value in zip(("xmin", "ymin", "xmax", "ymax"), corners, strict=True):
        field(files, number, tag, value, index)


def change(files: Files, number: int, index: int, by: Callable[[str], str]) -> None:
    """Change the text of an object."""
    head, *objects = text(files, xml(number)).split("\t<object>")
    objects[index] = by(objects[index])
    files[xml(number)] = "\t<object>".join([head, *objects]).encode()


def copy(files: Files, number: int, index: int, by: Callable[[str], str] = str) -> None:
    """Add a changed copy of an object at the end of its file."""
    of = text(files, xml(number)).split("\t<object>")[1 + index].replace("</annotation>\n", "")
    swap(files, xml(number), "</annotation>", "\t<object>" + by(of) + "</annotation>")


def every(files: Files, by: Callable[[str], str]) -> None:
    """Change all label files."""
    for name in files:
        if name.endswith(".xml"):
            files[name] = by(text(files, name)).encode()


def as_shares(text: str) -> str:
    """Write corners as shares of the image."""
    return re.sub(r"<([xy])(m..)>(\d+)", lambda m: f"<{m[1]}{m[2]}>{int(m[3]) / SIZE[m[1] == 'y']:.4f}", text)


def as_placeholder(text: str) -> str:
    """Put each balloon to one place."""
    corners = "".join(f"\t\t\t<{tag}>{value}</{tag}>\n" for tag, value in (("xmin", 10), ("ymin", 10), ("xmax", 50), ("ymax", 50)))
    return re.sub(r"(<name>balloon<(?:.|\n)*?<bndbox>\n)(?:.*\n){4}", lambda m: m[1] + corners, text)


def from_zero(text: str) -> str:
    """Count corners from 0, as many tools do, with one object at the edge."""
    return re.sub(r"<xmin>\d+", "<xmin>0", text, count=1)


def picture(name: str, size: tuple[int, int] = SIZE) -> Files:
    """Draw an image of an empty meadow under a file name."""
    return {name: draw(name, "", (), size).jpeg}


def strip(files: Files, names: Sequence[str], numbers: Sequence[int]) -> None:
    """Take the objects of some classes out of label files."""
    for number in numbers:
        head, *objects = text(files, xml(number)).split("\t<object>")
        objects[-1], tail = objects[-1].removesuffix("</annotation>\n"), "</annotation>\n"
        kept = [o for o in objects if not any(f"<name>{name}<" in o for name in names)]
        files[xml(number)] = "".join([head, *(f"\t<object>{o}" for o in kept), tail]).encode()


def labelled(stem: str, size: tuple[int, int] = SIZE) -> Files:
    """Draw an image of an empty meadow, with a label file that says so."""
    shot = draw(stem, "", (), size)
    return {f"JPEGImages/{stem}.jpg": shot.jpeg, f"Annotations/{stem}.xml": _xml(shot).encode()}


def add_picture(files: Files, name: str, shot: Scene) -> None:
    """Add an image and what is in it."""
    files[f"JPEGImages/{name}"] = shot.jpeg
    files[f"Annotations/{shot.stem}.xml"] = _xml(shot).replace(f"{shot.stem}.jpg", name).encode()
    add(files, f"ImageSets/Main/{shot.split}.txt", f"{shot.stem}\n")


def rotated(text: str) -> str:
    """Write a box as roLabelImg does: centre, size and an angle."""
    numbers = {"cx": 100, "cy": 60, "w": 40, "h": 20, "angle": 0.5}
    inside = "".join(f"\t\t\t<{tag}>{value}</{tag}>\n" for tag, value in numbers.items())
    return re.sub(r"<bndbox>\n(?:.*\n){4}\t\t</bndbox>", f"<robndbox>\n{inside}\t\t</robndbox>", text)


def drop_size(files: Files, number: int) -> None:
    """Take the size out of a label file."""
    files[xml(number)] = re.sub(r"\t<size>(?:.|\n)*</size>\n", "", text(files, xml(number))).encode()


def label_map(files: Files, *lines: str) -> None:
    """Declare classes as CVAT does."""
    files["labelmap.txt"] = "".join(f"{line}\n" for line in ("# label:color_rgb:parts:actions", *lines)).encode()


def _rebuilt(plan: plans.Plan) -> Callable[[Files], None]:
    return lambda files: replace(files, write(scenes(plan)))


PLANTS: tuple[Plant, ...] = (
    Plant("box-degenerate", "xmax equals xmin", in_turn(lambda f: field(f, 1, "xmin", "30"), lambda f: field(f, 1, "xmax", "30")), thing(1)),
    Plant("box-aspect-extreme", "45 times as wide as high", lambda f: box(f, 1, 1, "5", "61", "184", "64"), thing(1, 1)),
    Plant("box-outside-image", "reaches x = 230 in an image 192 wide", lambda f: field(f, 2, "xmax", "230", 1), thing(2, 1)),
    Plant("box-edge-excess", "reaches x = 192.5 in an image 192 wide", lambda f: field(f, 2, "xmax", "192.5", 2), thing(2, 2)),
    Plant("corners-fractional", "half a pixel", lambda f: None, thing(2, 2)),
    Plant("record-unreadable", "a unit after a number", lambda f: field(f, 3, "xmin", "12px"), thing(3)),
    Plant("class-name-missing", "an empty name", lambda f: field(f, 4, "name", ""), thing(4)),
    Plant("class-name-untidy", "two spaces in a row", lambda f: field(f, 4, "name", "hot  air balloon", 1), thing(4, 1)),
    Plant("class-name-placeholder", "a class without a name", lambda f: field(f, 4, "name", "class_7", 2), thing(4, 2, "class_7")),
    Plant("flag-invalid", "truncated is yes", lambda f: field(f, 5, "truncated", "yes"), thing(5)),
    Plant("class-names-alike", "Tent and tent", lambda f: swap(f, xml(5), "<name>tent<", "<name>Tent<"), Place(file=xml(5), class_name="Tent")),
    Plant("box-malformed", "no bndbox", lambda f: change(f, 6, 0, lambda o: o.replace("bndbox", "box")), thing(6)),
    Plant("class-rare", "one object of this class", lambda f: field(f, 6, "name", "kite", 1), thing(6, 1, "kite")),
    Plant("category-is-background", "a class for nothing", lambda f: field(f, 6, "name", "background", 2), thing(6, 2, "background")),
    Plant("image-size-invalid", "the width is 0", lambda f: field(f, 7, "width", "0"), Place(file=xml(7))),
    Plant("duplicate-key", "a second name", lambda f: swap(f, xml(7), "\t\t<pose>Unspecified</pose>", "\t\t<name>kite</name>"), Place(file=xml(7), line=FIRST_OBJECT + 2)),
    Plant("voc-optional-missing", "no difficult", lambda f: change(f, 7, 1, lambda o: o.replace("\t\t<difficult>0</difficult>\n", "")), thing(7, 1)),
    Plant("label-unreadable", "cut off", lambda f: cut(f, xml(8)), Place(file=xml(8))),
    Plant("image-missing", "the image is not there", lambda f: drop(f, "JPEGImages/park_009.jpg"), Place(file=xml(9))),
    Plant("elements-unordered", "xmax before ymin", lambda f: change(f, 9, 0, lambda o: re.sub(r"(.*<ymin>.*\n)(.*<xmax>.*\n)", r"\2\1", o)), thing(9)),
    Plant("label-missing", "listed, and no XML", lambda f: drop(f, xml(10)), Place(file=TRAIN, line=10)),
    Plant("filename-mismatch", "names another image", lambda f: field(f, 11, "filename", "park_001.jpg"), Place(file=xml(11))),
    Plant("annotation-duplicate", "a copy", lambda f: copy(f, 11, 0), thing(11, 3)),
    Plant("annotation-class-conflict", "a copy with another class", lambda f: copy(f, 11, 1, lambda o: re.sub("<name>.*<", "<name>bench<", o)), thing(11, 4)),
    Plant("annotation-near-duplicate", "a copy, one pixel smaller", lambda f: copy(f, 11, 2, lambda o: re.sub(r"<xmin>(\d+)", lambda m: f"<xmin>{int(m[1]) + 1}", o)), thing(11, 5)),
    Plant("mask-missing", "segmented is 1, and there is no mask", lambda f: field(f, 11, "segmented", "1"), Place(file=xml(11), line=FIRST_OBJECT - 2)),
    Plant("image-not-jpg", "a PNG, where readers add .jpg to the id", lambda f: None, Place(image="JPEGImages/pond_palette.png")),
    Plant("image-unreadable", "an empty file", lambda f: f.update({"JPEGImages/park_012.jpg": b""}), Place(image="JPEGImages/park_012.jpg")),
    Plant("personal-data", "the folder of a user", lambda f: swap(f, xml(13), "\t<source>", "\t<path>/home/ann/park_013.jpg</path>\n\t<source>"), Place(file=xml(13), line=4)),
    Plant("image-size-mismatch", "declared 96 wide", lambda f: field(f, 13, "width", "96"), Place(file=xml(13))),
    Plant("text-encoding", "Latin-1 instead of UTF-8", lambda f: recode(f, xml(14), "A drawn park", b"A drawn park in K\xf6ln"), Place(file=xml(14))),
    Plant("image-size-swapped", "width and height exchanged", in_turn(lambda f: field(f, 12, "width", str(SIZE[1])), lambda f: field(f, 12, "height", str(SIZE[0]))), Place(file=xml(12)), alone=True),
    Plant("stem-collision", "park_015.jpg and park_015.jpeg", lambda f: f.update(picture("JPEGImages/park_015.jpeg")), Place(file=xml(15))),
    Plant("box-tiny", "less than 2 pixels wide", lambda f: box(f, 15, 0, "21", "21", "21.5", "40"), thing(15)),
    Plant("box-full-image", "covers the whole image", lambda f: box(f, 15, 1, "1", "1", str(SIZE[0]), str(SIZE[1])), thing(15, 1)),
    Plant("box-rotated", "centre, size and an angle", lambda f: change(f, 15, 2, rotated), thing(15, 2)),
    Plant("image-size-missing", "no size", lambda f: drop_size(f, 16), Place(file=xml(16))),
    Plant("image-orphan", "neither an XML nor a list names it", lambda f: f.update(picture("JPEGImages/park_099.jpg")), Place(file="JPEGImages/park_099.jpg")),
    Plant("label-orphan", "no image of this name", lambda f: f.update({xml(98): text(f, xml(1)).replace("park_001", "park_098").encode()}), Place(file=xml(98))),
    Plant("image-too-small", "8 × 8 pixels", lambda f: f.update(labelled("park_095", (8, 8))), Place(image="JPEGImages/park_095.jpg")),
    Plant("listed-twice", "the first line again", lambda f: add(f, TRAIN, "park_001\n"), Place(file=TRAIN, line=13)),
    Plant("listed-missing", "neither image nor XML", lambda f: add(f, TRAIN, "park_097\n"), Place(file=TRAIN, line=14)),
    Plant("list-malformed", "a blank line", lambda f: add(f, VAL, "\n"), Place(file=VAL, line=5)),
    Plant("image-in-several-splits", "in train and val", lambda f: add(f, VAL, "park_002\n"), Place(image="JPEGImages/park_002.jpg", split="train+val")),
    Plant("split-empty", "an empty list", lambda f: f.update({"ImageSets/Main/test.txt": b""}), Place(file="ImageSets/Main/test.txt")),
    Plant("class-names-conflict", "the list of a class contradicts the XML", lambda f: f.update({"ImageSets/Main/crate_val.txt": b"park_013  1\npark_014 -1\n"}), Place(file="ImageSets/Main/crate_val.txt", line=2)),
    Plant("name-case-collision", "the same name as park_016.jpg on Windows", lambda f: f.update(labelled("Park_016")), Place(image="JPEGImages/park_016.jpg")),
    Plant("name-unsafe", "a shell would run a part of it", lambda f: f.update(labelled("park_$(id)")), Place(image="JPEGImages/park_$(id).jpg")),
    Plant("link-outside-dataset", "a link out of the dataset", lambda f: f.update({"JPEGImages/more": Link("../../clean/JPEGImages")}), Place(file="JPEGImages/more")),
    Plant("junk-files", "left by a Mac", lambda f: f.update({".DS_Store": b"\0\0\0\1Bud1"}), Place(file=".DS_Store")),
    *picture_plants(add_picture, "JPEGImages/{}".format),
    Plant("boxes-look-normalized", "shares of the image, not pixels", lambda f: every(f, as_shares), thing(1), alone=True, also=("box-tiny",)),
    Plant("boxes-all-alike", "all balloons at one place", lambda f: every(f, as_placeholder), Place(class_name="balloon"), alone=True),
    Plant("all-difficult", "everything is difficult", lambda f: every(f, lambda t: t.replace("<difficult>0", "<difficult>1")), thing(1), alone=True),
    Plant("origin-zero", "counted from 0", lambda f: every(f, from_zero), thing(1), alone=True),
    Plant("origin-mixed", "a file counts from 0, the others from 1", in_turn(lambda f: every(f, lambda t: t.replace("A drawn park", "The VOC2012 Database")), lambda f: field(f, 3, "xmin", "0")), thing(3), alone=True),
    Plant("class-names-invalid", "a line without colons", lambda f: label_map(f, "balloon:255,0,0::", "tent", "crate:0,0,255::"), Place(file="labelmap.txt", line=3), alone=True),
    Plant("class-undeclared", "not in the label map", in_turn(lambda f: label_map(f, "balloon:255,0,0::", "tent:0,255,0::", "crate:0,0,255::"), lambda f: field(f, 1, "name", "kite")), thing(1, 0, "kite"), alone=True),
    Plant("class-unused", "no object of this class", lambda f: label_map(f, "balloon:255,0,0::", "tent:0,255,0::", "crate:0,0,255::", "bench:1,1,1::"), Place(file="labelmap.txt", line=5, class_name="bench"), alone=True),
    Plant("no-annotations", "val holds no annotation", lambda f: strip(f, ("balloon", "tent", "crate"), range(13, 17)), Place(split="val"), alone=True),
    Plant("class-missing-in-split", "val holds no crate", lambda f: strip(f, ("crate",), range(13, 17)), Place(class_name="crate", split="val"), alone=True),
    Plant("class-imbalance", "60 crates, 5 tents", _rebuilt(plans.IMBALANCED), Place(class_name="tent", split="train"), alone=True),
    Plant("background-share", "half of the images show nothing", _rebuilt(plans.EMPTY), Place(image="JPEGImages/park_007.jpg", split="train"), alone=True),
    Plant("split-tiny", "8 images in val, 3 in train", _rebuilt(plans.SWAPPED), Place(split="val"), alone=True),
    Plant("split-drift", "tents in all of train and in two of val", _rebuilt(plans.DRIFTED), Place(class_name="tent", split="val"), alone=True),
    Plant("no-validation-split", "only train", lambda f: drop(f, VAL, *(f"{folder}/park_0{n}" for n in range(13, 17) for folder in ("Annotations", "JPEGImages"))), Place(split="val"), alone=True),
    Plant("source-in-several-splits", "two versions of one source", partial(rename, renamed=plans.VERSIONS), Place(image=f"JPEGImages/{plans.VERSIONS['park_009']}.jpg"), alone=True),
    Plant("copies-of-one-source", "two versions of one source in train", partial(rename, renamed=plans.COPIES), Place(image=f"JPEGImages/{plans.COPIES['park_009']}.jpg"), alone=True),
    Plant("sequence-in-several-splits", "frames dealt out to train and val", partial(rename, renamed=plans.FRAMES), Place(image="JPEGImages/yard_frame_0002.jpg"), alone=True),
)  # fmt: skip
