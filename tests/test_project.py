"""The package as it is installed, and a project in a folder of one's own."""

import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from punie import __version__
from punie.evals.suites import load_suite
from punie.phases.projects import NOTEBOOKS, make_project
from punie.phases.spec import load_spec
from punie.settings import SETTINGS, PunieError, shipped

ROOT = shipped()
IDENTITY = {f"GIT_{who}_{what}": "lab@example.org" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
LIBRARY = """
from punie.agent.dialects import Dialect
from punie.agent.tool_files import load_registry
from punie.evals.dialogue import gold_replies
from punie.evals.scoring import score_many
from punie.evals.suites import load_suite
from punie.phases.phase_suites import suite_hash
from punie.phases.registration import code_version
from punie.settings import data_path
from punie.training.dataset_io import read_dataset
from punie.weights.artifacts import artifact_id, find_model

suite = load_suite("phase33_27")
print(*{score.outcome for score in score_many((each, gold_replies(each)) for each in suite.samples)})
print(artifact_id(find_model("data/models/tiny")), suite_hash("sealed_200"))
print(len(Dialect(load_registry("punie")).tools), len(read_dataset(data_path("phase33_merged")).train), code_version())
"""
REGISTER = """
import sys
from punie.phases.registration import commit_registration, register
from punie.phases.run import open_run

run = open_run(sys.argv[1])
register(run.spec, run.inputs, run.path("registration.json"))
commit_registration(run.path("registration.json"))
"""


@pytest.fixture(scope="session")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    return next(folder.glob("*.whl"))


@pytest.fixture(scope="session")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, unpacked as an installer would; its dependencies are those of this environment."""
    folder = tmp_path_factory.mktemp("installed")
    with zipfile.ZipFile(wheel) as file:
        file.extractall(folder)
    return folder


def call(installed: Path, cwd: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """Call Python with the installed package, and nothing of this clone."""
    own = {name: value for name, value in os.environ.items() if not name.startswith("PUNIE_")}
    place = own | IDENTITY | {"PYTHONPATH": str(installed), "COLUMNS": "200"}
    return subprocess.run([sys.executable, *words], cwd=cwd, env=place, capture_output=True, text=True)


def punie(installed: Path, cwd: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return call(installed, cwd, "-c", "from punie.cli.main import main; main()", *words)


def test_the_wheel_holds_all_that_is_shipped_and_is_small(wheel: Path) -> None:
    listed = subprocess.run(["git", "ls-files", "data"], cwd=ROOT, check=True, capture_output=True, text=True)
    wanted = {f"punie/shipped/{name}" for name in (*listed.stdout.splitlines(), *NOTEBOOKS, "nbs/faults.ipynb")}
    with zipfile.ZipFile(wheel) as file:
        held = {name for name in file.namelist() if name.startswith("punie/shipped/")}
        assert not [name for name in file.namelist() if "jupyter" in name]  # a clone opens its contents, nobody else
    assert held == wanted and "punie/shipped/data/models/tiny/model.safetensors" in held
    assert wheel.stat().st_size < 12e6


def test_the_library_works_without_a_project(installed: Path, tmp_path: Path) -> None:
    done = call(installed, tmp_path, "-c", LIBRARY)
    assert done.returncode == 0, done.stderr
    here = subprocess.run([sys.executable, "-c", LIBRARY], cwd=ROOT, check=True, capture_output=True, text=True)
    (*alike, there), (*clone, _) = done.stdout.splitlines(), here.stdout.splitlines()
    assert alike == clone and alike[0] == "correct"
    assert there == f"26 1159 punie {__version__}, installed"


def test_a_command_that_needs_a_project_says_how_to_make_one(installed: Path, tmp_path: Path) -> None:
    done = punie(installed, tmp_path, "run", "tiny")
    assert done.returncode == 1 and "`punie init FOLDER` makes one" in done.stderr and done.stderr.count("\n") == 1


def test_tools_of_ones_own_become_rows_in_a_project(installed: Path, tmp_path: Path) -> None:
    made = punie(installed, tmp_path, "init", "lab", "--json")
    lab = Path(json.loads(made.stdout)["root"])
    assert lab == tmp_path / "lab" and json.loads(made.stdout)["next"][1] == "punie run tiny"
    for words in (
        ("tools", "import", "data/examples/home/tools.json", "house"),
        ("data", "new", "house", "--tools", "house"),
        ("data", "build", "house"),
        ("phases", "new", "house", "--from", "home", "--set", "data.name=house", "--set", "tools.registry=house"),
    ):
        done = punie(installed, lab, *words)
        assert done.returncode == 0, (words, done.stderr, done.stdout)
    done = call(installed, lab, "-c", REGISTER, "house")
    assert done.returncode == 0, done.stderr
    promised = json.loads((lab / "reports/registrations/house-seed0.json").read_text())
    assert promised["commit"] == f"punie {__version__}, installed" and promised["spec"]["tools"]["registry"] == "house"
    log = subprocess.run(["git", "log", "--format=%s"], cwd=lab, check=True, capture_output=True, text=True)
    assert log.stdout == "Register house/seed0\n"
    assert not list((installed / "punie/shipped").rglob("house*"))


def test_a_file_of_the_project_is_read_before_the_shipped_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lab = make_project(tmp_path / "lab").root
    monkeypatch.chdir(lab / "reports")
    for name in ("PUNIE_DATA", "PUNIE_RUNS", "PUNIE_REPORTS"):
        monkeypatch.delenv(name, raising=False)
    assert len(load_suite("phase33_27").samples) == 27 and load_spec("tiny").lora.rank == 8
    lines = (ROOT / "data/suites/phase33_27.jsonl").read_text().splitlines(keepends=True)
    (lab / "data/suites/phase33_27.jsonl").write_text("".join(lines[:5]))
    assert len(load_suite("phase33_27").samples) == 5
    text = (ROOT / "data/phases/tiny.toml").read_text()
    (lab / "data/phases/tiny.toml").write_text(text.replace("rank = 8", "rank = 4"))
    assert load_spec("tiny").lora.rank == 4
    (lab / "data/phases/lost.toml").write_text(text.replace("multi_60", "no_such"))
    with pytest.raises(PunieError) as caught:
        load_spec("lost")
    assert f"{lab / 'data/suites'} or {ROOT / 'data/suites'}" in str(caught.value)
    assert "lost.toml" in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [
        (f"version = {__version__}", "version = 9.9.9", f"asks for punie 9.9.9, and {__version__} is installed"),
        ("runs = runs", "runs = settings.ini", "name another place in settings.ini"),
    ],
)
def test_a_project_that_cannot_be_used_is_one_line(
    tmp_path: Path, installed: Path, before: str, after: str, said: str
) -> None:
    lab = make_project(tmp_path / "lab").root
    assert before in SETTINGS
    (lab / "settings.ini").write_text(SETTINGS.replace(before, after))
    done = punie(installed, lab, "run", "tiny", "--until", "check", "-q")
    assert done.returncode == 1 and said in done.stderr and done.stderr.count("\n") == 1, done.stderr
