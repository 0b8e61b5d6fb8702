"""What pages on a terminal share."""

from __future__ import annotations

import shlex
import subprocess

import pytest
from rich.text import Text

from dataset_doctor.report.page import Page
from dataset_doctor.report.text import cells

WORDS = (
    ["dataset-doctor", "split", "../data/park", "park-divided", "--ratios", "80/10/10"],
    ["dataset-doctor", "split", 'it\'s a "park" $HOME', "-x", "; rm *"],
    ["dataset-doctor", "audit", "/".join(["folder"] * 60), "-o", "report.json"],
    ["dataset-doctor", "audit", "/".join(["it's a folder"] * 40), "--images", "公園" * 70, "b"],
    ["dataset-doctor", "rebalance", *(f"--option{n}" for n in range(60))],
)


@pytest.mark.parametrize("width", [60, 79, 99])
@pytest.mark.parametrize("words", WORDS, ids=lambda words: words[-1])
def test_a_command_runs_as_it_is_copied(words: list[str], width: int) -> None:
    """A shell gets the words that were meant from lines that fit, however long a word is and whatever it holds."""
    lines = Page(width, "utf-8").command(shlex.join(words), Text(" Next   "))
    copied = "\n".join(line.plain for line in lines).removeprefix(" Next   ").replace("dataset-doctor", "printf '%s\\n'", 1)

    done = subprocess.run(["sh", "-c", copied], capture_output=True, text=True, check=True)

    assert done.stdout.splitlines() == words[1:]
    assert all(cells(line.plain) <= width for line in lines)
