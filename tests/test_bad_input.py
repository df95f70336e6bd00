"""No bad input ends in a traceback: every command says in one line what is wrong, and changes nothing.

The corpus is in `bad_input`: command lines that cannot succeed, and files that are not what their names say.
"""

import contextlib
import io
import os
import shlex
import shutil
import tomllib
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import typer
from hypothesis import HealthCheck, given, settings, strategies as st
from safetensors.numpy import load_file, save_file

from punie.agent.prompt_utils import load_tokenizer
from punie.cli.main import app
from punie.phases.example import write_example
from punie.phases.miniature import write_miniature
from punie.phases.projects import make_project
from punie.phases.spec import load_spec
from punie.settings import PunieError, load_settings, shipped
from punie.unexpected import end_in_one_line
from punie.weights.shape_twin import write_random_adapter

CORPUS = Path(__file__).parent / "bad_input"
TINY = shipped() / "data" / "models" / "tiny"
DEEP = 3000  # levels


def command_lines() -> list[str]:
    lines = (CORPUS / "words.txt").read_text().splitlines()
    return [line for line in lines if not line.startswith("#")]


def bad_files() -> Iterator[tuple[str, str, str, bool]]:
    """Give each file of the corpus with a content, the command that reads it, and whether that may pass."""
    corpus = tomllib.loads((CORPUS / "files.toml").read_text())
    for file in corpus["file"]:
        for content in [*file.get("anything", corpus["anything"]), *file.get("more", [])]:
            yield file["name"], content, file["command"], content in file.get("fine", [])


def put(path: Path, content: str) -> None:
    """Write a content of the corpus, or make what it names."""
    if path.is_dir():
        shutil.rmtree(path)
    path.unlink(missing_ok=True)
    path.parent.mkdir(parents=True, exist_ok=True)
    if content == "@folder":
        path.mkdir()
    elif content == "@pipe":
        os.mkfifo(path)
    elif content == "@loop":
        path.symlink_to(path.name)
    elif content == "@nan":
        tensors = load_file(TINY / "model.safetensors")
        save_file({name: np.full_like(value, np.nan) for name, value in tensors.items()}, path, {"format": "mlx"})
    elif content == "@half":
        path.write_bytes((TINY / "model.safetensors").read_bytes()[:4_000_000])
    else:
        made = {
            "@binary": b"\xff\xfe\x00\x80" * 9,
            "@deep": b"[" * DEEP + b"]" * DEEP,
            "@deeptable": b".".join([b"a"] * DEEP) + b" = 1",
            "@long": b'{"a": "' + b"x" * (17 << 20) + b'"}',
        }
        path.write_bytes(made.get(content, content.encode()))


def contents(folder: Path) -> dict[str, tuple[int, ...]]:
    """Give what a folder holds: inode, kind, size and time of each path, as a file that is written gets others."""
    found = {}
    for path, folders, files in os.walk(folder):
        for name in [*folders, *files]:
            if name not in (".lock", "checked.json"):  # when it was last checked, or that it is at work
                state = os.lstat(os.path.join(path, name))
                changed = () if name in folders else (state.st_size, state.st_mtime_ns)
                found[os.path.relpath(os.path.join(path, name), folder)] = (state.st_ino, state.st_mode, *changed)
    return found


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A project with a finished run, a small data set and a suite of two prompts; its name is Rich's markup."""
    folder = tmp_path_factory.mktemp("bad") / "lab [v1] [/v2]"
    with pytest.MonkeyPatch.context() as patch:
        spec = load_spec("tiny")
        make_project(folder)
        write_miniature(spec, folder, str(TINY))
        for name in ("DATA", "RUNS", "REPORTS"):
            patch.delenv(f"PUNIE_{name}", raising=False)
        patch.setenv("PUNIE_MODELS", "")
        patch.chdir(folder)
        (folder / "data" / spec.data.name).rename(folder / "data" / "rows")
        phase = folder / "data" / "phases" / "tiny.toml"
        phase.write_text(phase.read_text().replace(f'name = "{spec.data.name}"', 'name = "rows"'))
        (suite,) = load_spec("tiny").evaluation.suites[:1]
        lines = (folder / "data" / "suites" / f"{suite}.jsonl").read_text().splitlines(keepends=True)
        (folder / "data" / "suites" / "suite.jsonl").write_text("".join(lines[:3]))
        write_example("tiny")
        (folder / "reports").mkdir(exist_ok=True)
        adapter = folder / "adapter"
        write_random_adapter(TINY, adapter, 2)
        yield folder


def run(line: str, **names: object) -> SimpleNamespace:
    """Run a command line as `punie` does, in this process."""
    words = [word.replace("\\0", "\0").replace("\\n", "\n") for word in shlex.split(line)]
    names = {"tiny": TINY, "lab": Path.cwd(), "file": Path.cwd() / "README.md", "long": "a" * 5000, **names}
    for name, value in names.items():
        words = [word.replace("{" + name + "}", str(value)) for word in words]
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        status = end_in_one_line(lambda: app(["-q", *words], standalone_mode=False))
    return SimpleNamespace(status=status, out=out.getvalue(), err=err.getvalue())


def fault(done: SimpleNamespace, may_pass: bool = False) -> str:
    """Say what is wrong with the end of a command; empty where nothing is."""
    if done.status == 0 and not may_pass:
        return f"it passed: {done.out[:200]!r}"
    if done.status not in (0, 1):
        return f"status {done.status}"
    lines = done.err.splitlines()
    if done.err.startswith("unexpected"):
        return f"unexpected: {done.err[:600]!r}"
    if "Traceback" in done.err + done.out or len(lines) > 1:
        return f"{len(lines)} lines: {done.err[:300]!r}"
    return "" if lines or done.out or not done.status else "it said nothing"


def case(lab: Path, number: int, name: str, content: str, command: str, may_pass: bool) -> str:
    """Put one bad file into its place, run the command that reads it, and put back what was there."""
    model, adapter = lab / f"model{number}", lab / f"adapter{number}"  # names of their own, as tokenizers are cached
    path, kept = lab / name, None
    if "/" not in name and name != "settings.ini":
        for folder, source in ((model, TINY), (adapter, lab / "adapter")):
            folder.mkdir()
            for file in source.iterdir():
                (folder / file.name).symlink_to(file)
        path = (adapter if name.startswith("adapter") else model) / name
    elif path.exists():
        kept = path.read_bytes()
    if name.endswith("/train.jsonl"):
        put(path.with_name("valid.jsonl"), "")
    put(path, content)
    before = contents(lab)
    done = run(command, model=model, adapter=adapter, path=path)
    wrong = fault(done, may_pass)
    if not wrong and not may_pass and contents(lab) != before:
        wrong = f"changed: {sorted(contents(lab).keys() ^ before.keys())[:3]}"
    put(path, "")
    path.unlink()
    if kept is not None:
        path.write_bytes(kept)
    for folder in (model, adapter):
        shutil.rmtree(folder, ignore_errors=True)
    return wrong
