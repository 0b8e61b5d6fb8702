"""The checks of pictures on real files: what is planted is found, in full, and good pictures are left in peace."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageFilter, ImageOps

from dataset_doctor.audit import examine
from dataset_doctor.checks import select
from dataset_doctor.dataset import Dataset
from dataset_doctor.findings import Check, Facts, Finding, Severity
from dataset_doctor.formats import read
from dataset_doctor.pixels import Duplicates
from dataset_doctor.scan import look
from tests.conftest import FIXTURES
from tests.drawing import draw, drawn_pixels

PICTURES = select(["DD4", "DD5", "split-leakage"])


def photo(seed: int, width: int = 160, height: int = 120) -> Image.Image:
    """Draw a picture with large shapes and fine detail, different for each seed."""
    rng = np.random.default_rng(seed)
    layers = [(3, 110), (9, 60), (30, 40), (90, 25)]
    total = np.full((height, width, 3), 128.0)
    for cells, strength in layers:
        noise = Image.fromarray(rng.integers(0, 256, (cells, cells, 3)).astype(np.uint8)).resize((width, height), Image.Resampling.BICUBIC)
        total += (np.asarray(noise, float) - 128) / 128 * strength
    return Image.fromarray(np.clip(total, 0, 255).astype(np.uint8))


def findings(root: Path, cache: Path) -> dict[str, Finding]:
    """Audit the pictures of a dataset; give the findings by name."""
    dataset = read(root)
    pixels, duplicates = look(dataset, workers=1, cache=cache)
    report = examine(dataset, checks=PICTURES, locations=None, pixels=pixels, duplicates=duplicates)
    assert report.not_run == ()
    return {finding.name: finding for finding in report.findings}


def images_of(finding: Finding) -> list[str]:
    return [str(place.image) for place in finding.locations]


def folder_dataset(root: Path, files: dict[str, Image.Image | bytes]) -> Path:
    """Write an image folder dataset."""
    for name, content in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(content, bytes):
            path.write_bytes(content)
        else:
            content.save(path, quality=92)
    return root


def test_every_planted_duplicate_and_leak_is_found(tmp_path: Path) -> None:
    """40 groups of identical files, 24 of them in train and test, are reported as such, with all their files, among 30 other pictures."""
    files: dict[str, Image.Image | bytes] = {}
    originals: dict[str, str] = {}
    for i in range(70):
        files[f"train/dog/{i:03d}.jpg"] = photo(i, 96, 72)
    root = folder_dataset(tmp_path / "data", files)
    for i in range(40):
        original = root / f"train/dog/{i:03d}.jpg"
        copy = root / (f"test/dog/copy_{i:03d}.jpg" if i < 24 else f"train/dog/copy_{i:03d}.jpg")
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_bytes(original.read_bytes())
        originals[copy.relative_to(root).as_posix()] = original.relative_to(root).as_posix()

    found = findings(root, tmp_path / "cache")

    assert set(found) == {"image-duplicate", "split-leakage"}
    assert found["image-duplicate"].count == 40
    assert set(images_of(found["image-duplicate"])) == {*originals, *originals.values()}
    assert found["split-leakage"].count == 24
    assert set(images_of(found["split-leakage"])) == {name for pair in originals.items() if "test/" in pair[0] for name in pair}
    by_image = {place.image: place.detail for place in found["split-leakage"].locations}
    assert by_image["test/dog/copy_003.jpg"] == "same image, or nearly, as train/dog/003.jpg"


def test_identical_pictures_under_two_labels_conflict(tmp_path: Path) -> None:
    """One picture in two class folders is an error, once as the same file and once as a PNG and a BMP of the same pixels."""
    same = folder_dataset(tmp_path / "data", {f"train/{name}/{i}.jpg": photo(i) for i in range(4) for name in ("cat",)})
    (same / "train/dog").mkdir()
    (same / "train/dog/a.jpg").write_bytes((same / "train/cat/1.jpg").read_bytes())
    photo(9).save(same / "train/cat/b.png")
    photo(9).save(same / "train/dog/c.bmp")

    found = findings(same, tmp_path / "cache")

    assert found["image-duplicate"].count == 2
    assert found["duplicate-label-conflict"].count == 2
    assert found["duplicate-label-conflict"].severity.value == "error"
    assert images_of(found["duplicate-label-conflict"]) == ["train/cat/1.jpg", "train/cat/b.png", "train/dog/a.jpg", "train/dog/c.bmp"]


def test_changed_copies_in_another_split_leak(tmp_path: Path) -> None:
    """Copies that were compressed, resized, brightened or mirrored are near duplicates and leaks; other pictures are neither."""
    files: dict[str, Image.Image | bytes] = {f"train/dog/{i:02d}.jpg": photo(i, 320, 240) for i in range(12)}
    files["test/dog/resized.jpg"] = photo(0, 320, 240).resize((160, 120))
    files["test/dog/mirrored.jpg"] = ImageOps.mirror(photo(1, 320, 240))
    files["test/dog/bright.jpg"] = photo(2, 320, 240).point(lambda level: min(255, level + 15))
    files["test/dog/grey.jpg"] = photo(3, 320, 240).convert("L")
    files["train/dog/again.webp"] = photo(4, 320, 240)
    files["test/dog/other.jpg"] = photo(99, 320, 240)

    found = findings(folder_dataset(tmp_path / "data", files), tmp_path / "cache")

    assert found["split-leakage"].count == 4
    assert found["image-near-duplicate"].count == 5
    assert "1 pair is mirrored" in found["image-near-duplicate"].message
    leaked = {f"test/dog/{name}.jpg" for name in ("resized", "mirrored", "bright", "grey")} | {f"train/dog/0{i}.jpg" for i in range(4)}
    assert set(images_of(found["split-leakage"])) == leaked
    assert set(images_of(found["image-near-duplicate"])) == leaked | {"train/dog/04.jpg", "train/dog/again.webp"}


def test_turned_copies_are_named_with_their_turn(tmp_path: Path) -> None:
    """Each place says how its picture is turned against the one it goes with, clockwise; the message counts turned and mirrored pairs."""
    files: dict[str, Image.Image | bytes] = {f"train/dog/{i:02d}.jpg": photo(i, 320, 240) for i in range(12)}
    files["train/dog/x90.jpg"] = photo(0, 320, 240).transpose(Image.Transpose.ROTATE_270)
    files["train/dog/x180.jpg"] = photo(1, 320, 240).transpose(Image.Transpose.ROTATE_180)
    files["train/dog/x270.jpg"] = photo(2, 320, 240).transpose(Image.Transpose.ROTATE_90)
    files["train/dog/xboth.jpg"] = ImageOps.mirror(photo(3, 320, 240)).transpose(Image.Transpose.ROTATE_270)
    files["train/dog/xflip.jpg"] = ImageOps.flip(photo(4, 320, 240))
    files["train/dog/xmirror.jpg"] = ImageOps.mirror(photo(5, 320, 240))
    files["train/dog/xsame.jpg"] = photo(6, 320, 240).resize((160, 120))

    found = findings(folder_dataset(tmp_path / "data", files), tmp_path / "cache")["image-near-duplicate"]

    assert found.message == "7 groups of nearly identical images (14 files); 1 pair is mirrored; 5 pairs are turned"
    assert {place.image.removeprefix("train/dog/"): place.detail.replace("train/dog/", "") for place in found.locations} == {
        "00.jpg": "nearly identical to x90.jpg, turned by 270°",
        "01.jpg": "nearly identical to x180.jpg, turned by 180°",
        "02.jpg": "nearly identical to x270.jpg, turned by 90°",
        "03.jpg": "nearly identical to xboth.jpg, mirrored and turned by 90°",
        "04.jpg": "nearly identical to xflip.jpg, mirrored and turned by 180°",
        "05.jpg": "nearly identical to xmirror.jpg, mirrored",
        "06.jpg": "nearly identical to xsame.jpg",
        "x90.jpg": "nearly identical to 00.jpg, turned by 90°",
        "x180.jpg": "nearly identical to 01.jpg, turned by 180°",
        "x270.jpg": "nearly identical to 02.jpg, turned by 270°",
        "xboth.jpg": "nearly identical to 03.jpg, mirrored and turned by 90°",
        "xflip.jpg": "nearly identical to 04.jpg, mirrored and turned by 180°",
        "xmirror.jpg": "nearly identical to 05.jpg, mirrored",
        "xsame.jpg": "nearly identical to 06.jpg",
    }


@pytest.mark.parametrize("n", [1, 4, 12, 30])
def test_good_pictures_are_left_in_peace(tmp_path: Path, n: int) -> None:
    """Varied pictures of several sizes, few or some, give no finding at all."""
    sizes = [(160, 120), (120, 160), (320, 240), (200, 200)]
    files: dict[str, Image.Image | bytes] = {f"train/dog/{i:02d}.jpg": photo(i, *sizes[i % 4]) for i in range(n)}

    assert findings(folder_dataset(tmp_path / "data", files), tmp_path / "cache") == {}


def test_each_planted_flaw_is_found_where_it_is(tmp_path: Path) -> None:
    """Dark, bright, empty, blurred, long, tiny, grey, cut off, damaged and misnamed pictures are told apart among 40 good ones."""
    files: dict[str, Image.Image | bytes] = {f"train/dog/{i:02d}.jpg": photo(i, 320, 240) for i in range(40)}
    root = folder_dataset(tmp_path / "data", files)
    base = root / "train/dog"
    photo(50, 320, 240).point(lambda level: level // 5).save(base / "dark.jpg")
    photo(51, 320, 240).point(lambda level: 248 + level // 37).save(base / "bright.jpg")
    Image.new("RGB", (320, 240), (90, 120, 60)).save(base / "empty.jpg")
    photo(52, 320, 240).filter(ImageFilter.GaussianBlur(9)).save(base / "blurred.jpg")
    long = Image.new("RGB", (960, 240))
    for i in range(3):
        long.paste(photo(60 + i, 320, 240), (320 * i, 0))
    long.crop((0, 0, 960, 120)).save(base / "long.jpg")
    photo(54, 32, 24).save(base / "small.jpg", quality=95)
    photo(55, 320, 240).convert("L").save(base / "grey.jpg")
    photo(56, 320, 240).convert("CMYK").save(base / "print.jpg")
    photo(57, 320, 240).save(base / "misnamed.jpg", format="PNG")
    whole = (base / "00.jpg").read_bytes()
    (base / "cut.jpg").write_bytes(whole[: len(whole) // 2])

    found = {name: images_of(finding) for name, finding in findings(root, tmp_path / "cache").items()}

    def in_dog(*names: str) -> list[str]:
        return [f"train/dog/{name}.jpg" for name in names]

    assert found == {
        "image-low-information": in_dog("bright", "empty"),
        "image-dark": in_dog("dark"),
        "image-bright": in_dog("bright"),
        "image-blurry": in_dog("blurred"),
        "image-odd-aspect": in_dog("long"),
        "image-odd-size": in_dog("small"),
        "image-grey-among-colour": in_dog("grey"),
        "image-cmyk": in_dog("print"),
        "image-extension-wrong": in_dog("misnamed"),
        "image-truncated": in_dog("cut"),
    }


def test_kinds_of_files_are_told(tmp_path: Path) -> None:
    """Transparency, palettes, 16 bits, animations and private metadata are reported for the files that have them."""
    root = folder_dataset(tmp_path / "data", {"train/dog/plain.jpg": photo(0)})
    base = root / "train/dog"
    transparent = photo(1).convert("RGBA")
    transparent.putalpha(Image.linear_gradient("L").resize(transparent.size))
    transparent.save(base / "alpha.png")
    photo(2).quantize(64).save(base / "palette.png")
    deep = (np.asarray(photo(3).convert("L")).astype(np.uint16) << 8) + 7
    Image.fromarray(deep).save(base / "deep.png")
    photo(4).save(base / "animated.webp", save_all=True, append_images=[photo(5)])
    exif = Image.Exif()
    exif[0x8825] = {1: "N", 2: (59.0, 54.0, 0.0), 3: "E", 4: (10.0, 44.0, 0.0)}
    photo(6).save(base / "place.jpg", exif=exif)

    found = {name: images_of(finding) for name, finding in findings(root, tmp_path / "cache").items()}

    assert found == {
        "image-alpha": ["train/dog/alpha.png"],
        "image-palette": ["train/dog/palette.png"],
        "image-deep": ["train/dog/deep.png"],
        "image-animated": ["train/dog/animated.webp"],
        "image-metadata-private": ["train/dog/place.jpg"],
    }


def turned_coco(root: Path, width: int, height: int, box: list[int]) -> Path:
    """Write a COCO dataset of one picture, 200 × 100 as stored, which EXIF says to turn upright (100 × 200)."""
    (root / "images").mkdir(parents=True)
    exif = Image.Exif()
    exif[0x0112] = 6
    photo(0, 200, 100).save(root / "images/a.jpg", exif=exif)
    document = {
        "images": [{"id": 1, "file_name": "a.jpg", "width": width, "height": height}],
        "annotations": [{"id": 1, "image_id": 1, "category_id": 1, "bbox": box, "area": box[2] * box[3], "iscrowd": 0}],
        "categories": [{"id": 1, "name": "dog"}],
    }
    (root / "annotations.json").write_text(json.dumps(document), encoding="utf-8")
    return root


@pytest.mark.parametrize(
    ("declared", "box", "severity"),
    [
        ((200, 100), [120, 20, 60, 60], "error"),  # fits 200 × 100 only
        ((200, 100), [20, 20, 60, 60], "warning"),
        ((200, 100), [120, 120, 60, 60], "warning"),  # fits neither
        ((100, 200), [20, 120, 60, 60], "info"),
    ],
)
def test_turned_pictures_are_judged_by_their_boxes(tmp_path: Path, declared: tuple[int, int], box: list[int], severity: str) -> None:
    """Boxes that fit only the picture before it is turned are an error; the size alone a warning; else it is worth knowing."""
    found = findings(turned_coco(tmp_path / "data", *declared, box), tmp_path / "cache")

    assert [(finding.name, finding.severity.value) for finding in found.values()] == [("image-exif-rotated", severity)]


@pytest.mark.parametrize(("dark", "severity"), [(3, "warning"), (15, "warning"), (30, "info")])
def test_what_most_pictures_are_like_is_only_said(dark: int, severity: str) -> None:
    """Dark pictures are a warning up to a quarter of the dataset; beyond that the dataset is dark."""
    text = f"classes: dog\na.jpg 9x9 x{60 - dark}\nb.jpg 9x9 value_p99=0.1 x{dark}"

    (finding,) = examine(draw(text)[0], checks=select(["image-dark"]), pixels=drawn_pixels(text)).findings

    assert (finding.count, finding.severity.value) == (dark, severity)


def test_checks_of_pixels_are_left_out_without_a_scan() -> None:
    """Who leaves the pixels out gets no finding of them, and no list of checks that could not run; they are not even called."""

    def never(dataset: Dataset, facts: Facts) -> None:
        raise AssertionError("called without pixels")

    called = Check("DD999", "never", Severity.ERROR, "none", never, needs_pixels=True)
    report = examine(draw("classes: dog\na.jpg 9x9 content_hash=a\nb.jpg 9x9 content_hash=a")[0], checks=[*PICTURES, called])

    assert report.findings == ()
    assert report.not_run == ()


@pytest.mark.parametrize("name", ["coco", "voc", "yolo", "folder"])
def test_the_good_fixtures_have_no_findings(tmp_path: Path, name: str) -> None:
    """The drawn pictures are different from each other and unremarkable."""
    assert findings(FIXTURES / name, tmp_path / "cache") == {}


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("amenity_coco", {}),
        ("aquarium_yolo", {"image-near-duplicate": 1, "split-leakage": 1}),  # IMG_8460 and 8461, one of them mirrored, seen by eye
        ("bccd_voc", {"image-near-duplicate": 3, "split-leakage": 2}),  # BloodImage_00037 and 00038, 382 and 395, 386 and 391, seen by eye
    ],
)
def test_public_datasets_give_what_is_in_them(shared_data: Path, tmp_path: Path, name: str, expected: dict[str, int]) -> None:
    """Groups of identical files and pixels are those counted independently, and nothing else is reported without a reason."""
    truth = json.loads((shared_data / "truth" / f"{name}.json").read_text(encoding="utf-8"))["images"]
    groups = {frozenset(group) for kind in ("sha1_dups", "pixel_dups") for group in truth[kind]["groups"]}

    found = findings(shared_data / name, tmp_path / "cache")

    assert (found["image-duplicate"].count if "image-duplicate" in found else 0) == len(groups)
    assert {name: finding.count for name, finding in found.items()} == expected


def test_leakage_is_an_error_only_where_a_pair_leaves_no_doubt() -> None:
    """Likely pairs alone are a warning; beside certain ones they are counted in the message, and listed as near-duplicates."""
    text = "classes: dog\na.jpg 100x80 train\nb.jpg 100x80 val\nc.jpg 100x80 train\nd.jpg 100x80 test"
    none, near = np.full(4, -1, np.int32), np.array([0, 0, 1, 1], np.int32)

    def leakage(certain: NDArray[np.int32]) -> Finding:
        pairs, zero = np.array([[0, 1], [2, 3]], np.int32), np.zeros(2, np.uint8)
        same = Duplicates(none, near, pairs, zero, zero + 1, certain[pairs[:, 0]] >= 0, certain)
        report = examine(draw(text)[0], checks=select(["split-leakage"]), pixels=drawn_pixels(text), duplicates=same)
        return report.findings[0]

    likely, one = leakage(none), leakage(np.array([0, 0, -1, -1], np.int32))
    assert (likely.count, likely.severity) == (2, Severity.WARNING) and "likely to be from one shot" in likely.message
    assert (one.count, one.severity) == (1, Severity.ERROR) and one.message.endswith("a.jpg and b.jpg; 1 more is likely")


def test_one_shot_in_two_classes_is_a_label_conflict(tmp_path: Path) -> None:
    """A cropped, brighter copy in another class folder is named with its partner; both come with the labels to show."""
    original = photo(3, 320, 240)
    copy = original.crop((8, 6, 312, 236)).point(lambda level: min(255, round(level * 1.1)))
    root = folder_dataset(
        tmp_path / "set", {"cat/a.jpg": original, "dog/b.jpg": copy, "cat/c.jpg": photo(4, 320, 240), "dog/d.jpg": photo(5, 320, 240)}
    )

    conflict = findings(root, tmp_path / "cache")["duplicate-label-conflict"]

    assert [(place.image, place.labels[0][0]) for place in conflict.locations] == [("cat/a.jpg", "cat"), ("dog/b.jpg", "dog")]
    assert "nearly identical" in conflict.message
    assert conflict.count == 1
