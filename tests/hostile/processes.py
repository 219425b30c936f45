"""The commands under attack: started, watched and ended. One temporary folder holds all their files."""

import json
import os
import re
import shutil
import signal
import subprocess
import tempfile
import threading
import time
from pathlib import Path

from kit import DEADLINE_S, Failure, check_text, expect, wait_until


class Place:
    """Folders for channels, configuration and logs of one family, gone at the end."""

    def __init__(self, command):
        self.command = os.path.abspath(command)
        base = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
        self.path = Path(tempfile.mkdtemp(prefix="framelane-hostile-", dir=base))
        self.channels = self.path / "channels"
        self.config = self.path / "config"
        for folder in (self.channels, self.config):
            folder.mkdir(mode=0o700)
        self.processes = []
        self._help = {}

    def environment(self, **more):
        """The environment of a command: this place's folders, without the caller's secrets."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith("FRAMELANE")}
        return {**kept, "FRAMELANE_DIR": str(self.channels), "FRAMELANE_CONFIG": str(self.config), **more}

    def has(self, subcommand, option):
        """Returns whether this release has the option."""
        if subcommand not in self._help:
            self._help[subcommand] = self.run(subcommand, "--help").output
        return re.search(rf"{option}\b", self._help[subcommand]) is not None

    def options(self, subcommand, **values):
        """Options with their values, of those that this release has. `a__b` stands for either name."""
        found = []
        for names, value in values.items():
            for name in names.split("__"):
                option = "--" + name.replace("_", "-")
                if self.has(subcommand, option):
                    found += [option, str(value)]
                    break
        return found

    def run(self, *arguments, deadline=DEADLINE_S, program=None, stdin=None, **environment):
        """Runs a command to its end."""
        return Finished(
            program or [self.command],
            [str(word) for word in arguments],
            self.environment(**environment),
            deadline,
            self.path,
            stdin,
        )

    def start(self, *arguments, **more):
        """Starts a command, which is watched until it is stopped."""
        process = Running(self, [str(word) for word in arguments], **more)
        self.processes.append(process)
        return process

    def bytes_used(self):
        """Bytes that the files of all channels take up."""
        total = 0
        for folder, _, files in os.walk(self.channels):
            for name in files:
                try:
                    total += os.lstat(os.path.join(folder, name)).st_blocks * 512
                except OSError:
                    pass
        return total

    def close(self):
        """Ends what was started, and removes all files."""
        for process in reversed(self.processes):
            process.stop()
        shutil.rmtree(self.path, ignore_errors=True)


class Finished:
    """A command that has ended: exit code, text, the most memory that it had resident."""

    def __init__(self, program, arguments, environment, deadline, folder, stdin=None):
        self.words = " ".join(arguments)
        with tempfile.TemporaryFile(dir=folder) as log:
            process = subprocess.Popen(
                [*program, *arguments],
                env=environment,
                stdout=log,
                stderr=subprocess.STDOUT,
                stdin=stdin or subprocess.DEVNULL,
            )
            end = time.monotonic() + deadline
            while True:
                pid, status, usage = os.wait4(process.pid, os.WNOHANG)
                if pid:
                    break
                if time.monotonic() > end:
                    process.kill()
                    os.wait4(process.pid, 0)
                    process.returncode = -9
                    raise Failure(f"`{self.words}` did not end within {deadline:.0f} s")
                time.sleep(0.005)
            process.returncode = self.code = os.waitstatus_to_exitcode(status)
            self.resident = usage.ru_maxrss * 1024
            log.seek(0)
            self.output = log.read(64 << 20).decode("utf-8", "replace")

    def check(self, memory=None):
        """Fails if it crashed, panicked, took too much, or repeats an attacker's bytes."""
        expect(
            self.code >= 0 and self.code != 101,
            f"`{self.words}` ended with {self.code}: {self.output[-300:]!a}",
        )
        check_text(self.output, f"the output of `{self.words}`", marks_allowed=True)
        expect(
            memory is None or self.resident <= memory,
            f"`{self.words}` took {self.resident >> 20} MiB, more than {(memory or 0) >> 20}",
        )
        return self


class Running:
    """A command that goes on. Its output goes to a file, which is read as it grows."""

    def __init__(self, place, arguments, stdin=None, stdout=None, **environment):
        self.words = " ".join(arguments)
        self.log = place.path / f"log-{len(place.processes)}"
        with open(self.log, "wb") as log:
            self.process = subprocess.Popen(
                [place.command, *arguments],
                env=place.environment(**environment),
                stdin=stdin or subprocess.DEVNULL,
                stdout=stdout or log,
                stderr=log,
            )
        self.pid = self.process.pid
        self.checked = 0

    def text(self):
        """All that it has printed so far."""
        return self.log.read_bytes().decode("utf-8", "replace")

    def events(self):
        """The JSON objects that it has printed."""
        return [json.loads(line) for line in self.text().splitlines() if line.startswith("{")]

    def wait_for(self, pattern):
        """Waits until its output matches."""

        def found():
            match = re.search(pattern, self.text())
            if not match:
                self.expect_alive()
            return match

        return wait_until(found, lambda: f"`{self.words}` did not print {pattern}: {self.text()[-500:]!a}")

    def expect_alive(self):
        """Fails if it has ended."""
        code = self.process.poll()
        expect(code is None, f"`{self.words}` ended with {code}: {self.text()[-600:]!a}")

    def wait(self, allowed=0):
        """Waits for its end. Returns the exit code. Fails on a signal (but `allowed`) and on a panic."""
        try:
            code = self.process.wait(DEADLINE_S)
        except subprocess.TimeoutExpired:
            raise Failure(f"`{self.words}` did not end: {self.text()[-300:]!a}") from None
        expect(
            (code >= 0 or code == allowed) and code != 101,
            f"`{self.words}` ended with {code}: {self.text()[-600:]!a}",
        )
        return code

    def check_log(self, marks_allowed=False):
        """Checks what it has printed since the last time."""
        text = self.text()
        new, self.checked = text[self.checked :], len(text)
        check_text(new, f"the log of `{self.words.split(' --')[0]}`", marks_allowed)

    def usage(self):
        """Its own memory in bytes, threads and descriptors. None when it has ended."""
        try:
            status = Path(f"/proc/{self.pid}/status").read_text()
            fields = dict(line.split(":", 1) for line in status.splitlines() if ":" in line)
            return (
                int(fields["RssAnon"].split()[0]) * 1024,
                int(fields["Threads"]),
                len(os.listdir(f"/proc/{self.pid}/fd")),
            )
        except (OSError, KeyError):
            return None

    def stop(self):
        """Ends it: with SIGTERM, then with SIGKILL."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(5)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()


class Watch:
    """Looks at the memory of a process and at the size of a channel directory all the time."""

    def __init__(self, process, place):
        self.process, self.place = process, place
        self.memory = self.shared = self.descriptors = 0
        self.ended = threading.Event()
        self.thread = threading.Thread(target=self._look, daemon=True)
        self.thread.start()

    def _look(self):
        while not self.ended.wait(0.05):
            self.look()

    def look(self):
        """One look."""
        usage = self.process.usage()
        if usage:
            self.memory = max(self.memory, usage[0])
            self.descriptors = max(self.descriptors, usage[2])
        self.shared = max(self.shared, self.place.bytes_used())

    def reset(self):
        """Starts to count again."""
        self.memory = self.shared = self.descriptors = 0

    def close(self):
        """Ends the thread."""
        self.ended.set()
        self.thread.join()
