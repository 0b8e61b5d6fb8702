"""Recipes: pictures that are not there yet, told as what they are made from.

Augmented copies, mixtures and pictures with pasted objects are planned as recipes, so that a plan knows what every label becomes before a
pixel is touched; `made` makes the picture when the dataset is written. Geometry is one affine map a picture, which boxes, polygons and
keypoints go through as the pixels do; colour is one affine map of red, green and blue.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Matrix = NDArray[np.float64]
"""float64 (2, 3): from pixels of one picture to those of another, x and y, both 0-based with edges at whole numbers."""


@dataclass(frozen=True, slots=True, eq=False)
class Paste:
    """An object that is set into a picture.

    picture     path of the picture it is cut from, relative to the dataset's root
    rings       its outline in pixels of that picture, each float64 (points, 2)
    matrix      from pixels of that picture to those of the picture made
    feather_px  width of the edge, in pixels of the picture made, over which it fades into what was there
    """

    picture: str
    rings: tuple[NDArray[np.float64], ...]
    matrix: Matrix
    feather_px: float


@dataclass(frozen=True, slots=True, eq=False)
class Recipe:
    """How a picture is made from pictures of the source, in this order: geometry, mixture, pastes, colour, noise.

    picture     path of the picture it is made from, relative to the dataset's root
    transform   what is done, for the manifest and for a person: "flip, rotate 7°"
    width, height  of the picture made
    matrix      from pixels of the source's picture to those of the picture made; what lies outside is filled with its mean colour
    colour      float64 (3, 4): red, green, blue and 1, each 0 to 1, to red, green and blue; None leaves colours
    noise       standard deviation of what is added to each channel, 0 to 1; drawn from `seed`
    mixed       path of a second picture, brought to the same size, and its share; None for none
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
