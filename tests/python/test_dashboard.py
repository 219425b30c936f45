"""Pictures of `framelane dashboard` in OpenCV and FFmpeg."""

import json
import os
import pathlib
import shutil
import subprocess
import tempfile

import pytest

ROOT = pathlib.Path(__file__).parents[2]


@pytest.fixture
def dashboard():
    """Starts a test pattern and a dashboard, and returns the URL of the dashboard."""
    command = os.environ.get("FRAMELANE_COMMAND")
    if command is None:
        target = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
        command = target / "debug" / "framelane"
    if not pathlib.Path(command).exists():
        pytest.fail("the command framelane is missing: build it with `cargo build --package framelane-cli`")
    directory = tempfile.mkdtemp(prefix="framelane-test-", dir="/dev/shm")
    environment = {**os.environ, "FRAMELANE_DIR": directory}
    running = []

    def start(*arguments):
        process = subprocess.Popen([command, *arguments, "--json"], env=environment, stdout=subprocess.PIPE, text=True)
        running.append(process)
        return json.loads(process.stdout.readline())

    try:
        start("publish", "testsrc=640x360@30", "cam0", "--format", "i420")
        yield start("dashboard", "--listen", "127.0.0.1:0")["url"]
    finally:
        for process in running:
            process.terminate()
            process.communicate()
        shutil.rmtree(directory)


def bars(image):
    """The colours in the middle of the eight bars of the test pattern, as blue, green, red."""
    height, width = image.shape[:2]
    return [image[height // 3, int(width * (bar + 0.5) / 8)].tolist() for bar in range(8)]


def test_opencv_reads_the_stream_with_the_colours_of_the_pattern(dashboard):
    cv2 = pytest.importorskip("cv2")
    capture = cv2.VideoCapture(f"{dashboard}channels/cam0/stream.mjpg")
    assert capture.isOpened()
    try:
        first, last = [capture.read() for _ in range(20)][:: 19]
        assert first[0] and last[0]
        assert first[1].shape == (360, 640, 3)
        # The white bar covers at most one of them.
        expected = [[191, 191, 191], [0, 191, 191], [191, 191, 0], [0, 191, 0], [191, 0, 191], [0, 0, 191], [191, 0, 0]]
        close = [max(abs(a - b) for a, b in zip(found, wanted)) < 12 for found, wanted in zip(bars(first[1]), expected)]
        assert close.count(False) <= 1, bars(first[1])
        assert (first[1] != last[1]).any()
    finally:
        capture.release()


def test_ffmpeg_reads_the_stream(dashboard):
    if shutil.which("ffmpeg") is None:
        pytest.skip("ffmpeg: it is not installed")
    command = ["ffmpeg", "-nostdin", "-v", "error", "-f", "mpjpeg", "-i", f"{dashboard}channels/cam0/stream.mjpg"]
    # One line for each frame.
    command += ["-frames:v", "5", "-f", "framecrc", "-"]
    output = subprocess.run(command, check=True, capture_output=True, text=True, timeout=120).stdout
    frames = [line for line in output.splitlines() if not line.startswith("#")]
    assert len(frames) == 5
    assert len({frame.split(",")[-1] for frame in frames}) > 1
