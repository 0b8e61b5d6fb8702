"""What must hold of any folder whatever: the laws, as functions that raise AssertionError, or whatever the program raises."""

from __future__ import annotations

import contextlib
import io
import json
import os
import random
import re
import shutil
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any
from unittest import mock

from rich.console import Console

from dataset_doctor import report as reports
from dataset_doctor.audit import examine, label_errors
from dataset_doctor.balance import rebalance
from dataset_doctor.dataset import Dataset
from dataset_doctor.errors import DatasetNotFound, DoctorError, OutputRefused, SeveralDatasets, UsageError
from dataset_doctor.formats import disk_bytes, left_out, losses, read, write
from dataset_doctor.plan import Plan, make_plan
from dataset_doctor.report.record import Report
from dataset_doctor.scan import look
from dataset_doctor.split import split
from dataset_doctor.weights import weigh
from tests.fuzz.trees import state

RENDERED = (".json", ".html", ".md", ".csv", ".sarif")
METHODS = (
    "none",
    "oversample",
    "undersample",
    "hybrid",
    "repeat_factor",
    "irfs",
    "class_aware",
    "ml_ros",
    "ml_rus",
    "optimal",
    "copy_paste",
)
AUGMENT = ("flip", "rotate", "crop,color")
REFUSALS = (UsageError, DatasetNotFound, SeveralDatasets)
"""What may stop a command on a strange dataset. Other errors (what was written does not read back, the source has changed) are ours."""


told: list[str] = []
"""What was being written last, for who looks into a failure."""


class InProcess:
    """An engine that looks into files in this process; starting others for three images would take most of the time."""

    shard_size = 1 << 20

    def map(self, function: Callable[[str], bytes], shards: Sequence[Sequence[str]]) -> Iterator[tuple[int, list[bytes]]]:
        """Call the function for each path."""
        for number, shard in enumerate(shards):
            yield number, [function(path) for path in shard]

    def close(self) -> None:
        """There is nothing to end."""


def check(root: Path, scratch: Path, rng: random.Random) -> str:
    """Hold a dataset to the laws; those that cost much are drawn, so that each case stays cheap.

    Args:
        root: The dataset.
        scratch: An empty folder for what is written.
        rng: Decides which of the costly laws are looked at.

    Returns:
        What became of it, in a word, for the tally.
    """
    before = state(root)
    try:
        outcome = _check(root, scratch, rng)
    finally:
        assert state(root) == before, "the source was changed"
    return outcome


def _check(root: Path, scratch: Path, rng: random.Random) -> str:
    where, format = root, rng.choice(("coco", "voc", "yolo", "folder")) if rng.random() < 0.08 else None
    if rng.random() < 0.05:
        where = rng.choice(sorted(path for path in root.rglob("*") if not path.is_dir()) or [root])
    try:
        dataset = read(where, format)
    except REFUSALS as refusal:
        said(refusal)
        return type(refusal).__name__
    all_counted(dataset)
    with_pixels = rng.random() < 0.25
    report = audited(dataset, with_pixels=with_pixels)
    plain = rendered(report, rng)
    if rng.random() < 0.15:
        again = json.loads(reports.render(audited(read(where, format), with_pixels=with_pixels), ".json"))
        assert without_run(again) == without_run(plain), "two audits differ"
    if rng.random() < 0.05 and not format:
        through_the_command(where, plain, with_pixels)
    rng.choice(COMMANDS)(dataset, scratch, rng)
    return dataset.format


# Reading ------------------------------------------------------------------------------------------------------------


def said(refusal: DoctorError) -> None:
    """A refusal is a few lines of text that can be printed."""
    text = str(refusal)
    assert text.strip() and len(text.splitlines()) <= 20, f"a refusal of {len(text.splitlines())} lines"


def all_counted(dataset: Dataset) -> None:
    """Every label record of a file that was read is an annotation or a problem, and every image is a row or a problem."""
    told = sum(problem.count for problem in dataset.problems)
    given = raw_records(dataset.root, dataset)
    assert given <= dataset.n_annotations + told, f"{given} records; {dataset.n_annotations} annotations and {told} problems"
    names = {*dataset.images.file_name.tolist(), *(problem.place.image or problem.place.file for problem in dataset.problems)}
    elsewhere = sum(int(text.split()[0].replace(",", "")) for text in dataset.evidence if text.endswith("not part of it"))
    files = {os.path.relpath(os.path.join(folder, name), dataset.root) for folder, _, found in os.walk(dataset.root) for name in found}
    images = {name for name in files if name.lower().endswith((".jpg", ".png")) and not set(name.split("/")) & {".git", "__MACOSX"}}
    unlisted = tuple(f"{problem.place.file}/" for problem in dataset.problems if problem.kind == "folder-unreadable")
    missing = {name for name in images - names if not name.startswith(unlisted)}
    assert len(missing) <= elsewhere, f"images in no row and no problem: {sorted(missing)[:3]}"


def raw_records(root: Path, dataset: Dataset) -> int:
    """Count the label records in the sources of a dataset with the parsers of the standard library; 0 for a file that they refuse, or that is told to be unreadable."""
    total = 0
    unread = {problem.place.file for problem in dataset.problems if problem.kind == "label-unreadable"}
    for name in dataset.sources:
        if name in unread:
            continue
        try:
            data = (root / name).read_bytes()
        except (OSError, ValueError):
            continue
        if dataset.format == "coco":
            with contextlib.suppress(ValueError, RecursionError):
                document = json.loads(data.decode("utf-8-sig"), object_pairs_hook=_without_duplicates)
                records = document.get("annotations") if isinstance(document, dict) else None
                total += len(records) if isinstance(records, list) else 0
        elif dataset.format == "voc":
            with contextlib.suppress(ElementTree.ParseError, ValueError, LookupError):
                total += len(ElementTree.fromstring(data).findall("object")) if b"<!DOCTYPE" not in data else 0
        elif dataset.format == "yolo" and name.endswith(".txt"):
            with contextlib.suppress(UnicodeDecodeError):
                total += sum(bool(line.split()) for line in data.decode("utf-8").split("\n"))
    return total


def _without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if len(dict(pairs)) < len(pairs):
        raise ValueError("a key stands twice")
    return dict(pairs)


# Audit --------------------------------------------------------------------------------------------------------------


def audited(dataset: Dataset, *, with_pixels: bool) -> Report:
    """Audit as the command does."""
    if not with_pixels:
        return examine(dataset, why_no_pixels="left out")
    with mock.patch("dataset_doctor.scan.open_engine", return_value=InProcess()):
        pixels, duplicates = look(dataset, cache=None)
        return examine(dataset, pixels=pixels, duplicates=duplicates)


def rendered(report: Report, rng: random.Random) -> dict[str, Any]:
    """Render the report as JSON, which is given, and in forms that are drawn."""
    text = reports.render(report, ".json")
    assert text.isascii()
    plain: dict[str, Any] = standard(text)
    codes = [finding["code"] for finding in plain["findings"]]
    assert len(set(codes)) == len(codes), "a code has two findings"
    for finding in plain["findings"]:
        assert finding["count"] > 0, f"{finding['code']} has nothing"
        assert finding["locations_total"] >= len(finding["locations"])
    for end in RENDERED[1:]:
        if rng.random() < 0.25:
            shown = reports.render(report, end)
            shown.encode("utf-8")
            assert not CONTROL.search(shown), f"a control character in {end}"
            if end == ".sarif":
                standard(shown)
    if rng.random() < 0.5:
        return plain
    stream = io.TextIOWrapper(io.BytesIO(), encoding=rng.choice(("utf-8", "ascii", "cp1252")))
    reports.show(report, Console(file=stream, width=rng.choice((60, 80, 200))), name=str(report.run.root))
    stream.flush()
    return plain


CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\ud800-\udfff\u202a-\u202e]")


def standard(text: str) -> Any:
    """Read JSON as its standard has it: no NaN, no infinity, no key twice."""
    return json.loads(text, parse_constant=_refuse, object_pairs_hook=_without_duplicates)


def _refuse(constant: str) -> None:
    raise AssertionError(f"{constant} is no JSON")


def without_run(plain: dict[str, Any]) -> dict[str, Any]:
    """Leave out what may differ from one run to the next."""
    return {key: value for key, value in plain.items() if key != "run"}


def through_the_command(root: Path, plain: dict[str, Any], with_pixels: bool) -> None:
    """The command says what the library says."""
    if with_pixels:
        return
    from dataset_doctor.cli.app import main

    out, talk = io.StringIO(), io.StringIO()
    code: object = None
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(talk):
        try:
            main(["audit", str(root), "--no-pixels", "--json"])
        except SystemExit as end:
            code = end.code
    assert code in (0, 1), f"exit code {code}: {talk.getvalue()[:300]}"
    said_there = standard(out.getvalue())
    assert said_there["findings"] == plain["findings"], "the command finds something else"


# Treatments ---------------------------------------------------------------------------------------------------------


def converted(dataset: Dataset, scratch: Path, rng: random.Random) -> None:
    """Write it in a format."""
    target = "folder" if dataset.format == "folder" else rng.choice(("coco", "voc", "yolo"))
    mode = rng.choice(("copy", "copy", "symlink", "hardlink", "list"))
    with allowed():
        plan = make_plan(dataset, _all_rows(dataset), command="convert", left_out=without(dataset, target, rng))
        carried_out(dataset, plan, target, mode, scratch / "converted", rng)


def divided(dataset: Dataset, scratch: Path, rng: random.Random) -> None:
    """Split it anew."""
    with allowed():
        ratios = rng.choice(((0.8, 0.1, 0.1), (0.5, 0.5)))
        group = rng.choice(("none", "near-duplicates", r"(\d)"))
        with mock.patch("dataset_doctor.scan.open_engine", return_value=InProcess()):
            plan = split(dataset, ratios=ratios, group_by=group, left_out=without(dataset, dataset.format, rng), seed=rng.randrange(3))
        carried_out(dataset, plan, dataset.format, rng.choice(("copy", "symlink", "list")), scratch / "divided", rng)


def rebalanced(dataset: Dataset, scratch: Path, rng: random.Random) -> None:
    """Rebalance it by some method."""
    method = rng.choice(METHODS)
    with allowed():
        target = dataset.format if dataset.format == "folder" or rng.random() < 0.7 else rng.choice(("coco", "voc", "yolo"))
        name = "train" if "train" in dataset.splits else next(iter(dataset.splits), None)
        plan = rebalance(
            dataset,
            method=method,
            target=rng.choice(("sqrt", "uniform")),
            background=rng.choice(("keep", "keep", "1:2")),
            augment=rng.choice(AUGMENT) if method != "copy_paste" and rng.random() < 0.2 else None,
            split=name,
            left_out=without(dataset, target, rng, split=name),
            seed=rng.randrange(3),
        )
        carried_out(dataset, plan, target, rng.choice(("copy", "copy", "list")), scratch / "rebalanced", rng)


def weighed(dataset: Dataset, scratch: Path, rng: random.Random) -> None:
    """Weigh its classes."""
    with allowed():
        weights = weigh(dataset, scheme=rng.choice(("inverse", "effective", "sqrt", "median")))
        standard(json.dumps(weights.to_dict(), allow_nan=False))


def without(dataset: Dataset, target: str, rng: random.Random, split: str | None = None) -> Any:
    """Give the label records that `--allow-errors` leaves out, and now and then say which errors they have, as the commands do."""
    found = left_out(dataset, target, split=split)  # type: ignore[arg-type]
    if rng.random() < 0.3:
        label_errors(dataset, found)
    return found.rows


COMMANDS = (converted, converted, converted, divided, rebalanced, rebalanced, weighed)


def _all_rows(dataset: Dataset) -> Any:
    import numpy as np

    return np.arange(dataset.n_images)


@contextlib.contextmanager
def allowed() -> Iterator[None]:
    """Let a command refuse what it is asked for, in words."""
    try:
        yield
    except OutputRefused as refusal:
        said(refusal)
        if "a link to a file outside the dataset" not in str(refusal):
            raise
    except REFUSALS as refusal:
        said(refusal)
        text = str(refusal)
        assert "readers would" not in text and "Nothing would be left" not in text, re.sub(r"^.*: readers", "readers", text)


def carried_out(dataset: Dataset, plan: Plan, target: str, mode: str, out: Path, rng: random.Random) -> None:
    """Write what a plan says as the commands do; what is there then is what the plan said, and its audit works."""
    import dataclasses

    shutil.rmtree(out, ignore_errors=True)
    told.append(f"{plan.command} {plan.method or ''} split {plan.split}, {len(plan.left_out)} left out, to {target}, {mode}")
    treated = plan.apply(dataset)
    plan = dataclasses.replace(plan, loses=losses(treated, target), disk_bytes=disk_bytes(treated, target, mode))  # type: ignore[arg-type]
    document = plan.to_dict()
    standard(json.dumps(document))
    if rng.random() < 0.2:
        from dataset_doctor.report.plan import show

        show(plan, Console(file=io.StringIO(), width=80), name=str(dataset.root), out=str(out), target=target, written=False)
    try:
        write(dataclasses.replace(treated, plan=document), out, target, materialize=mode)
    except REFUSALS:
        assert not out.exists(), "a refusal left something behind"
        raise
    standard((out / "dataset-doctor.json").read_text("utf-8"))
    if mode == "list":
        return
    got = read(out, target)
    images = {change.name: change.images_after for change in plan.split_changes if change.images_after}
    there = {name: int(n) for name, n in zip(got.splits, got.images.in_split.sum(axis=0).tolist(), strict=True) if n}
    if len(images) > 1 or "all" not in (*images, *there):
        assert there == images, f"images a split: planned {images}, written {there}"
    else:
        assert sum(there.values()) == sum(images.values()), f"images: planned {images}, written {there}"
    if rng.random() < 0.3:
        rendered(audited(got, with_pixels=False), rng)
