"""What the settings do to a page, and that they reach every stage."""

from pathlib import Path

import numpy as np
import pytest
import torch

import models
from datasets.page import decode
from imaging.gate import Thresholds
from imaging.postprocess import PostprocessSettings, postprocess_page
from imaging.views import STRATEGIES, Strategy
from jobs.parts.colorize import page_steps
from jobs.parts.colorize.config import ColorizeConfig
from jobs.parts.colorize.page_settings import PageSettings
from jobs.parts.colorize.predictor import Predictor
from jobs.parts.colorize.settings import JobSettings
from tests.archives import zipped
from tests.imaging.lettered import lettered_ink, rainbow
from tests.jobs.colorize.chapters import members_of, saved, stages_of, task_of

SIZE = 32


@pytest.fixture(scope="module")
def lettered() -> np.ndarray:
    return lettered_ink()


@pytest.fixture(scope="module")
def variant() -> models.Variant:
    torch.manual_seed(0)
    return models.build("pix2pix", {"image_size": SIZE, "base_channels": 4})


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_every_strategy_goes_through_the_stages(
    tmp_path: Path, variant: models.Variant, lettered: np.ndarray, strategy: Strategy
) -> None:
    task = task_of(str(tmp_path), {"ep.cbz": zipped({"1.png": saved(lettered)})})
    stages = stages_of(tmp_path, PageSettings("png", strategy))
    (chunk,) = stages.open(task)
    chunk = stages.prepare(chunk)
    grays = chunk.pages[0].grays
    assert grays is not None
    assert (len(grays) > 1) == (strategy in ("tiles", "panels", "squares"))
    chunk = Predictor(variant, 4)(chunk)
    assert chunk.pages[0].chroma is not None
    assert chunk.pages[0].chroma.dtype == np.float16
    outcome = stages.postprocess(chunk).outcome
    assert outcome is not None
    assert outcome.status == "done"
    page = decode(members_of((tmp_path / "out/ep.cbz").read_bytes())["1.png"])
    assert page.shape == (*lettered.shape, 3)
    assert np.ptp(page.astype(int), axis=2).any()  # an untrained network is pale


def test_a_style_comes_from_options_and_changes_the_fingerprint(model: Path) -> None:

    def job_settings(**options: str) -> JobSettings:
        return JobSettings.of(ColorizeConfig(model=str(model), source="/in", out="/out", **options))

    plain = job_settings()
    assert plain.pages == PageSettings()
    for name, value in (("strategy", "tiles"), ("lines", "off"), ("bubbles", "colour"), ("format", "png")):
        assert job_settings(**{name: value}).fingerprint != plain.fingerprint
    assert page_steps.see(saved(np.zeros((40, 30), np.uint8)), SIZE, "page", 10**6).shape == (40, 30)


# -- the gate


def test_a_page_that_comes_out_gray_is_published_and_told(
    tmp_path: Path, variant: models.Variant, lettered: np.ndarray
) -> None:
    task = task_of(str(tmp_path), {"ep.cbz": zipped({"1.png": saved(lettered), "2.png": saved(lettered[::-1].copy())})})
    stages = stages_of(tmp_path, PageSettings("png"))
    (chunk,) = stages.open(task)
    chunk = Predictor(variant, 4)(stages.prepare(chunk))
    gray, colorful = (np.zeros((SIZE, SIZE, 2), np.float16), rainbow())
    chunk.pages[0].chroma, chunk.pages[1].chroma = gray, colorful
    outcome = stages.postprocess(chunk).outcome
    assert outcome is not None
    assert outcome.status == "done"
    assert [(page.action, page.code) for page in outcome.pages] == [("coloured", "DULL"), ("coloured", "")]
    assert "hardly any colour" in outcome.pages[0].message
    assert [page.code for page in outcome.summary().pages] == ["DULL"]
    relaxed = postprocess_page(
        lettered, gray.astype(np.float32), PostprocessSettings(thresholds=Thresholds(dull=0, drab=0))
    )
    assert "dull" not in {fault.code for fault in relaxed.faults}


def test_what_the_whole_page_said_is_kept_as_the_safer_prediction(
    tmp_path: Path, variant: models.Variant, lettered: np.ndarray
) -> None:
    task = task_of(str(tmp_path), {"ep.cbz": zipped({"1.png": saved(lettered)})})
    whole_page_chroma, chroma = {}, {}
    for strategy in ("page", "tiles"):
        stages = stages_of(tmp_path, PageSettings("png", strategy))
        (chunk,) = stages.open(task)
        (page,) = Predictor(variant, 8)(stages.prepare(chunk)).pages
        whole_page_chroma[strategy], chroma[strategy] = page.whole_page_chroma, page.chroma
    assert whole_page_chroma["page"] is None
    np.testing.assert_allclose(whole_page_chroma["tiles"], chroma["page"], atol=0.05)
