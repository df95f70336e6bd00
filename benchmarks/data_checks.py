"""Measure how fast data sets are checked, and how time and memory grow with their rows.

    uv run python benchmarks/data_checks.py            # to a million rows, and near duplicates among 100,000
    uv run python benchmarks/data_checks.py --most 50000

Each size runs in a process of its own, so that its peak of memory is its own. Prints one line a size, and writes
reports/benchmarks/data_checks.json and .png. Rows are generated: 20,000 different ones, and copies with other file
names. All code is run; programs that differ only in what they hand to tools share a run. The last line is for rows
none of whose programs can share one, because each prints a number of its own.
"""

import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import typer

SIZES = (1_000, 10_000, 50_000, 100_000, 300_000, 1_000_000)
DIFFERENT = 20_000
MEASURED = (
    "punie.training.answer_checks",
    "punie.training.audit",
    "punie.training.data_checks",
    "punie.training.question_checks",
    "punie.training.near_duplicates",
    "punie.training.suite_traces",
)
UNSHARED = 10_000


def generate(path: Path, most: int, unshared: bool = False) -> Path:
    """Write `most` rows, each with a question of its own, and if `unshared` with a program of its own."""
    import random

    from punie.agent.typed_tools import TOOLS
    from punie.synthesis.conversations import ask, call_row
    from punie.synthesis.names import Names

    names = Names(random.Random(0))
    tools = list(TOOLS)
    rows = [
        json.dumps(
            call_row(ask(tools[index % len(tools)], "train", names), names, follow_up=index % 5 < 2).to_dict(),
            ensure_ascii=False,
        )
        for index in range(min(most, DIFFERENT))
    ]
    with path.open("w", encoding="utf-8") as file:
        for index in range(most):
            copy = index // DIFFERENT
            row = rows[index % DIFFERENT]
            row = row.replace(".py", f"_{copy}.py") if copy else row
            file.write((row.replace("print(", f"print({index}, ") if unshared else row) + "\n")
    return path


def measure_checks(rows: int, source: Path) -> dict:
    """Check a data set of this many rows and return seconds and the peak of memory over all processes."""
    from punie.agent.prompt_utils import system_prompt
    from punie.agent.typed_tools import TOOLS
    from punie.training.audit import audit_folder
    from punie.training.data_checks import check_data
    from punie.training.question_checks import suite_places
    from punie.training.suite_traces import suite_traces

    with tempfile.TemporaryDirectory(dir=source.parent) as name, source.open("rb") as lines:
        with (Path(name) / "train.jsonl").open("wb") as train:
            for _ in range(rows):
                train.write(lines.readline())
        valid = (Path(__file__).parent.parent / "data/phase33_merged/valid.jsonl").read_bytes()
        (Path(name) / "valid.jsonl").write_bytes(valid)
        started = time.perf_counter()
        audit = audit_folder(Path(name), look=suite_traces())
        read = time.perf_counter() - started
        results = check_data(audit, system_prompt(TOOLS), suite_places())
        seconds = time.perf_counter() - started
    peak = (
        resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        + (os.cpu_count() or 1) * resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
    )
    return {
        "rows": audit.rows,
        "read_seconds": read,
        "seconds": seconds,
        "rows_per_second": audit.rows / seconds,
        "peak_gb": peak * 1024 / 1e9,
        "gates": len(results),
    }


def measure_twins(rows: int, source: Path) -> dict:
    """Search near duplicates among the questions of this many rows."""
    from punie.training.near_duplicates import twins_within

    with source.open(encoding="utf-8") as lines:
        questions = [json.loads(lines.readline())["messages"][1]["content"] for _ in range(rows)]
    started = time.perf_counter()
    found = sum(1 for _ in twins_within(questions, least=0.9))
    return {
        "rows": rows,
        "seconds": time.perf_counter() - started,
        "twins": found,
        "peak_gb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9,
    }


def in_own_process(kind: str, rows: int, source: Path) -> dict:
    """Measure in a fresh interpreter."""
    done = subprocess.run(
        [sys.executable, __file__, "--one", kind, "--most", str(rows), "--source", str(source)],
        check=True,
        stdout=subprocess.PIPE,
        text=True,
    )
    return json.loads(done.stdout.splitlines()[-1])


def draw(measured: list[dict], path: Path) -> None:
    """Plot seconds and memory against rows."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, (left, right) = pyplot.subplots(1, 2, figsize=(9, 3.4), layout="constrained")
    rows = [m["rows"] for m in measured]
    left.loglog(rows, [m["seconds"] for m in measured], "o-", color="#0072B2", label="measured")
    left.loglog(rows, [measured[-1]["seconds"] * row / rows[-1] for row in rows], "--", color="#888888", label="linear")
    left.set(title="All checks, tokens not counted", xlabel="rows", ylabel="seconds")
    left.legend()
    right.semilogx(rows, [m["peak_gb"] for m in measured], "o-", color="#D55E00")
    right.set(title="Peak of memory, all processes", xlabel="rows", ylabel="GB", ylim=(0, None))
    figure.savefig(path, dpi=144)


def main(most: int = SIZES[-1], one: str = "", source: Path = Path()) -> None:
    """Measure every size up to `most`."""
    if one:
        print(json.dumps({"checks": measure_checks, "twins": measure_twins}[one](most, source)))
        return
    measured = []
    with tempfile.TemporaryDirectory() as name:
        path = generate(Path(name) / "rows.jsonl", most)
        for rows in (size for size in SIZES if size <= most):
            measured.append(in_own_process("checks", rows, path))
            print(
                "{rows:>9,} rows: {seconds:7.1f} s, {rows_per_second:7,.0f} rows/s, peak {peak_gb:.2f} GB".format(
                    **measured[-1]
                ),
                flush=True,
            )
        source = generate(Path(name) / "unshared.jsonl", min(most, UNSHARED), unshared=True)
        unshared = in_own_process("checks", min(most, UNSHARED), source)
        print("a run for each program: {rows:,} rows, {rows_per_second:,.0f} rows/s".format(**unshared), flush=True)
        twins = in_own_process("twins", min(most, 100_000), path)
        print(
            "near duplicates among {rows:,} questions: {seconds:.0f} s, {twins:,} found, peak {peak_gb:.2f} GB".format(
                **twins
            )
        )
    from punie.pages.benchmarks import keep_benchmark  # not in the processes that are measured

    figures = {"checks": measured, "unshared": unshared, "near_duplicates": twins}
    draw(measured, keep_benchmark("data_checks", figures, MEASURED).with_suffix(".png"))


if __name__ == "__main__":
    typer.run(main)
