"""One run of the colouring job in this process: the real plan, stages, ledger and report.

The network is a stand-in that paints pages in one colour. Pages are worked on in this process, and what was worked out
for a page once is remembered: the log is what is under test.
"""

from __future__ import annotations

import pickle
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from typing import Any, Literal
from unittest import mock

import numpy as np

from datasets.limits import Limits
from imaging.gate import Thresholds
from imaging.palette import Color, Palette
from imaging.postprocess import PostprocessSettings
from jobs.parts.colorize import page_steps, tasks
from jobs.parts.colorize.conclude import conclude
from jobs.parts.colorize.hints import parse_hints
from jobs.parts.colorize.marked import MarkedPages
from jobs.parts.colorize.page_settings import PageSettings
from jobs.parts.colorize.plan import JobState, plan
from jobs.parts.colorize.settings import JobSettings
from jobs.parts.colorize.stages import Stages
from jobs.parts.colorize.tasks import Chunk
from jobs.parts.ledger import ledger as ledger_module
from jobs.parts.ledger.ledger import Ledger
from jobs.parts.model.backends.choice import Backend
from jobs.parts.runtime.outcome import Exit
from jobs.parts.runtime.sandbox import Sandbox
from jobs.parts.source.policy import Policy
from tests.jobs.colorize.chapters import color_chapter
from tests.log_machine.drivers import Driver

SIZE = 32  # side of the square the network sees
RED, BLUE = (50.0, 30.0), (10.0, -50.0)
PALETTE = Palette((Color("red", RED, (60.0, *RED, 1.0), 0.5), Color("blue", BLUE, (60.0, *BLUE, 1.0), 0.5)))
_LENIENT = Thresholds(dull=0, drab=0, one_hue=1, one_hue_alone=1)
_HINTS = b"page,x,y,radius,colour\nch01.cbz/1.png,20,20,5,#2040e0\n"
_MOST_REMEMBERED = 3000
_REMEMBERED: dict[bytes, Any] = {}


@dataclass(frozen=True)
class Options:
    """What somebody types. The first value of each is the usual one.

    few_pixels: --max-pixels is so low that no page is read.
    """

    source: Literal["in", "in2"] = "in"
    weights: Literal["a", "b"] = "a"
    image_format: Literal["png", "jpeg"] = "png"
    palette: Literal["off", "as it is", "edited"] = "off"
    keep_format: bool = False
    strict: bool = False
    few_pixels: bool = False
    hints: bool = False
    replace: bool = False

    def settings(self, home: str, out: str) -> JobSettings:
        palettes = {"off": None, "as it is": PALETTE, "edited": PALETTE.edited("blue", (-30.0, -30.0))}
        post = PostprocessSettings(thresholds=_LENIENT, palette=palettes[self.palette])
        card = {"weights_sha256": self.weights * 64, "variant": "exemplar", "config": {"image_size": SIZE}}
        limits = Limits(pixels=100) if self.few_pixels else Limits()
        return JobSettings(
            model="", card=card, out=f"{home}/{out}", pages=PageSettings(self.image_format, postprocess=post),
            batch_size=1, num_actors=1, gpus_per_actor=1.0, device="cpu", backend=Backend(), runner="local",
            previews="all", policy=Policy(limits, self.strict, keep_format=self.keep_format),
            reference_pages=None, adapt=0,
            hints=parse_hints(_HINTS, "hints.csv") if self.hints else None, marked=MarkedPages((), {}), config={},
        )  # fmt: skip


@dataclass
class Run:
    """A run of the job.

    state: its chapters, once they are planned.
    exit: its exit code, once it has ended.
    """

    options: Options
    home: str
    out: str = "out"
    state: JobState | None = None
    exit: Exit | None = None

    def __call__(self, driver: Driver | None = None) -> Run:
        settings = self.options.settings(self.home, self.out)
        ledger = Ledger(settings.out, settings.fingerprint, settings.pages.palette)
        source = f"{self.home}/{self.options.source}"
        self.state = state = plan(source, ledger, settings, replace=self.options.replace)
        stages = Stages(ledger, settings.pages, SIZE)
        for task in state.tasks:
            state.record(color_chapter(task, stages, self._predict))
        self.exit = conclude(state, ledger, settings)
        return self

    def _predict(self, chunk: Chunk) -> Chunk:
        for page in chunk.pages:
            if page.grays is not None:
                colour = BLUE if page.hints or self.options.weights == "b" else RED
                page.chroma, page.grays = np.tile(np.array(colour, np.float16), (SIZE, SIZE, 1)), None
        return chunk


@contextmanager
def in_this_process() -> Iterator[None]:
    """Sandboxes and reading threads are this process; chunks are small."""
    with ExitStack() as stack:
        stack.enter_context(mock.patch.object(Sandbox, "call", _call))
        stack.enter_context(mock.patch.object(ledger_module, "ThreadPoolExecutor", _OneByOne))
        stack.enter_context(mock.patch.object(tasks, "CHUNK_MEMBERS", 2))
        yield


class _OneByOne:
    """Stands for a pool of threads, whose order nobody knows."""

    def __init__(self, threads: int) -> None:
        pass

    def __enter__(self) -> _OneByOne:
        return self

    def __exit__(self, *error: object) -> None:
        pass

    def map(self, function: Callable[..., Any], items: Any) -> Iterator[Any]:
        return map(function, items)


def _call(self: Sandbox, function: Callable[..., Any], *arguments: Any, seconds: float) -> Any:
    if function not in (page_steps.see, page_steps.color_over):
        return function(*arguments)
    key = pickle.dumps((function.__name__, arguments))
    if len(_REMEMBERED) > _MOST_REMEMBERED:
        _REMEMBERED.clear()
    if key not in _REMEMBERED:
        try:
            _REMEMBERED[key] = (function(*arguments), None)
        except Exception as error:
            _REMEMBERED[key] = (None, error)
    made, error = _REMEMBERED[key]
    if error is not None:
        raise error
    return replace(made)
