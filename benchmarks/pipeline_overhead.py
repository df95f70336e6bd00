"""Measure what the pipeline adds to a run: processes, hashes and lock files around the stages.

    uv run python benchmarks/pipeline_overhead.py            # the tiny phase, a whole run, and a plain one after it
    uv run python benchmarks/pipeline_overhead.py smoke

The plain run calls the same stages one after another in one process, in a folder of its own, and keeps no lock file.
Both start from nothing and in the same minute. Two shares come of it: what one run spends outside its stages, and how
much longer it took than the plain one, which is the pipeline's cost and the noise of two long runs. Prints the
figures and writes reports/benchmarks/pipeline_overhead.json.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from typing import Any

MEASURED = ("punie.phases.pipeline", "punie.phases.stage", "punie.phases.manifest")
PLAIN = """
import sys
from punie.phases.run import open_run
from punie.phases.stage_functions import STAGES
run = open_run(sys.argv[1])
run.folder.mkdir(parents=True)
for stage in STAGES.values():
    stage(run, lambda *_: None)
"""
PIPELINE = """
import sys
from punie.phases.pipeline import advance
from punie.phases.run import open_run
advance(open_run(sys.argv[1]))
"""


def seconds(code: str, *arguments: str) -> float:
    """Run Python code in a process of its own; return the seconds that it took."""
    start = time.perf_counter()
    subprocess.run([sys.executable, "-c", code, *arguments], check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - start


def main(phase: str = "tiny") -> None:
    from punie.pages.benchmarks import keep_benchmark
    from punie.phases.manifest import read_manifest
    from punie.phases.run import open_run

    figures: dict[str, Any] = {"phase": phase}
    with tempfile.TemporaryDirectory() as one, tempfile.TemporaryDirectory() as other:
        os.environ["PUNIE_RUNS"] = one
        figures["pipeline_s"] = round(seconds(PIPELINE, phase), 2)
        entries = read_manifest(open_run(phase).folder)
        figures["stages_s"] = round(sum(entry["seconds"] for entry in entries.values()), 2)
        figures["again_s"] = round(min(seconds(PIPELINE, phase) for _ in range(3)), 2)
        os.environ["PUNIE_RUNS"] = other
        figures["plain_s"] = round(seconds(PLAIN, phase), 2)
    figures["around_stages"] = round(figures["pipeline_s"] / figures["stages_s"] - 1, 4)
    figures["against_plain"] = round(figures["pipeline_s"] / figures["plain_s"] - 1, 4)
    figures["help_s"] = round(min(seconds("from punie.cli.main import app; app(['--help'])") for _ in range(5)), 3)
    del os.environ["PUNIE_RUNS"]
    keep_benchmark("pipeline_overhead", figures, MEASURED)
    print(json.dumps(figures, indent=2))


if __name__ == "__main__":
    main(*sys.argv[1:])
