"""Measure how fast rows in OpenAI's layout are imported, and how memory grows with their number.

    uv run python benchmarks/row_import.py            # to 300,000 rows
    uv run python benchmarks/row_import.py --most 10000

Each size runs in a process of its own, so that its peak of memory is its own. Prints one line a size, by the clock and
by the processor's time, which others on the machine hardly change. Writes reports/benchmarks/row_import.json. A row has
a system prompt, a question of its own, a call with arguments as JSON, its answer, a reply, and the declarations of
three tools: about 1,500 bytes.
"""

import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import typer

SIZES = (1_000, 10_000, 100_000, 300_000)
MEASURED = (
    "punie.training.row_import",
    "punie.training.layouts",
    "punie.training.turn_parts",
    "punie.training.row_sources",
)


def generate(path: Path, rows: int) -> Path:
    """Write rows in OpenAI's layout, each with a question of its own."""
    names = ("set_light", "set_temperature", "lock_door")
    room = {"type": "string", "description": "A room of the house, as its owner calls it."}
    level = {"type": "integer", "minimum": 0, "maximum": 100, "description": "In percent."}
    parameters = {"type": "object", "properties": {"room": room, "level": level}, "required": ["room"]}
    tools = [
        {"type": "function", "function": {"name": name, "description": "Change a thing.", "parameters": parameters}}
        for name in names
    ]
    with path.open("w", encoding="utf-8") as file:
        for index in range(rows):
            arguments = json.dumps({"room": f"room {index}", "level": index % 100})
            function = {"name": names[index % 3], "arguments": arguments}
            messages = [
                {"role": "system", "content": "You look after a house. Answer briefly. " * 6},
                {"role": "user", "content": f"Please see to room {index}, at {index % 100} percent."},
                {
                    "role": "assistant",
                    "content": None,
                    "tool_calls": [{"id": f"call_{index}", "type": "function", "function": function}],
                },
                {"role": "tool", "tool_call_id": f"call_{index}", "content": "done, " * 12},
                {"role": "assistant", "content": "It is done."},
            ]
            file.write(json.dumps({"messages": messages, "tools": tools}) + "\n")
    return path


def measure(source: Path) -> dict[str, float]:
    """Import a file, and return seconds and the peak of memory."""
    from punie.agent.registry import Registry
    from punie.training.layouts import RowReader
    from punie.training.row_import import import_rows

    with tempfile.TemporaryDirectory(dir=source.parent) as name:
        started, busy = time.perf_counter(), time.process_time()
        found = import_rows(source, Path(name) / "rows", RowReader(Registry([])))
        seconds, busy = time.perf_counter() - started, time.process_time() - busy
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return {
        "rows": found.converted,
        "seconds": seconds,
        "rows_per_second": found.converted / seconds,
        "rows_per_cpu_second": found.converted / busy,
        "peak_mb": peak / 1024,
    }


def main(most: int = SIZES[-1], source: Path | None = None) -> None:
    """Measure every size up to `most`."""
    if source:
        print(json.dumps(measure(source)))
        return
    measured = []
    with tempfile.TemporaryDirectory() as name:
        for rows in (size for size in SIZES if size <= most):
            path = generate(Path(name) / "rows.jsonl", rows)
            command = [sys.executable, __file__, "--source", str(path)]
            done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
            measured.append({**json.loads(done.stdout), "bytes": path.stat().st_size})
            line = "{rows:>9,} rows: {seconds:6.1f} s, {rows_per_second:7,.0f} rows/s"
            line += " ({rows_per_cpu_second:,.0f} by CPU), peak {peak_mb:.0f} MB"
            print(line.format(**measured[-1]), flush=True)
    from punie.pages.benchmarks import keep_benchmark  # not in the processes that are measured

    keep_benchmark("row_import", {"imports": measured}, MEASURED)


if __name__ == "__main__":
    typer.run(main)
