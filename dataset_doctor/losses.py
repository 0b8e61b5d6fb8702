"""Losses for unequal class counts, as functions of logits and target. Needs torch: `pip install '.[train]'`.

Shapes       logits (N, K) or (N, K, d1, …), any floating dtype; target (N) or (N, d1, …), class indices. `sigmoid_focal_loss`
             takes a target of the logits' own shape.
Per class    counts and weights are K numbers in the order of the logits: a list, an array or a tensor. A tensor on the logits'
             device saves a transfer a step.
reduction    "mean", "sum" or "none" (the target's shape, 0 where ignored). Each docstring says what the mean divides by. The mean
             of nothing (an empty batch, or all of it ignored) is 0, where torch gives NaN.
Precision    float16 and bfloat16 logits are computed, and the loss returned, in float32; float64 stays float64.
Count 0      a class without instances is taken to be as frequent as the rarest class that has some, and its class-balanced weight
             is 1, outside the normalisation: nothing becomes infinite.
Errors       UsageError. Values of counts and weights are looked at on the CPU only, because reading them elsewhere would stop
             the device at every step, and not inside `torch.compile`; `make_loss` looks once, wherever they lie.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Literal, TypeAlias, get_args

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from dataset_doctor.errors import UsageError, did_you_mean

Reduction: TypeAlias = Literal["mean", "sum", "none"]
Base: TypeAlias = Literal["softmax", "sigmoid", "focal"]
PerClass: TypeAlias = Tensor | NDArray[Any] | Sequence[float]
Loss: TypeAlias = Callable[..., Tensor]


# Losses ---------------------------------------------------------------------------------------------------------------


def weighted_cross_entropy(
    logits: Tensor,
    target: Tensor,
    weight: PerClass | None = None,
    *,
    ignore_index: int = -100,
    reduction: Reduction = "mean",
) -> Tensor:
    """Compute the softmax cross entropy, -w_y log p_y, with one weight a class.

    The mean divides by the sum of the weights of the targets, as `torch.nn.functional.cross_entropy` does: only the ratios of
    the weights matter.

    >>> weighted_cross_entropy(torch.zeros(2, 4), torch.tensor([0, 3]), weight=[1, 1, 1, 9])
    tensor(1.3863)
    """
    wide, classes, kept = _checked(logits, target, ignore_index)
    return _weighted(functional.cross_entropy(wide, classes, reduction="none"), classes, kept, weight, wide, reduction)


def focal_loss(
    logits: Tensor,
    target: Tensor,
    *,
    gamma: float = 2.0,
    weight: PerClass | None = None,
    ignore_index: int = -100,
    reduction: Reduction = "mean",
) -> Tensor:
    """Compute the softmax focal loss, -w_y (1 - p_y)^gamma log p_y.

    It damps what is already classified well; `gamma` 0 is cross entropy. It does not balance classes: that is up to `weight`,
    whose effect on p_y, unlike in some implementations, is none. The mean divides by the number of targets.

    Source: Lin et al. 2017, Focal Loss for Dense Object Detection (there on sigmoids: `sigmoid_focal_loss`).

    >>> focal_loss(torch.tensor([[0.0, 0.0]]), torch.tensor([0]), gamma=2)  # 0.5² · log 2
    tensor(0.1733)
    """
    _check_number("gamma", gamma, gamma >= 0, "0 or more")
    wide, classes, kept = _checked(logits, target, ignore_index)
    cross_entropy = functional.cross_entropy(wide, classes, reduction="none")
    items = _damped(cross_entropy, -torch.expm1(-cross_entropy), gamma)
    if weight is not None:
        items = items * _per_class("weight", weight, wide)[classes]
    return _reduced(items, kept, reduction)


def sigmoid_focal_loss(
    logits: Tensor,
    target: Tensor,
    *,
    alpha: float = 0.25,
    gamma: float = 2.0,
    reduction: Reduction = "mean",
) -> Tensor:
    """Compute the sigmoid focal loss of independent yes-or-no answers, -a_t (1 - p_t)^gamma log p_t.

    `target` has the logits' shape and holds 0, 1 or a number between. `alpha` is the weight of the positives, 1 - alpha that of
    the negatives; -1 turns it off. Do not set it to an inverse class frequency. The mean divides by the number of elements.
    Equal to `torchvision.ops.sigmoid_focal_loss` (whose default reduction is "none").

    Source: Lin et al. 2017, Focal Loss for Dense Object Detection.

    >>> sigmoid_focal_loss(torch.zeros(1, 2), torch.tensor([[1.0, 0.0]]), reduction="none")  # 0.25 and 0.75 · 0.5² · log 2
    tensor([[0.0433, 0.1300]])
    """
    _check_number("gamma", gamma, gamma >= 0, "0 or more")
    _check_number("alpha", alpha, alpha == -1 or 0 <= alpha <= 1, "between 0 and 1, or -1 for none")
    if logits.shape != target.shape:
        raise UsageError(
            f"The target's shape {tuple(target.shape)} is not that of the logits, {tuple(logits.shape)}.",
            "Turn class indices into zeros and ones first, with torch.nn.functional.one_hot.",
        )
    wide = _wide(logits)
    truth = target.to(wide.dtype)
    items = _sigmoid_focal(wide, truth, gamma)
    if alpha != -1:
        items = items * (alpha * truth + (1 - alpha) * (1 - truth))
    return _reduced(items, torch.ones_like(items), reduction)


def class_balanced_loss(
    logits: Tensor,
    target: Tensor,
    counts: PerClass,
    *,
    beta: float = 0.999,
    base: Base = "softmax",
    gamma: float = 2.0,
    ignore_index: int = -100,
    reduction: Reduction = "mean",
) -> Tensor:
    """Weigh a loss by the inverse of the effective number of instances of its class, E_c = (1 - beta^n_c) / (1 - beta).

    `beta` 0 weighs all classes alike, near 1 it is inverse frequency; a class counts as well covered from about 1 / (1 - beta)
    instances on. The weights have mean 1 over the classes that have instances. `base` is the loss: "softmax" cross entropy, or
    one "sigmoid" cross entropy or "focal" loss (with `gamma`) a class, summed. The mean divides by the number of targets.

    Source: Cui et al. 2019, Class-Balanced Loss Based on Effective Number of Samples, equations 8 to 13.

    >>> class_balanced_loss(torch.zeros(2, 2), torch.tensor([0, 1]), counts=[900, 100], beta=0, reduction="none")
    tensor([0.6931, 0.6931])
    """
    _check_number("gamma", gamma, gamma >= 0, "0 or more")
    _check_beta(beta)
    if base not in get_args(Base):
        raise UsageError(f"There is no base {base!r}.", did_you_mean(base, get_args(Base)))
    wide, classes, kept = _checked(logits, target, ignore_index)
    weight = _effective_weights(_counts(counts, wide), beta)
    if base == "softmax":
        items = functional.cross_entropy(wide, classes, reduction="none")
    else:
        items = _sigmoid_focal(wide, _one_hot(classes, wide), gamma if base == "focal" else 0.0).sum(dim=1)
    return _reduced(items * weight[classes], kept, reduction)


def ldam_loss(
    logits: Tensor,
    target: Tensor,
    counts: PerClass,
    *,
    max_margin: float = 0.5,
    scale: float = 30.0,
    weight: PerClass | None = None,
    ignore_index: int = -100,
    reduction: Reduction = "mean",
) -> Tensor:
    """Compute the cross entropy with a margin to win by that is wider for rare classes, CE(scale · (z - m_y at y), y).

    m_c is proportional to n_c^(-1/4), `max_margin` for the rarest class. Margin and scale are meant for cosines: logits of a last
    layer whose features and weights are both normalised. On ordinary logits `scale` multiplies the learning rate by 30. The paper
    trains without weights first and with `weight=drw_weights(epoch, …)` later. The mean divides by the sum of the weights of the
    targets.

    Source: Cao et al. 2019, Learning Imbalanced Datasets with Label-Distribution-Aware Margin Loss, and its code.

    >>> ldam_loss(torch.tensor([[0.5, 0.0]]), torch.tensor([0]), counts=[1, 16])  # the margin 0.5 takes the lead away
    tensor(0.6931)
    """
    _check_number("max_margin", max_margin, max_margin >= 0, "0 or more")
    _check_number("scale", scale, scale > 0, "more than 0")
    wide, classes, kept = _checked(logits, target, ignore_index)
    inverse = _filled(_counts(counts, wide)) ** -0.25
    margin = inverse * (max_margin / inverse.max())
    behind = wide - _one_hot(classes, wide) * margin[classes].unsqueeze(1)
    return _weighted(functional.cross_entropy(scale * behind, classes, reduction="none"), classes, kept, weight, wide, reduction)


def logit_adjusted_loss(
    logits: Tensor,
    target: Tensor,
    counts: PerClass,
    *,
    tau: float = 1.0,
    ignore_index: int = -100,
    reduction: Reduction = "mean",
) -> Tensor:
    """Compute the cross entropy of z + tau · log prior, so that z itself learns to ignore how frequent a class is.

    With `tau` 1 this is the balanced softmax, p_y = n_y e^(z_y) / Σ n_c e^(z_c). Predict with the plain logits: the training
    has the adjustment in it. The mean divides by the number of targets.

    Source: Menon et al. 2021, Long-Tail Learning via Logit Adjustment; Ren et al. 2020, Balanced Meta-Softmax.

    >>> logit_adjusted_loss(torch.zeros(1, 2), torch.tensor([0]), counts=[1, 3])  # -log(1 / 4)
    tensor(1.3863)
    """
    _check_number("tau", tau, tau >= 0, "0 or more")
    wide, classes, kept = _checked(logits, target, ignore_index)
    adjusted = wide + _along_classes(tau * _log_prior(_counts(counts, wide)), wide)
    return _reduced(functional.cross_entropy(adjusted, classes, reduction="none"), kept, reduction)


# Companions -----------------------------------------------------------------------------------------------------------


def adjust_logits(logits: Tensor, counts: PerClass, tau: float = 1.0) -> Tensor:
    """Take the class frequencies out of the logits of a model that was trained with plain cross entropy, z - tau · log prior.

    For predictions, and not on top of `logit_adjusted_loss`. `counts` are those of the training. It needs no training: the
    cheapest correction for balanced accuracy, and the one to compare others with.

    Source: Menon et al. 2021, Long-Tail Learning via Logit Adjustment, equation 9.

    >>> adjust_logits(torch.tensor([[1.0, 0.0]]), counts=[90, 10]).argmax(dim=1)
    tensor([1])
    """
    _check_number("tau", tau, tau >= 0, "0 or more")
    _check_logits(logits)
    wide = _wide(logits)
    return wide - _along_classes(tau * _log_prior(_counts(counts, wide)), wide)


def drw_weights(epoch: int, counts: PerClass, *, start: int, beta: float = 0.9999) -> Tensor:
    """Give the weights of an epoch in deferred re-weighting: ones before `start`, class-balanced from then on; (K,) float32.

    Epochs count from 0. The paper starts at epoch 160 of 200, together with a drop of the learning rate.

    Source: Cao et al. 2019, section 3.3, and its code for `beta`.

    >>> drw_weights(0, [900, 100], start=160), drw_weights(160, [900, 100], start=160)
    (tensor([1., 1.]), tensor([0.2073, 1.7927]))
    """
    _check_beta(beta)
    numbers = _numbers("counts", counts).float()
    _check_any(numbers)
    return _effective_weights(numbers, beta if epoch >= start else 0.0)


# By name --------------------------------------------------------------------------------------------------------------


LOSSES: dict[str, Callable[[Tensor], Loss]] = {
    "class_balanced_loss": lambda counts: partial(class_balanced_loss, counts=counts),
    "focal_loss": lambda counts: focal_loss,
    "ldam_loss": lambda counts: partial(ldam_loss, counts=counts),
    "logit_adjusted_loss": lambda counts: partial(logit_adjusted_loss, counts=counts),
    "sigmoid_focal_loss": lambda counts: partial(class_balanced_loss, counts=counts, beta=0.0, base="focal"),
    "weighted_cross_entropy": lambda counts: partial(weighted_cross_entropy, weight=1 / _filled(counts)),
}
"""What each loss is for (logits, class indices), given the classes' counts. Parameters have their defaults; the weights of
`weighted_cross_entropy` are inverse counts, and `sigmoid_focal_loss` sees one-hot targets, without alpha, summed over classes."""


def make_loss(name: str, counts: PerClass) -> Loss:
    """Build a loss of `LOSSES`, for logits (N, K, …) and class indices (N, …), from the counts of the K classes.

    What comes back also takes `ignore_index`, `reduction` and the parameters of its function.

    >>> make_loss("logit_adjusted_loss", [1, 3])(torch.zeros(1, 2), torch.tensor([0]))
    tensor(1.3863)
    """
    if name not in LOSSES:
        raise UsageError(f"There is no loss {name!r}.", did_you_mean(name, LOSSES))
    numbers = _numbers("counts", counts).float()
    _check_values("counts", numbers)
    _check_any(numbers)
    return LOSSES[name](numbers)


# Inside ---------------------------------------------------------------------------------------------------------------


def _wide(logits: Tensor) -> Tensor:
    """Give at least float32: half precision ends at 65,504, and its logarithms have three digits."""
    return logits if logits.dtype == torch.float64 else logits.float()


def _checked(logits: Tensor, target: Tensor, ignore_index: int) -> tuple[Tensor, Tensor, Tensor]:
    """Give the logits in full precision, the class of each target (0 where ignored), and whether it counts."""
    _check_logits(logits)
    if logits.shape[:1] + logits.shape[2:] != target.shape:
        raise UsageError(
            f"Logits of shape {tuple(logits.shape)} and a target of shape {tuple(target.shape)} do not belong together.",
            "Give logits (N, K) with target (N), or logits (N, K, d1, …) with target (N, d1, …).",
        )
    if target.is_floating_point() or target.is_complex() or target.dtype == torch.bool:
        raise UsageError(f"The target is {target.dtype}.", "Give class indices, as int64.")
    kept = target != ignore_index
    return _wide(logits), target.long().masked_fill(~kept, 0), kept


def _weighted(items: Tensor, classes: Tensor, kept: Tensor, weight: PerClass | None, like: Tensor, reduction: Reduction) -> Tensor:
    """Reduce items that have the weight of their class; the mean divides by the weights."""
    if weight is None:
        return _reduced(items, kept, reduction)
    of_item = _per_class("weight", weight, like)[classes]
    return _reduced(items * of_item, of_item * kept, reduction)


def _reduced(items: Tensor, share: Tensor, reduction: Reduction) -> Tensor:
    """Reduce the items whose share in the mean is not 0."""
    if reduction not in get_args(Reduction):
        raise UsageError(f"There is no reduction {reduction!r}.", did_you_mean(reduction, get_args(Reduction)))
    counted = torch.where(share != 0, items, 0.0)
    if reduction == "none":
        return counted
    if reduction == "sum":
        return counted.sum()
    divisor = share.sum()
    return counted.sum() / torch.where(divisor > 0, divisor, 1)


def _damped(cross_entropy: Tensor, missed: Tensor, gamma: float) -> Tensor:
    """Multiply by missed^gamma, where `missed` is 1 - p_t; at 0 its slope is infinite for gamma below 1, hence the floor."""
    return missed.clamp_min(torch.finfo(missed.dtype).tiny) ** gamma * cross_entropy


def _sigmoid_focal(logits: Tensor, truth: Tensor, gamma: float) -> Tensor:
    # 1 - p_t as a sum of sigmoids keeps its digits where p_t rounds to 1.
    missed = torch.sigmoid(logits) * (1 - truth) + torch.sigmoid(-logits) * truth
    return _damped(functional.binary_cross_entropy_with_logits(logits, truth, reduction="none"), missed, gamma)


def _one_hot(classes: Tensor, logits: Tensor) -> Tensor:
    return torch.zeros_like(logits).scatter(1, classes.unsqueeze(1), 1.0)


def _along_classes(numbers: Tensor, logits: Tensor) -> Tensor:
    """Shape (K,) so that it meets the logits (N, K, d1, …) at their second axis."""
    return numbers.reshape(-1, *[1] * (logits.ndim - 2))


def _filled(counts: Tensor) -> Tensor:
    """Give classes without instances the smallest count that there is."""
    return torch.where(counts > 0, counts, torch.where(counts > 0, counts, torch.inf).min())


def _log_prior(counts: Tensor) -> Tensor:
    filled = _filled(counts)
    return filled.log() - filled.sum().log()


def _effective_weights(counts: Tensor, beta: float) -> Tensor:
    """Give 1 / E_c with mean 1 over the classes that have instances; the constant 1 - beta falls out. expm1 keeps the digits."""
    present = counts > 0
    raw = 1 / -torch.expm1(_filled(counts) * (math.log(beta) if beta else -math.inf))
    return torch.where(present, raw * (present.sum() / (raw * present).sum()), 1.0)


def _numbers(name: str, values: PerClass) -> Tensor:
    numbers = values if isinstance(values, Tensor) else torch.as_tensor(np.array(values))
    if numbers.ndim != 1 or not len(numbers):
        raise UsageError(f"{name} has the shape {tuple(numbers.shape)}.", "Give one number a class, in the order of the logits.")
    if _can_be_read(numbers):
        _check_values(name, numbers)
    return numbers


def _per_class(name: str, values: PerClass, like: Tensor) -> Tensor:
    numbers = _numbers(name, values)
    if len(numbers) != like.shape[1]:
        raise UsageError(
            f"{name} has {len(numbers):,} numbers, the logits have {like.shape[1]:,} classes.",
            "A softmax detector has one class more, the background: give it a number too, in its place.",
        )
    return numbers.to(like)


def _counts(values: PerClass, like: Tensor) -> Tensor:
    counts = _per_class("counts", values, like)
    if _can_be_read(counts):
        _check_any(counts)
    return counts


def _can_be_read(numbers: Tensor) -> bool:
    return numbers.device.type == "cpu" and not torch.compiler.is_compiling()


def _check_values(name: str, numbers: Tensor) -> None:
    if not bool((numbers.isfinite() & (numbers >= 0)).all()):
        raise UsageError(f"{name} has a number that is negative, infinite or not a number.", "Give 0 or more for each class.")


def _check_any(counts: Tensor) -> None:
    if not bool((counts > 0).any()):
        raise UsageError("Every class has the count 0.", "Count the split that is trained on.")


def _check_logits(logits: Tensor) -> None:
    if not logits.is_floating_point() or logits.ndim < 2:
        raise UsageError(
            f"The logits are {logits.dtype} of shape {tuple(logits.shape)}.", "Give floating numbers of shape (N, K) or (N, K, d1, …)."
        )


def _check_number(name: str, value: float, is_valid: bool, wanted: str) -> None:
    if not (is_valid and math.isfinite(value)):
        raise UsageError(f"{name} is {value}.", f"Give a number that is {wanted}.")


def _check_beta(beta: float) -> None:
    _check_number("beta", beta, 0 <= beta < 1, "0 or more and less than 1")
