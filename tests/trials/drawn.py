"""Images to train on, as arrays and as files: a colour a class under noise, and handwritten digits with a long tail."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from dataset_doctor.trials.images import Data, Pictures
from dataset_doctor.trials.settings import Settings

COLOURS = np.array([[200, 60, 60], [60, 180, 60], [70, 70, 200], [190, 180, 50]])

QUICK = Settings(model="cifar_resnet8", size=16, steps=12, batch=8, evaluations=3, warmup=0.1, augment="light")
"""A training in a second or less."""


def noisy(label: int, side: int, rng: np.random.Generator) -> NDArray[np.uint8]:
    """Draw an image of a class: its colour, under coarse and fine noise, so that no two are alike."""
    coarse = np.kron(rng.normal(0, 40, (4, 4, 3)), np.ones((side // 4, side // 4, 1)))
    return np.clip(COLOURS[label] + coarse + rng.normal(0, 25, (side, side, 3)), 0, 255).astype(np.uint8)


def pictures(labels: Sequence[int], side: int, seed: int) -> Pictures:
    """Draw images of these classes, an image each."""
    rng = np.random.default_rng(seed)
    pixels = np.stack([noisy(label, side, rng) for label in labels])
    n = len(labels)
    return Pictures(torch.from_numpy(pixels), np.array(labels, np.int64), np.arange(n), np.full((n, 4), np.nan))


def drawn(counts: Sequence[int] = (24, 12, 6), *, side: int = 16, held_out: int = 6) -> Data:
    """Make training images by class, and as many of each class in val and test."""
    k = len(counts)
    train = pictures(np.repeat(np.arange(k), counts).tolist(), side, 1)
    rest = np.repeat(np.arange(k), held_out).tolist()
    return data(train, pictures(rest, side, 2), pictures(rest, side, 3), tuple("abcdefghij"[:k]))


def data(train: Pictures, val: Pictures, test: Pictures, names: tuple[str, ...]) -> Data:
    """Put splits together."""
    values = train.pixels.numpy().reshape(-1, 3) / 255
    red, green, blue = values.mean(axis=0).tolist()
    spread = tuple(values.std(axis=0).tolist())
    counts = np.bincount(train.label, minlength=len(names)).astype(np.int64)
    return Data(names, train, val, test, (red, green, blue), spread, train.pixels.shape[1], False, counts)  # type: ignore[arg-type]


def long_tailed_digits(largest: int = 90, ratio: float = 30.0) -> Data:
    """Take scikit-learn's digits, so many of a class that the last has `ratio` times fewer than the first; val and test are even."""
    from sklearn.datasets import load_digits

    digits = load_digits()
    pixels = np.repeat(np.round(digits.images * (255 / 16)).astype(np.uint8)[..., None], 3, axis=3)
    order = np.random.default_rng(0).permutation(len(pixels))
    rows: dict[str, list[int]] = {"train": [], "val": [], "test": []}
    for digit in range(10):
        mine = order[digits.target[order] == digit]
        n = int(largest * ratio ** (-digit / 9))
        rows["test"] += mine[:50].tolist()
        rows["val"] += mine[50:75].tolist()
        rows["train"] += mine[75 : 75 + n].tolist()
    parts = [
        Pictures(torch.from_numpy(pixels[at]), digits.target[at].astype(np.int64), np.arange(len(at)), np.full((len(at), 4), np.nan))
        for at in rows.values()
    ]
    return data(*parts, tuple("0123456789"))


def write_folders(root: Path, counts: Mapping[str, Sequence[int]], *, side: int = 24, seed: int = 0) -> Path:
    """Write class folders: `counts` gives for each split the images of each class."""
    rng = np.random.default_rng(seed)
    for split, numbers in counts.items():
        for label, n in enumerate(numbers):
            folder = root / split / "abcd"[label]
            folder.mkdir(parents=True, exist_ok=True)
            for at in range(n):
                Image.fromarray(noisy(label, side, rng)).save(folder / f"{split}{label}{at:03}.png")
    return root
