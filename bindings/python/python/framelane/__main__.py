"""``python -m framelane``: the ``framelane`` command if it is installed, else the reports of this package."""

from __future__ import annotations

import os
import shutil
import sys

import framelane

USAGE = """usage: python -m framelane [list | doctor | --version]

The `framelane` command, which publishes, measures and links channels, is not on the PATH. The Python package
has these commands only. Install the command with `make install` from the sources of framelane.
"""


def show_channels() -> int:
    for status in framelane.list_channels():
        subscribers = len(status.subscribers)
        print(f"{status.name}  {status.state}  frame {status.sequence}  {subscribers} subscribers")
    return 0


def diagnose() -> int:
    found = framelane.doctor()
    space = f"{found.free_bytes} of {found.total_bytes} bytes free"
    print(f"{found.directory}: {found.live_channels} live channels, {space}")
    for leftover in found.leftovers:
        print(f"left over: {leftover.channel}: {leftover.reason}")
    return 1 if found.leftovers else 0


def main() -> int:
    arguments = sys.argv[1:]
    command = shutil.which("framelane")
    if command is not None:
        os.execv(command, [command, *arguments])
    if arguments in (["--version"], ["-V"]):
        print(f"framelane {framelane.__version__} (Python package)")
        return 0
    if arguments in (["list"], ["doctor"]):
        try:
            return show_channels() if arguments == ["list"] else diagnose()
        except framelane.Error as error:
            print(f"error: {error}", file=sys.stderr)
            return 1
    wanted = arguments in ([], ["-h"], ["--help"])
    print(USAGE, end="", file=sys.stdout if wanted else sys.stderr)
    return 0 if wanted else 2


if __name__ == "__main__":
    sys.exit(main())
