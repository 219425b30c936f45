"""The hooks, in runs of pytest within the tests."""

import pathlib
import subprocess
import sys

import pytest

KIT = pathlib.Path(__file__).parent
CONFTEST = f"""
import sys
sys.path.insert(0, {str(KIT)!r})
from pytest_kit import limit, pytest_configure, pytest_make_collect_report, pytest_runtest_makereport
"""


@pytest.fixture
def run(tmp_path, monkeypatch):
    monkeypatch.delenv("FRAMELANE_MAY_LACK", raising=False)
    monkeypatch.delenv("FRAMELANE_REQUIRE_ALL", raising=False)
    monkeypatch.setenv("FRAMELANE_SKIP_LOG", str(tmp_path / "skips"))

    def run(source, **environment):
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        (tmp_path / "conftest.py").write_text(CONFTEST)
        imports = "import os\nimport pytest\nfrom pytest_kit import until\n"
        (tmp_path / "test_it.py").write_text(imports + source)
        command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--rootdir", tmp_path, tmp_path]
        done = subprocess.run(command, capture_output=True, text=True)
        log = tmp_path / "skips"
        return done.returncode, done.stdout + done.stderr, log.read_text() if log.exists() else ""

    return run


SKIPS = "def test_a():\n    pytest.skip('moon: no such device')\n"


def test_skip_is_logged_and_passes(run):
    code, _, log = run(SKIPS)
    assert (code, log) == (0, "moon\ttest_it.py::test_a\tmoon: no such device\n")


def test_skip_fails_when_all_are_required(run):
    code, text, _ = run(SKIPS, FRAMELANE_REQUIRE_ALL="1", FRAMELANE_MAY_LACK="media")
    assert code == 1 and "it needs moon: moon: no such device" in text


def test_skip_passes_when_its_need_may_lack(run):
    assert run(SKIPS, FRAMELANE_REQUIRE_ALL="1", FRAMELANE_MAY_LACK="media,moon")[0] == 0


def test_missing_module_fails_a_whole_file_that_is_required(run):
    code, text, log = run("pytest.importorskip('no_such')\n", FRAMELANE_REQUIRE_ALL="1")
    assert code != 0 and "it needs no_such" in text and log.startswith("no_such\t")


def test_wait_past_the_deadline_names_the_condition(run):
    code, text, _ = run("def test_a():\n    until(lambda: 1 + 1 == 3)\n", FRAMELANE_TEST_DEADLINE="1")
    assert code == 1 and "until(lambda: 1 + 1 == 3)" in text


def test_hung_test_shows_where_it_waits(run):
    source = "def test_a():\n    os.read(os.pipe()[0], 1)\n"
    code, text, _ = run(source, FRAMELANE_TEST_DEADLINE="0.1")
    assert code == 1 and "test_it.py" in text and "in test_a" in text and "Timeout" in text
