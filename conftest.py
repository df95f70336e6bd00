"""Collect every notebook under nbs/ and run it with nbdev's own test runner, so that nbdev directives hold.

Runs of phases go to a temporary folder, so that a test neither uses nor touches anybody's own runs. Workers share the
cores, as the ranks of a training do: a matrix library with a thread for each core in each worker would only spin.
"""

import gc
import os
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING
from unittest.mock import patch

import pytest
from hypothesis import HealthCheck, settings

if TYPE_CHECKING:
    from _pytest._code.code import TerminalRepr, TracebackStyle

os.environ["PUNIE_RUNS"] = tempfile.mkdtemp(prefix="punie-runs-")
threads = max(1, (os.cpu_count() or 1) // int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1")))
for library in ("MKL", "OMP", "OPENBLAS"):
    os.environ.setdefault(f"{library}_NUM_THREADS", str(threads))
# how fast a machine is says nothing about a property
settings.register_profile("any machine", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("any machine")


def pytest_collect_file(parent: pytest.Collector, file_path: Path) -> "NotebookFile | None":
    if file_path.suffix == ".ipynb" and not file_path.name.startswith((".", "_")):
        return NotebookFile.from_parent(parent, path=file_path)
    return None


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put notebooks before doctests: with short tests at the end, no worker waits long for the other."""
    items.sort(key=lambda item: not isinstance(item, Notebook))


class NotebookFile(pytest.File):
    def collect(self) -> "list[Notebook]":
        return [Notebook.from_parent(self, name="notebook")]


class NotebookFailed(Exception):
    """Say that a notebook did not run to its end; nbdev printed the cell and its error."""


class Notebook(pytest.Item):
    def runtest(self) -> None:
        from IPython import get_ipython
        from nbdev.test import test_nb

        gc.freeze()  # the collector need not walk again through what was there before
        main = sys.modules["__main__"]
        with patch.dict(os.environ):  # what a notebook sets is gone when the next begins
            passed, _ = test_nb(self.path, verbose=False, cell_timeout=300)[:2]
        if shell := get_ipython():  # and so is what it named
            shell.reset(new_session=False)
            shell.close()
        sys.modules["__main__"] = main  # the shell put its own in this place
        if not passed:
            raise NotebookFailed(self.path)

    def repr_failure(
        self, excinfo: pytest.ExceptionInfo[BaseException], style: "TracebackStyle | None" = None
    ) -> "str | TerminalRepr":
        if isinstance(excinfo.value, NotebookFailed):
            return f"{self.path}: a cell failed, see the captured output"
        return super().repr_failure(excinfo, style)

    def reportinfo(self) -> tuple[Path, None, str]:
        return self.path, None, str(self.path.relative_to(self.config.rootpath))
