"""Lists of channels, and leftovers of a crash."""

import os
import time

import numpy as np
import pytest

import framelane
from conftest import until


def test_channel_list_has_publisher_frames_and_readers(publisher, subscriber):
    publisher.send(np.zeros((4, 6, 3), "uint8"))
    publisher.send(np.zeros((4, 6, 3), "uint8"))
    frame = subscriber.recv(timeout=10)
    (status,) = framelane.list_channels()
    assert (status.name, status.state, status.fault) == ("cam0", "live", None)
    assert (status.publisher_pid, status.epoch) == (os.getpid(), publisher.epoch)
    assert (status.sequence, status.dropped, status.slots, status.backpressure) == (2, 0, 6, "drop")
    assert (status.format, status.width, status.height) == ("bgr8", 6, 4)
    assert status.newest_published_ns == frame.published_ns
    assert status.memory_bytes > 6 * 4 * 6 * 3 and status.generation >= 1
    (reader,) = status.subscribers
    assert (reader.index, reader.pid, reader.delivery, reader.cursor) == (0, os.getpid(), "newest", 2)
    assert (reader.leases, reader.received, reader.dropped) == (1, 1, 1)
    assert "cam0" in repr(status) and "newest" in repr(reader)


def test_stalled_channel_has_the_time_since_its_newest_frame(publisher):
    (status,) = framelane.list_channels()
    assert status.period_ns is status.stalled_ns is None
    publisher.send(np.zeros((4, 6, 3), "uint8"), duration_ns=1_000_000)
    until(lambda: framelane.list_channels()[0].stalled_ns)
    (status,) = framelane.list_channels()
    assert status.state == "live" and status.period_ns == 1_000_000
    assert 1_000_000_000 < status.stalled_ns <= time.monotonic_ns() - status.newest_published_ns


def test_an_empty_directory_lists_nothing(directory):
    assert framelane.list_channels() == framelane.list_channels(directory) == []


def test_doctor_removes_files_of_a_killed_publisher(publisher, directory, script):
    dying = script(
        """
        import framelane, numpy as np, signal
        publisher = framelane.Publisher("dead")
        publisher.send(np.zeros((4, 4), "uint8"))
        print("sent")
        signal.pause()
        """
    )
    dying.wait_for("sent")
    dying.process.kill()
    dying.process.wait()
    found = framelane.doctor()
    assert found.directory == str(directory) and found.live_channels == 1
    assert 0 < found.free_bytes <= found.total_bytes
    (leftover,) = found.leftovers
    assert (leftover.channel, leftover.removed) == ("dead", False)
    assert str(dying.process.pid) in leftover.reason and leftover.bytes > 0
    assert all(os.path.exists(file) for file in leftover.files)
    (removed,) = framelane.doctor(directory, remove=True).leftovers
    assert removed.removed and not any(os.path.exists(file) for file in removed.files)
    assert framelane.doctor().leftovers == []
    assert [status.name for status in framelane.list_channels()] == ["cam0"]
    assert "dead" in repr(removed) and str(directory) in repr(found)


def test_color_is_printed_with_names_and_compares_by_code_points():
    color = framelane.Color(matrix=1, primaries=3, range="limited")
    assert str(color) == "matrix bt709, primaries reserved (3), transfer unknown, range limited"
    assert repr(color) == 'Color(matrix=1, primaries=3, transfer=2, range="limited")'
    with pytest.raises(ValueError, match="unspecified or limited or full"):
        framelane.Color(range="tv")


def test_channel_of_this_machine_has_no_link_status():
    with framelane.Publisher("cam0"):
        assert framelane.list_channels()[0].link is None


def test_age_of_a_frame_grows_also_after_its_release(publisher, subscriber):
    publisher.send(np.zeros((2, 2), "uint8"))
    frame = subscriber.recv(timeout=10)
    age = frame.age_ns
    frame.release()
    assert 0 <= age <= frame.age_ns
