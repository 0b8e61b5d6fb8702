"""Reading outlines from the label files of a dataset, when it goes from one format to another or pictures are made anew."""

from __future__ import annotations

import numpy as np

from dataset_doctor.dataset import Dataset
from dataset_doctor.files.progress import Progress, silent
from dataset_doctor.outlines import Outlines, join_outlines, no_outlines, take_outlines


def read_outlines(dataset: Dataset, progress: Progress = silent) -> Outlines:
    """Read the polygons, masks and keypoints of a dataset's annotations from its label files; what cannot be read has none.

    Annotations of images that are made anew have the outlines that their plan gives them.

    Args:
        dataset: What `read` gave; its images and annotations may have been selected and repeated since.
        progress: Called with what is done, how much and how much in all.
    """
    # The readers fill in the record above, so they are found only when one is needed.
    from dataset_doctor.formats import FORMATS

    if dataset.made is not None:
        is_made = dataset.made.outline >= 0
        files = read_outlines(dataset.select(np.flatnonzero(~dataset.is_made)), progress)
        row = np.empty(dataset.n_annotations, np.int64)
        in_order = np.argsort(dataset.annotations.image, kind="stable")
        row[in_order[~is_made[in_order]]] = np.arange(len(files))
        row[is_made] = len(files) + dataset.made.outline[is_made]
        return take_outlines(join_outlines([files, dataset.made.outlines]), row)
    reader = FORMATS[dataset.format].outlines
    return reader(dataset, progress) if reader and dataset.n_annotations else no_outlines(dataset.n_annotations)
