"""Arms: the treatments that are compared, as they are typed, and what each changes of a training."""

from __future__ import annotations

import dataclasses
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from dataset_doctor import weights as class_weights
from dataset_doctor.balance import COPY_PASTE, SAMPLERS, rebalance
from dataset_doctor.balance.backgrounds import parse_background
from dataset_doctor.dataset import Dataset
from dataset_doctor.errors import DoctorError, UsageError, did_you_mean
from dataset_doctor.files.progress import Progress, silent
from dataset_doctor.files.reading import Unreadable, decode, read_regular
from dataset_doctor.findings import Recommendation
from dataset_doctor.formats import fingerprint, read, write
from dataset_doctor.formats.manifest import NAME as MANIFEST_NAME
from dataset_doctor.formats.manifest import SCHEMA as MANIFEST_SCHEMA
from dataset_doctor.losses import LOSSES
from dataset_doctor.trials.augmentation import PRESETS
from dataset_doctor.trials.metrics import Predictions
from dataset_doctor.verdict import Task

if TYPE_CHECKING:
    from dataset_doctor.trials.training import Trained

Kind = Literal["baseline", "sampler", "weights", "loss", "augment", "background", "size", "model", "manifest", "weights file", "posthoc"]

MAX_FILE_BYTES = 512 << 20
MAX_TAU = 10.0
POSTHOC = "posthoc_logit_adjusted"
_PREFIXES = ("weights", "augment", "background", "size", "model", POSTHOC)
_ACTIONS: Mapping[Kind, Sequence[str]] = {
    "weights": ("weights",), "weights file": ("weights",), "augment": ("augment",), "size": ("input_size",), "model": ("model",),
    "background": ("add_background", "remove_background"), "manifest": ("oversample", "undersample", "repeat_factor"),
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Arm:
    """One treatment.

    name   as typed; unique among the arms
    kind   what it changes; "posthoc" changes no training, only what the baseline's models say
    value  the sampler's, scheme's, loss's or preset's name, the ratio, the side, the model, the exponent, or the path of a file
    """

    name: str
    kind: Kind
    value: str = ""


BASELINE = Arm("baseline", "baseline")


@dataclass(frozen=True, slots=True, eq=False)
class Treatment:
    """What an arm changes of a training; None means as in the baseline.

    repeats        float64, one an image of the dataset: how often it is shown an epoch if it is in the training split
    shown          a dataset whose training split is shown instead: the copy of which some pictures were made anew
    class_weights  float64 (K): weights of the classes in the loss
    background_weight  of a background class beside them
    loss           a name in LOSSES
    augment, size, model  a preset, a side in pixels, a model's name
    background     ratio of positive : background; for pictures that are cut out (for whole images it is in `repeats`)
    tuned          fields of `Settings` that a search has chosen for this arm
    notes          what a reader should know, one sentence each
    """

    repeats: NDArray[np.float64] | None = None
    shown: Dataset | None = None
    class_weights: NDArray[np.float64] | None = None
    background_weight: float = 1.0
    loss: str | None = None
    augment: str | None = None
    size: int | None = None
    model: str | None = None
    background: str | None = None
    tuned: Mapping[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


# Reading ----------------------------------------------------------------------------------------------------------------


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
        raise UsageError("--arms names nothing to compare.", "For example --arms baseline,weights:sqrt,repeat_factor.")
    named = [arm for arm in arms if arm.kind != "baseline"]
    twice = [name for name, n in Counter(arm.name for arm in named).items() if n > 1]
    if twice:
        raise UsageError(f"--arms names {twice[0]} twice.", "Name each arm once; more seeds are a matter of --seeds.")
    if not named:
        raise UsageError("--arms names only the baseline: there is nothing to compare it with.", "Add weights:uniform for an A/A test.")
    return (BASELINE, *named)


def _arm(word: str) -> Arm:
    if word == "baseline":
        return BASELINE
    if "=" in word:
        name, _, path = word.partition("=")
        if not name.strip() or not path.strip() or name.strip() == "baseline":
            raise UsageError(f"--arms {word}: a name and a path are needed.", "For example mine=out/dataset-doctor.json.")
        return _file(name.strip(), Path(path.strip()))
    prefix, colon, value = word.partition(":")
    if colon and prefix in _PREFIXES:
        return _with_value(word, prefix, value)
    if (word in SAMPLERS and word != "none") or word == COPY_PASTE or prefix == "imblearn":
        return Arm(word, "sampler", word)
    for loss in (word, f"{word}_loss"):
        if loss in LOSSES:
            return Arm(word, "loss", loss)
    if word == POSTHOC:
        return Arm(word, "posthoc", "1")
    raise UsageError(f"--arms {word} is not known.", _known(word))


def _known(word: str) -> str:
    samplers = [*(name for name in SAMPLERS if name != "none"), COPY_PASTE]
    losses = [name.removesuffix("_loss") for name in LOSSES]
    plain = ["baseline", *samplers, *losses, POSTHOC, *(f"weights:{scheme}" for scheme in class_weights.SCHEMES)]
    near = did_you_mean(word, [*plain, *(f"augment:{preset}" for preset in PRESETS)])
    if near.startswith("Did"):
        return near
    names = ", ".join(plain[: 2 + len(samplers) + len(losses)])
    return f"Choose from: {names}, weights:SCHEME, augment:PRESET, background:RATIO, size:N, name=PATH."


def _with_value(word: str, prefix: str, value: str) -> Arm:
    if prefix == "weights":
        if value not in class_weights.SCHEMES:
            raise UsageError(f"--arms {word}: there is no scheme {value}.", did_you_mean(value, class_weights.SCHEMES))
        return Arm(word, "weights", value)
    if prefix == "augment":
        if value not in PRESETS:
            raise UsageError(f"--arms {word}: there is no preset {value}.", did_you_mean(value, PRESETS))
        return Arm(word, "augment", value)
    if prefix == "background":
        try:
            parse_background(value)
        except UsageError as error:
            raise UsageError(f"--arms {word} is not known.", error.hint) from error
        return Arm(word, "background", value)
    if prefix == "size":
        if not (value.isascii() and value.isdecimal() and 8 <= int(value) <= 4096):
            raise UsageError(f"--arms {word}: {value or 'nothing'} is no side in pixels.", "Give 8 to 4096, like size:320.")
        return Arm(word, "size", value)
    if prefix == POSTHOC:
        try:
            usable = 0 < float(value) <= MAX_TAU
        except ValueError:
            usable = False
        if not usable:
            hint = f"Give a number above 0 and up to {MAX_TAU:g}; 1 takes the classes as equally frequent."
            raise UsageError(f"--arms {word}: {value or 'nothing'} is no exponent.", hint)
        return Arm(word, "posthoc", value)
    return Arm(word, "model", value)


def _file(name: str, path: Path) -> Arm:
    """Tell a manifest from a weights file by what it says of itself."""
    place = path / MANIFEST_NAME if path.is_dir() else path
    document = _document(name, place)
    if document is not None and document.get("schema") == MANIFEST_SCHEMA:
        return Arm(name, "manifest", str(place))
    class_weights.load(place)
    return Arm(name, "weights file", str(place))


def _document(name: str, path: Path) -> dict[str, Any] | None:
    """Read a JSON object; None where the file is not JSON."""
    try:
        text, _ = decode(read_regular(path, MAX_FILE_BYTES))
    except Unreadable as error:
        raise UsageError(f"--arms {name}={path}: {error}.", "Give a dataset-doctor.json or a file that `weights -o` wrote.") from error
    try:
        document = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return document if isinstance(document, dict) else None


# What an arm changes ----------------------------------------------------------------------------------------------------


def treat(arm: Arm, dataset: Dataset, *, task: Task, scratch: Path | None = None, progress: Progress = silent) -> Treatment:
    """Work out what an arm changes, on the training split alone.

    Args:
        arm: What `parse_arms` gave.
        dataset: What is verified.
        task: What is trained.
        scratch: A folder for pictures that a sampler makes anew; it has to stay until they are loaded.
        progress: Called with what is done, how much and how much in all.

    Raises:
        UsageError: the arm does not go with this dataset.
    """
    if arm.kind == "sampler":
        plan = rebalance(dataset, method=arm.value, split="train", progress=progress)
        if plan.made is not None:
            assert scratch is not None
            write(plan.apply(dataset), scratch / arm.value, materialize="symlink", progress=progress)
            return Treatment(shown=read(scratch / arm.value), notes=plan.notes)
        return Treatment(repeats=_repeats(dataset, plan.rows, plan.in_split), notes=plan.notes)
    if arm.kind == "weights":
        weighed = class_weights.weigh(dataset, arm.value, split="train", normalize="sample")
        return Treatment(class_weights=np.array(weighed.weights), notes=weighed.warnings)
    if arm.kind == "weights file":
        return _from_weights_file(arm, dataset)
    if arm.kind == "manifest":
        return _from_manifest(arm, dataset)
    if arm.kind == "loss":
        return Treatment(loss=arm.value)
    if arm.kind == "augment":
        return Treatment(augment=arm.value)
    if arm.kind == "size":
        return Treatment(size=int(arm.value))
    if arm.kind == "model":
        return Treatment(model=arm.value)
    if arm.kind == "background" and task == "detect":
        plan = rebalance(dataset, method="none", background=arm.value, budget=1e5, split="train")
        return Treatment(repeats=_repeats(dataset, plan.rows, plan.in_split), notes=plan.notes)
    if arm.kind == "background":
        return Treatment(background=arm.value)
    if arm.kind == "posthoc" and task == "detect":
        raise UsageError(f"--arms {arm.name} is for classification.", "For a detector compare focal, weights:SCHEME or a sampler.")
    if arm.kind == "posthoc":
        return Treatment(notes=("These are the baseline's models, asked differently: nothing was trained.",))
    return Treatment()


def _repeats(dataset: Dataset, rows: NDArray[np.intp], in_split: NDArray[np.bool_]) -> NDArray[np.float64]:
    shown = rows[in_split[:, dataset.splits.index("train")]]
    return np.bincount(shown, minlength=dataset.n_images).astype(np.float64)


def _from_weights_file(arm: Arm, dataset: Dataset) -> Treatment:
    weighed = class_weights.load(arm.value)
    if sorted(weighed.classes) != sorted(dataset.class_names):
        theirs, ours = set(weighed.classes), set(dataset.class_names)
        differ = sorted(theirs ^ ours)
        which = f"{differ[0]} is only in the {'file' if differ[0] in theirs else 'dataset'}" if differ else "a name is there several times"
        raise UsageError(
            f"--arms {arm.name}={arm.value} is for other classes: {len(weighed.classes):,} in the file, {len(dataset.classes):,} in the"
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


def _from_manifest(arm: Arm, dataset: Dataset) -> Treatment:
    document = _document(arm.name, Path(arm.value))
    assert document is not None
    source = document.get("source")
    entries = document.get("images")
    if not isinstance(entries, list) or not all(isinstance(one, dict) and isinstance(one.get("source"), str) for one in entries):
        raise UsageError(f"--arms {arm.name}={arm.value} lists no images.", "Give the dataset-doctor.json that `rebalance` wrote.")
    if not isinstance(source, dict) or source.get("fingerprint") != fingerprint(dataset):
        raise UsageError(
            f"--arms {arm.name}={arm.value} was made from another dataset, or from another state of this one.",
            "Verify the dataset that `rebalance` was given, or rebalance this one again.",
        )
    if any(one.get("transform") for one in entries):
        return _made_anew(arm, dataset)
    times = Counter(one["source"] for one in entries)
    row_of = {name: row for row, name in enumerate(dataset.images.file_name.tolist())}
    repeats = np.zeros(dataset.n_images)
    for name, n in times.items():
        if name in row_of:
            repeats[row_of[name]] = n
    if not repeats[dataset.images.in_split[:, dataset.splits.index("train")]].any():
        raise UsageError(f"--arms {arm.name}={arm.value} shows no image of the training split.")
    return Treatment(repeats=repeats)


def _made_anew(arm: Arm, dataset: Dataset) -> Treatment:
    """Show the training split of a written copy: some of its pictures are in no other place."""
    root = Path(arm.value).parent
    try:
        copy = read(root).with_train()
    except DoctorError as error:
        raise UsageError(
            f"--arms {arm.name}={arm.value} names pictures that were made anew, and they are not beside it.", "Give the folder as written."
        ) from error
    if copy.class_names != dataset.class_names:
        raise UsageError(f"--arms {arm.name}={arm.value} lies in a dataset of other classes.", "Give the folder as `rebalance` wrote it.")
    if "train" not in copy.splits or not copy.images.in_split[:, copy.splits.index("train")].any():
        raise UsageError(f"--arms {arm.name}={arm.value} shows no image of the training split.")
    return Treatment(shown=copy)


def background_repeats(is_background: NDArray[np.bool_], ratio: str) -> NDArray[np.float64]:
    """Repeat background pictures, or leave some of each, until the ratio of positive : background holds on average.

    >>> background_repeats(np.array([False, False, True]), "1:1").tolist()
    [1.0, 1.0, 2.0]
    """
    positives, have = int((~is_background).sum()), int(is_background.sum())
    wanted = parse_background(ratio).wanted(positives, positives)
    times = 1.0 if wanted is None or not have else wanted / have
    return np.where(is_background, times, 1.0)


def adjusted(baseline: Trained, arm: Arm, counts: NDArray[np.int64]) -> Trained:
    """Adjust what a trained model says for how frequent classes were in training, and train nothing.

    The probability of each class is divided by its share of the training pictures to the power of tau, and all are scaled to sum to 1:
    the largest is then the class of the largest logit minus tau × log of the share. Source: Menon et al. 2021, Long-tail Learning via
    Logit Adjustment (section 4.1).

    Args:
        baseline: A training of the baseline.
        arm: Its value is tau.
        counts: Training pictures of each class (K); a class without any counts as the scarcest that has some.
    """
    shares = np.maximum(counts, counts[counts > 0].min()) / counts.sum()
    divisor = shares ** float(arm.value)

    def divided(predictions: Predictions | None) -> Predictions | None:
        if predictions is None:
            return None
        raised = predictions.probabilities / divisor
        return dataclasses.replace(predictions, probabilities=(raised / raised.sum(axis=1, keepdims=True)).astype(np.float32))

    test = divided(baseline.test_predictions)
    assert test is not None
    return dataclasses.replace(baseline, outcome=test, val_predictions=divided(baseline.val_predictions), test_predictions=test)


def addresses(arm: Arm, recommendations: Sequence[Recommendation]) -> tuple[str, ...]:
    """Name the recommendations that an arm tests, and the findings behind them."""
    named = []
    for one in recommendations:
        is_same = one.action in _ACTIONS.get(arm.kind, ())
        if arm.kind == "sampler":
            is_same = one.action == arm.value or one.parameters.get("method") == arm.value
        elif arm.kind == "loss":
            is_same = one.action == "focal_loss" and "focal" in arm.value
        if is_same:
            named += [one.id, *one.addresses]
    return tuple(dict.fromkeys(named))


def state_of(arm: Arm) -> dict[str, Any]:
    """Tell all that the arm's trainings depend on, besides dataset and settings; the content of a file, not its name."""
    state: dict[str, Any] = dataclasses.asdict(arm)
    if arm.kind in ("manifest", "weights file"):
        text, _ = decode(read_regular(arm.value, MAX_FILE_BYTES))
        state["value"] = text
    return state
