"""Every command: JSON for programs, `-q` and `-h` everywhere, and tables that keep their figures."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from punie.cli.main import app
from punie.output import is_figure
from punie.phases.example import write_example
from punie.phases.miniature import inside, write_miniature
from punie.phases.spec import load_spec
from punie.settings import PunieError

BARE = {("serve",): "it answers over HTTP until it is stopped"}  # commands without --json, each with its reason


def commands(group: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Walk the commands, and the groups that do something by themselves."""
    found = getattr(group, "commands", None)
    if found is None or group.invoke_without_command:
        yield path, group
    for name, command in (found or {}).items():
        yield from commands(command, (*path, name))


COMMANDS = dict(commands(typer.main.get_command(app)))
COMMANDS.pop((), None)  # `punie` alone shows its help


@pytest.mark.parametrize("path", COMMANDS, ids=" ".join)
def test_every_command_has_the_common_options(path: tuple[str, ...]) -> None:
    options = {name for each in COMMANDS[path].params for name in each.opts}
    assert ("--json" in options) != (path in BARE), f"{' '.join(path)} has no --json; add it, or say why not"
    assert path in (("phases",), ("faults",)) or {"-q", "--quiet"} <= options
    shown = CliRunner().invoke(app, [*path, "-h"])
    assert shown.exit_code == 0 and "Usage" in shown.stdout


QUICK = [  # commands that only read what the repository has, and take a moment
    "status",
    "doctor",
    "phases",
    "phases show tiny",
    "phases diff phase33b phase40_8b",
    "data list",
    "data show phase26 --rows 1",
    "suites list",
    "tools list",
    "tools show punie",
    "faults",
]


@pytest.mark.parametrize("words", QUICK)
def test_json_parses_and_is_all_there_is(words: str) -> None:
    done = CliRunner().invoke(app, ["-q", *words.split(), "--json"])
    assert done.exit_code == 0, done.output
    assert isinstance(json.loads(done.stdout), list | dict) and done.stderr == ""


def whole_figures(text: str) -> set[str]:
    words = re.sub(r"[│┃┏┡└├━┓┩┘┤─┴┼┬╇┳]", " ", text).split()
    return {word for word in words if is_figure(word)}


NO_FIGURES = ("phases show tiny", "tools show punie", "tools list", "doctor", "status")  # or none without a run


def require_whole_figures(words: str, monkeypatch: pytest.MonkeyPatch) -> None:
    shown = {}
    for columns in ("10000", "60"):
        monkeypatch.setenv("COLUMNS", columns)
        done = CliRunner().invoke(app, words.split())
        assert done.exit_code == 0, done.output
        shown[columns] = done.stdout
    assert "…" not in shown["60"]
    wanted = whole_figures(shown["10000"])
    assert wanted and wanted <= whole_figures(shown["60"])


@pytest.mark.parametrize("words", [each for each in QUICK if each not in NO_FIGURES])
def test_no_figure_is_cut_at_60_columns(words: str, monkeypatch: pytest.MonkeyPatch) -> None:
    require_whole_figures(words, monkeypatch)


def test_no_figure_of_a_run_is_cut_at_60_columns(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_miniature(load_spec("smoke"), tmp_path, "data/models/tiny")
    with inside(tmp_path):
        write_example("smoke")
        require_whole_figures("status", monkeypatch)


def test_a_row_is_one_line_in_a_pipe(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("COLUMNS", raising=False)
    lines = CliRunner().invoke(app, ["suites", "list"]).stdout.splitlines()
    (line,) = [line for line in lines if "routing_260" in line]
    assert "260" in line.split()


def test_a_shell_completes_names(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("_PUNIE_COMPLETE", "complete_bash")
    for typed, wanted in {"punie run ti": "tiny", "punie eval data/models/tiny --suite rout": "routing_260"}.items():
        monkeypatch.setenv("COMP_WORDS", typed)
        monkeypatch.setenv("COMP_CWORD", str(len(typed.split()) - 1))
        done = CliRunner().invoke(app, [], prog_name="punie")
        assert wanted in done.stdout.split(), done.output


def test_one_line_and_status_1_for_a_mistake() -> None:
    done = CliRunner().invoke(app, ["run", "tny", "--json"])
    assert (done.exit_code, done.stdout, type(done.exception)) == (1, "", PunieError)
