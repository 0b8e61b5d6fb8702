"""What a verdict says in words, the same on a terminal, in Markdown and on the page. Strings come back as they are, to be escaped there."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from dataset_doctor.findings import listed, plural
from dataset_doctor.verdict import ArmVerdict, ClassVerdict, GroupVerdict, Interval, Verdict

METRICS = {
    "balanced_accuracy": "balanced accuracy", "accuracy": "accuracy", "macro_f1": "F1", "map": "mAP", "ap50": "AP50", "ap75": "AP75",
    "ap_small": "AP small", "ap_medium": "AP medium", "ap_large": "AP large",
}  # fmt: skip
"""Scores that are shares, in the order they are shown, and what they are called."""

_LESSER = {"ar100": "AR100", "calibration_error": "calibration error"}
"""Further shares, for where there is room."""

_ARMS_NAMED, _NAME = 4, 60


def metric_name(metric: str) -> str:
    """Give the usual name of a score.

    >>> metric_name("map"), metric_name("calibration_error")
    ('mAP', 'calibration error')
    """
    return METRICS.get(metric) or _LESSER.get(metric) or metric.replace("_", " ")


def scores(metrics: Mapping[str, Interval]) -> list[tuple[str, Interval, bool]]:
    """Give the scores that are known, the usual ones first: name, interval, and whether it is a share."""
    usual = [*METRICS, *_LESSER]
    keys = [*(key for key in usual if key in metrics), *(key for key in metrics if key not in usual)]
    return [(key, metrics[key], key in usual) for key in keys if metrics[key].mean is not None and math.isfinite(metrics[key].mean)]


def points(interval: Interval, unit: str = " points") -> str:
    """Write a difference of shares in points, with its interval.

    >>> points(Interval(0.021, 0.004, 0.038)), points(Interval(-0.01, None, None))
    ('+2.1 points (+0.4 to +3.8)', '-1.0 points')
    """
    mean = f"{interval.mean * 100:+.1f}{unit}"
    return mean if interval.low is None or interval.high is None else f"{mean} ({span(interval)})"


def span(interval: Interval) -> str:
    """Write the ends of an interval in points, no further than shares can differ; nothing where there are none.

    >>> span(Interval(0.021, 0.004, 0.038)), span(Interval(0.3, -1.7, 2.3))
    ('+0.4 to +3.8', '-100.0 to +100.0')
    """
    if interval.low is None or interval.high is None:
        return ""
    return f"{max(interval.low, -1.0) * 100:+.1f} to {min(interval.high, 1.0) * 100:+.1f}"


def percent(value: float | None) -> str:
    """Write a score as a percentage.

    >>> percent(0.4567), percent(None)
    ('45.7 %', '')
    """
    return "" if value is None or math.isnan(value) else f"{value * 100:.1f} %"


# The answer ---------------------------------------------------------------------------------------------------------


def treated(verdict: Verdict) -> list[ArmVerdict]:
    """Give the arms that were compared with the baseline."""
    return [arm for arm in verdict.arms if arm.verdict is not None]


def answer(verdict: Verdict) -> list[str]:
    """Say which arms helped, which hurt, and for which there is no evidence; then what difference could have been seen."""
    metric = metric_name(verdict.metric)
    sentences: list[str] = []
    for word in ("helped", "hurt"):
        arms = sorted((arm for arm in treated(verdict) if arm.verdict == word), key=_gain, reverse=word == "helped")
        if arms:
            of = f" of {metric}" if not sentences else ""
            named = listed([f"{_short(arm.name)} ({_points_of(arm)})" for arm in arms[:_ARMS_NAMED]], len(arms))
            sentences.append(f"{word.capitalize()}: {named}{of}.")
    unsure = [_short(arm.name) for arm in treated(verdict) if arm.verdict == "no evidence"]
    if unsure:
        sentences.append(f"No evidence{'' if sentences else f' of a change in {metric}'}: {listed(unsure[:_ARMS_NAMED], len(unsure))}.")
    return [*sentences, detectable(verdict)] if sentences else ["Nothing was compared with the baseline."]


def _short(name: str) -> str:
    return name if len(name) <= _NAME else name[: _NAME - 1] + "…"


def _gain(arm: ArmVerdict) -> float:
    return arm.difference.mean if arm.difference else 0.0


def _points_of(arm: ArmVerdict) -> str:
    return f"{_gain(arm) * 100:+.1f} points"


def detectable(verdict: Verdict) -> str:
    """Say what difference the comparison could have shown."""
    if verdict.detectable_difference is None:
        return "What difference could have been seen is not known."
    return f"A true difference below {verdict.detectable_difference * 100:.1f} points would mostly have been missed."


def effort(verdict: Verdict) -> str:
    """Say what was trained."""
    seeds = len(verdict.arms[0].seeds) if verdict.arms else 0
    return f"verify, {verdict.task}  ·  {plural(seeds, 'seed')} × {verdict.steps:,} steps"


def group_said(name: str, group: GroupVerdict) -> str:
    """Say how a group of classes fared."""
    said = "too few test instances" if group.verdict == "cannot verify" else points(group.difference)
    return f"{name} classes: {group.verdict}, {said}"


def unverifiable(c: ClassVerdict) -> str:
    """Say why a class cannot be verified."""
    if not c.test_instances:
        return "no test instance"
    if c.difference is None:
        return "some training gave no score"
    return f"only {plural(c.test_instances, 'test instance')}"


def told_apart(verdict: Verdict) -> list[tuple[ArmVerdict, ClassVerdict]]:
    """Give the classes that an arm helped or hurt."""
    return [(arm, c) for arm in treated(verdict) for c in arm.classes if c.verdict in ("helped", "hurt")]


# What was looked at besides -----------------------------------------------------------------------------------------


def model_choice(verdict: Verdict) -> str:
    """Say which model is enough; nothing where models were not compared."""
    found = verdict.model_choice
    if found is None:
        return ""
    if found.recommended != found.best:
        return f"{found.recommended}: the smallest that was not shown to be worse than the best, {found.best}."
    n = len(found.within_noise)
    return f"{found.best}: the best" + (f", and the smallest of {n} not shown to be worse." if n > 1 else "; all others are worse.")


def best_ensemble(verdict: Verdict) -> str:
    """Name the best ensemble and what it brings; nothing where there is none.

    The best is that of the highest score on the validation split where that is known, so that it is not chosen by what it is judged on.
    """
    if not verdict.ensembles:
        return ""
    by = f"val_{verdict.metric}" if is_validated(verdict) else verdict.metric
    best = max(verdict.ensembles, key=lambda one: one.metrics.get(by, float("-inf")))
    score = percent(best.metrics.get(verdict.metric))
    return f"{best.name}: {', '.join(filter(None, [score, best.verdict, points(best.difference) if best.difference else '']))}"


def is_validated(verdict: Verdict) -> bool:
    """Tell whether ensembles have a score on the validation split."""
    return all(f"val_{verdict.metric}" in one.metrics for one in verdict.ensembles or ())


def more_data(verdict: Verdict) -> str:
    """Say what more training images would bring, or why that cannot be said; nothing where it was not looked at."""
    curve = verdict.learning_curve
    if curve is None:
        return ""
    forecast, last = curve.forecast, curve.points[-1] if curve.points else None
    if forecast is None or last is None or not last.scores:
        return curve.said or "Too little is known to say what more data would bring."
    now = sum(last.scores) / len(last.scores)
    times = forecast.images / last.images
    data = "Twice the data" if abs(times - 2) < 0.05 else f"{times:.2g} times the data"
    gain = Interval(forecast.mean - now, forecast.low - now, forecast.high - now)
    return f"{data} ({forecast.images:,} images) would bring about {points(gain)}."


def best_parameters(verdict: Verdict) -> list[str]:
    """Name the best hyperparameters of each arm that was tuned."""
    arms = () if verdict.tuning is None else verdict.tuning.arms
    return [f"{arm.name}: {', '.join(f'{key} {value(one)}' for key, one in arm.best.items())}" for arm in arms if arm.best]


def value(of: Any) -> str:
    """Write a setting.

    >>> value(0.00031622), value(64), value(None), value("adamw"), value([0.8, 0.9])
    ('0.000316', '64', 'by default', 'adamw', '0.8, 0.9')
    """
    if of is None:
        return "by default"
    if isinstance(of, bool):
        return "yes" if of else "no"
    if isinstance(of, float):
        return f"{of:.3g}"
    if isinstance(of, int):
        return f"{of:,}"
    if isinstance(of, str):
        return of
    return ", ".join(map(value, of)) if isinstance(of, Sequence) else str(of)


def bytes_said(n: int) -> str:
    """Write a size in memory.

    >>> bytes_said(1_163_776), bytes_said(3 << 30)
    ('1.1 MiB', '3.0 GiB')
    """
    return f"{n / (1 << 30):.1f} GiB" if n >= 1 << 30 else f"{n / (1 << 20):.1f} MiB"


def cautions(verdict: Verdict) -> list[str]:
    """Say what the verdict cannot say: how far it reaches, and what it was not made for."""
    n = len(treated(verdict))
    model = verdict.settings.get("model")
    by = f"{model} trained for {verdict.steps:,} steps" if model else f"models trained for {verdict.steps:,} steps"
    said = [
        f"It holds for {by}, on this test split. A larger model, a longer training or pictures from elsewhere may answer otherwise.",
    ]
    if any("no evidence" in (arm.verdict, *(c.verdict for c in arm.classes)) for arm in treated(verdict)):
        said.append(f"No evidence does not mean no effect. {detectable(verdict)}")
    if n > 1:
        chance = min(n * (1 - verdict.confidence), 1.0)
        said.append(
            f"Each arm's interval holds by itself. With {n} arms that do nothing at all, the chance that at least one is called helped or"
            f" hurt is up to {chance * 100:.0f} %. A surprise deserves new seeds before it is believed."
        )
    if any(arm.verdict == "helped" for arm in treated(verdict)):
        said.append("The arm that came out best was partly lucky: expect a little less of it on new pictures than its score here.")
    few = sum(c.verdict == "cannot verify" for c in verdict.arms[0].classes) if verdict.arms else 0
    if few:
        said.append(f"{plural(few, 'class', 'classes')} with too few test instances: for them only more test pictures bring an answer.")
    said.append("It trusts the labels of the test split: where these are wrong, right answers count as errors.")
    return said
