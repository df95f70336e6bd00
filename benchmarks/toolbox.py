"""Measure how long calls of tools take on this very repository, the first time and once everything is warm.

    uv run python benchmarks/toolbox.py
    uv run python benchmarks/toolbox.py --workspace ~/project --times 9

A warm time is the median of the calls after the first. Prints one line a call and the slowest warm call, and the time
of `git_status` in a repository with 10,000 new files. The processor's time is that of the programs which a call started
and ended; on a busy machine it says more than the time on the clock. The language server is not in it.
"""

import resource
import statistics
import tempfile
import time
from pathlib import Path

import typer

from punie.agent.tool_results import ToolResult
from punie.agent.typed_tools import call_text
from punie.toolbox.toolbox import Toolbox
from punie.toolbox.workspace import Workspace

MOST = 2.0  # seconds that a warm call of ty, ruff or git may take
CALLS: tuple[tuple[str, dict[str, object]], ...] = (
    ("typecheck", {"path": "punie"}),
    ("typecheck", {"path": "punie/files.py"}),
    ("ruff_check", {"path": "punie"}),
    ("git_status", {"path": "."}),
    ("git_diff", {"path": "."}),
    ("git_log", {"path": "."}),
    ("document_symbols", {"file_path": "punie/files.py"}),
    ("goto_definition", {"file_path": "punie/files.py", "line": 1, "column": 1, "symbol": "PunieError"}),
    ("hover", {"file_path": "punie/files.py", "line": 1, "column": 1, "symbol": "read_lines"}),
    ("find_references", {"file_path": "punie/settings.py", "line": 1, "column": 1, "symbol": "PunieError"}),
    ("workspace_symbols", {"query": "read_text"}),
)


def seconds(box: Toolbox, tool: str, arguments: dict[str, object]) -> float:
    """Time one call. Ends the measurement where the tool could not answer."""
    started = time.perf_counter()
    answer = box.call(tool, arguments)
    taken = time.perf_counter() - started
    if isinstance(answer, ToolResult) and answer.parse_error:
        raise SystemExit(f"{tool}: {answer.parse_error}")
    return taken


def many_files(count: int) -> float:
    """Time `git_status` in a repository with many new files."""
    with tempfile.TemporaryDirectory() as folder:
        workspace = Workspace(Path(folder))
        workspace.run("git", ["init", "-q"])
        for number in range(count):
            (workspace.root / f"{number}.txt").touch()
        with Toolbox(workspace) as box:
            return seconds(box, "git_status", {"path": "."})


def main(workspace: Path = Path(__file__).parent.parent, times: int = 5) -> None:
    """Measure every call, once cold and `times` times warm."""
    slowest = 0.0
    with Toolbox(Workspace(workspace)) as box:
        for tool, arguments in CALLS:
            first = seconds(box, tool, arguments)
            before = resource.getrusage(resource.RUSAGE_CHILDREN)
            warm = statistics.median(seconds(box, tool, arguments) for _ in range(times))
            after = resource.getrusage(resource.RUSAGE_CHILDREN)
            busy = abs(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime) / times
            slowest = max(slowest, warm)
            print(
                f"{first:6.2f} s first, {warm:6.3f} s warm, {busy:5.2f} s of processor: {call_text(tool, arguments)}",
                flush=True,
            )
    print(f"{many_files(10_000):6.2f} s: git_status with 10,000 new files")
    print(f"slowest warm call: {slowest:.2f} s, {'within' if slowest <= MOST else 'OVER'} {MOST:g} s")


if __name__ == "__main__":
    typer.run(main)
