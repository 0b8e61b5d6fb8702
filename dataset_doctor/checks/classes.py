"""DD2: how the classes are named, how often each occurs, and how many images hold nothing."""

from __future__ import annotations

import re
import unicodedata
from collections import defaultdict
from collections.abc import Iterable

import numpy as np

from dataset_doctor.checks._classes import class_places, counts_of, named, training_split
from dataset_doctor.checks._found import reported
from dataset_doctor.dataset import NO_ID, Dataset, LabelState, Place
from dataset_doctor.findings import Facts, Found, Severity, Threshold, judged_by, number, percent, plural
from dataset_doctor.formats import format_of
from dataset_doctor.statistics import RARE_IMAGES

MIN_RATIO = Threshold("min_ratio", 10.0, "smallest ratio of the largest to the smallest class that is an imbalance", lower=1)
"""An effect on accuracy was measured from about this ratio on (Buda et al., 2018)."""

MIN_LARGEST_INSTANCES = Threshold("min_largest_instances", 50, "fewest instances of the largest class for a warning")
"""With fewer, a ratio says little: the difference is a handful of images."""

MAX_RARE_IMAGES = Threshold("max_rare_images", RARE_IMAGES, "most training images of a rare class", lower=1)

MAX_IGNORED_IMAGES = Threshold("max_ignored_images", 3, "most background images that are never too many, with the policy `detector`")
MAX_BACKGROUND_ONLY_IMAGES = Threshold("max_background_only_images", 3, "most images of a split that may all be background", lower=0)

MIN_UNLABELED_IMAGES = Threshold("min_unlabeled_images", 3, "fewest images without a label file for a warning")
MAX_UNLABELED_SHARE = Threshold("max_unlabeled_share", 0.1, "largest share of images without a label file that is no warning", upper=1)
"""Ultralytics advises up to 10 % of background images; more images without a label file are hardly all meant as such."""


# How often each class occurs ----------------------------------------------------------------------------------------


@judged_by(MIN_RATIO, MIN_LARGEST_INSTANCES)
def class_imbalance(dataset: Dataset, facts: Facts) -> Found | None:
    """Flag datasets in which the most frequent class has at least {min_ratio} times as many training instances as the rarest.

    **Why it matters.** A model trained on such counts leans towards the frequent classes, and an average over all instances hides it.
    From a ratio of about 10 on the effect was measured again and again (Buda et al., 2018). There is no law: a rare class that looks like
    no other may be learnt from few images.

    **Usual cause.** The world is like that; or frequent objects were labelled first.

    **What to do.** Look at the accuracy of each class, not only at the mean. Collect more of the rare classes; failing that, repeat the
    images that hold them, or weight the loss, and measure whether it helped.
    """
    if dataset.only_measures:
        return None  # it should be as in use
    split = training_split(dataset)
    _, instances = counts_of(facts, split)
    used = np.flatnonzero(instances)
    if len(used) < 2:
        return None
    largest, smallest = used[instances[used].argmax()], used[::-1][instances[used][::-1].argmin()]  # as tables of classes end
    ratio = instances[largest] / instances[smallest]
    least = facts[MIN_RATIO]
    if ratio < least:
        return None
    rare = used[instances[used] * least <= instances[largest]]
    names = dataset.class_names
    where = "" if split is None else f" in {dataset.splits[split]}"
    message = (
        f"{names[largest]} holds {instances[largest] / instances.sum():.0%} of the {instances.sum():,} instances"
        f"{where}, {ratio:,.1f} × {names[smallest]}; {plural(len(rare), 'class has', 'classes have')} at most {percent(1 / least)} as many"
    )
    severity = Severity.WARNING if instances[largest] >= facts[MIN_LARGEST_INSTANCES] else Severity.INFO
    places = class_places(dataset, rare.tolist(), dataset.training_split)
    return Found(len(rare), message, places=places, severity=severity)


@judged_by(MAX_RARE_IMAGES)
def class_rare(dataset: Dataset, facts: Facts) -> Found | None:
    """Flag classes that at most {max_rare_images} training images hold.

    **Why it matters.** LVIS calls them rare and measures them apart, because models miss most of them. With so few images, the accuracy
    of the class is hardly more than chance: one image more or less changes it by a tenth.

    **Usual cause.** A class that is rare in the world, or one that was added late.

    **What to do.** Collect more images of these classes, or leave them out until there are some.
    """
    split = training_split(dataset)
    images, _ = counts_of(facts, split)
    rows = np.flatnonzero((images > 0) & (images <= facts[MAX_RARE_IMAGES]))
    if not len(rows):
        return None
    rows = rows[np.argsort(images[rows], kind="stable")]
    where = "" if split is None else "training "
    class_names = dataset.class_names
    names = named([f"{class_names[row]} ({images[row]:,})" for row in rows.tolist()])
    message = f"{plural(len(rows), 'class has', 'classes have')} at most {number(facts[MAX_RARE_IMAGES])} {where}images: {names}"
    return Found(len(rows), message, places=class_places(dataset, rows.tolist(), dataset.training_split))


def class_unused(dataset: Dataset, facts: Facts) -> Found | None:
    """Flag classes that are declared but that no instance has.

    **Why it matters.** The model gets an output that it never learns to use. Where the mean over classes counts them, as MMDetection's
    table does, they pull it down; the numbers of the other classes depend on them.

    **Usual cause.** A list of classes taken over from another dataset, or a part of a dataset.

    **What to do.** Leave the class out and renumber the others, or keep it for images to come.
    """
    _, instances = counts_of(facts, None)
    roots = set(_root_categories(dataset, instances))
    rows = [row for row in np.flatnonzero(instances == 0).tolist() if row not in roots]
    if not rows:
        return None
    names = named([dataset.classes[row].name for row in rows])
    message = f"{plural(len(rows), 'class is', 'classes are')} declared and never used: {names}"
    return Found(len(rows), message, places=class_places(dataset, rows))


# How the classes are named ------------------------------------------------------------------------------------------

_HOMOGLYPHS = str.maketrans(
    "аевкмнорстухіјѕԁһԛԝАВЕКМНОРСТУХІЈЅαορνικτυχΑΒΕΖΗΙΚΜΝΟΡΤΥΧ",
    "aebkmhopctyxijsdhqwABEKMHOPCTYXIJSaopviktuxABEZHIKMNOPTYX",
)
_JOINTS = re.compile(r"(?<=[^\W_])[-\s_\u2010-\u2015]+(?=[^\W_])")
_JOINTS_OF_LETTERS = re.compile(r"(?<=[^\W_])(?<!\d) (?=[^\W_])|(?<=\d) (?=[^\W\d_])")


def _folded(name: str) -> str:
    """Reduce a name to what a person tells it apart by: no case, no spelling of gaps, no invisible or look-alike characters.

    Single letters keep their case, and numbers stay apart: a and A, 1-1 and 11 are different classes of symbols.

    >>> _folded("Traffic_Light"), _folded("traffic light "), _folded("A"), _folded("1-1"), _folded("B+")
    ('trafficlight', 'trafficlight', 'A', '1 1', 'b+')
    """
    text = unicodedata.normalize("NFKC", name).strip()
    if not text.isascii():
        text = "".join(c for c in text if unicodedata.category(c) != "Cf").translate(_HOMOGLYPHS)
    text = _JOINTS_OF_LETTERS.sub("", _JOINTS.sub(" ", text.strip()))
    return text.casefold() if len(text) > 1 else text or name


def _singular(folded: str) -> str:
    """Give the singular of an English plural, roughly.

    >>> _singular("cars"), _singular("boxes"), _singular("cherries"), _singular("glass")
    ('car', 'box', 'cherry', 'glass')
    """
    if len(folded) < 4 or not folded.endswith("s") or folded.endswith(("ss", "us", "is")):
        return folded
    if folded.endswith("ies"):
        return folded[:-3] + "y"
    return folded[:-2] if folded.endswith(("xes", "ses", "zes", "ches", "shes")) else folded[:-1]


def _alike(texts: Iterable[str]) -> list[list[int]]:
    """Group the rows whose texts are equal; only groups of two and more."""
    rows: dict[str, list[int]] = defaultdict(list)
    for row, text in enumerate(texts):
        rows[text].append(row)
    return [group for group in rows.values() if len(group) > 1]


def class_names_alike(dataset: Dataset, facts: Facts) -> Found | None:
    """Flag classes whose names differ only in case, spaces, dashes, look-alike letters or a plural.

    **Why it matters.** To a trainer they are two classes. Each gets a part of the examples, and every hit on one is a miss on the other.

    **Usual cause.** Two annotators or two datasets with different spellings.

    **What to do.** Decide on one spelling and merge the classes, if they mean the same. A singular and a plural may be meant apart: a
    banana and a bunch of bananas.
    """
    folded = [_folded(name) for name in dataset.class_names]
    groups = _alike(folded)
    merged = {row for group in groups for row in group}
    plurals = [group for group in _alike(map(_singular, folded)) if len({folded[row] for row in group}) > 1]
    plurals = [group for group in plurals if not merged.issuperset(group)]
    if not groups and not plurals:
        return None
    shown = named([" = ".join(repr(dataset.classes[row].name) for row in group[:4]) for group in (*groups, *plurals)], 3)
    n = len(groups) + len(plurals)
    how = "by the way they are written" if groups and not plurals else "by a plural" if not groups else "by spelling or a plural"
    message = f"{plural(n, 'group of classes differs', 'groups of classes differ')} only {how}: {shown}"
    severity = Severity.WARNING if groups else Severity.INFO
    rows = list(dict.fromkeys(row for group in (*groups, *plurals) for row in group))
    if not format_of(dataset).names_in_records or any(dataset.classes[row].place is not None for row in rows):
        return Found(n, message, places=class_places(dataset, rows), severity=severity)
    # Only label records name these classes: point at those with the less common spellings.
    _, instances = counts_of(facts, None)
    lesser = [row for group in (*groups, *plurals) for row in group if row != max(group, key=lambda r: (instances[r], -r))]
    return Found(n, message, annotations=np.flatnonzero(np.isin(dataset.annotations.class_index, lesser)), severity=severity)


def _untidy(name: str) -> str | None:
    r"""Say what is wrong with a name that looks right; None for a tidy one.

    >>> _untidy("traffic light"), _untidy("car "), _untidy("a\tb"), _untidy("caf\u00e9"), _untidy("a\u200bb")
    (None, 'begins or ends with a space', 'holds a control character', None, 'holds an invisible character')
    """
    if not name.strip():
        return "is empty"
    if any("\ud800" <= c <= "\udfff" for c in name):
        return "is not valid text"
    if name != name.strip(" \u00a0\u2007\u202f\u3000"):
        return "begins or ends with a space"
    for before, c in zip(" " + name, name, strict=False):
        kind = "" if " " < c <= "~" else unicodedata.category(c)
        # The joiners U+200C and U+200D are part of Persian, Hindi and emoji.
        if kind == "Cf" and not (c in "\u200c\u200d" and ord(before) > 0x24F):
            return "holds an invisible character"
        if kind in ("Cc", "Zl", "Zp"):
            return "holds a control character"
        if kind == "Zs" and c != " ":
            return "holds a no-break or other unusual space"
    return "holds two spaces in a row" if "  " in name else None


def class_name_untidy(dataset: Dataset, facts: Facts) -> Found | None:
    """Flag class names that are empty, have spaces around them, or hold characters that cannot be seen.

    **Why it matters.** `car` and `car ` look the same and are two classes: MMDetection drops the objects of a name that it does not find
    in its list, detectron2 stops with ValueError.

    **Usual cause.** A name pasted from a table or a web page, or typed with a space at its end.

    **What to do.** Write the name without them, in the list of classes and in all labels.
    """
    rows = {row: what for row, name in enumerate(dataset.class_names) if (what := _untidy(name)) is not None}
    bad = {dataset.classes[row].name: what for row, what in rows.items()}
    records = None
    if format_of(dataset).names_in_records and dataset.annotations.class_id.dtype == object:
        # Records keep the name as written, where the class has it without the spaces around.
        written = dataset.annotations.class_id.tolist()
        odd = {name: what for name in sorted(set(written)) if name.strip() and (what := _untidy(name)) is not None}
        if odd:
            bad = odd | {name: what for name, what in bad.items() if name not in {text.strip() for text in odd}}
            records = np.flatnonzero([name in odd for name in written])
    if not bad:
        return None
    shown = named([f"{name!r} {what}" for name, what in bad.items()], 3)
    message = f"{plural(len(bad), 'class name is', 'class names are')} not clean: {shown}"
    if records is not None:
        return Found(len(bad), message, annotations=records)
    return Found(len(bad), message, places=class_places(dataset, rows))


_BACKGROUND = frozenset({"background", "bg", "ignore", "unlabeled", "unlabelled", "unlabel", "unannotated"})
_PLACEHOLDER = re.compile(
    r"(?:class|label|category|cls|object|obj|item|type|tag|id)[-_ ]?\d+|undefined|unknown|todo|tbd|n/?a|null|none|nan"
)


def class_name_placeholder(dataset: Dataset, facts: Facts) -> Found | None:
    """Flag classes that name no kind of object: background, ignore, class_0, unknown.

    **Why it matters.** A detector has its own way to say that there is nothing. A class `background` gets an output of its own and shifts
    the numbers of the others; a class `class_0` says nothing to whoever uses the model.

    **Usual cause.** labelme writes `_background_` and `__ignore__` into its lists; YOLO labels came without a list of names.

    **What to do.** Leave out the class that stands for nothing. Give the others names.
    """
    rows = []
    for row, name in enumerate(dataset.class_names):
        bare = name.casefold().strip().strip("_").strip()
        if _PLACEHOLDER.fullmatch(bare) or (bare in _BACKGROUND and dataset.task != "classify"):
            rows.append(row)
    if not rows:
        return None
    names = named([dataset.classes[row].name for row in rows])
    message = f"{plural(len(rows), 'class name says', 'class names say')} nothing about what is in the image: {names}"
    return Found(len(rows), message, places=class_places(dataset, rows))


def class_name_not_text(dataset: Dataset, facts: Facts) -> Found | None:
    """Flag class names in YAML that are not quoted and that YAML takes for something else: no, on, null, 007, 12:30, 1e3.

    **Why it matters.** Ultralytics and others read `no` as False and `007` as 7 and name the class so. Two such names can become one.

    **Usual cause.** Names that are codes or short words, typed without quotes.

    **What to do.** Put the names in quotes.
    """
    return reported(facts, "class-name-not-text", "YAML does not read the class name as text", "YAML does not read the class names as text")


def _root_categories(dataset: Dataset, instances: np.ndarray[tuple[int], np.dtype[np.int64]]) -> list[int]:
    """Give the unused COCO categories that are only the supercategory of others."""
    above = {c.supercategory for c in dataset.classes if c.supercategory != c.name}
    return [row for row, c in enumerate(dataset.classes) if not instances[row] and c.name in above and len(dataset.classes) > 1]


def class_root(dataset: Dataset, facts: Facts) -> Found | None:
    """Flag COCO categories without instances that are only there as the group of the others.

    **Why it matters.** Most readers count it as a class: the model has one output more, every number is shifted by one, and a number of
    classes taken from the other names is too small.

    **Usual cause.** Roboflow's COCO export, which writes the name of the project as category 0.

    **What to do.** Delete the category, or tell the trainer of one class more.
    """
    _, instances = counts_of(facts, None)
    rows = _root_categories(dataset, instances)
    if not rows:
        return None
    names = named([dataset.classes[row].name for row in rows])
    message = f"{plural(len(rows), 'category is', 'categories are')} only the group of others: {names}"
    return Found(len(rows), message, places=class_places(dataset, rows))


def class_ids_gapped(dataset: Dataset, facts: Facts) -> Found | None:
    """Flag COCO category ids that are not 1, 2, 3 … without gaps.

    **Why it matters.** Such ids are allowed, and COCO has them itself. detectron2 renumbers with a warning; Ultralytics' converter takes
    id - 1 for the class; Datumaro takes id 0 for no label, and torchvision's models keep 0 for the background.

    **Usual cause.** Exporters that start at 0, or classes that were deleted.

    **What to do.** Nothing, if your trainer maps ids by name. Else number the categories from 1.
    """
    if not format_of(dataset).has_ids:
        return None
    ids = [c.id for c in dataset.classes]
    numbers = sorted({value for value in ids if isinstance(value, int) and value != NO_ID})
    if len(numbers) < len(ids) or not numbers or numbers == list(range(1, len(numbers) + 1)):
        return None
    missing = numbers[-1] - numbers[0] + 1 - len(numbers)
    what = ["start at 0"] if numbers[0] == 0 else [f"start at {numbers[0]:,}"] if numbers[0] != 1 else []
    what += [f"leave out {plural(missing, 'number')}"] if missing else []
    taken = set(numbers) | {0}
    at = [row for row, value in enumerate(ids) if isinstance(value, int) and (value - 1 not in taken or value == 0)]
    return Found(1, f"category ids {' and '.join(what)}: {numbers[0]:,} to {numbers[-1]:,}", places=class_places(dataset, at[:100]))


# Images that hold nothing -------------------------------------------------------------------------------------------


@judged_by(MAX_IGNORED_IMAGES)
def background_share(dataset: Dataset, facts: Facts) -> Found | None:
    """Flag a share of background images outside what the policy wants.

    **Why it matters.** Background images teach a detector what is no object; too many of them cost time and, without care, recall. How
    many are right depends on the task. By default the band is that of Ultralytics' training tips, up to 10 %; `--policy` chooses another.

    **Usual cause.** Images exported whether labelled or not, or a camera that mostly sees nothing.

    **What to do.** Check that the images are really empty. Then leave some out, or choose the policy that fits: with `screening` the share
    should be as in use.
    """
    policy = facts.policy
    if policy.name == "none":
        return None
    split = training_split(dataset)
    if split is None:
        summary = facts.statistics.summary
        images, background, positive = summary.images, summary.background_images, summary.positive_images
    else:
        row = facts.statistics.splits[split]
        images, background = row.images, row.background_images
        positive = images - background - row.unlabeled_images
    few = policy.name == "detector" and background <= facts[MAX_IGNORED_IMAGES]
    if not images or few or policy.low <= background / images <= policy.high:
        return None
    states = dataset.images.label_state == LabelState.BACKGROUND
    rows = np.flatnonzero(states if split is None else states & dataset.images.in_split[:, split])
    band = f"{policy.low:.0%} to {policy.high:.0%}" if policy.low else f"up to {policy.high:.0%}"
    ratio = f"{positive:,} positive : {background:,} background images"
    message = f"{background / images:.0%} of the {'' if split is None else 'training '}images are background ({ratio}); {band} is wanted"
    return Found(len(rows), message, images=rows, severity=Severity.INFO if policy.name == "detector" else Severity.WARNING)


@judged_by(MAX_BACKGROUND_ONLY_IMAGES)
def no_annotations(dataset: Dataset, facts: Facts) -> Found | None:
    """Flag splits without a single annotation.

    **Why it matters.** There is nothing to learn from, or nothing to measure on: Ultralytics stops or trains towards no object at all,
    and mAP is undefined. Test sets whose labels are kept back are common.

    **Usual cause.** Labels in a folder where the trainer does not look, an export without labels, or a wrong path.

    **What to do.** Find the labels. For YOLO compare the paths of images and labels: `images` becomes `labels`, `.jpg` becomes `.txt`.
    """
    places: list[Place] = []
    severity = Severity.INFO
    for row in facts.statistics.splits:
        if row.images and not row.annotations:
            only_background = row.background_images == row.images <= facts[MAX_BACKGROUND_ONLY_IMAGES]
            needed = row.name in (dataset.training_split, "val", "all") and not only_background
            severity = Severity.ERROR if needed else severity
            own = np.flatnonzero(dataset.source_split == dataset.splits.index(row.name))
            file = dataset.sources[own[0]] if len(own) else None
            places.append(Place(file=file, split=row.name, detail=plural(row.images, "image")))
    if not places:
        return None
    names = named([str(place.split) for place in places])
    message = f"{plural(len(places), 'split has', 'splits have')} images and no annotation: {names}"
    return Found(len(places), message, places=places, severity=severity)


@judged_by(MIN_UNLABELED_IMAGES, MAX_UNLABELED_SHARE)
def image_unlabeled(dataset: Dataset, facts: Facts) -> Found | None:
    """Flag images without a label file in a split where others have one.

    **Why it matters.** They may be empty or forgotten: there is no way to know. YOLO trainers take them for background: every object in
    them counts as a false detection. VOC readers stop at the missing XML file.

    **Usual cause.** Labelling that is not finished, labels lost or misnamed, or exporters that write no file for empty images.

    **What to do.** Label them. Give truly empty images an empty label file, so that the two differ.
    """
    images = dataset.images
    bare = images.label_state == LabelState.UNLABELED
    if not bare.any():
        return None
    some = images.in_split[~bare].any(axis=0)
    reported = {p.place.image for p in facts.statistics.problems.get("label-missing", ())}
    rows = np.flatnonzero(bare & images.in_split[:, some].any(axis=1))
    rows = np.array([row for row in rows.tolist() if images.file_name[row] not in reported], np.intp)
    if not len(rows):
        return None
    among = int(images.in_split[:, some].any(axis=1).sum())
    many = len(rows) >= facts[MIN_UNLABELED_IMAGES] and len(rows) > facts[MAX_UNLABELED_SHARE] * among
    taken = "; YOLO trainers take them for background" if format_of(dataset).unlabeled_is_background else ""
    message = f"{plural(len(rows), 'image has', 'images have')} no label file, {len(rows) / among:.0%} of those in labelled splits{taken}"
    return Found(len(rows), message, images=rows, severity=Severity.WARNING if many else Severity.INFO)
