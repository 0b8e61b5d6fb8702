"""Check the training loop against published figures: CIFAR-10-LT (imbalance 100), ResNet-32, cross entropy and balanced softmax.

    python benchmarks/cifar_lt.py --data ../shared/data/cifar10_lt100.tar --device cuda          # the recipe: 200 epochs, minutes on a GPU
    python benchmarks/cifar_lt.py --data ../shared/data/cifar10_lt100.tar --device cpu --quick   # a subset and few steps: the order only

Published errors (BagofTricks-LT): 29.64 % with cross entropy, 22.46 % with balanced softmax, which is `logit_adjusted` here. The recipe is
that of Cao et al. 2019 and BagofTricks-LT: SGD with momentum 0.9, rate 0.1 on batches of 128, weight decay 2e-4, 5 epochs of warm-up,
rate × 0.01 from epochs 160 and 180 on, pictures mirrored and shifted by up to 4 pixels. What differs, because this loop is what is checked:
no decay on norms and biases, Nesterov's momentum, and one checkpoint, the last, so that nothing is chosen on the test pictures.

The full recipe has not been run yet: no GPU was at hand. `--quick` asserts only that balanced softmax has the better balanced accuracy.
"""

from __future__ import annotations

import argparse
import dataclasses
import datetime
import json
import tarfile
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dataset_doctor.trials.images import Data
    from dataset_doctor.trials.settings import Settings

PUBLISHED = {"baseline": 29.64, "logit_adjusted": 22.46}
TOLERANCE = 1.5
EPOCHS, WARM_UP, DROPS = 200, 5, (160, 180)
QUICK_SHARE, QUICK_STEPS = 3, 250


def load(archive: Path) -> Data:
    """Read the pictures. Every tenth test picture stands in for a validation split, which is looked at once, when nothing is chosen."""
    import numpy as np

    from dataset_doctor.formats import read
    from dataset_doctor.trials import images

    with tempfile.TemporaryDirectory() as folder:
        with tarfile.open(archive) as tar:
            tar.extractall(folder, filter="data")
        dataset = read(Path(folder) / "cifar10_lt100")
        images = dataset.images
        no_val = np.zeros((len(images), 1), bool)
        images = dataclasses.replace(images, in_split=np.concatenate([images.in_split, no_val], axis=1))
        names = (*dataset.splits, "val")
        dataset = dataclasses.replace(dataset, splits=names, split_spelling=names, images=images)
        data = images.load(dataset, images.choose(dataset), 32)
    return dataclasses.replace(data, val=data.test.take(np.arange(0, len(data.test), 10)))


def recipe(data: Data, device: str) -> Settings:
    """Give the settings of the published recipe."""
    from dataset_doctor.trials.settings import Settings

    steps = round(EPOCHS * len(data.train) / 128)
    return Settings(
        model="cifar_resnet32", steps=steps, batch=128, optimizer="sgd", lr=0.1, weight_decay=2e-4, momentum=0.9, schedule="drops",
        warmup=WARM_UP / EPOCHS, drops=tuple(epoch / EPOCHS for epoch in DROPS), drop=0.01, clip=None, evaluations=1, size=32,
        augment="cifar", device=device, precision="fp32", deterministic=False,
    )  # fmt: skip


def quick(device: str) -> Settings:
    """Give settings that show the order in minutes on a CPU."""
    from dataset_doctor.trials.settings import Settings

    return Settings(model="cifar_resnet8", steps=QUICK_STEPS, batch=64, evaluations=1, size=32, augment="cifar", device=device)


def main() -> None:
    """Train both arms with each seed and print what came out beside what was published."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="cifar10_lt100.tar")
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--quick", action="store_true", help="a third of the test pictures, a small model and few steps")
    options = parser.parse_args()

    import numpy as np
    import torch

    from dataset_doctor.trials import classification
    from dataset_doctor.trials.arms import Arm, Treatment
    from dataset_doctor.trials.loop import Trial

    data = load(options.data)
    settings = quick(options.device) if options.quick else recipe(data, options.device)
    if options.quick:
        data = dataclasses.replace(data, test=data.test.take(np.arange(0, len(data.test), QUICK_SHARE)))
    arms = {"baseline": Treatment(), "logit_adjusted": Treatment(loss="logit_adjusted_loss")}
    errors: dict[str, list[float]] = {name: [] for name in arms}
    speed = []
    for seed in range(options.seeds):
        for name, treatment in arms.items():
            trained = classification.run(Trial(Arm(name, "loss"), treatment, settings, seed), data)
            errors[name].append(100 * (1 - trained.outcome.metrics()["balanced_accuracy"]))
            speed.append(trained.cost.images_per_second)
            print(f"{name}, seed {seed}: error {errors[name][-1]:.2f} %, {speed[-1]:,.0f} images/s")
    mean = {name: float(np.mean(values)) for name, values in errors.items()}
    in_order = mean["logit_adjusted"] < mean["baseline"]
    near = all(abs(mean[name] - PUBLISHED[name]) <= TOLERANCE for name in mean)
    card = torch.cuda.get_device_name(0) if options.device.startswith("cuda") else "CPU"
    print(json.dumps({
        "date": datetime.date.today().isoformat(), "device": card, "torch": torch.__version__, "quick": options.quick,
        "steps": settings.steps, "error": mean, "published": PUBLISHED, "images_per_second": float(np.median(speed)),
        "order_holds": in_order,
        "within_tolerance": None if options.quick else near,
    }, indent=1))  # fmt: skip
    if not in_order or not (options.quick or near):
        raise SystemExit(1)


if __name__ == "__main__":
    main()
