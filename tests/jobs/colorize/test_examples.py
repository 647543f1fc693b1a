"""A chapter's own coloured pages, which a network that follows some is shown for its others."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import models
from imaging.hints import Hint
from jobs.parts.colorize.config import ColorizeConfig
from jobs.parts.colorize.hints import ChapterHints
from jobs.parts.colorize.predictor import Predictor
from jobs.parts.colorize.settings import JobSettings
from jobs.parts.colorize.stages import Stages
from jobs.parts.colorize.tasks import CHUNK_MEMBERS
from jobs.parts.ledger.ledger import Ledger
from tests.archives import tarred, zipped
from tests.jobs.colorize.chapters import color_chapter, color_page, gray_page, over, stages_of, task_of
from tests.untrained import publish_untrained

SIZE = 32


@pytest.fixture(scope="module")
def exemplar(tmp_path_factory: pytest.TempPathFactory) -> models.Variant:
    return publish_untrained(tmp_path_factory.mktemp("exemplar"), "exemplar", image_size=SIZE, base_channels=8)


def stages(home: Path, *, follows: bool = True) -> Stages:
    plain = stages_of(home)
    return Stages(plain.ledger, plain.settings, SIZE, follows=follows)


def opened(home: Path, files: Mapping[str, bytes], name: str = "ep.cbz", *, follows: bool = True) -> list[int]:
    """How many examples each chunk of a chapter has."""
    pack = tarred if name.endswith("cbt") else zipped
    task = task_of(str(home), {name: pack(files)})
    return [len(chunk.examples) for chunk in stages(home, follows=follows).open(task)]


@pytest.mark.parametrize("name", ["ep.cbz", "ep.cbt"])
def test_the_coloured_among_the_first_pages_are_examples_for_each_chunk(tmp_path: Path, name: str) -> None:
    opening = {"0.png": color_page(), "1.png": gray_page(1), "2.png": color_page("JPEG"), "3.png": b"no picture"}
    rest = {f"{n}.png": gray_page(n) for n in range(4, CHUNK_MEMBERS + 8)} | {"40.png": color_page()}

    assert opened(tmp_path, opening | rest, name) == [2, 2]


def test_a_chapter_without_colour_and_a_network_that_follows_none_have_no_examples(tmp_path: Path) -> None:
    assert opened(tmp_path / "a", {"0.png": gray_page(0), "1.png": gray_page(1)}) == [0]
    assert opened(tmp_path / "b", {"0.png": color_page(), "1.png": gray_page(1)}, follows=False) == [0]


def test_the_pages_of_one_chapter_follow_its_cover_and_those_of_the_next_do_not(
    tmp_path: Path, exemplar: models.Variant
) -> None:
    def predicted(home: str, files: dict[str, bytes]) -> np.ndarray:
        job = stages(tmp_path / home)
        (chunk,) = job.open(task_of(str(tmp_path / home), {"ep.cbz": zipped(files)}))
        chunk = predictor(job.prepare(chunk))
        assert chunk.examples == []  # nothing more is to be sent on
        chroma = chunk.pages[-1].chroma
        assert chroma is not None
        return chroma

    predictor = Predictor(exemplar, 4)
    plain = {"1.png": gray_page(1)}

    alone = predicted("a", plain)
    covered = predicted("b", {"0.png": color_page(), **plain})
    after = predicted("c", plain)

    assert np.abs(covered - alone).max() > 0.1
    np.testing.assert_array_equal(after, alone)


def test_a_job_shows_covers_where_its_model_follows_any(tmp_path: Path, model: Path) -> None:
    publish_untrained(tmp_path / "exemplar", "exemplar", image_size=SIZE, base_channels=8)
    task = task_of(str(tmp_path), {"ep.cbz": zipped({"0.png": color_page(), "1.png": gray_page(1)})})

    for folder, count in ((tmp_path / "exemplar", 1), (model, 0)):
        settings = JobSettings.of(ColorizeConfig(model=str(folder), source="/in", out=str(tmp_path / folder.name)))
        (chunk,) = Stages.of(settings, Ledger(settings.out, settings.fingerprint)).open(task)
        assert len(chunk.examples) == count


def test_a_page_that_is_coloured_again_alone_follows_its_cover_as_before(
    tmp_path: Path, exemplar: models.Variant
) -> None:
    files = {"0.png": color_page(), "1.png": gray_page(1), "2.png": gray_page(2)}
    task, job = task_of(str(tmp_path), {"ep.cbz": zipped(files)}), stages(tmp_path)
    assert color_chapter(task, job, Predictor(exemplar, 4)).status == "done"
    hints = ChapterHints({"2.png": (Hint(20, 28, 6, (40.0, 30.0)),)})

    (chunk,) = job.open(replace(over(task, job.ledger), hints=hints))

    assert [page.published is not None for page in chunk.pages] == [True, True, False]
    assert len(chunk.examples) == 1
