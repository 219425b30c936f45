"""Attacks a release of framelane with clients, servers, publishers and files that break every rule.

    python3 tests/hostile target/debug/framelane              the quick form, about a minute
    python3 tests/hostile target/debug/framelane --deep       everything
    python3 tests/hostile --list                              what it tries

Written from the pages in spec/ alone, with the standard library. It uses loopback and temporary folders only.
After each attack it checks that the programs run, that honest readers get whole frames, that the publisher
has dropped none, that memory, files, descriptors and threads are within bounds, and that logs hold no text
of the attacker."""

import argparse
import os
import re
import subprocess
import sys
import time
import traceback
from concurrent.futures import ThreadPoolExecutor

import credentials
import demands
import files
import handshake
import kit
import legacy
import memory
import publisher
import server
from target import Target

FAMILIES = {
    "handshake": (handshake, Target),
    "credentials": (credentials, Target),
    "demands": (demands, Target),
    "publisher": (publisher, Target),
    "server": (server, server.Victims),
    "files": (files, files.Looking),
    "memory": (memory, Target),
    "legacy": (legacy, legacy.Old),
}


def main():
    """Runs the kit. Returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="python3 tests/hostile",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("command", nargs="?", metavar="COMMAND", help="the framelane program to attack")
    parser.add_argument("--list", action="store_true", help="print what is tried")
    parser.add_argument("--only", metavar="REGEX", default="", help="only attacks whose names match")
    parser.add_argument("--deep", action="store_true", help="the long attacks, too")
    parser.add_argument("--jobs", metavar="N", type=int, default=1, help="families at a time (1)")
    options = parser.parse_args()
    chosen = [
        attack
        for attack in kit.ATTACKS
        if re.search(options.only, attack.name) and (options.deep or options.list or not attack.deep)
    ]
    if options.list:
        for attack in chosen:
            print(f"{attack.name}{' (deep)' if attack.deep else ''}\n    {attack.words}")
        return 0
    if not options.command:
        parser.error("COMMAND is missing: the framelane program to attack")
    if not chosen:
        parser.error("no attack has such a name: --list prints all")
    if options.jobs > 1:
        return run_families(options, list(dict.fromkeys(attack.family for attack in chosen)))
    return report(run(options.command, chosen))


def run_families(options, families):
    """Runs this program once for each family, some at a time. Returns the exit code."""

    def run_family(family):
        only = f"(?=^{family}/)(?=.*(?:{options.only}))"
        arguments = [sys.executable, os.path.dirname(__file__), options.command, "--only", only]
        return subprocess.run(
            arguments + ["--deep"] * options.deep, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )

    held = failed = skipped = 0
    start = time.monotonic()
    with ThreadPoolExecutor(options.jobs) as pool:
        for family, done in zip(families, pool.map(run_family, families)):
            print(f"== {family}\n{done.stdout}", flush=True)
            summary = r"^hostile kit: (\d+) attacks held, (\d+) failed, (\d+) skipped"
            counts = re.findall(summary, done.stdout, re.M)
            if not counts:
                counts = [(0, 1, 0)]
            held, failed, skipped = (a + int(b) for a, b in zip((held, failed, skipped), counts[-1]))
    seconds = time.monotonic() - start
    print(f"hostile kit in all: {held} attacks held, {failed} failed, {skipped} skipped, {seconds:.0f} s")
    return 1 if failed else 0


def run(command, chosen):
    """Runs the attacks, family by family. Returns (attack, outcome, details, seconds) of each."""
    results = []
    for family, (_, site) in FAMILIES.items():
        attacks = [attack for attack in chosen if attack.family == family]
        target = None
        try:
            for attack in attacks:
                start = time.monotonic()
                print(f"{attack.name}: {attack.words}", flush=True)
                try:
                    if target is None:
                        target = site(command)
                    target.before(attack)
                    attack.function(target)
                    outcome, details = "held", cost(target.check(attack))
                except kit.Skipped as skipped:
                    outcome, details = "FAILED" if kit.all_required() else "skipped", str(skipped)
                except Exception as error:  # Whatever went wrong, the others are tried as well.
                    outcome, details = "FAILED", str(error) or type(error).__name__
                    if not isinstance(error, (kit.Failure, OSError)):
                        traceback.print_exc(file=sys.stdout)
                seconds = time.monotonic() - start
                print(f"    {outcome} after {seconds:.1f} s{': ' if details else ''}{details}", flush=True)
                results.append((attack, outcome, details, seconds))
                if outcome == "FAILED" and target is not None:
                    # The next attack gets a victim that has seen none.
                    target.close()
                    target = None
        finally:
            if target is not None:
                target.close()
    return results


def cost(found):
    """The cost of an attack to the victim, in words."""
    if not found:
        return ""
    memory, shared = found["memory"] >> 20, found["shared"] >> 20
    return f"{memory} MiB, {shared} MiB shared, {found['descriptors']} descriptors at most"


def report(results):
    """Prints the table. Returns the exit code."""
    print(f"\n{'attack':<44}{'outcome':<9}{'seconds':>8}")
    for attack, outcome, _, seconds in results:
        print(f"{attack.name:<44}{outcome:<9}{seconds:>8.1f}")
    failed = [result for result in results if result[1] == "FAILED"]
    for attack, _, details, _ in failed:
        print(f"\nFAILED {attack.name}: {attack.words}\n    {details}")
    held = sum(result[1] == "held" for result in results)
    skipped = len(results) - held - len(failed)
    print(
        f"\nhostile kit: {held} attacks held, {len(failed)} failed, {skipped} skipped, "
        f"{sum(result[3] for result in results):.0f} s"
    )
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
