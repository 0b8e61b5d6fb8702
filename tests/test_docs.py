"""The documentation says what the program does: generated parts are current, nothing is left out, links lead somewhere."""

import doctest
import importlib.util
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from _pytest.mark import ParameterSet
from typer.testing import CliRunner

import dataset_doctor as dd
from dataset_doctor.checks import CHECKS
from dataset_doctor.cli.app import app

ROOT = Path(__file__).resolve().parent.parent
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").rglob("*.md"))]
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
NO_CODE = re.compile(r"^```.*?^```$|`[^`\n]*`", re.MULTILINE | re.DOTALL)


def page_id(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


@pytest.fixture(scope="module")
def build() -> ModuleType:
    """Load docs/build.py, which is no part of the package."""
    spec = importlib.util.spec_from_file_location("docs_build", ROOT / "docs/build.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


@pytest.mark.slow
def test_generated_parts_are_current() -> None:
    """What the pages copy from the program is what the program prints today."""
    done = subprocess.run([sys.executable, "docs/build.py", "--check"], cwd=ROOT, capture_output=True, text=True, timeout=300)

    assert done.returncode == 0, done.stdout + done.stderr


def test_examples_show_what_their_commands_print(build: ModuleType, tmp_path: Path) -> None:
    """Output below a command is replaced by what the command really prints; times are evened out, other blocks stay."""
    (tmp_path / ".bin").mkdir()
    text = "a\n```console\n$ echo took 12.7 s\nstale\n$ false; echo exit $?\n```\n```sh\n$ echo no\n```\n"

    got = build.with_real_output(text, tmp_path)

    assert got == "a\n```console\n$ echo took 12.7 s\ntook 0.1 s\n$ false; echo exit $?\nexit 1\n```\n```sh\n$ echo no\n```\n"


def test_a_traceback_never_becomes_documentation(build: ModuleType, tmp_path: Path) -> None:
    """A command that crashes stops the build instead of being copied into a page."""
    (tmp_path / ".bin").mkdir()

    with pytest.raises(RuntimeError, match="Traceback"):
        build.with_real_output(f"```console\n$ {sys.executable} -c 'raise ValueError'\n```", tmp_path)


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.code)
def test_every_check_is_documented(check: Any) -> None:
    """Each check has its heading and its whole explanation in the reference."""
    text = (ROOT / "docs/reference/checks.md").read_text(encoding="utf-8")

    assert f"### {check.code} {check.name}\n" in text
    assert check.page in text


@pytest.mark.parametrize("page", PAGES, ids=page_id)
def test_no_page_names_a_check_that_does_not_exist(page: Path) -> None:
    """A code in a page is the code of a check."""
    named = set(re.findall(r"\bDD\d{3}\b", page.read_text(encoding="utf-8")))

    assert named <= {check.code for check in CHECKS}


NAMES = ["", *(command.name or command.callback.__name__ for command in app.registered_commands if command.callback)]


@pytest.mark.parametrize("name", NAMES, ids=lambda name: name or "dataset-doctor")
def test_every_command_and_option_is_documented(name: str) -> None:
    """The reference has a section for each command, with every option that its help shows."""
    text = (ROOT / "docs/reference/cli.md").read_text(encoding="utf-8")
    head, _, rest = text.partition(f"\n## {f'dataset-doctor {name}'.strip()}\n")
    section = rest.partition("\n## ")[0]
    shown: str = CliRunner().invoke(app, [name, "--help"] if name else ["--help"], env={"COLUMNS": "200", "NO_COLOR": "1"}).stdout
    options = set(re.findall(r"(?<![\w-])--?[a-z][a-z0-9-]*", shown))

    assert section
    assert "--help" in options
    assert not {option for option in options if not re.search(rf"(?<![\w-]){option}(?![\w-])", head + section)}


def keys(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        for key, inner in value.items():
            yield key
            yield from keys(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from keys(inner)


def test_every_key_of_the_report_is_documented() -> None:
    """The page of the report explains each key that an audit writes, but for names of splits, options and parameters."""
    text = (ROOT / "docs/reference/report.md").read_text(encoding="utf-8")
    report = json.loads(json.dumps(dd.audit(dd.read(ROOT / "fixtures/coco-broken")).to_dict()))
    named = {word for span in re.findall(r"`([^`]+)`", text) for word in span.split(".")}
    parameters = {key for recommendation in report["recommendations"] for key in keys(recommendation["parameters"])}
    chosen = {split["name"] for split in report["splits"]} | set(report["run"]["options"]) | parameters

    assert set(keys(report)) - chosen - named == set()


def anchors(page: Path) -> set[str]:
    text = re.sub(r"^```.*?^```$", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    headings = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.strip().lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=page_id)
def test_links_lead_somewhere(page: Path) -> None:
    """Every link to a file leads to one, and every anchor to a heading."""
    text = NO_CODE.sub("", page.read_text(encoding="utf-8"))

    for target in LINK.findall(text):
        if target.startswith(("http://", "https://")):
            continue
        path, _, anchor = target.partition("#")
        led_to = (page.parent / path).resolve() if path else page
        assert led_to.exists(), f"{target} does not exist"
        assert not anchor or anchor in anchors(led_to), f"{target}: no such heading"


@pytest.mark.parametrize("page", PAGES, ids=page_id)
def test_every_page_can_be_reached(page: Path) -> None:
    """Each page is linked from the README or the documentation's front page."""
    if page.name in ("README.md", "index.md"):
        return
    fronts = [ROOT / "README.md", ROOT / "docs/index.md"]
    linked = {(f.parent / t.partition("#")[0]).resolve() for f in fronts for t in LINK.findall(f.read_text(encoding="utf-8"))}

    assert page in linked


PYTHON = [(page, block) for page in PAGES for block in re.findall(r"^```pycon\n(.*?)^```$", page.read_text("utf-8"), re.M | re.S)]


def example(number: int, page: Path, block: str) -> ParameterSet:
    """Give an example as parameters, marked where its page is about PyTorch."""
    return pytest.param(
        page, block, id=f"{page_id(page)}-{number}", marks=pytest.mark.train if page.stem in ("losses", "samplers", "verify") else ()
    )


@pytest.mark.parametrize(("page", "block"), [example(number, *found) for number, found in enumerate(PYTHON)])
def test_python_examples_run(page: Path, block: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Examples in Python print what the page says, from a clone's root."""
    monkeypatch.chdir(ROOT)
    example = doctest.DocTestParser().get_doctest(block, {}, page_id(page), str(page), 0)
    said: list[str] = []

    doctest.DocTestRunner(optionflags=doctest.ELLIPSIS).run(example, out=said.append)

    assert not said, "".join(said)


def test_readme_has_the_two_set_up_commands() -> None:
    """README sets up an audit and the tests in one line each; `.ci/run` takes them from there."""
    lines = [line for line in (ROOT / "README.md").read_text(encoding="utf-8").splitlines() if line.startswith("python3 -m venv .venv ")]

    assert len(lines) == 2
    assert "dataset-doctor audit fixtures/" in lines[0]
    assert lines[1].endswith("install -q -e '.[test]' && .venv/bin/pytest -q -n auto")
