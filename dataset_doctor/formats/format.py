"""What a format is to the rest of the program."""

from __future__ import annotations

from dataclasses import dataclass

from dataset_doctor.dataset import FormatName


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
