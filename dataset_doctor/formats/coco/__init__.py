"""COCO: one JSON file, or one a split, with images, annotations and categories."""

from dataset_doctor.formats.coco import outlines, read, shapes, write
from dataset_doctor.formats.format import Format

COCO = Format(
    name="coco",
    title="COCO",
    detect=read.detect,
    claims=read.claims,
    read=read.read,
    write=write.write,
    shapes=shapes.shapes,
    outlines=outlines.outlines,
)
