"""The verdict on a terminal: what was looked at besides, 80 columns, any encoding."""

from __future__ import annotations

import io
from collections.abc import Callable

import pytest
from rich.console import Console

from dataset_doctor.report.text import cells
from dataset_doctor.report.verdict.terminal import show
from dataset_doctor.verdict import Verdict
from tests.report.verdicts import VERDICTS, everything, make_arm, make_everything, make_verdict


def shown(verdict: Verdict, width: int = 80, encoding: str = "utf-8") -> str:
    out = io.BytesIO()
    file = io.TextIOWrapper(out, encoding=encoding, errors="strict", newline="")
    show(verdict, Console(file=file, width=width, color_system=None, legacy_windows=False), name="pets")
    file.flush()
    return out.getvalue().decode(encoding)


EVERYTHING = """\
 pets  ·  verify, classify  ·  3 seeds × 60 steps

 weights:sqrt   helped       +5.0 points (+3.0 to +7.0) of balanced accuracy
 focal          hurt         -4.0 points (-6.0 to -2.0) of balanced accuracy
 repeat_factor  no evidence  +0.1 points (-1.9 to +2.1) of balanced accuracy

 arm            balanced accuracy  accuracy  training
 baseline                  50.0 %    61.0 %      12 s
 weights:sqrt              55.0 %    61.0 %      12 s
 focal                     46.0 %    61.0 %      12 s
 repeat_factor             50.1 %    61.0 %      12 s

 weights:sqrt   helped       dog: +30.0 points (+20.0 to +40.0)
 focal          helped       dog: +30.0 points (+20.0 to +40.0)
 repeat_factor  helped       dog: +30.0 points (+20.0 to +40.0)

 model      small_cnn: the smallest that was not shown to be worse than the
            best, resnet18
 ensemble   mean of 3 seeds: 60.0 %, helped, +10.0 points (+4.0 to +16.0)
 more data  Twice the data (400 images) would bring about +5.0 points (+2.0 to
            +9.0)
 tuned      baseline: lr 0.00031, batch 64
"""


def test_what_was_looked_at_besides_has_a_line_each() -> None:
    """The model that is enough, the best ensemble, what more data would bring, and the best parameters."""
    assert shown(make_everything()).startswith(EVERYTHING)


def test_what_was_not_looked_at_has_none() -> None:
    """A plain comparison says nothing of models, ensembles, data or tuning."""
    text = shown(make_verdict())

    assert not [line for line in text.splitlines() if line.startswith((" model", " ensemble", " more data", " tuned"))]


def test_a_long_name_leaves_the_figures_whole() -> None:
    """Where the name of the score has no room, the table below says it."""
    arms = [make_arm("baseline"), make_arm("weights:effective and more", 0.05)]

    assert " weights:effective and more  helped       +5.0 points (+3.0 to +7.0)\n" in shown(make_verdict(arms))


def test_why_there_is_no_forecast() -> None:
    """The sentence of the curve stands where a forecast would."""
    extras = {"learning_curve": everything()["learning_curve"] | {"forecast": None, "said": "Two points allow no forecast."}}

    assert " more data  Two points allow no forecast\n" in shown(make_verdict(extras=extras))


@pytest.mark.parametrize("make", VERDICTS.values(), ids=VERDICTS)
@pytest.mark.parametrize("encoding", ["utf-8", "ascii"])
def test_no_line_is_wider_than_the_terminal(make: Callable[[], Verdict], encoding: str) -> None:
    """Each verdict made by hand fits 80 columns, in ASCII too."""
    text = shown(make(), encoding=encoding)

    assert max(cells(line) for line in text.splitlines()) <= 80
    assert "\x1b" not in text and "\u202e" not in text
