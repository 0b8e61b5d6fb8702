"""Treatments: rebalance, split or convert a dataset; a plan that shows and writes itself, with the refusals of the commands.

plan = rebalance("path", method="repeat_factor")   # nothing is written yet
plan.show()
plan.write("out")
"""

from __future__ import annotations

import dataclasses
import html
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from dataset_doctor import balance
from dataset_doctor.audit import label_errors
from dataset_doctor.dataset import Dataset, Rows
from dataset_doctor.errors import UsageError, did_you_mean
from dataset_doctor.files.progress import Progress, silent
from dataset_doctor.files.reading import Unreadable, read_regular
from dataset_doctor.findings import plural
from dataset_doctor.formats import FORMATS, Written, disk_bytes, find_format, fingerprint, left_out, losses, opened
from dataset_doctor.formats import write as write_dataset
from dataset_doctor.plan import Plan, make_plan
from dataset_doctor.split import parse_ratios
from dataset_doctor.split import split as plan_split

if TYPE_CHECKING:
    from rich.console import Console

Source = Dataset | str | os.PathLike[str]
"""What `read` gave, or a path that it takes."""

ERRORS_SHOWN = 8
MAX_REPORT_BYTES = 1 << 30


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class ReadyPlan(Plan):
    """A plan with all that writing it takes.

    source       the dataset that it was made for
    result       the dataset as the plan wants it
    to           the format that it is written in
    materialize  how images get there
    name         what the user calls the dataset
    """

    source: Dataset = dataclasses.field(kw_only=True)
    result: Dataset = dataclasses.field(kw_only=True)
    to: str = dataclasses.field(kw_only=True)
    materialize: str = dataclasses.field(kw_only=True)
    name: str = dataclasses.field(kw_only=True)

    def write(self, out: str | os.PathLike[str], *, force: bool = False, progress: Progress = silent) -> Written:
        """Write the dataset as planned, with a manifest, into a folder that appears only when all is written and reads back.

        Args:
            out: The folder to make; one that is there has to be empty.
            force: Replace a folder that holds something.
            progress: Called with what is done, how much and how much in all.

        Raises:
            UsageError: the format cannot hold the dataset so that it reads back as it should.
            OutputRefused: the place must not or cannot be written to.
            DoctorError: the source has changed; nothing was written.
        """
        treated = dataclasses.replace(self.result, plan=self.to_dict())
        options = {"command": self.command, "to": self.to, "materialize": self.materialize}
        return write_dataset(treated, out, self.to, materialize=self.materialize, force=force, options=options, progress=progress)

    def show(self, console: Console | None = None, *, out: str | os.PathLike[str] = "OUT", written: bool = False) -> None:
        """Print the plan as the command does, on stdout unless another console is given.

        Args:
            console: Where to print.
            out: What the result is or will be called.
            written: Whether it has been written.
        """
        from rich.console import Console

        from dataset_doctor.report.plan import show

        show(self, console or Console(), name=self.name, out=os.fspath(out), target=find_format(self.to).title, written=written)

    def preview(self, path: str | os.PathLike[str]) -> None:
        """Draw images that are generated, beside their source, into a .jpg outside the dataset.

        Raises:
            UsageError: the name is not one of a .jpg, it lies in the dataset, or no image is generated.
            OutputRefused: the file cannot be written.
        """
        from dataset_doctor.report import write
        from dataset_doctor.report.sheet import sheet

        check_preview(path, self.source)
        if self.made is None:
            raise UsageError("`preview` draws images that are generated, and this plan generates none.", "Give `augment`, or copy_paste.")
        write(Path(path), sheet(self.source, self))

    def __repr__(self) -> str:
        by = f" by {self.method}" if self.method else ""
        return (
            f"<Plan to {self.command} {self.name}{by}: {self.source.n_images:,} → {len(self.rows):,} images,"
            f" as {find_format(self.to).title}>"
        )

    def _repr_html_(self) -> str:
        """Show the classes before and after as a table in a notebook."""
        rows = "".join(f"<tr><td>{html.escape(c.name)}</td><td>{c.before:,}</td><td>{c.after:,}</td></tr>" for c in self.classes)
        head = "<tr><th>class</th><th>before</th><th>after</th></tr>"
        return f"<p>{html.escape(repr(self).strip('<>'))}</p><table>{head}{rows}</table>"


def rebalance(
    dataset: Source,
    *,
    from_report: str | os.PathLike[str] | None = None,
    recommendation: str | None = None,
    to: str | None = None,
    materialize: str = "copy",
    allow_errors: bool = False,
    format: str | None = None,
    images: str | os.PathLike[str] | None = None,
    classes: str | os.PathLike[str] | None = None,
    progress: Progress = silent,
    **how: Any,
) -> ReadyPlan:
    """Plan a dataset in which rare classes are shown more often; only one split changes, train where there is one.

    Args:
        dataset: A path, or what `read` gave.
        from_report: The JSON report of an audit, one of whose recommendations is carried out; what `how` says goes first.
        recommendation: Which one, like "R3"; by default the first.
        to: The format to write; by default the dataset's own.
        materialize: "copy", "symlink", "hardlink" or "list".
        allow_errors: Leave out label records that the format cannot hold, instead of refusing.
        format: As for `read`, like `images` and `classes`; for a path only.
        images: As there.
        classes: As there.
        progress: Called with what is done, how much and how much in all.
        how: As for `balance.rebalance`: `method`, `target`, `budget`, `max_repeat`, `min_repeat`, `threshold`, `background`, `augment`,
            `split`, `seed`.

    Raises:
        UsageError: an argument that cannot be used, nothing to balance, or label records that would be left out.
    """
    if recommendation is not None and from_report is None:
        raise UsageError("`recommendation` is for `from_report`.", "Give the JSON report it stands in, or leave it out.")
    source = opened(dataset, format, images=images, classes=classes, progress=progress)
    if from_report is not None:
        how = recommended(Path(from_report), recommendation, source) | how
    wanted = how.get("split")
    split = dict(zip(source.split_spelling, source.splits, strict=True)).get(wanted or "", wanted) or source.default_split
    lost = _left_out(source, to, allow_errors, split=split if split in source.splits else None)
    plan = balance.rebalance(source, left_out=lost, progress=progress, **how)
    return _ready(plan, source, dataset, to, materialize)


def split(
    dataset: Source,
    *,
    ratios: str | Sequence[float] = (0.8, 0.1, 0.1),
    freeze: str | Sequence[str] = (),
    to: str | None = None,
    materialize: str = "copy",
    allow_errors: bool = False,
    format: str | None = None,
    images: str | os.PathLike[str] | None = None,
    classes: str | os.PathLike[str] | None = None,
    progress: Progress = silent,
    **how: Any,
) -> ReadyPlan:
    """Plan a dataset divided into splits that are alike, with no image in two.

    Args:
        dataset: A path, or what `read` gave.
        ratios: Shares of train, val and test: numbers that sum to 1 or 100, or "80/10/10".
        freeze: Splits that stay as they are, in a sequence or separated by commas.
        to: As for `rebalance`, like all below.
        materialize: As there.
        allow_errors: As there.
        format: As there.
        images: As there.
        classes: As there.
        progress: As there.
        how: As for `split.split`: `names`, `group_by`, `duplicates`, `seed`.

    Raises:
        UsageError: an argument that cannot be used, too few images or groups, or label records that would be left out.
    """
    shares = parse_ratios(ratios) if isinstance(ratios, str) else ratios
    frozen = [name.strip() for name in (freeze.split(",") if isinstance(freeze, str) else freeze) if name.strip()]
    source = opened(dataset, format, images=images, classes=classes, progress=progress)
    lost = _left_out(source, to, allow_errors)
    plan = plan_split(source, ratios=shares, freeze=frozen, left_out=lost, progress=progress, **how)
    return _ready(plan, source, dataset, to, materialize)


def convert(
    dataset: Source,
    to: str,
    *,
    materialize: str = "copy",
    allow_errors: bool = False,
    format: str | None = None,
    images: str | os.PathLike[str] | None = None,
    classes: str | os.PathLike[str] | None = None,
    progress: Progress = silent,
) -> ReadyPlan:
    """Plan a dataset in another format; what that format cannot hold is listed in the plan's `loses`.

    Args:
        dataset: A path, or what `read` gave.
        to: The format to write.
        materialize: As for `rebalance`, like all below.
        allow_errors: As there.
        format: As there.
        images: As there.
        classes: As there.
        progress: As there.

    Raises:
        UsageError: an argument that cannot be used, or label records that would be left out.
    """
    source = opened(dataset, format, images=images, classes=classes, progress=progress)
    lost = _left_out(source, to, allow_errors)
    plan = make_plan(source, np.arange(source.n_images), command="convert", left_out=lost)
    return _ready(plan, source, dataset, to, materialize)


def check_preview(path: str | os.PathLike[str], dataset: Dataset | None = None) -> None:
    """Refuse a place that a sheet of images could not be written to.

    Raises:
        UsageError: the name is not one of a .jpg, or it lies in the dataset.
        OutputRefused: the file cannot be written.
    """
    from dataset_doctor.report import check_file

    file = Path(path)
    if file.suffix.lower() not in (".jpg", ".jpeg"):
        raise UsageError(f"`preview={file}` is not a .jpg.", "The sheet is written as JPEG.")
    check_file(file)
    if dataset is not None and file.resolve().is_relative_to(dataset.root.resolve()):
        raise UsageError(f"`preview={file}` lies in the dataset.", "Name a file outside it: the input is never changed.")


def _ready(plan: Plan, source: Dataset, given: Source, to: str | None, materialize: str) -> ReadyPlan:
    """Complete a plan with what writing it costs and loses."""
    target = to or source.format
    result = plan.apply(source)
    name = str(source.root) if isinstance(given, Dataset) else os.fspath(given)
    members = {one.name: getattr(plan, one.name) for one in dataclasses.fields(plan)}
    members |= {"loses": losses(result, find_format(target).name), "disk_bytes": disk_bytes(result, target, materialize)}
    return ReadyPlan(**members, source=source, result=result, to=target, materialize=materialize, name=name)


def _left_out(dataset: Dataset, to: str | None, allow_errors: bool, *, split: str | None = None) -> Rows:
    """Refuse to leave label records out, with the errors they have; where that is allowed, give the rows that cannot be written.

    `split` is the only one that changes; None where all do.
    """
    if to is not None and to not in FORMATS:
        raise UsageError(f"`to={to}` is not known.", did_you_mean(to, FORMATS))
    found = left_out(dataset, find_format(to or dataset.format).name, split=split)
    if len(found) and not allow_errors:
        errors = label_errors(dataset, found, split)
        listed = [f"{finding.code} {finding.name}: {finding.message}" for finding in errors[:ERRORS_SHOWN]]
        if len(errors) > ERRORS_SHOWN:
            listed.append(f"… {len(errors) - ERRORS_SHOWN:,} more")
        raise UsageError(
            f"{plural(len(found), 'label record')} would be left out; nothing was written.",
            "\n".join([*listed, f"Fix {'it' if len(found) == 1 else 'them'}, or add `allow_errors=True` to write without."]),
        )
    return found.rows


# A recommendation of a report ---------------------------------------------------------------------------------------


def recommended(path: Path, wanted: str | None, dataset: Dataset) -> dict[str, Any]:
    """Take what `rebalance` needs from a recommendation of an audit's JSON report.

    Raises:
        UsageError: no report of an audit, one of another dataset, or none of its recommendations can be carried out by `rebalance`.
    """
    import msgspec

    make_one = "Make one with dataset-doctor audit DATASET -o audit.json"
    try:
        report = msgspec.json.decode(read_regular(path, MAX_REPORT_BYTES))
    except (Unreadable, ValueError, msgspec.DecodeError, RecursionError) as error:
        reason = str(error) if isinstance(error, Unreadable) else "not JSON"
        raise UsageError(f"`from_report={path}`: {reason}.", make_one) from error
    is_report = isinstance(report, dict) and report.get("schema") == "dataset-doctor/report"
    if not is_report or not isinstance(report.get("recommendations"), list):
        raise UsageError(f"`from_report={path}` is not the report of an audit.", make_one)
    described = report.get("dataset")
    if not isinstance(described, dict) or described.get("fingerprint") != fingerprint(dataset):
        raise UsageError(f"{path} reports on another dataset, or on another state of this one.", "Audit it again with -o audit.json")
    known = [entry for entry in report["recommendations"] if isinstance(entry, dict) and isinstance(entry.get("id"), str)]
    # What is predicted goes before images that are generated.
    known.sort(key=lambda entry: entry.get("action") == "augment")
    usable = {entry["id"]: entry["parameters"] for entry in known if _is_usable(entry)}
    if wanted is not None and wanted not in usable:
        if wanted in {entry["id"] for entry in known}:
            raise UsageError(f"rebalance cannot carry out {wanted}.", f"Usable recommendations: {', '.join(usable) or 'none'}.")
        raise UsageError(f"{path} holds no recommendation {wanted}.", did_you_mean(wanted, usable) if usable else "")
    if not usable:
        raise UsageError(f"{path} recommends nothing that rebalance can do.", "Choose a method with `method`.")
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
