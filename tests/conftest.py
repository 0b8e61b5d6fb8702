"""Places that several tests use."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from dataset_doctor.scan import _engines

ROOT = Path(__file__).parent.parent
SHARED = ROOT.parent / "shared"
FIXTURES = ROOT / "fixtures"


@pytest.fixture(scope="session", autouse=True)
def _cache_of_the_tests(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Keep what scans remember out of the user's cache folder, in this process and in those it starts."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DATASET_DOCTOR_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="session", autouse=True)
def _workers_of_the_tests() -> Iterator[None]:
    """Hand the worker processes of scans on from test to test: starting them takes ten times as long as most of the tests' datasets."""
    idle: list[_engines.Worker] = []

    class Lent(_engines.Local):
        def __init__(self, workers: int) -> None:
            self._workers = [idle.pop() if idle else _engines.Worker() for _ in range(workers)]

        def close(self) -> None:
            if any(worker._closed.is_set() for worker in self._workers):
                super().close()
            else:
                idle.extend(self._workers)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_engines, "Local", Lent)
        yield
    for worker in idle:
        worker.close()
        worker.reap()


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real datasets with counted truth, which lies beside the checkout and is not part of it."""
    folder = SHARED / "data"
    if not folder.is_dir():
        pytest.skip(f"the real datasets are not at {folder}")
    return folder
