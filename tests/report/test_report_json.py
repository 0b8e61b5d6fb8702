"""The report as JSON."""

import dataclasses
import json
import re
from typing import Any

import msgspec
import pytest

from dataset_doctor.dataset import Place
from dataset_doctor.report import render
from dataset_doctor.report.record import Report
from tests.report.reports import make_bccd, make_finding, make_report


def without_surrogates(value: Any) -> Any:
    """Do to plain data what the documentation says becomes of text that is not Unicode."""
    if isinstance(value, str):
        value = re.sub("[\udc80-\udcff]", lambda m: f"\\x{ord(m[0]) - 0xDC00:02x}", value)
        return re.sub("[\ud800-\udfff]", lambda m: f"\\u{ord(m[0]):04x}", value)
    if isinstance(value, dict):
        return {without_surrogates(key): without_surrogates(item) for key, item in value.items()}
    return [without_surrogates(item) for item in value] if isinstance(value, list) else value


def test_it_is_the_report(report: Report) -> None:
    """A strict reader gets back every key and value, in order, whatever the names are."""
    text = render(report, ".json")

    assert msgspec.json.decode(text) == without_surrogates(report.to_dict())
    assert list(json.loads(text)) == list(report.to_dict())
    assert text.isascii() and text.endswith("}\n")
    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f]", text)


def test_a_surrogate_becomes_readable_text() -> None:
    """A file name that is not UTF-8 shows its byte; a pair of lone surrogates does not unite to another character."""
    del_only = Place(file="\x7f")
    place = Place(file="a\udc80\n.txt", image="\ud83d\ude00 \x7f 猫 \U0001f408")
    text = render(make_report(findings=[make_finding(places=[place, del_only])]), ".json")

    assert r'"file": "a\\x80\n.txt"' in text
    assert r'"file": "\u007f"' in text
    assert r'"image": "\\ud83d\\ude00 \u007f \u732b \ud83d\udc08"' in text


def test_a_place_stands_on_one_line() -> None:
    """Records are readable and comparable line by line."""
    lines = render(make_bccd(), ".json").splitlines()

    assert lines[:2] == ["{", ' "schema": "dataset-doctor/report",']
    assert sum('"file": "Annotations/BloodImage_00338.xml", "line": 137, ' in line for line in lines) == 1
    assert "  {" + '"index": 1, "id": 2, "name": "RBC", "images": 349, "instances": 4155, ' in "\n".join(lines)


def test_numbers_that_json_lacks_are_null() -> None:
    """NaN would make a file that other readers refuse, so it never gets written."""
    document = json.loads(render(make_report(gini=float("nan")), ".json"), parse_constant=pytest.fail)

    assert document["summary"]["gini"] is None


def test_equal_reports_are_equal_bytes(report: Report) -> None:
    """Nothing but the report goes into the text: no time of writing, no order of a set."""
    again = dataclasses.replace(report)

    for suffix in (".json", ".md", ".csv"):
        assert render(report, suffix) == render(again, suffix)
