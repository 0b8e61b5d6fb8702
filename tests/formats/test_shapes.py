"""Shapes: polygons, masks and keypoints measured from label files, against pycocotools and hand-made values."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dataset_doctor.dataset import Flaw, Shapes
from dataset_doctor.formats import read, read_shapes
from dataset_doctor.formats.coco.polygons import polygon_numbers
from dataset_doctor.masks import Runs, measure, unpack


def shapes_of(root: Path, *records: dict[str, Any], text: str | None = None) -> Shapes:
    """Write records of one image of 20 × 10 pixels, and measure their shapes."""
    annotations = [{"id": n, "image_id": 1, "category_id": 1, "bbox": [1, 1, 5, 5]} | record for n, record in enumerate(records, 1)]
    document = {"images": [{"id": 1, "file_name": "a.jpg", "width": 20, "height": 10}], "annotations": annotations}
    document["categories"] = [{"id": 1, "name": "cat", "keypoints": ["a", "b"]}]
    (root / "labels.json").write_text(json.dumps(document) if text is None else text)
    shapes = read_shapes(read(root))
    assert shapes is not None
    return shapes


def same(one: Shapes, other: Shapes) -> bool:
    return all(np.array_equal(getattr(one, name), getattr(other, name), equal_nan=True) for name in Shapes.__slots__ if name != "flaws")


def test_polygons_are_measured(tmp_path: Path) -> None:
    """Extent over all rings, sum and largest of their areas, the shortest ring; a box has none of them."""
    shapes = shapes_of(tmp_path, {"segmentation": [[1, 1, 5, 1, 5, 4, 1, 4], [8, 2, 10.5, 2, 8, 4]]}, {})

    assert shapes.rings.tolist() == [2, 0]
    assert shapes.shortest.tolist() == [6, -1]
    assert shapes.extent[0].tolist() == [1, 1, 10.5, 4]
    assert (shapes.area[0], shapes.largest[0]) == (14.5, 12)
    assert np.isnan(shapes.area[1]) and np.isnan(shapes.extent[1]).all()


@pytest.mark.parametrize(
    ("segmentation", "flaw"),
    [
        ([], Flaw.EMPTY), ([[]], Flaw.EMPTY), ("", Flaw.EMPTY), ({}, Flaw.EMPTY), ([[1, 2, 3]], Flaw.ODD), ([1, 2, 3, 4, 5, 6], Flaw.NOT_NESTED),
        ([[1, 2, "3", 4, 5, 6]], Flaw.MALFORMED), ([[1, 2, [3], 4, 5, 6]], Flaw.MALFORMED), ([{}], Flaw.NOT_NESTED | Flaw.MALFORMED | Flaw.ODD), (True, Flaw.MALFORMED),
        ([[[1, 2], [3, 4], [5, 6]]], Flaw.MALFORMED | Flaw.ODD), ([[0, 0, 5, 5, 5, 0, 0, 5]], Flaw.CROSSING), ([[0, 0, 5, 0, 5, 5, 0, 5]], 0),
        ({"size": [10, 20], "counts": [100, -5, 105]}, Flaw.MASK_INVALID), ({"size": [10, 20], "counts": "b'04'"}, Flaw.MASK_INVALID),
        ({"size": [10], "counts": [200]}, Flaw.MASK_INVALID), ({"size": [10, 20], "counts": [200.5]}, Flaw.MASK_INVALID),
        ({"size": [0, 0], "counts": []}, Flaw.EMPTY), ({"size": [10, 20], "counts": "é"}, Flaw.MASK_INVALID), (None, 0),
    ],
)  # fmt: skip
def test_flaws_of_a_segmentation(segmentation: Any, flaw: int, tmp_path: Path) -> None:
    """Each kind of nonsense has its flaw, and the record beside it is measured all the same."""
    shapes = shapes_of(tmp_path, {"segmentation": segmentation}, {"segmentation": [[1, 1, 5, 1, 5, 5]]})

    assert shapes.flaws.tolist() == [flaw, 0]
    assert shapes.area[1] == 8


def test_strict_and_judged_records_measure_alike(tmp_path: Path) -> None:
    """The fast way and the way record by record give the same columns."""
    records: list[dict[str, Any]] = [
        {"segmentation": [[1, 1, 5, 1, 5, 4], [2, 2, 3, 2, 3, 3]]}, {"segmentation": [[1.123456789, 1, 5, 1, 5, 4]]}, {"segmentation": [[1e1, 1, 5, 1, 5, -4]]},
        {"segmentation": {"size": [10, 20], "counts": [50, 10, 140]}}, {"segmentation": {"size": [10, 20], "counts": "b1:\\\\3"}},
        {"keypoints": [1, 2, 2, 0, 0, 0], "num_keypoints": 1}, {},
    ]  # fmt: skip
    fast = shapes_of(tmp_path, *records)
    slow = shapes_of(tmp_path, *records, {"segmentation": 5})

    assert same(fast, Shapes(**{name: getattr(slow, name)[:-1] for name in Shapes.__slots__}))


def test_processes_share_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Several processes give the same as one."""
    records = [{"segmentation": [[1, 1, 5 + n % 3, 1, 5, 4]]} for n in range(3000)]
    alone = shapes_of(tmp_path, *records)
    monkeypatch.setattr("dataset_doctor.formats.coco.arrays.PIECE", 20_000)
    monkeypatch.setattr("dataset_doctor.formats.coco.shapes._processes", lambda path: 2)

    assert same(alone, shapes_of(tmp_path, *records))


def test_shapes_follow_the_rows_of_a_selection(tmp_path: Path) -> None:
    """A row of a selected dataset has the shape of its own record."""
    shapes_of(tmp_path, {"segmentation": [[1, 1, 5, 1, 5, 5]]}, {})
    shapes = read_shapes(read(tmp_path).select(np.array([0, 0])))

    assert shapes is not None
    assert np.nan_to_num(shapes.area).tolist() == [8, 0, 8, 0]


def test_keypoints_are_counted(tmp_path: Path) -> None:
    """Numbers in the list, keypoints above visibility 0, the declared number."""
    shapes = shapes_of(
        tmp_path,
        {"keypoints": [1, 2, 2, 3, 4, 1], "num_keypoints": 7},
        {"keypoints": [1, 2, 0, 3, 4]},
        {"keypoints": [1, 2, 5, 0, 0, 0]},
        {},
    )

    assert shapes.keypoints.tolist() == [6, 5, 6, -1]
    assert shapes.visible.tolist() == [2, 0, 1, -1]
    assert shapes.declared.tolist() == [7, -1, -1, -1]
    assert shapes.flaws.tolist() == [0, Flaw.HIDDEN_PLACED, Flaw.VISIBILITY, 0]


def test_a_file_that_is_gone_has_no_shapes(tmp_path: Path) -> None:
    """What can no longer be read is no reason to stop."""
    shapes_of(tmp_path, {"segmentation": [[1, 1, 5, 1, 5, 5]]})
    dataset = read(tmp_path)
    (tmp_path / "labels.json").unlink()

    shapes = read_shapes(dataset)
    assert shapes is not None and np.isnan(shapes.area).all()


def test_a_file_replaced_by_a_link_to_outside_is_not_followed(tmp_path: Path) -> None:
    """Between the two readings nothing may lead elsewhere."""
    inside = tmp_path / "data"
    inside.mkdir()
    shapes_of(inside, {"segmentation": [[1, 1, 5, 1, 5, 5]]})
    dataset = read(inside)
    (inside / "labels.json").rename(tmp_path / "moved.json")
    (inside / "labels.json").symlink_to(tmp_path / "moved.json")

    shapes = read_shapes(dataset)
    assert shapes is not None and np.isnan(shapes.area).all()


# Numbers from text --------------------------------------------------------------------------------------------------

NUMBERS = st.one_of(
    st.integers(0, 99_999_999).map(str),
    st.tuples(st.integers(0, 99999), st.integers(0, 99)).map(lambda pair: f"{pair[0]}.{pair[1]:02d}"),
    st.decimals(0, 9, places=6).map(str),
    st.sampled_from(["0", "0.0", "9.999999", "99999999", "1234567", "0.000001", "100.0"]),
)
RINGS = st.lists(st.lists(NUMBERS, min_size=1, max_size=9), min_size=1, max_size=4)


@given(st.lists(RINGS, min_size=1, max_size=5), st.sampled_from(["", " ", "\n\t"]))
def test_numbers_are_what_json_reads(polygons: list[list[list[str]]], space: str) -> None:
    """Every plain polygon gives the very numbers that Python's parser gives, however it is spaced."""
    texts = [("[" + f",{space}".join(f"[{space}" + f",{space}".join(ring) + "]" for ring in polygon) + f"{space}]") for polygon in polygons]
    expected = [json.loads(text) for text in texts]

    found = polygon_numbers([text.encode() for text in texts])

    assert found is not None
    numbers, rings, count = found
    assert numbers.tolist() == [number for polygon in expected for ring in polygon for number in ring]
    assert rings.tolist() == [len(ring) for polygon in expected for ring in polygon]
    assert count.tolist() == [len(polygon) for polygon in expected]


@pytest.mark.parametrize(
    "text",
    ["[1,2]", "[[1,2],3]", "[1,[2,3]]", "[[1,2],[]]", "[[]]", "[[[1,2]]]", "[[-1,2]]", "[[1e5,2]]", "[[1.23456789,2]]", '[["1",2]]', "[[null]]", "[[1],2,[3]]"],
)  # fmt: skip
def test_polygons_that_are_not_plain_are_left_to_the_decoder(text: str) -> None:
    """Other nesting, empty rings, signs, exponents, long numbers, text."""
    assert polygon_numbers([b"[[1,2]]", text.encode(), b"[[3,4]]"]) is None


# Run lengths --------------------------------------------------------------------------------------------------------


@given(st.data())
def test_masks_measure_as_pycocotools_says(data: st.DataObject) -> None:
    """Sum, area and box of compressed and plain run lengths are those of the decoded mask."""
    mask_utils = pytest.importorskip("pycocotools.mask")
    height, width = data.draw(st.integers(1, 9)), data.draw(st.integers(1, 9))
    pixels = np.array(data.draw(st.lists(st.booleans(), min_size=height * width, max_size=height * width)), np.uint8).reshape(height, width)
    packed = mask_utils.encode(np.asfortranarray(pixels))

    total, area, box = measure(unpack([packed["counts"], b"04"]), np.array([height, 2]))

    assert total.tolist() == [height * width, 4]
    assert area.tolist() == [pixels.sum(), 4]
    if pixels.any():
        x, y, w, h = mask_utils.toBbox(packed)
        assert box[0].tolist() == [x, y, x + w, y + h]


@pytest.mark.parametrize("text", [b"", b"P", b"0\x7f", b"0/", b"oooooooooooooo0", b"~"])
def test_text_that_is_no_mask_is_invalid(text: bytes) -> None:
    """Nothing, an unfinished number, characters that do not belong there, a number too long."""
    runs = unpack([b"04", text, b"04"])

    assert runs.valid.tolist() == [True, False, True]
    assert runs.counts[[0, 2]].tolist() == [2, 2]


def test_a_huge_mask_costs_nothing() -> None:
    """A mask of 10^24 pixels is measured without making one of them."""
    total, area, _ = measure(Runs(np.array([2**40, 2**40]), np.array([2]), np.array([True])), np.array([10**12]))

    assert (total[0], area[0]) == (2**41, 2**40)
