"""One Pascal VOC XML file after another, from bytes to columns; which image a file belongs to is not asked here.

Elements are found by their path, never by their order: only `annotation/object` is an annotation, and the `bndbox` of a `part` is
not its box.

Most files are as the common tools write them: nothing but the usual elements in the usual order. Such a file is proven plain while a
few regular expressions eat it from its first to its last character, three times as fast as expat; any deviation sends the whole file
to expat, which alone decides what is well-formed. Both give the same rows.
"""

from __future__ import annotations

import codecs
import math
import re
import signal
import sys
import threading
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import IntEnum
from pyexpat import ErrorString, ExpatError, ParserCreate
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from dataset_doctor.dataset import UNKNOWN_SIZE, Flag, Geometry, ProblemKind
from dataset_doctor.files.processes import processors
from dataset_doctor.files.progress import Progress, silent
from dataset_doctor.files.reading import Unreadable, decode, read_inside
from dataset_doctor.formats.personal import personal_data
from dataset_doctor.formats.voc import plain
from dataset_doctor.formats.voc.plain import FLAGS, Origin, missing_keys, plain_flags, plain_writer, remembered, writer_of_file

if TYPE_CHECKING:
    from multiprocessing.context import BaseContext

MAX_XML_BYTES = 16 << 20
MAX_XML_DEPTH = 32
MAX_OBJECTS = 100_000
FILES_A_TASK = 1_000
FEWEST_FILES_TO_FORK = 500
FEWEST_FILES_TO_SPAWN = 20_000
"""A spawned process imports numpy anew, which takes as long as reading some thousand files."""


class FileState(IntEnum):
    """How far an XML file could be read. `BROKEN` files may have given objects before the break; `OTHER` files are not VOC."""

    READ = 0
    BROKEN = 1
    OTHER = 2


@dataclass(frozen=True, slots=True)
class XmlProblem:
    """What could not become a row: the number of the file, and what `Problem` and `Place` need."""

    file: int
    kind: ProblemKind
    line: int | None
    text: str
    class_name: str | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Records:
    """What some XML files say, one row a file and one row an object.

    state, writer  uint8 a file: a FileState and an Origin
    width, height  int32 a file, UNKNOWN_SIZE where not declared
    objects        int32 a file: objects that were closed, readable or not
    looks_voc      bool a file: has a box, a size or a file name, and so is no other format's `annotation`
    filename, path one text a file: last component of `<filename>` and `<path>`, "" where missing
    file, name     int32 an object: number of its file, index in `names` (-1 without a name)
    corners        float64 (n, 4); flags uint16; geometry uint8; position, line int32: as in `Annotations`
    names          class names as written, in order of appearance
    problems       in file order
    """

    state: NDArray[np.uint8]
    writer: NDArray[np.uint8]
    width: NDArray[np.int32]
    height: NDArray[np.int32]
    objects: NDArray[np.int32]
    looks_voc: NDArray[np.bool_]
    filename: list[str]
    path: list[str]
    file: NDArray[np.int32]
    name: NDArray[np.int32]
    corners: NDArray[np.float64]
    flags: NDArray[np.uint16]
    geometry: NDArray[np.uint8]
    position: NDArray[np.int32]
    line: NDArray[np.int32]
    names: list[str]
    problems: list[XmlProblem]


def parse(root: str, names: Sequence[str], links: frozenset[str] = frozenset(), progress: Progress = silent) -> Records:
    """Parse XML files, on several processes where there are many; the result does not depend on how many.

    Args:
        root: Absolute folder that the names are relative to.
        names: Files to read.
        links: Those that lead outside the dataset and are not opened.
        progress: Called with what is done.
    """
    tasks = [names[start : start + FILES_A_TASK] for start in range(0, len(names), FILES_A_TASK)]
    refused = [links.intersection(task) for task in tasks]
    context = _process_context(len(names))
    if context is not None:
        from concurrent.futures import ProcessPoolExecutor
        from concurrent.futures.process import BrokenProcessPool

        try:
            quiet: Any = {"initializer": signal.signal, "initargs": (signal.SIGINT, signal.SIG_IGN)}  # Ctrl-C is for the parent
            with ProcessPoolExecutor(min(processors(), 4), mp_context=context, **quiet) as pool:
                return _join(_counted(pool.map(parse_here, [root] * len(tasks), tasks, refused), len(names), progress))
        except (OSError, AssertionError, RuntimeError, BrokenProcessPool):
            progress("reading XML", 0, len(names))  # no further process can be had: start again in this one
    return _join(_counted(map(parse_here, [root] * len(tasks), tasks, refused), len(names), progress))


def _process_context(files: int) -> BaseContext | None:
    """Choose how to start processes; None where they do not pay."""
    if files < FEWEST_FILES_TO_FORK or processors() < 2:
        return None
    import multiprocessing

    if multiprocessing.current_process().daemon:
        return None
    # A fork copies locks that other threads may hold.
    if sys.platform == "linux" and threading.active_count() == 1:
        return multiprocessing.get_context("fork")
    return multiprocessing.get_context("spawn") if files >= FEWEST_FILES_TO_SPAWN else None


def _counted(parts: Iterable[Records], total: int, progress: Progress) -> list[Records]:
    done, records = 0, []
    for part in parts:
        records.append(part)
        done += len(part.state)
        progress("reading XML", done, total)
    return records


_ARRAYS = ("state", "writer", "width", "height", "objects", "looks_voc", "corners", "flags", "geometry", "position", "line")


def _join(parts: list[Records]) -> Records:
    """Put records one after another, with file numbers and class names of the whole."""
    if not parts:
        return parse_here("", ())
    index: dict[str, int] = {}
    files: list[NDArray[np.int32]] = []
    names: list[NDArray[np.int32]] = []
    problems: list[XmlProblem] = []
    start = 0
    for part in parts:
        renumber = np.array([*(index.setdefault(name, len(index)) for name in part.names), -1], np.int32)
        names.append(renumber[part.name])
        files.append(part.file + np.int32(start))
        problems += [XmlProblem(p.file + start, p.kind, p.line, p.text, p.class_name) for p in part.problems]
        start += len(part.state)
    arrays: dict[str, Any] = {column: np.concatenate([getattr(part, column) for part in parts]) for column in _ARRAYS}
    return Records(
        filename=[text for part in parts for text in part.filename],
        path=[text for part in parts for text in part.path],
        file=np.concatenate(files),
        name=np.concatenate(names),
        names=list(index),
        problems=problems,
        **arrays,
    )


def parse_here(root: str, names: Sequence[str], links: frozenset[str] = frozenset()) -> Records:
    """Parse XML files in this process; see `parse`."""
    reader = _Reader()
    for name in names:
        reader.read(root, name, is_link=name in links)
    return reader.records()


# One file -----------------------------------------------------------------------------------------------------------


class _Refused(Exception):
    """A file that must not be parsed further: the message says why."""


class _Points(dict[str, "_Node"]):
    """The children of a `polygon`: x1, y1, x2 … are its points; `pt` gives a LabelMe file away."""

    def get(self, tag: str, default: Any = None) -> Any:
        return tag if tag == "pt" or (tag[:1] in ("x", "y") and tag[1:].isdecimal()) else default


# Which elements are read: a mapping for one with children, for one with text the key that the text is kept under.
_Node: TypeAlias = "str | dict[str, _Node]"
_OBJECT: dict[str, _Node] = {
    "name": "name",
    "difficult": "difficult",
    "truncated": "truncated",
    "occluded": "occluded",
    "pose": "pose",
    "bndbox": {"xmin": "xmin", "ymin": "ymin", "xmax": "xmax", "ymax": "ymax"},
    "robndbox": {"cx": "cx", "cy": "cy", "w": "w", "h": "h", "angle": "angle"},
    "polygon": _Points(),
}
_DOCUMENT: dict[str, _Node] = {
    "annotation": {
        "filename": "filename",
        "path": "path",
        "size": {"width": "width", "height": "height"},
        "source": {"database": "database", "annotation": "source annotation", "image": "source image"},
        "owner": {"name": "owner name"},
        "object": _OBJECT,
    }
}
_SEGMENTED = "<segmented>1<"
_TRUE = frozenset({"1", "true", "yes"})

_DECLARED = re.compile(rb"""\A\s*<\?xml[^>]{0,200}?encoding\s*=\s*["']([A-Za-z0-9._-]{1,40})["']""")
_TRUSTED_CODEC = re.compile(
    r"iso8859-\d+|cp\d{3,4}|gbk|gb2312|gb18030|big5|shift_jis|euc_jp|euc_kr|koi8-[ru]|mac-roman|utf-16|utf-16-[lb]e|latin-1"
)


def decode_xml(data: bytes) -> tuple[str, str | None]:
    r"""Decode an XML file; the second value says what was unusual, or is None.

    A byte-order mark decides, then the file's declaration, then UTF-8, then Latin-1.

    >>> decode_xml(b'<?xml version="1.0" encoding="gbk"?><a>\xb3\xb5</a>')[1]
    'gbk, not UTF-8'
    """
    declared = _DECLARED.match(data)
    if declared and not data.isascii():
        try:
            codec = codecs.lookup(declared[1].decode()).name
            if _TRUSTED_CODEC.fullmatch(codec):
                return data.decode(codec), f"{codec}, not UTF-8"
        except (LookupError, UnicodeDecodeError):
            return decode(data)
    return decode(data)


Corners = tuple[float, float, float, float]

# One file after another ---------------------------------------------------------------------------------------------


class _Reader:
    """Collects the rows of files parsed one after another."""

    def __init__(self) -> None:
        self.number = -1
        self.names: dict[str, int] = {}
        self.files: list[tuple[int, int, int, int, int, bool]] = []
        self.filename: list[str] = []
        self.path: list[str] = []
        # Six and four numbers an object, flat: a list of tuples takes numpy ten times as long.
        self.rows: list[int] = []
        self.corners: list[float] = []
        self.problems: list[XmlProblem] = []
        self.persons: set[str] = set()
        self.flags_of: dict[str, int | None] = {}
        self.writer_of: dict[str, Origin | None] = {}

    def read(self, root: str, name: str, *, is_link: bool = False) -> None:
        """Read one file; whatever is wrong with it becomes a problem."""
        self.number += 1
        self.objects = 0
        self.root = ""
        self.fields: dict[str, str] = {}
        self.of_file = self.fields
        self.line = 0
        self.node: _Node | None = _DOCUMENT
        self.above: list[_Node | None] = []
        self.text: list[str] = []
        state = FileState.READ
        try:
            if is_link:
                raise Unreadable("a link that leads outside the dataset, not followed")
            text, unusual = decode_xml(read_inside(root, name, MAX_XML_BYTES))
            for at, what in personal_data(text):
                if what not in self.persons:
                    self.persons.add(what)
                    self.problem("personal-data", text.count("\n", 0, at) + 1, what)
            if _SEGMENTED in text:
                self.problem("mask-missing", text.count("\n", 0, text.index(_SEGMENTED)) + 1, "segmented is 1, and there is no mask")
            if unusual:
                self.problem("text-encoding", None, unusual)
            elif self.scan_plain(text):
                return
            self.scan(text)
        except (Unreadable, _Refused) as error:
            state = FileState.BROKEN
            self.problem("label-unreadable", self.line or None, str(error))
        if "pt" in self.of_file:
            self.problem("label-unreadable", None, "LabelMe polygons, not VOC")
        if self.root not in ("", "annotation") or "pt" in self.of_file:
            state = FileState.OTHER
        self.finish(state)

    def scan_plain(self, text: str) -> bool:
        """Make the rows of a plain file; False, and nothing done, where it is not plain."""
        head = plain.HEAD.match(text)
        if head is None or "\ufffe" in text or "\uffff" in text or ("\r" in text and text.count("\r") != text.count("\r\n")):
            return False
        filename, path, source, owner, width, height = head.groups("")
        writer = remembered(self.writer_of, plain_writer, f"{source}\0{owner}")
        if writer is None or int(width) == 0 or int(height) == 0:
            return False
        number, names, flags_of = self.number, self.names, self.flags_of
        rows: list[int] = []
        corners: list[float] = []
        next_object = plain.OBJECT.match
        end = counted = head.end()
        line = 1 + text.count("\n", 0, end)
        position = 0
        known = len(names)
        try:
            while found := next_object(text, end):
                name, before, xmin, ymin, xmax, ymax, after = found.groups()
                flags = remembered(flags_of, plain_flags, before + after)
                if flags is None or not (name in names or name.strip()):
                    raise ValueError
                corners += (float(xmin), float(ymin), float(xmax), float(ymax))
                start, after_object = found.span()
                line += text.count("\n", counted, start)
                rows += (number, names.setdefault(name, len(names)), flags, 0, position, line)
                position += 1
                counted, end = start, after_object
            is_plain = plain.TAIL.fullmatch(text, end) and position <= MAX_OBJECTS and math.isfinite(sum(corners))
        except ValueError:
            is_plain = None
        if not is_plain:
            for name in list(names)[known:]:
                del names[name]
            return False
        self.rows += rows
        self.corners += corners
        self.files.append((FileState.READ, writer, int(width), int(height), position, True))
        self.filename.append(_last_part(filename))
        self.path.append(_last_part(path))
        return True

    def scan(self, text: str) -> None:
        """Run the parser over a file's text.

        Raises:
            _Refused: not well-formed, a DTD, nested too deep or too many objects; `line` is then the line of the trouble.
        """
        if not text.strip():
            raise _Refused("the file is empty")
        parser = ParserCreate("utf-8", None)
        parser.buffer_text = True
        parser.StartElementHandler = self.start
        parser.EndElementHandler = self.end
        parser.CharacterDataHandler = self.text.append
        parser.StartDoctypeDeclHandler = self.doctype
        self.parser = parser
        try:
            parser.Parse(text, True)
        except ExpatError as error:
            self.line = error.lineno
            raise _Refused(f"not well-formed XML: {ErrorString(error.code)}") from error
        except _Refused:
            self.line = parser.CurrentLineNumber
            raise
        finally:
            del self.parser

    def doctype(self, *_: object) -> None:
        raise _Refused("DTD refused")

    def start(self, tag: str, _: object) -> None:
        node = self.node
        above = self.above
        above.append(node)
        if node is None or node.__class__ is str:
            self.node = None
        else:
            self.node = node = node.get(tag)  # type: ignore[union-attr]  # the class was asked for above, faster than isinstance
            if node.__class__ is str:
                self.text.clear()
            elif node is _OBJECT:
                if self.objects >= MAX_OBJECTS:
                    raise _Refused(f"more than {MAX_OBJECTS:,} objects")
                self.fields = {}
                self.line = self.parser.CurrentLineNumber
            elif node is not None:
                self.fields[tag] = ""
        if len(above) > MAX_XML_DEPTH:
            raise _Refused(f"nested deeper than {MAX_XML_DEPTH} elements")
        if len(above) == 1:
            self.root = tag
            if tag != "annotation":
                raise _Refused(f"the root element is <{tag[:40]}>, not <annotation>")

    def end(self, tag: str) -> None:
        node = self.node
        if node.__class__ is str:
            if node in self.fields:
                self.problem("duplicate-key", self.parser.CurrentLineNumber, f"a second <{tag}>, the first is used")
            else:
                self.fields[node] = "".join(self.text)
        elif node is _OBJECT:
            self.finish_object()
            self.fields = self.of_file
            self.line = 0
        self.node = self.above.pop()

    def problem(self, kind: ProblemKind, line: int | None, text: str, class_name: str | None = None) -> None:
        self.problems.append(XmlProblem(self.number, kind, line, text, class_name))

    def finish_object(self) -> None:
        """Make a row of the fields of an object."""
        fields, line, position = self.fields, self.line, self.objects
        self.objects += 1
        if "pt" in fields:
            self.of_file["pt"] = ""
        written = fields.get("name", "")
        name = written.strip() or None
        flags = missing_keys(fields) | (0 if _in_order(fields) else Flag.OTHER_ORDER.value)
        for key, bit in FLAGS:
            text = fields.get(key, "0")
            if text == "1":
                flags |= bit
            elif text.strip() != "0":
                is_set = text.strip().lower() in _TRUE
                flags |= bit if is_set else 0
                if text.strip() != "1":
                    self.problem("flag-invalid", line, f"{key} is {text[:40]!r}, read as {int(is_set)}", name)
        try:
            corners, geometry = _shape(fields)
        except ValueError as error:
            self.problem("record-unreadable", line, str(error), name)
            return
        if name is None:
            self.problem("class-name-missing", line, "the object has no name")
            index = -1
        else:
            index = self.names.setdefault(written, len(self.names))
        if corners is _NOWHERE:
            self.problem("box-malformed", line, "the object has neither a bndbox nor a polygon", name)
        elif geometry == Geometry.BOX and ("polygon" in fields or "robndbox" in fields):
            self.problem("box-malformed", line, "its polygon or rotated box cannot be read, its bndbox is used", name)
        self.rows += (self.number, index, flags, geometry, position, line)
        self.corners += corners

    def finish(self, state: FileState) -> None:
        """Make a row of the fields of a file."""
        fields = self.of_file
        width, height = _pixels(fields.get("width", "")), _pixels(fields.get("height", ""))
        if "size" in fields and UNKNOWN_SIZE in (width, height) and state == FileState.READ:
            shown = " × ".join(repr(fields[side][:20]) if side in fields else "nothing" for side in ("width", "height"))
            self.problem("image-size-invalid", None, f"the size is {shown}")
        writer = writer_of_file(*(fields.get(key, "") for key in ("database", "source annotation", "source image", "owner name")))
        looks_voc = bool(self.objects or "size" in fields or "filename" in fields)
        self.files.append((state, writer, width, height, self.objects, looks_voc))
        self.filename.append(_last_part(fields.get("filename", "")))
        self.path.append(_last_part(fields.get("path", "")))

    def records(self) -> Records:
        """Turn what was collected into columns."""
        files = np.array(self.files, np.int32).reshape(-1, 6)
        rows = np.array(self.rows, np.int32).reshape(-1, 6)
        return Records(
            state=files[:, 0].astype(np.uint8),
            writer=files[:, 1].astype(np.uint8),
            width=files[:, 2],
            height=files[:, 3],
            objects=files[:, 4],
            looks_voc=files[:, 5].astype(bool),
            filename=self.filename,
            path=self.path,
            file=rows[:, 0],
            name=rows[:, 1],
            corners=np.array(self.corners, np.float64).reshape(-1, 4),
            flags=rows[:, 2].astype(np.uint16),
            geometry=rows[:, 3].astype(np.uint8),
            position=rows[:, 4],
            line=rows[:, 5],
            names=list(self.names),
            problems=self.problems,
        )


def _in_order(fields: dict[str, str]) -> bool:
    """Tell whether the name comes first, and the corners of the box as in VOC."""
    keys = [key for key in fields if key in ("name", "xmin", "ymin", "xmax", "ymax")]
    return keys == sorted(keys, key=("name", "xmin", "ymin", "xmax", "ymax").index)


_NOWHERE: Corners = (math.nan, math.nan, math.nan, math.nan)


def _shape(fields: dict[str, str]) -> tuple[Corners, int]:
    """Give the corners of an object and its Geometry, from `bndbox` or else around its rotated box or polygon.

    Raises:
        ValueError: a number is missing or is none; the message says which.
    """
    corners: Corners | None = None
    if "bndbox" in fields:
        try:
            corners = (float(fields["xmin"]), float(fields["ymin"]), float(fields["xmax"]), float(fields["ymax"]))
            plain = math.isfinite(sum(corners)) and "_" not in fields["xmin"] + fields["ymin"] + fields["xmax"] + fields["ymax"]
        except (KeyError, ValueError):
            plain = False
        if not plain:  # look closer, to say what is wrong
            corners = (_number(fields, "xmin"), _number(fields, "ymin"), _number(fields, "xmax"), _number(fields, "ymax"))
    if "robndbox" not in fields and "polygon" not in fields:
        return (corners or _NOWHERE), Geometry.BOX.value
    try:
        around, geometry = _around(fields)
    except ValueError:
        if corners is None:
            raise
        return corners, Geometry.BOX.value
    return corners or around, geometry


def _around(fields: dict[str, str]) -> tuple[Corners, int]:
    """Enclose a rotated box (angle in radians) or a polygon in an upright box."""
    if "robndbox" in fields:
        cx, cy, w, h, angle = (_number(fields, key) for key in ("cx", "cy", "w", "h", "angle"))
        dx = (abs(w * math.cos(angle)) + abs(h * math.sin(angle))) / 2
        dy = (abs(w * math.sin(angle)) + abs(h * math.cos(angle))) / 2
        return (cx - dx, cy - dy, cx + dx, cy + dy), Geometry.OBB.value
    xs = [key for key in fields if key[0] == "x" and key[1:].isdecimal()]
    ys = [key for key in fields if key[0] == "y" and key[1:].isdecimal()]
    if len(xs) < 3 or {key[1:] for key in xs} != {key[1:] for key in ys}:
        raise ValueError(f"the polygon has {len(xs):,} x and {len(ys):,} y values")
    x, y = [_number(fields, key) for key in xs], [_number(fields, key) for key in ys]
    return (min(x), min(y), max(x), max(y)), Geometry.POLYGON.value


def _number(fields: dict[str, str], key: str) -> float:
    """Read a finite number."""
    text = fields.get(key)
    if text is None:
        raise ValueError(f"{key} is missing")
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value) or "_" in text:
        raise ValueError(f"{key} is {text[:40]!r}, not a finite number")
    return value


def _pixels(text: str) -> int:
    """Read a positive whole number of pixels; UNKNOWN_SIZE where it is none."""
    try:
        value = float(text)
    except ValueError:
        return UNKNOWN_SIZE
    return int(value) if 0 < value < 2**31 and value == int(value) and "_" not in text else UNKNOWN_SIZE


def _last_part(path: str) -> str:
    r"""Give the last component of a path of any system.

    >>> _last_part("C:\\photos\\a.jpg ")
    'a.jpg'
    """
    return path.strip().replace("\\", "/").rpartition("/")[2]
