"""Which images stay together: rows of one file or one picture, near-duplicates, sources by name, and what a pattern of the user's says."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from dataset_doctor.checks.splits import PLAIN_NUMBER, image_stems, sources_by_name, videos_by_name
from dataset_doctor.dataset import Dataset
from dataset_doctor.errors import UsageError
from dataset_doctor.findings import plural
from dataset_doctor.formats._files import Progress
from dataset_doctor.pixels import Duplicates

NEAR_DUPLICATES, NONE = "near-duplicates", "none"

PATTERN_SECONDS, PATTERN_SECONDS_AN_IMAGE = 5.0, 2e-5
"""How long a pattern may take: a usual one takes a millionth of a second an image."""

VIDEOS_NAMED = 3

_PROGRAM = """
import json, re, sys
pattern, names = json.load(sys.stdin)
try:
    search = re.compile(pattern).search
    group = 1 if re.compile(pattern).groups else 0
except (re.error, RecursionError, OverflowError) as error:
    json.dump(str(error) or "too deep", sys.stdout)
else:
    json.dump([found and found[group] for found in map(search, names)], sys.stdout)
"""


def group_images(
    dataset: Dataset, group_by: str, duplicates: Duplicates | None, progress: Progress
) -> tuple[NDArray[np.intp], tuple[str, ...]]:
    """Give the number of each image's group, numbered from 0 without gaps, and notes for a reader.

    Args:
        dataset: The dataset.
        group_by: "near-duplicates", "none", or a pattern of which the first group (or all that it finds) names an image's group.
        duplicates: What the leakage check joins. None: for near-duplicates, the image files are looked into here.
        progress: Called as the files are looked into.

    Raises:
        UsageError: the pattern is none, finds nothing, or takes forever.
    """
    files: dict[str, int] = {}
    of_file = np.array([files.setdefault(name, len(files)) for name in dataset.images.file_name.tolist()], np.intp)
    labels: list[NDArray[np.intp]] = [dataset.images.picture.astype(np.intp), of_file]
    notes: list[str] = []
    if group_by == NEAR_DUPLICATES:
        if duplicates is None:
            duplicates = _looked_for(dataset, progress)
        names, together = _named_alike(dataset)
        labels.append(names)
        if duplicates is None:
            notes.append(
                "No image file is at hand, so near-duplicates could not be looked for; only names tell which images stay together."
            )
        if together:
            verb = "stays with another" if together == 1 else "stay with others"
            notes.append(f"{plural(together, 'image')} {verb} because their names say that they are of one picture.")
    elif group_by != NONE:
        key, without = _by_pattern(dataset, group_by)
        labels.append(key)
        if without:
            verb = "does not match the pattern and is a group of its own" if without == 1 else (
                "do not match the pattern and are groups of their own"
            )  # fmt: skip
            notes.append(f"{plural(without, 'image')} {verb}.")
    if duplicates is not None and group_by != NONE:
        labels.append(duplicates.near_group.astype(np.intp))
    if group_by in (NEAR_DUPLICATES, NONE):
        notes += _videos(dataset)
    return _joined(labels), tuple(notes)


def _joined(labels: Sequence[NDArray[np.intp]]) -> NDArray[np.intp]:
    """Join images that share a label of any kind, and those joined to them; -1 is no label. Groups are numbered by their first image."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    n = len(labels[0])
    images, nodes, start = [], [], n
    for label in labels:
        rows = np.flatnonzero(label >= 0)
        images.append(rows)
        nodes.append(start + label[rows])
        start += int(label.max(initial=-1)) + 1
    of, at = np.concatenate(images), np.concatenate(nodes)
    edges = coo_array((np.ones(len(of), np.int8), (of, at)), shape=(start, start))
    component = connected_components(edges, directed=False)[1][:n]
    _, first, number = np.unique(component, return_index=True, return_inverse=True)
    ordered: NDArray[np.intp] = np.argsort(np.argsort(first))[number].astype(np.intp)
    return ordered


def _looked_for(dataset: Dataset, progress: Progress) -> Duplicates | None:
    """Look into the image files for near-duplicates, as the audit does; None where there is none."""
    if not dataset.images.has_file.any():
        return None
    from dataset_doctor.scan import scan, thumbnails
    from dataset_doctor.scan.near import find_duplicates

    pixels = scan(dataset, progress=progress)
    return find_duplicates(dataset, pixels, thumbnails=thumbnails(dataset, pixels, progress=progress))


def _named_alike(dataset: Dataset) -> tuple[NDArray[np.intp], int]:
    """Give each image the number of the picture that its name tells, -1 where it tells none; and how many share theirs with another.

    A name that many pictures may have, such as 1.jpg, tells only of images made from it that lie in the same folder.
    """
    stems = image_stems(dataset)
    bare = sources_by_name(stems)
    folders = [name.rpartition("/")[0] for name in dataset.images.file_name.tolist()]
    made_from = {(folder, source) for folder, source, stem in zip(folders, bare, stems, strict=True) if source != stem}
    number: dict[tuple[str, str], int] = {}
    label = np.full(len(stems), -1, np.intp)
    for row, (folder, source) in enumerate(zip(folders, bare, strict=True)):
        plain = PLAIN_NUMBER.fullmatch(source) is not None
        if not plain or (folder, source) in made_from:
            label[row] = number.setdefault((folder if plain else "", source), len(number))
    size = np.bincount(label[label >= 0], minlength=1)
    # Rows that are stated to repeat one picture share its name, of course.
    first = ~dataset.images.is_repeat & (label >= 0)
    several = np.bincount(label[first], minlength=len(size)) > 1
    return label, int(size[several].sum())


def _videos(dataset: Dataset) -> list[str]:
    """Propose a pattern where names look like frames of videos, with the evidence."""
    stems = image_stems(dataset)
    videos = videos_by_name(stems)
    if not videos:
        return []
    names = sorted(videos)
    shown = ", ".join(f"{name}…" for name in names[:VIDEOS_NAMED])
    frames = sum(map(len, videos.values()))
    end = r"(?:_[a-z]+)?\.rf\." if any(".rf." in stems[int(rows[0, 1])] for rows in videos.values()) else r"\.\w+$"
    return [
        f"{plural(frames, 'image looks', 'images look')} like frames of {plural(len(videos), 'video')} by their names ({shown})."
        rf" --group-by '^(.*?)[-_ .]?\d{{1,9}}{end}' keeps each video in one split."
    ]


# Patterns -----------------------------------------------------------------------------------------------------------


def _by_pattern(dataset: Dataset, pattern: str) -> tuple[NDArray[np.intp], int]:
    """Give each image a number for what the pattern finds in its path, -1 where nothing; and how many have no match.

    It is searched for in another process that is ended when it takes too long: some patterns take time without end, and nothing else stops
    `re`. (The package regex has a time limit, but other patterns mean the same to it, and it would be one more to install.)
    """
    names = dataset.images.file_name.tolist()
    limit = PATTERN_SECONDS + PATTERN_SECONDS_AN_IMAGE * len(names)
    command = [sys.executable, "-I", "-S", "-W", "ignore", "-c", _PROGRAM]
    try:
        done = subprocess.run(
            command, input=json.dumps([pattern, names]), capture_output=True, encoding="ascii", timeout=limit, check=False, cwd=os.sep
        )
    except subprocess.TimeoutExpired:
        message = f"The pattern {pattern} takes too long: it was not done with {plural(len(names), 'path')} after {limit:.0f} s."
        raise UsageError(message, "Repetitions inside repetitions, as in (a+)+, take forever; write it without.") from None
    found = json.loads(done.stdout) if done.returncode == 0 and done.stdout else "it cannot be searched for"
    if isinstance(found, str):
        raise UsageError(f"--group-by {pattern} is no pattern: {found}.", "Give near-duplicates, none, or a Python regular expression.")
    number: dict[str, int] = {}
    key = np.array([-1 if name is None else number.setdefault(name, len(number)) for name in found], np.intp)
    without = int((key < 0).sum())
    if without == len(names):
        example = f", such as {names[0]}" if names else ""
        raise UsageError(
            f"The pattern {pattern} matches no image.", f"It is searched for in the path of each image below the dataset{example}."
        )
    return key, without
