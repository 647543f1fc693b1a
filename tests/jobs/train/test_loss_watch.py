"""A training whose losses are not finite is stopped; with fp16 a few such steps are let pass."""

import pytest
import torch

from jobs.parts.train.loss_watch import FP16_STEPS, LossWatch

NAN, INF = float("nan"), float("inf")


def step(watch: LossWatch, *batches: dict[str, float]) -> str:
    """What a watch of one worker says after a step of these batches."""
    for losses in batches:
        watch.note({name: torch.tensor(value) for name, value in losses.items()})
    return watch.judge(int(watch.found()))


def test_finite_losses_go_on() -> None:
    watch = LossWatch("fp32", torch.device("cpu"))
    assert [step(watch, {"l1": 0.5, "gan": 1e30}) for _ in range(3)] == [""] * 3


@pytest.mark.parametrize("value", [NAN, INF, -INF])
@pytest.mark.parametrize("precision", ["auto", "fp32", "bf16"])
def test_the_first_loss_that_is_not_finite_is_named(value: float, precision: str) -> None:
    watch = LossWatch(precision, torch.device("cpu"))
    assert step(watch, {"l1": 0.5, "gan": 1.0}) == ""
    assert step(watch, {"l1": 0.5, "gan": value}) == "gan"


def test_a_batch_that_only_adds_gradients_counts_too() -> None:
    watch = LossWatch("fp32", torch.device("cpu"))
    assert step(watch, {"l1": NAN}, {"l1": 0.5}) == "l1"


def test_the_loss_of_another_worker_is_named() -> None:
    mine, other = (LossWatch("fp32", torch.device("cpu")) for _ in range(2))
    mine.note({"l1": torch.tensor(0.5), "gan": torch.tensor(1.0)})
    other.note({"l1": torch.tensor(0.5), "gan": torch.tensor(NAN)})
    shared = int(torch.maximum(mine.found(), other.found()))
    assert (mine.judge(shared), other.judge(shared)) == ("gan", "gan")


def test_with_fp16_some_steps_in_a_row_may_fail() -> None:
    watch = LossWatch("fp16", torch.device("cpu"))
    for _ in range(3):
        assert [step(watch, {"l1": INF}) for _ in range(FP16_STEPS)] == [""] * FP16_STEPS
        assert step(watch, {"l1": 0.5}) == ""
    assert [step(watch, {"l1": INF}) for _ in range(FP16_STEPS + 1)] == [*[""] * FP16_STEPS, "l1"]


def test_to_ask_twice_is_to_ask_once() -> None:
    watch = LossWatch("fp16", torch.device("cpu"))
    for _ in range(FP16_STEPS):
        assert step(watch, {"l1": INF}) == ""
        assert watch.judge(int(watch.found())) == ""
    assert step(watch, {"l1": INF}) == "l1"
