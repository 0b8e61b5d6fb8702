"""Every recommended command runs as it stands, and mends what it addresses; what none mends says why."""

from __future__ import annotations

import json
import os
import shlex
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.command import run
from tests.conftest import FIXTURES
from tests.recommend.test_recommend import coco

Report = dict[str, Any]


def invoke(*words: str) -> tuple[int, str, str]:
    """Run the command; exit code, stdout and stderr."""
    done = run(*words, timeout=300)
    return done.returncode, done.stdout, done.stderr


def audit(*words: str) -> Report:
    code, out, err = invoke("audit", "--json", "--fail-on", "never", *words)
    assert code == 0, err
    report: Report = json.loads(out)
    return report


def written(command: str) -> str | None:
    """The folder that a command writes to."""
    words = shlex.split(command)
    return words[3] if words[1] in ("split", "rebalance") else None


def counts(report: Report) -> dict[str, int]:
    return {finding["code"]: finding["count"] for finding in report["findings"]}


def run_all(report: Report) -> list[str]:
    """Run each command that a report recommends, from here; give their actions."""
    before = counts(report)
    ran = []
    for r in report["recommendations"]:
        if r["command"] is None:
            continue
        program, *words = shlex.split(r["command"])
        out = written(r["command"])
        assert program == "dataset-doctor" and (out is None or not os.path.lexists(out))
        code, _, err = invoke(*words)
        assert code == 0, f"{r['command']}\n{err}"
        ran.append(r["action"])
        if out is None:
            continue
        result = audit(out)
        eased = (result["summary"]["imbalance_ratio"] or 0) < (report["summary"]["imbalance_ratio"] or 0)
        after = counts(result)
        for code_ in r["addresses"]:
            fewer = r["expected"] is not None and after.get(code_, 0) < before[code_]
            assert not after.get(code_) or fewer or (code_.startswith("DD2") and eased), (r["command"], code_, before[code_], after[code_])
        if r["expected"] is not None:
            split = shlex.split(r["command"])
            name = split[split.index("--split") + 1] if "--split" in split else None
            agrees(r["expected"], result, name)
        shutil.rmtree(out)
    return ran


def agrees(expected: Report, result: Report, split: str | None) -> None:
    """What was predicted is what an audit counts in the split that changed."""
    names = [row["name"] for row in result["splits"] if row["images"]]
    changed = split or next((name for name in ("train", "trainval") if name in names), names[0])
    got = {row["name"]: row["splits"][changed]["instances"] for row in result["classes"]}
    assert got == {row["name"]: row["after"] for row in expected["classes"]}
    assert next(row["images"] for row in result["splits"] if row["name"] == changed) == expected["epoch_images"]


def follow(path: str) -> list[str]:
    """Follow the advice until there are no errors or no command that writes; give the steps."""
    steps, seen = [], set()
    report = audit(path)
    while any(finding["severity"] == "error" for finding in report["findings"]):
        step = next((r for r in report["recommendations"] if r["command"] and written(r["command"])), None)
        if step is None:
            break
        key = (step["action"], *step["addresses"])
        assert key not in seen, f"advised again: {key}"
        seen.add(key)
        steps.append(step["action"])
        code, _, err = invoke(*shlex.split(step["command"])[1:])
        assert code == 0, err
        report = audit(str(written(step["command"])))
    assert all(finding["treatment"]["why"] for finding in report["findings"] if finding["severity"] == "error")
    return steps


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder to work in, beside the data."""
    (tmp_path / "desk").mkdir()
    monkeypatch.chdir(tmp_path / "desk")
    return tmp_path


def has_treatments(report: Report) -> None:
    """Each finding says what treats it: a command, or what to do and why no program can."""
    commands = {r["id"]: r["command"] for r in report["recommendations"]}
    for finding in report["findings"]:
        treatment = finding["treatment"]
        assert treatment.keys() == {"kind", "safety", "recommendation", "why"}
        assert treatment["kind"] in ("fix", "split", "rebalance", "weights", "collect", "none")
        assert treatment["safety"] in (("safe", "unsafe") if treatment["kind"] == "fix" else (None,))
        assert (treatment["why"] is None) is (commands.get(treatment["recommendation"]) is not None), finding["code"]


@pytest.mark.parametrize("name", sorted(path.name for path in FIXTURES.iterdir() if path.is_dir()))
@pytest.mark.slow(but="coco-broken")
def test_advice_on_the_fixtures(name: str, desk: Path) -> None:
    """Good and broken datasets of every format."""
    shutil.copytree(FIXTURES / name, desk / "data" / name)
    report = audit(f"../data/{name}")

    has_treatments(report)
    run_all(report)
    follow(f"../data/{name}")


@pytest.mark.parametrize("form", ["coco", "voc", "yolo", "folder"])
@pytest.mark.slow
def test_advice_on_all_defects_at_once(form: str, desk: Path) -> None:
    """A dataset with nearly every defect there is."""
    assert invoke("demo", "park", "--format", form)[0] == 0
    report = audit("park/all")

    has_treatments(report)
    assert run_all(report)
    assert follow("park/all")


@pytest.mark.parametrize("name", ["bccd_voc/BCCD", "voc100_multiformat/gts/pascalvoc_format", "amenity_coco", "aquarium_yolo"])
def test_advice_on_real_datasets(name: str, desk: Path, shared_data: Path) -> None:
    """Real datasets, with the flaws that people left in them."""
    path = os.path.relpath(shared_data / name)
    report = audit(path)

    has_treatments(report)
    assert run_all(report)
    follow(path)


def beside(desk: Path) -> Iterator[tuple[str, list[str], str]]:
    """Name one dataset in many ways: the folder to be in, what `audit` is given, and the name of a result."""
    yield "desk", ['../it\'s a "park" $HOME'], "it's a _park_ _HOME-balanced"
    yield "desk", [str(desk / 'it\'s a "park" $HOME')], "it's a _park_ _HOME-balanced"
    yield "desk", ['../it\'s a "park" $HOME/train.json'], "it's a _park_ _HOME-balanced"
    yield "desk", ['./../it\'s a "park" $HOME/', "--format", "coco"], "it's a _park_ _HOME-balanced"
    yield 'it\'s a "park" $HOME', ["."], "../it's a _park_ _HOME-balanced"
    yield 'it\'s a "park" $HOME/labels', [".."], "../../it's a _park_ _HOME-balanced"
    yield "labels", [".", "--images", '../it\'s a "park" $HOME'], "../labels-balanced"
    yield ".", ["./-x"], "./-x-balanced"
    yield ".", ["--", "-x"], "./-x-balanced"


@pytest.mark.parametrize("way", range(9))
@pytest.mark.slow(but="0")
def test_commands_name_the_dataset_as_the_user_did(way: int, desk: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Paths stay as given and are quoted, options that reading takes are repeated, and the result lies where nothing is, outside the dataset."""
    park = desk / 'it\'s a "park" $HOME'
    coco(park)
    (park / "labels").mkdir()
    shutil.copytree(park, desk / "-x")
    (desk / "labels").mkdir()
    shutil.copy(park / "train.json", desk / "labels")
    folder, given, result = list(beside(desk))[way]
    monkeypatch.chdir(desk / folder)
    report = audit(*given)
    [balanced] = [r["command"] for r in report["recommendations"] if r["action"] == "repeat_factor"]
    words = shlex.split(balanced)

    assert words[2] == ("./-x" if "-x" in given[-1] else given[0])
    assert words[3] == result
    assert [word for word in given[1:] if word not in words and word != "-x"] == []
    run_all(report)
    Path(result).mkdir()
    assert written(next(r["command"] for r in audit(*given)["recommendations"] if r["action"] == "repeat_factor")) == f"{result}-2"
    if folder == "desk" and given[0].startswith(".."):
        outside = {**report, "run": None}
        assert str(desk) not in json.dumps(outside)


def test_without_image_files_nothing_is_made_of_them(desk: Path) -> None:
    """Labels alone can be repeated, weighed and split."""
    coco(desk / "park")
    for picture in (desk / "park").glob("*.jpg"):
        picture.unlink()

    ran = run_all(audit("../park"))

    assert "augment" not in ran and {"repeat_factor", "weights", "resplit"} <= set(ran)


def test_only_records_that_are_lost_have_to_be_allowed(desk: Path) -> None:
    """Rows without an outline among polygons are an error to some trainers, but every one of them is written; a box without area is not."""
    (desk / "park" / "images").mkdir(parents=True)
    (desk / "park" / "labels").mkdir()
    (desk / "park" / "data.yaml").write_text("path: .\ntrain: images\nval: images\nnames: [cat]\n")
    for number in range(12):
        (desk / "park" / "images" / f"s{number}.jpg").write_bytes((FIXTURES / "yolo/images/train/street_001.jpg").read_bytes())
        row = "0 .2 .2 .8 .2 .8 .8 .2 .8" if number % 2 else "0 .5 .5 .2 .2"
        (desk / "park" / "labels" / f"s{number}.txt").write_text(row + "\n")
    found = {finding["code"]: finding["severity"] for finding in audit("../park", "--no-pixels")["findings"]}
    assert "error" in {found.get("DD151"), found.get("DD152")}
    assert invoke("convert", "../park", "as-it-is", "--to", "yolo")[0] == 0

    (desk / "park" / "labels" / "s0.txt").write_text("0 .5 .5 0 .2\n")
    code, out, err = invoke("convert", "../park", "without", "--to", "yolo")

    assert (code, out) == (2, "")
    assert "1 label record would be left out" in err and "DD101" in err and "DD152" not in err and "--allow-errors" in err
    assert invoke("convert", "../park", "without", "--to", "yolo", "--allow-errors")[0] == 0
