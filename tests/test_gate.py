"""The gate: what a baseline knows, what is suppressed, and which exit code that gives."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
import time
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest

import dataset_doctor as dd
from dataset_doctor import gate
from dataset_doctor.dataset import Place
from dataset_doctor.errors import UsageError
from dataset_doctor.findings import Finding, Severity
from tests.command import run
from tests.conftest import FIXTURES
from tests.report.reports import make_finding

GOOD = "0 0.5 0.5 0.2 0.2"
NO_AREA = "0 0.5 0.5 0 0.2"


def make_yolo(root: Path, labels: dict[str, list[str]]) -> Path:
    """Make a YOLO dataset of one class, with a picture for each label file."""
    picture = next((FIXTURES / "yolo").rglob("*.jpg"))
    for name in ("images/train", "labels/train"):
        (root / name).mkdir(parents=True, exist_ok=True)
    (root / "data.yaml").write_text("path: .\ntrain: images/train\nval: images/train\nnames: [cell]\n")
    for stem, lines in labels.items():
        shutil.copy(picture, root / f"images/train/{stem}.jpg")
        (root / f"labels/train/{stem}.txt").write_text("".join(f"{line}\n" for line in lines))
    return root


@pytest.fixture
def broken(tmp_path: Path) -> Path:
    """A dataset with two boxes without area in `a` and one in `b`."""
    return make_yolo(tmp_path / "set", {"a": [NO_AREA, NO_AREA.replace("0.2", "0.3"), GOOD], "b": [NO_AREA], "c": [GOOD]})


def codes_of(done: Any) -> dict[str, Any]:
    return {finding["code"]: finding for finding in json.loads(done.stdout)["findings"]}


def boxes(*places: Place, count: int | None = None) -> Finding:
    return dataclasses.replace(make_finding(places=places), count=len(places) if count is None else count)


def of(known: dict[str, dict[str, int]]) -> gate.Baseline:
    return gate.Baseline("yolo", (), known)


# A baseline ---------------------------------------------------------------------------------------------------------


def test_a_baseline_is_written_once_and_then_compared_with(broken: Path, tmp_path: Path) -> None:
    """Without it the audit fails; writing it passes; what it knows passes; one box more fails, and stderr says where it is."""
    file = tmp_path / "known.json"
    arguments = ("audit", broken, "--select", "DD101", "--baseline", file)

    assert run("audit", broken, "--select", "DD101").returncode == 1
    first = run(*arguments)
    assert first.returncode == 0
    assert "known.json is written: findings in 3 places" in first.stderr
    written = file.read_bytes()
    again = run(*arguments)
    assert (again.returncode, again.stderr) == (0, "")

    (broken / "labels/train/c.txt").write_text(f"{GOOD}\n{NO_AREA}\n")
    more = run(*arguments, "--json")
    assert more.returncode == 1
    assert "DD101 box-degenerate: 1 new, labels/train/c.txt:2" in more.stderr
    finding = codes_of(more)["DD101"]
    assert (finding["count"], finding["known"]) == (4, 3)
    assert [place["state"] for place in finding["locations"]] == ["known", "known", "known", "new"]
    assert file.read_bytes() == written


def test_the_file_is_as_documented(broken: Path, tmp_path: Path) -> None:
    """The whole text, by hand: sorted, one name a line, image before label file."""
    run("audit", broken, "--select", "DD101", "--baseline", tmp_path / "known.json")

    assert json.loads((tmp_path / "known.json").read_text()) == {
        "schema": "dataset-doctor/baseline",
        "schema_version": 1,
        "tool": {"name": "dataset-doctor-vision", "version": dd.audit(dd.read(broken)).version},
        "format": "yolo",
        "images": ["images/train/a.jpg", "images/train/b.jpg", "images/train/c.jpg"],
        "known": {"DD101": {"images/train/a.jpg": 2, "images/train/b.jpg": 1}},
    }
    assert '"known": {"DD101": {\n"images/train/a.jpg": 2,\n"images/train/b.jpg": 1\n}}\n}\n' in (tmp_path / "known.json").read_text()


def test_shifted_lines_are_still_known(broken: Path, tmp_path: Path) -> None:
    """New lines above a known box do not make it new; a second one in the same image does."""
    file = tmp_path / "known.json"
    arguments = ("audit", broken, "--select", "DD101", "--baseline", file)
    run(*arguments)

    (broken / "labels/train/b.txt").write_text(f"{GOOD}\n{GOOD[:-1]}1\n{NO_AREA}\n")
    assert run(*arguments).returncode == 0
    (broken / "labels/train/b.txt").write_text(f"{NO_AREA}\n{NO_AREA[:-1]}1\n")
    assert run(*arguments).returncode == 1


def test_mended_places_are_told(broken: Path, tmp_path: Path) -> None:
    """Where less is found than is known, the run passes and says how to keep it so; checks that did not run are not mended."""
    file = tmp_path / "known.json"
    run("audit", broken, "--baseline", file)
    (broken / "labels/train/b.txt").write_text(f"{GOOD}\n")

    done = run("audit", broken, "--baseline", file, "--select", "DD101")

    assert done.returncode == 0
    assert "knows 1 place where nothing is found any more" in done.stderr
    assert run("audit", broken, "--baseline", file, "--select", "DD102").stderr == ""


def test_new_places_are_among_those_shown(tmp_path: Path) -> None:
    """When places are cut, those that count stay, in file order."""
    places = [Place("a.txt", line, image="a.jpg") for line in range(1, 200)] + [Place("b.txt", 1, image="b.jpg")]
    (judged,) = gate.judge([boxes(*places)], baseline=of({"DD101": {"a.jpg": 500}}), locations=3)

    assert [(place.file, place.line) for place in judged.locations] == [("a.txt", 1), ("a.txt", 2), ("b.txt", 1)]
    assert judged.states == ("known", "known", "new")
    assert (judged.count, judged.known, judged.locations_total) == (200, 199, 200)


@pytest.mark.parametrize(
    ("count", "places", "known", "wanted"),
    [
        (2, ["a", "b"], {}, 0),
        (2, ["a", "b"], {"a": 1}, 1),
        (2, ["a", "a"], {"a": 1}, 1),
        (2, ["a", "a"], {"a": 9}, 2),
        (1, ["a", "b", "c"], {"a": 1, "b": 1, "c": 1}, 1),  # a group of three, all known
        (1, ["a", "b", "c"], {"a": 1, "b": 1}, 0),  # a third image joined it
        (5, [], {"": 5}, 5),  # without places
        (6, [], {"": 5}, 5),
        (3, ["a"], {"a": 1, "": 1}, 2),
    ],
)
def test_a_finding_fails_by_what_exceeds_the_known_counts(count: int, places: list[str], known: dict[str, int], wanted: int) -> None:
    """Written-out cases of count, places and what a baseline knows."""
    finding = boxes(*(Place(image=name) for name in places), count=count)
    (judged,) = gate.judge([finding], baseline=of({"DD101": known}))

    assert judged.known == wanted
    assert bool(gate.failing([judged], Severity.ERROR)) == (wanted < count)


def test_the_key_is_the_first_that_a_place_has(broken: Path) -> None:
    """Image, then file, then class, then split."""
    places = [
        Place("f", image="i", class_name="c"),
        Place("f", class_name="c"),
        Place(class_name="c", split="s"),
        Place(split="s"),
        Place(),
    ]
    taken = gate.take(dd.read(broken), [boxes(*places)])

    assert dict(taken.known["DD101"]) == {"i": 1, "f": 1, "c": 1, "s": 1, "": 1}


def test_failing_needs_the_severity() -> None:
    """A warning fails at `warning` and `info`, not at `error`."""
    finding = make_finding(severity=Severity.WARNING, places=[Place("a")])

    assert [bool(gate.failing([finding], level)) for level in Severity] == [True, True, False]


def test_odd_names_go_through_a_baseline(broken: Path, tmp_path: Path) -> None:
    """Names that are no text come back as they were, from a file that a strict reader accepts."""
    names = ["\udc80", "\ud800", '"\\', "\n", "猫", "\x7f", "", "x" * 5000]
    finding = boxes(*(Place(image=name or None) for name in names))
    dataset = dd.read(broken)
    file = tmp_path / "known.json"
    file.write_text(gate.dump(gate.take(dataset, [finding]), "1"), encoding="ascii")

    (judged,) = gate.judge([finding], baseline=gate.load(file))

    assert judged.known == len(names)


@pytest.mark.slow
def test_a_million_places(tmp_path: Path, broken: Path) -> None:
    """Noting, writing, reading and comparing a million places takes seconds, and the file stays below the limit."""
    finding = boxes(*(Place(f"labels/train/{at // 4:07}.txt", at, image=f"images/train/{at // 4:07}.jpg") for at in range(1_000_000)))
    dataset, file = dd.read(broken), tmp_path / "known.json"

    begun = time.perf_counter()
    file.write_text(gate.dump(gate.take(dataset, [finding]), "1"))
    (judged,) = gate.judge([finding], baseline=gate.load(file), locations=100)

    assert time.perf_counter() - begun < 60
    assert (judged.known, len(judged.locations)) == (1_000_000, 100)
    assert file.stat().st_size < 10_000_000


def test_two_runs_write_the_same_bytes(broken: Path, tmp_path: Path) -> None:
    """A baseline holds no time and no path of the machine."""
    for name in ("one", "two"):
        run("audit", broken, "--baseline", tmp_path / name)

    text = (tmp_path / "one").read_text()
    assert text == (tmp_path / "two").read_text()
    assert str(tmp_path) not in text and text.isascii()


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("", "is not a baseline"),
        ("{", "is not a baseline"),
        ("[]", "is not a baseline"),
        ('{"images": [], "annotations": []}', "is not a baseline.\n  A baseline is written where baseline names a file"),
        ('{"schema": "dataset-doctor/report", "schema_version": 1}', "is not a baseline"),
        ('{"schema": "dataset-doctor/baseline", "schema_version": 2}', "is a baseline of version 2; this program reads 1.\n  Delete it"),
        ('{"schema": "dataset-doctor/baseline", "schema_version": 1}', "is not a baseline"),
        (
            '{"schema": "dataset-doctor/baseline", "schema_version": 1, "format": "yolo", "images": [], "known": {"DD101": {"a": -1}}}',
            ">= 1",
        ),
        (
            '{"schema": "dataset-doctor/baseline", "schema_version": 1, "format": "yolo", "images": [], "known": {"DD101": {"a": "1"}}}',
            "int",
        ),
        ('{"schema": "dataset-doctor/baseline", "schema_version": 1, "format": "csv", "images": [], "known": {}}', "is not a baseline"),
        ("[" * 100_000, "is not a baseline"),
        ('{"schema": ' + "[" * 100_000, "is not a baseline"),
        ('{"x": ' + "[" * 100_000, "is not a baseline"),
        ('{"x": ' + "9" * 100_000 + "}", "is not a baseline"),
        ('{"x": "\\ud800"}', "is not a baseline"),
        ("\x1b[31m\0", "is not a baseline"),
    ],
)
def test_a_file_that_is_no_baseline_is_refused(content: str, says: str, tmp_path: Path) -> None:
    """Whatever it holds, the answer is short and says what to do."""
    (tmp_path / "known.json").write_text(content)

    with pytest.raises(UsageError) as error:
        gate.load(tmp_path / "known.json")

    assert says in str(error.value)
    assert len(str(error.value)) < 500 + len(str(tmp_path))


def test_odd_files_are_not_read_as_a_baseline(tmp_path: Path) -> None:
    """A folder, a pipe, a dangling link and an enormous file are refused, without waiting and without reading."""
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "dangling").symlink_to(tmp_path / "nowhere")
    with (tmp_path / "huge").open("wb") as file:
        file.truncate(gate.MAX_BYTES + 1)

    for name, says in {
        "folder": "a folder",
        "pipe": "not a regular file",
        "dangling": "no such file",
        "huge": "over the limit of 256 MiB",
    }.items():
        done = run("audit", FIXTURES / "yolo", "--baseline", tmp_path / name)
        assert (done.returncode, done.stdout) == (2, "")
        assert says in done.stderr


def test_the_baseline_of_another_dataset_is_refused(broken: Path, tmp_path: Path) -> None:
    """Another format, or no image in common: exit 2 with what to do. With images in common it holds, though all it knew was mended."""
    file = tmp_path / "known.json"
    run("audit", broken, "--baseline", file)
    other = make_yolo(tmp_path / "other", {"x": [NO_AREA], "y": [GOOD]})

    for dataset in (other, FIXTURES / "voc"):
        done = run("audit", dataset, "--baseline", file)
        assert (done.returncode, done.stdout) == (2, "")
        assert "known.json is the baseline of another dataset" in done.stderr
        assert "Delete it and run again" in done.stderr

    for stem in "ab":
        (broken / f"labels/train/{stem}.txt").unlink()
        (broken / f"images/train/{stem}.jpg").unlink()
    assert run("audit", broken, "--baseline", file, "--select", "DD101").returncode == 0


def test_nothing_is_written_when_the_audit_cannot_run(broken: Path, tmp_path: Path) -> None:
    """Exit 2 leaves no baseline: no dataset, a wrong option, a report that cannot be saved."""
    file = tmp_path / "known.json"
    (tmp_path / "empty").mkdir()
    for arguments in (
        ["audit", tmp_path / "empty"],
        ["audit", broken, "--select", "DD999"],
        ["audit", broken, "-o", tmp_path / "nowhere" / "report.json"],
        ["audit", broken, "-o", broken / "labels/train/a.txt"],
    ):
        done = run(*arguments, "--baseline", file)
        assert (done.returncode, done.stdout) == (2, "")
        assert not file.exists()
    done = run("audit", broken, "--baseline", tmp_path / "nowhere" / "known.json")
    assert (done.returncode, done.stdout) == (2, "")
    assert "does not exist" in done.stderr


@pytest.mark.parametrize("name", ["coco", "voc", "yolo", "folder"])
def test_a_baseline_beside_the_data_is_no_part_of_it(name: str, tmp_path: Path) -> None:
    """A baseline and a report written into the dataset's folder change nothing in the next audit."""
    root = shutil.copytree(FIXTURES / name, tmp_path / name)
    arguments = ("audit", root, "--baseline", root / "known.json", "-o", root / "report.sarif", "--json")
    first, second = (json.loads(run(*arguments).stdout) for _ in range(2))

    assert first["findings"] == second["findings"] and first["dataset"] == second["dataset"]


def test_reports_for_people_say_what_does_not_count(broken: Path, tmp_path: Path) -> None:
    """The terminal and the Markdown tell known from new, and give the reason of a suppression."""
    arguments = ("audit", broken, "--select", "DD101", "--baseline", tmp_path / "known.json", "-o", tmp_path / "report.md")
    assert "3 boxes have no area (3 known)" in run(*arguments).stdout
    assert "3 boxes have no area (3 known)" in (tmp_path / "report.md").read_text()

    suppress(tmp_path, 'code = "DD101"', 'reason = "bought so"')
    assert "3 boxes have no area (suppressed: bought so)" in run("audit", broken, "--select", "DD101", cwd=tmp_path).stdout


# Suppressions -------------------------------------------------------------------------------------------------------


def suppress(folder: Path, *lines: str) -> Path:
    (folder / "dataset-doctor-vision.toml").write_text("\n".join(["[[suppress]]", *lines]) + "\n")
    return folder


@pytest.mark.parametrize("code", ["DD101", "box-degenerate", "dd1"])
def test_a_suppressed_finding_stays_and_does_not_fail(code: str, broken: Path, tmp_path: Path) -> None:
    """By code, name or family; the report has the reason."""
    suppress(tmp_path, f'code = "{code}"', 'reason = "sold to us so"')
    done = run("audit", broken, "--json", "--select", "DD1", cwd=tmp_path)

    assert (done.returncode, done.stderr) == (0, "")
    assert codes_of(done)["DD101"]["suppressed"] == "sold to us so"
    assert codes_of(done)["DD101"]["count"] == 3


@pytest.mark.parametrize(
    ("files", "status", "known", "suppressed"),
    [
        ('["labels/train/a.txt"]', 1, 2, None),
        ('["images/train/a*"]', 1, 2, None),
        ('["*/b.txt", "*/a.txt"]', 0, 0, "old"),
        ('"labels/*"', 0, 0, "old"),
        ('["LABELS/*"]', 1, 0, None),
        ('["a.txt"]', 1, 0, None),
    ],
)
def test_files_narrow_a_suppression(files: str, status: int, known: int, suppressed: str | None, broken: Path, tmp_path: Path) -> None:
    """Places that match are known; where all match, the finding is suppressed; the pattern is for the whole path."""
    suppress(tmp_path, 'code = "DD101"', 'reason = "old"', f"files = {files}")
    done = run("audit", broken, "--json", "--select", "DD101", cwd=tmp_path)
    finding = codes_of(done)["DD101"]

    assert (done.returncode, finding["known"], finding["suppressed"]) == (status, known, suppressed)
    assert [place["state"] for place in finding["locations"]].count("suppressed") == known


@pytest.mark.parametrize("quote", ["", '"'])
def test_an_expired_suppression_counts_again(quote: str, broken: Path, tmp_path: Path) -> None:
    """It holds through its last day; after it, stderr says so."""
    for days, status in ((0, 0), (-1, 1)):
        until = date.today() + timedelta(days)
        suppress(tmp_path, 'code = "DD101"', 'reason = "the vendor mends it"', f"until = {quote}{until}{quote}")
        done = run("audit", broken, "--select", "DD101", cwd=tmp_path)

        assert done.returncode == status
        assert (f"the suppression of DD101 ended on {until}" in done.stderr) == bool(status)


def test_what_is_suppressed_does_not_go_into_a_baseline(broken: Path, tmp_path: Path) -> None:
    """When the suppression ends, its findings are new."""
    suppress(tmp_path, 'code = "DD101"', 'reason = "old"', 'files = "*/a.txt"')
    arguments = ("audit", broken, "--select", "DD101", "--baseline", "known.json")
    assert run(*arguments, cwd=tmp_path).returncode == 0
    assert json.loads((tmp_path / "known.json").read_text())["known"] == {"DD101": {"images/train/b.jpg": 1}}
    assert run(*arguments, cwd=tmp_path).returncode == 0

    (tmp_path / "dataset-doctor-vision.toml").unlink()
    done = run(*arguments, cwd=tmp_path)

    assert done.returncode == 1
    assert "DD101 box-degenerate: 2 new, labels/train/a.txt:1" in done.stderr


@pytest.mark.parametrize(
    ("lines", "says"),
    [
        (['reason = "x"'], "suppress 1 has no code"),
        (['code = "DD101"'], "suppress 1 has no reason"),
        (['code = "DD101"', 'reason = "  "'], "suppress 1 has no reason"),
        (['code = "DD101"', "reason = 7"], "suppress 1 has no reason"),
        (['code = "box-degenerat"', 'reason = "x"'], "Did you mean box-degenerate?"),
        (['code = ["DD101"]', 'reason = "x"'], "suppress 1 has no code"),
        (['code = "DD101"', 'reason = "x"', 'untill = "2030-01-01"'], "Did you mean until?"),
        (['code = "DD101"', 'reason = "x"', 'until = "next year"'], "until should be a date, and 'next year' is none"),
        (['code = "DD101"', 'reason = "x"', "until = 2030"], "until should be a date, and 2030 is none"),
        (['code = "DD101"', 'reason = "x"', "until = [2030]"], "until should be a date"),
        (['code = "DD101"', 'reason = "x"', "until = 2030-02-30"], "cannot be read"),
        (['code = "DD101"', 'reason = "x"', "files = 3"], "files should be a list of patterns"),
        (['code = "DD101"', 'reason = "x"', "files = []"], "files should be a list of patterns"),
        (['code = "DD101"', 'reason = "x"', "[[suppress]]", 'code = "DD101"'], "suppress 2 has no reason"),
    ],
)
def test_a_wrong_suppression_is_an_error(lines: list[str], says: str, broken: Path, tmp_path: Path) -> None:
    """Exit 2, the file, the entry and what to write."""
    done = run("audit", broken, cwd=suppress(tmp_path, *lines))

    assert (done.returncode, done.stdout) == (2, "")
    assert says in done.stderr and "dataset-doctor-vision.toml" in done.stderr
    assert len(done.stderr.splitlines()) <= 2


def test_suppress_must_be_a_list_of_tables(broken: Path, tmp_path: Path) -> None:
    """`suppress = "DD101"` is told how to write it, in either file."""
    (tmp_path / "dataset-doctor-vision.toml").write_text('suppress = "DD101"\n')
    assert "below a line [[suppress]]" in run("audit", broken, cwd=tmp_path).stderr
    (tmp_path / "dataset-doctor-vision.toml").unlink()
    (tmp_path / "pyproject.toml").write_text("[tool.dataset-doctor.suppress]\ncode = 1\n")
    assert "below a line [[tool.dataset-doctor.suppress]]" in run("audit", broken, cwd=tmp_path).stderr


# Options ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--select", "DD101", "--ignore", "DD1"], "leave no check to run"),
        (["--policy", "screening"], "--policy screening needs --prior"),
        (["--policy", "screening", "--prior", "0"], "must be above 0 and below 1"),
        (["--policy", "screening", "--prior", "1"], "must be above 0 and below 1"),
        (["--policy", "screening", "--prior", "-0.1"], "must be above 0 and below 1"),
        (["--policy", "screening", "--prior", "nan"], "must be above 0 and below 1"),
        (["--policy", "screening", "--prior", "ten"], "prior must be a number"),
        (["--policy", "article", "--prior", "0.1"], "--prior is for --policy screening"),
        (["--prior", "0.1"], "--prior is for --policy screening"),
        (["--policy", "detectr"], "detector"),
        (["-o", "a.json", "-o", "./a.json"], "given twice"),
        (["-o", "a.json", "--baseline", "a.json"], "given twice"),
        (["--config", "."], "a folder"),
        (["--config", "nowhere.toml"], "nowhere.toml cannot be read: no such file"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_wrong_options_get_a_short_answer(arguments: list[str], says: str, tmp_path: Path) -> None:
    """Exit 2, nothing on stdout, nothing written, and what is wrong."""
    done = run("audit", FIXTURES / "yolo", *(word.strip() for word in arguments), cwd=tmp_path)

    assert (done.returncode, done.stdout) == (2, "")
    assert says in done.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "policy", "prior"),
    [([], None, None), (["--policy", "none"], "none", None), (["--policy", "screening", "--prior", "0.02"], "screening", 0.02)],
)
def test_the_policy_is_in_the_report(arguments: list[str], policy: str | None, prior: float | None) -> None:
    """What was asked for stands in `run.options`."""
    done = run("audit", FIXTURES / "yolo", "--json", *arguments)
    options = json.loads(done.stdout)["run"]["options"]

    assert done.returncode == 0
    assert (options["policy"], options["prior"]) == (policy, prior)


def test_a_check_that_could_not_run_is_no_pass_when_strict(broken: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`--strict` turns `not_run` into exit 1, also where no finding fails."""
    from dataset_doctor import checks

    def hungry(*_: Any) -> None:
        raise MemoryError

    monkeypatch.setattr(checks, "CHECKS", (dataclasses.replace(checks.CHECKS[0], run=hungry),))
    statuses = []
    for extra in ([], ["--strict"], ["--strict", "--fail-on", "never"]):
        done = run("audit", broken, "--json", *extra)
        statuses.append(done.returncode)
        assert json.loads(done.stdout)["not_run"] == [{"code": "DD001", "reason": "not enough memory"}]

    assert statuses == [0, 1, 1]


@pytest.mark.parametrize(
    ("content", "status"),
    [
        ('select = ["DD101"]', 1),
        ('select = "DD101"', 1),
        ('select = "DD102"', 0),
        ('select = ["DD101", "DD102"]\nignore = "DD101"', 0),
        ('fail-on = "never"', 0),
        ('fail_on = "never"', 0),
        ('select = "DD101"\nbaseline = "known.json"', 0),
        ('select = "DD101"\nlocations = 1\nstrict = true\njson = true', 1),
        ('select = "DD101"\npolicy = "screening"\nprior = 0.5', 1),
    ],
)
def test_every_option_may_stand_in_the_configuration(content: str, status: int, broken: Path, tmp_path: Path) -> None:
    """Texts, lists, numbers and switches; a path is meant from the file, wherever the command is run."""
    (tmp_path / "dataset-doctor-vision.toml").write_text(content)
    (tmp_path / "below").mkdir()

    assert run("audit", broken, cwd=tmp_path / "below").returncode == status
    assert (tmp_path / "known.json").exists() == ("baseline" in content)


def test_the_command_line_wins(broken: Path, tmp_path: Path) -> None:
    """A list replaces a list, and a policy given on the command line does not meet the other's number."""
    (tmp_path / "dataset-doctor-vision.toml").write_text('select = "DD101"\npolicy = "screening"\nprior = 0.5\n')

    assert run("audit", broken, "--select", "DD102", cwd=tmp_path).returncode == 0
    assert run("audit", broken, "--policy", "article", "--fail-on", "never", cwd=tmp_path).returncode == 0
    assert run("audit", broken, "--policy", "article", "--prior", "0.2", cwd=tmp_path).returncode == 2


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("strict = 1", "strict is a number, and should be true or false"),
        ('strict = "yes"', "strict is a text, and should be true or false"),
        ("select = 101", "select is a number, and should be a text or a list of texts"),
        ('select = ["DD101", 2]', "select is a list, and should be a text or a list of texts"),
        ("fail-on = true", "fail-on is true or false, and should be a text or a number"),
        ("baseline = { file = 1 }", "baseline is a table, and should be a text or a number"),
        ("images = 2030-01-01", "images is a date, and should be a text or a number"),
        ('fail-on = "loud"', "loud"),
        ('prior = "half"', "prior must be a number"),
        ('basline = "x"', "Did you mean baseline?"),
        ('config = "other.toml"', "config is not an option"),
    ],
)
def test_a_wrong_value_names_the_file_and_the_key(content: str, says: str, tmp_path: Path) -> None:
    """Exit 2, and where to look."""
    (tmp_path / "dataset-doctor-vision.toml").write_text(content)
    done = run("audit", FIXTURES / "yolo", cwd=tmp_path)

    assert (done.returncode, done.stdout) == (2, "")
    assert says in done.stderr and "dataset-doctor-vision.toml" in done.stderr


def test_a_pipe_is_no_configuration(tmp_path: Path) -> None:
    """It is refused, not waited for."""
    os.mkfifo(tmp_path / "pipe.toml")

    assert "not a regular file" in run("audit", FIXTURES / "yolo", "--config", tmp_path / "pipe.toml").stderr


def test_a_report_never_replaces_what_lies_in_the_dataset(tmp_path: Path) -> None:
    """Neither a label file nor a link; an older report gives way."""
    root = shutil.copytree(FIXTURES / "coco", tmp_path / "coco")
    labels = next((root / "annotations").glob("*.json"))
    before = labels.read_bytes()
    (root / "link.json").symlink_to(tmp_path / "outside.json")
    (tmp_path / "outside.json").write_text("{}")
    (root / "dangling.json").symlink_to(tmp_path / "nowhere.json")

    for name in (labels, root / "link.json", root / "dangling.json"):
        done = run("audit", root, "-o", name, "--fail-on", "never")
        assert (done.returncode, done.stdout) == (2, "")
        assert "lies in the dataset and is not a report" in done.stderr
    assert labels.read_bytes() == before and (root / "link.json").is_symlink() and (root / "dangling.json").is_symlink()
    assert [run("audit", root, "-o", root / "new.json", "--fail-on", "never").returncode for _ in range(2)] == [0, 0]
