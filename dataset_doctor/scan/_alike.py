"""Tell whether two images are one shot: lay one over the other, and compare what is in them place by place.

Whole-image hashes and thumbnails see the background: two objects on one ground, or two signs of one shape, are nearly equal in them. So a
pair is judged by what is left when everything coarse is taken away, and by the place where it differs most:

1. One image is moved and scaled until it lies on the other (Lucas and Kanade's least squares, inverse compositional as in Baker and
   Matthews, 2004; each axis has its own scale and shift). That undoes crops, shifts and black bars.
2. `detail` is the correlation of the fine structure. Photos of one subject share their coarse light and dark, but not the
   structure a few points wide, which comes from one shot only.
3. `worst` is the least agreement of any window, like the structural similarity of Wang et al. (2004) with a gain for the whole
   image: an object that is there in one of the images alone, or another digit on a sign, is seen there.

Everything works on stacks of squares at once.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

Squares = NDArray[Any]
"""Luma, float32 (k, side, side)."""

COARSE_SIDE = 16
MOST_SCALE, MOST_SHIFT = 1.33, 0.2
"""How far one image is scaled (or its inverse) and shifted, as a share of the side, to lie on the other: crops of up to a quarter."""

COARSE_STEPS, FINE_STEPS = 4, 3
COARSE_DETAIL, COARSE_MIN_CORRELATION = 1 / 8, 0.8
"""Structure finer than this share of the side must correlate that much at COARSE_SIDE, or a pair is not looked at again. Of 845 pairs
of one shot (32 × 32 pixels) the least reached 0.86; 77 % of the other pairs whose sketches are alike stay below 0.8."""

FINE_SHARE = 1 / 16
"""Structure finer than this share of the side counts as detail."""

NOISE_LEVELS = 3.0
"""Grey levels of noise and compression: windows with less structure than that agree."""


@dataclass(frozen=True, slots=True)
class Likeness:
    """How alike the images of pairs are once they lie on each other; one row a pair.

    detail   float32, -1 to 1: correlation of their fine structure
    worst    float32, -1 to 1: agreement of the window that agrees least
    boxed    float32, -1 to 1: agreement of the box that agrees least; infinite where there is none
    shared   float32: share of the first image that the second covers
    textured float32: share of windows that hold structure above the noise
    fit      float32 (k, 4): the point of the second image under a point x, y of the first is (s · x + t, u · y + v), all
             from the middle and as shares of the side; s, t, u, v
    """

    detail: NDArray[np.float32]
    worst: NDArray[np.float32]
    boxed: NDArray[np.float32]
    shared: NDArray[np.float32]
    textured: NDArray[np.float32]
    fit: NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Boxes:
    """Places to look at in pairs: whose pair each is, whether it is of the second image, and xyxy in shares of the side, float32 (m, 4)."""

    pair: NDArray[np.intp]
    second: NDArray[np.bool_]
    xyxy: NDArray[np.float32]

    def of(self, pairs: NDArray[np.intp], n: int) -> Boxes:
        """Give the boxes of some of n pairs, in their order."""
        place = np.full(n, -1, np.intp)
        place[pairs] = np.arange(len(pairs))
        kept = place[self.pair] >= 0
        return Boxes(place[self.pair[kept]], self.second[kept], self.xyxy[kept])


NO_BOXES = Boxes(np.zeros(0, np.intp), np.zeros(0, bool), np.zeros((0, 4), np.float32))


def likeness(one: NDArray[np.uint8], other: NDArray[np.uint8], fit: NDArray[np.float32] | None = None, boxes: Boxes = NO_BOXES) -> Likeness:
    """Compare squares pair by pair.

    Args:
        one: Luma, uint8 (k, side, side); the side is a multiple of COARSE_SIDE.
        other: The same of the partners, already turned as the first are.
        fit: Where a comparison at a smaller side has found the partner; without, it is looked for.
        boxes: Labelled objects, whose insides are compared as well.
    """
    k = len(one)
    if fit is not None:
        return _compared(one, other, fit, boxes)
    a, b = (_reduced(squares.astype(np.float32), COARSE_SIDE) for squares in (one, other))
    fit = _fitted(a, b, np.tile(np.array([1, 0, 1, 0], np.float32), (k, 1)), COARSE_STEPS)
    rows, columns = _samplers(fit, COARSE_SIDE)
    fine = [squares - _blurred(squares, COARSE_SIDE * COARSE_DETAIL) for squares in (a, b)]
    hopeful = np.flatnonzero(_correlation(fine[0], rows @ fine[1] @ columns, _inside(fit, COARSE_SIDE)) >= COARSE_MIN_CORRELATION)
    nothing = np.full(k, -1, np.float32)
    found = Likeness(nothing, nothing.copy(), nothing.copy(), nothing.copy(), nothing.copy(), fit)
    if len(hopeful):
        some = _compared(one[hopeful], other[hopeful], fit[hopeful], boxes.of(hopeful, k))
        for name in Likeness.__slots__:
            getattr(found, name)[hopeful] = getattr(some, name)
    return found


def _compared(one: NDArray[np.uint8], other: NDArray[np.uint8], fit: NDArray[np.float32], boxes: Boxes) -> Likeness:
    """Compare at full side, from a fit that is nearly right."""
    side = one.shape[1]
    a, b = one.astype(np.float32), other.astype(np.float32)
    fit = _fitted(_blurred(a, side / 48), _blurred(b, side / 48), fit, FINE_STEPS)
    rows, columns = _samplers(fit, side)
    inside = _inside(fit, side)
    smooth = _blurred(a, 0.5), _blurred(b, 0.5)
    fine = [x - _blurred(x, side * FINE_SHARE) for x in smooth]
    detail = _correlation(fine[0], rows @ fine[1] @ columns, inside)
    moved = rows @ smooth[1] @ columns
    a, b = _levelled(smooth[0], moved, inside)
    worst, textured = _windows(a, b, inside)
    return Likeness(detail, worst, _in_boxes(a, b, fit, boxes), inside.mean(axis=(1, 2), dtype=np.float32), textured, fit)


# To lie on each other -----------------------------------------------------------------------------------------------


def _fitted(one: Squares, other: Squares, fit: NDArray[np.float32], steps: int) -> NDArray[np.float32]:
    """Improve a fit so that the other image, moved by it, is the first but for brightness and contrast."""
    side = one.shape[1]
    at = (np.arange(side, dtype=np.float32) - (side - 1) / 2) / side
    down, across = np.zeros_like(one), np.zeros_like(one)
    down[:, 1:-1] = (one[:, 2:] - one[:, :-2]) * (side / 2)
    across[:, :, 1:-1] = (one[:, :, 2:] - one[:, :, :-2]) * (side / 2)
    slopes = np.stack([across * at, across, down * at[:, None], down], 1).reshape(len(one), 4, side * side)
    normal = slopes @ slopes.transpose(0, 2, 1)
    # A little resistance holds what the image does not tell: how wide horizontal stripes are.
    normal += np.eye(4, dtype=np.float32) * (0.01 * np.trace(normal, axis1=1, axis2=2)[:, None, None] / 4 + 1)
    fit = fit.copy()
    for _ in range(steps):
        rows, columns = _samplers(fit, side)
        inside = _inside(fit, side)
        moved, still = _centred(rows @ other @ columns, inside), _centred(one, inside)
        gain = (np.einsum("kij,kij->k", moved, still) + 1) / (np.einsum("kij,kij->k", moved, moved) + 1)
        left = np.clip(gain, 0.2, 5)[:, None, None] * moved - still
        step = np.linalg.solve(normal, slopes @ left.reshape(len(one), -1, 1))[:, :, 0]
        step = np.clip(step, -0.1, 0.1)
        # The step moves the first image; turned round, and before what moves the second, it moves the second.
        for scale, shift in ((0, 1), (2, 3)):
            new_scale = fit[:, scale] / (1 + step[:, scale])
            fit[:, shift] -= new_scale * step[:, shift]
            fit[:, scale] = np.clip(new_scale, 1 / MOST_SCALE, MOST_SCALE)
            fit[:, shift] = np.clip(fit[:, shift], -MOST_SHIFT, MOST_SHIFT)
    return fit


def _samplers(fit: NDArray[np.float32], side: int) -> tuple[Squares, Squares]:
    """Give matrices that move images: rows @ image @ columns. Beyond an edge the edge goes on."""
    at = np.arange(side, dtype=np.float32)
    middle = (side - 1) / 2
    made = []
    for scale, shift in ((2, 3), (0, 1)):
        source = middle + fit[:, scale, None] * (at - middle) + fit[:, shift, None] * side
        source = np.clip(source, 0, side - 1)
        made.append(np.maximum(1 - np.abs(source[:, :, None] - at), 0).astype(np.float32))
    return made[0], made[1].transpose(0, 2, 1)


def _inside(fit: NDArray[np.float32], side: int) -> Squares:
    """Tell for each point of the first image whether the second covers it: 1 or 0."""
    at = np.arange(side, dtype=np.float32) - (side - 1) / 2
    across, down = (
        (np.abs(fit[:, scale, None] * at + fit[:, shift, None] * side) <= side / 2).astype(np.float32) for scale, shift in ((0, 1), (2, 3))
    )
    return down[:, :, None] * across[:, None, :]


# To compare ---------------------------------------------------------------------------------------------------------


def _centred(squares: Squares, inside: Squares) -> Squares:
    n = np.maximum(inside.sum(axis=(1, 2)), 1)
    mean = np.einsum("kij,kij->k", squares, inside) / n
    centred: Squares = (squares - mean[:, None, None]) * inside
    return centred


def _correlation(one: Squares, other: Squares, inside: Squares) -> NDArray[np.float32]:
    a, b = one * inside, other * inside
    product = np.einsum("kij,kij->k", a, b)
    length = np.sqrt(np.einsum("kij,kij->k", a, a) * np.einsum("kij,kij->k", b, b))
    correlation: NDArray[np.float32] = np.divide(product, length, out=np.zeros(len(a), np.float32), where=length > 0)
    return correlation


DARKEST, BRIGHTEST = 5, 250
"""Beyond these, levels may have been cut off."""


def _levelled(one: Squares, other: Squares, inside: Squares) -> tuple[Squares, Squares]:
    """Bring the one with less contrast to the brightness and contrast of the other, and cut off what goes beyond black and white.

    So a brightened copy, whose sky is white, agrees with the image that it was made of.
    """
    used = inside * ((np.minimum(one, other) > DARKEST) & (np.maximum(one, other) < BRIGHTEST))
    few = used.sum(axis=(1, 2)) < inside.sum(axis=(1, 2)) / 4
    used[few] = inside[few]
    n = np.maximum(used.sum(axis=(1, 2)), 1)
    mean_a, mean_b = (np.einsum("kij,kij->k", x, used) / n for x in (one, other))
    a, b = _centred(one, used), _centred(other, used)
    gain = np.sqrt((np.einsum("kij,kij->k", b, b) + 1) / (np.einsum("kij,kij->k", a, a) + 1))
    more = np.maximum(gain, 1)[:, None, None]
    level = np.where(gain >= 1, mean_b, mean_a)[:, None, None]
    levelled_a = np.where(more > 1, (one - mean_a[:, None, None]) * more + level, one)
    levelled_b = np.where(more > 1, other, (other - mean_b[:, None, None]) / np.minimum(gain, 1)[:, None, None] + level)
    # The middle of the range as zero keeps the sums of squares exact enough in float32.
    return (np.clip(levelled_a, 0, 255) - level) * inside, (np.clip(levelled_b, 0, 255) - level) * inside


def _windows(a: Squares, b: Squares, inside: Squares) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Give the agreement of the window that agrees least, and the share of windows that hold structure."""
    means = _window_means(a.shape[1])
    n = means @ inside @ means.T
    moments = [means @ x @ means.T / np.maximum(n, 1e-6) for x in (a, b, a * a, b * b, a * b)]
    seen = n >= 0.5
    least = np.where(seen, _agreement(*moments), 1).min(axis=(1, 2))
    textured = ((moments[2] - moments[0] ** 2 > (2 * NOISE_LEVELS) ** 2) & seen).sum(axis=(1, 2)) / np.maximum(seen.sum(axis=(1, 2)), 1)
    return least.astype(np.float32), textured.astype(np.float32)


def _agreement(mean_a: Squares, mean_b: Squares, square_a: Squares, square_b: Squares, product: Squares) -> Squares:
    """Give the agreement of structure from mean moments: 1 where both are alike, or hold no more than noise."""
    noise = NOISE_LEVELS**2
    agreement: Squares = (2 * (product - mean_a * mean_b) + noise) / (square_a - mean_a**2 + square_b - mean_b**2 + noise)
    return agreement


LEAST_BOX_PX = 5
"""Points a side of the part that is compared of a smaller box."""


def _in_boxes(a: Squares, b: Squares, fit: NDArray[np.float32], boxes: Boxes) -> NDArray[np.float32]:
    """Give for each pair the agreement of the box that agrees least."""
    least = np.full(len(a), np.inf, np.float32)
    if not len(boxes.pair):
        return least
    side = a.shape[1]
    corners, own = boxes.xyxy - np.float32(0.5), fit[boxes.pair]
    corners = np.where(boxes.second[:, None], (corners - own[:, [1, 3, 1, 3]]) / own[:, [0, 2, 0, 2]], corners) + np.float32(0.5)
    middle, half = (corners[:, :2] + corners[:, 2:]) / 2, np.maximum((corners[:, 2:] - corners[:, :2]) / 2, LEAST_BOX_PX / 2 / side)
    low = np.clip(np.floor((middle - half) * side + 0.5), 0, side).astype(np.intp)
    high = np.clip(np.floor((middle + half) * side + 0.5), 0, side).astype(np.intp)
    n = ((high - low)[:, 0] * (high - low)[:, 1]).astype(np.float64)
    k = boxes.pair
    moments = []
    for x in (a, b, a * a, b * b, a * b):
        sums = np.zeros((len(a), side + 1, side + 1))
        sums[:, 1:, 1:] = x.cumsum(axis=1, dtype=np.float64).cumsum(axis=2)
        total = (
            sums[k, high[:, 1], high[:, 0]]
            - sums[k, low[:, 1], high[:, 0]]
            - sums[k, high[:, 1], low[:, 0]]
            + sums[k, low[:, 1], low[:, 0]]
        )
        moments.append(total / np.maximum(n, 1))
    seen = n >= LEAST_BOX_PX**2 / 2  # the others were cut away
    np.minimum.at(least, k[seen], _agreement(*moments)[seen].astype(np.float32))
    return least


@cache
def _window_means(side: int) -> NDArray[np.float32]:
    """Give the matrix of means over windows of 8 points at a side of 32, of 12 at 96; half of each is in the next."""
    width = 8 if side <= 32 else side // 8
    starts = np.arange(0, side - width + 1, width // 2)
    at = np.arange(side)
    means: NDArray[np.float32] = ((at >= starts[:, None]) & (at < starts[:, None] + width)).astype(np.float32) / np.float32(width)
    return means


def _reduced(squares: Squares, side: int) -> Squares:
    times = squares.shape[1] // side
    means: Squares = squares.reshape(len(squares), side, times, side, times).mean(axis=(2, 4), dtype=np.float32)
    return _blurred(means, 0.7)


def _blurred(squares: Squares, sigma: float) -> Squares:
    k, side = squares.shape[:2]
    blur = _blur(side, float(sigma)).T
    # Two large products are several times as fast as two for each square.
    across = (squares.reshape(k * side, side) @ blur).reshape(k, side, side)
    down: Squares = (across.transpose(0, 2, 1).reshape(k * side, side) @ blur).reshape(k, side, side)
    return down.transpose(0, 2, 1)


@cache
def _blur(side: int, sigma: float) -> NDArray[np.float32]:
    """Give the matrix of a Gaussian that beyond an edge sees what is before it."""
    at = np.arange(side)
    weights = np.exp(-((at[:, None] - at) ** 2) / (2 * sigma**2))
    matrix: NDArray[np.float32] = (weights / weights.sum(axis=1, keepdims=True)).astype(np.float32)
    return matrix
