"""Images and folders of them for the tests of the scan, and functions for its workers to run."""

from __future__ import annotations

import io
import os
import signal
import time
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from dataset_doctor.dataset import Dataset, LabelState, no_annotations
from dataset_doctor.dataset import Images as ImageTable
from dataset_doctor.formats import read


def photo(seed: int = 0, width: int = 320, height: int = 240) -> NDArray[np.uint8]:
    """Make a smooth random image in colour, with a little texture: something to hash."""
    rng = np.random.default_rng(seed)
    coarse = Image.fromarray(rng.integers(0, 256, (7, 9, 3), np.uint8)).resize((width, height), Image.Resampling.BICUBIC)
    noisy = np.asarray(coarse, np.int16) + rng.integers(-6, 7, (height, width, 3))
    return np.clip(noisy, 0, 255).astype(np.uint8)


def encoded(picture: NDArray[np.uint8] | Image.Image, file_format: str = "JPEG", **options: object) -> bytes:
    """Encode an image with Pillow."""
    image = picture if isinstance(picture, Image.Image) else Image.fromarray(picture)
    stream = io.BytesIO()
    image.save(stream, file_format, **options)
    return stream.getvalue()


def folder_of(root: Path, files: Mapping[str, bytes]) -> Dataset:
    """Write files into one class folder, and read it; images come in the order of their names. A folder of another class is left out."""
    for folder, inside in (("class", files), ("other", {"other.png": encoded(photo(99, 8, 8), "PNG")})):
        (root / folder).mkdir(parents=True, exist_ok=True)
        for name, data in inside.items():
            (root / folder / name).write_bytes(data)
    dataset = read(root, format="folder")
    return dataset.select(np.array([name.startswith("class/") for name in dataset.images.file_name]))


def listed(root: Path, names: list[str]) -> Dataset:
    """Make a dataset of files that need not be there, all of them said to be."""
    n = len(names)
    unknown = np.full(n, -1, np.int32)
    images = ImageTable(
        file_name=np.array(names, object),
        has_file=np.ones(n, bool),
        width=unknown,
        height=unknown,
        file_width=unknown,
        file_height=unknown,
        in_split=np.ones((n, 1), bool),
        label_state=np.full(n, LabelState.UNLABELED, np.uint8),
        source_id=np.zeros(n, np.int64),
        source=unknown,
        position=np.zeros(n, np.int64),
        picture=np.arange(n, dtype=np.int32),
    )
    return Dataset(
        root=root, format="folder", variant="", task="classify", evidence=(), voc_origin=None, classes=(), splits=("all",),
        split_spelling=("all",), sources=(), source_split=np.zeros(0, np.int16), images=images, annotations=no_annotations(), problems=(),
    )  # fmt: skip


# What workers run ---------------------------------------------------------------------------------------------------


def name_of(path: str) -> bytes:
    """Give the last part of a path; crash, hang, fail, or write where it should not, if the name says so."""
    name = os.path.basename(path)
    if "crash" in name:
        os.kill(os.getpid(), signal.SIGSEGV)
    if "hang" in name:
        time.sleep(600)
    if "fail" in name:
        raise ValueError("no such luck")
    if "hungry" in name:
        bytearray(9 << 30)
    if "noisy" in name:
        os.write(1, b"this is not a frame")
        os.write(2, b"this must not be seen")
    return os.fsencode(name)


def slow_name_of(path: str) -> bytes:
    """Give the last part of a path after a while."""
    time.sleep(0.05)
    return os.fsencode(os.path.basename(path))


def cannot_import(path: str) -> bytes:
    """Need a library that is not there."""
    raise ImportError("no module named cv2")
