"""Draw a park: small images with balloons, tents and crates, whose boxes are known to the pixel."""

from __future__ import annotations

import io
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from PIL import Image, ImageDraw

CLASSES = ("balloon", "tent", "crate")
SIZE = (192, 128)
Colour = tuple[int, int, int]
Plan = Mapping[str, Sequence[Sequence[str]]]
"""What each image of each split shows."""

SKIES: tuple[tuple[Colour, Colour], ...] = (
    ((84, 150, 220), (206, 230, 246)),
    ((150, 160, 180), (214, 218, 222)),
    ((98, 90, 160), (248, 178, 122)),
    ((240, 206, 160), (252, 242, 218)),
)
MEADOWS: tuple[Colour, ...] = ((96, 152, 70), (128, 146, 74), (74, 128, 84), (160, 158, 92))
PAINTS: tuple[Colour, ...] = ((206, 46, 42), (32, 84, 176), (238, 176, 36), (126, 58, 140), (232, 112, 44), (24, 132, 140))


@dataclass(frozen=True, slots=True)
class Thing:
    """Something in an image: its class and its box (xyxy, whole pixels, half-open)."""

    name: str
    box: tuple[int, int, int, int]


@dataclass(frozen=True, slots=True)
class Scene:
    """An image as JPEG, and what stands in it from left to right."""

    stem: str
    split: str
    things: tuple[Thing, ...]
    size: tuple[int, int]
    jpeg: bytes


STANDARD: Plan = {"train": [CLASSES] * 11 + [()], "val": [CLASSES] * 4}
"""Twelve images to train on, one of them of an empty meadow, and four to measure on."""


def scenes(plan: Plan = STANDARD, size: tuple[int, int] = SIZE) -> list[Scene]:
    """Draw the images of a plan, called `park_001` and so on; the same plan always gives the same bytes."""
    drawn: list[Scene] = []
    for split, casts in plan.items():
        for cast in casts:
            drawn.append(draw(f"park_{len(drawn) + 1:03}", split, cast, size))
    return drawn


def draw(stem: str, split: str, cast: Sequence[str], size: tuple[int, int]) -> Scene:
    """Draw one image; its name decides about everything that is left to chance."""
    from PIL import Image, ImageDraw

    chance = random.Random(f"{stem} {size}")
    image = Image.new("RGB", size)
    canvas = ImageDraw.Draw(image)
    _landscape(canvas, size, chance)
    things = []
    order = chance.sample(cast, len(cast))
    for column, name in enumerate(order):
        left, right = size[0] * column // len(cast), size[0] * (column + 1) // len(cast)
        things.append(Thing(name, _thing(canvas, name, left, right, size[1], chance)))
    return Scene(stem, split, tuple(things), size, encode(image))


def encode(image: Image.Image) -> bytes:
    """Give an image as JPEG."""
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=88)
    return buffer.getvalue()


def _shade(colour: Colour, factor: float) -> Colour:
    red, green, blue = (min(255, round(part * factor)) for part in colour)
    return red, green, blue


def _landscape(canvas: ImageDraw.ImageDraw, size: tuple[int, int], chance: random.Random) -> None:
    width, height = size
    top, bottom = chance.choice(SKIES)
    meadow = chance.choice(MEADOWS)
    horizon = round(height * chance.uniform(0.45, 0.62))
    for y in range(horizon):
        red, green, blue = (round(a + (b - a) * y / horizon) for a, b in zip(top, bottom, strict=True))
        canvas.line((0, y, width, y), fill=(red, green, blue))
    across, down, radius = chance.uniform(0, width), chance.uniform(0, horizon * 0.6), chance.uniform(0.04, 0.12) * height
    canvas.ellipse((across - radius, down - radius, across + radius, down + radius), fill=(255, 246, 214))
    for tone in (1.25, 1.05):
        peaks = [(width * step / 5, horizon - chance.uniform(0.02, 0.4) * horizon) for step in range(6)]
        canvas.polygon([(0, horizon), *peaks, (width, horizon)], fill=_shade(_shade(meadow, 0.75), tone))
    canvas.rectangle((0, horizon, width, height), fill=meadow)
    for _ in range(width // 2):
        across, down = chance.uniform(0, width), chance.uniform(horizon, height)
        tip = (across + chance.uniform(-3, 3), down - chance.uniform(2, 7))
        canvas.line((across, down, *tip), fill=_shade(meadow, chance.uniform(0.7, 1.3)))


def _thing(canvas: ImageDraw.ImageDraw, name: str, left: int, right: int, height: int, chance: random.Random) -> tuple[int, int, int, int]:
    """Draw one thing into a column of the image and give its box."""
    across = round(min((right - left) * chance.uniform(0.62, 0.88), height * 0.42))
    up = round(across * {"balloon": 1.15, "tent": 0.8, "crate": 0.9}[name])
    x = round(chance.uniform(left + 2, right - across - 2))
    y = round(chance.uniform(4, height * 0.2) if name == "balloon" else chance.uniform(height * 0.6, height - 4) - up * 0.25)
    y = min(y, height - up - 3)
    paint = chance.choice(PAINTS)
    x2, y2 = x + across - 1, y + up - 1
    if name == "balloon":
        canvas.ellipse((x, y, x2, y2), fill=paint)
        canvas.ellipse((x + across * 0.3, y, x2 - across * 0.3, y2), fill=_shade(paint, 1.35))
    elif name == "tent":
        canvas.polygon([(x, y2), ((x + x2) // 2, y), (x2, y2)], fill=paint)
        canvas.polygon([(x + across * 0.4, y2), ((x + x2) // 2, y + up * 0.35), (x2 - across * 0.4, y2)], fill=(40, 36, 34))
    else:
        canvas.rectangle((x, y, x2, y2), fill=(176, 128, 78), outline=(98, 66, 38))
        canvas.line((x, y, x2, y2), fill=(98, 66, 38), width=2)
        canvas.line((x, (y + y2) // 2, x2, (y + y2) // 2), fill=paint, width=3)
    return x, y, x + across, y + up
