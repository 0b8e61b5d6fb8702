"""Thresholds: declared once, on the page of their check, and each changes what its own check finds and nothing else."""

from __future__ import annotations

import importlib
import json
import math
import pkgutil
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from dataset_doctor import checks as package
from dataset_doctor.audit import examine
from dataset_doctor.checks import CHECKS, find_check
from dataset_doctor.checks.settings import validated
from dataset_doctor.errors import UsageError
from dataset_doctor.findings import Check, Threshold
from dataset_doctor.report import Report
from dataset_doctor.scan.near import find_duplicates
from tests import command
from tests.drawing import draw, drawn_pixels, drawn_shapes

SCENES = Path(__file__).parent / "scenes"
FIXTURES = Path(__file__).parents[2] / "fixtures"
JUDGED = [check for check in CHECKS if check.thresholds]
EACH = [(check, threshold) for check in JUDGED for threshold in check.thresholds]
BY_CODE = pytest.mark.parametrize("check", JUDGED, ids=lambda check: check.code)
BY_NAME = pytest.mark.parametrize(("check", "threshold"), EACH, ids=[f"{check.code}.{threshold.name}" for check, threshold in EACH])


def report(text: str, settings: Mapping[str, Mapping[str, float]], checks: Sequence[Check]) -> Report:
    """Audit a scene."""
    dataset, _ = draw(text)
    pixels, shapes = drawn_pixels(text), drawn_shapes(text)
    if len(shapes.area) != dataset.n_annotations:
        checks = [check for check in checks if not check.needs_shapes]
    duplicates = find_duplicates(dataset, pixels)
    return examine(dataset, checks=checks, locations=None, pixels=pixels, duplicates=duplicates, shapes=shapes, settings=settings)


def scenes(check: Check) -> list[str]:
    """Give the scenes of a check."""
    return [path.read_text(encoding="utf-8") for path in sorted(SCENES.glob(f"{check.code}*.txt"))]


def extremes(check: Check) -> list[dict[str, float]]:
    """Give all of a check's thresholds at their least values, and at their largest."""
    least = {one.name: one.lower if math.isfinite(one.lower) else -1e9 for one in check.thresholds}
    return [least, {one.name: one.upper if math.isfinite(one.upper) else 10**9 for one in check.thresholds}]


@BY_CODE
def test_defaults_are_what_holds_where_nothing_is_set(check: Check) -> None:
    """Setting each threshold to its default changes no finding, and the report says of none that it was changed."""
    settings = {check.code: {threshold.name: threshold.default for threshold in check.thresholds}}
    for text in scenes(check):
        same = report(text, settings, [check])

        assert same.findings == report(text, {}, [check]).findings
        assert same.thresholds == ()


@BY_CODE
def test_thresholds_change_their_own_check_alone(check: Check) -> None:
    """With a check's thresholds at their extremes, all others find what they always do."""
    text = scenes(check)[0]
    usual = report(text, {}, CHECKS)
    for values in extremes(check):
        found = report(text, {check.code: values}, CHECKS)

        assert others(found, check) == others(usual, check)
        assert {changed.name: changed.value for changed in found.thresholds} == values


def others(report: Report, check: Check) -> list[tuple[str, int, str]]:
    """Give what other checks found; what is recommended may differ."""
    return [(finding.code, finding.count, finding.message) for finding in report.findings if finding.code != check.code]


@pytest.mark.slow
@BY_NAME
def test_every_threshold_matters(check: Check, threshold: Threshold) -> None:
    """In some scene, with the others at their defaults or at an extreme, the finding depends on it."""
    least, most = ({threshold.name: values[threshold.name]} for values in extremes(check))
    companies = [{}, *extremes(check), *({name: value} for values in extremes(check) for name, value in values.items())]
    for text in scenes(check):
        for company in companies:
            found = [report(text, {check.code: {**company, **own}}, [check]).findings for own in (least, {}, most)]
            if found[0] != found[1] or found[1] != found[2]:
                return
    pytest.fail("no scene depends on it")


@BY_CODE
def test_the_page_lists_every_threshold(check: Check) -> None:
    """Name, default and meaning are on the page, and no placeholder is left in the text."""
    for threshold in check.thresholds:
        assert f"\n* `{threshold.name}` = " in check.page
        assert threshold.meaning in check.page
        assert "{" + threshold.name not in check.page


def test_a_threshold_has_one_name() -> None:
    """The constant is the threshold's name in capitals, and a check declares it."""
    declared = {id(threshold) for _, threshold in EACH}
    for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
        for name, value in vars(importlib.import_module(module.name)).items():
            if isinstance(value, Threshold):
                assert name == value.name.upper()
                assert id(value) in declared, name


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"DD107": {"max_aspct": 2}}, "DD107 has no threshold max_aspct.\n  Did you mean max_aspect?"),
        ({"box-aspect-extrem": {"max_aspect": 2}}, "Did you mean box-aspect-extreme?"),
        ({"DD001": {"x": 2}}, "has no thresholds"),
        ({"DD107": {"max_aspect": "2"}}, "DD107.max_aspect must be a number, got '2'"),
        ({"DD107": {"max_aspect": True}}, "must be a number, got True"),
        ({"DD107": {"max_aspect": math.nan}}, "must be a number, got nan"),
        ({"DD107": {"max_aspect": 0.5}}, "must be at least 1, got 0.5"),
        ({"DD106": {"min_covered_share": 2}}, "must be between 0 and 1, got 2"),
        ({"DD105": {"many_tiny_boxes": 2.5}}, "must be a whole number, got 2.5"),
        ({"DD107": 2}, "DD107 takes a table of its thresholds"),
    ],
)
def test_what_cannot_be_set_says_what_can(settings: dict[str, dict[str, float]], message: str) -> None:
    """Wrong checks, names, types and values are refused with what to write instead."""
    with pytest.raises(UsageError) as error:
        validated(settings)

    assert message in str(error.value)


def test_the_command_line_wins_over_the_configuration(tmp_path: Path) -> None:
    """Both set thresholds, by code or name; the report says which, in JSON and in words."""
    config = tmp_path / "c.toml"
    config.write_text('[checks.DD107]\nmax_aspect = 2\n[checks."box-tiny"]\nmin_side_px = 3.5\n', encoding="utf-8")
    arguments = ("audit", FIXTURES / "yolo", "--no-pixels", "--fail-on", "never", "--config", config, "--set", "DD107.max_aspect=4")

    text = " ".join(command.run(*arguments).stdout.split())
    wanted = [
        {"code": "DD105", "name": "min_side_px", "value": 3.5, "default": 2.0},
        {"code": "DD107", "name": "max_aspect", "value": 4.0, "default": 30.0},
    ]

    assert json.loads(command.run(*arguments, "--json").stdout)["thresholds"] == wanted
    assert "DD105.min_side_px 3.5 instead of 2 DD107.max_aspect 4 instead of 30" in text.replace("· ", "")


@pytest.mark.parametrize("setting", ["DD107.max_aspect", "max_aspect=2", "DD107.max_aspect=x", "DD107.max_px=2"])
def test_a_wrong_setting_is_one_message(setting: str) -> None:
    """What cannot be read is refused before the dataset is."""
    done = command.run("audit", FIXTURES / "yolo", "--set", setting)

    assert done.returncode == 2
    assert not done.stdout
    assert "DD107.max_aspect" in done.stderr or "Did you mean max_aspect?" in done.stderr


def test_a_wrong_table_names_its_file(tmp_path: Path) -> None:
    """The message begins with the configuration file."""
    config = tmp_path / "c.toml"
    config.write_text("checks = 3\n", encoding="utf-8")

    assert f"{config}: checks must be a table" in command.run("audit", FIXTURES / "yolo", "--config", config).stderr


def test_the_page_in_the_terminal_prints_thresholds() -> None:
    """`explain` shows each with its default."""
    assert "max_aspect = 30" in command.run("explain", "DD107").stdout
    assert find_check("DD107").page in (Path(__file__).parents[2] / "docs/reference/checks.md").read_text(encoding="utf-8")
