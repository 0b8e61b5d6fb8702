"""The commands in a real terminal: bars, widths, colours, and Ctrl-C at every stage."""

from __future__ import annotations

import re
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
from _pytest.mark import ParameterSet
from PIL import Image

from tests.cli.terminal import AT_ONCE, READY, Shown, in_terminal, waiting_at_import, waiting_at_progress
from tests.conftest import FIXTURES

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="looks for processes in /proc")

COMMANDS = {
    "audit": ("audit", "{voc}"),
    "split": ("split", "{coco}", "{out}", "--ratios", "50/25/25"),
    "rebalance": ("rebalance", "{coco}", "{out}", "--method", "repeat_factor"),
    "copy_paste": ("rebalance", "{coco}", "{out}", "--method", "copy_paste", "--budget", "1.5"),
    "augment": ("rebalance", "{coco}", "{out}", "--method", "repeat_factor", "--augment", "flip"),
    "convert": ("convert", "{voc}", "{out}", "--to", "yolo"),
    "weights": ("weights", "{voc}"),
    "verify": (
        "verify",
        "{folder}",
        "--arms",
        "baseline,weights:uniform",
        "--seeds",
        "1",
        "--steps",
        "4",
        "--size",
        "32",
        "--device",
        "cpu",
    ),
}
"""All that show how far they have come."""


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """One small dataset a format, beside the user's folder."""
    folder = tmp_path_factory.mktemp("terminal")
    for name in ("coco", "voc"):
        shutil.copytree(FIXTURES / name, folder / name)
    random = np.random.default_rng(0)
    for split in ("train", "val", "test"):
        for number, name in enumerate(("cat", "dog")):
            (folder / "folder" / split / name).mkdir(parents=True)
            for at in range(12):
                pixels = random.integers(0, 120, (40, 40, 3), dtype=np.uint8) + np.uint8(100 * number)
                Image.fromarray(pixels).save(folder / "folder" / split / name / f"{at}.png")
    for name in ("cat", "dog"):
        (folder / "many" / name).mkdir(parents=True)
        for at in range(150):
            Image.fromarray(random.integers(0, 255, (8, 8, 3), dtype=np.uint8)).save(folder / "many" / name / f"{at}.png")
    return {name: folder / name for name in ("coco", "voc", "folder", "many")}


def words(command: str, data: dict[str, Path], out: Path) -> list[str]:
    return [word.format(**data, out=out) for word in COMMANDS[command]]


def check(shown: Shown) -> None:
    """Hold what is true of every command in every terminal."""
    assert "internal error" not in shown.text
    assert "Traceback" not in shown.text
    assert "Exception" not in shown.text
    assert not shown.left_behind


def of_its_suite(command: str, *more: str) -> ParameterSet:
    """Give parameters, marked where the command needs PyTorch."""
    marks = [pytest.mark.train] if command == "verify" else []
    return pytest.param(command, *more, marks=marks, id="-".join((command, *more)).replace(" ", "-"))


@pytest.mark.parametrize("command", [of_its_suite(command) for command in COMMANDS])
@pytest.mark.slow(but="audit")
def test_a_command_shows_how_far_it_has_come(command: str, data: dict[str, Path], tmp_path: Path) -> None:
    """With an empty cache and with a full one: a bar with its rate and the time left, of which nothing stays on the screen."""
    for when in ("cold", "warm"):
        shown = in_terminal(*words(command, data, tmp_path / when), before=AT_ONCE, DATASET_DOCTOR_CACHE=str(tmp_path / "cache"))

        check(shown)
        assert shown.code in (0, 1), shown.text
        assert shown.widest() <= 80, shown.text
        assert re.search(r"/s\b.*(--|\d\d):.* left", shown.text), shown.text
        screen = shown.screen()
        assert "━" not in screen
        assert not re.search(r"(/s|--:--|\d\d:\d\d) left", screen)
        assert shown.text.count("\x1b[?25l") == shown.text.count("\x1b[?25h") > 0, "the cursor comes back"
        assert screen.strip()


@pytest.mark.parametrize("columns", [40, 80, 200])
@pytest.mark.slow(but="40")
def test_the_bar_fits_the_window(columns: int, data: dict[str, Path], tmp_path: Path) -> None:
    """No frame of it is wider than the terminal, which would leave its beginning on the screen; where it is narrow, the figures stay."""
    shown = in_terminal("audit", data["many"], "--fail-on", "never", columns=columns, before=AT_ONCE, DATASET_DOCTOR_CACHE=str(tmp_path))

    check(shown)
    assert shown.code == 0, shown.text
    assert shown.widest() <= columns, shown.text
    assert re.search(r"\d/s\b.*\d\d:\d\d", shown.text), "the rate and the time left"
    assert ("━" in shown.text.partition("Verdict")[0]) == (columns > 40)


def test_without_colour(data: dict[str, Path], tmp_path: Path) -> None:
    """NO_COLOR: the bar moves, and nothing has a colour."""
    shown = in_terminal("audit", data["voc"], before=AT_ONCE, NO_COLOR="1", DATASET_DOCTOR_CACHE=str(tmp_path))

    check(shown)
    assert "━" in shown.text
    assert not re.search(r"\x1b\[[0-9;]*3[0-9][0-9;]*m|\x1b\[[0-9;]*9[0-7][0-9;]*m", shown.text)


def test_a_terminal_that_cannot_redraw(data: dict[str, Path], tmp_path: Path) -> None:
    """TERM=dumb: the report alone, without one escape sequence."""
    shown = in_terminal("audit", data["voc"], before=AT_ONCE, TERM="dumb", DATASET_DOCTOR_CACHE=str(tmp_path))

    check(shown)
    assert "\x1b" not in shown.text
    assert shown.screen().lstrip().startswith("voc")


# Ctrl-C -----------------------------------------------------------------------------------------------------------------


def check_interrupted(shown: Shown) -> None:
    check(shown)
    assert shown.code == 130, shown.text
    said = shown.screen().replace(READY, "").replace("^C", "").split("\n")
    assert [line.strip() for line in said if line.strip()][-1:] == ["dataset-doctor: interrupted."], shown.text
    assert "Error" not in shown.text


IMPORTS = (
    ("audit", "typer"),
    ("audit", "numpy"),
    ("audit", "numpy._core.multiarray"),
    ("audit", "dataset_doctor.checks"),
    ("verify", "torch"),
)


@pytest.mark.parametrize(("command", "module"), [of_its_suite(*pair) for pair in IMPORTS])
@pytest.mark.slow(but="audit-numpy")
def test_ctrl_c_while_something_is_imported(command: str, module: str, data: dict[str, Path], tmp_path: Path) -> None:
    """From the first import on it is one line and exit code 130, also where a library makes another error of it."""
    shown = in_terminal(*words(command, data, tmp_path / "new"), before=waiting_at_import(module), press=lambda text: READY in text)

    check_interrupted(shown)
    assert list(tmp_path.iterdir()) == []


STAGES = (
    ("audit", "reading XML"),
    ("audit", "image sizes"),
    ("audit", "image files"),
    ("split", "Reading annotations"),
    ("split", "Writing"),
    ("copy_paste", "making images"),
    ("augment", "planning copies"),
    ("augment", "making images"),
    ("convert", "writing images"),
    ("verify", "Training"),
)


@pytest.mark.parametrize(("command", "stage"), [of_its_suite(*pair) for pair in STAGES])
@pytest.mark.slow(but="split-Writing")
def test_ctrl_c_while_the_bar_shows(command: str, stage: str, data: dict[str, Path], tmp_path: Path) -> None:
    """At every stage: the bar goes, the cursor comes back, no process and no half-written folder stays."""
    target = tmp_path / "out" / "new"
    target.parent.mkdir()
    before, cache = waiting_at_progress(stage), {"DATASET_DOCTOR_CACHE": str(tmp_path / "cache"), "XDG_CACHE_HOME": str(tmp_path / "state")}
    shown = in_terminal(*words(command, data, target), before=before, press=lambda text: READY in text, **cache)

    check_interrupted(shown)
    assert shown.text.rindex("\x1b[?25h") > shown.text.rindex("\x1b[?25l")
    assert list(target.parent.iterdir()) == []
