"""Measure this tool, its peers and the floor in one run, and write the table.

    python benchmarks/run.py --data /tmp/bench --peers-python /tmp/peers/bin/python
    python benchmarks/run.py --only startup --only coco --scale 0.02 --runs 3

How it measures:

* Every run is a fresh process (`contenders.py`); the contenders of a case take turns (A B C A B C …), so that a machine that slows
  down slows all of them. A ratio is taken within each turn; the table gives the median of the ratios, not the ratio of the medians.
* The first contender of a case runs once beforehand, uncounted, so that all of them find the files in the page cache.
* Memory is the peak resident set of the contender's process or of its largest child, as the system counts it, libraries included.
* What each contender has read is counted; where two disagree, the table says so, since then they did not do the same work.
* A contender that is not installed or fails has a row that says so.

Only the standard library is imported here: a child begins its life with its parent's peak memory.
"""

import argparse
import dataclasses
import datetime
import json
import os
import platform
import re
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
GENERATOR = HERE.parents[1] / "shared" / "bench" / "gen_labels.py"
PHOTOS = "gen_images.py"
"""The script beside it that makes photos. It needs OpenCV, scikit-image and scikit-learn, so it runs with the peers' Python."""
TIME_LIMIT = 900
"""Seconds after which a run counts as failed."""


# What is measured ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Data:
    """Generated data: a kind and scale of the generator (1 is COCO train2017), and what of it a contender is given."""

    kind: str = ""
    scale: float = 0.0
    inside: str = ""


@dataclass(frozen=True)
class Contender:
    """A function of contenders.py on some data; `by` is "floor", "brute force", "this tool" or "peer" (runs with the peers' Python)."""

    function: str
    label: str
    by: str
    data: Data = Data()

    @property
    def key(self) -> str:
        """Name it within its case."""
        return f"{self.function} {self.data.kind} {self.data.scale:g}" if self.function == "ours_read" else self.function


@dataclass(frozen=True)
class Run:
    """What one run of a contender took, and what it read."""

    seconds: float
    peak_bytes: int
    counts: dict[str, int]


Turn = dict[str, Run]
"""One run of each contender that could run, by its key."""


@dataclass(frozen=True)
class Target:
    """A figure computed from one turn, and the limit it should keep; without a limit it is only reported."""

    text: str
    figure: Callable[[Turn], float]
    unit: str = "×"
    at_most: float | None = None
    at_least: float | None = None


@dataclass(frozen=True)
class Case:
    """Contenders for the same work. `ours` is the key of the one that the others are compared with."""

    title: str
    contenders: tuple[Contender, ...]
    ours: str
    targets: tuple[Target, ...]
    by_default: bool = True


COCO = Data("coco", 1, "instances_train.json")
BOXES, BOXES_10 = Data("coco-boxes", 1, "instances_train.json"), Data("coco-boxes", 10, "instances_train.json")
YOLO, YOLO_LABELS = Data("yolo", 1), Data("yolo", 1, "labels/train")
SMALL, LARGE = Data("photos-small", 1), Data("photos-large", 1)
VOC, VOC_LABELS = Data("voc", 0.1), Data("voc", 0.1, "Annotations")

READ_COCO, READ_YOLO, READ_VOC = "ours_read coco 1", "ours_read yolo 1", "ours_read voc 0.1"
READ_BOXES, READ_BOXES_10 = "ours_read coco-boxes 1", "ours_read coco-boxes 10"
VOC_PEERS = ("pylabel", "globox")
SAMPLERS = ("oversample", "undersample", "hybrid", "repeat_factor", "irfs", "class_aware", "ml_ros", "ml_rus")


def optimal_contenders(size: str) -> tuple[Contender, ...]:
    """Name both objectives of `optimal` on counts of one size."""
    return (
        Contender(f"optimal_{size}", "the cheapest epoch", "this tool"),
        Contender(f"optimal_{size}_within", "the most varied epoch within 1.5 ×", "this tool"),
    )


def optimal_targets(*, seconds: float) -> tuple[Target, ...]:
    """Limit the time and the gap of both objectives."""
    return (
        Target("`optimal`, the slower objective", lambda t: max(run.seconds for run in t.values()), " s", at_most=seconds),
        Target("`optimal`, the larger gap", lambda t: max(run.counts["gap"] for run in t.values()) / 1e7, " %", at_most=1),
    )


def split_contenders(size: str) -> tuple[Contender, ...]:
    """Name what divides counts of one size."""
    return (
        Contender(f"split_{size}", "`split`, comparison with other divisions included", "this tool"),
        Contender(f"iterative_{size}", "own iterative stratification", "this tool"),
        Contender(f"iterative_package_{size}", "iterative-stratification", "peer"),
    )


def split_targets(size: str) -> tuple[Target, ...]:
    """Compare how good the division of one size is with that of the package."""

    def ratio(figure: str) -> Callable[[Turn], float]:
        return lambda t: t[f"split_{size}"].counts[figure] / t[f"iterative_package_{size}"].counts[figure]

    return (
        # Where the package leaves splits without a rare class, giving them an image of it takes that class away from the ratios.
        Target("worst share of a class's images, `split` ÷ package", ratio("worst_share"), at_most=1 if size == "coco" else None),
        Target("label distribution, `split` ÷ package", ratio("ld"), at_most=1.01),
        Target("divergence in instances, `split` ÷ package", ratio("js"), at_most=1),
        Target("splits that lack a class they could have", lambda t: t[f"split_{size}"].counts["gaps"], "", at_most=0),
    )


CASES = {
    "coco": Case(
        "COCO JSON with polygons",
        (
            Contender("floor_coco", "typed decode in chunks, nothing checked", "floor", COCO),
            Contender("ours_read", "`read`", "this tool", COCO),
            Contender("ours_audit", "`audit --no-pixels --json`, whole command", "this tool", COCO),
            Contender("hotcoco", "hotcoco `COCO(file)` (compiled)", "peer", COCO),
            Contender("pycocotools", "pycocotools `COCO(file)`", "peer", COCO),
        ),
        READ_COCO,
        (
            Target("`read` ÷ hotcoco, time", lambda t: t[READ_COCO].seconds / t["hotcoco"].seconds, at_most=1.0),
            Target("`read` ÷ hotcoco, peak memory", lambda t: t[READ_COCO].peak_bytes / t["hotcoco"].peak_bytes, at_most=1.0),
            Target("`read` ÷ floor, time", lambda t: t[READ_COCO].seconds / t["floor_coco"].seconds, at_most=1.25),
            Target("pycocotools ÷ `read`, time", lambda t: t["pycocotools"].seconds / t[READ_COCO].seconds, at_least=12),
            Target("`audit` ÷ `read`, time", lambda t: t["ours_audit"].seconds / t[READ_COCO].seconds, at_most=2.5),
        ),
    ),
    "coco10": Case(
        "COCO JSON, boxes only, and ten times as much",
        (
            Contender("ours_read", "`read`, once", "this tool", BOXES),
            Contender("ours_read", "`read`, ten times", "this tool", BOXES_10),
        ),
        READ_BOXES,
        (
            Target("ten times ÷ once, time", lambda t: t[READ_BOXES_10].seconds / t[READ_BOXES].seconds, at_most=11),
            Target("peak memory, growth an annotation", lambda t: growth(t, lambda run: run.peak_bytes), " bytes"),
            Target("columns and names, growth an annotation", lambda t: growth(t, lambda run: run.counts["column_bytes"]), " bytes"),
        ),
        by_default=False,
    ),
    "yolo": Case(
        "YOLO",
        (
            Contender("floor_files", "open, read, close each label file", "floor", YOLO_LABELS),
            Contender("ours_labels", "label files read and parsed", "this tool", YOLO),
            Contender("ours_read", "`read`, size of each image from its header", "this tool", YOLO),
            Contender("ultralytics", "Ultralytics `YOLODataset`, no cache", "peer", YOLO),
        ),
        READ_YOLO,
        (
            Target("labels alone ÷ floor, time", lambda t: t["ours_labels"].seconds / t["floor_files"].seconds, at_most=2),
            Target("Ultralytics ÷ `read`, time", lambda t: t["ultralytics"].seconds / t[READ_YOLO].seconds, at_least=10),
        ),
    ),
    "voc": Case(
        "Pascal VOC XML",
        (
            Contender("floor_files", "open, read, close each XML file", "floor", VOC_LABELS),
            Contender("ours_read", "`read`", "this tool", VOC),
            Contender("pylabel", "pylabel `ImportVOC`", "peer", VOC),
            Contender("globox", "globox `from_pascal_voc`", "peer", VOC),
        ),
        READ_VOC,
        (
            Target("`read` ÷ floor, time", lambda t: t[READ_VOC].seconds / t["floor_files"].seconds, at_most=5),
            Target(
                "fastest Python peer ÷ `read`, time",
                lambda t: min(t[peer].seconds for peer in VOC_PEERS if peer in t) / t[READ_VOC].seconds,
                at_least=4,
            ),
        ),
    ),
    "scan": Case(
        "Photos of 640 × 480",
        (
            Contender("floor_decode_4", "read and decode at a quarter of the scale, a thread a core", "floor", SMALL),
            Contender("ours_scan", "`scan`, no cache", "this tool", SMALL),
            Contender("ours_scan_warm", "`scan`, nothing has changed since the last", "this tool", SMALL),
            Contender("imagededup", "imagededup `PHash`, hashes alone", "peer", SMALL),
            Contender("fastdup", "fastdup `run`", "peer", SMALL),
            Contender("cleanvision", "CleanVision `find_issues`", "peer", SMALL),
        ),
        "ours_scan",
        (
            Target("floor ÷ `scan`, time", lambda t: t["floor_decode_4"].seconds / t["ours_scan"].seconds, at_least=0.65),
            Target("`scan` ÷ second `scan`, time", lambda t: t["ours_scan"].seconds / t["ours_scan_warm"].seconds, at_least=50),
        ),
    ),
    "scan-large": Case(
        "Photos of 1920 × 1080",
        (
            Contender("floor_decode_8", "read and decode at an eighth of the scale, a thread a core", "floor", LARGE),
            Contender("ours_scan", "`scan`, no cache", "this tool", LARGE),
        ),
        "ours_scan",
        (Target("floor ÷ `scan`, time", lambda t: t["floor_decode_8"].seconds / t["ours_scan"].seconds, at_least=0.75),),
    ),
    "dask": Case(
        "Photos of 640 × 480 on a dask cluster of this machine",
        (
            Contender("ours_scan_dask_1", "`scan`, one worker", "this tool", SMALL),
            Contender("ours_scan_dask_2", "`scan`, two workers", "this tool", SMALL),
        ),
        "ours_scan_dask_1",
        (Target("one worker ÷ two, time", lambda t: t["ours_scan_dask_1"].seconds / t["ours_scan_dask_2"].seconds, at_least=1.6),),
    ),
    "near": Case(
        "Near-duplicates among random 64-bit hashes, at most 6 bits differ",
        (
            Contender("near_100k", "100,000 hashes", "this tool"),
            Contender("near_100k_black", "100,000, a tenth all alike", "this tool"),
            Contender("near_1m", "1,000,000 hashes", "this tool"),
            Contender("near_1m_black", "1,000,000, a tenth all alike", "this tool"),
            Contender("all_with_all_100k", "100,000, each compared with each in numpy", "brute force"),
        ),
        "near_100k",
        (
            Target("100,000 hashes", lambda t: t["near_100k"].seconds, " s", at_most=0.5),
            Target("1,000,000 hashes", lambda t: t["near_1m"].seconds, " s", at_most=10),
            Target("a tenth alike ÷ none alike, 1,000,000", lambda t: t["near_1m_black"].seconds / t["near_1m"].seconds, at_most=1.5),
            Target("each with each ÷ ours, 100,000", lambda t: t["all_with_all_100k"].seconds / t["near_100k"].seconds, at_least=10),
        ),
    ),
    "samplers": Case(
        "Samplers, on counts of 118,287 images and 80 classes that are at hand",
        (
            *(Contender(f"sampler_{name}", f"`{name}`", "this tool") for name in SAMPLERS),
            Contender("repeat_factor_loop", "repeat factors image by image in Python, as in detectron2", "brute force"),
        ),
        "sampler_repeat_factor",
        (
            Target("slowest sampler", lambda t: max(t[f"sampler_{name}"].seconds for name in SAMPLERS), " s", at_most=0.2),
            Target("loop ÷ `repeat_factor`", lambda t: t["repeat_factor_loop"].seconds / t["sampler_repeat_factor"].seconds, at_least=10),
        ),
    ),
    "optimal": Case(
        "`optimal` towards the square root with certificate and curve, on counts of 118,287 images and 80 classes that are at hand",
        optimal_contenders("coco"),
        "optimal_coco",
        optimal_targets(seconds=5),
    ),
    "optimal-lvis": Case(
        "`optimal` towards the square root with certificate and curve, 100,170 images and 1,203 classes",
        optimal_contenders("lvis"),
        "optimal_lvis",
        optimal_targets(seconds=15),
    ),
    "split": Case(
        "80/10/10 split of 118,287 images with 80 classes",
        split_contenders("coco"),
        "split_coco",
        (Target("`split`", lambda t: t["split_coco"].seconds, " s", at_most=3), *split_targets("coco")),
    ),
    "split-lvis": Case(
        "80/10/10 split of 100,170 images with 1,203 classes",
        split_contenders("lvis"),
        "split_lvis",
        (
            Target("`split`", lambda t: t["split_lvis"].seconds, " s", at_most=5),
            Target("package ÷ `split`, time", lambda t: t["iterative_package_lvis"].seconds / t["split_lvis"].seconds, at_least=20),
            *split_targets("lvis"),
        ),
        by_default=False,
    ),
    "augment": Case(
        "200 altered copies of photos of 640 × 480, written as JPEG",
        (
            Contender("bare_copies", "decode and encode with OpenCV in as many threads as cores", "floor", SMALL),
            Contender("ours_copies", "flip, rotate, scale and color, labels and manifest included", "this tool", SMALL),
        ),
        "ours_copies",
        (
            Target("images/s, ours ÷ OpenCV", lambda t: t["bare_copies"].seconds / t["ours_copies"].seconds, at_least=0.6),
            Target("images/s", lambda t: t["ours_copies"].counts["images"] / t["ours_copies"].seconds, " "),
        ),
    ),
    "copy-paste": Case(
        "Photos of 640 × 480 with three objects pasted into each, written as JPEG",
        (
            Contender("bare_copies", "decode and encode 200 with OpenCV in as many threads as cores", "floor", SMALL),
            Contender("ours_pastes", "plan by `copy_paste` and write, labels and manifest included", "this tool", SMALL),
        ),
        "ours_pastes",
        (Target("images/s", lambda t: t["ours_pastes"].counts["images"] / t["ours_pastes"].seconds, " ", at_least=20),),
    ),
    "train": Case(
        "60 steps of a ResNet of 8 layers on 64 pictures of 32 × 32, on the CPU",
        (
            Contender("bare_train", "take, augment, forward, backward, step in plain PyTorch", "floor"),
            Contender("ours_train", "the loop of `verify`", "this tool"),
        ),
        "ours_train",
        (
            Target("images/s, `verify` ÷ plain PyTorch", lambda t: t["bare_train"].seconds / t["ours_train"].seconds, at_least=0.95),
            Target("images/s", lambda t: 60 * 64 / t["ours_train"].seconds, " "),
        ),
    ),
    "train-detect": Case(
        "20 steps of SSDlite on 8 pictures of 320 × 320 with five objects, on the CPU",
        (
            Contender("bare_detect", "take, augment, forward, backward, step around torchvision's model", "floor"),
            Contender("ours_detect", "the loop of `verify`", "this tool"),
        ),
        "ours_detect",
        (
            Target("images/s, `verify` ÷ torchvision", lambda t: t["bare_detect"].seconds / t["ours_detect"].seconds, at_least=0.95),
            Target("images/s", lambda t: 20 * 8 / t["ours_detect"].seconds, " "),
        ),
    ),
    "startup": Case(
        "Start of a process",
        (
            Contender("bare_python", "`python -c pass`", "floor"),
            Contender("import_numpy", "`import numpy`", "floor"),
            Contender("ours_import", "`import dataset_doctor`", "this tool"),
            Contender("ours_help", "`dataset-doctor --help`", "this tool"),
        ),
        "ours_help",
        (
            Target("`dataset-doctor --help`", lambda t: t["ours_help"].seconds, " s", at_most=0.4),
            Target("`import dataset_doctor`", lambda t: t["ours_import"].seconds, " s", at_most=0.25),
        ),
    ),
}  # fmt: skip


def growth(turn: Turn, measure: Callable[[Run], int]) -> float:
    """Divide what a measure grows by through what the number of annotations grows by."""
    once, ten_times = turn[READ_BOXES], turn[READ_BOXES_10]
    return (measure(ten_times) - measure(once)) / (ten_times.counts["annotations"] - once.counts["annotations"])


# Measuring ------------------------------------------------------------------------------------------------------------


@dataclass
class Measured:
    """The turns of one case; `left_out` says why a contender has no runs."""

    name: str
    case: Case
    turns: list[Turn]
    left_out: dict[str, str]
    failed: bool
    versions: dict[str, str]
    load_before: float
    load_after: float

    def runs(self, key: str) -> list[Run]:
        """List the runs of a contender that could run; none where it could not."""
        return [turn[key] for turn in self.turns if key in turn]

    def figures(self, figure: Callable[[Turn], float]) -> list[float]:
        """Compute a figure for each turn; an empty list where a contender that it needs is missing."""
        try:
            return [figure(turn) for turn in self.turns]
        except (KeyError, ValueError):
            return []

    def annotations(self) -> set[int]:
        """Tell how many annotations the contenders have read on the data that `ours` reads; more than one number: they disagree."""
        same = [c.key for c in self.case.contenders if c.data.scale == self.ours.data.scale]
        return {run.counts["annotations"] for key in same for run in self.runs(key) if "annotations" in run.counts}

    @property
    def ours(self) -> Contender:
        """The contender that the others are compared with."""
        return next(c for c in self.case.contenders if c.key == self.case.ours)


def measure(name: str, options: argparse.Namespace) -> Measured:
    """Make the data of a case where it is not there yet, and let its contenders take turns."""
    case = CASES[name]
    left_out: dict[str, str] = {}
    paths = {}
    for contender in case.contenders:
        try:
            paths[contender.key] = data_path(contender.data, options)
        except DataMissing as error:
            left_out[contender.key] = str(error)
    result = Measured(name, case, [], left_out, bool(left_out), {}, os.getloadavg()[0], 0.0)
    for number in range(options.runs + 1):
        turn: Turn = {}
        for contender in case.contenders if number else case.contenders[:1]:
            if contender.key in left_out:
                continue
            said = run(contender, paths[contender.key], options)
            if "seconds" not in said:
                left_out[contender.key] = said.get("missing") or said["failed"]
                result.failed |= "failed" in said or contender.by != "peer"
                print(f"{name}: {contender.label}: {left_out[contender.key]}", file=sys.stderr)
                continue
            if said["version"]:
                result.versions[said["package"]] = said["version"]
            if number:
                turn[contender.key] = Run(said["seconds"], said["peak_bytes"], said["counts"])
                talk = f"{said['seconds']:8.3f} s  {said['peak_bytes'] / 1e6:7,.0f} MB"
                print(f"{name}: turn {number} of {options.runs}: {talk}  {contender.label}", file=sys.stderr)
        if number:
            result.turns.append(turn)
    result.load_after = os.getloadavg()[0]
    result.failed |= len(result.annotations()) > 1
    return result


def run(contender: Contender, path: Path, options: argparse.Namespace) -> dict[str, Any]:
    """Run a contender in a fresh process; the answer has `seconds`, or says why not under `missing` or `failed`."""
    python = options.peers_python if contender.by == "peer" else sys.executable
    command = [os.fspath(python), os.fspath(HERE / "contenders.py"), contender.function, os.fspath(path)]
    environment = {**os.environ, "PYTHONPATH": os.fspath(HERE.parent), "PYTHONHASHSEED": "0"}
    try:
        done = subprocess.run(command, capture_output=True, env=environment, timeout=TIME_LIMIT, check=False, cwd=HERE)
    except OSError as error:
        return {"missing": f"{python}: {error.strerror}"}
    except subprocess.TimeoutExpired:
        return {"failed": f"not done after {TIME_LIMIT} s"}
    if done.returncode:
        last = done.stderr.decode(errors="replace").strip().splitlines()[-1:]
        return {"failed": f"exit code {done.returncode}: {''.join(last)}"}
    said: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return said


class DataMissing(Exception):
    """Data that a case needs could not be made."""


def data_path(data: Data, options: argparse.Namespace) -> Path:
    """Give the place of some data; makes it where it is not there."""
    if not data.kind:
        return Path("-")
    scale = f"{data.scale * options.scale:g}"
    folder: Path = options.data / f"{data.kind}-{scale}"
    if not folder.exists():
        photos = data.kind.startswith("photos")
        generator = options.generator.with_name(PHOTOS) if photos else options.generator
        if not generator.is_file():
            raise DataMissing(f"no data: {folder} is not there, and neither is the generator {generator}")
        print(f"making {folder}", file=sys.stderr)
        python = options.peers_python if photos else sys.executable
        command = [python, HERE / "data.py", data.kind, scale, folder, "--generator", generator]
        if subprocess.run(command, stdout=sys.stderr, check=False).returncode:
            raise DataMissing(f"no data: {folder} could not be made")
    return folder / data.inside


# Writing --------------------------------------------------------------------------------------------------------------


def machine() -> dict[str, str | int]:
    """Say what was measured on."""
    model, memory = platform.machine(), 0
    try:
        found = re.search(r"^model name\s*: (.+)$", Path("/proc/cpuinfo").read_text(), re.M)
        model = found[1] if found else model
        memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (OSError, ValueError):
        pass
    return {
        "processor": model, "cores": os.cpu_count() or 0, "memory_bytes": memory,
        "system": f"{platform.system()} {platform.release()}", "python": platform.python_version(),
    }  # fmt: skip


def spread(values: Sequence[float], digits: Callable[[float], str]) -> str:
    """Write a median with its least and greatest value."""
    middle, least, most = (digits(value) for value in (statistics.median(values), min(values), max(values)))
    return middle if least == most else f"{middle} ({least}–{most})"


def three_digits(value: float) -> str:
    """Write a number with about three digits.

    >>> three_digits(0.01234), three_digits(1.234), three_digits(12.34), three_digits(1234.5)
    ('0.012', '1.23', '12.3', '1,234')
    """
    return f"{value:.3f}" if value < 1 else f"{value:.2f}" if value < 10 else f"{value:.1f}" if value < 100 else f"{value:,.0f}"


def speed_table(results: Sequence[Measured]) -> str:
    """Write the table of times and memory as Markdown."""
    lines = ["| work | by | what | seconds | peak MB | time ÷ ours |", "|---|---|---|---:|---:|---:|"]
    for result in results:
        work = f"**{result.case.title}**"
        counts = next((run.counts for run in result.runs(result.case.ours) if "images" in run.counts), None)
        if counts:
            work += "".join(f", {counts[what]:,} {what}" for what in ("images", "annotations") if what in counts)
        for contender in result.case.contenders:
            runs, by = result.runs(contender.key), contender.by
            if runs and contender.key not in result.left_out:
                seconds = spread([one.seconds for one in runs], three_digits)
                peak = f"{statistics.median(one.peak_bytes for one in runs) / 1e6:,.0f}"
                ratios = result.figures(lambda t, key=contender.key, ours=result.case.ours: t[key].seconds / t[ours].seconds)  # type: ignore[misc]
                ratio = "1" if contender.key == result.case.ours else three_digits(statistics.median(ratios)) if ratios else "–"
            else:
                seconds, peak, ratio = f"not measured: {result.left_out[contender.key]}".replace("|", "/"), "–", "–"
            what = f"**{contender.label}**" if by == "this tool" else contender.label
            lines.append(f"| {work} | {by} | {what} | {seconds} | {peak} | {ratio} |")
            work = ""
    return "\n".join(lines)


def target_table(results: Sequence[Measured]) -> str:
    """Write the table of targets as Markdown."""
    lines = ["| figure | measured | target | met |", "|---|---:|---:|---|"]
    for result in results:
        for target in result.case.targets:
            values = result.figures(target.figure)
            wanted = f"≤ {target.at_most:g}{target.unit}" if target.at_most is not None else ""
            wanted = f"≥ {target.at_least:g}{target.unit}" if target.at_least is not None else wanted
            met = is_met(target, values)
            shown = spread(values, three_digits) + target.unit if values else "not measured"
            lines.append(f"| {result.name}: {target.text} | {shown} | {wanted} | {'' if met is None else 'yes' if met else '**no**'} |")
    return "\n".join(lines)


def is_met(target: Target, values: Sequence[float]) -> bool | None:
    """Judge the median; None where there is no figure or no limit."""
    if not values or target.at_most is target.at_least is None:
        return None
    middle = statistics.median(values)
    return middle <= target.at_most if target.at_most is not None else middle >= (target.at_least or 0)


def heading(results: Sequence[Measured], options: argparse.Namespace) -> str:
    """Say when, on what and how it was measured."""
    host = machine()
    scale = "" if options.scale == 1 else f" **Data at {options.scale:g} of the full scale: for trying out only.**"
    memory = f", {host['memory_bytes'] / 2**30:.0f} GiB" if isinstance(host["memory_bytes"], int) and host["memory_bytes"] else ""
    return (
        f"Measured on {datetime.date.today()} on {host['processor']}, {host['cores']} cores{memory}, {host['system']},"
        f" Python {host['python']}; median of {options.runs} runs taken in turns (fastest–slowest), files in the page cache.{scale}"
    )


def results_page(results: Sequence[Measured], options: argparse.Namespace) -> str:
    """Write RESULTS.md."""
    versions = dict(sorted({package: v for result in results for package, v in result.versions.items()}.items()))
    notes = [f"Versions: {', '.join(f'{package} {version}' for package, version in versions.items())}."] if versions else []
    load = ", ".join(f"{result.name} {result.load_before:.1f} → {result.load_after:.1f}" for result in results)
    notes.append(f"Load average before and after each case: {load}; the runs themselves count in it.")
    for result in results:
        if len(counts := result.annotations()) > 1:
            notes.append(f"**{result.name}: the contenders read different numbers of annotations: {sorted(counts)}.**")
    parts = [
        "# Speed", heading(results, options), "`python benchmarks/run.py` writes this page; README.md beside it says how.",
        speed_table(results), "## Targets", target_table(results), *notes,
    ]  # fmt: skip
    return "\n\n".join(parts) + "\n"


def results_json(results: Sequence[Measured], options: argparse.Namespace) -> str:
    """Write results.json: every run of every contender, and what the tables derive from them."""

    def summary(values: Sequence[float]) -> dict[str, float] | None:
        return {"median": statistics.median(values), "min": min(values), "max": max(values)} if values else None

    cases = {}
    for result in results:
        contenders = [
            {
                **dataclasses.asdict(contender),
                "seconds": summary([run.seconds for run in result.runs(contender.key)]),
                "peak_bytes": summary([run.peak_bytes for run in result.runs(contender.key)]),
                "runs": [dataclasses.asdict(run) for run in result.runs(contender.key)],
                "left_out": result.left_out.get(contender.key),
            }
            for contender in result.case.contenders
        ]
        targets = [
            {
                "text": target.text, "unit": target.unit.strip(), "at_most": target.at_most, "at_least": target.at_least,
                "figure": summary(values := result.figures(target.figure)), "met": is_met(target, values),
            }
            for target in result.case.targets
        ]  # fmt: skip
        cases[result.name] = {
            "title": result.case.title, "load_before": result.load_before, "load_after": result.load_after,
            "contenders": contenders, "targets": targets,
        }  # fmt: skip
    page = {
        "date": str(datetime.date.today()), "machine": machine(), "runs": options.runs, "scale": options.scale,
        "versions": {package: v for result in results for package, v in sorted(result.versions.items())}, "cases": cases,
    }  # fmt: skip
    return json.dumps(page, indent=2, ensure_ascii=False) + "\n"


PICTURES_BLOCK = re.compile(r"\n<!-- pictures -->\n.*?<!-- /pictures -->\n", re.S)
"""What `pictures.py` has written into RESULTS.md, and is kept there."""

SPEED_BLOCK = re.compile(r"(<!-- speed\b[^>]*-->\n).*?(<!-- /speed -->)", re.S)


def publish(path: Path, text: str) -> None:
    """Replace what stands between the speed markers of a page."""
    page = path.read_text(encoding="utf-8") if path.is_file() else ""
    if not SPEED_BLOCK.search(page):
        sys.exit(f"{path}: no block between <!-- speed --> and <!-- /speed -->; nothing was replaced there.")
    path.write_text(SPEED_BLOCK.sub(lambda found: f"{found[1]}{text}\n{found[2]}", page, count=1), encoding="utf-8")


# Command line -----------------------------------------------------------------------------------------------------------


def main() -> int:
    """Measure, print the tables, write the files. Exit code 1: data or a contender failed, or contenders read different numbers."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", action="append", choices=CASES, metavar="CASE", help=f"may be repeated: {', '.join(CASES)}")
    parser.add_argument("--runs", type=int, default=5, help="runs of each contender (default: 5)")
    parser.add_argument("--scale", type=float, default=1.0, help="share of the full data, for quick runs (default: 1)")
    parser.add_argument("--data", type=Path, help="folder to make the data in and find it again (default: a temporary one)")
    parser.add_argument("--generator", type=Path, default=GENERATOR, help="the script that makes the label files")
    parser.add_argument("--peers-python", type=Path, default=Path(sys.executable), help="Python that has the peers installed")
    parser.add_argument("--output", type=Path, default=HERE, help="folder for RESULTS.md and results.json (default: this one)")
    parser.add_argument("--publish", action="store_true", help="replace the table in docs/speed.md too")
    options = parser.parse_args()
    if options.runs < 1 or options.scale <= 0:
        parser.error("--runs and --scale must be above 0")
    if options.publish and (options.runs < 5 or options.scale != 1):
        parser.error("--publish needs the full data and at least 5 runs")
    with tempfile.TemporaryDirectory(prefix="dataset-doctor-bench-") as temporary:
        options.data = (options.data or Path(temporary)).absolute()
        options.data.mkdir(parents=True, exist_ok=True)
        results = [measure(name, options) for name in options.only or [name for name, case in CASES.items() if case.by_default]]
    options.output.mkdir(parents=True, exist_ok=True)
    path = options.output / "RESULTS.md"
    kept = PICTURES_BLOCK.search(path.read_text(encoding="utf-8")) if path.is_file() else None
    page = results_page(results, options) + (kept[0] if kept else "")
    path.write_text(page, encoding="utf-8")
    (options.output / "results.json").write_text(results_json(results, options), encoding="utf-8")
    print(page)
    if options.publish:
        how = "How it is measured and how to repeat it: [benchmarks](../benchmarks/README.md)."
        publish(HERE.parent / "docs/speed.md", f"{heading(results, options)}\n\n{speed_table(results)}\n\n{how}")
    return int(any(result.failed for result in results))


if __name__ == "__main__":
    sys.exit(main())
