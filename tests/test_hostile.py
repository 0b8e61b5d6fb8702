"""Hostile and broken datasets through the command: an answer in time and memory, no traceback, nothing run, made or let out."""

from __future__ import annotations

import json
import os
import re
import resource
import struct
import subprocess
import sys
import zlib
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from dataset_doctor import DoctorError, read
from dataset_doctor import write as write_dataset
from dataset_doctor.formats import read_picture, unalterable
from tests.command import run, run_alone
from tests.conftest import ROOT

ADDRESS_SPACE_BYTES = 2 << 30
SECONDS = 20
ESCAPES = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\u200b-\u200f]")
SECRET = "top-secret-8261"


def picture(path: Path, size: tuple[int, int] = (64, 48)) -> Path:
    """Save a small picture."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, (90, 120, 150)).save(path)
    return path


def write(path: Path, content: str | bytes) -> Path:
    """Write a file with its folders."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content.encode("utf-8", "surrogateescape") if isinstance(content, str) else content)
    return path


def coco(root: Path, **parts: object) -> None:
    """Write a COCO file around a picture; parts replace the usual lists."""
    picture(root / "images" / "a.jpg")
    whole = {
        "images": [{"id": 1, "file_name": "a.jpg", "width": 64, "height": 48}],
        "annotations": [{"id": 1, "image_id": 1, "category_id": 1, "bbox": [1, 1, 9, 9], "area": 81, "iscrowd": 0}],
        "categories": [{"id": 1, "name": "cat"}],
    }
    write(root / "annotations" / "instances_train.json", json.dumps({**whole, **parts}))


def yolo(root: Path, label: str | bytes = "0 .5 .5 .2 .2\n", names: str = "names: [cat]", more: str = "") -> None:
    """Write a YOLO dataset of one picture."""
    picture(root / "images" / "train" / "a.jpg")
    write(root / "labels" / "train" / "a.txt", label)
    write(root / "data.yaml", f"train: images/train\nval: images/train\n{names}\n{more}")


def voc(root: Path, xml: str | bytes) -> None:
    """Write a VOC dataset of two pictures, the second one sound."""
    for stem in ("a", "b"):
        picture(root / "JPEGImages" / f"{stem}.jpg")
    write(root / "Annotations" / "a.xml", xml)
    write(root / "Annotations" / "b.xml", voc_xml("cat"))


def voc_xml(name: str, doctype: str = "") -> str:
    """Write an annotation with one object."""
    box = "<bndbox><xmin>1</xmin><ymin>1</ymin><xmax>9</xmax><ymax>9</ymax></bndbox>"
    return (
        f"{doctype}<annotation><filename>b.jpg</filename><size><width>64</width><height>48</height><depth>3</depth></size>"
        f"<object><name>{name}</name>{box}</object></annotation>"
    )


def loop_of_links(root: Path) -> None:
    """A folder that links to itself and to its parent."""
    yolo(root)
    (root / "images" / "loop").symlink_to(root / "images")
    (root / "images" / "train" / "up").symlink_to("..")


def secret_behind_links(root: Path) -> None:
    """Labels and lists that lead to a file outside."""
    yolo(root)
    secret = write(root.parent / "secret.txt", f"{SECRET}\n")
    picture(root / "images" / "train" / "b.jpg")
    (root / "labels" / "train" / "b.txt").symlink_to(secret)
    write(root / "train.txt", f"../secret.txt\n{secret}\nimages/train/a.jpg\n")


def images_that_are_links_outside(root: Path) -> None:
    """Images that lead to files outside which are none: text, and text that begins as an image would."""
    yolo(root)
    for number, start in enumerate((b"", b"P2 ", b"P2 9 9 ", b"\x89PNG\r\n\x1a\n", b"II*\0", b"GIF89a")):
        secret = write(root.parent / f"secret{number}.txt", start + SECRET.encode() * 9)
        for suffix in ("jpg", "png"):
            (root / "images" / "train" / f"l{number}.{suffix}").symlink_to(secret)


def pipes_and_devices(root: Path) -> None:
    """A pipe where a picture and where a label should be, and a link to an endless device."""
    yolo(root)
    os.mkfifo(root / "images" / "train" / "b.jpg")
    os.mkfifo(root / "labels" / "train" / "c.txt")
    picture(root / "images" / "train" / "c.jpg")
    (root / "images" / "train" / "d.jpg").symlink_to("/dev/zero")


EVIL_NAME = "\x1b[31mred\x1b[0m [bold]x[/] <img src=x onerror=alert(1)> =HYPERLINK(1) \u202eabc \x07"

CASES: dict[str, Callable[[Path], None]] = {
    "json nested a million deep": lambda r: coco(r, info=None) or write(r / "annotations" / "instances_val.json", '{"images":' + "[" * 10**6),
    "json objects nested deep": lambda r: write(r / "x.json", '{"images":[],"annotations":[' + '{"a":' * 200_000) and coco(r),
    "json of open braces": lambda r: coco(r) or write(r / "annotations" / "instances_val.json", '{"annotations":[' + '{"' * 500_000),
    "json nan and infinity": lambda r: coco(r, annotations=[{"id": 1, "image_id": 1, "category_id": 1, "bbox": [float("nan"), 1, float("inf"), 2]}]),
    "json integer of 5000 digits": lambda r: write(
        coco(r) or r / "annotations" / "instances_train.json",
        '{"images":[{"id":1,"file_name":"a.jpg"}],"categories":[],"annotations":[{"id":' + "9" * 5000 + ',"image_id":1,"category_id":1}]}',
    ),
    "json beyond int64": lambda r: coco(r, images=[{"id": 2**70, "file_name": "a.jpg", "width": 2**40, "height": -1}]),
    "json wrong types everywhere": lambda r: coco(r, images=[None, 3, "x", [], {"id": {}, "file_name": []}], annotations=[7, {"image_id": []}]),
    "json lists are objects": lambda r: coco(r, images={"1": {}}, annotations={"a": 1}, categories="cat"),
    "json paths outside": lambda r: coco(r, images=[{"id": 1, "file_name": "../../../../etc/passwd"}, {"id": 2, "file_name": "/etc/passwd"}]),
    "json evil names": lambda r: coco(r, categories=[{"id": 1, "name": EVIL_NAME}]),
    "json lone surrogates": lambda r: write(
        coco(r) or r / "annotations" / "instances_train.json",
        '{"images":[{"id":1,"file_name":"a.jpg"}],"categories":[{"id":1,"name":"\\ud800"}],"annotations":[]}',
    ),
    "json ten thousand classes": lambda r: coco(r, categories=[{"id": i, "name": f"c{i}" * 30} for i in range(10_000)]),
    "json cut off": lambda r: write(coco(r) or r / "annotations" / "instances_train.json", '{"images":[{"id":1,"file_name":"a.jpg"}],"annotations":[{"id":1,"ima'),
    "json utf-16": lambda r: write(coco(r) or r / "annotations" / "instances_train.json", (r / "annotations" / "instances_train.json").read_text().encode("utf-16")),
    "json binary": lambda r: write(coco(r) or r / "annotations" / "instances_train.json", b'{"images":[' + bytes(range(256)) * 4000),
    "rle and polygons of doom": lambda r: coco(
        r,
        annotations=[
            {"id": 1, "image_id": 1, "category_id": 1, "bbox": [1, 1, 2, 2], "segmentation": {"size": [0, 0], "counts": "~~~~"}},
            {"id": 2, "image_id": 1, "category_id": 1, "bbox": [1, 1, 2, 2], "segmentation": [[1e300, -1e300, 1e8, 1e8, 0, 0]]},
            {"id": 3, "image_id": 1, "category_id": 1, "bbox": [1, 1, 2, 2], "segmentation": {"size": [10**9, 10**9], "counts": [10**18]}},
        ],
    ),
    "xml entity bomb": lambda r: voc(r, voc_xml("&d;", '<!DOCTYPE x [<!ENTITY a "' + "A" * 1000 + '"><!ENTITY d "' + "&a;" * 1000 + '">]>')),
    "xml external entity": lambda r: write(r.parent / "secret.txt", SECRET) and voc(r, voc_xml("&d;", f'<!DOCTYPE x [<!ENTITY d SYSTEM "file://{r.parent}/secret.txt">]>')),
    "xml nested deep": lambda r: voc(r, "<annotation>" + "<a>" * 200_000),
    "xml hundred thousand objects": lambda r: voc(r, "<annotation>" + "<object><name>x</name></object>" * 100_001 + "</annotation>"),
    "xml evil names": lambda r: voc(r, voc_xml("&#x9b;31m&lt;script&gt;alert(1)&lt;/script&gt; [red]x[/red] @{x}")),
    "xml paths outside": lambda r: voc(r, voc_xml("cat").replace("b.jpg", "../../../etc/passwd")),
    "xml in a foreign encoding": lambda r: voc(r, b'<?xml version="1.0" encoding="gbk"?>' + voc_xml("猫").encode("gbk")),
    "yaml that runs code": lambda r: yolo(r, names="names: !!python/object/apply:os.system ['touch pwned']"),
    "yaml download script": lambda r: yolo(r, more="download: |\n  import os; os.system('touch pwned')\n"),
    "yaml alias bomb": lambda r: yolo(r, names="a: &a [x,x,x,x,x,x,x,x,x]\nb: &b [*a,*a,*a,*a,*a,*a,*a,*a,*a]\nnames: [*b,*b,*b,*b,*b,*b,*b,*b]"),
    "yaml nested deep": lambda r: yolo(r, names="names: " + "[" * 100_000),
    "yaml paths outside": lambda r: yolo(r, more="path: /etc\n"),
    "yaml evil names": lambda r: yolo(r, names=f"names: [{json.dumps(EVIL_NAME)}]"),
    "txt line of a megabyte": lambda r: yolo(r, "0 " + "0.5 " * 250_000),
    "txt a hundred thousand bad lines": lambda r: yolo(r, "x y z\n" * 100_000),
    "txt nul bytes and nan": lambda r: yolo(r, b"0 nan inf 1e999 0.5\n\x00\x00\x00\n0 .5 .5 .2 .2\n"),
    "txt huge numbers": lambda r: yolo(r, "99999999999999999999999 1e308 -1e308 1e308 1e308\n"),
    "txt evil line": lambda r: yolo(r, f"{EVIL_NAME}\n"),
    "txt one token of a million digits": lambda r: yolo(r, "0 .5 .5 .2 " + "9" * 10**6 + "-\n0 .5 .5 .2 " + "9" * 10**6 + "\n"),
    "txt list with a line of ten megabytes": lambda r: yolo(r, more="test: test.txt\n") or write(r / "test.txt", ("../" * 3 + "a/" * 3) * 10**6 + "b.jpg\n"),
    "json with spaces between everything": lambda r: write(
        coco(r) or r / "annotations" / "instances_train.json",
        (" " * 10**5).join(['{"images"', ":", "[", '{"id":1,"file_name":"a.jpg"}', ",", "]", ",", '"categories"', ":[]", ",", '"annotations":[', "]x", "}"]),
    ),
    "loop of links": loop_of_links,
    "secret behind links": secret_behind_links,
    "images that are links outside": images_that_are_links_outside,
    "pipes and devices": pipes_and_devices,
    "names of no encoding": lambda r: yolo(r) or write(r / "images" / "train" / os.fsdecode(b"\xff\xfe.jpg"), b"x"),
    "names with escapes": lambda r: yolo(r) or picture(r / "images" / "train" / "\x1b[31m\n.jpg"),
    "folders sixty deep": lambda r: yolo(r) or write(r / "/".join("d" * 60) / "x.jpg", b"x"),
    "empty picture": lambda r: yolo(r) or write(r / "images" / "train" / "b.jpg", b""),
    "picture that says it is huge": lambda r: yolo(r) or write(r / "images" / "train" / "b.png", b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\x7f\xff\xff\xff\x7f\xff\xff\xff\x08\x06\0\0\0"),
    "class folders with evil names": lambda r: picture(r / "=cmd|calc" / "a.jpg") and picture(r / "[red]x<b>" / "b.jpg") and picture(r / "\x1b[2J" / "c.jpg"),
}  # fmt: skip


def limited() -> None:
    """Hold the process to the memory it may use."""
    resource.setrlimit(resource.RLIMIT_AS, (ADDRESS_SPACE_BYTES, ADDRESS_SPACE_BYTES))


WAYS = {
    "here": partial(run, timeout=SECONDS),
    "limited": partial(run_alone, timeout=SECONDS, preexec_fn=limited, PYTHONPATH=str(ROOT), OPENBLAS_NUM_THREADS="1"),
}
"""Run the command in time, and in memory too."""


def listing(folder: Path) -> dict[str, tuple[int, int]]:
    """Everything below a folder, with size and time of change."""
    found = {}
    for path, folders, files in os.walk(folder):
        for name in [*folders, *files]:
            status = os.lstat(os.path.join(path, name))
            found[os.path.join(path, name)] = (status.st_size, status.st_mtime_ns)
    return found


@pytest.mark.parametrize("way", ["here", pytest.param("limited", marks=pytest.mark.slow)])
@pytest.mark.parametrize("name", CASES)
def test_hostile_dataset_is_survived(name: str, way: str, tmp_path: Path) -> None:
    """A clear exit code in time and memory; nothing made, changed, run, leaked or sent raw to the terminal."""
    root = tmp_path / "data"
    root.mkdir()
    CASES[name](root)
    before = listing(tmp_path)

    reports = [tmp_path / f"report.{end}" for end in ("html", "md", "csv", "sarif")]
    shown, machine = (
        WAYS[way]("audit", root, *options, cwd=tmp_path)
        for options in ((), ("--json", *(word for report in reports for word in ("-o", report))))
    )
    saved = "".join(report.read_text("utf-8") for report in reports if report.exists())
    for report in reports:
        report.unlink(missing_ok=True)

    assert shown.returncode in (0, 1, 2), shown.stderr
    assert machine.returncode == shown.returncode
    assert "internal error" not in shown.stderr + machine.stderr
    assert "Traceback" not in shown.stderr + machine.stderr
    assert not ESCAPES.search(shown.stdout + shown.stderr + machine.stdout)
    assert SECRET[:6] not in shown.stdout + shown.stderr + machine.stdout + saved
    assert "root:x:" not in shown.stdout + machine.stdout + saved
    assert listing(tmp_path) == before
    if machine.returncode != 2:
        report = json.loads(machine.stdout)
        assert report["summary"]["images"] >= 1
    else:
        assert machine.stdout == ""
        assert len(machine.stderr.splitlines()) <= 14


@pytest.mark.parametrize("name", ["xml external entity", "xml entity bomb", "txt nul bytes and nan", "json cut off", "yaml that runs code"])
def test_what_is_wrong_is_said_with_its_place(name: str, tmp_path: Path) -> None:
    """A broken file is a finding with the file, not an exit."""
    root = tmp_path / "data"
    root.mkdir()
    CASES[name](root)

    report = json.loads(run("audit", root, "--json").stdout)

    assert any(f["severity"] == "error" and f["locations"][0]["file"] for f in report["findings"])


@pytest.mark.slow
def test_modules_in_the_current_folder_are_not_imported(tmp_path: Path) -> None:
    """Started inside a dataset, `python -m` and the processes it starts take no module from there."""
    yolo(tmp_path)
    for number in range(40):  # enough for worker processes
        picture(tmp_path / "images" / "train" / f"{number}.jpg")
    loud = f"open({str(tmp_path / 'imported')!r}, 'a').write(__name__ + ' ')\n"
    for name in (
        "msgspec.py",
        "numpy/__init__.py",
        "json.py",
        "typing.py",
        "typer.py",
        "pickle.py",
        "cv2.py",
        "dask.py",
        "multiprocessing/__init__.py",
    ):
        write(tmp_path / name, loud)

    done = subprocess.run(
        [sys.executable, "-m", "dataset_doctor", "audit", ".", "--json"],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )

    assert not (tmp_path / "imported").exists(), (tmp_path / "imported").read_text()
    assert done.returncode in (0, 1), done.stderr
    assert json.loads(done.stdout)["summary"]["images"] == 41


def test_a_small_file_that_holds_a_huge_picture_is_not_decoded(tmp_path: Path) -> None:
    """300 megapixels: nothing is made of it, and nothing is taken from it."""
    size = (20_000, 15_000)
    yolo(tmp_path)
    write(tmp_path / "images" / "train" / "b.png", bomb(*size))
    write(tmp_path / "labels" / "train" / "b.txt", "0 .5 .5 .2 .2\n")
    dataset = read(tmp_path)
    row = dataset.images.file_name.tolist().index("images/train/b.png")

    assert (dataset.images.file_width[row], dataset.images.file_height[row]) == size
    assert unalterable(dataset, np.array([row])) == {row: "has more than 200 megapixels"}
    with pytest.raises(DoctorError, match="can no longer be decoded"):
        read_picture(tmp_path, "images/train/b.png")


def bomb(width: int, height: int) -> bytes:
    """Make a PNG of one colour."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    packer = zlib.compressobj(1)
    pixels = packer.compress(bytes((1 + 3 * width) * 10)) + packer.flush()  # some rows suffice
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")


def test_no_private_file_is_copied_through_a_link(tmp_path: Path) -> None:
    """An image that is a link to another image outside is copied; one that leads to any other file stops the writing."""
    yolo(tmp_path / "in")
    photo = picture(tmp_path / "photo.jpg")
    (tmp_path / "in/images/train/b.jpg").symlink_to(photo)
    convert(tmp_path / "in", tmp_path / "out")
    assert (tmp_path / "out/images/train/b.jpg").read_bytes() == photo.read_bytes()

    (tmp_path / "in/images/train/c.jpg").symlink_to(write(tmp_path / "secret.txt", SECRET))
    with pytest.raises(DoctorError, match=r"c\.jpg could not be copied: a link to a file outside the dataset that is no image"):
        convert(tmp_path / "in", tmp_path / "second")
    assert not (tmp_path / "second").exists()


def convert(root: Path, out: Path) -> None:
    """Write a dataset as it is."""
    write_dataset(read(root), out)
