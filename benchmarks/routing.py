"""Which knob teaches a model to choose its tool soonest, on the prompts of dev_208 alone.

`python benchmarks/routing.py PHASE [KEY=VALUE,VALUE ...]` tunes the base of a phase as its file says, and with each
value of each knob by itself, with every seed; `--set` changes a knob for all. Every so many updates the model answers
dev_208, and the share of prompts is counted to which its reply is a sound call that names the right tools. The loss at
the tools' names is measured on the validation split at the same updates. The suites that judge the phase are never
asked. A table gives the mean over the seeds and the range over them, and is published as
reports/benchmarks/routing_PHASE.json; finished runs are kept under `runs/routing`.

    python benchmarks/routing.py tiny --set lora.updates=40 --every 10 lora.weights.name=8
    python benchmarks/routing.py smollm2_135m lora.learning_rate=5e-4 lora.num_layers=30 lora.weights.name=8
"""

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING, Any

from punie.evals.engines import Sampling
from punie.evals.probe import LiveEngine
from punie.evals.runner import evaluate
from punie.evals.suites import load_suite
from punie.pages.benchmarks import keep_benchmark
from punie.phases.needs import find_base
from punie.phases.run import folder_name
from punie.phases.spec import Spec, load_spec
from punie.phases.sweep import parse_axis, parse_seeds
from punie.phases.toml_keys import parse_overrides
from punie.settings import load_settings
from punie.training.dataset_io import read_dataset
from punie.training.prepare import prepare_rows
from punie.tuning.lora import tune
from punie.weights.artifacts import artifact_id, load_model

if TYPE_CHECKING:
    import mlx.nn as nn

SUITE = "dev_208"
MEASURED = ("punie.tuning.run", "punie.tuning.steps", "punie.tuning.objective", "punie.training.supervision")
Curves = dict[str, list[float]]  # by what was measured: a value for each update at which it was


def learn(spec: Spec, seed: int, folder: Path) -> Curves:
    """Tune once, or read what a finished run measured."""
    base = find_base(spec)
    model, tokenizer = load_model(base)
    suite = load_suite(SUITE).asked_in(spec.dialect(base))
    plain: Any = tokenizer  # the wrapper of mlx-lm passes everything on to the tokenizer
    dataset, lora = read_dataset(load_settings().data / spec.data.name, spec.dialect(base), leave_out=True), spec.lora
    train, valid = (
        prepare_rows(rows, plain, lora.max_tokens, lora.mask, lora.long_rows) for rows in (dataset.train, dataset.valid)
    )

    def routed(live: "nn.Module") -> float:
        engine = LiveEngine(live, tokenizer, base)
        records = list(evaluate(engine, suite, Sampling(max_tokens=spec.evaluation.max_tokens)))
        return fmean(each.code_mode and each.names_tools for each in records)

    events = tune(model, train, valid, lora, seed, folder, base=artifact_id(base), probe=routed, probe_id=suite.sha256)
    curves: Curves = {}
    for event in events:
        if event["kind"] in ("probe", "valid"):
            shown = {"right tool": "share"} if event["kind"] == "probe" else {"name loss": "name_loss", "loss": "loss"}
            for name, key in shown.items():
                curves.setdefault(f"{name} at {event['update']}", []).append(event[key])
    return curves


def report(found: Mapping[str, Sequence[Curves]]) -> str:
    """Write the table: every figure as its mean over the seeds, and the range over them."""
    lines = []
    for knobs, runs in found.items():
        lines.append(f"{knobs}, {len(runs)} seeds")
        for name in runs[0]:
            values = [run[name][0] for run in runs]
            lines.append(f"  {name:20} {fmean(values):.3f} ({min(values):.3f} to {max(values):.3f})")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("phase")
    parser.add_argument("knobs", nargs="*", help="KEY=VALUE,VALUE, each tried by itself")
    parser.add_argument("--seeds", default="0-2")
    parser.add_argument("--every", type=int, default=50, help="updates between measurements")
    parser.add_argument("--set", action="append", default=[], help="KEY=VALUE, for all runs")
    given = parser.parse_intermixed_args()
    measured = {"lora.eval_every": given.every, "lora.probe_every": given.every, **parse_overrides(given.set)}
    tried: list[dict[str, Any]] = [{}, *(value for knob in given.knobs for value in parse_axis(knob))]
    found: dict[str, list[Curves]] = {}
    for knobs in tried:
        spec = load_spec(given.phase, {**measured, **knobs})
        name = ", ".join(f"{key} = {value}" for key, value in knobs.items()) or "as the phase file says"
        for seed in parse_seeds(given.seeds):
            place = load_settings().runs / "routing" / given.phase / folder_name(seed, {**measured, **knobs})
            found.setdefault(name, []).append(learn(spec, seed, place))
            print(report({f"{name}, seed {seed} of": found[name][-1:]}), flush=True)
    print("\n" + report(found))
    keep_benchmark(f"routing_{given.phase}", {"set": measured, "curves": found}, MEASURED)


if __name__ == "__main__":
    main()
