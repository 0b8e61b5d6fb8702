"""Thumbnails for the page: few, small, and never of anything outside the dataset.

A picture that cannot be had (missing, a link that leads out, broken, enormous) is simply not there; the page shows a placeholder.
"""

from __future__ import annotations

import base64
import io
import os
import warnings
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

from dataset_doctor.files.names import IMAGE_SUFFIXES, suffix
from dataset_doctor.files.reading import Unreadable, read_regular

if TYPE_CHECKING:
    from PIL import Image

SIDE_PX = 160
"""Longer side of a thumbnail."""

A_FINDING, IN_ALL = 12, 120
"""Pictures looked at for one finding, and for all of them."""

MAX_BYTES = 32 << 20
MAX_PIXELS = 64_000_000
_QUALITY = 72
_LEAST_PART_PX = 48
"""A box is never shown nearer than that: a smaller part is too coarse to tell anything."""

Box: TypeAlias = tuple[float, float, float, float]
_DECODERS = ("JPEG", "PNG", "BMP", "GIF", "WEBP", "TIFF", "PPM")
"""What Pillow decodes by itself: nothing that starts another program."""


@dataclass(frozen=True, slots=True)
class Thumbnail:
    """A small JPEG as a `data:` address, and the size in pixels of the picture it was made of, as a trainer sees it.

    Where only a part of a picture was taken, `width` and `height` are the size of that part, and `left` and `top` where it begins.
    """

    address: str
    width: int
    height: int
    left: int = 0
    top: int = 0


def is_picture(name: str) -> bool:
    """Tell whether a file's name says that it is a picture."""
    return suffix(name) in IMAGE_SUFFIXES


def choose(wanted: Iterable[Sequence[str]]) -> list[str]:
    """Choose pictures for each finding in turn, one after another, until the page has enough.

    >>> choose([["a", "b"], ["b", "c"]])
    ['a', 'b', 'c']
    """
    queues = [list(dict.fromkeys(names))[:A_FINDING] for names in wanted]
    chosen: dict[str, None] = {}
    for at in range(A_FINDING):
        for queue in queues:
            if at < len(queue) and len(chosen) < IN_ALL:
                chosen[queue[at]] = None
    return list(chosen)


def thumbnails(names: Iterable[str], roots: Sequence[str]) -> dict[str, Thumbnail]:
    """Make thumbnails of pictures in the dataset; those that cannot be had are left out.

    Args:
        names: Paths relative to the first root.
        roots: The dataset's folder, and the folder of the images where the user named one; nothing outside is opened.
    """
    return {name: made for (name, _), made in cutouts(((name, None) for name in names), roots).items()}


def cutouts(wanted: Iterable[tuple[str, Box | None]], roots: Sequence[str]) -> dict[tuple[str, Box | None], Thumbnail]:
    """Make thumbnails of pictures, or of what surrounds a box in them; those that cannot be had are left out.

    Args:
        wanted: Paths relative to the first root, each with a box as xyxy in pixels, or None for the whole picture.
        roots: As for `thumbnails`.
    """
    inside = tuple(os.path.realpath(root).rstrip(os.sep) + os.sep for root in roots)
    made = {}
    for name, box in wanted:
        try:
            path = os.path.realpath(os.path.join(roots[0], name))
            thumbnail = _thumbnail(read_regular(path, MAX_BYTES), box) if path.startswith(inside) else None
        except (Unreadable, OSError, ValueError):
            continue
        if thumbnail is not None:
            made[name, box] = thumbnail
    return made


def _thumbnail(content: bytes, box: Box | None) -> Thumbnail | None:
    from PIL import Image, ImageOps

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            picture: Image.Image = Image.open(io.BytesIO(content), formats=_DECODERS)
            if picture.width * picture.height > MAX_PIXELS:
                return None
            width, height = picture.size
            if picture.getexif().get(0x0112, 1) in (5, 6, 7, 8):
                width, height = height, width
            if box is None:
                picture.draft("RGB", (2 * SIDE_PX, 2 * SIDE_PX))
            if picture.mode.startswith("I;16"):
                picture = picture.point(lambda value: value / 256).convert("L")
            picture = ImageOps.exif_transpose(picture)
            if picture.mode not in ("RGB", "L"):
                picture = _on_grey(picture.convert("RGBA"))
            left, top, right, bottom = (0, 0, width, height) if box is None else _around(box, width, height)
            if box is not None:
                picture = picture.crop((left, top, right, bottom))
            picture.thumbnail((SIDE_PX, SIDE_PX))
            out = io.BytesIO()
            picture.convert("RGB").save(out, "JPEG", quality=_QUALITY, optimize=True, comment=b"")
        except Exception:
            # Decoders of hostile bytes fail in any way there is (struct.error, KeyError, SyntaxError …), and a placeholder does.
            return None
    address = "data:image/jpeg;base64," + base64.b64encode(out.getvalue()).decode("ascii")
    return Thumbnail(address, right - left, bottom - top, left, top)


def _around(box: Box, width: int, height: int) -> tuple[int, int, int, int]:
    """Give the part of a picture to show of a box: with half its longer side as context, in the picture.

    >>> _around((100, 100, 140, 120), 640, 480), _around((0, 0, 10, 10), 640, 480)
    ((80, 70, 160, 150), (0, 0, 48, 48))
    """
    side = min(round(max(box[2] - box[0], box[3] - box[1], _LEAST_PART_PX / 2) * 2), max(width, height))
    wide, high = min(side, width), min(side, height)
    left = min(max(round((box[0] + box[2] - wide) / 2), 0), width - wide)
    top = min(max(round((box[1] + box[3] - high) / 2), 0), height - high)
    return left, top, left + wide, top + high


def _on_grey(picture: Image.Image) -> Image.Image:
    from PIL import Image

    ground = Image.new("RGBA", picture.size, (128, 128, 128, 255))
    return Image.alpha_composite(ground, picture)
