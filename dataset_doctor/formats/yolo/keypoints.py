"""What a new `data.yaml` says of the task and of keypoints: how many there are, and which change places when a picture is mirrored."""

from __future__ import annotations

import re
from collections.abc import Sequence

import msgspec

from dataset_doctor.dataset import Dataset
from dataset_doctor.files.reading import Unreadable
from dataset_doctor.files.tree import reopened
from dataset_doctor.formats.yolo.render import keypoints_of, task_of_target

_MAX_BYTES = 4 << 30
_SIDES = {"left": "right", "right": "left", "l": "r", "r": "l"}


class _Category(msgspec.Struct):
    keypoints: list[str] = []


class _Categories(msgspec.Struct):
    categories: list[_Category]


def keypoint_lines(dataset: Dataset) -> list[str]:
    """Give the lines of a new `data.yaml` that say what the rows hold, for everything but boxes."""
    task = task_of_target(dataset)
    if task == "detect":
        return []
    lines = [f"task: {task}"]
    if task == "pose" and (count := keypoints_of(dataset)):
        lines.append(f"kpt_shape: [{count}, 3]")
        flipped = mirrored(_keypoint_names(dataset))
        if flipped is not None and len(flipped) == count:
            lines.append(f"flip_idx: {flipped}")
    return lines


def mirrored(names: Sequence[str]) -> list[int] | None:
    """Find for each keypoint the one it becomes in a mirrored picture, by `left` and `right` in their names; None where none has a side.

    >>> mirrored(["nose", "left_eye", "right_eye"]), mirrored(["a", "b"])
    ([0, 2, 1], None)
    """
    index = {name.casefold(): number for number, name in enumerate(names)}
    flipped = [index.get(_other_side(name.casefold()), -1) for name in names]
    return flipped if -1 not in flipped and flipped != list(range(len(names))) else None


def _other_side(name: str) -> str:
    return "".join(_SIDES.get(part, part) for part in re.split(r"([^a-z]+)", name))


def _keypoint_names(dataset: Dataset) -> list[str]:
    """Read the names of the keypoints from the categories of a COCO source; none where they cannot be read or differ."""
    if dataset.format != "coco" or not dataset.sources:
        return []
    name = dataset.sources[0]
    try:
        found = msgspec.json.decode(reopened(dataset.root, (name,)).read_bytes(name, _MAX_BYTES), type=_Categories)
    except (Unreadable, msgspec.DecodeError, RecursionError):
        return []
    named = {tuple(one.keypoints) for one in found.categories if one.keypoints}
    return list(named.pop()) if len(named) == 1 else []
