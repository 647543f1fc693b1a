"""Colours the chapters of a job with a runner, and keeps count of what becomes of them."""

import logging
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from typing import Any, Protocol, get_args

from datasets.errors import Code, CodedError
from jobs.parts.colorize.live_report import LiveReport
from jobs.parts.colorize.outcomes import ChapterOutcomes
from jobs.parts.colorize.plan import JobState
from jobs.parts.colorize.settings import JobSettings
from jobs.parts.colorize.tasks import ChapterTask, ChunkDone
from jobs.parts.ledger.ledger import Ledger
from jobs.parts.ledger.manifest import Manifest
from jobs.parts.ledger.revisions import key_of
from jobs.parts.runtime import telemetry
from jobs.parts.runtime.progress import Meter
from jobs.parts.runtime.runner import choose_runner
from jobs.parts.runtime.signals import Stopped, stoppable

log = logging.getLogger("mangahue")


class RunnerError(Exception):
    """A runner can't go on. The message says why."""


class Runner(AbstractContextManager[Any], Protocol):
    """Takes chapters through the stages. When the context ends, so does all that it has begun: after that nothing more
    is published.
    """

    def chapters(self, tasks: Sequence[ChapterTask]) -> Iterator[Manifest | ChunkDone]:
        """The manifest of each chapter as soon as it is done, in no order; and before that the chunks of a long one.

        Raises RunnerError.
        """
        ...


def runner_for(settings: JobSettings, ledger: Ledger) -> Runner:
    """The runner that --runner asks for."""
    if choose_runner(settings.runner, settings.device, actors=settings.num_actors) == "local":
        from jobs.parts.colorize.local import LocalRunner

        return LocalRunner(settings, ledger)
    from jobs.parts.colorize.pipeline import RayRunner

    return RayRunner(settings, ledger)


def color(state: JobState, ledger: Ledger, settings: JobSettings) -> None:
    """Colour and publish the chapters that `state` lists as tasks. `state` records each chapter's outcome.

    A job may be told to stop, or its runner may be unable to go on. The chapters that are not done by then have failed,
    and the next run does them.
    """
    try:
        with stoppable():
            _adapt(settings)
        live, runner = LiveReport(state, ledger, settings.config), runner_for(settings, ledger)
        # Ray has put a handler of its own for SIGTERM by now, which would end the job in place of this one's.
        with stoppable(), Meter("colorize", len(state.tasks)) as meter, live, runner:
            for ended in runner.chapters(state.tasks):
                if isinstance(ended, ChunkDone):
                    live.add_chunk(ended)
                    continue
                _count(meter, ended)
                state.record(ended)
                live.add(ended)
        return
    except Stopped as stopped:
        state.stopped = f"the job was stopped by {stopped}"
    except RunnerError as error:
        state.stopped = str(error)
    log.error("%s; what is not done is left to the next run", state.stopped)
    _take_up_what_is_done(state, ledger)


def _adapt(settings: JobSettings) -> None:
    if settings.adapt:
        from jobs.parts.colorize.adaptation import adapt_once  # torch, which the driver is else spared

        adapt_once(settings)


def _take_up_what_is_done(state: JobState, ledger: Ledger) -> None:
    ledger.recover()  # commits what was published without a manifest
    numbers = ledger.numbers()
    for task in state.tasks:
        if task.ref.rel in state.results:
            continue
        outcomes = ChapterOutcomes(task, ledger)
        done = outcomes.done_already() if numbers.get(key_of(task.ref.rel, 1), 0) > task.over else None
        state.record(done or outcomes.failed(CodedError(Code.STOPPED, state.stopped)))


def _count(meter: Meter, manifest: Manifest) -> None:
    meter.advance(1, sum(page.index is not None for page in manifest.pages))
    telemetry.count_chapter(manifest.status)
    for action in get_args(telemetry.Action):
        telemetry.count_pages(action, manifest.count(action))
    telemetry.count_bytes("written", manifest.size or sum(page.size for page in manifest.pages))
    if manifest.status == "quarantined":
        telemetry.count_quarantine(manifest.code)
