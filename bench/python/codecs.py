"""The cost of each codec of a link: a real 1080p picture at 30 frames/s over this machine's loopback, with
and without TLS.

    python codecs.py --framelane PATH [--clip FILE] > CODECS.md

`framelane publish` plays uncompressed frames from a file, `framelane serve` encodes them, and `framelane
receive` decodes them into a channel. Processor time is that of the last two, from /proc. `--clip` is a film,
by default the moving test pattern of ffmpeg.
"""

import argparse
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import time

from figures import SCENARIOS, in_turn
from report import machine

CODECS, FRAME = SCENARIOS["codecs"], SCENARIOS["frame"]
FPS, SIZE = CODECS["fps"], f"{FRAME['width']}x{FRAME['height']}"
TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")


def make_frames(path, source):
    """Some BGR frames of the film or of the pattern."""
    given = ["-i", source] if source else ["-f", "lavfi", "-i", f"testsrc2=size={SIZE}:rate={FPS},noise=alls=4:allf=t"]
    scale = f"scale={SIZE.replace('x', ':')}:flags=bicubic"
    output = ["-an", "-vf", scale, "-frames:v", str(CODECS["frames"]), "-f", "rawvideo", "-pix_fmt", "bgr24", path]
    subprocess.run(["ffmpeg", "-v", "error", "-nostdin", "-y", *given, *output], check=True)


def start(program, *arguments):
    command = [program, *map(str, arguments), "--json"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    return process, json.loads(process.stdout.readline())


def end(process):
    process.terminate()
    lines, _ = process.communicate()
    return [json.loads(line) for line in lines.splitlines()]


def seconds_on_processor(process):
    fields = pathlib.Path(f"/proc/{process.pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / TICKS_PER_SECOND  # utime and stime


def measure(program, listening, codec, fingerprint):
    """One round of one codec over one server."""
    serve, address = listening
    trust = ["--fingerprint", fingerprint] if address.startswith("tls") else []
    receive, _ = start(program, "receive", f"{address}/source", "sink", "--codec", codec, *trust)
    try:
        for line in receive.stdout:
            event = json.loads(line)
            if event["event"] == "channel" and event["live"]:
                break
        time.sleep(CODECS["warmup_seconds"])  # keyframes, buffers, the encoder's first pictures
        before, begun = [seconds_on_processor(process) for process in (serve, receive)], time.monotonic()
        time.sleep(CODECS["seconds_per_round"])
        after, elapsed = [seconds_on_processor(process) for process in (serve, receive)], time.monotonic() - begun
    finally:
        summary = end(receive)[-1]
    frames, lost = summary["frames"], summary["missed"] + summary["dropped"] + summary["damaged"]
    assert frames > 0, summary
    return {
        "mbit_per_second": summary["bytes"] / frames * FPS * 8 / 1e6,
        "serve_percent": (after[0] - before[0]) / elapsed * 100,
        "receive_percent": (after[1] - before[1]) / elapsed * 100,
        "p50_ms": summary["latency"]["p50_us"] / 1000,
        "p99_ms": summary["latency"]["p99_us"] / 1000,
        "left_out_percent": 100 * lost / (frames + lost),
    }


def median(rounds, key):
    values = sorted(measured[key] for measured in rounds)
    return values[len(values) // 2]


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--framelane", required=True)
    parser.add_argument("--clip")
    given = parser.parse_args()
    program = given.framelane
    with tempfile.TemporaryDirectory() as folder, tempfile.TemporaryDirectory(dir="/dev/shm") as directory:
        os.environ.update(FRAMELANE_DIR=directory, FRAMELANE_CONFIG=folder)
        raw = str(pathlib.Path(folder) / "frames.bgr")
        make_frames(raw, given.clip)
        identity = [program, "identity", "server", "--name", "127.0.0.1", "--json"]
        fingerprint = json.loads(subprocess.run(identity, check=True, capture_output=True, text=True).stdout)["fingerprint"]
        publish, _ = start(program, "publish", raw, "source", "--raw", f"bgr8:{SIZE}@{FPS}", "--loop")
        servers = []
        try:
            for scheme in ("tcp", "tls"):
                serve, listening = start(program, "serve", "--listen", f"{scheme}://127.0.0.1:0", "--anonymous")
                servers.append((serve, listening["address"]))
            ways = [(codec, listening) for codec in CODECS["codecs"] for listening in servers]
            rounds = {(codec, address): [] for codec, (_, address) in ways}
            for number in range(CODECS["rounds"]):
                for codec, listening in in_turn(number, ways):
                    measured = measure(program, listening, codec, fingerprint)
                    rounds[codec, listening[1]].append(measured)
                    print(codec, listening[1], {key: round(value, 2) for key, value in measured.items()}, file=sys.stderr)
        finally:
            for process in [publish, *(serve for serve, _ in servers)]:
                end(process)
    about = machine()
    clip = "the film given by CLIP" if given.clip else "ffmpeg's test pattern with noise"
    seconds = CODECS["seconds_per_round"]
    print("# Codecs of links\n")
    print("Generated by `bench/run codecs`: `framelane serve` to `framelane receive` over loopback.")
    print("The codecs ran in turn. Each figure is the median of "
          f"{CODECS['rounds']} rounds of {seconds} s. 1080p BGR at {FPS} frames/s, {clip},")
    print(f"{CODECS['frames']} frames in a loop.\n")
    print(f"Machine: {about['cpu']}, {about['cores']} cores, Linux {about['kernel']}.\n")
    print("| codec | over | Mbit/s | serve, % of a core | receive, % of a core "
          "| capture → published, p50 ms | p99 ms | skipped |")
    print("|---|---|---|---|---|---|---|---|")
    for (codec, address), measured in rounds.items():
        cells = [f"{median(measured, key):,.{digits}f}" for key, digits in COLUMNS]
        print("| " + " | ".join([f"`{codec}`", address.split(":")[0].upper(), *cells]) + " % |")
    print("\n*Mbit/s*: payloads of frames at the full rate. "
          "Other messages of the link, TCP and TLS add less than 1 %.")
    print("*Serve* reads the channel, encodes, encrypts and sends. "
          "*Receive* receives, decrypts, decodes and publishes.")
    print("*Skipped*: frames that were not ready in time, "
          "because the machine was busy or the codec slower than the rate.")
    print("Latencies include the start of each round.")


COLUMNS = [
    ("mbit_per_second", 1),
    ("serve_percent", 0),
    ("receive_percent", 0),
    ("p50_ms", 1),
    ("p99_ms", 1),
    ("left_out_percent", 1),
]


if __name__ == "__main__":
    main()
