"""Draw README's two pictures: the report of README's first command in a terminal, and its page in a browser.

python docs/screenshots.py           writes docs/images/terminal.svg and docs/images/page.png

The page needs Chromium, and the package playwright of the extra `dev`. Look at both before you commit them.
"""

from __future__ import annotations

import dataclasses
import io
import os
import shutil
import tempfile
from pathlib import Path

from PIL import Image
from playwright.sync_api import sync_playwright
from rich.console import Console
from rich.terminal_theme import MONOKAI

import dataset_doctor as dd
from dataset_doctor.report import save
from dataset_doctor.report.audit.terminal import show

ROOT = Path(__file__).resolve().parent.parent
DATASET = "fixtures/voc-broken"
WINDOW = {"width": 1200, "height": 900}
COLOURS = 128


def report() -> dd.Report:
    """Audit what README's first command audits, as the command does."""
    made = dd.audit(DATASET)
    return dataclasses.replace(made, run=dataclasses.replace(made.run, seconds=0.1))


def draw_terminal(made: dd.Report, path: Path) -> None:
    """Write the report at 80 columns as SVG."""
    console = Console(record=True, width=80, file=io.StringIO(), force_terminal=True, color_system="truecolor", legacy_windows=False)
    show(made, console, name=DATASET)
    drawn = console.export_svg(title=f"dataset-doctor audit {DATASET}", theme=MONOKAI, unique_id="report")
    path.write_text("\n".join(line.rstrip() for line in drawn.splitlines()) + "\n", encoding="utf-8")


def draw_page(made: dd.Report, path: Path) -> None:
    """Write the first screen of the page as PNG, in few colours."""
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as driver:
        save(made, Path(folder) / "report.html")
        browser = driver.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        page = browser.new_page(viewport=WINDOW, device_scale_factor=1)  # type: ignore[arg-type]
        page.goto((Path(folder) / "report.html").as_uri())
        shot = page.screenshot()
        browser.close()
    Image.open(io.BytesIO(shot)).convert("RGB").quantize(COLOURS, dither=Image.Dither.NONE).save(path, optimize=True)


if __name__ == "__main__":
    os.chdir(ROOT)
    images = ROOT / "docs/images"
    images.mkdir(exist_ok=True)
    made = report()
    draw_terminal(made, images / "terminal.svg")
    draw_page(made, images / "page.png")
