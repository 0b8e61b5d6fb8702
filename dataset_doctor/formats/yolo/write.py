"""Writing YOLO: a label file an image, and a `data.yaml` that trainers load from wherever the dataset lies.

What shaped it:

* The lines of a YOLO source are never rendered anew. A file that keeps all its rows is copied byte for byte; from any other, whole lines
  are cut.
* Trainers find everything by paths, so these are written as Ultralytics resolves them: without `path`, relative to the YAML file, and in
  lists with a leading `./`, relative to the list.
* A folder stands for a split only where it holds exactly the images of that split; a list names them otherwise. So an image that is in two
  splits is one file in two lists.
"""

from __future__ import annotations

import posixpath

import numpy as np

from dataset_doctor.dataset import Dataset, Geometry, LabelState
from dataset_doctor.errors import UsageError
from dataset_doctor.files.images import bring
from dataset_doctor.files.output import Materialize, Stage
from dataset_doctor.files.progress import Progress, silent
from dataset_doctor.files.reading import Unreadable
from dataset_doctor.files.tree import reopened
from dataset_doctor.findings import plural
from dataset_doctor.formats.layout import canonical_names, changed, keeps_layout, kept_names, split_folders, treated
from dataset_doctor.formats.yolo.render import render
from dataset_doctor.formats.yolo.rows import plain_lines, read_rows
from dataset_doctor.formats.yolo.shapes import MOST_LINES
from dataset_doctor.formats.yolo.splits import configure, configure_lists


def write(dataset: Dataset, stage: Stage, *, materialize: Materialize = "copy", progress: Progress = silent) -> list[str]:
    """Write a dataset of any format as YOLO; give for each image row the path of its file in the new dataset.

    In the same format and with no image in another split, files keep their places. Else the layout is `images/<split>`, `labels/<split>`
    and `data.yaml`; an image of several splits lies in the folder of its first.

    Args:
        dataset: What to write, repeated images as rows of their own; its label files are read again.
        stage: Where to.
        materialize: "list" writes lists with absolute paths to the source's images, beside which trainers find the labels.
        progress: Called with what is done, how much and how much in all.

    Raises:
        DoctorError: the source has changed since it was read.
        UsageError: names that no list can hold; or `list` for a source whose labels are not where trainers look.
    """
    if materialize == "list":
        return _write_lists(dataset, stage)
    kept = keeps_layout(dataset, "yolo")
    names = kept_names(dataset) if kept else _in_split_folders(dataset)
    labels = _label_names(dataset, names, kept)
    is_rendered = dataset.is_made if dataset.format == "yolo" else np.ones(dataset.n_images, bool)
    if not is_rendered.all():
        files = np.flatnonzero(~is_rendered)
        _copy_labels(dataset.select(files) if is_rendered.any() else dataset, [labels[row] for row in files.tolist()], stage, progress)
    if is_rendered.any():
        anew = np.flatnonzero(is_rendered)
        for row, text in zip(anew.tolist(), render(dataset if is_rendered.all() else dataset.select(anew), progress), strict=True):
            if labels[row]:
                stage.write(labels[row], text)
    configure(dataset, names, stage, kept=kept)
    there = np.flatnonzero(dataset.images.has_file).tolist()
    bring(dataset, there, [names[row] for row in there], stage, materialize, progress)
    return names


def _in_split_folders(dataset: Dataset) -> list[str]:
    folders = split_folders(dataset)
    first = dataset.first_split.tolist()
    return [f"images/{folders[split]}/{name}" for split, name in zip(first, canonical_names(dataset), strict=True)]


def _label_names(dataset: Dataset, names: list[str], kept: bool) -> list[str]:
    """Name the label file of each image; "" for an image without one."""
    images = dataset.images
    if not kept:
        unlabeled = (images.label_state == LabelState.UNLABELED) | ((images.source < 0) & (dataset.format == "yolo"))
        unlabeled[dataset.annotations.image] = False
        stems = (f"labels/{posixpath.splitext(name)[0].removeprefix('images/')}.txt" for name in names)
        return ["" if without else stem for without, stem in zip(unlabeled.tolist(), stems, strict=True)]
    labels = []
    labelled = (images.label_state == LabelState.LABELED).tolist()
    for name, written, source, has_any in zip(names, images.file_name.tolist(), images.source.tolist(), labelled, strict=True):
        label = dataset.sources[source] if source >= 0 else ""
        if not label and has_any:  # objects that were pasted into an image without a label file
            label = _trainers_label(f"/{name}")[1:]
        elif label and name != written:
            stem = posixpath.splitext(posixpath.basename(name))[0]
            label = posixpath.join(posixpath.dirname(label), f"{stem}.txt")
        labels.append(label)
    return labels


# From YOLO ----------------------------------------------------------------------------------------------------------


def _copy_labels(dataset: Dataset, labels: list[str], stage: Stage, progress: Progress) -> None:
    """Copy the label files of the images; cut the lines of records that the dataset no longer holds.

    Lines that were never readable stay where no treatment comes by. In a file of the split that changes, or one that loses a record, only
    the rows of the dataset stay, and blank lines.
    """
    annotations, source_of = dataset.annotations, dataset.images.source
    used = np.unique(source_of[source_of >= 0])
    sources = [dataset.sources[source] for source in used.tolist()]
    tree = reopened(dataset.root, sources)
    rows, _, was_read, problems = read_rows(tree, sources, sources, progress)
    if not was_read.all():
        raise changed(sources[int(np.flatnonzero(~was_read)[0])])
    number = np.full(len(dataset.sources), -1, np.int64)
    number[used] = np.arange(len(used))
    key = rows.file.astype(np.int64) * MOST_LINES + rows.line
    wanted = number[annotations.source] * MOST_LINES + annotations.line
    at = np.minimum(np.searchsorted(key, wanted), max(len(key) - 1, 0))
    same = (key[at] == wanted) & (rows.class_id[at] == annotations.class_id) if len(key) else np.zeros(len(at), bool)
    if same.all():
        by_hull = (annotations.geometry == Geometry.POLYGON) | (annotations.geometry == Geometry.OBB)
        sizes = np.stack([dataset.images.file_width, dataset.images.file_height], axis=1)[annotations.image].astype(np.float64)
        sizes[(sizes <= 0).any(axis=1)] = 1.0
        with np.errstate(over="ignore", invalid="ignore"):
            corners = np.where(by_hull[:, None], rows.hull[at], rows.box[at]) * np.concatenate([sizes, sizes], axis=1)
        same = ((corners == annotations.corners) | (np.isnan(corners) & np.isnan(annotations.corners))).all(axis=1)
    if not same.all():
        raise changed(dataset.sources[int(annotations.source[np.flatnonzero(~same)[0]])])

    distinct = {label: n for n, label in enumerate(dict.fromkeys(label for label in labels if label))}
    of_image = np.array([distinct.get(label, -1) for label in labels], np.int64)
    file_of = np.zeros(len(distinct), np.int64)
    file_of[of_image[of_image >= 0]] = number[source_of[of_image >= 0]]
    n = max(len(key), 1)
    held = np.unique(of_image[annotations.image] * n + at)
    n_held = np.bincount(held // n, minlength=len(distinct))
    begin = np.cumsum(n_held) - n_held
    unreadable = {problem.place.file for problem in problems if problem.kind == "record-unreadable"}
    is_treated = np.zeros(len(distinct), bool)
    is_treated[of_image[treated(dataset) & (of_image >= 0)]] = True
    cut = n_held < np.bincount(rows.file, minlength=len(used))[file_of]
    for label, own in distinct.items():
        source = sources[file_of[own]]
        try:
            data = tree.read_bytes(source)
        except Unreadable as error:
            raise changed(source) from error
        if cut[own] or (is_treated[own] and source in unreadable):
            data = _cut(data, frozenset(rows.line[held[begin[own] : begin[own] + n_held[own]] % n].tolist()))
        stage.write(label, data)
        if own % 1024 == 0:
            progress("writing labels", own, len(distinct))


def _cut(data: bytes, kept: frozenset[int]) -> bytes:
    r"""Leave only some of the lines of a label file, by their numbers, and those that are blank.

    >>> _cut(b"0 .5 .5 .1 .1\r\n\r\nwhat\r\n1 .5 .5 .1 .10\r\n", frozenset({4}))
    b'\r\n1 .5 .5 .1 .10\r\n'
    """
    if b"\0" in data or data[:3] == b"\xef\xbb\xbf":
        data = b"\n".join(plain_lines(data))
    lines = data.splitlines(keepends=True)
    return b"".join(line for number, line in enumerate(lines, start=1) if number in kept or not line.strip())


# Lists of the source's images ---------------------------------------------------------------------------------------


def _write_lists(dataset: Dataset, stage: Stage) -> list[str]:
    """Write a list a split with absolute paths to the source's images, repeats as repeated lines, and a `data.yaml` beside them."""
    images = dataset.images
    if dataset.format != "yolo":
        raise UsageError("A YOLO list needs YOLO labels beside the source's images, and there are none.", "Use `materialize=symlink`.")
    dropped = dataset.plan["dropped"]["records_with_errors"] if dataset.plan is not None else 0
    if dropped:
        raise UsageError(
            f"{plural(dropped, 'record')} would be left out, and a list leaves the source's label files as they are.",
            "Use `materialize=symlink`.",
        )
    root = str(stage.source)
    names: list[str] = images.file_name.tolist()
    paths = [f"{root}/{name}" if not name.startswith("../") else posixpath.normpath(f"{root}/{name}") for name in names]
    sources = [posixpath.normpath(f"{root}/{name}") if name.startswith("../") else f"{root}/{name}" for name in dataset.sources]
    for path, source in zip(paths, images.source.tolist(), strict=True):
        if source >= 0 and _trainers_label(path) != sources[source]:
            shown = posixpath.relpath(_trainers_label(path), root)
            raise UsageError(
                f"A list leaves labels where they are, and {dataset.sources[source]} is not where trainers look: {shown}.",
                "Use `materialize=copy` or `materialize=symlink`.",
            )
    configure_lists(dataset, paths, stage)
    return names


def _trainers_label(path: str) -> str:
    """Name the label file that Ultralytics looks for: the last `/images/` becomes `/labels/`.

    >>> _trainers_label("/data/images/train/a.jpg"), _trainers_label("/data/a.b.jpg")
    ('/data/labels/train/a.txt', '/data/a.b.txt')
    """
    before, folder, after = path.rpartition("/images/")
    label = f"{before}/labels/{after}" if folder else path
    return f"{label[: label.rfind('.')]}.txt"
