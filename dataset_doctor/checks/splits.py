"""DD3: what is wrong between the splits of a dataset."""

from __future__ import annotations

import numpy as np

from dataset_doctor.dataset import Dataset
from dataset_doctor.findings import Facts, Found, plural


def image_in_several_splits(dataset: Dataset, facts: Facts) -> Found | None:
    """Flag images that more than one split names.

    **Why it matters.** A model that has trained on a picture recognises it in the test: the score says nothing about new pictures.

    **Usual cause.** Lists written at different times, or a validation list that was drawn from the training list and not removed from it.

    **What to do.** Keep each image in one split; move it to train when in doubt, and measure again.
    """
    rows = np.flatnonzero(dataset.images.in_split.sum(axis=1) > 1)
    if not len(rows):
        return None
    return Found(len(rows), plural(len(rows), "image is in more than one split", "images are in more than one split"), images=rows)
