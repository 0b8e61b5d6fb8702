"""Draw small valid datasets: each format in every layout that is read, and copies that dataset_doctor wrote."""

from __future__ import annotations

import functools
import io
import json
import os
import random
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image

from tests.fuzz.trees import Tree, loaded, plant

NAMES = ("cat", "dog", "bird", "traffic light", "no_entry", "person")
SPLITS = (("train", "val"), ("train", "valid", "test"), ("train",), ("train", "test"), ("train2017", "val2017"))
SIZES = ((64, 48), (48, 64), (100, 80), (33, 17))


@dataclass(frozen=True, slots=True)
class Thing:
    """An object: its class by number, and its box in whole pixels as x, y, width, height."""

    cls: int
    x: int
    y: int
    w: int
    h: int


@dataclass(frozen=True, slots=True)
class Shot:
    """An image with what it shows."""

    stem: str
    width: int
    height: int
    split: str
    things: tuple[Thing, ...]


@dataclass(frozen=True, slots=True)
class Scene:
    """A dataset before it has a format."""

    classes: tuple[str, ...]
    splits: tuple[str, ...]
    shots: tuple[Shot, ...]


@functools.lru_cache(maxsize=512)
def picture(width: int, height: int, shade: int = 0, kind: str = "JPEG", mode: str = "RGB") -> bytes:
    """Encode a small picture: a gradient, so that it is neither flat nor like another shade."""
    image = Image.linear_gradient("L").rotate(90 * (shade % 4)).resize((width, height)).point(lambda v: (v * (shade + 3)) % 256)
    buffer = io.BytesIO()
    image.convert(mode).save(buffer, kind)
    return buffer.getvalue()


def scene(rng: random.Random) -> Scene:
    """Draw some images with some objects."""
    classes = tuple(rng.sample(NAMES, rng.randint(1, 4)))
    splits = rng.choice(SPLITS)
    shots = []
    for number in range(rng.randint(2, 7)):
        width, height = rng.choice(SIZES)
        things = []
        for _ in range(rng.choice((0, 1, 1, 2, 3, 4))):
            x, y = rng.randrange(width - 8), rng.randrange(height - 8)
            things.append(Thing(rng.randrange(len(classes)), x, y, rng.randint(4, width - x), rng.randint(4, height - y)))
        stem = rng.choice((f"{number:06}", f"img_{number}", f"photo {number}", f"a{number}.b", f"IMG-{number}"))
        shots.append(Shot(stem, width, height, splits[number % len(splits)], tuple(things)))
    return Scene(classes, splits, tuple(shots))


def of(shot: Shot, number: int) -> bytes:
    """Encode the picture of a shot."""
    return picture(shot.width, shot.height, number)


# COCO ---------------------------------------------------------------------------------------------------------------


def coco(rng: random.Random) -> Tree:
    """Draw a COCO dataset: split files or one, boxes, polygons, masks, keypoints, crowds, ids of numbers or text."""
    drawn = scene(rng)
    layout = rng.choice(("folders", "folders", "one", "roboflow", "flat"))
    shape = rng.choice(("boxes", "polygons", "rle", "strings", "keypoints", "mixed"))
    text_ids, few_keys = rng.random() < 0.1, rng.random() < 0.2
    indent = rng.choice((None, None, 1))
    tree: Tree = {}
    for split in drawn.splits if layout != "one" else ("",):
        shots = [(number, shot) for number, shot in enumerate(drawn.shots, 1) if shot.split == split or layout == "one"]
        prefix = f"{split}/" if layout == "flat" or (layout == "folders" and few_keys) else ""
        folder = {"folders": f"images/{split}", "one": "images", "roboflow": split, "flat": split}[layout]
        images = []
        for number, shot in shots:
            images.append(
                {
                    "id": f"i{number}" if text_ids else number,
                    "file_name": f"{prefix}{shot.stem}.jpg",
                    "width": shot.width,
                    "height": shot.height,
                }
                | ({} if few_keys else {"license": 1, "coco_url": "", "date_captured": "2020-01-01"})
            )
            tree[f"{folder}/{shot.stem}.jpg"] = of(shot, number)
        annotations = [
            _annotation(thing, shot, f"i{number}" if text_ids else number, at, number * 100 + at, rng.choice(("boxes", "polygons", "rle", "strings", "keypoints")) if shape == "mixed" else shape, few_keys)
            for number, shot in shots
            for at, thing in enumerate(shot.things)
        ]  # fmt: skip
        categories = [
            {"id": number, "name": name, "supercategory": "thing"}
            | ({"keypoints": ["a", "b", "c"], "skeleton": [[1, 2], [2, 3]]} if shape == "keypoints" else {})
            for number, name in enumerate(drawn.classes, 1)
        ]
        head = {} if few_keys else {"info": {"year": 2020, "version": "1"}, "licenses": [{"id": 1, "name": "CC", "url": ""}]}
        document = head | {"images": images, "annotations": annotations, "categories": categories}
        name = {
            "folders": f"annotations/instances_{split}.json", "one": "instances.json", "roboflow": f"{split}/_annotations.coco.json",
            "flat": f"{split}.json",
        }[layout]  # fmt: skip
        tree[name] = json.dumps(document, indent=indent).encode()
    return tree


def _annotation(thing: Thing, shot: Shot, image: object, at: int, number: int, shape: str, few_keys: bool) -> dict[str, Any]:
    x, y, w, h = thing.x, thing.y, thing.w, thing.h
    record: dict[str, Any] = {"id": number, "image_id": image, "category_id": thing.cls + 1, "bbox": [x, y, w, h]}
    if not few_keys or shape in ("rle", "strings"):
        record |= {"area": w * h, "iscrowd": int(shape == "rle" and at % 2)}
    if shape == "polygons":
        record["segmentation"] = [[x, y, x + w, y, x + w, y + h, x, y + h]]
    elif shape in ("rle", "strings"):
        counts = _runs(thing, shot.width, shot.height)
        record["segmentation"] = {"size": [shot.height, shot.width], "counts": counts if shape == "rle" else packed(counts)}
    elif shape == "keypoints":
        record |= {"keypoints": [x, y, 2, x + 1, y + 1, 1, 0, 0, 0], "num_keypoints": 2}
    return record


def _runs(thing: Thing, width: int, height: int) -> list[int]:
    """Give the run lengths of a box, column by column as COCO has them."""
    flags = [0] * (width * height)
    for column in range(thing.x, thing.x + thing.w):
        for row in range(thing.y, thing.y + thing.h):
            flags[column * height + row] = 1
    runs, now = [0], 0
    for flag in flags:
        if flag != now:
            runs.append(0)
            now = flag
        runs[-1] += 1
    return runs


def packed(counts: list[int]) -> str:
    """Pack run lengths into COCO's string."""
    text = []
    for at, count in enumerate(counts):
        value = count - counts[at - 2] if at > 2 else count
        more = True
        while more:
            low = value & 0x1F
            value >>= 5
            more = value != -1 if low & 0x10 else value != 0
            text.append(chr((low | (0x20 if more else 0)) + 48))
    return "".join(text)


# Pascal VOC ---------------------------------------------------------------------------------------------------------


def voc(rng: random.Random) -> Tree:
    """Draw a VOC dataset: the devkit with its lists, a flat folder, files beside each other, or folders of splits."""
    drawn = scene(rng)
    layout = rng.choice(("devkit", "year", "flat", "beside", "splits"))
    tree: Tree = {}
    base = {"devkit": "VOCdevkit/VOC2012/", "year": "VOC2007/"}.get(layout, "")
    for number, shot in enumerate(drawn.shots):
        xml = voc_xml(shot, drawn.classes, rng).encode()
        if layout in ("beside", "splits"):
            folder = f"{shot.split}/" if layout == "splits" else ""
            tree[f"{folder}{shot.stem}.xml"] = xml
            tree[f"{folder}{shot.stem}.jpg"] = of(shot, number)
        else:
            tree[f"{base}Annotations/{shot.stem}.xml"] = xml
            tree[f"{base}JPEGImages/{shot.stem}.jpg"] = of(shot, number)
    if layout in ("devkit", "year") or (layout == "flat" and rng.random() < 0.5):
        lists = {split: [shot for shot in drawn.shots if shot.split == split] for split in drawn.splits}
        if rng.random() < 0.5:
            lists["trainval"] = list(drawn.shots)
        for name, shots in lists.items():
            tree[f"{base}ImageSets/Main/{name}.txt"] = "".join(f"{shot.stem}\n" for shot in shots).encode()
            if rng.random() < 0.5:
                marks = [(shot, 1 if any(thing.cls == 0 for thing in shot.things) else -1) for shot in shots]
                text = "".join(f"{shot.stem} {mark:2}\n" for shot, mark in marks)
                tree[f"{base}ImageSets/Main/{drawn.classes[0]}_{name}.txt"] = text.encode()
    return tree


def voc_xml(shot: Shot, classes: tuple[str, ...], rng: random.Random) -> str:
    """Write an annotation file."""
    extra = rng.random() < 0.7
    things = "".join(
        f"\t<object>\n\t\t<name>{classes[thing.cls]}</name>\n"
        + ("\t\t<pose>Unspecified</pose>\n\t\t<truncated>0</truncated>\n\t\t<difficult>0</difficult>\n" if extra else "")
        + f"\t\t<bndbox>\n\t\t\t<xmin>{thing.x + 1}</xmin>\n\t\t\t<ymin>{thing.y + 1}</ymin>\n"
        f"\t\t\t<xmax>{thing.x + thing.w}</xmax>\n\t\t\t<ymax>{thing.y + thing.h}</ymax>\n\t\t</bndbox>\n\t</object>\n"
        for thing in shot.things
    )
    return (
        f"<annotation>\n\t<folder>JPEGImages</folder>\n\t<filename>{shot.stem}.jpg</filename>\n"
        f"\t<size>\n\t\t<width>{shot.width}</width>\n\t\t<height>{shot.height}</height>\n\t\t<depth>3</depth>\n\t</size>\n"
        f"\t<segmented>0</segmented>\n{things}</annotation>\n"
    )


# YOLO ---------------------------------------------------------------------------------------------------------------


def yolo(rng: random.Random) -> Tree:
    """Draw a YOLO dataset: data.yaml, Darknet's obj.data or no configuration; boxes, polygons, keypoints or oriented boxes."""
    drawn = scene(rng)
    layout = rng.choice(("ultralytics", "ultralytics", "roboflow", "lists", "darknet", "plain"))
    task = rng.choice(("detect", "detect", "segment", "pose", "obb")) if layout in ("ultralytics", "roboflow", "lists") else "detect"
    tree: Tree = {}
    listed: dict[str, list[str]] = {split: [] for split in drawn.splits}
    for number, shot in enumerate(drawn.shots):
        folder = {"roboflow": f"{shot.split}/images", "darknet": "obj_train_data", "plain": "images"}.get(layout, f"images/{shot.split}")
        labels = {"darknet": folder}.get(layout, folder.replace("images", "labels"))
        tree[f"{folder}/{shot.stem}.jpg"] = of(shot, number)
        rows = "".join(f"{thing.cls} {_numbers(thing, shot, task)}\n" for thing in shot.things)
        if rows or rng.random() < 0.5:
            tree[f"{labels}/{shot.stem}.txt"] = rows.encode()
        listed[shot.split].append(f"{folder}/{shot.stem}.jpg")
    names = list(drawn.classes)
    if layout == "darknet":
        tree["obj.names"] = "\n".join([*names, ""]).encode()
        lines = [
            f"classes = {len(names)}",
            *(f"{split} = data/{split}.txt" for split in drawn.splits),
            "names = data/obj.names",
            "backup = backup/",
        ]
        tree["obj.data"] = "\n".join([*lines, ""]).encode()
        for split, files in listed.items():
            tree[f"{split}.txt"] = "".join(f"data/{file}\n" for file in files).encode()
        return tree
    if layout == "plain":
        if rng.random() < 0.7:
            tree[rng.choice(("classes.txt", "labels/classes.txt"))] = "\n".join([*names, ""]).encode()
        return tree
    lines = [rng.choice(("path: .", "# made by hand", "path: ../datasets/pets"))]
    for split in drawn.splits:
        key = {"valid": "val", "train2017": "train", "val2017": "val"}.get(split, split)
        place = {"roboflow": f"../{split}/images", "lists": f"{split}.txt"}.get(layout, f"images/{split}")
        lines.append(f"{key}: {place}")
        if layout == "lists":
            tree[f"{split}.txt"] = "".join(f"./{file}\n" for file in listed[split]).encode()
    style = rng.randrange(4)
    if style == 0:
        lines += [f"nc: {len(names)}", f"names: {json.dumps(names)}"]
    elif style == 1:
        lines += ["names:", *(f"  {number}: {name}" for number, name in enumerate(names))]
    elif style == 2:
        lines += ["names:", *(f"- {name}" for name in names), f"nc: {len(names)}"]
    else:
        lines += ["names: {" + ", ".join(f"{number}: {name}" for number, name in enumerate(names)) + "}"]
    lines += ["kpt_shape: [3, 3]", "flip_idx: [0, 2, 1]"] if task == "pose" else []
    tree["data.yaml"] = "\n".join([*lines, ""]).encode()
    return tree


def _numbers(thing: Thing, shot: Shot, task: str) -> str:
    left, top, right, bottom = (
        thing.x / shot.width, thing.y / shot.height, (thing.x + thing.w) / shot.width, (thing.y + thing.h) / shot.height,
    )  # fmt: skip
    box = f"{(left + right) / 2:.6f} {(top + bottom) / 2:.6f} {right - left:.6f} {bottom - top:.6f}"
    if task == "detect":
        return box
    if task == "pose":
        return f"{box} {left:.6f} {top:.6f} 2 {right:.6f} {bottom:.6f} 1 0 0 0"
    ring = (left, top, right, top, right, bottom, left, bottom)
    more = (left, (top + bottom) / 2) if task == "segment" else ()
    return " ".join(f"{value:.6f}" for value in (*ring, *more))


# Folders, and what was written --------------------------------------------------------------------------------------


def folder(rng: random.Random) -> Tree:
    """Draw an image folder: classes at the root, below splits, or below one more folder."""
    drawn = scene(rng)
    layout = rng.choice(("classes", "splits", "splits", "deep"))
    tree: Tree = {}
    for number, shot in enumerate(drawn.shots * 2):
        name = drawn.classes[(shot.things[0].cls if shot.things else number) % len(drawn.classes)]
        home = {"classes": "", "splits": f"{shot.split}/", "deep": "images/"}[layout]
        tree[f"{home}{name}/{number}_{shot.stem}.jpg"] = picture(shot.width, shot.height, number)
    return tree


DRAWN: dict[str, Callable[[random.Random], Tree]] = {"coco": coco, "voc": voc, "yolo": yolo, "folder": folder}


def written(format: str, rng: random.Random) -> Tree:
    """Draw a dataset and give the copy that dataset_doctor writes of it, with its manifest, images repeated; else the drawn one."""
    from dataset_doctor import rebalance, write
    from dataset_doctor.errors import DoctorError
    from dataset_doctor.formats import read

    tree = DRAWN[format](rng)
    with tempfile.TemporaryDirectory(prefix="fuzz") as scratch:
        source, out = Path(scratch, "source"), Path(scratch, "out")
        plant(tree, source)
        try:
            dataset = read(source, format)
            plan = rebalance(dataset, method=rng.choice(("none", "oversample", "repeat_factor")), target="uniform", seed=0)
            mode = rng.choice(("copy", "copy", "list")) if format in ("coco", "yolo") else "copy"
            write(plan.apply(dataset), out, format, materialize=mode)
        except DoctorError:
            return tree
        # Lists lead to where the images were, which is another folder each time.
        copy = {name: node.replace(os.fsencode(source), b".") if isinstance(node, bytes) else node for name, node in loaded(out).items()}
    if mode == "list":
        copy |= {name: node for name, node in tree.items() if name.endswith(".jpg")}
    return copy
