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


@pytest.mark.parametrize(
    ("command", "plan"),
    [
        (["rebalance", "--method", "oversample", "--budget", "2"], lambda path: dd.rebalance(path, method="oversample", budget=2.0)),
        (["rebalance"], lambda path: dd.rebalance(dd.read(path))),
        (["split", "--ratios", "60/40"], lambda path: dd.split(path, ratios="60/40")),
        (["convert", "--to", "voc"], lambda path: dd.convert(path, "voc")),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_plans_are_those_of_the_commands(command: list[str], plan, tmp_path: Path) -> None:
    """The same document, and the same files: the manifest tells how it was asked for in both."""
    name, *options = command
    printed = run(name, FIXTURES / "coco", tmp_path / "command", *options, "--json")
    planned = plan(FIXTURES / "coco")
    planned.write(tmp_path / "library")

    assert json.loads(printed.stdout) == planned.to_dict()
    assert contents(tmp_path / "library") == contents(tmp_path / "command")


def contents(root: Path) -> dict[str, bytes]:
    """Read all files below a folder."""
    return {str(file.relative_to(root)): file.read_bytes() for file in sorted(root.rglob("*")) if file.is_file()}


def test_what_the_command_refuses_the_library_refuses(tmp_path: Path) -> None:
    """Label records that would be left out, a folder that is full, a parameter that is not known: in words for each."""
    broken = FIXTURES / "yolo-broken"
    refused = run("convert", broken, tmp_path / "out", "--to", "coco")
    with pytest.raises(dd.DoctorError) as error:
        dd.convert(broken, "coco")
    assert error.value.message in refused.stderr and error.value.hint.endswith("add allow_errors=True to write without.")
    assert "add --allow-errors to write without." in refused.stderr

    plan = dd.convert(FIXTURES / "coco", "yolo")
    (tmp_path / "full").mkdir()
    (tmp_path / "full/file").touch()
    with pytest.raises(dd.DoctorError, match="replace it with force=True"):
        plan.write(tmp_path / "full")
    assert "replace it with --force" in run("convert", FIXTURES / "coco", tmp_path / "full", "--to", "yolo").stderr


def test_weights_are_those_of_the_command() -> None:
    """Also for a trainer, whose loss wants weights that average 1 over the labels."""
    printed = run("weights", FIXTURES / "yolo", "--for", "torch", "--scheme", "sqrt", "--json")
    expected = json.loads(printed.stdout)
    del expected["export"]

    assert dd.weights(FIXTURES / "yolo", "sqrt", trainer="torch").to_dict() == expected


def test_explain_gives_the_page_that_is_printed() -> None:
    """By code or name; without one, all checks."""
    check = dd.explain("dd101")

    assert check == dd.explain(check.name) and check.summary in " ".join(run("explain", "DD101").stdout.split())
    assert len(dd.explain()) == sum(line.startswith("  DD") or " DD" in line for line in run("explain").stdout.splitlines())


def test_what_a_notebook_shows() -> None:
    """Short texts, tables with escaped names, a length, a version."""
    dataset = dd.read(FIXTURES / "coco")
    report, plan = dd.audit(dataset, pixels=False), dd.rebalance(dataset, method="oversample")

    assert len(dataset) == dataset.n_images and dd.__version__
    assert all(len(repr(one).splitlines()) <= 12 for one in (dataset, report, plan))
    assert all("<table>" in one._repr_html_() for one in (dataset, report, plan))
    assert plan.name in repr(plan)
