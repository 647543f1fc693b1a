"""Coloured pages as a reference: which are taken, what they change, and that they make another job."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch

import models
from datasets.errors import BadUsageError
from datasets.synthetic import Series, draw_page
from imaging.color import to_lab
from imaging.palette import Palette
from imaging.postprocess import postprocess_page
from jobs.parts.colorize.config import ColorizeConfig
from jobs.parts.colorize.page_settings import PageSettings
from jobs.parts.colorize.plan import plan
from jobs.parts.colorize.predictor import Predictor
from jobs.parts.colorize.reference import read_reference_pages
from jobs.parts.colorize.settings import JobSettings
from jobs.parts.colorize.stages import Stages
from jobs.parts.ledger.ledger import Ledger
from jobs.parts.source import reader
from jobs.parts.source.policy import Policy
from tests.archives import zipped
from tests.jobs.colorize.chapters import FINGERPRINT, saved, task_of

SIZE = 64
SERIES = Series(seed=2, chapters=1, pages=4, width=240, height=336)
INK = draw_page(SERIES, 1, 3).ink


@pytest.fixture(scope="module")
def variant() -> models.Variant:
    torch.manual_seed(0)
    return models.build("pix2pix", {"image_size": SIZE, "base_channels": 4})


@pytest.fixture(scope="module")
def colored() -> dict[str, bytes]:
    return {f"{page}.png": saved(draw_page(SERIES, 1, page).color) for page in (1, 2)}


def write(folder: Path, files: dict[str, bytes]) -> str:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "ch1.cbz").write_bytes(zipped(files))
    return str(folder)


def test_pages_in_colour_are_taken_and_others_are_not(tmp_path: Path, colored: dict[str, bytes]) -> None:
    gray = saved(draw_page(SERIES, 1, 3).ink)
    uri = write(tmp_path, {"0.png": gray, **colored, "3.png": b"no picture"})
    reference_pages = read_reference_pages(uri, SIZE, Policy(), follows=False)
    assert reference_pages.pages == ("ch1.cbz/1.png", "ch1.cbz/2.png")
    assert (reference_pages.grays.shape, reference_pages.chromas.shape) == ((2, SIZE, SIZE), (2, SIZE, SIZE, 2))
    truth = to_lab(draw_page(SERIES, 1, 1).color)[..., 1:].mean(axis=(0, 1))
    np.testing.assert_allclose(reference_pages.chromas[0].mean(axis=(0, 1)), truth, atol=3)


def test_a_network_that_follows_is_given_more_pages_spread_over_the_chapters(
    tmp_path: Path, colored: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("jobs.parts.colorize.reference._MOST_CORRECTING", 2)
    monkeypatch.setattr("jobs.parts.colorize.reference._MOST_FOLLOWED", 3)
    for name in ("a", "b"):
        write(tmp_path / name, colored)
    taken = [read_reference_pages(str(tmp_path), SIZE, Policy(), follows=follows).pages for follows in (False, True)]
    assert taken[0] == ("a/ch1.cbz/1.png", "b/ch1.cbz/1.png")
    assert taken[1] == (*taken[0], "a/ch1.cbz/2.png")


def test_pages_are_taken_from_all_over_a_library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("jobs.parts.colorize.reference._MOST_FOLLOWED", 4)
    color, gray = saved(draw_page(SERIES, 1, 1).color), saved(draw_page(SERIES, 1, 1).ink)

    def taken(name: str) -> tuple[str, ...]:
        return read_reference_pages(str(tmp_path / name), SIZE, Policy(), follows=True).pages

    write(tmp_path / "one", {f"{n}.png": color for n in range(10, 26)})
    assert taken("one") == tuple(f"ch1.cbz/{n}.png" for n in (10, 14, 18, 22))
    for chapter in range(10, 20):
        write(tmp_path / f"many/{chapter}", {"1.png": color, "2.png": color})
    assert taken("many") == tuple(f"{chapter}/ch1.cbz/1.png" for chapter in (10, 12, 15, 17))
    write(tmp_path / "late", {**{f"{n}.png": gray for n in range(10, 90)}, "90.png": color})
    assert taken("late") == ("ch1.cbz/90.png",)
    monkeypatch.setattr("jobs.parts.colorize.reference._MOST_LOOKED", 70)
    write(tmp_path / "gray", {f"{n}.png": gray for n in range(10, 90)})
    with pytest.raises(BadUsageError, match="holds no page in colour among the 70 of 80 that were looked at"):
        taken("gray")


def test_chapters_are_looked_into_as_far_as_pages_are_wanted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    color = saved(draw_page(SERIES, 1, 1).color)
    monkeypatch.setattr("jobs.parts.colorize.reference._MOST_CORRECTING", 3)
    for chapter in range(10, 20):
        write(tmp_path / f"many/{chapter}", {"1.png": color, "2.png": color})
    opened = []
    real = reader.look_inside
    monkeypatch.setattr(reader, "look_inside", lambda ref, policy: opened.append(ref.rel) or real(ref, policy))
    monkeypatch.setattr("jobs.parts.colorize.reference.sandbox", lambda: Here())

    pages = read_reference_pages(str(tmp_path / "many"), SIZE, Policy(), follows=False).pages

    assert opened == ["10/ch1.cbz", "11/ch1.cbz", "12/ch1.cbz"]
    assert pages == tuple(f"{rel}/1.png" for rel in opened)


class Here:
    """A sandbox that calls in this process."""

    def call(self, function: Callable[..., Any], *arguments: Any, seconds: float) -> Any:
        return function(*arguments)


def test_a_reference_without_colour_is_refused(tmp_path: Path, model: Path) -> None:
    uri = write(tmp_path, {"0.png": saved(draw_page(SERIES, 1, 3).ink)})
    with pytest.raises(BadUsageError, match=r"--reference .* no page in colour"):
        JobSettings.of(ColorizeConfig(model=str(model), source="/in", out="/out", reference=uri))


def test_another_reference_makes_another_job(tmp_path: Path, model: Path, colored: dict[str, bytes]) -> None:
    one, two = write(tmp_path / "one", colored), write(tmp_path / "two", {"1.png": colored["1.png"]})
    made = [
        JobSettings.of(ColorizeConfig(model=str(model), source="/in", out="/out", reference=uri)).fingerprint
        for uri in ("", one, two, one)
    ]
    assert len(set(made)) == 3
    assert made[1] == made[3]


def test_pages_come_nearer_to_the_reference(tmp_path: Path, variant: models.Variant, colored: dict[str, bytes]) -> None:
    page = draw_page(SERIES, 1, 1)
    task, settings = task_of(str(tmp_path), {"ep.cbz": zipped({"1.png": saved(page.ink)})}), PageSettings("png")
    reference_pages = read_reference_pages(
        write(tmp_path / "reference", {"1.png": colored["1.png"]}), SIZE, Policy(), follows=False
    )
    stages = Stages(Ledger(str(tmp_path / "out"), FINGERPRINT), settings, SIZE)
    errors = []
    for reference in (None, reference_pages.reference(variant)):
        (chunk,) = stages.open(task)
        (page,) = Predictor(variant, 4, reference=reference)(stages.prepare(chunk)).pages
        assert page.chroma is not None
        errors.append(float(np.square(page.chroma.astype(float) - reference_pages.chromas[0]).mean()))
    assert errors[1] < 0.9 * errors[0]


# -- the palette of the reference


def test_the_palette_is_kept_with_the_output_and_may_be_edited(
    tmp_path: Path, model: Path, colored: dict[str, bytes]
) -> None:
    reference, source = write(tmp_path / "reference", colored), write(tmp_path / "in", {"1.png": saved(INK)})

    def job_settings(out: str, **options: str) -> JobSettings:
        return JobSettings.of(ColorizeConfig(model=str(model), source=source, out=str(tmp_path / out), **options))

    auto = job_settings("out", reference=reference, palette="auto")
    plan(source, Ledger(auto.out, auto.fingerprint), auto, replace=False)
    kept = tmp_path / "out/_mangahue/palette.json"
    assert auto.pages.palette is not None
    assert job_settings("other", palette=str(kept)).pages.palette == auto.pages.palette

    edited = json.loads(kept.read_text())
    seen = next(c for c in edited["colors"] if 30 < c["centre"][0] < 80 and np.hypot(*c["ab"]) > 10)
    seen["ab"] = [-value for value in seen["ab"]]
    (tmp_path / "mine.json").write_text(json.dumps(edited))
    mine = job_settings("other", palette=str(tmp_path / "mine.json"))
    assert mine.fingerprint == job_settings("other", palette=str(kept)).fingerprint != job_settings("other").fingerprint
    page = draw_page(SERIES, 1, 1)
    chroma = cv2.resize(np.ascontiguousarray(to_lab(page.color)[..., 1:]), (SIZE, SIZE), interpolation=cv2.INTER_AREA)
    plain = postprocess_page(page.ink, chroma, auto.pages.postprocess).page
    changed = (
        np.abs(postprocess_page(page.ink, chroma, mine.pages.postprocess).page.astype(int) - plain).max(axis=2) > 20
    )
    assert 0.01 < changed.mean() < 0.9  # only where that colour is


def test_auto_is_what_was_made_of_it_by_hand(tmp_path: Path, model: Path, colored: dict[str, bytes]) -> None:
    reference, out, kept = write(tmp_path / "in", colored), tmp_path / "out", tmp_path / "out/_mangahue/palette.json"

    def palette(**options: Any) -> Palette | None:
        given = {"model": str(model), "source": "/in", "out": str(out), "reference": reference, "palette": "auto"}
        return JobSettings.of(ColorizeConfig(**given, **options)).pages.palette

    built = palette()
    assert built is not None
    edited = built.edited(built.colors[0].name, (40.0, -30.0))
    kept.parent.mkdir(parents=True)
    kept.write_text(json.dumps(edited.to_dict()))
    assert palette() == edited
    assert palette(replace=True) == built
    kept.write_text(json.dumps(Palette(edited.colors[1:]).to_dict()))
    with pytest.raises(BadUsageError, match=r"other colours than --reference.* --palette, or --replace"):
        palette()
    kept.write_text("{")
    with pytest.raises(BadUsageError, match="correct the file"):
        palette()


def test_other_centres_make_another_job_and_other_names_do_not(tmp_path: Path, model: Path) -> None:
    color = {"name": "hat", "ab": [1, 2], "centre": [50, 1, 2, 0.5], "weight": 0.5}

    def fingerprint(*colors: dict[str, Any]) -> str:
        (tmp_path / "palette.json").write_text(json.dumps({"colors": colors}))
        given = {"model": str(model), "source": "/in", "out": "/out", "palette": str(tmp_path / "palette.json")}
        return JobSettings.of(ColorizeConfig(**given)).fingerprint

    same = [fingerprint(color), fingerprint(color | {"ab": [9, 9]}), fingerprint(color | {"name": "coat", "weight": 0})]
    assert len(set(same)) == 1
    assert (
        len({same[0], fingerprint(color, color), fingerprint(color | {"centre": [51, 1, 2, 0.5]}), fingerprint()}) == 4
    )


@pytest.mark.parametrize(
    ("palette", "told"),
    [("auto", "give that too"), ("{}", "correct the file"), ("[", "correct the file"), ("none.json", "palette.json")],
)
def test_a_palette_that_is_none_is_told(tmp_path: Path, model: Path, palette: str, told: str) -> None:
    if palette == "{}":
        (tmp_path / "bad.json").write_text('{"colors": [{"ab": [1]}]}')
        palette = str(tmp_path / "bad.json")
    elif palette == "[":
        (tmp_path / "bad.json").write_text("[" * 10**5)
        palette = str(tmp_path / "bad.json")
    elif palette != "auto":
        palette = str(tmp_path / palette)
    with pytest.raises(BadUsageError, match=told):
        JobSettings.of(ColorizeConfig(model=str(model), source="/in", out="/out", palette=palette))
