"""The pages of the checks, on the terminal."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console
from rich.markdown import Markdown
from rich.text import Text

from dataset_doctor.checks import FAMILIES
from dataset_doctor.findings import Check
from dataset_doctor.report.text import encodable

FIXES = {"safe": "safe to correct by a script", "optional": "a script can, but look first", "none": "needs a person"}


def show_check(check: Check, console: Console | None = None) -> None:
    """Print one check: its code, name and severity, then its page."""
    console = console or Console()
    head = f"{check.code}  {check.name}  ·  {check.severity.value}  ·  fix: {FIXES[check.fix]}"
    console.print(Text(encodable(head, console.encoding), style="bold"))
    console.print()
    console.print(Markdown(encodable(check.page, console.encoding)))


def show_checks(checks: Sequence[Check], console: Console | None = None) -> None:
    """Print the list of checks, a line each, under the heading of their family."""
    console = console or Console()
    family = ""
    for check in checks:
        if check.code[:3] != family:
            family = check.code[:3]
            console.print(Text(f"{family}  {FAMILIES[family]}", style="bold"))
        console.print(Text(f"  {check.code}  {check.severity.value:<7}  {check.name}"))
    console.print()
    console.print(Text("dataset-doctor explain CODE shows what a check flags, why it matters and what to do."))
