"""How a dataset is recognised: by evidence and coverage, never by asking."""

from __future__ import annotations

import functools
import os
import shlex
from collections.abc import Callable, Mapping

from dataset_doctor.dataset import FormatName
from dataset_doctor.errors import DatasetNotFound, SeveralDatasets, operand
from dataset_doctor.files.tree import Tree
from dataset_doctor.findings import plural
from dataset_doctor.formats.format import Candidate, Format

Formats = Mapping[FormatName, Format]

DATASETS_NAMED = 60
"""Commands to choose from that are listed, of datasets under one folder."""

PARALLEL_SHARE = 0.2
"""A second format counts as labels for the same images from this share of the main one's images on."""


def recognise(
    formats: Formats, tree: Tree, only: str | None = None, format: str | None = None, *, shown: str | None = None
) -> tuple[Candidate, tuple[Candidate, ...]]:
    """Choose the dataset in a tree; the second value names other labels for the same images.

    Raises:
        DatasetNotFound: with what was looked for.
        SeveralDatasets: with the commands to choose from.
    """
    candidates = _candidates(formats, tree, only, format)
    if not candidates:
        raise _nothing_here(formats, tree, only, format)
    claims_of = functools.cache(lambda candidate: formats[candidate.format].claims(tree, candidate))
    if only is None and format is None:
        candidates += _beside(formats, tree, candidates, claims_of)
    if len(candidates) == 1:
        return candidates[0], ()
    order = list(formats)
    ranked = sorted(candidates, key=lambda c: (-len(claims_of(c)), not c.declared, order.index(c.format), c.root))
    main, others, apart, small = ranked[0], [], [], []
    for other in ranked[1:]:
        here, there = claims_of(main), claims_of(other)
        smaller = min(len(here), len(there))
        if here & there or (not smaller and _nested(main.root, other.root)):
            others.append(other)
        elif formats[other.format].last_resort and smaller < PARALLEL_SHARE * len(here):
            small.append(other)
        elif not smaller or smaller >= PARALLEL_SHARE * len(here) or other.format == main.format or not _nested(main.root, other.root):
            apart.append(other)
        else:
            others.append(other)
    if (apart and format is None) or len({c.root for c in [main, *apart]}) > 1:
        raise _several(tree, [main, *apart, *small], shown or str(tree.root))
    return main, tuple(others)


def _candidates(formats: Formats, tree: Tree, only: str | None = None, format: str | None = None) -> list[Candidate]:
    """Name the datasets in a tree; those of formats that are a last resort only where there are no others."""
    asked = [one for one in formats.values() if format in (None, one.name)]
    labelled = [c for one in asked if not one.last_resort for c in one.detect(tree, only)]
    return labelled or [c for one in asked if one.last_resort for c in one.detect(tree, only)]


def _beside(formats: Formats, tree: Tree, candidates: list[Candidate], claims_of: Callable[[Candidate], frozenset[str]]) -> list[Candidate]:
    """Look for datasets in the folders of the root that have none so far: what lies beside a dataset's folder is none of its own."""
    roots = {c.root for c in candidates}
    if "" in roots or tree.image_root is not None:
        return []
    others = {name.partition("/")[0] for name in tree.images if "/" in name} - {root.partition("/")[0] for root in roots}
    if not others:
        return []
    others -= {name.partition("/")[0] for c in candidates for name in (*c.labels, *claims_of(c))}
    found = []
    for top in sorted(others):
        found += _candidates(formats, tree.below(top))
    return found


def _nested(one: str, other: str) -> bool:
    """Tell whether one folder is the other or lies in it; the root is ""."""
    return not one or not other or f"{one}/".startswith(f"{other}/") or f"{other}/".startswith(f"{one}/")


def _several(tree: Tree, candidates: list[Candidate], shown: str) -> SeveralDatasets:
    """Name the datasets with the command for each, and the path as the user gave it."""
    lines = []
    for c in sorted(candidates, key=lambda c: (c.root, c.format)):
        place = os.path.join(shown, c.root) if c.root else shown
        lines.append(f"dataset-doctor audit {shlex.quote(operand(place))} --format {c.format}")
    if len(lines) > DATASETS_NAMED:
        lines[DATASETS_NAMED:] = [f"… and {len(lines) - DATASETS_NAMED:,} more"]
    return SeveralDatasets(f"{len(candidates)} separate datasets under {shown}. Choose one:", "\n  ".join(lines))


def _nothing_here(formats: Formats, tree: Tree, only: str | None, format: str | None) -> DatasetNotFound:
    what = os.path.join(tree.root, only) if only else str(tree.root)
    kind = f"{format} labels" if format else "labels"
    if only:
        return DatasetNotFound(f"{what} is not a label file of a known format.", "Give a folder, a data.yaml, a COCO .json or a VOC .xml.")
    if not tree.files:
        return DatasetNotFound(f"no dataset here: {what} is empty.")
    *kinds, last = (one.looks_for for one in formats.values())
    looked = f"Looked for {', '.join(kinds)} and {last}."
    if not tree.images:
        return DatasetNotFound(f"no dataset here: {what} holds neither images nor {kind}.", looked)
    parent, name = os.path.split(str(tree.root))
    hint = f"{looked} Labels elsewhere? Give their folder, and `images={shlex.quote(str(tree.root))}`"
    if beside := next((one for one in _folders(parent) if one.lower() in ("annotations", "labels")), None):
        command = f"dataset-doctor audit {shlex.quote(operand(os.path.relpath(parent)))}"
        hint = f"The folder {beside} beside {name} may hold its labels: {command}"
    return DatasetNotFound(f"no dataset here: {what} holds {plural(len(tree.images), 'image')} and no {kind}.", hint)


def _folders(place: str) -> list[str]:
    """Name the folders in a folder; none where it cannot be read."""
    try:
        return sorted(one.name for one in os.scandir(place) if one.is_dir())
    except OSError:
        return []
