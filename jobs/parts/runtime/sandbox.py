"""A process that may be killed, for work on bytes that are not trusted.

Decoders and archive readers are large C programs: a page may crash one, or keep it busy for ever. So a child process
does such work, one call at a time. When it dies or is late, the call fails, a new child replaces it, and the worker
lives on. What a child runs must not need Ray or torch, because they are slow to load. Every such
call goes through a child, not only those that failed before: that would need a record that outlives the worker.
"""

import faulthandler
import resource
import subprocess
import sys
import traceback
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from multiprocessing.connection import Connection, Pipe
from typing import Any, TypeVar

import cv2

from datasets.errors import Code, CodedError, MangahueError
from jobs.parts.runtime import ROOT, telemetry

T = TypeVar("T")
_MEMORY = 8 * 2**30  # a child's address space: its libraries take half a gigabyte, a page of 179 million pixels 3
_START = 60.0  # seconds a child may need to load its libraries
_GRACE = 5.0  # seconds that a late child waits for its parent to end it; then it ends itself


class SandboxError(CodedError):
    """A call that the child did not complete. The code is CRASHED or TIMEOUT."""


class Sandbox:
    """One child process, started at the first call and again after each death. Not for several threads at once."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None
        self._pipe: Connection | None = None

    def call(self, function: Callable[..., T], *arguments: Any, seconds: float) -> T:
        """Run `function(*arguments)` in the child and return its result.

        function: of a module. It, the arguments and the result are pickled.
        seconds: the longest that the call may take.
        Raises what the function raises if that is a MangahueError.
        Raises SandboxError with code TIMEOUT where the call is late, and CRASHED for any other error or where the child
        dies. A call that ends with CRASHED is tried once more: its child may have been killed for another's sake.
        """
        try:
            return self._call(function, arguments, seconds)
        except SandboxError as error:
            if error.code == Code.TIMEOUT:
                raise
            telemetry.count_retry("sandbox")
            return self._call(function, arguments, seconds)

    def close(self) -> None:
        """End the child."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
        if self._pipe is not None:
            self._pipe.close()
        self._process = self._pipe = None

    def _call(self, function: Callable[..., T], arguments: tuple[Any, ...], seconds: float) -> T:
        if self._pipe is None:
            self._pipe = self._start()
        try:
            self._pipe.send((function, arguments, seconds))
            if not self._pipe.poll(seconds):
                self.close()
                raise SandboxError(Code.TIMEOUT, f"not done in {seconds:g} s; see --page-seconds")
            done, value = self._pipe.recv()
        except (EOFError, OSError) as error:
            status = self._process.wait() if self._process is not None else 0
            self.close()
            how = f"signal {-status}" if status < 0 else f"exit {status}"
            raise SandboxError(Code.CRASHED, f"the decoder's process ended ({how})") from error
        if not done:
            raise value
        return value

    def _start(self) -> Connection:
        ours, theirs = Pipe()
        command = [sys.executable, "-m", __name__, str(theirs.fileno())]
        self._process = subprocess.Popen(
            command, cwd=ROOT, pass_fds=[theirs.fileno()], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL
        )
        theirs.close()
        with suppress(EOFError, OSError):
            if ours.poll(_START):
                ours.recv()  # it is ready
        return ours


@cache
def sandbox() -> Sandbox:
    """The sandbox of this worker process, for all its tasks."""
    return Sandbox()


def _serve(descriptor: int) -> None:
    """The child's loop: answer calls until the parent is gone."""
    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (_MEMORY if hard == resource.RLIM_INFINITY else min(_MEMORY, hard), hard))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    cv2.setNumThreads(1)  # several workers run at once: more threads would wait for one another
    pipe = Connection(descriptor)
    pipe.send("ready")
    while True:
        try:
            function, arguments, seconds = pipe.recv()
        except EOFError:
            return
        faulthandler.dump_traceback_later(seconds + _GRACE, exit=True)
        try:
            answer = (True, function(*arguments))
        except MangahueError as error:
            answer = (False, error)
        except Exception as error:  # on hostile bytes a parser may raise anything
            traceback.print_exc()
            answer = (False, SandboxError(Code.CRASHED, f"{type(error).__name__}: {error}"))
        faulthandler.cancel_dump_traceback_later()
        pipe.send(answer)


if __name__ == "__main__":
    from jobs.parts.runtime.sandbox import _serve as serve

    serve(int(sys.argv[1]))
