"""Python to Python: from the publishing call to the numpy array in the other process's hand.

    python handoff.py [--json FILE] [--peers NAME,NAME]

`in place`: the picture has been written where the readers will see it; what is measured is the hand-off
itself. `send`: the picture is an array of the publisher's own, and the call copies it. imagezmq and NetGear
know only this one.
"""

import argparse
import json
import multiprocessing
import os
import time

import numpy as np

import peers
from figures import SCENARIOS, compare_times, in_turn

FRAME, PYTHON = SCENARIOS["frame"], SCENARIOS["python_handoff"]
SHAPE = (FRAME["height"], FRAME["width"], 3)
WARM_UP, MEASURED, END = 1, 2, 3
PICTURE = (np.arange(np.prod(SHAPE)) % 251).astype(np.uint8).reshape(SHAPE)


def write(image, kind, number):
    """A whole picture; at last the time."""
    np.copyto(image, PICTURE)
    words = image.reshape(-1)
    words[-8:].view(np.int64)[:] = number
    words[:24].view(np.int64)[:] = (kind, number, time.monotonic_ns())


def receive(peer, pipe):
    """The reading process."""
    receiver, latencies, wrong, last = peer.receiver(), [], 0, 0
    pipe.send("ready")
    while True:
        image = receiver.receive()
        now = time.monotonic_ns()
        words = image.reshape(-1)
        kind, number, sent = words[:24].view(np.int64).tolist()
        wrong += number <= last or number != words[-8:].view(np.int64)[0] or image.shape != SHAPE
        last = number
        if kind == MEASURED:
            latencies.append(now - sent)
        if kind == END:
            break
    pipe.send((latencies, int(wrong)))
    pipe.recv()
    os._exit(0)  # some peers' threads never end


def run(kind, in_place, fps):
    """One round: the latencies of its frames, in ns."""
    context = multiprocessing.get_context("spawn")
    peer = kind(f"bench-{os.getpid()}-{time.monotonic_ns()}", SHAPE, context)
    sender = peer.sender()
    pipe, their_pipe = context.Pipe()
    child = context.Process(target=receive, args=(peer, their_pipe))
    child.start()
    assert pipe.recv() == "ready"
    time.sleep(0.2)  # sockets connect in the background
    period, count = 1 / fps, PYTHON["seconds_per_round"] * fps
    warm_up = PYTHON["warmup_frames"]
    due, number = time.monotonic(), 0
    while True:
        number += 1
        over = number > warm_up + count
        mark = END if over else MEASURED if number > warm_up else WARM_UP
        if in_place:
            sender.publish(lambda array: write(array, mark, number))
        else:
            image = np.empty_like(PICTURE)  # a new one, as a camera gives: imagezmq goes on reading the old one
            write(image, mark, number)
            sender.send(image)
        if over and pipe.poll(0.05):
            break
        due = max(due + period, time.monotonic())  # no burst after a delay
        time.sleep(max(0, due - time.monotonic()))
    latencies, wrong = pipe.recv()
    pipe.send("bye")
    child.join()
    sender.close()
    assert wrong == 0, f"{peer.name}: {wrong} torn or repeated frames"
    assert len(latencies) >= 0.75 * count, f"{peer.name}: {len(latencies)} of {count} frames arrived"
    return latencies


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json")
    parser.add_argument("--peers", help="some of: " + ", ".join(kind.name for kind in peers.ALL))
    arguments = parser.parse_args()
    kinds = peers.ALL
    if arguments.peers:
        kinds = [kind for kind in kinds if kind is peers.Framelane or kind.name in arguments.peers.split(",")]
    rows = []
    for fps, in_place in [(fps, True) for fps in PYTHON["fps"]] + [(PYTHON["fps"][0], False)]:
        rounds = {kind.name: [] for kind in kinds}
        for number in range(PYTHON["rounds"]):
            for kind in in_turn(number, kinds):
                rounds[kind.name].append(run(kind, in_place and not kind.whole_send, fps))
        how = "in place" if in_place else "send(image)"
        for kind in kinds[1:]:
            work = f"hand-off to numpy, {fps} frames/s, {how}: publish → array in hand"
            target = PYTHON["target"] if in_place else None
            ours = ("framelane", rounds["framelane"])
            rows.append(compare_times(work, ours, (kind.name, rounds[kind.name]), target))
    text = json.dumps(rows, indent=1, ensure_ascii=False)
    if arguments.json:
        with open(arguments.json, "w") as file:
            file.write(text)
    else:
        print(text)


if __name__ == "__main__":
    main()
