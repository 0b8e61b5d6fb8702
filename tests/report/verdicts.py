"""Verdicts made by hand: what their renderers are held against."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from dataset_doctor.verdict import (
    Advice,
    ArmVerdict,
    ClassVerdict,
    Cost,
    Curve,
    Details,
    Ensemble,
    Fit,
    Forecast,
    GroupVerdict,
    Interval,
    Mistake,
    ModelChoice,
    Point,
    Rival,
    Search,
    SearchTrial,
    SeedRun,
    Tuning,
    Verdict,
    Word,
)  # fmt: skip
from tests.report.reports import HOSTILE

NAMES = ("cat", "dog", "owl")
STEPS = (20.0, 40.0, 60.0)


def around(mean: float, reach: float = 0.02) -> Interval:
    """Give an interval."""
    return Interval(mean, mean - reach, mean + reach)


def word(of: Interval) -> Word:
    """Say what an interval means."""
    return "helped" if (of.low or 0) > 0 else "hurt" if (of.high or 0) < 0 else "no evidence"


def make_arm(
    name: str, gain: float | None = None, *, names: Sequence[str] = NAMES, metric: str = "balanced_accuracy", seeds: int = 3, **given: Any
) -> ArmVerdict:
    """Make an arm that is better than the baseline by so much; the last class has too few test instances, the one before is told apart."""
    difference = None if gain is None else around(gain) if seeds > 1 else Interval(gain, None, None)
    runs = tuple(
        SeedRun(
            seed,
            {metric: 0.5 + (gain or 0) + seed / 100},
            {"step": STEPS, "loss": (3.0 + seed, 2.0 + seed, 1.0 + seed), "val": (0.1, 0.2 + seed / 10, 0.3 + seed / 10)},
        )
        for seed in range(seeds)
    )
    told = around(0.3, 0.1)
    classes = tuple(
        ClassVerdict(one, ("frequent", "common", "rare")[min(at, 2)], 5 if last else 40 + at, 0.4, None if gain is None else around(0.01, 0.9) if last or not early else told,
                     "cannot verify" if last else "no evidence" if gain is None or not early else "helped")
        for at, one in enumerate(names)
        for last, early in [(at == len(names) - 1, at == len(names) - 2)]
    )  # fmt: skip
    groups = {"frequent": GroupVerdict(1, around(0.05, 0.01), "helped"), "rare": GroupVerdict(1, around(0.0), "cannot verify")}
    made: dict[str, Any] = {
        "seeds": runs,
        "metrics": {metric: around(0.5 + (gain or 0)), "accuracy": around(0.61)},
        "difference": difference,
        "verdict": None if difference is None else word(difference),
        "groups": {} if gain is None else groups,
        "classes": classes,
        "cost": Cost(12.4, 290_036, 1_163_776, 0.7, 0, 1100.0),
    }
    return ArmVerdict(name, **(made | given))


def make_verdict(arms: Sequence[ArmVerdict] | None = None, **given: Any) -> Verdict:
    """Make a verdict, by default of an arm that helped, one that hurt, and one without evidence."""
    made: dict[str, Any] = {
        "task": "classify",
        "metric": "balanced_accuracy",
        "arms": tuple(
            arms
            or (
                make_arm("baseline"),
                make_arm("weights:sqrt", 0.05, addresses=("R2", "DD201"), notes=("A note of the arm.",)),
                make_arm("focal", -0.04),
                make_arm("repeat_factor", 0.001),
            )
        ),
        "confidence": 0.95,
        "detectable_difference": 0.03,
        "steps": 60,
        "environment": {"started": "2030-01-02T03:04:05+00:00", "seconds": 61.9, "root": "/secret/pets", "host": "myhost", "torch": "2.9", "state": "/secret/s"},
        "notes": ("A note of all.",),
        "extras": {"settings": {"model": "small_cnn", "steps": 60, "lr": None, "drops": [0.8, 0.9]}},
    }  # fmt: skip
    made |= given
    return Verdict(**typed(made.pop("extras")), **made)


def typed(extras: dict[str, Any]) -> dict[str, Any]:
    """Make the fields of a verdict from their documented form."""
    made = {"settings": extras.get("settings", {})}
    made["recommendations"] = {key: Advice(**one) for key, one in extras.get("recommendations", {}).items()}

    def mistakes(entries: Sequence[dict[str, Any]]) -> tuple[Mistake, ...]:
        return tuple(Mistake(class_name=one["class"], **{key: value for key, value in one.items() if key != "class"}) for one in entries)

    worst = extras.get("worst_errors", {})
    made["details"] = Details(
        tuple(extras.get("class_names", ())),
        extras.get("confusion", {}),
        {arm: mistakes(of) for arm, of in worst.items() if isinstance(of, list)},
        {arm: mistakes(of["found"]) for arm, of in worst.items() if isinstance(of, dict)},
        {arm: mistakes(of["missed"]) for arm, of in worst.items() if isinstance(of, dict)},
        extras.get("precision_recall", {}),
    )
    if "model_choice" in extras:
        made["model_choice"] = ModelChoice(**extras["model_choice"])
    if "learning_curve" in extras:
        curve = extras["learning_curve"]
        fit, forecast = curve["fit"], curve["forecast"]
        points = tuple(Point(**one) for one in curve["points"])
        made["learning_curve"] = Curve(points, fit and Fit(**fit), forecast and Forecast(**forecast), curve["said"])
    if "ensembles" in extras:
        made["ensembles"] = tuple(
            Ensemble(
                **one | {"difference": one["difference"] and Interval(**one["difference"]), "against_best": rival(one.get("against_best"))}
            )
            for one in extras["ensembles"]
        )
    if "tuning" in extras:
        tuning = extras["tuning"]
        arms = tuple(Search(**arm | {"trials": tuple(SearchTrial(**one) for one in arm["trials"])}) for arm in tuning["arms"])
        made["tuning"] = Tuning(**tuning | {"arms": arms})
    return made


def rival(of: dict[str, Any] | None) -> Rival | None:
    """Make what an ensemble is compared with."""
    return of and Rival(**of | {"difference": Interval(**of["difference"])})  # type: ignore[return-value]


def everything() -> dict[str, Any]:
    """Give all that may be looked at besides, in its documented form."""
    entry = {"image": "test/cat/1.png", "box": None, "class": "cat", "predicted": "dog", "probability": 0.91}
    return {
        "settings": {"model": "small_cnn", "lr": 0.001},
        "class_names": list(NAMES),
        "confusion": {name: [[30, 9, 1], [0, 41, 0], [2, 0, 3]] for name in ("baseline", "weights:sqrt")},
        "worst_errors": {"baseline": [entry, entry | {"image": "test/gone.png", "box": [10.0, 10.0, 30.0, 20.0]}]},
        "model_choice": {"best": "resnet18", "within_noise": ["resnet18", "small_cnn"], "recommended": "small_cnn"},
        "learning_curve": {
            "points": [{"share": 0.5, "images": 100, "scores": [0.5, 0.54]}, {"share": 1.0, "images": 200, "scores": [0.6, 0.62]}],
            "fit": {"a": 0.1, "b": 2.0, "c": 0.5},
            "forecast": {"images": 400, "mean": 0.66, "low": 0.63, "high": 0.7},
            "said": "The score still rises.",
        },
        "ensembles": [
            {"name": "vote of all", "kind": "vote", "members": ["a", "b"], "metrics": {"balanced_accuracy": 0.55}, "difference": None, "verdict": "no evidence"},
            {"name": "mean of 3 seeds", "kind": "mean", "members": ["focal/0"], "metrics": {"balanced_accuracy": 0.6}, "difference": {"mean": 0.1, "low": 0.04, "high": 0.16}, "verdict": "helped"},
        ],
        "tuning": {
            "method": "bayes",
            "trials": 2,
            "arms": [
                {
                    "name": "baseline",
                    "best": {"lr": 0.00031, "batch": 64},
                    "score": 0.6,
                    "trials": [
                        {"number": 0, "score": None, "state": "pruned", "params": {"lr": 0.1, "batch": 32}},
                        {"number": 1, "score": 0.6, "state": "complete", "params": {"lr": 0.00031, "batch": 64}},
                    ],
                }
            ],
        },
    }  # fmt: skip


def make_everything() -> Verdict:
    """Make a verdict that has all there may be."""
    return make_verdict(extras=everything())


def make_detection() -> Verdict:
    """Make a detector's verdict: other scores, no confusion, two kinds of errors."""
    arms = [make_arm("baseline", metric="map"), make_arm("repeat_factor", 0.06, metric="map")]
    found = {"image": "images/a.jpg", "box": [30.0, 30.0, 50.0, 60.0], "class": "dog", "score": 0.97}
    missed = {"image": "images/a.jpg", "box": [5.0, 5.0, 25.0, 25.0], "class": "cat"}
    extras = {
        "class_names": list(NAMES),
        "worst_errors": {"baseline": {"found": [found], "missed": [missed]}, "repeat_factor": {"found": [found], "missed": [missed]}},
        "precision_recall": {arm.name: [[1.0] * 51 + [0.5] * 50, None, [0.8] * 51 + [0.3] * 50] for arm in arms},
    }  # fmt: skip
    return make_verdict(arms, task="detect", metric="map", extras=extras)


def make_one_seed() -> Verdict:
    """Make a verdict without any interval."""
    arms = [
        make_arm("baseline", seeds=1),
        make_arm("weights:sqrt", 0.2, seeds=1, verdict="no evidence", metrics={"balanced_accuracy": Interval(0.7, None, None)}),
    ]
    return make_verdict(arms, detectable_difference=None, environment={}, notes=(), extras={})  # fmt: skip


def make_large(classes: int = 1203, arms: int = 6) -> Verdict:
    """Make a verdict of very many classes and several arms."""
    names = [f"class {at:04}" for at in range(classes)]
    confusion = [[0] * 60 for _ in range(60)]
    for at in range(60):
        confusion[at][at], confusion[at][(at + 1) % 60] = 50, at
    made = [make_arm("baseline", names=names), *(make_arm(f"arm {at}", 0.01 * at, names=names) for at in range(1, arms))]
    return make_verdict(made, extras={"class_names": names[:60], "confusion": {arm.name: confusion for arm in made}})


def make_hostile() -> Verdict:
    """Make a verdict with a hostile text wherever a text of a dataset or a user may stand."""
    return hostile(HOSTILE)


def hostile(names: Sequence[str]) -> Verdict:
    """Put texts wherever a text of a dataset or a user may stand."""
    n, first = len(names), names[0]
    arms = [
        make_arm("baseline", names=names),
        *(make_arm(text or "-", 0.1, names=names, addresses=(text,), notes=(text,)) for text in names[:5]),
    ]
    extras: dict[str, Any] = everything() | {
        "class_names": list(names),
        "confusion": {arm.name: [[1] * n] * n for arm in arms},
        "worst_errors": {arm.name: [{"image": text, "box": None, "class": text, "predicted": text, "probability": 0.5} for text in names] for arm in arms},
        "settings": {"model": first, first: first},
        "model_choice": {"best": first, "within_noise": list(names), "recommended": names[1]},
    }  # fmt: skip
    extras["learning_curve"] |= {"forecast": None, "said": names[2]}
    extras["ensembles"] = [one | {"name": names[3], "kind": first, "members": list(names)} for one in extras["ensembles"]]
    trial = {"number": 0, "score": None, "state": names[1], "params": {first: names[4]}}
    extras["tuning"] = {
        "method": first,
        "trials": 1,
        "arms": [{"name": text, "best": {text: text}, "score": 0.5, "trials": [trial]} for text in names],
    }
    return make_verdict(arms, notes=tuple(names), extras=extras, environment={"torch": first, "system": names[1]})


VERDICTS: dict[str, Callable[[], Verdict]] = {
    "plain": make_verdict,
    "everything": make_everything,
    "detection": make_detection,
    "one seed": make_one_seed,
    "large": make_large,
    "hostile": make_hostile,
}
