"""Deadlines, and skips that are counted."""

import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).parents[1] / "kit"))

from pytest_kit import limit, pytest_configure, pytest_make_collect_report, pytest_runtest_makereport  # noqa: E402, F401
