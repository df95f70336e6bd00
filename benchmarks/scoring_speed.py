"""Measure how fast replies are scored, and that memory does not grow with their number.

    uv run python benchmarks/scoring_speed.py            # to a million outcomes
    uv run python benchmarks/scoring_speed.py --most 20000

Each size runs in a process of its own, so that its peak of memory is its own. Prints one line a size, and writes
reports/benchmarks/scoring_speed.json. The replies are those of all controls to all shipped suites, right and wrong
ones; in each round their names and numbers are others, so that no reply is scored twice. The time to write the
replies is not counted.
"""

import json
import multiprocessing
import os
import re
import resource
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from itertools import count, islice

import typer

SIZES = (10_000, 100_000, 1_000_000)
SUITES = ("phase33_27", "phase26_25", "routing_260", "abstain_60", "multi_60", "dev_208")
MEASURED = (
    "punie.evals.scoring",
    "punie.evals.world_rules",
    "punie.evals.dialogue",
    "punie.evals.answers",
    "punie.agent.sandbox",
    "punie.agent.interpreter",
)
BATCH = 1_000  # replies that are written before they are scored


def replies() -> Iterator[tuple]:
    """Write replies for ever, each with its sample: those of the controls, and then the same with other file names."""
    from punie.evals.controls import CONTROLS
    from punie.evals.suites import load_suite

    samples = [sample for name in SUITES for sample in load_suite(name).samples]
    controls = [
        control for control in CONTROLS["code"] if control.name != "right call, out of reach"
    ]  # it would measure the writing of blanks
    for round in count():
        for sample in samples:
            for control in controls:
                if (answer := control.policy(sample)) is not None:
                    yield sample, [re.sub(r"\.py\b", f"_{round}.py", text) if round else text for text in answer]


def measure(outcomes: int) -> dict:
    """Score this many replies and return seconds and the peak of memory."""
    from punie.evals.scoring import score_many

    source, seconds, counts = islice(replies(), outcomes), 0.0, Counter()
    while batch := list(islice(source, BATCH)):
        started = time.perf_counter()
        scored = [score.outcome for score in score_many(batch)]
        seconds += time.perf_counter() - started
        counts.update(scored)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1024 if sys.platform == "linux" else 1)
    return {
        "outcomes": counts.total(),
        "seconds": seconds,
        "outcomes_per_second": counts.total() / seconds,
        "peak_mb": peak / 1e6,
        "by_outcome": dict(counts),
    }


def run_worlds(first: int, runs: int) -> float:
    """Run right programs in worlds, each with file names of its own, and return the seconds."""
    from punie.agent.typed_tools import TOOLS
    from punie.evals.answers import read_answer
    from punie.evals.dialogue import gold_replies, play
    from punie.evals.suites import load_suite

    samples = [sample for name in ("phase33_27", "routing_260") for sample in load_suite(name).samples]
    tried = []
    for number in range(first, first + runs):
        sample = samples[number % len(samples)]
        replies = [text.replace(".py", f"_{number}.py") for text in gold_replies(sample)]
        tried.append((sample, read_answer(replies, TOOLS), sample.tried_in[0]))
    play(*tried[0])
    started = time.perf_counter()
    assert all(play(*each).printed for each in tried)
    return time.perf_counter() - started


def measure_worlds(runs: int) -> float:
    """Run worlds in a process for each core, and return how many are run in a second."""
    cores = os.cpu_count() or 1
    share = runs // cores
    with multiprocessing.get_context("spawn").Pool(cores) as processes:
        seconds = processes.starmap(run_worlds, [(share * core, share) for core in range(cores)])
    return share * cores / max(seconds)


def main(most: int = SIZES[-1], one: bool = False) -> None:
    """Measure every size up to `most`."""
    if one:
        print(json.dumps(measure(most)))
        return
    measured = []
    for outcomes in [size for size in SIZES if size <= most] or [most]:
        done = subprocess.run(
            [sys.executable, __file__, "--one", "--most", str(outcomes)], check=True, stdout=subprocess.PIPE, text=True
        )
        measured.append(json.loads(done.stdout.splitlines()[-1]))
        print(
            "{outcomes:>9,} outcomes: {seconds:7.1f} s, {outcomes_per_second:7,.0f} outcomes/s, "
            "peak {peak_mb:.0f} MB".format(**measured[-1]),
            flush=True,
        )
    worlds = measure_worlds(SIZES[0])
    print(f"{SIZES[0]:>9,} programs, each in a world of its own: {worlds:,.0f} runs/s")
    from punie.pages.benchmarks import keep_benchmark  # not in the processes that are measured

    keep_benchmark("scoring_speed", {"world_runs_per_second": worlds, "scoring": measured}, MEASURED)


if __name__ == "__main__":
    typer.run(main)
