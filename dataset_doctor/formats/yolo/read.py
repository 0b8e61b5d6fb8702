"""YOLO: a text file an image, a line an object, everything normalised to the image's size; splits in `data.yaml`, `obj.data` or lists.

What shaped it:

* Where things lie is a convention with a dozen dialects, so names are resolved against what the walk listed, never against the disk:
  as written, then from the configuration's folder and its parents, then by the longest tail that is known (`_yolo_layout`).
* A million lines must stay cheap: numpy parses all label files as one text, and only lines that it finds wrong are looked at one by one
  (`_yolo_rows`).
* YAML is read as events and every scalar stays text: nothing is constructed, and a class called `no` stays `no` (`_yolo_config`).
"""

from __future__ import annotations

import posixpath
import re

import numpy as np
from numpy.typing import NDArray

from dataset_doctor.dataset import (
    NO_ID,
    NO_SOURCE,
    UNKNOWN_SIZE,
    Annotations,
    Class,
    Dataset,
    Flag,
    Geometry,
    Images,
    LabelState,
    Place,
    Problem,
)
from dataset_doctor.files.names import suffix
from dataset_doctor.files.progress import Progress, silent
from dataset_doctor.files.sizes import begin
from dataset_doctor.files.splits import is_split_name
from dataset_doctor.files.tree import Tree
from dataset_doctor.formats.format import Candidate
from dataset_doctor.formats.manifest import NAME as MANIFEST
from dataset_doctor.formats.yolo.config import (
    CONFIG_NAMES,
    MAX_CLASSES,
    Config,
    load_config,
    names_images,
    printable,
    read_name_file,
    read_notes,
)
from dataset_doctor.formats.yolo.layout import (
    LABEL_FOLDERS,
    PREDICTIONS,
    Scope,
    arrange,
    base_folders,
    in_label_folder,
    resolve,
    split_lists,
)
from dataset_doctor.formats.yolo.rows import check_keypoints, looks_like_rows, read_rows, task_of

SAMPLED_FILES = 32
MAX_CONFIGS = 200


def detect(tree: Tree, only: str | None = None) -> list[Candidate]:
    """Recognise YOLO datasets: a `data.yaml` or `obj.data`, list files of images, or label files beside or parallel to images.

    Args:
        tree: What the walk found.
        only: A file the user pointed at: nothing else is looked at.
    """
    if only is not None:
        if suffix(only) in (".yaml", ".yml", ".data"):
            config = load_config(tree, (only,))
            says_something = config.is_dataset or config.problems or config.splits or config.names
            return [_configured(config, Scope.of(tree, ""))] if says_something else []
        if suffix(only) == ".txt" and names_images(tree, only):
            return [Candidate("yolo", "lists", "", (only,), (f"{only} lists image files",), declared=True)]
        return []
    found: list[Candidate] = []
    names = tree.with_suffix(".yaml", ".yml", ".data")
    names = [name for name in names if not PREDICTIONS.search(name)] or names
    names.sort(key=lambda name: (name.count("/"), posixpath.basename(name) not in CONFIG_NAMES, suffix(name) != ".data", name))
    configs = [config for name in names[:MAX_CONFIGS] if (config := load_config(tree, (name,))).is_dataset]
    scope = Scope.of(tree, "")
    configured = [_configured(config, scope) for config in configs]
    for candidate in sorted(configured, key=lambda candidate: candidate.root.count("/") + bool(candidate.root)):
        above = [c for c in found if not c.root or f"{candidate.root}/".startswith(f"{c.root}/")]
        if not above:
            found.append(candidate)
    return found or _by_labels(tree, scope)


def claims(tree: Tree, candidate: Candidate) -> frozenset[str]:
    """Name the image files that the dataset describes: those of its declared splits, and those with a label file."""
    config = load_config(tree, candidate.labels)
    arranged = arrange(tree, candidate, config)
    pairs = zip(arranged.images, arranged.labels, strict=True)
    return frozenset(image for image, label in pairs if image in tree.known and (label or config.splits))


def _configured(config: Config, scope: Scope) -> Candidate:
    """Describe the dataset that a configuration file declares."""
    assert config.file is not None
    folder = posixpath.dirname(config.file)
    bases = base_folders(config, scope)
    entries = [entry for _, paths in config.splits for entry, _ in paths]
    resolved = [scope.folder(entry, bases) for entry in entries if suffix(entry) != ".txt"]
    folders = [found.rpartition("/images")[0] if "/images" in f"/{found}" else found for found in resolved if found is not None]
    folders = [found for found in folders if not found.startswith("..")]
    if not folders or any(name.startswith(f"{folder}/") for name in (*scope.images, *scope.texts)) or not folder:
        folders.append(folder)
    root = posixpath.commonpath(folders) if all(folders) else ""
    if config.kind == "darknet":
        variant = "darknet"
    elif posixpath.basename(config.file).startswith("dataset."):
        variant = "fiftyone"
    elif any(suffix(entry) == ".txt" for entry in entries):
        variant = "lists" if scope.tree.image_root is not None or MANIFEST in scope.tree.known else "cvat"
    elif any(re.search(r"(train|valid|test)/images/?$", entry) for entry in entries):
        variant = "roboflow"
    else:
        variant = "ultralytics"
    declares = [key for key, _ in config.splits] + ["names"] * (config.names is not None or config.names_file is not None)
    evidence = f"{config.file} declares {', '.join(declares)}" if declares else f"{config.file} has the name of a YOLO configuration"
    return Candidate("yolo", variant, root, (config.file,), (evidence,), declared=bool(config.splits))


def _by_labels(tree: Tree, scope: Scope) -> list[Candidate]:
    """Recognise a dataset without a configuration file, from list files or from label files that have an image partner."""
    pairs = []
    for image in scope.images if scope.texts else ():
        label = scope.label_of(image)
        if label is not None:
            pairs.append((image, label))
            if len(pairs) >= 4096:
                break
    if not pairs and tree.image_root is not None:
        stems = {posixpath.splitext(posixpath.basename(image))[0]: image for image in scope.images}
        pairs = [(stems[stem], text) for text in sorted(scope.texts) if (stem := posixpath.basename(text)[:-4]) in stems]
    if scope.labels_only:
        pairs = [pair for pair in pairs if in_label_folder(pair[1])]
    step = max(1, len(pairs) // SAMPLED_FILES)
    sampled = pairs[::step][:SAMPLED_FILES]
    looks = [looks_like_rows(tree, label) for _, label in sampled]
    if not any(looks) and not (sampled and all(look is None for look in looks) and in_label_folder(sampled[0][1])):
        return []
    lists = tuple(split_lists(tree, ""))
    partner = "a folder labels, without images" if scope.labels_only else "an image partner"
    evidence = [f"{sampled[0][1]} and others hold rows of class and coordinates and have {partner}"]
    if lists:
        evidence.append(f"{', '.join(lists[:3])} list image files")
    basenames = {posixpath.basename(name) for name in tree.files}
    if lists:
        variant = "lists"
    elif "notes.json" in basenames and "classes.txt" in basenames:
        variant = "label-studio"
    elif all(posixpath.dirname(image) == posixpath.dirname(label) for image, label in sampled):
        variant = "flat"
    else:
        variant = "images-labels"
    labels = lists or tuple(label for _, label in sampled)
    root = "" if lists or tree.image_root is not None else _common_root(pairs)
    return [Candidate("yolo", variant, root, labels, tuple(evidence), declared=bool(lists))]


def _common_root(pairs: list[tuple[str, str]]) -> str:
    """Find the folder that holds images and labels; a folder named as a split or `images` is inside the dataset, not its root."""
    folders = {posixpath.dirname(name) for pair in pairs for name in pair}
    if not all(folders):
        return ""
    root = posixpath.commonpath(folders)
    while root and (is_split_name(posixpath.basename(root)) or posixpath.basename(root).casefold() in {"images", *LABEL_FOLDERS}):
        root = posixpath.dirname(root)
    return root


def read(tree: Tree, candidate: Candidate, *, classes: tuple[str, ...] | None = None, progress: Progress = silent) -> Dataset:
    """Read a YOLO dataset into columns; what is wrong with it becomes problems, never an exception.

    Args:
        tree: What the walk found.
        candidate: One that `detect` gave for this tree.
        classes: Class names that replace those of the dataset.
        progress: Called now and then while label files and image headers are read.
    """
    config = load_config(tree, candidate.labels)
    arranged = arrange(tree, candidate, config)
    problems = arranged.problems
    names, has_file = arranged.images, np.array([name in tree.known for name in arranged.images], bool)
    here = np.flatnonzero(has_file)
    pending = begin(tree, [names[i] for i in here.tolist()], progress)

    label_files = sorted({label for label in arranged.labels if label})
    row_of = {label: row for row, label in enumerate(label_files)}
    label_row = np.array([row_of.get(label, -1) for label in arranged.labels], np.int64)
    with_label = np.flatnonzero(label_row >= 0)
    first_image = np.zeros(len(label_files), np.int64)
    first_image[label_row[with_label][::-1]] = with_label[::-1]
    rows, state, was_read, found = read_rows(tree, label_files, [names[i] for i in first_image.tolist()], progress)
    problems += found

    file_width = np.full(len(names), UNKNOWN_SIZE, np.int32)
    file_height = file_width.copy()
    sizes = pending()
    file_width[here], file_height[here] = sizes.width, sizes.height
    problems += sizes.problems

    source_of = np.where(was_read, np.cumsum(was_read) - 1, NO_SOURCE)
    at, image = _images_of_rows(rows.file, label_row, with_label, len(label_files))
    task, long_rows, why = task_of(config, rows, label_files)
    class_list: list[str] | None
    if classes is not None:
        class_list, source = list(classes), "--classes"
    else:
        class_list, source = _class_names(tree, candidate, config, label_files, problems)
    evidence = [*candidate.evidence, *arranged.evidence, f"{task}: {why}"]
    largest = int(rows.class_id.max(initial=-1))
    if class_list is None:
        size = min(largest + 1, MAX_CLASSES)
        class_list = [f"class_{index}" for index in range(max(size, 0))]
        evidence.append("no class names: classes are named after their index, up to the largest one used")
    else:
        evidence.append(f"class names from {source}")
    problems += config.problems

    class_id = rows.class_id[at]
    is_long = rows.n[at] >= 7
    by_hull = is_long & (long_rows != Geometry.POSE)
    scale = np.stack([file_width[image], file_height[image]], axis=1).astype(np.float64)
    scale[(scale <= 0).any(axis=1)] = 1.0
    with np.errstate(over="ignore", invalid="ignore"):
        corners = np.where(by_hull[:, None], rows.hull[at], rows.box[at]) * np.concatenate([scale, scale], axis=1)
    geometry = np.where(is_long, np.uint8(long_rows), np.uint8(Geometry.BOX))
    if long_rows == Geometry.OBB:
        geometry[is_long & (rows.n[at] > 10)] = Geometry.POLYGON
    annotations = Annotations(
        image=image.astype(np.int32),
        class_index=np.where((class_id >= 0) & (class_id < len(class_list)), class_id, -1).astype(np.int32),
        class_id=class_id,
        corners=corners,
        area=np.full(len(at), np.nan),
        flags=_flags(rows.n[at], long_rows, config.kpt_shape),
        geometry=geometry.astype(np.uint8),
        source_id=np.full(len(at), NO_ID, np.int64),
        source=source_of[rows.file[at]].astype(np.int32),
        position=rows.line[at] - np.int32(1),
        line=rows.line[at],
    )
    check_keypoints(config, rows, label_files, problems)
    if task == "pose" and config.kpt_shape is None:
        place = Place(file=config.file) if config.file else Place(file=label_files[0])
        problems.append(Problem("keypoint-shape-missing", place, f"{why}, and no kpt_shape says how many"))

    keypoints = config.kpt_shape[0] if config.kpt_shape else 0
    label_state = np.full(len(names), LabelState.UNLABELED, np.uint8)
    label_state[with_label] = state[label_row[with_label]]
    image_source = np.full(len(names), NO_SOURCE, np.int32)
    image_source[with_label] = source_of[label_row[with_label]]
    sources = [label for label, readable in zip(label_files, was_read.tolist(), strict=True) if readable]
    masks = np.array(arranged.masks, np.int64)
    in_split = (masks[:, None] >> np.arange(len(arranged.splits)) & 1).astype(bool).reshape(len(names), len(arranged.splits))
    object_names = np.empty(len(names), object)
    object_names[:] = names
    problems.sort(key=lambda problem: (problem.place.file or "", problem.place.line or 0))
    return Dataset(
        root=tree.root,
        format="yolo",
        in_shares=True,
        variant=candidate.variant,
        task=task,
        evidence=tuple(evidence),
        voc_origin=None,
        classes=tuple(
            Class(name, index, None, keypoints, _class_place(tree, config, source, index)) for index, name in enumerate(class_list)
        ),
        splits=tuple(arranged.splits),
        split_spelling=tuple(arranged.splits.values()),
        sources=tuple(sources),
        source_split=np.full(len(sources), -1, np.int16),
        images=Images(
            file_name=object_names,
            has_file=has_file,
            width=np.full(len(names), UNKNOWN_SIZE, np.int32),
            height=np.full(len(names), UNKNOWN_SIZE, np.int32),
            file_width=file_width,
            file_height=file_height,
            in_split=in_split,
            label_state=label_state,
            source_id=np.full(len(names), NO_ID, np.int64),
            source=image_source,
            position=np.zeros(len(names), np.int64),
            picture=np.arange(len(names), dtype=np.int32),
        ),
        annotations=annotations,
        problems=tuple(problems),
        config_files=tuple(dict.fromkeys(name for name in (config.file, *arranged.lists, source) if name in tree.known)),
    )


def _class_names(
    tree: Tree, candidate: Candidate, config: Config, labels: list[str], problems: list[Problem]
) -> tuple[list[str] | None, str]:
    """Find the class names and say where they come from; None where nothing names them. Reports sources that disagree."""
    scope_prefix = f"{candidate.root}/" if candidate.root else ""
    chosen, source = config.names, config.file or ""
    if chosen is None and config.names_file is not None:
        folder = posixpath.dirname(config.file or "")
        found = resolve(config.names_file, list(dict.fromkeys([folder, candidate.root, ""])), tree.known)
        if found is None:
            config.report("class-names-invalid", f"the class names {printable(config.names_file)} are not here")
        else:
            chosen, source = read_name_file(tree, found, problems), found
            if chosen is not None and config.nc is not None and config.nc != len(chosen):
                config.report("class-names-invalid", f"classes is {config.nc:,} and {found} holds {len(chosen):,} names")
    folders = {label.rpartition("/")[0] for label in labels}
    kinds = ("obj.names", "classes.txt", "notes.json")
    files = [f for f in tree.files if f.endswith(kinds) and f.startswith(scope_prefix) and posixpath.basename(f) in kinds]
    files.sort(key=lambda f: (kinds.index(posixpath.basename(f)), f.count("/"), f))
    for name in files[:50]:
        if name == source or name in labels:
            continue
        if posixpath.basename(name) == "notes.json":
            names = read_notes(tree, name, problems) if chosen is None else None
        else:
            beside = posixpath.dirname(name) in {*folders, candidate.root, *(posixpath.dirname(f) for f in folders)}
            names = read_name_file(tree, name, problems) if beside else None
        if names is None:
            continue
        if chosen is None:
            chosen, source = names, name
        elif [text.strip() for text in names] != [text.strip() for text in chosen]:
            at = next((i for i, pair in enumerate(zip(names, chosen, strict=False)) if pair[0].strip() != pair[1].strip()), -1)
            what = f"class {at} is {printable(names[at])}" if at >= 0 else f"it holds {len(names):,} names"
            other = f"{printable(chosen[at])}" if at >= 0 else f"{len(chosen):,}"
            problems.append(Problem("class-names-conflict", Place(file=name), f"{what}, in {source} {other}"))
    if chosen is None and config.nc is not None:
        return [f"class_{index}" for index in range(min(config.nc, MAX_CLASSES))], f"nc of {config.file}, which names none"
    return chosen, source


def _class_place(tree: Tree, config: Config, source: str, index: int) -> Place | None:
    """Tell where a class has its name: the line in the configuration or in the list of names; None where nothing names it."""
    if source == config.file:
        return Place(file=source, line=config.name_lines.get(index))
    if source in tree.known:
        return Place(file=source, line=None if suffix(source) == ".json" else index + 1)
    return None


def _images_of_rows(
    file: NDArray[np.int32], label_row: NDArray[np.int64], with_label: NDArray[np.intp], n_files: int
) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Pair rows with the images of their label file, image after image; a label file that serves two images gives its rows to both."""
    in_file = np.bincount(file, minlength=n_files)
    start = np.cumsum(in_file) - in_file
    of_image = label_row[with_label]
    count = in_file[of_image]
    stop = np.cumsum(count)
    within = np.arange(stop[-1] if len(stop) else 0) - np.repeat(stop - count, count)
    return np.repeat(start[of_image], count) + within, np.repeat(with_label, count)


def _flags(n: NDArray[np.int32], long_rows: Geometry, kpt_shape: tuple[int, int] | None) -> NDArray[np.uint16]:
    """Tell which rows carry a score behind the box, polygon or keypoints, and which carry keypoints."""
    flags = np.where(n == 6, Flag.SCORE, 0).astype(np.uint16)
    if long_rows != Geometry.POSE:
        flags[(n >= 8) & (n % 2 == 0)] |= np.uint16(Flag.SCORE)
        return flags
    flags[n >= 7] |= np.uint16(Flag.KEYPOINTS)
    if kpt_shape is not None:
        flags[(n >= 7) & (n == 6 + kpt_shape[0] * kpt_shape[1])] |= np.uint16(Flag.SCORE)
    return flags
