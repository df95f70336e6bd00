"""Lists of tools that nobody here wrote become rows: whatever their schemas hold, results have their shape."""

import json
from pathlib import Path

import pytest
from pydantic import TypeAdapter

from punie.agent.tool_files import load_registry
from punie.synthesis.checked_wordings import load_own_wordings
from punie.synthesis.own_sets import make_own
from punie.synthesis.starter import starter

TEXT, COUNT = {"type": "string"}, {"type": "integer"}
OPEN = {"type": "object", "additionalProperties": True}
RESULTS = {
    "records of any keys": {"type": "object", "properties": {"rows": {"type": "array", "items": OPEN}}},
    "a map of numbers": {"type": "object", "properties": {"by_day": {"type": "object", "additionalProperties": COUNT}}},
    "a bounded choice": {"type": "object", "properties": {"load": {"type": "number", "minimum": 0.5, "maximum": 0.75}}},
    "a bare list": {"type": "array", "items": {"type": "string", "format": "date"}},
}


@pytest.mark.parametrize("result", RESULTS.values(), ids=RESULTS)
def test_rows_hold_results_of_the_stated_shape(tmp_path: Path, result: dict) -> None:
    tool = {"name": "run-query", "description": "Run a query.", "outputSchema": result}
    tool["parameters"] = {"type": "object", "properties": {"sql": TEXT}, "required": ["sql"]}
    (tmp_path / "ops.json").write_text(json.dumps([tool]))
    registry = load_registry(str(tmp_path / "ops.json"))
    (tmp_path / "ops.toml").write_text(starter(registry, "ops.json", "ops"))
    rows = make_own(load_own_wordings(tmp_path / "ops.toml")).splits["train"]
    answers = [turn.content for row in rows for turn in row.turns if turn.role == "tool"]
    checks = TypeAdapter(registry["run_query"].returns)
    assert answers and all(checks.validate_json(answer) is not None for answer in answers)
