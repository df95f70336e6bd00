"""A run has one name: every command takes it in every form, and JSON is all that a program gets."""

import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from punie.cli.main import app
from punie.pages.card import run_card
from punie.pages.publish import publish, run_tables
from punie.pages.results import results_document, write_document
from punie.pages.verify import expected_notebook
from punie.phases.evidence import ARCHIVE, pack
from punie.phases.finished import load_results, open_finished
from punie.phases.miniature import write_miniature
from punie.phases.projects import make_project
from punie.phases.registration import register
from punie.phases.run import open_run
from punie.phases.spec import load_spec
from punie.settings import PunieError

FORMS = (  # of a run; {} is its short name
    "{}",
    "{}/",
    "runs/{}",
    "runs/{}/",
    "./runs/{}",
    "PROJECT/runs/{}",
    "SEED",
)
PAGES = ("reports/smoke", "reports/smoke/", "reports/smoke/index.html", "PROJECT/reports/smoke/index.html", "smoke")


def forms(name: str, project: Path) -> list[str]:
    given = [form.format(name) for form in FORMS]
    return [form.replace("PROJECT", str(project)).replace("SEED", name.rpartition("/")[2]) for form in given]


def call(*words: str) -> Result:
    return CliRunner().invoke(app, ["-q", *words])


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A project with a finished run that is published, and one that was only registered."""
    place, here = tmp_path_factory.mktemp("names") / "lab", Path.cwd()
    make_project(place)
    os.chdir(place)
    try:
        write_miniature(load_spec("smoke"), place, "data/models/tiny")
        done = call("run", "smoke", "--no-page", "--json")
        assert done.exit_code == 0, done.output
        assert json.loads(done.stdout)["run"] == "smoke/seed0"
        run = open_finished(place / "runs" / "smoke" / "seed0")
        results, folder = load_results(run), place / "reports" / "smoke"
        write_document(results_document(results), folder / "results.md")
        pack([run.folder], folder / ARCHIVE)
        publish(expected_notebook(run, results), run_card(run, results), folder, run_tables(run, results))
        begun = open_run("smoke", 1, {})
        register(begun.spec, begun.inputs, begun.path("registration.json"), {})
        yield place
    finally:
        os.chdir(here)


def test_a_finished_run_is_found_in_every_form(project: Path) -> None:
    every = [*forms("smoke/seed0", project), *(form.replace("PROJECT", str(project)) for form in PAGES)]
    for form in every:
        assert json.loads(call("verify", form, "--json").stdout)[0]["status"] in (0, 2), form
        told = json.loads(call("compare", form, "--json").stdout)
        assert told["answers"][0]["suite"] == "phase33_27", form
        names = {run["name"] for run in json.loads(call("status", form, "--json").stdout)}
        assert names == ({"smoke/seed0", "smoke/seed1"} if form == "smoke" else {"smoke/seed0"}), form
        written = json.loads(call("results", form, "--json").stdout)["written"]
        assert written == [str(project / "reports" / "smoke" / "results.md")], form
        (page,) = json.loads(call("report", form, "--json").stdout)["pages"]
        assert Path(page).resolve() == project / "reports" / "smoke" / "index.html", form


def test_a_phase_means_all_its_runs_in_every_form(project: Path) -> None:
    for form in ("smoke", "smoke/", "runs/smoke", "runs/smoke/", f"{project}/runs/smoke"):
        assert len(json.loads(call("status", form, "--json").stdout)) == 2, form


@pytest.mark.parametrize(
    "words",
    ["eval {}", "ask What? --model {}", "serve {}", "parity {}", "export {} --to gguf", "ladder {}", "fuse {} out"],
)
def test_an_unfinished_run_is_the_same_run_in_every_form(words: str, project: Path) -> None:
    wanted = (
        "smoke/seed1 has no adapter yet" if words.split()[0] in ("ladder", "fuse") else "smoke/seed1 has no artifact"
    )
    for form in forms("smoke/seed1", project):
        done = call(*(form if word == "{}" else word for word in words.split()))
        assert isinstance(done.exception, PunieError) and wanted in str(done.exception), (form, done.exception)


def test_an_evaluation_is_found_in_every_form(project: Path) -> None:
    asked = call("eval", "smoke", "--suite", "phase33_27", "--max-tokens", "4", "--base", "data/models/tiny", "--json")
    kept = Path(json.loads(asked.stdout)["kept"])
    short = f"{kept.parent.name}/{kept.name}"
    for form in (
        short,
        f"evals/{short}",
        f"runs/evals/{short}/",
        str(kept),
        kept.parent.name,
        f"{kept}/outcomes.jsonl",
    ):
        (page,) = json.loads(call("report", form, "--json").stdout)["pages"]
        assert json.loads(call("verify", form, "--json").stdout)[0]["status"] == 0, form
    for form in (Path(page).parent, page):
        assert json.loads(call("verify", str(form), "--json").stdout)[0]["status"] == 0
        assert json.loads(call("report", str(form), "--json").stdout)["pages"] == [page]
    text = Path(page).read_text()
    assert "smoke/seed0 on phase33_27" in text and "it has no verdict" in text and "data/models/tiny" in text
    assert str(project) not in text
    assert "smoke/seed0 on phase33_27" in (project / "reports" / "index.html").read_text()


def test_a_ladder_speaks_json(project: Path) -> None:
    done = call("ladder", "smoke", "--bits", "8", "--json")
    assert len(json.loads(done.stdout)) == 1 and done.exit_code == 0


def test_a_rehearsal_speaks_json(project: Path) -> None:
    done = call("rehearse", "smoke", "--json")
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)["passed"] is True
