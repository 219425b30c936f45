"""Hostile channel files for `list`, `info`, `doctor`, `top`, `subscribe`, `publish` and Python."""

import os
import random
import shutil
import signal
import socket
import stat
import subprocess
import threading
import time

from kit import MIB, UGLY, Skipped, attack, expect
from processes import Place
from shm import CONTROL, DATA, ENTRY, READERS, Channel

EXTREMES = (
    0,
    1,
    2,
    255,
    4096,
    65535,
    (1 << 31) - 1,
    1 << 31,
    (1 << 32) - 1,
    (1 << 40) + 1,
    (1 << 55) - 1,
    1 << 63,
    (1 << 64) - 2,
    (1 << 64) - 1,
)
PYTHON = """
import sys, framelane
for name in sys.argv[1:]:
    try:
        with framelane.Subscriber(name, wait=0) as sub:
            frame = sub.recv(timeout=0.05)
            bytes(memoryview(frame.array).cast("B")) if frame.array.flags.c_contiguous else frame.array.copy()
    except (framelane.Error, OSError, ValueError, TimeoutError) as error:
        str(error)
print("looked at", len(sys.argv) - 1)
"""


class Looking:
    """Commands that look at a directory full of hostile files."""

    def __init__(self, command):
        self.place = Place(command)
        self.channels = []
        self.memory = 0
        self.python = self._python()

    def _python(self):
        """A Python with this release's package, if there is one."""
        name = os.environ.get("FRAMELANE_PYTHON")
        if (
            name
            and subprocess.run([name, "-c", "import framelane"], capture_output=True, check=False).returncode
            == 0
        ):
            return name
        return None

    def before(self, attack):
        """An empty directory."""
        self.memory = 0
        for channel in self.channels:
            channel.unlock()
        self.channels = []
        shutil.rmtree(self.place.channels)
        self.place.channels.mkdir(mode=0o700)

    def channel(self, name, **fields):
        """A hostile channel."""
        self.channels.append(Channel(self.place.channels, name, **fields))
        return self.channels[-1]

    def glance(self, *arguments, seconds=0.4):
        """Runs a command and ends it after a moment. Checks its exit code and its output."""
        process = self.place.start(*arguments, stdout=subprocess.DEVNULL if "--stdout" in arguments else None)
        try:
            end = time.monotonic() + seconds
            while process.process.poll() is None and time.monotonic() < end:
                time.sleep(0.02)
                usage = process.usage()
                self.memory = max(self.memory, usage[0] if usage else 0)
            if process.process.poll() is None:
                process.process.send_signal(signal.SIGTERM)
            # A command that is ended before it has installed its handler ends by the signal.
            return process.wait(allowed=-signal.SIGTERM)
        finally:
            process.check_log(marks_allowed=True)
            process.stop()
            self.place.processes.remove(process)

    def look(self, names, subscribe=True, every=1):
        """Everything that looks: at the directory, and at each of these channels."""
        place = self.place
        for arguments in (
            ["list"],
            ["list", "--json"],
            ["doctor"],
            ["doctor", "--json"],
            ["top", "--count", "1", "--interval", "0.05"],
            ["top", "--count", "1", "--interval", "0.05", "--json"],
        ):
            found = place.run(*arguments).check(256 * MIB)
            self.memory = max(self.memory, 0)
            expect(len(found.output) < 1 << 20, f"`{found.words}` printed {len(found.output)} bytes")
        for name in names[::every]:
            place.run("info", name).check(256 * MIB)
        if subscribe:
            shots = [
                ("subscribe", name, "--open-timeout", "0", "--count", "1", "--stdout", ("y4m", "raw")[number % 2])
                for number, name in enumerate(names[::every])
            ]
            self.together(shots)
        if self.python:
            place.run("-c", PYTHON, *names, program=[self.python], FRAMELANE_DIR=str(place.channels)).check(
                512 * MIB
            )

    def together(self, commands, at_once=8):
        """Glances, a few at a time."""
        errors = []

        def run(part):
            for arguments in part:
                try:
                    self.glance(*arguments)
                except Exception as error:
                    errors.append(error)

        threads = [threading.Thread(target=run, args=(commands[start::at_once],)) for start in range(at_once)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        if errors:
            raise errors[0]

    def check(self, attack):
        """Checks that an honest publisher can still make and remove a channel in the directory."""
        place = self.place
        found = place.run("publish", "testsrc=64x48@60", "honest", "--count", "3", "--rate", "max").check(
            256 * MIB
        )
        expect(found.code == 0, f"an honest publisher next to hostile files: {found.output[-300:]!a}")
        expect(
            self.memory <= attack.memory,
            f"a command took {self.memory >> 20} MiB, over {attack.memory >> 20}",
        )
        return {"memory": self.memory, "shared": place.bytes_used(), "descriptors": 0}

    def close(self):
        """Ends everything."""
        for channel in self.channels:
            channel.unlock()
        self.place.close()


@attack("stub files instead of each file: empty, one byte, a page less one, zeros, ones, noise", deep=True)
def stubs(looking):
    folder, noise, names = looking.place.channels, random.Random(1), []
    for length in (0, 1, 7, 8, 63, 511, 512, 4095, 4096, 4097, 20479, 20480, 65536):
        for kind, data in enumerate(
            (
                bytes(length),
                b"\xff" * length,
                noise.randbytes(length),
                (b"FRMLCTRL" + noise.randbytes(length))[:length],
            )
        ):
            name = f"stub{length}-{kind}"
            names.append(name)
            for part in ("control", "readers", "data.1"):
                (folder / f"{name}.{part}").write_bytes(data)
    for number, part in enumerate(("control", "readers", "data.1")):
        for length in (0, 8, 100, 4095):
            name = f"cut{number}-{length}"
            names.append(name)
            channel = looking.channel(name)
            os.truncate(channel.paths[part], length)
    looking.look(names)


@attack(
    "every field of control, readers, data and of a frame's entry, each with 14 extreme values, live",
    memory=256 * MIB,
    deep=True,
)
def fields(looking):
    numbers = [0]

    def sweep(part, table):
        names = []
        for field in table:
            if field in ("link_peer", "source_name", "source_reason"):
                continue
            for value in EXTREMES[numbers[0] % 3 :: 3]:
                numbers[0] += 1
                names.append(f"{part[0]}{numbers[0]}")
                looking.channel(names[-1], **{part: {field: value}})
            numbers[0] += 1
        looking.look(names, every=2)
        for channel in looking.channels:
            channel.remove()
        looking.channels.clear()

    for part, table in (("control", CONTROL), ("readers", READERS), ("data", DATA), ("entry", ENTRY)):
        sweep(part, table)


@attack("control characters, escapes, U+202E and invalid UTF-8 as link peer, source and reason")
def texts(looking):
    names = []
    for number, text in enumerate(
        (UGLY.encode(), b"\xff\xfe" * 96, b"a" * 192, "\u202e".encode() * 64, b"\r" * 192, b"\x1b[31m" * 30)
    ):
        names.append(f"text{number}")
        looking.channel(
            names[-1],
            control={
                "link_state": 1,
                "link_peer": text,
                "source_state": 2,
                "source_name": text,
                "source_reason": text,
            },
        )
    looking.look(names)


@attack(
    "links, FIFOs, sockets, devices and directories instead of each file: none is opened or removed",
    deep=True,
)
def no_files(looking):
    place, names = looking.place, []
    victim = place.path / "victim"
    victim.write_bytes(b"precious" * 512)
    os.truncate(victim, 4096)
    kept = victim.read_bytes()
    folder = place.path / "folder"
    folder.mkdir(exist_ok=True)
    (folder / "inside").write_bytes(b"x")
    number = 0
    for part in ("control", "readers", "data.1"):
        for kind in ("link", "dangling", "folder", "fifo", "socket", "device", "hard link", "link to folder"):
            number += 1
            name = f"odd{number}"
            names.append(name)
            channel = looking.channel(name, live=number % 2 == 0)
            path = channel.paths[part]
            path.unlink()
            if kind == "link":
                path.symlink_to(victim)
            elif kind == "dangling":
                path.symlink_to(place.path / "nowhere")
            elif kind == "folder":
                path.mkdir()
            elif kind == "fifo":
                os.mkfifo(path, 0o600)
            elif kind == "socket":
                with socket.socket(socket.AF_UNIX) as sock:
                    sock.bind(str(path))
            elif kind == "device" and os.geteuid() == 0:
                try:
                    os.mknod(path, stat.S_IFCHR | 0o600, os.makedev(1, 5))
                except PermissionError:
                    path.write_bytes(b"")
            elif kind == "hard link":
                os.link(victim, path)
            else:
                path.symlink_to(folder)
    looking.look(names)
    place.run("doctor", "--fix").check()
    looking.together(
        [("publish", "testsrc=64x48@60", name, "--count", "2", "--rate", "max") for name in names]
    )
    expect(victim.read_bytes() == kept, "a file outside the channel directory was changed")
    expect((folder / "inside").exists(), "a file outside the channel directory was removed")
    expect(not (place.path / "nowhere").exists(), "a file outside the channel directory was made")


@attack("file names with control characters, invalid UTF-8, 255 bytes, numbers beyond 64 bits")
def names_of_files(looking):
    folder = os.fsencode(looking.place.channels)
    for name in (
        UGLY.replace("\0", "").encode() + b".control",
        b"\xff\xfe.control",
        b"a" * 247 + b".control",
        b".control",
        b"@.control",
        b"..control",
        b"a@@b.control",
        b"\xe2\x80\xaegpj.control",
        b"cam.data.281474976710656",
        b"cam.data.18446744073709551616",
        b"cam.data.-1",
        b"cam.data.",
        b"cam.data.1.2",
        b".cam.0123456789abcdef.new",
        b"." + b"x" * 200 + b".zzzz.new",
        b"cam.readers",
    ):
        with open(folder + b"/" + name, "wb", opener=lambda path, flags: os.open(path, flags, 0o600)) as file:
            file.write(b"x" * 100)
    looking.look(["cam"])
    looking.glance("publish", "testsrc=64x48@60", "cam", "--count", "3", "--rate", "max", seconds=20)


@attack("data files of another user with extreme numbers: the channel can still be made", memory=64 * MIB)
def foreign_files(looking):
    if os.geteuid() != 0:
        raise Skipped("files of another user can be made by root only")
    folder = looking.place.channels
    folder.chmod(0o1777)
    for name in ("cam1.data.281474976710656", "cam1.data.2", "cam1.data.18446744073709551615"):
        path = folder / name
        path.write_bytes(b"x")
        os.chown(path, 65534, 65534)
    try:
        found = looking.place.run(
            "publish", "testsrc=64x48@60", "cam1", "--count", "3", "--rate", "max"
        ).check()
        expect(found.code == 0, f"a foreign data file keeps a name from starting: {found.output[-300:]!a}")
        left = [
            name
            for name in os.listdir(folder)
            if name.startswith("cam1.data.") and (folder / name).stat().st_uid == 0
        ]
        expect(not left, f"files are left: {left}")
    finally:
        folder.chmod(0o700)


@attack("10,000 files that are no channel's, and 300 dead channels: looking stays quick and small")
def many(looking):
    for number in range(10_000):
        (looking.place.channels / f"junk{number}").touch()
    for number in range(300):
        channel = looking.channel(f"dead{number}", live=False)
        channel.unlock()
    looking.look(["dead0", "dead299"])


@attack("files cut short, grown, replaced and rewritten while a subscriber has them mapped")
def cut_while_mapped(looking):
    noise = random.Random(2)

    def shake(channel, part, ended):
        path = channel.paths[part]
        while not ended.is_set():
            size = (0, 100, 4096, 8192, 20480, 1 << 20)[noise.randrange(6)]
            os.truncate(path, size)
            with open(path, "r+b") as file:
                file.write(noise.randbytes(noise.randrange(4096)))
            channel.set(wake=noise.randrange(1 << 32), head=noise.randrange(1 << 63), generation=1, state=1)

    for part in ("data.1", "readers", "control"):
        channel, ended = looking.channel(f"shaken-{part[0]}"), threading.Event()
        thread = threading.Thread(target=shake, args=(channel, part, ended))
        thread.start()
        try:
            looking.together(
                [
                    ("subscribe", channel.name, "--stdout", "raw", "--delivery", delivery, "--open-timeout", "1")
                    for delivery in ("newest", "every")
                ]
                * 2
                + [("info", channel.name), ("list",)]
            )
        finally:
            ended.set()
            thread.join()


@attack("a control file whose epoch, head, generation and state change all the time", memory=64 * MIB)
def restless(looking):
    channel, ended, noise = looking.channel("restless"), threading.Event(), random.Random(3)

    def shake():
        while not ended.is_set():
            channel.set(
                epoch=noise.randrange(1 << 64),
                head=noise.randrange(1 << 64),
                generation=noise.randrange(3),
                state=noise.randrange(4),
                wake=noise.randrange(1 << 32),
                dropped=noise.randrange(1 << 64),
                given=noise.randrange(1 << 64),
            )

    thread = threading.Thread(target=shake)
    thread.start()
    try:
        looking.together(
            [
                ("subscribe", "restless", "--stdout", "raw", "--delivery", delivery, "--open-timeout", "1")
                for delivery in ("newest", "every")
            ]
            + [
                ("subscribe", "restless", "--json", "--reconnect"),
                ("info", "restless", "--json"),
                ("top", "--count", "1", "--interval", "0.1"),
            ]
        )
    finally:
        ended.set()
        thread.join()


@attack(
    "a sparse ring of 3 GiB that holds one frame: a subscriber does not fill it with memory",
    memory=128 * MIB,
    shared=256 * MIB,
)
def sparse(looking):
    looking.channel("sparse", slots=2, slot_bytes=3 << 29)
    most = [0]
    ended = threading.Event()

    def watch():
        while not ended.wait(0.02):
            most[0] = max(most[0], looking.place.bytes_used())

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        looking.glance("subscribe", "sparse", "--count", "1", "--stdout", "raw", seconds=10)
    finally:
        ended.set()
        thread.join()
    expect(most[0] < 256 * MIB, f"a subscriber filled {most[0] >> 20} MiB of a hole with memory")


@attack("`doctor --fix` while its directory is swapped for a link: nothing behind the link is removed")
def swapped_directory(looking):
    place = looking.place
    above, elsewhere = place.path / "above", place.path / "elsewhere"
    for folder in (above, above / "mine", elsewhere):
        folder.mkdir(mode=0o700, exist_ok=True)
    # The link leads to the caller's directory and to the other one in turn. Only the first has a dead
    # channel.
    link = above / "channels"
    live = Channel(elsewhere, "live")
    ended = threading.Event()

    def swap():
        while not ended.is_set():
            for folder in (elsewhere, above / "mine"):
                os.symlink(folder, above / "next")
                os.rename(above / "next", link)

    thread = threading.Thread(target=swap)
    thread.start()
    try:
        for _ in range(10):
            Channel(above / "mine", "live", live=False)
            place.run("doctor", "--fix", FRAMELANE_DIR=str(link)).check()
    finally:
        ended.set()
        thread.join()
    left = sorted(os.listdir(elsewhere))
    live.remove()
    expect(
        left == ["live.control", "live.data.1", "live.readers"],
        f"a live channel elsewhere was touched: {left}",
    )
