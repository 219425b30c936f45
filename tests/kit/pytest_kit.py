"""Deadlines and skips of the Python tests, as the crate next to this file has them for Rust.

A conftest.py imports the hooks by name. `FRAMELANE_TEST_DEADLINE` is the longest wait in seconds. A whole
test may take eight deadlines. `FRAMELANE_SKIP_LOG` names a file that gets a line for each skip. With
`FRAMELANE_REQUIRE_ALL=1` a skip fails, unless the comma-separated list `FRAMELANE_MAY_LACK` contains its
need: the module that cannot be imported, or the word before the colon of the reason.
"""

import faulthandler
import inspect
import os
import re
import time

import pytest

DEADLINE_S = float(os.environ.get("FRAMELANE_TEST_DEADLINE", "120"))
WAITS = 8

_terminal = None


def pytest_configure(config):
    # The real standard error: pytest captures descriptor 2 while a test runs.
    global _terminal
    with config.pluginmanager.getplugin("capturemanager").global_and_fixture_disabled():
        _terminal = os.dup(2)


@pytest.fixture(autouse=True)
def limit():
    """Ends the whole run with the stacks of all threads when a test hangs."""
    faulthandler.dump_traceback_later(WAITS * DEADLINE_S, exit=True, file=_terminal)
    yield
    faulthandler.cancel_dump_traceback_later()


def until(predicate):
    """Polls: for conditions in other processes and threads that nothing announces. Returns the value."""
    end = time.monotonic() + DEADLINE_S
    while not (value := predicate()):
        if time.monotonic() > end:
            pytest.fail(f"waited {DEADLINE_S:.0f} s until {inspect.getsource(predicate).strip()}")
        time.sleep(0.001)
    return value


def _need(reason):
    found = re.match(r"(?:Skipped: )?(?:could not import '([\w.]+)'|([\w-]+): )", reason)
    return (found[1] or found[2]) if found else "unknown"


def _count(report):
    """Logs a skip, and makes it a failure when the need is required."""
    if not report.skipped or hasattr(report, "wasxfail"):
        return
    reason = report.longrepr[2].removeprefix("Skipped: ")
    need = _need(reason)
    if log := os.environ.get("FRAMELANE_SKIP_LOG"):
        with open(log, "a") as file:
            file.write(f"{need}\t{report.nodeid}\t{reason}\n")
    allowed = os.environ.get("FRAMELANE_MAY_LACK", "").split(",")
    if os.environ.get("FRAMELANE_REQUIRE_ALL") == "1" and need not in allowed:
        report.outcome = "failed"
        report.longrepr = (
            f"cannot skip {report.nodeid}: FRAMELANE_REQUIRE_ALL is set; it needs {need}: {reason}"
        )


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport():
    outcome = yield
    _count(outcome.get_result())


@pytest.hookimpl(hookwrapper=True)
def pytest_make_collect_report():
    outcome = yield
    _count(outcome.get_result())
