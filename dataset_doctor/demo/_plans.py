"""Images and names for the defects that concern a dataset as a whole."""

from dataset_doctor.demo._scenes import CLASSES, Plan

__all__ = ["COPIES", "DRIFTED", "EMPTY", "FRAMES", "IMBALANCED", "SWAPPED", "VERSIONS", "Plan"]

IMBALANCED: Plan = {"train": [("crate",) * 5 + ("balloon", "tent")] * 5 + [("crate",) * 5] * 7, "val": [CLASSES] * 4}
EMPTY: Plan = {"train": [CLASSES] * 6 + [()] * 6, "val": [CLASSES] * 4}
SWAPPED: Plan = {"train": [CLASSES] * 3, "val": [CLASSES] * 8}
DRIFTED: Plan = {"train": [CLASSES] * 14, "val": [CLASSES] * 2 + [("balloon", "crate")] * 10}

VERSIONS = {"park_009": "pond_0009_jpg.rf.0a1b2c3d4e5f", "park_014": "pond_0009_jpg.rf.9f8e7d6c5b4a"}
COPIES = {"park_009": VERSIONS["park_009"], "park_010": VERSIONS["park_014"]}
FRAMES = {
    "park_002": "yard_frame_0001", "park_013": "yard_frame_0002", "park_003": "yard_frame_0003",
    "park_014": "yard_frame_0004", "park_004": "yard_frame_0005", "park_015": "yard_frame_0006",
}  # fmt: skip
