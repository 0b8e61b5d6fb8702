"""The samplers: counts an epoch, parts of processes, positions, data loaders, and two real processes that train together."""

from __future__ import annotations

import json
import math
import os
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import distributed, multiprocessing
from torch.nn.parallel import DistributedDataParallel
from torch.utils.data import DataLoader, TensorDataset

from dataset_doctor.errors import UsageError
from dataset_doctor.samplers import RepeatSampler, WeightedSampler

REPEATS = (1.0, 2.5, 0.0, 0.25, 3.0, 1.0, 1.5)
EPOCHS = 4

# Python 3.12 and later say that a fork of a process with threads may hang; torch's loaders fork.
pytestmark = pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")


def repeat(**options: Any) -> RepeatSampler:
    return RepeatSampler(REPEATS, **options)


def weighted(**options: Any) -> WeightedSampler:
    return WeightedSampler(REPEATS, num_samples=11, **options)


BOTH = pytest.mark.parametrize("make", [repeat, weighted])
Make = Callable[..., RepeatSampler | WeightedSampler]


# What is drawn -----------------------------------------------------------------------------------------------------------


def test_whole_factors_are_exact() -> None:
    """Whole numbers need no chance: each image comes exactly that often, in the dataset's order without shuffling."""
    assert list(RepeatSampler([2, 0, 1, 3], shuffle=False)) == [0, 0, 2, 3, 3, 3]
    assert Counter(RepeatSampler([2, 0, 1, 3])) == {0: 2, 2: 1, 3: 3}


def test_fractions_are_rounded_by_chance() -> None:
    """Each image comes floor or ceil of its factor times, over 2,000 epochs the factor on average, and has a chance of its own."""
    sampler = repeat(shuffle=False)
    shown = np.zeros((2000, len(REPEATS)))
    for epoch in range(len(shown)):
        sampler.set_epoch(epoch)
        np.add.at(shown[epoch], list(sampler), 1)

    assert (shown >= np.floor(REPEATS)).all() and (shown <= np.ceil(REPEATS)).all()
    five_standard_errors = 5 * 0.5 / math.sqrt(2000)
    assert np.abs(shown.mean(axis=0) - REPEATS).max() < five_standard_errors
    both_up_or_both_down = shown[:, 1] - 2 == shown[:, 6] - 1
    assert both_up_or_both_down.mean() == pytest.approx(0.5, abs=five_standard_errors)


def test_weights_are_shares() -> None:
    """Images are drawn in proportion to their weights, the zero never; `num_samples` is the length."""
    sampler = WeightedSampler([30, 0, 10], num_samples=40_000)
    drawn = Counter(sampler)

    assert len(sampler) == drawn.total() == 40_000
    assert drawn.keys() == {0, 2}
    assert drawn[0] / 40_000 == pytest.approx(0.75, abs=5 * math.sqrt(0.75 * 0.25 / 40_000))


def test_weights_draw_as_many_as_there_are_images() -> None:
    """Without `num_samples` an epoch is as long as the dataset."""
    assert len(list(WeightedSampler([1, 2, 3]))) == 3


def test_lists_arrays_and_tensors_are_the_same() -> None:
    """However the numbers come, half precision on a graph included, the epoch is the same."""
    expected = list(RepeatSampler([1, 2.5, 0]))

    for numbers in (np.array([1, 2.5, 0]), torch.tensor([1, 2.5, 0]), torch.tensor([1, 2.5, 0], dtype=torch.bfloat16, requires_grad=True)):
        assert list(RepeatSampler(numbers)) == expected


@BOTH
def test_seed_and_epoch_decide(make: Make) -> None:
    """Same seed and epoch, same list; another seed or another epoch, another list."""
    assert list(make(seed=5)) == list(make(seed=5))
    assert list(make(seed=5)) != list(make(seed=6))

    sampler = make()
    first = list(sampler)
    assert list(sampler) == first
    sampler.set_epoch(1)
    second = list(sampler)
    assert second != first
    sampler.set_epoch(0)
    assert list(sampler) == first


@BOTH
def test_shuffled_images_are_not_in_order(make: Make) -> None:
    """By default the list is in random order."""
    assert list(make()) != sorted(make())


@BOTH
def test_length_is_exact_in_each_epoch(make: Make) -> None:
    """`len` before an epoch is what the epoch then hands out; with fractions it is not always the same."""
    sampler = make(num_replicas=2, rank=0)
    lengths = set()
    for epoch in range(30):
        sampler.set_epoch(epoch)
        lengths.add(len(sampler))
        assert len(sampler) == len(list(sampler))

    assert lengths == ({6} if make is weighted else {4, 5, 6})  # 11 images, or 8 to 11, shared by two


# Parts -------------------------------------------------------------------------------------------------------------------


@BOTH
@pytest.mark.parametrize("replicas", [1, 2, 3, 40])
def test_parts_make_the_whole(make: Make, replicas: int) -> None:
    """All ranks are equally long; together they hold the list, filled up from its beginning or cut at its end."""
    whole = make().whole_epoch().tolist()

    filled = [list(make(num_replicas=replicas, rank=rank)) for rank in range(replicas)]
    cut = [list(make(num_replicas=replicas, rank=rank, drop_last=True)) for rank in range(replicas)]

    in_turn = [image for turn in zip(*filled, strict=True) for image in turn]
    assert in_turn == (whole * replicas)[: math.ceil(len(whole) / replicas) * replicas]
    assert [image for turn in zip(*cut, strict=True) for image in turn] == whole[: len(whole) // replicas * replicas]


def test_the_launcher_says_where_this_process_is(monkeypatch: pytest.MonkeyPatch) -> None:
    """Before the process group exists, the launcher's variables do; arguments go first."""
    monkeypatch.setenv("WORLD_SIZE", "3")
    monkeypatch.setenv("RANK", "2")

    assert (repeat().num_replicas, repeat().rank) == (3, 2)
    assert (repeat(num_replicas=1, rank=0).num_replicas, repeat(num_replicas=1, rank=0).rank) == (1, 0)


# Positions ---------------------------------------------------------------------------------------------------------------


@BOTH
def test_a_position_goes_on_where_it_was(make: Make) -> None:
    """Stopped after three images, a new sampler hands out the rest; the epoch after is whole again."""
    sampler = make(num_replicas=2, rank=1)
    sampler.set_epoch(2)
    whole = list(sampler)
    images = iter(sampler)
    begun = [next(images) for _ in range(3)]
    state = json.loads(json.dumps(sampler.state_dict()))

    resumed = make(num_replicas=2, rank=1)
    resumed.load_state_dict(state)
    resumed.set_epoch(2)

    assert len(resumed) == len(whole)
    assert begun + list(resumed) == whole
    assert list(resumed) == whole
    sampler.set_epoch(3)
    resumed.set_epoch(3)
    assert list(resumed) == list(sampler)


@BOTH
def test_a_position_can_be_resumed_twice(make: Make) -> None:
    """A run that was resumed and stopped again says how far it came in all."""
    whole = list(make())
    resumed = make()
    resumed.load_state_dict(make().state_dict(consumed=2))
    assert resumed.state_dict() == make().state_dict(consumed=2)
    images = iter(resumed)
    next(images)

    again = make()
    again.load_state_dict(resumed.state_dict())

    assert list(again) == whole[3:]


@BOTH
def test_a_position_belongs_to_its_epoch(make: Make) -> None:
    """A loop that goes on with another epoch than the state's gets the whole of it, and says so."""
    resumed, fresh = make(), make()
    resumed.load_state_dict(make().state_dict(consumed=3))
    resumed.set_epoch(1)
    fresh.set_epoch(1)

    assert resumed.state_dict() == fresh.state_dict()
    assert list(resumed) == list(fresh)


def test_a_refused_state_changes_nothing() -> None:
    """After a state of another sampler was refused, the epoch is the one it was."""
    sampler, other = repeat(), repeat(seed=1)
    other.set_epoch(5)
    expected = list(repeat())

    with pytest.raises(UsageError, match="draws for epoch 5"):
        sampler.load_state_dict(other.state_dict())

    assert list(sampler) == expected


@BOTH
def test_a_finished_epoch_has_nothing_left(make: Make) -> None:
    """A state taken at an epoch's end resumes with no image, and with the whole of the next epoch."""
    sampler = make()
    list(sampler)
    resumed = make()
    resumed.load_state_dict(sampler.state_dict())

    assert list(resumed) == []
    resumed.set_epoch(1)
    assert len(list(resumed)) == len(resumed) > 0


def test_a_position_moves_to_another_number_of_processes() -> None:
    """Two processes that did two images each leave all but the first four to one or four processes."""
    state = repeat(num_replicas=2, rank=0).state_dict(consumed=2)
    whole = repeat().whole_epoch().tolist()
    alone, four = repeat(), [repeat(num_replicas=4, rank=rank) for rank in range(4)]

    for sampler in (alone, *four):
        sampler.load_state_dict(state)

    assert list(alone) == whole[4:]
    in_turn = [image for turn in zip(*four, strict=True) for image in turn]
    assert in_turn[: len(whole) - 4] == whole[4:]


def test_workers_fetch_ahead_and_the_loop_knows_better() -> None:
    """With workers the sampler has handed out more than was trained on; `consumed` resumes without a gap."""
    images = TensorDataset(torch.arange(100))
    sampler = RepeatSampler([1.0] * 100)
    loader = DataLoader(images, batch_size=10, sampler=sampler, num_workers=2)
    whole = [batch[0].tolist() for batch in loader]

    batches: Iterator[Any] = iter(loader)
    done = [next(batches)[0].tolist() for _ in range(2)]
    ahead, exact = sampler.state_dict(), sampler.state_dict(consumed=2 * 10)
    del batches
    sampler.load_state_dict(exact)

    assert ahead["consumed"] > exact["consumed"] == 20
    assert done + [batch[0].tolist() for batch in loader] == whole


def test_workers_that_stay_get_each_epochs_list() -> None:
    """Persistent workers show the new epoch's images, in the sampler's order."""
    sampler = repeat()
    loader = DataLoader(TensorDataset(torch.arange(len(REPEATS))), batch_size=2, sampler=sampler, num_workers=2, persistent_workers=True)

    for epoch in range(3):
        sampler.set_epoch(epoch)
        assert len(loader) == math.ceil(len(sampler) / 2)
        assert [image for (batch,) in loader for image in batch.tolist()] == sampler.whole_epoch().tolist()


# Two processes -----------------------------------------------------------------------------------------------------------


def train(rank: int, store: str, out: str) -> None:
    """Train a model together with the other process and write down what both have seen."""
    distributed.init_process_group("gloo", init_method=f"file://{store}", rank=rank, world_size=2, timeout=timedelta(minutes=2))
    seen = train_together(DistributedDataParallel(torch.nn.Linear(1, 1)))
    everyone: list[Any] = [None, None]
    distributed.all_gather_object(everyone, seen)
    if rank == 0:
        Path(out).write_text(json.dumps(everyone))
    # Neither leaves while the other still talks to it. Then the process ends at once: gloo's threads and the model's reducer, which
    # holds on to them, are not taken apart in an order that nothing determines.
    distributed.barrier()
    os._exit(0)


def train_together(model: DistributedDataParallel) -> dict[str, list[list[int]]]:
    """Give what this process has seen: sampler, epoch, images."""
    samplers: dict[str, RepeatSampler | WeightedSampler] = {"repeat": repeat(), "weighted": weighted()}
    seen: dict[str, list[list[int]]] = {name: [] for name in samplers}
    for name, sampler in samplers.items():
        loader = DataLoader(TensorDataset(torch.arange(len(REPEATS))), batch_size=2, sampler=sampler)
        for epoch in range(EPOCHS):
            sampler.set_epoch(epoch)
            images = []
            for (batch,) in loader:
                # Each backward waits for the other process: parts of unequal length would end in an error.
                model(batch[:, None].float()).sum().backward()
                images += batch.tolist()
            seen[name].append(images)
    return seen


@pytest.fixture(scope="module")
def seen(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, list[list[int]]]]:
    """What two processes over gloo have seen: rank, sampler, epoch, images."""
    folder = tmp_path_factory.mktemp("gloo")
    multiprocessing.start_processes(train, (str(folder / "store"), str(folder / "seen.json")), nprocs=2, start_method="spawn")
    everyone: list[dict[str, list[list[int]]]] = json.loads((folder / "seen.json").read_text())
    return everyone


@BOTH
def test_two_processes_share_each_epoch(make: Make, seen: list[dict[str, list[list[int]]]]) -> None:
    """In every epoch both see equally many images, each entry of the list is seen by one of them, and both know it alike."""
    alone = make(num_replicas=1, rank=0)
    for epoch in range(EPOCHS):
        first, second = seen[0][make.__name__][epoch], seen[1][make.__name__][epoch]
        alone.set_epoch(epoch)
        whole = list(alone)

        assert len(first) == len(second) == math.ceil(len(whole) / 2)
        filled = whole + whole[: len(whole) % 2]
        assert (first, second) == (filled[0::2], filled[1::2])
        assert Counter(first) + Counter(second) == Counter(filled)


@BOTH
def test_two_processes_see_new_lists_each_epoch(make: Make, seen: list[dict[str, list[list[int]]]]) -> None:
    """No two epochs are alike, on either rank."""
    for everyone in seen:
        assert len({tuple(images) for images in everyone[make.__name__]}) == EPOCHS


# Errors ------------------------------------------------------------------------------------------------------------------


REFUSED: list[tuple[Callable[[], Any], str]] = [
    (lambda: RepeatSampler([1, -0.5]), "repeats[1] is -0.5"),
    (lambda: RepeatSampler([1, math.nan]), "repeats[1] is nan"),
    (lambda: RepeatSampler([math.inf]), "repeats[0] is inf"),
    (lambda: RepeatSampler([0, 0]), "repeats is 0 for every image"),
    (lambda: RepeatSampler([]), "repeats has the shape (0,)"),
    (lambda: RepeatSampler(np.ones((2, 2))), "repeats has the shape (2, 2)"),
    (lambda: WeightedSampler([0, 0]), "weights is 0 for every image"),
    (lambda: WeightedSampler([1], num_samples=0), "num_samples is 0"),
    (lambda: repeat(seed=-1), "The seed is -1"),
    (lambda: repeat(rank=0), "Only one of num_replicas and rank"),
    (lambda: repeat(num_replicas=2), "Only one of num_replicas and rank"),
    (lambda: repeat(num_replicas=2, rank=2), "no rank 2 among 2"),
    (lambda: repeat(num_replicas=0, rank=0), "no rank 0 among 0"),
    (lambda: repeat().set_epoch(-1), "The epoch is -1"),
    (lambda: repeat().state_dict(consumed=100), "100 images consumed"),
    (lambda: repeat().load_state_dict(repeat(seed=1).state_dict()), "another list of images"),
    (lambda: repeat().load_state_dict(repeat(shuffle=False).state_dict()), "another list of images"),
    (lambda: repeat().load_state_dict(weighted().state_dict()), "another list of images"),
]


@pytest.mark.parametrize(("call", "message"), REFUSED, ids=[message for _, message in REFUSED])
def test_what_cannot_be_used_is_refused(call: Callable[[], Any], message: str) -> None:
    """Each wrong argument is named, with its value and what would do."""
    with pytest.raises(UsageError) as caught:
        call()

    assert message in str(caught.value)
    assert caught.value.hint
