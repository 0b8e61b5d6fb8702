"""What reads the datasets that are written: the real libraries, each in a process of its own, so that their warnings and caches stay there."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image


def planted(root: Path, files: Mapping[str, str | bytes]) -> Path:
    """Write files; a name that ends like an image becomes a picture of 80 × 60 that no other name has."""
    for number, (name, content) in enumerate(files.items()):
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.suffix in (".jpg", ".png"):
            Image.fromarray(np.random.default_rng(number).integers(0, 255, (60, 80, 3), np.uint8)).save(path)
        else:
            path.write_bytes(content.encode() if isinstance(content, str) else content)
    return root


def contents(root: Path) -> dict[str, bytes]:
    """Give every file below a folder by its path, but for the manifest."""
    files = (path for path in sorted(root.rglob("*")) if path.is_file() and path.name != "dataset-doctor.json")
    return {path.relative_to(root).as_posix(): path.read_bytes() for path in files}


def needs(*modules: str) -> None:
    """Skip a test whose consumer is not installed; where continuous integration runs, all of them have to be."""
    missing = [module for module in modules if importlib.util.find_spec(module) is None]
    assert not (missing and os.environ.get("CI")), f"not installed: {missing}"
    if missing:
        pytest.skip(f"not installed: {', '.join(missing)} (pip install -e '.[dev]')")


def consumed(script: str, scratch: Path, *arguments: object) -> Any:
    """Run a script in a process of its own and give the JSON document on the last line it prints."""
    scratch.mkdir(parents=True, exist_ok=True)
    private = {"YOLO_CONFIG_DIR": str(scratch), "MPLCONFIGDIR": str(scratch), "YOLO_OFFLINE": "true", "CUDA_VISIBLE_DEVICES": ""}
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", script, *map(str, arguments)],
        capture_output=True,
        text=True,
        cwd=scratch,
        env={**os.environ, **private},
        timeout=600,
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
    return json.loads(done.stdout.strip().splitlines()[-1])
