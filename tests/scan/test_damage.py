"""Damage in JPEG data: what a decoder says at a reduced scale is what it says at the full one."""

from __future__ import annotations

import io
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from dataset_doctor.pixels import FileState
from dataset_doctor.scan import scan
from tests.scan.pictures import encoded, folder_of, photo

SIZES = ((160, 120), (320, 240), (640, 480), (1280, 960))
"""Images that the scan decodes in full, at a half, a quarter and an eighth of their scale."""

KINDS: list[dict[str, Any]] = [{}, {"progressive": True}, {"restart_marker_blocks": 40}, {"subsampling": 0}]
DAMAGE = ("cut", "cut, with an end mark", "one byte", "random bytes", "zeros", "bytes removed")


def damaged(data: bytes, damage: str, chance: random.Random) -> bytes:
    """Damage the compressed data, which starts after the first of its marks, at a random place."""
    start = data.index(b"\xff\xda") + 14
    at = chance.randrange(start, len(data) - 200)
    n = chance.randrange(20, 180)
    return {
        "cut": data[:at],
        "cut, with an end mark": data[:at] + b"\xff\xd9",
        "one byte": data[:at] + bytes([data[at] ^ chance.randrange(1, 256)]) + data[at + 1 :],
        "random bytes": data[:at] + chance.randbytes(n) + data[at + n :],
        "zeros": data[:at] + bytes(n) + data[at + n :],
        "bytes removed": data[:at] + data[at + n :],
    }[damage]


def what_full_decoders_say(data: bytes, capfd: pytest.CaptureFixture[str]) -> tuple[str, bool]:
    """Decode in full; give what libjpeg writes to stderr inside OpenCV, and whether anything is wrong with OpenCV or Pillow."""
    import cv2

    capfd.readouterr()
    decoded = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    said = capfd.readouterr().err.strip()
    try:
        with Image.open(io.BytesIO(data)) as image:
            image.load()
        fine = decoded is not None
    except Exception:  # Pillow raises anything
        fine = False
    return said, bool(said) or not fine


@pytest.mark.slow
def test_a_reduced_decode_finds_what_full_decodes_find(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """Of 96 damaged JPEGs of all kinds and scales, those of which Pillow or OpenCV complain in full are found, with the same words."""
    chance = random.Random(20)
    files, full = {}, {}
    for number, (size, damage) in enumerate((size, damage) for size in SIZES for damage in DAMAGE):
        for i, options in enumerate(KINDS):
            sound = encoded(photo(number, *size), quality=90, **options)
            files[f"{number:02}-{i}-sound.jpg"] = sound
            files[f"{number:02}-{i}-{damage.replace(' ', '-').replace(',', '')}.jpg"] = damaged(sound, damage, chance)
    for name, data in files.items():
        full[name] = what_full_decoders_say(data, capfd)
    dataset = folder_of(tmp_path, files)
    pixels = scan(dataset, cache=None)
    names = [name.rpartition("/")[2] for name in dataset.images.file_name]
    assert sum(wrong for _, wrong in full.values()) > 60
    for name, state, error in zip(names, pixels.state.tolist(), pixels.error, strict=True):
        said, wrong = full[name]
        assert (state != FileState.SOUND) == wrong, (name, said, error)
        assert not said or error == said, name
        assert "sound" not in name or not wrong, name
        if "cut" in name:
            assert state == FileState.TRUNCATED, name


def with_padding(padding: bytes) -> bytes:
    data = encoded(photo(0))
    return data[:-2] + padding + data[-2:]


@pytest.mark.parametrize(
    ("padding", "state"),
    [
        (b"\0", FileState.SOUND),
        (b"\x12\x34", FileState.SOUND),
        (bytes(12), FileState.SOUND),
        (bytes(40), FileState.SUSPECT),
        (bytes(range(20)), FileState.SUSPECT),
        (bytes(range(100)), FileState.SUSPECT),
    ],
)
def test_padding_before_the_end_is_told_from_damage(tmp_path: Path, padding: bytes, state: FileState) -> None:
    """A few bytes that a camera has put before the mark that ends a JPEG do no harm; more are what a lost decoder leaves.

    libjpeg reads some five bytes ahead, which it does not count.
    """
    pixels = scan(folder_of(tmp_path, {"a.jpg": with_padding(padding)}), cache=None, workers=1)
    assert FileState(pixels.state[0]).name == state.name
    assert (pixels.error[0] is None) == (state == FileState.SOUND)
