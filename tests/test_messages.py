"""Messages: the library names parameters, and the command the options that set them."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest
import typer

import dataset_doctor
from dataset_doctor.cli.app import app
from dataset_doctor.cli.usage import options_of
from dataset_doctor.errors import UsageError
from tests.command import run

PACKAGE = Path(dataset_doctor.__file__).parent
ROOT = Path(__file__).parents[1]
ERRORS = {
    "DoctorError",
    "UsageError",
    "DatasetNotFound",
    "SeveralDatasets",
    "OutputRefused",
    "ComparisonRefused",
    "TrainingFailed",
    "needs",
}
COMMAND = re.compile(r"dataset-doctor [^`]*")
"""A command to copy; its options are written as they are typed."""


def test_no_error_of_the_library_names_an_option() -> None:
    """Outside `cli`, no text in a `raise` or an error holds `--option`, unless it is a command to copy."""
    wrong = []
    for file in PACKAGE.rglob("*.py"):
        if file.relative_to(PACKAGE).parts[0] == "cli":
            continue
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Raise) or (isinstance(node, ast.Call) and getattr(node.func, "id", "") in ERRORS):
                parts = [one.value for one in ast.walk(node) if isinstance(one, ast.Constant) and isinstance(one.value, str)]
                text = "".join(COMMAND.sub("", part) if "dataset-doctor " in part else part + "\0" for part in parts)
                wrong += [f"{file.name}:{node.lineno}: {text}"] if re.search(r"--([a-z]|\0)", text) else []

    assert not wrong


def test_every_parameter_that_a_message_names_is_an_option() -> None:
    """What stands alone in backticks in an error is a parameter of a command, and shown as its option."""
    commands = typer.main.get_command(app).commands  # type: ignore[attr-defined]
    known = {name for command in commands for name in options_of(typer.main.get_command(app), [command])}
    named = set()
    for file in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") in ERRORS:
                parts = [one.value for one in ast.walk(node) if isinstance(one, ast.Constant) and isinstance(one.value, str)]
                named |= {found for part in parts for found in re.findall(r"`([a-z_]+)(?:=|`)", part)}

    assert named - known <= COMMANDS


COMMANDS = {"all", "rebalance"}


@pytest.mark.parametrize(
    ("error", "argument", "option"),
    [
        (UsageError("`budget` must be positive, got -1."), "budget must be positive, got -1.", "--budget must be positive, got -1."),
        (UsageError("x", "Use `materialize=symlink`."), 'Use materialize="symlink".', "Use --materialize symlink."),
        (UsageError("x", "Add `allow_errors=True`."), "Add allow_errors=True.", "Add --allow-errors."),
        (UsageError("x", "Choose `trainer=hf`."), 'Choose trainer="hf".', 'Choose trainer="hf".'),
    ],
)
def test_a_parameter_becomes_an_option(error: UsageError, argument: str, option: str) -> None:
    """Values and flags are written as either is; a parameter that the command lacks stays one."""
    options = options_of(typer.main.get_command(app), ["rebalance"])

    assert argument in (error.message, error.hint)
    assert option in error.as_options(options)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["verify", ".", "--seeds", "x"], "--seeds must be a whole number, got x."),
        (["verify", ".", "--seeds=0"], "--seeds must be at least 1, got 0."),
        (["verify", ".", "--lr", "q"], "--lr must be a number, got q."),
        (["rebalance", "a", "b", "--min-repeat", "2"], "--min-repeat must be at most 1, got 2."),
        (["audit", "a", "b"], "There are more arguments than dataset-doctor audit takes: b."),
        (["audit", ".", "--config"], "--config needs a value."),
        (["audit", ".", "--json=1"], "--json takes no value."),
        (["rebalance", "a"], "OUT is missing."),
        (["explain", "DD2O1"], "Did you mean DD201?"),
        (
            ["audit", str(ROOT / "fixtures/voc/JPEGImages")],
            "The folder Annotations beside JPEGImages may hold its labels: dataset-doctor audit",
        ),
        (["rebalance", str(ROOT / "fixtures/yolo"), "out", "--allow-errors", "--budget", "-1"], "--budget must be positive, got -1."),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_wrong_values_get_our_words(arguments: list[str], says: str, tmp_path: Path) -> None:
    """Whatever library parses the command line."""
    done = run(*arguments, cwd=tmp_path)

    assert (done.returncode, done.stdout) == (2, "")
    assert says in done.stderr
