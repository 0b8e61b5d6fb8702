"""Files for trainers: names cannot break out of them, and each does in its trainer what its page says."""

from __future__ import annotations

import ast
import dataclasses
import importlib.util
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import yaml

import dataset_doctor as dd
from dataset_doctor.errors import UsageError
from dataset_doctor.report import weight_files
from dataset_doctor.weights import EXPORTERS, ClassWeights, export
from dataset_doctor.weights.exporters import nearest_power
from tests.conftest import FIXTURES, ROOT
from tests.drawing import draw
from tests.weights.test_weight_files import HOSTILE, hostile
from tests.weights.test_weights import holding

FILES = [(name, suffix) for name, made in EXPORTERS.items() for suffix in made.files]
PAGE = (ROOT / "docs/trainers.md").read_text(encoding="utf-8")


def load(text: str, folder: Path, name: str = "generated") -> ModuleType:
    """Import a generated file as its user would."""
    path = folder / f"{name}.py"
    path.write_text(text, encoding="utf-8")
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


# Names are data -----------------------------------------------------------------------------------------------------


def shape_of(text: str) -> list[str]:
    """Reduce code to its syntax, without what its literals hold."""
    return [type(node).__name__ for node in ast.walk(ast.parse(text)) if not isinstance(node, ast.Constant | ast.UnaryOp | ast.USub)]


@pytest.mark.parametrize(("name", "suffix"), FILES)
def test_names_change_nothing_but_literals(name: str, suffix: str) -> None:
    """Code with hostile names has the syntax of code with harmless ones, and holds the names unchanged; YAML holds numbers only."""
    bad = hostile()
    good = dataclasses.replace(bad, classes=tuple(f"c{at}" for at in range(len(bad.classes))), capped=())
    text = export(name, bad, suffix)

    text.encode("utf-8")
    if suffix == ".yaml":
        assert list(yaml.safe_load(text)) == ["cls_pw"]
        return
    assert shape_of(text) == shape_of(export(name, good, suffix))
    literals = [node.value for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Constant) and isinstance(node.value, str)]
    assert set(HOSTILE) <= set(literals)


@pytest.mark.train
def test_a_name_that_is_no_text_can_be_written_everywhere() -> None:
    """A folder's name with a byte that is not UTF-8 becomes an escape."""
    weighed = dataclasses.replace(dd.weigh(holding(9, 1)), classes=("a\udc80", "b"))

    for write in weight_files.FILES.values():
        write(weighed)
    for name, suffix in FILES:
        assert export(name, weighed, suffix).encode("utf-8").isascii()


@pytest.mark.parametrize(("name", "suffix"), FILES)
def test_a_file_says_what_its_trainer_does_not_do(name: str, suffix: str) -> None:
    """Every limit stands in the comment at its head; with plain names the file is ASCII."""
    text = export(name, dd.weigh(holding(9, 1)), suffix)

    assert all(f"# - {limit}\n" in text for limit in EXPORTERS[name].limits)
    assert text.isascii()


@pytest.mark.parametrize("name", EXPORTERS)
def test_a_size_that_the_loss_takes_over_is_said(name: str) -> None:
    """Where a loss does not divide by the weights, the file says how much larger it becomes, and with which option it does not."""
    neutral = EXPORTERS[name].neutral
    plain = export(name, dd.weigh(holding(64, 32, 4)))

    assert ("times as large" in plain) == (neutral is not None)
    if neutral is not None:
        assert f"{3 if neutral == 'sample' else 9.9} times as large. See --normalize {neutral}." in plain
        assert "times as large" not in export(name, dd.weigh(holding(64, 32, 4), normalize=neutral))


def test_an_unknown_trainer_or_file_is_refused() -> None:
    """With the nearest known one."""
    with pytest.raises(UsageError, match="Did you mean torch"):
        export("torhc", dd.weigh(holding(9, 1)))
    with pytest.raises(UsageError, match=r"\.yaml"):
        export("yolov5", dd.weigh(holding(9, 1)), ".py")


@pytest.mark.parametrize("name", ["torchvision", "hf"])
@pytest.mark.train
def test_weights_follow_the_models_order_and_refuse_other_classes(name: str, tmp_path: Path) -> None:
    """By name, not by position; a missing, a strange or an ambiguous name is an error."""
    pytest.importorskip("torchvision" if name == "torchvision" else "torch")
    made = load(export(name, dd.weigh(holding(8, 4, 2), "inverse")), tmp_path)

    assert made.in_order_of(["c2", "c0", "c1"]) == [7.0, 1.75, 3.5]
    for wrong in (["c0", "c1"], ["c0", "c1", "d"]):
        with pytest.raises(ValueError, match="missing"):
            made.in_order_of(wrong)
    made.CLASSES = ["a", "a", "b"]
    assert made.in_order_of(["a", "a", "b"]) == [1.75, 3.5, 7.0]
    with pytest.raises(ValueError, match="one name"):
        made.in_order_of(["b", "a", "a"])


# PyTorch and torchvision --------------------------------------------------------------------------------------------


@pytest.mark.train
def test_torch_weighs_each_class_in_the_loss(tmp_path: Path) -> None:
    """Weighted cross entropy of the tensor is Σ w loss ÷ Σ w; BCE takes pos_weight; hostile names run nothing."""
    torch = pytest.importorskip("torch")
    made = load(export("torch", hostile()), tmp_path)
    k = len(made.CLASSES)
    logits, target = torch.linspace(-2, 2, 5 * k).reshape(5, k), torch.arange(5)
    each = torch.nn.functional.cross_entropy(logits, target, reduction="none").numpy()
    w = np.array(hostile().weights)[:5]

    assert [*HOSTILE, "unused"] == made.CLASSES
    assert torch.nn.CrossEntropyLoss(weight=made.weight)(logits, target).item() == pytest.approx((w * each).sum() / w.sum(), rel=1e-5)
    positives = torch.nn.BCEWithLogitsLoss(pos_weight=made.pos_weight)(logits, torch.ones(5, k)).item()
    assert positives == pytest.approx((made.pos_weight * torch.log1p(torch.exp(-logits))).mean().item(), rel=1e-5)
    assert not any(path.name == "pwned" for path in (*tmp_path.iterdir(), *Path.cwd().iterdir()))


@pytest.mark.train
def test_torchs_sampler_draws_by_the_rarest_class(tmp_path: Path) -> None:
    """Of images with c0 (8 labels), with c0 and c1 (2), and without any, the second is drawn four times as often."""
    torch = pytest.importorskip("torch")
    made = load(export("torch", dd.weigh(holding(8, 2))), tmp_path)
    sampler = made.sampler([[0], [0, 1], []], torch.Generator().manual_seed(0))

    assert (sampler.weights / sampler.weights[0]).tolist() == pytest.approx([1, 4, 1])
    assert set(sampler) <= {0, 1, 2} and len(sampler) == 3


@pytest.mark.train
def test_after_a_plan_torch_gets_no_pos_weight(tmp_path: Path) -> None:
    """A plan tells instances, not images, and the file says so."""
    pytest.importorskip("torch")
    made = load(export("torch", dataclasses.replace(dd.weigh(holding(8, 2)), images=None)), tmp_path)

    assert not hasattr(made, "pos_weight")


@pytest.mark.train
def test_torchvision_weighs_the_class_loss_and_nothing_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The hook's class loss is weighted cross entropy with the background first; the box loss stays; a wrong model is refused."""
    torch = pytest.importorskip("torch")
    roi_heads = pytest.importorskip("torchvision.models.detection.roi_heads")
    made = load(export("torchvision", dd.weigh(holding(8, 2))), tmp_path)
    logits, labels = torch.tensor([[0.1, 0.2, 0.3], [1.0, -1.0, 0.5], [0.0, 2.0, 1.0]]), [torch.tensor([0, 1]), torch.tensor([2])]
    boxes, targets = torch.linspace(0, 1, 36).reshape(3, 12), [torch.zeros(2, 4), torch.ones(1, 4)]
    before = roi_heads.fastrcnn_loss(logits, boxes, labels, targets)
    monkeypatch.setattr(roi_heads, "fastrcnn_loss", roi_heads.fastrcnn_loss)
    made.weigh_classes()
    classes, box = roi_heads.fastrcnn_loss(logits, boxes, labels, targets)

    each = torch.nn.functional.cross_entropy(logits, torch.cat(labels), reduction="none").tolist()
    assert classes.item() == pytest.approx((1 * each[0] + 1.25 * each[1] + 5 * each[2]) / 7.25, rel=1e-5)
    assert box.item() == before[1].item()
    with pytest.raises(ValueError, match="4 outputs; 3 are weighed"):
        roi_heads.fastrcnn_loss(torch.zeros(3, 4), boxes, labels, targets)


# Trainers that are not installed ------------------------------------------------------------------------------------


def test_mmdetections_softmax_head_has_the_background_last(tmp_path: Path) -> None:
    """One weight more than classes; the sigmoid list has none more; the sampler's threshold is the median image share."""
    dataset, _ = draw(
        "classes: a b c\nx.jpg 9x9 train\n  a 0 0 5 5\n  b 0 0 5 5\ny.jpg 9x9 train\n  a 0 0 5 5\n  c 0 0 5 5\nz.jpg 9x9 train\n  b 0 0 5 5"
    )
    made = load(export("mmdet", dd.weigh(dataset)), tmp_path)

    assert made.classes == ("a", "b", "c")
    assert made.class_weight_sigmoid == [2.5, 2.5, 5.0]
    assert made.class_weight == [2.5, 2.5, 5.0, 1.0]
    head = made.model["roi_head"]["bbox_head"]
    assert (head["num_classes"], head["loss_cls"]["class_weight"]) == (3, made.class_weight)
    assert made.oversample_thr == pytest.approx(2 / 3, abs=1e-6)


@pytest.mark.train
def test_detectron2_repeats_an_image_for_its_rarest_class(tmp_path: Path) -> None:
    """Factors follow the registered order of names; an image without annotations has 1; other names are refused."""
    pytest.importorskip("torch")
    made = load(export("detectron2", dd.weigh(holding(8, 2, 0))), tmp_path)
    images = [{"annotations": [{"category_id": c} for c in ids]} for ids in ([0], [0, 1], [], [2])]

    assert made.repeat_factors(images, ["c0", "c1", "c2"]).tolist() == [1.0, 4.0, 1.0, 1.0]
    assert made.repeat_factors(images, ["c1", "c0", "c2"]).tolist() == [4.0, 4.0, 1.0, 1.0]
    with pytest.raises(ValueError, match="not the dataset's"):
        made.repeat_factors(images, ["c0", "c1"])


@pytest.mark.train
def test_yolov5s_list_is_a_positive_weight_a_class() -> None:
    """Put where its loss puts the number, the list weighs the positive labels of each class."""
    torch = pytest.importorskip("torch")
    hyp = yaml.safe_load(export("yolov5", dd.weigh(holding(8, 2))))
    loss = torch.nn.BCEWithLogitsLoss(pos_weight=torch.tensor([hyp["cls_pw"]]), reduction="none")

    assert (loss(torch.zeros(3, 2), torch.ones(3, 2)) / np.log(2)).tolist() == pytest.approx(np.array([[1.25, 5.0]] * 3))


# The nearest cls_pw -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("scheme", "arguments", "power"),
    [("uniform", {}, 0.0), ("sqrt", {}, 0.5), ("power", {"power": 0.3}, 0.3), ("inverse", {}, 1.0), ("balanced", {}, 1.0)],
    ids=lambda value: str(value),
)
def test_a_power_is_found_again(scheme: str, arguments: dict[str, float], power: float) -> None:
    """Weights that are a power of the inverse frequency give that power, and no residual."""
    found, factor, _ = nearest_power(dd.weigh(holding(100, 30, 7, 0), scheme, **arguments))

    assert (found, factor) == (pytest.approx(power, abs=1e-4), pytest.approx(1, abs=1e-3))


def test_what_a_power_cannot_say_is_said() -> None:
    """A cap bends the line: the worst class and its factor stand in the file; one class, or equal counts, need no power."""
    bent = dd.weigh(holding(1000, 100, 1), cap=10.0)
    power, factor, worst = nearest_power(bent)
    n, w = np.array([1000, 100, 1]), np.array(bent.weights)
    off = np.log(w) + power * np.log(n)
    off -= off.mean()

    assert factor == pytest.approx(np.exp(np.abs(off).max()))
    assert worst == f"c{np.abs(off).argmax()}"
    assert f"{worst!r} is off by a factor of {factor:.3g}" in export("ultralytics", bent)
    assert nearest_power(dd.weigh(holding(5, 5)))[:2] == (0.0, 1.0)
    assert nearest_power(dd.weigh(holding(5, 0)))[:2] == (0.0, 1.0)


# In the trainers ----------------------------------------------------------------------------------------------------

CHECKS = {
    "PyTorch": """
assert weight.tolist() == torch.tensor([w for _, w in torch_weights.WEIGHT_OF_CLASS]).tolist()
""",
    "torchvision detectors": """
assert all(torch.isfinite(value) for value in losses.values())
from torchvision.models.detection import roi_heads
assert roi_heads.fastrcnn_loss.__name__ == "weighted"
""",
    "Ultralytics": """
import numpy, yaml
from ultralytics.models.yolo.detect import DetectionTrainer
ours = model.trainer.model.class_weights.tolist()
assert numpy.allclose(ours, weighted_trainer.WEIGHTS)
stock = DetectionTrainer(overrides=settings | yaml.safe_load(open("cls_pw.yaml")) | dict(data="fixtures/yolo/data.yaml", model="yolo11n.yaml"))
stock.train()
theirs = stock.model.class_weights.tolist()
assert numpy.allclose(ours, numpy.array(theirs) * numpy.mean(ours) / numpy.mean(theirs), rtol=1e-3)  # alike but for their scale

from classify_trainer import WEIGHTS, WeightedTrainer as WeightedClassifier
import torch
trainer = WeightedClassifier(overrides=settings | dict(data="fixtures/folder", model="yolo11n-cls.yaml", task="classify"))
losses = []
trainer.add_callback("on_train_batch_end", lambda t: losses.append(float(t.loss)))
trainer.train()
logits, target = torch.tensor([[0.5, -1.0, 2.0, 0.0], [1.0, 1.0, -1.0, 0.0]]), torch.tensor([0, 3])
got, _ = trainer.model.criterion(logits, {"cls": target})
want = torch.nn.functional.cross_entropy(logits, target, torch.tensor(WEIGHTS))
assert len(losses) > 0 and abs(float(got - want)) < 1e-6
torch.load(trainer.last, weights_only=False)["ema"]
""",
    "Keras": """
x, y = np.linspace(-1, 1, 64).reshape(8, 8), np.arange(8) % 4
model.compile(keras.optimizers.SGD(0.0), "sparse_categorical_crossentropy")
got = model.fit(x, y, batch_size=8, class_weight=CLASS_WEIGHT, verbose=0).history["loss"][0]
p = model.predict(x, verbose=0)[np.arange(8), y]
want = (np.array([CLASS_WEIGHT[int(c)] for c in y]) * -np.log(p)).mean()
assert abs(got - want) < 1e-5, (got, want)
""",
    "Hugging Face": """
logits, target = torch.tensor([[0.5, -1.0, 2.0, 0.0], [1.0, 1.0, -1.0, 0.0], [0.0, 0.0, 0.0, 1.0]]), torch.tensor([0, 3, -100])
each = torch.nn.functional.cross_entropy(logits, target, reduction="none", ignore_index=-100)
want = (each * torch.tensor([hf_weights.WEIGHTS[0], hf_weights.WEIGHTS[3], 0.0])).sum()
loss = loss_for(model)
assert torch.allclose(loss({"logits": logits}, target), want / 2)
assert torch.allclose(loss({"logits": logits}, target, num_items_in_batch=torch.tensor(8)), want / 8)
assert torch.isfinite(loss({"logits": logits.half() * 1000}, target))
""",
    "scikit-learn": """
import dataset_doctor as dd
dataset = dd.read("fixtures/folder")
train = dataset.images.in_split[:, dataset.splits.index("train")]
y = np.array(dataset.annotations.class_index[train[dataset.annotations.image]])
x = np.random.default_rng(1).normal(size=(len(y), 3))
ours = LogisticRegression(class_weight=CLASS_WEIGHT).fit(x, y).coef_
stock = LogisticRegression(class_weight="balanced").fit(x, y).coef_
assert np.allclose(ours, stock, atol=1e-5)
""",
}
NEEDS = {
    "PyTorch": ("torch",), "torchvision detectors": ("torchvision",), "Ultralytics": ("ultralytics",), "Keras": ("keras", "torch"),
    "Hugging Face": ("transformers", "accelerate"), "scikit-learn": ("sklearn",),
}  # fmt: skip
MORE_FILES = {
    "Ultralytics": (
        "weights fixtures/yolo --scheme sqrt --for ultralytics -o cls_pw.yaml",
        "weights fixtures/folder --scheme sqrt --for ultralytics -o classify_trainer.py",
    )
}


def blocks(title: str) -> tuple[list[str], str]:
    """Give the commands and the code of a section of the page."""
    section = PAGE.partition(f"\n## {title}\n")[2].partition("\n## ")[0]
    commands = [line for block in re.findall(r"```sh\n(.*?)```", section, re.DOTALL) for line in block.splitlines()]
    return commands, "".join(re.findall(r"```python\n(.*?)```", section, re.DOTALL))


@pytest.mark.parametrize("title", CHECKS)
@pytest.mark.trainers
def test_the_pages_snippet_runs_in_its_trainer(title: str, tmp_path: Path) -> None:
    """The command of the page writes the file, the snippet trains with it, and the trainer uses exactly these weights."""
    for needed in NEEDS[title]:
        if importlib.util.find_spec(needed) is None:
            pytest.skip(f"{needed} is not installed")
    shutil.copytree(FIXTURES, tmp_path / "fixtures", ignore=shutil.ignore_patterns("__pycache__"))
    commands, code = blocks(title)
    environment = os.environ | {
        "PYTHONPATH": f"{ROOT}{os.pathsep}{tmp_path}", "KERAS_BACKEND": "torch", "HF_HUB_OFFLINE": "1", "YOLO_CONFIG_DIR": str(tmp_path),
        "YOLO_OFFLINE": "true", "MPLBACKEND": "agg", "HOME": str(tmp_path), "CUDA_VISIBLE_DEVICES": "", "OMP_NUM_THREADS": "2",
    }  # fmt: skip
    for command in [*commands, *(f"dataset-doctor {more}" for more in MORE_FILES.get(title, ()))]:
        words = shlex.split(command)
        assert words[0] == "dataset-doctor"
        subprocess.run([sys.executable, "-m", "dataset_doctor", *words[1:]], cwd=tmp_path, check=True, capture_output=True, env=environment)
    module = re.search(r"from (\w+_weights|weighted_trainer) import", code)
    assert module is not None
    (tmp_path / "snippet.py").write_text(f"{code}\nimport {module[1]}\n{CHECKS[title]}\nprint('done')\n")
    done = subprocess.run([sys.executable, "snippet.py"], cwd=tmp_path, capture_output=True, text=True, timeout=400, env=environment)

    assert done.returncode == 0, done.stderr[-3000:] + done.stdout[-1000:]
    assert done.stdout.splitlines()[-1] == "done"


@pytest.mark.parametrize("title", ["YOLOv5", "MMDetection", "detectron2"])
def test_the_pages_other_commands_write_their_files(title: str, tmp_path: Path) -> None:
    """What is said not to be run is at least written; the page and the file both say so."""
    (command,), code = blocks(title)
    words = shlex.split(command.replace("fixtures/", f"{FIXTURES}/"))
    done = subprocess.run([sys.executable, "-m", "dataset_doctor", *words[1:]], cwd=tmp_path, capture_output=True, text=True)

    assert (done.returncode, code) == (0, "")
    assert "Not run by us" in (tmp_path / words[-1]).read_text()
    assert PAGE.partition(f"\n## {title}\n")[2].lstrip().startswith("Not run by us")


def classifier() -> ClassWeights:
    return dd.weigh(dd.read(FIXTURES / "folder"))


def test_ultralytics_classifiers_have_no_cls_pw() -> None:
    """A configuration for them is refused; the file of the trainer does not name one."""
    with pytest.raises(UsageError, match=r"\.py"):
        export("ultralytics", classifier(), ".yaml")
    assert "cls_pw=" not in export("ultralytics", classifier())
