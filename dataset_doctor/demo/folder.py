# ruff: noqa: E501 (one planted defect a line)
"""The demonstration as image folders: `<split>/<class>/`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial

from dataset_doctor.dataset import Place
from dataset_doctor.demo import _plans as plans
from dataset_doctor.demo._files import Files, Link, Plant, drop, rename, replace
from dataset_doctor.demo._pictures import picture_plants
from dataset_doctor.demo._scenes import CLASSES, Scene, draw, scenes

SIDE = 64


def plan(train: dict[str, int], val: dict[str, int]) -> plans.Plan:
    """Plan images of one thing each."""
    return {split: [(name,) for name in counts for _ in range(counts[name])] for split, counts in (("train", train), ("val", val))}


STANDARD = plan(dict.fromkeys(CLASSES, 4), dict.fromkeys(CLASSES, 2))


def write(shots: Sequence[Scene]) -> Files:
    """Put each image into the folder of what it shows."""
    files: Files = {}
    seen: Counter[str] = Counter()
    for shot in shots:
        name = shot.things[0].name
        seen[name] += 1
        files[f"{shot.split}/{name}/{name}_{seen[name]:03}.jpg"] = shot.jpeg
    return files


def picture(name: str, shown: str = "tent") -> Files:
    """Draw an image of one thing under a file name."""
    return {name: draw(name, "", (shown,), (SIDE, SIDE)).jpeg}


def add_picture(files: Files, name: str, shot: Scene) -> None:
    """Put an image into the folder of its class."""
    files[f"{shot.split}/{shot.things[0].name}/{name}"] = shot.jpeg


def twice(files: Files, name: str) -> None:
    """Add a class to both splits."""
    for split in ("train", "val"):
        files |= picture(f"{split}/{name}/{split} pond.jpg")


def _rebuilt(train: dict[str, int], val: dict[str, int]) -> Callable[[Files], None]:
    return lambda files: replace(files, write(scenes(plan(train, val), (SIDE, SIDE))))


VERSIONS = {"balloon_001": plans.VERSIONS["park_009"], "balloon_005": plans.VERSIONS["park_014"]}
COPIES = {"balloon_001": plans.COPIES["park_009"], "balloon_002": plans.COPIES["park_010"]}
FRAMES = {f"balloon_00{old}": f"yard_frame_000{new}" for old, new in ((1, 1), (5, 2), (2, 3), (6, 4), (3, 5))}

PLANTS: tuple[Plant, ...] = (
    Plant("image-unreadable", "an empty file", lambda f: f.update({"train/balloon/balloon_001.jpg": b""}), Place(image="train/balloon/balloon_001.jpg")),
    Plant("image-orphan", "in no class folder", lambda f: f.update(picture("train/loose.jpg")), Place(file="train/loose.jpg")),
    Plant("class-folder-hidden", "left by a notebook", lambda f: f.update(picture("train/.ipynb_checkpoints/tent_001-checkpoint.jpg")), Place(file="train/.ipynb_checkpoints")),
    Plant("class-folder-empty", "no image in it", lambda f: f.update({f"{split}/kite/.gitkeep": b"" for split in ("train", "val")}), Place(file="val/kite", class_name="kite", split="val")),
    Plant("class-unused", "a class without images", lambda f: None, Place(class_name="kite")),
    Plant("class-names-alike", "Balloons and balloon", lambda f: twice(f, "Bal_loon"), Place(file="train/Bal_loon", class_name="Bal_loon")),
    Plant("class-name-untidy", "two spaces in a row", lambda f: twice(f, "tall  lantern"), Place(file="train/tall  lantern")),
    Plant("class-name-placeholder", "a class without a name", lambda f: twice(f, "class_3"), Place(file="train/class_3")),
    Plant("name-case-collision", "one name on Windows", lambda f: f.update(picture("train/tent/Tent_001.jpg")), Place(image="train/tent/Tent_001.jpg")),
    Plant("name-unsafe", "a shell would run a part of it", lambda f: f.update(picture("train/tent/tent_$(id).jpg")), Place(image="train/tent/tent_$(id).jpg")),
    Plant("link-outside-dataset", "a link out of the dataset", lambda f: f.update({"train/tent/more": Link("../../../clean/train/tent")}), Place(file="train/tent/more")),
    Plant("junk-files", "left by a Mac", lambda f: f.update({"val/tent/._tent_005.jpg": b"\0\5\x16\7"}), Place(file="val/tent/._tent_005.jpg")),
    *picture_plants(add_picture, "train/tent/{}".format, size=(SIDE, SIDE), cast=("tent",)),
    Plant("class-folders-differ", "val has no folder crate", lambda f: drop(f, "val/crate/"), Place(file="val", class_name="crate", split="val"), alone=True),
    Plant("class-imbalance", "50 crates, 5 tents", _rebuilt({"balloon": 5, "tent": 5, "crate": 50}, dict.fromkeys(CLASSES, 2)), Place(class_name="tent", split="train"), alone=True),
    Plant("split-tiny", "12 images in val, 3 in train", _rebuilt(dict.fromkeys(CLASSES, 1), dict.fromkeys(CLASSES, 4)), Place(split="val"), alone=True),
    Plant("split-drift", "a third of train are tents, and a fifteenth of val", _rebuilt(dict.fromkeys(CLASSES, 8), {"balloon": 2, "tent": 2, "crate": 26}), Place(class_name="crate", split="val"), alone=True),
    Plant("no-validation-split", "only train", lambda f: drop(f, "val/"), Place(split="val"), alone=True),
    Plant("source-in-several-splits", "two versions of one source", partial(rename, renamed=VERSIONS), Place(image=f"train/balloon/{VERSIONS['balloon_001']}.jpg"), alone=True),
    Plant("sequence-in-several-splits", "frames dealt out to train and val", partial(rename, renamed=FRAMES), Place(image="val/balloon/yard_frame_0002.jpg"), alone=True),
    Plant("copies-of-one-source", "two versions of one source in train", partial(rename, renamed=COPIES), Place(image=f"train/balloon/{COPIES['balloon_001']}.jpg"), alone=True),
    Plant("name-in-several-splits", "one name in train and val", partial(rename, renamed={"balloon_001": "at the pond", "balloon_005": "at the pond"}), Place(image="train/balloon/at the pond.jpg"), alone=True),
)  # fmt: skip
