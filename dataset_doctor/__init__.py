"""Audit, treat and verify computer-vision datasets.

import dataset_doctor as dd

report = dd.audit("path")       # COCO, Pascal VOC, YOLO, LabelMe or image folders, detected; the images are looked into
report.show()                   # or report.save("report.html"), report.failing("error"), report.to_dict()
plan = dd.rebalance("path", method="repeat_factor")   # or dd.split, dd.convert: what will be, before anything is written
plan.show()
plan.write("out")
dataset = dd.read("path")       # columns; each function above takes it in place of the path
weights = dd.class_weights(dataset, scheme="sqrt")   # numpy, one a class, in class order; or dd.weights("path")
verdict = dd.verify(dataset, arms="baseline,weights:sqrt")   # trained with and without: helped, hurt, or no evidence
"""

from dataset_doctor import _path  # noqa: F401, I001 (before all others)

import importlib
import sys
from types import ModuleType

TYPE_CHECKING = False  # typing takes as long to import as all else here
if TYPE_CHECKING:
    from dataset_doctor.audit import audit
    from dataset_doctor.checks import explain
    from dataset_doctor.dataset import Dataset, concat
    from dataset_doctor.errors import DoctorError
    from dataset_doctor.formats import Written, read, write
    from dataset_doctor.plan import Plan
    from dataset_doctor.report.record import Report
    from dataset_doctor.treatments import convert, rebalance, split
    from dataset_doctor.trials import verify
    from dataset_doctor.weights import ClassWeights, class_weights, image_weights, pos_weight, weigh, weights

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
    "convert",
    "explain",
    "image_weights",
    "pos_weight",
    "read",
    "rebalance",
    "split",
    "verify",
    "weigh",
    "weights",
    "write",
]

_HOMES = {
    "audit": ("audit",),
    "checks": ("explain",),
    "dataset": ("Dataset", "concat"),
    "errors": ("DoctorError",),
    "report.record": ("Report",),
    "formats": ("Written", "read", "write"),
    "plan": ("Plan",),
    "treatments": ("convert", "rebalance", "split"),
    "trials": ("verify",),
    "weights": ("ClassWeights", "class_weights", "image_weights", "pos_weight", "weigh", "weights"),
}
"""Which module each name is from."""

_HOME_OF = {name: module for module, names in _HOMES.items() for name in names}


class _Package(ModuleType):
    """The package, whose names are looked up when they are first used.

    Nothing heavy is imported before: the command can await Ctrl-C from its first moment on, and a worker process loads what it needs.
    """

    def __getattr__(self, name: str) -> object:
        if name == "__version__":
            from importlib.metadata import version

            return version("dataset-doctor-vision")
        if name not in _HOME_OF:
            raise AttributeError(f"module {self.__name__!r} has no attribute {name!r}")
        value: object = getattr(importlib.import_module(f"{self.__name__}.{_HOME_OF[name]}"), name)
        self.__dict__[name] = value
        return value

    def __setattr__(self, name: str, value: object) -> None:
        # Importing the module dataset_doctor.audit binds it to the name of the function: the function keeps it.
        if not (isinstance(value, ModuleType) and name in _HOME_OF):
            super().__setattr__(name, value)

    def __dir__(self) -> list[str]:
        return sorted({*super().__dir__(), *__all__})


sys.modules[__name__].__class__ = _Package
