"""The demonstration: everything planted is found at its place, nothing else is wrong, and writing it is safe."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from dataset_doctor import demo, read
from dataset_doctor.audit import examine
from dataset_doctor.checks import CHECKS
from dataset_doctor.errors import OutputRefused, UsageError
from dataset_doctor.findings import Finding
from dataset_doctor.scan import look
from tests.command import run, run_alone
from tests.conftest import ROOT

FORMATS = tuple(demo.FORMATS)
PLACE = ("file", "line", "pointer", "image", "class_name", "split")
NEEDS_PIXELS = {check.name for check in CHECKS if check.needs_pixels}
DATASETS = [(form, name) for form in FORMATS for name in demo.make(form).datasets]
IN_CLEAN = {"folder": {"class-rare"}}

Written = dict[str, Path]


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Written:
    """The demonstration in each format."""
    folders = {}
    for form in FORMATS:
        folders[form] = tmp_path_factory.mktemp("demo") / form
        demo.write(demo.make(form), folders[form])
    return folders


def findings(root: Path, *, pixels: bool) -> dict[str, Finding]:
    """Audit a dataset; findings by name."""
    dataset = read(root)
    looked: dict[str, Any] = {}
    if pixels:
        looked["pixels"], looked["duplicates"] = look(dataset, workers=1, cache=None)
    return {finding.name: finding for finding in examine(dataset, locations=None, **looked).findings}


def contents(root: Path) -> dict[str, str]:
    """Give what stands below a folder: a hash of each file, and where links lead."""
    return {
        path.relative_to(root).as_posix(): f"link to {path.readlink()}"
        if path.is_symlink()
        else hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(root.rglob("*"))
        if path.is_symlink() or path.is_file()
    }


# What is planted -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("form", "name"), DATASETS)
def test_what_is_planted_is_found_at_its_place_and_nothing_else(form: str, name: str, written: Written) -> None:
    """Each planted defect is reported where it was planted; no error or warning is about anything else."""
    plants = demo.make(form).plants[name]
    found = findings(written[form] / name, pixels=not plants or any(plant.check in NEEDS_PIXELS for plant in plants))

    for plant in plants:
        wanted = {key: value for key in PLACE if (value := getattr(plant.where, key)) is not None}
        assert wanted, f"{plant.check} is planted nowhere"
        assert plant.check in found, f"{plant.check} is not found"
        places = [{key: getattr(place, key) for key in PLACE} for place in found[plant.check].locations]
        assert any(wanted.items() <= place.items() for place in places), f"{plant.check}: {wanted} is not among {places[:5]}"
    named = {check for plant in plants for check in (plant.check, *plant.also)}
    assert {check: f.message for check, f in found.items() if f.severity.value != "info" and check not in named} == {}


@pytest.mark.parametrize("form", FORMATS)
def test_the_clean_dataset_has_no_finding(form: str, written: Written) -> None:
    """What is found in the other datasets comes from what was planted there."""
    assert set(findings(written[form] / "clean", pixels=True)) == IN_CLEAN.get(form, set())


@pytest.mark.parametrize("form", FORMATS)
def test_a_consequence_really_follows(form: str, written: Written) -> None:
    """What a planted defect is said to bring about is found beside it."""
    for name, plants in demo.make(form).plants.items():
        if also := {check for plant in plants for check in plant.also}:
            assert also <= set(findings(written[form] / name, pixels=False))


def test_every_check_is_planted_or_has_a_reason() -> None:
    """A new check needs a planted defect, or a reason why none can be shown."""
    planted = {plant.check for form in FORMATS for plants in demo.make(form).plants.values() for plant in plants}

    assert planted | set(demo.UNPLANTED) == {check.name for check in CHECKS}
    assert not planted & set(demo.UNPLANTED)


@pytest.mark.parametrize("form", FORMATS)
def test_no_check_is_planted_twice(form: str) -> None:
    """One defect a check; a dataset of its own is called after its check."""
    plants = demo.make(form).plants
    checks = [plant.check for members in plants.values() for plant in members]

    assert len(checks) == len(set(checks))
    assert all(len(members) == 1 and members[0].check == name for name, members in plants.items() if name not in ("clean", "all"))


@pytest.mark.parametrize("form", FORMATS)
def test_the_readme_tells_everything(form: str, written: Written) -> None:
    """README.txt names each dataset with its command, and each planted defect with code, place and what is wrong."""
    text = (written[form] / "README.txt").read_text(encoding="utf-8")
    code = {check.name: check.code for check in CHECKS}

    for name, plants in demo.make(form).plants.items():
        assert f"\n    dataset-doctor audit {name}" in text
        for plant in plants:
            after = text.partition(f"    {code[plant.check]} {plant.check}\n")[2]
            place, what = after.split("\n")[:2]
            assert (
                plant.where.file or plant.where.image or plant.where.pointer or plant.where.split or plant.where.class_name or "?"
            ) in place
            assert what.strip() == plant.what


def test_it_stays_small(written: Written) -> None:
    """A demonstration is a few megabytes at most."""
    assert all(sum(path.stat().st_size for path in root.rglob("*") if path.is_file()) < 6_000_000 for root in written.values())


# Writing it ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.slow(but="coco")
def test_two_runs_give_the_same_bytes(form: str, written: Written, tmp_path: Path) -> None:
    """Another process, another folder, another hash seed: the same files."""
    done = run_alone("demo", tmp_path / "again", "--format", form, PYTHONHASHSEED="7")

    assert done.returncode == 0, done.stderr
    assert contents(tmp_path / "again") == contents(written[form])


def test_the_command_says_what_to_try(tmp_path: Path) -> None:
    """The commands that are shown work as they stand."""
    done = run("demo", "a park", cwd=tmp_path)
    commands = [line.removeprefix(" Next").strip() for line in done.stdout.splitlines() if "dataset-doctor " in line]

    assert commands == [
        "dataset-doctor audit 'a park/all'",
        "dataset-doctor audit 'a park/class-imbalance'",
        "dataset-doctor explain DD201",
    ]
    assert done.stderr == ""
    assert run("audit", "a park/all", "--no-pixels", cwd=tmp_path).returncode == 1
    assert run("audit", "a park/clean", "--no-pixels", "--fail-on", "warning", cwd=tmp_path).returncode == 0


def test_json_lists_what_is_planted(tmp_path: Path) -> None:
    """`--json` prints one document: datasets, and in them code, name and place of each defect."""
    done = run("demo", "park", "--json", cwd=tmp_path)
    document = json.loads(done.stdout)
    all_of = next(dataset for dataset in document["datasets"] if dataset["name"] == "all")

    assert (document["schema"], document["schema_version"], document["format"]) == ("dataset-doctor/demo", 1, "coco")
    assert {dataset["name"] for dataset in document["datasets"]} == {p.name for p in (tmp_path / "park").iterdir()} - {"README.txt"}
    assert {
        "code": "DD101", "name": "box-degenerate", "what": "the width is 0", "also": [],
        "place": {
            "file": "annotations/instances_train.json", "line": None, "pointer": "/annotations/0/bbox", "image": None, "class": None,
            "split": None,
        },
    } in all_of["plants"]  # fmt: skip


def test_a_dry_run_writes_nothing(tmp_path: Path) -> None:
    """`--dry-run` tells the same, and leaves no trace."""
    done = run("demo", "park", "--dry-run", "--format", "folder", cwd=tmp_path)

    assert done.returncode == 0
    assert "not written" in done.stdout
    assert list(tmp_path.iterdir()) == []


def test_a_wrong_format_gets_a_suggestion(tmp_path: Path) -> None:
    """A mistyped format is refused with the nearest one, by the command and by the library."""
    done = run("demo", "park", "--format", "yollo", cwd=tmp_path)

    assert (done.returncode, done.stdout) == (2, "")
    assert "Did you mean yolo?" in done.stderr
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(UsageError, match="Did you mean coco"):
        demo.make("cocoo")


SMALL = demo.Demo("coco", {"clean": {"a.txt": b"1"}, "all": {"b/c.txt": b"2"}}, {"clean": (), "all": ()})


def test_a_folder_in_a_dataset_is_fine_and_leaves_it_alone(written: Written, tmp_path: Path) -> None:
    """OUT may lie in a dataset, whose files stay as they are."""
    demo.write(SMALL, tmp_path / "first")
    before = contents(tmp_path / "first")

    demo.write(SMALL, tmp_path / "first/clean/demo")

    assert contents(tmp_path / "first/clean/demo") == before
    assert {name: text for name, text in contents(tmp_path / "first").items() if "/demo/" not in name} == before


def folder_with_file(at: Path) -> None:
    at.mkdir()
    (at / "mine.txt").write_text("mine")


def demo_with_file(at: Path) -> None:
    demo.write(SMALL, at)
    (at / "mine.txt").write_text("mine")


def forged(at: Path) -> None:
    """Make a folder whose README is a link to one of ours."""
    demo.write(SMALL, at.parent / "other")
    at.mkdir()
    (at / "README.txt").symlink_to("../other/README.txt")


REFUSED = {
    # what is there, whether --force is given, what is said
    "a file": (lambda at: at.write_text("x"), True, "not a folder"),
    "a link to a folder": (lambda at: (folder_with_file(at.parent / "x"), at.symlink_to("x")), True, "not a folder"),
    "a link to nowhere": (lambda at: at.symlink_to("nowhere"), True, "not a folder"),
    "a link to itself": (lambda at: at.symlink_to("out"), True, ""),
    "a full folder": (folder_with_file, False, "not empty"),
    "a demonstration": (lambda at: demo.write(SMALL, at), False, "force=True"),
    "a foreign folder": (folder_with_file, True, "not written by"),
    "a demonstration with a file more": (demo_with_file, True, "mine.txt"),
    "a folder that looks like one": (forged, True, "not written by"),
}


@pytest.mark.parametrize("case", REFUSED.values(), ids=REFUSED.keys())
def test_what_is_there_is_not_touched(case: tuple[Any, bool, str], tmp_path: Path) -> None:
    """Only an empty folder, or with --force an earlier demonstration, is replaced."""
    make, force, said = case
    make(tmp_path / "out")
    before = contents(tmp_path)

    with pytest.raises(OutputRefused) as refused:
        demo.write(SMALL, tmp_path / "out", force=force)

    assert said in str(refused.value)
    assert contents(tmp_path) == before


@pytest.mark.parametrize("out", [".", "..", "", "a/b", "x" * 300, "a\0b", "/", "/proc/demo", "/dev/null"])
@pytest.mark.parametrize("force", [False, True])
def test_impossible_places_are_refused(out: str, force: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The current folder, folders above it, and what cannot be written are refused, with no trace."""
    monkeypatch.chdir(tmp_path)

    with pytest.raises(OutputRefused):
        demo.write(SMALL, Path(out), force=force)

    assert list(tmp_path.iterdir()) == []


def test_an_empty_folder_and_an_earlier_demonstration_are_replaced(written: Written, tmp_path: Path) -> None:
    """The new one is there whole, and nothing of the old one or of the way to it."""
    (tmp_path / "out").mkdir()
    demo.write(SMALL, tmp_path / "out")
    demo.write(demo.make("folder"), tmp_path / "out", force=True)

    assert contents(tmp_path / "out") == contents(written["folder"])
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


@pytest.mark.parametrize("before", [None, SMALL])
def test_a_full_disk_leaves_the_old_state(before: demo.Demo | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where a write fails, what was there stays, nothing half-written remains, and one line says why."""
    if before is not None:
        demo.write(before, tmp_path / "out")
    old = contents(tmp_path)

    def full(self: Path, _: bytes) -> None:
        if self.name == "c.txt":
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(Path, "write_bytes", full)
        with pytest.raises(OutputRefused, match="no space left"):
            demo.write(SMALL, tmp_path / "out", force=True)

    assert contents(tmp_path) == old
    assert [path.name for path in tmp_path.iterdir()] == ([] if before is None else ["out"])


@pytest.mark.skipif(os.name == "nt", reason="no such signal there")
@pytest.mark.parametrize("before", [None, SMALL])
def test_a_kill_in_the_middle_leaves_nothing_half_written(before: demo.Demo | None, tmp_path: Path) -> None:
    """`kill -9` while files are written: OUT is as it was."""
    if before is not None:
        demo.write(before, tmp_path / "out")
    old = contents(tmp_path / "out")
    code = """if True:
        import os, signal
        from pathlib import Path
        from dataset_doctor import demo
        write, files = Path.write_bytes, []
        def killed(self, content):
            files.append(self)
            if len(files) == 40:
                os.kill(os.getpid(), signal.SIGKILL)
            return write(self, content)
        Path.write_bytes = killed
        demo.write(demo.make("folder"), Path("out"), force=True)
    """

    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, check=False, env={**os.environ, "PYTHONPATH": str(ROOT)})

    assert done.returncode == -signal.SIGKILL
    assert contents(tmp_path / "out") == old
    assert (tmp_path / "out").exists() == (before is not None)
