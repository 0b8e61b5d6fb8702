"""YOLO: a text file an image, a row an object, the numbers shares of the image."""

from dataset_doctor.formats.elsewhere import label_beside
from dataset_doctor.formats.format import Format
from dataset_doctor.formats.yolo import outlines, read, render, shapes, splits, write

YOLO = Format(
    name="yolo",
    title="YOLO",
    looks_for="YOLO .txt",
    detect=read.detect,
    claims=read.claims,
    read=read.read,
    shapes=shapes.shapes,
    outlines=outlines.outlines,
    box="shares",
    bare_numbers=True,
    oriented_boxes=True,
    label_an_image=True,
    unlabeled_is_background=True,
    write=write.write,
    holds_shapes=lambda dataset: dataset.task != "detect",
    boxes_inside=True,
    can_list=True,
    needs_train=True,
    losses=render.losses,
    beside=label_beside,
    read_lists=splits.listed_images,
)
