"""The door for writing: a dataset into any format that can hold it, staged, read back, and only then put in its place."""

from __future__ import annotations

import dataclasses
import gc
import os
from collections import Counter
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from dataset_doctor.dataset import Dataset, LabelState, Rows
from dataset_doctor.errors import DatasetNotFound, SeveralDatasets, UsageError, did_you_mean
from dataset_doctor.files.images import made_bytes
from dataset_doctor.files.output import Materialize, NameTaken, Stage, check_place, staged
from dataset_doctor.files.progress import Progress, silent
from dataset_doctor.findings import plural
from dataset_doctor.formats.elsewhere import digest
from dataset_doctor.formats.fingerprint import fingerprint
from dataset_doctor.formats.format import Format, find_format, format_of
from dataset_doctor.formats.layout import keeps_layout
from dataset_doctor.formats.losses import fitted, losses, unwritable
from dataset_doctor.formats.manifest import NAME, manifest

MODES: tuple[Materialize, ...] = ("copy", "symlink", "hardlink", "list")


@dataclass(frozen=True, slots=True)
class Written:
    """What `write` wrote.

    root        the folder, absolute
    files       how many files there are in it
    loses       what the format does not hold, one sentence each
    disk_bytes  bytes of image files that were copied or made, as `disk_bytes` tells; label files do not count
    plan        the document of the plan, as the manifest has it; None where none was made
    """

    root: Path
    files: int
    loses: tuple[str, ...]
    disk_bytes: int
    plan: Mapping[str, Any] | None


def write(
    dataset: Dataset,
    out: str | os.PathLike[str],
    format: str | None = None,
    *,
    materialize: str = "copy",
    force: bool = False,
    options: Mapping[str, Any] | None = None,
    progress: Progress = silent,
) -> Written:
    """Write a dataset, with a manifest, into a folder that appears only when all is written and reads back as it should.

    Label records are taken from the files that the dataset was read from; in the same format they stay as they are there.

    Args:
        dataset: What `read` or `Plan.apply` gave.
        out: The folder to make; one that is there has to be empty.
        format: A name in `FORMATS`; by default the dataset's own.
        materialize: "copy" (sharing blocks where the file system can), "symlink" or "hardlink"; "list" brings no image: repeated records
            in COCO, repeated lines in YOLO's lists. Pictures that are made anew become files in any case, and refuse "list".
        force: Replace a folder that holds something.
        options: How it was asked for, to be kept in the manifest.
        progress: Called with what is done, how much and how much in all.

    Raises:
        UsageError: the format cannot hold the dataset, or some of its records (see `unwritable`), so that it reads back as it should.
        OutputRefused: the place must not or cannot be written to.
        DoctorError: the source has changed; nothing was written.
    """
    target, mode = _chosen(dataset, format, materialize)
    if mode == "list" and dataset.made is not None:
        count = plural(int(dataset.is_made.sum()), "image is", "images are")
        raise UsageError(f"{count} made anew, and a list brings no image.", "Use `materialize=copy`, symlink or hardlink.")
    check_place(out, dataset.root, force=force)
    if target.name != dataset.format and len(rows := unwritable(dataset, target.name, progress=progress)):
        raise _refused(dataset, target, rows)
    treated = fitted(dataset, target.name)
    _check_images(treated, target)
    loses, copied = losses(dataset, target.name), disk_bytes(dataset, target.name, mode)
    collecting = gc.isenabled()
    gc.disable()  # long lists of short-lived texts without cycles
    try:
        files = _staged(treated, out, target, mode, force, {"format": target.name, "materialize": mode, **(options or {})}, loses, progress)
    finally:
        if collecting:
            gc.enable()
    return Written(Path(os.path.abspath(out)), files, loses, copied, dataset.plan)


def _staged(
    dataset: Dataset,
    out: str | os.PathLike[str],
    target: Format,
    mode: Materialize,
    force: bool,
    options: Mapping[str, Any],
    loses: tuple[str, ...],
    progress: Progress,
) -> int:
    """Write the files, read them back and put them in place; give how many there are.

    Files of a source that is so unusual that they do not read back at their places get the usual ones.
    """
    # Hashing the source's labels releases the interpreter, so it goes on beside the writing.
    with ThreadPoolExecutor(1) as beside:
        identity = beside.submit(fingerprint, dataset.origin or dataset)

        def attempt(dataset: Dataset) -> int:
            with staged(out, dataset.root, force=force) as stage:
                names = target.write(dataset, stage, materialize=mode, progress=progress)
                there = _left_there(dataset, stage) if mode == "list" else {}
                source = {"format": dataset.format, "fingerprint": identity.result(), **there}
                stage.write(NAME, manifest(dataset, names, options=options, source=source, loses=loses))
                _read_back(dataset, names, target, mode, stage, progress)
                return sum(len(found) for _, _, found in os.walk(stage.root))

        try:
            return attempt(dataset)
        except (UsageError, NameTaken):
            if not keeps_layout(dataset, target.name) or mode == "list":
                raise
            return attempt(dataclasses.replace(dataset, keeps_places=False))


def _left_there(dataset: Dataset, stage: Stage) -> dict[str, str | None]:
    """Say where the images are that stay there, relative to the new folder, so that two that are moved together find each other."""
    try:
        root = os.path.relpath(stage.source, stage.target).replace(os.sep, "/")
    except ValueError:  # another drive
        return {"root": None, "labels": None}
    label_beside = format_of(dataset).beside
    if label_beside is None:
        return {"root": root, "labels": None}
    beside = sorted({label_beside(name) for name in dataset.images.file_name.tolist()})
    there = [name for name in beside if os.path.isfile(os.path.join(stage.source, name))]  # noqa: PTH113
    return {"root": root, "labels": digest(stage.source, there)}


def disk_bytes(dataset: Dataset, format: str | None = None, materialize: str = "copy") -> int:
    """Add up the bytes of the image files that writing would make, repeats included; links and lists make none, label files do not count.

    Of pictures that are made anew some are encoded, and the others are guessed from these.

    Args:
        dataset: What is to be written, as a plan gives it.
        format: As for `write`.
        materialize: As for `write`.
    """
    target, mode = _chosen(dataset, format, materialize)
    treated = fitted(dataset, target.name)
    images = treated.images
    times = images.has_file * made_bytes(treated)
    if mode != "copy":
        times *= treated.is_made
    if target.files_by_split and not keeps_layout(dataset, target.name):
        times *= images.in_split.sum(axis=1)
    names: list[str] = images.file_name[times > 0].tolist()
    size_of: dict[str, int] = {}
    for name in dict.fromkeys(names):
        try:
            size_of[name] = os.stat(os.path.join(dataset.root, name)).st_size  # noqa: PTH116 (several times faster than pathlib)
        except (OSError, ValueError):
            size_of[name] = 0
    total: float = sum(size_of[name] * count for name, count in zip(names, times[times > 0].tolist(), strict=True))
    return round(total)


def _chosen(dataset: Dataset, format: str | None, materialize: str) -> tuple[Format, Materialize]:
    """Check what was asked for.

    Raises:
        UsageError: no such format or mode, or they do not go together.
    """
    wanted = dataset.format if format is None else format
    target = find_format(wanted)
    mode = next((name for name in MODES if name == materialize), None)
    if mode is None:
        raise UsageError(f"`materialize={materialize}` is not known.", did_you_mean(materialize, MODES))
    from dataset_doctor.formats import FORMATS

    source = format_of(dataset)
    if (target.box is None) != (source.box is None):
        names = ", ".join(one.name for one in FORMATS.values() if (one.box is None) == (source.box is None))
        if target.box is None:
            raise UsageError(f"{target.title} hold one class an image, and no boxes; this dataset has boxes.", f"Choose from: {names}.")
        raise UsageError(f"{source.title} have no boxes to write as {target.title}.", f"They can be written as: {names}.")
    if mode == "list" and not target.can_list:
        raise UsageError(
            f"no list or record of {target.title} can name an image twice.",
            "Use `materialize=symlink` or hardlink, which take hardly any space.",
        )
    return target, mode


def _refused(dataset: Dataset, target: Format, rows: Rows) -> UsageError:
    """Name the first record that the target cannot hold, and how many there are."""
    row = int(rows[0])
    annotations = dataset.annotations
    file, line = dataset.sources[annotations.source[row]], int(annotations.line[row])
    where = f"{file}:{line}" if line else f"{file}, annotation {int(annotations.position[row]):,}"
    hint = "Fix them, or leave them out with `allow_errors=True`."
    return UsageError(f"{plural(len(rows), 'label record')} cannot be written as {target.title}, first {where}.", hint)


def _check_images(dataset: Dataset, target: Format) -> None:
    """Refuse images of which nothing would be there: no file, and no label.

    Raises:
        UsageError: with the first of them.
    """
    if not dataset.n_images:
        raise UsageError("the dataset holds no images, so there is nothing to write.")
    if not target.label_an_image:
        return
    images = dataset.images
    rows = np.flatnonzero(~images.has_file & (images.label_state == LabelState.UNLABELED))
    if len(rows) and not keeps_layout(dataset, target.name):
        raise UsageError(
            f"{plural(len(rows), 'image')} cannot be written as {target.title}, first {_image_place(dataset, int(rows[0]))}: "
            "there is neither the file nor a label that can be read.",
            "Add the images, or take them out of the source.",
        )
    if target.needs_labels and (images.label_state == LabelState.UNLABELED).all():
        raise UsageError(f"no image has a label file, and readers know {target.title} by those.", "Nothing was written.")


def _image_place(dataset: Dataset, row: int) -> str:
    """Name an image, and the file that describes it."""
    source, name = int(dataset.images.source[row]), str(dataset.images.file_name[row])
    return name if source < 0 or dataset.sources[source] == name else f"{name} ({dataset.sources[source]})"


# Reading back -------------------------------------------------------------------------------------------------------


def _read_back(dataset: Dataset, names: Sequence[str], target: Format, mode: Materialize, stage: Stage, progress: Progress) -> None:
    """Read what was written and compare it with what it should be.

    Args:
        dataset: What was written.
        names: The path of each image row in the new dataset.
        target: Its format.
        mode: How images were brought.
        stage: Where it lies.
        progress: Called as it is read.

    Raises:
        UsageError: they differ, which only an unusual source can bring about.
    """
    from dataset_doctor.formats import read

    written = None
    if target.read_lists is not None and mode == "list":
        # The labels are the source's own, which were just read.
        wanted, got = _listed(dataset), target.read_lists(stage.root, stage.source)
    else:
        try:
            written = read(stage.root, target.name, progress=progress)
        except (DatasetNotFound, SeveralDatasets):
            raise UsageError(f"Nothing would be left that readers take for {target.title}.", "Nothing was written.") from None
        wanted, got = _table(dataset, target), _table(written, target)
    for split in dict.fromkeys([*wanted, *got]):
        lines, there = wanted.get(split, {}), got.get(split, {})
        for what in {**lines, **there}:
            if lines.get(what, 0) != there.get(what, 0):
                row = None if written is None else _first_difference(dataset, names, written)
                which = f"{_image_place(dataset, row)}: " if row is not None else ""
                raise UsageError(
                    f"{which}readers would not see the same as {target.title}: {there.get(what, 0):,} {what} in the split {split}, "
                    f"not {lines.get(what, 0):,}.",
                    "Nothing was written. Look for unusual names of images, splits and classes; names given with `classes` have to be "
                    "in the labels first.",
                )


def _first_difference(dataset: Dataset, names: Sequence[str], written: Dataset) -> int | None:
    """Give the first image row that does not read back under its name with as many annotations; None where all do."""
    there = Counter(written.images.file_name.tolist())
    marks = Counter(written.images.file_name[written.annotations.image].tolist())
    wanted = Counter(names[row] for row in dataset.annotations.image.tolist())
    return next((row for row, name in enumerate(names) if not there[name] or marks[name] != wanted[name]), None)


def _listed(dataset: Dataset) -> dict[str, dict[str, int]]:
    """Count, for each split, the lines of its list: of each image, and in all; and the classes by their place."""
    images = dataset.images
    table = {}
    for column, split in enumerate(dataset.splits):
        rows = np.flatnonzero(images.in_split[:, column])
        lines = Counter(images.file_name[rows].tolist())
        table[split] = {"images": len(rows), **{f"lines of {name}": times for name, times in lines.items()}}
    return table | {"": {f"classes {at} {name}": 1 for at, name in enumerate(dataset.class_names)}}


def _table(dataset: Dataset, target: Format) -> dict[str, dict[str, int]]:
    """Count, for each split, images, those with and without labels, annotations, and the instances of each class."""
    table = {}
    images, annotations, names = dataset.images, dataset.annotations, dataset.class_names
    for column, split in enumerate(dataset.splits):
        inside = images.in_split[:, column]
        marks = dataset.annotations_in_split(column)
        labelled = np.zeros(len(images), bool)
        labelled[annotations.image[marks]] = True
        lines = {"images": int(inside.sum()), "annotations": int(marks.sum()), "images with labels": int((labelled & inside).sum())}
        if target.label_an_image:
            lines["images without a label file"] = int((inside & (images.label_state == LabelState.UNLABELED)).sum())
        counted = annotations.class_index[marks & dataset.is_instance & (annotations.class_index >= 0)]
        for name, times in zip(names, np.bincount(counted, minlength=len(names)).tolist(), strict=True):
            lines[f"instances of {name}"] = lines.get(f"instances of {name}", 0) + times
        table[split] = lines
    return table
