"""The colouring pipeline on Ray Data: chapters in, one manifest each out.

    open (CPU, light) -> prepare (CPU) -> predict (GPU or CPU actors that hold the network) -> postprocess (CPU)

A row is a chunk: at most 32 neighbouring members of one chapter, or 32 MB. Most chapters have one chunk, and
`postprocess` publishes them itself. The chunks of a longer chapter are written to chunk files. When the last one is
there, a task assembles the archive from them, with one chunk in memory at a time. So many workers share a volume of any
length, memory stays bounded, and a killed job keeps the chunks it has finished.
"""

from collections.abc import Iterator, Sequence
from types import TracebackType
from typing import Any

import ray
import ray.data
import ray.exceptions
from ray.data.exceptions import ExecutionTimeoutError, SystemException

from jobs.parts.colorize.crash_guard import CrashGuard
from jobs.parts.colorize.run import RunnerError
from jobs.parts.colorize.settings import JobSettings
from jobs.parts.colorize.stages import Stages
from jobs.parts.colorize.tasks import ChapterTask, Chunk, ChunkDone, ChunkTally, Row, from_row, to_row
from jobs.parts.ledger.ledger import Ledger
from jobs.parts.ledger.manifest import Manifest
from jobs.parts.runtime import telemetry
from jobs.parts.runtime.cluster import connect, threads_each

_MOST_BLOCKS = 1000  # blocks of chapters to open: each costs the driver memory and time
_PREDICTOR_STARTS = 5  # how many predictors in a row may die before they have loaded the network


class RayRunner:
    """A `run.Runner` on the Ray cluster that the job runs in, or on a local one."""

    def __init__(self, settings: JobSettings, ledger: Ledger) -> None:
        self._settings, self._cluster = settings, connect()
        self._stages = Stages.of(settings, ledger)

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        if kind is not None:
            ray.shutdown()  # ends the workers

    def chapters(self, tasks: Sequence[ChapterTask]) -> Iterator[Manifest | ChunkDone]:
        """As of a Runner."""
        try:
            yield from self._chapters(tasks)
        except (ray.exceptions.RayError, SystemException, ExecutionTimeoutError) as error:
            raise RunnerError(f"Ray could not go on: {type(error).__name__}: {error}") from error

    def _chapters(self, tasks: Sequence[ChapterTask]) -> Iterator[Manifest | ChunkDone]:
        assemble = ray.remote(num_cpus=self._cluster.cpu_share())(assemble_chapter)
        tally = ChunkTally()
        assembling: list[Any] = []
        for row in self._pipeline(tasks).iter_rows():
            chunk: Chunk = from_row(row)
            if tally.ends_chapter(chunk):
                if chunk.outcome is not None:
                    yield chunk.outcome
                else:
                    assembling.append(assemble.remote(self._stages, chunk.task, chunk.of))
            elif chunk.done is not None:
                yield chunk.done
            finished, assembling = ray.wait(assembling, timeout=0) if assembling else ([], [])
            yield from ray.get(finished)
        while assembling:
            finished, assembling = ray.wait(assembling)
            yield from ray.get(finished)

    def _pipeline(self, tasks: Sequence[ChapterTask]) -> "ray.data.Dataset":
        settings, cluster, stages = self._settings, self._cluster, self._stages
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


class PredictorActor:
    """A predictor on Ray. It loads the model once, then works through row after row.

    actors: how many such actors share the cluster's CPUs.
    on_gpu: whether each has a GPU, or a part of one.
    """

    def __init__(self, *, settings: JobSettings, actors: int, on_gpu: bool, guard: CrashGuard) -> None:
        from jobs.parts.colorize.predictor import Predictor  # torch, which the driver and the other stages are spared

        self._predictor = Predictor.of(settings, threads=threads_each(actors), on_gpu=on_gpu, guard=guard)

    def __call__(self, row: Row) -> Row:
        with telemetry.timed("paint"):
            return to_row(self._predictor(from_row(row)))


class RemoteCrashGuard(CrashGuard):
    """A predictor's access to the counts of its job, which a Ray actor holds. Picklable."""

    def __init__(self) -> None:
        # The actor may die with its node: Ray then starts another, with no counts.
        actor = ray.remote(num_cpus=0, max_restarts=-1, max_task_retries=-1)(CrashGuard)
        self._actor: Any = actor.remote()

    def begin(self, key: str) -> int:
        """As CrashGuard.begin."""
        return int(ray.get(self._actor.begin.remote(key)))

    def end(self, key: str) -> None:
        """As CrashGuard.end."""
        ray.get(self._actor.end.remote(key))


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
