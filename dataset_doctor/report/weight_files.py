"""Class weights as files: the documented JSON and YAML, a table, and the arrays that trainers load."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any

import numpy as np

from dataset_doctor.errors import UsageError, did_you_mean, needs
from dataset_doctor.report import check_file, put
from dataset_doctor.report.audit.csv import cell
from dataset_doctor.report.audit.json import document
from dataset_doctor.weights import EXPORTERS, ClassWeights, export


def json_file(weights: ClassWeights) -> bytes:
    """Write the document (schema "dataset-doctor/weights")."""
    return document(weights.to_dict()).encode("ascii")


def yaml_file(weights: ClassWeights) -> bytes:
    """Write the same document as YAML: one line a list, all of it ASCII."""
    import yaml

    text: str = yaml.safe_dump(weights.to_dict(), sort_keys=False, default_flow_style=None, width=2**31)
    return text.encode("ascii")


def csv_file(weights: ClassWeights) -> bytes:
    """Write `class,count,weight`, one row a class in class order; names are escaped as in the report's table."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(["class", "count", "weight"])
    for name, count, weight in zip(weights.classes, weights.counts, weights.weights, strict=True):
        writer.writerow([cell(name), count, repr(weight)])
    return out.getvalue().encode("utf-8")


def npy_file(weights: ClassWeights) -> bytes:
    """Write float64 (classes,), in class order."""
    out = io.BytesIO()
    np.save(out, np.array(weights.weights, np.float64), allow_pickle=False)
    return out.getvalue()


def pt_file(weights: ClassWeights) -> bytes:
    """Write a float32 tensor (classes,), in class order, that `torch.load(weights_only=True)` reads.

    Raises:
        UsageError: PyTorch is not installed.
    """
    try:
        import torch
    except Exception as error:  # a broken installation raises what it likes
        raise needs("A .pt file", "torch", error, "train", ", or write .npy") from error
    out = io.BytesIO()
    torch.save(torch.tensor(weights.weights, dtype=torch.float32), out)
    return out.getvalue()


FILES: dict[str, Callable[[ClassWeights], bytes]] = {
    ".json": json_file,
    ".yaml": yaml_file,
    ".csv": csv_file,
    ".npy": npy_file,
    ".pt": pt_file,
}


def is_export(path: Path, trainer: str | None) -> bool:
    """Tell whether a file is the trainer's own rather than one of weights, by its suffix."""
    return trainer is not None and path.suffix.lower() in EXPORTERS[trainer].files


def check_targets(paths: Collection[Path], trainer: str | None = None) -> None:
    """Refuse files that could not be written, before anything is counted.

    Raises:
        UsageError: a suffix that stands for no form of weights.
        OutputRefused: a folder or device lies there, or its folder is missing or cannot be written.
    """
    for path in paths:
        known = [*FILES, *(EXPORTERS[trainer].files if trainer else ())]
        if path.suffix.lower() not in known:
            of_trainers = sorted(name for name, made in EXPORTERS.items() if path.suffix.lower() in made.files)
            hint = f"Say for which trainer: `trainer={', '.join(of_trainers)}`." if of_trainers else did_you_mean(path.suffix, known)
            raise UsageError(f"Weights cannot be written as {path.suffix or 'a file without a suffix'}.", hint)
        check_file(path)


def save(weights: ClassWeights, path: Path, *, root: str, trainer: str | None = None) -> None:
    """Write the weights into a file, at once and whole; its suffix says in which form.

    Args:
        weights: What `weigh` gave.
        path: `.json .yaml .csv .npy .pt`, or what the trainer takes.
        root: Folder of the dataset, whose own files are never overwritten.
        trainer: A name in EXPORTERS.

    Raises:
        UsageError, OutputRefused: as for `check_targets`; or the file is one of the dataset's own.
    """
    check_targets([path], trainer)
    suffix = path.suffix.lower()
    content = export(trainer, weights, suffix).encode("utf-8") if trainer and is_export(path, trainer) else FILES[suffix](weights)
    put(path, content, root=root, what="a file of weights")


def plain(weights: ClassWeights, trainer: str | None = None) -> dict[str, Any]:
    """Give the document, with the trainer's file under `export` where one is named."""
    members = weights.to_dict()
    if trainer is not None:
        members["export"] = {"for": trainer, "suffix": next(iter(EXPORTERS[trainer].files)), "content": export(trainer, weights)}
    return members
