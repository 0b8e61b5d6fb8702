# ruff: noqa: E501 (one planted defect a line)
"""Images with something wrong in the file itself, the same for all formats."""

from __future__ import annotations

import dataclasses
import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from dataset_doctor.dataset import Place
from dataset_doctor.demo._files import Files, Plant
from dataset_doctor.demo._scenes import CLASSES, SIZE, Scene, Thing, draw, encode

if TYPE_CHECKING:
    from PIL import Image


class Add(Protocol):
    """Adds an image to a dataset: its file under a name, and a label that says what is in it."""

    def __call__(self, files: Files, name: str, shot: Scene) -> object:
        """Add the image to the split that the scene names."""


@dataclass(frozen=True, slots=True)
class _Flaw:
    """What is wrong with an image, for which check, and how it is made out of a sound one."""

    check: str
    what: str
    suffix: str
    make: Callable[[Image.Image], bytes]


def _saved(image: Image.Image, form: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, form, **options)
    return buffer.getvalue()


def _cut(image: Image.Image) -> bytes:
    content = encode(image)
    return content[: len(content) * 2 // 3]


def _damaged(image: Image.Image) -> bytes:
    """Overwrite some bytes in the middle of a PNG."""
    content = _saved(image, "PNG")
    middle = len(content) // 2
    return content[:middle] + b"\0" * 64 + content[middle + 64 :]


def _marked(image: Image.Image) -> bytes:
    """Exchange a restart marker of a JPEG for another one."""
    content = _saved(image, "JPEG", quality=88, restart_marker_blocks=2)
    return content.replace(b"\xff\xd3", b"\xff\xd5", 1)


def _turned(image: Image.Image) -> bytes:
    exif = _exif()
    exif[0x0112] = 3
    return _saved(image, "JPEG", quality=88, exif=exif)


def _located(image: Image.Image) -> bytes:
    """Store a place in the middle of the North Sea."""
    exif = _exif()
    exif.get_ifd(0x8825).update({1: "N", 2: (56.0, 0.0, 0.0), 3: "E", 4: (3.0, 0.0, 0.0)})
    return _saved(image, "JPEG", quality=88, exif=exif)


def _exif() -> Image.Exif:
    from PIL import Image

    return Image.Exif()


def _toned(image: Image.Image, factor: float, shift: float) -> bytes:
    return encode(image.point([round(min(255, value * factor + shift)) for value in range(256)] * 3))


def _blurred(image: Image.Image) -> bytes:
    from PIL import ImageFilter

    return encode(image.filter(ImageFilter.GaussianBlur(5)))


def _deep(image: Image.Image) -> bytes:
    return _saved(image.convert("L").convert("I").point(lambda value: value * 256).convert("I;16"), "PNG")


def _moving(image: Image.Image) -> bytes:
    from PIL import ImageOps

    return _saved(image, "GIF", save_all=True, append_images=[ImageOps.mirror(image)], duration=100)


def _one_colour(image: Image.Image) -> bytes:
    return encode(image.point([120] * 768))


FLAWS: tuple[_Flaw, ...] = (
    _Flaw("image-corrupt", "bytes in the middle are lost", "png", _damaged),
    _Flaw("image-truncated", "the file is cut off", "jpg", _cut),
    _Flaw("image-suspect", "a wrong mark among the data", "jpg", _marked),
    _Flaw("image-extension-wrong", "a PNG called .jpg", "jpg", lambda image: _saved(image, "PNG")),
    _Flaw("image-exif-rotated", "stored upside down, as EXIF says", "jpg", _turned),
    _Flaw("image-dark", "nearly black", "jpg", lambda image: _toned(image, 0.2, 0)),
    _Flaw("image-bright", "nearly white", "jpg", lambda image: _toned(image, 0.04, 244)),
    _Flaw("image-low-information", "one colour", "jpg", _one_colour),
    _Flaw("image-blurry", "out of focus", "jpg", _blurred),
    _Flaw("image-odd-aspect", "8 times as wide as high", "jpg", lambda image: encode(image.resize((image.width * 2, image.width // 4)))),
    _Flaw("image-odd-size", "five times as large as the others", "jpg", lambda image: encode(image.resize((image.width * 5, image.height * 5)))),
    _Flaw("image-grey-among-colour", "grey", "jpg", lambda image: _saved(image.convert("L"), "JPEG", quality=88)),
    _Flaw("image-alpha", "transparent", "png", lambda image: _saved(image.convert("RGBA"), "PNG")),
    _Flaw("image-cmyk", "colours of print", "jpg", lambda image: _saved(image.convert("CMYK"), "JPEG", quality=88)),
    _Flaw("image-palette", "colours of a palette", "png", lambda image: _saved(image.convert("P"), "PNG")),
    _Flaw("image-deep", "16 bits a channel", "png", _deep),
    _Flaw("image-animated", "two images in one file", "gif", _moving),
    _Flaw("image-metadata-private", "where it was taken", "jpg", _located),
)  # fmt: skip


def picture_plants(
    add: Add, path: Callable[[str], str], *, size: tuple[int, int] = SIZE, cast: Sequence[str] = (), mistaken: str = CLASSES[2]
) -> tuple[Plant, ...]:
    """List the defects of image files, and of images that are there twice, for one format.

    Args:
        add: Adds an image to a dataset of the format.
        path: Gives the path of an image of train from its file name.
        size: Of the images.
        cast: What the images show.
        mistaken: The class that one of two equal images is labelled as.
    """

    def single(flaw: _Flaw) -> Plant:
        stem = f"pond_{flaw.check.removeprefix('image-').replace('-', '_')}"

        def change(files: Files) -> None:
            sound = draw(stem, "train", cast, size)
            content = flaw.make(_opened(sound))
            add(files, f"{stem}.{flaw.suffix}", dataclasses.replace(sound, size=_opened_size(content), jpeg=content))

        return Plant(flaw.check, flaw.what, change, Place(image=path(f"{stem}.{flaw.suffix}")))

    def pair(check: str, what: str, change_second: Callable[[Scene], Scene]) -> Plant:
        stem = f"pond_{check.replace('-', '_')}"

        def change(files: Files) -> None:
            first = draw(stem, "train", cast, size)
            add(files, f"{stem}.jpg", first)
            add(files, f"{stem}_again.jpg", change_second(dataclasses.replace(first, stem=f"{stem}_again")))

        return Plant(check, what, change, Place(image=path(f"{stem}.jpg")))

    other = (Thing(mistaken, (10, 10, 50, 50)),)
    return (
        *map(single, FLAWS),
        pair("image-duplicate", "the same file twice", lambda shot: shot),
        pair(
            "image-near-duplicate",
            "the same image, a little brighter",
            lambda shot: dataclasses.replace(shot, jpeg=_toned(_opened(shot), 1.06, 0)),
        ),
        pair("duplicate-label-conflict", "the same file, labelled otherwise", lambda shot: dataclasses.replace(shot, things=other)),
        pair("split-leakage", "the same file in train and val", lambda shot: dataclasses.replace(shot, split="val")),
    )


def _opened(shot: Scene) -> Image.Image:
    from PIL import Image

    return Image.open(io.BytesIO(shot.jpeg)).convert("RGB")


def _opened_size(content: bytes) -> tuple[int, int]:
    from PIL import Image

    with Image.open(io.BytesIO(content)) as image:
        return image.size
