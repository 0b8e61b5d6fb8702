"""What a new `data.yaml` says of the task and of keypoints: how many there are, and which change places when a picture is mirrored."""

from __future__ import annotations

import re
from collections.abc import Sequence

from dataset_doctor.dataset import Dataset
from dataset_doctor.formats.outlines import read_keypoint_names
from dataset_doctor.formats.yolo.render import keypoints_of, task_of_target

_SIDES = {"left": "right", "right": "left", "l": "r", "r": "l"}


def keypoint_lines(dataset: Dataset) -> list[str]:
    """Give the lines of a new `data.yaml` that say what the rows hold, for everything but boxes."""
    task = task_of_target(dataset)
    if task == "detect":
        return []
    lines = [f"task: {task}"]
    if task == "pose" and (count := keypoints_of(dataset)):
        lines.append(f"kpt_shape: [{count}, 3]")
        flipped = mirrored(read_keypoint_names(dataset))
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
