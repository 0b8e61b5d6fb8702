"""rebalance, split and convert: plan, show the plan, write it. What is planned is what is written."""

import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from dataset_doctor.cli.options import (
    ClassesOption,
    ConfigOption,
    Dataset,
    DebugOption,
    FormatChoice,
    FormatOption,
    ImagesOption,
    JsonOption,
    from_command_line,
    say,
    takes,
)
from dataset_doctor.errors import UsageError

if TYPE_CHECKING:
    from dataset_doctor.cli.progress import ProgressBar
    from dataset_doctor.treatments import ReadyPlan

MaterializeChoice = Literal["copy", "symlink", "hardlink", "list"]

Out = Annotated[Path, typer.Argument(metavar="OUT", help="A new folder for the result.")]
ToOption = Annotated[FormatChoice | None, typer.Option("--to", help="Format to write; by default the same.", show_default=False)]
MaterializeOption = Annotated[
    MaterializeChoice,
    typer.Option("--materialize", help="Copy images, link to them, or write lists only. Trainers may write through links."),
]  # fmt: skip
AllowErrorsOption = Annotated[bool, typer.Option("--allow-errors", help="Write in spite of label errors, without the broken records.")]
ForceOption = Annotated[bool, typer.Option("--force", help="Replace OUT if it is there.")]
SeedOption = Annotated[int, typer.Option("--seed", metavar="N", min=0, help="Where chance is used, the same N gives the same result.")]
DryRunOption = Annotated[bool, typer.Option("--dry-run", help="Show the plan, and write nothing.")]


RECORDS_SHOWN = 10


@dataclass(frozen=True)
class Rebalance:
    """What `rebalance` is asked."""

    context: typer.Context
    dataset: Dataset
    out: Out
    from_report: Annotated[
        Path | None,
        typer.Option("--from-report", metavar="FILE", help="Do what an audit's JSON report recommends.", show_default=False),
    ] = None
    recommendation: Annotated[
        str | None, typer.Option("--recommendation", metavar="ID", help="Which one: R3. By default the first.", show_default=False)
    ] = None
    method: Annotated[
        str | None,
        typer.Option("--method", metavar="M", help="How images are chosen; by default what the audit recommends.", show_default=False),
    ] = None
    target: Annotated[
        str, typer.Option("--target", metavar="T", help="Wanted final counts: uniform, sqrt, floor:N, or a CSV of class,count.")
    ] = "sqrt"
    budget: Annotated[
        float | None,
        typer.Option(
            "--budget",
            metavar="X",
            show_default=False,
            help="Images of an epoch, as a multiple of the split's: 1.5, and for optimal by default as few as the target takes.",
        ),
    ] = None
    max_repeat: Annotated[int, typer.Option("--max-repeat", metavar="R", help="How often an image may be shown.")] = 10
    min_repeat: Annotated[int, typer.Option("--min-repeat", metavar="N", min=0, max=1, help="For optimal: 0 lets it drop images.")] = 1
    threshold: Annotated[
        float | None,
        typer.Option(
            "--threshold",
            metavar="F",
            help="For repeat_factor and irfs: repeat classes in fewer than this share of images.",
            show_default=False,
        ),
    ] = None
    background: Annotated[
        str, typer.Option("--background", metavar="RATIO", help="Background images: keep, 1:2 (positive : background), or 10%.")
    ] = "keep"
    augment: Annotated[
        str | None,
        typer.Option(
            "--augment",
            metavar="LIST",
            help="Alter repeats: flip, crop, rotate, scale, color, noise …, or a preset: outdoor, aerial, text …",
            show_default=False,
        ),
    ] = None
    preview: Annotated[
        Path | None,
        typer.Option(
            "--preview", metavar="FILE", help="Also draw pictures that are made, beside their source: a .jpg.", show_default=False
        ),
    ] = None
    split: Annotated[
        str | None, typer.Option("--split", metavar="NAME", help="The split to change; by default train.", show_default=False)
    ] = None
    to: ToOption = None
    materialize: MaterializeOption = "copy"
    allow_errors: AllowErrorsOption = False
    force: ForceOption = False
    seed: SeedOption = 0
    dry_run: DryRunOption = False
    json: JsonOption = False
    format: FormatOption = None
    images: ImagesOption = None
    classes: ClassesOption = None
    config: ConfigOption = None
    debug: DebugOption = False


@takes(Rebalance)
def rebalance(asked: Rebalance) -> None:
    """Write a copy of a dataset in which rare classes are shown more often.

    Only one split changes, train where there is one. The dataset itself is never changed.

    Example: dataset-doctor rebalance my_dataset balanced --dry-run
    """
    from dataset_doctor.cli.progress import ProgressBar
    from dataset_doctor.treatments import check_preview
    from dataset_doctor.treatments import rebalance as plan_rebalance

    if asked.preview is not None:
        check_preview(asked.preview)
    # What the command line says goes before a recommendation; what is a default does not.
    given = [name for name in _HOW if asked.from_report is None or from_command_line(asked.context, name)]
    with ProgressBar() as progress:
        _check_out(asked)
        plan = plan_rebalance(
            asked.dataset,
            from_report=asked.from_report,
            recommendation=asked.recommendation,
            progress=progress,
            **{name: getattr(asked, name) for name in (*given, *_WRITING)},
        )
        if asked.preview is not None and plan.made is None:
            check_preview(asked.preview, plan.source)
            say("--preview draws images that are generated, and this plan generates none.", "Add --augment LIST, or --method copy_paste.")
        elif asked.preview is not None:
            plan.preview(asked.preview)
        _finish(asked, plan, progress)


@dataclass(frozen=True)
class Split:
    """What `split` is asked."""

    dataset: Dataset
    out: Out
    ratios: Annotated[str, typer.Option("--ratios", metavar="A/B/C", help="Shares of train, val and test.")] = "80/10/10"
    group_by: Annotated[
        str,
        typer.Option(
            "--group-by",
            metavar="WHAT",
            help="What stays together: near-duplicates (all that leaks), a REGEX that adds what it finds in the file's name, or none.",
        ),
    ] = "near-duplicates"
    freeze: Annotated[
        list[str], typer.Option("--freeze", metavar="NAME", help="Leave this split as it is. May be repeated.", show_default=False)
    ] = field(default_factory=list)
    to: ToOption = None
    materialize: MaterializeOption = "copy"
    allow_errors: AllowErrorsOption = False
    force: ForceOption = False
    seed: SeedOption = 0
    dry_run: DryRunOption = False
    json: JsonOption = False
    format: FormatOption = None
    images: ImagesOption = None
    classes: ClassesOption = None
    config: ConfigOption = None
    debug: DebugOption = False


@takes(Split)
def split(asked: Split) -> None:
    """Write a copy of a dataset, re-split into train, val and test, with the classes alike in each.

    What a check for leakage can see stays in one split: near-duplicates, copies of one source, frames of one video.

    The dataset itself is never changed.

    Example: dataset-doctor split my_dataset divided --ratios 80/20
    """
    from dataset_doctor.cli.progress import ProgressBar
    from dataset_doctor.split import IS_OFF
    from dataset_doctor.treatments import split as plan_split

    with ProgressBar() as progress:
        _check_out(asked)
        plan = plan_split(
            asked.dataset,
            ratios=asked.ratios,
            group_by=asked.group_by,
            freeze=",".join(asked.freeze),
            seed=asked.seed,
            progress=progress,
            **{name: getattr(asked, name) for name in _WRITING},
        )
        for text in plan.notes:
            if text.startswith(IS_OFF):
                say(text)
        _finish(asked, plan, progress)


@dataclass(frozen=True)
class Convert:
    """What `convert` is asked."""

    dataset: Dataset
    out: Out
    to: Annotated[FormatChoice | None, typer.Option("--to", help="Format to write.", show_default=False)] = None
    materialize: MaterializeOption = "copy"
    allow_errors: AllowErrorsOption = False
    force: ForceOption = False
    dry_run: DryRunOption = False
    json: JsonOption = False
    format: FormatOption = None
    images: ImagesOption = None
    classes: ClassesOption = None
    config: ConfigOption = None
    debug: DebugOption = False


@takes(Convert)
def convert(asked: Convert) -> None:
    """Write a dataset in another format; what that format cannot hold is listed.

    Example: dataset-doctor convert my_voc my_coco --to coco
    """
    from dataset_doctor.cli.progress import ProgressBar
    from dataset_doctor.formats import FORMATS
    from dataset_doctor.treatments import convert as plan_convert

    if asked.to is None:
        raise UsageError("--to FORMAT is missing.", f"Choose from: {', '.join(FORMATS)}.")
    with ProgressBar() as progress:
        _check_out(asked)
        plan = plan_convert(asked.dataset, progress=progress, **{name: getattr(asked, name) for name in _WRITING})
        _finish(asked, plan, progress)


_HOW = ("method", "target", "budget", "max_repeat", "min_repeat", "threshold", "background", "split", "seed", "augment")
"""Options that `balance.rebalance` takes under their names."""

_WRITING = ("to", "materialize", "allow_errors", "format", "images", "classes")
"""Options that each of the three takes under their names."""


def _check_out(asked: Rebalance | Split | Convert) -> None:
    """Refuse a place to write to before anything takes time."""
    from dataset_doctor.formats import check_place

    if (source := Path(asked.dataset)).exists():
        check_place(asked.out, source if source.is_dir() else source.parent, force=asked.force)


def _finish(asked: Rebalance | Split | Convert, plan: "ReadyPlan", progress: "ProgressBar") -> None:
    """Write what is planned unless this is a rehearsal, and show it."""
    import json as codec

    from dataset_doctor.findings import plural

    if not asked.dry_run:
        plan.write(asked.out, force=asked.force, progress=progress)
    progress.close()
    if records := plan.dropped.records:
        more = len(records) - RECORDS_SHOWN
        listed = [*records[:RECORDS_SHOWN], *([f"… {more:,} more, in OUT/dataset-doctor.json"] if more > 0 else [])]
        verb = "would be" if asked.dry_run else "was" if len(records) == 1 else "were"
        say(f"{plural(len(records), 'broken record')} {verb} left out:", "\n".join(listed))
    if asked.json:
        sys.stdout.write(codec.dumps(plan.to_dict(), indent=2) + "\n")
    else:
        plan.show(out=asked.out, written=not asked.dry_run)
