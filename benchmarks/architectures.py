"""Let a small random model of every architecture of mlx-lm go the whole way, and keep what holds for each.

    uv run python benchmarks/architectures.py                 # all, in about five minutes
    uv run python benchmarks/architectures.py llama granite   # only these

One process tries them in turn; where an architecture ends it, a new one goes on with the next. The table is written to
reports/benchmarks/architectures.json. Ends with 1 where anything is wrong or a process ended.
"""

import json
import subprocess
import sys
import tempfile
from importlib.metadata import version
from pathlib import Path

from punie.pages.benchmarks import keep_benchmark
from punie.settings import PunieError
from punie.tuning.architectures import COLUMNS, try_architecture
from punie.weights.small_models import architectures

MEASURED = (
    "punie.tuning.architectures",
    "punie.tuning.objective",
    "punie.weights.shortcut",
    "punie.weights.logits",
    "punie.weights.prefix",
)


def work(names: list[str]) -> None:
    """Try architectures, and print a line of JSON before and after each."""
    for name in names:
        print(json.dumps({"begun": name}), flush=True)
        try:
            with tempfile.TemporaryDirectory() as folder:
                found = try_architecture(name, Path(folder))
        except PunieError as error:
            found = {"made": str(error)}
        except Exception as error:  # a traceback is what the table must not hold
            found = {"made": f"CRASH: {type(error).__name__}: {str(error)[:200]}"}
        print(json.dumps({"name": name, "found": found}), flush=True)


def try_all(names: list[str]) -> dict[str, dict[str, str]]:
    """Try architectures in other processes."""
    table: dict[str, dict[str, str]] = {}
    while left := [name for name in names if name not in table]:
        command = [sys.executable, __file__, "--work", *left]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        begun = left[0]
        for line in process.stdout or ():
            if not line.startswith("{"):
                continue
            said = json.loads(line)
            begun = said.get("begun", begun)
            if "name" in said:
                table[said["name"]] = said["found"]
                print(f"{said['name']:22} {' | '.join(said['found'].values())}", file=sys.stderr, flush=True)
        process.wait()
        if begun not in table:
            table[begun] = {"made": f"CRASH: the process ended with {process.returncode}"}
            print(f"{begun:22} {table[begun]['made']}", file=sys.stderr, flush=True)
    return table


def main(names: list[str]) -> int:
    table = try_all(names or list(architectures()))
    made = {name: found for name, found in table.items() if "made" not in found}
    bad = [name for name, found in table.items() if any(word.startswith(("WRONG", "CRASH")) for word in found.values())]
    counts = {column: sum(found[column] == "right" for found in made.values()) for column in COLUMNS}
    result = {
        "mlx-lm": version("mlx-lm"),
        "architectures": len(table),
        "made": len(made),
        "right": counts,
        "wrong or crashed": bad,
        "table": table,
    }
    if not names:
        keep_benchmark("architectures", result, MEASURED)
    print(json.dumps({key: value for key, value in result.items() if key != "table"}, indent=2))
    return 1 if bad else 0


if __name__ == "__main__":
    if sys.argv[1:2] == ["--work"]:
        work(sys.argv[2:])
    else:
        sys.exit(main(sys.argv[1:]))
