"""Writing image folders: places that stay, repeats beside their first, splits made anew, and torchvision on top."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dataset_doctor.errors import DoctorError, UsageError
from dataset_doctor.formats import read, write
from dataset_doctor.plan import make_plan
from tests.conftest import FIXTURES
from tests.consumers import consumed, contents, needs, planted


def source(root: Path) -> Path:
    planted(root, {f"{name}.jpg": "" for name in ("train/cat/1", "train/cat/kittens/2", "train/dog/1", "valid/cat/3", "valid/dog/4")})
    (root / "valid/fox").mkdir()
    return root


def test_places_stay_and_repeats_lie_beside_their_first(tmp_path: Path) -> None:
    """Files keep their paths and bytes, empty class folders stay, and repeats of one split get names of their own."""
    dataset = read(source(tmp_path / "in"))
    row = dataset.images.file_name.tolist().index("train/cat/kittens/2.jpg")
    rows = np.concatenate([np.arange(5), [row, row]])
    written = write(make_plan(dataset, rows, command="rebalance", split="train").apply(dataset), tmp_path / "out")
    before, after = contents(tmp_path / "in"), contents(tmp_path / "out")

    repeats = {f"train/cat/kittens/2__r{k}.jpg": before["train/cat/kittens/2.jpg"] for k in (1, 2)}
    assert after == before | repeats
    assert (tmp_path / "out/valid/fox").is_dir()
    assert written.files == 8 and written.loses == ()
    assert written.disk_bytes == sum(len(content) for content in after.values())
    assert read(tmp_path / "out").images.picture.tolist().count(row) == 3


def test_splits_made_anew_are_flat_and_keep_every_class(tmp_path: Path) -> None:
    """A split command makes split/class/name with names that are unique, and a folder for each class in each split."""
    dataset = read(source(tmp_path / "in"))
    in_split = np.array([[True, False], [False, True], [True, False], [True, False], [False, True]])
    plan = make_plan(dataset, np.arange(5), command="split", in_split=in_split, splits=("train", "test"))
    write(plan.apply(dataset), tmp_path / "out")

    assert sorted(contents(tmp_path / "out")) == [
        "test/cat/2.jpg",
        "test/dog/4.jpg",
        "train/cat/3.jpg",
        "train/cat/train_cat_1.jpg",
        "train/dog/train_dog_1.jpg",
    ]
    assert {path.name for path in (tmp_path / "out/test").iterdir()} == {"cat", "dog", "fox"}


@pytest.mark.parametrize("target", ["coco", "voc", "yolo"])
def test_folders_have_no_boxes_to_convert(tmp_path: Path, target: str) -> None:
    """A class an image is no box: the error says so and names what is possible, and nothing is written."""
    with pytest.raises(UsageError, match="no boxes to write as"):
        write(read(source(tmp_path / "in")), tmp_path / "out", target)

    assert not (tmp_path / "out").exists()


def test_the_folders_keep_their_names_whatever_the_classes_are_called(tmp_path: Path) -> None:
    """A class name given with --classes never becomes a path, and an image of a class that it leaves out keeps its folder."""
    root = source(tmp_path / "in")
    (tmp_path / "names.txt").write_text("cat\n../../dog\n")
    dataset = read(root, classes=tmp_path / "names.txt")
    in_split = np.ones((dataset.n_images, 1), bool)
    plan = make_plan(dataset, np.arange(dataset.n_images), command="split", in_split=in_split, splits=("train",))
    with pytest.raises(DoctorError, match="readers would not see the same"):
        write(plan.apply(dataset), tmp_path / "out")

    assert sorted(path.name for path in tmp_path.iterdir()) == ["in", "names.txt"]


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rows=st.lists(st.integers(0, 4), min_size=2, max_size=9))
def test_writing_conserves(tmp_path_factory: pytest.TempPathFactory, rows: list[int]) -> None:
    """Each chosen image comes out as often as it was chosen, in its class and split, and repeats share their picture."""
    root = tmp_path_factory.mktemp("law")
    dataset = read(source(root / "in"))
    treated = make_plan(dataset, np.array(rows), command="rebalance").apply(dataset)
    if len({dataset.images.file_name[row].split("/")[1] for row in rows}) < 2:
        return  # one class folder is no dataset
    write(treated, root / "out")
    found = read(root / "out")

    def table(one: object) -> list[tuple[str, str]]:
        return sorted(tuple(name.split("/")[:2]) for name in one.images.file_name)

    assert table(found) == table(treated)
    assert found.n_images - int(found.images.is_repeat.sum()) == len(set(rows))


TORCHVISION = """
import json, sys
from torchvision.datasets import ImageFolder
data = ImageFolder(sys.argv[1], allow_empty=True)
loaded = [data[k] for k in range(len(data))]
print(json.dumps({"classes": data.classes, "counts": [sum(label == k for _, label in loaded) for k in range(len(data.classes))]}))
"""


@pytest.mark.parametrize("command", ["rebalance", "split"])
@pytest.mark.trainers
def test_torchvision_loads_it(tmp_path: Path, command: str) -> None:
    """ImageFolder opens every image and gives the classes of all splits the same index, with the planned counts."""
    needs("torchvision")
    dataset = read(FIXTURES / "folder")
    train = dataset.splits.index("train")
    rows = np.concatenate([np.arange(dataset.n_images), np.flatnonzero(dataset.images.in_split[:, train])[:5]])
    if command == "rebalance":
        plan = make_plan(dataset, rows, command="rebalance", split="train")
    else:
        in_split = np.zeros((dataset.n_images, 2), bool)
        in_split[np.arange(dataset.n_images), np.arange(dataset.n_images) % 2] = True
        plan = make_plan(dataset, np.arange(dataset.n_images), command="split", in_split=in_split, splits=("train", "val"))
    treated = plan.apply(dataset)
    write(treated, tmp_path / "out")
    told = consumed(TORCHVISION, tmp_path / "scratch", tmp_path / "out/train")

    inside = treated.annotations_in_split(treated.splits.index("train"))
    counts = np.bincount(treated.annotations.class_index[inside], minlength=len(dataset.classes)).tolist()
    assert told == {"classes": list(dataset.class_names), "counts": counts}
