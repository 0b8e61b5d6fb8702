"""Files that a trainer takes as they stand, with what it will not do said in them.

Class names are data: in generated Python they stand only inside literals that `repr` writes, in YAML only inside comments of one line
that hold such literals.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from dataset_doctor.errors import UsageError, did_you_mean
from dataset_doctor.weights.record import ClassWeights


@dataclass(frozen=True, slots=True)
class Exporter:
    """What can be written for a trainer.

    title   the trainer's own name
    files   by suffix, what writes the file; the first is what is shown where none is named
    neutral "sample" where the size of its loss follows that of the weights; None where the loss divides by them
    limits  what the trainer will not do with the weights, one sentence each
    """

    title: str
    files: Mapping[str, Callable[[ClassWeights], str]]
    neutral: Literal["sample"] | None
    limits: tuple[str, ...]


_ULTRALYTICS_NAMES = re.compile(
    r"(?:yolo|yolo(?:v3u?|v5[nsmlx]?6?u|v?6|v?8|v?9|v?10|v?11|v?12|v?26)(?:[a-z])?(?:-(?:seg|pose|obb|cls))?|rtdetr(?:-[lx])?)(?:\.pt|\.yaml)?"
)
_YOLOV5_NAMES = re.compile(r"yolov5[nsmlx]6?(?:-seg|-cls)?(?:\.pt|\.yaml)?")


def find_trainer(name: str) -> str:
    """Find a trainer in EXPORTERS by its name, or by that of a model it trains.

    >>> find_trainer("torch"), find_trainer("yolov8"), find_trainer("yolo11s-seg"), find_trainer("yolov5s")
    ('torch', 'ultralytics', 'ultralytics', 'yolov5')

    Raises:
        UsageError: no such trainer.
    """
    folded = name.casefold()
    if folded in EXPORTERS:
        return folded
    if _YOLOV5_NAMES.fullmatch(folded):
        return "yolov5"
    if _ULTRALYTICS_NAMES.fullmatch(folded):
        return "ultralytics"
    raise UsageError(f"`trainer={name}` is not known.", did_you_mean(name, EXPORTERS))


def export(name: str, weights: ClassWeights, suffix: str | None = None) -> str:
    """Write what a trainer takes.

    Args:
        name: A name in EXPORTERS, or of a model (see `find_trainer`).
        weights: What `weigh` gave; with normalize="sample" they leave the size of the loss alone.
        suffix: Of the file, where the trainer takes several; by default the first.

    Raises:
        UsageError: no such trainer or suffix, or the weights cannot be said in its terms.
    """
    name = find_trainer(name)
    files = EXPORTERS[name].files
    if suffix is not None and suffix not in files:
        raise UsageError(f"`trainer={name}` writes no {suffix} file.", did_you_mean(suffix, files))
    return files[suffix or next(iter(files))](weights)


# Parts that the files share -----------------------------------------------------------------------------------------


def _head(name: str, w: ClassWeights, usage: Sequence[str]) -> str:
    """Begin a file: what it is, how to use it, what the trainer will not do."""
    made = EXPORTERS[name]
    how = [w.scheme, *(f"{key} {value:g}" for key, value in (("beta", w.beta), ("power", w.power), ("cap", w.cap)) if value is not None)]
    counted = f"{w.count} of {w.split!r}" + (f" after {w.after!r}" if w.after is not None else "")
    lines = [f"Class weights for {made.title}, by dataset-doctor.", f"Scheme {', '.join(how)}; normalize {w.normalize}; {counted}."]
    lines += ["", *usage, "", f"What {made.title} does not do, and what to mind:", *(f"- {limit}" for limit in made.limits)]
    if made.neutral and abs(w.scale - 1) > 0.01:
        lines.append(
            f"- It does not divide by the weights: the class loss becomes {w.scale:.3g} times as large. See --normalize {made.neutral}."
        )
    return "".join(f"# {line}".rstrip() + "\n" for line in lines)


def _number(value: float) -> str:
    """Write a weight with the digits that a float32 can hold."""
    return repr(float(f"{value:.8g}"))


def _pairs(name: str, entries: Sequence[tuple[str, float]]) -> str:
    rows = "".join(f"    ({label!r}, {_number(value)}),\n" for label, value in entries)
    return f"{name} = [  # in class order\n{rows}]\n"


def _classes(w: ClassWeights) -> str:
    """Define CLASSES and WEIGHTS."""
    pairs = _pairs("WEIGHT_OF_CLASS", list(zip(w.classes, w.weights, strict=True)))
    return pairs + "CLASSES = [name for name, _ in WEIGHT_OF_CLASS]\nWEIGHTS = [weight for _, weight in WEIGHT_OF_CLASS]\n"


_IN_ORDER_OF = '''

def in_order_of(names):
    """Give the weights in the order of a model's class names; refuse names that differ."""
    names = [str(name) for name in names]
    if names == CLASSES:
        return list(WEIGHTS)
    if sorted(names) != sorted(CLASSES):
        missing, unknown = sorted(set(CLASSES) - set(names)), sorted(set(names) - set(CLASSES))
        raise ValueError(f"the model's classes are not the dataset's: missing {missing}, unknown {unknown}")
    if len(set(names)) < len(names):
        raise ValueError("two classes have one name, and the model lists them in another order")
    return [WEIGHTS[CLASSES.index(name)] for name in names]
'''


# PyTorch and what stands on it --------------------------------------------------------------------------------------


def torch_file(w: ClassWeights) -> str:
    """Define the tensors of the losses, and a sampler."""
    positive = w.pos_weight()
    if positive is None:
        pos_weight = "\n# No pos_weight: a plan does not tell how many images will hold each class.\n"
    else:
        pos_weight = (
            "\n# For multi-label targets: sqrt(images without the class / images with it), at most 100.\n"
            f"pos_weight = torch.tensor({positive.round(6).tolist()!r})\n"
        )
    usage = [
        "loss = torch.nn.CrossEntropyLoss(weight=weight)            one class an image or box",
        "loss = torch.nn.BCEWithLogitsLoss(pos_weight=pos_weight)   several classes an image",
        "DataLoader(dataset, sampler=sampler(labels))               instead of a weighted loss and of shuffle=True",
    ]
    sampler = f'''

def sampler(labels_of_images, generator=None):
    """Draw images with the weight of the rarest class they hold.

    labels_of_images: for each image of the training set, in its order, the list of its class numbers.
    """
    smallest = {_number(min(weight for weight, n in zip(w.weights, w.counts, strict=True) if n))}
    weights = [max((WEIGHTS[c] for c in labels), default=smallest) for labels in labels_of_images]
    return WeightedRandomSampler(weights, num_samples=len(weights), replacement=True, generator=generator)
'''
    imports = "\nimport torch\nfrom torch.utils.data import WeightedRandomSampler\n\n"
    return _head("torch", w, usage) + imports + _classes(w) + "weight = torch.tensor(WEIGHTS)\n" + pos_weight + sampler


def torchvision_file(w: ClassWeights) -> str:
    """Define a hook that puts weights into the class loss of the R-CNN detectors."""
    usage = ["weigh_classes()          once, before training; give the model's class names where their order differs"]
    return (
        _head("torchvision", w, usage)
        + "\nimport torch\nfrom torch.nn import functional as F\nfrom torchvision.models.detection import roi_heads\n\n"
        + _classes(w)
        + f"BACKGROUND_WEIGHT = {w.background_weight!r}\n"
        + _IN_ORDER_OF
        + '''

def weigh_classes(names=CLASSES):
    """Weigh the class loss of every Faster, Mask and Keypoint R-CNN of this process; their output 0 is the background."""
    weight = torch.tensor([BACKGROUND_WEIGHT, *in_order_of(names)])
    unweighted = roi_heads.fastrcnn_loss

    def weighted(class_logits, box_regression, labels, regression_targets):
        if class_logits.shape[1] != len(weight):
            raise ValueError(f"the model has {class_logits.shape[1]} outputs; {len(weight)} are weighed, background included")
        _, box_loss = unweighted(class_logits, box_regression, labels, regression_targets)
        return F.cross_entropy(class_logits, torch.cat(labels, dim=0), weight.to(class_logits)), box_loss

    roi_heads.fastrcnn_loss = weighted
'''
    )


def hf_file(w: ClassWeights) -> str:
    """Define a loss for the Trainer's `compute_loss_func`."""
    usage = ["Trainer(model=model, ..., compute_loss_func=loss_for(model))"]
    return (
        _head("hf", w, usage)
        + "\nimport torch\nfrom torch.nn import functional as F\n\n"
        + _classes(w)
        + _IN_ORDER_OF
        + '''

def loss_for(model):
    """Make the weighted cross entropy of a classifier; its id2label gives the order of the classes."""
    weights = in_order_of(model.config.id2label[i] for i in range(model.config.num_labels))

    def compute_loss(outputs, labels, num_items_in_batch=None):
        logits = outputs["logits"] if isinstance(outputs, dict) else outputs[0]
        weight = torch.tensor(weights, device=logits.device)
        total = F.cross_entropy(logits.float(), labels, weight=weight, reduction="sum")  # labels of -100 are left out
        return total / ((labels != -100).sum() if num_items_in_batch is None else num_items_in_batch)

    return compute_loss
'''
    )


# Detectors ----------------------------------------------------------------------------------------------------------


def nearest_power(w: ClassWeights) -> tuple[float, float, str]:
    """Find the power of the inverse instance frequency that comes nearest to the weights: Ultralytics takes one, `cls_pw`.

    Returns:
        The power, 0 to 1; the worst class's weight ÷ what the power gives it, or the inverse where that is larger; that class.
    """
    instances = np.array(w.instances if w.instances is not None else w.counts)
    used = w.present & (instances > 0)
    log_n, log_w = np.log(instances[used]), np.log(np.array(w.weights)[used])
    log_n, log_w = log_n - log_n.mean(), log_w - log_w.mean()
    variance = float(log_n @ log_n)
    # Four digits are more than a trainer's result depends on, and keep the file the same on every machine.
    power = round(min(max(-float(log_n @ log_w) / variance, 0.0), 1.0), 4) if variance else 0.0
    residual = np.abs(log_w + power * log_n)
    worst = int(np.argmax(residual))
    return power, float(np.exp(residual[worst])), w.classes[int(np.flatnonzero(used)[worst])]


def _residual(w: ClassWeights) -> tuple[float, str]:
    power, factor, worst = nearest_power(w)
    if factor < 1.0005:
        return power, "exact"
    return power, f"nearest; {worst!r} is off by a factor of {factor:.3g}"


_ULTRALYTICS_TRAINERS = {
    "detect": ("detect", "DetectionTrainer"),
    "segment": ("segment", "SegmentationTrainer"),
    "pose": ("pose", "PoseTrainer"),
    "obb": ("obb", "OBBTrainer"),
    "classify": ("classify", "ClassificationTrainer"),
}


def ultralytics_file(w: ClassWeights) -> str:
    """Define a trainer with exactly these weights, and name the nearest `cls_pw`."""
    module, trainer = _ULTRALYTICS_TRAINERS[w.task]
    usage = ['YOLO("...").train(data="...", trainer=WeightedTrainer)   exactly these weights']
    imports = "\nimport torch\n"
    if w.task == "classify":
        imports += "from torch.nn import functional as F\n"
        body = _ULTRALYTICS_CLASSIFY
    else:
        power, said = _residual(w)
        usage.append(f"yolo {w.task} train ... cls_pw={power:g}   without this file: one power for all classes ({said})")
        body = _ULTRALYTICS_DETECT
    usage.append("dataset-doctor rebalance ... --materialize list   instead of weights: a train.txt with repeated images, exact as well")
    imports += f"from ultralytics.models.yolo.{module} import {trainer}\nfrom ultralytics.utils.torch_utils import unwrap_model\n\n"
    return _head("ultralytics", w, usage) + imports + _classes(w) + _IN_ORDER_OF + body.replace("TRAINER", trainer)


_ULTRALYTICS_DETECT = '''

class WeightedTrainer(TRAINER):
    """Train with the weights above in place of cls_pw."""

    def set_class_weights(self):
        names = self.data["names"]
        model = unwrap_model(self.model)
        model.class_weights = torch.tensor(in_order_of(names[i] for i in range(len(names))), device=self.device)


if not hasattr(TRAINER, "set_class_weights"):
    raise ImportError("this Ultralytics is too old to weigh classes; 8.4.190 does")
'''

_ULTRALYTICS_CLASSIFY = '''

def weigh_loss(trainer):
    names = trainer.data["names"]
    weight = torch.tensor(in_order_of(names[i] for i in range(len(names))), device=trainer.device)

    def criterion(preds, batch):
        logits = preds[1] if isinstance(preds, (list, tuple)) else preds
        loss = F.cross_entropy(logits, batch["cls"], weight.to(logits.dtype))
        return loss, {"loss": loss.detach()}

    unwrap_model(trainer.model).criterion = criterion


class WeightedTrainer(TRAINER):
    """Train with the weights above in the loss; the validation's loss stays unweighted."""

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.add_callback("on_train_start", weigh_loss)
'''


def ultralytics_config(w: ClassWeights) -> str:
    """Write the nearest `cls_pw` for `yolo train cfg=FILE`."""
    if w.task == "classify":
        raise UsageError("Ultralytics' classifiers know no cls_pw.", "Write a .py file: its trainer has the weights in the loss.")
    power, said = _residual(w)
    usage = ["yolo train cfg=FILE data=... model=...", f"One power for all classes: {said}. A .py file gives exactly these weights."]
    return _head("ultralytics", w, usage) + f"cls_pw: {power!r}\n"


def yolov5_config(w: ClassWeights) -> str:
    """Write the weights as a list where YOLOv5's hyperparameters have one number."""
    usage = [
        "Put the last line into your hyp.yaml in place of its cls_pw, then: python train.py --hyp hyp.yaml",
        "There cls_pw is pos_weight, the weight of the positive labels, and a list gives each class its own.",
        "",
        "Class order of the list:",
        *(f"{at} {name!r}" for at, name in enumerate(w.classes)),
    ]
    return _head("yolov5", w, usage) + f"cls_pw: [{', '.join(map(_number, w.weights))}]\n"


def mmdet_file(w: ClassWeights) -> str:
    """Write a piece of configuration: weights for softmax and sigmoid heads, or the threshold of the sampler."""
    usage = [
        "Put these lines below the _base_ of your config. Two-stage detectors take `model` as it stands; for other heads,",
        "use class_weight where the head ends in a softmax and class_weight_sigmoid where use_sigmoid=True.",
    ]
    names = "".join(f"    {name!r},\n" for name in w.classes)
    threshold = ""
    if w.images is not None and w.images_in_split:
        shares = np.array([n for n in w.images if n]) / w.images_in_split
        threshold = (
            "\n# Or repeat images instead of weighing classes; half of the classes are in fewer images than this share.\n"
            "# train_dataloader = dict(dataset=dict(type='ClassBalancedDataset', oversample_thr=oversample_thr, dataset=...))\n"
            f"oversample_thr = {float(np.median(shares)):.6g}\n"
        )
    return (
        _head("mmdet", w, usage)
        + f"\nclasses = (  # for metainfo=dict(classes=classes) of the datasets; the weights are in this order\n{names})\n"
        + f"class_weight_sigmoid = [{', '.join(map(_number, w.weights))}]\n"
        + f"class_weight = [*class_weight_sigmoid, {w.background_weight!r}]  # a softmax head has the background last\n"
        + "model = dict(\n    roi_head=dict(\n        bbox_head=dict(\n            num_classes=len(classes),\n"
        + "            loss_cls=dict(type='CrossEntropyLoss', use_sigmoid=False, loss_weight=1.0, class_weight=class_weight),\n"
        + "        )\n    )\n)\n"
        + threshold
    )


def detectron2_file(w: ClassWeights) -> str:
    """Define repeat factors for detectron2's sampler, from the weights."""
    least = min(weight for weight, n in zip(w.weights, w.counts, strict=True) if n)
    factors = [(name, weight / least if n else 1.0) for name, weight, n in zip(w.classes, w.weights, w.counts, strict=True)]
    usage = [
        "class Trainer(DefaultTrainer):",
        "    @classmethod",
        "    def build_train_loader(cls, cfg):",
        "        return build_detection_train_loader(cfg, sampler=sampler(cfg.DATASETS.TRAIN))",
        "A factor is the weight / the smallest weight; an image is repeated as often as the rarest class it holds asks for.",
    ]
    return (
        _head("detectron2", w, usage)
        + "\nimport torch\n\n"
        + _pairs("FACTOR_OF_CLASS", factors)
        + '''

def repeat_factors(dataset_dicts, thing_classes):
    """Give each image its factor, a float32 tensor in the order of dataset_dicts; thing_classes are the metadata's."""
    named = dict(FACTOR_OF_CLASS)
    if len(named) < len(FACTOR_OF_CLASS) or set(named) != set(thing_classes):
        raise ValueError(f"the registered classes are not the dataset's: {sorted(set(named) ^ set(thing_classes))}")
    factors = [named[name] for name in thing_classes]
    of_images = [max((factors[a["category_id"]] for a in d["annotations"]), default=1.0) for d in dataset_dicts]
    return torch.tensor(of_images, dtype=torch.float32)


def sampler(names, filter_empty=True):
    """Make the sampler of registered datasets; filter_empty as cfg.DATALOADER.FILTER_EMPTY_ANNOTATIONS."""
    from detectron2.data import MetadataCatalog, get_detection_dataset_dicts
    from detectron2.data.samplers import RepeatFactorTrainingSampler

    dicts = get_detection_dataset_dicts(names, filter_empty=filter_empty)
    return RepeatFactorTrainingSampler(repeat_factors(dicts, MetadataCatalog.get(names[0]).thing_classes))
'''
    )


# Others -------------------------------------------------------------------------------------------------------------


def keras_file(w: ClassWeights) -> str:
    """Define the dictionary that `fit` takes."""
    usage = ["model.fit(..., class_weight=CLASS_WEIGHT)"]
    return _head("keras", w, usage) + "\n" + _classes(w) + "CLASS_WEIGHT = dict(enumerate(WEIGHTS))  # class number: weight\n"


def sklearn_file(w: ClassWeights) -> str:
    """Define the dictionaries that estimators take."""
    usage = [
        "LogisticRegression(class_weight=CLASS_WEIGHT)           where the labels are class numbers",
        "LogisticRegression(class_weight=CLASS_WEIGHT_BY_NAME)   where the labels are class names",
    ]
    tables = "CLASS_WEIGHT = dict(enumerate(WEIGHTS))\nCLASS_WEIGHT_BY_NAME = dict(WEIGHT_OF_CLASS)\n"
    return _head("sklearn", w, usage) + "\n" + _classes(w) + tables


EXPORTERS: dict[str, Exporter] = {
    "torch": Exporter(
        "PyTorch",
        {".py": torch_file},
        None,
        (
            "CrossEntropyLoss(reduction='mean') divides by the weights of the batch; reduction='sum', BCE and focal losses do not.",
            "WeightedRandomSampler knows nothing of several processes; dataset_doctor.samplers.RepeatSampler does.",
            "Neither checks the order of the classes: it is that of CLASSES.",
        ),
    ),
    "torchvision": Exporter(
        "torchvision",
        {".py": torchvision_file},
        None,
        (
            "RetinaNet and FCOS have a focal loss with one alpha, SSD a loss of its own: this hook does not reach them.",
            "The loss of the region proposals stays unweighted; it knows no classes.",
            "Scripted models keep their own loss.",
        ),
    ),
    "ultralytics": Exporter(
        "Ultralytics",
        {".py": ultralytics_file, ".yaml": ultralytics_config},
        "sample",
        (
            "Its command line takes one number, cls_pw, and no weights of classes.",
            "cls_pw counts again what it finds: after rebalancing it corrects a second time. This file does not.",
            "Releases before 8.4.190 may count a class without labels as 1, which takes nearly all weight from the others.",
            "A weight multiplies all that the class's output says, where the class is absent too.",
            "Neither cls_pw nor this trainer touches the box losses, or the images drawn.",
        ),
    ),
    "yolov5": Exporter(
        "YOLOv5",
        {".yaml": yolov5_config},
        "sample",
        (
            "Not run by us: read in its utils/loss.py, where torch.tensor([cls_pw]) takes a list as well as a number.",
            "--evolve expects a number. With one class there is no class loss, and the weights do nothing.",
            "--image-weights counts for itself, and is not for several GPUs.",
        ),
    ),
    "mmdet": Exporter(
        "MMDetection",
        {".py": mmdet_file},
        "sample",
        (
            "Not run by us: read in its cross_entropy_loss.py.",
            "FocalLoss and QualityFocalLoss, the losses of most one-stage heads, take no class_weight.",
            "With use_sigmoid=True the weights become pos_weight: they weigh the positive labels only.",
            "ClassBalancedDataset rounds repeats up: an image of a class just below the threshold is shown twice.",
            "filter_empty_gt=True leaves out the images without labels.",
        ),
    ),
    "detectron2": Exporter(
        "detectron2",
        {".py": detectron2_file},
        None,
        (
            "Not run by us: read in its samplers. Its box heads take no weights of classes, so images are repeated instead.",
            "Repeating an image repeats all its classes: what is achieved is less than the weights ask for.",
            "FILTER_EMPTY_ANNOTATIONS, on by default, leaves out the images without labels.",
        ),
    ),
    "keras": Exporter(
        "Keras",
        {".py": keras_file},
        "sample",
        (
            "Only one output, with targets of class numbers or one-hot rows; for masks give sample_weight.",
            "A class number that is not listed gets weight 1 in silence.",
            "evaluate() and validation stay unweighted.",
        ),
    ),
    "hf": Exporter(
        "Hugging Face Trainer",
        {".py": hf_file},
        "sample",
        (
            "The function is for classifiers. Detectors such as DETR have a loss of their own, whose eos_coefficient weighs 'no object'.",
            "label_smoothing_factor is not applied where compute_loss_func is given.",
        ),
    ),
    "sklearn": Exporter(
        "scikit-learn",
        {".py": sklearn_file},
        "sample",
        (
            "Weights change the balance of loss and regularisation (C, alpha) unless they average 1 over the labels.",
            "Estimators without class_weight (k-nearest neighbours, naive Bayes ...) need sample_weight or nothing.",
        ),
    ),
}
