"""YOLO: a text file an image, a row an object, the numbers shares of the image."""

from dataset_doctor.formats.format import Format
from dataset_doctor.formats.yolo import outlines, read, shapes, write

YOLO = Format(
    name="yolo",
    title="YOLO",
    detect=read.detect,
    claims=read.claims,
    read=read.read,
    write=write.write,
    shapes=shapes.shapes,
    outlines=outlines.outlines,
)
