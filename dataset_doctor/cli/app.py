"""The commands: parse, call, show, exit. No arithmetic, no file parsing; the library does both."""

import os
import sys
from enum import Enum
from pathlib import Path
from typing import Annotated, Any, Literal, NoReturn

import typer

from dataset_doctor.errors import DoctorError, UsageError, did_you_mean

app = typer.Typer(
    name="dataset-doctor",
    help="Audit, treat and verify computer-vision datasets: COCO, Pascal VOC, YOLO and image folders.",
    no_args_is_help=True,
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

FormatChoice = Literal["coco", "voc", "yolo", "folder"]


def _configure(context: typer.Context, parameter: typer.CallbackParam, value: str | None) -> str | None:
    """Take defaults from the configuration file before the other options are looked at."""
    from dataset_doctor.cli import config

    path = Path(value) if value else config.find(Path.cwd())
    if path is not None:
        known = [p.name.replace("_", "-") for p in context.command.params if p.name and p.name not in ("dataset", "config")]
        context.default_map = {**config.load(path, known), **(context.default_map or {})}
    return value


Dataset = Annotated[Path, typer.Argument(metavar="DATASET", help="A folder, or a data.yaml, obj.data, COCO .json or VOC .xml.")]
FormatOption = Annotated[FormatChoice | None, typer.Option("--format", help="Override the detected format.", show_default=False)]
ImagesOption = Annotated[
    Path | None, typer.Option("--images", metavar="DIR", help="Where the images are; may lie outside DATASET.", show_default=False)
]
ClassesOption = Annotated[
    Path | None, typer.Option("--classes", metavar="FILE", help="Class names, one a line, in class order.", show_default=False)
]
ConfigOption = Annotated[
    str | None,
    typer.Option("--config", metavar="FILE", help="Configuration file to use.", is_eager=True, callback=_configure, show_default=False),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON document on stdout and nothing else.")]


@app.callback(invoke_without_command=True)
def root(
    context: typer.Context,
    version: Annotated[bool, typer.Option("--version", help="Print the version and exit.", is_eager=True)] = False,
) -> None:
    """Audit, treat and verify computer-vision datasets: COCO, Pascal VOC, YOLO and image folders."""
    if version:
        from importlib.metadata import version as installed

        typer.echo(installed("dataset-doctor-vision"))
        raise typer.Exit


@app.command()
def audit(
    dataset: Dataset,
    output: Annotated[
        list[Path], typer.Option("-o", "--output", metavar="FILE", help="Write a report: .json, .md or .csv. May be repeated.")
    ] = [],  # noqa: B006 (typer copies it)
    json: JsonOption = False,
    pixels: Annotated[bool, typer.Option("--pixels/--no-pixels", help="Look into the image files, not only at their sizes.")] = True,
    select: Annotated[list[str], typer.Option("--select", metavar="CODES", help="Run only these checks: DD101, DD1, names.")] = [],  # noqa: B006
    ignore: Annotated[list[str], typer.Option("--ignore", metavar="CODES", help="Leave these checks out.")] = [],  # noqa: B006
    fail_on: Annotated[FailOn, typer.Option("--fail-on", help="Exit with 1 from this severity on.")] = FailOn.ERROR,
    strict: Annotated[bool, typer.Option("--strict", help="Exit with 1 if a check could not run.")] = False,
    locations: Annotated[str, typer.Option("--locations", metavar="N|all", help="Places to list for each finding.")] = "100",
    format: FormatOption = None,
    images: ImagesOption = None,
    classes: ClassesOption = None,
    config: ConfigOption = None,
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")] = False,
) -> None:
    """Count what a dataset holds and look for defects.

    Exits with 0 when nothing at or above --fail-on was found, 1 when something was, 2 when it could not run.

    Example: dataset-doctor audit my_dataset -o report.json
    """
    from dataset_doctor import report as reports
    from dataset_doctor.audit import audit as run_audit
    from dataset_doctor.checks import select as choose
    from dataset_doctor.cli.progress import ProgressBar
    from dataset_doctor.findings import Severity
    from dataset_doctor.formats import read

    checks = choose(_codes(select), _codes(ignore))
    shown_locations = _locations(locations)
    for path in output:
        reports.check_target(path)
    options: dict[str, str | int | float | bool | None] = {
        "pixels": pixels,
        "select": ",".join(select),
        "ignore": ",".join(ignore),
        "fail_on": fail_on.value,
        "strict": strict,
    }
    with ProgressBar() as progress:
        columns = read(dataset, format, images=images, classes=classes, progress=progress)
    result = run_audit(columns, checks=checks, locations=shown_locations, options=options)
    for path in output:
        reports.save(result, path)
    if json:
        sys.stdout.write(reports.render(result, ".json"))
    else:
        reports.show(result, name=dataset.resolve().name)
    worst = result.worst()
    failed = fail_on is not FailOn.NEVER and worst is not None and worst.rank >= Severity(fail_on.value).rank
    raise typer.Exit(int(failed or (strict and bool(result.not_run))))


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


def _codes(values: list[str]) -> list[str]:
    return [code.strip() for value in values for code in value.split(",") if code.strip()]


def _locations(value: str) -> int | None:
    if value == "all":
        return None
    if value.isascii() and value.isdigit():
        return int(value)
    raise UsageError(f"--locations {value} is neither a number nor `all`.")


def main(arguments: list[str] | None = None) -> NoReturn:
    """Run the command line; every error becomes one or two lines on stderr and an exit code."""
    arguments = sys.argv[1:] if arguments is None else arguments
    debug = "--debug" in arguments
    try:
        status = app(arguments, prog_name="dataset-doctor", standalone_mode=False)
        sys.stdout.flush()
        _leave(status if isinstance(status, int) else 0)
    except DoctorError as error:
        if debug:
            raise
        _complain(error.message, error.hint)
        _leave(2)
    except (typer.Abort, KeyboardInterrupt):
        _complain("interrupted.")
        _leave(130)
    except ClickException as error:
        _complain(*_usage(error))
        _leave(2)
    except BrokenPipeError:
        # Who reads us has seen enough (`… | head`); Python would complain once more when it closes stdout.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        _leave(0)
    except Exception as error:
        if debug:
            raise
        _complain(
            f"internal error: {type(error).__name__}: {str(error)[:200]}", "This is a defect of dataset-doctor. Add --debug to see where."
        )
        _leave(2)


def _usage(error: Any) -> tuple[str, str]:
    """Put a complaint about the command line into our words."""
    message = str(error.format_message()).strip().replace("\n", " ")
    context = getattr(error, "ctx", None)
    if hasattr(error, "option_name") and hasattr(error, "possibilities") and context:
        known = [option for parameter in context.command.params for option in parameter.opts if option.startswith("--")]
        return f"{error.option_name} is not an option.", did_you_mean(error.option_name, known)
    if message.startswith("No such command") and context:
        word = message.split("'")[1]
        return f"{word} is not a command.", did_you_mean(word, context.command.commands)
    return message, f"See {context.command_path} --help." if context else ""


def _complain(message: str, hint: str = "") -> None:
    from dataset_doctor.report.text import printable

    lines = [f"dataset-doctor: {printable(message)}"]
    lines += [f"  {printable(line.strip())}" for line in hint.splitlines() if line.strip()]
    sys.stderr.write("\n".join(lines) + "\n")


def _leave(status: int) -> NoReturn:
    sys.exit(status)
