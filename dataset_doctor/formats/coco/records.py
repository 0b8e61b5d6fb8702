"""COCO records to columns: many sound ones at once, unusual ones judged one by one.

The strict way takes only what needs no judgement and refuses a whole piece otherwise (ValidationError, ValueError, OverflowError);
the piece then comes back as plain Python values, and each record gives a row, a problem, or both.
"""

from __future__ import annotations

import dataclasses
import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any, Literal
from urllib.parse import unquote

import msgspec
import numpy as np
from numpy.typing import NDArray

from dataset_doctor.dataset import NO_ID, UNKNOWN_SIZE, Class, Flag, Geometry, Place, Problem, ProblemKind
from dataset_doctor.geometry import Boxes

_INT32 = np.iinfo(np.int32).max
MAX_PROBLEMS_PER_KIND = 500_000
"""So many problems of a kind a file are kept each with its place; the others are counted together."""

_NOTHING = msgspec.Raw(b"[]")
_NO_CROWD = 2
Id = int | str


@dataclass(frozen=True, slots=True, eq=False)
class AnnotationColumns:
    """Annotations of one file as they name things: see `Annotations`; `index` counts in the file's list."""

    index: NDArray[np.int32]
    id: NDArray[Any]
    image_id: NDArray[Any]
    category_id: NDArray[Any]
    corners: Boxes
    area: NDArray[np.float64]
    flags: NDArray[np.uint16]
    geometry: NDArray[np.uint8]

    def __len__(self) -> int:
        return len(self.index)

    def starting_at(self, first: int) -> AnnotationColumns:
        """Give the same columns with rows counted from `first` on."""
        return dataclasses.replace(self, index=self.index + self.index.dtype.type(first))


@dataclass(frozen=True, slots=True, eq=False)
class ImageColumns:
    """Images of one file as they name things: see `Images`; `index` counts in the file's list; names are as written.

    federated  bool: the entry has LVIS's lists of classes that were looked for
    """

    index: NDArray[np.int64]
    id: NDArray[Any]
    file_name: NDArray[np.object_]
    width: NDArray[np.int32]
    height: NDArray[np.int32]
    federated: NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.index)

    def starting_at(self, first: int) -> ImageColumns:
        """Give the same columns with rows counted from `first` on."""
        return dataclasses.replace(self, index=self.index + self.index.dtype.type(first))


# The strict way -----------------------------------------------------------------------------------------------------


class _Annotation(msgspec.Struct, gc=False):
    image_id: int
    category_id: int
    bbox: tuple[float, float, float, float]
    id: int = NO_ID
    area: float = math.nan
    iscrowd: Literal[0, 1] = _NO_CROWD  # type: ignore[assignment]  # stands for an absent member, which the type keeps apart
    ignore: Literal[0, 1] = 0
    score: float | None = None
    segmentation: msgspec.Raw = _NOTHING
    keypoints: msgspec.Raw = _NOTHING


class _Image(msgspec.Struct, gc=False):
    id: int
    file_name: str = ""
    coco_url: str | None = None
    width: int = NO_ID
    height: int = NO_ID
    neg_category_ids: msgspec.Raw = _NOTHING
    not_exhaustive_category_ids: msgspec.Raw = _NOTHING


class _Rle(msgspec.Struct, gc=False):
    counts: msgspec.Raw = _NOTHING


_ANNOTATIONS = msgspec.json.Decoder(list[_Annotation])
_IMAGES = msgspec.json.Decoder(list[_Image])
_RLE = msgspec.json.Decoder(_Rle)


def strict_annotations(buffer: Any) -> AnnotationColumns:
    """Decode a JSON array of sound annotations.

    Raises:
        msgspec.DecodeError, ValueError, OverflowError: something in it needs judgement.
    """
    records = _ANNOTATIONS.decode(buffer)
    n = len(records)
    # A list comprehension and np.fromiter is the quickest way from objects to a column (45 ns a value, against 80 by np.array).
    corners = np.fromiter(chain.from_iterable([r.bbox for r in records]), np.float64, 4 * n).reshape(n, 4)
    corners[:, 2:] += corners[:, :2]
    area = np.fromiter([r.area for r in records], np.float64, n)
    crowd = np.frombuffer(bytes([r.iscrowd for r in records]), np.uint8)
    crowd_flags = np.array([0, Flag.CROWD, Flag.NO_CROWD_KEY], np.uint16)[crowd]
    flags = crowd_flags | np.where(np.isnan(area), np.uint16(Flag.NO_AREA_KEY), np.uint16(0))
    # Few files have these members at all, so one pass looks for any of them first.
    if [None for r in records if r.score is not None or r.ignore or r.keypoints is not _NOTHING]:
        flags |= np.where([r.ignore != 0 for r in records], np.uint16(Flag.IGNORE), np.uint16(0))
        flags |= np.where([r.score is not None for r in records], np.uint16(Flag.SCORE), np.uint16(0))
        flags[_first_bytes([r.keypoints for r in records]) == ord("[")] |= np.uint16(Flag.KEYPOINTS)
    return AnnotationColumns(
        index=np.arange(n, dtype=np.int32),
        id=np.fromiter([r.id for r in records], np.int64, n),
        image_id=np.fromiter([r.image_id for r in records], np.int64, n),
        category_id=np.fromiter([r.category_id for r in records], np.int64, n),
        corners=corners,
        area=area,
        flags=flags,
        geometry=_geometries([r.segmentation for r in records]),
    )


def _geometries(raws: list[msgspec.Raw]) -> NDArray[np.uint8]:
    """Tell polygons, run lengths and nothing apart by the first bytes of the undecoded members."""
    geometry = np.full(len(raws), Geometry.BOX, np.uint8)
    if raws.count(_NOTHING) == len(raws):
        return geometry
    first = _first_bytes(raws)
    geometry[first == ord("[")] = Geometry.POLYGON
    for row in np.flatnonzero(first == ord("{")):
        text = bytes(_RLE.decode(raws[row]).counts)[:1] == b'"'
        geometry[row] = Geometry.RLE_STRING if text else Geometry.RLE
    return geometry


def _first_bytes(raws: list[msgspec.Raw]) -> NDArray[np.uint8]:
    """Give the first byte of each undecoded value, 0 for an empty list."""
    joined = np.frombuffer(b"".join(raws), np.uint8)
    lengths = np.fromiter(map(len, raws), np.int64, len(raws))
    first: NDArray[np.uint8] = joined[np.cumsum(lengths) - lengths]
    short = np.flatnonzero((first == ord("[")) & (lengths <= 64))
    empty = [row for row in short if not bytes(raws[row])[1:-1].strip()]
    first[empty] = 0
    return first


def strict_images(buffer: Any) -> ImageColumns:
    """Decode a JSON array of sound image entries; raises as `strict_annotations` does."""
    records = _IMAGES.decode(buffer)
    n = len(records)
    names = [r.file_name or name_from_url(r.coco_url or "") for r in records]
    sizes = np.fromiter(chain.from_iterable([(r.width, r.height) for r in records]), np.int64, 2 * n).reshape(n, 2)
    absent = sizes == NO_ID
    if not all(names) or not (absent | ((sizes > 0) & (sizes <= _INT32))).all():
        raise ValueError("an image entry that needs judgement")
    sizes[absent] = UNKNOWN_SIZE
    return ImageColumns(
        index=np.arange(n, dtype=np.int64),
        id=np.fromiter([r.id for r in records], np.int64, n),
        file_name=_objects(names),
        width=sizes[:, 0].astype(np.int32),
        height=sizes[:, 1].astype(np.int32),
        federated=np.array([_NOTHING is not r.neg_category_ids and _NOTHING is not r.not_exhaustive_category_ids for r in records], bool),
    )


def name_from_url(url: str) -> str:
    """Give the last two parts of an image's address, as LVIS means it; "" where there is none.

    >>> name_from_url("http://images.cocodataset.org/train2017/000000391895.jpg")
    'train2017/000000391895.jpg'
    """
    path = unquote(url.partition("://")[2].partition("?")[0].partition("#")[0])
    return "/".join(path.split("/")[1:][-2:])


# One by one ---------------------------------------------------------------------------------------------------------


def as_id(value: object) -> Id | None:
    """Take an id for what it is: an integer (also when written as 3.0), text, or None for anything else."""
    if type(value) is int or type(value) is str:
        return value
    return int(value) if type(value) is float and value.is_integer() else None


def as_number(value: object) -> float | None:
    """Give a JSON number as float, None for anything else (True is no number)."""
    if type(value) is float:
        return value
    if type(value) is not int:
        return None
    try:
        return float(value)
    except OverflowError:
        return math.inf if value > 0 else -math.inf


def shown(value: object) -> str:
    """Write a value into a message: as JSON would, and short."""
    text = repr(value) if not isinstance(value, str) else f'"{value}"'
    return text if len(text) <= 60 else text[:57] + "..."


class Judge:
    """Turns unusual records of one file into rows and problems. `lost` are image ids of records that cannot be rows."""

    def __init__(self, file: str) -> None:
        self.file = file
        self.problems: list[Problem] = []
        self.counted: Counter[ProblemKind] = Counter()
        self.lost: list[Id] = []
        self.categories: list[tuple[Id | None, Class]] = []

    def problem(self, kind: ProblemKind, pointer: str, text: str, annotation_id: Id | None = None) -> None:
        """Note what is wrong with a record, up to a number of places a kind."""
        self.counted[kind] += 1
        if self.counted[kind] <= MAX_PROBLEMS_PER_KIND:
            self.problems.append(Problem(kind, Place(file=self.file, pointer=pointer, annotation_id=annotation_id), text))

    def floods(self) -> list[Problem]:
        """Count what went beyond the problems kept, one problem a kind."""
        return [
            Problem(kind, Place(file=self.file), f"{n - MAX_PROBLEMS_PER_KIND:,} more of the kind", count=n - MAX_PROBLEMS_PER_KIND)
            for kind, n in sorted(self.counted.items())
            if n > MAX_PROBLEMS_PER_KIND
        ]

    def judge(self, key: str, indices: Sequence[int], values: Sequence[Any], into: list[Any]) -> None:
        """Judge records of one of the three lists and add what they give to `into`."""
        if key == "annotations":
            into.append(self.annotations(indices, values))
        elif key == "images":
            into.append(self.images(indices, values))
        else:
            for index, value in zip(indices, values, strict=True):
                self.category(index, value)

    def annotations(self, indices: Sequence[int], values: Sequence[Any]) -> AnnotationColumns:
        """Judge annotations one by one."""
        rows = [row for index, value in zip(indices, values, strict=True) if (row := self.annotation(index, value))]
        columns: list[Sequence[Any]] = [list(column) for column in zip(*rows, strict=True)] if rows else [()] * 8
        index, ids, image_ids, category_ids, corners, area, flags, geometry = columns
        return AnnotationColumns(
            index=np.array(index, np.int32),
            id=id_column(ids),
            image_id=id_column(image_ids),
            category_id=id_column(category_ids),
            corners=np.array(corners, np.float64).reshape(len(rows), 4),
            area=np.array(area, np.float64),
            flags=np.array(flags, np.uint16),
            geometry=np.array(geometry, np.uint8),
        )

    def annotation(self, index: int, record: Any) -> tuple[int, Id, Id, Id, Sequence[float], float, int, int] | None:
        """Give the row of a record of `annotations`; None where it gives none, which is a problem."""
        at = f"/annotations/{index}"
        if not isinstance(record, dict):
            self.problem("record-unreadable", at, f"not an object but {shown(record)}")
            return None
        image_id = as_id(record.get("image_id"))
        if image_id is None:
            what = f"its image_id is {shown(record['image_id'])}" if "image_id" in record else "it has no image_id"
            self.problem("record-unreadable", at, f"{what}, so it belongs to no image")
            return None
        own_id = as_id(record["id"]) if "id" in record else NO_ID
        if own_id is None:
            self.problem("id-invalid", at + "/id", f"{shown(record['id'])} is neither an integer nor text")
            own_id = NO_ID
        category_id = as_id(record.get("category_id"))
        if category_id is None:
            what = f"{shown(record['category_id'])} is neither an integer nor text" if "category_id" in record else "it is missing"
            self.problem("id-invalid", at + "/category_id", what, own_id if own_id != NO_ID else None)
            category_id = NO_ID
        corners, rotated = self.box(record.get("bbox"), at, own_id)
        area = as_number(record.get("area"))
        if area is None and record.get("area") is not None:
            self.problem("record-unreadable", at + "/area", f"the area is {shown(record['area'])}, not a number; the rest was read")
        flags = 0 if area is not None else int(Flag.NO_AREA_KEY)
        flags |= self.crowd(record, at)
        for key, flag in (("ignore", Flag.IGNORE), ("keypoints", Flag.KEYPOINTS)):
            flags |= flag if record.get(key) else 0
        flags |= Flag.SCORE if as_number(record.get("score")) is not None else 0
        geometry = Geometry.OBB if rotated else _geometry(record.get("segmentation"))
        return index, own_id, image_id, category_id, corners, math.nan if area is None else area, flags, geometry

    def box(self, value: Any, at: str, own_id: Id) -> tuple[Sequence[float], bool]:
        """Give a record's corners, and whether the box is a rotated one (centre, size and degrees), of which this is the enclosing box."""
        if value is None:
            return (math.nan,) * 4, False
        numbers = [as_number(v) for v in value] if isinstance(value, list) and len(value) <= 5 else []
        usable = [v for v in numbers if v is not None]
        if len(usable) == len(numbers) == 4:
            x, y, width, height = usable
            return (x, y, x + width, y + height), False
        if len(usable) == len(numbers) == 5 and math.isfinite(usable[4]):
            x, y, width, height, degrees = usable
            cos, sin = abs(math.cos(math.radians(degrees))), abs(math.sin(math.radians(degrees)))
            across, down = cos * width + sin * height, sin * width + cos * height
            return (x - across / 2, y - down / 2, x + across / 2, y + down / 2), True
        what = f"{len(value)} values" if isinstance(value, list) and len(value) not in (4, 5) else shown(value)
        self.problem("box-malformed", at + "/bbox", f"four numbers expected, found {what}", own_id if own_id != NO_ID else None)
        return (math.nan,) * 4, False

    def crowd(self, record: dict[str, Any], at: str) -> int:
        """Give the flag of `iscrowd`."""
        if "iscrowd" not in record:
            return Flag.NO_CROWD_KEY
        value = record["iscrowd"]
        if value in (0, 1) or value in ("0", "1"):
            if isinstance(value, bool | str):
                self.problem("flag-invalid", at + "/iscrowd", f"iscrowd is {shown(value)}, read as {int(value)}")
            return Flag.CROWD if value in (1, "1") else 0
        self.problem("flag-invalid", at + "/iscrowd", f"iscrowd is {shown(value)}, neither 0 nor 1")
        number = as_number(value)
        return Flag.CROWD if number and not math.isnan(number) else 0

    def images(self, indices: Sequence[int], values: Sequence[Any]) -> ImageColumns:
        """Judge image entries one by one."""
        rows = [row for index, value in zip(indices, values, strict=True) if (row := self.image(index, value))]
        columns: list[Sequence[Any]] = [list(column) for column in zip(*rows, strict=True)] if rows else [()] * 6
        index, ids, names, width, height, federated = columns
        return ImageColumns(
            index=np.array(index, np.int64),
            id=id_column(ids),
            file_name=_objects(names),
            width=np.array(width, np.int32),
            height=np.array(height, np.int32),
            federated=np.array(federated, bool),
        )

    def image(self, index: int, record: Any) -> tuple[int, Id, str, int, int, bool] | None:
        """Give the row of a record of `images`; None where it gives none, which is a problem."""
        at = f"/images/{index}"
        if not isinstance(record, dict):
            self.problem("record-unreadable", at, f"not an object but {shown(record)}")
            return None
        own_id = as_id(record.get("id"))
        if own_id is None:
            what = (
                f"{shown(record['id'])} is neither an integer nor text" if "id" in record else "it has no id, so no annotation can name it"
            )
            self.problem("id-invalid", at + "/id", what)
            own_id = NO_ID
        name = record.get("file_name")
        if not isinstance(name, str) or not name:
            url = record.get("coco_url")
            from_url = name_from_url(url) if isinstance(url, str) else ""
            if name or not from_url:
                what = f"file_name is {shown(name)}" if "file_name" in record else "it has no file_name"
                self.problem("record-unreadable", at + "/file_name", f"{what}; the entry counts, its file is unknown")
            name = from_url or f"<id {own_id}>" if own_id != NO_ID else from_url or f"<entry {index}>"
        sizes = []
        for side in ("width", "height"):
            value = record.get(side)
            usable = value if type(value) is int else int(value) if type(value) is float and value.is_integer() else 0
            if not 0 < usable <= _INT32:
                usable = UNKNOWN_SIZE
                if value is not None:
                    self.problem("image-size-invalid", f"{at}/{side}", f"{side} is {shown(value)}, not a positive whole number")
            sizes.append(usable)
        return index, own_id, name, sizes[0], sizes[1], "neg_category_ids" in record and "not_exhaustive_category_ids" in record

    def category(self, index: int, record: Any) -> None:
        """Judge one category."""
        at = f"/categories/{index}"
        if not isinstance(record, dict):
            self.problem("record-unreadable", at, f"not an object but {shown(record)}")
            return
        own_id = as_id(record.get("id"))
        if own_id is None:
            what = (
                f"{shown(record['id'])} is neither an integer nor text" if "id" in record else "it has no id, so no annotation can name it"
            )
            self.problem("id-invalid", at + "/id", what)
        name = record.get("name")
        if not isinstance(name, str) or not name.strip():
            what = f"the name is {shown(name)}" if "name" in record else "it has no name"
            self.problem("class-name-missing", at + "/name", what)
            name = category_name(name)
        above, points = record.get("supercategory"), record.get("keypoints")
        shape = Class(
            name=name,
            id=NO_ID if own_id is None else own_id,
            supercategory=above if isinstance(above, str) else None,
            keypoints=len(points) if isinstance(points, list) else 0,
            place=Place(file=self.file, pointer=at),
        )
        self.categories.append((own_id, shape))


def category_name(value: Any) -> str:
    """Give the class name that the `name` of a category stands for, whatever it is.

    >>> category_name("cat"), category_name(None), category_name([2, 3])
    ('cat', '', '[2, 3]')
    """
    return value if isinstance(value, str) else "" if value is None else shown(value)


def _geometry(segmentation: Any) -> Geometry:
    if isinstance(segmentation, list) and segmentation:
        return Geometry.POLYGON
    if isinstance(segmentation, dict):
        return Geometry.RLE_STRING if isinstance(segmentation.get("counts"), str) else Geometry.RLE
    return Geometry.BOX


def id_column(values: Sequence[Id]) -> NDArray[Any]:
    """Make a column of ids: int64 where all are integers that fit, else objects."""
    if all(type(value) is int for value in values):
        try:
            return np.array(values, np.int64)
        except OverflowError:
            pass
    return _objects(values)


def _objects(values: Sequence[Any]) -> NDArray[np.object_]:
    column = np.empty(len(values), dtype=object)
    column[:] = values
    return column
