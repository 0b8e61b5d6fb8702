"""What a format is to the rest of the program."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from dataset_doctor.dataset import Dataset, FormatName, Shapes
from dataset_doctor.files.output import Materialize, Stage
from dataset_doctor.files.progress import Progress, silent
from dataset_doctor.files.tree import Tree
from dataset_doctor.outlines import Outlines


@dataclass(frozen=True, slots=True)
class Candidate:
    """A dataset that a format recognises in a tree, before it is read.

    root      the folder, relative to the tree's root, that the dataset lies in ("" is the root itself)
    labels    its label, list and configuration files (VOC and YOLO may give only the files that decide)
    evidence  why this format, one sentence each, the strongest first
    declared  a configuration file states it (data.yaml, obj.data, ImageSets …)
    """

    format: FormatName
    variant: str
    root: str
    labels: tuple[str, ...]
    evidence: tuple[str, ...]
    declared: bool = False


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
    """All that the rest of the program knows of a format.

    name      as in options and reports
    title     as people call it
    detect    name the datasets of this format in the tree, cheaply; the second argument is a file that the user pointed at
    claims    name the image files that a candidate describes
    shapes    begin to measure polygons, masks and keypoints of a dataset that was read; None where labels have none
    outlines  read them; None where labels have none
    """

    name: FormatName
    title: str
    detect: Detect
    claims: Callable[[Tree, Candidate], frozenset[str]]
    read: Read
    write: Write
    shapes: Callable[[Dataset, Progress], Callable[[], Shapes]] | None = None
    outlines: Callable[[Dataset, Progress], Outlines] | None = None
