"""Python to Python over TCP on this machine: 1080p BGR, uncompressed.

    python network.py --framelane PATH [--json FILE] [--ways NAME,NAME]

*As fast as it goes*: whole frames that arrive in a second. A sender without flow control (imagezmq PUB/SUB,
plain TCP) is held to a few frames ahead of the reader by a semaphore, so that nothing is lost and memory
stays bounded. *Paced*: from the sending call to the array in the other process's hand.

A picture is written where the transport expects it: in the slot of the channel (`in place`), or in one of a
few arrays of the caller, which `send` copies or passes on. PATH is the `framelane` program.
"""

import argparse
import json
import multiprocessing
import os
import sys
import tempfile
import time

import numpy as np

import peers
from figures import SCENARIOS, compare_rates, compare_times, in_turn
from handoff import END, MEASURED, PICTURE, SHAPE, WARM_UP

NETWORK = SCENARIOS["network"]
AHEAD = NETWORK["frames_ahead"]


class Way:
    """One peer in one use. `ahead`: it does not wait for the reader by itself."""

    def __init__(self, name, kind, in_place=False, ahead=False):
        self.name, self.kind, self.in_place, self.ahead = name, kind, in_place, ahead


IN_PLACE = Way("framelane, in place", peers.FramelaneLink, in_place=True)
SEND = Way("framelane", peers.FramelaneLink)
PUSH = Way("framelane, publisher to a URL", peers.FramelanePush)
EVERY_IN_PLACE = Way("framelane, every frame, in place", peers.FramelaneLinkEvery, in_place=True)
EVERY = Way("framelane, every frame", peers.FramelaneLinkEvery)
PUB_SUB = Way("imagezmq PUB/SUB", peers.ImageZmqTcp, ahead=True)
REQ_REP = Way("imagezmq REQ/REP", peers.ImageZmqAsks)
NET_GEAR = Way("NetGear (raw)", peers.NetGearRaw)
PLAIN = Way("plain TCP", peers.PlainTcp, ahead=True)
PEERS = [PUB_SUB, REQ_REP, NET_GEAR]
FREE = [EVERY, EVERY_IN_PLACE, SEND, *PEERS, PLAIN]
PACED = [SEND, IN_PLACE, PUSH, *PEERS, PLAIN]


def mark(image, kind, number):
    """The frame's number at both ends; at last the time."""
    words = image.reshape(-1)
    words[-8:].view(np.int64)[:] = number
    words[:24].view(np.int64)[:] = (kind, number, time.monotonic_ns())


def receive(peer, slack, pipe):
    """The reading process: when each measured frame was here, how old it was."""
    receiver, times, latencies, wrong, last = peer.receiver(), [], [], 0, 0
    pipe.send("ready")
    while True:
        image = receiver.receive()
        now = time.monotonic_ns()
        words = image.reshape(-1)
        kind, number, sent = words[:24].view(np.int64).tolist()
        wrong += number <= last or number != words[-8:].view(np.int64)[0] or image.shape != SHAPE
        last = number
        if slack is not None:
            slack.release()
        if kind == MEASURED:
            times.append(now)
            latencies.append(now - sent)
        if kind == END:
            break
    pipe.send((times, latencies, int(wrong)))
    pipe.recv()
    os._exit(0)  # some peers' threads never end


def run(way, fps):
    """One round, as fast as it goes without `fps`: when the frames arrived, and how old they were, in ns."""
    context = multiprocessing.get_context("spawn")
    peer = way.kind(f"bench-{os.getpid()}-{time.monotonic_ns()}", SHAPE, context)
    sender = peer.sender()
    slack = context.Semaphore(AHEAD) if way.ahead and fps is None else None
    pipe, their_pipe = context.Pipe()
    child = context.Process(target=receive, args=(peer, slack, their_pipe))
    child.start()
    try:
        times, latencies, wrong = send(way, fps, sender, slack, pipe)
        pipe.send("bye")
    finally:
        child.join(5)
        child.kill()
        sender.close()
    assert wrong == 0, f"{way.name}: {wrong} torn or repeated frames"
    expected = 0.75 * (fps or 0) * NETWORK["seconds_per_round"]
    assert len(times) >= expected, f"{way.name}: {len(times)} arrived"
    return times, latencies


def send(way, fps, sender, slack, pipe):
    """Sends until the reader has said what it saw."""
    assert pipe.recv() == "ready"
    time.sleep(0.3)  # sockets connect in the background
    # More than are ahead: imagezmq goes on reading a picture after its send.
    pictures = [PICTURE.copy() for _ in range(AHEAD + 2)]
    period = 0 if fps is None else 1 / fps
    start = due = time.monotonic()
    measured, over = start + NETWORK["warmup_seconds"], start + NETWORK["warmup_seconds"] + NETWORK["seconds_per_round"]
    number = 0
    while True:
        number += 1
        if slack is not None:
            slack.acquire()
        now = time.monotonic()
        kind = WARM_UP if now < measured else MEASURED if now < over else END

        def fill(image):
            # Paced, the picture is new each time, as a camera's.
            if fps is not None:
                np.copyto(image, PICTURE)
            mark(image, kind, number)

        if way.in_place:
            sender.publish(fill)
        else:
            image = pictures[number % len(pictures)]
            fill(image)
            sender.send(image)
        if kind == END and pipe.poll(0.05):
            return pipe.recv()
        due = max(due + period, time.monotonic())  # no burst after a delay
        time.sleep(max(0, due - time.monotonic()))


def rate(times):
    return (len(times) - 1) / (times[-1] - times[0]) * 1e9


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--framelane", required=True)
    parser.add_argument("--json")
    names = sorted({way.name for way in FREE + PACED})
    parser.add_argument("--ways", help="only these, of " + "; ".join(names))
    given = parser.parse_args()
    os.environ["FRAMELANE"] = given.framelane
    wanted = None if given.ways is None else given.ways.split(";")
    chosen = lambda ways: [way for way in ways if wanted is None or way.name in wanted]
    with tempfile.TemporaryDirectory(dir="/dev/shm") as directory:
        os.environ["FRAMELANE_DIR"] = directory
        rows = free_running(chosen(FREE))
        for fps in NETWORK["fps"]:
            rows += paced(chosen(PACED), fps)
    text = json.dumps(rows, indent=1, ensure_ascii=False)
    if given.json:
        with open(given.json, "w") as file:
            file.write(text)
    else:
        print(text)


def rounds_of(ways, fps, figure):
    rounds = {way.name: [] for way in ways}
    for number in range(NETWORK["rounds"]):
        for way in in_turn(number, ways):
            rounds[way.name].append(figure(*run(way, fps)))
            value = rounds[way.name][-1]
            value = value if fps is None else sorted(value)[len(value) // 2] / 1e6
            print(f"  {way.name}: {value:.2f}", file=sys.stderr, flush=True)
    return rounds


def free_running(ways):
    rounds = rounds_of(ways, None, lambda times, _: rate(times))
    work = "raw 1080p over TCP, as fast as it goes: frames that arrive"
    pairs = compared(rounds, [EVERY, EVERY_IN_PLACE], [SEND], NETWORK["target_rate"])
    return [compare_rates(work, "frames/s", ours, peer, target) for ours, peer, target in pairs]


def paced(ways, fps):
    rounds = rounds_of(ways, fps, lambda _, latencies: latencies)
    work = f"raw 1080p over TCP, {fps} frames/s: send call → array in hand"
    pairs = compared(rounds, [SEND, IN_PLACE], [PUSH], NETWORK["target_latency"])
    return [compare_times(work, ours, peer, target) for ours, peer, target in pairs]


def compared(rounds, ours, variants, target):
    """Return pairs: the way with a target with each peer and TCP itself, other uses of framelane with it."""
    pairs = [(way, peer, target) for way in ours for peer in PEERS]
    pairs += [(way, PLAIN, None) for way in [*ours, *variants]]
    for way, peer, target in pairs:
        if way.name in rounds and peer.name in rounds:
            yield (way.name, rounds[way.name]), (peer.name, rounds[peer.name]), target


if __name__ == "__main__":
    main()
