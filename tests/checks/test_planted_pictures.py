"""Bad pictures planted in datasets of ordinary photos, in each layout, and found by the command; and what the comparison of peers promises."""

from __future__ import annotations

import importlib.util
import io
import json
import struct
import sys
import zlib
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageFilter, ImageOps

from tests.command import run
from tests.conftest import ROOT

N_GOOD = 60
SIZE = (320, 240)
BOX = (40, 30, 120, 90)
"""The one object of each picture, in pixels: corner and size."""


def photo(seed: int, width: int = SIZE[0], height: int = SIZE[1]) -> Image.Image:
    """Draw a picture with as much at each scale as photographs have."""
    chance = np.random.default_rng(seed)
    picture = np.zeros((height, width, 3))
    cells = 4
    while cells < 2 * width:
        shape = (max(2, round(cells * height / width)), cells)
        shades = chance.normal(0, 1, (*shape, 1)) + 0.4 * chance.normal(0, 1, (*shape, 3))
        for channel in range(3):
            layer = Image.fromarray(shades[..., channel].astype(np.float32)).resize((width, height), Image.Resampling.BICUBIC)
            picture[..., channel] += np.asarray(layer) * (50 / (cells / 4) ** 0.5)
        cells *= 2
    return Image.fromarray(np.clip(picture + 125, 0, 255).astype(np.uint8))


def encoded(image: Image.Image, file_format: str = "JPEG", **options: Any) -> bytes:
    stream = io.BytesIO()
    image.save(stream, file_format, **({"quality": 92} if file_format == "JPEG" else {}) | options)
    return stream.getvalue()


def exif(**values: Any) -> Image.Exif:
    made = Image.Exif()
    if "orientation" in values:
        made[0x0112] = values["orientation"]
    if "gps" in values:
        made[0x8825] = {1: "N", 2: (59.0, 54.0, 0.0), 3: "E", 4: (10.0, 44.0, 0.0)}
    if "serial" in values:
        made.get_ifd(0x8769)[0xA431] = "4711"
    return made


def bomb() -> bytes:
    """Make a PNG whose header promises 60,000 × 60,000 pixels."""
    data = encoded(photo(900), "PNG")
    head = data[:16] + struct.pack(">II", 60_000, 60_000) + data[24:29]
    return head + struct.pack(">I", zlib.crc32(head[12:29])) + data[33:]


def deep(seed: int) -> bytes:
    return encoded(Image.fromarray((np.asarray(photo(seed).convert("L")).astype(np.uint16) << 8) + 7), "PNG")


def with_alpha(seed: int) -> bytes:
    image = photo(seed).convert("RGBA")
    image.putalpha(Image.linear_gradient("L").resize(image.size))
    return encoded(image, "PNG")


def half_zeros(data: bytes) -> bytes:
    return data[: len(data) // 2] + bytes(len(data) // 4) + data[len(data) - len(data) // 4 :]


def planted() -> dict[str, tuple[str, bytes]]:
    """Give for each file name the finding that it has to cause, and its bytes."""
    jpeg = encoded(photo(400))
    good = [encoded(photo(seed)) for seed in range(8)]
    return {
        "dark.jpg": ("image-dark", encoded(photo(401).point(lambda level: level // 6))),
        "bright.jpg": ("image-bright", encoded(photo(402).point(lambda level: 246 + level // 28))),
        "blank.jpg": ("image-low-information", encoded(Image.new("RGB", SIZE, (90, 120, 60)))),
        "blurred.jpg": ("image-blurry", encoded(photo(403).filter(ImageFilter.GaussianBlur(7)))),
        "banner.jpg": ("image-odd-aspect", encoded(photo(404, 640, 120))),
        "thumb.jpg": ("image-odd-size", encoded(photo(405, 80, 60))),
        "dot.png": ("image-too-small", encoded(photo(406, 9, 9), "PNG")),
        "misnamed.jpg": ("image-extension-wrong", encoded(photo(407), "PNG")),
        "webp.png": ("image-extension-wrong", encoded(photo(408), "WEBP")),
        "cut.jpg": ("image-truncated", jpeg[: len(jpeg) // 2]),
        "cut-png.png": ("image-truncated", encoded(photo(409), "PNG")[:9000]),
        "zeros.jpg": ("image-suspect", half_zeros(encoded(photo(410)))),
        "empty.jpg": ("image-unreadable", b""),
        "text.jpg": ("image-unreadable", b"<html><body>404 Not Found</body></html>"),
        "bomb.png": ("image-suspect", bomb()),
        "grey.jpg": ("image-grey-among-colour", encoded(photo(411).convert("L"))),
        "grey3.jpg": ("image-grey-among-colour", encoded(photo(412).convert("L").convert("RGB"))),
        "alpha.png": ("image-alpha", with_alpha(413)),
        "print.jpg": ("image-cmyk", encoded(photo(414).convert("CMYK"))),
        "deep.png": ("image-deep", deep(415)),
        "moving.webp": ("image-animated", encoded(photo(416), "WEBP", save_all=True, append_images=[photo(417)])),
        "palette.png": ("image-palette", encoded(photo(418).quantize(64), "PNG")),
        "place.jpg": ("image-metadata-private", encoded(photo(419), exif=exif(gps=True))),
        "serial.jpg": ("image-metadata-private", encoded(photo(420), exif=exif(serial=True))),
        "phone.jpg": ("image-exif-rotated", encoded(photo(421), exif=exif(orientation=6))),
        "copy.jpg": ("image-duplicate", good[0]),
        "copy-png.png": ("image-duplicate", encoded(Image.open(io.BytesIO(good[1])), "PNG")),
        "twin.bmp": ("image-duplicate", encoded(photo(422), "BMP")),
        "twin-png.png": ("image-duplicate", encoded(photo(422), "PNG")),
        "resized.jpg": ("image-near-duplicate", encoded(photo(2).resize((288, 216)))),
        "again.jpg": ("image-near-duplicate", encoded(photo(8), quality=50)),
        "lighter.jpg": ("image-near-duplicate", encoded(photo(4).point(lambda level: min(255, level + 14)))),
        "mirrored.jpg": ("image-near-duplicate", encoded(ImageOps.mirror(photo(5)))),
        "street_jpg.rf.0123456789abcdef0123456789abcdef.jpg": ("copies-of-one-source", encoded(photo(423))),
        "street_jpg.rf.fedcba9876543210fedcba9876543210.jpg": ("copies-of-one-source", encoded(photo(424))),
    }


CONFLICT = ("copy.jpg", "good-000.jpg")
"""Two files of one picture that get different labels."""


def good() -> dict[str, bytes]:
    return {f"good-{seed:03}.jpg": encoded(photo(seed)) for seed in range(N_GOOD)}


def class_of(name: str) -> int:
    """Give every third picture the second class, and the second copy of the conflict another one than the first."""
    return 1 if name == CONFLICT[0] or (name.startswith("good-") and name != CONFLICT[1] and int(name[5:8]) % 3 == 0) else 0


def size_of(data: bytes) -> tuple[int, int]:
    """Give the size as a labeller sees it who does not turn pictures; SIZE where there is none."""
    try:
        with Image.open(io.BytesIO(data)) as image:
            return image.size
    except Exception:  # Pillow raises anything
        return SIZE


def box_in(name: str, size: tuple[int, int]) -> tuple[int, int, int, int]:
    """Give the object's corner and size; on the picture that is stored turned, one that fits it only as it is stored."""
    width, height = size
    small = (width // 8, height // 8, max(1, width // 2), max(1, height // 2))
    return (180, 60, 120, 90) if name == "phone.jpg" else BOX if size == SIZE else small


def coco(root: Path, files: dict[str, bytes]) -> Callable[[str], str]:
    (root / "images").mkdir(parents=True)
    images, annotations = [], []
    for number, (name, data) in enumerate(files.items(), 1):
        (root / "images" / name).write_bytes(data)
        size = size_of(data)
        box = box_in(name, size)
        images.append({"id": number, "file_name": name, "width": size[0], "height": size[1]})
        area = {"bbox": list(box), "area": box[2] * box[3], "iscrowd": 0}
        annotations.append({"id": number, "image_id": number, "category_id": class_of(name) + 1, **area})
    categories = [{"id": 1, "name": "cat"}, {"id": 2, "name": "dog"}]
    document = {"images": images, "annotations": annotations, "categories": categories}
    (root / "annotations.json").write_text(json.dumps(document), encoding="utf-8")
    return lambda name: f"images/{name}"


def voc(root: Path, files: dict[str, bytes]) -> Callable[[str], str]:
    for folder in ("JPEGImages", "Annotations"):
        (root / folder).mkdir(parents=True)
    for name, data in files.items():
        (root / "JPEGImages" / name).write_bytes(data)
        width, height = size_of(data)
        x, y, w, h = box_in(name, (width, height))
        (root / f"Annotations/{name.rpartition('.')[0]}.xml").write_text(
            f"<annotation><folder>JPEGImages</folder><filename>{name}</filename>"
            f"<size><width>{width}</width><height>{height}</height><depth>3</depth></size>"
            f"<object><name>{('cat', 'dog')[class_of(name)]}</name><difficult>0</difficult><bndbox><xmin>{x + 1}</xmin><ymin>{y + 1}</ymin>"
            f"<xmax>{x + w}</xmax><ymax>{y + h}</ymax></bndbox></object></annotation>\n",
            encoding="utf-8",
        )
    return lambda name: f"JPEGImages/{name}"


def yolo(root: Path, files: dict[str, bytes]) -> Callable[[str], str]:
    for folder in ("images/train", "labels/train"):
        (root / folder).mkdir(parents=True)
    (root / "data.yaml").write_text("train: images/train\nnames: [cat, dog]\n", encoding="utf-8")
    for name, data in files.items():
        (root / "images/train" / name).write_bytes(data)
        width, height = size_of(data)
        x, y, w, h = box_in(name, (width, height))
        row = f"{class_of(name)} {(x + w / 2) / width:.6f} {(y + h / 2) / height:.6f} {w / width:.6f} {h / height:.6f}\n"
        (root / f"labels/train/{name.rpartition('.')[0]}.txt").write_text(row, encoding="utf-8")
    return lambda name: f"images/train/{name}"


def folder(root: Path, files: dict[str, bytes]) -> Callable[[str], str]:
    def place(name: str) -> str:
        return f"train/{('cat', 'dog')[class_of(name)]}/{name}"

    for name, data in files.items():
        (root / place(name)).parent.mkdir(parents=True, exist_ok=True)
        (root / place(name)).write_bytes(data)
    return place


LAYOUTS = {"coco": coco, "voc": voc, "yolo": yolo, "folder": folder}


def audited(root: Path, tmp_path: Path) -> dict[str, dict[str, Any]]:
    """Run the command; give what it found in pictures, by name."""
    done = run("audit", root, "--json", "--fail-on", "never", "--locations", "all", DATASET_DOCTOR_CACHE=str(tmp_path / "cache"))
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    return {finding["name"]: finding for finding in report["findings"]}


def of_pictures(found: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Keep what concerns the pictures themselves."""
    return {name: finding for name, finding in found.items() if finding["code"].startswith(("DD4", "DD5")) or name in OTHERS}


OTHERS = ("image-too-small", "image-unreadable")
"""Findings of pictures that need no look into them."""

TOO = {
    "image-low-information": {"bright.jpg"},
    "image-odd-size": {"dot.png", "bomb.png"},
    "image-grey-among-colour": {"deep.png"},
    "image-duplicate": {"good-000.jpg", "good-001.jpg"},
    "image-near-duplicate": {f"good-{seed:03}.jpg" for seed in (2, 4, 5, 8)},
    "duplicate-label-conflict": set(CONFLICT),
}
"""Files that a finding names beside those planted for it: the originals of copies, and what is odd in two ways."""


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.slow(but="folder")
def test_good_photos_cause_no_finding(tmp_path: Path, layout: str) -> None:
    """Sixty photos in each layout are left in peace."""
    LAYOUTS[layout](tmp_path / "data", good())
    assert of_pictures(audited(tmp_path / "data", tmp_path)) == {}


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.slow(but="yolo")
def test_bad_pictures_are_found_where_they_are(tmp_path: Path, layout: str) -> None:
    """Each of 35 planted files is named by its finding, and no good photo by any."""
    bad = planted()
    place = LAYOUTS[layout](tmp_path / "data", good() | {name: data for name, (_, data) in bad.items()})
    expected: dict[str, set[str]] = {name: set(files) for name, files in TOO.items()}
    for file, (name, _) in bad.items():
        expected.setdefault(name, set()).add(file)

    found = of_pictures(audited(tmp_path / "data", tmp_path))

    named = {name: {location["image"] or location["file"] for location in finding["locations"]} for name, finding in found.items()}
    assert named == {name: {place(file) for file in files} for name, files in expected.items()}
    # Only labels in pixels can tell that the box was drawn before turning.
    assert found["image-exif-rotated"]["severity"] == ("error" if layout in ("coco", "voc") else "info")
    assert found["duplicate-label-conflict"]["severity"] == "error"


# What the comparison with peers promises ----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def comparison() -> ModuleType:
    """The script that plants pictures for the comparison with CleanVision."""
    spec = importlib.util.spec_from_file_location("pictures_benchmark", ROOT / "benchmarks" / "pictures.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def large_photos() -> list[bytes]:
    """Photos without black or white parts, so that changes of brightness lose nothing."""
    return [encoded(photo(seed, 640, 480).point(lambda level: 30 + level * 7 // 10), quality=93) for seed in range(70)]


FAINT = {
    "dark": {"× 0.5"},
    "bright": {"distance to white × 0.3", "distance to white × 0.15", "distance to white × 0.08"},
    "blurry": {"Gaussian, 2 px of 640", "Gaussian, 4 px of 640", "dragged over 16 px", "dragged over 40 px"},
    "low information": {"contrast × 0.1", "two levels"},
    "odd aspect": {"640 × 256"},
    "grey": {"colour × 0.2"},
}
"""Strengths that need not be found."""


@pytest.mark.slow
def test_flaws_of_the_comparison_are_found(tmp_path: Path, comparison: ModuleType, large_photos: list[bytes]) -> None:
    """Of each kind and strength in the table of benchmarks/RESULTS.md that is not faint all are found, and no good photo is flagged."""
    for kind in comparison.KINDS:
        root = tmp_path / kind.name
        planted = comparison.plant(kind, iter(large_photos), root, clean=40, each=3)
        found = comparison.ours(root)
        named = {image for name in kind.ours for image in found.get(name, ())}
        for strength, names in planted.items():
            if strength not in FAINT.get(kind.name, ()):
                assert named.issuperset(names), (kind.name, strength)
        assert not [image for images in found.values() for image in images if "/good-" in image], kind.name
