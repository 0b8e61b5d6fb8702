"""A plan on a terminal: what a treatment will do, or did, class by class; readable at 80 columns, without colour and in ASCII."""

from __future__ import annotations

import math
import shlex
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.text import Text

from dataset_doctor.balance.targets import is_doubt
from dataset_doctor.findings import listed, plural, shortened
from dataset_doctor.plan import ClassChange, CurvePoint, Plan, SplitQuality
from dataset_doctor.report import wording
from dataset_doctor.report.page import QUIET, STRONG, Page, column, pad
from dataset_doctor.report.text import cells, encodable

_CLASSES_SHOWN, _HEAD, _TAIL = 24, 12, 11
_SPLITS_SHOWN = 4
_NAME_CELLS = 28
_BAR_CELLS = 24
_CURVE_CELLS = 20


def show(plan: Plan, console: Console, *, name: str, out: str, target: str, written: bool) -> None:
    """Print a plan: the change in one line, the classes before and after as bars, what is dropped and lost, and what comes next.

    Args:
        plan: What was planned, or done.
        console: Where to print; its width and encoding are obeyed.
        name: The dataset as the user typed it.
        out: The new dataset as the user typed it.
        target: The format it is written in, as people call it.
        written: Whether it has been written, or would be.
    """
    page = Page.of(console)
    blocks = [_head(page, plan, name, out, target), _verdict(page, plan, written), _classes(page, plan), *_certificate(page, plan)]
    page.show(console, [*blocks, _facts(page, plan), _next(page, out, written)])


def _head(page: Page, plan: Plan, name: str, out: str, target: str) -> list[Text]:
    by = f" by {plan.method}" if plan.method else ""
    of = f" of {plan.split}" if plan.split else ""
    what = page.clean(f"  ·  {plan.command}{by}{of}  ·  {target}")
    room = page.width - 1 - cells(what)
    title = page.clean(f"{Path(name).name or name} → {Path(out).name or out}")
    return [Text.assemble(" ", (page.shorten_path(title, max(room, 12)), STRONG), page.shorten(what, page.width - 13))]


def _verdict(page: Page, plan: Plan, written: bool) -> list[Text]:
    label = "Written" if written else "Plan"
    sentences = [_image_counts(plan)]
    before, after = plan.imbalance_ratio.before, plan.imbalance_ratio.after
    if plan.command == "rebalance" and before is not None and after is not None:
        sentences.append(f"The largest class is {wording.number(before)} times the smallest before, {wording.number(after)} after.")
        sentences += _without_doubtful(plan.classes)
    if plan.command == "rebalance" and plan.made is None and plan.effective_sample_share < 0.995:
        sentences.append(f"Repeats make the epoch worth {plan.effective_sample_share:.0%} of the images before.")
    lines = [line for sentence in sentences for line in page.wrapped(sentence, page.width - len(label) - 3)]
    return [Text.assemble((f" {label if not at else ' ' * len(label)}  ", STRONG), line) for at, line in enumerate(lines)]


def _without_doubtful(classes: Sequence[ClassChange]) -> list[str]:
    """Tell the imbalance again without classes that no treatment aims at, such as "other" or "skip", where they hide what changes.

    >>> _without_doubtful([ClassChange("a", 80, 80), ClassChange("b", 8, 40), ClassChange("skip", 1, 1)])
    ['Without skip: 10 before, 2 after.']
    """
    doubtful = [row for row in classes if row.before and is_doubt(row.name)]
    rest = [row for row in classes if row.before and row.after and not is_doubt(row.name)]
    if not doubtful or len(rest) < 2:
        return []
    before, after = (max(counts) / min(counts) for counts in zip(*((row.before, row.after) for row in rest), strict=True))
    names = listed((shortened(row.name) for row in doubtful), len(doubtful))
    return [f"Without {names}: {wording.number(before)} before, {wording.number(after)} after."]


def _image_counts(plan: Plan) -> str:
    if plan.command != "rebalance":
        return f"{plural(plan.epoch_images, 'image')} in {plural(len(plan.splits), 'split')}."
    before = next((change.images_before for change in plan.split_changes if change.name == plan.split), 0)
    times = f" ({plan.epoch_images / before:.2f} ×)" if before and plan.epoch_images != before else ""
    of = f", of {plan.distinct_images:,} distinct images" if plan.distinct_images != plan.epoch_images else ""
    of = f", {len(plan.made.at):,} of them generated" if plan.made is not None else of
    return f"{plural(before, 'image')} become {plan.epoch_images:,}{times}{of}."


# Classes ------------------------------------------------------------------------------------------------------------


def _classes(page: Page, plan: Plan) -> list[Text]:
    rows = sorted(plan.classes, key=lambda row: (-row.before, row.name))
    if not rows:
        return []
    all_shown = len(rows) <= _CLASSES_SHOWN
    shown = rows if all_shown else rows[:_HEAD] + rows[-_TAIL:]
    names = [page.clean(row.name) or '""' for row in shown]
    figures = [column("before", [f"{row.before:,}" for row in shown]), column("after", [f"{row.after:,}" for row in shown])]
    if plan.command == "split" and len(plan.splits) <= _SPLITS_SHOWN:
        divided = zip(*(row.in_splits for row in shown), strict=True)
        parts = [column(page.shorten(name, 8), [f"{n:,}" for n in counts]) for name, counts in zip(plan.splits, divided, strict=True)]
        figures = [column("all", [f"{row.after:,}" for row in shown]), *parts]
    taken = sum(2 + cells(values[0]) for values in figures)
    bar_cells = min(_BAR_CELLS, (page.width - taken) // 2 - 3)
    name_cells = min(max(cells(name) for name in [*names, "class"]), _NAME_CELLS, page.width - taken - bar_cells - 3)
    head, *body = ["".join(f"  {values[at]}" for values in figures) for at in range(len(shown) + 1)]
    lines = [Text(f" {pad('class', name_cells)}{head}", QUIET)]
    most = max(max(row.before, row.after) for row in rows) or 1
    for row, label, counts in zip(shown, names, body, strict=True):
        line = Text(f" {pad(page.shorten(label, name_cells), name_cells)}{counts}  ")
        lines.append(line.append_text(_change_bar(page, row, most, bar_cells)))
    if not all_shown:
        lines.insert(1 + _HEAD, Text(page.clean(f" … {len(rows) - len(shown):,} more with --json"), QUIET))
    return lines


def _change_bar(page: Page, row: ClassChange, most: int, width: int) -> Text:
    """Draw what stays solid, what comes as a light bar, what goes as dots."""
    stays, comes, goes = ("█", "▒", "░") if encodable("█▒░", page.encoding) == "█▒░" else ("#", "+", ".")
    both, larger = (max(round(value / most * width), value > 0) for value in (min(row.before, row.after), max(row.before, row.after)))
    grown = row.after > row.before
    return Text.assemble((stays * both, "blue"), ((comes if grown else goes) * (larger - both), "green" if grown else "red"))


# Certificate --------------------------------------------------------------------------------------------------------


def _certificate(page: Page, plan: Plan) -> list[list[Text]]:
    """Say how far from the best possible the plan is and what cannot be reached, and draw what other budgets would bring."""
    certificate = plan.certificate
    if certificate is None:
        return []
    if certificate.objective == "epoch_images":
        bound = math.ceil(certificate.bound - 1e-6)
        proof = [f"{plural(round(certificate.achieved), 'image')}; no epoch that meets these floors has fewer than {bound:,}"]
    else:
        share, best = f"{certificate.achieved:.1%}", f"{certificate.bound:.1%}"
        proof = [f"effective sample share {share}; no epoch with these floors and this budget exceeds {best}"]
    proof.append(f"gap {certificate.gap:.2%}")
    is_beside = plan.method == "copy_paste"  # then it is about what repeats alone could do
    before = next((change.images_before for change in plan.split_changes if change.name == plan.split), 0)
    rows = [
        ("repeats alone" if is_beside else "proof", proof),
        ("collect", [f"{name} {number:,}" for name, number in certificate.collect.items()]),
        ("inseparable", [f"{one} and {other}" for one, other in certificate.inseparable]),
    ]
    return [page.facts(rows), [] if is_beside else _curve(page, certificate.curve, plan.epoch_images / max(before, 1))]


def _curve(page: Page, points: Sequence[CurvePoint], chosen: float) -> list[Text]:
    """Draw the trade-off as two bars a budget; the plan's own line is strong."""
    if len(points) < 2:
        return []
    budgets = column("budget", [page.clean(f"{point.budget:.2f} ×") for point in points])
    shares = [f"{point.effective_sample_share:.0%}" for point in points]
    ratios = [f"{wording.number(point.imbalance_ratio or 1)} : 1" for point in points]
    share_cells, ratio_cells = (max(cells(text) for text in texts) for texts in (shares, ratios))
    bar = min(_CURVE_CELLS, (page.width - cells(budgets[0]) - share_cells - ratio_cells - 7) // 2)
    most = max(point.imbalance_ratio or 1 for point in points)
    variety, balance = page.shorten("effective sample share", bar + share_cells + 1), page.shorten("imbalance", bar + ratio_cells + 1)
    lines = [Text(f" {budgets[0]}  {pad(variety, bar + share_cells + 1)}  {balance}", QUIET)]
    for point, budget, share, ratio in zip(points, budgets[1:], shares, ratios, strict=True):
        style = STRONG if abs(point.budget - chosen) < 1e-9 else ""
        lines.append(
            Text.assemble(
                (f" {budget}  {pad(share, share_cells, right=True)} ", style),
                (pad(page.bar(point.effective_sample_share, bar), bar), "green"),
                (f"  {pad(ratio, ratio_cells, right=True)} ", style),
                (page.bar((point.imbalance_ratio or 1) / most, bar), "blue"),
            )
        )
    return lines


# Facts and what next ------------------------------------------------------------------------------------------------


def _facts(page: Page, plan: Plan) -> list[Text]:
    changes = [
        f"{change.name} {change.images_before:,} → {change.images_after:,}"
        if change.images_before != change.images_after
        else f"{change.name} {change.images_after:,}"
        for change in plan.split_changes
    ]
    dropped = plan.dropped
    gone = [f"{plural(dropped.images, 'image')} with {plural(dropped.instances, 'instance')}"] if dropped.images else []
    if dropped.records_with_errors:
        gone.append(f"{plural(dropped.records_with_errors, 'record')} with errors")
    rows = [
        ("splits", changes),
        ("alike", [_quality(one) for one in plan.quality]),
        ("dropped", gone),
        ("loses", list(plan.loses)),
        ("note", list(plan.notes)),
        ("disk", [_bytes(plan.disk_bytes)] if plan.disk_bytes else ["no image is copied"]),
    ]
    return page.facts(rows)


def _quality(one: SplitQuality) -> str:
    """Say how far the splits of one way of dividing are from alike.

    >>> _quality(SplitQuality("random", 0.04199, 0.2667, None))
    'random: labels differ by 0.042, images by 0.3'
    """
    labels = "" if one.ld is None else f"labels differ by {one.ld:.2g}, "
    instances = "" if one.js is None else f", instances by {one.js:.2g} bits"
    return f"{one.method}: {labels}images by {one.ed:.1f}{instances}"


def _bytes(number: int) -> str:
    return f"{number / 2**30:,.1f} GiB of images" if number >= 2**30 else f"{number / 2**20:,.1f} MiB of images"


def _next(page: Page, out: str, written: bool) -> list[Text]:
    if not written:
        return [Text.assemble((" Next   ", STRONG), "run the same without --dry-run to write it")]
    return page.command(f"dataset-doctor audit {shlex.quote(out)}", Text(" Next   ", STRONG))
