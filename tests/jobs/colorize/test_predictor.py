"""Prediction where memory does not suffice, or where earlier predictors died."""

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch

import models
from datasets.archive import ChapterRef
from datasets.chapters import Member
from imaging.hints import Hint
from imaging.views import plan_views
from jobs.parts.colorize import predictor
from jobs.parts.colorize.crash_guard import CrashGuard
from jobs.parts.colorize.predictor import Predictor
from jobs.parts.colorize.tasks import ChapterTask, Chunk, PageTask
from tests.untrained import publish_untrained

SIZE = 32


@pytest.fixture(scope="module")
def variant() -> models.Variant:
    torch.manual_seed(0)
    return models.build("pix2pix", {"image_size": SIZE, "base_channels": 4})


def chunk_of(count: int, *, passing: tuple[int, ...] = ()) -> Chunk:
    """A chunk of `count` pages.

    passing: indices of pages that are not to be coloured.
    """
    ref = ChapterRef("/in", "ep.cbz", "ep.cbz", "archive", 1, "v1")
    rng = np.random.default_rng(0)
    pages = []
    for index in range(count):
        page = PageTask(Member(f"{index}.png", 10, index, index, f"{index}.png"), f"{index}.png", f"{index}.jpg", b"x")
        if index not in passing:
            levels = rng.integers(0, 256, (SIZE, SIZE), np.uint8)
            (view,) = plan_views(levels, "page", SIZE)
            page.grays, page.crops, page.shape, page.action = view.gray[None], (view.crop,), levels.shape, "coloured"
        pages.append(page)
    return Chunk(ChapterTask(ref, "ep.cbz", over=0), pages=pages)


def tracing(monkeypatch: pytest.MonkeyPatch, most: int, error: Exception) -> list[int]:
    """Record the sizes of the batches that are tried. Batches larger than `most` raise the error."""
    sizes: list[int] = []
    real = predictor.predict_chroma

    def predict(variant: models.Variant, grays: np.ndarray, hints: np.ndarray | None) -> np.ndarray:
        sizes.append(len(grays))
        if len(grays) > most:
            raise error
        return real(variant, grays, hints)

    monkeypatch.setattr(predictor, "predict_chroma", predict)
    return sizes


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory"),
        MemoryError(),
        RuntimeError("[enforce fail at alloc_cpu.cpp] DefaultCPUAllocator: can't allocate memory: you tried"),
    ],
)
def test_a_batch_too_large_for_memory_is_halved(
    variant: models.Variant, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    whole = Predictor(variant, 6)(chunk_of(6))
    sizes = tracing(monkeypatch, 2, error)
    halved = Predictor(variant, 6)(chunk_of(6))
    assert sizes == [6, 3, 1, 2, 3, 1, 2]
    assert [page.action for page in halved.pages] == ["coloured"] * 6
    for one, other in zip(whole.pages, halved.pages, strict=True):
        assert one.chroma is not None
        assert other.chroma is not None
        np.testing.assert_allclose(one.chroma, other.chroma, atol=0.1)


def test_a_page_too_large_for_memory_is_flagged(variant: models.Variant, monkeypatch: pytest.MonkeyPatch) -> None:
    tracing(monkeypatch, 0, MemoryError())
    chunk = Predictor(variant, 4)(chunk_of(3, passing=(1,)))
    assert [(page.action, page.code) for page in chunk.pages] == [
        ("flagged", "MEMORY"), ("kept", ""), ("flagged", "MEMORY")
    ]  # fmt: skip
    assert all(page.grays is None for page in chunk.pages)


def test_other_errors_are_not_taken_for_want_of_memory(
    variant: models.Variant, monkeypatch: pytest.MonkeyPatch
) -> None:
    tracing(monkeypatch, 0, RuntimeError("shapes do not match"))
    with pytest.raises(RuntimeError, match="shapes"):
        Predictor(variant, 4)(chunk_of(1))


class Died(BaseException):
    """The predictor's process has died."""


def test_predictors_that_die_make_the_next_ones_careful(
    variant: models.Variant, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The third of five pages kills every predictor."""
    book = CrashGuard()
    real = predictor.predict_chroma
    grays = chunk_of(5).pages[2].grays
    assert grays is not None
    (poison,) = grays
    seen: list[int] = []

    def predict(variant: models.Variant, grays: np.ndarray, hints: np.ndarray | None) -> np.ndarray:
        seen.append(len(grays))
        if any(np.array_equal(gray, poison) for gray in grays):
            raise Died
        return real(variant, grays, hints)

    monkeypatch.setattr(predictor, "predict_chroma", predict)
    deaths = 0
    while True:
        try:
            chunk = Predictor(variant, 8, guard=book)(chunk_of(5))
            break
        except Died:
            deaths += 1
            assert deaths < 10, "predictors die for ever"
    assert deaths == 3
    assert [page.code for page in chunk.pages] == ["", "", "CRASHED", "", ""]
    assert Counter(seen) == {5: 1, 1: 3 + 3 + 4}
    assert book.begin("ep.cbz:0") == 0  # a prediction that ended is no longer counted


def test_a_predictor_that_died_of_something_else_costs_no_page(
    variant: models.Variant,
) -> None:
    book = CrashGuard()
    book.begin("ep.cbz:0")
    chunk = Predictor(variant, 8, guard=book)(chunk_of(3))
    assert [page.action for page in chunk.pages] == ["coloured"] * 3


def test_answers_without_hints_are_remembered_where_that_is_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By what is shown beside the page: with other examples the page has another answer."""
    follower = publish_untrained(tmp_path, "exemplar", image_size=SIZE, base_channels=8)
    asked: list[tuple[int, bool]] = []
    real = predictor.predict_chroma

    def predict(variant: models.Variant, grays: np.ndarray, hints: np.ndarray | None) -> np.ndarray:
        asked.append((len(grays), hints is not None))
        return real(variant, grays, hints)

    monkeypatch.setattr(predictor, "predict_chroma", predict)
    example = (np.full((SIZE, SIZE), 90, np.uint8), np.full((SIZE, SIZE, 2), 40, np.float16))

    def colored(by: Predictor, *, hinted: bool, shown: bool = False) -> np.ndarray:
        chunk = chunk_of(1)
        chunk.pages[0].hints = (Hint(9, 9, 6, (50.0, 30.0)),) if hinted else ()
        chunk.pages[0].width, chunk.pages[0].height = SIZE, SIZE
        chunk.examples = [example] if shown else []
        chroma = by(chunk).pages[0].chroma
        assert chroma is not None
        return chroma

    once, remembering = Predictor(follower, 4), Predictor(follower, 4, remember=2)
    wanted = {(hinted, shown): colored(once, hinted=hinted, shown=shown) for hinted in (0, 1) for shown in (0, 1)}
    asked.clear()
    for hinted, shown, calls in ((0, 0, [0]), (1, 0, [1]), (1, 0, [1]), (1, 1, [1, 0]), (0, 1, []), (0, 0, [])):
        np.testing.assert_array_equal(
            colored(remembering, hinted=bool(hinted), shown=bool(shown)), wanted[hinted, shown]
        )
        assert asked == [(1, bool(call)) for call in calls]
        asked.clear()
