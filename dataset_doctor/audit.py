"""audit: run the statistics and the checks over a dataset; the only place that loops over checks."""

from __future__ import annotations

import dataclasses
import os
import platform
import time
from collections.abc import Mapping, Sequence
from datetime import date, datetime, timezone
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Literal

import numpy as np

from dataset_doctor import gate
from dataset_doctor.checks import CHECKS
from dataset_doctor.checks import select as select_checks
from dataset_doctor.checks.settings import changed, validated
from dataset_doctor.dataset import NO_ID, NO_SOURCE, Dataset, Place, Rows, Shapes
from dataset_doctor.errors import UsageError
from dataset_doctor.files.progress import Notify, Progress, ignored, silent
from dataset_doctor.findings import (
    POLICIES,
    Check,
    Described,
    Facts,
    Finding,
    Found,
    NotRun,
    Policy,
    Run,
    Settings,
    Severity,
    choose_policy,
    plural,
)
from dataset_doctor.formats import LeftOut, begin_shapes, fingerprint, format_of, opened
from dataset_doctor.gate import Baseline, Suppression
from dataset_doctor.pixels import Duplicates, Pixels
from dataset_doctor.recommend import recommend
from dataset_doctor.recommend.treatments import treated
from dataset_doctor.report import check_file, write
from dataset_doctor.report.record import Report
from dataset_doctor.scan import look, normalisation
from dataset_doctor.scan._engines import EngineName
from dataset_doctor.scan.near import MOST_BITS
from dataset_doctor.statistics import statistics

SHOWN_LOCATIONS = 100
"""Places a finding lists unless more are asked for."""


def audit(
    dataset: Dataset | str | os.PathLike[str],
    *,
    pixels: bool | Literal["auto"] = True,
    select: str | Sequence[str] = (),
    ignore: str | Sequence[str] = (),
    policy: Policy | str | None = None,
    prior: float | None = None,
    settings: Settings | None = None,
    locations: int | Literal["all"] | None = SHOWN_LOCATIONS,
    baseline: str | os.PathLike[str] | None = None,
    suppressions: Sequence[Suppression] = (),
    fail_on: str = "error",
    strict: bool = False,
    near_bits: int | None = None,
    workers: int | None = None,
    engine: EngineName = "local",
    address: str | None = None,
    format: str | None = None,
    images: str | os.PathLike[str] | None = None,
    classes: str | os.PathLike[str] | None = None,
    progress: Progress = silent,
    notify: Notify = ignored,
) -> Report:
    """Count what a dataset holds and look for defects, in the images too.

    Args:
        dataset: A path, as for `read`, or what `read` gave.
        pixels: Whether to look into the image files. Where there are none, the checks that need them are reported as not run.
        select: Codes, beginnings of codes or names of the checks to run, in a sequence or separated by commas; all by default.
        ignore: Those to leave out.
        policy: Which share of background images is wanted: "article", "detector", "screening" (with `prior`) or "none"; by default
            "detector" for boxes and "none" for image folders.
        prior: For "screening": the share of positives in use, above 0 and below 1.
        settings: Thresholds to judge by: `{"DD105": {"min_side_px": 3}}`. The page of a check lists its own.
        locations: How many places each finding lists; None or "all" for all of them. Counts are exact in any case.
        baseline: A file of known findings, which do not fail; written where it does not exist.
        suppressions: Findings to live with; those whose last day is over count again.
        fail_on: What `Report.failing` asks by default: "error", "warning", "info" or "never".
        strict: Whether a check that could not run fails as well; kept in the report.
        near_bits: Bits of 64 in which hashes of nearly identical images may differ, 0 to 8; by default 6, fewer for very many images.
        workers: Processes that look into images; one a core by default.
        engine: "local", or "dask" for a cluster.
        address: Of the dask scheduler.
        format: As for `read`, like `images` and `classes`; for a path only.
        images: As there.
        classes: As there.
        progress: Called with what is done, how much and how much in all.
        notify: Called with what a person should know besides the report, and with what to do about it.

    Raises:
        UsageError: an argument that cannot be used.
        DatasetNotFound, SeveralDatasets: as for `read`.
        OutputRefused: the baseline cannot be written.
    """
    begun = time.perf_counter()
    chosen = _checks(select, ignore)
    settings = validated(settings or {})
    if near_bits is not None and not 0 <= near_bits <= MOST_BITS:
        raise UsageError(f"`near_bits` must be between 0 and {MOST_BITS}, got {near_bits}.", "Leave it out for what suits the dataset.")
    wanted = policy if isinstance(policy, Policy) else choose_policy(policy, prior)
    limit = None if locations == "all" else locations
    if limit is not None and limit < 0:
        raise UsageError(f"`locations` must be at least 0, got {limit}.", "Or give `locations=all`.")
    in_force = gate.in_force(suppressions, date.today(), notify)
    file = None if baseline is None else Path(baseline)
    known = gate.load(file) if file is not None and os.path.lexists(file) else None
    if file is not None and known is None:
        check_file(file)
    columns = opened(dataset, format, images=images, classes=classes, progress=progress)
    seen, same, why_not = None, None, None
    if pixels and any(check.needs_pixels for check in chosen):
        if columns.images.has_file.any():
            seen, same = look(columns, near_bits=near_bits, workers=workers, engine=engine, address=address, progress=progress)
        else:
            why_not = "no image files were found"
    if known is not None and file is not None:
        gate.check_same_dataset(known, columns, file)
    options = {
        "pixels": bool(pixels), "engine": engine, "near_bits": near_bits, "select": _joined(select), "ignore": _joined(ignore),
        "fail_on": fail_on, "strict": strict, "baseline": None if file is None else str(file),
        "policy": policy.name if isinstance(policy, Policy) else policy, "prior": None if wanted is None else wanted.prior,
        "locations": "all" if limit is None else limit,
        "format": format, "images": _path(images), "classes": _path(classes),
    }  # fmt: skip
    compared = file is not None or any(rule.files for rule in in_force)
    report = examine(
        columns,
        checks=chosen,
        locations=None if compared else limit,
        policy=wanted,
        options=options,
        pixels=seen,
        duplicates=same,
        why_no_pixels=why_not,
        settings=settings,
    )
    if file is not None:
        known = _compared(report, columns, file, known, in_force, {check.code for check in chosen}, notify)
    findings = gate.judge(report.findings, baseline=known, suppressions=in_force, locations=limit)
    run = dataclasses.replace(report.run, seconds=round(time.perf_counter() - begun, 3))
    name = os.fspath(dataset) if not isinstance(dataset, Dataset) else dataset.given.path if dataset.given else str(dataset.root)
    return dataclasses.replace(report, findings=findings, run=run, name=name)


def _compared(
    report: Report, dataset: Dataset, file: Path, known: Baseline | None, rules: Sequence[Suppression], codes: set[str], notify: Notify
) -> Baseline:
    """Give the baseline to judge by, written from what was found where there was none."""
    present = gate.take(dataset, report.findings, rules)
    if known is None:
        write(file, gate.dump(present, report.version).encode())
        notify(f"{file} is written: findings in {plural(present.total, 'place')} are known from now on.", "")
        return present
    if fixed := known.beyond(present, codes):
        notify(
            f"{file} knows {plural(fixed, 'place')} where nothing is found any more.", "Delete it and run again, so that they stay fixed."
        )
    return known


def _checks(select: str | Sequence[str], ignore: str | Sequence[str]) -> tuple[Check, ...]:
    chosen = select_checks(_codes(select), _codes(ignore))
    if not chosen:
        raise UsageError("`select` and `ignore` leave no check to run.", "Select a check that is not ignored.")
    return chosen


def _codes(words: str | Sequence[str]) -> list[str]:
    return [code.strip() for code in _joined(words).split(",") if code.strip()]


def _joined(words: str | Sequence[str]) -> str:
    return words if isinstance(words, str) else ",".join(words)


def _path(path: str | os.PathLike[str] | None) -> str | None:
    return None if path is None else os.fspath(path)


def examine(
    dataset: Dataset,
    *,
    checks: Sequence[Check] = CHECKS,
    locations: int | None = SHOWN_LOCATIONS,
    policy: Policy | None = None,
    options: Mapping[str, str | int | float | bool | None] | None = None,
    pixels: Pixels | None = None,
    duplicates: Duplicates | None = None,
    why_no_pixels: str | None = None,
    shapes: Shapes | None = None,
    settings: Settings | None = None,
) -> Report:
    """Run checks over a dataset, with what is known of its images and shapes.

    Args:
        dataset: What `read` gave.
        checks: Which checks to run; all by default.
        locations: How many places each finding lists; None for all of them. Counts are exact in any case.
        policy: Which share of background images is wanted; `detector` for boxes and none for image folders by default.
        options: How the audit was asked for, kept in the report as it is.
        pixels: What a look into the image files told; None leaves out the checks that need it.
        duplicates: Which of the pictures are the same, found from `pixels`.
        why_no_pixels: Why there are no `pixels` though they were wanted; the checks that need them are then reported as not run.
        shapes: What `read_shapes` gave; by default it is asked where a check needs it.
        settings: Thresholds to judge by: `{"DD105": {"min_side_px": 3}}`. The page of a check lists its own.

    Raises:
        UsageError: `settings` name no check or threshold, or a value that it cannot have.
    """
    begun = time.perf_counter()
    started = datetime.now(timezone.utc).isoformat(timespec="seconds")
    policy = policy or POLICIES["none" if dataset.task == "classify" else "detector"]
    # Shapes are measured by other processes where they are many; what does not need them is done meanwhile.
    wanted = shapes is None and any(check.needs_shapes for check in checks)
    pending = begin_shapes(dataset) if wanted else lambda: shapes
    chosen = validated(settings or {})
    facts = Facts(statistics(dataset), policy, pixels=pixels, duplicates=duplicates, settings=chosen)
    identity = fingerprint(dataset)
    runnable = [check for check in checks if pixels is not None or not check.needs_pixels]
    results = _run([check for check in runnable if not check.needs_shapes], dataset, facts)
    facts = dataclasses.replace(facts, shapes=pending())
    results |= _run([check for check in runnable if check.needs_shapes], dataset, facts)
    findings = []
    not_run = [NotRun(check.code, why_no_pixels) for check in checks if check.needs_pixels and pixels is None and why_no_pixels]
    for check in runnable:
        result = results[check.code]
        if isinstance(result, NotRun):
            not_run.append(result)
        elif result is not None:
            findings.append(_finding(check, result, dataset, locations))
    recommendations = recommend(dataset, facts, findings)
    return Report(
        version=_version(),
        dataset=Described(dataset.format, dataset.variant, dataset.task, dataset.evidence, dataset.voc_origin, identity),
        statistics=facts.statistics,
        findings=tuple(treated(findings, recommendations)),
        recommendations=recommendations,
        not_run=tuple(not_run),
        normalisation=None if pixels is None else normalisation(dataset, pixels),
        thresholds=changed(chosen),
        run=Run(started, round(time.perf_counter() - begun, 3), str(dataset.root), platform.node(), dict(options or {})),
    )


def label_errors(dataset: Dataset, left_out: LeftOut, split: str | None = None) -> list[Finding]:
    """Look for the errors for which a write leaves something out: those of files (DD0) and of label records (DD1) that concern it.

    Args:
        dataset: What `read` gave.
        left_out: What `formats.left_out` gave.
        split: The only split that changes.
    """
    blocking = [check for check in CHECKS if check.code.startswith(("DD0", "DD1"))]
    pending = begin_shapes(dataset)
    facts = Facts(statistics(dataset), POLICIES["none"])
    results = _run([check for check in blocking if not check.needs_shapes], dataset, facts)
    facts = dataclasses.replace(facts, shapes=pending())
    results |= _run([check for check in blocking if check.needs_shapes], dataset, facts)
    kinds = {problem.kind for problem in left_out.problems}
    stays = np.ones(dataset.n_annotations, bool) if split is None else dataset.annotations_in_split(dataset.splits.index(split))
    stays[left_out.rows] = False

    def concerns(found: Found) -> bool:
        rows = found.annotations
        is_lost = rows is not None and bool(np.isin(rows, left_out.rows).any()) and not stays[rows].any()
        return is_lost or any(one.kind in kinds for one in found.problems)

    found = ((check, results[check.code]) for check in blocking)
    findings = [_finding(check, one, dataset, SHOWN_LOCATIONS) for check, one in found if isinstance(one, Found) and concerns(one)]
    return [finding for finding in findings if finding.severity is Severity.ERROR]


def _run(checks: Sequence[Check], dataset: Dataset, facts: Facts) -> dict[str, Found | NotRun | None]:
    """Run checks; give what each found under its code."""
    results: dict[str, Found | NotRun | None] = {}
    for check in checks:
        try:
            with np.errstate(invalid="ignore", over="ignore"):  # NaN and infinity are findings, not surprises
                results[check.code] = check.find(dataset, facts)
        except MemoryError:
            results[check.code] = NotRun(check.code, "not enough memory")
    return results


def _version() -> str:
    try:
        return version("dataset-doctor-vision")
    except PackageNotFoundError:
        return "0"


# Places -------------------------------------------------------------------------------------------------------------

Box = tuple[float, float, float, float]


def _finding(check: Check, found: Found, dataset: Dataset, limit: int | None) -> Finding:
    if found.annotations is not None:
        total, places = len(found.annotations), _annotation_places(dataset, found.annotations[:limit], found.field)
    elif found.images is not None:
        total, places = len(found.images), _image_places(dataset, found.images[:limit], found.field, of_pictures=check.needs_pixels)
        places = [dataclasses.replace(place, detail=text) for place, text in zip(places, found.details, strict=False)] or places
        if found.compared:
            labels = _labels(dataset, found.images[:limit])
            places = [dataclasses.replace(place, labels=own) for place, own in zip(places, labels, strict=True)]
    elif found.problems:
        total = sum(problem.count for problem in found.problems)
        places = [dataclasses.replace(problem.place, detail=problem.text) for problem in found.problems[:limit]]
    else:
        total, places = len(found.places), list(found.places[:limit])
    severity = found.severity or check.severity
    return Finding(check.code, check.name, severity, found.count, found.message, tuple(places), total, check.fix)


def _annotation_places(dataset: Dataset, rows: Rows, field: str) -> list[Place]:
    table, images = dataset.annotations, dataset.images
    # Whole columns become Python values at once: with a baseline a million places are wanted.
    columns = (table.source, table.line, table.position, table.image, table.source_id, table.class_index, table.class_id)
    splits = {image: _split(dataset, image) for image in np.unique(table.image[rows]).tolist()}
    boxes = dataset.boxes[rows]
    drawable = np.logical_and.reduce(np.isfinite(boxes), axis=1).tolist()
    return [
        Place(
            file=images.file_name[image] if format_of(dataset).class_folders else dataset.sources[source],
            line=line or None,
            pointer=_pointer(dataset, "annotations", position, field),
            image=images.file_name[image],
            annotation_id=None if given is None or given == NO_ID else given,
            class_name=dataset.classes[class_index].name if class_index >= 0 else str(class_id),
            split=splits[image],
            box=tuple(box) if has_box else None,
        )
        for source, line, position, image, given, class_index, class_id, box, has_box in zip(
            *(c[rows].tolist() for c in columns), boxes.tolist(), drawable, strict=True
        )
    ]


MOST_LABELS = 20
"""Labels of an image that a place holds."""


def _labels(dataset: Dataset, rows: Rows) -> list[tuple[tuple[str, Box | None], ...]]:
    """Give class and box of the first labels of images."""
    table = dataset.annotations
    own = np.flatnonzero(np.isin(table.image, rows))
    own = own[np.argsort(table.image[own], kind="stable")]
    start, end = (np.searchsorted(table.image[own], rows, side) for side in ("left", "right"))
    labels = []
    for first, last in zip(start.tolist(), end.tolist(), strict=True):
        places = _annotation_places(dataset, own[first : min(last, first + MOST_LABELS)], "")
        labels.append(tuple((place.class_name or "", place.box) for place in places))
    return labels


def _image_places(dataset: Dataset, rows: Rows, field: str, *, of_pictures: bool) -> list[Place]:
    """Say where images are: in the file that describes them, or, for what concerns the picture itself, in its own (COCO keeps pointers)."""
    images, form = dataset.images, format_of(dataset)
    places = []
    for row in rows.tolist():
        name, source = images.file_name[row], int(images.source[row])
        if form.class_folders or (of_pictures and not form.lists_images):
            source = NO_SOURCE
        file = name if source == NO_SOURCE else dataset.sources[source]
        pointer = None if source == NO_SOURCE else _pointer(dataset, "images", int(images.position[row]), field)
        places.append(Place(file=file, pointer=pointer, image=name, split=_split(dataset, row)))
    return places


def _pointer(dataset: Dataset, array: str, position: int, field: str) -> str | None:
    pointer = format_of(dataset).pointer
    return pointer(array, position, field) if pointer else None


def _split(dataset: Dataset, image: int) -> str:
    return "+".join(name for name, member in zip(dataset.splits, dataset.images.in_split[image].tolist(), strict=True) if member)
