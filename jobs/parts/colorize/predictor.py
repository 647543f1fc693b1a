"""Runs the network on chunks."""

import time
from collections.abc import Callable, Sequence

import numpy as np
import torch

import models
from datasets.errors import Code
from datasets.limits import SLOW
from imaging.color import F32, U8
from imaging.hints import draw_hints, keep_hints
from imaging.reference import Reference, transfer
from imaging.views import assemble, whole_page
from jobs.parts.colorize.adaptation import take_up
from jobs.parts.colorize.crash_guard import CrashGuard, deadline
from jobs.parts.colorize.following import Following
from jobs.parts.colorize.marked import MarkedPages
from jobs.parts.colorize.settings import JobSettings
from jobs.parts.colorize.tasks import NOT_FINITE, Chunk, PageTask
from jobs.parts.ledger.marks import ChapterMarks
from jobs.parts.model.backends.compiled import run_on
from jobs.parts.model.folder import load_model
from jobs.parts.model.inference import (
    describe_page,
    device_of,
    is_scarce,
    predict_chroma,
    predict_colors,
    to_device,
)
from jobs.parts.runtime import telemetry

_MOST_CRASHES = 2  # crashes at a page that was alone in its batch
_WHY = {Code.MEMORY: "the network has not enough memory for it, alone in its batch", Code.NOT_FINITE: NOT_FINITE}
Answer = F32 | Code  # to a square: its prediction, or why there is none


class Predictor:
    """Predicts the chroma of the pages to colour, and corrects it by the reference pages.

    batch_size: squares that the network sees at once.
    guard: counts crashes across predictors; one of its own if none is given.
    reference: what is known from the reference pages; None for no correction.
    marked: what is known of the marked pages; None for none.
    luminance: predict L too; the chroma map then has L as third channel.
    remember: the last answers without hints that are kept: for who colours a page again and again, with other hints.
    check: called before each batch; what it raises ends the call.
    """

    def __init__(
        self,
        variant: models.Variant,
        batch_size: int,
        *,
        guard: CrashGuard | None = None,
        reference: Reference | None = None,
        marked: MarkedPages | None = None,
        luminance: bool = False,
        remember: int = 0,
        check: Callable[[], None] = lambda: None,
    ) -> None:
        self._variant, self._batch_size = variant, batch_size
        self._guard = guard or CrashGuard()
        self._reference = reference
        self._following = Following(variant, marked)
        self._remember, self._remembered = remember, dict[bytes, Answer]()
        self._check = check
        self._predict = predict_colors if luminance else predict_chroma

    @classmethod
    def of(
        cls,
        settings: JobSettings,
        *,
        threads: int,
        on_gpu: bool,
        guard: CrashGuard | None = None,
        remember: int = 0,
        check: Callable[[], None] = lambda: None,
    ) -> "Predictor":
        """The predictor of a job: its model, loaded and put where it runs.

        threads: of the CPUs, where there is no GPU.
        remember: as of a Predictor.
        Raises BadUsageError as `load_model` and `take_up`, and where the job's backend is not installed here.
        """
        variant = load_model(settings.model, settings.card)
        card = take_up(variant, settings)
        to_device(variant, threads, on_gpu=on_gpu)
        if device_of(variant).type == "cpu":
            run_on(settings.backend, variant, card, threads)
        return cls(
            variant,
            settings.batch_size,
            guard=guard,
            reference=None if settings.reference_pages is None else settings.reference_pages.reference(variant),
            marked=settings.marked,
            remember=remember,
            luminance=settings.pages.postprocess.luminance != "keep",
            check=check,
        )

    @property
    def on_gpu(self) -> bool:
        """Whether the network is on a GPU."""
        return device_of(self._variant).type == "cuda"

    def __call__(self, chunk: Chunk) -> Chunk:
        """Predict the pages of a chunk that are to be coloured, and return the chunk.

        Where memory does not suffice, the batch is halved, down to one square. If that fails too, its page is flagged.
        Where a predictor died at this chunk before, pages are predicted one by one, a square at a time. A page at which
        two predictors died while it was alone is flagged.
        """
        begun = time.monotonic()
        name = f"{chunk.task.ref.rel}:{chunk.number}"
        waiting = [page for page in chunk.pages if page.grays is not None]
        with self._following.examples(chunk.examples):
            self._predict_chunk(chunk, name, waiting)
        chunk.examples = []
        chunk.seconds += time.monotonic() - begun
        return chunk

    def follow(self, marked: MarkedPages) -> None:
        """Take these marked pages from now on."""
        if marked is not self._following.marked_pages:
            self._following = Following(self._variant, marked)

    def describe(self, gray: U8) -> tuple[F32, float]:
        """The description of ink (S, S), and the network's least likeness."""
        return describe_page(self._variant, gray)

    def _predict_chunk(self, chunk: Chunk, name: str, waiting: Sequence[PageTask]) -> None:
        seconds = SLOW * chunk.task.policy.limits.seconds
        if self._guard.begin(name) == 0:
            self._predict_pages(waiting, self._batch_size, seconds, chunk.task.marks)
        else:
            telemetry.count_retry("paint")
            for index, page in enumerate(waiting):
                if self._guard.begin(f"{name}:{index}") >= _MOST_CRASHES:
                    page.flag(Code.CRASHED, f"predicting it ended its worker {_MOST_CRASHES + 1} times")
                    continue
                self._predict_pages([page], 1, seconds, chunk.task.marks)
                self._guard.end(f"{name}:{index}")
        self._guard.end(name)

    def _predict_pages(self, pages: Sequence[PageTask], batch_size: int, seconds: float, marks: ChapterMarks) -> None:
        """seconds: the longest that a batch may take."""
        with deadline(seconds):
            self._following.find(pages, marks)
        for references in dict.fromkeys(page.references for page in pages):
            with self._following.marked(references):
                self._predict_alike([page for page in pages if page.references == references], batch_size, seconds)

    def _predict_alike(self, pages: Sequence[PageTask], batch_size: int, seconds: float) -> None:
        """Predict pages that are shown the same marked pages."""
        squares = [square for page in pages if page.grays is not None for square in page.grays]
        hints = _draw_all_hints(pages, self._variant.image_size)
        if hints is None:
            predicted = self._predict_plain(squares, batch_size, seconds)
        else:
            predicted = self._predict_squares(squares, hints, batch_size, seconds)
            self._keep_hints(predicted, squares, hints, batch_size, seconds)
        if self._reference is not None:
            seen = zip(squares, predicted, strict=True)
            predicted = [
                chroma if isinstance(chroma, Code) else _follow(self._reference, square, chroma)
                for square, chroma in seen
            ]
        for page in pages:
            own, predicted = predicted[: len(page.crops)], predicted[len(page.crops) :]
            _put_together(page, own)

    def _predict_plain(self, squares: Sequence[U8], batch_size: int, seconds: float) -> list[Answer]:
        """The answers without hints. What is remembered is not predicted again."""
        if not self._remember:
            return self._predict_squares(squares, None, batch_size, seconds)
        keys = [self._following.key + square.tobytes() for square in squares]
        answers = {key: self._remembered[key] for key in keys if key in self._remembered}
        missing = {key: square for key, square in zip(keys, squares, strict=True) if key not in answers}
        answers |= zip(missing, self._predict_squares([*missing.values()], None, batch_size, seconds), strict=True)
        earlier = [(key, answer) for key, answer in self._remembered.items() if key not in answers]
        good = [(key, answer) for key, answer in answers.items() if not isinstance(answer, Code)]
        self._remembered = dict([*earlier, *good][-self._remember :])
        return [answers[key] for key in keys]

    def _predict_squares(
        self, squares: Sequence[U8], hints: Sequence[F32] | None, batch_size: int, seconds: float
    ) -> list[Answer]:
        predicted: list[Answer] = []
        for start in range(0, len(squares), batch_size):
            self._check()
            batch = slice(start, start + batch_size)
            with deadline(seconds):
                predicted += self._predict_batch(squares[batch], hints and hints[batch])
        return predicted

    def _keep_hints(
        self, predicted: list[Answer], squares: Sequence[U8], hints: Sequence[F32], batch_size: int, seconds: float
    ) -> None:
        """Have the answers keep to their hints. A square with hints is predicted without them, too."""
        hinted = [number for number, drawn in enumerate(hints) if drawn[..., 0].any()]
        alone = self._predict_plain([squares[number] for number in hinted], batch_size, seconds)
        for number, plain in zip(hinted, alone, strict=True):
            chroma = predicted[number]
            if isinstance(plain, Code):
                predicted[number] = plain
            elif not isinstance(chroma, Code):
                predicted[number] = keep_hints(chroma, plain, hints[number], squares[number])

    def _predict_batch(self, squares: Sequence[U8], hints: Sequence[F32] | None) -> list[Answer]:
        """The answer to each square: MEMORY for one that is too large for memory even alone."""
        try:
            predicted = self._predict(self._variant, np.stack(squares), None if hints is None else np.stack(hints))
            return [chroma if np.isfinite(chroma).all() else Code.NOT_FINITE for chroma in predicted]
        except (MemoryError, RuntimeError) as error:
            if not is_scarce(error):
                raise
        if self.on_gpu:
            torch.cuda.empty_cache()
        half = len(squares) // 2
        if not half:
            return [Code.MEMORY]
        return [
            chroma
            for part in (slice(0, half), slice(half, None))
            for chroma in self._predict_batch(squares[part], hints and hints[part])
        ]


def _put_together(page: PageTask, predicted: Sequence[Answer]) -> None:
    """Assemble a page's chroma map from the predictions of its squares."""
    whole = [chroma for chroma in predicted if not isinstance(chroma, Code)]
    for answer in predicted:
        if isinstance(answer, Code):
            page.flag(answer, _WHY[answer])
            return
    page.chroma, page.grays = _as_map(assemble(page.crops, np.stack(whole), page.shape)), None
    if len(whole) > 1 and (at := whole_page(page.crops, page.shape)) is not None:
        page.whole_page_chroma = _as_map(whole[at])


def _as_map(chroma: F32) -> np.ndarray:
    """As float16, which is exact to 1/16 unit at the most vivid colours; beyond 65504 it is infinite."""
    with np.errstate(over="ignore"):
        return chroma.astype(np.float16)


def _draw_all_hints(pages: Sequence[PageTask], size: int) -> list[F32] | None:
    """The hints drawn on each square; None where no page has hints."""
    if not any(page.hints for page in pages):
        return None
    return [
        draw_hints(page.hints, crop, page.shape, (page.height, page.width), size)
        for page in pages
        for crop in page.crops
    ]


def _follow(reference: Reference, square: U8, colors: F32) -> F32:
    """Predicted chroma corrected by the reference. L, where it was predicted, is unchanged."""
    chroma = transfer(reference, square, colors[..., :2])
    return np.concatenate([chroma, colors[..., 2:]], axis=-1)
