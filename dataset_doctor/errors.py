"""What can stop a command, as against what can be wrong with a dataset (that is a finding).

DoctorError                 shown as one or two lines; the command exits with 2
├── UsageError              an argument, option or configuration that cannot be used
├── DatasetNotFound         nothing here that any format recognises
├── SeveralDatasets         more than one dataset here; the hint lists the commands to choose from
├── OutputRefused           the output exists, lies inside the input, or cannot be written
└── ComparisonRefused       a comparison of trainings that would say nothing
"""

import difflib
from collections.abc import Iterable


class DoctorError(Exception):
    """A reason to stop. `message` says what and where, `hint` what to do; both are finished sentences for a person."""

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message}\n  {self.hint}" if self.hint else self.message


class UsageError(DoctorError):
    """An argument, option or configuration value that cannot be used."""


class DatasetNotFound(DoctorError):
    """Nothing at the given place is a dataset that can be read."""


class SeveralDatasets(DoctorError):
    """Several unrelated datasets lie under one root; the user has to choose."""


class OutputRefused(DoctorError):
    """The place to write to must not or cannot be written."""


class ComparisonRefused(DoctorError):
    """A comparison that would say nothing: no test split, images in several splits, nothing to tell apart."""


def install(extra: str) -> str:
    """Say how to install what an extra brings: from the clone, until there is a release on the package index."""
    return f"In the clone of dataset-doctor: pip install '.[{extra}]'"


def needs(who: str, package: str, error: Exception, extra: str, otherwise: str = "") -> UsageError:
    """Say of an import that failed whether the package is not there, or there and broken.

    Args:
        who: What needs the package.
        package: Its import name.
        error: What importing it raised.
        extra: Brings the package.
        otherwise: What else can be done.

    >>> needs("verify", "torch", ModuleNotFoundError("No module named 'torch'", name="torch"), "train").message
    'verify needs PyTorch, which is not installed.'
    >>> needs("verify", "torch", OSError("libcudart.so.12: cannot open shared object file"), "train").message
    'verify needs PyTorch, which is installed but cannot be imported: libcudart.so.12: cannot open shared object file.'
    """
    name = {"torch": "PyTorch", "optuna": "Optuna"}.get(package, package)
    if isinstance(error, ModuleNotFoundError) and error.name == package:
        return UsageError(f"{who} needs {name}, which is not installed.", f"{install(extra)}{otherwise}")
    said = " ".join(str(error).split())[:200].rstrip(".") or type(error).__name__
    return UsageError(f"{who} needs {name}, which is installed but cannot be imported: {said}.", f"Install {name} anew{otherwise}.")


def operand(path: str) -> str:
    """Keep a path that begins with a hyphen from being read as an option, in a command to be copied.

    >>> operand("-odd"), operand("plain")
    ('./-odd', 'plain')
    """
    return f"./{path}" if path.startswith("-") else path


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """End an error message with the nearest known word, or with all of them where none is near.

    >>> did_you_mean("efective", ["inverse", "effective"])
    'Did you mean effective?'
    >>> did_you_mean("x", ["inverse", "effective"])
    'Choose from: inverse, effective.'
    """
    choices = list(known)
    folded = {choice.casefold(): choice for choice in choices}
    near = difflib.get_close_matches(word.casefold(), folded, n=1)
    return f"Did you mean {folded[near[0]]}?" if near else f"Choose from: {', '.join(choices)}."
