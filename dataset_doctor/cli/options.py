"""Options and words that several commands share."""

import dataclasses
import inspect
import os
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeVar, get_type_hints

import typer

if TYPE_CHECKING:
    from dataset_doctor.cli.config import Kind
    from dataset_doctor.findings import Settings

Record = TypeVar("Record")

FormatChoice = Literal["coco", "voc", "yolo", "labelme", "folder"]
"""The names in `formats.FORMATS`, which help must not load; a test compares them."""


def _configure(context: typer.Context, parameter: typer.CallbackParam, value: str | None) -> str | None:
    """Take defaults from the configuration file before the other options are looked at."""
    from dataset_doctor.cli import config

    path = Path(value) if value else config.find(Path.cwd())
    if path is not None:
        commands = context.parent.command.commands.values() if context.parent else ()  # type: ignore[attr-defined]
        elsewhere = {option for command in commands for option in _options(command)}
        context.obj = config.load(path, _options(context.command), elsewhere)
        context.default_map = {**context.obj.defaults, **(context.default_map or {})}
    return value


def _options(command: Any) -> "dict[str, Kind]":
    """List the options of a command that a configuration file may set, and what they take."""
    kinds: dict[str, Kind] = {}
    for parameter in command.params:
        is_path = parameter.metavar in ("FILE", "DIR")
        if parameter.param_type_name != "option" or parameter.name == "config":
            continue
        kind: Kind = "path" if is_path else "text"
        if parameter.is_flag:
            kind = "flag"
        elif parameter.multiple:
            kind = "paths" if is_path else "list"
        kinds[parameter.name.replace("_", "-")] = kind
    return kinds


# As typed: a Path would drop "./" and a closing slash.
Dataset = Annotated[str, typer.Argument(metavar="DATASET", help="A folder, or a data.yaml, obj.data, COCO .json or VOC .xml.")]
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
SetOption = Annotated[
    list[str],
    typer.Option("--set", metavar="CODE.NAME=VALUE", help="Change a threshold of a check, as `explain CODE` lists them. May be repeated."),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON document on stdout and nothing else.")]
DebugOption = Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")]


def takes(record: type[Record]) -> Callable[[Callable[[Record], None]], Callable[..., None]]:
    """Make the fields of a dataclass the argument and options of a command, which is then called with the record."""
    hints = get_type_hints(record, include_extras=True)
    parameters = []
    for one in dataclasses.fields(record):  # type: ignore[arg-type]
        default = one.default if one.default_factory is dataclasses.MISSING else one.default_factory()
        default = inspect.Parameter.empty if default is dataclasses.MISSING else default
        parameters.append(inspect.Parameter(one.name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=hints[one.name]))

    def decorate(body: Callable[[Record], None]) -> Callable[..., None]:
        def command(**values: Any) -> None:
            body(record(**values))

        command.__name__, command.__doc__ = body.__name__, body.__doc__
        command.__annotations__ = hints
        command.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
        return command

    return decorate


def from_command_line(context: typer.Context, name: str) -> bool:
    """Tell whether an option was given on the command line, as against the configuration or its default."""
    source = context.get_parameter_source(name)
    return source is not None and source.name == "COMMANDLINE"


def chosen_thresholds(context: typer.Context, texts: list[str]) -> "Settings":
    """Take the thresholds of the configuration file, and then those of `--set`."""
    from dataset_doctor.checks.settings import merged, parsed

    return merged(context.obj.thresholds if context.obj else {}, parsed(texts))


def say(message: str, more: str = "") -> None:
    """Print a message to stderr; on a terminal long lines break between words, commands excepted, which are to be copied."""
    from dataset_doctor.report.text import printable

    lines = [f"dataset-doctor: {printable(message)}"]
    lines += [f"  {printable(line.strip())}" for line in more.splitlines() if line.strip()]
    if sys.stderr.isatty():
        width = max(40, os.get_terminal_size(sys.stderr.fileno()).columns)
        wrapped = (
            [line] if line.startswith("  dataset-doctor ") else textwrap.wrap(line, width, subsequent_indent="  ", break_long_words=False,
                                                                              break_on_hyphens=False)
            for line in lines
        )  # fmt: skip
        lines = [part for parts in wrapped for part in parts]
    sys.stderr.write("\n".join(lines) + "\n")
