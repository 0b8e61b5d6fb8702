"""Searching for settings: alike for all arms, on the validation split alone, the same each time, and going on after a kill."""

from __future__ import annotations

import dataclasses
import math
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from dataset_doctor.errors import UsageError
from dataset_doctor.formats import read
from dataset_doctor.trials import classification, verify
from dataset_doctor.trials.loop import TrainingFailed, Trial
from dataset_doctor.trials.settings import Settings
from dataset_doctor.trials.studies.tuning import METHODS, Candidate, Search, budget, check, grid, search, search_all, space
from tests.command import run as command
from tests.trials.drawn import QUICK, write_folders

ALL = ("lr", "weight_decay", "dropout", "augment")
STEPS = 300


class Hill:
    """A training without images: its score is best at a learning rate of 0.006 and without augmentation, and rises over the steps."""

    def __init__(self, *, diverges_above: float = math.inf, fails_at: int | None = None, failure: type[BaseException] = KeyboardInterrupt):
        self.calls: list[dict[str, Any]] = []
        self.looks = 0
        self.diverges_above, self.fails_at, self.failure = diverges_above, fails_at, failure

    def __call__(
        self, params: Any, *, checkpoint: Path | None, stepped: Callable[[int], None], scored: Callable[[int, float], None]
    ) -> None:
        self.calls.append(dict(params))
        if params["lr"] > self.diverges_above:
            raise TrainingFailed("The loss is nan.", "")
        height = 0.9 - 0.3 * abs(math.log10(params["lr"] / 0.006)) - 0.1 * (params["augment"] != "none")
        for step in range(30, STEPS + 1, 30):
            if len(self.calls) == self.fails_at and step == 150:
                raise self.failure
            stepped(step)
            self.looks += 1
            scored(step, height - (STEPS - step) / STEPS)


def found(hill: Hill, method: Any = "bayes", trials: int = 12, folder: Path | None = None, **options: Any) -> Search:
    return search(Candidate("mine", space(Settings(), ALL), hill, folder), method=method, trials=trials, steps=STEPS, **options)


# The search -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", METHODS)
def test_the_first_trial_is_the_defaults_and_the_best_is_no_worse(method: Any) -> None:
    """What is found scores at least as well as what was there; the best is the best of the complete trials."""
    result = found(Hill(), method)

    assert result.trials[0].params == {"lr": 2e-3, "weight_decay": 0.05, "dropout": 0.0, "augment": "light"}
    assert result.trials[0].score == pytest.approx(0.9 - 0.3 * math.log10(3) - 0.1), "its best look, which is the last"
    assert result.score > result.trials[0].score
    assert result.score == max(trial.score for trial in result.trials if trial.score is not None)
    assert result.best in [trial.params for trial in result.trials if trial.score == result.score]
    assert [trial.number for trial in result.trials] == list(range(12))


@pytest.mark.parametrize("method", METHODS)
def test_the_same_seed_searches_the_same(method: Any) -> None:
    """And another seed goes another way, but for the defaults."""
    first, second, other = found(Hill(), method), found(Hill(), method), found(Hill(), method, seed=1)

    assert first == second
    assert [trial.params for trial in other.trials] != [trial.params for trial in first.trials]
    assert other.trials[0] == first.trials[0]


def test_a_search_that_learns_comes_near_the_top() -> None:
    """In 30 trials the best learning rate is found to a factor of two, and the augmentation."""
    best = found(Hill(), "bayes", 30).best

    assert 0.003 < best["lr"] < 0.012
    assert best["augment"] == "none"


def test_everything_stays_within_the_stated_ranges() -> None:
    """A tenth to ten times the defaults, dropout up to a half."""
    params = [trial.params for trial in found(Hill(), "random", 40).trials]

    assert all(2e-4 <= one["lr"] <= 2e-2 and 5e-3 <= one["weight_decay"] <= 0.5 and 0 <= one["dropout"] <= 0.5 for one in params)
    assert {one["augment"] for one in params} == {"light", "none", "outdoor"}
    assert min(one["lr"] for one in params) < 4e-4 and max(one["lr"] for one in params) > 1e-2


def test_hopeless_trials_are_ended_early_and_have_no_score() -> None:
    """Below the median of the others at the same step; but not in the first third of the steps."""
    hill = Hill()
    result = found(hill, "random", 20)
    pruned = [trial for trial in result.trials if trial.state == "pruned"]

    assert pruned and all(trial.score is None for trial in pruned)
    assert hill.looks < 20 * 10
    assert hill.looks >= (20 - len(pruned)) * 10 + len(pruned) * 4


def test_settings_that_diverge_are_told_and_passed_over() -> None:
    """A loss that is not a number costs the trial, not the search."""
    result = found(Hill(diverges_above=0.01), "random", 20)
    diverged = [trial for trial in result.trials if trial.state == "diverged"]

    assert diverged and all(trial.params["lr"] > 0.01 and trial.score is None for trial in diverged)
    assert result.best["lr"] <= 0.01
    with pytest.raises(TrainingFailed, match="The loss is nan"):
        found(Hill(diverges_above=0.0), "random", 3)


def test_the_grid_is_small_and_alike_for_all_arms() -> None:
    """Twelve points, the defaults first; where an arm has its augmentation, dropout takes its place."""
    whole, without = space(Settings(), ALL), space(Settings(augment="outdoor"), ALL, augment="outdoor")

    assert len(grid(whole)) == len(grid(without)) == 12
    assert "augment" not in grid(without)[0] and {point["dropout"] for point in grid(without)} == {0.0, 0.2}
    assert {point["dropout"] for point in grid(whole)} == {0.0}
    tried = [tuple(trial.params.items()) for trial in found(Hill(), "grid").trials]
    assert len(set(tried)) == 12
    assert budget("grid", None, [whole, without]) == budget("grid", 50, [whole]) == 12
    assert budget("grid", 5, [whole]) == 5 and budget("bayes", None, [whole]) == 20


def test_no_decay_by_default_is_searched_by_powers_of_ten() -> None:
    """A range in the logarithm cannot hold 0, which adam has by default and which the first trial keeps."""
    where = space(Settings(optimizer="adam"), ALL)
    hill = Hill()
    search(Candidate("mine", where, hill), method="random", trials=20, steps=STEPS)

    assert hill.calls[0]["weight_decay"] == 0.0
    assert {one["weight_decay"] for one in hill.calls} == {0.0, 1e-5, 1e-4, 1e-3}


# Kept and taken up ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", METHODS)
def test_a_search_that_was_interrupted_finds_what_it_would_have_found(method: Any, tmp_path: Path) -> None:
    """The trial under way is made again, the finished ones are not; also in a folder whose name means something in an address."""
    folder = tmp_path / "what? 100%20"
    with pytest.raises(KeyboardInterrupt):
        found(Hill(fails_at=6), method, folder=folder)
    rest = Hill()

    resumed = found(rest, method, folder=folder)

    assert resumed == found(Hill(), method)
    assert len(rest.calls) == 7
    assert found(Hill(fails_at=1), method, folder=folder) == resumed, "nothing is trained again"


def test_more_trials_go_on_with_the_same_study(tmp_path: Path) -> None:
    """Four trials and then eight are eight."""
    found(Hill(), "bayes", 4, tmp_path)
    rest = Hill()

    assert found(rest, "bayes", 8, tmp_path) == found(Hill(), "bayes", 8)
    assert len(rest.calls) == 4


def test_a_damaged_file_is_as_none(tmp_path: Path) -> None:
    """The search starts over."""
    found(Hill(), "random", 3, tmp_path)
    (tmp_path / "trials.sqlite").write_bytes(b"nothing of the kind" * 100)

    assert found(Hill(), "random", 3, tmp_path) == found(Hill(), "random", 3)


def test_a_killed_trial_goes_on_from_its_checkpoint(tmp_path: Path) -> None:
    """A process that is killed in its second trial at step 10 of 12 loses the four steps since the last look, and nothing else."""
    code = (
        "import os, signal, sys, torch\nfrom pathlib import Path\nfrom tests.trials.test_tuning import trained\ntorch.set_num_threads(1)\n"
        "trained(Path(sys.argv[1]), lambda step: step == 22 and os.kill(os.getpid(), signal.SIGKILL))\n"
    )
    killed = subprocess.run([sys.executable, "-c", code, str(tmp_path)], cwd=Path(__file__).parents[2], capture_output=True, check=False)
    assert killed.returncode == -signal.SIGKILL, killed.stderr.decode()
    steps: list[int] = []

    resumed = trained(tmp_path, steps.append)

    assert steps[:4] == [21, 22, 23, 24]
    assert resumed == trained(None, lambda step: None)
    assert [path.name for path in tmp_path.iterdir()] == ["trials.sqlite"]


def test_looks_before_a_checkpoint_are_told_again(tmp_path: Path) -> None:
    """The best of them may be the trial's score."""
    from dataset_doctor.trials.arms import BASELINE, Treatment
    from tests.trials.drawn import drawn

    def looks(stepped: Callable[[int], None]) -> list[tuple[int, float]]:
        told: list[tuple[int, float]] = []
        trial = Trial(BASELINE, Treatment(), QUICK, 0, tmp_path / "run.pt", stepped, lambda step, score: told.append((step, score)))
        classification.run(trial, drawn())
        return told

    def interrupted(step: int) -> None:
        if step == 10:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        looks(interrupted)
    resumed = looks(lambda step: None)
    (tmp_path / "run.pt").unlink()

    assert [step for step, _ in resumed] == [4, 8, 12]
    assert resumed == looks(lambda step: None)


def trained(folder: Path | None, stepped: Callable[[int], None]) -> Search:
    """Search with trainings on drawn images."""
    from dataset_doctor.trials.arms import BASELINE, Treatment
    from tests.trials.drawn import drawn

    data = drawn()

    def attempt(params: Any, **options: Any) -> Any:
        settings = dataclasses.replace(QUICK, **params, patience=None)
        return classification.run(Trial(BASELINE, Treatment(), settings, 0, **options), data)

    return search(Candidate("baseline", space(QUICK, ALL), attempt, folder), method="random", trials=3, steps=QUICK.steps, stepped=stepped)


def test_progress_goes_over_all_arms_to_the_end() -> None:
    """Trials that were ended early count as whole, so that the time left is never too short."""
    told: list[tuple[str, int, int]] = []
    arms = [Candidate(name, space(Settings(), ALL), Hill()) for name in ("a", "b")]

    search_all(arms, method="random", trials=6, steps=STEPS, progress=lambda *one: told.append(one))

    assert {what for what, _, _ in told} == {"Tuning 2 arms × 6 trials"}
    assert [done for _, done, _ in told] == sorted(done for _, done, _ in told)
    assert told[-1][1:] == (2 * 6 * STEPS, 2 * 6 * STEPS)


# In a comparison --------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def things(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three classes in folders: 9 images in val, 36 in test."""
    return write_folders(tmp_path_factory.mktemp("tuning") / "things", {"train": (16, 8, 4), "val": (3, 3, 3), "test": (12, 12, 12)})


def test_every_arm_is_tuned_alike_and_the_test_split_is_looked_at_once(
    things: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As many trials of as many steps each; an A/A arm finds the same; trials never see the test images; a second call trains nothing."""
    settings = dataclasses.replace(QUICK, steps=4, evaluations=2)
    shown: list[int] = []
    real = classification._Job.predict
    monkeypatch.setattr(classification._Job, "predict", lambda self, model, part: (shown.append(len(part)), real(self, model, part))[1])

    def tuned() -> dict[str, Any]:
        verdict = verify(read(things), arms="weights:uniform,augment:none,posthoc_logit_adjusted", settings=settings, seeds=2, device="cpu",
                         tune="random", trials=4, state_dir=tmp_path)  # fmt: skip
        return {key: value for key, value in verdict.to_dict().items() if key != "environment"}

    first = tuned()
    tests = shown.count(36)
    again = tuned()

    assert again == first and shown.count(36) == tests == 3 * 2
    assert (first["tuning"]["method"], first["tuning"]["trials"]) == ("random", 4)
    baseline, uniform, augmented = first["tuning"]["arms"]
    assert [arm["name"] for arm in first["tuning"]["arms"]] == ["baseline", "weights:uniform", "augment:none"]
    assert set(baseline) == {"name", "best", "score", "trials"} and set(baseline["trials"][0]) == {"number", "score", "state", "params"}
    assert baseline["trials"] == uniform["trials"] and baseline["best"] == uniform["best"]
    assert all(len(arm["trials"]) == 4 for arm in first["tuning"]["arms"]) and "augment" not in augmented["best"]
    assert first["arms"][1]["difference"]["mean"] == 0
    assert any("tuned alike: 4 trials of 4 steps (random)" in note for note in first["notes"])


def test_the_best_settings_are_trained_with(things: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """After the search every training of an arm has what was found for it, and another seed than the trials had."""
    seen: list[tuple[int, dict[str, Any]]] = []
    real = classification.run

    def watched(trial: Any, data: Any) -> Any:
        seen.append((trial.seed, dataclasses.asdict(trial.settings)))
        return real(trial, data)

    monkeypatch.setattr(classification, "run", watched)
    # A rate far too small: what the search draws that is larger does better.
    settings = dataclasses.replace(QUICK, steps=8, evaluations=2, lr=3e-4)
    verdict = verify(
        read(things), arms="weights:uniform", settings=settings, seeds=2, device="cpu", tune="random", trials=6, state_dir=None
    )
    best = verdict.tuning.arms[0].best

    assert best["lr"] > 3e-4
    assert [seed for seed, _ in seen[-4:]] == [0, 0, 1, 1] and all(best.items() <= params.items() for _, params in seen[-4:])
    assert all(seed == 1_000_000 and params["patience"] is None for seed, params in seen[:-4])


def test_a_detector_is_tuned_and_its_learning_curve_measured_through_the_same_door(tmp_path: Path) -> None:
    """Without dropout, which detectors have none of; background images are in the parts of the training split like others."""
    from tests.trials import test_detection as squares

    root = squares.write(tmp_path / "squares", {"train": 16, "val": 6, "test": 6})
    settings = dataclasses.replace(squares.QUICK, steps=2, evaluations=1)
    verdict = verify(read(root), task="detect", arms="weights:uniform", settings=settings, seeds=1, device="cpu", tune="grid", trials=2,
                     learning_curve=True, state_dir=None)  # fmt: skip

    baseline, uniform = verdict.to_dict()["tuning"]["arms"]
    assert set(baseline["best"]) == {"lr", "weight_decay", "augment"} and baseline["trials"] == uniform["trials"]
    assert [point["images"] for point in verdict.to_dict()["learning_curve"]["points"]] == [3, 4, 8, 12, 16]


# Refusals ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("tune", "trials", "message"),
    [
        (None, 5, "trials needs a search"),
        ("bayse", None, "Did you mean bayes?"),
        ("random", 0, "trials must be between 1 and 10,000, got 0"),
        ("random", 10**9, "between 1 and 10,000"),
    ],
)
def test_a_search_that_cannot_be_made_is_refused(tune: str | None, trials: int | None, message: str) -> None:
    """Each with what to do."""
    with pytest.raises(UsageError) as caught:
        check(tune, trials)

    assert message in str(caught.value)


def test_without_optuna_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """A search needs it, a comparison without one does not."""
    monkeypatch.setitem(sys.modules, "optuna", None)

    assert check(None, None) is None
    with pytest.raises(UsageError, match=r"pip install '\.\[train\]'"):
        check("bayes", 10)


def test_the_command_refuses_trials_without_a_search(things: Path) -> None:
    """Exit 2 with the options there are."""
    done = command("verify", things, "--trials", "5")

    assert (done.returncode, done.stdout) == (2, "")
    assert "Add --tune grid, --tune random or --tune bayes." in done.stderr
