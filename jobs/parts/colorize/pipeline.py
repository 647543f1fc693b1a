"""The colouring pipeline on Ray Data: chapters in, one manifest each out.

    open (CPU, light) -> prepare (CPU) -> predict (GPU or CPU actors that hold the network) -> postprocess (CPU)

A row is a chunk: at most 32 neighbouring members of one chapter, or 32 MB. Most chapters have one chunk, and
`postprocess` publishes them itself. The chunks of a longer chapter are written to chunk files. When the last one is
there, a task assembles the archive from them, with one chunk in memory at a time. So many workers share a volume of any
length, memory stays bounded, and a killed job keeps the chunks it has finished.
"""

import logging
from collections.abc import Iterator, Sequence
from typing import Any, get_args

import ray
import ray.data
import ray.exceptions
from ray.data.exceptions import ExecutionTimeoutError, SystemException

from datasets.errors import Code, CodedError
from jobs.parts.colorize.crash_guard import RemoteCrashGuard
from jobs.parts.colorize.outcomes import ChapterOutcomes
from jobs.parts.colorize.plan import JobState
from jobs.parts.colorize.predictor import PredictorActor
from jobs.parts.colorize.settings import JobSettings
from jobs.parts.colorize.stages import Stages
from jobs.parts.colorize.tasks import ChapterTask, Chunk, Row, from_row, to_row
from jobs.parts.ledger.ledger import Ledger
from jobs.parts.ledger.manifest import Manifest
from jobs.parts.ledger.revisions import key_of
from jobs.parts.runtime import telemetry
from jobs.parts.runtime.cluster import Cluster
from jobs.parts.runtime.progress import Meter
from jobs.parts.runtime.signals import Stopped, stoppable

log = logging.getLogger("mangahue")
_MOST_BLOCKS = 1000  # blocks of chapters to open: each costs the driver memory and time
_PREDICTOR_STARTS = 5  # how many predictors in a row may die before they have loaded the network


def color(state: JobState, settings: JobSettings, cluster: Cluster) -> None:
    """Colour and publish the chapters that `state` lists as tasks. `state` records each chapter's outcome.

    A job may be told to stop, or Ray may be unable to go on. The chapters that are not done by then have failed, and
    the next run does them.
    """
    ledger = Ledger(settings.out, settings.fingerprint, settings.pages.palette)
    try:
        with stoppable():
            for manifest in _color_chapters(state.tasks, settings, cluster, ledger):
                state.record(manifest)
        return
    except Stopped as stopped:
        state.stopped = f"the job was stopped by {stopped}"
    except (ray.exceptions.RayError, SystemException, ExecutionTimeoutError) as error:
        state.stopped = f"Ray could not go on: {type(error).__name__}: {error}"
    log.error("%s; what is not done is left to the next run", state.stopped)
    ray.shutdown()  # ends the workers: after this nothing more is published
    _take_up_what_is_done(state, ledger)


def _take_up_what_is_done(state: JobState, ledger: Ledger) -> None:
    ledger.recover()  # commits what was published without a manifest
    numbers = ledger.numbers()
    for task in state.tasks:
        if task.ref.rel in state.results:
            continue
        outcomes = ChapterOutcomes(task, ledger)
        done = outcomes.done_already() if numbers.get(key_of(task.ref.rel, 1), 0) > task.over else None
        state.record(done or outcomes.failed(CodedError(Code.STOPPED, state.stopped)))


def _color_chapters(
    tasks: Sequence[ChapterTask], settings: JobSettings, cluster: Cluster, ledger: Ledger
) -> Iterator[Manifest]:
    """The manifest of each chapter as soon as it is done, in no order."""
    stages = Stages(ledger, settings.pages, settings.image_size)
    assemble = ray.remote(num_cpus=cluster.cpu_share())(assemble_chapter)
    missing: dict[str, set[int]] = {}
    ended: set[str] = set()  # a chapter takes the outcome of its first chunk that has one
    assembling: list[Any] = []
    with Meter("colorize", len(tasks)) as meter:
        for row in _pipeline(tasks, settings, cluster, stages).iter_rows():
            chunk: Chunk = from_row(row)
            rel = chunk.task.ref.rel
            left = missing.setdefault(rel, set(range(chunk.of)))
            left.discard(chunk.number)
            if chunk.outcome is not None and rel not in ended:
                ended.add(rel)
                yield _count(meter, chunk.outcome)
            elif not left and rel not in ended:
                assembling.append(assemble.remote(stages, chunk.task, chunk.of))
            if not left:
                del missing[rel]
            finished, assembling = ray.wait(assembling, timeout=0) if assembling else ([], [])
            yield from (_count(meter, manifest) for manifest in ray.get(finished))
        while assembling:
            finished, assembling = ray.wait(assembling)
            yield from (_count(meter, manifest) for manifest in ray.get(finished))


def _count(meter: Meter, manifest: Manifest) -> Manifest:
    meter.advance(1, sum(page.index is not None for page in manifest.pages))
    telemetry.count_chapter(manifest.status)
    for action in get_args(telemetry.Action):
        telemetry.count_pages(action, manifest.count(action))
    telemetry.count_bytes("written", manifest.size or sum(page.size for page in manifest.pages))
    if manifest.status == "quarantined":
        telemetry.count_quarantine(manifest.code)
    return manifest


def _pipeline(
    tasks: Sequence[ChapterTask], settings: JobSettings, cluster: Cluster, stages: Stages
) -> "ray.data.Dataset":
    context = ray.data.DataContext.get_current()
    context.target_max_block_size = 1  # each chunk is its own block, and moves on as soon as it is made
    context.max_consecutive_actor_init_deaths = _PREDICTOR_STARTS
    on_gpu = cluster.on_gpu(settings.device)
    actors = settings.num_actors or cluster.actors(on_gpu, settings.gpus_per_actor)
    most = None if on_gpu and not settings.num_actors else actors  # None: GPUs that join later get actors too
    share = cluster.cpu_share()
    rows = ray.data.from_items([to_row(item) for item in tasks], override_num_blocks=min(len(tasks), _MOST_BLOCKS))
    # Ray fuses neighbouring stages that ask for the same resources, and then they no longer scale on their own. So
    # each stage asks for a little more or less than its neighbours.
    return (
        rows.flat_map(open_row, fn_kwargs={"stages": stages}, num_cpus=share / 4)
        .map(prepare_row, fn_kwargs={"stages": stages}, num_cpus=share)
        .map(
            PredictorActor,
            fn_constructor_kwargs={
                "settings": settings,
                "actors": actors,
                "on_gpu": on_gpu,
                "guard": RemoteCrashGuard(),
            },
            compute=ray.data.ActorPoolStrategy(min_size=1, max_size=most, max_tasks_in_flight_per_actor=2),
            num_cpus=share * 0.9,
            num_gpus=settings.gpus_per_actor if on_gpu else 0,
        )
        .map(postprocess_row, fn_kwargs={"stages": stages}, num_cpus=share)
    )


def assemble_chapter(stages: Stages, task: ChapterTask, of: int) -> Manifest:
    """The task that publishes a chapter from its `of` chunk files."""
    return stages.assemble(task, of)


def open_row(row: Row, *, stages: Stages) -> Iterator[Row]:
    """The stage `open`: a row with a chapter's task gives a row for each of its chunks."""
    chunks = stages.open(from_row(row))
    while True:
        with telemetry.timed("open"):  # the time that the caller takes between chunks is not counted
            chunk = next(chunks, None)
        if chunk is None:
            return
        yield to_row(chunk)


def prepare_row(row: Row, *, stages: Stages) -> Row:
    """The stage `prepare` on one chunk."""
    with telemetry.timed("prepare"):
        return to_row(stages.prepare(from_row(row)))


def postprocess_row(row: Row, *, stages: Stages) -> Row:
    """The stage `postprocess` on one chunk."""
    with telemetry.timed("finish"):
        return to_row(stages.postprocess(from_row(row)))
