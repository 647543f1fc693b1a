"""The actor that holds the network."""

import time
from collections.abc import Sequence

import numpy as np
import torch

import models
from datasets.errors import Code
from datasets.limits import SLOW
from imaging.color import F32, U8
from imaging.hints import draw_spots, keep_to
from imaging.reference import Reference, transfer
from imaging.views import assemble, whole_page
from jobs.parts.colorize.crash_guard import Attempts, NoAttempts, deadline
from jobs.parts.colorize.settings import Recipe
from jobs.parts.colorize.tasks import Row, Stretch, Work, from_row, to_row
from jobs.parts.model.folder import load_model
from jobs.parts.model.inference import predict_chroma, predict_colors, to_device
from jobs.parts.runtime import telemetry
from jobs.parts.runtime.cluster import threads_each

_MOST_ATTEMPTS = 2  # of a page alone


class Painter:
    """Loads the model once, then paints stretch after stretch. actors: how many of them share the cluster's CPUs."""

    def __init__(self, *, recipe: Recipe, actors: int, attempts: Attempts) -> None:
        self._variant = load_model(recipe.model, recipe.card)
        self._batch_size = recipe.batch_size
        self._attempts = attempts
        to_device(self._variant, threads_each(actors))
        self._luminance = recipe.pages.postprocess.luminance != "keep"
        self._reference = None if recipe.examples is None else recipe.examples.reference(self._variant)

    def __call__(self, row: Row) -> Row:
        with telemetry.timed("paint"):
            stretch, held = from_row(row), (self._attempts, self._reference, self._luminance)
            return to_row(paint(stretch, self._variant, self._batch_size, *held))


def paint(
    stretch: Stretch,
    variant: models.Variant,
    batch_size: int,
    attempts: Attempts | None = None,
    reference: Reference | None = None,
    luminance: bool = False,
) -> Stretch:
    """Predict the chroma of the pages to colour, `batch_size` squares at a time, and bring it to the reference's.

    luminance: predict that too; the map has L behind ab then.

    A batch that memory does not suffice for is halved, down to a square, whose page is then flagged. Where a painter
    died at this stretch (`attempts`), squares go one by one, and a page that two have died at alone is flagged.
    """
    begun = time.monotonic()
    attempts = attempts or NoAttempts()
    name = f"{stretch.todo.ref.rel}:{stretch.number}"
    waiting = [work for work in stretch.works if work.grays is not None]
    seconds = SLOW * stretch.todo.policy.limits.seconds
    if attempts.begin(name) == 0:
        _paint_pages(waiting, variant, batch_size, seconds, reference, luminance)
    else:
        telemetry.count_retry("paint")
        for place, work in enumerate(waiting):
            if attempts.begin(f"{name}:{place}") >= _MOST_ATTEMPTS:
                work.flag(Code.CRASHED, f"painting it ended its worker {_MOST_ATTEMPTS + 1} times")
                continue
            _paint_pages([work], variant, 1, seconds, reference, luminance)
            attempts.end(f"{name}:{place}")
    attempts.end(name)
    stretch.seconds += time.monotonic() - begun
    return stretch


def _paint_pages(
    works: Sequence[Work],
    variant: models.Variant,
    batch_size: int,
    seconds: float,
    reference: Reference | None,
    luminance: bool,
) -> None:
    """seconds: that a batch may take."""
    squares = [square for work in works if work.grays is not None for square in work.grays]
    hints = _hints(works, variant.image_size)
    painted: list[F32 | None] = []
    for start in range(0, len(squares), batch_size):
        batch = slice(start, start + batch_size)
        with deadline(seconds):
            painted += _predict(squares[batch], variant, luminance, hints and hints[batch])
    if hints is not None:
        painted = [
            None if chroma is None else keep_to(chroma, told) for chroma, told in zip(painted, hints, strict=True)
        ]
    if reference is not None:
        pairs = zip(squares, painted, strict=True)
        painted = [None if chroma is None else _follow(reference, square, chroma) for square, chroma in pairs]
    for work in works:
        own, painted = painted[: len(work.places)], painted[len(work.places) :]
        whole = [chroma for chroma in own if chroma is not None]
        if len(whole) < len(own):
            work.flag(Code.MEMORY, "the network has not enough memory for it, alone in its batch")
            continue
        chroma = assemble(work.places, np.stack(whole), work.shape)
        work.chroma, work.grays = chroma.astype(np.float16), None  # to a sixteenth of a unit at the most vivid
        if len(whole) > 1 and (at := whole_page(work.places, work.shape)) is not None:
            work.safer = whole[at].astype(np.float16)


def _hints(works: Sequence[Work], size: int) -> list[F32] | None:
    """For each square what is told of it; None where nothing is told of any."""
    if not any(work.spots for work in works):
        return None
    return [
        draw_spots(work.spots, place, work.shape, (work.height, work.width), size)
        for work in works
        for place in work.places
    ]


def _follow(reference: Reference, square: U8, colors: F32) -> F32:
    """What the reference makes of predicted chroma; of luminance it says nothing."""
    chroma = transfer(reference, square, colors[..., :2])
    return np.concatenate([chroma, colors[..., 2:]], axis=-1)


def _predict(
    squares: Sequence[U8], variant: models.Variant, luminance: bool, hints: Sequence[F32] | None
) -> list[F32 | None]:
    """None for a square that memory does not suffice for, alone."""
    told = None if hints is None else np.stack(hints)
    try:
        return list((predict_colors if luminance else predict_chroma)(variant, np.stack(squares), told))
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
        for chroma in _predict(squares[part], variant, luminance, hints and hints[part])
    ]
