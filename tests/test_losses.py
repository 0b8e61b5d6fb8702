"""The losses: values written by hand, a plain float64 reference, torch's and torchvision's own, and a suite over the whole table."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch.nn import functional
from torchvision.ops import sigmoid_focal_loss as torchvision_sigmoid_focal_loss

from dataset_doctor import losses
from dataset_doctor.errors import UsageError
from dataset_doctor.losses import (
    LOSSES,
    adjust_logits,
    class_balanced_loss,
    drw_weights,
    focal_loss,
    ldam_loss,
    logit_adjusted_loss,
    make_loss,
    sigmoid_focal_loss,
    weighted_cross_entropy,
)

COUNTS = (900, 81, 16, 3)
CLASSES = len(COUNTS)


def a_batch(dtype: torch.dtype = torch.float64, items: int = 12) -> tuple[torch.Tensor, torch.Tensor]:
    """Draw logits (items, 4) and targets in which every class occurs."""
    rng = torch.Generator().manual_seed(3)
    return (3 * torch.randn(items, CLASSES, generator=rng, dtype=torch.float64)).to(dtype), torch.arange(items) % CLASSES


# A reference to read, item by item, in plain float64 -------------------------------------------------------------------


def softmax(z: NDArray[Any]) -> NDArray[Any]:
    e = np.exp(z - z.max())
    return e / e.sum()


def effective_weights(beta: float) -> list[float]:
    raw = [(1 - beta) / (1 - beta**n) for n in COUNTS]
    return [w * len(raw) / sum(raw) for w in raw]


def of_one_weighted(z: NDArray[Any], y: int) -> float:
    return -math.log(softmax(z)[y]) / COUNTS[y]


def of_one_focal(z: NDArray[Any], y: int) -> float:
    p = softmax(z)[y]
    return -((1 - p) ** 2) * math.log(p)


def of_one_sigmoid_focal(z: NDArray[Any], y: int) -> float:
    total = 0.0
    for c, s in enumerate(1 / (1 + np.exp(-z))):
        p = s if c == y else 1 - s
        total -= (1 - p) ** 2 * math.log(p)
    return total


def of_one_class_balanced(z: NDArray[Any], y: int) -> float:
    return -effective_weights(0.999)[y] * math.log(softmax(z)[y])


def of_one_ldam(z: NDArray[Any], y: int) -> float:
    margins = [n**-0.25 for n in COUNTS]
    behind = z.copy()
    behind[y] -= 0.5 * margins[y] / max(margins)
    return -math.log(softmax(30 * behind)[y])


def of_one_logit_adjusted(z: NDArray[Any], y: int) -> float:
    e = np.array(COUNTS) * np.exp(z)
    return -math.log(e[y] / e.sum())


REFERENCE: dict[str, Callable[[NDArray[Any], int], float]] = {
    "class_balanced_loss": of_one_class_balanced,
    "focal_loss": of_one_focal,
    "ldam_loss": of_one_ldam,
    "logit_adjusted_loss": of_one_logit_adjusted,
    "sigmoid_focal_loss": of_one_sigmoid_focal,
    "weighted_cross_entropy": of_one_weighted,
}


@pytest.mark.parametrize("name", LOSSES)
def test_agrees_with_the_plain_reference(name: str) -> None:
    """Each item's loss is what the formula says in float64; float32 comes close."""
    logits, target = a_batch()
    expected = torch.tensor([REFERENCE[name](z.numpy(), int(y)) for z, y in zip(logits, target, strict=True)], dtype=torch.float64)
    loss = make_loss(name, torch.tensor(COUNTS, dtype=torch.float64))

    # `make_loss` keeps the counts in float32, hence 1e-6 where a weight comes from them.
    torch.testing.assert_close(loss(logits, target, reduction="none"), expected, rtol=1e-6, atol=1e-12)
    torch.testing.assert_close(loss(logits.float(), target, reduction="none"), expected.float(), rtol=1e-4, atol=1e-6)


def test_float64_is_exact() -> None:
    """Given counts in float64, nothing on the way is narrower."""
    logits, target = a_batch()
    expected = torch.tensor([of_one_class_balanced(z.numpy(), int(y)) for z, y in zip(logits, target, strict=True)], dtype=torch.float64)

    torch.testing.assert_close(class_balanced_loss(logits, target, COUNTS, reduction="none"), expected, rtol=1e-12, atol=1e-12)


# What all of them promise ----------------------------------------------------------------------------------------------


def test_the_table_is_complete() -> None:
    """Every public loss is in the table under its own name, in order."""
    public = {
        name
        for name, member in inspect.getmembers(losses, inspect.isfunction)
        if member.__module__ == losses.__name__ and name.endswith(("_loss", "_entropy")) and not name.startswith(("_", "make_"))
    }

    assert set(LOSSES) == public == set(REFERENCE)
    assert list(LOSSES) == sorted(LOSSES)


@pytest.mark.parametrize("name", LOSSES)
def test_one_step_lowers_it(name: str) -> None:
    """A step of SGD on a linear model makes the loss smaller."""
    torch.manual_seed(0)
    model = torch.nn.Linear(6, CLASSES)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    images, (_, target) = torch.randn(12, 6), a_batch()
    loss = make_loss(name, COUNTS)

    before = loss(model(images), target)
    before.backward()
    optimizer.step()

    assert loss(model(images), target).item() < before.item()


@pytest.mark.parametrize("name", LOSSES)
def test_gradients_are_right(name: str) -> None:
    """The gradient is the slope, by finite differences in float64."""
    logits, target = a_batch(items=6)
    loss = make_loss(name, COUNTS)

    assert torch.autograd.gradcheck(lambda z: loss(z, target), (logits.requires_grad_(),))


@pytest.mark.parametrize("counts", [COUNTS, (900, 0, 16, 0)], ids=["counts", "zeros"])
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32], ids=str)
@pytest.mark.parametrize("name", LOSSES)
def test_nothing_overflows(name: str, dtype: torch.dtype, counts: tuple[int, ...]) -> None:
    """Logits of ±10,000 and classes without instances give finite losses and gradients, for every target and in half precision."""
    rows = [[1e4, -1e4, 1e4, -1e4], [-1e4, 1e4, 0, 0], [0, 0, 0, 0], [-1e4, -1e4, -1e4, 1e4]]
    logits = torch.tensor(rows, dtype=dtype).repeat_interleave(CLASSES, dim=0).requires_grad_()
    target = torch.arange(CLASSES).repeat(len(rows))

    value = make_loss(name, counts)(logits, target)
    value.backward()

    assert value.dtype == torch.float32
    assert value.isfinite()
    assert logits.grad is not None and logits.grad.isfinite().all()
    assert logits.grad.dtype == dtype


@pytest.mark.parametrize("gamma", [0.0, 0.1, 0.5, 5.0])
def test_no_gamma_breaks_the_gradient(gamma: float) -> None:
    """Where an item is perfectly classified, (1 - p)^gamma has no slope for gamma below 1; the gradient is 0 there, not NaN."""
    logits = torch.tensor([[200.0, 0.0], [1e4, -1e4]], requires_grad=True)

    both = focal_loss(logits, torch.tensor([0, 0]), gamma=gamma)
    both = both + sigmoid_focal_loss(logits, torch.tensor([[1.0, 0.0], [1.0, 0.0]]), gamma=gamma)
    both.backward()

    assert logits.grad is not None and logits.grad.isfinite().all()


@pytest.mark.parametrize("name", LOSSES)
def test_half_precision_is_as_good_as_its_logits(name: str) -> None:
    """bfloat16 logits give what the same numbers in float32 give, to the last digit."""
    logits, target = a_batch(torch.bfloat16)
    loss = make_loss(name, COUNTS)

    assert loss(logits, target).equal(loss(logits.float(), target))


@pytest.mark.parametrize("backend", ["eager", "aot_eager"])
@pytest.mark.parametrize("name", LOSSES)
def test_compiles_without_a_graph_break(name: str, backend: str) -> None:
    """`torch.compile(fullgraph=True)` takes the loss and its gradient, and the values stay."""
    torch.compiler.reset()
    logits, target = a_batch(torch.float32)
    loss = make_loss(name, COUNTS)
    compiled: Any = torch.compile(loss, backend=backend, fullgraph=True)

    got = torch.autograd.grad(compiled(logits.requires_grad_(), target), logits)[0]
    expected = torch.autograd.grad(loss(logits, target), logits)[0]

    torch.testing.assert_close(got, expected)


@pytest.mark.parametrize("counts", [list(COUNTS), np.array(COUNTS), torch.tensor(COUNTS)], ids=["list", "array", "tensor"])
def test_compiles_with_counts_of_any_kind(counts: Any) -> None:
    """The functions themselves compile too, with the counts as users have them."""
    torch.compiler.reset()
    logits, target = a_batch(torch.float32)
    compiled: Any = torch.compile(lambda z, y: ldam_loss(z, y, counts), backend="eager", fullgraph=True)

    torch.testing.assert_close(compiled(logits, target), ldam_loss(logits, target, counts))


@pytest.mark.parametrize("name", LOSSES)
def test_pixels_are_items(name: str) -> None:
    """Logits (N, K, H, W) give what the same pixels give as rows, and "none" keeps their places."""
    rows, target = a_batch()
    loss = make_loss(name, COUNTS)
    maps, truth = rows.reshape(2, 2, 3, CLASSES).permute(0, 3, 1, 2), target.reshape(2, 2, 3)

    torch.testing.assert_close(loss(maps, truth), loss(rows, target))
    torch.testing.assert_close(loss(maps, truth, reduction="none"), loss(rows, target, reduction="none").reshape(2, 2, 3))


@pytest.mark.parametrize("name", LOSSES)
def test_ignored_items_are_as_if_absent(name: str) -> None:
    """An ignored item changes neither value nor mean and gets no gradient, whatever its logits."""
    logits, target = a_batch()
    loss = make_loss(name, COUNTS)
    more = torch.cat([logits, torch.full((3, CLASSES), 7.0, dtype=torch.float64)]).requires_grad_()
    marked = torch.cat([target, torch.full((3,), 255)])

    value = loss(more, marked, ignore_index=255)
    (gradient,) = torch.autograd.grad(value, more)

    torch.testing.assert_close(value, loss(logits, target))
    assert not gradient[-3:].any()
    assert loss(more, marked, ignore_index=255, reduction="none")[-3:].tolist() == [0, 0, 0]


@pytest.mark.parametrize("name", LOSSES)
def test_the_mean_of_nothing_is_0(name: str) -> None:
    """An empty batch, and one that is ignored as a whole, give 0 and no NaN in the gradient."""
    loss = make_loss(name, COUNTS)
    logits, _ = a_batch(torch.float32)
    logits.requires_grad_()

    for value in (loss(logits[:0], torch.arange(0)), loss(logits, torch.full((12,), -100))):
        (gradient,) = torch.autograd.grad(value, logits)
        assert value == 0
        assert not gradient.any()


@pytest.mark.parametrize("name", LOSSES)
def test_reductions_belong_together(name: str) -> None:
    """The sum is the sum of the items."""
    logits, target = a_batch()
    loss = make_loss(name, COUNTS)

    torch.testing.assert_close(loss(logits, target, reduction="sum"), loss(logits, target, reduction="none").sum())


@pytest.mark.parametrize("name", sorted(set(LOSSES) - {"weighted_cross_entropy"}))
def test_the_mean_divides_by_the_items(name: str) -> None:
    """All but the weighted cross entropy average over the items, weights or not."""
    logits, target = a_batch()
    loss = make_loss(name, COUNTS)

    torch.testing.assert_close(loss(logits, target), loss(logits, target, reduction="none").mean())


# Each against what is known ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
@pytest.mark.parametrize("weight", [None, (1.0, 2.0, 0.0, 7.5)])
def test_cross_entropy_is_that_of_torch(weight: tuple[float, ...] | None, reduction: Any) -> None:
    """With and without weights, in each reduction, torch's own function gives the same."""
    logits, target = a_batch()
    theirs = functional.cross_entropy(logits, target, weight=weight and torch.tensor(weight, dtype=torch.float64), reduction=reduction)

    torch.testing.assert_close(weighted_cross_entropy(logits, target, weight, reduction=reduction), theirs)


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
@pytest.mark.parametrize(("alpha", "gamma"), [(0.25, 2.0), (-1, 2.0), (0.9, 0.0), (0.5, 1.5)])
def test_sigmoid_focal_is_that_of_torchvision(alpha: float, gamma: float, reduction: str) -> None:
    """Value and gradient are torchvision's, soft targets included."""
    logits, _ = a_batch()
    target = torch.rand(logits.shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    target[:6] = target[:6].round()

    ours = sigmoid_focal_loss(logits.requires_grad_(), target, alpha=alpha, gamma=gamma, reduction=reduction)
    theirs = torchvision_sigmoid_focal_loss(logits, target, alpha=alpha, gamma=gamma, reduction=reduction)

    torch.testing.assert_close(ours, theirs)
    torch.testing.assert_close(torch.autograd.grad(ours.sum(), logits), torch.autograd.grad(theirs.sum(), logits))


def test_sigmoid_focal_keeps_its_digits() -> None:
    """At a logit of 20, p rounds to 1 in float32; what is left of the loss is still right."""
    one = torch.ones(1, 1)

    narrow, wide = (sigmoid_focal_loss(20 * one.to(dtype), one, gamma=0.5) for dtype in (torch.float32, torch.float64))

    assert narrow.item() == pytest.approx(wide.item(), rel=1e-5, abs=0)


def test_focal_loss_of_the_paper() -> None:
    """Lin et al., section 3.2: at gamma 2, an item at p = 0.9 weighs 100 times less than in cross entropy, at 0.5 4 times."""
    logits = torch.tensor([[math.log(9.0), 0.0], [0.0, 0.0]], dtype=torch.float64)

    got = focal_loss(logits, torch.tensor([0, 0]), gamma=2, reduction="none")

    torch.testing.assert_close(got, torch.tensor([-math.log(0.9) / 100, math.log(2) / 4], dtype=torch.float64))


def test_focal_weight_does_not_move_the_focus() -> None:
    """The weight multiplies the loss; the probability that the focus looks at stays the model's."""
    logits, target = a_batch()
    plain = focal_loss(logits, target, reduction="none")

    torch.testing.assert_close(focal_loss(logits, target, weight=[3, 3, 3, 3], reduction="none"), 3 * plain)


def test_class_balanced_weights_of_the_paper() -> None:
    """CIFAR-10 with 5,000 to 50 instances and beta 0.9999: the rarest class weighs (1 - β^5000) / (1 - β^50) = 78.9 times more."""
    counts = [5000, 50]

    items = class_balanced_loss(torch.zeros(2, 2), torch.tensor([0, 1]), counts, beta=0.9999, reduction="none")

    assert (items[1] / items[0]).item() == pytest.approx(78.89, abs=0.01)
    assert items.sum().item() == pytest.approx(2 * math.log(2), rel=1e-6)  # the weights have mean 1


def test_class_balanced_bases() -> None:
    """The base "sigmoid" sums a binary cross entropy a class, "focal" a focal loss a class."""
    logits, target = a_batch()
    truth = functional.one_hot(target, CLASSES).double()
    weight = torch.tensor(effective_weights(0.99), dtype=torch.float64)[target]
    of_sigmoid = functional.binary_cross_entropy_with_logits(logits, truth, reduction="none").sum(dim=1)
    of_focal = torchvision_sigmoid_focal_loss(logits, truth, alpha=-1, gamma=0.5, reduction="none").sum(dim=1)

    got_sigmoid = class_balanced_loss(logits, target, COUNTS, beta=0.99, base="sigmoid", reduction="none")
    got_focal = class_balanced_loss(logits, target, COUNTS, beta=0.99, base="focal", gamma=0.5, reduction="none")

    torch.testing.assert_close(got_sigmoid, weight * of_sigmoid)
    torch.testing.assert_close(got_focal, weight * of_focal)


def test_a_class_without_instances_stays_out_of_the_normalisation() -> None:
    """Its weight is 1, and those of the others are as if it were not there."""
    logits, target = torch.zeros(3, 3), torch.tensor([0, 1, 2])

    items = class_balanced_loss(logits, target, [900, 0, 100], beta=0.99, reduction="none") / math.log(3)
    without = class_balanced_loss(torch.zeros(2, 2), torch.tensor([0, 1]), [900, 100], beta=0.99, reduction="none") / math.log(2)

    torch.testing.assert_close(items, torch.stack([without[0], torch.tensor(1.0), without[1]]))


def test_ldam_by_hand() -> None:
    """Counts 1, 16, 81 give the margins 1/2, 1/4, 1/6; at equal logits the loss is log(1 + 2 e^(30 m))."""
    got = ldam_loss(torch.zeros(3, 3, dtype=torch.float64), torch.tensor([0, 1, 2]), [1, 16, 81], reduction="none")

    expected = [math.log(1 + 2 * math.exp(30 * m)) for m in (1 / 2, 1 / 4, 1 / 6)]
    torch.testing.assert_close(got, torch.tensor(expected, dtype=torch.float64))


def test_ldam_weights_divide_the_mean() -> None:
    """As in the paper's code, the mean with weights divides by the weights of the targets."""
    logits, target = a_batch()
    weight = torch.tensor([1.0, 2.0, 3.0, 4.0], dtype=torch.float64)
    items = ldam_loss(logits, target, COUNTS, reduction="none")

    got = ldam_loss(logits, target, COUNTS, weight=weight)

    torch.testing.assert_close(got, (items * weight[target]).sum() / weight[target].sum())


def test_deferred_weights_begin_when_told() -> None:
    """Ones until the epoch before `start`; then inverse effective numbers with mean 1."""
    torch.testing.assert_close(drw_weights(159, COUNTS, start=160), torch.ones(CLASSES))
    torch.testing.assert_close(drw_weights(160, COUNTS, start=160), torch.tensor(effective_weights(0.9999)), rtol=1e-5, atol=0)


def test_logit_adjustment_with_tau_0_is_cross_entropy() -> None:
    """Without adjustment nothing is left but torch's cross entropy."""
    logits, target = a_batch()

    torch.testing.assert_close(logit_adjusted_loss(logits, target, COUNTS, tau=0), functional.cross_entropy(logits, target))


def test_adjusting_predictions_undoes_the_prior() -> None:
    """Logits that are the log prior say nothing: adjusted, all classes are alike. With tau 2 the rarest leads."""
    prior = torch.tensor(COUNTS, dtype=torch.float64).div(sum(COUNTS)).log()[None]

    torch.testing.assert_close(adjust_logits(prior, COUNTS), torch.zeros(1, CLASSES, dtype=torch.float64))
    assert adjust_logits(prior, COUNTS, tau=2).argmax().item() == 3


def test_adjusted_training_and_adjusted_predictions_are_two_ways() -> None:
    """The loss on z is the cross entropy on what, adjusted as a prediction, gives z."""
    logits, target = a_batch()
    trained_plainly = logits + torch.tensor(COUNTS).log()

    torch.testing.assert_close(adjust_logits(trained_plainly, COUNTS).softmax(dim=1), logits.softmax(dim=1))
    torch.testing.assert_close(logit_adjusted_loss(logits, target, COUNTS), functional.cross_entropy(trained_plainly, target))


def test_a_class_without_instances_is_as_rare_as_the_rarest() -> None:
    """Prior and margin of count 0 are those of the smallest count above it."""
    logits, target = a_batch()

    for loss in (logit_adjusted_loss, ldam_loss):
        torch.testing.assert_close(loss(logits, target, [900, 81, 16, 0]), loss(logits, target, [900, 81, 16, 16]))


def test_read_only_arrays_are_taken() -> None:
    """Counts from a frozen dataset cannot be written to, which torch would warn of."""
    counts = np.array(COUNTS)
    counts.flags.writeable = False
    logits, target = a_batch()

    torch.testing.assert_close(logit_adjusted_loss(logits, target, counts), logit_adjusted_loss(logits, target, COUNTS))


# Errors ------------------------------------------------------------------------------------------------------------------


Z, Y = torch.zeros(2, 3), torch.tensor([0, 1])
REFUSED: list[tuple[Callable[[], Any], str]] = [
    (lambda: focal_loss(Z, torch.tensor([0])), "do not belong together"),
    (lambda: focal_loss(Z, torch.zeros(2, 3).long()), "do not belong together"),
    (lambda: focal_loss(Z[0], torch.tensor(0)), "of shape (3,)"),
    (lambda: focal_loss(Z.long(), Y), "torch.int64"),
    (lambda: focal_loss(Z, Y.float()), "The target is torch.float32"),
    (lambda: focal_loss(Z, Y, gamma=-1), "gamma is -1"),
    (lambda: focal_loss(Z, Y, gamma=math.nan), "gamma is nan"),
    (lambda: focal_loss(Z, Y, reduction="avg"), "no reduction 'avg'"),
    (lambda: focal_loss(Z, Y, weight=[1, 2]), "weight has 2 numbers, the logits have 3 classes"),
    (lambda: focal_loss(Z, Y, weight=[1, -2, 3]), "weight has a number that is negative"),
    (lambda: sigmoid_focal_loss(Z, Y), "one_hot"),
    (lambda: sigmoid_focal_loss(Z, Z, alpha=2), "alpha is 2"),
    (lambda: sigmoid_focal_loss(Z, Z, alpha=-0.5), "alpha is -0.5"),
    (lambda: sigmoid_focal_loss(Z, Z, gamma=-1), "gamma is -1"),
    (lambda: class_balanced_loss(Z, Y, [1, 2, 3], beta=1), "beta is 1"),
    (lambda: class_balanced_loss(Z, Y, [1, 2, 3], base="sigmod"), "Did you mean sigmoid?"),
    (lambda: class_balanced_loss(Z, Y, [1, 2, 3], gamma=-1), "gamma is -1"),
    (lambda: ldam_loss(Z, Y, [1, 2, 3, 4]), "counts has 4 numbers, the logits have 3 classes"),
    (lambda: ldam_loss(Z, Y, [[1, 2, 3]]), "counts has the shape (1, 3)"),
    (lambda: ldam_loss(Z, Y, [1, math.nan, 3]), "counts has a number that is negative, infinite or not a number"),
    (lambda: ldam_loss(Z, Y, [1, 2, 3], max_margin=-1), "max_margin is -1"),
    (lambda: ldam_loss(Z, Y, [1, 2, 3], scale=0), "scale is 0"),
    (lambda: logit_adjusted_loss(Z, Y, [0, 0, 0]), "Every class has the count 0"),
    (lambda: logit_adjusted_loss(Z, Y, [1, 2, 3], tau=-1), "tau is -1"),
    (lambda: adjust_logits(Z, [1, 2]), "counts has 2 numbers"),
    (lambda: adjust_logits(Z[0], [1, 2, 3]), "of shape (3,)"),
    (lambda: adjust_logits(Z, [1, 2, 3], tau=math.inf), "tau is inf"),
    (lambda: drw_weights(0, [1, 2], start=1, beta=2), "beta is 2"),
    (lambda: drw_weights(0, [0, 0], start=1), "Every class has the count 0"),
    (lambda: make_loss("focal", [1, 2]), "Did you mean focal_loss?"),
    (lambda: make_loss("focal_loss", [1, -2]), "negative"),
    (lambda: make_loss("focal_loss", []), "counts has the shape (0,)"),
]


@pytest.mark.parametrize(("call", "message"), REFUSED, ids=[message for _, message in REFUSED])
def test_what_cannot_be_used_is_refused(call: Callable[[], Any], message: str) -> None:
    """Each wrong argument is named, with its value and what would do."""
    with pytest.raises(UsageError) as caught:
        call()

    assert message in str(caught.value)
    assert caught.value.hint


@pytest.mark.parametrize("target", [-1, 4])
@pytest.mark.parametrize("name", LOSSES)
def test_a_target_beyond_the_classes_is_an_error(name: str, target: int) -> None:
    """A class index that no logit belongs to stops the training on the CPU instead of counting as another class."""
    logits, _ = a_batch()

    with pytest.raises((IndexError, RuntimeError), match="out of bounds"):
        make_loss(name, COUNTS)(logits[:1], torch.tensor([target]))
