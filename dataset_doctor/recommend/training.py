"""What to train with: input size, model, hyper-parameters."""

from __future__ import annotations

import math

import numpy as np

from dataset_doctor.findings import Recommendation, percent, plural
from dataset_doctor.geometry import widths_heights
from dataset_doctor.recommend.situation import BOX_TINY, ULTRALYTICS_DEFAULTS, Situation, advice
from dataset_doctor.statistics import training_memory_gib

LEAST_PX, GOOD_PX = 8, 16
"""Side of the small objects at the input size: one and two cells of the finest grid of common detectors, whose stride is 8 px."""

USUAL_INPUT = 640


# Input size ---------------------------------------------------------------------------------------------------------


def input_size(s: Situation) -> Recommendation | None:
    """Choose an input at which small objects keep a few pixels; cut images into tiles where that would be too large."""
    if not s.has_labels:
        return None
    return _input_for_boxes(s) if s.has_boxes else _input_for_images(s)


def _sides(s: Situation) -> dict[int, float]:
    """Give the input sides of the memory table with their GiB."""
    return {int(row.input.split("x")[0]): row.gib for row in s.statistics.resolution.memory}


_MEMORY_SOURCE = "memory: ResNet-50, float32, AdamW, from its activation count (Radosavovic et al. 2020)"


def _input_for_images(s: Situation) -> Recommendation | None:
    side = 224
    width, height = s.statistics.resolution.width.median, s.statistics.resolution.height.median
    if width is None or height is None:
        return None
    why = f"Weights that are pretrained on ImageNet expect about {side} px; the median image is {width:,.0f} × {height:,.0f} px."
    longest = max(width, height)
    if longest < side:
        times = (side / longest) ** 2
        why += f" Enlarging adds no detail and costs {times:,.1f} × the computation of {longest:,.0f} px: compare a smaller input."
    gib = _sides(s)[side]
    return advice(
        "input_size",
        why=why,
        parameters={"input": side, "batch": 32},
        cost=f"about {gib:.1f} GiB at batch 32",
        sources=("torchvision, pretrained classification weights", _MEMORY_SOURCE),
    )


def _input_for_boxes(s: Situation) -> Recommendation | None:
    annotations = s.dataset.annotations
    sizes = s.dataset.sizes
    with np.errstate(invalid="ignore", over="ignore"):
        wh = widths_heights(s.dataset.boxes)
        sides = np.minimum(wh[:, 0], wh[:, 1]) / sizes.max(axis=1)[annotations.image]
    sides = sides[s.dataset.is_instance & s.members[annotations.image] & np.isfinite(sides) & (sides > 0)]
    if not len(sides):
        return None
    small = min(float(np.quantile(sides, 0.1)), 1.0)
    gib = _sides(s)
    # The median image as it would be letterboxed.
    width, height = np.median(sizes[s.members & np.isfinite(sizes).all(axis=1)], axis=0)
    longest = max(width, height)
    enough = [side for side in gib if side * small >= LEAST_PX]
    codes = s.codes(BOX_TINY)
    measured = f"One object in ten has a shorter side below {percent(small)} of its image's longer side"
    sources = (f"stride of the finest grid of common detectors, {LEAST_PX} px", _MEMORY_SOURCE)
    if not enough and small * longest < LEAST_PX / 4:
        return advice(
            "input_size",
            addresses=codes,
            why=f"{measured}, below {LEAST_PX // 4} px even at full resolution: no input size and no tiles help. Look at these boxes first;"
            " if they are right, the images need more resolution.",
            parameters={"input": USUAL_INPUT, "batch": 16, "small_side_share": round(small, 6)},
            cost=f"about {gib[USUAL_INPUT]:.1f} GiB at batch 16",
            sources=sources,
        )
    if not enough:
        needed = math.ceil(LEAST_PX / small)
        tiles = [max(1, math.ceil((needed * side / longest - 0.2 * USUAL_INPUT) / (0.8 * USUAL_INPUT))) for side in (width, height)]
        n_tiles = tiles[0] * tiles[1]
        original = round(USUAL_INPUT * longest / needed)
        return advice(
            "input_size",
            addresses=codes,
            why=f"{measured}: {max(gib):,} px leave {max(gib) * small:.1f} px of it, {LEAST_PX} to {GOOD_PX} are wanted. That would take an"
            f" input of {needed:,} px. Cut tiles of {original:,} px with an overlap of 20 %, enlarged or reduced to {USUAL_INPUT}:"
            f" {n_tiles:,} to an image of {width:,.0f} × {height:,.0f}; use the same tiles when predicting.",
            parameters={"input": USUAL_INPUT, "batch": 16, "small_side_share": round(small, 6),
                        "tile_px": original, "overlap": 0.2, "tiles_per_image": n_tiles},
            cost=f"about {n_tiles:,} × the images an epoch; {gib[USUAL_INPUT]:.1f} GiB at batch 16",
            sources=(*sources, "Akyon et al. 2022, SAHI (arXiv 2202.06934)"),
        )  # fmt: skip
    good = [side for side in enough if side * small >= GOOD_PX]
    least = (good or enough)[0]
    usual = next((side for side in gib if side >= min(longest, USUAL_INPUT)), USUAL_INPUT)
    side = max(least, usual)
    why = [f"{measured}, which is {side * small:.0f} px at {side} ({LEAST_PX} to {GOOD_PX} are wanted)."]
    if side > 1.1 * longest:
        why.append(f"The median image has {longest:,.0f} px: enlarging adds no detail, but spreads small objects over more cells.")
    if enough[0] < side:
        less = (enough[0] / side) ** 2
        why.append(f"If speed matters: {enough[0]} leaves {enough[0] * small:.0f} px, with {percent(less)} of the pixels.")
    fewer = training_memory_gib(side, side, 4)
    smaller = f", {fewer:.1f} GiB at batch 4 (below 8, freeze batch normalisation)" if gib[side] > 16 else ""
    return advice(
        "input_size",
        addresses=codes,
        why=" ".join(why),
        parameters={"input": side, "batch": 16, "small_side_share": round(small, 6)},
        cost=f"about {gib[side]:.1f} GiB at batch 16{smaller}; half precision needs about half",
        sources=sources,
    )


# Model and hyper-parameters -----------------------------------------------------------------------------------------

_SMALL_SET = 10_000
_MODELS = {  # Smallest first: Ultralytics' two smallest, then torchvision's
    "detect": ("yolo11n", "yolo11s", "fasterrcnn_mobilenet_v3_large_fpn", "fasterrcnn_resnet50_fpn_v2"),
    "segment": ("yolo11n-seg", "yolo11s-seg", "maskrcnn_resnet50_fpn", "maskrcnn_resnet50_fpn_v2"),
    "pose": ("yolo11n-pose", "yolo11s-pose", "keypointrcnn_resnet50_fpn", "keypointrcnn_resnet50_fpn"),
    "obb": ("yolo11n-obb", "yolo11s-obb", "", ""),
    "classify": ("yolo11n-cls", "yolo11s-cls", "resnet18", "resnet50"),
}


def model(s: Situation) -> Recommendation | None:
    """Start with the smallest pretrained model that fits the task and the number of images."""
    if not s.has_labels:
        return None
    small = s.n_images < _SMALL_SET
    ours = _MODELS[s.dataset.task][0 if small else 1 :: 2]
    candidates = [name for name in ours if name]
    if s.dataset.task == "classify":
        candidates.reverse()
    used = int((s.instances > 0).sum())
    labels = f" and {plural(int(s.instances.sum()), 'instance')}" if s.has_boxes else ""
    parameters: dict[str, str | int | float] = {"model": candidates[0], "pretrained": "yes"}
    if len(candidates) > 1:
        parameters["alternative"] = candidates[1]
    return advice(
        "model",
        why=f"{plural(s.n_images, 'image')}{labels} of {plural(used, 'class', 'classes')} {s.where}: start small and pretrained,"
        f" {' or '.join(candidates)}. Take a larger one only when the score on the training images themselves stays below the goal.",
        parameters=parameters,
        cost="the cheapest of its family; Ultralytics is AGPL-3.0 or paid, torchvision BSD",
        sources=("Ultralytics models", *(["torchvision models and pretrained weights"] if s.dataset.task != "obb" else [])),
    )


def hyperparameters(s: Situation) -> Recommendation | None:
    """Start from known defaults; they are starting points and no finding."""
    if not s.has_labels:
        return None
    batch = 16 if s.has_boxes else 32
    steps = math.ceil(s.n_images / batch)
    if s.has_boxes:
        why = "Ultralytics' defaults: SGD, learning rate 0.01, momentum 0.937, weight decay 0.0005, 3 warm-up epochs, batch 16."
        parameters: dict[str, str | int | float] = {
            "optimizer": "SGD", "lr": 0.01, "momentum": 0.937, "weight_decay": 0.0005, "warmup_epochs": 3, "batch": batch, "patience": 100,
        }  # fmt: skip
    else:
        why = "Fine-tuning with AdamW: learning rate 0.0001 to 0.0005, weight decay 0.01 (0.05 for a ViT), batch 32."
        parameters = {"optimizer": "AdamW", "lr": 0.0003, "weight_decay": 0.01, "batch": batch}
    compare = " Compare treatments at equal steps, not epochs." if s.imbalanced else ""
    return advice(
        "hyperparameters",
        why=f"Starting points, not findings. {why} With {plural(s.n_images, 'image')} an epoch is {plural(steps, 'step')}.{compare}",
        parameters=parameters | {"steps_per_epoch": steps},
        cost="one learning-rate range test, about 100 steps; again for each way of balancing, which changes the scale of the loss",
        sources=(ULTRALYTICS_DEFAULTS,) if s.has_boxes else ("common fine-tuning practice", "PyTorch Lightning, learning-rate finder"),
    )
