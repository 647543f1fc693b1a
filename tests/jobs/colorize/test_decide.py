"""What a run does with a chapter: decided by a table over all that it may meet, and held through the stages."""

import itertools
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import models
from datasets.archive import ChapterRef, find_chapters
from datasets.limits import Limits
from jobs.parts.colorize import predictor
from jobs.parts.colorize.config import ColorizeConfig
from jobs.parts.colorize.decide import Decision, decide
from jobs.parts.colorize.plan import plan
from jobs.parts.colorize.predictor import Predictor
from jobs.parts.colorize.settings import JobSettings
from jobs.parts.colorize.stages import Stages
from jobs.parts.colorize.tasks import ChapterTask
from jobs.parts.ledger.ledger import Ledger
from jobs.parts.ledger.manifest import Manifest, PageRecord
from jobs.parts.source.policy import Policy
from jobs.parts.verify.check import open_published
from tests.archives import zipped
from tests.jobs.colorize.chapters import color_chapter, gray_page, saved
from tests.jobs.colorize.library import Library, good, published

REF = ChapterRef("/a", "ch01.cbz", "ch01.cbz", "archive", 9, "v2")
WIDE, TIGHT = Policy(), Policy(Limits(pixels=5))
TO_DO, HELD, OTHERS = Decision.COLOUR, Decision.DONE, Decision.COLLISION


def manifest_of(status: str, source: str, version: str, fingerprint: str, policy: Policy, hints: str) -> Manifest:
    """One of a chapter whose earlier version v0 was published, where status says "quarantined, published"."""
    before = Manifest("ch01.cbz", source, "v0", fingerprint, "done", output="ch01.cbz")
    status, _, after = status.partition(", ")
    page = PageRecord("1.png", "1.png", 0, "flagged", "", code="PIXELS")
    made = Manifest("ch01.cbz", source, version, fingerprint, status, policy=policy.digest(), hints=hints)
    if status == "quarantined":
        return replace(made, before=before if after else None)
    return replace(made, output="ch01.cbz", pages=[page] if status == "partial" else [])


def expected(
    status: str, source: str, version: str, fingerprint: str, policy: Policy, hints: str, replacing: bool
) -> Decision:
    """The same, said in words: first whose it is, then whether it holds."""
    there = status != "quarantined"
    if there and source != "/a/ch01.cbz" and version != "v2" and not replacing:
        return OTHERS
    limits_count = status.startswith(("partial", "quarantined"))
    holds = status != "damaged" and (version, fingerprint, hints) == ("v2", "f", "h")
    if holds and not (limits_count and policy is not WIDE):
        return HELD
    return TO_DO


def test_every_case_has_its_decision() -> None:
    ledger, seen = Ledger("/out", "f"), set()
    assert decide(REF, None, ledger, WIDE, "h") is TO_DO
    cases = itertools.product(
        ("done", "partial", "damaged", "quarantined", "quarantined, published"),
        ("/a/ch01.cbz", "/b/ch01.cbz"), ("v1", "v2"), ("e", "f"), (WIDE, TIGHT), ("", "h"), (False, True),
    )  # fmt: skip
    for *case, replacing in cases:
        decision = decide(REF, manifest_of(*case), ledger, WIDE, "h", replace=replacing)
        assert decision is expected(*case, replacing), (*case, replacing)
        seen.add(decision)
    assert seen == set(Decision)


def test_pages_flagged_by_an_earlier_version_of_the_job_stay() -> None:
    """It kept no policy for them: what it published is taken up as it is."""
    known = replace(manifest_of("partial", "/a/ch01.cbz", "v2", "f", WIDE, "h"), policy="")
    assert decide(REF, known, Ledger("/out", "f"), TIGHT, "h") is HELD


@pytest.mark.parametrize(
    ("kept", "decision"),
    [
        (replace(WIDE, memory="cuda, 1 GPUs, batch 8").page_digest(), TO_DO),
        (replace(WIDE, memory="cuda, 0.5 GPUs, batch 8").page_digest(), HELD),
        (replace(TIGHT, memory="cuda, 0.5 GPUs, batch 8").page_digest(), HELD),  # its limits had no part in it
        (WIDE.digest(), HELD),
        ("", HELD),
    ],
)
def test_a_page_that_lacked_memory_is_tried_again_with_another(kept: str, decision: Decision) -> None:
    known = replace(manifest_of("partial", "/a/ch01.cbz", "v2", "f", WIDE, "h"), policy=kept)
    known = replace(known, pages=[replace(page, code="MEMORY") for page in known.pages])
    policy = replace(WIDE, memory="cuda, 0.5 GPUs, batch 8")
    assert decide(REF, known, Ledger("/out", "f"), policy, "h") is decision


# -- through planning and the stages


@pytest.fixture
def library(tmp_path: Path, model: Path) -> Library:
    return Library(tmp_path, model)


def test_only_the_page_that_lacked_memory_is_done_again(library: Library, monkeypatch: pytest.MonkeyPatch) -> None:
    library.put("in/ch01.cbz", good(1))
    predict, seen = predictor.predict_chroma, []

    def lacking(variant: models.Variant, grays: np.ndarray, *hints: np.ndarray | None) -> np.ndarray:
        seen.append(len(grays))
        if len(seen) < 3:  # at the two of them, then at the first alone
            raise MemoryError
        return predict(variant, grays, *hints)

    monkeypatch.setattr(predictor, "predict_chroma", lacking)
    flagged = library.run()["ch01.cbz"]
    assert [(page.name, page.code) for page in flagged.pages if page.action == "flagged"] == [("1.png", "MEMORY")]
    assert library.run()["ch01.cbz"].status == "partial"
    assert library.computed == set()
    again = library.run(batch_size=2)["ch01.cbz"]
    assert (again.status, again.taken) == ("done", 1)
    assert seen == [2, 1, 1, 1]


def test_two_sources_with_equal_names_do_not_overwrite_each_other(library: Library) -> None:
    library.put("a/ch01.cbz", good(1))
    library.put("b/ch01.cbz", good(2))
    assert library.run("a")["ch01.cbz"].status == "done"
    first = (library.out / "ch01.cbz").read_bytes()

    refused = library.run("b")["ch01.cbz"]
    assert (refused.status, refused.code, library.computed) == ("quarantined", "COLLISION", set())
    assert str(library.home / "a/ch01.cbz") in refused.message
    assert "--replace" in refused.message
    assert (library.out / "ch01.cbz").read_bytes() == first
    assert library.run("a")["ch01.cbz"].status == "done"
    assert library.computed == set()

    assert library.run("b", replace=True)["ch01.cbz"].status == "done"
    assert (library.out / "ch01.cbz").read_bytes() != first
    assert library.run("a")["ch01.cbz"].code == "COLLISION"


def test_a_chapter_of_another_source_stays_though_its_replacement_was_quarantined(library: Library) -> None:
    library.put("a/ch01.cbz", good(1))
    library.put("b/ch01.cbz", zipped({"1.png": gray_page(2), "2.png": gray_page(3)[:90]}))
    assert library.run("a")["ch01.cbz"].status == "done"
    first = (library.out / "ch01.cbz").read_bytes()
    assert library.run("b", replace=True, strict=True)["ch01.cbz"].status == "quarantined"
    assert library.run("b")["ch01.cbz"].code == "COLLISION"  # without --strict it could be published, over a's
    assert (library.out / "ch01.cbz").read_bytes() == first
    assert library.run("b", replace=True)["ch01.cbz"].status == "partial"


def test_a_library_that_has_moved_is_done(library: Library) -> None:
    library.put("a/ch01.cbz", good(1))
    library.run("a")
    (library.home / "a").rename(library.home / "elsewhere")
    assert library.run("elsewhere")["ch01.cbz"].status == "done"
    assert library.computed == set()


def test_of_two_sources_at_once_the_second_does_not_take_the_firsts_chapter(library: Library, model: Path) -> None:
    """Both were planned before either had published."""
    library.put("a/ch01.cbz", good(1))
    library.put("b/ch01.cbz", good(2))
    states = []
    for source in ("a", "b"):
        config = ColorizeConfig(model=str(model), source=str(library.home / source), out=str(library.out))
        settings = JobSettings.of(config)
        ledger = Ledger(config.out, settings.fingerprint)
        states.append((plan(config.source, ledger, settings, replace=False), ledger, settings))
    variant = models.load(*((model / name).read_bytes() for name in ("model.json", "model.safetensors")))[0]
    outcomes = [
        color_chapter(task, Stages(ledger, settings.pages, settings.image_size), Predictor(variant, 4))
        for state, ledger, settings in states
        for task in state.tasks
    ]
    assert [outcome.status for outcome in outcomes] == ["done", "failed"]
    assert str(library.home / "a/ch01.cbz") in outcomes[1].message


def test_a_run_planned_with_a_newer_source_does_not_take_an_older_chapter_for_its_own(
    library: Library, model: Path
) -> None:
    """A slower driver publishes the older source after this run was planned."""
    library.put("in/ch01.cbz", good(1))
    older = library.run()["ch01.cbz"]
    first = published(library, "ch01.cbz")
    library.put("in/ch01.cbz", good(2))
    (ref,) = find_chapters(str(library.home / "in"))
    settings = JobSettings.of(ColorizeConfig(model=str(model), source=str(library.home / "in"), out=str(library.out)))
    stages = Stages(Ledger(str(library.out), settings.fingerprint), settings.pages, settings.image_size)
    variant = models.load(*((model / name).read_bytes() for name in ("model.json", "model.safetensors")))[0]
    newer = color_chapter(ChapterTask(ref, "ch01.cbz", over=0), stages, Predictor(variant, 4))
    assert (newer.status, newer.version) == ("done", ref.version)
    assert newer.version != older.version
    assert published(library, "ch01.cbz") != first


def test_a_slower_run_whose_source_changed_does_not_undo_a_faster_one(library: Library, model: Path) -> None:
    """The slower one has read the older source; the faster one has published the newer."""
    library.put("in/ch01.cbz", good(1))
    (older,) = find_chapters(str(library.home / "in"))
    library.put("in/ch01.cbz", good(2))
    assert library.run()["ch01.cbz"].status == "done"
    done = published(library, "ch01.cbz")
    settings = JobSettings.of(ColorizeConfig(model=str(model), source=str(library.home / "in"), out=str(library.out)))
    stages = Stages(Ledger(str(library.out), settings.fingerprint), settings.pages, settings.image_size)
    variant = models.load(*((model / name).read_bytes() for name in ("model.json", "model.safetensors")))[0]
    late = color_chapter(ChapterTask(older, "ch01.cbz", over=0), stages, Predictor(variant, 4))
    assert (late.status, late.code) == ("failed", "CHANGED")
    assert library.run()["ch01.cbz"].status == "done"
    assert library.computed == set()
    assert published(library, "ch01.cbz") == done


@pytest.mark.parametrize("kind", ["archive", "folder"])
def test_a_published_chapter_that_is_once_quarantined_is_not_stuck(library: Library, kind: str) -> None:
    def put(seed: int, *, whole: bool = True) -> None:
        if kind == "archive":
            library.put("in/ch01.cbz", good(seed) if whole else good(seed)[:-60])
        elif whole:
            library.put("in/ch01/1.png", gray_page(seed))
        else:
            library.put("in/ch01/1.png", gray_page(seed)[:100])

    name = "ch01.cbz" if kind == "archive" else "ch01"
    strict = {"strict": True}  # so that a damaged page quarantines a folder too
    put(1)
    assert library.run(**strict)[name].status == "done"
    before = published(library, name)

    put(2, whole=False)
    refused = library.run(**strict)[name]
    assert refused.status == "quarantined"
    assert refused.standing is not None
    assert "still there" in refused.warnings[0]
    assert published(library, name) == before
    assert [one.output for one in open_published(str(library.out)).standing] == [name]  # verify reads it again
    assert library.run(**strict)[name].status == "quarantined"
    assert library.computed == set()

    put(3)
    assert library.run(**strict)[name].status == "done"
    assert published(library, name) != before
    assert library.run(**strict)[name].status == "done"
    assert library.computed == set()


def test_a_file_that_somebody_put_beside_a_quarantine_is_not_overwritten(library: Library) -> None:
    library.put("in/ch01.cbz", good(1)[:-60])
    assert library.run()["ch01.cbz"].status == "quarantined"
    library.put("out/ch01.cbz", b"mine")
    library.put("in/ch01.cbz", good(2))
    assert library.run()["ch01.cbz"].status == "failed"
    assert (library.out / "ch01.cbz").read_bytes() == b"mine"


def test_a_page_too_large_is_coloured_when_the_limit_is_raised(library: Library) -> None:
    import numpy as np

    large = saved(np.random.default_rng(0).integers(60, 255, (90, 80)).astype(np.uint8))
    library.put("in/ch01.cbz", zipped({"1.png": gray_page(1), "2.png": large}))
    first = library.run(max_pixels=4000)["ch01.cbz"]
    assert (first.status, [page.code for page in first.pages if page.action == "flagged"]) == ("partial", ["PIXELS"])
    assert library.run(max_pixels=4000)["ch01.cbz"].status == "partial"
    assert library.computed == set()
    before = published(library, "ch01.cbz")

    again = library.run()["ch01.cbz"]
    assert (again.status, again.taken) == ("done", 1)
    after = published(library, "ch01.cbz")
    assert after["1.jpg"] == before["1.jpg"]
    assert "2.jpg" in after
    assert library.run()["ch01.cbz"].status == "done"
    assert library.computed == set()


def test_a_manifest_keeps_what_was_published_before(tmp_path: Path) -> None:
    before = Manifest("ch01.cbz", "/a/ch01.cbz", "v1", "f", "done", output="ch01.cbz", sha256="ab", size=3)
    now = Manifest("ch01.cbz", "/a/ch01.cbz", "v2", "f", "quarantined", before=before)
    ledger = Ledger(str(tmp_path), "f")
    ledger.commit(now, 0)
    assert ledger.manifest("ch01.cbz") == now
    assert now.standing == before
    assert "before" not in json.loads(before.to_json())  # manifests of published chapters are as they were
