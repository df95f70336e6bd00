"""Which knob teaches a model to choose its tool soonest, on the prompts of dev_208 alone.

`python benchmarks/routing.py PHASE [--seeds 0-2] [KEY=VALUE,VALUE ...]` runs the phase as its file says and with each
value of each knob by itself, every seed of them, through the lab's own stages. The suites that judge the phase are left
out: what is chosen here was never tried on them. Finished runs are kept under `runs/routing`, and not done again.

A run is asked for its replies to dev_208 once, at its end. How soon it learned is the loss at the tools' names, which is
measured on the validation split on the way. The table gives the mean over the seeds, and the range over them.

    python benchmarks/routing.py tiny lora.weights.name=4,16
    python benchmarks/routing.py smollm2_135m lora.learning_rate=5e-4 lora.num_layers=30 lora.weights.name=8
"""

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean

import tomlkit

from punie.evals.records import read_records
from punie.files import read_jsonl, write_text
from punie.phases.miniature import inside
from punie.phases.spec import load_spec
from punie.phases.sweep import Cell, grid, parse_axis, parse_seeds, sweep_here
from punie.settings import load_settings

SUITE = "dev_208"


def write_study(phase: str, folder: Path) -> None:
    """Write the phase into a folder of its own, to be judged on the development prompts alone."""
    tables = load_spec(phase).model_dump(mode="json", exclude={"name"}, exclude_none=True)
    tables["evaluation"] |= {"suites": [SUITE], "files": {}}
    tables |= {"criteria": {SUITE: {"overall": 0.5}}, "baseline": {}}
    (folder / "data").mkdir(parents=True, exist_ok=True)
    for path in load_settings().data.iterdir():
        if path.name != "phases" and not (folder / "data" / path.name).exists():
            (folder / "data" / path.name).symlink_to(path)
    write_text(folder / "data" / "phases" / f"{phase}.toml", tomlkit.dumps(tables))


def figures(cell: Cell) -> dict[str, float]:
    """Read what a finished run learned, by the update at which it was measured."""
    records = read_records(cell.folder / "outcomes.jsonl")
    tuned = records[len(records) // 2 :]  # the base was asked first
    chosen = [each.code_mode and each.names_tools for each in tuned]
    events = [event for _, event in read_jsonl(cell.folder / "events.jsonl") if event["kind"] == "valid"]
    return {
        "tool": fmean(chosen),
        "right": fmean(each.outcome == "correct" for each in tuned),
        **{f"name loss at {event['update']}": event["name_loss"] for event in events},
        "value loss": events[-1]["value_loss"],
        "loss": events[-1]["loss"],
    }


def spread(values: Sequence[float]) -> str:
    """Write a mean with its range over seeds."""
    return f"{fmean(values):.3f} ({min(values):.3f} to {max(values):.3f})"


def report(found: Mapping[str, Sequence[Mapping[str, float]]]) -> str:
    """Write the table, the knobs with the best choice of tools first."""
    order = sorted(found, key=lambda knobs: -fmean(each["tool"] for each in found[knobs]))
    lines = []
    for knobs in order:
        shown = {name: spread([each[name] for each in found[knobs]]) for name in found[knobs][0]}
        lines += [f"{knobs}, {len(found[knobs])} seeds", *(f"  {name:20} {value}" for name, value in shown.items())]
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("phase")
    parser.add_argument("knobs", nargs="*", help="KEY=VALUE,VALUE, each tried by itself")
    parser.add_argument("--seeds", default="0-2")
    given = parser.parse_intermixed_args()
    folder = load_settings().runs / "routing" / given.phase
    write_study(given.phase, folder)
    with inside(folder):
        seeds, cells = parse_seeds(given.seeds), list(grid(given.phase, parse_seeds(given.seeds)))
        for knob in given.knobs:
            cells += [cell for cell in grid(given.phase, seeds, [parse_axis(knob)]) if cell not in cells]
        sweep_here(cells, lambda ended, total, cell: print(f"{ended}/{total} {cell.name}: {cell.state[1]}", flush=True))
        found: dict[str, list[dict[str, float]]] = {}
        for cell in cells:
            if cell.state[0] == "done":
                found.setdefault(cell.knobs, []).append(figures(cell))
    print(report(found))


if __name__ == "__main__":
    main()
