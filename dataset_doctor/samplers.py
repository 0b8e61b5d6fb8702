"""Samplers that show some images more often than others. They need torch: `pip install '.[train]'`.

Every process draws the whole epoch's list from (seed, epoch) and takes every `num_replicas`-th entry of it, beginning at its rank:
without a word between them, the parts are disjoint entries of one list, of equal length, and a new list each epoch. Call
`set_epoch` before each epoch; without it, each is the same. The state is three whole numbers, fit for any checkpoint.
"""

from __future__ import annotations

import os
import zlib
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import distributed
from torch.utils.data import Sampler

from dataset_doctor.errors import UsageError

PerImage: TypeAlias = torch.Tensor | NDArray[Any] | Sequence[float]


class _EpochSampler(Sampler[int], ABC):
    """One process's part of a list of images that each epoch draws anew; how it is drawn is up to the subclass."""

    def __init__(self, *, seed: int, num_replicas: int | None, rank: int | None, drop_last: bool) -> None:
        if seed < 0:
            raise UsageError(f"The seed is {seed}.", "Give 0 or more.")
        self.seed = seed
        self.num_replicas, self.rank = _place(num_replicas, rank)
        self.drop_last = drop_last
        self.epoch = 0
        self._drawn: tuple[int, NDArray[np.int64]] | None = None
        self._start = self._handed_out = 0

    @abstractmethod
    def _draw(self, rng: np.random.Generator) -> NDArray[np.int64]:
        """Draw an epoch's list of images, for all processes together."""

    def whole_epoch(self) -> NDArray[np.int64]:
        """Give the epoch's list of images, for all processes together, before it is padded or cut."""
        if self._drawn is None or self._drawn[0] != self.epoch:
            self._drawn = self.epoch, self._draw(np.random.default_rng((self.seed, self.epoch)))
        return self._drawn[1]

    def __len__(self) -> int:
        """Count the images of this process in the current epoch, those before a resumed position included."""
        images = len(self.whole_epoch())
        return images // self.num_replicas if self.drop_last else -(-images // self.num_replicas)

    def __iter__(self) -> Iterator[int]:
        """Hand out this process's images, in an epoch that was resumed from where it had stopped."""
        # np.resize repeats the list from its beginning where it has to fill up.
        part = np.resize(self.whole_epoch(), len(self) * self.num_replicas)[self.rank :: self.num_replicas]
        self._handed_out, self._start = self._start, 0
        for image in part[self._handed_out :].tolist():
            self._handed_out += 1
            yield image

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch to draw. The epoch that a loaded state is in keeps its position; any other begins at its beginning."""
        if epoch < 0:
            raise UsageError(f"The epoch is {epoch}.", "Epochs count from 0.")
        if epoch != self.epoch:
            self.epoch, self._start, self._handed_out = epoch, 0, 0

    def state_dict(self, consumed: int | None = None) -> dict[str, int]:
        """Say where the epoch stands, for a checkpoint; the same on every rank.

        `consumed` is the number of images that this process has trained on in this epoch, those before an earlier stop included:
        batches done × batch size. Without it, it is how many images have been handed out. That is the same in a loop without
        workers; a DataLoader with workers fetches ahead of the training, so that images would be left out.
        """
        images = self._handed_out if consumed is None else consumed
        if not 0 <= images <= len(self):
            raise UsageError(f"{images:,} images consumed of an epoch of {len(self):,}.", "Count this process's images of this epoch.")
        return {"epoch": self.epoch, "consumed": images * self.num_replicas, "list": self._checksum()}

    def load_state_dict(self, state: Mapping[str, int]) -> None:
        """Go back to where a state was taken: the next iteration hands out the rest of that epoch.

        The number of processes may have changed since; at most `num_replicas` - 1 images are then seen again. Raises UsageError
        where this sampler's list for that epoch is another, because its images, factors, seed or numpy's version are.
        """
        earlier = self.epoch
        self.epoch = state["epoch"]
        if self._checksum() != state["list"]:
            self.epoch = earlier
            raise UsageError(
                f"The saved position is in another list of images than this sampler draws for epoch {state['epoch']:,}.",
                "Resume with the same images in the same order, the same factors or weights, seed, and numpy.",
            )
        self._start = self._handed_out = min(state["consumed"] // self.num_replicas, len(self))

    def _checksum(self) -> int:
        return zlib.crc32(self.whole_epoch().astype("<i8").tobytes())


class RepeatSampler(_EpochSampler):
    """Show each image `repeats` times an epoch: as often as the whole part says, and once more with the fraction as probability.

    Args:
        repeats: (n,) numbers of 0 or more, one an image, in the dataset's order. 0 leaves an image out, 1 shows it once.
        seed: with the epoch, all that chance depends on.
        num_replicas, rank: how many processes train and which is this; by default what `torch.distributed` says, else what the
            launcher has put into WORLD_SIZE and RANK, else 1 and 0.
        shuffle: whether the list is in random order, else in the dataset's with repeats side by side.
        drop_last: whether a list that the processes cannot share evenly is cut; else it is filled up from its beginning.

    `len()` changes from epoch to epoch unless the factors are whole numbers.

    Source: Gupta et al. 2019, LVIS, for the idea; the rounding by chance is that of detectron2.

    >>> sampler = RepeatSampler([1, 3, 0, 0.5], seed=0, shuffle=False)
    >>> list(sampler)
    [0, 1, 1, 1, 3]
    >>> sampler.set_epoch(1)
    >>> list(sampler)
    [0, 1, 1, 1]
    """

    def __init__(
        self,
        repeats: PerImage,
        *,
        seed: int = 0,
        num_replicas: int | None = None,
        rank: int | None = None,
        shuffle: bool = True,
        drop_last: bool = False,
    ) -> None:
        super().__init__(seed=seed, num_replicas=num_replicas, rank=rank, drop_last=drop_last)
        self.repeats = _numbers("repeats", repeats)
        self.shuffle = shuffle

    def _draw(self, rng: np.random.Generator) -> NDArray[np.int64]:
        whole = np.floor(self.repeats)
        once_more = rng.random(len(whole)) < self.repeats - whole
        images = np.repeat(np.arange(len(whole)), (whole + once_more).astype(np.int64))
        return rng.permutation(images) if self.shuffle else images


class WeightedSampler(_EpochSampler):
    """Draw `num_samples` images an epoch, with replacement, each with a probability in proportion to its weight.

    As `torch.utils.data.WeightedRandomSampler`, which knows neither processes nor positions. A rare image comes as often as its
    weight says only on average; where the epoch should also hold every image, use `RepeatSampler`.

    Args:
        weights: (n,) numbers of 0 or more, one an image, in the dataset's order. Only their ratios matter.
        num_samples: images an epoch, of all processes together; by default n.
        seed, num_replicas, rank, drop_last: as in `RepeatSampler`.

    >>> list(WeightedSampler([0, 1, 0], num_samples=4))
    [1, 1, 1, 1]
    """

    def __init__(
        self,
        weights: PerImage,
        *,
        num_samples: int | None = None,
        seed: int = 0,
        num_replicas: int | None = None,
        rank: int | None = None,
        drop_last: bool = False,
    ) -> None:
        super().__init__(seed=seed, num_replicas=num_replicas, rank=rank, drop_last=drop_last)
        self.weights = _numbers("weights", weights)
        self.num_samples = len(self.weights) if num_samples is None else num_samples
        if self.num_samples < 1:
            raise UsageError(f"num_samples is {num_samples}.", "Draw at least 1 image.")

    def _draw(self, rng: np.random.Generator) -> NDArray[np.int64]:
        return rng.choice(len(self.weights), size=self.num_samples, p=self.weights / self.weights.sum())


def _place(num_replicas: int | None, rank: int | None) -> tuple[int, int]:
    """Find how many processes there are and which this is."""
    if (num_replicas is None) != (rank is None):
        raise UsageError("Only one of num_replicas and rank is given.", "Give both or neither.")
    if num_replicas is None or rank is None:
        if distributed.is_available() and distributed.is_initialized():
            num_replicas, rank = distributed.get_world_size(), distributed.get_rank()
        else:
            # A sampler made before init_process_group would otherwise give every process the whole list, without a word.
            num_replicas, rank = int(os.environ.get("WORLD_SIZE", "1")), int(os.environ.get("RANK", "0"))
    if not 0 <= rank < num_replicas:
        raise UsageError(f"There is no rank {rank} among {num_replicas} processes.", "Ranks count from 0.")
    return num_replicas, rank


def _numbers(name: str, values: PerImage) -> NDArray[np.float64]:
    """Copy one number an image into an array, and refuse what cannot be drawn from."""
    numbers = np.array(values.tolist() if isinstance(values, torch.Tensor) else values, dtype=np.float64)
    if numbers.ndim != 1 or not len(numbers):
        raise UsageError(f"{name} has the shape {numbers.shape}.", "Give one number an image, in the dataset's order.")
    wrong = np.flatnonzero(~(np.isfinite(numbers) & (numbers >= 0)))
    if len(wrong):
        raise UsageError(f"{name}[{wrong[0]}] is {numbers[wrong[0]]}.", "Give a number of 0 or more for each image.")
    if not numbers.any():
        raise UsageError(f"{name} is 0 for every image.", "Nothing would be drawn.")
    return numbers
