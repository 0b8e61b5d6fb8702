"""DD1: image sizes as declared, against those of the files."""

from __future__ import annotations

import numpy as np

from dataset_doctor.checks._found import images_found
from dataset_doctor.dataset import NO_SOURCE, Dataset
from dataset_doctor.findings import Facts, Found, Severity, Threshold, judged_by, number
from dataset_doctor.formats import format_of

MIN_IMAGE_SIDE_PX = Threshold("min_image_side_px", 10, "shortest side of an image that is not too small, in pixels")
"""Ultralytics refuses images with a shorter side."""


def image_size_missing(dataset: Dataset, facts: Facts) -> Found | None:
    """Flag image records without width and height.

    **Why it matters.** detectron2, torchvision's references and MMDetection stop with KeyError or IndexError; boxes cannot be checked
    against the image, nor converted to YOLO, without opening every file.

    **Usual cause.** A script that wrote only what training needed.

    **What to do.** Fill in the sizes of the files, with the EXIF orientation applied.
    """
    images = dataset.images
    if not format_of(dataset).states_size:
        return None
    rows = np.flatnonzero(((images.width <= 0) | (images.height <= 0)) & (images.source != NO_SOURCE))
    if not len(rows):
        return None
    problems = facts.statistics.problems
    reported = [problem.place for problem in (*problems.get("image-size-invalid", ()), *problems.get("label-unreadable", ()))]
    listed = format_of(dataset).lists_images
    parts = [(place.file, (place.pointer or "").split("/")) for place in reported]
    known = {(file, int(part[2]) if listed else 0) for file, part in parts if not listed or part[1:2] == ["images"]}
    where = zip(images.source[rows].tolist(), images.position[rows].tolist(), strict=True)
    kept = [(dataset.sources[file], at if listed else 0) not in known for file, at in where]
    severity = None if listed else Severity.WARNING
    return images_found(rows[np.array(kept, bool)], "image record has no size", "image records have no size", "width", severity=severity)


def image_size_mismatch(dataset: Dataset, facts: Facts) -> Found | None:
    """Flag images whose size is not the one that the labels declare.

    **Why it matters.** detectron2 stops with SizeMismatchError. Others scale the boxes by the wrong size, so that they are all off.

    **Usual cause.** Images resized after labelling, or labels and images of different versions.

    **What to do.** If boxes fit the files, correct the declared sizes; if not, scale the boxes or bring back the original images.
    """
    images = dataset.images
    known = (images.width > 0) & (images.height > 0) & (images.file_width > 0) & (images.file_height > 0)
    same = (images.width == images.file_width) & (images.height == images.file_height)
    turned = (images.width == images.file_height) & (images.height == images.file_width)
    return images_found(known & ~same & ~turned, "image has another size than declared", "images have other sizes than declared", "width")


def image_size_swapped(dataset: Dataset, facts: Facts) -> Found | None:
    """Flag images whose declared width is the file's height, and the other way round.

    **Why it matters.** Where the camera stored the image on its side with an EXIF orientation, some readers rotate it and some do not:
    in one of them all boxes are off. detectron2 stops with SizeMismatchError.

    **Usual cause.** A labelling tool that ignores the EXIF orientation, or width and height exchanged in a script.

    **What to do.** Look at one image with its boxes. Rotate the pixels and drop the orientation, or exchange the declared sides.
    """
    images = dataset.images
    turned = (images.width == images.file_height) & (images.height == images.file_width) & (images.width != images.height)
    wrong = turned & (images.width > 0) & (images.height > 0)
    return images_found(wrong, "image has width and height exchanged", "images have width and height exchanged", "width")


@judged_by(MIN_IMAGE_SIDE_PX)
def image_too_small(dataset: Dataset, facts: Facts) -> Found | None:
    """Flag images with a side shorter than {min_image_side_px} px.

    **Why it matters.** Ultralytics ignores them, with their labels ("image size <10 pixels").

    **Usual cause.** Thumbnails, tracking pixels from a web page, or a crop that went wrong.

    **What to do.** Remove them.
    """
    images = dataset.images
    from_file = np.minimum(images.file_width, images.file_height)
    declared = np.minimum(images.width, images.height)
    side = np.where(from_file > 0, from_file, declared)
    size = f"less than {number(facts[MIN_IMAGE_SIDE_PX])} px wide or high"
    return images_found((side > 0) & (side < facts[MIN_IMAGE_SIDE_PX]), f"image is {size}", f"images are {size}")


def image_not_jpg(dataset: Dataset, facts: Facts) -> Found | None:
    """Flag images of a VOC dataset with lists in ImageSets whose names do not end in `.jpg`.

    **Why it matters.** Its lists hold names without an ending, and torchvision, detectron2 and MMDetection add `.jpg`: they stop with
    FileNotFoundError.

    **Usual cause.** PNG files put into VOC's folders, or `.JPG` and `.jpeg` from cameras.

    **What to do.** Convert or rename the files, or use a reader that finds other endings.
    """
    if dataset.variant != "devkit":
        return None
    images = dataset.images
    other = np.fromiter([not name.endswith(".jpg") for name in images.file_name.tolist()], bool, len(images))
    return images_found(other & images.has_file, "image of a VOC list does not end in .jpg", "images of VOC lists do not end in .jpg")
