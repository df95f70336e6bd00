"""Try faults on small runs, and count what holds: damaged files, interrupted writes, killed processes, much data.

    uv run python benchmarks/reliability.py                       # the matrix: at most half an hour on two cores
    uv run python benchmarks/reliability.py --part damage         # one part of it
    uv run python benchmarks/reliability.py --all                 # every interruption, and the large load: hours
    uv run python benchmarks/reliability.py --pretrained          # 20 kills on SmolLM2-135M, where it is at hand
    uv run python benchmarks/reliability.py --publish

Prints for each kind how many faults were tried and how many held, and each that did not. Damage is tried on every file
of a run. Interruptions are a seeded sample of the calls that change the disk, and kills are at random moments. Each
result is kept under runs/reliability, so the same command goes on where it was stopped; a change of the package begins
anew. `--publish` keeps each part under reports/reliability, with its commit, and writes reports/reliability.md and
.html from all that are kept.
"""

import os
import random
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import cache, cached_property, partial
from pathlib import Path

import psutil
import typer
from load import load_trials

from punie.evals.server import free_port
from punie.faults.damage import KINDS, Tried, a_run, other_files, run_files, state_of, try_damage
from punie.faults.interruptions import HOWS, try_interruption, undisturbed
from punie.faults.reliability import Part, Trial, figures, go_through, keep_part, read_parts, reliability_document
from punie.faults.training_faults import PHASE, write_phase
from punie.pages.results import write_document
from punie.phases.miniature import inside, write_miniature
from punie.phases.registration import code_version, machine, utc_now
from punie.phases.spec import load_spec
from punie.phases.sweep import grid, sweep_cluster
from punie.programs import end_tree, end_with_me
from punie.settings import PunieError, load_settings
from punie.weights.artifacts import find_model

PUNIE = [sys.executable, "-c", "from punie.cli.main import main; main()"]
COMMAND = [*PUNIE, "run", PHASE, "--no-page"]
PRETRAINED = "smollm2_135m"  # a phase; its base has to be on this machine


def damages() -> Iterator[Trial]:
    """Damage each file of a finished run in each way."""
    with a_run() as folder:
        names = run_files(folder)
    for name in names:
        for kind in KINDS:
            yield Trial(f"{kind} {name}", lambda name=name, kind=kind: [try_damage(name, kind)])


@cache
def whole_run() -> tuple[dict[str, object], int]:
    """Do the run once undisturbed; return what it is, and how many of its calls can be interrupted."""
    with tempfile.TemporaryDirectory() as name:
        return undisturbed(Path(name) / "whole")


def interrupt(at: int, how: str) -> list[Tried]:
    """Interrupt one call of a new run."""
    with tempfile.TemporaryDirectory() as place:
        return [try_interruption(at, how, Path(place), whole_run()[0])]


def interruptions(dice: random.Random, sample: int | None) -> Iterator[Trial]:
    """Interrupt calls that change the disk: all of them, or a sample."""
    calls = whole_run()[1]
    print(f"a run makes {calls} calls that can be interrupted", flush=True)
    chosen = range(1, calls + 1) if sample is None else sorted(dice.sample(range(1, calls + 1), sample))
    for at in chosen:
        for how in HOWS:
            yield Trial(f"{how} at call {at}", partial(interrupt, at, how))


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


def write_pretrained(folder: Path) -> None:
    """Write a small phase on the pretrained base: a few updates, and suites of a few prompts."""
    write_miniature(load_spec(PRETRAINED), folder, load_spec(PRETRAINED).base.model, {"budget": {"disk_gb": 2.0}})


class Killed:
    """Kill the command of a run at random moments, from its start to its end."""

    def __init__(self, phase: str, write: Callable[[Path], None], count: int, dice: random.Random) -> None:
        self.phase, self.write = phase, write
        self.command = [*PUNIE, "run", phase, "--no-page"]
        self.shares = [dice.random() for _ in range(count)]

    def folder(self, below: Path) -> Path:
        """Name the folder of the run."""
        return below / "runs" / self.phase / "seed0"

    @cached_property
    def whole(self) -> tuple[dict[str, object], float]:
        """Do the run undisturbed; return what it is, and its seconds."""
        with tempfile.TemporaryDirectory() as name:
            self.write(Path(name))
            with inside(Path(name)):
                started = time.monotonic()
                subprocess.run(self.command, capture_output=True, check=True)
                return state_of(self.folder(Path(name))), time.monotonic() - started

    def kill(self, share: float) -> list[Tried]:
        """Kill it after a share of its time, give the command again, and compare."""
        wanted, seconds = self.whole
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            self.write(folder)
            with inside(folder):
                null = subprocess.DEVNULL
                with subprocess.Popen(self.command, stdout=null, stderr=null) as process:
                    time.sleep(share * seconds)
                    process.kill()
                orphans = left_over(folder)
                done = subprocess.run(self.command, capture_output=True, text=True)
                other = [done.stderr[-300:]] if done.returncode else other_files(self.folder(folder), wanted)
        wrong = [*orphans, *other]
        where = f"{self.phase}, after {share:.0%} of its time"
        return [Tried("command killed", where, not wrong, "; ".join(wrong) or "as undisturbed")]

    def trials(self) -> Iterator[Trial]:
        """Give the kills."""
        for share in self.shares:
            yield Trial(f"{self.phase} killed at {share:.6f}", partial(self.kill, share))


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
        running, cells = [start(scheduler), start(worker), start(worker)], grid(PHASE, range(count))
        stack.callback(lambda: [end_tree(process) for process in running])
        sweep = threading.Thread(target=sweep_cluster, args=(cells, address), daemon=True)
        time.sleep(8)
        sweep.start()
        for number in range(count):
            place = 1 + number % 2
            yield kill_worker(running[place], cells, f"kill {number + 1}", sweep)
            running[place] = start(worker)
        sweep.join(900)
        for cell in cells:
            yield Tried("cell of a sweep", cell.name, cell.state[0] == "done", " ".join(cell.state)[:200])


def kill_worker(worker: subprocess.Popen[bytes], cells: list, where: str, sweep: threading.Thread) -> Tried:
    """Wait until a worker is at work on a cell, kill it, and say what became of what it had started."""
    end, below = time.monotonic() + 120, []
    while sweep.is_alive() and time.monotonic() < end and len(below) < 3:  # the cell, its watcher, and a stage
        time.sleep(1)
        below = psutil.Process(worker.pid).children(recursive=True)
    worker.kill()
    worker.wait()
    alive = psutil.wait_procs(below, timeout=20)[1]
    failed = [cell.name for cell in cells if cell.state[0] == "failed"]
    wrong = [*(f"lives on: {each.pid}" for each in alive), *(f"failed: {name}" for name in failed)]
    wrong += [] if below else ["it was not at work"]
    return Tried("worker killed", where, not wrong, "; ".join(wrong) or f"{len(below)} below it ended")


def trials(part: str, seed: int, sample: int, every: bool, kills: int) -> Iterator[Trial]:
    """Give the trials of a part."""
    dice = random.Random(f"{seed} {part}")
    if part == "damage":
        yield from damages()
    elif part == "interruptions":
        yield from interruptions(dice, None if every else sample)
    elif part == "kills":
        yield from Killed(PHASE, write_phase, 20 if every else max(1, sample // 3), dice).trials()
    elif part == "workers":
        yield Trial("workers", lambda: lost_workers(10))
    elif part == "load":
        yield from load_trials(every)
    elif part == OWN_BASE:
        find_model(load_spec(PRETRAINED).base.model)
        yield from Killed(PRETRAINED, write_pretrained, kills, dice).trials()


PARTS = ("damage", "interruptions", "kills", "workers", "load")
OWN_BASE = "pretrained"  # a part that needs a base which has to be downloaded
NOTES = {
    "interruptions": "a sample of {sample} calls, drawn with seed {seed}.",
    "load": "without the large load of `--all` (100,000 samples, 10 GB).",
    "pretrained": "{kills} kills of SmolLM2-135M at random moments, drawn with seed {seed}.",
}


def main(
    part: list[str] | None = typer.Option(None, help=f"Of {', '.join(PARTS)}; may be given several times."),
    seed: int = 0,
    sample: int = typer.Option(15, min=1, help="Calls to interrupt, each in two ways; a third as many kills."),
    every: bool = typer.Option(False, "--all", help="Every interruption, 20 kills, and the large load."),
    pretrained: bool = typer.Option(False, help="Also kills on the pretrained base."),
    kills: int = typer.Option(20, help="How many of these; those that were tried before are kept."),
    publish: bool = False,
) -> None:
    wanted, held = [*(part or PARTS), *([OWN_BASE] if pretrained else [])], True
    if unknown := {*wanted} - {*PARTS, OWN_BASE}:
        raise PunieError(f"no part {unknown.pop()!r}; parts are {', '.join(PARTS)}")
    settings = load_settings()
    kept, pages = settings.runs / "reliability" / f"seed{seed}.jsonl", settings.reports / "reliability"
    for name in wanted:
        begun, tried = time.monotonic(), []
        for each in go_through(trials(name, seed, sample, every, kills), kept, 2 if name == "interruptions" else 1):
            tried.append(each)
            if not each.held:
                print(f"DID NOT HOLD: {each.kind} at {each.where}: {each.said}", flush=True)
        held = held and all(each.held for each in tried)
        note = "" if every else NOTES.get(name, "").format(sample=sample, seed=seed, kills=kills)
        for kind, count, good in figures(tried)[:-1]:
            print(f"{kind:18} {count:4} tried {good:4} held")
        print(f"{name}: {time.monotonic() - begun:.0f} s", note, flush=True)
        if publish:
            keep_part(
                Part(name=name, commit=code_version(), at=utc_now(), machine=machine(), note=note, tried=tried), pages
            )
    if publish:
        found = read_parts([*PARTS, OWN_BASE], pages)
        missing = [name for name in (*PARTS, OWN_BASE) if name not in {each.name for each in found}]
        print(write_document(reliability_document(found, missing), settings.reports / "reliability.md"))
    if not held:
        raise typer.Exit(1)


if __name__ == "__main__":
    typer.run(main)
