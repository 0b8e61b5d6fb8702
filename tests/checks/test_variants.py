"""The variants of photos in benchmarks/variants.py: flaws that the checks of images find, and ordinary kinds of images that they leave alone."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from PIL import Image

from dataset_doctor.audit import examine
from dataset_doctor.checks import select
from dataset_doctor.formats import read
from dataset_doctor.scan import scan
from tests.conftest import ROOT

BENCHMARKS = ROOT / "benchmarks"
N_ORDINARY, N_CHANGED = 24, 4


def imported(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, BENCHMARKS / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def variants() -> Iterator[ModuleType]:
    """The script that makes the variants, under the name that `judged.py` imports it by."""
    yield imported("variants")
    del sys.modules["variants"]


def photo(seed: int, width: int = 240, height: int = 180) -> Image.Image:
    """Draw large shapes with fine detail, in colour, from black to white."""
    rng = np.random.default_rng(seed)
    total = np.full((height, width, 3), 128.0)
    for cells, strength in ((3, 110), (9, 60), (30, 45), (90, 30)):
        noise = Image.fromarray(rng.integers(0, 256, (cells, cells, 3)).astype(np.uint8)).resize((width, height), Image.Resampling.BICUBIC)
        total += (np.asarray(noise, float) - 128) / 128 * strength
    return Image.fromarray(np.clip(total, 0, 255).astype(np.uint8))


FOUND = {
    "light x 0.08": {"image-dark"},
    "covered lens": {"image-dark"},
    "distance to white x 0.02": {"image-bright", "image-low-information"},
    "contrast x 0.02": {"image-low-information"},
    "one colour": {"image-low-information"},
    "gradient": {"image-low-information"},
    "sign on one colour": {"image-low-information"},
    "out of focus 10 %": {"image-blurry"},
    "grey": {"image-grey-among-colour"},
    "faint tint": {"image-grey-among-colour"},
    "x-ray": {"image-grey-among-colour"},
    "page": {"image-grey-among-colour"},
}
LEFT_ALONE = ("light x 0.5", "night", "fog", "snow", "out of focus 1 %", "shallow depth of field", "on white", "on black", "screenshot", "tint",
              "sepia", "colour x 0.5", "one colour left")  # fmt: skip


@pytest.mark.slow
def test_flaws_are_found_and_ordinary_kinds_left_alone(tmp_path: Path, variants: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    """All four photos of each kind of flaw are flagged for it and for nothing else, none of other kinds, and no photo beside them."""
    files = []
    for seed in range(N_ORDINARY + N_CHANGED):
        files.append(tmp_path / f"photo-{seed:02}.png")
        photo(seed).save(files[-1])
    wanted = {**FOUND, **{name: set[str]() for name in LEFT_ALONE}}
    monkeypatch.setattr(variants, "VARIANTS", {name: variants.VARIANTS[name] for name in wanted})

    for name, root in variants.make(files[:N_CHANGED], files[N_CHANGED:], tmp_path / "variants"):
        dataset = read(root)
        pixels = scan(dataset, workers=1, cache=tmp_path / "cache")
        report = examine(dataset, checks=select(["DD406", "DD407", "DD408", "DD409", "DD412"]), locations=None, pixels=pixels)
        changed = {f"train/photo/changed-{i:02}.jpg" for i in range(N_CHANGED)}
        found = {finding.name: {place.image for place in finding.locations} for finding in report.findings}
        assert found == dict.fromkeys(wanted[name], changed), name


def test_precision_has_wilson_s_interval(variants: ModuleType) -> None:
    """The table divides open datasets from variants, and gives the interval of both; what is missed is counted."""
    judged = imported("judged")
    rows = [judged.Judged("open", (f"{i}.jpg",), "image-dark", True, i > 0) for i in range(5)]
    rows += [judged.Judged("large/night", (f"{i}.jpg",), "image-dark", True, True) for i in range(5)]
    rows += [judged.Judged("open", (f"{i}.jpg",), "image-dark", False, i < 12) for i in range(10, 30)]

    line = judged.table(rows, {"open": {"image-dark": 6}, "large/night": {"image-dark": 5}})[-1]

    # Newcombe, 1998: of 9 in 10 Wilson's interval is 0.596 to 0.982.
    assert line == "| `image-dark` | 6 | 4 of 5 | 5 | 5 of 5 | 0.900 (0.596 to 0.982) | 20 | 2 |"


def test_judgements_are_one_a_claim() -> None:
    """No image is judged twice for one check, and nothing else than yes and no is said."""
    lines = (BENCHMARKS / "judged_pictures.csv").read_text(encoding="utf-8").splitlines()
    claims = [line.rsplit(",", 2)[0] for line in lines[1:]]
    assert len(set(claims)) == len(claims)
    assert {word for line in lines[1:] for word in line.rsplit(",", 2)[1:]} == {"yes", "no"}
