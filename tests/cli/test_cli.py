"""The command line: exit codes, stdout and stderr, options, configuration and errors, as a user meets them."""

from __future__ import annotations

import json
import os
import shlex
import shutil
from pathlib import Path

import pytest
from PIL import Image

from tests.command import run
from tests.conftest import FIXTURES
from tests.scan.pictures import photo

GOOD = sorted(p for p in FIXTURES.iterdir() if p.is_dir() and not p.name.endswith("-broken"))
BROKEN = sorted(p for p in FIXTURES.iterdir() if p.is_dir() and p.name.endswith("-broken"))


@pytest.mark.parametrize("path", GOOD, ids=lambda p: p.name)
def test_a_good_dataset_passes_in_silence(path: Path) -> None:
    """Exit 0, a report on stdout, nothing on stderr, no error and no warning."""
    done = run("audit", path, "--fail-on", "warning")

    assert done.returncode == 0, done.stdout
    assert done.stderr == ""
    assert max(map(len, done.stdout.splitlines())) <= 80


@pytest.mark.parametrize("path", BROKEN, ids=lambda p: p.name)
def test_a_broken_dataset_fails_with_findings_not_with_a_traceback(path: Path) -> None:
    """Exit 1, findings with places, nothing on stderr."""
    done = run("audit", path, "--json")

    assert done.returncode == 1
    assert done.stderr == ""
    findings = json.loads(done.stdout)["findings"]
    assert any(f["severity"] == "error" for f in findings)
    assert all(f["count"] >= 1 and f["locations_total"] >= len(f["locations"]) for f in findings)


@pytest.mark.parametrize("path", BROKEN, ids=lambda p: p.name)
def test_what_was_planted_is_found(path: Path) -> None:
    """Every planted defect of a kind that a reader or check knows is among the findings."""
    planted = {line.split()[0] for line in (path.parent / f"{path.name}.defects.txt").read_text().splitlines() if line.strip()}
    found = {f["name"] for f in json.loads(run("audit", path, "--json").stdout)["findings"]}

    # Duplicates need the pixel scan.
    assert planted - {"image-duplicate", "split-leakage", "duplicate-label-conflict"} <= found


def test_fail_on_never_and_select_change_the_exit_code() -> None:
    """The gate follows the options."""
    assert run("audit", FIXTURES / "coco-broken", "--fail-on", "never").returncode == 0
    assert run("audit", FIXTURES / "coco-broken", "--select", "DD103").returncode == 0


def test_outputs_by_suffix(tmp_path: Path) -> None:
    """`-o` may be repeated; the suffix picks the form; the JSON file equals stdout's apart from `run`."""
    files = [tmp_path / f"report{suffix}" for suffix in (".json", ".md", ".csv")]
    done = run("audit", FIXTURES / "voc", "--json", *(word for f in files for word in ("-o", f)))

    printed, saved = json.loads(done.stdout), json.loads(files[0].read_text())
    assert {k: v for k, v in printed.items() if k != "run"} == {k: v for k, v in saved.items() if k != "run"}
    assert "\n# voc\n" in files[1].read_text()
    assert files[2].read_text().startswith('"index","id","name"')


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["audit", "/nowhere/at/all"], "no such file or folder"),
        (["audit"], "DATASET is missing."),
        (["audti"], "Did you mean audit?"),
        (["audit", ".", "--fail-onn", "error"], "Did you mean --fail-on?"),
        (["audit", ".", "--fail-on", "eror"], "error"),
        (["audit", ".", "--format", "cocoo"], "coco"),
        (["audit", ".", "--select", "DD999"], "DD999"),
        (["audit", ".", "--locations", "many"], "must be a whole number or all, got many"),
        (["audit", ".", "--near-bits", "9"], "--near-bits must be between 0 and 8, got 9"),
        (["audit", ".", "--near-bits", "few"], "--near-bits"),
        (["audit", ".", "-o", "report.pdf"], ".json"),
        (["audit", ".", "-o", "no/such/folder/report.json"], "no/such/folder"),
        (["explain", "DD99"], "no check is called"),
        (["explain", "DD999"], "Did you mean the family DD6"),
        (["audit", "."], "is empty"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_wrong_arguments_get_a_short_answer(arguments: list[str], says: str, tmp_path: Path) -> None:
    """Exit 2, empty stdout, a line or two on stderr that say what to do, no traceback."""
    done = run(*arguments, cwd=tmp_path)

    assert done.returncode == 2
    assert done.stdout == ""
    assert says in done.stderr
    assert done.stderr.startswith("dataset-doctor: ")
    assert "Traceback" not in done.stderr
    assert len(done.stderr.splitlines()) <= 3


@pytest.mark.parametrize(
    ("arguments", "near_bits", "locations"),
    [([], None, 100), (["--near-bits", "4", "--locations", "7"], 4, 7), (["--near-bits", "0", "--locations", "all"], 0, "all")],
)
def test_the_limits_are_in_the_report(arguments: list[str], near_bits: int | None, locations: int | str) -> None:
    """How many bits may differ and how many places are listed stand in `run.options`."""
    done = run("audit", FIXTURES / "voc", "--json", *arguments)

    options = json.loads(done.stdout)["run"]["options"]
    assert (options["near_bits"], options["locations"]) == (near_bits, locations)


@pytest.mark.parametrize(("bits", "count"), [("0", 0), ("4", 1)])
def test_how_many_bits_may_differ(bits: str, count: int, tmp_path: Path) -> None:
    """A turned, brightened copy whose hash differs in two bits is a near duplicate with `--near-bits 4`, and none with 0."""
    picture = Image.fromarray(photo(5))
    (tmp_path / "dog").mkdir()
    (tmp_path / "cat").mkdir()
    picture.save(tmp_path / "dog" / "a.jpg")
    turned = picture.transpose(Image.Transpose.ROTATE_90)  # the other view, colours of small images, knows mirror images alone
    turned.point(lambda level: min(255, int(level * 1.2))).save(tmp_path / "dog" / "b.jpg")
    Image.fromarray(photo(6)).save(tmp_path / "cat" / "c.jpg")

    done = run("audit", tmp_path, "--json", "--select", "DD502", "--near-bits", bits)

    assert sum(finding["count"] for finding in json.loads(done.stdout)["findings"]) == count


def test_an_empty_folder_and_a_folder_of_pictures(tmp_path: Path) -> None:
    """Without labels the command says what it looked for."""
    assert "is empty" in run("audit", tmp_path).stderr
    shutil.copy(next((FIXTURES / "voc").rglob("*.jpg")), tmp_path / "a.jpg")

    done = run("audit", tmp_path)

    assert done.returncode == 2
    assert "holds 1 image and no labels" in done.stderr
    assert "--images" in done.stderr


def test_two_separate_datasets_must_be_chosen_from(tmp_path: Path) -> None:
    """Disjoint datasets under one root end with the commands to choose from."""
    shutil.copytree(FIXTURES / "coco", tmp_path / "one")
    shutil.copytree(FIXTURES / "voc", tmp_path / "two")

    done = run("audit", tmp_path)

    assert done.returncode == 2
    assert f"dataset-doctor audit {tmp_path}/one --format coco" in done.stderr
    assert f"dataset-doctor audit {tmp_path}/two --format voc" in done.stderr


def test_help_and_version_and_module() -> None:
    """`--help` names the commands; `--version` is a number."""
    assert "audit" in run("--help").stdout
    assert "DATASET" in run("audit", "--help").stdout
    assert run("--version").stdout.strip()[0].isdigit()


def test_explain_shows_one_check_or_all() -> None:
    """A page has its code and headings; the list has every code."""
    page, listing = run("explain", "box-degenerate").stdout, run("explain").stdout

    assert "DD101" in page
    assert "Why it matters" in page
    assert "DD001" in listing
    assert "DD601" in listing


def test_configuration_gives_defaults_and_the_command_line_wins(tmp_path: Path) -> None:
    """The nearest pyproject.toml is used; an option given on the command line overrides it."""
    (tmp_path / "pyproject.toml").write_text('[tool.dataset-doctor]\nfail-on = "never"\n')
    (tmp_path / "below").mkdir()

    assert run("audit", FIXTURES / "coco-broken", cwd=tmp_path / "below").returncode == 0
    assert run("audit", FIXTURES / "coco-broken", "--fail-on", "error", cwd=tmp_path / "below").returncode == 1


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ('fail_onn = "never"', "Did you mean fail-on?"),
        ("fail-on = ", "cannot be read"),
        ('fail-on = "loud"', "loud"),
    ],
)
def test_a_wrong_configuration_is_an_error(content: str, says: str, tmp_path: Path) -> None:
    """Unknown keys, values and broken files end with 2 and the reason."""
    (tmp_path / "dataset-doctor-vision.toml").write_text(content)

    done = run("audit", FIXTURES / "coco", cwd=tmp_path)

    assert done.returncode == 2
    assert says in done.stderr
    assert done.stdout == ""


def test_a_closed_pipe_is_no_error() -> None:
    """`| head` ends quietly."""
    status = os.system(
        f"cd {FIXTURES.parent} && python3 -c 'pass' && ({os.sys.executable} -m dataset_doctor explain | head -1) 2>&1 | grep -q Traceback"
    )

    assert status != 0


def test_a_folder_without_images_is_not_told_where_its_labels_may_be(tmp_path: Path) -> None:
    """Neither images nor labels: `--images` with the same folder would not help."""
    (tmp_path / "notes.md").write_text("nothing to see")
    done = run("audit", tmp_path)

    assert done.returncode == 2
    assert f"{tmp_path} holds neither images nor labels." in done.stderr
    assert "--images" not in done.stderr


def test_the_bare_command_shows_its_help() -> None:
    """On stdout, in lines, every command whole; nothing on stderr."""
    done = run()

    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    assert max(map(len, lines)) <= 80
    assert not [line for line in lines[1:] if line.endswith("...")]
    assert {"audit", "rebalance", "split", "convert", "weights", "verify"} <= {line.split()[0] for line in lines if line.startswith("  ")}
    assert done.stdout == run("--help").stdout


def test_datasets_under_one_folder_are_all_named_as_the_user_gave_the_path(tmp_path: Path) -> None:
    """Of several formats, at any depth, large beside small, with commands that run from there."""
    from shutil import copyfile, copytree

    places = {"coco": "deep/er/one", "yolo": "deep/two words", "voc": "three", "folder": "zoo"}
    for format, place in places.items():
        assert run("demo", tmp_path / format, "--format", format).returncode == 0
        copytree(tmp_path / format / "clean", tmp_path / "all of them" / place)
    flat = tmp_path / "all of them" / "three, flat"
    for file in sorted((tmp_path / "voc" / "clean").rglob("*")):  # a copy in another layout
        if file.suffix in (".xml", ".jpg", ".png"):
            flat.mkdir(exist_ok=True)
            copyfile(file, flat / file.name)
    (tmp_path / "desk").mkdir()

    done = run("audit", "../all of them", cwd=tmp_path / "desk")

    commands = [line.strip() for line in done.stderr.splitlines() if line.strip().startswith("dataset-doctor audit")]
    assert done.returncode == 2 and done.stdout == "" and "5 separate datasets under ../all of them" in done.stderr
    assert [shlex.split(command)[3:] for command in commands] == [["--format", name] for name in ("coco", "yolo", "voc", "voc", "folder")]
    for command in commands:
        assert run(*shlex.split(command)[1:], "--no-pixels", cwd=tmp_path / "desk").returncode in (0, 1)


def test_a_single_label_file_says_what_is_read(tmp_path: Path) -> None:
    """The dataset that it belongs to."""
    assert run("demo", tmp_path / "demo", "--format", "voc").returncode == 0
    file = next((tmp_path / "demo" / "clean").rglob("*.xml"))

    done = run("audit", file, "--no-pixels")

    assert "is one label file of a dataset, which is read as a whole: " in done.stderr and f"in {file.parent}." in done.stderr
