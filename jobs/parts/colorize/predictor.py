"""The network at work on chunks, and the actor that holds it."""

import time
from collections.abc import Sequence

import numpy as np
import torch

import models
from datasets.errors import Code
from datasets.limits import SLOW
from imaging.color import F32, U8
from imaging.hints import draw_hints, keep_hints
from imaging.reference import Reference, transfer
from imaging.views import assemble, whole_page
from jobs.parts.colorize.crash_guard import CrashGuard, RemoteCrashGuard, deadline
from jobs.parts.colorize.settings import JobSettings
from jobs.parts.colorize.tasks import Chunk, PageTask, Row, from_row, to_row
from jobs.parts.model.folder import load_model
from jobs.parts.model.inference import predict_chroma, predict_colors, to_device
from jobs.parts.runtime import telemetry
from jobs.parts.runtime.cluster import threads_each

_MOST_CRASHES = 2  # of a page alone


class Predictor:
    """Predicts the chroma of the pages to colour, `batch_size` squares at a time, and brings it to the reference's.

    luminance: whether that is predicted too; the map has L behind ab then.
    """

    def __init__(
        self,
        variant: models.Variant,
        batch_size: int,
        *,
        guard: CrashGuard | RemoteCrashGuard | None = None,
        reference: Reference | None = None,
        luminance: bool = False,
    ) -> None:
        self._variant, self._batch_size = variant, batch_size
        self._guard = guard or CrashGuard()
        self._reference = reference
        self._predict = predict_colors if luminance else predict_chroma

    def __call__(self, chunk: Chunk) -> Chunk:
        """A batch that memory does not suffice for is halved, down to a square, whose page is then flagged.

        Where a predictor died at this chunk, squares go one by one, and a page that two have died at alone is
        flagged.
        """
        begun = time.monotonic()
        name = f"{chunk.task.ref.rel}:{chunk.number}"
        waiting = [page for page in chunk.pages if page.grays is not None]
        seconds = SLOW * chunk.task.policy.limits.seconds
        if self._guard.begin(name) == 0:
            self._predict_pages(waiting, self._batch_size, seconds)
        else:
            telemetry.count_retry("paint")
            for index, page in enumerate(waiting):
                if self._guard.begin(f"{name}:{index}") >= _MOST_CRASHES:
                    page.flag(Code.CRASHED, f"predicting it ended its worker {_MOST_CRASHES + 1} times")
                    continue
                self._predict_pages([page], 1, seconds)
                self._guard.end(f"{name}:{index}")
        self._guard.end(name)
        chunk.seconds += time.monotonic() - begun
        return chunk

    def _predict_pages(self, pages: Sequence[PageTask], batch_size: int, seconds: float) -> None:
        """seconds: that a batch may take."""
        squares = [square for page in pages if page.grays is not None for square in page.grays]
        hints = _draw_all_hints(pages, self._variant.image_size)
        predicted: list[F32 | None] = []
        for start in range(0, len(squares), batch_size):
            batch = slice(start, start + batch_size)
            with deadline(seconds):
                predicted += self._predict_batch(squares[batch], hints and hints[batch])
        if hints is not None:
            pairs = zip(predicted, hints, strict=True)
            predicted = [None if chroma is None else keep_hints(chroma, drawn) for chroma, drawn in pairs]
        if self._reference is not None:
            seen = zip(squares, predicted, strict=True)
            predicted = [
                None if chroma is None else _follow(self._reference, square, chroma) for square, chroma in seen
            ]
        for page in pages:
            own, predicted = predicted[: len(page.crops)], predicted[len(page.crops) :]
            _put_together(page, own)

    def _predict_batch(self, squares: Sequence[U8], hints: Sequence[F32] | None) -> list[F32 | None]:
        """None for a square that memory does not suffice for, alone."""
        try:
            return list(self._predict(self._variant, np.stack(squares), None if hints is None else np.stack(hints)))
        except (MemoryError, RuntimeError) as error:
            scarce = isinstance(error, MemoryError | torch.OutOfMemoryError) or "can't allocate memory" in str(error)
            if not scarce:
                raise
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        half = len(squares) // 2
        if not half:
            return [None]
        return [
            chroma
            for part in (slice(0, half), slice(half, None))
            for chroma in self._predict_batch(squares[part], hints and hints[part])
        ]


class PredictorActor:
    """A predictor on Ray: loads the model once, then works on row after row.

    actors: how many of them share the cluster's CPUs.
    """

    def __init__(self, *, settings: JobSettings, actors: int, guard: RemoteCrashGuard) -> None:
        variant = load_model(settings.model, settings.card)
        to_device(variant, threads_each(actors))
        self._predictor = Predictor(
            variant,
            settings.batch_size,
            guard=guard,
            reference=None if settings.reference_pages is None else settings.reference_pages.reference(variant),
            luminance=settings.pages.postprocess.luminance != "keep",
        )

    def __call__(self, row: Row) -> Row:
        with telemetry.timed("paint"):
            return to_row(self._predictor(from_row(row)))


def _put_together(page: PageTask, predicted: Sequence[F32 | None]) -> None:
    """Make a page's map of what was predicted for its squares."""
    whole = [chroma for chroma in predicted if chroma is not None]
    if len(whole) < len(predicted):
        page.flag(Code.MEMORY, "the network has not enough memory for it, alone in its batch")
        return
    chroma = assemble(page.crops, np.stack(whole), page.shape)
    page.chroma, page.grays = chroma.astype(np.float16), None  # to a sixteenth of a unit at the most vivid
    if len(whole) > 1 and (at := whole_page(page.crops, page.shape)) is not None:
        page.whole_page_chroma = whole[at].astype(np.float16)


def _draw_all_hints(pages: Sequence[PageTask], size: int) -> list[F32] | None:
    """For each square what is told of it; None where nothing is told of any."""
    if not any(page.hints for page in pages):
        return None
    return [
        draw_hints(page.hints, crop, page.shape, (page.height, page.width), size)
        for page in pages
        for crop in page.crops
    ]


def _follow(reference: Reference, square: U8, colors: F32) -> F32:
    """What the reference makes of predicted chroma; of luminance it says nothing."""
    chroma = transfer(reference, square, colors[..., :2])
    return np.concatenate([chroma, colors[..., 2:]], axis=-1)
