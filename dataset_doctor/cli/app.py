"""The commands: parse, call, show, exit. No arithmetic, no file parsing; the library does both."""

import os
import sys
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer

from dataset_doctor.cli import bus_error, interrupt, usage
from dataset_doctor.cli.audit import audit
from dataset_doctor.cli.options import (
    DebugOption,
    FormatChoice,
    JsonOption,
    say,
)
from dataset_doctor.cli.treatments import convert, rebalance, split
from dataset_doctor.cli.verify import verify
from dataset_doctor.cli.weights import weights
from dataset_doctor.errors import DoctorError

app = typer.Typer(
    name="dataset-doctor",
    help="Audit, treat and verify computer-vision datasets: COCO, Pascal VOC, YOLO, LabelMe and image folders.",
    epilog="Begin with: dataset-doctor audit my_dataset",
    add_completion=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)


ClickException: type[Any] = typer.BadParameter.__mro__[2]
"""The base of all complaints about the command line, in whichever click typer stands on (newer ones carry their own)."""


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


app.command()(audit)


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


@app.command(short_help="Write a small synthetic dataset with planted defects.")
def demo(
    out: Annotated[Path, typer.Argument(metavar="OUT", help="A new folder.")],
    format: Annotated[FormatChoice, typer.Option("--format", help="How the images are labelled.")] = "coco",
    force: Annotated[bool, typer.Option("--force", help="Replace the folder of an earlier demonstration.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be written, and write nothing.")] = False,
    json: JsonOption = False,
    debug: DebugOption = False,
) -> None:
    """Write a small synthetic dataset: as it should be, and with one planted defect a check.

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
app.command(short_help="Write a copy that is re-split into train, val and test.")(split)
app.command(short_help="Write a copy in another format.")(convert)
app.command(short_help="Weigh the classes by how many labels each has.")(weights)
app.command(short_help="Train with and without a treatment: did it help?")(verify)


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
