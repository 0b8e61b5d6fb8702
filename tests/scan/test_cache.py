"""The cache: what has not changed is not opened, and nothing that goes wrong with the cache stops a scan."""

from __future__ import annotations

import os
import shutil
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from dataset_doctor.dataset import Dataset
from dataset_doctor.errors import UsageError
from dataset_doctor.formats import read
from dataset_doctor.pixels import Pixels
from dataset_doctor.scan import CacheWarning, _cache, cache_folder, normalisation, scan, thumbnails
from tests.scan.pictures import encoded, folder_of, photo


def asked(dataset: Dataset, cache: Path | None) -> tuple[Pixels, dict[str, tuple[int, int]]]:
    """Scan; the second value gives for each kind of work how many files were done before it began, and how many there are in all."""
    first: dict[str, tuple[int, int]] = {}
    pixels = scan(dataset, cache=cache, workers=1, progress=lambda what, done, total: first.setdefault(what, (done, total)) and None)
    return pixels, first


def same(one: Pixels, other: Pixels) -> bool:
    return all(
        np.array_equal(getattr(one, name), getattr(other, name), equal_nan=getattr(one, name).dtype.kind == "f")
        for name in Pixels.__slots__
    )


def pictures(n: int) -> dict[str, bytes]:
    return {f"{i:03}.jpg": encoded(photo(i)) for i in range(n)}


@pytest.mark.slow
def test_a_second_scan_opens_no_image(tmp_path: Path) -> None:
    """It starts no worker and opens no file of the dataset, and says the same, pixel hashes included."""
    files = pictures(3)
    files["twin.jpg"] = files["000.jpg"][:2] + b"\xff\xfe\0\x06note" + files["000.jpg"][2:]
    files["cut.jpg"] = files["000.jpg"][:3000]
    dataset = folder_of(tmp_path / "data", files)
    before = scan(dataset, cache=tmp_path / "cache")
    assert sum(value != b"" for value in before.pixel_hash) == 2
    script = (
        "import pickle, sys\nfrom pathlib import Path\nfrom dataset_doctor.formats import read\nfrom dataset_doctor.scan import scan\n"
        "dataset = read(sys.argv[1], format='folder')\nseen = []\n"
        "sys.addaudithook(lambda event, arguments: seen.append((event, str(arguments[0]))) if event in ('open', 'subprocess.Popen') else None)\n"
        "scan(dataset.select(dataset.images.file_name != 'other/other.png'), cache=Path(sys.argv[2]))\nprint([e for e in seen if e[0] != 'open' or 'data' + '/class' in e[1]])\n"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-c", script, str(tmp_path / "data"), str(tmp_path / "cache")]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
    assert done.stdout == "[]\n"
    assert same(before, scan(dataset, cache=tmp_path / "cache"))
    assert not same(before, scan(dataset.select(np.array([1, 0, 2, 3, 4])), cache=tmp_path / "cache"))


def test_a_changed_file_is_scanned_again(tmp_path: Path) -> None:
    """Also one that has kept its size and modification time."""
    dataset = folder_of(tmp_path / "data", pictures(4))
    asked(dataset, tmp_path / "cache")
    changed = tmp_path / "data" / "class" / "001.jpg"
    data, status = bytearray(changed.read_bytes()), changed.stat()
    data[-40] ^= 1
    changed.write_bytes(data)
    os.utime(changed, ns=(status.st_atime_ns, status.st_mtime_ns))
    _, first = asked(dataset, tmp_path / "cache")
    assert first["image files"] == (3, 4)


def test_a_moved_dataset_is_hashed_but_not_decoded(tmp_path: Path) -> None:
    """A copy elsewhere, with new times, is recognised by its contents; the time after that, it is not even hashed."""
    dataset = folder_of(tmp_path / "data", pictures(4))
    before, _ = asked(dataset, tmp_path / "cache")
    shutil.copytree(tmp_path / "data", tmp_path / "moved", copy_function=shutil.copyfile)
    moved = read(tmp_path / "moved", format="folder").select(np.arange(4))
    after, first = asked(moved, tmp_path / "cache")
    assert same(before, after)
    assert first == {"moved files": (1, 4), "image files": (4, 4)}
    _, first = asked(moved, tmp_path / "cache")
    assert first == {"image files": (4, 4)}


def test_another_file_of_the_same_name_and_size_is_not_taken_for_it(tmp_path: Path) -> None:
    """Name, size and time may be equal by chance, as in archives with all times alike; the content decides."""
    one, other = (folder_of(tmp_path / name, {"a.bmp": encoded(photo(seed), "BMP")}) for seed, name in enumerate(("one", "other")))
    for name in ("one", "other"):
        os.utime(tmp_path / name / "class" / "a.bmp", ns=(0, 0))
    first, second = scan(one, cache=tmp_path / "cache"), scan(other, cache=tmp_path / "cache")
    assert first.content_hash[0] != second.content_hash[0]
    assert same(second, scan(other, cache=None))


@pytest.mark.slow
def test_a_killed_scan_is_taken_up_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """After `kill -9` of the process, what was found before is not looked for again, and the result is as of one scan."""
    dataset = folder_of(
        tmp_path / "data", {f"{i:04}.png": data for i, data in enumerate([encoded(photo(seed, 800, 600), "PNG") for seed in range(5)] * 20)}
    )
    script = (
        "import os, signal, sys\nfrom pathlib import Path\nfrom dataset_doctor import scan as package\nfrom dataset_doctor.formats import read\n"
        "package.BATCH_ROWS = 8\n"
        "def killed(_, done, __):\n    done < 36 or os.kill(os.getpid(), signal.SIGKILL)\n"
        "package.scan(read(sys.argv[1], format='folder'), workers=1, cache=Path(sys.argv[2]), progress=killed)\n"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-c", script, str(tmp_path / "data"), str(tmp_path / "cache")]
    assert subprocess.run(command, env=environment, check=False, timeout=120).returncode == -signal.SIGKILL
    pixels, first = asked(dataset, tmp_path / "cache")
    assert 24 <= first["image files"][0] < 100
    assert same(pixels, scan(dataset, cache=None))


@pytest.mark.slow
def test_two_scans_at_once(tmp_path: Path) -> None:
    """They share a cache, both succeed, and the cache is whole afterwards."""
    dataset = folder_of(tmp_path / "data", pictures(60))
    script = (
        "import sys\nfrom pathlib import Path\nfrom dataset_doctor import scan as package\nfrom dataset_doctor.formats import read\n"
        "package.BATCH_ROWS = 4\n"
        "package.scan(read(sys.argv[1], format='folder'), workers=1, cache=Path(sys.argv[2]))\n"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-W", "error", "-c", script, str(tmp_path / "data"), str(tmp_path / "cache")]
    both = [subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment) for _ in range(2)]
    assert [(process.communicate(timeout=120)[1], process.returncode) for process in both] == [("", 0), ("", 0)]
    with sqlite3.connect(tmp_path / "cache" / _cache.FILE_NAME) as base:
        assert base.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    base.close()
    _, first = asked(dataset, tmp_path / "cache")
    assert first["image files"] == (60, 60)


@pytest.mark.parametrize("damage", ["text", "middle", "foreign", "folder", "zeros"])
@pytest.mark.slow(but="foreign")
def test_a_cache_that_is_damaged_or_foreign(tmp_path: Path, damage: str) -> None:
    """It costs a warning and time; a file that is not ours is kept under another name."""
    dataset = folder_of(tmp_path / "data", pictures(12))
    file = tmp_path / "cache" / _cache.FILE_NAME
    expected = scan(dataset, cache=tmp_path / "cache")
    if damage == "text":
        file.write_bytes(b"these are notes of mine " * 500)
    elif damage == "middle":
        data = bytearray(file.read_bytes())
        data[4096:] = os.urandom(len(data) - 4096)
        file.write_bytes(data)
    elif damage == "zeros":
        file.write_bytes(bytes(5000))
    else:
        file.unlink()
        if damage == "folder":
            file.mkdir()
        else:
            base = sqlite3.connect(file)
            base.execute("CREATE TABLE mine (x)")
            base.close()
    with pytest.warns(CacheWarning):
        pixels = scan(dataset, cache=tmp_path / "cache")
    assert same(pixels, expected)
    if damage != "folder":
        assert file.with_name(file.name + ".damaged").exists()
        scan(dataset, cache=tmp_path / "cache")
        assert asked(dataset, tmp_path / "cache")[1]["image files"] == (12, 12)


def test_values_that_are_too_short_are_not_believed(tmp_path: Path) -> None:
    """A row that somebody has shortened is found anew."""
    dataset = folder_of(tmp_path / "data", pictures(2))
    expected = scan(dataset, cache=tmp_path / "cache")
    base = sqlite3.connect(tmp_path / "cache" / _cache.FILE_NAME)
    with base:
        base.execute("UPDATE results SET value = x'00'")
    base.close()
    assert same(scan(dataset, cache=tmp_path / "cache"), expected)


@pytest.mark.slow
def test_a_full_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The scan goes on, with one warning."""
    dataset = folder_of(tmp_path / "data", {f"{i:03}.png": encoded(photo(i, 16, 16), "PNG") for i in range(60)})
    connect = _cache._connect

    def cramped(file: Path) -> sqlite3.Connection:
        base = connect(file)
        base.execute(f"PRAGMA max_page_count = {base.execute('PRAGMA page_count').fetchone()[0]}")
        return base

    monkeypatch.setattr(_cache, "_connect", cramped)
    monkeypatch.setattr("dataset_doctor.scan.BATCH_ROWS", 2)
    with pytest.warns(CacheWarning, match="full") as warned:
        pixels = scan(dataset, cache=tmp_path / "cache")
    assert len(warned) == 1
    assert same(pixels, scan(dataset, cache=None))


def test_a_folder_that_cannot_be_made(tmp_path: Path) -> None:
    """A file in the place of the cache folder costs a warning."""
    (tmp_path / "cache").write_text("")
    dataset = folder_of(tmp_path / "data", pictures(1))
    with pytest.warns(CacheWarning):
        assert scan(dataset, cache=tmp_path / "cache").state[0] == 1


def test_the_cache_never_lies_in_the_dataset(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder that was chosen there is refused; the user's own one there is not used, with a warning."""
    dataset = folder_of(tmp_path, pictures(1))
    with pytest.raises(UsageError, match="lies in the dataset"):
        scan(dataset, cache=tmp_path / "class" / ".cache")
    monkeypatch.setenv("DATASET_DOCTOR_CACHE", str(tmp_path / "c"))
    with pytest.raises(UsageError, match="lies in the dataset"):
        scan(dataset)
    monkeypatch.delenv("DATASET_DOCTOR_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "c"))
    with pytest.warns(CacheWarning, match="lies in the dataset"):
        scan(dataset)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["class", "other"]


def test_where_the_cache_lies(monkeypatch: pytest.MonkeyPatch) -> None:
    """The variable first, then XDG if absolute, then the home folder."""
    monkeypatch.setenv("DATASET_DOCTOR_CACHE", "/c")
    assert cache_folder() == Path("/c")
    monkeypatch.delenv("DATASET_DOCTOR_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", "/x")
    assert cache_folder() == Path("/x/dataset-doctor-vision")
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")
    monkeypatch.setenv("HOME", "/home/me")
    assert cache_folder() == Path("/home/me/.cache/dataset-doctor-vision")


@pytest.mark.slow
def test_the_cache_forgets_what_was_used_longest_ago(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Over its limit, files of the oldest day go first; those that were asked for again today stay."""
    old = folder_of(tmp_path / "old", pictures(90))
    new = folder_of(tmp_path / "new", {f"n{i}.jpg": encoded(photo(100 + i)) for i in range(30)})
    monkeypatch.setattr(_cache, "_today", lambda: 1)
    scan(old, cache=tmp_path / "cache")
    monkeypatch.setattr(_cache, "_today", lambda: 2)
    scan(new, cache=tmp_path / "cache")
    monkeypatch.setattr(_cache, "_today", lambda: 3)
    base = sqlite3.connect(tmp_path / "cache" / _cache.FILE_NAME)
    pages, size = (base.execute(f"PRAGMA {name}").fetchone()[0] for name in ("page_count", "page_size"))
    base.close()
    monkeypatch.setattr(_cache, "MAX_BYTES", pages * size - 1)
    assert asked(new, tmp_path / "cache")[1]["image files"] == (30, 30)
    monkeypatch.setattr(_cache, "MAX_BYTES", 1 << 30)
    assert asked(new, tmp_path / "cache")[1]["image files"] == (30, 30)
    assert asked(old, tmp_path / "cache")[1]["image files"] == (0, 90)


def test_thumbnails_come_from_the_cache_too(tmp_path: Path) -> None:
    """Luma of the upright image, 32 × 32; what cannot be decoded is black; the second time no worker is started."""
    halves = np.zeros((120, 160, 3), np.uint8)
    halves[:, 80:] = 255
    dataset = folder_of(tmp_path / "data", {"a.png": encoded(halves, "PNG"), "b.jpg": b"no image"})
    pixels = scan(dataset, cache=tmp_path / "cache")
    shown: list[str] = []
    of = thumbnails(dataset, pixels, cache=tmp_path / "cache", progress=lambda what, done, total: shown.append(what))
    made = of(np.array([1, 0], np.intp))
    assert made.shape == (2, 32, 32)
    assert made[0].max() == 0
    assert (made[1][:, :15].max(), made[1][:, 17:].min()) == (0, 255)
    shown.clear()
    assert (of(np.array([1, 0], np.intp)) == made).all()
    assert shown == []


def test_channel_statistics_are_pooled_over_the_training_split(tmp_path: Path) -> None:
    """A black image of 100 × 100 and a white one of 100 × 300 in train: mean ¾, deviation √3⁄4; other splits do not count."""
    for split, name, level, height in (("train", "a", 0, 100), ("train", "b", 255, 300), ("val", "a", 128, 400), ("val", "b", 9, 9)):
        (tmp_path / split / name).mkdir(parents=True)
        (tmp_path / split / name / "x.png").write_bytes(encoded(np.full((height, 100, 3), level, np.uint8), "PNG"))
    dataset = read(tmp_path, format="folder")
    found = normalisation(dataset, scan(dataset, cache=None))
    assert found is not None
    assert found.n_images == 2
    assert found.mean == pytest.approx((0.75,) * 3)
    assert found.std == pytest.approx((3**0.5 / 4,) * 3)
    assert normalisation(dataset.select(np.array([], np.intp)), scan(dataset.select(np.array([], np.intp)), cache=None)) is None
