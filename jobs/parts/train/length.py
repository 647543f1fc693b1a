"""How long a training is where neither --max-steps nor --max-minutes says so."""

import logging
import math

from jobs.parts.train.config import TrainConfig

_PUBLISHED_PASSES = 200  # over the pages; Isola et al. 2017: 100 epochs at a constant rate, 100 falling
# Passes over the pages, and the least and the most steps, by (from trained weights, on a GPU). From trained weights a
# few hundred steps do what takes thousands without; on CPUs a step takes seconds, and the most is an hour or a few.
_USUAL = {
    (True, False): (20, 200, 600),
    (True, True): (50, 400, 10_000),
    (False, False): (50, 1_000, 3_000),
    (False, True): (_PUBLISHED_PASSES, 2_000, 100_000),
}

log = logging.getLogger("mangahue")


def usual_steps(pages: int, batch: int, workers: int, *, trained: bool, on_gpu: bool) -> int:
    """Steps that suit so many pages: some passes over them, but no fewer and no more steps than make sense.

    batch: pages in a step of one worker.
    trained: whether the training starts from a model that colours.
    """
    passes, least, most = _USUAL[trained, on_gpu]
    return min(most, max(least, _steps_of(passes, pages, batch * workers)))


def planned_steps(config: TrainConfig, pages: int, workers: int, *, trained: bool, on_gpu: bool) -> int:
    """Steps after which a training ends, which is logged where nothing says so; 0 where the time alone decides.

    With --early-stop alone the end is that of the published 200 passes, unless it stops before.
    """
    batch = config.batch_size * config.accumulate
    if config.max_steps or config.max_minutes:
        return config.max_steps
    if config.early_stop:
        return _steps_of(_PUBLISHED_PASSES, pages, batch * workers)
    steps = usual_steps(pages, batch, workers, trained=trained, on_gpu=on_gpu)
    log.info(
        "%d steps, %.1f passes over the %d pages, as is usual from %s on %s; --max-steps or --max-minutes choose "
        "otherwise",
        steps, steps * batch * workers / max(1, pages), pages, "trained weights" if trained else "no trained weights",
        "GPUs" if on_gpu else "CPUs",
    )  # fmt: skip
    return steps


def _steps_of(passes: int, pages: int, pages_a_step: int) -> int:
    return math.ceil(passes * pages / pages_a_step)
