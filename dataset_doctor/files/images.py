"""Bringing the pictures of a dataset: those that are files as they are, and those that a plan makes anew as they are made.

Made pictures are written on all cores, since OpenCV lets other threads run. Which thread makes which picture changes no byte.
"""

from __future__ import annotations

import io
import os
from collections import deque
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dataset_doctor.dataset import Dataset, Rows
from dataset_doctor.errors import DoctorError
from dataset_doctor.files.names import suffix
from dataset_doctor.files.output import Materialize, Stage
from dataset_doctor.files.processes import processors
from dataset_doctor.files.progress import Progress, silent
from dataset_doctor.files.reading import Unreadable, read_regular, reason
from dataset_doctor.files.sizes import header_size
from dataset_doctor.recipes import Picture, Recipe, made

MAX_FILE_BYTES = 256 << 20
"""Largest file that is decoded; the scan looks into no larger one either."""

MAX_PIXELS = 200_000_000
"""Largest picture that is decoded: a small file may hold one that fills the memory."""

QUALITY = 95
"""Of JPEG, WebP and AVIF, of 100."""

_JPEG, _WEBP = (".jpg", ".jpeg", ".jpe", ".jfif"), (".webp",)
_BY_OPENCV = (*_JPEG, *_WEBP, ".png", ".bmp", ".dib", ".tif", ".tiff", ".ppm", ".pgm", ".pnm")
_BY_PILLOW = {".jp2": "JPEG2000", ".avif": "AVIF"}
_SEVERAL_FRAMES = (".png", ".webp", ".tif", ".tiff", ".avif")
_JPEG_MAGIC = b"\xff\xd8\xff"
TRIED = 16
"""Pictures that are encoded to guess how large all are."""

_AHEAD = 4
"""Pictures a core that may wait to be written."""


def bring(
    dataset: Dataset, rows: Sequence[int], places: Sequence[str], stage: Stage, materialize: Materialize, progress: Progress = silent
) -> None:
    """Bring the pictures of some images into a new dataset.

    Args:
        dataset: What is written.
        rows: Image rows; one may come several times.
        places: Where each goes, relative to the new root.
        stage: The folder that is being written.
        materialize: How files are brought; what is made anew becomes a file in any case.
        progress: Called now and then.

    Raises:
        OutputRefused: as `Stage.place`.
        DoctorError: a picture has changed since it was planned.
    """
    is_made, names = dataset.is_made, dataset.images.file_name
    files = [(names[row], place) for row, place in zip(rows, places, strict=True) if not is_made[row]]
    stage.place([source for source, _ in files], [place for _, place in files], materialize, progress)
    if dataset.made is not None:
        recipes, of_row = dataset.made.recipes, dataset.made.recipe
        _make([(recipes[of_row[row]], place) for row, place in zip(rows, places, strict=True) if is_made[row]], stage, progress)


def made_bytes(dataset: Dataset) -> NDArray[np.float64]:
    """Guess how many bytes each made image will take, as a multiple of its source's file; 1 for those that are files.

    Only encoding a picture tells, so that is done with some that are spread over all.
    """
    times = np.ones(dataset.n_images)
    if dataset.made is not None:
        rows = np.flatnonzero(dataset.is_made & dataset.images.has_file)
        tried = rows[np.unique(np.linspace(0, max(len(rows) - 1, 0), min(TRIED, len(rows))).astype(int))]
        names: list[str] = dataset.images.file_name[tried].tolist()
        recipes = [dataset.made.recipes[row] for row in dataset.made.recipe[tried].tolist()]
        with ThreadPoolExecutor(processors()) as pool:
            after = sum(map(len, pool.map(lambda recipe, name: _encoded(recipe, name, dataset.root), recipes, names)))
        try:
            before = sum(os.stat(os.path.join(dataset.root, name)).st_size for name in names)  # noqa: PTH116
        except OSError as error:
            raise DoctorError(f"An image can no longer be read: {reason(error)}.", "Nothing was written.") from error
        times[rows] = after / before if before else 1.0
    return times


def _make(pictures: Sequence[tuple[Recipe, str]], stage: Stage, progress: Progress) -> None:
    import cv2

    waiting: deque[Future[None]] = deque()
    cores = processors()
    before = cv2.getNumThreads()
    cv2.setNumThreads(1)  # one picture a core is quicker than all cores on each
    with ThreadPoolExecutor(cores) as pool:
        try:
            for number, (recipe, place) in enumerate(pictures):
                waiting.append(pool.submit(_write, recipe, place, stage))
                if len(waiting) >= _AHEAD * cores:
                    waiting.popleft().result()
                if number % 16 == 0:
                    progress("making images", number, len(pictures))
            while waiting:
                waiting.popleft().result()
        finally:
            pool.shutdown(cancel_futures=True)
            cv2.setNumThreads(before)


def _write(recipe: Recipe, place: str, stage: Stage) -> None:
    stage.write(place, _encoded(recipe, place, stage.source))


def _encoded(recipe: Recipe, place: str, root: Path) -> bytes:
    """Make a picture and encode it for its place; one made of a grey picture is grey."""
    was_grey = False

    def read(name: str) -> Picture:
        nonlocal was_grey
        picture, is_grey = read_picture(root, name)
        was_grey = is_grey if name == recipe.picture else was_grey
        return picture

    picture = made(recipe, read)
    return encoded(picture, suffix(place), is_grey=was_grey and not recipe.pastes)


def read_picture(root: str | os.PathLike[str], name: str) -> tuple[Picture, bool]:
    """Read a picture, and tell whether its file has one channel of grey.

    Args:
        root: The root of the dataset.
        name: Path of the picture relative to it.

    Raises:
        DoctorError: the file is gone or cannot be decoded.
    """
    import cv2

    try:
        data = np.frombuffer(read_regular(os.path.join(root, name), MAX_FILE_BYTES), np.uint8)
    except Unreadable as error:
        raise DoctorError(f"{name} can no longer be read: {error}.", "Nothing was written.") from error
    found = decoded(data, cv2.IMREAD_ANYCOLOR)
    if found is None:
        return _read_by_pillow(data.tobytes(), name), False
    if found.ndim == 2:
        return np.asarray(cv2.cvtColor(found, cv2.COLOR_GRAY2RGB), np.uint8), True
    return np.asarray(cv2.cvtColor(found, cv2.COLOR_BGR2RGB, dst=found), np.uint8), False  # in place: new memory is slow


def _read_by_pillow(data: bytes, name: str) -> Picture:
    from PIL import Image, ImageOps

    try:
        with Image.open(io.BytesIO(data)) as file:
            if file.width * file.height > MAX_PIXELS:
                raise ValueError(f"{file.width} × {file.height} pixels")
            return np.asarray(ImageOps.exif_transpose(file).convert("RGB"), np.uint8)
    except Exception as error:  # Pillow raises whatever its decoders do
        raise DoctorError(f"{name} can no longer be decoded.", "Read the dataset again; nothing was written.") from error


def encoded(picture: Picture, end: str, *, is_grey: bool = False) -> bytes:
    """Write a picture as the suffix of its file says: without loss where the format is without, else at a quality of 95 of 100.

    Args:
        picture: What to write.
        end: The suffix, lower case, with the dot.
        is_grey: Whether to write one channel.
    """
    import cv2

    if end in _BY_PILLOW:
        from PIL import Image

        buffer = io.BytesIO()
        image = Image.fromarray(picture)
        (image.convert("L") if is_grey else image).save(buffer, _BY_PILLOW[end], **({"quality": QUALITY} if end == ".avif" else {}))
        return buffer.getvalue()
    options = []
    if end in _JPEG:
        end, options = ".jpg", [cv2.IMWRITE_JPEG_QUALITY, QUALITY]
    elif end in _WEBP:
        options = [cv2.IMWRITE_WEBP_QUALITY, QUALITY]
    elif end in (".ppm", ".pgm", ".pnm"):
        end = ".pgm" if is_grey else ".ppm"
    done, data = cv2.imencode(end, cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY if is_grey else cv2.COLOR_RGB2BGR), options)
    assert done
    return data.tobytes()


# What can be made anew ------------------------------------------------------------------------------------------------


def unalterable(dataset: Dataset, rows: Rows, progress: Progress = silent) -> dict[int, str]:
    """Name images that nothing can be made of, and why: "is animated", "cannot be decoded" and the like.

    Args:
        dataset: What `read` gave.
        rows: Image rows to look at; their files are decoded, at an eighth of the size where the format allows.
        progress: Called now and then.

    Returns:
        The reason, by image row; none for those that can be altered.
    """
    images = dataset.images
    declared = np.stack([images.width, images.height], axis=1)[rows]
    there = np.stack([images.file_width, images.file_height], axis=1)[rows]
    reasons: dict[int, str] = {}
    looked: list[int] = []
    for row, has_file, name, wanted, size in zip(
        rows.tolist(), images.has_file[rows].tolist(), images.file_name[rows].tolist(), declared.tolist(), there.tolist(), strict=True
    ):
        if not has_file:
            reasons[row] = "is missing"
        elif suffix(name) not in _BY_OPENCV and suffix(name) not in _BY_PILLOW:
            reasons[row] = f"is of a kind that is not written ({suffix(name)})"
        elif min(size) <= 0:
            reasons[row] = "has no readable size"
        elif size[0] * size[1] > MAX_PIXELS:
            reasons[row] = f"has more than {MAX_PIXELS / 1e6:,.0f} megapixels"
        elif min(wanted) > 0 and wanted != size:
            reasons[row] = "has another size than its labels say"
        else:
            looked.append(row)
    sizes = dict(
        zip(images.file_name[looked].tolist(), zip(images.file_width[looked], images.file_height[looked], strict=True), strict=True)
    )
    with ThreadPoolExecutor() as pool:
        told = dict(zip(sizes, pool.map(lambda name: _reason(dataset.root, name, sizes[name]), sizes), strict=True))
    progress("looking at images", len(looked), len(looked))
    return reasons | {row: why for row in looked if (why := told[images.file_name[row]])}


def _reason(root: Path, name: str, size: tuple[int, int]) -> str:
    """Say why an image cannot be altered; empty where it can."""
    import cv2

    end = suffix(name)
    try:
        data = np.frombuffer(read_regular(os.path.join(root, name), MAX_FILE_BYTES), np.uint8)
    except Unreadable:
        return "cannot be read"
    if data[:3].tobytes() == _JPEG_MAGIC:
        small = decoded(data, cv2.IMREAD_REDUCED_GRAYSCALE_8)
        return "cannot be decoded" if small is None else ""
    if end in _BY_PILLOW:
        return _reason_by_pillow(data.tobytes(), end)
    found = decoded(data, cv2.IMREAD_ANYCOLOR | cv2.IMREAD_ANYDEPTH)
    if found is None:
        return "cannot be decoded"
    if found.dtype != np.uint8:
        return "has more than 8 bits a channel"
    if found.shape[1::-1] != size:
        return "is turned by OpenCV in another way than its header says"
    return _reason_by_pillow(data.tobytes(), end) if end in _SEVERAL_FRAMES else ""


def _reason_by_pillow(data: bytes, end: str) -> str:
    from PIL import Image

    try:
        with Image.open(io.BytesIO(data)) as file:
            if getattr(file, "n_frames", 1) > 1:
                return "is animated"
            if end in _BY_PILLOW:
                file.load()
    except Exception:  # Pillow raises whatever its decoders do
        return "cannot be decoded"
    return "" if end not in _BY_PILLOW or _BY_PILLOW[end] in Image.SAVE else f"is of a kind that is not written ({end})"


def decoded(data: NDArray[np.uint8], flags: int) -> Any:
    """Decode a picture with OpenCV; None where it cannot, or where the picture is larger than MAX_PIXELS.

    Args:
        data: The bytes of its file.
        flags: Of `cv2.imdecode`.
    """
    import cv2

    try:
        width, height = header_size(lambda start, length: data[start : start + length].tobytes())
        return cv2.imdecode(data, flags) if width * height <= MAX_PIXELS else None
    except (Unreadable, cv2.error):
        return None
