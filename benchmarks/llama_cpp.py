"""Try an exported model in a real llama.cpp: are the tokens the same, and are its replies sane?

python benchmarks/llama_cpp.py MODEL NODE [OUTTYPE]
python benchmarks/llama_cpp.py MODEL NODE [OUTTYPE] --suite phase33_27 > replies.jsonl

MODEL is a folder that `punie export --to gguf` takes. NODE is a folder with llama.cpp's ready-made binaries, made once:
mkdir NODE && cd NODE && npm init -y && npm i --ignore-scripts node-llama-cpp
"""

import argparse
import json
import os
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from punie.agent.prompt_utils import load_tokenizer, render
from punie.evals.suites import load_suite
from punie.weights.artifacts import find_model
from punie.weights.gguf_model import to_gguf
from punie.weights.llama_cpp import complete

QUESTIONS = {
    "What is the capital of France?": "Paris",
    "How many days are in a week?": "seven|7",
    "Which planet do we live on?": "Earth",
    "Is ice cold or hot?": "cold",
}
SUITES = ("phase33_27", "routing_260", "abstain_60")  # whose prompts are tokenized by both


def differing(node: Path, file: Path, model: Path, texts: Sequence[str]) -> list[str]:
    """List the texts that llama.cpp tokenizes in another way than the model's own tokenizer."""
    tokenizer = load_tokenizer(str(model))
    answers = complete(node, file, texts, 0)
    own = [tokenizer.encode(text, add_special_tokens=False) for text in texts]
    return [text for text, ids, answer in zip(texts, own, answers, strict=True) if ids != answer["tokens"]]


def prompts_of(suite: str, model: Path) -> list[str]:
    """Render the prompts of a suite as the model is asked them."""
    tokenizer = load_tokenizer(str(model))
    samples = load_suite(suite).samples
    turns = [[{"role": turn.role, "content": turn.content} for turn in sample.prompt] for sample in samples]
    return [render(each, tokenizer, generate=True) for each in turns]


def try_model(node: Path, file: Path, model: Path) -> None:
    """Compare tokens, ask the questions, and print what came out. Exits with 1 where something is wrong."""
    texts = list(dict.fromkeys(text for suite in SUITES for text in prompts_of(suite, model)))
    texts += ["naïve café — 東京 🙂", "a\t b\n\n  c  \r\n1234567 x_y", "I'LL can't we've", "x" * 300, " leading"]
    wrong = differing(node, file, model, texts)
    print(f"{len(texts) - len(wrong)} of {len(texts)} texts have the same tokens")
    tokenizer = load_tokenizer(str(model))
    asked = [render([{"role": "user", "content": question}], tokenizer, generate=True) for question in QUESTIONS]
    sane = 0
    for (question, words), answer in zip(QUESTIONS.items(), complete(node, file, asked, 60), strict=True):
        good = any(word.lower() in answer["reply"].lower() for word in words.split("|"))
        sane += good
        print(f"{'sane' if good else 'ODD '}  {question}  {answer['reply']!r}")
    print(f"{sane} of {len(QUESTIONS)} replies are sane")
    if wrong or sane < len(QUESTIONS):
        sys.exit(1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("node", type=Path)
    parser.add_argument("outtype", nargs="?", default="f16")
    parser.add_argument("--suite", help="answer this suite's prompts and print one JSON line for each")
    parser.add_argument("--limit", type=int, default=256, help="tokens of a reply")
    options = parser.parse_args()
    model = find_model(options.model)
    with tempfile.TemporaryDirectory() as folder:
        start = time.perf_counter()
        file = to_gguf(model, Path(folder) / "model.gguf", options.outtype)
        seconds, size = time.perf_counter() - start, os.path.getsize(file) / 1e6
        print(f"{options.outtype}: {size:.0f} MB in {seconds:.1f} s", file=sys.stderr)
        if not options.suite:
            return try_model(options.node, file, model)
        samples = load_suite(options.suite).samples
        answers = complete(options.node, file, prompts_of(options.suite, model), options.limit)
        for sample, answer in zip(samples, answers, strict=True):
            print(json.dumps({"sample": sample.id, "reply": answer["reply"]}, ensure_ascii=False))


if __name__ == "__main__":
    main()
