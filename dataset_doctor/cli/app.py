"""The commands: parse, call, show, exit. No arithmetic, no file parsing; the library does both."""

import dataclasses
import os
import sys
import time
import warnings
from datetime import date
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, NoReturn

import typer

from dataset_doctor.cli import bus_error, interrupt, usage
from dataset_doctor.cli.options import (
    ClassesOption,
    ConfigOption,
    Dataset,
    DebugOption,
    FormatChoice,
    FormatOption,
    ImagesOption,
    JsonOption,
    SetOption,
    chosen_thresholds,
    from_command_line,
    say,
)
from dataset_doctor.cli.treatments import convert, rebalance, split
from dataset_doctor.cli.verify import verify
from dataset_doctor.cli.weights import weights
from dataset_doctor.errors import DoctorError, UsageError

if TYPE_CHECKING:
    from dataset_doctor.findings import Finding, Policy
    from dataset_doctor.gate import Suppression

app = typer.Typer(
    name="dataset-doctor",
    help="Audit, treat and verify computer-vision datasets: COCO, Pascal VOC, YOLO, LabelMe and image folders.",
    epilog="Begin with: dataset-doctor audit my_dataset",
    add_completion=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)


class FailOn(str, Enum):
    """From which severity on findings make the command exit with 1."""

    ERROR = "error"
    WARNING = "warning"
    INFO = "info"
    NEVER = "never"


ClickException: type[Any] = typer.BadParameter.__mro__[2]
"""The base of all complaints about the command line, in whichever click typer stands on (newer ones carry their own)."""

EngineChoice = Literal["local", "dask"]
PolicyChoice = Literal["article", "detector", "screening", "none"]


@app.callback(invoke_without_command=True)
def root(
    context: typer.Context,
    version: Annotated[bool, typer.Option("--version", help="Print the version and exit.", is_eager=True)] = False,
) -> None:
    """Audit, treat and verify computer-vision datasets: COCO, Pascal VOC, YOLO, LabelMe and image folders."""
    if version:
        from importlib.metadata import version as installed

        typer.echo(installed("dataset-doctor-vision"))
        raise typer.Exit
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())


@app.command()
def audit(
    context: typer.Context,
    dataset: Dataset,
    output: Annotated[
        list[Path],
        typer.Option("-o", "--output", metavar="FILE", help="Write a report: .json, .html, .md, .csv or .sarif. May be repeated."),
    ] = [],  # noqa: B006 (typer copies it)
    json: JsonOption = False,
    pixels: Annotated[bool, typer.Option("--pixels/--no-pixels", help="Look into the image files, not only at their sizes.")] = True,
    workers: Annotated[
        int | None, typer.Option("--workers", metavar="N", min=1, help="Processes that look into images.", show_default=False)
    ] = None,
    engine: Annotated[EngineChoice, typer.Option("--engine", help="Where images are looked into: here, or on a dask cluster.")] = "local",
    address: Annotated[
        str | None, typer.Option("--address", metavar="URL", help="The dask scheduler, as tcp://host:8786.", show_default=False)
    ] = None,
    near_bits: Annotated[
        int | None,
        typer.Option(
            "--near-bits",
            metavar="N",
            help="Bits of 64 in which hashes of nearly identical images may differ, 0 to 8; by default 6, fewer for very many images.",
            show_default=False,
        ),
    ] = None,
    select: Annotated[list[str], typer.Option("--select", metavar="CODES", help="Run only these checks: DD101, DD1, names.")] = [],  # noqa: B006
    ignore: Annotated[list[str], typer.Option("--ignore", metavar="CODES", help="Leave these checks out.")] = [],  # noqa: B006
    set: SetOption = [],  # noqa: B006
    fail_on: Annotated[FailOn, typer.Option("--fail-on", help="Exit with 1 from this severity on.")] = FailOn.ERROR,
    strict: Annotated[bool, typer.Option("--strict", help="Exit with 1 if a check could not run.")] = False,
    baseline: Annotated[
        Path | None,
        typer.Option(
            "--baseline", metavar="FILE", help="Known findings, which do not fail; written where it does not exist.", show_default=False
        ),
    ] = None,
    policy: Annotated[
        PolicyChoice | None, typer.Option("--policy", help="Which share of background images is wanted.", show_default=False)
    ] = None,
    prior: Annotated[
        float | None,
        typer.Option("--prior", metavar="P", help="For --policy screening: the share of positives in use, 0 to 1.", show_default=False),
    ] = None,
    locations: Annotated[str, typer.Option("--locations", metavar="N|all", help="Places to list for each finding.")] = "100",
    format: FormatOption = None,
    images: ImagesOption = None,
    classes: ClassesOption = None,
    config: ConfigOption = None,
    debug: DebugOption = False,
) -> None:
    """Count what a dataset holds and look for defects.

    Exits with 0 when nothing at or above --fail-on was found, 1 when something was, 2 when it could not run.

    Example: dataset-doctor audit my_dataset -o report.json
    """
    from dataset_doctor import gate
    from dataset_doctor import report as reports
    from dataset_doctor.audit import audit as run_audit
    from dataset_doctor.checks import select as choose
    from dataset_doctor.cli.progress import ProgressBar
    from dataset_doctor.findings import Severity, plural
    from dataset_doctor.formats import read
    from dataset_doctor.scan import CacheWarning, look
    from dataset_doctor.scan.near import MOST_BITS

    checks = choose(_codes(select), _codes(ignore))
    if not checks:
        raise UsageError("--select and --ignore leave no check to run.", "Select a check that is not ignored.")
    shown_locations = _locations(locations)
    if near_bits is not None and not 0 <= near_bits <= MOST_BITS:
        raise UsageError(
            f"--near-bits {near_bits} does not lie between 0 and {MOST_BITS}.", "Leave it out for a number that suits the dataset."
        )
    wanted = _policy(context, policy, prior)
    thresholds = chosen_thresholds(context, set)
    suppressions = _in_force(context.obj.suppressions if context.obj else ())
    _check_targets(output, baseline)
    known = gate.load(baseline) if baseline is not None and os.path.lexists(baseline) else None
    options: dict[str, str | int | float | bool | None] = {
        "pixels": pixels,
        "engine": engine,
        "near_bits": near_bits,
        "select": ",".join(select),
        "ignore": ",".join(ignore),
        "fail_on": fail_on.value,
        "strict": strict,
        "baseline": None if baseline is None else str(baseline),
        "policy": policy,
        "prior": None if wanted is None else wanted.prior,
        "locations": "all" if shown_locations is None else shown_locations,
        "format": format,
        "images": None if images is None else str(images),
        "classes": None if classes is None else str(classes),
    }
    begun = time.perf_counter()
    seen, same, why_not = None, None, None
    with warnings.catch_warnings(record=True) as noted, ProgressBar() as progress:
        warnings.simplefilter("always", CacheWarning)
        columns = read(dataset, format, images=images, classes=classes, progress=progress)
        if pixels and any(check.needs_pixels for check in checks):
            if columns.images.has_file.any():
                seen, same = look(columns, near_bits=near_bits, workers=workers, engine=engine, address=address, progress=progress)
            else:
                why_not = "no image file is at hand"
    for text in dict.fromkeys(str(warning.message) for warning in noted):
        say(text)
    if dataset.lower().endswith(".xml"):
        held = f"{plural(columns.n_images, 'image')} in {Path(dataset).parent}"
        say(f"{dataset} is one label file of a dataset, which is read as a whole: {held}.")
    if known is not None and baseline is not None:
        gate.check_same_dataset(known, columns, baseline)
    compared = baseline is not None or any(rule.files for rule in suppressions)
    result = run_audit(
        columns,
        checks=checks,
        locations=None if compared else shown_locations,
        policy=wanted,
        options=options,
        pixels=seen,
        duplicates=same,
        why_no_pixels=why_not,
        settings=thresholds,
    )
    present = None
    if baseline is not None:
        present = gate.take(columns, result.findings, suppressions)
    judged = gate.judge(result.findings, baseline=known or present, suppressions=suppressions, locations=shown_locations)
    run = dataclasses.replace(result.run, seconds=round(time.perf_counter() - begun, 3))
    result = dataclasses.replace(result, findings=judged, run=run)
    for path in output:
        reports.save(result, path)
    if baseline is not None and present is not None:
        if known is None:
            reports.write(baseline, gate.dump(present, result.version).encode())
            say(f"{baseline} is written: findings in {plural(present.total, 'place')} are known from now on.")
        elif mended := known.beyond(present, {check.code for check in checks}):
            say(
                f"{baseline} knows {plural(mended, 'place')} where nothing is found any more.",
                "Delete it and run again, so that they stay mended.",
            )
    if json:
        sys.stdout.write(reports.render(result, ".json"))
    else:
        reports.show(result, name=dataset)
    failed = [] if fail_on is FailOn.NEVER else gate.failing(result.findings, Severity(fail_on.value))
    if known is not None and failed:
        say(f"findings that {baseline} does not know:", "\n".join(map(_news, failed)))
    raise typer.Exit(int(bool(failed) or (strict and bool(result.not_run))))


@app.command()
def explain(
    code: Annotated[str | None, typer.Argument(metavar="CODE", help="A code or name, like DD101.", show_default=False)] = None,
) -> None:
    """Explain a check: what it flags, why it matters, what to do. Without CODE, list all checks."""
    from dataset_doctor.checks import CHECKS, find_check
    from dataset_doctor.report.explain import show_check, show_checks

    if code is None:
        show_checks(CHECKS)
    else:
        show_check(find_check(code))


@app.command(short_help="Write a small made-up dataset with planted defects.")
def demo(
    out: Annotated[Path, typer.Argument(metavar="OUT", help="A new folder.")],
    format: Annotated[FormatChoice, typer.Option("--format", help="How the pictures are labelled.")] = "coco",
    force: Annotated[bool, typer.Option("--force", help="Replace the folder of an earlier demonstration.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be written, and write nothing.")] = False,
    json: JsonOption = False,
    debug: DebugOption = False,
) -> None:
    """Write a small made-up dataset: as it should be, and with one planted defect a check.

    OUT/all holds all defects that can live together; those that concern a dataset as a whole have one each, called after the check.
    README.txt lists what is planted where.

    Example: dataset-doctor demo park && dataset-doctor audit park/all
    """
    import json as codec

    from dataset_doctor import demo as demonstrations
    from dataset_doctor.report.text import encodable, printable

    demonstrations.check_place(out, force=force)
    made = demonstrations.make(format)
    if not dry_run:
        demonstrations.write(made, out, force=force)
    if json:
        sys.stdout.write(codec.dumps(made.to_dict(), indent=2) + "\n")
    else:
        lines = (printable(line) for line in made.summary(str(out), written=not dry_run))
        sys.stdout.write("".join(f"{encodable(line, sys.stdout.encoding)}\n" for line in lines))


app.command(short_help="Write a copy in which rare classes are shown more often.")(rebalance)
app.command(short_help="Write a copy that is divided anew into train, val and test.")(split)
app.command(short_help="Write a copy in another format.")(convert)
app.command(short_help="Weigh the classes by how many labels each has.")(weights)
app.command(short_help="Train with and without a treatment: did it help?")(verify)


def _codes(values: list[str]) -> list[str]:
    return [code.strip() for value in values for code in value.split(",") if code.strip()]


def _locations(value: str) -> int | None:
    if value == "all":
        return None
    if value.isascii() and value.isdigit():
        return int(value)
    raise UsageError(f"--locations {value} is neither a number nor `all`.")


def _policy(context: typer.Context, name: PolicyChoice | None, prior: float | None) -> "Policy | None":
    """Make the policy from its name and number; a number in the configuration is for the policy in the configuration."""
    from dataset_doctor.findings import POLICIES, screening

    if name == "screening":
        if prior is None:
            raise UsageError(
                "--policy screening needs --prior P.", "P is the share of images with an object in use, for example --prior 0.02."
            )
        if not 0 < prior < 1:
            raise UsageError(f"--prior {prior:g} does not lie between 0 and 1.", "Give a share: 0.02 for 2 images of 100.")
        return screening(prior)
    if prior is not None and not (from_command_line(context, "policy") and not from_command_line(context, "prior")):
        raise UsageError(
            "--prior is for --policy screening.", f"Add --policy screening, or leave --prior out{f' of {name}' if name else ''}."
        )
    return None if name is None else POLICIES[name]


def _in_force(suppressions: "tuple[Suppression, ...]") -> "list[Suppression]":
    """Leave out the suppressions whose last day is over, and say so."""
    today = date.today()
    for rule in suppressions:
        if rule.expired(today):
            say(f"the suppression of {', '.join(sorted(rule.codes))} ended on {rule.until}: it counts again.", f"It said: {rule.reason}")
    return [rule for rule in suppressions if not rule.expired(today)]


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


def main(arguments: list[str] | None = None) -> NoReturn:
    """Run the command line; every error becomes one or two lines on stderr and an exit code."""
    arguments = sys.argv[1:] if arguments is None else arguments
    debug = "--debug" in arguments
    bus_error.told_in_words()
    try:
        status = app(arguments, prog_name="dataset-doctor", standalone_mode=False)
        if interrupt.happened() or status == interrupt.INTERRUPTED:  # typer makes an exit code of it
            interrupt.leave()
        sys.stdout.flush()
        _leave(status if isinstance(status, int) else 0)
    except (typer.Abort, KeyboardInterrupt):
        interrupt.leave()
    except Exception as error:
        if interrupt.happened():
            interrupt.leave()
        if isinstance(error, BrokenPipeError):
            # Who reads us has seen enough (`… | head`); Python would complain once more when it closes stdout.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            _leave(0)
        if isinstance(error, ClickException):
            say(*usage.in_our_words(error, arguments))
        elif debug:
            raise
        elif isinstance(error, DoctorError):
            say(*error.as_options(usage.options_of(typer.main.get_command(app), arguments)))
        else:
            place = "This is a defect of dataset-doctor. Add --debug to see where."
            say(f"internal error: {type(error).__name__}: {str(error)[:200]}", place)
        _leave(2)


def _leave(status: int) -> NoReturn:
    sys.exit(status)
