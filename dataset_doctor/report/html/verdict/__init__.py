"""The verdict as one HTML page that stands alone and needs no script to be read: its script sorts tables, and opens what is printed.

All markup is made here, and every text is escaped when it is put into some (`_markup`). The host and the paths of the environment are left
out, so that the page is fit to be sent on.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from dataset_doctor.findings import plural
from dataset_doctor.report.html.document import document
from dataset_doctor.report.html.markup import Child, Html, el, name, text
from dataset_doctor.report.html.verdict.arms import cards, classes, forest, groups
from dataset_doctor.report.html.verdict.extras import ensembles, learning_curve, models, tuning
from dataset_doctor.report.html.verdict.training import confusion, curves, errors, precision_recall
from dataset_doctor.report.verdict import words
from dataset_doctor.report.wording import duration
from dataset_doctor.verdict import Verdict

_ENVIRONMENT = {
    "started": "started", "seconds": "took", "device": "device", "device_name": "device's name", "threads": "threads", "python": "Python",
    "torch": "torch", "torchvision": "torchvision", "system": "system",
}  # fmt: skip


def verdict_page(verdict: Verdict, roots: Sequence[str]) -> str:
    """Write the verdict as a page.

    Args:
        verdict: What `verify` gave.
        roots: The dataset's folder, whose name heads the page, and the folder of its images where that is another. Pictures are read from
            these alone; where one is not there, a placeholder stands for it.
    """
    title = name(Path(roots[0]).resolve().name or "dataset", 80)
    sections = [
        _section("arms", "Treatments", "Treatments", cards(verdict)),
        _section("differences", "Differences", "Against the baseline", forest(verdict)),
        _section("groups", "Groups", "Rare, common and frequent classes", groups(verdict)),
        _section("classes", "Classes", "Classes", classes(verdict)),
        _section("curves", "Training", "Training", curves(verdict)),
        _section("precision", "Precision", "Precision and recall", precision_recall(verdict)),
        _section("confusion", "Confusion", "Confusion", confusion(verdict)),
        _section("errors", "Errors", "Worst errors", errors(verdict, roots)),
        _section("models", "Models", "Models", models(verdict)),
        _section("more-data", "More data", "More data", learning_curve(verdict)),
        _section("ensembles", "Ensembles", "Ensembles", ensembles(verdict)),
        _section("tuning", "Tuning", "Tuning", tuning(verdict)),
        _section("made", "How", "How it was done", _made(verdict)),
        _section(
            "caution",
            "Caution",
            "What this verdict cannot say",
            el("ul", [el("li", said) for said in words.cautions(verdict)], class_="said"),
        ),
    ]
    shown = [section for section in sections if section is not None]
    body = [
        el("a", "Skip to the verdict", class_="skip", href="#main"),
        _head(verdict, title),
        el("nav", el("ul", [el("li", el("a", label, href=f"#{key}")) for key, label, _ in shown]), aria_label="Contents"),
        el("main", [content for *_, content in shown], id="main", tabindex="-1"),
        el("footer", "This page stands alone: it loads nothing and sends nothing. dataset-doctor.", class_="quiet small"),
        el("p", class_="hide", role="status", id="live"),
    ]
    return document("verdict", title, body, styles=("page.css", "verdict/verdict.css"), script="verdict/verdict.js")


def _section(key: str, label: str, heading: str, content: Child) -> tuple[str, str, Html] | None:
    """Make a section with its place in the contents; none where there is nothing to show."""
    if not content:
        return None
    return key, label, el("section", el("h2", heading, id=f"{key}-title"), content, id=key, aria_labelledby=f"{key}-title")


def _head(verdict: Verdict, title: str) -> Html:
    found = {arm.verdict for arm in words.treated(verdict)}
    tone = "helped" if "helped" in found else "hurt" if "hurt" in found else "no-evidence"
    first, *more = words.answer(verdict)
    return el(
        "header",
        el("h1", el("span", title, class_="data")),
        el("p", words.effort(verdict), class_="quiet"),
        el("p", el("strong", first), [f" {sentence}" for sentence in more], class_=f"verdict data {tone}"),
        el("dl", [_figure(*figure) for figure in _figures(verdict)], class_="figures"),
        class_="top",
    )


def _figures(verdict: Verdict) -> list[tuple[str, str, str]]:
    """Give at most five figures, each with what it is and a note."""
    arms = words.treated(verdict)
    counted = [(word, sum(arm.verdict == word for arm in arms)) for word in ("helped", "hurt", "no evidence")]
    figures = [(str(len(arms)), "treatment" if len(arms) == 1 else "treatments", ", ".join(f"{n} {word}" for word, n in counted if n))]
    known = [(arm.difference, arm.name) for arm in arms if arm.difference is not None]
    if known:
        best, whose = max(known, key=lambda one: one[0].mean)
        figures.append((f"{best.mean * 100:+.1f}", "points, the best", name(whose, 40)))
    if verdict.detectable_difference is not None:
        figures.append(
            (f"{verdict.detectable_difference * 100:.1f}", "points can be seen", "a true difference of that size shows four times of five")
        )
    if verdict.arms:
        baseline = verdict.arms[0]
        score = baseline.metrics.get(verdict.metric)
        if score is not None:
            figures.append((words.percent(score.mean), words.metric_name(verdict.metric), "of the baseline"))
        instances = sum(c.test_instances for c in baseline.classes)
        figures.append((f"{instances:,}", "test instances", f"in {plural(len(baseline.classes), 'class', 'classes')}"))
    return figures


def _figure(value: str, what: str, note: str) -> Html:
    return el(
        "div", el("dt", what), el("dd", value, class_="value"), el("dd", note, class_="quiet small data") if note else None, class_="card"
    )


def _made(verdict: Verdict) -> Child:
    seeds = [str(run.seed) for run in verdict.arms[0].seeds] if verdict.arms else []
    how = [
        ("task", verdict.task),
        ("compared by", words.metric_name(verdict.metric)),
        ("steps", f"{verdict.steps:,}"),
        ("seeds", ", ".join(seeds)),
        ("intervals", f"{verdict.confidence * 100:.0f} %, over seeds and test images"),
    ]
    settings = [(str(key).replace("_", " "), words.value(one)) for key, one in verdict.settings.items()]
    around = [
        (what, _environment(key, verdict.environment[key]))
        for key, what in _ENVIRONMENT.items()
        if verdict.environment.get(key) is not None
    ]
    parts: list[Child] = [el("h3", "Comparison"), _keys(how)]
    if verdict.notes:
        parts += [el("h3", "Notes"), el("ul", [el("li", text(note), class_="data") for note in verdict.notes], class_="said")]
    cards = [el("div", parts, class_="card todo")]
    if around:
        cards.append(el("div", el("h3", "Where"), _keys(around), class_="card todo"))
    if settings:
        cards.append(
            el(
                "div",
                el("h3", "Settings of the baseline" + (" before tuning" if verdict.tuning is not None else "")),
                _keys([row for row in settings if row[0] != "steps"], "columns"),
                class_="card todo wide",
            )
        )
    return el("div", cards, class_="pair")


def _environment(key: str, value: Any) -> str:
    return duration(float(value)) if key == "seconds" else text(words.value(value))


def _keys(rows: Sequence[tuple[str, str]], kind: str = "") -> Html:
    return el(
        "dl",
        [el("div", el("dt", text(what, 60)), el("dd", text(value), class_="data")) for what, value in rows],
        class_=f"keys pairs {kind}".rstrip(),
    )
