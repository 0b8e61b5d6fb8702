"""rebalance, split and convert: plan, show the plan, write it. What is planned is what is written."""

import dataclasses
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, get_args

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
)
from dataset_doctor.errors import UsageError, did_you_mean

if TYPE_CHECKING:
    from dataset_doctor.cli.progress import ProgressBar
    from dataset_doctor.dataset import Dataset as Columns
    from dataset_doctor.dataset import FormatName
    from dataset_doctor.plan import Plan

MAX_REPORT_BYTES = 1 << 30

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

ERRORS_SHOWN, RECORDS_SHOWN = 8, 10


def rebalance(
    context: typer.Context,
    dataset: Dataset,
    out: Out,
    from_report: Annotated[
        Path | None,
        typer.Option("--from-report", metavar="FILE", help="Do what an audit's JSON report recommends.", show_default=False),
    ] = None,
    recommendation: Annotated[
        str | None, typer.Option("--recommendation", metavar="ID", help="Which one: R3. By default the first.", show_default=False)
    ] = None,
    method: Annotated[
        str | None,
        typer.Option("--method", metavar="M", help="How images are chosen; by default what the audit recommends.", show_default=False),
    ] = None,
    target: Annotated[
        str, typer.Option("--target", metavar="T", help="Wanted final counts: uniform, sqrt, floor:N, or a CSV of class,count.")
    ] = "sqrt",
    budget: Annotated[
        float | None,
        typer.Option(
            "--budget",
            metavar="X",
            show_default=False,
            help="Images of an epoch, as a multiple of the split's: 1.5, and for optimal by default as few as the target takes.",
        ),
    ] = None,
    max_repeat: Annotated[int, typer.Option("--max-repeat", metavar="R", help="How often an image may be shown.")] = 10,
    min_repeat: Annotated[int, typer.Option("--min-repeat", metavar="N", min=0, max=1, help="For optimal: 0 lets it drop images.")] = 1,
    threshold: Annotated[
        float | None,
        typer.Option(
            "--threshold",
            metavar="F",
            help="For repeat_factor and irfs: repeat classes in fewer than this share of images.",
            show_default=False,
        ),
    ] = None,
    background: Annotated[
        str, typer.Option("--background", metavar="RATIO", help="Background images: keep, 1:2 (positive : background), or 10%.")
    ] = "keep",
    augment: Annotated[
        str | None,
        typer.Option(
            "--augment",
            metavar="LIST",
            help="Alter repeats: flip, crop, rotate, scale, color, noise …, or a preset: outdoor, aerial, text …",
            show_default=False,
        ),
    ] = None,
    preview: Annotated[
        Path | None,
        typer.Option(
            "--preview", metavar="FILE", help="Also draw pictures that are made, beside their source: a .jpg.", show_default=False
        ),
    ] = None,
    split: Annotated[
        str | None, typer.Option("--split", metavar="NAME", help="The split to change; by default train.", show_default=False)
    ] = None,
    to: ToOption = None,
    materialize: MaterializeOption = "copy",
    allow_errors: AllowErrorsOption = False,
    force: ForceOption = False,
    seed: SeedOption = 0,
    dry_run: DryRunOption = False,
    json: JsonOption = False,
    format: FormatOption = None,
    images: ImagesOption = None,
    classes: ClassesOption = None,
    config: ConfigOption = None,
    debug: DebugOption = False,
) -> None:
    """Write a copy of a dataset in which rare classes are shown more often.

    Only one split changes, train where there is one. The dataset itself is never changed.

    Example: dataset-doctor rebalance my_dataset balanced --dry-run
    """  # fmt: skip
    from dataset_doctor.balance import rebalance as plan_rebalance
    from dataset_doctor.cli.progress import ProgressBar
    from dataset_doctor.report import check_file

    wanted: dict[str, Any] = {
        "method": method, "target": target, "budget": budget, "max_repeat": max_repeat, "min_repeat": min_repeat, "threshold": threshold,
        "background": background, "split": split, "seed": seed, "augment": augment,
    }  # fmt: skip
    if preview is not None:
        if preview.suffix.lower() not in (".jpg", ".jpeg"):
            raise UsageError(f"--preview {preview} is no .jpg.", "The sheet is written as JPEG.")
        check_file(preview)
    if recommendation is not None and from_report is None:
        raise UsageError("--recommendation is for --from-report FILE.", "Add the JSON report it stands in, or leave it out.")
    with ProgressBar() as progress:
        columns = _read(dataset, out, format, images, classes, force, progress)
        if preview is not None and preview.resolve().is_relative_to(columns.root.resolve()):
            raise UsageError(f"--preview {preview} lies in the dataset.", "Name a file outside it: the input is never changed.")
        if from_report is not None:
            given = {name: value for name, value in wanted.items() if from_command_line(context, name)}
            wanted |= _recommended(from_report, recommendation, columns) | given
        name = dict(zip(columns.split_spelling, columns.splits, strict=True)).get(wanted["split"], wanted["split"]) or columns.default_split
        left_out = _left_out(columns, to, allow_errors, split=name if name in columns.splits else None)
        plan = plan_rebalance(columns, left_out=left_out, progress=progress, **wanted)
        if preview is not None:
            _preview(columns, plan, preview)
        _finish(columns, plan, dataset, out, to, materialize, force, dry_run, json, progress)


def split(
    dataset: Dataset,
    out: Out,
    ratios: Annotated[str, typer.Option("--ratios", metavar="A/B/C", help="Shares of train, val and test.")] = "80/10/10",
    group_by: Annotated[
        str,
        typer.Option(
            "--group-by",
            metavar="WHAT",
            help="What stays together: near-duplicates (all that leaks), a REGEX that adds what it finds in the file's name, or none.",
        ),
    ] = "near-duplicates",
    freeze: Annotated[
        list[str], typer.Option("--freeze", metavar="NAME", help="Leave this split as it is. May be repeated.", show_default=False)
    ] = [],  # noqa: B006 (typer copies it)
    to: ToOption = None,
    materialize: MaterializeOption = "copy",
    allow_errors: AllowErrorsOption = False,
    force: ForceOption = False,
    seed: SeedOption = 0,
    dry_run: DryRunOption = False,
    json: JsonOption = False,
    format: FormatOption = None,
    images: ImagesOption = None,
    classes: ClassesOption = None,
    config: ConfigOption = None,
    debug: DebugOption = False,
) -> None:
    """Write a copy of a dataset, re-split into train, val and test, with the classes alike in each.

    What a check for leakage can see stays in one split: near-duplicates, copies of one source, frames of one video.

    The dataset itself is never changed.

    Example: dataset-doctor split my_dataset divided --ratios 80/20
    """  # fmt: skip
    from dataset_doctor.cli.progress import ProgressBar
    from dataset_doctor.split import IS_OFF, parse_ratios
    from dataset_doctor.split import split as plan_split

    shares = parse_ratios(ratios)
    frozen = [name.strip() for value in freeze for name in value.split(",") if name.strip()]
    with ProgressBar() as progress:
        columns = _read(dataset, out, format, images, classes, force, progress)
        left_out = _left_out(columns, to, allow_errors)
        plan = plan_split(columns, ratios=shares, group_by=group_by, freeze=frozen, seed=seed, left_out=left_out, progress=progress)
        for text in plan.notes:
            if text.startswith(IS_OFF):
                say(text)
        _finish(columns, plan, dataset, out, to, materialize, force, dry_run, json, progress)


def convert(
    dataset: Dataset,
    out: Out,
    to: Annotated[FormatChoice | None, typer.Option("--to", help="Format to write.", show_default=False)] = None,
    materialize: MaterializeOption = "copy",
    allow_errors: AllowErrorsOption = False,
    force: ForceOption = False,
    dry_run: DryRunOption = False,
    json: JsonOption = False,
    format: FormatOption = None,
    images: ImagesOption = None,
    classes: ClassesOption = None,
    config: ConfigOption = None,
    debug: DebugOption = False,
) -> None:
    """Write a dataset in another format; what that format cannot hold is listed.

    Example: dataset-doctor convert my_voc my_coco --to coco
    """
    import numpy as np

    from dataset_doctor.cli.progress import ProgressBar
    from dataset_doctor.plan import make_plan

    if to is None:
        raise UsageError("--to FORMAT is missing.", f"Choose from: {', '.join(get_args(FormatChoice))}.")
    with ProgressBar() as progress:
        columns = _read(dataset, out, format, images, classes, force, progress)
        left_out = _left_out(columns, to, allow_errors)
        plan = make_plan(columns, np.arange(columns.n_images), command="convert", left_out=left_out)
        _finish(columns, plan, dataset, out, to, materialize, force, dry_run, json, progress)


# Shared by the three ------------------------------------------------------------------------------------------------


def _read(
    dataset: str, out: Path, format: str | None, images: Path | None, classes: Path | None, force: bool, progress: "ProgressBar"
) -> "Columns":
    """Read the dataset; refuse a place to write to before anything takes time."""
    from dataset_doctor.formats import check_place, read

    if (source := Path(dataset)).exists():
        check_place(out, source if source.is_dir() else source.parent, force=force)
    return read(dataset, format, images=images, classes=classes, progress=progress)


def _preview(columns: "Columns", plan: "Plan", file: Path) -> None:
    """Write a sheet of pictures that are made; not into the dataset, where it would be one more image."""
    from dataset_doctor.report import write
    from dataset_doctor.report.sheet import sheet

    if plan.made is None:
        say("--preview draws pictures that are made, and this plan makes none.", "Add --augment LIST, or --method copy_paste.")
        return
    write(file, sheet(columns, plan))


def _left_out(columns: "Columns", to: "FormatName | None", allow_errors: bool, *, split: str | None = None) -> Any:
    """Refuse to leave label records out, with the errors they have; where that is allowed, give the rows that cannot be written.

    `split` is the only one that changes; None where all do.
    """
    from dataset_doctor.audit import label_errors
    from dataset_doctor.findings import plural
    from dataset_doctor.formats import left_out

    target = to or columns.format
    found = left_out(columns, target, split=split)
    if len(found) and not allow_errors:
        errors = label_errors(columns, found, split)
        listed = [f"{finding.code} {finding.name}: {finding.message}" for finding in errors[:ERRORS_SHOWN]]
        if len(errors) > ERRORS_SHOWN:
            listed.append(f"… {len(errors) - ERRORS_SHOWN:,} more")
        raise UsageError(
            f"{plural(len(found), 'label record')} would be left out; nothing was written.",
            "\n".join([*listed, f"Fix {'it' if len(found) == 1 else 'them'}, or add --allow-errors to write without."]),
        )
    return found.rows


def _finish(
    columns: "Columns",
    plan: "Plan",
    dataset: str,
    out: Path,
    to: "FormatName | None",
    materialize: MaterializeChoice,
    force: bool,
    dry_run: bool,
    json: bool,
    progress: "ProgressBar",
) -> None:
    """Complete the plan with what writing costs, write it unless this is a rehearsal, and show it."""
    import json as codec

    from dataset_doctor.formats import disk_bytes, find_format, losses, write

    target = to or columns.format
    treated = plan.apply(columns)
    plan = dataclasses.replace(plan, loses=losses(treated, target), disk_bytes=disk_bytes(treated, target, materialize))
    if not dry_run:
        treated = dataclasses.replace(treated, plan=plan.to_dict())
        options = {"command": plan.command, "to": target, "materialize": materialize}
        write(treated, out, target, materialize=materialize, force=force, options=options, progress=progress)
    progress.close()
    if plan.dropped.records:
        from dataset_doctor.findings import plural

        more = len(plan.dropped.records) - RECORDS_SHOWN
        listed = [*plan.dropped.records[:RECORDS_SHOWN], *([f"… {more:,} more, in OUT/dataset-doctor.json"] if more > 0 else [])]
        n = len(plan.dropped.records)
        verb = "would be" if dry_run else "was" if n == 1 else "were"
        say(f"{plural(n, 'broken record')} {verb} left out:", "\n".join(listed))
    if json:
        sys.stdout.write(codec.dumps(plan.to_dict(), indent=2) + "\n")
        return
    from rich.console import Console

    from dataset_doctor.report.plan import show

    show(plan, Console(), name=dataset, out=str(out), target=find_format(target).title, written=not dry_run)


def _recommended(path: Path, wanted: str | None, columns: "Columns") -> dict[str, Any]:
    """Take what `rebalance` needs from a recommendation of an audit's JSON report.

    Raises:
        UsageError: no report of an audit, one of another dataset, or none of its recommendations can be carried out by `rebalance`.
    """
    import msgspec

    from dataset_doctor.files.reading import Unreadable, read_regular
    from dataset_doctor.formats import fingerprint

    try:
        report = msgspec.json.decode(read_regular(path, MAX_REPORT_BYTES))
    except (Unreadable, ValueError, msgspec.DecodeError, RecursionError) as error:
        reason = str(error) if isinstance(error, Unreadable) else "no JSON"
        raise UsageError(f"--from-report {path}: {reason}.", "Make one with dataset-doctor audit DATASET -o audit.json") from error
    if (
        not isinstance(report, dict)
        or report.get("schema") != "dataset-doctor/report"
        or not isinstance(report.get("recommendations"), list)
    ):
        raise UsageError(f"--from-report {path} is no report of an audit.", "Make one with dataset-doctor audit DATASET -o audit.json")
    described = report.get("dataset")
    if not isinstance(described, dict) or described.get("fingerprint") != fingerprint(columns):
        raise UsageError(f"{path} reports on another dataset, or on another state of this one.", "Audit it again with -o audit.json")
    known = [entry for entry in report["recommendations"] if isinstance(entry, dict) and isinstance(entry.get("id"), str)]
    # What is predicted goes before pictures that are made.
    known.sort(key=lambda entry: entry.get("action") == "augment")
    usable = {entry["id"]: entry["parameters"] for entry in known if _is_usable(entry)}
    if wanted is not None and wanted not in usable:
        if wanted in {entry["id"] for entry in known}:
            raise UsageError(f"rebalance cannot carry out {wanted}.", f"It can: {', '.join(usable) or 'none of this report'}.")
        raise UsageError(f"{path} holds no recommendation {wanted}.", did_you_mean(wanted, usable) if usable else "")
    if not usable:
        raise UsageError(f"{path} recommends nothing that rebalance can do.", "Choose a way yourself with --method.")
    chosen = usable[wanted or next(iter(usable))]
    return {name: chosen[name] for name in _PARAMETERS if name in chosen}


_PARAMETERS: dict[str, tuple[type, ...]] = {
    "method": (str,), "target": (str,), "budget": (int, float), "max_repeat": (int,), "threshold": (int, float), "background": (str,),
    "split": (str,), "augment": (str,),
}  # fmt: skip


def _is_usable(entry: dict[str, Any]) -> bool:
    """Tell whether a recommendation says how to rebalance, in values of the right kind."""
    parameters = entry.get("parameters")
    if not isinstance(parameters, dict) or "method" not in parameters:
        return False
    return all(isinstance(parameters[name], kinds) for name, kinds in _PARAMETERS.items() if name in parameters)
