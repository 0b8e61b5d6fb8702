"""What tells one dataset from another: a hash of its paths, sizes, class names and label files."""

from __future__ import annotations

import hashlib
import os

import numpy as np

from dataset_doctor.dataset import Dataset
from dataset_doctor.files.reading import Unreadable, open_inside


def fingerprint(dataset: Dataset) -> str:
    """Give a hash that changes when a path, an image size, a class name or a byte of a label file changes.

    Files that can no longer be read count by their name alone.
    """
    digest = hashlib.sha256()
    images = dataset.images
    for names in (sorted(images.file_name.tolist()), sorted(dataset.sources), list(dataset.class_names)):
        digest.update("\n".join(names).encode("utf-8", "surrogatepass"))
    order = np.argsort(images.file_name.astype(object), kind="stable")
    for column in (images.width, images.height, images.file_width, images.file_height):
        digest.update(np.ascontiguousarray(column[order]).tobytes())
    for name in sorted(dataset.sources):
        try:
            handle = open_inside(dataset.root, name)
        except Unreadable:
            continue
        try:
            while chunk := os.read(handle, 1 << 20):
                digest.update(chunk)
        except OSError:
            continue
        finally:
            os.close(handle)
    return f"sha256:{digest.hexdigest()}"
