"""Which augmentations pay, and which would change what a class means."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from dataset_doctor.balance import BUDGET, MAX_REPEAT
from dataset_doctor.balance.copy_paste.objects import SMALLEST_PX
from dataset_doctor.balance.names import MICROSCOPIC, Hints, words
from dataset_doctor.balance.names import hints as hints_of
from dataset_doctor.dataset import Flag, Geometry
from dataset_doctor.findings import Recommendation
from dataset_doctor.geometry import widths_heights
from dataset_doctor.plan import Plan
from dataset_doctor.recommend.situation import CIFAR, ULTRALYTICS_DEFAULTS, ZIPF, Situation, advice, expected_of, named, ratio
from dataset_doctor.statistics import RARE_IMAGES

OUTLINED = (Geometry.POLYGON, Geometry.RLE, Geometry.RLE_STRING)

VARIED_LIGHT = 0.25
"""Between the 5 % and 95 % quantiles of the images' middle brightness, 0 to 1; a guess, to be checked in the preview."""


def augment(s: Situation) -> Recommendation | None:
    """Name the augmentations that pay first, and those that would change what a class means."""
    if not (s.has_labels and s.trains):
        return None
    hints = hints_of(s.dataset.class_names, s.instances)
    rare = bool((s.judged & (s.images <= RARE_IMAGES)).any())
    short = s.imbalanced or rare
    guessed = any((hints.mirrored, hints.text, hints.coloured, hints.gravity_free))
    if not short and not guessed:
        return None
    why: list[str] = []
    parameters: dict[str, str | int | float] = {}
    sources: list[str] = []
    outlined = bool(np.isin(s.dataset.annotations.geometry, OUTLINED).any())
    if short and s.has_boxes:
        why.append(
            "Before any balancing: on long-tailed COCO-ZIPF mosaic took YOLOv5s from 25.4 to 32.0 mAP, mixup at 0.3 on to 34.3,"
            " while each way of resampling or weighting lost 0.6 to 1.3."
        )
        parameters |= {"operations": "mosaic, mixup", "mosaic": 1.0, "mixup": 0.3}
        if outlined:
            why.append("Then copy-paste of rare classes, for which the outlines are here: it parts classes that share images.")
            parameters["operations"] = "mosaic, mixup, copy-paste"
        else:
            why.append(
                "Copy-paste needs outlines, which are not here: rebalance --method copy_paste then pastes boxes with soft edges, which take"
                " their background along."
            )
        sources += [ZIPF, "Ghiasi et al. 2021, simple copy-paste"]
    elif short:
        why.append(
            "Before any balancing: mixup took the error on CIFAR-100-LT from 61.68 to 59.18 %, on CIFAR-10-LT from 29.64 to 25.94 %."
        )
        parameters["operations"] = "mixup"
        sources.append(CIFAR)
    if hints.mirrored:
        why.append(f"No mirror images, or exchange the classes with them: {named(s, hints.mirrored)} are left and right of one thing.")
    if hints.text:
        why.append(f"No flips: {named(s, hints.text)} read as text or signs, and no mirror image of them exists.")
    if hints.mirrored or hints.text:
        parameters |= {"fliplr": 0.0, "flipud": 0.0}
    if hints.coloured:
        why.append(f"No change of hue: colour distinguishes {named(s, hints.coloured)}.")
        parameters["hsv_h"] = 0.0
    if hints.gravity_free:
        turned = "quarter turns" if hints.mirrored or hints.text else "flips and quarter turns (D4)"
        why.append(f"{named(s, hints.gravity_free)} have no upright: {turned} are free variety.")
        if not (hints.mirrored or hints.text):
            parameters |= {"fliplr": 0.5, "flipud": 0.5}
    else:
        inflate = ", since a box turned by 30° grows to 1.87 × its area" if s.has_boxes else ""
        why.append(f"If the camera stands upright, rotate by 10° at most{inflate}.")
        parameters["degrees"] = 10
    preset, suits = _preset(s, hints)
    treatment = _treatment(s, outlined, preset) if short else {}
    plan = _plan(s, treatment)
    if treatment and (treatment["method"] == "copy_paste" or (plan is not None and ratio(s.imbalance_after(plan)) != ratio(s.imbalance))):
        why.append(f"{suits} As files: the command below, whose --preview sheet.jpg shows 16 of them.")
        parameters |= treatment
    else:
        treatment = {}
        why.append(("What names suggest is a guess: look" if guessed else "Look") + " at 16 samples of each operation.")
    return advice(
        "augment",
        addresses=s.eased(plan) if short else (),
        why=" ".join(why) + (" What names suggest is a guess: look at it." if treatment and guessed else ""),
        parameters=parameters,
        command=s.rebalancing(treatment, "augmented") if treatment else None,
        expected=expected_of(plan),
        cost="no label to draw; mosaic and mixup need longer training" if short and s.has_boxes else "no label to draw",
        strength="evidence" if short else "policy",
        sources=(*sources, "albumentations and torchvision.transforms.v2 (operations)", *([ULTRALYTICS_DEFAULTS] if s.has_boxes else [])),
    )


def _preset(s: Situation, hints: Hints) -> tuple[str, str]:
    """Choose the preset that suits how the images seem to have been taken, and say why."""
    if hints.mirrored or hints.text:
        return "text", "text mirrors nothing."
    if hints.gravity_free:
        preset = "microscopy" if any(not MICROSCOPIC.isdisjoint(words(s.name(c))) for c in hints.gravity_free) else "aerial"
        return preset, f"{preset} knows no upright."
    if s.dataset.task == "obb":
        return "aerial", "aerial rotates images as freely as their oriented boxes are rotated."
    if hints.coloured or s.light is None:
        return "light", "light changes no meaning."
    low, high = s.light
    spread = f"the middle brightness of images goes from {low:.2f} to {high:.2f} of 1"
    if high - low >= VARIED_LIGHT:
        return "outdoor", f"outdoor varies the light: {spread}."
    return "indoor", f"indoor varies the light little: {spread}."


def _treatment(s: Situation, outlined: bool, preset: str) -> dict[str, str | int | float]:
    """Give what `rebalance` needs to make images of scarce classes; nothing where it cannot make good ones, or no sound image is here."""
    limits: dict[str, str | int | float] = {"budget": BUDGET, "max_repeat": MAX_REPEAT}
    if not s.imbalanced or s.split is None or not s.balances or not (s.sound & s.members).any():
        return {}
    if outlined and _scarcest_can_be_cut_out(s) and not _has_keypoints(s):
        return {"method": "copy_paste", "target": "sqrt", **limits}
    if s.repeats is not None:
        return {"method": "repeat_factor", "threshold": s.repeats.value, **limits, "augment": preset}
    if not s.has_boxes:
        return {"method": "oversample", "target": "sqrt", **limits, "augment": preset}
    return {}


def _has_keypoints(s: Situation) -> bool:
    """Tell whether pasting could hide keypoints, which nothing takes account of."""
    table = s.dataset.annotations
    return s.dataset.task == "pose" or bool(table.has(Flag.KEYPOINTS)[s.members[table.image]].any())


def _scarcest_can_be_cut_out(s: Situation) -> bool:
    """Tell whether an object of the smallest class has an outline, is large enough, and is in an image that can be decoded."""
    table = s.dataset.annotations
    rows = np.flatnonzero((table.class_index == s.extremes()[0]) & s.dataset.is_instance & np.isin(table.geometry, OUTLINED))
    rows = rows[(s.sound & s.members)[table.image[rows]]]
    return bool((widths_heights(s.dataset.boxes[rows]) >= SMALLEST_PX).all(axis=1).any())


def _plan(s: Situation, treatment: Mapping[str, str | int | float]) -> Plan | None:
    """Count what a treatment brings, without decoding an image.

    Augmented copies count as repeats do. Only the command looks for places to paste; its `--dry-run` gives the counts.
    """
    if not treatment or treatment["method"] == "copy_paste":
        return None
    return s.plan(**{name: value for name, value in treatment.items() if name != "augment"})
