"""BFCL's own questions, where `PUNIE_REAL` names a folder with them: each possible answer is right, and no other."""

import itertools
import json
import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from punie.agent.prompt_utils import code_mode
from punie.evals.answers import json_call
from punie.evals.bfcl import read_bfcl
from punie.evals.samples import Sample
from punie.evals.scoring import score_calls, score_many, score_reply
from punie.evals.suite_import import write_suite
from punie.evals.suites import Suite

REAL = Path(os.environ.get("PUNIE_REAL", "-")) / "bfcl"
pytestmark = pytest.mark.skipif(not REAL.exists(), reason="PUNIE_REAL names no folder with bfcl")
JsonCall = tuple[str, dict[str, Any]]


@pytest.fixture(scope="module")
def suite(tmp_path_factory: pytest.TempPathFactory) -> Suite:
    return write_suite(read_bfcl(REAL), "bfcl", folder=tmp_path_factory.mktemp("suites"))


@pytest.fixture(scope="module")
def published() -> dict[str, list[tuple[str, dict[str, list[Any]]]]]:
    """The possible answers as they are published: of each call, its name and what its parameters accept."""
    files = sorted((REAL / "possible_answer").glob("*.json"))
    rows = [json.loads(line) for file in files for line in file.read_text().splitlines()]
    return {row["id"]: [next(iter(call.items())) for call in row["ground_truth"]] for row in rows}


def spelled_out(value: Any) -> list[Any]:
    """Every value that a published one stands for: inside objects, each key has a list of alternatives."""
    if isinstance(value, dict):
        made: list[dict[str, Any]] = [{}]
        for key, listed in value.items():
            ways = [way for each in listed for way in spelled_out(each)]
            made = [row if way == "" else {**row, key: way} for row in made for way in ways]
        return made
    if isinstance(value, list) and any(isinstance(each, dict) for each in value):
        return [list(each) for each in itertools.product(*map(spelled_out, value))]
    return [value]


def required(sample: Sample, name: str) -> list[str]:
    function = next(each for each in sample.functions if each["name"] == name)
    return function["parameters"].get("required", [])


def listed(sample: Sample, name: str, accepted: dict[str, list[Any]]) -> dict[str, list[Any]]:
    """What each parameter may be; an empty text says that it may be left out, unless it is required."""
    ways = {key: [way for each in stated for way in spelled_out(each)] for key, stated in accepted.items()}
    return {key: [way for way in each if way != "" or key not in required(sample, name)] for key, each in ways.items()}


def all_ways(sample: Sample, name: str, accepted: dict[str, list[Any]]) -> Iterator[dict[str, Any]]:
    ways = listed(sample, name, accepted)
    for chosen in itertools.product(*ways.values()):
        yield {key: value for key, value in zip(ways, chosen) if value != ""}


def one_by_one(sample: Sample, name: str, accepted: dict[str, list[Any]]) -> Iterator[dict[str, Any]]:
    """The first way, and then each other value with the first ones of the other parameters."""
    ways = listed(sample, name, accepted)
    first = {key: each[0] for key, each in ways.items()}
    for key, each in {"": [""], **ways}.items():
        for value in each[0 if not key else 1 :]:
            made = {**first, key: value}
            yield {key: value for key, value in made.items() if value != ""}


def first_calls(sample: Sample, calls: list[tuple[str, dict[str, list[Any]]]]) -> list[JsonCall]:
    return [(name, next(one_by_one(sample, name, accepted))) for name, accepted in calls]


def as_code(sample: Sample, calls: list[JsonCall]) -> str:
    """Write calls as a program, with the names that Python has for them."""
    lines = []
    for name, arguments in calls:
        tool = sample.tools.outside(name)
        names = {} if tool is None else {outside: own for own, outside in tool.json_names.items()}
        written = ", ".join(f"{names.get(key, key)}={value!r}" for key, value in arguments.items())
        lines.append(f"print({tool.name if tool else name}({written}))")
    return code_mode("\n".join(lines))


def outcome(sample: Sample, calls: list[JsonCall]) -> str:
    return score_calls(sample, [json_call(sample.tools, *call) for call in calls]).outcome


def test_every_question_is_taken(suite: Suite) -> None:
    assert not read_bfcl(REAL).left_out
    counts = {"irrelevance": 240, "multiple": 200, "parallel": 200, "simple_python": 400}
    assert Counter(sample.category for sample in suite.samples) == counts


def test_every_possible_answer_is_right_as_json(suite: Suite, published: dict) -> None:
    tried = 0
    for sample in suite.samples:
        calls = published.get(sample.id, [])
        for place, (name, accepted) in enumerate(calls):
            others = first_calls(sample, calls)
            for arguments in all_ways(sample, name, accepted):
                others[place] = name, arguments
                assert outcome(sample, others) == "correct", (sample.id, arguments)
                tried += 1
    assert tried > 3000


def test_every_possible_answer_is_right_as_code(suite: Suite, published: dict) -> None:
    asked = []
    for sample in suite.samples:
        calls = published.get(sample.id, [])
        for place, (name, accepted) in enumerate(calls):
            others = first_calls(sample, calls)
            for arguments in one_by_one(sample, name, accepted):
                others[place] = name, arguments
                asked.append((sample, [as_code(sample, others)]))
    wrong = [(asked[n][0].id, score) for n, score in enumerate(score_many(asked)) if score.outcome != "correct"]
    assert len(asked) > 2000 and not wrong


def another_value(value: Any) -> Any:
    if isinstance(value, bool):
        return not value
    if isinstance(value, (int, float)):
        return value + 1_000_003
    if isinstance(value, str):
        return f"{value} of Xylo"
    return [*value, *value, *value] if isinstance(value, list) and value else [987_654] if value == [] else {}


def wrong_calls(
    sample: Sample, name: str, arguments: dict[str, Any], accepted: dict[str, list[Any]]
) -> Iterator[tuple[str, JsonCall]]:
    yield "function", ("no_such_function", arguments)
    for other in sample.functions:
        if other["name"] != name:
            yield "function", (other["name"], arguments)
    yield "extra", (name, {**arguments, "no_such_parameter": 1})
    for parameter in required(sample, name):
        yield "missing", (name, {key: value for key, value in arguments.items() if key != parameter})
    for key, value in arguments.items():
        if (other := another_value(value)) not in listed(sample, name, accepted)[key]:
            yield "value", (name, {**arguments, key: other})
        yield "type", (name, {**arguments, key: "a text" if isinstance(value, dict) else {"an": {"object": None}}})


def test_every_other_call_is_wrong(suite: Suite, published: dict) -> None:
    kinds: Counter[str] = Counter()
    programs = []
    for sample in suite.samples:
        if not sample.expected:
            continue
        calls = first_calls(sample, published[sample.id])
        (name, arguments), *others = calls
        accepted = published[sample.id][0][1]
        seen: set[str] = set()
        for kind, wrong in wrong_calls(sample, name, arguments, accepted):
            assert outcome(sample, [wrong, *others]) == "wrong_call", (sample.id, kind, wrong)
            kinds[kind] += 1
            if kind not in seen:
                programs.append((sample, [as_code(sample, [wrong, *others])]))
                seen.add(kind)
        assert outcome(sample, others) == "wrong_call"
        assert outcome(sample, [*calls, calls[0]]) == "wrong_call"
    assert min(kinds[kind] for kind in ("function", "extra", "missing", "value", "type")) >= 800
    right = [programs[n][0].id for n, score in enumerate(score_many(programs)) if score.outcome == "correct"]
    assert len(programs) > 3000 and not right


def test_where_no_function_helps_any_prose_is_right_and_any_call_is_wrong(suite: Suite) -> None:
    for sample in suite.samples:
        if not sample.expected:
            name = sample.functions[0]["name"]
            assert outcome(sample, []) == "correct" and outcome(sample, [(name, {})]) == "wrong_call"
            assert score_reply(sample, "I have nothing for that.").outcome == "correct"
            assert score_reply(sample, as_code(sample, [(name, {})])).reason == "called_without_need"
            assert score_reply(sample, "").reason == "empty"
