"""Datasets drawn as text, so that a test can show the label and the expectation on one line.

    format: coco
    classes: cat dog
    a.jpg 100x80 train
      cat  10 10  50 50
      cat  90 10 120 30 crowd id=7    # DD102
    b.jpg 100x80 val background

An image line holds the name, the size (`?` for none), then splits and states (background, unlabeled, missing) in any order. A box line
holds the
class (`?` for one nobody declared), four corners or `-` for no box, then flags, `id=`, `area=`. What stands after `#` are the codes that
should point at this line.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from dataset_doctor.dataset import (
    NO_ID,
    UNKNOWN_SIZE,
    Annotations,
    Class,
    Dataset,
    Flag,
    Geometry,
    Images,
    LabelState,
)

STATES = ("background", "unlabeled", "missing")


def draw(text: str, **changes: object) -> tuple[Dataset, dict[str, set[int]]]:
    """Make the dataset that a text draws; the second value gives for each code the lines of the text that should be pointed at."""
    header = {"format": "coco", "classes": "", "voc_origin": "", "task": "detect"}
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
        elif not line.startswith(" "):
            size = (UNKNOWN_SIZE, UNKNOWN_SIZE) if words[1] == "?" else tuple(int(v) for v in words[1].split("x"))
            images.append({"name": words[0], "size": size, "words": words[2:], "line": number})
        else:
            corners = [np.nan] * 4 if words[1] == "-" else [float(v) for v in words[1:5]]
            rest = words[2:] if words[1] == "-" else words[5:]
            boxes.append({"image": len(images) - 1, "class": words[0], "corners": corners, "rest": rest, "line": number})
    return _dataset(header, images, boxes, changes), wanted


def _dataset(header: dict[str, str], images: list, boxes: list, changes: dict) -> Dataset:
    names = header["classes"].split()
    splits = sorted({w for i in images for w in i["words"] if w not in STATES}, key=lambda s: (s != "train", s)) or ["all"]
    in_split = np.array([[s in i["words"] or splits == ["all"] for s in splits] for i in images], bool).reshape(len(images), len(splits))
    labelled = {b["image"] for b in boxes}
    state = [
        LabelState.LABELED if row in labelled else LabelState.UNLABELED if "unlabeled" in i["words"] else LabelState.BACKGROUND
        for row, i in enumerate(images)
    ]
    size = np.array([i["size"] for i in images], np.int32).reshape(-1, 2)
    flags, areas, ids = [], [], []
    for b in boxes:
        flags.append(sum(Flag[w.upper()] for w in b["rest"] if w.upper() in Flag.__members__))
        values = dict(w.split("=") for w in b["rest"] if "=" in w)
        areas.append(float(values.get("area", "nan")))
        ids.append(int(values["id"]) if "id" in values else NO_ID)
    index = [names.index(b["class"]) if b["class"] in names else -1 for b in boxes]
    n = len(boxes)
    annotations = Annotations(
        image=np.array([b["image"] for b in boxes], np.int32),
        class_index=np.array(index, np.int32),
        class_id=np.array([i if i >= 0 else 99 for i in index], np.int64),
        corners=np.array([b["corners"] for b in boxes], float).reshape(-1, 4),
        area=np.array(areas, float),
        flags=np.array(flags, np.uint16),
        geometry=np.full(n, Geometry.BOX, np.uint8),
        source_id=np.array(ids, np.int64),
        source=np.zeros(n, np.int32),
        position=np.arange(n, dtype=np.int32),
        line=np.array([b["line"] for b in boxes], np.int32),
    )
    columns = Images(
        file_name=np.array([i["name"] for i in images], object),
        has_file=np.array(["missing" not in i["words"] for i in images], bool),
        width=size[:, 0].copy(),
        height=size[:, 1].copy(),
        file_width=size[:, 0].copy(),
        file_height=size[:, 1].copy(),
        in_split=in_split,
        label_state=np.array(state, np.uint8),
        source_id=np.arange(1, len(images) + 1, dtype=np.int64),
        source=np.zeros(len(images), np.int32),
        position=np.array([i["line"] for i in images], np.int64),
    )
    given = {
        "root": Path("/nowhere"), "format": header["format"], "variant": "drawn", "task": header["task"], "evidence": (),
        "voc_origin": header["voc_origin"] or None, "classes": tuple(Class(name, i) for i, name in enumerate(names)),
        "splits": tuple(splits), "split_spelling": tuple(splits), "sources": ("labels",), "source_split": np.array([-1], np.int16),
        "images": columns, "annotations": annotations, "problems": (),
    }  # fmt: skip
    return Dataset(**{**given, **changes})
