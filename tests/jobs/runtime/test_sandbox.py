"""A child process that crashes, hangs or eats memory costs the call, not the worker. No call gets another's answer."""

import ctypes
import os
import pickle
import signal
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from multiprocessing.connection import Connection
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn

import psutil
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from datasets import errors
from datasets.errors import Code, CodedError, MangahueError, PageUnreadableError
from jobs.parts.ledger.manifest import DamagedManifestError
from jobs.parts.runtime import sandbox as module
from jobs.parts.runtime.sandbox import Sandbox, SandboxError

STARTS_AFTER_THE_CALL = """
import select, sys
if "jobs.parts.runtime.sandbox" in sys.orig_argv:
    select.select([int(sys.orig_argv[-1])], [], [])  # the parent has sent something, or is gone
"""
HALF = 5 * 2**30  # bytes: more than half of what a child may have; they are never touched


class Interrupted(BaseException):
    """As Stopped is raised by a signal."""


class OddError(MangahueError):
    """Can be pickled, and can't be unpickled."""

    def __init__(self, page: str, number: int) -> None:
        super().__init__(f"{page} {number}")


class ChildOnly:
    """Can't be unpickled in the process `pid`."""

    def __init__(self, pid: int) -> None:
        self.pid = pid

    def __reduce__(self) -> tuple[Any, ...]:
        return refuse_in, (self.pid,)


def refuse_in(pid: int) -> str:
    if os.getpid() == pid:
        raise RuntimeError("not here")
    return "elsewhere"


def refuse_in_a_child_of(pid: int) -> str:
    if os.getppid() == pid:
        raise RuntimeError("not in the child")
    return "elsewhere"


class ParentOnly(ChildOnly):
    def __reduce__(self) -> tuple[Any, ...]:
        return refuse_in_a_child_of, (self.pid,)


def twice(value: int) -> int:
    return 2 * value


def echo(value: Any) -> Any:
    return value


def pid() -> int:
    return os.getpid()


def refuse(message: str = "half a page") -> None:
    raise PageUnreadableError(Code.TRUNCATED, message)


def fail(message: str) -> None:
    raise ValueError(message)


def refuse_oddly(message: str) -> None:
    raise OddError(message, 7)


def function_as_answer(_: Any = None) -> Any:
    return lambda: None


def child_only(pid: int) -> ChildOnly:
    return ChildOnly(pid)


def crash(_: Any = None) -> None:
    ctypes.string_at(0)


def crash_once(marker: str) -> str:
    if not Path(marker).exists():
        Path(marker).touch()
        os.abort()
    return "alive"


def hang(pid_file: str) -> None:
    Path(pid_file).write_text(str(os.getpid()))
    time.sleep(1000)


def wait_for_ever(_: Any = None) -> NoReturn:
    while True:
        signal.pause()


def interrupt_and_answer(value: Any) -> Any:
    os.kill(os.getppid(), signal.SIGUSR1)
    return value


def answer_unasked(value: Any) -> Any:
    """Answer with something else first, as a call before would have."""
    stray = Connection(os.dup(int(sys.argv[1])))
    stray.send((1, True, "another's"))
    return value


def eat() -> int:
    return len(bytes(2**40))


def half_the_memory() -> bytes:
    return bytes(HALF)


def refuse_with_half_the_memory() -> None:
    half = bytes(HALF)
    raise PageUnreadableError(Code.PIXELS, f"{len(half)}")


@pytest.fixture
def sandbox() -> Iterator[Sandbox]:
    made = Sandbox()
    yield made
    made.close()


@contextmanager
def interruptible() -> Iterator[None]:
    def interrupt(number: int, frame: FrameType | None) -> None:
        raise Interrupted

    before = signal.signal(signal.SIGUSR1, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGUSR1, before)


def test_results_and_errors_come_back(sandbox: Sandbox) -> None:
    assert sandbox.call(twice, 21, seconds=30) == 42
    with pytest.raises(PageUnreadableError, match="half a page"):
        sandbox.call(refuse, seconds=30)
    with pytest.raises(SandboxError, match="CRASHED: MemoryError"):
        sandbox.call(eat, seconds=30)
    assert sandbox.call(twice, 4, seconds=30) == 8


def test_a_child_has_one_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    child = Sandbox()
    try:
        assert child.call(os.getenv, "OMP_NUM_THREADS", seconds=30) == "1"
    finally:
        child.close()


def test_a_crash_is_an_error_and_the_next_call_works(sandbox: Sandbox) -> None:
    with pytest.raises(SandboxError, match="signal 11") as caught:
        sandbox.call(crash, seconds=30)
    assert caught.value.code == Code.CRASHED
    assert sandbox.call(twice, 1, seconds=30) == 2


def test_a_child_that_was_killed_once_is_tried_again(sandbox: Sandbox, tmp_path: Path) -> None:
    assert sandbox.call(crash_once, str(tmp_path / "marker"), seconds=30) == "alive"


def test_a_late_child_is_ended(sandbox: Sandbox, tmp_path: Path) -> None:
    sandbox.call(twice, 1, seconds=30)  # its libraries are loaded
    with pytest.raises(SandboxError) as caught:
        sandbox.call(hang, str(tmp_path / "pid"), seconds=1)
    assert caught.value.code == Code.TIMEOUT
    assert not psutil.pid_exists(int((tmp_path / "pid").read_text()))
    assert sandbox.call(twice, 3, seconds=30) == 6


def test_a_child_that_is_not_ready_in_time_costs_its_call_alone(
    sandbox: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "sitecustomize.py").write_text(STARTS_AFTER_THE_CALL)
    with monkeypatch.context() as patched:
        patched.setenv("PYTHONPATH", f"{tmp_path}{os.pathsep}{os.environ.get('PYTHONPATH', '')}")
        patched.setattr(module, "_START", 0.3)
        with pytest.raises(SandboxError, match=r"not ready after 0\.3 s") as caught:
            sandbox.call(echo, "page 1", seconds=60)
        assert caught.value.code == Code.CRASHED
    assert [sandbox.call(echo, f"page {number}", seconds=60) for number in (2, 3)] == ["page 2", "page 3"]


def test_a_child_that_can_not_start(sandbox: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patched:
        patched.setattr(sys, "executable", "/bin/false")
        with pytest.raises(SandboxError, match="exit 1"):
            sandbox.call(twice, 1, seconds=30)
        patched.setattr(sys, "executable", str(tmp_path / "none"))
        with pytest.raises(SandboxError, match="can't be started"):
            sandbox.call(twice, 1, seconds=30)
    assert sandbox.call(twice, 1, seconds=30) == 2


def test_an_answer_to_another_call_is_not_taken(sandbox: Sandbox) -> None:
    sandbox.call(twice, 1, seconds=30)
    with pytest.raises(SandboxError, match="another call") as caught:
        sandbox.call(answer_unasked, "mine", seconds=30)
    assert caught.value.code == Code.CRASHED
    assert sandbox.call(echo, "next", seconds=30) == "next"


def test_what_can_not_be_sent_leaves_the_child_as_it_was(sandbox: Sandbox) -> None:
    child = sandbox.call(pid, seconds=30)
    with pytest.raises((pickle.PicklingError, AttributeError)):
        sandbox.call(echo, bytes(2**20), lambda: None, seconds=30)
    with pytest.raises(SandboxError, match=r"CRASHED: .*lambda"):
        sandbox.call(function_as_answer, seconds=30)
    with pytest.raises(SandboxError, match="CRASHED: RuntimeError: not in the child"):
        sandbox.call(echo, ParentOnly(os.getpid()), seconds=30)
    with pytest.raises(SandboxError, match="CRASHED: OddError: page 7"):
        sandbox.call(refuse_oddly, "page", seconds=30)
    assert sandbox.call(pid, seconds=30) == child


def test_an_answer_that_can_not_be_read_is_an_error(sandbox: Sandbox) -> None:
    with pytest.raises(SandboxError, match="RuntimeError: not here") as caught:
        sandbox.call(child_only, os.getpid(), seconds=30)
    assert caught.value.code == Code.CRASHED
    assert sandbox.call(echo, "next", seconds=30) == "next"


def test_a_message_is_cut_where_it_is_long(sandbox: Sandbox) -> None:
    with pytest.raises(SandboxError) as caught:
        sandbox.call(fail, "x" * 10**6, seconds=30)
    assert len(str(caught.value)) < 2000


def test_a_child_that_takes_nothing_is_ended(sandbox: Sandbox) -> None:
    os.kill(sandbox.call(pid, seconds=30), signal.SIGSTOP)
    with pytest.raises(SandboxError) as caught:
        sandbox.call(echo, bytes(2**24), seconds=1)
    assert caught.value.code == Code.TIMEOUT
    assert sandbox.call(echo, "next", seconds=30) == "next"


def test_a_child_killed_between_two_calls_costs_nothing(sandbox: Sandbox) -> None:
    os.kill(sandbox.call(pid, seconds=30), signal.SIGKILL)
    assert sandbox.call(echo, "next", seconds=30) == "next"


def test_a_call_that_is_interrupted_keeps_its_answer_from_the_next(sandbox: Sandbox) -> None:
    child = sandbox.call(pid, seconds=30)
    with interruptible(), pytest.raises(Interrupted):
        sandbox.call(interrupt_and_answer, "late", seconds=30)
    assert sandbox.call(echo, "next", seconds=30) == "next"
    assert not psutil.pid_exists(child)


def test_a_process_that_was_forked_has_a_child_of_its_own(sandbox: Sandbox) -> None:
    child = sandbox.call(pid, seconds=30)
    forked = os.fork()
    if forked == 0:  # nothing of pytest may run here
        try:
            other = sandbox.call(pid, seconds=30)
            sandbox.close()
            os._exit(0 if other != child else 1)
        finally:
            os._exit(2)
    assert os.waitstatus_to_exitcode(os.waitpid(forked, 0)[1]) == 0
    assert sandbox.call(pid, seconds=30) == child


def test_a_process_that_was_forked_may_close(sandbox: Sandbox) -> None:
    child = sandbox.call(pid, seconds=30)
    forked = os.fork()
    if forked == 0:
        try:
            sandbox.close()
        finally:
            os._exit(0)
    os.waitpid(forked, 0)
    assert sandbox.call(pid, seconds=30) == child


def test_threads_get_their_own_answers(sandbox: Sandbox) -> None:
    with ThreadPoolExecutor(4) as threads:
        assert list(threads.map(lambda value: sandbox.call(echo, value, seconds=60), range(40))) == list(range(40))


def test_a_call_does_not_pay_for_the_memory_of_the_one_before(
    sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module.telemetry, "count_retry", lambda _: pytest.fail("it had to be tried again"))
    for _ in range(3):
        with pytest.raises(PageUnreadableError, match=str(HALF)):
            sandbox.call(refuse_with_half_the_memory, seconds=60)


def test_a_result_that_needs_too_much_memory_on_its_way(sandbox: Sandbox) -> None:
    child = sandbox.call(pid, seconds=30)
    with pytest.raises(SandboxError, match="CRASHED: MemoryError"):
        sandbox.call(half_the_memory, seconds=60)
    assert sandbox.call(pid, seconds=30) == child


def subclasses(kind: type) -> Iterator[type]:
    for below in kind.__subclasses__():
        yield below
        yield from subclasses(below)


def test_every_error_of_ours_survives_the_way() -> None:
    kinds = [kind for kind in subclasses(MangahueError) if kind.__module__.startswith(("datasets", "jobs", "models"))]
    assert {SandboxError, DamagedManifestError, errors.ObjectNotFoundError} <= set(kinds)
    for kind in kinds:
        error = kind(Code.READ, "half a page") if issubclass(kind, CodedError) else kind("half a page")
        back = pickle.loads(pickle.dumps(error))
        assert (type(back), str(back), vars(back)) == (kind, str(error), vars(error))


def _answers(sandbox: Sandbox, mine: str) -> None:
    assert sandbox.call(echo, mine, seconds=60) == mine


def _answers_much(sandbox: Sandbox, mine: str) -> None:
    much = mine.encode() * 2**17
    assert sandbox.call(echo, much, seconds=60) == much


def _raises(function: Callable[..., Any], code: Code, match: str = "") -> Callable[[Sandbox, str], None]:
    def step(sandbox: Sandbox, mine: str) -> None:
        with pytest.raises(CodedError, match=match or mine) as caught:
            sandbox.call(function, mine, seconds=0.2 if code == Code.TIMEOUT else 60)
        assert caught.value.code == code

    return step


def _can_not_be_sent(sandbox: Sandbox, mine: str) -> None:
    with pytest.raises((pickle.PicklingError, AttributeError)):
        sandbox.call(echo, mine, lambda: None, seconds=60)


def _is_interrupted(sandbox: Sandbox, mine: str) -> None:
    with interruptible(), pytest.raises(Interrupted):
        sandbox.call(interrupt_and_answer, mine, seconds=60)


def _is_killed(sandbox: Sandbox, mine: str) -> None:
    os.kill(sandbox.call(pid, seconds=60), signal.SIGKILL)


STEPS: dict[str, Callable[[Sandbox, str], None]] = {
    "answers": _answers,
    "answers much": _answers_much,
    "refuses": _raises(refuse, Code.TRUNCATED),
    "fails": _raises(fail, Code.CRASHED),
    "fails oddly": _raises(refuse_oddly, Code.CRASHED),
    "answers what can't be sent": _raises(function_as_answer, Code.CRASHED, "lambda"),
    "answers twice": _raises(answer_unasked, Code.CRASHED, "another call"),
    "crashes": _raises(crash, Code.CRASHED, "signal 11"),
    "is late": _raises(wait_for_ever, Code.TIMEOUT, "not done"),
    "can't be sent": _can_not_be_sent,
    "is interrupted": _is_interrupted,
    "is killed after it": _is_killed,
}


@pytest.fixture(scope="module")
def shared() -> Iterator[Sandbox]:
    made = Sandbox()
    yield made
    made.close()


@settings(max_examples=5, derandomize=True)
@given(steps=st.lists(st.sampled_from(sorted(STEPS)), min_size=3, max_size=8))
def test_each_call_gets_its_own_answer(shared: Sandbox, steps: list[str]) -> None:
    for number, step in enumerate(steps):
        STEPS[step](shared, f"page {number} of {id(steps)}")
        _answers(shared, f"after {number} of {id(steps)}")
