"""Datasets with pictures in which every labelled object is red and nothing else is, so that labels can be held against pixels.

`marked(root, kind)` writes one of `KINDS`: some pictures with a red object of class "rare" off the middle, and more with grey noise
alone and a box of class "usual" on it, so that balancing repeats the first.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

import dataset_doctor as dd
from dataset_doctor.dataset import Dataset

WIDTH, HEIGHT = 160, 120
RARE, USUAL = 3, 9
KINDS = ("yolo", "yolo-segment", "yolo-obb", "yolo-pose", "voc", "coco", "coco-polygon", "coco-rle", "coco-rle-text")
POLYGON = np.array([[50.0, 30.0], [110.0, 36.0], [104.0, 52.0], [80.0, 50.0], [76.0, 84.0], [54.0, 80.0]])
BOX = (52.0, 34.0, 104.0, 78.0)
QUAD = np.array([[60.0, 30.0], [108.0, 54.0], [96.0, 78.0], [48.0, 54.0]])
POINT = (64.0, 44.0)
USUAL_BOX = (30.0, 20.0, 130.0, 100.0)

Mask = NDArray[np.bool_]


def picture(ring: NDArray[np.float64] | None, *, dot: bool = False, seed: int = 0) -> NDArray[np.uint8]:
    """Draw dim grey noise with a red polygon on it, BGR; a dot is blue and lies on the keypoint."""
    image = np.random.default_rng(seed).integers(40, 80, (HEIGHT, WIDTH, 1), np.uint8).repeat(3, axis=2)
    if ring is not None:
        large = np.zeros((HEIGHT * 8, WIDTH * 8), np.uint8)
        cv2.fillPoly(large, [np.round(ring * 8 - 0.5).astype(np.int32)], 255)
        share = cv2.resize(large, (WIDTH, HEIGHT), interpolation=cv2.INTER_AREA)[:, :, None] / 255
        image = np.rint(image * (1 - share) + np.array([30, 30, 230]) * share).astype(np.uint8)
    if dot:
        x, y = map(int, POINT)
        image[y - 2 : y + 2, x - 2 : x + 2] = (250, 30, 30)
    return image


def red(image: NDArray[np.uint8]) -> Mask:
    """Tell which pixels of a picture (BGR) are more than half red."""
    blue, green, strong = (image[:, :, k].astype(int) for k in range(3))
    return strong - np.maximum(green, blue) > 100


def blue(image: NDArray[np.uint8]) -> Mask:
    """Tell which pixels of a picture (BGR) are blue."""
    return image[:, :, 0].astype(int) - np.maximum(image[:, :, 1], image[:, :, 2]) > 80


def extent(mask: Mask) -> tuple[float, float, float, float]:
    """Give the box around the pixels of a mask, xyxy, half-open."""
    columns, rows = np.flatnonzero(mask.any(axis=0)), np.flatnonzero(mask.any(axis=1))
    return float(columns[0]), float(rows[0]), float(columns[-1] + 1), float(rows[-1] + 1)


def filled(ring: NDArray[np.float64], height: int, width: int) -> Mask:
    """Tell which pixels of a picture a polygon covers by half."""
    large = np.zeros((height * 8, width * 8), np.uint8)
    cv2.fillPoly(large, [np.round(ring * 8 - 0.5).astype(np.int32)], 255)
    return cv2.resize(large, (width, height), interpolation=cv2.INTER_AREA) >= 128


def overlap(one: Mask, other: Mask) -> float:
    """Divide what two masks share by what they cover together."""
    return float((one & other).sum() / (one | other).sum())


def corners(box: tuple[float, float, float, float]) -> NDArray[np.float64]:
    x1, y1, x2, y2 = box
    return np.array([[x1, y1], [x2, y1], [x2, y2], [x1, y2]])


def ring_of(kind: str) -> NDArray[np.float64]:
    """Give the outline of the red object that pictures of a kind have."""
    if kind == "yolo-obb":
        return QUAD
    return POLYGON if kind in ("yolo-segment", "coco-polygon", "coco-rle", "coco-rle-text") else corners(BOX)


def marked(root: Path, kind: str, *, end: str = "png", rare: int = RARE, usual: int = USUAL) -> Dataset:
    """Write a dataset of a kind and read it."""
    ring = ring_of(kind)
    names = [f"r{n}.{end}" for n in range(rare)] + [f"u{n}.{end}" for n in range(usual)]
    folder = {"voc": "JPEGImages", "yolo": "images/train", "coco": "images/train"}[kind.partition("-")[0]]
    (root / folder).mkdir(parents=True)
    for n, name in enumerate(names):
        drawn = picture(ring if n < rare else None, dot=kind == "yolo-pose" and n < rare, seed=n)
        assert cv2.imwrite(str(root / folder / name), drawn)
    {"yolo": _yolo, "voc": _voc, "coco": _coco}[kind.partition("-")[0]](root, kind, names, rare)
    return dd.read(root)


def _yolo(root: Path, kind: str, names: list[str], rare: int) -> None:
    def points(ring: NDArray[np.float64]) -> str:
        return " ".join(f"{value:.8f}" for value in (ring / [WIDTH, HEIGHT]).ravel())

    def row(number: int, ring: NDArray[np.float64]) -> str:
        low, high = ring.min(axis=0), ring.max(axis=0)
        box = np.concatenate([(low + high) / 2, high - low]) / [WIDTH, HEIGHT, WIDTH, HEIGHT]
        text = " ".join(f"{value:.8f}" for value in box)
        if kind == "yolo-pose":
            x, y = (POINT[0] / WIDTH, POINT[1] / HEIGHT) if number == 0 else (0.5, 0.5)
            return f"{number} {text} {x:.8f} {y:.8f} 2 0 0 0\n"
        return f"{number} {text if kind == 'yolo' else points(ring)}\n"

    shape = "kpt_shape: [2, 3]\n" if kind == "yolo-pose" else "task: obb\n" if kind == "yolo-obb" else ""
    (root / "data.yaml").write_text(f"train: images/train\nval: images/val\nnames: [rare, usual]\n{shape}")
    for folder in ("images/val", "labels/val"):
        (root / folder).mkdir(parents=True)
    assert cv2.imwrite(str(root / "images/val/v.png"), picture(None, seed=99))
    (root / "labels/val/v.txt").write_text(row(1, corners(USUAL_BOX)))
    (root / "labels/train").mkdir(parents=True)
    for n, name in enumerate(names):
        text = row(0, ring_of(kind)) if n < rare else row(1, corners(USUAL_BOX))
        (root / "labels/train" / f"{name.rpartition('.')[0]}.txt").write_text(text)


def _voc(root: Path, kind: str, names: list[str], rare: int) -> None:
    for folder in ("Annotations", "ImageSets/Main"):
        (root / folder).mkdir(parents=True)
    for n, name in enumerate(names):
        x1, y1, x2, y2 = map(int, BOX if n < rare else USUAL_BOX)
        (root / "Annotations" / f"{name.rpartition('.')[0]}.xml").write_text(
            f"<annotation>\n\t<folder>mine</folder>\n\t<filename>{name}</filename>\n\t<weather>rain</weather>\n"
            f"\t<size><width>{WIDTH}</width><height>{HEIGHT}</height><depth>3</depth></size>\n\t<segmented>0</segmented>\n"
            f"\t<object>\n\t\t<name>{'rare' if n < rare else 'usual'}</name>\n\t\t<pose>Left</pose>\n\t\t<truncated>0</truncated>\n"
            f"\t\t<difficult>0</difficult>\n\t\t<bndbox><xmin>{x1 + 1}</xmin><ymin>{y1 + 1}</ymin><xmax>{x2}</xmax><ymax>{y2}</ymax></bndbox>\n"
            "\t</object>\n</annotation>\n"
        )
    (root / "ImageSets/Main/train.txt").write_text("".join(f"{name.rpartition('.')[0]}\n" for name in names))


def _coco(root: Path, kind: str, names: list[str], rare: int) -> None:
    def record(n: int) -> dict[str, Any]:
        ring = ring_of(kind) if n < rare else corners(USUAL_BOX)
        low, high = ring.min(axis=0), ring.max(axis=0)
        record: dict[str, Any] = {
            "id": 100 + n, "image_id": 7 + n, "category_id": 3 if n < rare else 8, "iscrowd": 0, "bbox": [*low, *(high - low)],
            "area": float(np.prod(high - low)), "mood": {"n": n},
        }  # fmt: skip
        mask = filled(ring, HEIGHT, WIDTH)
        if kind == "coco-polygon":
            record["segmentation"] = [ring.ravel().tolist()]
        elif kind == "coco-rle":
            flat = mask.T.ravel().astype(np.int8)
            ends = np.flatnonzero(np.diff(flat)) + 1
            record["segmentation"] = {"size": [HEIGHT, WIDTH], "counts": np.diff([0, *ends, flat.size]).tolist()}
        elif kind == "coco-rle-text":
            from pycocotools import mask as coco

            packed = coco.encode(np.asfortranarray(mask.astype(np.uint8)))
            record["segmentation"] = {"size": [HEIGHT, WIDTH], "counts": packed["counts"].decode()}
        if kind in ("coco-rle", "coco-rle-text"):
            x1, y1, x2, y2 = extent(mask)
            record |= {"bbox": [x1, y1, x2 - x1, y2 - y1], "area": int(mask.sum())}
        return record

    (root / "annotations").mkdir()
    document = {
        "info": {"year": 2020},
        "images": [{"id": 7 + n, "file_name": name, "width": WIDTH, "height": HEIGHT, "lens": "a"} for n, name in enumerate(names)],
        "annotations": [record(n) for n in range(len(names))],
        "categories": [{"id": 3, "name": "rare", "supercategory": "x"}, {"id": 8, "name": "usual", "supercategory": ""}],
    }
    (root / "annotations/instances_train.json").write_text(json.dumps(document, indent=1))
