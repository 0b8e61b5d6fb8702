"""Reading outlines from the label files of a dataset, when it goes from one format to another or pictures are made anew."""

from __future__ import annotations

from dataset_doctor.dataset import Dataset
from dataset_doctor.formats._files import Progress, silent
from dataset_doctor.outlines import Outlines, no_outlines


def read_outlines(dataset: Dataset, progress: Progress = silent) -> Outlines:
    """Read the polygons, masks and keypoints of a dataset's annotations from its label files; what cannot be read has none.

    Args:
        dataset: What `read` gave; its images and annotations may have been selected and repeated since.
        progress: Called with what is done, how much and how much in all.
    """
    # The readers fill in the record above, so they are found only when one is needed.
    from dataset_doctor.formats import _coco_outlines, _yolo_outlines

    reader = {"coco": _coco_outlines.outlines, "yolo": _yolo_outlines.outlines}.get(dataset.format)
    return reader(dataset, progress) if reader and dataset.n_annotations else no_outlines(dataset.n_annotations)
