"""Reports made by hand: what the renderers are held against."""

from __future__ import annotations

import dataclasses
import io
import shlex
from collections.abc import Callable, Sequence
from typing import Any

from rich.console import Console
from scipy import sparse

from dataset_doctor.dataset import Place
from dataset_doctor.findings import Described, Expected, Finding, NotRun, Recommendation, Run, Severity
from dataset_doctor.report.audit import terminal
from dataset_doctor.report.record import Report
from dataset_doctor.statistics import (
    Boxes,
    ClassCount,
    ClassRow,
    PerImage,
    Quantiles,
    Resolution,
    SplitRow,
    Statistics,
    Summary,
)

NOTHING = Quantiles(None, None, None, None, None)

Classes = Sequence[tuple[str, Sequence[int], Sequence[int]]]
"""Name, images in each split, instances in each split."""


def make_report(
    *,
    classes: Classes = (("cat", (3,), (5,)), ("dog", (1,), (1,))),
    splits: Sequence[tuple[str, int]] = (("all", 4),),
    findings: Sequence[Finding] = (),
    recommendations: Sequence[Recommendation] = (),
    not_run: Sequence[NotRun] = (),
    format: Any = "coco",
    variant: str = "instances",
    root: str = "/data/pets",
    seconds: float = 0.21,
    resolution: Resolution | None = None,
    boxes: Boxes | None = None,
    **summary: Any,
) -> Report:
    """Make a report whose figures agree with its class table where they are not given."""
    images, instances = sum(n for _, n in splits), sum(sum(n) for _, _, n in classes)
    figures: dict[str, Any] = dict.fromkeys((field.name for field in dataclasses.fields(Summary)), 0)
    figures |= {"images": images, "distinct_images": images, "positive_images": images, "annotations": instances, "instances": instances}
    figures |= {"classes": len(classes), "classes_used": sum(any(n) for _, _, n in classes), "background_share": 0.0}
    figures |= dict.fromkeys(("positive_negative_ratio", "imbalance_ratio", "mean_ir", "cvir", "scumble", "gini", "evenness"))
    figures |= {"effective_classes": None} | summary
    rows = tuple(
        ClassRow(
            index=at,
            id=at + 1,
            name=name,
            images=sum(in_images),
            instances=sum(counts),
            share=sum(counts) / instances if instances else 0.0,
            group="frequent" if sum(counts) else None,
            splits=tuple(ClassCount(i, n) for i, n in zip(in_images, counts, strict=True)),
        )
        for at, (name, in_images, counts) in enumerate(classes)
    )
    in_splits = tuple(SplitRow(name, n, *(2 * [sum(counts[at] for _, _, counts in classes)]), 0, 0) for at, (name, n) in enumerate(splits))
    return Report(
        version="0.1.0",
        dataset=Described(format, variant, "classify" if format == "folder" else "detect", ("said so",), None, "sha256:" + "0" * 64),
        statistics=Statistics(
            summary=Summary(**figures),
            classes=rows,
            splits=in_splits,
            resolution=resolution or Resolution("files", 0, NOTHING, NOTHING, NOTHING, NOTHING, ()),
            boxes=boxes,
            co_occurrence=(),
            counts=sparse.csr_array((0, len(rows)), dtype=int),
            problems={},
        ),
        findings=tuple(findings),
        recommendations=tuple(recommendations),
        not_run=tuple(not_run),
        run=Run("2025-01-02T03:04:05+00:00", seconds, root, "host", {}),
    )


def all_alike(value: float) -> Quantiles:
    return Quantiles(value, value, value, value, value)


def make_finding(
    code: str = "DD101",
    severity: Severity = Severity.ERROR,
    message: str = "2 boxes have no area",
    places: Sequence[Place] = (),
    *,
    name: str = "box-degenerate",
    total: int | None = None,
) -> Finding:
    total = len(places) if total is None else total
    return Finding(code, name, severity, total, message, tuple(places), total, "none")


def make_bccd() -> Report:
    """BCCD, the blood cells of github.com/Shenggan/BCCD_Dataset, as counted independently."""
    command = "dataset-doctor rebalance BCCD out --method repeat_factor --split train --budget 1.5 --seed 0"
    return make_report(
        format="voc",
        variant="ImageSets",
        root="/data/BCCD",
        classes=(
            ("Platelets", (117, 46, 38), (209, 83, 69)),
            ("RBC", (196, 85, 68), (2382, 968, 805)),
            ("WBC", (203, 85, 70), (214, 87, 71)),
        ),
        splits=(("train", 205), ("val", 87), ("test", 72)),
        findings=(
            make_finding(
                "DD201",
                Severity.WARNING,
                "RBC holds 85 % of the instances, 11.5 × Platelets",
                [Place(class_name="RBC"), Place(class_name="Platelets")],
                name="class-imbalance",
            ),
            make_finding(
                places=[
                    Place("Annotations/BloodImage_00338.xml", 137, image="JPEGImages/BloodImage_00338.jpg", class_name="RBC"),
                    Place("Annotations/BloodImage_00343.xml", 67, image="JPEGImages/BloodImage_00343.jpg", class_name="RBC"),
                ],
            ),
        ),
        recommendations=(
            Recommendation(
                id="R1",
                action="repeat_factor",
                addresses=("DD201",),
                why="RBC has 11.5 × the instances of Platelets.",
                command=command,
                parameters={"budget": 1.5},
                expected=Expected((("Platelets", 209, 418), ("RBC", 2382, 3020), ("WBC", 214, 260)), 270, 7.2),
                cost="an epoch of 270 images instead of 205",
                strength="policy",
                sources=("Gupta et al., LVIS, 2019",),
            ),
        ),
        not_run=(NotRun("DD401", "left out with --no-pixels"), NotRun("DD402", "left out with --no-pixels")),
        resolution=Resolution("files", 1, all_alike(640), all_alike(480), all_alike(4 / 3), all_alike(0.3072), ()),
        boxes=Boxes(41, 1524, 3323, PerImage(1, 14.0, 13.4286, 30), NOTHING, NOTHING, ((0,) * 10,) * 10),
        imbalance_ratio=11.5097,
        effective_classes=1.7346,
        gini=0.5174,
    )


def make_long_tail() -> Report:
    """Many classes, most of them without instances, and more findings than a screen holds."""
    classes = [
        (f"class {at:04}", (1 + 40000 // (at + 1) ** 2,) * 2, (120000 // (at + 1) ** 2, 20000 // (at + 1) ** 2)) for at in range(1203)
    ]
    findings = [
        make_finding(
            f"DD{100 + at}",
            Severity.INFO if at % 3 else Severity.WARNING,
            f"{at + 2:,} boxes of a kind",
            [Place(file="lvis_v1_train.json", pointer=f"/annotations/{at * 1000}/bbox", class_name="class 0007")],
            total=at * 999 + 1,
        )
        for at in range(17)
    ]
    return make_report(
        classes=classes,
        splits=(("train", 100170), ("val", 19809)),
        findings=findings,
        root="/data/lvis",
        seconds=83.0,
        resolution=Resolution(
            "labels", 11823, Quantiles(51, 240, 640, 640, 4032), Quantiles(59, 240, 480.5, 640, 3024), NOTHING, NOTHING, ()
        ),
        boxes=Boxes(1000000, 2000000, 3323000, PerImage(0, 6.0, 11.21, 730), NOTHING, NOTHING, ((0,) * 10,) * 10),
        imbalance_ratio=50552.0,
        effective_classes=312.1,
        gini=0.91,
        background_images=1020,
        background_share=0.0085,
        positive_negative_ratio=116.6,
        crowd=12,
        annotations=1443209,
    )


def make_folders() -> Report:
    """An image folder dataset with one split folder and nothing wrong."""
    return make_report(
        format="folder",
        variant="class folders",
        root="/data/clothing",
        classes=(("dress", (120,), (120,)), ("hat", (60,), (60,))),
        splits=(("train", 180),),
        resolution=Resolution("files", 1, all_alike(64), all_alike(64), all_alike(1), all_alike(0.004096), ()),
        imbalance_ratio=2.0,
        effective_classes=1.8899,
        gini=1 / 6,
    )


def make_empty() -> Report:
    """Nothing at all: no image, no class, no split."""
    return make_report(classes=(), splits=(), root="/")


HOSTILE = (
    "[red]x[/red]",
    "\x1b[31mESC\x07\x1b]8;;http://evil.example\x1b\\",
    "\u202egnp.exe\u202c",
    "\u2066isolated\u2069 \u200bzero\ufeff",
    "line\nbreak\r\ttab",
    "\udc80surrogate\ud800",
    "\u5e9d \u732b\u732b" * 60,
    "x" * 200,
    "\u05d0\u05d1\u05d2 \u0627\u0644",
    "\U0001f469\u200d\U0001f52c \u2764\ufe0f \U0001f1e9\U0001f1ea",
    "e" + "\u0301" * 500,
    "",
    "   ",
    '=HYPERLINK("http://evil.example")',
    "<script>alert(1)</script> <img src=x onerror=y>",
    "a|b `c` *d* _e_ [f](http://g.example) ![h](i) @torvalds #1 $x$ &amp; www.evil.example",
    ":warning: ~~gone~~ # head",
)
"""Names that try to break out of every form a report is written in."""


def make_hostile() -> Report:
    """Every hostile text in every place where text of a dataset is shown."""
    everywhere = [Place(t, at, None, t, t, t, t, t) for at, t in enumerate(HOSTILE, 1)]
    return make_report(
        format="yolo",
        root="/data/" + HOSTILE[0],
        classes=[(name, (1, 2, 1, 0), (at, 2, 1, 0)) for at, name in enumerate(HOSTILE)],
        splits=tuple((HOSTILE[at], 3) for at in (1, 2, 6, 13)),
        findings=[
            make_finding(f"DD{100 + at}", Severity.ERROR, f"Class {t} is odd", [place], total=at * 5000 + 1)
            for at, (t, place) in enumerate(zip(HOSTILE, everywhere, strict=True))
        ],
        recommendations=[
            Recommendation(
                f"R{at}", "weights", (f"DD{100 + at}",), f"Because of {t}", f"dataset-doctor weights {shlex.quote(t)}", {"name": t},
                Expected(((t, 1, 1000000), (t + "b", 5000000, 20)), 7, None), t, "evidence", (t,),
            )
            for at, t in enumerate(HOSTILE)
        ],
        not_run=[NotRun("DD9", t) for t in HOSTILE],
        unlabeled_images=3,
    )  # fmt: skip


REPORTS: dict[str, Callable[[], Report]] = {
    "bccd": make_bccd,
    "long tail": make_long_tail,
    "folders": make_folders,
    "empty": make_empty,
    "hostile": make_hostile,
}


def shown(report: Report, width: int = 80, *, encoding: str = "utf-8", colour: bool = False, name: str = "BCCD") -> str:
    """Show a report as a terminal with these properties would."""
    out = io.BytesIO()
    file = io.TextIOWrapper(out, encoding=encoding, errors="strict", newline="")
    console = Console(file=file, width=width, force_terminal=colour, color_system="standard" if colour else None, legacy_windows=False)
    terminal.show(report, console, name=name)
    file.flush()
    return out.getvalue().decode(encoding)
