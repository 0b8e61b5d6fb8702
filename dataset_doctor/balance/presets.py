"""Augmentation by how the images were taken: for copies that are written, and for a training, under the same names.

Copies are drawn one by one, with labels that follow (`augmenting`); in a training every image is changed anew each time it is shown
(`trials.augmentation`). What a name mirrors or turns by quarters is the same in both.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Augmentation:
    """How far images are changed in a training; each amount is the most that chance may choose.

    flip, flip_vertical  mirrored, or set upside down, half the time
    quarter_turns        turned by 0, 90, 180 or 270 degrees
    degrees              turned by up to so many degrees either way; not where there are boxes, which would grow
    shift                moved by up to this share of the side, either way
    zoom                 enlarged or reduced by up to this share
    brightness, contrast, saturation  factors of 1 ± this
    colour               factor of each of red, green and blue of 1 ± this
    noise                standard deviation of noise, where values go from 0 to 1
    """

    flip: bool = False
    flip_vertical: bool = False
    quarter_turns: bool = False
    degrees: float = 0.0
    shift: float = 0.0
    zoom: float = 0.0
    brightness: float = 0.0
    contrast: float = 0.0
    saturation: float = 0.0
    colour: float = 0.0
    noise: float = 0.0


@dataclass(frozen=True, slots=True)
class Preset:
    """What suits a kind of images.

    what      the kind, for a person
    training  amounts of a training, `verify --arms augment:NAME`
    copies    operations of `rebalance --augment NAME`; none where it is for trainings alone
    """

    what: str
    training: Augmentation
    copies: tuple[str, ...] = ()


PRESETS: Mapping[str, Preset] = {
    "none": Preset("images as they are", Augmentation()),
    "light": Preset("small shifts; changes no meaning", Augmentation(shift=0.08, zoom=0.08), ("scale",)),
    "cifar": Preset("mirrored, shifted by an eighth: the recipe of small natural images", Augmentation(flip=True, shift=0.125)),
    "indoor": Preset(
        "mirrored, little light",
        Augmentation(flip=True, degrees=5, shift=0.1, zoom=0.15, brightness=0.15, contrast=0.15),
        ("flip", "rotate", "scale", "color"),
    ),
    "outdoor": Preset(
        "a camera that stands upright in changing light",
        Augmentation(flip=True, shift=0.1, zoom=0.2, brightness=0.3, contrast=0.3, saturation=0.3, colour=0.05),
        ("flip", "scale", "color"),
    ),
    "aerial": Preset(
        "from above: no side is up",
        Augmentation(flip=True, flip_vertical=True, quarter_turns=True, shift=0.1, zoom=0.2, brightness=0.2, contrast=0.2),
        ("flip", "flipud", "rot90", "scale", "color"),
    ),
    "microscopy": Preset(
        "no side is up, stains vary",
        Augmentation(
            flip=True, flip_vertical=True, quarter_turns=True, degrees=45, shift=0.1, zoom=0.1, brightness=0.15, contrast=0.15, colour=0.08
        ),
        ("flip", "flipud", "rot90", "color"),
    ),
    "document": Preset(
        "text, digits and signs: never mirrored",
        Augmentation(degrees=5, shift=0.1, zoom=0.1, brightness=0.2, contrast=0.2),
        ("rotate", "scale", "color"),
    ),
    "text": Preset(
        "as document, with sensor noise",
        Augmentation(degrees=5, shift=0.1, zoom=0.1, brightness=0.2, contrast=0.2, noise=0.03),
        ("rotate", "scale", "color", "noise"),
    ),
    "fixed-camera": Preset(
        "a camera that never moves: light and noise alone", Augmentation(brightness=0.3, contrast=0.3, noise=0.03), ("color", "noise")
    ),
    "noisy": Preset("as light, with sensor noise", Augmentation(shift=0.08, zoom=0.08, noise=0.05), ("scale", "noise")),
}
"""Every preset by its name. Amounts follow the rules in the documentation: modest, and chosen by how the images were taken."""

COPIES: Mapping[str, tuple[str, ...]] = {name: one.copies for name, one in PRESETS.items() if one.copies}
"""The operations of each preset that `rebalance --augment` takes."""
