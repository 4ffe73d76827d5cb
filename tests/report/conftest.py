"""A report that is written once for all tests."""

import pytest
from support.reports import SMALL, logged, picture

from gspnl.report import write_report


@pytest.fixture(scope="session")
def report(tmp_path_factory):
    """A report of a small photo: its folder, its numbers, the lines it logged, the photo."""
    root = tmp_path_factory.mktemp("report")
    path = picture(root / "four <areas>.png")
    with logged() as lines:
        numbers = write_report(path, root / "out", SMALL)
    return root / "out", numbers, lines, path
