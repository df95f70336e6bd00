"""Measure what batches and a shared prefix save when a suite is asked, and that memory does not grow with the suite.

    uv run python benchmarks/eval_speed.py                                  # the embedded base
    uv run python benchmarks/eval_speed.py --model runs/tiny/seed0/model_5bit
    uv run python benchmarks/eval_speed.py --model mlx-community/SmolLM2-135M-Instruct --longest 1
    uv run python benchmarks/eval_speed.py --model mlx-community/SmolLM2-135M-Instruct --float32 --longest 1

The 27 prompts are asked in process, and then one by one through `mlx_lm.server` on the same folder, which is started
and warmed first; both have to give the same replies. In process one by one tells how much of it the batches save; the
rest is the shared prefix, HTTP and, on a CPU, that weights are expanded to float32 when they are loaded. `--float32`
asks a copy with such weights both ways, since a server that rounds to 16 bits gives other replies. Memory is
the peak of a process of its own that judges the suite once, ten times, and thirty times as long. Run it on an
otherwise idle machine. Prints one line a figure, and writes reports/benchmarks/eval_speed_MODEL.json and .png, with
`_float32` behind the name of a copy.
"""

import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import typer
from training_speed import float32_copy

SUITE, MAX_TOKENS, TIMES = "phase33_27", 160, (1, 10, 30)
MEASURED = ("punie.evals.engines", "punie.evals.runner", "punie.evals.server_engine")


def repeated(times: int):
    """Make a suite of the same prompts under other ids, each with a file name of its own."""
    from punie.evals.suites import load_suite

    suite = load_suite(SUITE)
    samples = [
        sample.model_copy(update={"id": f"{sample.id}-{number}"}) for number in range(times) for sample in suite.samples
    ]
    return suite.model_copy(update={"samples": tuple(samples)})


def measure_speed(folder: Path) -> dict:
    """Ask the suite both ways, and compare replies and seconds."""
    from punie.agent.prompt_utils import load_tokenizer, render
    from punie.evals.engines import InProcessEngine, Sampling, with_system_prompt
    from punie.evals.server import served
    from punie.evals.server_engine import Line, read_reply
    from punie.evals.suites import load_suite

    conversations = [sample.conversation for sample in load_suite(SUITE).samples]
    sampling, tokenizer = Sampling(max_tokens=MAX_TOKENS), load_tokenizer(str(folder))
    engine = InProcessEngine(folder)
    engine.reply(conversations[:1], sampling)
    engine._prefix = None  # the prefix is computed once more, inside the measured time
    started = time.perf_counter()
    replies = engine.reply(conversations, sampling)
    together = time.perf_counter() - started
    started = time.perf_counter()
    alone = [engine.reply([conversation], sampling)[0] for conversation in conversations]
    in_turn = time.perf_counter() - started
    turns = [with_system_prompt(conversation) for conversation in conversations]
    whole, left = sum(len(engine._encode(each)) for each in turns), sum(len(engine._prepare(each)[0]) for each in turns)
    assert engine._prefix is not None
    computed = left + len(engine._prefix.tokens)
    with tempfile.TemporaryDirectory() as logs, served(folder, Path(logs) / "server.log") as url:
        line = Line(url)

        def ask(each: list[dict[str, str]]):
            body = {
                "model": "default_model",
                "prompt": render(each, tokenizer, generate=True),
                "max_tokens": MAX_TOKENS,
                "temperature": 0.0,
                "logprobs": True,
            }
            return read_reply(line.ask("/completions", body), tokenizer, MAX_TOKENS)

        ask(turns[0])
        started = time.perf_counter()
        answers = [ask(each) for each in turns]
        one_by_one = time.perf_counter() - started
    same = sum(reply == other == answer for reply, other, answer in zip(replies, alone, answers))
    if same < len(replies):
        raise SystemExit(f"only {same} of {len(replies)} replies are the same; the two times cannot be compared")
    return {
        "prompts": len(replies),
        "same_replies": same,
        "in_process_seconds": together,
        "in_process_one_by_one_seconds": in_turn,
        "server_seconds": one_by_one,
        "ratio": one_by_one / together,
        "prompt_tokens": whole,
        "prompt_tokens_computed": computed,
        "prefix_saves": 1 - computed / whole,
    }


def measure_memory(folder: Path, times: int) -> dict:
    """Judge a suite of this many times the prompts and return the peak of memory."""
    from punie.evals.engines import InProcessEngine
    from punie.evals.outcomes import Plan, evaluate_into

    engine, suite = InProcessEngine(folder), repeated(times)
    with tempfile.TemporaryDirectory() as kept:
        evaluate_into(Path(kept) / "outcomes.jsonl", engine, suite, Plan(max_tokens=MAX_TOKENS))
    return {"samples": len(suite.samples), "peak_gb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9}


def in_own_process(kind: str, model: Path, times: int) -> dict:
    """Measure in a fresh interpreter."""
    done = subprocess.run(
        [sys.executable, __file__, "--one", kind, "--model", str(model), "--times", str(times)],
        check=True,
        stdout=subprocess.PIPE,
        text=True,
    )
    return json.loads(done.stdout.splitlines()[-1])


def draw(speed: dict, memory: list[dict], path: Path) -> None:
    """Plot seconds both ways, prompt tokens, and memory against samples."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, (left, middle, right) = pyplot.subplots(1, 3, figsize=(10, 3.4), layout="constrained")
    seconds = [speed[f"{way}_seconds"] for way in ("in_process", "in_process_one_by_one", "server")]
    left.bar(
        ["in process,\nin batches", "in process,\none by one", "server,\none by one"],
        seconds,
        color=["#0072B2", "#56B4E9", "#E69F00"],
    )
    left.set(title=f"{speed['prompts']} prompts: {speed['ratio']:.1f} times faster", ylabel="seconds")
    middle.bar(
        ["in all", "computed"], [speed["prompt_tokens"], speed["prompt_tokens_computed"]], color=["#999999", "#0072B2"]
    )
    middle.set(title=f"Prompt tokens: {speed['prefix_saves']:.0%} saved")
    right.semilogx([each["samples"] for each in memory], [each["peak_gb"] for each in memory], "o-", color="#D55E00")
    right.set(title="Peak of memory", xlabel="samples", ylabel="GB", ylim=(0, None))
    figure.savefig(path, dpi=144)


def main(
    model: str = "data/models/tiny", float32: bool = False, longest: int = TIMES[-1], one: str = "", times: int = 1
) -> None:
    """Measure speed and memory on one model."""
    from punie.weights.artifacts import find_model

    folder = find_model(model)
    if one:
        print(json.dumps(measure_speed(folder) if one == "speed" else measure_memory(folder, times)))
        return
    with tempfile.TemporaryDirectory() as place:
        asked = float32_copy(folder, Path(place)) if float32 else folder
        measure(f"eval_speed_{folder.name}{'_float32' if float32 else ''}", model, asked, longest)


def measure(name: str, model: str, folder: Path, longest: int) -> None:
    """Measure, and publish under a name."""
    speed = in_own_process("speed", folder, 1)
    print(
        "{prompts} prompts: {in_process_seconds:.2f} s in process ({in_process_one_by_one_seconds:.2f} s one by one), "
        "{server_seconds:.2f} s one by one through the server, ratio {ratio:.1f}, "
        "{same_replies} replies the same".format(**speed)
    )
    print(
        "prompt tokens: {prompt_tokens:,}, of which {prompt_tokens_computed:,} are computed; "
        "the shared prefix saves {prefix_saves:.0%}".format(**speed)
    )
    memory = [in_own_process("memory", folder, each) for each in TIMES if each <= longest]
    for each in memory:
        print("{samples:,} samples: peak {peak_gb:.2f} GB".format(**each))
    from punie.pages.benchmarks import keep_benchmark  # not in the processes that are measured
    from punie.weights.artifacts import artifact_id

    figures = {"model": model, "artifact": artifact_id(folder), "speed": speed, "memory": memory}
    kept = keep_benchmark(name, figures, MEASURED)
    draw(speed, memory, kept.with_suffix(".png"))


if __name__ == "__main__":
    typer.run(main)
