"""The counting rules on real datasets: what the audit reports equals what was counted independently."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import dataset_doctor as dd
from tests.conftest import SHARED


def test_real_datasets_agree_with_their_truth(shared_data: Path) -> None:
    """The independent checker finds no difference on any dataset at hand."""
    checker = SHARED / "check" / "contract_check.py"
    cli = f"{sys.executable} -m dataset_doctor"
    done = subprocess.run([sys.executable, str(checker), "--cli", cli], capture_output=True, text=True, timeout=600)

    assert done.returncode == 0, done.stdout
    assert " 0 differences" in done.stdout


@pytest.fixture(scope="module")
def voc100(shared_data: Path) -> dict[str, dd.Dataset]:
    """The same hundred pictures with the same boxes in VOC, two COCO flavours and YOLO."""
    root = shared_data / "voc100_multiformat"
    parts = {"voc": "pascalvoc_format", "coco 1": "coco_format_v1", "coco 2": "coco_format_v2", "yolo": "yolo_format"}
    return {name: dd.read(root / "gts" / part, images=root / "images") for name, part in parts.items()}


def boxes_by_image(dataset: dd.Dataset) -> dict[str, list[tuple[str, list[float]]]]:
    """Sort the boxes of each image, as written, under its file name."""
    found: dict[str, list[tuple[str, list[float]]]] = {}
    for image, index, corners in zip(dataset.annotations.image, dataset.annotations.class_index, dataset.annotations.corners, strict=True):
        name = dataset.images.file_name[image].rsplit("/", 1)[-1]
        found.setdefault(name, []).append((dataset.class_names[index], corners.round(0).tolist()))
    return {name: sorted(boxes) for name, boxes in found.items()}


def sorted_corners(dataset: dd.Dataset) -> np.ndarray:
    """Put all corners, as written, in an order that is the same for every format."""
    names = [dataset.images.file_name[i].rsplit("/", 1)[-1] for i in dataset.annotations.image]
    keys = [
        (n, dataset.class_names[c], *k.round(0))
        for n, c, k in zip(names, dataset.annotations.class_index, dataset.annotations.corners, strict=True)
    ]
    return dataset.annotations.corners[sorted(range(len(keys)), key=keys.__getitem__)]


def test_four_versions_of_one_dataset_have_one_class_table(voc100: dict[str, dd.Dataset]) -> None:
    """VOC, COCO and YOLO labels of the same pictures count the same."""
    tables = {name: {c.name: (c.images, c.instances) for c in dd.audit(d).statistics.classes} for name, d in voc100.items()}

    assert all(table == tables["voc"] for table in tables.values())
    assert all(boxes_by_image(d) == boxes_by_image(voc100["voc"]) for d in voc100.values())


def test_four_versions_of_one_dataset_have_the_same_corners(voc100: dict[str, dd.Dataset]) -> None:
    """Corners as written agree within 0.01 px; the VOC version says that its own count from 1."""
    wanted = sorted_corners(voc100["voc"])

    for dataset in voc100.values():
        assert np.abs(sorted_corners(dataset) - wanted).max() <= 0.01
    assert voc100["voc"].voc_origin == "1-based"
    assert np.array_equal(voc100["voc"].annotations.corners - voc100["voc"].boxes, np.tile([1, 1, 0, 0], (273, 1)))


def test_the_audit_leaves_the_data_alone(shared_data: Path) -> None:
    """No file of the dataset is touched, and none appears."""
    root = shared_data / "bccd_voc" / "BCCD"
    before = {p: (p.stat().st_size, p.stat().st_mtime_ns) for p in root.rglob("*")}

    dd.audit(dd.read(root))

    assert {p: (p.stat().st_size, p.stat().st_mtime_ns) for p in root.rglob("*")} == before


def test_the_report_is_the_same_twice(shared_data: Path) -> None:
    """Apart from `run`, two audits of one dataset give the same document."""
    root = shared_data / "aquarium_yolo"
    first, second = (json.dumps({k: v for k, v in dd.audit(dd.read(root)).to_dict().items() if k != "run"}) for _ in range(2))

    assert first == second
