"""Recipes: images that are not there yet, told as what they are made from.

Augmented copies, mixtures and images with pasted objects are planned as recipes, so that a plan knows what every label becomes before a
pixel is touched; `made` makes the image when the dataset is written. Geometry is one affine map an image, which boxes, polygons and
keypoints go through as the pixels do; colour is one affine map of red, green and blue.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Picture = NDArray[np.uint8]
"""uint8 (height, width, 3): red, green and blue, upright as its file's header says."""

Matrix = NDArray[np.float64]
"""float64 (2, 3): from pixels of one image to those of another, x and y, both 0-based with edges at whole numbers."""


@dataclass(frozen=True, slots=True, eq=False)
class Paste:
    """An object that is set into an image.

    picture     path of the image it is cut from, relative to the dataset's root
    rings       its outline in pixels of that image, each float64 (points, 2)
    matrix      from pixels of that image to those of the generated image
    feather_px  width of the edge, in pixels of the generated image, over which it fades into what was there
    """

    picture: str
    rings: tuple[NDArray[np.float64], ...]
    matrix: Matrix
    feather_px: float


@dataclass(frozen=True, slots=True, eq=False)
class Recipe:
    """How an image is made from images of the source, in this order: geometry, mixture, pastes, colour, noise.

    picture     path of the image it is made from, relative to the dataset's root
    transform   what is done, for the manifest and for a person: "flip, rotate 7°"
    width, height  of the generated image
    matrix      from pixels of the source's image to those of the generated image; what lies outside is filled with its mean colour
    colour      float64 (3, 4): red, green, blue and 1, each 0 to 1, to red, green and blue; None leaves colours
    noise       standard deviation of what is added to each channel, 0 to 1; drawn from `seed`
    mixed       path of a second image, brought to the same size, and its share; None for none
    pastes      objects set into it, later ones over earlier ones
    """

    picture: str
    transform: str
    width: int
    height: int
    matrix: Matrix
    colour: NDArray[np.float64] | None = None
    noise: float = 0.0
    seed: int = 0
    mixed: tuple[str, float] | None = None
    pastes: tuple[Paste, ...] = ()


def moved(points: NDArray[np.float64], matrix: Matrix) -> NDArray[np.float64]:
    """Send points through an affine map.

    Args:
        points: float64 (…, 2), x and y in pixels.
        matrix: From those pixels to others.

    >>> moved(np.array([[0.0, 0.0], [10.0, 4.0]]), np.array([[-1.0, 0.0, 10.0], [0.0, 1.0, 0.0]])).tolist()
    [[10.0, 0.0], [0.0, 4.0]]
    """
    there: NDArray[np.float64] = points @ matrix[:, :2].T + matrix[:, 2]
    return there


def made(recipe: Recipe, read: Callable[[str], Picture]) -> Picture:
    """Make the image that a recipe tells of; the same bytes whenever the same images are read.

    Args:
        recipe: How.
        read: Gives the image at a path of a recipe.

    Returns:
        The image, `recipe.height` × `recipe.width`.
    """
    import cv2

    size = (recipe.width, recipe.height)
    source = read(recipe.picture)
    picture: Any = laid(source, recipe.matrix, size, tuple(cv2.mean(source)[:3]))
    if recipe.mixed is not None:
        path, share = recipe.mixed
        second = cv2.resize(read(path), size, interpolation=cv2.INTER_AREA)
        picture = cv2.addWeighted(picture, 1.0 - share, second, share, 0.0)
    for paste in recipe.pastes:
        picture = _pasted(picture, paste, read(paste.picture))
    if recipe.colour is not None:
        own = None if np.may_share_memory(picture, source) else picture  # in place, unless it is what was read
        picture = cv2.transform(picture, recipe.colour * [1.0, 1.0, 1.0, 255.0], dst=own)
    if recipe.noise:
        cv2.setRNGSeed(recipe.seed & 0x7FFFFFFF)  # of this thread
        nothing, spread = np.zeros(3), np.full(3, 255.0 * recipe.noise)
        added = cv2.randn(np.empty(picture.shape, np.int16), nothing, spread)
        picture = cv2.add(picture, added, dtype=cv2.CV_8U)
    return np.asarray(picture, np.uint8)


_SMALLEST_STEP = 0.6
"""Below this scale several pixels fall on one, and are averaged first."""


def laid(picture: Picture, matrix: Matrix, size: tuple[int, int], fill: tuple[float, ...]) -> Picture:
    """Lay an image on a canvas through an affine map; flips and quarter turns are exact.

    Args:
        picture: uint8 (height, width), with or without channels.
        matrix: From its pixels to those of the canvas.
        size: Width and height of the canvas.
        fill: What is where the image is not, a number a channel.
    """
    import cv2

    height, width = picture.shape[:2]
    turned = _quarter_turned(picture, matrix, size)
    if turned is not None:
        return turned
    scale = float(np.sqrt(abs(np.linalg.det(matrix[:, :2]))))
    if scale < _SMALLEST_STEP:
        small = (max(round(width * scale), 1), max(round(height * scale), 1))
        matrix = matrix * [width / small[0], height / small[1], 1.0]
        picture = np.asarray(cv2.resize(picture, small, interpolation=cv2.INTER_AREA), np.uint8)
    # OpenCV counts from the middle of the first pixel, not from its edge.
    middle = matrix.copy()
    middle[:, 2] += matrix[:, :2].sum(axis=1) / 2 - 0.5
    flags, border = cv2.INTER_LINEAR, cv2.BORDER_CONSTANT
    if picture.ndim == 2:
        return np.asarray(cv2.warpAffine(picture, middle, size, flags=flags, borderMode=border, borderValue=fill), np.uint8)
    # Four channels are laid twice as fast as three, and memory that was used before is quicker to write to.
    wide = cv2.cvtColor(picture, cv2.COLOR_RGB2RGBA, dst=_kept("before", picture.shape[:2]))
    there = cv2.warpAffine(wide, middle, size, dst=_kept("after", size[::-1]), flags=flags, borderMode=border, borderValue=fill)
    return np.asarray(cv2.cvtColor(there, cv2.COLOR_RGBA2RGB), np.uint8)


_memory = threading.local()


def _kept(name: str, size: tuple[int, ...]) -> Picture:
    """Give this thread's memory for an image of four channels, whatever is in it."""
    kept: Picture | None = getattr(_memory, name, None)
    if kept is None or kept.shape[:2] != size:
        kept = np.empty((*size, 4), np.uint8)
        setattr(_memory, name, kept)
    return kept


def _quarter_turned(picture: Picture, matrix: Matrix, size: tuple[int, int]) -> Picture | None:
    """Flip and turn by quarters without resampling; None where the map is another."""
    linear = matrix[:, :2]
    if not np.isin(linear, (-1.0, 0.0, 1.0)).all() or abs(np.linalg.det(linear)) != 1:
        return None
    height, width = picture.shape[:2]
    corners = moved(np.array([[0.0, 0.0], [width, height]]), matrix)
    if tuple(corners.min(axis=0)) != (0.0, 0.0) or tuple(corners.max(axis=0)) != size:
        return None
    across, down = linear[0, 0] + linear[0, 1] < 0, linear[1, 0] + linear[1, 1] < 0
    upright = picture if linear[0, 0] else picture.swapaxes(0, 1)
    return np.ascontiguousarray(upright[:: -1 if down else 1, :: -1 if across else 1])


def _pasted(picture: Picture, paste: Paste, source: Picture) -> Picture:
    """Set a cut-out object into an image; its edge fades over `feather_px`."""
    import cv2

    rings = [moved(ring, paste.matrix) for ring in paste.rings]
    points = np.concatenate(rings)
    margin = int(np.ceil(paste.feather_px)) + 1
    low = np.maximum(np.floor(points.min(axis=0)).astype(int) - margin, 0)
    high = np.minimum(np.ceil(points.max(axis=0)).astype(int) + margin, picture.shape[1::-1])
    if (high <= low).any():
        return picture
    width, height = (high - low).tolist()
    covered = np.zeros((height, width), np.uint8)
    for ring in rings:  # one by one: together, what two cover would be a hole
        fixed = np.round((ring - low - 0.5) * 256).astype(np.int32)
        cv2.fillPoly(covered, [fixed], 255, lineType=cv2.LINE_AA, shift=8)
    if paste.feather_px > 0:
        covered = np.asarray(cv2.GaussianBlur(covered, (0, 0), paste.feather_px / 2), np.uint8)
    matrix = paste.matrix.copy()
    matrix[:, 2] -= low
    cut_out = laid(source, matrix, (width, height), (0.0, 0.0, 0.0))
    share = covered[:, :, None].astype(np.float32) / 255
    result = picture.copy()
    under = result[low[1] : high[1], low[0] : high[0]]
    under[:] = np.rint(under * (1 - share) + cut_out * share).astype(np.uint8)
    return result
