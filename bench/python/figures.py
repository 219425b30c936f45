"""Rounds in, one comparison out; the same shape as src/report.rs writes."""

import os
import pathlib
import statistics
import sys
import tomllib

SCENARIOS_FILE = os.environ.get("BENCH_SCENARIOS", pathlib.Path(__file__).parents[1] / "scenarios.toml")
SCENARIOS = tomllib.loads(pathlib.Path(SCENARIOS_FILE).read_text())


def quantile(values, q):
    values = sorted(values)
    return values[min(len(values) - 1, int(q * len(values)))]


def compare_times(work, ours, peer, target=None):
    """Return the median over rounds of the ratio of p50. `ours`, `peer`: (name, list of rounds of ns)."""
    ratios = [statistics.median(a) / statistics.median(b) for a, b in zip(ours[1], peer[1])]

    def side(name, rounds):
        times = [time / 1e3 for times in rounds for time in times]
        points = {"p50": 0.5, "p90": 0.9, "p99": 0.99, "p99.9": 0.999}
        figures = {point: round(quantile(times, q), 3) for point, q in points.items()}
        return {"name": name, "count": len(times), **figures}

    return row(work, "µs", "less", side(*ours), side(*peer), ratios, target)


def compare_rates(work, unit, ours, peer, target=None):
    """Return the median over rounds of the ratio. `ours`, `peer`: (name, list of rates, one a round)."""
    ratios = [a / b for a, b in zip(ours[1], peer[1])]

    def side(name, rates):
        figures = {"median": statistics.median(rates), "least": min(rates), "most": max(rates)}
        return {"name": name, "count": len(rates), **{key: round(value, 3) for key, value in figures.items()}}

    return row(work, unit, "more", side(*ours), side(*peer), ratios, target)


def row(work, unit, better, ours, peer, ratios, target):
    ratio = statistics.median(ratios)
    reached = None if target is None else ratio <= target if better == "less" else ratio >= target
    print(f"{work}: ratio {ratio:.3f} (target {target})\n  {ours}\n  {peer}", file=sys.stderr, flush=True)
    ratios = [round(value, 3) for value in ratios]
    return {
        "work": work, "unit": unit, "better": better, "ours": ours, "peer": peer,
        "ratio": round(ratio, 3), "ratios": ratios, "target": target, "reached": reached,
    }  # fmt: skip


def in_turn(round_number, things):
    """Reversed from one round to the next, so that a drift of the machine favours no peer."""
    return things if round_number % 2 == 0 else things[::-1]
