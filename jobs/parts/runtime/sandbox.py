"""A process that may be killed, for work on bytes that are not trusted.

Decoders and archive readers are large C programs: a page may crash one, or keep it busy for ever. So a child process
does such work, one call at a time. When it dies or is late, the call fails, a new child replaces it, and the worker
lives on. What a child runs must not need Ray or torch, because they are slow to load. Every such
call goes through a child, not only those that failed before: that would need a record that outlives the worker.

A call has a number, and its answer repeats it. A child is asked again only after it has answered the call before: after
anything else it is ended. So no call gets another's answer.
"""

import faulthandler
import itertools
import os
import pickle
import resource
import subprocess
import sys
import threading
import traceback
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from multiprocessing.connection import Connection, Pipe
from typing import Any, TypeVar

import cv2

from datasets.errors import Code, CodedError, MangahueError
from jobs.parts.runtime import ROOT, telemetry
from jobs.parts.runtime.signals import Stopped

T = TypeVar("T")
_MEMORY = 8 * 2**30  # a child's address space: its libraries take half a gigabyte, a page of 179 million pixels 3
_START = 180.0  # seconds a child may need to load its libraries: they may come from afar, to a node that is busy
_GRACE = 5.0  # seconds that a late child waits for its parent to end it; then it ends itself
_ONE_THREAD = {"OMP_NUM_THREADS": "1"}  # of NumPy's products: several children run at once
_READY = 0  # number of the answer that a child gives unasked, when it has loaded its libraries
_MESSAGE = 500  # letters kept of what a parser says: it may repeat what it read


class SandboxError(CodedError):
    """A call that the child did not complete. The code is CRASHED or TIMEOUT."""


class Sandbox:
    """One child process, started at the first call and again after each death.

    Threads wait for each other. A process that is forked from this one starts a child of its own.
    """

    def __init__(self) -> None:
        self._numbers = itertools.count(_READY + 1)
        self._child: _Child | None = None
        self._lock = threading.Lock()
        self._owner = os.getpid()
        self._stopped = False

    def call(self, function: Callable[..., T], *arguments: Any, seconds: float) -> T:
        """Run `function(*arguments)` in the child and return its result.

        function: of a module. It, the arguments and the result are pickled.
        seconds: the longest that the call may take, once the child is ready.
        Raises what the function raises if that is a MangahueError, and what pickle raises where the arguments can't be
        sent.
        Raises SandboxError with code TIMEOUT where the call is late, and CRASHED for any other error or where the child
        dies or can't be started. A call that ends with CRASHED is tried once more: its child may have been killed for
        another's sake.
        Raises Stopped where the sandbox is stopped.
        """
        call = pickle.dumps((function, arguments), pickle.HIGHEST_PROTOCOL)  # before anything is sent
        self._leave_to_owner()
        with self._lock:
            try:
                return self._call(call, seconds)
            except SandboxError as error:
                if error.code == Code.TIMEOUT and not self._stopped:
                    raise
                telemetry.count_retry("sandbox")
                return self._call(call, seconds)

    def close(self) -> None:
        """End the child."""
        self._leave_to_owner()
        with self._lock:
            self._end_child()

    def stop(self) -> None:
        """End the child for good, in the middle of its call."""
        self._stopped = True
        if (child := self._child) is not None:
            child.kill()
        self.close()

    def _call(self, call: bytes, seconds: float) -> Any:
        number = next(self._numbers)
        try:
            if self._child is None and not self._stopped:
                self._child = _started()
            if self._stopped or self._child is None:
                raise Stopped("the end of its job")
            done, value = self._child.answer(number, seconds, call)
        except BaseException:  # Stopped too: the answer would come when the next call waits for its own
            self._end_child()
            raise
        if not done:
            raise value
        return value

    def _end_child(self) -> None:
        child, self._child = self._child, None
        if child is not None:
            child.end()

    def _leave_to_owner(self) -> None:
        """Forget a child of the process that this one was forked from."""
        if self._owner != os.getpid():
            if self._child is not None:
                self._child.pipe.close()
            self._child, self._lock, self._owner = None, threading.Lock(), os.getpid()


class _Child:
    """A child process, and our end of the pipe to it."""

    def __init__(self) -> None:
        self.pipe, theirs = Pipe()
        command = [sys.executable, "-m", __name__, str(theirs.fileno())]
        with theirs:
            self._process = subprocess.Popen(
                command,
                cwd=ROOT,
                env=os.environ | _ONE_THREAD,
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
            )

    def answer(self, number: int, seconds: float, call: bytes | None = None) -> tuple[bool, Any]:
        """Send a call and wait for its answer: whether it was done, and the result or the error.

        number: of the call.
        call: function and arguments, pickled; None to wait for the answer alone.
        Raises SandboxError for anything else that happens. The child must be ended then.
        """
        late = threading.Event()

        def end() -> None:  # also ends a write that the child does not take, and a read of half an answer
            late.set()
            self._process.kill()

        timer = threading.Timer(seconds, end)
        timer.daemon = True
        timer.start()
        try:
            if call is not None:
                self.pipe.send((number, seconds))
                self.pipe.send_bytes(call)
            answer = self.pipe.recv_bytes()
        except (EOFError, OSError) as error:
            status = self._ended()
            if late.is_set():
                raise SandboxError(Code.TIMEOUT, f"not done in {seconds:g} s; see --page-seconds") from error
            how = f"signal {-status}" if status < 0 else f"exit {status}"
            raise SandboxError(Code.CRASHED, f"the decoder's process ended ({how})") from error
        finally:
            timer.cancel()
            timer.join()
        if late.is_set():
            raise SandboxError(Code.TIMEOUT, f"not done in {seconds:g} s; see --page-seconds")
        try:
            answered, done, value = pickle.loads(answer)
        except Exception as error:
            raise SandboxError(Code.CRASHED, f"the answer of the decoder's process: {_described(error)}") from error
        if answered != number:
            raise SandboxError(Code.CRASHED, f"the decoder's process answered another call ({answered}, not {number})")
        return done, value

    def _ended(self) -> int:
        """The exit status of a process that has closed its end of the pipe."""
        with suppress(subprocess.TimeoutExpired):
            return self._process.wait(_GRACE)
        self._process.kill()
        return self._process.wait()

    def kill(self) -> None:
        """Kill the process; who waits for its answer finds the pipe closed."""
        self._process.kill()

    def end(self) -> None:
        """Kill the process, and close the pipe."""
        self.kill()
        self._process.wait()
        self.pipe.close()


def _started() -> _Child:
    """A child that is ready for calls."""
    try:
        child = _Child()
    except OSError as error:
        raise SandboxError(Code.CRASHED, f"the decoder's process can't be started: {error}") from error
    try:
        child.answer(_READY, _START)
    except BaseException as error:
        child.end()
        if isinstance(error, SandboxError) and error.code == Code.TIMEOUT:
            message = f"the decoder's process was not ready after {_START:g} s; is its node too busy?"
            raise SandboxError(Code.CRASHED, message) from error
        raise
    return child


_of_thread = threading.local()


def sandbox() -> Sandbox:
    """The sandbox for the work of this thread: the one that it uses, else that of its process."""
    used: Sandbox | None = getattr(_of_thread, "sandbox", None)
    return used or _of_process()


@cache
def _of_process() -> Sandbox:
    return Sandbox()


def set_sandbox(used: Sandbox | None) -> None:
    """From now on `sandbox` gives this one in this thread; None: that of its process."""
    _of_thread.sandbox = used


def _serve(descriptor: int) -> None:
    """The child's loop: answer calls until the parent is gone."""
    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (_MEMORY if hard == resource.RLIM_INFINITY else min(_MEMORY, hard), hard))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    os.set_inheritable(descriptor, False)
    cv2.setNumThreads(1)  # several workers run at once: more threads would wait for one another
    pipe = Connection(descriptor)
    pipe.send((_READY, True, None))
    with suppress(EOFError):
        while True:
            number, seconds = pipe.recv()
            _serve_one(pipe, number, seconds)


def _serve_one(pipe: Connection, number: int, seconds: float) -> None:
    """Answer one call. On return nothing of it is in memory any more: the next page may need it all."""
    faulthandler.dump_traceback_later(seconds + _GRACE, exit=True)
    call = pipe.recv_bytes()  # an error here ends the child: the next call would be read from the middle of this one
    try:
        function, arguments = pickle.loads(call)
        del call
        answer = pickle.dumps((number, True, function(*arguments)), pickle.HIGHEST_PROTOCOL)
    except MangahueError as error:
        answer = _refusal(number, error)
    except Exception as error:  # on hostile bytes a parser may raise anything
        traceback.print_exc()
        answer = _refusal(number, SandboxError(Code.CRASHED, _described(error)))
    pipe.send_bytes(answer)
    faulthandler.cancel_dump_traceback_later()


def _refusal(number: int, error: MangahueError) -> bytes:
    """An answer that raises the error; CRASHED where the error does not survive pickling."""
    try:
        answer = pickle.dumps((number, False, error))
        pickle.loads(answer)
    except Exception:
        return pickle.dumps((number, False, SandboxError(Code.CRASHED, _described(error))))
    return answer


def _described(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"[:_MESSAGE]


if __name__ == "__main__":
    from jobs.parts.runtime.sandbox import _serve as serve

    serve(int(sys.argv[1]))
