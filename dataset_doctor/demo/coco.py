# ruff: noqa: E501 (one planted defect a line)
"""The demonstration as COCO: `annotations/instances_<split>.json` and `images/`."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from dataset_doctor.dataset import Place
from dataset_doctor.demo import _plans as plans
from dataset_doctor.demo import voc
from dataset_doctor.demo._files import Files, Link, Plant, cut, drop, rename, replace, swap, text
from dataset_doctor.demo._pictures import picture_plants
from dataset_doctor.demo._scenes import CLASSES, SIZE, Scene, draw, scenes

TRAIN, VAL = "annotations/instances_train.json", "annotations/instances_val.json"
Document = dict[str, Any]


def write(shots: Sequence[Scene]) -> Files:
    """Describe images as COCO does, one record a line."""
    files: Files = {f"images/{shot.stem}.jpg": shot.jpeg for shot in shots}
    next_id = 1
    for split in dict.fromkeys(shot.split for shot in shots):
        images: list[Document] = []
        annotations: list[Document] = []
        for number, shot in enumerate(shots, 1):
            if shot.split != split:
                continue
            images.append({"id": number, "file_name": f"{shot.stem}.jpg", "width": shot.size[0], "height": shot.size[1], "license": 1})
            annotations += _annotations(shot, number, next_id)
            next_id += len(shot.things)
        document = {
            "info": {"description": "A drawn park"},
            "licenses": [{"id": 1, "name": "CC0 1.0", "url": "https://creativecommons.org/publicdomain/zero/1.0/"}],
            "categories": [{"id": number, "name": name, "supercategory": "park"} for number, name in enumerate(CLASSES, 1)],
            "images": images,
            "annotations": annotations,
        }
        files[f"annotations/instances_{split}.json"] = _lines(document)
    return files


def _annotations(shot: Scene, image_id: int, first_id: int) -> list[Document]:
    records = []
    for number, thing in enumerate(shot.things, first_id):
        left, top, right, bottom = thing.box
        records.append(
            {
                "id": number, "image_id": image_id, "category_id": CLASSES.index(thing.name) + 1, "area": (right - left) * (bottom - top),
                "bbox": [left, top, right - left, bottom - top], "iscrowd": 0,
                "segmentation": [[left, top, right, top, right, bottom, left, bottom]],
            }
        )  # fmt: skip
    return records


def _lines(document: Document) -> bytes:
    parts = []
    for key, value in document.items():
        records = ",\n".join(map(json.dumps, value)) if isinstance(value, list) else ""
        parts.append(f'"{key}": [\n{records}\n]' if isinstance(value, list) else f'"{key}": {json.dumps(value)}')
    return ("{\n" + ",\n".join(parts) + "\n}\n").encode()


def edit(files: Files, name: str, change: Callable[[Document], object]) -> None:
    """Change a label file as a document."""
    document = json.loads(text(files, name))
    change(document)
    files[name] = _lines(document)


def both(files: Files, change: Callable[[Document], object]) -> None:
    """Change both label files."""
    for name in (TRAIN, VAL):
        edit(files, name, change)


def record(files: Files, name: str, array: str, index: int, /, **values: Any) -> None:
    """Change values of one record."""
    edit(files, name, lambda document: document[array][index].update(values))


def category(files: Files, /, **values: Any) -> None:
    """Add a category to both label files."""
    both(files, lambda document: document["categories"].append({"supercategory": "park", **values}))


def unset(files: Files, name: str, array: str, index: int, *members: str) -> None:
    """Take members out of one record."""
    edit(files, name, lambda document: [document[array][index].pop(member) for member in members])


def box(files: Files, name: str, index: int, *numbers: float) -> None:
    """Change the box of an annotation, and its area and polygon with it."""
    x, y, w, h = numbers
    record(files, name, "annotations", index, bbox=[x, y, w, h], area=w * h, segmentation=[[x, y, x + w, y, x + w, y + h, x, y + h]])


def copy(files: Files, index: int, new_id: int, shift: float = 0, **values: Any) -> None:
    """Add a copy of an annotation to train, shifted to the right."""

    def change(document: Document) -> None:
        of = document["annotations"][index]
        (x, y, w, h), ring = of["bbox"], of["segmentation"][0]
        ring = [number + shift * (place % 2 == 0) for place, number in enumerate(ring)]
        document["annotations"].append({**of, "id": new_id, "bbox": [x + shift, y, w, h], "segmentation": [ring], **values})

    edit(files, TRAIN, change)


def every(files: Files, change: Callable[[Document], object]) -> None:
    """Change every annotation of both label files."""
    both(files, lambda document: [change(annotation) for annotation in document["annotations"]])


def picture(files: Files, number: int, file_name: str, stem: str = "", size: tuple[int, int] = SIZE) -> None:
    """Add an image of an empty meadow to train."""
    if stem:
        files[f"images/{file_name}"] = draw(stem, "train", (), size).jpeg
    added = {"id": number, "file_name": file_name, "width": size[0], "height": size[1], "license": 1}
    edit(files, TRAIN, lambda document: document["images"].append(added))


def add_picture(files: Files, name: str, shot: Scene) -> None:
    """Add an image and what is in it."""
    files[f"images/{name}"] = shot.jpeg

    def change(document: Document) -> None:
        number = 1000 + sum(map(len, files))
        document["images"].append({"id": number, "file_name": name, "width": shot.size[0], "height": shot.size[1], "license": 1})
        document["annotations"] += _annotations(shot, number, 100 * number)

    edit(files, f"annotations/instances_{shot.split}.json", change)


def rare(files: Files) -> None:
    """Add a class that one object has."""
    category(files, id=8, name="kite")
    record(files, TRAIN, "annotations", 20, category_id=8)


def category_zero(files: Files) -> None:
    """Add a category with the id 0 and use it."""
    category(files, id=0, name="flag")
    record(files, TRAIN, "annotations", 26, category_id=0)


def skeleton(files: Files, index: int, keypoints: Sequence[int], count: int) -> None:
    """Give an annotation keypoints."""
    record(files, TRAIN, "annotations", index, keypoints=list(keypoints), num_keypoints=count)


def mask(files: Files, name: str, index: int, size: Sequence[int], *runs: int) -> None:
    """Give an annotation a mask of run lengths, and the whole image as box."""
    box(files, name, index, 0, 0, 180, 120)
    record(files, name, "annotations", index, segmentation={"size": list(size), "counts": list(runs)})


def renamed_category(files: Files) -> None:
    """Give one id two names."""
    edit(files, TRAIN, lambda d: d["categories"].append({"id": 13, "name": "pond", "supercategory": "park"}))
    edit(files, VAL, lambda d: d["categories"].append({"id": 13, "name": "lake", "supercategory": "park"}))


def text_ids(document: Document) -> None:
    """Turn the ids of images into text."""
    for image in document["images"]:
        image["id"] = str(image["id"])
    for annotation in document["annotations"]:
        annotation["image_id"] = str(annotation["image_id"])


def as_corners(annotation: Document) -> None:
    """Write a box as two corners."""
    x, y, w, h = annotation["bbox"]
    annotation["bbox"] = [x, y, x + w, y + h]


def as_shares(annotation: Document) -> None:
    """Write a box, and all that goes with it, as shares of the image."""
    x, y, w, h = annotation["bbox"]
    annotation["bbox"] = [round(x / SIZE[0], 4), round(y / SIZE[1], 4), round(w / SIZE[0], 4), round(h / SIZE[1], 4)]
    del annotation["segmentation"]
    annotation["area"] = annotation["bbox"][2] * annotation["bbox"][3]


def as_crowd(annotation: Document) -> None:
    """Call an object a crowd."""
    del annotation["segmentation"]
    annotation["iscrowd"] = 1


def as_placeholder(annotation: Document) -> None:
    """Put each balloon to one place."""
    if annotation["category_id"] == 1:
        annotation.update(bbox=[10, 10, 40, 40], area=1600, segmentation=[[10, 10, 50, 10, 50, 50, 10, 50]])


def as_lvis(files: Files) -> None:
    """Call the files as LVIS does, whose images say which classes were looked for; one of them does not."""
    for name, new in ((TRAIN, "annotations/lvis_v1_train.json"), (VAL, "annotations/lvis_v1_val.json")):
        edit(files, name, lambda d: [image.update(neg_category_ids=[], not_exhaustive_category_ids=[]) for image in d["images"]])
        files[new] = files.pop(name)
    unset(files, "annotations/lvis_v1_train.json", "images", 2, "neg_category_ids")


def xml_too(files: Files) -> None:
    """Add labels of the same images as Pascal VOC."""
    files |= {name: content for name, content in voc.write(scenes()).items() if name.endswith(".xml")}


def several_splits(files: Files) -> None:
    """List an image of train in val too, with its objects."""
    train = json.loads(text(files, TRAIN))
    edit(files, VAL, lambda d: d["images"].append(train["images"][9]))
    edit(files, VAL, lambda d: d["annotations"].extend(a | {"id": a["id"] + 900} for a in train["annotations"][27:30]))


def lacking(files: Files) -> None:
    """Take all crates out of val."""
    edit(files, VAL, lambda d: d.update(annotations=[a for a in d["annotations"] if a["category_id"] != 3]))


def unlicensed(document: Document) -> None:
    """Take the licences out of a label file."""
    del document["licenses"]
    for image in document["images"]:
        del image["license"]


def annotation(index: int, member: str = "", file: str = TRAIN) -> Place:
    """Point at an annotation."""
    return Place(file=file, pointer=f"/annotations/{index}" + (f"/{member}" if member else ""))


def image(index: int, member: str = "", file: str = TRAIN) -> Place:
    """Point at an image record."""
    return Place(file=file, pointer=f"/images/{index}" + (f"/{member}" if member else ""))


def _rebuilt(plan: plans.Plan) -> Callable[[Files], None]:
    return lambda files: replace(files, write(scenes(plan)))


# The changes that leave no valid JSON stand last.
PLANTS: tuple[Plant, ...] = (
    Plant("image-in-several-splits", "in train and val", several_splits, Place(image="images/park_010.jpg", split="train+val")),
    Plant("record-unreadable", "text instead of an object", lambda f: edit(f, TRAIN, lambda d: d["annotations"].__setitem__(8, "deleted")), annotation(8)),
    Plant("image-missing", "the file is not there", lambda f: drop(f, "images/park_003.jpg"), image(2, "file_name")),
    Plant("image-orphan", "no label file names it", lambda f: f.update({"images/park_099.jpg": draw("park_099", "", (), SIZE).jpeg}), Place(file="images/park_099.jpg")),
    Plant("image-unreadable", "an empty file", lambda f: f.update({"images/park_004.jpg": b""}), Place(image="images/park_004.jpg")),
    Plant("annotation-without-image", "there is no image 999", lambda f: record(f, TRAIN, "annotations", 5, image_id=999), annotation(5, "image_id")),
    Plant("box-malformed", "three numbers", lambda f: record(f, TRAIN, "annotations", 3, bbox=[10, 10, 20]), annotation(3, "bbox")),
    Plant("flag-invalid", "iscrowd is text", lambda f: record(f, TRAIN, "annotations", 6, iscrowd="no"), annotation(6, "iscrowd")),
    Plant("id-invalid", "the id is null", lambda f: record(f, TRAIN, "annotations", 7, id=None), annotation(7, "id")),
    Plant("id-mixed-types", "an id is text, the others are numbers", lambda f: record(f, VAL, "annotations", 0, id="34"), Place(file=VAL)),
    Plant("class-name-missing", "a category without a name", lambda f: category(f, id=4), Place(file=TRAIN, pointer="/categories/3/name")),
    Plant("image-size-invalid", "the width is -1", lambda f: record(f, TRAIN, "images", 1, width=-1), image(1, "width")),
    Plant("listed-twice", "a second record for one file", lambda f: picture(f, 50, "park_012.jpg"), image(12)),
    Plant("path-outside-dataset", "leads out of the dataset", lambda f: picture(f, 51, "../../elsewhere/park_051.jpg"), image(13, "file_name")),
    Plant("path-absolute", "a path of another machine", lambda f: record(f, TRAIN, "images", 4, file_name="/data/park/park_005.jpg"), image(4, "file_name")),
    Plant("path-backslash", "a path from Windows", lambda f: record(f, VAL, "images", 0, file_name=".\\park_013.jpg"), image(0, "file_name", VAL)),
    Plant("path-by-basename", "a folder that is not there", lambda f: record(f, TRAIN, "images", 6, file_name="old/park_007.jpg"), Place(file=TRAIN)),
    Plant("name-case-collision", "the same name as park_001.jpg on Windows", lambda f: picture(f, 52, "Park_001.jpg", "park_098"), Place(image="images/Park_001.jpg")),
    Plant("name-unsafe", "a shell would run a part of it", lambda f: rename(f, {"park_008": "park_$(id)"}), Place(image="images/park_$(id).jpg")),
    Plant("link-outside-dataset", "a link out of the dataset", lambda f: f.update({"images/more": Link("../../clean/images")}), Place(file="images/more")),
    Plant("junk-files", "left by a Mac", lambda f: f.update({"images/._park_001.jpg": b"\0\5\x16\7"}), Place(file="images/._park_001.jpg")),
    Plant("box-degenerate", "the width is 0", lambda f: record(f, TRAIN, "annotations", 0, bbox=[20, 20, 0, 30]), annotation(0, "bbox")),
    Plant("box-outside-image", "reaches x = 230 in an image 192 wide", lambda f: box(f, TRAIN, 1, 170, 20, 60, 30), annotation(1, "bbox")),
    Plant("box-edge-excess", "reaches x = 192.5 in an image 192 wide", lambda f: box(f, TRAIN, 2, 160, 60, 32.5, 40), annotation(2, "bbox")),
    Plant("box-missing", "no bbox", lambda f: unset(f, TRAIN, "annotations", 9, "bbox"), annotation(9)),
    Plant("box-tiny", "1 pixel wide", lambda f: box(f, TRAIN, 12, 20, 20, 1, 20), annotation(12, "bbox")),
    Plant("box-full-image", "covers the whole image", lambda f: box(f, TRAIN, 13, 0, 0, *SIZE), annotation(13, "bbox")),
    Plant("box-aspect-extreme", "45 times as wide as high", lambda f: box(f, TRAIN, 14, 4, 60, 180, 4), annotation(14, "bbox")),
    Plant("box-rotated", "centre, size and an angle", lambda f: record(f, TRAIN, "annotations", 16, bbox=[60, 60, 40, 20, 30]), annotation(16, "bbox")),
    Plant("class-undeclared", "there is no category 99", lambda f: record(f, TRAIN, "annotations", 4, category_id=99), annotation(4, "category_id")),
    Plant("annotation-duplicate", "a copy", lambda f: copy(f, 18, 801), annotation(33)),
    Plant("annotation-near-duplicate", "a copy, half a pixel to the right", lambda f: copy(f, 19, 802, 0.5), annotation(34, "bbox")),
    Plant("annotation-class-conflict", "a copy with another class", lambda f: copy(f, 21, 803, category_id=8), annotation(35, "category_id")),
    Plant("annotation-id-zero", "the id is 0", lambda f: record(f, TRAIN, "annotations", 22, id=0), annotation(22, "id")),
    Plant("annotation-id-missing", "no id", lambda f: unset(f, TRAIN, "annotations", 23, "id"), annotation(23, "id")),
    Plant("annotation-id-duplicate", "the id of the record before", lambda f: record(f, TRAIN, "annotations", 25, id=25), annotation(25, "id")),
    Plant("image-id-duplicate", "the id of park_012", lambda f: picture(f, 12, "park_096.jpg", "park_096"), image(15, "id")),
    Plant("category-id-zero", "an id that others keep for the background", category_zero, Place(file=TRAIN, class_name="flag")),
    Plant("category-is-background", "a class for nothing", lambda f: category(f, id=7, name="background"), Place(file=TRAIN, class_name="background")),
    Plant("area-missing", "no area", lambda f: unset(f, TRAIN, "annotations", 30, "area"), annotation(30, "area")),
    Plant("area-wrong", "an area of 1", lambda f: record(f, TRAIN, "annotations", 31, area=1), annotation(31, "area")),
    Plant("crowd-key-missing", "no iscrowd", lambda f: unset(f, TRAIN, "annotations", 32, "iscrowd"), annotation(32, "iscrowd")),
    Plant("crowd-with-polygon", "a crowd is given by run lengths", lambda f: record(f, TRAIN, "annotations", 17, iscrowd=1), annotation(17, "iscrowd")),
    Plant("ignore-flag", "ignore is set", lambda f: record(f, TRAIN, "annotations", 27, ignore=1), annotation(27, "ignore")),
    Plant("score-in-labels", "a score, as predictions have", lambda f: record(f, TRAIN, "annotations", 28, score=0.87), annotation(28, "score")),
    Plant("polygon-too-short", "two points", lambda f: record(f, VAL, "annotations", 3, segmentation=[[10, 10, 40, 40]]), annotation(3, "segmentation", VAL)),
    Plant("polygon-odd", "seven numbers", lambda f: record(f, VAL, "annotations", 4, segmentation=[[10, 10, 40, 10, 40, 40, 10]]), annotation(4, "segmentation", VAL)),
    Plant("polygon-not-nested", "one list of numbers", lambda f: record(f, VAL, "annotations", 5, segmentation=[10, 10, 40, 10, 40, 40]), annotation(5, "segmentation", VAL)),
    Plant("polygon-malformed", "text among the numbers", lambda f: record(f, VAL, "annotations", 6, segmentation=[[10, 10, 40, "x", 40, 40]]), annotation(6, "segmentation", VAL)),
    Plant("segmentation-empty", "an empty list", lambda f: record(f, VAL, "annotations", 7, segmentation=[]), annotation(7, "segmentation", VAL)),
    Plant("polygon-outside", "reaches x = 230 in an image 192 wide", lambda f: record(f, VAL, "annotations", 8, segmentation=[[170, 20, 230, 20, 230, 50]]), annotation(8, "segmentation", VAL)),
    Plant("polygon-crossing", "a bow-tie", lambda f: record(f, VAL, "annotations", 9, segmentation=[[10, 10, 60, 60, 60, 10, 10, 60]]), annotation(9, "segmentation", VAL)),
    Plant("box-differs-from-shape", "the box of something else", lambda f: record(f, VAL, "annotations", 10, bbox=[2, 2, 20, 20]), annotation(10, "bbox", VAL)),
    Plant("mask-size-differs", "width and height exchanged", lambda f: mask(f, VAL, 11, SIZE, 100, 24_000, 476), annotation(11, "segmentation/size", VAL)),
    Plant("mask-length-wrong", "too few pixels", lambda f: mask(f, TRAIN, 11, SIZE[::-1], 100, 200), annotation(11, "segmentation/counts")),
    Plant("mask-invalid", "a run below zero", lambda f: mask(f, TRAIN, 29, SIZE[::-1], -100, 24_676), annotation(29, "segmentation")),
    Plant("keypoints-length", "five numbers", lambda f: skeleton(f, 22, (20, 20, 2, 30, 30), 1), annotation(22, "keypoints")),
    Plant("keypoints-count", "2 keypoints, counted as 7", lambda f: skeleton(f, 23, (20, 20, 2, 30, 30, 2), 7), annotation(23, "num_keypoints")),
    Plant("keypoints-visibility", "a visibility of 5", lambda f: skeleton(f, 24, (20, 20, 5, 30, 30, 2), 2), annotation(24, "keypoints")),
    Plant("keypoints-hidden-placed", "a place, and not labelled", lambda f: skeleton(f, 26, (20, 20, 0, 30, 30, 2), 1), annotation(26, "keypoints")),
    Plant("image-size-missing", "no width and height", lambda f: unset(f, TRAIN, "images", 7, "width", "height"), image(7, "width")),
    Plant("image-size-mismatch", "declared 96 wide", lambda f: record(f, TRAIN, "images", 8, width=96), image(8, "width")),
    Plant("image-size-swapped", "width and height exchanged", lambda f: record(f, VAL, "images", 1, width=SIZE[1], height=SIZE[0]), image(1, "width", VAL)),
    Plant("image-too-small", "8 × 8 pixels", lambda f: picture(f, 53, "park_095.jpg", "park_095", (8, 8)), image(16)),
    Plant("class-names-alike", "Tent and tent", lambda f: category(f, id=5, name="Tent"), Place(file=TRAIN, class_name="Tent")),
    Plant("class-name-untidy", "a space at the end", lambda f: category(f, id=6, name="lantern "), Place(file=TRAIN, class_name="lantern ")),
    Plant("class-name-placeholder", "a class without a name", lambda f: category(f, id=11, name="class_11"), Place(file=TRAIN, class_name="class_11")),
    Plant("class-rare", "one object of this class", rare, Place(file=TRAIN, class_name="kite", split="train")),
    Plant("class-unused", "no object of this class", lambda f: category(f, id=12, name="bench"), Place(file=TRAIN, class_name="bench")),
    Plant("class-root", "only the group of the others", lambda f: category(f, id=10, name="park"), Place(file=TRAIN, class_name="park")),
    Plant("class-ids-gapped", "an id after a gap", lambda f: category(f, id=90, name="swing"), Place(file=TRAIN, class_name="swing"), alone=True),
    Plant("category-id-duplicate", "the id of another", lambda f: category(f, id=12, name="slide"), Place(file=TRAIN, class_name="slide")),
    Plant("class-names-conflict", "category 13 has another name in val", renamed_category, Place(file=VAL, class_name="lake")),
    Plant("licence-conflict", "there is no licence 9", lambda f: record(f, TRAIN, "images", 10, license=9), image(10, "license")),
    Plant("personal-data", "who drew the box", lambda f: record(f, TRAIN, "annotations", 10, annotator="ann@example.org"), annotation(10, "annotator")),
    Plant("licence-missing", "no licences", lambda f: edit(f, VAL, unlicensed), Place(file=VAL)),
    *picture_plants(add_picture, "images/{}".format),
    Plant("box-not-finite", "NaN", lambda f: record(f, VAL, "annotations", 2, bbox=[math.nan, 10, 20, 20]), annotation(2, "bbox", VAL)),
    Plant("json-nonstandard", "an area of NaN, which JSON does not know", lambda f: record(f, VAL, "annotations", 1, area=math.nan), annotation(1, "", VAL)),
    Plant("duplicate-key", "info stands twice", lambda f: swap(f, VAL, '"info"', '"info": {},\n"info"'), Place(file=VAL, line=3)),
    Plant("text-encoding", "a byte-order mark", lambda f: f.update({VAL: b"\xef\xbb\xbf" + text(f, VAL).encode()}), Place(file=VAL, line=1)),
    Plant("label-unreadable", "cut off", lambda f: cut(f, VAL), Place(file=VAL), alone=True),
    Plant("coco-key-missing", "no categories", lambda f: both(f, lambda d: d.pop("categories")), Place(file=TRAIN, pointer="/categories"), alone=True, also=("class-undeclared",)),
    Plant("parallel-labels", "the same as Pascal VOC", xml_too, Place(file="Annotations/park_001.xml"), alone=True),
    Plant("lvis-fields-missing", "does not say which classes were looked for", as_lvis, Place(pointer="/images/2"), alone=True),
    Plant("id-is-text", "ids of images are text", lambda f: both(f, text_ids), image(0, "id"), alone=True),
    Plant("boxes-look-xyxy", "two corners, not corner and size", lambda f: every(f, as_corners), annotation(0, "bbox"), alone=True, also=("box-outside-image", "box-differs-from-shape")),
    Plant("boxes-look-normalized", "shares of the image, not pixels", lambda f: every(f, as_shares), annotation(0, "bbox"), alone=True, also=("box-tiny",)),
    Plant("boxes-all-alike", "all balloons at one place", lambda f: every(f, as_placeholder), Place(file=TRAIN, class_name="balloon"), alone=True),
    Plant("all-crowd", "everything is a crowd", lambda f: every(f, as_crowd), annotation(0, "iscrowd"), alone=True),
    Plant("no-annotations", "val holds no annotation", lambda f: edit(f, VAL, lambda d: d.update(annotations=[])), Place(file=VAL, split="val"), alone=True),
    Plant("class-missing-in-split", "val holds no crate", lacking, Place(class_name="crate", split="val"), alone=True),
    Plant("class-imbalance", "60 crates, 5 tents", _rebuilt(plans.IMBALANCED), Place(class_name="tent", split="train"), alone=True),
    Plant("background-share", "half of the images show nothing", _rebuilt(plans.EMPTY), Place(image="images/park_007.jpg", split="train"), alone=True),
    Plant("split-tiny", "8 images in val, 3 in train", _rebuilt(plans.SWAPPED), Place(split="val"), alone=True),
    Plant("split-drift", "tents in all of train and in two of val", _rebuilt(plans.DRIFTED), Place(class_name="tent", split="val"), alone=True),
    Plant("no-validation-split", "only train", lambda f: drop(f, VAL, *(f"images/park_0{n}" for n in range(13, 17))), Place(split="val"), alone=True),
    Plant("source-in-several-splits", "two versions of one source", partial(rename, renamed=plans.VERSIONS), Place(image=f"images/{plans.VERSIONS['park_009']}.jpg"), alone=True),
    Plant("sequence-in-several-splits", "frames dealt out to train and val", partial(rename, renamed=plans.FRAMES), Place(image="images/yard_frame_0002.jpg"), alone=True),
    Plant("copies-of-one-source", "two versions of one source in train", partial(rename, renamed=plans.COPIES), Place(image=f"images/{plans.COPIES['park_009']}.jpg"), alone=True),
    Plant("name-in-several-splits", "one name in train and val", partial(rename, renamed={"park_009": "day/at the pond", "park_014": "night/at the pond"}), Place(image="images/day/at the pond.jpg"), alone=True),
)  # fmt: skip
