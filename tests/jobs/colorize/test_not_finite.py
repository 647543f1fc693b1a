"""A prediction that holds NaN or infinity is never published: its page is kept, and flagged."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

import models
from imaging.hints import Hint
from imaging.reference import Reference, ReferencePage, build_reference
from imaging.views import plan_views
from jobs.parts.colorize.page_settings import PageSettings
from jobs.parts.colorize.predictor import Predictor
from jobs.parts.colorize.tasks import Chunk
from jobs.parts.ledger.manifest import Manifest
from jobs.parts.model.inference import predict_chroma, predict_colors
from jobs.parts.source.policy import Policy
from tests.archives import zipped
from tests.jobs.colorize.chapters import SIZE, color_chapter, gray_page, members_of, stages_of, task_of
from tests.jobs.colorize.test_predictor import chunk_of

PAGES = {"1.png": gray_page(1), "2.png": gray_page(2)}
BAD = [np.nan, np.inf, -np.inf]


def built(target: str = "ab", name: str = "pix2pix") -> models.Variant:
    torch.manual_seed(0)
    return models.build(name, {"image_size": SIZE, "base_channels": 4, "target": target})


def outcome(folder: Path, harm: Callable[[Chunk], None], policy: Policy | None = None) -> Manifest:
    """The outcome of a chapter of two pages, of which the first has a harmed prediction."""
    predict = Predictor(built(), 4)

    def predict_badly(chunk: Chunk) -> Chunk:
        predict(chunk)
        harm(chunk)
        return chunk

    task = task_of(str(folder), {"ep.cbz": zipped(PAGES)}, policy or Policy())
    return color_chapter(task, stages_of(folder), predict_badly)


@pytest.mark.parametrize("value", BAD)
@pytest.mark.parametrize("where", ["chroma", "whole page", "luminance"])
def test_a_page_whose_prediction_is_not_finite_is_kept(tmp_path: Path, value: float, where: str) -> None:
    def harm(chunk: Chunk) -> None:
        page = chunk.pages[0]
        assert page.chroma is not None
        if where == "chroma":
            page.chroma[3, 4, 1] = value
        elif where == "whole page":
            page.whole_page_chroma = np.full_like(page.chroma, value)
        else:
            page.chroma = np.concatenate([page.chroma, np.full_like(page.chroma[..., :1], value)], axis=-1)

    manifest = outcome(tmp_path, harm)
    assert manifest.status == "partial"
    assert [(page.action, page.code) for page in manifest.pages] == [("flagged", "NOT_FINITE"), ("coloured", "")]
    assert "NaN" in manifest.pages[0].message
    got = members_of((tmp_path / "out/ep.cbz").read_bytes())
    assert got["1.png"] == PAGES["1.png"]
    assert list(got) == ["1.png", "2.jpg"]


def test_with_strict_its_chapter_is_quarantined(tmp_path: Path) -> None:
    def harm(chunk: Chunk) -> None:
        assert chunk.pages[0].chroma is not None
        chunk.pages[0].chroma[:] = np.nan

    manifest = outcome(tmp_path, harm, Policy(strict=True))
    assert (manifest.status, manifest.code) == ("quarantined", "NOT_FINITE")


def spoil(variant: models.Variant, monkeypatch: pytest.MonkeyPatch, square: int, value: float) -> None:
    """Let the network answer with one bad number to one of the squares it is shown."""
    real, seen = variant.predict, [0]

    def predict(ink: torch.Tensor, hints: torch.Tensor | None = None) -> torch.Tensor:
        answer = real(ink, hints)
        at = square - seen[0]
        seen[0] += len(ink)
        if 0 <= at < len(ink):
            answer = answer.clone()
            answer[at, 0, 5, 5] = value
        return answer

    monkeypatch.setattr(variant, "predict", predict)


@pytest.mark.parametrize("value", BAD)
@pytest.mark.parametrize("luminance", [False, True])
@pytest.mark.filterwarnings("error")
def test_a_network_that_answers_with_numbers_that_are_not_finite(
    monkeypatch: pytest.MonkeyPatch, luminance: bool, value: float
) -> None:
    variant = built("rgb" if luminance else "ab")
    spoil(variant, monkeypatch, 1, value)
    chunk = Predictor(variant, 2, luminance=luminance)(chunk_of(3))
    assert [page.code for page in chunk.pages] == ["", "NOT_FINITE", ""]
    assert [page.chroma is None for page in chunk.pages] == [False, True, False]
    assert all(page.grays is None for page in chunk.pages)


@pytest.mark.parametrize("of_rgb", [predict_chroma, predict_colors])
@pytest.mark.filterwarnings("error")
def test_nan_in_rgb_is_not_taken_for_black(monkeypatch: pytest.MonkeyPatch, of_rgb: Callable[..., np.ndarray]) -> None:
    variant = built("rgb")
    spoil(variant, monkeypatch, 1, np.nan)
    predicted = of_rgb(variant, np.zeros((2, SIZE, SIZE), np.uint8))
    assert np.isfinite(predicted[0]).all()
    assert np.isnan(predicted[1]).all()


def reference_of(variant: models.Variant) -> Reference:
    rng = np.random.default_rng(0)
    gray = rng.integers(0, 256, (SIZE, SIZE), np.uint8)
    chroma = rng.uniform(-40, 40, (SIZE, SIZE, 2)).astype(np.float32)
    return build_reference([ReferencePage(gray, chroma, predict_chroma(variant, gray[None])[0])])


@pytest.mark.parametrize("value", BAD)
def test_hints_and_reference_do_not_stumble_over_it(monkeypatch: pytest.MonkeyPatch, value: float) -> None:
    variant = built()
    reference = reference_of(variant)
    chunk = chunk_of(3)
    monkeypatch.setattr(type(variant), "follows", True, raising=False)
    monkeypatch.setattr(variant, "describe", lambda ink: ink.new_zeros(len(ink), 1), raising=False)
    for page in chunk.pages:
        page.width, page.height, page.hints = SIZE, SIZE, (Hint(10, 10, 5, (30, 30)),)
    real = variant.predict
    monkeypatch.setattr(variant, "predict", lambda ink, hints=None: real(ink))
    spoil(variant, monkeypatch, 2, value)
    Predictor(variant, 2, reference=reference)(chunk)
    assert [page.code for page in chunk.pages] == ["", "", "NOT_FINITE"]


def test_a_page_with_one_bad_square_among_many_is_flagged(monkeypatch: pytest.MonkeyPatch) -> None:
    variant = built()
    chunk = chunk_of(2)
    levels = np.random.default_rng(3).integers(0, 256, (SIZE * 4, SIZE), np.uint8)
    views = plan_views(levels, "tiles", SIZE)
    page = chunk.pages[0]
    page.grays, page.crops = np.stack([view.gray for view in views]), tuple(view.crop for view in views)
    page.shape = levels.shape
    assert len(views) > 2
    spoil(variant, monkeypatch, len(views) - 1, np.nan)
    Predictor(variant, 4)(chunk)
    assert [page.code for page in chunk.pages] == ["NOT_FINITE", ""]


def test_colours_beyond_what_a_map_holds_are_not_finite_either(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    variant = built()
    spoil(variant, monkeypatch, 0, 1e9)  # finite as float32, not as float16
    task = task_of(str(tmp_path), {"ep.cbz": zipped(PAGES)})
    manifest = color_chapter(task, stages_of(tmp_path, PageSettings()), Predictor(variant, 4))
    assert sorted(page.action for page in manifest.pages) == ["coloured", "flagged"]
