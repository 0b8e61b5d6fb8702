"""A made-up dataset that is as it should be, and the same with one planted defect a check.

Everything is made in memory and written at once; nothing depends on time, place or machine, so that two runs give the same bytes.
"""

from __future__ import annotations

import os
import shlex
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from dataset_doctor.checks import CHECKS, find_check
from dataset_doctor.dataset import FormatName
from dataset_doctor.demo import coco, folder, labelme, voc, yolo
from dataset_doctor.demo._files import Files, Link, Plant
from dataset_doctor.demo._scenes import SIZE, STANDARD, Scene, scenes
from dataset_doctor.errors import OutputRefused, UsageError, did_you_mean
from dataset_doctor.files.reading import Unreadable, open_regular
from dataset_doctor.files.staging import new_folder
from dataset_doctor.findings import plural

__all__ = ["FORMATS", "UNPLANTED", "Demo", "Plant", "check_place", "make", "write"]


class _Form(NamedTuple):
    """A format: its name for people, how images are described in it, which, and what is planted."""

    title: str
    write: Callable[[Sequence[Scene]], Files]
    scenes: Callable[[], list[Scene]]
    plants: tuple[Plant, ...]


FORMATS: dict[FormatName, _Form] = {
    "coco": _Form("COCO", coco.write, lambda: scenes(STANDARD, SIZE), coco.PLANTS),
    "voc": _Form("Pascal VOC", voc.write, lambda: scenes(STANDARD, SIZE), voc.PLANTS),
    "yolo": _Form("YOLO", yolo.write, lambda: scenes(STANDARD, SIZE), yolo.PLANTS),
    "labelme": _Form("LabelMe", labelme.write, lambda: scenes(STANDARD, SIZE), labelme.PLANTS),
    "folder": _Form("image folders", folder.write, lambda: scenes(folder.STANDARD, (folder.SIDE, folder.SIDE)), folder.PLANTS),
}

UNPLANTED = {
    "folder-unreadable": "a folder that its owner may not list could not be deleted either, and the administrator can list it",
    "special-file": "a pipe hangs whoever copies or searches the folder",
}
"""Checks that no dataset of this kind shows, and why."""

_STANDING = ("clean", "all")
"""Datasets that are not called after a check."""

README = "README.txt"
MARKER = "Made by `dataset-doctor demo`."
"""How README.txt begins: by this a folder is known that may be replaced."""


@dataclass(frozen=True, slots=True)
class Demo:
    """Datasets to look at: the files of each by its folder's name, and what is planted in it. README.txt tells it in words."""

    format: FormatName
    datasets: dict[str, Files]
    plants: dict[str, tuple[Plant, ...]]

    @property
    def planted(self) -> int:
        """How many defects there are in all."""
        return sum(map(len, self.plants.values()))

    def summary(self, out: str, *, written: bool = True) -> list[str]:
        """Say in a few lines what there is and what to try; `out` is what the user calls the folder."""
        shown = "class-imbalance"
        others = len(self.datasets) - len(_STANDING) - 1
        rows = [
            ("clean", "as it should be"),
            ("all", f"{plural(len(self.plants['all']), 'defect')} in one dataset"),
            (shown, f"one defect; {plural(others, 'more folder')} like this one, called after checks"),
            (README, "what is planted where"),
        ]
        tries = [f"dataset-doctor audit {shlex.quote(os.path.join(out, name))}" for name in ("all", shown)]
        tries += [f"dataset-doctor explain {find_check(shown).code}"]
        return [
            f" {out}  ·  {FORMATS[self.format].title}  ·  {plural(self.planted, 'planted defect')}{'' if written else '  ·  not written'}",
            "",
            *(f" {name:<17} {what}" for name, what in rows),
            "",
            *(f"{' Next' if not row else '':<8}{command}" for row, command in enumerate(tries)),
        ]

    def readme(self) -> str:
        """Tell what is planted where, and how to see it."""
        lines = [
            MARKER,
            "",
            f"Images of a park, drawn by a program, labelled as {FORMATS[self.format].title}. Do what you like with them.",
            "",
        ]
        for name, plants in self.plants.items():
            command = f"dataset-doctor audit {name}" + (f" --select {find_check(name).code}" if name not in _STANDING else "")
            lines += [f"{name}: {plural(len(plants), 'planted defect') if plants else 'nothing is planted here'}", f"    {command}", ""]
            lines += [line for plant in plants for line in _line(plant)]
            lines += [""] if plants else []
        return "\n".join(lines).rstrip() + "\n"

    def to_dict(self) -> dict[str, Any]:
        """Give the list of what is planted as plain data."""
        return {
            "schema": "dataset-doctor/demo",
            "schema_version": 1,
            "format": self.format,
            "datasets": [{"name": name, "plants": [_plain(plant) for plant in plants]} for name, plants in self.plants.items()],
        }


def make(format: str = "coco") -> Demo:
    """Make a clean dataset, one with every defect that others do not hide, and one each for the rest.

    Args:
        format: `coco`, `voc`, `yolo` or `folder`.

    Raises:
        UsageError: there is no such format.
    """
    known = next((name for name in FORMATS if name == format), None)
    if known is None:
        raise UsageError(f"{format} is not a format of a demonstration.", did_you_mean(format, FORMATS))
    form = FORMATS[known]
    clean = form.write(form.scenes())
    codes = {check.name: check.code for check in CHECKS}
    plants = sorted((plant for plant in form.plants if not plant.alone), key=lambda plant: codes[plant.check])
    together = dict(clean)
    for plant in form.plants:
        if not plant.alone:
            plant.change(together)
    demo = Demo(known, {"clean": clean, "all": together}, {"clean": (), "all": tuple(plants)})
    for plant in sorted((plant for plant in form.plants if plant.alone), key=lambda plant: codes[plant.check]):
        files = dict(clean)
        plant.change(files)
        demo.datasets[plant.check], demo.plants[plant.check] = files, (plant,)
    return demo


def _line(plant: Plant) -> list[str]:
    place = plant.where
    at = place.file or place.image or ""
    at += f":{place.line}" if place.line else f" {place.pointer}" if place.pointer else ""
    more = [f"class {place.class_name!r}" if place.class_name else "", f"split {place.split}" if place.split else ""]
    where = ", ".join(part for part in (at, *more) if part)
    also = [f"        {find_check(name).code} {name} finds it too" for name in plant.also]
    return [f"    {find_check(plant.check).code} {plant.check}", f"        {where}", f"        {plant.what}", *also]


def _plain(plant: Plant) -> dict[str, Any]:
    place = plant.where
    keys = {"file": place.file, "line": place.line, "pointer": place.pointer, "image": place.image, "class": place.class_name}
    return {
        "code": find_check(plant.check).code,
        "name": plant.check,
        "what": plant.what,
        "also": [find_check(name).code for name in plant.also],
        "place": {**keys, "split": place.split},
    }


# Writing ------------------------------------------------------------------------------------------------------------


def write(demo: Demo, out: Path, *, force: bool = False) -> None:
    """Write a demonstration into a new folder, whole or not at all: staged beside it, and renamed into place.

    Args:
        demo: What `make` made.
        out: The folder; may be there if it is empty.
        force: Replace the folder of an earlier demonstration.

    Raises:
        OutputRefused: something else is there, or it cannot be written.
    """
    check_place(out, force=force)
    try:
        with new_folder(Path(os.path.abspath(out))) as root:
            for name, files in demo.datasets.items():
                _write_files(root / name, files)
            (root / README).write_text(demo.readme(), encoding="utf-8", newline="\n")
            check_place(out, force=force)  # anything may have come there since, or have been put back
    except (OSError, ValueError) as error:
        raise _refused(out, error) from error


def _write_files(root: Path, files: Files) -> None:
    root.mkdir()
    for name in sorted(files):
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        content = files[name]
        if isinstance(content, Link):
            path.symlink_to(content.target)
        else:
            path.write_bytes(content)


def check_place(out: Path, *, force: bool = False) -> None:
    """Refuse a place that a demonstration must not be written to.

    Raises:
        OutputRefused: a file, a link, a folder that holds anything (with `force`: anything but a demonstration), or the current
            folder is there; or the folder above is missing or cannot be written.
    """
    try:
        target = Path(os.path.abspath(out))
        if Path.cwd().resolve().is_relative_to(target.resolve()):
            raise OutputRefused(f"{out} is the folder you are in, or holds it.", "Name a new folder.")
        if not target.parent.is_dir():
            raise OutputRefused(f"The folder {target.parent} does not exist.", "Make it first, or name another.")
        if not os.access(target.parent, os.W_OK | os.X_OK):
            raise OutputRefused(f"The folder {target.parent} cannot be written to.", "Name another, or change its permissions.")
        if not os.path.lexists(target):
            return
        if target.is_symlink() or not target.is_dir():
            raise OutputRefused(f"{out} exists and is not a folder.", "Name another.")
        held = sorted(path.name for path in target.iterdir())
        if held and not force:
            raise OutputRefused(f"{out} exists and is not empty.", "Name a new folder. `force=True` replaces an earlier demonstration.")
        if held and not _is_ours(target):
            raise OutputRefused(
                f"{out} was not written by `dataset-doctor demo`.", "Name a new folder: `force=True` replaces nothing else."
            )
        known = {README, *_STANDING, *(check.name for check in CHECKS)}
        if strange := [name for name in held if name not in known]:
            raise OutputRefused(f"{out} holds {strange[0]}, which does not belong to a demo.", "Move it elsewhere, or name a new folder.")
    except (OSError, ValueError, RuntimeError) as error:  # RuntimeError: a loop of links, before Python 3.13
        raise _refused(out, error) from error


def _is_ours(target: Path) -> bool:
    path = target / README
    if path.is_symlink():
        return False
    try:
        with os.fdopen(open_regular(path), "rb") as file:
            return file.read(len(MARKER)) == MARKER.encode()
    except Unreadable:
        return False


def _refused(out: Path, error: Exception) -> OutputRefused:
    reason = error.strerror if isinstance(error, OSError) else "a name the system does not accept"
    return OutputRefused(f"{out} could not be written: {(reason or 'the system refused').lower()}.", "Nothing was changed.")
