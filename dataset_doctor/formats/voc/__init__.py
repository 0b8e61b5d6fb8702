"""Pascal VOC: an XML file an image."""

from dataset_doctor.dataset import Flag
from dataset_doctor.formats.format import Format
from dataset_doctor.formats.voc import read, write

VOC = Format(
    name="voc",
    title="Pascal VOC",
    looks_for="VOC .xml",
    detect=read.detect,
    claims=read.claims,
    read=read.read,
    box="corners",
    counts_pixels=True,
    label_an_image=True,
    names_in_records=True,
    states_size=True,
    flags=(Flag.DIFFICULT, Flag.TRUNCATED, Flag.OCCLUDED),
    write=write.write,
    boxes_inside=True,
    needs_labels=True,
    losses=write.losses,
    leaves_behind=write.leaves_behind,
)
