"""The source changes while a command runs: files go, or folders, pipes, devices and links come in their place.

What runs is stopped at a word of its progress, the files are exchanged there, and it goes on. It ends well or with a clear refusal, in
time, and leaves no half of a dataset.
"""

from __future__ import annotations

import ast
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

import dataset_doctor
from dataset_doctor import DoctorError, audit, read, rebalance, split, weigh, write
from dataset_doctor.files.staging import STAGED
from tests.command import in_time, run
from tests.conftest import FIXTURES

SECONDS = 60
PACKAGE = Path(dataset_doctor.__file__).parent
Tick = Callable[[str, int, int], None]


def put_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def put_pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def put_link(target: str) -> Callable[[Path], None]:
    def put(path: Path) -> None:
        path.unlink()
        path.symlink_to(target)

    return put


SWAPS: dict[str, Callable[[Path], None]] = {
    "gone": Path.unlink,
    "a folder": put_folder,
    "a pipe": put_pipe,
    "a link to an endless device": put_link("/dev/zero"),
    "a link to a file outside": put_link("/etc/passwd"),
    "emptied": lambda path: os.truncate(path, 0),
}


def treat(root: Path, out: Path, tick: Tick, method: str) -> None:
    dataset = read(root, progress=tick)
    tick("read", 0, 0)
    treated = rebalance(dataset, method=method, progress=tick).apply(dataset)
    tick("planned", 0, 0)
    write(treated, out, progress=tick)


def divide(root: Path, out: Path, tick: Tick) -> None:
    dataset = read(root, progress=tick)
    tick("read", 0, 0)
    write(split(dataset, group_by="none", progress=tick).apply(dataset), out, progress=tick)


def convert(root: Path, out: Path, tick: Tick, format: str | None = None, materialize: str = "copy") -> None:
    dataset = read(root, progress=tick)
    tick("read", 0, 0)
    write(dataset, out, format=format, materialize=materialize, progress=tick)


def look(root: Path, out: Path, tick: Tick) -> None:
    dataset = read(root, progress=tick)
    tick("read", 0, 0)
    audit(dataset).to_dict()
    weigh(dataset)


COMMANDS: dict[str, Callable[[Path, Path, Tick], None]] = {
    "oversample": lambda root, out, tick: treat(root, out, tick, "oversample"),
    "copy and paste": lambda root, out, tick: treat(root, out, tick, "copy_paste"),
    "split": divide,
    "to coco": lambda root, out, tick: convert(root, out, tick, "coco"),
    "to yolo": lambda root, out, tick: convert(root, out, tick, "yolo"),
    "to voc": lambda root, out, tick: convert(root, out, tick, "voc"),
    "links": lambda root, out, tick: convert(root, out, tick, None, "symlink"),
    "hard links": lambda root, out, tick: convert(root, out, tick, None, "hardlink"),
    "audit and weights": look,
}


RUNS = [
    ("oversample", "coco"), ("oversample", "voc"), ("copy and paste", "yolo"), ("split", "yolo"), ("to coco", "voc"), ("to yolo", "coco"),
    ("to voc", "yolo"), ("links", "voc"), ("hard links", "coco"), ("audit and weights", "voc"),
]  # fmt: skip
IMAGES, LABELS = (".jpg", ".png"), (".json", ".txt", ".xml", ".yaml")


@pytest.mark.parametrize(("name", "source"), RUNS)
@pytest.mark.slow(but="convert-coco")
def test_a_source_that_changes_is_refused_or_does_no_harm(name: str, source: str, tmp_path: Path) -> None:
    """Images or labels are exchanged once the dataset is read, or as its images are written."""
    refused = []
    for kind, swap in SWAPS.items():
        for suffixes, moment in ((IMAGES, "read"), (IMAGES, "writing images"), (LABELS, "read")):
            root, out = tmp_path / "in", tmp_path / "out"
            shutil.copytree(FIXTURES / source, root)
            waiting = [path for path in sorted(root.rglob("*")) if path.suffix in suffixes]
            message = outcome(name, root, out, exchanging(waiting, moment, swap))
            assert not list(tmp_path.glob(f"{STAGED}*"))
            assert "root:" not in message
            if message:
                refused.append((kind, suffixes, moment))
                assert not out.exists()
            elif out.exists():
                read(out)
                assert not any("root:x:" in path.read_text("utf-8", "replace") for path in out.rglob("*") if path.suffix in LABELS)
                shutil.rmtree(out)
            shutil.rmtree(root)
    assert len(refused) >= (0 if name == "audit and weights" else 5)


def exchanging(waiting: list[Path], moment: str, swap: Callable[[Path], None]) -> Tick:
    """Give a progress that exchanges files at a moment."""

    def tick(what: str, _: int, __: int) -> None:
        while what == moment and waiting:
            swap(waiting.pop())

    return tick


def outcome(name: str, root: Path, out: Path, tick: Tick) -> str:
    """Run a command; give its refusal, "" where there is none."""
    with in_time():
        try:
            COMMANDS[name](root, out, tick)
        except DoctorError as error:
            return str(error)
    return ""


@pytest.mark.train
def test_verify_leaves_out_images_that_have_gone(tmp_path: Path) -> None:
    """A trainer's loader meets pipes, devices and folders in the place of images: it says so, and does not wait."""
    detection = pytest.importorskip("dataset_doctor.trials.detection", reason="PyTorch is not installed", exc_type=ImportError)
    shutil.copytree(FIXTURES / "yolo", tmp_path / "in")
    dataset = read(tmp_path / "in")
    images = sorted((tmp_path / "in").rglob("*.jpg"))
    for image, swap in zip(images, SWAPS.values(), strict=False):
        swap(image)
    with in_time():
        views = detection.load(dataset, 64)
    assert f"{len(SWAPS)} images left out, missing or damaged" in views.notes[0]


@pytest.mark.parametrize("option", ["--config", "--baseline", "--classes"])
def test_no_file_that_the_user_names_may_block(option: str, tmp_path: Path) -> None:
    """A pipe in the place of a file that an option names is refused."""
    os.mkfifo(tmp_path / "pipe.toml")

    assert run("audit", FIXTURES / "coco", "--no-pixels", option, tmp_path / "pipe.toml").returncode == 2


def test_no_report_is_read_from_or_written_to_a_pipe(tmp_path: Path) -> None:
    """Neither `--from-report` nor `-o` opens one."""
    os.mkfifo(tmp_path / "pipe.json")

    assert run("rebalance", FIXTURES / "coco", tmp_path / "out", "--from-report", tmp_path / "pipe.json").returncode == 2
    assert run("audit", FIXTURES / "coco", "--no-pixels", "-o", tmp_path / "pipe.json").returncode == 2
    assert (tmp_path / "pipe.json").is_fifo()


OPENS = {"open", "fdopen", "read_text", "read_bytes", "fromfile", "imread", "copyfile", "copy2", "loadtxt", "genfromtxt", "memmap"}
DOORS = {
    "files/staging.py": "what is written, and locks",
    "files/reading.py": "the door",
    "files/output.py": "copies what the door opened",
    "formats/coco/files.py": "reads what the door opened",
    "report/__init__.py": "reads what the door opened",
    "demo/__init__.py": "reads what the door opened",
    "scan/_worker.py": "pipes of its own",
    "report/html/document.py": "the package's own files",
    "trials/store.py": "its own files",
    "trials/loop.py": "/proc",
    "trials/images.py": "a temporary file of its own",
    "cli/app.py": "/dev/null",
}


def test_files_are_opened_through_one_door() -> None:
    """A module that opens files by other means has to be in the table, with its reason."""
    found = set()
    for file in sorted(PACKAGE.rglob("*.py")):
        for node in ast.walk(ast.parse(file.read_text("utf-8"))):
            if isinstance(node, ast.Call):
                name = node.func.attr if isinstance(node.func, ast.Attribute) else node.func.id if isinstance(node.func, ast.Name) else ""
                is_decoder = name == "open" and "BytesIO" in ast.unparse(node)
                is_tree = name == "read_bytes" and node.args
                if name in OPENS and not is_decoder and not is_tree:
                    found.add(file.relative_to(PACKAGE).as_posix())
    assert found == DOORS.keys()
