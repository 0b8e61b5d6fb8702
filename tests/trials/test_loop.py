"""The loop: it learns, it repeats itself bit for bit, it goes on after a kill, and it says what went wrong."""

from __future__ import annotations

import dataclasses
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from dataset_doctor.errors import UsageError
from dataset_doctor.trials import classification
from dataset_doctor.trials.arms import BASELINE, Arm, Treatment
from dataset_doctor.trials.loop import Order, Trained, TrainingFailed, Trial, fit, parameter_groups
from dataset_doctor.trials.models import classifiers
from dataset_doctor.trials.settings import LEARNING_RATES, Settings, check_settings, find_device
from dataset_doctor.trials.store import load_trained, save_trained, train_all
from tests.trials.drawn import QUICK, drawn


def run(seed: int = 0, settings: Settings = QUICK, treatment: Treatment | None = None, **options: Any) -> Trained:
    return classification.run(Trial(BASELINE, treatment or Treatment(), settings, seed, **options), drawn())


def same(one: Trained, other: Trained) -> bool:
    """Tell whether two trainings agree in every bit of their curves and predictions."""
    assert one.test_predictions is not None and other.test_predictions is not None
    return one.curves == other.curves and np.array_equal(one.test_predictions.probabilities, other.test_predictions.probabilities)


# It learns --------------------------------------------------------------------------------------------------------------


def test_it_learns_one_batch_by_heart() -> None:
    """Sixteen images with labels by chance are known after a while: nothing in the loop keeps the gradient from the parameters."""
    data = drawn((8, 8), held_out=2)
    by_chance = np.random.default_rng(0).integers(0, 2, 16)
    data = dataclasses.replace(data, train=dataclasses.replace(data.train, label=by_chance), mean=(0.5, 0.5, 0.5), std=(0.2, 0.2, 0.2))
    settings = dataclasses.replace(QUICK, steps=80, batch=16, augment="none", schedule="constant", evaluations=8)

    curve = classification.run(Trial(BASELINE, Treatment(), settings, 0), data).curves["loss"]

    assert curve[0] > 0.3
    assert curve[-1] < 0.02


@pytest.mark.parametrize("optimizer", sorted(LEARNING_RATES))
def test_every_optimiser_lowers_the_loss(optimizer: Any) -> None:
    """Each at its own learning rate, on images that a colour tells apart."""
    settings = dataclasses.replace(QUICK, steps=30, optimizer=optimizer, l1=1e-6, dropout=0.1)

    curve = run(settings=settings).curves["loss"]

    assert curve[-1] < 0.7 * curve[0]


# It repeats itself ------------------------------------------------------------------------------------------------------


def test_the_same_seed_gives_the_same_curve_and_another_seed_another() -> None:
    """All chance follows from the seed, and torch's own generator is left as it was."""
    torch.manual_seed(5)
    before = torch.get_rng_state()
    first, second, other = run(0), run(0), run(1)

    assert same(first, second)
    assert not same(first, other)
    assert torch.equal(torch.get_rng_state(), before)


def test_an_arm_with_weights_of_one_equals_the_baseline_bit_for_bit() -> None:
    """Weights, repeats and ratios that change nothing leave every number as it was."""
    baseline = run()

    assert same(run(treatment=Treatment(class_weights=np.ones(3))), baseline)
    assert same(run(treatment=Treatment(repeats=np.ones(42))), baseline)
    assert not same(run(treatment=Treatment(class_weights=np.array([1.0, 1.0, 2.0]))), baseline)
    assert not same(run(treatment=Treatment(repeats=np.r_[np.ones(41), 2.0])), baseline)


def test_it_goes_on_after_a_kill_with_the_same_curve(tmp_path: Path) -> None:
    """A process that is killed at step 10 of 12 leaves a checkpoint of step 8, from which the curve is that of an unharmed training."""
    checkpoint = tmp_path / "run.pt"
    code = (
        "import os, signal, sys, torch\nfrom pathlib import Path\nfrom tests.trials.test_loop import run\ntorch.set_num_threads(1)\n"
        "run(checkpoint=Path(sys.argv[1]), stepped=lambda step: step == 10 and os.kill(os.getpid(), signal.SIGKILL))\n"
    )
    killed = subprocess.run([sys.executable, "-c", code, str(checkpoint)], cwd=Path(__file__).parents[2], capture_output=True, check=False)
    assert killed.returncode == -signal.SIGKILL, killed.stderr.decode()
    steps: list[int] = []

    resumed = run(checkpoint=checkpoint, stepped=steps.append)

    assert steps == [9, 10, 11, 12]
    assert "Taken up again at step 8." in resumed.notes
    assert same(resumed, run())


def test_an_unreadable_checkpoint_is_removed_and_named(tmp_path: Path) -> None:
    """It is not gone on from, and does not stand in the way a second time."""
    checkpoint = tmp_path / "run.pt"
    checkpoint.write_bytes(b"no checkpoint")

    with pytest.raises(UsageError, match=r"run\.pt cannot be read"):
        run(checkpoint=checkpoint)

    assert not checkpoint.exists()


def test_finished_trainings_are_kept_and_loaded(tmp_path: Path) -> None:
    """What is loaded is what was saved, and what is loaded is not trained again."""
    trained = run()
    calls: list[tuple[str, int]] = []

    def trial(name: str, seed: int) -> Trial:
        return Trial(Arm(name, "baseline"), Treatment(), QUICK, seed)

    def train(trial: Trial) -> Trained:
        calls.append((trial.arm.name, trial.seed))
        return trained

    folders = {"baseline": tmp_path / "b", "mine": tmp_path / "m"}
    first = train_all(["baseline", "mine"], [0, 1], trial, train, folders=folders)
    again = train_all(["baseline", "mine"], [0, 1, 2], trial, train, folders=folders)

    assert calls == [("baseline", 0), ("mine", 0), ("baseline", 1), ("mine", 1), ("baseline", 2), ("mine", 2)]
    assert same(first["mine"][0], again["mine"][0])
    assert again["mine"][0].cost == trained.cost and again["mine"][0].notes == trained.notes


def test_a_damaged_result_is_trained_again(tmp_path: Path) -> None:
    """A file that cannot be read is as none."""
    save_trained(run(), tmp_path / "a.npz")
    whole = (tmp_path / "a.npz").read_bytes()
    (tmp_path / "a.npz").write_bytes(whole[: len(whole) // 2])

    assert load_trained(tmp_path / "a.npz") is None
    assert load_trained(tmp_path / "none.npz") is None


# Order ------------------------------------------------------------------------------------------------------------------


def test_an_epoch_shows_each_picture_as_often_as_stated() -> None:
    """Repeats 1, 3, 0 and 2 of four images make an epoch of six; a batch may reach into the next epoch."""
    order = Order(np.array([1.0, 3.0, 0.0, 2.0]), 4, seed=0)
    rows = torch.cat([order.next() for _ in range(3)])

    assert torch.bincount(rows[:6], minlength=4).tolist() == [1, 3, 0, 2]
    assert torch.bincount(rows[6:], minlength=4).tolist() == [1, 3, 0, 2]


def test_skipping_is_the_same_as_going_through() -> None:
    """Also where chance makes epochs of different lengths."""
    repeats = np.array([0.5, 1.0, 1.7, 0.2, 1.0])
    through, skipped = Order(repeats, 3, seed=4), Order(repeats, 3, seed=4)
    for _ in range(11):
        through.next()
    skipped.skip_to(11)

    assert torch.equal(through.next(), skipped.next())


# What goes wrong --------------------------------------------------------------------------------------------------------


class Line:
    """A job without images: fit a line; `fail` may interfere with the loss of the n-th call."""

    def __init__(self, fail: Any = lambda call, loss: loss) -> None:
        self.x = torch.linspace(-1, 1, 32).unsqueeze(1)
        self.fail, self.calls, self.shown = fail, 0, 0

    def loss(self, model: nn.Module, rows: Tensor) -> Tensor:
        self.calls += 1
        self.shown += len(rows)
        result: Tensor = self.fail(self.calls, ((model(self.x[rows]) - 2 * self.x[rows] - 1) ** 2).mean())
        return result

    def score(self, model: nn.Module) -> float:
        return -float(((model(self.x) - 2 * self.x - 1) ** 2).mean())


LINE = Settings(steps=20, batch=8, optimizer="sgd", evaluations=4, clip=None, channels_last=False)


def fit_line(job: Line, settings: Settings = LINE, **options: Any) -> Any:
    torch.manual_seed(0)
    return fit(nn.Linear(1, 1), job, np.ones(32), Trial(Arm("mine", "baseline"), Treatment(), settings, 0, **options))


def test_out_of_memory_halves_what_is_computed_at_once() -> None:
    """The batch goes on in two parts, with the same images and the same result, and it is said."""

    def once(call: int, loss: Tensor) -> Tensor:
        if call == 3:
            raise torch.OutOfMemoryError
        return loss

    halved, whole = fit_line(Line(once)), fit_line(Line())

    assert halved.notes == ("Out of memory at step 3: batches of 8 go on in 2 parts.",)
    assert halved.images == whole.images == 160
    np.testing.assert_allclose(halved.curves["val"], whole.curves["val"], rtol=1e-5)


def test_memory_that_never_suffices_stops_the_training() -> None:
    """Two images at once are the least."""

    def always(call: int, loss: Tensor) -> Tensor:
        raise torch.OutOfMemoryError

    with pytest.raises(TrainingFailed, match="two images of arm mine, seed 0"):
        fit_line(Line(always))


def test_a_loss_that_is_no_number_stops_loudly() -> None:
    """The message names arm, seed and step."""
    with pytest.raises(TrainingFailed, match="arm mine, seed 0 is nan at step 7") as caught:
        fit_line(Line(lambda call, loss: loss * float("nan") if call == 7 else loss))

    assert "smaller lr" in caught.value.hint


def test_patience_ends_a_training_that_gains_nothing_and_the_best_is_kept() -> None:
    """The score falls from the first look on: two looks later it ends, with the parameters of the first."""
    seen = []

    class Falling(Line):
        def score(self, model: nn.Module) -> float:
            seen.append(model.weight.item())  # type: ignore[operator]
            return -float(self.calls)

    torch.manual_seed(0)
    model = nn.Linear(1, 1)
    fitted = fit(model, Falling(), np.ones(32), Trial(BASELINE, Treatment(), dataclasses.replace(LINE, patience=2), 0))

    assert fitted.curves["step"] == (5, 10, 15)
    assert fitted.best == -5 and len(set(seen)) == 3
    assert model.weight.item() == seen[0]
    assert fitted.notes == ("Ended at step 15 of 20: 2 evaluations without a gain.",)


@pytest.mark.skipif(torch.cuda.is_available(), reason="a CUDA device is at hand")
def test_cuda_asked_for_but_absent() -> None:
    """The message says so, and what to do."""
    with pytest.raises(UsageError, match="no CUDA device was found"):
        find_device("cuda")
    with pytest.raises(UsageError, match=r"cuda:7.*"):
        find_device("cuda:7")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"optimizer": "adamm"}, "Did you mean adamw|Did you mean adam"),
        ({"augment": "outdor"}, "Did you mean outdoor"),
        ({"lr": -1.0}, "lr must be between 1e-12 and"),
        ({"batch": 1}, "batch must be at least 2, got 1"),
        ({"dropout": 1.0}, "dropout must be between 0 and 0.99, got 1"),
        ({"weight_decay": -0.1}, "weight_decay must be between 0 and 10, got -0.1"),
    ],
)
def test_settings_that_cannot_be_used_are_refused(change: dict[str, Any], message: str) -> None:
    """Each with the option's name."""
    with pytest.raises(UsageError) as caught:
        check_settings(dataclasses.replace(QUICK, **change))

    import re

    assert re.search(message, str(caught.value))


# Parameters -------------------------------------------------------------------------------------------------------------


def test_norms_and_biases_do_not_decay() -> None:
    """Only convolutions and the last layer's matrix do: 8 tensors of the small ResNet of 8 layers."""
    model = classifiers.CifarResNet(8, 3)
    groups = {group["decays"]: group for group in parameter_groups(model, classifiers.stages(model), QUICK)}

    assert groups[True]["weight_decay"] == 0.05 and len(groups[True]["params"]) == 8
    assert groups[False]["weight_decay"] == 0 and all(p.ndim == 1 for p in groups[False]["params"])


def trained_model(settings: Settings) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Give a model's parameters before and after a short training."""
    data = drawn()
    model, _ = classifiers.build(settings, 3, seed=0)
    before = {name: value.clone() for name, value in model.named_parameters()}
    job = classification._Job(data, settings, classification._loss(data, Treatment(), torch.device("cpu")))
    groups = parameter_groups(model, classifiers.stages(model), settings)
    fit(model, job, np.ones(len(data.train)), Trial(BASELINE, Treatment(), settings, 0), groups=groups)
    return before, dict(model.named_parameters())


def changed(before: dict[str, Tensor], after: dict[str, Tensor]) -> set[str]:
    return {name.split(".")[0] for name in before if not torch.equal(before[name], after[name])}


def test_frozen_stages_stay_as_they_are() -> None:
    """Two stages from the input do not move, the others do."""
    assert changed(*trained_model(dataclasses.replace(QUICK, freeze=2))) == {"stage2", "stage3", "fc"}


def test_a_first_phase_trains_the_last_layer_alone() -> None:
    """With as many head steps as steps, nothing else moves."""
    assert changed(*trained_model(dataclasses.replace(QUICK, head_steps=12))) == {"fc"}


def test_rates_fall_from_stage_to_stage() -> None:
    """With a factor of a half: 1 for the last layer, a sixteenth for the first of five stages."""
    model = classifiers.CifarResNet(8, 3)
    settings = dataclasses.replace(QUICK, layer_decay=0.5)
    scales = sorted({group["scale"] for group in parameter_groups(model, classifiers.stages(model), settings)})

    assert scales == [1 / 16, 1 / 8, 1 / 4, 1 / 2, 1]


def test_a_margin_loss_gets_a_layer_of_cosines_with_the_same_first_weights() -> None:
    """LDAM's margins are meant for cosines; the initial directions are those of the baseline."""
    plain, _ = classifiers.build(QUICK, 3, seed=1)
    cosine, _ = classifiers.build(QUICK, 3, seed=1, cosine=True)

    assert isinstance(cosine.fc, classifiers.CosineLinear)
    assert torch.equal(cosine.fc.weight, plain.fc.weight)
    logits = cosine(torch.rand(5, 3, 16, 16))
    assert float(logits.detach().abs().max()) <= 1 + 1e-6


def test_an_arm_that_shows_nothing_is_refused() -> None:
    """Zero repeats everywhere."""
    with pytest.raises(UsageError, match="mine shows no training image"):
        classification.run(Trial(Arm("mine", "manifest"), Treatment(repeats=np.zeros(42)), QUICK, 0), drawn())
