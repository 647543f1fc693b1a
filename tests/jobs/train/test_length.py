"""How long a training is where nobody says so: by pages, batch, workers, the weights it starts from, and the device."""

import logging
import math
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from jobs.parts.train.config import TrainConfig
from jobs.parts.train.length import planned_steps, usual_steps
from jobs.parts.train.monitor import Monitor, minutes_left

LOSSES = {"l1": torch.tensor(1.0)}


@pytest.mark.parametrize(
    ("trained", "on_gpu", "passes", "least", "most"),
    [
        (True, False, 20, 200, 600),
        (True, True, 50, 400, 10_000),
        (False, False, 50, 1_000, 3_000),
        (False, True, 200, 2_000, 100_000),
    ],
)
def test_steps_are_passes_between_the_least_and_the_most(
    trained: bool, on_gpu: bool, passes: int, least: int, most: int
) -> None:
    def steps(pages: int, batch: int = 4, workers: int = 1) -> int:
        return usual_steps(pages, batch, workers, trained=trained, on_gpu=on_gpu)

    few, many = least * 4 // passes, most * 4 // passes  # pages at which the passes take just these steps
    assert [steps(0), steps(1), steps(few - 1), steps(few)] == [least] * 4
    assert least < steps(few + 1) == math.ceil(passes * (few + 1) / 4)
    assert most > steps(many - 1) == math.ceil(passes * (many - 1) / 4)
    assert [steps(many), steps(many + 1), steps(10**9)] == [most] * 3
    between = (few + many) // 2
    assert steps(between, 2, 2) == steps(between) < steps(between, 3)


@given(st.integers(0, 10**6), st.integers(1, 64), st.integers(1, 16), st.booleans())
def test_trained_weights_and_cpus_take_no_more_steps(pages: int, batch: int, workers: int, on_gpu: bool) -> None:
    trained, plain = (usual_steps(pages, batch, workers, trained=start, on_gpu=on_gpu) for start in (True, False))
    assert trained <= plain
    assert usual_steps(pages, batch, workers, trained=True, on_gpu=False) <= trained


def config(**options: Any) -> TrainConfig:
    return TrainConfig(data="shards", run="run", variant="zhang", batch_size=2, accumulate=2, **options)


@pytest.mark.parametrize(
    ("options", "steps"),
    [
        ({"max_steps": 7}, 7),
        ({"max_steps": 7, "max_minutes": 3.0}, 7),
        ({"max_minutes": 3.0}, 0),
        ({"max_minutes": 3.0, "early_stop": 2}, 0),
        ({"early_stop": 2}, 200 * 60 // 8),
    ],
)
def test_a_limit_that_is_given_decides(options: dict[str, Any], steps: int, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "mangahue"):
        assert planned_steps(config(**options), 60, 2, trained=True, on_gpu=False) == steps
    assert caplog.messages == []


def test_without_a_limit_the_log_says_how_long_and_how_to_choose(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "mangahue"):
        steps = planned_steps(config(), 120, 2, trained=True, on_gpu=False)
    assert steps == usual_steps(120, 4, 2, trained=True, on_gpu=False) == 300
    assert caplog.messages == [
        "300 steps, 20.0 passes over the 120 pages, as is usual from trained weights on CPUs; --max-steps or "
        "--max-minutes choose otherwise"
    ]


def test_the_time_left_goes_by_the_steps_between() -> None:
    assert minutes_left((100.0, 0.1), (160.0, 0.2)) == pytest.approx(8.0)
    assert minutes_left((100.0, 0.1), (160.0, 1.0)) == 0
    assert math.isnan(minutes_left((100.0, 0.1), (100.0, 0.1)))


def test_a_training_says_how_long_it_will_take_once_its_speed_is_known(caplog: pytest.LogCaptureFixture) -> None:
    """400 steps of 3 s, of which the first took a minute: that is no part of the speed."""
    monitor = Monitor(config())
    with caplog.at_level(logging.INFO, "mangahue"):
        for step in range(1, 20):
            monitor.note_step(step, 60.0 + 3 * step, (step - 1) / 400, 0.0, LOSSES)
    told = [message for message in caplog.messages if "will take" in message]
    assert told == ["step 12: the training will take about 19.4 min more, held-out evaluations apart"]
