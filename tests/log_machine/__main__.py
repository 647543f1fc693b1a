"""The long form: tries the log for many steps, or shows that the machine finds faults.

    python -m tests.log_machine --steps 20000 --store memory --seed 1
    python -m tests.log_machine --mutant stale-pages
    python -m tests.log_machine --mutant each

With a mutant, one mending is taken back, and the machine has to find the fault. Exit 0: what was to be shown was shown.
"""

from __future__ import annotations

import itertools
import logging
import os
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from contextlib import ExitStack, nullcontext
from pathlib import Path

import click
from hypothesis import HealthCheck, Phase, seed, settings
from hypothesis.stateful import run_state_machine_as_test

from tests.log_machine.machine import LogMachine
from tests.log_machine.mutants import MUTANTS
from tests.log_machine.stores import Bucket, Disk, Memory, Store
from tests.s3_server import SeaweedFS

_STEPS_EACH = 30  # of one example
_EXAMPLES = 25  # before the number of steps is looked at


@click.command(context_settings={"show_default": True})
@click.option("--steps", default=20_000, help="Steps to try at least.")
@click.option(
    "--store", type=click.Choice(["disk", "memory", "bucket"]), default="memory", help="Where the library is."
)
@click.option("--seed", "first_seed", default=1, help=f"The first seed; one more for each {_EXAMPLES} examples.")
@click.option("--mutant", type=click.Choice([*MUTANTS, "each"]), help="The mending to take back.")
def main(steps: int, store: str, first_seed: int, mutant: str | None) -> None:
    """Try the commit log."""
    logging.disable()
    with ExitStack() as stack:
        LogMachine.new_store = staticmethod(_stores(store, stack))  # type: ignore[assignment]
        mutants = list(MUTANTS) if mutant == "each" else [mutant]
        shown = [_is_shown(name, store, steps, first_seed) for name in mutants]
    sys.exit(not all(shown))


def _stores(kind: str, stack: ExitStack) -> Callable[[], Store]:
    """Makes a new store for each example."""
    numbers = itertools.count()
    if kind == "memory":
        return lambda: Memory(next(numbers))
    if kind == "disk":
        home = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="mangahue-machine-")))
        return lambda: Disk(home / str(next(numbers)))
    server = stack.enter_context(SeaweedFS())
    os.environ.update(server.environment())
    return lambda: Bucket(f"{server.uri}/{next(numbers)}")


def _is_shown(mutant: str | None, store: str, steps: int, first_seed: int) -> bool:
    """Whether the machine finds nothing, or finds the mutant."""
    begun, LogMachine.steps = time.monotonic(), 0
    LogMachine.tally.clear()
    with MUTANTS[mutant]() if mutant is not None else nullcontext():
        found = _found(steps, first_seed)
    seconds = time.monotonic() - begun
    click.echo(f"{store}, {mutant or 'no mutant'}: {LogMachine.steps} steps, {seconds:.0f} s, {dict(LogMachine.tally)}")
    click.echo(f"found: {found if mutant is None else found.splitlines()[0]}" if found else "found nothing")
    return bool(found) == (mutant is not None)


def _found(steps: int, first_seed: int) -> str:
    """What the machine found; "" for nothing."""
    for number in itertools.count(first_seed):
        if LogMachine.steps >= steps:
            return ""
        chosen = settings(
            max_examples=_EXAMPLES, stateful_step_count=_STEPS_EACH, deadline=None, database=None,
            phases=[Phase.generate], suppress_health_check=list(HealthCheck), print_blob=False,
        )  # fmt: skip
        try:
            run_state_machine_as_test(seed(number)(LogMachine), settings=chosen)
        except Exception as error:
            details = "".join(traceback.format_exception(error, limit=-4))
            return f"seed {number}, step {LogMachine.steps}: {type(error).__name__}: {error}\n{details}"
    return ""


if __name__ == "__main__":
    main()
