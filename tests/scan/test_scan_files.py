"""What the scan says of single files: formats, modes, EXIF, damage."""

from __future__ import annotations

import io
import os
import struct
import zlib
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image, ImageFilter

from dataset_doctor.pixels import FileState, Pixels
from dataset_doctor.scan import scan
from dataset_doctor.scan.near import CROWD_EQUAL, turned
from tests.scan.pictures import encoded, folder_of, listed, photo


def scanned(root: Path, files: dict[str, bytes]) -> dict[str, tuple[Pixels, int]]:
    """Scan files without a cache; give for each name the table and its row."""
    dataset = folder_of(root, files)
    pixels = scan(dataset, cache=None, workers=1)
    names = [name.rpartition("/")[2] for name in dataset.images.file_name]
    assert set(names) == set(files)
    return {name: (pixels, row) for row, name in enumerate(names)}


def test_formats_modes_and_depths(tmp_path: Path) -> None:
    """Each format is known by its content, with its mode as Pillow names it, the bits it stores, and its number of images."""
    image = Image.fromarray(photo())
    grey16 = Image.fromarray(photo()[..., 0].astype(np.uint16) * 257)
    frames = {"save_all": True, "append_images": [Image.fromarray(255 - photo())]}
    files = {
        "rgb.jpg": (encoded(image), "JPEG", "RGB", 8, 1),
        "grey.jpg": (encoded(image.convert("L")), "JPEG", "L", 8, 1),
        "cmyk.jpg": (encoded(image.convert("CMYK")), "JPEG", "CMYK", 8, 1),
        "progressive.jpg": (encoded(image, progressive=True), "JPEG", "RGB", 8, 1),
        "rgb.png": (encoded(image, "PNG"), "PNG", "RGB", 8, 1),
        "rgba.png": (encoded(image.convert("RGBA"), "PNG"), "PNG", "RGBA", 8, 1),
        "la.png": (encoded(image.convert("LA"), "PNG"), "PNG", "LA", 8, 1),
        "palette.png": (encoded(image.convert("P"), "PNG"), "PNG", "P", 8, 1),
        "bits.png": (encoded(image.convert("1"), "PNG"), "PNG", "1", 1, 1),
        "deep.png": (encoded(grey16, "PNG"), "PNG", "I;16", 16, 1),
        "deep.tif": (encoded(grey16, "TIFF"), "TIFF", "I;16", 16, 1),
        "lzw.tif": (encoded(image, "TIFF", compression="tiff_lzw"), "TIFF", "RGB", 8, 1),
        "pages.tif": (encoded(image, "TIFF", **frames), "TIFF", "RGB", 8, 2),
        "moving.gif": (encoded(image, "GIF", **frames), "GIF", "P", 8, 2),
        "moving.webp": (encoded(image, "WEBP", **frames), "WEBP", "RGB", 8, 2),
        "still.webp": (encoded(image, "WEBP"), "WEBP", "RGB", 8, 1),
        "plain.bmp": (encoded(image, "BMP"), "BMP", "RGB", 8, 1),
        "plain.ppm": (encoded(image, "PPM"), "PNM", "RGB", 8, 1),
        "plain.jp2": (encoded(image, "JPEG2000"), "JPEG2000", "RGB", 8, 1),
        "png-in-truth.jpg": (encoded(image, "PNG"), "PNG", "RGB", 8, 1),
    }
    rows = scanned(tmp_path, {name: data for name, (data, *_) in files.items()})
    for name, (data, *expected) in files.items():
        pixels, row = rows[name]
        found = [pixels.file_format[row], pixels.mode[row], pixels.bit_depth[row], pixels.frames[row]]
        assert found == expected, name
        assert (pixels.state[row], pixels.error[row], pixels.size_bytes[row]) == (FileState.SOUND, None, len(data)), name
        assert np.isfinite(pixels.sharpness[row]), name
        assert len(pixels.content_hash[row]) == 16, name


def test_a_picture_only_pillow_reads_is_suspect(tmp_path: Path) -> None:
    """A float TIFF, which OpenCV does not decode, is not called sound, and has statistics all the same."""
    pixels, row = scanned(tmp_path, {"float.tif": encoded(Image.fromarray(photo()[..., 0].astype(np.float32)), "TIFF")})["float.tif"]
    assert pixels.state[row] == FileState.SUSPECT
    assert "OpenCV cannot read it" in pixels.error[row]
    assert (pixels.mode[row], pixels.bit_depth[row]) == ("F", 32)
    assert pixels.contrast[row] > 0.1


def test_exif_turns_the_picture(tmp_path: Path) -> None:
    """Whatever orientation a file is stored in, the upright image has the hash of the plain one; those of others follow from it."""
    upright = Image.fromarray(photo(3))
    undo = {
        1: None, 2: Image.Transpose.FLIP_LEFT_RIGHT, 3: Image.Transpose.ROTATE_180, 4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE, 6: Image.Transpose.ROTATE_90, 7: Image.Transpose.TRANSVERSE, 8: Image.Transpose.ROTATE_270,
    }  # fmt: skip
    files = {"plain.png": encoded(upright, "PNG")}
    for orientation, stored in undo.items():
        files[f"as stored {orientation}.png"] = encoded(upright.transpose(stored) if stored is not None else upright, "PNG")
        exif = Image.Exif()
        exif[0x0112] = orientation
        image = upright.transpose(stored) if stored is not None else upright
        for file_format in ("JPEG", "PNG", "WEBP", "TIFF"):
            options = {"lossless": True} if file_format == "WEBP" else {"quality": 97} if file_format == "JPEG" else {}
            files[f"{orientation}.{file_format.lower()}"] = encoded(image, file_format, exif=exif, **options)
    files = {name.replace(".jpeg", ".jpg"): data for name, data in files.items()}
    rows = scanned(tmp_path, files)
    pixels, plain = rows["plain.png"]
    hashes = {orientation: pixels.perceptual[rows[f"as stored {orientation}.png"][1]] for orientation in undo}
    assert len(set(hashes.values())) == 8
    for orientation, stored_hash in hashes.items():
        assert int(turned(stored_hash[None], orientation)[0] ^ pixels.perceptual[plain]).bit_count() <= 1, orientation
    for name, (_, row) in rows.items():
        if name[0].isdigit():
            assert pixels.orientation[row] == int(name[0]), name
            assert int(pixels.perceptual[row] ^ pixels.perceptual[plain]).bit_count() <= 1, name


def test_what_exif_gives_away(tmp_path: Path) -> None:
    """A place needs latitude and longitude; a serial number or an owner's name counts, zeros and blanks do not."""

    def with_exif(
        *, ifd0: dict[int, object] | None = None, details: dict[int, object] | None = None, gps: dict[int, object] | None = None
    ) -> bytes:
        exif = Image.Exif()
        exif[0x010F] = "Maker"
        exif.update(ifd0 or {})
        if details:
            exif.get_ifd(0x8769).update(details)
        if gps:
            exif.get_ifd(0x8825).update(gps)
        return encoded(photo(), exif=exif)

    degrees = (47.0, 0.0, 0.0)
    files = {
        "maker.jpg": (with_exif(), False, False),
        "place.jpg": (with_exif(gps={1: "N", 2: degrees, 3: "E", 4: degrees}), True, False),
        "version.jpg": (with_exif(gps={0: b"\2\3\0\0"}), False, False),
        "artist.jpg": (with_exif(ifd0={0x013B: "A. Person"}), False, True),
        "serial.jpg": (with_exif(details={0xA431: "12345"}), False, True),
        "zeros.jpg": (with_exif(details={0xA431: "0000"}, ifd0={0x013B: "  "}), False, False),
        "broken.jpg": (encoded(photo(), exif=b"Exif\0\0II*\0\xff\xff\xff\x7f"), False, False),
        "none.jpg": (encoded(photo()), False, False),
    }
    for name, (pixels, row) in scanned(tmp_path, {name: data for name, (data, *_) in files.items()}).items():
        assert (bool(pixels.has_gps[row]), bool(pixels.has_serial[row])) == files[name][1:], name
        assert pixels.state[row] == FileState.SOUND, name


def test_damage(tmp_path: Path) -> None:
    """Cut off, damaged inside, and no image at all are told apart, with a reason; what is merely untidy is sound."""
    jpeg, png = encoded(photo(), quality=90), encoded(photo(), "PNG")
    half = len(jpeg) // 2
    thumbnail_exif = b"Exif\0\0" + jpeg[:2000] + b"\xff\xd9"
    with_thumbnail = jpeg[:2] + b"\xff\xe1" + struct.pack(">H", len(thumbnail_exif) + 2) + thumbnail_exif + jpeg[2:]
    flipped = bytearray(png)
    flipped[len(png) // 2] ^= 0xFF
    bomb = png[:16] + struct.pack(">II", 60_000, 60_000) + png[24:29]
    bomb += struct.pack(">I", zlib.crc32(bomb[12:29])) + png[33:]
    files = {
        "sound.jpg": (jpeg, FileState.SOUND, None),
        "trailer.jpg": (jpeg + b"some camera's notes", FileState.SOUND, None),
        "zeros.jpg": (jpeg + bytes(100), FileState.SOUND, None),
        "half.jpg": (jpeg[:half], FileState.TRUNCATED, "truncated"),
        "thumb.jpg": (with_thumbnail[: len(with_thumbnail) - half], FileState.TRUNCATED, "truncated"),
        "no-end.jpg": (jpeg[:-2], FileState.TRUNCATED, "truncated"),
        "early-end.jpg": (jpeg[:half] + b"\xff\xd9", FileState.TRUNCATED, "premature end"),
        "half.png": (png[: len(png) // 2], FileState.TRUNCATED, "incomplete"),
        "no-end.png": (png[:-12], FileState.TRUNCATED, "PNG"),
        "flipped.png": (bytes(flipped), FileState.CORRUPT, ""),
        "half.webp": (encoded(photo(), "WEBP")[:2000], FileState.TRUNCATED, ""),
        "half.gif": (encoded(photo(), "GIF")[:2000], FileState.TRUNCATED, "truncated"),
        "half.bmp": (encoded(photo(), "BMP")[:9000], FileState.TRUNCATED, "truncated"),
        "empty.jpg": (b"", FileState.CORRUPT, "an empty file"),
        "text.jpg": (b"<html>404 Not Found</html>", FileState.CORRUPT, "not an image"),
        "pointer.jpg": (b"version https://git-lfs.github.com/spec/v1\n", FileState.CORRUPT, "Git LFS"),
        "header.jpg": (jpeg[:20], FileState.TRUNCATED, ""),
        "bomb.png": (bomb, FileState.SUSPECT, "60,000 × 60,000 pixels"),
    }
    rows = scanned(tmp_path, {name: data for name, (data, *_) in files.items()})
    for name, (_, state, error) in files.items():
        pixels, row = rows[name]
        assert FileState(pixels.state[row]).name == state.name, (name, pixels.error[row])
        assert (pixels.error[row] is None) == (error is None), (name, pixels.error[row])
        assert error is None or error in pixels.error[row], (name, pixels.error[row])
        decoded = state == FileState.SOUND or name == "no-end.png"
        assert np.isfinite(pixels.contrast[row]) == decoded, name
        assert (pixels.perceptual[row] != 0) == decoded, name
    pixels, row = rows["bomb.png"]
    assert pixels.mode[row] == "", "a library has opened it"


def test_what_is_no_regular_file(tmp_path: Path) -> None:
    """A pipe is not waited for, a folder and a file that has vanished are told apart, and a link to a file is followed."""
    os.mkfifo(tmp_path / "pipe.jpg")
    (tmp_path / "folder.jpg").mkdir()
    (tmp_path / "real.jpg").write_bytes(encoded(photo()))
    (tmp_path / "link.jpg").symlink_to(tmp_path / "real.jpg")
    (tmp_path / "loop.jpg").symlink_to(tmp_path / "loop.jpg")
    names = ["pipe.jpg", "folder.jpg", "gone.jpg", "link.jpg", "loop.jpg", "nul\0.jpg"]
    pixels = scan(listed(tmp_path, names), cache=None, workers=1)
    states = [FileState(state).name for state in pixels.state]
    assert states == ["CORRUPT", "CORRUPT", "MISSING", "SOUND", "CORRUPT", "CORRUPT"]
    assert pixels.error[0] == "not a regular file"
    assert pixels.content_hash[0] == b""


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="the superuser may read any file")
def test_a_file_that_may_not_be_read(tmp_path: Path) -> None:
    """Missing permission is the file's error, not the scan's."""
    dataset = folder_of(tmp_path, {"a.jpg": encoded(photo())})
    (tmp_path / "class" / "a.jpg").chmod(0)
    pixels = scan(dataset, cache=None, workers=1)
    assert (pixels.state[0], pixels.error[0]) == (FileState.CORRUPT, "permission denied")


def test_statistics_of_known_pictures(tmp_path: Path) -> None:
    """Brightness, contrast, colours, entropy and flatness of images whose values can be told by head."""
    grey = np.full((120, 160, 3), 51, np.uint8)
    halves = np.zeros((120, 160, 3), np.uint8)
    halves[:, 80:] = 255
    red = np.zeros((120, 160, 3), np.uint8)
    red[..., 0] = 255
    rows = scanned(tmp_path, {name: encoded(p, "PNG") for name, p in {"grey.png": grey, "halves.png": halves, "red.png": red}.items()})
    pixels, row = rows["grey.png"]
    assert [float(pixels.brightness_p1[row]), float(pixels.brightness_p99[row])] == pytest.approx([0.2, 0.2])
    assert [float(pixels.contrast[row]), float(pixels.entropy[row]), float(pixels.sharpness[row])] == pytest.approx([0, 0, 0], abs=1e-6)
    assert pixels.is_flat[row]
    row = rows["halves.png"][1]
    assert [float(pixels.brightness_p5[row]), float(pixels.brightness_p95[row])] == [0, 1]
    assert float(pixels.contrast[row]) == pytest.approx(0.5, abs=0.01)
    assert float(pixels.entropy[row]) == pytest.approx(1, abs=0.2)
    assert pixels.channel_mean[row] == pytest.approx([0.5] * 3, abs=0.01)
    assert pixels.channel_std[row] == pytest.approx([0.5] * 3, abs=0.01)
    row = rows["red.png"][1]
    assert pixels.channel_mean[row] == pytest.approx([1, 0, 0])
    assert [float(pixels.value_p99[row]), float(pixels.chroma[row]), int(pixels.detail[row])] == [1, 1, 0]


def test_a_small_coloured_object_is_chroma_and_its_place_is_detail(tmp_path: Path) -> None:
    """Chroma is that of the most coloured hundredth of an image; detail is where luma bends, not where it slopes."""
    grey = np.repeat(np.linspace(40, 200, 160).astype(np.uint8)[None, :, None], 120, axis=0).repeat(3, axis=2)
    can = grey.copy()
    can[47:56, 104:116] = (200, 30, 30)  # in the seventh and eighth of 16 rows, and the third of 4 columns
    dim = (can // 4).astype(np.uint8)
    rows = scanned(tmp_path, {name: encoded(p, "PNG") for name, p in {"grey.png": grey, "can.png": can, "dim.png": dim}.items()})
    pixels, row = rows["grey.png"]
    assert [float(pixels.chroma[row]), int(pixels.detail[row])] == [0, 0]
    assert float(pixels.relief[row]) < 0.003
    assert float(pixels.contrast[row]) > 0.15
    row = rows["can.png"][1]
    assert float(pixels.chroma[row]) == pytest.approx(170 / 255, abs=0.02)
    assert int(pixels.detail[row]) == 1 << (63 - (4 * 6 + 2)) | 1 << (63 - (4 * 7 + 2))
    # A difference of levels, which is as dark as the image.
    assert float(pixels.chroma[rows["dim.png"][1]]) == pytest.approx(42 / 255, abs=0.02)


def test_sharpness_falls_with_blur_at_any_size(tmp_path: Path) -> None:
    """A blurred image is less sharp than itself, and one image in two sizes is about equally sharp."""
    from PIL import ImageFilter

    sharp = Image.fromarray(np.kron(np.random.default_rng(0).integers(0, 256, (30, 40), np.uint8), np.ones((24, 24), np.uint8)))
    files = {
        "sharp.jpg": encoded(sharp),
        "blurred.jpg": encoded(sharp.filter(ImageFilter.GaussianBlur(16))),
        "half.png": encoded(sharp.resize((480, 360), Image.Resampling.BOX), "PNG"),
    }
    rows = scanned(tmp_path, files)
    pixels = rows["sharp.jpg"][0]
    sharp_value, blurred, half = (float(pixels.sharpness[rows[name][1]]) for name in files)
    assert blurred < sharp_value / 2
    assert half == pytest.approx(sharp_value, rel=0.1)


def test_copies_hash_alike_and_others_do_not(tmp_path: Path) -> None:
    """Recompressed, resized and brightened copies differ in few bits; unrelated images in about half of them."""
    image = Image.fromarray(photo(1, 640, 480))
    files = {
        "a.jpg": encoded(image, quality=95),
        "recompressed.jpg": encoded(image, quality=40),
        "resized.png": encoded(image.resize((400, 300)), "PNG"),
        "bright.jpg": encoded(image.point(lambda value: value * 0.8 + 30)),
        **{f"other{seed}.jpg": encoded(photo(seed, 640, 480)) for seed in range(2, 8)},
    }
    rows = scanned(tmp_path, files)
    pixels, original = rows["a.jpg"]
    distance = {name: int(pixels.perceptual[row] ^ pixels.perceptual[original]).bit_count() for name, (_, row) in rows.items()}
    assert max(distance[name] for name in ("recompressed.jpg", "resized.png", "bright.jpg")) <= 6
    assert min(distance[name] for name in distance if name.startswith("other")) >= 16


def test_identical_pixels_in_other_bytes(tmp_path: Path) -> None:
    """A JPEG, itself with other metadata, and a PNG made of it have one pixel hash; a recompressed one has another."""
    jpeg = encoded(photo(5, 640, 480), quality=92)
    files = {
        "a.jpg": jpeg,
        "b.jpg": jpeg[:2] + b"\xff\xfe\0\x06note" + jpeg[2:],
        "c.png": encoded(Image.open(io.BytesIO(jpeg)), "PNG"),
        "d.jpg": encoded(photo(5, 640, 480), quality=70),
        "e.jpg": encoded(photo(6, 640, 480)),
        "f.jpg": jpeg,
        "g.png": encoded(Image.open(io.BytesIO(jpeg)).resize((320, 240)), "PNG"),
    }
    rows = scanned(tmp_path, files)
    pixels = rows["a.jpg"][0]
    hashes = {name: pixels.pixel_hash[row] for name, (_, row) in rows.items()}
    assert len(hashes["a.jpg"]) == 16
    assert hashes["a.jpg"] == hashes["b.jpg"] == hashes["c.png"] == hashes["f.jpg"]
    assert hashes["d.jpg"] != hashes["a.jpg"]
    assert hashes["e.jpg"] == b""
    assert hashes["g.png"] == b"", "an image of another size need not be decoded in full"
    assert pixels.content_hash[rows["a.jpg"][1]] == pixels.content_hash[rows["f.jpg"][1]] != pixels.content_hash[rows["b.jpg"][1]]


def test_identical_pixels_among_many_flat_pictures(tmp_path: Path) -> None:
    """Forty images without structure, two thirds of them of another size, have one hash: the PNG and the BMP of one colour are found."""
    files = {}
    for number in range(40):
        colour = (number * 6, 255 - number * 6, 40)
        files[f"{number:02d}.png"] = encoded(Image.new("RGB", (64, 48) if number % 3 else (48, 64), colour), "PNG")
    for number in (20, 38):
        files[f"{number}.bmp"] = encoded(Image.open(io.BytesIO(files[f"{number}.png"])), "BMP")
    files["again.bmp"] = files["20.bmp"]
    rows = scanned(tmp_path, files)
    pixels = rows["20.png"][0]
    hashes = {name: pixels.pixel_hash[row] for name, (_, row) in rows.items()}
    assert len(set(pixels.perceptual.tolist())) == 1
    assert len(hashes["20.png"]) == 16
    assert hashes["20.png"] == hashes["20.bmp"] == hashes["again.bmp"]
    assert hashes["38.png"] == hashes["38.bmp"] not in (b"", hashes["20.png"])


def test_identical_pixels_among_many_with_one_hash(tmp_path: Path) -> None:
    """Where 36 sizes of one image have one hash, the PNG and the BMP of each size are found, and no size has those of another."""
    picture = Image.fromarray(photo(8, 400, 300)).filter(ImageFilter.GaussianBlur(12))
    files = {}
    for number in range(36):
        image = picture.resize((400 - 4 * number, 300 - 3 * number))
        files[f"{number:02d}.png"], files[f"{number:02d}.bmp"] = encoded(image, "PNG"), encoded(image, "BMP")
    rows = scanned(tmp_path, files)
    pixels = rows["00.png"][0]
    hashes = {name: pixels.pixel_hash[row] for name, (_, row) in rows.items()}
    assert max(Counter(pixels.perceptual.tolist()).values()) > CROWD_EQUAL
    assert all(hashes[f"{number:02d}.png"] == hashes[f"{number:02d}.bmp"] != b"" for number in range(36))
    assert len(set(hashes.values())) == 36


MAGIC = [
    b"",
    b"\xff\xd8\xff\xe0",
    b"\xff\xd8\xff\xc0",
    b"\x89PNG\r\n\x1a\n",
    b"GIF89a",
    b"BM",
    b"II*\0",
    b"RIFF\0\0\1\0WEBPVP8 ",
    b"P6 9 9 255\n",
]
SAMPLES = [encoded(photo(0, 40, 30), file_format) for file_format in ("JPEG", "PNG", "GIF", "BMP", "TIFF", "WEBP", "PPM", "JPEG2000")]


@st.composite
def hostile(draw: st.DrawFn) -> bytes:
    """Draw bytes behind the signature of a format, or a real file with some bytes changed and its end cut off."""
    if draw(st.booleans()):
        return draw(st.sampled_from(MAGIC)) + draw(st.binary(max_size=200))
    data = bytearray(draw(st.sampled_from(SAMPLES)))
    for _ in range(draw(st.integers(0, 5))):
        data[draw(st.integers(0, min(len(data) - 1, 400)))] = draw(st.integers(0, 255))
    return bytes(data[: draw(st.integers(0, len(data)))])


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(st.lists(hostile(), min_size=20, max_size=40))
@pytest.mark.slow
def test_random_bytes_never_raise(tmp_path: Path, files: list[bytes]) -> None:
    """Whatever is in the files, each has a row with a state, and one with an error unless it is sound."""
    for number, data in enumerate(files):
        (tmp_path / f"{number}.jpg").write_bytes(data)
    pixels = scan(listed(tmp_path, [f"{number}.jpg" for number in range(len(files))]), cache=None, workers=1)
    assert len(pixels) == len(files)
    assert (pixels.state != FileState.MISSING).all()
    assert all((error is None) == (state == FileState.SOUND) for error, state in zip(pixels.error, pixels.state, strict=True))
