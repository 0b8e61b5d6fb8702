"""Arms: the treatments that are compared, as they are typed, and what each changes of a training."""

from __future__ import annotations

import dataclasses
import json
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dataset_doctor.balance import SAMPLERS, rebalance
from dataset_doctor.balance.backgrounds import parse_background
from dataset_doctor.balance.presets import PRESETS
from dataset_doctor.dataset import Dataset
from dataset_doctor.errors import DoctorError, UsageError, did_you_mean
from dataset_doctor.files.progress import Progress, silent
from dataset_doctor.files.reading import Unreadable, decode, read_regular
from dataset_doctor.findings import Recommendation
from dataset_doctor.formats import fingerprint, read, write
from dataset_doctor.formats.manifest import NAME as MANIFEST_NAME
from dataset_doctor.formats.manifest import SCHEMA as MANIFEST_SCHEMA
from dataset_doctor.losses import LOSSES
from dataset_doctor.trials.models.classifiers import check_name
from dataset_doctor.trials.settings import Settings
from dataset_doctor.verdict import Task
from dataset_doctor.weights import SCHEMES, weigh
from dataset_doctor.weights import load as load_weights

MAX_FILE_BYTES = 512 << 20
MAX_TAU = 10.0
POSTHOC = "posthoc_logit_adjusted"


@dataclass(frozen=True, slots=True)
class Arm:
    """One treatment.

    name   as typed; unique among the arms
    kind   a key of `KINDS`: what it changes
    value  the sampler's, scheme's, loss's or preset's name, the ratio, the side, the model, the exponent, or the path of a file
    """

    name: str
    kind: str
    value: str = ""


BASELINE = Arm("baseline", "baseline")


@dataclass(frozen=True, slots=True, eq=False)
class Treatment:
    """What an arm changes of a training; None means as in the baseline.

    repeats        float64, one an image of the dataset: how often it is shown an epoch if it is in the training split
    shown          a dataset whose training split is shown instead: the copy that holds generated images
    class_weights  float64 (K): weights of the classes in the loss
    background_weight  of a background class beside them
    loss           a name in LOSSES
    background     ratio of positive : background; for images that are cut out (for whole images it is in `repeats`)
    settings       fields of `Settings` that the arm changes, or that a search has chosen for it
    notes          what a reader should know, one sentence each
    """

    repeats: NDArray[np.float64] | None = None
    shown: Dataset | None = None
    class_weights: NDArray[np.float64] | None = None
    background_weight: float = 1.0
    loss: str | None = None
    background: str | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    def tuned(self, found: Mapping[str, Any]) -> Treatment:
        """Give the same treatment with settings that a search has found."""
        return dataclasses.replace(self, settings={**self.settings, **found})

    def applied_to(self, settings: Settings) -> Settings:
        """Resolve the settings of an arm: the common ones, but for what the treatment changes."""
        return dataclasses.replace(settings, **self.settings)


# Kinds ------------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Situation:
    """What a treatment is worked out for.

    dataset   what is verified; treatments look at its training split alone
    task      what is trained
    scratch   a folder for generated images, which has to stay until they are loaded
    progress  called with what is done, how much and how much in all
    """

    dataset: Dataset
    task: Task
    scratch: Path | None = None
    progress: Progress = silent


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of arm.

    read        gives the value in a word of `--arms`, None where the word is of another kind; refuses a value that is unusable
    treat       works out what the arm changes
    recommends  whether a recommendation asks for what the arm of this value does
    examples    how arms of this kind are typed, for messages
    is_file     the value is the path of a file, whose content decides what is trained
    is_trained  False where the baseline's models are asked differently instead
    """

    read: Callable[[str], str | None]
    treat: Callable[[Arm, Situation], Treatment]
    recommends: Callable[[str, Recommendation], bool] = lambda value, one: False
    examples: Sequence[str] = ()
    is_file: bool = False
    is_trained: bool = True


def _action(*actions: str) -> Callable[[str, Recommendation], bool]:
    return lambda value, one: one.action in actions


Refusal = tuple[str, str] | None
"""The end of a message and the hint; None for what is usable."""


def _after(prefix: str, refusal: Callable[[str], Refusal]) -> Callable[[str], str | None]:
    """Read `prefix:VALUE`, and refuse a value that is unusable."""

    def read_value(word: str) -> str | None:
        found, colon, value = word.partition(":")
        if found != prefix or not colon:
            return None
        refused = refusal(value)
        if refused is not None:
            raise UsageError(f"`arms={word}`{refused[0]}", refused[1])
        return value

    return read_value


def _no_ratio(value: str) -> Refusal:
    try:
        parse_background(value)
    except UsageError as error:
        return " is not known.", error.hint
    return None


def _no_side(value: str) -> Refusal:
    if value.isascii() and value.isdecimal() and 8 <= int(value) <= 4096:
        return None
    return f": {value or 'nothing'} is not a side in pixels.", "Give 8 to 4096, like size:320."


def _no_exponent(value: str) -> Refusal:
    try:
        usable = 0 < float(value) <= MAX_TAU
    except ValueError:
        usable = False
    hint = f"Give a number above 0 and up to {MAX_TAU:g}; 1 takes the classes as equally frequent."
    return None if usable else (f": {value or 'nothing'} is not a valid exponent.", hint)


def _one_of(what: str, names: Iterable[str]) -> Callable[[str], Refusal]:
    return lambda value: None if value in names else (f": there is no {what} {value}.", did_you_mean(value, names))


def _sampler(word: str) -> str | None:
    is_sampler = (word in SAMPLERS and word != "none") or word.partition(":")[0] == "imblearn"
    return word if is_sampler else None


def _loss(word: str) -> str | None:
    return next((loss for loss in (word, f"{word}_loss") if loss in LOSSES), None)


def _path(word: str) -> Path | None:
    """Give the file that `name=PATH` names."""
    name, equals, path = word.partition("=")
    if not equals:
        return None
    if not name.strip() or not path.strip() or name.strip() == "baseline":
        raise UsageError(f"`arms={word}`: a name and a path are needed.", "For example mine=out/dataset-doctor.json.")
    place = Path(path.strip())
    return place / MANIFEST_NAME if place.is_dir() else place


def _manifest(word: str) -> str | None:
    """Tell a manifest from a weights file by what it says of itself."""
    place = _path(word)
    if place is None:
        return None
    document = _document(word.partition("=")[0].strip(), place)
    return str(place) if document is not None and document.get("schema") == MANIFEST_SCHEMA else None


def _weights_file(word: str) -> str | None:
    place = _path(word)
    if place is None:
        return None
    load_weights(place)
    return str(place)


def _document(name: str, path: Path) -> dict[str, Any] | None:
    """Read a JSON object; None where the file is not JSON."""
    try:
        text, _ = decode(read_regular(path, MAX_FILE_BYTES))
    except Unreadable as error:
        raise UsageError(f"`arms={name}={path}`: {error}.", "Give a dataset-doctor.json or a file that `weights -o` wrote.") from error
    try:
        document = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return document if isinstance(document, dict) else None


# What an arm changes ----------------------------------------------------------------------------------------------------


def _resample(arm: Arm, of: Situation) -> Treatment:
    plan = rebalance(of.dataset, method=arm.value, split="train", progress=of.progress)
    if plan.made is None:
        return Treatment(repeats=_repeats(of.dataset, plan.rows, plan.in_split), notes=plan.notes)
    assert of.scratch is not None
    write(plan.apply(of.dataset), of.scratch / arm.value, materialize="symlink", progress=of.progress)
    return Treatment(shown=read(of.scratch / arm.value), notes=plan.notes)


def _repeats(dataset: Dataset, rows: NDArray[np.intp], in_split: NDArray[np.bool_]) -> NDArray[np.float64]:
    shown = rows[in_split[:, dataset.splits.index("train")]]
    return np.bincount(shown, minlength=dataset.n_images).astype(np.float64)


def _weigh(arm: Arm, of: Situation) -> Treatment:
    weighed = weigh(of.dataset, arm.value, split="train", normalize="sample")
    return Treatment(class_weights=np.array(weighed.weights), notes=weighed.warnings)


def _background(arm: Arm, of: Situation) -> Treatment:
    if of.task == "classify":
        return Treatment(background=arm.value)
    plan = rebalance(of.dataset, method="none", background=arm.value, budget=1e5, split="train")
    return Treatment(repeats=_repeats(of.dataset, plan.rows, plan.in_split), notes=plan.notes)


def _model(arm: Arm, of: Situation) -> Treatment:
    if of.task == "classify":
        check_name(arm.value)
    return Treatment(settings={"model": arm.value})


def _asked_differently(arm: Arm, of: Situation) -> Treatment:
    if of.task == "detect":
        raise UsageError(f"`arms={arm.name}` is for classification.", "For a detector compare focal, weights:SCHEME or a sampler.")
    return Treatment(notes=("These are the baseline's models with adjusted answers: nothing was trained.",))


def _from_weights_file(arm: Arm, of: Situation) -> Treatment:
    dataset, weighed = of.dataset, load_weights(arm.value)
    if sorted(weighed.classes) != sorted(dataset.class_names):
        theirs, ours = set(weighed.classes), set(dataset.class_names)
        differ = sorted(theirs ^ ours)
        which = f"{differ[0]} is only in the {'file' if differ[0] in theirs else 'dataset'}" if differ else "a name is there several times"
        raise UsageError(
            f"`arms={arm.name}={arm.value}` has different classes: {len(weighed.classes):,} in the file, {len(dataset.classes):,} in the"
            f" dataset; {which}.",
            "Write one with: dataset-doctor weights DATASET -o weights.json",
        )
    of_name = dict(zip(weighed.classes, weighed.weights, strict=True))
    weights = np.array([of_name[name] for name in dataset.class_names])
    counts = np.array([dict(zip(weighed.classes, weighed.counts, strict=True))[name] for name in dataset.class_names], np.float64)
    # As for the schemes: the mean label has weight 1, so that the learning rate means the same.
    scale = counts.sum() / (counts @ weights)
    notes = () if weighed.fingerprint == fingerprint(dataset) else ("The weights were made from another state of the dataset.",)
    return Treatment(class_weights=weights * scale, background_weight=weighed.background_weight, notes=notes)


def _from_manifest(arm: Arm, of: Situation) -> Treatment:
    dataset, document = of.dataset, _document(arm.name, Path(arm.value))
    assert document is not None
    source = document.get("source")
    entries = document.get("images")
    if not isinstance(entries, list) or not all(isinstance(one, dict) and isinstance(one.get("source"), str) for one in entries):
        raise UsageError(f"`arms={arm.name}={arm.value}` lists no images.", "Give the dataset-doctor.json that `rebalance` wrote.")
    if not isinstance(source, dict) or source.get("fingerprint") != fingerprint(dataset):
        raise UsageError(
            f"`arms={arm.name}={arm.value}` was made from another dataset, or from another state of this one.",
            "Verify the dataset that `rebalance` was given, or rebalance this one again.",
        )
    if any(one.get("transform") for one in entries):
        return _generated(arm, dataset)
    times = Counter(one["source"] for one in entries)
    row_of = {name: row for row, name in enumerate(dataset.images.file_name.tolist())}
    repeats = np.zeros(dataset.n_images)
    for name, n in times.items():
        if name in row_of:
            repeats[row_of[name]] = n
    if not repeats[dataset.images.in_split[:, dataset.splits.index("train")]].any():
        raise UsageError(f"`arms={arm.name}={arm.value}` shows no image of the training split.")
    return Treatment(repeats=repeats)


def _generated(arm: Arm, dataset: Dataset) -> Treatment:
    """Show the training split of a written copy: some of its images are in no other place."""
    root = Path(arm.value).parent
    try:
        copy = read(root).with_train()
    except DoctorError as error:
        raise UsageError(
            f"`arms={arm.name}={arm.value}` names generated images, which are not beside it.", "Give the folder as written."
        ) from error
    if copy.class_names != dataset.class_names:
        raise UsageError(
            f"`arms={arm.name}={arm.value}` lies in a dataset with different classes.", "Give the folder as `rebalance` wrote it."
        )
    if "train" not in copy.splits or not copy.images.in_split[:, copy.splits.index("train")].any():
        raise UsageError(f"`arms={arm.name}={arm.value}` shows no image of the training split.")
    return Treatment(shown=copy)


def background_repeats(is_background: NDArray[np.bool_], ratio: str) -> NDArray[np.float64]:
    """Repeat background images, or leave some of each, until the ratio of positive : background holds on average.

    >>> background_repeats(np.array([False, False, True]), "1:1").tolist()
    [1.0, 1.0, 2.0]
    """
    positives, have = int((~is_background).sum()), int(is_background.sum())
    wanted = parse_background(ratio).wanted(positives, positives)
    times = 1.0 if wanted is None or not have else wanted / have
    return np.where(is_background, times, 1.0)


# The table --------------------------------------------------------------------------------------------------------------


KINDS: Mapping[str, Kind] = {
    "baseline": Kind(lambda word: "" if word == "baseline" else None, lambda arm, of: Treatment(), examples=["baseline"]),
    "manifest": Kind(_manifest, _from_manifest, _action("oversample", "undersample", "repeat_factor"), is_file=True),
    "weights file": Kind(_weights_file, _from_weights_file, _action("weights"), is_file=True),
    "weights": Kind(
        _after("weights", _one_of("scheme", SCHEMES)), _weigh, _action("weights"),
        [f"weights:{scheme}" for scheme in SCHEMES],
    ),
    "augment": Kind(
        _after("augment", _one_of("preset", PRESETS)), lambda arm, of: Treatment(settings={"augment": arm.value}), _action("augment"),
        [f"augment:{preset}" for preset in PRESETS],
    ),
    "background": Kind(_after("background", _no_ratio), _background, _action("add_background", "remove_background")),
    "size": Kind(_after("size", _no_side), lambda arm, of: Treatment(settings={"size": int(arm.value)}), _action("input_size")),
    "model": Kind(_after("model", lambda value: None), _model, _action("model")),
    "posthoc": Kind(
        lambda word: "1" if word == POSTHOC else _after(POSTHOC, _no_exponent)(word), _asked_differently,
        examples=[POSTHOC], is_trained=False,
    ),
    "sampler": Kind(
        _sampler, _resample, lambda value, one: value in (one.action, one.parameters.get("method")),
        [name for name in SAMPLERS if name != "none"],
    ),
    "loss": Kind(
        _loss, lambda arm, of: Treatment(loss=arm.value), lambda value, one: one.action == "focal_loss" and "focal" in value,
        [name.removesuffix("_loss") for name in LOSSES],
    ),
}  # fmt: skip
"""What arms may be; a word is of the first kind that reads it."""


def parse_arms(text: str | Sequence[str]) -> tuple[Arm, ...]:
    """Read arms, as `--arms` takes them.

    `baseline`, a sampler, `weights:SCHEME`, a loss, `posthoc_logit_adjusted` (also `:TAU`), `augment:PRESET`, `background:RATIO`, `size:N`,
    `model:NAME`, or `name=PATH` of a manifest or weights file. The baseline comes first, whether it is named or not.

    >>> [arm.name for arm in parse_arms("weights:sqrt,repeat_factor")]
    ['baseline', 'weights:sqrt', 'repeat_factor']

    Raises:
        UsageError: what is not known, twice there, or a file that cannot be read.
    """
    words = text.split(",") if isinstance(text, str) else list(text)
    arms = [_arm(word.strip()) for word in words if word.strip()]
    if not arms:
        raise UsageError("`arms` names nothing to compare.", "For example `arms=baseline,weights:sqrt,repeat_factor`.")
    named = [arm for arm in arms if arm != BASELINE]
    twice = [name for name, n in Counter(arm.name for arm in named).items() if n > 1]
    if twice:
        raise UsageError(f"`arms` names {twice[0]} twice.", "Name each arm once; `seeds` says how often it is trained.")
    if not named:
        raise UsageError("`arms` names only the baseline: there is nothing to compare it with.", "Add weights:uniform for an A/A test.")
    return (BASELINE, *named)


def _arm(word: str) -> Arm:
    for name, kind in KINDS.items():
        value = kind.read(word)
        if value is not None:
            return Arm(word.partition("=")[0].strip() if kind.is_file else word, name, value)
    examples = {name: kind.examples for name, kind in KINDS.items()}
    near = did_you_mean(word, [one for some in examples.values() for one in some])
    if not near.startswith("Did"):
        plain = ", ".join([*examples["baseline"], *examples["sampler"], *examples["loss"], *examples["posthoc"]])
        near = f"Choose from: {plain}, weights:SCHEME, augment:PRESET, background:RATIO, size:N, name=PATH."
    raise UsageError(f"`arms={word}` is not known.", near)


def treat(arm: Arm, dataset: Dataset, *, task: Task, scratch: Path | None = None, progress: Progress = silent) -> Treatment:
    """Work out what an arm changes, on the training split alone.

    Args:
        arm: What `parse_arms` gave.
        dataset: What is verified.
        task: What is trained.
        scratch: A folder for images that a sampler generates; it has to stay until they are loaded.
        progress: Called with what is done, how much and how much in all.

    Raises:
        UsageError: the arm does not go with this dataset.
    """
    return KINDS[arm.kind].treat(arm, Situation(dataset, task, scratch, progress))


def addresses(arm: Arm, recommendations: Sequence[Recommendation]) -> tuple[str, ...]:
    """Name the recommendations that an arm tests, and the findings behind them."""
    tested = [one for one in recommendations if KINDS[arm.kind].recommends(arm.value, one)]
    return tuple(dict.fromkeys(name for one in tested for name in (one.id, *one.addresses)))


def state_of(arm: Arm) -> dict[str, Any]:
    """Tell all that the arm's trainings depend on, besides dataset and settings; the content of a file, not its name."""
    state: dict[str, Any] = dataclasses.asdict(arm)
    if KINDS[arm.kind].is_file:
        text, _ = decode(read_regular(arm.value, MAX_FILE_BYTES))
        state["value"] = text
    return state
