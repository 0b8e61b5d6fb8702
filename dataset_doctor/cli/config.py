"""The configuration file: defaults for options, under the options' own names, and the findings to suppress."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path
from typing import Any, Literal

from dataset_doctor.errors import UsageError, did_you_mean
from dataset_doctor.files.reading import Unreadable, read_regular
from dataset_doctor.gate import Suppression

OWN_FILE = "dataset-doctor-vision.toml"
MAX_BYTES = 1 << 20

Kind = Literal["flag", "list", "paths", "path", "text"]
"""What an option takes; a path in the file is relative to the file, and a list may be a single word."""


@dataclass(frozen=True, slots=True)
class Settings:
    """What a configuration file says: defaults under the parameters' names, what to suppress, and thresholds of checks by code and name."""

    path: Path
    defaults: Mapping[str, Any]
    suppressions: tuple[Suppression, ...]
    thresholds: Mapping[str, Mapping[str, float]]


def find(start: Path) -> Path | None:
    """Find the nearest configuration at or above a folder: our own file, or a pyproject.toml that has our table."""
    for folder in (start, *start.parents):
        if (folder / OWN_FILE).is_file():
            return folder / OWN_FILE
        project = folder / "pyproject.toml"
        if project.is_file() and _table(project) is not None:
            return project
    return None


def load(path: Path, options: Mapping[str, Kind], elsewhere: Iterable[str] = ()) -> Settings:
    """Read what a configuration file sets.

    Args:
        path: A pyproject.toml with a table `[tool.dataset-doctor]`, or a file of our own with the keys at its top.
        options: The options of the command, written with dashes, and what they take.
        elsewhere: Options that only other commands have: known, and left alone.

    Raises:
        UsageError: the file cannot be read, has a key that no option has, or a value of the wrong kind.
    """
    table = _table(path)
    if table is None:
        raise UsageError(f"{path} has no table [tool.dataset-doctor].", "Add it, or name another file.")
    known = {*options, *elsewhere, "suppress", "checks"}
    defaults = {}
    for key, value in table.items():
        option = key.replace("_", "-")
        if option not in known:
            raise UsageError(f"{path}: {key} is not an option.", did_you_mean(option, sorted(known)))
        if option in options:
            defaults[option.replace("-", "_")] = _value(path, key, value, options[option])
    return Settings(path, defaults, _suppressions(path, table.get("suppress", [])), _thresholds(path, table.get("checks", {})))


def _value(path: Path, key: str, value: Any, kind: Kind) -> Any:
    """Check that a value is of the kind that its option takes, and give it as the command line would."""
    if kind == "flag":
        if not isinstance(value, bool):
            raise _wrong(path, key, value, "true or false")
        return value
    if kind in ("list", "paths"):
        members = value if isinstance(value, list) else [value]
        if not all(isinstance(member, str) for member in members):
            raise _wrong(path, key, value, "a text or a list of texts")
        return [_beside(path, member) for member in members] if kind == "paths" else members
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise _wrong(path, key, value, "a text or a number")
    return _beside(path, str(value)) if kind == "path" else str(value)


def _beside(path: Path, name: str) -> str:
    return name if path.parent.resolve() == Path.cwd() else str(path.parent.resolve() / name)


def _wrong(path: Path, key: str, value: Any, wanted: str) -> UsageError:
    kinds = {bool: "true or false", str: "a text", int: "a number", float: "a number", list: "a list", dict: "a table"}
    return UsageError(f"{path}: {key} is {kinds.get(type(value), 'a date')}, and should be {wanted}.")


def _thresholds(path: Path, checks: Any) -> Mapping[str, Mapping[str, float]]:
    from dataset_doctor.checks.settings import validated

    try:
        return validated(checks) if checks else {}
    except UsageError as error:
        raise UsageError(f"{path}: {error.message}", error.hint) from error


# Suppressions -------------------------------------------------------------------------------------------------------


_SUPPRESS_KEYS = ("code", "reason", "until", "files")


def _suppressions(path: Path, entries: Any) -> tuple[Suppression, ...]:
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        header = "[[tool.dataset-doctor.suppress]]" if path.name == "pyproject.toml" else "[[suppress]]"
        raise UsageError(f"{path}: suppress should be a list of tables.", f"Write each below a line {header}.")
    return tuple(_suppression(f"{path}: suppress {at}", entry) for at, entry in enumerate(entries, 1))


def _suppression(where: str, entry: Mapping[str, Any]) -> Suppression:
    from dataset_doctor.checks import select

    for key in entry:
        if key not in _SUPPRESS_KEYS:
            raise UsageError(f"{where}: {key} is not a key.", did_you_mean(key, _SUPPRESS_KEYS))
    for key in ("code", "reason"):
        if not isinstance(entry.get(key), str) or not entry[key].strip():
            raise UsageError(f"{where} has no {key}.", f'Write {key} = "…"{" and say why" if key == "reason" else ""}.')
    files = entry.get("files", ["*"])
    files = [files] if isinstance(files, str) else files
    if not isinstance(files, list) or not files or not all(isinstance(pattern, str) and pattern for pattern in files):
        raise UsageError(f"{where}: files should be a list of patterns.", 'For example files = ["labels/old/*"].')
    try:
        checks = select([entry["code"].strip()])
    except UsageError as error:
        raise UsageError(f"{where}: {error.message}", error.hint) from error
    return Suppression(
        codes=frozenset(check.code for check in checks),
        reason=entry["reason"].strip(),
        until=_day(where, entry["until"]) if "until" in entry else None,
        files=tuple(files) if "files" in entry else (),
    )


def _day(where: str, value: Any) -> date:
    if isinstance(value, datetime):
        return value.date()
    if isinstance(value, date):
        return value
    try:
        return date.fromisoformat(value)
    except (TypeError, ValueError) as error:
        shown = f"{value!r:.40}" if isinstance(value, str | int | float) else "what is given"
        raise UsageError(f"{where}: until should be a date, and {shown} is none.", "Write until = 2030-12-31.") from error


# The file -----------------------------------------------------------------------------------------------------------


def _table(path: Path) -> dict[str, Any] | None:
    if sys.version_info >= (3, 11):
        import tomllib
    else:
        import tomli as tomllib
    try:
        content = tomllib.loads(read_regular(path, MAX_BYTES).decode("utf-8-sig"))
    except Unreadable as error:
        raise UsageError(f"{path} cannot be read: {error}.", "Name a .toml file.") from error
    except (ValueError, RecursionError) as error:  # text that is not UTF-8 or not TOML, a date that is none
        raise UsageError(f"{path} cannot be read: {error}.") from error
    if path.name != "pyproject.toml":
        return content
    tool = content.get("tool", {})
    table = tool.get("dataset-doctor") if isinstance(tool, dict) else None
    return table if isinstance(table, dict) else None
