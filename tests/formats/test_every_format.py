"""What every format in the table is held to; a new one inherits all of it with its fixtures.

That each is written to and from each other, and reads back, is in `test_write.py`, over the same table.
"""

from __future__ import annotations

import dataclasses
import json
import os
import random
import shutil
import struct
import zlib
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from dataset_doctor import DoctorError, read, write
from dataset_doctor.audit import examine
from dataset_doctor.checks import find_check, select
from dataset_doctor.dataset import Dataset, Flag, Geometry
from dataset_doctor.errors import UsageError
from dataset_doctor.formats import FORMATS, find_format, unwritable
from tests.conftest import FIXTURES, ROOT
from tests.drawing import draw

BOXED = [name for name, form in FORMATS.items() if form.box is not None]
SCENES = sorted((ROOT / "tests" / "checks" / "scenes").glob("*.txt"))
SECRET = "top-secret-8261"


def boxes_of(dataset: Dataset) -> Counter[tuple[str, str, tuple[int, ...]]]:
    """Count boxes by image, class and corners in whole pixels."""
    table = dataset.annotations
    names = [Path(name).name for name in dataset.images.file_name[table.image].tolist()]
    classes = [dataset.class_names[row] for row in table.class_index.tolist()]
    corners = np.round(dataset.boxes).astype(int).tolist()
    return Counter((name, label, tuple(box)) for name, label, box in zip(names, classes, corners, strict=True))


# Reading ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", BOXED)
def test_the_fixture_says_the_same_in_every_format(name: str) -> None:
    """The same street scenes: images, splits, classes and boxes."""
    dataset, other = read(FIXTURES / name), read(FIXTURES / BOXED[0])

    assert (dataset.format, dataset.n_images, dataset.n_annotations) == (name, 40, 135)
    assert dict(zip(dataset.splits, dataset.images.in_split.sum(axis=0).tolist(), strict=True)) == {"train": 24, "val": 8, "test": 8}
    assert set(dataset.class_names) == set(other.class_names) and boxes_of(dataset) == boxes_of(other)
    assert not dataset.problems


@pytest.mark.parametrize("name", FORMATS)
def test_what_is_broken_in_the_fixture_is_found(name: str) -> None:
    """Every line of its list of defects is a finding that names the file; what needs a look into the images is left to their tests."""
    found = examine(read(FIXTURES / f"{name}-broken"), locations=None).to_dict()["findings"]
    places = {finding["name"]: json.dumps(finding["locations"]) for finding in found}

    for line in (FIXTURES / f"{name}-broken.defects.txt").read_text(encoding="utf-8").splitlines():
        check, place, _ = line.split("  ")
        if find_check(check).needs_pixels or check in ("split-leakage", "duplicate-label-conflict"):
            continue
        assert check in places, line
        assert Path(place.partition(":")[0]).stem in places[check] or check == "image-in-several-splits", line


@pytest.mark.parametrize("name", FORMATS)
def test_it_is_recognised_without_being_named(name: str, tmp_path: Path) -> None:
    """By its files, with the reason; also from the folder above, where nothing else lies."""
    dataset = read(FIXTURES / name)
    shutil.copytree(FIXTURES / name, tmp_path / "above" / "own")

    assert dataset.format == name and dataset.evidence
    assert read(tmp_path / "above").format == name


@pytest.mark.parametrize("name", FORMATS)
def test_the_record_and_the_dataset_agree(name: str) -> None:
    """A format of shares gives boxes in shares; one without boxes classifies; a place in a label file can be named."""
    form, dataset = FORMATS[name], read(FIXTURES / name)

    assert form.name == name and form.title and form.looks_for
    assert dataset.in_shares == (form.box == "shares")
    assert (dataset.task == "classify") == (form.box is None)
    assert form.box is None or form.pointer is not None or dataset.annotations.line.all()
    assert find_format(name) is form


# Damage -------------------------------------------------------------------------------------------------------------


def flipped(data: bytes) -> bytes:
    """Change a few bytes."""
    chance, changed = random.Random(zlib.crc32(data)), bytearray(data)
    for _ in range(min(len(changed), 12)):
        changed[chance.randrange(len(changed))] = chance.randrange(256)
    return bytes(changed)


DAMAGE: dict[str, Callable[[bytes], bytes]] = {
    "cut": lambda data: data[: len(data) // 2],
    "empty": lambda data: b"",
    "flipped": flipped,
    "twice": lambda data: data * 2,
    "null": lambda data: b"null",
    "nested": lambda data: b"[" * 200_000,
    "braces": lambda data: b'{"a":' * 200_000,
    "tags": lambda data: b"<a>" * 100_000,
    "utf-16": lambda data: data.decode("latin-1").encode("utf-16"),
    "zeros": lambda data: data + b"\0" * 1000,
    "numbers": lambda data: data.replace(b"1", b"9" * 400),
    "nan": lambda data: data.replace(b"1", b"NaN"),
    "escape": lambda data: data.replace(b"street", b"../../../../etc/street").replace(b"images/", b"/etc/"),
    "controls": lambda data: data.replace(b"car", b"\x1b[31mcar\xff"),
}


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("kind", DAMAGE)
def test_damaged_files_are_survived(name: str, kind: str, tmp_path: Path) -> None:
    """One file of each kind after another: an answer or a refusal in words, no image from outside, and what reads can be audited."""
    source = read(FIXTURES / f"{name}-broken")
    shutil.copytree(FIXTURES / f"{name}-broken", tmp_path / "data")
    files = [file for file in (*source.config_files, *source.sources) if (source.root / file).is_file()]
    for file in files[:2] + files[-2:]:
        path = tmp_path / "data" / file
        before = path.read_bytes()
        path.write_bytes(DAMAGE[kind](before))
        try:
            dataset = read(tmp_path / "data", name)
        except DoctorError:
            continue
        finally:
            path.write_bytes(before)
        assert not any(str(image).startswith(("/", "../")) for image in dataset.images.file_name.tolist() if image)
        examine(dataset)


@pytest.mark.parametrize("name", FORMATS)
def test_links_pipes_and_folders_in_place_of_labels(name: str, tmp_path: Path) -> None:
    """What lies outside is not read, a pipe does not block, and a folder is no label file."""
    source = read(FIXTURES / name)
    (tmp_path / "secret").write_text(SECRET, encoding="utf-8")
    for put in (lambda path: path.symlink_to(tmp_path / "secret"), os.mkfifo, Path.mkdir):
        shutil.rmtree(tmp_path / "data", ignore_errors=True)
        shutil.copytree(FIXTURES / name, tmp_path / "data")
        files = [file for file in (*source.config_files, *source.sources) if (source.root / file).is_file()]
        for file in files[:1] + files[-1:]:
            (tmp_path / "data" / file).unlink()
            put(tmp_path / "data" / file)
        try:
            told = json.dumps(examine(read(tmp_path / "data", name)).to_dict())
        except DoctorError as error:
            told = str(error)
        assert SECRET not in told


# Every check's scene that it can hold -------------------------------------------------------------------------------


def header_only(path: Path, width: int, height: int) -> None:
    """Write the header of a PNG, which is all that tells its size."""
    path.parent.mkdir(parents=True, exist_ok=True)
    head = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + head + struct.pack(">I", zlib.crc32(head)))


def counted(dataset: Dataset, code: str) -> int:
    """Give the count of a finding."""
    return sum(finding.count for finding in examine(dataset, checks=select([code])).findings)


@pytest.mark.parametrize("name", BOXED)
def test_scenes_survive_being_written(name: str, tmp_path: Path) -> None:
    """What a check says of a drawn dataset, said to be of this format, it says of the same dataset written and read back."""
    form, held = FORMATS[name], []
    other = next(one for one in BOXED if one != name)
    for path in SCENES:
        code = path.stem.partition("-")[0]
        drawn, _ = draw(path.read_text(encoding="utf-8"))
        table = drawn.annotations
        plain = (table.geometry == Geometry.BOX).all() and not table.has(Flag.KEYPOINTS | Flag.CROWD | Flag.IGNORE | Flag.SCORE).any()
        sizes, used = drawn.sizes, set(table.class_index.tolist())
        if not code.startswith(("DD10", "DD11", "DD201", "DD202", "DD205", "DD206")) or (
            form.names_in_records and len(used) < len(drawn.classes)
        ):
            continue  # of boxes and classes alone: a writer gives new ids, members, flags and names; no class without a record can be declared
        if drawn.task != "detect" or not plain or np.isnan(sizes).any() or not drawn.images.has_file.all() or form.counts_pixels:
            continue
        root = tmp_path / path.stem
        for image, (width, height) in zip(drawn.images.file_name.tolist(), sizes.astype(int).tolist(), strict=True):
            header_only(root / "data" / image, width, height)
        drawn = dataclasses.replace(drawn, root=root / "data", voc_origin=None, variant="", problems=())
        source = dataclasses.replace(drawn, format=other, in_shares=False)
        if len(unwritable(source, name)):
            continue
        try:
            write(source, root / "out", name)
        except UsageError:
            continue
        said = counted(dataclasses.replace(drawn, format=name, in_shares=form.box == "shares"), code)
        assert counted(read(root / "out", name), code) == said, path.stem
        held.append(path.stem)
    assert len(held) >= 12 or form.counts_pixels, held
