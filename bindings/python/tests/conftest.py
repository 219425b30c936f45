"""Every test gets a channel directory, and must leave it empty."""

import gc
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import tempfile
import textwrap

import pytest

import framelane

sys.path.insert(0, str(pathlib.Path(__file__).parents[3] / "tests" / "kit"))

from pytest_kit import (  # noqa: E402, F401
    DEADLINE_S,
    limit,
    pytest_configure,
    pytest_make_collect_report,
    pytest_runtest_makereport,
    until,
)

# A shell starts its background jobs with SIGINT ignored, which the programs of the tests would inherit.
signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(autouse=True)
def directory(monkeypatch):
    path = pathlib.Path(tempfile.mkdtemp(prefix="framelane-test-", dir="/dev/shm"))
    path.chmod(0o700)
    monkeypatch.setenv("FRAMELANE_DIR", str(path))
    yield path
    gc.collect()
    left = sorted(entry.name for entry in path.iterdir())
    shutil.rmtree(path)
    assert left == [], "a clean end leaves nothing behind"


@pytest.fixture
def publisher():
    with framelane.Publisher("cam0") as publisher:
        yield publisher


@pytest.fixture
def subscriber(publisher):
    with framelane.Subscriber("cam0", open_timeout=0) as subscriber:
        yield subscriber


def _thread_status(thread, field):
    with open(f"/proc/self/task/{thread}/status") as status:
        return next(line.split()[1] for line in status if line.startswith(field + ":"))


def threads():
    """The threads of this process."""
    return {int(thread) for thread in os.listdir("/proc/self/task")}


def sleeps(threads):
    """Counts the times that these threads have gone to sleep."""
    return sum(int(_thread_status(thread, "voluntary_ctxt_switches")) for thread in threads)


def until_asleep(threads):
    """Waits until each of these threads was seen asleep, which one that spins never is."""
    awake = set(threads)

    def all_seen():
        awake.difference_update({thread for thread in awake if _thread_status(thread, "State") == "S"})
        return not awake

    until(all_seen)


def most_sleeps(threads, seconds):
    """Returns a bound on the sleeps of waiting threads: twice a second each, on a busy machine too.

    A thread that wakes takes the interpreter's lock, and a wait for that lock is a sleep for every 5 ms.
    """
    return len(threads) * (2 * seconds + 1) * 20


def leases(channel="cam0"):
    """Returns the number of slots that the subscribers of a channel hold."""
    (status,) = [status for status in framelane.list_channels() if status.name == channel]
    return sum(subscriber.leases for subscriber in status.subscribers)


class Script:
    """A Python program in another process. `wait_for` reads its lines."""

    def __init__(self, source, *arguments):
        command = [sys.executable, "-u", "-c", textwrap.dedent(source), *map(str, arguments)]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    def wait_for(self, line):
        for found in self.process.stdout:
            if found.strip() == line:
                return
        pytest.fail(f"expected the line {line!r}; stderr: {self.process.stderr.read()}")

    def until_it_sleeps(self):
        """Until its main thread waits in a system call (a futex or a poll), as a blocked call does."""

        def asleep():
            assert self.process.poll() is None, self.process.stderr.read()
            with open(f"/proc/{self.process.pid}/stat") as stat:
                return stat.read().rsplit(")", 1)[1].split()[0] == "S"

        until(asleep)

    def finish(self):
        out, err = self.process.communicate(timeout=DEADLINE_S)
        return self.process.returncode, out, err


@pytest.fixture
def script():
    running = []

    def start(source, *arguments):
        running.append(Script(source, *arguments))
        return running[-1]

    yield start
    for each in running:
        if each.process.poll() is None:
            each.process.kill()
        each.process.communicate()


def address(array):
    return array.__array_interface__["data"][0]


def mapping_of(location):
    """Permissions and path of the mapping that holds an address."""
    with open("/proc/self/maps") as maps:
        for line in maps:
            fields = line.split(maxsplit=5)
            start, end = (int(edge, 16) for edge in fields[0].split("-"))
            if start <= location < end:
                return fields[1], os.path.basename(fields[5].strip()) if len(fields) > 5 else ""
    raise AssertionError(f"{location:#x} is not mapped")
