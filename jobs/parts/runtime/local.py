"""Work on the cores of one machine, without Ray: threads, each with a sandbox or for a network.

Python's threads suffice, because the work itself is done elsewhere: by the sandboxes, by the network, by storage.
"""

import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor
from contextlib import contextmanager, nullcontext
from itertools import cycle
from queue import SimpleQueue
from types import TracebackType
from typing import Any, Self, TypeVar

from jobs.parts.runtime.cores import available_cores
from jobs.parts.runtime.sandbox import Sandbox, set_sandbox
from jobs.parts.runtime.signals import Stopped

T = TypeVar("T")
R = TypeVar("R")
_END = "the end of its job"


class LocalPool:
    """The cores of this machine. Use as a context.

    cores: as many as this process may use.

    It has three kinds of threads. One for each core runs steps, such as the decoding of a page. A few run what is made
    of steps, such as a chunk of a chapter: while one waits for the network, others keep the cores busy. One runs the
    network. Every thread but the last has its sandbox; there are as many sandboxes as cores.
    """

    def __init__(self, cores: int | None = None) -> None:
        self.cores = cores or available_cores()
        self._ended = False
        self._most = 2 + self.cores // 4  # runs under way
        self._sandboxes = [Sandbox() for _ in range(self.cores)]
        self._steps = self._threads("step", self.cores)
        self._runs = self._threads("run", self._most)
        self._network = ThreadPoolExecutor(1, "network")
        self._all_threads = (self._runs, self._steps, self._network)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        try:
            if kind is None:
                for threads in self._all_threads:
                    threads.shutdown()
            self._end()
        except Stopped:  # by a signal, just now: no thread may go on after this
            self._end()
            raise

    def _end(self) -> None:
        self._ended = True
        for threads in self._all_threads:
            threads.shutdown(wait=False, cancel_futures=True)
        for sandbox in self._sandboxes:
            sandbox.stop()  # its call under way ends, and that ends the thread
        for threads in self._all_threads:
            threads.shutdown()

    def map(self, function: Callable[[T], R], items: Iterable[T]) -> Iterator[R]:
        """Run a step for each item, all at once. Yields the results in the order of the items."""
        for future in [self._submit(self._steps, function, item) for item in items]:
            yield result_of(future)

    def run(self, function: Callable[[T], R], items: Iterable[T]) -> Iterator[R]:
        """Run what is made of steps for each item. Yields each result as soon as it is there, in no order.

        items: taken one after the other, by the caller's thread, as threads become free. That thread has a sandbox
        meanwhile.
        """
        ended: SimpleQueue[Future[R]] = SimpleQueue()  # a signal that breaks into its `get` leaves no lock behind
        under_way = 0
        set_sandbox(self._sandboxes[0])
        try:
            for item in items:
                self._submit(self._runs, function, item).add_done_callback(ended.put)
                under_way += 1
                if under_way > self._most:
                    under_way -= 1
                    yield result_of(ended.get())
            for _ in range(under_way):
                yield result_of(ended.get())
        finally:
            set_sandbox(None)

    def in_step_thread(self, function: Callable[..., R], *arguments: Any) -> "Future[R]":
        """Run one step, which has a sandbox."""
        return self._submit(self._steps, function, *arguments)

    def in_network_thread(self, function: Callable[..., R], *arguments: Any, all_cores: bool = False) -> "Future[R]":
        """Run a function in the one thread that has the network.

        all_cores: while it runs no step does: a network that runs on every core would wait for those that are shared.
        """

        def run() -> R:
            with self._all_cores() if all_cores else nullcontext():
                return function(*arguments)

        return self._submit(self._network, run)

    def check(self) -> None:
        """Raises Stopped where the pool is ended: for long work that no sandbox does."""
        if self._ended:
            raise Stopped(_END)

    @contextmanager
    def _all_cores(self) -> Iterator[None]:
        """While the block runs no step does."""
        waiting, over = threading.Semaphore(0), threading.Event()

        def hold() -> None:
            waiting.release()
            over.wait()

        try:
            for _ in range(self.cores):
                future = self._submit(self._steps, hold)
                future.add_done_callback(lambda future: waiting.release() if future.cancelled() else None)
            for _ in range(self.cores):
                waiting.acquire()
            yield
        finally:
            over.set()

    def _submit(self, threads: ThreadPoolExecutor, function: Callable[..., R], *arguments: Any) -> "Future[R]":
        """Raises Stopped where the pool is ended."""
        try:
            return threads.submit(function, *arguments)
        except RuntimeError:  # it is shut down, or the system gives it no thread
            self.check()
            raise

    def _threads(self, name: str, count: int) -> ThreadPoolExecutor:
        """Threads that have the sandboxes in turn."""
        sandboxes = cycle(self._sandboxes)
        return ThreadPoolExecutor(count, name, initializer=lambda: set_sandbox(next(sandboxes)))


def result_of(future: "Future[R]") -> R:
    """What a thread has returned. Raises Stopped where the pool was ended before."""
    try:
        return future.result()
    except CancelledError:
        raise Stopped(_END) from None
