"""No bad input ends in a traceback: every command says in one line what is wrong, and changes nothing.

The corpus is in `bad_input`: command lines that cannot succeed, and files that are not what their names say.
"""

import contextlib
import io
import json
import os
import shlex
import shutil
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import papermill
import pytest
from hypothesis import HealthCheck, assume, given, settings, strategies as st
from papermill.exceptions import PapermillExecutionError
from safetensors.numpy import load_file, save_file

from punie.cli.main import app
from punie.evals.rungs import read_ladder
from punie.evals.suites import load_suite
from punie.files import read_toml
from punie.pages.card import read_card
from punie.pages.papermill import show_error
from punie.phases.example import write_example
from punie.phases.finished import read_gates, read_ledger
from punie.phases.manifest import read_manifest
from punie.phases.miniature import write_miniature
from punie.phases.projects import make_project
from punie.phases.registration import read_registration
from punie.phases.spec import load_spec, phase_names
from punie.phases.stage_functions import read_survival
from punie.phases.status import read_status
from punie.phases.verdict import read_verdict
from punie.settings import PunieError, shipped
from punie.training.hyperparam import read_events
from punie.tuning.checkpoints import Checkpoints
from punie.unexpected import end_in_one_line
from punie.weights.artifacts import artifact_id, load_model
from punie.weights.model_files import AdapterConfig, read_as, read_config
from punie.weights.shape_twin import write_random_adapter

CORPUS = Path(__file__).parent / "bad_input"
TINY = shipped() / "data" / "models" / "tiny"
DEEP = 3000  # levels
CHANGED: dict[str, tuple[Callable[[], Path], str, object]] = {  # a good file, one of its keys, and its other value
    "@rope": (lambda: TINY / "config.json", "rope_theta", "4"),
    "@epsilon": (lambda: TINY / "config.json", "rms_norm_eps", float("nan")),
    "@base": (lambda: TINY / "config.json", "rope_theta", 0),
    "@longest": (lambda: TINY / "tokenizer_config.json", "model_max_length", "4"),
    "@big": (lambda: Path.cwd() / "kept.jsonl", "seed", 10**30),
}
COMMANDS = [  # each may be given anything
    "run",
    "rehearse",
    "status --seeds",
    "sweep",
    "check",
    "preflight",
    "train",
    "fuse",
    "ladder",
    "ask",
    "eval",
    "compare",
    "export",
    "report",
    "results",
    "verify",
    "phases show",
    "phases new tiny",  # any other name may be right
    "data show",
    "data build",
    "data import",
    "suites rename",
    "tools show",
    "tools import",
    "tools try",
    "faults run",
]


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
    if content == "@gone":
        return
    if content == "@folder":
        path.mkdir()
    elif content == "@pipe":
        os.mkfifo(path)
    elif content == "@loop":
        path.symlink_to(path.name)
    elif content == "@nan":
        tensors = load_file(TINY / "model.safetensors")
        save_file({name: np.full_like(value, np.nan) for name, value in tensors.items()}, path, {"format": "mlx"})
    elif content in ("@whole", "@norm"):
        tensors, norm = load_file(TINY / "model.safetensors"), "model.norm.weight"
        odd = {norm: tensors[norm]} if content == "@norm" else {**tensors, norm: tensors[norm].astype(np.int16)}
        save_file(odd, path, {"format": "mlx"})
    elif content in ("@beyond", "@prefix", "@words"):
        parts = json.loads((TINY / "tokenizer.json").read_text())
        words = parts["model"]["vocab"]
        if content == "@beyond":
            parts["model"]["vocab"] = {word: number + 900_000 * (number > 99) for word, number in words.items()}
        elif content == "@prefix":
            parts["model"]["continuing_subword_prefix"] = "##"
        else:
            parts["model"] = {"type": "WordLevel", "unk_token": "<unknown>", "vocab": words}
        path.write_text(json.dumps(parts))
    elif content in CHANGED:
        source, key, value = CHANGED[content]
        row, *rows = source().read_text().splitlines() if path.suffix == ".jsonl" else [source().read_text()]
        path.write_text("\n".join([json.dumps({**json.loads(row), key: value}), *rows]) + "\n")
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
        shutil.copyfile(folder / "runs" / "tiny" / "seed0" / "outcomes.jsonl", folder / "kept.jsonl")
        (folder / "reports").mkdir(exist_ok=True)
        adapter = folder / "adapter"
        write_random_adapter(TINY, adapter, 2)
        yield folder


def run(line: str, **names: object) -> SimpleNamespace:
    """Run a command line as `punie` does, in this process."""
    words = [word.replace("\\0", "\0").replace("\\n", "\n") for word in shlex.split(line)]
    names = {
        "tiny": TINY,
        "lab": Path.cwd(),
        "file": Path.cwd() / "README.md",
        "long": "a" * 5000,
        "digits": "9" * 5000,
        **names,
    }
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


def test_command_lines_end_in_one_line(lab: Path) -> None:
    before, wrong = contents(lab), []
    for line in command_lines():
        if said := fault(run(line)):
            wrong.append(f"punie {line}: {said}")
    assert not wrong and contents(lab) == before, "\n".join(wrong)


def test_files_end_in_one_line(lab: Path) -> None:
    tried = [(case(lab, number, *each), each) for number, each in enumerate(bad_files())]
    assert len(tried) + len(command_lines()) >= 400
    assert not (wrong := [f"{name}: {content[:60]!r}: {said}" for said, (name, content, *_) in tried if said]), wrong


READERS: list[tuple[str, Callable[[Path], object]]] = [
    ("ledger.json", read_ledger),
    ("checks.json", read_gates),
    ("survival.json", lambda path: read_survival(SimpleNamespace(path=path.with_name))),  # ty: ignore
    ("verdict.json", read_verdict),
    ("registration.json", read_registration),
    ("manifest.json", lambda path: read_manifest(path.parent)),
    ("stopped.json", lambda path: read_status(path.parent)),
    ("checked.json", lambda path: read_status(path.parent)),
    ("events.jsonl", lambda path: [*read_events(path)]),
    ("config.json", lambda path: read_config(path.parent)),
    ("adapter_config.json", lambda path: read_as(AdapterConfig, path)),
    ("card.json", read_card),
    ("ladder.json", read_ladder),
    ("phase.toml", read_toml),
    ("suite.jsonl", lambda path: load_suite(str(path))),
]
KEYS = ["id", "messages", "rungs", "key", "reason", "tools", "rank", "num_hidden_layers", "check_name", "criteria"]
OPTIONS = [
    "--json",
    "--seed",
    "--set",
    "--suite",
    "--model",
    "lora.rank=0",
    "[/v2]",
    "..",
    "/dev/null",
    "tiny/seed0",
    "9" * 30,
]
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inside: (
        st.lists(inside, max_size=3) | st.dictionaries(st.sampled_from(KEYS) | st.text(max_size=5), inside, max_size=4)
    ),
    max_leaves=8,
)


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.sampled_from(READERS), JSON.map(json.dumps) | st.text(max_size=40))
def test_readers_refuse_what_they_cannot_read(tmp_path: Path, reader: tuple, text: str) -> None:
    name, read = reader
    path = tmp_path / name
    path.write_text(text, encoding="utf-8", errors="replace")
    with contextlib.suppress(PunieError):
        read(path)
    path.unlink()


@settings(max_examples=60)
@given(
    st.sampled_from(sorted(COMMANDS)), st.lists(st.text(max_size=8) | st.sampled_from(OPTIONS), min_size=1, max_size=3)
)
def test_commands_refuse_what_they_do_not_know(lab: Path, command: str, words: list[str]) -> None:
    # an export of the run succeeds, and a report that fails keeps the notebook that says where
    assume(command not in ("export", "report") or not {"tiny/seed0"} <= set(words) <= {"tiny/seed0", "--json"})
    before = contents(lab)
    assert not fault(run(f"{command} {shlex.join(words)}"), may_pass=False) and contents(lab) == before


def test_a_checkpoint_without_its_metadata_is_passed_over(tmp_path: Path) -> None:
    save_file({"a": np.zeros(2, np.float32)}, tmp_path / "0000001.safetensors")
    assert Checkpoints(tmp_path, {}).load() is None


def test_hidden_files_are_no_weights_phases_or_tokenizers(lab: Path, tmp_path: Path) -> None:
    model = tmp_path / "tiny [v1]"
    shutil.copytree(TINY, model)
    known = artifact_id(model), phase_names()
    for name in ("._model.safetensors", "._config.json", "._tokenizer.json", ".model.safetensors.swp"):
        (model / name).write_bytes(b"\0\5\26\7")
    (lab / "data" / "phases" / "._tiny.toml").write_bytes(b"\0\5\26\7")
    assert (artifact_id(model), phase_names()) == known
    assert load_model(model)[0] is not None  # the folder's name is not a pattern
    (lab / "data" / "phases" / "._tiny.toml").unlink()


@pytest.mark.parametrize("given", [{"phase": "tny"}, {"phase": "tiny", "seed": -1}, {"sede": 1}])
def test_papermill_run_by_hand_ends_in_one_line(lab: Path, given: dict) -> None:
    err = io.StringIO()
    with pytest.raises(PapermillExecutionError) as caught:
        papermill.execute_notebook("nbs/phase.ipynb", None, given, kernel_name="python3", progress_bar=False)
    with contextlib.redirect_stderr(err):
        show_error(caught.type, caught.value, caught.tb)
    assert err.getvalue().startswith("PunieError: ") and len(err.getvalue().splitlines()) == 1


def test_a_read_only_folder_of_runs_is_said_in_one_line(lab: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PUNIE_RUNS", "/proc/runs")  # a folder in which nobody can write, root included
    for line in (
        "run tiny",
        "eval {tiny} --suite suite",
        "rehearse tiny",
        "sweep tiny --seeds 0",
    ):
        assert not (said := fault(run(line))), f"{line}: {said}"
