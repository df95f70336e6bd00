"""Measure single steps of tuning: at a large vocabulary, by batch size and length, and where a step's time goes.

    uv run python benchmarks/training_steps.py vocabulary   # memory and time at Qwen3's 151,936 tokens, beside mlx-lm's
    uv run python benchmarks/training_steps.py scaling      # by batch size and length, beside the matmul peak
    uv run python benchmarks/training_steps.py share        # SmolLM2-135M: the share of the peak, and the rest by part

What is measured is written to reports/benchmarks/training_*.json.
"""

import statistics
import sys
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Annotated, Any

import typer
from training import Rounds, keep, random_model, random_rows, setting, step_gflop

from punie.blas import matmul_gflops, mlx_core
from punie.settings import load_settings
from punie.training.lora_config import LoRAConfig
from punie.training.supervision import SupervisedRow
from punie.tuning.cpu_exp import attention, numpy_exp, numpy_kernels
from punie.tuning.objective import make_batch, shared_prefix, update_loss
from punie.tuning.steps import add_lora, checkpointed_layers

app = typer.Typer(no_args_is_help=True, add_completion=False)

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
            work = step_gflop(shape, shape["num_hidden_layers"], [(rows, length, length)], rows * answer)
            found.append(
                {
                    "rows": rows,
                    "length": length,
                    "tokens a second": round(rows * length / seconds),
                    "share of the matmul peak": round(work / seconds / peak, 3),
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


def median_seconds(work: Callable[[], Any], rounds: int) -> float:
    """Take the median time of some work, after one round that warms up."""
    mx, times = mlx_core(), []
    for _ in range(rounds + 1):
        start = time.perf_counter()
        mx.eval(work())
        times.append(time.perf_counter() - start)
    return statistics.median(times[1:])


def there_and_back(function: Callable[..., Any], shapes: Sequence[tuple[int, ...]], rounds: int) -> tuple[float, float]:
    """Time a function of random arrays, and apart from it the way back to their gradients."""
    mx = mlx_core()
    given = [mx.random.normal(shape) for shape in shapes]
    result = function(*given)
    mx.eval(given, result)
    there = median_seconds(lambda: function(*given), rounds)
    both = median_seconds(lambda: mx.vjp(lambda *each: [function(*each)], given, [result])[1], rounds)
    return there, max(0.0, both - there)


def product(shape: tuple[int, int], rows: int, rounds: int) -> tuple[float, float]:
    """Time a product with a weight (out, in), and the product that takes gradients back to its input."""
    mx, (out, into) = mlx_core(), shape
    x, weight, gradient = (mx.random.normal(each) for each in ((rows, into), (out, into), (rows, out)))
    mx.eval(x, weight, gradient)
    return median_seconds(lambda: x @ weight.T, rounds), median_seconds(lambda: gradient @ weight, rounds)


@app.command()
def share(rounds: Rounds = 5) -> None:
    """Say which share of the matmul peak a step on SmolLM2-135M reaches, and where its time goes."""
    mx = mlx_core()
    import mlx.nn as nn

    model, rows, knobs = setting("smollm2")
    config, prefix = LoRAConfig(updates=1, **knobs), shared_prefix(rows)
    middle = sorted(rows, key=lambda row: len(row.ids))[len(rows) // 2 :][: config.batch_size]
    batch, layers = make_batch(middle, prefix), len(model.layers)
    (size, width), targets = batch.inputs.shape, len(batch.targets)
    own, (words, hidden) = model.layers[0].self_attn, model.model.embed_tokens.weight.shape
    linear = [part.weight.shape for _, part in model.layers[0].named_modules() if isinstance(part, nn.Linear)]
    inner, each = max(out for out, _ in linear), hidden // own.n_heads
    seen = [
        (1, prefix, prefix),
        (size, width, prefix + width),
    ]  # rows, queries and keys: of the prefix, and of the rest
    kernels = numpy_kernels()

    # what a layer does, there and back
    parts: dict[str, list[tuple[float, float]]] = {
        "products with weights": [
            product(shape, count * queries, rounds) for shape in linear for count, queries, _ in seen
        ],
        "attention": [
            there_and_back(
                partial(attention, scale=each**-0.5, mask="causal"),
                [(count, own.n_heads, queries, each), *[(count, own.n_kv_heads, keys, each)] * 2],
                rounds,
            )
            for count, queries, keys in seen
        ],
        "activation": [
            there_and_back(lambda x: x * kernels.sigmoid(x), [(count * queries, inner)], rounds)
            for count, queries, _ in seen
        ],
    }
    spent = {
        name: layers * sum(there for there, _ in times) + config.num_layers * sum(back for _, back in times)
        for name, times in parts.items()
    }
    with numpy_exp():
        spent["vocabulary head"] = sum(product((words, hidden), targets, rounds)) + sum(
            there_and_back(lambda x: nn.losses.cross_entropy(x, batch.targets), [(targets, words)], rounds)
        )
    tokens = prefix + size * width
    work = step_gflop({**vars(model.args), "head_dim": each}, config.num_layers, seen, targets)

    add_lora(model, config)
    step, taken, peak = nn.value_and_grad(model, update_loss), {}, matmul_gflops()
    for name, twice in (("plain", False), ("layers computed twice", True)):
        with numpy_exp(), checkpointed_layers(model, twice):
            taken[name] = median_seconds(lambda: step(model, mx.array(float(targets)), *batch), rounds)
    spent["norms, positions, LoRA, sums and copies"] = taken["plain"] - sum(spent.values())
    keep(
        "share",
        {
            "rounds": rounds,
            "tokens a step": tokens,
            "GFLOP a step": round(work),
            "matmul peak in GFLOP/s": round(peak),
            "seconds a step": {name: round(value, 2) for name, value in taken.items()},
            "share of the matmul peak": {name: round(work / value / peak, 3) for name, value in taken.items()},
            "seconds of a plain step": {name: round(value, 2) for name, value in spent.items()},
        },
    )


if __name__ == "__main__":
    app()
