"""What a report says in words, the same in the terminal and in Markdown. Strings come back as they are: the renderer escapes them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import PurePath

from dataset_doctor.dataset import TRAINING_SPLITS, Place
from dataset_doctor.findings import Finding, Recommendation, Severity, plural
from dataset_doctor.formats import find_format
from dataset_doctor.report.record import Report
from dataset_doctor.statistics import Quantiles, Resolution

_SPLITS_NAMED = 8
_CODES_NAMED = 4


def folder(report: Report) -> str:
    """Give the name of the dataset's folder."""
    return PurePath(report.run.root).name or report.run.root


def format_name(report: Report, *, variant: bool = True) -> str:
    """Name the format, with its variant in brackets where that says more."""
    name, kind = find_format(report.dataset.format).title, report.dataset.variant
    return f"{name} ({kind})" if variant and kind and kind.casefold() not in name.casefold() else name


def size(report: Report) -> str:
    """Count images, instances and classes; in an image folder every image is one instance."""
    summary = report.statistics.summary
    instances = [] if report.dataset.task == "classify" else [plural(summary.instances, "instance")]
    return ", ".join([plural(summary.images, "image"), *instances, plural(summary.classes, "class", "classes")])


def ranked(report: Report) -> list[Finding]:
    """Sort the findings: errors first, then by code."""
    return sorted(report.findings, key=lambda finding: (-finding.severity.rank, finding.code))


def counted(findings: Sequence[Finding]) -> str:
    """Count findings by severity, the worst first.

    >>> counted([])
    ''
    """
    numbers = [(severity, sum(f.severity is severity for f in findings)) for severity in sorted(Severity, key=lambda s: -s.rank)]
    return ", ".join(plural(n, severity.value) for severity, n in numbers if n)


def verdict(report: Report) -> list[str]:
    """Say how many findings of each severity there are, what that means, and whether something was not looked at."""
    numbers = counted(report.findings)
    errors = sum(f.severity is Severity.ERROR for f in report.findings)
    meaning = {
        None: "No defects found." if report.statistics.summary.images else "No images, so nothing to judge.",
        Severity.INFO: "Nothing found that harms training.",
        Severity.WARNING: "No errors; warnings may cost accuracy.",
        Severity.ERROR: f"Fix the {'error' if errors == 1 else 'errors'} before training.",
    }[report.worst()]
    not_run = f"{plural(len(report.not_run), 'check')} could not run." if report.not_run else ""
    return [sentence for sentence in (numbers and f"{numbers}.", meaning, not_run) if sentence]


def sentence(finding: Finding) -> str:
    """Give the finding's sentence, and what of it does not count for the exit code."""
    if finding.suppressed is not None:
        return f"{finding.message} (suppressed: {finding.suppressed})"
    return f"{finding.message} ({finding.known:,} known)" if finding.known else finding.message


def place_name(place: Place) -> str:
    """Name a place: `file:line`, `file  /pointer`, or the image where no file is known."""
    name = place.file or place.image or ""
    if name and place.line is not None:
        return f"{name}:{place.line}"
    return f"{name}  {place.pointer}" if place.pointer else name


def place_notes(place: Place) -> list[str]:
    """Give what else is known of a place: its class and details."""
    return [note for note in (place.class_name, place.detail) if note]


def recommended(report: Report, code: str) -> Recommendation | None:
    """Find the first recommendation for a code that a command can carry out; one that predicts what comes of it is before the others."""
    possible = [r for r in report.recommendations if code in r.addresses and r.command]
    return next((r for r in possible if r.expected is not None), next(iter(possible), None))


def predicted(recommendation: Recommendation) -> list[tuple[str, str]]:
    """Say what becomes of the class that grows most and of the largest class that changes: names, and numbers before → after."""
    if recommendation.expected is None:
        return []
    changed = [row for row in recommendation.expected.classes if row[1] != row[2]]
    if not changed:
        return []
    grown, largest = max(changed, key=lambda row: row[2] / max(row[1], 1)), max(changed, key=lambda row: row[1])
    return [(name, f"{before:,} → {after:,}") for name, before, after in dict.fromkeys((grown, largest))]


# Numbers ------------------------------------------------------------------------------------------------------------


def number(value: float) -> str:
    """Write a number with at most one decimal.

    >>> number(640.0), number(1234.56)
    ('640', '1,234.6')
    """
    return f"{value:,.1f}".removesuffix(".0")


def ratio(value: float) -> str:
    """Write a ratio to one.

    >>> ratio(11.5097), ratio(1203.4)
    ('11.5 : 1', '1,203 : 1')
    """
    return f"{value:,.1f} : 1" if value < 100 else f"{value:,.0f} : 1"


def share(value: float) -> str:
    """Write a share as a percentage; a small one never reads as none.

    >>> share(0.85), share(0.0002), share(0.0)
    ('85.0 %', '<0.1 %', '0.0 %')
    """
    return "<0.1 %" if 0 < value < 0.0005 else f"{value * 100:.1f} %"


def duration(seconds: float) -> str:
    """Write a duration.

    >>> duration(0.21), duration(12.4), duration(200)
    ('0.2 s', '12 s', '3 min 20 s')
    """
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    return f"{whole} s" if whole < 60 else f"{whole // 60:,} min {whole % 60} s"


# Facts --------------------------------------------------------------------------------------------------------------


def facts(report: Report) -> list[tuple[str, list[str]]]:
    """Give what the statistics say, as headed lists of short phrases; a fact that says nothing here is left out."""
    rows = [
        ("labels", _labels(report)),
        ("balance", _balance(report)),
        ("backgrounds", _backgrounds(report)),
        ("resolution", _resolution(report.statistics.resolution)),
        ("colour", _colour(report)),
        ("boxes", _boxes(report)),
        ("splits", _splits(report)),
        ("thresholds", [str(changed) for changed in report.thresholds]),
        ("not run", _not_run(report)),
    ]
    return [(name, phrases) for name, phrases in rows if phrases]


def _labels(report: Report) -> list[str]:
    summary = report.statistics.summary
    phrases = []
    if summary.annotations != summary.instances:
        phrases.append(f"{plural(summary.annotations, 'annotation')}, {summary.instances:,} of them instances")
    if summary.crowd:
        phrases.append(f"{summary.crowd:,} crowd")
    if summary.difficult:
        phrases.append(f"{summary.difficult:,} difficult")
    if summary.distinct_images != summary.images:
        phrases.append(f"{plural(summary.images, 'image')} from {plural(summary.distinct_images, 'file')}")
    return phrases


def _balance(report: Report) -> list[str]:
    summary = report.statistics.summary
    if summary.imbalance_ratio is None:
        return ["no instances"]
    phrases = [f"imbalance {ratio(summary.imbalance_ratio)}"]
    if summary.effective_classes is not None:
        phrases.append(f"effective classes {number(summary.effective_classes)} of {summary.classes:,}")
    if summary.gini is not None:
        phrases.append(f"Gini {summary.gini:.2f}")
    unused = summary.classes - summary.classes_used
    return [*phrases, f"{unused:,} without instances"] if unused else phrases


def _backgrounds(report: Report) -> list[str]:
    summary = report.statistics.summary
    if report.dataset.task == "classify" or not summary.images:
        return []
    phrases = [f"{summary.background_images:,} of {plural(summary.images, 'image')}"]
    if summary.background_share:
        phrases[0] += f" ({share(summary.background_share)})"
    if summary.positive_negative_ratio is not None:
        phrases.append(_against_background(summary.positive_negative_ratio))
    if summary.unlabeled_images:
        trained = ", which trains as background" if find_format(report.dataset.format).unlabeled_is_background else ""
        phrases.append(f"{summary.unlabeled_images:,} more without a label file{trained}")
    return phrases


def _against_background(positive: float) -> str:
    """Write the ratio with its smaller side as one."""
    if 0 < positive < 1:
        return f"1 positive : {number(1 / positive)} background"
    return f"{number(positive)} positive : 1 background"


def _resolution(resolution: Resolution) -> list[str]:
    width, height = resolution.width, resolution.height
    source = {"files": "from the files", "labels": "as the labels say"}.get(resolution.source, resolution.source)
    if width.median is None or height.median is None:
        return ["no image size known"]
    if resolution.distinct == 1:
        return [f"{number(width.median)} × {number(height.median)} px, all alike", source]
    return [f"{resolution.distinct:,} sizes", f"width {_spread(width)}", f"height {_spread(height)} px", source]


def _spread(values: Quantiles) -> str:
    assert values.min is not None and values.median is not None and values.max is not None
    return f"{number(values.min)} to {number(values.max)}, median {number(values.median)}"


def _colour(report: Report) -> list[str]:
    found = report.normalisation
    if found is None:
        return []
    mean, std = (", ".join(f"{value:.3f}" for value in values) for values in (found.mean, found.std))
    of = "training image" if any(split.name in TRAINING_SPLITS for split in report.statistics.splits) else "image"
    return [f"mean [{mean}]", f"std [{std}]", f"RGB, 0 to 1, {plural(found.n_images, of)}"]


def _boxes(report: Report) -> list[str]:
    boxes = report.statistics.boxes
    if boxes is None:
        return []
    phrases = [f"{boxes.small:,} small, {boxes.medium:,} medium, {boxes.large:,} large"]
    if boxes.per_image is not None:
        n = boxes.per_image
        phrases.append(f"per image {n.min:,} to {n.max:,}, median {number(n.median)}, mean {number(n.mean)}")
    return phrases


def _splits(report: Report) -> list[str]:
    rows = report.statistics.splits
    if [row.name for row in rows] == ["all"]:
        return ["none given"]
    phrases = [f"{row.name} {row.images:,}" for row in rows[:_SPLITS_NAMED]]
    if len(rows) > _SPLITS_NAMED:
        phrases.append(f"{len(rows) - _SPLITS_NAMED:,} more")
    if len(rows) > 1:
        shared = sum(row.images for row in rows) > report.statistics.summary.images
        phrases.append("some files in two splits" if shared else "no file in two splits")
    return phrases


def _not_run(report: Report) -> list[str]:
    codes: dict[str, list[str]] = {}
    for check in report.not_run:
        codes.setdefault(check.reason, []).append(check.code)
    phrases = []
    for reason, of in codes.items():
        more = f" and {len(of) - _CODES_NAMED:,} more" if len(of) > _CODES_NAMED else ""
        phrases.append(f"{', '.join(of[:_CODES_NAMED])}{more}: {reason}")
    return phrases
