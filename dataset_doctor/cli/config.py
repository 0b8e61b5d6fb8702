"""The configuration file: defaults for options, under the options' own names."""

from __future__ import annotations

import sys
from collections.abc import Collection
from pathlib import Path
from typing import Any

from dataset_doctor.errors import UsageError, did_you_mean

OWN_FILE = "dataset-doctor-vision.toml"
MAX_BYTES = 1 << 20


def find(start: Path) -> Path | None:
    """Find the nearest configuration at or above a folder: our own file, or a pyproject.toml that has our table."""
    for folder in (start, *start.parents):
        if (folder / OWN_FILE).is_file():
            return folder / OWN_FILE
        project = folder / "pyproject.toml"
        if project.is_file() and _table(project) is not None:
            return project
    return None


def load(path: Path, known: Collection[str]) -> dict[str, Any]:
    """Read the options a configuration file sets.

    Args:
        path: A pyproject.toml with a table `[tool.dataset-doctor]`, or a file of our own with the keys at its top.
        known: The names of all options, written with dashes.

    Raises:
        UsageError: the file cannot be read, or has a key that no option has.
    """
    table = _table(path)
    if table is None:
        raise UsageError(f"{path} has no table [tool.dataset-doctor].")
    for key in table:
        if key.replace("_", "-") not in known:
            raise UsageError(f"{path}: {key} is not an option.", did_you_mean(key.replace("_", "-"), sorted(known)))
    return {key.replace("-", "_"): value for key, value in table.items()}


def _table(path: Path) -> dict[str, Any] | None:
    if sys.version_info >= (3, 11):
        import tomllib
    else:
        import tomli as tomllib
    try:
        if path.stat().st_size > MAX_BYTES:
            raise UsageError(f"{path} is larger than {MAX_BYTES:,} bytes.")
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError, RecursionError) as error:
        raise UsageError(f"{path} cannot be read: {error}") from error
    if path.name != "pyproject.toml":
        return content
    tool = content.get("tool", {})
    table = tool.get("dataset-doctor") if isinstance(tool, dict) else None
    return table if isinstance(table, dict) else None
