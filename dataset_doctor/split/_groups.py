"""Which images stay together: all that a leakage check can see (`relations`, near-duplicates), and what a pattern of the user's adds."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from dataset_doctor.dataset import Dataset
from dataset_doctor.errors import UsageError
from dataset_doctor.files.progress import Progress
from dataset_doctor.files.splits import is_split_name
from dataset_doctor.findings import plural
from dataset_doctor.formats import flat_names_of
from dataset_doctor.pixels import Duplicates
from dataset_doctor.relations import Labels, Video, same_names, sources, videos

NEAR_DUPLICATES, NONE = "near-duplicates", "none"

VIDEOS_NAMED = 3

IS_OFF = "Grouping is off: "
"""What the note begins with that says what it costs."""


def group_images(
    dataset: Dataset, group_by: str, duplicates: Duplicates | None, ratios: NDArray[np.float64], progress: Progress
) -> tuple[NDArray[np.intp], tuple[str, ...]]:
    """Give the number of each image's group, numbered from 0 without gaps, and notes for a reader.

    Args:
        dataset: The dataset.
        group_by: "near-duplicates" for all that a leakage check can see; a pattern that adds to this, of which the first group (or all that
            it finds) names an image's group; or "none" for nothing but the rows of one file or those that repeat one image.
        duplicates: What the leakage check joins. None: the image files are looked into here.
        ratios: The shares of the splits; a video that is larger than the largest of them is cut.
        progress: Called as the files are looked into.

    Raises:
        UsageError: the pattern is none, finds nothing, or takes forever.
    """
    files: dict[str, int] = {}
    of_file = np.array([files.setdefault(name, len(files)) for name in dataset.images.file_name.tolist()], np.intp)
    same: list[Labels] = [dataset.images.picture.astype(np.intp), of_file]
    if group_by == NONE:
        return _joined(same), (_cost(dataset, same, duplicates),)
    notes: list[str] = []
    if group_by != NEAR_DUPLICATES:
        key, note = _by_pattern(dataset, group_by)
        same.append(key)
        notes += note
    if duplicates is None:
        duplicates = _looked_for(dataset, progress)
    if duplicates is None:
        notes.append("No image files were found, so near-duplicates could not be looked for; only names tell which images stay together.")
    else:
        same.append(duplicates.near_group.astype(np.intp))
        notes += _together(dataset, same[-1], "they are nearly the same image or the same")
    namings = _namings(dataset)
    by_name = _named_alike(dataset, namings)
    same += by_name
    notes += _together(dataset, _joined(by_name), "their names say that they come from one source")
    found = _videos(dataset, namings)
    pieces, cut = _in_pieces(found, same, ratios)
    if found:
        shown = ", ".join(f"{video.name}…" for video in found[:VIDEOS_NAMED])
        frames = len(np.unique(np.concatenate([video.rows for video in found])))
        notes.append(f"{plural(frames, 'image')} of {plural(len(found), 'video')} by their names ({shown}) stay together.")
    notes += cut
    return _joined([*same, *pieces]), tuple(notes)


def _joined(labels: Sequence[Labels]) -> NDArray[np.intp]:
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


def _together(dataset: Dataset, label: Labels, why: str) -> list[str]:
    """Say how many images stay with others; rows that are stated to repeat one image count once."""
    rows = np.flatnonzero(~dataset.images.is_repeat & (label >= 0))
    size = np.bincount(label[rows], minlength=1)
    several = int(size[size > 1].sum())
    return [f"{plural(several, 'image')} in {plural(int((size > 1).sum()), 'group')} stay together because {why}."] if several else []


def _looked_for(dataset: Dataset, progress: Progress) -> Duplicates | None:
    """Look into the image files for near-duplicates, as the audit does; None where there is none."""
    if not dataset.images.has_file.any():
        return None
    from dataset_doctor.scan import look

    return look(dataset, progress=progress)[1]


def _namings(dataset: Dataset) -> list[list[str]]:
    """Give the paths that the images have, and those that they will have: where several are put into one folder, names tell more."""
    return [dataset.images.file_name.tolist(), flat_names_of(dataset)]


def _named_alike(dataset: Dataset, namings: Sequence[list[str]]) -> list[Labels]:
    """Label the images whose names say that they come from one source, or do so within a folder."""
    labels: list[Labels] = []
    for names in namings:
        found = sources(dataset, names)
        labels += [found.label, found.beside, same_names(dataset, names)]
    return labels


def _videos(dataset: Dataset, namings: Sequence[list[str]]) -> list[Video]:
    found: dict[bytes, Video] = {}
    for names in namings:
        for video in videos(dataset, names):
            found.setdefault(video.rows.tobytes(), video)
    return sorted(found.values(), key=lambda video: video.name)


def _in_pieces(found: Sequence[Video], same: Sequence[Labels], ratios: NDArray[np.float64]) -> tuple[list[Labels], list[str]]:
    """Label the frames of each video; one that no split can hold is cut, where the least is lost, into pieces as large as the splits.

    Nothing that is joined for another reason is cut.
    """
    n = len(same[0])
    tied = _joined(same)
    labels, cut = [], []
    whole = [_of_rows(video.rows, n) for video in found]
    group = _joined([*same, *whole]) if whole else tied
    size = np.bincount(group, minlength=1)
    too_few = int(group.max(initial=-1)) + 1 < len(ratios)
    for video, label in zip(found, whole, strict=True):
        if size[group[video.rows[0]]] <= ratios.max() * n and not too_few:
            labels.append(label)
            continue
        at = _cuts(tied[video.rows], ratios)
        pieces = np.zeros(len(video.rows), np.intp)
        pieces[at] = 1
        label[video.rows] = pieces.cumsum()
        labels.append(label)
        if len(at):
            cut.append(
                f"The video {video.name}… ({plural(len(video.rows), 'image')}) is more than one split can hold and is cut into"
                f" {len(at) + 1:,} pieces: its frames on both sides of a cut are alike, so the scores are a little too good."
            )
    return labels, cut


def _of_rows(rows: NDArray[np.intp], n: int) -> Labels:
    label = np.full(n, -1, np.intp)
    label[rows] = 0
    return label


def _cuts(tied: NDArray[np.intp], ratios: NDArray[np.float64]) -> NDArray[np.intp]:
    """Choose where to cut frames in order: near the bounds of the splits, and where no group of images has frames on both sides."""
    n = len(tied)
    _, of = np.unique(tied, return_inverse=True)
    last = np.zeros(int(of.max(initial=-1)) + 1, np.intp)
    last[of] = np.arange(n)  # the last wins
    allowed = np.flatnonzero(np.maximum.accumulate(last[of]) == np.arange(n))[:-1] + 1
    if not len(allowed):
        return allowed
    wanted = np.cumsum(np.sort(ratios)[::-1])[:-1] * n
    return np.unique(allowed[np.abs(allowed[:, None] - wanted).argmin(axis=0)])


def _cost(dataset: Dataset, same: Sequence[Labels], duplicates: Duplicates | None) -> str:
    """Say what it costs that nothing is grouped."""
    namings = _namings(dataset)
    labels = _named_alike(dataset, namings)
    labels += [_of_rows(video.rows, dataset.n_images) for video in _videos(dataset, namings)]
    known = [] if duplicates is None else [duplicates.near_group.astype(np.intp)]
    group, alone = _joined([*same, *labels, *known]), _joined(same)
    joined = np.unique(np.stack([group, alone], axis=1), axis=0)[:, 0]
    size = np.bincount(joined, minlength=1)[group]
    n = int(((size > 1) & ~dataset.images.is_repeat).sum())
    by = "" if known else " by their names; near-duplicates were not looked for"
    told = f"{plural(n, 'image belongs', 'images belong')} together with others{by}" if n else "near-duplicates were not looked for"
    return f"{IS_OFF}{told}. Those that fall into different splits leak, and scores are then too good; an audit shows them."


# Patterns -----------------------------------------------------------------------------------------------------------


def _by_pattern(dataset: Dataset, pattern: str) -> tuple[Labels, list[str]]:
    """Give each image a number for what the pattern finds in its name, -1 where nothing; and a note on those without a match.

    It sees the file's own name; if it holds a `/`, the path below the dataset without the folders of splits. RE2 searches in a time that
    grows with the length of the name, whatever the pattern.
    """
    import re2

    paths: list[str] = dataset.images.file_name.tolist()
    names = [_without_splits(path) if "/" in pattern else path.rpartition("/")[2] for path in paths]
    options = re2.Options()
    options.log_errors = False
    try:
        compiled = re2.compile(_as_bytes(pattern), options)
    except re2.error as error:
        why = error.args[0].decode("utf-8", "replace")
        raise UsageError(
            f"`group_by={pattern}` is not a valid pattern: {why}.",
            "Give near-duplicates, none, or a regular expression as RE2 reads it: as Python's, without lookarounds and back references.",
        ) from None
    group = 1 if compiled.groups else 0
    found = [match and match[group] for match in (compiled.search(_as_bytes(name)) for name in names)]
    number: dict[bytes, int] = {}
    key = np.array([-1 if name is None else number.setdefault(name, len(number)) for name in found], np.intp)
    without = int((key < 0).sum())
    if without == len(names):
        where = "the path of each image without split folders" if "/" in pattern else "the file name of each image, without its folder"
        example = f", such as {names[0]}" if names else ""
        raise UsageError(f"The pattern {pattern} matches no image.", f"It is searched for in {where}{example}.")
    verb = "does not match the pattern" if without == 1 else "do not match the pattern"
    return key, [f"{plural(without, 'image')} {verb}."] if without else []


def _as_bytes(text: str) -> bytes:
    """Give a name, or a pattern for names, as the file system has it."""
    return text.encode("utf-8", "surrogateescape")


def _without_splits(path: str) -> str:
    *folders, name = path.split("/")
    return "/".join([*(folder for folder in folders if not is_split_name(folder)), name])
