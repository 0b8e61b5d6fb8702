"""Planted defects: a clean dataset in each layout, one change a case, and the check that has to point at it.

Each format has one small clean dataset, made here as text. A case changes one thing in it and names the check and the place (a file with
its line, or a JSON pointer) that must be among the findings. Twins are changes that are unusual and harmless: they must give neither
error nor warning.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from dataset_doctor.audit import examine
from dataset_doctor.findings import Finding, Severity
from dataset_doctor.formats import read

SIZES = [(640, 480), (500, 375), (320, 240), (640, 427), (200, 300), (333, 500)]
BOXES = [(30, 40, 200, 150), (100, 60, 90, 120), (10, 20, 60, 80), (300, 200, 120, 90), (50, 70, 100, 140), (40, 200, 150, 60)]
"""Corner and size in pixels: one in each image, and a second one shifted by (55, 35) with another class."""


def draw_images(folder: Path, sizes: list[tuple[int, int]] = SIZES) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for number, size in enumerate(sizes):
        Image.effect_noise(size, 40 + number).convert("RGB").save(folder / f"img_{number}.jpg", quality=30)


def findings_of(root: Path) -> tuple[Finding, ...]:
    return examine(read(root), locations=None).findings


def serious(findings: tuple[Finding, ...]) -> list[tuple[str, str]]:
    """List what is an error or a warning among checks of label records and files."""
    return [(f.name, f.message) for f in findings if f.severity is not Severity.INFO and f.code < "DD2"]


def assert_found(findings: tuple[Finding, ...], name: str, place: str | int) -> None:
    """Assert that a check reports a place: a pointer, `file:line` or a file."""
    found = {f.name: [(p.pointer or f"{p.file}:{p.line}" if p.line or p.pointer else p.file) for p in f.locations] for f in findings}
    assert name in found, f"{name} is not among {sorted(found)}"
    assert place in found[name], f"{name} is at {found[name]}"


# COCO ---------------------------------------------------------------------------------------------------------------

Document = dict[str, Any]


def rectangle(x: float, y: float, w: float, h: float) -> list[float]:
    return [x, y, x + w, y, x + w, y + h, x, y + h]


def coco_document() -> Document:
    images = [{"id": n + 1, "file_name": f"img_{n}.jpg", "width": w, "height": h} for n, (w, h) in enumerate(SIZES)]
    annotations = []
    for n, (x, y, w, h) in enumerate(BOXES):
        for category, (dx, dy) in ((1, (0, 0)), (2, (55, 35))):
            shrunk = 1 if category == 1 else 2
            box = [x + dx, y + dy, w // shrunk, h // shrunk]
            annotations.append({
                "id": len(annotations) + 1, "image_id": n + 1, "category_id": category, "bbox": box, "area": box[2] * box[3],
                "iscrowd": 0, "segmentation": [rectangle(*box)],
            })  # fmt: skip
    categories = [{"id": 1, "name": "cat", "supercategory": "animal"}, {"id": 2, "name": "dog", "supercategory": "animal"}]
    info, licences = {"description": "planted"}, [{"id": 1, "name": "CC BY 4.0", "url": "https://creativecommons.org/licenses/by/4.0/"}]
    return {"info": info, "licenses": licences, "images": images, "annotations": annotations, "categories": categories}


def write_coco(root: Path, change: Callable[[Document], Any], *, ensure_ascii: bool = True) -> Path:
    document = coco_document()
    change(document)
    draw_images(root / "images")
    (root / "annotations.json").write_text(json.dumps(document, ensure_ascii=ensure_ascii), encoding="utf-8")
    return root


def at(index: int, **members: Any) -> Callable[[Document], Any]:
    """Change members of an annotation; ... stands for leaving one out."""

    def change(document: Document) -> None:
        for key, value in members.items():
            document["annotations"][index].pop(key, None)
            if value is not ...:
                document["annotations"][index][key] = value

    return change


def image(index: int, **members: Any) -> Callable[[Document], Any]:
    def change(document: Document) -> None:
        for key, value in members.items():
            document["images"][index].pop(key, None)
            if value is not ...:
                document["images"][index][key] = value

    return change


def every(key: str, make: Callable[[dict[str, Any]], Any]) -> Callable[[Document], Any]:
    """Set a member of every annotation to what `make` makes of the annotation."""

    def change(document: Document) -> None:
        for record in document["annotations"]:
            record[key] = make(record)

    return change


def add(**members: Any) -> Callable[[Document], Any]:
    """Repeat the first annotation under a new id, with other members."""
    return lambda document: document["annotations"].append(copy.deepcopy(document["annotations"][0]) | {"id": 99} | members)


def both(*changes: Callable[[Document], Any]) -> Callable[[Document], Any]:
    return lambda document: [change(document) for change in changes]


def mask(w: int, h: int, box: tuple[int, int, int, int]) -> dict[str, Any]:
    """Encode a rectangle as run lengths."""
    x, y, bw, bh = box
    runs = [x * h + y, bh]
    for _ in range(bw - 1):
        runs += [h - bh, bh]
    return {"size": [h, w], "counts": [*runs, w * h - sum(runs)]}


def packed(runs: list[int]) -> str:
    """Compress run lengths as pycocotools does."""
    text = ""
    for index, run in enumerate(runs):
        x, more = run - runs[index - 2] if index > 2 else run, True
        while more:
            digit = x & 0x1F
            x >>= 5
            more = x != -1 if digit & 0x10 else x != 0
            text += chr((digit | 0x20 if more else digit) + 48)
    return text


POSE = [100, 100, 2, 120, 110, 1, 0, 0, 0]
with_pose = both(
    lambda document: document["categories"][0].update(keypoints=["a", "b", "c"], skeleton=[[1, 2]]),
    at(0, keypoints=POSE, num_keypoints=2),
)
full_mask = mask(640, 480, (30, 40, 200, 150))
COCO_CASES = [
    ("box-missing", at(3, bbox=...), "/annotations/3"),
    ("box-missing", at(3, bbox=None), "/annotations/3"),
    ("box-malformed", at(3, bbox=[]), "/annotations/3/bbox"),
    ("box-malformed", at(3, bbox=[1, 2, 3]), "/annotations/3/bbox"),
    ("box-malformed", at(3, bbox="1 2 3 4"), "/annotations/3/bbox"),
    ("box-degenerate", at(3, bbox=[10, 10, 0, 5]), "/annotations/3/bbox"),
    ("box-degenerate", at(3, bbox=[10, 10, -5, 5]), "/annotations/3/bbox"),
    ("box-outside-image", at(3, bbox=[460, 40, 60, 60]), "/annotations/3/bbox"),
    ("box-outside-image", at(3, bbox=[5000, 4000, 60, 60]), "/annotations/3/bbox"),
    ("box-edge-excess", at(0, bbox=[440.5, 40, 200, 150]), "/annotations/0/bbox"),
    ("box-not-finite", at(3, bbox=[float("nan"), 4, 5, 6]), "/annotations/3/bbox"),
    ("box-not-finite", at(3, bbox=[float("inf"), 4, 5, 6]), "/annotations/3/bbox"),
    ("box-tiny", at(3, bbox=[10, 10, 1, 5]), "/annotations/3/bbox"),
    ("box-full-image", at(0, bbox=[0, 0, 640, 480]), "/annotations/0/bbox"),
    ("box-aspect-extreme", at(0, bbox=[0, 0, 640, 4]), "/annotations/0/bbox"),
    ("box-rotated", at(3, bbox=[100, 100, 20, 30, 45.0]), "/annotations/3/bbox"),
    ("boxes-look-xyxy", every("bbox", lambda a: [a["bbox"][0], a["bbox"][1], a["bbox"][0] + a["bbox"][2], a["bbox"][1] + a["bbox"][3]]), "/annotations/0/bbox"),
    ("boxes-look-normalized", every("bbox", lambda a: [0.1, 0.25, 0.3, 0.5]), "/annotations/7/bbox"),
    ("annotation-duplicate", add(), "/annotations/12"),
    ("annotation-near-duplicate", add(bbox=[31, 40, 199, 150]), "/annotations/12/bbox"),
    ("annotation-class-conflict", add(category_id=2), "/annotations/12/category_id"),
    ("class-undeclared", at(3, category_id=99), "/annotations/3/category_id"),
    ("annotation-without-image", at(3, image_id=99), "/annotations/3/image_id"),
    ("annotation-id-zero", at(0, id=0), "/annotations/0/id"),
    ("annotation-id-missing", at(3, id=...), "/annotations/3/id"),
    ("id-invalid", at(3, id=None), "/annotations/3/id"),
    ("id-invalid", at(3, id=1.5), "/annotations/3/id"),
    ("annotation-id-duplicate", at(3, id=3), "/annotations/3/id"),
    ("image-id-duplicate", image(3, id=3), "/images/3/id"),
    ("listed-twice", image(3, file_name="img_2.jpg"), "/images/3"),
    ("category-id-zero", both(lambda d: d["categories"][0].update(id=0), every("category_id", lambda a: a["category_id"] % 2 * 0 if a["category_id"] == 1 else 2)), "/categories/0"),
    ("category-id-duplicate", lambda d: d["categories"].append({"id": 2, "name": "cow"}), "/categories/2"),
    ("class-names-alike", lambda d: d["categories"].append({"id": 3, "name": "cat"}), "/categories/2"),
    ("class-root", both(lambda d: d["categories"].insert(0, {"id": 0, "name": "animal", "supercategory": "none"})), "/categories/0"),
    ("category-is-background", lambda d: d["categories"].append({"id": 3, "name": "_background_"}), "/categories/2"),
    ("id-is-text", both(every("id", lambda a: f"a{a['id']}")), "/annotations/0/id"),
    ("id-mixed-types", at(3, id="four"), "annotations.json"),
    ("area-missing", at(3, area=...), "/annotations/3/area"),
    ("area-wrong", at(3, area=1), "/annotations/3/area"),
    ("area-wrong", at(3, area=0), "/annotations/3/area"),
    ("area-wrong", at(3, area=-5.0), "/annotations/3/area"),
    ("area-wrong", at(3, area=123456.0), "/annotations/3/area"),
    ("crowd-key-missing", at(3, iscrowd=...), "/annotations/3/iscrowd"),
    ("flag-invalid", at(3, iscrowd=2), "/annotations/3/iscrowd"),
    ("flag-invalid", at(3, iscrowd="0"), "/annotations/3/iscrowd"),
    ("flag-invalid", at(3, iscrowd=True), "/annotations/3/iscrowd"),
    ("crowd-with-polygon", at(3, iscrowd=1), "/annotations/3/iscrowd"),
    ("all-crowd", every("iscrowd", lambda a: 1), "/annotations/0/iscrowd"),
    ("ignore-flag", at(3, ignore=1), "/annotations/3/ignore"),
    ("score-in-labels", every("score", lambda a: 0.9), "/annotations/0/score"),
    ("polygon-too-short", at(3, segmentation=[[10, 10, 20, 20]]), "/annotations/3/segmentation"),
    ("polygon-too-short", at(0, segmentation=[[30, 40], [230, 40], [230, 190], [30, 190]]), "/annotations/0/segmentation"),
    ("polygon-odd", at(0, segmentation=[[30, 40, 230, 40, 230, 190, 30]]), "/annotations/0/segmentation"),
    ("polygon-not-nested", at(0, segmentation=rectangle(30, 40, 200, 150)), "/annotations/0/segmentation"),
    ("polygon-malformed", at(0, segmentation=[[30, 40, "x", 40, 230, 190]]), "/annotations/0/segmentation"),
    ("polygon-malformed", at(0, segmentation=[[30, 40, float("nan"), 40, 230, 190]]), "/annotations/0/segmentation"),
    ("polygon-malformed", at(0, segmentation=[[30, 40, 1e8, 40, 230, 190]]), "/annotations/0/segmentation"),
    ("polygon-malformed", at(0, segmentation=7), "/annotations/0/segmentation"),
    ("segmentation-empty", at(3, segmentation=[]), "/annotations/3/segmentation"),
    ("segmentation-empty", at(3, segmentation=[[]]), "/annotations/3/segmentation"),
    ("segmentation-empty", at(3, segmentation=""), "/annotations/3/segmentation"),
    ("polygon-outside", at(0, segmentation=[rectangle(30, 40, 700, 150)]), "/annotations/0/segmentation"),
    ("polygon-crossing", at(0, segmentation=[[30, 40, 230, 40, 30, 190, 230, 190]]), "/annotations/0/segmentation"),
    ("box-differs-from-shape", at(0, segmentation=[rectangle(60, 60, 100, 100)]), "/annotations/0/bbox"),
    ("mask-size-differs", at(0, iscrowd=1, segmentation={"size": [640, 480], "counts": full_mask["counts"]}), "/annotations/0/segmentation/size"),
    ("mask-length-wrong", at(0, iscrowd=1, segmentation=full_mask | {"counts": full_mask["counts"][:-1]}), "/annotations/0/segmentation/counts"),
    ("mask-length-wrong", at(0, iscrowd=1, segmentation=full_mask | {"counts": packed([*full_mask["counts"], 5])}), "/annotations/0/segmentation/counts"),
    ("mask-length-wrong", at(0, iscrowd=1, segmentation=full_mask | {"counts": []}), "/annotations/0/segmentation/counts"),
    ("mask-invalid", at(0, iscrowd=1, segmentation=full_mask | {"counts": [-5, 5]}), "/annotations/0/segmentation"),
    ("mask-invalid", at(0, iscrowd=1, segmentation=full_mask | {"counts": [1.5, 5]}), "/annotations/0/segmentation"),
    ("mask-invalid", at(0, iscrowd=1, segmentation=full_mask | {"counts": f"b'{packed(full_mask['counts'])}'"}), "/annotations/0/segmentation"),
    ("mask-invalid", at(0, iscrowd=1, segmentation=full_mask | {"counts": packed(full_mask["counts"]) + "P"}), "/annotations/0/segmentation"),
    ("mask-invalid", at(0, iscrowd=1, segmentation={"size": [480, 640]}), "/annotations/0/segmentation"),
    ("mask-invalid", at(0, iscrowd=1, segmentation=full_mask | {"size": "480x640"}), "/annotations/0/segmentation"),
    ("mask-invalid", at(0, iscrowd=1, segmentation=full_mask | {"counts": "oooooooooooooooooooooo0"}), "/annotations/0/segmentation"),
    ("keypoints-length", both(with_pose, at(0, keypoints=POSE[:8])), "/annotations/0/keypoints"),
    ("keypoints-length", both(with_pose, at(0, keypoints=POSE[:6])), "/annotations/0/keypoints"),
    ("keypoints-count", both(with_pose, at(0, num_keypoints=3)), "/annotations/0/num_keypoints"),
    ("keypoints-count", both(with_pose, at(0, num_keypoints=...)), "/annotations/0/num_keypoints"),
    ("keypoints-visibility", both(with_pose, at(0, keypoints=[100, 100, 7, *POSE[3:]])), "/annotations/0/keypoints"),
    ("keypoints-hidden-placed", both(with_pose, at(0, keypoints=[*POSE[:6], 5, 5, 0])), "/annotations/0/keypoints"),
    ("image-size-missing", image(3, width=..., height=...), "/images/3/width"),
    ("image-size-invalid", image(3, width=-1), "/images/3/width"),
    ("image-size-mismatch", image(3, width=641), "/images/3/width"),
    ("image-size-swapped", image(3, width=427, height=640), "/images/3/width"),
    ("coco-key-missing", lambda d: d.pop("annotations"), "/annotations"),
    ("coco-key-missing", lambda d: d.pop("categories"), "/categories"),
    ("coco-key-missing", lambda d: d["categories"].clear(), "/categories"),
    ("boxes-all-alike", both(lambda d: d["images"].extend({"id": 10 + n, "file_name": f"more_{n}.jpg", "width": 640, "height": 480} for n in range(9)),
                             lambda d: d["annotations"].extend(d["annotations"][0] | {"id": 50 + n, "image_id": 10 + n} for n in range(9))), "/annotations/0/bbox"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "change", "place"), COCO_CASES, ids=lambda value: value if isinstance(value, str) else "")
def test_defect_of_a_coco_file_is_found_at_its_place(name: str, change: Callable[[Document], Any], place: str, tmp_path: Path) -> None:
    """One change to a clean file gives the finding with its pointer."""
    assert_found(findings_of(write_coco(tmp_path, change)), name, place)


COCO_TWINS = {
    "as it is": lambda d: None,
    "gaps in ids": both(every("id", lambda a: a["id"] * 7 + 3), lambda d: d["categories"][1].update(id=90), every("category_id", lambda a: {1: 1, 2: 90}[a["category_id"]])),
    "unicode names": lambda d: d["categories"][0].update(name="gatto è 猫"),
    "crowd": at(0, iscrowd=1, segmentation=full_mask),
    "packed crowd": at(0, iscrowd=1, segmentation=full_mask | {"counts": packed(full_mask["counts"])}),
    "no masks": every("segmentation", lambda a: []),
    "no key for masks": lambda d: [a.pop("segmentation") for a in d["annotations"]],
    "two parts": at(0, segmentation=[rectangle(30, 40, 80, 150), rectangle(150, 40, 80, 150)], area=24000),
    "overlapping parts": at(0, segmentation=[rectangle(30, 40, 120, 150), rectangle(130, 40, 100, 150)], area=30000),
    "fractions": at(0, bbox=[30.123456789, 40.25, 199.876543211, 149.75], area=29931.5),
    "keypoints": with_pose,
    "background images": lambda d: d["annotations"].__delitem__(slice(0, 2)),
    "unknown keys": at(0, attributes={"occluded": True}, ignore=0),
    "edge": at(0, bbox=[440, 330, 200, 150], segmentation=[rectangle(440, 330, 200, 150)]),
    "one pixel past the edge": at(0, bbox=[441, 330, 200, 150], segmentation=[rectangle(441, 330, 200, 150)]),
    "same class side by side": add(bbox=[240, 40, 200, 150], segmentation=[rectangle(240, 40, 200, 150)]),
    "one inside another": add(bbox=[40, 50, 150, 100], segmentation=[rectangle(40, 50, 150, 100)], area=15000),
    "area of the box": at(0, segmentation=[[30, 40, 230, 40, 130, 190]], area=30000),
    "area of the polygon": at(0, segmentation=[[30, 40, 230, 40, 130, 190]], area=15000),
}  # fmt: skip


@pytest.mark.parametrize("change", COCO_TWINS.values(), ids=COCO_TWINS)
def test_unusual_and_harmless_coco_file_gives_no_warning(change: Callable[[Document], Any], tmp_path: Path) -> None:
    """What is only unusual is at most information."""
    assert serious(findings_of(write_coco(tmp_path, change, ensure_ascii=False))) == []


def test_lvis_needs_its_lists_of_classes_and_no_iscrowd(tmp_path: Path) -> None:
    """An LVIS file without neg_category_ids is reported; that it has no iscrowd is right."""
    root = write_coco(tmp_path, lambda d: [a.pop("iscrowd") for a in d["annotations"]])
    (root / "annotations.json").rename(root / "lvis_v1_train.json")
    findings = findings_of(root)
    assert_found(findings, "lvis-fields-missing", "/images/0")
    assert "crowd-key-missing" not in {f.name for f in findings}


def test_a_damaged_coco_file_still_gives_its_shapes(tmp_path: Path) -> None:
    """Where the text is broken in one record, the shapes of the others are measured."""
    root = write_coco(tmp_path, at(3, segmentation=[[10, 10, 20, 20]]))
    text = (root / "annotations.json").read_text()
    (root / "annotations.json").write_text(text.replace('"id": 7, "image_id"', '"id": 7 "image_id"'))
    assert_found(findings_of(root), "polygon-too-short", "/annotations/3/segmentation")


# VOC ----------------------------------------------------------------------------------------------------------------


def voc_object(name: str, x: float, y: float, w: float, h: float) -> str:
    return (
        f"\t<object>\n\t\t<name>{name}</name>\n\t\t<pose>Unspecified</pose>\n\t\t<truncated>0</truncated>\n\t\t<difficult>0</difficult>\n"
        f"\t\t<bndbox>\n\t\t\t<xmin>{x + 1}</xmin>\n\t\t\t<ymin>{y + 1}</ymin>\n\t\t\t<xmax>{x + w}</xmax>\n\t\t\t<ymax>{y + h}</ymax>\n"
        "\t\t</bndbox>\n\t</object>\n"
    )


def voc_file(number: int) -> str:
    (width, height), (x, y, w, h) = SIZES[number], BOXES[number]
    return (
        f"<annotation>\n\t<folder>JPEGImages</folder>\n\t<filename>img_{number}.jpg</filename>\n"
        f"\t<size>\n\t\t<width>{width}</width>\n\t\t<height>{height}</height>\n\t\t<depth>3</depth>\n\t</size>\n\t<segmented>0</segmented>\n"
        + voc_object("cat", x, y, w, h)
        + voc_object("dog", x + 55, y + 35, w // 2, h // 2)
        + "</annotation>\n"
    )


Texts = dict[str, str]


def write_voc(root: Path, change: Callable[[Texts], Any]) -> Path:
    texts = {f"Annotations/img_{number}.xml": voc_file(number) for number in range(len(SIZES))}
    texts["ImageSets/Main/train.txt"] = "".join(f"img_{number}\n" for number in range(4))
    texts["ImageSets/Main/val.txt"] = "img_4\nimg_5\n"
    change(texts)
    draw_images(root / "JPEGImages")
    for name, text in texts.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(text.encode())
    return root


def swap(name: str, old: str, new: str, times: int = 1) -> Callable[[Texts], Any]:
    """Replace text in a file; it must be there."""

    def change(texts: Texts) -> None:
        assert old in texts[name], texts[name]
        texts[name] = texts[name].replace(old, new, times)

    return change


def swap_all(old: str, new: str) -> Callable[[Texts], Any]:
    return lambda texts: texts.update({name: text.replace(old, new) for name, text in texts.items()})


FIRST = "Annotations/img_0.xml"
VOC_CASES = [
    ("box-degenerate", swap(FIRST, "<xmax>230<", "<xmax>31<"), f"{FIRST}:10"),
    ("box-degenerate", swap(FIRST, "<xmax>230<", "<xmax>20<"), f"{FIRST}:10"),
    ("box-outside-image", swap(FIRST, "<xmax>230<", "<xmax>730<"), f"{FIRST}:10"),
    ("record-unreadable", swap(FIRST, "<xmax>230<", "<xmax>nan<"), f"{FIRST}:10"),
    ("record-unreadable", swap(FIRST, "<xmax>230</xmax>", ""), f"{FIRST}:10"),
    ("box-malformed", lambda t: t.update({FIRST: t[FIRST].replace(t[FIRST][t[FIRST].index("\t\t<bndbox>") : t[FIRST].index("\t</object>")], "", 1)}), f"{FIRST}:10"),
    ("box-tiny", swap(FIRST, "<xmax>230<", "<xmax>31.5<"), f"{FIRST}:10"),
    ("box-full-image", lambda t: t.update({FIRST: t[FIRST].replace(voc_object("cat", *BOXES[0]), voc_object("cat", 0, 0, 640, 480))}), f"{FIRST}:10"),
    ("box-aspect-extreme", swap(FIRST, "<ymax>190<", "<ymax>44<"), f"{FIRST}:10"),
    ("box-rotated", swap(FIRST, "\t\t<bndbox>\n\t\t\t<xmin>31</xmin>\n\t\t\t<ymin>41</ymin>\n\t\t\t<xmax>230</xmax>\n\t\t\t<ymax>190</ymax>\n\t\t</bndbox>",
                         "\t\t<robndbox><cx>100</cx><cy>100</cy><w>50</w><h>20</h><angle>0.5</angle></robndbox>"), f"{FIRST}:10"),
    ("boxes-look-normalized", lambda t: t.update({FIRST: t[FIRST].replace(voc_object("cat", *BOXES[0]), voc_object("cat", -0.9, -0.8, 1.4, 1.4))}), f"{FIRST}:10"),
    ("annotation-duplicate", swap(FIRST, "</annotation>", voc_object("cat", *BOXES[0]) + "</annotation>"), f"{FIRST}:34"),
    ("annotation-near-duplicate", swap(FIRST, "</annotation>", voc_object("cat", 31, 40, 199, 150) + "</annotation>"), f"{FIRST}:34"),
    ("annotation-class-conflict", swap(FIRST, "</annotation>", voc_object("dog", *BOXES[0]) + "</annotation>"), f"{FIRST}:34"),
    ("category-is-background", swap(FIRST, "<name>dog<", "<name>background<"), f"{FIRST}:22"),
    ("class-name-missing", swap(FIRST, "<name>dog<", "<name><"), f"{FIRST}:22"),
    ("flag-invalid", swap(FIRST, "<difficult>0<", "<difficult>True<"), f"{FIRST}:10"),
    ("flag-invalid", swap(FIRST, "<difficult>0<", "<difficult><"), f"{FIRST}:10"),
    ("all-difficult", swap_all("<difficult>0<", "<difficult>1<"), f"{FIRST}:10"),
    ("origin-zero", swap(FIRST, "<xmin>31<", "<xmin>0<"), f"{FIRST}:10"),
    ("origin-mixed", both(*(swap(f"Annotations/img_{n}.xml", f"<xmin>{BOXES[n][0] + 1}<", f"<xmin>{int(n > 0)}<") for n in range(6))), f"{FIRST}:10"),
    ("origin-mixed", both(swap(FIRST, "<xmin>31<", "<xmin>0<"), swap_all("\t<size>", "\t<source><database>The VOC2007 Database</database></source>\n\t<size>")), f"{FIRST}:11"),
    ("corners-fractional", swap(FIRST, "<xmax>230<", "<xmax>230.5<"), f"{FIRST}:10"),
    ("voc-optional-missing", swap(FIRST, "\t\t<pose>Unspecified</pose>\n", ""), f"{FIRST}:10"),
    ("voc-optional-missing", swap(FIRST, "<pose>Unspecified</pose>", "<!-- no pose -->"), f"{FIRST}:10"),
    ("elements-unordered", swap(FIRST, "<ymin>41</ymin>\n\t\t\t<xmax>230</xmax>", "<xmax>230</xmax>\n\t\t\t<ymin>41</ymin>"), f"{FIRST}:10"),
    ("image-size-missing", lambda t: t.update({FIRST: t[FIRST][: t[FIRST].index("\t<size>")] + t[FIRST][t[FIRST].index("\t<segmented>") :]}), FIRST),
    ("image-size-invalid", swap(FIRST, "<width>640<", "<width>0<"), FIRST),
    ("image-size-mismatch", swap(FIRST, "<width>640<", "<width>641<"), FIRST),
    ("image-size-swapped", swap(FIRST, "<width>640</width>\n\t\t<height>480<", "<width>480</width>\n\t\t<height>640<"), FIRST),
    ("mask-missing", swap(FIRST, "<segmented>0", "<segmented>1"), f"{FIRST}:9"),
    ("label-unreadable", swap(FIRST, "<width>640</width>", "<width>640"), f"{FIRST}:8"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "change", "place"), VOC_CASES, ids=lambda value: value if isinstance(value, str) else "")
def test_defect_of_a_voc_file_is_found_at_its_line(name: str, change: Callable[[Texts], Any], place: str, tmp_path: Path) -> None:
    """One change to a clean dataset gives the finding with file and line."""
    assert_found(findings_of(write_voc(tmp_path, change)), name, place)


VOC_TWINS = {
    "as it is": lambda t: None,
    "Windows line ends": swap_all("\n", "\r\n"),
    "unicode names": swap_all("<name>cat<", "<name>gatto è 猫<"),
    "fractions": swap(FIRST, "<xmax>230<", "<xmax>229.5<"),
    "counted from 0": lambda t: t.update({n: x.replace("<xmin>31<", "<xmin>0<").replace("<xmin>101<", "<xmin>0<").replace("<xmin>51<", "<xmin>0<") for n, x in t.items()}),
    "some difficult": swap(FIRST, "<difficult>0<", "<difficult>1<"),
    "no optional elements": lambda t: t.update({n: "".join(line for line in x.splitlines(keepends=True) if "pose" not in line) for n, x in t.items()}),
    "corners in Roboflow's order": swap(FIRST, "<ymin>41</ymin>\n\t\t\t<xmax>230</xmax>", "<xmax>230</xmax>\n\t\t\t<ymin>41</ymin>"),
    "a background image": lambda t: t.update({FIRST: t[FIRST][: t[FIRST].index("\t<object>")] + "</annotation>\n"}),
    "an edge": swap(FIRST, "<xmax>230<", "<xmax>640<"),
}  # fmt: skip


@pytest.mark.parametrize("change", VOC_TWINS.values(), ids=VOC_TWINS)
def test_unusual_and_harmless_voc_dataset_gives_no_warning(change: Callable[[Texts], Any], tmp_path: Path) -> None:
    """What is only unusual is at most information."""
    assert serious(findings_of(write_voc(tmp_path, change))) == []


# YOLO ---------------------------------------------------------------------------------------------------------------


def yolo_row(number: int, name: int, box: tuple[float, float, float, float]) -> str:
    (width, height), (x, y, w, h) = SIZES[number], box
    return f"{name} {(x + w / 2) / width:.6f} {(y + h / 2) / height:.6f} {w / width:.6f} {h / height:.6f}\n"


def polygon_row(number: int, name: int, box: tuple[float, float, float, float]) -> str:
    (width, height), (x, y, w, h) = SIZES[number], box
    points = [(x, y), (x + w, y), (x + w, y + h), (x + w / 2, y + h * 0.8), (x, y + h)]
    return f"{name} " + " ".join(f"{px / width:.6f} {py / height:.6f}" for px, py in points) + "\n"


def turned_row(number: int, name: int, box: tuple[float, float, float, float]) -> str:
    (width, height), (x, y, w, h) = SIZES[number], box
    tilt = h / 4
    points = [(x + tilt, y), (x + w, y + w - tilt), (x + w - tilt, y + w), (x, y + tilt)]
    return f"{name} " + " ".join(f"{px / width:.6f} {py / height:.6f}" for px, py in points) + "\n"


def pose_row(number: int, name: int, box: tuple[float, float, float, float]) -> str:
    (width, height), (x, y, w, h) = SIZES[number], box
    points = " ".join(f"{(x + w * f) / width:.6f} {(y + h * f) / height:.6f} {v}" for f, v in ((0.3, 2), (0.5, 1), (0.7, 2)))
    return yolo_row(number, name, box).strip() + f" {points}\n"


def write_yolo(
    root: Path, change: Callable[[Texts], Any], row: Callable[[int, int, tuple[float, float, float, float]], str] = yolo_row
) -> Path:
    texts = {"data.yaml": "train: images/train\nval: images/train\nnc: 2\nnames: [cat, dog]\n"}
    for number, (x, y, w, h) in enumerate(BOXES):
        texts[f"labels/train/img_{number}.txt"] = row(number, 0, (x, y, w, h)) + row(number, 1, (x + 55, y + 35, w / 2, h / 2))
    change(texts)
    draw_images(root / "images/train")
    for name, text in texts.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(text.encode())
    return root


LABEL = "labels/train/img_0.txt"


def row_is(text: str, name: str = LABEL) -> Callable[[Texts], Any]:
    """Put a row in the place of a label file's second one."""
    return lambda texts: texts.update({name: texts[name].splitlines(keepends=True)[0] + text + "\n"})


def rows_are(make: Callable[[str], str]) -> Callable[[Texts], Any]:
    """Change every row of all label files."""

    def change(texts: Texts) -> None:
        for name, text in texts.items():
            if name.startswith("labels/"):
                texts[name] = "".join(make(line) + "\n" for line in text.splitlines())

    return change


def corner_ordered(line: str) -> str:
    name, *numbers = line.split()
    cx, cy, w, h = map(float, numbers)
    return f"{name} {cx - w / 2:.6f} {cy - h / 2:.6f} {cx + w / 2:.6f} {cy + h / 2:.6f}"


def pixels(line: str) -> str:
    name, *numbers = line.split()
    return f"{name} " + " ".join(f"{float(number) * 400:.1f}" for number in numbers)


YOLO_CASES = [
    ("box-degenerate", row_is("1 0.5 0.5 0 0.1"), f"{LABEL}:2"),
    ("box-degenerate", row_is("1 0.5 0.5 -0.1 0.1"), f"{LABEL}:2"),
    ("box-outside-image", row_is("1 0.95 0.5 0.2 0.1"), f"{LABEL}:2"),
    ("box-edge-excess", row_is("1 0.9005 0.5 0.2 0.1"), f"{LABEL}:2"),
    ("box-tiny", row_is("1 0.5 0.5 0.001 0.1"), f"{LABEL}:2"),
    ("box-full-image", row_is("1 0.5 0.5 1 1"), f"{LABEL}:2"),
    ("box-aspect-extreme", row_is("1 0.5 0.5 0.9 0.01"), f"{LABEL}:2"),
    ("boxes-look-in-pixels", row_is("1 320 240 50 60"), f"{LABEL}:2"),
    ("boxes-look-in-pixels", rows_are(pixels), f"{LABEL}:1"),
    ("boxes-look-corner-ordered", rows_are(corner_ordered), f"{LABEL}:1"),
    ("annotation-duplicate", lambda t: t.update({LABEL: t[LABEL] + t[LABEL].splitlines()[0]}), f"{LABEL}:3"),
    ("annotation-near-duplicate", lambda t: t.update({LABEL: t[LABEL] + yolo_row(0, 0, (31, 40, 199, 150))}), f"{LABEL}:3"),
    ("annotation-class-conflict", lambda t: t.update({LABEL: t[LABEL] + yolo_row(0, 1, BOXES[0])}), f"{LABEL}:3"),
    ("class-undeclared", row_is("2 0.5 0.5 0.1 0.1"), f"{LABEL}:2"),
    ("class-undeclared", row_is("-1 0.5 0.5 0.1 0.1"), f"{LABEL}:2"),
    ("class-number-float", row_is("1.0 0.5 0.5 0.1 0.1"), f"{LABEL}:2"),
    ("class-number-float", row_is("1.000000000000000000e+00 0.5 0.5 0.1 0.1"), f"{LABEL}:2"),
    ("exponent-notation", row_is("1 0.5 0.5 0.1 1e-01"), f"{LABEL}:2"),
    ("classes-count-from-one", rows_are(lambda line: f"{int(line[0]) + 1}{line[1:]}"), f"{LABEL}:2"),
    ("record-unreadable", row_is("dog 0.5 0.5 0.1 0.1"), f"{LABEL}:2"),
    ("record-unreadable", row_is("1 0.5 0.5 0.1"), f"{LABEL}:2"),
    ("record-unreadable", row_is("1 0.5 nan 0.1 0.1"), f"{LABEL}:2"),
    ("record-unreadable", row_is("1,0.5,0.5,0.1,0.1"), f"{LABEL}:2"),
    ("record-unreadable", row_is("1.5 0.5 0.5 0.1 0.1"), f"{LABEL}:2"),
    ("score-in-labels", row_is("1 0.5 0.5 0.1 0.1 0.87"), f"{LABEL}:2"),
    ("rows-mixed", row_is("1 0.1 0.1 0.3 0.1 0.2 0.3"), f"{LABEL}:2"),
    ("category-is-background", swap("data.yaml", "[cat, dog]", "[cat, background]"), "data.yaml:4"),
    ("task-mixed", lambda t: t.update({LABEL: polygon_row(0, 0, BOXES[0])}), f"{LABEL}:1"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "change", "place"), YOLO_CASES, ids=lambda value: value if isinstance(value, str) else "")
def test_defect_of_a_yolo_row_is_found_at_its_line(name: str, change: Callable[[Texts], Any], place: str, tmp_path: Path) -> None:
    """One change to a clean dataset of boxes gives the finding with file and line."""
    assert_found(findings_of(write_yolo(tmp_path, change)), name, place)


YOLO_SHAPE_CASES = [
    ("polygon-odd", polygon_row, row_is("1 0.1 0.1 0.3 0.1 0.2 0.3 0.4"), f"{LABEL}:2"),
    ("rows-mixed", polygon_row, row_is("1 0.5 0.5 0.1 0.1"), f"{LABEL}:2"),
    ("polygon-crossing", polygon_row, row_is("1 0.1 0.1 0.5 0.1 0.1 0.5 0.5 0.5"), f"{LABEL}:2"),
    ("box-outside-image", polygon_row, row_is("1 0.1 0.1 1.3 0.1 0.2 0.3"), f"{LABEL}:2"),
    ("annotation-duplicate", polygon_row, lambda t: t.update({LABEL: t[LABEL] + t[LABEL].splitlines()[0]}), f"{LABEL}:3"),
    ("obb-not-rectangular", turned_row, both(swap("data.yaml", "nc: 2", "nc: 2\ntask: obb"), row_is("1 0.1 0.1 0.5 0.12 0.4 0.5 0.1 0.3")), f"{LABEL}:2"),
    ("polygon-crossing", turned_row, row_is("1 0.1 0.1 0.5 0.1 0.1 0.5 0.5 0.5"), f"{LABEL}:2"),
    ("keypoint-shape-missing", pose_row, lambda t: None, "data.yaml"),
    ("config-invalid", pose_row, both(swap("data.yaml", "nc: 2", "nc: 2\nkpt_shape: [3, 3]"), row_is("1 0.5 0.5 0.1 0.1 0.5 0.5 2")), f"{LABEL}:2"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "row", "change", "place"), YOLO_SHAPE_CASES, ids=lambda value: value if isinstance(value, str) else "")
def test_defect_of_a_yolo_shape_is_found_at_its_line(
    name: str, row: Callable[..., str], change: Callable[[Texts], Any], place: str, tmp_path: Path
) -> None:
    """One change to a clean dataset of polygons, turned boxes or poses gives the finding with file and line."""
    assert_found(findings_of(write_yolo(tmp_path, change, row)), name, place)


YOLO_TWINS = {
    "as it is": (yolo_row, lambda t: None),
    "Windows line ends": (yolo_row, swap_all("\n", "\r\n")),
    "tabs, blank lines and spaces": (yolo_row, lambda t: t.update({LABEL: "\n" + t[LABEL].replace(" ", "\t") + " \n\n"})),
    "no last line end": (yolo_row, lambda t: t.update({LABEL: t[LABEL].rstrip()})),
    "unicode names": (yolo_row, swap("data.yaml", "[cat, dog]", "['gatto è 猫', dog]")),
    "a background image": (yolo_row, lambda t: t.update({LABEL: ""})),
    "whole numbers": (yolo_row, row_is("1 0.5 0.5 0.1 1e-01")),
    "class with a point": (yolo_row, row_is("1.0 0.5 0.5 0.1 0.1")),
    "past the edge by rounding": (yolo_row, row_is("1 0.9000005 0.5 0.2 0.1")),
    "polygons": (polygon_row, lambda t: None),
    "turned boxes": (turned_row, lambda t: None),
    "poses": (pose_row, swap("data.yaml", "nc: 2", "nc: 2\nkpt_shape: [3, 3]")),
}


@pytest.mark.parametrize(("row", "change"), YOLO_TWINS.values(), ids=YOLO_TWINS)
def test_unusual_and_harmless_yolo_dataset_gives_no_warning(
    row: Callable[..., str], change: Callable[[Texts], Any], tmp_path: Path
) -> None:
    """What is only unusual is at most information."""
    assert serious(findings_of(write_yolo(tmp_path, change, row))) == []


# Images and size ----------------------------------------------------------------------------------------------------


def test_an_image_of_a_few_pixels_is_found(tmp_path: Path) -> None:
    """Ultralytics refuses images below 10 pixels."""
    root = write_yolo(tmp_path, lambda t: None)
    Image.new("RGB", (9, 40)).save(root / "images/train/img_0.jpg")
    assert_found(findings_of(root), "image-too-small", LABEL)


@pytest.mark.parametrize("number", [1, 2])
def test_a_dataset_of_very_few_images_gives_no_warning(number: int, tmp_path: Path) -> None:
    """A tiny dataset is no defect of its records."""

    def change(document: Document) -> None:
        document["images"] = document["images"][:number]
        document["annotations"] = document["annotations"][: 2 * number]

    root = write_coco(tmp_path, change)
    for path in sorted((root / "images").iterdir())[number:]:
        path.unlink()
    assert serious(findings_of(root)) == []
