"""DD6: what makes a dataset unsafe or hard to move to another machine."""

from __future__ import annotations

from dataset_doctor.checks._problems import reported
from dataset_doctor.dataset import Dataset
from dataset_doctor.findings import Facts, Found


def download_script(dataset: Dataset, facts: Facts) -> Found | None:
    """Flag a `download` entry in the configuration.

    **Why it matters.** Ultralytics and YOLOv5 execute it, as Python or in a shell, when images are missing. It is never executed
    here.

    **Usual cause.** Copied from a template that fetches a public dataset.

    **What to do.** Read it. Delete the entry unless you trust every word of it.
    """
    return reported(facts, "download-script", "configuration would run code or download", "configurations would run code or download")


def path_outside_dataset(dataset: Dataset, facts: Facts) -> Found | None:
    """Flag paths that lead out of the dataset.

    **Why it matters.** They are not followed here. Trainers follow them, to wherever they lead on the machine at hand.

    **Usual cause.** `..` written by an export tool, or a hostile file.

    **What to do.** Write paths inside the dataset.
    """
    return reported(facts, "path-outside-dataset", "path leads out of the dataset", "paths lead out of the dataset")


def path_absolute(dataset: Dataset, facts: Facts) -> Found | None:
    """Flag absolute paths in labels, lists or configuration.

    **Why it matters.** They hold on one machine only, and tell others its folder names.

    **Usual cause.** Labelling tools and scripts that write the full path.

    **What to do.** Write paths relative to the dataset.
    """
    return reported(facts, "path-absolute", "path is absolute", "paths are absolute")


def path_backslash(dataset: Dataset, facts: Facts) -> Found | None:
    """Flag paths with backslashes.

    **Why it matters.** On Linux and macOS a backslash is part of the name, so the image is not found.

    **Usual cause.** An export made on Windows.

    **What to do.** Write `/`, which works on every system.
    """
    return reported(facts, "path-backslash", "path has backslashes", "paths have backslashes")


def link_outside_dataset(dataset: Dataset, facts: Facts) -> Found | None:
    """Flag links that were not followed.

    **Why it matters.** What they lead to was not counted.

    **Usual cause.** Images linked in from another drive to save space.

    **What to do.** Give the folder they lead to with `--images`.
    """
    return reported(facts, "link-outside-dataset", "link was not followed", "links were not followed")


def special_file(dataset: Dataset, facts: Facts) -> Found | None:
    """Flag pipes, sockets and devices among the files.

    **Why it matters.** Reading one can hang a trainer for ever. They are not opened here.

    **Usual cause.** A system folder inside the dataset, or a hostile archive.

    **What to do.** Remove them.
    """
    return reported(facts, "special-file", "special file was not opened", "special files were not opened")
