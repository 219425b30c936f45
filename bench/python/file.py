"""A 1080p H.264 file into another process: framelane, OpenCV, and the ffmpeg program for the decoding alone.

    python file.py --framelane PATH [--clip FILE] [--json FILE]

`--clip`: a film to loop and scale; else ffmpeg's moving test pattern with noise. PATH is the `framelane`
program. Every reader looks at a sparse grid of every frame, so that it cannot be left unread.
"""

import argparse
import json
import multiprocessing
import os
import pathlib
import subprocess
import sys
import tempfile
import time

import numpy as np

from figures import SCENARIOS, compare_rates, in_turn

FILE, FRAME = SCENARIOS["file"], SCENARIOS["frame"]
SHAPE = (FRAME["height"], FRAME["width"], 3)
SLOTS = 2


def make_clip(path, source):
    """A film of 30 frames/s and some 8 Mbit/s with B-frames, as x264 makes it."""
    size = f"{FRAME['width']}x{FRAME['height']}"
    pattern = ["-f", "lavfi", "-i", f"testsrc2=size={size}:rate=30,noise=alls=4:allf=t"]
    given = ["-stream_loop", "-1", "-i", source] if source else pattern
    scale = f"scale={size.replace('x', ':')}:flags=bicubic,fps=30,format=yuv420p"
    coding = ["-an", "-c:v", "libx264", "-preset", "fast", "-crf", "21", "-frames:v", str(FILE["frames"])]
    run = ["ffmpeg", "-v", "error", "-y", *given, "-vf", scale, *coding, str(path)]
    subprocess.run(run, check=True)


def look(array):
    """The same small work on every frame, on both sides."""
    return int(array[::32, ::32].sum())


class Reading:
    """Counts frames in the reading process; its account goes to the parent."""

    def __init__(self):
        self.count, self.sum = 0, 0

    def frame(self, array):
        assert array.shape == SHAPE
        now = time.monotonic()
        if not self.count:
            self.first = now
        self.last, self.count, self.sum = now, self.count + 1, self.sum + look(array)

    def account(self):
        return {"frames": self.count, "sum": self.sum, "fps": (self.count - 1) / (self.last - self.first)}


def read_framelane(channel, pipe):
    import framelane

    reading = Reading()
    pipe.send("ready")
    with framelane.Subscriber(channel, delivery="every", open_timeout=30) as subscriber:
        for frame in subscriber:
            reading.frame(frame.array)
            frame.release()
    pipe.send(reading.account())


def with_framelane(program, clip):
    """The `framelane` program publishes, and skips no frame."""
    context = multiprocessing.get_context("spawn")
    pipe, their_pipe = context.Pipe()
    channel = f"bench-{os.getpid()}"
    child = context.Process(target=read_framelane, args=(channel, their_pipe))
    child.start()
    pipe.recv()
    began = time.monotonic()
    command = [program, "publish", clip, channel, "--rate", "max", "--backpressure", "block"]
    command += ["--format", "bgr8", "--wait-subscribers", "1"]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    account = pipe.recv()
    account["whole"] = account["frames"] / (time.monotonic() - began)
    child.join()
    return account


def read_shared(name, free, full, total, pipe):
    from multiprocessing.shared_memory import SharedMemory

    memory, reading, at = SharedMemory(name), Reading(), 0
    size = int(np.prod(SHAPE))
    pipe.send("ready")
    while True:
        full.acquire()
        if reading.count == total.value:
            break
        reading.frame(np.frombuffer(memory.buf, np.uint8, size, at * size).reshape(SHAPE))
        free.release()
        at = (at + 1) % SLOTS
    pipe.send(reading.account())
    os._exit(0)  # arrays on the memory live on: it cannot be closed in good order


def with_opencv(clip, in_place=False):
    """VideoCapture, a copy into one of two slots of shared memory, semaphores. No frame is skipped.

    `in_place`: OpenCV writes into the slot itself, which it does when the array fits.
    """
    from multiprocessing.shared_memory import SharedMemory

    import cv2

    context = multiprocessing.get_context("spawn")
    pipe, their_pipe = context.Pipe()
    free, full, total = context.Semaphore(SLOTS), context.Semaphore(0), context.Value("q", -1)
    size = int(np.prod(SHAPE))
    memory = SharedMemory(create=True, size=SLOTS * size)
    child = context.Process(target=read_shared, args=(memory.name, free, full, total, their_pipe))
    child.start()
    pipe.recv()
    slots = [np.frombuffer(memory.buf, np.uint8, size, at * size).reshape(SHAPE) for at in range(SLOTS)]
    began = time.monotonic()
    capture, at, count = cv2.VideoCapture(clip, cv2.CAP_FFMPEG), 0, 0
    image = np.empty(SHAPE, np.uint8)
    while True:
        if in_place:
            free.acquire()
            more, given = capture.read(slots[at])
            assert not more or given is slots[at]
        else:
            more, image = capture.read(image)
            if more:
                free.acquire()
                np.copyto(slots[at], image)
        if not more:
            break
        full.release()
        at, count = (at + 1) % SLOTS, count + 1
    total.value = count
    full.release()
    account = pipe.recv()
    account["whole"] = account["frames"] / (time.monotonic() - began)
    child.join()
    slots = None
    memory.close()
    memory.unlink()
    return account


def with_ffmpeg(clip, *output):
    """The ffmpeg program, start to end; frames are decoded, converted and thrown away."""
    began = time.monotonic()
    command = ["ffmpeg", "-v", "error", "-nostdin", "-i", clip, "-an", *output, "-f", "null", "-"]
    subprocess.run(command, check=True)
    return {"frames": FILE["frames"], "whole": FILE["frames"] / (time.monotonic() - began)}


def with_framelane_i420(program, clip):
    """The decoder writes where readers would read; start to end, as ffmpeg."""
    began = time.monotonic()
    channel = f"bench-i420-{os.getpid()}"
    command = [program, "publish", clip, channel, "--rate", "max", "--format", "i420"]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return {"frames": FILE["frames"], "whole": FILE["frames"] / (time.monotonic() - began)}


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--framelane", required=True)
    parser.add_argument("--clip")
    parser.add_argument("--json")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, tempfile.TemporaryDirectory(dir="/dev/shm") as directory:
        os.environ["FRAMELANE_DIR"] = directory
        clip = str(pathlib.Path(folder) / "clip.mp4")
        make_clip(clip, arguments.clip)
        program = arguments.framelane
        ways = {
            "framelane": lambda: with_framelane(program, clip),
            "opencv": lambda: with_opencv(clip),
            "opencv in place": lambda: with_opencv(clip, in_place=True),
            "ffmpeg bgr24": lambda: with_ffmpeg(clip, "-pix_fmt", "bgr24"),
            "framelane i420": lambda: with_framelane_i420(program, clip),
            "ffmpeg": lambda: with_ffmpeg(clip),
        }
        rounds = {way: [] for way in ways}
        for number in range(FILE["rounds"]):
            for way in in_turn(number, list(ways)):
                account = ways[way]()
                print(f"  {way}: {account}", file=sys.stderr, flush=True)
                assert account["frames"] == FILE["frames"], f"{way}: frames are missing"
                rounds[way].append(account)

    def rates(way, of="whole"):
        return [account[of] for account in rounds[way]]

    ours = "framelane publish → Subscriber"
    rows = [
        compare_rates(
            "file → BGR numpy in another process", "frames/s", (ours, rates("framelane", "fps")),
            ("cv2.VideoCapture + copy to shared memory + frombuffer", rates("opencv", "fps")),
            FILE["target_opencv"],
        ),
        compare_rates(
            "file → BGR numpy in another process", "frames/s", (ours, rates("framelane", "fps")),
            ("cv2.VideoCapture.read into shared memory + frombuffer", rates("opencv in place", "fps")),
        ),
        compare_rates(
            "file → BGR numpy in another process, start to end", "frames/s", (ours, rates("framelane")),
            ("ffmpeg -pix_fmt bgr24 -f null", rates("ffmpeg bgr24")), FILE["target_ffmpeg_bgr"],
        ),
        compare_rates(
            "file → I420 in shared memory, start to end", "frames/s",
            ("framelane publish", rates("framelane i420")),
            ("ffmpeg -f null", rates("ffmpeg")), FILE["target_ffmpeg_i420"],
        ),
    ]  # fmt: skip
    text = json.dumps(rows, indent=1, ensure_ascii=False)
    if arguments.json:
        pathlib.Path(arguments.json).write_text(text)
    else:
        print(text)


if __name__ == "__main__":
    main()
