"""The scheduling loop of Ray Data pauses while nothing moves, and only then."""

from types import SimpleNamespace

import pytest

from jobs.parts.runtime import pacing
from jobs.parts.runtime.pacing import Paced


def executor(*moved: int) -> SimpleNamespace:
    metrics = SimpleNamespace(num_inputs_received=moved[0], num_task_outputs_generated=moved[1],
                              num_outputs_taken=moved[2])  # fmt: skip
    return SimpleNamespace(_topology=[SimpleNamespace(metrics=metrics)])


def test_it_pauses_where_nothing_moved(monkeypatch: pytest.MonkeyPatch) -> None:
    pauses: list[float] = []
    monkeypatch.setattr(pacing.time, "sleep", pauses.append)
    paced = Paced()
    counts = []
    for moved in [(0, 0, 0), (1, 0, 0), (1, 0, 0), (1, 0, 0), (1, 1, 0), (1, 1, 1), (1, 1, 1)]:
        paced.on_execution_step(executor(*moved))
        counts.append(len(pauses))
    assert counts == [0, 0, 1, 2, 2, 2, 3]


def test_an_executor_of_another_shape_is_paced_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    pauses: list[float] = []
    monkeypatch.setattr(pacing.time, "sleep", pauses.append)
    paced = Paced()
    for _ in range(3):
        paced.on_execution_step(SimpleNamespace())
    assert len(pauses) == 2
