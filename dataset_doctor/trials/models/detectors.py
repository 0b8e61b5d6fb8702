"""Detectors by name: torchvision's, and a small one that learns from scratch on a CPU within minutes.

All speak as torchvision's do: a list of images in, with targets whose labels count from 1 while training, losses by name out; boxes,
labels and scores in evaluation. The loss of the classes is taken over here, so that weights of classes mean the same everywhere: what is
assigned to an object (a point, an anchor, a proposal) counts as much as the weight of the object's class, and the background counts 1.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torchvision import ops
from torchvision.models import detection, get_model, list_models
from torchvision.models.detection.transform import GeneralizedRCNNTransform

from dataset_doctor.errors import UsageError, did_you_mean
from dataset_doctor.losses import focal_loss
from dataset_doctor.trials.models.classifiers import convolution, named_state, read_state
from dataset_doctor.trials.settings import Settings

Target = dict[str, Tensor]
"""What is to be found in an image: "boxes" float (m, 4) as xyxy in pixels, "labels" int64 (m) from 1 on."""

LEAST_SCORE = 0.01
"""Detections with a lower score are not looked at; average precision gains next to nothing from them."""


# The small one ----------------------------------------------------------------------------------------------------------


class TinyFcos(nn.Module):
    """A detector of one stage without anchors, for a CPU: FCOS on a single map of an eighth of the image's side.

    The image is halved five times and the coarse maps are added back to the finer ones, so that each place of the map knows of much of
    the image. A place tells the classes and a box: how far its middle is away, and the logarithms of its sides. The places near the
    middle of an object are to find it, the nearest one always, however small the object is; of several objects the smallest.

    Source: after Tian et al. 2019, FCOS; the maps after Lin et al. 2017, Feature Pyramid Networks.
    """

    STRIDE = 8
    REACH = 1.5
    """How far from an object's middle, in strides, a place may be to find it."""

    def __init__(self, num_classes: int, weigh: Weigh) -> None:
        super().__init__()
        self.stem = nn.Sequential(*convolution(3, 16, 2), *convolution(16, 32, 2))
        self.stage3 = nn.Sequential(*convolution(32, 64, 2), *convolution(64, 64, 1))
        self.stage4 = nn.Sequential(*convolution(64, 128, 2), *convolution(128, 128, 1))
        self.stage5 = nn.Sequential(*convolution(128, 128, 2), *convolution(128, 128, 1))
        self.lateral = nn.ModuleList([nn.Conv2d(width, 64, 1) for width in (64, 128, 128)])
        self.head = nn.Sequential(*convolution(64, 64, 1), *convolution(64, 64, 1))
        self.box = nn.Conv2d(64, 4, 1)
        self.classes = nn.Conv2d(64, num_classes, 1)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight)
        for last in (self.box, self.classes):
            nn.init.normal_(last.weight, std=0.01)
            nn.init.zeros_(last.bias)  # type: ignore[arg-type]
        # As in focal loss: at first every place says that it is background with a probability of 0.99.
        nn.init.constant_(self.classes.bias, -math.log(99))  # type: ignore[arg-type]
        self.weigh = weigh

    def forward(self, images: Sequence[Tensor], targets: Sequence[Target] | None = None) -> dict[str, Tensor] | list[dict[str, Tensor]]:
        """Give losses while training, else what is found."""
        pictures = torch.stack(list(images))
        c3 = self.stage3(self.stem((pictures - 0.5) * 4))
        c4 = self.stage4(c3)
        p4 = self.lateral[1](c4) + _doubled(self.lateral[2](self.stage5(c4)), c4)
        features = self.head(self.lateral[0](c3) + _doubled(p4, c3))
        logits = self.classes(features).float().flatten(2).transpose(1, 2)
        box = self.box(features).float().flatten(2).transpose(1, 2)
        rows, columns = features.shape[2:]
        y, x = torch.meshgrid(torch.arange(rows), torch.arange(columns), indexing="ij")
        places = (torch.stack([x.flatten(), y.flatten()], 1).to(box) + 0.5) * self.STRIDE
        middle = places + box[..., :2] * self.STRIDE
        half = box[..., 2:].clamp(-4, 5).exp() * (2 * self.STRIDE)
        boxes = torch.cat([middle - half, middle + half], dim=2)
        if self.training:
            assert targets is not None
            return self._losses(logits, boxes, places, targets)
        return [self._found(*one, side=(pictures.shape[3], pictures.shape[2])) for one in zip(logits.sigmoid(), boxes, strict=True)]

    def _losses(self, logits: Tensor, boxes: Tensor, places: Tensor, targets: Sequence[Target]) -> dict[str, Tensor]:
        assigned = [self._assigned(places, target["boxes"]) for target in targets]
        labels = _labels(targets, assigned)
        positive = labels > 0
        wanted = torch.cat([target["boxes"][to[to >= 0]] for to, target in zip(assigned, targets, strict=True)])
        n = max(1, int(positive.sum()))
        return {
            "classification": self.weigh.sigmoid(logits, labels - 1).sum() / n,
            "box": ops.generalized_box_iou_loss(boxes[positive], wanted, reduction="sum") / n,
        }

    def _assigned(self, places: Tensor, boxes: Tensor) -> Tensor:
        """Give the object that each place is to find (P), -1 for none."""
        if not len(boxes):
            return torch.full((len(places),), -1, dtype=torch.int64, device=places.device)
        middle, half = (boxes[:, :2] + boxes[:, 2:]) / 2, (boxes[:, 2:] - boxes[:, :2]) / 2
        distance = (places[:, None] - middle).abs()
        near = (distance <= half.clamp(max=self.REACH * self.STRIDE)).all(dim=2)
        near[distance.amax(dim=2).argmin(dim=0), torch.arange(len(boxes), device=near.device)] = True
        area = half.prod(dim=1).expand_as(near).masked_fill(~near, math.inf)
        least, to = area.min(dim=1)
        return torch.where(torch.isfinite(least), to, -1)

    def _found(self, scores: Tensor, boxes: Tensor, *, side: tuple[int, int]) -> dict[str, Tensor]:
        at, label = torch.nonzero(scores > LEAST_SCORE, as_tuple=True)
        score, box = scores[at, label], ops.clip_boxes_to_image(boxes[at], (side[1], side[0]))
        best = score.topk(min(1_000, len(score))).indices
        kept = best[ops.batched_nms(box[best], score[best], label[best], 0.5)[:100]]
        return {"boxes": box[kept], "labels": label[kept] + 1, "scores": score[kept]}


def _doubled(x: Tensor, like: Tensor) -> Tensor:
    return functional.interpolate(x, size=like.shape[2:], mode="nearest")


# The loss of the classes ------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, eq=False)
class Weigh:
    """How much each class counts in the loss of the classes.

    weight  float (K + 1) of the background and the classes; None where all count 1
    focal   focal loss in place of cross entropy, in detectors that have the choice
    """

    weight: Tensor | None = None
    focal: bool = False

    def sigmoid(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Give focal loss of a yes or no a class, (…): logits (…, K), labels (…) with -1 for the background."""
        truth = functional.one_hot(labels + 1, logits.shape[-1] + 1)[..., 1:].to(logits.dtype)
        return self._times(ops.sigmoid_focal_loss(logits, truth, reduction="none").sum(dim=-1), labels + 1)

    def softmax(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Give cross entropy, or its focal form, of one answer among background and classes, (n): logits (n, K + 1), labels (n)."""
        kind = focal_loss if self.focal else functional.cross_entropy
        return self._times(kind(logits, labels, reduction="none"), labels)

    def _times(self, items: Tensor, labels: Tensor) -> Tensor:
        return items if self.weight is None else items * self.weight.to(items.device)[labels]


def _labels(targets: Sequence[Target], matched: Sequence[Tensor]) -> Tensor:
    """Give the label of each place or anchor (n, A), 0 for the background; `matched` says which object it is to find, below 0 for none."""
    return torch.stack(
        [
            torch.where(to >= 0, target["labels"][to.clamp(min=0)], 0) if len(target["labels"]) else torch.zeros_like(to)
            for to, target in zip(matched, targets, strict=True)
        ]
    )


def _of_retinanet(logits: Tensor, labels: Tensor, matched: Tensor, weigh: Weigh, ratio: float) -> Tensor:
    """Sum over the anchors of each image that are not half on an object, by the number on one; mean over the images."""
    between = matched == detection._utils.Matcher.BETWEEN_THRESHOLDS
    items = weigh.sigmoid(logits[..., 1:], labels - 1) + _nobody(logits)
    per_picture = items.masked_fill(between, 0.0).sum(dim=1) / (labels > 0).sum(dim=1).clamp(min=1)
    return per_picture.mean()


def _of_fcos(logits: Tensor, labels: Tensor, matched: Tensor, weigh: Weigh, ratio: float) -> Tensor:
    """Sum over all places, by the number on an object."""
    items = weigh.sigmoid(logits[..., 1:], labels - 1) + _nobody(logits)
    return items.sum() / max(1, int((labels > 0).sum()))


def _nobody(logits: Tensor) -> Tensor:
    """Give the loss of column 0 of torchvision's heads, which stands for the label 0, which no object has."""
    items: Tensor = ops.sigmoid_focal_loss(logits[..., 0], torch.zeros_like(logits[..., 0]), reduction="none")
    return items


def _of_ssd(logits: Tensor, labels: Tensor, matched: Tensor, weigh: Weigh, ratio: float) -> Tensor:
    """Sum over the anchors on objects, and those of the background that are most surely wrong, a few for each of the former."""
    plain = functional.cross_entropy(logits.flatten(0, 1), labels.flatten(), reduction="none").view_as(labels)
    positive = labels > 0
    place = plain.detach().masked_fill(positive, -math.inf).argsort(dim=1, descending=True).argsort(dim=1)
    hard = place < ratio * positive.sum(dim=1, keepdim=True)
    return weigh._times(plain, labels)[positive | hard].sum() / max(1, int(positive.sum()))


def _take_over(model: nn.Module, weigh: Weigh) -> None:
    """Put our loss of the classes in the place of torchvision's; the other losses stay theirs."""
    if isinstance(model, detection.FasterRCNN):
        _take_over_proposals(model.roi_heads, weigh)
        return
    if isinstance(model, TinyFcos):
        return
    owner: Any = model if isinstance(model, detection.ssd.SSD) else model.head
    ratio = float(getattr(model, "neg_to_pos_ratio", 0.0))
    ours = _of_ssd if owner is model else _of_fcos if isinstance(model, detection.FCOS) else _of_retinanet
    theirs = owner.compute_loss

    def compute_loss(
        targets: list[Target], head_outputs: dict[str, Tensor], anchors: list[Tensor], matched_idxs: list[Tensor]
    ) -> dict[str, Tensor]:
        # Boxes in half precision would be off by pixels, and differences of them no numbers.
        with torch.autocast(anchors[0].device.type, enabled=False):
            outputs = {name: values.float() for name, values in head_outputs.items()}
            losses = theirs(targets, outputs, anchors, matched_idxs)
            labels = _labels(targets, matched_idxs)
            return {**losses, "classification": ours(outputs["cls_logits"], labels, torch.stack(matched_idxs), weigh, ratio)}

    owner.compute_loss = compute_loss


def _take_over_proposals(heads: Any, weigh: Weigh) -> None:
    """Look at the labels and logits of the proposals on their way through, and replace the loss that follows from them."""
    seen: dict[str, Tensor] = {}
    theirs = heads.select_training_samples

    def select(*arguments: Any) -> Any:
        chosen = theirs(*arguments)
        seen["labels"] = torch.cat(chosen[2])
        return chosen

    def replaced(module: nn.Module, inputs: Any, output: Any) -> Any:
        if not module.training:
            return output
        found, losses = output
        return found, {**losses, "loss_classifier": weigh.softmax(seen.pop("logits"), seen.pop("labels")).mean()}

    heads.select_training_samples = select
    heads.box_predictor.register_forward_hook(lambda module, inputs, output: seen.update(logits=output[0]) if module.training else None)
    heads.register_forward_hook(replaced)


# By name ----------------------------------------------------------------------------------------------------------------


DETECTORS: Mapping[str, Callable[[int, Weigh], nn.Module]] = {"tiny_fcos": TinyFcos}
"""Our own; all others are torchvision's."""

_NOT_BOXES = ("maskrcnn", "keypointrcnn")
_FOCAL = ("retinanet", "fcos", "tiny_fcos")
_FROZEN_NORMS = ("fasterrcnn_resnet50_fpn", "fasterrcnn_mobilenet_v3_large_fpn", "fasterrcnn_mobilenet_v3_large_320_fpn",
                 "retinanet_resnet50_fpn", "fcos_resnet50_fpn")  # fmt: skip
_CLASS_PARTS = ("classification_head", "box_predictor", "classes.", "cls_logits")


_OTHER_LOSS = "Compare weights:SCHEME, which suits every detector, or focal with `model=fasterrcnn_mobilenet_v3_large_fpn`."


def detector_names() -> list[str]:
    """List what `--model` may name for detection."""
    return [*DETECTORS, *(name for name in list_models(module=detection) if not name.startswith(_NOT_BOXES))]


def check_detector(name: str) -> None:
    """Refuse a detector that there is not.

    Raises:
        UsageError: with the nearest name.
    """
    names = detector_names()
    if name not in names:
        near = did_you_mean(name, names)
        raise UsageError(f"`model={name}` is not a detector.", near if near.startswith("Did") else f"Choose from: {', '.join(names)}.")


def check_loss(name: str, loss: str | None) -> None:
    """Refuse a loss that the detector cannot be trained with.

    Raises:
        UsageError: which losses it can be trained with.
    """
    if loss is None or (loss == "focal_loss" and name.startswith("fasterrcnn")):
        return
    what = loss.removesuffix("_loss")
    if loss == "focal_loss" and name.startswith(_FOCAL):
        raise UsageError(f"`arms={what}`: {name} is trained with focal loss as it is.", _OTHER_LOSS)
    if loss == "focal_loss":
        raise UsageError(f"`arms={what}`: {name} picks the hardest of the background instead.", _OTHER_LOSS)
    raise UsageError(f"`arms={what}` is a loss for whole images, and cannot train a detector.", _OTHER_LOSS)


def build(settings: Settings, num_classes: int, *, seed: int, weigh: Weigh = Weigh()) -> tuple[nn.Module, list[str]]:
    """Make a detector: the same parameters for the same seed, whatever the arm.

    Args:
        settings: `model`, `weights`, `size`.
        num_classes: Without the background.
        seed: Of the parameters that begin by chance.
        weigh: How much each class counts in the loss.

    Returns:
        The model, on the CPU, and what a reader should know of its weights.

    Raises:
        UsageError: a detector that there is not or that cannot take images of this size, weights that do not fit.
    """
    check_detector(settings.model)
    with torch.random.fork_rng([]), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torchvision's advice on sizes and initialisation
        torch.manual_seed(seed)
        model = _made(settings, num_classes, weigh)
        notes = _pretrained(model, settings, num_classes) if settings.weights else []
    _take_over(model, weigh)
    return model, notes


def _made(settings: Settings, num_classes: int, weigh: Weigh) -> nn.Module:
    name, side = settings.model, settings.size
    if name in DETECTORS:
        return DETECTORS[name](num_classes, weigh)
    model = get_model(name, weights=None, weights_backbone=None, num_classes=num_classes + 1)
    # Images come in their size: nothing is left to resize.
    mean, std = model.transform.image_mean, model.transform.image_std
    model.transform = GeneralizedRCNNTransform(side, side, mean, std, size_divisible=1 if "ssd" in name else 32, fixed_size=(side, side))
    owner = model.roi_heads if name.startswith("fasterrcnn") else model
    owner.score_thresh = LEAST_SCORE
    try:
        with torch.no_grad():
            model.eval()([torch.zeros(3, side, side)])
    except (RuntimeError, AssertionError, ValueError, IndexError) as error:
        raise UsageError(f"{name} does not take images of {side} pixels.", "Take a larger `size`, or tiny_fcos.") from error
    made: nn.Module = model.train()
    return made


def _pretrained(model: nn.Module, settings: Settings, num_classes: int) -> list[str]:
    """Put weights into a detector; what tells the classes starts from scratch where their number is another."""
    name, weights = settings.model, settings.weights
    assert weights is not None
    if Path(weights).exists():
        state = read_state(Path(weights))
    elif name in DETECTORS:
        raise UsageError(f"`weights={weights}` is not a file, and {name} has no weights by name.", "Give a file.")
    else:
        state = named_state(settings)
    if name in _FROZEN_NORMS:
        _freeze_norms(model)
    own = model.state_dict()
    fitting = {key: value for key, value in state.items() if key in own and own[key].shape == value.shape}
    extra = [key for key in state if key not in own and "num_batches_tracked" not in key]
    fresh = [key for key in own if key not in fitting and "num_batches_tracked" not in key]
    wrong = [*(key for key in fresh if not any(part in key for part in _CLASS_PARTS)), *extra]
    if wrong:
        raise UsageError(
            f"`weights={weights}` does not fit {name}: {len(wrong):,} parameters differ, first {wrong[0]}.",
            "Name the detector that the weights were made with.",
        )
    model.load_state_dict({**own, **fitting})
    return [f"The weights have different classes from these {num_classes:,}: what tells the classes starts from scratch."] if fresh else []


def _freeze_norms(module: nn.Module) -> None:
    """Keep the means and spreads that the weights were made with: batches of a detector are too small for new ones."""
    for name, child in module.named_children():
        if isinstance(child, nn.BatchNorm2d):
            frozen = ops.FrozenBatchNorm2d(child.num_features, child.eps)
            setattr(module, name, frozen)
        else:
            _freeze_norms(child)
