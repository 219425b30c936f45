"""Hand-off latency and copy throughput between languages, in turn, against Rust to Rust: 1080p bgr8.

    python run.py RUST_PROGRAM CPP_PROGRAM PYTHON [--rounds N] [--duration SECONDS]

Latency is the time from the stamp of the publish call until the reader has the frame, in C++ as a cv::Mat, in
Python as an array. A frame is published every 1/60 s. Each round runs all pairs, and each ratio is within one
round. Medians over rounds are printed.
"""

import argparse
import json
import os
import pathlib
import statistics
import subprocess
import tempfile

PAIRS = [("rust", "rust"), ("c++", "c++"), ("c++", "rust"), ("rust", "c++"), ("c++", "python"), ("python", "c++"), ("python", "python")]

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("rust")
parser.add_argument("cpp")
parser.add_argument("python")
parser.add_argument("--rounds", type=int, default=7)
parser.add_argument("--duration", type=float, default=3.0)
options = parser.parse_args()
commands = {
    "rust": [options.rust],
    "c++": [options.cpp],
    "python": [options.python, str(pathlib.Path(__file__).with_name("bench.py"))],
}
seconds = str(options.duration)
latency, copies = {pair: [] for pair in PAIRS}, {language: [] for language in commands}
with tempfile.TemporaryDirectory(dir="/dev/shm") as directory:
    environment = {**os.environ, "FRAMELANE_DIR": directory}
    for _ in range(options.rounds):
        for publisher, reader in PAIRS:
            reading = subprocess.Popen([*commands[reader], "read", "bench"], env=environment, stdout=subprocess.PIPE, text=True)
            subprocess.run([*commands[publisher], "publish", "bench", "60", seconds], env=environment, check=True)
            latency[publisher, reader].append(json.loads(reading.communicate()[0]))
        for language, command in commands.items():
            output = subprocess.run([*command, "copy", "bench", "1"], env=environment, check=True, capture_output=True, text=True)
            copies[language].append(json.loads(output.stdout)["frames_per_second"])


def ratio(values, base):
    return statistics.median(value / of for value, of in zip(values, base))


base = [run["p50_us"] for run in latency["rust", "rust"]]
print("| hand-off, 60/s | p50 | p99 | p50 against Rust → Rust |\n|---|---|---|---|")
for (publisher, reader), runs in latency.items():
    p50, p99 = [run["p50_us"] for run in runs], [run["p99_us"] for run in runs]
    print(f"| {publisher} → {reader} | {statistics.median(p50):.1f} µs | {statistics.median(p99):.0f} µs "
          f"| {ratio(p50, base):.2f}× |")
print("\n| one copy into a slot | frames/s | against Rust |\n|---|---|---|")
for language, rates in copies.items():
    print(f"| {language} | {statistics.median(rates):.0f} | {ratio(rates, copies['rust']):.2f}× |")
