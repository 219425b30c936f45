"""`Subscriber(writable=True)`: images that can be drawn into; and what a write to a read-only one says."""

import signal

import numpy as np
import pytest

import framelane
from conftest import address, leases, mapping_of


@pytest.fixture
def writable(publisher):
    with framelane.Subscriber("cam0", open_timeout=0, writable=True) as subscriber:
        yield subscriber


def image(value, shape=(120, 160, 3)):
    return np.full(shape, value, "uint8")


def test_writes_stay_with_frame_and_reader(publisher, subscriber, writable):
    """Fills every slot several times. Neither other readers nor later frames in a slot see the drawing."""
    for value in range(1, 31):
        publisher.send(image(value))
        mine = writable.recv(timeout=10)
        assert (mine.array == value).all()
        mine.array[10:20] = 200
        mine.array[-1, -1] = 201
        other = subscriber.recv(timeout=10)
        assert (other.array == value).all()
        assert (mine.array[10:20] == 200).all() and (mine.array[20:-1] == value).all()
        assert mine.intact and other.intact
    again = framelane.Subscriber("cam0", open_timeout=0, writable=True)
    assert (again.recv(timeout=10).array == 30).all(), "not even another frame object of the same sequence"
    again.close()


def test_views_of_one_writable_frame_share_changes(publisher, writable):
    publisher.send(image(1))
    frame = writable.recv(timeout=10)
    frame.array[0, 0] = 9
    assert (frame.planes[0][0, 0] == 9).all() and (frame.copy()[0, 0] == 9).all()
    permissions, path = mapping_of(address(frame.array))
    assert permissions == "rw-p" and "cam0" not in path
    ok, copied = frame.array, np.from_dlpack(frame)
    copied[1, 1] = 8
    assert (ok[1, 1] == 8).all()


def test_array_of_a_writable_frame_outlives_the_channel(publisher, writable):
    kept = []
    for value in range(30):
        assert publisher.send(image(value))
        kept.append(writable.recv(timeout=10).array)
        kept[-1][0] = 255
    assert leases() == 0
    publisher.close()
    for value, array in enumerate(kept):
        assert (array[1:] == value).all() and (array[0] == 255).all()


def test_default_frame_is_read_only(publisher, subscriber):
    publisher.send(image(3))
    frame = subscriber.recv(timeout=10)
    assert not frame.array.flags.writeable
    with pytest.raises(ValueError, match="read-only"):
        frame.array[0] = 1


def test_sizes_may_change_under_writable_frames(publisher, writable):
    for n in range(1, 12):
        shape = (n * 7, n * 11)
        publisher.send(image(n, shape))
        array = writable.recv(timeout=10).array
        assert array.shape == shape and (array == n).all()
        array[...] = 255


def test_opencv_draws_into_writable_frame(publisher, subscriber, writable):
    cv2 = pytest.importorskip("cv2")
    publisher.send(image(0))
    frame = writable.recv(timeout=10)
    cv2.rectangle(frame.array, (10, 10), (50, 40), (0, 255, 0), 2)
    assert frame.array[10, 30, 1] == 255
    assert (subscriber.recv(timeout=10).array == 0).all()


def test_read_into_own_frame_keeps_it(publisher, writable):
    publisher.send(image(5))
    held = writable.recv(timeout=10).array
    publisher.send(image(6))
    ok, same = writable.read(held, timeout=10)
    assert ok and same is held and (held == 6).all()


WRITES = """
import ctypes, faulthandler, framelane, numpy as np, resource
resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
BEFORE
pub = framelane.Publisher("cam0")
sub = framelane.Subscriber("cam0", open_timeout=0)
pub.send(np.full((100, 100), 7, "uint8"))
frame = sub.recv(timeout=10)
AFTER
print("writing")
WRITE
print("returned")
"""
TO_FRAME = "ctypes.memset(frame.array.ctypes.data, 1, 100)"


def crash(script, write, before="", after=""):
    ended = script(WRITES.replace("WRITE", write, 1).replace("BEFORE", before).replace("AFTER", after))
    code, out, err = ended.finish()
    assert out == "writing\n"
    # A killed publisher leaves its files.
    framelane.doctor(remove=True)
    return code, err


def test_write_to_read_only_frame_says_so_and_ends_process(script):
    code, err = crash(script, TO_FRAME)
    assert code == -signal.SIGSEGV
    message = "framelane: write to a received frame of channel cam0, which is read-only; work on a copy"
    assert err.count(message) == 1


@pytest.mark.parametrize("place", ["before", "after"])
def test_write_to_a_read_only_frame_has_a_traceback(script, place):
    if place == "after":
        # One more wait: there the handler looks whether it still is the first.
        setup = "faulthandler.enable()\ntry: sub.recv(timeout=0.01)\nexcept framelane.Timeout: pass"
    else:
        setup = "faulthandler.enable()"
    code, err = crash(script, TO_FRAME, **{place: setup})
    assert code == -signal.SIGSEGV
    assert err.count("work on a copy") == 1
    assert err.count("Fatal Python error: Segmentation fault") == 1 and "<string>" in err


@pytest.mark.parametrize("setup", ["", "faulthandler.enable()"])
def test_fault_elsewhere_is_handled_as_before(script, setup):
    later = setup + "\nlater = framelane.Subscriber('cam0', open_timeout=0)"
    code, err = crash(script, "ctypes.memset(16, 1, 1)", after=later)
    assert code == -signal.SIGSEGV
    assert "framelane: write" not in err
    assert err.count("Fatal Python error") == (1 if setup else 0)


@pytest.mark.parametrize("number", ["SIGSEGV", "SIGBUS"])
@pytest.mark.parametrize("setup", ["", "faulthandler.enable()"])
def test_raised_fault_signal_ends_process_as_before(script, number, setup):
    code, err = crash(script, f"import signal; signal.raise_signal(signal.{number})", before=setup)
    assert code == -getattr(signal, number)
    assert err.count("Fatal Python error") == (1 if setup else 0)


TRUNCATED = """
import faulthandler, framelane, numpy as np, os
BEFORE
pub = framelane.Publisher("cam0")
sub = framelane.Subscriber("cam0", open_timeout=0, writable=WRITABLE)
pub.send(np.full((100, 100), 7, "uint8"))
AFTER
frame = sub.recv(timeout=10)
os.truncate(os.path.join(os.environ["FRAMELANE_DIR"], "cam0.data.1"), 0)
print(int(frame.array.sum()), frame.intact)
"""


@pytest.mark.parametrize("writable", [False, True])
@pytest.mark.parametrize("place", ["BEFORE", "AFTER", "neither"])
def test_truncated_file_is_survived_whenever_faulthandler_came(script, place, writable):
    again = "\ntry: framelane.Subscriber('none', open_timeout=0)\n"
    again += "except framelane.Timeout: pass\nsub.close()\n"
    again += f"sub = framelane.Subscriber('cam0', open_timeout=0, writable={writable})"
    source = TRUNCATED.replace("WRITABLE", str(writable))
    source = source.replace(place, "faulthandler.enable()" + (again if place == "AFTER" else ""))
    source = source.replace("BEFORE", "").replace("AFTER", "")
    # A writable frame has been copied before.
    outcome = "70000 True\n" if writable else "0 False\n"
    assert script(source).finish() == (0, outcome, "")


def test_faulthandler_enabled_while_reader_waits_is_survived(script, publisher, directory):
    """The next wait puts the handler in front again."""
    source = """
import faulthandler, framelane, os
sub = framelane.Subscriber("cam0", delivery="every", open_timeout=0)
faulthandler.enable()
print("waiting")
frame = sub.recv()
os.truncate(os.path.join(os.environ["FRAMELANE_DIR"], "cam0.data.1"), 0)
print(int(frame.array.sum()), frame.intact)
"""
    waiting = script(source)
    waiting.wait_for("waiting")
    waiting.until_it_sleeps()
    publisher.send(image(7, (100, 100)))
    assert waiting.finish() == (0, "0 False\n", "")


