"""Audit, treat and verify computer-vision datasets.

import dataset_doctor as dd

dataset = dd.read("path")       # COCO, Pascal VOC, YOLO or image folders, detected
report = dd.audit(dataset)      # findings and tables; report.to_dict() is the documented JSON
"""

from dataset_doctor.audit import audit
from dataset_doctor.dataset import Dataset, concat
from dataset_doctor.errors import DoctorError
from dataset_doctor.findings import Report
from dataset_doctor.formats import read

__all__ = ["Dataset", "DoctorError", "Report", "audit", "concat", "read"]
