"""--luminance on its way through a job: what is predicted, published and reported, and which models can't have it."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from click.testing import CliRunner

import models
from datasets.errors import BadUsageError
from datasets.page import decode
from datasets.synthetic import Series, draw_page
from imaging.color import lightness_of_level, to_lab
from imaging.gate import Thresholds
from imaging.luminance import Luminance, relight
from imaging.postprocess import PostprocessSettings, postprocess_page
from imaging.reference import ReferencePage, build_reference
from imaging.views import STRATEGIES, Strategy
from jobs.colorize import cli
from jobs.parts.colorize.config import ColorizeConfig
from jobs.parts.colorize.page_settings import PageSettings
from jobs.parts.colorize.predictor import Predictor
from jobs.parts.colorize.settings import JobSettings
from jobs.parts.colorize.tasks import PageTask
from jobs.parts.ledger.manifest import Manifest
from jobs.parts.model.inference import predict_chroma, predict_colors
from tests.archives import zipped
from tests.jobs.colorize.chapters import members_of, saved, stages_of, task_of
from tests.untrained import publish_untrained

SIZE = 32
WAYS: tuple[Luminance, ...] = ("keep", "blend", "predict")
OPEN = Thresholds(ssim=0, lines=0, dull=0, drab=0, one_hue=1, one_hue_alone=1)  # an untrained network is pale
INK = draw_page(Series(seed=1, chapters=1, pages=8, width=480, height=672), 1, 3).ink


@pytest.fixture(scope="module")
def variant() -> models.Variant:
    torch.manual_seed(0)
    return models.build("pix2pix", {"image_size": SIZE, "base_channels": 4, "target": "rgb"})


def through_the_stages(
    home: Path, variant: models.Variant, settings: PageSettings
) -> tuple[PageTask, Manifest, np.ndarray]:
    """The page as predicted, the outcome of its chapter, and the page as published."""
    task = task_of(str(home), {"ep.cbz": zipped({"1.png": saved(INK)})})
    stages = stages_of(home, settings)
    (chunk,) = stages.open(task)
    chunk = Predictor(variant, 4, luminance=settings.postprocess.luminance != "keep")(stages.prepare(chunk))
    page = replace(chunk.pages[0])
    outcome = stages.postprocess(chunk).outcome
    assert outcome is not None
    return page, outcome, decode(members_of((home / "out/ep.cbz").read_bytes())["1.png"])


def lightness(page: np.ndarray) -> np.ndarray:
    return to_lab(page)[..., 0]


def own() -> np.ndarray:
    return lightness_of_level()[INK]


@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize("way", WAYS)
def test_a_page_gets_the_luminance_that_was_asked_for(
    tmp_path: Path, variant: models.Variant, way: Luminance, strategy: Strategy
) -> None:
    settings = PageSettings(
        "png", strategy, postprocess=PostprocessSettings(text="colour", thresholds=OPEN, luminance=way)
    )
    task, outcome, page = through_the_stages(tmp_path, variant, settings)
    assert [page.code for page in outcome.pages] == [""]
    assert task.chroma is not None
    assert task.chroma.dtype == np.float16
    assert task.chroma.shape[2] == (2 if way == "keep" else 3)
    if way == "keep":
        wanted = own()
    else:
        wanted = lightness_of_level()[relight(INK, task.chroma[..., 2].astype(np.float32), way)]
        assert np.abs(wanted - own()).mean() > 3  # an untrained network predicts another luminance
    np.testing.assert_allclose(lightness(page), wanted, atol=0.6)  # the rounding of 8 bits


def test_blend_lies_between_the_other_two() -> None:
    colors = np.full((SIZE, SIZE, 3), (10, 20, 40), np.float32)
    settings = PostprocessSettings(text="colour", thresholds=OPEN)
    made = {way: lightness(postprocess_page(INK, colors, replace(settings, luminance=way)).page) for way in WAYS}
    tone = {
        way: cv2.resize(page, (12, 16), interpolation=cv2.INTER_AREA) for way, page in made.items()
    }  # scaled down: the tone, without the lines
    light = tone["keep"] > 60
    assert (tone["predict"][light] < tone["blend"][light] - 5).all()
    assert (tone["blend"][light] < tone["keep"][light] - 5).all()
    assert np.ptp(made["predict"]) < 1


def test_luminance_goes_with_the_chroma_of_the_same_prediction(variant: models.Variant) -> None:
    grays = np.random.default_rng(0).integers(0, 256, (3, SIZE, SIZE), np.uint8)
    colors = predict_colors(variant, grays)
    assert colors.shape == (3, SIZE, SIZE, 3)
    np.testing.assert_allclose(colors[..., :2], predict_chroma(variant, grays), atol=1e-4)
    assert (colors[..., 2] >= 0).all()
    assert (colors[..., 2] <= 100.01).all()


def test_a_reference_changes_the_chroma_alone(tmp_path: Path, variant: models.Variant) -> None:
    settings = PageSettings("png", postprocess=PostprocessSettings(luminance="blend"))
    gray = np.random.default_rng(0).integers(0, 256, (SIZE, SIZE), np.uint8)
    chroma = np.full((SIZE, SIZE, 2), (30, -30), np.float32)
    reference = build_reference([ReferencePage(gray, chroma, predict_chroma(variant, gray[None])[0])])
    task = task_of(str(tmp_path), {"ep.cbz": zipped({"1.png": saved(INK)})})
    stages = stages_of(tmp_path, settings)
    predicted = []
    for known in (None, reference):
        (chunk,) = stages.open(task)
        predict = Predictor(variant, 4, reference=known, luminance=True)
        predicted.append(predict(stages.prepare(chunk)).pages[0].chroma)
    plain, followed = predicted
    assert plain is not None
    assert followed is not None
    np.testing.assert_array_equal(plain[..., 2], followed[..., 2])
    assert np.abs(plain[..., :2] - followed[..., :2]).mean() > 3


def test_where_the_gate_refuses_it_the_page_keeps_its_own_and_this_is_told(
    tmp_path: Path, variant: models.Variant
) -> None:
    strict = replace(OPEN, ssim=Thresholds.ssim, lines=Thresholds.lines)
    settings = PageSettings("png", postprocess=PostprocessSettings(thresholds=strict, luminance="predict"))
    _, outcome, page = through_the_stages(tmp_path, variant, settings)
    np.testing.assert_allclose(lightness(page), own(), atol=0.6)
    (record,) = outcome.pages
    assert (outcome.status, record.action, record.code) == ("done", "coloured", "INK")
    assert "in the network's luminance; the page has its own" in record.message
    assert "like the source's to" in record.message


def test_a_luminance_that_the_gate_passes_is_not_told(variant: models.Variant) -> None:
    gray = np.full((300, 200), 180, np.uint8)
    gray[::30] = 0
    near = lightness_of_level()[180] - 9
    colors = np.full((SIZE, SIZE, 3), (10, 20, near), np.float32)
    settings = PostprocessSettings(
        thresholds=replace(OPEN, ssim=Thresholds.ssim, lines=Thresholds.lines), luminance="blend"
    )
    made = postprocess_page(gray, colors, settings)
    assert made.faults == ()
    assert np.abs(lightness(made.page)[15] - lightness_of_level()[180]).min() > 1


# -- the option


def job_settings(model: Path, **options: str) -> JobSettings:
    return JobSettings.of(ColorizeConfig(model=str(model), source="/in", out="/out", **options))  # type: ignore[arg-type]


def test_it_is_part_of_the_fingerprint_only_where_it_changes_something(tmp_path: Path) -> None:
    publish_untrained(tmp_path / "rgb", image_size=SIZE, base_channels=4, target="rgb")
    plain = job_settings(tmp_path / "rgb")
    assert "luminance" not in plain.recorded()
    assert job_settings(tmp_path / "rgb", luminance="keep").fingerprint == plain.fingerprint
    others = {job_settings(tmp_path / "rgb", luminance=way).fingerprint for way in WAYS[1:]}
    assert len({plain.fingerprint, *others}) == 3


@pytest.mark.parametrize("way", WAYS[1:])
def test_a_model_that_predicts_no_luminance_is_bad_usage(model: Path, way: str) -> None:
    with pytest.raises(BadUsageError, match=f"--luminance {way}: .* target is ab; give a model .* --target rgb"):
        job_settings(model, luminance=way)


@pytest.mark.parametrize("options", [["--luminance", "blend"], ["--luminance", "half"]])
def test_bad_usage_ends_with_its_exit_code(tmp_path: Path, model: Path, options: Sequence[str]) -> None:
    places = ["--model", str(model), "--source", str(tmp_path), "--out", str(tmp_path / "out")]
    ended = CliRunner().invoke(cli, [*places, *options])
    assert ended.exit_code == 2
    assert not (tmp_path / "out").exists()
