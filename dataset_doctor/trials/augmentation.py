"""Augmentation of a batch where it lies: every picture gets changes of its own, in a few operations on the whole batch.

Geometry is one affine map a picture, so that flips, turns, shifts and zooms together cost one resampling; colour is arithmetic. Chance
comes from torch's global generator of the device.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

LEAST_SEEN = 0.25
"""A box of which less than this share is left in the picture is not trained on."""


@dataclass(frozen=True, slots=True)
class Augmentation:
    """How far pictures are changed; each amount is the most that chance may choose.

    flip, flip_vertical  mirrored, or set upside down, half the time
    quarter_turns        turned by 0, 90, 180 or 270 degrees
    degrees              turned by up to so many degrees either way
    shift                moved by up to this share of the side, either way
    zoom                 enlarged or reduced by up to this share
    brightness, contrast, saturation  factors of 1 ± this
    colour               factor of each of red, green and blue of 1 ± this
    noise                standard deviation of noise, where values go from 0 to 1
    what                 for a person, when it suits
    """

    what: str
    flip: bool = False
    flip_vertical: bool = False
    quarter_turns: bool = False
    degrees: float = 0.0
    shift: float = 0.0
    zoom: float = 0.0
    brightness: float = 0.0
    contrast: float = 0.0
    saturation: float = 0.0
    colour: float = 0.0
    noise: float = 0.0


PRESETS: Mapping[str, Augmentation] = {
    "none": Augmentation("pictures as they are"),
    "light": Augmentation("small shifts; changes no meaning", shift=0.08, zoom=0.08),
    "cifar": Augmentation("mirrored, shifted by an eighth: the recipe of small natural pictures", flip=True, shift=0.125),
    "indoor": Augmentation("mirrored, little light", flip=True, degrees=5, shift=0.1, zoom=0.15, brightness=0.15, contrast=0.15),
    "outdoor": Augmentation(
        "a camera that stands upright in changing light", flip=True, degrees=5, shift=0.1, zoom=0.2, brightness=0.3, contrast=0.3,
        saturation=0.3, colour=0.05,
    ),
    "aerial": Augmentation(
        "from above: no side is up", flip=True, flip_vertical=True, quarter_turns=True, shift=0.1, zoom=0.2, brightness=0.2, contrast=0.2,
    ),
    "microscopy": Augmentation(
        "no side is up, stains vary", flip=True, flip_vertical=True, quarter_turns=True, degrees=45, shift=0.1, zoom=0.1, brightness=0.15,
        contrast=0.15, colour=0.08,
    ),
    "document": Augmentation("text, digits and signs: never mirrored", degrees=5, shift=0.1, zoom=0.1, brightness=0.2, contrast=0.2),
    "text": Augmentation(
        "as document, with sensor noise", degrees=5, shift=0.1, zoom=0.1, brightness=0.2, contrast=0.2, noise=0.03,
    ),
    "fixed-camera": Augmentation("a camera that never moves: light and noise alone", brightness=0.3, contrast=0.3, noise=0.03),
    "noisy": Augmentation("as light, with sensor noise", shift=0.08, zoom=0.08, noise=0.05),
}  # fmt: skip
"""What `augment:NAME` may name. Amounts follow the rules in the documentation: modest, and chosen by how the pictures were taken."""


def augment(pictures: Tensor, how: Augmentation) -> Tensor:
    """Change each picture of a batch by chance.

    Args:
        pictures: float (n, 3, S, S), 0 to 1.
        how: How far.

    Returns:
        The same shape; values may leave 0 to 1 a little.
    """
    with _full_precision(pictures):
        return _coloured(_moved(pictures, how), how)


def _full_precision(like: Tensor) -> torch.autocast:
    """Compute places as they are given: with the three digits of bfloat16 they would be off by pixels."""
    return torch.autocast(like.device.type, enabled=False)


def augment_with_boxes(pictures: Tensor, boxes: Tensor, of: Tensor, how: Augmentation) -> tuple[Tensor, Tensor, Tensor]:
    """Change each picture of a batch by chance, and its boxes with it.

    Pictures are turned by quarters only: the box around a box that is turned by a few degrees is too large.

    Args:
        pictures: float (n, 3, S, S), 0 to 1.
        boxes: float (m, 4), xyxy in pixels.
        of: int64 (m), the picture that each box lies in.
        how: How far.

    Returns:
        The pictures; the boxes (m, 4), cut off at the edges; and whether enough of each is left to be seen (m).
    """
    with _full_precision(pictures):
        theta = _maps(len(pictures), pictures.shape[2], dataclasses.replace(how, degrees=0.0), pictures)
        if theta is None:
            return _coloured(pictures, how), boxes, torch.ones(len(boxes), dtype=torch.bool, device=boxes.device)
        return _coloured(_resampled(pictures, theta), how), *_boxes_moved(boxes, theta[of], pictures.shape[2])


def _boxes_moved(boxes: Tensor, theta: Tensor, side: int) -> tuple[Tensor, Tensor]:
    """Move each box (m, 4) by its map (m, 2, 3), cut it off at the edges, and tell whether enough of it is left."""
    # The maps go from a place in the new picture to one in the old; boxes go the other way.
    back = torch.linalg.inv(theta[:, :, :2])
    corners = boxes.view(-1, 2, 2) * (2 / side) - 1
    moved = (back.unsqueeze(1) @ (corners - theta[:, None, :, 2]).unsqueeze(3)).squeeze(3)
    moved = (moved + 1) * (side / 2)
    low, high = moved.amin(dim=1), moved.amax(dim=1)
    whole = (high - low).prod(dim=1)
    low, high = low.clamp(0, side), high.clamp(0, side)
    sides = high - low
    seen = (sides.prod(dim=1) >= LEAST_SEEN * whole) & (sides >= 1).all(dim=1)
    return torch.cat([low, high], dim=1), seen


def _moved(pictures: Tensor, how: Augmentation) -> Tensor:
    n, _, side, _ = pictures.shape
    if how.flip and not (how.flip_vertical or how.quarter_turns or how.degrees or how.shift or how.zoom):
        return torch.where(_coin(n, pictures), pictures.flip(3), pictures)
    theta = _maps(n, side, how, pictures)
    return pictures if theta is None else _resampled(pictures, theta)


def _maps(n: int, side: int, how: Augmentation, like: Tensor) -> Tensor | None:
    """Draw an affine map a picture, from places in the new one to places in the old, both from -1 to 1: (n, 2, 3); None for no change."""
    if not (how.flip or how.flip_vertical or how.quarter_turns or how.degrees or how.shift or how.zoom):
        return None
    scale = 1 + _within(n, how.zoom, like)
    angle = _within(n, math.radians(how.degrees), like)
    if how.quarter_turns:
        angle = angle + torch.randint(4, (n,), device=like.device) * (math.pi / 2)
    across = _sign(n, how.flip, like)
    down = _sign(n, how.flip_vertical, like)
    # Shifts by whole pixels where nothing is turned or zoomed, so that nothing is blurred.
    shift = [_within(n, how.shift * side, like) for _ in range(2)]
    if not (how.zoom or how.degrees):
        shift = [amount.round() for amount in shift]
    cos, sin = angle.cos() / scale, angle.sin() / scale
    rows = [
        torch.stack([cos * across, -sin * down, shift[0] * (2 / side)], 1),
        torch.stack([sin * across, cos * down, shift[1] * (2 / side)], 1),
    ]
    return torch.stack(rows, 1)


def _resampled(pictures: Tensor, theta: Tensor) -> Tensor:
    grid = functional.affine_grid(theta, list(pictures.shape), align_corners=False)
    # "reflection" and "border" have no black edges to learn; the latter is the faster one.
    return functional.grid_sample(pictures, grid.to(pictures.dtype), padding_mode="border", align_corners=False)


def _coloured(pictures: Tensor, how: Augmentation) -> Tensor:
    n = len(pictures)
    if how.brightness:
        pictures = pictures * (1 + _within(n, how.brightness, pictures)).view(n, 1, 1, 1)
    if how.contrast:
        mean = pictures.mean(dim=(1, 2, 3), keepdim=True)
        pictures = mean + (pictures - mean) * (1 + _within(n, how.contrast, pictures)).view(n, 1, 1, 1)
    if how.saturation:
        grey = pictures.mean(dim=1, keepdim=True)
        pictures = grey + (pictures - grey) * (1 + _within(n, how.saturation, pictures)).view(n, 1, 1, 1)
    if how.colour:
        pictures = pictures * (1 + _within(n * 3, how.colour, pictures)).view(n, 3, 1, 1)
    if how.noise:
        pictures = pictures + torch.randn_like(pictures) * how.noise
    return pictures


def _within(n: int, reach: float, like: Tensor) -> Tensor:
    """Draw n numbers between -reach and reach; nothing is drawn for a reach of 0."""
    if not reach:
        return torch.zeros(n, device=like.device)
    return (torch.rand(n, device=like.device) * 2 - 1) * reach


def _sign(n: int, is_drawn: bool, like: Tensor) -> Tensor:
    if not is_drawn:
        return torch.ones(n, device=like.device)
    return 1.0 - 2.0 * torch.randint(2, (n,), device=like.device)


def _coin(n: int, like: Tensor) -> Tensor:
    return torch.randint(2, (n, 1, 1, 1), device=like.device).bool()
