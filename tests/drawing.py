"""Datasets drawn as text, so that a test can show the label and the expectation on one line.

    format: coco
    classes: cat dog
    a.jpg 100x80 train
      cat  10 10  50 50
      cat  90 10 120 30 crowd id=7    # DD102
    b.jpg 100x80 val background

An image line holds the name, the size (`?` for none), then splits and states (background, unlabeled, missing) in any order. A box line
holds the
class (`?` for one nobody declared), four corners or `-` for no box, then flags, a geometry (polygon, rle, obb …), `id=`, `area=`,
`number=` (the class as written), `source=`, and columns and flaws of its shape (`rings=1`, `extent=0,0,9,9`, `odd`). On an image line `file=` is
the size of the file and `id=` its id. `ids:` gives the ids of the classes, `sources: each` gives each image a label file. `x40` on an image or box line stands
for 40 of them; names of classes may be quoted, and `dog<animal` gives the supercategory. In a folder dataset the folder of an image is its class, and `empty:` names folders
without images. `name=value` on an image line is what a scan told of it (see `drawn_pixels`). What stands after `#` are the codes that should point at this line; for a class it is the line `classes:`, for a split
that of its first image.
"""

from __future__ import annotations

import posixpath
import re
import shlex
from pathlib import Path

import numpy as np

from dataset_doctor.dataset import (
    NO_ID,
    UNKNOWN_SIZE,
    Annotations,
    Class,
    Dataset,
    Flag,
    Flaw,
    Geometry,
    Images,
    LabelState,
    Place,
    Shapes,
    no_shapes,
)
from dataset_doctor.pixels import FileState, Pixels

STATES = ("background", "unlabeled", "missing")


def draw(text: str, **changes: object) -> tuple[Dataset, dict[str, set[int]]]:
    """Make the dataset that a text draws; the second value gives for each code the lines of the text that should be pointed at."""
    header = {
        "format": "coco",
        "classes": "",
        "voc_origin": "",
        "task": "detect",
        "empty": "",
        "classes line": "",
        "sources": "",
        "ids": "",
        "variant": "drawn",
    }
    images: list[dict[str, object]] = []
    boxes: list[dict[str, object]] = []
    wanted: dict[str, set[int]] = {}
    for number, line in enumerate(text.splitlines(), start=1):
        body, _, codes = line.partition("#")
        for code in codes.split():
            wanted.setdefault(code, set()).add(number)
        words = body.split()
        if not words:
            continue
        if words[0].endswith(":"):
            header[words[0][:-1]] = body.partition(":")[2].strip()
            header[f"{words[0][:-1]} line"] = str(number)
        elif not line.startswith(" "):
            size = (UNKNOWN_SIZE, UNKNOWN_SIZE) if words[1] == "?" else tuple(int(v) for v in words[1].split("x"))
            images.append({"name": words[0], "size": size, "words": words[2:], "line": number})
        else:
            corners = [np.nan] * 4 if words[1] == "-" else [float(v) for v in words[1:5]]
            rest = words[2:] if words[1] == "-" else words[5:]
            boxes.append({"image": len(images) - 1, "class": words[0], "corners": corners, "rest": rest, "line": number})
    return _dataset(header, *_repeated(images, boxes), changes), wanted


def drawn_pixels(text: str) -> Pixels:
    """Make what a scan would tell of the images that a text draws: unremarkable pictures, all different, unless their lines say otherwise.

    `name=value` sets a column of Pixels on an image line: `brightness_p99=0.2`, `state=TRUNCATED`, `mode=CMYK`, `has_gps=1`. Hashes are
    words (`content_hash=a`), perceptual ones and `detail` hexadecimal (`perceptual=ff`).
    """
    images: list[dict[str, object]] = []
    for line in text.splitlines():
        words = line.partition("#")[0].split()
        if words and not words[0].endswith(":") and not line.startswith(" "):
            images.append({"name": words[0], "words": words[2:]})
    images, _ = _repeated(images, [])
    n = len(images)
    random = np.random.default_rng(0)
    columns: dict[str, np.ndarray] = {
        "state": np.full(n, FileState.SOUND, np.uint8),
        "error": np.full(n, None, object),
        "file_format": np.full(n, "JPEG", object),
        "size_bytes": np.full(n, 1000, np.int64),
        "mode": np.full(n, "RGB", object),
        "bit_depth": np.full(n, 8, np.uint8),
        "frames": np.ones(n, np.int32),
        "orientation": np.zeros(n, np.uint8),
        "has_gps": np.zeros(n, bool),
        "has_serial": np.zeros(n, bool),
        **{f"brightness_p{p}": np.full(n, p / 100, np.float32) for p in (1, 5, 50, 95, 99)},
        "contrast": np.full(n, 0.2, np.float32),
        "sharpness": np.full(n, 0.8, np.float32),
        "entropy": np.full(n, 7.0, np.float32),
        "value_p99": np.full(n, 0.99, np.float32),
        "chroma": np.full(n, 0.5, np.float32),
        "detail": np.full(n, 2**64 - 1, np.uint64),
        "relief": np.full(n, 0.2, np.float32),
        "channel_mean": np.full((n, 3), 0.5, np.float32),
        "channel_std": np.full((n, 3), 0.2, np.float32),
        "content_hash": np.array([f"file {row}".encode() for row in range(n)], object),
        "pixel_hash": np.array([b""] * n, object),
        "perceptual": random.integers(1, 2**64, n, dtype=np.uint64),
        "is_flat": np.zeros(n, bool),
        "sketch": np.zeros((n, 53), np.int8),
    }
    for row, image in enumerate(images):
        for name, value in (word.split("=") for word in image["words"] if "=" in word and not word.startswith(("id=", "file="))):
            if name == "state":
                columns[name][row] = FileState[value]
            elif name in ("perceptual", "detail"):
                columns[name][row] = int(value, 16)
            else:
                columns[name][row] = value.encode() if name.endswith("_hash") else value if columns[name].dtype == object else float(value)
    return Pixels(**columns)


def drawn_shapes(text: str) -> Shapes:
    """Make what a second reading would tell of the shapes that a text draws: `column=value` and names of flaws on box lines."""
    rows = []
    for line in text.splitlines():
        words = line.partition("#")[0].split()
        if words and line.startswith(" "):
            rows += [words] * next((int(w[1:]) for w in words if re.fullmatch(r"x\d+", w)), 1)
    shapes = no_shapes(len(rows))
    for row, words in enumerate(rows):
        for word in words:
            name, _, value = word.partition("=")
            if name.removeprefix("shape_") in Shapes.__slots__ and (name != "area"):
                column = getattr(shapes, name.removeprefix("shape_"))
                column[row] = [float(v) for v in value.split(",")] if column.ndim == 2 else float(value)
            elif word.upper() in Flaw.__members__:
                shapes.flaws[row] |= Flaw[word.upper()]
    return shapes


def _repeated(images: list, boxes: list) -> tuple[list, list]:
    """Write out the images and boxes that `x40` stands for."""

    def times(words: list[str]) -> int:
        return next((int(w[1:]) for w in words if re.fullmatch(r"x\d+", w)), 1)

    many_images, many_boxes = [], []
    for row, image in enumerate(images):
        stem, suffix = posixpath.splitext(image["name"])
        own = [box for box in boxes if box["image"] == row for _ in range(times(box["rest"]))]
        for copy in range(times(image["words"])):
            words = [w for w in image["words"] if not re.fullmatch(r"x\d+", w)]
            many_boxes += [{**box, "image": len(many_images)} for box in own]
            many_images.append({**image, "words": words, "name": f"{stem}-{copy}{suffix}" if copy else image["name"]})
    return many_images, many_boxes


def _dataset(header: dict[str, str], images: list, boxes: list, changes: dict) -> Dataset:
    names, _, groups = (
        zip(*(name.partition("<") for name in shlex.split(header["classes"])), strict=True) if header["classes"] else ((), (), ())
    )
    above = {name: group for name, group in zip(names, groups, strict=True) if group}
    sources, source = ["labels"], np.zeros(len(images), np.int32)
    if header["format"] == "folder":
        folders = [posixpath.dirname(i["name"]) for i in images]
        sources = sorted({*folders, *header["empty"].split()})
        source = np.array([sources.index(folder) for folder in folders], np.int32)
        boxes = [
            {"image": row, "class": posixpath.basename(folder), "corners": [np.nan] * 4, "rest": [], "line": images[row]["line"]}
            for row, folder in enumerate(folders)
        ]
    if header["sources"] == "each":
        sources = [f"{posixpath.splitext(i['name'])[0]}.txt" for i in images]
        source = np.arange(len(images), dtype=np.int32)
    class_ids = [int(v) for v in header["ids"].split()] or list(range(len(names)))
    of_file, of_image = (
        {row: w[len(key) :] for row, i in enumerate(images) for w in i["words"] if w.startswith(key)} for key in ("file=", "id=")
    )
    declared = Place(file="labels", line=int(header["classes line"] or 0) or None)
    splits = sorted({w for i in images for w in i["words"] if w not in STATES and "=" not in w}, key=lambda s: (s != "train", s)) or ["all"]
    in_split = np.array([[s in i["words"] or splits == ["all"] for s in splits] for i in images], bool).reshape(len(images), len(splits))
    labelled = {b["image"] for b in boxes}
    state = [
        LabelState.LABELED if row in labelled else LabelState.UNLABELED if "unlabeled" in i["words"] else LabelState.BACKGROUND
        for row, i in enumerate(images)
    ]
    size = np.array([i["size"] for i in images], np.int32).reshape(-1, 2)
    file_size = size.copy()
    for row, words in of_file.items():
        file_size[row] = [int(v) for v in words.split("x")]
    flags, areas, ids, numbers = [], [], [], {}
    shapes = {"polygon": Geometry.POLYGON, "rle": Geometry.RLE, "obb": Geometry.OBB, "pose": Geometry.POSE}
    geometry = [next((shapes[w] for w in b["rest"] if w in shapes), Geometry.BOX) for b in boxes]
    for b in boxes:
        flags.append(sum(Flag[w.upper()] for w in b["rest"] if w.upper() in Flag.__members__))
        values = dict(w.split("=") for w in b["rest"] if "=" in w)
        if "number" in values:
            numbers[len(areas)] = int(values["number"])
        areas.append(float(values.get("area", "nan")))
        own = values.get("id", str(1000 + len(ids)))
        ids.append(NO_ID if own == "none" else int(own) if own.isdecimal() else own)
    index = [names.index(b["class"]) if b["class"] in names else -1 for b in boxes]
    n = len(boxes)
    annotations = Annotations(
        image=np.array([b["image"] for b in boxes], np.int32),
        class_index=np.array(index, np.int32),
        class_id=np.array([numbers.get(row, i if i >= 0 else 99) for row, i in enumerate(index)], np.int64),
        corners=np.array([b["corners"] for b in boxes], float).reshape(-1, 4),
        area=np.array(areas, float),
        flags=np.array(flags, np.uint16),
        geometry=np.array(geometry, np.uint8),
        source_id=np.array(ids, np.int64 if all(isinstance(own, int) for own in ids) else object),
        source=source[[b["image"] for b in boxes]] if boxes else np.zeros(0, np.int32),
        position=np.arange(n, dtype=np.int32),
        line=np.array([b["line"] for b in boxes], np.int32),
    )
    columns = Images(
        file_name=np.array([i["name"] for i in images], object),
        has_file=np.array(["missing" not in i["words"] for i in images], bool),
        width=size[:, 0].copy(),
        height=size[:, 1].copy(),
        file_width=file_size[:, 0].copy(),
        file_height=file_size[:, 1].copy(),
        in_split=in_split,
        label_state=np.array(state, np.uint8),
        source_id=np.array([int(of_image.get(row, row + 1)) for row in range(len(images))], np.int64),
        source=source,
        position=np.array([i["line"] for i in images], np.int64),
        picture=np.arange(len(images), dtype=np.int32),
    )
    given = {
        "root": Path("/nowhere"), "format": header["format"], "variant": header["variant"], "task": header["task"], "evidence": (), "in_shares": header["format"] == "yolo",
        "voc_origin": header["voc_origin"] or None, "classes": tuple(Class(name, i, above.get(name), place=declared) for i, name in zip(class_ids, names, strict=True)),
        "splits": tuple(splits), "split_spelling": tuple(splits), "sources": tuple(sources), "source_split": np.full(len(sources), -1, np.int16),
        "images": columns, "annotations": annotations, "problems": (),
    }  # fmt: skip
    return Dataset(**{**given, **changes})
