"""Pascal VOC: one XML file an image, in any of the folder layouts that tools write.

Names first, files second: which folder holds annotations, where their images lie and which lists split them follows from the tree's
names alone; `_voc_xml` then turns the XML files into columns, and an XML file meets its image by stem, then by `<filename>`, then by
`<path>`.
"""

from __future__ import annotations

import dataclasses
import posixpath
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dataset_doctor.dataset import (
    NO_ID,
    NO_SOURCE,
    UNKNOWN_SIZE,
    Annotations,
    Class,
    Dataset,
    Geometry,
    Images,
    LabelState,
    Place,
    Problem,
)
from dataset_doctor.files.names import is_under, suffix
from dataset_doctor.files.progress import Progress, silent
from dataset_doctor.files.sizes import measure
from dataset_doctor.files.splits import Splits, folder_splits, split_matrix
from dataset_doctor.files.tree import Tree
from dataset_doctor.findings import plural
from dataset_doctor.formats.format import Candidate
from dataset_doctor.formats.voc.layout import (
    ImagePlaces,
    Pairs,
    base_folder,
    is_annotation_folder,
    pair_images,
    relative_stem,
    unit_root,
)
from dataset_doctor.formats.voc.lists import listed_splits, presence_of_classes, read_lines
from dataset_doctor.formats.voc.plain import Origin
from dataset_doctor.formats.voc.xml import FileState, Records, parse, parse_here

FILES_TO_SNIFF = 16


# Recognising --------------------------------------------------------------------------------------------------------


def detect(tree: Tree, only: str | None = None) -> list[Candidate]:
    """Name the VOC datasets in a tree, after a look into a few XML files of each folder.

    Folders are one dataset, unless they have no class in common, several each, and one is laid out as a dataset of its own;
    or unless one stem stands for different images or different sets of classes in them, or their layouts differ.

    Args:
        tree: What the walk found.
        only: An XML file that the user pointed at: only the dataset of its folder is looked for.
    """
    if only is not None and suffix(only) != ".xml":
        return []
    units: dict[str, list[str]] = defaultdict(list)
    for name in tree.with_suffix(".xml"):
        units[unit_root(base_folder(name))].append(name)
    if only is not None:
        wanted = unit_root(base_folder(only))
        units = defaultdict(list, {wanted: units[wanted]} if wanted in units else {})
    samples = {root: sample for root, xmls in sorted(units.items()) if (sample := _sniff(tree, xmls)) is not None}
    places = ImagePlaces(tree)
    groups: list[_Group] = []
    for root, sample in samples.items():
        xmls = units[root]
        names, stems = {name.strip() for name in sample.names}, {relative_stem(name) for name in xmls}
        laid_out = any(is_annotation_folder(base) for base in {base_folder(name) for name in xmls})
        unit = _Group([root], xmls, names, stems, set(), len(names) < 2, laid_out, bool(len(samples) > 1 and _list_files(tree, [root])))
        if len(samples) > 1:
            unit.images.update(name for name in pair_images(places, xmls, None).image if name is not None)
        for group in groups:
            if not _apart(group, unit):
                group.add(unit)
                break
        else:
            groups.append(unit)
    return [_candidate(tree, group) for group in groups]


@dataclass(slots=True)
class _Group:
    """Annotation folders that are one dataset: their roots, XML files, some of their class names, relative stems, images.

    single    a folder has objects of one class, as where each class has a folder
    laid_out  there are annotation folders of the usual names, beside the images
    listed    there are lists in ImageSets
    """

    roots: list[str]
    xmls: list[str]
    classes: set[str]
    stems: set[str]
    images: set[str]
    single: bool
    laid_out: bool
    listed: bool

    def add(self, other: _Group) -> None:
        self.roots += other.roots
        self.xmls += other.xmls
        self.classes |= other.classes
        self.stems |= other.stems
        self.images |= other.images
        self.single |= other.single
        self.laid_out |= other.laid_out
        self.listed |= other.listed


def _apart(group: _Group, unit: _Group) -> bool:
    """Tell whether two sets of XML files must not be read as one dataset."""
    if group.stems.isdisjoint(unit.stems):
        unrelated = group.classes.isdisjoint(unit.classes) and not (group.single or unit.single)
        return unrelated and (group.laid_out or unit.laid_out)
    if group.listed or unit.listed or group.laid_out != unit.laid_out:
        return True  # copies of one dataset, as far as stems tell
    alike = 2 * len(group.classes & unit.classes) >= min(len(group.classes), len(unit.classes))
    return not alike or not group.images.isdisjoint(unit.images)


def _sniff(tree: Tree, xmls: Sequence[str]) -> Records | None:
    """Read some of the XML files, evenly spread; None where none of them is VOC."""
    step = max(1, len(xmls) // FILES_TO_SNIFF)
    sample = parse_here(str(tree.root), xmls[::step], tree.links)
    is_voc = (sample.state != FileState.OTHER) & sample.looks_voc
    return sample if is_voc.any() else None


def _candidate(tree: Tree, group: _Group) -> Candidate:
    lists = _list_files(tree, group.roots)
    maps = [name for name in (posixpath.join(home, "labelmap.txt") for home in _homes(group.xmls)) if name in tree.known]
    root = posixpath.commonpath(group.roots) if "" not in group.roots else ""
    n_folders = len({posixpath.dirname(name) for name in group.xmls})
    where = "1 folder" if n_folders == 1 else f"{n_folders:,} folders"
    evidence = [f"{len(group.xmls):,} XML files with the root element <annotation> in {where}"]
    evidence += [f"{plural(len(lists), 'list')} in ImageSets"] if lists else []
    if lists:
        variant = "devkit"
    elif all(base_folder(name) == posixpath.dirname(name) and not is_annotation_folder(base_folder(name)) for name in group.xmls):
        variant = "flat"
    else:
        variant = "folders"
    return Candidate("voc", variant, root, (*sorted(group.xmls), *lists, *maps), tuple(evidence))


def _homes(xmls: Iterable[str]) -> list[str]:
    """Give the folders that hold annotation folders (of a flat folder, itself): where lists and label maps lie."""
    return sorted({posixpath.dirname(base) if is_annotation_folder(base) else base for base in map(base_folder, xmls)})


def _list_files(tree: Tree, roots: Sequence[str]) -> list[str]:
    """Find the lists of `ImageSets/Main` (or of `ImageSets` where it has no such folder) of the datasets under some roots."""
    found: dict[str, list[str]] = defaultdict(list)
    for name in tree.with_suffix(".txt"):
        folder = posixpath.dirname(name)
        if folder.endswith("ImageSets/Main") or posixpath.basename(folder) == "ImageSets":
            found[folder].append(name)
    main = [folder for folder in found if folder.endswith("/Main") or posixpath.join(folder, "Main") not in found]
    return sorted(name for folder in main if any(is_under(folder, root) for root in roots) for name in found[folder])


def claims(tree: Tree, candidate: Candidate) -> frozenset[str]:
    """Name the image files of the tree that the dataset's XML files describe."""
    xmls = _xmls(candidate)
    pairs = pair_images(ImagePlaces(tree), xmls, None)
    if 2 * sum(name is not None for name in pairs.image) < len(xmls):
        pairs = pair_images(ImagePlaces(tree), xmls, parse(str(tree.root), xmls, tree.links))
    return frozenset(name for name in pairs.image if name is not None)


def _xmls(candidate: Candidate) -> list[str]:
    return [name for name in candidate.labels if suffix(name) == ".xml"]


# Reading ------------------------------------------------------------------------------------------------------------


def read(tree: Tree, candidate: Candidate, *, classes: tuple[str, ...] | None = None, progress: Progress = silent) -> Dataset:
    """Read a VOC dataset into columns; whatever is wrong with a file becomes a problem.

    Args:
        tree: What the walk found.
        candidate: One of `detect`.
        classes: Class names in class order; by default those of `labelmap.txt`, else the names in the files, sorted.
        progress: Called with what is done.
    """
    xmls = _xmls(candidate)
    records = parse(str(tree.root), xmls, tree.links, progress)
    pairs = pair_images(ImagePlaces(tree), xmls, records)
    problems = list(pairs.problems)
    table = _table(tree, xmls, records, pairs, problems)
    class_names, class_places = _class_order(tree, candidate, classes, {name.strip() for name in records.names}, problems)
    # A detection copy of a segmented dataset has no mask at all, and nobody misses them.
    segmented = [problem.file for problem in records.problems if problem.kind == "mask-missing"]
    masked = {file for file in segmented if _has_mask(tree, xmls[file])}
    masks_matter = bool(masked) or 2 * len(segmented) <= len(xmls)
    persons: set[str] = set()
    for problem in records.problems:
        image = table.image_of_file[problem.file]
        if problem.kind == "mask-missing" and (problem.file in masked or not masks_matter):
            continue
        if problem.kind == "personal-data":
            if problem.text in persons:
                continue
            persons.add(problem.text)
        if image >= 0:
            place = Place(xmls[problem.file], problem.line, image=table.names[image], class_name=problem.class_name)
            problems.append(Problem(problem.kind, place, problem.text))
    annotations = _annotations(table, records, class_names)
    images = _images(tree, table, records, problems, progress)
    xml_of_row = [xmls[number] if number >= 0 else None for number in table.first_file.tolist()]
    lists = [name for name in candidate.labels if suffix(name) == ".txt" and posixpath.basename(name) != "labelmap.txt"]
    assigned: Splits = {}
    if lists:
        assigned = listed_splits(tree, lists, table.names, xml_of_row, presence_of_classes(annotations, class_names), problems)
    assigned = assigned or folder_splits(candidate.root, table.names, xml_of_row)
    splits, spelling, in_split = split_matrix(assigned, len(images), "unassigned" if assigned else "all")
    listed: NDArray[np.bool_] | None = None
    if lists and assigned:
        listed = np.asarray(in_split[:, [name != "unassigned" for name in splits]].any(axis=1))
    problems += _unmatched(table, images, xml_of_row, listed)

    evidence = list(candidate.evidence)
    if strangers := len(xmls) - len(table.sources):
        evidence.append(f"{strangers:,} other XML files beside them are not VOC and belong to no image")
    if len(images) and not images.has_file.any():
        evidence.append("no image is at hand: names and sizes are those of the XML files")
    declared = np.stack([images.width, images.height], axis=1)
    actual = np.stack([images.file_width, images.file_height], axis=1)
    sizes = np.where((declared > 0).all(axis=1, keepdims=True), declared, actual)
    origin, why = _origin(annotations.corners, sizes[annotations.image], records.writer[records.state != FileState.OTHER])
    return Dataset(
        root=tree.root,
        format="voc",
        variant=candidate.variant,
        task="obb" if len(annotations) and (annotations.geometry == Geometry.OBB).all() else "detect",
        evidence=(*evidence, why),
        voc_origin=origin,
        classes=tuple(Class(name, name, place=class_places.get(name)) for name in class_names),
        splits=splits,
        split_spelling=spelling,
        sources=tuple(table.sources),
        source_split=np.full(len(table.sources), -1, np.int16),
        images=dataclasses.replace(images, in_split=in_split),
        annotations=annotations,
        problems=tuple(sorted(problems, key=lambda p: (p.place.file or p.place.image or "", p.place.line or 0))),
        config_files=tuple(name for name in candidate.labels if suffix(name) == ".txt"),
    )


def _has_mask(tree: Tree, xml: str) -> bool:
    """Tell whether a picture has a mask of classes or objects where VOC keeps them, or beside its XML file."""
    folder, stem = posixpath.split(posixpath.splitext(xml)[0])
    home = posixpath.dirname(folder) if is_annotation_folder(folder) else folder
    places = ("SegmentationClass", "SegmentationObject", "SegmentationClassPNG", "masks")
    return any(posixpath.join(home, place, f"{stem}.png") in tree.known for place in places)


def _unmatched(table: _Table, images: Images, xml_of_row: Sequence[str | None], listed: NDArray[np.bool_] | None) -> list[Problem]:
    """Report XML files without an image and images without an XML file; `listed` tells which images a list names, if there are lists."""
    if not images.has_file.any():
        return []
    problems = []
    for row in np.flatnonzero(~images.has_file).tolist():
        place = Place(file=xml_of_row[row], image=table.names[row])
        if listed is not None and listed[row]:
            problems.append(Problem("image-missing", place, "a list names it and the XML file describes it, but the image is not there"))
        else:
            problems.append(Problem("label-orphan", place, "no image has its name, nor the one in <filename>"))
    if listed is not None:
        for row in np.flatnonzero((images.source == NO_SOURCE) & ~listed).tolist():
            place = Place(file=table.names[row], image=table.names[row])
            problems.append(Problem("image-orphan", place, "neither an XML file nor a list names it"))
    return problems


@dataclass(frozen=True, slots=True)
class _Table:
    """How XML files, sources and images are numbered.

    names          file name of each image: first those with an XML file, then those without
    sources        XML files that count
    image_of_file, source_of_file  int32, one an XML file: its image and its source, -1 where it does not count
    first_file     int64, one an image: the XML file that describes it (the first of several), -1 for none
    """

    names: list[str]
    sources: list[str]
    image_of_file: NDArray[np.int32]
    source_of_file: NDArray[np.int32]
    first_file: NDArray[np.int64]


def _table(tree: Tree, xmls: Sequence[str], records: Records, pairs: Pairs, problems: list[Problem]) -> _Table:
    """Give numbers to the images: those of the XML files, there or not, then those without one.

    An XML file that is not VOC counts only where an image has its name: it then stands where that image's labels belong.
    """
    is_voc = (records.state != FileState.OTHER).tolist()
    image_of_file = np.full(len(xmls), -1, np.int32)
    source_of_file = np.full(len(xmls), -1, np.int32)
    row_of_name: dict[str, int] = {}
    first_file: list[int] = []
    sources: list[str] = []
    for number, xml in enumerate(xmls):
        name = pairs.image[number]
        if name is None:
            if not is_voc[number]:
                continue
            name = pairs.expected[number]
        row = row_of_name.setdefault(name, len(row_of_name))
        if row == len(first_file):
            first_file.append(number)
        else:
            text = f"{xmls[first_file[row]]} is for the same image"
            problems.append(Problem("stem-collision", Place(file=xml, image=name), text))
        image_of_file[number] = row
        source_of_file[number] = len(sources)
        sources.append(xml)
    names = list(dict.fromkeys([*row_of_name, *pairs.at_hand]))
    first_file += [-1] * (len(names) - len(first_file))
    return _Table(names, sources, image_of_file, source_of_file, np.array(first_file, np.int64))


def _annotations(table: _Table, records: Records, class_names: Sequence[str]) -> Annotations:
    """Turn objects into annotations."""
    rows = np.flatnonzero(records.state[records.file] != FileState.OTHER)
    file, name, n = records.file[rows], records.name[rows], len(rows)
    index_of = {class_name: index for index, class_name in enumerate(class_names)}
    class_index = np.array([*(index_of.get(written.strip(), -1) for written in records.names), -1], np.int32)
    return Annotations(
        image=table.image_of_file[file],
        class_index=class_index[name],
        class_id=np.array([*records.names, ""], dtype=object)[name],
        corners=records.corners[rows],
        area=np.full(n, np.nan),
        flags=records.flags[rows],
        geometry=records.geometry[rows],
        source_id=np.full(n, NO_ID, np.int64),
        source=table.source_of_file[file],
        position=records.position[rows],
        line=records.line[rows],
    )


def _images(tree: Tree, table: _Table, records: Records, problems: list[Problem], progress: Progress) -> Images:
    """Make the table of images, as yet without splits."""
    n = len(table.names)
    has_file = np.array([name in tree.known for name in table.names], bool)
    sizes = measure(tree, [name for name, there in zip(table.names, has_file, strict=True) if there], progress)
    problems += sizes.problems
    file_size = np.full((n, 2), UNKNOWN_SIZE, np.int32)
    file_size[has_file] = np.stack([sizes.width, sizes.height], axis=1)
    described = np.flatnonzero(table.first_file >= 0)
    first = table.first_file[described]
    declared = np.full((n, 2), UNKNOWN_SIZE, np.int32)
    declared[described] = np.stack([records.width, records.height], axis=1)[first]
    source = np.full(n, NO_SOURCE, np.int32)
    source[described] = table.source_of_file[first]
    counted = table.image_of_file >= 0
    holds = (records.objects > 0) | (records.state != FileState.READ)
    label_state = np.full(n, LabelState.UNLABELED, np.uint8)
    label_state[table.image_of_file[counted & ~holds]] = LabelState.BACKGROUND
    label_state[table.image_of_file[counted & holds]] = LabelState.LABELED
    return Images(
        file_name=np.array([*table.names, None], dtype=object)[:-1],
        has_file=has_file,
        width=declared[:, 0],
        height=declared[:, 1],
        file_width=file_size[:, 0],
        file_height=file_size[:, 1],
        in_split=np.zeros((n, 0), bool),
        label_state=label_state,
        source_id=np.full(n, NO_ID, np.int64),
        source=source,
        position=np.zeros(n, np.int64),
        picture=np.arange(n, dtype=np.int32),
    )


def _class_order(
    tree: Tree, candidate: Candidate, given: tuple[str, ...] | None, used: set[str], problems: list[Problem]
) -> tuple[tuple[str, ...], dict[str, Place]]:
    """Name the classes in class order: as given, else of the label maps, else sorted; and where a label map has them."""
    if given is not None:
        return tuple(dict.fromkeys(given)), {}
    places: dict[str, Place] = {}
    for file in (name for name in candidate.labels if posixpath.basename(name) == "labelmap.txt"):
        lines = read_lines(tree, file, problems)
        entries = [(number, line) for number, line in lines if line and not line.startswith("#")]
        strange = [number for number, line in entries if ":" not in line or not line.split(":")[0].strip()]
        if strange:
            place = Place(file=file, line=strange[0])
            problems.append(Problem("class-names-invalid", place, "a line is not name:r,g,b:parts:actions, the file is not used"))
            continue
        for number, line in entries:
            name = line.split(":")[0].strip()
            if name != "background" or name in used:
                places.setdefault(name, Place(file=file, line=number))
    return tuple(places) or tuple(sorted(used)), places


_WRITERS = {
    Origin.DEVKIT: ("1-based", "The VOC20xx Database"),
    Origin.DATUMARO: ("half-open", "database, annotation and image Unknown, as CVAT and datumaro write"),
    Origin.LABEL_STUDIO: ("half-open", "Label Studio"),
}


def _origin(corners: NDArray[np.float64], sizes: NDArray[np.int32], writers: NDArray[np.uint8]) -> tuple[str, str]:
    """Infer how corners are counted, from boxes at the images' edges and from what most files say of their origin.

    Returns:
        "1-based", "0-based", "half-open" or "unknown", and the sentence that gives the counts.
    """
    low, high = corners[:, :2], corners[:, 2:]
    known = sizes > 0
    at_zero = int((low == 0).any(axis=1).sum())
    at_one = int((low == 1).any(axis=1).sum())
    at_size = int(((high == sizes) & known).any(axis=1).sum())
    at_last = int(((high == sizes - 1) & known).any(axis=1).sum())
    writer = Origin(int(np.bincount(writers, minlength=1).argmax())) if len(writers) else Origin.SILENT
    said, signature = _WRITERS.get(writer, ("unknown", "no known writer"))
    if at_zero:
        origin = "half-open" if at_size else "0-based" if at_last else "unknown"
    else:
        origin = said
    what = "of unknown origin, read as 1-based" if origin == "unknown" else origin
    why = (
        f"corners are {what}: {at_zero:,} boxes start at 0 and {at_one:,} at 1, {at_size:,} end at the image's width or height"
        f" and {at_last:,} one pixel before; most files name {signature}"
    )
    return origin, why
