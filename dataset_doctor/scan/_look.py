"""What one image file tells. The functions here run in worker processes: path in, bytes out.

What shaped it:

* A file is read once, and its pixels are decoded once, at an eighth, a quarter or half of the scale where it is a JPEG. Entropy decoding
  alone is most of the time, so nothing else may cost much: what needs colour comes from the small image, its short side 90 to 179
  pixels, everything else from luma at 90, and the hash from luma at 32 × 32.
* So numbers can be compared between images of any size, and fine texture counts less than in the full image: standard deviations are
  a few per cent lower. Images smaller than that stay as they are.
* Contents are told apart by SHA-256, cut to 16 bytes: processors compute it at 1.5 GB/s, twice as fast as BLAKE2, and nobody can make a
  file that passes for another, which a faster hash like xxHash would not promise to a cache that all datasets share.
* OpenCV decodes; Pillow reads the header, and gives a second opinion where OpenCV fails or libjpeg says that data is damaged.
* What is found is a row of RECORD, so that a hundred thousand of them become columns without a loop.
"""

from __future__ import annotations

import hashlib
import io
import math
import re
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dataset_doctor.files.reading import Unreadable, read_regular
from dataset_doctor.files.sizes import header_size
from dataset_doctor.pixels import FileState
from dataset_doctor.scan._worker import overheard

Picture = NDArray[np.uint8]
"""Height × width × BGR, or height × width of luma."""

REVISION = 4
"""To be raised with every change to what these functions return: results of another revision are not taken from the cache."""

MAX_BYTES = 256 << 20
MAX_PIXELS = 200_000_000
"""Files and images larger than these are not decoded."""

SMALL_SIDE = 90
"""Short side of luma, in pixels: a quarter of 360 and an eighth of 720."""

MAX_LONG_SIDE = 4_096
"""Long side of small images; only strips, 23 times as long as wide, are squeezed."""

HASH_SIDE, CLOSE_SIDE = 32, 96
"""Sides of the squares by which images are compared: at first, and closely."""

FLAT_ENTROPY_BITS = 3.0
FLAT_CONTRAST = 0.01

HASH_BYTES = 16

RECORD = np.dtype(
    [
        ("state", "u1"),
        ("file_format", "S8"),
        ("size_bytes", "<i8"),
        ("mode", "S8"),
        ("bit_depth", "u1"),
        ("frames", "<i4"),
        ("orientation", "u1"),
        ("has_gps", "?"),
        ("has_serial", "?"),
        ("brightness", "<f4", 5),
        ("contrast", "<f4"),
        ("sharpness", "<f4"),
        ("entropy", "<f4"),
        ("value_p99", "<f4"),
        ("chroma", "<f4"),
        ("detail", "<u8"),
        ("relief", "<f4"),
        ("channel_mean", "<f4", 3),
        ("channel_std", "<f4", 3),
        ("content_hash", f"V{HASH_BYTES}"),
        ("perceptual", "<u8"),
        ("is_flat", "?"),
        ("sketch", "i1", 53),
    ]
)  # fmt: skip

PERCENTILES = (0.01, 0.05, 0.50, 0.95, 0.99)


def blank() -> NDArray[Any]:
    """Make one record of a file about which nothing is known."""
    record = np.zeros(1, RECORD)
    for name in ("brightness", "contrast", "sharpness", "entropy", "value_p99", "chroma", "relief", "channel_mean", "channel_std"):
        record[name] = np.nan
    return record


@cache
def _libraries() -> tuple[Any, Any]:
    """Import OpenCV and Pillow, set up for a worker process: one thread, no warnings, and no limits of their own beside MAX_PIXELS."""
    import cv2
    from PIL import Image

    cv2.setNumThreads(1)
    warnings.simplefilter("ignore")
    Image.MAX_IMAGE_PIXELS = None
    return cv2, Image


def _format_of(data: bytes) -> str:
    return next((name for name, at, magic in _MAGIC if data.startswith(magic, at)), "")


def _open(data: bytes, file_format: str) -> Any:
    """Open with Pillow, as the format that the first bytes name and no other."""
    _, pil = _libraries()
    try:
        return pil.open(io.BytesIO(data), formats=(_PILLOW_NAMES.get(file_format, file_format),))
    except KeyError:  # not built in
        raise pil.UnidentifiedImageError(f"Pillow cannot read {file_format} here") from None


# The functions ------------------------------------------------------------------------------------------------------


def look(path: str) -> bytes:
    """Find out all there is to know of an image file: one RECORD, what `thumbnail` gives (0 where not decoded), and the error as UTF-8."""
    record = blank()
    square = np.zeros((HASH_SIDE, HASH_SIDE), np.uint8)
    error = _look(path, record, square)
    return record.tobytes() + square.tobytes() + error.encode("utf-8", "replace")


def content_hash(path: str) -> bytes:
    """Hash the bytes of a file; b"" where it cannot be read."""
    try:
        return _hash(read_regular(path, MAX_BYTES))
    except Unreadable:
        return b""


def pixel_hash(path: str) -> bytes:
    """Hash the full-scale pixels of the upright image: the content's hash, then that, or nothing where Pillow cannot decode it.

    Grey, palette and opaque images count as RGB, and 16-bit ones as what they are: a PNG and a BMP of the same image have one hash.
    """
    try:
        data = read_regular(path, MAX_BYTES)
    except Unreadable:
        return b""
    try:
        return _hash(data) + _pixel_hash(data)
    except Exception:  # Pillow raises anything on hostile data
        return _hash(data)


def _pixel_hash(data: bytes) -> bytes:
    from PIL import ImageOps

    width, height = _size(data)
    if width * height > MAX_PIXELS:
        return b""
    with _open(data, _format_of(data)) as opened:
        if opened.width * opened.height > MAX_PIXELS:
            return b""
        image = ImageOps.exif_transpose(opened)
    if image.mode in ("RGBA", "LA", "PA", "La", "RGBa") or "transparency" in image.info:
        image = image.convert("RGBA")
        if image.getchannel("A").getextrema()[0] == 255:
            image = image.convert("RGB")
    elif not image.mode.startswith(("I", "F")):
        image = image.convert("RGB")
    return _hash(f"{image.mode} {image.width} {image.height} ".encode() + image.tobytes())


def thumbnail(path: str) -> bytes:
    """Make luma of the upright image: the content's hash, then HASH_SIDE × HASH_SIDE bytes, or nothing where it cannot be decoded."""
    try:
        data = read_regular(path, MAX_BYTES)
    except Unreadable:
        return b""
    small = _File(data).small_picture()
    return _hash(data) + (b"" if small is None else _square(_luma(small)).tobytes())


def closeup(path: str) -> bytes:
    """Make luma as `thumbnail` does, CLOSE_SIDE × CLOSE_SIDE."""
    try:
        data = read_regular(path, MAX_BYTES)
    except Unreadable:
        return b""
    small = _File(data).small_picture()
    return _hash(data) + (b"" if small is None else _square(_luma(small), CLOSE_SIDE).tobytes())


def _hash(data: bytes) -> bytes:
    return hashlib.sha256(data).digest()[:HASH_BYTES]


# One file -----------------------------------------------------------------------------------------------------------

_MAGIC = (
    ("JPEG", 0, b"\xff\xd8\xff"), ("PNG", 0, b"\x89PNG\r\n\x1a\n"), ("GIF", 0, b"GIF8"), ("WEBP", 8, b"WEBP"), ("BMP", 0, b"BM"),
    ("TIFF", 0, b"II*\0"), ("TIFF", 0, b"MM\0*"), ("TIFF", 0, b"II+\0"), ("TIFF", 0, b"MM\0+"),
    ("JPEG2000", 0, b"\0\0\0\x0cjP  \r\n\x87\n"), ("JPEG2000", 0, b"\xff\x4f\xff\x51"), ("AVIF", 4, b"ftypavi"), ("HEIF", 4, b"ftyp"),
    *(("PNM", 0, b"P" + kind) for kind in (b"1", b"2", b"3", b"4", b"5", b"6", b"7", b"F", b"f")),
)  # fmt: skip

_PILLOW_NAMES = {"PNM": "PPM", "HEIF": "AVIF"}
"""Where Pillow's name of a format is another."""

_SELF_ORIENTING = ("TIFF", "AVIF", "HEIF")
"""Formats whose images the decoders turn upright themselves."""

_DAMAGE = re.compile(r"^.*(?:Corrupt JPEG data|Premature end|Inconsistent progression|libpng error).*$", re.M)
"""What decoders say when pixels are lost; they also warn of much that does no harm."""

_LEFT_OVER = re.compile(r"(\d{1,10}) extraneous bytes before marker 0xd9")
_END_OF_JPEG = b"\xff\xd9"
MAX_PADDING_BYTES = 15


def _damage_heard(said: str, data: bytes) -> str:
    """Pick what tells of lost pixels out of what a decoder has said; "" where nothing does.

    Bytes left over before the mark that ends a JPEG are what a decoder that has lost its place leaves. One or two of any value, or up to
    MAX_PADDING_BYTES of one value, are a camera's padding. libjpeg warns once a file, and of these last: what else is wrong comes first.
    """
    damage = _DAMAGE.search(said)
    if damage is None:
        return ""
    if left := _LEFT_OVER.search(damage[0]):
        n = int(left[1])
        end = data.find(_END_OF_JPEG, max((end for _, _, end in _jpeg_segments(data)), default=0))
        if n <= 2 or (n <= MAX_PADDING_BYTES and len(set(data[max(end - n, 0) : end])) == 1):
            return ""
    return damage[0].strip()


def _look(path: str, record: NDArray[Any], square: Picture) -> str:
    """Fill in the record and the square; give the error, "" where there is none."""
    try:
        data = read_regular(path, MAX_BYTES)
    except Unreadable as error:
        gone = isinstance(error.__cause__, FileNotFoundError)
        too_large = "over the limit" in str(error)
        record["state"] = FileState.MISSING if gone else FileState.SUSPECT if too_large else FileState.CORRUPT
        return str(error)
    record["content_hash"] = np.void(_hash(data))
    record["size_bytes"] = len(data)
    file = _File(data)
    header = file.header
    record["file_format"] = file.format.encode()
    record["mode"], record["bit_depth"], record["frames"] = header.mode.encode(), header.bit_depth, header.frames
    record["orientation"], record["has_gps"], record["has_serial"] = header.orientation, header.has_gps, header.has_serial
    small = file.small_picture()
    if small is not None:
        _measure(small, record)
        square[:] = _square(_luma(small))
    record["state"] = file.state
    return file.error


@dataclass(frozen=True, slots=True)
class _Header:
    """What Pillow reads of a file without decoding it; `error` says why it cannot. The size is that of the pixels as stored."""

    width: int = 0
    height: int = 0
    mode: str = ""
    bit_depth: int = 0
    frames: int = 0
    orientation: int = 0
    has_gps: bool = False
    has_serial: bool = False
    error: str = ""


class _File:
    """The bytes of a file, what its header says, and how decoding went (`state`, `error`; known after `small_picture`)."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.format = _format_of(data)
        self.size = _size(data)
        # Opening alone makes Pillow set aside the pixels of some formats, so that its own size comes second.
        self.header = _header(data, self.format) if self.size[0] * self.size[1] <= MAX_PIXELS else _Header()
        self.state = FileState.CORRUPT
        self.error = ""

    def small_picture(self) -> Picture | None:
        """Decode the image, at a reduced scale where possible, turn it upright and make it small; None where that fails."""
        header, data = self.header, self.data
        if not data or not self.format:
            self.error = _not_an_image(data)
            return None
        width, height = (header.width, header.height) if header.width else self.size
        ends = _has_end(data, self.format)
        if not width:
            self.state = FileState.CORRUPT if ends else FileState.TRUNCATED
            self.error = header.error
            return None
        if width * height > MAX_PIXELS:
            self.state = FileState.SUSPECT
            self.error = f"{width:,} × {height:,} pixels, over the limit of {MAX_PIXELS / 1e6:,.0f} megapixels, not decoded"
            return None
        overheard()
        decoded = _by_opencv(data, _reduction(self.format, width, height))
        heard = _damage_heard(overheard(), data)
        self.state = FileState.SOUND
        if decoded is None or heard or header.error or not ends:
            decoded = self._second_opinion(decoded, heard, ends)
        if decoded is None:
            return None
        small = _shrink(decoded)
        return small if self.format in _SELF_ORIENTING else _upright(small, header.orientation)

    def _second_opinion(self, decoded: Picture | None, heard: str, ends: bool) -> Picture | None:
        """Let Pillow decode what OpenCV could not, or not without complaint, and judge; give the image that can be relied on."""
        other, trouble = _by_pillow(self.data, self.format)
        cut = "truncated" in trouble.lower() or "premature end" in heard.lower()
        if not ends or cut:
            self.state = FileState.TRUNCATED
            self.error = heard or trouble or f"the end of the {self.format} is missing"
            # What libjpeg only warns of, Pillow does not notice: the missing rows are grey.
            return None if heard and decoded is not None else other
        if decoded is None and other is None:
            self.state, self.error = FileState.CORRUPT, trouble
        elif decoded is None:
            self.state, self.error = FileState.SUSPECT, f"OpenCV cannot read it{': ' + heard if heard else ''}; Pillow can"
        elif other is None:
            self.state, self.error = FileState.SUSPECT, f"Pillow cannot read it: {trouble}; OpenCV can"
        elif heard:
            self.state, self.error = FileState.SUSPECT, heard
        return other if decoded is None else decoded


def _not_an_image(data: bytes) -> str:
    if not data:
        return "an empty file"
    if data.startswith(b"version https://git-lfs"):
        return "a Git LFS pointer; the image itself was not downloaded"
    return "not an image of a known format"


def _size(data: bytes) -> tuple[int, int]:
    """Read the size without Pillow; (0, 0) where that fails."""
    try:
        return header_size(lambda start, length: data[start : start + length])
    except Unreadable:
        return 0, 0


def _has_end(data: bytes, file_format: str) -> bool:
    """Tell whether the mark is there that ends a JPEG, PNG or WebP; other formats have none, or every decoder insists on it."""
    if file_format == "JPEG":
        return data.endswith(b"\xff\xd9") or b"\xff\xd9" in data  # in most files the first answers, without a search
    if file_format == "PNG":
        return b"IEND\xaeB`\x82" in data[-64:] or b"IEND\xaeB`\x82" in data
    if file_format == "WEBP":
        return int.from_bytes(data[4:8], "little") + 8 <= len(data)
    return True


def _jpeg_segments(data: bytes) -> Iterator[tuple[int, int, int]]:
    """List the segments of a JPEG before its first scan, and the scan: marker, and where it starts and ends."""
    at = 2
    while at + 4 <= len(data) and data[at] == 0xFF:
        marker = data[at + 1]
        end = at + (1 if marker == 0xFF else 2 + max(data[at + 2] << 8 | data[at + 3], 2))
        yield marker, at, end
        if marker == _SCAN:
            return
        at = end


# Header -------------------------------------------------------------------------------------------------------------

_ORIENTATION, _ARTIST, _AUTHOR, _CAMERA_SERIAL = 0x0112, 0x013B, 0x9C9D, 0xC62F
_EXIF, _GPS = 0x8769, 0x8825
_OWNER, _BODY_SERIAL, _LENS_SERIAL = 0xA430, 0xA431, 0xA435
_LATITUDE, _LONGITUDE = 2, 4

_DEPTHS = {"1": 1, "I": 32, "F": 32, "I;16": 16, "I;16B": 16, "I;16L": 16, "I;16N": 16}


def _header(data: bytes, file_format: str) -> _Header:
    if not file_format:
        return _Header()
    if file_format == "JPEG" and (header := _plain_jpeg(data)):
        return header
    try:
        with _open(data, file_format) as image:
            orientation, has_gps, has_serial = _exif(image)
            return _Header(
                width=image.width,
                height=image.height,
                mode=image.mode,
                bit_depth=_bit_depth(data, image),
                # Further images in a JPEG are previews or maps of brightness, which no trainer reads.
                frames=1 if file_format == "JPEG" else min(int(getattr(image, "n_frames", 1)), 2**31 - 1),
                orientation=orientation,
                has_gps=has_gps,
                has_serial=has_serial,
            )
    except Exception as error:  # Pillow raises anything on hostile data
        return _Header(error=_said(error, file_format))


_SCAN, _EXIF_SEGMENT = 0xDA, 0xE1
_MODES = {1: "L", 3: "RGB", 4: "CMYK"}


def _plain_jpeg(data: bytes) -> _Header | None:
    """Read the header of a JPEG as nearly all are, ten times as fast as Pillow: 8 bits, Huffman coded, and without EXIF."""
    found = None
    for marker, start, end in _jpeg_segments(data):
        if marker == _EXIF_SEGMENT:
            return None
        if 0xC0 <= marker <= 0xC2 and end <= len(data) and end - start >= 10 and not found:
            depth, channels = data[start + 4], data[start + 9]
            height, width = data[start + 5] << 8 | data[start + 6], data[start + 7] << 8 | data[start + 8]
            if depth != 8 or channels not in _MODES or not width or not height:
                return None
            found = _Header(width, height, _MODES[channels], depth, frames=1)
        if marker == _SCAN:
            return found
    return None


_BYTES_QUOTED = re.compile(r"\bb(?:'[^']*'?|\"[^\"]*\"?)")
"""Bytes of a file in a message of Pillow. Through a link, the file may be any of this machine, and its content is not for the report."""


def _said(error: Exception, file_format: str = "") -> str:
    text = str(error) or type(error).__name__
    if "cannot identify" in text:
        return f"the header of the {file_format} cannot be read" if file_format else "the header cannot be read"
    return _BYTES_QUOTED.sub("…", text[:200])


def _bit_depth(data: bytes, image: Any) -> int:
    """Give bits a channel as stored: Pillow's mode hides them where it converts (16-bit RGB, palettes of 2 colours)."""
    if image.format == "PNG":
        return data[24]
    if image.format == "JPEG" and getattr(image, "bits", 0):
        return int(image.bits)
    if image.format == "TIFF" and (bits := image.tag_v2.get(258)):
        return min(int(bits[0]), 255)
    if image.format == "PPM" and image.mode == "I":
        return 16
    return _DEPTHS.get(image.mode, 8)


def _exif(image: Any) -> tuple[int, bool, bool]:
    """Read orientation, and whether a place, or a serial number or name, is given. Damaged EXIF counts as none."""
    try:
        # Pillow decodes a PNG without EXIF in full, in search of EXIF after the pixels.
        exif = image.getexif() if image.format != "PNG" or {"exif", "Raw profile type exif"} & set(image.info) else None
        if not exif:
            return 0, False, False
        orientation = exif.get(_ORIENTATION, 0)
        orientation = orientation if isinstance(orientation, int) and 1 <= orientation <= 8 else 0
    except Exception:
        return 0, False, False
    try:
        place = exif.get_ifd(_GPS) if _GPS in exif else {}
        has_gps = _LATITUDE in place and _LONGITUDE in place
        details = exif.get_ifd(_EXIF) if _EXIF in exif else {}
        values = [exif.get(tag) for tag in (_ARTIST, _AUTHOR, _CAMERA_SERIAL)]
        values += [details.get(tag) for tag in (_OWNER, _BODY_SERIAL, _LENS_SERIAL)]
        return orientation, has_gps, any(str(value).strip("\0 0") for value in values if value is not None)
    except Exception:
        return orientation, False, False


# Decoding -----------------------------------------------------------------------------------------------------------


def _reduction(file_format: str, width: int, height: int) -> int:
    """Give the largest reduction that leaves a short side of at least SMALL_SIDE; only JPEG decodes faster for it."""
    short = min(width, height)
    return next((factor for factor in (8, 4, 2) if file_format == "JPEG" and math.ceil(short / factor) >= SMALL_SIDE), 1)


def _by_opencv(data: bytes, reduction: int) -> Picture | None:
    cv2, _ = _libraries()
    scale = {1: cv2.IMREAD_COLOR, 2: cv2.IMREAD_REDUCED_COLOR_2, 4: cv2.IMREAD_REDUCED_COLOR_4, 8: cv2.IMREAD_REDUCED_COLOR_8}[reduction]
    try:
        decoded: Picture | None = cv2.imdecode(np.frombuffer(data, np.uint8), scale | cv2.IMREAD_IGNORE_ORIENTATION)
    except cv2.error:
        return None
    return decoded


def _by_pillow(data: bytes, file_format: str) -> tuple[Picture | None, str]:
    """Decode in full; the second value says why it failed."""
    try:
        with _open(data, file_format) as image:
            if image.width * image.height > MAX_PIXELS:
                return None, "too large"
            if image.mode in ("F", "I") or image.mode.startswith("I;16"):
                grey = np.asarray(image, np.float64)
                finite = grey[np.isfinite(grey)]
                low, high = (finite.min(), finite.max()) if finite.size else (0.0, 0.0)
                scaled = np.nan_to_num((grey - low) * (255 / (high - low) if high > low else 0.0))
                return np.ascontiguousarray(np.repeat(np.clip(scaled, 0, 255).astype(np.uint8)[..., None], 3, axis=2)), ""
            return np.ascontiguousarray(np.asarray(image.convert("RGB"))[..., ::-1]), ""
    except MemoryError:
        raise
    except Exception as error:  # Pillow raises anything on hostile data
        return None, _said(error)


def _shrink(picture: Picture) -> Picture:
    """Average whole numbers of pixels, so that the short side has fewer than twice SMALL_SIDE and at least that where it had."""
    height, width = picture.shape[:2]
    factor = max(min(width, height) // SMALL_SIDE, 1)
    return _resized(picture, width // factor, height // factor)


def _resized(picture: Picture, width: int, height: int) -> Picture:
    cv2, _ = _libraries()
    size = tuple(max(1, min(MAX_LONG_SIDE, side)) for side in (width, height))
    resized: Picture = picture if size == picture.shape[1::-1] else cv2.resize(picture, size, interpolation=cv2.INTER_AREA)
    return resized


def _upright(picture: Picture, orientation: int) -> Picture:
    """Turn and mirror an image as its EXIF orientation asks for."""
    if orientation >= 5:
        picture = picture.transpose(1, 0, 2)
    if orientation in (2, 3, 6, 7):
        picture = picture[:, ::-1]
    if orientation in (3, 4, 7, 8):
        picture = picture[::-1]
    return np.ascontiguousarray(picture) if orientation > 1 else picture


# Statistics ---------------------------------------------------------------------------------------------------------

_LEVELS = np.arange(256) / 255
_SQUARES = _LEVELS**2


def _luma(picture: Picture) -> Picture:
    cv2, _ = _libraries()
    luma: Picture = cv2.cvtColor(picture, cv2.COLOR_BGR2GRAY)
    return luma


def _square(luma: Picture, side: int = HASH_SIDE) -> Picture:
    return _resized(luma, side, side)


def _spread(values: NDArray[Any]) -> float:
    cv2, _ = _libraries()
    return float(cv2.meanStdDev(values)[1][0, 0]) / 255


BLOCK, WHOLE_SHARE = 8, 0.05
"""Sharpness is the spread of second differences ÷ that of luma within blocks of so many pixels a side: how bright the parts of a scene are
says nothing of its edges. A share of the spread of the whole keeps images blurred beyond the size of a block from being all noise. Of
differences along rows and along columns it is the geometric mean, as a camera that moves blurs in one direction."""


DETAIL_LEVELS, DETAIL_ROWS, DETAIL_COLUMNS = 8, 16, 4
"""Luma that bends by so many levels from pixel to pixel is seen; what a JPEG leaves of a gradient bends by 2 or 3. More rows than columns
tell a line of text from an object."""

VALUE_SHARE, CHROMA_SHARE = 0.99, 0.995


def _value_and_chroma(small: Picture) -> tuple[float, float]:
    """Give what nearly all of the largest channels, and of their distances from the smallest, stay below, 0 to 1.

    Chroma is a difference of levels, not a saturation, which would make colours of the noise in dark parts.
    """
    cv2, _ = _libraries()
    blue, green, red = cv2.split(small)
    value = cv2.max(cv2.max(blue, green), red)
    chroma = cv2.subtract(value, cv2.min(cv2.min(blue, green), red))
    histograms = (cv2.calcHist([levels], [0], None, [256], (0, 256)).ravel().cumsum() for levels in (value, chroma))
    value_p99, chroma_p99 = (
        min(int(np.searchsorted(counts, share * value.size)), 255) / 255
        for counts, share in zip(histograms, (VALUE_SHARE, CHROMA_SHARE), strict=True)
    )
    return value_p99, chroma_p99


def _detail(across: NDArray[Any], down: NDArray[Any]) -> int:
    """Tell in which cells luma bends, along rows or along columns, row by row, the first in the highest bit."""
    cells = np.maximum(np.abs(across), np.abs(down)) >= DETAIL_LEVELS
    for axis, (side, n) in enumerate(zip(across.shape, (DETAIL_ROWS, DETAIL_COLUMNS), strict=True)):
        cells = np.logical_or.reduceat(cells, np.arange(n) * side // n, axis=axis)
    return int.from_bytes(np.packbits(cells).tobytes(), "big")


_PLACES = (np.arange(HASH_SIDE) + 0.5) / HASH_SIDE - 0.5
_ACROSS, _DOWN = (grid.ravel() for grid in np.meshgrid(_PLACES, _PLACES))
_SURFACES = np.linalg.qr(np.stack([np.ones_like(_DOWN), _ACROSS, _DOWN, _ACROSS**2, _ACROSS * _DOWN, _DOWN**2], axis=1))[0]
"""Orthonormal surfaces up to the second degree on 32 × 32 points."""


def _relief(square: Picture) -> float:
    """Give the standard deviation of luma about the best surface of the second degree: of a gradient or a vignette next to nothing."""
    values = square.ravel() / 255 - 0.5
    along = values @ _SURFACES
    return math.sqrt(max(float(values @ values - along @ along), 0.0) / values.size)


def _measure(small: Picture, record: NDArray[Any]) -> None:
    cv2, _ = _libraries()
    full_luma = _luma(small)
    means, stds = cv2.meanStdDev(small)
    height, width = full_luma.shape
    scale = min(1.0, SMALL_SIDE / min(width, height))
    luma = _resized(full_luma, round(width * scale), round(height * scale))
    share = cv2.calcHist([luma], [0], None, [256], (0, 256)).ravel().astype(np.float64) / luma.size
    mean = share @ _LEVELS
    contrast = math.sqrt(max(share @ _SQUARES - mean**2, 0.0))
    used = share[share > 0]
    entropy = abs(float(used @ np.log2(used)))
    bends = [cv2.Sobel(luma, cv2.CV_16S, *order, ksize=1) for order in ((2, 0), (0, 2))]
    across, down = map(_spread, bends)
    blocks = _spread(_resized(luma, luma.shape[1] // BLOCK, luma.shape[0] // BLOCK))
    within = max(contrast**2 - blocks**2, 0.0) + WHOLE_SHARE * contrast**2
    record["brightness"] = np.minimum(np.searchsorted(share.cumsum(), PERCENTILES), 255) / 255
    record["contrast"], record["entropy"] = contrast, entropy
    record["sharpness"] = math.sqrt(across * down / within) if contrast > 1e-6 else 0.0
    record["value_p99"], record["chroma"] = _value_and_chroma(small)
    record["detail"] = _detail(*bends)
    record["channel_mean"], record["channel_std"] = means[::-1, 0] / 255, stds[::-1, 0] / 255
    square = _square(luma)
    waves = _waves(square)
    record["relief"] = _relief(square)
    record["perceptual"] = _perceptual(waves)
    record["sketch"] = _sketch(waves, small)
    record["is_flat"] = entropy < FLAT_ENTROPY_BITS or contrast < FLAT_CONTRAST


_HASHED = 8
_NO_AMPLITUDE = 1.0
"""What rounding leaves of a frequency that is not there, at most. A wave of one grey level has 256."""

_COSINES = np.cos(np.pi / HASH_SIDE * np.outer(np.arange(_HASHED), np.arange(HASH_SIDE) + 0.5)).astype(np.float32)


def _waves(square: Picture) -> NDArray[np.float32]:
    waves: NDArray[np.float32] = _COSINES @ square.astype(np.float32) @ _COSINES.T
    return waves


def _perceptual(waves: NDArray[np.float32]) -> int:
    """Hash 32 × 32 luma by the signs of its 64 lowest frequencies, row by row, the lowest in the highest bit.

    The signs, not which are above their median as in pHash: of a mirrored image the odd frequencies change their signs and nothing else
    changes, of a transposed one rows and columns, so that the hashes of turned images follow from this one. The lowest frequency is mean
    luma, which says nothing about the image; its bit is 0. A single colour has no bits at all.
    """
    positive = waves.ravel() > _NO_AMPLITUDE
    positive[0] = False
    return int.from_bytes(np.packbits(positive).tobytes(), "big")


_DOWN, _ACROSS = np.mgrid[:_HASHED, :_HASHED]
_IN_LUMA = (_DOWN + _ACROSS > 0) & (_DOWN + _ACROSS < 8)
_IN_COLOUR = (_DOWN[:4, :4] + _ACROSS[:4, :4] > 0) & (_DOWN[:4, :4] + _ACROSS[:4, :4] < 4)
_LUMA_WEIGHT = np.sqrt(np.hypot(_DOWN, _ACROSS) * np.where(_DOWN, 1, 0.5) * np.where(_ACROSS, 1, 0.5))[_IN_LUMA].astype(np.float32)
_COLOUR_SIDE = 8
_COLOUR_COSINES = np.cos(np.pi / _COLOUR_SIDE * np.outer(np.arange(4), np.arange(_COLOUR_SIDE) + 0.5)).astype(np.float32)
_COLOUR_WEIGHT = (HASH_SIDE / _COLOUR_SIDE) ** 2 * np.sqrt(np.hypot(_DOWN, _ACROSS) * np.where(_DOWN, 1, 0.5) * np.where(_ACROSS, 1, 0.5))[
    :4, :4
][_IN_COLOUR].astype(np.float32)

SKETCH_IS_ODD = np.concatenate([_ACROSS[_IN_LUMA], _ACROSS[:4, :4][_IN_COLOUR], _ACROSS[:4, :4][_IN_COLOUR]]) % 2 == 1
"""Which numbers of a sketch change their sign when the image is mirrored."""


def _sketch(waves: NDArray[np.float32], small: Picture) -> NDArray[np.int8]:
    """Give the lowest frequencies of luma (35) and of the two colour differences (9 each), the largest of them 127.

    Each is weighted by the root of its frequency: photos have most of their power in the lowest, which many share. Measured on 22,406
    photos of 32 × 32 pixels with 285 pairs of one shot: of weights by powers 0, 0.5 and 1 and cuts at 6 to 16, this leaves nearly the
    fewest other pairs above the cosine that 95 % of the true ones reach, with half as many numbers as the one that leaves fewer.
    """
    cv2, _ = _libraries()
    colour = cv2.cvtColor(_resized(small, _COLOUR_SIDE, _COLOUR_SIDE), cv2.COLOR_BGR2YCrCb).astype(np.float32)
    parts = [waves[_IN_LUMA] * _LUMA_WEIGHT]
    for channel in (1, 2):
        parts.append((_COLOUR_COSINES @ colour[:, :, channel] @ _COLOUR_COSINES.T)[_IN_COLOUR] * _COLOUR_WEIGHT)
    sketch = np.concatenate(parts)
    largest = float(np.abs(sketch).max())
    whole: NDArray[np.int8] = np.round(sketch * (127 / largest if largest > _NO_AMPLITUDE else 0)).astype(np.int8)
    return whole
