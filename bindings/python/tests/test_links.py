"""URLs instead of channel names: needs the `framelane` command ($FRAMELANE_COMMAND, else the debug build)."""

import contextlib
import json
import os
import pathlib
import socket
import struct
import subprocess
import threading

import numpy as np
import pytest

import framelane
from conftest import DEADLINE_S

# The number of this kind of error in a refusal.
TIMEOUT = 13
TARGET = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", pathlib.Path(__file__).parents[3] / "target"))
COMMAND = pathlib.Path(os.environ.get("FRAMELANE_COMMAND", TARGET / "debug" / "framelane"))

pytestmark = pytest.mark.skipif(not COMMAND.exists(), reason=f"command: {COMMAND} is missing (cargo build)")


class Server:
    def __init__(self, directory, *options):
        command = [COMMAND, "serve", "--listen", "tcp://127.0.0.1:0", "--anonymous", "--json", *options]
        environment = {**os.environ, "FRAMELANE_DIR": str(directory)}
        self.directory = directory
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)
        self.address = json.loads(self.process.stdout.readline())["address"]
        # A full pipe would block the command.
        self.reader = threading.Thread(target=self.process.stdout.read, daemon=True)
        self.reader.start()

    def url(self, rest):
        return f"{self.address}/{rest}"

    def publisher(self, channel, **options):
        return framelane.Publisher(channel, directory=self.directory, **options)

    def close(self):
        self.process.terminate()
        self.process.wait()
        self.reader.join()
        self.process.stdout.close()


@pytest.fixture
def serve(tmp_path):
    running = []

    def start(*options):
        directory = tmp_path / f"there{len(running)}"
        directory.mkdir()
        running.append(Server(directory, *options))
        return running[-1]

    yield start
    for server in running:
        server.close()


def picture(value):
    return np.full((4, 6, 3), value, "uint8")


def test_frames_come_and_boxes_go_back_to_the_very_frame(serve):
    server = serve()
    with server.publisher("cam0") as publisher:
        publisher.send(picture(1))
        with framelane.Subscriber(server.url("cam0"), open_timeout=60) as subscriber:
            boxes = framelane.DetectionPublisher(server.url("cam0/detections"), labels=["a"])
            found = None
            for value in range(1, 6):
                frame = subscriber.recv(timeout=60)
                assert (frame.array == value).all()
                assert frame.id.epoch == publisher.epoch and frame.id.sequence == publisher.sequence
                boxes.send(frame, [[0, 0, value, 1]], [0.5])
                found = found or framelane.DetectionSubscriber("cam0/detections", directory=server.directory, open_timeout=60)
                batch = found.for_frame(publisher.sequence, timeout=60, epoch=publisher.epoch)
                assert batch.boxes_xyxy[0][2] == value
                publisher.send(picture(value + 1))
            boxes.close()


def test_an_iteration_ends_when_the_channel_is_closed_there(serve):
    server = serve()
    publisher = server.publisher("cam0", backpressure="block")
    with framelane.Subscriber(server.url("cam0"), delivery="every", open_timeout=60) as subscriber:

        def send():
            for value in range(20):
                publisher.send(picture(value))
            publisher.drain()
            publisher.close()

        thread = threading.Thread(target=send)
        thread.start()
        values = [int(frame.array[0, 0, 0]) for frame in subscriber]
        thread.join()
        assert values == list(range(20))


def test_who_may_not_is_told_by_exceptions_of_their_kind(serve):
    server = serve("--read", "cam*", "--write", "none")
    # Over tcp:// without a token the server is anybody, so that its words are not shown.
    with pytest.raises(framelane.PermissionDenied, match="not authenticated"):
        framelane.Subscriber(server.url("secret"), open_timeout=60)
    publisher = framelane.Publisher(server.url("cam0"))
    with pytest.raises(framelane.PermissionDenied, match="not authenticated"):
        while True:
            publisher.send(picture(0))
    publisher.close()
    with pytest.raises(framelane.Timeout):
        framelane.Subscriber(server.url("cam1"), open_timeout=0.2)
    with pytest.raises(framelane.InvalidOption, match="option of a link"):
        framelane.Subscriber(server.url("cam0?speed=9"))
    with pytest.raises(framelane.InvalidOption, match="the token file"):
        framelane.Subscriber(server.url("cam0?token-file=/nonexistent"), open_timeout=1, urls="trusted")


@pytest.mark.parametrize("delivery", ["newest", "every"])
def test_drain_raises_the_fault_of_a_refused_link(serve, delivery):
    server = serve("--write", "none")
    with framelane.Publisher(server.url(f"cam0?delivery={delivery}")) as publisher:
        publisher.send(picture(0))
        for timeout in (DEADLINE_S, None, 0):
            with pytest.raises(framelane.PermissionDenied, match="not authenticated"):
                publisher.drain(timeout)
    with framelane.DetectionPublisher(server.url(f"cam0/detections?delivery={delivery}")) as boxes:
        boxes.send(framelane.FrameId("cam0", 1, 1), [])
        with pytest.raises(framelane.PermissionDenied, match="not authenticated"):
            boxes.drain(DEADLINE_S)


def test_drain_raises_a_link_fault_of_the_kind_timeout():
    body = struct.pack("<IIHH", TIMEOUT, 0, 0, 0)
    refusal = b"FRMLLINK" + struct.pack("<HHIQ", 3, 0, len(body), 0) + body
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def refuse():
            peer, _ = listener.accept()
            with peer:
                peer.sendall(refusal)
                with contextlib.suppress(OSError):
                    while peer.recv(4096):
                        pass

        thread = threading.Thread(target=refuse)
        thread.start()
        with framelane.Publisher(f"tcp://127.0.0.1:{listener.getsockname()[1]}/cam0") as publisher:
            publisher.send(picture(0))
            with pytest.raises(framelane.Timeout, match="the peer ended the link"):
                publisher.drain()
        thread.join()


@pytest.mark.parametrize("option", ["insecure=1", "token-file=/etc/hostname", "certificate=/tmp", "max-bytes=999999999"])
def test_url_with_weakening_option_needs_trust(option):
    url = f"tcp://203.0.113.7/cam0?{option}"
    for open_url in (
        framelane.Subscriber,
        framelane.Publisher,
        framelane.DetectionSubscriber,
        framelane.DetectionPublisher,
    ):
        with pytest.raises(framelane.InvalidOption, match="only a trusted URL may have"):
            open_url(url)


def test_urls_are_refused_where_only_names_are_wanted():
    for open_url in (
        framelane.Subscriber,
        framelane.Publisher,
        framelane.DetectionSubscriber,
        framelane.DetectionPublisher,
    ):
        for url in ("tcp://203.0.113.7/cam0", "unix:/x.sock/cam0", "tls://h/cam0?insecure=1"):
            with pytest.raises(framelane.InvalidName, match="which this program refuses"):
                open_url(url, urls="refuse")
        with pytest.raises(ValueError, match="urls"):
            open_url("cam0", urls="all")


def test_url_against_the_mode_argument_is_refused(serve):
    server = serve()
    with pytest.raises(framelane.InvalidOption, match="one delivery"):
        framelane.Subscriber(server.url("cam0?delivery=newest"), "every", open_timeout=1)


def test_other_threads_run_while_a_link_is_waited_for_and_closed(serve):
    server = serve()
    ticks, done = [], threading.Event()

    def tick():
        while not done.wait(0.001):
            ticks.append(None)

    thread = threading.Thread(target=tick)
    thread.start()
    with pytest.raises(framelane.Timeout):
        framelane.Subscriber(server.url("cam0"), open_timeout=0.3)
    before = len(ticks)
    publisher = framelane.Publisher("tcp://127.0.0.1:9/cam0")
    publisher.send(picture(1))
    publisher.close()
    done.set()
    thread.join()
    assert before > 10 and len(ticks) > before + 10


def test_exit_while_daemon_thread_waits_for_link_leaves_no_files(serve, script, directory):
    server = serve()
    with server.publisher("cam0"):
        ended = script(
            f"""
            import framelane, threading
            subscriber = framelane.Subscriber({server.url("cam0")!r}, open_timeout=60)
            began = threading.Event()
            def work():
                began.set()
                subscriber.recv()
            threading.Thread(target=work, daemon=True).start()
            began.wait()
            """
        )
        assert ended.finish() == (0, "", "")
        assert list(directory.iterdir()) == []
