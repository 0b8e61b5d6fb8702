"""Image sizes from headers: compared with Pillow where it can write the format, with hand-made headers elsewhere."""

import contextlib
import io
import os
import struct
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageOps, features

from dataset_doctor.files import sizes
from dataset_doctor.files.reading import Unreadable
from dataset_doctor.files.sizes import BUDGET, HEAD, header_size, measure
from dataset_doctor.files.tree import Tree, walk

Image.init()
WRITES_AVIF = "AVIF" in Image.SAVE
PICTURE = Image.linear_gradient("L").resize((70, 30)).convert("RGB")


def read_from(data: bytes) -> Callable[[int, int], bytes]:
    return lambda start, length: data[start : start + length]


def size_of(data: bytes) -> tuple[int, int]:
    return header_size(read_from(data))


def why_not(data: bytes) -> str:
    with pytest.raises(Unreadable) as caught:
        size_of(data)
    return str(caught.value)


def saved(picture: Image.Image = PICTURE, **options: object) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, **options)  # type: ignore[arg-type]
    return buffer.getvalue()


def exif(orientation: int) -> bytes:
    tags = Image.Exif()
    tags[0x0112] = orientation
    tags[0x010E] = "a description that stands before the orientation"
    return tags.tobytes()


def segment(marker: int, content: bytes) -> bytes:
    return bytes([0xFF, marker]) + struct.pack(">H", len(content) + 2) + content


FRAME = segment(0xC0, struct.pack(">BHHB", 8, 30, 70, 3) + bytes(9))
JPEG = saved(format="JPEG")


def png(width: int, height: int, *chunks: tuple[bytes, bytes]) -> bytes:
    parts = [(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)), *chunks, (b"IDAT", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(struct.pack(">I", len(data)) + kind + data + bytes(4) for kind, data in parts)


# Against Pillow -----------------------------------------------------------------------------------------------------

PLAIN = {
    "jpeg": saved(format="JPEG"),
    "jpeg-progressive": saved(format="JPEG", progressive=True),
    "jpeg-cmyk": saved(PICTURE.convert("CMYK"), format="JPEG"),
    "mpo": saved(format="MPO", save_all=True, append_images=[PICTURE]),
    "jpeg-large-profile": saved(format="JPEG", icc_profile=bytes(200_000)),
    "png": saved(format="PNG"),
    "png-palette": saved(PICTURE.convert("P"), format="PNG"),
    "png-16-bit": saved(PICTURE.convert("I;16"), format="PNG"),
    "bmp": saved(format="BMP"),
    "dib": saved(format="DIB"),
    "gif": saved(format="GIF"),
    "gif-animated": saved(format="GIF", save_all=True, append_images=[PICTURE.rotate(180)]),
    "webp-lossy": saved(format="WEBP"),
    "webp-lossless": saved(format="WEBP", lossless=True),
    "webp-alpha": saved(PICTURE.convert("RGBA"), format="WEBP"),
    "webp-animated": saved(format="WEBP", save_all=True, append_images=[PICTURE.rotate(180)]),
    "tiff": saved(format="TIFF"),
    "tiff-deflate": saved(format="TIFF", compression="tiff_deflate"),
    "tiff-big": saved(format="TIFF", big_tiff=True),
    "tiff-big-endian": saved(PICTURE.convert("I;16B"), format="TIFF"),
    "ppm": saved(format="PPM"),
    "pgm": saved(PICTURE.convert("L"), format="PPM"),
    "pbm": saved(PICTURE.convert("1"), format="PPM"),
    "pfm": saved(PICTURE.convert("F"), format="PPM"),
}
if features.check("jpg_2000"):
    PLAIN["jp2"] = saved(format="JPEG2000")
    PLAIN["j2k"] = saved(format="JPEG2000", no_jp2=True)
if WRITES_AVIF:
    PLAIN["avif"] = saved(format="AVIF")
    PLAIN["avif-alpha"] = saved(PICTURE.convert("RGBA"), format="AVIF")


@pytest.mark.parametrize("data", PLAIN.values(), ids=PLAIN.keys())
def test_every_format_has_the_size_that_pillow_gives(data: bytes) -> None:
    """Each format that Pillow writes is sized from its header."""
    assert size_of(data) == (70, 30)


@pytest.mark.parametrize("orientation", range(10))
@pytest.mark.parametrize("name", ["JPEG", "PNG", "WEBP", "TIFF", "AVIF"])
def test_orientation_turns_the_size_as_in_pillow(name: str, orientation: int) -> None:
    """Orientations 5 to 8 swap width and height, others and invalid ones do not."""
    if name == "AVIF" and not WRITES_AVIF:
        pytest.skip("this Pillow writes no AVIF")
    data = saved(format=name, exif=exif(orientation))
    with Image.open(io.BytesIO(data)) as picture:
        expected = ImageOps.exif_transpose(picture).size
    assert size_of(data) == expected
    assert expected == ((30, 70) if 5 <= orientation <= 8 else (70, 30))


@pytest.mark.parametrize("folder", ["amenity_coco", "aquarium_yolo", "bccd_voc", "clothing64", "voc100_multiformat"])
def test_real_images_have_the_size_that_pillow_gives(shared_data: Path, folder: str) -> None:
    """All sample pictures agree with Pillow, orientation included."""
    tree = walk(shared_data / folder)
    sizes = measure(tree, tree.images)
    assert not sizes.problems
    for name, width, height in zip(tree.images, sizes.width, sizes.height, strict=True):
        with Image.open(shared_data / folder / name) as picture:
            turned = picture.getexif().get(0x0112, 1) in (5, 6, 7, 8)
            assert (width, height) == (picture.size[::-1] if turned else picture.size), name


# Headers by hand ----------------------------------------------------------------------------------------------------

HAND_MADE = {
    "jpeg-far-frame": b"\xff\xd8" + segment(0xE2, bytes(65_000)) * 9 + FRAME,
    "jpeg-fill-and-stray-bytes": b"\xff\xd8" + segment(0xE0, b"JFIF") + b"\xff\xff\xff\x00stray\xff\x01" + FRAME,
    "jpeg-tables-first": b"\xff\xd8" + segment(0xC4, bytes(30)) + segment(0xDB, bytes(65)) + FRAME,
    "jpeg-ends-after-its-size": (b"\xff\xd8" + segment(0xE0, b"JFIF") + FRAME)[:-10],
    "jpeg-xmp-is-not-exif": b"\xff\xd8" + segment(0xE1, b"http://ns.adobe.com/xap/1.0/\0" + exif(6)) + FRAME,
    "jpeg-second-exif-does-not-count": b"\xff\xd8" + segment(0xE1, exif(1)) + segment(0xE1, exif(6)) + FRAME,
    "jpeg-exif-points-outside": b"\xff\xd8" + segment(0xE1, b"Exif\0\0II*\0\xff\xff\xff\xff") + FRAME,
    "png-broken-after-its-size": b"\x89PNG\r\n\x1a\n" + struct.pack(">I4sII", 13, b"IHDR", 70, 30),
    "bmp-os2": b"BM" + bytes(12) + struct.pack("<IHHHH", 12, 70, 30, 1, 24),
    "bmp-top-down": b"BM" + bytes(12) + struct.pack("<IiiHH", 40, 70, -30, 1, 24),
    "bmp-v5": b"BM" + bytes(12) + struct.pack("<Iii", 124, 70, 30),
    "pbm-with-comments": b"P1\n# made by hand 12 13\n# again\n70 # wide\n30\n0 1",
    "ppm-with-a-long-comment": b"P6\n#" + b"x" * 20_000 + b"\n70 30\n255\n",
    "pam": b"P7\n#WIDTH 5\nHEIGHT 30\nWIDTH 70\nDEPTH 3\nMAXVAL 255\nENDHDR\n",
}


@pytest.mark.parametrize("data", HAND_MADE.values(), ids=HAND_MADE.keys())
def test_unusual_headers_are_read(data: bytes) -> None:
    """What Pillow does not write, but the formats allow, is sized too."""
    assert size_of(data) == (70, 30)


TURNED = {
    "jpeg-exif-after-other-segments": b"\xff\xd8" + segment(0xE2, bytes(65_000)) + segment(0xE1, exif(6)) + FRAME,
    "png-exif-after-other-chunks": png(70, 30, (b"iCCP", bytes(9000)), (b"eXIf", exif(8)[6:])),
    "webp-exif-after-odd-chunk": b"RIFF\0\0\0\0WEBP"
    + struct.pack("<4sIB3xHBHB", b"VP8X", 10, 0x08, 69, 0, 29, 0)
    + struct.pack("<4sI3sx", b"ICCP", 3, b"abc")
    + struct.pack("<4sI", b"EXIF", len(exif(6)))
    + exif(6),
    "tiff-big-endian": struct.pack(">2sHIH", b"MM", 42, 8, 3)
    + b"".join(struct.pack(">HHIHH", tag, 3, 1, value, 0) for tag, value in ((256, 70), (257, 30), (274, 6))),
    "heif-rotated-grid": (
        struct.pack(">I4s4s4x", 16, b"ftyp", b"heic")
        + struct.pack(">I4s4x", 116, b"meta")
        + struct.pack(">I4s4xH", 14, b"pitm", 49)
        + struct.pack(">I4s", 90, b"iprp")
        + struct.pack(">I4s", 57, b"ipco")
        + struct.pack(">I4s4xII", 20, b"ispe", 512, 512)
        + struct.pack(">I4s4xII", 20, b"ispe", 70, 30)
        + struct.pack(">I4sB", 9, b"irot", 3)
        + struct.pack(">I4s4xIHBBHBBB", 25, b"ipma", 2, 1, 1, 1, 49, 2, 2, 0x83)
    ),
}


@pytest.mark.parametrize("data", TURNED.values(), ids=TURNED.keys())
def test_turned_pictures_are_sized_as_seen(data: bytes) -> None:
    """The orientation is found behind large blocks, in both byte orders, and in HEIF's own rotation."""
    assert size_of(data) == (30, 70)


PROBLEMS = {
    "empty": (b"", "an empty file"),
    "text": (b"<html><body>Not found", "not an image: a web page"),
    "binary": (b"\x00\x01\x02\x03\x04\x05\x06\x07\x08", "not an image: binary data of an unknown format"),
    "lfs": (b"version https://git-lfs.github.com/spec/v1\n", "a Git LFS pointer; the image itself was not downloaded"),
    "jpeg-magic-only": (b"\xff\xd8\xff", "JPEG without a frame header"),
    "jpeg-scan-first": (b"\xff\xd8" + segment(0xDA, bytes(20)) + FRAME, "JPEG without a frame header"),
    "jpeg-zeros": (b"\xff\xd8\xff\xe0" + bytes(50_000), "JPEG without a frame header"),
    "jpeg-no-lines": (b"\xff\xd8" + segment(0xC0, struct.pack(">BHHB", 8, 0, 70, 3)) + bytes(9), "JPEG of 70 × 0 pixels"),
    "jpeg-endless": (b"\xff\xd8" + b"\xff\xfe\0\x02" * 300_000, "no size in the first 512 KiB of its header"),
    "png-cut": (JPEG[:0] + b"\x89PNG\r\n\x1a\n\0\0\0\x0dIHDR\0\0\0", "PNG cut off before its size"),
    "png-without-header": (b"\x89PNG\r\n\x1a\n\0\0\0\x0dIDAT" + bytes(20), "PNG without a header chunk"),
    "png-too-wide": (png(2**31, 1), "PNG of 2,147,483,648 × 1 pixels"),
    "gif-zero": (b"GIF89a" + bytes(20), "GIF of 0 × 0 pixels"),
    "bmp-header": (b"BMW is a car, not a picture", "BMP with an unknown header of 544,501,614 bytes"),
    "webp-other": (b"RIFF\x10\0\0\0WEBPJUNK" + bytes(30), "WebP without a frame header"),
    "webp-cut": (b"RIFF\x10\0\0\0WEBPVP8X\x0a\0\0\0", "WebP cut off before its size"),
    "tiff-without-size": (b"II*\0\x08\0\0\0\0\0\0\0", "TIFF without a width and a height"),
    "tiff-far": (b"II*\0\xff\xff\xff\xff", "TIFF without a width and a height"),
    "pnm": (b"P6 wide high", "PNM without a width and a height"),
    "pam-size-after-its-end": (b"P7\nHEIGHT 3\nENDHDR\nWIDTH 7\n", "PNM without a width and a height"),
    "jp2": (b"\0\0\0\x0cjP  \r\n\x87\n" + bytes(40), "JPEG 2000 without an image header"),
    "film": (struct.pack(">I4s4s4x", 16, b"ftyp", b"isom"), "AVIF or HEIF without the size of a picture"),
}  # fmt: skip


@pytest.mark.parametrize(("data", "text"), PROBLEMS.values(), ids=PROBLEMS.keys())
def test_what_has_no_size_says_why(data: bytes, text: str) -> None:
    """A damaged header or another kind of file is named for what it is."""
    assert why_not(data) == text


MAGICS = [
    b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"\x89PNG\r\n\x1a\n\0\0\0\x0dIHDR", b"BM", b"GIF89a", b"RIFF\0\0\0\0WEBP",
    b"RIFF\0\0\0\0WEBPVP8X", b"II*\0", b"MM\0*", b"II+\0", b"P5", b"P7\n",
    b"\xff\x4f\xff\x51", b"\0\0\0\x0cjP  \r\n\x87\n", b"\0\0\0\x0cftypavif", b"",
]  # fmt: skip
PIECES = [b"\xff\xe1", b"Exif\0\0", b"II*\0", b"MM\0+", b"eXIf", b"EXIF", b"meta", b"iprp", b"ipco", b"ipma", b"jp2h", b"WIDTH ", b"#\n"]


@given(
    magic=st.sampled_from(MAGICS),
    rest=st.lists(st.one_of(st.binary(max_size=40), st.sampled_from(PIECES), st.integers(0, 5000).map(bytes)), max_size=20).map(b"".join),
)
def test_random_bytes_give_a_size_or_a_reason_within_the_budget(magic: bytes, rest: bytes) -> None:
    """No content raises anything but Unreadable, and none makes the search read on and on."""
    data, asked = magic + rest, 0

    def read_at(start: int, length: int) -> bytes:
        nonlocal asked
        assert start >= 0
        asked += length
        return data[start : start + length]

    try:
        width, height = header_size(read_at)
    except Unreadable:
        pass
    else:
        assert 0 < width < 2**31
        assert 0 < height < 2**31
    assert asked <= HEAD + BUDGET


@given(st.sampled_from(sorted(PLAIN)), st.integers(0, 2000))
def test_cut_files_give_the_right_size_or_a_reason(name: str, length: int) -> None:
    """A file cut off anywhere never yields a wrong size."""
    with contextlib.suppress(Unreadable):
        assert size_of(PLAIN[name][:length]) == (70, 30)


# Files --------------------------------------------------------------------------------------------------------------


def test_the_content_decides_and_the_order_is_kept(tmp_path: Path) -> None:
    """Sizes come in the order of the names, each from the content whatever the extension."""
    (tmp_path / "a.png").write_bytes(JPEG)
    (tmp_path / "b.jpg").write_bytes(png(5, 6))
    (tmp_path / "c.jpg").write_bytes(b"")
    calls: list[tuple[str, int, int]] = []
    sizes = measure(walk(tmp_path), ["b.jpg", "c.jpg", "a.png"], lambda *call: calls.append(call))
    assert sizes.width.tolist() == [5, -1, 70]
    assert sizes.height.tolist() == [6, -1, 30]
    assert sizes.width.dtype == sizes.height.dtype == "int32"
    assert [(p.kind, p.place.file, p.place.image, p.text) for p in sizes.problems] == [
        ("image-unreadable", "c.jpg", "c.jpg", "an empty file")
    ]
    assert calls[-1] == ("image sizes", 3, 3)


def test_links_are_looked_through_and_unlisted_files_are_not(tmp_path: Path) -> None:
    """A listed link to an image outside is sized; a name that the walk did not list is never opened."""
    root = tmp_path / "dataset"
    root.mkdir()
    (tmp_path / "outside.jpg").write_bytes(JPEG)
    try:
        (root / "link.jpg").symlink_to(tmp_path / "outside.jpg")
    except OSError:
        pytest.skip("this system makes no links")
    tree = walk(root)
    assert tree.links == {"link.jpg"}
    sizes = measure(tree, ["link.jpg", "../outside.jpg"])
    assert sizes.width.tolist() == [70, -1]
    assert [p.text for p in sizes.problems] == ["not among the files of the dataset"]


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes on this system")
def test_what_changed_since_the_walk_is_reported(tmp_path: Path) -> None:
    """A pipe does not block; it, a folder and a file that is gone each have their reason."""
    os.mkfifo(tmp_path / "pipe.jpg")
    (tmp_path / "folder.jpg").mkdir()
    tree = Tree(root=tmp_path, files=("folder.jpg", "gone.jpg", "pipe.jpg"), links=frozenset(), problems=())
    sizes = measure(tree, tree.files)
    assert sizes.width.tolist() == [-1, -1, -1]
    assert [p.text for p in sizes.problems] == [
        "a folder",
        "no such file or directory",
        "not a regular file",
    ]


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="needs a user whom the system can refuse")
def test_a_refusal_is_reported(tmp_path: Path) -> None:
    """A file without read permission has that reason."""
    (tmp_path / "a.jpg").write_bytes(JPEG)
    (tmp_path / "a.jpg").chmod(0)
    assert [p.text for p in measure(walk(tmp_path), ["a.jpg"]).problems] == ["permission denied"]


def test_another_process_measures_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Sizes and problems are the same whether this process or a worker looks."""
    for number in range(5):
        Image.new("RGB", (20 + number, 10)).save(tmp_path / f"{number}.png")
    (tmp_path / "empty.png").touch()
    tree = walk(tmp_path)
    monkeypatch.setattr(sizes, "IMAGES_TO_SHARE", 1)

    found = sizes.begin(tree, tree.files)()

    alone = measure(tree, tree.files)
    assert found.width.tolist() == alone.width.tolist() == [20, 21, 22, 23, 24, -1]
    assert found.height.tolist() == alone.height.tolist()
    assert found.problems == alone.problems
