"""Measure tuning against mlx-lm's own trainer, on the same machine, with the same BLAS, rows, knobs and LoRA layers.

    uv run python benchmarks/training.py duel           # supervised tokens a second on the embedded base, batch 8
    uv run python benchmarks/training.py duel smollm2   # the same on SmolLM2-135M, batch 4, 16 of 30 layers
    uv run python benchmarks/training.py cuda           # Qwen3-8B's shape, random weights of 4 bits; needs a GPU

Each side of a duel runs in a process of its own, the two in turn, and medians over the rounds are compared: a ratio
of figures from one run. Ours bounds its memory, by `tokens_at_once` or `grad_checkpoint`. mlx-lm counts one padding
token a row as supervised; its count is corrected. `--rounds 1 --updates 10` shows in a minute that it works. What is
measured is written to reports/benchmarks/training_*.json.
(training_steps.py measures single steps, and training_speed.py compares with a stock install.)
"""

import json
import random
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
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
from punie.tuning.steps import add_lora, make_optimizer
from punie.weights.artifacts import find_model, load_model

app = typer.Typer(no_args_is_help=True, add_completion=False)
MEASURED = (
    "punie.tuning.lora",
    "punie.tuning.run",
    "punie.tuning.steps",
    "punie.tuning.objective",
    "punie.weights.logits",
    "punie.weights.prefix",
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
TUNED = 16  # of its layers, the last ones
LENGTH, PREFIX, ANSWER = 640, 400, 80  # tokens: of the longest row, shared by all rows, supervised in each


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


def random_model(shape: dict, bits: int = 32) -> Any:
    """Make a qwen3 of random weights; up to 16 bits, one part after the other, so that no large copy is held."""
    mx = mlx_core()
    import mlx.nn as nn
    from mlx_lm.models import qwen3

    model = qwen3.Model(
        qwen3.ModelArgs(model_type="qwen3", rms_norm_eps=1e-6, max_position_embeddings=4096, rope_theta=1e6, **shape)
    )
    if bits <= 16:
        model.set_dtype(mx.bfloat16)
    for part in (*model.layers, model.model, model):
        if bits < 16:
            nn.quantize(
                part, group_size=64, bits=bits, class_predicate=lambda _, module: hasattr(module, "to_quantized")
            )
        mx.eval(part.parameters())
    return model


def step_gflop(
    shape: dict,
    tuned: int,  # layers, the last ones
    seen: Sequence[tuple[float, float, float]],  # rows, queries and keys of each part
    targets: float,  # positions that the head is applied to
    frozen: Sequence[tuple[float, float, float]] | None = None,  # the parts that the other layers compute
) -> float:
    """Count the matrix products of a step: forward in all layers, and back to the inputs of the tuned ones.

    LoRA's own products are left out, under 3%.
    """
    width, heads = shape["hidden_size"], shape["num_attention_heads"] * shape["head_dim"]
    weights = (
        2 * width * (heads + shape["num_key_value_heads"] * shape["head_dim"]) + 3 * width * shape["intermediate_size"]
    )
    work = 2 * 2 * targets * width * shape["vocab_size"]
    for layers, back, parts in ((shape["num_hidden_layers"] - tuned, 0, frozen or seen), (tuned, 1, seen)):
        for rows, queries, keys in parts:
            linear, attention = 2 * weights * rows * queries, 4 * heads * rows * queries * keys
            work += layers * ((1 + back) * linear + (1 + 2 * back) * attention)
    return work / 1e9


def setting(name: str) -> tuple[Any, list[SupervisedRow], dict]:
    """Return a model, rows and knobs."""
    if name == "tiny":
        folder = find_model("data/models/tiny")
        model, tokenizer = load_model(folder)[0], load_tokenizer(str(folder))
        rows = prepare_rows(read_dataset(load_settings().data / "phase33_merged").train, tokenizer, 1024, "final_turn")
        return model, rows, {"batch_size": 8, "num_layers": 4, "mask": "final_turn", "tokens_at_once": 1300}
    if name == "smollm2":
        folder = find_model(SMOLLM2)
        model, tokenizer = load_model(folder)[0], load_tokenizer(str(folder))
        rows = prepare_rows(read_dataset(load_settings().data / "phase33_merged").train, tokenizer, 1024, "final_turn")
        knobs = {"batch_size": 4, "num_layers": 16, "rank": 16, "mask": "final_turn", "grad_checkpoint": True}
        return model, rows, knobs
    bits, batch = map(int, re.findall(r"\d+", name.removeprefix("8b")))
    return (
        random_model(QWEN3_8B, bits),
        random_rows(200, LENGTH, PREFIX, ANSWER),
        {"batch_size": batch, "num_layers": TUNED, "mask": "final_turn"},
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
    mx = mlx_core()
    model, rows, knobs = setting(name)
    mx.reset_peak_memory()  # making random weights is not part of tuning
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
def cuda(
    rounds: Rounds = 5,
    updates: Updates = 20,
    bits: Annotated[int, typer.Option(help="Of the weights: 4, 8, or 16 for bfloat16.")] = 4,
) -> None:
    """Compare on a GPU: Qwen3-8B's shape, 16 of 36 layers, batches of 1 and 4.

    The share of the peak counts the products that each side does: here the prefix once a batch, and only in the layers
    that are tuned, and the head where a token is supervised; there everything for every row.
    """
    mx = mlx_core()
    if on_cpu():
        raise SystemExit(
            "no GPU here: MLX's default device is the CPU. Run it where one is, after uv sync --extra cuda "
            "(or on Apple silicon); nothing was measured"
        )
    peak = matmul_gflops(8192, "bfloat16")
    mx.clear_cache()
    rows = random_rows(200, LENGTH, PREFIX, ANSWER)
    mean, found = statistics.mean(len(row.ids) for row in rows), []
    for batch in (1, 4):
        result = compare(f"8b of {bits} bits, batch {batch}", rounds, updates)
        prefix, own = (1, PREFIX, PREFIX), (batch, mean - PREFIX, mean)
        work = {
            "ours": step_gflop(QWEN3_8B, TUNED, [prefix, own], batch * ANSWER, frozen=[own]),
            "theirs": step_gflop(QWEN3_8B, TUNED, [(batch, mean, mean)], batch * mean),
        }
        steps = {who: rate / (batch * ANSWER) for who, rate in result["supervised tokens a second"].items()}
        share = {who: round(work[who] * steps[who] / peak, 3) for who in work}
        found.append(result | {"share of the matmul peak": share})
        print(found[-1], file=sys.stderr, flush=True)
    keep("cuda", {"matmul peak in TFLOP/s, bfloat16": round(peak / 1000), "found": found})


if __name__ == "__main__":
    app()
