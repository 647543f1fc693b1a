"""Colours one page again, at once, with the job's own model and settings: for a look before the job does it."""

import asyncio
import logging
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import Future
from copy import copy
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, TypeVar

from datasets.chapters import Member
from datasets.errors import BadUsageError, MangahueError
from datasets.limits import SLOW
from imaging.color import F32, U8
from imaging.hints import Hint
from imaging.palette import Palette
from jobs.parts.colorize.marked import MarkedPages
from jobs.parts.colorize.previews import Wanted
from jobs.parts.colorize.settings import JobSettings
from jobs.parts.colorize.stages import Stages
from jobs.parts.colorize.tasks import ChapterTask, Chunk, PageTask
from jobs.parts.desk.catalogue import Catalogue
from jobs.parts.desk.marking import Marking
from jobs.parts.desk.pictures import Pictures
from jobs.parts.runtime.local import LocalPool
from jobs.parts.runtime.sandbox import sandbox
from jobs.parts.source import reader
from jobs.parts.source.policy import Policy

if TYPE_CHECKING:
    from jobs.parts.colorize.predictor import Predictor

log = logging.getLogger("mangahue")
V = TypeVar("V")
_KEPT = 12  # pages whose bytes and predictions are kept, so that the next change of one is quick


@dataclass(frozen=True)
class Ready:
    """What colours a page here.

    settings: of the job.
    why_not: why this machine can't make the pages that the job makes; "" where it can.
    """

    settings: JobSettings | None
    predictor: "Predictor | None"
    why_not: str = ""

    @property
    def takes_hints(self) -> bool:
        """Whether its model follows hints."""
        return self.settings is not None and self.settings.follows


class Recolorer:
    """Colours pages of a catalogue in this process. The model is loaded in the background, at once.

    pool: has the threads and sandboxes for it.
    marking: which pages are marked as references now.
    """

    def __init__(self, catalogue: Catalogue, pictures: Pictures, pool: LocalPool, marking: Marking) -> None:
        self._catalogue, self._pictures, self._pool, self._marking = catalogue, pictures, pool, marking
        self._seen: OrderedDict[tuple[str, int], Chunk] = OrderedDict()
        self._predicted: OrderedDict[Any, Chunk] = OrderedDict()
        self._ready: Future[Ready] = pool.in_network_thread(self._load)

    async def ready(self) -> Ready:
        """What colours a page here, once it is loaded. Never raises."""
        return await asyncio.wrap_future(self._ready)

    async def color(self, chapter: str, number: int, hints: tuple[Hint, ...], palette: Palette | None) -> bytes:
        """A page as the job would publish it with these hints and this palette, encoded.

        Raises BadUsageError where this machine can't, and MangahueError where the page can't be coloured.
        """
        predicted, settings = await self._prediction(chapter, number, hints)
        return await self._step(_encode, predicted, self._stages(settings, palette))

    async def look(self, chapter: str, number: int) -> None:
        """Look at a page, so that its next hints are quick. Raises as `color`."""
        await self._prediction(chapter, number, ())

    async def _prediction(self, chapter: str, number: int, hints: tuple[Hint, ...]) -> tuple[Chunk, JobSettings]:
        settings, predictor = await self._able()
        key = (chapter, number)
        seen = self._seen.get(key)
        if seen is None:
            seen = _keep(self._seen, key, await self._step(self._look, key, self._stages(settings), settings.policy))
        marked = await asyncio.to_thread(self._marking.marked)
        marks = marked.of(seen.task.ref.rel)
        given = (key, hints, marks.digest())
        predicted = self._predicted.get(given)
        if predicted is None:
            plain = Chunk(replace(seen.task, marks=marks), pages=seen.pages, examples=seen.examples)
            work = self._pool.in_network_thread(_predict, predictor, plain, hints, marked, all_cores=True)
            predicted = _keep(self._predicted, given, await asyncio.wrap_future(work))
        return predicted, settings

    def _stages(self, settings: JobSettings, palette: Palette | None = None) -> Stages:
        pages = settings.pages.with_palette(palette)
        return Stages(self._catalogue.ledger, pages, settings.image_size, follows=settings.follows)

    async def describe(self, gray: U8) -> tuple[F32, float]:
        """The description of ink (S, S), and the network's least likeness. Raises BadUsageError where this machine
        can't say.
        """
        _, predictor = await self._able()
        return await asyncio.wrap_future(self._pool.in_network_thread(predictor.describe, gray, all_cores=True))

    async def _able(self) -> tuple[JobSettings, "Predictor"]:
        ready = await self.ready()
        if ready.settings is None or ready.predictor is None:
            raise BadUsageError(ready.why_not)
        return ready.settings, ready.predictor

    def forget(self) -> None:
        """Forget pages that were read: the source may have changed."""
        self._seen.clear()
        self._predicted.clear()

    async def _step(self, function: Callable[..., V], *arguments: Any) -> V:
        return await asyncio.wrap_future(self._pool.in_step_thread(function, *arguments))

    def _look(self, key: tuple[str, int], stages: Stages, policy: Policy) -> Chunk:
        """The page, examined, as a chunk of its own."""
        record, ref = self._catalogue.page(*key), self._catalogue.source_of(key[0])
        data = self._pictures.source(*key)
        page = PageTask(Member(record.name, len(data), record.index, original=record.name), "", record.output, data)
        task = ChapterTask(ref, self._catalogue.chapter(key[0]).output, 0, policy)
        stages.look(page, task)
        if page.grays is None:
            raise BadUsageError(page.message or "the page is not coloured")
        directory = sandbox().call(reader.look_inside, ref, policy, seconds=SLOW * policy.limits.seconds)
        return Chunk(task, pages=[page], examples=stages.examples(task, directory))

    def _load(self) -> Ready:
        try:
            # Imported in the thread of the network: torch takes seconds, in which the page is there already.
            from jobs.parts.colorize.predictor import Predictor
            from jobs.parts.model.inference import gpu_here

            # Hints are given with each page: files that the desk has copied need not be there any more.
            settings = JobSettings.of(replace(self._catalogue.config, hints="", cast=""))
            if settings.fingerprint != self._catalogue.job.get("fingerprint"):
                why = f"the model {settings.model} or the settings are not those that {settings.out} was made with"
                return Ready(settings, None, f"{why}; run colorize.py with --replace, or take them back")
            on_gpu = gpu_here(settings.device)
            predictor = Predictor.of(
                settings, threads=self._pool.cores, on_gpu=on_gpu, remember=_KEPT, check=self._pool.check
            )
            return Ready(settings, predictor)
        except MangahueError as error:
            log.warning("pages can't be coloured here: %s", error)
            return Ready(None, None, str(error))


def _keep(kept: "OrderedDict[Any, V]", key: Any, value: V) -> V:
    kept[key] = value
    while len(kept) > _KEPT:
        kept.popitem(last=False)
    return value


def _predict(predictor: "Predictor", seen: Chunk, hints: tuple[Hint, ...], marked: MarkedPages) -> Chunk:
    """A page with its prediction."""
    predictor.follow(marked)
    page = copy(seen.pages[0])
    page.hints = hints
    return predictor(Chunk(seen.task, pages=[page], examples=seen.examples))


def _encode(predicted: Chunk, stages: Stages) -> bytes:
    page = copy(predicted.pages[0])
    data, _ = stages.encode(page, predicted.task, Wanted())
    if page.action != "coloured":
        raise BadUsageError(f"{page.code}: {page.message}")
    return data
