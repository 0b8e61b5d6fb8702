"""Where the splits of a written YOLO dataset are: folders or lists, and the `data.yaml` or `obj.data` that names them.

A `data.yaml` of the source is edited, not made anew: comments, unknown keys and names stay as they are, line by line.
"""

from __future__ import annotations

import os
import posixpath
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence, Set
from itertools import takewhile
from pathlib import Path

import numpy as np

from dataset_doctor.dataset import Dataset
from dataset_doctor.errors import UsageError
from dataset_doctor.files.names import is_absolute, normalise, suffix
from dataset_doctor.files.output import Stage
from dataset_doctor.files.reading import MAX_TEXT_BYTES, Unreadable, decode, read_regular
from dataset_doctor.files.splits import canonical_split
from dataset_doctor.files.tree import Tree, reopened
from dataset_doctor.formats.layout import changed, split_folders
from dataset_doctor.formats.yolo.config import MAX_CONFIG_BYTES, BadConfig, Config, load_config, names_images, own_entries, parse_yaml
from dataset_doctor.formats.yolo.data_yaml import as_block, edited, listed, quoted
from dataset_doctor.formats.yolo.keypoints import keypoint_lines
from dataset_doctor.formats.yolo.layout import resolve

TRAINER_KEYS = ("train", "val", "validation", "test", "minival")
"""The keys of a `data.yaml` under which Ultralytics looks for images."""
NOT_SPLIT = "# no split: train and val are the same images"
NONE_HERE = "# none; Ultralytics asks for the key"


def configure(dataset: Dataset, names: Sequence[str], stage: Stage, *, kept: bool) -> None:
    """Write `data.yaml` (or `obj.data`), the lists and the files of class names.

    Args:
        dataset: What is written.
        names: The image file of each row, relative to the new root.
        stage: Where to.
        kept: Files keep their places, so the configuration does.
    """
    config, tree = _source_config(dataset)
    if kept and config.kind == "darknet":
        _write_darknet(dataset, names, config, tree, stage)
        _copy_class_names(dataset, config, tree, stage)
        return
    folder = posixpath.dirname(config.file or "") if kept else ""
    entries = {}
    for split, key in enumerate(_keys(dataset)):
        if kept and key == "unassigned":
            continue  # no key named them, and none does
        paths = _entries(dataset, names, split, key, config, folder, kept)
        if paths is None:
            rows = np.flatnonzero(dataset.images.in_split[:, split]).tolist()
            paths = [_write_list(key, [names[row] for row in rows], _hinted_list(config, key, dataset, kept), folder, stage)]
        entries[key] = [posixpath.relpath(path or ".", folder or ".") for path in paths]
    _write_yaml(dataset, config, tree, entries, stage, kept=kept)
    if kept:
        _copy_class_names(dataset, config, tree, stage)


def configure_lists(dataset: Dataset, paths: Sequence[str], stage: Stage) -> None:
    """Write a list of absolute paths for each split, and a `data.yaml` that names the lists."""
    config, tree = _source_config(dataset)
    entries = {}
    for split, key in enumerate(_keys(dataset)):
        rows = np.flatnonzero(dataset.images.in_split[:, split]).tolist()
        stage.write(f"{key}.txt", _list_text([paths[row] for row in rows]))
        entries[key] = [f"{key}.txt"]
    _write_yaml(dataset, config, tree, entries, stage, kept=False)


def listed_images(root: Path, source: Path) -> dict[str, dict[str, int]]:
    """Read written lists back: for each split how often its lists name each image of the source, and in all; "" has the classes."""
    config = load_config(reopened(root, ("data.yaml",)), ("data.yaml",))
    inside = f"{source}/"
    table: dict[str, dict[str, int]] = {}
    whole = next((entries for key, entries in config.splits if key == "all"), None)
    for key, entries in config.splits:
        if key != "all" and whole is not None and [entry for entry, _ in entries] == [entry for entry, _ in whole]:
            continue  # another name for all images, which trainers want
        lines = [line for entry, _ in entries for line in read_regular(root / entry, MAX_TEXT_BYTES).decode().split("\n")[:-1]]
        names = (line[len(inside) :] if line.startswith(inside) else posixpath.relpath(line, source) for line in lines)
        times = {f"lines of {name}": count for name, count in Counter(names).items()}
        table[canonical_split(key)] = {"images": len(lines), **times}
    return table | {"": {f"classes {at} {name}": 1 for at, name in enumerate(config.names or [])}}


def _source_config(dataset: Dataset) -> tuple[Config, Tree]:
    """Load the configuration that a YOLO source was read from; an empty one for other formats and where it has none."""
    files = dataset.config_files if dataset.format == "yolo" else ()
    tree = reopened(dataset.root, files)
    file = next((name for name in files if suffix(name) in (".yaml", ".yml", ".data")), None)
    if file is None:
        return Config(), tree
    config = load_config(tree, (file,))
    was_unread, unread = (
        any(one.place.file == file and one.text.startswith("cannot be read") for one in problems)
        for problems in (dataset.problems, config.problems)
    )
    if unread and not was_unread:
        raise changed(file, "it cannot be read")
    return config, tree


def _keys(dataset: Dataset) -> list[str]:
    """Name the key of each split: as trainers want it where it is a usual split, else the name of its folder."""
    return [
        name if name in ("train", "val", "test") else folder for name, folder in zip(dataset.splits, split_folders(dataset), strict=True)
    ]


# Folders and lists --------------------------------------------------------------------------------------------------


def _entries(dataset: Dataset, names: Sequence[str], split: int, key: str, config: Config, folder: str, kept: bool) -> list[str] | None:
    """Name the folders, relative to the root, that hold exactly the images of a split; None where only a list can tell them.

    The folders that the source's configuration names come first, then the one that holds all, then those that the images lie in.
    """
    written = [entry for name, entries in config.splits for entry, _ in entries if canonical_split(name) == dataset.splits[split]]
    hinted = [path for entry in written if (path := _relative(entry, config, folder)) is not None]
    member = dataset.images.in_split[:, split]
    if not member.any():
        return [path for path in hinted if kept and not any(_is_below(name, path) for name in names)]
    if _hinted_list(config, key, dataset, kept) is not None:
        return None
    there = dataset.images.has_file if dataset.images.has_file.any() else np.ones(dataset.n_images, bool)
    if not there[member].all():
        return None
    distinct, of = np.unique([posixpath.dirname(name) for name in names], return_inverse=True)
    folders: list[str] = distinct.tolist()
    total = np.bincount(of[there], minlength=len(folders))
    mine = np.bincount(of[member], minlength=len(folders))
    own = [folders[at] for at in np.flatnonzero(mine).tolist()]
    choices = [hinted if kept else [], [posixpath.commonpath(own) if all(own) else ""], own]
    if key not in (*TRAINER_KEYS, "all"):  # a reader knows these only by the name of their folder
        choices = [[own_entries(key)[0]]]
    for choice in choices:
        under = np.array([any(_is_below(name, place) for place in choice) for name in folders], bool)
        if choice and len(choice) <= (8 if key in TRAINER_KEYS else 1) and not mine[~under].any() and (mine[under] == total[under]).all():
            return choice
    return None


def _is_below(name: str, folder: str) -> bool:
    return not folder or name == folder or name.startswith(f"{folder}/")


def _relative(entry: str, config: Config, folder: str) -> str | None:
    """Give a path of the source's configuration relative to the root, as far as it does not leave it; None for a list."""
    if suffix(entry) == ".txt" or is_absolute(entry):
        return None
    bare = re.sub(r"^(?:\.{0,2}/)+", "", entry.replace("\\", "/"))
    base = folder if config.path is None or is_absolute(config.path) else normalise(config.path, folder)
    return normalise(bare or ".", base or "")


def _hinted_list(config: Config, key: str, dataset: Dataset, kept: bool) -> str | None:
    """Name the list file that a split has in the source, where it is to stay a list."""
    if not kept or key not in TRAINER_KEYS:
        return None
    lists = [name for name in dataset.config_files if suffix(name) == ".txt"]
    entries = [entry for name, paths in config.splits for entry, _ in paths if canonical_split(name) == key]
    if config.splits:
        wanted = {posixpath.basename(entry.replace("\\", "/")) for entry in entries if suffix(entry) == ".txt"}
        return next((name for name in lists if posixpath.basename(name) in wanted), None)
    return next((name for name in lists if canonical_split(posixpath.splitext(posixpath.basename(name))[0]) == key), None)


def _write_list(key: str, names: Sequence[str], hinted: str | None, folder: str, stage: Stage) -> str:
    """Write the images of a split as a list whose lines start with `./`, in a folder that all of them lie under; give its path."""
    for path in (hinted, posixpath.join(folder, f"{key}.txt"), f"{key}.txt"):
        home = posixpath.dirname(path or "")
        if path is not None and all(_is_below(name, home) for name in names):
            break
    skip = len(home) + 1 if home else 0
    assert path is not None
    stage.write(path, _list_text([f"./{name[skip:]}" for name in names]))
    return path


def _list_text(lines: Sequence[str]) -> bytes:
    """Make the text of a list.

    Raises:
        UsageError: a path that cannot be a line: with a line end of any kind, or not UTF-8.
    """
    text = "".join(f"{line}\n" for line in lines)
    try:
        if len(text.splitlines()) == len(lines):
            return text.encode()
    except UnicodeEncodeError:
        pass
    bad = next(line for line in lines if len(line.splitlines()) != 1 or not line.isprintable())
    raise UsageError(f"{bad!r} cannot be a line in a list of images.", "Rename the file in the source.")


# Darknet ------------------------------------------------------------------------------------------------------------


def _write_darknet(dataset: Dataset, names: Sequence[str], config: Config, tree: Tree, stage: Stage) -> None:
    """Write `obj.data` with its lists; their lines keep the folder that the source's lines begin with."""
    assert config.file is not None
    text = _read(tree, config.file)
    home = posixpath.dirname(config.file)
    for key, entries in config.splits:
        found = resolve(entries[0][0], list(dict.fromkeys([home, ""])), tree.known)
        if found is None:
            continue
        if is_absolute(entries[0][0]):
            text = text.replace(entries[0][0], posixpath.relpath(found, home or "."))
        rows = np.flatnonzero(dataset.images.in_split[:, dataset.splits.index(canonical_split(key))]).tolist()
        old = _read(tree, found)
        lines = _like(old, [dataset.images.file_name[row] for row in rows], [names[row] for row in rows])
        unchanged = sorted(filter(None, (line.strip() for line in old.splitlines()))) == sorted(lines)
        stage.write(found, old.encode() if unchanged else _list_text(lines))
    stage.write(config.file, text.encode())


def _like(old: str, written: Sequence[str], names: Sequence[str]) -> list[str]:
    """Name images as the lines of a list do: with the folders that these put before, or leave out of, paths from the root.

    >>> _like("data/obj/a.jpg", ["obj/a.jpg", "obj/b.jpg"], ["obj/a.jpg", "obj/b__r1.jpg"])
    ['data/obj/a.jpg', 'data/obj/b__r1.jpg']
    """
    by_base = {posixpath.basename(name): name for name in written}
    for line in (line.strip().replace("\\", "/") for line in old.splitlines()):
        name = by_base.get(posixpath.basename(line))
        if name is None or is_absolute(line):
            continue
        pairs = zip(reversed(line.split("/")), reversed(name.split("/")), strict=False)
        shared = len(list(takewhile(lambda pair: pair[0] == pair[1], pairs)))
        before = "/".join([*line.split("/")[:-shared], ""])
        left_out = "/".join([*name.split("/")[:-shared], ""])
        if all(other.startswith(left_out) for other in names):
            return [before + other[len(left_out) :] for other in names]
    return list(names)


def _read(tree: Tree, name: str) -> str:
    try:
        return decode(tree.read_bytes(name))[0]
    except Unreadable as error:
        raise changed(name, str(error)) from error


# Configuration files ------------------------------------------------------------------------------------------------


def _copy_class_names(dataset: Dataset, config: Config, tree: Tree, stage: Stage) -> None:
    """Copy the file that gives the classes their names; write it anew where the names are others by now.

    What is written already (a list of a split that held no image, and so did not look like one) stays.
    """
    lists = [name for name in dataset.config_files if suffix(name) == ".txt" and names_images(tree, name)]
    for name in dataset.config_files:
        if name != config.file and name not in lists and not os.path.lexists(stage.root / name):
            try:
                stage.write(name, tree.read_bytes(name))
            except Unreadable as error:
                raise changed(name, str(error)) from error
    named = any(one.place is not None for one in dataset.classes)
    if config.kind == "darknet" and config.names_file is not None and not named:
        name = normalise(config.names_file, posixpath.dirname(config.file or "")) or "obj.names"
        stage.write(name, "".join(f"{one}\n" for one in dataset.class_names).encode())


def _write_yaml(dataset: Dataset, config: Config, tree: Tree, entries: Mapping[str, Sequence[str]], stage: Stage, *, kept: bool) -> None:
    """Write the configuration: the source's with what has to change, or a new one."""
    for word in (*dataset.class_names, *(path for paths in entries.values() for path in paths)):
        try:
            word.encode()
        except UnicodeEncodeError:
            raise UsageError(f"{word!r} is not text that a YAML file can hold.", "Rename the class or the folder.") from None
    values = {key: listed(paths) for key, paths in entries.items() if paths}
    if set(values) == {"all"}:
        values |= {"train": f"{values['all']}  {NOT_SPLIT}", "val": values["all"]}
    for key in ("train", "val"):
        values.setdefault(key, NONE_HERE)
    text = None
    if config.kind == "yaml" and config.file is not None and config.is_sound:
        written_as = {canonical_split(key): key for key, _ in reversed(config.splits) if key in TRAINER_KEYS}
        entries = {written_as.get(key, key): paths for key, paths in entries.items()}
        values = {written_as.get(key, key): value for key, value in values.items()}
        beside = kept and config.names is None and any(one.place for one in dataset.classes)
        same_names = beside or config.names == list(dataset.class_names)
        as_before = {key for key, written in config.splits if [entry for entry, _ in written] == entries.get(key)}
        gone = {"path", "download", *(key for key, _ in config.splits)} - as_before
        replaced = {key: value for key, value in values.items() if key not in as_before}
        if not same_names:
            replaced |= {"nc": str(len(dataset.classes)), "names": _names(dataset.class_names)}
        text = _edited(_read(tree, config.file), replaced, gone - set(replaced))
    if text is None:
        parts = [f"{key}: {value}" for key, value in sorted(values.items(), key=lambda pair: _rank(pair[0]))]
        parts += ["", f"nc: {len(dataset.classes)}", f"names:{_names(dataset.class_names)}", *keypoint_lines(dataset)]
        text = "\n".join(["# Paths are relative to this file.", *parts, ""])
    if len(data := text.encode()) > MAX_CONFIG_BYTES:
        raise UsageError(
            f"{len(dataset.classes):,} classes make a data.yaml larger than is read ({MAX_CONFIG_BYTES >> 20} MiB).",
            "A stray class number declares all classes below it: look for it in the labels.",
        )
    stage.write(config.file if kept and config.file else "data.yaml", data)


def _edited(text: str, values: Mapping[str, str], gone: Set[str]) -> str | None:
    """Set and remove keys of a configuration, line by line or, where that does not give what it should, without its comments.

    Returns:
        None where neither does.
    """
    before = parse_yaml(text)[0].value
    assert isinstance(before, dict)
    wanted = {key: node.plain_value for key, node in before.items() if key not in gone}
    wanted |= {key: parse_yaml(f"{key}: {value}\n")[0].plain_value[key] for key, value in values.items()}
    for way in (str, as_block):
        try:
            written = edited(way(text), values, gone)
            if parse_yaml(written)[0].plain_value == wanted:
                return written
        except BadConfig:
            continue
    return None


def _rank(key: str) -> tuple[int, str]:
    return (TRAINER_KEYS.index(key) if key in TRAINER_KEYS else len(TRAINER_KEYS), key)


def _names(class_names: Iterable[str]) -> str:
    lines = [f"\n  {index}: {quoted(name)}" for index, name in enumerate(class_names)]
    return "".join(lines) or " {}"
