"""The list of attacks, and what an attack may use: failures, deadlines, polling."""

import os
import re
import time

# The one deadline of everything that is waited for. Nothing is expected to be quicker than a busy machine.
DEADLINE_S = 60.0

# Text of an attacker. It must not reach a log before the attacker is authenticated.
MARK = "HOSTILE-MARK"
# Characters that change what a terminal shows: escape sequences, a carriage return, direction overrides.
UGLY = f"{MARK}\x1b[2J\x1b]0;owned\x07\r\n{MARK} forged line\u202e\u2066\x00\x7f\u009b31m"
LONGEST_LINE = 1500
CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2028\u2029\u2066-\u2069]")

MIB = 1 << 20


class Failure(Exception):
    """The release under attack did not hold."""


class Skipped(Exception):
    """The attack needs something that this machine or this release does not have."""


def all_required():
    """Returns whether a skip is a failure: what the attacks may lack is root."""
    may_lack = os.environ.get("FRAMELANE_MAY_LACK", "").split(",")
    return os.environ.get("FRAMELANE_REQUIRE_ALL") == "1" and "root" not in may_lack


class Attack:
    """One attack: a description, its function, and limits on its cost to the victim."""

    def __init__(self, function, family, words, memory, shared, leaves, deep):
        self.function = function
        self.family = family
        self.name = f"{family}/{function.__name__.replace('_', '-')}"
        self.words = words
        self.memory = memory
        self.shared = shared
        self.leaves = leaves
        self.deep = deep


ATTACKS = []


def attack(words, memory=64 * MIB, shared=32 * MIB, leaves=MIB, deep=False):
    """Registers an attack. `memory`: bytes that the victim's private memory may grow by. `shared`: bytes
    that the channel directory may grow by. `leaves`: those that may be left. `deep`:
    not part of the quick form."""

    def register(function):
        family = function.__module__.rsplit(".", 1)[-1]
        ATTACKS.append(Attack(function, family, words, memory, shared, leaves, deep))
        return function

    return register


def expect(condition, text):
    """Fails with `text` unless `condition`."""
    if not condition:
        raise Failure(text)


def wait_until(condition, text, deadline=DEADLINE_S, interval=0.02):
    """Polls until `condition()` is true, and returns what it returned."""
    end = time.monotonic() + deadline
    while True:
        found = condition()
        if found:
            return found
        if time.monotonic() > end:
            raise Failure(f"{text() if callable(text) else text} (waited {deadline:.0f} s)")
        time.sleep(interval)


def check_text(text, what, marks_allowed=False):
    """Fails when text holds what an attacker put there: control characters, long lines, its words."""
    for line in text.splitlines():
        ugly = CONTROL.search(line)
        expect(not ugly, f"{what} has {ugly and ascii(ugly.group())} in {ascii(line[:160])}")
        # A line of JSON holds as many channels as there are.
        expect(
            len(line) <= LONGEST_LINE or line.startswith("{"),
            f"{what} has a line of {len(line)} characters: {ascii(line[:160])}",
        )
        expect(marks_allowed or MARK not in line, f"{what} repeats an attacker's text: {ascii(line[:160])}")
        expect("panicked at" not in line, f"{what} reports a panic: {ascii(line[:200])}")
