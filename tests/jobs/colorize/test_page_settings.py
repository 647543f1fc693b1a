"""What the settings do to a page, and that they travel through the stages."""

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

import models
from datasets.page import decode
from datasets.synthetic import Series, draw_page
from imaging.bubbles import find_words
from imaging.color import join_chroma
from imaging.gate import Thresholds
from imaging.hints import Spot
from imaging.palette import Color, Palette
from imaging.postprocess import PostprocessSettings, finish_page
from imaging.views import STRATEGIES, Strategy
from jobs.parts.colorize import page_steps
from jobs.parts.colorize.config import ColorizeConfig
from jobs.parts.colorize.page_settings import PageSettings
from jobs.parts.colorize.predictor import Predictor
from jobs.parts.colorize.settings import Recipe
from tests.archives import zipped
from tests.jobs.colorize.chapters import members_of, saved, stages_of, todo_of

SIZE = 32


@pytest.fixture(scope="module")
def variant() -> models.Variant:
    torch.manual_seed(0)
    return models.build("pix2pix", {"image_size": SIZE, "base_channels": 4})


@pytest.fixture(scope="module")
def lettered() -> np.ndarray:
    """The ink of a generated page on which words are found."""
    series = Series(seed=1, chapters=1, pages=8, width=480, height=672)
    inks = (draw_page(series, 1, page).ink for page in range(1, 9))
    return next(ink for ink in inks if find_words(ink).mean() > 0.01)


def colored(page: np.ndarray) -> np.ndarray:
    return np.ptp(page.astype(int), axis=2) > 2


def test_words_stay_neutral_unless_they_may_be_coloured(lettered: np.ndarray) -> None:
    words = find_words(lettered) & (lettered > 40) & (lettered < 250)  # where chroma can be seen
    violet = np.full((8, 8, 2), (30, -30), np.float32)
    neutral = finish_page(lettered, violet, PostprocessSettings(bubbles="neutral")).page
    assert not colored(neutral)[words].any()
    assert colored(neutral)[~find_words(lettered) & (lettered > 40) & (lettered < 250)].mean() > 0.8
    assert colored(finish_page(lettered, violet, PostprocessSettings(bubbles="colour")).page)[words].mean() > 0.9


def test_words_that_a_hint_lies_on_are_coloured_and_no_others(lettered: np.ndarray) -> None:
    count, pieces = cv2.connectedComponents(find_words(lettered).view(np.uint8))
    visible = (lettered > 40) & (lettered < 250)
    seen = [int((visible & (pieces == piece)).sum()) for piece in range(1, count)]
    assert count > 2
    chosen = 1 + int(np.argmax(seen))
    y, x = np.argwhere(pieces == chosen)[0]
    violet = np.full((8, 8, 2), (30, -30), np.float32)

    page = finish_page(lettered, violet, PostprocessSettings(), spots=[Spot(x + 0.5, y + 0.5, 1, (30, -30))]).page

    assert colored(page)[visible & (pieces == chosen)].mean() > 0.9
    rest = visible & (pieces > 0) & (pieces != chosen)
    assert rest.any()
    assert not colored(page)[rest].any()


def test_lines_off_is_plain_stretching(lettered: np.ndarray) -> None:
    chroma = np.random.default_rng(0).uniform(-40, 40, (24, 16, 2)).astype(np.float32)
    plain = finish_page(lettered, chroma, PostprocessSettings(lines="off", bubbles="colour")).page
    np.testing.assert_array_equal(plain, join_chroma(lettered, chroma))
    kept = finish_page(lettered, chroma, PostprocessSettings(lines="sides", bubbles="colour")).page
    assert np.abs(kept.astype(int) - plain).max() > 10


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_every_strategy_goes_through_the_stages(
    tmp_path: Path, variant: models.Variant, lettered: np.ndarray, strategy: Strategy
) -> None:
    todo = todo_of(str(tmp_path), {"ep.cbz": zipped({"1.png": saved(lettered)})})
    stages = stages_of(tmp_path, PageSettings("png", strategy))
    (stretch,) = stages.open(todo)
    stretch = stages.prepare(stretch)
    grays = stretch.works[0].grays
    assert grays is not None
    assert (len(grays) > 1) == (strategy in ("tiles", "panels", "squares"))
    stretch = Predictor(variant, 4)(stretch)
    assert stretch.works[0].chroma is not None
    assert stretch.works[0].chroma.dtype == np.float16
    outcome = stages.finish(stretch).outcome
    assert outcome is not None
    assert outcome.status == "done"
    page = decode(members_of((tmp_path / "out/ep.cbz").read_bytes())["1.png"])
    assert page.shape == (*lettered.shape, 3)
    assert np.ptp(page.astype(int), axis=2).any()  # an untrained network is pale


def test_a_style_comes_from_options_and_changes_the_fingerprint(model: Path) -> None:

    def recipe(**options: str) -> Recipe:
        return Recipe.of(ColorizeConfig(model=str(model), source="/in", out="/out", **options))

    plain = recipe()
    assert plain.pages == PageSettings()
    for name, value in (("strategy", "tiles"), ("lines", "off"), ("bubbles", "colour"), ("format", "png")):
        assert recipe(**{name: value}).fingerprint != plain.fingerprint
    assert page_steps.see(saved(np.zeros((40, 30), np.uint8)), SIZE, "page", 10**6).shape == (40, 30)


# -- the gate


def test_a_page_that_comes_out_gray_is_published_and_told(
    tmp_path: Path, variant: models.Variant, lettered: np.ndarray
) -> None:
    todo = todo_of(str(tmp_path), {"ep.cbz": zipped({"1.png": saved(lettered), "2.png": saved(lettered[::-1].copy())})})
    stages = stages_of(tmp_path, PageSettings("png"))
    (stretch,) = stages.open(todo)
    stretch = Predictor(variant, 4)(stages.prepare(stretch))
    gray, colorful = (np.zeros((SIZE, SIZE, 2), np.float16), rainbow())
    stretch.works[0].chroma, stretch.works[1].chroma = gray, colorful
    outcome = stages.finish(stretch).outcome
    assert outcome is not None
    assert outcome.status == "done"
    assert [(page.action, page.code) for page in outcome.pages] == [("coloured", "DULL"), ("coloured", "")]
    assert "hardly any colour" in outcome.pages[0].message
    assert [page.code for page in outcome.brief().pages] == ["DULL"]
    relaxed = finish_page(lettered, gray.astype(np.float32), PostprocessSettings(thresholds=Thresholds(dull=0, drab=0)))
    assert "dull" not in {fault.code for fault in relaxed.faults}


def rainbow() -> np.ndarray:
    """Chroma of all hues, as strong as in comics."""
    angle = np.linspace(0, 2 * np.pi, SIZE * SIZE).reshape(SIZE, SIZE)
    return np.stack([40 * np.cos(angle), 40 * np.sin(angle)], axis=-1).astype(np.float16)


def test_a_page_that_the_gate_refuses_is_tried_with_the_safer_prediction(lettered: np.ndarray) -> None:
    gray, good = np.zeros((8, 8, 2), np.float32), rainbow().astype(np.float32)
    assert finish_page(lettered, gray, PostprocessSettings()).faults
    saved_by = finish_page(lettered, gray, PostprocessSettings(), safer=good)
    assert not saved_by.faults
    np.testing.assert_array_equal(saved_by.page, finish_page(lettered, good, PostprocessSettings()).page)
    first = finish_page(lettered, good, PostprocessSettings(), safer=gray)
    np.testing.assert_array_equal(first.page, saved_by.page)  # one that passes is not tried again


def test_a_page_hangs_on_the_colours_of_every_prediction_that_was_tried(lettered: np.ndarray) -> None:
    red, blue = (Color(name, ab, (60, *ab, 1), 0.5) for name, ab in (("red", (50.0, 30.0)), ("blue", (10.0, -50.0))))
    settings = PostprocessSettings(
        palette=Palette((red, blue)), thresholds=Thresholds(one_hue=0.5)
    )  # one colour alone is refused
    gray = np.full((64, 64), 145, np.uint8)
    first, safer = (np.full((16, 16, 2), color.ab, np.float32) for color in (red, blue))
    tried = finish_page(gray, first, settings, safer=safer)
    assert tried.faults
    assert set(tried.colors) == {0, 1}
    assert set(finish_page(gray, first, settings).colors) == {0}
    assert finish_page(lettered, rainbow().astype(np.float32), PostprocessSettings()).colors == {}


def test_too_much_colour_is_taken_back(lettered: np.ndarray) -> None:
    wild = 3 * rainbow().astype(np.float32)
    settings = PostprocessSettings(thresholds=Thresholds(wild=60.0))
    tamed = finish_page(lettered, wild, settings)
    assert not {"wild", "gamut"} & {fault.code.value for fault in tamed.faults}
    as_it_was = finish_page(lettered, wild, PostprocessSettings()).page
    assert np.ptp(tamed.page.astype(int), axis=2).mean() < np.ptp(as_it_was.astype(int), axis=2).mean()


def test_what_the_whole_page_said_is_kept_as_the_safer_prediction(
    tmp_path: Path, variant: models.Variant, lettered: np.ndarray
) -> None:
    todo = todo_of(str(tmp_path), {"ep.cbz": zipped({"1.png": saved(lettered)})})
    safer, chroma = {}, {}
    for strategy in ("page", "tiles"):
        stages = stages_of(tmp_path, PageSettings("png", strategy))
        (stretch,) = stages.open(todo)
        (work,) = Predictor(variant, 8)(stages.prepare(stretch)).works
        safer[strategy], chroma[strategy] = work.safer, work.chroma
    assert safer["page"] is None
    np.testing.assert_allclose(safer["tiles"], chroma["page"], atol=0.05)
