"""The benchmark's own machinery. What it measures is never asserted."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

RUN = Path(__file__).parents[1] / "benchmarks" / "run.py"


@pytest.mark.slow
def test_a_run_of_one_case_writes_both_tables_and_every_run(tmp_path: Path) -> None:
    """`--only startup` prints the page that it writes, with a row for each contender, and keeps the single runs."""
    command = [sys.executable, str(RUN), "--only", "startup", "--runs", "2", "--output", str(tmp_path), "--data", str(tmp_path / "data")]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60, encoding="utf-8")
    assert done.returncode == 0, done.stderr
    page = (tmp_path / "RESULTS.md").read_text(encoding="utf-8")
    assert done.stdout.strip() == page.strip()
    rows = [line for line in page.splitlines() if line.startswith("|") and ("floor" in line or "this tool" in line)]
    assert len(rows) == 4
    assert "not measured" not in page
    case = json.loads((tmp_path / "results.json").read_text(encoding="utf-8"))["cases"]["startup"]
    assert [len(contender["runs"]) for contender in case["contenders"]] == [2, 2, 2, 2]
    for contender in case["contenders"]:
        assert contender["seconds"]["min"] <= contender["seconds"]["median"] <= contender["seconds"]["max"]


def test_data_that_cannot_be_made_is_said_in_every_row(tmp_path: Path) -> None:
    """Without the generator, no row of the case is left out in silence."""
    command = [sys.executable, str(RUN), "--only", "voc", "--runs", "1", "--generator", str(tmp_path / "none.py")]
    command += ["--output", str(tmp_path)]
    done = subprocess.run([*command, "--data", str(tmp_path / "data")], capture_output=True, check=False, timeout=60)
    assert done.returncode == 1
    assert (tmp_path / "RESULTS.md").read_text(encoding="utf-8").count("not measured: no data") == 4


def test_a_run_keeps_the_table_of_pictures(tmp_path: Path) -> None:
    """What `pictures.py` has written at the end of RESULTS.md is still there, once, after a run."""
    block = "\n<!-- pictures -->\n## Bad pictures\n\n| a table |\n<!-- /pictures -->\n"
    (tmp_path / "RESULTS.md").write_text("# Old figures\n" + block, encoding="utf-8")
    command = [sys.executable, str(RUN), "--only", "startup", "--runs", "1", "--output", str(tmp_path), "--data", str(tmp_path / "data")]
    subprocess.run(command, capture_output=True, check=True, timeout=60)
    page = (tmp_path / "RESULTS.md").read_text(encoding="utf-8")
    assert page.startswith("# Speed\n")
    assert page.endswith("\n" + block)
    assert page.count("<!-- pictures -->") == 1
