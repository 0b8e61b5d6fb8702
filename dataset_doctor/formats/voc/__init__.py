"""Pascal VOC: an XML file an image."""

from dataset_doctor.formats.format import Format
from dataset_doctor.formats.voc import read, write

VOC = Format(name="voc", title="Pascal VOC", detect=read.detect, claims=read.claims, read=read.read, write=write.write)
