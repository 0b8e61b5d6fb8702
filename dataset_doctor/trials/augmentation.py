"""Augmentation of a batch where it lies: every image gets changes of its own, in a few operations on the whole batch.

Geometry is one affine map an image, so that flips, turns, shifts and zooms together cost one resampling; colour is arithmetic. Chance
comes from torch's global generator of the device.
"""

from __future__ import annotations

import dataclasses
import math

import torch
from torch import Tensor
from torch.nn import functional

from dataset_doctor.balance.presets import Augmentation

LEAST_SEEN = 0.25
"""A box of which less than this share is left in the image is not trained on."""


def augment(images: Tensor, how: Augmentation) -> Tensor:
    """Change each image of a batch by chance.

    Args:
        images: float (n, 3, S, S), 0 to 1.
        how: How far.

    Returns:
        The same shape; values may leave 0 to 1 a little.
    """
    with _full_precision(images):
        return _coloured(_moved(images, how), how)


def _full_precision(like: Tensor) -> torch.autocast:
    """Compute places as they are given: with the three digits of bfloat16 they would be off by pixels."""
    return torch.autocast(like.device.type, enabled=False)


def augment_with_boxes(images: Tensor, boxes: Tensor, of: Tensor, how: Augmentation) -> tuple[Tensor, Tensor, Tensor]:
    """Change each image of a batch by chance, and its boxes with it.

    Images are turned by quarters only: the box around a box that is turned by a few degrees is too large.

    Args:
        images: float (n, 3, S, S), 0 to 1.
        boxes: float (m, 4), xyxy in pixels.
        of: int64 (m), the image that each box lies in.
        how: How far.

    Returns:
        The images; the boxes (m, 4), cut off at the edges; and whether enough of each is left to be seen (m).
    """
    with _full_precision(images):
        theta = _maps(len(images), images.shape[2], dataclasses.replace(how, degrees=0.0), images)
        if theta is None:
            return _coloured(images, how), boxes, torch.ones(len(boxes), dtype=torch.bool, device=boxes.device)
        return _coloured(_resampled(images, theta), how), *_boxes_moved(boxes, theta[of], images.shape[2])


def _boxes_moved(boxes: Tensor, theta: Tensor, side: int) -> tuple[Tensor, Tensor]:
    """Move each box (m, 4) by its map (m, 2, 3), cut it off at the edges, and tell whether enough of it is left."""
    # The maps go from a place in the new image to one in the old; boxes go the other way.
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


def _moved(images: Tensor, how: Augmentation) -> Tensor:
    n, _, side, _ = images.shape
    if how.flip and not (how.flip_vertical or how.quarter_turns or how.degrees or how.shift or how.zoom):
        return torch.where(_coin(n, images), images.flip(3), images)
    theta = _maps(n, side, how, images)
    return images if theta is None else _resampled(images, theta)


def _maps(n: int, side: int, how: Augmentation, like: Tensor) -> Tensor | None:
    """Draw an affine map an image, from places in the new one to places in the old, both from -1 to 1: (n, 2, 3); None for no change."""
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


def _resampled(images: Tensor, theta: Tensor) -> Tensor:
    grid = functional.affine_grid(theta, list(images.shape), align_corners=False)
    # "reflection" and "border" have no black edges to learn; the latter is the faster one.
    return functional.grid_sample(images, grid.to(images.dtype), padding_mode="border", align_corners=False)


def _coloured(images: Tensor, how: Augmentation) -> Tensor:
    n = len(images)
    if how.brightness:
        images = images * (1 + _within(n, how.brightness, images)).view(n, 1, 1, 1)
    if how.contrast:
        mean = images.mean(dim=(1, 2, 3), keepdim=True)
        images = mean + (images - mean) * (1 + _within(n, how.contrast, images)).view(n, 1, 1, 1)
    if how.saturation:
        grey = images.mean(dim=1, keepdim=True)
        images = grey + (images - grey) * (1 + _within(n, how.saturation, images)).view(n, 1, 1, 1)
    if how.colour:
        images = images * (1 + _within(n * 3, how.colour, images)).view(n, 3, 1, 1)
    if how.noise:
        images = images + torch.randn_like(images) * how.noise
    return images


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
