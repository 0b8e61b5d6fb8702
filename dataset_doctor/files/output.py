"""Writing a dataset: into a folder beside its place, which is renamed into it when all is well.

Whatever happens on the way (an error, a full disk, `kill -9`), the place holds what it held before, or nothing. The source is only
ever read.
"""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from dataset_doctor.errors import OutputRefused
from dataset_doctor.files.progress import Progress, silent
from dataset_doctor.files.reading import Unreadable, leads_outside, open_regular
from dataset_doctor.files.sizes import file_size
from dataset_doctor.files.staging import new_folder

Materialize = Literal["copy", "symlink", "hardlink", "list"]

_FICLONE = 0x40049409
"""Linux's ioctl that lets two files share their blocks until one is changed (ioctl_ficlone(2))."""


class NameTaken(OutputRefused):
    """Two files of the new dataset would have one name."""


@dataclass(frozen=True, slots=True)
class Stage:
    """A folder that is being written.

    root    the folder itself, absolute; `target` where it will be renamed to
    source  the root of the dataset that images are taken from, absolute
    """

    root: Path
    target: Path
    source: Path

    def write(self, name: str, content: bytes | Iterable[bytes | memoryview]) -> None:
        """Write a file of the new dataset; `name` is relative to its root, with `/`. Large content may come in parts.

        Raises:
            NameTaken: two files would have that name (systems that ignore case count too).
            OutputRefused: the name is no safe relative path.
        """
        try:
            with self._path(name).open("xb") as file:
                file.writelines((content,) if isinstance(content, bytes) else content)
        except FileExistsError:
            raise NameTaken(f"two files would be called {name}.", "Rename one of their sources.") from None

    def folder(self, name: str) -> None:
        """Make a folder of the new dataset, unless it is there."""
        self._path(name).mkdir(exist_ok=True)

    def place(self, sources: Sequence[str], names: Sequence[str], materialize: Materialize, progress: Progress = silent) -> None:
        """Bring image files of the source into the new dataset.

        Args:
            sources: Paths relative to the source's root, each a regular file or a link to one.
            names: Where each goes, relative to the new root.
            materialize: "copy" (sharing blocks where the file system can), "symlink" or "hardlink"; "list" brings none.
            progress: Called now and then.

        Raises:
            OutputRefused: a file that cannot be read or linked, or a full disk.
        """
        if materialize == "list":
            return
        ways: dict[Materialize, Callable[[str, str], None]] = {"copy": self._copy, "symlink": self._symlink, "hardlink": _hardlink}
        bring = ways[materialize]
        for number, (source, name) in enumerate(zip(sources, names, strict=True)):
            path = self._path(name)
            origin = os.path.join(self.source, source)
            try:
                bring(origin, str(path))
            except FileExistsError:
                raise NameTaken(f"two images would be called {name}.", "Rename one of them in the source.") from None
            except Unreadable as error:
                raise OutputRefused(f"{source} could not be {_VERBS[materialize]}: {error}.", "Nothing was written.") from error
            except OSError as error:
                raise _not_brought(source, materialize, error) from error
            if number % 256 == 0:
                progress("writing images", number, len(names))

    def _path(self, name: str) -> Path:
        if not name or name.startswith("/") or ".." in name.split("/") or "\0" in name:
            raise OutputRefused(f"{name!r} is no safe name for a file of a dataset.")
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        return path

    def _copy(self, origin: str, path: str) -> None:
        if Path(origin).is_symlink() and leads_outside(origin, os.path.join(os.path.realpath(self.source), "")):
            # A stranger's dataset must not bring a private file of this machine into what is then published.
            try:
                file_size(origin)
            except Unreadable as error:
                raise Unreadable("a link to a file outside the dataset that is no image") from error
        _copy(origin, path)

    def _symlink(self, origin: str, path: str) -> None:
        # Relative, so that the same input gives the same output wherever the two lie together.
        _check_regular(origin)
        final = self.target / os.path.relpath(path, self.root)
        Path(path).symlink_to(os.path.relpath(origin, final.parent))


_VERBS = {"copy": "copied", "symlink": "linked", "hardlink": "linked"}


def _check_regular(path: str) -> None:
    """Refuse what has come into the place of an image since the dataset was read.

    Raises:
        Unreadable: no regular file, and no link to one.
    """
    os.close(open_regular(path))


def _hardlink(origin: str, path: str) -> None:
    _check_regular(origin)
    os.link(origin, path)


def _copy(origin: str, path: str) -> None:
    """Copy a file, sharing its blocks where the file system can."""
    reading = open_regular(origin)
    with open(reading, "rb") as source, open(path, "xb") as copy:  # noqa: PTH123 (a descriptor)
        try:
            import fcntl

            fcntl.ioctl(copy.fileno(), _FICLONE, reading)
        except (ImportError, OSError):
            shutil.copyfileobj(source, copy, 1 << 20)


def _not_brought(source: str, materialize: Materialize, error: OSError) -> OutputRefused:
    if error.errno == errno.EXDEV:
        return OutputRefused(
            f"{source} lies on another file system, where no hard link leads.", "Use `materialize=copy` or `materialize=symlink`."
        )
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return OutputRefused("The disk is full; nothing was written.", "`materialize=symlink`, hardlink and list take hardly any space.")
    reason = (error.strerror or "the system refused").lower()
    return OutputRefused(f"{source} could not be {_VERBS[materialize]}: {reason}.", "Nothing was written.")


@contextmanager
def staged(out: str | os.PathLike[str], source: Path, *, force: bool = False) -> Iterator[Stage]:
    """Give a folder to write into; it takes the place of `out` when the block ends well, and is gone when it does not.

    Args:
        out: Where the dataset is to be; may be there if it is an empty folder.
        source: The root of the dataset that images are taken from.
        force: Replace a folder that is there.

    Raises:
        OutputRefused: as for `check_place`; or the system refused, or the disk is full.
    """
    check_place(out, source, force=force)
    target = Path(os.path.abspath(out))
    try:
        with new_folder(target) as root:
            yield Stage(root, target, Path(os.path.abspath(source)))
            check_place(out, source, force=force)  # anything may have come there since, or have been put back
    except OSError as error:
        raise refused(out, error) from error


def check_place(out: str | os.PathLike[str], source: Path, *, force: bool = False) -> None:
    """Refuse a place that a dataset must not be written to.

    Raises:
        OutputRefused: a file, a link or (without `force`) a folder that holds anything is there; it lies in the source, or the source
            or the current folder in it; or the folder above is missing or cannot be written.
    """
    try:
        target = Path(os.path.abspath(out))
        real, real_source = target.resolve(), source.resolve()
        if real.is_relative_to(real_source):
            raise OutputRefused(f"{out} lies in the dataset itself.", "Name a new folder outside it: the input is never changed.")
        if real_source.is_relative_to(real):
            raise OutputRefused(f"{out} holds the dataset.", "Name a new folder: the input is never changed.")
        if Path.cwd().resolve().is_relative_to(real):
            raise OutputRefused(f"{out} is the folder you are in, or holds it.", "Name a new folder.")
        if not target.parent.is_dir():
            raise OutputRefused(f"The folder {target.parent} does not exist.", "Make it first, or name another.")
        if not os.access(target.parent, os.W_OK | os.X_OK):
            raise OutputRefused(f"The folder {target.parent} cannot be written to.", "Name another, or change its permissions.")
        if not os.path.lexists(target):
            return
        if target.is_symlink() or not target.is_dir():
            raise OutputRefused(f"{out} is there and is no folder.", "Name another.")
        if not force and any(target.iterdir()):
            raise OutputRefused(f"{out} is there and is not empty.", "Name a new folder, or replace it with `force=True`.")
    except (OSError, ValueError, RuntimeError) as error:  # RuntimeError: a loop of links, before Python 3.13
        raise refused(out, error) from error


def refused(out: str | os.PathLike[str], error: Exception) -> OutputRefused:
    """Say that a place could not be written to, and why."""
    reason = error.strerror if isinstance(error, OSError) else "a name the system does not accept"
    return OutputRefused(f"{out} could not be written: {(reason or 'the system refused').lower()}.", "Nothing was changed.")
