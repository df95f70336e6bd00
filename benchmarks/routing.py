"""Which knob teaches a model to choose its tool soonest, on the prompts of dev_208 alone.

`python benchmarks/routing.py PHASE [KEY=VALUE,VALUE ...]` tunes the base of a phase as its file says, and with each
value of each knob by itself, with every seed; `--set` changes a knob for all. Every so many updates the model answers
dev_208, and the share of prompts is counted to which its reply is a sound call that names the right tools. The loss at
the tools' names is measured on the validation split at the same updates. The suites that judge the phase are never
asked. A table gives the mean over the seeds and the range over them. It is published with a plot as
reports/benchmarks/routing_PHASE.json and .png; finished runs are kept under `runs/routing`. Knobs that are published of
the same code, settings and seeds are not tried again, and stay in the table. A GPU holds several runs of a small model:
`--at-once 6` gives each a process of its own.

    python benchmarks/routing.py tiny --set lora.updates=40 --every 10 lora.weights.name=8
    python benchmarks/routing.py smollm2_135m lora.learning_rate=5e-4 lora.num_layers=30 lora.weights.name=8
"""

import argparse
import multiprocessing
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING, Any

from punie.evals.engines import Sampling
from punie.evals.probe import LiveEngine
from punie.evals.runner import evaluate
from punie.evals.suites import Suite, load_suite
from punie.files import read_form, read_json, write_json
from punie.pages.benchmarks import Benchmark, keep_benchmark
from punie.phases.needs import find_base
from punie.phases.run import folder_name
from punie.phases.spec import Spec, load_spec
from punie.phases.sweep import parse_axis, parse_seeds
from punie.phases.toml_keys import parse_overrides
from punie.sentences import counted
from punie.settings import load_settings
from punie.training.dataset_io import read_dataset
from punie.training.prepare import prepare_rows
from punie.tuning.lora import tune
from punie.weights.artifacts import artifact_id, load_model

if TYPE_CHECKING:
    import mlx.nn as nn

SUITE = "dev_208"
MEASURED = ("punie.tuning.run", "punie.tuning.steps", "punie.tuning.objective", "punie.training.supervision")
Curves = dict[str, dict[int, float]]  # by what was measured, and by update
Summary = dict[str, dict[int, dict[str, float]]]  # the same over several seeds: their mean, the least and the most


def find_suite(spec: Spec) -> Suite:
    """Load the prompts, in the dialect of a phase."""
    return load_suite(SUITE).asked_in(spec.dialect(find_base(spec)))


def ask(spec: Spec, model: "nn.Module", tokenizer: Any) -> float:
    """Ask a model all prompts, and count the share that it answers with a sound call of the right tools."""
    engine, sampling = LiveEngine(model, tokenizer, find_base(spec)), Sampling(max_tokens=spec.evaluation.max_tokens)
    records = list(evaluate(engine, find_suite(spec), sampling))
    return fmean(each.code_mode and each.names_tools for each in records)


def ask_base(spec: Spec, home: Path) -> float:
    """Ask the base that runs begin with, once."""
    place = home / f"base-{artifact_id(find_base(spec))}-{find_suite(spec).sha256[:12]}.json"
    if not place.exists():
        write_json(place, ask(spec, *load_model(find_base(spec))))
    return read_json(place)


def is_base(model: "nn.Module") -> bool:
    """Whether a model's LoRA layers add nothing yet."""
    from mlx.utils import tree_flatten

    second: list[Any] = [value for name, value in tree_flatten(model.trainable_parameters()) if name.endswith("lora_b")]
    return not any(value.any().item() for value in second)


def learn(spec: Spec, seed: int, folder: Path, before: float) -> Curves:
    """Tune once, or read what a finished run measured."""
    base = find_base(spec)
    model, tokenizer = load_model(base)
    plain: Any = tokenizer  # the wrapper of mlx-lm passes everything on to the tokenizer
    dataset, lora = read_dataset(load_settings().data / spec.data.name, spec.dialect(base), leave_out=True), spec.lora
    train, valid = (
        prepare_rows(rows, plain, lora.max_tokens, lora.mask, lora.long_rows) for rows in (dataset.train, dataset.valid)
    )

    def routed(live: "nn.Module") -> float:
        return before if is_base(live) else ask(spec, live, tokenizer)

    asked = find_suite(spec).sha256
    events = tune(model, train, valid, lora, seed, folder, base=artifact_id(base), probe=routed, probe_id=asked)
    curves: Curves = {}
    for event in events:
        if event["kind"] in ("probe", "valid"):
            shown = {"right tool": "share"} if event["kind"] == "probe" else {"name loss": "name_loss", "loss": "loss"}
            for name, key in shown.items():
                curves.setdefault(name, {})[event["update"]] = event[key]
    return curves


def summarize(runs: Sequence[Curves]) -> Summary:
    """Give the mean over the seeds and the range over them, by what was measured and by update."""
    return {
        name: {
            update: {"mean": round(fmean(values), 3), "least": round(min(values), 3), "most": round(max(values), 3)}
            for update in curve
            if (values := [run[name][update] for run in runs])
        }
        for name, curve in runs[0].items()
    }


def read_published(phase: str, measured: Mapping[str, Any]) -> tuple[dict[str, Summary], dict[str, list[int]]]:
    """Read what is published of today's code with the same settings: the knobs, and the seeds of each."""
    path = load_settings().reports / "benchmarks" / f"routing_{phase}.json"
    kept = read_form(Benchmark, path, "benchmark", "measure it again") if path.is_file() else None
    if kept is None or kept.changed or kept.figures["set"] != measured:
        return {}, {}
    knobs = {
        knobs: {name: {int(at): each for at, each in curve.items()} for name, curve in summary.items()}
        for knobs, summary in kept.figures["knobs"].items()
    }
    return knobs, kept.figures["seeds"]


def report(found: Mapping[str, Summary], seeds: Mapping[str, Sequence[int]]) -> str:
    """Write the table."""
    lines = []
    for knobs, summary in found.items():
        lines.append(f"{knobs}, {counted(len(seeds[knobs]), 'seed')}")
        for name, curve in summary.items():
            told = (f"{at}: {each['mean']} ({each['least']} to {each['most']})" for at, each in curve.items())
            lines.append(f"  {name:12} {'   '.join(told)}")
    return "\n".join(lines)


def draw(found: Mapping[str, Summary], seeds: Mapping[str, Sequence[int]], phase: str, path: Path) -> None:
    """Plot the share of right tools and the loss at their names, each knob with its range over the seeds."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(1, 2, figsize=(10, 4), layout="constrained")
    for axis, (name, said) in zip(axes, {"right tool": "share of prompts", "name loss": "nats a token"}.items()):
        for knobs, summary in found.items():
            curve, label = summary[name], f"{knobs}, {counted(len(seeds[knobs]), 'seed')}"
            line = axis.plot([*curve], [each["mean"] for each in curve.values()], "o-", label=label)[0]
            low, high = ([each[end] for each in curve.values()] for end in ("least", "most"))
            axis.fill_between([*curve], low, high, color=line.get_color(), alpha=0.12)
        axis.set(title=name, xlabel="updates", ylabel=said, ylim=(0, None))
    axes[0].legend(fontsize=8, frameon=False)
    figure.suptitle(f"{phase}, asked {SUITE}: mean of the seeds, and their range")
    figure.savefig(path, dpi=110)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("phase")
    parser.add_argument("knobs", nargs="*", help="KEY=VALUE,VALUE, each tried by itself")
    parser.add_argument("--seeds", default="0-2")
    parser.add_argument("--every", type=int, default=50, help="updates between measurements")
    parser.add_argument("--at-once", type=int, default=1, help="runs that share the machine")
    parser.add_argument("--set", action="append", default=[], help="KEY=VALUE, for all runs")
    given = parser.parse_intermixed_args()
    measured = {"lora.eval_every": given.every, "lora.probe_every": given.every, **parse_overrides(given.set)}
    tried: list[dict[str, Any]] = [{}, *(value for knob in given.knobs for value in parse_axis(knob))]
    asked_seeds = parse_seeds(given.seeds)
    found, seeds = read_published(given.phase, measured)
    runs: list[tuple[str, Spec, int, Path, float]] = []
    home = load_settings().runs / "routing" / given.phase
    for seed in asked_seeds:
        for knobs in tried:
            name = ", ".join(f"{key} = {value}" for key, value in knobs.items()) or "as the phase file says"
            if {*asked_seeds} <= {*seeds.get(name, ())}:
                continue
            changed = {**measured, **knobs}
            spec = load_spec(given.phase, changed)
            runs.append((name, spec, seed, home / folder_name(seed, changed), ask_base(spec, home)))
    curves: dict[str, list[Curves]] = {}
    with ProcessPoolExecutor(given.at_once, multiprocessing.get_context("spawn")) as pool:
        for (name, _, seed, *_), measured_curves in zip(runs, pool.map(learn, *list(zip(*runs))[1:])):
            curves.setdefault(name, []).append(measured_curves)
            print(report({name: summarize([measured_curves])}, {name: [seed]}), flush=True)
    found |= {name: summarize(each) for name, each in curves.items()}
    seeds |= dict.fromkeys(curves, asked_seeds)
    print("\n" + report(found, seeds))
    if runs:
        figures = {"set": measured, "seeds": seeds, "knobs": found}
        draw(found, seeds, given.phase, keep_benchmark(f"routing_{given.phase}", figures, MEASURED).with_suffix(".png"))


if __name__ == "__main__":
    main()
