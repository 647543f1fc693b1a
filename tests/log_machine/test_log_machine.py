"""No order of events breaks the commit log: on disk, and on a store with S3's semantics."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import settings
from hypothesis.stateful import run_state_machine_as_test

from tests.log_machine.machine import LogMachine
from tests.log_machine.stores import Disk, Memory, Store


@pytest.mark.timeout(3600)  # seconds, for a hung run only: a busy machine needs more than the usual 300
@pytest.mark.parametrize("kind", ["disk", "memory"])
def test_no_order_of_events_breaks_the_log(kind: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    numbers = itertools.count()

    def new_store() -> Store:
        return Memory(next(numbers)) if kind == "memory" else Disk(tmp_path_factory.mktemp("library"))

    class Machine(LogMachine):
        pass

    Machine.new_store = staticmethod(new_store)  # type: ignore[assignment]
    run_state_machine_as_test(Machine, settings=settings(max_examples=60, stateful_step_count=25, derandomize=True))
    assert Machine.steps > 1000
