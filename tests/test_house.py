"""The order of the house: notebooks are numbered without gaps, and every import points to an earlier one."""

import ast
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

import nbformat
import pytest

from punie.pages.site import contents, reading_order
from punie.settings import find_root

ROOT = find_root()
NOTEBOOKS = ROOT / "nbs"
Entry = tuple[str, str | None, list[str]]  # a notebook, its module, and the code of its cells
# no module is imported from them
FREE = ("index", "tour", "bring", "glossary", "contents", "phase", "compare", "ask", "faults")


def code_cells(notebook: Path) -> list[str]:
    cells = nbformat.read(notebook, as_version=4).cells
    return [cell.source for cell in cells if cell.cell_type == "code"]


def module_of(notebook: Path) -> str | None:
    """The module that a notebook exports, such as `punie.evals.suites`; None where it exports none."""
    found = [re.search(r"^#\| default_exp (\S+)", cell, re.MULTILINE) for cell in code_cells(notebook)]
    return next((f"punie.{each[1]}" for each in found if each), None)


def imported_modules(source: str) -> Iterator[str]:
    """Every module that a cell imports from the package, wherever in the cell the import stands."""
    lines = [line for line in source.splitlines() if not line.startswith(("%", "!"))]
    for node in ast.walk(ast.parse("\n".join(lines))):
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{name.name}" for name in node.names)


def later_imports(order: Sequence[Entry]) -> list[str]:
    """Name the notebooks that import from a later one."""
    place = {module: number for number, (_, module, _) in enumerate(order) if module}
    wrong = []
    for number, (name, _, cells) in enumerate(order):
        imported = {module for cell in cells for module in imported_modules(cell)}
        wrong += [f"{name} imports {module}" for module in sorted(imported) if place.get(module, number) > number]
    return wrong


def test_notebooks_are_numbered_without_gaps() -> None:
    folders: dict[Path, list[str]] = {}
    for notebook in reading_order():
        if notebook.stem not in FREE:
            folders.setdefault(notebook.parent, []).append(notebook.stem)
    assert len(folders) == 12  # the eleven wings, and what lies below them
    for folder, stems in folders.items():
        numbers = [re.fullmatch(r"(\d\d)_[a-z_]+", stem) for stem in stems]
        assert all(numbers), (folder, stems)
        assert [int(number[1]) for number in numbers if number] == list(range(len(stems))), (folder, stems)


def test_a_module_is_named_as_its_notebook() -> None:
    for notebook in reading_order():
        module = module_of(notebook)
        if module:
            folder = notebook.parent.relative_to(NOTEBOOKS).parts
            assert module == ".".join(("punie", *folder, notebook.stem[3:])), notebook


def test_imports_point_to_earlier_notebooks() -> None:
    order = [(str(path.relative_to(NOTEBOOKS)), module_of(path), code_cells(path)) for path in reading_order()]
    numbered = [each for each in order if Path(each[0]).stem not in FREE]
    assert not later_imports(numbered)


@pytest.mark.parametrize(
    "cell",
    [
        "from punie.evals.suites import load_suite",
        "import punie.evals.suites",
        "from punie.evals import suites",
        "def late():\n    from punie.evals.suites import Suite",
    ],
)
def test_an_import_from_a_later_notebook_is_found(cell: str) -> None:
    order: list[Entry] = [("a", "punie.training.dataset", [cell]), ("b", "punie.evals.suites", [])]
    assert later_imports(order)
    assert not later_imports(order[::-1])


def broken_links(text: str, folder: Path) -> list[str]:
    """Name the notebooks that a text links to or names by its number, and that do not stand there."""
    known = {path.stem for path in NOTEBOOKS.glob("**/*.ipynb")}
    linked = [link for link in re.findall(r"\]\(([^):#\s]+\.ipynb)[^)]*\)", text) if not (folder / link).exists()]
    return linked + [name for name in re.findall(r"`(\d\d_[a-z_]+)`", text) if name not in known]


def test_links_lead_to_notebooks() -> None:
    texts = [(ROOT / name, (ROOT / name).read_text()) for name in ("CONTRIBUTING.md",)]
    for path in NOTEBOOKS.glob("**/*.ipynb"):
        cells = nbformat.read(path, as_version=4).cells
        texts.append((path, "\n".join(cell.source for cell in cells if cell.cell_type == "markdown")))
    assert not {path.name: broken for path, text in texts if (broken := broken_links(text, path.parent))}


def test_a_broken_link_is_found() -> None:
    text = "[One](00_none.ipynb), `01_none` and [this](index.ipynb)"
    assert broken_links(text, NOTEBOOKS) == ["00_none.ipynb", "01_none"]


def test_contents_list_every_notebook() -> None:
    every = {path.relative_to(NOTEBOOKS).as_posix() for path in NOTEBOOKS.glob("**/*.ipynb")}
    shown = {name for name in every if not any(part.startswith(".") for part in Path(name).parts)}
    assert set(re.findall(r"\]\(([^)]+\.ipynb)\)", str(contents().data))) == shown - {"contents.ipynb"}


OWN_TOOLS = {  # modules that are about punie's 26 tools, and no others
    "punie.agent.dialects": "the dialect of rows and questions that say nothing else",
    "punie.agent.schema_results": "their results are made by rules of their own",
    "punie.agent.tool_files": "a phase names them `punie`",
    "punie.cli.tools": "lists and tries them",
    "punie.evals.workspace_eval": "asks questions about real folders, which only they can read",
    "punie.evals.workspaces": "asks questions about real folders, which only they can read",
    "punie.training.question_checks": "reads wordings of theirs",
}


def own_tools_imports(source: str) -> bool:
    """Say whether a module imports punie's tools, doctests aside."""
    return any(name == "punie.agent.typed_tools.TOOLS" for name in imported_modules(source))


def test_own_tools_are_one_registry_among_others() -> None:
    importing = {
        module
        for path in reading_order()
        if (module := module_of(path))
        and any(own_tools_imports(cell) for cell in code_cells(path) if cell.startswith("#| export"))
    }
    made_for_them = {each for each in importing if each.split(".")[1] in ("synthesis", "toolbox")}
    assert importing - made_for_them == OWN_TOOLS.keys()
    assert own_tools_imports("from punie.agent.typed_tools import TOOLS, WRITES")
    assert not own_tools_imports("from punie.agent.typed_tools import call_text")


# a warning with the path of a module on somebody's machine, or a progress bar with its times
PASSING = re.compile(r"(?<!\w)/\S+\.py:\d+: \w*Warning|\d(?:it/s|s/it)\]")


def test_outputs_hold_no_paths_of_a_machine_and_no_progress() -> None:
    assert PASSING.search("/home/somebody/punie/blas.py:115: UserWarning: MLX was imported")
    assert PASSING.search("Fetching 6 files: 100%|##########| 6/6 [00:00<00:00, 76.03it/s]")
    cells = [(path, cell) for path in NOTEBOOKS.rglob("*.ipynb") for cell in nbformat.read(path, as_version=4).cells]
    shown = [(path.name, str(cell.get("outputs", ""))) for path, cell in cells]
    assert any(text for _, text in shown)
    assert [name for name, text in shown if PASSING.search(text)] == []
