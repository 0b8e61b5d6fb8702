"""audit: look, show what was found, save it, and let the gate decide."""

import os
import sys
import warnings
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from dataset_doctor.cli.options import (
    ClassesOption,
    ConfigOption,
    Dataset,
    DebugOption,
    FormatOption,
    ImagesOption,
    JsonOption,
    SetOption,
    chosen_thresholds,
    from_command_line,
    say,
    takes,
)
from dataset_doctor.errors import UsageError

if TYPE_CHECKING:
    from dataset_doctor.findings import Finding
    from dataset_doctor.report.record import Report

EngineChoice = Literal["local", "dask"]
PolicyChoice = Literal["article", "detector", "screening", "none"]


class FailOn(str, Enum):
    """From which severity on findings make the command exit with 1."""

    ERROR = "error"
    WARNING = "warning"
    INFO = "info"
    NEVER = "never"


@dataclass(frozen=True)
class Options:
    """What the command is asked."""

    context: typer.Context
    dataset: Dataset
    output: Annotated[
        list[Path],
        typer.Option("-o", "--output", metavar="FILE", help="Write a report: .json, .html, .md, .csv or .sarif. May be repeated."),
    ] = field(default_factory=list)
    json: JsonOption = False
    pixels: Annotated[bool, typer.Option("--pixels/--no-pixels", help="Look into the image files, not only at their sizes.")] = True
    workers: Annotated[
        int | None, typer.Option("--workers", metavar="N", min=1, help="Processes that look into images.", show_default=False)
    ] = None
    engine: Annotated[EngineChoice, typer.Option("--engine", help="Where images are looked into: here, or on a dask cluster.")] = "local"
    address: Annotated[
        str | None, typer.Option("--address", metavar="URL", help="The dask scheduler, as tcp://host:8786.", show_default=False)
    ] = None
    near_bits: Annotated[
        int | None,
        typer.Option(
            "--near-bits",
            metavar="N",
            help="Bits of 64 in which hashes of nearly identical images may differ, 0 to 8; by default 6, fewer for very many images.",
            show_default=False,
        ),
    ] = None
    select: Annotated[list[str], typer.Option("--select", metavar="CODES", help="Run only these checks: DD101, DD1, names.")] = field(
        default_factory=list
    )
    ignore: Annotated[list[str], typer.Option("--ignore", metavar="CODES", help="Leave these checks out.")] = field(default_factory=list)
    set: SetOption = field(default_factory=list)
    fail_on: Annotated[FailOn, typer.Option("--fail-on", help="Exit with 1 from this severity on.")] = FailOn.ERROR
    strict: Annotated[bool, typer.Option("--strict", help="Exit with 1 if a check could not run.")] = False
    baseline: Annotated[
        Path | None,
        typer.Option(
            "--baseline", metavar="FILE", help="Known findings, which do not fail; written where it does not exist.", show_default=False
        ),
    ] = None
    policy: Annotated[
        PolicyChoice | None, typer.Option("--policy", help="Which share of background images is wanted.", show_default=False)
    ] = None
    prior: Annotated[
        float | None,
        typer.Option("--prior", metavar="P", help="For --policy screening: the share of positives in use, 0 to 1.", show_default=False),
    ] = None
    locations: Annotated[str, typer.Option("--locations", metavar="N|all", help="Places to list for each finding.")] = "100"
    format: FormatOption = None
    images: ImagesOption = None
    classes: ClassesOption = None
    config: ConfigOption = None
    debug: DebugOption = False


@takes(Options)
def audit(asked: Options) -> None:
    """Count what a dataset holds and look for defects.

    Exits with 0 when nothing at or above --fail-on was found, 1 when something was, 2 when it could not run.

    Example: dataset-doctor audit my_dataset -o report.json
    """
    from dataset_doctor import report as reports

    locations = _locations(asked.locations)
    _check_targets(asked.output, asked.baseline)
    had_baseline = asked.baseline is not None and os.path.lexists(asked.baseline)
    result = _audited(asked, locations)
    for path in asked.output:
        result.save(path)
    if asked.json:
        sys.stdout.write(reports.render(result, ".json"))
    else:
        result.show()
    failed = result.failing()
    if had_baseline and failed:
        say(f"findings that {asked.baseline} does not know:", "\n".join(map(_news, failed)))
    raise typer.Exit(int(bool(failed) or (asked.strict and bool(result.not_run))))


def _audited(asked: Options, locations: int | None) -> "Report":
    """Call the library, and say what it has to say besides the report."""
    from dataset_doctor.audit import audit as run_audit
    from dataset_doctor.cli.progress import ProgressBar
    from dataset_doctor.findings import plural
    from dataset_doctor.scan import CacheWarning

    settings = chosen_thresholds(asked.context, asked.set)
    notes: list[tuple[str, str]] = []
    with warnings.catch_warnings(record=True) as noted, ProgressBar() as progress:
        warnings.simplefilter("always", CacheWarning)
        result = run_audit(
            asked.dataset,
            **{name: getattr(asked, name) for name in _ARGUMENTS},
            prior=_prior(asked),
            settings=settings,
            locations=locations,
            suppressions=asked.context.obj.suppressions if asked.context.obj else (),
            fail_on=asked.fail_on.value,
            progress=progress,
            notify=lambda message, hint: notes.append((message, hint)),
        )
    for text in dict.fromkeys(str(warning.message) for warning in noted):
        say(text)
    if asked.dataset.lower().endswith(".xml"):
        held = f"{plural(result.statistics.summary.images, 'image')} in {Path(asked.dataset).parent}"
        say(f"{asked.dataset} is one label file of a dataset, which is read as a whole: {held}.")
    for note in notes:
        say(*note)
    return result


_ARGUMENTS = (
    "pixels", "select", "ignore", "policy", "baseline", "strict", "near_bits", "workers",
    "engine", "address", "format", "images", "classes",
)  # fmt: skip
"""Options that `audit` takes under their names."""


def _locations(value: str) -> int | None:
    if value == "all":
        return None
    if value.isascii() and value.isdigit():
        return int(value)
    raise UsageError(f"--locations must be a whole number or all, got {value}.")


def _prior(asked: Options) -> float | None:
    """Leave out a number of the configuration where the command line names another policy than the configuration's."""
    is_other = from_command_line(asked.context, "policy") and not from_command_line(asked.context, "prior")
    return None if is_other and asked.policy != "screening" else asked.prior


def _check_targets(output: list[Path], baseline: Path | None) -> None:
    """Refuse files that could not be written, or would be written twice, before the audit takes its time."""
    from dataset_doctor import report as reports

    for path in output:
        reports.check_target(path)
    if baseline is not None and not os.path.lexists(baseline):
        reports.check_file(baseline)
    seen: set[str] = set()
    for path in [*output, *([baseline] if baseline is not None else [])]:
        place = os.path.join(os.path.realpath(path.parent), path.name)
        if place in seen:
            raise UsageError(f"{path} is given twice.", "Write each report, and the baseline, into a file of its own.")
        seen.add(place)


def _news(finding: "Finding") -> str:
    """Say in one line how many of a finding are new, and where the first of them is."""
    from dataset_doctor.report.wording import place_name

    first = next((place_name(p) for p, state in zip(finding.locations, finding.states, strict=False) if state == "new"), "")
    return f"{finding.code} {finding.name}: {finding.count - finding.known:,} new{f', {first}' if first else ''}"
