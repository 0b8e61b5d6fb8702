"""The library does what the command does: what each command prints, the library gives."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import dataset_doctor as dd
from tests.command import run

FIXTURES = Path(__file__).parents[2] / "fixtures"


@pytest.fixture(scope="module")
def park(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The demonstration's dataset with all defects that can live together."""
    out = tmp_path_factory.mktemp("twin") / "park"
    assert run("demo", out).returncode == 0
    return out / "all"


def without_run(report: dict) -> dict:
    """Leave out what differs from one audit to the next."""
    return {key: value for key, value in report.items() if key != "run"}


def test_audit_gives_what_the_command_prints(park: Path) -> None:
    """The plain call looks into the images, duplicates and all; options and what fails are the same too."""
    report, printed = dd.audit(park), json.loads(run("audit", park, "--json").stdout)

    assert without_run(report.to_dict()) == without_run(printed)
    assert report.to_dict()["run"]["options"] == printed["run"]["options"]
    assert report.not_run == ()
    assert len({finding.code for finding in report.findings}) > 100
    assert [f.code for f in report.failing()] == [f["code"] for f in printed["findings"] if f["severity"] == "error"]


def test_a_check_that_could_not_run_is_named(tmp_path: Path) -> None:
    """Without image files the checks that need them stand in `not_run` with the reason."""
    (tmp_path / "labels.json").write_text((FIXTURES / "coco/annotations/instances_train.json").read_text())
    report, printed = dd.audit(tmp_path), json.loads(run("audit", tmp_path, "--json").stdout)

    assert {one.reason for one in report.not_run} == {"no image files were found"}
    assert report.to_dict()["not_run"] == printed["not_run"] != []
    assert dd.audit(tmp_path, pixels=False).not_run == ()
