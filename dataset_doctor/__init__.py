"""Audit, treat and verify computer-vision datasets.

import dataset_doctor as dd

dataset = dd.read("path")       # COCO, Pascal VOC, YOLO or image folders, detected
report = dd.audit(dataset)      # findings and tables; report.to_dict() is the documented JSON
plan = dd.rebalance(dataset, method="repeat_factor")   # or dd.split(dataset): what will be, before anything is written
dd.write(plan.apply(dataset), "out", format="yolo")     # any format that can hold it
weights = dd.class_weights(dataset, scheme="sqrt")   # numpy, one a class, in class order
"""

from dataset_doctor import _path  # noqa: F401 (before all others)
from dataset_doctor.audit import audit
from dataset_doctor.balance import rebalance
from dataset_doctor.dataset import Dataset, concat
from dataset_doctor.errors import DoctorError
from dataset_doctor.findings import Report
from dataset_doctor.formats import Written, read, write
from dataset_doctor.plan import Plan
from dataset_doctor.split import split
from dataset_doctor.weights import ClassWeights, class_weights, image_weights, pos_weight, weigh

__all__ = [
    "ClassWeights",
    "Dataset",
    "DoctorError",
    "Plan",
    "Report",
    "Written",
    "audit",
    "class_weights",
    "concat",
    "image_weights",
    "pos_weight",
    "read",
    "rebalance",
    "split",
    "weigh",
    "write",
]
