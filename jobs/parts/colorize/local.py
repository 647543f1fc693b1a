"""The colouring pipeline on one machine, without Ray: the same stages in this process, the network in one thread.

The first chapters are opened, and their pages decoded, while the network is loaded.
"""

import logging
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from types import TracebackType
from typing import TYPE_CHECKING

from datasets.errors import MangahueError
from jobs.parts.colorize.run import RunnerError
from jobs.parts.colorize.settings import JobSettings
from jobs.parts.colorize.stages import Stages
from jobs.parts.colorize.tasks import ChapterTask, Chunk, ChunkDone, ChunkTally
from jobs.parts.ledger.ledger import Ledger
from jobs.parts.ledger.manifest import Manifest
from jobs.parts.runtime.local import LocalPool, result_of

if TYPE_CHECKING:
    from jobs.parts.colorize.predictor import Predictor

log = logging.getLogger("mangahue")


class LocalRunner:
    """A `run.Runner` that needs no Ray. Raises BadUsageError for --device cuda where there is no GPU.

    A network that ends its process, or hangs, ends the job: the next run goes on. On Ray such a page would be flagged.
    """

    def __init__(self, settings: JobSettings, ledger: Ledger) -> None:
        self._settings = settings
        self._on_gpu = _gpu_asked_for(settings.device)
        self._pool = LocalPool()
        self._stages = Stages.of(settings, ledger, self._pool.map)
        self._tally, self._lock = ChunkTally(), threading.Lock()
        self._predictor: Future[Predictor] = Future()

    def __enter__(self) -> None:
        self._pool.__enter__()
        self._predictor = self._pool.in_network_thread(self._loaded)

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self._pool.__exit__(kind, error, tb)

    def chapters(self, tasks: Sequence[ChapterTask]) -> Iterator[Manifest | ChunkDone]:
        """As of a Runner."""
        chunks = (chunk for task in tasks for chunk in self._stages.open(task))
        for ended in self._pool.run(self._color, chunks):
            if ended is not None:
                yield ended

    def _color(self, chunk: Chunk) -> Manifest | ChunkDone | None:
        """Take a chunk through the other stages. Returns the outcome of its chapter where that ends with it."""
        chunk = self._stages.prepare(chunk)
        if any(page.grays is not None for page in chunk.pages):
            chunk = self._predicted(chunk)
        chunk = self._stages.postprocess(chunk)
        with self._lock:
            ends = self._tally.ends_chapter(chunk)
        if not ends:
            return chunk.done
        return chunk.outcome or self._stages.assemble(chunk.task, chunk.of)

    def _predicted(self, chunk: Chunk) -> Chunk:
        try:
            predictor = result_of(self._predictor)
            return result_of(self._pool.in_network_thread(predictor, chunk, all_cores=not predictor.on_gpu))
        except MangahueError as error:  # of the model's folder
            raise RunnerError(str(error)) from error
        except Exception as error:
            log.error("%s: %r", chunk.task.ref.rel, error, exc_info=error, extra={"chapter": chunk.task.ref.rel})
            raise RunnerError(f"the network could not go on: {type(error).__name__}: {error}") from error

    def _loaded(self) -> "Predictor":
        # Imported in the thread of the network: torch takes seconds, in which chapters are opened.
        from jobs.parts.colorize.predictor import Predictor
        from jobs.parts.model.inference import gpu_here

        return Predictor.of(
            self._settings,
            threads=self._pool.cores,
            on_gpu=self._on_gpu or gpu_here(self._settings.device),
            check=self._pool.check,
        )


def _gpu_asked_for(device: str) -> bool:
    """Whether --device cuda is given, which is bad usage where PyTorch finds no GPU. It is not asked otherwise."""
    if device != "cuda":
        return False
    from jobs.parts.model.inference import gpu_here

    return gpu_here(device)
