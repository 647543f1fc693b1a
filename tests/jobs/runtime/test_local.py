"""The pool of one machine: order, bounds, cores given to the network, and an end that leaves nothing behind."""

import os
import threading
import time
from collections.abc import Iterator

import psutil
import pytest

from jobs.parts.runtime.local import LocalPool
from jobs.parts.runtime.sandbox import sandbox
from jobs.parts.runtime.signals import Stopped


def twice(value: int) -> int:
    return 2 * value


def twice_in_sandbox(value: int) -> tuple[int, int]:
    return sandbox().call(twice_and_pid, value, seconds=60)


def twice_and_pid(value: int) -> tuple[int, int]:
    return 2 * value, os.getpid()


def sleep(seconds: float) -> None:
    time.sleep(seconds)


def children() -> set[int]:
    return {process.pid for process in psutil.Process().children()}


def test_steps_keep_their_order_and_share_one_sandbox_for_each_core() -> None:
    with LocalPool(2) as pool:
        results = list(pool.map(twice_in_sandbox, range(20)))
    assert [value for value, _ in results] == [2 * value for value in range(20)]
    assert 1 <= len({pid for _, pid in results}) <= 2


def test_runs_use_the_same_sandboxes_as_steps() -> None:
    def run(value: int) -> set[int]:
        return {twice_in_sandbox(value)[1], *(pid for _, pid in pool.map(twice_in_sandbox, range(4)))}

    before = children()
    with LocalPool(2) as pool:
        pids = set().union(*pool.run(run, range(6)))
        assert children() - before == pids
    assert len(pids) <= 2


def test_items_are_taken_only_as_threads_become_free() -> None:
    taken, ended = 0, 0
    most = 0

    def items() -> Iterator[int]:
        nonlocal taken, most
        for value in range(50):
            taken += 1
            most = max(most, taken - ended)
            yield value

    with LocalPool(2) as pool:
        for _ in pool.run(twice, items()):
            ended += 1
    assert taken == 50
    assert most <= 5  # one for each thread, one that waits, one that is just taken


def test_the_thread_that_gives_the_items_has_a_sandbox_meanwhile() -> None:
    own = sandbox()
    seen = []

    def items() -> Iterator[int]:
        seen.append(sandbox())
        yield 1

    with LocalPool(1) as pool:
        assert list(pool.run(twice, items())) == [2]
    assert seen[0] is not own
    assert sandbox() is own


def test_no_step_runs_beside_one_that_has_all_cores() -> None:
    at_work, alone = threading.Semaphore(0), threading.Event()
    beside = []

    def step(number: int) -> None:
        at_work.release()
        beside.append(alone.is_set())

    def network() -> None:
        alone.set()
        while at_work.acquire(timeout=0.05):  # steps that were under way before
            pass
        alone.clear()

    with LocalPool(3) as pool:
        under_way = [pool.in_network_thread(network, all_cores=True) for _ in range(5)]
        for _ in pool.map(step, range(200)):
            pass
        for future in under_way:
            future.result()
    assert len(beside) == 200
    assert not any(beside)


def test_an_error_of_a_run_ends_all_others_and_their_sandboxes() -> None:
    before = children()

    def run(value: int) -> None:
        if value == 1:
            raise ValueError("of this run")
        sandbox().call(sleep, 1000.0, seconds=2000)

    with pytest.raises(ValueError, match="of this run"), LocalPool(2) as pool:
        list(pool.run(run, range(4)))
    assert children() == before


def test_a_stop_reaches_steps_under_way_and_those_that_wait() -> None:
    ends: list[BaseException] = []

    def run(value: int) -> None:
        try:
            list(pool.map(lambda _: sandbox().call(sleep, 1000.0, seconds=2000), range(8)))
        except BaseException as error:
            ends.append(error)
            raise

    def items() -> Iterator[int]:
        yield 1
        yield 2
        raise Stopped("SIGTERM")

    with pytest.raises(Stopped, match="SIGTERM"), LocalPool(2) as pool:
        list(pool.run(run, items()))
    assert [type(error) for error in ends] in ([Stopped], [Stopped, Stopped])


def test_what_waits_for_all_cores_does_not_outlive_the_pool() -> None:
    under_way = []
    at_work = threading.Semaphore(0)

    def busy(_: int) -> None:
        at_work.release()
        sandbox().call(sleep, 1000.0, seconds=2000)

    def items() -> Iterator[int]:
        yield 1
        for _ in range(2):
            at_work.acquire()
        under_way.append(pool.in_network_thread(pool.check, all_cores=True))
        raise Stopped("SIGTERM")

    with pytest.raises(Stopped, match="SIGTERM"), LocalPool(2) as pool:
        list(pool.run(lambda _: list(pool.map(busy, range(2))), items()))
    assert under_way[0].cancelled() or isinstance(under_way[0].exception(), Stopped)
