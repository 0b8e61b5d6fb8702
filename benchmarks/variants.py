"""Kinds of images that datasets hold, made from ordinary photos: flaws from faint to strong, and what looks like a flaw but is none.

`judged.py` lets the checks of images look at each kind among ordinary photos, and compares what they say with what a person saw.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter, ImageOps

Levels = NDArray[np.float64]
"""Height × width × RGB, 0 to 255."""

Change = Callable[[Levels, np.random.Generator], Levels]


def _levels(image: Image.Image) -> Levels:
    return np.asarray(image.convert("RGB"), np.float64)


def _image(levels: Levels) -> Image.Image:
    return Image.fromarray(np.clip(np.round(levels), 0, 255).astype(np.uint8))


def _grey(levels: Levels) -> Levels:
    return np.repeat(levels @ [[0.299], [0.587], [0.114]], 3, axis=2)


def _short(levels: Levels) -> int:
    return min(levels.shape[:2])


def _noise(levels: Levels, chance: np.random.Generator, sigma: float) -> Levels:
    """Add a sensor's noise, as fine as the pixels are."""
    return levels + chance.normal(0, sigma, levels.shape)


def underexposed(share: float) -> Change:
    """Take light away, and leave the sensor's noise."""
    return lambda levels, chance: _noise(levels * share, chance, 2)


def night(levels: Levels, chance: np.random.Generator) -> Levels:
    """Take light away, and light a few lamps."""
    dark = _image(_noise(levels * 0.18, chance, 3))
    draw, short = ImageDraw.Draw(dark), _short(levels)
    for _ in range(5):
        x, y = chance.integers(0, dark.width), chance.integers(0, dark.height // 2)
        radius = short * chance.uniform(0.02, 0.05)
        draw.ellipse((x - radius, y - radius, x + radius, y + radius), fill=(255, 240, 200))
    return _levels(dark.filter(ImageFilter.GaussianBlur(short / 150)))


def overexposed(share: float) -> Change:
    """Bring all levels nearer to white."""
    return lambda levels, chance: 255 - (255 - levels) * share


def fog(levels: Levels, chance: np.random.Generator) -> Levels:
    """Lay a grey veil over the picture, thicker at the top."""
    veil = np.linspace(0.92, 0.65, levels.shape[0])[:, None, None]
    return levels * (1 - veil) + 205 * veil


def snow(levels: Levels, chance: np.random.Generator) -> Levels:
    """Make most of it white, and leave what is dark."""
    return np.where(_grey(levels) > 90, 235 + levels * 0.08, levels)


def flat(share: float) -> Change:
    """Take contrast away."""
    return lambda levels, chance: 128 + (levels - 128) * share


def one_colour(levels: Levels, chance: np.random.Generator) -> Levels:
    """Paint everything in the mean colour."""
    return np.broadcast_to(levels.mean(axis=(0, 1)), levels.shape)


def gradient(levels: Levels, chance: np.random.Generator) -> Levels:
    """Go from one of the picture's colours to another."""
    angle = chance.uniform(0, 2 * np.pi)
    y, x = np.mgrid[0 : levels.shape[0], 0 : levels.shape[1]] / max(levels.shape[:2])
    way = x * np.cos(angle) + y * np.sin(angle)
    way = ((way - way.min()) / np.ptp(way))[..., None]
    return levels[0, 0] * (1 - way) + levels[-1, -1] * way + 40 * way


def sign(levels: Levels, chance: np.random.Generator) -> Levels:
    """Write a line on a plain ground, as where a download has failed."""
    made = _image(one_colour(levels, chance))
    text = Image.new("L", (130, 14))
    ImageDraw.Draw(text).text((2, 1), "image not available", fill=255)
    size = max(8, round(made.width * 0.25)), max(2, round(made.width * 0.027))
    small = text.resize(size, Image.Resampling.BOX)
    made.paste((255, 255, 255), ((made.width - size[0]) // 2, (made.height - size[1]) // 2), small)
    return _levels(made)


def covered(levels: Levels, chance: np.random.Generator) -> Levels:
    """Leave the noise of a covered lens."""
    return _noise(np.full(levels.shape, 12.0), chance, 3)


def defocused(share: float) -> Change:
    """Blur with a disc whose diameter is so much of the short side."""

    def blur(levels: Levels, chance: np.random.Generator) -> Levels:
        radius = share * _short(levels) / 2
        reach = int(np.ceil(radius))
        y, x = np.mgrid[-reach : reach + 1, -reach : reach + 1]
        disc = np.clip(radius + 0.5 - np.hypot(x, y), 0, 1)
        return _convolved(levels, disc / disc.sum())

    return blur


def shaken(share: float) -> Change:
    """Blur along a line that is so much of the short side."""

    def blur(levels: Levels, chance: np.random.Generator) -> Levels:
        length = share * _short(levels)
        reach = int(np.ceil(length / 2))
        angle = chance.uniform(0, np.pi)
        kernel = np.zeros((2 * reach + 1, 2 * reach + 1))
        for at in np.linspace(-length / 2, length / 2, 8 * reach + 1):
            kernel[reach + round(at * np.sin(angle)), reach + round(at * np.cos(angle))] += 1
        return _convolved(levels, kernel / kernel.sum())

    return blur


def _convolved(levels: Levels, kernel: Levels) -> Levels:
    import cv2

    blurred: Levels = cv2.filter2D(levels, -1, kernel, borderType=cv2.BORDER_REFLECT)
    return blurred


def blown_up(share: float) -> Change:
    """Scale to so much of the size, and back."""

    def scale(levels: Levels, chance: np.random.Generator) -> Levels:
        image = _image(levels)
        small = image.resize((max(2, round(image.width * share)), max(2, round(image.height * share))), Image.Resampling.BOX)
        return _levels(small.resize(image.size, Image.Resampling.BICUBIC))

    return scale


def shallow(levels: Levels, chance: np.random.Generator) -> Levels:
    """Blur all but what is in the middle, as a lens with a wide aperture does."""
    height, width = levels.shape[:2]
    y, x = np.mgrid[0:height, 0:width]
    near = np.clip(1.6 - 2.2 * np.hypot((y / height - 0.5) * 1.4, (x / width - 0.5) * 1.8), 0, 1)[..., None]
    blurred: Levels = defocused(0.06)(levels, chance)
    return levels * near + blurred * (1 - near)


def on_ground(level: float, share: float) -> Change:
    """Cut an ellipse out of the middle, and lay it, small, on one colour: a product, or a specimen under a microscope."""

    def cut(levels: Levels, chance: np.random.Generator) -> Levels:
        image = _image(levels)
        size = (max(4, round(image.width * share)), max(4, round(image.height * share)))
        ground = Image.new("RGB", image.size, (round(level),) * 3)
        mask = Image.new("L", size, 0)
        ImageDraw.Draw(mask).ellipse((0, 0, size[0] - 1, size[1] - 1), fill=255)
        place = tuple(int(chance.integers(0, whole - part + 1)) for whole, part in zip(image.size, size, strict=True))
        ground.paste(ImageOps.fit(image, size), place, mask)
        return _levels(ground)

    return cut


def cells(levels: Levels, chance: np.random.Generator) -> Levels:
    """Draw a few cells that glow dimly on black."""
    made = Image.new("L", (levels.shape[1], levels.shape[0]), 6)
    draw, short = ImageDraw.Draw(made), _short(levels)
    for _ in range(int(chance.integers(4, 20))):
        x, y = chance.integers(0, made.width), chance.integers(0, made.height)
        a, b = short * chance.uniform(0.02, 0.05, 2)
        draw.ellipse((x - a, y - b, x + a, y + b), fill=int(chance.integers(40, 110)))
    made = made.filter(ImageFilter.GaussianBlur(short / 200))
    return _noise(_levels(made), chance, 1)


def page(levels: Levels, chance: np.random.Generator) -> Levels:
    """Write lines of dark strokes on white, as a scanned page has."""
    made = Image.new("RGB", (levels.shape[1], levels.shape[0]), "white")
    draw, step = ImageDraw.Draw(made), max(3, levels.shape[0] // 24)
    for y in range(2 * step, made.height - 2 * step, step):
        x = made.width // 10
        while x < made.width * 0.88:
            length = int(chance.integers(1, 5)) * step // 2
            for at in range(x, x + length, max(2, step // 3)):
                draw.line((at, y, at + int(chance.integers(-1, 2)), y + step // 2), fill=(40, 40, 40), width=max(1, step // 8))
            x += length + step // 2
    return _levels(made)


def sketch(levels: Levels, chance: np.random.Generator) -> Levels:
    """Draw the edges with thin lines on white."""
    image = _image(_grey(levels)).filter(ImageFilter.GaussianBlur(_short(levels) / 200)).filter(ImageFilter.FIND_EDGES)
    edges = np.asarray(image, np.float64)
    return np.where(edges > np.quantile(edges, 0.93), 30.0, 255.0)


def screenshot(levels: Levels, chance: np.random.Generator) -> Levels:
    """Draw a window with a bar, a small picture and lines of text."""
    height, width = levels.shape[:2]
    made = Image.new("RGB", (width, height), (245, 246, 248))
    draw = ImageDraw.Draw(made)
    draw.rectangle((0, 0, width, height // 14), fill=(40, 90, 170))
    made.paste(_image(levels).resize((max(2, width // 3), max(2, height // 3))), (width // 20, height // 8))
    for line in range(7):
        y = height // 8 + line * height // 10
        end = width // 2 + int(chance.integers(width // 8, width // 2.5))
        draw.line((width // 2, y, end, y), fill=(70, 70, 80), width=max(1, height // 80))
    return _levels(made)


def x_ray(levels: Levels, chance: np.random.Generator) -> Levels:
    """Make a soft negative in grey, as an X-ray saved as RGB."""
    grey = 255 - _grey(levels)
    return _levels(_image(grey * 0.8 + 10).filter(ImageFilter.GaussianBlur(_short(levels) / 250)))


def grey(levels: Levels, chance: np.random.Generator) -> Levels:
    """Take all colour away."""
    return _grey(levels)


def tinted(red: float, blue: float) -> Change:
    """Print in one tint: what red and blue have more than green, in middle grey."""

    def tint(levels: Levels, chance: np.random.Generator) -> Levels:
        luma = _grey(levels)
        middle = 4 * (luma / 255) * (1 - luma / 255)
        return luma + middle * [red, 0, blue]

    return tint


def faded(share: float) -> Change:
    """Leave so much of the colour."""
    return lambda levels, chance: _grey(levels) + (levels - _grey(levels)) * share


def one_colour_left(levels: Levels, chance: np.random.Generator) -> Levels:
    """Take the colour from all but a disc of a fiftieth of the picture, which is red."""
    made = _grey(levels)
    height, width = levels.shape[:2]
    radius = np.sqrt(height * width / 50 / np.pi)
    y, x = np.mgrid[0:height, 0:width]
    disc = np.hypot(y - chance.uniform(0.2, 0.8) * height, x - chance.uniform(0.2, 0.8) * width) < radius
    made[disc] = 0.5 * made[disc] + [110, 10, 10]
    return made


VARIANTS: dict[str, Change] = {
    **{f"light x {s}": underexposed(s) for s in (0.5, 0.35, 0.25, 0.15, 0.08, 0.04)},
    "night": night,
    **{f"distance to white x {s}": overexposed(s) for s in (0.3, 0.15, 0.08, 0.04, 0.02)},
    "fog": fog,
    "snow": snow,
    **{f"contrast x {s}": flat(s) for s in (0.2, 0.1, 0.05, 0.02)},
    "one colour": one_colour,
    "gradient": gradient,
    "sign on one colour": sign,
    "covered lens": covered,
    **{f"out of focus {100 * s:g} %": defocused(s) for s in (0.01, 0.02, 0.04, 0.06, 0.1, 0.2)},
    **{f"shaken {100 * s:g} %": shaken(s) for s in (0.03, 0.06, 0.12)},
    **{f"blown up from {s}": blown_up(s) for s in (0.25, 0.1, 0.05)},
    "shallow depth of field": shallow,
    "on white": on_ground(255, 0.3),
    "small on white": on_ground(255, 0.1),
    "on black": on_ground(0, 0.3),
    "small on grey": on_ground(140, 0.1),
    "glowing cells": cells,
    "page": page,
    "sketch": sketch,
    "screenshot": screenshot,
    "x-ray": x_ray,
    "grey": grey,
    "faint tint": tinted(4, -3),
    "tint": tinted(12, -12),
    "sepia": tinted(35, -35),
    **{f"colour x {s}": faded(s) for s in (0.5, 0.2, 0.1)},
    "one colour left": one_colour_left,
}  # fmt: skip


def make(photos: Sequence[Path], ordinary: Sequence[Path], root: Path) -> Iterator[tuple[str, Path]]:
    """Write an image folder dataset a variant, of ordinary photos and of changed ones; give its name and folder.

    The changed ones are `train/photo/changed-00.jpg` and so on, in the order of `photos`. What is there already is left.
    """
    for number, (name, change) in enumerate(VARIANTS.items()):
        folder = root / name.replace(" ", "-").replace("%", "pc")
        if not folder.is_dir():
            made = folder.with_suffix(".part")
            (made / "train/photo").mkdir(parents=True, exist_ok=True)
            for i, photo in enumerate(ordinary):
                (made / f"train/photo/ordinary-{i:03}{photo.suffix}").write_bytes(photo.read_bytes())
            for i, photo in enumerate(photos):
                with Image.open(photo) as image:
                    levels = _levels(image)
                stream = io.BytesIO()
                _image(change(levels, np.random.default_rng((number, i)))).save(stream, "JPEG", quality=90)
                (made / f"train/photo/changed-{i:02}.jpg").write_bytes(stream.getvalue())
            made.rename(folder)
        yield name, folder
