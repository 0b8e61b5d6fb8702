"""Run the command as a user would, in a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path


def run(*arguments: str | Path, cwd: Path | None = None, timeout: float = 60, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run `dataset-doctor` with arguments; 80 columns, no terminal."""
    return subprocess.run(
        [sys.executable, "-m", "dataset_doctor", *map(str, arguments)],
        capture_output=True,
        text=True,
        cwd=cwd,
        timeout=timeout,
        env={**os.environ, "COLUMNS": "80", "NO_COLOR": "1", **environment},
    )
