"""Regenerate what the documentation copies from the program: real output, the command reference and the pages of the checks.

python docs/build.py           write
python docs/build.py --check   write nothing; exit 1 with a diff where a page is out of date

Commands in ```console blocks are run in a temporary folder that holds a copy of `fixtures/`, in order, one folder a page.
"""

from __future__ import annotations

import argparse
import difflib
import inspect
import itertools
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Annotated, Any, Literal, get_args, get_origin

ROOT = Path(__file__).resolve().parent.parent
CONSOLE = re.compile(r"^```console\n(.*?)^```$", re.MULTILINE | re.DOTALL)
READER = "/home/you"
TIME = re.compile(r"\b\d+\.\d s$", re.MULTILINE)


# Examples -----------------------------------------------------------------------------------------------------------


def with_real_output(text: str, folder: Path) -> str:
    """Run the `$ ` lines of every console block in the folder and put what they print below them."""

    def rerun(block: re.Match[str]) -> str:
        commands = [line[2:] for line in block[1].splitlines() if line.startswith("$ ")]
        return "```console\n" + "".join(f"$ {command}\n{output_of(command, folder)}" for command in commands) + "```"

    return CONSOLE.sub(rerun, text)


def output_of(command: str, folder: Path) -> str:
    """Run a shell command as a reader at an 80-column terminal without colour would; times and the folder's path are made alike."""
    shims = folder / ".bin"
    environment = {
        "PATH": f"{shims}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT),
        "HOME": str(shims),
        "COLUMNS": "80",
        "NO_COLOR": "1",
        "TERM": "dumb",
        "LC_ALL": "C.UTF-8",
    }
    done = subprocess.run(
        ["bash", "-c", command],
        cwd=folder,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        encoding="utf-8",
        timeout=120,
    )
    if "Traceback (most recent call last)" in done.stdout or "internal error" in done.stdout:
        raise RuntimeError(f"$ {command}\n{done.stdout}")
    lines = [line.rstrip() for line in TIME.sub("0.1 s", done.stdout.replace(str(folder), READER)).splitlines()]
    return "".join(f"{line}\n" for line in lines)


def prepare(folder: Path) -> None:
    """Give the folder a copy of the fixtures, and commands that run this checkout with this interpreter."""
    shutil.copytree(ROOT / "fixtures", folder / "fixtures", ignore=shutil.ignore_patterns("__pycache__"))
    shims = folder / ".bin"
    shims.mkdir()
    for name, arguments in {"dataset-doctor": "-m dataset_doctor", "python": ""}.items():
        (shims / name).write_text(f'#!/bin/sh\nexec "{sys.executable}" {arguments} "$@"\n', encoding="utf-8")
        (shims / name).chmod(0o755)


# Reference ----------------------------------------------------------------------------------------------------------


CLI_HEAD = """\
<!-- Written by docs/build.py from the commands' help. Change the help, not this page. -->

# Command line

`python -m dataset_doctor` is the same as `dataset-doctor`.

Every command has `-h`, `--help`.

**Exit codes.** 0: done, nothing at or above `--fail-on`. 1: done, with findings at or above it. 2: cannot run. 130: interrupted.

**Configuration.** Options can stand in the nearest `pyproject.toml`, in `[tool.dataset-doctor]`, or in a file
`dataset-doctor-vision.toml`, under their own names: `fail-on = "warning"`. The command line wins. An unknown key is an error.
"""


@dataclass(frozen=True)
class Parameter:
    """An argument or option: as a person types it, and what it is for."""

    spelling: str
    is_option: bool
    help: str


def commands() -> Iterator[tuple[str, Callable[..., Any]]]:
    """List the program and its commands, as they are called, with their functions."""
    from dataset_doctor.cli.app import app

    if app.registered_callback and app.registered_callback.callback:
        yield "dataset-doctor", app.registered_callback.callback
    for command in app.registered_commands:
        if command.callback:
            yield f"dataset-doctor {command.name or command.callback.__name__}", command.callback


def cli_reference() -> str:
    """Write the page of the command line from the commands' signatures and docstrings."""
    parts = [CLI_HEAD]
    for name, function in commands():
        parameters = list(parameters_of(function))
        arguments, options = ([p for p in parameters if p.is_option is wanted] for wanted in (False, True))
        words = [name, *(p.spelling for p in arguments), *(["[OPTIONS]"] if options else []), *([] if " " in name else ["COMMAND"])]
        parts += [f"## {name}\n", f"```text\n{' '.join(words)}\n```\n", inspect.cleandoc(function.__doc__ or "") + "\n"]
        for heading, members in (("argument", arguments), ("option", options)):
            if members:
                rows = [f"| {cell(f'`{p.spelling}`')} | {cell(p.help)} |" for p in members]
                parts.append("\n".join([f"| {heading} | |", "|---|---|", *rows]) + "\n")
    return "\n".join(parts)


def parameters_of(function: Callable[..., Any]) -> Iterator[Parameter]:
    """Read the arguments and options of a command from its signature."""
    for parameter in inspect.signature(function, eval_str=True).parameters.values():
        if get_origin(parameter.annotation) is not Annotated:  # the context
            continue
        kind, mark = get_args(parameter.annotation)
        value = value_name(mark, kind, parameter.name)
        if type(mark).__name__ == "ArgumentInfo":
            required = parameter.default is inspect.Parameter.empty
            yield Parameter(value if required else f"[{value}]", False, mark.help or "")
            continue
        # Inside Annotated, typer takes the first spelling for the default.
        spellings = [s for s in (mark.default, *(mark.param_decls or ())) if isinstance(s, str) and s.startswith("-")]
        names = ", ".join(spellings or ["--" + parameter.name.replace("_", "-")]).replace("/", ", ")
        default = getattr(parameter.default, "value", parameter.default)
        shown = f" Default: `{default}`." if isinstance(default, str | int) and not isinstance(default, bool) else ""
        yield Parameter(names if kind is bool else f"{names} {value}", True, (mark.help or "") + shown)


def value_name(mark: Any, kind: Any, name: str) -> str:
    """Name the value that a parameter takes: as its author says, else its choices, else its own name."""
    if mark.metavar:
        return str(mark.metavar)
    for member in (kind, *get_args(kind)):  # `X | None`
        if isinstance(member, type) and issubclass(member, Enum):
            return "|".join(str(choice.value) for choice in member)
        if get_origin(member) is Literal:
            return "|".join(get_args(member))
    return name.upper()


def cell(text: str | None) -> str:
    """Fit a text into a table cell."""
    return " ".join((text or "").split()).replace("|", "\\|")


def checks_reference() -> str:
    """Write the page of the checks from the checks themselves."""
    from dataset_doctor.checks import CHECKS, FAMILIES

    parts = [
        "<!-- Written by docs/build.py from the checks' docstrings. Change those, not this page. -->\n",
        "# Checks\n",
        "Each check has a stable code and a name that states the problem. `dataset-doctor explain CODE` prints the same pages.",
        "`--select` and `--ignore` take codes or the beginnings of codes (`DD1`).\n",
        "**error**: training goes wrong or crashes. **warning**: likely to cost accuracy. **info**: worth knowing.",
        "A fix is **safe** where it cannot lose anything that was meant, **optional** where a person should look first,",
        "**none** where only a person can.\n",
    ]
    families = [(family, list(members)) for family, members in itertools.groupby(CHECKS, key=lambda check: check.code[:3])]
    for family, members in families:
        rows = [
            f"| [{c.code}](#{slug(f'{c.code} {c.name}')}) | {c.name} | {c.severity.value} | {c.fix} | {cell(c.summary)} |" for c in members
        ]
        parts += [f"**{family} · {FAMILIES[family]}**\n", "| code | name | severity | fix | flags |\n|---|---|---|---|---|", *rows, ""]
    for family, members in families:
        parts.append(f"## {family} · {FAMILIES[family]}\n")
        parts += [f"### {c.code} {c.name}\n\n{c.severity.value} · fix: {c.fix}\n\n{c.page}\n" for c in members]
    return "\n".join(parts)


def slug(heading: str) -> str:
    """Give the anchor that a Markdown heading gets on GitHub."""
    return re.sub(r"[^\w\- ]", "", heading.strip().lower()).replace(" ", "-")


# All together -------------------------------------------------------------------------------------------------------


def pages() -> list[Path]:
    """List the hand-written and generated pages, README first."""
    return [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]


def regenerated() -> dict[Path, str]:
    """Give every page as it should be."""
    texts = {page: page.read_text(encoding="utf-8") for page in pages()}
    for page, text in texts.items():
        if CONSOLE.search(text):
            with tempfile.TemporaryDirectory() as temporary:
                folder = Path(temporary).resolve()
                prepare(folder)
                texts[page] = with_real_output(text, folder)
    texts[ROOT / "docs/reference/cli.md"] = cli_reference()
    texts[ROOT / "docs/reference/checks.md"] = checks_reference()
    return texts


def main() -> int:
    """Write the pages, or with `--check` say which differ."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 with a diff where a page is out of date")
    check = parser.parse_args().check
    stale = 0
    for page, text in regenerated().items():
        before = page.read_text(encoding="utf-8") if page.exists() else ""
        if before == text:
            continue
        stale += 1
        name = page.relative_to(ROOT).as_posix()
        if check:
            lines = difflib.unified_diff(before.splitlines(), text.splitlines(), f"{name} as it is", f"{name} as it should be", lineterm="")
            print("\n".join(lines))
        else:
            page.write_text(text, encoding="utf-8")
            print(f"wrote {name}")
    if check:
        print(f"{stale} pages are out of date; run: python docs/build.py" if stale else "The documentation is what the program says.")
    return int(check and stale > 0)


if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))
    sys.exit(main())
