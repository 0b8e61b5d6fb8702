"""Reading shapes from the label files of a dataset, to measure them, to write them in another format, or to change images."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from dataset_doctor.dataset import Dataset, Shapes
from dataset_doctor.files.progress import Progress, silent
from dataset_doctor.formats.format import format_of
from dataset_doctor.outlines import Outlines, join_outlines, no_outlines, take_outlines


def read_shapes(dataset: Dataset, progress: Progress = silent) -> Shapes | None:
    """Measure polygons, masks and keypoints of a dataset that was read; its label files are read a second time.

    Args:
        dataset: What `read` gave; its images and annotations may have been selected since.
        progress: Called with what is done, how much and how much in all.

    Returns:
        One row an annotation; None where the format has nothing to measure.
    """
    return begin_shapes(dataset, progress)()


def begin_shapes(dataset: Dataset, progress: Progress = silent) -> Callable[[], Shapes | None]:
    """Begin what `read_shapes` does, on other processes where the labels are large; call the result for the shapes."""
    begin = format_of(dataset).shapes
    return begin(dataset, progress) if begin and dataset.n_annotations else lambda: None


def read_keypoint_names(dataset: Dataset) -> list[str]:
    """Read the names of the keypoints of a dataset's objects; none where its labels have none, or have several sets."""
    read = format_of(dataset).keypoint_names
    return read(dataset) if read else []


def read_outlines(dataset: Dataset, progress: Progress = silent) -> Outlines:
    """Read the polygons, masks and keypoints of a dataset's annotations from its label files; what cannot be read has none.

    Annotations of images that are made anew have the outlines that their plan gives them.

    Args:
        dataset: What `read` gave; its images and annotations may have been selected and repeated since.
        progress: Called with what is done, how much and how much in all.
    """
    if dataset.made is not None:
        is_made = dataset.made.outline >= 0
        files = read_outlines(dataset.select(np.flatnonzero(~dataset.is_made)), progress)
        row = np.empty(dataset.n_annotations, np.int64)
        in_order = np.argsort(dataset.annotations.image, kind="stable")
        row[in_order[~is_made[in_order]]] = np.arange(len(files))
        row[is_made] = len(files) + dataset.made.outline[is_made]
        return take_outlines(join_outlines([files, dataset.made.outlines]), row)
    reader = format_of(dataset).outlines
    return reader(dataset, progress) if reader and dataset.n_annotations else no_outlines(dataset.n_annotations)
