"""Pages marked as references: taken up from the output, shown to the pages that are like them, recorded by page."""

import base64
import json
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import models
import tests.jobs.colorize.library
from datasets.errors import BadUsageError
from datasets.storage import open_storage
from imaging.descreen import network_view
from jobs.parts.colorize import settings as job_settings
from jobs.parts.colorize.marked import MOST, Entry, References
from jobs.parts.colorize.predictor import Predictor
from jobs.parts.colorize.settings import JobSettings
from jobs.parts.colorize.stages import Stages
from jobs.parts.colorize.tasks import CHUNK_MEMBERS, ChapterTask
from jobs.parts.ledger.ledger import HOME, REFERENCES
from jobs.parts.ledger.manifest import Manifest, PageRecord
from jobs.parts.model.folder import ModelCard, publish, read_card
from jobs.parts.model.inference import as_inputs
from jobs.parts.source.policy import Policy
from models.checkpoint import to_bytes
from models.exemplar_likeness import AXES, MEASURES, measures
from tests.archives import zipped
from tests.jobs.colorize.chapters import color_page, gray_levels, gray_page, saved
from tests.jobs.colorize.library import Library, published
from tests.untrained import publish_untrained

CHAPTERS = ("a/ch01.cbz", "a/ch02.cbz", "b/ch01.cbz")
LEAST = 0.2


def telling_apart(folder: Path) -> None:
    """An untrained model, with axes drawn at random, which tell pages apart as well as any for a test."""
    variant = publish_untrained(folder, "exemplar", image_size=32, base_channels=8)
    generator: Any = variant.generator()
    grays = np.stack([network_view(gray_levels(seed), 32) for seed in range(12)])
    seen = measures(generator.encoder.eval(), as_inputs(grays, np.zeros((12, 32, 32, 2), np.float32))[0])
    generator.likeness.mean.copy_(seen.mean(dim=0).detach())
    generator.likeness.axes.copy_(torch.randn(MEASURES, AXES))
    generator.likeness.least.fill_(LEAST)
    card = ModelCard(variant="exemplar", config=asdict(variant.config))
    publish(open_storage(str(folder)), card, to_bytes(generator.state_dict()))


@pytest.fixture
def library(tmp_path: Path) -> Library:
    """Chapters that were coloured."""
    telling_apart(tmp_path / "model")
    made = Library(tmp_path, tmp_path / "model")
    for number, rel in enumerate(CHAPTERS):
        made.put(f"in/{rel}", zipped({f"{n}.png": gray_page(10 * number + n) for n in range(4)}))
    made.run(backend="torch")
    return made


def pages_of(library: Library) -> dict[tuple[str, str], PageRecord]:
    manifests = {rel: library.ledger.manifest(rel) for rel in CHAPTERS}
    return {(rel, page.name): page for rel, made in manifests.items() if made for page in made.pages}


def bytes_of(library: Library) -> dict[tuple[str, str], bytes]:
    return {
        (rel, name.replace(".jpg", ".png")): data for rel in CHAPTERS for name, data in published(library, rel).items()
    }


def likeness(one: PageRecord, other: PageRecord) -> float:
    first, second = (np.frombuffer(base64.b64decode(page.description), np.int8).astype(float) for page in (one, other))
    return float(first @ second / np.linalg.norm(first) / np.linalg.norm(second))


def mark(library: Library, *marks: tuple[str, str, str, bytes]) -> None:
    """Mark (chapter, page, below, picture)."""
    references = References(open_storage(str(library.out)), read_card(str(library.model)), Policy())
    references.put([Entry(chapter, page, below, references.put_picture(data)) for chapter, page, below, data in marks])


def test_only_the_pages_that_are_like_it_are_done_again(library: Library) -> None:
    before, plain, source = pages_of(library), bytes_of(library), ("a/ch01.cbz", "0.png")
    assert all(page.description and page.references == () for page in before.values())
    mark(library, (*source, "a", plain[source]))

    library.run(backend="torch")

    after, made = pages_of(library), bytes_of(library)
    shown = {key for key, page in after.items() if page.references}
    assert shown == {key for key in made if made[key] != plain[key]}
    assert source not in shown
    assert {rel for rel, _ in shown} <= {"a/ch01.cbz", "a/ch02.cbz"}
    assert library.computed == {rel for rel, _ in shown}
    taken = sum(manifest.taken for rel in library.computed if (manifest := library.ledger.manifest(rel)))
    assert taken == 4 * len(library.computed) - len(shown)
    assert 0 < len(shown) < 7  # some are like it, some are not
    assert {page.description for page in after.values()} == {page.description for page in before.values()}
    library.run(backend="torch")
    assert library.computed == set()

    mark(library)
    library.run(backend="torch")
    assert bytes_of(library) == plain
    assert all(page.references == () for page in pages_of(library).values())


def test_a_mark_for_a_chapter_leaves_the_others_alone(library: Library) -> None:
    mark(library, ("a/ch01.cbz", "0.png", "a/ch01.cbz", color_page()))
    library.run(backend="torch")
    assert library.computed <= {"a/ch01.cbz"}


def test_a_marked_page_stays_what_it_was_where_it_is_coloured_anew(library: Library) -> None:
    """Two pages that are references of each other come to rest."""
    pages = pages_of(library)
    pairs = [(one, other) for one in pages for other in pages if one < other]
    one, other = max(pairs, key=lambda pair: likeness(*map(pages.__getitem__, pair)))
    made = bytes_of(library)
    mark(library, (*one, "", made[one]), (*other, "", made[other]))
    library.run(backend="torch")
    assert [bool(pages_of(library)[page].references) for page in (one, other)] == [True, True]
    once = bytes_of(library)
    library.run(backend="torch")
    assert library.computed == set()
    assert bytes_of(library) == once


def test_pages_of_an_earlier_version_are_described_when_a_mark_first_counts_for_them(library: Library) -> None:
    plain = bytes_of(library)
    for rel in CHAPTERS:
        path = library.out / HOME / "chapters" / f"{rel}.json"
        made = library.ledger.manifest(rel)
        assert made is not None
        pages = [PageRecord(**{**page.__dict__, "description": ""}) for page in made.pages]
        path.write_bytes(type(made)(**{**made.__dict__, "pages": pages}).to_json())
        assert b"description" not in path.read_bytes()
    library.run(backend="torch")
    assert library.computed == set()
    mark(library, ("a/ch01.cbz", "0.png", "a/ch01.cbz", color_page()))
    library.run(backend="torch")
    assert library.computed == {"a/ch01.cbz"}
    shown = {key for key, page in pages_of(library).items() if page.references}
    made_now = bytes_of(library)
    assert {key for key in plain if made_now[key] != plain[key]} == shown


def test_a_chapter_of_several_chunks_is_done_again_by_page(tmp_path: Path) -> None:
    telling_apart(tmp_path / "model")
    library = Library(tmp_path, tmp_path / "model")
    library.put("in/long.cbz", zipped({f"{n:02}.png": gray_page(n) for n in range(CHUNK_MEMBERS + 4)}))
    library.run(backend="torch")
    plain = published(library, "long.cbz")
    mark(library, *(("long.cbz", f"{n}.png", "", plain[f"{n}.jpg"]) for n in (10, 15, 20, 25)))
    library.run(backend="torch")
    made, now = library.ledger.manifest("long.cbz"), published(library, "long.cbz")
    assert made is not None
    again = {page.output for page in made.pages if page.references}
    assert again == {name for name in now if now[name] != plain[name]}
    assert made.taken == len(made.pages) - len(again)
    assert {int(name.removesuffix(".jpg")) // CHUNK_MEMBERS for name in again} == {0, 1}


def test_what_a_killed_run_left_is_not_taken_for_other_marks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    telling_apart(tmp_path / "model")
    library = Library(tmp_path, tmp_path / "model")
    library.put("in/long.cbz", zipped({f"{n:02}.png": gray_page(n) for n in range(CHUNK_MEMBERS + 4)}))
    library.run(backend="torch")
    plain = published(library, "long.cbz")

    def first_chunk(task: ChapterTask, stages: Stages, predict: Predictor) -> Manifest:
        stages.postprocess(predict(stages.prepare(next(stages.open(task)))))
        raise KeyboardInterrupt

    mark(library, *(("long.cbz", f"{n}.png", "", plain[f"{n}.jpg"]) for n in (10, 15)))
    with monkeypatch.context() as patched:
        patched.setattr(tests.jobs.colorize.library, "color_chapter", first_chunk)
        with pytest.raises(KeyboardInterrupt):
            library.run(backend="torch")
    assert len(list((library.out / HOME / "pieces").rglob("*.zip"))) == 1
    assert published(library, "long.cbz") == plain
    mark(library, *(("long.cbz", f"{n}.png", "", plain[f"{n}.jpg"]) for n in (20, 25)))
    library.run(backend="torch")

    made, now = library.ledger.manifest("long.cbz"), published(library, "long.cbz")
    assert made is not None
    marks = JobSettings.of(library.config).marked.of("long.cbz")
    assert all(page.references == marks.shown_to(page.name, page.description) for page in made.pages)
    assert {page.output for page in made.pages if page.references} == {name for name in now if now[name] != plain[name]}


def test_what_the_network_sees_of_a_mark_is_found_out_once(library: Library, monkeypatch: pytest.MonkeyPatch) -> None:
    mark(library, ("a/ch01.cbz", "0.png", "a", color_page()))
    library.run(backend="torch")

    def loaded(*_: object) -> models.Variant:
        raise AssertionError("the network was asked again")

    monkeypatch.setattr(job_settings, "load_model", loaded)
    library.run(backend="torch")
    for kept in (library.out / HOME / "references").glob("*.safetensors"):
        kept.write_bytes(kept.read_bytes()[:-9])
    with pytest.raises(AssertionError, match="asked again"):
        library.run(backend="torch")


def test_a_model_that_follows_no_pages_leaves_marks_alone(
    tmp_path: Path, model: Path, caplog: pytest.LogCaptureFixture
) -> None:
    library = Library(tmp_path, model)
    library.put("in/ch01.cbz", zipped({"0.png": gray_page(1)}))
    mark(library, ("ch01.cbz", "9.png", "", color_page()))
    library.run(backend="torch")
    assert "follows no pages" in caplog.text
    (page,) = library.ledger.manifest("ch01.cbz").pages  # type: ignore[union-attr]
    assert (page.description, page.references) == ("", ())


def without_picture(library: Library) -> None:
    for path in (library.out / HOME / "references").iterdir():
        path.unlink()


def gray_picture(library: Library) -> None:
    mark(library, ("a/ch01.cbz", "0.png", "a", saved(np.full((40, 40), 200, np.uint8))))


def rewritten(value: object) -> Callable[[Library], None]:
    return lambda library: open_storage(str(library.out)).put(REFERENCES, json.dumps(value).encode())


WRONG = {"chapter": "c", "page": "p", "below": "", "picture": "x.png"}


@pytest.mark.parametrize(
    ("spoil", "told"),
    [
        (without_picture, "is missing; take the entry out"),
        (gray_picture, "has no colour to follow"),
        (rewritten([]), "it holds a list of references"),
        (rewritten({"references": [{}]}), "KeyError: 'chapter'"),
        (rewritten({"references": [{**WRONG, "page": 7}]}), "reference 0: page is wrong"),
        (rewritten({"references": [{**WRONG, "picture": "../job.json"}]}), "reference 0: picture is wrong"),
        (rewritten({"references": [WRONG] * (MOST + 1)}), f"{MOST} at most"),
    ],
)
def test_what_is_wrong_is_named(library: Library, spoil: Callable[[Library], None], told: str) -> None:
    mark(library, ("a/ch01.cbz", "0.png", "a", color_page()))
    spoil(library)
    with pytest.raises(BadUsageError, match=told):
        library.run(backend="torch")
