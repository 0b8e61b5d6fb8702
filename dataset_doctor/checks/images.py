"""DD4: what is wrong with the images themselves, from their pixels and metadata.

Limits that are known to depend on the kind of images hold relative to the dataset: what most of its images are like is not a defect.
"""

from __future__ import annotations

import math
import posixpath
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from dataset_doctor.checks._found import images_found, sized_boxes
from dataset_doctor.dataset import Dataset, Rows
from dataset_doctor.findings import Facts, Found, Severity, Threshold, judged_by, plural
from dataset_doctor.pixels import FileState, Pixels

MAX_USUAL_SHARE = Threshold(
    "max_usual_share", 0.25, "largest share of images that can be unusual; what holds for more is how the dataset is", upper=1
)
MIN_IMAGES = Threshold("min_images", 20, "fewest images for which it is known what is usual", lower=1)
MAX_ROBUST_Z = Threshold("max_robust_z", -3.5, "largest robust z-score (of the logarithm) of an outlier", lower=-math.inf, upper=0)
"""Iglewicz and Hoaglin, 1993."""
MIN_LOG_SPREAD = 0.1
"""Keeps datasets that are all alike from making outliers of small differences."""
FENCE_IQR = Threshold("fence_iqr", 3.0, "distance of an outlier from the quartiles, in interquartile ranges")
"""Tukey, 1977."""

MAX_DARK_P99 = Threshold("max_dark_p99", 0.32, "99th percentile of brightness below which an image is dark, 0 to 1", upper=1)
"""The default of CleanVision 0.3."""
MAX_BLACK_P99 = Threshold(
    "max_black_p99", 0.12, "99th percentile of brightness below which a screen shows next to nothing, 0 to 1", upper=1
)
MIN_LIT_RATIO = Threshold("min_lit_ratio", 0.1, "smallest ratio of median to bright luma; below, something lit stands on black")
"""A specimen under a microscope, stars or a cut-out. Photographs taken in too little light have 0.25 and more."""

MIN_BRIGHT_P5 = Threshold("min_bright_p5", 0.95, "5th percentile of brightness above which an image is bright, 0 to 1", upper=1)
"""The default of CleanVision 0.3."""
MAX_BLANK_CONTRAST = Threshold("max_blank_contrast", 0.02, "standard deviation of luma below which an image is blank, 0 to 1", upper=1)
"""Something dark that covers half a thousandth of a white image gives as much."""

MAX_EMPTY_RELIEF = Threshold(
    "max_empty_relief", 0.02, "standard deviation of luma about a smooth surface below which an image is empty, 0 to 1", upper=1
)
"""Photographs out of focus by a twentieth of their width have more."""
MAX_SIGN_ENTROPY_BITS = Threshold(
    "max_sign_entropy_bits", 1.0, "entropy of the histogram below which there is only a small sign on a plain ground, in bits", upper=8
)
"""A ground of one level with a line of text has up to half a bit; the evenest sky photographed has two."""
MAX_SIGN_ROWS = Threshold("max_sign_rows", 2, "most rows with detail of a small sign, of 16 over the height of the image", upper=16)

FINE_BOX = 4 / 90
"""Of the short side. Smaller boxes have less than four pixels at the scan's scale, and what is in them cannot be seen there."""
DETAIL_GRID = (16, 4)
"""Rows and columns of `Pixels.detail`."""

MAX_BLURRY_SHARPNESS = Threshold("max_blurry_sharpness", 0.26, "sharpness below which an outlier is blurry")
"""Soft but sharp enough images of some datasets have less, so that it is a condition beside the comparison with the rest of the dataset,
never alone. docs/pixels.md says from which strength on a blur is found."""
MIN_SHARP_SIDE_PX = Threshold("min_sharp_side_px", 16, "shorter side from which on sharpness is judged, in pixels")
"""Two of the blocks within which it is measured."""

MIN_ASPECT = Threshold("min_aspect", 0.35, "smallest ratio of the shorter to the longer side that is not extreme", upper=1)
"""The default of CleanVision 0.3."""
MIN_SIZE_RATIO = Threshold("min_size_ratio", 1.5, "smallest factor between an odd size and the median", lower=1)

MAX_GREY_CHROMA = Threshold("max_grey_chroma", 8 / 255, "largest difference of the channels of a grey image, 0 to 1", upper=1)
"""In an image with half of the span from black to white and more; less in dark, washed-out or foggy ones, whose colours are nearer to each
other. A grey image has 0; a faint tint, as of an old print or of a camera's white balance, has up to this."""

SUFFIXES: dict[str, tuple[str, ...]] = {
    "JPEG": (".jpg", ".jpeg", ".jpe", ".jfif", ".jif", ".mpo"),
    "MPO": (".jpg", ".jpeg", ".jpe", ".jfif", ".jif", ".mpo"),
    "PNG": (".png", ".apng"),
    "BMP": (".bmp", ".dib"),
    "DIB": (".bmp", ".dib"),
    "GIF": (".gif",),
    "WEBP": (".webp",),
    "TIFF": (".tif", ".tiff", ".dng"),
    "PNM": (".pnm", ".ppm", ".pgm", ".pbm", ".pfm"),
    "PPM": (".pnm", ".ppm", ".pgm", ".pbm", ".pfm"),
    "HEIF": (".heic", ".heif", ".hif"),
    "HEIC": (".heic", ".heif", ".hif"),
    "AVIF": (".avif", ".avifs"),
    "JPEG2000": (".jp2", ".j2k", ".jpf", ".jpx", ".j2c", ".jpc"),
}

TURNED = (5, 6, 7, 8)
"""EXIF orientations that exchange width and height."""


# Files --------------------------------------------------------------------------------------------------------------


def image_corrupt(dataset: Dataset, facts: Facts) -> Found | None:
    """Flag images whose header is fine but whose pixels cannot be decoded.

    **Why it matters.** A check of headers passes them. Ultralytics drops the image with its boxes; torchvision and detectron2 stop in
    the middle of an epoch.

    **Usual cause.** A damaged download, disk or archive.

    **What to do.** Fetch the file again, or remove it with its labels.
    """
    # A file without a readable header is image-unreadable.
    return _in_state(dataset, facts, FileState.CORRUPT, "image cannot be decoded", "images cannot be decoded")


def image_truncated(dataset: Dataset, facts: Facts) -> Found | None:
    """Flag image files that end too early.

    **Why it matters.** The lower part is grey or missing, with boxes on it. Pillow stops by default; Ultralytics overwrites
    the file in your dataset with a version that ends properly.

    **Usual cause.** An interrupted copy or download, or a full disk.

    **What to do.** Fetch the file again. If only the last bytes are missing, save it again and look at it.
    """
    return _in_state(dataset, facts, FileState.TRUNCATED, "image file is cut off", "image files are cut off")


def image_suspect(dataset: Dataset, facts: Facts) -> Found | None:
    """Flag images in which a decoder finds damage, and those that one decoder reads and another does not.

    **Why it matters.** Damaged images are read without an error, with stripes or a grey part on which boxes are drawn. Where decoders
    disagree, the trainer's library decides which images are trained on.

    **Usual cause.** A damaged download or disk; else extra bytes, a rare kind of compression, or metadata that breaks the standard.

    **What to do.** Look at the image, and fetch the file again if it is damaged; else save it again with the decoder that reads it.
    """
    one, many = "image is damaged, or read by one decoder only", "images are damaged, or read by one decoder only"
    return _in_state(dataset, facts, FileState.SUSPECT, one, many)


def _in_state(dataset: Dataset, facts: Facts, state: FileState, one: str, many: str) -> Found | None:
    pixels = facts.pixels
    if pixels is None:
        return None
    rows = np.flatnonzero((pixels.state == state) & (dataset.images.file_width > 0))
    if not len(rows):
        return None
    details = [error or "" for error in pixels.error[rows].tolist()]
    return Found(len(rows), plural(len(rows), one, many), images=rows, details=details)


def image_extension_wrong(dataset: Dataset, facts: Facts) -> Found | None:
    """Flag image files whose suffix names another format than their content is.

    **Why it matters.** Readers that go by the suffix fail or pick the wrong decoder (TensorFlow, darknet, DALI); lossy data hides behind
    `.png`.

    **Usual cause.** Files renamed instead of converted, or images from the web, where `.jpg` is often WebP.

    **What to do.** Rename the file, and its name in the labels, or convert it.
    """
    pixels = facts.pixels
    if pixels is None:
        return None
    pairs = zip(dataset.images.file_name.tolist(), pixels.file_format.tolist(), strict=True)
    suffixes = [(posixpath.splitext(name)[1].lower(), kind) for name, kind in pairs]
    rows = np.array([row for row, (suffix, kind) in enumerate(suffixes) if kind in SUFFIXES and suffix not in SUFFIXES[kind]], np.intp)
    if not len(rows):
        return None
    message = plural(len(rows), "image is not what its suffix says", "images are not what their suffixes say")
    details = [f"{suffixes[row][1]} named {suffixes[row][0] or 'without a suffix'}" for row in rows.tolist()]
    return Found(len(rows), message, images=rows, details=details)


def image_exif_rotated(dataset: Dataset, facts: Facts) -> Found | None:
    """Flag images stored rotated or mirrored, with EXIF metadata that tell the viewer to undo it.

    **Why it matters.** OpenCV and Ultralytics rotate such an image, Pillow and torchvision do not by default: boxes drawn on the one lie
    beside the objects in the other. An error where the labels give the size before rotation and boxes fit only that; a warning where they
    give that size; else worth knowing.

    **Usual cause.** Images taken with a phone held upright.

    **What to do.** Rotate the pixels and drop the orientation (`PIL.ImageOps.exif_transpose`), then check some boxes by eye.
    """
    pixels, images = facts.pixels, dataset.images
    if pixels is None:
        return None
    wrong = pixels.orientation > 1
    turned = np.isin(pixels.orientation, TURNED) & (images.file_width > 0) & (images.file_width != images.file_height)
    raw_size = turned & (images.width == images.file_height) & (images.height == images.file_width)
    fits_only_raw = np.zeros(dataset.n_images, bool)
    if raw_size.any():
        of = dataset.annotations.image
        boxes = dataset.boxes
        oriented = np.stack([images.file_width[of], images.file_height[of]], axis=1)
        leaves_oriented = (boxes[:, 2:] > oriented + 1).any(axis=1)
        leaves_raw = (boxes[:, 2:] > oriented[:, ::-1] + 1).any(axis=1)
        fits_only_raw[of[leaves_oriented]] = True
        fits_only_raw[of[leaves_raw]] = False
        fits_only_raw &= raw_size
    severity = Severity.ERROR if fits_only_raw.any() else Severity.WARNING if raw_size.any() else Severity.INFO
    message = plural(int(wrong.sum()), "image is stored rotated or mirrored", "images are stored rotated or mirrored")
    if fits_only_raw.any():
        message += f"; the boxes of {int(fits_only_raw.sum()):,} fit only the image before it is rotated"
    rows = np.flatnonzero(wrong)
    details = [
        f"EXIF orientation {orientation}" + (", boxes drawn before rotation" if only else "")
        for orientation, only in zip(pixels.orientation[rows].tolist(), fits_only_raw[rows].tolist(), strict=True)
    ]
    return Found(len(rows), message, images=rows, severity=severity, details=details) if len(rows) else None


# Light and sharpness ------------------------------------------------------------------------------------------------


@judged_by(MAX_DARK_P99, MAX_BLACK_P99, MIN_LIT_RATIO, MAX_ROBUST_Z, MIN_IMAGES, MAX_USUAL_SHARE)
def image_dark(dataset: Dataset, facts: Facts) -> Found | None:
    """Flag images that are far darker than the rest of the dataset, or nearly black.

    **Why it matters.** Little can be seen on them, and labels drawn there are guesses. Where many images are dark, it is only worth
    knowing.

    **Usual cause.** Underexposure, a covered lens, frames from a fade; 16-bit data read as 8-bit.

    **What to do.** Remove those on which nothing can be seen; keep the others if the model will meet such images.

    Flagged is an image in which no channel of 99 % of the points reaches {max_dark_p99} of full brightness, and which is darker than the
    others by a robust z-score of {max_robust_z} where there are {min_images} and more. A dataset that holds every light from noon to night
    has no such outliers. Below {max_black_p99} an image is flagged whatever the others are like. Something lit on a black ground is not
    dark.
    """

    def dark(pixels: Pixels) -> NDArray[np.bool_]:
        value = pixels.value_p99
        dim = (value < facts[MAX_DARK_P99]) & (pixels.brightness_p50 >= facts[MIN_LIT_RATIO] * value)
        return (value < facts[MAX_BLACK_P99]) | (dim & _outlying(facts, value, np.isfinite(value), few=True))

    return _unusual(facts, dark, "image is very dark", "images are very dark")


@judged_by(MIN_BRIGHT_P5, MAX_BLANK_CONTRAST, MIN_IMAGES, MAX_USUAL_SHARE)
def image_bright(dataset: Dataset, facts: Facts) -> Found | None:
    """Flag images of which 95 % of the points are nearly white ({min_bright_p5} of full brightness and more), and the rest hardly darker.

    **Why it matters.** The image is washed out or empty. Where many images are bright, as scans of documents are, it is only worth knowing.

    **Usual cause.** Overexposure, blank pages, a transparent image on white.

    **What to do.** Remove those on which nothing can be seen.

    A small object on a white ground is something to see: the standard deviation of luma is below {max_blank_contrast} where there is none.
    """

    def bright(pixels: Pixels) -> NDArray[np.bool_]:
        return (pixels.brightness_p5 > facts[MIN_BRIGHT_P5]) & (pixels.contrast < facts[MAX_BLANK_CONTRAST])

    return _unusual(facts, bright, "image is nearly white", "images are nearly white")


@judged_by(MAX_EMPTY_RELIEF, MAX_SIGN_ENTROPY_BITS, MAX_SIGN_ROWS, MIN_IMAGES, MAX_USUAL_SHARE)
def image_low_information(dataset: Dataset, facts: Facts) -> Found | None:
    """Flag images with next to nothing on them: a single colour, a gradient, or a small sign on a plain ground.

    **Why it matters.** There is nothing to learn from a single colour, and perceptual hashes cannot tell such images apart.

    **Usual cause.** Placeholders, failed downloads, a covered lens, frames from a fade.

    **What to do.** Look at them, and remove those that are empty. Where many are like that, it is only worth knowing.

    Luma bends nowhere by 8 of 256 levels from pixel to pixel, at one small size for all images, and deviates from a smooth surface by less
    than {max_empty_relief}. Or its histogram holds less than {max_sign_entropy_bits} bit, and it bends only in a strip of {max_sign_rows}
    of 16 rows. An image is not empty if luma bends inside of a box, or if a box is smaller than 4 pixels of that size, so that its content
    cannot be seen there.
    """

    def empty(pixels: Pixels) -> NDArray[np.bool_]:
        sign = (pixels.entropy < facts[MAX_SIGN_ENTROPY_BITS]) & (pixels.detail > 0)
        rows = np.flatnonzero(sign)
        sign[rows[_detail_cells(pixels, rows).any(axis=2).sum(axis=1) > facts[MAX_SIGN_ROWS]]] = False
        nearly = sign | _is_smooth(facts, pixels)
        nearly[_with_something_in_a_box(dataset, pixels, np.flatnonzero(nearly))] = False
        return nearly

    return _unusual(facts, empty, "image holds almost no information", "images hold almost no information")


def _is_smooth(facts: Facts, pixels: Pixels) -> NDArray[np.bool_]:
    """Tell which images are a single colour, a gradient, or nearly so."""
    smooth: NDArray[np.bool_] = (pixels.detail == 0) & (pixels.relief < facts[MAX_EMPTY_RELIEF])
    return smooth


def _detail_cells(pixels: Pixels, rows: Rows) -> NDArray[np.uint8]:
    """Give the cells of `detail` of some images (n, rows, columns): 1 where luma bends."""
    return np.unpackbits(pixels.detail[rows].astype(">u8").view(np.uint8)).reshape(-1, *DETAIL_GRID)


def _with_something_in_a_box(dataset: Dataset, pixels: Pixels, rows: Rows) -> Rows:
    """Give those of some images that have a box with a cell of `detail` in it, or one in which the scan cannot see."""
    if not len(rows):
        return rows
    chosen = np.full(dataset.n_images, -1, np.intp)
    chosen[rows] = np.arange(len(rows))
    n_down, n_across = DETAIL_GRID
    below = np.zeros((len(rows), n_down + 1, n_across + 1), np.intp)  # cells with detail above and left of each corner of the grid
    below[:, 1:, 1:] = _detail_cells(pixels, rows).cumsum(axis=1).cumsum(axis=2)
    of = chosen[dataset.annotations.image]
    grid = np.tile([n_across, n_down], 2)
    boxes, sizes = sized_boxes(dataset)
    fine = boxes.min(axis=1) < FINE_BOX * sizes.min(axis=1)
    corners = dataset.boxes / np.tile(sizes, 2) * grid
    usable = (of >= 0) & np.isfinite(corners).all(axis=1)
    of, fine, corners = of[usable], fine[usable], np.clip(corners[usable], 0, grid)
    left, top = np.floor(corners[:, :2]).astype(np.intp).T
    right, bottom = np.ceil(corners[:, 2:]).astype(np.intp).T
    inside = below[of, bottom, right] - below[of, top, right] - below[of, bottom, left] + below[of, top, left]
    found: Rows = rows[np.unique(of[(inside > 0) | fine])]
    return found


@judged_by(MAX_BLURRY_SHARPNESS, MAX_ROBUST_Z, MIN_IMAGES, MIN_SHARP_SIDE_PX, MAX_EMPTY_RELIEF)
def image_blurry(dataset: Dataset, facts: Facts) -> Found | None:
    """Flag images that are far less sharp than the rest of the dataset, and grossly blurred.

    **Why it matters.** Edges of objects cannot be seen, so that boxes are inaccurate.

    **Usual cause.** A shaken camera, a wrong focus, a small image blown up.

    **What to do.** Remove the worst. Keep some if the model will meet such images.

    Sharpness is the spread of second differences ÷ that of brightness within small blocks, at one small size for all images. Flagged is a
    robust z-score of {max_robust_z} and less among at least {min_images} images, with a sharpness below {max_blurry_sharpness}. At that
    size, 90 px on the short side, fine blur is not seen: out of focus by 6 % of the short side is found, 2 % is not. In images of 32 px
    only gross blur can be told from their own softness.
    """
    pixels = facts.pixels
    if pixels is None:
        return None
    width, height, known = _file_sizes(dataset)
    large = known & (np.minimum(width, height) >= facts[MIN_SHARP_SIDE_PX])
    usable = large & ~pixels.is_flat & (pixels.sharpness > 0) & ~_is_smooth(facts, pixels)
    blurry = _outlying(facts, pixels.sharpness, usable) & (pixels.sharpness < facts[MAX_BLURRY_SHARPNESS])
    return images_found(blurry, "image is blurry", "images are blurry")


def _outlying(facts: Facts, values: NDArray[np.float32], usable: NDArray[np.bool_], *, few: bool = False) -> NDArray[np.bool_]:
    """Tell which values are far below the others, as ratios go; `few` is the answer where there are too few to judge."""
    if usable.sum() < facts[MIN_IMAGES]:
        return usable & few
    logs = np.log(np.maximum(values.astype(np.float64), np.finfo(np.float32).tiny))
    median = np.median(logs[usable])
    spread = max(MIN_LOG_SPREAD, 1.4826 * float(np.median(np.abs(logs[usable] - median))))
    out: NDArray[np.bool_] = usable & ((logs - median) / spread <= facts[MAX_ROBUST_Z])
    return out


def _unusual(facts: Facts, test: Callable[[Pixels], NDArray[np.bool_]], one: str, many: str) -> Found | None:
    """Report the images for which a test holds; only as worth knowing where it holds for a good part of the dataset."""
    if facts.pixels is None:
        return None
    wrong = test(facts.pixels)
    usual = wrong.sum() > facts[MAX_USUAL_SHARE] * max(facts[MIN_IMAGES], np.isfinite(facts.pixels.entropy).sum())
    return images_found(wrong, one, many, severity=Severity.INFO if usual else None)


# Shape and size -----------------------------------------------------------------------------------------------------


@judged_by(MIN_ASPECT, FENCE_IQR)
def image_odd_aspect(dataset: Dataset, facts: Facts) -> Found | None:
    """Flag images that are very long or very high, and of another shape than the rest.

    **Why it matters.** Scaled to a square they lose their objects; letterboxed they are mostly padding.

    **Usual cause.** Banners, panoramas, a screen shot of a whole page, a crop that went wrong.

    **What to do.** Cut them into tiles, or remove them.
    """
    if facts.pixels is None:
        return None
    width, height, known = _file_sizes(dataset)
    ratio = np.minimum(width, height) / np.maximum(width, height)
    odd = known & (ratio < facts[MIN_ASPECT]) & _far_out(facts, np.log(width / height), known)
    return images_found(odd, "image has an extreme shape", "images have an extreme shape")


@judged_by(MIN_SIZE_RATIO, FENCE_IQR, MIN_IMAGES)
def image_odd_size(dataset: Dataset, facts: Facts) -> Found | None:
    """Flag images that are much smaller or larger than the others.

    **Why it matters.** Small ones become blurry when scaled up, and objects on large ones vanish when scaled down.

    **Usual cause.** Thumbnails among photographs, or images of two sources.

    **What to do.** Look at the smallest. Cut the largest into tiles if their objects are small.

    Flagged is a side (the root of the area) {fence_iqr} interquartile ranges beyond the quartiles, and at least a factor of
    {min_size_ratio} from the median, among at least {min_images} images.
    """
    if facts.pixels is None:
        return None
    width, height, known = _file_sizes(dataset)
    if known.sum() < facts[MIN_IMAGES]:
        return None
    side = np.sqrt(width * height)
    from_median = np.abs(np.log(side / np.median(side[known]))) >= np.log(facts[MIN_SIZE_RATIO])
    return images_found(known & from_median & _far_out(facts, side, known), "image has an unusual size", "images have an unusual size")


def _file_sizes(dataset: Dataset) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.bool_]]:
    """Give width and height of each file, and whether they are known; 1 where not."""
    images = dataset.images
    known = (images.file_width > 0) & (images.file_height > 0)
    width, height = (np.where(known, side, 1).astype(np.float64) for side in (images.file_width, images.file_height))
    return width, height, known


def _far_out(facts: Facts, values: NDArray[np.float64], known: NDArray[np.bool_]) -> NDArray[np.bool_]:
    if not known.any():
        return known
    low, high = np.quantile(values[known], [0.25, 0.75])
    reach = facts[FENCE_IQR] * (high - low)
    out: NDArray[np.bool_] = (values < low - reach) | (values > high + reach)
    return out


# Kinds of images ---------------------------------------------------------------------------------------------------


@judged_by(MAX_GREY_CHROMA, MIN_IMAGES, MAX_USUAL_SHARE, MAX_EMPTY_RELIEF)
def image_grey_among_colour(dataset: Dataset, facts: Facts) -> Found | None:
    """Flag grey images in a dataset of colour images.

    **Why it matters.** A model may take greyness for a sign of a class. Readers that do not convert to RGB return one channel and stop the
    batch.

    **Usual cause.** Infrared frames at night, old photographs, scans.

    **What to do.** Usually nothing, as long as grey images are spread over the classes.

    Grey is an image whose channels differ by at most {max_grey_chroma:%} of full brightness in all but 0.5 % of its points. A coloured
    object on a grey ground, or a grey object photographed in colour, differs by more.
    """
    pixels = facts.pixels
    if pixels is None:
        return None
    # A single colour, as of a blank page, is image-low-information.
    span = np.minimum(2 * (pixels.value_p99 - pixels.brightness_p1), 1)
    grey = (pixels.chroma <= facts[MAX_GREY_CHROMA] * span) & ~_is_smooth(facts, pixels)
    measured = np.isfinite(pixels.chroma).sum()
    if measured < facts[MIN_IMAGES] or grey.sum() > facts[MAX_USUAL_SHARE] * measured:
        return None
    return images_found(grey, "image is grey among colour images", "images are grey among colour images")


def image_alpha(dataset: Dataset, facts: Facts) -> Found | None:
    """Flag images with transparency.

    **Why it matters.** Readers disagree on what lies behind transparent points: black, white, or whatever colour is stored there. Those
    that keep the fourth channel do not fit a model for three.

    **Usual cause.** Cut-out objects, logos, screen shots saved as PNG.

    **What to do.** Put them on a background of your choice and save them as RGB.
    """
    return _of_mode(facts, ("RGBA", "LA", "PA", "RGBa", "La"), "image has transparency", "images have transparency")


def image_cmyk(dataset: Dataset, facts: Facts) -> Found | None:
    """Flag images in the colours of print (CMYK).

    **Why it matters.** Readers turn them into RGB differently, some with inverted colours; others refuse them.

    **Usual cause.** Images made for print.

    **What to do.** Convert them to RGB.
    """
    return _of_mode(facts, ("CMYK",), "image is in print colours (CMYK)", "images are in print colours (CMYK)")


def image_palette(dataset: Dataset, facts: Facts) -> Found | None:
    """Flag images stored with a palette.

    **Why it matters.** A reader that does not convert to RGB returns the palette's numbers, which mean nothing as brightness. Such a file
    among images is often a mask.

    **Usual cause.** GIFs, PNGs made small for the web, segmentation masks in the wrong folder.

    **What to do.** Convert images to RGB; move masks to where they belong.
    """
    return _of_mode(facts, ("P",), "image is stored with a palette", "images are stored with a palette")


def _of_mode(facts: Facts, modes: tuple[str, ...], one: str, many: str) -> Found | None:
    return None if facts.pixels is None else images_found(np.isin(facts.pixels.mode.astype(str), modes), one, many)


def image_deep(dataset: Dataset, facts: Facts) -> Found | None:
    """Flag images with more than 8 bits a channel.

    **Why it matters.** Pillow clips 16-bit grey to white when it converts to RGB, OpenCV cuts off the lower bits, others keep the numbers:
    three different images.

    **Usual cause.** Medical, thermal, depth and satellite images.

    **What to do.** Scale to 8 bits once, with limits of your choice, or read them with code that knows their range.
    """
    if facts.pixels is None:
        return None
    return images_found(facts.pixels.bit_depth > 8, "image has more than 8 bits a channel", "images have more than 8 bits a channel")


def image_animated(dataset: Dataset, facts: Facts) -> Found | None:
    """Flag files that hold several images: animations and multi-page files.

    **Why it matters.** Readers take the first and pass over the others; the labels may belong to another one.

    **Usual cause.** GIF and WebP animations from the web, TIFF stacks, phones that add a preview.

    **What to do.** Save the image that the labels belong to as a file of its own.
    """
    if facts.pixels is None:
        return None
    return images_found(facts.pixels.frames > 1, "file holds several images", "files hold several images")


def image_metadata_private(dataset: Dataset, facts: Facts) -> Found | None:
    """Flag images whose metadata say where they were taken, or name a device or person.

    **Why it matters.** Whoever publishes the dataset publishes homes and names with it.

    **Usual cause.** Images straight from a phone or camera.

    **What to do.** Remove the metadata before publishing, but rotate the pixels first where an EXIF orientation is stored.
    """
    pixels = facts.pixels
    if pixels is None or not (pixels.has_gps | pixels.has_serial).any():
        return None
    rows = np.flatnonzero(pixels.has_gps | pixels.has_serial)
    places = int(pixels.has_gps.sum())
    message = plural(len(rows), "image carries private metadata", "images carry private metadata")
    if places:
        message += f", {places:,} with the place where {'it was' if places == 1 else 'they were'} taken"
    return Found(len(rows), message, images=rows)
