"""The `weights` command: its table, what it writes and prints, and how it refuses."""

from __future__ import annotations

import io
import json
import re
from pathlib import Path

import pytest
from rich.console import Console

import dataset_doctor as dd
from dataset_doctor.report.weights import show
from dataset_doctor.weights import load
from tests.command import run
from tests.conftest import FIXTURES
from tests.weights.test_weight_files import hostile
from tests.weights.test_weights import holding

TABLE = """\
 drawn  ·  inverse class weights  ·  instances of train

 class  instances   share  weight
 c0            64  64.0 %    1.56  █▌
 c1            32  32.0 %    3.12  ███
 c2             4   4.0 %   25.00  ████████████████████████
 c3             0   0.0 %    1.00

 scheme       total ÷ count
 spread       16.0 : 1 · no cap
 efficiency   0.30 · 100 instances count as much as 30 with equal weights
 mean weight  3 over instances · 9.896 over classes · normalize none

 warning  1 class without instances in train, with weight 1: c3.
 warning  Efficiency 0.30: gradients are as noisy as with 30% of the labels.
          Soften with --scheme sqrt or effective, or lower --cap.

 Next   dataset-doctor weights drawn --for torch -o weights.py
"""


def shown(weights: dd.ClassWeights, *, width: int = 80, encoding: str = "utf-8", **arguments: object) -> str:
    raw = io.BytesIO()
    console = Console(file=io.TextIOWrapper(raw, encoding=encoding), width=width, no_color=True)
    show(weights, console, name="drawn", **arguments)  # type: ignore[arg-type]
    console.file.flush()
    return raw.getvalue().decode(encoding)


def test_the_table() -> None:
    """Classes by count with their weights as bars, the figures, and the warnings."""
    assert shown(dd.weigh(holding(64, 32, 4, 0))) == TABLE


def test_parameters_cap_and_plan_are_told() -> None:
    """What the weights were made with stands below the table."""
    text = shown(dd.weigh(holding(640, 320, 40), "effective", beta=0.99, cap=1.5, normalize="sample"))

    assert "beta 0.99" in text
    assert "labels beyond about 100 add little" in text
    assert "1.5 : 1 · cap 1.5: lowered c2" in text
    assert "1 over instances" in text
    assert "cap 90: not reached" in shown(dd.weigh(holding(9, 1), cap=90.0))


@pytest.mark.parametrize("width", [40, 80, 100])
@pytest.mark.parametrize("encoding", ["utf-8", "ascii"])
def test_every_line_fits_and_no_name_reaches_the_terminal_raw(width: int, encoding: str) -> None:
    """Hostile names are escaped; nothing is wider than the terminal, in any encoding."""
    text = shown(hostile(), width=width, encoding=encoding, written=[Path("w" * 99), Path("b")])

    assert max(map(len, text.splitlines())) < width
    assert text.replace("\n", "").isprintable()


def test_many_classes_are_cut_in_the_middle() -> None:
    """Of 80 classes the largest and the smallest are shown."""
    text = shown(dd.weigh(holding(*range(1, 81))))

    assert "… 57 more in -o weights.csv" in text
    assert re.search(r"^ c79 ", text, re.MULTILINE)
    assert re.search(r"^ c0 ", text, re.MULTILINE)


# The command --------------------------------------------------------------------------------------------------------


def test_json_is_the_document_and_all_there_is_on_stdout(tmp_path: Path) -> None:
    """What `--json` prints is what `-o` writes; with a trainer, its file is a member; warnings go to stderr."""
    done = run("weights", FIXTURES / "yolo", "--cap", "2", "--json", "-o", "w.json", cwd=tmp_path)
    document = json.loads(done.stdout)

    assert (done.returncode, done.stderr) == (0, "")
    assert (tmp_path / "w.json").read_text() == done.stdout
    assert document["capped"] == ["truck", "bicycle", "sign"]
    assert load(tmp_path / "w.json").to_dict() == document
    with_export = json.loads(run("weights", FIXTURES / "yolo", "--json", "--for", "keras").stdout)
    assert with_export["export"]["content"] == run("weights", FIXTURES / "yolo", "--for", "keras").stdout


def test_for_a_trainer_prints_its_file_or_writes_it(tmp_path: Path) -> None:
    """Alone, `--for` prints the file and nothing else; with `-o` it is written and the table shown; other suffixes stay weights."""
    printed = run("weights", FIXTURES / "yolo", "--for", "ultralytics").stdout
    done = run("weights", FIXTURES / "yolo", "--for", "ultralytics", *(f"-o{name}" for name in ("a.py", "b.yaml", "c.json")), cwd=tmp_path)

    assert (tmp_path / "a.py").read_text() == printed
    assert "\ncls_pw: 1.0\n" in (tmp_path / "b.yaml").read_text()
    assert load(tmp_path / "c.json").split == "train"
    assert "yolo  ·  inverse class weights" in done.stdout
    assert "Written a.py, b.yaml, c.json" in done.stdout


def test_after_a_plan_the_command_weighs_what_it_leaves(tmp_path: Path) -> None:
    """`--after` takes the counts of a plan."""
    now = json.loads(run("weights", FIXTURES / "yolo", "--json").stdout)
    rows = [{"name": name, "before": n, "after": 2 * n + 1} for name, n in zip(now["classes"], now["counts"], strict=True)]
    plan = {"schema": "dataset-doctor/plan", "schema_version": 1, "method": "ml_ros", "split": "train", "classes": rows}
    (tmp_path / "plan.json").write_text(json.dumps(plan))

    then = json.loads(run("weights", FIXTURES / "yolo", "--after", "plan.json", "--json", cwd=tmp_path).stdout)

    assert then["counts"] == [2 * n + 1 for n in now["counts"]]
    assert then["after"] == "ml_ros"


def test_what_comes_next_keeps_the_options(tmp_path: Path) -> None:
    """The command at the end, run as printed, writes the weights that were shown."""
    asked = ["--scheme", "effective", "--beta", "0.9", "--cap", "5", "--count", "images", "--split", "val"]
    done = run("weights", FIXTURES / "yolo", *asked, cwd=tmp_path)
    command = done.stdout.partition(" Next ")[2].replace("\\\n", " ").split()

    assert " ".join(asked) in " ".join(command)
    assert run(*command[1:], cwd=tmp_path).returncode == 0
    assert "0.9" in (tmp_path / "weights.py").read_text()


@pytest.mark.parametrize("trainer", ["torch", "ultralytics", "keras", "hf", "sklearn", "mmdet", "yolov8", "yolo11n-seg"])
def test_for_a_trainer_the_loss_stays_as_large_as_it_was(trainer: str) -> None:
    """The weights of the labels average 1; the plain table keeps total ÷ count, and an explicit choice stays."""
    plain = json.loads(run("weights", FIXTURES / "yolo", "--json").stdout)
    scaled = json.loads(run("weights", FIXTURES / "yolo", "--json", "--for", trainer).stdout)
    chosen = json.loads(run("weights", FIXTURES / "yolo", "--json", "--for", trainer, "--normalize", "none").stdout)
    counts = plain["counts"]

    assert plain["weights"] == chosen["weights"] == [pytest.approx(sum(counts) / n) if n else 1.0 for n in counts]
    assert sum(n * w for n, w in zip(counts, scaled["weights"], strict=True)) == pytest.approx(sum(counts))
    assert scaled["normalize"] == "sample" and "times as large" not in scaled["export"]["content"]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--scheme", "efective"], "Did you mean effective?"),
        (["--for", "pytorch"], "Did you mean torch?"),
        (["--for", "yolov7"], "Did you mean yolov5?"),
        (["--split", "trian"], "Did you mean train?"),
        (["--beta", "0.9"], "--scheme effective"),
        (["--scheme", "power"], "needs --power"),
        (["--cap", "-1"], "at least 1"),
        (["--cap", "nan"], "at least 1"),
        (["--normalize", "men"], "Did you mean mean?"),
        (["-o", "w.txt"], ".npy"),
        (["-o", "w.py"], "--for"),
        (["-o", "no/w.json"], "does not exist"),
        (["--after", "nothing.json"], "nothing.json"),
    ],
    ids=" ".join,
)
def test_wrong_arguments_get_a_short_answer(arguments: list[str], says: str, tmp_path: Path) -> None:
    """Exit 2, nothing on stdout, and what would be right."""
    done = run("weights", FIXTURES / "yolo", *arguments, cwd=tmp_path)

    assert (done.returncode, done.stdout) == (2, "")
    assert says in done.stderr
    assert len(done.stderr.splitlines()) <= 3
    assert list(tmp_path.iterdir()) == []


def test_the_configuration_gives_defaults(tmp_path: Path) -> None:
    """Options may stand in the configuration; its beta is for its scheme, and does not disturb another."""
    (tmp_path / "dataset-doctor-vision.toml").write_text('scheme = "effective"\nbeta = 0.5\n')

    assert json.loads(run("weights", FIXTURES / "yolo", "--json", cwd=tmp_path).stdout)["beta"] == 0.5
    assert json.loads(run("weights", FIXTURES / "yolo", "--json", "--scheme", "sqrt", cwd=tmp_path).stdout)["beta"] is None
    assert run("weights", FIXTURES / "yolo", "--scheme", "sqrt", "--beta", "0.5", cwd=tmp_path).returncode == 2


@pytest.mark.parametrize("name", sorted(p.name for p in FIXTURES.iterdir() if p.name.endswith("-broken") and p.is_dir()))
def test_broken_datasets_are_weighed_without_a_traceback(name: str) -> None:
    """Defects change counts, and never crash the command."""
    done = run("weights", FIXTURES / name, "--json", "--for", "torch")

    assert done.returncode in (0, 2)
    assert "internal error" not in done.stderr and "Traceback" not in done.stderr
    assert done.returncode == 2 or all(weight > 0 for weight in json.loads(done.stdout)["weights"])
