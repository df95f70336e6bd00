"""The example of a house: its suite asks in other words, and for other things, than its rows."""

import re
from collections.abc import Iterable

import pytest

from punie.agent.tool_files import load_registry
from punie.jsonl import read_jsonl
from punie.settings import find_root
from punie.synthesis.checked_wordings import load_own_wordings
from punie.training.conversation import Conversation, read_conversations

HOME = find_root() / "data" / "examples" / "home"
OPEN = {"scene", "music", "city", "name", "amount", "brightness", "degrees", "until", "delay_minutes"}  # no choices
SHARED = {0, 100}  # percent that wordings imply: off, and on


def samples() -> list[dict]:
    return [row for _, row in read_jsonl(HOME / "home_80.jsonl") if "id" in row]


def rows() -> list[Conversation]:
    return [row for split in ("train", "valid") for row in read_conversations(HOME / "rows" / f"{split}.jsonl")]


def open_values(arguments: dict) -> Iterable[tuple[str, object]]:
    for name, value in arguments.items():
        if isinstance(value, dict):
            yield from open_values(value)
        elif name.replace("-", "_") in OPEN:
            yield name.replace("-", "_"), value


def values_of_suite() -> set[tuple[str, object]]:
    calls = [call for sample in samples() for call in sample["expected"]]
    return {each for call in calls for each in open_values(call["accept"][0]) if each[1] not in SHARED}


def said_values() -> list[str]:
    """Everything that fills a slot of a row or of the suite, the longest first."""
    house = load_own_wordings(HOME / "wordings.toml")
    texts = {text for own in house.tools.values() for values in own.values.values() for text, _ in values}
    texts |= {text for values in house.lists.values() for text, _ in values}
    return sorted(texts | {str(value) for _, value in values_of_suite()}, key=len, reverse=True)


def worded(question: str, values: list[str]) -> str:
    """A question without its values, its case and its marks."""
    masked = re.sub(rf"\b({'|'.join(map(re.escape, values))})\b", "_", question, flags=re.IGNORECASE)
    return " ".join(re.findall(r"[a-z_']+", masked.lower()))


def repeated(questions: Iterable[str], known: Iterable[Conversation]) -> set[str]:
    """The questions whose wording a row has, whatever their values are."""
    values = said_values()
    asked = {worded(turn.content, values) for row in known for turn in row.turns if turn.role == "user"}
    return {question for question in questions if worded(question, values) in asked}


def test_the_suite_has_80_right_samples() -> None:
    home, names = load_registry(str(HOME / "tools.json")), set()
    for sample in samples():
        names.add(sample["id"])
        for call in sample["expected"]:
            assert home[call["tool"]].bind(**call["accept"][0])
    _, header = read_jsonl(HOME / "home_80.jsonl")[0]
    assert len(names) == len(samples()) == 80
    assert set(header["categories"]) == {sample["category"] for sample in samples()}


def test_every_tool_is_asked_for() -> None:
    called = {call["tool"] for sample in samples() for call in sample["expected"]}
    assert called == set(load_registry(str(HOME / "tools.json")))


def test_no_row_has_a_wording_of_the_suite() -> None:
    assert not repeated([sample["messages"][-1]["content"] for sample in samples()], rows())


@pytest.mark.parametrize("others", [("hall", "porch"), ("jazz", "techno"), ("Oslo", "Lima")])
def test_a_wording_with_another_value_is_found(others: tuple[str, str]) -> None:
    known = rows()
    question = next(row.question for row in known if others[0] in row.question)
    question = f"{question.replace(*others).capitalize()}!"
    assert repeated([question], known) == {question}


def test_no_row_has_an_open_value_of_the_suite() -> None:
    stated = {each for row in rows() for call in row.calls for each in open_values(call.arguments)}
    assert not stated & values_of_suite()
    assert ("scene", "breakfast") in stated
