"""The whole comparison: every kind of arm, what is kept and taken up, what is refused, and the command."""

from __future__ import annotations

import dataclasses
import json
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from dataset_doctor.balance import rebalance
from dataset_doctor.dataset import Dataset
from dataset_doctor.errors import ComparisonRefused, UsageError
from dataset_doctor.formats import read, write
from dataset_doctor.trials import classification, detection, verify
from dataset_doctor.trials.settings import Settings, default_settings
from dataset_doctor.verdict import Verdict
from dataset_doctor.weights import weigh
from tests.command import run as command
from tests.trials.drawn import QUICK, noisy, write_folders

SETTINGS = dataclasses.replace(QUICK, steps=6, evaluations=2)
COUNTS = {"train": (16, 8, 4), "val": (3, 3, 3), "test": (12, 12, 12)}


@pytest.fixture(scope="module")
def things(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three classes in folders."""
    return write_folders(tmp_path_factory.mktemp("verify") / "things", COUNTS)


@pytest.fixture(scope="module")
def boxes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A YOLO dataset: images of noise with two things each, and some with none."""
    root = tmp_path_factory.mktemp("verify") / "boxes"
    rng = np.random.default_rng(3)
    for split, n in (("train", 12), ("val", 6), ("test", 6)):
        (root / "images" / split).mkdir(parents=True)
        (root / "labels" / split).mkdir(parents=True)
        for at in range(n):
            picture = rng.integers(0, 255, (64, 96, 3)).astype(np.uint8)
            lines = []
            for label, x in ((0, 8), (1, 56)) if at % 3 else ():
                picture[16:48, x : x + 32] = noisy(label, 32, rng)
                lines.append(f"{label} {(x + 16) / 96} {32 / 64} {32 / 96} {32 / 64}")
            Image.fromarray(picture).save(root / "images" / split / f"{split}{at}.png")
            (root / "labels" / split / f"{split}{at}.txt").write_text("\n".join(lines))
    (root / "data.yaml").write_text("train: images/train\nval: images/val\ntest: images/test\nnames: [red, green]\n")
    return root


def quick(dataset: Dataset, arms: str, **options: Any) -> Verdict:
    return verify(dataset, arms=arms, **({"settings": SETTINGS, "seeds": 2, "device": "cpu", "state_dir": None} | options))


def test_every_kind_of_arm_is_trained_and_judged(things: Path, tmp_path: Path) -> None:
    """Samplers, weights, losses, presets, sizes, models and files; the document has the documented keys."""
    dataset = read(things)
    (tmp_path / "w.json").write_text(json.dumps(weigh(dataset, "sqrt", split="train").to_dict()))
    command("rebalance", things, tmp_path / "out", "--method", "oversample", "--seed", "1")
    arms = (
        "baseline,weights:uniform,weights:sqrt,repeat_factor,class_aware,oversample,undersample,focal,class_balanced,logit_adjusted,ldam,"
        f"sigmoid_focal,weighted_cross_entropy,posthoc_logit_adjusted,augment:outdoor,size:24,model:cifar_resnet14,mine={tmp_path / 'w.json'},made={tmp_path / 'out'}"
    )

    verdict = quick(dataset, arms, seeds=1)
    document = json.loads(json.dumps(verdict.to_dict(), allow_nan=False))

    assert [arm.name for arm in verdict.arms][:4] == ["baseline", "weights:uniform", "weights:sqrt", "repeat_factor"]
    assert len(verdict.arms) == 19 and verdict.metric == "balanced_accuracy" and verdict.task == "classify"
    assert {"schema", "schema_version", "task", "metric", "arms", "detectable_difference", "steps", "environment"} <= set(document)
    assert "difference" not in document["arms"][0] and document["arms"][1]["difference"]["mean"] == 0
    assert document["arms"][1]["seeds"] == document["arms"][0]["seeds"]
    assert all(len(run.curves["loss"]) == 2 for arm in verdict.arms for run in arm.seeds)
    assert all(arm.cost.train_seconds > 0 and arm.cost.latency_ms > 0 and arm.cost.model_bytes > 0 for arm in verdict.arms)
    assert verdict.arm("model:cifar_resnet14").cost.parameters > verdict.arm("baseline").cost.parameters
    assert np.sum(document["confusion"]["baseline"]) == 36
    assert verdict.model_choice.recommended in ("cifar_resnet8", "cifar_resnet14")


def test_instances_and_background_are_cut_out_and_classified(boxes: Path) -> None:
    """A detection dataset: three classes with the background, whose share an arm changes."""
    verdict = quick(read(boxes), "background:1:2,oversample", background_crops=2)

    assert [c.name for c in verdict.arms[0].classes] == ["red", "green", "background"]
    assert any("--task detect trains a detector" in note for note in verdict.notes)
    with pytest.raises(UsageError, match="needs background images"):
        quick(read(boxes), "background:1:2")


# Kept and taken up ------------------------------------------------------------------------------------------------------


def test_pictures_made_anew_are_trained_on(things: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An augmented copy is an arm: its altered images are shown, and validation and test images stay those of the dataset."""
    dataset = read(things)
    plan = rebalance(dataset, method="oversample", target="uniform", max_repeat=4, budget=3, augment="color,rotate")
    write(plan.apply(dataset), tmp_path / "copy")
    seen = {}
    train = classification.run

    def watched(trial: Any, data: Any) -> Any:
        seen[trial.arm.name] = data
        return train(trial, data)

    monkeypatch.setattr(classification, "run", watched)
    quick(dataset, f"oversample,altered={tmp_path / 'copy'}", seeds=1)

    altered, plain = seen["altered"], seen["baseline"]
    assert altered.counts.tolist() == [change.after for change in plan.classes]
    assert altered.val is plain.val and altered.test is plain.test and altered.mean == plain.mean
    there = {picture.numpy().tobytes() for picture in plain.train.pixels}
    new = sum(picture.numpy().tobytes() not in there for picture in altered.train.pixels)
    assert new == plan.epoch_images - plan.distinct_images > 0


@pytest.mark.parametrize("task", ["classify", "detect"])
def test_pasted_pictures_are_an_arm(boxes: Path, task: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """They are written for the comparison alone, trained on, and gone when it ends."""
    root = shutil.copytree(boxes, tmp_path / "boxes")
    for label in sorted((root / "labels" / "train").glob("*.txt"))[2:]:
        label.write_text("".join(line for line in label.read_text().splitlines(keepends=True) if line.startswith("0")))
    trained_on = {}
    module = classification if task == "classify" else detection
    train = module.run

    def watched(trial: Any, data: Any) -> Any:
        trained_on[trial.arm.name] = data.train_images.tolist()
        return train(trial, data)

    monkeypatch.setattr(module, "run", watched)
    before = set(Path(tempfile.gettempdir()).glob("dataset-doctor-*"))
    settings = SETTINGS if task == "classify" else dataclasses.replace(default_settings("detect"), steps=2, batch=2, evaluations=1, size=64)

    quick(read(root), "copy_paste", settings=settings, task=task, seeds=1)

    assert trained_on["copy_paste"][1] > trained_on["baseline"][1]
    assert set(Path(tempfile.gettempdir()).glob("dataset-doctor-*")) == before


def test_what_is_finished_is_not_trained_again(things: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A second call with one arm more trains that arm alone, and gives the same verdict on the others."""
    trained: list[tuple[str, int]] = []
    real = classification.run

    def watched(trial: Any, data: Any) -> Any:
        trained.append((trial.arm.name, trial.seed))
        return real(trial, data)

    monkeypatch.setattr(classification, "run", watched)
    first = quick(read(things), "weights:sqrt", state_dir=tmp_path)
    again = quick(read(things), "weights:sqrt,focal", state_dir=tmp_path)

    assert trained == [("baseline", 0), ("weights:sqrt", 0), ("baseline", 1), ("weights:sqrt", 1), ("focal", 0), ("focal", 1)]
    assert again.arm("weights:sqrt").difference == first.arm("weights:sqrt").difference


def test_an_adjustment_afterwards_trains_nothing(things: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It takes the baseline's models, seed by seed, at their cost; and stands where it was named."""
    calls: list[str] = []
    real = classification.run
    monkeypatch.setattr(classification, "run", lambda trial, data: (calls.append(trial.arm.name), real(trial, data))[1])

    verdict = quick(read(things), "posthoc_logit_adjusted,weights:sqrt,posthoc_logit_adjusted:0.5")
    baseline, one, _, half = verdict.arms

    assert calls == ["baseline", "weights:sqrt"] * 2
    assert [arm.name for arm in verdict.arms] == ["baseline", "posthoc_logit_adjusted", "weights:sqrt", "posthoc_logit_adjusted:0.5"]
    assert one.cost == half.cost == baseline.cost
    assert [run.curves for run in one.seeds] == [run.curves for run in baseline.seeds]
    assert one.seeds[0].metrics["calibration_error"] != baseline.seeds[0].metrics["calibration_error"]


def test_other_settings_or_pictures_are_trained_anew(things: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A result is only taken for the same settings and the same bytes of every image."""
    root = tmp_path / "things"
    shutil.copytree(things, root)
    calls: list[str] = []
    real = classification.run
    monkeypatch.setattr(classification, "run", lambda trial, data: (calls.append(trial.arm.name), real(trial, data))[1])
    for settings in (SETTINGS, SETTINGS, dataclasses.replace(SETTINGS, lr=1e-4)):
        quick(read(root), "weights:sqrt", settings=settings, seeds=1, state_dir=tmp_path / "state")
    assert len(calls) == 4
    Image.fromarray(noisy(0, 24, np.random.default_rng(99))).save(root / "train" / "a" / "train0000.png")

    quick(read(root), "weights:sqrt", seeds=1, state_dir=tmp_path / "state")

    assert len(calls) == 6


def test_progress_counts_steps_of_all_trainings(things: Path) -> None:
    """From which the time left follows."""
    told: list[tuple[str, int, int]] = []
    quick(read(things), "weights:sqrt", progress=lambda *told_: told.append(told_))
    steps = [entry for entry in told if entry[0].startswith("Training")]

    assert steps[-1] == ("Training 2 arms × 2 seeds", 24, 24)
    assert [done for _, done, _ in steps] == sorted(done for _, done, _ in steps)


# Refusals ---------------------------------------------------------------------------------------------------------------


def refused(root: Path, **options: Any) -> ComparisonRefused:
    with pytest.raises(ComparisonRefused) as caught:
        quick(read(root), "weights:sqrt", **options)
    return caught.value


def test_without_a_test_split_it_refuses(things: Path, tmp_path: Path) -> None:
    """And offers the command that divides."""
    shutil.copytree(things, tmp_path / "things")
    shutil.rmtree(tmp_path / "things" / "test")

    error = refused(tmp_path / "things")

    assert "no test split (it has: train, val)" in error.message
    assert f"dataset-doctor split {tmp_path / 'things'} things-divided" in error.hint


def test_the_way_out_of_a_refusal_can_be_taken(boxes: Path, tmp_path: Path) -> None:
    """The command to divide it allows for label errors where there are some, since it would be refused without."""
    root = shutil.copytree(boxes, tmp_path / "boxes")
    shutil.rmtree(root / "images" / "test")
    shutil.rmtree(root / "labels" / "test")
    (root / "data.yaml").write_text("train: images/train\nval: images/val\nnames: [red, green]\n")
    assert refused(root).hint.endswith("boxes-divided")

    (root / "labels" / "train" / "train1.txt").write_text("0 .5 .5 0 .5\n")

    assert refused(root).hint.endswith("boxes-divided --allow-errors")


def test_with_leakage_it_refuses(things: Path, tmp_path: Path) -> None:
    """A training image that lies in test too, as found by looking into the files."""
    shutil.copytree(things, tmp_path / "things")
    shutil.copy(tmp_path / "things/train/a/train0003.png", tmp_path / "things/test/a/other.png")

    error = refused(tmp_path / "things")

    assert "split-leakage" in error.message and "test/a/other.png" in error.message
    assert "dataset-doctor split" in error.hint


def test_one_class_is_refused(tmp_path: Path) -> None:
    """There is nothing to tell apart."""
    error = refused(write_folders(tmp_path / "one", {"train": (5,), "val": (2,), "test": (2,)}))

    assert "only a: there is nothing to tell apart" in error.message


def test_a_class_that_val_lacks_is_refused(tmp_path: Path) -> None:
    """No checkpoint could be chosen for it; the class is named."""
    error = refused(write_folders(tmp_path / "gap", {"train": (5, 5, 5), "val": (3, 3, 0), "test": (3, 3, 3)}))

    assert "1 class has no image in val" in error.message and error.message.endswith(": c.")


def test_a_damaged_picture_is_left_out_and_said(things: Path, tmp_path: Path) -> None:
    """The others are trained on."""
    shutil.copytree(things, tmp_path / "things")
    (tmp_path / "things/train/a/train0003.png").write_bytes((things / "train/a/train0003.png").read_bytes()[:300])

    verdict = quick(read(tmp_path / "things"), "weights:sqrt", seeds=1)

    assert any("1 image left out, missing or damaged: train/a/train0003.png." in note for note in verdict.notes)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"seeds": 0}, "seeds must be between 1 and 1,000, got 0"),
        ({"task": "detect"}, "needs boxes"),
        ({"task": "segment"}, 'task="segment" is not known'),
        ({"model": "resnet_18"}, "Did you mean resnet18"),
        ({"device": "gpu"}, 'device="gpu" is not known'),
        ({"background_crops": 1}, "these are whole images"),
        ({"settings": Settings(model="cifar_resnet8", steps=0)}, "steps must be at least 1, got 0"),
    ],
)
def test_arguments_that_cannot_be_used_are_refused(things: Path, options: dict[str, Any], message: str) -> None:
    """Before anything is trained."""
    with pytest.raises(UsageError) as caught:
        quick(read(things), "weights:sqrt", **options)

    assert message in str(caught.value)


# The command ------------------------------------------------------------------------------------------------------------

FAST = ("--size", "16", "--steps", "6", "--batch", "8", "--seeds", "2", "--device", "cpu", "--arms", "baseline,weights:uniform")


def test_the_command_answers_and_writes(things: Path, tmp_path: Path) -> None:
    """One line an arm on stdout, and the document and the table in files."""
    done = command("verify", things, *FAST, "-o", tmp_path / "v.json", "-o", tmp_path / "v.csv", OMP_NUM_THREADS="1")

    assert done.returncode == 0, done.stderr
    assert "weights:uniform  no evidence" in done.stdout
    document = json.loads((tmp_path / "v.json").read_text())
    assert document["schema"] == "dataset-doctor/verdict" and len(document["arms"][1]["seeds"]) == 2
    assert (tmp_path / "v.csv").read_text().splitlines()[1].startswith('"baseline","a","common",12,')


def test_json_and_the_gate(things: Path) -> None:
    """Stdout holds the document alone; an A/A comparison is no evidence, which may fail the gate, and did not hurt."""
    done = command("verify", things, *FAST, "--json", "--fail-on", "no-evidence", OMP_NUM_THREADS="1")
    other = command("verify", things, *FAST, "--fail-on", "hurt", OMP_NUM_THREADS="1")

    assert done.returncode == 1, done.stderr
    assert json.loads(done.stdout)["arms"][1]["verdict"] == "no evidence"
    assert other.returncode == 0


def test_the_command_refuses_in_two_lines(things: Path) -> None:
    """An unknown arm: exit 2, nothing on stdout, and the nearest name."""
    done = command("verify", things, "--arms", "repeat_facter")

    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.splitlines()[1].strip() == "Did you mean repeat_factor?"


def test_without_torch_the_extra_is_named(things: Path) -> None:
    """The other commands do not need it, so it may be absent."""
    code = "import sys\nsys.modules['torch'] = None\nfrom dataset_doctor.cli.app import main\nmain(sys.argv[1:])"
    done = subprocess.run([sys.executable, "-c", code, "verify", str(things)], capture_output=True, text=True, check=False)

    assert done.returncode == 2
    assert "verify needs PyTorch, which is not installed." in done.stderr
    assert "pip install '.[train]'" in done.stderr


def test_a_broken_torch_is_not_said_to_be_missing(things: Path, tmp_path: Path) -> None:
    """Who has it installed is told what its import says."""
    (tmp_path / "torch.py").write_text("raise OSError('libcudart.so.12: cannot open shared object file')\n")
    code = f"import sys\nsys.path.insert(0, {str(tmp_path)!r})\nfrom dataset_doctor.cli.app import main\nmain(sys.argv[1:])"
    done = subprocess.run([sys.executable, "-c", code, "verify", str(things)], capture_output=True, text=True, check=False)

    assert done.returncode == 2
    assert "installed but cannot be imported: libcudart.so.12: cannot open shared object file" in done.stderr


def test_an_interrupted_command_says_how_to_go_on(things: Path) -> None:
    """Exit 130 and nothing on stdout; what was finished is kept, as other tests show."""
    code = (
        "import sys, dataset_doctor.trials as package\nfrom dataset_doctor.cli.app import main\n"
        "def stop(*_, **__): raise KeyboardInterrupt\npackage.verify = stop\nmain(sys.argv[1:])"
    )
    done = subprocess.run([sys.executable, "-c", code, "verify", str(things)], capture_output=True, text=True, check=False)

    assert (done.returncode, done.stdout) == (130, "")
    assert "The same command goes on where this one stopped." in done.stderr
