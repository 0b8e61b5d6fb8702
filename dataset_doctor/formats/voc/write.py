"""Writing VOC: an XML file an image, and the lists of `ImageSets/Main`.

What shaped it:

* The XML of a VOC source is never rendered anew: a file is copied byte for byte, or whole `<object>` elements are cut from it, or the text
  of `<filename>` is exchanged. No corner is shifted.
* From other formats, corners become whole pixels, counted from 1 and inclusive, as the devkit has them: then none is 0, and readers that go
  by the evidence get the same boxes back, within half a pixel.
* XML names classes only where they occur. `labelmap.txt` keeps their order, and those without an instance.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Sequence
from xml.sax.saxutils import escape

import numpy as np
from numpy.typing import NDArray

from dataset_doctor.dataset import Dataset, Flag, Geometry, LabelState
from dataset_doctor.errors import UsageError
from dataset_doctor.files.images import bring
from dataset_doctor.files.names import repeat_names
from dataset_doctor.files.output import Materialize, Stage
from dataset_doctor.files.progress import Progress, silent
from dataset_doctor.files.reading import Unreadable
from dataset_doctor.files.tree import reopened
from dataset_doctor.formats.format import lose
from dataset_doctor.formats.layout import canonical_names, changed, keeps_layout, kept_names, treated
from dataset_doctor.formats.voc.cut import cut_xml, with_objects
from dataset_doctor.formats.voc.sets import copy_lists, write_lists
from dataset_doctor.formats.voc.xml import MAX_XML_BYTES, FileState, parse
from dataset_doctor.geometry import Boxes

HOME = "VOCdevkit/VOC2007"
"""Where a new dataset lies in the written folder: torchvision accepts only years that there were."""
_NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def write(dataset: Dataset, stage: Stage, *, materialize: Materialize = "copy", progress: Progress = silent) -> list[str]:
    """Write a dataset of any format as VOC; give for each image row the path of its file in the new dataset.

    In the same format and with no image in another split, files keep their places. Else the layout is the devkit's, as of 2007.

    Args:
        dataset: What to write, repeated images as rows of their own; its label files are read again.
        stage: Where to.
        materialize: How images are brought; not "list".
        progress: Called with what is done, how much and how much in all.

    Raises:
        DoctorError: the source has changed since it was read.
        UsageError: class names that XML cannot hold or that VOC cannot tell apart; or `list`.
    """
    if materialize == "list":
        raise UsageError("VOC has no lists of images that lie elsewhere.", "Use `materialize=copy`, symlink or hardlink.")
    images = dataset.images
    kept = keeps_layout(dataset, "voc")
    names = kept_names(dataset) if kept else [f"{HOME}/JPEGImages/{name}" for name in canonical_names(dataset)]
    xmls = _xml_names(dataset, names, kept)
    is_rendered = dataset.is_made if dataset.format == "voc" else np.ones(len(images), bool)
    if dataset.format != "voc":
        _check_class_names(dataset.class_names)
    for rows, write_xml in ((np.flatnonzero(~is_rendered), _copy_xml), (np.flatnonzero(is_rendered), _render_xml)):
        if len(rows):
            part = dataset if len(rows) == len(images) else dataset.select(rows)
            write_xml(part, [names[row] for row in rows.tolist()], [xmls[row] for row in rows.tolist()], stage, progress)
    if kept:
        copy_lists(dataset, names, xmls, stage)
    else:
        write_lists(dataset, names, stage, HOME)
        _write_label_map(dataset, stage)
    there = np.flatnonzero(images.has_file).tolist()
    bring(dataset, there, [names[row] for row in there], stage, materialize, progress)
    return names


def _xml_names(dataset: Dataset, names: Sequence[str], kept: bool) -> list[dict[int, str]]:
    """Name the XML files of each image by their source (-1 in another format); none for an image without one."""
    images, annotations = dataset.images, dataset.annotations
    if dataset.format != "voc":
        without = (images.label_state == LabelState.UNLABELED).tolist()
        return [{} if none else {-1: _beside(name)} for none, name in zip(without, names, strict=True)]
    # An image that is made anew has one file, whichever its records come from.
    as_read = ~dataset.is_made[annotations.image]
    pairs = np.stack([annotations.image[as_read], annotations.source[as_read]], axis=1).astype(np.int64)
    first = np.stack([np.arange(len(images)), images.source], axis=1)[images.source >= 0]
    pairs = np.unique(np.concatenate([first, pairs]), axis=0)
    result: list[dict[int, str]] = [{} for _ in names]
    if not kept:
        taken: set[int] = set()
        for image, source in pairs.tolist():
            more = f"_{len(result[image]) + 1}" if image in taken else ""
            taken.add(image)
            result[image][source] = f"{_beside(names[image])[: -len('.xml')]}{more}.xml"
        return _with_new(dataset, names, result)
    again = repeat_names([dataset.sources[source][: -len(".xml")] for source in pairs[:, 1].tolist()])
    for (image, source), repeated in zip(pairs.tolist(), again, strict=True):
        xml = dataset.sources[source]
        if names[image] != images.file_name[image]:
            stem, old, new = (posixpath.splitext(posixpath.basename(path))[0] for path in (xml, images.file_name[image], names[image]))
            xml = posixpath.join(posixpath.dirname(xml), f"{new}.xml") if stem == old else f"{repeated}.xml"
        result[image][source] = xml
    return _with_new(dataset, names, result)


def _with_new(dataset: Dataset, names: Sequence[str], xmls: list[dict[int, str]]) -> list[dict[int, str]]:
    """Name a file for each image made anew that has none and holds objects: those were pasted in."""
    labelled = dataset.images.label_state == LabelState.LABELED
    for image in np.flatnonzero(dataset.is_made & labelled).tolist():
        xmls[image] = xmls[image] or {-1: _beside(names[image])}
    return xmls


def _beside(name: str) -> str:
    return f"{posixpath.splitext(name)[0].replace('/JPEGImages/', '/Annotations/')}.xml"


# From VOC -----------------------------------------------------------------------------------------------------------


def _copy_xml(dataset: Dataset, names: Sequence[str], xmls: Sequence[dict[int, str]], stage: Stage, progress: Progress) -> None:
    """Copy the XML files; cut the objects that the dataset no longer holds, and name the image in them where its name is another.

    Objects that were never readable stay where no treatment comes by; in the split that changes they go. So does the rest of a file that is
    not well-formed, where a record is cut from it.
    """
    annotations = dataset.annotations
    used = sorted({source for of_image in xmls for source in of_image})
    sources = [dataset.sources[source] for source in used]
    tree = reopened(dataset.root, sources)
    records = parse(str(dataset.root), sources, tree.links, progress)
    number = np.full(max(len(dataset.sources), 1), -1, np.int64)
    number[used] = np.arange(len(used))
    key = records.file.astype(np.int64) << 32 | records.position
    wanted = number[annotations.source] << 32 | annotations.position
    at = np.minimum(np.searchsorted(key, wanted), max(len(key) - 1, 0))
    same = key[at] == wanted if len(key) else np.zeros(len(at), bool)
    if same.all():
        class_id = np.array([*records.names, ""], dtype=object)[records.name[at]]
        equal = (records.corners[at] == annotations.corners) | (np.isnan(records.corners[at]) & np.isnan(annotations.corners))
        same = equal.all(axis=1) & (class_id == annotations.class_id)
    if not same.all():
        raise changed(dataset.sources[int(annotations.source[np.flatnonzero(~same)[0]])])

    is_treated = treated(dataset).tolist()
    readable = np.bincount(records.file, minlength=len(used)).tolist()
    n_sources = max(len(dataset.sources), 1)
    pair = annotations.image.astype(np.int64) * n_sources + annotations.source
    order = np.argsort(pair, kind="stable")
    pair = pair[order]
    unread = {problem.place.file for problem in dataset.problems if problem.kind == "label-unreadable"}
    for image, of_image in enumerate(xmls):
        for source, xml in of_image.items():
            name, file = dataset.sources[source], int(number[source])
            first, last = np.searchsorted(pair, [image * n_sources + source, image * n_sources + source + 1])
            n_held, n_objects = int(last - first), int(records.objects[file])
            whole = n_held == n_objects or (n_held == readable[file] and not is_treated[image])
            new, old = posixpath.basename(names[image]), posixpath.basename(dataset.images.file_name[image])
            try:
                data = tree.read_bytes(name, MAX_XML_BYTES)
            except Unreadable as error:
                if name in unread:
                    continue  # nor could it be read before
                raise changed(name, str(error)) from error
            if (not whole or new != old) and records.state[file] != FileState.OTHER:
                objects = None if whole else frozenset(annotations.position[order[first:last]].tolist())
                data = cut_xml(data, objects, new if new != old else None, old)
            stage.write(xml, data)
        if image % 1024 == 0:
            progress("writing XML", image, len(xmls))


# From other formats -------------------------------------------------------------------------------------------------


def _check_class_names(names: Sequence[str]) -> None:
    """Refuse class names that would not be the same when read.

    Raises:
        UsageError: with the first of them.
    """
    for name in names:
        if _NOT_XML.search(name):
            raise UsageError(f"The class name {name!r} has a character that XML cannot hold.", "Rename the class.")
        if name != name.strip() or not name:
            raise UsageError(
                f"The class name {name!r} is empty or begins or ends with a space, which XML readers strip.", "Rename the class."
            )
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise UsageError(f"Two classes are called {twice}, and VOC tells classes apart by their names alone.", "Rename one of them.")


def whole_pixels(boxes: Boxes, sizes: NDArray[np.float64]) -> NDArray[np.int64]:
    """Turn boxes into the devkit's corners: whole pixels, counted from 1, both inclusive, inside the image, at least two wide and high.

    Args:
        boxes: xyxy (n, 4), 0-based and half-open.
        sizes: Width and height of each box's image (n, 2), NaN where unknown.

    >>> whole_pixels(np.array([[0.0, 9.4, 20.2, 30.6], [49.5, 3, 50, 4]]), np.array([[50.0, 40.0]] * 2)).tolist()
    [[1, 10, 20, 31], [49, 4, 50, 5]]
    """
    limit = np.where(np.isnan(sizes), np.inf, np.maximum(sizes, 2))
    high = np.clip(np.floor(boxes[:, 2:] + 0.5), 2, limit)
    low = np.clip(np.floor(boxes[:, :2] + 0.5) + 1, 1, limit)
    # Readers take xmax ≤ xmin for no box, so a thin one gets the two pixels around its middle.
    thin = high <= low
    middle = np.clip(np.floor((boxes[:, :2] + boxes[:, 2:]) / 2 - 0.5), 0, limit - 2) + 1
    low, high = np.where(thin, middle, low), np.where(thin, middle + 1, high)
    return np.concatenate([low, high], axis=1).astype(np.int64)


def losses(dataset: Dataset) -> list[str]:
    """Say what Pascal VOC does not hold of a dataset."""
    annotations = dataset.annotations
    return [
        *lose(annotations.geometry != Geometry.BOX, "shape", "Pascal VOC holds the box around each."),
        *lose(annotations.has(Flag.KEYPOINTS), "list of keypoints", "Pascal VOC holds the box of each object.", "lists of keypoints"),
        "Pascal VOC's corners are whole pixels: boxes move by at most half a pixel.",
        *lose(is_thin(dataset.boxes[dataset.is_instance]), "box", "made 2 px wide or high, since readers take less for nothing.", "boxes"),
    ]


def leaves_behind(title: str) -> list[str]:
    """Say what of Pascal VOC another format has no place for."""
    return [f"{title} has no place for pose, parts, source and other elements of Pascal VOC's files."]


def is_thin(boxes: Boxes) -> NDArray[np.bool_]:
    """Tell which boxes have fewer than two whole pixels from side to side.

    >>> is_thin(np.array([[0, 0, 2, 2], [0, 0, 9, 1.4]])).tolist()
    [False, True]
    """
    return np.asarray((np.floor(boxes[:, 2:] + 0.5) - np.floor(boxes[:, :2] + 0.5) < 2).any(axis=1))


_OBJECT = """\t<object>
\t\t<name>%s</name>
\t\t<pose>Unspecified</pose>
\t\t<truncated>%d</truncated>
%s\t\t<difficult>%d</difficult>
\t\t<bndbox>
\t\t\t<xmin>%d</xmin>
\t\t\t<ymin>%d</ymin>
\t\t\t<xmax>%d</xmax>
\t\t\t<ymax>%d</ymax>
\t\t</bndbox>
\t</object>
"""
_SIZE = "\t<size>\n\t\t<width>{}</width>\n\t\t<height>{}</height>\n\t\t<depth>3</depth>\n\t</size>\n"
_OCCLUDED = "\t\t<occluded>1</occluded>\n"


_DEVKIT = np.array([-1.0, -1.0, 0.0, 0.0])
"""What is added to corners that are counted as the devkit's."""


def _render_xml(dataset: Dataset, names: Sequence[str], xmls: Sequence[dict[int, str]], stage: Stage, progress: Progress) -> None:
    """Write an XML file for each labelled or background image; for one made anew from a VOC image, its own with other objects."""
    annotations = dataset.annotations
    rows = np.argsort(annotations.image, kind="stable")
    # A class that nobody declared keeps the name that its record has.
    names_of = [
        dataset.class_names[number] if number >= 0 else str(own)
        for number, own in zip(annotations.class_index[rows].tolist(), annotations.class_id[rows].tolist(), strict=True)
    ]
    escapes = {name: _escaped(name) for name in set(names_of)}
    truncated, occluded, difficult = (annotations.has(flag)[rows].tolist() for flag in (Flag.TRUNCATED, Flag.OCCLUDED, Flag.DIFFICULT))
    # The devkit counts from 1 and inclusively; images that are made for a VOC dataset do as the others in it.
    counted_from = dataset.corner_shift if dataset.format == "voc" else _DEVKIT
    corners = (whole_pixels(dataset.boxes[rows], dataset.annotation_sizes[rows]) + (_DEVKIT - counted_from).astype(np.int64)).tolist()
    objects = [
        _OBJECT % (escapes[name], cut, _OCCLUDED if hidden else "", hard, *box)
        for name, cut, hidden, hard, box in zip(names_of, truncated, occluded, difficult, corners, strict=True)
    ]
    stop = np.searchsorted(annotations.image[rows], np.arange(dataset.n_images), side="right").tolist()
    begin = 0
    for image, (of_image, end, (width, height)) in enumerate(zip(xmls, stop, dataset.sizes.tolist(), strict=True)):
        for source, xml in of_image.items():
            own = "".join(objects[begin:end])
            if source >= 0 and (text := _given(dataset, image, source, own, posixpath.basename(names[image]))) is not None:
                stage.write(xml, text)
                continue
            head = [
                "<annotation>\n\t<folder>JPEGImages</folder>\n",
                f"\t<filename>{_escaped(posixpath.basename(names[image]))}</filename>\n",
            ]
            if not np.isnan(width):
                head.append(_SIZE.format(int(width), int(height)))
            head.append("\t<segmented>0</segmented>\n")
            stage.write(xml, "".join([*head, own, "</annotation>\n"]).encode())
        begin = end
        if image % 1024 == 0:
            progress("writing XML", image, len(xmls))


def _given(dataset: Dataset, image: int, source: int, objects: str, name: str) -> bytes | None:
    """Give the file that describes the picture which an image is made from, with other objects; None where it cannot be read."""
    label, old = dataset.sources[source], posixpath.basename(dataset.images.file_name[image])
    width, height = dataset.sizes[image].tolist()
    try:
        data = reopened(dataset.root, [label]).read_bytes(label, MAX_XML_BYTES)
    except Unreadable:
        return None
    return with_objects(data, objects, name, old, (int(width), int(height)))


def _escaped(text: str) -> str:
    return escape(text, {"\r": "&#13;"})


def _write_label_map(dataset: Dataset, stage: Stage) -> None:
    """Write the class names in class order, as far as its lines can hold them: none ends at a colon, begins with `#` or has a line end."""
    known = [name for name in dataset.config_files if posixpath.basename(name) == "labelmap.txt"]
    names = dataset.class_names
    if dataset.format == "voc" and not known and list(names) == sorted(names):
        return
    if any(re.search(r"^#|[:\r\n]", name) for name in names) or not names:
        return
    stage.write(f"{HOME}/labelmap.txt", "".join(f"{name}:::\n" for name in names).encode())
