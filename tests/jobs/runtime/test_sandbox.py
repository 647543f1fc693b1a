"""A child process that crashes, hangs or eats memory costs the call, not the worker."""

import ctypes
import os
import time
from pathlib import Path

import psutil
import pytest

from datasets.errors import Code, PageUnreadableError
from jobs.parts.runtime.sandbox import Sandbox, SandboxError


def twice(value: int) -> int:
    return 2 * value


def refuse() -> None:
    raise PageUnreadableError(Code.TRUNCATED, "half a page")


def crash() -> None:
    ctypes.string_at(0)


def crash_once(marker: str) -> str:
    if not Path(marker).exists():
        Path(marker).touch()
        os.abort()
    return "alive"


def hang(pid_file: str) -> None:
    Path(pid_file).write_text(str(os.getpid()))
    time.sleep(1000)


def eat() -> int:
    return len(bytes(2**40))


@pytest.fixture
def sandbox() -> Sandbox:
    return Sandbox()


def test_results_and_errors_come_back(sandbox: Sandbox) -> None:
    assert sandbox.call(twice, 21, seconds=30) == 42
    with pytest.raises(PageUnreadableError, match="half a page"):
        sandbox.call(refuse, seconds=30)
    with pytest.raises(SandboxError, match="CRASHED: MemoryError"):
        sandbox.call(eat, seconds=30)
    assert sandbox.call(twice, 4, seconds=30) == 8
    sandbox.close()


def test_a_crash_is_an_error_and_the_next_call_works(sandbox: Sandbox) -> None:
    with pytest.raises(SandboxError, match="signal 11") as caught:
        sandbox.call(crash, seconds=30)
    assert caught.value.code == Code.CRASHED
    assert sandbox.call(twice, 1, seconds=30) == 2
    sandbox.close()


def test_a_child_that_was_killed_once_is_tried_again(sandbox: Sandbox, tmp_path: Path) -> None:
    assert sandbox.call(crash_once, str(tmp_path / "marker"), seconds=30) == "alive"
    sandbox.close()


def test_a_late_child_is_ended(sandbox: Sandbox, tmp_path: Path) -> None:
    sandbox.call(twice, 1, seconds=30)  # its libraries are loaded
    with pytest.raises(SandboxError) as caught:
        sandbox.call(hang, str(tmp_path / "pid"), seconds=1)
    assert caught.value.code == Code.TIMEOUT
    assert not psutil.pid_exists(int((tmp_path / "pid").read_text()))
    assert sandbox.call(twice, 3, seconds=30) == 6
    sandbox.close()
