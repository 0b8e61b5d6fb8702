"""Class weights on a terminal: what each class counts and weighs, and what to know before using it."""

from __future__ import annotations

import math
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

import numpy as np
from rich.console import Console
from rich.text import Text

from dataset_doctor.report import wording
from dataset_doctor.report.page import QUIET, STRONG, Page, column, pad
from dataset_doctor.report.text import cells, printable, shorten
from dataset_doctor.weights import SCHEMES, ClassWeights

_CLASSES_SHOWN, _HEAD, _TAIL = 24, 12, 11
_NAME_CELLS, _BAR_CELLS, _SHORT_BAR = 28, 24, 8
_UNITS = {"instances": "instances", "images": "images", "area": "pixels"}


def show(
    weights: ClassWeights, console: Console, *, name: str, options: Mapping[str, str] = MappingProxyType({}), written: Sequence[Path] = ()
) -> None:
    """Print the weights: a row a class, the figures that say how hard they pull, warnings, and what comes next.

    Args:
        weights: What `weigh` gave.
        console: Where to print; its width and encoding are obeyed.
        name: The dataset as the user typed it.
        options: What was asked for, as the user would type it again.
        written: Files that hold the weights already.
    """
    page = Page.of(console)
    page.show(console, [_head(page, weights, name), _classes(page, weights), _facts(page, weights), _warnings(page, weights),
                        _next(page, name, options, written)])  # fmt: skip


def _head(page: Page, w: ClassWeights, name: str) -> list[Text]:
    after = f" after {w.after}" if w.after is not None else ""
    what = page.clean(f"  ·  {w.scheme} class weights  ·  {_UNITS[w.count]} of {w.split}{after}")
    title = page.shorten_path(Path(name).name or Path(name).resolve().name, max(page.width - 1 - cells(what), 12))
    return [Text.assemble(" ", (title, STRONG), page.shorten(what, page.width - 1 - cells(title)))]


def _classes(page: Page, w: ClassWeights) -> list[Text]:
    order = sorted(range(len(w.classes)), key=lambda at: (-w.counts[at], at))
    all_shown = len(order) <= _CLASSES_SHOWN
    shown = order if all_shown else order[:_HEAD] + order[-_TAIL:]
    total = sum(w.counts)
    figures = [
        column(_UNITS[w.count], [f"{w.counts[at]:,}" for at in shown]),
        column("share", [wording.share(w.counts[at] / total) for at in shown]),
        column("weight", _numbers([w.weights[at] for at in shown])),
    ]
    names = [page.clean(w.classes[at]) or '""' for at in shown]
    taken = sum(2 + cells(values[0]) for values in figures)
    name_cells = min(max(cells(name) for name in [*names, "class"]), _NAME_CELLS, max(page.width - 1 - taken - 2 - _SHORT_BAR, 12))
    bar_cells = min(_BAR_CELLS, page.width - 1 - name_cells - taken - 2)
    head, *body = ["".join(f"  {values[at]}" for values in figures) for at in range(len(shown) + 1)]
    largest = max(weight for weight, n in zip(w.weights, w.counts, strict=True) if n)
    lines = [Text(f" {pad('class', name_cells)}{head}", QUIET)]
    for at, label, row in zip(shown, names, body, strict=True):
        start = f" {pad(shorten(label, name_cells, page.ellipsis), name_cells)}{row}"
        if w.counts[at]:
            lines.append(Text.assemble(start, (f"  {page.bar(w.weights[at] / largest, bar_cells)}", "blue")))
        else:
            lines.append(Text(start, QUIET))
    if not all_shown:
        lines.insert(1 + _HEAD, Text(page.clean(f" … {len(order) - len(shown):,} more in -o weights.csv"), QUIET))
    return lines


def _numbers(weights: Sequence[float]) -> list[str]:
    """Write weights with as many decimals as give the smallest three digits."""
    decimals = min(max(2 - math.floor(math.log10(min(weights))), 0), 9)
    return [f"{weight:,.{decimals}f}" for weight in weights]


def _facts(page: Page, w: ClassWeights) -> list[Text]:
    parameters = [f"{key} {value:.8g}" for key, value in (("beta", w.beta), ("power", w.power)) if value is not None]
    if w.beta is not None and w.beta > 0:
        parameters.append(f"labels beyond about {1 / (1 - w.beta):,.0f} add little")
    total, labels = sum(w.counts), {"instances": "instances", "images": "images", "area": "pixels"}[w.count]
    cap = "no cap" if w.cap is None else f"cap {w.cap:g}: " + (f"lowered {', '.join(w.capped)}" if w.capped else "not reached")
    mean = float(np.mean(np.array(w.weights)[w.present]))
    facts = {
        "scheme": [SCHEMES[w.scheme].formula, *parameters],
        "spread": [wording.ratio(w.spread), cap],
        "efficiency": [
            f"{w.efficiency:.2f}",
            f"{total:,} {labels} count as much as {max(round(total * w.efficiency), 1):,} with equal weights",
        ],
        "mean weight": [f"{w.scale:.4g} over {labels}", f"{mean:.4g} over classes", f"normalize {w.normalize}"],
    }
    label_cells = max(map(len, facts)) + 2
    lines = []
    for label, phrases in facts.items():
        for at, line in enumerate(page.joined(phrases, page.width - 1 - label_cells)):
            lines.append(Text.assemble(" ", (pad("" if at else label, label_cells), QUIET), line))
    return lines


def _warnings(page: Page, w: ClassWeights) -> list[Text]:
    lines = []
    for warning in w.warnings:
        for at, line in enumerate(page.wrapped(warning, page.width - 10)):
            lines.append(Text.assemble(" ", ("         " if at else "warning  ", "bold yellow"), line))
    return lines


def _next(page: Page, name: str, options: Mapping[str, str], written: Sequence[Path]) -> list[Text]:
    if written:
        label, said = " Written ", ", ".join(str(path) for path in written)
        return [Text.assemble((label, STRONG), line) for line in page.wrapped(said, page.width - len(label))]
    asked = [word for option in options.items() for word in option]
    command = shlex.join(["dataset-doctor", "weights", printable(name), *map(printable, asked), "--for", "torch", "-o", "weights.py"])
    return page.command(command, Text(" Next   ", STRONG))
