"""The arms on a verdict's page: a card each, their differences side by side, and what they did to groups of classes and to each class."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from dataset_doctor.checks import CHECKS
from dataset_doctor.findings import plural
from dataset_doctor.report.html.drawing import Scale, axis, difference, differences
from dataset_doctor.report.html.markup import Child, Html, data, el, name, text
from dataset_doctor.report.html.verdict.parts import badge, score
from dataset_doctor.report.verdict import words
from dataset_doctor.report.wording import duration
from dataset_doctor.verdict import Advice, ArmVerdict, ClassVerdict, GroupName, Verdict

CLASS_ROWS = 1000
"""Rows of classes that the page shows at most, all arms together."""

_WHY_CHARACTERS = 600

_GROUPS: tuple[GroupName, ...] = ("rare", "common", "frequent")
_RANK = {"hurt": 0, "helped": 1, "no evidence": 2, "cannot verify": 3}


def cards(verdict: Verdict) -> Html:
    """Draw a card for each arm: its score, its difference from the baseline and the badge of its verdict."""
    scale = _scale(verdict)
    baseline = verdict.arms[0] if verdict.arms else None
    return el("div", [_card(verdict, arm, baseline, scale) for arm in verdict.arms], class_="pair")


def _card(verdict: Verdict, arm: ArmVerdict, baseline: ArmVerdict | None, scale: Scale) -> Html:
    drawn = None
    if arm.difference is not None:
        said = f"{words.points(arm.difference)} of {words.metric_name(verdict.metric)}"
        drawn = el(
            "div",
            el("p", el("strong", f"{arm.difference.mean * 100:+.1f} points"), f" of {words.metric_name(verdict.metric)}"),
            el("p", f"{verdict.confidence * 100:.0f} % interval {words.span(arm.difference)}", class_="quiet small")
            if arm.difference.low is not None
            else el("p", "one seed, no interval", class_="quiet small"),
            difference(arm.difference, arm.verdict, scale, unseen=verdict.detectable_difference, said=said),
            axis(scale, ""),
        )
    return el(
        "article",
        el("div", el("h3", data(arm.name)), el("span", badge(arm.verdict), class_="push"), class_="row"),
        drawn,
        el(
            "dl",
            [
                (el("dt", words.metric_name(key)), el("dd", score(one, is_share=is_share)))
                for key, one, is_share in words.scores(arm.metrics)
            ],
            class_="keys",
        ),
        el("dl", [(el("dt", what), el("dd", said)) for what, said in _cost(arm, baseline)], class_="keys"),
        _tests(arm.addresses, verdict.recommendations),
        el("ul", [el("li", text(note)) for note in arm.notes], class_="places quiet") if arm.notes else None,
        class_="card todo arm",
    )


def _cost(arm: ArmVerdict, baseline: ArmVerdict | None) -> list[tuple[str, str]]:
    """Say what an arm takes, and how many times the baseline's that is where it is clearly another."""
    cost = arm.cost
    written = {
        "train_seconds": ("training", duration(cost.train_seconds)),
        "parameters": ("parameters", f"{cost.parameters / 1e6:.2f} M, {words.bytes_said(cost.model_bytes)}"),
        "latency_ms": ("one image", f"{cost.latency_ms:.1f} ms"),
        "images_per_second": ("training speed", f"{cost.images_per_second:,.0f} images a second"),
        "peak_memory_bytes": ("memory, at most", words.bytes_said(cost.peak_memory_bytes)),
    }
    rows = []
    for field, (what, said) in written.items():
        mine, theirs = getattr(cost, field), getattr(baseline.cost, field) if baseline is not None else 0
        beside = f", {mine / theirs:.2g} × the baseline's" if mine and theirs and not 0.9 <= mine / theirs <= 1.1 else ""
        if mine:
            rows.append((what, said + beside))
    return rows


def _tests(addresses: Sequence[str], advice: Mapping[str, Advice]) -> Html | None:
    """Say which recommendations an arm tests, with their reasons, and the findings behind them in the words of `explain`."""
    if not addresses:
        return None
    checks = {check.code: check for check in CHECKS}
    said = []
    for code in addresses:
        check = checks.get(code)
        if check is None:
            one = advice.get(code, Advice("recommended by the audit", ""))
            action = one.action.replace("_", " ").capitalize()
            said.append(el("li", el("code", text(code, 40)), f" {action}. ", text(one.why, _WHY_CHARACTERS)))
        else:
            flags = check.summary.removeprefix("Flag ")
            said.append(el("li", el("code", code), f" {check.name}. {flags[:1].upper()}{flags[1:]}"))
    return el("div", el("p", "Tests", class_="small quiet"), el("ul", said, class_="places"))


def _scale(verdict: Verdict) -> Scale:
    unseen = verdict.detectable_difference
    return differences([arm.difference for arm in verdict.arms], unseen, None if unseen is None else -unseen)


def forest(verdict: Verdict) -> Html | None:
    """Draw the differences from the baseline with their intervals; None where no arm is treated."""
    arms = words.treated(verdict)
    if not arms:
        return None
    unseen, scale = verdict.detectable_difference, _scale(verdict)
    rows = [
        el(
            "div",
            el("div", data(arm.name), class_="who"),
            difference(arm.difference, arm.verdict, scale, unseen=unseen),
            el("div", el("span", words.points(arm.difference, "") if arm.difference else ""), " ", badge(arm.verdict), class_="what"),
            class_="forest-row",
        )
        for arm in arms
    ]
    known = [arm for arm in arms if arm.difference is not None and arm.difference.low is not None]
    clear = sum(arm.verdict != "no evidence" for arm in known)
    title = f"{clear} of {plural(len(known), 'interval')} {'lies' if clear == 1 else 'lie'} clear of zero"
    if len(known) < 2:
        title = f"The interval {'lies clear of' if clear else 'holds'} zero" if known else "No intervals: one seed tells nothing of chance"
    note = f"Difference in {words.metric_name(verdict.metric)} to the baseline, with {verdict.confidence * 100:.0f} % intervals."
    shaded = f" Shaded: differences below {unseen * 100:.1f} points, which would mostly have been missed." if unseen else ""
    return el(
        "figure",
        el("figcaption", el("h3", title), el("p", note + shaded, class_="quiet small note")),
        el("div", rows, axis(scale), class_="forest"),
        class_="card",
    )


def groups(verdict: Verdict) -> Html | None:
    """Draw the differences of rare, common and frequent classes; None where classes were not grouped."""
    there = [(arm, key, arm.groups[key]) for key in _GROUPS for arm in words.treated(verdict) if key in arm.groups]
    if not there:
        return None
    scale = differences([group.difference for _, _, group in there])
    rows = []
    for key in _GROUPS:
        mine = [(arm, group) for arm, of, group in there if of == key]
        if mine:
            rows.append(el("p", el("strong", key.capitalize()), f", {plural(mine[0][1].classes, 'class', 'classes')}", class_="between"))
        for arm, group in mine:
            reason = ": too few test instances" if group.verdict == "cannot verify" else ""
            rows.append(
                el(
                    "div",
                    el("div", data(arm.name), class_="who"),
                    difference(group.difference, group.verdict, scale),
                    el("div", None if reason else [words.points(group.difference, ""), " "], badge(group.verdict), reason, class_="what"),
                    class_="forest-row" + (" passed" if reason else ""),
                )
            )
    told = [f"{arm.name} {group.verdict} the {key} classes" for arm, key, group in there if group.verdict in ("helped", "hurt")]
    title = (
        name("; ".join(told[:3]) + (f"; {len(told) - 3} more" if len(told) > 3 else ""), 200)
        if told
        else "No group of classes was told apart"
    )
    note = "Rare: in up to 10 training images; common: up to 100; frequent: more. Intervals are widened for the number of groups."
    return el(
        "figure",
        el("figcaption", el("h3", title, class_="data"), el("p", note, class_="quiet small note")),
        el("div", rows, axis(scale), class_="forest"),
        class_="card",
    )


def classes(verdict: Verdict) -> Child:
    """Table the score of each class in each arm."""
    arms = [arm for arm in words.treated(verdict) if arm.classes]
    if not arms:
        return None
    most = max(20, CLASS_ROWS // len(arms))
    baseline = {c.name: c.score for c in verdict.arms[0].classes}
    scale = differences([c.difference for arm in arms for c in arm.classes if c.verdict != "cannot verify"])
    return [_class_table(verdict, arm, baseline, scale, most, opened=at == 0) for at, arm in enumerate(arms)]


def _class_table(verdict: Verdict, arm: ArmVerdict, baseline: Mapping[str, float | None], scale: Scale, most: int, *, opened: bool) -> Html:
    ranked = sorted(arm.classes, key=lambda c: (_RANK[c.verdict], -abs(c.difference.mean) if c.difference else 0.0, -c.test_instances))
    counts = [(word, sum(c.verdict == word for c in arm.classes)) for word in ("hurt", "helped", "no evidence", "cannot verify")]
    summary = ", ".join(f"{n:,} {word}" for word, n in counts if n)
    head = [
        el("th", what, scope="col", class_=kind)
        for what, kind in (
            ("class", None), ("group", "lesser"), ("test", "number lesser"), ("baseline", "number lesser"), ("score", "number lesser"),
            ("difference, points", None), ("drawn", "drawn"), ("verdict", None),
        )
    ]  # fmt: skip
    return el(
        "details",
        el("summary", el("strong", data(arm.name)), f": {summary}"),
        el("p", f"Score: {_class_score(verdict)}. The intervals allow for the number of classes.", class_="quiet small note"),
        el(
            "div",
            el(
                "table",
                el("caption", f"Classes with {name(arm.name, 60)} against the baseline", class_="hide"),
                el("thead", el("tr", head)),
                el("tbody", [_class_row(c, baseline.get(c.name), scale) for c in ranked[:most]]),
                class_="classes sortable",
            ),
            class_="scroll",
            tabindex="0",
            role="region",
            aria_label=f"Classes with {name(arm.name, 60)}",
        ),
        el("p", f"… and {len(ranked) - most:,} more classes: ", el("code", "-o verdict.csv"), " lists all.", class_="quiet small")
        if len(ranked) > most
        else None,
        class_="card of-arm",
        open=opened,
    )


def _class_score(verdict: Verdict) -> str:
    return "recall on the test split" if verdict.task == "classify" else "average precision on the test split"


def _class_row(c: ClassVerdict, baseline: float | None, scale: Scale) -> Html:
    unsure, gap = c.verdict == "cannot verify", c.difference
    said = (el("strong", f"{gap.mean * 100:+.1f}"), " ", el("span", words.span(gap), class_="quiet small")) if gap else None
    reason = el("span", f" {words.unverifiable(c)}", class_="small") if unsure else None
    return el(
        "tr",
        el("td", data(c.name), class_="name"),
        el("td", c.group or "none", class_="lesser quiet", data_sort=(None, "rare", "common", "frequent").index(c.group)),
        el("td", f"{c.test_instances:,}", class_="number lesser", data_sort=c.test_instances),
        _number_cell(baseline),
        _number_cell(c.score),
        el("td", said, class_="gap", data_sort=_six(gap.mean) if gap else ""),
        el("td", difference(gap, c.verdict, scale) if gap else None, class_="drawn"),
        el("td", badge(c.verdict), reason, data_sort=_RANK[c.verdict], class_="word"),
        class_="passed" if unsure else None,
    )


def _number_cell(share: float | None) -> Html:
    return el("td", words.percent(share), class_="number lesser", data_sort="" if share is None else _six(share))


def _six(value: float) -> str:
    return f"{value:.6f}"
