"""The scan of real datasets, against what was counted there by other means."""

from __future__ import annotations

import json
import tarfile
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from dataset_doctor.formats import read
from dataset_doctor.pixels import FileState
from dataset_doctor.scan import normalisation, scan
from dataset_doctor.scan.near import find_duplicates

DATASETS = {
    "aquarium_yolo": {"path": "aquarium_yolo"},
    "bccd_voc": {"path": "bccd_voc/BCCD"},
    "amenity_coco": {"path": "amenity_coco"},
    "clothing64": {"path": "clothing64/images"},
    "voc100_multiformat": {"path": "voc100_multiformat/gts/coco_format_v1", "images": "voc100_multiformat/images"},
    "cifar10_lt100": {"path": "cifar10_lt100", "archive": "cifar10_lt100.tar", "split": "train"},
}
"""Where a dataset lies, in which archive, and which of its splits was counted."""


@pytest.mark.parametrize("name", DATASETS)
def test_sizes_formats_damage_and_copies(shared_data: Path, tmp_path: Path, name: str) -> None:
    """Files, bytes, sizes, modes, formats, corrupt files, orientations and exact copies are those of the counted truth."""
    truth = json.loads((shared_data / "truth" / f"{name}.json").read_text(encoding="utf-8"))["images"]
    known = DATASETS[name]
    folder = shared_data
    if "archive" in known:
        folder = tmp_path
        with tarfile.open(shared_data / known["archive"]) as archive:
            archive.extractall(tmp_path, filter="data")
    dataset = read(folder / known["path"], images=folder / known["images"] if "images" in known else None)
    if "split" in known:
        dataset = dataset.select(dataset.images.in_split[:, dataset.splits.index(known["split"])])
    pixels = scan(dataset, cache=None)
    images = dataset.images
    assert len(pixels) == truth["n_image_files"]
    assert pixels.size_bytes.sum() == truth["image_bytes"]
    sizes = {
        key: {"min": int(v.min()), "median": float(np.median(v)), "max": int(v.max())}
        for key, v in (("width", images.file_width), ("height", images.file_height))
    }
    assert sizes == {key: truth["size_file"][key] for key in ("width", "height")}
    assert Counter(pixels.mode.tolist()) == truth["modes"]
    assert Counter(pixels.file_format.tolist()) == truth["formats"]
    assert {images.file_name[row] for row in np.flatnonzero(pixels.state != FileState.SOUND)} == set(truth["corrupt"])
    assert int((pixels.orientation > 1).sum()) == len(truth["exif_orientation_not_1"])
    exact = find_duplicates(dataset, pixels).exact_group
    assert exact.max() + 1 == truth["sha1_dups"]["n_groups"] == truth["pixel_dups"]["n_groups"]
    assert pixels.is_flat.mean() < 0.001
    pooled = normalisation(dataset, pixels)
    assert pooled is not None
    assert 0 < min(pooled.mean) < max(pooled.mean) < 1
