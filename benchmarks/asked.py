"""Ask a tuned model about this very repository and about generated ones, with real tools, and publish what came out.

    uv run punie run tiny
    uv run --extra tools python benchmarks/asked.py
    uv run --extra tools python benchmarks/asked.py --model runs/tiny/seed1

Prints for each of ten questions the calls that were made and whether they are the needed ones, how long the first token
took once the model was loaded, and the score on the forty questions of workspace_40. Writes reports/asked.md and .html
with the ten dialogues as they went, right or wrong. Calls that change files of this repository are refused.
"""

import time

import typer

from punie.agent.typed_tools import call_text
from punie.evals.answers import pair
from punie.evals.ask import Asked, ask
from punie.evals.expected import ExpectedCall
from punie.evals.runner import summarize
from punie.evals.streaming import StreamingEngine
from punie.evals.workspace_eval import evaluate_workspaces
from punie.evals.workspaces import load_workspaces
from punie.pages.results import markdown_table, write_document
from punie.phases.names import find_artifact
from punie.settings import load_settings
from punie.toolbox.toolbox import Toolbox
from punie.toolbox.workspace import Workspace
from punie.weights.artifacts import artifact_id

Calls = tuple[tuple[str, dict], ...]
QUESTIONS: tuple[tuple[str, Calls], ...] = (
    ("Which files changed?", (("git_status", {"path": "."}),)),
    ("How many violations does ruff find in punie/files.py?", (("ruff_check", {"path": "punie/files.py"}),)),
    ("Run the type checker on punie/settings.py.", (("typecheck", {"path": "punie/settings.py"}),)),
    ("Show me the last 3 commits of nbs.", (("git_log", {"path": "nbs", "count": 3}),)),
    ("Give me an outline of punie/blas.py.", (("document_symbols", {"file_path": "punie/blas.py"}),)),
    ("Search the workspace for the symbol GateFailed.", (("workspace_symbols", {"query": "GateFailed"}),)),
    ("Read settings.ini for me.", (("read_file", {"path": "settings.ini"}),)),
    (
        "List the FunctionDef nodes in punie/check_results.py.",
        (("cst_find_pattern", {"file_path": "punie/check_results.py", "pattern": "FunctionDef"}),),
    ),
    ("How many type errors are there in punie/nowhere.py?", (("typecheck", {"path": "punie/nowhere.py"}),)),
    (
        "Lint punie/evals, and then show the staged diff of punie.",
        (("ruff_check", {"path": "punie/evals"}), ("git_diff", {"path": "punie", "staged": True})),
    ),
)


def needed(calls: Calls, asked: Asked) -> str:
    """Say whether the needed calls were made, and no others."""
    made = [call for trace in asked.traces for call in trace.calls]
    missing, left = pair([ExpectedCall(tool=tool, accept=[arguments]) for tool, arguments in calls], made)
    return "missing" if missing else "made, and more" if left else "made"


def on_repositories(engine: StreamingEngine) -> str:
    """Ask the forty questions about generated repositories, and tabulate the shares of right answers."""
    suite = load_workspaces("workspace_40")
    summary = summarize(evaluate_workspaces(engine, suite))
    rows = [[name, share, share.interval] for name, share in [*summary.by_category.items(), ("all", summary.overall)]]
    print(f"{suite.name}: {summary.overall}, {summary.overall.interval}; {summary.cut} replies cut")
    return markdown_table(["category", "right", "95% interval"], rows)


def main(model: str = "tiny/seed0", max_tokens: int = 512) -> None:
    """Ask, print and publish."""
    root, folder = load_settings().root, find_artifact(model)
    engine, rows, parts, first = StreamingEngine(folder), [], [], []
    with Toolbox(Workspace(root)) as toolbox:
        for question, wanted in QUESTIONS:
            heard: list[float] = []
            started = time.perf_counter()
            asked = ask(
                engine,
                question,
                toolbox,
                permit=lambda name, given: False,
                tell=lambda event: heard.append(time.perf_counter()) if isinstance(event, str) else None,
            )
            first.append(heard[0] - started)
            calls = [call_text(call.tool, call.arguments or {}) for trace in asked.traces for call in trace.calls]
            rows.append([question, ", ".join(calls), needed(wanted, asked), asked.end])
            parts += [f"## {question}", asked._repr_markdown_()]
            print(
                f"{first[-1]:.3f} s to the first token; {rows[-1][2]:>13}; {question} -> {', '.join(calls)}", flush=True
            )
    head = [
        "# Asked for real",
        f"Ten questions about this repository, asked of the artifact `{artifact_id(folder)[:12]}` with real tools, as "
        "`benchmarks/asked.py` did it. Every dialogue stands here as it went, right or wrong. What a tool printed is "
        "true; what the model says about it need not be.",
        markdown_table(["question", "calls", "the needed calls", "end"], rows),
        f"The first token came after {max(first):.2f} s at most, once the model was loaded.",
        "The forty questions of `workspace_40` about generated repositories, judged by what was changed and reported:",
        on_repositories(engine),
    ]
    print(write_document("\n\n".join([*head, *parts]) + "\n", load_settings().reports / "asked.md"))


if __name__ == "__main__":
    typer.run(main)
