"""Classifiers by name: torchvision's registry, and the small ResNets for tiny images that CIFAR is measured with."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from dataset_doctor.errors import UsageError, did_you_mean
from dataset_doctor.findings import plural
from dataset_doctor.trials.settings import Settings

MAX_WEIGHTS_BYTES = 8 << 30


# The small ResNets ------------------------------------------------------------------------------------------------------


class _Block(nn.Module):
    """Two 3 × 3 convolutions and a shortcut without parameters (option A): every other pixel, and channels of zeros."""

    def __init__(self, width_in: int, width: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(width_in, width, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.stride, self.more = stride, width - width_in

    def forward(self, x: Tensor) -> Tensor:
        y = functional.relu(self.bn1(self.conv1(x)), inplace=True)
        y = self.bn2(self.conv2(y))
        if self.more:
            x = functional.pad(x[:, :, :: self.stride, :: self.stride], (0, 0, 0, 0, self.more // 2, self.more - self.more // 2))
        return functional.relu(y + x, inplace=True)


class CifarResNet(nn.Module):
    """ResNet for images of 32 × 32 (He et al. 2016, section 4.2): 6 n + 2 layers of 16, 32 and 64 channels."""

    def __init__(self, depth: int, num_classes: int) -> None:
        super().__init__()
        n, rest = divmod(depth - 2, 6)
        assert n >= 1 and not rest
        self.stem = nn.Sequential(nn.Conv2d(3, 16, 3, 1, 1, bias=False), nn.BatchNorm2d(16), nn.ReLU(inplace=True))
        self.stage1 = nn.Sequential(*(_Block(16, 16, 1) for _ in range(n)))
        self.stage2 = nn.Sequential(_Block(16, 32, 2), *(_Block(32, 32, 1) for _ in range(n - 1)))
        self.stage3 = nn.Sequential(_Block(32, 64, 2), *(_Block(64, 64, 1) for _ in range(n - 1)))
        self.fc = nn.Linear(64, num_classes)
        for module in self.modules():
            if isinstance(module, nn.Conv2d | nn.Linear):
                nn.init.kaiming_normal_(module.weight)

    def forward(self, x: Tensor) -> Tensor:
        """Give logits (n, K) for images (n, 3, S, S)."""
        features = self.stage3(self.stage2(self.stage1(self.stem(x))))
        logits: Tensor = self.fc(features.mean(dim=(2, 3)))
        return logits


class SmallCnn(nn.Module):
    """Six convolutions of 32, 64 and 128 channels, halving the image three times: for a CPU, where wide and small maps are fast.

    A ResNet of 8 layers takes twice the time an image, most of it in maps of 16 channels and full size.
    """

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        self.stage1 = nn.Sequential(*convolution(3, 32, 2), *convolution(32, 32, 1))
        self.stage2 = nn.Sequential(*convolution(32, 64, 2), *convolution(64, 64, 1))
        self.stage3 = nn.Sequential(*convolution(64, 128, 2), *convolution(128, 128, 1))
        self.fc = nn.Linear(128, num_classes)
        for module in self.modules():
            if isinstance(module, nn.Conv2d | nn.Linear):
                nn.init.kaiming_normal_(module.weight)

    def forward(self, x: Tensor) -> Tensor:
        """Give logits (n, K) for images (n, 3, S, S)."""
        logits: Tensor = self.fc(self.stage3(self.stage2(self.stage1(x))).mean(dim=(2, 3)))
        return logits


def convolution(width_in: int, width: int, stride: int) -> list[nn.Module]:
    """Make a convolution of 3 × 3 with its norm and rectifier."""
    return [nn.Conv2d(width_in, width, 3, stride, 1, bias=False), nn.BatchNorm2d(width), nn.ReLU(inplace=True)]


class CosineLinear(nn.Module):
    """A last layer whose logits are cosines between features and class weights; what margins like LDAM's are made for."""

    def __init__(self, weight: Tensor) -> None:
        super().__init__()
        self.weight = nn.Parameter(weight.detach().clone())

    def forward(self, x: Tensor) -> Tensor:
        """Give cosines (n, K)."""
        return functional.linear(functional.normalize(x), functional.normalize(self.weight))


MODELS: dict[str, Callable[[int], nn.Module]] = {
    "small_cnn": SmallCnn,
    **{f"cifar_resnet{depth}": partial(CifarResNet, depth) for depth in (8, 14, 20, 32, 44, 56, 110)},
}
"""Our own; all others are torchvision's."""


# By name ----------------------------------------------------------------------------------------------------------------


def model_names() -> list[str]:
    """List what `--model` may name for classification."""
    import torchvision

    return [*MODELS, *torchvision.models.list_models(module=torchvision.models)]


def check_name(name: str) -> None:
    """Refuse a model that there is not.

    Raises:
        UsageError: with the nearest name.
    """
    names = model_names()
    if name not in names:
        near = did_you_mean(name, names)
        raise UsageError(f"`model={name}` is not known.", near if near.startswith("Did") else f"For example {', '.join(_EXAMPLES)}.")


_EXAMPLES = ("cifar_resnet20", "resnet18", "mobilenet_v3_small", "efficientnet_b0", "convnext_tiny", "vit_b_16")


def build(settings: Settings, num_classes: int, *, seed: int, cosine: bool = False) -> tuple[nn.Module, list[str]]:
    """Make a classifier: the same parameters for the same seed, whatever the arm.

    Args:
        settings: `model`, `weights`, `dropout`, `size`.
        num_classes: Outputs.
        seed: Of the parameters that begin by chance.
        cosine: Make the last layer one of cosines.

    Returns:
        The model, on the CPU, and what a reader should know of its weights.

    Raises:
        UsageError: a model that there is not or that cannot take images of this size, weights that do not fit.
    """
    check_name(settings.model)
    with torch.random.fork_rng([]), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torchvision's advice on initialisation
        torch.manual_seed(seed)
        model = _made(settings, num_classes)
        notes = _pretrained(model, settings, num_classes) if settings.weights else []
        if cosine or settings.dropout:
            _replace_head(model, cosine=cosine, dropout=settings.dropout)
    return model, notes


def _made(settings: Settings, num_classes: int) -> nn.Module:
    import torchvision

    if settings.model in MODELS:
        return MODELS[settings.model](num_classes)
    options: dict[str, Any] = {"num_classes": num_classes}
    if settings.model.startswith(("vit_", "maxvit_")):
        options["image_size" if settings.model.startswith("vit_") else "input_size"] = (
            settings.size if settings.model.startswith("vit_") else (settings.size, settings.size)
        )
    if settings.model in ("googlenet", "inception_v3"):
        options |= {"aux_logits": False, "init_weights": True}
    try:
        model: nn.Module = torchvision.models.get_model(settings.model, weights=None, **options)
    except (ValueError, AssertionError, RuntimeError) as error:
        why = str(error)[:200]
        raise UsageError(f"{settings.model} cannot be built for images of {settings.size} pixels: {why}", _OTHER_SIZE) from error
    try:
        with torch.no_grad():
            model.eval()(torch.zeros(1, 3, settings.size, settings.size))
    except (RuntimeError, AssertionError, ValueError) as error:
        raise UsageError(f"{settings.model} does not take images of {settings.size} pixels.", _OTHER_SIZE) from error
    return model.train()


_OTHER_SIZE = "Take a larger `size` (224 is usual for torchvision's models), or a cifar_resnet for tiny images."


# Pretrained -------------------------------------------------------------------------------------------------------------


def _pretrained(model: nn.Module, settings: Settings, num_classes: int) -> list[str]:
    """Put weights into a model; the last layer stays new where it has another number of classes."""
    assert settings.weights is not None
    state = read_state(Path(settings.weights)) if Path(settings.weights).exists() else named_state(settings)
    own = model.state_dict()
    extra = [name for name in state if name not in own and not name.startswith(("AuxLogits", "aux"))]
    fitting = {name: value for name, value in state.items() if name in own and own[name].shape == value.shape}
    head = head_name(model)
    left = [name for name in own if name not in fitting and not name.startswith(f"{head}.") and "num_batches_tracked" not in name]
    if left or extra:
        differ = plural(len(left) + len(extra), "parameter")
        raise UsageError(
            f"`weights={settings.weights}` does not fit {settings.model}: {differ} differ, first {[*left, *extra][0]}.",
            "Name the model that the weights were made with, and the size it was made for.",
        )
    model.load_state_dict({**own, **fitting})
    if f"{head}.weight" not in fitting:
        theirs = state[f"{head}.weight"].shape[0] if f"{head}.weight" in state else 0
        of = f"{theirs:,} classes" if theirs else "no last layer"
        return [f"The weights have {of}, the dataset {num_classes:,}: the last layer starts from scratch."]
    return []


def read_state(path: Path) -> dict[str, Tensor]:
    """Read a file of parameters; nothing in it is executed."""
    try:
        if path.stat().st_size > MAX_WEIGHTS_BYTES:
            raise UsageError(f"`weights={path}` is larger than {MAX_WEIGHTS_BYTES >> 30} GiB.")
        state = torch.load(path, map_location="cpu", weights_only=True)
    except UsageError:
        raise
    except Exception as error:  # whatever a file that is none makes of the unpickler
        raise UsageError(
            f"`weights={path}` cannot be read as parameters: {type(error).__name__}.", "Give what torch.save(model.state_dict()) wrote."
        ) from error
    for key in ("state_dict", "model", "model_state_dict"):
        if isinstance(state, dict) and isinstance(state.get(key), dict):
            state = state[key]
    if not isinstance(state, dict) or not state or not all(isinstance(value, Tensor) for value in state.values()):
        raise UsageError(f"`weights={path}` holds no parameters by name.", "Give what torch.save(model.state_dict()) wrote.")
    return {str(name).removeprefix("module."): value for name, value in state.items()}


def named_state(settings: Settings) -> dict[str, Tensor]:
    """Have torchvision fetch weights by their name."""
    import torchvision

    assert settings.weights is not None
    if settings.model in MODELS:
        raise UsageError(f"`weights={settings.weights}` is not a file, and {settings.model} has no weights by name.", "Give a file.")
    known = torchvision.models.get_model_weights(settings.model)
    names = ["DEFAULT", *(weight.name for weight in known)]
    if settings.weights not in names:
        raise UsageError(f"`weights={settings.weights}` is neither a file nor a name.", did_you_mean(settings.weights, names))
    try:
        state: dict[str, Tensor] = known[settings.weights].get_state_dict(progress=False, check_hash=True)
    except (OSError, RuntimeError) as error:
        raise UsageError(f"`weights={settings.weights}` could not be fetched: {str(error)[:200]}.", "Give a file instead.") from error
    return state


# Parts of a model -------------------------------------------------------------------------------------------------------


def head_name(model: nn.Module) -> str:
    """Name the last linear layer."""
    linear: list[str] = [name for name, module in model.named_modules() if isinstance(module, nn.Linear | CosineLinear | nn.Conv2d)]
    return linear[-1]


def stages(model: nn.Module) -> Sequence[nn.Module]:
    """Cut a model into stages with parameters, from the input to the last layer, as fine as its authors have written them down."""
    parts = [child for child in model.children() if any(True for _ in child.parameters())]
    for _ in range(3):
        at = max(range(len(parts)), key=lambda i: sum(p.numel() for p in parts[i].parameters()))
        inner = [child for child in parts[at].children() if any(True for _ in child.parameters())]
        if len(parts) >= 5 or len(inner) < 2 or next(parts[at].parameters(recurse=False), None) is not None:
            break
        parts[at : at + 1] = inner
    return parts


def _replace_head(model: nn.Module, *, cosine: bool, dropout: float) -> None:
    """Put dropout before the last layer, or make it one of cosines, without a new draw of its parameters."""
    name = head_name(model)
    parent, _, attribute = name.rpartition(".")
    owner = model.get_submodule(parent)
    head = model.get_submodule(name)
    if not isinstance(head, nn.Linear):
        raise UsageError("The last layer of this model is not linear: it has no place for dropout and margins.", "Take another `model`.")
    last: nn.Module = CosineLinear(head.weight) if cosine else head
    setattr(owner, attribute, nn.Sequential(nn.Dropout(dropout), last) if dropout else last)
