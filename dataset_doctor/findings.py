"""The vocabulary of an audit: what a check is, what it reports, what a reader of the report gets."""

from __future__ import annotations

import dataclasses
import inspect
import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, Literal, TypeVar

from dataset_doctor.dataset import Dataset, FormatName, Place, Problem, Rows, Shapes
from dataset_doctor.errors import UsageError, did_you_mean
from dataset_doctor.pixels import Duplicates, Pixels
from dataset_doctor.statistics import Statistics

Made = TypeVar("Made")

_PARTS_SHOWN, _NAME_LENGTH = 5, 60


class Severity(Enum):
    """ERROR: training goes wrong or crashes. WARNING: likely to cost accuracy. INFO: worth knowing."""

    INFO = "info"
    WARNING = "warning"
    ERROR = "error"

    @property
    def rank(self) -> int:
        """Order severities: 0 for info, 2 for error."""
        return ("info", "warning", "error").index(self.value)


Fix = Literal["safe", "optional", "none"]


Safety = Literal["safe", "unsafe"]
TreatmentKind = Literal["fix", "split", "rebalance", "weights", "collect", "none"]


@dataclass(frozen=True, slots=True)
class Treatment:
    """What treats a finding.

    kind            how: change labels or files (fix), split, rebalance, weigh, collect, or none of these
    safety          of a fix: "safe" loses nothing; "unsafe" loses or guesses something; None where a person has to decide
    recommendation  id of the recommendation that addresses it: that of a command where one does
    why             where no command treats it, in one sentence: what a person has to do, and why no program can
    """

    kind: TreatmentKind
    safety: Safety | None = None
    recommendation: str | None = None
    why: str | None = None


PlaceState = Literal["new", "known", "suppressed"]
"""How a place stands at the gate: not in the baseline, in it, or in a file for which the finding is suppressed."""


PolicyName = Literal["article", "detector", "screening", "none"]


@dataclass(frozen=True, slots=True)
class Policy:
    """Which share of background images is wanted: a convention that the user chooses, not a truth.

    name  `detector`: up to 10 % (Ultralytics' training tips) · `article`: positives to backgrounds between 1 : 2 and 1 : 3 ·
          `screening`: as in deployment, where the share of positives is `prior` · `none`: no wish
    low, high  the band of the background share, 0 to 1
    """

    name: PolicyName
    low: float
    high: float
    prior: float | None = None


POLICIES: dict[PolicyName, Policy] = {
    "article": Policy("article", 2 / 3, 3 / 4),
    "detector": Policy("detector", 0.0, 0.1),
    "none": Policy("none", 0.0, 1.0),
}
"""The policies that need no number; `screening` is made from its prior."""


def screening(prior: float) -> Policy:
    """Make the policy of a screening task: backgrounds as frequent as in deployment, give or take a tenth of their share.

    >>> round(screening(0.2).low, 2), round(screening(0.2).high, 2)
    (0.72, 0.88)
    """
    wanted = 1 - prior
    return Policy("screening", wanted * 0.9, min(1.0, wanted * 1.1), prior)


@dataclass(frozen=True, slots=True)
class Threshold:
    """A number by which a check judges, and which users can set. Where the default is a whole number, so is every value.

    name     as users write it, with its unit: `DD105.min_side_px`
    default  what holds unless it is set
    meaning  what the number is, with its unit
    lower, upper  the smallest and the largest value
    """

    name: str
    default: float
    meaning: str
    lower: float = 0
    upper: float = math.inf


Settings = Mapping[str, Mapping[str, float]]
"""Thresholds that a user set: values by name, by the code of their check."""


@dataclass(frozen=True, slots=True)
class ChangedThreshold:
    """A threshold that is not at its default, as a report says it."""

    code: str
    name: str
    value: float
    default: float

    def __str__(self) -> str:
        return f"{self.code}.{self.name} {number(self.value)} instead of {number(self.default)}"


def choose_policy(name: str | None, prior: float | None = None) -> Policy | None:
    """Make the policy from its name, and a number where it takes one; None where no name is given.

    >>> choose_policy("screening", 0.02).prior, choose_policy(None)
    (0.02, None)

    Raises:
        UsageError: no such policy, or a number that is missing, out of range, or not for it.
    """
    if name is not None and name not in (known := [*POLICIES, "screening"]):
        raise UsageError(f"`policy={name}` is not known.", did_you_mean(name, known))
    if name != "screening":
        if prior is not None:
            of_name = f" of {name}" if name else ""
            raise UsageError("`prior` is for `policy=screening`.", f"Add `policy=screening`, or leave `prior` out{of_name}.")
        return next((policy for known_name, policy in POLICIES.items() if known_name == name), None)
    if prior is None:
        raise UsageError("`policy=screening` needs `prior`.", "It is the share of images with an object in use, for example `prior=0.02`.")
    if not 0 < prior < 1:
        raise UsageError(f"`prior` must be above 0 and below 1, got {prior:g}.", "Give a share: 0.02 for 2 images of 100.")
    return screening(prior)


@dataclass(frozen=True, slots=True, eq=False)
class Facts:
    """What an audit knows besides the dataset itself when it runs the checks.

    shapes      one row an annotation; None where no check asked for them or the format has none
    pixels      one row an image; None where the image files were not looked into
    duplicates  what `pixels` says of images that are the same; None where `pixels` is
    settings    thresholds that the user set
    thresholds  by name, those of the check that is given these facts
    """

    statistics: Statistics
    policy: Policy
    shapes: Shapes | None = None
    pixels: Pixels | None = None
    duplicates: Duplicates | None = None
    settings: Settings = field(default_factory=dict)
    thresholds: Mapping[str, float] = field(default_factory=dict)
    _made: dict[str, Any] = field(default_factory=dict)

    def __getitem__(self, threshold: Threshold) -> float:
        """Give the value of a threshold that the check declares."""
        return self.thresholds[threshold.name]

    def once(self, name: str, make: Callable[[], Made]) -> Made:
        """Make what several checks need when the first of them asks, and give the same to the others."""
        if name not in self._made:
            self._made[name] = make()
        made: Made = self._made[name]
        return made


@dataclass(frozen=True, slots=True)
class Found:
    """What a check found: how many are wrong, in one sentence, and where.

    Give the places as rows of `annotations` or `images`, as finished `places`, or as the readers' `problems`; the audit turns
    as many of them into places as the report shows. `field` is the member that a JSON pointer should end in. `severity`
    overrides the check's own. `details` says more of each of `images`; with `compared` the labels of each are shown beside it.
    """

    count: int
    message: str
    annotations: Rows | None = None
    images: Rows | None = None
    places: Sequence[Place] = ()
    problems: Sequence[Problem] = ()
    field: str = ""
    severity: Severity | None = None
    details: Sequence[str] = ()
    compared: bool = False


CheckFunction = Callable[[Dataset, Facts], "Found | None"]


def judged_by(*thresholds: Threshold) -> Callable[[CheckFunction], CheckFunction]:
    """Declare the thresholds of a check, in the order in which its page lists them; the check reads them as `facts[THRESHOLD]`."""

    def declare(run: CheckFunction) -> CheckFunction:
        vars(run)["thresholds"] = thresholds
        return run

    return declare


@dataclass(frozen=True, slots=True)
class Check:
    """One kind of defect: a stable code, a name that states the problem, and the function that looks for it.

    The function's docstring is its page: the first line says what it flags, then `**Why it matters.**`, `**Usual cause.**`,
    `**What to do.**` and, where one helps, `**Example.**`. `kind` says what treats it where that is no fix. A check that `needs_shapes`
    finds nothing where `Facts.shapes` is None; one that `needs_pixels` does not run where `Facts.pixels` is. The docstring writes
    the default of one of its `thresholds` as `{min_side_px}`, or `{max_share:%}` in per cent.
    """

    code: str
    name: str
    severity: Severity
    fix: Fix
    run: CheckFunction
    needs_shapes: bool = False
    needs_pixels: bool = False
    kind: TreatmentKind | None = None

    @property
    def thresholds(self) -> tuple[Threshold, ...]:
        """The numbers by which it judges and which users can set."""
        declared: tuple[Threshold, ...] = getattr(self.run, "thresholds", ())
        return declared

    def find(self, dataset: Dataset, facts: Facts) -> Found | None:
        """Run the check with the thresholds that hold for it."""
        defaults = {threshold.name: threshold.default for threshold in self.thresholds}
        return self.run(dataset, dataclasses.replace(facts, thresholds={**defaults, **facts.settings.get(self.code, {})}))

    @property
    def safety(self) -> Safety | None:
        """What a fix risks; None where only a person can make one."""
        safeties: dict[Fix, Safety | None] = {"safe": "safe", "optional": "unsafe", "none": None}
        return safeties[self.fix]

    @property
    def treatment(self) -> TreatmentKind:
        """What kind of thing treats it."""
        return self.kind or ("none" if self.fix == "none" else "fix")

    @property
    def remedy(self) -> str:
        """The first sentence of what to do."""
        text = " ".join(self.page.partition("**What to do.**")[2].partition("\n\n")[0].split())
        return re.split(r"(?<=[.]) (?=[A-Z`])", text, maxsplit=1)[0]

    @property
    def page(self) -> str:
        """The explanation of the check, as Markdown: its docstring, then its thresholds."""
        defaults = {threshold.name: threshold.default for threshold in self.thresholds}

        def default(match: re.Match[str]) -> str:
            return percent(defaults[match[1]]) if match[2] else number(defaults[match[1]])

        text = re.sub(r"\{(\w+)(:%)?\}", default, inspect.cleandoc(self.run.__doc__ or ""))
        if not self.thresholds:
            return text
        example = f"{self.code}.{self.thresholds[0].name}={number(self.thresholds[0].default)}"
        rows = [f"* `{one.name}` = {number(one.default)}: {one.meaning}" for one in self.thresholds]
        return "\n".join([f"{text}\n\n**Thresholds.** Change one with `--set {example}`, or in the configuration.\n", *rows])

    @property
    def summary(self) -> str:
        """The first sentence of the explanation."""
        return self.page.partition("\n")[0]


@dataclass(frozen=True, slots=True)
class Finding:
    """A check's result as the report shows it: exact `count` and `locations_total`, and the first `locations` of them.

    `known` is how many of them a baseline already knows; `suppressed` the reason for which the finding does not count for the gate.
    `states` says how each of `locations` stands; it is empty where there was nothing to compare with.
    """

    code: str
    name: str
    severity: Severity
    count: int
    message: str
    locations: tuple[Place, ...]
    locations_total: int
    fix: Fix
    treatment: Treatment | None = None
    known: int = 0
    suppressed: str | None = None
    states: tuple[PlaceState | None, ...] = ()


@dataclass(frozen=True, slots=True)
class Expected:
    """What a treatment would bring: instances of each class before and after, images an epoch, imbalance ratio after."""

    classes: tuple[tuple[str, int, int], ...]
    epoch_images: int
    imbalance_ratio: float | None


@dataclass(frozen=True, slots=True)
class Recommendation:
    """Something to do, derived from findings and statistics by a written rule with its source.

    `command` is None where no command can carry it out. `strength` is "policy" (a convention) or "evidence" (measured; see `sources`).
    """

    id: str
    action: str
    addresses: tuple[str, ...]
    why: str
    command: str | None
    parameters: dict[str, str | int | float]
    expected: Expected | None
    cost: str
    strength: Literal["policy", "evidence"]
    sources: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class NotRun:
    """A check that could not run, and why. It is never a pass."""

    code: str
    reason: str


def plural(count: int, one: str, many: str | None = None) -> str:
    """Write a count with its noun.

    >>> plural(1, "box", "boxes"), plural(1200, "image")
    ('1 box', '1,200 images')
    """
    return f"{count:,} {one if count == 1 else many or one + 's'}"


def listed(parts: Iterable[str], total: int | None = None) -> str:
    """Join the first few parts, and count the rest.

    >>> listed(["a", "b", "c"]), listed(["a", "b"], total=9)
    ('a, b, c', 'a, b and 7 more')
    """
    shown = [part for part, _ in zip(parts, range(_PARTS_SHOWN if total is None else min(total, _PARTS_SHOWN)), strict=False)]
    more = (len(shown) if total is None else total) - len(shown)
    return ", ".join(shown) + (f" and {more:,} more" if more > 0 else "")


def number(value: float) -> str:
    """Write a number with at most four figures, or all of a whole one.

    >>> number(30.0), number(8 / 255), number(12345)
    ('30', '0.03137', '12345')
    """
    return f"{value:.0f}" if value == round(value) else f"{value:.4g}"


def percent(share: float) -> str:
    """Write a share with at least two figures.

    >>> percent(0.57), percent(0.0251), percent(0.00077)
    ('57 %', '2.5 %', '0.077 %')
    """
    decimals = min(max(0, 1 - math.floor(math.log10(share * 100))), 6) if 0 < share < 0.1 else 0
    return f"{share * 100:.{decimals}f} %"


def shortened(name: str) -> str:
    """Cut a name that is too long for a sentence."""
    return name if len(name) <= _NAME_LENGTH else name[: _NAME_LENGTH - 1] + "…"


@dataclass(frozen=True, slots=True)
class Described:
    """What dataset a report is about. `fingerprint` changes when a path, an image size, a class name or a byte of a label changes."""

    format: FormatName
    variant: str
    task: str
    evidence: tuple[str, ...]
    voc_origin: str | None
    fingerprint: str


@dataclass(frozen=True, slots=True)
class Run:
    """What differs between two audits of the same dataset: when, how long, where and with which options."""

    started: str
    seconds: float
    root: str
    host: str
    options: dict[str, str | int | float | bool | None]


def plain_finding(finding: Finding) -> dict[str, Any]:
    """Give a finding under its keys in the report: how a place stands is a key of the place."""
    members = plain(dataclasses.replace(finding, locations=(), states=()))
    states = finding.states or (None,) * len(finding.locations)
    members["locations"] = [plain_place(place) | {"state": state} for place, state in zip(finding.locations, states, strict=True)]
    del members["states"]
    return dict(members)


def plain_place(place: Place) -> dict[str, Any]:
    """Give a place under its keys in the report. Box and labels stay out: they only repeat what stands in the dataset."""
    keys = {"class_name": "class"}
    names = (field.name for field in dataclasses.fields(place) if field.name not in ("box", "labels"))
    return {keys.get(name, name): getattr(place, name) for name in names}


def plain(record: Any) -> Any:
    """Turn dataclasses, tuples and enums into dictionaries, lists and values that JSON can hold, keeping the field names."""
    if dataclasses.is_dataclass(record):
        return {field.name: plain(getattr(record, field.name)) for field in dataclasses.fields(record)}
    if isinstance(record, tuple | list):
        return [plain(item) for item in record]
    if isinstance(record, dict):
        return {key: plain(value) for key, value in record.items()}
    if isinstance(record, float) and not math.isfinite(record):
        return None  # JSON has no such number; the statistics say None for what is undefined, too
    return record.value if isinstance(record, Enum) else record
