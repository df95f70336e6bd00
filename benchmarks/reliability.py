"""Try faults on small runs, and count what holds: damaged files, interrupted writes, killed processes, many runs.

    uv run python benchmarks/reliability.py
    uv run python benchmarks/reliability.py --all
    uv run python benchmarks/reliability.py --seed 7 --publish

Prints for each kind how many faults were tried and how many held, and each that did not. Damage is tried on every file
of a run. Interruptions are a seeded sample of the calls that change the disk; --all tries each of them, which takes
over an hour. `--publish` writes reports/reliability.md and .html.
"""

import os
import random
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import psutil
import typer

from punie.evals.server import free_port
from punie.faults.damage import KINDS, Tried, a_run, run_files, state_of, try_damage
from punie.faults.interruptions import HOWS, try_interruption, undisturbed
from punie.faults.reliability import figures, reliability_document
from punie.faults.training_faults import PHASE, run_folder_in, write_phase
from punie.pages.results import write_document
from punie.phases.miniature import inside
from punie.phases.status import list_runs
from punie.phases.sweep import grid, sweep_cluster
from punie.programs import end_with_me
from punie.settings import load_settings

COMMAND = [sys.executable, "-c", "from punie.cli.main import main; main()", "run", PHASE, "--no-page"]


def damages() -> Iterator[Tried]:
    """Damage each file of a finished run in each way."""
    with a_run() as folder:
        names = run_files(folder)
    for name in names:
        for kind in KINDS:
            yield try_damage(name, kind)


def interruptions(dice: random.Random, sample: int | None) -> Iterator[Tried]:
    """Interrupt calls that change the disk: all of them, or a sample."""
    with tempfile.TemporaryDirectory() as name:
        wanted, calls = undisturbed(Path(name) / "whole")
        print(f"a run makes {calls} calls that can be interrupted", flush=True)
        chosen = range(1, calls + 1) if sample is None else sorted(dice.sample(range(1, calls + 1), sample))
        for at in chosen:
            for how in HOWS:
                with tempfile.TemporaryDirectory() as place:
                    yield try_interruption(at, how, Path(place), wanted)


def left_over(below: Path) -> list[str]:
    """List the processes that still work for a folder, a moment after they should have ended."""
    for _ in range(50):
        found = []
        for each in psutil.process_iter(["pid", "cmdline"]):
            command = " ".join(each.info["cmdline"] or [])
            if str(below) in command and each.info["pid"] != os.getpid():
                found.append(command[:100])
        if not found:
            return []
        time.sleep(0.1)
    return found


def kills(dice: random.Random, count: int) -> Iterator[Tried]:
    """Kill the whole command at random moments, from its start to its end."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_phase(folder)
        with inside(folder):
            started = time.monotonic()
            subprocess.run(COMMAND, capture_output=True, check=True)
            seconds, wanted = time.monotonic() - started, state_of(run_folder_in(folder))
    wanted.pop("registration.json")
    for _ in range(count):
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            write_phase(folder)
            with inside(folder):
                after = dice.uniform(0, seconds)
                with subprocess.Popen(COMMAND, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
                    time.sleep(after)
                    process.kill()
                orphans = left_over(folder)
                done = subprocess.run(COMMAND, capture_output=True, text=True)
                state = state_of(run_folder_in(folder)) if done.returncode == 0 else {}
            state.pop("registration.json", None)
            other = [name for name in {**wanted, **state} if wanted.get(name) != state.get(name)]
            wrong = [*orphans, *other, *([done.stderr[-300:]] if done.returncode else [])]
            yield Tried("command killed", f"after {after:.1f} s", not wrong, "; ".join(wrong) or "as undisturbed")


def start(command: list[str]) -> subprocess.Popen[bytes]:
    """Start a program that says nothing, and ends with this process."""
    null, root = subprocess.DEVNULL, load_settings().root
    process = subprocess.Popen(command, stdout=null, stderr=null, cwd=root, start_new_session=True)
    end_with_me(process.pid)
    return process


def lost_workers(count: int) -> Iterator[Tried]:
    """Kill the two workers of a dask scheduler in turn, while a sweep is at work."""
    dask = str(Path(sys.executable).with_name("dask"))
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        write_phase(folder)
        stack.enter_context(inside(folder))
        address = f"tcp://127.0.0.1:{free_port()}"
        scheduler = [dask, "scheduler", "--host", "127.0.0.1", "--port", address.rpartition(":")[2], "--no-dashboard"]
        worker = [dask, "worker", address, "--host", "127.0.0.1", "--nthreads", "1", "--no-nanny", "--no-dashboard"]
        worker += ["--resources", "accelerator=1", "--local-directory", str(folder / "dask")]
        running = [start(scheduler)]
        workers = [start(worker) for _ in range(2)]
        try:
            time.sleep(8)
            cells = grid(PHASE, range(max(2, count // 2)))
            sweep = threading.Thread(target=lambda: sweep_cluster(cells, address), daemon=True)
            sweep.start()
            for number in range(count):
                time.sleep(12)
                if not sweep.is_alive():
                    break
                place = number % 2
                below = psutil.Process(workers[place].pid).children(recursive=True)
                workers[place].kill()
                workers[place].wait()
                alive = psutil.wait_procs(below, timeout=20)[1]
                failed = [cell.name for cell in cells if cell.state[0] == "failed"]
                wrong = [*(f"lives on: {each.pid}" for each in alive), *(f"failed: {name}" for name in failed)]
                yield Tried(
                    "worker killed", f"kill {number + 1}", not wrong, "; ".join(wrong) or f"{len(below)} below it ended"
                )
                workers[place] = start(worker)
            sweep.join(600)
            for cell in cells:
                yield Tried("cell of a sweep", cell.name, cell.state[0] == "done", " ".join(cell.state)[:200])
        finally:
            for process in (*workers, *running):
                process.kill()
                process.wait()


def many_runs(count: int) -> str:
    """Say how long a list of many runs takes."""
    with a_run() as folder:
        small = [path for path in folder.iterdir() if path.is_file() and path.name != ".lock"]
        for number in range(1, count):
            other = folder.with_name(f"seed{number}")
            other.mkdir()
            for path in small:
                os.link(path, other / path.name)
        started = time.perf_counter()
        listed = len(list_runs())
        return f"The state of {listed} runs is read in {time.perf_counter() - started:.2f} s."


def main(seed: int = 0, sample: int = 30, every: bool = typer.Option(False, "--all"), publish: bool = False) -> None:
    dice, tried = random.Random(seed), []
    trials = (
        damages(),
        interruptions(dice, None if every else sample),
        kills(dice, 20 if every else 10),
        lost_workers(10),
    )
    for each in (one for group in trials for one in group):
        tried.append(each)
        if not each.held:
            print(f"DID NOT HOLD: {each.kind} at {each.where}: {each.said}", flush=True)
    notes = [many_runs(1000), "" if every else f"Interruptions are a sample of {sample} calls, drawn with seed {seed}."]
    for kind, count, held in figures(tried):
        print(f"{kind:18} {count:4} tried {held:4} held")
    print(*notes, sep="\n")
    if publish:
        head = ["git", "-C", str(load_settings().root), "rev-parse", "HEAD"]
        commit = subprocess.run(head, capture_output=True, text=True, check=True).stdout.strip()
        page = write_document(reliability_document(tried, commit, notes), load_settings().reports / "reliability.md")
        print(page)


if __name__ == "__main__":
    typer.run(main)
