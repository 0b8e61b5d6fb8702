"""Files of weights: each form gives back what was written, with names that try to break out of it; nothing else is overwritten."""

from __future__ import annotations

import csv
import json
import re
import sys
from pathlib import Path

import numpy as np
import pytest
import yaml

import dataset_doctor as dd
from dataset_doctor.errors import OutputRefused, UsageError
from dataset_doctor.report import weight_files
from dataset_doctor.report.weight_files import FILES, save
from dataset_doctor.weights import ClassWeights, load
from tests.conftest import ROOT
from tests.weights.test_weights import holding

HOSTILE = (
    "'); import os; os.mkdir('pwned'); ('",
    '"""\nraise SystemExit(3)\n"""',
    "a\nb: [1, 2]\n- c",
    "\\",
    "{}%s{0}",
    "# no\r\u2028\u0085comment",
    "!!python/object/apply:os.mkdir [pwned]",
    "=cmd|' /C calc'!A0",
    "no",
    "1",
    "",
    " ",
    "Größe 猫 \U0001f600",
    "\u202eevil",
    "\x00\x1b[31m",
)


def hostile() -> ClassWeights:
    """Weigh classes of hostile names; class i has 2(i + 1) instances, the last has none."""
    from tests.drawing import draw

    names = (*HOSTILE, "unused")
    lines = [f"classes: {' '.join(f'c{at}' for at in range(len(names)))}", "x.jpg 100x80 train"]
    lines += [f"  c{at} 0 0 10 10 x{2 * (at + 1)}" for at in range(len(HOSTILE))]
    dataset, _ = draw("\n".join(lines))
    import dataclasses

    renamed = tuple(dataclasses.replace(c, name=name) for c, name in zip(dataset.classes, names, strict=True))
    return dd.weigh(dataclasses.replace(dataset, classes=renamed), "sqrt", cap=2.0, normalize="sample")


@pytest.mark.parametrize("suffix", [".json", ".yaml"])
def test_a_document_comes_back_as_it_was(suffix: str, tmp_path: Path) -> None:
    """JSON and YAML hold everything, names byte for byte; they are ASCII."""
    written = hostile()
    path = tmp_path / f"weights{suffix}"
    save(written, path, root="/nowhere")

    assert load(path) == written
    assert path.read_bytes().isascii()
    assert sorted(p.name for p in tmp_path.iterdir()) == [path.name]


def test_the_document_has_the_documented_keys() -> None:
    """The keys of the file format, and what was counted besides."""
    document = dd.weigh(holding(9, 1)).to_dict()

    assert list(document)[:14] == [
        "schema", "schema_version", "scheme", "normalize", "count", "split", "classes", "counts", "weights", "background_weight", "cap",
        "capped", "efficiency", "fingerprint",
    ]  # fmt: skip
    assert (document["schema"], document["schema_version"], document["background_weight"]) == ("dataset-doctor/weights", 1, 1.0)
    assert (document["classes"], document["counts"], document["weights"]) == (["c0", "c1"], [9, 1], [10 / 9, 10.0])
    assert document["fingerprint"].startswith("sha256:")


def test_every_key_is_documented() -> None:
    """The page explains each key of the document."""
    page = (ROOT / "docs/weights.md").read_text(encoding="utf-8")

    assert {*weight_files.plain(holding_weights(), "torch")} <= {*re.findall(r"`(\w+)`", page)}


def test_csv_has_a_row_a_class(tmp_path: Path) -> None:
    """`class,count,weight` in class order, weights to the last digit; a spreadsheet calculates no name."""
    save(hostile(), tmp_path / "weights.csv", root="/nowhere")
    with (tmp_path / "weights.csv").open(newline="", encoding="utf-8") as file:
        header, *rows = csv.reader(file)

    assert header == ["class", "count", "weight"]
    assert [int(count) for _, count, _ in rows] == list(hostile().counts)
    assert [float(weight) for _, _, weight in rows] == list(hostile().weights)
    assert rows[7][0] == "'=cmd|' /C calc'!A0"
    assert rows[12][0] == HOSTILE[12]


def test_npy_is_float64_in_class_order(tmp_path: Path) -> None:
    """What numpy loads are the weights."""
    save(hostile(), tmp_path / "weights.npy", root="/nowhere")
    got = np.load(tmp_path / "weights.npy", allow_pickle=False)

    assert (got.dtype, got.tolist()) == (np.float64, list(hostile().weights))


@pytest.mark.train
def test_pt_is_a_float32_tensor(tmp_path: Path) -> None:
    """PyTorch loads it without unpickling anything."""
    torch = pytest.importorskip("torch")
    save(hostile(), tmp_path / "weights.pt", root="/nowhere")
    got = torch.load(tmp_path / "weights.pt", weights_only=True)

    assert got.dtype == torch.float32
    assert got.tolist() == np.array(hostile().weights, np.float32).tolist()


@pytest.mark.parametrize("suffix", [pytest.param(suffix, marks=pytest.mark.train if suffix == ".pt" else ()) for suffix in FILES])
def test_the_same_weights_give_the_same_bytes(suffix: str) -> None:
    """Nothing in a file depends on when or where it was written."""
    assert FILES[suffix](hostile()) == FILES[suffix](hostile())


def test_without_torch_the_error_names_the_extra(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """`.pt` says what to install, and leaves nothing behind."""
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(UsageError, match=r"\[train\]"):
        save(holding_weights(), tmp_path / "w.pt", root="/nowhere")

    assert list(tmp_path.iterdir()) == []


def holding_weights() -> ClassWeights:
    return dd.weigh(holding(9, 1))


def test_a_file_of_the_dataset_is_never_overwritten(tmp_path: Path) -> None:
    """Inside the dataset only an older file of weights is replaced; elsewhere anything that was named is."""
    (tmp_path / "data.yaml").write_text("names: [a]\n")
    with pytest.raises(OutputRefused, match="lies in the dataset"):
        save(holding_weights(), tmp_path / "data.yaml", root=str(tmp_path))
    for trainer, name in ((None, "w.yaml"), (None, "w.npy"), ("torch", "w.py")):
        save(holding_weights(), tmp_path / name, root=str(tmp_path), trainer=trainer)
        save(holding_weights(), tmp_path / name, root=str(tmp_path), trainer=trainer)
    save(holding_weights(), tmp_path / "data.yaml", root="/nowhere")

    assert yaml.safe_load((tmp_path / "data.yaml").read_text())["counts"] == [9, 1]


@pytest.mark.parametrize(("name", "trainer", "says"), [
    ("w.txt", None, "Choose from: .json, .yaml, .csv, .npy, .pt"), ("w", None, "without a suffix"), ("w.py", None, 'trainer="detectron2, hf,'),
    ("w.py", "yolov5", 'trainer="detectron2'), ("no/w.json", None, "does not exist"),
])  # fmt: skip
def test_a_place_that_cannot_be_written_is_refused_at_once(name: str, trainer: str | None, says: str, tmp_path: Path) -> None:
    """Suffix and folder are looked at before anything is counted."""
    with pytest.raises((UsageError, OutputRefused)) as error:
        weight_files.check_targets([tmp_path / name], trainer)

    assert says in str(error.value)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"schema": "dataset-doctor/report"}, "does not say that it is one"),
        ({"schema_version": 2}, "version 2 is not known"),
        ({"weights": [1.0]}, "2 classes, 2 counts and 1 weights"),
        ({"weights": [1.0, "x"]}, "weights"),
        ({"weights": [1.0, 0.0]}, "above 0"),
        ({"weights": [1.0, float("nan")]}, "above 0"),
        ({"counts": [0, 0]}, "counts"),
        ({"counts": [-1, 5]}, "counts"),
        ({"images": [1]}, "2 classes, 1 of them counted"),
        ({"cap": "ten"}, "cap"),
    ],
    ids=lambda value: str(value) if isinstance(value, dict) else "",
)
def test_a_file_that_holds_no_weights_is_refused(changes: dict[str, object], says: str, tmp_path: Path) -> None:
    """Reading checks what a trainer relies on."""
    (tmp_path / "w.json").write_text(json.dumps(holding_weights().to_dict() | changes))
    with pytest.raises(UsageError) as error:
        load(tmp_path / "w.json")

    assert says in str(error.value)


@pytest.mark.parametrize("content", ["", "[]", "{", "a: &a [*a]", "!!python/object/apply:os.getcwd []", "\x00"])
@pytest.mark.parametrize("suffix", [".json", ".yaml"])
def test_any_other_file_is_refused(content: str, suffix: str, tmp_path: Path) -> None:
    """Neither a traceback nor anything run."""
    (tmp_path / f"w{suffix}").write_text(content)
    with pytest.raises(UsageError, match="not a weights file"):
        load(tmp_path / f"w{suffix}")


def test_a_file_with_the_documented_keys_alone_is_read(tmp_path: Path) -> None:
    """What is not in the documented form may be missing."""
    document = dict(list(holding_weights().to_dict().items())[:14])
    (tmp_path / "w.json").write_text(json.dumps(document))

    assert load(tmp_path / "w.json").weights == (10 / 9, 10.0)
