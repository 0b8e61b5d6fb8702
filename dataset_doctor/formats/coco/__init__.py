"""COCO: one JSON file, or one a split, with images, annotations and categories."""

from dataset_doctor.dataset import Flag
from dataset_doctor.formats.coco import outlines, read, render, shapes, write
from dataset_doctor.formats.format import Format

COCO = Format(
    name="coco",
    title="COCO",
    looks_for="COCO .json",
    detect=read.detect,
    claims=read.claims,
    read=read.read,
    shapes=shapes.shapes,
    outlines=outlines.outlines,
    keypoint_names=outlines.keypoint_names,
    pointer=lambda array, position, field: f"/{array}/{position}/{field}" if field else f"/{array}/{position}",
    box="corner and size",
    box_beside_shape=True,
    has_ids=True,
    lists_images=True,
    states_size=True,
    flags=(Flag.DIFFICULT, Flag.TRUNCATED, Flag.OCCLUDED),
    write=write.write,
    holds_shapes=lambda dataset: True,
    holds_ignored=True,
    holds_scores=True,
    can_list=True,
    files_by_split=True,
    copied_files=write.copied_files,
    alters=render.alters,
    leaves_behind=render.leaves_behind,
)
