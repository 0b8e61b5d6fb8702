"""The checks: each fires where its scene says and nowhere else, and the table keeps its word."""

from __future__ import annotations

import re
from pathlib import Path
from typing import get_args

import numpy as np
import pytest

from dataset_doctor.audit import examine
from dataset_doctor.checks import CHECKS, find_check, select
from dataset_doctor.dataset import Dataset, Place, Problem, ProblemKind
from dataset_doctor.errors import UsageError
from dataset_doctor.findings import Check
from dataset_doctor.scan.near import find_duplicates
from tests.drawing import draw, drawn_pixels, drawn_shapes

SCENES = sorted((Path(__file__).parent / "scenes").glob("*.txt"))
KINDS = get_args(ProblemKind)


@pytest.mark.parametrize("path", SCENES, ids=lambda path: path.stem)
def test_scene_is_flagged_exactly_where_it_says(path: Path) -> None:
    """Each check points at the lines marked with its code, and at no other line."""
    text = path.read_text(encoding="utf-8")
    dataset, wanted = draw(text)
    pixels = drawn_pixels(text)

    report = examine(
        dataset,
        checks=[find_check(path.stem.partition("-")[0])],
        locations=None,
        pixels=pixels,
        duplicates=find_duplicates(dataset, pixels),
        shapes=drawn_shapes(text),
    )

    found = {f.code: {_line(place, dataset) for place in f.locations} for f in report.findings}
    assert found == {code: lines for code, lines in wanted.items() if code == path.stem.partition("-")[0]}


def _line(place: Place, dataset: Dataset) -> int:
    """Give the line of a scene that a place stands for: its own, that of its image, or that of the first image of its split."""
    if place.line is not None:
        return place.line
    if place.pointer is not None:
        return int(place.pointer.split("/")[2])
    images = dataset.images
    of_split = images.in_split[:, dataset.splits.index(place.split)] if place.split in dataset.splits else np.ones(len(images), bool)
    chosen = images.file_name == place.image if place.image else of_split
    return int(images.position[chosen.argmax()])


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_problem_has_a_check_that_reports_it(kind: ProblemKind) -> None:
    """What a reader meets reaches the report under its own name, with its place and its words."""
    place = Place(file="labels/a.txt", line=3, image="images/a.jpg")
    dataset, _ = draw("classes: cat\na.jpg 9x9", problems=(Problem(kind, place, "what is wrong"),))

    findings = [f for f in examine(dataset).findings if f.name == kind]

    assert [f.count for f in findings] == [1]
    assert findings[0].locations[0].line == 3
    assert findings[0].locations[0].detail == "what is wrong"


def test_codes_are_sorted_unique_and_never_renamed() -> None:
    """Codes and names identify a check for ever."""
    codes = [check.code for check in CHECKS]

    assert codes == sorted(set(codes))
    assert len({check.name for check in CHECKS}) == len(CHECKS)
    assert all(re.fullmatch(r"DD\d\d\d", code) for code in codes)
    assert all(re.fullmatch(r"[a-z]+(-[a-z]+)*", check.name) for check in CHECKS)


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.code)
def test_every_check_explains_itself(check: Check) -> None:
    """A page says what is flagged, why it matters, the usual cause and what to do."""
    assert check.summary.startswith("Flag")
    assert check.summary.endswith(".")
    for heading in ("**Why it matters.**", "**Usual cause.**", "**What to do.**"):
        assert heading in check.page, heading


def test_checks_that_judge_columns_have_a_scene() -> None:
    """Whatever is not a reader's problem is drawn in a scene."""
    drawn = {path.stem.partition("-")[0] for path in SCENES}

    assert {check.code for check in CHECKS if check.name not in KINDS} <= drawn


def test_select_by_family_code_and_name() -> None:
    """`DD1` is a family; names and codes name one check; what is ignored is left out."""
    assert {check.code[:3] for check in select(["DD1"])} == {"DD1"}
    assert [check.code for check in select(["box-degenerate", "dd301"])] == ["DD101", "DD301"]
    assert "DD101" not in {check.code for check in select((), ["DD101"])}


def test_an_unknown_code_suggests_the_nearest() -> None:
    """A typing error is answered with what was probably meant."""
    with pytest.raises(UsageError, match="Did you mean box-degenerate"):
        select(["box-degenrate"])


def test_counts_are_exact_when_places_are_cut() -> None:
    """A million findings list the first places and count them all."""
    text = "classes: cat\na.jpg 9x9\n" + "  cat 1 1 1 1\n" * 250
    report = examine(draw(text)[0], locations=100)

    finding = next(f for f in report.findings if f.code == "DD101")
    assert (finding.count, finding.locations_total, len(finding.locations)) == (250, 250, 100)
    assert [place.line for place in finding.locations] == list(range(3, 103)) or finding.locations[0].pointer == "/annotations/0/bbox"


def test_places_of_a_coco_record_are_pointers() -> None:
    """A COCO annotation is found by its pointer, image and id."""
    report = examine(draw("classes: cat\na.jpg 9x9 train\n  cat 1 1 1 1 id=42")[0])

    place = next(f for f in report.findings if f.code == "DD101").locations[0]
    assert (place.pointer, place.image, place.annotation_id, place.class_name) == ("/annotations/0/bbox", "a.jpg", 42, "cat")


def test_a_box_far_outside_is_an_error_and_a_near_one_a_warning() -> None:
    """From 1 % past the edge on Ultralytics ignores the image: that is an error."""
    near = examine(draw("classes: cat\na.jpg 1000x800\n  cat 0 0 1005 10")[0]).findings
    far = examine(draw("classes: cat\na.jpg 1000x800\n  cat 0 0 1020 10")[0]).findings

    assert [f.severity.value for f in near if f.code == "DD102"] == ["warning"]
    assert [f.severity.value for f in far if f.code == "DD102"] == ["error"]
