"""verify: train with and without, show what may be concluded, write it."""

import sys
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
    say,
    takes,
)

if TYPE_CHECKING:
    from dataset_doctor.verdict import Verdict

TaskChoice = Literal["classify", "detect"]
OptimizerChoice = Literal["sgd", "adam", "adamw", "rmsprop"]
TuneChoice = Literal["grid", "random", "bayes"]
PrecisionChoice = Literal["fp32", "bf16", "fp16"]


class FailOn(str, Enum):
    """Which answer makes the command exit with 1."""

    HURT = "hurt"
    NO_EVIDENCE = "no-evidence"
    NEVER = "never"


@dataclass(frozen=True)
class Options:
    """What the command is asked."""

    dataset: Dataset
    task: Annotated[
        TaskChoice | None,
        typer.Option("--task", help="Classify images or instances, or train a detector; by default what suits.", show_default=False),
    ] = None
    arms: Annotated[
        str | None,
        typer.Option(
            "--arms",
            metavar="ARM,ARM,…",
            help="What to compare with the baseline: a sampler, weights:SCHEME, a loss, posthoc_logit_adjusted[:TAU],"
            " augment:PRESET, background:RATIO, size:N, name=PATH of a manifest or weights file. By default what the audit recommends.",
            show_default=False,
        ),
    ] = None
    model: Annotated[
        str | None,
        typer.Option("--model", metavar="NAME[,NAME…]", help="cifar_resnet20, resnet18, …; several are compared.", show_default=False),
    ] = None
    weights: Annotated[
        str | None,
        typer.Option("--weights", metavar="WEIGHTS", help="Begin from a file of parameters, or torchvision's DEFAULT.", show_default=False),
    ] = None
    steps: Annotated[
        int | None, typer.Option("--steps", metavar="N", min=1, help="Optimiser steps of each training.", show_default=False)
    ] = None
    seeds: Annotated[int, typer.Option("--seeds", metavar="N", min=1, help="Trainings of each arm.")] = 3
    seed: Annotated[int, typer.Option("--seed", metavar="N", min=0, help="The first seed.")] = 0
    device: Annotated[str, typer.Option("--device", metavar="DEVICE", help="auto, cpu, cuda, cuda:1 or mps.")] = "auto"
    size: Annotated[int | None, typer.Option("--size", metavar="N", min=8, help="Side of the images in pixels.", show_default=False)] = None
    batch: Annotated[int | None, typer.Option("--batch", metavar="N", min=2, help="Images a step.", show_default=False)] = None
    augment: Annotated[
        str | None, typer.Option("--augment", metavar="PRESET", help="Augmentation of all arms; by default light.", show_default=False)
    ] = None
    optimizer: Annotated[
        OptimizerChoice | None, typer.Option("--optimizer", help="How steps are taken; by default adamw.", show_default=False)
    ] = None
    lr: Annotated[float | None, typer.Option("--lr", metavar="LR", help="Learning rate at its height.", show_default=False)] = None
    weight_decay: Annotated[
        float | None, typer.Option("--weight-decay", metavar="W", help="L2, or AdamW's decay; not on norms.", show_default=False)
    ] = None
    l1: Annotated[float | None, typer.Option("--l1", metavar="W", help="Weight of L1 in the loss.", show_default=False)] = None
    dropout: Annotated[float | None, typer.Option("--dropout", metavar="P", help="Before the last layer, 0 to 1.", show_default=False)] = (
        None
    )
    patience: Annotated[
        int | None, typer.Option("--patience", metavar="N", min=1, help="End after N looks without a gain.", show_default=False)
    ] = None
    freeze: Annotated[
        int | None, typer.Option("--freeze", metavar="N", min=0, help="Stages from the input that stay as they are.", show_default=False)
    ] = None
    layer_decay: Annotated[
        float | None,
        typer.Option("--layer-decay", metavar="X", help="Factor of the rate from a stage to the one before.", show_default=False),
    ] = None
    head_steps: Annotated[
        int | None, typer.Option("--head-steps", metavar="N", min=0, help="First train the last layer alone.", show_default=False)
    ] = None
    precision: Annotated[PrecisionChoice | None, typer.Option("--precision", help="By default bf16 on a GPU.", show_default=False)] = None
    compile: Annotated[bool, typer.Option("--compile", help="Use torch.compile.")] = False
    deterministic: Annotated[
        bool | None,
        typer.Option("--deterministic/--no-deterministic", help="The same numbers each time; by default on a CPU.", show_default=False),
    ] = None
    margin: Annotated[
        float | None, typer.Option("--margin", metavar="X", help="Context around instances that are cut out.", show_default=False)
    ] = None
    background_crops: Annotated[
        int, typer.Option("--background-crops", metavar="N", min=0, help="Crops of the background an image, as a class.")
    ] = 0
    tune: Annotated[
        TuneChoice | None,
        typer.Option("--tune", help="Search settings for every arm first, on the validation split.", show_default=False),
    ] = None
    trials: Annotated[
        int | None,
        typer.Option("--trials", metavar="N", min=1, help="Of that search, for each arm; by default 20, or the grid.", show_default=False),
    ] = None
    ensemble: Annotated[
        str | None,
        typer.Option("--ensemble", metavar="KIND[,KIND…]", help="Put models together: vote, mean, stack, or all.", show_default=False),
    ] = None
    learning_curve: Annotated[
        bool, typer.Option("--learning-curve", help="Train the baseline on less, to say what more data would bring.")
    ] = False
    state: Annotated[
        Path | None,
        typer.Option("--state", metavar="DIR", help="Where trainings are kept; by default the user's cache.", show_default=False),
    ] = None
    output: Annotated[
        list[Path],
        typer.Option(
            "-o",
            "--output",
            metavar="FILE",
            help="Write the verdict: .json, .html, .md, or .csv (a table of classes), by the suffix. May be repeated.",
        ),
    ] = field(default_factory=list)
    json: JsonOption = False
    fail_on: Annotated[FailOn, typer.Option("--fail-on", help="Exit with 1 if an arm hurt, or if none helped.")] = FailOn.NEVER
    format: FormatOption = None
    images: ImagesOption = None
    classes: ClassesOption = None
    config: ConfigOption = None
    debug: DebugOption = False


@takes(Options)
def verify(asked: Options) -> None:
    """Train with and without a treatment, and say whether it helped, hurt, or nothing can be said.

    All arms have the same images, steps, initial parameters and chance. Interrupted, it goes on when called again.

    Example: dataset-doctor verify my_dataset --arms baseline,weights:sqrt,repeat_factor -o verdict.json
    """
    from dataset_doctor.cli.progress import ProgressBar
    from dataset_doctor.formats import read
    from dataset_doctor.report.verdict import files as verdict_files
    from dataset_doctor.trials import verify as run_verify

    verdict_files.check_targets(asked.output)
    arguments = {name: getattr(asked, name) for name in _ARGUMENTS}
    settings = {name: value for name in _SETTINGS if (value := getattr(asked, name)) is not None}
    try:
        with ProgressBar() as progress:
            columns = read(asked.dataset, asked.format, images=asked.images, classes=asked.classes, progress=progress)
            verdict = run_verify(columns, settings=settings, state_dir=asked.state or "default", progress=progress, **arguments)
    except KeyboardInterrupt:
        say("interrupted.", "The same command goes on where this one stopped.")
        raise typer.Exit(130) from None
    for path in asked.output:
        verdict_files.save(verdict, path, root=str(columns.root), images=None if asked.images is None else str(asked.images))
    if asked.json:
        sys.stdout.write(verdict_files.json_file(verdict))
    else:
        from rich.console import Console

        from dataset_doctor.report.verdict.terminal import show

        show(verdict, Console(), name=asked.dataset)
    raise typer.Exit(int(_failed(verdict, asked.fail_on)))


_ARGUMENTS = (
    "task", "arms", "model", "steps", "seeds", "seed", "device", "margin", "background_crops", "tune", "trials", "ensemble",
    "learning_curve",
)  # fmt: skip
"""Options that `trials.verify` takes under their names."""

_SETTINGS = (
    "weights", "size", "batch", "augment", "optimizer", "lr", "weight_decay", "l1", "dropout", "patience", "freeze", "layer_decay",
    "head_steps", "precision", "compile", "deterministic",
)  # fmt: skip
"""Options that are fields of `Settings`; None leaves what suits the task and device."""


def _failed(verdict: "Verdict", fail_on: FailOn) -> bool:
    words = [arm.verdict for arm in verdict.arms if arm.verdict is not None]
    if fail_on is FailOn.HURT:
        return "hurt" in words
    return fail_on is FailOn.NO_EVIDENCE and "helped" not in words
