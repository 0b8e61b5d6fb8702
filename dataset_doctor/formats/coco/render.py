"""COCO records made for datasets that were in another format.

Numbers are rounded to a thousandth of a pixel, corners before sizes, so that a box that touched the edge still does and whole numbers
stay whole. Categories, images and annotations are numbered from 1: pycocotools counts an annotation with the id 0 as unmatched.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dataset_doctor.dataset import Dataset, Flag, Geometry, LabelState
from dataset_doctor.files.progress import Progress, silent
from dataset_doctor.formats.coco.cut import BLOCK, encoded
from dataset_doctor.formats.format import format_of, lose
from dataset_doctor.formats.outlines import read_outlines
from dataset_doctor.geometry import Boxes
from dataset_doctor.masks import unpack
from dataset_doctor.outlines import Outlines

DECIMALS = 3
"""Decimals of a coordinate in pixels: the error is at most half a thousandth of a pixel."""


def rendered(dataset: Dataset, names: Sequence[str], progress: Progress = silent) -> Iterator[Iterator[bytes]]:
    """Give the label file of each split in parts.

    Args:
        dataset: VOC or YOLO; its boxes are finite and not empty.
        names: The file name to write for each image.
        progress: Called with what is done.
    """
    outlines = read_outlines(dataset, progress)
    annotation_ids = np.arange(1, dataset.n_annotations + 1)
    for split in range(len(dataset.splits)):
        rows = np.flatnonzero(dataset.images.in_split[:, split])
        marks = np.flatnonzero(dataset.annotations_in_split(split))
        yield _label_file(dataset, outlines, names, rows, marks, annotation_ids)


def _label_file(
    dataset: Dataset, outlines: Outlines, names: Sequence[str], rows: NDArray[Any], marks: NDArray[Any], ids: NDArray[Any]
) -> Iterator[bytes]:
    yield b'{"info": {}, "licenses": [],\n"images": ['
    for number, row in enumerate(rows.tolist()):
        width, height = dataset.sizes[row].tolist()
        size = {"width": int(width), "height": int(height)} if width > 0 else {}
        yield (b",\n" if number else b"\n") + encoded({"id": row + 1, "file_name": names[row], **size})
    yield b'],\n"annotations": ['
    for begin in range(0, len(marks), BLOCK):
        records = _annotations(dataset, outlines, marks[begin : begin + BLOCK], ids)
        yield (b",\n" if begin else b"\n") + b",\n".join(map(encoded, records))
    yield b'],\n"categories": ['
    for number, one in enumerate(dataset.classes):
        category: dict[str, Any] = {"id": number + 1, "name": one.name, "supercategory": one.supercategory or ""}
        if one.keypoints:
            category |= {"keypoints": [f"keypoint_{k}" for k in range(1, one.keypoints + 1)], "skeleton": []}
        yield (b",\n" if number else b"\n") + encoded(category)
    yield b"]}\n"


def _annotations(dataset: Dataset, outlines: Outlines, marks: NDArray[Any], ids: NDArray[Any]) -> list[dict[str, Any]]:
    """Make the records of some annotations."""
    annotations = dataset.annotations
    xywh = rounded_xywh(dataset.boxes[marks])
    areas = np.round(xywh[:, 2] * xywh[:, 3], DECIMALS)
    columns = (ids[marks], annotations.image[marks] + 1, annotations.class_index[marks] + 1)
    records: list[dict[str, Any]] = [
        {"id": own, "image_id": image, "category_id": category, "bbox": box, "area": area, "iscrowd": 0}
        for own, image, category, box, area in zip(*(column.tolist() for column in columns), plain(xywh), plain(areas), strict=True)
    ]
    for record, row, box in zip(records, marks.tolist(), xywh.tolist(), strict=True):
        if dataset.task in ("segment", "obb") or annotations.geometry[row] in (Geometry.POLYGON, Geometry.OBB):
            rings = [ring for ring in outlines.rings(row) if len(ring) >= 3]
            if not rings:  # one shape without a mask makes detectron2 refuse the image
                x, y, width, height = box
                rings = [np.array([[x, y], [x + width, y], [x + width, y + height], [x, y + height]])]
            record["segmentation"] = [plain(np.round(ring, DECIMALS).ravel()) for ring in rings]
            if (area := round(sum(map(_area, rings)), DECIMALS)) > 0:
                record["area"] = plain(np.array([area]))[0]
        if annotations.geometry[row] == Geometry.OBB:
            record["attributes"] = {"obb": True}
        points = outlines.keypoints[outlines.first_keypoint[row] : outlines.first_keypoint[row + 1]]
        if len(points):
            record["keypoints"] = plain(np.round(points, DECIMALS).ravel())
            record["num_keypoints"] = int(np.count_nonzero(points[:, 2] > 0))
    for flag in format_of(dataset).flags:
        for record, carried in zip(records, annotations.has(flag)[marks].tolist(), strict=True):
            record.setdefault("attributes", {})[str(flag.name).lower()] = carried
    return records


def made_changes(dataset: Dataset) -> dict[int, dict[str, bytes]]:
    """Give what changes in the records of images of a COCO dataset that are made anew: box, area, shape and keypoints.

    Returns:
        Members of the record as JSON, by annotation row.
    """
    if dataset.made is None:
        return {}
    outlines, annotations = dataset.made.outlines, dataset.annotations
    rows = np.flatnonzero(dataset.made.outline >= 0)
    xywh = rounded_xywh(dataset.boxes[rows])
    changes: dict[int, dict[str, bytes]] = {}
    has_no_area = annotations.has(Flag.NO_AREA_KEY)
    for row, at, box in zip(rows.tolist(), dataset.made.outline[rows].tolist(), plain(xywh), strict=True):
        changed: dict[str, Any] = {"bbox": box} if np.isfinite(annotations.corners[row]).all() else {}
        area = float(annotations.area[row])
        rings = [ring for ring in outlines.rings(at) if len(ring) >= 3]
        if rings:
            changed["segmentation"] = [plain(np.round(ring, DECIMALS).ravel()) for ring in rings]
            area = sum(map(_area, rings))
        elif at in outlines.masks:
            changed["segmentation"] = outlines.masks[at]
            area = _mask_area(outlines.masks[at])
        if not has_no_area[row] and np.isfinite(area):
            changed["area"] = plain(np.round(np.array([area]), DECIMALS))[0]
        points = outlines.keypoints[outlines.first_keypoint[at] : outlines.first_keypoint[at + 1]]
        if len(points):
            changed["keypoints"] = plain(np.round(points, DECIMALS).ravel())
            changed["num_keypoints"] = int(np.count_nonzero(points[:, 2] > 0))
        changes[row] = {key: encoded(value) for key, value in changed.items()}
    return changes


def _mask_area(mask: dict[str, Any]) -> float:
    counts = mask["counts"]
    lengths = unpack([counts.encode()]).lengths.tolist() if isinstance(counts, str) else counts
    return float(sum(lengths[1::2]))


def rounded_xywh(xyxy: Boxes) -> Boxes:
    """Turn corners into corner and size, rounded so that corner and size add up to the rounded corner; a sliver keeps all its digits.

    >>> rounded_xywh(np.array([[0.33333, 1.0, 10.00049, 2.0], [5.0, 5.0, 5.0001, 6.0]])).tolist()
    [[0.333, 1.0, 9.667, 1.0], [5.0, 5.0, 9.999999999976694e-05, 1.0]]
    """
    corners = np.round(xyxy, DECIMALS)
    size = np.round(corners[:, 2:] - corners[:, :2], DECIMALS)
    xywh: Boxes = np.concatenate([corners[:, :2], size], axis=1)
    sliver = (size <= 0).any(axis=1)
    xywh[sliver] = np.concatenate([xyxy[:, :2], xyxy[:, 2:] - xyxy[:, :2]], axis=1)[sliver]
    return xywh


def plain(values: NDArray[np.float64]) -> list[Any]:
    """Give numbers as Python's, whole ones as integers.

    >>> plain(np.array([1.0, 2.5]))
    [1, 2.5]
    """
    mixed = values.astype(object)
    whole = (np.abs(values) < 2**53) & (values == np.round(values))
    mixed[whole] = values[whole].astype(np.int64).astype(object)
    listed: list[Any] = mixed.tolist()
    return listed


def _area(ring: NDArray[np.float64]) -> float:
    """Give the area of a polygon (points, 2) by the shoelace formula."""
    x, y = ring[:, 0], ring[:, 1]
    return float(abs(np.dot(x, np.roll(y, -1)) - np.dot(y, np.roll(x, -1))) / 2)


# What is lost -------------------------------------------------------------------------------------------------------


def alters(dataset: Dataset) -> list[str]:
    """Say what COCO holds in another way."""
    unlabeled = dataset.images.label_state == LabelState.UNLABELED
    quads = dataset.annotations.geometry == Geometry.OBB
    return [
        *lose(unlabeled, "image without a label file", "COCO lists them as images without objects.", "images without a label file"),
        *lose(quads, "oriented box", "COCO holds a polygon of four points, marked obb in its attributes."),
    ]


def leaves_behind(title: str) -> list[str]:
    """Say what of COCO another format has no place for."""
    return [f"{title} has no ids, areas, supercategories, licences and other members of COCO's records."]
