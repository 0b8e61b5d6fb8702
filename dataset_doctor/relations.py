"""Which images belong together, as files, pictures and names tell.

The checks for leakage flag images that belong together and lie in different splits; `split` puts images that belong together into one
split. Both ask here, so that they cannot disagree.

Names are weak evidence. `image_1.jpg` may be any picture, and so may `-_-.jpg`; `000000123456.jpg` is one. What a name tells depends on how
many names like it there could be, so its letters and digits are counted (`information`).
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dataset_doctor.dataset import Dataset
from dataset_doctor.files.splits import is_split_name
from dataset_doctor.formats import format_of

Labels = NDArray[np.intp]
"""One number an image: those with the same number belong together; -1 belongs to nothing."""

# What names tell ----------------------------------------------------------------------------------------------------

NOTHING, LIKELY, SURE = 0, 1, 2
"""How sure it is that two images with a name in common show one picture."""

LIKELY_CHARACTERS, SURE_CHARACTERS, SURE_DIGITS, CAMERA_DIGITS = 4, 8, 6, 4

_INDEX_WORDS = frozenset(
    "image images img imgs im picture pictures pic pics photo photos foto fotos frame frames file files download downloads unnamed"  # noqa: SIM905
    " untitled screenshot screen shot index default thumb thumbnail sample samples data dataset train training val valid validation test"
    " testing video videos vid clip movie mov mp avi youtube cam camera seq sequence jpg jpeg png bmp webp tif tiff copy new no".split()
)
"""Words that stand before a number in the names of pictures of every kind."""

_WORDS = re.compile(r"([^\W\d_]+)|(\d+)")
_CAMERA = re.compile(r"(?:img|dsc[nf]?|dji|gopr|pxl|mvimg|sam|cimg|pict)[-_ ]?\d{4,}", re.IGNORECASE)


def information(name: str) -> int:
    """Tell how surely a name is that of one picture: NOTHING, LIKELY or SURE.

    Letters of words that are no mere counters and digits without leading zeros count. What cameras count with four digits may meet another
    camera's.

    >>> [information(name) for name in ("-_-", "image_0012", "(1)", "IMG_2301", "cat_12", "000000123456", "sunset-over-oslo")]
    [0, 0, 0, 1, 1, 2, 2]
    """
    found = _WORDS.findall(name)
    digits = [number.lstrip("0") for _, number in found if number]
    letters = sum(len(word) for word, _ in found if word.lower() not in _INDEX_WORDS)
    count = letters + sum(map(len, digits))
    if count >= SURE_CHARACTERS or max(map(len, digits), default=0) >= SURE_DIGITS:
        return LIKELY if _CAMERA.fullmatch(name) else SURE
    return LIKELY if count >= LIKELY_CHARACTERS or _CAMERA.fullmatch(name) else NOTHING


PLAIN_NUMBER = re.compile(r"[^\W\d]{0,20}[-_ ]?\(?\d{0,16}\)?")
GENERIC = re.compile(r"[^\W\d]{0,20}[-_ ]?\(?\d{0,3}\)?")


def stems_of(names: Iterable[str]) -> list[str]:
    """Give the file names without folder and suffix."""
    return [name.rpartition("/")[2].rpartition(".")[0] for name in names]


def _mentions(texts: Sequence[str], hints: Sequence[str]) -> bool:
    """Tell whether any text holds any of the words, which one search through all of them says fastest."""
    text = "\n".join(texts).lower()
    return any(hint in text for hint in hints)


def _numbered(keys: Iterable[object]) -> Labels:
    """Give each key a number, None -1."""
    number: dict[object, int] = {}
    return np.array([-1 if key is None else number.setdefault(key, len(number)) for key in keys], np.intp)


# Copies of one source -----------------------------------------------------------------------------------------------

_WORDS_OF_COPIES = r"tile|patch|aug(?:mented)?|[hv]?flip(?:ped)?|mirror(?:ed)?|rot(?:ated?)?|blur(?:red)?|noisy?|noise|copy|dup"
_DERIVED = re.compile(
    r"(?:__[\d.]+__\d+_{2,3}\d+"  # a tile as DOTA's tools name it: scale and corner
    rf"|(?: -)?[-_ ](?:{_WORDS_OF_COPIES})(?:[-_]?\d{{1,3}}(?:[-_]\d+)?)?(?: \(\d+\))?)$",
    re.IGNORECASE,
)
_DERIVED_HINTS = ("__", "tile", "patch", "aug", "flip", "mirror", "rot", "blur", "nois", "copy", "dup")
_OTHER_MONTH = re.compile(r"[-_ \d](?:jan|feb|mar|apr|jun|jul|sept?|oct|nov|dec)(?:[-_ \d]|$)", re.IGNORECASE)
_AUGUST = re.compile(r"[-_ ]aug[-_]?\d*$", re.IGNORECASE)
_EXPORTED_SUFFIX = re.compile(r"_(?:jpe?g|png|bmp|webp|tiff?)$", re.IGNORECASE)


def without_export(stem: str) -> str:
    """Take off what Roboflow adds to a name: `.rf.` with a hash, and the old suffix.

    >>> without_export("IMG_7_jpg.rf.0a1b2c3d4e"), without_export("IMG_7")
    ('IMG_7', 'IMG_7')
    """
    before, mark, _ = stem.rpartition(".rf.")
    return _EXPORTED_SUFFIX.sub("", before) if mark else stem


def sources_by_name(stems: list[str]) -> list[str]:
    """Give for each stem that of the picture it was made from, as its name tells; the list itself where none was made from another.

    >>> sources_by_name(["IMG_7_flip", "IMG_7_jpg.rf.0a1b2c3d4e", "IMG_7 - Copy (2)", "crop_flip", "12-aug-2021"])
    ['IMG_7', 'IMG_7', 'IMG_7', 'crop_flip', '12-aug-2021']
    """
    bare = [without_export(stem) for stem in stems] if _mentions(stems, (".rf.",)) else stems
    if _mentions(bare, _DERIVED_HINTS):
        has_months = any(_OTHER_MONTH.search(stem) for stem in bare) if _mentions(bare, ("aug",)) else False
        for row, stem in enumerate(bare):
            found = _DERIVED.search(stem)
            # Of a name without a number, such as crop_flip, nothing tells which picture it is; and aug_15 may be a day.
            if found and any(c.isdigit() for c in stem[: found.start()]) and not (has_months and _AUGUST.search(stem)):
                if bare is stems:
                    bare = stems.copy()
                bare[row] = stem[: found.start()]
    return bare


@dataclass(frozen=True, slots=True)
class Sources:
    """Which images were made from one picture, by their names: exports, flipped and turned copies, tiles.

    label     images made from one picture, wherever they lie
    is_sure   bool, one an image: its name is that of one picture for certain
    beside    images in one folder whose names say the same, but that elsewhere may be those of other pictures (1_flip and 1)
    """

    label: Labels
    is_sure: NDArray[np.bool_]
    beside: Labels


def sources(dataset: Dataset, names: Sequence[str] | None = None) -> Sources:
    """Find the images that were made from one picture.

    Args:
        dataset: The dataset.
        names: Paths of the images; by default those that they have.
    """
    paths: list[str] = dataset.images.file_name.tolist() if names is None else list(names)
    stems = stems_of(paths)
    bare = sources_by_name(stems)
    n = len(stems)
    label, beside, is_sure = np.full(n, -1, np.intp), np.full(n, -1, np.intp), np.zeros(n, bool)
    if bare is stems:
        return Sources(label, is_sure, beside)
    groups: dict[str, list[int]] = defaultdict(list)
    for row, source in enumerate(bare):
        groups[source].append(row)
    folders: dict[tuple[str, str], int] = {}
    for number, (source, rows) in enumerate(groups.items()):
        if len(rows) < 2 or not any(c.isalnum() for c in source) or all(bare[row] == stems[row] for row in rows):
            continue
        if any(bare[row] != without_export(stems[row]) for row in rows):
            # A flipped copy is one of the picture that has its name, unless several have it.
            originals = {paths[row] for row in rows if stems[row] == source}
            told = NOTHING if len(originals) > 1 else LIKELY if GENERIC.fullmatch(source) else SURE
        else:
            told = information(source)
        if told:
            label[rows], is_sure[rows] = number, told == SURE
        for row in rows:
            beside[row] = folders.setdefault((paths[row].rpartition("/")[0], source), len(folders))
    return Sources(label, is_sure, beside)


def same_names(dataset: Dataset, names: Sequence[str] | None = None) -> Labels:
    """Find the images of one name in several folders, where the name is no mere number."""
    paths: list[str] = dataset.images.file_name.tolist() if names is None else list(names)
    stems = stems_of(paths)
    if len(set(stems)) == len(stems):
        return np.full(len(stems), -1, np.intp)
    return _numbered(None if PLAIN_NUMBER.fullmatch(stem) else stem for stem in stems)


# Frames of one video ------------------------------------------------------------------------------------------------

_VIDEO_WORD = re.compile(r"(?:^|[^a-z])(?:(frames?|frm)|video|vid|clip|movie|mov|mp4|avi|seq|sequence|cam|camera)(?![a-z])")
_VIDEO_HINTS = ("frame", "frm", "vid", "clip", "mov", "mp4", "avi", "seq", "cam")
_NUMBER_AT_END = re.compile(r"[-_ .]?(\d{1,9})$")
_OF_LAYOUT = frozenset({"images", "jpegimages", "labels", "annotations", ""})

LEAST_FRAMES = 3
REGULAR = 3.0
GAP = 10
"""Numbers are those of frames if half of their gaps are at most GAP, or if the gaps' upper quartile is at most REGULAR times the lower; of
random numbers it is 4.8 times."""
ONE_SIZE = 0.9
"""Share of the frames that have the size most have, at least."""


@dataclass(frozen=True, slots=True, eq=False)
class Video:
    """Images that look like frames of one video: what their names begin with, their rows, and their numbers, ascending."""

    name: str
    rows: NDArray[np.intp]
    numbers: NDArray[np.int64]


def videos(dataset: Dataset, names: Sequence[str] | None = None) -> list[Video]:
    """Find the frames of videos, by names that begin alike, speak of a video, and end in numbers that follow one another.

    Frames have one size. The folder tells videos apart where the names in several folders begin alike and have the same numbers, and it
    may be what speaks of a video (`cam1/0001.jpg`).

    Args:
        dataset: The dataset.
        names: Paths of the images; by default those that they have.
    """
    paths: list[str] = dataset.images.file_name.tolist() if names is None else list(names)
    if not _mentions(paths, _VIDEO_HINTS):
        return []
    began: dict[tuple[str, str], list[tuple[int, int, str]]] = defaultdict(list)
    home_of: dict[str, tuple[str, str]] = {}
    for row, path in enumerate(paths):
        folder, _, file = path.rpartition("/")
        stem = without_export(file.rpartition(".")[0])
        if not (number := _NUMBER_AT_END.search(stem)):
            continue
        if folder not in home_of:
            home_of[folder] = _home(folder, format_of(dataset).class_folders)
        home, class_folder = home_of[folder]
        prefix = stem[: number.start()]
        # Where the stem is a number alone, the folder is the name.
        key = (class_folder, prefix) if prefix else (class_folder, f"{home}/")
        began[key].append((int(number[1]), row, home))
    return [
        Video(key[1], np.array([row for _, row, _ in members], np.intp), np.array([number for number, _, _ in members], np.int64))
        for key, found in began.items()
        for members in _by_folder(found)
        if _is_video(dataset, key[1], members)
    ]


def _home(folder: str, is_class: bool) -> tuple[str, str]:
    """Give the folder of an image without the parts that name a split or belong to a layout; and the class folder, where there is one."""
    parts = folder.split("/")
    last = parts.pop() if is_class else ""
    return "/".join(part for part in parts if part.lower() not in _OF_LAYOUT and not is_split_name(part)), last


def _by_folder(found: list[tuple[int, int, str]]) -> Iterator[list[tuple[int, int, str]]]:
    """Take what lies in several folders for one video, unless most numbers of one of them are in another as well."""
    of_folder: dict[str, list[tuple[int, int, str]]] = defaultdict(list)
    for frame in found:
        of_folder[frame[2]].append(frame)
    seen: set[int] = set()
    shared = 0
    for members in of_folder.values():
        numbers = {number for number, _, _ in members}
        shared += len(seen & numbers)
        seen |= numbers
    if len(of_folder) > 1 and 2 * shared >= min(len(members) for members in of_folder.values()):
        yield from map(sorted, of_folder.values())
    else:
        yield sorted(found)


def _is_video(dataset: Dataset, name: str, members: list[tuple[int, int, str]]) -> bool:
    word = _VIDEO_WORD.search(name.lower())
    # frame_7 is a frame; clip_7 may be the seventh clip, so that clip needs a number of its own, and so does a folder.
    if len(members) < LEAST_FRAMES or word is None or not ((word[1] and not name.endswith("/")) or any(c.isdigit() for c in name)):
        return False
    gaps = np.diff(np.unique([number for number, _, _ in members]))
    if len(gaps) < LEAST_FRAMES - 1:
        return False
    low, middle, high = np.quantile(gaps, (0.25, 0.5, 0.75))
    if middle > GAP and high > REGULAR * low:
        return False
    images = dataset.images
    rows = [row for _, row, _ in members]
    sizes = np.stack([images.file_width[rows], images.file_height[rows]], axis=1)
    sizes = sizes[(sizes > 0).all(axis=1)]
    return not len(sizes) or np.unique(sizes, axis=0, return_counts=True)[1].max() >= ONE_SIZE * len(sizes)
