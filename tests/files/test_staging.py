"""Writing at once and whole: killed at every step, beside other writers, and where names cannot be exchanged."""

from __future__ import annotations

import os
import shutil
import signal
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from dataset_doctor import read, write
from dataset_doctor.files import staging
from dataset_doctor.files.staging import STAGED, new_file, new_folder, sweep
from tests.conftest import FIXTURES

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork")


def killed_at(step: int, work: Callable[[], object]) -> bool:
    """Run in a process of its own that is killed right before the n-th thing it asks of the system; tell whether it got so far."""
    child = os.fork()
    if child:
        return os.WIFSIGNALED(os.waitpid(child, 0)[1])
    steps = 0

    def count(event: str, _: object) -> None:
        nonlocal steps
        if event.startswith(("os.", "open", "shutil.", "ctypes.dlsym", "fcntl.")):
            steps += 1
            if steps == step:
                os.kill(os.getpid(), signal.SIGKILL)

    try:
        sys.addaudithook(count)
        work()
    finally:
        os._exit(0)


def contents(path: Path) -> dict[str, bytes]:
    """Everything in a folder, or the one file."""
    return {str(file.relative_to(path.parent)): file.read_bytes() for file in sorted([path, *path.rglob("*")]) if file.is_file()}


def left(folder: Path) -> list[Path]:
    """What writers left behind."""
    return list(folder.glob(f"{STAGED}*"))


def put_folder(target: Path, text: str) -> None:
    """Write a folder of some files."""
    with new_folder(target) as root:
        for name in ("a", "b"):
            (root / name).mkdir()
            (root / name / "file").write_text(text)


def put_file(target: Path, text: str) -> None:
    """Write a file."""
    with new_file(target) as file:
        file.write(text.encode())


@pytest.mark.parametrize("put", [put_folder, put_file])
@pytest.mark.parametrize("exchanges", [True, False])
def test_a_kill_at_every_step_leaves_the_old_or_the_new(
    put: Callable[[Path, str], None], exchanges: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Old or new is there, whole; without the exchange of names, the next writing puts the old one back. Leftovers go."""
    if not exchanges:
        monkeypatch.setattr(staging, "_exchanged", lambda one, other: False)
    elif sys.platform != "linux":
        pytest.skip("this system exchanges no names")
    target = tmp_path / "out"
    put(target, "new")
    new = contents(target)
    put(target, "old")
    old = contents(target)
    seen, restored, step = set(), 0, 0
    while True:
        step += 1
        killed = killed_at(step, lambda: put(target, "new"))
        if not exchanges and not target.exists():
            restored += 1
        elif killed:
            assert contents(target) in (old, new), step
        assert len(left(tmp_path)) <= 2
        sweep(target)
        assert not left(tmp_path)
        assert contents(target) in (old, new), step
        seen.add(contents(target) == new)
        if not killed:
            break
        put(target, "old")

    assert step > 5 and seen == {True, False}
    assert restored == (1 if put is put_folder and not exchanges else 0)


def test_what_another_process_is_writing_stays(tmp_path: Path) -> None:
    """Only what no process holds is swept, and only what was meant for the same place."""
    with new_folder(tmp_path / "out") as root, new_file(tmp_path / "report.json") as file:
        (root / "a").write_text("a")
        sweep(tmp_path / "out")
        sweep(tmp_path / "report.json")
        file.write(b"whole")
        assert len(left(tmp_path)) == 2
        killed_at(8, lambda: put_folder(tmp_path / "other", "x"))
        put_folder(tmp_path / "second", "x")
        assert len(left(tmp_path)) == 3

    assert (tmp_path / "out/a").read_text() == "a" and (tmp_path / "report.json").read_bytes() == b"whole"
    sweep(tmp_path / "other")
    assert not left(tmp_path)


def test_a_name_that_only_looks_like_a_leftover_stays(tmp_path: Path) -> None:
    """Links are not followed, and other names are no leftovers."""
    (tmp_path / "mine").mkdir()
    start = staging._start(tmp_path / "out")
    (tmp_path / f"{start}0123456789ab.tmp").symlink_to(tmp_path / "mine")
    (tmp_path / f"{start}notes.tmp").write_text("mine")
    put_folder(tmp_path / "out", "x")

    assert len(left(tmp_path)) == 2 and (tmp_path / "mine").is_dir()


@pytest.mark.slow
def test_a_command_killed_at_any_step_leaves_the_old_or_the_new(tmp_path: Path) -> None:
    """The same for the writing of a dataset, as it reads, copies, reads back and replaces."""
    source, out = tmp_path / "in", tmp_path / "out"
    shutil.copytree(FIXTURES / "coco", source)
    dataset = read(source)
    write(dataset, out, "yolo")
    new, before = contents(out), contents(source)
    shutil.rmtree(out)
    write(dataset, out, "voc")
    old = contents(out)
    step = 1
    while killed_at(step, lambda: write(dataset, out, "yolo", force=True)):
        assert contents(out) in (old, new), step
        assert len(left(tmp_path)) <= 1
        step += 1 + step // 8
    assert step > 40 and contents(out) == new and contents(source) == before
    assert not left(tmp_path)
