"""What a format is to the rest of the program."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from dataset_doctor.dataset import Dataset, Flag, FormatName, Shapes
from dataset_doctor.errors import UsageError, did_you_mean
from dataset_doctor.files.output import Materialize, Stage
from dataset_doctor.files.progress import Progress, silent
from dataset_doctor.files.tree import Tree
from dataset_doctor.findings import plural
from dataset_doctor.formats.layout import untreated_files
from dataset_doctor.outlines import Outlines


@dataclass(frozen=True, slots=True)
class Candidate:
    """A dataset that a format recognises in a tree, before it is read.

    root      the folder, relative to the tree's root, that the dataset lies in ("" is the root itself)
    labels    its label, list and configuration files (VOC and YOLO may give only the files that decide)
    evidence  why this format, one sentence each, the strongest first
    declared  a configuration file lists its images (data.yaml, obj.data …), so that it wins over another that describes as many
    """

    format: FormatName
    variant: str
    root: str
    labels: tuple[str, ...]
    evidence: tuple[str, ...]
    declared: bool = False


def lose(which: NDArray[np.bool_], what: str, why: str, many: str | None = None) -> list[str]:
    """Say what becomes of some records, in a sentence; in none where there are none."""
    count = int(which.sum())
    return [f"{plural(count, what, many)}: {why}"] if count else []


class Detect(Protocol):
    """How a format names its datasets in a tree."""

    def __call__(self, tree: Tree, only: str | None = None) -> list[Candidate]:
        """Name the datasets of this format, cheaply; `only` is a file that the user pointed at."""


class Read(Protocol):
    """How a format is read."""

    def __call__(self, tree: Tree, candidate: Candidate, *, classes: tuple[str, ...] | None = None, progress: Progress = silent) -> Dataset:
        """Read a candidate; never raises for what is wrong with the data."""


class Write(Protocol):
    """How a format is written."""

    def __call__(self, dataset: Dataset, stage: Stage, *, materialize: Materialize = "copy", progress: Progress = silent) -> list[str]:
        """Write a dataset of any format that this one can hold; give the path of each image row relative to the new root.

        Label, list and configuration files go through `Stage.write`, images through `files.images.bring`. A path is given whether or not
        there was a file to bring; the first, where an image is in several splits and has a file in each; with "list" that of the source.
        No row is dropped here: `formats.write` has refused before what the format cannot hold, and reads back afterwards.
        """


@dataclass(frozen=True, slots=True, kw_only=True)
class Format:
    """All that the rest of the program knows of a format; nothing outside `formats` and `demo` asks for its name.

    name         as in options and reports
    title        as people call it
    looks_for    what datasets are known by, for who looks for one in vain
    last_resort  taken only where nothing else describes the images: folders with names are everywhere

    Reading:

    detect          name the datasets of this format in a tree, cheaply
    claims          name the image files that a candidate describes
    read            make the `Dataset`
    shapes          begin to measure polygons, masks and keypoints of a dataset that was read; None where labels have none
    outlines        read them; None where labels have none
    keypoint_names  read the names of keypoints; None where labels have none
    pointer         name the place of a field within a label file, from the array ("images", "annotations"), the position in it and the
                    column; None where a line number does

    What its labels are like:

    box               a box is two corners in pixels, a corner and a size in pixels, or shares of the image; None where there are none
    box_beside_shape  records state box and area beside the shape, so that the two can differ
    counts_pixels     corners are pixels that are counted, from 1 or from 0, so that their numbers are whole
    bare_numbers      rows are numbers without names: how many there are tells what they mean, and a number names the class
    oriented_boxes    rotated boxes are at home in it
    has_ids           images, annotations and categories have ids
    lists_images      a record names each image, so that what is wrong with an image is a place in a label file
    label_an_image    each image has a label file of its own; one without is unlabeled
    names_in_records  classes are declared nowhere but by the records that name them
    class_folders     the folder that an image lies in is its label
    states_size       labels state the size of each image
    unlabeled_is_background  trainers take an image without a label file for background
    flags             what records state of an object beside class and place

    Writing:

    write            write a dataset that it can hold
    holds_shapes     tell whether the shapes of a dataset are written, so that one with an error cannot be
    holds_ignored    crowd regions and ignored annotations can be written
    holds_scores     scores have a place in it
    boxes_inside     readers refuse an image with a box that leaves it by more than a pixel
    needs_labels     readers know a dataset by its label files, so that there has to be one
    can_list         lists or records can name one image several times, so that `materialize="list"` needs no file
    files_by_split   an image of several splits becomes a file in each
    needs_train      trainers look for the split that is trained on under the name train alone
    copied_files     name the label files that are copied as they are when a dataset is written in its own format
    losses           say what of a dataset this format does not hold
    alters           say what it holds in another way
    leaves_behind    say what of this format another one, of that title, has no place for
    beside           name the label file of an image where it stays when `list` leaves the image; None where labels are written anew
    read_lists       count, in a folder written with "list", for each split how often its lists name each image; None where it reads back
    """

    name: FormatName
    title: str
    looks_for: str
    last_resort: bool = False

    detect: Detect
    claims: Callable[[Tree, Candidate], frozenset[str]]
    read: Read
    shapes: Callable[[Dataset, Progress], Callable[[], Shapes]] | None = None
    outlines: Callable[[Dataset, Progress], Outlines] | None = None
    keypoint_names: Callable[[Dataset], list[str]] | None = None
    pointer: Callable[[str, int, str], str | None] | None = None

    box: Literal["corners", "corner and size", "shares"] | None
    box_beside_shape: bool = False
    counts_pixels: bool = False
    bare_numbers: bool = False
    oriented_boxes: bool = False
    has_ids: bool = False
    lists_images: bool = False
    label_an_image: bool = False
    names_in_records: bool = False
    class_folders: bool = False
    states_size: bool = False
    unlabeled_is_background: bool = False
    flags: tuple[Flag, ...] = ()

    write: Write
    holds_shapes: Callable[[Dataset], bool] = lambda dataset: False
    holds_ignored: bool = False
    holds_scores: bool = False
    boxes_inside: bool = False
    needs_labels: bool = False
    can_list: bool = False
    files_by_split: bool = False
    needs_train: bool = False
    copied_files: Callable[[Dataset], frozenset[str]] = untreated_files
    losses: Callable[[Dataset], list[str]] = lambda dataset: []
    alters: Callable[[Dataset], list[str]] = lambda dataset: []
    leaves_behind: Callable[[str], list[str]] = lambda title: []
    beside: Callable[[str], str] | None = None
    read_lists: Callable[[Path, Path], dict[str, dict[str, int]]] | None = None


def find_format(name: str) -> Format:
    """Give the record of a format by its name.

    Raises:
        UsageError: there is none of that name.
    """
    # Each record names functions that call this module, so the table is found only when it is needed.
    from dataset_doctor.formats import FORMATS

    if name not in FORMATS:
        raise UsageError(f"the format {name} is not known.", did_you_mean(name, FORMATS))
    return FORMATS[name]


def format_of(dataset: Dataset) -> Format:
    """Give the record of a dataset's format."""
    return find_format(dataset.format)
