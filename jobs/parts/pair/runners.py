"""Runs a function on many tasks: on this machine's cores, or on Ray."""

import pickle
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from types import TracebackType
from typing import Any, Protocol, Self, TypeVar

from jobs.parts.runtime.local import LocalPool
from jobs.parts.runtime.runner import RunnerName, choose_runner

T = TypeVar("T")
R = TypeVar("R")


class Runner(AbstractContextManager["Runner"], Protocol):
    """Runs tasks at once, on whatever it has. When the context ends, so does all that it has begun."""

    def map(self, function: Callable[[T], R], tasks: Sequence[T]) -> Iterator[R]:
        """Yield the result of each task, in their order.

        function: of a module; it raises nothing that is a task's own fault. Tasks and results are small, and pickled.
        """
        ...


def make_runner(asked: RunnerName) -> Runner:
    """The runner that --runner asks for."""
    return LocalPool() if choose_runner(asked, "cpu") == "local" else RayRunner()


class RayRunner:
    """Runs tasks as Ray Data does."""

    def __enter__(self) -> Self:
        from jobs.parts.runtime.cluster import connect

        connect()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        """Ray ends what it runs with the job."""

    def map(self, function: Callable[[T], R], tasks: Sequence[T]) -> Iterator[R]:
        """As `Runner.map`."""
        import ray.data

        if not tasks:
            return
        rows = ray.data.from_items([{"task": pickle.dumps(task)} for task in tasks], override_num_blocks=len(tasks))
        made = rows.map(_run, fn_kwargs={"function": function})
        context = ray.data.DataContext.get_current()
        context.execution_options.preserve_order = True
        for row in made.iter_rows():
            yield pickle.loads(row["result"])


def _run(row: dict[str, Any], *, function: Callable[[Any], Any]) -> dict[str, Any]:
    return {"result": pickle.dumps(function(pickle.loads(row["task"])))}
