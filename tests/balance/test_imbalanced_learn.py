"""Samplers of imbalanced-learn as methods: on row numbers where they draw by chance, on small images where they look."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import dataset_doctor as dd
from dataset_doctor.balance import rebalance
from dataset_doctor.balance.samplers import imbalanced_learn
from dataset_doctor.dataset import Dataset
from dataset_doctor.errors import UsageError


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """Forty dark images and twelve bright ones in class folders; one of the dark folder is as bright, one file is no image."""
    root = tmp_path_factory.mktemp("pictures")
    random = np.random.default_rng(0)
    for name, n, low, high in (("dark", 40, 0, 90), ("bright", 12, 160, 255)):
        (root / name).mkdir()
        for i in range(n):
            bright = name == "bright" or i == 0
            values = random.integers(160 if bright else low, 255 if bright else high, (24, 24, 3), dtype=np.uint8)
            Image.fromarray(values).save(root / name / f"{i:02}.png")
    (root / "dark" / "broken.png").write_bytes(b"\x89PNG no image")
    return dd.read(root)


def after(dataset: Dataset, method: str, **options: object) -> dict[str, int]:
    plan = rebalance(dataset, method=method, **options)  # type: ignore[arg-type]
    return {change.name: change.after for change in plan.classes}


@pytest.mark.parametrize("name", sorted(imbalanced_learn.NAMES))
@pytest.mark.slow(but="SMOTE")
def test_every_sampler_keeps_the_limits(pictures: Dataset, name: str) -> None:
    """Deterministic, within budget and repeats, no class lost; what drops does not repeat."""
    plan, again = (rebalance(pictures, method=f"imblearn:{name}", target="uniform", seed=3) for _ in range(2))
    repeats = np.bincount(plan.rows, minlength=pictures.n_images)

    assert np.array_equal(plan.rows, again.rows)
    assert plan.epoch_images <= 1.5 * pictures.n_images and repeats.max() <= 10
    assert all(change.after > 0 for change in plan.classes)
    assert repeats.max() == 1 or imbalanced_learn.NAMES[name] == "up"


def test_names_are_those_that_tell_which_images_they_took() -> None:
    """The table is complete for the installed version: every sampler whose documentation names `sample_indices_`."""
    from imblearn import combine, over_sampling, under_sampling

    found = {
        name
        for module in (over_sampling, under_sampling, combine)
        for name in module.__all__
        if "sample_indices_" in (getattr(module, name).__doc__ or "")
    }

    assert set(imbalanced_learn.NAMES) == found


def test_counts_are_the_targets(pictures: Dataset) -> None:
    """A random sampler gives each class its final count, as far as budget and repeats allow."""
    assert after(pictures, "imblearn:RandomOverSampler", target="uniform", max_repeat=50) == {"bright": 38, "dark": 41}  # 1.5 · 53 = 79.5
    assert after(pictures, "imblearn:RandomUnderSampler", target="floor:20") == {"bright": 12, "dark": 20}
    assert after(pictures, "imblearn:NearMiss", target="uniform") == {"bright": 12, "dark": 13}  # 12 and the one that cannot be decoded


def test_features_are_what_the_pictures_show(pictures: Dataset) -> None:
    """Of the dark folder, the one bright image is what does not fit; the file that is no image stays."""
    plan = rebalance(pictures, method="imblearn:EditedNearestNeighbours")
    gone = set(pictures.images.file_name.tolist()) - set(pictures.images.file_name[plan.rows].tolist())

    assert gone == {"dark/00.png"}


def test_what_makes_up_samples_is_refused(pictures: Dataset) -> None:
    """SMOTE's rows are no images; a misspelt name gets its neighbour."""
    with pytest.raises(UsageError, match="chooses among images"):
        rebalance(pictures, method="imblearn:SMOTE")
    with pytest.raises(UsageError) as error:
        rebalance(pictures, method="imblearn:RandomOversampler")
    assert error.value.hint == "Did you mean RandomOverSampler?"


def test_what_it_cannot_do_becomes_one_line(tmp_path: Path) -> None:
    """Two images of a class are too few for three neighbours."""
    for name, n in (("a", 8), ("b", 2)):
        (tmp_path / name).mkdir()
        for i in range(n):
            Image.new("RGB", (8, 8), (20 * i, 0, 0)).save(tmp_path / name / f"{i}.png")

    with pytest.raises(UsageError, match="imblearn:NearMiss cannot be used here"):
        rebalance(dd.read(tmp_path), method="imblearn:NearMiss", target="uniform")
