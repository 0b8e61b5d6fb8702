"""Complaints about the command line in our words, and the options that parameters of the library have."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from dataset_doctor.cli.options import from_command_line
from dataset_doctor.errors import did_you_mean

_NUMBERS = {"integer": "a whole number", "number": "a number", "float": "a number"}


def options_of(app: Any, arguments: Sequence[str]) -> dict[str, str]:
    """Give the option for each parameter of the command that was asked for, as a message of the library may name it."""
    command = next((app.commands[word] for word in arguments if word in app.commands), None)
    known = {one.name: max(one.opts, key=len) for one in command.params if one.param_type_name == "option"} if command else {}
    return known | ({"state_dir": known["state"]} if "state" in known else {})


def in_our_words(error: Any, arguments: Sequence[str]) -> tuple[str, str]:
    """Say what is wrong with the command line, and what to do; `error` is click's, in the words of whichever version is installed."""
    message = str(error.format_message()).strip().replace("\n", " ")
    context = getattr(error, "ctx", None)
    see = f"See {context.command_path} --help." if context else ""
    if lacking := re.match(r"Option '([^']*)' requires an argument", message):
        return f"{lacking[1]} needs a value.", see
    if flag := re.match(r"Option '([^']*)' does not take a value", message):
        return f"{flag[1]} takes no value.", see
    if not context:
        return message, ""
    if hasattr(error, "option_name") and hasattr(error, "possibilities"):
        known = [option for parameter in context.command.params for option in parameter.opts if option.startswith("--")]
        return f"{error.option_name} is not an option.", did_you_mean(error.option_name, known)
    if message.startswith("No such command"):
        word = message.split("'")[1]
        return f"{word} is not a command.", did_you_mean(word, context.command.commands)
    if extra := re.match(r"Got unexpected extra arguments?(?:\(s\))? \((.*)\)", message):
        return f"There are more arguments than {context.command_path} takes: {extra[1]}.", see
    if missing := re.match(r"Missing (?:argument|option) '([^']*)'", message):
        return f"{missing[1]} is missing.", see
    parameter, settings = getattr(error, "param", None), context.obj
    if parameter is None:
        return message, see
    name, options = parameter.name or "", " / ".join(parameter.opts)
    in_file = settings and name in settings.defaults and not from_command_line(context, name)
    value = str(settings.defaults[name]) if in_file else _value(message, parameter.opts, arguments)
    wrong, hint = _wrong_value(message, name.replace("_", "-") if in_file else options, value)
    return (f"{settings.path}: {wrong}", hint) if in_file else (wrong, hint or ("" if wrong != message else see))


def _wrong_value(message: str, option: str, value: str) -> tuple[str, str]:
    """Say what an option takes instead of the value that was given."""
    choices = message.partition("' is not one of ")[2]
    if choices:
        return f"{value} is not a value of {option}.", did_you_mean(value, re.findall(r"'([^']+)'", choices))
    if kind := re.search(r"valid (integer|number|float)", message):
        return f"{option} must be {_NUMBERS[kind[1]]}, got {value}.", ""
    if low := re.search(r"greater than or equal to (\S+)|range (?:[a-z]|\d+)>=(\S+?)\.?$", message):
        return f"{option} must be at least {low[1] or low[2]}, got {value}.", ""
    if high := re.search(r"less than or equal to (\S+)|range x<=(\S+?)\.?$", message):
        return f"{option} must be at most {high[1] or high[2]}, got {value}.", ""
    if both := re.search(r"range (\S+)<=x<=(\S+?)\.?$", message):
        return f"{option} must be between {both[1]} and {both[2]}, got {value}.", ""
    return message, ""


def _value(message: str, opts: Sequence[str], arguments: Sequence[str]) -> str:
    """Find what was given: newer versions of typer do not say it."""
    for at, word in enumerate(arguments):
        option, is_joined, value = word.partition("=")
        if option in opts:
            return value if is_joined else next(iter(arguments[at + 1 : at + 2]), "")
    return message.partition("'")[2].partition("'")[0]
