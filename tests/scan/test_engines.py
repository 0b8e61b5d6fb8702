"""The engines: one file that kills, stalls or fools a worker costs that file; a lost machine costs nothing."""

from __future__ import annotations

import itertools
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from dataset_doctor.errors import DoctorError, UsageError
from dataset_doctor.scan import _engines, scan
from dataset_doctor.scan._engines import Dask, Local, Lost, Outcome, open_engine
from tests.scan.pictures import cannot_import, encoded, folder_of, name_of, photo, slow_name_of


def run(engine: Local | Dask, names: list[str], size: int = 4) -> dict[str, Outcome]:
    """Run `name_of` over names in shards; give the outcome of each name."""
    shards = [names[start : start + size] for start in range(0, len(names), size)]
    done = dict(engine.map(name_of, shards))
    assert sorted(done) == list(range(len(shards)))
    return dict(zip(names, itertools.chain.from_iterable(done[number] for number in range(len(shards))), strict=True))


def lost(outcome: Outcome) -> str:
    assert isinstance(outcome, Lost)
    return outcome.reason


@pytest.mark.slow
def test_a_file_that_kills_or_stalls_its_worker_is_the_only_one_lost(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """A crash, a hang, an exception, too much memory and noise on stdout each cost one file, and nothing reaches the terminal."""
    monkeypatch.setattr(_engines, "SECONDS_A_FILE", 10.0)
    names = ["/a", "/crash1", "/b", "/crash2", "/c", "/hang", "/d", "/fail", "/e", "/noisy", "/f", "/hungry", "/g", "/crash3"]
    with closing(Local(2)) as engine:
        outcomes = run(engine, names)
    assert {name: outcomes[name] for name in ("/a", "/b", "/c", "/d", "/e", "/f", "/g")} == {f"/{c}": c.encode() for c in "abcdefg"}
    assert outcomes["/noisy"] == b"noisy"
    assert all("crashed" in lost(outcomes[f"/crash{i}"]) for i in (1, 2, 3))
    assert lost(outcomes["/hang"]) == "not done after 10 seconds"
    assert lost(outcomes["/fail"]) == "ValueError: no such luck"
    assert lost(outcomes["/hungry"]) == "not enough memory"
    assert capfd.readouterr() == ("", "")


def test_names_that_are_not_text_come_through() -> None:
    """Bytes that are no UTF-8 in a path reach the worker as they are."""
    with closing(Local(1)) as engine:
        assert run(engine, [os.fsdecode(b"/caf\xe9")]) == {os.fsdecode(b"/caf\xe9"): b"caf\xe9"}


def test_a_missing_library_stops_the_scan() -> None:
    """It is not taken for a fault of every file."""
    with closing(Local(1)) as engine, pytest.raises(DoctorError, match="no module named cv2"):
        list(engine.map(cannot_import, [["/a"]]))


def test_no_process_outlives_its_engine() -> None:
    """Also when its results are not awaited, as after Ctrl-C."""
    engine = Local(2)
    results: Iterator[object] = engine.map(slow_name_of, [[f"/{i}" for i in range(40)]] * 4)
    time.sleep(0.5)
    processes = [worker._process for worker in engine._workers]
    results.close()  # type: ignore[attr-defined]
    engine.close()
    assert all(process is None or process.wait(5) is not None for process in processes)


def test_arguments_that_cannot_be_used() -> None:
    """Each is refused with a hint."""
    with pytest.raises(UsageError, match="dask"):
        open_engine("dusk", None, None)
    with pytest.raises(UsageError, match="at least 1, got 0"):
        open_engine("local", 0, None)
    with pytest.raises(UsageError, match="address"):
        open_engine("local", None, "tcp://localhost:1")


def test_dask_is_an_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without it the message names what to install."""
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(UsageError, match=r"pip install '\.\[cluster\]'"):
        open_engine("dask", None, None)


@pytest.mark.slow
def test_a_cluster_with_a_worker_killed_gives_what_this_machine_gives(tmp_path: Path) -> None:
    """Two dask workers, one killed while it works: every file has its result, and the scan equals the local one."""
    pytest.importorskip("distributed")
    script = tmp_path / "cluster.py"
    script.write_text(
        "import os, signal, sys, pickle\n"
        "from contextlib import closing\n"
        "from dataset_doctor.formats import read\n"
        "from dataset_doctor.scan import scan\n"
        "from dataset_doctor.scan._engines import Dask\n"
        "from tests.scan.pictures import slow_name_of\n"
        "if __name__ == '__main__':\n"
        "    with closing(Dask(2, None)) as engine:\n"
        "        workers = engine._cluster.workers\n"
        "        shards = [[f'/{i}-{j}' for j in range(5)] for i in range(16)]\n"
        "        done = {}\n"
        "        for number, outcomes in engine.map(slow_name_of, shards):\n"
        "            if not done:\n"
        "                os.kill(workers[0].pid, signal.SIGKILL)\n"
        "            done[number] = outcomes\n"
        "        assert done == {i: [f'{i}-{j}'.encode() for j in range(5)] for i in range(16)}, done\n"
        "        dataset = read(sys.argv[1], format='folder')\n"
        "        pixels = scan(dataset, engine='dask', address=engine._cluster.scheduler_address, cache=None)\n"
        "    with open(sys.argv[2], 'wb') as file:\n"
        "        pickle.dump([pixels.state, pixels.content_hash, pixels.perceptual], file)\n"
    )
    dataset = folder_of(tmp_path / "data", {f"{i}.jpg": encoded(photo(i)) for i in range(5)})
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, str(script), str(tmp_path / "data"), str(tmp_path / "pixels")]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=150, env=environment)
    assert done.returncode == 0, done.stderr
    import pickle

    state, content, perceptual = pickle.loads((tmp_path / "pixels").read_bytes())
    local = scan(dataset, cache=None)
    n = dataset.n_images
    assert (state[:n] == local.state).all()
    assert (content[:n] == local.content_hash).all()
    assert (perceptual[:n] == local.perceptual).all()


@pytest.mark.slow
def test_shards_that_a_cluster_gives_up_are_done_here(tmp_path: Path) -> None:
    """The whole cluster ends while it works: every file has its result."""
    pytest.importorskip("distributed")
    script = tmp_path / "cluster.py"
    script.write_text(
        "from contextlib import closing\n"
        "from dataset_doctor.scan._engines import Dask\n"
        "from tests.scan.pictures import slow_name_of\n"
        "if __name__ == '__main__':\n"
        "    with closing(Dask(1, None)) as engine:\n"
        "        done = {}\n"
        "        for number, outcomes in engine.map(slow_name_of, [[f'/{i}-{j}' for j in range(5)] for i in range(16)]):\n"
        "            if not done:\n"
        "                engine._cluster.close()\n"
        "            done[number] = outcomes\n"
        "        assert done == {i: [f'{i}-{j}'.encode() for j in range(5)] for i in range(16)}, done\n"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, check=False, timeout=100, env=environment)
    assert done.returncode == 0, done.stderr


@pytest.mark.slow
def test_a_cluster_that_is_not_there() -> None:
    """A scheduler that does not answer is a usage error."""
    pytest.importorskip("distributed")
    with pytest.raises(UsageError, match="No dask scheduler answers"):
        open_engine("dask", None, "tcp://127.0.0.1:9")


def test_one_or_two_workers_give_the_same(tmp_path: Path) -> None:
    """The number of workers changes no value."""
    dataset = folder_of(tmp_path, {f"{i:02}.jpg": encoded(photo(i)) for i in range(20)})
    one, two = scan(dataset, workers=1, cache=None), scan(dataset, workers=2, cache=None)
    assert (one.perceptual == two.perceptual).all()
    assert (one.sharpness == two.sharpness).all()
    assert one.content_hash.tolist() == two.content_hash.tolist()


def _alive(group: int) -> bool:
    """Tell whether a process of the group is left."""
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True


@pytest.mark.slow
def test_ctrl_c_leaves_no_process_and_keeps_what_was_found(tmp_path: Path) -> None:
    """SIGINT ends a scan with KeyboardInterrupt, its workers with it; the next scan takes up where it was."""
    folder_of(
        tmp_path / "data", {f"{i:04}.png": data for i, data in enumerate([encoded(photo(seed, 900, 700), "PNG") for seed in range(6)] * 20)}
    )
    script = (
        # Python takes Ctrl-C for an exception only where the shell above it did not put it in the background.
        "import signal, sys, time\nsignal.signal(signal.SIGINT, signal.default_int_handler)\nfrom dataset_doctor.formats import read\nfrom dataset_doctor.scan import scan\n"
        # A busy machine may deliver the signal late: the scan waits for it.
        "def progress(what, done, total):\n    print(done, flush=True)\n    0 < done < total and len(sys.argv) > 2 and time.sleep(30)\n"
        "try:\n    scan(read(sys.argv[1], format='folder'), workers=1, progress=progress)\n"
        "except KeyboardInterrupt:\n    print('interrupted', flush=True)\n"
    )
    environment = {**os.environ, "DATASET_DOCTOR_CACHE": str(tmp_path / "cache"), "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-c", script, str(tmp_path / "data")]
    process = subprocess.Popen(
        [*command, "wait"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment, start_new_session=True
    )
    assert process.stdout is not None
    for line in process.stdout:
        if int(line) > 0:
            break
    os.killpg(process.pid, signal.SIGINT)
    said, errors = process.communicate(timeout=60)
    assert said.split()[-1] == "interrupted"
    assert errors == ""
    assert process.returncode == 0
    assert any(not _alive(process.pid) or time.sleep(0.1) for _ in range(50))
    again = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120, env=environment)
    assert int(again.stdout.split()[0]) > 0


def test_a_worker_that_cannot_start_stops_the_scan(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is not taken for a crash on every file; the message says what the process said."""
    monkeypatch.setattr(sys, "path", ["/nowhere"])
    with closing(Local(1)) as engine, pytest.raises(DoctorError, match="cannot be started"):
        list(engine.map(name_of, [["/a"]]))
