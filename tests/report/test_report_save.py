"""Writing a report into a file."""

import os
import resource
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from dataset_doctor.errors import OutputRefused, UsageError
from dataset_doctor.report import RENDERERS, check_target, render, save
from tests.report.reports import make_bccd, make_long_tail, make_report


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize("suffix", RENDERERS)
def test_an_older_report_is_replaced(suffix: str, tmp_path: Path) -> None:
    """The file holds exactly the rendered text, and nothing else is left in the folder."""
    path = tmp_path / f"report{suffix}"
    path.write_text("old")

    save(make_bccd(), path)

    assert path.read_bytes() == render(make_bccd(), suffix).encode()
    assert names(tmp_path) == [path.name]


def test_the_suffix_may_be_in_capitals(tmp_path: Path) -> None:
    """REPORT.JSON is JSON."""
    save(make_report(), tmp_path / "REPORT.JSON")

    assert (tmp_path / "REPORT.JSON").read_text().startswith("{")


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("report.jsn", "cannot be written as .jsn.\n  Did you mean .json?"),
        ("report", "no suffix to say in which form.\n  Choose from: .json,"),
    ],
)
def test_an_unknown_suffix_is_a_usage_error(name: str, says: str, tmp_path: Path) -> None:
    """The message names the nearest suffix, or all of them."""
    with pytest.raises(UsageError) as error:
        save(make_report(), tmp_path / name)

    assert says in str(error.value)


def test_places_that_no_file_can_be_written_to(tmp_path: Path) -> None:
    """A folder, a pipe, a missing folder and an impossible name are refused with the reason."""
    (tmp_path / "folder.json").mkdir()
    os.mkfifo(tmp_path / "pipe.json")
    for name, says in {
        "folder.json": "is a folder",
        "pipe.json": "is not a regular file",
        "missing/report.json": f"The folder {tmp_path / 'missing'} does not exist",
        "x" * 300 + ".json": "file name too long",
        "nul\0.json": "a name the system does not accept",
    }.items():
        with pytest.raises(OutputRefused, match=says):
            save(make_report(), tmp_path / name)
    assert names(tmp_path) == ["folder.json", "pipe.json"]


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="the superuser may write everywhere")
def test_a_folder_without_permission_is_refused(tmp_path: Path) -> None:
    """The message says that the folder cannot be written to."""
    tmp_path.chmod(0o500)

    with pytest.raises(OutputRefused, match="cannot be written to"):
        check_target(tmp_path / "report.json")


@contextmanager
def files_at_most(n_bytes: int) -> Iterator[None]:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (n_bytes, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_full_disk_leaves_the_old_report(tmp_path: Path) -> None:
    """When the system takes only the beginning of the text, the old file stays and the beginning goes."""
    path = tmp_path / "report.json"
    path.write_text("old")

    with files_at_most(1000), pytest.raises(OutputRefused, match=r"could not be written: file too large\.\n  Nothing was changed"):
        save(make_long_tail(), path)

    assert path.read_text() == "old" and names(tmp_path) == ["report.json"]


def test_a_link_is_replaced_and_not_followed(tmp_path: Path) -> None:
    """A link named like the report cannot make the tool write somewhere else."""
    (tmp_path / "precious.txt").write_text("precious")
    path = tmp_path / "report.md"
    path.symlink_to(tmp_path / "precious.txt")

    save(make_report(), path)

    assert (tmp_path / "precious.txt").read_text() == "precious" and not path.is_symlink()


@pytest.mark.parametrize("suffix", RENDERERS)
def test_a_file_of_the_dataset_is_never_replaced(suffix: str, tmp_path: Path) -> None:
    """Inside the dataset only an older report of the same kind gives way."""
    report = make_report(root=str(tmp_path))
    labels = tmp_path / f"labels{suffix}"
    labels.write_text('{"images": []}')

    with pytest.raises(OutputRefused, match="lies in the dataset and is not a report"):
        save(report, labels)
    save(report, tmp_path / f"new{suffix}")
    save(make_bccd(), tmp_path / f"new{suffix}")
    save(report, tmp_path / f"new{suffix}")

    assert labels.read_text() == '{"images": []}'
    assert (tmp_path / f"new{suffix}").read_text() == render(report, suffix)


def test_the_file_is_as_readable_as_others(tmp_path: Path) -> None:
    """The permissions are those of any new file, not the private ones of a temporary file."""
    before = os.umask(0o022)
    try:
        save(make_report(), tmp_path / "report.md")
    finally:
        os.umask(before)

    assert stat.S_IMODE((tmp_path / "report.md").stat().st_mode) == 0o644
