"""A pairing job on this machine: its pairs, its rows, and what a rerun does."""

import io
import json
import signal
import time

import numpy as np
import pytest
from PIL import Image

from datasets.errors import BadUsageError
from datasets.page import encode
from datasets.shards import ShardSet, training_example
from imaging.color import luma, to_lab
from jobs.parts.pair import page_features, rows
from jobs.parts.pair.decisions import pair_id
from jobs.parts.runtime.outcome import Exit
from tests.imaging import editions
from tests.jobs.pair.library import (
    ALONE,
    GRAY_ALONE,
    MIRRORED,
    PAGES,
    PART,
    color_name,
    config,
    gray_name,
    put,
    run,
    write_editions,
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Two editions, paired."""
    made = tmp_path_factory.mktemp("pairs")
    write_editions(made)
    assert run(made)[0] == Exit.DONE
    return made


@pytest.fixture(scope="module")
def records(folder):
    told = json.loads((folder / "out/pairs.json").read_text())
    return {record["color"]: record for record in told["pairs"]}


@pytest.fixture(scope="module")
def shards(folder):
    return ShardSet.open(str(folder / "out"))


def test_each_picture_finds_its_page(records):
    for number in set(PAGES) - {ALONE, GRAY_ALONE}:
        record = records[color_name(number)]
        assert (record["gray"], record["outcome"]) == (gray_name(number), "paired")
        assert record["confidence"] > 0.9
        assert record["mirrored"] == (number == MIRRORED)


def test_a_picture_without_a_page_has_none(records):
    assert records[color_name(ALONE)]["outcome"] == "unpaired"


def test_the_place_of_a_part_is_told(records):
    left, top, right, bottom = records[color_name(PART)]["box"]
    assert (right - left) * (bottom - top) < 0.4 * 640 * 900


def test_rows_are_pairs_and_pictures_alone(shards):
    pages = [*shards.read("train"), *shards.read("holdout")]
    kinds = [(page.gray is not None, page.color is not None) for page in pages]
    assert sorted(kinds) == [(False, True), (True, False)] + [(True, True)] * 4
    assert shards.card["paired"] == 4
    assert {page.gray_from for page in pages if page.gray is None} == {"none"}
    assert len({(page.series, page.chapter, page.index) for page in pages}) == len(pages)


def test_the_colours_of_a_row_lie_on_its_ink(shards):
    for page in [*shards.read("train"), *shards.read("holdout")]:
        if page.gray and page.color:
            ink, color = page.decode_gray(), page.decode_color()
            assert color.shape[:2] == ink.shape == (page.height, page.width)
            free = np.ones(ink.shape, bool) if page.mask is None else ~page.decode_mask(ink.shape)
            assert free.mean() > 0.7
            assert np.abs(luma(color).astype(int) - ink)[free].mean() < 12


def test_a_mask_is_a_picture_of_one_bit(shards):
    masks = [page for page in [*shards.read("train"), *shards.read("holdout")] if page.mask is not None]
    assert masks
    for page in masks:
        picture = Image.open(io.BytesIO(page.mask))
        assert (picture.mode, picture.format, picture.size) == ("1", "PNG", (page.width, page.height))


def test_a_training_takes_pairs_and_all_pages(shards):
    pages = [vars(page) for page in shards.read("holdout")]
    counts = {
        kind: sum(bool(training_example(page, kind=kind, size=64, target="ab")) for page in pages)
        for kind in ("pairs", "ink", "color")
    }
    assert counts == {kind: shards.examples("holdout", kind) for kind in counts}
    assert counts == {"pairs": 2, "ink": 3, "color": 3}


def test_colours_of_held_out_pages_are_held_out(shards):
    assert {page.chapter for page in shards.read("holdout") if page.gray} == {"vol1"}
    assert {page.chapter for page in shards.read("train") if page.gray} == {"vol0"}
    assert [page.chapter for page in shards.read("holdout") if page.gray is None] == ["all"]  # pages of it are held out


def test_a_report_says_what_became_of_all(folder, shards, records):
    html = (folder / "out/report.html").read_text()
    assert "near-duplicates" not in html  # which were not looked for
    assert "Pairs: 4; to be decided: 0; colour pictures without a page: 1." in html
    section = html.partition('<section id="unpaired">')[2].partition("</section>")[0]
    assert color_name(ALONE) in section
    assert records[color_name(ALONE)]["why"] in section
    assert color_name(PART) not in section
    assert len(list((folder / "out/report").glob("*.jpg"))) == shards.pages("train") + shards.pages("holdout") == 6


def test_the_card_tells_the_mean_colour(shards):
    means = [page.decode_color().reshape(-1, 3) for page in shards.read("train") if page.color]
    wanted = np.mean([to_lab(one.reshape(1, -1, 3))[0, :, 1:].mean(axis=0) for one in means], axis=0)
    assert np.abs(np.subtract(shards.card["mean_chroma"], wanted)).max() < 1


def test_a_rerun_computes_nothing(folder, monkeypatch):
    before = (folder / "out/shards.json").read_bytes()

    def never(*arguments, **more):
        raise AssertionError("computed again")

    monkeypatch.setattr(page_features, "fetched", never)
    monkeypatch.setattr(rows, "fetched", never)
    assert run(folder)[0] == Exit.DONE
    after = (folder / "out/shards.json").read_bytes()
    assert {**json.loads(before), "created": ""} == {**json.loads(after), "created": ""}


def test_what_is_missing_alone_is_done_again(folder):
    home = folder / "out/_pairs"
    kept = {path: path.stat().st_mtime_ns for path in home.rglob("*.parquet")}
    lost = sorted(kept)[0]
    lost.unlink()
    assert run(folder)[0] == Exit.DONE
    assert lost.exists()
    assert {path for path, time in kept.items() if path.stat().st_mtime_ns != time} == {lost}


def test_a_killed_job_goes_on(folder, machine, tmp_path):
    out = tmp_path / "out"
    given = ("--gray", str(folder / "gray"), "--color", str(folder / "color"), "--out", str(out), "--holdout", "vol1")
    job = machine.start("pair", *given)
    while job.poll() is None and not list(out.glob("_pairs/features/*.parquet")):
        time.sleep(0.05)
    job.send_signal(signal.SIGKILL)
    job.communicate()
    assert not (out / "shards.json").exists()
    kept = {path: path.stat().st_mtime_ns for path in out.rglob("*.parquet")}
    done = machine.job("pair", *given)
    assert done.returncode == 0, done.stdout
    assert all(path.stat().st_mtime_ns == when for path, when in kept.items())
    whole, resumed = (json.loads((where / "shards.json").read_text()) for where in (folder / "out", out))
    assert resumed["fingerprint"] == whole["fingerprint"]


def test_decisions_are_taken_and_remembered(folder, tmp_path):
    names = color_name(2), gray_name(2)
    told = tmp_path / "decisions.json"
    told.write_text(json.dumps({"decisions": [{"id": pair_id(*names), "pair": False}]}))
    out = str(tmp_path / "out")
    more = {"out": out, "gray": str(folder / "gray"), "color": str(folder / "color")}
    for given in ({"decisions": str(told)}, {}):
        run(tmp_path, **more, **given)
        found = json.loads((tmp_path / "out/pairs.json").read_text())["pairs"]
        assert [record["outcome"] for record in found if record["color"] == names[0]] == ["unpaired"]


@pytest.mark.parametrize(
    "text", ["", "[]", '{"decisions": [{"id": 1}]}', '{"decisions": [{"id": "a", "pair": "yes"}]}']
)
def test_a_file_that_holds_no_decisions_is_refused(folder, tmp_path, text):
    (tmp_path / "decisions.json").write_text(text)
    with pytest.raises(BadUsageError, match="no file of decisions"):
        run(folder, decisions=str(tmp_path / "decisions.json"), out=str(tmp_path / "out"))


def test_what_can_not_be_read_is_named(tmp_path):
    write_editions(tmp_path)
    put(tmp_path / "color/all/broken.jpg", b"no picture")
    code, found = run(tmp_path)
    assert code == Exit.PARTLY
    assert "all/broken.jpg" not in found
    (failure,) = json.loads((tmp_path / "out/shards.json").read_text())["failures"]
    assert failure["source"].endswith("all/broken.jpg")
    assert failure["code"] == "NOT_IMAGE"
    assert "all/broken.jpg" in (tmp_path / "out/report.html").read_text()


def test_other_shards_are_not_overwritten(folder, tmp_path):
    put(tmp_path / "out/shards.json", b'{"settings": {"color": "elsewhere"}}')
    with pytest.raises(BadUsageError, match="holds other shards"):
        run(folder, out=str(tmp_path / "out"))


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"accept": 1.2}, "--accept"),
        ({"reject": -1.0}, "--reject"),
        ({"accept": 0.2}, "--accept"),
        ({"seed": -1}, "--seed"),
    ],
)
def test_a_wrong_option_is_named(tmp_path, options, named):
    with pytest.raises(BadUsageError, match=f"{named} is"):
        config(tmp_path, **options)


def test_spreads_are_parted_and_joined(tmp_path):
    inks, colors = zip(*(editions.page(number) for number in range(12)), strict=True)
    for number in (2, 6, 9):
        put(tmp_path / f"gray/ch/{number:02d}.png", encode(inks[number], "png"))
    put(tmp_path / "gray/ch/01-05.png", encode(np.hstack([inks[1], inks[5]]), "png"))
    put(tmp_path / "color/all/a.jpg", encode(np.hstack([colors[2], colors[6]]), "jpeg"))
    for number in (1, 5):
        put(tmp_path / f"color/all/{number}.jpg", encode(colors[number], "jpeg"))
    assert run(tmp_path, holdout="")[0] == Exit.DONE
    told = json.loads((tmp_path / "out/pairs.json").read_text())["pairs"]
    found = {
        (record["color"], record["gray"], tuple(record["box"])) for record in told if record["outcome"] == "paired"
    }
    assert {(color, gray) for color, gray, _ in found} == {
        ("all/a.jpg", "ch/02.png"), ("all/a.jpg", "ch/06.png"), ("all/1.jpg", "ch/01-05.png"),
        ("all/5.jpg", "ch/01-05.png"),
    }  # fmt: skip
    for color, _, (left, top, right, bottom) in found:
        wanted = (640, 0, 1280, 900) if color == "all/5.jpg" else (0, 0, 640, 900)
        assert np.abs(np.subtract((left, top, right, bottom), wanted)).max() <= 2
