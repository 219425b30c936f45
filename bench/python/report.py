"""The figures of all parts as results.json and as a table for people, RESULTS.md.

    python report.py FOLDER PART…      the folder with rust.json, python.json and so on, and which of them are new

What results.json has of other parts stays.
"""

import json
import os
import pathlib
import platform
import sys

BENCH = pathlib.Path(__file__).resolve().parents[1]
COMMANDS = {part: f"bench/run {part}" for part in ("rust", "python", "file", "network")}


def machine():
    cpu = next(line for line in open("/proc/cpuinfo") if line.startswith("model name")).split(":")[1].strip()
    return {"cpu": cpu, "cores": os.cpu_count(), "kernel": platform.release(), "python": platform.python_version()}


def figures(side, unit):
    if unit == "µs":
        return " / ".join(f"{side[point]:,.1f}" for point in ("p50", "p90", "p99", "p99.9"))
    digits = 0 if side["median"] >= 1000 else 1
    return f"{side['median']:,.{digits}f} ({side['least']:,.{digits}f} to {side['most']:,.{digits}f})"


def table(rows):
    yield "| work | framelane | peer | | unit | ratio | target | |"
    yield "|---|---|---|---|---|---|---|---|"
    for row in rows:
        ours, peer, unit = row["ours"], row["peer"], row["unit"]
        target, reached = "", ""
        if row["target"] is not None:
            target = ("≤ " if row["better"] == "less" else "≥ ") + f"{row['target']:g}×"
            reached = "reached" if row["reached"] else "**missed**"
        name = "" if ours["name"] == "framelane" else f" ({ours['name']})"
        cells = [row["work"] + name, figures(ours, unit), figures(peer, unit), peer["name"], unit]
        yield "| " + " | ".join([*cells, f"{row['ratio']:.2f}×", target, reached]) + " |"


def machine_line(about):
    return f"Machine: {about['cpu']}, {about['cores']} cores; Linux {about['kernel']}; Python {about['python']}."


def main():
    folder, new = pathlib.Path(sys.argv[1]), sys.argv[2:]
    results = BENCH / "results.json"
    old = json.loads(results.read_text()) if results.exists() else {"machines": {}, "parts": {}}
    machines, parts = {}, {}
    for part in COMMANDS:
        if part in new:
            machines[part] = machine()
            parts[part] = json.loads((folder / f"{part}.json").read_text())
        elif part in old["parts"]:
            machines[part] = old["machines"][part]
            parts[part] = old["parts"][part]
    text = json.dumps({"machines": machines, "parts": parts}, indent=1, ensure_ascii=False)
    results.write_text(text + "\n")
    lines = [
        "# Figures",
        "",
        "Written by `bench/run`. Both sides ran in turn in one run; the ratio is the median over the rounds of",
        "framelane : peer. Times are p50 / p90 / p99 / p99.9 over all rounds, rates the median round (least to most).",
    ]
    for part, rows in parts.items():
        lines += ["", f"## `{COMMANDS[part]}`", "", machine_line(machines[part]), "", *table(rows)]
    (BENCH / "RESULTS.md").write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
