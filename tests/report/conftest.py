"""Each report made by hand, in turn."""

import pytest

from dataset_doctor.findings import Report
from tests.report.reports import REPORTS


@pytest.fixture(params=REPORTS.values(), ids=REPORTS)
def report(request: pytest.FixtureRequest) -> Report:
    made: Report = request.param()
    return made
