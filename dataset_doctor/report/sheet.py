"""A sheet of pictures that a plan makes, each beside the picture it is made from, with the boxes of both: for a person to look at."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

import numpy as np

from dataset_doctor.dataset import Dataset
from dataset_doctor.findings import shortened
from dataset_doctor.formats import read_outlines, read_picture
from dataset_doctor.geometry import Boxes
from dataset_doctor.outlines import Outlines
from dataset_doctor.plan import Plan
from dataset_doctor.recipes import Picture, made

if TYPE_CHECKING:
    from PIL import Image
    from PIL.ImageFont import FreeTypeFont, ImageFont

CELL_PX, GAP_PX, TEXT_PX, IN_A_ROW = 320, 10, 15, 2
QUALITY = 90
MOST_BOXES_NAMED = 12
"""Pictures with more boxes show no names, which would cover them."""

_INK, _PAPER = (60, 60, 60), (255, 255, 255)
_COLOURS = (
    (230, 25, 75), (60, 180, 75), (0, 130, 200), (245, 130, 48), (145, 30, 180), (0, 160, 160), (240, 50, 230), (170, 110, 40), (128, 0, 0),
    (0, 0, 128),
)  # fmt: skip


def sheet(dataset: Dataset, plan: Plan, n: int = 16) -> bytes:
    """Draw pictures that a plan makes, with the sources on their left.

    Args:
        dataset: The dataset the plan was made for.
        plan: One that makes pictures; those shown are spread evenly over it.
        n: How many at most.

    Returns:
        A JPEG; the same bytes for the same plan.
    """
    from PIL import Image, ImageDraw

    assert plan.made is not None
    places = plan.made.at[np.unique(np.linspace(0, len(plan.made.at) - 1, min(n, len(plan.made.at))).astype(int))]
    rows = plan.rows[places]
    before, after = dataset.select(rows), plan.apply(dataset).select(places)
    shapes = read_outlines(before), read_outlines(after)
    font = _font()
    pair_px = 2 * CELL_PX + GAP_PX
    line_px = CELL_PX + TEXT_PX + 2 * GAP_PX
    across = min(IN_A_ROW, len(places))
    down = -(-len(places) // across)
    page = Image.new("RGB", (across * (pair_px + 2 * GAP_PX), down * line_px + GAP_PX), _PAPER)
    draw = ImageDraw.Draw(page)
    assert after.made is not None
    for number in range(len(places)):
        recipe = after.made.recipes[after.made.recipe[number]]
        left, top = GAP_PX + number % across * (pair_px + 2 * GAP_PX), GAP_PX + number // across * line_px
        pictures = read_picture(dataset.root, recipe.picture)[0], made(recipe, lambda name: read_picture(dataset.root, name)[0])
        boxes = max(int((part.annotations.image == number).sum()) for part in (before, after))
        for side, (part, outlines, picture) in enumerate(zip((before, after), shapes, pictures, strict=True)):
            cell = _cell(part, number, outlines, picture, font, is_named=boxes <= MOST_BOXES_NAMED)
            x, y = left + side * (CELL_PX + GAP_PX), top
            page.paste(cell, (x + (CELL_PX - cell.width) // 2, y + (CELL_PX - cell.height) // 2))
        draw.text((left, top + CELL_PX + 3), _fitting(recipe.transform, pair_px, font), fill=_INK, font=font)
    buffer = io.BytesIO()
    page.save(buffer, "JPEG", quality=QUALITY)
    return buffer.getvalue()


def _cell(
    dataset: Dataset, row: int, outlines: Outlines, picture: Picture, font: FreeTypeFont | ImageFont, *, is_named: bool
) -> Image.Image:
    """Draw one picture, as large as a cell allows, with the boxes and outlines of its annotations."""
    from PIL import Image, ImageDraw

    image = Image.fromarray(picture)
    scale = CELL_PX / max(image.size)
    image = image.resize((max(round(image.width * scale), 1), max(round(image.height * scale), 1)), Image.Resampling.BOX)
    draw = ImageDraw.Draw(image)
    annotations = dataset.annotations
    marks = np.flatnonzero(annotations.image == row).tolist()
    boxes: Boxes = dataset.boxes * scale
    names = [*dataset.class_names, "?"]
    for mark in marks:
        number = int(annotations.class_index[mark])
        colour = _COLOURS[number % len(_COLOURS)]
        for ring in outlines.rings(mark):
            if len(ring) >= 3:
                draw.polygon([(x * scale, y * scale) for x, y in ring.tolist()], outline=colour)
        for x, y, visible in outlines.keypoints[outlines.first_keypoint[mark] : outlines.first_keypoint[mark + 1]].tolist():
            if visible:
                draw.ellipse([x * scale - 2, y * scale - 2, x * scale + 2, y * scale + 2], fill=colour)
        if not np.isfinite(boxes[mark]).all():
            continue
        x1, y1, x2, y2 = boxes[mark].tolist()
        draw.rectangle([min(x1, x2), min(y1, y2), max(x1, x2), max(y1, y2)], outline=colour, width=2)
        if is_named:
            name = shortened(names[number])
            at = (min(max(x1, 0), image.width - font.getlength(name) - 4), max(y1 - TEXT_PX, 0))
            draw.rectangle(draw.textbbox(at, name, font=font), fill=colour)
            draw.text(at, name, fill=_PAPER, font=font)
    return image


def _fitting(text: str, width: int, font: FreeTypeFont | ImageFont) -> str:
    while len(text) > 1 and font.getlength(text) > width:
        text = f"{text[:-2]}…"
    return text


def _font() -> FreeTypeFont | ImageFont:
    from PIL import ImageFont

    return ImageFont.load_default(TEXT_PX)
