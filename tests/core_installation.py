"""Run every command and method once, as installed without extras: `PYTHON tests/core_installation.py`, with the environment's python.

What needs an extra must say which one; all else must work. Nothing beyond the standard library and the package is imported here.
"""

from __future__ import annotations

import contextlib
import io
import os
import shlex
import subprocess
import sys
import tempfile
from importlib.util import find_spec
from pathlib import Path

from dataset_doctor.balance import SAMPLERS
from dataset_doctor.balance.augmenting import OPERATIONS
from dataset_doctor.balance.samplers.imbalanced_learn import NAMES
from dataset_doctor.cli.app import main as command
from dataset_doctor.weights import SCHEMES

FIXTURES = Path(__file__).resolve().parent.parent / "fixtures"
WRITERS = {"coco": ("voc", "yolo"), "voc": ("coco", "yolo"), "yolo": ("coco", "voc"), "folder": ("folder",)}
TRAINERS = ("torch", "torchvision", "ultralytics", "yolov5", "mmdet", "detectron2", "keras", "hf", "sklearn")
REPORTS = ("html", "json", "md", "csv", "sarif")

Step = tuple[str, ...]


def journey(name: str) -> list[Step]:
    """A person's way with each format: look, divide, balance, look again, convert. Each step is a process of its own."""
    return [
        ("audit", name, *(word for end in REPORTS for word in ("-o", f"{name}.{end}"))),
        ("split", name, f"{name}-split", "--ratios", "60/20/20"),
        ("rebalance", f"{name}-split", f"{name}-even", "--method", "repeat_factor"),
        ("audit", f"{name}-even", "--fail-on", "never"),
        ("weights", f"{name}-even"),
        *(("convert", name, f"{name}-as-{to}", "--to", to) for to in WRITERS[name]),
    ]


def methods() -> list[Step]:
    """Each method, operation, scheme and file once."""
    steps: list[Step] = [(), ("explain",), ("explain", "DD101"), ("demo", "park"), ("audit", "park/all", "--fail-on", "never")]
    steps += [("rebalance", "coco", f"by-{m}", "--method", m) for m in SAMPLERS if m != "none"]
    steps += [("rebalance", "folder", f"by-{name}", "--method", f"imblearn:{name}") for name in NAMES]
    steps += [("rebalance", name, f"pasted-{name}", "--method", "copy_paste", "--preview", f"{name}.jpg") for name in ("voc", "yolo")]
    altered = ("--method", "repeat_factor", "--budget", "2", "--augment")
    steps += [("rebalance", "yolo", "altered", *altered, ",".join(name for name in OPERATIONS if name != "mixup"))]
    steps += [("rebalance", "folder", "mixed", *altered, "mixup")]
    steps += [("weights", "voc", "--scheme", scheme, *(("--power", "0.5") if scheme == "power" else ())) for scheme in SCHEMES]
    steps += [("weights", "voc", "--for", trainer) for trainer in TRAINERS]
    steps += [("weights", "voc", *(word for end in ("json", "yaml", "csv", "npy") for word in ("-o", f"weights.{end}")))]
    return steps


NEED_EXTRA = {
    ("verify", "folder"): ("torch", "train"),
    ("weights", "voc", "-o", "weights.pt"): ("torch", "train"),
    ("audit", "folder", "--engine", "dask", "--fail-on", "never"): ("distributed", "cluster"),
}
"""The package that a command needs, and the extra that brings it."""


def in_a_process(step: Step) -> tuple[int, str]:
    """Run the installed command; its exit code and what it said on stderr."""
    done = subprocess.run(
        [Path(sys.executable).with_name("dataset-doctor"), *step], capture_output=True, text=True, check=False, timeout=300
    )
    return done.returncode, done.stderr


def here(step: Step) -> tuple[int, str]:
    """Run a command in this process, which has imported most of it already."""
    said = io.StringIO()
    try:
        with contextlib.redirect_stdout(io.TextIOWrapper(io.BytesIO(), "utf-8")), contextlib.redirect_stderr(said):
            command(list(step))
    except SystemExit as end:
        return int(end.code or 0), said.getvalue()


def main() -> int:
    """Print one line a failure; exit with 1 if there is one."""
    wrong: list[str] = []
    count = 0

    def check(step: Step, code: int, said: str) -> None:
        nonlocal count
        count += 1
        if code or "Traceback" in said:
            wrong.append(f"exit {code}: dataset-doctor {shlex.join(step)}: {said.strip()[-300:]}")

    with tempfile.TemporaryDirectory() as scratch:
        os.environ |= {"DATASET_DOCTOR_CACHE": str(Path(scratch) / "cache"), "NO_COLOR": "1"}
        os.chdir(scratch)
        for name in WRITERS:
            Path(name).symlink_to(FIXTURES / name)
            for step in journey(name):
                check(step, *in_a_process(step))
        for step in methods():
            check(step, *here(step))
        os.environ["DATASET_DOCTOR_CACHE"] = str(Path(scratch) / "empty")
        for step, (package, extra) in NEED_EXTRA.items():
            if find_spec(package) is None:
                count += 1
                code, said = here(step)
                if code != 2 or "is not installed" not in said or f"pip install '.[{extra}]'" not in said:
                    wrong.append(f"dataset-doctor {shlex.join(step)} should name the extra {extra}: {said.strip()[-300:]}")
        os.chdir(FIXTURES)
    sys.stdout.write("\n".join([*wrong, f"{count} commands without extras, {len(wrong)} failed\n"]))
    return int(bool(wrong))


if __name__ == "__main__":
    sys.exit(main())
