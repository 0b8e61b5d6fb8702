"""What the models of a verdict did: their training, what they took for what, and the pictures on which they were most surely wrong."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import zip_longest

from dataset_doctor.findings import plural
from dataset_doctor.report.html.drawing import Line, heat_map, lines_chart
from dataset_doctor.report.html.images import IN_ALL, Box, Thumbnail, cutouts
from dataset_doctor.report.html.markup import Child, Html, data, el, name
from dataset_doctor.report.html.verdict.parts import chart
from dataset_doctor.report.verdict import words
from dataset_doctor.verdict import Details, Mistake, SeedRun, Verdict

MATRIX, PICTURES_AN_ARM, PICTURE_BYTES = 20, 8, 1_200_000
"""What the page shows at most: classes of a matrix, pictures an arm, bytes of pictures."""


def curves(verdict: Verdict) -> Html | None:
    """Draw loss and score over the epochs of each arm; None where no curve was kept."""
    metric = "balanced accuracy" if verdict.task == "classify" else "AP50"
    charts = [
        _curve(verdict, "val", f"validation {metric}", "The score that chooses the checkpoint of each training.", as_percent=True),
        _curve(verdict, "loss", "training loss", "Mean since the last look. Arms with another loss or other weights are not on one scale."),
    ]
    there = [chart for chart in charts if chart is not None]
    return el("div", there, class_="pair") if there else None


def _curve(verdict: Verdict, key: str, what: str, note: str, *, as_percent: bool = False) -> Html | None:
    thin, thick, finals = [], [], []
    for kind, arm in enumerate(verdict.arms):
        of_seeds = [points for run in arm.seeds if (points := _points(run, key))]
        mean = _mean_curve(of_seeds)
        if not mean:
            continue
        if len(of_seeds) > 1:
            thin += [Line(arm.name, points, kind, thin=True) for points in of_seeds]
        thick.append(Line(arm.name, mean, kind))
        finals.append((max if as_percent else min)(mean, key=lambda point: point[1]))
    if not thick:
        return None
    at = range(len(thick))
    best = (max if as_percent else min)(at, key=lambda one: finals[one][1])
    reached = words.percent(finals[best][1]) if as_percent else f"{finals[best][1]:.3g}"
    title = f"{what[:1].upper()}{what[1:]}: {name(thick[best].name, 40)} reached {reached}"
    rows: list[list[Child]] = [
        [data(line.name), f"{x:,.0f}", words.percent(y) if as_percent else f"{y:.4g}"] for line, (x, y) in zip(thick, finals, strict=True)
    ]
    seeds = " Thick: mean over the seeds; thin: one seed." if thin else ""
    drawn = lines_chart([*thin, *thick], across="optimiser steps", up=what, said=f"Chart: {title}", as_percent=as_percent, from_zero=True)
    return chart(title, note + seeds, drawn, ["arm", "at step", "best" if as_percent else "least"], rows)


def _points(run: SeedRun, key: str) -> list[tuple[float, float]]:
    steps, values = run.curves.get("step", ()), run.curves.get(key, ())
    return [(float(x), float(y)) for x, y in zip(steps, values, strict=False) if abs(y) < 1e30]


def _mean_curve(of_seeds: Sequence[Sequence[tuple[float, float]]]) -> list[tuple[float, float]]:
    """Average over the seeds at the steps that all of them reached."""
    tables = [dict(points) for points in of_seeds]
    shared = sorted(set.intersection(*map(set, tables))) if tables else []
    return [(x, sum(table[x] for table in tables) / len(tables)) for x in shared]


def precision_recall(verdict: Verdict) -> Html | None:
    """Draw how precision falls with recall, for detectors: the mean over the classes that have objects, a line an arm."""
    of_arm = verdict.details.precision_recall
    lines: list[Line] = []
    for kind, arm in enumerate(verdict.arms):
        known = [curve for curve in of_arm.get(arm.name) or () if curve]
        if known:
            means = [sum(at) / len(known) for at in zip(*known, strict=True)]
            lines.append(Line(arm.name, [(100 * at / (len(means) - 1), y) for at, y in enumerate(means)], kind))
    if not lines:
        return None
    at_half = {line.name: line.points[len(line.points) // 2][1] for line in lines}
    best = max(at_half, key=lambda one: at_half[one])
    title = f"Where it finds half the objects, {name(best, 40)} is right in {words.percent(at_half[best])} of its finds"
    drawn = lines_chart(lines, across="recall, %", up="precision", said=f"Chart: {title}", as_percent=True, from_zero=True)
    rows: list[list[Child]] = [
        [data(line.name), *(words.percent(line.points[round(share * (len(line.points) - 1))][1]) for share in (0.25, 0.5, 0.75))]
        for line in lines
    ]
    note = "Mean over the classes; a find counts at an overlap of one half."
    return chart(title, note, drawn, ["arm", "at 25 % recall", "at 50 %", "at 75 %"], rows)


def confusion(verdict: Verdict) -> Child:
    """Table what was taken for what, arm by arm."""
    names, of_arm = verdict.details.class_names, verdict.details.confusion
    if not names or not of_arm:
        return None
    k = len(names)
    matrices = {arm.name: of_arm[arm.name] for arm in verdict.arms if len(of_arm.get(arm.name) or ()) == k}
    if not matrices:
        return None
    kept = _most_confused(list(matrices.values())) if k > MATRIX else list(range(k))
    note = "Rows: true class; columns: what the model said; shaded by the share of the row. Seeds are counted together."
    if k > MATRIX:
        note += f" The {len(kept)} most confused of {k:,} classes; the last column is all others."
    return [
        el("p", note, class_="quiet small note"),
        [_matrix(key, matrix, names, kept, opened=at == 0) for at, (key, matrix) in enumerate(matrices.items())],
    ]


def _most_confused(matrices: Sequence[Sequence[Sequence[int]]]) -> list[int]:
    """Choose the classes that were most often taken for another, or another for them, in all arms together; in their own order."""
    k = len(matrices[0])
    wrong = [0] * k
    for matrix in matrices:
        for row, counts in enumerate(matrix):
            for column, n in enumerate(counts):
                if n and row != column:
                    wrong[row] += n
                    wrong[column] += n
    return sorted(sorted(range(k), key=lambda c: -wrong[c])[:MATRIX])


def _matrix(arm: str, matrix: Sequence[Sequence[int]], names: Sequence[str], kept: Sequence[int], *, opened: bool) -> Html:
    totals = [sum(matrix[row]) for row in kept]
    counts = [[matrix[row][column] for column in kept] for row in kept]
    columns = [names[at] for at in kept]
    if len(kept) < len(names):
        counts = [[*row, total - sum(row)] for row, total in zip(counts, totals, strict=True)]
        columns = [*columns, "all others"]
    everything, right = sum(map(sum, matrix)), sum(row[at] for at, row in enumerate(matrix))
    pairs = [(n, row, column) for row, line in enumerate(matrix) for column, n in enumerate(line) if row != column and n]
    said = f": {right / everything * 100:.1f} % right" if everything else ""
    if pairs:
        n, row, column = max(pairs, key=lambda pair: (pair[0], -pair[1], -pair[2]))
        said += f"; most often {name(names[row], 40)} was called {name(names[column], 40)} ({n:,} of {sum(matrix[row]):,})"
    return el(
        "details",
        el("summary", el("strong", data(arm)), el("span", said, class_="data")),
        heat_map([names[at] for at in kept], columns, counts, totals, f"Confusion of {name(arm, 60)}"),
        class_="card of-arm",
        open=opened,
    )


def errors(verdict: Verdict, roots: Sequence[str]) -> Child:
    """Show the images that each arm gets most wrong."""
    entries = {arm.name: _entries(verdict.details, arm.name) for arm in verdict.arms}
    entries = {arm: mine for arm, mine in entries.items() if mine}
    if not entries:
        return None
    # One picture of each arm after the other, so that where the page is full every arm has some.
    wanted = [_key(mine[at]) for at in range(PICTURES_AN_ARM) for mine in entries.values() if at < len(mine)]
    numbered: dict[tuple[str, Box | None], tuple[int, Thumbnail]] = {}
    taken = 0
    for key, thumbnail in cutouts(list(dict.fromkeys(wanted))[:IN_ALL], roots).items():
        taken += len(thumbnail.address)
        if taken > PICTURE_BYTES:
            break
        numbered[key] = (len(numbered), thumbnail)
    shared = [
        el("image", id=f"picture-{at}", href=Html(one.address), width=one.width, height=one.height, preserveAspectRatio="none")
        for at, one in numbered.values()
    ]
    missing = len(dict.fromkeys(wanted)) - len(numbered)
    note = (
        "The test pictures on which the model was most surely wrong, mean over the seeds."
        if verdict.task == "classify"
        else "Objects that were missed, the largest first, and what was found where nothing is, the surest first."
    )
    gone = f" {plural(missing, 'picture')} not shown: missing, unreadable, or more than the page holds." if missing else ""
    return [
        el("p", note + gone, class_="quiet small note"),
        el("svg", el("defs", shared), class_="hide", width=1, height=1, aria_hidden="true") if shared else None,
        [
            el(
                "div",
                el("h3", data(arm), class_="group"),
                el("ul", [_error(entry, numbered.get(_key(entry))) for entry in mine], class_="strip"),
            )
            for arm, mine in entries.items()
        ],
    ]


def _entries(details: Details, arm: str) -> list[tuple[str, Mistake]]:
    """Give the errors of an arm in one row, each with its kind; a detector's false positives and misses take turns."""
    both = zip_longest(
        (("false positive", one) for one in details.found.get(arm, ())), (("missed", one) for one in details.missed.get(arm, ()))
    )
    entries = [*(("", one) for one in details.wrong.get(arm, ())), *(entry for pair in both for entry in pair if entry is not None)]
    return entries[:PICTURES_AN_ARM]


def _key(entry: tuple[str, Mistake]) -> tuple[str, Box | None]:
    box = entry[1].box
    return entry[1].image, None if box is None else (box[0], box[1], box[2], box[3])


def _error(entry: tuple[str, Mistake], found: tuple[int, Thumbnail] | None) -> Html:
    """Show one error: the image with its box, what it is, and what was said."""
    kind, one = entry
    probability = one.score if one.probability is None else one.probability
    sure = "" if probability is None else f", {probability * 100:.0f} %"
    said = f"{name(one.class_name, 60)}, called {name(str(one.predicted), 60)}" if not kind else f"{kind}: {name(one.class_name, 60)}"
    said += sure
    return el(
        "li",
        _picture(found, entry, f"{name(one.image)}: {said}"),
        el("span", said, class_="data title", title=said),
        el("span", name(one.image.rsplit("/", 1)[-1]), class_="quiet data title", title=name(one.image)),
    )


def _picture(found: tuple[int, Thumbnail] | None, entry: tuple[str, Mistake], said: str) -> Html:
    width, height = 160, 120
    if found is None:
        none = el("text", "no picture", class_="none", x=width / 2, y=height / 2 + 4)
        return el("svg", none, class_="thumb", viewBox=f"0 0 {width} {height}", role="img", aria_label=f"{said}; no picture")
    at, one = found
    scale = min(width / one.width, height / one.height)
    left, top = (width - one.width * scale) / 2, (height - one.height * scale) / 2
    drawn: list[Child] = [Html(f'<use href="#picture-{at}" transform="translate({left:.2f} {top:.2f}) scale({scale:.6f})"></use>')]
    box = _key(entry)[1]
    if box is not None:
        x1, y1 = (left + (box[0] - one.left) * scale, top + (box[1] - one.top) * scale)
        wide, high = ((box[2] - box[0]) * scale, (box[3] - box[1]) * scale)
        drawn += [el("rect", class_=kind, x=x1, y=y1, width=max(wide, 0.5), height=max(high, 0.5)) for kind in ("halo", "line")]
    return el("svg", drawn, class_="thumb", viewBox=f"0 0 {width} {height}", role="img", aria_label=said)
