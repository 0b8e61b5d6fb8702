"""The thresholds that a user sets: read, held against what the checks declare, and compared with the defaults."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

from dataset_doctor.checks import CHECKS, find_check
from dataset_doctor.errors import UsageError, did_you_mean
from dataset_doctor.findings import ChangedThreshold, Check, Settings, number

SHAPE = "DD107.max_aspect=20"


def validated(settings: Mapping[str, Any]) -> Settings:
    """Check thresholds by code (or name) of their check and by name; give them under the codes.

    Raises:
        UsageError: there is no such check or threshold, or the value is not a number, not whole, or out of range.
    """
    if not isinstance(settings, Mapping):
        raise UsageError("checks must be a table of checks.", "Write each below a line such as [tool.dataset-doctor.checks.DD107].")
    values: dict[str, dict[str, float]] = {}
    for word, chosen in settings.items():
        check = find_check(word)
        if not isinstance(chosen, Mapping):
            raise UsageError(f"{check.code} takes a table of its thresholds.", _choices(check))
        values.setdefault(check.code, {}).update({name: _value(check, name, value) for name, value in chosen.items()})
    return values


def _value(check: Check, name: str, value: Any) -> float:
    threshold = next((one for one in check.thresholds if one.name == name), None)
    if threshold is None:
        names = [one.name for one in check.thresholds]
        raise UsageError(f"{check.code} has no threshold {name}.", did_you_mean(name, names) if names else _choices(check))
    where = f"{check.code}.{name}"
    whole = isinstance(threshold.default, int)
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value) or (whole and value != round(value)):
        raise UsageError(f"{where} must be a {'whole ' if whole else ''}number, got {value!r:.40}.", f"{where}: {threshold.meaning}.")
    if not threshold.lower <= value <= threshold.upper:
        limits = f"at least {number(threshold.lower)}"
        if math.isfinite(threshold.upper):
            limits = f"between {number(threshold.lower)} and {number(threshold.upper)}"
        raise UsageError(f"{where} must be {limits}, got {number(value)}.", f"{where}: {threshold.meaning}.")
    return int(value) if whole else float(value)


def _choices(check: Check) -> str:
    if not check.thresholds:
        return f"{check.name} has no thresholds."
    return f"Choose from: {', '.join(f'{one.name} = {number(one.default)}' for one in check.thresholds)}."


def parsed(texts: Iterable[str]) -> dict[str, dict[str, float]]:
    """Take settings apart that are written as on the command line; a later one wins.

    >>> parsed(["DD107.max_aspect=20", "DD105.min_side_px=3"])
    {'DD107': {'max_aspect': 20}, 'DD105': {'min_side_px': 3}}

    Raises:
        UsageError: a text is not made like `CODE.NAME=VALUE`, or the value is not a number.
    """
    settings: dict[str, dict[str, float]] = {}
    for text in texts:
        target, equals, value = text.partition("=")
        code, dot, name = target.strip().partition(".")
        if not (code and dot and name and equals):
            raise UsageError(f"{text} is not a setting.", f"Write CODE.NAME=VALUE, as in {SHAPE}.")
        settings.setdefault(code, {})[name] = _number(target.strip(), value.strip())
    return settings


def merged(lower: Settings, upper: Settings) -> Settings:
    """Check two groups of settings and join them; the second wins."""
    first, second = validated(lower), validated(upper)
    return {code: {**first.get(code, {}), **second.get(code, {})} for code in [*first, *second]}


def _number(where: str, text: str) -> float:
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    raise UsageError(f"{where} must be a number, got {text!r:.40}.", f"Write CODE.NAME=VALUE, as in {SHAPE}.")


def changed(settings: Settings) -> tuple[ChangedThreshold, ...]:
    """List the thresholds that are not at their defaults, in code order."""
    return tuple(
        ChangedThreshold(check.code, threshold.name, settings[check.code][threshold.name], threshold.default)
        for check in CHECKS
        if check.code in settings
        for threshold in check.thresholds
        if settings[check.code].get(threshold.name, threshold.default) != threshold.default
    )
