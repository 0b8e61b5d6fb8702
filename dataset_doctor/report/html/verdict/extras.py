"""What a comparison may bring besides its arms: which model is enough, what more data would bring, ensembles, tuned hyperparameters."""

from __future__ import annotations

from dataset_doctor.findings import plural
from dataset_doctor.report.html.drawing import Line, Scale, difference, differences, lines_chart
from dataset_doctor.report.html.markup import Child, Html, data, el, joined, name, text
from dataset_doctor.report.html.verdict.parts import badge, chart, score, table
from dataset_doctor.report.verdict import words
from dataset_doctor.verdict import Ensemble, Interval, Rival, Search, Verdict

TRIALS = 10
"""Trials of an arm that the page shows at most."""

_STEPS = 40
"""Pieces that a fitted curve is drawn in."""


def models(verdict: Verdict) -> Child:
    """Show how the models compared and which was chosen."""
    choice = verdict.model_choice
    if choice is None:
        return None
    first = verdict.settings.get("model")
    models = [(arm, first if arm.verdict is None else arm.name.removeprefix("model:")) for arm in verdict.arms]
    compared = [(arm, model) for arm, model in models if model and (arm.verdict is None or arm.name.startswith("model:"))]
    rows: list[list[Child]] = []
    for arm, model in sorted(compared, key=lambda one: one[0].cost.parameters):
        said = [word for word, is_so in (
            ("recommended", model == choice.recommended), ("best score", model == choice.best),
            ("not shown to be worse than the best", model in choice.within_noise and model != choice.best),
        ) if is_so]  # fmt: skip
        metric = arm.metrics.get(verdict.metric)
        rows.append(
            [
                data(model),
                score(metric) if metric else "",
                f"{arm.cost.parameters / 1e6:.2f} M",
                words.bytes_said(arm.cost.model_bytes),
                f"{arm.cost.latency_ms:.1f} ms",
                ", ".join(said) or "worse",
            ]
        )
    head = ["model", words.metric_name(verdict.metric), "parameters", "size", "one image", "compared"]
    return el("div", el("h3", words.model_choice(verdict), class_="data"), table(head, rows, "Models", words_at=(0, 5)), class_="card")


def learning_curve(verdict: Verdict) -> Child:
    """Draw the score over the share of the training images."""
    curve = verdict.learning_curve
    if curve is None or not curve.points:
        return None
    points = [one for one in curve.points if one.scores]
    means = [(float(one.images), sum(one.scores) / len(one.scores)) for one in points]
    dots = [(float(one.images), score, 0) for one in points for score in one.scores]
    lines, bars = [Line("measured, mean over the seeds", means, 0)], []
    fit, forecast = curve.fit, curve.forecast
    if fit is not None and means:
        first, last = means[0][0], max(means[-1][0], float(forecast.images if forecast is not None else 0))
        sizes = [first * (last / first) ** (at / _STEPS) for at in range(_STEPS + 1)]
        lines.append(Line("fitted curve", [(n, 1 - fit.error(n)) for n in sizes], 1))
    if forecast is not None and means:
        at = float(forecast.images)
        if fit is None:
            lines.append(Line("forecast", [means[-1], (at, forecast.mean)], 1))
        bars.append((at, Interval(forecast.mean, forecast.low, forecast.high), 1))
    said = words.more_data(verdict)
    rows: list[list[Child]] = [
        [f"{one.images:,}", f"{one.share * 100:.0f} %", ", ".join(words.percent(score) for score in one.scores)] for one in points
    ]
    if forecast is not None:
        rows.append([f"{forecast.images:,}", "forecast", score(Interval(forecast.mean, forecast.low, forecast.high))])
    metric = words.metric_name(verdict.metric)
    drawn = lines_chart(
        lines, across="training images", up=metric, said=f"Chart: {said}", as_percent=True, dots=dots, bars=bars, from_zero=True
    )
    note = curve.said if curve.said != said else ""
    return chart(text(said), text(note), drawn, ["training images", "share", metric], rows)


def ensembles(verdict: Verdict) -> Child:
    """Table what each ensemble of checkpoints gave."""
    found = verdict.ensembles
    if not found:
        return None
    rivals = [one.against_best for one in found]
    best = next((rival for rival in rivals if rival is not None), None)
    scale = differences([one.difference for one in (*found, *rivals) if one is not None])
    metrics = [key for key in words.METRICS if any(key in one.metrics for one in found)][:4]
    compared = any(one.difference is not None for one in found)
    rows: list[list[Child]] = []
    for one, rival in zip(found, rivals, strict=True):
        made_of = el(
            "details",
            el("summary", plural(len(one.members), "member")),
            el("p", ", ".join(name(m, 80) for m in one.members), class_="data"),
            class_="more",
        )
        rows.append([
            joined([data(one.name), made_of]), one.kind, *(words.percent(one.metrics.get(key)) for key in metrics),
            *([_told(one, scale)] if compared else []), *([_told(rival, scale)] if best is not None else []),
        ])  # fmt: skip
    head = ["ensemble", "kind", *map(words.metric_name, metrics)]
    head += ["against the baseline"] if compared else []
    head += [f"against {name(best.arm, 60)}, the best arm"] if best is not None else []
    by = (
        "by its score on the validation split" if words.is_validated(verdict) else "by its score on the test split, so expect a little less"
    )
    return el(
        "div",
        el("h3", f"Best: {words.best_ensemble(verdict)}", class_="data"),
        el("p", f"The best {by}. Differences are to single models.", class_="quiet small note"),
        table(head, rows, "Ensembles", words_at=(0, 1, *range(2 + len(metrics), len(head)))),
        class_="card",
    )


def _told(compared: Ensemble | Rival | None, scale: Scale) -> Html:
    """Draw what an ensemble brings against single models of an arm, and say it."""
    gap, word = (None, None) if compared is None else (compared.difference, compared.verdict)
    drawn = el("div", difference(gap, word, scale), class_="small-drawing") if gap else None
    return joined([drawn, words.points(gap, "") if gap else "", " ", badge(word) if word else None])


def tuning(verdict: Verdict) -> Child:
    """Table the settings that the search tried for each arm."""
    tuning = verdict.tuning
    if tuning is None or not tuning.arms:
        return None
    return [
        el(
            "p",
            f"{plural(tuning.trials, 'trial')} an arm, {text(tuning.method, 40)} search, judged on the validation split.",
            class_="quiet small note",
        ),
        el("div", [_tuned(arm) for arm in tuning.arms], class_="pair"),
    ]


def _tuned(arm: Search) -> Html:
    trials = sorted(arm.trials, key=lambda one: (one.score is None, -(one.score or 0.0), one.number))
    names = list(dict.fromkeys(key for one in trials for key in one.params))
    rows = [
        [
            f"{one.number}",
            words.percent(one.score) or one.state,
            *(words.value(one.params[key]) if key in one.params else "" for key in names),
        ]
        for one in trials[:TRIALS]
    ]
    shown = f"The best {TRIALS} of {len(trials)} trials" if len(trials) > TRIALS else plural(len(trials), "trial")
    return el(
        "article",
        el("div", el("h3", data(arm.name)), el("span", words.percent(arm.score), class_="push"), class_="row"),
        el(
            "dl",
            [(el("dt", text(str(key), 60)), el("dd", text(words.value(one)), class_="data")) for key, one in arm.best.items()],
            class_="keys",
        ),
        el(
            "details",
            el("summary", shown),
            table(["trial", "score", *names], rows, f"Trials of {name(arm.name, 60)}"),
            class_="more",
        )
        if rows
        else None,
        class_="card todo arm",
    )
