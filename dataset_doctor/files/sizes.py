"""Image sizes from file headers, without decoding a pixel.

What shaped it:

* A hundred thousand images must take seconds: one open, one small read, and no library in between.
* The content decides, not the extension: a PNG named `.jpg` has the size of the PNG that it is.
* Files are hostile: every parser reads through `_Bytes`, whose budget ends endless segments; nothing is decompressed.
* The size is the one that a trainer sees: orientations 5 to 8, which turn the picture by 90°, swap width and height.
"""

from __future__ import annotations

import os
import re
import signal
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

from dataset_doctor.dataset import UNKNOWN_SIZE, Place, Problem
from dataset_doctor.files.processes import may_fork
from dataset_doctor.files.progress import Progress, silent
from dataset_doctor.files.reading import Unreadable, open_regular, reason
from dataset_doctor.files.tree import Tree

if TYPE_CHECKING:
    from multiprocessing.connection import Connection

Size = tuple[int, int]

HEAD = 4096
"""Bytes of the first read; most headers end within it."""

BLOCK = 1024
"""Bytes of a later read, and the least that one is charged with."""

BUDGET = 512 << 10
"""Bytes that may be read after the head, before the search for a size is given up."""

FARTHEST = 1 << 40
"""Position in a file beyond which nothing is looked for; systems refuse to seek to larger ones."""


@dataclass(frozen=True, slots=True)
class Sizes:
    """Sizes of image files in pixels, oriented (int32, UNKNOWN_SIZE where unknown), and why they are unknown."""

    width: NDArray[np.int32]
    height: NDArray[np.int32]
    problems: tuple[Problem, ...]


IMAGES_TO_SHARE = 20_000
"""From so many images on another process measures them while this one reads labels."""


def begin(tree: Tree, names: Sequence[str], progress: Progress = silent) -> Callable[[], Sizes]:
    """Begin to `measure` images, on another process where they are many and it can be had; call the result for the sizes."""
    alone = partial(measure, tree, names, progress)
    if len(names) < IMAGES_TO_SHARE or not may_fork():
        return alone
    import multiprocessing

    context = multiprocessing.get_context("fork")
    try:
        receiver, sender = context.Pipe(duplex=False)
        process = context.Process(target=_send_sizes, args=(sender, tree, names), daemon=True)
        process.start()
    except OSError:
        return alone
    sender.close()

    def finished() -> Sizes:
        try:
            sizes: Sizes = receiver.recv()
        except (EOFError, OSError):
            return alone()  # the process was lost: this one does it
        finally:
            receiver.close()
            process.join()
        return sizes

    return finished


def _send_sizes(sender: Connection, tree: Tree, names: Sequence[str]) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # who interrupts means the command, which ends this process
    sender.send(measure(tree, names))


def measure(tree: Tree, names: Sequence[str], progress: Progress = silent) -> Sizes:
    """Read the size of each named image from its header, with its orientation applied.

    Only names that the walk listed are opened; links that lead outside the dataset are, as these are only looked at.

    Returns:
        Sizes in the order of `names`; each unknown one has an `image-unreadable` problem that says why.
    """
    widths, heights = [UNKNOWN_SIZE] * len(names), [UNKNOWN_SIZE] * len(names)
    problems = []
    root = os.path.join(tree.root, "")
    for i, name in enumerate(names):
        if not i % HEAD:
            progress("image sizes", i, len(names))
        try:
            if name not in tree.known:
                raise Unreadable("not among the files of the dataset")
            widths[i], heights[i] = file_size(root + name)
        except Unreadable as error:
            problems.append(Problem("image-unreadable", Place(file=name, image=name), str(error)))
    progress("image sizes", len(names), len(names))
    return Sizes(np.array(widths, np.int32), np.array(heights, np.int32), tuple(problems))


def file_size(path: str) -> Size:
    """Read the size of an image file from its header, with its orientation applied.

    Raises:
        Unreadable: it cannot be opened, or is no image.
    """
    handle = open_regular(path)
    try:
        return header_size(partial(_read_at, handle))
    except OSError as error:
        raise Unreadable(reason(error)) from error
    finally:
        os.close(handle)


def _read_at(handle: int, start: int, length: int) -> bytes:
    # os.pread would save a system call, but Windows has none.
    if start:
        os.lseek(handle, start, os.SEEK_SET)
    return os.read(handle, length)


def header_size(read_at: Callable[[int, int], bytes]) -> Size:
    r"""Find the oriented size of an image from its first bytes, and from further ones where it needs them.

    Knows JPEG, PNG, BMP, GIF, WebP, TIFF (BigTIFF too), PNM, JPEG 2000, AVIF and HEIF.

    Args:
        read_at: `read_at(start, length)` gives at most `length` bytes, fewer where the file ends. The first call is at 0.

    Returns:
        Width and height, each from 1 to 2³¹ − 1.

    Raises:
        Unreadable: no image of a known format, its header is damaged, or it lies beyond `BUDGET`.

    >>> header_size(lambda start, length: b"P5 640 480 255\n"[start:start + length])
    (640, 480)
    """
    head = read_at(0, HEAD)
    if not head:
        raise Unreadable("an empty file")
    name, parse = ("JPEG", _jpeg) if head[:3] == b"\xff\xd8\xff" else _format_of(head)
    try:
        width, height = parse(_Bytes(head, read_at))
    except IndexError:
        raise Unreadable(f"{name} cut off before its size") from None
    if not (0 < width < 2**31 and 0 < height < 2**31):
        raise Unreadable(f"{name} of {width:,} × {height:,} pixels")
    return width, height


class _Bytes:
    """The bytes of a file by position: the head costs nothing, the rest is read until the budget is spent."""

    __slots__ = ("budget", "head", "read_at")

    def __init__(self, head: bytes, read_at: Callable[[int, int], bytes]) -> None:
        self.head = head
        self.read_at = read_at
        self.budget = BUDGET

    def get(self, start: int, length: int) -> bytes:
        """Give at most `length` bytes from `start` on, fewer where the file ends."""
        length = max(length, 0)
        if start + length <= len(self.head) or len(self.head) < HEAD or start > FARTHEST:
            return self.head[start : start + length]
        self.budget -= max(length, BLOCK)
        if self.budget < 0:
            raise Unreadable(f"no size in the first {BUDGET >> 10:,} KiB of its header")
        return self.read_at(start, length)

    def number(self, start: int, length: int, order: Literal["little", "big"]) -> int:
        """Read an unsigned integer; IndexError where the file ends before it does."""
        data = self.get(start, length)
        if len(data) < length:
            raise IndexError
        return int.from_bytes(data, order)


# Formats ------------------------------------------------------------------------------------------------------------

_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_BARE_MARKERS = frozenset({0x00, 0x01, *range(0xD0, 0xD9)})


def _jpeg(file: _Bytes) -> Size:
    """Walk the segments to the frame header. EXIF counts where the standard puts it: before the frame header."""
    block, start, at = file.head, 0, 2
    exif_seen = turned = False
    while True:
        here = at - start
        if here + 10 > len(block):
            block, start, here = file.get(at, BLOCK), at, 0
            if len(block) < 9:
                raise Unreadable("JPEG without a frame header")
        if block[here] != 0xFF:  # stray bytes between segments, which decoders skip too
            found = block.find(b"\xff", here)
            at = start + (found if found >= 0 else len(block))
            continue
        marker = block[here + 1]
        if marker in _FRAMES:
            height, width = block[here + 5] << 8 | block[here + 6], block[here + 7] << 8 | block[here + 8]
            return (height, width) if turned else (width, height)
        if marker == 0xFF:
            at += 1
        elif marker in _BARE_MARKERS:
            at += 2
        elif marker in (0xD9, 0xDA):
            raise Unreadable("JPEG without a frame header")
        else:
            end = at + 2 + max(block[here + 2] << 8 | block[here + 3], 2)
            if marker == 0xE1 and not exif_seen and block[here + 4 : here + 10] == b"Exif\0\0":
                exif_seen, turned = True, _turned(file, at + 10, end)
            at = end


def _png(file: _Bytes) -> Size:
    """Read IHDR, and an eXIf chunk that comes before the pixels."""
    if file.get(12, 4) != b"IHDR":
        raise Unreadable("PNG without a header chunk")
    width, height = file.number(16, 4, "big"), file.number(20, 4, "big")
    at = 8
    while (chunk := file.get(at, 8)) and chunk[4:] not in (b"IDAT", b"IEND"):
        end = at + 12 + int.from_bytes(chunk[:4], "big")
        if chunk[4:] == b"eXIf":
            return (height, width) if _turned(file, at + 8, end - 4) else (width, height)
        at = end
    return width, height


def _bmp(file: _Bytes) -> Size:
    """Read the DIB header. One of 12 bytes (OS/2) has 16-bit sizes, a longer one 32-bit ones; a negative height: rows run downwards."""
    at = 14 if file.head[:2] == b"BM" else 0
    header = file.number(at, 4, "little")
    if header == 12:
        return file.number(at + 4, 2, "little"), file.number(at + 6, 2, "little")
    if not 16 <= header <= 124:
        raise Unreadable(f"BMP with an unknown header of {header:,} bytes")
    height = file.number(at + 8, 4, "little")
    return file.number(at + 4, 4, "little"), 2**32 - height if height >= 2**31 else height


def _gif(file: _Bytes) -> Size:
    return file.number(6, 2, "little"), file.number(8, 2, "little")


def _webp(file: _Bytes) -> Size:
    """Read a lossy or lossless frame header, or the canvas of the extended format and its EXIF chunk."""
    kind = file.get(12, 4)
    if kind == b"VP8 ":
        if file.get(23, 3) != b"\x9d\x01\x2a":
            raise Unreadable("WebP without a frame header")
        return file.number(26, 2, "little") & 0x3FFF, file.number(28, 2, "little") & 0x3FFF
    if kind == b"VP8L":
        if file.get(20, 1) != b"\x2f":
            raise Unreadable("WebP without a frame header")
        bits = file.number(21, 4, "little")
        return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    if kind != b"VP8X":
        raise Unreadable("WebP without a frame header")
    width, height = file.number(24, 3, "little") + 1, file.number(27, 3, "little") + 1
    at = 12
    while file.head[20] & 0x08 and (kind := file.get(at, 4)):
        length = int.from_bytes(file.get(at + 4, 4), "little")
        if kind == b"EXIF":
            tiff = at + 14 if file.get(at + 8, 6) == b"Exif\0\0" else at + 8
            return (height, width) if _turned(file, tiff, at + 8 + length) else (width, height)
        at += 8 + length + length % 2
    return width, height


def _tiff(file: _Bytes) -> Size:
    tags = _tiff_tags(file, 0, 2**62)
    if _WIDTH not in tags or _HEIGHT not in tags:
        raise Unreadable("TIFF without a width and a height")
    width, height = tags[_WIDTH], tags[_HEIGHT]
    return (height, width) if tags.get(_ORIENTATION, 1) in _TURNED else (width, height)


_WIDTH, _HEIGHT, _ORIENTATION = 256, 257, 274
_TURNED = (5, 6, 7, 8)
_BYTES_OF_TYPE = {1: 1, 3: 2, 4: 4, 16: 8}
_MAX_TAGS = 1024


def _tiff_tags(file: _Bytes, base: int, end: int) -> dict[int, int]:
    """Read width, height and orientation of the first directory of a TIFF structure that lies from `base` to `end`."""
    lead = file.get(base, min(16, end - base))
    if lead[:2] not in (b"II", b"MM") or len(lead) < 8:
        return {}
    order: Literal["little", "big"] = "little" if lead[:2] == b"II" else "big"
    big = int.from_bytes(lead[2:4], order) == 43
    count_bytes, value_at, entry_bytes = (8, 12, 20) if big else (2, 8, 12)
    at = base + int.from_bytes(lead[8:16] if big else lead[4:8], order)
    count = int.from_bytes(file.get(at, min(count_bytes, end - at)), order)
    at += count_bytes
    table = file.get(at, min(min(count, _MAX_TAGS) * entry_bytes, end - at))
    tags = {}
    for entry in range(0, len(table) - entry_bytes + 1, entry_bytes):
        tag, kind = (int.from_bytes(table[entry + i : entry + i + 2], order) for i in (0, 2))
        values = int.from_bytes(table[entry + 4 : entry + value_at], order)
        if tag in (_WIDTH, _HEIGHT, _ORIENTATION) and kind in _BYTES_OF_TYPE and values == 1:
            value = entry + value_at
            tags[tag] = int.from_bytes(table[value : value + _BYTES_OF_TYPE[kind]], order)
    return tags


def _turned(file: _Bytes, base: int, end: int) -> bool:
    """Tell whether the EXIF data from `base` to `end` turns the picture by 90°."""
    return _tiff_tags(file, base, end).get(_ORIENTATION, 1) in _TURNED


_GAP = rb"(?:\s|#[^\r\n]*[\r\n])+"
_PNM = re.compile(rb"P[1-6Ff]" + _GAP + rb"(\d{1,10})" + _GAP + rb"(\d{1,10})[\s#]")
_PAM = re.compile(rb"P7\s(?=(?:(?!ENDHDR).*\n)*?WIDTH[ \t]+(\d{1,10})\s)(?:(?!ENDHDR).*\n)*?HEIGHT[ \t]+(\d{1,10})\s")


def _pnm(file: _Bytes) -> Size:
    """Read the text header of P1 to P6, PFM and PAM; comments may be long."""
    for length in (HEAD, BUDGET // 8):
        text = file.get(0, length)
        if match := (_PAM if text[1:2] == b"7" else _PNM).match(text):
            return int(match[1]), int(match[2])
    raise Unreadable("PNM without a width and a height")


def _jpeg2000(file: _Bytes) -> Size:
    """Read SIZ of a bare codestream, or the image header box of a JP2 file."""
    if file.head[:4] == b"\xff\x4f\xff\x51":
        right, bottom, left, top = (file.number(at, 4, "big") for at in (8, 12, 16, 20))
        return max(right - left, 0), max(bottom - top, 0)
    for kind, start, end in _boxes(file, 0, 2**62):
        for inner, at, _ in _boxes(file, start, end) if kind == b"jp2h" else ():
            if inner == b"ihdr":
                return file.number(at + 4, 4, "big"), file.number(at, 4, "big")
    raise Unreadable("JPEG 2000 without an image header")


def _heif(file: _Bytes) -> Size:
    """Find the extent and rotation of the primary item (ISO/IEC 23008-12, where EXIF does not turn a picture)."""
    primary = -1
    associations: dict[int, list[int]] = {}
    properties: list[tuple[bytes, int, int]] = []
    meta = next(((start, end) for kind, start, end in _boxes(file, 0, 2**62) if kind == b"meta"), (0, 0))
    for kind, start, end in _boxes(file, meta[0] + 4, meta[1]):
        if kind == b"pitm":
            primary = file.number(start + 4, 4 if file.number(start, 1, "big") else 2, "big")
        elif kind == b"iprp":
            for inner, at, stop in _boxes(file, start, end):
                if inner == b"ipco":
                    properties = list(_boxes(file, at, stop))
                elif inner == b"ipma":
                    associations.update(_associations(file.get(at, min(stop - at, BUDGET // 8))))
    size, turned = None, False
    for index in associations.get(primary, ()):
        kind, at, _ = properties[index - 1] if 0 < index <= len(properties) else (b"", 0, 0)
        if kind == b"ispe":
            size = file.number(at + 4, 4, "big"), file.number(at + 8, 4, "big")
        elif kind == b"irot":
            turned = bool(file.number(at, 1, "big") & 1)
    if size is None:
        raise Unreadable("AVIF or HEIF without the size of a picture")
    return size[::-1] if turned else size


def _associations(table: bytes) -> Iterator[tuple[int, list[int]]]:
    """Read an `ipma` box: each item with the 1-based numbers of its properties."""
    item_bytes, index_bytes = 4 if table[0] else 2, 2 if table[3] & 1 else 1
    at = 8
    while at + item_bytes < len(table):
        item, count = int.from_bytes(table[at : at + item_bytes], "big"), table[at + item_bytes]
        at += item_bytes + 1
        # The highest bit says "essential", the others are the number.
        numbers = (int.from_bytes(table[i : i + index_bytes], "big") for i in range(at, at + count * index_bytes, index_bytes))
        yield item, [number & (0x7F if index_bytes == 1 else 0x7FFF) for number in numbers]
        at += count * index_bytes


def _boxes(file: _Bytes, start: int, end: int) -> Iterator[tuple[bytes, int, int]]:
    """List the boxes between two positions: kind, and where the content starts and ends."""
    while start + 8 <= end and len(lead := file.get(start, 16)) >= 8:
        length, content = int.from_bytes(lead[:4], "big"), start + 8
        if length == 1:
            length, content = int.from_bytes(lead[8:16], "big"), start + 16
        stop = min(start + length, end) if length else end
        if stop < content:
            return
        yield lead[4:8], content, stop
        start = stop


_FORMATS: tuple[tuple[str, Callable[[_Bytes], Size], int, tuple[bytes, ...]], ...] = (
    ("PNG", _png, 0, (b"\x89PNG\r\n\x1a\n",)),
    ("BMP", _bmp, 0, (b"BM", *(bytes([size, 0, 0, 0]) for size in (12, 40, 52, 56, 64, 108, 124)))),
    ("GIF", _gif, 0, (b"GIF87a", b"GIF89a")),
    ("WebP", _webp, 8, (b"WEBP",)),
    ("TIFF", _tiff, 0, (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")),
    ("PNM", _pnm, 0, tuple(b"P%c" % kind for kind in b"1234567Ff")),
    ("JPEG 2000", _jpeg2000, 0, (b"\0\0\0\x0cjP  \r\n\x87\n", b"\xff\x4f\xff\x51")),
    ("AVIF or HEIF", _heif, 4, (b"ftyp",)),
)
"""Name, parser, where the signature stands, and the signatures."""


_OTHER_KINDS: tuple[tuple[tuple[bytes, ...], str], ...] = (
    ((b"<!doctype html", b"<html"), "a web page"),
    ((b"<?xml", b"<svg"), "XML"),
    ((b"{", b"["), "JSON or text"),
    ((b"%pdf",), "a PDF file"),
    ((b"pk\x03\x04", b"rar!", b"7z\xbc\xaf", b"\x1f\x8b"), "an archive"),
)
_NOT_IN_TEXT = frozenset(range(32)) - frozenset(b"\t\n\v\f\r\x1b")


def _format_of(head: bytes) -> tuple[str, Callable[[_Bytes], Size]]:
    for name, parse, at, signatures in _FORMATS:
        if head.startswith(signatures, at):
            return name, parse
    if head.startswith(b"version https://git-lfs"):
        raise Unreadable("a Git LFS pointer; the image itself was not downloaded")
    # What the file says is not quoted: through a link it may be any file of this machine.
    raise Unreadable(f"not an image: {_kind_of(head)}")


def _kind_of(head: bytes) -> str:
    """Say what kind of file begins so, as far as its first bytes tell."""
    start = head[:64].lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    for signatures, kind in _OTHER_KINDS:
        if start.startswith(signatures):
            return kind
    if not head.strip(b"\0"):
        return "nothing but zero bytes"
    return "text" if not set(head) & _NOT_IN_TEXT else "binary data of an unknown format"
