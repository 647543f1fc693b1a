"""Small pictures for the report: of which pages, where they are written, and that nothing else is disturbed by them."""

import io
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
import torch
from PIL import Image

import models
from datasets.archive import find_chapters
from datasets.errors import StorageError
from datasets.storage import open_storage
from datasets.storage_disk import LocalStorage
from datasets.synthetic import Series, draw_page
from imaging.gate import Thresholds
from imaging.hints import Hint
from imaging.overlay import LAYERS
from imaging.postprocess import PostprocessSettings
from imaging.text import find_text
from jobs.parts.colorize.conclude import _MOST_SHOWN, conclude, previews_of
from jobs.parts.colorize.config import ColorizeConfig
from jobs.parts.colorize.hints import ChapterHints
from jobs.parts.colorize.page_settings import PageSettings
from jobs.parts.colorize.plan import plan
from jobs.parts.colorize.predictor import Predictor
from jobs.parts.colorize.previews import _LONGEST_ALONE, _MOST_FLAWED, SAMPLED_CHAPTERS, draw_preview, small_picture
from jobs.parts.colorize.settings import JobSettings
from jobs.parts.colorize.stages import Stages
from jobs.parts.colorize.tasks import CHUNK_MEMBERS, ChapterTask
from jobs.parts.ledger.ledger import HOME, Ledger
from jobs.parts.ledger.manifest import Manifest, PageRecord, _digest
from jobs.parts.runtime.outcome import Exit
from jobs.parts.verify.check import _strays, open_published
from tests.archives import zipped
from tests.jobs.colorize.chapters import (
    FINGERPRINT,
    LENIENT,
    SIZE,
    color_chapter,
    color_page,
    gray_levels,
    gray_page,
    saved,
    task_of,
)

PASSES = PageSettings(postprocess=PostprocessSettings(thresholds=LENIENT))
FAILS = PageSettings(postprocess=PostprocessSettings(thresholds=Thresholds(dull=100, drab=101, wild=200)))

BLANK = np.full((300, 200), 255, np.uint8)


@pytest.fixture(scope="module")
def variant() -> models.Variant:
    torch.manual_seed(0)
    return models.build("pix2pix", {"image_size": SIZE, "base_channels": 4})


def chapter(task: ChapterTask, ledger: Ledger, variant: models.Variant, settings: PageSettings) -> Manifest:
    return color_chapter(task, Stages(ledger, settings, SIZE), Predictor(variant, 8))


def previews(out: str) -> dict[str, bytes]:
    storage = open_storage(out)
    return {entry.key: storage.read(entry.key) for entry in storage.list(f"{HOME}/previews/")}


def suffixes(place: str) -> set[str]:
    return {f"{HOME}/{place}.jpg", *(f"{HOME}/{place}.{layer}.svg" for layer in LAYERS)}


def shown(manifest: Manifest) -> dict[str, str]:
    return {page.name: page.preview for page in manifest.pages if page.preview}


@pytest.mark.parametrize("sample", [True, False])
def test_of_a_chapter_that_passes_the_first_coloured_page_is_a_sample(
    tmp_path: Path, variant: models.Variant, sample: bool
) -> None:
    files = {"0.png": color_page(), "1.png": gray_page(1), "2.png": gray_page(2)}
    task = replace(task_of(str(tmp_path), {"v/ep.cbz": zipped(files)}), sample=sample)
    out = str(tmp_path / "out")
    manifest = chapter(task, Ledger(out, FINGERPRINT), variant, PASSES)
    assert shown(manifest) == ({"1.png": "previews/v/ep.cbz/0-0"} if sample else {})
    assert set(previews(out)) == (suffixes("previews/v/ep.cbz/0-0") if sample else set())
    assert shown(manifest.summary()) == shown(manifest)  # the driver knows


def test_a_long_chapter_without_previews_leaves_its_manifest_and_no_folder(
    tmp_path: Path, variant: models.Variant
) -> None:
    pages = {f"{i:03}.png": saved(gray_levels(i, 24, 20)) for i in range(CHUNK_MEMBERS + 3)}
    out = tmp_path / "out"
    assert chapter(task_of(str(tmp_path), {"v/ep.cbz": zipped(pages)}), Ledger(str(out), FINGERPRINT), variant, PASSES)
    left = {str(path.relative_to(out)) for path in out.rglob("*")}
    assert left == {"v", "v/ep.cbz", HOME, f"{HOME}/chapters", f"{HOME}/chapters/v", f"{HOME}/chapters/v/ep.cbz.json"}


def test_of_pages_that_the_gate_refuses_a_few_of_each_chunk_are_shown(tmp_path: Path, variant: models.Variant) -> None:
    pages = {f"{i:03}.png": saved(gray_levels(i, 24, 20)) for i in range(CHUNK_MEMBERS + 3)}
    out = str(tmp_path / "out")
    task = replace(task_of(str(tmp_path), {"ep.cbz": zipped(pages)}), sample=True)
    manifest = chapter(task, Ledger(out, FINGERPRINT), variant, FAILS)
    assert manifest.status == "done"
    assert {page.code for page in manifest.pages} == {"DULL"}
    of_chunk = [[name for name, place in shown(manifest).items() if f"/{n}-" in place] for n in (0, 1)]
    assert of_chunk == [sorted(pages)[:_MOST_FLAWED], sorted(pages)[CHUNK_MEMBERS:]]
    assert set(previews(out)) == {key for place in shown(manifest).values() for key in suffixes(place)}
    other = chapter(task, Ledger(str(tmp_path / "out2"), FINGERPRINT), variant, PASSES)
    assert shown(other) == {"000.png": "previews/ep.cbz/0-0"}  # one sample per chapter, not per chunk


def test_a_stage_that_runs_twice_writes_the_same(tmp_path: Path, variant: models.Variant) -> None:
    task = replace(
        task_of(str(tmp_path), {"ep.cbz": zipped({f"{i}.png": gray_page(i) for i in range(3)})}), sample=True
    )
    out = str(tmp_path / "out")
    ledger = Ledger(out, FINGERPRINT)
    first = chapter(task, ledger, variant, FAILS)
    wrote = previews(out)
    assert chapter(replace(task, over=1), Ledger(out, "b2" * 32), variant, FAILS).status == "done"  # done again
    assert previews(out) == wrote
    assert len(wrote) == 3 * (1 + len(LAYERS))
    again = chapter(replace(task, over=2), Ledger(out, "c3" * 32), variant, PASSES)
    assert shown(again) == {"0.png": shown(first)["0.png"]}
    assert set(previews(out)) == set(wrote)  # overwritten, and nothing new beside them


def test_pages_that_stay_keep_their_previews(tmp_path: Path) -> None:
    """Two of three pages are done again because of their hints. Their previews do not overwrite the third's."""
    task, out = (
        task_of(str(tmp_path), {"ep.cbz": zipped({f"{n}.png": gray_page(int(n)) for n in "123"})}),
        str(tmp_path / "out"),
    )
    variant = models.build("exemplar", {"image_size": SIZE, "base_channels": 4})
    ledger = Ledger(out, FINGERPRINT)
    first = chapter(task, ledger, variant, FAILS)
    before = previews(out)
    hint = Hint(5, 5, 3, (40.0, 0.0))

    again = replace(task, over=1, hints=ChapterHints({"1.png": (hint,), "3.png": (hint,)}))
    second = chapter(again, ledger, variant, FAILS)

    assert second.taken == 1
    places = [page.preview for page in second.pages]
    assert len(set(places)) == 3
    assert places[1] == first.pages[1].preview
    after = previews(out)
    assert all(after[name] == before[name] for name in suffixes(places[1]))


@pytest.fixture
def mixed(tmp_path: Path) -> ChapterTask:
    """A chapter of one page in colour, one that is no picture, and twelve to colour."""
    files = {"00.png": color_page(), "01.png": b"no picture"} | {f"{n:02}.png": gray_page(n) for n in range(2, 14)}
    return replace(task_of(str(tmp_path), {"ep.cbz": zipped(files)}), sample=True)


def chapter_with_all(
    task: ChapterTask, tmp_path: Path, variant: models.Variant, settings: PageSettings, hinted: Sequence[str] = ()
) -> Manifest:
    hints = ChapterHints({name: (Hint(5, 5, 3, (40.0, 0.0)),) for name in hinted})
    stages = Stages(Ledger(str(tmp_path / "out"), FINGERPRINT), settings, SIZE, previews="all")
    return color_chapter(replace(task, hints=hints), stages, Predictor(variant, 8))


@pytest.mark.parametrize("settings", [PASSES, FAILS])
def test_every_page_has_a_picture(
    mixed: ChapterTask, tmp_path: Path, variant: models.Variant, settings: PageSettings
) -> None:
    manifest = chapter_with_all(mixed, tmp_path, variant, settings)
    kept, flagged, *coloured = manifest.pages
    assert kept.preview == "previews/ep.cbz/page-0"
    assert flagged.preview == ""
    layered = 1 if settings is PASSES else _MOST_FLAWED
    assert [page.is_shown for page in coloured] == [n < layered for n in range(12)]
    assert [page.preview for page in coloured[layered:]] == [
        f"previews/ep.cbz/page-{n}" for n in range(2 + layered, 14)
    ]
    expected = {f"{HOME}/previews/ep.cbz/page-{n}.jpg" for n in (0, *range(2 + layered, 14))}
    written = previews(str(tmp_path / "out"))
    assert set(written) == expected.union(*(suffixes(page.preview) for page in coloured[:layered]))
    reds = np.asarray(Image.open(io.BytesIO(written[f"{HOME}/{kept.preview}.jpg"])))[4:20].mean((0, 1))
    assert np.abs(reds - (220, 40, 40)).max() < 4  # not in the order that OpenCV has
    told = {page.name for page in manifest.summary().pages}
    named = coloured[:layered] if settings is PASSES else coloured
    assert told == {"01.png", *(page.name for page in named)}  # a driver keeps no more of a chapter


def test_a_page_done_again_has_a_new_picture_and_the_others_keep_theirs(mixed: ChapterTask, tmp_path: Path) -> None:
    variant = models.build("exemplar", {"image_size": SIZE, "base_channels": 4})
    chapter_with_all(mixed, tmp_path, variant, PASSES)
    before = previews(str(tmp_path / "out"))
    again = chapter_with_all(replace(mixed, over=1), tmp_path, variant, PASSES, ["07.png"])
    after = previews(str(tmp_path / "out"))
    assert again.taken == 13
    assert {key for key in after if after[key] != before.get(key)} == {f"{HOME}/previews/ep.cbz/page-7.jpg"}
    assert set(after) == set(before)


def test_a_page_whose_picture_can_not_be_stored_has_none(
    mixed: ChapterTask, tmp_path: Path, variant: models.Variant, monkeypatch: pytest.MonkeyPatch
) -> None:
    put = LocalStorage.put

    def refuse(self: LocalStorage, key: str, *given: object, **named: object) -> object:
        if key.endswith("page-5.jpg"):
            raise StorageError("no room")
        return put(self, key, *given, **named)  # type: ignore[arg-type]

    monkeypatch.setattr(LocalStorage, "put", refuse)
    manifest = chapter_with_all(mixed, tmp_path, variant, PASSES)
    assert [page.name for page in manifest.pages if not page.preview] == ["01.png", "05.png"]


@pytest.mark.parametrize("shape", [(1, 1), (1, 700), (900, 2), (31, 33), (1401, 993, 3), (3000, 701, 3)])
def test_a_small_picture_looks_like_its_page(shape: tuple[int, ...]) -> None:
    y, x = np.mgrid[: shape[0], : shape[1]]
    page = (40 + 100 * y / shape[0] + 90 * x / shape[1]).astype(np.uint8)
    page = page if len(shape) == 2 else np.dstack([page, page // 2, 255 - page])
    picture = Image.open(io.BytesIO(small_picture(page)))
    assert max(picture.size) == min(_LONGEST_ALONE, max(shape))
    expected = np.asarray(Image.fromarray(page).resize(picture.size, Image.Resampling.BOX)).astype(int)
    assert np.abs(np.asarray(picture) - expected).mean() < 2.5


def test_a_preview_is_small_and_its_layers_lie_over_it() -> None:
    ink = draw_page(Series(seed=1, chapters=1, pages=8, width=992, height=1400), 1, 3).ink
    preview = draw_preview(ink, np.repeat(ink[..., None], 3, axis=2), find_text(ink))
    picture = Image.open(io.BytesIO(preview.picture))
    assert (picture.format, picture.size) == ("JPEG", (453, 640))
    assert len(preview.picture) < 100_000
    for layer in LAYERS:
        root = ElementTree.fromstring(preview.layers[layer])
        assert root.attrib["viewBox"] == "0 0 453 640"
        assert len(preview.layers[layer]) < 40_000
    assert preview.layers["panels"].count(b"M") > 1
    blank = draw_preview(BLANK, np.repeat(BLANK[..., None], 3, axis=2), find_text(BLANK))
    assert [b"<text" in blank.layers[layer] for layer in LAYERS] == [True, True, False]  # all of it is one area
    assert b"no words found" in blank.layers["words"]


@pytest.mark.parametrize("shape", [(1, 1), (1, 700), (900, 2), (31, 33)])
def test_a_page_of_any_shape_has_one(shape: tuple[int, int]) -> None:
    gray = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
    picture = Image.open(io.BytesIO(draw_preview(gray, np.repeat(gray[..., None], 3, axis=2), find_text(gray)).picture))
    assert max(picture.size) == min(640, max(shape))


# -- a job


@pytest.fixture
def job_settings(tmp_path: Path, model: Path) -> JobSettings:
    return JobSettings.of(ColorizeConfig(model=str(model), source=str(tmp_path / "in"), out=str(tmp_path / "out")))


def test_samples_are_spread_over_the_chapters_of_a_job(tmp_path: Path, job_settings: JobSettings) -> None:
    for number in range(SAMPLED_CHAPTERS * 2 + 50):
        (tmp_path / "in").mkdir(exist_ok=True)
        (tmp_path / f"in/{number:04}.cbz").write_bytes(b"")
    state = plan(
        job_settings.config["source"], Ledger(job_settings.out, job_settings.fingerprint), job_settings, replace=False
    )
    chosen = [task.ref.rel for task in state.tasks if task.sample]
    assert chosen == [f"{number:04}.cbz" for number in range(0, 250, 3)]


def test_neither_the_end_of_a_job_nor_verify_stumbles_over_previews(
    tmp_path: Path, job_settings: JobSettings, variant: models.Variant
) -> None:
    task_of(str(tmp_path), {"a/ep.cbz": zipped({"1.png": gray_page(1), "2.png": gray_page(2), "3.png": color_page()})})
    ledger = Ledger(job_settings.out, job_settings.fingerprint)
    state = plan(job_settings.config["source"], ledger, job_settings, replace=False)
    state.record(chapter(state.tasks[0], ledger, variant, FAILS))
    assert conclude(state, ledger, job_settings) is Exit.DONE
    html = open_storage(job_settings.out).read(f"{HOME}/report.html").decode()
    for number in range(2):
        assert f'src="previews/a/ep.cbz/0-{number}.jpg"' in html
        assert (tmp_path / f"out/{HOME}/previews/a/ep.cbz/0-{number}.jpg").exists()
    assert "hardly any colour" in html
    (line,) = json.loads(ledger.storage.read(f"{HOME}/report.json"))["lines"]
    assert [line[name] for name in ("pages", "coloured", "kept", "doubted")] == [3, 2, 1, 2]
    published = open_published(job_settings.out)
    assert [manifest.status for manifest in published.manifests.values()] == ["done"]
    assert list(_strays(published)) == []
    assert [ref.rel for ref in find_chapters(job_settings.out)] == ["a/ep.cbz"]
    again = plan(job_settings.config["source"], ledger, job_settings, replace=False)
    assert again.tasks == []
    assert shown(again.results["a/ep.cbz"]).keys() == {"1.png", "2.png"}  # a later report shows them too


def test_the_report_shows_what_the_gate_refused_first_and_no_more_than_it_can() -> None:
    page = chapter_page()
    results = [
        replace(page, rel=f"{n}.cbz", pages=[replace(page.pages[0], name=str(n), code="DULL" if n % 2 else "")])
        for n in range(_MOST_SHOWN * 3 // 2)
    ]
    found = previews_of(results)
    assert len(found) == _MOST_SHOWN
    told = [n for n in range(_MOST_SHOWN * 3 // 2) if n % 2]
    samples = [n for n in range(_MOST_SHOWN * 3 // 2) if not n % 2]
    assert [int(one.name) for one in found] == (told + samples)[:_MOST_SHOWN]


def chapter_page() -> Manifest:
    page = PageRecord("1.png", "1.jpg", 0, "coloured", "", preview="previews/ep.cbz/0-0", width=40, height=56)
    return Manifest("ep.cbz", "/in/ep.cbz", "v", FINGERPRINT, "done", pages=[page])


def test_a_manifest_of_before_there_were_previews_is_read() -> None:
    values = json.loads(chapter_page().to_json())
    del values["digest"]
    for page in values["pages"]:
        del page["preview"]
    text = json.dumps({**values, "digest": _digest(values)})
    assert Manifest.from_json(text).pages[0].preview == ""
