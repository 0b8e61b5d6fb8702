"""What a LabelMe file says: shapes with a label, a kind and points.

`imageData`, a copy of the image within the label file, and the pixels of shapes of the kind `mask` are skipped: they are never decoded.
Shapes of one label and one `group_id` are parts of one object, as labelme's own tools take them.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import msgspec

from dataset_doctor.dataset import Flag, Geometry, Place, Problem, ProblemKind
from dataset_doctor.files.reading import Unreadable, decode
from dataset_doctor.files.tree import Tree

MAX_BYTES = 256 << 20
"""Largest file that is read: an image may be embedded in it."""

CORNERS_OF_CIRCLE = 64
"""Corners of the polygon that a circle becomes; it covers 99.8 % of the circle, and its box is the circle's."""

NO_AREA = frozenset({"point", "points", "line", "linestrip"})
"""Kinds of shapes that no box or polygon holds."""

_FLAGS = {"difficult": Flag.DIFFICULT, "truncated": Flag.TRUNCATED, "occluded": Flag.OCCLUDED}


class _File(msgspec.Struct, gc=False, rename="camel"):
    """The members that are read; msgspec skips others without making anything of them."""

    shapes: Any = None
    image_path: Any = None
    image_width: Any = None
    image_height: Any = None


_DECODER = msgspec.json.Decoder(_File)


@dataclass(slots=True)
class Object:
    """An object: one shape, or several of one label and group.

    label     as written, "" where there is none
    position  its first shape's place among the shapes
    rings     x and y of the corners of each part, one after another; a box has its two corners
    """

    label: str
    position: int
    geometry: Geometry
    flags: int
    rings: list[list[float]] = field(default_factory=list)

    @property
    def corners(self) -> tuple[float, float, float, float]:
        """The box around all parts; NaN where no part has a corner."""
        xs = [x for ring in self.rings for x in ring[0::2]]
        ys = [y for ring in self.rings for y in ring[1::2]]
        return (min(xs), min(ys), max(xs), max(ys)) if xs else (math.nan,) * 4

    def outline(self) -> list[list[float]]:
        """Give the rings of a polygon; a box among them has four corners."""
        return [_rectangle(*ring) if len(ring) == 4 and self.geometry == Geometry.BOX else ring for ring in self.rings]


@dataclass(slots=True)
class Labels:
    """What a file says of its image; `part_of` gives for each shape the position of its object, -1 where it is no part of any."""

    image_path: str = ""
    width: int = -1
    height: int = -1
    objects: list[Object] = field(default_factory=list)
    part_of: list[int] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    is_read: bool = True


def parse(tree: Tree, name: str) -> Labels | None:
    """Read a file; None where it is JSON of another kind. Whatever is wrong with it becomes a problem."""
    labels = Labels()
    try:
        text, odd = decode(tree.read_bytes(name, MAX_BYTES))
        file = _DECODER.decode(text)
    except (Unreadable, msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        if isinstance(error, msgspec.ValidationError):
            return None
        labels.is_read = False
        labels.problems.append(Problem("label-unreadable", Place(file=name), str(error)))
        return labels
    if not isinstance(file.shapes, list):
        return None
    if odd:
        labels.problems.append(Problem("text-encoding", Place(file=name, line=1), odd))
    labels.image_path = file.image_path if isinstance(file.image_path, str) else ""
    sides = [(key, value) for key, value in (("imageWidth", file.image_width), ("imageHeight", file.image_height)) if value is not None]
    sized = [type(value) is int and 0 < value < 1 << 31 for _, value in sides]
    if all(sized) and len(sides) == 2:
        labels.width, labels.height = file.image_width, file.image_height
    for (key, value), good in zip(sides, sized, strict=True):
        if not good:
            text = f"{key} is {str(value)[:40]!r}, not a positive integer"
            labels.problems.append(Problem("image-size-invalid", Place(file=name, pointer=f"/{key}"), text))
    of_group: dict[tuple[str, int], Object] = {}
    for position, shape in enumerate(file.shapes):
        labels.part_of.append(_add(labels, of_group, name, position, shape))
    return labels


def _add(labels: Labels, of_group: dict[tuple[str, int], Object], file: str, position: int, shape: Any) -> int:
    """Take a shape as an object, or as a part of one; give the position of that object, -1 where it is neither."""

    def problem(kind: ProblemKind, text: str, member: str = "") -> None:
        place = Place(file=file, pointer=f"/shapes/{position}{member}", class_name=label or None)
        labels.problems.append(Problem(kind, place, text))

    label = ""
    if not isinstance(shape, dict):
        problem("record-unreadable", "not a JSON object")
        return -1
    written, kind, points = shape.get("label"), shape.get("shape_type") or "polygon", shape.get("points")
    label = written if isinstance(written, str) else ""
    if not isinstance(kind, str) or (kind not in _MAKE and kind not in NO_AREA):
        problem("record-unreadable", f"the shape_type {str(kind)[:40]!r} is not known")
        return -1
    if kind in NO_AREA:
        problem("record-unreadable", f"a {kind}: it has no area, so that no box or polygon holds it")
        return -1
    if not label.strip():
        problem("class-name-missing", "the shape has no label", "/label")
    geometry, count, make = _MAKE[kind]
    numbers = _numbers(points)
    ring = make(numbers) if numbers and (len(numbers) == 2 * count or (count < 0 and len(numbers) >= -2 * count)) else None
    if ring is None:
        wanted = f"{count} points" if count > 0 else f"{-count} points or more"
        problem("box-malformed", f"the points of a {kind} are not {wanted} of two numbers", "/points")
    flags = _flags_of(shape)
    group = shape.get("group_id")
    key = (label, group) if type(group) is int else None
    if ring is not None and key is not None and (first := of_group.get(key)) is not None:
        if not first.geometry == geometry == Geometry.BOX:
            first.rings, first.geometry = first.outline(), Geometry.POLYGON
            ring = _rectangle(*ring) if geometry == Geometry.BOX else ring
        first.rings.append(ring)
        first.flags |= flags
        return first.position
    labels.objects.append(Object(label, position, geometry if ring else Geometry.BOX, flags, [ring] if ring else []))
    if key is not None and ring is not None:
        of_group[key] = labels.objects[-1]
    return position


def _flags_of(shape: dict[str, Any]) -> int:
    own = shape.get("flags")
    told = {**(own if isinstance(own, dict) else {}), **{key: shape[key] for key in _FLAGS if key in shape}}
    flags = 0
    for key, flag in _FLAGS.items():
        flags |= flag if told.get(key) is True else 0
    score = shape.get("score")
    return flags | (Flag.SCORE if type(score) in (int, float) else 0)


def _numbers(points: Any) -> list[float] | None:
    """Take points apart; None where one is not two finite numbers."""
    if not isinstance(points, list):
        return None
    numbers: list[float] = []
    for point in points:
        if not isinstance(point, list) or len(point) != 2:
            return None
        for value in point:
            if type(value) is not float and (type(value) is not int or abs(value) > 1 << 62):
                return None
            numbers.append(float(value))
    return numbers


def _box(numbers: list[float]) -> list[float]:
    """Give a box by any two opposite corners, or by all four."""
    xs, ys = numbers[0::2], numbers[1::2]
    return [min(xs), min(ys), max(xs), max(ys)]


def _box_of_mask(numbers: list[float]) -> list[float]:
    """Give the box of a mask by its first and its last pixel."""
    x1, y1, x2, y2 = _box(numbers)
    return [x1, y1, x2 + 1, y2 + 1]


def _circle(numbers: list[float]) -> list[float]:
    """Turn a circle, by its centre and a point on it, into a polygon."""
    x, y, on_x, on_y = numbers
    radius = math.hypot(on_x - x, on_y - y)
    turns = [2 * math.pi * step / CORNERS_OF_CIRCLE for step in range(CORNERS_OF_CIRCLE)]
    return [value for turn in turns for value in (x + radius * round(math.cos(turn), 12), y + radius * round(math.sin(turn), 12))]


def _rectangle(x1: float, y1: float, x2: float, y2: float) -> list[float]:
    return [x1, y1, x2, y1, x2, y2, x1, y2]


_MAKE: dict[str, tuple[Geometry, int, Any]] = {
    "rectangle": (Geometry.BOX, -2, _box),
    "polygon": (Geometry.POLYGON, -1, list),
    "circle": (Geometry.POLYGON, 2, _circle),
    "oriented_rectangle": (Geometry.OBB, 4, list),
    "rotation": (Geometry.OBB, 4, list),
    "mask": (Geometry.BOX, 2, _box_of_mask),
}
"""Each kind of shape: what it becomes, how many points it has (at least so many, where negative), and how its ring is made of them."""
