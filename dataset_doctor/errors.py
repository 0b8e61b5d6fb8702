"""What can stop a command, as against what can be wrong with a dataset (that is a finding).

DoctorError                 shown as one or two lines; the command exits with 2
├── UsageError              an argument, option or configuration that cannot be used
├── DatasetNotFound         nothing here that any format recognises
├── SeveralDatasets         more than one dataset here; the hint lists the commands to choose from
├── OutputRefused           the output exists, lies inside the input, or cannot be written
└── ComparisonRefused       a comparison of trainings that would say nothing

Messages name parameters, in backticks: "`budget` must be positive, got -1", "Leave `device` out.", "Use `materialize=symlink`."
A caller of the library reads `materialize="symlink"`, a user of the command `--materialize symlink`.
"""

import difflib
import re
from collections.abc import Callable, Iterable, Mapping


class DoctorError(Exception):
    """A reason to stop. `message` says what and where, `hint` what to do; both are finished sentences for a person.

    >>> error = UsageError("`max_repeat` must be at least 1, got 0.", "Give 1, or add `min_repeat=0`.")
    >>> error.message, error.hint
    ('max_repeat must be at least 1, got 0.', 'Give 1, or add min_repeat=0.')
    >>> error.as_options({"max_repeat": "--max-repeat", "min_repeat": "--min-repeat"})
    ('--max-repeat must be at least 1, got 0.', 'Give 1, or add --min-repeat 0.')
    """

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self._marked = message, hint
        self.message, self.hint = (_PARAMETER.sub(_as_argument, text) for text in self._marked)

    def as_options(self, options: Mapping[str, str]) -> tuple[str, str]:
        """Give message and hint with each parameter as the option that sets it, under the parameter's name in `options`."""
        message, hint = (_PARAMETER.sub(_as_option(options), text) for text in self._marked)
        return message, hint

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


_PARAMETER = re.compile(r"`([a-z][a-z0-9_]*)(?:=([^`]*))?`")
_BARE = re.compile(r"[-+]?[\d.]+(?:e[-+]?\d+)?|True|False|None|nan|inf")


def _as_argument(found: re.Match[str]) -> str:
    """Write a parameter, and its value, as in a call."""
    name, value = found.groups()
    if value is None:
        return name
    return f"{name}={value}" if _BARE.fullmatch(value) else f'{name}="{value}"'


def _as_option(options: Mapping[str, str]) -> Callable[[re.Match[str]], str]:
    def written(found: re.Match[str]) -> str:
        name, value = found.groups()
        if name not in options:
            return _as_argument(found)
        if value == "False":
            return f"--no-{options[name].removeprefix('--')}"
        return options[name] if value in (None, "True") else f"{options[name]} {value}"

    return written


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
