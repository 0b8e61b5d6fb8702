"""Datasets whose images lie elsewhere: what `--materialize list` writes is a dataset, and no manifest brings a stranger's text into a report."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from dataset_doctor.formats.elsewhere import digest
from tests.command import run


def shown(report: str) -> dict[str, object]:
    """Give counts of an audit's JSON report, and the codes of its errors."""
    document = json.loads(report)
    splits = {split["name"]: split["images"] for split in document["splits"]}
    errors = [
        f["code"] for f in document["findings"] if f["severity"] == "error" and f["code"] != "DD308"
    ]  # rare classes may lack a folder
    return {
        "splits": splits,
        "instances": document["summary"]["instances"],
        "distinct": document["summary"]["distinct_images"],
        "errors": errors,
    }


@pytest.fixture(scope="module")
def park(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small good dataset of each format, as the demonstration draws it."""
    folder = tmp_path_factory.mktemp("park")
    for name in ("coco", "yolo", "voc", "folder"):
        assert run("demo", folder / name, "--format", name).returncode == 0
    return folder


@pytest.mark.parametrize(("source", "options", "mode"), [
    ("yolo", (), "list"), ("voc", ("--to", "coco"), "list"), ("coco", (), "symlink"), ("folder", (), "symlink"), ("voc", (), "hardlink"),
])  # fmt: skip
@pytest.mark.slow(but="yolo-options0-list")
def test_what_lists_and_links_lead_to_is_read(park: Path, tmp_path: Path, source: str, options: tuple[str, ...], mode: str) -> None:
    """As an audit counts it, so do the commands that take it up again, and a copy of what was copied from it."""
    (tmp_path / "here").mkdir()
    shutil.copytree(park / source / "clean", tmp_path / "source")
    made = run("split", "../source", "led", "--materialize", mode, "--json", *options, cwd=tmp_path / "here")
    assert made.returncode == 0, made.stderr
    plan = json.loads(made.stdout)
    wanted = {split["name"]: split["images_after"] for split in plan["splits"] if split["images_after"]}

    first = shown(run("audit", "here/led", "--json", "--fail-on", "never", cwd=tmp_path).stdout)
    again = run("rebalance", "here/led", "more", "--method", "oversample", "--json", cwd=tmp_path)
    copied = run("split", "here/led", "copied", cwd=tmp_path)

    assert first["splits"] == wanted and first["errors"] == []
    assert again.returncode == 0 and copied.returncode == 0, again.stderr + copied.stderr
    assert run("weights", "here/led", cwd=tmp_path).returncode == 0
    second = shown(run("audit", "copied", "--json", "--fail-on", "never", cwd=tmp_path).stdout)
    assert second["instances"] == first["instances"] and second["errors"] == []
    shutil.rmtree(tmp_path / "source")
    shutil.rmtree(tmp_path / "here")
    assert shown(run("audit", "copied", "--json", "--fail-on", "never", cwd=tmp_path).stdout) == second


@pytest.mark.parametrize("format", ["yolo", "coco"])
@pytest.mark.slow
def test_a_list_of_a_list_keeps_its_repeats(park: Path, tmp_path: Path, format: str) -> None:
    """Images that are shown several times count so; the files are those of the first source."""
    shutil.copytree(park / format / "clean", tmp_path / "source")
    sizes = []
    for source, out in (("source", "one"), ("one", "two")):
        made = run("rebalance", source, out, "--method", "oversample", "--materialize", "list", "--json", cwd=tmp_path)
        assert made.returncode == 0, made.stderr
        sizes.append(shown(run("audit", out, "--json", "--fail-on", "never", cwd=tmp_path).stdout))
        assert sizes[-1]["splits"]["train"] == json.loads(made.stdout)["epoch_images"]  # type: ignore[index]
    assert sizes[0]["distinct"] == sizes[1]["distinct"] and sizes[1]["errors"] == []


@pytest.mark.slow
def test_a_list_whose_source_is_gone_says_so(park: Path, tmp_path: Path) -> None:
    """And what to do; with the folder named, or both moved together, all is read again."""
    (tmp_path / "a").mkdir()
    shutil.copytree(park / "yolo" / "clean", tmp_path / "a" / "source")
    assert run("split", "source", "led", "--materialize", "list", cwd=tmp_path / "a").returncode == 0
    before = shown(run("audit", "a/led", "--json", cwd=tmp_path).stdout)

    shutil.copytree(tmp_path / "a", tmp_path / "b")
    shutil.rmtree(tmp_path / "a" / "source")
    gone = json.loads(run("audit", "a/led", "--json", cwd=tmp_path).stdout)
    texts = [place["detail"] for finding in gone["findings"] if finding["code"] == "DD015" for place in finding["locations"]]

    assert len(texts) == 1 and "its images are in ../source, and they are not there" in texts[0]
    assert shown(run("audit", "a/led", "--images", "b/source", "--json", cwd=tmp_path).stdout)["splits"] == before["splits"]
    assert shown(run("audit", "b/led", "--json", cwd=tmp_path).stdout)["splits"] == before["splits"]


def test_no_manifest_brings_a_strangers_text_into_a_report(tmp_path: Path) -> None:
    """Files outside are opened as images alone; labels only with the digest of what they hold, and nothing else at all."""
    secret = "swordfish"
    for name in ("a.jpg", "a.txt", "notes.txt", "b.png"):
        (tmp_path / "private").mkdir(exist_ok=True)
        (tmp_path / "private" / name).write_text(f"{secret} 0.5 0.5 0.1 0.1\n")
    led = tmp_path / "led"
    led.mkdir()
    (led / "data.yaml").write_text("train: train.txt\nval: train.txt\nnames: [cat]\n")
    (led / "train.txt").write_text("".join(f"{tmp_path}/private/{name}\n" for name in ("a.jpg", "b.png", "notes.txt")))
    images = [{"file": name, "source": name} for name in ("a.jpg", "b.png", "notes.txt", "../private/notes.txt", "/etc/passwd")]
    for labels in (None, digest(tmp_path / "private", []), "sha256:0"):
        (led / "dataset-doctor.json").write_text(json.dumps({
            "schema": "dataset-doctor/manifest", "schema_version": 1, "options": {"materialize": "list"},
            "source": {"root": "../private", "labels": labels}, "images": images,
        }))  # fmt: skip
        done = run("audit", led, "--json", "--locations", "all", "-o", tmp_path / "r.html")

        assert done.returncode == 1 and secret not in done.stdout + done.stderr + (tmp_path / "r.html").read_text()
        assert "passwd" not in done.stdout.replace("/etc/passwd", "")
        (tmp_path / "r.html").unlink()


def test_labels_that_have_changed_are_read_once_the_folder_is_named(park: Path, tmp_path: Path) -> None:
    """Until then the finding says why they are not."""
    shutil.copytree(park / "yolo" / "clean", tmp_path / "source")
    assert run("split", "source", "led", "--materialize", "list", cwd=tmp_path).returncode == 0
    label = next(path for path in sorted((tmp_path / "source").rglob("labels/**/*.txt")) if path.read_text().strip())
    label.write_text(label.read_text() + "0 0.5 0.5 0.2 0.2\n")

    report = json.loads(run("audit", "led", "--json", cwd=tmp_path).stdout)
    named = shown(run("audit", "led", "--images", "source", "--json", cwd=tmp_path).stdout)

    assert report["summary"]["annotations"] == 0
    assert any("have changed since it was written" in str(f["locations"]) for f in report["findings"] if f["code"] == "DD015")
    assert named["instances"] == shown(run("audit", "source", "--json", cwd=tmp_path).stdout)["instances"]
