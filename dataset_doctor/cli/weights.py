"""weights: count, weigh, show, write."""

import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from dataset_doctor.cli.options import (
    ClassesOption,
    ConfigOption,
    Dataset,
    DebugOption,
    FormatOption,
    ImagesOption,
    JsonOption,
    from_command_line,
    say,
    takes,
)

SchemeChoice = Literal["uniform", "inverse", "balanced", "sqrt", "power", "median", "effective", "enet"]
TRAINERS = "torch|torchvision|ultralytics|yolov5|mmdet|detectron2|keras|hf|sklearn"


@dataclass(frozen=True)
class Options:
    """What the command is asked."""

    context: typer.Context
    dataset: Dataset
    scheme: Annotated[SchemeChoice, typer.Option("--scheme", help="How counts become weights.")] = "inverse"
    beta: Annotated[
        float | None,
        typer.Option("--beta", metavar="B", help="For effective, 0 to 1; by default 1 - 1/median count.", show_default=False),
    ] = None
    power: Annotated[
        float | None,
        typer.Option("--power", metavar="G", help="For power: 0 gives equal weights, 1 those of inverse.", show_default=False),
    ] = None
    cap: Annotated[
        float | None, typer.Option("--cap", metavar="C", help="Bound of the largest weight ÷ the smallest.", show_default=False)
    ] = None
    normalize: Annotated[
        Literal["none", "mean", "sample"] | None,
        typer.Option(
            "--normalize",
            help="Make the weights of the classes (mean) or of the labels (sample) average 1; by default none, with --for sample.",
            show_default=False,
        ),
    ] = None
    count: Annotated[
        Literal["instances", "images", "area"], typer.Option("--count", help="What is counted: labels, images that hold the class, pixels.")
    ] = "instances"
    split: Annotated[
        str | None, typer.Option("--split", metavar="NAME", help="The split to count; by default train.", show_default=False)
    ] = None
    after: Annotated[
        Path | None,
        typer.Option("--after", metavar="FILE", help="A plan or manifest of rebalance: weigh what it leaves.", show_default=False),
    ] = None
    trainer: Annotated[
        str | None,
        typer.Option(
            "--for",
            metavar=TRAINERS,
            help="Print, or write with -o, what this trainer takes; the weights of the labels then average 1. yolov8 and the like are"
            " Ultralytics.",
            show_default=False,
        ),
    ] = None
    output: Annotated[
        list[Path],
        typer.Option("-o", "--output", metavar="FILE", help="Write .json, .yaml, .csv, .npy, .pt, or the file of --for. May be repeated."),
    ] = field(default_factory=list)
    json: JsonOption = False
    format: FormatOption = None
    images: ImagesOption = None
    classes: ClassesOption = None
    config: ConfigOption = None
    debug: DebugOption = False


@takes(Options)
def weights(asked: Options) -> None:
    """Weigh the classes of a dataset by how many labels each has, for a loss or a sampler.

    A class without labels gets weight 1 and a warning. With --for and no file for it, the trainer's file alone is printed.

    Example: dataset-doctor weights my_dataset --scheme effective --for torch -o weights.py
    """
    from rich.console import Console

    from dataset_doctor.cli.progress import ProgressBar
    from dataset_doctor.formats import read
    from dataset_doctor.report import weight_files
    from dataset_doctor.report.audit.json import document
    from dataset_doctor.report.weights import show
    from dataset_doctor.weights import SCHEMES, export, find_trainer
    from dataset_doctor.weights import weights as weigh

    trainer = None if asked.trainer is None else find_trainer(asked.trainer)
    weight_files.check_targets(asked.output, trainer)
    # A number in the configuration is for the scheme in the configuration.
    chosen: dict[str, Any] = {
        name: value
        for name, value in (("beta", asked.beta), ("power", asked.power))
        if SCHEMES[asked.scheme].parameter == name or from_command_line(asked.context, name)
    }
    with ProgressBar() as progress:
        columns = read(asked.dataset, asked.format, images=asked.images, classes=asked.classes, progress=progress)
    how = {name: getattr(asked, name) for name in ("normalize", "after", "cap", "count", "split")}
    weighed = weigh(columns, asked.scheme, trainer=trainer, **how, **chosen)
    for path in asked.output:
        weight_files.save(weighed, path, root=str(columns.root), trainer=trainer)
    is_written = any(weight_files.is_export(path, trainer) for path in asked.output)
    if asked.json:
        sys.stdout.write(document(weight_files.plain(weighed, trainer)))
    elif trainer is not None and not is_written:
        text = export(trainer, weighed)
        sys.stdout.write(text.encode(sys.stdout.encoding, "backslashreplace").decode(sys.stdout.encoding))
    else:
        show(weighed, Console(), name=asked.dataset, options=_given(asked.context), written=asked.output)
        return
    for warning in weighed.warnings:
        say(warning)


def _given(context: typer.Context) -> dict[str, str]:
    """Give the options of the command line that say what to weigh and how, in the order of the help."""
    others = {"dataset", "trainer", "output", "json", "debug"}
    return {
        parameter.opts[0]: repr(value).removesuffix(".0") if isinstance(value := context.params[parameter.name], float) else str(value)
        for parameter in context.command.params
        if parameter.name and parameter.name not in others and from_command_line(context, parameter.name)
    }
