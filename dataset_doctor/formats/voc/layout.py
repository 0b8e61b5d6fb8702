"""Where the parts of a VOC dataset lie: annotation folders, the images beside them, and which XML file means which image.

Everything here follows from names in the tree and texts in the XML files; no file is opened.
"""

from __future__ import annotations

import posixpath
import re
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import lru_cache

from dataset_doctor.dataset import Place, Problem
from dataset_doctor.files.names import IMAGE_SUFFIXES, suffix
from dataset_doctor.files.splits import is_split_name
from dataset_doctor.files.tree import Tree
from dataset_doctor.formats.voc.xml import Records

ANNOTATION_FOLDERS = frozenset({"annotations", "annotation", "labels", "label", "xmls", "xml", "annots"})
IMAGE_FOLDERS = frozenset({"images", "image", "jpegimages", "data", "imgs", "img"})
_YEAR = re.compile(r"VOC(19|20)\d\d", re.IGNORECASE)


def base_folder(xml: str) -> str:
    """Give the folder that an XML file's relative stem starts from: its annotation folder, or else its own."""
    return _base_of_folder(posixpath.dirname(xml))


@lru_cache(maxsize=1024)
def _base_of_folder(folder: str) -> str:
    above = folder
    while above:
        if posixpath.basename(above).lower() in ANNOTATION_FOLDERS:
            return above
        above = posixpath.dirname(above)
    return folder


def unit_root(base: str) -> str:
    """Give the folder of the dataset that a base belongs to: above annotation folders, split folders and years."""
    while base:
        name = posixpath.basename(base)
        if name.lower() not in ANNOTATION_FOLDERS and not is_split_name(name) and not _YEAR.fullmatch(name):
            break
        base = posixpath.dirname(base)
    return base


def relative_stem(xml: str) -> str:
    """Name an annotation without its folder of annotations and its suffix."""
    base = base_folder(xml)
    return xml[len(base) + 1 if base else 0 : -len(".xml")]


def is_annotation_folder(folder: str) -> bool:
    """Tell whether a folder has one of the usual names of folders of annotations."""
    return posixpath.basename(folder).lower() in ANNOTATION_FOLDERS


@dataclass(slots=True)
class _Scope:
    """Image files that XML files of one base may mean.

    by_stem      path below the scope's folder, without suffix → images; `by_folded` the same whatever the case of letters
    by_basename  last component, with and without suffix → images
    whole        all of `images` belong to the dataset, not only those in the folders of images that are matched
    """

    folder: str
    images: Sequence[str]
    whole: bool
    by_stem: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    by_folded: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    by_basename: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))

    def __post_init__(self) -> None:
        skip = len(self.folder) + 1 if self.folder else 0
        for name in self.images:
            stem = posixpath.splitext(name)[0][skip:]
            self.by_stem[stem].append(name)
            self.by_folded[stem.casefold()].append(name)
            self.by_basename[posixpath.basename(name)].append(name)
            self.by_basename[posixpath.basename(stem)].append(name)


@dataclass(slots=True)
class Pairs:
    """For each XML file its image, or None, and the name an image would have; all images of the dataset; problems met."""

    image: list[str | None]
    expected: list[str]
    at_hand: list[str]
    problems: list[Problem]


class ImagePlaces:
    """Finds the images that the XML files of a base may mean; every listing is made once."""

    def __init__(self, tree: Tree) -> None:
        self.images = tree.images
        self.image_root = tree.image_root
        self.scopes: dict[tuple[str, str], _Scope] = {}
        self.named: dict[str, set[str]] = defaultdict(set)
        for folder in {posixpath.dirname(name) for name in tree.images}:
            while folder:
                above, name = posixpath.split(folder)
                if name.lower() in IMAGE_FOLDERS:
                    self.named[above].add(folder)
                folder = above

    def scope(self, folder: str, which: str) -> _Scope:
        """List the images "in" a folder, or anywhere "below" it (`whole`: all of them are the dataset's)."""
        key = (folder, which)
        if key not in self.scopes:
            start = bisect_left(self.images, folder + "/") if folder else 0
            stop = bisect_left(self.images, folder + "0") if folder else len(self.images)  # "0" follows "/"
            images: Sequence[str] = self.images[start:stop]
            if which == "in":
                skip = len(folder) + 1 if folder else 0
                images = [name for name in images if "/" not in name[skip:]]
            self.scopes[key] = _Scope(folder, images, whole=which != "below")
        return self.scopes[key]

    def levels(self, base: str) -> Iterator[list[_Scope]]:
        """List where the images of a base may lie, the likeliest first."""
        if self.image_root is not None:
            yield [self.scope(self.image_root, "whole")]
            return
        in_annotations = is_annotation_folder(base)
        yield [self.scope(base, "whole" if in_annotations else "in")]
        parent = posixpath.dirname(base) if in_annotations else base
        folder = base
        while True:
            yield [self.scope(child, "whole") for child in sorted(self.named[folder])] if folder in self.named else []
            if folder == parent:
                yield [self.scope(parent, "in")]
            if not folder:
                break
            folder = posixpath.dirname(folder)
        yield [self.scope(parent, "below")]

    def of_base(self, base: str, stems: Iterable[str], basenames: Iterable[str]) -> list[_Scope]:
        """Choose the first place that holds an image of the base; else a folder beside it that is named for images."""
        stems, basenames = list(stems), list(basenames)
        last_parts = [posixpath.basename(stem) for stem in stems]
        for level in self.levels(base):
            for scope in level:
                if (
                    any(stem in scope.by_stem for stem in stems)
                    or any(stem in scope.by_basename for stem in last_parts)
                    or any(name in scope.by_basename for name in basenames)
                ):
                    return level
        if self.image_root is not None:
            return [self.scope(self.image_root, "whole")]
        beside = {posixpath.dirname(base) if is_annotation_folder(base) else base, base}
        return [self.scope(child, "whole") for folder in sorted(beside) for child in sorted(self.named.get(folder, ()))]


def pair_images(places: ImagePlaces, xmls: Sequence[str], records: Records | None) -> Pairs:
    """Find the image of each XML file, by the names of the files alone where `records`, what they say, are None."""
    written = [("", "")] * len(xmls) if records is None else list(zip(records.filename, records.path, strict=True))
    rows_of_base: dict[str, list[int]] = defaultdict(list)
    for row, xml in enumerate(xmls):
        rows_of_base[base_folder(xml)].append(row)
    pairs = Pairs([None] * len(xmls), [""] * len(xmls), [], [])
    at_hand: set[str] = set()
    for base, rows in sorted(rows_of_base.items()):
        stems = [relative_stem(xmls[row]) for row in rows]
        scopes = places.of_base(base, stems, {name for row in rows for name in written[row] if name})
        folder = scopes[0].folder if scopes else posixpath.dirname(base) if is_annotation_folder(base) else base
        found_by_stem = [_by_stem(scopes, stem, xmls[row]) for row, stem in zip(rows, stems, strict=True)]
        taken = {name for found in found_by_stem for name in found}
        for row, stem, found in zip(rows, stems, found_by_stem, strict=True):
            filename = written[row][0]
            extension = posixpath.splitext(filename)[1] if suffix(filename) in IMAGE_SUFFIXES else ".jpg"
            pairs.expected[row] = (f"{folder}/{stem}" if folder else stem) + extension
            found = found or _by_last_part(scopes, stem, written[row], taken)
            if found:
                best = next((name for name in found if posixpath.basename(name) == filename), found[0])
                pairs.image[row] = best
                pairs.problems += _naming_problems(Place(file=xmls[row], image=best), found, filename)
        used = {posixpath.dirname(name) for row in rows if (name := pairs.image[row]) is not None}
        for scope in scopes:
            at_hand.update(name for name in scope.images if scope.whole or posixpath.dirname(name) in used)
    pairs.at_hand = sorted(at_hand)
    return pairs


def _naming_problems(place: Place, found: Sequence[str], filename: str) -> Iterator[Problem]:
    """Say where an XML file's stem or `<filename>` is no clear name of its image."""
    if len(found) > 1:
        shown = ", ".join(found[:4])
        yield Problem("stem-collision", place, f"{len(found):,} images have this name: {shown}")
    image = posixpath.basename(place.image or "")
    if filename and filename not in (image, posixpath.splitext(image)[0]):
        yield Problem("filename-mismatch", place, f"<filename> is {filename[:80]!r}, the image is {image!r}")


def _by_stem(scopes: list[_Scope], stem: str, xml: str) -> list[str]:
    """List the images with the relative stem of an XML file, whatever the case of letters where none has it exactly."""
    exact = [name for scope in scopes for name in scope.by_stem.get(stem, ())]
    if exact:
        return exact
    whole = xml[: -len(".xml")].casefold()
    return [name for scope in scopes for key in dict.fromkeys((stem.casefold(), whole)) for name in scope.by_folded.get(key, ())]


def _by_last_part(scopes: list[_Scope], stem: str, written: Sequence[str], taken: set[str]) -> list[str]:
    """List the images in any folder that an XML file means by `<filename>`, else by `<path>`, else by its stem.

    An image that another XML file has by its stem is meant only where no folders could have kept the two apart.
    """
    for name in (*written, posixpath.basename(stem)):
        if name:
            found = [image for scope in scopes for image in scope.by_basename.get(name, ())]
            found = [image for image in found if image not in taken or "/" not in stem]
            if found:
                return found
    return []
