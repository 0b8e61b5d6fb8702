"""LabelMe: a JSON file an image, with shapes that have a label and points."""

from dataset_doctor.dataset import Flag
from dataset_doctor.formats.format import Format
from dataset_doctor.formats.labelme import read, shapes, write

_MEMBERS = {"bbox": "/points", "segmentation": "/points", "width": "/imageWidth", "height": "/imageHeight", "file_name": "/imagePath"}


def _pointer(array: str, position: int, field: str) -> str | None:
    member = _MEMBERS.get(field, "")
    return f"/shapes/{position}{member}" if array == "annotations" else member or None


LABELME = Format(
    name="labelme",
    title="LabelMe",
    looks_for="LabelMe .json",
    detect=read.detect,
    claims=read.claims,
    read=read.read,
    shapes=shapes.shapes,
    outlines=shapes.outlines,
    pointer=_pointer,
    box="corners",
    oriented_boxes=True,
    label_an_image=True,
    names_in_records=True,
    states_size=True,
    flags=(Flag.DIFFICULT, Flag.TRUNCATED, Flag.OCCLUDED),
    write=write.write,
    holds_shapes=lambda dataset: True,
    needs_labels=True,
    files_by_split=True,
    losses=write.losses,
    alters=write.alters,
    leaves_behind=write.leaves_behind,
)
