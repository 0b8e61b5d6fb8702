"""The fuzzer: a few hundred cases hold, the same each time, and what does not hold is found and made small."""

from __future__ import annotations

import pytest

from tests.fuzz import laws
from tests.fuzz.cases import FORMATS, Failure, damaged, minimised, run

CASES = 75


@pytest.mark.parametrize("part", [pytest.param(part, marks=pytest.mark.slow if part else ()) for part in range(3)])
@pytest.mark.parametrize("format", FORMATS)
def test_damaged_datasets_keep_the_laws(format: str, part: int) -> None:
    """No exception, nothing lost in silence, the source as it was, standard JSON, and what is written reads back as planned."""
    for seed in range(part * CASES // 3, (part + 1) * CASES // 3):
        outcome = run(format, seed)
        assert isinstance(outcome, str), f"python -m tests.fuzz --format {format} --seed {seed}\n{outcome.text}"


def test_a_seed_is_always_the_same_case() -> None:
    """Format and seed alone make a case, so that a failure can be tried again."""
    for format in FORMATS:
        assert [damaged(format, seed) for seed in range(40)] == [damaged(format, seed) for seed in range(40)]
        assert len({str(damaged(format, seed)) for seed in range(40)}) > 35


@pytest.mark.slow
def test_a_fault_is_found_and_made_small(monkeypatch: pytest.MonkeyPatch) -> None:
    """A planted exception on empty image files is a failure, of which little more than such a file is left."""

    def planted(dataset: laws.Dataset) -> None:
        if (dataset.images.file_width < 0).any():
            raise ZeroDivisionError("planted")

    monkeypatch.setattr(laws, "all_counted", planted)
    failure = next(found for seed in range(400) if isinstance(found := run("voc", seed), Failure))
    small = minimised(failure)

    assert "planted" in failure.kind
    assert 0 < len(small) < len(damaged("voc", failure.seed)[0])
