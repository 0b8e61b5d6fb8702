"""Images with pasted instances, from the plan of what goes where to what is made and which labels it has."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from dataset_doctor.balance.copy_paste.objects import Measures, Ring, Stock, decoded, encoded, extent_of, filled, is_traced, visible
from dataset_doctor.dataset import Dataset, Rows
from dataset_doctor.geometry import Boxes
from dataset_doctor.outlines import Outlines, join_outlines, take_outlines
from dataset_doctor.plan import MadePictures
from dataset_doctor.recipes import Paste, Recipe, moved

Why = Literal["no object", "no place", "budget"]
"""Why a class stays short: nothing of it can be pasted, nothing can be pasted into, or no more images may be generated."""

Shape = tuple[list[Ring], dict[str, Any] | None]
"""Rings of a polygon, or none and a mask's run lengths."""


@dataclass(frozen=True, slots=True, eq=False)
class Pasted:
    """An instance pasted into an image.

    source      its annotation row
    cut         the outline along which it is cut out, in pixels of its own image
    matrix      float64 (2, 3): from pixels of its own image to those of the generated image
    box         its box in the generated image, xyxy
    traced      whether it is cut out along an outline of its own
    feather_px  how far its edge fades, in pixels of the generated image
    """

    source: int
    cut: tuple[Ring, ...]
    matrix: NDArray[np.float64]
    box: NDArray[np.float64]
    traced: bool
    feather_px: float


@dataclass(frozen=True, slots=True, eq=False)
class Collage:
    """An image to be generated: the one it is made from, and what is pasted into it, in this order."""

    image: int
    pasted: tuple[Pasted, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Filled:
    """What pasting brings.

    collages  the images to be generated, in the order of those they are made from
    missing   int64, one a class: instances that its target is still away
    why       class -> why it stays short
    stock     what there was to paste
    outlines, sizes  the shapes of the dataset's annotations, and how large they are
    """

    collages: tuple[Collage, ...]
    missing: NDArray[np.int64]
    why: dict[int, Why]
    stock: Stock
    outlines: Outlines
    sizes: Measures

    @property
    def bases(self) -> NDArray[np.intp]:
        """Name the images that others are generated from, rising, once for each generated image."""
        return np.array([collage.image for collage in self.collages], np.intp)

    @property
    def pastes(self) -> list[Pasted]:
        """List the pasted instances of all images."""
        return [one for collage in self.collages for one in collage.pasted]


def made_pictures(dataset: Dataset, found: Filled, rows: Rows, among: NDArray[np.bool_]) -> MadePictures | None:
    """Tell what is to be made, and which labels it has; None where nothing is.

    Args:
        dataset: What `read` gave.
        found: What is pasted.
        rows: Image rows of the result, in rising order: of each generated image, the image it is made from once more.
        among: For each annotation whether it is in the split and in the result.
    """
    if not found.collages:
        return None
    table = dataset.annotations
    bases = found.bases
    first = np.searchsorted(bases, bases)
    at = np.searchsorted(rows, bases) + 1 + np.arange(len(bases)) - first
    marks = np.flatnonzero(among)
    marks = marks[np.argsort(table.image[marks], kind="stable")]
    start = np.searchsorted(table.image[marks], np.arange(dataset.n_images + 1))
    owner, origin, boxes = [], [], []
    changed: dict[int, Shape] = {}
    recipes = []
    n = 0
    for number, collage in enumerate(found.collages):
        width, height = dataset.sizes[collage.image].astype(int).tolist()
        held = marks[start[collage.image] : start[collage.image + 1]]
        seen = dataset.boxes[held].copy()
        for k, shape in _cut(found, dataset, collage, held, seen, width, height):
            changed[n + k] = shape
        for k, one in enumerate(collage.pasted, start=len(held)):
            changed[n + k] = _shape_of(found.outlines, one, width, height)
        origin += [held, np.array([one.source for one in collage.pasted], np.intp)]
        boxes += [seen, np.stack([one.box for one in collage.pasted])]
        owner.append(np.full(len(held) + len(collage.pasted), number, np.intp))
        n += len(held) + len(collage.pasted)
        recipes.append(_recipe(dataset, collage, width, height))
    return MadePictures(
        at=at.astype(np.intp),
        recipes=tuple(recipes),
        owner=np.concatenate(owner),
        origin=np.concatenate(origin),
        boxes=np.concatenate(boxes),
        outlines=_with_changed(take_outlines(found.outlines, np.concatenate(origin)), changed),
    )


def _recipe(dataset: Dataset, collage: Collage, width: int, height: int) -> Recipe:
    names = dataset.images.file_name
    as_it_is = np.array([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]])
    pastes = tuple(Paste(names[dataset.annotations.image[one.source]], one.cut, one.matrix, one.feather_px) for one in collage.pasted)
    classes = [dataset.class_names[dataset.annotations.class_index[one.source]] for one in collage.pasted]
    return Recipe(names[collage.image], f"paste {', '.join(classes)}", width, height, as_it_is, pastes=pastes)


def _shape_of(outlines: Outlines, one: Pasted, width: int, height: int) -> Shape:
    """Give the polygon or the mask of a pasted instance."""
    if one.source in outlines.masks:
        cover = filled([moved(ring, one.matrix) for ring in one.cut], width, height)
        return [], encoded(cover, outlines.masks[one.source])
    return [moved(ring, one.matrix) for ring in outlines.rings(one.source)], None


def _cut(
    found: Filled, dataset: Dataset, collage: Collage, held: Rows, boxes: Boxes, width: int, height: int
) -> Iterator[tuple[int, Shape]]:
    """Take what pastes cover from the outlines in an image, and draw their boxes in as far as the outlines shrink.

    Args:
        found: What is pasted.
        dataset: What `read` gave.
        collage: The image.
        held: Its annotations.
        boxes: Their boxes, which change.
        width: Of the image.
        height: Of the image.
    """
    traced = is_traced(dataset, found.sizes, held)
    covers = [moved(ring, one.matrix) for one in collage.pasted for ring in one.cut]
    extents = np.stack([extent_of([moved(ring, one.matrix) for ring in one.cut]) for one in collage.pasted])
    extent = found.sizes.extent[held]
    for k in np.flatnonzero(traced).tolist():
        both = np.minimum(extent[k, 2:], extents[:, 2:]) - np.maximum(extent[k, :2], extents[:, :2])
        if not (both > 0).all(axis=1).any():
            continue
        row = int(held[k])
        if row in found.outlines.masks:
            left = decoded(found.outlines.masks[row])
            left[filled(covers, width, height) != 0] = 0
            shape: Shape = [], encoded(left, found.outlines.masks[row])
            ys, xs = np.flatnonzero(left.any(axis=1)), np.flatnonzero(left.any(axis=0))
            now = np.array([xs[0], ys[0], xs[-1] + 1, ys[-1] + 1], np.float64)
        else:
            rings = visible(found.outlines.rings(row), covers, width, height)
            if not rings:  # of an outline finer than a pixel, nothing can be taken
                continue
            shape, now = (rings, None), extent_of(rings)
        inward = np.array([1.0, 1.0, -1.0, -1.0]) * np.maximum((now - extent[k]) * [1.0, 1.0, -1.0, -1.0], 0.0)
        boxes[k] += np.where(np.abs(inward) >= 1.0, inward, 0.0)
        yield k, shape


def _with_changed(outlines: Outlines, changed: dict[int, Shape]) -> Outlines:
    """Put other rings and masks in place of some."""
    rings = [ring for own, _ in changed.values() for ring in own]
    number = np.array([len(own) for own, _ in changed.values()], np.int64)
    others = Outlines(
        points=np.concatenate([np.zeros((0, 2)), *rings]),
        ring_start=np.concatenate([[0], np.cumsum(np.array([len(ring) for ring in rings], np.int64))]).astype(np.int64),
        first_ring=np.concatenate([[0], np.cumsum(number)]).astype(np.int64),
        keypoints=np.zeros((0, 3)),
        first_keypoint=np.zeros(len(changed) + 1, np.int64),
        masks={k: mask for k, (_, mask) in enumerate(changed.values()) if mask is not None},
    )
    order = np.arange(len(outlines))
    order[list(changed)] = len(outlines) + np.arange(len(changed))
    return take_outlines(join_outlines([outlines, others]), order)
