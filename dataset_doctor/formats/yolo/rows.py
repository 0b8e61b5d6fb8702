"""The rows of YOLO label files: all files parsed by numpy as one text, and only lines found wrong looked at one by one."""

from __future__ import annotations

import re
import warnings
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dataset_doctor.dataset import Flaw, Geometry, LabelState, Place, Problem, ProblemKind
from dataset_doctor.files.progress import Progress
from dataset_doctor.files.reading import Unreadable, decode
from dataset_doctor.files.tree import Tree
from dataset_doctor.formats.yolo.config import Config, Task, printable
from dataset_doctor.geometry import crossing

CHUNK_BYTES = 32 << 20
BLOCK_LINES = 4096
MAX_LINE_BYTES = 4 << 20
EXPLAINED_LINES = 1_000
"""So many bad lines of a file are quoted with a reason; the others share one text, which keeps a flood of them cheap."""
MAX_PROBLEMS_PER_FILE = 1_000_000
"""So many bad lines of a file are a problem each; the others are one together."""

_NUMBER = rb"[+-]?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d+)?"
_NUMBERS = re.compile(rb"[ \t\v\f]*" + _NUMBER + rb"(?:[ \t\v\f]+" + _NUMBER + rb")*[ \t\v\f]*")
_BYTE_KIND = np.full(256, 2, np.uint8)
_BYTE_KIND[list(b"0123456789+-.eE")] = 1
_BYTE_KIND[list(b" \t\v\f\n")] = 0
_LIKE_POSE, _LIKE_RECTANGLE, _LIKE_UPRIGHT = 1, 2, 4


@dataclass(slots=True)
class LabelRows:
    """One row a label line that could be read.

    file     int32: row in the list of label files
    line     int32: 1-based
    n        int32: numbers in the line, the class included
    class_id int64
    box      float64 (n, 4): corners of the box in the first four numbers after the class, as shares of the image
    hull     float64 (n, 4): corners of the box that encloses the points; NaN where there are fewer than seven numbers
    flaws    uint16: Flaw bits of the points, as if they were a polygon
    looks    uint8: 1 like a pose, 2 like a rectangle, 4 like one along the axes; judged only where the rows of a chunk are equally long
    """

    file: NDArray[np.int32]
    line: NDArray[np.int32]
    n: NDArray[np.int32]
    class_id: NDArray[np.int64]
    box: NDArray[np.float64]
    hull: NDArray[np.float64]
    flaws: NDArray[np.uint16]
    looks: NDArray[np.uint8]


def read_rows(
    tree: Tree, labels: list[str], image_of: list[str], progress: Progress
) -> tuple[LabelRows, NDArray[np.uint8], NDArray[np.bool_], list[Problem]]:
    """Read all label files; gives the rows, a LabelState and whether it could be read for each file, and the problems."""
    state = np.full(len(labels), LabelState.LABELED, np.uint8)
    was_read = np.zeros(len(labels), bool)
    closed = unopened(tree)
    problems: list[Problem] = []
    chunks: list[LabelRows] = []
    texts: list[bytes] = []
    numbers: list[int] = []
    size = 0
    for number, name in enumerate(labels):
        try:
            if name in closed:
                raise Unreadable(closed[name])
            data = tree.read_bytes(name)
        except Unreadable as error:
            problems.append(Problem("label-unreadable", Place(file=name, image=image_of[number]), str(error)))
            continue
        was_read[number] = True
        if b"\0" in data or data[:3] == b"\xef\xbb\xbf":
            text, unusual = decode(data)
            if unusual and "Latin-1" not in unusual:
                problems.append(Problem("text-encoding", Place(file=name, image=image_of[number]), unusual))
                data = text.encode("utf-8", "replace")
        if b"\r" in data:
            data = data.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        texts.append(data)
        numbers.append(number)
        size += len(data)
        if size >= CHUNK_BYTES:
            chunks.append(_parse_chunk(texts, np.array(numbers), labels, image_of, state, problems))
            texts, numbers, size = [], [], 0
        if number % 5000 == 0:
            progress("reading labels", number, len(labels))
    if texts or not chunks:
        chunks.append(_parse_chunk(texts, np.array(numbers, int), labels, image_of, state, problems))
    progress("reading labels", len(labels), len(labels))
    columns = {name: np.concatenate([getattr(chunk, name) for chunk in chunks]) for name in LabelRows.__slots__}
    return LabelRows(**columns), state, was_read, problems


def _parse_chunk(
    texts: list[bytes],
    numbers: NDArray[np.intp],
    labels: list[str],
    image_of: list[str],
    state: NDArray[np.uint8],
    problems: list[Problem],
) -> LabelRows:
    """Parse whole label files at once; sets the state of each and reports the lines that are no rows."""
    blob = b"\n" + b"".join(text + b"\n" for text in texts)
    lengths = np.array([len(text) + 1 for text in texts], np.int64)
    buffer = np.frombuffer(blob, np.uint8)
    newline = np.flatnonzero(buffer == 10)
    start, end = newline[:-1] + 1, newline[1:]
    file_start = 1 + np.cumsum(lengths) - lengths
    first_line = np.searchsorted(start, file_start)
    lines_in_file = np.diff(np.append(first_line, len(start)))
    file = np.repeat(np.arange(len(texts)), lines_in_file)
    line = np.arange(len(start)) - np.repeat(first_line, lines_in_file) + 1

    kind = _BYTE_KIND[buffer]
    is_token = kind > 0
    n = np.zeros(len(start), np.int64)
    clean = np.zeros(len(start), bool)
    if len(start):
        token_start = np.zeros(len(buffer), np.uint8)
        token_start[1:] = is_token[1:] & ~is_token[:-1]
        n = np.add.reduceat(token_start, start, dtype=np.int64)
        clean = np.maximum.reduceat(kind, start) < 2
        # The last segment of reduceat runs to the end of the buffer, which is the line's own end.
    del kind, is_token
    full = n > 0
    state[numbers[np.bincount(file[full], minlength=len(texts)) == 0]] = LabelState.BACKGROUND
    clean &= full & (end - start <= MAX_LINE_BYTES)
    values, clean = _numbers(buffer, start, end, n, clean)

    rows = np.flatnonzero(clean)
    first = np.cumsum(n[rows]) - n[rows]
    good = n[rows] >= 5
    if len(rows):
        finite = np.isfinite(values)
        if not finite.all():
            good &= np.logical_and.reduceat(finite, first)
        category = values[first]
        with np.errstate(invalid="ignore"):
            good &= (np.floor(category) == category) & (np.abs(category) < 2**53)
    is_row = np.zeros(len(start), bool)
    is_row[rows[good]] = True
    _report_lines(blob, start, end, file, line, full & ~is_row, numbers, labels, image_of, problems)
    _report_notation(buffer, start, file, line, is_row, numbers, labels, image_of, problems)

    rows, first = rows[good], first[good]
    count = n[rows]
    at = values[first[:, None] + np.arange(5)] if len(rows) else np.zeros((0, 5))
    half = at[:, 3:5] / 2
    hull, looks = _outlines(values, first, count)
    return LabelRows(
        file=numbers[file[rows]].astype(np.int32),
        line=line[rows].astype(np.int32),
        n=np.minimum(count, np.iinfo(np.int32).max).astype(np.int32),
        class_id=at[:, 0].astype(np.int64),
        box=np.concatenate([at[:, 1:3] - half, at[:, 1:3] + half], axis=1),
        hull=hull,
        flaws=_flaws(values, first, count),
        looks=looks,
    )


def _numbers(
    buffer: NDArray[np.uint8], start: NDArray[np.intp], end: NDArray[np.intp], n: NDArray[np.int64], clean: NDArray[np.bool_]
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Turn the lines that hold only digits, signs, points and exponents into numbers, one a token, line after line.

    Such a token may still be none (`1-2`, `1.2.3`, `--1`). Each of these fails or gives more than one number, so an equal count proves the
    text; where it is not equal, blocks are tried, and in a block that fails each line by itself.
    """
    lengths = np.where(clean, end - start + 1, 0)
    in_clean = np.repeat(clean, end - start + 1)
    text = buffer[1:][in_clean].tobytes()
    whole = _from_text(text, int(n[clean].sum()))
    if whole is not None:
        return whole, clean
    clean = clean.copy()
    parts = []
    offset = np.cumsum(lengths) - lengths
    for block in range(0, len(start), BLOCK_LINES):
        rows = block + np.flatnonzero(clean[block : block + BLOCK_LINES])
        if not len(rows):
            continue
        piece = text[offset[rows[0]] : offset[rows[-1]] + lengths[rows[-1]]]
        part = _from_text(piece, int(n[rows].sum()))
        if part is None:
            lines = piece.split(b"\n")[: len(rows)]
            fits = np.array([_NUMBERS.fullmatch(line) is not None for line in lines])
            clean[rows[~fits]] = False
            kept = [line for line, fit in zip(lines, fits, strict=True) if fit]
            part = _from_text(b"\n".join(kept), int(n[rows[fits]].sum()))
            assert part is not None
        parts.append(part)
    return np.concatenate(parts) if parts else np.zeros(0), clean


def _from_text(text: bytes, expected: int) -> NDArray[np.float64] | None:
    """Parse whitespace-separated numbers; None unless there are as many as expected."""
    if expected == 0:
        return np.zeros(0)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", DeprecationWarning)  # what was an error only from NumPy 2.3 on
            values = np.fromstring(text, dtype=np.float64, sep=" ")
    except (ValueError, DeprecationWarning):
        return None
    return values if len(values) == expected else None


def _outlines(
    values: NDArray[np.float64], first: NDArray[np.intp], count: NDArray[np.int64]
) -> tuple[NDArray[np.float64], NDArray[np.uint8]]:
    """Enclose the points of each row of seven numbers or more, and say what the rows look like where all are equally long."""
    hull = np.full((len(first), 4), np.nan)
    looks = np.zeros(len(first), np.uint8)
    long = np.flatnonzero(count >= 7)
    if not len(long):
        return hull, looks
    points = (count[long] - 1) // 2
    stop = np.cumsum(points)
    x_at = np.repeat(first[long] + 1, points) + 2 * (np.arange(stop[-1]) - np.repeat(stop - points, points))
    for axis in (0, 1):
        coordinate = values[x_at + axis]
        hull[long, axis] = np.minimum.reduceat(coordinate, stop - points)
        hull[long, axis + 2] = np.maximum.reduceat(coordinate, stop - points)
    n = int(count[long[0]])
    if (count[long] == n).all():
        looks[long] = _look(values[first[long][:, None] + np.arange(1, n)])
    return hull, looks


def _flaws(values: NDArray[np.float64], first: NDArray[np.intp], count: NDArray[np.int64]) -> NDArray[np.uint16]:
    """Tell what is wrong with the points of rows of seven numbers or more: an odd number of coordinates, sides that cross or differ."""
    flaws = np.zeros(len(first), np.uint16)
    flaws[(count >= 8) & (count % 2 == 0)] |= np.uint16(Flaw.ODD)
    quads = np.flatnonzero((count == 9) | (count == 10))
    if len(quads):
        points = values[first[quads][:, None] + np.arange(1, 9)].reshape(-1, 4, 2)
        flaws[quads[crossing(points[:, :, 0], points[:, :, 1])]] |= np.uint16(Flaw.CROSSING)
        with np.errstate(over="ignore", invalid="ignore"):
            side = np.roll(points, -1, axis=1) - points
            length = np.hypot(side[:, :, 0], side[:, :, 1])
            gap = np.hypot(*(side[:, 0] + side[:, 2]).T)
        flaws[quads[gap > 0.02 * length.max(axis=1)]] |= np.uint16(Flaw.NOT_RECTANGULAR)
    return flaws


def _look(rows: NDArray[np.float64]) -> NDArray[np.uint8]:
    """Tell of rows of equal length, given without their class, whether they look like poses or rectangles."""
    centre, size = rows[:, :2], rows[:, 2:4]
    inside_image = ((centre - size / 2 >= -0.01) & (centre + size / 2 <= 1.01) & (size > 0)).all(axis=1)
    looks = np.zeros(len(rows), np.uint8)
    rest = rows.shape[1] - 4
    for depth in (2, 3):
        if rest % depth or rest < depth:
            continue
        points = rows[:, 4:].reshape(len(rows), -1, depth)
        near = (np.abs(points[:, :, :2] - centre[:, None]) <= 0.55 * size[:, None]).all(axis=2)
        near |= (points[:, :, :2] == 0).all(axis=2)
        if depth == 3:
            near |= points[:, :, 2] == 0
            near &= np.isin(points[:, :, 2], (0.0, 1.0, 2.0))
        looks[near.all(axis=1) & inside_image] |= _LIKE_POSE
    if rows.shape[1] == 8:
        corners = rows.reshape(-1, 4, 2)
        side = np.roll(corners, -1, axis=1) - corners
        length = np.hypot(side[:, :, 0], side[:, :, 1])
        scale = np.maximum(length.max(axis=1), 1e-12)
        gap = np.hypot(*(side[:, 0] + side[:, 2]).T) / scale
        rectangle = (gap <= 0.01) & (length.min(axis=1) > 0)
        upright = rectangle & (np.abs(side).min(axis=2).max(axis=1) <= 1e-6)
        looks[rectangle] |= _LIKE_RECTANGLE
        looks[upright] |= _LIKE_UPRIGHT
    return looks


def _report_lines(
    blob: bytes,
    start: NDArray[np.intp],
    end: NDArray[np.intp],
    file: NDArray[np.intp],
    line: NDArray[np.intp],
    bad: NDArray[np.bool_],
    numbers: NDArray[np.intp],
    labels: list[str],
    image_of: list[str],
    problems: list[Problem],
) -> None:
    """Report the lines that are no rows: of each file the first ones with a reason, and beyond a limit the rest in one problem."""
    rows = np.flatnonzero(bad)
    if not len(rows):
        return
    of_file = file[rows]
    stop = np.append(np.flatnonzero(np.diff(of_file)) + 1, len(rows))
    begin = 0
    for finish in stop.tolist():
        number = int(numbers[of_file[begin]])
        name, image = labels[number], image_of[number]
        for at in range(begin, min(finish, begin + EXPLAINED_LINES)):
            row = rows[at]
            text = _why_no_row(blob[start[row] : min(end[row], start[row] + 4096)], bool(end[row] - start[row] > MAX_LINE_BYTES))
            problems.append(Problem("record-unreadable", Place(file=name, line=int(line[row]), image=image), text))
        unexplained = f"no label row; the first {EXPLAINED_LINES:,} such lines of this file say why"
        most = min(finish, begin + MAX_PROBLEMS_PER_FILE)
        for at in line[rows[begin + EXPLAINED_LINES : most]].tolist():
            problems.append(Problem("record-unreadable", Place(file=name, line=at, image=image), unexplained))
        if finish > most:
            at = int(line[rows[most]])
            more = f"{finish - most:,} more lines that are no rows"
            problems.append(Problem("record-unreadable", Place(file=name, line=at, image=image), more, count=finish - most))
        begin = finish


def _report_notation(
    buffer: NDArray[np.uint8],
    start: NDArray[np.intp],
    file: NDArray[np.intp],
    line: NDArray[np.intp],
    is_row: NDArray[np.bool_],
    numbers: NDArray[np.intp],
    labels: list[str],
    image_of: list[str],
    problems: list[Problem],
) -> None:
    """Report once a file that class numbers have a decimal point, and that numbers have an exponent: some readers refuse these."""
    pointed = np.zeros(len(start), bool)
    before = is_row.copy()
    for ahead in range(4):
        byte = buffer[np.minimum(start + ahead, len(buffer) - 1)]
        pointed |= before & (byte == ord(".")) & (ahead > 0)
        before &= ((byte >= ord("0")) & (byte <= ord("9"))) | ((byte == ord("-")) & (ahead == 0))
    exponent = np.zeros(len(start), bool)
    exponent[np.searchsorted(start, np.flatnonzero((buffer == ord("e")) | (buffer == ord("E"))), side="right") - 1] = True
    kinds: tuple[tuple[ProblemKind, NDArray[np.bool_], str], ...] = (
        ("class-number-float", pointed, "the class is written with a decimal point"),
        ("exponent-notation", exponent & is_row, "a number has an exponent, such as 1e-05"),
    )
    for kind, found, text in kinds:
        rows = np.flatnonzero(found)
        of_file, at, count = np.unique(file[rows], return_index=True, return_counts=True)
        for number, row, n in zip(numbers[of_file].tolist(), rows[at].tolist(), count.tolist(), strict=True):
            problems.append(Problem(kind, Place(file=labels[number], line=int(line[row]), image=image_of[number]), text, count=n))


def _why_no_row(line: bytes, too_long: bool) -> str:
    """Say why a line is no label row, with the beginning of the line."""
    tokens = line.split()
    wrong = next((at for at, token in enumerate(tokens) if not _NUMBERS.fullmatch(token)), None)
    if too_long:
        why = f"a line of more than {MAX_LINE_BYTES >> 20} MiB"
    elif wrong == 8 and len(tokens) in (9, 10):
        why = "a DOTA row (four corners in pixels, then a name)"
    elif wrong is not None and re.search(rb"[,;]", line):
        why = "numbers have to be separated by spaces"
    elif wrong is not None:
        why = "the class is not a number" if wrong == 0 else f"value {wrong + 1} is not a number"
    elif len(tokens) < 5:
        why = f"{len(tokens)} value{'s' if len(tokens) > 1 else ''}, a box needs 5"
    elif not float(tokens[0]).is_integer():
        why = "the class is not a whole number"
    else:
        why = "a number is too large"
    return f"{why}: {printable(line[:240].decode('utf-8', 'replace').strip())}"


def plain_lines(data: bytes) -> list[bytes]:
    """Split a label file into its lines, as `read_rows` numbers them."""
    if b"\0" in data or data[:3] == b"\xef\xbb\xbf":
        data = decode(data)[0].encode("utf-8", "replace")
    return data.replace(b"\r\n", b"\n").replace(b"\r", b"\n").split(b"\n")


def looks_like_rows(tree: Tree, name: str) -> bool | None:
    """Tell whether the first lines are label rows; None where the file is empty or cannot be read."""
    try:
        text, _ = decode(tree.read_bytes(name, 1 << 20))
    except Unreadable:
        return None
    lines = [line for line in text[: 1 << 16].split("\n") if line.strip()][:5]
    if not lines:
        return None
    return all(_NUMBERS.fullmatch(line.strip().encode()) and len(line.split()) >= 5 for line in lines)


def unopened(tree: Tree) -> dict[str, str]:
    """Name what the walk met and did not open, with the reason: a label file may be among it."""
    return {p.place.file: p.text for p in tree.problems if p.kind in ("special-file", "link-outside-dataset") and p.place.file}


def task_of(config: Config, rows: LabelRows, names: list[str]) -> tuple[Task, Geometry, str]:
    """Decide what rows of seven numbers or more are; the text says why.

    `task` and `kpt_shape` of the configuration decide; else the lengths: all equal and like a box with points inside it, a pose; all nine
    and turned rectangles, oriented boxes; else polygons.
    """
    long = rows.n >= 7
    total, many = len(rows.n), int(long.sum())
    if config.kpt_shape is not None or config.task == "pose":
        return "pose", Geometry.POSE, "kpt_shape" if config.kpt_shape else "task: pose"
    if config.task is not None:
        return config.task, Geometry.OBB if config.task == "obb" else Geometry.POLYGON, f"task: {config.task}"
    if not many:
        return "detect", Geometry.BOX, "all rows are boxes"
    if (rows.n[long] == rows.n[long][0]).all():
        n = int(rows.n[long][0])
        looks = rows.looks[long]
        share = [float(np.mean((looks & bit) > 0)) for bit in (_LIKE_POSE, _LIKE_RECTANGLE, _LIKE_UPRIGHT)]
        if n == 9 and ((share[1] >= 0.95 and share[2] < 1) or any("labelTxt" in name.split("/") for name in names[:1])):
            return "obb", Geometry.OBB, f"{many:,} rows of 9 numbers are turned rectangles"
        if share[0] >= 0.95 and share[1] < 0.95:
            return "pose", Geometry.POSE, f"{many:,} rows of {n} numbers are boxes with keypoints inside"
    if 2 * many >= total:
        return "segment", Geometry.POLYGON, f"{many:,} of {total:,} rows are polygons"
    return "detect", Geometry.POLYGON, f"{total - many:,} of {total:,} rows are boxes"


def check_keypoints(config: Config, rows: LabelRows, labels: list[str], problems: list[Problem]) -> None:
    """Report once that rows do not have the number of keypoints that `kpt_shape` declares."""
    if config.kpt_shape is None:
        return
    wanted = 5 + config.kpt_shape[0] * config.kpt_shape[1]
    wrong = np.flatnonzero((rows.n >= 7) & (rows.n != wanted) & (rows.n != wanted + 1))
    if len(wrong):
        place = Place(file=labels[rows.file[wrong[0]]], line=int(rows.line[wrong[0]]))
        text = f"{len(wrong):,} of {len(rows.n):,} rows have other than the {wanted} numbers of kpt_shape; the first has {rows.n[wrong[0]]}"
        problems.append(Problem("config-invalid", place, text))
