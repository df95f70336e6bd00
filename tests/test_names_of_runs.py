"""A run has one name, and every command takes it in every form; what commands say as JSON parses."""

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from punie.cli.main import app
from punie.evals.controls import require_controls
from punie.evals.dialogue import gold_replies
from punie.evals.engines import Reply
from punie.evals.evaluations import asked_of, write_asked
from punie.evals.records import judge, write_records
from punie.evals.suites import load_suite
from punie.files import write_json
from punie.pages.card import run_card
from punie.pages.publish import publish, run_tables
from punie.pages.verify import expected_notebook
from punie.phases.evidence import ARCHIVE, pack
from punie.phases.example import write_example
from punie.phases.finished import load_results, open_finished
from punie.phases.manifest import read_manifest, write_manifest
from punie.phases.miniature import write_miniature
from punie.phases.projects import make_project
from punie.phases.registration import register
from punie.phases.run import open_run
from punie.phases.spec import load_spec
from punie.settings import PunieError

RUN = (  # forms of the name of a run; LAB is the folder of its project
    "smoke/seed0",
    "smoke/seed0/",
    "seed0",
    "runs/smoke/seed0",
    "./runs/smoke/seed0/",
    "LAB/runs/smoke/seed0",
    "LAB/runs/smoke/seed0/",
)
PAGE = (
    "reports/smoke",
    "reports/smoke/",
    "reports/smoke/index.html",
    "LAB/reports/smoke",
    "LAB/reports/smoke/index.html",
)
PHASE = ("smoke", "smoke/", "runs/smoke", "runs/smoke/", "LAB/runs/smoke")
EVALUATION = (
    "models-tiny/phase33_27",
    "models-tiny/phase33_27/",
    "models-tiny",
    "evals/models-tiny/phase33_27",
    "runs/evals/models-tiny/phase33_27/",
    "runs/evals/models-tiny/phase33_27/outcomes.jsonl",
    "LAB/runs/evals/models-tiny/phase33_27",
)

MODELS = ("eval", "ask What? --model", "serve", "parity", "export --to gguf", "ladder", "fuse")  # need a model


def named(forms: tuple[str, ...], lab: Path) -> list[str]:
    return [form.replace("LAB", str(lab)) for form in forms]


def call(*words: str) -> Result:
    return CliRunner().invoke(app, ["-q", *words])


def told(*words: str) -> Any:
    done = call(*words, "--json")
    assert done.exit_code in (0, 2), (words, done.output, done.exception)
    return json.loads(done.stdout)


def refused(*words: str) -> str:
    done = call(*words)
    assert isinstance(done.exception, PunieError), (words, done.output, done.exception)
    assert "\n" not in str(done.exception), words
    return str(done.exception)


def write_evaluation(folder: Path) -> None:
    """Write an evaluation with gold replies to the first prompts, and silence to the rest."""
    suite = load_suite("phase33_27")
    given = [gold_replies(each) if at < 2 else [""] for at, each in enumerate(suite.samples)]
    records = [judge(one, [Reply(text) for text in texts], suite, "a1b2") for one, texts in zip(suite.samples, given)]
    write_records(records, folder / "outcomes.jsonl")
    write_json(folder / "controls.json", [require_controls(suite).model_dump()])
    write_asked(folder, asked_of(suite, "models/tiny", records[0], "", "2026-01-01"), suite)


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A project with a finished run that is published, one that was only registered, and an evaluation."""
    place, here = tmp_path_factory.mktemp("names") / "lab", Path.cwd()
    own = {name: os.environ.pop(name) for name in ("PUNIE_DATA", "PUNIE_RUNS", "PUNIE_REPORTS") if name in os.environ}
    make_project(place)
    os.chdir(place)
    try:
        write_miniature(load_spec("smoke"), place, "data/models/tiny")
        run = write_example("smoke", right=5)
        write_json(run.path("controls.json"), [require_controls(run.suite("phase33_27")).model_dump()])
        run = open_finished(run.folder)
        results, folder = load_results(run), place / "reports" / "smoke"
        pack([run.folder], folder / ARCHIVE)
        publish(expected_notebook(run, results), run_card(run, results), folder, run_tables(run, results))
        begun = open_run("smoke", 1)
        register(begun.spec, begun.inputs, begun.path("registration.json"))
        write_evaluation(place / "runs" / "evals" / "models-tiny" / "phase33_27")
        yield place
    finally:
        os.chdir(here)
        os.environ.update(own)


def test_a_finished_run_is_found_in_every_form(lab: Path) -> None:
    page = lab / "reports" / "smoke" / "index.html"
    for name in named(("smoke", *RUN, *PAGE), lab):
        if name not in named(PAGE, lab):  # of a page, these two ask for controls, and the example's archive has none
            (verified,) = told("verify", name, "--no-history")
            assert verified["status"] in (0, 2), verified
            assert [Path(each).resolve() for each in told("report", name)["pages"]] == [page]
        assert [run["name"] for run in told("status", name)] == ["smoke/seed0", "smoke/seed1"][: 1 + (name == "smoke")]
        assert told("export", name) == {"parquet": str(lab / "runs/smoke/seed0/exports/parquet/outcomes.parquet")}
        assert told("results", name) == {"written": [str(page.with_name("results.md"))]}
        # `compare` takes a phase as all its seeds, of which one is not finished; all else is the same run
        lacks = "smoke/seed1 is not finished" if name == "smoke" else "name another run"
        assert lacks in refused("compare", "runs/smoke/seed0", name), name


def test_a_phase_means_all_its_runs_in_every_form(lab: Path) -> None:
    for name in named(PHASE, lab):
        assert len(told("status", name)) == 2, name


@pytest.fixture
def stopped(lab: Path) -> Iterator[None]:
    """The finished run is repeated from its training on, and was stopped."""
    folder = lab / "runs" / "smoke" / "seed0"
    whole = read_manifest(folder)
    write_manifest(folder, {name: whole[name] for name in ("preflight", "check", "register")})
    yield
    write_manifest(folder, whole)


@pytest.mark.usefixtures("stopped")
def test_a_command_for_models_finds_the_run_in_every_form(lab: Path) -> None:
    for words in MODELS:
        lacks = "adapter" if words in ("parity", "ladder", "fuse") else "artifact"
        for name in named(("smoke", *RUN, *PAGE), lab):
            said = refused(*words.split(), name, *["out"] * (words == "fuse"))
            assert said.startswith(f"smoke/seed0 has no {lacks} yet"), (words, name, said)


def test_outcomes_that_no_run_made_are_neither_compared_nor_exported(lab: Path) -> None:
    outcomes = lab / "runs" / "smoke" / "seed0" / "outcomes.jsonl"
    whole = outcomes.read_text()
    outcomes.write_text("".join(whole.splitlines(keepends=True)[:-1]))
    for words in ("compare smoke/seed0", "export smoke/seed0", f"export {outcomes}"):
        said = refused(*words.split())
        assert "is not the file that the stage evaluate made" in said, (words, said)
        assert "`punie run smoke --seed 0 --from evaluate`" in said, (words, said)
    outcomes.write_text(whole)


def test_a_run_without_its_manifest_is_listed_as_begun(lab: Path) -> None:
    told("export", "smoke/seed0")  # it is checked in full
    manifest = lab / "runs" / "smoke" / "seed0" / "manifest.json"
    whole = manifest.read_text()
    manifest.unlink()
    assert told("status", "smoke/seed0")[0]["state"] == "begun"
    manifest.write_text(whole)


def test_an_evaluation_is_found_in_every_form(lab: Path) -> None:
    kept = lab / "runs" / "evals" / "models-tiny" / "phase33_27"
    for name in named(EVALUATION, lab):
        assert told("verify", name)[0]["status"] == 0, name
        assert Path(told("export", name)["parquet"]).resolve().is_relative_to(kept), name
        assert "name another run" in refused("compare", "runs/evals/models-tiny/phase33_27", name)


def test_the_page_of_an_evaluation_is_found_in_every_form(lab: Path) -> None:
    (page,) = told("report", "models-tiny/phase33_27")["pages"]
    short, kept = Path(page).parent.name, lab / "runs" / "evals" / "models-tiny" / "phase33_27"
    names = [short, f"reports/{short}", f"reports/{short}/", f"reports/{short}/index.html", page]
    assert [(each["target"], each["status"]) for each in told("verify", *names)] == [(name, 0) for name in names]
    for name in names:
        assert [Path(each).resolve() for each in told("report", name)["pages"]] == [Path(page)], name
        assert Path(told("export", name)["parquet"]).resolve().is_relative_to(kept), name
    assert "models/tiny on phase33_27" in (lab / "reports" / "index.html").read_text()
    assert str(lab) not in Path(page).read_text()


def test_a_command_for_runs_says_that_an_evaluation_is_none(lab: Path) -> None:
    for words in (*MODELS, "results", "status"):
        for name in named(EVALUATION, lab):
            said = refused(*words.split(), name, *["out"] * (words == "fuse"))
            assert "is an evaluation; name a run" in said, (words, name, said)


def test_a_run_says_its_verdict_as_json(lab: Path) -> None:
    done = told("run", "smoke", "--no-page")  # every stage is done
    assert (done["run"], done["verdict"], done["page"]) == ("smoke/seed0", "FAIL", None)
    assert set(done["shares"]) == {"phase33_27"}
    until = told("run", "smoke", "--until", "check")
    assert until == {"run": "smoke/seed0", "until": "check", "committed": None}
