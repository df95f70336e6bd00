"""Nothing from data is markup: every kind of page is made with hostile text in every field, and opened in a browser."""

import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from punie.check_results import CheckResult
from punie.evals.comparison import compare
from punie.evals.controls import require_controls
from punie.evals.evaluations import Asked, Evaluation
from punie.evals.measured import measure
from punie.files import write_json
from punie.pages import tables
from punie.pages.browser import browser_tab, find_browser, look_at
from punie.pages.card import Card, run_card
from punie.pages.data_page import tools_figure
from punie.pages.evaluation_page import evaluation_card, evaluation_html, evaluation_tables
from punie.pages.index_page import render_index
from punie.pages.page import render_page
from punie.pages.publish import publish, run_tables
from punie.pages.results import csv_text, outcomes_table, results_document, write_document, write_tables
from punie.pages.sweep_page import sweep_html
from punie.pages.verify import expected_notebook
from punie.phases.example import write_example
from punie.phases.finished import Results, load_results
from punie.phases.miniature import inside, write_miniature
from punie.phases.run import Run
from punie.phases.spec import load_spec

HOSTILE = (
    "</title></p></td></details><script>window.hacked = 1</script><b class=hostile>b</b>"
    '<img class=hostile src="https://example.org/a.png" onerror="window.hacked = 1">'
    "[x](javascript:window.hacked=1) ![y](https://example.org/b.png) <javascript:window.hacked=1> {{ 7 * 7 }} "
    "| ``` \" ' # *e* _f_ $g$ <!-- \n# h"
)
_LEFT = """[...document.querySelectorAll('.hostile, em.x, iframe, object, embed, form, script:not(:last-child)')]
  .map(each => each.outerHTML.slice(0, 80))
  .concat([...document.links].map(each => each.getAttribute('href')))
  .filter(each => !/^[^:]*$|^https?:/.test(each) || each.startsWith('<'))
  .concat(window.hacked ? ['a script ran'] : [])"""


def poisoned(run: Run, results: Results) -> tuple[Run, Results]:
    """Put hostile text into every field of a run that a person, a file or a model writes."""
    texts = dict.fromkeys(("category", "template", "question", "reason", "detail"), HOSTILE)
    spec = run.spec.model_copy(
        update={
            "title": HOSTILE,
            "hypothesis": HOSTILE,
            "base": run.spec.base.model_copy(update={"model": HOSTILE}),
            "data": run.spec.data.model_copy(update={"name": HOSTILE}),
            "baseline": {suite: {HOSTILE: 0.5} for suite in run.spec.evaluation.suites},
        }
    )

    def record(each: Any) -> Any:
        return each.model_copy(update={**texts, "sample": HOSTILE + each.sample, "replies": (HOSTILE,)})

    def suite(each: Any) -> Any:
        samples = tuple(one.model_copy(update={"id": HOSTILE + one.id}) for one in each.samples)
        return each.model_copy(update={"samples": samples})

    judged, made = results.judged, results.registration
    registration = made.model_copy(update={"spec": spec, "commit": HOSTILE, "machine": HOSTILE, "registered": HOSTILE})
    criteria = [each.model_copy(update={"category": HOSTILE}) for each in judged.verdict.criteria]
    verdict = judged.verdict.model_copy(update={"sentence": HOSTILE, "criteria": criteria})
    judged = replace(
        judged,
        registration=registration,
        verdict=verdict,
        base=[*map(record, judged.base)],
        tuned=[*map(record, judged.tuned)],
        suites={name: suite(each) for name, each in judged.suites.items()},
        changed=[HOSTILE],
    )
    ledger = {**results.ledger, "tools": {f"{HOSTILE}{name}": tool for name, tool in results.ledger["tools"].items()}}
    gates = [CheckResult(HOSTILE, passed, HOSTILE, (HOSTILE,)) for passed in (True, None)]
    return replace(run, spec=spec), replace(results, judged=judged, gates=gates, ledger=ledger)


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Path]]:
    """Make every kind of page from one run with hostile text."""
    place = tmp_path_factory.mktemp("hostile")
    write_miniature(load_spec("smoke"), place, "data/models/tiny")
    with inside(place):
        run = write_example("smoke", right=5)
        write_json(run.path("controls.json"), [require_controls(run.suite("phase33_27")).model_dump()])
        run, results = poisoned(run, load_results(run))
        reports = place / "reports"
        write_document(results_document(results), reports / "smoke" / "results.md")
        card = run_card(run, results)
        publish(expected_notebook(run, results), card, reports / "smoke", run_tables(run, results))
        kinds = {
            "sweep": sweep_html([results, results]),
            "data": render_page(HOSTILE, tools_figure({HOSTILE: 2}, {}, 2, "final_turn", {HOSTILE: None}).data),
            "compared": comparison(results),
        }
        bad = Card(
            kind="sweep",
            name="javascript:window.hacked=1;'\"<b class=hostile>",
            title=HOSTILE,
            made=HOSTILE,
            source="",
            sentence=HOSTILE,
            base=HOSTILE,
        )
        asked = evaluation(results)
        write_tables(evaluation_tables(asked), reports / "asked")
        kinds["asked"] = evaluation_html(asked, reports / "asked")
        for name, text in kinds.items():
            (reports / name).mkdir(exist_ok=True)
            (reports / name / "index.html").write_text(text)
        cards = [card, bad, evaluation_card(asked, "asked", "")]
        (reports / "index.html").write_text(render_index(cards, [HOSTILE], [(HOSTILE, "sweep/index.html")]))
        yield sorted(reports.rglob("*.html"))


def evaluation(results: Results) -> Evaluation:
    """An evaluation at two temperatures, one with several tries, and its untrained base."""
    (suite,) = results.judged.suites.values()
    texts = dict.fromkeys(("model", "artifact", "suite", "sha256", "engine", "machine", "made"), HOSTILE)
    asked = Asked.model_validate(texts)
    asked = asked.model_copy(update={"agent": HOSTILE, "way": HOSTILE})
    controls = require_controls(suite)
    rows = [row.model_copy(update={"control": HOSTILE, "wrong": [HOSTILE]}) for row in controls.rows]
    reply = controls.floor and controls.floor.model_copy(update={"reply": HOSTILE})
    controls = controls.model_copy(update={"suite": HOSTILE, "rows": rows, "floor": reply})

    def poison(records: list[Any]) -> list[Any]:
        texts = {"artifact": HOSTILE, "engine": HOSTILE, "suite": HOSTILE, "stop": (HOSTILE,)}
        return [each.model_copy(update=texts) for each in records]

    tuned = poison(results.tuned)
    tries = [each.model_copy(update={"temperature": 0.7, "epoch": epoch}) for each in tuned for epoch in range(2)]
    base = Evaluation(asked, poison(results.base), [controls], suite, [HOSTILE])
    return Evaluation(asked, [*tuned, *tries], [controls], suite, [HOSTILE], base)


def comparison(results: Results) -> str:
    """The parts of a page that compares runs."""
    found = {HOSTILE: results, "other": results}
    better = [each.model_copy(update={"outcome": "correct", "artifact": "b"}) for each in results.tuned]
    compared = compare([measure(HOSTILE, results.tuned), measure(f"{HOSTILE}2", better)])
    parts = [
        tables.runs_table(found),
        tables.inside_table(found),
        tables.disagreements({HOSTILE: results.tuned, "other": better}),
        tables.comparison_table(compared),
    ]
    return render_page(HOSTILE, "".join(part.data for part in parts))


def test_no_page_holds_markup_from_data(pages: list[Path]) -> None:
    assert len(pages) == 7
    for page in pages:
        text = page.read_text()
        assert "hacked" in text, page  # the text is there
        assert "<b class=hostile>" not in text and "<img class" not in text, page
        assert not re.search(r"""<(?:a|img)[^>]*(?:href|src)=["']?\s*javascript:""", text), page
        assert "49 |" not in text, page  # no template was filled in
        assert f"{text.count('<script')} scripts" == f"{int(page.parent.name == 'reports')} scripts"
        assert "default-src 'none'" in text, page


@pytest.mark.skipif(find_browser() is None, reason="no browser on this machine")
def test_no_page_runs_or_fetches_anything_of_its_data(pages: list[Path]) -> None:
    with browser_tab() as tab:
        for page in pages:
            wrong = [each for each in look_at(tab, page) if "%3Cb" not in each and "javascript%3A" not in each]
            assert wrong == [], page
            assert tab.evaluate(_LEFT) == [], page


def test_a_page_that_trusts_its_data_is_found(tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    page.write_text(render_page("a page", f"<p>{HOSTILE}</p>"))
    assert "<b class=hostile>" in page.read_text()
    if find_browser():
        with browser_tab() as tab:
            wrong = look_at(tab, page)
            assert any("Content Security Policy" in each for each in wrong)
            assert not tab.evaluate("window.hacked")  # the policy holds where escaping is forgotten
            assert tab.evaluate("document.querySelectorAll('.hostile').length") > 0


def test_formulas_are_text_in_csv() -> None:
    record = SimpleNamespace(
        suite="s",
        sample="=cmd|' /C calc'!A0",
        category="@a",
        template="+b",
        outcome="correct",
        reason="-",
        tokens=1,
        cut=False,
    )
    made = SimpleNamespace(phase="p", inputs=SimpleNamespace(seed=0), overrides={})
    results: Any = SimpleNamespace(registration=made, base=[], tuned=[record])
    line = csv_text(outcomes_table([results])).splitlines()[1]
    assert line.startswith("p/seed0,tuned,s,'=cmd|' /C calc'!A0,'@a,'+b,correct,'-,1,False")
