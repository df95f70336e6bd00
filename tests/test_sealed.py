"""The sealed suite as an evaluation meets it: it loads, its right answers are right, and wrong ones are not."""

from collections import Counter
from pathlib import Path

import pytest

from punie.evals.controls import CONTROLS, require_controls
from punie.evals.dialogue import gold_replies
from punie.evals.records import template_of
from punie.evals.scoring import score_many
from punie.evals.suites import Suite, load_suite
from punie.files import write_jsonl
from punie.jsonl import read_jsonl
from punie.settings import GateFailed
from punie.synthesis.sealed import write_sealed
from punie.synthesis.sealed_wordings import load_sealed

SEEDS = ("one registration", "another registration")


@pytest.fixture(scope="module", params=SEEDS)
def suite(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Suite:
    folder: Path = tmp_path_factory.mktemp("sealed")
    return load_suite(str(write_sealed(request.param, folder / "sealed_200.jsonl")))


def test_a_draw_is_a_suite_of_its_composition(suite: Suite) -> None:
    composition = load_sealed().composition
    assert suite.name == "sealed_200" and suite.categories == tuple(composition)
    assert Counter(sample.category for sample in suite.samples) == composition
    tools = Counter(sample.expected[0].tool for sample in suite.samples if len(sample.expected) == 1)
    assert len(tools) == 26 and set(tools.values()) == {5}


def test_no_two_prompts_of_a_draw_share_a_wording(suite: Suite) -> None:
    assert len({template_of(sample) for sample in suite.samples}) == len(suite.samples)


@pytest.mark.parametrize("seed", range(8))
def test_gold_is_right_in_every_world(seed: int, tmp_path: Path) -> None:
    suite = load_suite(str(write_sealed(f"registration {seed}", tmp_path / "sealed_200.jsonl")))
    scores = score_many((sample, gold_replies(sample)) for sample in suite.samples)
    assert {sample.id: score for sample, score in zip(suite.samples, scores) if score.outcome != "correct"} == {}


def test_every_control_holds_and_no_reply_is_right_everywhere(suite: Suite) -> None:
    report = require_controls(suite)
    assert len(report.rows) == len(CONTROLS["code"])  # each of them applies to some prompt
    assert report.floor is not None and report.floor.share < 0.1


def test_a_draw_with_a_wrong_gold_is_refused(tmp_path: Path) -> None:
    path = write_sealed(SEEDS[0], tmp_path / "sealed_200.jsonl")
    (_, header), *rows = read_jsonl(path)
    changed = [row for _, row in rows]
    asked = next(row for row in changed if row["id"].startswith("typecheck-count"))
    asked["gold"] = [asked["gold"][0].replace("error_count", "warning_count")]
    write_jsonl(path, [header, *changed])
    with pytest.raises(GateFailed, match="gold: typecheck-count"):
        require_controls(load_suite(str(path)))
