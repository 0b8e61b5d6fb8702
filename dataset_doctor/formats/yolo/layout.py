"""Where the files of a YOLO dataset lie: which images it has, which splits they are in and which label file belongs to each.

Names are resolved against what the walk listed, never against the disk: as written, then from the configuration's folder and its
parents, then by the longest tail that is known.
"""

from __future__ import annotations

import bisect
import itertools
import posixpath
import re
from collections import Counter, defaultdict
from dataclasses import dataclass, field

from dataset_doctor.dataset import WHOLE_SPLIT, Place, Problem, ProblemKind
from dataset_doctor.files.names import IMAGE_SUFFIXES, LONGEST_PATH, MAX_DEPTH, is_absolute, normalise, suffix
from dataset_doctor.files.reading import Unreadable, decode
from dataset_doctor.files.splits import canonical_split, is_split_name
from dataset_doctor.files.tree import Tree
from dataset_doctor.formats.format import Candidate
from dataset_doctor.formats.personal import personal_data
from dataset_doctor.formats.yolo.config import Config, names_images, printable
from dataset_doctor.formats.yolo.rows import looks_like_rows, unopened

LABEL_FOLDERS = frozenset({"labels", "label", "labeltxt"})
PREDICTIONS = re.compile(r"(?:^|/)(?:runs/|(?:predict|predictions)\d*/labels/)")
_NOT_LABELS = re.compile(
    r"(classes|class_names|labels|names|obj|predefined_classes|labelmap|requirements.*|readme.*|licen[cs]e.*|notes?|changelog.*"
    r"|(train|training|trn|val|valid|validation|dev|test|testing|tst)([-_ ]?(19|20)\d\d)?)\.txt",
    re.IGNORECASE,
)
_SPLIT_ORDER = ("train", "val", "test")


def in_label_folder(name: str) -> bool:
    """Tell whether one of a file's folders is named as those of label files are."""
    return any(part.casefold() in LABEL_FOLDERS for part in name.split("/")[:-1])


def _label_folders(folder: str) -> list[str]:
    """List the folders that may hold the labels of the images in a folder, the likeliest first.

    >>> _label_folders("images/train"), _label_folders("train/pictures")
    (['labels/train', 'labelTxt/train', 'images/train/labels', 'images/train'], ['train/pictures/labels', 'train/labels', 'train/pictures'])
    """
    found = []
    for images, labels in (("images", "labels"), ("images", "labelTxt"), ("JPEGImages", "labels")):
        before, middle, after = f"/{folder}/".rpartition(f"/{images}/")
        if middle:
            found.append(f"{before}/{labels}/{after}".strip("/"))
    siblings = [posixpath.join(folder, "labels")] + ([posixpath.join(posixpath.dirname(folder), "labels")] if folder and not found else [])
    return list(dict.fromkeys([*found, *siblings, folder]))


def _image_of(label: str) -> str:
    """Guess the image that a label file describes.

    >>> _image_of("labels/train/a.txt"), _image_of("a.txt")
    ('images/train/a.jpg', 'a.jpg')
    """
    before, middle, after = f"/{label}".rpartition("/labels/")
    name = f"{before}/images/{after}" if middle else label
    return posixpath.splitext(name)[0].lstrip("/") + ".jpg"


@dataclass(slots=True)
class Scope:
    """The files among which names are looked up.

    prefix       what their names begin with: the dataset's folder with `/`, "" for the root
    images       image files, sorted; where there is none at all (`labels_only`), the images that the label files would describe
    texts        files that may be label files
    left_out     how many were left out because they look like predictions
    known        the images again
    folders      those that hold images, at any depth
    """

    tree: Tree
    prefix: str
    images: list[str]
    texts: frozenset[str]
    labels_only: bool
    left_out: int
    known: frozenset[str] = frozenset()
    folders: frozenset[str] = frozenset()
    _mapped: dict[str, list[str]] = field(default_factory=dict)

    @classmethod
    def of(cls, tree: Tree, root: str) -> Scope:
        """Take the files below a folder, and those of the image folder; predictions stay out where anything else is there."""
        prefix = f"{root}/" if root else ""
        image_prefix = f"{tree.image_root}/" if tree.image_root else ""
        places = (prefix, image_prefix) if image_prefix else prefix
        images = [image for image in tree.images if image.startswith(places)]
        texts = [name for name in tree.with_suffix(".txt") if name.startswith(places)]
        texts += [name for name in unopened(tree) if name.endswith(".txt") and name.startswith(prefix)]
        folders_of = ({name.rpartition("/")[0] for name in names} for names in (images, texts))
        predicted = {folder for folder in set().union(*folders_of) if PREDICTIONS.search(f"{folder}/"[len(prefix) :])}
        kept_images = [image for image in images if image.rpartition("/")[0] not in predicted] if predicted else images
        kept_texts = [name for name in texts if name.rpartition("/")[0] not in predicted] if predicted else texts
        left_out = len(texts) - len(kept_texts) if kept_images or kept_texts else 0
        if kept_images or kept_texts:
            images, texts = kept_images, kept_texts
        scope = cls(tree, prefix, images, frozenset(texts), not images, left_out)
        if not images:
            partners = (name for name in texts if not scope.is_no_label(name))
            scope.images = sorted({_image_of(name) for name in partners})
        scope.known = frozenset(scope.images)
        folders = {""}
        for folder in {image.rpartition("/")[0] for image in scope.images}:
            while folder not in folders:
                folders.add(folder)
                folder = posixpath.dirname(folder)
        scope.folders = frozenset(folders)
        return scope

    def is_no_label(self, name: str) -> bool:
        """Tell whether a text file is something else by its name; with rows of numbers in it, it is a label file after all."""
        if not _NOT_LABELS.fullmatch(name[name.rfind("/") + 1 :]):
            return False
        return not looks_like_rows(self.tree, name)

    def label_of(self, image: str) -> str | None:
        """Find the label file of an image by the label path rule."""
        folder, _, base = image.rpartition("/")
        stem = base[: base.rfind(".")] if "." in base else base
        mapped = self._mapped.get(folder)
        if mapped is None:
            mapped = self._mapped[folder] = [f"{place}/" if place else "" for place in _label_folders(folder)]
        for place in mapped:
            name = f"{place}{stem}.txt"
            if name in self.texts and (not self.is_no_label(name) or (in_label_folder(name) and looks_like_rows(self.tree, name) is None)):
                return name
        return None

    def folder(self, entry: str, bases: list[str]) -> str | None:
        """Find the folder of images that a configuration means."""
        return resolve(entry, bases, self.folders)

    def below(self, folder: str) -> list[str]:
        """List the images below a folder."""
        if not folder:
            return self.images
        start = bisect.bisect_left(self.images, f"{folder}/")
        return self.images[start : bisect.bisect_left(self.images, f"{folder}0")]


def resolve(entry: str, bases: list[str], known: frozenset[str]) -> str | None:
    """Find the listed name that a path means: from each base as written and without leading `..`, then by its longest known tail."""
    if len(entry) > LONGEST_PATH:
        return None
    written = entry.replace("\\", "/").rstrip("/")
    bare = re.sub(r"^(?:\.{0,2}/)+", "", written)
    if not is_absolute(written):
        for base in bases:
            for text in dict.fromkeys((written or ".", bare or ".")):
                name = normalise(text, base)
                if name is not None and name in known:
                    return name
    return next((tail for tail in _tails(written) if tail in known), None)


def base_folders(config: Config, scope: Scope) -> list[str]:
    """List the folders that paths in a configuration may be relative to, in the order to try."""
    bases: list[str] = []
    folder = posixpath.dirname(config.file) if config.file else scope.prefix.rstrip("/")
    if config.path is not None:
        written = None if is_absolute(config.path) else normalise(config.path, folder)
        tail = next((tail for tail in _tails(config.path.replace("\\", "/")) if tail in scope.folders), None)
        bases += [base for base in (written, tail) if base is not None]
    if scope.tree.image_root is not None:
        bases += [scope.tree.image_root]
    while True:
        bases.append(folder)
        if not folder or folder == scope.prefix.rstrip("/"):
            break
        folder = posixpath.dirname(folder)
    return list(dict.fromkeys([*bases, scope.prefix.rstrip("/")]))


def split_lists(tree: Tree, prefix: str) -> list[str]:
    """Find the lists of images named after splits: `train.txt`, `val.txt` …, the shallowest of each name."""
    lists: dict[str, str] = {}
    for name in sorted(tree.with_suffix(".txt"), key=lambda name: (name.count("/"), name)):
        stem = posixpath.splitext(posixpath.basename(name))[0]
        if name.startswith(prefix) and is_split_name(stem) and stem not in lists and names_images(tree, name):
            lists[stem] = name
    return [lists[stem] for stem in sorted(lists, key=lambda stem: (_SPLIT_ORDER.index(canonical_split(stem)), stem))]


@dataclass(slots=True)
class Arrangement:
    """One row an image: its label file ("" where none) and a bit for each split it is in; `splits` maps canonical names to spellings.

    `lists` names the list files that were read.
    """

    images: list[str] = field(default_factory=list)
    labels: list[str] = field(default_factory=list)
    masks: list[int] = field(default_factory=list)
    splits: dict[str, str] = field(default_factory=dict)
    lists: list[str] = field(default_factory=list)
    evidence: list[str] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)


class _Splits:
    """Collects which image is in which split, and what is wrong with the lists that say so."""

    def __init__(self, scope: Scope, config: Config) -> None:
        self.scope = scope
        self.bases = base_folders(config, scope)
        self.spelling: dict[str, str] = {}
        self.mask: dict[str, int] = {}
        self.missing: dict[str, str] = {}
        self.label_listed: dict[str, str] = {}
        self.problems: list[Problem] = []
        self.renamed: dict[str, str] = {}
        self.lists: list[str] = []
        self._entered: set[tuple[str, str]] = set()
        self._by_basename: dict[str, list[str]] = defaultdict(list)
        self._label_stems: set[str] = set()

    def add(self, key: str, images: list[str]) -> None:
        bit = 1 << self.number(key)
        for image in images:
            self.mask[image] = self.mask.get(image, 0) | bit

    def number(self, key: str) -> int:
        canonical = canonical_split(key)
        self.spelling.setdefault(canonical, key)
        return list(self.spelling).index(canonical)

    def add_entry(self, key: str, entry: str, place: Place) -> None:
        """Add what one path of a configuration means: a folder, a list file or one image."""
        written = entry.replace("\\", "/")
        if suffix(written) == ".txt":
            name = resolve(written, self.bases, self.scope.texts)
            if name is None:
                self.problems.append(Problem("split-empty", place, f"{key}: the list {printable(entry)} is not here"))
            elif self._is_new(key, name, place):
                self.add_list(key, name)
            return
        if suffix(written) in IMAGE_SUFFIXES:
            self._add_line(key, written, place, self.bases, {})
            return
        folder = self.scope.folder(written, self.bases)
        if folder is not None and not self._is_new(key, folder, place):
            return
        images = self.scope.below(folder) if folder is not None else []
        if images:
            self.add(key, images)
        else:
            self.number(key)
            self.problems.append(Problem("split-empty", place, f"{key}: no image under {printable(entry)}"))

    def _is_new(self, key: str, name: str, place: Place) -> bool:
        """Tell whether a split names a folder or list for the first time, and report it where not."""
        if (key, name) in self._entered:
            self.problems.append(Problem("listed-twice", place, f"{key} names {printable(name) or 'this folder'} more than once"))
            return False
        self._entered.add((key, name))
        return True

    def add_list(self, key: str, name: str) -> None:
        """Add the images that a list file names, one path a line."""
        try:
            text, unusual = decode(self.scope.tree.read_bytes(name))
        except Unreadable as error:
            self.problems.append(Problem("split-empty", Place(file=name, split=key), f"the list cannot be read: {error}"))
            return
        if unusual:
            self.problems.append(Problem("text-encoding", Place(file=name), unusual))
        self.lists.append(name)
        folder = posixpath.dirname(name)
        bases = list(dict.fromkeys([folder, *self.bases]))
        seen: dict[str, int] = {}
        odd: dict[ProblemKind, list[tuple[int, str]]] = defaultdict(list)
        known, bit = self.scope.known, 1 << self.number(key)
        prefixes = [f"{base}/" if base else "" for base in bases]
        whereabouts = self._whereabouts()
        for number, raw in enumerate(text.replace("\r\n", "\n").replace("\r", "\n").split("\n"), 1):
            line = raw.strip()
            if not line:
                continue
            line = line[2:] if line.startswith("./") else line
            image = next((p + line for p in prefixes if p + line in known), None)
            if image is None and line.startswith("/"):
                here = (prefix + line[len(place) :] for place, prefix in whereabouts if line.startswith(place))
                image = next((path for path in here if path in known), None)
            if image is None:
                if "\\" in line:
                    odd["path-backslash"].append((number, line))
                if is_absolute(line) and not line.startswith(f"{self.scope.tree.root}/"):
                    odd["path-absolute"].append((number, line))
                self._add_line(key, line, Place(file=name, line=number, split=key), bases, seen)
            elif image in seen:
                self._twice(image, seen[image], Place(file=name, line=number, image=image, split=key))
            else:
                seen[image] = number
                self.mask[image] = self.mask.get(image, 0) | bit
        for at, who in personal_data(text) if "path-absolute" in odd else ():
            self.problems.append(Problem("personal-data", Place(file=name, line=text.count("\n", 0, at) + 1, split=key), who))
        for kind, lines in odd.items():
            what = "uses backslashes" if kind == "path-backslash" else "is an absolute path of another place"
            others = f", and {len(lines) - 1:,} more of its lines" if len(lines) > 1 else ""
            place = Place(file=name, line=lines[0][0], split=key)
            self.problems.append(Problem(kind, place, f"{printable(lines[0][1])} {what}{others}"))
        if not seen:
            self.problems.append(Problem("split-empty", Place(file=name, split=key), f"{key}: the list names no image that is here"))

    def _whereabouts(self) -> list[tuple[str, str]]:
        """Pair the folders that were walked, absolute, with what the names of their files begin with."""
        root, image_root = str(self.scope.tree.root), self.scope.tree.image_root
        images = [] if image_root is None else [(posixpath.normpath(posixpath.join(root, image_root)), image_root)]
        return [(f"{place}/", f"{prefix}/" if prefix else "") for place, prefix in [*images, (root, "")]]

    def _twice(self, image: str, first: int, place: Place) -> None:
        self.problems.append(Problem("listed-twice", place, f"{printable(image)} is listed again; first on line {first:,}"))

    def _add_line(self, key: str, line: str, place: Place, bases: list[str], seen: dict[str, int]) -> None:
        """Add one image by a path that is not exactly a known one."""
        path = line.replace("\\", "/")
        if suffix(path) not in IMAGE_SUFFIXES:
            self.problems.append(Problem("list-malformed", place, f"not the path of an image: {printable(line)}"))
            return
        wanted = f"{posixpath.splitext(path)[0]}.jpg" if self.scope.labels_only else path
        if not self._label_stems:
            for name in self.scope.images:
                self._by_basename[posixpath.basename(name)].append(name)
            self._label_stems = {posixpath.basename(name)[:-4] for name in self.scope.texts} | {""}
        # Looking a base name up first keeps a long list of files that are not here cheap.
        base = posixpath.basename(wanted)
        image = resolve(wanted, bases, self.scope.known) if base in self._by_basename else None
        if image is None:
            image = self._by_name(path, place)
        elif self.scope.labels_only:
            self.renamed.setdefault(image, posixpath.splitext(image)[0] + posixpath.splitext(path)[1])
        if image is None:
            outside = not is_absolute(path) and all(normalise(path, base) is None for base in bases)
            tails = _tails(path) if posixpath.splitext(base)[0] in self._label_stems else []
            places = dict.fromkeys([*bases, ""])
            named = (posixpath.normpath(posixpath.join(place, tail)) for tail in tails for place in places)
            image = next((name for name in named if self.scope.label_of(name) is not None), None)
            if image is None:
                kind: ProblemKind = "path-outside-dataset" if outside else "listed-missing"
                what = "leads outside the dataset, not followed" if outside else "is listed, but there is neither image nor label"
                self.problems.append(Problem(kind, place, f"{printable(line)} {what}"))
                return
            if image not in self.missing:
                self.missing[image] = path
                found = Place(file=place.file, line=place.line, image=image, split=key)
                text = f"{printable(line)} is listed and has a label file, but there is no image"
                self.problems.append(Problem("image-missing", found, text))
        if image in seen:
            self._twice(image, seen[image], place)
            return
        seen[image] = place.line or 0
        self.label_listed.setdefault(image, path)
        self.add(key, [image])

    def _by_name(self, path: str, place: Place) -> str | None:
        """Find an image by its last component alone, where just one has it."""
        base = posixpath.basename(path)
        found = self._by_basename.get(f"{posixpath.splitext(base)[0]}.jpg" if self.scope.labels_only else base, [])
        if len(found) != 1:
            return None
        image_root = self.scope.tree.image_root
        if image_root is None or not found[0].startswith(image_root):
            # A label that the listed path itself leads to is a missing image, not a moved one.
            if any(self.scope.label_of(tail) is not None for tail in _tails(path)):
                return None
            text = f"{printable(path)} was found by its name alone, as {printable(found[0])}"
            self.problems.append(Problem("path-by-basename", place, text))
        return found[0]


def _tails(path: str) -> list[str]:
    """List the ends of a path, the longest first; none of one that is too long for any file."""
    if len(path) > LONGEST_PATH:
        return []
    parts = [part for part in path.split("/") if part not in ("", ".", "..")]
    return ["/".join(parts[start:]) for start in range(min(len(parts), MAX_DEPTH))]


def _folder_split(scope: Scope, image: str) -> str | None:
    """Name the split that a folder of an image's path stands for, as it is spelt."""
    image_root = scope.tree.image_root
    outer = f"{image_root}/" if image_root and image.startswith(f"{image_root}/") else scope.prefix
    for part in image.removeprefix(outer).split("/")[:-1]:
        if is_split_name(part):
            return part
        stripped = part.removeprefix("obj_").removesuffix("_data")
        if stripped != part and is_split_name(stripped):
            return stripped
    return None


def arrange(tree: Tree, candidate: Candidate, config: Config) -> Arrangement:
    """Find the images of the dataset, their splits and their label files."""
    scope = Scope.of(tree, candidate.root)
    splits = _Splits(scope, config)
    result = Arrangement(problems=splits.problems)
    whole = next(([entry for entry, _ in entries] for key, entries in config.splits if key == "all"), None)
    for key, entries in config.splits:
        if key != "all" and [entry for entry, _ in entries] == whole:
            continue  # trainers want train and val: here both are another name for all images
        splits.number(key)
        for entry, line in entries:
            if config.kind == "lists":
                splits.add_list(key, entry)
            else:
                splits.add_entry(key, entry, Place(file=config.file, line=line, split=key))
    if not config.splits:
        for name in split_lists(tree, scope.prefix):
            splits.add_list(posixpath.splitext(posixpath.basename(name))[0], name)
            result.evidence.append(f"{name} lists the images of a split")
    if scope.left_out:
        result.evidence.append(f"{scope.left_out:,} text files under runs/ or predict/ look like predictions and were left out")
    if scope.labels_only:
        result.evidence.append("no image file is here: each label file counts as one image, and boxes are shares of the image")

    label_of = {image: scope.label_of(image) or "" for image in [*scope.images, *splits.missing]}
    _match_elsewhere(scope, splits, label_of, result.problems)

    if splits.mask:
        used = 0
        for mask in splits.mask.values():
            used |= mask
        filled = {name for number, name in enumerate(splits.spelling) if used >> number & 1}
        for image in scope.images:
            if image in splits.mask:
                continue
            if image.startswith("../") and (label_of[image] or image).startswith("../"):
                continue  # picture and label lie elsewhere, and nothing here names them
            if not label_of[image]:
                result.problems.append(Problem("image-orphan", Place(image=image, file=image), "in no split and without a label file"))
                continue
            folder = _folder_split(scope, image)
            splits.add(folder if folder is not None and canonical_split(folder) not in filled else "unassigned", [image])
    else:
        _split_by_folders(scope, splits, label_of, result.problems)

    _report_shared(config, splits)
    images = sorted(splits.mask)
    result.images = images
    result.labels = [label_of.get(image, "") for image in images]
    result.masks = [splits.mask[image] for image in images]
    result.splits = splits.spelling
    result.lists = splits.lists
    _report_labels(scope, result)
    result.images = [splits.renamed.get(image, image) for image in images]
    return result


def _report_shared(config: Config, splits: _Splits) -> None:
    """Report the entries of a configuration that name the images of another split, all of them."""
    if config.file is None:
        return
    lines = {canonical_split(key): entries[0][1] for key, entries in config.splits if entries}
    if len(lines) < 2:
        return
    named = Counter(splits.mask.values())
    for (at, one), (other_at, other) in itertools.combinations(enumerate(splits.spelling), 2):
        wanted = (1 << at, 1 << other_at, 1 << at | 1 << other_at)
        first, second, both = (sum(n for mask, n in named.items() if mask & bits == bits) for bits in wanted)
        small, large = (one, other) if first < second else (other, one)
        if both >= WHOLE_SPLIT and both == min(first, second) and one in lines and other in lines:
            alike = f"{small} names the same images as {large}"
            text = alike if first == second else f"the images of {small} are all among those of {large}"
            for name in (large, small):
                place = Place(file=config.file, line=lines[name] or None, split=name)
                splits.problems.append(Problem("image-in-several-splits", place, text))


def _split_by_folders(scope: Scope, splits: _Splits, label_of: dict[str, str], problems: list[Problem]) -> None:
    """Take the splits from folder names, else put every image into one split."""
    by_folder = defaultdict(list)
    for image in scope.images:
        by_folder[image.rpartition("/")[0]].append(image)
    labelled = {folder for folder, images in by_folder.items() if any(label_of[image] for image in images)}
    labelled |= {folder for folder in by_folder if {"images", "JPEGImages"} & set(folder.split("/"))}
    split_of = {folder: _folder_split(scope, f"{folder}/x") for folder in labelled}
    any_split = any(split_of.values())
    for folder in sorted(labelled, key=lambda f: (_SPLIT_ORDER.index(canonical_split(split_of[f] or "")) if split_of[f] else 3, f)):
        key = split_of[folder]
        if key is None and any_split:
            rest = [image for image in by_folder[folder] if not label_of[image]]
            problems += [Problem("image-orphan", Place(image=i, file=i), "in no split and without a label file") for i in rest]
            if len(rest) < len(by_folder[folder]):
                splits.add("unassigned", [image for image in by_folder[folder] if label_of[image]])
        else:
            splits.add(key or "all", by_folder[folder])
    for folder in sorted(set(by_folder) - labelled):
        for image in by_folder[folder]:
            problems.append(Problem("image-orphan", Place(image=image, file=image), "no label file belongs to it or to its folder"))


def _match_elsewhere(scope: Scope, splits: _Splits, label_of: dict[str, str], problems: list[Problem]) -> None:
    """Give images without a label under the path rule the one that must be meant: by the listed path, by case, or by its stem."""
    for image, listed in splits.label_listed.items():
        if not label_of.get(image):
            label_of[image] = next((label for tail in _tails(listed) if (label := scope.label_of(tail)) is not None), "")
    used = set(label_of.values())
    spare = [name for name in sorted(scope.texts - used) if scope.tree.image_root is not None or in_label_folder(name)]
    spare = [name for name in spare if not scope.is_no_label(name)]
    bare = [image for image, label in label_of.items() if not label]
    if not spare or not bare:
        return
    folded = {name.casefold(): name for name in reversed(spare)}
    by_stem = defaultdict(list)
    for name in spare:
        by_stem[posixpath.basename(name)[:-4]].append(name)
    count = Counter(posixpath.splitext(posixpath.basename(image))[0] for image in bare)
    for image in bare:
        folder, base = posixpath.split(image)
        stem = posixpath.splitext(base)[0]
        expected = [posixpath.join(place, f"{stem}.txt") for place in _label_folders(folder.casefold())]
        found = next((folded[name.casefold()] for name in expected if name.casefold() in folded), None)
        if found is None and scope.tree.image_root is not None and image.startswith(f"{scope.tree.image_root}/"):
            inside = posixpath.splitext(image[len(scope.tree.image_root) + 1 :])[0]
            same = [name for name in by_stem.get(stem, []) if f"/{name}".endswith(f"/{inside}.txt")]
            found = same[0] if len(same) == 1 else None
        if found is None and len(by_stem.get(stem, [])) == 1 and count[stem] == 1:
            found = by_stem[stem][0]
        if found is None:
            continue
        label_of[image] = found
        if scope.tree.image_root is None:
            text = f"no trainer finds the label of {printable(image)} here; expected {printable(_expected_label(image))}"
            problems.append(Problem("filename-mismatch", Place(file=found, image=image), text))


def _expected_label(image: str) -> str:
    folder, base = posixpath.split(image)
    return posixpath.join(_label_folders(folder)[0] if "images" in folder.split("/") else folder, f"{posixpath.splitext(base)[0]}.txt")


def _report_labels(scope: Scope, result: Arrangement) -> None:
    """Report label files that serve no image, and those that serve several."""
    uses = Counter(label for label in result.labels if label)
    images_of = defaultdict(list)
    if len(uses) < uses.total():
        for image, label in zip(result.images, result.labels, strict=True):
            if uses[label or ""] > 1:
                images_of[label].append(image)
    for label, images in images_of.items():
        text = f"one label file for {len(images)} images: {', '.join(printable(image) for image in images[:3])}"
        result.problems.append(Problem("stem-collision", Place(file=label, image=images[0]), text))
    unused = sorted(scope.texts - uses.keys())
    folders = {name.rpartition("/")[0] for names in (uses, result.images) for name in names} if unused else set()
    for name in unused:
        if not (posixpath.dirname(name) in folders or in_label_folder(name)) or scope.is_no_label(name):
            continue
        stem = posixpath.basename(name)[:-4]
        if suffix(stem) in IMAGE_SUFFIXES:
            text = f"two extensions: the label of {printable(stem)} has to be {printable(posixpath.splitext(stem)[0])}.txt"
        elif not in_label_folder(name) and not looks_like_rows(scope.tree, name):
            continue
        else:
            text = "no image belongs to this label file"
        result.problems.append(Problem("label-orphan", Place(file=name), text))
