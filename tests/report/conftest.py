"""Each report made by hand, in turn; and a browser."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from typing import Any

import pytest

from dataset_doctor.report.record import Report
from tests.report.reports import REPORTS

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
SWITCHES = [
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
]  # fmt: skip


@pytest.fixture(params=REPORTS.values(), ids=REPORTS)
def report(request: pytest.FixtureRequest) -> Report:
    made: Report = request.param()
    return made


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    """Give one Chromium with an empty profile."""
    if CHROMIUM is None:
        if os.environ.get("CI") == "true":
            pytest.fail("Chromium is not installed: apt-get install chromium")
        pytest.skip("needs Chromium: apt-get install chromium")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        # Playwright starts it on a new, empty --user-data-dir.
        running = playwright.chromium.launch(executable_path=CHROMIUM, args=SWITCHES)
        yield running
        running.close()
