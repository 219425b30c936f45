"""1080p frames as JPEGs over TCP in the old format: framelane at both ends, and programs that move one byte
per system call.

    python legacy.py --framelane PATH --peers FOLDER [--clip FILE] > LEGACY.md

`--clip`: a film; else ffmpeg's moving test pattern. Its frames lie uncompressed in a file, so that no side
decodes video. PATH is the `framelane` program, FOLDER has the C++ programs of tests/legacy.
"""

import argparse
import json
import multiprocessing
import os
import pathlib
import socket
import subprocess
import tempfile
import time

import cv2
import numpy as np

from figures import SCENARIOS, compare_rates, in_turn
from peers import bytewise
from report import machine, table

LEGACY, FRAME = SCENARIOS["legacy"], SCENARIOS["frame"]
SHAPE = (FRAME["height"], FRAME["width"], 3)
QUALITY = LEGACY["quality"]


def make_frames(path, source):
    """Some BGR frames of the film or of the pattern."""
    size = f"{FRAME['width']}x{FRAME['height']}"
    given = ["-i", source] if source else ["-f", "lavfi", "-i", f"testsrc2=size={size}:rate=30,noise=alls=4:allf=t"]
    scale = f"scale={size.replace('x', ':')}:flags=bicubic"
    output = ["-an", "-vf", scale, "-frames:v", str(LEGACY["frames"]), "-f", "rawvideo", "-pix_fmt", "bgr24", path]
    subprocess.run(["ffmpeg", "-v", "error", "-nostdin", "-y", *given, *output], check=True)


def make_jpegs(raw, folder):
    """The same frames as files, for the programs that do not encode."""
    paths = []
    for number, image in enumerate(np.memmap(raw, np.uint8, "r").reshape(-1, *SHAPE)):
        paths.append(str(pathlib.Path(folder) / f"{number}.jpg"))
        cv2.imwrite(paths[-1], image, [cv2.IMWRITE_JPEG_QUALITY, QUALITY])
    return paths


def rate(times):
    return (len(times) - 1) / (times[-1] - times[0])


def with_framelane(program, raw):
    """`framelane publish` into a channel, `send` to `receive` over TCP, into another channel."""

    def run(*arguments):
        command = [program, *map(str, arguments), "--json"]
        return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)

    count = LEGACY["framelane_frames_per_round"]
    receive = run("receive", "legacy://127.0.0.1:0", "bench-out", "--count", count)
    source = json.loads(receive.stdout.readline())["source"]
    layout = f"bgr8:{FRAME['width']}x{FRAME['height']}@{LEGACY['publish_fps']}"
    publish = run("publish", raw, "bench-in", "--raw", layout, "--loop")
    send = run("send", "bench-in", source, "--quality", QUALITY)
    lines = [json.loads(line) for line in receive.stdout]
    for process in (send, publish):
        process.terminate()
        process.communicate()
    assert lines[-1]["frames"] == count and lines[-1]["broken"] == 0, lines[-1]
    return lines[-1]["frames_per_second"]


def with_python(raw):
    """Both ends encode and decode by OpenCV."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe(duplex=False)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        receiver = context.Process(target=bytewise.receive, args=(listener, SHAPE, theirs))
        receiver.start()
        arguments = (port, raw, SHAPE, QUALITY, LEGACY["seconds_per_round"])
        sender = context.Process(target=bytewise.send, args=arguments)
        sender.start()
        times = ours.recv()
        sender.join()
        receiver.join()
    return rate(times)


def with_cpp(folder, jpegs):
    """Both ends carry the bytes alone, nothing is encoded and decoded: faster than programs that do."""
    receiver = subprocess.Popen([f"{folder}/stream_receiver", "0", "1"], stdout=subprocess.PIPE, text=True)
    port = receiver.stdout.readline().strip()
    rounds = str(max(1, round(LEGACY["cpp_frames_per_round"] / len(jpegs))))
    sender = subprocess.Popen([f"{folder}/stream_sender", port, "1", rounds, *jpegs], stdout=subprocess.DEVNULL)
    times = [time.monotonic() for _ in receiver.stdout]
    assert sender.wait() == 0 and receiver.wait() == 0
    return rate(times)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--framelane", required=True)
    parser.add_argument("--peers", required=True)
    parser.add_argument("--clip")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, tempfile.TemporaryDirectory(dir="/dev/shm") as directory:
        os.environ["FRAMELANE_DIR"] = directory
        raw = str(pathlib.Path(folder) / "frames.bgr")
        make_frames(raw, given.clip)
        jpegs = make_jpegs(raw, folder)
        jpeg_kb = round(sum(os.path.getsize(path) for path in jpegs) / len(jpegs) / 1000)
        ways = {
            "framelane": lambda: with_framelane(given.framelane, raw),
            "python": lambda: with_python(raw),
            "cpp": lambda: with_cpp(given.peers, jpegs),
        }
        rates = {way: [] for way in ways}
        for number in range(LEGACY["rounds"]):
            for way in in_turn(number, list(ways)):
                rates[way].append(ways[way]())
    ours = ("framelane send → framelane receive", rates["framelane"])
    work = "channel → JPEG over TCP → channel"
    python = "one byte per system call, Python with OpenCV"
    cpp = "one byte per system call, C++, JPEGs made before"
    rows = [
        compare_rates(work, "frames/s", ours, (python, rates["python"]), LEGACY["target"]),
        # Less than the same work, so without a target.
        compare_rates(work, "frames/s", ours, (cpp, rates["cpp"])),
    ]
    about = machine()
    clip = "the film given by CLIP" if given.clip else "ffmpeg's test pattern with noise"
    print("# Legacy stream\n")
    print("Generated by `bench/run legacy`. All programs ran in turn. "
          "The ratio is framelane : peer, the median over the")
    print(f"rounds. 1080p, {clip}. JPEG of quality {QUALITY}, {jpeg_kb} kB a frame. Rates are")
    print("the median round, with the lowest and the highest round in brackets.\n")
    print(f"Machine: {about['cpu']}, {about['cores']} cores, "
          f"Linux {about['kernel']}, Python {about['python']}.\n")
    print("\n".join(table(rows)))


if __name__ == "__main__":
    main()
