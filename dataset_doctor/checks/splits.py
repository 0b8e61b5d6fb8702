"""DD3: what is wrong between the splits of a dataset, judging by labels, names and pixels."""

from __future__ import annotations

import dataclasses
import itertools
import posixpath
from collections import defaultdict

import numpy as np
from numpy.typing import NDArray

from dataset_doctor.checks._classes import class_places, named, training_split
from dataset_doctor.checks._found import reported
from dataset_doctor.checks._groups import groups_found, image_groups, with_first
from dataset_doctor.dataset import WHOLE_SPLIT, Dataset, Place, Rows
from dataset_doctor.files.splits import canonical_split
from dataset_doctor.findings import Facts, Found, Severity, Threshold, judged_by, plural
from dataset_doctor.formats import format_of
from dataset_doctor.relations import Labels, same_names, sources, videos
from dataset_doctor.statistics import RARE_IMAGES, statistics

EVALUATED = ("val", "test")


MAX_RARE_IMAGES = Threshold("max_rare_images", RARE_IMAGES, "most training images of a class that a split may lack by chance", lower=1)

MIN_IMAGES = Threshold("min_images", 10, "fewest images of a val or test split that is not tiny")
MIN_SHARE = Threshold("min_share", 0.02, "smallest share of all images that a val or test split that is not tiny holds", upper=1)
"""A split for measuring that is smaller than both says little: one image more or less moves the result by a tenth."""
MAX_TIMES_TRAINING = Threshold("max_times_training", 2.0, "largest ratio of val or test images to training images")

MIN_SPLIT_IMAGES = Threshold("min_split_images", 10, "fewest images of a split that is compared", lower=1)
MAX_FALSE_DISCOVERY_RATE = Threshold("max_false_discovery_rate", 0.01, "largest false discovery rate over all classes and splits", upper=1)
MIN_SHARE_RATIO = Threshold("min_share_ratio", 2.0, "smallest ratio of the two shares that is drift", lower=1)
MIN_CRAMER_V = Threshold("min_cramer_v", 0.2, "smallest Cramér's V that is drift", upper=1)
"""A class has drifted if the false discovery rate is small enough and one of the effect sizes is reached. Cohen (1988) calls a V of 0.1 a
small effect, 0.3 a medium one."""

MAX_CUTS = Threshold("max_cuts", 2, "most places at which a video may be cut before it is a warning")


def image_in_several_splits(dataset: Dataset, facts: Facts) -> Found | None:
    """Flag images that more than one split names.

    **Why it matters.** A model that has trained on a image recognises it in the test: the score says nothing about new images.

    **Usual cause.** Lists written at different times, or a validation list that was drawn from the training list and not removed from it.

    **What to do.** Keep each image in one split; move it to train when in doubt, and measure again. Where two splits are the same images,
    or one lies in another, the finding counts these splits: a configuration names one folder twice. Give each its own, or split again.
    """
    in_split = dataset.images.in_split
    several = in_split.sum(axis=1) > 1
    problems = facts.statistics.problems.get("image-in-several-splits", ())
    if not several.any() and not problems:
        return None
    texts, places = [], [dataclasses.replace(problem.place, detail=problem.text) for problem in problems]
    for one, other in itertools.combinations(np.argsort(-in_split.sum(axis=0), kind="stable").tolist(), 2):
        shared = in_split[:, one] & in_split[:, other]
        n, most = int(in_split[:, other].sum()), int(in_split[:, one].sum())
        if n < WHOLE_SPLIT or shared.sum() < n:
            continue
        several &= ~shared
        large, small = dataset.splits[one], dataset.splits[other]
        texts.append(f"{large} and {small} are the same {n:,} images" if n == most else f"all {n:,} images of {small} are in {large} too")
        places += [] if problems else [_declared(dataset, large), _declared(dataset, small)]
    rows = np.flatnonzero(several)
    if not texts and not problems:
        return Found(len(rows), plural(len(rows), "image is in more than one split", "images are in more than one split"), images=rows)
    if len(rows):
        texts.append(f"{plural(len(rows), 'more image is', 'more images are')} in more than one split")
    places += [Place(file=name, image=name) for name in dataset.images.file_name[rows].tolist()]
    message = "; ".join(texts) or plural(len(problems), "entry names", "entries name") + " the images of another split"
    return Found(max(1, len(texts) - bool(len(rows))) + len(rows), message, places=list(dict.fromkeys(places)))


def _declared(dataset: Dataset, split: str) -> Place:
    """Give the list or label file that says which images a split has."""
    number = dataset.splits.index(split)
    own = [dataset.sources[at] for at in np.flatnonzero(dataset.source_split == number)[:1].tolist()]
    stem = {canonical_split(posixpath.splitext(posixpath.basename(name))[0]): name for name in reversed(dataset.config_files)}
    return Place(file=stem.get(split) or (own[0] if own else None), split=split)


# Classes ------------------------------------------------------------------------------------------------------------


@judged_by(MAX_RARE_IMAGES)
def class_missing_in_split(dataset: Dataset, facts: Facts) -> Found | None:
    """Flag classes that are in the training split but not in val or test, or the other way round.

    **Why it matters.** A class that val lacks is never measured: its AP is undefined, and COCO's mean leaves it out. A class that train
    lacks cannot be learnt, and costs recall.

    **Usual cause.** A random split of a dataset with rare classes.

    **What to do.** Split again so that each class is spread over the splits (`dataset-doctor split`). A class with fewer images than
    splits needs more images.
    """
    train = training_split(dataset)
    if train is None or format_of(dataset).class_folders:
        return None  # of image folders, class-folders-differ and class-folder-empty say the same
    trained = dataset.splits[train]
    images = np.array([[count.images for count in row.splits] for row in facts.statistics.classes]).reshape(-1, len(dataset.splits))
    in_train, train_size = images[:, train], facts.statistics.splits[train].images
    if not in_train.any():
        return None
    places: list[Place] = []
    texts: list[str] = []
    severity = Severity.INFO
    for name in EVALUATED:
        split = dataset.splits.index(name) if name in dataset.splits else train
        if split == train or not images[:, split].any():
            continue
        size = facts.statistics.splits[split].images
        lacking = np.flatnonzero((in_train > 0) & (images[:, split] == 0))
        unlearnt = np.flatnonzero((in_train == 0) & (images[:, split] > 0))
        # A split can hold a class that is not rare and of which at least one image falls to it on average.
        could = (in_train[lacking] > facts[MAX_RARE_IMAGES]) & (in_train[lacking] * size >= train_size)
        if could.any() or (len(unlearnt) and train_size >= 2 * facts[MAX_RARE_IMAGES]):
            severity = Severity.WARNING
        places += class_places(dataset, lacking[np.argsort(~could, kind="stable")].tolist(), name)
        places += class_places(dataset, unlearnt.tolist(), trained)
        if len(lacking):
            texts.append(f"{name} lacks {named([dataset.classes[row].name for row in lacking.tolist()], 3)}")
        if len(unlearnt):
            texts.append(f"{trained} lacks {named([dataset.classes[row].name for row in unlearnt.tolist()], 3)} of {name}")
    places = list(dict.fromkeys(places))
    if not places:
        return None
    n = len({place.class_name for place in places})
    return Found(n, f"{plural(n, 'class is', 'classes are')} not in every split: {'; '.join(texts)}", places=places, severity=severity)


@judged_by(MIN_SPLIT_IMAGES, MAX_FALSE_DISCOVERY_RATE, MIN_SHARE_RATIO, MIN_CRAMER_V)
def split_drift(dataset: Dataset, facts: Facts) -> Found | None:
    """Flag classes that are much more, or much less, common in val or test than in training.

    **Why it matters.** The score on such a split answers for another mix of classes than the model was trained on.

    **Usual cause.** Splits by camera, day or place, or files that were sorted by class before they were cut.

    **What to do.** If the split is meant to be another place or time, keep it and say so. Else split again, stratified by class.

    Of a dataset that `rebalance` wrote, each image counts once: what was repeated or pasted on purpose is not drift.

    Tested on images that hold the class, 2 × 2: chi-squared, or Fisher's exact test where few are expected; the false discovery rate over
    all classes and splits is {max_false_discovery_rate:%} (Benjamini and Hochberg, 1995). Besides, the share must differ by a factor of
    {min_share_ratio}, or Cramér's V reach {min_cramer_v}.
    """
    train = training_split(dataset)
    if train is None:
        return None
    repeat = dataset.images.is_repeat
    tables = statistics(dataset.select(~repeat)) if repeat.any() else facts.statistics
    sizes = np.array([row.images for row in tables.splits])
    images = np.array([[count.images for count in row.splits] for row in tables.classes]).reshape(-1, len(sizes))
    large = sizes >= facts[MIN_SPLIT_IMAGES]
    others = [s for s, name in enumerate(dataset.splits) if name in EVALUATED and large[s] and images[:, s].any()]
    if not others or not large[train] or not len(images):
        return None
    a = np.repeat(images[:, train], len(others)).astype(np.float64)
    b = images[:, others].ravel().astype(np.float64)
    n, m = float(sizes[train]), np.tile(sizes[others], len(images)).astype(np.float64)
    p = _p_of_independence(a, n, b, m)
    share, other_share = a / n, b / m
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = np.maximum(share, other_share) / np.minimum(share, other_share)
        v = np.abs(a * (m - b) - b * (n - a)) / np.sqrt(n * m * (a + b) * (n + m - a - b))
    tested = (a + b > 0) & (a + b < n + m)
    order = np.argsort(np.where(tested, p, 1.0), kind="stable")
    limit = facts[MAX_FALSE_DISCOVERY_RATE] * np.arange(1, len(p) + 1) / max(1, int(tested.sum()))
    passing = np.flatnonzero(np.where(tested, p, 1.0)[order] <= limit)
    significant = np.zeros(len(p), bool)
    significant[order[: passing[-1] + 1 if len(passing) else 0]] = True
    # A class that a split lacks altogether is class-missing-in-split.
    drifted = np.flatnonzero(significant & (a > 0) & (b > 0) & ((ratio >= facts[MIN_SHARE_RATIO]) | (v >= facts[MIN_CRAMER_V])))
    if not len(drifted):
        return None
    drifted = drifted[np.argsort(p[drifted], kind="stable")]
    places: list[Place] = []
    for row in drifted.tolist():
        place = class_places(dataset, [row // len(others)], dataset.splits[others[row % len(others)]])[0]
        detail = f"in {share[row]:.1%} of the images of {dataset.splits[train]}, {other_share[row]:.1%} of {place.split}"
        places.append(dataclasses.replace(place, detail=detail))
    worst = places[0]
    message = f"{plural(len(drifted), 'class', 'classes')} differ between splits beyond chance; {worst.class_name} is {worst.detail}"
    if len(drifted) == 1:
        message = f"1 class differs between splits beyond chance: {worst.class_name} is {worst.detail}"
    return Found(len(drifted), message, places=places)


def _p_of_independence(a: NDArray[np.float64], n: float, b: NDArray[np.float64], m: NDArray[np.float64]) -> NDArray[np.float64]:
    """Test whether a of n and b of m have the same share, element by element: the p-value of the chi-squared or Fisher's exact test."""
    from scipy.stats import chi2, fisher_exact

    total = n + m
    with np.errstate(divide="ignore", invalid="ignore"):
        statistic = total * (a * (m - b) - b * (n - a)) ** 2 / (n * m * (a + b) * (total - a - b))
    p: NDArray[np.float64] = chi2.sf(np.nan_to_num(statistic), 1)
    held = np.minimum(a + b, total - a - b)
    few = (held * np.minimum(n, m) / total < 5) & (p < 0.05)
    # Fisher's test takes a millisecond; where chi-squared sees nothing it does not either.
    for row in np.flatnonzero(few)[:1_000].tolist():
        table = np.array([[a[row], n - a[row]], [b[row], m[row] - b[row]]])
        p[row] = fisher_exact(table)[1]
    p[np.flatnonzero(few)[1_000:]] = 1.0
    return p


# Copies of one source -----------------------------------------------------------------------------------------------


def _spanning(dataset: Dataset, label: Labels) -> list[list[int]]:
    """Give the groups of images that belong together and lie in different splits; images that no list names lie in none yet."""
    rows = np.flatnonzero((label >= 0) & _member(dataset).any(axis=1))
    if len(rows) < 2:
        return []
    order = np.argsort(label[rows], kind="stable")
    rows = rows[order]
    splits = [bytes(row) for row in _member(dataset)]
    groups = np.split(rows, np.flatnonzero(np.diff(label[rows])) + 1)
    spanning = [group.tolist() for group in groups if len({splits[row] for row in group.tolist()}) > 1]
    return sorted(spanning, key=lambda group: group[0])


def _member(dataset: Dataset) -> NDArray[np.bool_]:
    """Tell which splits an image is in; `unassigned` is not a split, as it is neither trained nor measured on yet."""
    return dataset.images.in_split[:, [name != "unassigned" for name in dataset.splits]]


def source_in_several_splits(dataset: Dataset, facts: Facts) -> Found | None:
    """Flag images made from one source, by their names, that lie in different splits.

    **Why it matters.** A flipped or cropped copy of a training image is not a new image: the score on it is too good.

    **Usual cause.** Augmenting first and splitting then. Roboflow names each version `name.rf.hash`; others add `_flip`, `_aug1` or the
    place of a tile.

    **What to do.** Split the sources, then augment the training split only. `dataset-doctor split` keeps copies of one source together.

    An error where the name is surely that of one image (`000000123456`); a warning where other images may have it too (`IMG_2301`).
    Names that say nothing, such as `image_1`, are not compared.
    """
    if len(dataset.splits) < 2:
        return None
    found = sources(dataset)
    spanning = _spanning(dataset, found.label)
    if not spanning:
        return None
    rows = np.array(sorted(row for group in spanning for row in group), np.intp)
    n = len(spanning)
    message = f"{plural(n, 'source image has', 'source images have')} copies in several splits ({plural(len(rows), 'image')})"
    return Found(n, message, images=rows, severity=Severity.ERROR if found.is_sure[rows].any() else Severity.WARNING)


def name_in_several_splits(dataset: Dataset, facts: Facts) -> Found | None:
    """Flag images of the same name in different splits, where the name is more than a number.

    **Why it matters.** It may be the same image, and then the test is not a test.

    **Usual cause.** A image copied into a second split and then changed, resized or saved again.

    **What to do.** Look at two of them side by side.
    """
    spanning = _spanning(dataset, same_names(dataset)) if len(dataset.splits) > 1 else []
    if not spanning:
        return None
    rows = np.array(sorted(row for group in spanning for row in group), np.intp)
    message = f"{plural(len(spanning), 'image name is', 'image names are')} in more than one split"
    return Found(len(spanning), message, images=rows)


@judged_by(MAX_CUTS)
def sequence_in_several_splits(dataset: Dataset, facts: Facts) -> Found | None:
    """Flag videos, recognised by their frames' names, of which neighbouring frames lie in different splits.

    **Why it matters.** Neighbouring frames are nearly the same image. A model tested on them has seen the answer.

    **Usual cause.** Splitting frames at random instead of videos.

    **What to do.** `dataset-doctor split` keeps whole videos in one split.

    Recognised by names that speak of a video and end in consecutive numbers, and by equal sizes.
    """
    member = _member(dataset)
    split_of = np.where(member.any(axis=1), member.argmax(axis=1), -1) if member.size else np.full(dataset.n_images, -1)
    crossing_frames: list[NDArray[np.intp]] = []
    crossings = 0
    for video in videos(dataset) if len(dataset.splits) > 1 else []:
        rows, numbers = (column[split_of[video.rows] >= 0] for column in (video.rows, video.numbers))
        if len(rows) < 2:
            continue
        gap = np.diff(numbers)
        crossing = np.flatnonzero((split_of[rows[1:]] != split_of[rows[:-1]]) & (gap <= max(1.0, float(np.median(gap)))))
        if len(crossing):
            crossings = max(crossings, len(crossing))
            crossing_frames.append(rows[np.unique(np.concatenate([crossing, crossing + 1]))])
    if not crossing_frames:
        return None
    rows, n = np.sort(np.concatenate(crossing_frames)), len(crossing_frames)
    message = f"{plural(n, 'video has', 'videos have')} neighbouring frames in different splits ({plural(len(rows), 'image')})"
    # One crossing is a video that was cut in two; more mean frames dealt out one by one.
    severity = Severity.WARNING if crossings > facts[MAX_CUTS] else Severity.INFO
    return Found(n, message, images=rows, severity=severity)


# Sizes of the splits ------------------------------------------------------------------------------------------------


@judged_by(MIN_IMAGES, MIN_SHARE, MAX_TIMES_TRAINING)
def split_tiny(dataset: Dataset, facts: Facts) -> Found | None:
    """Flag val and test splits that are too small, and training splits smaller than what they are tested on.

    **Why it matters.** With n images, an accuracy of 80 % is known to about ± 80 ÷ √n percentage points: ± 25 for 10 images.

    **Usual cause.** A split made for trying out, or val and train exchanged.

    **What to do.** Move images from train to val: 10 to 20 % are usual, and a few hundred are enough for a large dataset.
    """
    trained = dataset.training_split
    if trained is None:
        return None
    rows = {row.name: row.images for row in facts.statistics.splits}
    train = rows[trained]
    total = sum(rows.values())
    small = [name for name in EVALUATED if 0 < rows.get(name, 0) < facts[MIN_IMAGES] and rows[name] < facts[MIN_SHARE] * total]
    swapped = [name for name in EVALUATED if rows.get(name, 0) > facts[MAX_TIMES_TRAINING] * train and train]
    if not small and not swapped:
        return None
    texts = [f"{name} holds {plural(rows[name], 'image')} of {total:,}" for name in small]
    texts += [f"{name} holds {plural(rows[name], 'image')}, {trained} only {train:,}" for name in swapped]
    places = [Place(split=name) for name in dict.fromkeys([*small, *swapped])]
    return Found(len(places), "; ".join(texts), places=places)


def no_validation_split(dataset: Dataset, facts: Facts) -> Found | None:
    """Flag datasets without a split to measure on.

    **Why it matters.** Without one there is no way to know when to stop training, nor which of two models is better. Measured on the
    training images, every model is good.

    **Usual cause.** A dataset as it came from the labelling tool.

    **What to do.** `dataset-doctor split DATASET OUT --ratios 80/10/10` keeps near-duplicates together and spreads the classes.
    """
    if "val" in dataset.splits or not dataset.n_images or not (dataset.training_split or "all" in dataset.splits):
        return None
    have = "no split at all" if dataset.splits == ("all",) else f"only {', '.join(dataset.splits)}"
    return Found(1, f"there is no validation split: {have}", places=[Place(split="val")])


# Image folders ------------------------------------------------------------------------------------------------------


def _class_folders(dataset: Dataset) -> dict[str, dict[str, str]]:
    """Give for each split of an image folder dataset its class folders by name."""
    folders: dict[str, dict[str, str]] = defaultdict(dict)
    spelled = dict(zip(dataset.split_spelling, dataset.splits, strict=True))
    split_of = dict.fromkeys(dataset.sources, "")
    used = np.unique(dataset.images.source, return_index=True)[1]
    for row in used.tolist():
        split_of[dataset.sources[dataset.images.source[row]]] = dataset.splits[int(dataset.images.in_split[row].argmax())]
    for source, split in split_of.items():
        above = posixpath.basename(posixpath.dirname(source))
        folders[split or spelled.get(above, dataset.splits[0])][posixpath.basename(source)] = source
    return folders


def class_folders_differ(dataset: Dataset, facts: Facts) -> Found | None:
    """Flag image folders whose splits do not have the same class folders.

    **Why it matters.** torchvision numbers the folders of each split by themselves, in sorted order. One folder less in val, and every
    class after it has another number there: the model is right and counted wrong. Ultralytics logs an error.

    **Usual cause.** A rare class of which no image fell into val; a folder renamed in one split only.

    **What to do.** Make the folders alike. Spread the class over the splits, or give the numbers of train to the other splits in code.
    """
    if not format_of(dataset).class_folders or len(dataset.splits) < 2:
        return None
    folders = _class_folders(dataset)
    every = sorted({name for names in folders.values() for name in names})
    places: list[Place] = []
    texts = []
    for split in dataset.splits:
        lacking = [name for name in every if name not in folders[split]]
        if lacking and folders[split]:
            texts.append(f"{split} lacks {named(lacking, 3)}")
            parent = posixpath.dirname(next(iter(folders[split].values())))
            places += [Place(file=parent, class_name=name, split=split, detail=f"no folder {name} in {parent}") for name in lacking]
    if not places:
        return None
    n = len({place.class_name for place in places})
    return Found(n, f"{plural(n, 'class folder is', 'class folders are')} not in every split: {'; '.join(texts)}", places=places)


def class_folder_empty(dataset: Dataset, facts: Facts) -> Found | None:
    """Flag class folders without images.

    **Why it matters.** torchvision stops with FileNotFoundError, unless empty folders are allowed; then the class is never seen.

    **Usual cause.** Folders made before the images were sorted, or images lost or of a kind that is not read.

    **What to do.** Put images in, or delete the folder in every split.
    """
    if not format_of(dataset).class_folders:
        return None
    used = set(dataset.images.source.tolist())
    empty = {source for row, source in enumerate(dataset.sources) if row not in used}
    places = [
        Place(file=source, class_name=name, split=split)
        for split, names in _class_folders(dataset).items()
        for name, source in names.items()
        if source in empty
    ]
    if not places:
        return None
    message = f"{plural(len(places), 'class folder holds', 'class folders hold')} no image: {named([str(p.file) for p in places], 3)}"
    return Found(len(places), message, places=places)


def class_folder_hidden(dataset: Dataset, facts: Facts) -> Found | None:
    """Flag hidden and junk folders where the class folders are.

    **Why it matters.** torchvision takes every folder for a class, `.ipynb_checkpoints` and `__MACOSX` too: one class more, and all
    numbers shifted. They are left out here.

    **Usual cause.** A notebook opened in the folder, or an archive made on a Mac.

    **What to do.** Delete them.
    """
    return reported(facts, "class-folder-hidden", "hidden folder among the classes", "hidden folders among the classes")


# Identical and similar images -----------------------------------------------------------------------------------------


def split_leakage(dataset: Dataset, facts: Facts) -> Found | None:
    """Flag images that lie in several splits: identical ones, and nearly identical ones.

    **Why it matters.** A model that has trained on an image recognises it, and its near copies, in the test. The score is too good and
    says nothing about new images.

    **Usual cause.** Unknown copies when the dataset was split at random; augmentation before splitting; frames of one video.

    **What to do.** `dataset-doctor split` keeps such groups together. By hand: move each group to train, then measure again.

    An error where pairs leave no doubt, which then are all that is listed; a warning where images are only likely to be from one shot.
    """
    if facts.duplicates is None or len(dataset.splits) < 2:
        return None
    duplicates = facts.duplicates
    # Images that no list names belong to no split; they cannot leak before someone uses them.
    member = _member(dataset)
    certain, likely = (_in_several(dataset, number, member) for number in (duplicates.certain_group, duplicates.near_group))
    groups, partners = zip(*(certain or likely), strict=True) if likely else ((), ())
    if not groups:
        return None
    identical = sum(bool(_spanned(group, duplicates.exact_group, member)) for group in groups)
    sure = {row for group, _ in certain for row in group.tolist()}
    others = sum(sure.isdisjoint(group.tolist()) for group, _ in likely)
    first, second = dataset.images.file_name[[groups[0][0], partners[0][0]]]
    alike = "identical or nearly identical images" if certain else "images that are likely to be from one shot"
    message = f"{plural(len(groups), 'group', 'groups')} of {alike} in several splits"
    message += f", {identical:,} with identical ones" if identical else ""
    message += f"; {'it is' if len(groups) == 1 else 'the first is'} {first} and {second}"
    message += f"; {plural(others, 'more is', 'more are')} likely" if certain and others else ""
    text = "same image, or nearly, as" if certain else "likely to be from one shot with"
    return groups_found(dataset, groups, partners, text, message, None if certain else Severity.WARNING)


def _in_several(dataset: Dataset, number: NDArray[np.int32], member: NDArray[np.bool_]) -> list[tuple[Rows, Rows]]:
    """Give the groups of images that lie in several splits; beside each row of theirs, the first row that lies in another split."""
    found: list[tuple[Rows, Rows]] = []
    for every in image_groups(dataset, number):
        group = every[member[every].any(axis=1)]
        kinds, kind = np.unique(member[group], axis=0, return_inverse=True)
        if len(group) < 2 or kinds.any(axis=0).sum() < 2:
            continue
        # Each goes with the first one that is in other splits; where all are in the same several, with any other.
        first = np.array([np.flatnonzero(kind.ravel() == k)[0] for k in range(len(kinds))])
        other = np.array([np.delete(first, k).min(initial=len(group)) for k in range(len(kinds))])[kind.ravel()]
        found.append((group, np.where(other < len(group), group[np.minimum(other, len(group) - 1)], with_first(group))))
    return found


def _spanned(group: Rows, exact_group: NDArray[np.int32], member: NDArray[np.bool_]) -> bool:
    """Tell whether identical images of a group lie in several splits."""
    exact = exact_group[group]
    return any(member[group[exact == number]].any(axis=0).sum() > 1 for number in np.unique(exact[exact >= 0]).tolist())
