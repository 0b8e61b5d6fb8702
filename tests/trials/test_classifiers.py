"""Models by name, their size, and weights that fit or do not."""

from __future__ import annotations

import dataclasses
import pickle
from pathlib import Path
from typing import Any

import pytest
import torch

from dataset_doctor.errors import UsageError
from dataset_doctor.trials.models import classifiers
from dataset_doctor.trials.settings import Settings
from tests.trials.drawn import QUICK


def test_the_small_resnet_has_the_published_size() -> None:
    """ResNet-32 for ten classes has 0.46 million parameters (He et al. 2016, table 6)."""
    assert sum(p.numel() for p in classifiers.CifarResNet(32, 10).parameters()) == 464_154


@pytest.mark.parametrize(
    "name", ["resnet18", "mobilenet_v3_small", "vgg11", "efficientnet_b0", "regnet_y_400mf", "vit_b_16", "convnext_tiny"]
)
def test_models_of_the_registry_give_logits(name: str) -> None:
    """For three classes, on images of 32 pixels, cut into stages that end with the last layer."""
    model, notes = classifiers.build(Settings(model=name, size=32), 3, seed=0)
    with torch.no_grad():
        logits = model.eval()(torch.rand(2, 3, 32, 32))
    stages = classifiers.stages(model)

    assert logits.shape == (2, 3) and notes == []
    assert len(stages) >= 2
    assert any(module is model.get_submodule(classifiers.head_name(model)) for module in stages[-1].modules())


def test_an_unknown_model_is_refused() -> None:
    """With the nearest name."""
    with pytest.raises(UsageError, match="Did you mean resnet18"):
        classifiers.check_name("resnet_18")
    with pytest.raises(UsageError, match="For example"):
        classifiers.check_name("zzzzzz")


def test_a_model_that_cannot_take_the_size_is_refused() -> None:
    """Before anything is trained."""
    with pytest.raises(UsageError, match=r"vit_b_16 .* 30 pixels"):
        classifiers.build(Settings(model="vit_b_16", size=30), 3, seed=0)
    with pytest.raises(UsageError, match="alexnet does not take images of 32 pixels"):
        classifiers.build(Settings(model="alexnet", size=32), 3, seed=0)


def with_weights(path: Path) -> Settings:
    return dataclasses.replace(QUICK, weights=str(path))


def test_weights_of_a_file_are_taken(tmp_path: Path) -> None:
    """All of them where the classes are as many, whatever the seed."""
    other, _ = classifiers.build(QUICK, 3, seed=7)
    torch.save({"state_dict": {f"module.{name}": value for name, value in other.state_dict().items()}}, tmp_path / "w.pt")

    model, notes = classifiers.build(with_weights(tmp_path / "w.pt"), 3, seed=0)

    assert notes == []
    assert all(torch.equal(a, b) for a, b in zip(model.state_dict().values(), other.state_dict().values(), strict=True))


def test_weights_for_other_classes_keep_all_but_the_last_layer(tmp_path: Path) -> None:
    """And it is said."""
    other, _ = classifiers.build(QUICK, 10, seed=7)
    torch.save(other.state_dict(), tmp_path / "w.pt")

    model, notes = classifiers.build(with_weights(tmp_path / "w.pt"), 3, seed=0)

    assert notes == ["The weights have 10 classes, the dataset 3: the last layer starts from scratch."]
    assert torch.equal(model.get_parameter("stem.0.weight"), other.get_parameter("stem.0.weight"))
    assert model.get_parameter("fc.weight").shape == (3, 64)


class Evil:
    def __reduce__(self) -> Any:
        return print, ("executed",)


def test_weights_that_do_not_fit_or_are_none_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Those of another model, a pickle that would run code, text, and a name that is no file."""
    torch.save(classifiers.CifarResNet(14, 3).state_dict(), tmp_path / "deeper.pt")
    (tmp_path / "evil.pt").write_bytes(pickle.dumps(Evil()))
    (tmp_path / "text.pt").write_text("weights")
    torch.save([1, 2], tmp_path / "list.pt")

    for name, message in (
        ("deeper.pt", "does not fit cifar_resnet8"),
        ("evil.pt", "cannot be read as parameters"),
        ("text.pt", "cannot be read as parameters"),
        ("list.pt", "holds no parameters"),
        ("DEFAULT", "is not a file, and cifar_resnet8 has no weights by name"),
    ):
        with pytest.raises(UsageError, match=message):
            classifiers.build(with_weights(tmp_path / name if name != "DEFAULT" else Path(name)), 3, seed=0)
    assert "executed" not in capsys.readouterr().out


def test_a_name_of_weights_that_torchvision_does_not_have_is_refused() -> None:
    """No network is asked."""
    with pytest.raises(UsageError, match="Did you mean IMAGENET1K_V1"):
        classifiers.build(Settings(model="resnet18", size=32, weights="IMAGENET1K_V9"), 3, seed=0)
