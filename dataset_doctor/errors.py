"""What can stop a command, as against what can be wrong with a dataset (that is a finding).

DoctorError                 shown as one or two lines; the command exits with 2
├── UsageError              an argument, option or configuration that cannot be used
├── DatasetNotFound         nothing here that any format recognises
├── SeveralDatasets         more than one dataset here; the hint lists the commands to choose from
└── OutputRefused           the output exists, lies inside the input, or cannot be written
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
