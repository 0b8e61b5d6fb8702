"""Charts as inline SVG that need no script, and fit a phone as they fit a desktop.

Positions across are percentages, so that a chart is as wide as its place, and its text and marks keep their size. Only lines through many
points are drawn in a frame that is stretched.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from dataset_doctor.report.html.markup import Child, Html, data, el, name
from dataset_doctor.verdict import Interval

KINDS = 6
"""Lines that can be told apart by colour and dashes; further ones begin again."""

_POINTS_DRAWN = 120


@dataclass(frozen=True, slots=True)
class Scale:
    """Where numbers lie on an axis that goes from `low` to `high`."""

    low: float
    high: float

    @classmethod
    def over(cls, values: Iterable[float | None], *, margin: float = 0.06) -> Scale:
        """Make the scale that holds all values with a little room beside them."""
        known = [value for value in values if value is not None and math.isfinite(value)]
        low, high = (min(known), max(known)) if known else (0.0, 1.0)
        room = (high - low) * margin or max(abs(high) * margin, 0.01)
        return cls(low - room, high + room)

    def share(self, value: float) -> float:
        """Give where a number lies, 0 to 1.

        >>> Scale(0.0, 4.0).share(1.0), Scale(0.0, 4.0).share(9.0)
        (0.25, 1.0)
        """
        return min(max((value - self.low) / (self.high - self.low), 0.0), 1.0)

    def at(self, value: float) -> str:
        """Give where a number lies as a percentage."""
        return f"{self.share(value) * 100:.2f}%"

    def marks(self, most: int = 5) -> list[float]:
        """Give round numbers on the axis.

        >>> Scale(-0.03, 0.11).marks()
        [0.0, 0.05, 0.1]
        """
        rough = (self.high - self.low) / most
        unit = 10.0 ** math.floor(math.log10(rough))
        step = next(times * unit for times in (1, 2, 5, 10) if times * unit >= rough * 0.999)
        first, last = math.ceil(self.low / step - 1e-9), math.floor(self.high / step + 1e-9)
        return [round(at * step, 12) for at in range(first, last + 1)]


# Differences --------------------------------------------------------------------------------------------------------


def differences(intervals: Iterable[Interval | None], *also: float | None) -> Scale:
    """Make the scale of differences of shares: it holds zero and all intervals, as far as such a difference can go."""
    ends = [end for one in intervals if one is not None for end in (one.mean, one.low, one.high) if end is not None]
    return Scale.over([0.0, *(min(max(end, -1.0), 1.0) for end in ends), *also])


def difference(interval: Interval | None, word: str | None, scale: Scale, *, unseen: float | None = None, said: str = "") -> Html:
    """Draw a difference with its interval against zero.

    Args:
        interval: What to draw; None leaves the zero line alone.
        word: The verdict, which picks colour and mark.
        scale: Of all intervals that are looked at together.
        unseen: Differences nearer to zero than this could not have been seen: they are shaded.
        said: The same in words; without them the drawing is hidden from screen readers, as where words stand beside it.
    """
    drawn: list[Child] = []
    if unseen:
        left, right = scale.share(-unseen), scale.share(unseen)
        drawn.append(el("rect", class_="unseen", x=f"{left * 100:.2f}%", y=0, width=f"{(right - left) * 100:.2f}%", height="100%"))
    drawn.append(_across(scale.at(0.0), "zero"))
    if interval is not None:
        if interval.low is not None and interval.high is not None:
            low, high = scale.at(interval.low), scale.at(interval.high)
            drawn.append(el("line", class_="span", x1=low, x2=high, y1="50%", y2="50%"))
            drawn += [el("line", class_="span", x1=end, x2=end, y1="33%", y2="67%") for end in (low, high)]
        drawn.append(el("svg", _mark(word), x=scale.at(interval.mean), y="50%", overflow="visible"))
    heard: dict[str, str | bool] = {"role": "img", "aria_label": said} if said else {"aria_hidden": "true"}
    return el("svg", drawn, class_=f"difference {_tone(word)}", **heard)


def axis(scale: Scale, unit: str = "points") -> Html:
    """Write round differences under drawn ones."""
    room = [value for value in scale.marks() if 0.03 < scale.share(value) < 0.97]
    marks = [el("span", f"{value * 100:+g}" if value else "0", style=f"left:{scale.at(value)}") for value in room]
    return el(
        "div",
        el("div", marks, class_="marks"),
        el("div", unit, class_="quiet small centred") if unit else None,
        class_="axis-row",
        aria_hidden="true",
    )


def _across(x: str, kind: str) -> Html:
    return el("line", class_=kind, x1=x, x2=x, y1=0, y2="100%")


def _tone(word: str | None) -> str:
    return (word or "baseline").replace(" ", "-")


def _mark(word: str | None) -> Html:
    """Give the mark of a verdict: told apart by shape, not by colour alone."""
    paths = {"helped": "M0-6L6 5H-6Z", "hurt": "M0 6L6-5H-6Z"}
    if word in paths:
        return el("path", class_="mark", d=paths[word])
    return el("circle", class_="mark hollow", r=4 if word == "cannot verify" else 5)


# Lines --------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Line:
    """One line of a chart.

    name    what it stands for, of which the key tells; lines of one name look alike and are told of once
    points  x and y of each point, in the order they are drawn
    kind    which colour and dashes
    thin    drawn thin: one of several that another line sums up
    """

    name: str
    points: Sequence[tuple[float, float]]
    kind: int = 0
    thin: bool = False


def lines_chart(
    lines: Sequence[Line],
    *,
    across: str,
    up: str,
    said: str,
    as_percent: bool = False,
    dots: Sequence[tuple[float, float, int]] = (),
    bars: Sequence[tuple[float, Interval, int]] = (),
    from_zero: bool = False,
) -> Html:
    """Draw lines over numbers, with a key.

    Args:
        lines: What to draw; the first are drawn first.
        across: What x is, with its unit.
        up: What y is.
        said: The chart in words.
        as_percent: Whether y is a share.
        dots: Points that no line joins: x, y and kind.
        bars: Intervals of y: x, interval and kind.
        from_zero: Whether x begins at zero.
    """
    xs = [x for line in lines for x, _ in line.points] + [x for x, *_ in dots] + [x for x, *_ in bars]
    ys = [y for line in lines for _, y in line.points] + [y for _, y, _ in dots]
    ys += [end for _, one, _ in bars for end in (one.mean, one.low, one.high) if end is not None]
    right = max(xs, default=1.0)
    wide, high = Scale(0.0 if from_zero else min(xs, default=0.0), right * 1.02 or 1.0), Scale.over(ys)

    def y_at(value: float) -> str:
        return f"{(1 - high.share(value)) * 100:.2f}%"

    y_marks, x_marks = high.marks(), [x for x in wide.marks() if wide.share(x) <= 0.995]
    grid = [el("line", class_="axis", x1=0, x2="100%", y1=y_at(y), y2=y_at(y)) for y in y_marks]
    paths = [
        el("polyline", class_=f"stroke k{line.kind % KINDS}{' thin' if line.thin else ''}", points=_along(line.points, wide, high))
        for line in lines
        if len(line.points) > 1
    ]
    stretched = el("svg", paths, viewBox="0 0 1000 1000", preserveAspectRatio="none", width="100%", height="100%")
    alone = [(line.points[0][0], line.points[0][1], line.kind) for line in lines if len(line.points) == 1]
    marks: list[Child] = [
        el("circle", class_=f"point k{kind % KINDS}", cx=wide.at(x), cy=y_at(y), r=3.5)
        for x, y, kind in (*dots, *alone)
        if math.isfinite(y)
    ]
    for x, one, kind in bars:
        if one.low is not None and one.high is not None:
            marks.append(
                el("line", class_=f"stroke whole k{kind % KINDS}", x1=wide.at(x), x2=wide.at(x), y1=y_at(one.low), y2=y_at(one.high))
            )
        marks.append(el("circle", class_=f"point k{kind % KINDS}", cx=wide.at(x), cy=y_at(one.mean), r=5))
    return el(
        "div",
        el("p", f"↑ {up}", class_="quiet small"),
        el(
            "div",
            el(
                "div",
                [el("span", _written(y, as_percent, y_marks), style=f"top:{y_at(y)}") for y in y_marks],
                class_="ys",
                aria_hidden="true",
            ),
            el("svg", grid, stretched, marks, class_="lines", role="img", aria_label=said),
            el("div", [el("span", f"{x:,.10g}", style=f"left:{wide.at(x)}") for x in x_marks], class_="xs", aria_hidden="true"),
            class_="plot",
        ),
        el("p", f"{across} →", class_="quiet small end"),
        _key(lines),
    )


def _written(value: float, as_percent: bool, marks: Sequence[float]) -> str:
    """Write a number of the axis with as many decimals as its marks need."""
    step = (marks[1] - marks[0] if len(marks) > 1 else abs(value) or 1.0) * (100 if as_percent else 1)
    decimals = max(0, -math.floor(math.log10(step) + 1e-9))
    return f"{value * (100 if as_percent else 1):,.{decimals}f}" + (" %" if as_percent else "")


def _along(points: Sequence[tuple[float, float]], wide: Scale, high: Scale) -> str:
    """Write the points of a line in a frame of 1000 × 1000; of very many every so many, and the last."""
    every = max(1, math.ceil(len(points) / _POINTS_DRAWN))
    kept = [point for at, point in enumerate(points) if at % every == 0 or at == len(points) - 1]
    return " ".join(f"{wide.share(x) * 1000:.0f},{(1 - high.share(y)) * 1000:.0f}" for x, y in kept if math.isfinite(y))


def _key(lines: Sequence[Line]) -> Html | None:
    named = {line.name: line.kind for line in lines if not line.thin and line.name}
    if len(named) < 2:
        return None
    sample = 'x1="0" x2="30" y1="6" y2="6"'
    return el(
        "ul",
        [
            el(
                "li",
                Html(f'<svg class="sample" aria-hidden="true"><line class="stroke k{kind % KINDS}" {sample}></line></svg>'),
                data(words),
            )
            for words, kind in named.items()
        ],
        class_="legend",
    )


# Tables that are pictures -------------------------------------------------------------------------------------------


def heat_map(names: Sequence[str], columns: Sequence[str], counts: Sequence[Sequence[int]], totals: Sequence[int], label: str) -> Html:
    """Draw a table of counts, each cell shaded by its share of its row.

    Args:
        names: Of the rows.
        columns: Of the columns; a column that has a row's name is its diagonal.
        counts: One list a row.
        totals: What each row's shares are of.
        label: The table in words.
    """
    head = el("tr", el("td"), [el("th", el("span", data(column, title=column)), scope="col", class_="turned") for column in columns])
    body = []
    for at, (row_name, row, total) in enumerate(zip(names, counts, totals, strict=True)):
        cells = []
        for to, n in enumerate(row):
            share = n / total if total else 0.0
            title = f"{name(row_name, 40)}: {n:,} of {total:,} ({share * 100:.0f} %) called {name(columns[to], 40)}"
            kind = "own" if to == at and columns[to] == row_name else None
            cells.append(
                el("td", f"{n:,}" if n else "", class_=kind, style=f"--share:{share:.3f}" if n else None, title=title if n else None)
            )
        body.append(el("tr", el("th", data(row_name, title=row_name), scope="row"), cells))
    return el(
        "div",
        el("table", el("caption", label, class_="hide"), el("thead", head), el("tbody", body), class_="heat"),
        class_="scroll",
        tabindex="0",
        role="region",
        aria_label=label,
    )
