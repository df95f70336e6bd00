"""Load for `reliability.py`: many runs, a large suite, a large data set; each with its seconds and peak of memory."""

import json
import os
import pty
import re
import resource
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from functools import partial
from itertools import islice
from pathlib import Path
from typing import NamedTuple

import psutil

from punie.faults.damage import Tried, a_run
from punie.faults.reliability import Trial
from punie.phases.projects import make_project
from punie.phases.status import list_runs
from punie.settings import data_path, shipped

PUNIE = [sys.executable, "-c", "from punie.cli.main import main; main()"]
BIG = Path(os.environ.get("PUNIE_BIG", tempfile.gettempdir())) / "punie-load"  # holds the large data set for a while


class Spent(NamedTuple):
    """Hold what a command took."""

    seconds: float  # of processors, over all its processes: they are the same on a busy machine
    peak: float  # MB of all its processes together
    shown: int  # different states of its progress
    status: int
    said: str  # on standard error, at its end

    def __str__(self) -> str:
        return f"{self.seconds:.1f} s of processors, {self.peak:.0f} MB, {self.shown} states of progress"


def spend(words: list[str], folder: Path, most: float = 0) -> Spent:
    """Run a command in a folder with a terminal for its progress; end it after `most` seconds, if more than 0."""
    ours, theirs = pty.openpty()
    started, before, peak, parts = time.monotonic(), resource.getrusage(resource.RUSAGE_CHILDREN), 0.0, []
    environment = {**os.environ, "COLUMNS": "120", "TERM": "xterm"}
    with subprocess.Popen(
        [*PUNIE, *words], cwd=folder, env=environment, stdin=theirs, stdout=subprocess.DEVNULL, stderr=theirs
    ) as process:
        os.close(theirs)

        def read() -> None:
            try:
                while part := os.read(ours, 65536):
                    parts.append(part)
            except OSError:  # the other end is closed
                pass

        reader = threading.Thread(target=read, daemon=True)
        reader.start()
        while process.poll() is None and not (most and time.monotonic() - started > most):
            peak = max(peak, resident(process.pid))
            time.sleep(0.1)
        process.terminate()
    reader.join(5)
    os.close(ours)
    text = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", b"".join(parts).decode(errors="replace"))
    shown = len({*re.findall(r"\d+%|\d+/\d+|[\u2800-\u28ff]", text)})  # the last are frames of a spinner
    lines = [line for line in text.splitlines() if line.strip()]
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    seconds = used.ru_utime + used.ru_stime - before.ru_utime - before.ru_stime
    return Spent(seconds, peak, shown, process.returncode, lines[-1] if lines else "")


def resident(pid: int) -> float:
    """Measure the memory of a process and all below it, in MB."""
    total = 0
    try:
        top = psutil.Process(pid)
        for each in (top, *top.children(recursive=True)):
            total += each.memory_info().rss
    except psutil.NoSuchProcess:
        pass
    return total / 1e6


def many_runs(count: int) -> list[Tried]:
    """List many runs, with the whole command."""
    with a_run() as folder:
        small = [path for path in folder.iterdir() if path.is_file() and path.name != ".lock"]
        for number in range(1, count):
            other = folder.with_name(f"seed{number}")
            other.mkdir()
            for path in small:
                os.link(path, other / path.name)
        listed, done = len(list_runs()), spend(["status"], Path())
    held = listed == count and done.status == 0 and done.seconds < 2
    return [Tried("load", f"`punie status` with {listed} runs", held, str(done))]


def many_pages(count: int) -> list[Tried]:
    """Write the index of pages, and of twice as many: twice the time above that of one page, not four times."""
    calls = []
    with tempfile.TemporaryDirectory() as name:
        place = Path(name) / "lab"
        make_project(place)
        page = shipped() / "reports" / "tiny"
        for number in range(2 * count):
            copy = place / "reports" / f"tiny{number}"
            copy.mkdir(parents=True)
            for path in page.iterdir():
                if path.is_file():
                    os.link(path, copy / path.name)
            if not number:
                spend(["pages"], place)  # judges the evidence, which later calls remember; not timed
            if number + 1 in (1, count, 2 * count):
                calls.append(spend(["pages"], place))
    one, some, twice = (each.seconds for each in calls)
    linear = 1.4 * (some - one) < twice - one < 3 * (some - one)
    return [
        Tried(
            "load",
            f"the index of {count} and {2 * count} pages",
            linear and not any(each.status for each in calls),
            f"{some:.1f} and {twice:.1f} s, {one:.1f} s for one page",
        )
    ]


def write_suite(path: Path, count: int) -> None:
    """Write a suite of many samples: those of phase33_27 again and again, each with an id of its own."""
    lines = [line for line in data_path("suites/phase33_27.jsonl").read_text().splitlines() if '"id"' in line]
    rows = [json.loads(line) for line in lines]
    with path.open("w", encoding="utf-8") as file:
        for number in range(count):
            file.write(json.dumps({**rows[number % len(rows)], "id": f"{number}"}) + "\n")


def large_suite(count: int) -> list[Tried]:
    """List a suite of many samples, and begin an evaluation with it; then of ten times as many: the same memory."""
    commands = {  # words, and the seconds after which it is ended
        "`punie suites list`": (["suites", "list"], 0),
        "`punie eval`, ended after three minutes,": (["eval", str(data_path("models/tiny")), "--suite", "large"], 180),
    }
    spent: dict[str, list[Spent]] = {name: [] for name in commands}
    with tempfile.TemporaryDirectory() as folder:
        lab = Path(folder) / "lab"
        make_project(lab)
        for size in (count // 10, count):
            write_suite(lab / "data" / "suites" / "large.jsonl", size)
            for name, (words, most) in commands.items():
                spent[name].append(done := spend(words, lab, most))
                print(f"{name} with {size} samples: {done}", flush=True)
    tried = []
    for name, (few, many) in spent.items():
        wanted = -signal.SIGTERM if commands[name][1] else 0  # one that ended by itself before its time did not hold
        held = few.status == many.status == wanted and many.peak < 1.3 * few.peak and many.shown > 2
        tried.append(Tried("load", f"{name} with {count} samples", held, f"{few} for a tenth of it; {many}"))
    return tried


def write_rows(path: Path, size: int) -> int:
    """Write at least `size` bytes of rows, each with a question of its own; return how many."""
    rows = data_path("phase33_merged/train.jsonl").read_text().splitlines()
    cut = [row.split('"user", "content": "', 1) for row in rows if '"user", "content": "' in row]
    written = count = 0
    with path.open("w", encoding="utf-8") as file:
        while written < size:
            some = [
                f'{head}"user", "content": "{count + at}: {rest}\n' for at, (head, rest) in enumerate(islice(cut, 1000))
            ]
            text = "".join(some)
            file.write(text)
            written, count = written + len(text), count + len(some)
    return count


def large_data(gigabytes: float) -> list[Tried]:
    """Check a large data set, and one of half its size: the same memory, and twice the time."""
    BIG.mkdir(exist_ok=True)
    made, spent = BIG / "data" / "large", []
    try:
        make_project(BIG / "lab") if not (BIG / "lab").exists() else None
        made.mkdir(parents=True, exist_ok=True)
        (made / "valid.jsonl").write_bytes(data_path("phase33_merged/valid.jsonl").read_bytes())
        for size in (gigabytes / 2, gigabytes):
            rows = write_rows(made / "train.jsonl", int(size * 1e9))
            done = spend(["check", str(made), "--no-tokens"], BIG / "lab")
            spent.append(done)
            print(f"{size:g} GB, {rows} rows: {done}, status {done.status}: {done.said[:200]}", flush=True)
    finally:
        for path in sorted(BIG.rglob("*"), reverse=True):
            path.unlink() if path.is_file() or path.is_symlink() else path.rmdir()
        BIG.rmdir()
    half, whole = spent
    held = whole.peak < 1.3 * half.peak and whole.shown > 2 and whole.seconds < 3 * half.seconds
    said = f"{half} for half of it; {whole}"
    return [Tried("load", f"`punie check` of {gigabytes:g} GB", held, said)]


def load_trials(every: bool) -> Iterator[Trial]:
    """Give the trials of load; the large ones only with `every`."""
    yield Trial("1000 runs", partial(many_runs, 1000))
    yield Trial("pages", partial(many_pages, 500))
    if every:
        yield Trial("suite of 100000", partial(large_suite, 100_000))
        size = float(os.environ.get("PUNIE_BIG_GB", "10"))
        yield Trial(f"{size:g} GB", partial(large_data, size))
