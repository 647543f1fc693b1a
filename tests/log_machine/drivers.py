"""Runs of a job that share one process and are moved on call by call.

A driver is a greenlet. It stops before each call of the storage, and the machine says what becomes of the call.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum
from typing import Any, TypeVar

from greenlet import getcurrent, greenlet

from datasets.errors import AccessDeniedError, MangahueError, UnreachableError
from jobs.parts.source import reader

Made = TypeVar("Made")


class Order(Enum):
    """What becomes of a driver's next call of the storage.

    GO: it is carried out.
    KILL: the driver dies before it.
    DIE: the driver dies after it.
    REFUSE: it is refused; the driver goes on.
    SILENCE: storage does not answer, and the call is not carried out.
    LOSE: it is carried out, and the answer is lost. A call that only reads is as with SILENCE.
    """

    GO = "go"
    KILL = "kill"
    DIE = "die"
    REFUSE = "refuse"
    SILENCE = "silence"
    LOSE = "lose"


class Killed(BaseException):
    """The driver's process is gone."""


class Driver(greenlet):
    """One run of a job.

    result: what the body returned; None where it did not end, or ended with an error of ours.
    waits_at: the address of its next call.
    is_watched: the machine looks at what the driver has just done; its own calls are no driver's.
    """

    def __init__(self, body: Callable[[Driver], Any]) -> None:
        super().__init__(self._live)
        self._body, self._gone = body, False
        self._open: dict[Any, Any] = {}  # the chapters that its sandbox holds open
        self.result: Any = None
        self.error: MangahueError | None = None
        self.waits_at = ""
        self.is_watched = False
        self._step(None)

    def advance(self, order: Order = Order.GO) -> None:
        """Carry out the call that the driver waits at, and let it run to its next."""
        self._step(order)

    def call(self, method: str, address: str, carry_out: Callable[[], Made]) -> Made:
        """A call of the storage, made by the driver itself."""
        if self._gone:
            raise Killed
        self.waits_at = address
        order = self.parent.switch()
        if order is Order.KILL:
            self._gone = True
            raise Killed
        if order is Order.REFUSE:
            raise AccessDeniedError(f"{method}: refused (403), says the test")
        if order is Order.SILENCE or (order is Order.LOSE and method not in ("put", "delete")):
            raise UnreachableError(f"{method}: no answer (503), says the test")
        made = carry_out()
        if order is Order.DIE:
            self._gone = True
            raise Killed
        if order is Order.LOSE:
            raise UnreachableError(f"{method}: its answer was lost, says the test")
        return made

    def _step(self, order: Order | None) -> None:
        before, reader._open = reader._open, self._open
        try:
            self.switch(order)
        finally:
            reader._open = before

    def _live(self, _: None) -> None:
        try:
            self.result = self._body(self)
        except Killed:
            pass
        except MangahueError as error:
            self.error = error


def through_driver(method: str, address: str, carry_out: Callable[[], Made]) -> Made:
    """A call of the storage: through the driver that makes it, or at once where the machine itself looks."""
    caller = getcurrent()
    if not isinstance(caller, Driver) or caller.is_watched:
        return carry_out()
    return caller.call(method, address, carry_out)
