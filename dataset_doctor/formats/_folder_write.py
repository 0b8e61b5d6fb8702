"""Write image folders: a folder a class, in a folder a split."""

from __future__ import annotations

import posixpath

import numpy as np

from dataset_doctor.dataset import Dataset
from dataset_doctor.files.images import bring
from dataset_doctor.files.output import Materialize, Stage
from dataset_doctor.files.progress import Progress, silent
from dataset_doctor.formats._targets import canonical_names, keeps_layout, kept_names, split_folders


def write(dataset: Dataset, stage: Stage, *, materialize: Materialize = "copy", progress: Progress = silent) -> list[str]:
    """Write image folders; classes without an image become empty folders where the layout is made anew.

    Args:
        dataset: Image folders as read, selected and repeated.
        stage: The folder to write into.
        materialize: How images are brought; "list" does not go with folders.
        progress: Called with what is done.

    Returns:
        The path of each image row, relative to the new root.
    """
    images, annotations = dataset.images, dataset.annotations
    if keeps_layout(dataset, "folder"):
        names = kept_names(dataset)
        bring(dataset, range(len(names)), names, stage, materialize, progress)
        for folder in dataset.sources:
            stage.folder(folder)
        return names
    # The names of the folders, not of the classes: those given with --classes may be anything.
    class_of = dict(zip(annotations.image.tolist(), annotations.class_id.tolist(), strict=True))
    folders = [""] if dataset.splits == ("all",) else [f"{folder}/" for folder in split_folders(dataset)]
    bare = canonical_names(dataset)
    rows, columns = np.nonzero(images.in_split)
    places = [f"{folders[split]}{class_of[row]}/{bare[row]}" for row, split in zip(rows.tolist(), columns.tolist(), strict=True)]
    bring(dataset, rows.tolist(), places, stage, materialize, progress)
    for split in folders:
        for name in sorted({posixpath.basename(source) for source in dataset.sources}):
            stage.folder(f"{split}{name}")
    return [places[at] for at in np.unique(rows, return_index=True)[1].tolist()]
