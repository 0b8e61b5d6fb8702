"""DD6: what makes a dataset unsafe or hard to move to another machine."""

from __future__ import annotations

import re
import unicodedata
from collections import defaultdict

import numpy as np

from dataset_doctor.checks._classes import named
from dataset_doctor.checks._found import reported
from dataset_doctor.dataset import Dataset, Place
from dataset_doctor.findings import Facts, Found, Threshold, judged_by, plural

MAX_NAME_BYTES = Threshold("max_name_bytes", 200, "longest file name, in bytes", lower=1)
"""darknet writes paths into 256 bytes without looking; file systems end at 255."""


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

    **Why it matters.** They are not followed here. Trainers follow them, to wherever they lead on your machine.

    **Usual cause.** `..` written by an export tool, or a hostile file.

    **What to do.** Write paths inside the dataset.
    """
    return reported(facts, "path-outside-dataset", "path leads out of the dataset", "paths lead out of the dataset")


def path_absolute(dataset: Dataset, facts: Facts) -> Found | None:
    """Flag absolute paths in labels, lists or configuration.

    **Why it matters.** They hold on one machine only, and show others its folder names.

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


# Names --------------------------------------------------------------------------------------------------------------


def name_case_collision(dataset: Dataset, facts: Facts) -> Found | None:
    """Flag file names that differ only in upper and lower case, or in how accents are encoded.

    **Why it matters.** On Windows and macOS they are one file: unpacking the dataset there overwrites one image with another, and both
    records then mean the same image.

    **Usual cause.** `IMG_1.JPG` beside `img_1.jpg`, or names that went through a Mac, which takes accents apart.

    **What to do.** Rename one of them, together with its label.
    """
    names = list(dict.fromkeys([*dataset.images.file_name.tolist(), *dataset.sources]))
    folded = [(name if name.isascii() else unicodedata.normalize("NFC", name)).casefold() for name in names]
    if len(set(folded)) == len(names):
        return None
    groups: dict[str, list[str]] = defaultdict(list)
    for name, key in zip(names, folded, strict=True):
        groups[key].append(name)
    same = [names for names in groups.values() if len(names) > 1]
    images = set(dataset.images.file_name.tolist())
    places = [
        Place(file=name, image=name if name in images else None, detail=f"the same as {names[0] if name != names[0] else names[1]} there")
        for names in same
        for name in names
    ]
    message = f"{plural(len(same), 'group of names is', 'groups of names are')} one file on Windows and macOS: {named(same[0], 3)}"
    return Found(len(same), message, places=places)


_UNSAFE = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff\u202a-\u202e\u2066-\u2069$`;|<>]")


@judged_by(MAX_NAME_BYTES)
def name_unsafe(dataset: Dataset, facts: Facts) -> Found | None:
    """Flag file names that a shell or an old tool would misread: control characters, $, `, ; | < >, over {max_name_bytes} bytes.

    **Why it matters.** darknet hands label paths to a shell (`echo path >> bad_label.list`) and copies them into 256 bytes: such a name
    runs as a command, or crashes it. A line break in a name makes two lines of a list.

    **Usual cause.** Names taken from web addresses or titles, or a hostile archive.

    **What to do.** Rename the files: letters, digits, `-`, `_` and `.` are safe everywhere.
    """
    most = facts[MAX_NAME_BYTES]
    names = dataset.images.file_name.tolist()
    text = "\n".join(names)
    longest = max(map(len, names), default=0)
    if text.count("\n") == len(names) - 1 and not _UNSAFE.search(text.replace("\n", "")) and 4 * longest <= most:
        return None
    rows = []
    for row, name in enumerate(names):
        base = name.rpartition("/")[2]
        if _UNSAFE.search(name) or (4 * len(base) > most and len(base.encode("utf-8", "surrogatepass")) > most):
            rows.append(row)
    if not rows:
        return None
    shown = named([repr(names[row]) for row in rows], 2)
    message = f"{plural(len(rows), 'file name is', 'file names are')} unsafe for shells and old tools: {shown}"
    return Found(len(rows), message, images=np.array(rows, np.intp), field="file_name")


def junk_files(dataset: Dataset, facts: Facts) -> Found | None:
    """Flag files that systems leave behind: `._*`, `.DS_Store`, `Thumbs.db`, `__MACOSX`, `.ipynb_checkpoints`.

    **Why it matters.** `._a.jpg` ends like an image but is not one: Ultralytics calls it corrupt. A junk folder among class folders becomes
    a class. They are left out here.

    **Usual cause.** Archives made on a Mac, network drives, notebooks.

    **What to do.** Delete them: `find . -name '._*' -delete`.
    """
    return reported(facts, "junk-files", "junk file or folder was left out", "junk files and folders were left out")


def stale_cache(dataset: Dataset, facts: Facts) -> Found | None:
    """Flag what trainers keep beside labels and images: `labels.cache`, image pixels in `.npy`.

    **Why it matters.** After a change of labels a trainer may go on with what it kept. Such files are pickles: loading one that came
    with a download can run code. They are not opened here.

    **Usual cause.** A dataset published after it was trained on.

    **What to do.** Delete them. The trainer creates them again.
    """
    return reported(facts, "stale-cache", "cache of a trainer lies in the dataset", "caches of trainers lie in the dataset")


# Where the data comes from ------------------------------------------------------------------------------------------


def licence_conflict(dataset: Dataset, facts: Facts) -> Found | None:
    """Flag images whose licence the label file does not list.

    **Why it matters.** It is unknown what may be done with these images.

    **Usual cause.** Files merged without renumbering their licences.

    **What to do.** Add the licence to `licenses`, or correct the number.
    """
    return reported(facts, "licence-conflict", "licence of images is not listed", "licences of images are not listed")


def licence_missing(dataset: Dataset, facts: Facts) -> Found | None:
    """Flag COCO files that list no licence.

    **Why it matters.** Without a licence others may not use the images, and you cannot tell later which of them you may.

    **Usual cause.** Exporters that leave `licenses` empty.

    **What to do.** Write down the licence while somebody still knows it.
    """
    return reported(facts, "licence-missing", "label file lists no licence", "label files list no licence")


def personal_data(dataset: Dataset, facts: Facts) -> Found | None:
    """Flag names of persons in labels and configuration: user folders, e-mail addresses, annotators.

    **Why it matters.** A published dataset publishes them too. In the EU and elsewhere they are personal data.

    **Usual cause.** labelImg writes the full path of each image into `<path>`; annotation tools export who drew what.

    **What to do.** Remove them before you pass the dataset on. No trainer needs them.
    """
    return reported(facts, "personal-data", "name of a person or user is in the labels", "names of persons or users are in the labels")
