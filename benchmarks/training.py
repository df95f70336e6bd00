"""Measure tuning against mlx-lm's own trainer, on the same machine, with the same BLAS, rows, knobs and LoRA layers.

    uv run python benchmarks/training.py duel           # supervised tokens a second on the embedded base, batch 8
    uv run python benchmarks/training.py duel smollm2   # the same on SmolLM2-135M, batch 4, 16 of 30 layers
    uv run python benchmarks/training.py vocabulary     # memory and time of a step at Qwen3's 151,936 tokens
    uv run python benchmarks/training.py scaling        # by batch size and length, beside the matmul peak
    uv run python benchmarks/training.py cuda           # Qwen3-8B's shape, random weights of 4 bits; needs a GPU

Each side of a duel runs in a process of its own, the two in turn, and medians over the rounds are compared: a ratio
of figures from one run. `--rounds 1 --updates 10` shows in a minute that it works. What is measured is written to
reports/benchmarks/training_*.json. mlx-lm counts one padding token a row as supervised; its count is corrected.
(training_speed.py compares with a stock install.)
"""

import json
import random
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from punie.agent.prompt_utils import load_tokenizer
from punie.blas import matmul_gflops, mlx_core, on_cpu
from punie.pages.benchmarks import keep_benchmark
from punie.settings import load_settings
from punie.training.dataset_io import read_dataset
from punie.training.lora_config import LoRAConfig
from punie.training.prepare import prepare_rows
from punie.training.supervision import SupervisedRow
from punie.tuning.lora import tune
from punie.tuning.objective import make_batch, shared_prefix, update_loss
from punie.tuning.steps import add_lora, make_optimizer
from punie.weights.artifacts import find_model, load_model

app = typer.Typer(no_args_is_help=True, add_completion=False)
MEASURED = (
    "punie.tuning.lora",
    "punie.tuning.run",
    "punie.tuning.steps",
    "punie.tuning.objective",
    "punie.weights.logits",
    "punie.blas",
    "punie.tuning.cpu_exp",
)
REPORT = 5  # updates between readings; the first one, which warms up, is left out
Rounds = Annotated[int, typer.Option(min=1, help="How often each side runs.")]
Updates = Annotated[int, typer.Option(min=2 * REPORT, help="Updates a run.")]

SMOLLM2 = "mlx-community/SmolLM2-135M-Instruct"
QWEN3_8B = dict(
    hidden_size=4096,
    num_hidden_layers=36,
    intermediate_size=12288,
    num_attention_heads=32,
    num_key_value_heads=8,
    head_dim=128,
    vocab_size=151_936,
    tie_word_embeddings=False,
)
VOCABULARY = dict(
    hidden_size=256,
    num_hidden_layers=4,
    intermediate_size=768,
    num_attention_heads=4,
    num_key_value_heads=2,
    head_dim=64,
    vocab_size=151_936,
    tie_word_embeddings=True,
)


def random_rows(count: int, length: int, prefix: int, answer: int, vocabulary: int = 1000) -> list[SupervisedRow]:
    """Make rows of about one length that share a prefix and end with a supervised answer."""
    rng, rows = random.Random(0), []
    start = tuple(rng.randrange(vocabulary) for _ in range(prefix))
    for _ in range(count):
        size = length - rng.randrange(length // 8 + 1)
        rows.append(
            SupervisedRow(
                (*start, *(rng.randrange(vocabulary) for _ in range(size - prefix))),
                (False,) * (size - answer) + (True,) * answer,
            )
        )
    return rows


def random_model(shape: dict, bits: int | None = None) -> Any:
    """Make a qwen3 of random weights; with `bits`, quantized layer by layer so that no large copy is held."""
    mx = mlx_core()
    import mlx.nn as nn
    from mlx_lm.models import qwen3

    model = qwen3.Model(
        qwen3.ModelArgs(model_type="qwen3", rms_norm_eps=1e-6, max_position_embeddings=4096, rope_theta=1e6, **shape)
    )
    if bits:
        model.set_dtype(mx.bfloat16)
        for part in (*model.layers, model.model, model):
            nn.quantize(
                part, group_size=64, bits=bits, class_predicate=lambda _, module: hasattr(module, "to_quantized")
            )
            mx.eval(part.parameters())
    mx.eval(model.parameters())
    return model


def setting(name: str) -> tuple[Any, list[SupervisedRow], dict]:
    """Return a model, rows and knobs."""
    if name == "tiny":
        folder = find_model("data/models/tiny")
        model, tokenizer = load_model(folder)[0], load_tokenizer(str(folder))
        rows = prepare_rows(read_dataset(load_settings().data / "phase33_merged").train, tokenizer, 1024, "final_turn")
        return model, rows, {"batch_size": 8, "num_layers": 4, "mask": "final_turn"}
    if name == "smollm2":
        folder = find_model(SMOLLM2)
        model, tokenizer = load_model(folder)[0], load_tokenizer(str(folder))
        rows = prepare_rows(read_dataset(load_settings().data / "phase33_merged").train, tokenizer, 1024, "final_turn")
        knobs = {"batch_size": 4, "num_layers": 16, "rank": 16, "mask": "final_turn", "grad_checkpoint": True}
        return model, rows, knobs
    batch = int(name.removeprefix("8b batch "))
    return (
        random_model(QWEN3_8B, bits=4),
        random_rows(200, 640, 400, 80),
        {"batch_size": batch, "num_layers": 16, "mask": "final_turn"},
    )


def ours(model: Any, rows: Sequence[SupervisedRow], config: LoRAConfig) -> tuple[float, float]:
    """Tune here; return supervised tokens a second and the peak of memory in GB."""
    with tempfile.TemporaryDirectory() as folder:
        events = tune(model, rows, rows[: config.batch_size], config, 0, Path(folder))
    readings = [event for event in events if event["kind"] == "train"][1:]
    return statistics.median(event["supervised_tokens_per_second"] for event in readings), readings[-1]["memory_gb"]


class _Rows:
    """Give rows to mlx-lm in the form of its own data sets."""

    def __init__(self, rows: Sequence[SupervisedRow]) -> None:
        self.rows = rows

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> dict:
        return {"messages": self.rows[index]}

    def process(self, row: dict) -> tuple[list[int], int]:
        return list(row["messages"].ids), row["messages"].supervised.index(True)


class _Readings:
    def __init__(self, padding: int) -> None:
        self.padding, self.rates, self.tokens, self.memory = padding, [], 0, 0.0

    def on_train_loss_report(self, info: dict) -> None:
        counted = info["trained_tokens"] - self.tokens
        self.tokens, self.memory = info["trained_tokens"], info["peak_memory"]
        self.rates.append(info["tokens_per_second"] * (counted - self.padding) / counted)

    def on_val_loss_report(self, info: dict) -> None:
        pass


def theirs(model: Any, rows: Sequence[SupervisedRow], config: LoRAConfig) -> tuple[float, float]:
    """Tune with mlx-lm's trainer, as `mlx_lm lora` calls it; return the same figures."""
    mx = mlx_core()
    from mlx_lm.cli_ui import make_console
    from mlx_lm.tuner.datasets import CacheDataset
    from mlx_lm.tuner.trainer import TrainingArgs, train

    make_console().quiet = True
    if not on_cpu() or shutil.which("c++"):
        mx.enable_compile()  # as mlx-lm has it
    mx.random.seed(0)
    add_lora(model, config)
    readings, updates = _Readings(REPORT * config.batch_size), config.count_updates(len(rows))
    with tempfile.TemporaryDirectory() as folder:
        args = TrainingArgs(
            batch_size=config.batch_size,
            iters=updates,
            steps_per_report=REPORT,
            adapter_file=str(Path(folder) / "adapters.safetensors"),
        )
        train(
            model,
            make_optimizer(config, updates),
            CacheDataset(_Rows(rows)),
            None,
            args,
            training_callback=readings,  # ty: ignore[invalid-argument-type]  # it needs the methods alone
        )
    return statistics.median(readings.rates[1:]), float(readings.memory)


@app.command(hidden=True)
def side(who: str, name: str, updates: int) -> None:
    """Run one side once and print what it measured."""
    mlx_core()
    model, rows, knobs = setting(name)
    config = LoRAConfig(updates=updates, report_every=REPORT, eval_every=10_000, save_every=10_000, **knobs)
    rate, memory = {"ours": ours, "theirs": theirs}[who](model, rows, config)
    print(json.dumps({"rate": rate, "memory_gb": memory}))


def compare(name: str, rounds: int, updates: int) -> dict:
    """Let both sides run in turn; return medians and their ratios."""
    readings: dict[str, list[dict]] = {"ours": [], "theirs": []}
    for number in range(rounds):
        for who, found in readings.items():
            print(f"{name}: round {number + 1} of {rounds}, {who} ...", file=sys.stderr, flush=True)
            said = subprocess.run(
                [sys.executable, __file__, "side", who, name, str(updates)],
                stdout=subprocess.PIPE,
                text=True,
                check=True,
            ).stdout
            found.append(json.loads(said.splitlines()[-1]))
    middle = {
        who: {key: statistics.median(reading[key] for reading in found) for key in ("rate", "memory_gb")}
        for who, found in readings.items()
    }
    ratios = {key: middle["ours"][key] / middle["theirs"][key] for key in ("rate", "memory_gb")}
    return {
        "setting": name,
        "rounds": rounds,
        "updates": updates,
        "supervised tokens a second": {who: round(values["rate"]) for who, values in middle.items()},
        "peak memory in GB": {who: round(values["memory_gb"], 3) for who, values in middle.items()},
        "ratio of speed": round(ratios["rate"], 2),
        "ratio of memory": round(ratios["memory_gb"], 2),
    }


def keep(name: str, value: object) -> None:
    """Publish a result, and print it."""
    keep_benchmark(f"training_{name}", value, MEASURED)
    print(json.dumps(value, indent=2))


@app.command()
def duel(
    name: Annotated[str, typer.Argument(help="tiny or smollm2.")] = "tiny",
    rounds: Rounds = 5,
    updates: Updates = 30,
) -> None:
    """Compare speed and memory on a base and the shipped data, under the mask that mlx-lm has."""
    keep("duel" if name == "tiny" else f"duel_{name}", compare(name, rounds, updates))


@app.command()
def vocabulary(rounds: Rounds = 5, rows: int = 4, length: int = 300, prefix: int = 200, answer: int = 40) -> None:
    """Compare one step, loss and gradients, at a vocabulary of 151,936 tokens."""
    mx = mlx_core()
    import mlx.nn as nn
    from mlx_lm.tuner.trainer import default_loss, iterate_batches

    model = random_model(VOCABULARY)
    add_lora(model, LoRAConfig(updates=1, batch_size=rows, num_layers=4))
    batch = random_rows(rows, length, prefix, answer)
    total = mx.array(float(sum(row.targets for row in batch)))
    mine = tuple(make_batch(batch, shared_prefix(batch)))
    plain = next(iterate_batches([(list(row.ids), row.supervised.index(True)) for row in batch], rows, 2048))
    steps = {
        "ours": lambda: nn.value_and_grad(model, update_loss)(model, total, *mine),
        "theirs": lambda: nn.value_and_grad(model, default_loss)(model, *plain),
    }
    seconds, memory = {who: [] for who in steps}, {}
    for _ in range(rounds + 1):
        for who, step in steps.items():
            mx.clear_cache()
            mx.reset_peak_memory()
            start = time.perf_counter()
            mx.eval(step())
            seconds[who].append(time.perf_counter() - start)
            memory[who] = mx.get_peak_memory() / 1e9
    middle = {who: statistics.median(times[1:]) for who, times in seconds.items()}
    keep(
        "vocabulary",
        {
            "rows": rows,
            "tokens": length,
            "shared": prefix,
            "supervised": answer,
            "rounds": rounds,
            "seconds a step": {who: round(value, 3) for who, value in middle.items()},
            "peak memory in GB": {who: round(value, 3) for who, value in memory.items()},
            "ratio of speed": round(middle["theirs"] / middle["ours"], 2),
            "ratio of memory": round(memory["ours"] / memory["theirs"], 2),
        },
    )


def step_flops(shape: dict, rows: int, length: int, answer: int) -> float:
    """Count the matrix products of a step with LoRA in every layer: forward, and back to the inputs.

    LoRA's own are left out, under 3%.
    """
    width, heads = shape["hidden_size"], shape["num_attention_heads"] * shape["head_dim"]
    weights = (
        2 * width * heads
        + 2 * width * shape["num_key_value_heads"] * shape["head_dim"]
        + 3 * width * shape["intermediate_size"]
    )
    attention = 2 * length * heads  # products of queries with keys, and of shares with values, a token
    layers = shape["num_hidden_layers"] * rows * length * (2 * 2 * weights + 3 * 2 * attention)
    return layers + 2 * 2 * rows * answer * width * shape["vocab_size"]


@app.command()
def scaling(
    rounds: Rounds = 5,
    largest: Annotated[int, typer.Option(help="Most rows a batch.")] = 16,
    longest: Annotated[int, typer.Option(help="Most tokens a row.")] = 512,
) -> None:
    """Plot tokens a second by batch size and length, and the share of the measured matmul peak."""
    mx = mlx_core()
    import matplotlib.pyplot as plt
    import mlx.nn as nn

    shape = {**VOCABULARY, "vocab_size": 3072}
    model, answer, peak, found = random_model(shape), 32, matmul_gflops(), []
    add_lora(model, LoRAConfig(updates=1, batch_size=1, num_layers=4))
    step = nn.value_and_grad(model, update_loss)
    for length in (64, 128, 256, 512):
        for rows in (1, 2, 4, 8, 16):
            if length > longest or rows > largest:
                continue
            batch = tuple(
                make_batch([SupervisedRow((7,) * length, (False,) * (length - answer) + (True,) * answer)] * rows)
            )
            times = []
            for _ in range(rounds + 1):
                start = time.perf_counter()
                mx.eval(step(model, mx.array(float(rows * answer)), *batch))
                times.append(time.perf_counter() - start)
            seconds = statistics.median(times[1:])
            found.append(
                {
                    "rows": rows,
                    "length": length,
                    "tokens a second": round(rows * length / seconds),
                    "share of the matmul peak": round(
                        step_flops(shape, rows, length, answer) / seconds / 1e9 / peak, 3
                    ),
                }
            )
            print(found[-1], file=sys.stderr, flush=True)
    figure, axes = plt.subplots(1, 2, figsize=(10, 3.6), layout="constrained")
    for length in sorted({point["length"] for point in found}):
        points = [point for point in found if point["length"] == length]
        for axis, key in zip(axes, ("tokens a second", "share of the matmul peak")):
            axis.plot(
                [point["rows"] for point in points],
                [point[key] for point in points],
                marker="o",
                label=f"{length} tokens a row",
            )
            axis.set(xlabel="rows a batch", ylabel=key, xscale="log", ylim=(0, None))
            axis.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
    axes[0].legend(frameon=False)
    figure.suptitle(
        f"A step of {shape['num_hidden_layers']} layers of width {shape['hidden_size']}, medians of {rounds}; "
        f"the peak is {peak:.0f} GFLOP/s"
    )
    path = load_settings().reports / "benchmarks" / "training_scaling.png"
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110)
    keep("scaling", {"matmul peak in GFLOP/s": round(peak), "rounds": rounds, "points": found})


@app.command()
def cuda(rounds: Rounds = 5, updates: Updates = 20) -> None:
    """Compare on a GPU: Qwen3-8B's shape, 4 bits, 16 of 36 layers, batches of 1 and 4."""
    mlx_core()
    if on_cpu():
        raise SystemExit(
            "no GPU here: MLX's default device is the CPU. Run it where one is, after uv sync --extra cuda "
            "(or on Apple silicon); nothing was measured"
        )
    keep("cuda", [compare(f"8b batch {batch}", rounds, updates) for batch in (1, 4)])


if __name__ == "__main__":
    app()
