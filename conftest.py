"""Which tests run: the quick suite unless more is asked for, and in continuous integration none is skipped that could run.

What a test needs beyond the extra `test`, or beyond a second, is the name of a marker. `pytest` leaves all of them out, `pytest --all` runs
everything, `-m train` one of them; and who names a file or a test gets the whole of it.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest
from hypothesis import settings

ROOT = Path(__file__).parent

SUITES = {
    "train": "needs PyTorch, the extra `train`",
    "trainers": "needs the libraries that read or train on what is written: Keras, transformers, Ultralytics, supervision, torchvision",
    "browser": "needs Chromium",
    "data": "needs the real datasets in ../shared/data",
    "slow": "takes seconds, or repeats in depth what a quick test holds in short",
}
"""The markers, and why the quick suite leaves them out."""

OF_FIXTURES = {"shared_data": "data", "browser": "browser"}
"""The suite of every test that takes such a fixture."""

IMPORT_TORCH = (
    "dataset_doctor/losses.py",
    "dataset_doctor/samplers.py",
    "dataset_doctor/trials",
    "tests/test_losses.py",
    "tests/test_samplers.py",
    "tests/trials",
)
"""What is of the suite `train` as a whole; the quick suite does not even import it, …"""

WITHOUT_TORCH = ("tests/trials/test_detections.py", "tests/trials/test_judging.py")
"""… but for these."""

EXPECTED_SKIPS = (
    r"superuser",  # files that nobody may read are tested as a user, …
    r"root",  # … full disks as the superuser
    r"mount",
    r"a user whom the system can refuse",
    r"needs Python 3\.11",
    r"CUDA device",
    r"could not import 'distributed'",
)
"""The reasons for which a test may be skipped in continuous integration: what the system, the user or the version of Python rules out."""


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--all", action="store_true", help="run every suite, not only the quick one")


def pytest_configure(config: pytest.Config) -> None:
    for name, reason in SUITES.items():
        config.addinivalue_line("markers", f"{name}: {reason}")
    if is_quick(config):
        settings.register_profile("quick", max_examples=20, deadline=None)
        settings.load_profile("quick")


def is_quick(config: pytest.Config) -> bool:
    """Tell whether nothing but the quick suite was asked for."""
    return not (config.getoption("all") or config.getoption("markexpr") or any(".py" in argument for argument in config.args))


def imports_torch(path: Path) -> bool:
    """Tell whether a file is of the suite `train` as a whole."""
    place = path.relative_to(ROOT).as_posix() if path.is_relative_to(ROOT) else ""
    return place not in WITHOUT_TORCH and any(place == part or place.startswith(f"{part}/") for part in IMPORT_TORCH)


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Import no PyTorch for the quick suite; it takes longer than many tests."""
    return True if collection_path.suffix == ".py" and imports_torch(collection_path) and is_quick(config) else None


def pytest_itemcollected(item: pytest.Item) -> None:
    """Mark what a path or a fixture tells."""
    if imports_torch(item.path):
        item.add_marker("train")
    for fixture in getattr(item, "fixturenames", ()):
        if fixture in OF_FIXTURES:
            item.add_marker(OF_FIXTURES[fixture])


def is_left_out(item: pytest.Item) -> bool:
    """Tell whether a marker keeps a test from the quick suite; `slow(but="a")` leaves its case a there."""
    case = item.callspec.id if isinstance(item, pytest.Function) and hasattr(item, "callspec") else ""
    return any(marker.kwargs.get("but", "") != case or not case for suite in SUITES for marker in item.iter_markers(suite))


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave the marked suites to those who ask for them."""
    if is_quick(config):
        marked = set(filter(is_left_out, items))
        config.hook.pytest_deselected(items=list(marked))
        items[:] = [item for item in items if item not in marked]


def unexpected_skips(config: pytest.Config) -> list[str]:
    """Give the reasons of tests that were skipped although continuous integration should be able to run them."""
    reporter = config.pluginmanager.get_plugin("terminalreporter")
    if not os.environ.get("CI") or reporter is None:
        return []
    reasons = [
        report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr) for report in reporter.stats.get("skipped", ())
    ]
    return sorted({reason for reason in reasons if not any(re.search(expected, reason) for expected in EXPECTED_SKIPS)})


def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    """Fail where something was skipped that should have run."""
    if exitstatus == pytest.ExitCode.OK and unexpected_skips(session.config):
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Say what was left out."""
    for reason in unexpected_skips(config):
        terminalreporter.write_line(f"FAILED, since CI is set: a test was skipped that should run: {reason}", red=True)
    if is_quick(config):
        terminalreporter.write_line(f"The quick suite. `pytest --all` also runs {', '.join(SUITES)} (see CONTRIBUTING.md).")
