"""Calls a function for the frames of a channel and publishes the boxes that it finds.

`framelane run CHANNEL detect.py:detect` starts this as `python -m framelane.worker`, watches it and restarts
it. The two talk over pipes: this end writes a line of JSON for each event to the original standard output,
and ends when standard input does. What the function prints goes to standard error.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import importlib.util
import inspect
import json
import os
import re
import sys
import threading
import time
import traceback
from pathlib import Path
from types import ModuleType
from typing import Any, Callable, Dict, Iterator, Optional, TextIO

import numpy as np

import framelane

#: How long to wait for a frame before asking whether the channel has a publisher.
POLL_SECONDS = 1.0
#: Time for the function to finish after a request to end, before the process ends.
GRACE_SECONDS = 5.0
#: What numpy, its buffers and OpenCV say of an array that cannot be written to.
READ_ONLY_ERRORS = ("read-only", "readonly", "not writeable", "not writable")
READ_ONLY_HINT = (
    "the image is read-only, because all readers share it: begin with image = image.copy() and draw there"
)
COLUMNS = ("boxes", "scores", "class_ids", "track_ids")
#: Between an error and its hint.
HINT = ". Hint: "
#: The processes in the error of a channel whose slots are all held.
HOLDERS = re.compile(r"process (\d+)(?: \([^)]*\))? holds \d+ slot")


class Events:
    """Reports to the parent process. Ignores a closed pipe: the end of standard input ends this process."""

    def __init__(self, output: TextIO) -> None:
        self._output = output

    def tell(self, event: str, **fields: Any) -> None:
        with contextlib.suppress(OSError):
            self._output.write(json.dumps({"event": event, **fields}) + "\n")
            self._output.flush()


def load(target: str) -> tuple[ModuleType, Callable[..., Any]]:
    """The module and the function of `detect.py:detect`, `detect.py` or `package.module:detect`.

    Raises the exceptions of the module, and ValueError when there is no such function.
    """
    place, _, name = target.partition(":")
    name = name or "detect"
    if place.endswith(".py"):
        path = Path(place).resolve()
        sys.path.insert(0, str(path.parent))
        spec = importlib.util.spec_from_file_location(path.stem, path)
        if spec is None or spec.loader is None:
            raise ValueError(f"{place} is no Python file")
        module = importlib.util.module_from_spec(spec)
        sys.modules[path.stem] = module
        spec.loader.exec_module(module)
    else:
        sys.path.insert(0, os.getcwd())
        module = importlib.import_module(place)
    function = getattr(module, name, None)
    if not callable(function):
        known = sorted(key for key, value in vars(module).items() if inspect.isfunction(value))
        raise ValueError(f"expected a function {name} in {place}, found {', '.join(known) or 'none'}")
    return module, function


def writes_to_frame(error: BaseException) -> bool:
    """Returns True if numpy or OpenCV refused to write to the image, which is a frame in shared memory."""
    text = str(error).lower()
    return any(words in text for words in READ_ONLY_ERRORS)


def takes_frame(function: Callable[..., Any]) -> bool:
    """Returns True if the function has two arguments: the image and the frame."""
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):
        return False
    places = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    needed = [p for p in parameters if p.kind in places and p.default is inspect.Parameter.empty]
    return len(needed) >= 2


def columns(result: Any) -> Dict[str, Any]:
    """The arguments of `DetectionPublisher.send` that a function's result stands for.

    None and an empty list: nothing was found. An array (N, 4) of x1, y1, x2, y2. A tuple (boxes, scores,
    class_ids, track_ids), of which the last ones are optional. A dict with those names.
    """
    if result is None:
        result = {}
    elif isinstance(result, tuple):
        if len(result) > len(COLUMNS):
            raise ValueError(f"detect() returned a tuple of {len(result)}: expected {', '.join(COLUMNS)}")
        result = dict(zip(COLUMNS, result))
    elif not isinstance(result, dict):
        result = {"boxes": result}
    unknown = set(result) - set(COLUMNS)
    if unknown:
        names = ", ".join(map(repr, sorted(map(str, unknown))))
        raise ValueError(f"detect() returned {names}: expected {', '.join(COLUMNS)}")
    try:
        boxes = np.asarray(result.get("boxes", []), "float32")
    except (TypeError, ValueError) as error:
        raise ValueError(f"detect() returned boxes that are no numbers: {error}") from None
    if boxes.size == 0:
        boxes = boxes.reshape(0, 4)
    if boxes.ndim != 2 or boxes.shape[1] != 4:
        raise ValueError(
            f"detect() returned an array of shape {boxes.shape}: "
            "expected None, boxes (N, 4) of x1, y1, x2, y2, a tuple "
            "(boxes, scores, class_ids, track_ids), or a dict with those names"
        )
    rest = {name: np.asarray(result[name]) for name in COLUMNS[1:] if result.get(name) is not None}
    return {"boxes_xyxy": boxes, **rest}


class Worker:
    """One life of the function: from its loading to an error or the end."""

    def __init__(self, options: argparse.Namespace, events: Events) -> None:
        self._options = options
        self._events = events
        self._frames = 0
        self._boxes = 0
        self._subscriber: Optional[framelane.Subscriber] = None
        self._ending = threading.Event()

    def end(self) -> None:
        """Ends the wait for frames; the frame that is being looked at is finished, within reason."""
        self._ending.set()
        if self._subscriber is not None:
            self._subscriber.close()
        timer = threading.Timer(GRACE_SECONDS, os._exit, (1,))
        timer.daemon = True
        timer.start()

    def run(self) -> int:
        """Returns the exit code."""
        options = self._options
        try:
            module, function = load(options.target)
        except BaseException as error:
            self._fail("load", error, None)
            return 1
        labels = options.labels.split(",") if options.labels else list(getattr(module, "labels", []))
        self._events.tell("loaded", labels=labels)
        reconnect = not options.end_with_channel
        with framelane.Subscriber(options.channel, options.delivery, reconnect=reconnect, urls="trusted") as frames:
            self._subscriber = frames
            if self._ending.is_set():
                return 0
            with framelane.DetectionPublisher(options.detections, labels, options.model, urls="trusted") as finder:
                self._events.tell("started", detections=options.detections)
                return self._detect(frames, finder, function)

    def _receive(self, frames: framelane.Subscriber) -> Iterator[framelane.Frame]:
        """The frames, until the channel or the subscriber is closed.

        Reports a publisher that ended and restarted, and processes that hold all slots. Raises Timeout when
        this process alone holds them: nothing releases a frame while it waits.
        """
        waiting = starved = False
        while True:
            try:
                frame = frames.recv(timeout=POLL_SECONDS)
            except framelane.Timeout as timeout:
                holders = HOLDERS.findall(str(timeout))
                if holders == [str(os.getpid())]:
                    raise
                if holders and not starved:
                    error, _, hint = str(timeout).partition(HINT)
                    self._events.tell("starved", error=error, hint=hint)
                starved = bool(holders)
                if not waiting and not frames.publisher_alive:
                    waiting = True
                    self._events.tell("waiting", channel=self._options.channel)
                continue
            except framelane.ChannelClosed:
                return
            if waiting:
                waiting = False
                self._events.tell("resumed", epoch=frame.epoch)
            yield frame

    def _detect(self, frames: framelane.Subscriber, finder: framelane.DetectionPublisher, function: Callable[..., Any]) -> int:
        both = takes_frame(function)
        told, spent, since = time.monotonic(), 0.0, 0
        for frame in self._receive(frames):
            began = time.perf_counter()
            try:
                found = columns(function(frame.array, frame) if both else function(frame.array))
                finder.send(frame, **found)
            except BaseException as error:
                self._fail("detect", error, frame.sequence)
                return 1
            spent += time.perf_counter() - began
            since += 1
            self._frames += 1
            self._boxes += len(found["boxes_xyxy"])
            frame.release()
            last = self._frames == self._options.count
            if last or time.monotonic() - told >= 1:
                self._events.tell("statistics", frames=self._frames, boxes=self._boxes, detect_ms=1e3 * spent / since)
                told, spent, since = time.monotonic(), 0.0, 0
            if last:
                break
        self._events.tell("finished", frames=self._frames, boxes=self._boxes)
        return 0

    def _fail(self, where: str, error: BaseException, sequence: Optional[int]) -> None:
        # From the user's own code on: the calls of this file are of no interest.
        trace = error.__traceback__
        while trace is not None and trace.tb_frame.f_code.co_filename in (__file__, importlib.__file__):
            trace = trace.tb_next
        text = "".join(traceback.format_exception(type(error), error, trace)).strip()
        if writes_to_frame(error):
            text += f"\nhint: {READ_ONLY_HINT}"
        self._events.tell(
            "failed", where=where, error=f"{type(error).__name__}: {error}", traceback=text, sequence=sequence, frames=self._frames
        )


def main() -> int:
    parser = argparse.ArgumentParser(description="The worker of `framelane run`, which starts it.")
    parser.add_argument("channel")
    parser.add_argument("target")
    parser.add_argument("--detections", required=True)
    parser.add_argument("--delivery", default="newest", choices=("newest", "every"))
    parser.add_argument("--labels", default="")
    parser.add_argument("--model", default="")
    parser.add_argument("--count", type=int, default=0)
    parser.add_argument("--end-with-channel", action="store_true")
    options = parser.parse_args()
    events = Events(os.fdopen(os.dup(1), "w"))
    # What the function prints must not be taken for events.
    os.dup2(2, 1)
    worker = Worker(options, events)

    def watch() -> None:
        while os.read(0, 4096):
            pass
        worker.end()

    threading.Thread(target=watch, name="framelane-watch", daemon=True).start()
    try:
        return worker.run()
    except framelane.ChannelClosed:
        # While it was opening, or after a request to end.
        events.tell("finished", frames=0, boxes=0)
        return 0
    except framelane.Error as error:
        message, _, hint = str(error).partition(HINT)
        events.tell("refused", code=error.code, error=message, hint=hint)
        return 1


if __name__ == "__main__":
    sys.exit(main())
