"""Storage that refuses named keys, for tests: as a bucket does with one object, or a disk with one folder."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from unittest import mock

from datasets import storage_disk
from datasets.storage_disk import LocalStorage
from jobs.parts.runtime.sandbox import Sandbox


@dataclass
class Refusals:
    """What is refused from now on.

    by_call: the error for a method's name and a text that is in the object's path.
    met: the calls that were refused.
    """

    by_call: dict[tuple[str, str], Exception] = field(default_factory=dict)
    met: list[tuple[str, str]] = field(default_factory=list)

    def refuse(self, text: str, error: Exception, *methods: str) -> None:
        """Refuse these methods, by default all that touch an object, for paths that have `text` in them."""
        for method in methods or ("stat", "metadata", "read", "read_range", "open", "put", "delete"):
            self.by_call[method, text] = error

    def check(self, method: str, path: str) -> None:
        for (refused, text), error in self.by_call.items():
            if refused == method and text in path:
                self.met.append((method, path))
                raise error


@contextmanager
def refusing() -> Iterator[Refusals]:
    """Within the block all storage on disk refuses what it is told to. The sandbox's work is done in this process, so
    that it is refused too.
    """
    refusals = Refusals()

    def checked(method: str) -> Any:
        real = getattr(LocalStorage, method)

        def call(self: LocalStorage, key: str = "", *arguments: Any, **options: Any) -> Any:
            refusals.check(method, f"{self.uri}/{key}")
            return real(self, key, *arguments, **options)

        return call

    methods = ("list", "stat", "metadata", "read", "read_range", "open", "put", "delete")
    patched = type("Refusing", (LocalStorage,), {method: checked(method) for method in methods})
    with (
        mock.patch.object(storage_disk, "LocalStorage", patched),
        mock.patch.object(Sandbox, "call", lambda self, function, *arguments, seconds: function(*arguments)),
    ):
        yield refusals
