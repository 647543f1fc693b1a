"""A colour of the palette is edited. The pages that use it are done again, and all others stay byte for byte."""

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from datasets.errors import BadUsageError, ObjectExistsError
from datasets.storage import open_storage
from imaging.drift import drift
from imaging.palette import Color, Palette
from imaging.postprocess import PostprocessSettings
from jobs.parts.colorize.config import ColorizeConfig
from jobs.parts.colorize.page_settings import PageSettings
from jobs.parts.colorize.plan import plan
from jobs.parts.colorize.settings import JobSettings
from jobs.parts.colorize.stages import Stages
from jobs.parts.colorize.tasks import CHUNK_MEMBERS, ChapterTask
from jobs.parts.ledger.ledger import HOME, Ledger
from jobs.parts.ledger.manifest import Manifest
from jobs.parts.ledger.palette_usage import is_current, pack, unpack
from tests.archives import zipped
from tests.jobs.colorize.chapters import (
    COMIC_INFO,
    FINGERPRINT,
    LENIENT,
    SIZE,
    color_page,
    members_of,
    over,
    saved,
    task_of,
)
from tests.jobs.ledger.test_ledger import Killed, kill_at

RED, BLUE, GREEN = (50.0, 30.0), (10.0, -50.0), (-40.0, 30.0)
PALETTE = Palette(
    tuple(Color(name, ab, (60.0, *ab, 1.0), 0.3) for name, ab in (("red", RED), ("blue", BLUE), ("green", GREEN)))
)
EDITED = PALETTE.edited("blue", (-30.0, -30.0))
PAGES = {"1.png": (RED,), "2.png": (RED, BLUE), "3.png": (GREEN,), "4.png": (BLUE, GREEN)}
USE_BLUE = {"2.png", "4.png"}


@pytest.fixture(params=["local", "s3"])
def home(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URI of an empty folder on each kind of storage, for /in and /out."""
    return str(tmp_path) if request.param == "local" else request.getfixturevalue("s3")


def gray_page(seed: int) -> bytes:
    levels = np.random.default_rng(seed).integers(130, 160, (56, 40), dtype=np.uint8)
    levels[::14] = 0
    return saved(levels)


def chroma_of(*colors: tuple[float, float]) -> np.ndarray:
    """A simulated prediction: these colours side by side."""
    bands = np.arange(SIZE) * len(colors) // SIZE
    return np.tile(np.array(colors, np.float16)[bands][None], (SIZE, 1, 1))


def ledger_of(out: str, palette: Palette) -> Ledger:
    ledger = Ledger(out, FINGERPRINT, palette)
    ledger.claim({"weights_sha256": "", "settings": {}, "palette": palette.to_dict()}, replace=False)
    return ledger


def color(
    task: ChapterTask, ledger: Ledger, palette: Palette, pages: Mapping[str, Any] = PAGES, skip: int = -1
) -> tuple[Manifest | None, set[str]]:
    """Take a chapter through all stages. Returns its outcome, and the names of the pages that went to the network.

    skip: a chunk that is left out.
    """
    settings = PageSettings("png", postprocess=PostprocessSettings(thresholds=LENIENT, palette=palette))
    stages, predicted, outcome = Stages(ledger, settings, SIZE), set(), None
    for chunk in stages.open(task):
        if chunk.number == skip:
            continue
        stages.prepare(chunk)
        for page in chunk.pages:
            if page.grays is not None:
                page.chroma, page.grays = chroma_of(*pages[page.member.name]), None
                predicted.add(page.member.name)
        outcome = stages.postprocess(chunk).outcome
        if outcome is None and chunk.number == chunk.of - 1 and skip < 0:
            outcome = stages.assemble(task, chunk.of)
    return outcome, predicted


def published(out: str, output: str) -> dict[str, bytes]:
    storage = open_storage(out)
    if output.endswith(".cbz"):
        return members_of(storage.read(output))
    return {entry.key.removeprefix(f"{output}/"): storage.read(entry.key) for entry in storage.list(f"{output}/")}


FILES = {
    **{name: gray_page(seed) for seed, name in enumerate(PAGES)},
    "5.png": color_page(),
    "6.png": gray_page(9)[:300],  # can't be read
    "ComicInfo.xml": COMIC_INFO,
}


@pytest.mark.parametrize("kind", ["archive", "folder"])
def test_pages_that_use_an_edited_colour_are_done_again_and_no_other(home: str, kind: str) -> None:
    files = {"ep.cbz": zipped(FILES)} if kind == "archive" else {f"ep/{name}": data for name, data in FILES.items()}
    task, out = task_of(home, files), f"{home}/out"
    first, predicted = color(task, ledger_of(out, PALETTE), PALETTE)
    assert first is not None
    assert (first.status, first.taken) == ("partial", 0)
    assert predicted == set(PAGES)
    before = published(out, task.output)

    ledger = ledger_of(out, EDITED)
    assert not ledger.covers(ledger.manifests()[task.ref.rel], task.ref, task.policy.digest())
    second, predicted = color(replace(task, over=1), ledger, EDITED)
    assert second is not None
    assert predicted == USE_BLUE
    assert (second.status, second.taken) == ("partial", 4)
    after = published(out, task.output)
    assert list(after) == list(before)
    assert {name for name in before if before[name] != after[name]} - {"ComicInfo.xml"} == USE_BLUE
    assert ledger.covers(ledger.manifests()[task.ref.rel], task.ref, task.policy.digest())

    whole, predicted = color(task, ledger_of(f"{home}/anew", EDITED), EDITED)  # as if all was done with it
    assert predicted == set(PAGES)
    assert published(f"{home}/anew", task.output) == after
    assert whole is not None
    assert second.pages == whole.pages


def test_the_record_tells_which_colours_a_page_uses(tmp_path: Path) -> None:
    manifest, _ = color(
        task_of(str(tmp_path), {"ep.cbz": zipped(FILES)}), ledger_of(str(tmp_path / "out"), PALETTE), PALETTE
    )
    assert manifest is not None
    numbers = {page.name: set(page.colors) for page in manifest.pages}
    assert numbers == {
        "1.png": {"0"}, "2.png": {"0", "1"}, "3.png": {"2"}, "4.png": {"1", "2"},
        "5.png": set(), "6.png": set(), "ComicInfo.xml": set(),
    }  # fmt: skip
    share, *means = manifest.pages[1].colors["0"]
    assert share == pytest.approx(0.5, abs=0.1)
    assert means == pytest.approx([*RED, *RED], abs=3)


def test_chapters_without_the_colour_stay_done(tmp_path: Path) -> None:
    task, out = task_of(str(tmp_path), {"ep.cbz": zipped(FILES)}), str(tmp_path / "out")
    pages = dict.fromkeys(PAGES, (RED, GREEN))
    color(task, ledger_of(out, PALETTE), PALETTE, pages)
    ledger = ledger_of(out, EDITED)
    assert ledger.covers(ledger.manifests()[task.ref.rel], task.ref, task.policy.digest())


@pytest.mark.parametrize("harm", ["page", "cut", "gone", "manifest"])
def test_what_is_not_as_it_was_published_is_coloured_again(tmp_path: Path, harm: str) -> None:
    task, out = task_of(str(tmp_path), {"ep.cbz": zipped(FILES)}), str(tmp_path / "out")
    color(task, ledger_of(out, PALETTE), PALETTE)
    archive = tmp_path / "out/ep.cbz"
    before = members_of(archive.read_bytes())
    if harm == "page":
        archive.write_bytes(zipped({**before, "1.png": before["1.png"][:-1] + b"0"}))
    elif harm == "cut":
        archive.write_bytes(archive.read_bytes()[:2000])
    elif harm == "gone":
        archive.unlink()
    else:
        (tmp_path / f"out/{HOME}/chapters/ep.cbz.json").write_text("{}")
    manifest, predicted = color(replace(task, over=1), ledger_of(out, EDITED), EDITED)
    assert manifest is not None
    assert predicted == (USE_BLUE | {"1.png"} if harm == "page" else set(PAGES))
    after = members_of(archive.read_bytes())
    assert {name for name in before if before[name] != after[name]} - {"ComicInfo.xml"} == USE_BLUE


@pytest.mark.parametrize("point", ["before put", "before manifest"])
def test_a_run_that_is_killed_while_it_replaces(home: str, point: str, monkeypatch: pytest.MonkeyPatch) -> None:
    task, out = task_of(home, {"ep.cbz": zipped(FILES)}), f"{home}/out"
    color(task, ledger_of(out, PALETTE), PALETTE)
    before = open_storage(out).read("ep.cbz")
    dead = ledger_of(out, EDITED)
    put = dead.storage.put

    def die(key: str, *args: Any, **options: Any) -> Any:
        if key == "ep.cbz":
            raise Killed
        return put(key, *args, **options)

    with monkeypatch.context() as patch:
        if point == "before manifest":
            kill_at("commit", patch)
        else:
            patch.setattr(dead.storage, "put", die)
        with pytest.raises(Killed):
            color(replace(task, over=1), dead, EDITED)
    assert (open_storage(out).read("ep.cbz") == before) == (point == "before put")

    ledger = ledger_of(out, EDITED)
    known = ledger.manifests()
    known |= ledger.recover()
    done = ledger.covers(known["ep.cbz"], task.ref, task.policy.digest())
    assert done == (point == "before manifest")  # it was published, so nothing is computed again
    _, predicted = color(over(task, ledger), ledger, EDITED)
    assert predicted == (set() if done else USE_BLUE)
    assert ledger.manifest("ep.cbz") is not None
    assert ledger.output.sha256("ep.cbz") == ledger.manifests()["ep.cbz"].sha256


def test_an_edit_that_changes_no_byte_is_committed_after_a_kill(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    task, out = task_of(str(tmp_path), {"ep.cbz": zipped({"1.png": FILES["1.png"]})}), str(tmp_path / "out")
    hardly = PALETTE.edited("red", (RED[0] + 1e-5, RED[1]))
    color(task, ledger_of(out, PALETTE), PALETTE)
    dead = ledger_of(out, hardly)
    with monkeypatch.context() as patch:
        kill_at("commit", patch)
        with pytest.raises(Killed):
            color(replace(task, over=1), dead, hardly)
    ledger = ledger_of(out, hardly)
    assert ledger.covers(ledger.recover()["ep.cbz"], task.ref, task.policy.digest())


def test_a_run_with_the_palette_of_before_gets_nothing_more_in(tmp_path: Path) -> None:
    task, out = task_of(str(tmp_path), {"ep.cbz": zipped(FILES)}), str(tmp_path / "out")
    old = ledger_of(out, PALETTE)
    new = ledger_of(out, EDITED)
    manifest, _ = color(task, old, PALETTE)
    assert manifest is not None
    assert manifest.status == "failed"
    assert "palette" in manifest.message
    assert not (tmp_path / "out/ep.cbz").exists()

    ledger_of(out, PALETTE)  # what was under way when the palette was edited
    color(task, old, PALETTE)
    ledger_of(out, EDITED)
    manifest, predicted = color(task, new, EDITED)  # planned before that was published: no replace
    assert manifest is not None
    assert (manifest.status, predicted) == ("partial", set(PAGES))
    assert new.covers(new.manifests()["ep.cbz"], task.ref, task.policy.digest())
    assert new.output.sha256("ep.cbz") == manifest.sha256


def test_a_long_chapter(tmp_path: Path) -> None:
    pages = {f"{i:03d}.png": ((RED,), (BLUE,), (GREEN,))[i % 3] for i in range(CHUNK_MEMBERS + 5)}
    files = {name: FILES[f"{i % 4 + 1}.png"] for i, name in enumerate(pages)}
    task, out = task_of(str(tmp_path), {"ep.cbz": zipped(files)}), str(tmp_path / "out")
    color(task, ledger_of(out, PALETTE), PALETTE, pages)
    before = members_of((tmp_path / "out/ep.cbz").read_bytes())
    again, blue = replace(task, over=1), {name for name, colors in pages.items() if colors == (BLUE,)}

    other = PALETTE.edited("blue", (0.0, 0.0))
    color(again, ledger_of(out, other), other, pages, skip=1)  # killed after one chunk file, then edited once more
    manifest, predicted = color(again, ledger_of(out, EDITED), EDITED, pages)
    assert manifest is not None
    assert predicted == blue
    assert manifest.taken == len(pages) - len(blue)
    after = members_of((tmp_path / "out/ep.cbz").read_bytes())
    assert {name for name in before if before[name] != after[name]} == blue
    color(task, ledger_of(str(tmp_path / "anew"), EDITED), EDITED, pages)
    assert members_of((tmp_path / "anew/ep.cbz").read_bytes()) == after


def test_an_edited_palette_is_the_same_job(tmp_path: Path, model: Path) -> None:
    out, given = tmp_path / "out", tmp_path / "palette.json"

    def planned(palette: Palette) -> tuple[Any, Ledger]:
        given.write_text(json.dumps(palette.to_dict()))
        config = ColorizeConfig(model=str(model), source=f"{tmp_path}/in", out=str(out), palette=str(given))
        job_settings = JobSettings.of(config)
        ledger = Ledger(str(out), job_settings.fingerprint, job_settings.pages.palette)
        return plan(config.source, ledger, job_settings, replace=False), ledger

    storage = open_storage(f"{tmp_path}/in")
    for name in ("ep1.cbz", "ep2.cbz"):
        storage.put(name, zipped({"1.png": FILES["1.png"]}))
    state, ledger = planned(PALETTE)
    assert (len(state.tasks), state.edited) == (2, set())
    for task, colors in zip(state.tasks, ((RED,), (BLUE,)), strict=True):
        color(task, ledger, PALETTE, {"1.png": colors})
    ledger.storage.put("_SUCCESS", b"")

    renamed = Palette(tuple(replace(c, name=f"{c.name} of the hat") for c in PALETTE.colors))
    assert planned(renamed)[0].tasks == []
    assert json.loads((out / HOME / "palette.json").read_text()) == renamed.to_dict()
    assert (out / "_SUCCESS").exists()

    state, ledger = planned(EDITED)
    assert [(task.ref.rel, task.over) for task in state.tasks] == [("ep2.cbz", 1)]
    assert state.edited == {"ep2.cbz"}
    assert json.loads((out / HOME / "palette.json").read_text()) == EDITED.to_dict()
    assert json.loads((out / HOME / "job.json").read_text())["palette"] == EDITED.to_dict()
    color(state.tasks[0], ledger, EDITED, {"1.png": (BLUE,)})
    assert planned(EDITED)[0].tasks == []
    assert [task.ref.rel for task in planned(PALETTE)[0].tasks] == ["ep2.cbz"]  # edited back

    with pytest.raises(BadUsageError, match="--replace"):
        planned(Palette(PALETTE.colors[1:]))


def test_a_damaged_chapter_with_a_page_to_look_at_is_done_again(tmp_path: Path) -> None:
    task, out = task_of(str(tmp_path), {"ep.cbz": zipped(FILES)}), str(tmp_path / "out")
    ledger = ledger_of(out, PALETTE)
    manifest, _ = color(task, ledger, PALETTE)
    assert manifest is not None
    pages = [replace(page, code="DULL") if page.colors else page for page in manifest.pages]
    ledger.commit(replace(replace(manifest, pages=pages).summary(), status="damaged"), 1)  # as verify.py marks it
    assert not ledger.covers(ledger.manifests()["ep.cbz"], task.ref, task.policy.digest())
    _, predicted = color(over(task, ledger), ledger, PALETTE)
    assert predicted == set(PAGES)


def test_a_taken_over_folder_is_told_of(tmp_path: Path) -> None:
    ledger = ledger_of(str(tmp_path), PALETTE)
    ledger_of(str(tmp_path), EDITED)
    with pytest.raises(ObjectExistsError, match="or palette"):
        ledger.publish(Manifest("ep", "", "", FINGERPRINT, "done", "ep"), b"", over=0)


def test_what_pages_tell_is_packed_for_the_driver() -> None:
    pages = [{"0": [0.5, 10, 0, 12, 0], "2": [0.1, 0, 5, 0, 6]}, {"0": [0.3, 20, 0, 14, 0]}, {}]
    palette = [[12.0, 0.1], [0.0, 0.0], [0.0, 7.0]]
    packed = pack(pages, palette)
    first, last = unpack(packed)
    assert (first.number, last.number) == (0, 2)
    assert first.ab == pytest.approx((12.0, 0.1))
    assert first.share == pytest.approx(0.8)
    assert first.before.drift().rms == pytest.approx(drift(np.float32([[10, 0], [20, 0]])).rms)
    assert (first.after.count, first.after.mean) == (2, (13.0, 0.0))
    assert last.after.mean == (0.0, 6.0)
    assert is_current(packed, [[12.0, 0.1], [9.0, 9.0], [0.0, 7.0]])
    assert not is_current(packed, [[12.0, 0.2], [0.0, 0.0], [0.0, 7.0]])
    assert not is_current(packed, palette[:2])
    assert (unpack(pack([{}], palette)), is_current(b"", [])) == ([], True)
