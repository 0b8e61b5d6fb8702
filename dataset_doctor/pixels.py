"""Pixels: what one look into every image file tells, as columns beside those of the dataset."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import Any

import numpy as np
from numpy.typing import NDArray

TURN_BACK = np.array([0, 1, 2, 3, 4, 5, 8, 7, 6], np.uint8)
"""For each EXIF orientation the one that undoes it."""


class FileState(IntEnum):
    """How an image file fared: not there, read in full, readable by only one of the decoders, cut off, or read by none.

    SUSPECT are also files in which a decoder found damage, and those too large to be decoded; `Pixels.error` says which.
    """

    MISSING = 0
    SOUND = 1
    SUSPECT = 2
    TRUNCATED = 3
    CORRUPT = 4


@dataclass(frozen=True, slots=True, eq=False)
class Pixels:
    """One row an image of the dataset, in its order. Statistics are NaN, and hashes 0, where the file could not be decoded.

    state        uint8: a FileState
    error        object (str or None): what the decoder said, for a person
    file_format  object (str): by magic bytes, "JPEG", "PNG", "BMP", "GIF", "WEBP", "TIFF", "PNM" …; "" where unknown
    size_bytes   int64: size of the file
    mode         object (str): as Pillow names it, "RGB", "L", "P", "RGBA", "CMYK", "I;16" …
    bit_depth    uint8: bits a channel
    frames       int32: more than 1 for animations and multi-page files
    orientation  uint8: EXIF orientation 1 to 8, 0 where none is stored
    has_gps, has_serial  bool: EXIF tells a place, or a camera's or owner's serial number or name
    brightness_p1, brightness_p5, brightness_p50, brightness_p95, brightness_p99  float32, 0 to 1: percentiles of luma
    contrast     float32: standard deviation of luma, 0 to 1
    sharpness    float32: spread of luma's second differences ÷ that of luma within small blocks, at the scan's fixed small side
    entropy      float32: bits, of the histogram of luma
    value_p99    float32: 99th percentile of the largest of the three channels, 0 to 1: of a saturated blue 1, where luma is 0.11
    chroma       float32: largest less smallest channel, 0 to 1; what 99.5 % of the points stay below, so that a coloured object counts
    detail       uint64: where luma bends by 8 levels of 256 and more from pixel to pixel, in 16 rows of 4 cells, as bit
                 63 − (4 · row + column); 0 for a single colour or a gradient
    relief       float32: standard deviation of luma, 0 to 1, less a gradient: what the best surface of the second degree leaves
    channel_mean, channel_std  float32 (n, 3): RGB, 0 to 1
    content_hash object (bytes of 16): of the file's bytes; b"" where unreadable
    pixel_hash   object (bytes of 16): of the decoded pixels, for files that may be pixel-identical to another; b"" elsewhere
    perceptual   uint64: 64-bit DCT hash of the oriented image; bit 63 − (8 · row + column) is 1 where the frequency with so many half
                 waves down and across is positive; `is_flat` where the image has too little to hash
    is_flat      bool: entropy under 3 bits or no contrast, so that its hash says nothing
    sketch       int8 (n, 53): the lowest frequencies of luma and colour, for a first look at which images are alike; 0 where unreadable
    """

    state: NDArray[np.uint8]
    error: NDArray[np.object_]
    file_format: NDArray[np.object_]
    size_bytes: NDArray[np.int64]
    mode: NDArray[np.object_]
    bit_depth: NDArray[np.uint8]
    frames: NDArray[np.int32]
    orientation: NDArray[np.uint8]
    has_gps: NDArray[np.bool_]
    has_serial: NDArray[np.bool_]
    brightness_p1: NDArray[np.float32]
    brightness_p5: NDArray[np.float32]
    brightness_p50: NDArray[np.float32]
    brightness_p95: NDArray[np.float32]
    brightness_p99: NDArray[np.float32]
    contrast: NDArray[np.float32]
    sharpness: NDArray[np.float32]
    entropy: NDArray[np.float32]
    value_p99: NDArray[np.float32]
    chroma: NDArray[np.float32]
    detail: NDArray[np.uint64]
    relief: NDArray[np.float32]
    channel_mean: NDArray[np.float32]
    channel_std: NDArray[np.float32]
    content_hash: NDArray[np.object_]
    pixel_hash: NDArray[np.object_]
    perceptual: NDArray[np.uint64]
    is_flat: NDArray[np.bool_]
    sketch: NDArray[np.int8]

    def __len__(self) -> int:
        return len(self.state)


@dataclass(frozen=True, slots=True, eq=False)
class Duplicates:
    """Groups of images that are the same, or nearly so; rows are those of the dataset's images.

    exact_group  int32, one an image: number of its group of byte- or pixel-identical images, -1 for none
    near_group   int32, one an image: number of its cluster of nearly identical images (exact ones included), -1 for none
    near_pairs   int32 (m, 2): pairs of nearly but not exactly identical images, lower row first
    near_distance uint8 (m): differing bits of 64
    near_turn    uint8 (m): the EXIF orientation, 1 to 8, that sets the second image as the first: 1 where they are alike as they are,
                 2 to be mirrored, 6 to be turned by 90° clockwise …
    near_certain bool (m): whether the pair is one shot beyond doubt, and not only in all likelihood
    certain_group int32, one an image: as near_group, of the certain pairs and identical images alone
    """

    exact_group: NDArray[np.int32]
    near_group: NDArray[np.int32]
    near_pairs: NDArray[Any]
    near_distance: NDArray[np.uint8]
    near_turn: NDArray[np.uint8]
    near_certain: NDArray[np.bool_]
    certain_group: NDArray[np.int32]


@dataclass(frozen=True, slots=True)
class Normalisation:
    """Mean and standard deviation of red, green and blue, 0 to 1, over `n_images` images, each weighing as many pixels as it has."""

    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    n_images: int
