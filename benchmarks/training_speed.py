"""Compare supervised tokens a second: punie's tuning against `mlx_lm lora` from a stock install.

Run it on an otherwise idle machine:  uv run python benchmarks/training_speed.py

Both tune the embedded base on the shipped data: batch 8, rank 8, 4 layers. `mlx_lm lora` runs in a process of its own
without a BLAS loaded before MLX, as a plain `pip install mlx-lm` would, with --mask-prompt so that its figure counts
supervised tokens too. It runs on the base as stored (float16) and on a float32 copy, which is faster on a CPU; the
ratio is taken against the faster of the two.
"""

import json
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from punie.agent.prompt_utils import load_tokenizer
from punie.blas import mlx_core
from punie.files import read_json, write_json
from punie.settings import load_settings
from punie.training.dataset_io import read_dataset
from punie.training.lora_config import LoRAConfig
from punie.training.prepare import prepare_rows
from punie.tuning.lora import tune
from punie.weights.artifacts import find_model, load_model, load_weights

BATCH, LAYERS, UPDATES, STOCK_UPDATES = 8, 4, 60, 4


def punie_rate(base: Path, data: Path) -> float:
    """Tune for UPDATES and return the mean of the reported rates."""
    model, tokenizer = load_model(base)[0], load_tokenizer(str(base))
    rows = prepare_rows(read_dataset(data).train, tokenizer, 1024)
    config = LoRAConfig(updates=UPDATES, batch_size=BATCH, num_layers=LAYERS, max_tokens=1024, eval_every=10_000)
    with tempfile.TemporaryDirectory() as folder:
        events = tune(model, rows, rows[:BATCH], config, 0, Path(folder))
    rates = [event["supervised_tokens_per_second"] for event in events if event["kind"] == "train"]
    return sum(rates) / len(rates)


def stock_rate(base: Path, data: Path) -> float:
    """Run `mlx_lm lora` without a fast BLAS and return its reported rate."""
    with tempfile.TemporaryDirectory() as folder:
        command = [
            sys.executable,
            "-m",
            "mlx_lm",
            "lora",
            "--train",
            "--model",
            str(base),
            "--data",
            str(data),
            "--adapter-path",
            folder,
            "--iters",
            str(STOCK_UPDATES),
            "--batch-size",
            str(BATCH),
            "--num-layers",
            str(LAYERS),
            "--mask-prompt",
            "--steps-per-report",
            str(STOCK_UPDATES),
            "--val-batches",
            "1",
        ]
        output = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        output = re.sub(r"\x1b\[[0-9;]*m", "", output)
    found = re.search(
        rf"^\s*{STOCK_UPDATES}\s+[\d.]+ [▼▲]\s+([\d,]+)", output, re.MULTILINE
    )  # update, loss, supervised tokens a second
    if not found:
        raise SystemExit(f"no rate in mlx_lm's output:\n{output}")
    return float(found[1].replace(",", ""))


def float32_copy(base: Path, folder: Path) -> Path:
    """Write the base with float32 weights; packed ones are expanded."""
    mx = mlx_core()
    from mlx.utils import tree_flatten

    copy = Path(shutil.copytree(base, folder / "float32"))
    weights = dict(tree_flatten(load_weights(base, expanded=True)[0].parameters()))
    mx.save_safetensors(str(copy / "model.safetensors"), weights, metadata={"format": "mlx"})
    config = read_json(base / "config.json")
    write_json(copy / "config.json", {name: config[name] for name in config if not name.startswith("quantization")})
    return copy


if __name__ == "__main__":
    base, data = find_model("data/models/tiny"), load_settings().data / "phase33_merged"
    mine = punie_rate(base, data)
    with tempfile.TemporaryDirectory() as folder:
        stored, wide = stock_rate(base, data), stock_rate(float32_copy(base, Path(folder)), data)
    print(
        json.dumps(
            {
                "punie": round(mine),
                "mlx_lm lora, float16 as stored": round(stored),
                "mlx_lm lora, float32 copy": round(wide),
                "ratio": round(mine / max(stored, wide), 1),
            },
            indent=2,
        )
    )
