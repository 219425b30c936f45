"""The figures of all parts as results.json and as a table for people, RESULTS.md.

    python report.py FOLDER      the folder with rust.json, python.json, file.json, as far as they were run
"""

import json
import os
import pathlib
import platform
import sys

BENCH = pathlib.Path(__file__).resolve().parents[1]
COMMANDS = {"rust": "bench/run rust", "python": "bench/run python", "file": "bench/run file"}


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


def main():
    folder, parts = pathlib.Path(sys.argv[1]), {}
    for part in COMMANDS:
        if (folder / f"{part}.json").exists():
            parts[part] = json.loads((folder / f"{part}.json").read_text())
    about = machine()
    text = json.dumps({"machine": about, "parts": parts}, indent=1, ensure_ascii=False)
    (BENCH / "results.json").write_text(text + "\n")
    lines = [
        "# Figures",
        "",
        "Written by `bench/run`. Both sides ran in turn in one run; the ratio is the median over the rounds of",
        "framelane : peer. Times are p50 / p90 / p99 / p99.9 over all rounds, rates the median round (least to most).",
        "",
        f"Machine: {about['cpu']}, {about['cores']} cores; Linux {about['kernel']}; Python {about['python']}.",
    ]
    for part, rows in parts.items():
        lines += ["", f"## `{COMMANDS[part]}`", "", *table(rows)]
    (BENCH / "RESULTS.md").write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
