"""Every fault of the gallery is put into a clean input, and the gate that is meant for it stops the real command."""

import pytest

from punie.faults.fault import Bench
from punie.faults.gallery import BENCHES, clean_runs, find_faults, try_faults


@pytest.mark.parametrize("bench", BENCHES, ids=lambda bench: bench.name)
def test_no_fault_gets_through_and_no_clean_input_is_stopped(bench: Bench) -> None:
    chosen = find_faults([bench.name])
    assert {found.fault.name: found.message for found in try_faults(chosen) if found.missed} == {}
    assert [(run.bench, run.fired) for run in clean_runs(chosen) if run.fired] == []
